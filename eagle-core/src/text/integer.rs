//! Decimal integers.
//!
//! The strict form is the one under which text and number stand for each other one to one: no
//! space, no `+`, no leading zero, no `-0`. A string value is an integer to Redis exactly if it has
//! this form, which is what lets it be stored as a number and printed back unchanged.

/// The most characters of an [`i64`]: `-9223372036854775808`.
pub const I64_CHARS_MAX: usize = 20;

/// Reads an `i64` in strict form.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => match parse_u64(digits)? {
            0 => None,
            magnitude => 0i64.checked_sub_unsigned(magnitude),
        },
        digits => parse_u64(digits)?.try_into().ok(),
    }
}

/// Reads a `u64` in strict form.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() < 20 => {
            let mut value = u64::from(text[0] - b'0');
            for &byte in rest {
                let digit = byte.wrapping_sub(b'0');
                if digit > 9 {
                    return None;
                }
                value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
            }
            Some(value)
        }
        _ => None,
    }
}

/// Reads a `u64` as C's `strtoull` does in base 10, the whole text being the number: leading space,
/// a sign and leading zeros are taken, and a negative number wraps around.
///
/// Stream ids are read so, except that a strictly written negative number is refused there.
pub fn parse_u64_lenient(text: &[u8]) -> Option<u64> {
    if let Some(value) = parse_i64(text) {
        return value.try_into().ok();
    }
    let text = text.trim_ascii_start_c();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// How many characters `value` takes in decimal, the sign included.
pub fn decimal_len(value: i64) -> usize {
    decimal_len_u64(value.unsigned_abs()) + usize::from(value < 0)
}

/// How many digits `value` takes in decimal.
pub fn decimal_len_u64(value: u64) -> usize {
    value.checked_ilog10().unwrap_or(0) as usize + 1
}

/// White space as C's `isspace` knows it: one byte more, vertical tab, than the standard library's.
pub(super) trait TrimC {
    fn trim_ascii_start_c(&self) -> &[u8];
}

impl TrimC for [u8] {
    fn trim_ascii_start_c(&self) -> &[u8] {
        let blank = self.iter().take_while(|&&byte| is_space_c(byte)).count();
        &self[blank..]
    }
}

/// C's `isspace` in the C locale.
pub(super) fn is_space_c(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strict_form_only() {
        for text in [
            "", "-", "+1", " 1", "1 ", "01", "00", "-0", "-01", "1.0", "1a", "0x1",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn ends_of_the_range() {
        for value in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }
        assert_eq!(parse_i64(b"9223372036854775808"), None);
        assert_eq!(parse_i64(b"-9223372036854775809"), None);
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"100000000000000000000"), None);
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn lenient_form_is_strtoull() {
        assert_eq!(parse_u64_lenient(b" \x0b+007"), Some(7));
        assert_eq!(parse_u64_lenient(b"-1"), None);
        assert_eq!(parse_u64_lenient(b"-01"), Some(u64::MAX));
        assert_eq!(parse_u64_lenient(b"18446744073709551616"), None);
        for text in ["", "+", "-", " ", "7 ", "0x7"] {
            assert_eq!(parse_u64_lenient(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn printed_integers_parse_back(value: i64, unsigned: u64) {
            prop_assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
            prop_assert_eq!(parse_u64(unsigned.to_string().as_bytes()), Some(unsigned));
            prop_assert_eq!(decimal_len(value), value.to_string().len());
            prop_assert_eq!(decimal_len_u64(unsigned), unsigned.to_string().len());
        }

        #[test]
        fn accepted_means_round_trip(text in "[-+ ]?[0-9]{0,22}[ a]?") {
            let model = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), model);
        }
    }
}
