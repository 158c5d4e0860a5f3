//! What the cluster looks like from here: the `CLUSTER` subcommands that only tell, `nodes.conf`, and the topology.
//!
//! Nodes come in the order of their names, so that two reports differ only where the cluster does.

use super::admin::AdminError;
use super::effect::LinkId;
use super::links::Direction;
use super::node::{Node, NodeKey};
use super::open::{ClusterState, PreferredEndpoint};
use crate::cluster::bus::MessageKind;
use crate::cluster::config_file::{ClusterFile, NodeLine, OpenSlot};
use crate::cluster::topology::TopologyBuilder;
use crate::cluster::{NodeFlags, NodeId, SLOT_COUNT, Topology, TopologyNode};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A node as `CLUSTER SLOTS` tells of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeEndpoint {
    /// What to connect to; `None` is a null reply: "the address you already use".
    pub host: Option<String>,
    /// Client port.
    pub port: u16,
    /// The node's name.
    pub id: NodeId,
    /// Further names of the host: `ip`, `hostname`.
    pub metadata: Vec<(&'static str, String)>,
}

/// `CLUSTER SLOTS`: ranges by ascending slots. They may be as many as there are slots, but only a few different nodes
/// serve them, so the servers stand apart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SlotsReport {
    /// The ranges.
    pub ranges: Vec<SlotRange>,
    /// Who serves: each time an owner, then its replicas that can.
    pub servers: Vec<Vec<NodeEndpoint>>,
}

/// One entry of `CLUSTER SLOTS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotRange {
    /// First slot.
    pub first: u16,
    /// Last slot, included.
    pub last: u16,
    /// Index of the servers.
    pub servers: usize,
}

/// Whether a node of a shard can serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// It can.
    Online,
    /// It is suspected or failed.
    Fail,
    /// It is a replica without data yet.
    Loading,
}

impl Health {
    /// The word in `CLUSTER SHARDS`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Fail => "fail",
            Self::Loading => "loading",
        }
    }
}

/// A node as `CLUSTER SHARDS` tells of it; the fields stand in the order of the reply, absent ones are left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardNode {
    /// `id`.
    pub id: NodeId,
    /// `port`.
    pub port: Option<u16>,
    /// `tls-port`.
    pub tls_port: Option<u16>,
    /// `ip`.
    pub ip: String,
    /// `endpoint`.
    pub endpoint: String,
    /// `hostname`.
    pub host_name: Option<String>,
    /// `role`: `master` if true, else `replica`.
    pub is_primary: bool,
    /// `replication-offset`.
    pub offset: u64,
    /// `health`.
    pub health: Health,
}

/// One entry of `CLUSTER SHARDS`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardReport {
    /// `slots`: first and last of each range.
    pub ranges: Vec<(u16, u16)>,
    /// `nodes`: the primary, then its replicas.
    pub nodes: Vec<ShardNode>,
}

/// One entry of `CLUSTER LINKS`; the sizes of its queue are the connection's affair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkReport {
    /// The link.
    pub link: LinkId,
    /// `direction`: `to` if outbound, `from` if inbound.
    pub direction: Direction,
    /// `node`.
    pub node: NodeId,
    /// `create-time`, Unix milliseconds.
    pub created_ms: u64,
}

impl ClusterState {
    /// `CLUSTER MYID`.
    pub fn my_id(&self) -> NodeId {
        self.me().id
    }

    /// `CLUSTER MYSHARDID`.
    pub fn my_shard_id(&self) -> NodeId {
        self.shard_of(self.myself)
    }

    /// Whether the cluster is in order.
    pub fn is_ok(&self) -> bool {
        self.health.ok
    }

    /// Whether this node is a primary, and its own config epoch and slots.
    pub fn my_claim(&self) -> (bool, u64, &crate::cluster::SlotSet) {
        (
            self.me().is_primary(),
            self.me().config_epoch,
            &self.me().slots,
        )
    }

    /// The config epoch recorded for a node.
    pub fn config_epoch_of(&self, id: &NodeId) -> Option<u64> {
        self.lookup(id).map(|key| self.node(key).config_epoch)
    }

    /// Highest epoch known, and the epoch of the last vote.
    pub fn epochs(&self) -> (u64, u64) {
        (self.current_epoch, self.last_vote_epoch)
    }

    /// `CLUSTER NODES`.
    pub fn nodes_text(&self, client_has_tls: bool) -> String {
        let mut text = String::new();
        for key in self.names.values() {
            let mut line = self.line(*key);
            line.port = self.port_for(self.node(*key), client_has_tls);
            writeln!(text, "{line}").expect("writing to a string does not fail");
        }
        text
    }

    /// `CLUSTER REPLICAS id`: one line of `CLUSTER NODES` for each.
    pub fn replicas_text(
        &self,
        id: &[u8],
        client_has_tls: bool,
    ) -> Result<Vec<String>, AdminError> {
        let key = self.known(id)?;
        if self.node(key).is_replica() {
            return Err(AdminError::Refused("The specified node is not a master"));
        }
        let line = |key: &NodeKey| {
            let port = self.port_for(self.node(*key), client_has_tls);
            NodeLine {
                port,
                ..self.line(*key)
            }
            .to_string()
        };
        Ok(self.node(key).replicas.iter().map(line).collect())
    }

    /// The content of `nodes.conf`.
    pub(super) fn config_text(&self) -> String {
        let settled = self
            .names
            .values()
            .filter(|key| !self.node(**key).in_handshake());
        ClusterFile {
            nodes: settled.map(|key| self.line(*key)).collect(),
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
            shard_id: self.me().shard_id,
        }
        .to_string()
    }

    fn line(&self, key: NodeKey) -> NodeLine {
        let node = self.node(key);
        let speaks_for = node.primary.map_or(node, |primary| self.node(primary));
        let mut open_slots = BTreeMap::new();
        if key == self.myself {
            for (slot, source) in &self.slots.importing_from {
                open_slots.insert(*slot, OpenSlot::ImportingFrom(self.node(*source).id));
            }
            for (slot, target) in &self.slots.migrating_to {
                open_slots.insert(*slot, OpenSlot::MigratingTo(self.node(*target).id));
            }
        }
        NodeLine {
            id: node.id,
            ip: node.ip,
            port: node.port,
            cport: node.cport,
            host_name: node.host_name.clone(),
            human_name: node.human_name.clone(),
            shard_id: node.shard_id,
            flags: if key == self.myself {
                node.flags | NodeFlags::MYSELF
            } else {
                node.flags
            },
            primary: node.primary.map(|primary| self.node(primary).id),
            ping_sent_ms: node.ping_sent_ms,
            pong_received_ms: node.pong_received_ms,
            config_epoch: speaks_for.config_epoch,
            connected: node.outbound.is_some() || key == self.myself,
            slots: node.slots.clone(),
            open_slots: open_slots.into_iter().collect(),
        }
    }

    /// `CLUSTER INFO`.
    pub fn info_text(&self) -> String {
        let count = |test: fn(&Node) -> bool| -> usize {
            self.nodes
                .values()
                .filter(|node| test(node))
                .map(|node| usize::from(node.slot_count))
                .sum()
        };
        let speaks_for = self
            .me()
            .primary
            .map_or(self.me(), |primary| self.node(primary));
        let mut text = format!(
            "cluster_state:{}\r\ncluster_slots_assigned:{}\r\ncluster_slots_ok:{}\r\ncluster_slots_pfail:{}\r\n\
             cluster_slots_fail:{}\r\ncluster_known_nodes:{}\r\ncluster_size:{}\r\ncluster_current_epoch:{}\r\n\
             cluster_my_epoch:{}\r\n",
            if self.health.ok { "ok" } else { "fail" },
            count(|_| true),
            count(|node| !node.is_unreachable()),
            count(|node| node.flags.contains(NodeFlags::PFAIL) && !node.is_failed()),
            count(Node::is_failed),
            self.nodes.len(),
            self.nodes.values().filter(|node| node.is_voter()).count(),
            self.current_epoch,
            speaks_for.config_epoch,
        );
        for (direction, counts) in [
            ("sent", &self.counters.sent),
            ("received", &self.counters.received),
        ] {
            for ((_, word), count) in MessageKind::ALL
                .iter()
                .zip(counts)
                .filter(|(_, count)| **count > 0)
            {
                let _ = write!(
                    text,
                    "cluster_stats_messages_{word}_{direction}:{count}\r\n"
                );
            }
            let _ = write!(
                text,
                "cluster_stats_messages_{direction}:{}\r\n",
                counts.iter().sum::<u64>()
            );
        }
        let exceeded = self.counters.buffer_limit_exceeded;
        let _ = write!(
            text,
            "total_cluster_links_buffer_limit_exceeded:{exceeded}\r\n"
        );
        text
    }

    /// `CLUSTER SLOTS`.
    pub fn slots_report(&self, client_has_tls: bool) -> SlotsReport {
        let mut report = SlotsReport::default();
        let mut places: BTreeMap<NodeKey, usize> = BTreeMap::new();
        let mut running: Option<NodeKey> = None;
        for slot in 0..SLOT_COUNT {
            let owner = self.slots.owner(slot);
            if let (Some(range), true) = (
                report.ranges.last_mut(),
                owner.is_some() && owner == running,
            ) {
                range.last = slot;
            } else if let Some(owner) = owner {
                let servers = *places.entry(owner).or_insert_with(|| {
                    report.servers.push(self.servers(owner, client_has_tls));
                    report.servers.len() - 1
                });
                report.ranges.push(SlotRange {
                    first: slot,
                    last: slot,
                    servers,
                });
            }
            running = owner;
        }
        report
    }

    fn servers(&self, owner: NodeKey, client_has_tls: bool) -> Vec<NodeEndpoint> {
        let replicas = self.node(owner).replicas.iter().filter(|key| {
            let replica = self.node(**key);
            !replica.is_failed() && replica.offset != 0
        });
        let keys = std::iter::once(&owner).chain(replicas);
        keys.map(|key| self.endpoint(self.node(*key), client_has_tls))
            .collect()
    }

    fn endpoint(&self, node: &Node, client_has_tls: bool) -> NodeEndpoint {
        let preferred = self.config.preferred_endpoint;
        let mut metadata = Vec::new();
        if preferred != PreferredEndpoint::Ip {
            metadata.push(("ip", node.ip.to_string()));
        }
        if preferred != PreferredEndpoint::HostName && !node.host_name.as_str().is_empty() {
            metadata.push(("hostname", node.host_name.as_str().to_owned()));
        }
        let host = (preferred != PreferredEndpoint::Unknown).then(|| self.preferred_host(node));
        NodeEndpoint {
            host,
            port: self.port_for(node, client_has_tls),
            id: node.id,
            metadata,
        }
    }

    fn preferred_host(&self, node: &Node) -> String {
        match self.config.preferred_endpoint {
            PreferredEndpoint::Ip => node.ip.to_string(),
            PreferredEndpoint::HostName if node.host_name.as_str().is_empty() => "?".to_owned(),
            PreferredEndpoint::HostName => node.host_name.as_str().to_owned(),
            PreferredEndpoint::Unknown => String::new(),
        }
    }

    fn port_for(&self, node: &Node, client_has_tls: bool) -> u16 {
        let plaintext = self.config.tls_cluster && !client_has_tls && node.pport != 0;
        if plaintext { node.pport } else { node.port }
    }

    /// `CLUSTER SHARDS`.
    pub fn shards(&self) -> Vec<ShardReport> {
        let primaries = self
            .names
            .values()
            .filter(|key| self.node(**key).is_primary() && !self.node(**key).in_handshake());
        primaries
            .map(|key| {
                let primary = self.node(*key);
                let nodes = std::iter::once(key).chain(&primary.replicas);
                ShardReport {
                    ranges: primary.slots.ranges().collect(),
                    nodes: nodes.map(|key| self.shard_node(self.node(*key))).collect(),
                }
            })
            .collect()
    }

    fn shard_node(&self, node: &Node) -> ShardNode {
        let tls = self.config.tls_cluster;
        let (plaintext, encrypted) = if tls {
            (node.pport, node.port)
        } else {
            (node.port, 0)
        };
        let shown = |port: u16| (port != 0).then_some(port);
        ShardNode {
            id: node.id,
            port: shown(plaintext),
            tls_port: shown(encrypted),
            ip: node.ip.to_string(),
            endpoint: self.preferred_host(node),
            host_name: Some(node.host_name.as_str().to_owned()).filter(|name| !name.is_empty()),
            is_primary: node.is_primary(),
            offset: node.offset,
            health: match node {
                node if node.is_unreachable() => Health::Fail,
                node if node.is_replica() && node.offset == 0 => Health::Loading,
                _ => Health::Online,
            },
        }
    }

    /// `CLUSTER LINKS`.
    pub fn link_reports(&self) -> Vec<LinkReport> {
        let report = |(link, entry): (&LinkId, &super::links::Link)| {
            Some(LinkReport {
                link: *link,
                direction: entry.direction,
                node: self.node(entry.node?).id,
                created_ms: entry.created_ms,
            })
        };
        self.links.iter().filter_map(report).collect()
    }

    pub(super) fn build_topology(&self) -> Topology {
        let keys: Vec<NodeKey> = self
            .names
            .values()
            .copied()
            .filter(|key| !self.node(*key).in_handshake())
            .collect();
        let places: BTreeMap<NodeKey, _> = keys
            .iter()
            .enumerate()
            .map(|(place, key)| (*key, TopologyBuilder::index(place)))
            .collect();
        let nodes = keys.iter().map(|key| {
            let node = self.node(*key);
            TopologyNode {
                id: node.id,
                ip: node.ip,
                host_name: node.host_name.clone(),
                port: node.port,
                pport: node.pport,
                flags: node.flags,
                primary: node
                    .primary
                    .and_then(|primary| places.get(&primary).copied()),
            }
        });
        let myself = keys
            .iter()
            .position(|key| *key == self.myself)
            .expect("this node is never in handshake");
        let mut builder = TopologyBuilder::new(nodes.collect(), myself);
        for key in &keys {
            builder.owner(&self.node(*key).slots, places[key]);
        }
        let place = |open: &BTreeMap<u16, NodeKey>| {
            open.iter()
                .filter_map(|(slot, key)| Some((*slot, *places.get(key)?)))
                .collect()
        };
        builder.open_slots(
            place(&self.slots.migrating_to),
            place(&self.slots.importing_from),
        );
        builder.finish(
            self.topology_version,
            self.health.ok,
            self.config.tls_cluster,
            self.config.preferred_endpoint,
        )
    }
}
