//! Giving a vote.
//!
//! A primary gives one vote an epoch. What it remembers of that is saved with fsync before the vote leaves, so that
//! not even a power cut lets it vote twice.

use super::effect::LogLevel;
use super::node::NodeKey;
use super::open::ClusterState;
use crate::cluster::NodeId;
use crate::cluster::bus::{Body, Header, MessageFlags};

impl ClusterState {
    /// A replica asks for this node's vote. `force` waives that its primary must be failed (manual failover).
    pub(super) fn on_auth_request(&mut self, candidate: NodeKey, header: &Header, force: bool) {
        if !self.me().is_voter() {
            return;
        }
        let id = self.node(candidate).id;
        let primary = match self.refusal(candidate, header, force) {
            Ok(primary) => primary,
            Err(reason) => {
                return self.log(
                    LogLevel::Warning,
                    format!("Failover auth denied to {id}: {reason}"),
                );
            }
        };
        // Without a link the vote could not be delivered and would be wasted for this epoch.
        let Some(link) = self.node(candidate).outbound else {
            return;
        };
        self.node_mut(primary).voted_ms = self.now_ms;
        self.last_vote_epoch = self.current_epoch;
        self.save(true);
        self.send(link, MessageFlags::default(), &Body::AuthAck);
        self.log(
            LogLevel::Notice,
            format!(
                "Failover auth granted to {id} for epoch {}",
                self.current_epoch
            ),
        );
    }

    /// The candidate's primary if the vote may be given, or why not.
    fn refusal(&self, candidate: NodeKey, header: &Header, force: bool) -> Result<NodeKey, String> {
        if header.current_epoch < self.current_epoch {
            return Err(format!(
                "its epoch {} is older than mine ({})",
                header.current_epoch, self.current_epoch
            ));
        }
        if self.last_vote_epoch >= self.current_epoch {
            return Err(format!("already voted for epoch {}", self.current_epoch));
        }
        let node = self.node(candidate);
        let Some(primary) = node.primary.filter(|_| node.is_replica()) else {
            return Err("it is no replica of a node known to me".into());
        };
        let told: Option<NodeId> = header.primary;
        if told != Some(self.node(primary).id) {
            return Err("it names another primary than the one I know".into());
        }
        if !self.node(primary).is_failed() && !force {
            return Err("its primary is up".into());
        }
        let since_vote_ms = self.now_ms.saturating_sub(self.node(primary).voted_ms);
        if since_vote_ms < self.config.node_timeout_ms * 2 {
            return Err(format!(
                "voted for a replica of its primary {since_vote_ms} ms ago"
            ));
        }
        for slot in header.slots.iter() {
            let Some(owner) = self
                .slots
                .owner(slot)
                .filter(|_| !self.slots.owner_not_claiming.contains(slot))
            else {
                continue;
            };
            let epoch = self.node(owner).config_epoch;
            if epoch > header.config_epoch {
                return Err(format!(
                    "slot {slot} is served at epoch {epoch} > {}",
                    header.config_epoch
                ));
            }
        }
        Ok(primary)
    }
}
