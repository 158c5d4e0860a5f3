//! Checking a table's invariants, for the offline check and for tests.

use super::Words;
use super::bucket::{BUCKET_BYTES, Group, Which};
use super::layout::{DEPTH_MAX, Form, NodeRef, Record, SEGMENT_LOG2, home, prefix, tag_of};
use super::walk;

/// What [`table`] reports as it walks.
pub(crate) trait Visitor {
    /// A block of `bytes` bytes that belongs to the table: a node or a directory.
    fn block(&mut self, at: u64, bytes: u64);
    /// A record in use.
    fn record(&mut self, record: Record);
    /// Something that must not be.
    fn fault(&mut self, fault: String);
}

/// Walks the table whose root word is `root`.
pub(crate) fn table<W: Words>(words: &W, root: NodeRef, visitor: &mut impl Visitor) {
    table_from(words, root, 0, visitor);
}

/// Walks a table that is being taken apart: of a directory, the words from `first` on.
pub(crate) fn table_from<W: Words>(
    words: &W,
    root: NodeRef,
    first: u64,
    visitor: &mut impl Visitor,
) {
    if root.form() != Form::Directory {
        if root.raw() != 0 && root.depth() != 0 {
            visitor.fault(format!(
                "the only node of a table has depth {}",
                root.depth()
            ));
        }
        node(words, root, 0, visitor);
        return;
    }
    if root.depth() == 0 || root.depth() > DEPTH_MAX {
        visitor.fault(format!("directory of depth {}", root.depth()));
        return;
    }
    visitor.block(root.at(), 8 << root.depth());
    let mut i = first;
    while i < 1 << root.depth() {
        let segment = NodeRef::from_raw(words.load(root.at() + 8 * i));
        let shift = root.depth().wrapping_sub(segment.depth());
        if segment.form() != (Form::Buckets { log2: SEGMENT_LOG2 })
            || shift > root.depth()
            || i & ((1 << shift) - 1) != 0
        {
            visitor.fault(format!("directory word {i} is {:#x}", segment.raw()));
            i += 1;
            continue;
        }
        for j in i..i + (1 << shift) {
            if words.load(root.at() + 8 * j) != segment.raw() {
                visitor.fault(format!("directory words {i} and {j} disagree"));
            }
        }
        node(words, segment, i >> shift, visitor);
        i += 1 << shift;
    }
}

fn node<W: Words>(words: &W, node: NodeRef, node_prefix: u64, visitor: &mut impl Visitor) {
    let bytes = match node.form() {
        Form::Empty => {
            if node.raw() != 0 {
                visitor.fault(format!("not a reference: {:#x}", node.raw()));
            }
            return;
        }
        Form::Small => 64,
        Form::Medium => 128,
        Form::Buckets { log2 } => BUCKET_BYTES << log2,
        Form::Directory => return visitor.fault("a directory inside a directory".to_owned()),
    };
    visitor.block(node.at(), bytes);
    for (number, group) in walk::groups(node).enumerate() {
        let ctl = group.ctl(words);
        for (which, back) in [(Which::Native, 0), (Which::Foreign, 1)] {
            let mut set = which.select(group.shape, ctl);
            while set != 0 {
                let i = set.trailing_zeros();
                set &= set - 1;
                if let Some(fault) = record(words, node, node_prefix, group, number as u32, back, i)
                {
                    visitor.fault(format!(
                        "record {i} of bucket {number} of node {:#x}: {fault}",
                        node.at()
                    ));
                }
                visitor.record(Record::from_raw(words.load(group.record_at(i))));
            }
        }
    }
}

/// What is wrong with one record, if anything; its home should be `back` buckets before `number`.
fn record<W: Words>(
    words: &W,
    node: NodeRef,
    node_prefix: u64,
    group: Group,
    number: u32,
    back: u32,
    i: u32,
) -> Option<&'static str> {
    let record = Record::from_raw(words.load(group.record_at(i)));
    let hash = words.key_hash(record);
    let buckets_log2 = match node.form() {
        Form::Buckets { log2 } => log2,
        _ => 0,
    };
    let expected = number.wrapping_sub(back) & ((1 << buckets_log2) - 1);
    if prefix(hash.position(), node.depth()) != node_prefix {
        Some("in the wrong segment")
    } else if home(hash.position(), node.depth(), buckets_log2) != expected {
        Some("in the wrong bucket")
    } else if group.fingerprint(words, i) != hash.fingerprint() {
        Some("wrong fingerprint")
    } else if record.tag() != tag_of(hash.position(), node.base()) {
        Some("wrong tag")
    } else {
        None
    }
}
