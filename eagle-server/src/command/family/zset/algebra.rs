//! Unions, intersections and differences of sorted sets, and of sets as if all scores were 1.

use super::reply::ScoredWriter;
use super::store::store;
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, Handler, KeyFlags, KeySpec, Scope};
use eagle_core::store::{Kind, SetRef, View, ZsetRef};
use eagle_core::text::{double, integer};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::borrow::Cow;

const NEGATIVE_LIMIT: CommandError = CommandError::new("ERR LIMIT can't be negative");
const NOT_A_WEIGHT: CommandError = CommandError::new("ERR weight value is not a float");

/// A result: members, each once, with their scores, in no order.
type Members<'a> = Vec<(Cow<'a, [u8]>, f64)>;

/// What the rows share that reply the members.
const fn replying(name: &'static str, handler: Handler, docs: Docs) -> Command {
    Command::new(name, -3, handler, docs)
        .flags(&[Flags::READONLY, Flags::MOVABLE_KEYS])
        .scope(Scope::Keys)
        .family(Categories::SORTEDSET)
        .keys(const { &[KeySpec::key_num(1, &[KeyFlags::RO, KeyFlags::ACCESS])] })
}

/// What the rows share that store them.
const fn storing(name: &'static str, handler: Handler, docs: Docs) -> Command {
    Command::new(name, -4, handler, docs)
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::MOVABLE_KEYS])
        .family(Categories::SORTEDSET)
        .keys(
            const {
                &[
                    KeySpec::index(1, &[KeyFlags::OW, KeyFlags::UPDATE]),
                    KeySpec::key_num(2, &[KeyFlags::RO, KeyFlags::ACCESS]),
                ]
            },
        )
}

/// ZUNION numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM | MIN | MAX] [WITHSCORES] -- the members of any.
pub(super) const ZUNION: Command = replying(
    "zunion",
    zunion,
    Docs::new("sorted-set", "6.2.0", "Add multiple sorted sets")
        .complexity(
            "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M \
         being the number of elements in the resulting sorted set.",
        )
        .syntax(
            "numkeys key [key ...] [WEIGHTS weight...] [AGGREGATE aggregate=<SUM | MIN | MAX>] \
         [WITHSCORES]",
        ),
);

fn zunion(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_members(cx, args, Operation::Union)
}

/// ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS ...] [AGGREGATE ...] -- stores that; the number of members.
pub(super) const ZUNIONSTORE: Command = storing(
    "zunionstore",
    zunionstore,
    Docs::new(
        "sorted-set",
        "2.0.0",
        "Add multiple sorted sets and store the resulting sorted set in a new key",
    )
    .complexity(
        "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M \
         being the number of elements in the resulting sorted set.",
    )
    .syntax(
        "destination numkeys key [key ...] [WEIGHTS weight...] [AGGREGATE aggregate=<SUM | \
         MIN | MAX>]",
    ),
)
.replies_first();

fn zunionstore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    store_members(cx, args, Operation::Union, "zunionstore")
}

/// ZINTER numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM | MIN | MAX] [WITHSCORES] -- the members of all.
pub(super) const ZINTER: Command = replying(
    "zinter",
    zinter,
    Docs::new("sorted-set", "6.2.0", "Intersect multiple sorted sets")
        .complexity(
            "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being \
         the number of input sorted sets and M being the number of elements in the resulting \
         sorted set.",
        )
        .syntax(
            "numkeys key [key ...] [WEIGHTS weight...] [AGGREGATE aggregate=<SUM | MIN | MAX>] \
         [WITHSCORES]",
        ),
);

fn zinter(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_members(cx, args, Operation::Intersection)
}

/// ZINTERSTORE destination numkeys key [key ...] [WEIGHTS ...] [AGGREGATE ...] -- stores that; the number of members.
pub(super) const ZINTERSTORE: Command = storing(
    "zinterstore",
    zinterstore,
    Docs::new(
        "sorted-set",
        "2.0.0",
        "Intersect multiple sorted sets and store the resulting sorted set in a new key",
    )
    .complexity(
        "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being \
         the number of input sorted sets and M being the number of elements in the resulting \
         sorted set.",
    )
    .syntax(
        "destination numkeys key [key ...] [WEIGHTS weight...] [AGGREGATE aggregate=<SUM | \
         MIN | MAX>]",
    ),
);

fn zinterstore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    store_members(cx, args, Operation::Intersection, "zinterstore")
}

/// ZINTERCARD numkeys key [key ...] [LIMIT limit] -- the number of members of all, counted up to a limit.
pub(super) const ZINTERCARD: Command = Command::new(
    "zintercard",
    -3,
    zintercard,
    Docs::new(
        "sorted-set",
        "7.0.0",
        "Intersect multiple sorted sets and return the cardinality of the result",
    )
    .complexity(
        "O(N*K) worst case with N being the smallest input sorted set, K being the number of \
         input sorted sets.",
    )
    .syntax("numkeys key [key ...] [LIMIT limit]"),
)
.flags(&[Flags::READONLY, Flags::MOVABLE_KEYS])
.scope(Scope::Keys)
.family(Categories::SORTEDSET)
.keys(&[KeySpec::key_num(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn zintercard(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let view = &cx.view;
    let query = Query::parse(cx, view, args, Operation::Count)?;
    let mut count = 0;
    query.intersect(&mut |_, _| {
        count += 1;
        query.limit == 0 || count < query.limit
    });
    drop(query);
    cx.reply_integer(count)
}

/// ZDIFF numkeys key [key ...] [WITHSCORES] -- the members of the first and of no other.
pub(super) const ZDIFF: Command = replying(
    "zdiff",
    zdiff,
    Docs::new("sorted-set", "6.2.0", "Subtract multiple sorted sets")
        .complexity(
            "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the \
         sets, N is the size of the first set, and K is the size of the result set.",
        )
        .syntax("numkeys key [key ...] [WITHSCORES]"),
);

fn zdiff(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_members(cx, args, Operation::Difference)
}

/// ZDIFFSTORE destination numkeys key [key ...] -- stores that; the number of members.
pub(super) const ZDIFFSTORE: Command = storing(
    "zdiffstore",
    zdiffstore,
    Docs::new(
        "sorted-set",
        "6.2.0",
        "Subtract multiple sorted sets and store the resulting sorted set in a new key",
    )
    .complexity(
        "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the \
         sets, N is the size of the first set, and K is the size of the result set.",
    )
    .syntax("destination numkeys key [key ...]"),
);

fn zdiffstore(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    store_members(cx, args, Operation::Difference, "zdiffstore")
}

fn reply_members(cx: &mut Context<'_>, args: Args<'_>, operation: Operation) -> Outcome {
    let query = Query::parse(cx, &cx.view, args, operation)?;
    let with_scores = query.with_scores;
    let mut members = query.run();
    members.sort_unstable_by(|a, b| {
        let by_score = a.1.partial_cmp(&b.1).unwrap_or(std::cmp::Ordering::Equal);
        by_score.then_with(|| a.0.cmp(&b.0))
    });
    let mut reply = ScoredWriter::new(cx.out, with_scores);
    reply.begin(members.len());
    members
        .iter()
        .for_each(|(member, score)| reply.push((member, *score)));
    Ok(Flow::Done)
}

fn store_members(
    cx: &mut Context<'_>,
    mut args: Args<'_>,
    operation: Operation,
    event: &'static str,
) -> Outcome {
    let to = args.word()?;
    let query = Query::parse_storing(cx, &cx.view, args, operation)?;
    let members = query.run();
    drop(query);
    let members: Vec<(&[u8], f64)> = members
        .iter()
        .map(|(member, score)| (&member[..], *score))
        .collect();
    store(cx, to, &members, event)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
    /// An intersection of which only the size matters.
    Count,
}

/// How the scores of one member in several sets become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            // Infinities of both signs make nothing.
            Aggregate::Sum => number_or_zero(a + b),
            Aggregate::Min if b < a => b,
            Aggregate::Max if b > a => b,
            Aggregate::Min | Aggregate::Max => a,
        }
    }
}

fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One input.
#[derive(Clone, Copy)]
enum Source<'v, 'a> {
    Absent,
    Zset(ZsetRef<'v, 'a>),
    Set(SetRef<'v, 'a>),
}

impl<'v, 'a> Source<'v, 'a> {
    fn at(view: &'v View<'a>, db: u8, key: &'v [u8]) -> Result<Source<'v, 'a>, CommandError> {
        match view.find(db, key).map(|entry| entry.kind()) {
            None => Ok(Source::Absent),
            Some(Kind::Zset) => Ok(view.zset(db, key)?.map_or(Source::Absent, Source::Zset)),
            Some(Kind::Set) => Ok(view.set(db, key)?.map_or(Source::Absent, Source::Set)),
            Some(_) => Err(errors::WRONG_TYPE),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Source::Absent => 0,
            Source::Zset(zset) => zset.len(),
            Source::Set(set) => set.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Absent => None,
            Source::Zset(zset) => zset.score(member),
            Source::Set(set) => set.contains(member).then_some(1.0),
        }
    }

    /// Visits members until `visit` answers `false`.
    fn for_each(&self, visit: &mut dyn FnMut(Cow<'a, [u8]>, f64) -> bool) {
        match self {
            Source::Absent => {}
            Source::Zset(zset) => {
                zset.iter()
                    .all(|(member, score)| visit(Cow::Borrowed(member), score));
            }
            Source::Set(set) => {
                set.iter().all(|member| visit(member.to_cow(), 1.0));
            }
        }
    }
}

/// An input and what its scores are multiplied with.
type Weighted<'v, 'a> = (Source<'v, 'a>, f64);

/// What is asked for.
struct Query<'v, 'a> {
    operation: Operation,
    sources: SmallVec<[Weighted<'v, 'a>; 4]>,
    aggregate: Aggregate,
    with_scores: bool,
    /// 0 is no limit.
    limit: i64,
}

impl<'v, 'a> Query<'v, 'a> {
    fn parse(
        cx: &Context<'_>,
        view: &'v View<'a>,
        args: Args<'v>,
        operation: Operation,
    ) -> Result<Query<'v, 'a>, CommandError> {
        Query::read(cx, view, args, operation, false)
    }

    fn parse_storing(
        cx: &Context<'_>,
        view: &'v View<'a>,
        args: Args<'v>,
        operation: Operation,
    ) -> Result<Query<'v, 'a>, CommandError> {
        Query::read(cx, view, args, operation, true)
    }

    /// Reads the number of keys and what follows. The inputs are looked up before the options are read, as in Redis.
    fn read(
        cx: &Context<'_>,
        view: &'v View<'a>,
        mut args: Args<'v>,
        operation: Operation,
        stores: bool,
    ) -> Result<Query<'v, 'a>, CommandError> {
        let number = args.integer()?;
        if number < 1 {
            return Err(CommandError::owned(format!(
                "ERR at least 1 input key is needed for '{}' command",
                cx.entry.full_name
            )));
        }
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if number > args.len() {
            return Err(errors::SYNTAX);
        }
        let mut sources = SmallVec::with_capacity(number);
        for _ in 0..number {
            let source = Source::at(view, cx.db(), args.word()?)?;
            cx.note_lookup(!matches!(source, Source::Absent));
            sources.push((source, 1.0));
        }
        let mut query = Query {
            operation,
            sources,
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        let weighs = matches!(operation, Operation::Union | Operation::Intersection);
        let counts = operation == Operation::Count;
        while !args.is_empty() {
            if weighs && args.len() > number && args.accept("WEIGHTS") {
                for (_, weight) in &mut query.sources {
                    *weight = double::parse_f64(args.word()?).ok_or(NOT_A_WEIGHT)?;
                }
            } else if weighs && args.len() > 1 && args.accept("AGGREGATE") {
                query.aggregate = if args.accept("SUM") {
                    Aggregate::Sum
                } else if args.accept("MIN") {
                    Aggregate::Min
                } else if args.accept("MAX") {
                    Aggregate::Max
                } else {
                    return Err(errors::SYNTAX);
                };
            } else if !stores && !counts && args.accept("WITHSCORES") {
                query.with_scores = true;
            } else if counts && args.len() > 1 && args.accept("LIMIT") {
                let limit = integer::parse_i64(args.word()?).filter(|limit| *limit >= 0);
                query.limit = limit.ok_or(NEGATIVE_LIMIT)?;
            } else {
                return Err(errors::SYNTAX);
            }
        }
        if operation != Operation::Difference {
            // The smallest first; the order also says in which order scores are summed up.
            query.sources.sort_by_key(|(source, _)| source.len());
        }
        Ok(query)
    }

    fn run(&self) -> Members<'a> {
        match self.operation {
            Operation::Union => self.unite(),
            Operation::Difference => self.subtract(),
            Operation::Intersection | Operation::Count => {
                let mut members = Vec::new();
                self.intersect(&mut |member, score| {
                    members.push((member, score));
                    true
                });
                members
            }
        }
    }

    fn unite(&self) -> Members<'a> {
        let mut members = Vec::new();
        let mut places: HashMap<Cow<'a, [u8]>, usize> = HashMap::new();
        for (source, weight) in &self.sources {
            source.for_each(&mut |member, score| {
                let score = number_or_zero(weight * score);
                let place = *places.entry(member.clone()).or_insert(members.len());
                match members.get_mut(place) {
                    None => members.push((member, score)),
                    Some((_, sum)) => *sum = self.aggregate.of(*sum, score),
                }
                true
            });
        }
        members
    }

    fn intersect(&self, found: &mut dyn FnMut(Cow<'a, [u8]>, f64) -> bool) {
        let Some(((first, weight), others)) = self.sources.split_first() else {
            return;
        };
        if first.len() == 0 {
            return;
        }
        first.for_each(&mut |member, score| {
            let mut sum = number_or_zero(weight * score);
            for (other, weight) in others {
                let Some(score) = other.score(&member) else {
                    return true;
                };
                sum = self.aggregate.of(sum, weight * score);
            }
            found(member, sum)
        });
    }

    fn subtract(&self) -> Members<'a> {
        let mut members = Vec::new();
        if let Some(((first, _), others)) = self.sources.split_first() {
            first.for_each(&mut |member, score| {
                if others
                    .iter()
                    .all(|(other, _)| other.score(&member).is_none())
                {
                    members.push((member, score));
                }
                true
            });
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_aggregated_as_redis_does() {
        let inf = f64::INFINITY;
        assert_eq!(Aggregate::Sum.of(1.0, 2.5), 3.5);
        assert_eq!(Aggregate::Sum.of(inf, -inf), 0.0);
        assert_eq!(Aggregate::Min.of(1.0, -2.0), -2.0);
        assert_eq!(Aggregate::Max.of(1.0, inf), inf);
        assert_eq!(number_or_zero(0.0 * inf), 0.0);
        // An increment that is no number changes nothing.
        assert_eq!(Aggregate::Min.of(3.0, f64::NAN), 3.0);
    }
}
