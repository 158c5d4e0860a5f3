//! The periodic work of a node that has replicas: snapshots for those who wait, pings, and an end to those who are silent.

use super::saving;
use crate::config::Config;
use crate::node::{Node, unix_ms};
use crate::propagation::request;
use crate::repl::{Batch, Job, Phase, Terms};
use eagle_core::store::Keyspace;
use std::path::PathBuf;
use std::sync::Arc;

/// What of this work was done when.
#[derive(Default)]
pub struct Rounds {
    /// Unix seconds.
    looked_at_s: u64,
    pinged_at_s: u64,
}

impl Rounds {
    /// Does what is due. Called several times a second.
    pub fn follow(&mut self, node: &Arc<Node>) {
        start_due(node);
        let now_s = unix_ms() / 1000;
        if !node.replicas.follow() {
            // The first ping comes a period after the first replica.
            self.pinged_at_s = now_s;
        }
        if now_s == self.looked_at_s || node.replicas.is_empty() {
            return;
        }
        self.looked_at_s = now_s;
        let replication = &node.config.load().replication;
        end_silent(node, replication.repl_timeout.into(), now_s);
        let period_s = u64::from(replication.repl_ping_replica_period);
        if node.replicas.follow() && now_s.saturating_sub(self.pinged_at_s) >= period_s {
            self.pinged_at_s = now_s;
            let mut ping = Vec::new();
            request(&mut ping, &[b"PING"]);
            node.keyspace.append_apart(&ping);
        }
    }
}

/// Ends replicas that have said nothing, or read nothing, for too long.
fn end_silent(node: &Node, timeout_s: u64, now_s: u64) {
    for replica in node.replicas.all() {
        if replica.is_timed_out(timeout_s, now_s) {
            let what = match replica.phase() {
                Phase::Online => "streaming sync",
                _ => "full sync",
            };
            tracing::warn!(
                "Disconnecting timedout replica ({what}): {}",
                replica.name()
            );
            replica.client.kill();
        }
    }
}

/// Begins the next full synchronisation, if it is due.
pub fn start_due(node: &Arc<Node>) {
    let replication = &node.config.load().replication;
    let terms = Terms {
        diskless: replication.repl_diskless_sync,
        delay_ms: u64::from(replication.repl_diskless_sync_delay) * 1000,
        members_enough: replication.repl_diskless_sync_max_replicas as usize,
    };
    let owner = node.clone();
    let started = node
        .syncs
        .start_due(terms, unix_ms(), move |batch, progress| {
            // The stream has to be kept before the cut.
            owner.follow_ring();
            let config = owner.config.snapshot();
            let job = Job {
                keyspace: &owner.keyspace,
                history: &owner.history,
                form: saving::form(&config, batch.parts),
                dir: PathBuf::from(&config.process.dir),
                batch,
                progress,
            };
            tell(batch, "begins");
            match job.run() {
                Ok(()) => tell(batch, "has sent everything"),
                Err(error) => tracing::warn!("Synchronization with replicas failed: {error}"),
            }
        });
    if let Err(error) = started {
        tracing::warn!("Can't synchronize in background: {error}");
    }
}

fn tell(batch: &Batch, what: &str) {
    tracing::info!(
        "Full synchronization of {} replicas {what} (target: {})",
        batch.members.len(),
        if batch.is_diskless {
            "replicas sockets"
        } else {
            "disk"
        }
    );
}

/// Asks the replicas how far they are, unless that was asked after the last change.
pub fn ask_for_acks(node: &Node) {
    let keyspace: &Keyspace = &node.keyspace;
    if node.replicas.must_ask(keyspace.ring_head()) {
        let mut question = Vec::new();
        request(&mut question, &[b"REPLCONF", b"GETACK", b"*"]);
        if let Some(head) = keyspace.append_apart(&question) {
            node.replicas.note_asked(head);
        }
    }
}

/// Whether fewer replicas are in good standing than writes need (`min-replicas-to-write`).
pub fn lacks_replicas(node: &Node, config: &Config) -> bool {
    let replication = &config.replication;
    let (wanted, lag_max_s) = (
        replication.min_replicas_to_write as usize,
        u64::from(replication.min_replicas_max_lag),
    );
    wanted != 0 && lag_max_s != 0 && node.replicas.count_good(lag_max_s, unix_ms() / 1000) < wanted
}
