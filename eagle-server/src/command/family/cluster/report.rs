//! CLUSTER subcommands that only tell.

use super::{O_1, cluster, docs, refused};
use crate::cluster::state::{Direction, NodeEndpoint, ShardNode};
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::CommandError;
use crate::command::spec::{Command, Docs, Flags, Handler};
use eagle_core::resp::Writer;
use eagle_core::store::{SLOTS, key_slot};

const O_NODES: &str = "O(N) where N is the total number of Cluster nodes";
const NONDETERMINISTIC: &[&str] = &["nondeterministic_output"];

/// A row of a subcommand that only tells.
const fn report(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs).flags(&[Flags::STALE])
}

pub(super) const INFO: Command = report(
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

pub(super) const NODES: Command = report(
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

pub(super) const MYID: Command = report(
    "myid",
    2,
    myid,
    docs("3.0.0", "Return the node id", O_1, ""),
);

fn myid(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let id = cluster(cx)?.look(|state| state.my_id());
    cx.reply_bulk(id.to_string().as_bytes())
}

pub(super) const MYSHARDID: Command = report(
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

pub(super) const SLOTS_REPORT: Command = {
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
    let report = cluster(cx)?.look(|state| state.slots_report(false));
    // Every server is written once and copied: a cluster that was resharded often has thousands of ranges.
    let protocol = cx.out.protocol();
    let servers = report.servers.iter().map(|nodes| {
        let mut out = Writer::new(protocol);
        nodes.iter().for_each(|node| write_endpoint(&mut out, node));
        (nodes.len(), out)
    });
    let servers: Vec<(usize, Writer)> = servers.collect();
    cx.out.array(report.ranges.len());
    for range in report.ranges {
        let (count, nodes) = &servers[range.servers];
        cx.out.array(2 + count);
        cx.out.integer(range.first.into());
        cx.out.integer(range.last.into());
        cx.out.raw(nodes.as_bytes());
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

pub(super) const SHARDS: Command = report(
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

pub(super) const LINKS: Command = report(
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

pub(super) const REPLICAS: Command = report(
    "replicas",
    3,
    replicas,
    docs("5.0.0", REPLICAS_SUMMARY, O_1, "node-id"),
)
.flags(&[Flags::ADMIN, Flags::STALE])
.tips(NONDETERMINISTIC);

pub(super) const SLAVES: Command = report(
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

pub(super) const COUNT_FAILURE_REPORTS: Command = report(
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

pub(super) const KEYSLOT: Command = report(
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

pub(super) const COUNTKEYSINSLOT: Command = report(
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
    let count = cx.node.keyspace.slot_len(cx.db(), slot);
    cx.reply_integer(count as i64)
}

pub(super) const GETKEYSINSLOT: Command = report(
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
        .slot_keys(cx.db(), slot, count, &mut |entry| keys.push(entry.key()));
    cx.out.array(keys.len());
    keys.iter().for_each(|key| cx.out.bulk(key));
    Ok(Flow::Done)
}

pub(super) fn parse_slot(number: i64) -> Option<u16> {
    u16::try_from(number)
        .ok()
        .filter(|slot| usize::from(*slot) < SLOTS)
}
