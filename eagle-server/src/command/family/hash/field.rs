//! Named fields of hashes: HGET, HSET and their kin.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use crate::config::special::EventClasses;
use smallvec::SmallVec;

/// HGET key field -- the value of a field, or null.
pub(super) const HGET: Command = Command::new(
    "hget",
    3,
    hget,
    Docs::new("hash", "2.0.0", "Get the value of a hash field")
        .complexity("O(1)")
        .syntax("key field"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn hget(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let value = field(cx, args)?;
    cx.out.bulk_or_null(value);
    Ok(Flow::Done)
}

/// HSTRLEN key field -- length of the value of a field in bytes, 0 if there is none.
pub(super) const HSTRLEN: Command = Command::new(
    "hstrlen",
    3,
    hstrlen,
    Docs::new(
        "hash",
        "3.2.0",
        "Get the length of the value of a hash field",
    )
    .complexity("O(1)")
    .syntax("key field"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RO])]);

fn hstrlen(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let value = field(cx, args)?;
    cx.reply_integer(value.map_or(0, |value| value.len() as i64))
}

/// HEXISTS key field -- whether a field exists.
pub(super) const HEXISTS: Command = Command::new(
    "hexists",
    3,
    hexists,
    Docs::new("hash", "2.0.0", "Determine if a hash field exists")
        .complexity("O(1)")
        .syntax("key field"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RO])]);

fn hexists(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let value = field(cx, args)?;
    cx.reply_bool(value.is_some())
}

/// The value of the field named by `key field`.
fn field<'a>(cx: &Context<'a>, mut args: Args<'_>) -> Result<Option<&'a [u8]>, CommandError> {
    let (key, field) = (args.word()?, args.word()?);
    let hash = cx.noted(cx.view.hash(cx.db(), key))?;
    Ok(hash.and_then(|hash| hash.get(field)))
}

/// HMGET key field [field ...] -- the values of the fields; null for a field that does not exist.
pub(super) const HMGET: Command = Command::new(
    "hmget",
    -3,
    hmget,
    Docs::new(
        "hash",
        "2.0.0",
        "Get the values of all the given hash fields",
    )
    .complexity("O(N) where N is the number of fields being requested.")
    .syntax("key field [field ...]"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.scope(Scope::Keys)
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn hmget(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let hash = cx.noted(cx.view.hash(cx.db(), key))?;
    cx.out.array(args.len());
    for field in args.rest() {
        cx.out.bulk_or_null(hash.and_then(|hash| hash.get(field)));
    }
    Ok(Flow::Done)
}

/// HSET key field value [field value ...] -- sets fields of a hash, which is made if absent; the
/// number of new fields.
pub(super) const HSET: Command = Command::new(
    "hset",
    -4,
    hset,
    Docs::new("hash", "2.0.0", "Set the string value of a hash field")
        .complexity(
            "O(1) for each field/value pair added, so O(N) to add N field/value pairs when \
             the command is called with multiple field/value pairs.",
        )
        .syntax("key field value [field value ...]")
        .history(&[("4.0.0", "Accepts multiple `field` and `value` arguments.")]),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])])
.replies_first();

fn hset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.rest().first().copied().unwrap_or_default();
    let added = set_fields(cx, args)?;
    cx.out.integer(added as i64);
    cx.notify(EventClasses::HASH, "hset", key);
    Ok(Flow::Done)
}

/// HMSET key field value [field value ...] -- HSET, as it was before it took several fields.
pub(super) const HMSET: Command = Command::new(
    "hmset",
    -4,
    hmset,
    Docs::new(
        "hash",
        "2.0.0",
        "Set multiple hash fields to multiple values",
    )
    .complexity("O(N) where N is the number of fields being set.")
    .syntax("key field value [field value ...]")
    .deprecated("4.0.0", "`HSET` with multiple field-value pairs"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])])
.replies_first();

fn hmset(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.rest().first().copied().unwrap_or_default();
    set_fields(cx, args)?;
    cx.out.ok();
    cx.notify(EventClasses::HASH, "hset", key);
    Ok(Flow::Done)
}

fn set_fields(cx: &mut Context<'_>, mut args: Args<'_>) -> Result<usize, CommandError> {
    let (key, db) = (args.word()?, cx.db());
    match args.rest().as_chunks() {
        ([[field, value]], []) => Ok(usize::from(cx.view.hash_set(db, key, field, value)?)),
        (pairs, []) => {
            let pairs: SmallVec<[(&[u8], &[u8]); 8]> = pairs
                .iter()
                .map(|[field, value]| (*field, *value))
                .collect();
            Ok(cx.view.hash_set_many(db, key, &pairs)?)
        }
        _ => Err(errors::wrong_arity(&cx.entry.full_name)),
    }
}

/// HSETNX key field value -- sets a field if it does not exist.
pub(super) const HSETNX: Command = Command::new(
    "hsetnx",
    4,
    hsetnx,
    Docs::new(
        "hash",
        "2.0.0",
        "Set the value of a hash field, only if the field does not exist",
    )
    .complexity("O(1)")
    .syntax("key field value"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::INSERT])])
.replies_first();

fn hsetnx(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, field, value) = (args.word()?, args.word()?, args.word()?);
    let db = cx.db();
    let absent = cx
        .view
        .hash(db, key)?
        .is_none_or(|hash| !hash.contains(field));
    if absent {
        if cx.view.has_met_fields() {
            cx.view.hash_lapse(db, key, &[field])?;
        }
        cx.view.hash_set(db, key, field, value)?;
    }
    cx.out.integer(i64::from(absent));
    if absent {
        cx.notify(EventClasses::HASH, "hset", key);
    }
    Ok(Flow::Done)
}

/// HDEL key field [field ...] -- removes fields; their number.
pub(super) const HDEL: Command = Command::new(
    "hdel",
    -3,
    hdel,
    Docs::new("hash", "2.0.0", "Delete one or more hash fields")
        .complexity("O(N) where N is the number of fields to be removed.")
        .syntax("key field [field ...]")
        .history(&[("2.4.0", "Accepts multiple `field` arguments.")]),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::DELETE])]);

fn hdel(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    let removed = cx.view.hash_remove(db, key, args.rest())?;
    if removed > 0 {
        cx.notify(EventClasses::HASH, "hdel", key);
        if cx.view.find(db, key).is_none() {
            cx.notify(EventClasses::GENERIC, "del", key);
        }
    }
    cx.reply_integer(removed as i64)
}
