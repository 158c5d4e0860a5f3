//! Writers of one slot side by side.
//!
//! A slot's writer has it for itself as a rule. Where several meet in one, because many keys of it are hot, they share it
//! as long as each does no more than replace what one key holds by one store: the first rule of
//! [`medium`](super::medium). Such a change and another one touch no word in common, neither in the table nor in their
//! lanes' logs, so they need not know of each other; readers see either of them in one store, as ever, and the slot's
//! sequence word stays even.
//!
//! ```text
//!   alone    the slot's lock                   any change
//!   shared   the stripe of the key's hash      one record, or one word of a value, is replaced; blocks are taken and
//!                                              given up
//! ```
//!
//! Writers that share a slot only read its words, so that these stay in the caches of all processors: no count of them is
//! kept. How who wants the slot alone gets it is told in [`Bias`].
//!
//! Whatever else a change turns out to need (a new key, an expiry more or less, a large value, a second store) it needs
//! the slot alone for. The writer notices before it has stored anything, and unwinds with [`SlotShared`]; the caller
//! undoes it (drops the view, or rolls it back) and begins again alone.
//!
//! Whether sharing is worth it is known by experience: it begins when two writers meet, and what ended it must be made up
//! for by many meetings before it begins again.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicI16, Ordering::Relaxed};
use std::time::Duration;

use super::keyspace::Keyspace;
use super::known::KnownKey;
use super::slot::Locks;
use super::view::Access;
use crate::sync::Bias;

/// Keys of different stripes can be changed side by side.
const STRIPES: usize = 128;

/// Meetings at a slot after the end of sharing until it begins again.
const END_COSTS: i16 = 512;

/// The same after a change in the shared slot has turned out to need it alone.
const REFUSAL_COSTS: i16 = 8192;

/// What a change in a shared slot unwinds with if it needs the slot alone. It has stored nothing that others see.
#[derive(Clone, Copy, Debug)]
pub struct SlotShared;

/// Whether a slot is being shared.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    pub(super) bias: Bias,
    /// Meetings that are to pass before it is shared. Nobody minds a lost update.
    debt: AtomicI16,
}

impl Sharing {
    /// Two writers have met; whether the slot is to be shared from now on.
    pub(super) fn meet(&self) -> bool {
        let debt = self.debt.load(Relaxed);
        if debt > 0 {
            self.debt.store(debt - 1, Relaxed);
        }
        debt == 0
    }

    /// Ends it, if it is on. The caller has the slot's lock.
    #[inline]
    pub(super) fn end(&self, stripes: &Stripes) {
        if self.bias.is_on() {
            self.end_now(stripes);
        }
    }

    #[cold]
    fn end_now(&self, stripes: &Stripes) {
        self.debt.fetch_max(END_COSTS, Relaxed);
        self.bias
            .end(|| stripes.0.iter().for_each(|stripe| drop(stripe.0.lock())));
    }
}

/// Locks of keys, which share them by their hash.
pub(super) struct Stripes(Box<[Stripe; STRIPES]>);

/// On a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Stripe(Mutex<()>);

impl Stripes {
    pub(super) fn new() -> Stripes {
        Stripes(Box::new(std::array::from_fn(|_| Stripe::default())))
    }

    /// The lock of a key.
    pub(super) fn of(&self, key: &KnownKey<'_>) -> &Mutex<()> {
        &self.0[key.hash().position() as usize % STRIPES].0
    }
}

impl Keyspace {
    /// Locks the slot of `key` for a command that changes this key and looks at no other one: side by side with others
    /// that do so ([`Locks::are_shared`]), if there are any. A view with such locks unwinds with [`SlotShared`] if it
    /// needs the slot alone. `None` if a lock cannot be had within `wait_max`; where others begin or end the sharing meanwhile,
    /// up to three are waited for, one after the other.
    #[inline(always)]
    pub fn try_lock_key(&self, key: &KnownKey<'_>, wait_max: Duration) -> Option<Locks<'_>> {
        let locks = self.slots().lock_key_within(key, wait_max)?;
        if locks.are_shared() && self.snapshot_is_on() {
            // A snapshot wants what is replaced, and walks slots with their writers. None begins while we have the lock.
            drop(locks);
            return self.try_lock(Access::Slots(&[key.slot()]), wait_max);
        }
        Some(locks)
    }

    /// Notes that a change in a shared slot needed it alone.
    pub fn note_refusal(&self, slot: u16) {
        self.slots()
            .at(slot)
            .sharing
            .debt
            .store(REFUSAL_COSTS, Relaxed);
    }
}

/// Ends a change that needs the slot alone.
#[cold]
pub(super) fn refuse() -> ! {
    // Not a panic: the caller of `try_lock_key` expects it.
    std::panic::resume_unwind(Box::new(SlotShared))
}

#[cfg(test)]
impl super::slot::Slots {
    /// Has the slot shared from now on, whatever its debt.
    pub(super) fn share(&self, slot: u16) {
        self.at(slot)
            .begin_sharing(Duration::from_secs(60))
            .expect("it waits");
    }

    pub(super) fn is_shared(&self, slot: u16) -> bool {
        self.at(slot).sharing.bias.is_on()
    }
}
