//! Fields read or written together with when they expire: HGETEX, HSETEX; and HGETDEL. Of Redis 8.0.

use super::expiry::{NOT_POSITIVE, deadline, delete_instead, named_fields, notify_if_gone};
use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::deadline::Unit;
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::store::{FieldChange, FieldRule, FieldTtl};
use itoa::Buffer;
use std::collections::HashSet;

/// HGETDEL key FIELDS numfields field [field ...] -- the values of fields, which are removed.
pub(super) const HGETDEL: Command = Command::new(
    "hgetdel",
    -5,
    hgetdel,
    Docs::new(
        "hash",
        "8.0.0",
        "Returns the values of fields of a hash and removes them.",
    )
    .complexity("O(N) where N is the number of specified fields")
    .syntax("key FIELDS fields=<numfields:integer field [field ...]>"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)]);

fn hgetdel(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    cx.view.hash(db, key)?;
    let fields = named_fields(&mut args, NOT_POSITIVE)?;
    let values = live_values(cx, key, fields)?;
    let removed = cx.view.hash_remove(db, key, fields)? > 0;
    let mut named = HashSet::new();
    cx.out.array(fields.len());
    for (field, value) in fields.iter().zip(values) {
        // Named again it is gone already.
        cx.out.bulk_or_null(value.filter(|_| named.insert(field)));
    }
    if removed {
        let mut words: Vec<&[u8]> = vec![b"HDEL", key];
        words.extend(fields);
        cx.effects.instead(db, &words);
        cx.notify(EventClasses::HASH, "hdel", key);
        notify_if_gone(cx, key, true);
    }
    Ok(Flow::Done)
}

/// HGETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] FIELDS
/// numfields field [field ...] -- the values of fields, and lets them expire, or no more.
pub(super) const HGETEX: Command = Command::new(
    "hgetex",
    -5,
    hgetex,
    Docs::new("hash", "8.0.0", "Returns the values of fields of a hash and sets or clears when they expire.")
        .complexity("O(N) where N is the number of specified fields")
        .syntax("key expiration=[EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] FIELDS fields=<numfields:integer field [field ...]>"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)
.notes("RW and UPDATE because it changes the TTL")]);

fn hgetex(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    cx.view.hash(db, key)?;
    // What is to become of the expiries: set, cleared, or nothing.
    let ttl_at = match Unit::accept(&mut args) {
        Some(unit) => Some(Some(deadline(args.word()?, unit, cx)?)),
        None => args.accept("PERSIST").then_some(None),
    };
    let fields = named_fields(&mut args, NOT_POSITIVE)?;
    let values = live_values(cx, key, fields)?;
    let changes = match ttl_at {
        Some(ttl_at) => cx
            .view
            .hash_expire(db, key, fields, ttl_at, FieldRule::Any)?,
        None => vec![FieldChange::NoTtl; fields.len()],
    };
    cx.out.array(fields.len());
    for (value, change) in values.iter().zip(&changes) {
        // Named again it may be gone already.
        let value = value.filter(|_| *change != FieldChange::Absent);
        cx.out.bulk_or_null(value);
    }
    if changes.contains(&FieldChange::Done) {
        let (mut at, mut count) = (Buffer::new(), Buffer::new());
        let mut words: Vec<&[u8]> = match ttl_at.flatten() {
            Some(at_ms) => vec![b"HPEXPIREAT", key, at.format(at_ms).as_bytes()],
            None => vec![b"HPERSIST", key],
        };
        words.extend([b"FIELDS", count.format(fields.len()).as_bytes()]);
        words.extend(fields);
        cx.effects.instead(db, &words);
        let event = match ttl_at.flatten() {
            Some(_) => "hexpire",
            None => "hpersist",
        };
        cx.notify(EventClasses::HASH, event, key);
    } else if changes.contains(&FieldChange::Deleted) {
        let pairs = fields.iter().zip(&changes);
        let deleted = pairs.filter(|(_, change)| **change == FieldChange::Deleted);
        let deleted: Vec<&[u8]> = deleted.map(|(field, _)| *field).collect();
        delete_instead(cx, key, &deleted);
        cx.notify(EventClasses::HASH, "hdel", key);
        notify_if_gone(cx, key, true);
    }
    Ok(Flow::Done)
}

/// The values of fields, of which those are removed whose time has come.
fn live_values<'a>(
    cx: &mut Context<'a>,
    key: &[u8],
    fields: &[&[u8]],
) -> Result<Vec<Option<&'a [u8]>>, CommandError> {
    let db = cx.db();
    cx.view.hash_lapse(db, key, fields)?;
    let hash = cx.view.hash(db, key)?;
    let values = fields.iter();
    Ok(values
        .map(|field| hash.and_then(|hash| hash.get(field)))
        .collect())
}

/// HSETEX key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]
/// FIELDS numfields field value [field value ...] -- sets fields, if none or all of them exist, and lets them expire.
pub(super) const HSETEX: Command = Command::new(
    "hsetex",
    -6,
    hsetex,
    Docs::new("hash", "8.0.0", "Sets fields of a hash and when they expire.")
        .complexity("O(N) where N is the number of fields being set.")
        .syntax("key condition=[FNX | FXX] expiration=[EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] FIELDS fields=<numfields:integer data=<field value> [data=<field value> ...]>"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])]);

fn hsetex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.rest().first().copied().ok_or(errors::SYNTAX)?;
    let options = SetOptions::parse(args, cx)?;
    let (db, pairs) = (cx.db(), &options.pairs);
    let names: Vec<&[u8]> = pairs.iter().map(|(name, _)| *name).collect();
    let hash = cx.view.hash(db, key)?;
    let mut expired = Vec::new();
    if let Some(existing) = options.existing {
        let mut holds = true;
        for name in &names {
            let exists = hash.is_some_and(|hash| hash.contains(name));
            if hash.is_some_and(|hash| hash.has_expired(name)) {
                expired.push(*name);
            }
            if exists != existing {
                holds = false;
                break;
            }
        }
        if !holds {
            cx.view.hash_lapse(db, key, &expired)?;
            return cx.reply_integer(0);
        }
    }
    let ttl = match options.expiry {
        Expiry::None => FieldTtl::Clear,
        Expiry::Keep => FieldTtl::Keep,
        Expiry::At { at_ms, .. } if at_ms > cx.now_ms => FieldTtl::At(at_ms),
        // The instant has passed: they go again.
        Expiry::At { .. } => FieldTtl::Clear,
    };
    cx.view.hash_set_timed(db, key, pairs, ttl)?;
    let times = matches!(options.expiry, Expiry::At { .. });
    let deletes = times && ttl == FieldTtl::Clear;
    // Their old selves are gone before they are set; a replica does not see for itself that their time has come.
    delete_instead(cx, key, &expired);
    if deletes {
        cx.view.hash_remove(db, key, &names)?;
        delete_instead(cx, key, &names);
    } else if !expired.is_empty() || times {
        let (mut at, mut words) = (Buffer::new(), options.argv.to_vec());
        if let Expiry::At { at_ms, position } = options.expiry {
            words[position - 1] = b"PXAT";
            words[position] = at.format(at_ms).as_bytes();
        }
        cx.effects.instead(db, &words);
    }
    cx.out.integer(1);
    if !expired.is_empty() {
        cx.notify(EventClasses::HASH, "hexpired", key);
    }
    cx.notify(EventClasses::HASH, "hset", key);
    if deletes {
        cx.notify(EventClasses::HASH, "hdel", key);
    } else if times {
        cx.notify(EventClasses::HASH, "hexpire", key);
    }
    notify_if_gone(cx, key, deletes);
    Ok(Flow::Done)
}

/// When the fields that HSETEX sets expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    None,
    Keep,
    /// Then; which word says so.
    At {
        at_ms: u64,
        position: usize,
    },
}

/// The arguments of HSETEX.
struct SetOptions<'a> {
    argv: &'a [&'a [u8]],
    /// Whether all of the fields must exist, or none.
    existing: Option<bool>,
    expiry: Expiry,
    pairs: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> SetOptions<'a> {
    fn parse(mut args: Args<'a>, cx: &Context<'_>) -> Result<SetOptions<'a>, CommandError> {
        const TWO_CONDITIONS: CommandError =
            CommandError::new("ERR Only one of FXX or FNX arguments can be specified");
        const TWO_EXPIRIES: CommandError = CommandError::new(
            "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
        );
        const NO_TIME: CommandError = CommandError::new("ERR missing expire time");
        const NO_COUNT: CommandError = CommandError::new("ERR invalid number of fields");
        let arity = || errors::wrong_arity(&cx.entry.full_name);
        args.word()?;
        let (mut existing, mut expiry) = (None, Expiry::None);
        loop {
            if args.accept("FIELDS") {
                if args.len() < 3 {
                    return Err(arity());
                }
                let count = parse_integer(args.word()?).ok();
                let count = count.filter(|count| (1..=i64::from(i32::MAX)).contains(count));
                let count = count.ok_or(NO_COUNT)?;
                let (pairs, rest) = args.rest().as_chunks();
                if !rest.is_empty() || usize::try_from(count) != Ok(pairs.len()) {
                    return Err(arity());
                }
                return Ok(SetOptions {
                    argv: args.argv(),
                    existing,
                    expiry,
                    pairs: pairs.iter().map(|[name, value]| (*name, *value)).collect(),
                });
            }
            if let Some(unit) = Unit::accept(&mut args) {
                if expiry != Expiry::None {
                    return Err(TWO_EXPIRIES);
                }
                let position = args.position();
                let word = args.word().map_err(|_| NO_TIME)?;
                let at_ms = deadline(word, unit, cx)?;
                expiry = Expiry::At { at_ms, position };
            } else if args.accept("KEEPTTL") {
                if expiry != Expiry::None {
                    return Err(TWO_EXPIRIES);
                }
                expiry = Expiry::Keep;
            } else if let Some(all) = [("FXX", true), ("FNX", false)]
                .into_iter()
                .find(|(word, _)| args.accept(word))
            {
                if existing.replace(all.1).is_some() {
                    return Err(TWO_CONDITIONS);
                }
            } else {
                let word = args.word().map_err(|_| arity())?;
                return Err(CommandError::quoting(&[b"ERR unknown argument: ", word]));
            }
        }
    }
}
