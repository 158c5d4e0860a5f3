//! A snapshot: the keys of all slots or of some, in all databases, as they were at one instant, while writers go on. No
//! fork, and no copy of what does not change meanwhile.
//!
//! The instant is the *cut*: the slots are locked for a moment, the root arrays and the log ring's head are noted, and a
//! run begins. Several may be under way, each with a cut of its own; who wants the same cut shares a sink. What the ring
//! has from that head on is exactly what the snapshot lacks, and it begins by saying what state it is about. The run then walks the slots, and
//! hands each key to a sink. A writer that is about to change a key which the walk has not reached hands it over
//! first, as it still is; so every key reaches the sink once, in any order.
//!
//! ```text
//!   progress of a slot   database and hash position: the walk has passed what lies before
//!   saved of a slot      keys that writers have come across since the cut: handed over, or not there at the cut
//! ```
//!
//! Rules, all kept by the lock of the key's slot:
//!
//! 1. A key is handed over while its slot is locked, by the walk or by the writer that finds its place
//!    ([`Change::place`](super::change::Change::place)); no change of a key begins without that.
//! 2. The walk skips saved keys and those before its progress; writers skip the same.
//! 3. A database is known by its root array at the cut: SWAPDB exchanges arrays and changes nothing here. FLUSHDB puts
//!    the array into the trash, where the run keeps it from the reaper ([`Keyspace::is_in_snapshot`]): its tables change
//!    no more, and the walk finds them as they were.
//! 4. FLUSHSLOT hands over what is left of its slot.
//!
//! Extra memory: the names of keys that were changed before the walk reached them, what the sink keeps of them, and
//! databases that were flushed, until the run ends. A writer pays for each name that is kept of its key with a bucket of
//! the walk of that slot, so that all of a slot is handed over after as many first changes as it has buckets: names of a
//! twentieth of its keys or so are kept, however many are changed while the walk is elsewhere. A writer that is about to change a huge collection waits until the sink
//! has taken it; all other slots go on. A sink that wants to be waited for blocks: the walk and writers of what it
//! has not seen stand still.
//!
//! Keys rather than buckets are the unit of what is saved before it changes: that needs no word in the tables, and a writer
//! hands over one value where it would have to hand over twenty-seven.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::blob::Blob;
use super::change::entry_of;
use super::dash::hash::{Hash, POSITION_BITS};
use super::dash::layout::NodeRef;
use super::dash::{Words, walk};
use super::entry::Entry;
use super::keyspace::{Guard, Keyspace};
use super::medium::{Pending, Reader};
use super::root;
use super::slot::Locks;
use super::view::{Access, View};
use super::{DATABASES_MAX, SLOTS};

/// Takes the keys of a snapshot.
pub trait SnapshotSink: Send + Sync {
    /// A key as it was at the cut, expired or not. `view` reads its value; its slot is locked, by a writer perhaps, and no
    /// other slot may be looked at.
    fn key(&self, view: &View<'_>, db: u8, entry: &Entry<'_>);
}

/// The progress of a slot that the walk is done with.
const DONE: u64 = u64::MAX;

/// Most snapshots under way at a time: each is told of every first change of a key.
pub const SNAPSHOTS_MAX: usize = 16;

/// Locks of the saved keys: slots share them by number.
const SHARDS: usize = 64;

/// Saved keys of a slot.
type Saved = HashSet<(u8, Box<[u8]>)>;

/// A run, as the walk and all writers see it.
pub(super) struct Run {
    sink: Arc<dyn SnapshotSink>,
    /// Root arrays at the cut.
    arrays: [u64; DATABASES_MAX],
    /// By slot; read and written under the slot's lock. Slots that are not asked for are done from the start.
    progress: Box<[AtomicU64]>,
    saved: [Mutex<HashMap<u16, Saved>>; SHARDS],
}

impl Run {
    fn saved(&self, slot: u16) -> &Mutex<HashMap<u16, Saved>> {
        &self.saved[usize::from(slot) % SHARDS]
    }

    /// Whether the run reads this root array.
    fn has(&self, array: u64) -> bool {
        self.arrays.contains(&array)
    }

    /// A view of one slot at the cut, for the sink. The caller has locked the slot.
    fn view<'a>(
        &'a self,
        keyspace: &'a Keyspace,
        guard: &'a Guard,
        slot: u16,
        pending: Pending,
    ) -> View<'a> {
        let locks = Locks::lent(keyspace.slots(), slot);
        View::at_cut(keyspace, guard, locks, pending, &self.arrays)
    }

    /// Hands the next bucket of a slot over. The caller has locked the slot. Whether there is more.
    fn advance(&self, keyspace: &Keyspace, guard: &Guard, slot: u16, pending: Pending) -> bool {
        let progress = &self.progress[usize::from(slot)];
        let at = progress.load(Relaxed);
        if at == DONE {
            return false;
        }
        let (db, position) = ((at >> POSITION_BITS) as u8, at & ((1 << POSITION_BITS) - 1));
        let reader = Reader {
            pending,
            ..keyspace.reader(guard)
        };
        let mut next = None;
        let array = self.arrays[usize::from(db)];
        if array != 0 {
            let table = NodeRef::from_raw(reader.load(root::slot_at(array, slot)));
            let mut records = Vec::new();
            next = walk::scan(&reader, table, position, &mut |record| records.push(record));
            let view = self.view(keyspace, guard, slot, pending);
            for record in records {
                let blob = Blob::read(&reader, record.blob());
                let key = blob.key(&reader);
                // A table that has shrunk shows again what the walk has passed.
                let is_passed = keyspace.hasher().hash(key).position() < position;
                let is_saved = || {
                    let saved = self.saved(slot).lock();
                    saved
                        .get(&slot)
                        .is_some_and(|keys| keys.contains(&(db, key.into())))
                };
                if !is_passed && !is_saved() {
                    self.sink.key(&view, db, &entry_of(&reader, record, &blob));
                }
            }
        }
        let later = || (db + 1..DATABASES_MAX as u8).find(|db| self.arrays[usize::from(*db)] != 0);
        let next = match next {
            Some(next) => Some(u64::from(db) << POSITION_BITS | next),
            None => later().map(|db| u64::from(db) << POSITION_BITS),
        };
        if let Some(next) = next {
            progress.store(next, Relaxed);
            return true;
        }
        progress.store(DONE, Relaxed);
        self.saved(slot).lock().remove(&slot);
        false
    }

    /// Notes that a writer has come across a key; whether it is the first since the cut and before the walk.
    fn is_news(&self, slot: u16, array: u64, hash: Hash, key: &[u8]) -> Option<u8> {
        let db = self.arrays.iter().position(|known| *known == array)? as u8;
        let at = u64::from(db) << POSITION_BITS | hash.position();
        if at < self.progress[usize::from(slot)].load(Relaxed) {
            return None;
        }
        let mut saved = self.saved(slot).lock();
        let is_new = saved.entry(slot).or_default().insert((db, key.into()));
        is_new.then_some(db)
    }
}

/// A snapshot under way. Dropping it ends it, done or not.
pub struct Snapshot<'k> {
    keyspace: &'k Keyspace,
    run: Arc<Run>,
    ring_head: u64,
    catalogue: Vec<u8>,
    /// Those asked for; all, if `None`.
    slots: Option<Box<[u16]>>,
    /// How many of them the walk has passed.
    passed: usize,
}

impl Keyspace {
    /// Cuts, and begins to hand all keys to `sink`; `None` while too many snapshots are under way. Waits for all slots.
    /// Writers may call the sink from now on.
    pub fn begin_snapshot(&self, sink: Arc<dyn SnapshotSink>) -> Option<Snapshot<'_>> {
        self.cut(None, sink)
    }

    /// The same of some slots, ascending and distinct; waits for these only. There is no catalogue in it.
    pub fn begin_snapshot_of(
        &self,
        slots: &[u16],
        sink: Arc<dyn SnapshotSink>,
    ) -> Option<Snapshot<'_>> {
        self.cut(Some(slots.into()), sink)
    }

    fn cut(&self, slots: Option<Box<[u16]>>, sink: Arc<dyn SnapshotSink>) -> Option<Snapshot<'_>> {
        let guard = self.pin();
        let access = slots.as_deref().map_or(Access::All, Access::Slots);
        let _locks = self.slots().lock(access);
        let mut runs = self.snapshots().write();
        if runs.len() == SNAPSHOTS_MAX {
            return None;
        }
        let reader = self.reader(&guard);
        let run = Arc::new(Run {
            sink,
            arrays: std::array::from_fn(|db| self.array(&reader, db as u8).unwrap_or(0)),
            progress: match &slots {
                None => (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
                Some(slots) => {
                    let progress: Box<[_]> = (0..SLOTS).map(|_| AtomicU64::new(DONE)).collect();
                    for slot in slots {
                        progress[usize::from(*slot)].store(0, Relaxed);
                    }
                    progress
                }
            },
            saved: std::array::from_fn(|_| Mutex::default()),
        });
        let catalogue = match slots {
            // It changes with all slots locked.
            None => {
                let view = run.view(self, &guard, 0, Pending::NONE);
                view.catalogue().to_vec()
            }
            Some(_) => Vec::new(),
        };
        runs.push(run.clone());
        self.set_snapshot_on(true);
        // Whoever has the snapshot has not read what the ring said before.
        self.forget_ring_state();
        Some(Snapshot {
            keyspace: self,
            run,
            ring_head: self.ring_head(),
            catalogue,
            slots,
            passed: 0,
        })
    }

    /// Hands a key over that is about to change, to every snapshot that has yet to see it. The caller has locked its slot and
    /// found it (or not) in the table of `array`.
    #[cold]
    pub(super) fn save_for_snapshot(
        &self,
        guard: &Guard,
        slot: u16,
        array: u64,
        key: (&[u8], Hash),
        pending: Pending,
        entry: Option<&Entry<'_>>,
    ) {
        let (key, hash) = key;
        for run in &self.runs() {
            let Some(db) = run.is_news(slot, array, hash, key) else {
                continue;
            };
            if let Some(entry) = entry {
                let view = run.view(self, guard, slot, pending);
                run.sink.key(&view, db, entry);
            }
            // Or the names of all keys would be kept that are changed before the walk comes by.
            run.advance(self, guard, slot, pending);
        }
    }

    /// Hands over what is left of a slot that is about to be emptied.
    pub(super) fn save_slot_for_snapshot(&self, guard: &Guard, slot: u16) {
        if !self.snapshot_is_on() {
            return;
        }
        for run in &self.runs() {
            while run.advance(self, guard, slot, Pending::NONE) {}
        }
    }

    /// Those under way. Their lock is not held while a sink is called: sinks may wait.
    fn runs(&self) -> SmallVec<[Arc<Run>; 2]> {
        self.snapshots().read().iter().cloned().collect()
    }

    /// Whether a snapshot still reads this root array.
    pub(super) fn is_in_snapshot(&self, array: u64) -> bool {
        self.snapshot_is_on() && self.snapshots().read().iter().any(|run| run.has(array))
    }
}

impl Snapshot<'_> {
    /// The head of the log ring at the cut.
    pub fn ring_head(&self) -> u64 {
        self.ring_head
    }

    /// The catalogue at the cut.
    pub fn catalogue(&self) -> &[u8] {
        &self.catalogue
    }

    /// Slots that the walk has passed.
    pub fn slots_done(&self) -> usize {
        self.passed
    }

    /// Names that are kept of keys which writers have come across before the walk: what the run itself takes of memory.
    pub fn saved_keys(&self) -> usize {
        let shards = self.run.saved.iter();
        shards
            .map(|shard| shard.lock().values().map(HashSet::len).sum::<usize>())
            .sum()
    }

    /// Hands over about `buckets_max` more buckets of keys; whether there are more. To be called until there are not.
    pub fn step(&mut self, buckets_max: usize) -> bool {
        let mut buckets = 0;
        while let Some(slot) = self.next_slot() {
            let guard = self.keyspace.pin();
            let slots = [slot];
            let _lock = self.keyspace.slots().lock(Access::Slots(&slots));
            loop {
                let is_more = self.run.advance(self.keyspace, &guard, slot, Pending::NONE);
                self.passed += usize::from(!is_more);
                // The last bucket of a slot counts as well: most slots have no other.
                buckets += 1;
                if buckets >= buckets_max {
                    return true;
                }
                if !is_more {
                    break;
                }
            }
        }
        false
    }

    fn next_slot(&self) -> Option<u16> {
        match &self.slots {
            None => (self.passed < SLOTS).then_some(self.passed as u16),
            Some(slots) => slots.get(self.passed).copied(),
        }
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let mut runs = self.keyspace.snapshots().write();
        runs.retain(|run| !Arc::ptr_eq(run, &self.run));
        self.keyspace.set_snapshot_on(!runs.is_empty());
    }
}
