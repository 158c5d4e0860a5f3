//! Single bits: SETBIT, GETBIT; and what all commands that change bits share.

use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::CommandError;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::bits::bitmap;
use eagle_core::store::{Encoding, StringForm, Ttl};
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
    let mut string = Grown::read(cx, key, offset)?;
    let before = bitmap::get(&string.bytes, offset);
    bitmap::set(&mut string.bytes, offset, on);
    let changes = string.has_grown || before != on;
    string.store(cx, key, changes)?;
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
    let string = cx.read_string(key)?;
    let mut digits = itoa::Buffer::new();
    let bit = string.is_some_and(|text| bitmap::get(text.as_bytes(&mut digits), offset));
    cx.reply_bool(bit)
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

/// A string about to be changed, long enough for a bit.
pub(super) struct Grown {
    pub(super) bytes: Vec<u8>,
    /// It is new, or longer than it was.
    pub(super) has_grown: bool,
    is_raw: bool,
    ttl: Ttl,
}

impl Grown {
    /// The string at `key`, filled up with zeros so that it has the bit at `offset`.
    pub(super) fn read(cx: &Context<'_>, key: &[u8], offset: u64) -> Result<Grown, CommandError> {
        let old = cx.view.string(cx.db(), key)?;
        let entry = cx.view.find(cx.db(), key);
        let mut bytes = old.map_or_else(Vec::new, |text| text.to_vec());
        let len = bytes.len().max((offset >> 3) as usize + 1);
        let has_grown = len > bytes.len();
        bytes.resize(len, 0);
        Ok(Grown {
            bytes,
            has_grown,
            is_raw: entry.is_some_and(|entry| entry.encoding() == Encoding::Raw),
            ttl: if old.is_some() { Ttl::Keep } else { Ttl::Clear },
        })
    }

    /// Stores the string unless nothing about it is new. A string that was meant to be changed is
    /// `raw` afterwards even if no bit of it did.
    pub(super) fn store(
        self,
        cx: &mut Context<'_>,
        key: &[u8],
        changes: bool,
    ) -> Result<(), CommandError> {
        let db = cx.session.db;
        if changes || self.has_grown {
            cx.view
                .set_string(db, key, &self.bytes, StringForm::Raw, self.ttl)?;
        } else if !self.is_raw {
            cx.view
                .recode_string(db, key, &self.bytes, StringForm::Raw)?;
        }
        if changes {
            cx.notify(EventClasses::STRING, "setbit", key);
        } else {
            cx.effects.none();
        }
        Ok(())
    }
}
