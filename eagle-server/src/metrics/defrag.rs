//! What active defragmentation has done.

use super::Counter;
use std::sync::atomic::AtomicU64;

/// What INFO tells of active defragmentation.
#[derive(Default)]
pub struct DefragStats {
    /// Per cent of the time that is used now; 0: it does not run.
    pub running_percent: AtomicU64,
    pub hits: Counter,
    pub misses: Counter,
    pub key_hits: Counter,
    pub key_misses: Counter,
    /// Microseconds in all, and since the walk under way began.
    pub total_us: AtomicU64,
    pub current_us: AtomicU64,
}

impl DefragStats {
    /// Forgets the counts (CONFIG RESETSTAT).
    pub fn reset(&self) {
        for counter in [&self.hits, &self.misses, &self.key_hits, &self.key_misses] {
            counter.reset();
        }
    }
}
