//! What lies where in a node.
//!
//! ```text
//!   head     u8 level | u8 capacity | u8 entries or children | ...
//!   leaf     64-byte line: head (3 bytes), order (61 bytes: entry numbers); then capacity x { u64 a, u64 b }
//!   inner    32 bytes: head (8 bytes), zero; then capacity x u64 weight, capacity x u64 child,
//!            capacity x { u64 a, u64 b } first entry
//! ```

use super::Entry;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most entries in a leaf: 1 KiB.
pub(super) const LEAF_MAX: usize = 60;

/// Most children of an inner node: 2 KiB.
pub(super) const INNER_MAX: usize = 63;

/// Words of a leaf's line.
pub(super) const LINE_WORDS: usize = 8;

/// Bytes of the line before the order.
pub(super) const ORDER_AT: usize = 3;

/// Words of an inner node before its arrays.
pub(super) const INNER_HEAD_WORDS: usize = 4;

/// Levels that no tree reaches; a walk that goes deeper has met a damaged node.
pub(super) const LEVELS_MAX: usize = 24;

/// Capacities of leaves: 128, 256, 512, 768 and 1024 bytes.
const LEAF_RUNGS: [usize; 5] = [4, 12, 28, 44, LEAF_MAX];

/// Capacities of inner nodes: 512, 1024 and 2048 bytes.
const INNER_RUNGS: [usize; 3] = [15, 31, INNER_MAX];

const _: () = assert!(ORDER_AT + LEAF_MAX <= 8 * LINE_WORDS);
const _: () = assert!(leaf_words(LEAF_MAX) == 128 && inner_words(INNER_MAX) == 256);

/// The capacity of a leaf for `len` entries.
pub(super) fn leaf_capacity(len: usize, max: usize) -> usize {
    rung(&LEAF_RUNGS, len, max)
}

/// The capacity of an inner node for `len` children.
pub(super) fn inner_capacity(len: usize, max: usize) -> usize {
    rung(&INNER_RUNGS, len, max)
}

fn rung(rungs: &[usize], len: usize, max: usize) -> usize {
    debug_assert!(len <= max);
    let rung = rungs.iter().copied().find(|&rung| rung >= len);
    rung.unwrap_or(max).min(max)
}

/// Words of a leaf.
pub(super) const fn leaf_words(capacity: usize) -> usize {
    LINE_WORDS + 2 * capacity
}

/// Words of an inner node.
pub(super) const fn inner_words(capacity: usize) -> usize {
    INNER_HEAD_WORDS + 4 * capacity
}

/// Words of the largest node.
pub(super) const NODE_WORDS_MAX: usize = inner_words(INNER_MAX);

/// Words of a node with this head; a damaged one has no more than the largest.
pub(super) fn node_words(head: Head) -> usize {
    match head.level {
        0 => leaf_words(head.capacity.min(LEAF_MAX)),
        _ => inner_words(head.capacity.min(INNER_MAX)),
    }
}

/// The first bytes of every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) level: usize,
    pub(super) capacity: usize,
    pub(super) len: usize,
}

impl Head {
    /// Reads the first word of a node.
    #[inline]
    pub(super) fn of(word: u64) -> Head {
        let [level, capacity, len, ..] = word.to_le_bytes();
        Head {
            level: level.into(),
            capacity: capacity.into(),
            len: len.into(),
        }
    }

    /// The head's bytes, in the low bytes of a word.
    #[inline]
    pub(super) fn raw(self) -> u64 {
        u64::from_le_bytes([
            self.level as u8,
            self.capacity as u8,
            self.len as u8,
            0,
            0,
            0,
            0,
            0,
        ])
    }
}

/// The entry at byte offset `at`.
#[inline]
pub(super) fn entry_at<W: super::Words>(words: &W, at: u64) -> Entry {
    Entry {
        a: words.load(at),
        b: words.load(at + 8),
    }
}

/// Word number `i` of a run. What a damaged node says there is beyond its end reads as zero.
#[inline]
pub(super) fn word(run: &[AtomicU64], i: usize) -> u64 {
    run.get(i).map_or(0, |word| word.load(Ordering::Acquire))
}

/// An entry in a run of words, not read yet: most searches can tell by `a` alone.
#[derive(Clone, Copy)]
pub(super) struct EntryAt<'r> {
    run: &'r [AtomicU64],
    word: usize,
}

impl<'r> EntryAt<'r> {
    /// The entry that begins with word number `word`.
    #[inline]
    pub(super) fn new(run: &'r [AtomicU64], word: usize) -> EntryAt<'r> {
        EntryAt { run, word }
    }

    #[inline]
    pub(super) fn a(self) -> u64 {
        word(self.run, self.word)
    }

    #[inline]
    pub(super) fn b(self) -> u64 {
        word(self.run, self.word + 1)
    }

    #[inline]
    pub(super) fn entry(self) -> Entry {
        Entry {
            a: self.a(),
            b: self.b(),
        }
    }
}

/// The first number in `from..to` for which `before` does not hold, given that it holds for a front part of them.
#[inline]
pub(super) fn partition(from: usize, to: usize, mut before: impl FnMut(usize) -> bool) -> usize {
    let (mut low, mut high) = (from, to.max(from));
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
