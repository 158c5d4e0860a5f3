//! Suspicion and failure.
//!
//! ```text
//!            no answer for T               quorum of voters says so, or a FAIL message
//!  healthy ------------------> PFAIL ---------------------------------------------------> FAIL
//!     ^                          |                                                         |
//!     +------- answer -----------+   answer; a voter also waits until 2T after the FAIL  --+
//! ```
//! A failed voter waits because its replica may be in the middle of an election.

use super::effect::LogLevel;
use super::node::{FailureReport, NodeKey};
use super::open::ClusterState;
use crate::cluster::bus::{Body, MessageFlags};
use crate::cluster::{NodeFlags, NodeId};

impl ClusterState {
    /// How many voters decide: more than half.
    pub(super) fn quorum(&self) -> usize {
        self.nodes.values().filter(|node| node.is_voter()).count() / 2 + 1
    }

    /// How long a failure report counts, and how long a failed voter stays failed.
    fn failure_validity_ms(&self) -> u64 {
        self.config.node_timeout_ms * 2
    }

    pub(super) fn add_failure_report(&mut self, key: NodeKey, reporter: NodeKey) {
        let at_ms = self.now_ms;
        let node = self.node_mut(key);
        match node
            .failure_reports
            .iter_mut()
            .find(|report| report.reporter == reporter)
        {
            Some(report) => report.at_ms = at_ms,
            None => node.failure_reports.push(FailureReport { reporter, at_ms }),
        }
    }

    pub(super) fn withdraw_failure_report(&mut self, key: NodeKey, reporter: NodeKey) {
        self.node_mut(key)
            .failure_reports
            .retain(|report| report.reporter != reporter);
    }

    /// The number of valid reports about a node.
    pub(super) fn failure_reports(&mut self, key: NodeKey) -> usize {
        let oldest_ms = self.now_ms.saturating_sub(self.failure_validity_ms());
        let reports = &mut self.node_mut(key).failure_reports;
        reports.retain(|report| report.at_ms >= oldest_ms);
        reports.len()
    }

    /// Declares a suspected node failed if a quorum of voters suspects it.
    pub(super) fn consider_failed(&mut self, key: NodeKey) {
        if !self.node(key).flags.contains(NodeFlags::PFAIL)
            || self.failure_reports(key) + 1 < self.quorum()
        {
            return;
        }
        let reports = &self.node(key).failure_reports;
        let voters = reports
            .iter()
            .filter(|report| self.node(report.reporter).is_voter())
            .count();
        if voters + usize::from(self.me().is_voter()) < self.quorum() {
            return;
        }
        let id = self.node(key).id;
        self.log(
            LogLevel::Notice,
            format!("Marking node {id} as failing (quorum reached)."),
        );
        self.set_failed(key);
        self.broadcast(MessageFlags::default(), &Body::Fail(id));
    }

    fn set_failed(&mut self, key: NodeKey) {
        let now_ms = self.now_ms;
        let node = self.node_mut(key);
        node.flags = node.flags.with(NodeFlags::FAIL).without(NodeFlags::PFAIL);
        node.failed_ms = now_ms;
        self.slots_changed();
        self.save(false);
    }

    /// A node tells that a quorum holds another one failed.
    pub(super) fn on_fail(&mut self, sender: NodeKey, id: &NodeId) {
        let Some(key) = self.lookup(id) else { return };
        if key == self.myself || self.node(key).is_failed() || self.node(key).in_handshake() {
            return;
        }
        let sender = self.node(sender).id;
        self.log(
            LogLevel::Notice,
            format!("FAIL message received from {sender} about {id}"),
        );
        self.set_failed(key);
    }

    /// A node does not answer.
    pub(super) fn suspect(&mut self, key: NodeKey) {
        let node = self.node_mut(key);
        node.flags |= NodeFlags::PFAIL;
        let id = node.id;
        self.log(LogLevel::Debug, format!("Node {id} possibly failing."));
        self.slots_changed();
        if self.me().is_voter() && self.quorum() == 1 {
            self.consider_failed(key);
        }
    }

    /// The answer to a ping.
    pub(super) fn note_pong(&mut self, key: NodeKey) {
        let now_ms = self.now_ms;
        let undo_ms = self.failure_validity_ms();
        let node = self.node_mut(key);
        node.pong_received_ms = now_ms;
        node.ping_sent_ms = 0;
        let recovered = if node.flags.contains(NodeFlags::PFAIL) {
            node.flags.set(NodeFlags::PFAIL, false)
        } else if node.is_failed()
            && (!node.is_voter() || now_ms.saturating_sub(node.failed_ms) > undo_ms)
        {
            node.flags.set(NodeFlags::FAIL, false)
        } else {
            false
        };
        if recovered {
            let id = node.id;
            self.log(LogLevel::Notice, format!("Node {id} is reachable again."));
            self.slots_changed();
            self.save(false);
        }
    }
}
