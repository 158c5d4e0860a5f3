//! Writing whole strings, and reading them on the way: SET and its kin, GETDEL, GETEX.

use super::compare::Comparison;
use super::set_options::{Condition, Lifetime, SetOptions, parse_getex};
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::deadline::Unit;
use crate::command::errors::CommandError;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::command::{KeyRef, KeyRefs};
use crate::config::special::EventClasses;
use eagle_core::store::{StringForm, Ttl};
use smallvec::SmallVec;

/// SET key value [NX | XX | IFEQ value | IFNE value | IFDEQ digest | IFDNE digest] [GET] [EX seconds | PX
/// milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] -- writes a string, whatever the
/// key held; options make it conditional. `IFEQ` is that of Valkey 8.1 and Redis 8.4, the other three are of Redis 8.4.
pub(super) const SET: Command = Command::new(
    "set",
    -3,
    set,
    Docs::new("string", "1.0.0", "Set the string value of a key")
        .complexity("O(1)")
        .syntax("key value condition=[NX | XX | IFEQ ifeq-value{8.1.0} | IFNE ifne-value{8.4.0} | IFDEQ ifdeq-digest{8.4.0} | IFDNE ifdne-digest{8.4.0}]{2.6.12} [GET]{6.2.0} expiration=[EX seconds{2.6.12} | PX milliseconds{2.6.12} | EXAT unix-time-seconds{6.2.0} | PXAT unix-time-milliseconds{6.2.0} | KEEPTTL{6.0.0}]")
        .history(&[
            ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
            ("6.0.0", "Added the `KEEPTTL` option."),
            ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
            (
                "7.0.0",
                "Allowed the `NX` and `GET` options to be used together.",
            ),
            ("8.1.0", "Added the `IFEQ` option."),
            ("8.4.0", "Added the `IFNE`, `IFDEQ` and `IFDNE` options."),
        ]),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::STRING)
.keys(&[KeySpec::index(
    1,
    &[
        KeyFlags::RW,
        KeyFlags::ACCESS,
        KeyFlags::UPDATE,
        KeyFlags::VARIABLE_FLAGS,
    ],
)
.notes("RW and ACCESS due to the optional `GET` argument")])
.find_keys(set_keys);

/// The key, whose old value is read only with `GET` or to compare it: ACL rules may allow writing alone.
fn set_keys(argv: &[&[u8]]) -> KeyRefs {
    let mut options = argv.iter().skip(3);
    let reads = |word: &[u8]| word.eq_ignore_ascii_case(b"GET") || Comparison::is_keyword(word);
    let flags = if options.any(|word| reads(word)) {
        KeyFlags::all(&[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE])
    } else {
        KeyFlags::all(&[KeyFlags::OW, KeyFlags::UPDATE])
    };
    (1..argv.len().min(2))
        .map(|position| KeyRef { position, flags })
        .collect()
}

fn set(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, value) = (args.word()?, args.word()?);
    let options = SetOptions::parse(args)?;
    let ttl = options.ttl(cx)?;
    if options.get {
        // Before it is replaced: a long one goes to the reply from where it lies. If something fails later, the error
        // takes its place.
        cx.reply_string(key)?;
    }
    let written = options.condition.holds(cx, key)?;
    if written {
        cx.view
            .set_string(cx.session.db, key, value, StringForm::Auto, ttl)?;
        cx.notify(EventClasses::STRING, "set", key);
        if let Ttl::At(at_ms) = ttl {
            cx.notify(EventClasses::GENERIC, "expire", key);
            set_until(cx, key, value, at_ms);
        } else if let Condition::If(_) = options.condition {
            // What was compared held here; who repeats the command need not know the option.
            let plain: &[&[u8]] = &[b"SET", key, value, b"KEEPTTL"];
            let words = plain.len() - usize::from(ttl != Ttl::Keep);
            cx.effects.instead(cx.session.db, &plain[..words]);
        } else if options.get {
            // Who repeats the command has no use for the old value.
            let mut words: SmallVec<[&[u8]; 6]> = SmallVec::from_slice(args.argv());
            let mut position = 0;
            words.retain(|word| {
                position += 1;
                position <= 3 || !word.eq_ignore_ascii_case(b"GET")
            });
            cx.effects.instead(cx.session.db, &words);
        }
    }
    match (options.get, written) {
        (true, _) => Ok(Flow::Done),
        (false, true) => cx.reply_ok(),
        (false, false) => cx.reply_null(),
    }
}

/// SETNX key value -- writes a string if the key does not exist.
pub(super) const SETNX: Command = Command::new(
    "setnx",
    3,
    setnx,
    Docs::new(
        "string",
        "1.0.0",
        "Set the value of a key, only if the key does not exist",
    )
    .complexity("O(1)")
    .syntax("key value"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(1, &[KeyFlags::OW, KeyFlags::INSERT])]);

fn setnx(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, value) = (args.word()?, args.word()?);
    let written = Condition::IfAbsent.holds(cx, key)?;
    if written {
        cx.view
            .set_string(cx.session.db, key, value, StringForm::Auto, Ttl::Clear)?;
        cx.notify(EventClasses::STRING, "set", key);
    }
    cx.reply_bool(written)
}

/// SETEX key seconds value -- writes a string that expires after so many seconds.
pub(super) const SETEX: Command = Command::new(
    "setex",
    4,
    setex,
    Docs::new("string", "2.0.0", "Set the value and expiration of a key")
        .complexity("O(1)")
        .syntax("key seconds value"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::STRING)
.keys(&[KeySpec::index(1, &[KeyFlags::OW, KeyFlags::UPDATE])]);

fn setex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    set_expiring(cx, args, Unit::Seconds)
}

/// PSETEX key milliseconds value -- writes a string that expires after so many milliseconds.
pub(super) const PSETEX: Command = Command::new(
    "psetex",
    4,
    psetex,
    Docs::new(
        "string",
        "2.6.0",
        "Set the value and expiration in milliseconds of a key",
    )
    .complexity("O(1)")
    .syntax("key milliseconds value"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::STRING)
.keys(&[KeySpec::index(1, &[KeyFlags::OW, KeyFlags::UPDATE])]);

fn psetex(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    set_expiring(cx, args, Unit::Millis)
}

fn set_expiring(cx: &mut Context<'_>, mut args: Args<'_>, unit: Unit) -> Outcome {
    let (key, lifetime, value) = (args.word()?, args.word()?, args.word()?);
    let at_ms = unit.positive_instant(lifetime, cx.now_ms, &cx.entry.full_name)?;
    cx.view
        .set_string(cx.session.db, key, value, StringForm::Auto, Ttl::At(at_ms))?;
    cx.notify(EventClasses::STRING, "set", key);
    cx.notify(EventClasses::GENERIC, "expire", key);
    set_until(cx, key, value, at_ms);
    cx.reply_ok()
}

/// The effect of setting a string that expires.
fn set_until(cx: &mut Context<'_>, key: &[u8], value: &[u8], at_ms: u64) {
    let mut digits = itoa::Buffer::new();
    let words = [b"SET", key, value, b"PXAT", digits.format(at_ms).as_bytes()];
    cx.effects.instead(cx.session.db, &words);
}

/// GETSET key value -- writes a string and replies the one before.
pub(super) const GETSET: Command = Command::new(
    "getset",
    3,
    getset,
    Docs::new(
        "string",
        "1.0.0",
        "Set the string value of a key and return its old value",
    )
    .complexity("O(1)")
    .syntax("key value")
    .deprecated("6.2.0", "`SET` with the `!GET` argument"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)])
.replies_first();

fn getset(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, value) = (args.word()?, args.word()?);
    cx.reply_string(key)?;
    cx.view
        .set_string(cx.session.db, key, value, StringForm::Auto, Ttl::Clear)?;
    cx.effects.instead(cx.session.db, &[b"SET", key, value]);
    cx.notify(EventClasses::STRING, "set", key);
    Ok(Flow::Done)
}

/// GETDEL key -- the string at `key`, which is removed.
pub(super) const GETDEL: Command = Command::new(
    "getdel",
    2,
    getdel,
    Docs::new(
        "string",
        "6.2.0",
        "Get the value of a key and delete the key",
    )
    .complexity("O(1)")
    .syntax("key"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE],
)])
.replies_first();

fn getdel(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    if cx.reply_string(key)? {
        cx.view.remove(cx.session.db, key)?;
        cx.notify(EventClasses::GENERIC, "del", key);
        let is_lazy = cx.config.memory.lazyfree_lazy_user_del;
        cx.effects.removal_instead(cx.session.db, key, is_lazy);
    }
    Ok(Flow::Done)
}

/// GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds
/// | PERSIST] -- the string at `key`, whose expiry is changed.
pub(super) const GETEX: Command = Command::new(
    "getex",
    -2,
    getex,
    Docs::new(
        "string",
        "6.2.0",
        "Get the value of a key and optionally set its expiration",
    )
    .complexity("O(1)")
    .syntax("key expiration=[EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::STRING)
.keys(&[
    KeySpec::index(1, &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE])
        .notes("RW and UPDATE because it changes the TTL"),
]).replies_first();

fn getex(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let lifetime = parse_getex(args)?;
    if cx.reply_string(key)? {
        change_lifetime(cx, key, lifetime)?;
    }
    Ok(Flow::Done)
}

/// An instant that has passed removes the key at once, and only if it was given as an instant: a
/// period is positive.
fn change_lifetime(
    cx: &mut Context<'_>,
    key: &[u8],
    lifetime: Lifetime<'_>,
) -> Result<(), CommandError> {
    let db = cx.db();
    match lifetime.instant(cx)? {
        Some(at_ms) if at_ms <= cx.now_ms => {
            cx.view.remove(db, key)?;
            cx.notify(EventClasses::GENERIC, "del", key);
            let is_lazy = cx.config.memory.lazyfree_lazy_expire;
            cx.effects.removal_instead(db, key, is_lazy);
        }
        Some(at_ms) => {
            cx.view.set_ttl(db, key, Some(at_ms))?;
            cx.notify(EventClasses::GENERIC, "expire", key);
            let mut digits = itoa::Buffer::new();
            let words = [b"PEXPIREAT", key, digits.format(at_ms).as_bytes()];
            cx.effects.instead(db, &words);
        }
        None if lifetime == Lifetime::Forever
            && cx
                .view
                .find(db, key)
                .is_some_and(|entry| entry.ttl_at().is_some()) =>
        {
            cx.view.set_ttl(db, key, None)?;
            cx.notify(EventClasses::GENERIC, "persist", key);
            cx.effects.instead(db, &[b"PERSIST", key]);
        }
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_reads_its_key_only_with_get() {
        let flags = |argv: &[&[u8]]| set_keys(argv).first().map(|key| key.flags);
        let reads = KeyFlags::all(&[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE]);
        let writes = KeyFlags::all(&[KeyFlags::OW, KeyFlags::UPDATE]);
        assert_eq!(flags(&[b"SET", b"get", b"get"]), Some(writes));
        assert_eq!(flags(&[b"SET", b"k", b"v", b"NX", b"get"]), Some(reads));
        assert_eq!(flags(&[b"SET", b"k", b"v", b"ifDeq", b"1"]), Some(reads));
        assert_eq!(flags(&[b"SET"]), None);
    }
}
