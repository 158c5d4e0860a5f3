//! One command's, EXEC's or script's view of the keyspace.

use parking_lot::MutexGuard;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::change::{Change, Contents, Here, Place, entry_of};
use super::committed::Committed;
use super::dash::{Words, WordsMut};
use super::entry::{Entry, StringForm, Text, Ttl};
use super::error::StoreError;
use super::field_index;
use super::hash_ref::{HashRef, MetField};
use super::keyspace::{Guard, Keyspace, Worker, counts};
use super::known::{KnownKey, hash_of};
use super::located::{FormOf, Located};
use super::medium::{Pending, Reader, Writer, WriterState};
use super::notes::{Notes, NotesMark, Rare};
use super::object::hash::HashForm;
use super::object::set::SetForm;
use super::root::{self, ARRAY_BYTES};
use super::set_ref::SetRef;
use super::sharing;
use super::slot::Locks;
use super::totals::{Delta, GROUP_SLOTS};
use super::{SLOTS, trash};
use crate::pmem::{self, Lane, RingRecord};
use crate::sync::ReadStamp;

/// Which hash slots a view may touch, and how.
#[derive(Clone, Copy, Debug)]
pub enum Access<'s> {
    /// No lock; reads only. Each call is atomic by itself; two calls may see different states.
    LockFree,
    /// These slots, ascending and distinct, locked exclusively for the life of the view.
    Slots(&'s [u16]),
    /// All slots (FLUSHALL, SWAPDB, multi-database work).
    All,
}

/// A point inside a view to go back to; see [`View::savepoint`]. By default it is the beginning.
#[derive(Debug, Default)]
pub struct Savepoint {
    /// `None` if the view had changed nothing yet.
    tx: Option<pmem::Savepoint>,
    notes: NotesMark,
}

/// One command, or one EXEC or script. Dropped without [`View::commit`], it leaves no trace.
///
/// A call that fails leaves the view as it was before that call. Keys must belong to slots the view locked; a
/// lock-free view must not write. Both are bugs of the caller and panic.
pub struct View<'a> {
    // Dropped in this order: the transaction is undone (and the slots' sequence words made even) before the
    // locks are released.
    state: Option<WriterState<'a>>,
    trash: Option<MutexGuard<'a, ()>>,
    pub(super) locks: Locks<'a>,
    keyspace: &'a Keyspace,
    guard: &'a Guard,
    now_ms: u64,
    /// Taken when the first change begins. Not there if the view only reads.
    lane: Option<&'a mut Lane>,
    /// The empty transaction.
    start: Option<pmem::Savepoint>,
    trash_list: usize,
    pub(super) notes: Notes,
    met_expired: Cell<bool>,
    pub(super) met_fields: RefCell<Vec<MetField>>,
    /// What a snapshot lets its sink look at.
    cut: Option<Cut<'a>>,
    /// The key that is used most.
    pub(super) known: Option<KnownKey<'a>>,
    /// Keys that are used after one another, as far as they have not been.
    pub(super) row: Cell<&'a [KnownKey<'a>]>,
    /// How long a read without locks waits for a writer; `None` for ever.
    pub(super) patience: Option<Duration>,
}

/// The databases at the cut of a snapshot, and what the writer who lends its slot holds back.
struct Cut<'a> {
    arrays: &'a [u64; super::DATABASES_MAX],
    pending: Pending,
}

/// What a read without locks unwinds with if it has waited for a writer too long, in a view that
/// [`Keyspace::try_view`] began.
#[derive(Clone, Copy, Debug)]
pub struct SlotHeld;

impl<'a> View<'a> {
    #[inline(always)]
    pub(super) fn new(
        keyspace: &'a Keyspace,
        worker: Option<&'a mut Worker>,
        guard: &'a Guard,
        locks: Locks<'a>,
        now_ms: u64,
        patience: Option<Duration>,
    ) -> View<'a> {
        let trash_list = worker.as_ref().map_or(0, |worker| worker.trash_list);
        View {
            state: None,
            trash: None,
            locks,
            keyspace,
            guard,
            now_ms,
            lane: worker.map(|worker| &mut worker.lane),
            start: None,
            trash_list,
            notes: Notes::default(),
            met_expired: Cell::new(false),
            met_fields: RefCell::default(),
            cut: None,
            known: None,
            row: Cell::new(&[]),
            patience,
        }
    }

    /// A view of what a snapshot's cut has left in one slot, which the caller has locked. It does not write, and nothing
    /// expires in it.
    pub(super) fn at_cut(
        keyspace: &'a Keyspace,
        guard: &'a Guard,
        locks: Locks<'a>,
        pending: Pending,
        arrays: &'a [u64; super::DATABASES_MAX],
    ) -> View<'a> {
        View {
            cut: Some(Cut { arrays, pending }),
            ..View::new(keyspace, None, guard, locks, 0, None)
        }
    }

    /// A reader that sees this view's own changes.
    #[inline]
    pub(super) fn reader(&self) -> Reader<'a> {
        let pending = match (&self.state, &self.cut) {
            (Some(state), _) => state.pending,
            (None, Some(cut)) => cut.pending,
            (None, None) => Pending::NONE,
        };
        Reader {
            pending,
            ..self.keyspace.reader(self.guard)
        }
    }

    pub(super) fn keyspace(&self) -> &'a Keyspace {
        self.keyspace
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(super) fn locks_all(&self) -> bool {
        self.locks.all()
    }

    /// Whether the view has locked `slot`.
    pub fn covers(&self, slot: u16) -> bool {
        self.locks.covers(slot)
    }

    /// Locks one more slot, or all, if that needs no waiting; whether the view covers it now. Waiting could mean
    /// waiting for each other, since the slot may come before those locked already: a caller that is told no drops
    /// the view and begins again with what it has learned.
    pub fn try_extend(&mut self, slot: Option<u16>) -> bool {
        let mut added = SmallVec::new();
        if !self.locks.try_extend(slot, &mut added) {
            return false;
        }
        // Readers of the other slots wait for this transaction already: those of the new ones must, too.
        if let Some(state) = &mut self.state
            && !state.odd.is_empty()
        {
            self.locks.write_each(&added, &mut state.odd);
        }
        true
    }

    /// Reads one slot: under the view's lock, or as often as it takes to see one state of it. Answers the stamp of
    /// that state, if the view has no lock.
    #[inline]
    pub(super) fn read<T>(
        &self,
        slot: u16,
        read: impl Fn(&Reader<'a>) -> T,
    ) -> (T, Option<ReadStamp>) {
        let reader = self.reader();
        let is_locked = self.locks.any();
        if is_locked {
            assert!(self.locks.covers(slot), "slot {slot} is not locked");
        }
        loop {
            // `read` stands here once only, so that it can be made a part of the loop.
            let stamp = (!is_locked).then(|| self.stamp(slot));
            let result = read(&reader);
            if stamp.is_none_or(|stamp| self.keyspace.slots().validate(slot, stamp)) {
                return (result, stamp);
            }
        }
    }

    #[inline]
    fn stamp(&self, slot: u16) -> ReadStamp {
        let slots = self.keyspace.slots();
        match self.patience {
            None => slots.stamp(slot),
            // Not a panic: the caller of `try_view` expects it, and nothing is changed or held.
            Some(wait_max) => slots
                .stamp_within(slot, wait_max)
                .unwrap_or_else(|| std::panic::resume_unwind(Box::new(SlotHeld))),
        }
    }

    /// Looks up a key whose time has not come.
    #[inline]
    pub(super) fn lookup(
        &self,
        reader: &Reader<'a>,
        db: u8,
        slot: u16,
        key: &[u8],
    ) -> Option<Here> {
        if self.locks.are_shared() && !self.knows(key) {
            sharing::refuse();
        }
        let array = match &self.cut {
            None => self.keyspace.array(reader, db)?,
            Some(cut) => Some(cut.arrays[usize::from(db)]).filter(|array| *array != 0)?,
        };
        let hash = hash_of(self.known.as_ref(), reader.hasher, key);
        let here = Here::find(reader, root::slot_at(array, slot), hash, key)?;
        if here.expired(self.now_ms) {
            self.met_expired.set(true);
            return None;
        }
        Some(here)
    }

    /// Whether a key was looked up whose time has come, and which is still there unless this view
    /// removed it: the caller may see to that once the view has ended.
    #[inline]
    pub fn met_expired(&self) -> bool {
        self.met_expired.get()
    }

    /// Lets the view look at keys as of another time, by which other ones have expired; the time so far.
    pub fn set_now_ms(&mut self, now_ms: u64) -> u64 {
        std::mem::replace(&mut self.now_ms, now_ms)
    }

    /// What is known of `key`, if it exists and has not expired.
    pub fn find(&self, db: u8, key: &[u8]) -> Option<Entry<'a>> {
        let slot = self.slot_of(key);
        self.read(slot, |reader| {
            self.lookup(reader, db, slot, key)
                .map(|here| entry_of(reader, here.found.record, &here.blob))
        })
        .0
    }

    /// As [`View::find`], but an expired key does not count as met, so that it stays until somebody reads it.
    pub fn peek(&self, db: u8, key: &[u8]) -> Option<Entry<'a>> {
        let met = self.met_expired.get();
        let found = self.find(db, key);
        self.met_expired.set(met);
        found
    }

    /// The hash at `key`.
    pub fn hash<'v>(
        &'v self,
        db: u8,
        key: &'v [u8],
    ) -> Result<Option<HashRef<'v, 'a>>, StoreError> {
        let found = self.locate(db, key, HashForm::read)?;
        Ok(found.map(|(at, form)| HashRef::new(at, form)))
    }

    /// The set at `key`.
    pub fn set<'v>(&'v self, db: u8, key: &'v [u8]) -> Result<Option<SetRef<'v, 'a>>, StoreError> {
        let found = self.locate(db, key, SetForm::read)?;
        Ok(found.map(|(at, form)| SetRef::new(at, form)))
    }

    /// A collection at `key`, and the form it has.
    fn locate<'v, F>(
        &'v self,
        db: u8,
        key: &'v [u8],
        form_of: FormOf<'a, F>,
    ) -> Result<Option<(Located<'v, 'a>, F)>, StoreError> {
        let slot = self.slot_of(key);
        let (form, stamp) = self.read(slot, |reader| {
            self.lookup(reader, db, slot, key)
                .map(|here| form_of(reader, &here.blob))
                .transpose()
        });
        let at = Located {
            view: self,
            db,
            slot,
            key,
            stamp,
        };
        Ok(form?.map(|form| (at, form)))
    }

    /// Changes the live entry at `key`. Without one there is nothing to change (what has expired goes), and the result
    /// is that of having done nothing.
    pub(super) fn change_live<T: Default>(
        &mut self,
        db: u8,
        key: &[u8],
        change_it: impl FnOnce(&mut Change<'_, 'a>, &Place<'_>, &Here) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            match place.live() {
                Some(here) => change_it(change, &place, here),
                None => change
                    .remove(&place, Contents::Discard)
                    .map(|_| T::default()),
            }
        })
    }

    /// Makes one change: all of it or, if `change` fails, nothing.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Change<'_, 'a>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        assert!(self.locks.any(), "a lock-free view does not write");
        let notes_mark = self.notes.mark();
        let savepoint = match &mut self.state {
            None => {
                let lane = self.lane.take().expect("the transaction begins once");
                let mut tx = self.keyspace.pool().begin(lane, self.guard);
                let savepoint = tx.savepoint();
                self.start = Some(savepoint);
                self.state = Some(WriterState::new(tx));
                savepoint
            }
            Some(_) => self.settle(),
        };
        let state = self.state.as_mut().expect("the transaction has begun");
        let result = change(&mut Change {
            writer: Writer {
                state,
                locks: &self.locks,
                pool: self.keyspace.pool(),
                guard: self.guard,
                hasher: self.keyspace.hasher(),
            },
            keyspace: self.keyspace,
            now_ms: self.now_ms,
            notes: &mut self.notes,
            known: self.known,
            row: &self.row,
            trash: &mut self.trash,
            trash_list: self.trash_list,
        });
        if result.is_err() {
            self.undo_to(&savepoint, &notes_mark);
        }
        result
    }

    /// Ends the change before, so that another may follow or be undone alone.
    #[inline(never)]
    fn settle(&mut self) -> pmem::Savepoint {
        let state = self.state.as_mut().expect("the transaction has begun");
        let mut writer = Writer {
            state,
            locks: &self.locks,
            pool: self.keyspace.pool(),
            guard: self.guard,
            hasher: self.keyspace.hasher(),
        };
        writer.settle();
        let state = self.state.as_mut().expect("the transaction has begun");
        state.later = !state.tx.is_empty();
        state.tx.savepoint()
    }

    fn undo_to(&mut self, savepoint: &pmem::Savepoint, notes: &NotesMark) {
        if let Some(state) = &mut self.state {
            state.tx.rollback_to(savepoint);
            state.pending = Pending::NONE;
            state.later = !state.tx.is_empty();
        }
        self.notes.rewind(notes);
    }

    /// Sets `key` to a string, whatever it held before.
    pub fn set_string(
        &mut self,
        db: u8,
        key: &[u8],
        value: &[u8],
        form: StringForm,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.put_string(&place, value, form, ttl)
        })
    }

    /// Sets `key` to an integer (`int` encoding), whatever it held before.
    pub fn set_int(&mut self, db: u8, key: &[u8], value: i64, ttl: Ttl) -> Result<(), StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.put_int(&place, value, ttl)
        })
    }

    /// Removes `key`; whether it existed (an expired key did not).
    pub fn remove(&mut self, db: u8, key: &[u8]) -> Result<bool, StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.remove(&place, Contents::Discard)
        })
    }

    /// Sets (Unix milliseconds) or clears the expiry of `key`; whether the key exists.
    pub fn set_ttl(&mut self, db: u8, key: &[u8], at_ms: Option<u64>) -> Result<bool, StoreError> {
        self.change_live(db, key, |change, place, here| {
            change.set_ttl(place, here, at_ms).map(|()| true)
        })
    }

    /// Stores the 24-bit access clock of `key`, if it exists. Not a change: not logged, not undone, allowed
    /// without a lock.
    pub fn touch(&self, db: u8, key: &[u8], clock: u32) {
        let slot = self.slot_of(key);
        let reader = self.reader();
        if let Some(here) = self.lookup(&reader, db, slot, key) {
            here.blob.set_clock(&reader, clock);
        }
    }

    /// Adds members to the set at `key`, which is made if absent; the number of new ones.
    pub fn set_add(&mut self, db: u8, key: &[u8], members: &[&[u8]]) -> Result<usize, StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.add_members(&place, members)
        })
    }

    /// Removes members; the number removed. A set without members is removed.
    pub fn set_remove(
        &mut self,
        db: u8,
        key: &[u8],
        members: &[&[u8]],
    ) -> Result<usize, StoreError> {
        self.change_live(db, key, |change, place, here| {
            change.remove_members(place, here, members)
        })
    }

    /// Replaces whatever `key` holds by a set of these distinct members (SUNIONSTORE, RESTORE). No members: removes the key.
    pub fn set_set(
        &mut self,
        db: u8,
        key: &[u8],
        members: &[Text<'_>],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.put_set(&place, members, ttl)
        })
    }

    /// Moves the value and expiry of one key to another, replacing what that held; whether the source
    /// exists. Takes the same time for a value of any size but a long string or a packed collection.
    pub fn rename(
        &mut self,
        src_db: u8,
        src: &[u8],
        dst_db: u8,
        dst: &[u8],
    ) -> Result<bool, StoreError> {
        if (src_db, src) == (dst_db, dst) {
            return Ok(self.find(src_db, src).is_some());
        }
        self.change(|change| change.rename((src_db, src), (dst_db, dst)))
    }

    /// Copies the value and expiry of one key to another, replacing what that held; whether the source exists.
    pub fn copy(
        &mut self,
        src_db: u8,
        src: &[u8],
        dst_db: u8,
        dst: &[u8],
    ) -> Result<bool, StoreError> {
        if (src_db, src) == (dst_db, dst) {
            return Ok(self.find(src_db, src).is_some());
        }
        self.change(|change| change.copy((src_db, src), (dst_db, dst)))
    }

    /// Removes all keys of `db`, in constant time. Needs [`Access::All`].
    pub fn flush_db(&mut self, db: u8) -> Result<(), StoreError> {
        assert!(self.locks.all(), "FLUSHDB locks all slots");
        self.change(|change| {
            let reader = change.writer.reader();
            let Some(old) = change.keyspace.array(&reader, db) else {
                return Ok(());
            };
            let array = change.writer.alloc(ARRAY_BYTES)?;
            change.writer.fill_zero(array, ARRAY_BYTES);
            for slot in 0..SLOTS as u16 {
                let counts = counts(&reader, old, slot);
                if counts.keys > 0 {
                    change.notes.dirty += u64::from(counts.keys);
                    let (keys, expires) = (-i64::from(counts.keys), -i64::from(counts.expires));
                    change.notes.deltas.push(Delta {
                        db,
                        slot,
                        keys,
                        expires,
                    });
                }
            }
            change.discard(trash::Kind::Array, old)?;
            change
                .writer
                .store(root::database_at(change.keyspace.root(), db), array)
        })
    }

    /// Removes all keys of all databases, in constant time. Needs [`Access::All`].
    pub fn flush_all(&mut self) -> Result<(), StoreError> {
        let savepoint = self.savepoint();
        for db in 0..super::DATABASES_MAX as u8 {
            if self.len(db) > 0
                && let Err(error) = self.flush_db(db)
            {
                self.rollback_to(savepoint);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes all keys of one slot of `db`, in constant time; their number.
    pub fn flush_slot(&mut self, db: u8, slot: u16) -> Result<u64, StoreError> {
        assert!(self.locks.covers(slot), "slot {slot} is not locked");
        self.change(|change| {
            let reader = change.writer.reader();
            let Some(array) = change.keyspace.array(&reader, db) else {
                return Ok(0);
            };
            let counts = counts(&reader, array, slot);
            if counts.keys == 0 {
                return Ok(0);
            }
            change
                .keyspace
                .save_slot_for_snapshot(change.writer.guard, slot);
            let slot_at = root::slot_at(array, slot);
            let dues_at = field_index::index_of(&reader, array)
                .map(|index| field_index::tree_at(index, slot))
                .filter(|at| reader.load(*at) != 0);
            let dues = dues_at.map_or(0, |at| reader.load(at));
            let node = change
                .writer
                .alloc_words(&[reader.load(slot_at), dues, 0, 0])?;
            change.discard(trash::Kind::Slot, node)?;
            if let Some(at) = dues_at {
                change.writer.store_apart(at, 0)?;
            }
            change.writer.exclude_readers();
            change.writer.store_words(slot_at, &[0, 0])?;
            change.notes.dirty += u64::from(counts.keys);
            let (keys, expires) = (-i64::from(counts.keys), -i64::from(counts.expires));
            change.notes.deltas.push(Delta {
                db,
                slot,
                keys,
                expires,
            });
            Ok(u64::from(counts.keys))
        })
    }

    /// Exchanges two databases, in constant time. Needs [`Access::All`].
    pub fn swap_db(&mut self, a: u8, b: u8) -> Result<(), StoreError> {
        assert!(self.locks.all(), "SWAPDB locks all slots");
        if a == b {
            return Ok(());
        }
        self.change(|change| {
            // Once this transaction has stored the words nobody else may make an array: make both now.
            change.keyspace.make_array(change.writer.guard, a)?;
            change.keyspace.make_array(change.writer.guard, b)?;
            let reader = change.writer.reader();
            let at = |db| root::database_at(change.keyspace.root(), db);
            let (a_at, b_at) = (at(a), at(b));
            let (a_array, b_array) = (reader.load(a_at), reader.load(b_at));
            change.writer.store(a_at, b_array)?;
            change.writer.store(b_at, a_array)?;
            for slot in 0..SLOTS as u16 {
                let (in_a, in_b) = (
                    counts(&reader, a_array, slot),
                    counts(&reader, b_array, slot),
                );
                let keys = i64::from(in_b.keys) - i64::from(in_a.keys);
                let expires = i64::from(in_b.expires) - i64::from(in_a.expires);
                if keys != 0 || expires != 0 {
                    change.notes.deltas.push(Delta {
                        db: a,
                        slot,
                        keys,
                        expires,
                    });
                    change.notes.deltas.push(Delta {
                        db: b,
                        slot,
                        keys: -keys,
                        expires: -expires,
                    });
                }
            }
            let timed = |array| field_index::index_of(&reader, array).is_some();
            if timed(a_array) || timed(b_array) {
                change.notes.rare_mut().swapped.extend([a, b]);
            }
            change.notes.dirty += 1;
            Ok(())
        })
    }

    /// Keys in `db`, this view's own changes included.
    pub fn len(&self, db: u8) -> u64 {
        let own: i64 = self
            .notes
            .deltas
            .iter()
            .filter(|delta| delta.db == db)
            .map(|delta| delta.keys)
            .sum();
        self.keyspace.len(db).saturating_add_signed(own)
    }

    /// Whether the view has changed nothing and met nothing whose time has come: its end says nothing to anybody.
    #[inline]
    pub fn is_untouched(&self) -> bool {
        self.state.is_none()
            && self.notes.rare().is_none()
            && !self.met_expired.get()
            && !self.has_met_fields()
    }

    /// Marks a point to return to: a command inside EXEC or a script that fails half-way undoes only itself.
    #[inline]
    pub fn savepoint(&mut self) -> Savepoint {
        let tx = self.state.is_some().then(|| self.settle());
        Savepoint {
            tx,
            notes: self.notes.mark(),
        }
    }

    /// Undoes all changes made since `savepoint`.
    pub fn rollback_to(&mut self, savepoint: Savepoint) {
        if let Some(tx) = savepoint.tx.or(self.start) {
            self.undo_to(&tx, &savepoint.notes);
        }
    }

    /// Number of changes made so far (Redis's `dirty`).
    #[inline]
    pub fn dirty(&self) -> u64 {
        self.notes.dirty
    }

    /// Whether the view has locked slots, so that it may write.
    #[inline]
    pub fn may_write(&self) -> bool {
        self.locks.any()
    }

    /// Ends a view that has changed nothing, but keeps its slots locked, for another one.
    pub fn into_locks(mut self) -> Locks<'a> {
        assert!(self.state.is_none(), "changes would be undone unlocked");
        self.locks.take()
    }

    /// Makes all changes durable and visible at once, and releases the slots.
    pub fn commit(self) {
        drop(self.commit_locked(None));
    }

    /// The same, and adds `record` to the log ring, if there is one: both or neither. Answers the ring's head after it.
    pub fn commit_logged(self, record: &RingRecord<'_>) -> Option<u64> {
        self.commit_locked(Some(record)).ring_head
    }

    /// Makes all changes durable and visible at once, and adds `record` to the log ring, if there is one. The slots
    /// stay locked until what this returns is dropped: who tells others of the changes meanwhile does so in the order
    /// in which they were made.
    pub fn commit_locked(mut self, record: Option<&RingRecord<'_>>) -> Committed<'a> {
        self.commit_in_place(record)
    }

    /// The same for a view that stays where it is: it has no slots any more and must not be used again.
    pub fn commit_in_place(&mut self, record: Option<&RingRecord<'_>>) -> Committed<'a> {
        let mut ring_head = None;
        match (self.state.take(), record) {
            (Some(WriterState { tx, odd, .. }), record) => {
                match record {
                    Some(record) => ring_head = tx.commit_logged(record),
                    None => tx.commit(),
                }
                drop(odd);
                self.settle_books();
            }
            // Nothing here has changed, but what the record tells has happened.
            (None, Some(record)) => ring_head = self.keyspace.append_to_ring(record),
            (None, None) => {}
        }
        Committed {
            rare: self.notes.take_rare(),
            ring_head,
            _locks: self.locks.take(),
        }
    }

    /// Brings the totals up to what was committed.
    fn settle_books(&self) {
        for delta in &self.notes.deltas {
            self.keyspace
                .totals(delta.db)
                .change(delta.slot, delta.keys, delta.expires);
        }
        if let Some(rare) = self.notes.rare() {
            self.settle_rare_books(rare);
        }
    }

    #[cold]
    fn settle_rare_books(&self, rare: &Rare) {
        self.keyspace.add_expired(rare.expired.len());
        for &(db, slot, due) in &rare.dues {
            let group = usize::from(slot) / GROUP_SLOTS;
            self.keyspace.totals(db).lower_fields_due(group, due);
        }
        for db in &rare.swapped {
            self.keyspace.look_for_due_fields(*db);
        }
        let lapsed: usize = rare.lapsed.iter().map(|lapsed| lapsed.fields.len()).sum();
        if lapsed > 0 {
            self.keyspace.add_expired_fields(lapsed);
        }
    }
}
