//! The state itself, and how it begins: from configuration, a seed, and what `nodes.conf` remembers.

use super::effect::{Effect, LinkId, LogLevel};
use super::election::Election;
use super::health::HealthClock;
use super::links::Link;
use super::node::{Node, NodeKey};
use super::slots::SlotTable;
use crate::cluster::address::{HostName, HumanName, IpText};
use crate::cluster::bus::MessageKind;
use crate::cluster::config_file::{ClusterFile, NodeLine, OpenSlot};
use crate::cluster::{NodeFlags, NodeId, SlotSet, Topology};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Directives the cluster depends on. Ports are those to announce.
#[derive(Clone, Debug)]
pub struct Config {
    /// `cluster-node-timeout` in milliseconds.
    pub node_timeout_ms: u64,
    /// `cluster-require-full-coverage`.
    pub require_full_coverage: bool,
    /// `cluster-allow-replica-migration`.
    pub allow_replica_migration: bool,
    /// `cluster-replica-no-failover`.
    pub replica_no_failover: bool,
    /// `cluster-replica-validity-factor`; 0 switches the check off.
    pub replica_validity_factor: u64,
    /// `repl-ping-replica-period` in milliseconds.
    pub replica_ping_period_ms: u64,
    /// `cluster-announce-ip`; `None` means: learn it from MEET.
    pub announce_ip: Option<IpText>,
    /// Client port (the TLS port if the bus speaks TLS).
    pub port: u16,
    /// Plaintext client port of a TLS cluster, else 0.
    pub pport: u16,
    /// Bus port.
    pub cport: u16,
    /// `cluster-announce-hostname`.
    pub host_name: HostName,
    /// `cluster-announce-human-nodename`.
    pub human_name: HumanName,
    /// `tls-cluster`.
    pub tls_cluster: bool,
    /// `cluster-preferred-endpoint-type`.
    pub preferred_endpoint: PreferredEndpoint,
}

/// What clients are told to connect to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PreferredEndpoint {
    /// The node's IP address.
    #[default]
    Ip,
    /// The node's announced host name, `?` if it has none.
    HostName,
    /// Nothing: the client shall use the address it already talks to.
    Unknown,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_timeout_ms: 15_000,
            require_full_coverage: true,
            allow_replica_migration: true,
            replica_no_failover: false,
            replica_validity_factor: 10,
            replica_ping_period_ms: 10_000,
            announce_ip: None,
            port: 6379,
            pport: 0,
            cport: 16379,
            host_name: HostName::default(),
            human_name: HumanName::default(),
            tls_cluster: false,
            preferred_endpoint: PreferredEndpoint::Ip,
        }
    }
}

/// What replication says of this node's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReplicationView {
    /// Own offset of a primary, processed offset of a replica, in bytes.
    pub offset: u64,
    /// On a replica: milliseconds since it last heard of its primary. `None` if it holds no usable copy; such a
    /// replica never stands for election.
    pub data_age_ms: Option<u64>,
}

/// The cluster as this node sees it. See the module's head.
pub struct ClusterState {
    pub(super) config: Config,
    pub(super) rng: StdRng,
    /// The time of the present call, Unix milliseconds.
    pub(super) now_ms: u64,
    pub(super) myself: NodeKey,
    pub(super) nodes: BTreeMap<NodeKey, Node>,
    /// The same nodes by name. Invariant: one entry for each entry of `nodes`.
    pub(super) names: BTreeMap<NodeId, NodeKey>,
    pub(super) keys_made: u32,
    pub(super) slots: SlotTable,
    pub(super) current_epoch: u64,
    pub(super) last_vote_epoch: u64,
    pub(super) health: HealthClock,
    pub(super) election: Election,
    /// Forgotten nodes and when they may be learnt again.
    pub(super) blacklist: BTreeMap<NodeId, u64>,
    pub(super) links: BTreeMap<LinkId, Link>,
    pub(super) links_made: u64,
    pub(super) ticks: u64,
    pub(super) counters: Counters,
    pub(super) replication: ReplicationView,
    pub(super) topology_version: u64,
    pub(super) pending: Pending,
}

/// Numbers for `CLUSTER INFO`, by message kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    pub sent: [u64; MessageKind::ALL.len()],
    pub received: [u64; MessageKind::ALL.len()],
    pub buffer_limit_exceeded: u64,
}

/// What the next [`ClusterState::drain_effects`] hands over.
#[derive(Default)]
pub(super) struct Pending {
    /// A save is due; with fsync if true.
    pub save: Option<bool>,
    pub health: bool,
    pub topology: bool,
    pub effects: Vec<Effect>,
}

impl ClusterState {
    /// A node with what `saved` remembers, or a new node with a random name. `seed` must come from the operating
    /// system's entropy: node names are made of it.
    pub fn new(config: Config, saved: Option<&ClusterFile>, seed: [u8; 32], now_ms: u64) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let fresh = ClusterFile::fresh(NodeId::random(&mut rng));
        let saved = saved.unwrap_or(&fresh);
        let mut state = Self {
            config,
            rng,
            now_ms,
            myself: NodeKey(NonZeroU32::MIN),
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            keys_made: 0,
            slots: SlotTable::new(),
            current_epoch: saved.current_epoch,
            last_vote_epoch: saved.last_vote_epoch,
            health: HealthClock::default(),
            election: Election::default(),
            blacklist: BTreeMap::new(),
            links: BTreeMap::new(),
            links_made: 0,
            ticks: 0,
            counters: Counters::default(),
            replication: ReplicationView::default(),
            topology_version: 0,
            pending: Pending::default(),
        };
        for line in &saved.nodes {
            state.load_node(line);
        }
        for line in &saved.nodes {
            state.load_relations(line);
        }
        if state.me().shard_id.is_none() {
            let shard_id = saved
                .shard_id
                .unwrap_or_else(|| NodeId::random(&mut state.rng));
            state.me_mut().shard_id = Some(shard_id);
        }
        state.apply_config();
        state.save(true);
        state
    }

    fn load_node(&mut self, line: &NodeLine) {
        let mut node = Node::new(line.id, line.flags, self.now_ms);
        (node.ip, node.port, node.cport) = (line.ip, line.port, line.cport);
        (node.host_name, node.human_name) = (line.host_name.clone(), line.human_name.clone());
        node.shard_id = line.shard_id;
        // The times of the last run say nothing about who answers now; only "was asked" and "did answer" count.
        let then = |ms: u64| if ms == 0 { 0 } else { self.now_ms };
        (node.ping_sent_ms, node.pong_received_ms) =
            (then(line.ping_sent_ms), then(line.pong_received_ms));
        if node.is_failed() {
            node.failed_ms = self.now_ms;
        }
        node.config_epoch = if node.is_replica() {
            0
        } else {
            line.config_epoch
        };
        self.current_epoch = self.current_epoch.max(node.config_epoch);
        let key = self.add_node(node);
        if line.flags.contains(NodeFlags::MYSELF) {
            self.myself = key;
        }
    }

    fn load_relations(&mut self, line: &NodeLine) {
        let Some(key) = self.lookup(&line.id) else {
            return;
        };
        for slot in line.slots.iter() {
            self.assign_slot(slot, key);
        }
        for (slot, open) in &line.open_slots {
            let (OpenSlot::MigratingTo(other) | OpenSlot::ImportingFrom(other)) = open;
            let Some(other) = self.lookup(other) else {
                continue;
            };
            match open {
                OpenSlot::MigratingTo(_) => self.slots.migrating_to.insert(*slot, other),
                OpenSlot::ImportingFrom(_) => self.slots.importing_from.insert(*slot, other),
            };
        }
        if let Some(primary) = line.primary.and_then(|id| self.lookup(&id)) {
            self.attach_replica(key, primary);
        }
    }

    /// Takes new directives over.
    pub fn set_config(&mut self, config: Config, now_ms: u64) {
        self.now_ms = now_ms;
        let learn_ip = self.config.announce_ip.is_some() && config.announce_ip.is_none();
        self.config = config;
        if learn_ip {
            self.me_mut().ip = IpText::EMPTY;
        }
        self.apply_config();
        self.save(false);
    }

    fn apply_config(&mut self) {
        let config = self.config.clone();
        let me = self.me_mut();
        if let Some(ip) = config.announce_ip {
            me.ip = ip;
        }
        (me.port, me.pport, me.cport) = (config.port, config.pport, config.cport);
        (me.host_name, me.human_name) = (config.host_name, config.human_name);
        me.flags
            .set(NodeFlags::NOFAILOVER, config.replica_no_failover);
        me.extensions = true;
        self.pending.health = true;
        self.pending.topology = true;
    }

    /// Tells what replication knows; to be called before every tick.
    pub fn set_replication(&mut self, view: ReplicationView) {
        self.replication = view;
        self.me_mut().offset = view.offset;
    }

    /// Compares the slot table with the slots that hold keys, once, after the data set is loaded. Keys in nobody's
    /// slot make the slot mine; keys in another node's slot mark it as being imported, so that they stay reachable.
    pub fn adopt_keys(&mut self, slots_with_keys: &SlotSet, now_ms: u64) {
        self.now_ms = now_ms;
        if self.me().is_replica() {
            return;
        }
        for slot in slots_with_keys.iter() {
            match self.slots.owner(slot) {
                Some(owner) if owner == self.myself => {}
                _ if self.slots.importing_from.contains_key(&slot) => {}
                Some(owner) => {
                    self.log(
                        LogLevel::Warning,
                        format!("Keys found in slot {slot} of another node: marked as importing."),
                    );
                    self.slots.importing_from.insert(slot, owner);
                }
                None => {
                    self.log(
                        LogLevel::Warning,
                        format!("Keys found in the unassigned slot {slot}: it is mine now."),
                    );
                    self.assign_slot(slot, self.myself);
                }
            }
            self.save(true);
            self.slots_changed();
        }
    }

    /// What there is to do since the last call, in order.
    pub fn drain_effects(&mut self) -> Vec<Effect> {
        if std::mem::take(&mut self.pending.health) {
            self.evaluate_health();
        }
        let mut effects = Vec::with_capacity(self.pending.effects.len() + 2);
        if let Some(fsync) = self.pending.save.take() {
            effects.push(Effect::SaveConfig {
                text: self.config_text(),
                fsync,
            });
        }
        if std::mem::take(&mut self.pending.topology) {
            self.topology_version += 1;
            effects.push(Effect::Topology(Arc::new(self.topology())));
        }
        effects.append(&mut self.pending.effects);
        effects
    }

    /// The present view for routing.
    pub fn topology(&self) -> Topology {
        self.build_topology()
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.pending.effects.push(effect);
    }

    pub(super) fn log(&mut self, level: LogLevel, text: impl Into<String>) {
        self.effect(Effect::Log(level, text.into()));
    }

    /// Asks for a save; an fsync asked for once stays asked for.
    pub(super) fn save(&mut self, fsync: bool) {
        self.pending.save = Some(self.pending.save.unwrap_or(false) | fsync);
    }

    /// Notes that slots, roles or failures changed: health and routing follow.
    pub(super) fn slots_changed(&mut self) {
        self.pending.health = true;
        self.pending.topology = true;
    }

    pub(super) fn me(&self) -> &Node {
        self.node(self.myself)
    }

    pub(super) fn me_mut(&mut self) -> &mut Node {
        self.node_mut(self.myself)
    }

    pub(super) fn node(&self, key: NodeKey) -> &Node {
        &self.nodes[&key]
    }

    pub(super) fn node_mut(&mut self, key: NodeKey) -> &mut Node {
        self.nodes
            .get_mut(&key)
            .expect("invariant 4: keys name known nodes")
    }

    pub(super) fn lookup(&self, id: &NodeId) -> Option<NodeKey> {
        self.names.get(id).copied()
    }

    /// Adds a node whose name is not known yet.
    pub(super) fn add_node(&mut self, node: Node) -> NodeKey {
        self.keys_made += 1;
        let key =
            NodeKey(NonZeroU32::new(self.keys_made).expect("four billion handshakes take decades"));
        self.names.insert(node.id, key);
        self.nodes.insert(key, node);
        self.pending.topology = true;
        key
    }

    /// Removes every trace of a node other than myself.
    pub(super) fn remove_node(&mut self, key: NodeKey) {
        self.unassign_all(key);
        self.slots.migrating_to.retain(|_, target| *target != key);
        self.slots.importing_from.retain(|_, source| *source != key);
        self.detach_replica(key);
        let Some(node) = self.nodes.remove(&key) else {
            return;
        };
        self.names.remove(&node.id);
        for link in [node.outbound, node.inbound].into_iter().flatten() {
            self.forget_link(link);
        }
        for other in self.nodes.values_mut() {
            other
                .failure_reports
                .retain(|report| report.reporter != key);
            other.replicas.retain(|replica| *replica != key);
            if other.primary == Some(key) {
                other.primary = None;
            }
        }
        self.slots_changed();
    }
}
