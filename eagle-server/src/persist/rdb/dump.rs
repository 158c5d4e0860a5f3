//! The envelope of DUMP and RESTORE: one value, without key or expiry, that another server can check.
//!
//! ```text
//! type byte . value . u16 format version . u64 CRC-64 of all before      little endian
//! ```

use std::fmt;

use super::cursor::Cursor;
use super::timed_hash::{HASH_LISTPACK_TIMED, HASH_TIMED};
use super::value::{SET_LISTPACK, STREAM_3, Value};
use super::{DecodeError, VERSION, VERSION_TIMED, crc64};

/// Version and checksum.
const TRAILER_BYTES: usize = 2 + 8;

/// Why a payload is not taken over; RESTORE has one error text for each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpError {
    /// Too short for the envelope, of a later version, or changed on the way.
    VersionOrChecksum,
    /// The envelope is right, the value is not.
    Value(DecodeError),
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpError::VersionOrChecksum => {
                f.write_str("payload of a later version or with a wrong checksum")
            }
            DumpError::Value(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DumpError {}

/// The value in a payload. The envelope is checked first, so that chance damage never reaches the
/// decoder; a forged payload does, and meets its checks.
pub fn read(payload: &[u8]) -> Result<Value<'_>, DumpError> {
    open(payload)?;
    read_value(payload)
}

/// The same, whatever the checksum is: for tests, which forge payloads.
pub fn read_unchecked(payload: &[u8]) -> Result<Value<'_>, DumpError> {
    if payload.len() < TRAILER_BYTES {
        return Err(DumpError::VersionOrChecksum);
    }
    read_value(payload)
}

/// The version of the format that brought a type of value, as far as versions still matter.
fn version_of(kind: u8) -> u16 {
    match kind {
        SET_LISTPACK | STREAM_3 => 11,
        HASH_TIMED | HASH_LISTPACK_TIMED => VERSION_TIMED,
        _ => VERSION,
    }
}

/// As Redis reads it: what follows the value is not looked at, and a value that was cut short goes on in the trailer.
fn read_value(payload: &[u8]) -> Result<Value<'_>, DumpError> {
    let (kind, trailer) = (payload[0], &payload[payload.len() - TRAILER_BYTES..]);
    // A server of the payload's version would not know the type, and 7.0.15 is one.
    let version = u16::from_le_bytes([trailer[0], trailer[1]]).max(VERSION);
    if version_of(kind) > version {
        return Err(DumpError::Value(DecodeError::UnsupportedType(kind)));
    }
    Value::read(&mut Cursor::new(payload)).map_err(DumpError::Value)
}

/// What Redis calls the part of a value that is damaged, by the payload's first byte.
pub fn form_name(payload: &[u8]) -> &'static str {
    match payload.first() {
        Some(9) => "Zipmap",
        Some(10) => "List ziplist",
        Some(11) => "Intset",
        Some(12) => "Zset ziplist",
        Some(13) => "Hash ziplist",
        Some(14) => "Quicklist ziplist",
        Some(15 | 19 | 21) => "Stream listpack",
        Some(16) => "Hash listpack",
        Some(17) => "Zset listpack",
        Some(18) => "Quicklist listpack",
        _ => "Value",
    }
}

/// Ends a payload with the version that its type asks for, and checksum.
pub fn seal(mut out: Vec<u8>) -> Vec<u8> {
    let version = match out.first() {
        Some(&(HASH_TIMED | HASH_LISTPACK_TIMED)) => VERSION_TIMED,
        _ => VERSION,
    };
    out.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64::checksum(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// What is in a payload whose version is known and whose checksum is right.
pub fn open(payload: &[u8]) -> Result<&[u8], DumpError> {
    let envelope = payload
        .split_last_chunk()
        .and_then(|(checked, checksum)| Some((checked, checked.split_last_chunk()?, checksum)));
    let Some((checked, (value, version), checksum)) = envelope else {
        return Err(DumpError::VersionOrChecksum);
    };
    let known = u16::from_le_bytes(*version) <= VERSION_TIMED;
    if known && crc64::checksum(checked) == u64::from_le_bytes(*checksum) {
        Ok(value)
    } else {
        Err(DumpError::VersionOrChecksum)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Compression;
    use super::super::value::{self, HashForm};
    use super::*;
    use proptest::prelude::*;

    fn string(bytes: &[u8], compression: Compression) -> Vec<u8> {
        let mut out = Vec::new();
        value::write_string(&mut out, bytes, compression);
        seal(out)
    }

    fn hash<'p>(
        pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])>,
        form: HashForm,
        compression: Compression,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        value::write_hash(&mut out, pairs, form, compression);
        seal(out)
    }

    #[test]
    fn a_payload_is_that_of_the_reference_server() {
        // DUMP of the strings 10 and hello and of a hash, from redis-server 7.0.15.
        let int = b"\x00\xc0\x0a\x0a\x00n\x9fWE\x0e\xaec\xbb";
        let text = b"\x00\x05hello\x0a\x00cr\xdfve4 \x0a";
        let small_hash = b"\x10\x19\x19\x00\x00\x00\x04\x00\x81f\x02\x01\x01\x84name\x05\x85eagle\x06\xff\x0a\x00+\x87;\x87\xebZ0\x10";
        assert_eq!(string(b"10", Compression::Lzf), int);
        assert_eq!(string(b"hello", Compression::Lzf), text);
        let pairs: [(&[u8], &[u8]); 2] = [(b"f", b"1"), (b"name", b"eagle")];
        assert_eq!(
            hash(pairs.into_iter(), HashForm::Listpack, Compression::Lzf),
            small_hash
        );
        assert_eq!(read(text), Ok(Value::String(b"hello"[..].into())));
    }

    #[test]
    fn version_and_checksum_are_checked_before_the_value() {
        let good = string(b"value", Compression::Lzf);
        for cut in 0..good.len() {
            assert_eq!(
                read(&good[..cut]),
                Err(DumpError::VersionOrChecksum),
                "cut at {cut}"
            );
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(read(&bad), Err(DumpError::VersionOrChecksum), "byte {at}");
        }
        let (body, _) = good.split_last_chunk::<10>().unwrap();
        assert_eq!(
            read(&sealed_as(VERSION_TIMED + 1, body)),
            Err(DumpError::VersionOrChecksum)
        );
        assert!(read(&sealed_as(6, body)).is_ok());
    }

    #[test]
    fn a_type_of_a_later_version_is_unknown_to_an_earlier_one() {
        let body = b"\x14\x09\x09\x00\x00\x00\x01\x00\x05\x01\xff";
        let unknown = Err(DumpError::Value(DecodeError::UnsupportedType(SET_LISTPACK)));
        assert_eq!(read(&sealed_as(10, body)), unknown);
        assert_eq!(
            read(&sealed_as(11, body)),
            Ok(Value::Set(vec![b"5"[..].into()]))
        );
    }

    #[test]
    fn a_sealed_value_may_have_bytes_behind_it_and_needs_some() {
        let corrupt = |body: &[u8]| {
            assert!(
                matches!(read(&sealed_as(VERSION, body)), Err(DumpError::Value(_))),
                "{body:?}"
            )
        };
        corrupt(b"");
        // What it lacks may come from the trailer.
        corrupt(b"\x00\x0dab");
        assert!(read(&sealed_as(VERSION, b"\x00\x03ab")).is_ok());
        corrupt(b"\x04\x00");
        corrupt(b"\x12\x00");
        assert!(read(&sealed_as(VERSION, b"\x00\x01a-")).is_ok());
    }

    fn sealed_as(version: u16, body: &[u8]) -> Vec<u8> {
        let mut out = [body, &version.to_le_bytes()].concat();
        out.extend_from_slice(&crc64::checksum(&out).to_le_bytes());
        out
    }

    proptest! {
        #[test]
        fn any_forged_value_is_survived(body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            (proptest::sample::select(vec![0u8, 2, 4, 9, 11, 13, 16, 20]), proptest::collection::vec(any::<u8>(), 0..100))
                .prop_map(|(kind, rest)| [&[kind][..], &rest].concat()),
        ]) {
            if let Ok(value) = read(&sealed_as(VERSION, &body)) {
                let printed = format!("{value:?}");
                prop_assert!(!printed.is_empty());
            }
        }

        #[test]
        fn any_flipped_byte_inside_a_resealed_hash_is_survived(
            pairs in proptest::collection::btree_map("[a-c]{0,40}", "[0-9]{0,30}", 1..12),
            packed: bool,
            compress: bool,
            at: proptest::sample::Index,
            flip in 1..=255u8,
        ) {
            let form = if packed { HashForm::Listpack } else { HashForm::Table };
            let compression = if compress { Compression::Lzf } else { Compression::Off };
            let pairs: Vec<_> = pairs.iter().map(|(field, value)| (field.as_bytes(), value.as_bytes())).collect();
            let payload = hash(pairs.iter().copied(), form, compression);
            let (body, _) = payload.split_last_chunk::<10>().unwrap();
            let mut body = body.to_vec();
            let at = at.index(body.len());
            body[at] ^= flip;
            if let Ok(Value::Hash(read)) = read(&sealed_as(VERSION, &body)).map(Value::unpacked) {
                // What passes is a proper hash, if another one.
                let fields: std::collections::HashSet<_> = read.iter().map(|(field, _)| field).collect();
                prop_assert_eq!(fields.len(), read.len());
                prop_assert!(!read.is_empty());
            }
        }
    }
}
