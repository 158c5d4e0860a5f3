//! Active defragmentation: moving what lies in sparsely used slabs, so that these can be given back.
//!
//! The allocator chooses the slabs ([`Pool::drain_sparse`](crate::pmem::Pool::drain_sparse)) and takes nothing from them
//! until they are empty. The walk then goes through all slots, a bucket of keys in one transaction, and moves
//!
//! - the blob of an entry: copied to a fresh block, the record stored (one publish), the old block freed;
//! - the node of a slot's table that has no directory: copied, the root word stored, the old one freed.
//!
//! That is what a write of the same key does, but for the value: so it is crash-atomic as that is, lock-free readers that
//! still use the old block keep it until they unpin, and to a snapshot nothing has changed. Nobody is told: no event, no
//! dirty count, no watcher.
//!
//! What is not moved: members, chunks and nodes of large collections and strings, segments of tables with a directory, and
//! what is in runs of pages (larger than 32 KiB), which leave no gaps.

use super::blob::Blob;
use super::change::{Change, Here};
use super::dash::layout::{Form, NodeRef, Record};
use super::dash::{Words, WordsMut, table, walk};
use super::error::StoreError;
use super::keyspace::{Keyspace, Worker};
use super::medium::Reader;
use super::root;
use super::view::Access;
use super::{DATABASES_MAX, SLOTS};
use crate::pmem::Offset;

/// Where a walk goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefragCursor {
    db: u8,
    slot: u16,
    position: u64,
}

/// What a step of the walk came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Blocks that were moved, and ones that were looked at and left.
    pub hits: u64,
    pub misses: u64,
    /// Keys of which something was moved, and others.
    pub key_hits: u64,
    pub key_misses: u64,
}

impl Keyspace {
    /// Chooses memory to be emptied; whether there is any that is worth it.
    pub fn begin_defrag(&self) -> bool {
        self.pool().drain_sparse() > 0
    }

    /// Ends what [`Keyspace::begin_defrag`] began, done or not.
    pub fn end_defrag(&self) {
        self.pool().stop_draining();
    }

    /// Moves what of about `keys_max` keys lies in memory to be emptied. Answers what was done, and where the next step
    /// goes on; `None` at the end.
    pub fn defrag_step(
        &self,
        worker: &mut Worker,
        mut cursor: DefragCursor,
        keys_max: u64,
    ) -> (Moved, Option<DefragCursor>) {
        /// Slots without keys that one step passes.
        const SLOTS_MAX: usize = 4096;
        let mut moved = Moved::default();
        for _ in 0..SLOTS_MAX {
            if self.len(cursor.db) > 0 && self.slot_len(cursor.db, cursor.slot) > 0 {
                cursor.position = self
                    .defrag_bucket(worker, cursor, &mut moved)
                    .unwrap_or_default();
            } else {
                cursor.position = 0;
            }
            if cursor.position == 0 {
                let is_last = self.len(cursor.db) == 0 || usize::from(cursor.slot) == SLOTS - 1;
                cursor.slot = if is_last { 0 } else { cursor.slot + 1 };
                cursor.db += u8::from(is_last);
                if usize::from(cursor.db) == DATABASES_MAX {
                    return (moved, None);
                }
            }
            if moved.key_hits + moved.key_misses >= keys_max {
                break;
            }
        }
        (moved, Some(cursor))
    }

    /// Moves what belongs to one bucket of a slot; where the slot's next one begins.
    fn defrag_bucket(
        &self,
        worker: &mut Worker,
        cursor: DefragCursor,
        moved: &mut Moved,
    ) -> Option<u64> {
        let (guard, slots) = (self.pin(), [cursor.slot]);
        let mut view = self.view(worker, &guard, Access::Slots(&slots), 0);
        let reader = view.reader();
        let slot_at = root::slot_at(self.array(&reader, cursor.db)?, cursor.slot);
        let root = NodeRef::from_raw(reader.load(slot_at));
        if cursor.position == 0 && is_movable(&reader, root) {
            // If there is no room, it stays where it is.
            let done = view.change(|change| change.move_root(slot_at, root));
            moved.hits += u64::from(done.is_ok());
        }
        let reader = view.reader();
        let root = NodeRef::from_raw(reader.load(slot_at));
        let mut records = Vec::new();
        let next = walk::scan(&reader, root, cursor.position, &mut |record| {
            records.push(record);
        });
        for record in records {
            let is_hit = self.pool().is_draining(Offset::from_raw(record.blob()))
                && view
                    .change(|change| change.move_entry(slot_at, record))
                    .is_ok();
            let (hit, miss) = (u64::from(is_hit), u64::from(!is_hit));
            moved.hits += hit;
            moved.misses += miss;
            moved.key_hits += hit;
            moved.key_misses += miss;
        }
        view.commit();
        next
    }
}

/// Whether a table's root is a node by itself, and lies in memory to be emptied.
fn is_movable(reader: &Reader<'_>, root: NodeRef) -> bool {
    !matches!(root.form(), Form::Empty | Form::Directory)
        && reader.pool.is_draining(Offset::from_raw(root.at()))
}

impl Change<'_, '_> {
    /// A fresh copy of a block's first bytes. Words of it that readers may store (access clocks) are read as such.
    fn copied(&mut self, at: u64, len: usize) -> Result<u64, StoreError> {
        let mut bytes = vec![0; len];
        self.writer
            .pool
            .load_bytes(Offset::from_raw(at), &mut bytes);
        let copy = self.writer.alloc(len)?;
        self.writer.fill(copy, &bytes);
        Ok(copy)
    }

    /// Moves the blob of an entry in the table at `slot_at`.
    fn move_entry(&mut self, slot_at: u64, record: Record) -> Result<(), StoreError> {
        let reader = self.writer.reader();
        let blob = Blob::read(&reader, record.blob());
        let key = blob.key(&reader);
        let hash = reader.hasher.hash(key);
        let here = Here::find(&reader, slot_at, hash, key).expect("found by the walk");
        let at = self.copied(record.blob(), blob.len() as usize)?;
        let fresh = Record::new(at, here.found.record.meta());
        table::replace(&mut self.writer, &here.found, fresh)?;
        self.writer.free(record.blob())
    }

    /// Moves the only node of the table at `slot_at`.
    fn move_root(&mut self, slot_at: u64, root: NodeRef) -> Result<(), StoreError> {
        let bytes = self.writer.block_bytes(root.at()) as usize;
        let at = self.copied(root.at(), bytes)?;
        self.writer.publish(slot_at, root.moved(at).raw())?;
        self.writer.free(root.at())
    }
}
