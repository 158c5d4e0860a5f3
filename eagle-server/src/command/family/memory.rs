//! MEMORY: where the bytes are.
//!
//! Data lives in the pool, so "allocated" means pool space, as in INFO memory; what the process
//! holds besides shows in the RSS figures.

use super::info::data::databases;
use super::info::process::{client_bytes, percent, ratio};
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors;
use crate::command::spec::{Command, Docs, Family, Flags, KeyFlags, KeySpec, Scope};
use crate::metrics::process;
use eagle_core::store::{Encoding, Entry, Kind, StreamRef, View};

pub const FAMILY: Family = Family {
    name: "memory",
    commands: &[&MEMORY],
};

/// MEMORY -- container.
const MEMORY: Command = Command::new(
    "memory",
    -2,
    help,
    Docs::new(
        "server",
        "4.0.0",
        "A container for memory diagnostics commands",
    )
    .complexity("Depends on subcommand."),
)
.subcommands(&[&DOCTOR, &HELP, &MALLOC_STATS, &PURGE, &STATS, &USAGE]);

const REPORT_TIPS: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
];

/// MEMORY USAGE key [SAMPLES count] -- bytes that a key and its value take.
const USAGE: Command = Command::new(
    "usage",
    -3,
    usage,
    Docs::new("server", "4.0.0", "Estimate the memory usage of a key")
        .complexity("O(N) where N is the number of samples.")
        .syntax("key [SAMPLES count]"),
)
.flags(&[Flags::READONLY])
.keys(&[KeySpec::index(2, &[KeyFlags::RO])])
// A large hash is walked, which wants its slot to hold still.
.scope(Scope::Keys);

fn usage(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const SAMPLES_DEFAULT: usize = 5;
    let key = args.word()?;
    let mut samples = SAMPLES_DEFAULT;
    while !args.is_empty() {
        if args.len() < 2 || !args.accept("SAMPLES") {
            return Err(errors::SYNTAX);
        }
        let count = args.integer_in(0..=i64::MAX, errors::SYNTAX)?;
        samples = match count {
            0 => usize::MAX,
            _ => usize::try_from(count).unwrap_or(usize::MAX),
        };
    }
    match cx.view.find(cx.db(), key) {
        Some(entry) => {
            let bytes = entry.bytes() + table_bytes(&cx.view, cx.db(), &entry, samples)?;
            cx.reply_integer(bytes as i64)
        }
        None => cx.reply_null(),
    }
}

/// About what a large string, hash, set or sorted set takes besides its entry: its members, by the mean of the first `samples`.
fn table_bytes(
    view: &View<'_>,
    db: u8,
    entry: &Entry<'_>,
    samples: usize,
) -> Result<u64, errors::CommandError> {
    /// Bytes of a member's place in the table and of the header of its blob.
    const MEMBER_OVERHEAD_BYTES: usize = 24;
    /// Bytes of a sorted set's member beyond those: its score, and its place in the tree.
    const RANK_OVERHEAD_BYTES: usize = 32;
    /// Bytes of a field's expiry, and of its place in the tree of those.
    const EXPIRY_BYTES: u64 = 25;
    if entry.kind() == Kind::Stream {
        let stream = view.stream(db, entry.key())?;
        return Ok(stream.map_or(0, |stream| stream_bytes(&stream, samples)));
    }
    if entry.kind() == Kind::List {
        let list = view.list(db, entry.key())?;
        return Ok(list.map_or(0, |list| list.bytes()));
    }
    if entry.kind() == Kind::String {
        return Ok(view.string_bytes(db, entry.key())?);
    }
    if !matches!(entry.encoding(), Encoding::Hashtable | Encoding::Skiplist) {
        return Ok(0);
    }
    let (mut bytes, mut sampled, mut expiring) = (0u64, 0u64, 0u64);
    let mut sample = |len: usize| {
        bytes += (len + MEMBER_OVERHEAD_BYTES) as u64;
        sampled += 1;
    };
    let len = match entry.kind() {
        Kind::Set => {
            let set = view.set(db, entry.key())?;
            let members = set.iter().flat_map(|set| set.iter());
            members
                .take(samples)
                .for_each(|member| sample(member.len()));
            set.map_or(0, |set| set.len())
        }
        Kind::Zset => {
            let zset = view.zset(db, entry.key())?;
            let members = zset.iter().flat_map(|zset| zset.iter());
            members
                .take(samples)
                .for_each(|(member, _)| sample(member.len() + RANK_OVERHEAD_BYTES));
            zset.map_or(0, |zset| zset.len())
        }
        _ => {
            let hash = view.hash(db, entry.key())?;
            let pairs = hash.iter().flat_map(|hash| hash.iter());
            let lens = pairs.map(|(field, value)| field.len() + value.len());
            lens.take(samples).for_each(sample);
            expiring = hash.map_or(0, |hash| hash.expiring_len());
            hash.map_or(0, |hash| hash.len())
        }
    };
    let total = u128::from(bytes) * u128::from(len);
    let members = total.checked_div(u128::from(sampled)).unwrap_or(0) as u64;
    Ok(members + expiring * EXPIRY_BYTES)
}

/// About what a stream takes besides its entry: its nodes, by the mean of the first `samples`; and its groups.
fn stream_bytes(stream: &StreamRef<'_>, samples: usize) -> u64 {
    /// Bytes of a node's place in the tree; of the header of a stream, group and consumer; of a pending with its
    /// places in two trees.
    const PLACE_BYTES: u64 = 17;
    const HEADER_BYTES: u64 = 112;
    const GROUP_BYTES: u64 = 104;
    const CONSUMER_BYTES: u64 = 64;
    const PENDING_BYTES: u64 = 80;
    let (mut bytes, mut sampled) = (0u64, 0u64);
    for node in stream.iter_nodes().take(samples) {
        bytes += node.bytes() + PLACE_BYTES;
        sampled += 1;
    }
    let total = u128::from(bytes) * u128::from(stream.node_count());
    let nodes = total.checked_div(u128::from(sampled)).unwrap_or(0) as u64;
    let groups = stream.groups().into_iter().map(|group| {
        let consumers = group.consumer_count() * CONSUMER_BYTES;
        group.name().len() as u64 + GROUP_BYTES + consumers + group.pending_len() * PENDING_BYTES
    });
    HEADER_BYTES + nodes + groups.sum::<u64>()
}

/// MEMORY STATS -- where memory goes.
const STATS: Command = Command::new(
    "stats",
    2,
    stats,
    Docs::new("server", "4.0.0", "Show memory usage details").complexity("O(1)"),
)
.tips(REPORT_TIPS);

/// One value of MEMORY STATS.
enum Figure {
    Count(u64),
    Signed(i64),
    Real(f64),
}

fn stats(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    use Figure::{Count, Real, Signed};
    let usage = cx.node.keyspace.usage();
    let clients = client_bytes(cx);
    let used = usage.used + clients;
    let peak = cx.node.used_peak.note(used);
    let resident = process::resident_bytes();
    let excess = resident as i64 - used as i64;
    let dbs: Vec<(u8, u64)> = databases(cx).collect();
    let keys: u64 = dbs.iter().map(|(_, keys)| keys).sum();
    let scripts = &cx.node.scripts;
    let before = [
        ("peak.allocated", Count(peak)),
        ("total.allocated", Count(used)),
        ("startup.allocated", Count(0)),
        ("replication.backlog", Count(0)),
        ("clients.slaves", Count(0)),
        ("clients.normal", Count(clients)),
        ("cluster.links", Count(0)),
        ("aof.buffer", Count(0)),
        ("lua.caches", Count(scripts.sources.bytes() as u64)),
        (
            "functions.caches",
            Count(scripts.functions.snapshot().bytes() as u64),
        ),
    ];
    let after = [
        ("overhead.total", Count(clients)),
        ("keys.count", Count(keys)),
        (
            "keys.bytes-per-key",
            Count(used.checked_div(keys).unwrap_or(0)),
        ),
        ("dataset.bytes", Count(usage.used)),
        ("dataset.percentage", Real(percent(usage.used, used))),
        ("peak.percentage", Real(percent(used, peak))),
        ("allocator.allocated", Count(usage.used)),
        ("allocator.active", Count(usage.pages)),
        ("allocator.resident", Count(resident)),
        (
            "allocator-fragmentation.ratio",
            Real(ratio(usage.pages, usage.used)),
        ),
        (
            "allocator-fragmentation.bytes",
            Signed(usage.pages as i64 - usage.used as i64),
        ),
        ("allocator-rss.ratio", Real(1.0)),
        ("allocator-rss.bytes", Count(0)),
        ("rss-overhead.ratio", Real(1.0)),
        ("rss-overhead.bytes", Count(0)),
        ("fragmentation", Real(ratio(resident, used))),
        ("fragmentation.bytes", Signed(excess)),
    ];
    cx.out.map(before.len() + dbs.len() + after.len());
    for (name, figure) in &before {
        write_figure(cx, name, figure);
    }
    for (db, _) in &dbs {
        // Keys lie in the tables themselves, so there is no table overhead to tell apart.
        cx.out.bulk(format!("db.{db}"));
        cx.out.map(3);
        for name in [
            "overhead.hashtable.main",
            "overhead.hashtable.expires",
            "overhead.hashtable.slot-to-keys",
        ] {
            write_figure(cx, name, &Count(0));
        }
    }
    for (name, figure) in &after {
        write_figure(cx, name, figure);
    }
    Ok(Flow::Done)
}

fn write_figure(cx: &mut Context<'_>, name: &str, figure: &Figure) {
    cx.out.bulk(name);
    match figure {
        Figure::Count(value) => cx.out.integer(*value as i64),
        Figure::Signed(value) => cx.out.integer(*value),
        Figure::Real(value) => cx.out.double(*value),
    }
}

/// MEMORY DOCTOR -- what is wrong, in words.
const DOCTOR: Command = Command::new(
    "doctor",
    2,
    doctor,
    Docs::new("server", "4.0.0", "Outputs memory problems report").complexity("O(1)"),
)
.tips(REPORT_TIPS);

fn doctor(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let usage = cx.node.keyspace.usage();
    let peak = cx.node.used_peak.note(usage.used);
    let text = diagnose(usage.used, peak, usage.capacity, client_bytes(cx));
    cx.out.verbatim(b"txt", text);
    Ok(Flow::Done)
}

fn diagnose(used: u64, peak: u64, capacity: u64, client_bytes: u64) -> String {
    /// Below this nothing can be said.
    const EXAMINED_BYTES_MIN: u64 = 5 << 20;
    const FULL_PERCENT: f64 = 90.0;
    if used < EXAMINED_BYTES_MIN {
        return "There is too little data in this server to say anything about its memory.\n"
            .to_owned();
    }
    let mut findings = Vec::new();
    if capacity > 0 && percent(used, capacity) > FULL_PERCENT {
        findings.push(
            "The pool is nearly full. Writes are refused once it is: raise pool-size, or set maxmemory below it.",
        );
    }
    if peak > used + used / 2 {
        findings.push(
            "The peak was more than one and a half times of what is in use now. The pool file keeps the size it had \
             then; its free space is used again.",
        );
    }
    if client_bytes > used {
        findings.push(
            "Client buffers hold more than the dataset. Look at CLIENT LIST for large tot-mem.",
        );
    }
    if findings.is_empty() {
        return "No memory problem was found.\n".to_owned();
    }
    findings.iter().map(|text| format!("* {text}\n")).collect()
}

/// MEMORY PURGE -- nothing to do: freed pool space is used again, and buffers are given back at once.
const PURGE: Command = Command::new(
    "purge",
    2,
    purge,
    Docs::new("server", "4.0.0", "Ask the allocator to release memory")
        .complexity("Depends on how much memory is allocated, could be slow"),
)
.tips(&["request_policy:all_shards", "response_policy:all_succeeded"]);

fn purge(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_ok()
}

/// MEMORY MALLOC-STATS -- the allocator's own figures.
const MALLOC_STATS: Command = Command::new(
    "malloc-stats",
    2,
    malloc_stats,
    Docs::new("server", "4.0.0", "Show allocator internal stats")
        .complexity("Depends on how much memory is allocated, could be slow"),
)
.tips(REPORT_TIPS);

fn malloc_stats(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let usage = cx.node.keyspace.usage();
    let text = format!(
        "Pool on {}\ncapacity {}\nmapped {}\nused {}\nretired {}\n",
        cx.node.opened.0.medium, usage.capacity, usage.mapped, usage.used, usage.retired
    );
    cx.out.verbatim(b"txt", text);
    Ok(Flow::Done)
}

const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "server",
        "4.0.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE]);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "DOCTOR",
        "    Return memory problems reports.",
        "MALLOC-STATS",
        "    Return internal statistics report from the memory allocator.",
        "PURGE",
        "    Attempt to purge dirty pages for reclamation by the allocator.",
        "STATS",
        "    Return information about the memory usage of the server.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value. Nested values are",
        "    sampled up to <count> times (default: 5, 0 means sample all).",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctor_names_what_is_wrong() {
        const MIB: u64 = 1 << 20;
        assert!(diagnose(MIB, MIB, 100 * MIB, 0).contains("too little"));
        assert!(diagnose(10 * MIB, 10 * MIB, 100 * MIB, 0).contains("No memory problem"));
        assert!(diagnose(95 * MIB, 95 * MIB, 100 * MIB, 0).contains("nearly full"));
        assert!(diagnose(10 * MIB, 90 * MIB, 100 * MIB, 0).contains("peak"));
        assert!(diagnose(10 * MIB, 10 * MIB, 100 * MIB, 11 * MIB).contains("Client buffers"));
    }
}
