//! Hashes whose fields expire, as Redis 7.4 and later write them (versions 12 and up).
//!
//! ```text
//! 24  hash: when the first field expires, count, (length after, string field, string value)
//! 25  hash: when the first field expires, string with a listpack of (field, value, when it expires)
//!
//! when the first field expires    eight bytes, little endian, Unix milliseconds
//! after                           0: the field does not expire; else when it does, less when the first does, plus 1
//! when it expires (25)            Unix milliseconds; 0: the field does not expire. Fields ascend by it, 0 is last
//! ```
//!
//! A hash in which no field expires is never written so.

use std::borrow::Cow;
use std::collections::HashSet;

use eagle_core::store::HashField;

use super::cursor::Cursor;
use super::string::{self, Compression};
use super::value::{HashForm, listpack_strings, unpack};
use super::{DecodeError, integer, length, listpack};

pub(super) const HASH_TIMED: u8 = 24;
pub(super) const HASH_LISTPACK_TIMED: u8 = 25;

/// Later than any expiry that Redis knows.
const AT_MS_MAX: u64 = (1 << 48) - 1;

/// A field, its value, and when it expires; borrowed from the input where they stand there as they are.
pub type TimedField<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>, Option<u64>);

/// Reads the value behind a type byte: at least one field, none twice, in the order of the input.
pub(super) fn read<'a>(
    kind: u8,
    cursor: &mut Cursor<'a>,
) -> Result<Vec<TimedField<'a>>, DecodeError> {
    let first = u64::from_le_bytes(cursor.array()?);
    let fields = match kind {
        HASH_TIMED => read_counted(cursor, first)?,
        _ => packed(unpack(string::read(cursor)?, listpack_strings)?)?,
    };
    if fields.is_empty() {
        return Err(DecodeError::EmptyCollection);
    }
    let mut names = HashSet::with_capacity(fields.len());
    if !fields.iter().all(|(name, ..)| names.insert(name.as_ref())) {
        return Err(DecodeError::Corrupt("hash with a field twice"));
    }
    Ok(fields)
}

fn read_counted<'a>(
    cursor: &mut Cursor<'a>,
    first: u64,
) -> Result<Vec<TimedField<'a>>, DecodeError> {
    const FIELD_BYTES_MIN: usize = 3;
    let count = length::read_count(cursor, FIELD_BYTES_MIN)?;
    // Grown as fields arrive: one in memory is much larger than the shortest one in the input.
    let mut fields = Vec::new();
    for _ in 0..count {
        let at = match length::read_plain(cursor)? {
            0 => None,
            after => Some(instant(first.checked_add(after - 1))?),
        };
        fields.push((string::read(cursor)?, string::read(cursor)?, at));
    }
    Ok(fields)
}

/// Fields of a listpack's elements.
fn packed(elements: Vec<Cow<'_, [u8]>>) -> Result<Vec<TimedField<'_>>, DecodeError> {
    let mut fields = Vec::with_capacity(elements.len() / 3);
    let mut elements = elements.into_iter();
    while let Some(name) = elements.next() {
        let (Some(value), Some(at)) = (elements.next(), elements.next()) else {
            return Err(DecodeError::Corrupt(
                "hash with a field without value or expiry",
            ));
        };
        let at = integer::canonical(&at).and_then(|at| u64::try_from(at).ok());
        let at = match at.ok_or(DecodeError::Corrupt("an expiry is no number"))? {
            0 => None,
            at => Some(instant(Some(at))?),
        };
        fields.push((name, value, at));
    }
    Ok(fields)
}

/// An expiry within bounds. Zero means none elsewhere, and is as long gone as 1.
fn instant(at: Option<u64>) -> Result<u64, DecodeError> {
    at.filter(|at| *at <= AT_MS_MAX)
        .map(|at| at.max(1))
        .ok_or(DecodeError::Corrupt("an expiry is too late"))
}

/// Appends a hash in which some field expires, with its type byte. For [`HashForm::Listpack`] the fields are within the
/// limits of packed hashes.
pub(super) fn write<'f>(
    out: &mut Vec<u8>,
    fields: impl ExactSizeIterator<Item = HashField<'f>> + Clone,
    form: HashForm,
    compression: Compression,
) {
    let first = fields.clone().filter_map(|field| field.ttl_at).min();
    let first = first.unwrap_or(0);
    match form {
        HashForm::Listpack => {
            let mut ordered: Vec<HashField<'_>> = fields.collect();
            ordered.sort_by_key(|field| field.ttl_at.unwrap_or(u64::MAX));
            let mut packed = listpack::Writer::default();
            for field in ordered {
                packed.push(field.name);
                packed.push(field.value);
                let at = itoa::Buffer::new()
                    .format(field.ttl_at.unwrap_or(0))
                    .to_owned();
                packed.push(at.as_bytes());
            }
            out.push(HASH_LISTPACK_TIMED);
            out.extend_from_slice(&first.to_le_bytes());
            string::write(out, &packed.finish(), compression);
        }
        HashForm::Table => {
            out.push(HASH_TIMED);
            out.extend_from_slice(&first.to_le_bytes());
            length::write(out, fields.len() as u64);
            for field in fields {
                length::write(out, field.ttl_at.map_or(0, |at| at - first + 1));
                string::write(out, field.name, compression);
                string::write(out, field.value, compression);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;
    use proptest::prelude::*;

    fn read_back(bytes: &[u8]) -> Result<Vec<TimedField<'_>>, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        match Value::read(&mut cursor)? {
            Value::TimedHash(fields) if cursor.is_empty() => Ok(fields),
            other => panic!("{other:?} and {} bytes", cursor.remaining()),
        }
    }

    const FIELDS: [HashField<'static>; 3] = [
        HashField {
            name: b"a",
            value: b"1",
            ttl_at: None,
        },
        HashField {
            name: b"b",
            value: b"x",
            ttl_at: Some(2_524_600_801_000),
        },
        HashField {
            name: b"c",
            value: b"y",
            ttl_at: Some(2_524_600_800_000),
        },
    ];

    #[test]
    fn the_forms_are_those_of_redis_7_4() {
        let mut out = Vec::new();
        write(
            &mut out,
            FIELDS.into_iter(),
            HashForm::Table,
            Compression::Off,
        );
        let mut expected = vec![24];
        expected.extend(2_524_600_800_000u64.to_le_bytes());
        expected.extend(b"\x03\x00\x01a\xc0\x01\x43\xe9\x01b\x01x\x01\x01c\x01y");
        assert_eq!(out, expected);
        out.clear();
        write(
            &mut out,
            FIELDS.into_iter(),
            HashForm::Listpack,
            Compression::Off,
        );
        let mut packed = listpack::Writer::default();
        for text in [
            "c",
            "y",
            "2524600800000",
            "b",
            "x",
            "2524600801000",
            "a",
            "1",
            "0",
        ] {
            packed.push(text.as_bytes());
        }
        let mut expected = vec![25];
        expected.extend(2_524_600_800_000u64.to_le_bytes());
        string::write(&mut expected, &packed.finish(), Compression::Off);
        assert_eq!(out, expected);
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        let with = |kind: u8, rest: &[u8]| [&[kind][..], &1000u64.to_le_bytes(), rest].concat();
        assert!(read_back(&with(24, b"\x01\x00\x01a\x01x")).is_ok());
        assert_eq!(
            read_back(&with(24, b"\x00")),
            Err(DecodeError::EmptyCollection)
        );
        for bad in [
            with(24, b"\x02\x00\x01a\x01x\x00\x01a\x01y"),
            with(24, b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a\x01x"),
            with(24, b"\x01\x81\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x01x"),
            with(24, b"\x02\x00\x01a\x01x"),
            vec![24, 0, 0],
        ] {
            assert!(
                matches!(read_back(&bad), Err(DecodeError::Corrupt(_))),
                "{bad:?}"
            );
        }
        for elements in [
            &["a", "x"][..],
            &["a", "x", "y"],
            &["a", "x", "-1"],
            &["a", "x", "1", "a", "y", "0"],
        ] {
            let mut packed = listpack::Writer::default();
            elements
                .iter()
                .for_each(|element| packed.push(element.as_bytes()));
            let mut bad = with(25, b"");
            string::write(&mut bad, &packed.finish(), Compression::Off);
            assert!(
                matches!(read_back(&bad), Err(DecodeError::Corrupt(_))),
                "{elements:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            fields in prop::collection::btree_map("[a-e0-9]{0,5}", ("[0-9x]{0,30}", prop::option::of(1..1u64 << 48)), 1..20),
            packed: bool,
        ) {
            let fields: Vec<HashField<'_>> = fields
                .iter()
                .map(|(name, (value, ttl_at))| HashField { name: name.as_bytes(), value: value.as_bytes(), ttl_at: *ttl_at })
                .collect();
            let form = if packed { HashForm::Listpack } else { HashForm::Table };
            let mut out = Vec::new();
            write(&mut out, fields.iter().copied(), form, Compression::Lzf);
            let mut read: Vec<_> = read_back(&out).unwrap();
            read.sort();
            let read: Vec<HashField<'_>> = read
                .iter()
                .map(|(name, value, ttl_at)| HashField { name, value, ttl_at: *ttl_at })
                .collect();
            prop_assert_eq!(read, fields);
        }

        #[test]
        fn any_forged_value_is_survived(kind in 24u8..26, rest in prop::collection::vec(any::<u8>(), 0..80)) {
            let bytes = [&[kind][..], &rest].concat();
            let _ = Value::read(&mut Cursor::new(&bytes));
        }
    }
}
