//! Going through a large value, or through a slot's index of expiring fields, piece by piece.
//!
//! ```text
//!   hash, set                 table of members
//!   hash with expiring fields table of fields, tree of when they expire
//!   sorted set                table of members, tree of their order
//!   list                      tree of chunks, chunks at the ends
//!   string                    directory, chunks
//!   stream                    tree of nodes; table of groups; of each group the tree of its pendings and the table of its
//!                             consumers; of each consumer the tree of its pendings
//! ```
//!
//! What is left to do is a stack of *parts*, each with a position in it. A part does not say where it lies but what it is:
//! each step finds it anew from the key. If it is not there any more, it is done.

use crate::store::blob::Blob;
use crate::store::btree::{Order, Tree};
use crate::store::change::Here;
use crate::store::dash::Words;
use crate::store::entry::{Encoding, Kind};
use crate::store::field_index;
use crate::store::medium::Reader;
use crate::store::object::large;
use crate::store::object::list::{End, Large as LargeList};
use crate::store::object::stream::index::ById;
use crate::store::object::stream::{StreamRef, TABLE_AT, TREE_AT};
use crate::store::object::string::large::{Large as LargeString, chunks};
use crate::store::object::timed_table::{Dues, TimedTable};
use crate::store::object::zset::Sorted;
use crate::store::root;
use crate::store::trash;
use crate::store::view::View;

use super::Mover;
use super::moves::{Named, may_move_named};

/// Blocks of a tree's entries, or chunks of a string, that one step looks at. Each may be moved, of up to 32 KiB.
const BLOCKS_MAX: usize = 16;

/// A part of a value.
#[derive(Clone, Debug)]
enum Part {
    /// The slot's index of expiring fields.
    Index,
    /// The members of a hash, set or sorted set.
    Members,
    /// The order of a sorted set, or when fields of a hash expire.
    Order,
    /// The chunks of a list that are in its tree.
    ListChunks,
    ListEnds,
    StringChunks,
    StreamNodes,
    Groups,
    Pendings {
        group: Box<[u8]>,
    },
    Consumers {
        group: Box<[u8]>,
    },
    ConsumerPendings {
        group: Box<[u8]>,
        consumer: Box<[u8]>,
    },
}

/// What is left to do of a large value.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    /// `None` for the slot's index.
    key: Option<Box<[u8]>>,
    /// Something of the key has been moved.
    is_hit: bool,
    parts: Vec<(Part, u64)>,
}

impl Inside {
    /// All of a large value.
    pub(super) fn of(key: Box<[u8]>, kind: trash::Kind, is_hit: bool) -> Inside {
        let parts = match kind {
            trash::Kind::Sorted => vec![Part::Order, Part::Members],
            trash::Kind::List => vec![Part::ListEnds, Part::ListChunks],
            trash::Kind::String => vec![Part::StringChunks],
            trash::Kind::Stream => vec![Part::Groups, Part::StreamNodes],
            trash::Kind::Collection | trash::Kind::Array | trash::Kind::Slot => vec![Part::Members],
        };
        Inside {
            key: Some(key),
            is_hit,
            parts: parts.into_iter().map(|part| (part, 0)).collect(),
        }
    }

    /// The slot's index of expiring fields.
    pub(super) fn of_index() -> Inside {
        Inside {
            key: None,
            is_hit: false,
            parts: vec![(Part::Index, 0)],
        }
    }

    /// Whether something of the key was moved; `None` if this is not about a key.
    pub(super) fn key_is_hit(&self) -> Option<bool> {
        self.key.as_ref().map(|_| self.is_hit)
    }

    /// Moves a piece of the value; whether there is more. The view has locked the slot.
    pub(super) fn step(
        &mut self,
        view: &mut View<'_>,
        mover: &mut Mover<'_>,
        db: u8,
        slot: u16,
    ) -> bool {
        let Some((part, position)) = self.parts.pop() else {
            return false;
        };
        let (hits, below) = (mover.moved.hits, self.parts.len());
        let next = match &self.key {
            None => index_step(view, mover, (db, slot), position),
            Some(key) => match Value::find(&view.reader(), view, db, slot, key) {
                Some(value) => value.step(view, mover, &part, position, &mut self.parts),
                None => return false,
            },
        };
        self.is_hit |= mover.moved.hits > hits;
        if let Some(position) = next {
            // What the step has found comes first.
            self.parts.insert(below, (part, position));
        }
        !self.parts.is_empty()
    }
}

/// A piece of a slot's index of expiring fields.
fn index_step(
    view: &mut View<'_>,
    mover: &mut Mover<'_>,
    (db, slot): (u8, u16),
    position: u64,
) -> Option<u64> {
    let reader = view.reader();
    let array = view.keyspace().array(&reader, db)?;
    let index = field_index::index_of(&reader, array)?;
    let tree = Tree::<Dues>::new(field_index::tree_at(index, slot));
    tree_step(view, mover, tree, position)
}

/// Moves the nodes above the entry of a tree at a position; where the next leaf begins.
fn tree_step<O: Order>(
    view: &mut View<'_>,
    mover: &mut Mover<'_>,
    tree: Tree<O>,
    position: u64,
) -> Option<u64> {
    move_nodes(view, mover, tree, position);
    let reader = view.reader();
    let (cursor, rest) = tree.seek_weight(&reader, position);
    cursor.entry(&reader)?;
    // Onward, whatever a damaged tree says.
    Some((position - rest + cursor.leaf_rest(&reader)).max(position + 1))
}

/// Moves the nodes above the entry of a tree at a position.
fn move_nodes<O: Order>(view: &mut View<'_>, mover: &mut Mover<'_>, tree: Tree<O>, position: u64) {
    // An inner node is looked at with the first leaf below it.
    let (cursor, _) = tree.seek_weight(&view.reader(), position);
    for level in cursor.levels_begun() {
        let (cursor, _) = tree.seek_weight(&view.reader(), position);
        let Some(node) = cursor.node(level) else {
            continue;
        };
        mover.look(view, node, |change| {
            tree.move_node(&mut change.writer, &cursor, level)
        });
    }
}

/// Moves the nodes above the entry of a tree at a position, and what this entry and some behind it refer to; where to go
/// on.
fn referred_step<O: Order>(
    view: &mut View<'_>,
    mover: &mut Mover<'_>,
    tree: Tree<O>,
    position: u64,
) -> Option<u64> {
    let (next, wanted) = referred(view, mover, tree, position);
    for at in wanted {
        let is_moved = view.change(|change| change.move_referred(tree, at)).is_ok();
        mover.count(is_moved);
    }
    next
}

/// Moves the nodes above the entry of a tree at a position. Answers the positions of those of this entry and some behind it
/// that refer to blocks which are to be moved, and where to go on.
fn referred<O: Order>(
    view: &mut View<'_>,
    mover: &mut Mover<'_>,
    tree: Tree<O>,
    position: u64,
) -> (Option<u64>, Vec<u64>) {
    move_nodes(view, mover, tree, position);
    let reader = view.reader();
    let (mut cursor, rest) = tree.seek_weight(&reader, position);
    let (mut at, mut wanted) = (position - rest, Vec::new());
    for _ in 0..BLOCKS_MAX {
        let Some(entry) = cursor.entry(&reader) else {
            return (None, wanted);
        };
        if mover.wants(reader.pool, entry.b) {
            wanted.push(at);
        } else {
            mover.count(false);
        }
        at += O::weight(entry.a);
        if cursor.leaf_rest(&reader) == O::weight(entry.a) {
            break;
        }
        cursor.next(&reader);
    }
    (Some(at.max(position + 1)), wanted)
}

/// Moves a piece of a large string; where to go on.
fn string_step(
    view: &mut View<'_>,
    mover: &mut Mover<'_>,
    string: LargeString,
    position: u64,
) -> Option<u64> {
    if position == 0 {
        let directory = string.directory(&view.reader());
        mover.look(view, directory, |change| {
            change.move_named_by(string.directory_at())
        });
    }
    let reader = view.reader();
    let (directory, count) = (string.directory(&reader), chunks(string.len(&reader)));
    let end = count.min(position + BLOCKS_MAX as u64);
    for number in position..end {
        let word_at = directory + 8 * number;
        let chunk = view.reader().load(word_at);
        if chunk != 0 {
            mover.look(view, chunk, |change| change.move_named_by(word_at));
        }
    }
    (end < count).then_some(end)
}

/// Moves a bucket of the groups or consumers in the table at `root_at`; their names, and where to go on.
fn named_step(
    view: &mut View<'_>,
    mover: &mut Mover<'_>,
    named: Named,
    root_at: u64,
    position: u64,
) -> (Vec<Box<[u8]>>, Option<u64>) {
    let (records, next) = mover.table_step(view, root_at, position);
    let mut names = Vec::with_capacity(records.len());
    for record in records {
        let reader = view.reader();
        let blob = Blob::read(&reader, record.blob());
        names.push(blob.key(&reader).into());
        let block = blob.value_word(&reader);
        let with_block = mover.wants(reader.pool, block);
        let is_moved = (with_block || mover.wants(reader.pool, record.blob()))
            && may_move_named(&reader, named, block)
            && view
                .change(|change| change.move_named(named, root_at, record, with_block))
                .is_ok();
        mover.count(is_moved);
    }
    (names, next)
}

/// A large value, found by its key.
#[derive(Clone, Copy)]
struct Value {
    kind: Kind,
    encoding: Encoding,
    header: u64,
}

impl Value {
    fn find(reader: &Reader<'_>, view: &View<'_>, db: u8, slot: u16, key: &[u8]) -> Option<Value> {
        let slot_at = root::slot_at(view.keyspace().array(reader, db)?, slot);
        let here = Here::find(reader, slot_at, reader.hasher.hash(key), key)?;
        large(&here.blob)?;
        Some(Value {
            kind: here.blob.kind(),
            encoding: here.blob.encoding(),
            header: here.blob.value_word(reader),
        })
    }

    /// Moves a piece of a part; where in it to go on. Adds parts that were found in it.
    fn step(
        self,
        view: &mut View<'_>,
        mover: &mut Mover<'_>,
        part: &Part,
        position: u64,
        parts: &mut Vec<(Part, u64)>,
    ) -> Option<u64> {
        let header = self.header;
        match (part, self.kind, self.encoding) {
            (Part::Members, Kind::Hash | Kind::Set | Kind::Zset, _) => {
                self.members_step(view, mover, position)
            }
            (Part::Order, Kind::Zset, _) => {
                tree_step(view, mover, Sorted { header }.tree(), position)
            }
            (Part::Order, Kind::Hash, Encoding::HashtableEx) => {
                tree_step(view, mover, TimedTable { header }.dues(), position)
            }
            (Part::ListChunks, Kind::List, _) => {
                let tree = LargeList { header }.tree();
                referred_step(view, mover, tree, position)
            }
            (Part::ListEnds, Kind::List, _) => {
                let list = LargeList { header };
                for end in [End::Head, End::Tail] {
                    if let Some(chunk) = list.end(&view.reader(), end) {
                        mover.look(view, chunk.at, |change| {
                            change.move_named_by(list.end_at(end))
                        });
                    }
                }
                None
            }
            (Part::StringChunks, Kind::String, _) => {
                string_step(view, mover, LargeString { header }, position)
            }
            (_, Kind::Stream, _) => self.stream_step(view, mover, part, position, parts),
            // Another value has taken its place.
            _ => None,
        }
    }

    fn members_step(
        self,
        view: &mut View<'_>,
        mover: &mut Mover<'_>,
        position: u64,
    ) -> Option<u64> {
        let header = self.header;
        let (records, next) = mover.table_step(view, header, position);
        for record in records {
            mover.look(view, record.blob(), |change| match self.encoding {
                Encoding::Skiplist => change.move_ranked(Sorted { header }, record),
                Encoding::HashtableEx => change.move_timed(TimedTable { header }, record),
                _ => change.move_member(header, record),
            });
        }
        next
    }

    fn stream_step(
        self,
        view: &mut View<'_>,
        mover: &mut Mover<'_>,
        part: &Part,
        position: u64,
        parts: &mut Vec<(Part, u64)>,
    ) -> Option<u64> {
        let reader = view.reader();
        let stream = StreamRef::new(reader, self.header);
        match part {
            Part::StreamNodes => {
                let tree = Tree::<ById>::new(self.header + TREE_AT);
                referred_step(view, mover, tree, position)
            }
            Part::Groups => {
                let table = self.header + TABLE_AT;
                let (names, next) = named_step(view, mover, Named::Group, table, position);
                for group in names {
                    let part = Part::Consumers {
                        group: group.clone(),
                    };
                    parts.extend([(part, 0), (Part::Pendings { group }, 0)]);
                }
                next
            }
            Part::Pendings { group } => {
                let tree = Tree::<ById>::new(stream.group(group)?.at + TREE_AT);
                let (next, wanted) = referred(view, mover, tree, position);
                for at in wanted {
                    let is_moved = view.change(|change| change.move_pending(tree, at)).is_ok();
                    mover.count(is_moved);
                }
                next
            }
            Part::Consumers { group } => {
                let table = stream.group(group)?.at + TABLE_AT;
                let (names, next) = named_step(view, mover, Named::Consumer, table, position);
                for consumer in names {
                    let group = group.clone();
                    parts.push((Part::ConsumerPendings { group, consumer }, 0));
                }
                next
            }
            Part::ConsumerPendings { group, consumer } => {
                // Its pendings themselves are moved with those of the group.
                let consumer = stream.group(group)?.consumer(consumer)?;
                tree_step(
                    view,
                    mover,
                    Tree::<ById>::new(consumer.at + TREE_AT),
                    position,
                )
            }
            _ => None,
        }
    }
}
