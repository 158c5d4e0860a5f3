//! 64-bit floating point: scores, coordinates, increments of sorted sets.
//!
//! Reading follows C's `strtod` on a whole text, `inf` and hexadecimal included, `nan` refused.
//! Printing is C's `%.17g`, which 7.0 uses everywhere: it reads back exactly and shows `3.14` as
//! `3.1400000000000001`.

use rustc_apfloat::Float;
use rustc_apfloat::ieee::Double;
use std::io::Write;

use super::c_float::CFloat;
use super::integer::TrimC;

/// Reads a score or increment. Refuses `nan`, white space anywhere, and numbers too large, or so
/// small that they would become 0.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    parse(text, OutOfRange::Refuse)
}

/// Reads an end of a score range, less strictly: leading white space is skipped, too large means
/// infinity, too small means 0, and so does nothing at all.
pub fn parse_range_end(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    parse(text.trim_ascii_start_c(), OutOfRange::Saturate)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OutOfRange {
    Refuse,
    Saturate,
}

fn parse(text: &[u8], out_of_range: OutOfRange) -> Option<f64> {
    if let Some(value) = parse_digits(text) {
        return Some(value);
    }
    match CFloat::classify(text)? {
        CFloat::Infinity { negative: false } => Some(f64::INFINITY),
        CFloat::Infinity { negative: true } => Some(f64::NEG_INFINITY),
        CFloat::Decimal(text) => {
            let value: f64 = text.parse().ok()?;
            let lost = value.is_infinite() || (value == 0.0 && has_nonzero_digit(text));
            (!lost || out_of_range == OutOfRange::Saturate).then_some(value)
        }
        CFloat::Hexadecimal(hex) => match hex.to_float::<Double>() {
            Some(value) => Some(f64::from_bits(value.to_bits() as u64)),
            None if out_of_range == OutOfRange::Saturate => Some(hex.saturated()),
            None => None,
        },
    }
}

/// Reads a whole number of so few digits that a double holds it exactly, as most scores are.
fn parse_digits(text: &[u8]) -> Option<f64> {
    const DIGITS_MAX: usize = f64::DIGITS as usize;
    if !(1..=DIGITS_MAX).contains(&text.len()) {
        return None;
    }
    let mut value = 0u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = 10 * value + u64::from(digit);
    }
    Some(value as f64)
}

/// Whether the significand of a decimal number is other than 0.
fn has_nonzero_digit(text: &str) -> bool {
    text.bytes()
        .take_while(|byte| !matches!(byte, b'e' | b'E'))
        .any(|byte| matches!(byte, b'1'..=b'9'))
}

/// A double as `%.17g` prints it.
#[derive(Clone, Copy)]
pub struct DoubleText {
    bytes: [u8; Self::CHARS_MAX],
    len: u8,
}

impl DoubleText {
    /// The longest text: sign, 17 digits, dot and `e-308`.
    pub const CHARS_MAX: usize = 24;

    /// Prints `value`.
    pub fn new(value: f64) -> Self {
        let mut text = Self {
            bytes: [0; Self::CHARS_MAX],
            len: 0,
        };
        if value.is_nan() {
            text.push(if value.is_sign_negative() {
                b"-nan"
            } else {
                b"nan"
            });
        } else if value.is_infinite() {
            text.push(if value < 0.0 { b"-inf" } else { b"inf" });
        } else if value == value.trunc()
            && value.abs() < 1e17
            && !(value == 0.0 && value.is_sign_negative())
        {
            // Most scores are whole numbers, and of these 17 digits are all there are.
            text.push(itoa::Buffer::new().format(value as i64).as_bytes());
        } else {
            text.push_general(value);
        }
        text
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    /// The rule of `%g`: an exponent if it is below -4 or not below the precision, no trailing zeros.
    fn push_general(&mut self, value: f64) {
        let mut scratch = [0u8; 32];
        let mut free = &mut scratch[..];
        write!(free, "{:.16e}", value.abs()).expect("17 digits and an exponent fit 32 bytes");
        let written = 32 - free.len();
        // d.dddddddddddddddde[-]x
        let mut digits = [0u8; 17];
        digits[0] = scratch[0];
        digits[1..].copy_from_slice(&scratch[2..18]);
        let exponent: i32 = std::str::from_utf8(&scratch[19..written])
            .ok()
            .and_then(|text| text.parse().ok())
            .expect("`e` is followed by an integer");
        let kept = digits
            .iter()
            .rposition(|&digit| digit != b'0')
            .map_or(1, |last| last + 1);
        let digits = &digits[..kept];

        if value.is_sign_negative() {
            self.push(b"-");
        }
        if !(-4..17).contains(&exponent) {
            self.push(&digits[..1]);
            self.push_decimals(&digits[1..]);
            self.push(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.abs() < 10 {
                self.push(b"0");
            }
            self.push(itoa::Buffer::new().format(exponent.abs()).as_bytes());
        } else if exponent < 0 {
            self.push(b"0.");
            self.push(&b"000"[..(-exponent - 1) as usize]);
            self.push(digits);
        } else {
            let whole = exponent as usize + 1;
            self.push(&digits[..whole.min(kept)]);
            self.push(&[b'0'; 17][..whole.saturating_sub(kept)]);
            self.push_decimals(&digits[whole.min(kept)..]);
        }
    }

    fn push_decimals(&mut self, digits: &[u8]) {
        if !digits.is_empty() {
            self.push(b".");
            self.push(digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(value: f64) -> String {
        String::from_utf8(DoubleText::new(value).as_bytes().to_vec()).unwrap()
    }

    /// Each line was printed by C.
    #[test]
    fn prints_as_c_does() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.1, "3.1000000000000001"),
            (-1.5, "-1.5"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (0.1, "0.10000000000000001"),
            (0.0001, "0.0001"),
            (0.00012345678901234567, "0.00012345678901234567"),
            (0.00001, "1.0000000000000001e-05"),
            (5e-324, "4.9406564584124654e-324"),
            (-2.2250738585072014e-308, "-2.2250738585072014e-308"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (1e100, "1e+100"),
            (1234567.5, "1234567.5"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN.copysign(1.0), "nan"),
            (f64::NAN.copysign(-1.0), "-nan"),
        ];
        for (value, text) in cases {
            assert_eq!(print(value), text);
        }
    }

    /// Measured with ZADD on 7.0.15.
    #[test]
    fn reads_what_redis_reads() {
        let cases = [
            ("1.", 1.0),
            (".5", 0.5),
            ("+5", 5.0),
            ("1e+5", 1e5),
            ("0x10", 16.0),
            ("0X1P4", 16.0),
            ("0x.8", 0.5),
            ("-0x1.8p1", -3.0),
            ("0x1p-1074", 5e-324),
            ("4.9e-324", 5e-324),
            ("INF", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0e999999999999", 0.0),
        ];
        for (text, value) in cases {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        let refused = [
            "",
            " 1",
            "1 ",
            "nan",
            "-nan",
            "nan(abc)",
            ".",
            "0x",
            "0x.",
            "0x1p",
            "1e",
            "1e999",
            "-1e999",
            "1e-400",
            "1e-324",
            "0x1p-1080",
            "0x1p99999",
            "0x1p9999999999999999999999",
            "1_0",
            "1.2.3",
            "infinit",
            "--1",
            "1\0",
            "e5",
        ];
        for text in refused {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn range_ends_are_read_less_strictly() {
        assert_eq!(parse_range_end(b" 1"), Some(1.0));
        assert_eq!(parse_range_end(b""), Some(0.0));
        assert_eq!(parse_range_end(b"-1e999"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_range_end(b"-0x1p99999"), Some(f64::NEG_INFINITY));
        assert_eq!(parse_range_end(b"0x1p-99999"), Some(0.0));
        assert_eq!(parse_range_end(b"1e-999"), Some(0.0));
        assert_eq!(parse_range_end(b"nan"), None);
        assert_eq!(parse_range_end(b"1 "), None);
        assert_eq!(parse_range_end(b" "), None);
    }

    #[test]
    fn long_hexadecimals_round_once() {
        // One and a half units in the last place and a bit far behind: up, not to even.
        let text = format!("0x1.00000000000008{}1", "0".repeat(200));
        assert_eq!(parse_f64(text.as_bytes()), Some(1.0 + f64::EPSILON));
        assert_eq!(parse_f64(b"0x1.00000000000008"), Some(1.0));
        let text = format!("0x{}p-800", "0".repeat(100) + "1" + &"0".repeat(200));
        assert_eq!(parse_f64(text.as_bytes()), Some(1.0));
    }

    proptest! {
        #[test]
        fn printed_doubles_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            let text = DoubleText::new(value);
            prop_assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+]?(0x)?[0-9a-f.]{0,40}([ep][-+]?[0-9]{0,25})?") {
            if let Some(value) = parse_f64(text.as_bytes()) {
                prop_assert!(!value.is_nan());
                prop_assert_eq!(parse_range_end(text.as_bytes()), Some(value));
            }
        }

        #[test]
        fn exponents_do_not_change_what_is_read(mantissa in 0u32.., power in -200i32..200) {
            let text = format!("0x{mantissa:x}p{power}");
            let value = f64::from(mantissa) * 2f64.powi(power);
            prop_assert_eq!(parse_f64(text.as_bytes()), Some(value));
        }
    }
}
