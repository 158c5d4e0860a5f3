//! How long a command waits: its timeout as a deadline.

use crate::command::errors::CommandError;
use eagle_core::text::integer;
use eagle_core::text::long_double::LongDouble;

const NOT_FLOAT: CommandError = CommandError::new("ERR timeout is not a float or out of range");
const NOT_INTEGER: CommandError =
    CommandError::new("ERR timeout is not an integer or out of range");
const NEGATIVE: CommandError = CommandError::new("ERR timeout is negative");

/// The deadline of a timeout in seconds, with decimals; `None` for zero, which waits for ever.
pub fn seconds(word: &[u8], now_ms: u64) -> Result<Option<u64>, CommandError> {
    let seconds = LongDouble::parse(word).ok_or(NOT_FLOAT)?;
    // What is too long for the clock wraps to a negative number there.
    deadline(seconds.ceil_thousandfold().ok_or(NEGATIVE)?, now_ms)
}

/// The deadline of a timeout in milliseconds; `None` for zero.
pub fn milliseconds(word: &[u8], now_ms: u64) -> Result<Option<u64>, CommandError> {
    deadline(integer::parse_i64(word).ok_or(NOT_INTEGER)?, now_ms)
}

fn deadline(timeout_ms: i64, now_ms: u64) -> Result<Option<u64>, CommandError> {
    match u64::try_from(timeout_ms) {
        Err(_) => Err(NEGATIVE),
        Ok(0) => Ok(None),
        // A deadline beyond the end of time has wrapped around: it is over.
        Ok(timeout_ms) => {
            let at_ms = now_ms.saturating_add(timeout_ms);
            Ok(Some(if i64::try_from(at_ms).is_ok() {
                at_ms
            } else {
                0
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_a_millisecond_round_up() {
        assert_eq!(seconds(b"0.0001", 5), Ok(Some(6)));
        assert_eq!(seconds(b"1.5", 5), Ok(Some(1505)));
        assert_eq!(seconds(b"0", 5), Ok(None));
        assert_eq!(seconds(b"-0.0001", 5), Ok(None));
        assert_eq!(seconds(b"0x1p0", 5), Ok(Some(1005)));
        assert_eq!(milliseconds(b"7", 5), Ok(Some(12)));
        assert_eq!(milliseconds(b"0", 5), Ok(None));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for word in [
            &b"-1"[..],
            b"-0.01",
            b"1e30",
            b"inf",
            b"-inf",
            b"9223372036854776",
        ] {
            assert_eq!(seconds(word, 5), Err(NEGATIVE), "{}", word.escape_ascii());
        }
        for word in [&b"a"[..], b"", b" 1", b"nan"] {
            assert_eq!(seconds(word, 5), Err(NOT_FLOAT), "{}", word.escape_ascii());
        }
        assert_eq!(milliseconds(b"-1", 5), Err(NEGATIVE));
        assert_eq!(milliseconds(b"1.5", 5), Err(NOT_INTEGER));
        assert_eq!(milliseconds(b"9223372036854775807", 5), Ok(Some(0)));
    }
}
