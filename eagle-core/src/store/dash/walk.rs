//! Walking a table: all records, a SCAN step, a random record, and taking a table apart.

use super::bucket::{Group, Shape, Which};
use super::directory;
use super::hash::{Hash, POSITION_BITS};
use super::layout::{Form, NodeRef, Record};
use super::table::{Homes, bucket};
use super::{Words, WordsMut};
use crate::store::error::StoreError;

/// Draws before [`random`] falls back to a walk: a table is never so empty that these all fail by chance.
const DRAWS_MAX: u32 = 4096;

/// The groups of a node that is no directory, in hash order.
pub(super) fn groups(node: NodeRef) -> impl Iterator<Item = Group> {
    let (shape, count) = match node.form() {
        Form::Empty | Form::Directory => (Shape::Small, 0),
        Form::Small => (Shape::Small, 1),
        Form::Medium => (Shape::Medium, 1),
        Form::Buckets { log2 } => (Shape::Bucket, 1 << log2),
    };
    (0..count).map(move |i| match shape {
        Shape::Bucket => bucket(node, i),
        _ => Group {
            at: node.at(),
            shape,
        },
    })
}

/// Calls `visit` with the records of a group that `which` selects.
fn visit_group<W: Words>(
    words: &W,
    group: Group,
    which: Option<Which>,
    visit: &mut impl FnMut(Record),
) {
    let ctl = group.ctl(words);
    let mut set = which.map_or(group.shape.allocated(ctl), |which| {
        which.select(group.shape, ctl)
    });
    while set != 0 {
        let i = set.trailing_zeros();
        set &= set - 1;
        if let Some(record) = group.record(words, i) {
            visit(record);
        }
    }
}

/// Calls `visit` with every record, in hash order of the buckets; stops early when it answers `false`.
pub(crate) fn for_each<W: Words>(words: &W, root: NodeRef, visit: &mut impl FnMut(Record) -> bool) {
    let mut more = true;
    let mut node_visit = |node: NodeRef| {
        for group in groups(node) {
            if more {
                visit_group(words, group, None, &mut |record| {
                    more = more && visit(record)
                });
            }
        }
        more
    };
    if root.form() != Form::Directory {
        node_visit(root);
        return;
    }
    let mut i = 0;
    while i < 1 << root.depth() {
        let node = NodeRef::from_raw(words.load(root.at() + 8 * i));
        if !node_visit(node) {
            return;
        }
        i += directory::span(root, node);
    }
}

/// Calls `visit` with all records of the bucket that `position` belongs to, and answers the first position of the
/// next bucket, or `None` after the last.
///
/// A walk that starts at zero and goes on where it was told visits every record that stays in the table at least
/// once, even if the table changes its form between the steps: what has been passed is always a range of
/// positions from zero, and a step visits at least all records from `position` up to the answer.
pub(crate) fn scan<W: Words>(
    words: &W,
    root: NodeRef,
    position: u64,
    visit: &mut impl FnMut(Record),
) -> Option<u64> {
    let node = match root.form() {
        Form::Directory => NodeRef::from_raw(
            words.load(root.word_at(Hash::from_raw(position << (64 - POSITION_BITS)))),
        ),
        _ => root,
    };
    if node.form() == Form::Empty {
        return None;
    }
    let homes = Homes::of(node, position);
    let native = homes.foreign.map(|_| Which::Native);
    visit_group(words, homes.native, native, visit);
    if let Some(next) = homes.foreign {
        visit_group(words, next, Some(Which::Foreign), visit);
    }
    let bits = match node.form() {
        Form::Buckets { log2 } => node.depth() + log2,
        _ => 0,
    };
    let shift = POSITION_BITS - bits;
    let next = ((position >> shift) + 1) << shift;
    (next >> POSITION_BITS == 0).then_some(next)
}

/// A record drawn uniformly; `None` if the table is empty.
pub(crate) fn random<W: Words>(
    words: &W,
    root: NodeRef,
    rng: &mut dyn FnMut() -> u64,
) -> Option<Record> {
    if root.form() == Form::Empty {
        return None;
    }
    for _ in 0..DRAWS_MAX {
        // A place is drawn uniformly among all places of all segments and refused if it is unused. A segment
        // that several directory words name counts only under the first.
        let draw = rng();
        let mut node = root;
        if root.form() == Form::Directory {
            let i = draw >> 32 & ((1 << root.depth()) - 1);
            node = NodeRef::from_raw(words.load(root.at() + 8 * i));
            if i & (directory::span(root, node) - 1) != 0 {
                continue;
            }
        }
        let Some(group) = (match node.form() {
            Form::Buckets { log2 } => Some(bucket(node, (draw as u32 >> 16) & ((1 << log2) - 1))),
            _ => groups(node).next(),
        }) else {
            continue;
        };
        let i = (draw as u32 & 0xffff) % group.shape.records();
        if group.shape.allocated(group.ctl(words)) & 1 << i != 0
            && let Some(record) = group.record(words, i)
        {
            return Some(record);
        }
    }
    let mut first = None;
    for_each(words, root, &mut |record| {
        first = Some(record);
        false
    });
    first
}

/// Takes a table apart that nobody can reach any more, one node at a time: hands its records to `drop_record` and
/// frees the node. `cursor_at` is a word for the position in a directory, zero at first. Answers whether the
/// table is gone.
pub(crate) fn dismantle<M: WordsMut>(
    words: &mut M,
    root_at: u64,
    cursor_at: u64,
    drop_record: &mut impl FnMut(&mut M, Record) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    let root = NodeRef::from_raw(words.load(root_at));
    if root.form() != Form::Directory {
        drop_node(words, root, drop_record)?;
        words.store(root_at, NodeRef::EMPTY.raw())?;
        return Ok(true);
    }
    let i = words.load(cursor_at);
    let node = NodeRef::from_raw(words.load(root.at() + 8 * i));
    drop_node(words, node, drop_record)?;
    let next = i + directory::span(root, node);
    if next >> root.depth() == 0 {
        words.store(cursor_at, next)?;
        return Ok(false);
    }
    words.free(root.at())?;
    words.store(root_at, NodeRef::EMPTY.raw())?;
    words.store(cursor_at, 0)?;
    Ok(true)
}

fn drop_node<M: WordsMut>(
    words: &mut M,
    node: NodeRef,
    drop_record: &mut impl FnMut(&mut M, Record) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    if node.form() == Form::Empty {
        return Ok(());
    }
    let mut records = Vec::new();
    for group in groups(node) {
        visit_group(words, group, None, &mut |record| records.push(record));
    }
    for record in records {
        drop_record(words, record)?;
    }
    words.free(node.at())
}
