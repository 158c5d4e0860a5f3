//! Counting what the server does: totals, per-command statistics, slow log, latency events.

mod bounded;
mod defrag;
mod distribution;
mod errorstats;
pub mod export;
pub mod http;
pub mod info;
mod latency;
pub mod process;
mod rates;
mod slots;
mod slowlog;
mod stats;

pub use defrag::DefragStats;
pub use distribution::{Distribution, Latencies};
pub use errorstats::ErrorStats;
pub use latency::{LatencyEvent, LatencyMonitor};
pub use rates::{Peak, Rate, Rates};
pub use slots::{SlotStats, SlotUsage};
pub use slowlog::{SlowEntry, Slowlog};
pub use stats::{
    BUCKETS, CommandCounters, CommandTotals, Counter, Stats, WorkerStats, bucket_bound_us,
};
