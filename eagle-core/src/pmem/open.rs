//! Opening a pool: create it, or decide whether it can be trusted and recover it.
//!
//! A pool that was closed cleanly is trusted. One that was not is trusted only if its medium
//! keeps what was stored: DAX always, anything else as long as the machine has not been restarted
//! (the boot id in the superblock), because then only the process died and the kernel still has
//! every store. A page cache that was written back in any order by a dying machine is not a
//! database.
//!
//! Nothing is written before everything that recovery relies on has been found sound.

use super::{
    Offset, OpenError, Pool,
    alloc::{Heap, allocate_page_table},
    faults,
    layout::{FRONTIER, Geometry, LANES_MAX, PAGE_BYTES, PAGES_MAX, SUPERBLOCK_BYTES},
    map::Mapping,
    medium::{Medium, Site},
    pool::MediumKind,
    recovery,
    sim::Sim,
    superblock::Superblock,
};
use rustix::fs::{self, FlockOperation};
use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The page table of a new file has room for a heap of this size, so that `size_max` can be
/// raised later. It costs address space and, on the file, a hole.
const FILE_PAGES_MIN: u64 = (1 << 40) / PAGE_BYTES;

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

/// See [`Pool::open`].
pub(super) fn open(options: &PoolOptions) -> Result<(Pool, OpenReport), OpenError> {
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

/// Renames a pool that cannot be trusted to `<path>.unclean-N`; see [`set_aside`].
pub fn quarantine(path: &Path) -> io::Result<PathBuf> {
    set_aside(path, "unclean")
}

/// Renames a pool to `<path>.<reason>-N`, with the first N that is not taken, and answers the new name.
pub fn set_aside(path: &Path, reason: &str) -> io::Result<PathBuf> {
    for number in 1..=u32::MAX {
        let mut name = OsString::from(path.as_os_str());
        name.push(format!(".{reason}-{number}"));
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
    faults::call()?;
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
    let file = faults::call()
        .and_then(|()| {
            let mut new = OpenOptions::new();
            new.read(true).write(true).create(true).truncate(false);
            new.open(unfinished)
        })
        .map_err(io("creating the pool"))?;
    lock(&file)?;
    faults::call()
        .and_then(|()| file.set_len(0))
        .map_err(io("creating the pool"))?;
    let geometry = Geometry::new(options.lanes, pages_max.max(FILE_PAGES_MIN));
    faults::call()
        .and_then(|()| file.set_len(geometry.heap()))
        .map_err(io("creating the pool"))?;
    let map = Mapping::file(file, geometry.heap() + pages_max * PAGE_BYTES).map_err(mapping)?;
    map.allocate(0, geometry.page_table())
        .map_err(io("allocating space for the pool"))?;
    map.map(0, geometry.heap()).map_err(mapping)?;
    let medium = Medium::new(map, geometry.heap());
    let superblock = new_superblock(options, geometry);
    let made = assemble(medium, superblock, 0, pages_max, Found::Created)?;
    faults::call()
        .and_then(|()| rename_new(unfinished, path))
        .map_err(io("naming the pool"))?;
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
    let found = faults::call()
        .and_then(|()| file.metadata())
        .map_err(io("reading the pool"))?
        .len();
    let mut pages = vec![0; found.min(2 * SUPERBLOCK_BYTES) as usize];
    faults::call()
        .and_then(|()| file.read_exact_at(&mut pages, 0))
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
    faults::call()
        .and_then(|()| file.read_exact_at(&mut frontier, FRONTIER.raw()))
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

/// See [`Pool::simulated`].
pub(super) fn simulated(sim: &Sim) -> Result<(Pool, OpenReport), OpenError> {
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
    let pool = Pool::assemble(heap, superblock).map_err(OpenError::Damaged)?;
    Ok((pool, report))
}

fn new_superblock(options: &PoolOptions, geometry: Geometry) -> Superblock {
    Superblock {
        clean: false,
        sequence: 0,
        pool_id: options.pool_id,
        hash_seed: options.hash_seed,
        boot_id: options.boot_id,
        geometry,
        origin: [0; 16],
    }
}

/// Writes the next copy of the superblock and waits until it is on stable storage.
pub(super) fn write_superblock(medium: &Medium, superblock: &mut Superblock) -> io::Result<()> {
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
    let failed = |error| OpenError::Io {
        doing: "locking the pool",
        error,
    };
    faults::call().map_err(failed)?;
    fs::flock(file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => OpenError::Locked,
        error => failed(error.into()),
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
    faults::call()?;
    File::open(directory)?.sync_all()
}
