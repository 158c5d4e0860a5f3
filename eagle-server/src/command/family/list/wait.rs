//! Taking elements off lists, or waiting for some: BLPOP, BRPOP, BLMPOP.

use super::pop::{Several, drop_elements, index_of, pop_word, take_some};
use crate::command::args::Args;
use crate::command::blocking::{self, Block, Nothing, Served};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors;
use crate::command::forwarding::{Forwarding, Timeout};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::session::Awaited;
use crate::tracking::Maker;
use eagle_core::store::End;
use eagle_core::store::Kind;

/// BLPOP key [key ...] timeout -- LPOP from the first of the lists that has an element, or waits until one has.
pub(super) const BLPOP: Command = Command::new(
    "blpop",
    -3,
    blpop,
    Docs::new(
        "list",
        "2.0.0",
        "Remove and get the first element in a list, or block until one is available",
    )
    .complexity("O(N) where N is the number of provided keys.")
    .syntax("key [key ...] timeout:double")
    .history(&[(
        "6.0.0",
        "`timeout` is interpreted as a double instead of an integer.",
    )]),
)
.flags(&[Flags::WRITE, Flags::NOSCRIPT, Flags::BLOCKING])
.family(Categories::LIST)
.keys(&[KeySpec::range(
    1,
    -2,
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.forwarded(Forwarding::Wait(Timeout::Last))
.replies_first();

fn blpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_one(cx, args, End::Head)
}

/// BRPOP key [key ...] timeout -- RPOP from the first of the lists that has an element, or waits until one has.
pub(super) const BRPOP: Command = Command::new(
    "brpop",
    -3,
    brpop,
    Docs::new(
        "list",
        "2.0.0",
        "Remove and get the last element in a list, or block until one is available",
    )
    .complexity("O(N) where N is the number of provided keys.")
    .syntax("key [key ...] timeout:double")
    .history(&[(
        "6.0.0",
        "`timeout` is interpreted as a double instead of an integer.",
    )]),
)
.flags(&[Flags::WRITE, Flags::NOSCRIPT, Flags::BLOCKING])
.family(Categories::LIST)
.keys(&[KeySpec::range(
    1,
    -2,
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.forwarded(Forwarding::Wait(Timeout::Last))
.replies_first();

fn brpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_one(cx, args, End::Tail)
}

fn pop_one(cx: &mut Context<'_>, args: Args<'_>, end: End) -> Outcome {
    let (timeout, keys) = args.rest().split_last().ok_or(errors::SYNTAX)?;
    let deadline_ms = blocking::seconds(timeout, cx.now_ms)?;
    let take = move |cx: &mut Context<'_>, key: &[u8]| take_one(cx, key, end);
    let take_served = move |cx: &mut Context<'_>, key: &[u8]| {
        let before = cx.view.touched().len();
        let taken = take_one(cx, key, end);
        let changes = before..cx.view.touched().len();
        cx.events.note_maker(changes, Maker::Served);
        taken
    };
    take_or_wait(cx, args.argv(), keys, deadline_ms, (take, take_served))
}

/// Replies the key and its outermost element, and takes that off.
fn take_one(cx: &mut Context<'_>, key: &[u8], end: End) -> Outcome {
    let db = cx.db();
    let Some(list) = cx.view.list(db, key)? else {
        return cx.reply_null();
    };
    cx.out.array(2);
    cx.out.bulk(key);
    cx.out.bulk_or_null(list.get(index_of(end)));
    drop_elements(cx, key, end, 1)?;
    cx.effects.instead(db, &[pop_word(end), key]);
    Ok(Flow::Done)
}

/// BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count] -- LMPOP, or waits for an element.
pub(super) const BLMPOP: Command = Command::new(
    "blmpop",
    -5,
    blmpop,
    Docs::new(
        "list",
        "7.0.0",
        "Pop elements from a list, or block until one is available",
    )
    .complexity(
        "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
    )
    .syntax("timeout:double numkeys key [key ...] where=<LEFT | RIGHT> [COUNT count]"),
)
.flags(&[Flags::WRITE, Flags::BLOCKING, Flags::MOVABLE_KEYS])
.family(Categories::LIST)
.keys(&[KeySpec::key_num(
    2,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.forwarded(Forwarding::Wait(Timeout::First))
.replies_first();

fn blmpop(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let timeout = args.word()?;
    let several = Several::parse(args)?;
    let deadline_ms = blocking::seconds(timeout, cx.now_ms)?;
    let (end, count) = (several.end, several.count);
    let take = move |cx: &mut Context<'_>, key: &[u8]| take_some(cx, key, end, count);
    take_or_wait(cx, args.argv(), several.keys, deadline_ms, (take, take))
}

/// Takes from the first list there is, or waits for one and takes from it then, which may be done in another way.
fn take_or_wait(
    cx: &mut Context<'_>,
    argv: &[&[u8]],
    keys: &[&[u8]],
    deadline_ms: Option<u64>,
    (take, take_served): (
        impl FnOnce(&mut Context<'_>, &[u8]) -> Outcome,
        impl Fn(&mut Context<'_>, &[u8]) -> Outcome + Send + Sync + 'static,
    ),
) -> Outcome {
    let db = cx.db();
    for key in keys {
        if cx.view.list(db, key)?.is_some() {
            return take(cx, key);
        }
    }
    cx.block(
        argv,
        Block {
            keys,
            awaited: Awaited::kind(Kind::List),
            deadline_ms,
            also_locked: &[],
            nothing: Nothing::NullArray,
            serve: Box::new(move |cx, key| {
                if cx.view.list(cx.db(), key)?.is_none() {
                    return Ok(Served::Waits);
                }
                take_served(cx, key)?;
                Ok(Served::Done)
            }),
        },
    )
}
