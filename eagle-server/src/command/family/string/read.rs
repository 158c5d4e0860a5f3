//! Reading whole strings: GET, MGET, STRLEN.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::forwarding::{Forwarding, Merge};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};

/// GET key -- the string at `key`, or null.
pub(super) const GET: Command = Command::new(
    "get",
    2,
    get,
    Docs::new("string", "1.0.0", "Get the value of a key")
        .complexity("O(1)")
        .syntax("key"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn get(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    cx.reply_string(args.word()?)?;
    Ok(Flow::Done)
}

/// MGET key [key ...] -- the strings at the keys; null for a key that holds none.
pub(super) const MGET: Command = Command::new(
    "mget",
    -2,
    mget,
    Docs::new("string", "1.0.0", "Get the values of all the given keys")
        .complexity("O(N) where N is the number of keys to retrieve.")
        .syntax("key [key ...]"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::range(1, -1, 1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["request_policy:multi_shard"])
.forwarded(Forwarding::Split {
    words: 1,
    merge: Merge::Elements,
});

fn mget(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    cx.out.array(args.len());
    for key in args.rest() {
        // A value of another type reads as null here.
        if cx.reply_string(key).is_err() {
            cx.out.null();
        }
    }
    Ok(Flow::Done)
}

/// STRLEN key -- length of the string in bytes, 0 if there is none.
pub(super) const STRLEN: Command = Command::new(
    "strlen",
    2,
    strlen,
    Docs::new(
        "string",
        "2.2.0",
        "Get the length of the value stored in a key",
    )
    .complexity("O(1)")
    .syntax("key"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(1, &[KeyFlags::RO])]);

fn strlen(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let len = cx.view.string_len(cx.db(), args.word()?);
    let len = cx.noted(len)?;
    cx.reply_integer(len.unwrap_or(0) as i64)
}
