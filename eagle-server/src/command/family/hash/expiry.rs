//! When fields of hashes expire: HEXPIRE and its kin, HTTL and its kin, HPERSIST. Of Redis 7.4.

use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::deadline::Unit;
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, Handler, KeyFlags, KeySpec, Scope};
use crate::config::special::EventClasses;
use eagle_core::store::{FieldChange, FieldRule};
use itoa::Buffer;

const COMPLEXITY: &str = "O(N) where N is the number of specified fields";

/// What the rows share that set when fields expire.
const fn setting(name: &'static str, handler: Handler, docs: Docs) -> Command {
    Command::new(name, -6, handler, docs.complexity(COMPLEXITY))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
        .family(Categories::HASH)
        .keys(const { &[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])] })
}

/// What the rows share that ask when fields expire.
const fn asking(name: &'static str, handler: Handler, summary: &'static str) -> Command {
    let docs = Docs::new("hash", "7.4.0", summary)
        .complexity(COMPLEXITY)
        .syntax("key FIELDS fields=<numfields:integer field [field ...]>");
    Command::new(name, -5, handler, docs)
        .flags(&[Flags::READONLY, Flags::FAST])
        .scope(Scope::Keys)
        .family(Categories::HASH)
        .keys(const { &[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])] })
}

/// HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...] -- lets fields expire after so many seconds.
pub(super) const HEXPIRE: Command = setting(
    "hexpire",
    hexpire,
    Docs::new("hash", "7.4.0", "Lets fields of a hash expire after seconds.").syntax(
        "key seconds condition=[NX | XX | GT | LT] FIELDS fields=<numfields:integer field [field ...]>",
    ),
);

fn hexpire(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(cx, args, Unit::Seconds)
}

/// HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...] -- HEXPIRE in milliseconds.
pub(super) const HPEXPIRE: Command = setting(
    "hpexpire",
    hpexpire,
    Docs::new("hash", "7.4.0", "Lets fields of a hash expire after milliseconds.").syntax(
        "key milliseconds condition=[NX | XX | GT | LT] FIELDS fields=<numfields:integer field [field ...]>",
    ),
);

fn hpexpire(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(cx, args, Unit::Millis)
}

/// HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...] -- lets fields expire at a Unix
/// time in seconds.
pub(super) const HEXPIREAT: Command = setting(
    "hexpireat",
    hexpireat,
    Docs::new("hash", "7.4.0", "Lets fields of a hash expire at a Unix time in seconds.").syntax(
        "key unix-time-seconds condition=[NX | XX | GT | LT] FIELDS fields=<numfields:integer field [field ...]>",
    ),
);

fn hexpireat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(cx, args, Unit::UnixSeconds)
}

/// HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...] -- lets fields expire at a
/// Unix time in milliseconds.
pub(super) const HPEXPIREAT: Command = setting(
    "hpexpireat",
    hpexpireat,
    Docs::new("hash", "7.4.0", "Lets fields of a hash expire at a Unix time in milliseconds.").syntax(
        "key unix-time-milliseconds condition=[NX | XX | GT | LT] FIELDS fields=<numfields:integer field [field ...]>",
    ),
);

fn hpexpireat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire(cx, args, Unit::UnixMillis)
}

fn expire(cx: &mut Context<'_>, mut args: Args<'_>, unit: Unit) -> Outcome {
    const NO_FIELDS: CommandError =
        CommandError::new("ERR Parameter `numFields` should be greater than 0");
    let (key, db) = (args.word()?, cx.db());
    cx.view.hash(db, key)?;
    let at_ms = deadline(args.word()?, unit, cx)?;
    let (rule, word) = [
        ("NX", FieldRule::Absent),
        ("XX", FieldRule::Present),
        ("GT", FieldRule::Later),
        ("LT", FieldRule::Earlier),
    ]
    .into_iter()
    .find(|(word, _)| args.accept(word))
    .map_or((FieldRule::Any, None), |(word, rule)| (rule, Some(word)));
    let fields = named_fields(&mut args, NO_FIELDS)?;
    cx.view.hash_lapse(db, key, fields)?;
    let changes = cx.view.hash_expire(db, key, fields, Some(at_ms), rule)?;
    cx.out.array(changes.len());
    for change in &changes {
        cx.out.integer(match change {
            FieldChange::Absent => -2,
            FieldChange::Refused | FieldChange::NoTtl => 0,
            FieldChange::Done => 1,
            FieldChange::Deleted => 2,
        });
    }
    let of = |change| {
        let pairs = fields.iter().zip(&changes);
        let pairs = pairs.filter(move |(_, other)| **other == change);
        pairs.map(|(field, _)| *field).collect::<Vec<_>>()
    };
    let (set, deleted) = (of(FieldChange::Done), of(FieldChange::Deleted));
    delete_instead(cx, key, &deleted);
    if !set.is_empty() && cx.effects.are_wanted() {
        let (mut at, mut count) = (Buffer::new(), Buffer::new());
        let mut words: Vec<&[u8]> = vec![b"HPEXPIREAT", key, at.format(at_ms).as_bytes()];
        words.extend(word.map(str::as_bytes));
        words.extend([b"FIELDS", count.format(set.len()).as_bytes()]);
        words.extend(set.iter());
        cx.effects.instead(db, &words);
    }
    if !deleted.is_empty() {
        cx.notify(EventClasses::HASH, "hdel", key);
    } else if !set.is_empty() {
        cx.notify(EventClasses::HASH, "hexpire", key);
    }
    notify_if_gone(cx, key, !deleted.is_empty());
    Ok(Flow::Done)
}

/// HPERSIST key FIELDS numfields field [field ...] -- lets fields expire no more.
pub(super) const HPERSIST: Command = Command::new(
    "hpersist",
    -5,
    hpersist,
    Docs::new("hash", "7.4.0", "Lets fields of a hash expire no more.")
        .complexity(COMPLEXITY)
        .syntax("key FIELDS fields=<numfields:integer field [field ...]>"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::HASH)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])]);

fn hpersist(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    cx.view.hash(db, key)?;
    let fields = named_fields(&mut args, NOT_POSITIVE)?;
    cx.view.hash_lapse(db, key, fields)?;
    let changes = cx.view.hash_expire(db, key, fields, None, FieldRule::Any)?;
    cx.out.array(changes.len());
    for change in &changes {
        cx.out.integer(match change {
            FieldChange::Done => 1,
            FieldChange::NoTtl => -1,
            _ => -2,
        });
    }
    if changes.contains(&FieldChange::Done) {
        cx.notify(EventClasses::HASH, "hpersist", key);
    }
    Ok(Flow::Done)
}

/// HTTL key FIELDS numfields field [field ...] -- seconds that fields have left, rounded up; -1 for one that does not
/// expire, -2 for one that does not exist.
pub(super) const HTTL: Command = asking("httl", httl, "Seconds that fields of a hash have left.");

fn httl(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_expiries(cx, args, Unit::Seconds)
}

/// HPTTL key FIELDS numfields field [field ...] -- HTTL in milliseconds.
pub(super) const HPTTL: Command = asking(
    "hpttl",
    hpttl,
    "Milliseconds that fields of a hash have left.",
);

fn hpttl(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_expiries(cx, args, Unit::Millis)
}

/// HEXPIRETIME key FIELDS numfields field [field ...] -- the Unix time at which fields expire, in seconds; -1 and -2 as
/// HTTL.
pub(super) const HEXPIRETIME: Command = asking(
    "hexpiretime",
    hexpiretime,
    "The Unix time in seconds at which fields of a hash expire.",
);

fn hexpiretime(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_expiries(cx, args, Unit::UnixSeconds)
}

/// HPEXPIRETIME key FIELDS numfields field [field ...] -- HEXPIRETIME in milliseconds.
pub(super) const HPEXPIRETIME: Command = asking(
    "hpexpiretime",
    hpexpiretime,
    "The Unix time in milliseconds at which fields of a hash expire.",
);

fn hpexpiretime(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_expiries(cx, args, Unit::UnixMillis)
}

fn reply_expiries(cx: &mut Context<'_>, mut args: Args<'_>, unit: Unit) -> Outcome {
    let key = args.word()?;
    let hash = cx.noted(cx.view.hash(cx.db(), key))?;
    let fields = named_fields(&mut args, NOT_POSITIVE)?;
    let base_ms = if unit.is_absolute() { 0 } else { cx.now_ms };
    cx.out.array(fields.len());
    for field in fields {
        cx.out
            .integer(match hash.and_then(|hash| hash.ttl_at(field)) {
                None => -2,
                Some(None) => -1,
                Some(Some(at_ms)) => {
                    let ms = at_ms.saturating_sub(base_ms);
                    let number = match unit {
                        Unit::Seconds | Unit::UnixSeconds => ms.div_ceil(1000),
                        Unit::Millis | Unit::UnixMillis => ms,
                    };
                    number as i64
                }
            });
    }
    Ok(Flow::Done)
}

/// What is said of a number of fields that is none.
pub(super) const NOT_POSITIVE: CommandError =
    CommandError::new("ERR Number of fields must be a positive integer");

/// The fields of `FIELDS numfields field [field ...]`, which end the arguments.
pub(super) fn named_fields<'a>(
    args: &mut Args<'a>,
    not_positive: CommandError,
) -> Result<&'a [&'a [u8]], CommandError> {
    const MISPLACED: CommandError =
        CommandError::new("ERR Mandatory argument FIELDS is missing or not at the right position");
    const MISCOUNTED: CommandError =
        CommandError::new("ERR The `numfields` parameter must match the number of arguments");
    if !args.accept("FIELDS") {
        return Err(MISPLACED);
    }
    let count = args.word().ok().and_then(|word| parse_integer(word).ok());
    let Some(count) = count.filter(|count| *count > 0) else {
        return Err(not_positive);
    };
    if usize::try_from(count) != Ok(args.len()) {
        return Err(MISCOUNTED);
    }
    Ok(args.rest())
}

/// The instant at which fields are to expire, in Unix milliseconds.
pub(super) fn deadline(word: &[u8], unit: Unit, cx: &Context<'_>) -> Result<u64, CommandError> {
    /// Two bits less than fields' expiries have in Redis.
    const AT_MS_MAX: u64 = (1 << 46) - 1;
    let number = u64::try_from(parse_integer(word)?)
        .map_err(|_| CommandError::new("ERR invalid expire time, must be >= 0"))?;
    let base_ms = if unit.is_absolute() { 0 } else { cx.now_ms };
    let ms = match unit {
        Unit::Seconds | Unit::UnixSeconds => number.checked_mul(1000),
        Unit::Millis | Unit::UnixMillis => Some(number),
    };
    ms.and_then(|ms| ms.checked_add(base_ms))
        .filter(|at_ms| *at_ms <= AT_MS_MAX)
        .ok_or_else(|| errors::invalid_expire(&cx.entry.full_name))
}

/// Replaces the command by the removal of fields, one by one.
pub(super) fn delete_instead(cx: &mut Context<'_>, key: &[u8], fields: &[&[u8]]) {
    let db = cx.db();
    for field in fields {
        cx.effects.instead(db, &[b"HDEL", key, field]);
    }
}

/// Raises the event of a hash that has lost its last field, if fields were removed.
pub(super) fn notify_if_gone(cx: &mut Context<'_>, key: &[u8], removed: bool) {
    if removed && cx.view.peek(cx.db(), key).is_none() {
        cx.notify(EventClasses::GENERIC, "del", key);
    }
}
