//! Checking a tree's invariants, for the offline check and for tests.

use super::inner::Inner;
use super::layout::{Head, INNER_MAX, LEAF_MAX, LEVELS_MAX, inner_words, leaf_words};
use super::leaf::{self, Leaf};
use super::{Entry, Order, Words};

/// What [`tree`] reports as it walks.
pub(crate) trait Visitor {
    /// A node of `bytes` bytes. Answers whether to look into it: a node that was met before ends the walk there.
    fn block(&mut self, at: u64, bytes: u64) -> bool;
    /// An entry, in order.
    fn entry(&mut self, entry: Entry);
    /// Something that must not be.
    fn fault(&mut self, fault: String);
}

/// Walks the tree with this root word. A tree that is being taken apart is not `whole`: its weights do not count.
pub(crate) fn tree<O: Order, W: Words>(
    words: &W,
    root: u64,
    whole: bool,
    visitor: &mut impl Visitor,
) {
    if root == 0 {
        return;
    }
    let head = leaf::head(words, root);
    if head.level > 0 && head.len == 1 && whole {
        visitor.fault(format!("root {root:#x} has one child"));
    }
    if head.level < LEVELS_MAX {
        node::<O, W>(words, root, head.level, whole, visitor);
    } else {
        visitor.fault(format!("root {root:#x} is of level {}", head.level));
    }
}

/// Walks a node; the weight and first entry below it, if it is sound so far.
fn node<O: Order, W: Words>(
    words: &W,
    at: u64,
    level: usize,
    whole: bool,
    visitor: &mut impl Visitor,
) -> Option<(u64, Entry)> {
    let head = leaf::head(words, at);
    let (capacity_max, node_words) = match level {
        0 => (LEAF_MAX, leaf_words(head.capacity)),
        _ => (INNER_MAX, inner_words(head.capacity)),
    };
    let sound = Head { level, ..head } == head
        && head.capacity <= capacity_max
        && (1..=head.capacity).contains(&head.len);
    if !sound {
        visitor.fault(format!("node {at:#x} of level {level} begins {head:?}"));
        return None;
    }
    if !visitor.block(at, 8 * node_words as u64) {
        return None;
    }
    match level {
        0 => leaf_of::<O, W>(words, at, visitor),
        _ => inner::<O, W>(words, at, level, whole, visitor),
    }
}

fn leaf_of<O: Order, W: Words>(
    words: &W,
    at: u64,
    visitor: &mut impl Visitor,
) -> Option<(u64, Entry)> {
    let leaf = Leaf::load(words, at);
    let mut order = leaf.order().to_vec();
    order.sort_unstable();
    if order
        .iter()
        .enumerate()
        .any(|(i, &place)| i != place.into())
    {
        visitor.fault(format!("the order of leaf {at:#x} is {:?}", leaf.order()));
        return None;
    }
    let entries = leaf.entries(words);
    for &entry in &entries {
        visitor.entry(entry);
    }
    let weight = entries.iter().map(|&entry| O::weight(entry.a)).sum();
    Some((weight, entries[0]))
}

fn inner<O: Order, W: Words>(
    words: &W,
    at: u64,
    level: usize,
    whole: bool,
    visitor: &mut impl Visitor,
) -> Option<(u64, Entry)> {
    let inner = Inner::load(words, at);
    let (mut sum, mut first) = (0u64, None);
    for i in 0..inner.len() {
        let child = inner.child(words, i);
        let (weight, entry) = node::<O, W>(words, child, level - 1, whole, visitor)?;
        if whole && weight != inner.weight(words, i) {
            let noted = inner.weight(words, i);
            visitor.fault(format!(
                "node {at:#x} notes weight {noted} of child {i}, which has {weight}"
            ));
        }
        if O::KEYED && i > 0 && entry != inner.first(words, i) {
            visitor.fault(format!(
                "node {at:#x} notes another first entry of child {i}"
            ));
        }
        sum = sum.wrapping_add(weight);
        first = first.or(Some(entry));
    }
    Some((sum, first?))
}
