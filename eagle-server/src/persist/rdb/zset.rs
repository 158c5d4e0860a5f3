//! Sorted sets: members and scores, counted or packed.

use std::borrow::Cow;
use std::collections::HashSet;

use eagle_core::text::double::{self, DoubleText};

use super::cursor::Cursor;
use super::string::{self, Compression};
use super::value::FieldValue;
use super::{DecodeError, double as binary, length, listpack};

/// A member, borrowed from the input where it stands there as it is, and its score.
pub type Scored<'a> = (Cow<'a, [u8]>, f64);

/// Reads a count and so many members, their scores in the form that `score` reads.
pub(super) fn read<'a>(
    cursor: &mut Cursor<'a>,
    score: impl Fn(&mut Cursor<'a>) -> Result<f64, DecodeError>,
) -> Result<Vec<Scored<'a>>, DecodeError> {
    const MEMBER_BYTES_MIN: usize = 2;
    let count = length::read_count(cursor, MEMBER_BYTES_MIN)?;
    let mut members = Vec::new();
    for _ in 0..count {
        members.push((string::read(cursor)?, score(cursor)?));
    }
    checked(members)
}

/// Members and scores as a packed blob has them: scores as text.
pub(super) fn of_pairs(pairs: Vec<FieldValue<'_>>) -> Result<Vec<Scored<'_>>, DecodeError> {
    let members = pairs
        .into_iter()
        .map(|(member, score)| (member, number_at_start(&score)));
    checked(members.collect())
}

/// The number that a text begins with, 0 if none: so `strtod` reads the scores of a packed blob, which nobody has checked.
fn number_at_start(text: &[u8]) -> f64 {
    const BYTES_MAX: usize = 127;
    let starts = (1..=text.len().min(BYTES_MAX))
        .rev()
        .map(|len| &text[..len]);
    starts
        .into_iter()
        .find_map(double::parse_range_end)
        .unwrap_or(0.0)
}

/// Accepts members as a sorted set: at least one, none twice, scores that are numbers.
fn checked(members: Vec<Scored<'_>>) -> Result<Vec<Scored<'_>>, DecodeError> {
    if members.is_empty() {
        return Err(DecodeError::EmptyCollection);
    }
    if members.iter().any(|(_, score)| score.is_nan()) {
        return Err(DecodeError::Corrupt("a score is no number"));
    }
    let mut names = HashSet::with_capacity(members.len());
    if !members.iter().all(|(name, _)| names.insert(name.as_ref())) {
        return Err(DecodeError::Corrupt("sorted set with a member twice"));
    }
    Ok(members)
}

/// The listpack of members, which are in order.
pub(super) fn packed<'m>(members: impl Iterator<Item = (&'m [u8], f64)>) -> Vec<u8> {
    let mut packed = listpack::Writer::default();
    for (member, score) in members {
        packed.push(member);
        packed.push(DoubleText::new(score).as_bytes());
    }
    packed.finish()
}

/// Appends a count and the members, which come from the last to the first: so that a reader that inserts them one by one
/// always inserts at the front.
pub(super) fn write<'m>(
    out: &mut Vec<u8>,
    members: impl ExactSizeIterator<Item = (&'m [u8], f64)>,
    compression: Compression,
) {
    length::write(out, members.len() as u64);
    for (member, score) in members {
        string::write(out, member, compression);
        binary::write_binary(out, score);
    }
}

#[cfg(test)]
mod tests {
    use crate::persist::rdb::cursor::Cursor;
    use crate::persist::rdb::value::{HashForm, Value, write_zset};
    use crate::persist::rdb::ziplist::tests as old;
    use crate::persist::rdb::{Compression, DecodeError, string};
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Value<'_>, DecodeError> {
        Value::read(&mut Cursor::new(bytes)).map(Value::unpacked)
    }

    #[test]
    fn every_form_reads_as_the_same_value() {
        let expected = Value::Zset(vec![(b"a"[..].into(), 1.0), (b"5"[..].into(), 2.5)]);
        assert_eq!(
            read(b"\x03\x02\x01a\x011\xc0\x05\x032.5").unwrap(),
            expected
        );
        let binary = [
            &b"\x05\x02\x01a"[..],
            &1f64.to_le_bytes(),
            b"\xc0\x05",
            &2.5f64.to_le_bytes(),
        ];
        assert_eq!(read(&binary.concat()).unwrap(), expected);
        let entries = [
            old::string(b"a"),
            vec![0xf2],
            vec![0xf6],
            old::string(b"2.5"),
        ];
        let mut ziplist = vec![12];
        string::write(&mut ziplist, &old::blob_of(&entries), Compression::Off);
        assert_eq!(read(&ziplist).unwrap(), expected);
    }

    #[test]
    fn what_no_sorted_set_can_be_is_refused() {
        assert_eq!(read(b"\x03\x00"), Err(DecodeError::EmptyCollection));
        assert!(read(b"\x03\x01\x01a\xfd").is_err());
        assert!(read(b"\x03\x02\x01a\x011\x01a\x012").is_err());
        assert!(read(&[&b"\x05\x01\x01a"[..], &f64::NAN.to_le_bytes()].concat()).is_err());
    }

    proptest! {
        #[test]
        fn any_sorted_set_survives_in_both_forms(
            members in proptest::collection::btree_map(
                proptest::collection::vec(any::<u8>(), 0..30),
                prop_oneof![any::<f64>(), any::<i32>().prop_map(f64::from)],
                1..30,
            ),
            form in prop_oneof![Just(HashForm::Listpack), Just(HashForm::Table)],
        ) {
            let mut members: Vec<(&[u8], f64)> = members.iter().map(|(name, score)| (&name[..], *score)).collect();
            prop_assume!(members.iter().all(|(_, score)| !score.is_nan()));
            if form == HashForm::Table {
                members.reverse();
            }
            let mut out = Vec::new();
            write_zset(&mut out, members.iter().copied(), form, Compression::Lzf);
            let Value::Zset(read) = read(&out).unwrap() else { panic!("another type") };
            let read: Vec<(&[u8], f64)> = read.iter().map(|(name, score)| (&name[..], *score)).collect();
            prop_assert_eq!(read, members);
        }
    }
}
