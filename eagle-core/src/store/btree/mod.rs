//! The counted B+tree: an ordered sequence of two-word entries with weights, in pool blocks.
//!
//! It carries the order of large sorted sets, the chunks of large lists and the nodes of streams. A tree is known by
//! one *root word* somewhere in the pool (a collection's header); zero is the empty tree.
//!
//! ```text
//!   root word ── byte offset of a node
//!   inner node   children, each with the summed weight of what is below it and, in keyed trees, its first entry
//!   leaf         entries, and a line of bytes that says in which order they stand
//! ```
//!
//! # What an entry is
//!
//! Two words `a` and `b` that mean nothing to the tree. An [`Order`] says what an entry weighs and whether the tree
//! is *keyed*, that is, kept sorted by its owner and searched with a predicate:
//!
//! | user | `a` | `b` | weight | keyed |
//! |---|---|---|---|---|
//! | sorted set | score, as an integer that sorts alike | member's blob | 1 | yes |
//! | list | elements of the chunk | chunk | `a` | no: by position only |
//! | stream | first words of the id, or what the owner likes | node | 1, or its live entries | yes |
//!
//! The tree never frees what entries refer to.
//!
//! # How it is used
//!
//! ```text
//! struct Chunks;                                            // a list
//! impl Order for Chunks {
//!     const KEYED: bool = false;
//!     fn weight(a: u64) -> u64 { a }
//! }
//! let tree = Tree::<Chunks>::new(root_at);                  // root_at: byte offset of the root word
//! let (cursor, rest) = tree.seek_weight(reader, index);     // element `rest` of the chunk at the cursor
//! let chunk = cursor.entry(reader);                         // None: behind the last element
//! tree.replace(writer, &cursor, Entry { a: chunk.a + 1, ..chunk })?;   // its weight goes up to the root
//! let end = tree.end(writer);
//! tree.insert(writer, &end, Entry { a: 1, b: fresh })?;     // RPUSH into a new chunk; `first` for LPUSH
//! tree.remove(writer, &cursor)?;
//!
//! let tree = Tree::<ById>::new(root_at);                    // a stream
//! let mut at = tree.seek(reader, |entry| id_of(entry) < from);         // first entry that is not before `from`
//! while let Some(entry) = at.take(reader) { .. }            // or `entry` with `next` and `prev`
//! tree.insert(writer, &at, entry)?;                         // keeps the order if `at` came from such a seek
//! let rank = at.position(reader);                           // weight of everything before the cursor
//! tree.relocate(writer, &mut from, &to, entry, find)?;          // the entry at `from` has another key, and stands at `to`
//!
//! let mut build = Build::<O>::default();                    // many sorted entries at once, nodes full
//! for entry in entries { build.push(writer, entry)?; }
//! let root = build.finish(writer)?;                         // what to store in the root word
//!
//! tree.dismantle(writer, &mut |writer, entry| writer.free(entry.b))?;  // trash: one leaf, true when all is gone
//! verify::tree::<O, _>(reader, root, true, &mut visitor);   // the checker
//! ```
//!
//! A change makes all cursors of its tree invalid. A cursor may stand behind the last entry (of the tree, or of a leaf;
//! `entry` looks on into the next leaf).
//!
//! # Changes and readers
//!
//! Nodes are changed in place by logged stores ([`WordsMut::store_apart`], [`WordsMut::store_words`]), so readers must
//! hold the slot's lock. These stores neither make the slot odd nor publish anything: a command that changes a tree and
//! then publishes one word (a member's record) still commits by that word, and lock-free readers of *other* words of
//! the collection never wait.
//!
//! An insert logs at most a line of the leaf, the entry, and one word a level. Splits, merges and growth build fresh
//! nodes, which need no log.
//!
//! # Invariants
//!
//! - All leaves have level 0 and the same depth; the children of a node of level n have level n - 1.
//! - No node is empty; the root is not an inner node with one child.
//! - A child's weight is the sum of the weights below it.
//! - In a keyed tree each child but the first carries a copy of the first entry below it.
//! - A leaf's order line is a permutation of `0..capacity`: first the places in use, in order, then the free ones.
//!
//! Nodes grow on a ladder of sizes until they split, so that small trees are small and nodes are well filled. A split
//! at the tree's right (left) edge leaves the old node full and starts a new one: appends fill nodes completely.

mod build;
mod cursor;
mod inner;
mod layout;
mod leaf;
#[cfg(test)]
mod tests;
mod tree;
pub(crate) mod verify;

use super::dash::{Words, WordsMut};
pub(crate) use build::Build;
pub(crate) use cursor::Cursor;
pub(crate) use tree::Tree;

/// What a leaf holds: two words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) a: u64,
    pub(crate) b: u64,
}

/// What a tree must know of its entries. The provided constants are for production; tests make nodes small.
pub(crate) trait Order {
    /// Whether inner nodes keep the first entry below each child, which [`Tree::seek`] needs.
    const KEYED: bool;

    /// Whether every entry weighs 1.
    const UNIT: bool = false;

    /// Most entries in a leaf.
    const LEAF_MAX: usize = layout::LEAF_MAX;

    /// Most children of an inner node.
    const INNER_MAX: usize = layout::INNER_MAX;

    /// The weight of an entry with this first word.
    fn weight(a: u64) -> u64;
}
