//! The access clocks of keys: what LRU and LFU eviction, OBJECT IDLETIME and OBJECT FREQ go by.
//!
//! A key's clock is 24 bits of its blob. Writes set it anyway; reads store it only while `maxmemory-policy` goes by
//! it, so that reading does not dirty the pool's pages otherwise. While a clock counts seconds it is stored once a
//! second at most.

use super::context::Context;
use super::keys;
use super::spec::{Categories, Command, Flags, KeyFlags};
use super::table::Entry as TableEntry;
use crate::config::EvictionPolicy;
use eagle_core::store::Entry;
use std::sync::atomic::Ordering::Relaxed;

/// Bits of the access clock of a key.
pub const CLOCK_MASK: u32 = (1 << 24) - 1;

/// The LRU clock at `now_ms`: seconds, in 24 bits.
pub fn lru_clock(now_ms: u64) -> u32 {
    (now_ms / 1000) as u32 & CLOCK_MASK
}

/// An LFU clock: 16 bits of minutes, 8 bits of a logarithmic counter.
pub fn lfu_clock(now_ms: u64, counter: u8) -> u32 {
    ((now_ms / 60_000) as u32 & 0xffff) << 8 | u32::from(counter)
}

/// The counter of LFU clock `clock` at `now_ms`: one less for every `decay_minutes` of silence.
pub fn lfu_decayed(clock: u32, now_ms: u64, decay_minutes: u32) -> u8 {
    let silent = ((now_ms / 60_000) as u32).wrapping_sub(clock >> 8) & 0xffff;
    let periods = silent.checked_div(decay_minutes).unwrap_or(0);
    (clock as u8).saturating_sub(periods.min(255) as u8)
}

/// Whether using a key moves its clock under `policy`.
#[inline]
fn counts_uses(policy: EvictionPolicy) -> bool {
    let is_lru = matches!(
        policy,
        EvictionPolicy::VolatileLru | EvictionPolicy::AllkeysLru
    );
    is_lru || policy.is_lfu()
}

/// The groups of commands that use what a key holds.
const TYPES: [Categories; 9] = [
    Categories::STRING,
    Categories::HASH,
    Categories::LIST,
    Categories::SET,
    Categories::SORTEDSET,
    Categories::STREAM,
    Categories::BITMAP,
    Categories::HYPERLOGLOG,
    Categories::GEO,
];

/// Whether running the command is a use of its keys: looking at what is known of a key is not.
fn is_use(command: &Command) -> bool {
    let accesses = command
        .keys
        .iter()
        .any(|spec| spec.flags.has(KeyFlags::ACCESS));
    let writes = command.flags.has(Flags::WRITE);
    accesses || writes || TYPES.iter().any(|kind| command.family.has(*kind))
}

impl Context<'_> {
    /// Moves the clocks of the keys that the command is about to use, if the eviction policy goes by them. With CLIENT
    /// NO-TOUCH only TOUCH does.
    #[inline]
    pub(super) fn count_uses(&mut self, entry: &'static TableEntry, argv: &[&[u8]]) {
        if counts_uses(self.config.memory.maxmemory_policy) {
            self.move_clocks(entry, argv);
        }
    }

    #[inline(never)]
    fn move_clocks(&mut self, entry: &'static TableEntry, argv: &[&[u8]]) {
        if !is_use(entry.command)
            || (self.session.info.no_touch.load(Relaxed) && entry.command.name != "touch")
        {
            return;
        }
        for key in keys::find(entry, argv) {
            let key = argv[key.position];
            if let Some(entry) = self.view.find(self.db(), key) {
                self.view
                    .touch(self.db(), key, self.clock_after_use(&entry));
            }
        }
    }

    /// The access clock of a key that is used now, by the policy in force.
    pub fn clock_after_use(&self, entry: &Entry<'_>) -> u32 {
        /// New keys begin here, so that they are not evicted at once.
        const INITIAL: u8 = 5;
        let memory = &self.config.memory;
        if !memory.maxmemory_policy.is_lfu() {
            return lru_clock(self.now_ms);
        }
        let counter = lfu_decayed(entry.clock(), self.now_ms, memory.lfu_decay_time);
        let odds =
            f64::from(counter.saturating_sub(INITIAL)) * f64::from(memory.lfu_log_factor) + 1.0;
        let grown = rand::random::<f64>() < 1.0 / odds;
        lfu_clock(self.now_ms, counter.saturating_add(u8::from(grown)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lfu_counters_decay_with_silence() {
        let clock = lfu_clock(10 * 60_000, 7);
        assert_eq!(lfu_decayed(clock, 10 * 60_000, 1), 7);
        assert_eq!(lfu_decayed(clock, 13 * 60_000, 1), 4);
        assert_eq!(lfu_decayed(clock, 13 * 60_000, 2), 6);
        assert_eq!(lfu_decayed(clock, 300 * 60_000, 1), 0);
        assert_eq!(lfu_decayed(clock, 300 * 60_000, 0), 7);
    }
}
