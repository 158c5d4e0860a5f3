//! A whole value behind its type byte: read in every form of versions 1 to 10, written in 10's.
//!
//! A type byte of anything else than the types there are is refused, because only a
//! type that can be kept may be taken over. A further type adds its variant to [`Value`], its
//! rows to [`Value::read`], and a `write_` function.
//!
//! ```text
//!  0  string
//!  1, 10, 14, 18  list: see `list`
//!  2  set: count, string member
//!  3  sorted set: count, (string member, score as text)
//!  4  hash: count, (string field, string value)
//!  5  sorted set: count, (string member, score in eight bytes), from the highest score
//!  9  hash: string with a zipmap
//! 11  set: string with an intset
//! 12  sorted set: string with a ziplist, members and scores alternating
//! 13  hash: string with a ziplist, fields and values alternating
//! 16  hash: string with a listpack, fields and values alternating
//! 15  stream, as Redis 5.0 wrote it
//! 19  stream
//! 21  stream, as Redis 7.2 writes it (only read)
//! 17  sorted set: string with a listpack, members and scores alternating
//! 20  set: string with a listpack (only read: later versions write it)
//! 24, 25  hash whose fields expire: see `timed_hash` (version 12)
//! ```

use std::borrow::Cow;
use std::collections::HashSet;

use eagle_core::store::{HashField, StreamImage, StreamRef, StringRead};

use super::cursor::Cursor;
use super::element::Element;
use super::list::{self, LIST, LIST_QUICKLIST, LIST_QUICKLIST_2, LIST_ZIPLIST};
use super::packed_string::PackedString;
use super::string::{self, Compression, Whole};
use super::timed_hash::{self, HASH_LISTPACK_TIMED, HASH_TIMED, TimedField};
use super::{
    DecodeError, double, integer, intset, length, listpack, stream, ziplist, zipmap, zset,
};

const STRING: u8 = 0;
const SET: u8 = 2;
const ZSET_TEXT: u8 = 3;
const HASH: u8 = 4;
const ZSET: u8 = 5;
const HASH_ZIPMAP: u8 = 9;
const SET_INTSET: u8 = 11;
const ZSET_ZIPLIST: u8 = 12;
const HASH_ZIPLIST: u8 = 13;
const HASH_LISTPACK: u8 = 16;
const STREAM: u8 = 15;
const STREAM_2: u8 = 19;
const ZSET_LISTPACK: u8 = 17;
pub(super) const SET_LISTPACK: u8 = 20;
pub(super) const STREAM_3: u8 = 21;

/// A field and its value, borrowed from the input where they stand there as they are.
pub type FieldValue<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// A decoded value, independent of how it was encoded.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    String(Cow<'a, [u8]>),
    /// A long string, compressed.
    PackedString(PackedString<'a>),
    /// At least one pair, no field twice, in the order of the input.
    Hash(Vec<FieldValue<'a>>),
    /// The same, from a packed form.
    PackedHash(Vec<FieldValue<'a>>),
    /// The same, with when each field expires.
    TimedHash(Vec<TimedField<'a>>),
    /// At least one element.
    List(Vec<Cow<'a, [u8]>>),
    /// At least one member, none twice, in the order of the input.
    Set(Vec<Cow<'a, [u8]>>),
    Stream(StreamImage),
    /// At least one member, none twice, in the order of the input.
    Zset(Vec<zset::Scored<'a>>),
    /// The same, from a packed form.
    PackedZset(Vec<zset::Scored<'a>>),
}

/// Up to where a hash is written packed (directives `hash-max-listpack-entries` and
/// `hash-max-listpack-value`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedHashLimits {
    /// Most pairs.
    pub pairs_max: usize,
    /// Longest field or value, in bytes.
    pub element_bytes_max: usize,
}

impl Default for PackedHashLimits {
    fn default() -> PackedHashLimits {
        PackedHashLimits {
            pairs_max: 512,
            element_bytes_max: 64,
        }
    }
}

/// The two forms a hash is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashForm {
    /// One listpack (`OBJECT ENCODING` says `listpack`).
    Listpack,
    /// A count and pairs (`hashtable`).
    Table,
}

impl HashForm {
    /// The form a hash of these pairs has if it was always within the limits.
    pub fn of<'p>(
        pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>,
        limits: PackedHashLimits,
    ) -> HashForm {
        let (mut count, mut bytes) = (0, 0usize);
        for (field, value) in pairs {
            count += 1;
            bytes = bytes.saturating_add(
                field.len() + value.len() + 2 * listpack::ELEMENT_OVERHEAD_BYTES_MAX,
            );
            if count > limits.pairs_max
                || field.len().max(value.len()) > limits.element_bytes_max
                || bytes > listpack::WRITTEN_BYTES_MAX
            {
                return HashForm::Table;
            }
        }
        HashForm::Listpack
    }
}

impl<'a> Value<'a> {
    /// Reads a type byte and the value behind it.
    ///
    /// Packed blobs are checked to the end, whatever `sanitize-dump-payload` says: unpacking them
    /// visits every element anyway.
    pub fn read(cursor: &mut Cursor<'a>) -> Result<Value<'a>, DecodeError> {
        let kind = cursor.byte()?;
        Value::read_as(kind, cursor)
    }

    /// The same value without the form it came in.
    pub fn unpacked(self) -> Value<'a> {
        match self {
            Value::PackedHash(pairs) => Value::Hash(pairs),
            Value::PackedZset(members) => Value::Zset(members),
            other => other,
        }
    }

    /// Reads a value whose type byte stands elsewhere: in a file the key lies between.
    pub fn read_as(kind: u8, cursor: &mut Cursor<'a>) -> Result<Value<'a>, DecodeError> {
        match kind {
            STRING => string::read_whole(cursor).map(|string| match string {
                Whole::Bytes(bytes) => Value::String(bytes),
                Whole::Packed(packed) => Value::PackedString(packed),
            }),
            SET => set_of(read_members(cursor)?),
            SET_INTSET => set_of(intset_members(&string::read(cursor)?)?),
            SET_LISTPACK => set_of(unpack(string::read(cursor)?, listpack_strings)?),
            kind @ (LIST | LIST_ZIPLIST | LIST_QUICKLIST | LIST_QUICKLIST_2) => {
                list::read(kind, cursor).map(Value::List)
            }
            HASH => hash_of(read_pairs(cursor)?).map(Value::Hash),
            // The oldest form alone is held to all limits.
            HASH_ZIPMAP => {
                hash_of(paired(unpack(string::read(cursor)?, zipmap_strings)?)?).map(Value::Hash)
            }
            HASH_ZIPLIST => hash_of(paired(unpack(string::read(cursor)?, ziplist_strings)?)?)
                .map(Value::PackedHash),
            HASH_LISTPACK => hash_of(paired(unpack(string::read(cursor)?, listpack_strings)?)?)
                .map(Value::PackedHash),
            kind @ (HASH_TIMED | HASH_LISTPACK_TIMED) => {
                timed_hash::read(kind, cursor).map(Value::TimedHash)
            }
            STREAM => stream::read(cursor, stream::Form::First).map(Value::Stream),
            STREAM_2 => stream::read(cursor, stream::Form::Second).map(Value::Stream),
            STREAM_3 => stream::read(cursor, stream::Form::Third).map(Value::Stream),
            ZSET_TEXT => zset::read(cursor, double::read_text).map(Value::Zset),
            ZSET => zset::read(cursor, double::read_binary).map(Value::Zset),
            ZSET_ZIPLIST => {
                zset::of_pairs(paired(unpack(string::read(cursor)?, ziplist_strings)?)?)
                    .map(Value::PackedZset)
            }
            ZSET_LISTPACK => {
                zset::of_pairs(paired(unpack(string::read(cursor)?, listpack_strings)?)?)
                    .map(Value::PackedZset)
            }
            other => Err(DecodeError::UnsupportedType(other)),
        }
    }
}

/// Appends a stream with its type byte.
pub fn write_stream(out: &mut Vec<u8>, stream: &StreamRef<'_>, compression: Compression) {
    out.push(STREAM_2);
    stream::write(out, stream, compression);
}

/// Appends a string with its type byte.
pub fn write_string(out: &mut Vec<u8>, bytes: &[u8], compression: Compression) {
    out.push(STRING);
    string::write(out, bytes, compression);
}

/// Appends a long string that lies in pieces, with its type byte.
pub fn write_string_apart(
    out: &mut Vec<u8>,
    string: &StringRead<'_, '_>,
    compression: Compression,
) {
    out.push(STRING);
    string::write_apart(out, string, compression);
}

/// Appends a hash in which some field expires, with its type byte.
///
/// For [`HashForm::Listpack`] the fields are within what [`HashForm::of`] accepts.
pub fn write_timed_hash<'f>(
    out: &mut Vec<u8>,
    fields: impl ExactSizeIterator<Item = HashField<'f>> + Clone,
    form: HashForm,
    compression: Compression,
) {
    timed_hash::write(out, fields, form, compression);
}

/// Appends a hash with its type byte.
///
/// For [`HashForm::Listpack`] the pairs are within what [`HashForm::of`] accepts.
pub fn write_hash<'p>(
    out: &mut Vec<u8>,
    pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])>,
    form: HashForm,
    compression: Compression,
) {
    match form {
        HashForm::Listpack => {
            let mut packed = listpack::Writer::default();
            for (field, value) in pairs {
                packed.push(field);
                packed.push(value);
            }
            out.push(HASH_LISTPACK);
            string::write(out, &packed.finish(), compression);
        }
        HashForm::Table => {
            out.push(HASH);
            length::write(out, pairs.len() as u64);
            for (field, value) in pairs {
                string::write(out, field, compression);
                string::write(out, value, compression);
            }
        }
    }
}

/// Appends a set of members that are not all small integers, with its type byte.
pub fn write_set<'m>(
    out: &mut Vec<u8>,
    members: impl ExactSizeIterator<Item = &'m [u8]>,
    compression: Compression,
) {
    out.push(SET);
    length::write(out, members.len() as u64);
    members.for_each(|member| string::write(out, member, compression));
}

/// Appends a set that is packed as an intset, with its type byte.
pub fn write_intset(out: &mut Vec<u8>, blob: &[u8], compression: Compression) {
    out.push(SET_INTSET);
    string::write(out, blob, compression);
}

/// Accepts the members as a set: at least one, and none twice.
fn set_of(members: Vec<Cow<'_, [u8]>>) -> Result<Value<'_>, DecodeError> {
    if members.is_empty() {
        return Err(DecodeError::EmptyCollection);
    }
    let mut seen = HashSet::with_capacity(members.len());
    if !members.iter().all(|member| seen.insert(member.as_ref())) {
        return Err(DecodeError::Corrupt("set with a member twice"));
    }
    Ok(Value::Set(members))
}

fn read_members<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<Cow<'a, [u8]>>, DecodeError> {
    const MEMBER_BYTES_MIN: usize = 1;
    let count = length::read_count(cursor, MEMBER_BYTES_MIN)?;
    // Grown as members arrive, as with pairs.
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(string::read(cursor)?);
    }
    Ok(members)
}

fn intset_members(blob: &[u8]) -> Result<Vec<Cow<'static, [u8]>>, DecodeError> {
    let members = intset::members(blob)?;
    let text = |member| Cow::Owned(integer::text(member));
    Ok(members.into_iter().map(text).collect())
}

/// Appends a sorted set with its type byte.
///
/// For [`HashForm::Listpack`] the members come in order, and are within the limits of packed sorted sets; for
/// [`HashForm::Table`] they come from the last to the first.
pub fn write_zset<'m>(
    out: &mut Vec<u8>,
    members: impl ExactSizeIterator<Item = (&'m [u8], f64)>,
    form: HashForm,
    compression: Compression,
) {
    match form {
        HashForm::Listpack => {
            out.push(ZSET_LISTPACK);
            string::write(out, &zset::packed(members), compression);
        }
        HashForm::Table => {
            out.push(ZSET);
            zset::write(out, members, compression);
        }
    }
}

/// Accepts the pairs as a hash: at least one, and no field twice.
fn hash_of(pairs: Vec<FieldValue<'_>>) -> Result<Vec<FieldValue<'_>>, DecodeError> {
    if pairs.is_empty() {
        return Err(DecodeError::EmptyCollection);
    }
    let mut fields = HashSet::with_capacity(pairs.len());
    if !pairs.iter().all(|(field, _)| fields.insert(field.as_ref())) {
        return Err(DecodeError::Corrupt("hash with a field twice"));
    }
    Ok(pairs)
}

fn read_pairs<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<FieldValue<'a>>, DecodeError> {
    const PAIR_BYTES_MIN: usize = 2;
    let count = length::read_count(cursor, PAIR_BYTES_MIN)?;
    // Grown as pairs arrive: a pair in memory is much larger than the shortest one in the input.
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push((string::read(cursor)?, string::read(cursor)?));
    }
    Ok(pairs)
}

/// Unpacks the strings of a blob; they borrow from the input unless the blob itself was compressed.
pub(super) fn unpack<'a>(
    blob: Cow<'a, [u8]>,
    strings_of: impl for<'b> Fn(&'b [u8]) -> Result<Vec<Cow<'b, [u8]>>, DecodeError>,
) -> Result<Vec<Cow<'a, [u8]>>, DecodeError> {
    match blob {
        Cow::Borrowed(blob) => strings_of(blob),
        Cow::Owned(blob) => {
            let strings = strings_of(&blob)?.into_iter();
            Ok(strings.map(|text| Cow::Owned(text.into_owned())).collect())
        }
    }
}

/// Fields and values of a zipmap, alternating.
fn zipmap_strings(blob: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, DecodeError> {
    let mut strings = Vec::new();
    for pair in zipmap::pairs(blob)? {
        let (field, value) = pair?;
        strings.extend([Cow::Borrowed(field), Cow::Borrowed(value)]);
    }
    Ok(strings)
}

pub(super) fn ziplist_strings(blob: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, DecodeError> {
    let elements = ziplist::elements(blob)?;
    elements.map(|element| element.map(Element::text)).collect()
}

pub(super) fn listpack_strings(blob: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, DecodeError> {
    let elements = listpack::elements(blob)?;
    elements.map(|element| element.map(Element::text)).collect()
}

/// Alternating fields and values as pairs.
fn paired(strings: Vec<Cow<'_, [u8]>>) -> Result<Vec<FieldValue<'_>>, DecodeError> {
    let mut pairs = Vec::with_capacity(strings.len() / 2);
    let mut strings = strings.into_iter();
    while let Some(field) = strings.next() {
        let value = strings
            .next()
            .ok_or(DecodeError::Corrupt("hash with a field without value"))?;
        pairs.push((field, value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::rdb::ziplist::tests as old;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Value<'_>, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let value = Value::read(&mut cursor)?;
        assert!(cursor.is_empty());
        Ok(value.unpacked())
    }

    /// A type byte and a blob as a raw string.
    fn packed(kind: u8, blob: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        string::write(&mut out, blob, Compression::Off);
        out
    }

    fn listpack_of(elements: &[&[u8]]) -> Vec<u8> {
        let mut writer = listpack::Writer::default();
        elements.iter().for_each(|element| writer.push(element));
        packed(HASH_LISTPACK, &writer.finish())
    }

    fn hash(pairs: &[(&'static str, &'static str)]) -> Value<'static> {
        let bytes = |text: &'static str| Cow::Borrowed(text.as_bytes());
        Value::Hash(
            pairs
                .iter()
                .map(|(field, value)| (bytes(field), bytes(value)))
                .collect(),
        )
    }

    #[test]
    fn every_form_of_a_hash_reads_as_the_same_value() {
        let expected = hash(&[("a", "5"), ("bc", "x")]);
        assert_eq!(read(b"\x04\x02\x01a\xc0\x05\x02bc\x01x").unwrap(), expected);
        let zipmap = packed(HASH_ZIPMAP, b"\x02\x01a\x01\x005\x02bc\x01\x01x-\xff");
        assert_eq!(read(&zipmap).unwrap(), expected);
        let entries = [
            old::string(b"a"),
            vec![0xf6],
            old::string(b"bc"),
            old::string(b"x"),
        ];
        assert_eq!(
            read(&packed(HASH_ZIPLIST, &old::blob_of(&entries))).unwrap(),
            expected
        );
        assert_eq!(
            read(&listpack_of(&[b"a", b"5", b"bc", b"x"])).unwrap(),
            expected
        );
    }

    #[test]
    fn what_came_packed_is_told_from_what_did_not() {
        let zipmap = packed(HASH_ZIPMAP, b"\x01\x01a\x01\x005\xff");
        let forms = [
            b"\x04\x01\x01a\x015".to_vec(),
            zipmap,
            listpack_of(&[b"a", b"5"]),
        ];
        let values = forms
            .each_ref()
            .map(|bytes| Value::read(&mut Cursor::new(bytes)).unwrap());
        assert!(matches!(
            values,
            [Value::Hash(_), Value::Hash(_), Value::PackedHash(_)]
        ));
    }

    #[test]
    fn a_compressed_blob_is_unpacked_too() {
        let value = "v".repeat(60);
        let pairs = [(&b"field"[..], value.as_bytes())];
        let mut out = Vec::new();
        write_hash(
            &mut out,
            pairs.into_iter(),
            HashForm::Listpack,
            Compression::Lzf,
        );
        assert!(out.len() < 40);
        assert_eq!(
            read(&out).unwrap(),
            Value::Hash(vec![(b"field"[..].into(), value.as_bytes().into())])
        );
    }

    #[test]
    fn a_field_twice_is_refused_in_every_form() {
        assert!(read(b"\x04\x02\x015\x01x\xc0\x05\x01y").is_err());
        assert!(
            read(&packed(
                HASH_ZIPMAP,
                b"\x02\x01a\x01\x005\x01a\x01\x00x\xff"
            ))
            .is_err()
        );
        let entries = [
            old::string(b"5"),
            old::string(b"x"),
            vec![0xf6],
            old::string(b"y"),
        ];
        assert!(read(&packed(HASH_ZIPLIST, &old::blob_of(&entries))).is_err());
        assert!(read(&listpack_of(&[b"a", b"1", b"a", b"2"])).is_err());
    }

    #[test]
    fn a_field_without_value_is_refused() {
        assert!(read(b"\x04\x01\x01a").is_err());
        assert!(read(&listpack_of(&[b"a", b"1", b"b"])).is_err());
        assert!(read(&packed(HASH_ZIPLIST, &old::blob_of(&[old::string(b"a")]))).is_err());
    }

    #[test]
    fn an_empty_hash_is_told_from_a_corrupt_one() {
        let empty = Err(DecodeError::EmptyCollection);
        assert_eq!(read(b"\x04\x00"), empty);
        assert_eq!(read(&listpack_of(&[])), empty);
        assert_eq!(read(&packed(HASH_ZIPLIST, &old::blob_of(&[]))), empty);
        assert_eq!(read(&packed(HASH_ZIPMAP, b"\x00\xff")), empty);
    }

    fn set(members: &[&'static str]) -> Value<'static> {
        let bytes = |text: &&'static str| Cow::Borrowed(text.as_bytes());
        Value::Set(members.iter().map(bytes).collect())
    }

    #[test]
    fn every_form_of_a_set_reads_as_the_same_value() {
        let expected = set(&["-1", "5"]);
        assert_eq!(read(b"\x02\x02\xc0\xff\xc0\x05").unwrap(), expected);
        let intset = packed(SET_INTSET, b"\x02\0\0\0\x02\0\0\0\xff\xff\x05\0");
        assert_eq!(read(&intset).unwrap(), expected);
        let mut listpack = listpack_of(&[b"-1", b"5"]);
        listpack[0] = SET_LISTPACK;
        assert_eq!(read(&listpack).unwrap(), expected);
    }

    #[test]
    fn sets_are_written_as_they_are_packed() {
        let mut out = Vec::new();
        write_set(&mut out, [&b"a"[..], b"5"].into_iter(), Compression::Off);
        assert_eq!(out, b"\x02\x02\x01a\xc0\x05");
        assert_eq!(read(&out).unwrap(), set(&["a", "5"]));
        let blob = b"\x02\0\0\0\x01\0\0\0\x05\0";
        out.clear();
        write_intset(&mut out, blob, Compression::Off);
        assert_eq!(out, packed(SET_INTSET, blob));
    }

    #[test]
    fn improper_sets_are_refused() {
        assert_eq!(read(b"\x02\x00"), Err(DecodeError::EmptyCollection));
        assert!(read(b"\x02\x02\x01a\x01a").is_err(), "a member twice");
        assert!(read(b"\x02\x02\x015\xc0\x05").is_err(), "a number twice");
        assert!(read(b"\x02\x03\x01a").is_err(), "too short");
        let empty = packed(SET_INTSET, b"\x02\0\0\0\0\0\0\0");
        assert_eq!(read(&empty), Err(DecodeError::EmptyCollection));
        assert!(read(&packed(SET_INTSET, b"\x02\0\0\0\x02\0\0\0\x05\0\x05\0")).is_err());
    }

    #[test]
    fn other_types_and_impossible_counts_are_refused() {
        assert_eq!(read(b"\x07\x00"), Err(DecodeError::UnsupportedType(7)));
        assert_eq!(read(b"\xff"), Err(DecodeError::UnsupportedType(255)));
        assert!(read(b"").is_err());
        assert!(read(b"\x04\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00").is_err());
    }

    #[test]
    fn the_form_follows_the_limits() {
        let limits = PackedHashLimits {
            pairs_max: 2,
            element_bytes_max: 3,
        };
        let form =
            |pairs: &[(&'static [u8], &'static [u8])]| HashForm::of(pairs.iter().copied(), limits);
        assert_eq!(form(&[(b"abc", b"1"), (b"b", b"def")]), HashForm::Listpack);
        assert_eq!(
            form(&[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]),
            HashForm::Table
        );
        assert_eq!(form(&[(b"abcd", b"1")]), HashForm::Table);
        assert_eq!(form(&[(b"a", b"1234")]), HashForm::Table);
    }

    proptest! {
        #[test]
        fn any_hash_survives_in_both_forms(
            pairs in proptest::collection::btree_map(
                proptest::collection::vec(any::<u8>(), 0..30),
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..100),
                    any::<i64>().prop_map(|value| value.to_string().into_bytes()),
                    (0..300usize).prop_map(|len| vec![b'v'; len]),
                ],
                1..30,
            ),
            packed: bool,
            compress: bool,
        ) {
            let form = if packed { HashForm::Listpack } else { HashForm::Table };
            let compression = if compress { Compression::Lzf } else { Compression::Off };
            let mut out = Vec::new();
            let slices: Vec<(&[u8], &[u8])> = pairs.iter().map(|(field, value)| (&field[..], &value[..])).collect();
            write_hash(&mut out, slices.iter().copied(), form, compression);
            let expected = slices.iter().map(|&(field, value)| (field.into(), value.into())).collect();
            prop_assert_eq!(read(&out).unwrap(), Value::Hash(expected));
        }
    }
}
