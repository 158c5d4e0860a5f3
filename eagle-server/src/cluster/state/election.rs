//! A replica's own candidature for the place of its failed primary.
//!
//! ```text
//!             primary FAIL, data fresh enough         due: new epoch, AUTH_REQUEST to all
//!  idle ------------------------------------> waiting ------------------------------------> asking
//!   ^                                                                                          |
//!   +--- 2 x auth timeout after the attempt began, without enough votes -----------------------+
//!                                        more than half of the voters: promoted, PONG to all --+
//! ```
//! The wait (0.5 to 1 s, and 1 s for every sibling with more data) lets the news of the failure reach the voters and
//! the best replica go first. A replica stands only if replication vouches for its copy ([`ReplicationView`]).
//! Manual failover is not here.
//!
//! [`ReplicationView`]: super::ReplicationView

use super::effect::{Effect, LogLevel};
use super::node::NodeKey;
use super::open::ClusterState;
use crate::cluster::NodeFlags;
use crate::cluster::bus::{Body, Header, MessageFlags};
use rand::RngExt;
use std::collections::BTreeSet;

const DELAY_MS: u64 = 500;
const DELAY_RANDOM_MS: u64 = 500;
const DELAY_PER_RANK_MS: u64 = 1000;
const AUTH_TIMEOUT_MS_MIN: u64 = 2000;

#[derive(Debug, Default)]
pub(super) struct Election {
    /// When the votes of the present attempt are (or were) asked for; 0 before the first attempt.
    due_ms: u64,
    rank: usize,
    /// The epoch the votes are for, once they were asked for.
    epoch: Option<u64>,
    voters: BTreeSet<NodeKey>,
}

impl Election {
    /// Forgets the present attempt.
    pub fn abandon(&mut self) {
        *self = Self::default();
    }
}

impl ClusterState {
    fn auth_timeout_ms(&self) -> u64 {
        (self.config.node_timeout_ms * 2).max(AUTH_TIMEOUT_MS_MIN)
    }

    pub(super) fn tick_election(&mut self) {
        let Some(primary) = self.me().primary.filter(|_| self.may_stand()) else {
            return;
        };
        let auth_timeout_ms = self.auth_timeout_ms();
        let now_ms = self.now_ms;
        if self.election.due_ms == 0
            || now_ms.saturating_sub(self.election.due_ms) > auth_timeout_ms * 2
        {
            let rank = self.rank(primary);
            let delay_ms = DELAY_MS
                + self.rng.random_range(0..DELAY_RANDOM_MS)
                + DELAY_PER_RANK_MS * rank as u64;
            self.election = Election {
                due_ms: now_ms + delay_ms,
                rank,
                ..Election::default()
            };
            self.log(
                LogLevel::Notice,
                format!("Start of election delayed for {delay_ms} ms (rank #{rank})."),
            );
            return self.tell_shard(primary);
        }
        if self.election.epoch.is_some()
            || now_ms.saturating_sub(self.election.due_ms) > auth_timeout_ms
        {
            return;
        }
        let rank = self.rank(primary);
        if rank > self.election.rank {
            self.election.due_ms += DELAY_PER_RANK_MS * (rank - self.election.rank) as u64;
            self.election.rank = rank;
        }
        if now_ms >= self.election.due_ms {
            let epoch = self.next_epoch();
            self.election.epoch = Some(epoch);
            self.log(
                LogLevel::Notice,
                format!("Starting a failover election for epoch {epoch}."),
            );
            self.broadcast(MessageFlags::default(), &Body::AuthRequest);
        }
    }

    /// Whether this node is a replica with a good copy of a failed primary that serves slots.
    fn may_stand(&self) -> bool {
        let Some(primary) = self.me().primary.map(|primary| self.node(primary)) else {
            return false;
        };
        let Some(data_age_ms) = self.replication.data_age_ms else {
            return false;
        };
        let timeout_ms = self.config.node_timeout_ms;
        let age_ms_max =
            self.config.replica_ping_period_ms + timeout_ms * self.config.replica_validity_factor;
        // The first timeout's worth of silence is how the failure was noticed; it is not held against the copy.
        let fresh = self.config.replica_validity_factor == 0
            || data_age_ms.saturating_sub(timeout_ms) <= age_ms_max;
        primary.is_failed() && primary.slot_count > 0 && !self.config.replica_no_failover && fresh
    }

    /// How many siblings have more of the primary's data.
    fn rank(&self, primary: NodeKey) -> usize {
        let siblings = self
            .node(primary)
            .replicas
            .iter()
            .filter(|key| **key != self.myself);
        siblings
            .map(|key| self.node(*key))
            .filter(|node| {
                !node.flags.contains(NodeFlags::NOFAILOVER) && node.offset > self.replication.offset
            })
            .count()
    }

    /// Tells the other nodes of the shard how much data this one has.
    fn tell_shard(&mut self, primary: NodeKey) {
        let shard = self.node(primary).replicas.iter().copied().chain([primary]);
        let links: Vec<_> = shard.filter_map(|key| self.node(key).outbound).collect();
        for link in links {
            self.send_pong(link);
        }
    }

    /// A vote for this node has come.
    pub(super) fn on_auth_ack(&mut self, voter: NodeKey, header: &Header) {
        let Some(epoch) = self.election.epoch else {
            return;
        };
        let Some(primary) = self.me().primary.filter(|_| self.may_stand()) else {
            return;
        };
        // A voter answers within the epoch it was asked in, so a vote of another epoch is for another attempt.
        if !self.node(voter).is_voter() || header.current_epoch != epoch {
            return;
        }
        self.election.voters.insert(voter);
        if self.election.voters.len() >= self.quorum() {
            self.take_over(primary, epoch);
        }
    }

    /// Becomes the primary of the failed primary's slots.
    fn take_over(&mut self, primary: NodeKey, epoch: u64) {
        self.log(
            LogLevel::Warning,
            format!("Failover election won for epoch {epoch}: I am the new primary."),
        );
        self.election.abandon();
        let shard_id = self.shard_of(self.myself);
        let slots: Vec<u16> = self.node(primary).slots.iter().collect();
        self.become_primary(self.myself);
        let me = self.me_mut();
        me.shard_id = Some(shard_id);
        me.config_epoch = me.config_epoch.max(epoch);
        for slot in slots {
            self.assign_slot(slot, self.myself);
        }
        self.effect(Effect::BecomePrimary { flush: false });
        self.slots_changed();
        self.save(true);
        self.broadcast_pong();
    }
}
