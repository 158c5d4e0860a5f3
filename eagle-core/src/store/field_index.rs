//! The index of hashes whose fields expire: for each slot and database a tree of when each hash is due.
//!
//! ```text
//!   root array     32    u64       byte offset of the index array; 0 until a field of the database first expires
//!   index array    0     u64       slot cursor, of trash only      8 .. 64 zero
//!                  64    16384 x   root word of the slot's tree
//!   tree entry           { due, byte offset of the hash's entry blob }, by due and then by key
//! ```
//!
//! A hash is *due* when its first field expires, or earlier (a large one whose times moved): exactly what its value says
//! ([`due_of`]). A hash without expiring fields is in no tree. So the expiry cycle finds what has to go without looking at
//! any other hash, and who never uses this has no array.
//!
//! The trees are kept by [`Change::put`] and [`Change::remove`], which see every entry blob come and go; only what
//! changes a large hash in place has to say so ([`Change::settle_due`]).

use super::blob::{Blob, Draft};
use super::btree::Tree;
use super::change::{Change, Place};
use super::dash::{Words, WordsMut};
use super::entry::{Encoding, Kind};
use super::error::StoreError;
use super::keyspace::Keyspace;
use super::medium::{Reader, Writer};
use super::object::timed_table::{Dues, TimedTable, move_due};
use super::{SLOTS, root};
use crate::pmem::{self, OutOfSpace};
use crate::sync::Guard;
use crate::sync::primitive::Ordering;

/// Bytes of an index array.
pub(super) const INDEX_BYTES: usize = 64 + 8 * SLOTS;

/// Byte offset of the root word of a slot's tree in the index array at `index`.
#[inline]
pub(super) fn tree_at(index: u64, slot: u16) -> u64 {
    index + 64 + 8 * u64::from(slot)
}

/// The index array that belongs to the root array at `array`, if there is one.
#[inline]
pub(super) fn index_of<W: Words>(words: &W, array: u64) -> Option<u64> {
    Some(words.load(root::index_at(array))).filter(|index| *index != 0)
}

/// When the hash in an entry's blob is due; `None` for everything else.
#[inline]
pub(super) fn due_of(reader: &Reader<'_>, blob: &Blob) -> Option<u64> {
    if blob.kind() != Kind::Hash {
        return None;
    }
    match blob.encoding() {
        Encoding::ListpackEx => packed_due(blob.value(reader)),
        Encoding::HashtableEx => TimedTable::read(reader, blob).due(reader),
        _ => None,
    }
}

/// The same, of a blob that is to be written.
#[inline]
pub(super) fn due_of_draft(writer: &Writer<'_, '_>, draft: &Draft<'_>) -> Option<u64> {
    match draft.encoding {
        Encoding::ListpackEx => packed_due(draft.value),
        Encoding::HashtableEx => {
            let header = draft.value.try_into().map(u64::from_le_bytes).ok()?;
            TimedTable { header }.due(writer)
        }
        _ => None,
    }
}

fn packed_due(value: &[u8]) -> Option<u64> {
    let due = u64::from_le_bytes(*value.first_chunk()?);
    (due != 0).then_some(due)
}

impl Change<'_, '_> {
    /// The tree of a slot, if its database has any.
    pub(super) fn dues(&self, db: u8, slot: u16) -> Option<Tree<Dues>> {
        let reader = self.writer.reader();
        let index = index_of(&reader, self.keyspace.array(&reader, db)?)?;
        Some(Tree::new(tree_at(index, slot)))
    }

    /// Moves a hash in its slot's tree: it was due as `old` says, and is as `new` says, in this entry blob. The
    /// database has a root array.
    #[cold]
    pub(super) fn reindex(
        &mut self,
        place: &Place<'_>,
        old: Option<u64>,
        new: Option<(u64, u64)>,
    ) -> Result<(), StoreError> {
        let tree = match self.dues(place.db, place.slot) {
            Some(tree) => tree,
            None => self.make_index(place)?,
        };
        if let Some((due, _)) = new {
            self.notes.rare_mut().dues.push((place.db, place.slot, due));
        }
        move_due(tree, &mut self.writer, place.key, old, new)
    }

    /// Makes the index array of a place's database.
    fn make_index(&mut self, place: &Place<'_>) -> Result<Tree<Dues>, StoreError> {
        let reader = self.writer.reader();
        let array = self.keyspace.array(&reader, place.db);
        let array = array.expect("the database has a root array");
        if self.writer.locks.all() {
            // This very transaction may have made the root array (FLUSHDB), so the index can only be part of it; and
            // nobody else can be about to make one.
            let index = self.writer.alloc(INDEX_BYTES)?;
            self.writer.fill_zero(index, INDEX_BYTES);
            self.writer.store_apart(root::index_at(array), index)?;
        } else {
            self.keyspace.make_index(self.writer.guard, array)?;
        }
        Ok(self.dues(place.db, place.slot).expect("just made"))
    }

    /// Ends a change of a large hash in place: the slot's index says again when it is due. With `exactly` it becomes so
    /// to the millisecond; else it may say too early a time, and is left alone if it does.
    pub(super) fn settle_due(
        &mut self,
        place: &Place<'_>,
        table: TimedTable,
        exactly: bool,
    ) -> Result<(), StoreError> {
        let Some(here) = &place.here else {
            return Ok(());
        };
        let (old, new) = (table.due(&self.writer), table.earliest(&self.writer));
        let stays = match (old, new) {
            (Some(old), Some(new)) => old == new || old < new && !exactly,
            (old, new) => old == new,
        };
        if stays {
            return Ok(());
        }
        self.writer.settle();
        table.set_due(&mut self.writer, new)?;
        let blob = here.found.record.blob();
        self.reindex(place, old, new.map(|due| (due, blob)))
    }
}

impl Keyspace {
    /// Makes the index array that belongs to a root array unless it is there.
    fn make_index(&self, guard: &Guard, array: u64) -> Result<(), OutOfSpace> {
        let at = pmem::Offset::from_raw(root::index_at(array));
        let mut lane = self.lock_maker();
        if self.pool().load_u64(at, Ordering::Acquire) != 0 {
            return Ok(());
        }
        let mut tx = self.pool().begin(&mut lane, guard);
        let index = tx.alloc(INDEX_BYTES)?;
        tx.zero_fresh(index, INDEX_BYTES);
        tx.publish_u64(at, index.raw())?;
        tx.commit();
        Ok(())
    }
}
