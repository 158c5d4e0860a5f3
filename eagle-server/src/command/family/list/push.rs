//! Adding elements at the ends of lists: LPUSH, RPUSH and their kin.

use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::spec::{Categories, Command, Docs, Flags, Handler, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::store::End;

/// What the rows of this file share.
const fn pushing(name: &'static str, handler: Handler, docs: Docs) -> Command {
    let docs = docs
        .complexity("O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.")
        .syntax("key element [element ...]");
    Command::new(name, -3, handler, docs)
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
        .family(Categories::LIST)
        .keys(const { &[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::INSERT])] })
}

/// LPUSH key element [element ...] -- adds elements before the first, one after another; the length then.
pub(super) const LPUSH: Command = pushing(
    "lpush",
    lpush,
    Docs::new(
        "list",
        "1.0.0",
        "Prepend one or multiple elements to a list",
    )
    .history(&[("2.4.0", "Accepts multiple `element` arguments.")]),
)
.replies_first();

fn lpush(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push(cx, args, End::Head, false)
}

/// RPUSH key element [element ...] -- adds elements behind the last; the length then.
pub(super) const RPUSH: Command = pushing(
    "rpush",
    rpush,
    Docs::new("list", "1.0.0", "Append one or multiple elements to a list")
        .history(&[("2.4.0", "Accepts multiple `element` arguments.")]),
)
.replies_first();

fn rpush(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push(cx, args, End::Tail, false)
}

/// LPUSHX key element [element ...] -- LPUSH, if the list exists.
pub(super) const LPUSHX: Command = pushing(
    "lpushx",
    lpushx,
    Docs::new(
        "list",
        "2.2.0",
        "Prepend an element to a list, only if the list exists",
    )
    .history(&[("4.0.0", "Accepts multiple `element` arguments.")]),
)
.replies_first();

fn lpushx(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push(cx, args, End::Head, true)
}

/// RPUSHX key element [element ...] -- RPUSH, if the list exists.
pub(super) const RPUSHX: Command = pushing(
    "rpushx",
    rpushx,
    Docs::new(
        "list",
        "2.2.0",
        "Append an element to a list, only if the list exists",
    )
    .history(&[("4.0.0", "Accepts multiple `element` arguments.")]),
)
.replies_first();

fn rpushx(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    push(cx, args, End::Tail, true)
}

fn push(cx: &mut Context<'_>, mut args: Args<'_>, end: End, must_exist: bool) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    if must_exist && cx.view.list(db, key)?.is_none() {
        return cx.reply_integer(0);
    }
    let len = cx.view.list_push(db, key, args.rest(), end)?;
    cx.notify(EventClasses::LIST, push_event(end), key);
    cx.reply_integer(len as i64)
}

/// The event of adding at an end.
pub(super) fn push_event(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}
