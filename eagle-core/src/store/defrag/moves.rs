//! The moves: each puts a copy of one block in its place, everywhere it is named.
//!
//! A copy is made first, then what names the block is changed (by logged stores, if it is read under the slot's lock
//! only), then, where lock-free readers find it, by the one publish of the change. The old block is freed with the same
//! transaction, and stays as it was for readers that have met it.

use crate::pmem::Offset;
use crate::store::blob::Blob;
use crate::store::btree::{self, Order, Tree};
use crate::store::change::Change;
use crate::store::dash::hash::Hash;
use crate::store::dash::layout::{NodeRef, Record};
use crate::store::dash::{Words, WordsMut, directory, table};
use crate::store::encoding::score::order_key;
use crate::store::error::StoreError;
use crate::store::field_index;
use crate::store::object::stream::index::{ById, Index};
use crate::store::object::stream::{LEN_AT, PENDING_CONSUMER_AT, TREE_AT, id_of_block};
use crate::store::object::timed_table::{TimedTable, move_due};
use crate::store::object::zset::{Member, Sorted};

/// A consumer's name is not moved if it has more pendings than this, each of which names it.
const PENDINGS_MAX: u64 = 1024;

/// Where an entry is.
pub(super) struct Entry {
    pub(super) db: u8,
    pub(super) slot: u16,
    /// Byte offset of the slot's words.
    pub(super) slot_at: u64,
}

/// What a name of a stream is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Group,
    Consumer,
}

impl<'a> Change<'_, 'a> {
    /// The first bytes of a block. Words of it that readers may store (access clocks) are read as such.
    fn bytes_of(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.writer
            .pool
            .load_bytes(Offset::from_raw(at), &mut bytes);
        bytes
    }

    /// A fresh block with these bytes.
    fn block_with(&mut self, bytes: &[u8]) -> Result<u64, StoreError> {
        let at = self.writer.alloc(bytes.len())?;
        self.writer.fill(at, bytes);
        Ok(at)
    }

    /// A fresh copy of a block, whatever of it is used.
    pub(super) fn copied_block(&mut self, at: u64) -> Result<u64, StoreError> {
        let bytes = self.bytes_of(at, self.writer.block_bytes(at) as usize);
        self.block_with(&bytes)
    }

    /// Moves the node or directory that the table's root word names.
    pub(super) fn move_root(&mut self, root_at: u64) -> Result<(), StoreError> {
        let root = NodeRef::from_raw(self.writer.load(root_at));
        let at = self.copied_block(root.at())?;
        self.writer.publish(root_at, root.moved(at).raw())?;
        self.writer.free(root.at())
    }

    /// Moves the segment that holds a hash, in a table with a directory.
    pub(super) fn move_segment(&mut self, root_at: u64, hash: Hash) -> Result<(), StoreError> {
        let root = NodeRef::from_raw(self.writer.load(root_at));
        let segment = NodeRef::from_raw(self.writer.load(root.word_at(hash)));
        let at = self.copied_block(segment.at())?;
        directory::rename(&mut self.writer, root, hash, segment.moved(at))?;
        self.writer.free(segment.at())
    }

    /// Moves the blob of a record in the table at `root_at`. `value` is what its value becomes, if it changes; `relink`
    /// changes what else names the blob.
    fn move_blob(
        &mut self,
        root_at: u64,
        record: Record,
        value: Option<u64>,
        relink: impl FnOnce(&mut Self, &Blob, u64) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let reader = self.writer.reader();
        let blob = Blob::of(&reader, record);
        let key = blob.key(&reader);
        let hash = reader.hasher.hash(key);
        let root = NodeRef::from_raw(reader.load(root_at));
        let found = table::find(&reader, root, hash, key).expect("found by the walk");
        let mut bytes = self.bytes_of(record.blob(), blob.len() as usize);
        if let Some(value) = value {
            let from = bytes.len() - 8;
            bytes[from..].copy_from_slice(&value.to_le_bytes());
        }
        let at = self.block_with(&bytes)?;
        relink(self, &blob, at)?;
        let fresh = Record::new(at, found.record.meta());
        table::replace(&mut self.writer, &found, fresh)?;
        self.writer.free(record.blob())
    }

    /// Moves the blob of an entry; with the header of its large value, if `with_header`.
    pub(super) fn move_entry(
        &mut self,
        entry: &Entry,
        record: Record,
        with_header: bool,
    ) -> Result<(), StoreError> {
        let reader = self.writer.reader();
        let blob = Blob::read(&reader, record.blob());
        let header = match with_header {
            true => Some(blob.value_word(&reader)),
            false => None,
        };
        let copy = header.map(|header| self.copied_block(header)).transpose()?;
        let dues = self.dues(entry.db, entry.slot);
        self.move_blob(entry.slot_at, record, copy, |change, blob, at| {
            let reader = change.writer.reader();
            match (dues, field_index::due_of(&reader, blob)) {
                (Some(dues), Some(due)) => {
                    let key = blob.key(&reader);
                    move_due(dues, &mut change.writer, key, Some(due), Some((due, at)))
                }
                _ => Ok(()),
            }
        })?;
        header.map_or(Ok(()), |header| self.writer.free(header))
    }

    /// Moves a member of a large hash or set.
    pub(super) fn move_member(&mut self, root_at: u64, record: Record) -> Result<(), StoreError> {
        self.move_blob(root_at, record, None, |_, _, _| Ok(()))
    }

    /// Moves a member of a large sorted set.
    pub(super) fn move_ranked(&mut self, set: Sorted, record: Record) -> Result<(), StoreError> {
        self.move_blob(set.header, record, None, |change, _, at| {
            let reader = change.writer.reader();
            let (name, score) = Member::read(&reader, record.blob()).scored(&reader);
            let place = set.place(&reader, (name, score));
            let entry = btree::Entry {
                a: order_key(score),
                b: at,
            };
            set.tree().replace(&mut change.writer, &place, entry)
        })
    }

    /// Moves a field of a large hash whose fields may expire.
    pub(super) fn move_timed(
        &mut self,
        table: TimedTable,
        record: Record,
    ) -> Result<(), StoreError> {
        self.move_blob(table.header, record, None, |change, blob, at| {
            let reader = change.writer.reader();
            match blob.ttl_at(&reader, record) {
                Some(due) => move_due(
                    table.dues(),
                    &mut change.writer,
                    blob.key(&reader),
                    Some(due),
                    Some((due, at)),
                ),
                None => Ok(()),
            }
        })
    }

    /// Moves what the entry of a tree at a position refers to.
    pub(super) fn move_referred<O: Order>(
        &mut self,
        tree: Tree<O>,
        position: u64,
    ) -> Result<(), StoreError> {
        let (place, _) = tree.seek_weight(&self.writer, position);
        let Some(entry) = place.entry(&self.writer) else {
            return Ok(());
        };
        let at = self.copied_block(entry.b)?;
        let fresh = btree::Entry { b: at, ..entry };
        tree.replace(&mut self.writer, &place, fresh)?;
        self.writer.free(entry.b)
    }

    /// Moves a block that one word names.
    pub(super) fn move_named_by(&mut self, word_at: u64) -> Result<(), StoreError> {
        let old = self.writer.load(word_at);
        let at = self.copied_block(old)?;
        self.writer.publish(word_at, at)?;
        self.writer.free(old)
    }

    /// Moves a pending: in the tree of its group, and in that of its consumer.
    pub(super) fn move_pending(
        &mut self,
        group: Tree<ById>,
        position: u64,
    ) -> Result<(), StoreError> {
        let (place, _) = group.seek_weight(&self.writer, position);
        let Some(entry) = place.entry(&self.writer) else {
            return Ok(());
        };
        let reader = self.writer.reader();
        let id = id_of_block(&reader, entry.b);
        let consumer = reader.load(entry.b + PENDING_CONSUMER_AT);
        let consumer = Blob::read(&reader, consumer).value_word(&reader);
        let at = self.copied_block(entry.b)?;
        let fresh = btree::Entry { b: at, ..entry };
        group.replace(&mut self.writer, &place, fresh)?;
        Index::at(consumer + TREE_AT).replace(&mut self.writer, id, at)?;
        self.writer.free(entry.b)
    }

    /// Moves the name of a group or consumer, and with it its block if `with_block`. The caller has made sure that it
    /// [may be moved](may_move_named).
    pub(super) fn move_named(
        &mut self,
        named: Named,
        root_at: u64,
        record: Record,
        with_block: bool,
    ) -> Result<(), StoreError> {
        let reader = self.writer.reader();
        let block = Blob::read(&reader, record.blob()).value_word(&reader);
        let copy = match with_block {
            true => Some(self.copied_block(block)?),
            false => None,
        };
        self.move_blob(root_at, record, copy, |change, _, at| {
            if named == Named::Group {
                return Ok(());
            }
            let reader = change.writer.reader();
            let mut pendings = Tree::<ById>::new(block + TREE_AT).first(&reader);
            while let Some(pending) = pendings.entry(&reader) {
                pendings.next(&reader);
                change
                    .writer
                    .store_apart(pending.b + PENDING_CONSUMER_AT, at)?;
            }
            Ok(())
        })?;
        match with_block {
            true => self.writer.free(block),
            false => Ok(()),
        }
    }
}

/// Whether the name of a group or consumer is named by few enough blocks to be moved in one transaction.
pub(super) fn may_move_named<W: Words>(words: &W, named: Named, block: u64) -> bool {
    named == Named::Group || words.load(block + LEN_AT) <= PENDINGS_MAX
}
