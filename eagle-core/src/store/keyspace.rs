//! The keyspace: opening, per-thread handles, totals, runtime settings.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};

use super::dash::Words;
use super::dash::hash::KeyHasher;
use super::interest::Interest;
use super::medium::{Pending, Reader};
use super::object::list::{self, chunk};
use super::object::stream::node::Limits;
use super::root::{self, ARRAY_BYTES, Counts, TRASH_LISTS, VERSION, VERSION_MIN};
use super::slot::{Locks, Slots};
use super::snapshot::Run;
use super::totals::Totals;
use super::view::{Access, View};
use super::{DATABASES_MAX, SLOTS};
use crate::pmem::{self, Lane, OutOfSpace, Pool};
pub use crate::sync::Guard;
use crate::sync::primitive::Ordering;

/// Lanes of a new pool: the transactions that can be under way at once.
const LANES: usize = 64;

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

impl PoolOptions {
    /// A pool in anonymous memory that hashes alike each time: for tests and measurements, not for keys of strangers.
    pub fn in_memory(size: u64) -> PoolOptions {
        PoolOptions {
            path: None,
            size,
            boot_id: [1; 16],
            seed: [7; 32],
        }
    }
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
    /// What the pool lies on, for INFO and the log.
    pub medium: pmem::MediumKind,
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
            OpenError::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<pmem::OpenError> for OpenError {
    fn from(error: pmem::OpenError) -> OpenError {
        match error {
            pmem::OpenError::Locked => OpenError::InUse,
            pmem::OpenError::Io { error, .. } => OpenError::Io(error),
            other => OpenError::Invalid(other.to_string()),
        }
    }
}

impl From<OutOfSpace> for OpenError {
    fn from(_: OutOfSpace) -> OpenError {
        OpenError::Invalid("the pool is too small".to_owned())
    }
}

/// Space in the pool, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Held by keys, values and tables.
    pub used: u64,
    /// What the pool can hold in all.
    pub capacity: u64,
    /// Mapped so far.
    pub mapped: u64,
    /// Freed, but still waiting for the reclamation epoch.
    pub retired: u64,
    /// Bytes of the pages that workers keep for their next writes; see [`Worker::give_back`].
    pub held: u64,
    /// Bytes of the pages in which something lies: what the pool takes of its medium, or would once it has been trimmed.
    pub pages: u64,
}

/// Volatile event counts since the keyspace was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Keys removed because their time had come.
    pub expired_keys: u64,
    /// Fields of hashes removed because their time had come.
    pub expired_fields: u64,
}

/// Thresholds that may change while the server runs; relaxed loads and stores suffice.
#[derive(Debug)]
pub struct Settings {
    /// A hash with more fields than this becomes a table (`hash-max-listpack-entries`).
    pub hash_packed_entries_max: AtomicU32,
    /// A hash with a longer field or value, in bytes, becomes a table (`hash-max-listpack-value`).
    pub hash_packed_value_max: AtomicU32,
    /// Bytes, as a listpack has them, up to which a stream's node takes entries; 0: no bound (`stream-node-max-bytes`).
    pub stream_node_bytes_max: AtomicU64,
    /// Entries that a stream's node takes; 0: no bound (`stream-node-max-entries`).
    pub stream_node_entries_max: AtomicU64,
    /// A set of integers with more members than this becomes a table (`set-max-intset-entries`).
    pub set_intset_entries_max: AtomicU32,
    /// Most elements in a chunk of a list, or if negative one of five sizes (`list-max-listpack-size`).
    pub list_fill: AtomicI32,
    /// Elements this long stand by themselves in what DUMP writes of a list.
    pub list_plain_bytes_min: AtomicU32,
    /// A sorted set with more members than this leaves the packed form (`zset-max-listpack-entries`).
    pub zset_packed_entries_max: AtomicU32,
    /// A sorted set with a longer member, in bytes, leaves the packed form (`zset-max-listpack-value`).
    pub zset_packed_value_max: AtomicU32,
    /// Access clocks count uses (LFU) instead of telling the last one (LRU).
    pub clocks_count_uses: AtomicBool,
    /// Views record the keys they create ([`View::created`]).
    pub note_created: AtomicBool,
}

/// What the access clock of a new key tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FreshClock {
    /// The time of the last use: seconds, 24 bits.
    Time,
    /// How often it is used: minutes (16 bits) and a logarithmic counter (8 bits).
    Frequency,
}

impl FreshClock {
    /// The clock of a key made at `now_ms`.
    pub(super) fn of(self, now_ms: u64) -> u32 {
        /// New keys begin here, so that they are not evicted at once.
        const INITIAL_COUNTER: u32 = 5;
        match self {
            FreshClock::Time => (now_ms / 1000) as u32 & 0xff_ffff,
            FreshClock::Frequency => ((now_ms / 60_000) as u32 & 0xffff) << 8 | INITIAL_COUNTER,
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hash_packed_entries_max: AtomicU32::new(128),
            hash_packed_value_max: AtomicU32::new(64),
            stream_node_bytes_max: AtomicU64::new(4096),
            stream_node_entries_max: AtomicU64::new(100),
            set_intset_entries_max: AtomicU32::new(512),
            list_fill: AtomicI32::new(-2),
            list_plain_bytes_min: AtomicU32::new(1 << 30),
            zset_packed_entries_max: AtomicU32::new(128),
            zset_packed_value_max: AtomicU32::new(64),
            clocks_count_uses: AtomicBool::new(false),
            note_created: AtomicBool::new(false),
        }
    }
}

impl Settings {
    pub(super) fn hash_packed_entries_max(&self) -> usize {
        self.hash_packed_entries_max.load(Relaxed) as usize
    }

    pub(super) fn stream_limits(&self) -> Limits {
        Limits {
            bytes_max: self.stream_node_bytes_max.load(Relaxed),
            entries_max: self.stream_node_entries_max.load(Relaxed),
        }
    }

    /// Members up to which a set of integers is an intset.
    pub fn set_intset_entries_max(&self) -> usize {
        /// The number of members is a 32-bit word of the intset.
        const ENTRIES_MAX: u32 = 1 << 30;
        self.set_intset_entries_max.load(Relaxed).min(ENTRIES_MAX) as usize
    }

    /// How large the chunks of lists may be: so that with their heads they fill a block.
    pub(super) fn list_limits(&self) -> list::Limits {
        const SIZES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];
        const BYTES_MAX: usize = 8192;
        let fill = self.list_fill.load(Relaxed);
        let (elements, bytes) = match usize::try_from(fill) {
            Ok(elements) => (elements.clamp(1, chunk::ELEMENTS_MAX), BYTES_MAX),
            Err(_) => {
                let size = (fill.unsigned_abs() as usize).min(SIZES.len());
                (chunk::ELEMENTS_MAX, SIZES[size - 1])
            }
        };
        list::Limits {
            elements,
            bytes: bytes - chunk::HEAD_BYTES as usize,
        }
    }

    pub(super) fn fresh_clock(&self) -> FreshClock {
        if self.clocks_count_uses.load(Relaxed) {
            FreshClock::Frequency
        } else {
            FreshClock::Time
        }
    }

    pub(super) fn hash_packed_value_max(&self) -> usize {
        self.hash_packed_value_max.load(Relaxed) as usize
    }

    pub(super) fn zset_packed_entries_max(&self) -> usize {
        self.zset_packed_entries_max.load(Relaxed) as usize
    }

    pub(super) fn zset_packed_value_max(&self) -> usize {
        self.zset_packed_value_max.load(Relaxed) as usize
    }
}

/// All databases of one pool. Shared by all threads.
pub struct Keyspace {
    pool: Pool,
    hasher: KeyHasher,
    slots: Slots,
    totals: [Totals; DATABASES_MAX],
    settings: Settings,
    watchers: AtomicU64,
    awaited: Interest,
    expired_keys: AtomicU64,
    expired_fields: AtomicU64,
    /// Where the expiry cycle goes on: database and slot.
    pub(super) expire_cursor: AtomicUsize,
    /// Where that of fields goes on: database and group of slots.
    pub(super) field_cursor: AtomicUsize,
    /// The locks of the trash lists.
    trash: [Mutex<()>; TRASH_LISTS],
    workers: AtomicUsize,
    snapshots: RwLock<Vec<Arc<Run>>>,
    /// Whether there are any. Set while the slots concerned are locked.
    snapshot_is_on: AtomicBool,
    /// For making root arrays and the log ring: independent of the transaction of any view.
    maker: Mutex<Lane>,
}

/// A thread's handle on the keyspace: its lane in the pool. One view at a time.
pub struct Worker {
    pub(super) lane: Lane,
    pub(super) trash_list: usize,
}

impl Worker {
    /// Gives back the memory that the worker keeps for its next writes: pages of each size of block that it wrote last,
    /// also if nothing is left in them.
    pub fn give_back(&mut self, guard: &Guard) {
        self.lane.give_back(guard);
    }
}

impl Keyspace {
    /// Opens or makes the pool and finishes or undoes what a crash interrupted. A pool that cannot be trusted
    /// (the machine was restarted under it) is set aside, and a new one made.
    pub fn open(options: &PoolOptions) -> Result<(Keyspace, OpenReport), OpenError> {
        let pool_options = pmem::PoolOptions {
            path: options.path.clone(),
            size_max: options.size,
            lanes: LANES,
            boot_id: options.boot_id,
            hash_seed: std::array::from_fn(|i| options.seed[i]),
            pool_id: std::array::from_fn(|i| options.seed[16 + i]),
        };
        let mut quarantined = None;
        let (pool, report) = match (Pool::open(&pool_options), &options.path) {
            (Err(pmem::OpenError::Unclean), Some(path)) => {
                quarantined = Some(pmem::quarantine(path).map_err(OpenError::Io)?);
                Pool::open(&pool_options)?
            }
            (opened, _) => opened?,
        };
        let report = OpenReport {
            created: report.created,
            recovered: report.recovered,
            quarantined,
            medium: report.medium,
        };
        Ok((Keyspace::on(pool)?, report))
    }

    /// The keyspace in an open pool.
    pub(super) fn on(pool: Pool) -> Result<Keyspace, OpenError> {
        // A word that refers to nowhere ends what follows it with a panic. Here that is a pool that cannot be used.
        let found = catch_unwind(AssertUnwindSafe(|| Keyspace::found_in(pool)));
        let damaged = || OpenError::Invalid("a root refers to no place in the pool".to_owned());
        found.unwrap_or_else(|_| Err(damaged()))
    }

    /// The same. Panics if a root leads out of the pool.
    pub(super) fn found_in(pool: Pool) -> Result<Keyspace, OpenError> {
        let mut maker = pool.lane();
        let version_at = pool.root();
        match pool.load_u64(version_at, Ordering::Acquire) {
            VERSION => {}
            0 | VERSION_MIN..VERSION => {
                let guard = crate::sync::pin();
                let mut tx = pool.begin(&mut maker, &guard);
                tx.publish_u64(version_at, VERSION)?;
                tx.commit();
            }
            other => {
                return Err(OpenError::Invalid(format!(
                    "the keyspace has layout version {other}"
                )));
            }
        }
        let keyspace = Keyspace {
            hasher: KeyHasher::new(&pool.hash_seed()),
            pool,
            slots: Slots::new(),
            totals: std::array::from_fn(|_| Totals::new()),
            settings: Settings::default(),
            watchers: AtomicU64::new(0),
            awaited: Interest::new(),
            expired_keys: AtomicU64::new(0),
            expired_fields: AtomicU64::new(0),
            expire_cursor: AtomicUsize::new(0),
            field_cursor: AtomicUsize::new(0),
            trash: std::array::from_fn(|_| Mutex::new(())),
            workers: AtomicUsize::new(0),
            snapshots: RwLock::default(),
            snapshot_is_on: AtomicBool::new(false),
            maker: Mutex::new(maker),
        };
        keyspace.count();
        Ok(keyspace)
    }

    /// Sums up the counts of all slots.
    fn count(&self) {
        let guard = self.pin();
        let reader = self.reader(&guard);
        for db in 0..DATABASES_MAX as u8 {
            if let Some(array) = self.array(&reader, db) {
                for slot in 0..SLOTS as u16 {
                    self.totals[usize::from(db)].add(slot, counts(&reader, array, slot));
                }
            }
        }
    }

    /// Closes the pool cleanly. All workers must be gone.
    pub fn close(self) -> std::io::Result<()> {
        drop(self.maker);
        self.pool.close()
    }

    /// A handle for the calling thread.
    pub fn worker(&self) -> Worker {
        Worker {
            lane: self.pool.lane(),
            trash_list: self.workers.fetch_add(1, Relaxed) % TRASH_LISTS,
        }
    }

    /// Pins the reclamation epoch. Cheap when already pinned by this thread.
    pub fn pin(&self) -> Guard {
        crate::sync::pin()
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
        View::new(
            self,
            Some(worker),
            guard,
            self.slots.lock(access),
            now_ms,
            None,
        )
    }

    /// Like [`Keyspace::view`], but waits for slots no longer than `wait_max`: there is no view then. A read without
    /// locks that waits for longer unwinds with [`SlotHeld`](super::SlotHeld).
    #[inline(always)]
    pub fn try_view<'a>(
        &'a self,
        worker: &'a mut Worker,
        guard: &'a Guard,
        access: Access<'_>,
        now_ms: u64,
        wait_max: Duration,
    ) -> Option<View<'a>> {
        let locks = self.try_lock(access, wait_max)?;
        Some(self.view_with(locks, worker, guard, now_ms, wait_max))
    }

    /// The first half of [`Keyspace::try_view`]: the locks that the view will have.
    #[inline(always)]
    pub fn try_lock(&self, access: Access<'_>, wait_max: Duration) -> Option<Locks<'_>> {
        match access {
            // All there is to do for a reader is done here, not in a call.
            Access::LockFree => Some(self.slots.none()),
            access => self.slots.lock_within(access, wait_max),
        }
    }

    /// The second half. Apart from the first there is no `Option` to move the view out of: it is large, and made where
    /// it stays.
    #[inline(always)]
    pub fn view_with<'a>(
        &'a self,
        locks: Locks<'a>,
        worker: &'a mut Worker,
        guard: &'a Guard,
        now_ms: u64,
        wait_max: Duration,
    ) -> View<'a> {
        View::new(self, Some(worker), guard, locks, now_ms, Some(wait_max))
    }

    /// The same for a look before that: this view changes nothing, and gives the locks [back](View::into_locks).
    pub fn look_with<'a>(
        &'a self,
        locks: Locks<'a>,
        guard: &'a Guard,
        now_ms: u64,
        wait_max: Duration,
    ) -> View<'a> {
        View::new(self, None, guard, locks, now_ms, Some(wait_max))
    }

    /// Keys in database `db` (expired ones that were not yet removed included, as in Redis).
    pub fn len(&self, db: u8) -> u64 {
        self.totals(db).keys()
    }

    /// Keys in database `db` that have an expiry.
    pub fn expires(&self, db: u8) -> u64 {
        self.totals(db).expires()
    }

    /// Keys of database `db` in `slot`.
    pub fn slot_len(&self, db: u8, slot: u16) -> u64 {
        let guard = self.pin();
        let reader = self.reader(&guard);
        self.array(&reader, db)
            .map_or(0, |array| u64::from(counts(&reader, array, slot).keys))
    }

    /// Keys of all databases in `slot`.
    pub fn slot_keys_in_all(&self, slot: u16) -> u64 {
        (0..DATABASES_MAX as u8)
            .map(|db| self.slot_len(db, slot))
            .sum()
    }

    /// Whether no database holds a key.
    pub fn is_empty(&self) -> bool {
        (0..DATABASES_MAX as u8).all(|db| self.len(db) == 0)
    }

    /// Tells apart the orders in which [`View::scan_slot`] visits the keys of `slot`: where two keyspaces have the same,
    /// a position of one means the same to the other. Never zero.
    pub fn slot_order(&self, slot: u16) -> u64 {
        self.hasher.hash(&slot.to_le_bytes()).position() + 1
    }

    /// Identity of the pool.
    pub fn pool_id(&self) -> [u8; 16] {
        self.pool.id()
    }

    /// What the pool's data was loaded from, as [`Keyspace::set_origin`] noted it; zero if it was not.
    pub fn origin(&self) -> [u8; 16] {
        self.pool.origin()
    }

    /// Notes what the pool's data was loaded from, durably.
    pub fn set_origin(&self, origin: [u8; 16]) -> std::io::Result<()> {
        self.pool.set_origin(origin)
    }

    /// Space used and available.
    pub fn usage(&self) -> Usage {
        let usage = self.pool.usage();
        Usage {
            used: usage.allocated,
            capacity: usage.capacity,
            mapped: usage.mapped,
            retired: usage.retired_bytes,
            held: usage.held,
            pages: usage.capacity.saturating_sub(usage.free),
        }
    }

    /// Event counts.
    pub fn counters(&self) -> Counters {
        Counters {
            expired_keys: self.expired_keys.load(Relaxed),
            expired_fields: self.expired_fields.load(Relaxed),
        }
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

    /// The keys that blocked clients wait for; views record the changes of those too ([`View::touched`]).
    pub fn awaited(&self) -> &Interest {
        &self.awaited
    }

    /// Indexes some of the pool's allocation maps after a restart, so that the free space in them can be used
    /// again; whether all are indexed.
    pub fn index_step(&self, slabs_max: usize) -> bool {
        self.pool.index_step(slabs_max)
    }

    /// Gives memory that is free in the pool back to the system, a bounded piece of it; whether there was any. What a
    /// tenth more data would need is kept.
    pub fn trim_step(&self) -> bool {
        /// Free bytes that are always kept.
        const KEPT_BYTES_MIN: u64 = 16 << 20;
        /// Bytes given back in one step.
        const STEP_BYTES: u64 = 16 << 20;
        let keep = KEPT_BYTES_MIN.max(self.pool.usage().allocated / 10);
        self.pool.trim_step(keep, STEP_BYTES)
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watchers.load(Relaxed) != 0
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(super) fn totals(&self, db: u8) -> &Totals {
        &self.totals[usize::from(db)]
    }

    pub(super) fn add_expired(&self, keys: usize) {
        if keys > 0 {
            self.expired_keys.fetch_add(keys as u64, Relaxed);
        }
    }

    pub(super) fn add_expired_fields(&self, fields: usize) {
        self.expired_fields.fetch_add(fields as u64, Relaxed);
    }

    pub(super) fn snapshots(&self) -> &RwLock<Vec<Arc<Run>>> {
        &self.snapshots
    }

    #[inline]
    pub(super) fn snapshot_is_on(&self) -> bool {
        self.snapshot_is_on.load(Relaxed)
    }

    pub(super) fn set_snapshot_on(&self, on: bool) {
        self.snapshot_is_on.store(on, Relaxed);
    }

    /// The lane for what belongs to no view.
    pub(super) fn lock_maker(&self) -> MutexGuard<'_, Lane> {
        self.maker.lock()
    }

    pub(super) fn lock_trash(&self, list: usize) -> MutexGuard<'_, ()> {
        self.trash[list].lock()
    }

    pub(super) fn try_lock_trash(&self, list: usize) -> Option<MutexGuard<'_, ()>> {
        self.trash[list].try_lock()
    }

    /// Byte offset of the root area.
    pub(super) fn root(&self) -> u64 {
        self.pool.root().raw()
    }

    /// A reader of what is committed.
    #[inline]
    pub(super) fn reader<'a>(&'a self, guard: &'a Guard) -> Reader<'a> {
        Reader {
            pool: &self.pool,
            guard,
            hasher: &self.hasher,
            pending: Pending::NONE,
        }
    }

    /// Byte offset of a database's root array, if it was ever written.
    #[inline]
    pub(super) fn array(&self, reader: &Reader<'_>, db: u8) -> Option<u64> {
        let array = reader.load(root::database_at(self.root(), db));
        (array != 0).then_some(array)
    }

    /// Makes room for a database before its first key comes, so that none but keys take memory afterwards.
    pub fn prepare(&self, db: u8) -> Result<(), OutOfSpace> {
        self.make_array(&self.pin(), db)
    }

    /// Makes the root array of a database unless it is there.
    pub(super) fn make_array(&self, guard: &Guard, db: u8) -> Result<(), OutOfSpace> {
        let at = pmem::Offset::from_raw(root::database_at(self.root(), db));
        if self.pool.load_u64(at, Ordering::Acquire) != 0 {
            return Ok(());
        }
        let mut lane = self.maker.lock();
        if self.pool.load_u64(at, Ordering::Acquire) != 0 {
            return Ok(());
        }
        let mut tx = self.pool.begin(&mut lane, guard);
        let array = tx.alloc(ARRAY_BYTES)?;
        tx.zero_fresh(array, ARRAY_BYTES);
        tx.publish_u64(at, array.raw())?;
        tx.commit();
        Ok(())
    }
}

/// The counts of a slot in the root array at `array`.
#[inline]
pub(super) fn counts(reader: &Reader<'_>, array: u64, slot: u16) -> Counts {
    Counts::from_raw(reader.load(root::slot_at(array, slot) + 8))
}
