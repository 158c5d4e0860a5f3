//! 80-bit floating point, the `long double` of x86, for INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Their replies are stored as strings and replicated, so a digit more or less would be seen. No
//! other width gives the same digits: 64 significant bits are what decides `0.1 + 0.2`. Arithmetic
//! is done in software and thus is the same on every processor.
//!
//! Printing is C's `%.17Lf` without trailing zeros and is exact. A value `m * 2^e` with `e < 0`
//! needs `m * 10^17` divided by a power of two, and 64 + 57 bits fit a `u128`; with `e >= 0` it is
//! an integer of up to 4933 digits, for which limbs in base 10^9 do.

use rustc_apfloat::ieee::X87DoubleExtended;
use rustc_apfloat::{Float, Round, Status};

use super::c_float::{CFloat, nearest};

/// Redis reads such a number through a buffer of 5 KiB; a longer text is none.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Decimals printed.
const DECIMALS: usize = 17;

/// An 80-bit floating point number, never a `nan` when read from text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongDouble(X87DoubleExtended);

impl LongDouble {
    /// Positive zero: the value of a key or field that does not exist.
    pub const ZERO: Self = Self(X87DoubleExtended::ZERO);

    /// Reads a stored value or an increment. `inf` and hexadecimal are taken; `nan`, white space
    /// and numbers out of range are not.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let value = match CFloat::classify(text)? {
            CFloat::Infinity { negative: false } => X87DoubleExtended::INFINITY,
            CFloat::Infinity { negative: true } => -X87DoubleExtended::INFINITY,
            CFloat::Decimal(text) => nearest(text)?,
            CFloat::Hexadecimal(hex) => hex.to_float()?,
        };
        Some(Self(value))
    }

    /// Whether the number is neither infinite nor a `nan`; a sum that is not must not be stored.
    pub fn is_finite(self) -> bool {
        self.0.is_finite()
    }

    /// The least integer that is no less than a thousand times the number; `None` if that is no `i64`.
    pub fn ceil_thousandfold(self) -> Option<i64> {
        let scaled = (self.0 * Self::from(1000).0).value;
        let rounded = scaled.to_i128_r(64, Round::TowardPositive, &mut false);
        let fits = !rounded.status.contains(Status::INVALID_OP);
        i64::try_from(rounded.value).ok().filter(|_| fits)
    }

    /// Appends the number as `%.17Lf` prints it without trailing zeros; `-0` becomes `0`.
    pub fn print_into(self, out: &mut Vec<u8>) {
        if self.0.is_nan() {
            return out.extend_from_slice(if self.0.is_negative() {
                b"-nan"
            } else {
                b"nan"
            });
        }
        let start = out.len();
        if self.0.is_negative() {
            out.push(b'-');
        }
        if self.0.is_infinite() {
            return out.extend_from_slice(b"inf");
        }
        let digits = out.len();
        let bits = self.0.to_bits();
        let mantissa = bits as u64;
        // A subnormal number has exponent field 0 and means 1.
        let field = ((bits >> 64) & 0x7fff) as i32;
        let exponent = field.max(1) - 16383 - 63;
        if exponent >= 0 {
            print_integer(mantissa, exponent as u32, out);
        } else {
            print_fraction(mantissa, exponent.unsigned_abs(), out);
        }
        if &out[digits..] == b"0" {
            out.truncate(start);
            out.push(b'0');
        }
    }

    /// [`print_into`](Self::print_into) a new vector.
    pub fn print(self) -> Vec<u8> {
        let mut out = Vec::new();
        self.print_into(&mut out);
        out
    }
}

impl std::ops::Add for LongDouble {
    type Output = Self;

    /// The sum rounded to nearest, ties to even.
    fn add(self, other: Self) -> Self {
        Self((self.0 + other.0).value)
    }
}

impl From<i64> for LongDouble {
    /// Exact: 64 bits hold every `i64`.
    fn from(value: i64) -> Self {
        Self(X87DoubleExtended::from_i128(i128::from(value)).value)
    }
}

/// Prints `mantissa / 2^shift` with 17 decimals, ties to even, then without trailing zeros.
fn print_fraction(mantissa: u64, shift: u32, out: &mut Vec<u8>) {
    const SCALE: u128 = 10u128.pow(DECIMALS as u32);
    let scaled = u128::from(mantissa) * SCALE;
    let rounded = if shift < 128 {
        let floor = scaled >> shift;
        let rest = scaled & ((1 << shift) - 1);
        let half = 1 << (shift - 1);
        floor + u128::from(rest > half || (rest == half && floor & 1 == 1))
    } else {
        // 121 bits are less than half of 2^128.
        0
    };
    out.extend_from_slice((rounded / SCALE).to_string().as_bytes());
    let decimals = rounded % SCALE;
    if decimals != 0 {
        out.extend_from_slice(format!(".{decimals:0DECIMALS$}").as_bytes());
        let kept = out
            .iter()
            .rposition(|&digit| digit != b'0')
            .map_or(0, |last| last + 1);
        out.truncate(kept);
    }
}

/// Prints the integer `mantissa * 2^shift`.
fn print_integer(mantissa: u64, shift: u32, out: &mut Vec<u8>) {
    const BASE: u64 = 1_000_000_000;
    // Least significant first, each below 10^9.
    let mut limbs: Vec<u64> = Vec::new();
    let mut rest = mantissa;
    while rest > 0 {
        limbs.push(rest % BASE);
        rest /= BASE;
    }
    let mut left = shift;
    while left > 0 {
        // A limb of 30 bits shifted by 32 leaves room for the carry.
        let step = left.min(32);
        let mut carry = 0;
        for limb in &mut limbs {
            let value = (*limb << step) + carry;
            *limb = value % BASE;
            carry = value / BASE;
        }
        while carry > 0 {
            limbs.push(carry % BASE);
            carry /= BASE;
        }
        left -= step;
    }
    let Some((top, lower)) = limbs.split_last() else {
        return out.push(b'0');
    };
    out.extend_from_slice(top.to_string().as_bytes());
    for limb in lower.iter().rev() {
        out.extend_from_slice(format!("{limb:09}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(value: &str, increment: &str) -> String {
        let [value, increment] =
            [value, increment].map(|text| LongDouble::parse(text.as_bytes()).unwrap());
        String::from_utf8((value + increment).print()).unwrap()
    }

    /// Replies of INCRBYFLOAT on 7.0.15; many more are in `golden/long_double.txt`.
    #[test]
    fn sums_redis_prints() {
        let cases = [
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("0x10", "1", "17"),
            ("0x1p-3", "0", "0.125"),
            ("-0.0", "-0", "0"),
            ("1e-18", "0", "0"),
            ("-1e-18", "0", "0"),
            ("5e-18", "0", "0"),
            ("1e-4950", "0", "0"),
            ("1e19", "0", "10000000000000000000"),
        ];
        for (value, increment, expected) in cases {
            assert_eq!(sum(value, increment), expected, "{value} + {increment}");
        }
        assert!(sum("1e4932", "0").starts_with("100000000000000000000601894938796389132383777"));
        assert_eq!(sum("1e4932", "0").len(), 4933);
    }

    #[test]
    fn refused() {
        let long = "1".repeat(TEXT_BYTES_MAX + 1);
        for text in [
            "",
            " 1",
            "1 ",
            "nan",
            "1e5000",
            "-1e5000",
            "1e-5000",
            "0x1p99999",
            "0x",
            &long,
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn infinity_is_read_but_shows() {
        let infinity = LongDouble::parse(b"inf").unwrap();
        assert!(!infinity.is_finite() && LongDouble::ZERO.is_finite());
        assert_eq!(infinity.print(), b"inf");
        let negative = LongDouble::parse(b"-infinity").unwrap();
        assert_eq!(negative.print(), b"-inf");
        assert!((infinity + negative).print().ends_with(b"nan"));
    }

    #[test]
    fn thousandths_round_up() {
        let of = |text: &str| {
            LongDouble::parse(text.as_bytes())
                .unwrap()
                .ceil_thousandfold()
        };
        assert_eq!(of("0.0001"), Some(1));
        assert_eq!(of("-0.0019"), Some(-1));
        assert_eq!(of("9223372036854775.807"), Some(i64::MAX));
        for text in ["9223372036854775.808", "1e30", "inf", "-inf"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn halves_round_to_even() {
        // Both end half a unit behind the 17th decimal, exactly.
        assert_eq!(print_of(1, 18), "0.00000381469726562");
        assert_eq!(print_of(3, 18), "0.00001144409179688");
        assert_eq!(print_of(u64::MAX, 1), "9223372036854775807.5");
        assert_eq!(print_of(u64::MAX, 16_445), "0");
    }

    fn print_of(mantissa: u64, shift: u32) -> String {
        let mut out = Vec::new();
        print_fraction(mantissa, shift, &mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn integers_are_exact(value: i64) {
            prop_assert_eq!(LongDouble::from(value).print(), value.to_string().into_bytes());
            prop_assert_eq!(LongDouble::parse(value.to_string().as_bytes()), Some(value.into()));
        }

        #[test]
        fn shifted_integers_agree_with_wide_ones(mantissa: u64, shift in 0u32..64) {
            let mut out = Vec::new();
            print_integer(mantissa, shift, &mut out);
            prop_assert_eq!(out, (u128::from(mantissa) << shift).to_string().into_bytes());
        }

        #[test]
        fn printed_decimals_read_back_alike(whole: u16, decimals: u32) {
            // 16 bits before the point leave 48 behind it, and an error beyond the 14th decimal.
            let text = format!("{whole}.{decimals:010}1");
            prop_assert!(sum(&text, "0").starts_with(&text[..text.len() - 1]), "{}", sum(&text, "0"));
        }
    }
}
