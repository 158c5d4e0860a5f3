//! Streams: nodes of entries under a tree by id, and consumer groups with what they have not acknowledged.
//!
//! ```text
//!   entry blob   byte offset of the header
//!
//!   header       tree of nodes | entries | trash link | part 0 | table of groups | groups | trash cursor
//!   112 B        last id | entries ever added | highest id deleted | first id
//!
//!   group        tree of pendings | pendings | trash link | part 1 | table of consumers | consumers | trash cursor
//!   80 B         last id delivered | entries read, 2^64-1 if not known
//!
//!   consumer     tree of pendings | pendings | trash link | part 2 | last seen, Unix ms
//!   40 B
//!
//!   pending      id | last delivery, Unix ms | deliveries | blob of the consumer
//!   40 B
//!
//!   the tables   a blob each: the name, and the byte offset of the group or consumer
//!   the trees    a: ms of the id, b: byte offset of the node or pending, which begins with the id
//! ```
//!
//! A pending stands in the trees of its group and of its consumer. What is changed in place is changed by logged
//! stores with the slot locked; only the number of entries is read without a lock (`XLEN`), so it is stored last.
//!
//! The first four words are those of every large collection; the fourth says what the trash has before it.

pub(in crate::store) mod discard;
mod edit;
mod group;
mod id;
pub(in crate::store) mod image;
pub(in crate::store) mod index;
pub(in crate::store) mod node;
mod read;
mod trim;

pub use edit::StreamEdit;
pub use id::StreamId;
pub use image::{ConsumerImage, GroupImage, NodeImage, PendingImage, StreamImage};
pub use node::{NodeEntry, StreamEntry, StreamFields};
pub use read::{ConsumerRef, GroupRef, Pending, StreamNode, StreamRef};
pub use trim::{Trim, TrimTo};

use super::super::blob::Blob;
use super::super::dash::{Words, WordsMut};
use super::super::entry::Kind;
use super::super::error::StoreError;
use super::super::medium::{Reader, Writer};

/// Byte offsets in a header. The first four are those of groups and consumers too.
pub(in crate::store) const TREE_AT: u64 = 0;
pub(in crate::store) const LEN_AT: u64 = 8;
pub(in crate::store) const PART_AT: u64 = 24;
pub(in crate::store) const TABLE_AT: u64 = 32;
pub(in crate::store) const TABLE_LEN_AT: u64 = 40;
pub(in crate::store) const TABLE_CURSOR_AT: u64 = 48;
const LAST_AT: u64 = 56;
const ADDED_AT: u64 = 72;
const MAX_DELETED_AT: u64 = 80;
const FIRST_AT: u64 = 96;
const READ_AT: u64 = 72;
const SEEN_AT: u64 = 32;

const HEADER_WORDS: usize = 14;
const GROUP_WORDS: usize = 10;
const CONSUMER_WORDS: usize = 5;
const PENDING_WORDS: usize = 5;

/// In a pending: the blob of its consumer.
pub(in crate::store) const PENDING_CONSUMER_AT: u64 = 32;

/// Bytes of a pending.
pub(in crate::store) const PENDING_BYTES: u64 = 8 * PENDING_WORDS as u64;

/// What a block of a stream is that the trash may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Part {
    Header,
    Group,
    Consumer,
}

impl Part {
    fn code(self) -> u64 {
        match self {
            Part::Header => 0,
            Part::Group => 1,
            Part::Consumer => 2,
        }
    }

    /// What the block at `at` is; an unknown number reads as a consumer, which refers to least.
    pub(in crate::store) fn of<W: Words>(words: &W, at: u64) -> Part {
        match words.load(at + PART_AT) {
            0 => Part::Header,
            1 => Part::Group,
            _ => Part::Consumer,
        }
    }

    /// Bytes of the block.
    pub(in crate::store) fn bytes(self) -> u64 {
        8 * match self {
            Part::Header => HEADER_WORDS,
            Part::Group => GROUP_WORDS,
            Part::Consumer => CONSUMER_WORDS,
        } as u64
    }
}

/// The header of the stream in an entry's blob.
pub(in crate::store) fn header_of(reader: &Reader<'_>, blob: &Blob) -> Result<u64, StoreError> {
    match blob.kind() {
        Kind::Stream => Ok(blob.value_word(reader)),
        _ => Err(StoreError::WrongType),
    }
}

/// The number of entries, which may be read without a lock.
pub(in crate::store) fn len(reader: &Reader<'_>, header: u64) -> u64 {
    reader.load(header + LEN_AT)
}

/// A block for a stream, group or consumer with these words at their offsets; the others are zero.
fn alloc_part(
    writer: &mut Writer<'_, '_>,
    part: Part,
    filled: &[(u64, u64)],
) -> Result<u64, StoreError> {
    let mut words = [0; HEADER_WORDS];
    words[PART_AT as usize / 8] = part.code();
    for &(at, word) in filled {
        words[at as usize / 8] = word;
    }
    writer.alloc_words(&words[..part.bytes() as usize / 8])
}

fn load_id<W: Words>(words: &W, at: u64) -> StreamId {
    StreamId::new(words.load(at), words.load(at + 8))
}

/// The id that a node or pending begins with.
pub(in crate::store) fn id_of_block<W: Words>(words: &W, block: u64) -> StreamId {
    load_id(words, block)
}

/// Stores an id that readers use with the slot locked.
fn store_id(writer: &mut Writer<'_, '_>, at: u64, id: StreamId) -> Result<(), StoreError> {
    store_changed(writer, at, id.ms)?;
    store_changed(writer, at + 8, id.seq)
}

/// Stores a word if it changes.
fn store_changed(writer: &mut Writer<'_, '_>, at: u64, value: u64) -> Result<(), StoreError> {
    if writer.load(at) != value {
        writer.store_apart(at, value)?;
    }
    Ok(())
}
