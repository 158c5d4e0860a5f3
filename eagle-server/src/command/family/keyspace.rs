//! Commands on whole databases: KEYS, SCAN, DBSIZE, FLUSHDB, FLUSHALL, SWAPDB.

use super::generic::kind_name;
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::saving;
use crate::command::scan::{ScanOptions, parse_cursor};
use crate::command::spec::{Categories, Command, Docs, Family, Flags, Scope};
use crate::session::OUTPUT_BYTES_FREE;
use eagle_core::store::DATABASES_MAX;
use eagle_core::text::{glob, integer};
use std::time::Duration;

pub const FAMILY: Family = Family {
    name: "keyspace",
    commands: &[&KEYS, &SCAN, &DBSIZE, &FLUSHDB, &FLUSHALL, &SWAPDB],
};

/// KEYS pattern -- all keys that match.
const KEYS: Command = Command::new(
    "keys",
    2,
    keys,
    Docs::new("generic", "1.0.0", "Find all keys matching the given pattern")
        .complexity(
            "O(N) with N being the number of keys in the database, under the assumption that the key names in the \
             database and the given pattern have limited length.",
        )
        .syntax("pattern"),
)
.flags(&[Flags::READONLY])
.family(Categories::KEYSPACE.with(Categories::DANGEROUS))
.tips(&["request_policy:all_shards", "nondeterministic_output_order"]);

fn keys(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let pattern = args.word()?;
    let header = cx.out.deferred();
    let (out, mut count) = (&mut *cx.out, 0);
    // What begins with a length that is known last has no part in the fixed buffer of Redis's clients.
    let bytes_max = out.bytes_max().saturating_sub(OUTPUT_BYTES_FREE);
    cx.view.for_each(cx.session.db, &mut |entry| {
        if out.has_overflowed() {
            return;
        }
        // The lone star takes the empty key too, which no pattern matches.
        if pattern == b"*" || glob::matches(pattern, entry.key(), glob::Case::Sensitive) {
            out.bulk(entry.key());
            count += 1;
            if out.len() > bytes_max {
                out.overflow();
            }
        }
    });
    cx.out.finish_array(header, count);
    Ok(Flow::Done)
}

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type] -- some keys, and where to go on.
const SCAN: Command = Command::new(
    "scan",
    -2,
    scan,
    Docs::new("generic", "2.8.0", "Incrementally iterate the keys space")
        .complexity(
            "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to \
             return back to 0. N is the number of elements inside the collection.",
        )
        .syntax("cursor [MATCH pattern] [COUNT count] [TYPE type]{6.0.0}")
        .history(&[("6.0.0", "Added the `TYPE` subcommand.")]),
)
.flags(&[Flags::READONLY])
.family(Categories::KEYSPACE)
.tips(&["nondeterministic_output", "request_policy:special"]);

fn scan(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let cursor = parse_cursor(args.word()?)?;
    let options = ScanOptions::parse(args, true)?;
    let mut found: Vec<&[u8]> = Vec::new();
    let next = cx
        .view
        .scan(cx.session.db, cursor, options.count, &mut |entry| {
            let kind = kind_name(entry.kind()).as_bytes();
            if options.matches(entry.key())
                && options
                    .kind
                    .is_none_or(|wanted| kind.eq_ignore_ascii_case(wanted))
            {
                found.push(entry.key());
            }
        });
    cx.out.array(2);
    cx.out.bulk_display(next);
    cx.out.array(found.len());
    for key in found {
        cx.out.bulk(key);
    }
    Ok(Flow::Done)
}

/// DBSIZE -- keys in the selected database.
const DBSIZE: Command = Command::new(
    "dbsize",
    1,
    dbsize,
    Docs::new(
        "server",
        "1.0.0",
        "Return the number of keys in the selected database",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::KEYSPACE)
.tips(&["request_policy:all_shards", "response_policy:agg_sum"]);

fn dbsize(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_integer(cx.view.len(cx.session.db) as i64)
}

const FLUSH_HISTORY: &[(&str, &str)] = &[
    ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
    ("6.2.0", "Added the `SYNC` flushing mode modifier."),
];
const FLUSH_TIPS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

/// FLUSHDB [ASYNC | SYNC] -- empties the selected database.
const FLUSHDB: Command = Command::new(
    "flushdb",
    -1,
    flushdb,
    Docs::new(
        "server",
        "1.0.0",
        "Remove all keys from the current database",
    )
    .complexity("O(N) where N is the number of keys in the selected database")
    .syntax("async=[ASYNC{4.0.0} | SYNC{6.2.0}]")
    .history(FLUSH_HISTORY),
)
.flags(&[Flags::WRITE])
.scope(Scope::All)
.family(Categories::KEYSPACE.with(Categories::DANGEROUS))
.tips(FLUSH_TIPS);

fn flushdb(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let is_lazy = flush_mode(cx, args)?;
    let db = cx.db();
    touch_watched(cx, db);
    let keys = cx.view.len(db);
    cx.view.flush_db(db)?;
    if is_lazy {
        cx.note_lazyfreed(keys);
    }
    cx.signal_database(db);
    cx.effects.force();
    cx.flushed();
    after_flush(cx, is_lazy, false)
}

/// FLUSHALL [ASYNC | SYNC] -- empties all databases.
const FLUSHALL: Command = Command::new(
    "flushall",
    -1,
    flushall,
    Docs::new("server", "1.0.0", "Remove all keys from all databases")
        .complexity("O(N) where N is the total number of keys in all databases")
        .syntax("async=[ASYNC{4.0.0} | SYNC{6.2.0}]")
        .history(FLUSH_HISTORY),
)
.flags(&[Flags::WRITE])
.scope(Scope::All)
.family(Categories::KEYSPACE.with(Categories::DANGEROUS))
.tips(FLUSH_TIPS);

fn flushall(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let is_lazy = flush_mode(cx, args)?;
    let mut keys = 0;
    for db in 0..DATABASES_MAX as u8 {
        touch_watched(cx, db);
        keys += cx.view.len(db);
    }
    cx.view.flush_all()?;
    if is_lazy {
        cx.note_lazyfreed(keys);
    }
    for db in 0..DATABASES_MAX as u8 {
        cx.signal_database(db);
    }
    cx.effects.force();
    cx.flushed();
    // What is being written would bring back what is gone.
    cx.node.saving.call_off();
    let saves = !cx.config.persistence.save.is_empty();
    after_flush(cx, is_lazy, saves)
}

/// The reply. The tables are dropped already; unless they are to be freed lazily it comes once they are. If it `saves`,
/// the file on disk does not keep what is gone either.
fn after_flush(cx: &mut Context<'_>, is_lazy: bool, saves: bool) -> Outcome {
    /// Blocks freed before other clients of the thread get their turn.
    const BLOCKS: usize = 256;
    if !cx.may_block || (is_lazy && !saves) {
        if saves {
            // One that is being written would be older, but the next change makes another.
            let _ = saving::in_background(&cx.thread.node);
        }
        return cx.reply_ok();
    }
    let thread = cx.thread.clone();
    Ok(Flow::Later(Box::pin(async move {
        let keyspace = &thread.node.keyspace;
        while !is_lazy && keyspace.reap_step(&mut thread.worker.borrow_mut(), BLOCKS) {
            tokio::task::yield_now().await;
        }
        // Others may be freeing the last of it.
        for _ in 0..TRASH_LOOKS_MAX {
            if is_lazy || !keyspace.has_trash() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            keyspace.reap_step(&mut thread.worker.borrow_mut(), BLOCKS);
        }
        if saves {
            let node = thread.node.clone();
            let saved = tokio::task::spawn_blocking(move || {
                node.saving.cancel();
                saving::now(&node)
            });
            if !matches!(saved.await, Ok(Ok(()))) {
                tracing::warn!("The emptied dataset could not be saved");
            }
        }
        b"+OK\r\n".to_vec()
    })))
}

/// How often to look again for what others are freeing: a snapshot may hold it for long.
const TRASH_LOOKS_MAX: usize = 100;

/// Whether what is removed is to be freed lazily: after the reply.
fn flush_mode(cx: &Context<'_>, mut args: Args<'_>) -> Result<bool, CommandError> {
    let is_lazy = if args.is_empty() {
        cx.config.memory.lazyfree_lazy_user_flush
    } else if args.accept("ASYNC") {
        true
    } else if args.accept("SYNC") {
        false
    } else {
        return Err(errors::SYNTAX);
    };
    args.finish()?;
    Ok(is_lazy)
}

/// Raises the watchers of the keys of `db` that exist, as they are about to be removed.
fn touch_watched(cx: &Context<'_>, db: u8) {
    cx.node
        .watch
        .touch_if(db, |key| cx.view.find(db, key).is_some());
}

/// SWAPDB index1 index2 -- exchanges two databases.
const SWAPDB: Command = Command::new(
    "swapdb",
    3,
    swapdb,
    Docs::new("server", "4.0.0", "Swaps two Redis databases")
        .complexity("O(N) where N is the count of clients watching or blocking on keys from both databases.")
        .syntax("index1 index2"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.scope(Scope::All)
.family(Categories::KEYSPACE.with(Categories::DANGEROUS));

fn swapdb(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    if cx.is_clustered() {
        return Err(CommandError::new(
            "ERR SWAPDB is not allowed in cluster mode",
        ));
    }
    let index = |word: &[u8], error| integer::parse_i64(word).ok_or(error);
    let first = index(
        args.word()?,
        CommandError::new("ERR invalid first DB index"),
    )?;
    let second = index(
        args.word()?,
        CommandError::new("ERR invalid second DB index"),
    )?;
    let (a, b) = (cx.parse_db(first)?, cx.parse_db(second)?);
    if a != b {
        // A watched key changes unless it is missing before and after.
        for (db, other) in [(a, b), (b, a)] {
            cx.node.watch.touch_if(db, |key| {
                cx.view.find(db, key).is_some() || cx.view.find(other, key).is_some()
            });
        }
        cx.view.swap_db(a, b)?;
        cx.signal_database(a);
        cx.signal_database(b);
    }
    cx.effects.force();
    cx.reply_ok()
}
