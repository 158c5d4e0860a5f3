//! Active defragmentation: moving what lies in sparsely used slabs, so that these can be given back.
//!
//! The allocator chooses the slabs ([`Pool::drain_sparse`](crate::pmem::Pool::drain_sparse)) and takes nothing from them
//! until they are empty. The walk then goes through all slots, a bucket of keys in one transaction, and moves
//!
//! - the blob of an entry, and the header of a large value: copied to fresh blocks, the record stored (one publish), the
//!   old blocks freed;
//! - nodes, segments and directories of a slot's table: copied, the word that names them stored, the old ones freed;
//! - what is inside a large value: see [`inside`].
//!
//! That is what a write of the same key does, but for the value: so it is crash-atomic as that is, lock-free readers that
//! still use the old block keep it until they unpin, and to a snapshot nothing has changed. Nobody is told: no event, no
//! dirty count, no watcher.
//!
//! A large value is not gone through with its bucket, since it may have millions of blocks. The walk notes its key and goes
//! into it afterwards, a piece in one transaction, finding the key and the place in it anew each time; what commands do to
//! it meanwhile makes the walk at worst miss something, or look at it twice.
//!
//! What is not moved: what is in the trash, which goes anyway; the catalogue; the names of consumers with very many
//! pendings; and what is in runs of pages (larger than 32 KiB), which leave no gaps.

mod inside;
mod moves;

use super::blob::Blob;
use super::change::Change;
use super::dash::hash::{Hash, POSITION_BITS};
use super::dash::layout::{Form, NodeRef, Record};
use super::dash::{Words, walk};
use super::error::StoreError;
use super::field_index;
use super::keyspace::{Keyspace, Worker};
use super::object;
use super::root;
use super::view::{Access, View};
use super::{DATABASES_MAX, SLOTS};
use crate::pmem::{Offset, Pool};
use inside::Inside;
use moves::Entry;

/// Where a walk goes on.
#[derive(Clone, Debug, Default)]
pub struct DefragCursor {
    db: u8,
    slot: u16,
    position: u64,
    /// Large values of the slot that have been passed, and are gone into before the walk goes on: the last one first.
    insides: Vec<Inside>,
    choice: Choice,
}

/// Which blocks are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Choice {
    /// Those in memory to be emptied.
    #[default]
    Sparse,
    /// Every one that can be: for tests.
    #[cfg(test)]
    All,
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

impl DefragCursor {
    /// The start of a walk that moves everything, wanted or not.
    #[cfg(test)]
    pub(super) fn of_everything() -> DefragCursor {
        DefragCursor {
            choice: Choice::All,
            ..DefragCursor::default()
        }
    }
}

/// A step under way.
struct Mover<'m> {
    moved: &'m mut Moved,
    choice: Choice,
}

impl Mover<'_> {
    /// Whether an allocated block is to be moved.
    fn wants(&self, pool: &Pool, at: u64) -> bool {
        match self.choice {
            Choice::Sparse => pool.is_draining(Offset::from_raw(at)),
            #[cfg(test)]
            Choice::All => true,
        }
    }

    /// Looks at a block, and moves it by `move_it` if it is to be. Without room for a copy it stays where it is. Whether
    /// it was moved.
    fn look<'a>(
        &mut self,
        view: &mut View<'a>,
        at: u64,
        move_it: impl FnOnce(&mut Change<'_, 'a>) -> Result<(), StoreError>,
    ) -> bool {
        let is_moved = self.wants(view.keyspace().pool(), at) && view.change(move_it).is_ok();
        self.count(is_moved);
        is_moved
    }

    fn count(&mut self, is_moved: bool) {
        self.moved.hits += u64::from(is_moved);
        self.moved.misses += u64::from(!is_moved);
    }

    fn count_key(&mut self, is_moved: bool) {
        self.moved.key_hits += u64::from(is_moved);
        self.moved.key_misses += u64::from(!is_moved);
    }

    /// Moves the nodes of the table at `root_at` that a look-up of `position` goes through. Answers the records of the
    /// bucket that `position` belongs to, and where the next one begins.
    fn table_step(
        &mut self,
        view: &mut View<'_>,
        root_at: u64,
        position: u64,
    ) -> (Vec<Record>, Option<u64>) {
        let root = NodeRef::from_raw(view.reader().load(root_at));
        if root.form() == Form::Empty {
            return (Vec::new(), None);
        }
        if position == 0 {
            self.look(view, root.at(), |change| change.move_root(root_at));
        }
        let reader = view.reader();
        let root = NodeRef::from_raw(reader.load(root_at));
        if root.form() == Form::Directory {
            let hash = Hash::from_raw(position << (64 - POSITION_BITS));
            let segment = NodeRef::from_raw(reader.load(root.word_at(hash)));
            // Only once: with the first of its buckets.
            if position << (64 - POSITION_BITS + segment.depth()) == 0 {
                self.look(view, segment.at(), |change| {
                    change.move_segment(root_at, hash)
                });
            }
        }
        let reader = view.reader();
        let root = NodeRef::from_raw(reader.load(root_at));
        let mut records = Vec::new();
        let next = walk::scan(&reader, root, position, &mut |record| {
            records.push(record);
        });
        (records, next)
    }
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

    /// Looks at about `blocks_max` blocks and moves those that lie in memory to be emptied. Answers what was done, and
    /// where the next step goes on; `None` at the end.
    pub fn defrag_step(
        &self,
        worker: &mut Worker,
        mut cursor: DefragCursor,
        blocks_max: u64,
    ) -> (Moved, Option<DefragCursor>) {
        /// Slots without keys that one step passes.
        const SLOTS_MAX: usize = 4096;
        let mut moved = Moved::default();
        for _ in 0..SLOTS_MAX {
            if !cursor.insides.is_empty() {
                self.defrag_inside(worker, &mut cursor, &mut moved);
            } else if self.len(cursor.db) > 0 && self.slot_len(cursor.db, cursor.slot) > 0 {
                self.defrag_bucket(worker, &mut cursor, &mut moved);
            } else {
                cursor.position = 0;
            }
            if cursor.position == 0 && cursor.insides.is_empty() {
                let is_last = self.len(cursor.db) == 0 || usize::from(cursor.slot) == SLOTS - 1;
                cursor.slot = if is_last { 0 } else { cursor.slot + 1 };
                cursor.db += u8::from(is_last);
                if usize::from(cursor.db) == DATABASES_MAX {
                    return (moved, None);
                }
            }
            if moved.hits + moved.misses >= blocks_max {
                break;
            }
        }
        (moved, Some(cursor))
    }

    /// Moves what belongs to one bucket of a slot, and goes on to the slot's next one: position zero, if it was the last.
    fn defrag_bucket(&self, worker: &mut Worker, cursor: &mut DefragCursor, moved: &mut Moved) {
        let (db, slot, position) = (cursor.db, cursor.slot, cursor.position);
        cursor.position = 0;
        let (guard, slots) = (self.pin(), [slot]);
        let mut view = self.view(worker, &guard, Access::Slots(&slots), 0);
        let Some(array) = self.array(&view.reader(), db) else {
            return;
        };
        let slot_at = root::slot_at(array, slot);
        let mut mover = Mover {
            moved,
            choice: cursor.choice,
        };
        if position == 0 && field_index::index_of(&view.reader(), array).is_some() {
            cursor.insides.push(Inside::of_index());
        }
        let (records, next) = mover.table_step(&mut view, slot_at, position);
        for record in records {
            let reader = view.reader();
            let blob = Blob::read(&reader, record.blob());
            let entry = Entry { db, slot, slot_at };
            let Some(kind) = object::large(&blob) else {
                let is_moved = mover.look(&mut view, record.blob(), |change| {
                    change.move_entry(&entry, record, false)
                });
                mover.count_key(is_moved);
                continue;
            };
            let pool = self.pool();
            let header = mover.wants(pool, blob.value_word(&reader));
            let is_wanted = header || mover.wants(pool, record.blob());
            let is_moved = is_wanted
                && view
                    .change(|change| change.move_entry(&entry, record, header))
                    .is_ok();
            mover.count(is_moved);
            let key = blob.key(&reader).into();
            cursor.insides.push(Inside::of(key, kind, is_moved));
        }
        view.commit();
        cursor.position = next.unwrap_or_default();
    }

    /// Moves a piece of the large value that the walk has gone into.
    fn defrag_inside(&self, worker: &mut Worker, cursor: &mut DefragCursor, moved: &mut Moved) {
        let Some(mut inside) = cursor.insides.pop() else {
            return;
        };
        let (guard, slots) = (self.pin(), [cursor.slot]);
        let mut view = self.view(worker, &guard, Access::Slots(&slots), 0);
        let mut mover = Mover {
            moved,
            choice: cursor.choice,
        };
        let has_more = inside.step(&mut view, &mut mover, cursor.db, cursor.slot);
        view.commit();
        if has_more {
            cursor.insides.push(inside);
        } else if let Some(is_hit) = inside.key_is_hit() {
            mover.count_key(is_hit);
        }
    }
}
