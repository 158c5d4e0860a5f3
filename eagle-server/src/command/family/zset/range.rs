//! Ranges by rank, score and bytes: ZRANGE and its many older forms, ZRANGESTORE, ZCOUNT, ZLEXCOUNT.
//!
//! Every range becomes a range of ranks first (two descents of the tree), so that LIMIT skips nothing one by one and
//! the length of a reply is known before it is written.

use super::reply::ScoredWriter;
use super::store::store;
use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use eagle_core::store::{LexBound, LexRange, ScoreRange, ZsetRef};
use eagle_core::text::c_string::c_string;
use eagle_core::text::double;
use std::ops::Range;

const NOT_A_SCORE: CommandError = CommandError::new("ERR min or max is not a float");
const NOT_A_BOUND: CommandError = CommandError::new("ERR min or max not valid string range item");
const LIMIT_BY_RANK: CommandError = CommandError::new(
    "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
);
const SCORES_BY_LEX: CommandError =
    CommandError::new("ERR syntax error, WITHSCORES not supported in combination with BYLEX");

/// ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES] -- the members of a range.
pub(super) const ZRANGE: Command = Command::new(
    "zrange",
    -4,
    zrange,
    Docs::new(
        "sorted-set",
        "1.2.0",
        "Return a range of members in a sorted set",
    )
    .complexity(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
         of elements returned.",
    )
    .syntax(
        "key start:string stop sortby=[BYSCORE | BYLEX]{6.2.0} [REV]{6.2.0} [LIMIT \
         offset_count=<offset count>]{6.2.0} [WITHSCORES]",
    )
    .history(&[(
        "6.2.0",
        "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.",
    )]),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_range(cx, args, Form::ANY)
}

/// ZREVRANGE key start stop [WITHSCORES] -- the members of these ranks, from the highest score.
pub(super) const ZREVRANGE: Command = Command::new(
    "zrevrange",
    -4,
    zrevrange,
    Docs::new(
        "sorted-set",
        "1.2.0",
        "Return a range of members in a sorted set, by index, with scores ordered from high \
         to low",
    )
    .complexity(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
         of elements returned.",
    )
    .syntax("key start stop:integer [WITHSCORES]")
    .deprecated("6.2.0", "`ZRANGE` with the `REV` argument"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zrevrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_range(cx, args, Form::fixed(Measure::Rank, true))
}

/// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count] -- the members with scores in a range.
pub(super) const ZRANGEBYSCORE: Command = Command::new(
    "zrangebyscore",
    -4,
    zrangebyscore,
    Docs::new(
        "sorted-set",
        "1.0.5",
        "Return a range of members in a sorted set, by score",
    )
    .complexity(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
         of elements being returned. If M is constant (e.g. always asking for the first 10 \
         elements with LIMIT), you can consider it O(log(N)).",
    )
    .syntax("key min:double max:double [WITHSCORES]{2.0.0} [LIMIT offset_count=<offset count>]")
    .history(&[("2.0.0", "Added the `WITHSCORES` modifier.")])
    .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zrangebyscore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_range(cx, args, Form::fixed(Measure::Score, false))
}

/// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count] -- the same, from the highest score.
pub(super) const ZREVRANGEBYSCORE: Command = Command::new(
    "zrevrangebyscore",
    -4,
    zrevrangebyscore,
    Docs::new(
        "sorted-set",
        "2.2.0",
        "Return a range of members in a sorted set, by score, with scores ordered from high \
         to low",
    )
    .complexity(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
         of elements being returned. If M is constant (e.g. always asking for the first 10 \
         elements with LIMIT), you can consider it O(log(N)).",
    )
    .syntax("key max:double min:double [WITHSCORES] [LIMIT offset_count=<offset count>]")
    .history(&[("2.1.6", "`min` and `max` can be exclusive.")])
    .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zrevrangebyscore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_range(cx, args, Form::fixed(Measure::Score, true))
}

/// ZRANGEBYLEX key min max [LIMIT offset count] -- the members in a range of bytes, all scores being equal.
pub(super) const ZRANGEBYLEX: Command = Command::new(
    "zrangebylex",
    -4,
    zrangebylex,
    Docs::new(
        "sorted-set",
        "2.8.9",
        "Return a range of members in a sorted set, by lexicographical range",
    )
    .complexity(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
         of elements being returned. If M is constant (e.g. always asking for the first 10 \
         elements with LIMIT), you can consider it O(log(N)).",
    )
    .syntax("key min max [LIMIT offset_count=<offset count>]")
    .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zrangebylex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_range(cx, args, Form::fixed(Measure::Lex, false))
}

/// ZREVRANGEBYLEX key max min [LIMIT offset count] -- the same, from the end.
pub(super) const ZREVRANGEBYLEX: Command = Command::new(
    "zrevrangebylex",
    -4,
    zrevrangebylex,
    Docs::new(
        "sorted-set",
        "2.8.9",
        "Return a range of members in a sorted set, by lexicographical range, ordered from \
         higher to lower strings.",
    )
    .complexity(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
         of elements being returned. If M is constant (e.g. always asking for the first 10 \
         elements with LIMIT), you can consider it O(log(N)).",
    )
    .syntax("key max min [LIMIT offset_count=<offset count>]")
    .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zrevrangebylex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_range(cx, args, Form::fixed(Measure::Lex, true))
}

/// ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count] -- stores a range; the number of members.
pub(super) const ZRANGESTORE: Command = Command::new(
    "zrangestore",
    -5,
    zrangestore,
    Docs::new(
        "sorted-set",
        "6.2.0",
        "Store a range of members from sorted set into another key",
    )
    .complexity(
        "O(log(N)+M) with N being the number of elements in the sorted set and M the number \
         of elements stored into the destination key.",
    )
    .syntax("dst src min max sortby=[BYSCORE | BYLEX] [REV] [LIMIT offset_count=<offset count>]"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::SORTEDSET)
.keys(&[
    KeySpec::index(1, &[KeyFlags::OW, KeyFlags::UPDATE]),
    KeySpec::index(2, &[KeyFlags::RO, KeyFlags::ACCESS]),
]);

fn zrangestore(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (to, from) = (args.word()?, args.word()?);
    let query = Query::parse(args, Form::STORE)?;
    let zset = cx.noted(cx.view.zset(cx.db(), from))?;
    let members: Vec<_> = zset
        .iter()
        .flat_map(|zset| zset.range(query.ranks(zset), query.reverse))
        .collect();
    store(cx, to, &members, "zrangestore")
}

/// ZCOUNT key min max -- the number of members with scores in a range.
pub(super) const ZCOUNT: Command = Command::new(
    "zcount",
    4,
    zcount,
    Docs::new(
        "sorted-set",
        "2.0.0",
        "Count the members in a sorted set with scores within the given values",
    )
    .complexity("O(log(N)) with N being the number of elements in the sorted set.")
    .syntax("key min:double max:double"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zcount(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let range = score_range(args.word()?, args.word()?)?;
    let zset = cx.noted(cx.view.zset(cx.db(), key))?;
    let ranks = zset.map_or(0..0, |zset| zset.ranks_by_score(&range));
    cx.reply_integer((ranks.end - ranks.start) as i64)
}

/// ZLEXCOUNT key min max -- the number of members in a range of bytes, all scores being equal.
pub(super) const ZLEXCOUNT: Command = Command::new(
    "zlexcount",
    4,
    zlexcount,
    Docs::new(
        "sorted-set",
        "2.8.9",
        "Count the number of members in a sorted set between a given lexicographical range",
    )
    .complexity("O(log(N)) with N being the number of elements in the sorted set.")
    .syntax("key min max"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zlexcount(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let range = lex_range(args.word()?, args.word()?)?;
    let zset = cx.noted(cx.view.zset(cx.db(), key))?;
    let ranks = zset.map_or(0..0, |zset| zset.ranks_by_lex(&range, false));
    cx.reply_integer((ranks.end - ranks.start) as i64)
}

/// What a range goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Rank,
    Score,
    Lex,
}

/// What a command's name leaves open.
#[derive(Clone, Copy, Debug)]
struct Form {
    measure: Option<Measure>,
    reverse: Option<bool>,
    stores: bool,
}

impl Form {
    const ANY: Form = Form {
        measure: None,
        reverse: None,
        stores: false,
    };
    const STORE: Form = Form {
        stores: true,
        ..Form::ANY
    };

    const fn fixed(measure: Measure, reverse: bool) -> Form {
        Form {
            measure: Some(measure),
            reverse: Some(reverse),
            stores: false,
        }
    }
}

/// The two ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends<'a> {
    Rank(i64, i64),
    Score(ScoreRange),
    Lex(LexRange<'a>),
}

/// What a range command asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Query<'a> {
    ends: Ends<'a>,
    reverse: bool,
    with_scores: bool,
    /// Members to pass over first; a negative number passes over all.
    offset: i64,
    /// Most members; negative: no bound.
    limit: i64,
}

impl<'a> Query<'a> {
    /// Reads what follows the key.
    fn parse(mut args: Args<'a>, form: Form) -> Result<Query<'a>, CommandError> {
        let (first, second) = (args.word()?, args.word()?);
        let (mut measure, mut reverse) = (form.measure, form.reverse);
        let mut with_scores = false;
        let (mut offset, mut limit) = (0, -1);
        while !args.is_empty() {
            if !form.stores && args.accept("WITHSCORES") {
                with_scores = true;
            } else if args.len() > 2 && args.accept("LIMIT") {
                (offset, limit) = (args.integer()?, args.integer()?);
            } else if reverse.is_none() && args.accept("REV") {
                reverse = Some(true);
            } else if measure.is_none() && args.accept("BYLEX") {
                measure = Some(Measure::Lex);
            } else if measure.is_none() && args.accept("BYSCORE") {
                measure = Some(Measure::Score);
            } else {
                return Err(errors::SYNTAX);
            }
        }
        let measure = measure.unwrap_or(Measure::Rank);
        let reverse = reverse.unwrap_or(false);
        if limit != -1 && measure == Measure::Rank {
            return Err(LIMIT_BY_RANK);
        }
        if with_scores && measure == Measure::Lex {
            return Err(SCORES_BY_LEX);
        }
        let (min, max) = if reverse {
            (second, first)
        } else {
            (first, second)
        };
        let ends = match measure {
            Measure::Rank => Ends::Rank(parse_integer(first)?, parse_integer(second)?),
            Measure::Score => Ends::Score(score_range(min, max)?),
            Measure::Lex => Ends::Lex(lex_range(min, max)?),
        };
        Ok(Query {
            ends,
            reverse,
            with_scores,
            offset,
            limit,
        })
    }

    /// The ranks of the members asked for.
    fn ranks(&self, zset: &ZsetRef<'_, '_>) -> Range<u64> {
        let ranks = match self.ends {
            Ends::Rank(start, stop) => {
                let len = zset.len();
                let ranks = rank_range(start, stop, len);
                return match self.reverse {
                    true => len - ranks.end..len - ranks.start,
                    false => ranks,
                };
            }
            Ends::Score(range) => zset.ranks_by_score(&range),
            Ends::Lex(range) => zset.ranks_by_lex(&range, self.reverse),
        };
        let len = ranks.end - ranks.start;
        let skipped = u64::try_from(self.offset).map_or(len, |offset| offset.min(len));
        let taken = u64::try_from(self.limit).map_or(len, |limit| limit.min(len));
        let taken = taken.min(len - skipped);
        match self.reverse {
            true => ranks.end - skipped - taken..ranks.end - skipped,
            false => ranks.start + skipped..ranks.start + skipped + taken,
        }
    }
}

/// Ranks from `start` to `stop`, both included, negative ones counted from the end.
pub(super) fn rank_range(start: i64, stop: i64, len: u64) -> Range<u64> {
    let len = len as i64;
    let from_end = |rank: i64| {
        if rank < 0 {
            len.saturating_add(rank)
        } else {
            rank
        }
    };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
    if start > stop {
        return 0..0;
    }
    start as u64..stop as u64 + 1
}

fn reply_range(cx: &mut Context<'_>, mut args: Args<'_>, form: Form) -> Outcome {
    let key = args.word()?;
    let query = Query::parse(args, form)?;
    let Some(zset) = cx.noted(cx.view.zset(cx.db(), key))? else {
        cx.out.array(0);
        return Ok(Flow::Done);
    };
    let members = zset.range(query.ranks(&zset), query.reverse);
    let mut reply = ScoredWriter::new(cx.out, query.with_scores);
    reply.begin(members.len());
    members.for_each(|member| reply.push(member));
    Ok(Flow::Done)
}

/// An interval of scores; `(` before an end leaves it out.
pub(super) fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    let (min, min_open) = score_end(min)?;
    let (max, max_open) = score_end(max)?;
    Ok(ScoreRange {
        min,
        min_open,
        max,
        max_open,
    })
}

fn score_end(word: &[u8]) -> Result<(f64, bool), CommandError> {
    // Read as a C string, which ends at its first zero byte.
    let word = c_string(word);
    let (text, open) = match word {
        [b'(', text @ ..] => (text, true),
        text => (text, false),
    };
    let score = double::parse_range_end(text).ok_or(NOT_A_SCORE)?;
    Ok((score, open))
}

/// An interval of bytes: ends are `-`, `+`, `[included` and `(excluded`.
pub(super) fn lex_range<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, CommandError> {
    Ok(LexRange {
        min: lex_end(min)?,
        max: lex_end(max)?,
    })
}

fn lex_end(word: &[u8]) -> Result<LexBound<'_>, CommandError> {
    match word {
        [b'-'] | [b'-', 0, ..] => Ok(LexBound::Lowest),
        [b'+'] | [b'+', 0, ..] => Ok(LexBound::Highest),
        [b'(', member @ ..] => Ok(LexBound::Excluded(member)),
        [b'[', member @ ..] => Ok(LexBound::Included(member)),
        _ => Err(NOT_A_BOUND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_counted_from_either_end() {
        assert_eq!(rank_range(0, -1, 5), 0..5);
        assert_eq!(rank_range(-3, -2, 5), 2..4);
        assert_eq!(rank_range(-100, 100, 5), 0..5);
        for (start, stop) in [(3, 1), (5, 9), (0, -6), (i64::MAX, i64::MIN)] {
            assert!(rank_range(start, stop, 5).is_empty(), "{start} {stop}");
        }
        assert!(rank_range(0, -1, 0).is_empty());
    }

    #[test]
    fn options_come_in_any_order_and_only_where_they_make_sense() {
        let parse = |line: &'static str, form: Form| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            Query::parse(Args::new(words.leak(), 0), form)
        };
        let query = parse("(1 inf limit 2 3 withscores byscore", Form::ANY).unwrap();
        assert_eq!((query.offset, query.limit, query.with_scores), (2, 3, true));
        let range = ScoreRange {
            min: 1.0,
            min_open: true,
            ..ScoreRange::ALL
        };
        assert_eq!(query.ends, Ends::Score(range));
        let query = parse("[b [a rev bylex", Form::ANY).unwrap();
        assert_eq!(
            query.ends,
            Ends::Lex(LexRange {
                min: LexBound::Included(b"a"),
                max: LexBound::Included(b"b"),
            })
        );
        assert!(query.reverse);
        assert_eq!(parse("0 1 limit 0 1", Form::ANY), Err(LIMIT_BY_RANK));
        assert!(parse("0 1 limit 5 -1", Form::ANY).is_ok());
        assert_eq!(parse("- + bylex withscores", Form::ANY), Err(SCORES_BY_LEX));
        assert_eq!(parse("0 1 withscores", Form::STORE), Err(errors::SYNTAX));
        assert_eq!(parse("0 1 byscore bylex", Form::ANY), Err(errors::SYNTAX));
        assert_eq!(parse("0 1 limit 1", Form::ANY), Err(errors::SYNTAX));
        assert_eq!(parse("a b bylex", Form::ANY), Err(NOT_A_BOUND));
        let by_score = Form::fixed(Measure::Score, false);
        assert_eq!(parse("0 1 rev", by_score), Err(errors::SYNTAX));
        assert_eq!(parse("0 x", by_score), Err(NOT_A_SCORE));
    }
}
