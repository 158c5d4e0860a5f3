//! Parts of strings: APPEND, SETRANGE, GETRANGE, SUBSTR.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::lookup::write_part;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::store::{StringForm, Ttl};
use std::ops::Range;

/// APPEND key value -- lengthens the string at `key`, which is made if absent.
pub(super) const APPEND: Command = Command::new(
    "append",
    3,
    append,
    Docs::new("string", "2.0.0", "Append a value to a key")
        .complexity(
            "O(1). The amortized time complexity is O(1) assuming the appended value is small \
             and the already present value is of any size, since the dynamic string library \
             used by Redis will double the free space available on every reallocation.",
        )
        .syntax("key value"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::INSERT])]);

fn append(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, suffix) = (args.word()?, args.word()?);
    let db = cx.db();
    let Some(len) = cx.view.string_len(db, key)? else {
        cx.view
            .set_string(db, key, suffix, StringForm::Auto, Ttl::Clear)?;
        cx.notify(EventClasses::STRING, "append", key);
        return cx.reply_integer(suffix.len() as i64);
    };
    check_end(cx, len, suffix)?;
    let new_len = cx.view.write_string(db, key, len, suffix)?;
    cx.notify(EventClasses::STRING, "append", key);
    cx.reply_integer(new_len as i64)
}

/// SETRANGE key offset value -- overwrites a part of the string at `key`, which is padded with
/// zero bytes.
pub(super) const SETRANGE: Command = Command::new(
    "setrange",
    4,
    setrange,
    Docs::new(
        "string",
        "2.2.0",
        "Overwrite part of a string at key starting at the specified offset",
    )
    .complexity(
        "O(1), not counting the time taken to copy the new string in place. Usually, this \
             string is very small so the amortized complexity is O(1). Otherwise, complexity \
             is O(M) with M being the length of the value argument.",
    )
    .syntax("key offset value"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::STRING)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])]);

fn setrange(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const BAD_OFFSET: CommandError = CommandError::new("ERR offset is out of range");
    let (key, offset, patch) = (args.word()?, args.integer()?, args.word()?);
    let offset = u64::try_from(offset).map_err(|_| BAD_OFFSET)?;
    let db = cx.db();
    let old_len = cx.view.string_len(db, key)?;
    if patch.is_empty() {
        // Nothing to write makes no key and pads nothing.
        return cx.reply_integer(old_len.unwrap_or(0) as i64);
    }
    check_end(cx, offset, patch)?;
    let len = cx.view.write_string(db, key, offset, patch)?;
    cx.notify(EventClasses::STRING, "setrange", key);
    cx.reply_integer(len as i64)
}

/// Refuses a `patch` at `offset` that ends beyond `proto-max-bulk-len`.
fn check_end(cx: &Context<'_>, offset: u64, patch: &[u8]) -> Result<(), CommandError> {
    offset
        .checked_add(patch.len() as u64)
        .filter(|end| *end <= cx.config.clients.proto_max_bulk_len)
        .map(|_| ())
        .ok_or(errors::STRING_TOO_LONG)
}

/// GETRANGE key start end -- the bytes from `start` to `end`, both included; negative positions
/// count from the end.
pub(super) const GETRANGE: Command = Command::new(
    "getrange",
    4,
    getrange,
    Docs::new(
        "string",
        "2.4.0",
        "Get a substring of the string stored at a key",
    )
    .complexity(
        "O(N) where N is the length of the returned string. The complexity is ultimately \
             determined by the returned length, but because creating a substring from an \
             existing string is very cheap, it can be considered O(1) for small strings.",
    )
    .syntax("key start end"),
)
.flags(&[Flags::READONLY])
.family(Categories::STRING)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn getrange(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, start, end) = (args.word()?, args.integer()?, args.integer()?);
    let out = &mut *cx.out;
    let found = cx.view.with_string(cx.session.db, key, |string| {
        write_part(out, string, clamp(start, end, string.len()));
    });
    match cx.noted(found)? {
        Some(()) => Ok(Flow::Done),
        None => cx.reply_bulk(b""),
    }
}

/// SUBSTR key start end -- the former name of GETRANGE.
pub(super) const SUBSTR: Command = Command::new(
    "substr",
    4,
    substr,
    Docs::new(
        "string",
        "1.0.0",
        "Get a substring of the string stored at a key",
    )
    .complexity(
        "O(N) where N is the length of the returned string. The complexity is ultimately \
             determined by the returned length, but because creating a substring from an \
             existing string is very cheap, it can be considered O(1) for small strings.",
    )
    .syntax("key start end")
    .deprecated("2.0.0", "`GETRANGE`"),
)
.flags(&[Flags::READONLY])
.family(Categories::STRING)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn substr(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    getrange(cx, args)
}

/// The positions in a string of `len` bytes that `start` and `end` mean; empty if there are none.
fn clamp(start: i64, end: i64, len: u64) -> Range<u64> {
    // Both before the end and crossed: empty, even where cutting both off at 0 would give a byte.
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let absolute = |position: i64| {
        let position = if position < 0 {
            position.saturating_add_unsigned(len)
        } else {
            position
        };
        u64::try_from(position).unwrap_or(0)
    };
    let start = absolute(start);
    let end = absolute(end).saturating_add(1).min(len);
    if start < end { start..end } else { 0..0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_cut_to_the_string() {
        let text = b"Hello";
        for (start, end, expected) in [
            (0, 4, "Hello"),
            (0, -1, "Hello"),
            (1, 3, "ell"),
            (-3, -2, "ll"),
            (-100, 100, "Hello"),
            (-100, -100, "H"),
            (-100, -101, ""),
            (-2, -3, ""),
            (3, 1, ""),
            (5, 9, ""),
            (4, i64::MAX, "o"),
            (i64::MIN, i64::MAX, "Hello"),
            (i64::MIN, i64::MIN, "H"),
        ] {
            let part = clamp(start, end, text.len() as u64);
            let part = &text[part.start as usize..part.end as usize];
            assert_eq!(part, expected.as_bytes(), "{start} {end}");
        }
        assert_eq!(clamp(0, -1, 0), 0..0);
    }
}
