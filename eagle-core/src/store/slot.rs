//! The volatile twin of the hash slots: a lock for writers and a sequence word for lock-free readers.
//!
//! All databases share them: a slot is locked in all databases at once, so that a command that works on two
//! databases (MOVE, COPY) needs one lock. Slots are locked in ascending order; the type of [`Locks`] allows no
//! other.

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use std::time::{Duration, Instant};

use super::SLOTS;
use super::known::KnownKey;
use super::sharing::{Sharing, Stripes};
use super::view::Access;
use crate::sync::prefetch;
use crate::sync::primitive::spin_loop;
use crate::sync::{ReadStamp, SlotSeq, WriteGuard};

/// Looks at an odd sequence word before a reader waits for the lock instead.
const SPINS_MAX: u32 = 64;

#[derive(Default)]
pub(super) struct Slot {
    lock: Mutex<()>,
    pub(super) sharing: Sharing,
    seq: SlotSeq,
}

impl Slot {
    /// Locks the slot for one writer alone.
    #[inline]
    fn lock<'a>(&'a self, stripes: &Stripes) -> MutexGuard<'a, ()> {
        let held = self.lock.lock();
        self.sharing.end(stripes);
        held
    }

    /// The same if nobody has locked it.
    #[inline]
    fn try_lock<'a>(&'a self, stripes: &Stripes) -> Option<MutexGuard<'a, ()>> {
        let held = self.lock.try_lock()?;
        self.sharing.end(stripes);
        Some(held)
    }

    /// The same if it can be had before long.
    #[inline]
    fn try_lock_until<'a>(
        &'a self,
        stripes: &Stripes,
        until: impl FnOnce() -> Instant,
    ) -> Option<MutexGuard<'a, ()>> {
        let held = self
            .lock
            .try_lock()
            .or_else(|| self.lock.try_lock_until(until()))?;
        self.sharing.end(stripes);
        Some(held)
    }

    /// Has writers of single keys share the slot from now on; `None` if another writer keeps it for longer than this.
    #[cold]
    pub(super) fn begin_sharing(&self, wait_max: Duration) -> Option<()> {
        let _alone = self.lock.try_lock_for(wait_max)?;
        self.sharing.bias.begin();
        Some(())
    }

    /// Waits for the writer at most this long.
    #[cold]
    fn wait_for_stamp(&self, wait_max: Duration) -> Option<ReadStamp> {
        let until = Instant::now() + wait_max;
        loop {
            if let Some(stamp) = self.seq.read_begin() {
                return Some(stamp);
            }
            drop(self.lock.try_lock_until(until)?);
        }
    }
}

/// The locks and sequence words of all slots.
pub(super) struct Slots {
    each: Box<[Slot]>,
    stripes: Stripes,
}

impl Slots {
    /// All unlocked.
    pub(super) fn new() -> Slots {
        Slots {
            each: (0..SLOTS).map(|_| Slot::default()).collect(),
            stripes: Stripes::new(),
        }
    }

    /// One of them.
    #[inline]
    pub(super) fn at(&self, slot: u16) -> &Slot {
        &self.each[usize::from(slot)]
    }

    /// No lock.
    #[inline]
    pub(super) fn none(&self) -> Locks<'_> {
        Locks {
            slots: self,
            held: Held::None,
        }
    }

    /// Takes the locks that `access` asks for.
    pub(super) fn lock(&self, access: Access<'_>) -> Locks<'_> {
        let held = match access {
            Access::LockFree => Held::None,
            Access::Slots(&[slot]) => Held::One(slot, self.at(slot).lock(&self.stripes)),
            Access::Slots(slots) => {
                assert!(slots.is_sorted_by(|a, b| a < b), "slots ascend");
                Held::Some(
                    slots
                        .iter()
                        .map(|&slot| (slot, self.at(slot).lock(&self.stripes)))
                        .collect(),
                )
            }
            Access::All => Held::All {
                _locks: self
                    .each
                    .iter()
                    .map(|slot| slot.lock(&self.stripes))
                    .collect(),
            },
        };
        Locks { slots: self, held }
    }

    /// Asks for the cache line of a slot's lock and sequence word.
    #[inline]
    pub(super) fn prefetch(&self, slot: u16) {
        prefetch(self.at(slot));
    }

    /// Begins an optimistic read of a slot; waits while a transaction is being applied to it.
    #[inline]
    pub(super) fn stamp(&self, slot: u16) -> ReadStamp {
        let slot = self.at(slot);
        loop {
            for _ in 0..SPINS_MAX {
                if let Some(stamp) = slot.seq.read_begin() {
                    return stamp;
                }
                spin_loop();
            }
            // The writer may have been preempted: sleep until it has let go of the slot.
            drop(slot.lock.lock());
        }
    }

    /// Like [`Slots::stamp`], but waits no longer than this.
    #[inline]
    pub(super) fn stamp_within(&self, slot: u16, wait_max: Duration) -> Option<ReadStamp> {
        let slot = self.at(slot);
        if let Some(stamp) = slot.seq.read_begin() {
            return Some(stamp);
        }
        slot.wait_for_stamp(wait_max)
    }

    /// Like [`Slots::lock`], but waits no longer than this.
    #[inline]
    pub(super) fn lock_within(&self, access: Access<'_>, wait_max: Duration) -> Option<Locks<'_>> {
        let held = match access {
            Access::LockFree => Held::None,
            Access::Slots(&[slot]) => {
                let until = || Instant::now() + wait_max;
                Held::One(slot, self.at(slot).try_lock_until(&self.stripes, until)?)
            }
            many => self.lock_many_within(many, wait_max)?,
        };
        Some(Locks { slots: self, held })
    }

    /// Locks the slot of one key for a change of this key: side by side with others if that is how the slot is written to
    /// now, else alone.
    #[inline]
    pub(super) fn lock_key_within(
        &self,
        key: &KnownKey<'_>,
        wait_max: Duration,
    ) -> Option<Locks<'_>> {
        let slot = self.at(key.slot());
        if !slot.sharing.bias.is_on() {
            if let Some(held) = slot.try_lock(&self.stripes) {
                let held = Held::One(key.slot(), held);
                return Some(Locks { slots: self, held });
            }
            if slot.sharing.meet() {
                slot.begin_sharing(wait_max)?;
            }
        }
        if slot.sharing.bias.is_on() {
            let stripe = self.stripes.of(key);
            let stripe = stripe
                .try_lock()
                .or_else(|| stripe.try_lock_for(wait_max))?;
            if slot.sharing.bias.is_on() {
                let held = Held::Shared(key.slot(), stripe);
                return Some(Locks { slots: self, held });
            }
        }
        self.lock_within(Access::Slots(&[key.slot()]), wait_max)
    }

    fn lock_many_within(&self, access: Access<'_>, wait_max: Duration) -> Option<Held<'_>> {
        // The clock is read only if there is something to wait for.
        let mut until = None;
        let mut take = |slot: u16| {
            let until = || *until.get_or_insert_with(|| Instant::now() + wait_max);
            self.at(slot).try_lock_until(&self.stripes, until)
        };
        let held = match access {
            Access::LockFree => Held::None,
            Access::Slots(slots) => {
                assert!(slots.is_sorted_by(|a, b| a < b), "slots ascend");
                let mut held = SmallVec::with_capacity(slots.len());
                for &slot in slots {
                    held.push((slot, take(slot)?));
                }
                Held::Some(held)
            }
            Access::All => {
                let locks: Option<Vec<_>> = (0..SLOTS as u16).map(take).collect();
                Held::All { _locks: locks? }
            }
        };
        Some(held)
    }

    /// Whether what was read since `stamp` is one state of the slot.
    #[inline]
    pub(super) fn validate(&self, slot: u16, stamp: ReadStamp) -> bool {
        self.at(slot).seq.read_validate(stamp)
    }
}

enum Held<'a> {
    None,
    /// Locked by somebody who lends it to a view that only reads.
    Lent(u16),
    One(u16, MutexGuard<'a, ()>),
    /// A key's stripe: others may change other keys of the slot.
    Shared(
        u16,
        #[expect(dead_code, reason = "held")] MutexGuard<'a, ()>,
    ),
    Some(SmallVec<[(u16, MutexGuard<'a, ()>); 2]>),
    All {
        _locks: Vec<MutexGuard<'a, ()>>,
    },
}

/// The slots a view has locked; released on drop.
pub struct Locks<'a> {
    slots: &'a Slots,
    held: Held<'a>,
}

impl<'a> Locks<'a> {
    /// The lock of a slot that the caller has, for a view that only reads and ends before the caller unlocks.
    pub(super) fn lent(slots: &'a Slots, slot: u16) -> Locks<'a> {
        Locks {
            slots,
            held: Held::Lent(slot),
        }
    }

    /// Takes the locks out: what is left has none.
    #[inline]
    pub(super) fn take(&mut self) -> Locks<'a> {
        Locks {
            slots: self.slots,
            held: std::mem::replace(&mut self.held, Held::None),
        }
    }

    /// Whether the view may read without regard to other writers, and write.
    #[inline]
    pub(super) fn any(&self) -> bool {
        !matches!(self.held, Held::None)
    }

    /// Whether others may change other keys of the slot meanwhile.
    #[inline]
    pub fn are_shared(&self) -> bool {
        matches!(self.held, Held::Shared(..))
    }

    /// Whether all slots are locked.
    pub(super) fn all(&self) -> bool {
        matches!(self.held, Held::All { .. })
    }

    /// Whether this slot is locked.
    #[inline]
    pub(super) fn covers(&self, slot: u16) -> bool {
        match &self.held {
            Held::None => false,
            Held::Lent(only) | Held::One(only, _) | Held::Shared(only, _) => *only == slot,
            Held::Some(held) => held
                .binary_search_by_key(&slot, |(number, _)| *number)
                .is_ok(),
            Held::All { .. } => true,
        }
    }

    /// Locks `slot`, or all slots, unless somebody else holds one of them; whether they are locked now. Those that
    /// were not before are noted in `added`.
    pub(super) fn try_extend(&mut self, slot: Option<u16>, added: &mut SmallVec<[u16; 2]>) -> bool {
        if matches!(self.held, Held::One(..)) {
            let one = std::mem::replace(&mut self.held, Held::None);
            if let Held::One(slot, lock) = one {
                self.held = Held::Some(SmallVec::from_iter([(slot, lock)]));
            }
        }
        let Held::Some(held) = &mut self.held else {
            return self.all();
        };
        let wanted = match slot {
            Some(slot) => slot..=slot,
            None => 0..=SLOTS as u16 - 1,
        };
        let before = held.len();
        for slot in wanted {
            let here = held[..before].binary_search_by_key(&slot, |(number, _)| *number);
            if here.is_err() {
                match self.slots.at(slot).try_lock(&self.slots.stripes) {
                    Some(lock) => held.push((slot, lock)),
                    None => {
                        held.truncate(before);
                        return false;
                    }
                }
            }
        }
        added.extend(held[before..].iter().map(|(slot, _)| *slot));
        held.sort_unstable_by_key(|(slot, _)| *slot);
        if held.len() == SLOTS {
            let locks = std::mem::take(held).into_iter().map(|(_, lock)| lock);
            self.held = Held::All {
                _locks: locks.collect(),
            };
        }
        true
    }

    /// Makes the sequence words of these slots odd.
    pub(super) fn write_each(&self, slots: &[u16], odd: &mut SmallVec<[WriteGuard<'a>; 1]>) {
        for slot in slots {
            odd.push(self.slots.at(*slot).seq.write());
        }
    }

    /// Makes the sequence words of all locked slots odd.
    pub(super) fn write_all(&self, odd: &mut SmallVec<[WriteGuard<'a>; 1]>) {
        match &self.held {
            Held::None | Held::Lent(_) => {}
            Held::Shared(..) => unreachable!("the writer asks first whether it is alone"),
            Held::One(slot, _) => self.write_each(&[*slot], odd),
            Held::Some(held) => {
                odd.reserve(held.len());
                for (slot, _) in held {
                    odd.push(self.slots.at(*slot).seq.write());
                }
            }
            Held::All { .. } => odd.extend(self.slots.each.iter().map(|slot| slot.seq.write())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_cover_what_was_asked() {
        let slots = Slots::new();
        let none = slots.lock(Access::LockFree);
        assert!(!none.any() && !none.covers(3));
        let one = slots.lock(Access::Slots(&[3]));
        assert!(one.any() && one.covers(3) && !one.covers(4) && !one.all());
        let two = slots.lock(Access::Slots(&[1, 7, 9]));
        assert!(two.covers(7) && two.covers(9) && !two.covers(8));
        drop((one, two));
        assert!(slots.lock(Access::All).all());
    }

    #[test]
    fn a_transaction_keeps_readers_out_until_it_ends() {
        let slots = Slots::new();
        let stamp = slots.stamp(5);
        assert!(slots.validate(5, stamp));
        let locks = slots.lock(Access::Slots(&[5]));
        let mut odd = SmallVec::new();
        locks.write_all(&mut odd);
        assert!(!slots.validate(5, stamp));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| slots.stamp(5));
            drop(odd);
            drop(locks);
            assert_ne!(reader.join().unwrap(), stamp);
        });
    }

    #[test]
    fn locks_are_extended_without_waiting() {
        let slots = Slots::new();
        let mut locks = slots.lock(Access::Slots(&[5, 9]));
        let other = slots.lock(Access::Slots(&[7]));
        let mut added: SmallVec<[u16; 2]> = SmallVec::new();
        assert!(locks.try_extend(Some(5), &mut added) && added.is_empty());
        assert!(locks.try_extend(Some(6), &mut added) && added[..] == [6]);
        assert!(locks.covers(5) && locks.covers(6) && locks.covers(9));
        assert!(!locks.try_extend(Some(7), &mut added) && !locks.covers(7));
        assert!(!locks.try_extend(None, &mut added) && !locks.all());
        // What was locked on the way was let go again.
        drop(slots.lock(Access::Slots(&[0, 6 + 2, 16383])));
        drop(other);
        assert!(locks.try_extend(None, &mut added) && locks.all());
        drop(locks);
        drop(slots.lock(Access::All));
    }

    #[test]
    #[should_panic(expected = "slots ascend")]
    fn slots_in_disorder_are_a_bug() {
        let slots = Slots::new();
        let _ = slots.lock(Access::Slots(&[2, 1]));
    }
}
