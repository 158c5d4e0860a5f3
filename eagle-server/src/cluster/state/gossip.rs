//! Heartbeats: what this node tells about others, and what it makes of what others tell.

use super::admin::FORGET_MS;
use super::effect::{LinkId, LogLevel};
use super::links::Direction;
use super::node::{NODES_MAX, Node, NodeKey};
use super::open::ClusterState;
use crate::cluster::bus::{Body, Extension, GossipEntry, Heartbeat, MessageFlags};
use crate::cluster::{NodeFlags, NodeId};
use rand::seq::IndexedRandom;

/// How far ahead of this node's clock a reported pong time may lie, in milliseconds.
const CLOCK_TOLERANCE_MS: u64 = 500;

/// Nodes that cannot be told about: their name or address is not to be relied on.
const UNSPEAKABLE: NodeFlags = NodeFlags::HANDSHAKE.with(NodeFlags::NOADDR);

/// Flags taken over from gossip about a node not known yet. PFAIL and the like are the speaker's own affair.
const ADOPTED: NodeFlags = NodeFlags::PRIMARY
    .with(NodeFlags::REPLICA)
    .with(NodeFlags::FAIL)
    .with(NodeFlags::MIGRATE_TO)
    .with(NodeFlags::NOFAILOVER);

/// Forgotten nodes told of in one heartbeat.
const FORGOTTEN_MAX: usize = 64;

impl ClusterState {
    pub(super) fn send_ping(&mut self, link: LinkId) {
        let Some(entry) = self.links.get(&link) else {
            return;
        };
        if let (Direction::Outbound, Some(key)) = (entry.direction, entry.node) {
            self.node_mut(key).ping_sent_ms = self.now_ms;
        }
        let body = Body::Ping(self.heartbeat(link));
        self.send(link, MessageFlags::default(), &body);
    }

    pub(super) fn send_pong(&mut self, link: LinkId) {
        let body = Body::Pong(self.heartbeat(link));
        self.send(link, MessageFlags::default(), &body);
    }

    pub(super) fn send_meet(&mut self, link: LinkId) {
        let body = Body::Meet(self.heartbeat(link));
        self.send(link, MessageFlags::default(), &body);
    }

    /// Tells every node at once what has changed about this one.
    pub(super) fn broadcast_pong(&mut self) {
        for link in self.settled_links() {
            self.send_pong(link);
        }
    }

    fn heartbeat(&mut self, link: LinkId) -> Heartbeat {
        let peer = self.links.get(&link).and_then(|entry| entry.node);
        Heartbeat {
            gossip: self.choose_gossip(peer),
            extensions: self.extensions_for(peer),
        }
    }

    /// A tenth of the nodes, at least three, drawn at random among those worth telling of; and all in PFAIL, since
    /// their fate depends on how fast the news spreads.
    fn choose_gossip(&mut self, peer: Option<NodeKey>) -> Vec<GossipEntry> {
        let fresh = self.nodes.len().saturating_sub(2);
        let wanted = (self.nodes.len() / 10).max(3).min(fresh);
        let speakable = |key: &NodeKey, node: &Node| {
            *key != self.myself && Some(*key) != peer && !node.flags.intersects(UNSPEAKABLE)
        };
        let (suspects, healthy): (Vec<_>, Vec<_>) = self
            .nodes
            .iter()
            .filter(|(key, node)| speakable(key, node))
            .partition(|(_, node)| node.flags.contains(NodeFlags::PFAIL));
        let worth_telling: Vec<&Node> = healthy
            .into_iter()
            .map(|(_, node)| node)
            .filter(|node| node.outbound.is_some() || node.slot_count > 0)
            .collect();
        let drawn = worth_telling.sample(&mut self.rng, wanted).copied();
        let suspects = suspects.into_iter().map(|(_, node)| node);
        drawn
            .chain(suspects)
            .take(usize::from(u16::MAX))
            .map(gossip_entry)
            .collect()
    }

    /// The host name goes to everybody, as Redis 7.0 sends it. What came later goes only to nodes that have shown
    /// that they know of it: older ones log a warning for every unknown extension of every packet.
    fn extensions_for(&self, peer: Option<NodeKey>) -> Vec<Extension> {
        let me = self.me();
        let mut extensions = Vec::new();
        if !me.host_name.as_str().is_empty() {
            extensions.push(Extension::HostName(me.host_name.clone()));
        }
        if !peer.is_some_and(|peer| self.node(peer).extensions) {
            return extensions;
        }
        if !me.human_name.as_str().is_empty() {
            extensions.push(Extension::HumanName(me.human_name.clone()));
        }
        // Whole seconds that are left, so that the news dies out however often it is passed on.
        let left_s = |until_ms: &u64| until_ms.saturating_sub(self.now_ms) / 1000;
        let forgotten = self
            .blacklist
            .iter()
            .map(|(id, until_ms)| (*id, left_s(until_ms)));
        extensions.extend(
            forgotten
                .filter(|(_, ttl_s)| *ttl_s > 0)
                .take(FORGOTTEN_MAX)
                .map(|(id, ttl_s)| Extension::ForgottenNode { id, ttl_s }),
        );
        extensions.push(Extension::ShardId(self.shard_of(self.myself)));
        extensions
    }

    /// Learns from the gossip of a heartbeat. `sender` is `None` for an unknown node's MEET; then nothing is added.
    pub(super) fn digest_gossip(&mut self, sender: Option<NodeKey>, gossip: &[GossipEntry]) {
        for entry in gossip {
            match self.lookup(&entry.id) {
                Some(key) if key != self.myself => self.digest_known(sender, key, entry),
                Some(_) => {}
                None => self.digest_unknown(sender, entry),
            }
        }
    }

    fn digest_known(&mut self, sender: Option<NodeKey>, key: NodeKey, entry: &GossipEntry) {
        let suspected = entry.flags.intersects(NodeFlags::PFAIL | NodeFlags::FAIL);
        if let Some(reporter) = sender.filter(|sender| self.node(*sender).is_primary()) {
            if suspected {
                self.add_failure_report(key, reporter);
                self.consider_failed(key);
            } else {
                self.withdraw_failure_report(key, reporter);
            }
        }
        if suspected {
            return;
        }
        let node = self.node(key);
        if !node.is_unreachable() && node.ping_sent_ms == 0 && self.failure_reports(key) == 0 {
            // Others hear of the node too; believing them saves pings, and a wrong clock cannot get far ahead.
            let pong_received_ms = u64::from(entry.pong_received_s) * 1000;
            if pong_received_ms <= self.now_ms + CLOCK_TOLERANCE_MS {
                let node = self.node_mut(key);
                node.pong_received_ms = node.pong_received_ms.max(pong_received_ms);
            }
        }
        let node = self.node(key);
        let moved = (node.ip, node.port, node.cport) != (entry.ip, entry.port, entry.cport);
        if node.is_unreachable()
            && moved
            && !entry.flags.contains(NodeFlags::NOADDR)
            && !entry.ip.is_empty()
        {
            self.reconnect(key);
            let node = self.node_mut(key);
            (node.ip, node.port, node.cport, node.pport) =
                (entry.ip, entry.port, entry.cport, entry.pport);
            node.flags.set(NodeFlags::NOADDR, false);
            self.pending.topology = true;
        }
    }

    /// A node known to a node I trust becomes known to me.
    fn digest_unknown(&mut self, sender: Option<NodeKey>, entry: &GossipEntry) {
        let usable =
            !entry.flags.intersects(UNSPEAKABLE) && !entry.ip.is_empty() && entry.cport != 0;
        if sender.is_none()
            || !usable
            || self.nodes.len() >= NODES_MAX
            || self.is_blacklisted(&entry.id)
        {
            return;
        }
        let mut flags = entry.flags.only(ADOPTED);
        if flags.contains(NodeFlags::PRIMARY) == flags.contains(NodeFlags::REPLICA) {
            flags = flags.with(NodeFlags::PRIMARY).without(NodeFlags::REPLICA);
        }
        let mut node = Node::new(entry.id, flags, self.now_ms);
        (node.ip, node.port, node.cport, node.pport) =
            (entry.ip, entry.port, entry.cport, entry.pport);
        if node.is_failed() {
            node.failed_ms = self.now_ms;
        }
        self.add_node(node);
        self.slots_changed();
        self.save(false);
    }

    /// Takes over what the sender's extensions say. A missing host name means that it has none any more.
    pub(super) fn digest_extensions(
        &mut self,
        sender: NodeKey,
        flags: NodeFlags,
        message_flags: MessageFlags,
        extensions: &[Extension],
    ) {
        let beyond_host_name = extensions
            .iter()
            .any(|extension| !matches!(extension, Extension::HostName(_)));
        let speaks = message_flags.contains(MessageFlags::EXT_DATA)
            && (beyond_host_name || extensions.is_empty() || flags.contains(NodeFlags::EXTENSIONS));
        let mut host_name = Default::default();
        let mut human_name = Default::default();
        for extension in extensions {
            match extension {
                Extension::HostName(name) => host_name = name.clone(),
                Extension::HumanName(name) => human_name = name.clone(),
                Extension::ShardId(shard_id) => self.learn_shard(sender, *shard_id),
                Extension::ForgottenNode { id, ttl_s } => self.forget_with_others(id, *ttl_s),
                Extension::Unknown { .. } => {}
            }
        }
        // The sender may have been forgotten by its own message.
        let Some(node) = self.nodes.get_mut(&sender) else {
            return;
        };
        node.extensions = speaks;
        node.human_name = human_name;
        if node.host_name != host_name {
            node.host_name = host_name;
            self.pending.topology = true;
            self.save(false);
        }
    }

    fn learn_shard(&mut self, sender: NodeKey, shard_id: NodeId) {
        let node = self.node_mut(sender);
        if node.shard_id.replace(shard_id) != Some(shard_id) {
            self.pending.topology = true;
        }
    }

    /// Another node's operator forgot a node; so do we, unless it is myself or my primary.
    fn forget_with_others(&mut self, id: &NodeId, ttl_s: u64) {
        let Some(key) = self.lookup(id) else { return };
        if key == self.myself || self.me().primary == Some(key) {
            return;
        }
        self.log(
            LogLevel::Notice,
            format!("Node {id} was forgotten by another node; forgetting it for {ttl_s} s."),
        );
        self.blacklist_node(*id, ttl_s.saturating_mul(1000).min(FORGET_MS));
        self.remove_node(key);
        self.save(false);
    }
}

fn gossip_entry(node: &Node) -> GossipEntry {
    let seconds = |ms: u64| u32::try_from(ms / 1000).unwrap_or(u32::MAX);
    GossipEntry {
        id: node.id,
        ping_sent_s: seconds(node.ping_sent_ms),
        pong_received_s: seconds(node.pong_received_ms),
        ip: node.ip,
        port: node.port,
        cport: node.cport,
        flags: node.flags,
        pport: node.pport,
    }
}
