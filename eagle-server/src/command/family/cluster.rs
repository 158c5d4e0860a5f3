//! CLUSTER, and the connection flags that only a cluster knows: ASKING, READONLY, READWRITE.
//!
//! Subcommands that give slots away run with every slot locked: no command that was routed by the
//! old owner table is still at work when the new one comes into force.

use crate::cluster::Cluster;
use crate::cluster::state::{AdminError, Direction, NodeEndpoint, ShardNode};
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Family, Flags, Handler, Scope};
use eagle_core::resp::Writer;
use eagle_core::store::{SLOTS, key_slot};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub const FAMILY: Family = Family {
    name: "cluster",
    commands: &[&CLUSTER, &ASKING, &READONLY, &READWRITE],
};

const CLUSTER: Command = Command::new(
    "cluster",
    -2,
    help,
    Docs::new("cluster", "3.0.0", "A container for cluster commands")
        .complexity("Depends on subcommand."),
)
.subcommands(&[
    &ADDSLOTS,
    &ADDSLOTSRANGE,
    &BUMPEPOCH,
    &COUNT_FAILURE_REPORTS,
    &COUNTKEYSINSLOT,
    &DELSLOTS,
    &DELSLOTSRANGE,
    &FAILOVER,
    &FLUSHSLOTS,
    &FORGET,
    &GETKEYSINSLOT,
    &HELP,
    &INFO,
    &KEYSLOT,
    &LINKS,
    &MEET,
    &MYID,
    &MYSHARDID,
    &NODES,
    &REPLICAS,
    &REPLICATE,
    &RESET,
    &SAVECONFIG,
    &SET_CONFIG_EPOCH,
    &SETSLOT,
    &SHARDS,
    &SLAVES,
    &SLOTS_REPORT,
]);

const O_1: &str = "O(1)";
const O_NODES: &str = "O(N) where N is the total number of Cluster nodes";
const O_SLOTS: &str = "O(N) where N is the total number of hash slot arguments";
const O_RANGE: &str =
    "O(N) where N is the total number of the slots between the start slot and end slot arguments.";

/// A row of a subcommand that only tells.
const fn report(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs).flags(&[Flags::STALE])
}

/// A row of a subcommand that changes something.
const fn order(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs).flags(&[
        Flags::ADMIN,
        Flags::STALE,
        Flags::NO_ASYNC_LOADING,
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

const NONDETERMINISTIC: &[&str] = &["nondeterministic_output"];

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

/// Replies OK, or why the state machine refused.
fn reply_done(cx: &mut Context<'_>, done: Result<(), AdminError>) -> Outcome {
    done.map_err(refused)?;
    cx.reply_ok()
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

// ---- Reports

const INFO: Command = report(
    "info",
    2,
    info,
    docs(
        "3.0.0",
        "Provides info about Redis Cluster node state",
        O_1,
        "",
    ),
)
.tips(NONDETERMINISTIC);

fn info(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let text = cluster(cx)?.look(|state| state.info_text());
    cx.out.verbatim(b"txt", text);
    Ok(Flow::Done)
}

const NODES: Command = report(
    "nodes",
    2,
    nodes,
    docs("3.0.0", "Get Cluster config for the node", O_NODES, ""),
)
.tips(NONDETERMINISTIC);

fn nodes(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let text = cluster(cx)?.look(|state| state.nodes_text(false));
    cx.out.verbatim(b"txt", text);
    Ok(Flow::Done)
}

const MYID: Command = report(
    "myid",
    2,
    myid,
    docs("3.0.0", "Return the node id", O_1, ""),
);

fn myid(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let id = cluster(cx)?.look(|state| state.my_id());
    cx.reply_bulk(id.to_string().as_bytes())
}

const MYSHARDID: Command = report(
    "myshardid",
    2,
    myshardid,
    docs("7.2.0", "Return the node shard id", O_1, ""),
)
.tips(NONDETERMINISTIC);

fn myshardid(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let id = cluster(cx)?.look(|state| state.my_shard_id());
    cx.reply_bulk(id.to_string().as_bytes())
}

const SLOTS_REPORT: Command = {
    let docs = docs(
        "3.0.0",
        "Get array of Cluster slot to node mappings",
        O_NODES,
        "",
    )
    .history(&[
        ("4.0.0", "Added node IDs."),
        ("7.0.0", "Added additional networking metadata field."),
    ])
    .deprecated("7.0.0", "`CLUSTER SHARDS`");
    report("slots", 2, slots, docs).tips(NONDETERMINISTIC)
};

fn slots(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let ranges = cluster(cx)?.look(|state| state.slot_ranges(false));
    cx.out.array(ranges.len());
    for range in ranges {
        cx.out.array(2 + range.nodes.len());
        cx.out.integer(range.first.into());
        cx.out.integer(range.last.into());
        range
            .nodes
            .iter()
            .for_each(|node| write_endpoint(cx.out, node));
    }
    Ok(Flow::Done)
}

fn write_endpoint(out: &mut Writer, node: &NodeEndpoint) {
    out.array(4);
    out.bulk_or_null(node.host.as_deref());
    out.integer(node.port.into());
    out.bulk(node.id.to_string());
    out.map(node.metadata.len());
    for (name, value) in &node.metadata {
        out.bulk(name);
        out.bulk(value);
    }
}

const SHARDS: Command = report(
    "shards",
    2,
    shards,
    docs(
        "7.0.0",
        "Get array of cluster slots to node mappings",
        "O(N) where N is the total number of cluster nodes",
        "",
    ),
)
.tips(NONDETERMINISTIC);

fn shards(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let shards = cluster(cx)?.look(|state| state.shards());
    cx.out.array(shards.len());
    for shard in shards {
        cx.out.map(2);
        cx.out.bulk("slots");
        cx.out.array(2 * shard.ranges.len());
        for (first, last) in shard.ranges {
            cx.out.integer(first.into());
            cx.out.integer(last.into());
        }
        cx.out.bulk("nodes");
        cx.out.array(shard.nodes.len());
        shard
            .nodes
            .iter()
            .for_each(|node| write_shard_node(cx.out, node));
    }
    Ok(Flow::Done)
}

fn write_shard_node(out: &mut Writer, node: &ShardNode) {
    let optional = [
        node.port.is_some(),
        node.tls_port.is_some(),
        node.host_name.is_some(),
    ];
    out.map(6 + optional.into_iter().filter(|present| *present).count());
    out.bulk("id");
    out.bulk(node.id.to_string());
    if let Some(port) = node.port {
        out.bulk("port");
        out.integer(port.into());
    }
    if let Some(port) = node.tls_port {
        out.bulk("tls-port");
        out.integer(port.into());
    }
    out.bulk("ip");
    out.bulk(&node.ip);
    out.bulk("endpoint");
    out.bulk(&node.endpoint);
    if let Some(name) = &node.host_name {
        out.bulk("hostname");
        out.bulk(name);
    }
    out.bulk("role");
    out.bulk(if node.is_primary { "master" } else { "replica" });
    out.bulk("replication-offset");
    out.integer(node.offset as i64);
    out.bulk("health");
    out.bulk(node.health.word());
}

const LINKS: Command = report(
    "links",
    2,
    links,
    docs(
        "7.0.0",
        "Returns a list of all TCP links to and from peer nodes in cluster",
        O_NODES,
        "",
    ),
)
.tips(NONDETERMINISTIC);

fn links(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let cluster = cluster(cx)?;
    let links = cluster.look(|state| state.link_reports());
    cx.out.array(links.len());
    for link in links {
        let queued = cluster.link_bytes(link.link) as i64;
        cx.out.map(6);
        cx.out.bulk("direction");
        cx.out.bulk(if link.direction == Direction::Outbound {
            "to"
        } else {
            "from"
        });
        cx.out.bulk("node");
        cx.out.bulk(link.node.to_string());
        cx.out.bulk("create-time");
        cx.out.integer(link.created_ms as i64);
        cx.out.bulk("events");
        cx.out.bulk(if queued > 0 { "rw" } else { "r" });
        cx.out.bulk("send-buffer-allocated");
        cx.out.integer(queued);
        cx.out.bulk("send-buffer-used");
        cx.out.integer(queued);
    }
    Ok(Flow::Done)
}

const REPLICAS_SUMMARY: &str = "List replica nodes of the specified master node";

const REPLICAS: Command = report(
    "replicas",
    3,
    replicas,
    docs("5.0.0", REPLICAS_SUMMARY, O_1, "node-id"),
)
.flags(&[Flags::ADMIN, Flags::STALE])
.tips(NONDETERMINISTIC);

const SLAVES: Command = report(
    "slaves",
    3,
    replicas,
    docs("3.0.0", REPLICAS_SUMMARY, O_1, "node-id").deprecated("5.0.0", "`CLUSTER REPLICAS`"),
)
.flags(&[Flags::ADMIN, Flags::STALE])
.tips(NONDETERMINISTIC);

fn replicas(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let id = args.word()?;
    let lines = cluster(cx)?
        .look(|state| state.replicas_text(id, false))
        .map_err(refused)?;
    cx.out.array(lines.len());
    lines.iter().for_each(|line| cx.out.bulk(line));
    Ok(Flow::Done)
}

const COUNT_FAILURE_REPORTS: Command = report(
    "count-failure-reports",
    3,
    count_failure_reports,
    docs(
        "3.0.0",
        "Return the number of failure reports active for a given node",
        "O(N) where N is the number of failure reports",
        "node-id",
    ),
)
.flags(&[Flags::ADMIN, Flags::STALE])
.tips(NONDETERMINISTIC);

fn count_failure_reports(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let id = args.word()?;
    let count = cluster(cx)?
        .act(|state, now_ms| state.count_failure_reports(id, now_ms))
        .map_err(refused)?;
    cx.reply_integer(count as i64)
}

const KEYSLOT: Command = report(
    "keyslot",
    3,
    keyslot,
    docs(
        "3.0.0",
        "Returns the hash slot of the specified key",
        "O(N) where N is the number of bytes in the key",
        "key",
    ),
);

fn keyslot(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    cluster(cx)?;
    cx.reply_integer(key_slot(args.word()?).into())
}

const COUNTKEYSINSLOT: Command = report(
    "countkeysinslot",
    3,
    countkeysinslot,
    docs(
        "3.0.0",
        "Return the number of local keys in the specified hash slot",
        O_1,
        "slot",
    ),
);

fn countkeysinslot(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    cluster(cx)?;
    let slot = parse_slot(args.integer()?).ok_or(CommandError::new("ERR Invalid slot"))?;
    let count = cx.node.keyspace.slot_len(0, slot);
    cx.reply_integer(count as i64)
}

const GETKEYSINSLOT: Command = report(
    "getkeysinslot",
    4,
    getkeysinslot,
    docs(
        "3.0.0",
        "Return local key names in the specified hash slot",
        "O(log(N)) where N is the number of requested keys",
        "slot count",
    ),
)
.tips(NONDETERMINISTIC);

fn getkeysinslot(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    cluster(cx)?;
    let (slot, count) = (args.integer()?, args.integer()?);
    let invalid = CommandError::new("ERR Invalid slot or number of keys");
    let (Some(slot), Ok(count)) = (parse_slot(slot), usize::try_from(count)) else {
        return Err(invalid);
    };
    let mut keys: Vec<&[u8]> = Vec::new();
    cx.view
        .slot_keys(0, slot, count, &mut |entry| keys.push(entry.key()));
    cx.out.array(keys.len());
    keys.iter().for_each(|key| cx.out.bulk(key));
    Ok(Flow::Done)
}

fn parse_slot(number: i64) -> Option<u16> {
    u16::try_from(number)
        .ok()
        .filter(|slot| usize::from(*slot) < SLOTS)
}

// ---- Orders

const MEET: Command = order(
    "meet",
    -4,
    meet,
    docs(
        "3.0.0",
        "Force a node cluster to handshake with another node",
        O_1,
        "ip port [cluster_bus_port]{4.0.0}",
    )
    .history(&[("4.0.0", "Added the optional `cluster_bus_port` argument.")]),
);

fn meet(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let cluster = cluster(cx)?;
    if args.len() > 3 {
        return Err(wrong_count("meet"));
    }
    let (ip, port, bus_port) = (args.word()?, args.word()?, args.word().ok());
    let done = cluster.act(|state, now_ms| state.meet(ip, port, bus_port, now_ms));
    reply_done(cx, done)
}

fn wrong_count(name: &str) -> CommandError {
    CommandError::owned(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try CLUSTER HELP."
    ))
}

const FORGET: Command = order(
    "forget",
    3,
    forget,
    docs(
        "3.0.0",
        "Remove a node from the nodes table",
        O_1,
        "node-id",
    ),
);

fn forget(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (cluster, id) = (cluster(cx)?, args.word()?);
    let done = cluster.act(|state, now_ms| state.forget(id, now_ms));
    reply_done(cx, done)
}

const ADDSLOTS: Command = order(
    "addslots",
    -3,
    addslots,
    docs(
        "3.0.0",
        "Assign new hash slots to receiving node",
        O_SLOTS,
        "slot [slot ...]",
    ),
)
.scope(Scope::All);

fn addslots(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let done = cluster(cx)?.act(|state, now_ms| state.add_slots(args.rest(), now_ms));
    reply_done(cx, done)
}

const DELSLOTS: Command = order(
    "delslots",
    -3,
    delslots,
    docs(
        "3.0.0",
        "Set hash slots as unbound in receiving node",
        O_SLOTS,
        "slot [slot ...]",
    ),
)
.scope(Scope::All);

fn delslots(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let done = cluster(cx)?.act(|state, now_ms| state.del_slots(args.rest(), now_ms));
    reply_done(cx, done)
}

const RANGE_SYNTAX: &str = "start-slot end-slot [start-slot end-slot ...]";

const ADDSLOTSRANGE: Command = order(
    "addslotsrange",
    -4,
    addslotsrange,
    docs(
        "7.0.0",
        "Assign new hash slots to receiving node",
        O_RANGE,
        RANGE_SYNTAX,
    ),
)
.scope(Scope::All);

fn addslotsrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (cluster, bounds) = (cluster(cx)?, ranges(cx, &args)?);
    let done = cluster.act(|state, now_ms| state.add_slots_range(bounds, now_ms));
    reply_done(cx, done)
}

const DELSLOTSRANGE: Command = order(
    "delslotsrange",
    -4,
    delslotsrange,
    docs(
        "7.0.0",
        "Set hash slots as unbound in receiving node",
        O_RANGE,
        RANGE_SYNTAX,
    ),
)
.scope(Scope::All);

fn delslotsrange(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (cluster, bounds) = (cluster(cx)?, ranges(cx, &args)?);
    let done = cluster.act(|state, now_ms| state.del_slots_range(bounds, now_ms));
    reply_done(cx, done)
}

fn ranges<'a>(cx: &Context<'_>, args: &Args<'a>) -> Result<&'a [&'a [u8]], CommandError> {
    if args.len() % 2 == 1 {
        Err(errors::wrong_arity(&cx.entry.full_name))
    } else {
        Ok(args.rest())
    }
}

const FLUSHSLOTS: Command = order(
    "flushslots",
    2,
    flushslots,
    docs("3.0.0", "Delete a node's own slots information", O_1, ""),
)
.scope(Scope::All);

fn flushslots(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let (cluster, is_empty) = (cluster(cx)?, cx.node.keyspace.len(0) == 0);
    let done = cluster.act(|state, now_ms| state.flush_slots(is_empty, now_ms));
    reply_done(cx, done)
}

const SETSLOT: Command = order(
    "setslot",
    -4,
    setslot,
    docs(
        "3.0.0",
        "Bind a hash slot to a specific node",
        O_1,
        "slot subcommand=<IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
    ),
)
.scope(Scope::All);

fn setslot(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (cluster, slot) = (cluster(cx)?, args.word()?);
    let keyspace = &cx.node.keyspace;
    let done = cluster.act(|state, now_ms| {
        state.set_slot(slot, args.rest(), |slot| keyspace.slot_len(0, slot), now_ms)
    });
    reply_done(cx, done)
}

const SET_CONFIG_EPOCH: Command = order(
    "set-config-epoch",
    3,
    set_config_epoch,
    docs(
        "3.0.0",
        "Set the configuration epoch in a new node",
        O_1,
        "config-epoch",
    ),
);

fn set_config_epoch(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (cluster, epoch) = (cluster(cx)?, args.word()?);
    let done = cluster.act(|state, now_ms| state.set_config_epoch(epoch, now_ms));
    reply_done(cx, done)
}

const BUMPEPOCH: Command = order(
    "bumpepoch",
    2,
    bumpepoch,
    docs("3.0.0", "Advance the cluster config epoch", O_1, ""),
)
.tips(NONDETERMINISTIC);

fn bumpepoch(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let (bumped, epoch) = cluster(cx)?.act(|state, now_ms| state.bump_config_epoch(now_ms));
    cx.out.simple(format!(
        "{} {epoch}",
        if bumped { "BUMPED" } else { "STILL" }
    ));
    Ok(Flow::Done)
}

const SAVECONFIG: Command = order(
    "saveconfig",
    2,
    saveconfig,
    docs(
        "3.0.0",
        "Forces the node to save cluster state on disk",
        O_1,
        "",
    ),
);

fn saveconfig(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cluster(cx)?.act(|state, _| state.save_config());
    cx.reply_ok()
}

const RESET: Command = Command::new(
    "reset",
    -2,
    reset,
    docs(
        "3.0.0",
        "Reset a Redis Cluster node",
        "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
        "[HARD | SOFT]",
    ),
)
.flags(&[Flags::ADMIN, Flags::NOSCRIPT, Flags::STALE])
.scope(Scope::All);

fn reset(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let cluster = cluster(cx)?;
    if args.len() > 1 {
        return Err(wrong_count("reset"));
    }
    let hard = args.accept("HARD");
    if !hard && !args.accept("SOFT") {
        args.finish()?;
    }
    let is_empty = cx.node.keyspace.len(0) == 0;
    let done = cluster.act(|state, now_ms| state.reset(hard, is_empty, now_ms));
    reply_done(cx, done)
}

const NO_REPLICATION: CommandError = CommandError::new(
    "ERR This version of EagleDB cannot be a replica: replication is not available yet",
);

const REPLICATE: Command = order(
    "replicate",
    3,
    replicate,
    docs(
        "3.0.0",
        "Reconfigure a node as a replica of the specified master node",
        O_1,
        "node-id",
    ),
);

/// A node that says it is a replica but holds no copy would be counted on by others, so it refuses.
fn replicate(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let id = args.word()?;
    cluster(cx)?
        .look(|state| state.replicas_text(id, false).map(drop))
        .or_else(|error| match error {
            AdminError::UnknownNode(_) => Err(refused(error)),
            _ => Ok(()),
        })?;
    Err(NO_REPLICATION)
}

const FAILOVER: Command = order(
    "failover",
    -2,
    failover,
    docs(
        "3.0.0",
        "Forces a replica to perform a manual failover of its master.",
        O_1,
        "options=[FORCE | TAKEOVER]",
    ),
);

fn failover(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    cluster(cx)?;
    if args.len() > 1 {
        return Err(wrong_count("failover"));
    }
    if !args.is_empty() && !args.accept("FORCE") && !args.accept("TAKEOVER") {
        return Err(errors::SYNTAX);
    }
    Err(CommandError::new(
        "ERR You should send CLUSTER FAILOVER to a replica",
    ))
}

// ---- Connection flags

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
    cx.session.asking = true;
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
