//! Counting what the server does: totals, per-command statistics, slow log, latency events.

mod errorstats;
mod latency;
mod slowlog;
mod stats;

pub use errorstats::ErrorStats;
pub use latency::{LatencyEvent, LatencyMonitor};
pub use slowlog::{SlowEntry, Slowlog};
pub use stats::{
    BUCKETS, CommandCounters, CommandTotals, Counter, Stats, WorkerStats, bucket_bound_us,
};
