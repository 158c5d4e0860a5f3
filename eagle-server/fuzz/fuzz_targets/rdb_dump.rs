//! A forged value inside a right envelope, as RESTORE may get it from anybody.
//!
//! What decodes must be a proper value: its own payload decodes to the same.
#![no_main]

use eagle_server::persist::rdb::dump::{self, DumpError};
use eagle_server::persist::rdb::{Compression, HashForm, PackedHashLimits, Value, crc64};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let mut payload = body.to_vec();
    payload.extend_from_slice(&10u16.to_le_bytes());
    payload.extend_from_slice(&crc64::checksum(&payload).to_le_bytes());
    let value = match dump::read(&payload) {
        Ok(value) => value,
        Err(DumpError::Value(_)) => return,
        Err(DumpError::VersionOrChecksum) => panic!("the envelope is right"),
    };
    for compression in [Compression::Off, Compression::Lzf] {
        let again = match &value {
            Value::String(bytes) => dump::string(bytes, compression),
            Value::Hash(pairs) => {
                let slices: Vec<(&[u8], &[u8])> = pairs
                    .iter()
                    .map(|(field, value)| (&field[..], &value[..]))
                    .collect();
                let form = HashForm::of(slices.iter().copied(), PackedHashLimits::default());
                dump::hash(slices.iter().copied(), form, compression)
            }
        };
        assert_eq!(dump::read(&again).as_ref(), Ok(&value));
    }
});
