//! Zipmap: the packed hash of Redis up to 2.4. Read only.
//!
//! ```text
//! u8 pairs (254: unknown) . pairs . FF
//! pair   = length . field . length . u8 free bytes . value . free bytes
//! length = 1 byte below FE, or FE + u32 little endian
//! ```
//!
//! Reading checks as it goes: who takes the iterator to its end has checked the whole blob.

use super::DecodeError;
use super::cursor::Cursor;

const COUNT_UNKNOWN: u8 = 254;
const LENGTH_WIDE: u8 = 254;
const END: u8 = 0xff;

/// Reads the pairs of a blob. A fault found on the way is the last item.
pub fn pairs(blob: &[u8]) -> Result<Pairs<'_>, DecodeError> {
    let mut cursor = Cursor::new(blob);
    let announced = cursor.byte()?;
    let Some((&END, pairs)) = blob[1..].split_last() else {
        return Err(DecodeError::Corrupt("zipmap without end mark"));
    };
    Ok(Pairs {
        pairs: Cursor::new(pairs),
        announced,
        seen: 0,
        done: false,
    })
}

/// The fields and values of a zipmap, first to last.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    pairs: Cursor<'a>,
    announced: u8,
    seen: u64,
    done: bool,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.pairs.is_empty() {
            self.done = true;
            let counted = self.announced == COUNT_UNKNOWN || u64::from(self.announced) == self.seen;
            return (!counted).then_some(Err(DecodeError::Corrupt(
                "zipmap with another count than it says",
            )));
        }
        let pair = read_pair(&mut self.pairs);
        self.seen += 1;
        self.done = pair.is_err();
        Some(pair)
    }
}

fn read_pair<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    let field_len = read_length(cursor)?;
    let field = cursor.take(field_len)?;
    let value_len = read_length(cursor)?;
    let free = cursor.byte()?;
    let value = cursor.take(value_len)?;
    cursor.take(free.into())?;
    Ok((field, value))
}

fn read_length(cursor: &mut Cursor<'_>) -> Result<u64, DecodeError> {
    Ok(match cursor.byte()? {
        LENGTH_WIDE => u32::from_le_bytes(cursor.array()?).into(),
        END => return Err(DecodeError::Corrupt("zipmap with an end mark inside")),
        narrow => narrow.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Pair = (Vec<u8>, Vec<u8>);

    fn unpacked(blob: &[u8]) -> Result<Vec<Pair>, DecodeError> {
        pairs(blob)?
            .map(|pair| pair.map(|(field, value)| (field.to_vec(), value.to_vec())))
            .collect()
    }

    #[test]
    fn narrow_and_wide_lengths_and_free_bytes_are_read() {
        let long = [b'v'; 300];
        let blob = [
            b"\x02\x01a\x02\x03bc---\x02fg\xfe\x2c\x01\x00\x00\x00",
            &long[..],
            b"\xff",
        ]
        .concat();
        let expected = [
            (b"a".to_vec(), b"bc".to_vec()),
            (b"fg".to_vec(), long.to_vec()),
        ];
        assert_eq!(unpacked(&blob).unwrap(), expected);
    }

    #[test]
    fn lies_are_refused() {
        let good = b"\x01\x01a\x02\x01bc-\xff";
        assert_eq!(unpacked(good).unwrap(), [(b"a".to_vec(), b"bc".to_vec())]);
        let unknown = b"\xfe\x01a\x02\x01bc-\xff";
        assert_eq!(unpacked(unknown), unpacked(good));
        for bad in [
            &b"\x02\x01a\x02\x01bc-\xff"[..],
            b"\x01\x09a\x02\x01bc-\xff",
            b"\xff\x01a\x02\x01bc-\xff",
            b"\x01\x01a\x04\x01bc-\xff",
            b"\x01\x01a\x02\x02bc-\xff",
            b"\x01\xffa\x02\x01bc-\xff",
        ] {
            assert!(unpacked(bad).is_err(), "{bad:?}");
        }
        for cut in 0..good.len() {
            assert!(unpacked(&good[..cut]).is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(0..=255u8, 0..60)) {
            if let Ok(read) = unpacked(&bytes) {
                prop_assert!(read.len() <= bytes.len());
            }
        }
    }
}
