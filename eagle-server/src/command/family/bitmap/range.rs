//! Counting and finding bits: BITCOUNT, BITPOS.

use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use eagle_core::bits::bitmap;
use eagle_core::store::{Piece, StringRead};
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
    let found = cx.view.with_string(cx.db(), key, |string| {
        let len = string.len();
        Ok(match *args.rest() {
            [] => whole(len).map_or(0, |bits| count(string, &bits)),
            [start, end, ref unit @ ..] if unit.len() <= 1 => {
                let (start, end) = (parse_integer(start)?, parse_integer(end)?);
                if start < 0 && end < 0 && start > end {
                    return Ok(0);
                }
                let unit = unit
                    .first()
                    .map_or(Ok(Unit::Byte), |word| Unit::parse(word))?;
                range(start, end, len, unit).map_or(0, |bits| count(string, &bits))
            }
            _ => return Err(errors::SYNTAX),
        })
    });
    // Without a key the range is not looked at, as in Redis.
    let count = cx.noted(found)?.unwrap_or(Ok(0))?;
    cx.reply_integer(count as i64)
}

/// How many bits of a range, which the string reaches, are set.
fn count(string: &StringRead<'_, '_>, bits: &RangeInclusive<u64>) -> u64 {
    let mut total = 0;
    each_part(string, bits, |bytes, _, part| {
        total += bytes.map_or(0, |bytes| bitmap::count_in(bytes, &part));
        true
    });
    total
}

/// The first bit of a range, which the string reaches, that is `on`.
fn find(string: &StringRead<'_, '_>, bits: &RangeInclusive<u64>, on: bool) -> Option<u64> {
    let mut position = None;
    each_part(string, bits, |bytes, first, part| {
        let found = match bytes {
            Some(bytes) => bitmap::find_in(bytes, &part, on),
            None => (!on).then_some(*part.start()),
        };
        position = found.map(|bit| first + bit);
        position.is_none()
    });
    position
}

/// Visits the pieces in which a range of bits lies, until `visit` has enough: the bytes (`None` for zeros), the number of
/// the bit that is their first, and which of their bits are of the range.
fn each_part(
    string: &StringRead<'_, '_>,
    bits: &RangeInclusive<u64>,
    mut visit: impl FnMut(Option<&[u8]>, u64, RangeInclusive<u64>) -> bool,
) {
    let (first, last) = (bits.start() >> 3, bits.end() >> 3);
    let mut at = 8 * first;
    let mut goes_on = true;
    string.pieces(first..last + 1, &mut |piece| {
        if !goes_on {
            return;
        }
        let (bytes, len) = match piece {
            Piece::Bytes(bytes) => (Some(bytes), bytes.len()),
            Piece::Zeros(len) => (None, len),
        };
        let end = at + 8 * len as u64;
        let part = *bits.start().max(&at) - at..=(*bits.end()).min(end - 1) - at;
        goes_on = visit(bytes, at, part);
        at = end;
    });
}

/// All bits of a string of `len` bytes, if it has any.
fn whole(len: u64) -> Option<RangeInclusive<u64>> {
    range(0, -1, len, Unit::Byte)
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
    let words = args.rest();
    let found = cx
        .view
        .with_string(cx.db(), key, |string| position(string, bit == 1, words));
    match cx.noted(found)? {
        Some(position) => cx.reply_integer(position?),
        // A key that is not there is an endless row of zeros.
        None => cx.reply_integer(-bit),
    }
}

/// Where in a string the first bit is that is `on`, in the range that the arguments mean.
fn position(string: &StringRead<'_, '_>, on: bool, words: &[&[u8]]) -> Result<i64, CommandError> {
    let (mut start, mut end, mut unit) = (0, -1, Unit::Byte);
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
    let Some(bits) = range(start, end, string.len(), unit) else {
        return Ok(-1);
    };
    Ok(match find(string, &bits, on) {
        Some(position) => position as i64,
        // Without an end the string goes on with zeros.
        None if !on && end_given.is_none() => *bits.end() as i64 + 1,
        None => -1,
    })
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
fn range(start: i64, end: i64, len: u64, unit: Unit) -> Option<RangeInclusive<u64>> {
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
