//! BZPOPMIN, BZPOPMAX, BZMPOP: ZPOPMIN and its kin that wait for a sorted set to appear.

use super::pop::{End, PopRequest, pop};
use super::reply::ScoredWriter;
use crate::command::args::Args;
use crate::command::blocking::{Block, Nothing, Served, seconds};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::CommandError;
use crate::command::forwarding::{Forwarding, Timeout};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::session::Awaited;
use eagle_core::store::Kind;

/// BZPOPMIN key [key ...] timeout -- takes the member with the lowest score from the first sorted set that exists,
/// or waits for one; key, member and score, or null.
pub(super) const BZPOPMIN: Command = Command::new(
    "bzpopmin",
    -3,
    bzpopmin,
    Docs::new(
        "sorted-set",
        "5.0.0",
        "Remove and return the member with the lowest score from one or more sorted sets, or \
         block until one is available",
    )
    .complexity("O(log(N)) with N being the number of elements in the sorted set.")
    .syntax("key [key ...] timeout:double")
    .history(&[(
        "6.0.0",
        "`timeout` is interpreted as a double instead of an integer.",
    )]),
)
.flags(&[Flags::WRITE, Flags::NOSCRIPT, Flags::FAST, Flags::BLOCKING])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::range(
    1,
    -2,
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.forwarded(Forwarding::Wait(Timeout::Last))
.replies_first();

fn bzpopmin(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(cx, args, End::Min)
}

/// BZPOPMAX key [key ...] timeout -- the same with the highest score.
pub(super) const BZPOPMAX: Command = Command::new(
    "bzpopmax",
    -3,
    bzpopmax,
    Docs::new(
        "sorted-set",
        "5.0.0",
        "Remove and return the member with the highest score from one or more sorted sets, or \
         block until one is available",
    )
    .complexity("O(log(N)) with N being the number of elements in the sorted set.")
    .syntax("key [key ...] timeout:double")
    .history(&[(
        "6.0.0",
        "`timeout` is interpreted as a double instead of an integer.",
    )]),
)
.flags(&[Flags::WRITE, Flags::NOSCRIPT, Flags::FAST, Flags::BLOCKING])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::range(
    1,
    -2,
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.forwarded(Forwarding::Wait(Timeout::Last))
.replies_first();

fn bzpopmax(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(cx, args, End::Max)
}

fn pop_or_wait(cx: &mut Context<'_>, args: Args<'_>, end: End) -> Outcome {
    let Some((timeout, keys)) = args.rest().split_last() else {
        return Err(crate::command::errors::SYNTAX);
    };
    let deadline_ms = seconds(timeout, cx.now_ms)?;
    for key in keys {
        if serve_one(cx, key, end)? == Served::Done {
            return Ok(Flow::Done);
        }
    }
    cx.block(
        args.argv(),
        Block {
            keys,
            awaited: Awaited::kind(Kind::Zset),
            deadline_ms,
            also_locked: &[],
            nothing: Nothing::NullArray,
            serve: Box::new(move |cx, key| serve_one(cx, key, end)),
        },
    )
}

/// Takes one member from a key, if there is one, and replies both. Others run ZPOPMIN or ZPOPMAX.
fn serve_one(cx: &mut Context<'_>, key: &[u8], end: End) -> Result<Served, CommandError> {
    let popped = pop(cx, key, end, 1)?;
    if popped.is_empty() {
        return Ok(Served::Waits);
    }
    let command = end.command().to_uppercase();
    let db = cx.db();
    cx.effects.instead(db, &[command.as_bytes(), key]);
    cx.out.array(1 + 2 * popped.len());
    cx.out.bulk(key);
    let mut reply = ScoredWriter::nested(cx.out, false);
    popped.iter().for_each(|member| reply.push(*member));
    Ok(Served::Done)
}

/// BZMPOP timeout numkeys key [key ...] MIN | MAX [COUNT count] -- ZMPOP that waits for a sorted set to appear.
pub(super) const BZMPOP: Command = Command::new(
    "bzmpop",
    -5,
    bzmpop,
    Docs::new(
        "sorted-set",
        "7.0.0",
        "Remove and return members with scores in a sorted set or block until one is available",
    )
    .complexity(
        "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of \
         elements in the sorted set, and M being the number of elements popped.",
    )
    .syntax("timeout:double numkeys key [key ...] where=<MIN | MAX> [COUNT count]"),
)
.flags(&[Flags::WRITE, Flags::BLOCKING, Flags::MOVABLE_KEYS])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::key_num(
    2,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.forwarded(Forwarding::Wait(Timeout::First))
.replies_first();

fn bzmpop(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let argv = args.argv();
    let timeout = args.word()?;
    let request = PopRequest::parse(args)?;
    let deadline_ms = seconds(timeout, cx.now_ms)?;
    if let Some(key) = request.key_with_members(cx)? {
        return request.reply(cx, key);
    }
    let (end, count) = (request.end, request.count);
    cx.block(
        argv,
        Block {
            keys: request.keys,
            awaited: Awaited::kind(Kind::Zset),
            deadline_ms,
            also_locked: &[],
            nothing: Nothing::NullArray,
            serve: Box::new(move |cx, key| {
                if cx.view.zset(cx.db(), key)?.is_none() {
                    return Ok(Served::Waits);
                }
                let keys: &[&[u8]] = &[key];
                PopRequest { keys, end, count }.reply(cx, key)?;
                Ok(Served::Done)
            }),
        },
    )
}
