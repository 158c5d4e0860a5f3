//! The tree: insert, replace, remove, and taking it apart.

use std::marker::PhantomData;

use smallvec::SmallVec;

use super::cursor::{Cursor, Step};
use super::inner::{Child, Children, Inner};
use super::layout::{NODE_WORDS_MAX, node_words};
use super::leaf::{self, Leaf};
use super::{Entry, Order, Words, WordsMut};
use crate::store::error::StoreError;

/// A tree, known by the byte offset of its root word.
pub(crate) struct Tree<O> {
    root_at: u64,
    order: PhantomData<fn() -> O>,
}

impl<O> Clone for Tree<O> {
    fn clone(&self) -> Tree<O> {
        *self
    }
}

impl<O> Copy for Tree<O> {}

impl<O: Order> Tree<O> {
    /// The tree whose root word is at byte offset `root_at`.
    pub(crate) fn new(root_at: u64) -> Tree<O> {
        Tree {
            root_at,
            order: PhantomData,
        }
    }

    fn root<W: Words>(self, words: &W) -> u64 {
        words.load(self.root_at)
    }

    /// Whether there are no entries.
    pub(crate) fn is_empty<W: Words>(self, words: &W) -> bool {
        self.root(words) == 0
    }

    /// The weight of all entries.
    pub(crate) fn weight<W: Words>(self, words: &W) -> u64 {
        match self.root(words) {
            0 => 0,
            root if leaf::head(words, root).level == 0 => {
                let leaf = Leaf::load(words, root);
                leaf.weight::<O, W>(words, leaf.len())
            }
            root => {
                let inner = Inner::load(words, root);
                inner.weights(words, inner.len())
            }
        }
    }

    /// A cursor at the first entry.
    pub(crate) fn first<W: Words>(self, words: &W) -> Cursor<O> {
        Cursor::first(words, self.root(words))
    }

    /// A cursor behind the last entry: `prev` goes to it.
    pub(crate) fn end<W: Words>(self, words: &W) -> Cursor<O> {
        Cursor::end(words, self.root(words))
    }

    /// A cursor at the first entry that is not `before`, which must hold for a front part of the entries only. The
    /// tree is keyed.
    pub(crate) fn seek<W: Words>(self, words: &W, before: impl FnMut(Entry) -> bool) -> Cursor<O> {
        Cursor::seek(words, self.root(words), before)
    }

    /// A cursor at the first entry whose `a` is `key` or more, but behind those with `key` whose `b` is `before`. The
    /// tree is keyed, by `a` first.
    pub(crate) fn seek_key<W: Words>(
        self,
        words: &W,
        key: u64,
        before: impl FnMut(u64) -> bool,
    ) -> Cursor<O> {
        Cursor::seek_key(words, self.root(words), key, before)
    }

    /// A cursor at the entry in which the weight `position` falls, and how far into it; behind the last entry, and by
    /// how much too far, if there is less weight.
    pub(crate) fn seek_weight<W: Words>(self, words: &W, position: u64) -> (Cursor<O>, u64) {
        Cursor::seek_weight(words, self.root(words), position)
    }

    /// Puts an entry where the cursor stands: before the entry behind it.
    pub(crate) fn insert<M: WordsMut>(
        self,
        words: &mut M,
        cursor: &Cursor<O>,
        entry: Entry,
    ) -> Result<(), StoreError> {
        let Some((&Step { node, index }, above)) = cursor.path.split_last() else {
            let root = Leaf::alloc::<O, M>(words, &[entry])?;
            return words.store_apart(self.root_at, root);
        };
        add_weight(words, above, O::weight(entry.a))?;
        if index == 0 {
            // Now, because a split moves what the path leads through.
            set_first::<O, M>(words, above, entry)?;
        }
        let mut leaf = Leaf::load(words, node);
        if leaf.len() < leaf.capacity() {
            return leaf.insert(words, index, entry);
        }
        if leaf.capacity() < O::LEAF_MAX {
            let mut entries = leaf.entries(words);
            entries.insert(index, entry);
            let grown = Leaf::alloc::<O, M>(words, &entries)?;
            words.free(node)?;
            return self.set_child(words, above, grown);
        }
        self.split_leaf(words, above, &leaf, index, entry)
    }

    /// Makes two leaves of a full one and another entry.
    fn split_leaf<M: WordsMut>(
        self,
        words: &mut M,
        above: &[Step],
        leaf: &Leaf,
        index: usize,
        entry: Entry,
    ) -> Result<(), StoreError> {
        let mut entries = leaf.entries(words);
        let len = entries.len();
        let edge = |last: bool| {
            above.iter().all(|step| match last {
                true => step.index + 1 == Inner::load(words, step.node).len(),
                false => step.index == 0,
            })
        };
        let (right_edge, left_edge) = (index == len && edge(true), index == 0 && edge(false));
        entries.insert(index, entry);
        let middle = match (right_edge, left_edge) {
            (true, _) => len,
            (_, true) => 1,
            _ => len.div_ceil(2),
        };
        let part = |words: &mut M, entries: &[Entry], keep: bool| -> Result<Child, StoreError> {
            Ok(Child {
                at: match keep {
                    true => leaf.at,
                    false => Leaf::alloc::<O, M>(words, entries)?,
                },
                weight: entries.iter().map(|&entry| O::weight(entry.a)).sum(),
                first: entries[0],
            })
        };
        let left = part(words, &entries[..middle], right_edge)?;
        let right = part(words, &entries[middle..], left_edge)?;
        if !right_edge && !left_edge {
            words.free(leaf.at)?;
        }
        self.put_pair(words, above, 0, left, right)
    }

    /// Puts two nodes of a level in the place of the one that `above` leads to.
    fn put_pair<M: WordsMut>(
        self,
        words: &mut M,
        above: &[Step],
        level: usize,
        left: Child,
        right: Child,
    ) -> Result<(), StoreError> {
        let Some((&Step { node, index }, higher)) = above.split_last() else {
            let root = Inner::alloc::<O, M>(words, level + 1, &[left, right])?;
            return words.store_apart(self.root_at, root);
        };
        let mut parent = Inner::load(words, node);
        parent.set_weight(words, index, left.weight)?;
        if parent.child(words, index) != left.at {
            parent.set_child(words, index, left.at)?;
        }
        if parent.len() < parent.head.capacity {
            return parent.insert::<O, M>(words, index + 1, right);
        }
        let mut children = parent.children(words);
        if parent.head.capacity < O::INNER_MAX {
            children.insert(index + 1, right);
            let grown = Inner::alloc::<O, M>(words, level + 1, &children)?;
            words.free(node)?;
            return self.set_child(words, higher, grown);
        }
        let len = children.len();
        let right_edge = index + 1 == len
            && higher
                .iter()
                .all(|step| step.index + 1 == Inner::load(words, step.node).len());
        let middle = if right_edge { len } else { len.div_ceil(2) };
        let mut rest: Children = children.drain(middle..).collect();
        if index + 1 > middle || right_edge {
            rest.insert(index + 1 - middle, right);
        } else {
            children.insert(index + 1, right);
        }
        let beside = self.node_of(words, level + 1, &rest)?;
        if !right_edge {
            // The children that stay are where they were, but for one that came in between.
            parent.set_len(words, middle)?;
            if children.len() > middle {
                parent.insert::<O, M>(words, index + 1, right)?;
            }
        }
        let own = Child {
            at: node,
            weight: sum(&children),
            first: children[0].first,
        };
        self.put_pair(words, higher, level + 1, own, beside)
    }

    fn node_of<M: WordsMut>(
        self,
        words: &mut M,
        level: usize,
        children: &[Child],
    ) -> Result<Child, StoreError> {
        Ok(Child {
            at: Inner::alloc::<O, M>(words, level, children)?,
            weight: sum(children),
            first: children[0].first,
        })
    }

    /// Names another node as the one that `above` leads to.
    fn set_child<M: WordsMut>(
        self,
        words: &mut M,
        above: &[Step],
        at: u64,
    ) -> Result<(), StoreError> {
        match above.last() {
            None => words.store_apart(self.root_at, at),
            Some(step) => Inner::load(words, step.node).set_child(words, step.index, at),
        }
    }

    /// Moves the node on the way to the cursor at a level, counted from the root, to a fresh block.
    pub(crate) fn move_node<M: WordsMut>(
        self,
        words: &mut M,
        cursor: &Cursor<O>,
        level: usize,
    ) -> Result<(), StoreError> {
        let Some(step) = cursor.path.get(level) else {
            return Ok(());
        };
        let len = node_words(leaf::head(words, step.node));
        let image: SmallVec<[u64; NODE_WORDS_MAX]> = (0..len as u64)
            .map(|i| words.load(step.node + 8 * i))
            .collect();
        let copy = words.alloc_words(&image)?;
        self.set_child(words, &cursor.path[..level], copy)?;
        words.free(step.node)
    }

    /// Changes the entry behind the cursor, if there is one. In a keyed tree the new one belongs in the same place.
    pub(crate) fn replace<M: WordsMut>(
        self,
        words: &mut M,
        cursor: &Cursor<O>,
        entry: Entry,
    ) -> Result<(), StoreError> {
        let mut cursor = cursor.clone();
        if !cursor.settle(words) {
            return Ok(());
        }
        let Some((&Step { node, index }, above)) = cursor.path.split_last() else {
            return Ok(());
        };
        let leaf = Leaf::load(words, node);
        let old = leaf.entry(words, index);
        leaf.replace(words, index, old, entry)?;
        let (was, is) = (O::weight(old.a), O::weight(entry.a));
        if was != is {
            add_weight(words, above, is.wrapping_sub(was))?;
        }
        if index == 0 && old != entry {
            set_first::<O, M>(words, above, entry)?;
        }
        Ok(())
    }

    /// Moves the entry behind one cursor to where another one stands, and changes it; `again` finds that place when the
    /// entry is no longer there. Most moves are within a leaf or between two, and cost neither a node nor a search.
    pub(crate) fn relocate<M: WordsMut>(
        self,
        words: &mut M,
        from: &mut Cursor<O>,
        to: &Cursor<O>,
        entry: Entry,
        again: impl FnOnce(&M) -> Cursor<O>,
    ) -> Result<(), StoreError> {
        if !from.settle(words) {
            return Ok(());
        }
        let (Some((&source, above_source)), Some((&target, above_target))) =
            (from.path.split_last(), to.path.split_last())
        else {
            return Ok(());
        };
        let mut leaf = Leaf::load(words, source.node);
        let old = leaf.entry(words, source.index);
        let (was, is) = (O::weight(old.a), O::weight(entry.a));
        if source.node == target.node {
            // What stood behind the entry moves up by one.
            let index = target.index - usize::from(target.index > source.index);
            leaf.reorder(words, source.index, index, entry)?;
            if was != is {
                add_weight(words, above_source, is.wrapping_sub(was))?;
            }
            if source.index == 0 || index == 0 {
                let first = leaf.entry(words, 0);
                set_first::<O, M>(words, above_source, first)?;
            }
            return Ok(());
        }
        let mut other = Leaf::load(words, target.node);
        if leaf.len() <= O::LEAF_MAX / 4 || leaf.len() == 1 || other.len() >= other.capacity() {
            self.remove(words, from)?;
            let to = again(words);
            return self.insert(words, &to, entry);
        }
        for (source, target) in above_source.iter().zip(above_target) {
            if (source.node, source.index) != (target.node, target.index) {
                add_weight(words, &[*source], was.wrapping_neg())?;
                add_weight(words, &[*target], is)?;
            } else if was != is {
                add_weight(words, &[*source], is.wrapping_sub(was))?;
            }
        }
        leaf.remove(words, source.index)?;
        if source.index == 0 {
            let first = leaf.entry(words, 0);
            set_first::<O, M>(words, above_source, first)?;
        }
        other.insert(words, target.index, entry)?;
        if target.index == 0 {
            set_first::<O, M>(words, above_target, entry)?;
        }
        Ok(())
    }

    /// Takes out the entry behind the cursor; `None` if there is none.
    pub(crate) fn remove<M: WordsMut>(
        self,
        words: &mut M,
        cursor: &Cursor<O>,
    ) -> Result<Option<Entry>, StoreError> {
        let mut cursor = cursor.clone();
        if !cursor.settle(words) {
            return Ok(None);
        }
        let Some((&Step { node, index }, above)) = cursor.path.split_last() else {
            return Ok(None);
        };
        let mut leaf = Leaf::load(words, node);
        let entry = leaf.entry(words, index);
        add_weight(words, above, O::weight(entry.a).wrapping_neg())?;
        if leaf.len() == 1 {
            words.free(node)?;
            self.remove_child(words, above)?;
            return Ok(Some(entry));
        }
        leaf.remove(words, index)?;
        if index == 0 {
            let first = leaf.entry(words, 0);
            set_first::<O, M>(words, above, first)?;
        }
        if leaf.len() < O::LEAF_MAX / 4 {
            self.merge_leaf(words, above)?;
        }
        Ok(Some(entry))
    }

    /// Takes out the child that `path` leads to, which has been freed.
    fn remove_child<M: WordsMut>(self, words: &mut M, path: &[Step]) -> Result<(), StoreError> {
        let Some((&Step { node, index }, above)) = path.split_last() else {
            return words.store_apart(self.root_at, 0);
        };
        let mut inner = Inner::load(words, node);
        if inner.len() == 1 {
            words.free(node)?;
            return self.remove_child(words, above);
        }
        inner.remove::<O, M>(words, index)?;
        if index == 0 {
            let first = inner.first(words, 0);
            set_first::<O, M>(words, above, first)?;
        }
        if above.is_empty() {
            return self.lower_root(words, inner);
        }
        if inner.len() < O::INNER_MAX / 4 {
            self.merge_inner(words, above)?;
        }
        Ok(())
    }

    /// A root with one child gives way to it.
    fn lower_root<M: WordsMut>(self, words: &mut M, root: Inner) -> Result<(), StoreError> {
        let mut root = root;
        while root.len() == 1 {
            let child = root.child(words, 0);
            words.free(root.at)?;
            words.store_apart(self.root_at, child)?;
            if leaf::head(words, child).level == 0 {
                break;
            }
            root = Inner::load(words, child);
        }
        Ok(())
    }

    /// Joins the leaf that `above` leads to with a neighbour, if both fit well into one.
    fn merge_leaf<M: WordsMut>(self, words: &mut M, above: &[Step]) -> Result<(), StoreError> {
        let fit = O::LEAF_MAX * 3 / 4;
        let len = |words: &M, at| Leaf::load(words, at).len();
        let Some((parent, index, pair)) = neighbours(words, above, fit, len) else {
            return Ok(());
        };
        let (left, right) = (Leaf::load(words, pair[0]), Leaf::load(words, pair[1]));
        let mut entries = left.entries(words);
        entries.extend(right.entries(words));
        let joined = Leaf::alloc::<O, M>(words, &entries)?;
        self.put_joined(words, above, parent, index, pair, joined)
    }

    /// Joins the inner node that `above` leads to with a neighbour, if both fit well into one.
    fn merge_inner<M: WordsMut>(self, words: &mut M, above: &[Step]) -> Result<(), StoreError> {
        let fit = O::INNER_MAX * 3 / 4;
        let len = |words: &M, at| Inner::load(words, at).len();
        let Some((parent, index, pair)) = neighbours(words, above, fit, len) else {
            return Ok(());
        };
        let (left, right) = (Inner::load(words, pair[0]), Inner::load(words, pair[1]));
        let mut children = left.children(words);
        let mut rest = right.children(words);
        rest[0].first = parent.first(words, index + 1);
        children.extend(rest);
        let joined = Inner::alloc::<O, M>(words, left.head.level, &children)?;
        self.put_joined(words, above, parent, index, pair, joined)
    }

    /// Puts one node in the place of two neighbours, children `index` and `index + 1` of `parent`.
    fn put_joined<M: WordsMut>(
        self,
        words: &mut M,
        above: &[Step],
        parent: Inner,
        index: usize,
        pair: [u64; 2],
        joined: u64,
    ) -> Result<(), StoreError> {
        let weight = parent
            .weight(words, index)
            .wrapping_add(parent.weight(words, index + 1));
        parent.set_child(words, index, joined)?;
        parent.set_weight(words, index, weight)?;
        words.free(pair[0])?;
        words.free(pair[1])?;
        let mut path: super::cursor::Path = above.into();
        if let Some(step) = path.last_mut() {
            step.index = index + 1;
        }
        self.remove_child(words, &path)
    }

    /// Takes apart one leaf, the last one, of a tree that nobody can reach any more: hands its entries to
    /// `drop_entry` and frees it, with the inner nodes that become empty. Answers whether the tree is gone. Weights
    /// are not kept up.
    pub(crate) fn dismantle<M: WordsMut>(
        self,
        words: &mut M,
        drop_entry: &mut impl FnMut(&mut M, Entry) -> Result<(), StoreError>,
    ) -> Result<bool, StoreError> {
        let end = self.end(words);
        let Some((last, above)) = end.path.split_last() else {
            return Ok(true);
        };
        for entry in Leaf::load(words, last.node).entries(words) {
            drop_entry(words, entry)?;
        }
        words.free(last.node)?;
        for step in above.iter().rev() {
            let mut inner = Inner::load(words, step.node);
            if inner.len() > 1 {
                let left = inner.len() - 1;
                inner.set_len(words, left)?;
                return Ok(false);
            }
            words.free(step.node)?;
        }
        words.store_apart(self.root_at, 0)?;
        Ok(true)
    }
}

/// Adds (modulo 2^64) to the weights along a path.
fn add_weight<M: WordsMut>(words: &mut M, above: &[Step], weight: u64) -> Result<(), StoreError> {
    for step in above {
        let inner = Inner::load(words, step.node);
        let new = inner.weight(words, step.index).wrapping_add(weight);
        inner.set_weight(words, step.index, new)?;
    }
    Ok(())
}

/// Notes that the first entry below a path has changed.
fn set_first<O: Order, M: WordsMut>(
    words: &mut M,
    above: &[Step],
    first: Entry,
) -> Result<(), StoreError> {
    match above.iter().rev().find(|step| step.index > 0) {
        Some(step) if O::KEYED => Inner::load(words, step.node).set_first(words, step.index, first),
        _ => Ok(()),
    }
}

/// The node that `above` leads to and a neighbour with at most `fit` entries (or children) together: their parent, the
/// number of the left one, and both.
fn neighbours<W: Words>(
    words: &W,
    above: &[Step],
    fit: usize,
    len: impl Fn(&W, u64) -> usize,
) -> Option<(Inner, usize, [u64; 2])> {
    let step = above.last()?;
    let parent = Inner::load(words, step.node);
    [step.index, step.index.wrapping_sub(1)]
        .into_iter()
        .filter(|&left| left < parent.len() && left + 1 < parent.len())
        .map(|left| {
            (
                left,
                [parent.child(words, left), parent.child(words, left + 1)],
            )
        })
        .find(|(_, pair)| len(words, pair[0]) + len(words, pair[1]) <= fit)
        .map(|(left, pair)| (parent, left, pair))
}

fn sum(children: &[Child]) -> u64 {
    let weights = children.iter().map(|child| child.weight);
    weights.fold(0, u64::wrapping_add)
}
