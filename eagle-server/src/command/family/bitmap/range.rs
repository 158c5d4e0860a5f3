//! Counting and finding bits: BITCOUNT, BITPOS.

use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use eagle_core::bits::bitmap;
use std::ops::RangeInclusive;

const UNIT_HISTORY: &[(&str, &str)] = &[("7.0.0", "Added the `BYTE|BIT` option.")];

/// BITCOUNT key [start end [BYTE | BIT]] -- how many bits of the string, or of a part of it, are set.
pub(super) const BITCOUNT: Command = Command::new(
    "bitcount",
    -2,
    bitcount,
    Docs::new("bitmap", "2.6.0", "Count set bits in a string")
        .complexity("O(N)")
        .syntax("key index=[start end index_unit=[BYTE | BIT]{7.0.0}]")
        .history(UNIT_HISTORY),
)
.flags(&[Flags::READONLY])
.family(Categories::BITMAP)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn bitcount(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    // Without a key the range is not looked at, as in Redis.
    let Some(string) = cx.read_string(key)? else {
        return cx.reply_integer(0);
    };
    let mut digits = itoa::Buffer::new();
    let bytes = string.as_bytes(&mut digits);
    let count = match *args.rest() {
        [] => bitmap::count(bytes),
        [start, end, ref unit @ ..] if unit.len() <= 1 => {
            let (start, end) = (parse_integer(start)?, parse_integer(end)?);
            if start < 0 && end < 0 && start > end {
                return cx.reply_integer(0);
            }
            let unit = unit
                .first()
                .map_or(Ok(Unit::Byte), |word| Unit::parse(word))?;
            range(start, end, bytes.len(), unit).map_or(0, |bits| bitmap::count_in(bytes, &bits))
        }
        _ => return Err(errors::SYNTAX),
    };
    cx.reply_integer(count as i64)
}

/// BITPOS key bit [start [end [BYTE | BIT]]] -- position of the first bit that is 0, or 1, or -1.
pub(super) const BITPOS: Command = Command::new(
    "bitpos",
    -3,
    bitpos,
    Docs::new("bitmap", "2.8.7", "Find first bit set or clear in a string")
        .complexity("O(N)")
        .syntax("key bit index=[start end_index=[end index_unit=[BYTE | BIT]{7.0.0}]]")
        .history(UNIT_HISTORY),
)
.flags(&[Flags::READONLY])
.family(Categories::BITMAP)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn bitpos(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const BAD_BIT: CommandError = CommandError::new("ERR The bit argument must be 1 or 0.");
    let (key, bit) = (args.word()?, args.integer_in(0..=1, BAD_BIT)?);
    let Some(string) = cx.read_string(key)? else {
        // A key that is not there is an endless row of zeros.
        return cx.reply_integer(-bit);
    };
    let mut digits = itoa::Buffer::new();
    let bytes = string.as_bytes(&mut digits);
    let (mut start, mut end, mut unit) = (0, -1, Unit::Byte);
    let words = args.rest();
    if words.len() > 3 {
        return Err(errors::SYNTAX);
    }
    if let Some(word) = words.first() {
        start = parse_integer(word)?;
    }
    if let Some(word) = words.get(2) {
        unit = Unit::parse(word)?;
    }
    let end_given = words.get(1);
    if let Some(word) = end_given {
        end = parse_integer(word)?;
    }
    let Some(bits) = range(start, end, bytes.len(), unit) else {
        return cx.reply_integer(-1);
    };
    let position = match bitmap::find_in(bytes, &bits, bit == 1) {
        Some(position) => position as i64,
        // Without an end the string goes on with zeros.
        None if bit == 0 && end_given.is_none() => *bits.end() as i64 + 1,
        None => -1,
    };
    cx.reply_integer(position)
}

/// What positions of a range count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn parse(word: &[u8]) -> Result<Unit, CommandError> {
        if word.eq_ignore_ascii_case(b"bit") {
            Ok(Unit::Bit)
        } else if word.eq_ignore_ascii_case(b"byte") {
            Ok(Unit::Byte)
        } else {
            Err(errors::SYNTAX)
        }
    }
}

/// The bits that `start` and `end` mean in a string of `len` bytes, if there are any. Negative
/// positions count from the end.
fn range(start: i64, end: i64, len: usize, unit: Unit) -> Option<RangeInclusive<u64>> {
    let total = match unit {
        Unit::Byte => len as i64,
        Unit::Bit => 8 * len as i64,
    };
    let absolute = |position: i64| {
        let position = if position < 0 {
            position.saturating_add(total)
        } else {
            position
        };
        position.max(0)
    };
    let (start, end) = (absolute(start), absolute(end).min(total - 1));
    if start > end {
        return None;
    }
    let (start, end) = (start as u64, end as u64);
    Some(match unit {
        Unit::Byte => 8 * start..=8 * end + 7,
        Unit::Bit => start..=end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_string() {
        for (start, end, unit, expected) in [
            (0, -1, Unit::Byte, Some(0..=23)),
            (1, 1, Unit::Byte, Some(8..=15)),
            (-2, 100, Unit::Byte, Some(8..=23)),
            (2, 1, Unit::Byte, None),
            (3, 5, Unit::Byte, None),
            (-100, -100, Unit::Byte, Some(0..=7)),
            (5, 9, Unit::Bit, Some(5..=9)),
            (-1, i64::MAX, Unit::Bit, Some(23..=23)),
            (i64::MIN, i64::MIN, Unit::Bit, Some(0..=0)),
        ] {
            assert_eq!(
                range(start, end, 3, unit),
                expected,
                "{start} {end} {unit:?}"
            );
        }
        assert_eq!(range(0, -1, 0, Unit::Byte), None);
    }
}
