//! Expiry of keys: EXPIRE and its kin, TTL and its kin, PERSIST.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::deadline::Unit;
use crate::command::errors::CommandError;
use crate::command::spec::{Categories, Command, Docs, Family, Flags, Handler, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use smallvec::SmallVec;

pub const FAMILY: Family = Family {
    name: "expire",
    commands: &[
        &EXPIRE,
        &EXPIREAT,
        &EXPIRETIME,
        &PERSIST,
        &PEXPIRE,
        &PEXPIREAT,
        &PEXPIRETIME,
        &PTTL,
        &TTL,
    ],
};

/// What the rows of EXPIRE and its kin share.
const fn setting(name: &'static str, handler: Handler, docs: Docs) -> Command {
    let docs = docs
        .complexity("O(1)")
        .history(&[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")]);
    Command::new(name, -3, handler, docs)
        .flags(&[Flags::WRITE, Flags::FAST])
        .family(Categories::KEYSPACE)
        .keys(const { &[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])] })
}

/// What the rows share that ask for the expiry of a key.
const fn asking(name: &'static str, handler: Handler, docs: Docs) -> Command {
    Command::new(name, 2, handler, docs.complexity("O(1)").syntax("key"))
        .flags(&[Flags::READONLY, Flags::FAST])
        .family(Categories::KEYSPACE)
        .keys(const { &[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])] })
}

/// The same of the rows that count from now.
const fn asking_left(name: &'static str, handler: Handler, docs: Docs) -> Command {
    asking(
        name,
        handler,
        docs.history(&[("2.8.0", "Added the -2 reply.")]),
    )
    .tips(&["nondeterministic_output"])
}

/// EXPIRE key seconds [NX | XX | GT | LT] -- lets a key expire after so many seconds.
const EXPIRE: Command = setting(
    "expire",
    expire,
    Docs::new("generic", "1.0.0", "Set a key's time to live in seconds")
        .syntax("key seconds condition=[NX | XX | GT | LT]{7.0.0}"),
)
.replies_first();

fn expire(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire_at(cx, args, Unit::Seconds)
}

/// PEXPIRE key milliseconds [NX | XX | GT | LT] -- lets a key expire after so many milliseconds.
const PEXPIRE: Command = setting(
    "pexpire",
    pexpire,
    Docs::new(
        "generic",
        "2.6.0",
        "Set a key's time to live in milliseconds",
    )
    .syntax("key milliseconds condition=[NX | XX | GT | LT]{7.0.0}"),
)
.replies_first();

fn pexpire(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire_at(cx, args, Unit::Millis)
}

/// EXPIREAT key unix-time-seconds [NX | XX | GT | LT] -- lets a key expire at a Unix time in
/// seconds.
const EXPIREAT: Command = setting(
    "expireat",
    expireat,
    Docs::new(
        "generic",
        "1.2.0",
        "Set the expiration for a key as a UNIX timestamp",
    )
    .syntax("key unix-time-seconds condition=[NX | XX | GT | LT]{7.0.0}"),
)
.replies_first();

fn expireat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire_at(cx, args, Unit::UnixSeconds)
}

/// PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] -- lets a key expire at a Unix time
/// in milliseconds.
const PEXPIREAT: Command = setting(
    "pexpireat",
    pexpireat,
    Docs::new(
        "generic",
        "2.6.0",
        "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
    )
    .syntax("key unix-time-milliseconds condition=[NX | XX | GT | LT]{7.0.0}"),
)
.replies_first();

fn pexpireat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    expire_at(cx, args, Unit::UnixMillis)
}

fn expire_at(cx: &mut Context<'_>, mut args: Args<'_>, unit: Unit) -> Outcome {
    let (key, time) = (args.word()?, args.word()?);
    let condition = Condition::parse(args.rest())?;
    let at_ms = unit.instant(time, cx.now_ms, &cx.entry.full_name)?;
    let db = cx.db();
    let allowed = cx
        .view
        .find(db, key)
        .is_some_and(|entry| condition.allows(entry.ttl_at(), at_ms));
    if allowed {
        match u64::try_from(at_ms) {
            Ok(at_ms) if at_ms > cx.now_ms => {
                cx.view.set_ttl(db, key, Some(at_ms))?;
                if unit != Unit::UnixMillis {
                    let mut digits = itoa::Buffer::new();
                    let mut words: SmallVec<[&[u8]; 4]> = SmallVec::from_slice(args.argv());
                    words[0] = b"PEXPIREAT";
                    words[2] = digits.format(at_ms).as_bytes();
                    cx.effects.instead(db, &words);
                }
                cx.out.integer(1);
                cx.notify(EventClasses::GENERIC, "expire", key);
                return Ok(Flow::Done);
            }
            // The instant has passed: the key goes now.
            _ => {
                cx.view.remove(db, key)?;
                cx.notify(EventClasses::GENERIC, "del", key);
                let is_lazy = cx.config.memory.lazyfree_lazy_expire;
                cx.effects.removal_instead(db, key, is_lazy);
            }
        };
    }
    cx.reply_bool(allowed)
}

/// On what the present expiry must be like for the new one to replace it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Condition {
    /// There must be none.
    nx: bool,
    /// There must be one.
    xx: bool,
    /// The new one must be later; no expiry counts as the latest.
    gt: bool,
    /// The new one must be earlier.
    lt: bool,
}

impl Condition {
    fn parse(words: &[&[u8]]) -> Result<Condition, CommandError> {
        const NX_WITH_OTHERS: CommandError = CommandError::new(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        );
        const GT_WITH_LT: CommandError =
            CommandError::new("ERR GT and LT options at the same time are not compatible");
        let mut condition = Condition::default();
        for word in words {
            let flag = match word.to_ascii_lowercase().as_slice() {
                b"nx" => &mut condition.nx,
                b"xx" => &mut condition.xx,
                b"gt" => &mut condition.gt,
                b"lt" => &mut condition.lt,
                _ => {
                    return Err(CommandError::quoting(&[b"ERR Unsupported option ", word]));
                }
            };
            *flag = true;
        }
        let Condition { nx, xx, gt, lt } = condition;
        if nx && (xx || gt || lt) {
            return Err(NX_WITH_OTHERS);
        }
        if gt && lt {
            return Err(GT_WITH_LT);
        }
        Ok(condition)
    }

    /// Whether `new_ms` may replace `old_ms`.
    fn allows(self, old_ms: Option<u64>, new_ms: i64) -> bool {
        let new_ms = i128::from(new_ms);
        let old_ms = old_ms.map(i128::from);
        let refused = self.nx && old_ms.is_some()
            || self.xx && old_ms.is_none()
            || self.gt && old_ms.is_none_or(|old_ms| new_ms <= old_ms)
            || self.lt && old_ms.is_some_and(|old_ms| new_ms >= old_ms);
        !refused
    }
}

/// TTL key -- seconds a key has left, rounded; -1 if it does not expire, -2 if it does not exist.
const TTL: Command = asking_left(
    "ttl",
    ttl,
    Docs::new(
        "generic",
        "1.0.0",
        "Get the time to live for a key in seconds",
    ),
);

fn ttl(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms;
    reply_expiry(cx, args, |at_ms| rounded_s(at_ms.saturating_sub(now_ms)))
}

/// PTTL key -- milliseconds a key has left; -1 if it does not expire, -2 if it does not exist.
const PTTL: Command = asking_left(
    "pttl",
    pttl,
    Docs::new(
        "generic",
        "2.6.0",
        "Get the time to live for a key in milliseconds",
    ),
);

fn pttl(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let now_ms = cx.now_ms;
    reply_expiry(cx, args, |at_ms| at_ms.saturating_sub(now_ms))
}

/// EXPIRETIME key -- Unix time in seconds, rounded, at which a key expires; -1 and -2 as TTL.
const EXPIRETIME: Command = asking(
    "expiretime",
    expiretime,
    Docs::new(
        "generic",
        "7.0.0",
        "Get the expiration Unix timestamp for a key",
    ),
);

fn expiretime(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_expiry(cx, args, rounded_s)
}

/// PEXPIRETIME key -- Unix time in milliseconds at which a key expires; -1 and -2 as TTL.
const PEXPIRETIME: Command = asking(
    "pexpiretime",
    pexpiretime,
    Docs::new(
        "generic",
        "7.0.0",
        "Get the expiration Unix timestamp for a key in milliseconds",
    ),
);

fn pexpiretime(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    reply_expiry(cx, args, |at_ms| at_ms)
}

fn reply_expiry(cx: &mut Context<'_>, mut args: Args<'_>, show: impl Fn(u64) -> u64) -> Outcome {
    const NO_KEY: i64 = -2;
    const NO_EXPIRY: i64 = -1;
    let entry = cx.view.find(cx.db(), args.word()?);
    cx.note_lookup(entry.is_some());
    let shown = match entry.map(|entry| entry.ttl_at()) {
        None => NO_KEY,
        Some(None) => NO_EXPIRY,
        Some(Some(at_ms)) => i64::try_from(show(at_ms)).unwrap_or(i64::MAX),
    };
    cx.reply_integer(shown)
}

/// Whole seconds nearest to `ms`.
fn rounded_s(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

/// PERSIST key -- takes the expiry of a key away.
const PERSIST: Command = Command::new(
    "persist",
    2,
    persist,
    Docs::new("generic", "2.2.0", "Remove the expiration from a key")
        .complexity("O(1)")
        .syntax("key"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::KEYSPACE)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])]);

fn persist(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    let expires = cx
        .view
        .find(db, key)
        .is_some_and(|entry| entry.ttl_at().is_some());
    if expires {
        cx.view.set_ttl(db, key, None)?;
        cx.notify(EventClasses::GENERIC, "persist", key);
    }
    cx.reply_bool(expires)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Condition, CommandError> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        Condition::parse(&words)
    }

    #[test]
    fn conditions_that_contradict_one_another_are_refused() {
        for line in ["nx xx", "NX GT", "LT NX"] {
            let error = parse(line).unwrap_err();
            assert_eq!(
                error.text(),
                "ERR NX and XX, GT or LT options at the same time are not compatible"
            );
        }
        let error = parse("gt lt").unwrap_err();
        assert_eq!(
            error.text(),
            "ERR GT and LT options at the same time are not compatible"
        );
        let unknown = Condition::parse(&[b"nx", b"A\xff\0B"]).unwrap_err();
        assert_eq!(unknown.as_bytes(), b"ERR Unsupported option A\xff");
        assert_eq!(
            parse("xx GT gt"),
            Ok(Condition {
                xx: true,
                gt: true,
                ..Condition::default()
            })
        );
    }

    #[test]
    fn no_expiry_counts_as_the_latest() {
        let allows = |line: &str, old_ms, new_ms| parse(line).unwrap().allows(old_ms, new_ms);
        assert!(!allows("gt", None, i64::MAX));
        assert!(allows("lt", None, i64::MAX));
        assert!(!allows("xx lt", None, 5));
        assert!(!allows("gt", Some(5), 5) && allows("gt", Some(5), 6));
        assert!(!allows("lt", Some(5), 5) && allows("lt", Some(5), -6));
        assert!(allows("nx", None, 5) && !allows("nx", Some(4), 5));
        assert!(allows("", Some(4), 5) && allows("", None, 5));
    }

    #[test]
    fn seconds_are_rounded_to_nearest() {
        assert_eq!([0, 499, 500, 1499, 1500].map(rounded_s), [0, 0, 1, 1, 2]);
    }
}
