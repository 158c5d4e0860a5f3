//! Reading ranges: XLEN, XRANGE, XREVRANGE.

use super::{id, reply};
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};

/// XLEN key -- number of entries.
pub(super) const XLEN: Command = Command::new(
    "xlen",
    2,
    xlen,
    Docs::new(
        "stream",
        "5.0.0",
        "Return the number of entries in a stream",
    )
    .complexity("O(1)")
    .syntax("key"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::STREAM)
.keys(&[KeySpec::index(1, &[KeyFlags::RO])]);

fn xlen(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let len = cx.noted(cx.view.stream_len(cx.db(), key))?;
    cx.reply_integer(len.unwrap_or(0) as i64)
}

/// XRANGE key start end [COUNT count] -- the entries with ids from start to end.
pub(super) const XRANGE: Command = Command::new(
    "xrange",
    -4,
    xrange,
    Docs::new("stream", "5.0.0", "Return a range of elements in a stream, with IDs matching the specified IDs interval")
    .complexity("O(N) with N being the number of elements being returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).")
    .syntax("key start:string end:string [COUNT count]")
    .history(&[("6.2.0", "Added exclusive ranges.")]),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::STREAM)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn xrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(cx, args, false)
}

/// XREVRANGE key end start [COUNT count] -- the same from the last to the first.
pub(super) const XREVRANGE: Command = Command::new(
    "xrevrange",
    -4,
    xrevrange,
    Docs::new("stream", "5.0.0", "Return a range of elements in a stream, with IDs matching the specified IDs interval, in reverse order (from greater to smaller IDs) compared to XRANGE")
    .complexity("O(N) with N being the number of elements returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).")
    .syntax("key end:string start:string [COUNT count]")
    .history(&[("6.2.0", "Added exclusive ranges.")]),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::STREAM)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn xrevrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    range(cx, args, true)
}

fn range(cx: &mut Context<'_>, mut args: Args<'_>, back: bool) -> Outcome {
    let (key, first, second) = (args.word()?, args.word()?, args.word()?);
    let (from, to) = if back {
        (second, first)
    } else {
        (first, second)
    };
    let (from, to) = (id::interval_start(from)?, id::interval_end(to)?);
    let mut count = None;
    while !args.is_empty() {
        if args.len() > 1 && args.accept("count") {
            // Minus one is what stands for no count.
            count = Some(args.integer()?.max(0) as usize);
        } else {
            return Err(errors::SYNTAX);
        }
    }
    let Some(stream) = cx.noted(cx.view.stream(cx.db(), key))? else {
        cx.out.array(0);
        return Ok(Flow::Done);
    };
    let count = match count {
        Some(0) => {
            cx.out.null_array();
            return Ok(Flow::Done);
        }
        count => count.unwrap_or(usize::MAX),
    };
    if back {
        reply::entries(cx.out, stream.range_back(from, to).take(count));
    } else {
        reply::entries(cx.out, stream.range(from, to).take(count));
    }
    Ok(Flow::Done)
}
