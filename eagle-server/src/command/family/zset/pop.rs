//! ZPOPMIN, ZPOPMAX, ZMPOP: members taken from an end.

use super::remove::note_removal;
use super::reply::ScoredWriter;
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use eagle_core::resp::Protocol;
use eagle_core::text::integer;

const NO_KEYS: CommandError = CommandError::new("ERR numkeys should be greater than 0");
const NO_COUNT: CommandError = CommandError::new("ERR count should be greater than 0");

/// Which end members are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Min,
    Max,
}

impl End {
    /// The command that takes from this end, which is also its event.
    pub(super) fn command(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }
}

/// ZPOPMIN key [count] -- takes the members with the lowest scores.
pub(super) const ZPOPMIN: Command = Command::new(
    "zpopmin",
    -2,
    zpopmin,
    Docs::new(
        "sorted-set",
        "5.0.0",
        "Remove and return members with the lowest scores in a sorted set",
    )
    .complexity(
        "O(log(N)*M) with N being the number of elements in the sorted set, and M being the \
         number of elements popped.",
    )
    .syntax("key [count]"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.replies_first();

fn zpopmin(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_one_key(cx, args, End::Min)
}

/// ZPOPMAX key [count] -- takes the members with the highest scores.
pub(super) const ZPOPMAX: Command = Command::new(
    "zpopmax",
    -2,
    zpopmax,
    Docs::new(
        "sorted-set",
        "5.0.0",
        "Remove and return members with the highest scores in a sorted set",
    )
    .complexity(
        "O(log(N)*M) with N being the number of elements in the sorted set, and M being the \
         number of elements popped.",
    )
    .syntax("key [count]"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.replies_first();

fn zpopmax(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    pop_one_key(cx, args, End::Max)
}

fn pop_one_key(cx: &mut Context<'_>, mut args: Args<'_>, end: End) -> Outcome {
    let key = args.word()?;
    if args.len() > 1 {
        return Err(errors::SYNTAX);
    }
    let count = match args.is_empty() {
        true => None,
        false => {
            let count = integer::parse_i64(args.word()?).filter(|count| *count >= 0);
            Some(count.ok_or(errors::NOT_POSITIVE)? as u64)
        }
    };
    let popped = pop(cx, key, end, count.unwrap_or(1))?;
    let nested = count.is_some() && cx.out.protocol() == Protocol::Resp3;
    let mut reply = ScoredWriter::nested(cx.out, nested);
    reply.begin(popped.len());
    popped.iter().for_each(|member| reply.push(*member));
    Ok(Flow::Done)
}

/// Takes up to `count` members from an end, with the events that go with it.
pub(super) fn pop<'a>(
    cx: &mut Context<'a>,
    key: &[u8],
    end: End,
    count: u64,
) -> Result<Vec<(&'a [u8], f64)>, CommandError> {
    let db = cx.db();
    let Some(zset) = cx.view.zset(db, key)? else {
        return Ok(Vec::new());
    };
    let len = zset.len();
    let count = count.min(len);
    let ranks = match end {
        End::Min => 0..count,
        End::Max => len - count..len,
    };
    let popped: Vec<_> = zset.range(ranks.clone(), end == End::Max).collect();
    if !popped.is_empty() {
        let removed = cx.view.zset_remove_ranks(db, key, ranks)?;
        note_removal(cx, key, &removed, end.command());
    }
    Ok(popped)
}

/// ZMPOP numkeys key [key ...] MIN | MAX [COUNT count] -- takes members from the first sorted set that exists; its key
/// and the members, or null.
pub(super) const ZMPOP: Command = Command::new(
    "zmpop",
    -4,
    zmpop,
    Docs::new(
        "sorted-set",
        "7.0.0",
        "Remove and return members with scores in a sorted set",
    )
    .complexity(
        "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of \
         elements in the sorted set, and M being the number of elements popped.",
    )
    .syntax("numkeys key [key ...] where=<MIN | MAX> [COUNT count]"),
)
.flags(&[Flags::WRITE, Flags::MOVABLE_KEYS])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::key_num(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.replies_first();

fn zmpop(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let request = PopRequest::parse(args)?;
    match request.key_with_members(cx)? {
        Some(key) => request.reply(cx, key),
        None => {
            cx.out.null_array();
            Ok(Flow::Done)
        }
    }
}

/// The arguments of ZMPOP, and of BZMPOP behind the timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PopRequest<'a> {
    pub(super) keys: &'a [&'a [u8]],
    pub(super) end: End,
    pub(super) count: u64,
}

impl<'a> PopRequest<'a> {
    pub(super) fn parse(mut args: Args<'a>) -> Result<PopRequest<'a>, CommandError> {
        let number = args.word()?;
        let number = integer::parse_i64(number).filter(|number| *number > 0);
        let number = usize::try_from(number.ok_or(NO_KEYS)?).unwrap_or(usize::MAX);
        let rest = args.rest();
        if number >= rest.len() {
            return Err(errors::SYNTAX);
        }
        let keys = &rest[..number];
        for _ in 0..number {
            args.word()?;
        }
        let end = if args.accept("MIN") {
            End::Min
        } else if args.accept("MAX") {
            End::Max
        } else {
            return Err(errors::SYNTAX);
        };
        let mut count = None;
        while !args.is_empty() {
            if count.is_some() || args.len() < 2 || !args.accept("COUNT") {
                return Err(errors::SYNTAX);
            }
            let word = integer::parse_i64(args.word()?);
            count = Some(word.filter(|count| *count > 0).ok_or(NO_COUNT)? as u64);
        }
        Ok(PopRequest {
            keys,
            end,
            count: count.unwrap_or(1),
        })
    }

    /// The first key that holds a sorted set. A value of another type before it is an error.
    pub(super) fn key_with_members(
        &self,
        cx: &Context<'_>,
    ) -> Result<Option<&'a [u8]>, CommandError> {
        for key in self.keys {
            if cx.view.zset(cx.db(), key)?.is_some() {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Takes members from a key that has some, and replies both. Others run ZPOPMIN or ZPOPMAX with the count.
    pub(super) fn reply(&self, cx: &mut Context<'_>, key: &[u8]) -> Outcome {
        let popped = pop(cx, key, self.end, self.count)?;
        let count = popped.len().to_string();
        let command = self.end.command().to_uppercase();
        let db = cx.db();
        cx.effects
            .instead(db, &[command.as_bytes(), key, count.as_bytes()]);
        cx.out.array(2);
        cx.out.bulk(key);
        let mut reply = ScoredWriter::nested(cx.out, true);
        reply.begin(popped.len());
        popped.iter().for_each(|member| reply.push(*member));
        Ok(Flow::Done)
    }
}
