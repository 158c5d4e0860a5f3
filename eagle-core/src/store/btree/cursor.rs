//! Places in a tree: finding them, moving from one to the next, and their distance from the start.

use std::marker::PhantomData;

use smallvec::SmallVec;

use super::inner::Inner;
use super::layout::{EntryAt, LEVELS_MAX, partition};
use super::leaf::{self, Leaf};
use super::{Entry, Order, Words};

/// A node on the way from the root, and which of its children (or entries) the way goes on with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) node: u64,
    pub(super) index: usize,
}

/// The way from the root to a leaf. Empty in the empty tree.
pub(super) type Path = SmallVec<[Step; 5]>;

/// A place before, between or behind the entries of a tree. Valid until the tree changes.
pub(crate) struct Cursor<O> {
    pub(super) path: Path,
    order: PhantomData<fn() -> O>,
}

impl<O> Clone for Cursor<O> {
    fn clone(&self) -> Cursor<O> {
        Cursor {
            path: self.path.clone(),
            order: PhantomData,
        }
    }
}

/// Which way to go at a node.
enum Choice {
    First,
    Last,
}

impl<O: Order> Cursor<O> {
    fn at(path: Path) -> Cursor<O> {
        Cursor {
            path,
            order: PhantomData,
        }
    }

    /// At the first entry.
    pub(super) fn first<W: Words>(words: &W, root: u64) -> Cursor<O> {
        let mut path = Path::new();
        descend(words, root, &Choice::First, &mut path);
        Cursor::at(path)
    }

    /// Behind the last entry.
    pub(super) fn end<W: Words>(words: &W, root: u64) -> Cursor<O> {
        let mut path = Path::new();
        descend(words, root, &Choice::Last, &mut path);
        Cursor::at(path)
    }

    /// At the first entry that is not `before`.
    pub(super) fn seek<W: Words>(
        words: &W,
        root: u64,
        mut before: impl FnMut(Entry) -> bool,
    ) -> Cursor<O> {
        Cursor::seek_by(words, root, |entry| before(entry.entry()))
    }

    /// At the first entry whose `a` is `key` or more, passing over those with `key` whose `b` is `before`.
    pub(super) fn seek_key<W: Words>(
        words: &W,
        root: u64,
        key: u64,
        mut before: impl FnMut(u64) -> bool,
    ) -> Cursor<O> {
        Cursor::seek_by(words, root, |entry| {
            let a = entry.a();
            if a != key { a < key } else { before(entry.b()) }
        })
    }

    #[inline]
    fn seek_by<W: Words>(
        words: &W,
        root: u64,
        mut before: impl FnMut(EntryAt<'_>) -> bool,
    ) -> Cursor<O> {
        debug_assert!(O::KEYED, "only a keyed tree is searched");
        let mut path = Path::new();
        let mut node = root;
        while node != 0 && path.len() < LEVELS_MAX {
            if leaf::head(words, node).level == 0 {
                let index = leaf::look(words, node, |leaf| {
                    partition(0, leaf.len(), |i| before(leaf.at(i)))
                });
                path.push(Step { node, index });
                break;
            }
            let inner = Inner::load(words, node);
            let index = inner.seek(words, &mut before);
            path.push(Step { node, index });
            node = inner.child(words, index);
        }
        Cursor::at(path)
    }

    /// At the entry in which the weight `position` falls, and how far into it; behind the last entry if there is
    /// less weight.
    pub(super) fn seek_weight<W: Words>(words: &W, root: u64, position: u64) -> (Cursor<O>, u64) {
        let mut path = Path::new();
        let mut node = root;
        let mut rest = position;
        while node != 0 && path.len() < LEVELS_MAX {
            if leaf::head(words, node).level == 0 {
                let mut index = 0;
                if O::UNIT {
                    index = leaf::len(words, node).min(rest as usize);
                    rest -= index as u64;
                } else {
                    leaf::look(words, node, |leaf| {
                        while index < leaf.len() {
                            let weight = O::weight(leaf.at(index).a());
                            if rest < weight {
                                break;
                            }
                            rest -= weight;
                            index += 1;
                        }
                    });
                }
                path.push(Step { node, index });
                break;
            }
            let inner = Inner::load(words, node);
            let (index, within) = inner.seek_weight(words, rest);
            rest = within;
            path.push(Step { node, index });
            node = inner.child(words, index);
        }
        (Cursor::at(path), rest)
    }

    /// The entry behind the cursor; `None` at the end of the tree.
    #[inline]
    pub(crate) fn entry<W: Words>(&self, words: &W) -> Option<Entry> {
        let step = self.path.last()?;
        if let Some(entry) = leaf::entry(words, step.node, step.index) {
            return Some(entry);
        }
        let mut next = self.clone();
        next.settle(words).then(|| next.entry(words)).flatten()
    }

    /// Goes over the entry behind the cursor and answers it.
    #[inline]
    pub(crate) fn take<W: Words>(&mut self, words: &W) -> Option<Entry> {
        loop {
            let step = self.path.last_mut()?;
            if let Some(entry) = leaf::entry(words, step.node, step.index) {
                step.index += 1;
                return Some(entry);
            }
            if !self.settle(words) {
                return None;
            }
        }
    }

    /// Goes over the entry behind the cursor; whether there was one.
    pub(crate) fn next<W: Words>(&mut self, words: &W) -> bool {
        if !self.settle(words) {
            return false;
        }
        if let Some(step) = self.path.last_mut() {
            step.index += 1;
        }
        true
    }

    /// Goes back over the entry before the cursor, so that it is the one behind it now; whether there was one.
    pub(crate) fn prev<W: Words>(&mut self, words: &W) -> bool {
        match self.path.last_mut() {
            None => return false,
            Some(step) if step.index > 0 => {
                step.index -= 1;
                return true;
            }
            Some(_) => {}
        }
        let Some(above) = self.path[..self.path.len() - 1]
            .iter()
            .rposition(|step| step.index > 0)
        else {
            return false;
        };
        self.path.truncate(above + 1);
        self.path[above].index -= 1;
        self.descend(words, &Choice::Last);
        match self.path.last_mut() {
            Some(step) if step.index > 0 => {
                step.index -= 1;
                true
            }
            _ => false,
        }
    }

    /// Leaves the end of a leaf for the start of the next one; whether there is an entry behind the cursor.
    pub(super) fn settle<W: Words>(&mut self, words: &W) -> bool {
        let Some((step, above)) = self.path.split_last() else {
            return false;
        };
        if step.index < leaf::len(words, step.node) {
            return true;
        }
        let more = |step: &Step| step.index + 1 < Inner::load(words, step.node).len();
        let Some(above) = above.iter().rposition(more) else {
            return false;
        };
        self.path.truncate(above + 1);
        self.path[above].index += 1;
        self.descend(words, &Choice::First);
        true
    }

    /// Completes a path that ends at an inner node.
    fn descend<W: Words>(&mut self, words: &W, choice: &Choice) {
        if let Some(step) = self.path.last() {
            let child = Inner::load(words, step.node).child(words, step.index);
            descend(words, child, choice, &mut self.path);
        }
    }

    /// The weight between the cursor and the end of its leaf.
    pub(crate) fn leaf_rest<W: Words>(&self, words: &W) -> u64 {
        self.path.last().map_or(0, |step| {
            let leaf = Leaf::load(words, step.node);
            let before = leaf.weight::<O, W>(words, step.index);
            leaf.weight::<O, W>(words, leaf.len())
                .saturating_sub(before)
        })
    }

    /// Levels on the way from the root, counted from there, whose nodes have nothing before the cursor.
    pub(crate) fn levels_begun(&self) -> std::ops::Range<usize> {
        let behind = self.path.iter().rposition(|step| step.index > 0);
        behind.map_or(0, |level| level + 1)..self.path.len()
    }

    /// Byte offset of the node on the way at a level, counted from the root.
    pub(crate) fn node(&self, level: usize) -> Option<u64> {
        self.path.get(level).map(|step| step.node)
    }

    /// The weight of everything before the cursor.
    pub(crate) fn position<W: Words>(&self, words: &W) -> u64 {
        let Some((last, above)) = self.path.split_last() else {
            return 0;
        };
        let leaf = Leaf::load(words, last.node).weight::<O, W>(words, last.index);
        above.iter().fold(leaf, |sum, step| {
            sum.wrapping_add(Inner::load(words, step.node).weights(words, step.index))
        })
    }
}

/// Goes down to a leaf on one side.
fn descend<W: Words>(words: &W, mut node: u64, choice: &Choice, path: &mut Path) {
    while node != 0 && path.len() < LEVELS_MAX {
        let head = leaf::head(words, node);
        if head.level == 0 {
            let index = match choice {
                Choice::First => 0,
                Choice::Last => leaf::len(words, node),
            };
            path.push(Step { node, index });
            return;
        }
        let inner = Inner::load(words, node);
        let index = match choice {
            Choice::First => 0,
            Choice::Last => inner.len().saturating_sub(1),
        };
        path.push(Step { node, index });
        node = inner.child(words, index);
    }
}
