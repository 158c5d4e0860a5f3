//! Writing several strings at once: MSET, MSETNX, MSETEX.

use super::set_options::{Condition, SetOptions};
use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::forwarding::{Forwarding, Merge};
use crate::command::spec::{
    BeginSearch, Categories, Command, Docs, FindKeys, Flags, KeyFlags, KeySpec,
};
use crate::config::special::EventClasses;
use eagle_core::store::{StringForm, Ttl};
use eagle_core::text::integer;

/// MSET key value [key value ...] -- writes several strings at once.
pub(super) const MSET: Command = Command::new(
    "mset",
    -3,
    mset,
    Docs::new("string", "1.0.1", "Set multiple keys to multiple values")
        .complexity("O(N) where N is the number of keys to set.")
        .syntax("key value [key value ...]"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::STRING)
.keys(&[KeySpec::range(1, -1, 2, &[KeyFlags::OW, KeyFlags::UPDATE])])
.forwarded(Forwarding::Split {
    words: 2,
    merge: Merge::Ok,
})
.tips(&[
    "request_policy:multi_shard",
    "response_policy:all_succeeded",
]);

fn mset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    set_all(cx, pairs(cx, args)?, Ttl::Clear)?;
    cx.reply_ok()
}

/// MSETNX key value [key value ...] -- writes several strings at once, if none of the keys exists.
pub(super) const MSETNX: Command = Command::new(
    "msetnx",
    -3,
    msetnx,
    Docs::new(
        "string",
        "1.0.1",
        "Set multiple keys to multiple values, only if none of the keys exist",
    )
    .complexity("O(N) where N is the number of keys to set.")
    .syntax("key value [key value ...]"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::STRING)
.keys(&[KeySpec::range(1, -1, 2, &[KeyFlags::OW, KeyFlags::INSERT])])
.tips(&["request_policy:multi_shard", "response_policy:agg_min"]);

fn msetnx(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let pairs = pairs(cx, args)?;
    let absent = hold_for_all(cx, Condition::IfAbsent, pairs)?;
    if absent {
        set_all(cx, pairs, Ttl::Clear)?;
    }
    cx.reply_bool(absent)
}

type Pair<'a> = [&'a [u8]; 2];

fn pairs<'a>(cx: &Context<'_>, args: Args<'a>) -> Result<&'a [Pair<'a>], CommandError> {
    match args.rest().as_chunks() {
        (pairs, []) => Ok(pairs),
        _ => Err(errors::wrong_arity(&cx.entry.full_name)),
    }
}

fn hold_for_all(
    cx: &Context<'_>,
    condition: Condition<'_>,
    pairs: &[Pair<'_>],
) -> Result<bool, CommandError> {
    for [key, _] in pairs {
        if !condition.holds(cx, key)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn set_all(cx: &mut Context<'_>, pairs: &[Pair<'_>], ttl: Ttl) -> Result<(), CommandError> {
    let db = cx.db();
    if cx.config.monitoring.notify_keyspace_events.is_empty() {
        return Ok(cx.view.set_strings(db, pairs, StringForm::Auto, ttl)?);
    }
    // The events of a pair, that it is new among them, come before those of the next.
    for [key, value] in pairs {
        cx.view.set_string(db, key, value, StringForm::Auto, ttl)?;
        cx.notify(EventClasses::STRING, "set", key);
        if let Ttl::At(_) = ttl {
            cx.notify(EventClasses::GENERIC, "expire", key);
        }
    }
    Ok(())
}

/// MSETEX numkeys key value [key value ...] [NX | XX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT
/// unix-time-milliseconds | KEEPTTL] -- writes several strings at once that live equally long, if all or none of the
/// keys exist. Of Redis 8.4 and Valkey 9.1, which agree.
pub(super) const MSETEX: Command = Command::new(
    "msetex",
    -4,
    msetex,
    Docs::new(
        "string",
        "8.4.0",
        "Atomically sets multiple string keys with a shared expiration in a single operation.",
    )
    .complexity("O(N) where N is the number of keys to set.")
    .syntax("numkeys data=<key value> [data=<key value> ...] condition=[NX | XX] expiration=[EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::MOVABLE_KEYS])
.family(Categories::STRING)
.keys(&[KeySpec {
    begin: BeginSearch::Index(1),
    find: FindKeys::KeyNum {
        index: 0,
        first: 1,
        step: 2,
    },
    flags: KeyFlags::all(&[KeyFlags::OW, KeyFlags::UPDATE]),
    notes: "",
}])
.tips(&[
    "request_policy:multi_shard",
    "response_policy:all_succeeded",
]);

fn msetex(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const INVALID: CommandError = CommandError::new("ERR invalid numkeys value");
    let count = integer::parse_i64(args.word()?)
        .filter(|count| *count > 0)
        .and_then(|count| i32::try_from(count).ok())
        .ok_or(INVALID)?;
    let words = 2 * count as usize;
    let Some((pairs, options)) = args.rest().split_at_checked(words) else {
        return Err(CommandError::new("ERR wrong number of key-value pairs"));
    };
    let pairs = pairs.as_chunks().0;
    let options = SetOptions::parse_many(Args::new(options, 0))?;
    let ttl = options.ttl(cx)?;
    let holds = hold_for_all(cx, options.condition, pairs)?;
    if holds {
        set_all(cx, pairs, ttl)?;
        spell_out(cx, pairs, ttl);
    }
    cx.reply_bool(holds)
}

/// The effects of MSETEX are commands that every version knows.
fn spell_out(cx: &mut Context<'_>, pairs: &[Pair<'_>], ttl: Ttl) {
    let db = cx.db();
    let mut digits = itoa::Buffer::new();
    let options: &[&[u8]] = match ttl {
        Ttl::Clear => {
            let words: Vec<&[u8]> = std::iter::once(&b"MSET"[..])
                .chain(pairs.as_flattened().iter().copied())
                .collect();
            return cx.effects.instead(db, &words);
        }
        Ttl::Keep => &[b"KEEPTTL"],
        Ttl::At(at_ms) => &[b"PXAT", digits.format(at_ms).as_bytes()],
    };
    for [key, value] in pairs {
        let words = [&[&b"SET"[..], key, value], options].concat();
        cx.effects.instead(db, &words);
    }
}
