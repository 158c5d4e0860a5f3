//! Serialized values: DUMP, RESTORE, RESTORE-ASKING.

use crate::command::args::Args;
use crate::command::bulk::{self, Author, Changed};
use crate::command::clock::{CLOCK_MASK, lfu_clock, lru_clock};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::event::Notice;
use crate::command::spec::{Categories, Command, Docs, Family, Flags, KeyFlags, KeySpec, Scope};
use crate::config::special::EventClasses;
use crate::node::{Node, unix_ms};
use crate::persist::rdb::dump::{self, DumpError};
use crate::persist::rdb::{Compression, DecodeError, Value, keyspace};
use crate::propagation::Stream;
use bytes::Bytes;
use eagle_core::resp::Writer;
use eagle_core::store::{Access, Entry, Ttl, View, Worker, key_slot};
use smallvec::SmallVec;
use std::sync::atomic::Ordering;

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
    if cx.may_block && cx.view.is_bulky(cx.db(), key) {
        return Ok(dump_later(cx, key.to_vec()));
    }
    let payload = payload(&cx.view, cx.db(), &entry, cx.compression())?;
    cx.out.bulk_owned(payload);
    Ok(Flow::Done)
}

/// DUMP of a value that takes long.
fn dump_later(cx: &Context<'_>, key: Vec<u8>) -> Flow {
    let (node, db, compression) = (cx.thread.node.clone(), cx.db(), cx.compression());
    let protocol = cx.out.protocol();
    Flow::Later(Box::pin(async move {
        let dumped = bulk::run(&node, move |node, worker| {
            let (guard, slot) = (node.keyspace.pin(), [key_slot(&key)]);
            let access = Access::Slots(&slot);
            let view = node.keyspace.view(worker, &guard, access, unix_ms());
            let dumped = view.find(db, &key);
            let dumped = dumped.map(|entry| payload(&view, db, &entry, compression));
            drop(view);
            let mut out = Writer::new(protocol);
            match dumped.transpose() {
                Ok(Some(payload)) => return bulk::reply(payload),
                // The key was removed, or moved to another node, since it was found.
                Ok(None) if node.cluster.is_some() => out.error(bulk::SLOT_MOVED.as_bytes()),
                Ok(None) => out.null(),
                Err(error) => out.error(error.as_bytes()),
            }
            out.take().into()
        });
        dumped.await.unwrap_or_default()
    }))
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
        return Err(BUSY_KEY);
    }
    let ttl = crate::command::args::parse_integer(ttl)?;
    let ttl =
        u64::try_from(ttl).map_err(|_| CommandError::new("ERR Invalid TTL value, must be >= 0"))?;
    if cx.may_block && payload.len() >= bulk::PAYLOAD_BYTES_MIN {
        return Ok(restore_later(cx, args.argv(), options, ttl));
    }
    let value = read(cx.node, payload)?;
    let expiry = options.expiry(ttl, cx.now_ms);
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
        cx.view.note_readied(db, key);
        cx.notify(EventClasses::NEW_KEY, "new", key);
    }
    cx.notify(EventClasses::GENERIC, "restore", key);
    if let (Ttl::At(at_ms), false) = (expiry, options.absolute) {
        let mut digits = itoa::Buffer::new();
        let words = absolute_words(args.argv(), digits.format(at_ms));
        cx.effects.instead(db, &words);
    }
    if let Some(clock) = options.clock(cx) {
        cx.view.touch(db, key, clock);
    }
    cx.reply_ok()
}

const BUSY_KEY: CommandError = CommandError::new("BUSYKEY Target key name already exists.");

/// The value in a payload. What is wrong with it only the log tells.
fn read<'p>(node: &Node, payload: &'p [u8]) -> Result<Value<'p>, CommandError> {
    let value = if node.forged_payloads.load(Ordering::Relaxed) {
        dump::read_unchecked(payload)
    } else {
        dump::read(payload)
    };
    value.map_err(|error| match error {
        DumpError::VersionOrChecksum => {
            CommandError::new("ERR DUMP payload version or checksum are wrong")
        }
        DumpError::Value(error) => {
            let form = dump::form_name(payload);
            match error {
                DecodeError::Corrupt(_) => tracing::warn!("RESTORE: {form} {error}"),
                _ => tracing::warn!("RESTORE: {form} integrity check failed: {error}"),
            }
            CommandError::new("ERR Bad data format")
        }
    })
}

/// The command with the time as a Unix time, for those who run it later.
fn absolute_words<'w>(argv: &[&'w [u8]], at_ms: &'w str) -> SmallVec<[&'w [u8]; 8]> {
    let mut words: SmallVec<[&[u8]; 8]> = SmallVec::from_slice(argv);
    words[2] = at_ms.as_bytes();
    words.push(b"ABSTTL");
    words
}

/// RESTORE of a value that takes long: it is decoded and built on another thread.
fn restore_later(cx: &mut Context<'_>, argv: &[&[u8]], options: RestoreOptions, ttl: u64) -> Flow {
    let thread = cx.thread.clone();
    let db = cx.db();
    let clock = options.clock(cx);
    let asking = cx.session.asking || cx.entry.has(Flags::ASKING);
    let author = Author::of(cx);
    let words = cx.session.handover.take(argv);
    Flow::Later(Box::pin(async move {
        let Some(words) = words.arrive().await else {
            return Vec::new();
        };
        let restoration = Restoration {
            db,
            words,
            ttl,
            clock,
            options,
            asking,
            author,
        };
        // The words, which are long, are given up there, too.
        let restored = bulk::run(&thread.node, move |node, worker| {
            restoration.run(node, worker)
        });
        bulk::answer(&thread, restored.await)
    }))
}

/// A RESTORE on another thread.
struct Restoration {
    db: u8,
    words: Vec<Bytes>,
    ttl: u64,
    options: RestoreOptions,
    clock: Option<u32>,
    /// The key may be put into a slot that is being imported.
    asking: bool,
    author: Author,
}

impl Restoration {
    fn run(&self, node: &Node, worker: &mut Worker) -> Changed {
        let value = match read(node, &self.words[3]) {
            Ok(value) => value,
            Err(error) => return error.into(),
        };
        let slots = [key_slot(&self.words[1])];
        bulk::change(
            node,
            worker,
            &slots,
            &self.author,
            |view, stream, notices| {
                self.store(node, view, stream, notices, &value)?;
                Ok(b"+OK\r\n")
            },
        )
    }

    /// What the command does at last; what it was refused for at its beginning is looked at again.
    fn store(
        &self,
        node: &Node,
        view: &mut View<'_>,
        stream: &mut Stream,
        notices: &mut Vec<Notice>,
        value: &Value<'_>,
    ) -> Result<(), CommandError> {
        let (db, key, now_ms) = (self.db, &self.words[1][..], unix_ms());
        bulk::check_slot(node, key_slot(key), self.asking)?;
        let replaces = view.find(db, key).is_some();
        if replaces && !self.options.replace {
            return Err(BUSY_KEY);
        }
        let config = node.config.load();
        let wanted = config.monitoring.notify_keyspace_events;
        let mut notify = |class, name| {
            if wanted.publish(class) {
                let key = key.into();
                notices.push(Notice::Key {
                    db,
                    name,
                    key,
                    wanted,
                });
            }
        };
        let expiry = self.options.expiry(self.ttl, now_ms);
        let is_past = matches!(expiry, Ttl::At(at_ms) if at_ms <= now_ms);
        if is_past {
            let removed = view.remove(db, key)?;
            stream.push_expired(view, config.memory.lazyfree_lazy_expire);
            if removed {
                notify(EventClasses::GENERIC, "del");
                stream.push_removal(db, key, false);
            }
            return Ok(());
        }
        keyspace::store_value(view, db, key, value, expiry)?;
        if replaces {
            // To Redis the key was removed and made again.
            view.note_readied(db, key);
        }
        stream.push_expired(view, config.memory.lazyfree_lazy_expire);
        if !view.expired().is_empty() {
            notify(EventClasses::EXPIRED, "expired");
        }
        notify(EventClasses::NEW_KEY, "new");
        notify(EventClasses::GENERIC, "restore");
        let argv: SmallVec<[&[u8]; 8]> = self.words.iter().map(AsRef::as_ref).collect();
        match expiry {
            Ttl::At(at_ms) if !self.options.absolute => {
                let mut digits = itoa::Buffer::new();
                stream.push(db, &absolute_words(&argv, digits.format(at_ms)));
            }
            _ => stream.push(db, &argv),
        }
        if let Some(clock) = self.clock {
            view.touch(db, key, clock);
        }
        Ok(())
    }
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

    /// When the key expires, `ttl` being what the command says; 0 is never. As in Redis a time too far away to be told has
    /// passed long ago.
    fn expiry(&self, ttl: u64, now_ms: u64) -> Ttl {
        match ttl {
            0 => Ttl::Clear,
            at_ms if self.absolute => Ttl::At(at_ms),
            left_ms => {
                let at_ms = (now_ms as i64).checked_add_unsigned(left_ms);
                Ttl::At(at_ms.map_or(0, |at_ms| at_ms as u64))
            }
        }
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
