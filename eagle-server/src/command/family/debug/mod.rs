//! DEBUG: levers and windows for test suites. Refused unless `enable-debug-command` allows it.
//!
//! What is listed here does what its name says, or is about something EagleDB does not have and so
//! has nothing to do. Subcommands of Redis that would need more are unknown here, so that a test
//! learns it.

mod digest;
mod populate;
mod protocol;
mod reload;

use super::config::rewrite_file;
use super::dump;
use crate::command::args::{Args, parse_integer};
use crate::command::clock::{CLOCK_MASK, lru_clock};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::family::generic::refcount;
use crate::command::spec::{Command, Docs, Family, Flags, Scope};
use crate::config::special::os_error_text;
use eagle_core::store::DATABASES_MAX;
use eagle_core::text::memory_size::parse_memory_size;
use eagle_core::text::{double, integer};
use populate::Population;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const FAMILY: Family = Family {
    name: "debug",
    commands: &[&DEBUG],
};

/// DEBUG subcommand [argument ...]
const DEBUG: Command = Command::new(
    "debug",
    -2,
    debug,
    Docs::new("server", "1.0.0", "A container for debugging commands")
        .complexity("Depends on subcommand.")
        .internal(),
)
.flags(&[
    Flags::ADMIN,
    Flags::NOSCRIPT,
    Flags::LOADING,
    Flags::STALE,
    Flags::PROTECTED,
])
// Any key may be looked at, and a digest must see all of them at one instant.
.scope(Scope::All);

/// Gets the subcommand's own word first.
type Run = fn(&mut Context<'_>, &[&[u8]]) -> Outcome;

struct Subcommand {
    name: &'static str,
    /// Least and most words after the name.
    words: (usize, usize),
    run: Run,
    help: &'static [&'static str],
}

const fn subcommand(
    name: &'static str,
    words: (usize, usize),
    run: Run,
    help: &'static [&'static str],
) -> Subcommand {
    Subcommand {
        name,
        words,
        run,
        help,
    }
}

const MANY: usize = usize::MAX;

const SUBCOMMANDS: &[Subcommand] = &[
    subcommand(
        "CHANGE-REPL-ID",
        (0, 0),
        change_repl_id,
        &[
            "CHANGE-REPL-ID",
            "    Change the replication IDs of the instance.",
            "    Dangerous: should be used only for testing the replication subsystem.",
        ],
    ),
    subcommand(
        "CONFIG-REWRITE-FORCE-ALL",
        (0, 0),
        rewrite_config,
        &[
            "CONFIG-REWRITE-FORCE-ALL",
            "    Like CONFIG REWRITE but writes all configuration options, including",
            "    keywords not listed in original configuration file or default values.",
        ],
    ),
    subcommand(
        "DIGEST",
        (0, 0),
        digest,
        &[
            "DIGEST",
            "    Output a hex signature representing the current DB content.",
        ],
    ),
    subcommand(
        "DIGEST-VALUE",
        (0, MANY),
        digest_value,
        &[
            "DIGEST-VALUE <key> [<key> ...]",
            "    Output a hex signature of the values of all the specified keys.",
        ],
    ),
    subcommand(
        "DROP-CLUSTER-PACKET-FILTER",
        (1, 1),
        drop_cluster_packet_filter,
        &[
            "DROP-CLUSTER-PACKET-FILTER <packet-type>",
            "    Only -1 is taken, which drops no packets.",
        ],
    ),
    subcommand(
        "ERROR",
        (1, 1),
        error,
        &[
            "ERROR <string>",
            "    Return an error with <string> as message, to test clients.",
        ],
    ),
    subcommand(
        "LOG",
        (1, 1),
        log,
        &["LOG <message>", "    Write <message> to the server log."],
    ),
    subcommand(
        "OBJECT",
        (1, 1),
        object,
        &[
            "OBJECT <key>",
            "    Show low level info about `key` and associated value.",
        ],
    ),
    subcommand(
        "PAUSE-CRON",
        (1, 1),
        pause_cron,
        &["PAUSE-CRON <0|1>", "    Stop periodic work."],
    ),
    subcommand(
        "POPULATE",
        (1, 3),
        populate,
        &[
            "POPULATE <count> [<prefix>] [<size>]",
            "    Create <count> string keys named key:<num>. If <prefix> is specified then",
            "    it is used instead of the 'key' prefix. Cluster slots are not respected.",
        ],
    ),
    subcommand(
        "PROTOCOL",
        (1, 1),
        |cx, words| protocol::reply(cx, words[1]),
        &[
            "PROTOCOL <type>",
            "    Reply with a test value of the specified type. <type> can be: string,",
            "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
            "    true, false.",
        ],
    ),
    subcommand(
        "QUICKLIST-PACKED-THRESHOLD",
        (1, 1),
        quicklist_packed_threshold,
        &[
            "QUICKLIST-PACKED-THRESHOLD <size>",
            "    Sets the threshold for elements to be inserted as plain vs packed nodes",
            "    Default value is 1GB, allows values up to 4GB. Setting to 0 restores to default.",
        ],
    ),
    subcommand(
        "RELOAD",
        (0, MANY),
        reload::reload,
        &[
            "RELOAD [option ...]",
            "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
            "    * MERGE: conflicting keys will be loaded from RDB",
            "    * NOFLUSH: the existing database will not be removed before load, but",
            "      conflicting keys will generate an error",
            "    * NOSAVE: the database will be loaded from an existing RDB file",
        ],
    ),
    subcommand(
        "REPLYBUFFER",
        (2, 2),
        replybuffer,
        &[
            "REPLYBUFFER (PEAK-RESET-TIME|RESIZING) <value>",
            "    Checked and ignored: reply buffers are not resized.",
        ],
    ),
    subcommand(
        "SET-ACTIVE-EXPIRE",
        (1, 1),
        set_active_expire,
        &[
            "SET-ACTIVE-EXPIRE <0|1>",
            "    Setting it to 0 disables expiring keys in background when they are not",
            "    accessed. Setting it to 1 reenables it.",
        ],
    ),
    subcommand(
        "SET-DISABLE-DENY-SCRIPTS",
        (1, 1),
        set_disable_deny_scripts,
        &[
            "SET-DISABLE-DENY-SCRIPTS <0|1>",
            "    Setting it to 1 lets scripts call the commands that are not for scripts.",
        ],
    ),
    subcommand(
        "SET-SKIP-CHECKSUM-VALIDATION",
        (1, 1),
        set_skip_checksum_validation,
        &[
            "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
            "    Setting it to 1 lets RESTORE take payloads with a wrong checksum.",
        ],
    ),
    subcommand(
        "SLEEP",
        (1, 1),
        sleep,
        &[
            "SLEEP <seconds>",
            "    Stop the server, cluster bus included, for <seconds>. Decimals allowed.",
        ],
    ),
];

fn debug(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let word = args.word()?;
    let words = args.rest();
    if words.is_empty() && word.eq_ignore_ascii_case(b"help") {
        let lines: Vec<&str> = SUBCOMMANDS
            .iter()
            .flat_map(|row| row.help)
            .copied()
            .collect();
        return cx.reply_help(&lines);
    }
    let row = SUBCOMMANDS.iter().find(|row| {
        word.eq_ignore_ascii_case(row.name.as_bytes())
            && (row.words.0..=row.words.1).contains(&words.len())
    });
    match row {
        Some(row) => (row.run)(cx, &args.argv()[1..]),
        None => Err(refusal(word)),
    }
}

fn refusal(word: &[u8]) -> CommandError {
    const QUOTED_BYTES_MAX: usize = 128;
    CommandError::quoting(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        &word[..word.len().min(QUOTED_BYTES_MAX)],
        b"'. Try DEBUG HELP.",
    ])
}

/// Whether a switch is turned on; a word that is no number turns it off, as in Redis.
fn is_on(word: &[u8]) -> bool {
    integer::parse_i64(word).is_some_and(|number| number != 0)
}

fn set_switch(cx: &mut Context<'_>, switch: &AtomicBool, on: bool) -> Outcome {
    switch.store(on, Ordering::Relaxed);
    cx.reply_ok()
}

fn set_active_expire(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    let node = cx.node;
    set_switch(cx, &node.active_expire, is_on(words[1]))
}

fn set_disable_deny_scripts(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    let node = cx.node;
    set_switch(cx, &node.scripts.unrestricted, is_on(words[1]))
}

fn set_skip_checksum_validation(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    let node = cx.node;
    set_switch(cx, &node.forged_payloads, is_on(words[1]))
}

fn pause_cron(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    let node = cx.node;
    set_switch(cx, &node.cron_paused, is_on(words[1]))
}

/// Sleeps with every slot locked and every other thread told to stand still.
fn sleep(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    let seconds = double::parse_f64(words[1]).unwrap_or(0.0).max(0.0);
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    cx.node.halt.run(duration);
    cx.reply_ok()
}

fn rewrite_config(cx: &mut Context<'_>, _: &[&[u8]]) -> Outcome {
    match rewrite_file(cx, true) {
        Some(Ok(())) => cx.reply_ok(),
        outcome => {
            let text = outcome.map_or_else(
                || "No such file or directory".to_owned(),
                |failed| failed.map_or_else(|error| os_error_text(&error), |()| String::new()),
            );
            Err(CommandError::owned(format!(
                "ERR CONFIG-REWRITE-FORCE-ALL failed: {text}"
            )))
        }
    }
}

fn change_repl_id(cx: &mut Context<'_>, _: &[&[u8]]) -> Outcome {
    tracing::warn!("Changing replication IDs after receiving change-repl-id");
    cx.node
        .history
        .renew(&cx.node.keyspace, &cx.node.keyspace.pin());
    cx.reply_ok()
}

fn log(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    tracing::warn!("DEBUG LOG: {}", errors::one_line(words[1]));
    cx.reply_ok()
}

fn error(_: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    Err(CommandError::owned(errors::one_line(words[1])))
}

fn digest(cx: &mut Context<'_>, _: &[&[u8]]) -> Outcome {
    let digest = digest::of_databases(&cx.view, 0..DATABASES_MAX as u8)?;
    cx.out.simple(digest.to_string());
    Ok(Flow::Done)
}

fn digest_value(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    cx.out.array(words.len() - 1);
    for key in &words[1..] {
        let digest = digest::of_value(&cx.view, cx.session.db, key)?;
        cx.out.simple(digest.to_string());
    }
    Ok(Flow::Done)
}

/// What is known of a key, also of one whose time has come and that nobody has removed yet.
fn object(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    let now_ms = cx.view.set_now_ms(0);
    let outcome = describe_object(cx, words);
    cx.view.set_now_ms(now_ms);
    outcome
}

fn describe_object(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    /// What a DUMP payload holds besides the value: its type, the version and the checksum.
    const FRAME_BYTES: usize = 1 + 2 + 8;
    let db = cx.db();
    let entry = cx.view.find(db, words[1]).ok_or(errors::NO_SUCH_KEY)?;
    let payload = dump::payload(&cx.view, db, &entry, cx.compression())?;
    let idle_s = lru_clock(cx.now_ms).wrapping_sub(entry.clock()) & CLOCK_MASK;
    let text = format!(
        "Value at:{:p} refcount:{} encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{idle_s}",
        entry.key().as_ptr(),
        refcount(cx, words[1]).unwrap_or(1),
        entry.encoding().name(),
        payload.len() - FRAME_BYTES,
        entry.clock(),
    );
    cx.out.simple(text);
    Ok(Flow::Done)
}

fn populate(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    let number = |word: &[u8]| {
        parse_integer(word)
            .ok()
            .and_then(|number| u64::try_from(number).ok())
            .ok_or(errors::NOT_POSITIVE)
    };
    let value_bytes = words.get(3).map_or(Ok(0), |word| number(word))?;
    if value_bytes > cx.config.clients.proto_max_bulk_len {
        return Err(errors::STRING_TOO_LONG);
    }
    let population = Population {
        db: cx.db(),
        count: number(words[1])?,
        prefix: words.get(2).map_or(b"key".to_vec(), |word| word.to_vec()),
        value_bytes: value_bytes as usize,
    };
    let thread = cx.thread.clone();
    Ok(Flow::Later(Box::pin(population.run(thread))))
}

fn drop_cluster_packet_filter(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    match parse_integer(words[1])? {
        -1 => cx.reply_ok(),
        _ => Err(CommandError::new(
            "ERR Dropping packets of the cluster bus is not available",
        )),
    }
}

fn quicklist_packed_threshold(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    const BYTES_MAX: u64 = 4 << 30;
    const BYTES_DEFAULT: u64 = 1 << 30;
    match parse_memory_size(words[1]) {
        Some(bytes) if bytes <= BYTES_MAX => {
            let bytes = if bytes == 0 { BYTES_DEFAULT } else { bytes };
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let settings = cx.node.keyspace.settings();
            settings
                .list_plain_bytes_min
                .store(bytes, Ordering::Relaxed);
            cx.reply_ok()
        }
        _ => Err(CommandError::new(
            "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
        )),
    }
}

fn replybuffer(cx: &mut Context<'_>, words: &[&[u8]]) -> Outcome {
    let is = |name: &str| words[1].eq_ignore_ascii_case(name.as_bytes());
    if is("resizing") || is("peak-reset-time") {
        cx.reply_ok()
    } else {
        Err(refusal(words[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_explained() {
        assert!(SUBCOMMANDS.is_sorted_by_key(|row| row.name));
        for row in SUBCOMMANDS {
            assert!(row.help[0].starts_with(row.name), "{}", row.name);
        }
    }

    #[test]
    fn switches_are_numbers() {
        assert!(is_on(b"1") && is_on(b"-2"));
        assert!(!is_on(b"0") && !is_on(b"x"));
    }
}
