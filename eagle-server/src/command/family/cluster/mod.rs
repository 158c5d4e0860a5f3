//! CLUSTER, and the connection flags that only a cluster knows: ASKING, READONLY, READWRITE.
//!
//! Subcommands that give slots away run with every slot locked: no command that was routed by the
//! old owner table is still at work when the new one comes into force.

mod order;
mod report;
mod scan;
mod slot_stats;

use crate::cluster::Cluster;
use crate::cluster::state::AdminError;
use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Family, Flags};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub const FAMILY: Family = Family {
    name: "cluster",
    commands: &[&CLUSTER, &ASKING, &scan::CLUSTERSCAN, &READONLY, &READWRITE],
};

const CLUSTER: Command = Command::new(
    "cluster",
    -2,
    help,
    Docs::new("cluster", "3.0.0", "A container for cluster commands")
        .complexity("Depends on subcommand."),
)
.subcommands(&[
    &order::ADDSLOTS,
    &order::ADDSLOTSRANGE,
    &order::BUMPEPOCH,
    &report::COUNT_FAILURE_REPORTS,
    &report::COUNTKEYSINSLOT,
    &order::DELSLOTS,
    &order::DELSLOTSRANGE,
    &order::FAILOVER,
    &order::FLUSHSLOTS,
    &order::FORGET,
    &report::GETKEYSINSLOT,
    &HELP,
    &report::INFO,
    &report::KEYSLOT,
    &report::LINKS,
    &order::MEET,
    &report::MYID,
    &report::MYSHARDID,
    &report::NODES,
    &report::REPLICAS,
    &order::REPLICATE,
    &order::RESET,
    &order::SAVECONFIG,
    &order::SET_CONFIG_EPOCH,
    &order::SETSLOT,
    &report::SHARDS,
    &report::SLAVES,
    &slot_stats::SLOT_STATS,
    &report::SLOTS_REPORT,
]);

const O_1: &str = "O(1)";

/// The cluster this node is part of.
fn cluster<'a>(cx: &Context<'a>) -> Result<&'a Arc<Cluster>, CommandError> {
    cx.node.cluster.as_ref().ok_or(errors::CLUSTER_DISABLED)
}

fn refused(error: AdminError) -> CommandError {
    CommandError::owned(format!(
        "ERR {}",
        errors::one_line(error.to_string().as_bytes())
    ))
}

const HELP: Command = Command::new(
    "help",
    2,
    help,
    docs(
        "5.0.0",
        "Show helpful text about the different subcommands",
        O_1,
        "",
    ),
)
.flags(&[Flags::LOADING, Flags::STALE]);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cluster(cx)?;
    cx.reply_help(&[
        "ADDSLOTS <slot> [<slot> ...]",
        "    Assign slots to current node.",
        "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
        "    Assign slots which are between <start-slot> and <end-slot> to current node.",
        "BUMPEPOCH",
        "    Advance the cluster config epoch.",
        "COUNT-FAILURE-REPORTS <node-id>",
        "    Return number of failure reports for <node-id>.",
        "COUNTKEYSINSLOT <slot>",
        "    Return the number of keys in <slot>.",
        "DELSLOTS <slot> [<slot> ...]",
        "    Delete slots information from current node.",
        "DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
        "    Delete slots information which are between <start-slot> and <end-slot> from current node.",
        "FAILOVER [FORCE|TAKEOVER]",
        "    Promote current replica node to being a master.",
        "FORGET <node-id>",
        "    Remove a node from the cluster.",
        "GETKEYSINSLOT <slot> <count>",
        "    Return key names stored by current node in a slot.",
        "FLUSHSLOTS",
        "    Delete current node own slots information.",
        "INFO",
        "    Return information about the cluster.",
        "KEYSLOT <key>",
        "    Return the hash slot for <key>.",
        "MEET <ip> <port> [<bus-port>]",
        "    Connect nodes into a working cluster.",
        "MYID",
        "    Return the node id.",
        "MYSHARDID",
        "    Return the node's shard id.",
        "NODES",
        "    Return cluster configuration seen by node. Output format:",
        "    <id> <ip:port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
        "REPLICATE <node-id>",
        "    Configure current node as replica to <node-id>.",
        "RESET [HARD|SOFT]",
        "    Reset current node (default: soft).",
        "SET-CONFIG-EPOCH <epoch>",
        "    Set config epoch of current node.",
        "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
        "    Set slot state.",
        "REPLICAS <node-id>",
        "    Return <node-id> replicas.",
        "SAVECONFIG",
        "    Force saving cluster configuration on disk.",
        "SLOT-STATS (SLOTSRANGE <start slot> <end slot>|ORDERBY <metric> [LIMIT <limit>] [ASC|DESC])",
        "    Return what the slots of this node hold and cost.",
        "SLOTS",
        "    Return information about slots range mappings. Each range is made of:",
        "    start, end, master and replicas IP addresses, ports and ids",
        "SHARDS",
        "    Return information about slot range mappings and the nodes associated with them.",
        "LINKS",
        "    Return information about all network links between this node and its peers.",
        "    Output format is an array where each array element is a map containing attributes of a link",
    ])
}

const fn docs(
    since: &'static str,
    summary: &'static str,
    complexity: &'static str,
    syntax: &'static str,
) -> Docs {
    Docs::new("cluster", since, summary)
        .complexity(complexity)
        .syntax(syntax)
}

/// ASKING -- the next command may act on a slot that is being imported.
const ASKING: Command = Command::new(
    "asking",
    1,
    asking,
    docs(
        "3.0.0",
        "Sent by cluster clients after an -ASK redirect",
        O_1,
        "",
    ),
)
.flags(&[Flags::FAST])
.family(Categories::CONNECTION);

fn asking(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cluster(cx)?;
    // Each call of a script is routed as its client had it before the script.
    cx.session.asking |= !cx.session.in_script;
    cx.reply_ok()
}

/// READONLY -- a replica may answer reads of its primary's slots.
const READONLY: Command = Command::new(
    "readonly",
    1,
    readonly,
    docs(
        "3.0.0",
        "Enables read queries for a connection to a cluster replica node",
        O_1,
        "",
    ),
)
.flags(&[Flags::LOADING, Flags::STALE, Flags::FAST])
.family(Categories::CONNECTION);

fn readonly(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    set_readonly(cx, true)
}

/// READWRITE -- takes READONLY back.
const READWRITE: Command = Command::new(
    "readwrite",
    1,
    readwrite,
    docs(
        "3.0.0",
        "Disables read queries for a connection to a cluster replica node",
        O_1,
        "",
    ),
)
.flags(&[Flags::LOADING, Flags::STALE, Flags::FAST])
.family(Categories::CONNECTION);

fn readwrite(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    set_readonly(cx, false)
}

fn set_readonly(cx: &mut Context<'_>, readonly: bool) -> Outcome {
    cluster(cx)?;
    cx.session.readonly = readonly;
    cx.session.info.readonly.store(readonly, Ordering::Relaxed);
    cx.reply_ok()
}
