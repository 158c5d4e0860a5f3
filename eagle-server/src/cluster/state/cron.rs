//! The tick, ten times a second: connections, pings, suspicion, elections.

use super::node::NodeKey;
use super::open::ClusterState;
use crate::cluster::NodeFlags;
use rand::seq::IndexedRandom;

/// Ticks between random pings; they make news spread even where nobody is due for a ping.
const RANDOM_PING_TICKS: u64 = 10;
/// Nodes drawn for a random ping; the one not heard of for the longest time gets it.
const RANDOM_PING_CANDIDATES: usize = 5;

impl ClusterState {
    /// To be called every 100 ms.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.blacklist.retain(|_, until_ms| *until_ms > now_ms);
        self.connect_all();
        if self.ticks.is_multiple_of(RANDOM_PING_TICKS) {
            self.ping_at_random();
        }
        self.ticks += 1;
        let others: Vec<NodeKey> = self
            .nodes
            .keys()
            .copied()
            .filter(|key| *key != self.myself)
            .collect();
        for key in others {
            self.watch(key);
        }
        self.tick_election();
        self.pending.health |= !self.health.ok;
    }

    fn connect_all(&mut self) {
        let others: Vec<NodeKey> = self
            .nodes
            .keys()
            .copied()
            .filter(|key| *key != self.myself)
            .collect();
        for key in others {
            let node = self.node(key);
            if node.flags.contains(NodeFlags::NOADDR) {
                continue;
            }
            if self.handshake_expired(node) {
                self.remove_node(key);
            } else if node.outbound.is_none() {
                self.connect(key);
            }
        }
    }

    fn ping_at_random(&mut self) {
        let idle: Vec<NodeKey> = self
            .nodes
            .iter()
            .filter(|(key, node)| {
                **key != self.myself
                    && node.outbound.is_some()
                    && node.ping_sent_ms == 0
                    && !node.in_handshake()
            })
            .map(|(key, _)| *key)
            .collect();
        let candidates = idle.sample(&mut self.rng, RANDOM_PING_CANDIDATES).copied();
        let longest_silent = candidates.min_by_key(|key| self.nodes[key].pong_received_ms);
        if let Some(link) = longest_silent.and_then(|key| self.node(key).outbound) {
            self.send_ping(link);
        }
    }

    /// Looks after one node: renews a dead link, pings, suspects.
    fn watch(&mut self, key: NodeKey) {
        let now_ms = self.now_ms;
        let timeout_ms = self.config.node_timeout_ms;
        let since = |then_ms: u64| now_ms.saturating_sub(then_ms);
        let node = self.node(key);
        if node
            .flags
            .intersects(NodeFlags::NOADDR | NodeFlags::HANDSHAKE)
        {
            return;
        }
        let pinged = node.ping_sent_ms != 0;
        if let Some(link) = node.outbound {
            // Half the timeout without a word: perhaps only the connection is dead, and a new one will do.
            let link_age_ms = since(self.links[&link].created_ms);
            let silent = since(node.ping_sent_ms) > timeout_ms / 2
                && since(node.data_received_ms) > timeout_ms / 2;
            if pinged && link_age_ms > timeout_ms && silent {
                self.close_link(link);
            } else if !pinged && since(node.pong_received_ms) > timeout_ms / 2 {
                return self.send_ping(link);
            }
        }
        let node = self.node(key);
        let unanswered_ms = since(node.ping_sent_ms).min(since(node.data_received_ms));
        if pinged && unanswered_ms > timeout_ms && !node.is_unreachable() {
            self.suspect(key);
        }
    }
}
