//! The keyspace: opening, per-thread handles, totals and background steps.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::view::{Access, View};

/// A pin of the reclamation epoch: what was read under it stays readable while it lives. Take one per
/// batch of commands and drop it before blocking or awaiting.
pub use crossbeam_epoch::Guard;

/// Where the pool lives and how large it may be.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The pool file; `None` keeps the keyspace in anonymous memory.
    pub path: Option<PathBuf>,
    /// Size of the pool in bytes.
    pub size: u64,
    /// Identity of this boot of the machine (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: [u8; 16],
    /// Random bytes from which a new pool takes its identity and hash seed.
    pub seed: [u8; 32],
}

/// What opening a pool found.
#[derive(Clone, Debug)]
pub struct OpenReport {
    /// The pool did not exist and was made.
    pub created: bool,
    /// The pool was not closed cleanly and unfinished transactions were settled.
    pub recovered: bool,
    /// Where a pool that could not be trusted was set aside.
    pub quarantined: Option<PathBuf>,
}

/// Why a pool could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The medium failed.
    Io(std::io::Error),
    /// Another process holds the pool.
    InUse,
    /// The file is not a pool of this version, or is damaged.
    Invalid(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io(e) => write!(f, "{e}"),
            OpenError::InUse => f.write_str("the pool is in use by another process"),
            OpenError::Invalid(why) => write!(f, "not a valid pool: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// Space in the pool, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Held by keys, values and tables.
    pub used: u64,
    /// What the pool can hold in all.
    pub capacity: u64,
}

/// Volatile event counts since the keyspace was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Keys removed because their time had come.
    pub expired_keys: u64,
}

/// Thresholds that may change while the server runs; relaxed loads and stores suffice.
#[derive(Debug)]
pub struct Settings {
    /// A hash with more fields than this becomes a table (`hash-max-listpack-entries`).
    pub hash_packed_entries_max: AtomicU32,
    /// A hash with a longer field or value, in bytes, becomes a table (`hash-max-listpack-value`).
    pub hash_packed_value_max: AtomicU32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hash_packed_entries_max: AtomicU32::new(128),
            hash_packed_value_max: AtomicU32::new(64),
        }
    }
}

/// All databases of one pool. Shared by all threads.
pub struct Keyspace {
    settings: Settings,
    watchers: AtomicU64,
}

/// A thread's handle on the keyspace: its lane in the pool. One view at a time.
pub struct Worker {
    _private: (),
}

impl Keyspace {
    /// Opens or makes the pool and finishes or undoes what a crash interrupted.
    pub fn open(_options: &PoolOptions) -> Result<(Keyspace, OpenReport), OpenError> {
        unimplemented!()
    }

    /// Closes the pool cleanly. All workers must be gone.
    pub fn close(self) {
        unimplemented!()
    }

    /// A handle for the calling thread.
    pub fn worker(&self) -> Worker {
        unimplemented!()
    }

    /// Pins the reclamation epoch. Cheap when already pinned by this thread.
    pub fn pin(&self) -> Guard {
        crossbeam_epoch::pin()
    }

    /// Begins one command, EXEC or script. `now_ms` is Unix time in milliseconds: keys whose time has
    /// come read as absent. A thread must finish its view before it begins another.
    pub fn view<'a>(
        &'a self,
        worker: &'a mut Worker,
        guard: &'a Guard,
        access: Access<'_>,
        now_ms: u64,
    ) -> View<'a> {
        let _ = (worker, access, now_ms, guard);
        unimplemented!()
    }

    /// Keys in database `db` (expired ones that were not yet removed included, as in Redis).
    pub fn len(&self, _db: u8) -> u64 {
        unimplemented!()
    }

    /// Keys in database `db` that have an expiry.
    pub fn expires(&self, _db: u8) -> u64 {
        unimplemented!()
    }

    /// Keys of database `db` in `slot`.
    pub fn slot_len(&self, _db: u8, _slot: u16) -> u64 {
        unimplemented!()
    }

    /// Space used and available.
    pub fn usage(&self) -> Usage {
        unimplemented!()
    }

    /// Event counts.
    pub fn counters(&self) -> Counters {
        unimplemented!()
    }

    /// Runtime thresholds.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Number of clients that watch keys; while it is not zero, views record the keys they touch
    /// ([`View::touched`]).
    pub fn watchers(&self) -> &AtomicU64 {
        &self.watchers
    }

    /// Removes expired keys, visiting at most about `budget` entries and only slots that hold keys with
    /// an expiry. `on_expired` runs for each key before its removal becomes visible, with the slot locked.
    /// Returns the number of keys removed.
    pub fn expire_step(
        &self,
        worker: &mut Worker,
        now_ms: u64,
        budget: usize,
        on_expired: &mut dyn FnMut(u8, &[u8]),
    ) -> usize {
        let _ = (worker, now_ms, budget, on_expired);
        unimplemented!()
    }

    /// Frees some of what large removals (FLUSHDB, DEL of a large hash) left behind, at most about `budget`
    /// blocks. Returns whether more is left.
    pub fn reap_step(&self, worker: &mut Worker, budget: usize) -> bool {
        let _ = (worker, budget);
        unimplemented!()
    }
}

/// What an offline check of a pool found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Keys in all databases.
    pub keys: u64,
    /// Blocks reachable from the roots.
    pub blocks: u64,
    /// Everything that is wrong; empty for a sound pool.
    pub faults: Vec<String>,
}

/// Checks a pool that no process has open: every allocated block is reachable exactly once, counters and
/// table invariants hold.
pub fn check(_path: &Path) -> Result<CheckReport, OpenError> {
    unimplemented!()
}
