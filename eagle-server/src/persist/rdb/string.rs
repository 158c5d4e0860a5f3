//! Strings: raw bytes behind a length, a small integer, or LZF-compressed bytes.
//!
//! ```text
//! length, bytes
//! C0 + 1 byte, C1 + 2 bytes, C2 + 4 bytes        integer, little endian; its text is the value
//! C3, length compressed, length plain, bytes     LZF
//! ```

use std::borrow::Cow;

use std::ops::Range;

use eagle_core::store::StringRead;

use super::cursor::Cursor;
use super::length::{self, Length};
use super::packed_string::{LONG_BYTES_MIN, PackedString};
use super::{DecodeError, integer, lzf};

const INT_8: u8 = 0;
const INT_16: u8 = 1;
const INT_32: u8 = 2;
const LZF: u8 = 3;

/// The longest text of a 32-bit integer; longer strings are not tried as integers.
const INT_TEXT_BYTES_MAX: usize = 11;
/// Shorter strings are not worth compressing.
const COMPRESSED_BYTES_MIN: usize = 21;
/// What compression must save to be used.
const SAVED_BYTES_MIN: usize = 4;

/// From this length on, memory for a string is taken at once and not by doubling,
const LONG_WRITTEN_BYTES_MIN: usize = 64 << 10;
/// with room for what its writer sets before and behind it.
const SPARE_BYTES: usize = 64;

/// Whether long strings are compressed (directive `rdbcompression`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Off,
    Lzf,
}

/// A string that is a value by itself, and may be very long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole<'a> {
    Bytes(Cow<'a, [u8]>),
    /// It is long and compressed.
    Packed(PackedString<'a>),
}

/// Reads a string in any form, and leaves it as it is if it is long.
pub fn read_whole<'a>(cursor: &mut Cursor<'a>) -> Result<Whole<'a>, DecodeError> {
    let start = cursor.clone();
    if let Length::Special(LZF) = length::read(cursor)? {
        let packed_len = length::read_plain(cursor)?;
        let plain_len = length::read_plain(cursor)?;
        if plain_len >= LONG_BYTES_MIN {
            let packed = cursor.take(packed_len)?;
            return PackedString::check(packed, plain_len).map(Whole::Packed);
        }
    }
    *cursor = start;
    read(cursor).map(Whole::Bytes)
}

/// Reads a string in any form, borrowed where the bytes stand as they are.
pub fn read<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, DecodeError> {
    let int = |value: i64| Ok(Cow::Owned(integer::text(value)));
    match length::read(cursor)? {
        Length::Plain(len) => cursor.take(len).map(Cow::Borrowed),
        Length::Special(INT_8) => int(i8::from_le_bytes(cursor.array()?).into()),
        Length::Special(INT_16) => int(i16::from_le_bytes(cursor.array()?).into()),
        Length::Special(INT_32) => int(i32::from_le_bytes(cursor.array()?).into()),
        Length::Special(LZF) => {
            let packed_len = length::read_plain(cursor)?;
            let plain_len = length::read_plain(cursor)?;
            lzf::decompress(cursor.take(packed_len)?, plain_len).map(Cow::Owned)
        }
        Length::Special(_) => Err(DecodeError::Corrupt("unknown string form")),
    }
}

/// Appends `bytes` in the shortest form.
pub fn write(out: &mut Vec<u8>, bytes: &[u8], compression: Compression) {
    if bytes.len() <= INT_TEXT_BYTES_MAX
        && let Some(value) = integer::canonical(bytes)
        && write_int(out, value)
    {
        return;
    }
    make_room(out, bytes.len());
    if compression == Compression::Lzf && write_packed(out, bytes) {
        return;
    }
    length::write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a long string that lies in pieces. It is in one piece nowhere but in `out`.
pub fn write_apart(out: &mut Vec<u8>, string: &StringRead<'_, '_>, compression: Compression) {
    let len = string.len() as usize;
    make_room(out, len);
    let mut read = |range: Range<usize>, out: &mut Vec<u8>| {
        string.pieces(range.start as u64..range.end as u64, &mut |piece| {
            piece.for_each(|bytes| out.extend_from_slice(bytes));
        });
    };
    let packs = compression == Compression::Lzf;
    if packs && write_packed(out, lzf::Window::new(len, &mut read)) {
        return;
    }
    length::write(out, len as u64);
    read(0..len, out);
}

/// Takes memory for a string of `len` bytes, if it is long. What is not used of it costs nothing.
fn make_room(out: &mut Vec<u8>, len: usize) {
    if len >= LONG_WRITTEN_BYTES_MIN {
        out.reserve(len + SPARE_BYTES);
    }
}

/// Appends the compressed form, if that pays.
fn write_packed(out: &mut Vec<u8>, plain: impl lzf::Plain) -> bool {
    /// The form's byte and two lengths.
    const HEAD_BYTES_MAX: usize = 1 + 2 * length::BYTES_MAX;
    let len = plain.size();
    if len < COMPRESSED_BYTES_MIN {
        return false;
    }
    // The head says how long the compressed bytes are; they are moved to its end once that is known.
    let start = out.len();
    out.resize(start + HEAD_BYTES_MAX, 0);
    if lzf::compress(out, plain, len - SAVED_BYTES_MIN).is_none() {
        out.truncate(start);
        return false;
    }
    let packed = start + HEAD_BYTES_MAX..out.len();
    let mut head = Vec::with_capacity(HEAD_BYTES_MAX);
    head.push(special(LZF));
    length::write(&mut head, packed.len() as u64);
    length::write(&mut head, len as u64);
    let end = start + head.len() + packed.len();
    out[start..][..head.len()].copy_from_slice(&head);
    out.copy_within(packed, start + head.len());
    out.truncate(end);
    true
}

/// Appends an integer form; `false` when `value` needs more than 32 bits.
fn write_int(out: &mut Vec<u8>, value: i64) -> bool {
    if let Ok(value) = i8::try_from(value) {
        out.push(special(INT_8));
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(special(INT_16));
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(special(INT_32));
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        return false;
    }
    true
}

const fn special(kind: u8) -> u8 {
    0xc0 | kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(bytes: &[u8], compression: Compression) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, bytes, compression);
        out
    }

    #[test]
    fn integers_take_their_width_and_only_when_canonical() {
        for (text, bytes) in [
            ("0", &[0xc0, 0][..]),
            ("-128", &[0xc0, 0x80]),
            ("128", &[0xc1, 0x80, 0]),
            ("-32768", &[0xc1, 0, 0x80]),
            ("32768", &[0xc2, 0, 0x80, 0, 0]),
            ("-2147483648", &[0xc2, 0, 0, 0, 0x80]),
            ("2147483648", b"\x0a2147483648"),
            ("007", b"\x03007"),
            ("", &[0]),
        ] {
            assert_eq!(written(text.as_bytes(), Compression::Lzf), bytes, "{text}");
            assert_eq!(read(&mut Cursor::new(bytes)).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn compression_begins_above_twenty_bytes_and_can_be_off() {
        assert_eq!(written(&[b'a'; 20], Compression::Lzf)[0], 20);
        assert_eq!(written(&[b'a'; 21], Compression::Lzf)[0], 0xc3);
        assert_eq!(written(&[b'a'; 21], Compression::Off)[0], 21);
    }

    #[test]
    fn unknown_and_cut_forms_are_refused() {
        for bytes in [
            &b"\xc4\x01a"[..],
            b"\xc0",
            b"\xc2\x01\x02",
            b"\x03ab",
            b"\xc3\x02\x20\x00a\x00",
            b"\xc3\xc0\x01\x00a",
        ] {
            assert!(read(&mut Cursor::new(bytes)).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_string_survives(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                any::<i32>().prop_map(|value| value.to_string().into_bytes()),
                "(ab|c){0,200}".prop_map(String::into_bytes),
            ],
            compress: bool,
        ) {
            let compression = if compress { Compression::Lzf } else { Compression::Off };
            let out = written(&bytes, compression);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(read(&mut cursor).unwrap(), bytes);
            prop_assert!(cursor.is_empty());
        }
    }
}
