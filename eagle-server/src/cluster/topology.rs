//! The cluster as command routing sees it: immutable, shared, swapped as a whole when something changes.

use super::address::{HostName, IpText};
use super::state::PreferredEndpoint;
use super::{NodeFlags, NodeId, SLOT_COUNT, SlotSet};
use std::collections::BTreeMap;

/// Nobody owns the slot.
const NO_OWNER: u16 = u16::MAX;

/// A node's place in one [`Topology`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeIndex(u16);

/// A node as clients may be sent to it.
#[derive(Clone, Debug)]
pub struct TopologyNode {
    /// The node's name.
    pub id: NodeId,
    /// IP address; empty if unknown.
    pub ip: IpText,
    /// Host name; empty if none.
    pub host_name: HostName,
    /// Client port (the TLS port of a TLS cluster).
    pub port: u16,
    /// Plaintext client port of a TLS cluster, else 0.
    pub pport: u16,
    /// Flags; they tell role and failure.
    pub flags: NodeFlags,
    /// The primary of a replica.
    pub primary: Option<NodeIndex>,
}

/// One version of the cluster's shape.
#[derive(Clone, Debug)]
pub struct Topology {
    version: u64,
    ok: bool,
    tls_cluster: bool,
    preferred_endpoint: PreferredEndpoint,
    myself: NodeIndex,
    nodes: Vec<TopologyNode>,
    owners: Box<[u16]>,
    migrating_to: BTreeMap<u16, NodeIndex>,
    importing_from: BTreeMap<u16, NodeIndex>,
}

impl Topology {
    /// Grows with every change; reports cached for a version are good as long as it stands.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the cluster is in order (`cluster_state:ok`).
    pub fn is_ok(&self) -> bool {
        self.ok
    }

    /// This node.
    pub fn myself(&self) -> NodeIndex {
        self.myself
    }

    /// The node this one replicates.
    pub fn my_primary(&self) -> Option<NodeIndex> {
        self.node(self.myself).primary
    }

    /// The node at an index of this topology.
    pub fn node(&self, index: NodeIndex) -> &TopologyNode {
        &self.nodes[usize::from(index.0)]
    }

    /// All nodes that are not in handshake, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIndex, &TopologyNode)> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (NodeIndex(index as u16), node))
    }

    /// Who serves `slot`; `None` if nobody does.
    pub fn owner(&self, slot: u16) -> Option<NodeIndex> {
        let owner = *self.owners.get(usize::from(slot))?;
        (owner != NO_OWNER).then_some(NodeIndex(owner))
    }

    /// Whether this node serves `slot`.
    pub fn is_mine(&self, slot: u16) -> bool {
        self.owner(slot) == Some(self.myself)
    }

    /// Whether this node replicates the node that serves `slot`.
    pub fn is_my_primarys(&self, slot: u16) -> bool {
        self.my_primary().is_some() && self.owner(slot) == self.my_primary()
    }

    /// Whether this node, or the primary it replicates, serves `slot`.
    pub fn is_my_shards(&self, slot: u16) -> bool {
        self.is_mine(slot) || self.is_my_primarys(slot)
    }

    /// Whether `slot` is moving from or to this node.
    pub fn is_open(&self, slot: u16) -> bool {
        self.migrating_to.contains_key(&slot) || self.importing_from.contains_key(&slot)
    }

    /// Where this node is moving `slot` to.
    pub fn migrating_to(&self, slot: u16) -> Option<NodeIndex> {
        self.migrating_to.get(&slot).copied()
    }

    /// Where this node is getting `slot` from.
    pub fn importing_from(&self, slot: u16) -> Option<NodeIndex> {
        self.importing_from.get(&slot).copied()
    }

    /// What a client is told to connect to: host and port. A client without TLS in a TLS cluster gets the plaintext
    /// port, if there is one.
    pub fn endpoint(&self, index: NodeIndex, client_has_tls: bool) -> (&str, u16) {
        let node = self.node(index);
        let host = match self.preferred_endpoint {
            PreferredEndpoint::Ip => node.ip.as_str(),
            PreferredEndpoint::HostName if node.host_name.as_str().is_empty() => "?",
            PreferredEndpoint::HostName => node.host_name.as_str(),
            PreferredEndpoint::Unknown => "",
        };
        let plaintext = self.tls_cluster && !client_has_tls && node.pport != 0;
        (host, if plaintext { node.pport } else { node.port })
    }
}

/// Puts a [`Topology`] together.
pub(super) struct TopologyBuilder {
    topology: Topology,
}

impl TopologyBuilder {
    /// Begins with the nodes; `myself` and the primaries are indices into `nodes`.
    pub fn new(nodes: Vec<TopologyNode>, myself: usize) -> Self {
        assert!(
            nodes.len() < usize::from(NO_OWNER),
            "the bus carries at most 65535 nodes"
        );
        Self {
            topology: Topology {
                version: 0,
                ok: false,
                tls_cluster: false,
                preferred_endpoint: PreferredEndpoint::Ip,
                myself: Self::index(myself),
                nodes,
                owners: vec![NO_OWNER; usize::from(SLOT_COUNT)].into(),
                migrating_to: BTreeMap::new(),
                importing_from: BTreeMap::new(),
            },
        }
    }

    /// The index of the node at a position.
    pub fn index(position: usize) -> NodeIndex {
        NodeIndex(position as u16)
    }

    /// Says who serves some slots.
    pub fn owner(&mut self, slots: &SlotSet, owner: NodeIndex) {
        for (first, last) in slots.ranges() {
            self.topology.owners[usize::from(first)..=usize::from(last)].fill(owner.0);
        }
    }

    /// Says which slots are in motion.
    pub fn open_slots(
        &mut self,
        migrating_to: BTreeMap<u16, NodeIndex>,
        importing_from: BTreeMap<u16, NodeIndex>,
    ) {
        (self.topology.migrating_to, self.topology.importing_from) = (migrating_to, importing_from);
    }

    /// Ends with the rest.
    pub fn finish(
        self,
        version: u64,
        ok: bool,
        tls_cluster: bool,
        preferred_endpoint: PreferredEndpoint,
    ) -> Topology {
        Topology {
            version,
            ok,
            tls_cluster,
            preferred_endpoint,
            ..self.topology
        }
    }
}
