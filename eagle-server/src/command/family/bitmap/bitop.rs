//! BITOP: strings combined bit by bit, a chunk of each at a time.

use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::bits::bitmap::{Operation, combine};
use eagle_core::store::Ttl;

/// BITOP operation destkey key [key ...] -- stores the strings at the keys, combined; its length.
pub(super) const BITOP: Command = Command::new(
    "bitop",
    -4,
    bitop,
    Docs::new(
        "bitmap",
        "2.6.0",
        "Perform bitwise operations between strings",
    )
    .complexity("O(N)")
    .syntax("operation destkey key [key ...]"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::BITMAP)
.keys(&[
    KeySpec::index(2, &[KeyFlags::OW, KeyFlags::UPDATE]),
    KeySpec::range(3, -1, 1, &[KeyFlags::RO, KeyFlags::ACCESS]),
]);

fn bitop(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const NOT_WANTS_ONE: CommandError =
        CommandError::new("ERR BITOP NOT must be called with a single source key.");
    let (name, target) = (args.word()?, args.word()?);
    let operation = match &name.to_ascii_lowercase()[..] {
        b"and" => Operation::And,
        b"or" => Operation::Or,
        b"xor" => Operation::Xor,
        b"not" => Operation::Not,
        _ => return Err(errors::SYNTAX),
    };
    let keys = args.rest();
    if operation == Operation::Not && keys.len() != 1 {
        return Err(NOT_WANTS_ONE);
    }
    let db = cx.db();
    let mut len = 0;
    for key in keys {
        let found = cx.noted(cx.view.string_len(db, key))?;
        len = len.max(found.unwrap_or(0));
    }
    if len == 0 {
        if cx.view.remove(db, target)? {
            cx.notify(EventClasses::GENERIC, "del", target);
        }
    } else {
        let mut parts: Vec<Vec<u8>> = vec![Vec::new(); keys.len()];
        cx.view.make_string(
            db,
            target,
            keys,
            len,
            Ttl::Clear,
            &mut |strings, range, out| {
                for (part, string) in parts.iter_mut().zip(strings) {
                    part.clear();
                    string.pieces(range.clone(), &mut |piece| {
                        piece.for_each(|bytes| part.extend_from_slice(bytes));
                    });
                }
                let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                out.extend_from_slice(&combine(operation, &slices));
            },
        )?;
        cx.notify(EventClasses::STRING, "set", target);
    }
    cx.reply_integer(len as i64)
}
