//! Whether the cluster is in order, as this node sees it; a node that says "fail" serves no slot.

use super::effect::LogLevel;
use super::open::ClusterState;
use crate::cluster::{NodeFlags, SLOT_COUNT};

/// How long a primary stays out of order after its start, so that it learns of a new configuration before it serves
/// an old one, in milliseconds.
const WRITABLE_DELAY_MS: u64 = 2000;

/// Bounds of the time a primary waits after it was in a minority, for the same reason, in milliseconds.
const REJOIN_DELAY_MS: (u64, u64) = (500, 5000);

#[derive(Clone, Debug, Default)]
pub(super) struct HealthClock {
    /// The verdict.
    pub ok: bool,
    /// When the verdict was first sought.
    started_ms: Option<u64>,
    /// When this node last saw itself in a minority.
    minority_ms: u64,
}

impl ClusterState {
    pub(super) fn evaluate_health(&mut self) {
        let now_ms = self.now_ms;
        let started_ms = *self.health.started_ms.get_or_insert(now_ms);
        let is_primary = self.me().is_primary();
        if is_primary && !self.health.ok && now_ms.saturating_sub(started_ms) < WRITABLE_DELAY_MS {
            return;
        }
        let voters = self.nodes.values().filter(|node| node.is_voter());
        let (size, reachable) = voters.fold((0, 0), |(size, reachable), node| {
            (size + 1, reachable + usize::from(!node.is_unreachable()))
        });
        let majority = reachable > size / 2;
        if !majority {
            self.health.minority_ms = now_ms;
        }
        let ok = majority && (!self.config.require_full_coverage || self.is_covered());
        if ok == self.health.ok {
            return;
        }
        let rejoin_delay_ms = self
            .config
            .node_timeout_ms
            .clamp(REJOIN_DELAY_MS.0, REJOIN_DELAY_MS.1);
        if ok && is_primary && now_ms.saturating_sub(self.health.minority_ms) < rejoin_delay_ms {
            return;
        }
        self.health.ok = ok;
        self.pending.topology = true;
        self.log(
            LogLevel::Warning,
            format!("Cluster state changed: {}", if ok { "ok" } else { "fail" }),
        );
    }

    /// Whether every slot has an owner that is not failed.
    fn is_covered(&self) -> bool {
        let served = self
            .nodes
            .values()
            .filter(|node| !node.flags.contains(NodeFlags::FAIL));
        served
            .map(|node| usize::from(node.slot_count))
            .sum::<usize>()
            == usize::from(SLOT_COUNT)
    }
}
