//! ZRANDMEMBER: members drawn at random, with or without repetition.

use super::reply::ScoredWriter;
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::sample::{
    COUNT_OUT_OF_RANGE, Plan, REPLY_BYTES_MAX, REPLY_TOO_LONG, distinct, plan, shuffle_front,
};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};

/// ZRANDMEMBER key [count [WITHSCORES]] -- a member drawn at random, or several.
pub(super) const ZRANDMEMBER: Command = Command::new(
    "zrandmember",
    -2,
    zrandmember,
    Docs::new(
        "sorted-set",
        "6.2.0",
        "Get one or multiple random elements from a sorted set",
    )
    .complexity("O(N) where N is the number of elements returned")
    .syntax("key options=[count [WITHSCORES]]"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output"]);

fn zrandmember(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let rng = &mut rand::random::<u64>;
    if args.is_empty() {
        let zset = cx.noted(cx.view.zset(cx.db(), key))?;
        cx.out.bulk_or_null(zset.map(|zset| zset.random(rng).0));
        return Ok(Flow::Done);
    }
    let draw = Draw::parse(args)?;
    let Some(zset) = cx.noted(cx.view.zset(cx.db(), key))? else {
        cx.out.array(0);
        return Ok(Flow::Done);
    };
    let mut reply = ScoredWriter::new(cx.out, draw.with_scores);
    if draw.repeat {
        let start = reply.out.len();
        reply.begin(draw.count);
        for _ in 0..draw.count {
            reply.push(zset.random(rng));
            if reply.out.has_overflowed() {
                break;
            }
            if reply.out.len() - start > REPLY_BYTES_MAX {
                return Err(REPLY_TOO_LONG);
            }
        }
        return Ok(Flow::Done);
    }
    let len = zset.len() as usize;
    reply.begin(draw.count.min(len));
    match plan(draw.count, len) {
        Plan::Whole => zset.iter().for_each(|member| reply.push(member)),
        Plan::Shuffle => {
            let mut members: Vec<_> = zset.iter().collect();
            shuffle_front(&mut members, draw.count, rng);
            members[..draw.count]
                .iter()
                .for_each(|member| reply.push(*member));
        }
        Plan::Redraw => distinct(
            draw.count,
            || zset.random(rng),
            |member| member.0,
            |member| reply.push(member),
        ),
    }
    Ok(Flow::Done)
}

/// Arguments after the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Draw {
    count: usize,
    /// A negative count: every draw is from the whole set.
    repeat: bool,
    with_scores: bool,
}

impl Draw {
    fn parse(mut args: Args<'_>) -> Result<Draw, CommandError> {
        let count = args.integer_in(-i64::MAX..=i64::MAX, COUNT_OUT_OF_RANGE)?;
        let with_scores = args.accept("WITHSCORES");
        args.finish()?;
        if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(errors::OUT_OF_RANGE);
        }
        Ok(Draw {
            count: count.unsigned_abs() as usize,
            repeat: count < 0,
            with_scores,
        })
    }
}
