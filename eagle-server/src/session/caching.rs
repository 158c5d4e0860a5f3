//! How one client's cache is kept up to date (`CLIENT TRACKING`): its own side of it.

use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

const RELAXED: Ordering = Ordering::Relaxed;

/// Bits of what a client asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CachingFlags(pub u8);

impl CachingFlags {
    /// Invalidations are wanted.
    pub const ON: CachingFlags = CachingFlags(1);
    /// Of all keys with the client's prefixes, whether it read them or not.
    pub const BCAST: CachingFlags = CachingFlags(2);
    /// Keys are remembered only after CLIENT CACHING YES.
    pub const OPTIN: CachingFlags = CachingFlags(4);
    /// Keys are remembered unless CLIENT CACHING NO was said.
    pub const OPTOUT: CachingFlags = CachingFlags(8);
    /// Not of keys the client itself has changed.
    pub const NOLOOP: CachingFlags = CachingFlags(16);
    /// The client that invalidations are redirected to is gone.
    pub const BROKEN: CachingFlags = CachingFlags(32);

    /// Whether every bit of `other` is set.
    pub const fn has(self, other: CachingFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of bits.
    #[must_use]
    pub const fn with(self, other: CachingFlags) -> CachingFlags {
        CachingFlags(self.0 | other.0)
    }
}

/// What a client asked for. Written by its own thread, but for the bit [`CachingFlags::BROKEN`].
#[derive(Default)]
pub struct Caching {
    flags: AtomicU8,
    /// The client that gets the invalidations instead, or 0.
    redirect: AtomicU64,
    prefixes: Mutex<Vec<Box<[u8]>>>,
    /// Tracking is off, and changes are noted key by key all the same, for what was read before.
    lingers: AtomicBool,
}

impl Caching {
    #[inline]
    pub fn flags(&self) -> CachingFlags {
        CachingFlags(self.flags.load(RELAXED))
    }

    pub fn set_flags(&self, flags: CachingFlags) {
        self.flags.store(flags.0, RELAXED);
    }

    /// Notes that the redirection leads nowhere.
    pub fn set_broken(&self) {
        self.flags.fetch_or(CachingFlags::BROKEN.0, RELAXED);
    }

    pub fn redirect(&self) -> u64 {
        self.redirect.load(RELAXED)
    }

    pub fn set_redirect(&self, id: u64) {
        self.redirect.store(id, RELAXED);
    }

    /// Has changes noted although tracking is off.
    pub fn linger(&self) {
        self.lingers.store(true, RELAXED);
    }

    /// Ends that; whether it was so.
    pub fn stop_lingering(&self) -> bool {
        self.lingers.swap(false, RELAXED)
    }

    /// The prefixes of the keys the client wants to hear of.
    pub fn prefixes(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.prefixes.lock()
    }
}
