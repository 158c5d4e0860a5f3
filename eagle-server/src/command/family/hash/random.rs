//! HRANDFIELD: fields drawn at random, with or without repetition.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::sample::{
    COUNT_OUT_OF_RANGE, Plan, REPLY_BYTES_MAX, REPLY_TOO_LONG, distinct, plan, shuffle_front,
};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use eagle_core::resp::{Protocol, Writer};

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
        remove_expired(cx, key)?;
        let hash = cx.noted(cx.view.hash(cx.db(), key))?;
        let hash = hash.filter(|hash| hash.live_len() > 0);
        cx.out
            .bulk_or_null(hash.map(|hash| hash.random(&mut rand::random::<u64>).0));
        return Ok(Flow::Done);
    }
    let draw = Draw::parse(args)?;
    remove_expired(cx, key)?;
    let Some(hash) = cx.noted(cx.view.hash(cx.db(), key))? else {
        cx.out.array(0);
        return Ok(Flow::Done);
    };
    let len = hash.live_len() as usize;
    if len == 0 {
        cx.out.array(0);
        return Ok(Flow::Done);
    }
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
            if reply.out.has_overflowed() {
                break;
            }
            if reply.out.len() - start > REPLY_BYTES_MAX {
                return Err(REPLY_TOO_LONG);
            }
        }
        return Ok(Flow::Done);
    }
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
        Plan::Redraw => distinct(
            draw.count,
            || hash.random(rng),
            |pair| pair.0,
            |pair| reply.push(pair),
        ),
    }
    Ok(Flow::Done)
}

/// Removes the fields of a hash whose time has come, so that drawing need not pass them over; but not while writes are
/// paused.
fn remove_expired(cx: &mut Context<'_>, key: &[u8]) -> Result<(), CommandError> {
    let db = cx.db();
    let hash = cx.view.hash(db, key).ok().flatten();
    let has_expired = hash.is_some_and(|hash| hash.may_have_expired());
    if has_expired && cx.view.may_write() && cx.node.pause.current(cx.now_ms).is_none() {
        cx.view.hash_lapse_all(db, key)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Draw, CommandError> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        Draw::parse(Args::new(&words, 0))
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
}
