//! Commands on keys of any type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE, TOUCH, OBJECT and kin.

use super::long_value::{self, Deed};
use crate::command::args::Args;
use crate::command::clock::{CLOCK_MASK, lfu_decayed, lru_clock};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::forwarding::{Forwarding, Merge};
use crate::command::spec::{Categories, Command, Docs, Family, Flags, KeyFlags, KeySpec};
use crate::config::EvictionPolicy;
use crate::config::special::EventClasses;
use eagle_core::store::{Kind, Text};

pub const FAMILY: Family = Family {
    name: "generic",
    commands: &[
        &DEL, &UNLINK, &EXISTS, &TYPE, &TOUCH, &RENAME, &RENAMENX, &COPY, &MOVE, &RANDOMKEY,
        &OBJECT,
    ],
};

const EVERY_SHARD_SUM: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

/// DEL key [key ...] -- removes keys; how many there were.
const DEL: Command = Command::new(
    "del",
    -2,
    del,
    Docs::new("generic", "1.0.0", "Delete a key")
        .complexity(
            "O(N) where N is the number of keys that will be removed. When a key to remove holds a value other than a \
             string, the individual complexity for this key is O(M) where M is the number of elements in the list, \
             set, sorted set or hash. Removing a single key that holds a string value is O(1).",
        )
        .syntax("key [key ...]"),
)
.flags(&[Flags::WRITE])
.family(Categories::KEYSPACE)
.keys(&[KeySpec::range(1, -1, 1, &[KeyFlags::RM, KeyFlags::DELETE])])
.tips(EVERY_SHARD_SUM)
.forwarded(Forwarding::Split { words: 1, merge: Merge::Sum });

/// UNLINK key [key ...] -- as DEL; large values are freed in the background by both.
const UNLINK: Command = Command::new(
    "unlink",
    -2,
    del,
    Docs::new(
        "generic",
        "4.0.0",
        "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking.",
    )
    .complexity(
        "O(1) for each key removed regardless of its size. Then the command does O(N) work in a different thread in \
         order to reclaim memory, where N is the number of allocations the deleted objects where composed of.",
    )
    .syntax("key [key ...]"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::KEYSPACE)
.keys(&[KeySpec::range(1, -1, 1, &[KeyFlags::RM, KeyFlags::DELETE])])
.tips(EVERY_SHARD_SUM)
.forwarded(Forwarding::Split { words: 1, merge: Merge::Sum });

fn del(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let db = cx.db();
    let (mut removed, mut freed_lazily) = (0, 0);
    let is_lazy = cx.entry.command.name == "unlink" || cx.config.memory.lazyfree_lazy_user_del;
    for key in args.rest() {
        let counts = is_lazy && cx.is_freed_lazily(key);
        if cx.view.remove(db, key)? {
            freed_lazily += u64::from(counts);
            cx.notify(EventClasses::GENERIC, "del", key);
            removed += 1;
        }
    }
    if freed_lazily > 0 {
        cx.note_lazyfreed(freed_lazily);
    }
    cx.reply_integer(removed)
}

/// EXISTS key [key ...] -- how many of the keys exist, repetitions counted.
const EXISTS: Command = Command::new(
    "exists",
    -2,
    exists,
    Docs::new("generic", "1.0.0", "Determine if a key exists")
        .complexity("O(N) where N is the number of keys to check.")
        .syntax("key [key ...]")
        .history(&[("3.0.3", "Accepts multiple `key` arguments.")]),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::KEYSPACE)
.keys(&[KeySpec::range(1, -1, 1, &[KeyFlags::RO])])
.tips(EVERY_SHARD_SUM)
.forwarded(Forwarding::Split {
    words: 1,
    merge: Merge::Sum,
});

fn exists(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut found = 0;
    for key in args.rest() {
        let exists = cx.view.find(cx.db(), key).is_some();
        cx.note_lookup(exists);
        found += i64::from(exists);
    }
    cx.reply_integer(found)
}

/// TOUCH key [key ...] -- as EXISTS, and the keys count as just used.
const TOUCH: Command = Command::new(
    "touch",
    -2,
    touch,
    Docs::new(
        "generic",
        "3.2.1",
        "Alters the last access time of a key(s). Returns the number of existing keys specified.",
    )
    .complexity("O(N) where N is the number of keys that will be touched.")
    .syntax("key [key ...]"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::KEYSPACE)
.keys(&[KeySpec::range(1, -1, 1, &[KeyFlags::RO])])
.tips(EVERY_SHARD_SUM)
.forwarded(Forwarding::Split {
    words: 1,
    merge: Merge::Sum,
});

fn touch(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut found = 0;
    for key in args.rest() {
        let entry = cx.view.find(cx.db(), key);
        cx.note_lookup(entry.is_some());
        if let Some(entry) = entry {
            found += 1;
            cx.view.touch(cx.db(), key, cx.clock_after_use(&entry));
        }
    }
    cx.reply_integer(found)
}

/// TYPE key -- the type of the value, or `none`.
const TYPE: Command = Command::new(
    "type",
    2,
    type_of,
    Docs::new("generic", "1.0.0", "Determine the type stored at key")
        .complexity("O(1)")
        .syntax("key"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::KEYSPACE)
.keys(&[KeySpec::index(1, &[KeyFlags::RO])]);

fn type_of(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let entry = cx.view.find(cx.db(), args.word()?);
    cx.note_lookup(entry.is_some());
    cx.out
        .simple(entry.map_or("none", |entry| kind_name(entry.kind())));
    Ok(Flow::Done)
}

/// The word TYPE answers for a kind of value.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::Hash => "hash",
        Kind::List => "list",
        Kind::Set => "set",
        Kind::Zset => "zset",
        Kind::Stream => "stream",
    }
}

/// RENAME key newkey -- moves a value, replacing what the new key held.
const RENAME: Command = Command::new(
    "rename",
    3,
    rename,
    Docs::new("generic", "1.0.0", "Rename a key")
        .complexity("O(1)")
        .syntax("key newkey"),
)
.flags(&[Flags::WRITE])
.family(Categories::KEYSPACE)
.keys(&[
    KeySpec::index(1, &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE]),
    KeySpec::index(2, &[KeyFlags::OW, KeyFlags::UPDATE]),
]);

fn rename(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (from, to, db) = (args.word()?, args.word()?, cx.db());
    let Some(entry) = cx.view.find(db, from) else {
        return Err(errors::NO_SUCH_KEY);
    };
    if from != to {
        if cx.may_block && long_value::is_long_to_rename(&entry) {
            let way = [(db, from), (db, to)];
            return Ok(long_value::later(cx, args.argv(), Deed::Rename, way));
        }
        let replaces = cx.view.find(db, to).is_some();
        cx.view.rename(db, from, db, to)?;
        if replaces {
            // To Redis the key was removed and made again.
            cx.notify(EventClasses::NEW_KEY, "new", to);
        }
        cx.notify(EventClasses::GENERIC, "rename_from", from);
        cx.notify(EventClasses::GENERIC, "rename_to", to);
    }
    cx.reply_ok()
}

/// RENAMENX key newkey -- moves a value unless the new key exists.
const RENAMENX: Command = Command::new(
    "renamenx",
    3,
    renamenx,
    Docs::new(
        "generic",
        "1.0.0",
        "Rename a key, only if the new key does not exist",
    )
    .complexity("O(1)")
    .syntax("key newkey")
    .history(&[(
        "3.2.0",
        "The command no longer returns an error when source and destination names are the same.",
    )]),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::KEYSPACE)
.keys(&[
    KeySpec::index(1, &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE]),
    KeySpec::index(2, &[KeyFlags::OW, KeyFlags::INSERT]),
]);

fn renamenx(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (from, to, db) = (args.word()?, args.word()?, cx.db());
    let Some(entry) = cx.view.find(db, from) else {
        return Err(errors::NO_SUCH_KEY);
    };
    if cx.view.find(db, to).is_some() {
        return cx.reply_integer(0);
    }
    if cx.may_block && long_value::is_long_to_rename(&entry) {
        let way = [(db, from), (db, to)];
        return Ok(long_value::later(cx, args.argv(), Deed::RenameNew, way));
    }
    cx.view.rename(db, from, db, to)?;
    cx.notify(EventClasses::GENERIC, "rename_from", from);
    cx.notify(EventClasses::GENERIC, "rename_to", to);
    cx.reply_integer(1)
}

/// COPY source destination [DB index] [REPLACE] -- duplicates a value and its expiry.
const COPY: Command = Command::new(
    "copy",
    -3,
    copy,
    Docs::new("generic", "6.2.0", "Copy a key")
        .complexity("O(N) worst case for collections, where N is the number of nested items. O(1) for string values.")
        .syntax("source destination [DB destination-db] [REPLACE]"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::KEYSPACE)
.keys(&[
    KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS]),
    KeySpec::index(2, &[KeyFlags::OW, KeyFlags::UPDATE]),
]);

fn copy(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (from, to, from_db) = (args.word()?, args.word()?, cx.db());
    let (mut to_db, mut replace) = (from_db, false);
    while !args.is_empty() {
        if args.accept("REPLACE") {
            replace = true;
        } else if args.len() >= 2 && args.accept("DB") {
            to_db = cx.parse_db(args.integer()?)?;
        } else {
            return Err(errors::SYNTAX);
        }
    }
    if cx.has_one_database() && (from_db != 0 || to_db != 0) {
        return Err(CommandError::new(
            "ERR Copying to another database is not allowed in cluster mode",
        ));
    }
    if from_db == to_db && from == to {
        return Err(errors::SAME_OBJECT);
    }
    let replaces = cx.view.find(to_db, to).is_some();
    let entry = cx.view.find(from_db, from);
    let Some(entry) = entry.filter(|_| replace || !replaces) else {
        return cx.reply_integer(0);
    };
    if cx.may_block && long_value::is_long_to_copy(cx, from, &entry) {
        let (deed, way) = (Deed::Copy { replace }, [(from_db, from), (to_db, to)]);
        return Ok(long_value::later(cx, args.argv(), deed, way));
    }
    cx.view.copy(from_db, from, to_db, to)?;
    if replaces {
        // To Redis the key was removed and made again.
        cx.notify_in(to_db, EventClasses::NEW_KEY, "new", to);
    }
    cx.notify_in(to_db, EventClasses::GENERIC, "copy_to", to);
    cx.reply_integer(1)
}

/// MOVE key db -- moves a key to another database, unless it exists there.
const MOVE: Command = Command::new(
    "move",
    3,
    move_key,
    Docs::new("generic", "1.0.0", "Move a key to another database")
        .complexity("O(1)")
        .syntax("key db"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::KEYSPACE)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE],
)]);

fn move_key(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    if cx.has_one_database() {
        return Err(CommandError::new("ERR MOVE is not allowed in cluster mode"));
    }
    let key = args.word()?;
    let (from_db, to_db) = (cx.db(), cx.parse_db(args.integer()?)?);
    if from_db == to_db {
        return Err(errors::SAME_OBJECT);
    }
    let entry = cx.view.find(from_db, key);
    let Some(entry) = entry.filter(|_| cx.view.find(to_db, key).is_none()) else {
        return cx.reply_integer(0);
    };
    if cx.may_block && long_value::is_long_to_rename(&entry) {
        let way = [(from_db, key), (to_db, key)];
        return Ok(long_value::later(cx, args.argv(), Deed::Move, way));
    }
    cx.view.rename(from_db, key, to_db, key)?;
    cx.notify(EventClasses::GENERIC, "move_from", key);
    cx.notify_in(to_db, EventClasses::GENERIC, "move_to", key);
    cx.reply_integer(1)
}

/// RANDOMKEY -- a key drawn uniformly, or null when there is none.
const RANDOMKEY: Command = Command::new(
    "randomkey",
    1,
    randomkey,
    Docs::new("generic", "1.0.0", "Return a random key from the keyspace").complexity("O(1)"),
)
.flags(&[Flags::READONLY])
.family(Categories::KEYSPACE)
.tips(&["request_policy:all_shards", "nondeterministic_output"]);

fn randomkey(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    match cx.view.random_key(cx.db(), &mut rand::random::<u64>) {
        Some(entry) => cx.reply_bulk(entry.key()),
        None => cx.reply_null(),
    }
}

/// OBJECT -- how a value is stored and when it was used.
const OBJECT: Command = Command::new(
    "object",
    -2,
    object_help,
    Docs::new(
        "generic",
        "2.2.3",
        "A container for object introspection commands",
    )
    .complexity("Depends on subcommand."),
)
.subcommands(&[
    &OBJECT_ENCODING,
    &OBJECT_FREQ,
    &OBJECT_HELP,
    &OBJECT_IDLETIME,
    &OBJECT_REFCOUNT,
]);

const OBJECT_KEY: &[KeySpec] = &[KeySpec::index(2, &[KeyFlags::RO])];

const fn object(name: &'static str, handler: crate::command::spec::Handler, docs: Docs) -> Command {
    Command::new(name, 3, handler, docs.complexity("O(1)").syntax("key"))
        .flags(&[Flags::READONLY])
        .family(Categories::KEYSPACE)
        .keys(OBJECT_KEY)
        .tips(&["nondeterministic_output"])
}

const OBJECT_HELP: Command = Command::new(
    "help",
    2,
    object_help,
    Docs::new(
        "generic",
        "6.2.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE])
.family(Categories::KEYSPACE);

fn object_help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
    ])
}

/// OBJECT ENCODING key -- the internal representation of the value.
const OBJECT_ENCODING: Command = object(
    "encoding",
    object_encoding,
    Docs::new(
        "generic",
        "2.2.3",
        "Inspect the internal encoding of a Redis object",
    ),
);

fn object_encoding(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    match cx.view.find(cx.db(), args.word()?) {
        Some(entry) => cx.reply_bulk(entry.encoding().name().as_bytes()),
        None => cx.reply_null(),
    }
}

/// OBJECT REFCOUNT key -- how many keys share the value.
const OBJECT_REFCOUNT: Command = object(
    "refcount",
    object_refcount,
    Docs::new(
        "generic",
        "2.2.3",
        "Get the number of references to the value of the key",
    ),
);

fn object_refcount(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    match refcount(cx, args.word()?) {
        Some(count) => cx.reply_integer(count),
        None => cx.reply_null(),
    }
}

/// How many keys share the value of `key`, as clients of Redis see it.
pub(super) fn refcount(cx: &Context<'_>, key: &[u8]) -> Option<i64> {
    const SHARED: i64 = i32::MAX as i64;
    /// Redis keeps one object for each of the first 10,000 integers; clients see it in this number.
    const SHARED_INTEGERS: i64 = 10_000;
    cx.view.find(cx.db(), key)?;
    let policy = cx.config.memory.maxmemory_policy;
    let is_lru = matches!(
        policy,
        EvictionPolicy::VolatileLru | EvictionPolicy::AllkeysLru
    );
    let needs_clock = cx.config.memory.maxmemory > 0 && (is_lru || policy.is_lfu());
    let shared = match cx.view.number_text(cx.db(), key) {
        Ok(Some(Text::Int(value))) => !needs_clock && (0..SHARED_INTEGERS).contains(&value),
        _ => false,
    };
    Some(if shared { SHARED } else { 1 })
}

const OBJECT_IDLETIME: Command = object(
    "idletime",
    object_idletime,
    Docs::new(
        "generic",
        "2.2.3",
        "Get the time since a Redis object was last accessed",
    ),
);

fn object_idletime(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let Some(entry) = cx.view.find(cx.db(), args.word()?) else {
        return cx.reply_null();
    };
    if cx.config.memory.maxmemory_policy.is_lfu() {
        return Err(CommandError::new(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
             policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    let idle = lru_clock(cx.now_ms).wrapping_sub(entry.clock()) & CLOCK_MASK;
    cx.reply_integer(i64::from(idle))
}

const OBJECT_FREQ: Command = object(
    "freq",
    object_freq,
    Docs::new(
        "generic",
        "4.0.0",
        "Get the logarithmic access frequency counter of a Redis object",
    ),
);

fn object_freq(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let Some(entry) = cx.view.find(cx.db(), args.word()?) else {
        return cx.reply_null();
    };
    if !cx.config.memory.maxmemory_policy.is_lfu() {
        return Err(CommandError::new(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    let decayed = lfu_decayed(entry.clock(), cx.now_ms, cx.config.memory.lfu_decay_time);
    cx.reply_integer(i64::from(decayed))
}
