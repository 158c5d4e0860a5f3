//! Listpack: a list of strings and integers in one blob, readable from both ends.
//!
//! ```text
//! u32 bytes of the blob . u16 elements (65535: unknown) . entries . FF       little endian
//! entry = encoding and data . back length (bytes of encoding and data)
//!
//! 0xxxxxxx                 7-bit unsigned integer
//! 10xxxxxx                 string up to 63 bytes
//! 110xxxxx + 1 byte        13-bit signed integer, high bits first
//! 1110xxxx + 1 byte        string up to 4095 bytes, high bits of the length first
//! F0 + u32                 string
//! F1 F2 F3 F4              integers of 16, 24, 32, 64 bits
//! ```
//!
//! The back length is read from its last byte: seven bits a byte, the most significant group
//! first, the top bit set on all bytes but the first.
//!
//! Reading checks as it goes: who takes the iterator to its end has checked the whole blob.

use super::cursor::Cursor;
use super::element::Element;
use super::{DecodeError, integer};

const HEADER_BYTES: usize = 6;
const COUNT_UNKNOWN: u16 = u16::MAX;
const END: u8 = 0xff;
const END_BYTES: usize = 1;

/// Above this size no writer packs; readers still follow what the blob's own header says.
pub const WRITTEN_BYTES_MAX: usize = 1 << 30;
/// What an element takes beyond its bytes at most: encoding with length, and back length.
pub const ELEMENT_OVERHEAD_BYTES_MAX: usize = 10;

/// Reads the elements of a blob. A fault found on the way is the last item.
pub fn elements(blob: &[u8]) -> Result<Elements<'_>, DecodeError> {
    let mut cursor = Cursor::new(blob);
    let bytes = u32::from_le_bytes(cursor.array()?);
    let count = u16::from_le_bytes(cursor.array()?);
    let Some((&END, entries)) = blob[HEADER_BYTES..].split_last() else {
        return Err(DecodeError::Corrupt("listpack without end mark"));
    };
    if u64::from(bytes) != blob.len() as u64 {
        return Err(DecodeError::Corrupt(
            "listpack of another size than it says",
        ));
    }
    Ok(Elements {
        blob,
        entries: Cursor::new(entries),
        announced: count,
        seen: 0,
        done: false,
    })
}

/// The elements of a listpack, first to last.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    blob: &'a [u8],
    entries: Cursor<'a>,
    announced: u16,
    seen: u64,
    done: bool,
}

impl Elements<'_> {
    /// The same, whatever count the head announces: Redis does not look at that of a stream's node.
    pub fn uncounted(mut self) -> Self {
        self.announced = COUNT_UNKNOWN;
        self
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.entries.is_empty() {
            self.done = true;
            let counted = self.announced == COUNT_UNKNOWN || u64::from(self.announced) == self.seen;
            return (!counted).then_some(Err(DecodeError::Corrupt(
                "listpack with another count than it says",
            )));
        }
        let element = self.read_entry();
        self.seen += 1;
        self.done = element.is_err();
        Some(element)
    }
}

impl<'a> Elements<'a> {
    fn read_entry(&mut self) -> Result<Element<'a>, DecodeError> {
        let before = self.entries.remaining();
        let element = read_element(&mut self.entries)?;
        let bytes = before - self.entries.remaining();
        self.entries
            .take(BackLength::of(bytes).bytes().len() as u64)?;
        let read = &self.blob[..self.blob.len() - END_BYTES - self.entries.remaining()];
        if BackLength::read(read) != Some(bytes as u64) {
            return Err(DecodeError::Corrupt("listpack with a wrong back length"));
        }
        Ok(element)
    }
}

fn read_element<'a>(entries: &mut Cursor<'a>) -> Result<Element<'a>, DecodeError> {
    let first = entries.byte()?;
    Ok(match first {
        0x00..=0x7f => Element::Int(first.into()),
        0x80..=0xbf => Element::Bytes(entries.take(u64::from(first & 0x3f))?),
        0xc0..=0xdf => {
            let unsigned = i64::from(first & 0x1f) << 8 | i64::from(entries.byte()?);
            // Thirteen bits in two's complement.
            Element::Int(if unsigned < 1 << 12 {
                unsigned
            } else {
                unsigned - (1 << 13)
            })
        }
        0xe0..=0xef => {
            let len = u64::from(first & 0x0f) << 8 | u64::from(entries.byte()?);
            Element::Bytes(entries.take(len)?)
        }
        0xf0 => {
            let len = u32::from_le_bytes(entries.array()?);
            Element::Bytes(entries.take(len.into())?)
        }
        0xf1 => Element::Int(i16::from_le_bytes(entries.array()?).into()),
        0xf2 => {
            let [a, b, c] = entries.array()?;
            Element::Int((i32::from_le_bytes([0, a, b, c]) >> 8).into())
        }
        0xf3 => Element::Int(i32::from_le_bytes(entries.array()?).into()),
        0xf4 => Element::Int(i64::from_le_bytes(entries.array()?)),
        _ => return Err(DecodeError::Corrupt("listpack with an unknown encoding")),
    })
}

/// Builds a blob element by element.
#[derive(Clone, Debug)]
pub struct Writer {
    blob: Vec<u8>,
    count: u64,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer {
            blob: vec![0; HEADER_BYTES],
            count: 0,
        }
    }
}

impl Writer {
    /// Appends a string, as an integer if it is the text of one.
    ///
    /// The caller keeps the blob within [`WRITTEN_BYTES_MAX`].
    pub fn push(&mut self, bytes: &[u8]) {
        let from = self.blob.len();
        match integer::canonical(bytes) {
            Some(value) => self.push_int(value),
            None => self.push_bytes(bytes),
        }
        let back = BackLength::of(self.blob.len() - from);
        self.blob.extend_from_slice(back.bytes());
        self.count += 1;
    }

    /// Number of elements so far.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes the blob would have now.
    pub fn bytes(&self) -> usize {
        self.blob.len() + 1
    }

    /// The finished blob.
    pub fn finish(mut self) -> Vec<u8> {
        self.blob.push(END);
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        let bytes = u32::try_from(self.blob.len())
            .expect("the caller keeps the blob within WRITTEN_BYTES_MAX");
        self.blob[..4].copy_from_slice(&bytes.to_le_bytes());
        self.blob[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        self.blob
    }

    fn push_int(&mut self, value: i64) {
        let bytes = value.to_le_bytes();
        let (encoding, width) = match value {
            0..=127 => return self.blob.push(value as u8),
            -4096..=4095 => {
                let [high, low] = (value as u16 & 0x1fff).to_be_bytes();
                return self.blob.extend_from_slice(&[0xc0 | high, low]);
            }
            -0x8000..=0x7fff => (0xf1, 2),
            -0x80_0000..=0x7f_ffff => (0xf2, 3),
            -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
            _ => (0xf4, 8),
        };
        self.blob.push(encoding);
        self.blob.extend_from_slice(&bytes[..width]);
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        match bytes.len() {
            len @ 0..64 => self.blob.push(0x80 | len as u8),
            len @ 64..4096 => self
                .blob
                .extend_from_slice(&(0xe000 | len as u16).to_be_bytes()),
            len => {
                self.blob.push(0xf0);
                self.blob.extend_from_slice(&(len as u32).to_le_bytes());
            }
        }
        self.blob.extend_from_slice(bytes);
    }
}

/// The back length of an entry, in the form that is written.
struct BackLength {
    groups: [u8; 5],
    from: usize,
}

impl BackLength {
    fn of(entry_bytes: usize) -> BackLength {
        // The upper limits of two to four groups are one below what the groups could hold: the
        // format's reference writer is off by one there, and readers count with its choice.
        let len = match entry_bytes {
            0..=127 => 1,
            128..16383 => 2,
            16383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        };
        let mut groups = [0; 5];
        for (shift, group) in groups.iter_mut().rev().enumerate() {
            *group = (entry_bytes >> (7 * shift)) as u8 & 0x7f | 0x80;
        }
        groups[5 - len] &= 0x7f;
        BackLength {
            groups,
            from: 5 - len,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.groups[self.from..]
    }

    /// Reads a back length from its last byte, which is `read`'s, as who walks backwards does; it takes any form of the
    /// number, and so it may reach into what stands before. `None` if there is no end of it.
    fn read(read: &[u8]) -> Option<u64> {
        let mut value = 0;
        for (shift, group) in read.iter().rev().take(5).enumerate() {
            value |= u64::from(group & 0x7f) << (7 * shift);
            if group & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(strings: &[&[u8]]) -> Vec<u8> {
        let mut writer = Writer::default();
        strings.iter().for_each(|string| writer.push(string));
        writer.finish()
    }

    fn unpacked(blob: &[u8]) -> Result<Vec<Vec<u8>>, DecodeError> {
        elements(blob)?
            .map(|element| Ok(element?.text().into_owned()))
            .collect()
    }

    #[test]
    fn each_encoding_has_its_bytes() {
        let entry = |string: &[u8]| {
            let blob = packed(&[string]);
            blob[HEADER_BYTES..blob.len() - 1].to_vec()
        };
        assert_eq!(entry(b"127"), [0x7f, 1]);
        assert_eq!(entry(b"128"), [0xc0, 0x80, 2]);
        assert_eq!(entry(b"-1"), [0xdf, 0xff, 2]);
        assert_eq!(entry(b"-4096"), [0xd0, 0x00, 2]);
        assert_eq!(entry(b"4096"), [0xf1, 0x00, 0x10, 3]);
        assert_eq!(entry(b"-32769"), [0xf2, 0xff, 0x7f, 0xff, 4]);
        assert_eq!(entry(b"8388608"), [0xf3, 0, 0, 0x80, 0, 5]);
        assert_eq!(entry(b"2147483648"), [0xf4, 0, 0, 0, 0x80, 0, 0, 0, 0, 9]);
        assert_eq!(entry(b"ab"), [0x82, b'a', b'b', 3]);
        assert_eq!(entry(b""), [0x80, 1]);
        assert_eq!(entry(&[b'x'; 64])[..2], [0xe0, 64]);
        assert_eq!(entry(&[b'x'; 4096])[..5], [0xf0, 0, 0x10, 0, 0]);
    }

    #[test]
    fn back_lengths_grow_one_early_from_two_groups_on() {
        let back = |len| BackLength::of(len).bytes().to_vec();
        assert_eq!(back(127), [0x7f]);
        assert_eq!(back(128), [0x01, 0x80]);
        assert_eq!(back(16382), [0x7f, 0xfe]);
        assert_eq!(back(16383), [0x00, 0xff, 0xff]);
        assert_eq!(back(2_097_151), [0x00, 0xff, 0xff, 0xff]);
        assert_eq!(back(268_435_455), [0x00, 0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn long_strings_and_many_elements_survive() {
        for len in [63, 64, 4095, 4096, 16377, 16378, 16379, 70_000] {
            let string = vec![b'x'; len];
            assert_eq!(
                unpacked(&packed(&[&string, b"1"])).unwrap(),
                [&string[..], b"1"]
            );
        }
        let many = vec![&b"a"[..]; 70_000];
        let blob = packed(&many);
        assert_eq!(blob[4..6], [0xff, 0xff]);
        assert_eq!(unpacked(&blob).unwrap().len(), many.len());
    }

    #[test]
    fn lies_are_refused() {
        let good = packed(&[b"ab", b"5"]);
        assert_eq!(unpacked(&good).unwrap().len(), 2);
        let changed = |at: usize, to: u8| {
            let mut blob = good.clone();
            blob[at] = to;
            unpacked(&blob)
        };
        assert!(changed(0, 0).is_err(), "size");
        assert!(changed(4, 1).is_err(), "count too small");
        assert!(changed(4, 3).is_err(), "count too large");
        assert!(changed(6, 0x83).is_err(), "string takes its back length");
        assert!(changed(6, 0xbf).is_err(), "string beyond the end");
        assert!(changed(6, 0xf5).is_err(), "unknown encoding");
        assert!(changed(9, 4).is_err(), "back length");
        assert!(changed(9, 0x83).is_err(), "back length of two groups");
        assert!(changed(10, 0xff).is_err(), "end mark inside");
        assert!(changed(good.len() - 1, 0).is_err(), "no end mark");
        for cut in 0..good.len() {
            assert!(unpacked(&good[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(unpacked(&packed(&[])).unwrap().len(), 0);
    }

    /// Redis reads it from behind, over what stands before, and compares the number only.
    #[test]
    fn a_back_length_may_have_an_empty_group() {
        let mut blob = packed(&[b"0", b"7"]);
        let back_length = HEADER_BYTES + 1;
        assert_eq!(blob[back_length - 1..=back_length], [0, 1]);
        blob[back_length] = 0x81;
        assert_eq!(unpacked(&blob).unwrap().len(), 2);
        blob[back_length - 1] = 1;
        assert!(unpacked(&blob).is_err());
    }

    proptest! {
        #[test]
        fn any_list_survives(strings in proptest::collection::vec(prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            any::<i64>().prop_map(integer::text),
            (-70_000..70_000i64).prop_map(integer::text),
            (0..5000usize).prop_map(|len| vec![b'z'; len]),
        ], 0..40)) {
            let blob = packed(&strings.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(unpacked(&blob).unwrap(), strings);
        }

        #[test]
        fn a_flipped_bit_is_no_panic(
            strings in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..10),
            at: proptest::sample::Index,
            flip in 1..=255u8,
        ) {
            let mut blob = packed(&strings.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let at = at.index(blob.len());
            blob[at] ^= flip;
            if let Ok(read) = unpacked(&blob) {
                prop_assert!(read.iter().map(Vec::len).sum::<usize>() <= 20 * blob.len());
            }
        }
    }
}
