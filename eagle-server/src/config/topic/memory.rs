//! Bounds on the dataset: eviction, expiry and lazy freeing.

use crate::config::directive::topic;
use crate::config::kind::{INT_MAX, LONG_MAX, OneOf, SIZE_MAX, YesNo, choices, int, memory};

choices! {
    /// Which keys go first when memory is short.
    pub enum EvictionPolicy {
        VolatileLru = "volatile-lru",
        VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl",
        AllkeysLru = "allkeys-lru",
        AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random",
        /// Writes that need memory are refused.
        NoEviction = "noeviction",
    }
}

impl EvictionPolicy {
    /// Whether only keys with a time to live are candidates.
    pub fn is_volatile(self) -> bool {
        use EvictionPolicy::*;
        matches!(
            self,
            VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl
        )
    }

    /// Whether access frequency is counted instead of access time.
    pub fn is_lfu(self) -> bool {
        matches!(
            self,
            EvictionPolicy::VolatileLfu | EvictionPolicy::AllkeysLfu
        )
    }
}

topic! {
    /// Eviction, expiry and lazy freeing.
    Memory at memory;

    /// Bytes of data at which eviction begins; 0 sets no bound.
    maxmemory: u64 = 0, "maxmemory", memory(0, SIZE_MAX);
    /// Which keys go first.
    maxmemory_policy: EvictionPolicy = EvictionPolicy::NoEviction, "maxmemory-policy", OneOf;
    /// Keys sampled for one eviction.
    maxmemory_samples: u32 = 5, "maxmemory-samples", int(1, INT_MAX);
    /// How long one command may spend on eviction, 0 (least) to 100 (without bound).
    maxmemory_eviction_tenacity: u32 = 10, "maxmemory-eviction-tenacity", int(0, 100);
    /// Growth of the access counter: higher is slower.
    lfu_log_factor: u32 = 10, "lfu-log-factor", int(0, INT_MAX);
    /// Minutes after which the access counter is decremented; 0 never.
    lfu_decay_time: u32 = 1, "lfu-decay-time", int(0, INT_MAX);
    /// Effort of the periodic search for expired keys, 1 to 10.
    active_expire_effort: u32 = 1, "active-expire-effort", int(1, 10);
    /// Free evicted values in the background.
    lazyfree_lazy_eviction: bool = false, "lazyfree-lazy-eviction", YesNo;
    /// Free expired values in the background.
    lazyfree_lazy_expire: bool = false, "lazyfree-lazy-expire", YesNo;
    /// Free overwritten values in the background.
    lazyfree_lazy_server_del: bool = false, "lazyfree-lazy-server-del", YesNo;
    /// DEL behaves as UNLINK.
    lazyfree_lazy_user_del: bool = false, "lazyfree-lazy-user-del", YesNo;
    /// FLUSHALL and FLUSHDB free in the background unless told otherwise.
    lazyfree_lazy_user_flush: bool = false, "lazyfree-lazy-user-flush", YesNo;
    /// Move what lies scattered in the pool, see `crate::defrag`.
    activedefrag: bool = false, "activedefrag", YesNo;
    active_defrag_ignore_bytes: u64 = 100 << 20, "active-defrag-ignore-bytes", memory(1, LONG_MAX);
    active_defrag_threshold_lower: u32 = 10, "active-defrag-threshold-lower", int(0, 1000);
    active_defrag_threshold_upper: u32 = 100, "active-defrag-threshold-upper", int(0, 1000);
    active_defrag_cycle_min: u32 = 1, "active-defrag-cycle-min", int(1, 99);
    active_defrag_cycle_max: u32 = 25, "active-defrag-cycle-max", int(1, 99);
    /// Large collections are not moved.
    active_defrag_max_scan_fields: u64 = 1000, "active-defrag-max-scan-fields", int(1, LONG_MAX), INERT;
}
