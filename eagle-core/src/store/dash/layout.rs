//! The two words a table is made of: the record, and the reference to a node.
//!
//! ```text
//!   record     63..56 meta | 55..40 tag | 39..0 blob, in granules of 8 bytes
//!   reference  60..58 form | 57..52 base | 51..46 depth | 45..43 log2 buckets | 39..0 node, in granules
//! ```
//!
//! *Tag*: sixteen bits of the position, beginning at bit `base` from the top, so that a split can distribute
//! records without reading their blobs. A node's reference says which base its tags have. Twelve levels of
//! splits later the tags are used up; the split at that level reads the keys once and takes a new base.
//!
//! *Meta* belongs to the user of the table; a reference is zero for an empty table.

use super::hash::{Hash, POSITION_BITS};

/// Bits of a granule number.
const GRANULE_BITS: u32 = 40;
const GRANULE_MASK: u64 = (1 << GRANULE_BITS) - 1;

/// Bits of a tag.
pub(crate) const TAG_BITS: u32 = 16;

/// The largest base: the last tag bits are the last position bits.
pub(crate) const BASE_MAX: u32 = POSITION_BITS - TAG_BITS;

/// Base-2 logarithm of the number of buckets in a segment.
pub(crate) const SEGMENT_LOG2: u32 = if cfg!(loom) { 1 } else { 4 };

/// The deepest directory; its words fill 128 MiB.
pub(crate) const DEPTH_MAX: u32 = 24;

/// The tag of a position under a base.
#[inline]
pub(crate) fn tag_of(position: u64, base: u32) -> u16 {
    (position >> (BASE_MAX - base)) as u16
}

/// A record: where the blob is, the tag, and the user's meta bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record(u64);

impl Record {
    /// A record for the blob at byte offset `blob`; the table fills in the tag.
    #[inline]
    pub(crate) fn new(blob: u64, meta: u8) -> Record {
        debug_assert!(blob.is_multiple_of(8) && blob >> 3 <= GRANULE_MASK);
        Record(blob >> 3 | u64::from(meta) << 56)
    }

    #[inline]
    pub(crate) fn from_raw(word: u64) -> Record {
        Record(word)
    }

    #[inline]
    pub(crate) fn raw(self) -> u64 {
        self.0
    }

    /// Byte offset of the blob.
    #[inline]
    pub(crate) fn blob(self) -> u64 {
        (self.0 & GRANULE_MASK) << 3
    }

    /// The user's bits.
    #[inline]
    pub(crate) fn meta(self) -> u8 {
        (self.0 >> 56) as u8
    }

    #[inline]
    pub(crate) fn tag(self) -> u16 {
        (self.0 >> GRANULE_BITS) as u16
    }

    #[inline]
    pub(crate) fn with_tag(self, tag: u16) -> Record {
        Record(self.0 & !(0xffff << GRANULE_BITS) | u64::from(tag) << GRANULE_BITS)
    }
}

/// What kind of node a reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// No node: the table is empty.
    Empty,
    /// 64 B, up to 7 records.
    Small,
    /// 128 B, up to 14 records.
    Medium,
    /// 2^`log2` buckets of 256 B.
    Buckets { log2: u32 },
    /// 2^depth references to segments.
    Directory,
}

/// A reference to a node: a table's root word, or a word of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeRef(u64);

impl NodeRef {
    /// The root word of an empty table.
    pub(crate) const EMPTY: NodeRef = NodeRef(0);

    /// A node of any form but `Directory` at byte offset `at`, holding the positions whose top `depth` bits
    /// are its prefix, with tags of base `base`.
    pub(crate) fn node(at: u64, form: Form, depth: u32, base: u32) -> NodeRef {
        debug_assert!(at.is_multiple_of(8) && at >> 3 <= GRANULE_MASK && depth < 64 && base < 64);
        let (form, log2) = match form {
            Form::Small => (1, 0),
            Form::Medium => (2, 0),
            Form::Buckets { log2 } => (3, log2),
            Form::Directory => (4, 0),
            Form::Empty => unreachable!("an empty table has no node"),
        };
        NodeRef(
            at >> 3
                | u64::from(log2) << 43
                | u64::from(depth) << 46
                | u64::from(base) << 52
                | form << 58,
        )
    }

    /// A directory of 2^`depth` words at byte offset `at`.
    pub(crate) fn directory(at: u64, depth: u32) -> NodeRef {
        NodeRef::node(at, Form::Directory, depth, 0)
    }

    #[inline]
    pub(crate) fn from_raw(word: u64) -> NodeRef {
        NodeRef(word)
    }

    #[inline]
    pub(crate) fn raw(self) -> u64 {
        self.0
    }

    /// The same reference to a copy of the node at byte offset `at`.
    pub(crate) fn moved(self, at: u64) -> NodeRef {
        NodeRef(self.0 & !GRANULE_MASK | at >> 3)
    }

    /// Byte offset of the node.
    #[inline]
    pub(crate) fn at(self) -> u64 {
        (self.0 & GRANULE_MASK) << 3
    }

    /// The kind of node. A word that no EagleDB wrote reads as `Empty`.
    #[inline]
    pub(crate) fn form(self) -> Form {
        match self.0 >> 58 {
            1 => Form::Small,
            2 => Form::Medium,
            3 => Form::Buckets {
                log2: (self.0 >> 43) as u32 & 7,
            },
            4 => Form::Directory,
            _ => Form::Empty,
        }
    }

    /// Number of position bits that all records of the node share; of a directory, the bits of its index.
    #[inline]
    pub(crate) fn depth(self) -> u32 {
        (self.0 >> 46) as u32 & 63
    }

    /// The base of the tags in the node.
    #[inline]
    pub(crate) fn base(self) -> u32 {
        (self.0 >> 52) as u32 & 63
    }

    /// In a directory: byte offset of the word responsible for `hash`.
    #[inline]
    pub(crate) fn word_at(self, hash: Hash) -> u64 {
        self.at() + 8 * prefix(hash.position(), self.depth())
    }
}

/// The top `depth` bits of a position.
#[inline]
pub(crate) fn prefix(position: u64, depth: u32) -> u64 {
    position >> (POSITION_BITS - depth)
}

/// The home bucket of a position among 2^`log2` buckets of a node at `depth`.
#[inline]
pub(crate) fn home(position: u64, depth: u32, log2: u32) -> u32 {
    (position >> (POSITION_BITS - depth - log2)) as u32 & ((1 << log2) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_fields() {
        let record = Record::new(8 * 0xab_cdef_0123, 0x95).with_tag(0xbeef);
        assert_eq!(
            (record.blob(), record.meta(), record.tag()),
            (8 * 0xab_cdef_0123, 0x95, 0xbeef)
        );
        assert_eq!(record.with_tag(1).tag(), 1);
        for form in [
            Form::Small,
            Form::Medium,
            Form::Buckets { log2: 4 },
            Form::Directory,
        ] {
            let node = NodeRef::node(8 * GRANULE_MASK, form, 24, 32);
            assert_eq!(
                (node.at(), node.form(), node.depth(), node.base()),
                (8 * GRANULE_MASK, form, 24, 32)
            );
        }
        assert_eq!(NodeRef::EMPTY.form(), Form::Empty);
    }

    #[test]
    fn position_bits_are_taken_from_the_top() {
        let position = 0xabcd_ef01_2345;
        assert_eq!(prefix(position, 0), 0);
        assert_eq!(prefix(position, 8), 0xab);
        assert_eq!(home(position, 8, 4), 0xc);
        assert_eq!(tag_of(position, 0), 0xabcd);
        assert_eq!(tag_of(position, 4), 0xbcde);
        assert_eq!(tag_of(position, BASE_MAX), 0x2345);
    }
}
