//! The pool as the store layer sees it: reading, lanes, closing, and figures. Opening is in
//! [`open`](super::open).

use super::{
    Lane, Offset, OpenError, OpenReport, OutOfSpace, PoolOptions, Tx,
    alloc::Heap,
    class,
    lane::{Counters, LaneState},
    layout::{PAGE_BYTES, ROOT, ROOT_BYTES},
    log::Identity,
    medium::Medium,
    open,
    ring::Ring,
    sim::Sim,
    superblock::Superblock,
};
use crate::sync::Guard;
use std::{
    fmt, io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
};

/// Share of the heap that the logs of all transactions in flight may take.
const LOG_SHARE: u32 = 4;

/// What a pool lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediumKind {
    /// Private memory: gone with the process.
    Anonymous,
    /// A file in the page cache.
    File,
    /// A file in memory: survives the process, not the machine.
    Tmpfs,
    /// Persistent memory, mapped synchronously.
    Dax,
    /// The crash simulator.
    Simulated,
}

impl fmt::Display for MediumKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MediumKind::Anonymous => "anonymous",
            MediumKind::File => "file",
            MediumKind::Tmpfs => "tmpfs",
            MediumKind::Dax => "dax",
            MediumKind::Simulated => "simulated",
        })
    }
}

/// Space, in bytes unless named otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes the heap may grow to.
    pub capacity: u64,
    /// Bytes mapped so far.
    pub mapped: u64,
    /// Bytes of allocated blocks, each with its size class.
    pub allocated: u64,
    /// Bytes of heap pages that are not in use.
    pub free: u64,
    /// Bytes of the pages that lanes allocate from; see [`Lane::give_back`].
    pub held: u64,
    /// Freed blocks that wait for the grace period.
    pub retired_blocks: u64,
    /// Their bytes.
    pub retired_bytes: u64,
    /// Whether `allocated` is exact; until indexing is done it is an upper bound.
    pub exact: bool,
}

/// What the pool, its lanes and the blocks waiting for their grace period have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub heap: Heap,
    pub ring: Ring,
    superblock: Mutex<Superblock>,
    /// Lanes that nobody has checked out; the last one returned is last.
    lanes: Mutex<Vec<LaneState>>,
    lane_returned: Condvar,
    counters: Vec<Arc<Counters>>,
    /// Retired blocks whose grace period is over, and their bytes.
    released_blocks: AtomicI64,
    released_bytes: AtomicI64,
    /// Pages of log chunks, and their limit.
    log_pages: AtomicU32,
    log_pages_max: u32,
}

/// A persistent pool. [`Pool::open`] says what is trusted when.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// Bytes of the root area.
    pub const ROOT_BYTES: u64 = ROOT_BYTES;

    /// Largest block in bytes.
    pub const BLOCK_BYTES_MAX: usize = 1 << 30;

    /// Creates the pool, or opens and recovers it. A pool that was not closed is trusted only on
    /// DAX, or if the machine has not been restarted since ([`OpenError::Unclean`] otherwise).
    pub fn open(options: &PoolOptions) -> Result<(Pool, OpenReport), OpenError> {
        open::open(options)
    }

    /// Opens the pool that a simulated medium holds, or makes one if it is empty. Like DAX, the
    /// medium is trusted whatever has happened to it.
    pub fn simulated(sim: &Sim) -> Result<(Pool, OpenReport), OpenError> {
        open::simulated(sim)
    }

    /// Puts a pool together from a recovered heap.
    pub(super) fn assemble(heap: Heap, superblock: Superblock) -> Result<Pool, String> {
        let ring = Ring::open(&heap.medium)?;
        let geometry = heap.geometry;
        let counters: Vec<Arc<Counters>> = (0..geometry.lanes()).map(|_| Arc::default()).collect();
        let lanes = (0..geometry.lanes())
            .rev()
            .map(|index| {
                let header = geometry.lane(index);
                let generation = heap.medium.load(header, Ordering::Relaxed);
                let identity = Identity::new(&superblock.hash_seed, index, generation);
                LaneState::new(header, identity, counters[index].clone())
            })
            .collect();
        let log_pages_max = heap.usage().pages_max / LOG_SHARE;
        let shared = Shared {
            heap,
            ring,
            superblock: Mutex::new(superblock),
            lanes: Mutex::new(lanes),
            lane_returned: Condvar::new(),
            counters,
            released_blocks: AtomicI64::new(0),
            released_bytes: AtomicI64::new(0),
            log_pages: AtomicU32::new(0),
            log_pages_max,
        };
        Ok(Pool {
            shared: Arc::new(shared),
        })
    }

    /// Writes everything to stable storage and marks the pool as closed cleanly. All lanes must
    /// have been dropped, else the pool is left as after a crash and an error is returned.
    pub fn close(self) -> io::Result<()> {
        let shared = &self.shared;
        if shared.lock_lanes().len() < shared.heap.geometry.lanes() {
            return Err(io::Error::other("the pool is still being written to"));
        }
        shared.heap.close();
        let medium = &shared.heap.medium;
        medium.map().sync(0, medium.end())?;
        let mut superblock = shared
            .superblock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        superblock.clean = true;
        open::write_superblock(medium, &mut superblock)
    }

    /// The area for the store layer's root record: zeros in a new pool.
    pub fn root(&self) -> Offset {
        ROOT
    }

    /// Seed of the key hash, fixed at creation.
    pub fn hash_seed(&self) -> [u8; 16] {
        self.superblock().hash_seed
    }

    /// Identity of the pool, fixed at creation.
    pub fn id(&self) -> [u8; 16] {
        self.superblock().pool_id
    }

    /// What the data was loaded from; zero if nothing was.
    pub fn origin(&self) -> [u8; 16] {
        self.superblock().origin
    }

    /// Notes what the data was loaded from, durably.
    pub fn set_origin(&self, origin: [u8; 16]) -> io::Result<()> {
        let mut superblock = self.superblock();
        superblock.origin = origin;
        open::write_superblock(self.medium(), &mut superblock)
    }

    fn superblock(&self) -> MutexGuard<'_, Superblock> {
        self.shared
            .superblock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads a word atomically. Panics when out of bounds or not aligned.
    #[inline]
    pub fn load_u64(&self, at: Offset, ordering: Ordering) -> u64 {
        self.medium().load(at, ordering)
    }

    /// Words in a row, to be loaded atomically one by one. Panics when out of bounds or not aligned.
    #[inline]
    pub fn words(&self, at: Offset, len: usize) -> &[AtomicU64] {
        self.medium().words(at, len)
    }

    /// The contents of an immutable block. Panics when out of bounds.
    ///
    /// The guard must have been pinned before the offset was read from the pool; the block then
    /// is not reused before the guard is dropped. Nobody writes to a block once it has been
    /// published as immutable; for anything else there is [`Pool::load_bytes`].
    #[inline]
    pub fn bytes<'g>(&'g self, at: Offset, len: usize, guard: &'g Guard) -> &'g [u8] {
        let _ = guard;
        // SAFETY: immutable by the contract above, which all of `store` is built on; the range
        // is checked, and the borrow of the pool keeps it mapped.
        unsafe { self.medium().slice(at, len) }
    }

    /// Copies mutable memory out, each word atomically. Panics when out of bounds.
    #[inline]
    pub fn load_bytes(&self, at: Offset, into: &mut [u8]) {
        self.medium().read_shared(at, into);
    }

    /// Stores a word whose staleness or loss does not matter (an access clock), atomically but
    /// neither logged nor flushed. Panics when out of bounds or not aligned.
    #[inline]
    pub fn store_hint_u64(&self, at: Offset, value: u64) {
        self.medium().store(at, value);
    }

    /// Hints that the line at `at` will be read soon. Any offset is allowed.
    #[inline]
    pub fn prefetch(&self, at: Offset) {
        self.medium().prefetch(at);
    }

    /// Bytes of the block that begins at `at`, i.e. of its size class. Panics if none can.
    #[inline]
    pub fn usable_size(&self, at: Offset) -> usize {
        self.heap().block(at).bytes() as usize
    }

    /// Bytes of the block that a request for `size` bytes gets.
    #[inline]
    pub fn size_class(size: usize) -> usize {
        if size <= class::SLAB_BLOCK_BYTES_MAX {
            class::TABLE[usize::from(class::of(size))].block_bytes as usize
        } else {
            size.next_multiple_of(PAGE_BYTES as usize)
        }
    }

    /// Checks out a lane. Waits while all are taken. One per writing thread.
    pub fn lane(&self) -> Lane {
        let mut lanes = self.shared.lock_lanes();
        loop {
            if let Some(state) = lanes.pop() {
                return Lane {
                    shared: self.shared.clone(),
                    state: Some(state),
                };
            }
            let returned = self.shared.lane_returned.wait(lanes);
            lanes = returned.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Starts a transaction. Panics if the lane belongs to another pool.
    #[inline]
    pub fn begin<'p>(&'p self, lane: &'p mut Lane, guard: &'p Guard) -> Tx<'p> {
        assert!(
            Arc::ptr_eq(&self.shared, &lane.shared),
            "the lane is of another pool"
        );
        let state = lane
            .state
            .as_mut()
            .expect("a lane has its state until it is dropped");
        Tx::new(self, state, guard)
    }

    /// Space figures.
    pub fn usage(&self) -> Usage {
        let shared = &self.shared;
        let heap = shared.heap.usage();
        let mut totals = [heap.found_bytes, 0, 0];
        for counters in &shared.counters {
            for (total, figure) in totals.iter_mut().zip(counters.read()) {
                *total += figure;
            }
        }
        let [allocated, retired_blocks, retired_bytes] = totals;
        let waiting = |retired: i64, released: &AtomicI64| {
            u64::try_from(retired - released.load(Ordering::Relaxed)).unwrap_or(0)
        };
        Usage {
            capacity: u64::from(heap.pages_max) * PAGE_BYTES,
            mapped: u64::from(heap.mapped) * PAGE_BYTES,
            allocated: u64::try_from(allocated).unwrap_or(0),
            free: u64::from(heap.pages_max - heap.used) * PAGE_BYTES,
            held: u64::from(heap.held) * PAGE_BYTES,
            retired_blocks: waiting(retired_blocks, &shared.released_blocks),
            retired_bytes: waiting(retired_bytes, &shared.released_bytes),
            exact: heap.indexed,
        }
    }

    /// Gives storage of free pages back to the system, about `bytes_max` of it, as long as more than `keep` bytes are
    /// free and stored; whether there was any to give.
    pub fn trim_step(&self, keep: u64, bytes_max: u64) -> bool {
        let pages = |bytes: u64| u32::try_from(bytes / PAGE_BYTES).unwrap_or(u32::MAX);
        self.heap().trim_step(pages(keep), pages(bytes_max))
    }

    /// Chooses sparsely used slabs to be emptied, if the others have room for what is in them; how many. Nothing is
    /// allocated from them any more; each is returned once its last block is freed.
    pub fn drain_sparse(&self) -> usize {
        self.heap().drain_sparse()
    }

    /// Lets the slabs that are not empty yet be used again.
    pub fn stop_draining(&self) {
        self.heap().stop_draining();
    }

    /// Whether an allocated block lies in a slab that is to be emptied: its contents should go to a fresh block.
    pub fn is_draining(&self, at: Offset) -> bool {
        self.heap().is_draining(at)
    }

    /// Indexes up to `slabs_max` of the slabs that were found at the start; `true` when none is
    /// left. To be called now and then after a restart: it makes their free blocks available,
    /// returns empty slabs, and makes [`Usage::allocated`] exact.
    pub fn index_step(&self, slabs_max: usize) -> bool {
        self.heap().index_step(slabs_max)
    }

    #[inline]
    pub(super) fn heap(&self) -> &Heap {
        &self.shared.heap
    }

    #[inline]
    pub(super) fn ring(&self) -> &Ring {
        &self.shared.ring
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    #[inline]
    pub(super) fn medium(&self) -> &Medium {
        &self.shared.heap.medium
    }

    pub(super) fn log_pages_add(&self, pages: u32) -> Result<(), OutOfSpace> {
        let before = self.shared.log_pages.fetch_add(pages, Ordering::Relaxed);
        if before + pages > self.shared.log_pages_max {
            self.log_pages_sub(pages);
            return Err(OutOfSpace);
        }
        Ok(())
    }

    pub(super) fn log_pages_sub(&self, pages: u32) {
        self.shared.log_pages.fetch_sub(pages, Ordering::Relaxed);
    }

    pub(super) fn defer_release(&self, lane: &mut LaneState, guard: &Guard) {
        self.shared.defer_release(lane, guard);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Blocks still waiting for their grace period keep the mapping; they must not write to
        // a file that somebody else may open from now on.
        self.shared.heap.close();
        self.shared.heap.medium.map().unlock();
    }
}

impl Shared {
    fn lock_lanes(&self) -> MutexGuard<'_, Vec<LaneState>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a lane back. What it had claimed is for others to use.
    pub(super) fn return_lane(&self, mut state: LaneState) {
        self.heap.surrender(&mut state.claims);
        self.lock_lanes().push(state);
        self.lane_returned.notify_one();
    }

    /// Hands a lane's freed blocks to the epochs: once all threads that are pinned now have
    /// unpinned, the blocks can be handed out again.
    pub(super) fn defer_release(self: &Arc<Self>, lane: &mut LaneState, guard: &Guard) {
        if lane.retired.is_empty() {
            return;
        }
        let (retired, bytes) = lane.take_retired();
        let shared = self.clone();
        guard.defer(move || {
            for block in &retired {
                match block.pages {
                    0 => shared.heap.release(block.at, block.bit),
                    pages => shared.heap.release_run(block.at, pages),
                }
            }
            shared
                .released_blocks
                .fetch_add(retired.len() as i64, Ordering::Relaxed);
            shared
                .released_bytes
                .fetch_add(bytes as i64, Ordering::Relaxed);
        });
        guard.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::pin;
    use std::path::PathBuf;

    fn options(path: Option<PathBuf>, size_max: u64) -> PoolOptions {
        PoolOptions {
            path,
            size_max,
            lanes: 4,
            boot_id: [1; 16],
            hash_seed: [2; 16],
            pool_id: [3; 16],
        }
    }

    #[test]
    fn a_published_block_survives_close_and_crash() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(Some(directory.path().join("pool")), 64 << 20);
        for round in 0..4u64 {
            let (pool, report) = Pool::open(&options).unwrap();
            assert_eq!(report.created, round == 0);
            assert_eq!(report.recovered, round == 2);
            let guard = pin();
            let mut lane = pool.lane();
            let old = Offset::from_raw(pool.load_u64(pool.root(), Ordering::Acquire));
            if round > 0 {
                assert_eq!(
                    pool.bytes(old, 5, &guard),
                    format!("hi {:02}", round - 1).as_bytes()
                );
            }
            let mut tx = pool.begin(&mut lane, &guard);
            let new = tx.alloc(40).unwrap();
            assert_eq!(pool.usable_size(new), 40);
            tx.write_fresh(new, format!("hi {round:02}").as_bytes());
            tx.publish_u64(pool.root(), new.raw()).unwrap();
            if round > 0 {
                tx.free(old).unwrap();
            }
            tx.commit();
            let mut tx = pool.begin(&mut lane, &guard);
            tx.store_u64(pool.root(), 77).unwrap();
            tx.write_bytes(pool.root().plus(5), b"lost").unwrap();
            drop(tx);
            assert_eq!(pool.load_u64(pool.root(), Ordering::Relaxed), new.raw());
            drop(lane);
            drop(guard);
            assert!(pool.index_step(usize::MAX));
            assert_eq!(pool.usage().allocated, 40);
            if round != 1 {
                pool.close().unwrap();
            }
        }
    }
}
