//! The pool: opening, closing, reading, lanes, and figures.
//!
//! # When a pool is trusted
//!
//! A pool that was closed cleanly is. One that was not is trusted only if its medium keeps what
//! was stored: DAX always, anything else as long as the machine has not been restarted (the boot
//! id in the superblock), because then only the process died and the kernel still has every
//! store. A page cache that was written back in any order by a dying machine is not a database.

use super::{
    Lane, Offset, OpenError, OutOfSpace, Tx,
    alloc::{Heap, allocate_page_table},
    class,
    lane::{Counters, LaneState},
    layout::{Geometry, LANES_MAX, PAGE_BYTES, PAGES_MAX, ROOT, ROOT_BYTES, SUPERBLOCK_BYTES},
    log::Identity,
    map::Mapping,
    medium::{Medium, Site},
    recovery,
    sim::Sim,
    superblock::Superblock,
};
use crate::sync::Guard;
use rustix::fs::{self, FlockOperation};
use std::{
    ffi::OsString,
    fmt,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
};

/// The page table of a new file has room for a heap of this size, so that `size_max` can be
/// raised later. It costs address space and, on the file, a hole.
const FILE_PAGES_MIN: u64 = (1 << 40) / PAGE_BYTES;

/// Share of the heap that the logs of all transactions in flight may take.
const LOG_SHARE: u32 = 4;

/// How to open or create a pool. Randomness and the boot id are arguments.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// The file; `None` keeps the pool in anonymous memory.
    pub path: Option<PathBuf>,
    /// Bytes the heap may grow to.
    pub size_max: u64,
    /// Lanes that a newly created pool gets, 1..=1024. Each is the right to one concurrent
    /// transaction and takes 8 KiB.
    pub lanes: usize,
    /// Identifies this boot of the machine.
    pub boot_id: [u8; 16],
    /// Secret seed of the key hash of a newly created pool.
    pub hash_seed: [u8; 16],
    /// Identity of a newly created pool.
    pub pool_id: [u8; 16],
}

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

/// What [`Pool::open`] found and did.
#[derive(Debug, Clone)]
pub struct OpenReport {
    /// There was no pool, a new one was made.
    pub created: bool,
    /// The pool was not closed; its logs were replayed.
    pub recovered: bool,
    /// Transactions that were undone.
    pub rolled_back: usize,
    /// Transactions that had committed and were completed.
    pub rolled_forward: usize,
    /// What the pool lies on.
    pub medium: MediumKind,
    /// Identity of the pool.
    pub pool_id: [u8; 16],
    /// Number of lanes.
    pub lanes: usize,
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
    heap: Heap,
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

/// A persistent pool. See the module's head for what is trusted when.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// Bytes of the root area.
    pub const ROOT_BYTES: u64 = ROOT_BYTES;

    /// Largest block in bytes.
    pub const BLOCK_BYTES_MAX: usize = 1 << 30;

    /// Creates the pool, or opens it and recovers it where that is sound.
    pub fn open(options: &PoolOptions) -> Result<(Pool, OpenReport), OpenError> {
        let pages_max = options.size_max / PAGE_BYTES;
        if !(1..=PAGES_MAX).contains(&pages_max) {
            return Err(OpenError::Unsuitable(format!(
                "the size must be between {} and {} bytes",
                PAGE_BYTES,
                PAGES_MAX * PAGE_BYTES
            )));
        }
        if !(1..=LANES_MAX).contains(&options.lanes) {
            return Err(OpenError::Unsuitable(format!(
                "lanes must be 1 to {LANES_MAX}"
            )));
        }
        let Some(path) = &options.path else {
            return create_anonymous(options, pages_max);
        };
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => open_file(file, options, pages_max),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_file(path, options, pages_max)
            }
            Err(error) => Err(OpenError::Io {
                doing: "opening the pool",
                error,
            }),
        }
    }

    /// Opens the pool that a simulated medium holds, or makes one if it is empty. Like DAX, the
    /// medium is trusted whatever has happened to it.
    pub fn simulated(sim: &Sim) -> Result<(Pool, OpenReport), OpenError> {
        open_simulated(sim)
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
        write_superblock(medium, &mut superblock)
    }

    /// The area for the store layer's root record: zeros in a new pool.
    pub fn root(&self) -> Offset {
        ROOT
    }

    /// Seed of the key hash, fixed at creation.
    pub fn hash_seed(&self) -> [u8; 16] {
        self.shared
            .superblock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .hash_seed
    }

    /// Loads a word atomically. Panics when out of bounds or not aligned.
    #[inline]
    pub fn load_u64(&self, at: Offset, ordering: Ordering) -> u64 {
        self.medium().load(at, ordering)
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
            retired_blocks: waiting(retired_blocks, &shared.released_blocks),
            retired_bytes: waiting(retired_bytes, &shared.released_bytes),
            exact: heap.indexed,
        }
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
        let retired = lane.take_retired();
        let shared = self.clone();
        guard.defer(move || {
            let bytes: i64 = retired.iter().map(|block| i64::from(block.bytes)).sum();
            for block in &retired {
                match block.pages {
                    0 => shared.heap.release(block.at),
                    pages => shared.heap.release_run(block.at, pages),
                }
            }
            shared
                .released_blocks
                .fetch_add(retired.len() as i64, Ordering::Relaxed);
            shared.released_bytes.fetch_add(bytes, Ordering::Relaxed);
        });
        guard.flush();
    }
}

/// Renames a pool that cannot be trusted to `<path>.unclean-N`, with the first N that is not
/// taken, and answers the new name.
pub fn quarantine(path: &Path) -> io::Result<PathBuf> {
    for number in 1..=u32::MAX {
        let mut name = OsString::from(path.as_os_str());
        name.push(format!(".unclean-{number}"));
        let aside = PathBuf::from(name);
        match rename_new(path, &aside) {
            Ok(()) => return Ok(aside),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Renames a file to a name that must not exist.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::renameat_with(fs::CWD, from, fs::CWD, to, fs::RenameFlags::NOREPLACE) {
        // Not every file system knows the flag.
        Err(rustix::io::Errno::INVAL) if !to.exists() => std::fs::rename(from, to),
        other => Ok(other?),
    }
}

fn create_anonymous(
    options: &PoolOptions,
    pages_max: u64,
) -> Result<(Pool, OpenReport), OpenError> {
    let geometry = Geometry::new(options.lanes, pages_max);
    let map = Mapping::anonymous(geometry.heap() + pages_max * PAGE_BYTES).map_err(mapping)?;
    map.map(0, geometry.heap()).map_err(mapping)?;
    let medium = Medium::new(map, geometry.heap());
    let superblock = new_superblock(options, geometry);
    assemble(medium, superblock, 0, pages_max, Found::Created)
}

/// A new pool is made under another name and then renamed, so that a pool file is always whole.
fn create_file(
    path: &Path,
    options: &PoolOptions,
    pages_max: u64,
) -> Result<(Pool, OpenReport), OpenError> {
    let mut name = OsString::from(path.as_os_str());
    name.push(".new");
    let unfinished = PathBuf::from(name);
    let made = fill_file(&unfinished, path, options, pages_max);
    if !matches!(made, Ok(_) | Err(OpenError::Locked)) {
        // Do not keep the space of a pool that could not be made.
        let _ = std::fs::remove_file(&unfinished);
    }
    made
}

fn fill_file(
    unfinished: &Path,
    path: &Path,
    options: &PoolOptions,
    pages_max: u64,
) -> Result<(Pool, OpenReport), OpenError> {
    let io = |doing: &'static str| move |error| OpenError::Io { doing, error };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(unfinished)
        .map_err(io("creating the pool"))?;
    lock(&file)?;
    file.set_len(0).map_err(io("creating the pool"))?;
    let geometry = Geometry::new(options.lanes, pages_max.max(FILE_PAGES_MIN));
    file.set_len(geometry.heap())
        .map_err(io("creating the pool"))?;
    let map = Mapping::file(file, geometry.heap() + pages_max * PAGE_BYTES).map_err(mapping)?;
    map.allocate(0, geometry.page_table())
        .map_err(io("allocating space for the pool"))?;
    map.map(0, geometry.heap()).map_err(mapping)?;
    let medium = Medium::new(map, geometry.heap());
    let superblock = new_superblock(options, geometry);
    let made = assemble(medium, superblock, 0, pages_max, Found::Created)?;
    rename_new(unfinished, path).map_err(io("naming the pool"))?;
    sync_directory(path).map_err(io("naming the pool"))?;
    Ok(made)
}

fn open_file(
    file: File,
    options: &PoolOptions,
    pages_max: u64,
) -> Result<(Pool, OpenReport), OpenError> {
    let io = |doing: &'static str| move |error| OpenError::Io { doing, error };
    lock(&file)?;
    let found = file.metadata().map_err(io("reading the pool"))?.len();
    let mut pages = vec![0; found.min(2 * SUPERBLOCK_BYTES) as usize];
    file.read_exact_at(&mut pages, 0)
        .map_err(io("reading the pool"))?;
    let superblock = Superblock::choose(&pages)?;
    let geometry = superblock.geometry;
    if found < geometry.heap() {
        return Err(OpenError::Truncated {
            expected: geometry.heap(),
            found,
        });
    }
    let mut frontier = [0; 8];
    file.read_exact_at(&mut frontier, super::layout::FRONTIER.raw())
        .map_err(io("reading the pool"))?;
    let frontier = u64::from_le_bytes(frontier);
    if frontier > geometry.pages() {
        return Err(OpenError::Damaged(
            "the frontier lies beyond the page table".into(),
        ));
    }
    let expected = geometry.heap() + frontier * PAGE_BYTES;
    if found < expected {
        return Err(OpenError::Truncated { expected, found });
    }
    let trusted =
        superblock.clean || superblock.boot_id == options.boot_id || Mapping::is_dax(&file);
    if !trusted {
        return Err(OpenError::Unclean);
    }
    let mapped = ((found - geometry.heap()) / PAGE_BYTES).min(geometry.pages());
    let pages_max = pages_max.min(geometry.pages());
    let reserved = geometry.heap() + pages_max.max(mapped) * PAGE_BYTES;
    let map = Mapping::file(file, reserved).map_err(mapping)?;
    let end = geometry.heap() + mapped * PAGE_BYTES;
    map.map(0, end).map_err(mapping)?;
    let medium = Medium::new(map, end);
    let superblock = Superblock {
        boot_id: options.boot_id,
        ..superblock
    };
    assemble(
        medium,
        superblock,
        mapped as u32,
        pages_max,
        Found::Existing,
    )
}

fn open_simulated(sim: &Sim) -> Result<(Pool, OpenReport), OpenError> {
    let options = PoolOptions {
        path: None,
        size_max: sim.size_max,
        lanes: sim.lanes,
        boot_id: [1; 16],
        hash_seed: [2; 16],
        pool_id: [3; 16],
    };
    let pages_max = sim.size_max / PAGE_BYTES;
    let geometry = Geometry::new(sim.lanes, pages_max);
    let end = geometry.heap() + pages_max * PAGE_BYTES;
    let map = Mapping::anonymous(end).map_err(mapping)?;
    map.map(0, end).map_err(mapping)?;
    let medium = Medium::new(map, end);
    for (at, line) in sim.image.iter() {
        // SAFETY: nobody else knows this mapping yet.
        unsafe { medium.write_words_owned(Offset::from_raw(at), *line) };
    }
    let mut pages = vec![0; 2 * SUPERBLOCK_BYTES as usize];
    medium.read_shared(Offset::NULL, &mut pages);
    let medium = medium.recorded_by(sim.recorder.clone());
    let (superblock, found) = match Superblock::choose(&pages) {
        Ok(superblock) if superblock.geometry == geometry => (superblock, Found::Existing),
        Ok(_) => {
            return Err(OpenError::Unsuitable(
                "the medium has another geometry".into(),
            ));
        }
        // Until the first superblock is complete there is no pool.
        Err(OpenError::Foreign) => (new_superblock(&options, geometry), Found::Created),
        Err(error) => return Err(error),
    };
    assemble(medium, superblock, pages_max as u32, pages_max, found)
}

#[derive(PartialEq, Eq)]
enum Found {
    Created,
    Existing,
}

/// Recovers a mapped medium and puts the pool together. Nothing is written before the logs and
/// the page table have been found sound.
fn assemble(
    medium: Medium,
    mut superblock: Superblock,
    mapped: u32,
    pages_max: u64,
    found: Found,
) -> Result<(Pool, OpenReport), OpenError> {
    let io = |error| OpenError::Io {
        doing: "writing the superblock",
        error,
    };
    let geometry = superblock.geometry;
    let logs = recovery::read_logs(&medium, geometry, &superblock.hash_seed)
        .map_err(OpenError::Damaged)?;
    if found == Found::Existing && mapped > 0 {
        // The file may be a copy that has holes where the page table is all zeros.
        allocate_page_table(&medium, geometry, 0, mapped).map_err(mapping)?;
    }
    let recovered = found == Found::Existing && !superblock.clean;
    superblock.clean = false;
    write_superblock(&medium, &mut superblock).map_err(io)?;
    if found == Found::Created {
        write_superblock(&medium, &mut superblock).map_err(io)?;
    }
    recovery::recover(&medium, geometry, &logs);
    let (mut rolled_back, mut rolled_forward) = (0, 0);
    for log in logs.iter().filter(|log| !log.is_empty()) {
        *if log.is_committed() {
            &mut rolled_forward
        } else {
            &mut rolled_back
        } += 1;
    }
    let report = OpenReport {
        created: found == Found::Created,
        recovered,
        rolled_back,
        rolled_forward,
        medium: medium.kind(),
        pool_id: superblock.pool_id,
        lanes: geometry.lanes(),
    };
    let heap = Heap::new(medium, geometry, mapped, pages_max as u32).map_err(OpenError::Damaged)?;
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
        superblock: Mutex::new(superblock),
        lanes: Mutex::new(lanes),
        lane_returned: Condvar::new(),
        counters,
        released_blocks: AtomicI64::new(0),
        released_bytes: AtomicI64::new(0),
        log_pages: AtomicU32::new(0),
        log_pages_max,
    };
    Ok((
        Pool {
            shared: Arc::new(shared),
        },
        report,
    ))
}

fn new_superblock(options: &PoolOptions, geometry: Geometry) -> Superblock {
    Superblock {
        clean: false,
        sequence: 0,
        pool_id: options.pool_id,
        hash_seed: options.hash_seed,
        boot_id: options.boot_id,
        geometry,
    }
}

/// Writes the next copy of the superblock and waits until it is on stable storage.
fn write_superblock(medium: &Medium, superblock: &mut Superblock) -> io::Result<()> {
    superblock.sequence += 1;
    let bytes = superblock.encode();
    let home = Offset::from_raw(superblock.home());
    // SAFETY: the superblocks are read at open only and written under their lock.
    unsafe { medium.write_owned(home, &bytes) };
    medium.flush(home, bytes.len(), Site::Superblock);
    medium.fence(Site::Superblock);
    medium.map().sync(0, 2 * SUPERBLOCK_BYTES)
}

fn lock(file: &File) -> Result<(), OpenError> {
    fs::flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => OpenError::Locked,
        error => OpenError::Io {
            doing: "locking the pool",
            error: error.into(),
        },
    })
}

fn mapping(error: io::Error) -> OpenError {
    OpenError::Io {
        doing: "mapping the pool",
        error,
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::pin;

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
