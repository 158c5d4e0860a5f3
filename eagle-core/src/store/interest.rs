//! Which hash slots hold keys that somebody waits for, and how many such waits there are.
//!
//! Views record the keys they change only where somebody is interested ([`View::touched`](super::View::touched)).
//! A blocked client is interested in keys of few slots, so a writer elsewhere pays for one look at a counter, and
//! one in a slot with a waiter for the recording of its keys.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::{SLOTS, key_slot};

/// Counts of waits, in all and by slot. A wait for a key is added while the key's slot is locked: whoever locks the
/// slot afterwards sees it.
pub struct Interest {
    total: AtomicU64,
    slots: Box<[AtomicU32]>,
}

impl Interest {
    pub(super) fn new() -> Interest {
        Interest {
            total: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Adds a wait for a key of `slot`.
    pub fn add(&self, slot: u16) {
        self.total.fetch_add(1, Relaxed);
        self.slots[usize::from(slot)].fetch_add(1, Relaxed);
    }

    /// Takes a wait for a key of `slot` back.
    pub fn remove(&self, slot: u16) {
        self.slots[usize::from(slot)].fetch_sub(1, Relaxed);
        self.total.fetch_sub(1, Relaxed);
    }

    /// Whether nobody waits for any key.
    #[inline]
    pub fn is_none(&self) -> bool {
        self.total.load(Relaxed) == 0
    }

    /// Whether somebody may wait for `key`.
    #[inline]
    pub fn covers(&self, key: &[u8]) -> bool {
        !self.is_none() && self.slots[usize::from(key_slot(key))].load(Relaxed) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_count_for_their_slot() {
        let interest = Interest::new();
        assert!(interest.is_none() && !interest.covers(b"a"));
        interest.add(key_slot(b"a"));
        assert!(interest.covers(b"a") && !interest.covers(b"b"));
        interest.remove(key_slot(b"a"));
        assert!(interest.is_none() && !interest.covers(b"a"));
    }
}
