//! Words that say until when a key lives, as instants in Unix milliseconds.
//!
//! Two readings exist: options of SET and GETEX must be positive, while EXPIRE and its kin take any
//! number whose instant fits 64 bits, since an instant that has passed deletes the key.

use super::args::{Args, parse_integer};
use super::errors::{self, CommandError};

/// How a number becomes an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds from now: `EX`, EXPIRE.
    Seconds,
    /// Milliseconds from now: `PX`, PEXPIRE.
    Millis,
    /// Unix time in seconds: `EXAT`, EXPIREAT.
    UnixSeconds,
    /// Unix time in milliseconds: `PXAT`, PEXPIREAT.
    UnixMillis,
}

impl Unit {
    const KEYWORDS: [(&'static str, Unit); 4] = [
        ("EX", Unit::Seconds),
        ("PX", Unit::Millis),
        ("EXAT", Unit::UnixSeconds),
        ("PXAT", Unit::UnixMillis),
    ];

    /// Takes one of the four keywords, if the next word is one.
    pub fn accept(args: &mut Args<'_>) -> Option<Unit> {
        Unit::KEYWORDS
            .into_iter()
            .find(|(keyword, _)| args.accept(keyword))
            .map(|(_, unit)| unit)
    }

    /// Whether the number is an instant already.
    pub fn is_absolute(self) -> bool {
        matches!(self, Unit::UnixSeconds | Unit::UnixMillis)
    }

    /// The instant of a positive number; `command` is named in the refusal of others.
    pub fn positive_instant(
        self,
        word: &[u8],
        now_ms: u64,
        command: &str,
    ) -> Result<u64, CommandError> {
        let number = parse_integer(word)?;
        let instant = if number > 0 {
            self.instant_of(number, now_ms)
        } else {
            None
        };
        instant
            .and_then(|at_ms| u64::try_from(at_ms).ok())
            .ok_or_else(|| errors::invalid_expire(command))
    }

    /// The instant of any number, before 1970 for one that is negative enough.
    pub fn instant(self, word: &[u8], now_ms: u64, command: &str) -> Result<i64, CommandError> {
        self.instant_of(parse_integer(word)?, now_ms)
            .ok_or_else(|| errors::invalid_expire(command))
    }

    fn instant_of(self, number: i64, now_ms: u64) -> Option<i64> {
        let ms = match self {
            Unit::Seconds | Unit::UnixSeconds => number.checked_mul(1000)?,
            Unit::Millis | Unit::UnixMillis => number,
        };
        if self.is_absolute() {
            Some(ms)
        } else {
            ms.checked_add_unsigned(now_ms)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    #[test]
    fn numbers_become_instants() {
        let at = |unit: Unit, word: &[u8]| unit.instant(word, NOW_MS, "expire");
        assert_eq!(at(Unit::Seconds, b"10"), Ok(1_700_000_010_000));
        assert_eq!(at(Unit::Millis, b"-10"), Ok(1_699_999_999_990));
        assert_eq!(at(Unit::UnixSeconds, b"-10"), Ok(-10_000));
        assert_eq!(at(Unit::UnixMillis, b"9223372036854775807"), Ok(i64::MAX));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = Err(errors::invalid_expire("expire"));
        let at = |unit: Unit, word: &[u8]| unit.instant(word, NOW_MS, "expire");
        assert_eq!(at(Unit::Seconds, b"9223372036854776"), refused);
        assert_eq!(at(Unit::UnixSeconds, b"-9223372036854776"), refused);
        assert_eq!(at(Unit::Millis, b"9223372036854775807"), refused);
        assert_eq!(at(Unit::Millis, b"1.5"), Err(errors::NOT_INTEGER));
    }

    #[test]
    fn options_must_be_positive() {
        for word in [&b"0"[..], b"-1"] {
            let refused = Unit::UnixMillis.positive_instant(word, NOW_MS, "set");
            assert_eq!(refused, Err(errors::invalid_expire("set")));
        }
        assert_eq!(
            Unit::UnixMillis.positive_instant(b"1", NOW_MS, "set"),
            Ok(1)
        );
    }
}
