//! The trash: what was cut off in one store and is taken apart piece by piece.
//!
//! DEL of a large collection, FLUSHDB and the like push the thing on a list, inside their own transaction; the
//! reaper ([`step`]) frees it in transactions of bounded size. A crash loses nothing: the lists are in the pool.
//!
//! Nothing is allocated for this: root arrays and collection headers carry the links themselves.
//!
//! ```text
//!   link                 byte offset of a trash node | kind (bits 0..3), or 0
//!   collection header    { root word, count, link, cursor }
//!   stream, group, consumer   the same, but the fourth word says which of them it is
//!   large string         { length, directory, link, cursor }
//!   of a sorted set, or of a hash whose fields expire   the same, and the root word of its tree
//!   table of a slot      the same, made when a slot is flushed; the second word is its tree of expiring hashes
//!   root array           { link, slot cursor, directory cursor, -, index of expiring fields }, then the slots
//! ```
//!
//! The lists are stacks. Large collections found inside a root array are pushed in turn, so each gets its own
//! bounded steps.

use super::blob::Blob;
use super::btree::Tree;
use super::dash::layout::Record;
use super::dash::walk;
use super::dash::{Words, WordsMut};
use super::error::StoreError;
use super::field_index::{index_of, tree_at};
use super::medium::Writer;
use super::object::timed_table::Dues;
use super::object::zset::Sorted;
use super::{SLOTS, object, root};

/// What a trash node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A database's root array: tables of entries.
    Array,
    /// A large collection: a table of its members.
    Collection,
    /// A large sorted set, or large hash whose fields expire: a table of its members and a tree of their order.
    Sorted,
    /// A flushed slot: a table of entries.
    Slot,
    /// A large list.
    List,
    /// A stream, or a consumer group or consumer of one.
    Stream,
    /// A large string.
    String,
}

impl Kind {
    fn code(self) -> u64 {
        match self {
            Kind::Array => 1,
            Kind::Collection => 2,
            Kind::Slot => 3,
            Kind::List => 5,
            Kind::Stream => 6,
            Kind::Sorted => 4,
            Kind::String => 7,
        }
    }

    /// Byte offset of the link in a node.
    fn link(self, node: u64) -> u64 {
        match self {
            Kind::Array => node,
            Kind::Collection
            | Kind::Slot
            | Kind::Sorted
            | Kind::List
            | Kind::Stream
            | Kind::String => node + 16,
        }
    }
}

/// Bytes of a collection's header and of a flushed slot's node.
pub(super) const HEADER_BYTES: usize = 32;

/// What a link says: kind, node, and the next link. `None` for zero, or for a word that no EagleDB wrote.
pub(super) fn follow<W: Words>(words: &W, link: u64) -> Option<(Kind, u64, u64)> {
    let kind = match link & 7 {
        1 => Kind::Array,
        2 => Kind::Collection,
        3 => Kind::Slot,
        5 => Kind::List,
        6 => Kind::Stream,
        4 => Kind::Sorted,
        7 => Kind::String,
        _ => return None,
    };
    let node = link & !7;
    Some((kind, node, words.load(kind.link(node))))
}

/// Pushes a node on the list whose head is at `head_at`, which the caller has locked.
pub(super) fn push(
    writer: &mut Writer<'_, '_>,
    head_at: u64,
    kind: Kind,
    node: u64,
) -> Result<(), StoreError> {
    let head = writer.load(head_at);
    // Nobody reads the link of what is not in the trash: it comes into use by the store of the head, and goes out of use
    // again if that is undone.
    writer.append_word(kind.link(node), head);
    writer.store_apart(head_at, node | kind.code())
}

/// Frees some of what the list at `head_at` holds, until at least `blocks_min` blocks are freed or the list
/// is empty (and at most a segment's worth more). Stops at a root array that `is_held`. Answers how many blocks
/// were freed; zero means that nothing can be freed now.
pub(super) fn step(
    writer: &mut Writer<'_, '_>,
    head_at: u64,
    blocks_min: usize,
    is_held: &dyn Fn(u64) -> bool,
) -> Result<usize, StoreError> {
    let mut freed = 0;
    while freed < blocks_min {
        let Some((kind, node, next)) = follow(writer, writer.load(head_at)) else {
            break;
        };
        if kind == Kind::Array && is_held(node) {
            break;
        }
        let gone = match kind {
            Kind::Collection => walk::dismantle(writer, node, node + 24, &mut |writer, member| {
                freed += 1;
                writer.free(member.blob())
            })?,
            Kind::Sorted => sorted(writer, node, &mut freed)?,
            Kind::Slot => {
                dues(writer, node + 8, &mut freed)?
                    && walk::dismantle(writer, node, node + 24, &mut |writer, record| {
                        freed += 1;
                        drop_entry(writer, head_at, record)
                    })?
            }
            Kind::List => object::list::discard(writer, node, &mut freed)?,
            Kind::String => object::string::large::discard(writer, node, &mut freed)?,
            Kind::Stream => object::stream::discard::step(writer, head_at, node, &mut freed)?,
            Kind::Array => array(writer, head_at, node, blocks_min, &mut freed)?,
        };
        freed += 1;
        // A collection found inside is on top now, and its owner, though empty, stays below it until then.
        if gone && writer.load(head_at) == node | kind.code() {
            writer.store_apart(head_at, next)?;
            writer.free(node)?;
        }
    }
    Ok(freed)
}

/// Takes a piece of a sorted set apart; whether all is gone. The tree only orders what the table holds.
fn sorted(writer: &mut Writer<'_, '_>, node: u64, freed: &mut usize) -> Result<bool, StoreError> {
    let set = Sorted { header: node };
    if !set.tree().is_empty(writer) {
        set.tree().dismantle(writer, &mut |_, _| Ok(()))?;
        return Ok(false);
    }
    walk::dismantle(writer, node, node + 24, &mut |writer, member| {
        *freed += 1;
        writer.free(member.blob())
    })
}

/// Takes a piece of a tree of expiring hashes apart, which only orders what is freed elsewhere; whether all is gone.
fn dues(writer: &mut Writer<'_, '_>, tree_at: u64, freed: &mut usize) -> Result<bool, StoreError> {
    let tree = Tree::<Dues>::new(tree_at);
    if tree.is_empty(writer) {
        return Ok(true);
    }
    *freed += 1;
    tree.dismantle(writer, &mut |_, _| Ok(()))
}

/// Takes the index of expiring fields apart that belongs to a root array; whether it is gone.
fn index(
    writer: &mut Writer<'_, '_>,
    node: u64,
    blocks_min: usize,
    freed: &mut usize,
) -> Result<bool, StoreError> {
    let Some(index) = index_of(writer, node) else {
        return Ok(true);
    };
    let mut slot = writer.load(index);
    while slot < SLOTS as u64 && *freed < blocks_min {
        if dues(writer, tree_at(index, slot as u16), freed)? {
            slot += 1;
        }
    }
    writer.store_apart(index, slot)?;
    if slot < SLOTS as u64 {
        return Ok(false);
    }
    writer.store_apart(root::index_at(node), 0)?;
    writer.free(index)?;
    *freed += 1;
    Ok(true)
}

/// Takes slots of a root array apart; whether all are.
fn array(
    writer: &mut Writer<'_, '_>,
    head_at: u64,
    node: u64,
    blocks_min: usize,
    freed: &mut usize,
) -> Result<bool, StoreError> {
    if !index(writer, node, blocks_min, freed)? {
        return Ok(false);
    }
    let (slot_cursor_at, directory_cursor_at) = (node + 8, node + 16);
    let mut slot = writer.load(slot_cursor_at);
    while slot < SLOTS as u64 && *freed < blocks_min {
        let slot_at = root::slot_at(node, slot as u16);
        if writer.load(slot_at) != 0 {
            let gone = walk::dismantle(
                writer,
                slot_at,
                directory_cursor_at,
                &mut |writer, record| {
                    *freed += 1;
                    drop_entry(writer, head_at, record)
                },
            )?;
            *freed += 1;
            if !gone {
                break;
            }
        }
        slot += 1;
    }
    writer.store_apart(slot_cursor_at, slot)?;
    Ok(slot == SLOTS as u64)
}

fn drop_entry(writer: &mut Writer<'_, '_>, head_at: u64, record: Record) -> Result<(), StoreError> {
    let reader = writer.reader();
    let blob = Blob::read(&reader, record.blob());
    if let Some(kind) = object::large(&blob) {
        push(writer, head_at, kind, blob.value_word(&reader))?;
    }
    writer.free(record.blob())
}
