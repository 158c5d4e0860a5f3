//! Which hash slots have keys on their way to another node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::cluster::SLOT_COUNT;

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
}

impl Default for SlotsInTransfer {
    fn default() -> SlotsInTransfer {
        SlotsInTransfer {
            count: AtomicU32::new(0),
            slots: (0..SLOT_COUNT).map(|_| AtomicBool::new(false)).collect(),
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
        SlotClaim {
            all: self.clone(),
            slots: slots.into(),
        }
    }

    /// Whether one of `slots`, whose locks the caller holds, is in transfer.
    pub fn any_of(&self, slots: &[u16]) -> bool {
        let is_in = |slot: &u16| self.slots[usize::from(*slot)].load(Ordering::Relaxed);
        self.count.load(Ordering::Relaxed) != 0 && slots.iter().any(is_in)
    }
}

/// Keeps slots in transfer while it lives.
#[derive(Debug)]
pub struct SlotClaim {
    all: Arc<SlotsInTransfer>,
    slots: Box<[u16]>,
}

impl SlotClaim {
    /// The slots, in the order they were given.
    pub fn slots(&self) -> &[u16] {
        &self.slots
    }
}

impl Drop for SlotClaim {
    fn drop(&mut self) {
        for slot in &self.slots {
            self.all.slots[usize::from(*slot)].store(false, Ordering::Relaxed);
        }
        self.all
            .count
            .fetch_sub(self.slots.len() as u32, Ordering::Relaxed);
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
        drop(first);
        assert!(!slots.any_of(&[7, 16383]) && slots.any_of(&[8]));
        drop(second);
        assert!(!slots.any_of(&[8]));
    }
}
