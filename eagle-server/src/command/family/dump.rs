//! Serialized values: DUMP, RESTORE, RESTORE-ASKING.

use crate::command::args::Args;
use crate::command::clock::{CLOCK_MASK, lfu_clock, lru_clock};
use crate::command::context::{Context, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Family, Flags, KeyFlags, KeySpec, Scope};
use crate::config::special::EventClasses;
use crate::persist::rdb::dump::{self, DumpError};
use crate::persist::rdb::{Compression, keyspace};
use eagle_core::store::{Entry, Ttl, View};
use smallvec::SmallVec;

pub const FAMILY: Family = Family {
    name: "dump",
    commands: &[&DUMP, &RESTORE, &RESTORE_ASKING],
};

/// DUMP key -- the value in a form that RESTORE takes, on this or another server.
const DUMP: Command = Command::new(
    "dump",
    2,
    dump_command,
    Docs::new(
        "generic",
        "2.6.0",
        "Return a serialized version of the value stored at the specified key.",
    )
    .complexity(
        "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of Redis objects \
         composing the value and M their average size. For small string values the time complexity is thus \
         O(1)+O(1*M) where M is small, so simply O(1).",
    )
    .syntax("key"),
)
.flags(&[Flags::READONLY])
.family(Categories::KEYSPACE)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.scope(Scope::Keys)
.tips(&["nondeterministic_output"]);

fn dump_command(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let entry = cx.view.find(cx.db(), key);
    cx.note_lookup(entry.is_some());
    let Some(entry) = entry else {
        return cx.reply_null();
    };
    cx.view.touch(cx.db(), key, cx.clock_after_use(&entry));
    let payload = payload(&cx.view, cx.db(), &entry, cx.compression())?;
    cx.reply_bulk(&payload)
}

/// The value of `entry`, a key of `db` whose slot is locked, as DUMP serializes it.
pub(super) fn payload(
    view: &View<'_>,
    db: u8,
    entry: &Entry<'_>,
    compression: Compression,
) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    keyspace::write_value(&mut bytes, view, db, entry, compression)?;
    Ok(dump::seal(bytes))
}

impl Context<'_> {
    /// Whether serialized strings are compressed.
    pub(super) fn compression(&self) -> Compression {
        if self.config.persistence.rdbcompression {
            Compression::Lzf
        } else {
            Compression::Off
        }
    }
}

const RESTORE_COMPLEXITY: &str = "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the number of \
     Redis objects composing the value and M their average size. For small string values the time complexity is thus \
     O(1)+O(1*M) where M is small, so simply O(1). However for sorted set values the complexity is O(N*M*log(N)) \
     because inserting values into sorted sets is O(log(N)).";
const RESTORE_SYNTAX: &str = "key ttl serialized-value [REPLACE]{3.0.0} [ABSTTL]{5.0.0} [IDLETIME seconds]{5.0.0} [FREQ \
             frequency]{5.0.0}";
const RESTORE_HISTORY: &[(&str, &str)] = &[
    ("3.0.0", "Added the `REPLACE` modifier."),
    ("5.0.0", "Added the `ABSTTL` modifier."),
    ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
];

/// RESTORE key ttl serialized-value [options] -- creates a key from what DUMP gave.
const RESTORE: Command = Command::new(
    "restore",
    -4,
    restore,
    Docs::new(
        "generic",
        "2.6.0",
        "Create a key using the provided serialized value, previously obtained using DUMP.",
    )
    .complexity(RESTORE_COMPLEXITY)
    .syntax(RESTORE_SYNTAX)
    .history(RESTORE_HISTORY),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::KEYSPACE.with(Categories::DANGEROUS))
.keys(&[KeySpec::index(1, &[KeyFlags::OW, KeyFlags::UPDATE])]);

/// RESTORE-ASKING -- RESTORE with ASKING before it: what MIGRATE sends to a node importing the slot.
const RESTORE_ASKING: Command = Command::new(
    "restore-asking",
    -4,
    restore,
    Docs::new(
        "server",
        "3.0.0",
        "An internal command for migrating keys in a cluster",
    )
    .complexity(RESTORE_COMPLEXITY)
    .internal()
    .syntax(RESTORE_SYNTAX)
    .history(RESTORE_HISTORY),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::ASKING])
.family(Categories::KEYSPACE.with(Categories::DANGEROUS))
.keys(&[KeySpec::index(1, &[KeyFlags::OW, KeyFlags::UPDATE])]);

fn restore(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, ttl, payload) = (args.word()?, args.word()?, args.word()?);
    let options = RestoreOptions::parse(&mut args)?;
    let db = cx.db();
    if !options.replace && cx.view.find(db, key).is_some() {
        return Err(CommandError::new("BUSYKEY Target key name already exists."));
    }
    let ttl = crate::command::args::parse_integer(ttl)?;
    let ttl =
        u64::try_from(ttl).map_err(|_| CommandError::new("ERR Invalid TTL value, must be >= 0"))?;
    let value = dump::read(payload).map_err(|error| match error {
        DumpError::VersionOrChecksum => {
            CommandError::new("ERR DUMP payload version or checksum are wrong")
        }
        DumpError::Value(_) => CommandError::new("ERR Bad data format"),
    })?;
    let expiry = match ttl {
        0 => Ttl::Clear,
        at_ms if options.absolute => Ttl::At(at_ms),
        left_ms => Ttl::At(cx.now_ms.saturating_add(left_ms)),
    };
    if matches!(expiry, Ttl::At(at_ms) if at_ms <= cx.now_ms) {
        // The value would be gone at once; only the one it replaces goes.
        if cx.view.remove(db, key)? {
            cx.notify(EventClasses::GENERIC, "del", key);
            cx.effects.removal_instead(db, key, false);
        }
        return cx.reply_ok();
    }
    let replaces = cx.view.find(db, key).is_some();
    keyspace::store_value(&mut cx.view, db, key, &value, expiry)?;
    if replaces {
        // To Redis the key was removed and made again.
        cx.notify(EventClasses::NEW_KEY, "new", key);
    }
    cx.notify(EventClasses::GENERIC, "restore", key);
    if let (Ttl::At(at_ms), false) = (expiry, options.absolute) {
        let mut digits = itoa::Buffer::new();
        let mut words: SmallVec<[&[u8]; 8]> = SmallVec::from_slice(args.argv());
        words[2] = digits.format(at_ms).as_bytes();
        words.push(b"ABSTTL");
        cx.effects.instead(db, &words);
    }
    if let Some(clock) = options.clock(cx) {
        cx.view.touch(db, key, clock);
    }
    cx.reply_ok()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct RestoreOptions {
    replace: bool,
    /// The TTL is a Unix time.
    absolute: bool,
    /// Seconds since the key was last used.
    idle: Option<u64>,
    /// Logarithmic access counter.
    frequency: Option<u8>,
}

impl RestoreOptions {
    fn parse(args: &mut Args<'_>) -> Result<RestoreOptions, CommandError> {
        let mut options = RestoreOptions::default();
        while !args.is_empty() {
            let has_value = args.len() > 1;
            if args.accept("replace") {
                options.replace = true;
            } else if args.accept("absttl") {
                options.absolute = true;
            } else if has_value && options.frequency.is_none() && args.accept("idletime") {
                let idle = u64::try_from(args.integer()?);
                options.idle =
                    Some(idle.map_err(|_| {
                        CommandError::new("ERR Invalid IDLETIME value, must be >= 0")
                    })?);
            } else if has_value && options.idle.is_none() && args.accept("freq") {
                let frequency = u8::try_from(args.integer()?);
                options.frequency = Some(frequency.map_err(|_| {
                    CommandError::new("ERR Invalid FREQ value, must be >= 0 and <= 255")
                })?);
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok(options)
    }

    /// The access clock that the options ask for, as far as the eviction policy keeps one.
    fn clock(&self, cx: &Context<'_>) -> Option<u32> {
        if cx.config.memory.maxmemory_policy.is_lfu() {
            return self.frequency.map(|counter| lfu_clock(cx.now_ms, counter));
        }
        let idle = self.idle?.min(u64::from(CLOCK_MASK)) as u32;
        Some(lru_clock(cx.now_ms).wrapping_sub(idle) & CLOCK_MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<RestoreOptions, CommandError> {
        let argv: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        RestoreOptions::parse(&mut Args::new(&argv, 0))
    }

    #[test]
    fn options_come_in_any_order_and_case() {
        let options = RestoreOptions {
            replace: true,
            absolute: true,
            idle: Some(10),
            frequency: None,
        };
        assert_eq!(parse(&["IdleTime", "10", "absttl", "REPLACE"]), Ok(options));
        assert_eq!(parse(&["freq", "255"]).unwrap().frequency, Some(255));
        assert_eq!(parse(&[]), Ok(RestoreOptions::default()));
    }

    #[test]
    fn idle_time_and_frequency_exclude_each_other_and_have_bounds() {
        assert_eq!(parse(&["idletime", "1", "freq", "1"]), Err(errors::SYNTAX));
        assert_eq!(parse(&["freq"]), Err(errors::SYNTAX));
        assert_eq!(parse(&["keepttl"]), Err(errors::SYNTAX));
        assert_eq!(parse(&["idletime", "x"]), Err(errors::NOT_INTEGER));
        for (words, text) in [
            (
                ["idletime", "-1"],
                "ERR Invalid IDLETIME value, must be >= 0",
            ),
            (
                ["freq", "256"],
                "ERR Invalid FREQ value, must be >= 0 and <= 255",
            ),
        ] {
            assert_eq!(parse(&words), Err(CommandError::new(text)));
        }
    }
}
