//! Single bits: SETBIT, GETBIT; and what all commands on bits share.

use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::CommandError;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::bits::bitmap;
use eagle_core::store::StringForm;
use eagle_core::text::integer::parse_i64;

/// SETBIT key offset value -- sets or clears a bit of the string at `key`, which is made or padded
/// with zero bytes; the former bit.
pub(super) const SETBIT: Command = Command::new(
    "setbit",
    4,
    setbit,
    Docs::new(
        "bitmap",
        "2.2.0",
        "Sets or clears the bit at offset in the string value stored at key",
    )
    .complexity("O(1)")
    .syntax("key offset value:integer"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::BITMAP)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)]);

fn setbit(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const BAD_BIT: CommandError = CommandError::new("ERR bit is not an integer or out of range");
    let (key, offset) = (args.word()?, parse_offset(cx, args.word()?)?);
    let on = match parse_i64(args.word()?) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(BAD_BIT),
    };
    let (db, at) = (cx.db(), offset >> 3);
    let window = cx.view.string_window(db, key, at)?;
    let before = bitmap::get(&window.bytes, offset & 7);
    let changes = at >= window.len || before != on;
    if changes {
        let mut byte = [window.bytes[0]];
        bitmap::set(&mut byte, offset & 7, on);
        cx.view.write_string(db, key, at, &byte)?;
    } else if !window.is_raw {
        make_raw(cx, key)?;
    }
    tell(cx, key, changes);
    cx.reply_bool(before)
}

/// GETBIT key offset -- a bit of the string at `key`, 0 beyond its end.
pub(super) const GETBIT: Command = Command::new(
    "getbit",
    3,
    getbit,
    Docs::new(
        "bitmap",
        "2.2.0",
        "Returns the bit value at offset in the string value stored at key",
    )
    .complexity("O(1)")
    .syntax("key offset"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::BITMAP)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn getbit(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, offset) = (args.word()?, parse_offset(cx, args.word()?)?);
    let byte = cx.view.string_byte(cx.db(), key, offset >> 3);
    let byte = cx.noted(byte)?.unwrap_or(0);
    cx.reply_bool(bitmap::get(&[byte], offset & 7))
}

pub(super) const BAD_OFFSET: CommandError =
    CommandError::new("ERR bit offset is not an integer or out of range");

/// A position that a string may have.
pub(super) fn parse_offset(cx: &Context<'_>, word: &[u8]) -> Result<u64, CommandError> {
    parse_i64(word)
        .ok_or(BAD_OFFSET)
        .and_then(|offset| check_offset(cx, offset))
}

/// Refuses positions beyond the longest string.
pub(super) fn check_offset(cx: &Context<'_>, offset: i64) -> Result<u64, CommandError> {
    u64::try_from(offset)
        .ok()
        .filter(|offset| offset >> 3 < cx.config.clients.proto_max_bulk_len)
        .ok_or(BAD_OFFSET)
}

/// Makes a short string that was meant to be changed `raw`, although no bit of it did; nobody hears of it.
pub(super) fn make_raw(cx: &mut Context<'_>, key: &[u8]) -> Result<(), CommandError> {
    let db = cx.session.db;
    if let Some(value) = cx.view.string(db, key)? {
        let bytes = value.into_vec();
        cx.view.recode_string(db, key, &bytes, StringForm::Raw)?;
    }
    Ok(())
}

/// Tells that a string was changed, or that it was meant to be and nothing about it is new.
pub(super) fn tell(cx: &mut Context<'_>, key: &[u8], changes: bool) {
    if changes {
        cx.notify(EventClasses::STRING, "setbit", key);
    } else {
        cx.effects.none();
    }
}
