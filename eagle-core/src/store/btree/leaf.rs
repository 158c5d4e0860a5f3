//! Leaves: entries that stay where they were put, and the line that orders them.

use smallvec::SmallVec;

use super::layout::{
    EntryAt, Head, LEAF_MAX, LINE_WORDS, ORDER_AT, entry_at, leaf_capacity, leaf_words, word,
};
use super::{Entry, Order, Words, WordsMut};
use crate::store::error::StoreError;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries of a leaf, in order.
pub(super) type Entries = SmallVec<[Entry; LEAF_MAX + 1]>;

/// A leaf, its line read.
#[derive(Clone, Copy)]
pub(super) struct Leaf {
    pub(super) at: u64,
    line: [u8; 8 * LINE_WORDS],
}

impl Leaf {
    /// Reads the line of the leaf at byte offset `at`.
    #[inline]
    pub(super) fn load<W: Words>(words: &W, at: u64) -> Leaf {
        let mut line = [0; 8 * LINE_WORDS];
        words.run(at, LINE_WORDS, |run| {
            for (bytes, word) in line.as_chunks_mut().0.iter_mut().zip(run) {
                *bytes = word.load(Ordering::Acquire).to_le_bytes();
            }
        });
        Leaf { at, line }
    }

    /// A fresh leaf with these entries, on the lowest rung that holds them.
    pub(super) fn alloc<O: Order, M: WordsMut>(
        words: &mut M,
        entries: &[Entry],
    ) -> Result<u64, StoreError> {
        let capacity = leaf_capacity(entries.len(), O::LEAF_MAX);
        let mut line = [0; 8 * LINE_WORDS];
        line[1] = capacity as u8;
        line[2] = entries.len() as u8;
        for (i, place) in line[ORDER_AT..ORDER_AT + capacity].iter_mut().enumerate() {
            *place = i as u8;
        }
        let mut image = [0; leaf_words(LEAF_MAX)];
        let (head, places) = image.split_at_mut(LINE_WORDS);
        head.copy_from_slice(&line_words(&line));
        for (place, entry) in places.as_chunks_mut().0.iter_mut().zip(entries) {
            *place = [entry.a, entry.b];
        }
        words.alloc_words(&image[..leaf_words(capacity)])
    }

    /// Number of entries. A damaged head counts no more than there is room for.
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.line[2]).min(self.capacity())
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        usize::from(self.line[1]).min(LEAF_MAX)
    }

    /// The order: places in use, then free ones.
    pub(super) fn order(&self) -> &[u8] {
        &self.line[ORDER_AT..ORDER_AT + self.capacity()]
    }

    fn place_at(&self, index: usize) -> u64 {
        let place = u64::from(self.line[ORDER_AT + index]);
        self.at + 8 * LINE_WORDS as u64 + 16 * place
    }

    /// Entry number `index`.
    #[inline]
    pub(super) fn entry<W: Words>(&self, words: &W, index: usize) -> Entry {
        debug_assert!(index < self.len());
        entry_at(words, self.place_at(index))
    }

    /// All entries, in order.
    pub(super) fn entries<W: Words>(&self, words: &W) -> Entries {
        words.run(self.at, leaf_words(self.capacity()), |run| {
            let entries = self.first_entries(run, self.len());
            entries.map(EntryAt::entry).collect()
        })
    }

    /// The first `len` entries, in order, found among the leaf's words by the line that has been read.
    #[inline]
    fn first_entries<'r>(
        &'r self,
        run: &'r [AtomicU64],
        len: usize,
    ) -> impl Iterator<Item = EntryAt<'r>> + 'r {
        let places = self.order().iter().take(len);
        places.map(|place| EntryAt::new(run, LINE_WORDS + 2 * usize::from(*place)))
    }

    /// The summed weight of the first `len` entries.
    pub(super) fn weight<O: Order, W: Words>(&self, words: &W, len: usize) -> u64 {
        if O::UNIT {
            return len as u64;
        }
        words.run(self.at, leaf_words(self.capacity()), |run| {
            let entries = self.first_entries(run, len);
            entries.map(|entry| O::weight(entry.a())).sum()
        })
    }

    /// Puts an entry before number `index`; there is room.
    pub(super) fn insert<M: WordsMut>(
        &mut self,
        words: &mut M,
        index: usize,
        entry: Entry,
    ) -> Result<(), StoreError> {
        let len = self.len();
        debug_assert!(index <= len && len < self.capacity());
        let old = self.line;
        self.shift(len, index);
        self.line[2] += 1;
        // The place was free, but this transaction may have freed it: a rollback must bring its words back.
        words.store_words(self.place_at(index), &[entry.a, entry.b])?;
        self.store_line(words, &old)
    }

    /// Takes entry number `index` out.
    pub(super) fn remove<M: WordsMut>(
        &mut self,
        words: &mut M,
        index: usize,
    ) -> Result<(), StoreError> {
        let len = self.len();
        debug_assert!(index < len);
        let old = self.line;
        self.shift(index, len - 1);
        self.line[2] -= 1;
        self.store_line(words, &old)
    }

    /// Makes entry number `from` number `to`, and changes it.
    pub(super) fn reorder<M: WordsMut>(
        &mut self,
        words: &mut M,
        from: usize,
        to: usize,
        new: Entry,
    ) -> Result<(), StoreError> {
        self.replace(words, from, self.entry(words, from), new)?;
        let old = self.line;
        self.shift(from, to);
        self.store_line(words, &old)
    }

    /// Lets the place that is number `from` in the order be number `to`.
    fn shift(&mut self, from: usize, to: usize) {
        let order = &mut self.line[ORDER_AT..];
        let place = order[from];
        if from < to {
            order.copy_within(from + 1..=to, from);
        } else {
            order.copy_within(to..from, to + 1);
        }
        order[to] = place;
    }

    /// Changes entry number `index`.
    pub(super) fn replace<M: WordsMut>(
        &self,
        words: &mut M,
        index: usize,
        old: Entry,
        new: Entry,
    ) -> Result<(), StoreError> {
        let at = self.place_at(index);
        match (old.a == new.a, old.b == new.b) {
            (true, true) => Ok(()),
            (false, true) => words.store_apart(at, new.a),
            (true, false) => words.store_apart(at + 8, new.b),
            (false, false) => words.store_words(at, &[new.a, new.b]),
        }
    }

    /// Stores the words of the line that differ from `old`.
    fn store_line<M: WordsMut>(
        &self,
        words: &mut M,
        old: &[u8; 8 * LINE_WORDS],
    ) -> Result<(), StoreError> {
        let (old, new) = (line_words(old), line_words(&self.line));
        let differs = |&i: &usize| old[i] != new[i];
        let (Some(first), Some(last)) = (
            (0..LINE_WORDS).find(differs),
            (0..LINE_WORDS).rev().find(differs),
        ) else {
            return Ok(());
        };
        // More than half of a line takes as much of the log as all of it, which is stored in fewer steps.
        if last - first >= LINE_WORDS / 2 {
            return words.store_words(self.at, &new);
        }
        words.store_words(self.at + 8 * first as u64, &new[first..=last])
    }
}

fn line_words(line: &[u8; 8 * LINE_WORDS]) -> [u64; LINE_WORDS] {
    let mut words = [0; LINE_WORDS];
    for (word, bytes) in words.iter_mut().zip(line.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// The head of a node that may be a leaf.
#[inline]
pub(super) fn head<W: Words>(words: &W, at: u64) -> Head {
    Head::of(words.load(at))
}

/// Number of entries of the leaf at `at`, without reading its line.
#[inline]
pub(super) fn len<W: Words>(words: &W, at: u64) -> usize {
    let head = head(words, at);
    head.len.min(head.capacity).min(LEAF_MAX)
}

/// A leaf as it lies in the pool, for a look at many of its entries.
pub(super) struct Look<'r> {
    run: &'r [AtomicU64],
    len: usize,
}

impl<'r> Look<'r> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Entry number `index`.
    #[inline]
    pub(super) fn at(&self, index: usize) -> EntryAt<'r> {
        let byte = ORDER_AT + index;
        let order = word(self.run, byte / 8).to_le_bytes();
        let place = usize::from(order[byte % 8]);
        EntryAt::new(self.run, LINE_WORDS + 2 * place)
    }
}

/// Lets `read` look at the leaf at `at`.
#[inline]
pub(super) fn look<W: Words, T>(words: &W, at: u64, read: impl FnOnce(Look<'_>) -> T) -> T {
    let head = head(words, at);
    let capacity = head.capacity.min(LEAF_MAX);
    let len = head.len.min(capacity);
    words.run(at, leaf_words(capacity), |run| read(Look { run, len }))
}

/// Entry number `index` of the leaf at `at`, of which there may be fewer; reads only what that takes of its line.
#[inline]
pub(super) fn entry<W: Words>(words: &W, at: u64, index: usize) -> Option<Entry> {
    if index >= len(words, at) {
        return None;
    }
    let byte = ORDER_AT + index;
    let order = words.load(at + (byte / 8 * 8) as u64).to_le_bytes();
    let place = u64::from(order[byte % 8]);
    Some(entry_at(words, at + 8 * LINE_WORDS as u64 + 16 * place))
}
