//! One change of the keyspace inside a view's transaction: finding a key's place, putting an entry there,
//! taking it away, with the counts, the trash and the notes that go with it.
//!
//! A change keeps this order: everything that may fail for lack of space first (blobs), then counters and trash
//! links, then the table, whose publish is the last store, then the frees.

use parking_lot::MutexGuard;
use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use super::blob::{Blob, Draft, has_ttl};
use super::dash::hash::Hash;
use super::dash::layout::{NodeRef, Record};
use super::dash::table::{self, Found};
use super::dash::{Words, WordsMut};
use super::entry::{Encoding, Entry, Kind, Ttl};
use super::error::StoreError;
use super::field_index;
use super::key_slot;
use super::keyspace::{FreshClock, Keyspace};
use super::known::{self, KnownKey};
use super::medium::{Reader, Writer};
use super::notes::Notes;
use super::object;
use super::root::{self, Counts};
use super::totals::Delta;
use super::trash;

/// A record of a slot's table, and what its blob says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here {
    pub(super) found: Found,
    pub(super) blob: Blob,
    pub(super) ttl_at: Option<u64>,
}

impl Here {
    /// Looks a key up in the table at `slot_at`, expired or not.
    #[inline]
    pub(super) fn find(reader: &Reader<'_>, slot_at: u64, hash: Hash, key: &[u8]) -> Option<Here> {
        let root = NodeRef::from_raw(reader.load(slot_at));
        let (found, blob) = table::find_by(reader, root, hash, |at| Blob::of_key(reader, at, key))?;
        Some(Here {
            found,
            blob,
            ttl_at: blob.ttl_at(reader, found.record),
        })
    }

    /// Whether the key's time has come.
    #[inline]
    pub(super) fn expired(&self, now_ms: u64) -> bool {
        self.ttl_at.is_some_and(|at| now_ms > at)
    }
}

/// The public description of a record.
pub(super) fn entry_of<'a>(reader: &Reader<'a>, record: Record, blob: &Blob) -> Entry<'a> {
    Entry {
        key: blob.key(reader),
        kind: blob.kind(),
        encoding: match blob.kind() {
            // Whatever its form: clients know lists in one.
            Kind::List => Encoding::Quicklist,
            _ => match blob.encoding() {
                Encoding::HashtableEx => Encoding::Hashtable,
                Encoding::Chunked => Encoding::Raw,
                encoding => encoding,
            },
        },
        ttl_at: blob.ttl_at(reader, record),
        clock: blob.clock(),
        bytes: blob.len(),
    }
}

/// A key and where its entry is or would be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'k> {
    pub(super) db: u8,
    pub(super) slot: u16,
    pub(super) key: &'k [u8],
    hash: Hash,
    /// Byte offset of the slot's words; zero if the database has no root array yet.
    slot_at: u64,
    /// The entry, expired or not.
    pub(super) here: Option<Here>,
    now_ms: u64,
    fresh_clock: FreshClock,
}

impl Place<'_> {
    /// The entry, if its time has not come.
    #[inline]
    pub(super) fn live(&self) -> Option<&Here> {
        self.here.as_ref().filter(|here| !here.expired(self.now_ms))
    }

    /// The expiry that a write with `ttl` leaves.
    #[inline]
    pub(super) fn ttl_after(&self, ttl: Ttl) -> Option<u64> {
        match ttl {
            Ttl::Keep => self.live().and_then(|here| here.ttl_at),
            Ttl::Clear => None,
            Ttl::At(at_ms) => Some(at_ms),
        }
    }

    /// The clock that a write leaves.
    #[inline]
    pub(super) fn clock(&self) -> u32 {
        let used_now = self.fresh_clock.of(self.now_ms);
        match (self.fresh_clock, self.live()) {
            (FreshClock::Frequency, Some(here)) => here.blob.clock(),
            _ => used_now,
        }
    }
}

/// What becomes of a large collection's table when its entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// It goes too.
    Discard,
    /// Another entry has taken it over.
    Keep,
}

/// A change under way.
pub(super) struct Change<'v, 'a> {
    pub(super) writer: Writer<'v, 'a>,
    pub(super) keyspace: &'a Keyspace,
    pub(super) now_ms: u64,
    pub(super) notes: &'v mut Notes,
    /// The key that is used most.
    pub(super) known: Option<KnownKey<'a>>,
    /// Keys that are used after one another.
    pub(super) row: &'v Cell<&'a [KnownKey<'a>]>,
    pub(super) trash: &'v mut Option<MutexGuard<'a, ()>>,
    pub(super) trash_list: usize,
}

impl<'a> Change<'_, 'a> {
    /// Finds the place of a key, whose slot the view must have locked.
    pub(super) fn place<'k>(&self, db: u8, key: &'k [u8]) -> Place<'k> {
        let (slot, hash) = match &self.known {
            Some(known) if known.is(key) => (known.slot(), known.hash()),
            _ => {
                self.writer.be_alone();
                match known::next_of(self.row, key) {
                    Some(known) => (known.slot(), known.hash()),
                    None => (key_slot(key), self.writer.hasher.hash(key)),
                }
            }
        };
        assert!(self.writer.locks.covers(slot), "slot {slot} is not locked");
        let reader = self.writer.reader();
        let slot_at = self
            .keyspace
            .array(&reader, db)
            .map(|array| root::slot_at(array, slot));
        let here = slot_at.and_then(|slot_at| Here::find(&reader, slot_at, hash, key));
        if self.keyspace.snapshot_is_on()
            && let Some(array) = self.keyspace.array(&reader, db)
        {
            let entry = here.map(|here| entry_of(&reader, here.found.record, &here.blob));
            let guard = self.writer.guard;
            self.keyspace.save_for_snapshot(
                guard,
                slot,
                array,
                (key, hash),
                reader.pending,
                entry.as_ref(),
            );
        }
        Place {
            db,
            slot,
            key,
            hash,
            slot_at: slot_at.unwrap_or(0),
            here,
            now_ms: self.now_ms,
            fresh_clock: self.keyspace.settings().fresh_clock(),
        }
    }

    /// Puts a value of this kind in its place, whatever is there.
    #[inline]
    pub(super) fn put_value(
        &mut self,
        place: &Place<'_>,
        (kind, encoding): (Kind, Encoding),
        value: &[u8],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        let draft = Draft {
            kind,
            encoding,
            clock: place.clock(),
            ttl_at: place.ttl_after(ttl),
            key: place.key,
            value,
        };
        self.put(place, &draft, Contents::Discard)
    }

    /// Puts an entry in its place, whatever is there.
    pub(super) fn put(
        &mut self,
        place: &Place<'_>,
        draft: &Draft<'_>,
        contents: Contents,
    ) -> Result<(), StoreError> {
        let record = draft.write(&mut self.writer)?;
        let due = field_index::due_of_draft(&self.writer, draft);
        match &place.here {
            Some(here) => {
                let expired = here.expired(self.now_ms);
                if expired {
                    self.note_expired(place.db, place.key);
                    self.note_created(place.db, place.key);
                    self.note_readied(place.db, place.key, draft.kind);
                }
                self.note_lost(place, &here.blob);
                self.release(&here.blob, contents)?;
                let expires = i32::from(has_ttl(record)) - i32::from(has_ttl(here.found.record));
                if expires != 0 {
                    self.count(place, 0, expires)?;
                }
                let old_due = field_index::due_of(&self.writer.reader(), &here.blob);
                if (old_due, due) != (None, None) {
                    self.reindex(place, old_due, due.map(|due| (due, record.blob())))?;
                }
                table::replace(&mut self.writer, &here.found, record)?;
                self.writer.free(here.found.record.blob())?;
            }
            None => {
                let mut place = *place;
                if place.slot_at == 0 {
                    self.keyspace.make_array(self.writer.guard, place.db)?;
                    let array = self.keyspace.array(&self.writer.reader(), place.db);
                    place.slot_at = root::slot_at(array.expect("just made"), place.slot);
                }
                self.count(&place, 1, i32::from(has_ttl(record)))?;
                if let Some(due) = due {
                    self.reindex(&place, None, Some((due, record.blob())))?;
                }
                table::insert(&mut self.writer, place.slot_at, place.hash, record)?;
                self.note_created(place.db, place.key);
                self.note_readied(place.db, place.key, draft.kind);
            }
        }
        self.note_change(place.db, place.key);
        Ok(())
    }

    /// Removes the entry at a place, if there is one; whether there was one whose time had not come.
    pub(super) fn remove(
        &mut self,
        place: &Place<'_>,
        contents: Contents,
    ) -> Result<bool, StoreError> {
        let Some(here) = &place.here else {
            return Ok(false);
        };
        let expired = here.expired(self.now_ms);
        self.release(&here.blob, contents)?;
        let left = self.count(place, -1, -i32::from(has_ttl(here.found.record)))?;
        let due = field_index::due_of(&self.writer.reader(), &here.blob);
        if due.is_some() {
            self.reindex(place, due, None)?;
        }
        table::remove(
            &mut self.writer,
            place.slot_at,
            &here.found,
            place.hash,
            u64::from(left.keys),
        )?;
        self.note_lost(place, &here.blob);
        self.writer.free(here.found.record.blob())?;
        if expired {
            // Nobody asked for it: it is no change as INFO and the stream of changes count them.
            self.note_expired(place.db, place.key);
            self.note_unasked(place.db, place.key);
        } else {
            self.note_change(place.db, place.key);
        }
        Ok(!expired)
    }

    /// Sets or clears the expiry of the entry at a place.
    pub(super) fn set_ttl(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        at_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        let record = here.found.record;
        match (here.blob.ttl_word(), at_ms) {
            (_, None) if !has_ttl(record) => return Ok(()),
            (Some(at), Some(at_ms)) if has_ttl(record) => self.writer.publish(at, at_ms)?,
            (Some(at), _) => {
                self.count(place, 0, if at_ms.is_some() { 1 } else { -1 })?;
                if let Some(at_ms) = at_ms {
                    // Seen only with the record below; but a reader may still hold an older record that had an
                    // expiry here.
                    self.writer.store(at, at_ms)?;
                }
                let meta = here.blob.meta(at_ms.is_some());
                table::replace(
                    &mut self.writer,
                    &here.found,
                    Record::new(record.blob(), meta.bits()),
                )?;
            }
            (None, _) => {
                let reader = self.writer.reader();
                let draft = Draft {
                    kind: here.blob.kind(),
                    encoding: here.blob.encoding(),
                    clock: here.blob.clock(),
                    ttl_at: at_ms,
                    key: place.key,
                    value: here.blob.value(&reader),
                };
                return self.put(place, &draft, Contents::Keep);
            }
        }
        self.note_change(place.db, place.key);
        Ok(())
    }

    /// Counts a change of a slot; the counts after it.
    fn count(&mut self, place: &Place<'_>, keys: i32, expires: i32) -> Result<Counts, StoreError> {
        let at = place.slot_at + 8;
        let counts = Counts::from_raw(self.writer.load(at)).plus(keys, expires);
        if keys != 0 || expires != 0 {
            self.writer.store_apart(at, counts.raw())?;
            self.notes.deltas.push(Delta {
                db: place.db,
                slot: place.slot,
                keys: i64::from(keys),
                expires: i64::from(expires),
            });
        }
        Ok(counts)
    }

    /// Gives up what the value of a blob refers to.
    #[inline]
    fn release(&mut self, blob: &Blob, contents: Contents) -> Result<(), StoreError> {
        match object::large(blob) {
            Some(kind) if contents == Contents::Discard => {
                let header = blob.value_word(&self.writer.reader());
                self.discard(kind, header)
            }
            _ => Ok(()),
        }
    }

    /// Puts a trash node on this worker's list.
    pub(super) fn discard(&mut self, kind: trash::Kind, node: u64) -> Result<(), StoreError> {
        if self.trash.is_none() {
            *self.trash = Some(self.keyspace.lock_trash(self.trash_list));
        }
        // Readers that met the entry before must not see its table being taken apart: they look again.
        self.writer.exclude_readers();
        let head_at = root::trash_at(self.keyspace.root(), self.trash_list);
        trash::push(&mut self.writer, head_at, kind, node)
    }

    /// Notes that a key was changed.
    #[inline]
    pub(super) fn note_change(&mut self, db: u8, key: &[u8]) {
        self.notes.dirty += 1;
        self.note_touched(db, key);
    }

    #[inline]
    pub(super) fn note_touched(&mut self, db: u8, key: &[u8]) {
        if self.keyspace.is_watched() {
            self.notes.rare_mut().touched.push((db, key.into()));
        }
    }

    /// Notes that a key was changed because the time of it, or of a part of it, had come.
    pub(super) fn note_unasked(&mut self, db: u8, key: &[u8]) {
        self.note_touched(db, key);
        self.unask_last();
    }

    /// The same of a change that is noted already, as the last one.
    pub(super) fn unask_last(&mut self) {
        if self.keyspace.is_watched() {
            let rare = self.notes.rare_mut();
            rare.unasked.extend(rare.touched.len().checked_sub(1));
        }
    }

    /// Notes that whoever waits for a key is to look at it, as it holds a value of `kind` now
    /// ([`View::readied`](super::View::readied)).
    #[inline]
    pub(super) fn note_readied(&mut self, db: u8, key: &[u8], kind: Kind) {
        if self.keyspace.awaited().covers(key) {
            let readied = &mut self.notes.rare_mut().readied;
            readied.push(((db, key.into()), kind));
        }
    }

    /// Notes that what was at a place is gone, if that was a stream ([`View::lost`](super::View::lost)).
    fn note_lost(&mut self, place: &Place<'_>, blob: &Blob) {
        if blob.kind() == Kind::Stream && self.keyspace.awaited().covers(place.key) {
            let name = (place.db, place.key.into());
            self.notes.rare_mut().lost.push(name);
        }
    }

    fn note_created(&mut self, db: u8, key: &[u8]) {
        if self.keyspace.settings().note_created.load(Relaxed) {
            self.notes.rare_mut().created.push((db, key.into()));
        }
    }

    fn note_expired(&mut self, db: u8, key: &[u8]) {
        self.notes.rare_mut().expired.push((db, key.into()));
    }
}
