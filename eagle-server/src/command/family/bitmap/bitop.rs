//! BITOP: strings combined bit by bit.

use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::bits::bitmap::{Operation, combine};
use eagle_core::store::{StringForm, StringValue, Ttl};
use std::borrow::Cow;

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
    let string = |key: &&[u8]| {
        let text = cx.read_string(key)?;
        Ok(text.map_or(Cow::Borrowed(&b""[..]), StringValue::into_cow))
    };
    let strings: Vec<Cow<'_, [u8]>> = keys
        .iter()
        .map(string)
        .collect::<Result<_, CommandError>>()?;
    let slices: Vec<&[u8]> = strings.iter().map(AsRef::as_ref).collect();
    let result = combine(operation, &slices);
    let db = cx.db();
    if result.is_empty() {
        if cx.view.remove(db, target)? {
            cx.notify(EventClasses::GENERIC, "del", target);
        }
    } else {
        cx.view
            .set_string(db, target, &result, StringForm::Raw, Ttl::Clear)?;
        cx.notify(EventClasses::STRING, "set", target);
    }
    cx.reply_integer(result.len() as i64)
}
