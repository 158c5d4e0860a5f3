//! Lengths and counts: one to nine bytes, the kind in the top two bits of the first.
//!
//! ```text
//! 00xxxxxx                    6 bits
//! 01xxxxxx xxxxxxxx           14 bits, big endian
//! 10000000 + 4 bytes          32 bits, big endian
//! 10000001 + 8 bytes          64 bits, big endian
//! 11xxxxxx                    no length: a string in a special form, see `string`
//! ```

use super::DecodeError;
use super::cursor::Cursor;

const WIDE_32: u8 = 0x80;
const WIDE_64: u8 = 0x81;

/// The longest form.
pub(super) const BYTES_MAX: usize = 9;

/// What stands where a length is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// A length or count.
    Plain(u64),
    /// The marker of a special string form, with its kind (6 bits).
    Special(u8),
}

/// Reads a length or a special marker.
pub fn read(cursor: &mut Cursor<'_>) -> Result<Length, DecodeError> {
    let first = cursor.byte()?;
    let low = first & 0x3f;
    Ok(match first >> 6 {
        0 => Length::Plain(low.into()),
        1 => Length::Plain(u64::from(low) << 8 | u64::from(cursor.byte()?)),
        2 => match first {
            WIDE_32 => Length::Plain(u32::from_be_bytes(cursor.array()?).into()),
            WIDE_64 => Length::Plain(u64::from_be_bytes(cursor.array()?)),
            _ => return Err(DecodeError::Corrupt("unknown length form")),
        },
        _ => Length::Special(low),
    })
}

/// Reads a length where no special string form may stand.
pub fn read_plain(cursor: &mut Cursor<'_>) -> Result<u64, DecodeError> {
    match read(cursor)? {
        Length::Plain(len) => Ok(len),
        Length::Special(_) => Err(DecodeError::Corrupt(
            "a string form stands where a length is expected",
        )),
    }
}

/// Reads the number of elements that follow, each of at least `element_bytes_min` bytes, and
/// refuses a count the remaining bytes cannot hold.
pub fn read_count(cursor: &mut Cursor<'_>, element_bytes_min: usize) -> Result<usize, DecodeError> {
    let count = read_plain(cursor)?;
    let fitting_max = cursor.remaining() / element_bytes_min;
    match usize::try_from(count) {
        Ok(count) if count <= fitting_max => Ok(count),
        _ => match cursor.short_of(count.saturating_mul(element_bytes_min as u64)) {
            DecodeError::Incomplete => Err(DecodeError::Incomplete),
            _ => Err(DecodeError::Corrupt(
                "more elements announced than there are bytes",
            )),
        },
    }
}

/// Appends `len` in its shortest form.
pub fn write(out: &mut Vec<u8>, len: u64) {
    match len {
        0..0x40 => out.push(len as u8),
        0x40..0x4000 => out.extend_from_slice(&(len as u16 | 0x4000).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.push(WIDE_32);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => {
            out.push(WIDE_64);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(len: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, len);
        out
    }

    #[test]
    fn each_form_begins_where_the_shorter_one_ends() {
        for (len, bytes) in [
            (0, &[0][..]),
            (63, &[63]),
            (64, &[0x40, 64]),
            (16383, &[0x7f, 0xff]),
            (16384, &[0x80, 0, 0, 0x40, 0]),
            (u32::MAX.into(), &[0x80, 0xff, 0xff, 0xff, 0xff]),
            (1 << 32, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            assert_eq!(written(len), bytes);
            assert_eq!(read(&mut Cursor::new(bytes)), Ok(Length::Plain(len)));
        }
    }

    #[test]
    fn special_and_unknown_forms_are_told_apart() {
        assert_eq!(read(&mut Cursor::new(&[0xc3])), Ok(Length::Special(3)));
        assert!(read_plain(&mut Cursor::new(&[0xc0])).is_err());
        assert!(read(&mut Cursor::new(&[0x82, 0, 0, 0, 0])).is_err());
        assert!(read(&mut Cursor::new(&[0x80, 0, 0])).is_err());
    }

    #[test]
    fn a_count_is_bounded_by_what_follows() {
        assert_eq!(read_count(&mut Cursor::new(&[2, 0, 0, 0, 0]), 2), Ok(2));
        assert!(read_count(&mut Cursor::new(&[3, 0, 0, 0, 0]), 2).is_err());
        assert!(read_count(&mut Cursor::new(&written(u64::MAX)), 1).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_length_survives(len: u64) {
            let bytes = written(len);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(read_plain(&mut cursor), Ok(len));
            assert!(cursor.is_empty());
        }
    }
}
