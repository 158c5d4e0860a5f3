//! The pool (interface draft: bodies follow).

use super::{Offset, OpenError, Tx};
use crate::sync::{Guard, primitive::Ordering};
use std::{
    io,
    path::{Path, PathBuf},
};

/// How to open or create a pool. Randomness and the boot id are arguments.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// The file; `None` keeps the pool in anonymous memory.
    pub path: Option<PathBuf>,
    /// Bytes the heap may grow to.
    pub size_max: u64,
    /// Lanes (concurrent transactions) a newly created pool gets, 1..=1024.
    pub lanes: usize,
    /// Identifies this boot of the machine.
    pub boot_id: [u8; 16],
    /// Seed of the key hash of a newly created pool.
    pub hash_seed: [u8; 16],
    /// Identity of a newly created pool.
    pub pool_id: [u8; 16],
}

/// What the pool lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    Anonymous,
    File,
    Tmpfs,
    Dax,
    Simulated,
}

/// What `open` found and did.
#[derive(Debug, Clone)]
pub struct OpenReport {
    pub created: bool,
    /// The pool was not closed cleanly and its logs were replayed.
    pub recovered: bool,
    pub rolled_back: usize,
    pub rolled_forward: usize,
    pub medium: Medium,
    pub pool_id: [u8; 16],
    pub lanes: usize,
}

/// Space, in bytes unless named otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes the heap may grow to.
    pub capacity: u64,
    /// Bytes mapped so far.
    pub mapped: u64,
    /// Bytes of allocated blocks (their class sizes).
    pub allocated: u64,
    /// Bytes that can still be allocated.
    pub free: u64,
    /// Freed blocks that wait for the grace period.
    pub retired_blocks: u64,
    /// Their bytes.
    pub retired_bytes: u64,
    /// Whether `allocated` is exact; until indexing is done it is an upper bound.
    pub exact: bool,
}

/// The pool.
#[derive(Debug)]
pub struct Pool {}

/// A checked-out persistent lane; goes back to the pool on drop.
#[derive(Debug)]
pub struct Lane {}

#[expect(unused_variables)]
impl Pool {
    /// Bytes of the root area.
    pub const ROOT_BYTES: u64 = 4096;
    /// Largest block in bytes.
    pub const BLOCK_BYTES_MAX: usize = 1 << 30;

    /// Creates the pool, or opens and recovers it.
    pub fn open(options: &PoolOptions) -> Result<(Pool, OpenReport), OpenError> {
        unimplemented!()
    }
    /// Syncs and sets the clean flag. All lanes must have been dropped.
    pub fn close(self) -> io::Result<()> {
        unimplemented!()
    }
    /// The zeroed area for the store layer's root record.
    pub fn root(&self) -> Offset {
        unimplemented!()
    }
    /// Seed of the key hash, fixed at creation.
    pub fn hash_seed(&self) -> [u8; 16] {
        unimplemented!()
    }
    /// Loads a word atomically. Panics when out of bounds or not aligned.
    pub fn load_u64(&self, at: Offset, ordering: Ordering) -> u64 {
        unimplemented!()
    }
    /// The contents of an immutable blob. Panics when out of bounds.
    pub fn bytes<'g>(&self, at: Offset, len: usize, guard: &'g Guard) -> &'g [u8] {
        unimplemented!()
    }
    /// Copies mutable memory out by relaxed atomic words; `at` is a multiple of eight.
    pub fn load_bytes(&self, at: Offset, into: &mut [u8]) {
        unimplemented!()
    }
    /// Hints that the line at `at` will be read soon; any value is allowed.
    pub fn prefetch(&self, at: Offset) {
        unimplemented!()
    }
    /// Size class of an allocated block.
    pub fn usable_size(&self, at: Offset) -> usize {
        unimplemented!()
    }
    /// Size class a request of `size` bytes gets.
    pub fn size_class(size: usize) -> usize {
        unimplemented!()
    }
    /// Checks out a lane; waits when all are taken. One per writing thread.
    pub fn lane(&self) -> Lane {
        unimplemented!()
    }
    /// Starts a transaction.
    pub fn begin<'p>(&'p self, lane: &'p mut Lane, guard: &'p Guard) -> Tx<'p> {
        unimplemented!()
    }
    /// Space figures.
    pub fn usage(&self) -> Usage {
        unimplemented!()
    }
    /// Indexes up to `slabs_max` slabs after a restart; `true` when all are indexed.
    pub fn index_step(&self, slabs_max: usize) -> bool {
        unimplemented!()
    }
}

/// Renames a pool that cannot be trusted to `<path>.unclean-N` and answers the new name.
#[expect(unused_variables)]
pub fn quarantine(path: &Path) -> io::Result<PathBuf> {
    unimplemented!()
}
