//! HRANDFIELD: fields drawn at random, with or without repetition.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use eagle_core::resp::{Protocol, Writer};
use hashbrown::HashSet;

const COUNT_OUT_OF_RANGE: CommandError = CommandError::new(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
);
const REPLY_TOO_LONG: CommandError = CommandError::new("ERR reply exceeds the maximum size");

/// The longest reply to a draw with repetition, whose count the client may choose at will. A reply
/// is made in memory before it is sent.
const REPLY_BYTES_MAX: usize = 1 << 30;

/// HRANDFIELD key [count [WITHVALUES]] -- a field drawn at random, or several.
pub(super) const HRANDFIELD: Command = Command::new(
    "hrandfield",
    -2,
    hrandfield,
    Docs::new(
        "hash",
        "6.2.0",
        "Get one or multiple random fields from a hash",
    )
    .complexity("O(N) where N is the number of fields returned")
    .syntax("key options=[count [WITHVALUES]]"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output"]);

fn hrandfield(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    if args.is_empty() {
        let hash = cx.noted(cx.view.hash(cx.db(), key))?;
        cx.out
            .bulk_or_null(hash.map(|hash| hash.random(&mut rand::random::<u64>).0));
        return Ok(Flow::Done);
    }
    let draw = Draw::parse(args)?;
    let Some(hash) = cx.noted(cx.view.hash(cx.db(), key))? else {
        cx.out.array(0);
        return Ok(Flow::Done);
    };
    let mut reply = PairWriter {
        out: cx.out,
        with_values: draw.with_values,
    };
    let rng = &mut rand::random::<u64>;
    if draw.repeat {
        let start = reply.out.len();
        reply.begin(draw.count);
        for _ in 0..draw.count {
            reply.push(hash.random(rng));
            if reply.out.len() - start > REPLY_BYTES_MAX {
                return Err(REPLY_TOO_LONG);
            }
        }
        return Ok(Flow::Done);
    }
    let len = hash.len() as usize;
    reply.begin(draw.count.min(len));
    match plan(draw.count, len) {
        Plan::Whole => hash.iter().for_each(|pair| reply.push(pair)),
        Plan::Shuffle => {
            let mut pairs: Vec<_> = hash.iter().collect();
            shuffle_front(&mut pairs, draw.count, rng);
            pairs[..draw.count]
                .iter()
                .for_each(|pair| reply.push(*pair));
        }
        Plan::Redraw => distinct(draw.count, || hash.random(rng), |pair| reply.push(pair)),
    }
    Ok(Flow::Done)
}

/// Arguments after the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Draw {
    count: usize,
    /// A negative count: every draw is from the whole hash.
    repeat: bool,
    with_values: bool,
}

impl Draw {
    fn parse(mut args: Args<'_>) -> Result<Draw, CommandError> {
        let count = args.integer_in(-i64::MAX..=i64::MAX, COUNT_OUT_OF_RANGE)?;
        let with_values = args.accept("WITHVALUES");
        args.finish()?;
        if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(errors::OUT_OF_RANGE);
        }
        Ok(Draw {
            count: count.unsigned_abs() as usize,
            repeat: count < 0,
            with_values,
        })
    }
}

/// Writes fields, or fields with values: pairs in RESP3, one flat array in RESP2.
struct PairWriter<'w> {
    out: &'w mut Writer,
    with_values: bool,
}

impl PairWriter<'_> {
    fn nested(&self) -> bool {
        self.with_values && self.out.protocol() == Protocol::Resp3
    }

    fn begin(&mut self, count: usize) {
        let flat = self.with_values && !self.nested();
        self.out.array(if flat { 2 * count } else { count });
    }

    fn push(&mut self, (field, value): (&[u8], &[u8])) {
        if self.nested() {
            self.out.array(2);
        }
        self.out.bulk(field);
        if self.with_values {
            self.out.bulk(value);
        }
    }
}

/// How to draw without repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// All of them, in order.
    Whole,
    /// Collect all, shuffle as many as are wanted.
    Shuffle,
    /// Draw until enough different ones came.
    Redraw,
}

/// Collecting costs the whole hash, redrawing at most 1.5 draws a field on average while less
/// than a
/// third is wanted.
fn plan(count: usize, len: usize) -> Plan {
    if count >= len {
        Plan::Whole
    } else if count > len / 3 {
        Plan::Shuffle
    } else {
        Plan::Redraw
    }
}

/// Puts a uniform sample of `count` items, in random order, at the front.
fn shuffle_front<T>(items: &mut [T], count: usize, rng: &mut impl FnMut() -> u64) {
    for front in 0..count {
        let left = (items.len() - front) as u128;
        // The high half of the product: uniform but for a bias of `left` in 2^64.
        let offset = (u128::from(rng()) * left) >> 64;
        items.swap(front, front + offset as usize);
    }
}

/// Passes on `count` draws that differ in their first half; there must be as many.
fn distinct<'a>(
    count: usize,
    mut draw: impl FnMut() -> (&'a [u8], &'a [u8]),
    mut found: impl FnMut((&'a [u8], &'a [u8])),
) {
    let mut seen = HashSet::with_capacity(count);
    while seen.len() < count {
        let pair = draw();
        if seen.insert(pair.0) {
            found(pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Draw, CommandError> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        Draw::parse(Args::new(&words, 0))
    }

    /// A generator good enough to see that every item has its chance (SplitMix64).
    fn generator(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    #[test]
    fn a_negative_count_repeats() {
        assert_eq!(
            parse("-5 withvalues"),
            Ok(Draw {
                count: 5,
                repeat: true,
                with_values: true
            })
        );
        assert_eq!(
            parse("5"),
            Ok(Draw {
                count: 5,
                repeat: false,
                with_values: false
            })
        );
    }

    #[test]
    fn counts_that_would_overflow_are_refused() {
        assert_eq!(parse("-9223372036854775808"), Err(COUNT_OUT_OF_RANGE));
        assert_eq!(
            parse("-4611686018427387904 WITHVALUES"),
            Err(errors::OUT_OF_RANGE)
        );
        assert_eq!(
            parse("4611686018427387903 WITHVALUES").map(|draw| draw.with_values),
            Ok(true)
        );
        assert_eq!(parse("x"), Err(errors::NOT_INTEGER));
        assert_eq!(parse("5 values"), Err(errors::SYNTAX));
        assert_eq!(parse("5 WITHVALUES 6"), Err(errors::SYNTAX));
    }

    #[test]
    fn plans_follow_the_share_that_is_wanted() {
        assert_eq!(plan(0, 1), Plan::Redraw);
        assert_eq!(plan(30, 90), Plan::Redraw);
        assert_eq!(plan(31, 90), Plan::Shuffle);
        assert_eq!(plan(90, 90), Plan::Whole);
    }

    #[test]
    fn every_item_has_the_same_chance_to_be_shuffled_to_the_front() {
        let mut rng = generator(7);
        let mut hits = [0u32; 10];
        for _ in 0..10_000 {
            let mut items: [usize; 10] = std::array::from_fn(|index| index);
            shuffle_front(&mut items, 4, &mut rng);
            items[..4].iter().for_each(|item| hits[*item] += 1);
        }
        // 4000 are expected; the standard deviation is 49.
        assert!(
            hits.iter().all(|hits| (3750..4250).contains(hits)),
            "{hits:?}"
        );
    }

    #[test]
    fn distinct_draws_differ() {
        let fields: Vec<[u8; 1]> = (0..30).map(|field| [field]).collect();
        let mut rng = generator(11);
        let mut found = Vec::new();
        distinct(
            10,
            || (&fields[(rng() % 30) as usize][..], &b""[..]),
            |(field, _)| found.push(field[0]),
        );
        assert_eq!(found.len(), 10);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 10);
    }
}
