//! Counters of one worker, and their sum.
//!
//! Every worker counts for itself with plain relaxed stores (it is the only writer of its
//! counters), so counting costs no locked instruction and shares no cache line; whoever reports
//! adds the workers up.

use super::distribution::{Distribution, Latencies};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// Adds `n` from any thread.
    pub fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Latency buckets: bucket `i` counts calls of at most `2^i` microseconds, the last one the rest.
pub const BUCKETS: usize = 31;

/// Upper bound of bucket `index` in microseconds.
pub fn bucket_bound_us(index: usize) -> u64 {
    1 << index
}

/// What is counted for each command.
#[derive(Default, Debug)]
pub struct CommandCounters {
    pub calls: Counter,
    pub nanos: Counter,
    /// Refused before the handler ran.
    pub rejected: Counter,
    /// The handler replied an error.
    pub failed: Counter,
    pub buckets: [Counter; BUCKETS],
    /// The same times, finer, while `latency-tracking` is on.
    pub latencies: Distribution,
}

impl CommandCounters {
    /// Counts one call that took `nanos`.
    #[inline]
    pub fn record(&self, nanos: u64) {
        self.calls.add(1);
        self.nanos.add(nanos);
        let us = nanos.div_ceil(1000).max(1);
        let bucket = (u64::BITS - (us - 1).leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].add(1);
    }

    fn reset(&self) {
        [&self.calls, &self.nanos, &self.rejected, &self.failed]
            .into_iter()
            .for_each(Counter::reset);
        self.buckets.iter().for_each(Counter::reset);
        self.latencies.reset();
    }
}

/// Sums of [`CommandCounters`] over the workers.
#[derive(Clone, Default, Debug)]
pub struct CommandTotals {
    pub calls: u64,
    pub nanos: u64,
    pub rejected: u64,
    pub failed: u64,
    pub buckets: [u64; BUCKETS],
}

macro_rules! worker_counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Counters of one worker thread.
        #[derive(Debug)]
        pub struct WorkerStats {
            $($(#[$doc])* pub $name: Counter,)+
            pub commands: Box<[CommandCounters]>,
            /// Changes of the keyspace since the start: not a statistic, so never reset.
            pub changes: Counter,
        }

        impl WorkerStats {
            fn new(commands: usize) -> WorkerStats {
                WorkerStats {
                    $($name: Counter::default(),)+
                    commands: (0..commands).map(|_| CommandCounters::default()).collect(),
                    changes: Counter::default(),
                }
            }

            fn reset(&self) {
                $(self.$name.reset();)+
                self.commands.iter().for_each(CommandCounters::reset);
            }
        }
    };
}

worker_counters! {
    commands_processed,
    connections_received,
    connections_rejected,
    net_input_bytes,
    net_output_bytes,
    net_repl_output_bytes,
    keyspace_hits,
    keyspace_misses,
    error_replies,
    redirects,
    forwards,
    query_limit_disconnections,
    reads_processed,
    writes_processed,
    /// Changes of one key begun in a slot that others may change beside it.
    shared_changes,
    /// Of these, those that needed the slot alone after all, and began again.
    shared_changes_refused,
}

/// The counters of all workers.
pub struct Stats {
    workers: RwLock<Vec<Arc<WorkerStats>>>,
    commands: usize,
    /// Keys removed because memory was short. Any thread adds to it.
    pub evicted_keys: Counter,
}

impl Stats {
    /// For a command table of `commands` entries.
    pub fn new(commands: usize) -> Stats {
        Stats {
            workers: RwLock::default(),
            commands,
            evicted_keys: Counter::default(),
        }
    }

    /// Counters for one more worker thread.
    pub fn worker(&self) -> Arc<WorkerStats> {
        let worker = Arc::new(WorkerStats::new(self.commands));
        self.workers.write().push(worker.clone());
        worker
    }

    /// Sum of one counter over the workers.
    pub fn sum(&self, counter: impl Fn(&WorkerStats) -> &Counter) -> u64 {
        self.workers
            .read()
            .iter()
            .map(|worker| counter(worker).value())
            .sum()
    }

    /// Sums for the command with table position `id`.
    pub fn command(&self, id: usize) -> CommandTotals {
        let mut totals = CommandTotals::default();
        for worker in self.workers.read().iter() {
            let counters = &worker.commands[id];
            totals.calls += counters.calls.value();
            totals.nanos += counters.nanos.value();
            totals.rejected += counters.rejected.value();
            totals.failed += counters.failed.value();
            for (total, bucket) in totals.buckets.iter_mut().zip(&counters.buckets) {
                *total += bucket.value();
            }
        }
        totals
    }

    /// How long the calls of the command with table position `id` took.
    pub fn latencies(&self, id: usize) -> Latencies {
        let mut latencies = Latencies::default();
        for worker in self.workers.read().iter() {
            latencies.add(&worker.commands[id].latencies);
        }
        latencies
    }

    /// CONFIG RESETSTAT. A count made at this very moment may be lost, as the workers do not stop.
    pub fn reset(&self) {
        self.workers.read().iter().for_each(|worker| worker.reset());
        self.evicted_keys.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_their_bound_says() {
        let counters = CommandCounters::default();
        for (nanos, bucket) in [
            (0, 0),
            (1000, 0),
            (1001, 1),
            (2000, 1),
            (2001, 2),
            (4000, 2),
            (5000, 3),
            (u64::MAX, BUCKETS - 1),
        ] {
            let before = counters.buckets[bucket].value();
            counters.record(nanos);
            assert_eq!(counters.buckets[bucket].value(), before + 1, "{nanos} ns");
        }
    }

    #[test]
    fn sums_over_workers_and_resets() {
        let stats = Stats::new(2);
        let (a, b) = (stats.worker(), stats.worker());
        a.commands[1].record(5000);
        b.commands[1].record(1000);
        a.keyspace_hits.add(3);
        b.keyspace_hits.add(4);
        assert_eq!(stats.command(1).calls, 2);
        assert_eq!(stats.command(1).nanos, 6000);
        assert_eq!(stats.sum(|worker| &worker.keyspace_hits), 7);
        stats.reset();
        assert_eq!(stats.command(1).calls, 0);
    }
}
