//! ZREM, ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX.

use super::range::{lex_range, rank_range, score_range};
use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::CommandError;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::store::{RemovedMembers, ZsetRef};
use std::ops::Range;

/// ZREM key member [member ...] -- removes members; their number.
pub(super) const ZREM: Command = Command::new(
    "zrem",
    -3,
    zrem,
    Docs::new(
        "sorted-set",
        "1.2.0",
        "Remove one or more members from a sorted set",
    )
    .complexity(
        "O(M*log(N)) with N being the number of elements in the sorted set and M the number \
         of elements to be removed.",
    )
    .syntax("key member [member ...]")
    .history(&[("2.4.0", "Accepts multiple elements.")]),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::DELETE])]);

fn zrem(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    let removed = cx.view.zset_remove(db, key, args.rest())?;
    note_removal(cx, key, &removed, "zrem");
    cx.reply_integer(removed.count as i64)
}

/// ZREMRANGEBYRANK key start stop -- removes the members of these ranks; their number.
pub(super) const ZREMRANGEBYRANK: Command = Command::new(
    "zremrangebyrank",
    4,
    zremrangebyrank,
    Docs::new(
        "sorted-set",
        "2.0.0",
        "Remove all members in a sorted set within the given indexes",
    )
    .complexity(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
         of elements removed by the operation.",
    )
    .syntax("key start stop:integer"),
)
.flags(&[Flags::WRITE])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::DELETE])]);

fn zremrangebyrank(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let (start, stop) = (args.integer()?, args.integer()?);
    let removed = remove(cx, key, "zremrangebyrank", |zset| {
        rank_range(start, stop, zset.len())
    })?;
    cx.reply_integer(removed as i64)
}

/// ZREMRANGEBYSCORE key min max -- removes the members with scores in a range; their number.
pub(super) const ZREMRANGEBYSCORE: Command = Command::new(
    "zremrangebyscore",
    4,
    zremrangebyscore,
    Docs::new(
        "sorted-set",
        "1.2.0",
        "Remove all members in a sorted set within the given scores",
    )
    .complexity(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
         of elements removed by the operation.",
    )
    .syntax("key min:double max:double"),
)
.flags(&[Flags::WRITE])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::DELETE])]);

fn zremrangebyscore(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let range = score_range(args.word()?, args.word()?)?;
    let removed = remove(cx, key, "zremrangebyscore", |zset| {
        zset.ranks_by_score(&range)
    })?;
    cx.reply_integer(removed as i64)
}

/// ZREMRANGEBYLEX key min max -- removes the members in a range of bytes, all scores being equal; their number.
pub(super) const ZREMRANGEBYLEX: Command = Command::new(
    "zremrangebylex",
    4,
    zremrangebylex,
    Docs::new(
        "sorted-set",
        "2.8.9",
        "Remove all members in a sorted set between the given lexicographical range",
    )
    .complexity(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
         of elements removed by the operation.",
    )
    .syntax("key min max"),
)
.flags(&[Flags::WRITE])
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::DELETE])]);

fn zremrangebylex(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let range = lex_range(args.word()?, args.word()?)?;
    let removed = remove(cx, key, "zremrangebylex", |zset| {
        zset.ranks_by_lex(&range, false)
    })?;
    cx.reply_integer(removed as i64)
}

/// Removes the members whose ranks `ranks` tells; their number.
fn remove(
    cx: &mut Context<'_>,
    key: &[u8],
    event: &'static str,
    ranks: impl FnOnce(&ZsetRef<'_, '_>) -> Range<u64>,
) -> Result<usize, CommandError> {
    let db = cx.db();
    let ranks = cx.view.zset(db, key)?.map_or(0..0, |zset| ranks(&zset));
    if ranks.is_empty() {
        return Ok(0);
    }
    let removed = cx.view.zset_remove_ranks(db, key, ranks)?;
    note_removal(cx, key, &removed, event);
    Ok(removed.count)
}

/// Raises the events of a removal.
pub(super) fn note_removal(
    cx: &mut Context<'_>,
    key: &[u8],
    removed: &RemovedMembers,
    event: &'static str,
) {
    if removed.count > 0 {
        cx.notify(EventClasses::ZSET, event, key);
    }
    if removed.key_gone {
        cx.notify(EventClasses::GENERIC, "del", key);
    }
}
