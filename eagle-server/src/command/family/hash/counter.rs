//! Fields of hashes as numbers: HINCRBY, HINCRBYFLOAT.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::store::FieldTtl;
use eagle_core::text::integer;
use eagle_core::text::long_double::LongDouble;

/// HINCRBY key field increment -- adds an integer to a field.
pub(super) const HINCRBY: Command = Command::new(
    "hincrby",
    4,
    hincrby,
    Docs::new(
        "hash",
        "2.0.0",
        "Increment the integer value of a hash field by the given number",
    )
    .complexity("O(1)")
    .syntax("key field increment"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)])
.replies_first();

fn hincrby(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const NOT_INTEGER: CommandError = CommandError::new("ERR hash value is not an integer");
    let (key, field, increment) = (args.word()?, args.word()?, args.integer()?);
    let old = match value(cx, key, field)? {
        Some(text) => integer::parse_i64(text).ok_or(NOT_INTEGER)?,
        None => 0,
    };
    let new = old
        .checked_add(increment)
        .ok_or(errors::INCREMENT_OVERFLOWS)?;
    let mut digits = itoa::Buffer::new();
    set_value(cx, key, field, digits.format(new).as_bytes())?;
    cx.out.integer(new);
    cx.notify(EventClasses::HASH, "hincrby", key);
    Ok(Flow::Done)
}

/// HINCRBYFLOAT key field increment -- adds a floating point number to a field.
pub(super) const HINCRBYFLOAT: Command = Command::new(
    "hincrbyfloat",
    4,
    hincrbyfloat,
    Docs::new(
        "hash",
        "2.6.0",
        "Increment the float value of a hash field by the given amount",
    )
    .complexity("O(1)")
    .syntax("key field increment:double"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)])
.replies_first();

fn hincrbyfloat(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const NOT_FLOAT: CommandError = CommandError::new("ERR hash value is not a float");
    const NOT_FINITE: CommandError = CommandError::new("ERR value is NaN or Infinity");
    let (key, field, increment) = (args.word()?, args.word()?, args.word()?);
    let increment = LongDouble::parse(increment).ok_or(errors::NOT_FLOAT)?;
    if !increment.is_finite() {
        return Err(NOT_FINITE);
    }
    let old = match value(cx, key, field)? {
        Some(text) => LongDouble::parse(text).ok_or(NOT_FLOAT)?,
        None => LongDouble::ZERO,
    };
    let new = old + increment;
    if !new.is_finite() {
        return Err(errors::INCREMENT_NOT_FINITE);
    }
    let text = new.print();
    let hash = cx.view.hash(cx.db(), key)?;
    let expires = hash.is_some_and(|hash| hash.ttl_at(field).flatten().is_some());
    set_value(cx, key, field, &text)?;
    let db = cx.db();
    if expires {
        cx.effects.instead(
            db,
            &[b"HSETEX", key, b"KEEPTTL", b"FIELDS", b"1", field, &text],
        );
    } else {
        cx.effects.instead(db, &[b"HSET", key, field, &text]);
    }
    cx.out.bulk(&text);
    cx.notify(EventClasses::HASH, "hincrbyfloat", key);
    Ok(Flow::Done)
}

/// The value of a field, which is removed first if its time has come.
fn value<'a>(
    cx: &mut Context<'a>,
    key: &[u8],
    field: &[u8],
) -> Result<Option<&'a [u8]>, CommandError> {
    let db = cx.db();
    let value = cx.view.hash(db, key)?.and_then(|hash| hash.get(field));
    if value.is_none() && cx.view.has_met_fields() {
        cx.view.hash_lapse(db, key, &[field])?;
    }
    Ok(value)
}

/// Sets the value of a field, which expires as before.
fn set_value(
    cx: &mut Context<'_>,
    key: &[u8],
    field: &[u8],
    value: &[u8],
) -> Result<(), CommandError> {
    cx.view
        .hash_set_timed(cx.session.db, key, &[(field, value)], FieldTtl::Keep)?;
    Ok(())
}
