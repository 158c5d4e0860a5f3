//! The large form of a string: chunks of equal size, found through an array.
//!
//! ```text
//!   entry blob   encoding 6: byte offset of the header
//!   header 32 B  { length, byte offset of the directory, trash link, trash cursor }
//!   directory    words: byte offset of each chunk, or 0 for a chunk of zeros
//!   chunk        bytes i * 16384 .. of the string
//! ```
//!
//! A string gets this form by the first change of a part of it, once it is long enough; SET keeps making one blob, which
//! is read without copying. It never goes back, and its length never falls.
//!
//! Invariants: every directory word below `length / 16384`, rounded up, is good; the bytes of a chunk up to the string's
//! length are good. What lies behind (words of the directory, bytes of the last chunk) may be anything. All chunks but
//! the last have all their bytes; the last one's block may be smaller.
//!
//! # Readers
//!
//! Chunks are written in place, so whoever looks at more than a word of them holds the slot's lock
//! ([`View::with_string`](crate::store::View::with_string) takes it). Without a lock the length and single words are
//! read, in the order length, directory, chunk: a string that grows meanwhile only gets more than was asked for, since
//! what is behind the length is written before the length is stored. What has been replaced (a directory, a chunk, the
//! string) stays as it was as long as the reader is pinned.

use std::ops::Range;

use crate::store::blob::Blob;
use crate::store::dash::{Words, WordsMut};
use crate::store::error::StoreError;
use crate::store::medium::{Reader, Writer};
use crate::store::trash::HEADER_BYTES;

/// Bytes of a chunk.
pub(in crate::store) const CHUNK_BYTES: u64 = if cfg!(test) { 64 } else { 16 << 10 };

/// A change of a part leaves a string of at least so many bytes in the large form.
///
/// Measured (`benches/parts.rs`, with this constant at 1 KiB; microseconds for one call in process, on two busy cores):
///
/// ```text
///   string                       1 KiB   4 KiB   8 KiB  16 KiB  64 KiB 256 KiB
///   GET           one blob         0.5     0.6     0.7     1.0     6.3    26
///                 chunks           1.2     1.1     1.2     2.2     8.4    24
///   SETBIT        one blob         1.9     2.1     2.1     5.0    16      59
///                 chunks           0.9     0.9     1.1     1.0     0.8     1.3
///   SETRANGE 100  one blob         3.6     2.4     3.6     5.6    14      59
///                 chunks           2.0     2.1     2.0     1.6     3.2     1.5
///   APPEND 10     one blob         2.6     2.6     6.2     9.8    20      59
///                 chunks           1.6     1.2     2.4     0.9     1.7     0.9
/// ```
///
/// Reading the large form takes half a microsecond more, for the slot's lock and the directory; a change of a blob takes a
/// copy. Below 8 KiB a change saves one microsecond or so, which a few reads lose again, and the form's own blocks weigh in;
/// from there on it saves several, and more with the size.
pub const LARGE_STRING_BYTES_MIN: u64 = if cfg!(test) { 96 } else { 8 << 10 };

/// Chunks freed in one step.
const FREED_MAX: u64 = 256;

static ZEROS: [u8; CHUNK_BYTES as usize] = [0; CHUNK_BYTES as usize];

/// A large string, known by its header.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Large {
    pub(in crate::store) header: u64,
}

/// Chunks of a string of `len` bytes.
pub(in crate::store) fn chunks(len: u64) -> u64 {
    len.div_ceil(CHUNK_BYTES)
}

impl Large {
    /// The string whose header an entry's blob names.
    pub(in crate::store) fn read(reader: &Reader<'_>, blob: &Blob) -> Large {
        Large {
            header: blob.value_word(reader),
        }
    }

    /// The value of the entry's blob.
    pub(in crate::store) fn to_bytes(self) -> [u8; 8] {
        self.header.to_le_bytes()
    }

    pub(super) fn len_at(self) -> u64 {
        self.header
    }

    /// Byte offset of the word that names the directory.
    pub(in crate::store) fn directory_at(self) -> u64 {
        self.header + 8
    }

    fn cursor_at(self) -> u64 {
        self.header + 24
    }

    /// Length in bytes.
    pub(in crate::store) fn len<W: Words>(self, words: &W) -> u64 {
        words.load(self.len_at())
    }

    /// Byte offset of the directory.
    pub(in crate::store) fn directory<W: Words>(self, words: &W) -> u64 {
        words.load(self.directory_at())
    }

    /// Byte offset of a chunk that the string reaches; 0 for one of zeros.
    pub(in crate::store) fn chunk<W: Words>(self, words: &W, number: u64) -> u64 {
        words.load(self.directory(words) + 8 * number)
    }

    /// The byte at a position, which may be beyond the end: zero then. Needs no lock.
    pub(in crate::store) fn byte<W: Words>(self, words: &W, at: u64) -> u8 {
        if at >= self.len(words) {
            return 0;
        }
        match self.chunk(words, at / CHUNK_BYTES) {
            0 => 0,
            chunk => {
                let at = chunk + at % CHUNK_BYTES;
                words.load(at & !7).to_le_bytes()[(at & 7) as usize]
            }
        }
    }

    /// Visits the bytes of a range that the string reaches, piece by piece. The caller has locked the slot.
    pub(in crate::store) fn pieces(
        self,
        reader: &Reader<'_>,
        range: Range<u64>,
        visit: &mut dyn FnMut(Piece<'_>),
    ) {
        let mut at = range.start;
        while at < range.end {
            let number = at / CHUNK_BYTES;
            let start = at % CHUNK_BYTES;
            let end = CHUNK_BYTES.min(range.end - number * CHUNK_BYTES);
            match self.chunk(reader, number) {
                0 => visit(Piece::Zeros((end - start) as usize)),
                chunk => bytes_of(reader, chunk + start..chunk + end, visit),
            }
            at = number * CHUNK_BYTES + end;
        }
    }

    /// Copies out a range that the string reaches. The caller has locked the slot.
    pub(in crate::store) fn copy_out(self, reader: &Reader<'_>, range: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        self.pieces(reader, range, &mut |piece| match piece {
            Piece::Bytes(piece) => bytes.extend_from_slice(piece),
            Piece::Zeros(len) => bytes.resize(bytes.len() + len, 0),
        });
        bytes
    }

    /// Bytes that the string takes besides its entry.
    pub(in crate::store) fn bytes(self, reader: &Reader<'_>) -> u64 {
        let (count, directory) = (chunks(self.len(reader)), self.directory(reader));
        let present = (0..count).filter(|number| reader.load(directory + 8 * number) != 0);
        HEADER_BYTES as u64 + 8 * count + CHUNK_BYTES * present.count() as u64
    }

    /// A string with the same bytes.
    pub(in crate::store) fn duplicate(
        self,
        writer: &mut Writer<'_, '_>,
    ) -> Result<Large, StoreError> {
        let reader = writer.reader();
        let len = self.len(&reader);
        let mut directory = Vec::with_capacity(chunks(len) as usize);
        for number in 0..chunks(len) {
            let used = CHUNK_BYTES.min(len - number * CHUNK_BYTES);
            directory.push(match self.chunk(&reader, number) {
                0 => 0,
                chunk => {
                    let copy = writer.alloc(used.next_multiple_of(8) as usize)?;
                    let mut at = copy;
                    bytes_of(&reader, chunk..chunk + used, &mut |piece| {
                        if let Piece::Bytes(piece) = piece {
                            writer.fill(at, piece);
                            at += piece.len() as u64;
                        }
                    });
                    copy
                }
            });
        }
        Large::write(writer, len, &directory)
    }

    /// Writes the header and the directory of fresh chunks.
    pub(super) fn write(
        writer: &mut Writer<'_, '_>,
        len: u64,
        directory: &[u64],
    ) -> Result<Large, StoreError> {
        let directory = writer.alloc_words(directory)?;
        let header = writer.alloc_words(&[len, directory, 0, 0])?;
        Ok(Large { header })
    }
}

/// Frees some of a string that is trash; whether all of it but the header is gone.
pub(in crate::store) fn discard(
    writer: &mut Writer<'_, '_>,
    header: u64,
    freed: &mut usize,
) -> Result<bool, StoreError> {
    let large = Large { header };
    let count = chunks(large.len(writer));
    let cursor = large.cursor(writer);
    let end = count.min(cursor + FREED_MAX);
    for number in cursor..end {
        let chunk = large.chunk(writer, number);
        if chunk != 0 {
            writer.free(chunk)?;
            *freed += 1;
        }
    }
    writer.store_apart(large.cursor_at(), end)?;
    if end < count {
        return Ok(false);
    }
    writer.free(large.directory(writer))?;
    *freed += 1;
    Ok(true)
}

impl Large {
    /// In the trash: chunks before this one are gone.
    pub(in crate::store) fn cursor<W: Words>(self, words: &W) -> u64 {
        words.load(self.cursor_at())
    }
}

/// A part of a string, as it lies in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'p> {
    /// Bytes.
    Bytes(&'p [u8]),
    /// So many zeros.
    Zeros(usize),
}

impl Piece<'_> {
    /// Passes the bytes on in slices; zeros, too.
    pub fn for_each(self, mut visit: impl FnMut(&[u8])) {
        match self {
            Piece::Bytes(bytes) => visit(bytes),
            Piece::Zeros(mut len) => {
                while len > 0 {
                    let part = len.min(ZEROS.len());
                    visit(&ZEROS[..part]);
                    len -= part;
                }
            }
        }
    }
}

/// Bytes of a chunk; those that the view's own transaction still holds back come from there.
fn bytes_of(reader: &Reader<'_>, range: Range<u64>, visit: &mut dyn FnMut(Piece<'_>)) {
    let slice = |from: u64, to: u64| reader.bytes(from, (to - from) as usize);
    let Some((at, word)) = reader.pending.within(range.clone()) else {
        return visit(Piece::Bytes(slice(range.start, range.end)));
    };
    let (from, to) = (at.max(range.start), (at + 8).min(range.end));
    let word = word.to_le_bytes();
    for piece in [
        slice(range.start, from),
        &word[(from - at) as usize..(to - at) as usize],
        slice(to, range.end),
    ] {
        if !piece.is_empty() {
            visit(Piece::Bytes(piece));
        }
    }
}
