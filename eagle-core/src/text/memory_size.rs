//! Sizes in the configuration: `100mb`, `1k`, `64`.
//!
//! `k m g` count in thousands, `kb mb gb` in steps of 1024, `b` and nothing in bytes, in either case.
//! A percentage (`maxmemory-clients 5%`) is a matter of the directive that takes it.

use std::num::IntErrorKind;

/// Reads a size in bytes.
///
/// The text ends at a NUL, as a string of C does; no digits are the number 0. A number that does not fit 64 bits is the
/// largest that does. With a unit such a size is refused, where Redis would silently wrap it around.
pub fn parse_memory_size(text: &[u8]) -> Option<u64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    // Digits are ASCII, so this is UTF-8; leading zeros are fine here.
    let number: u64 = match std::str::from_utf8(number).ok()?.parse() {
        Ok(number) => number,
        Err(error) if *error.kind() == IntErrorKind::Empty => 0,
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => u64::MAX,
        Err(_) => return None,
    };
    number.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let cases = [
            ("0", 0),
            ("007", 7),
            ("12b", 12),
            ("1k", 1000),
            ("1Kb", 1024),
            ("2M", 2_000_000),
            ("2mB", 2 << 20),
            ("3g", 3_000_000_000),
            ("3GB", 3 << 30),
            ("18446744073709551615", u64::MAX),
            ("18446744073709551616", u64::MAX),
            ("", 0),
            ("mb", 0),
            ("1\0", 1),
            ("2kb\0x", 2 << 10),
            ("\0\u{fffd}", 0),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_memory_size(text.as_bytes()), Some(bytes), "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in [
            "-1",
            "\u{fffd}",
            "+1",
            " 1",
            "1 ",
            "1.5mb",
            "1t",
            "1kbb",
            "17179869184gb",
            "18446744073709551616kb",
        ] {
            assert_eq!(parse_memory_size(text.as_bytes()), None, "{text:?}");
        }
    }
}
