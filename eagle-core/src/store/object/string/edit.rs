//! Changing a part of a string: written in place, or in a fresh copy of a chunk.
//!
//! What a change does to a large string comes in this order:
//!
//! 1. fresh blocks are filled, and bytes behind the string's length are written where they lie (nobody looks there);
//! 2. what is visible is stored: directory words of replaced chunks, logged bytes, and the length last. If that is one
//!    word it is published, and so is its own commit point: a bit set, or bytes appended to the last chunk.
//!
//! Of bytes in use up to half a chunk is overwritten in place, under the undo log; more than that goes into a fresh chunk.
//! So the log of one change takes one chunk's worth at most, since only a change's first and last chunk are written in part.

use smallvec::SmallVec;
use std::ops::Range;

use super::large::{CHUNK_BYTES, LARGE_STRING_BYTES_MIN, Large, chunks};
use super::{StringForm, StringShape};
use crate::store::change::{Change, Place};
use crate::store::dash::{Words, WordsMut};
use crate::store::entry::{Encoding, Kind, Ttl};
use crate::store::error::StoreError;
use crate::store::medium::Writer;

/// Bytes in use that are overwritten in place, at most.
const IN_PLACE_MAX: u64 = CHUNK_BYTES / 2;

impl Change<'_, '_> {
    /// Writes bytes at a position of the string at a place, which is made if absent and filled up with zeros to the
    /// position if it is shorter; its length after that. It is `raw` from then on.
    pub(in crate::store) fn patch_string(
        &mut self,
        place: &Place<'_>,
        at: u64,
        bytes: &[u8],
    ) -> Result<u64, StoreError> {
        let reader = self.writer.reader();
        let (old, ttl) = match place.live() {
            Some(here) => (StringShape::read(&reader, &here.blob)?, Ttl::Keep),
            None => (StringShape::EMPTY, Ttl::Clear),
        };
        let mut digits = itoa::Buffer::new();
        let old = match old {
            StringShape::Large(large) => {
                let len = Patch::new(large, &self.writer, at, bytes).write(&mut self.writer)?;
                self.note_change(place.db, place.key);
                return Ok(len);
            }
            StringShape::Text(text) => text.as_bytes(&mut digits).to_vec(),
        };
        let len = (old.len() as u64).max(at + bytes.len() as u64);
        if len < LARGE_STRING_BYTES_MIN {
            let (mut new, at) = (old, at as usize);
            new.resize(len as usize, 0);
            new[at..at + bytes.len()].copy_from_slice(bytes);
            self.put_string(place, &new, StringForm::Raw, ttl)?;
            return Ok(len);
        }
        let large = split(&mut self.writer, &old, len, at, bytes)?;
        self.put_value(
            place,
            (Kind::String, Encoding::Chunked),
            &large.to_bytes(),
            ttl,
        )?;
        Ok(len)
    }
}

/// The part of `range` that lies in a chunk, counted from the chunk's first byte; empty if none does.
fn within(range: &Range<u64>, number: u64) -> Range<u64> {
    let first = number * CHUNK_BYTES;
    let clamp = |at: u64| at.clamp(first, first + CHUNK_BYTES) - first;
    clamp(range.start)..clamp(range.end)
}

/// Writes a large string of `len` bytes: `old`, zeros, and over them `bytes` at a position.
fn split(
    writer: &mut Writer<'_, '_>,
    old: &[u8],
    len: u64,
    at: u64,
    bytes: &[u8],
) -> Result<Large, StoreError> {
    let patch = at..at + bytes.len() as u64;
    let mut directory = Vec::new();
    directory
        .try_reserve_exact(chunks(len) as usize)
        .map_err(|_| StoreError::OutOfSpace)?;
    directory.resize(chunks(len) as usize, 0);
    let mut content = Vec::with_capacity(CHUNK_BYTES as usize);
    for (number, word) in (0..).zip(&mut directory) {
        let first = number * CHUNK_BYTES;
        let (kept, patched) = (
            within(&(0..old.len() as u64), number),
            within(&patch, number),
        );
        if kept.is_empty() && patched.is_empty() {
            continue;
        }
        content.clear();
        if !kept.is_empty() {
            content.extend_from_slice(&old[first as usize..(first + kept.end) as usize]);
        }
        content.resize(CHUNK_BYTES.min(len - first) as usize, 0);
        overlay(&mut content, patched, first, at, bytes);
        if content.iter().any(|byte| *byte != 0) {
            *word = fresh_chunk(writer, &content, content.len() as u64)?;
        }
    }
    Large::write(writer, len, &directory)
}

/// Writes what of `bytes`, which go to `at`, belongs into a chunk that begins at `first`.
fn overlay(content: &mut [u8], patched: Range<u64>, first: u64, at: u64, bytes: &[u8]) {
    if !patched.is_empty() {
        let from = (first + patched.start - at) as usize;
        let part = &bytes[from..from + (patched.end - patched.start) as usize];
        content[patched.start as usize..patched.end as usize].copy_from_slice(part);
    }
}

fn fresh_chunk(
    writer: &mut Writer<'_, '_>,
    content: &[u8],
    capacity: u64,
) -> Result<u64, StoreError> {
    let chunk = writer.alloc(capacity.next_multiple_of(8) as usize)?;
    writer.fill(chunk, content);
    Ok(chunk)
}

/// A visible store that waits until all hidden ones are done.
enum Visible<'b> {
    Word(u64, u64),
    Bytes(u64, &'b [u8]),
}

/// A change of a large string under way.
struct Patch<'b> {
    large: Large,
    /// Where the bytes go.
    range: Range<u64>,
    bytes: &'b [u8],
    /// Lengths before and after.
    len: u64,
    new_len: u64,
    /// The directory, or the fresh one that takes its place.
    directory: u64,
    visible: SmallVec<[Visible<'b>; 4]>,
    /// Blocks that go with the change.
    gone: SmallVec<[u64; 4]>,
}

impl<'b> Patch<'b> {
    fn new(large: Large, writer: &Writer<'_, '_>, at: u64, bytes: &'b [u8]) -> Patch<'b> {
        let len = large.len(writer);
        let range = at..at + bytes.len() as u64;
        Patch {
            large,
            len,
            new_len: len.max(range.end),
            range,
            bytes,
            directory: large.directory(writer),
            visible: SmallVec::new(),
            gone: SmallVec::new(),
        }
    }

    /// Makes the change; the length after it.
    fn write(mut self, writer: &mut Writer<'_, '_>) -> Result<u64, StoreError> {
        let (count, new_count) = (chunks(self.len), chunks(self.new_len));
        if new_count > count {
            self.extend_directory(writer, count, new_count)?;
        }
        // The last chunk so far has to be made longer even if the bytes lie behind it, or there are none.
        let tail = count.saturating_sub(1);
        let first = self.range.start / CHUNK_BYTES;
        if self.new_len > self.len && (tail < first || self.bytes.is_empty()) {
            self.chunk(writer, tail)?;
        }
        if !self.bytes.is_empty() {
            for number in first..=(self.range.end - 1) / CHUNK_BYTES {
                self.chunk(writer, number)?;
            }
        }
        if self.new_len > self.len {
            self.visible
                .push(Visible::Word(self.large.len_at(), self.new_len));
        }
        self.show(writer)?;
        for block in &self.gone {
            writer.free(*block)?;
        }
        Ok(self.new_len)
    }

    /// Makes room for `new_count` words in the directory; those behind the first `count` are zero then.
    fn extend_directory(
        &mut self,
        writer: &mut Writer<'_, '_>,
        count: u64,
        new_count: u64,
    ) -> Result<(), StoreError> {
        if new_count <= writer.block_bytes(self.directory) / 8 {
            let zeros = vec![0; 8 * (new_count - count) as usize];
            return writer.write_spare(self.directory + 8 * count, &zeros);
        }
        // Room for half as many more: a string that grows by appending pays for this seldom.
        let capacity =
            usize::try_from(8 * (new_count + new_count / 2)).map_err(|_| StoreError::OutOfSpace)?;
        let directory = writer.alloc(capacity)?;
        let old = writer.reader().bytes(self.directory, 8 * count as usize);
        writer.fill(directory, old);
        writer.fill_zero(directory + 8 * count, 8 * (new_count - count) as usize);
        self.visible
            .push(Visible::Word(self.large.directory_at(), directory));
        self.gone.push(self.directory);
        self.directory = directory;
        Ok(())
    }

    /// Brings one chunk up to what it is to be.
    fn chunk(&mut self, writer: &mut Writer<'_, '_>, number: u64) -> Result<(), StoreError> {
        let first = number * CHUNK_BYTES;
        let used = within(&(0..self.len), number).end;
        let new_used = CHUNK_BYTES.min(self.new_len - first);
        let patched = within(&self.range, number);
        let bytes = self.bytes;
        let part = match patched.is_empty() {
            true => &[][..],
            false => {
                let from = (first + patched.start - self.range.start) as usize;
                &bytes[from..from + (patched.end - patched.start) as usize]
            }
        };
        let chunk = if used > 0 {
            writer.load(self.directory + 8 * number)
        } else {
            0
        };
        if chunk == 0 {
            if part.iter().any(|byte| *byte != 0) {
                let mut content = vec![0; new_used as usize];
                content[patched.start as usize..patched.end as usize].copy_from_slice(part);
                let fresh = fresh_chunk(writer, &content, CHUNK_BYTES)?;
                self.set_chunk(writer, number, fresh, used > 0)?;
            }
            return Ok(());
        }
        let overwritten = patched.end.min(used).saturating_sub(patched.start);
        if overwritten > IN_PLACE_MAX || new_used > writer.block_bytes(chunk) {
            let capacity = match new_used > used {
                true => CHUNK_BYTES.min(2 * new_used),
                false => CHUNK_BYTES.min(writer.block_bytes(chunk)),
            };
            let mut content = vec![0; new_used as usize];
            content[..used as usize].copy_from_slice(writer.reader().bytes(chunk, used as usize));
            if !part.is_empty() {
                content[patched.start as usize..patched.end as usize].copy_from_slice(part);
            }
            let fresh = fresh_chunk(writer, &content, capacity)?;
            self.set_chunk(writer, number, fresh, true)?;
            self.gone.push(chunk);
            return Ok(());
        }
        let (visible, spare) = part.split_at(overwritten as usize);
        if !visible.is_empty() {
            self.visible
                .push(Visible::Bytes(chunk + patched.start, visible));
        }
        // Zeros between what was used and the bytes, or up to the end if there are none.
        let spare_from = match spare.is_empty() {
            true => new_used,
            false => patched.start + overwritten,
        };
        if spare_from > used {
            write_hidden(writer, chunk + used, &vec![0; (spare_from - used) as usize])?;
        }
        if !spare.is_empty() {
            write_hidden(writer, chunk + spare_from, spare)?;
        }
        Ok(())
    }

    /// Stores the directory word of a chunk, at once if nobody looks at it yet.
    fn set_chunk(
        &mut self,
        writer: &mut Writer<'_, '_>,
        number: u64,
        chunk: u64,
        in_use: bool,
    ) -> Result<(), StoreError> {
        let at = self.directory + 8 * number;
        if self.directory != self.large.directory(writer) {
            writer.fill_word(at, chunk);
        } else if in_use {
            self.visible.push(Visible::Word(at, chunk));
        } else {
            writer.store_hidden(at, chunk)?;
        }
        Ok(())
    }

    /// Carries out the visible stores: one word is published, more are logged.
    fn show(&self, writer: &mut Writer<'_, '_>) -> Result<(), StoreError> {
        let Some((last, before)) = self.visible.split_last() else {
            return Ok(());
        };
        if !before.is_empty() {
            writer.exclude_readers();
        }
        for store in before {
            match *store {
                Visible::Word(at, value) => writer.store_apart(at, value)?,
                Visible::Bytes(at, bytes) => writer.overwrite(at, bytes)?,
            }
        }
        match *last {
            Visible::Word(at, value) => writer.publish(at, value),
            Visible::Bytes(at, bytes) => {
                let skip = (at & 7) as usize;
                if skip + bytes.len() > 8 {
                    return writer.overwrite(at, bytes);
                }
                let mut word = writer.load(at & !7).to_le_bytes();
                word[skip..skip + bytes.len()].copy_from_slice(bytes);
                writer.publish(at & !7, u64::from_le_bytes(word))
            }
        }
    }
}

/// Writes bytes that nobody looks at yet. The word that they share with bytes in use is stored whole, because it may be
/// read meanwhile.
fn write_hidden(writer: &mut Writer<'_, '_>, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
    let skip = (at & 7) as usize;
    let (shared, rest) = bytes.split_at(match skip {
        0 => 0,
        _ => bytes.len().min(8 - skip),
    });
    if !shared.is_empty() {
        let mut word = writer.load(at & !7).to_le_bytes();
        word[skip..skip + shared.len()].copy_from_slice(shared);
        writer.store_hidden(at & !7, u64::from_le_bytes(word))?;
    }
    if rest.is_empty() {
        return Ok(());
    }
    writer.write_spare(at + shared.len() as u64, rest)
}
