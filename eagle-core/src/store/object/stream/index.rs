//! The trees of a stream: blocks that begin with their id, in id order.
//!
//! An entry of the tree is the id's time and the block; the sequence number is looked up in the block, when the times
//! are the same.

use crate::store::btree::{Cursor, Entry, Order, Tree};
use crate::store::dash::{Words, WordsMut};
use crate::store::error::StoreError;

use super::id::StreamId;

/// Sorted by the id that the blocks begin with.
pub(in crate::store) struct ById;

impl Order for ById {
    const KEYED: bool = true;
    const UNIT: bool = true;

    fn weight(_: u64) -> u64 {
        1
    }
}

/// The tree whose root word is at `root_at`.
#[derive(Clone, Copy)]
pub(in crate::store) struct Index {
    root_at: u64,
}

impl Index {
    /// The tree whose root word is at `root_at`.
    pub(in crate::store) fn at(root_at: u64) -> Index {
        Index { root_at }
    }

    fn tree(self) -> Tree<ById> {
        Tree::new(self.root_at)
    }

    /// Number of blocks.
    pub(in crate::store) fn len<W: Words>(self, words: &W) -> u64 {
        self.tree().weight(words)
    }

    /// A walk whose next block is the first one not before `id`.
    pub(in crate::store) fn from<W: Words>(self, words: &W, id: StreamId) -> Walk {
        Walk(
            self.tree()
                .seek(words, |entry| id_of(words, entry, id) < id),
        )
    }

    /// A walk whose block before is the last one not after `id`.
    pub(in crate::store) fn behind<W: Words>(self, words: &W, id: StreamId) -> Walk {
        Walk(
            self.tree()
                .seek(words, |entry| id_of(words, entry, id) <= id),
        )
    }

    /// The block with this id.
    pub(in crate::store) fn get<W: Words>(self, words: &W, id: StreamId) -> Option<u64> {
        let found = self.from(words, id).0.entry(words)?;
        (id_of(words, found, id) == id).then_some(found.b)
    }

    /// The first block.
    pub(in crate::store) fn first<W: Words>(self, words: &W) -> Option<u64> {
        self.tree().first(words).entry(words).map(|entry| entry.b)
    }

    /// The last block.
    pub(in crate::store) fn last<W: Words>(self, words: &W) -> Option<u64> {
        Walk(self.tree().end(words)).previous(words)
    }

    /// The last block whose id is not after `id`.
    pub(in crate::store) fn floor<W: Words>(self, words: &W, id: StreamId) -> Option<u64> {
        self.behind(words, id).previous(words)
    }

    /// Adds a block, whose id is not there.
    pub(in crate::store) fn insert<M: WordsMut>(
        self,
        words: &mut M,
        id: StreamId,
        block: u64,
    ) -> Result<(), StoreError> {
        let place = self.from(words, id).0;
        let entry = Entry { a: id.ms, b: block };
        self.tree().insert(words, &place, entry)
    }

    /// Puts another block in the place of the one with this id, which is there.
    pub(in crate::store) fn replace<M: WordsMut>(
        self,
        words: &mut M,
        id: StreamId,
        block: u64,
    ) -> Result<(), StoreError> {
        let place = self.from(words, id).0;
        let entry = Entry { a: id.ms, b: block };
        self.tree().replace(words, &place, entry)
    }

    /// Takes the block with this id out, which is there.
    pub(in crate::store) fn remove<M: WordsMut>(
        self,
        words: &mut M,
        id: StreamId,
    ) -> Result<(), StoreError> {
        let place = self.from(words, id).0;
        self.tree().remove(words, &place).map(drop)
    }

    /// Takes a piece of the tree apart, passing its blocks to `drop_block`; whether nothing is left.
    pub(in crate::store) fn dismantle<M: WordsMut>(
        self,
        words: &mut M,
        drop_block: &mut impl FnMut(&mut M, u64) -> Result<(), StoreError>,
    ) -> Result<bool, StoreError> {
        self.tree()
            .dismantle(words, &mut |words, entry| drop_block(words, entry.b))
    }
}

/// The id of an entry as far as a comparison with `id` needs it.
fn id_of<W: Words>(words: &W, entry: Entry, id: StreamId) -> StreamId {
    let seq = if entry.a == id.ms {
        words.load(entry.b + 8)
    } else {
        0
    };
    StreamId::new(entry.a, seq)
}

/// A place between blocks, to walk on from in both directions.
pub(in crate::store) struct Walk(Cursor<ById>);

impl Walk {
    /// The next block, and over it.
    pub(in crate::store) fn next<W: Words>(&mut self, words: &W) -> Option<u64> {
        let entry = self.0.entry(words)?;
        self.0.next(words);
        Some(entry.b)
    }

    /// The block before, and back over it.
    pub(in crate::store) fn previous<W: Words>(&mut self, words: &W) -> Option<u64> {
        if !self.0.prev(words) {
            return None;
        }
        self.0.entry(words).map(|entry| entry.b)
    }
}
