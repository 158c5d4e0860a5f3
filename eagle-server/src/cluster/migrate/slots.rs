//! Which hash slots have keys on their way to another node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::cluster::SLOT_COUNT;
use parking_lot::Mutex;

/// The slots in transfer.
///
/// A slot enters while its lock is held, and is asked for while its lock is held: the lock orders
/// the two, so the words themselves need no ordering. A slot leaves without the lock; who still sees
/// it in transfer only waits once more.
#[derive(Debug)]
pub struct SlotsInTransfer {
    /// How many slots are in transfer, so that the usual answer costs one load.
    count: AtomicU32,
    slots: Box<[AtomicBool]>,
    /// The claims there are, for those who change keys in spite of them.
    claims: Mutex<Vec<Arc<Claim>>>,
}

/// What a claim and those who note changes share.
#[derive(Debug)]
struct Claim {
    slots: Box<[u16]>,
    /// A command on all slots, or a script that did not declare what it does, may have changed a key of these slots.
    is_disturbed: AtomicBool,
}

impl Default for SlotsInTransfer {
    fn default() -> SlotsInTransfer {
        SlotsInTransfer {
            count: AtomicU32::new(0),
            slots: (0..SLOT_COUNT).map(|_| AtomicBool::new(false)).collect(),
            claims: Mutex::default(),
        }
    }
}

impl SlotsInTransfer {
    /// Puts distinct `slots`, whose locks the caller holds and of which [`SlotsInTransfer::any_of`]
    /// denied all, in transfer until the claim is dropped.
    pub fn begin(self: &Arc<Self>, slots: &[u16]) -> SlotClaim {
        for slot in slots {
            let before = self.slots[usize::from(*slot)].swap(true, Ordering::Relaxed);
            assert!(!before, "a slot is in one transfer at a time");
        }
        self.count.fetch_add(slots.len() as u32, Ordering::Relaxed);
        let claim = Arc::new(Claim {
            slots: slots.into(),
            is_disturbed: AtomicBool::new(false),
        });
        self.claims.lock().push(claim.clone());
        SlotClaim {
            all: self.clone(),
            claim,
        }
    }

    /// Notes that keys of slots for which `covers` holds, whose locks the caller holds, have been changed.
    pub fn note_change(&self, covers: impl Fn(u16) -> bool) {
        if !self.any() {
            return;
        }
        for claim in &*self.claims.lock() {
            if claim.slots.iter().any(|slot| covers(*slot)) {
                claim.is_disturbed.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Whether any slot at all may be in transfer.
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
    }

    /// Whether one of `slots`, whose locks the caller holds, is in transfer.
    pub fn any_of(&self, slots: &[u16]) -> bool {
        let is_in = |slot: &u16| self.slots[usize::from(*slot)].load(Ordering::Relaxed);
        self.any() && slots.iter().any(is_in)
    }
}

/// Keeps slots in transfer while it lives.
#[derive(Debug)]
pub struct SlotClaim {
    all: Arc<SlotsInTransfer>,
    claim: Arc<Claim>,
}

impl SlotClaim {
    /// The slots, in the order they were given.
    pub fn slots(&self) -> &[u16] {
        &self.claim.slots
    }

    /// Whether a key of the slots may have changed since they were claimed. The caller holds their locks.
    pub fn is_disturbed(&self) -> bool {
        self.claim.is_disturbed.load(Ordering::Relaxed)
    }
}

impl Drop for SlotClaim {
    fn drop(&mut self) {
        let mut claims = self.all.claims.lock();
        claims.retain(|claim| !Arc::ptr_eq(claim, &self.claim));
        for slot in self.slots() {
            self.all.slots[usize::from(*slot)].store(false, Ordering::Relaxed);
        }
        self.all
            .count
            .fetch_sub(self.slots().len() as u32, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_in_transfer_while_claimed() {
        let slots = Arc::new(SlotsInTransfer::default());
        assert!(!slots.any_of(&[7, 9]));
        let first = slots.begin(&[7, 16383]);
        let second = slots.begin(&[8]);
        assert!(slots.any_of(&[6, 7]) && slots.any_of(&[16383]) && slots.any_of(&[8]));
        assert!(!slots.any_of(&[6, 9]) && !slots.any_of(&[]));
        assert_eq!(first.slots(), [7, 16383]);
        slots.note_change(|slot| slot == 9);
        assert!(!first.is_disturbed() && !second.is_disturbed());
        slots.note_change(|slot| slot == 7);
        assert!(first.is_disturbed() && !second.is_disturbed());
        drop(first);
        assert!(!slots.any_of(&[7, 16383]) && slots.any_of(&[8]));
        drop(second);
        assert!(!slots.any_of(&[8]));
    }
}
