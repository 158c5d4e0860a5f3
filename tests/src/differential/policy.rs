//! Commands that are not generated like all others, each with its reason.

use super::Compare::{self, Exact, Refusal, Shape, Time, Unordered};

/// How a command is generated.
#[derive(Clone, Copy, Debug)]
pub enum Policy {
    /// Not at all.
    Never(&'static str),
    /// By the rules of the grammar only: of what its syntax allows, some would compare nothing, or
    /// harm the run.
    Rules(&'static str),
    /// Only on the connection that listens.
    Listener,
    /// From its syntax too, but compared like this.
    As(Compare),
}

use Policy::{As, Listener, Never, Rules};

const FOR_CONNECTION: &str = "replies nothing, or to others: the run would wait for ever";
const PER_SERVER: &str = "tells of the server itself: its own names, numbers and past";
const RANDOM: &str = "draws at random, after which the two keyspaces differ";
const RACES: &str = "compares with the clock, which moves on between the two servers";
const CURSOR: &str = "a cursor means something to one server only";
const REPLICATION: &str = "replication: not there yet";
const FILES: &str = "files of RDB and AOF: not there yet";
const LEVELS: &str =
    "by text the answer depends on the levels of a skip list, unless all scores are equal";
const WAITS: &str = "can be made to wait for longer than the run lasts";

/// Every exception, by full name.
pub const POLICIES: &[(&str, Policy)] = &[
    // Commands that are not there yet have categories, too.
    ("acl|cat", As(Refusal)),
    ("acl|deluser", Rules("must spare the user of the run")),
    ("acl|dryrun", Rules("the rules name users that exist")),
    ("acl|genpass", As(Shape)),
    ("acl|log", Rules(PER_SERVER)),
    ("acl|setuser", Rules("must spare the user of the run")),
    ("auth", Rules("must not lock the run out")),
    ("bgrewriteaof", Never(FILES)),
    ("bgsave", Never(FILES)),
    // Ours has subcommands of its own.
    ("client|help", As(Refusal)),
    // Any client's number is as good as any other's.
    ("client|getredir", As(Time(u64::MAX))),
    ("client|trackinginfo", As(Time(u64::MAX))),
    ("cluster|help", As(Refusal)),
    ("client|id", As(Shape)),
    ("client|info", As(Shape)),
    (
        "client|kill",
        Rules("must spare the connections of the run"),
    ),
    ("client|list", As(Refusal)),
    ("client|pause", Rules(WAITS)),
    ("client|reply", Rules(FOR_CONNECTION)),
    (
        "client|tracking",
        Rules("clients have other numbers at each server"),
    ),
    (
        "client|unblock",
        Rules("clients have other numbers at each server"),
    ),
    ("command", As(Refusal)),
    ("command|count", As(Refusal)),
    (
        "command|docs",
        Rules("compared by a test of its own, command by command"),
    ),
    (
        "command|getkeys",
        Rules("the rules name commands that exist"),
    ),
    (
        "command|getkeysandflags",
        Rules("the rules name commands that exist"),
    ),
    (
        "command|info",
        Rules("compared by a test of its own, command by command"),
    ),
    ("command|list", As(Refusal)),
    ("config|get", Rules(PER_SERVER)),
    ("config|set", Rules("would change what the run relies on")),
    ("debug", Rules("its syntax is not documented")),
    ("dump", As(Shape)),
    ("evalsha", Rules("the rules name scripts that exist")),
    ("evalsha_ro", Rules("the rules name scripts that exist")),
    ("eval", Rules("the rules hold scripts that mean something")),
    (
        "eval_ro",
        Rules("the rules hold scripts that mean something"),
    ),
    ("expire", Rules(RACES)),
    ("failover", Never(REPLICATION)),
    ("fcall", Rules("the rules name functions that exist")),
    ("fcall_ro", Rules("the rules name functions that exist")),
    ("function|dump", As(Shape)),
    ("function|list", As(Unordered)),
    (
        "function|load",
        Rules("the rules hold libraries that mean something"),
    ),
    ("hello", Rules("its reply names the server")),
    ("hrandfield", As(Shape)),
    ("hscan", Rules(CURSOR)),
    ("info", As(Shape)),
    ("lastsave", As(Shape)),
    ("latency|doctor", As(Shape)),
    ("latency|graph", As(Refusal)),
    ("latency|histogram", As(Refusal)),
    ("latency|history", As(Refusal)),
    ("latency|latest", As(Refusal)),
    ("latency|reset", As(Shape)),
    ("lolwut", As(Shape)),
    ("memory|doctor", As(Shape)),
    ("memory|malloc-stats", As(Refusal)),
    ("memory|stats", As(Refusal)),
    ("memory|usage", As(Shape)),
    ("migrate", Rules("the rules name targets that answer soon")),
    ("module|load", Never("runs foreign code")),
    ("module|loadex", Never("runs foreign code")),
    ("monitor", Never(FOR_CONNECTION)),
    ("object|freq", As(Shape)),
    ("object|idletime", As(Shape)),
    ("object|refcount", As(Shape)),
    ("pexpire", Rules(RACES)),
    ("pexpiretime", As(Time(500))),
    ("expiretime", As(Time(1))),
    (
        "pfselftest",
        Never("takes seconds at each call; a script has it"),
    ),
    ("psubscribe", Listener),
    ("psync", Never(REPLICATION)),
    ("pttl", As(Time(500))),
    ("pubsub|channels", As(Unordered)),
    ("pubsub|shardchannels", As(Unordered)),
    ("punsubscribe", Listener),
    ("randomkey", As(Shape)),
    ("replconf", Never(REPLICATION)),
    ("replicaof", Never(REPLICATION)),
    (
        "restore",
        Rules("the rules hold payloads that mean something"),
    ),
    (
        "restore-asking",
        Rules("the rules hold payloads that mean something"),
    ),
    ("save", Never(FILES)),
    ("scan", Rules(CURSOR)),
    ("script|debug", Rules("forks")),
    ("shutdown", Never("ends the server")),
    ("slaveof", Never(REPLICATION)),
    ("slowlog|get", As(Refusal)),
    ("slowlog|len", As(Refusal)),
    (
        "sort",
        Rules("elements whose weights are equal have no order"),
    ),
    (
        "sort_ro",
        Rules("elements whose weights are equal have no order"),
    ),
    ("spop", Rules(RANDOM)),
    ("srandmember", As(Shape)),
    ("sscan", Rules(CURSOR)),
    ("ssubscribe", Listener),
    ("subscribe", Listener),
    ("sunsubscribe", Listener),
    ("sync", Never(REPLICATION)),
    ("time", As(Shape)),
    ("ttl", As(Time(1))),
    ("unsubscribe", Listener),
    ("wait", Rules(WAITS)),
    ("xadd", Rules("names entries by the clock")),
    ("xautoclaim", Rules(RACES)),
    ("xclaim", Rules(RACES)),
    ("xinfo|consumers", As(Time(2000))),
    ("xinfo|stream", As(Time(2000))),
    ("xpending", As(Time(2000))),
    ("xread", Rules(WAITS)),
    ("xreadgroup", Rules(WAITS)),
    ("zrandmember", As(Shape)),
    ("zlexcount", Rules(LEVELS)),
    ("zrange", Rules(LEVELS)),
    ("zrangebylex", Rules(LEVELS)),
    ("zrangestore", Rules(LEVELS)),
    ("zremrangebylex", Rules(LEVELS)),
    ("zrevrangebylex", Rules(LEVELS)),
    ("zscan", Rules(CURSOR)),
    ("config|resetstat", As(Exact)),
];

/// The exception for a command, if there is one.
pub fn policy(name: &str) -> Option<Policy> {
    let known = POLICIES.iter().find(|(other, _)| *other == name);
    known.map(|(_, policy)| *policy)
}

/// Has a geo search that stores what it finds keep all of it: which of several members at the same distance COUNT keeps is
/// left to an unstable sort, and what comes behind would be about other members.
pub(super) fn keep_all_found(args: &mut [Vec<u8>]) {
    const STORES: [&str; 3] = ["STORE", "STOREDIST", "GEOSEARCHSTORE"];
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let stores = |word: &Vec<u8>| STORES.iter().any(|name| is(word, name));
    if !args[0].to_ascii_lowercase().starts_with(b"geo") || !args.iter().any(stores) {
        return;
    }
    if let Some(at) = args.iter().position(|word| is(word, "COUNT"))
        && let Some(count) = args.get_mut(at + 1)
        && str::from_utf8(count).is_ok_and(|text| text.parse().is_ok_and(|count: u32| count > 0))
    {
        *count = b"1000".to_vec();
    }
}
