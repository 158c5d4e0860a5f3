//! From one list to another: LMOVE, RPOPLPUSH, and the forms of them that wait.

use super::pop::{drop_elements, index_of, parse_end};
use super::push::push_event;
use crate::command::args::Args;
use crate::command::blocking::{self, Block, Nothing, Served};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::CommandError;
use crate::command::forwarding::{Forwarding, Timeout};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use crate::session::Awaited;
use crate::tracking::Maker;
use eagle_core::store::End;
use eagle_core::store::Kind;

/// LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> -- takes an element off one list and adds it to another; the element, or null.
pub(super) const LMOVE: Command = Command::new(
    "lmove",
    5,
    lmove,
    Docs::new(
        "list",
        "6.2.0",
        "Pop an element from a list, push it to another list and return it",
    )
    .complexity("O(1)")
    .syntax("source destination wherefrom=<LEFT | RIGHT> whereto=<LEFT | RIGHT>"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::LIST)
.keys(&[
    KeySpec::index(1, &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE]),
    KeySpec::index(2, &[KeyFlags::RW, KeyFlags::INSERT]),
]);

fn lmove(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let keys = (args.word()?, args.word()?);
    let ends = (parse_end(args.word()?)?, parse_end(args.word()?)?);
    if !transfer(cx, keys, ends)? {
        cx.out.null();
    }
    Ok(Flow::Done)
}

/// RPOPLPUSH source destination -- LMOVE from right to left.
pub(super) const RPOPLPUSH: Command = Command::new(
    "rpoplpush",
    3,
    rpoplpush,
    Docs::new(
        "list",
        "1.2.0",
        "Remove the last element in a list, prepend it to another list and return it",
    )
    .complexity("O(1)")
    .syntax("source destination")
    .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::LIST)
.keys(&[
    KeySpec::index(1, &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE]),
    KeySpec::index(2, &[KeyFlags::RW, KeyFlags::INSERT]),
]);

fn rpoplpush(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let keys = (args.word()?, args.word()?);
    if !transfer(cx, keys, (End::Tail, End::Head))? {
        cx.out.null();
    }
    Ok(Flow::Done)
}

/// Moves an element and replies it; whether there was one.
fn transfer(
    cx: &mut Context<'_>,
    (source, destination): (&[u8], &[u8]),
    (from, to): (End, End),
) -> Result<bool, CommandError> {
    let db = cx.db();
    let Some(list) = cx.view.list(db, source)? else {
        return Ok(false);
    };
    let element = list.get(index_of(from)).unwrap_or_default().to_vec();
    // Before the element is taken off: within one list with this one element, the list stays.
    cx.view.list_push(db, destination, &[&element], to)?;
    cx.notify(EventClasses::LIST, push_event(to), destination);
    cx.out.bulk(&element);
    drop_elements(cx, source, from, 1)?;
    Ok(true)
}

/// BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout -- LMOVE, or waits for an element.
pub(super) const BLMOVE: Command = Command::new(
    "blmove",
    6,
    blmove,
    Docs::new("list", "6.2.0", "Pop an element from a list, push it to another list and return it; or block until one is available")
        .complexity("O(1)")
        .syntax("source destination wherefrom=<LEFT | RIGHT> whereto=<LEFT | RIGHT> timeout:double"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::NOSCRIPT, Flags::BLOCKING])
.family(Categories::LIST)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE]), KeySpec::index(2, &[KeyFlags::RW, KeyFlags::INSERT])])
.forwarded(Forwarding::Wait(Timeout::Last));

fn blmove(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let keys = (args.word()?, args.word()?);
    let ends = (parse_end(args.word()?)?, parse_end(args.word()?)?);
    let deadline_ms = blocking::seconds(args.word()?, cx.now_ms)?;
    transfer_or_wait(cx, args.argv(), keys, ends, deadline_ms)
}

/// BRPOPLPUSH source destination timeout -- RPOPLPUSH, or waits for an element.
pub(super) const BRPOPLPUSH: Command = Command::new(
    "brpoplpush",
    4,
    brpoplpush,
    Docs::new("list", "2.2.0", "Pop an element from a list, push it to another list and return it; or block until one is available")
        .complexity("O(1)")
        .syntax("source destination timeout:double")
        .history(&[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")])
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::NOSCRIPT, Flags::BLOCKING])
.family(Categories::LIST)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE]), KeySpec::index(2, &[KeyFlags::RW, KeyFlags::INSERT])])
.forwarded(Forwarding::Wait(Timeout::Last));

fn brpoplpush(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let keys = (args.word()?, args.word()?);
    let deadline_ms = blocking::seconds(args.word()?, cx.now_ms)?;
    transfer_or_wait(cx, args.argv(), keys, (End::Tail, End::Head), deadline_ms)
}

fn transfer_or_wait(
    cx: &mut Context<'_>,
    argv: &[&[u8]],
    keys: (&[u8], &[u8]),
    ends: (End, End),
    deadline_ms: Option<u64>,
) -> Outcome {
    let is_rpoplpush = cx.entry.command.name == BRPOPLPUSH.name;
    if transfer(cx, keys, ends)? {
        // The ends in the client's own spelling.
        let spelling = (!is_rpoplpush).then(|| [argv[3], argv[4]]);
        note_effect(cx, keys, spelling);
        return Ok(Flow::Done);
    }
    let destination: Box<[u8]> = keys.1.into();
    cx.block(
        argv,
        Block {
            keys: &[keys.0],
            awaited: Awaited::kind(Kind::List),
            deadline_ms,
            also_locked: &[keys.1],
            nothing: Nothing::Null,
            serve: Box::new(move |cx, source| {
                let keys = (source, &*destination);
                let before = cx.view.touched().len();
                if !transfer(cx, keys, ends)? {
                    return Ok(Served::Waits);
                }
                // The push is news, and what was taken was told of when it came.
                for at in before..cx.view.touched().len() {
                    if *cx.view.touched()[at].1 != *destination {
                        cx.events.note_maker(at..at + 1, Maker::Served);
                    }
                }
                let spelling = (!is_rpoplpush).then(|| [end_word(ends.0), end_word(ends.1)]);
                note_effect(cx, keys, spelling);
                Ok(Served::Done)
            }),
        },
    )
}

/// What replicas run in the stead of a command that may wait: LMOVE between the ends, or RPOPLPUSH.
fn note_effect(
    cx: &mut Context<'_>,
    (source, destination): (&[u8], &[u8]),
    ends: Option<[&[u8]; 2]>,
) {
    let db = cx.db();
    match ends {
        None => cx.effects.instead(db, &[b"RPOPLPUSH", source, destination]),
        Some([from, to]) => {
            let words = [&b"LMOVE"[..], source, destination, from, to];
            cx.effects.instead(db, &words);
        }
    }
}

fn end_word(end: End) -> &'static [u8] {
    match end {
        End::Head => b"LEFT",
        End::Tail => b"RIGHT",
    }
}
