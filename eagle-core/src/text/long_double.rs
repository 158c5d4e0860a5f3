//! 80-bit floating point, the `long double` of x86, for INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Their replies are stored as strings and replicated, so a digit more or less would be seen. No
//! other width gives the same digits: 64 significant bits are what decides `0.1 + 0.2`. Arithmetic
//! is done in software and thus is the same on every processor.
//!
//! Printing is C's `%.17Lf` without trailing zeros and is exact. A value `m * 2^e` with `e < 0`
//! needs `m * 10^17` divided by a power of two, and 64 + 57 bits fit a `u128`; with `e >= 0` it is
//! an integer of up to 4933 digits, for which limbs in base 10^9 do.

use rustc_apfloat::Float;
use rustc_apfloat::ieee::X87DoubleExtended;

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
