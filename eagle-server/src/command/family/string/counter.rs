//! Strings as numbers: INCR and its kin, INCRBYFLOAT.
//!
//! Integers are signed 64-bit in their one canonical form. Floats are 80-bit extended, so that sums of
//! short decimals print as one expects, and are stored as text.

use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::store::{StringForm, Text, Ttl};
use eagle_core::text::long_double::LongDouble;

/// INCR key -- adds 1.
pub(super) const INCR: Command = Command::new(
    "incr",
    2,
    incr,
    Docs::new(
        "string",
        "1.0.0",
        "Increment the integer value of a key by one",
    )
    .complexity("O(1)")
    .syntax("key"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)]);

fn incr(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    add(cx, args.word()?, 1)
}

/// DECR key -- subtracts 1.
pub(super) const DECR: Command = Command::new(
    "decr",
    2,
    decr,
    Docs::new(
        "string",
        "1.0.0",
        "Decrement the integer value of a key by one",
    )
    .complexity("O(1)")
    .syntax("key"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)]);

fn decr(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    add(cx, args.word()?, -1)
}

/// INCRBY key increment -- adds an integer.
pub(super) const INCRBY: Command = Command::new(
    "incrby",
    3,
    incrby,
    Docs::new(
        "string",
        "1.0.0",
        "Increment the integer value of a key by the given amount",
    )
    .complexity("O(1)")
    .syntax("key increment"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)]);

fn incrby(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    add(cx, key, args.integer()?)
}

/// DECRBY key decrement -- subtracts an integer.
pub(super) const DECRBY: Command = Command::new(
    "decrby",
    3,
    decrby,
    Docs::new(
        "string",
        "1.0.0",
        "Decrement the integer value of a key by the given number",
    )
    .complexity("O(1)")
    .syntax("key decrement"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)]);

fn decrby(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const NOT_NEGATABLE: CommandError = CommandError::new("ERR decrement would overflow");
    let key = args.word()?;
    let decrement = args.integer()?;
    add(cx, key, decrement.checked_neg().ok_or(NOT_NEGATABLE)?)
}

fn add(cx: &mut Context<'_>, key: &[u8], increment: i64) -> Outcome {
    let db = cx.db();
    let next = |old: Option<Text<'_>>| {
        let old = match old {
            None => 0,
            Some(Text::Int(value)) => value,
            Some(Text::Bytes(bytes)) => parse_integer(bytes)?,
        };
        old.checked_add(increment)
            .ok_or(errors::INCREMENT_OVERFLOWS)
    };
    let new = cx.view.update_int(db, key, next)??;
    cx.notify(EventClasses::STRING, "incrby", key);
    cx.reply_integer(new)
}

/// INCRBYFLOAT key increment -- adds a floating point number.
pub(super) const INCRBYFLOAT: Command = Command::new(
    "incrbyfloat",
    3,
    incrbyfloat,
    Docs::new(
        "string",
        "2.6.0",
        "Increment the float value of a key by the given amount",
    )
    .complexity("O(1)")
    .syntax("key increment:double"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)]);

fn incrbyfloat(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, increment) = (args.word()?, args.word()?);
    let db = cx.db();
    let old = match cx.view.number_text(db, key)? {
        None => None,
        Some(Text::Int(value)) => Some(LongDouble::from(value)),
        Some(Text::Bytes(bytes)) => Some(LongDouble::parse(bytes).ok_or(errors::NOT_FLOAT)?),
    };
    let increment = LongDouble::parse(increment).ok_or(errors::NOT_FLOAT)?;
    let new = old.unwrap_or(LongDouble::ZERO) + increment;
    if !new.is_finite() {
        return Err(errors::INCREMENT_NOT_FINITE);
    }
    let text = new.print();
    cx.view.set_string(
        db,
        key,
        &text,
        StringForm::Plain,
        ttl_of_new_value(old.is_some()),
    )?;
    cx.notify(EventClasses::STRING, "incrbyfloat", key);
    cx.effects.instead(db, &[b"SET", key, &text, b"KEEPTTL"]);
    cx.reply_bulk(&text)
}

/// A modified value keeps its expiry; one that did not exist has none.
fn ttl_of_new_value(existed: bool) -> Ttl {
    if existed { Ttl::Keep } else { Ttl::Clear }
}
