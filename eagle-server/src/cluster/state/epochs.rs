//! Epochs: the cluster's clock of configuration changes.

use super::effect::LogLevel;
use super::node::NodeKey;
use super::open::ClusterState;

impl ClusterState {
    /// Learns that an epoch exists. Saved, so that a crash does not make this node count it out a second time.
    pub(super) fn witness_epoch(&mut self, epoch: u64) {
        if epoch > self.current_epoch {
            self.current_epoch = epoch;
            self.save(true);
        }
    }

    /// Begins a new epoch.
    pub(super) fn next_epoch(&mut self) -> u64 {
        self.current_epoch += 1;
        self.save(true);
        self.current_epoch
    }

    /// Two primaries have the same config epoch: the one with the smaller name moves on to a new one. When all have
    /// moved that had to, no two are equal, and thus of two claims to a slot one always wins.
    pub(super) fn resolve_collision(&mut self, other: NodeKey) {
        let other = self.node(other).id;
        if self.me().id >= other {
            return;
        }
        let epoch = self.next_epoch();
        self.me_mut().config_epoch = epoch;
        self.log(
            LogLevel::Verbose,
            format!("Config epoch collision with node {other}: mine is {epoch} now."),
        );
        self.pending.topology = true;
    }

    /// Takes a new config epoch without asking anybody, for an administrator who knows what he does. Says whether
    /// one was needed: not if this node's is the greatest already, and not zero.
    pub(super) fn bump_epoch(&mut self) -> bool {
        let greatest = self
            .nodes
            .values()
            .map(|node| node.config_epoch)
            .fold(self.current_epoch, u64::max);
        if self.me().config_epoch != 0 && self.me().config_epoch == greatest {
            return false;
        }
        self.current_epoch = greatest;
        let epoch = self.next_epoch();
        self.me_mut().config_epoch = epoch;
        self.log(
            LogLevel::Notice,
            format!("New config epoch {epoch} without consensus."),
        );
        self.pending.topology = true;
        true
    }
}
