//! Inner nodes: three arrays in parallel, in order of the children.

use smallvec::SmallVec;

use super::layout::{
    EntryAt, Head, INNER_HEAD_WORDS, INNER_MAX, entry_at, inner_capacity, inner_words, partition,
    word,
};
use super::{Entry, Order, Words, WordsMut};
use crate::store::error::StoreError;
use std::sync::atomic::Ordering;

/// A child and what its parent knows of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub(super) at: u64,
    pub(super) weight: u64,
    /// The first entry below it; of a node's first child, and in trees that are not keyed, anything.
    pub(super) first: Entry,
}

/// Children of an inner node.
pub(super) type Children = SmallVec<[Child; INNER_MAX + 1]>;

/// An inner node, its head read.
#[derive(Clone, Copy)]
pub(super) struct Inner {
    pub(super) at: u64,
    pub(super) head: Head,
}

impl Inner {
    /// Reads the head of the node at byte offset `at`. A damaged head counts no more children than there can be.
    #[inline]
    pub(super) fn load<W: Words>(words: &W, at: u64) -> Inner {
        let mut head = Head::of(words.load(at));
        head.capacity = head.capacity.min(INNER_MAX);
        head.len = head.len.min(head.capacity);
        Inner { at, head }
    }

    /// A fresh node with these children.
    pub(super) fn alloc<O: Order, M: WordsMut>(
        words: &mut M,
        level: usize,
        children: &[Child],
    ) -> Result<u64, StoreError> {
        let capacity = inner_capacity(children.len(), O::INNER_MAX);
        let head = Head {
            level,
            capacity,
            len: children.len(),
        };
        let mut image: SmallVec<[u64; inner_words(INNER_MAX)]> =
            SmallVec::from_elem(0, inner_words(capacity));
        image[0] = head.raw();
        let (weights, ats, firsts) = (
            INNER_HEAD_WORDS,
            INNER_HEAD_WORDS + capacity,
            INNER_HEAD_WORDS + 2 * capacity,
        );
        for (i, child) in children.iter().enumerate() {
            image[weights + i] = child.weight;
            image[ats + i] = child.at;
            if O::KEYED {
                image[firsts + 2 * i] = child.first.a;
                image[firsts + 2 * i + 1] = child.first.b;
            }
        }
        words.alloc_words(&image)
    }

    /// Number of children.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.head.len
    }

    fn word_at(&self, word: usize) -> u64 {
        self.at + 8 * (INNER_HEAD_WORDS + word) as u64
    }

    fn weight_at(&self, index: usize) -> u64 {
        self.word_at(index)
    }

    fn child_at(&self, index: usize) -> u64 {
        self.word_at(self.head.capacity + index)
    }

    fn first_at(&self, index: usize) -> u64 {
        self.word_at(2 * (self.head.capacity + index))
    }

    /// The weight below child `index`.
    #[inline]
    pub(super) fn weight<W: Words>(&self, words: &W, index: usize) -> u64 {
        words.load(self.weight_at(index))
    }

    /// The summed weight of the first `len` children.
    pub(super) fn weights<W: Words>(&self, words: &W, len: usize) -> u64 {
        words.run(self.weight_at(0), len, |run| {
            let weights = run.iter().map(|weight| weight.load(Ordering::Acquire));
            weights.fold(0, u64::wrapping_add)
        })
    }

    /// The child in which the weight `position` falls, and how far into it; the last child if there is less weight.
    pub(super) fn seek_weight<W: Words>(&self, words: &W, position: u64) -> (usize, u64) {
        words.run(self.weight_at(0), self.len(), |run| {
            let (mut index, mut rest) = (0, position);
            while index + 1 < run.len() {
                let weight = word(run, index);
                if rest < weight {
                    break;
                }
                rest -= weight;
                index += 1;
            }
            (index, rest)
        })
    }

    /// The last child whose first entry is `before`, the first child if none is; the tree is keyed.
    #[inline]
    pub(super) fn seek<W: Words>(
        &self,
        words: &W,
        before: &mut impl FnMut(EntryAt<'_>) -> bool,
    ) -> usize {
        words.run(self.first_at(0), 2 * self.len(), |run| {
            partition(1, self.len(), |i| before(EntryAt::new(run, 2 * i))) - 1
        })
    }

    /// Byte offset of child `index`.
    #[inline]
    pub(super) fn child<W: Words>(&self, words: &W, index: usize) -> u64 {
        words.load(self.child_at(index))
    }

    /// The first entry below child `index`, which is not the first child; the tree is keyed.
    #[inline]
    pub(super) fn first<W: Words>(&self, words: &W, index: usize) -> Entry {
        entry_at(words, self.first_at(index))
    }

    /// All children.
    pub(super) fn children<W: Words>(&self, words: &W) -> Children {
        let capacity = self.head.capacity;
        words.run(self.word_at(0), 4 * capacity, |run| {
            let children = (0..self.len()).map(|i| Child {
                at: word(run, capacity + i),
                weight: word(run, i),
                first: EntryAt::new(run, 2 * (capacity + i)).entry(),
            });
            children.collect()
        })
    }

    /// Changes the number of children.
    pub(super) fn set_len<M: WordsMut>(
        &mut self,
        words: &mut M,
        len: usize,
    ) -> Result<(), StoreError> {
        self.head.len = len;
        words.store_apart(self.at, self.head.raw())
    }

    /// Names another node as child `index`.
    pub(super) fn set_child<M: WordsMut>(
        &self,
        words: &mut M,
        index: usize,
        at: u64,
    ) -> Result<(), StoreError> {
        words.store_apart(self.child_at(index), at)
    }

    /// Sets the weight below child `index`.
    pub(super) fn set_weight<M: WordsMut>(
        &self,
        words: &mut M,
        index: usize,
        weight: u64,
    ) -> Result<(), StoreError> {
        words.store_apart(self.weight_at(index), weight)
    }

    /// Sets the first entry below child `index`.
    pub(super) fn set_first<M: WordsMut>(
        &self,
        words: &mut M,
        index: usize,
        first: Entry,
    ) -> Result<(), StoreError> {
        words.store_words(self.first_at(index), &[first.a, first.b])
    }

    /// Puts a child before number `index`; there is room.
    pub(super) fn insert<O: Order, M: WordsMut>(
        &mut self,
        words: &mut M,
        index: usize,
        child: Child,
    ) -> Result<(), StoreError> {
        let len = self.len();
        debug_assert!(index <= len && len < self.head.capacity);
        let mut moved = self.children(words);
        moved.insert(index, child);
        self.store_arrays::<O, M>(words, index, &moved[index..])?;
        self.set_len(words, len + 1)
    }

    /// Takes child number `index` out.
    pub(super) fn remove<O: Order, M: WordsMut>(
        &mut self,
        words: &mut M,
        index: usize,
    ) -> Result<(), StoreError> {
        let len = self.len();
        let moved = self.children(words);
        self.store_arrays::<O, M>(words, index, &moved[index + 1..])?;
        self.set_len(words, len - 1)
    }

    /// Stores children from number `index` on.
    fn store_arrays<O: Order, M: WordsMut>(
        &self,
        words: &mut M,
        index: usize,
        children: &[Child],
    ) -> Result<(), StoreError> {
        let weights: SmallVec<[u64; INNER_MAX]> = children.iter().map(|c| c.weight).collect();
        let ats: SmallVec<[u64; INNER_MAX]> = children.iter().map(|c| c.at).collect();
        words.store_words(self.weight_at(index), &weights)?;
        words.store_words(self.child_at(index), &ats)?;
        if O::KEYED {
            let firsts: SmallVec<[u64; 2 * INNER_MAX]> = children
                .iter()
                .flat_map(|child| [child.first.a, child.first.b])
                .collect();
            words.store_words(self.first_at(index), &firsts)?;
        }
        Ok(())
    }
}
