//! Lists: one run of bytes while small; when large, chunks of runs, those at the ends apart from the others.
//!
//! ```text
//!   packed   entry blob: the run
//!   large    entry blob: byte offset of the header
//!            header 32 B: { root word of a tree of chunks, head chunk or 0, trash link, tail chunk or 0 }
//! ```
//!
//! The list is the head chunk, then the chunks of the tree, then the tail chunk. Head and tail are not in the tree so
//! that a push or pop at an end is *one* store, that of the chunk's state, and thereby its own commit point: no log
//! entry, no counts to carry up a tree. Only when an end chunk is full it goes into the tree, and when an end has no
//! chunk left one comes out. Chunks of the tree never change; changes in the middle replace them.
//!
//! Invariants: no chunk is empty; there is at least one chunk; a chunk in the tree has its number of elements as its
//! weight. A list never goes back to the packed form.
//!
//! Readers hold the slot's lock: what lies in a chunk's spare space is written in place.

pub(in crate::store) mod chunk;
pub(in crate::store) mod edit;
mod ends;
pub(in crate::store) mod read;

use crate::store::blob::Blob;
use crate::store::btree::{Build, Entry, Order, Tree};
use crate::store::change::{Change, Contents, Place};
use crate::store::dash::{Words, WordsMut};
use crate::store::encoding::run::{self, Run, element_bytes};
use crate::store::entry::{Encoding, Kind, Ttl};
use crate::store::error::StoreError;
use crate::store::medium::{Reader, Writer};
use crate::store::trash::HEADER_BYTES;
use chunk::Chunk;
use smallvec::SmallVec;

/// Bytes of elements up to which a list is packed.
pub(in crate::store) const PACKED_BYTES_MAX: usize = 512;

const HEAD_AT: u64 = 8;
const TAIL_AT: u64 = 24;

/// What was taken off a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Popped {
    /// Elements.
    pub count: u64,
    /// The last one went, and the key with it.
    pub key_gone: bool,
}

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Left: the first element.
    Head,
    /// Right: the last element.
    Tail,
}

/// How large chunks may be.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Limits {
    pub(in crate::store) elements: usize,
    pub(in crate::store) bytes: usize,
}

impl Limits {
    /// Whether a chunk may have so many elements in so many bytes.
    fn allow(&self, elements: usize, bytes: usize) -> bool {
        elements <= 1 || (elements <= self.elements && bytes <= self.bytes)
    }
}

/// The order of chunks in the tree: by position, weighing as much as they have elements.
pub(in crate::store) struct Chunks;

impl Order for Chunks {
    const KEYED: bool = false;

    fn weight(a: u64) -> u64 {
        a
    }
}

/// A list in either form.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum ListForm<'a> {
    Packed(Run<'a>),
    Large(Large),
}

impl<'a> ListForm<'a> {
    /// The list in an entry's blob.
    pub(in crate::store) fn read(
        reader: &Reader<'a>,
        blob: &Blob,
    ) -> Result<ListForm<'a>, StoreError> {
        match blob.encoding() {
            _ if blob.kind() != Kind::List => Err(StoreError::WrongType),
            Encoding::Quicklist => Ok(ListForm::Large(Large {
                header: blob.value_word(reader),
            })),
            _ => Ok(ListForm::Packed(Run::new(blob.value(reader)))),
        }
    }
}

/// A large list, known by its header.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Large {
    pub(in crate::store) header: u64,
}

impl Large {
    /// The chunks between head and tail.
    pub(in crate::store) fn tree(self) -> Tree<Chunks> {
        Tree::new(self.header)
    }

    /// The chunk at an end that is not in the tree.
    pub(in crate::store) fn end<W: Words>(self, words: &W, end: End) -> Option<Chunk> {
        match words.load(self.end_at(end)) {
            0 => None,
            at => Some(Chunk::load(words, at)),
        }
    }

    /// Byte offset of the word that names the chunk at an end.
    pub(in crate::store) fn end_at(self, end: End) -> u64 {
        self.header
            + match end {
                End::Head => HEAD_AT,
                End::Tail => TAIL_AT,
            }
    }

    fn set_end(self, writer: &mut Writer<'_, '_>, end: End, at: u64) -> Result<(), StoreError> {
        writer.store_apart(self.end_at(end), at)
    }

    /// Number of elements.
    pub(in crate::store) fn len(self, reader: &Reader<'_>) -> u64 {
        let ends = [End::Head, End::Tail];
        let ends = ends.map(|end| self.end(reader, end).map_or(0, |chunk| chunk.len() as u64));
        self.tree().weight(reader) + ends[0] + ends[1]
    }

    /// All chunks, in order.
    pub(in crate::store) fn chunks(self, reader: &Reader<'_>) -> Vec<u64> {
        let mut chunks = Vec::new();
        chunks.extend(self.end(reader, End::Head).map(|chunk| chunk.at));
        let mut cursor = self.tree().first(reader);
        while let Some(entry) = cursor.entry(reader) {
            chunks.push(entry.b);
            cursor.next(reader);
        }
        chunks.extend(self.end(reader, End::Tail).map(|chunk| chunk.at));
        chunks
    }

    /// A list of these elements, of which there is at least one.
    fn of<'e>(
        writer: &mut Writer<'_, '_>,
        elements: impl Iterator<Item = &'e [u8]>,
        limits: &Limits,
    ) -> Result<Large, StoreError> {
        let mut build = Build::<Chunks>::default();
        let mut packer = Packer::new(limits);
        let mut is_alone = true;
        for element in elements {
            if let Some(piece) = packer.push(element) {
                let at = piece.write(writer, piece.bytes.len(), End::Head)?;
                let entry = Entry {
                    a: piece.len as u64,
                    b: at,
                };
                build.push(writer, entry)?;
                is_alone = false;
            }
        }
        let last = packer.finish();
        // The end goes on growing, as far as can be told.
        let capacity = if is_alone {
            last.bytes.len()
        } else {
            limits.bytes.max(last.bytes.len())
        };
        let tail = last.write(writer, capacity, End::Head)?;
        let root = build.finish(writer)?;
        let words = [root, 0, 0, tail];
        const { assert!(HEADER_BYTES == 32) };
        Ok(Large {
            header: writer.alloc_words(&words)?,
        })
    }
}

/// Elements for one chunk.
#[derive(Default)]
pub(in crate::store) struct Piece {
    pub(in crate::store) len: usize,
    /// Most pieces are one short element that goes into a chunk there is.
    pub(in crate::store) bytes: SmallVec<[u8; 128]>,
}

impl Piece {
    fn push(&mut self, element: &[u8]) {
        self.len += 1;
        run::push(&mut self.bytes, element);
    }

    /// Writes a chunk with room for `capacity` bytes, these at one end of it.
    fn write(
        &self,
        writer: &mut Writer<'_, '_>,
        capacity: usize,
        side: End,
    ) -> Result<u64, StoreError> {
        Chunk::write(writer, &self.bytes, self.len, capacity, side)
    }
}

/// Cuts a sequence of elements into pieces as large as the limits allow.
pub(in crate::store) struct Packer<'l> {
    limits: &'l Limits,
    piece: Piece,
}

impl<'l> Packer<'l> {
    pub(in crate::store) fn new(limits: &'l Limits) -> Packer<'l> {
        Packer {
            limits,
            piece: Piece::default(),
        }
    }

    /// Takes the next element; the piece before it, if that is full.
    pub(in crate::store) fn push(&mut self, element: &[u8]) -> Option<Piece> {
        let bytes = self.piece.bytes.len() + element_bytes(element.len());
        let full = (!self.limits.allow(self.piece.len + 1, bytes))
            .then(|| std::mem::take(&mut self.piece));
        self.piece.push(element);
        full
    }

    /// The last piece.
    pub(in crate::store) fn finish(self) -> Piece {
        self.piece
    }
}

impl Change<'_, '_> {
    /// Replaces whatever is at a place by a list of these elements.
    pub(in crate::store) fn put_list(
        &mut self,
        place: &Place<'_>,
        elements: &[&[u8]],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        if elements.is_empty() {
            self.remove(place, Contents::Discard)?;
            return Ok(());
        }
        let bytes: usize = elements.iter().map(|e| element_bytes(e.len())).sum();
        if bytes > PACKED_BYTES_MAX {
            let limits = self.keyspace.settings().list_limits();
            let elements = elements.iter().copied();
            let large = Large::of(&mut self.writer, elements, &limits)?;
            return self.put_form(place, &large.header.to_le_bytes(), true, ttl);
        }
        let mut value: SmallVec<[u8; PACKED_BYTES_MAX]> = SmallVec::new();
        for element in elements {
            run::push(&mut value, element);
        }
        self.put_form(place, &value, false, ttl)
    }

    fn put_form(
        &mut self,
        place: &Place<'_>,
        value: &[u8],
        large: bool,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        let encoding = if large {
            Encoding::Quicklist
        } else {
            Encoding::Listpack
        };
        self.put_value(place, (Kind::List, encoding), value, ttl)
    }

    /// Copies a large list for another key: the value of the copy's blob.
    pub(in crate::store) fn copied_list(&mut self, blob: &Blob) -> Result<Vec<u8>, StoreError> {
        let reader = self.writer.reader();
        let large = Large {
            header: blob.value_word(&reader),
        };
        let chunks = large.chunks(&reader);
        let elements = chunks
            .iter()
            .flat_map(|&at| Chunk::load(&reader, at).run(&reader));
        let limits = self.keyspace.settings().list_limits();
        let copy = Large::of(&mut self.writer, elements, &limits)?;
        Ok(copy.header.to_le_bytes().to_vec())
    }
}

/// Frees some of what a list in the trash holds; whether nothing is left.
pub(in crate::store) fn discard(
    writer: &mut Writer<'_, '_>,
    header: u64,
    freed: &mut usize,
) -> Result<bool, StoreError> {
    let large = Large { header };
    for end in [End::Head, End::Tail] {
        if let Some(chunk) = large.end(writer, end) {
            *freed += 1;
            writer.free(chunk.at)?;
            large.set_end(writer, end, 0)?;
        }
    }
    large
        .tree()
        .dismantle(writer, &mut |writer: &mut Writer<'_, '_>, entry| {
            *freed += 1;
            writer.free(entry.b)
        })
}
