//! Doubles: the old textual form of sorted sets of type 3, and the binary form of type 5.

use super::DecodeError;
use super::cursor::Cursor;

const NAN: u8 = 253;
const INFINITY: u8 = 254;
const NEG_INFINITY: u8 = 255;

/// Reads the textual form: one length byte and that many characters, or one byte for what has no
/// digits.
pub fn read_text(cursor: &mut Cursor<'_>) -> Result<f64, DecodeError> {
    match cursor.byte()? {
        NAN => Ok(f64::NAN),
        INFINITY => Ok(f64::INFINITY),
        NEG_INFINITY => Ok(f64::NEG_INFINITY),
        len => std::str::from_utf8(cursor.take(len.into())?)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(DecodeError::Corrupt("a double is no number")),
    }
}

/// Reads the binary form: IEEE 754, little endian.
pub fn read_binary(cursor: &mut Cursor<'_>) -> Result<f64, DecodeError> {
    cursor.array().map(f64::from_le_bytes)
}

/// Appends the binary form.
pub fn write_binary(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textual_form_has_three_names_and_numbers() {
        let read = |bytes: &[u8]| read_text(&mut Cursor::new(bytes));
        assert!(read(&[253]).unwrap().is_nan());
        assert_eq!(read(&[254]), Ok(f64::INFINITY));
        assert_eq!(read(&[255]), Ok(f64::NEG_INFINITY));
        assert_eq!(read(b"\x042.75"), Ok(2.75));
        assert_eq!(read(b"\x05-1e10"), Ok(-1e10));
        for bytes in [&b"\x00"[..], b"\x02x1", b"\x051.0", b"\x01\xff", b""] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_binary_form_keeps_every_bit(bits: u64) {
            let mut out = Vec::new();
            write_binary(&mut out, f64::from_bits(bits));
            assert_eq!(read_binary(&mut Cursor::new(&out)).unwrap().to_bits(), bits);
        }
    }
}
