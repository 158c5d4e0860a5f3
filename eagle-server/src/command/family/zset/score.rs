//! What is known of single members, and the set as a whole: ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZSCAN.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors;
use crate::command::scan::{ScanOptions, parse_cursor};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use eagle_core::text::double::DoubleText;

/// ZCARD key -- number of members, 0 if there is no sorted set.
pub(super) const ZCARD: Command = Command::new(
    "zcard",
    2,
    zcard,
    Docs::new(
        "sorted-set",
        "1.2.0",
        "Get the number of members in a sorted set",
    )
    .complexity("O(1)")
    .syntax("key"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO])]);

fn zcard(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let zset = cx.noted(cx.view.zset(cx.db(), key))?;
    cx.reply_integer(zset.map_or(0, |zset| zset.len()) as i64)
}

/// ZSCORE key member -- the score of a member, or null.
pub(super) const ZSCORE: Command = Command::new(
    "zscore",
    3,
    zscore,
    Docs::new(
        "sorted-set",
        "1.2.0",
        "Get the score associated with the given member in a sorted set",
    )
    .complexity("O(1)")
    .syntax("key member"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zscore(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, member) = (args.word()?, args.word()?);
    let zset = cx.noted(cx.view.zset(cx.db(), key))?;
    reply_score(cx.out, zset.and_then(|zset| zset.score(member)));
    Ok(Flow::Done)
}

/// ZMSCORE key member [member ...] -- the scores of members, null for a member that is not there.
pub(super) const ZMSCORE: Command = Command::new(
    "zmscore",
    -3,
    zmscore,
    Docs::new(
        "sorted-set",
        "6.2.0",
        "Get the score associated with the given members in a sorted set",
    )
    .complexity("O(N) where N is the number of members being requested.")
    .syntax("key member [member ...]"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zmscore(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let zset = cx.noted(cx.view.zset(cx.db(), key))?;
    cx.out.array(args.len());
    for member in args.rest() {
        reply_score(cx.out, zset.and_then(|zset| zset.score(member)));
    }
    Ok(Flow::Done)
}

const WITHSCORE_HISTORY: &[(&str, &str)] = &[("7.2.0", "Added the optional `WITHSCORE` argument.")];

/// ZRANK key member [WITHSCORE] -- the number of members with lower scores, or null.
pub(super) const ZRANK: Command = Command::new(
    "zrank",
    -3,
    zrank,
    Docs::new(
        "sorted-set",
        "2.0.0",
        "Determine the index of a member in a sorted set",
    )
    .complexity("O(log(N))")
    .syntax("key member [WITHSCORE]{7.2.0}")
    .history(WITHSCORE_HISTORY),
)
.flags(&[Flags::READONLY, Flags::FAST])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zrank(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    rank(cx, args, false)
}

/// ZREVRANK key member [WITHSCORE] -- the number of members with higher scores, or null.
pub(super) const ZREVRANK: Command = Command::new(
    "zrevrank",
    -3,
    zrevrank,
    Docs::new(
        "sorted-set",
        "2.0.0",
        "Determine the index of a member in a sorted set, with scores ordered from high to low",
    )
    .complexity("O(log(N))")
    .syntax("key member [WITHSCORE]{7.2.0}")
    .history(WITHSCORE_HISTORY),
)
.flags(&[Flags::READONLY, Flags::FAST])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zrevrank(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    rank(cx, args, true)
}

fn rank(cx: &mut Context<'_>, mut args: Args<'_>, from_end: bool) -> Outcome {
    let (key, member) = (args.word()?, args.word()?);
    let with_score = args.accept("WITHSCORE");
    if !args.is_empty() {
        // What 7.0 says to any third word.
        return Err(errors::wrong_arity(&cx.entry.full_name));
    }
    let zset = cx.noted(cx.view.zset(cx.db(), key))?;
    let found = zset.and_then(|zset| {
        let rank = zset.rank(member)?;
        let rank = if from_end {
            zset.len() - 1 - rank
        } else {
            rank
        };
        Some((rank as i64, zset))
    });
    match found {
        Some((rank, zset)) if with_score => {
            cx.out.array(2);
            cx.out.integer(rank);
            reply_score(cx.out, zset.score(member));
            Ok(Flow::Done)
        }
        Some((rank, _)) => cx.reply_integer(rank),
        None if with_score => {
            cx.out.null_array();
            Ok(Flow::Done)
        }
        None => cx.reply_null(),
    }
}

/// ZSCAN key cursor [MATCH pattern] [COUNT count] -- some members and scores, and the cursor to go on with.
pub(super) const ZSCAN: Command = Command::new(
    "zscan",
    -3,
    zscan,
    Docs::new(
        "sorted-set",
        "2.8.0",
        "Incrementally iterate sorted sets elements and associated scores",
    )
    .complexity(
        "O(1) for every call. O(N) for a complete iteration, including enough command calls \
         for the cursor to return back to 0. N is the number of elements inside the \
         collection..",
    )
    .syntax("key cursor [MATCH pattern] [COUNT count]"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output"]);

fn zscan(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, cursor) = (args.word()?, parse_cursor(args.word()?)?);
    let mut next = 0;
    let mut members = Vec::new();
    // Without a sorted set the options are not looked at, as in Redis.
    if let Some(zset) = cx.noted(cx.view.zset(cx.db(), key))? {
        let options = ScanOptions::parse(args, false)?;
        next = zset.scan(cursor, options.count, &mut |member, score| {
            if options.matches(member) {
                members.push((member, score));
            }
        });
    }
    cx.out.array(2);
    cx.out.bulk_display(next);
    cx.out.array(2 * members.len());
    for (member, score) in members {
        cx.out.bulk(member);
        // A string in either protocol.
        cx.out.bulk(DoubleText::new(score).as_bytes());
    }
    Ok(Flow::Done)
}

fn reply_score(out: &mut eagle_core::resp::Writer, score: Option<f64>) {
    match score {
        Some(score) => out.double(score),
        None => out.null(),
    }
}
