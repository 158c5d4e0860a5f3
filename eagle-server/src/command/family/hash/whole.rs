//! Hashes as a whole: HLEN, HGETALL, HKEYS, HVALS, HSCAN.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::scan::{ScanOptions, parse_cursor};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};

/// HLEN key -- number of fields, 0 if there is no hash. Fields whose time has come count as long as they lie there.
pub(super) const HLEN: Command = Command::new(
    "hlen",
    2,
    hlen,
    Docs::new("hash", "2.0.0", "Get the number of fields in a hash")
        .complexity("O(1)")
        .syntax("key"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RO])]);

fn hlen(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let len = cx
        .noted(cx.view.hash(cx.db(), key))?
        .map_or(0, |hash| hash.len());
    cx.reply_integer(len as i64)
}

/// HGETALL key -- all fields and values.
pub(super) const HGETALL: Command = Command::new(
    "hgetall",
    2,
    hgetall,
    Docs::new("hash", "2.0.0", "Get all the fields and values in a hash")
        .complexity("O(N) where N is the size of the hash.")
        .syntax("key"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output_order"]);

fn hgetall(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let hash = cx.noted(cx.view.hash(cx.db(), key))?;
    cx.out.map(hash.map_or(0, |hash| hash.live_len() as usize));
    for (field, value) in hash.iter().flat_map(|hash| hash.iter()) {
        cx.out.bulk(field);
        cx.out.bulk(value);
    }
    Ok(Flow::Done)
}

/// HKEYS key -- all fields.
pub(super) const HKEYS: Command = Command::new(
    "hkeys",
    2,
    hkeys,
    Docs::new("hash", "2.0.0", "Get all the fields in a hash")
        .complexity("O(N) where N is the size of the hash.")
        .syntax("key"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output_order"]);

fn hkeys(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_each(cx, args, |(field, _)| field)
}

/// HVALS key -- all values.
pub(super) const HVALS: Command = Command::new(
    "hvals",
    2,
    hvals,
    Docs::new("hash", "2.0.0", "Get all the values in a hash")
        .complexity("O(N) where N is the size of the hash.")
        .syntax("key"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output_order"]);

fn hvals(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_each(cx, args, |(_, value)| value)
}

/// Replies one half of every pair.
fn reply_each<'a>(
    cx: &mut Context<'a>,
    mut args: Args<'_>,
    half: impl Fn((&'a [u8], &'a [u8])) -> &'a [u8],
) -> Outcome {
    let key = args.word()?;
    let hash = cx.noted(cx.view.hash(cx.db(), key))?;
    cx.out
        .array(hash.map_or(0, |hash| hash.live_len() as usize));
    for pair in hash.iter().flat_map(|hash| hash.iter()) {
        cx.out.bulk(half(pair));
    }
    Ok(Flow::Done)
}

/// HSCAN key cursor [MATCH pattern] [COUNT count] -- some fields and values, and the cursor to go
/// on with.
pub(super) const HSCAN: Command = Command::new(
    "hscan",
    -3,
    hscan,
    Docs::new(
        "hash",
        "2.8.0",
        "Incrementally iterate hash fields and associated values",
    )
    .complexity(
        "O(1) for every call. O(N) for a complete iteration, including enough command \
             calls for the cursor to return back to 0. N is the number of elements inside the \
             collection..",
    )
    .syntax("key cursor [MATCH pattern] [COUNT count]"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output"]);

fn hscan(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, cursor) = (args.word()?, parse_cursor(args.word()?)?);
    let mut next = 0;
    let mut pairs = Vec::new();
    // Without a hash the options are not looked at, as in Redis.
    if let Some(hash) = cx.noted(cx.view.hash(cx.db(), key))? {
        let options = ScanOptions::parse(args, false)?;
        next = hash.scan(cursor, options.count, &mut |field, value| {
            if options.matches(field) {
                pairs.push((field, value));
            }
        });
    }
    cx.out.array(2);
    cx.out.bulk_display(next);
    cx.out.array(2 * pairs.len());
    for (field, value) in pairs {
        cx.out.bulk(field);
        cx.out.bulk(value);
    }
    Ok(Flow::Done)
}
