//! Volatile sums of the slots' counts: DBSIZE, and where to look for keys and for keys with an expiry.
//!
//! Next to the sum of a database there is one for each group of 128 slots, so that SCAN, RANDOMKEY and the expiry
//! cycle pass over empty regions quickly. Updated after a commit, so they may lag behind by the transactions that
//! are just committing.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::SLOTS;
use super::root::Counts;

/// Slots in a group.
pub(super) const GROUP_SLOTS: usize = 128;
pub(super) const GROUPS: usize = SLOTS / GROUP_SLOTS;

/// The sums of one database.
pub(super) struct Totals {
    keys: AtomicU64,
    expires: AtomicU64,
    group_keys: [AtomicU64; GROUPS],
    group_expires: [AtomicU64; GROUPS],
    /// Unix milliseconds before which no field of a hash in the group expires.
    group_fields_due: [AtomicU64; GROUPS],
}

/// A committed change of one slot's counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delta {
    pub(super) db: u8,
    pub(super) slot: u16,
    pub(super) keys: i64,
    pub(super) expires: i64,
}

impl Totals {
    /// An empty database.
    pub(super) fn new() -> Totals {
        Totals {
            keys: AtomicU64::new(0),
            expires: AtomicU64::new(0),
            group_keys: array::from_fn(|_| AtomicU64::new(0)),
            group_expires: array::from_fn(|_| AtomicU64::new(0)),
            group_fields_due: array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Adds what a slot holds, at start-up.
    pub(super) fn add(&self, slot: u16, counts: Counts) {
        self.change(slot, i64::from(counts.keys), i64::from(counts.expires));
    }

    /// Applies a change of a slot.
    #[inline]
    pub(super) fn change(&self, slot: u16, keys: i64, expires: i64) {
        let group = usize::from(slot) / GROUP_SLOTS;
        if keys != 0 {
            self.keys.fetch_add(keys as u64, Relaxed);
            self.group_keys[group].fetch_add(keys as u64, Relaxed);
        }
        if expires != 0 {
            self.expires.fetch_add(expires as u64, Relaxed);
            self.group_expires[group].fetch_add(expires as u64, Relaxed);
        }
    }

    /// Keys.
    pub(super) fn keys(&self) -> u64 {
        self.keys.load(Relaxed)
    }

    /// Keys with an expiry.
    pub(super) fn expires(&self) -> u64 {
        self.expires.load(Relaxed)
    }

    /// Keys in the group of `slot`.
    pub(super) fn group_keys(&self, slot: u16) -> u64 {
        self.group_keys[usize::from(slot) / GROUP_SLOTS].load(Relaxed)
    }

    /// Keys with an expiry in the group of `slot`.
    pub(super) fn group_expires(&self, slot: u16) -> u64 {
        self.group_expires[usize::from(slot) / GROUP_SLOTS].load(Relaxed)
    }

    /// When the first field of a hash in a group is due, at the earliest.
    pub(super) fn fields_due(&self, group: usize) -> u64 {
        self.group_fields_due[group].load(Relaxed)
    }

    /// Says that no field of the group is due ever, until told otherwise.
    pub(super) fn take_fields_due(&self, group: usize) {
        // Before the slots are looked at: their locks order what others lower meanwhile behind it.
        self.group_fields_due[group].store(u64::MAX, Relaxed);
    }

    /// Says that a field of the group may be due then.
    pub(super) fn lower_fields_due(&self, group: usize, due: u64) {
        self.group_fields_due[group].fetch_min(due, Relaxed);
    }
}
