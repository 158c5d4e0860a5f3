//! First contact, the identity of peers, and their addresses.
//!
//! ```text
//!  CLUSTER MEET / MEET from unknown      tick             PONG (sender = its real name)
//!  ------------------------------> HANDSHAKE --connect--> ------------------------------> settled
//!                                  random name            name known already: handshake dropped
//!                                  older than max(T, 1 s): dropped
//!  settled -- heartbeat with another name on my link --> NOADDR (kept, not connected to)
//! ```

use super::effect::{Effect, LinkId, LogLevel};
use super::node::{NODES_MAX, Node, NodeKey};
use super::open::ClusterState;
use crate::cluster::address::IpText;
use crate::cluster::bus::Header;
use crate::cluster::{NodeFlags, NodeId};

/// Shortest time a handshake is given, in milliseconds.
const HANDSHAKE_TIMEOUT_MS_MIN: u64 = 1000;

/// Nodes in handshake at one time: MEET costs its sender nothing, and each makes a node here.
const HANDSHAKES_MAX: usize = 1024;

impl ClusterState {
    /// Makes a node to shake hands with at an address, unless that is under way.
    pub(super) fn start_handshake(
        &mut self,
        ip: IpText,
        port: u16,
        pport: u16,
        cport: u16,
        flags: NodeFlags,
    ) {
        let mut handshakes = self.nodes.values().filter(|node| node.in_handshake());
        let full = self.nodes.len() >= NODES_MAX;
        if full
            || handshakes.clone().count() >= HANDSHAKES_MAX
            || handshakes.any(|node| (node.ip, node.cport) == (ip, cport))
        {
            return;
        }
        let name = NodeId::random(&mut self.rng);
        let mut node = Node::new(name, NodeFlags::HANDSHAKE | flags, self.now_ms);
        (node.ip, node.port, node.pport, node.cport) = (ip, port, pport, cport);
        self.add_node(node);
    }

    pub(super) fn handshake_expired(&self, node: &Node) -> bool {
        let timeout_ms = self.config.node_timeout_ms.max(HANDSHAKE_TIMEOUT_MS_MIN);
        node.in_handshake() && self.now_ms.saturating_sub(node.created_ms) > timeout_ms
    }

    /// The peer's address as this message tells it: announced, or else seen on the socket.
    fn address_of(&self, link: LinkId, header: &Header) -> IpText {
        if !header.ip.is_empty() {
            return header.ip;
        }
        let Some(entry) = self.links.get(&link) else {
            return IpText::EMPTY;
        };
        if entry.peer_ip.is_empty() {
            entry.node.map_or(IpText::EMPTY, |key| self.node(key).ip)
        } else {
            entry.peer_ip
        }
    }

    /// A MEET from a node nobody knows here.
    pub(super) fn meet_stranger(&mut self, link: LinkId, header: &Header) {
        let ip = self.address_of(link, header);
        if !ip.is_empty() && header.cport != 0 {
            self.start_handshake(ip, header.port, header.pport, header.cport, NodeFlags::NONE);
            self.save(false);
        }
    }

    /// Learns this node's own address from the socket on which it was met.
    pub(super) fn learn_own_ip(&mut self, link: LinkId) {
        let Some(local_ip) = self.links.get(&link).map(|entry| entry.local_ip) else {
            return;
        };
        if self.config.announce_ip.is_some() || local_ip.is_empty() || local_ip == self.me().ip {
            return;
        }
        self.me_mut().ip = local_ip;
        self.log(
            LogLevel::Warning,
            format!("IP address for this node updated to {local_ip}"),
        );
        self.pending.topology = true;
        self.save(false);
    }

    /// A heartbeat on my link to a node in handshake: now it has a name.
    pub(super) fn complete_handshake(&mut self, key: NodeKey, link: LinkId, header: &Header) {
        if let Some(known) = self.lookup(&header.sender) {
            if known != self.myself {
                self.update_address(known, link, header);
            }
            self.remove_node(key);
            self.save(false);
            return;
        }
        let role = header.flags.only(NodeFlags::PRIMARY | NodeFlags::REPLICA);
        let node = self.node_mut(key);
        let made_up = std::mem::replace(&mut node.id, header.sender);
        node.flags
            .set(NodeFlags::HANDSHAKE | NodeFlags::MEET, false);
        node.flags |= if role.bits().count_ones() == 1 {
            role
        } else {
            NodeFlags::PRIMARY
        };
        self.names.remove(&made_up);
        self.names.insert(header.sender, key);
        self.log(
            LogLevel::Debug,
            format!("Handshake with node {} completed.", header.sender),
        );
        self.slots_changed();
        self.save(false);
    }

    /// Somebody else answers at a node's address. The node lives on without one; gossip may bring a new one.
    pub(super) fn lose_address(&mut self, key: NodeKey, link: LinkId, found: &NodeId) {
        let node = self.node_mut(key);
        let id = node.id;
        node.flags |= NodeFlags::NOADDR;
        (node.ip, node.port, node.pport, node.cport) = (IpText::EMPTY, 0, 0, 0);
        self.log(
            LogLevel::Debug,
            format!("Node {found} answers at the address of node {id}, which has no address now."),
        );
        self.close_link(link);
        self.pending.topology = true;
        self.save(false);
    }

    /// Takes over a changed address of a node that speaks on an inbound link; my link to it is made anew.
    pub(super) fn update_address(&mut self, key: NodeKey, link: LinkId, header: &Header) {
        let ip = self.address_of(link, header);
        let node = self.node(key);
        let announced = (ip, header.port, header.pport, header.cport);
        let unchanged = announced == (node.ip, node.port, node.pport, node.cport);
        if node.outbound == Some(link) || unchanged || ip.is_empty() || header.cport == 0 {
            return;
        }
        self.reconnect(key);
        let node = self.node_mut(key);
        (node.ip, node.port, node.pport, node.cport) = announced;
        node.flags.set(NodeFlags::NOADDR, false);
        let (id, port) = (node.id, node.port);
        self.log(
            LogLevel::Warning,
            format!("Address updated for node {id}, now {ip}:{port}"),
        );
        if self.me().primary == Some(key) {
            self.effect(Effect::BecomeReplicaOf {
                primary: id,
                ip: ip.to_string(),
                port,
            });
        }
        self.slots_changed();
        self.save(false);
    }
}
