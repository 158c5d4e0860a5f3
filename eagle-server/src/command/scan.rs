//! Arguments common to the SCAN commands.

use super::args::Args;
use super::errors::{self, CommandError};
use eagle_core::text::glob::{self, Case};

/// Reads a cursor as C's `strtoul` does: a sign is taken and a negative number wraps around, nothing
/// at all is 0. White space is not taken.
pub fn parse_cursor(word: &[u8]) -> Result<u64, CommandError> {
    let (negative, digits) = match word {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() && !word.is_empty() {
        return Err(errors::INVALID_CURSOR);
    }
    let mut cursor = 0u64;
    for byte in digits {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
        cursor = digit
            .and_then(|digit| cursor.checked_mul(10)?.checked_add(digit))
            .ok_or(errors::INVALID_CURSOR)?;
    }
    Ok(if negative {
        cursor.wrapping_neg()
    } else {
        cursor
    })
}

/// What narrows a scan, and how much of it one call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanOptions<'a> {
    /// `None` passes everything.
    pub pattern: Option<&'a [u8]>,
    /// How many elements to visit at least; positive.
    pub count: usize,
    /// Only keys of the type of this name.
    pub kind: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Reads `[MATCH pattern] [COUNT count]`, and `[TYPE type]` where `with_type`; the last of each
    /// counts.
    pub fn parse(mut args: Args<'a>, with_type: bool) -> Result<ScanOptions<'a>, CommandError> {
        let mut options = ScanOptions {
            pattern: None,
            count: 10,
            kind: None,
        };
        while !args.is_empty() {
            if args.accept("COUNT") {
                let count = args.integer_in(1..=i64::MAX, errors::SYNTAX)?;
                options.count = usize::try_from(count).unwrap_or(usize::MAX);
            } else if args.accept("MATCH") {
                // The pattern that matches everything costs nothing.
                options.pattern = Some(args.word()?).filter(|pattern| *pattern != b"*");
            } else if with_type && args.accept("TYPE") {
                options.kind = Some(args.word()?);
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok(options)
    }

    /// Whether an element with this name is replied.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, name, Case::Sensitive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_unsigned_64_bit() {
        assert_eq!(parse_cursor(b"0"), Ok(0));
        assert_eq!(parse_cursor(b""), Ok(0));
        assert_eq!(parse_cursor(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(parse_cursor(b"-1"), Ok(u64::MAX));
        assert_eq!(parse_cursor(b"+007"), Ok(7));
        for word in [
            &b"18446744073709551616"[..],
            b" 1",
            b"1 ",
            b"-",
            b"x",
            b"1.0",
            b"--1",
        ] {
            assert_eq!(
                parse_cursor(word),
                Err(errors::INVALID_CURSOR),
                "{}",
                word.escape_ascii()
            );
        }
    }

    #[test]
    fn options_are_read_in_any_order() {
        let parse = |words: &[&[u8]]| {
            let options = ScanOptions::parse(Args::new(words, 0), false);
            options.map(|options| (options.pattern.map(<[u8]>::to_vec), options.count))
        };
        assert_eq!(parse(&[]), Ok((None, 10)));
        assert_eq!(
            parse(&[b"count", b"5", b"match", b"a*"]),
            Ok((Some(b"a*".to_vec()), 5))
        );
        assert_eq!(parse(&[b"match", b"a", b"match", b"*"]), Ok((None, 10)));
        assert_eq!(parse(&[b"count", b"0"]), Err(errors::SYNTAX));
        assert_eq!(parse(&[b"count", b"x"]), Err(errors::NOT_INTEGER));
        assert_eq!(parse(&[b"match"]), Err(errors::SYNTAX));
        assert_eq!(parse(&[b"type", b"hash"]), Err(errors::SYNTAX));
    }
}
