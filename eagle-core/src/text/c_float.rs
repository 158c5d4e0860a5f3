//! The grammar of C's `strtod`, shared by the two widths of floating point.
//!
//! Only a text that is a number from its first byte to its last is taken: no caller reads a prefix.
//! `nan` is left out, since every command that reads a number refuses it.

use rustc_apfloat::{Float, Round, Status};

/// A number as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CFloat<'a> {
    Infinity {
        negative: bool,
    },
    /// Sign, digits with at most one dot, exponent: what Rust's parser takes as well.
    Decimal(&'a str),
    Hexadecimal(HexFloat),
}

/// `mantissa * 2^exponent`, as much of it as rounding to 64 bits can depend on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HexFloat {
    negative: bool,
    /// At most 31 digits. The lowest is made odd if digits that did not fit were not all zero.
    mantissa: u128,
    exponent: i64,
}

impl<'a> CFloat<'a> {
    pub(super) fn classify(text: &'a [u8]) -> Option<Self> {
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(Self::Infinity { negative });
        }
        if let [b'0', b'x' | b'X', digits @ ..] = unsigned {
            return HexFloat::parse(negative, digits).map(Self::Hexadecimal);
        }
        let (digits, rest) = skip_digits(unsigned);
        let (decimals, rest) = match rest {
            [b'.', rest @ ..] => skip_digits(rest),
            rest => (0, rest),
        };
        let whole = digits + decimals > 0 && is_exponent_or_end(rest, b'e');
        // The grammar leaves only ASCII, so the conversion cannot fail.
        whole
            .then(|| std::str::from_utf8(text).ok().map(Self::Decimal))
            .flatten()
    }
}

impl HexFloat {
    /// Reads what follows `0x`.
    fn parse(negative: bool, text: &[u8]) -> Option<Self> {
        const DIGITS_MAX: u32 = 31;
        let (mut mantissa, mut exponent) = (0u128, 0i64);
        let (mut digits, mut dot) = (0usize, false);
        let mut rest = text;
        while let [byte, after @ ..] = rest {
            if *byte == b'.' && !dot {
                dot = true;
            } else if let Some(digit) = char::from(*byte).to_digit(16) {
                digits += 1;
                if mantissa >> (4 * (DIGITS_MAX - 1)) == 0 {
                    mantissa = mantissa << 4 | u128::from(digit);
                    exponent -= if dot { 4 } else { 0 };
                } else {
                    mantissa |= u128::from(digit != 0);
                    exponent += if dot { 0 } else { 4 };
                }
            } else {
                break;
            }
            rest = after;
        }
        if digits == 0 || !is_exponent_or_end(rest, b'p') {
            return None;
        }
        if let [_, power @ ..] = rest {
            exponent = exponent.saturating_add(saturating_i64(power));
        }
        Some(Self {
            negative,
            mantissa,
            exponent,
        })
    }

    /// The nearest `F`, ties to even, or nothing if it is too large or rounds to zero.
    pub(super) fn to_float<F: Float>(&self) -> Option<F> {
        // No format here has exponents of five digits, and the parser adds to them unchecked.
        let exponent = self.exponent.clamp(-100_000, 100_000);
        let text = format!("0x{:x}p{exponent}", self.mantissa);
        nearest(&text).map(|value: F| if self.negative { -value } else { value })
    }

    /// What C yields where [`to_float`](Self::to_float) has no answer: infinity or zero.
    pub(super) fn saturated(&self) -> f64 {
        let magnitude = if self.exponent > 0 {
            f64::INFINITY
        } else {
            0.0
        };
        if self.negative { -magnitude } else { magnitude }
    }
}

/// The `F` nearest to `text`, ties to even, or nothing if it is too large or rounds to zero: where
/// C sets `ERANGE` and yields infinity or zero. `text` must follow the grammar above.
pub(super) fn nearest<F: Float>(text: &str) -> Option<F> {
    let rounded = F::from_str_r(text, Round::NearestTiesToEven).ok()?;
    let lost = rounded.status.contains(Status::UNDERFLOW) && rounded.value.is_zero();
    (!lost && !rounded.value.is_infinite()).then_some(rounded.value)
}

/// Counts the digits `text` begins with; returns what follows them too.
fn skip_digits(text: &[u8]) -> (usize, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits, &text[digits..])
}

/// Whether `rest` is empty or a whole exponent introduced by `marker`.
fn is_exponent_or_end(rest: &[u8], marker: u8) -> bool {
    let [first, power @ ..] = rest else {
        return true;
    };
    let digits = power
        .strip_prefix(b"-")
        .or(power.strip_prefix(b"+"))
        .unwrap_or(power);
    first.to_ascii_lowercase() == marker
        && !digits.is_empty()
        && digits.iter().all(u8::is_ascii_digit)
}

/// The value of a sign and digits.
fn saturating_i64(text: &[u8]) -> i64 {
    let negative = text.first() == Some(&b'-');
    let magnitude = text
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0i64, |value, byte| {
            value
                .saturating_mul(10)
                .saturating_add(i64::from(byte - b'0'))
        });
    if negative { -magnitude } else { magnitude }
}
