//! What each hash slot costs: CLUSTER SLOT-STATS, while `cluster-slot-stats-enabled` is set.
//!
//! The counters are made when the first command is counted; a server that never counts has none. Two threads seldom
//! serve one slot at the same time, so one set of counters serves all.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What one slot has cost so far.
#[derive(Debug, Default)]
struct Counters {
    cpu_ns: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// What a slot has cost, or what a command adds to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotUsage {
    /// Nanoseconds spent running commands.
    pub cpu_ns: u64,
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of replies.
    pub bytes_out: u64,
}

/// The counters of all slots.
#[derive(Debug)]
pub struct SlotStats {
    slots: usize,
    counters: OnceLock<Box<[Counters]>>,
}

impl SlotStats {
    /// Counters of so many slots, all zero.
    pub fn new(slots: usize) -> SlotStats {
        SlotStats {
            slots,
            counters: OnceLock::new(),
        }
    }

    /// Adds to what `slot` has cost.
    pub fn add(&self, slot: u16, usage: SlotUsage) {
        let counters = self
            .counters
            .get_or_init(|| (0..self.slots).map(|_| Counters::default()).collect());
        let slot = &counters[usize::from(slot)];
        slot.cpu_ns.fetch_add(usage.cpu_ns, Relaxed);
        slot.bytes_in.fetch_add(usage.bytes_in, Relaxed);
        slot.bytes_out.fetch_add(usage.bytes_out, Relaxed);
    }

    /// What `slot` has cost.
    pub fn of(&self, slot: u16) -> SlotUsage {
        self.counters
            .get()
            .map_or(SlotUsage::default(), |counters| {
                let slot = &counters[usize::from(slot)];
                SlotUsage {
                    cpu_ns: slot.cpu_ns.load(Relaxed),
                    bytes_in: slot.bytes_in.load(Relaxed),
                    bytes_out: slot.bytes_out.load(Relaxed),
                }
            })
    }

    /// Begins anew with the slots for which `is_over` holds.
    pub fn reset(&self, is_over: impl Fn(u16) -> bool) {
        let Some(counters) = self.counters.get() else {
            return;
        };
        for (slot, counters) in counters.iter().enumerate() {
            if is_over(slot as u16) {
                counters.cpu_ns.store(0, Relaxed);
                counters.bytes_in.store(0, Relaxed);
                counters.bytes_out.store(0, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_and_begin_anew() {
        let stats = SlotStats::new(4);
        assert_eq!(stats.of(3), SlotUsage::default());
        stats.reset(|_| true);
        let usage = SlotUsage {
            cpu_ns: 5,
            bytes_in: 6,
            bytes_out: 7,
        };
        stats.add(3, usage);
        stats.add(2, usage);
        stats.reset(|slot| slot == 2);
        assert_eq!(stats.of(2), SlotUsage::default());
        assert_eq!(stats.of(3), usage);
    }
}
