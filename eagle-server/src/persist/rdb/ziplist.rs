//! Ziplist: the packed list before the listpack (Redis up to 6.2). Read only.
//!
//! ```text
//! u32 bytes of the blob . u32 offset of the last entry . u16 entries (65535: unknown) . entries . FF
//! entry = length of the entry before . encoding . data                          little endian
//!
//! length before: 1 byte below FE, or FE + u32
//! 00xxxxxx                 string up to 63 bytes
//! 01xxxxxx + 1 byte        string up to 16383 bytes, high bits of the length first
//! 10------ + u32           string, length big endian
//! C0 D0 E0 F0 FE           integers of 16, 32, 64, 24, 8 bits
//! F1..FD                   integers 0..12
//! ```
//!
//! Reading checks as it goes: who takes the iterator to its end has checked the whole blob.

use super::DecodeError;
use super::cursor::Cursor;
use super::element::Element;

const HEADER_BYTES: usize = 10;
const COUNT_UNKNOWN: u16 = u16::MAX;
const LENGTH_BEFORE_WIDE: u8 = 0xfe;
const END: u8 = 0xff;

/// Reads the elements of a blob. A fault found on the way is the last item.
pub fn elements(blob: &[u8]) -> Result<Elements<'_>, DecodeError> {
    let mut cursor = Cursor::new(blob);
    let bytes = u32::from_le_bytes(cursor.array()?);
    let last_offset = u32::from_le_bytes(cursor.array()?);
    let count = u16::from_le_bytes(cursor.array()?);
    let Some((&END, entries)) = blob[HEADER_BYTES..].split_last() else {
        return Err(DecodeError::Corrupt("ziplist without end mark"));
    };
    if u64::from(bytes) != blob.len() as u64 {
        return Err(DecodeError::Corrupt("ziplist of another size than it says"));
    }
    Ok(Elements {
        end_offset: HEADER_BYTES + entries.len(),
        entries: Cursor::new(entries),
        announced: Announced { count, last_offset },
        seen: 0,
        before: EntryPlace {
            offset: HEADER_BYTES,
            bytes: 0,
        },
        done: false,
    })
}

/// The elements of a ziplist, first to last.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    entries: Cursor<'a>,
    /// Offset of the end mark in the blob.
    end_offset: usize,
    announced: Announced,
    seen: u64,
    before: EntryPlace,
    done: bool,
}

/// What the header says.
#[derive(Clone, Debug)]
struct Announced {
    count: u16,
    last_offset: u32,
}

/// Where the entry last read begins, counted from the start of the blob, and its length.
#[derive(Clone, Debug)]
struct EntryPlace {
    offset: usize,
    bytes: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.entries.is_empty() {
            self.done = true;
            return self.check_header().err().map(Err);
        }
        let element = self.read_entry();
        self.done = element.is_err();
        Some(element)
    }
}

impl<'a> Elements<'a> {
    fn check_header(&self) -> Result<(), DecodeError> {
        let Announced { count, last_offset } = self.announced;
        if count != COUNT_UNKNOWN && u64::from(count) != self.seen {
            return Err(DecodeError::Corrupt(
                "ziplist with another count than it says",
            ));
        }
        if u64::from(last_offset) != self.before.offset as u64 {
            return Err(DecodeError::Corrupt(
                "ziplist with a wrong offset of its last entry",
            ));
        }
        Ok(())
    }

    fn read_entry(&mut self) -> Result<Element<'a>, DecodeError> {
        let left = self.entries.remaining();
        let bytes_before = match self.entries.byte()? {
            LENGTH_BEFORE_WIDE => u32::from_le_bytes(self.entries.array()?).into(),
            END => return Err(DecodeError::Corrupt("ziplist with an end mark inside")),
            narrow => u64::from(narrow),
        };
        if bytes_before != self.before.bytes as u64 {
            return Err(DecodeError::Corrupt(
                "ziplist with a wrong length of an entry before",
            ));
        }
        let element = read_element(&mut self.entries)?;
        self.before = EntryPlace {
            offset: self.end_offset - left,
            bytes: left - self.entries.remaining(),
        };
        self.seen += 1;
        Ok(element)
    }
}

fn read_element<'a>(entries: &mut Cursor<'a>) -> Result<Element<'a>, DecodeError> {
    let first = entries.byte()?;
    Ok(match first {
        0x00..=0x3f => Element::Bytes(entries.take(first.into())?),
        0x40..=0x7f => {
            let len = u64::from(first & 0x3f) << 8 | u64::from(entries.byte()?);
            Element::Bytes(entries.take(len)?)
        }
        0x80..=0xbf => {
            let len = u32::from_be_bytes(entries.array()?);
            Element::Bytes(entries.take(len.into())?)
        }
        0xc0 => Element::Int(i16::from_le_bytes(entries.array()?).into()),
        0xd0 => Element::Int(i32::from_le_bytes(entries.array()?).into()),
        0xe0 => Element::Int(i64::from_le_bytes(entries.array()?)),
        0xf0 => {
            let [a, b, c] = entries.array()?;
            Element::Int((i32::from_le_bytes([0, a, b, c]) >> 8).into())
        }
        0xfe => Element::Int(i8::from_le_bytes(entries.array()?).into()),
        0xf1..=0xfd => Element::Int(i64::from(first) - 0xf1),
        _ => return Err(DecodeError::Corrupt("ziplist with an unknown encoding")),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A ziplist of entries given as encoding and data.
    pub fn blob_of(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Vec::new();
        let (mut before, mut last_offset) = (0, HEADER_BYTES);
        for entry in entries {
            last_offset = HEADER_BYTES + body.len();
            let from = body.len();
            match u8::try_from(before) {
                Ok(narrow) if narrow < LENGTH_BEFORE_WIDE => body.push(narrow),
                _ => {
                    body.push(LENGTH_BEFORE_WIDE);
                    body.extend_from_slice(&(before as u32).to_le_bytes());
                }
            }
            body.extend_from_slice(entry);
            before = body.len() - from;
        }
        let bytes = HEADER_BYTES + body.len() + 1;
        let mut blob = (bytes as u32).to_le_bytes().to_vec();
        blob.extend_from_slice(&(last_offset as u32).to_le_bytes());
        blob.extend_from_slice(&(entries.len() as u16).to_le_bytes());
        blob.extend_from_slice(&body);
        blob.push(END);
        blob
    }

    /// Encoding and data of a string.
    pub fn string(bytes: &[u8]) -> Vec<u8> {
        let mut entry = match bytes.len() {
            len @ 0..64 => vec![len as u8],
            len @ 64..16384 => (0x4000 | len as u16).to_be_bytes().to_vec(),
            len => [&[0x80][..], &(len as u32).to_be_bytes()].concat(),
        };
        entry.extend_from_slice(bytes);
        entry
    }

    fn unpacked(blob: &[u8]) -> Result<Vec<Vec<u8>>, DecodeError> {
        elements(blob)?
            .map(|element| Ok(element?.text().into_owned()))
            .collect()
    }

    #[test]
    fn each_encoding_is_read() {
        let entries: Vec<Vec<u8>> = vec![
            string(b"ab"),
            string(&[b'x'; 300]),
            string(&[b'y'; 20_000]),
            vec![0xc0, 0x00, 0x80],
            vec![0xd0, 0, 0, 0, 0x80],
            vec![0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80],
            vec![0xf0, 0xff, 0xff, 0xff],
            vec![0xfe, 0x80],
            vec![0xf1],
            vec![0xfd],
        ];
        let texts = unpacked(&blob_of(&entries)).unwrap();
        assert_eq!(
            texts[..3],
            [b"ab".to_vec(), vec![b'x'; 300], vec![b'y'; 20_000]]
        );
        let ints: Vec<_> = texts[3..]
            .iter()
            .map(|text| String::from_utf8_lossy(text))
            .collect();
        assert_eq!(
            ints,
            [
                "-32768",
                "-2147483648",
                "-9223372036854775808",
                "-1",
                "-128",
                "0",
                "12"
            ]
        );
        assert_eq!(unpacked(&blob_of(&[])).unwrap().len(), 0);
    }

    #[test]
    fn lies_are_refused() {
        let good = blob_of(&[string(b"ab"), vec![0xf6]]);
        assert_eq!(unpacked(&good).unwrap(), [&b"ab"[..], b"5"]);
        let changed = |at: usize, to: u8| {
            let mut blob = good.clone();
            blob[at] = to;
            unpacked(&blob)
        };
        assert!(changed(0, 0).is_err(), "size");
        assert!(changed(4, 10).is_err(), "offset of the last entry");
        assert!(changed(8, 1).is_err(), "count");
        assert!(changed(10, 1).is_err(), "length before the first");
        assert!(changed(11, 3).is_err(), "string takes the next entry");
        assert!(changed(14, 3).is_err(), "length before");
        assert!(changed(14, 255).is_err(), "end mark inside");
        assert!(changed(15, 0xff).is_err(), "unknown encoding");
        assert!(changed(16, 0).is_err(), "no end mark");
        for cut in 0..good.len() {
            assert!(unpacked(&good[..cut]).is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn strings_survive_and_a_flipped_byte_is_no_panic(
            strings in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 1..10),
            at: proptest::sample::Index,
            flip in 1..=255u8,
        ) {
            let mut blob = blob_of(&strings.iter().map(|bytes| string(bytes)).collect::<Vec<_>>());
            prop_assert_eq!(unpacked(&blob).unwrap(), strings);
            let at = at.index(blob.len());
            blob[at] ^= flip;
            if let Ok(read) = unpacked(&blob) {
                prop_assert!(read.iter().map(Vec::len).sum::<usize>() <= 20 * blob.len());
            }
        }
    }
}
