//! Active defragmentation: when it runs, and how much of the time (`activedefrag`, `active-defrag-*`).
//!
//! Fragmentation is what the pages in use have beyond the blocks in use. Above `active-defrag-threshold-lower` per cent of
//! that, and `active-defrag-ignore-bytes`, the keyspace moves blocks out of sparsely used slabs
//! ([`Keyspace::defrag_step`](eagle_core::store::Keyspace::defrag_step)) in `active-defrag-cycle-min` to `-max` per cent
//! of the background thread's time. The pages that become free go back to the system as all free pages do. What threads keep
//! for their next writes cannot be emptied, so they are asked for it before a walk begins.

use crate::config::Config;
use crate::node::{Node, unix_ms};
use eagle_core::store::{DefragCursor, Worker};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Blocks that one step looks at.
const STEP_BLOCKS: u64 = 32;

/// A walk that moved nothing is not repeated for so long.
const REST: Duration = Duration::from_secs(10);

/// The walk of the background thread.
#[derive(Default)]
pub struct Defragmenter {
    cursor: Option<DefragCursor>,
    hits: u64,
    rests_until: Option<Instant>,
    /// Threads were asked for the memory that they keep: the walk begins in the next period, with that among what is
    /// sparsely used.
    has_asked: bool,
}

impl Defragmenter {
    /// Works for its share of `period`, if there is something to do.
    pub fn run(&mut self, node: &Node, worker: &mut Worker, period: Duration) {
        let config = node.config.load();
        let percent = share(&config, node);
        let Some(mut cursor) = self.begin(node, worker, percent) else {
            return;
        };
        let stats = &node.defrag;
        let percent = percent.unwrap_or(config.memory.active_defrag_cycle_min);
        stats.running_percent.store(percent.into(), Relaxed);
        let (started, budget) = (Instant::now(), period * percent / 100);
        let next = loop {
            let (moved, next) = node.keyspace.defrag_step(worker, cursor, STEP_BLOCKS);
            self.hits += moved.hits;
            stats.hits.add_shared(moved.hits);
            stats.misses.add_shared(moved.misses);
            stats.key_hits.add_shared(moved.key_hits);
            stats.key_misses.add_shared(moved.key_misses);
            match next {
                Some(next) if started.elapsed() < budget => cursor = next,
                next => break next,
            }
        };
        let took = started.elapsed();
        node.latency.record(
            "active-defrag-cycle",
            unix_ms() / 1000,
            took.as_millis() as u64,
            config.monitoring.latency_monitor_threshold,
        );
        let took = took.as_micros() as u64;
        stats.total_us.fetch_add(took, Relaxed);
        stats.current_us.fetch_add(took, Relaxed);
        if next.is_none() {
            self.end(node);
        }
        self.cursor = next;
    }

    /// Where to go on: in the walk under way, or in a new one.
    fn begin(
        &mut self,
        node: &Node,
        worker: &mut Worker,
        percent: Option<u32>,
    ) -> Option<DefragCursor> {
        if let Some(cursor) = self.cursor.take() {
            if node.config.load().memory.activedefrag {
                return Some(cursor);
            }
            self.end(node);
        }
        percent?;
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        if !std::mem::replace(&mut self.has_asked, true) {
            worker.give_back(&node.keyspace.pin());
            node.surrender.ask();
            return None;
        }
        self.has_asked = false;
        if !node.keyspace.begin_defrag() {
            self.rests_until = Some(Instant::now() + REST);
            return None;
        }
        self.hits = 0;
        node.defrag.current_us.store(0, Relaxed);
        Some(DefragCursor::default())
    }

    fn end(&mut self, node: &Node) {
        node.keyspace.end_defrag();
        node.defrag.running_percent.store(0, Relaxed);
        node.defrag.current_us.store(0, Relaxed);
        if self.hits == 0 {
            self.rests_until = Some(Instant::now() + REST);
        }
    }
}

/// The per cent of the time that today's fragmentation is worth; `None` if it is not worth any.
fn share(config: &Config, node: &Node) -> Option<u32> {
    let memory = &config.memory;
    if !memory.activedefrag {
        return None;
    }
    let usage = node.keyspace.usage();
    let excess = usage.pages.saturating_sub(usage.used);
    let fragmentation = 100.0 * excess as f64 / usage.used.max(1) as f64;
    let (lower, upper) = (
        f64::from(memory.active_defrag_threshold_lower),
        f64::from(memory.active_defrag_threshold_upper),
    );
    if fragmentation < lower || excess < memory.active_defrag_ignore_bytes {
        return None;
    }
    let (least, most) = (
        memory.active_defrag_cycle_min,
        memory.active_defrag_cycle_max,
    );
    let range = f64::from(most.saturating_sub(least));
    let part = (fragmentation - lower) / (upper - lower).max(1.0);
    Some(least + (range * part.clamp(0.0, 1.0)) as u32)
}
