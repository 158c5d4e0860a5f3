//! A forged value inside a right envelope, as RESTORE may get it from anybody.
//!
//! What decodes must be a proper value: its own payload decodes to the same.
#![no_main]

use eagle_core::store::HashField;
use eagle_server::persist::rdb::dump::{self, DumpError};
use eagle_server::persist::rdb::list::{self, NodeLimits};
use eagle_server::persist::rdb::packed_string::PackedString;
use eagle_server::persist::rdb::{Compression, HashForm, PackedHashLimits, Value, crc64, value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let mut payload = body.to_vec();
    // The version that knows every type.
    payload.extend_from_slice(&12u16.to_le_bytes());
    payload.extend_from_slice(&crc64::checksum(&payload).to_le_bytes());
    let value = match dump::read(&payload) {
        Ok(value) => value.unpacked(),
        Err(DumpError::Value(_)) => return,
        Err(DumpError::VersionOrChecksum) => panic!("the envelope is right"),
    };
    if let Value::PackedString(packed) = &value {
        return unpacks_to_what_is_read(*packed);
    }
    for compression in [Compression::Off, Compression::Lzf] {
        let mut again = Vec::new();
        match &value {
            Value::String(bytes) => value::write_string(&mut again, bytes, compression),
            Value::Hash(pairs) => {
                let slices: Vec<(&[u8], &[u8])> = pairs
                    .iter()
                    .map(|(field, value)| (&field[..], &value[..]))
                    .collect();
                let form = HashForm::of(slices.iter().copied(), PackedHashLimits::default());
                value::write_hash(&mut again, slices.into_iter(), form, compression);
            }
            Value::TimedHash(fields) => {
                let fields: Vec<HashField<'_>> = fields
                    .iter()
                    .map(|(name, value, ttl_at)| HashField {
                        name,
                        value,
                        ttl_at: *ttl_at,
                    })
                    .collect();
                value::write_timed_hash(&mut again, fields.into_iter(), HashForm::Table, compression);
            }
            Value::Set(members) => {
                value::write_set(&mut again, members.iter().map(AsRef::as_ref), compression);
            }
            Value::List(elements) => {
                let limits = NodeLimits {
                    fill: -2,
                    plain_bytes_min: 1 << 30,
                };
                list::write(
                    &mut again,
                    elements.iter().map(AsRef::as_ref),
                    limits,
                    compression,
                );
            }
            // Written from the keyspace only: sorted, or from the nodes of the pool.
            Value::Zset(_) | Value::Stream(_) => return,
            Value::PackedString(_) | Value::PackedHash(_) | Value::PackedZset(_) => {
                unreachable!("looked at above")
            }
        }
        let again = dump::seal(again);
        assert_eq!(dump::read(&again).map(Value::unpacked).as_ref(), Ok(&value));
    }
});

/// A long string that came compressed unpacks, piece by piece, to its length, and written plainly is read as the same.
fn unpacks_to_what_is_read(packed: PackedString<'_>) {
    let (mut unpacking, mut plain) = (packed.unpack(), Vec::new());
    while plain.len() < packed.len() as usize {
        let before = plain.len();
        unpacking.append(100_003, &mut plain);
        assert!(plain.len() > before, "it was checked");
    }
    assert_eq!(plain.len() as u64, packed.len());
    let mut again = Vec::new();
    value::write_string(&mut again, &plain, Compression::Off);
    let payload = dump::seal(again);
    assert_eq!(
        dump::read(&payload).as_ref(),
        Ok(&Value::String(plain.into()))
    );
}
