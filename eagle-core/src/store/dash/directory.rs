//! Tables of several segments: a directory of segment references indexed by the top bits of the position.
//!
//! A segment of depth `d` in a directory of depth `g` is named by 2^(g-d) neighbouring words. Splits and
//! merges build the new segments aside. While the directory is small it is copied with the change and
//! published by the root word; a larger one is changed in place, word by word: each word by itself shows a
//! reader either the frozen old segment or the new one, and the log undoes the words together.

use super::bucket::{BUCKET_RECORDS, Group};
use super::build::{Batch, Image};
use super::hash::Hash;
use super::layout::{DEPTH_MAX, Form, NodeRef, Record, SEGMENT_LOG2, prefix};
use super::table::{Homes, bucket};
use super::{Words, WordsMut};
use crate::store::error::StoreError;

/// A directory of at most 2^this words is copied rather than changed in place.
const COPY_DEPTH_MAX: u32 = if cfg!(loom) { 1 } else { 9 };

/// A large directory is copied to halve it when the table holds fewer records per directory word than this.
const SPARSE_RECORDS_MAX: u64 = 8;

/// Two siblings are united when together they hold at most this many records: a third of a segment.
const MERGE_RECORDS_MAX: u32 = (BUCKET_RECORDS << SEGMENT_LOG2) / 3;

const SEGMENT: Form = Form::Buckets { log2: SEGMENT_LOG2 };

/// A new segment and the prefix of the positions it holds.
struct Leaf {
    prefix: u64,
    node: NodeRef,
}

/// A directory with segments for more records than one segment takes, in fresh memory.
pub(super) fn found<M: WordsMut>(words: &mut M, batch: Batch) -> Result<NodeRef, StoreError> {
    let mut leaves = Vec::new();
    split_batch(words, batch, 0, 0, &mut leaves)?;
    let depth = leaves
        .iter()
        .map(|leaf| leaf.node.depth())
        .max()
        .unwrap_or(0);
    let mut directory = vec![0; 1 << depth];
    fill(&mut directory, depth, &leaves);
    let at = words.alloc_words(&directory)?;
    Ok(NodeRef::directory(at, depth))
}

/// Splits the full segment `node` and inserts the record.
pub(super) fn split<M: WordsMut>(
    words: &mut M,
    root_at: u64,
    root: NodeRef,
    node: NodeRef,
    hash: Hash,
    record: Record,
) -> Result<(), StoreError> {
    let mut batch = Batch::of(words, &[node], None);
    batch.push(hash, record);
    let mut leaves = Vec::new();
    let node_prefix = prefix(hash.position(), node.depth());
    split_batch(words, batch, node.depth(), node_prefix, &mut leaves)?;
    replace_range(
        words,
        root_at,
        root,
        node.depth(),
        node_prefix,
        &leaves,
        false,
    )?;
    words.free(node.at())
}

/// After the removal of `without` (its position is `hash`'s): unites its segment with its sibling if both are
/// sparse. Answers whether the removal is thereby done. `left` records remain in the table.
pub(super) fn merge<M: WordsMut>(
    words: &mut M,
    root_at: u64,
    root: NodeRef,
    hash: Hash,
    without: Option<(Group, u32)>,
    left: u64,
) -> Result<bool, StoreError> {
    let node = NodeRef::from_raw(words.load(root.word_at(hash)));
    let Some(sibling) = merge_partner(words, root, node, hash) else {
        return Ok(false);
    };
    let depth = node.depth() - 1;
    let mut batch = Batch::of(words, &[node, sibling], without);
    let base = batch.prepare(words, depth);
    let Some(image) = Image::build(&batch, SEGMENT, depth, base) else {
        return Ok(false);
    };
    let Ok(at) = words.alloc_words(image.words()) else {
        return Ok(false);
    };
    let leaf = Leaf {
        prefix: prefix(hash.position(), depth),
        node: NodeRef::node(at, SEGMENT, depth, base),
    };
    if depth == 0 {
        words.publish(root_at, leaf.node.raw())?;
        words.free(root.at())?;
    } else {
        // A copy costs a word per segment, so large directories are only halved when far too sparse.
        let sparse = left < SPARSE_RECORDS_MAX << root.depth();
        replace_range(words, root_at, root, depth, leaf.prefix, &[leaf], sparse)?;
    }
    words.free(node.at())?;
    words.free(sibling.at())?;
    Ok(true)
}

/// Names `node`, a copy of the segment that holds `hash`, in its place. That is freed by the caller.
pub(crate) fn rename<M: WordsMut>(
    words: &mut M,
    root: NodeRef,
    hash: Hash,
    node: NodeRef,
) -> Result<(), StoreError> {
    let span = span(root, node);
    let first = prefix(hash.position(), root.depth()) & !(span - 1);
    let word_at = |i| root.at() + 8 * i;
    for i in first..first + span - 1 {
        words.store(word_at(i), node.raw())?;
    }
    words.publish(word_at(first + span - 1), node.raw())
}

/// The distinct segments of a directory.
pub(crate) fn segments<W: Words>(words: &W, root: NodeRef) -> Vec<NodeRef> {
    let mut segments = Vec::new();
    let mut i = 0;
    while i < 1 << root.depth() {
        let node = NodeRef::from_raw(words.load(root.at() + 8 * i));
        segments.push(node);
        i += span(root, node);
    }
    segments
}

/// Number of directory words that name `node`.
pub(crate) fn span(root: NodeRef, node: NodeRef) -> u64 {
    1 << (root.depth().saturating_sub(node.depth()))
}

/// Puts the batch, whose records share the prefix, into as few segments as take it, at least two.
fn split_batch<M: WordsMut>(
    words: &mut M,
    batch: Batch,
    depth: u32,
    prefix: u64,
    leaves: &mut Vec<Leaf>,
) -> Result<(), StoreError> {
    if depth >= DEPTH_MAX {
        return Err(StoreError::OutOfSpace);
    }
    let mut batch = batch;
    batch.prepare(words, depth + 1);
    for (half, bit) in batch.partition(depth).into_iter().zip(0..) {
        let (mut half, prefix, depth) = (half, prefix << 1 | bit, depth + 1);
        let base = half.prepare(words, depth);
        match Image::build(&half, SEGMENT, depth, base) {
            Some(image) => {
                let at = words.alloc_words(image.words())?;
                leaves.push(Leaf {
                    prefix,
                    node: NodeRef::node(at, SEGMENT, depth, base),
                });
            }
            None => split_batch(words, half, depth, prefix, leaves)?,
        }
    }
    Ok(())
}

/// Makes the directory name `leaves` where it named nodes of the given depth and prefix.
fn replace_range<M: WordsMut>(
    words: &mut M,
    root_at: u64,
    root: NodeRef,
    depth: u32,
    prefix: u64,
    leaves: &[Leaf],
    may_halve: bool,
) -> Result<(), StoreError> {
    let old_depth = root.depth();
    let deepest = leaves
        .iter()
        .map(|leaf| leaf.node.depth())
        .max()
        .unwrap_or(0);
    if deepest <= old_depth && old_depth > COPY_DEPTH_MAX && !may_halve {
        let first = prefix << (old_depth - depth);
        let last = first + (1 << (old_depth - depth)) - 1;
        for i in first..=last {
            let at = root.at() + 8 * i;
            let value = leaf_of(leaves, i, old_depth).raw();
            if i < last {
                words.store(at, value)?
            } else {
                words.publish(at, value)?
            }
        }
        return Ok(());
    }
    let mut new_depth = old_depth.max(deepest);
    let mut directory: Vec<u64> = (0..1u64 << new_depth)
        .map(|i| words.load(root.at() + 8 * (i >> (new_depth - old_depth))))
        .collect();
    fill(&mut directory, new_depth, leaves);
    if may_halve {
        let needed = directory
            .iter()
            .map(|&word| NodeRef::from_raw(word).depth())
            .max()
            .unwrap_or(0);
        directory = directory
            .into_iter()
            .step_by(1 << (new_depth - needed))
            .collect();
        new_depth = needed;
    }
    let at = words.alloc_words(&directory)?;
    words.publish(root_at, NodeRef::directory(at, new_depth).raw())?;
    words.free(root.at())
}

/// Enters the leaves into the image of a directory.
fn fill(directory: &mut [u64], depth: u32, leaves: &[Leaf]) {
    for leaf in leaves {
        let shift = depth - leaf.node.depth();
        let first = (leaf.prefix << shift) as usize;
        directory[first..first + (1 << shift)].fill(leaf.node.raw());
    }
}

/// The leaf responsible for word `i` of a directory.
fn leaf_of(leaves: &[Leaf], i: u64, depth: u32) -> NodeRef {
    leaves
        .iter()
        .find(|leaf| i >> (depth - leaf.node.depth()) == leaf.prefix)
        .map(|leaf| leaf.node)
        .expect("the leaves cover the range")
}

/// The sibling with which `node` should be united: of the same depth, and both sparse. To keep the common
/// removal cheap, the segments are only counted when the bucket of the removed record is nearly empty.
fn merge_partner<M: WordsMut>(
    words: &M,
    root: NodeRef,
    node: NodeRef,
    hash: Hash,
) -> Option<NodeRef> {
    let home = Homes::of(node, hash.position()).native.len(words);
    if home > MERGE_RECORDS_MAX >> (SEGMENT_LOG2 + 1) {
        return None;
    }
    let depth = node.depth();
    let sibling_prefix = prefix(hash.position(), depth) ^ 1;
    let at = root.at() + 8 * (sibling_prefix << (root.depth() - depth));
    let sibling = NodeRef::from_raw(words.load(at));
    if sibling.depth() != depth
        || count(words, node) - 1 + count(words, sibling) > MERGE_RECORDS_MAX
    {
        return None;
    }
    Some(sibling)
}

fn count<W: Words>(words: &W, segment: NodeRef) -> u32 {
    (0..1 << SEGMENT_LOG2)
        .map(|i| bucket(segment, i).len(words))
        .sum()
}
