//! Pushing and popping at the ends of a large list.

use crate::store::btree::Entry;
use crate::store::dash::WordsMut;
use crate::store::encoding::run::element_bytes;
use crate::store::error::StoreError;
use crate::store::medium::Writer;

use super::chunk::{Chunk, ELEMENTS_MAX};
use super::{End, Large, Limits, Packer, Piece};

/// Space of the first chunk at an end; each larger one has twice as much.
const SPACE_BYTES_MIN: usize = 1024;

impl Large {
    /// Adds elements at an end, one after another, the last of them outermost.
    pub(super) fn push(
        self,
        writer: &mut Writer<'_, '_>,
        elements: &[&[u8]],
        end: End,
        limits: &Limits,
    ) -> Result<(), StoreError> {
        let mut rest = elements;
        let mut publish = None;
        if let Some(chunk) = self.end(writer, end) {
            let (piece, taken) = fitting(&chunk, rest, end, limits);
            if taken > 0 {
                let state = chunk.extend(writer, &piece.bytes, piece.len, end)?;
                publish = Some((chunk.at, state));
                rest = &rest[taken..];
            }
            if rest.is_empty() {
                return match publish {
                    Some((at, state)) => writer.publish(at, state),
                    None => Ok(()),
                };
            }
            if let Some((at, state)) = publish {
                writer.store_apart(at, state)?;
            }
        }
        self.push_chunks(writer, rest, end, limits)
    }

    /// Adds elements at an end whose chunk has no room for the first of them.
    fn push_chunks(
        self,
        writer: &mut Writer<'_, '_>,
        elements: &[&[u8]],
        end: End,
        limits: &Limits,
    ) -> Result<(), StoreError> {
        // Outermost element last: the pieces are made from the inside out and reversed for the head.
        let mut pieces = Vec::new();
        let mut packer = OutwardPacker::new(limits, end);
        let mut first = elements;
        if let Some(chunk) = self.end(writer, end) {
            let grows = chunk.capacity() < limits.bytes
                && limits.allow(
                    chunk.len() + 1,
                    chunk.run_bytes() + element_bytes(elements[0].len()),
                );
            if grows {
                let taken = self.grow(writer, &chunk, elements, end, limits)?;
                first = &elements[taken..];
            }
        }
        for element in first {
            pieces.extend(packer.push(element));
        }
        let Some(last) = packer.finish() else {
            return Ok(());
        };
        if let Some(chunk) = self.end(writer, end) {
            self.shelve(writer, chunk.at, chunk.len(), end)?;
        }
        for piece in pieces {
            let at = piece.write(writer, piece.bytes.len(), End::Head)?;
            self.shelve(writer, at, piece.len, end)?;
        }
        let is_first = self.tree().is_empty(writer);
        let capacity = if is_first {
            (2 * last.bytes.len()).clamp(SPACE_BYTES_MIN, limits.bytes.max(SPACE_BYTES_MIN))
        } else {
            limits.bytes
        };
        let at = last.write(writer, capacity.max(last.bytes.len()), end.other())?;
        self.set_end(writer, end, at)
    }

    /// Replaces the chunk at an end by one with more space and more elements; how many it took.
    fn grow(
        self,
        writer: &mut Writer<'_, '_>,
        chunk: &Chunk,
        elements: &[&[u8]],
        end: End,
        limits: &Limits,
    ) -> Result<usize, StoreError> {
        let mut packer = OutwardPacker::new(limits, end);
        let reader = writer.reader();
        let run = chunk.run(&reader);
        match end {
            End::Tail => run.for_each(|element| drop(packer.push(element))),
            End::Head => run.rev().for_each(|element| drop(packer.push(element))),
        }
        let mut taken = 0;
        while taken < elements.len() && packer.has_room_for(elements[taken]) {
            packer.push(elements[taken]);
            taken += 1;
        }
        let Some(piece) = packer.finish() else {
            return Ok(0);
        };
        let capacity = (2 * piece.bytes.len()).clamp(SPACE_BYTES_MIN, limits.bytes);
        let at = piece.write(writer, capacity.max(piece.bytes.len()), end.other())?;
        self.set_end(writer, end, at)?;
        writer.free(chunk.at)?;
        Ok(taken)
    }

    /// Puts a chunk into the tree, at one end of it.
    pub(super) fn shelve(
        self,
        writer: &mut Writer<'_, '_>,
        at: u64,
        len: usize,
        end: End,
    ) -> Result<(), StoreError> {
        let tree = self.tree();
        let cursor = match end {
            End::Head => tree.first(writer),
            End::Tail => tree.end(writer),
        };
        let entry = Entry {
            a: len as u64,
            b: at,
        };
        tree.insert(writer, &cursor, entry)
    }

    /// Takes `count` elements off an end; there are more.
    pub(super) fn pop(
        self,
        writer: &mut Writer<'_, '_>,
        count: u64,
        end: End,
    ) -> Result<(), StoreError> {
        let mut left = count;
        while left > 0 {
            let own = self.end(writer, end);
            let Some(chunk) = own.or_else(|| self.unshelve_look(writer, end)) else {
                // The list is one chunk, at the other end.
                let Some(chunk) = self.end(writer, end.other()) else {
                    return Ok(());
                };
                return self.shorten(writer, &chunk, left as usize, end);
            };
            if own.is_none() {
                self.unshelve(writer, &chunk, end)?;
            }
            if left < chunk.len() as u64 {
                return self.shorten(writer, &chunk, left as usize, end);
            }
            self.set_end(writer, end, 0)?;
            writer.free(chunk.at)?;
            left -= chunk.len() as u64;
        }
        Ok(())
    }

    /// Whether more than `count` elements are in the chunk at an end, so that taking them off is one store.
    pub(super) fn end_outlasts(self, writer: &Writer<'_, '_>, count: u64, end: End) -> bool {
        self.end(writer, end)
            .is_some_and(|chunk| chunk.len() as u64 > count)
    }

    /// The outermost chunk of the tree.
    fn unshelve_look(self, writer: &Writer<'_, '_>, end: End) -> Option<Chunk> {
        let tree = self.tree();
        let mut cursor = match end {
            End::Head => tree.first(writer),
            End::Tail => tree.end(writer),
        };
        if end == End::Tail {
            cursor.prev(writer);
        }
        cursor
            .entry(writer)
            .map(|entry| Chunk::load(writer, entry.b))
    }

    /// Makes the outermost chunk of the tree the chunk at that end.
    fn unshelve(
        self,
        writer: &mut Writer<'_, '_>,
        chunk: &Chunk,
        end: End,
    ) -> Result<(), StoreError> {
        let tree = self.tree();
        let mut cursor = match end {
            End::Head => tree.first(writer),
            End::Tail => tree.end(writer),
        };
        if end == End::Tail {
            cursor.prev(writer);
        }
        tree.remove(writer, &cursor)?;
        self.set_end(writer, end, chunk.at)
    }

    /// Takes some of a chunk's elements off one side: the last store of the change.
    fn shorten(
        self,
        writer: &mut Writer<'_, '_>,
        chunk: &Chunk,
        count: usize,
        end: End,
    ) -> Result<(), StoreError> {
        let reader = writer.reader();
        let run = chunk.run(&reader);
        let bytes = match end {
            End::Head => run.take(count).map(|e| element_bytes(e.len())).sum(),
            End::Tail => run.rev().take(count).map(|e| element_bytes(e.len())).sum(),
        };
        writer.publish(chunk.at, chunk.shortened(bytes, count, end))
    }
}

impl End {
    /// The opposite end.
    pub fn other(self) -> End {
        match self {
            End::Head => End::Tail,
            End::Tail => End::Head,
        }
    }
}

/// The first elements that fit the spare space of a chunk, as a run; how many.
fn fitting(chunk: &Chunk, elements: &[&[u8]], end: End, limits: &Limits) -> (Piece, usize) {
    let spare = chunk.spare(end);
    let (mut bytes, mut taken) = (0, 0);
    for element in elements {
        let more = bytes + element_bytes(element.len());
        let allowed = limits.allow(chunk.len() + taken + 1, chunk.run_bytes() + more);
        if more > spare || !allowed {
            break;
        }
        bytes = more;
        taken += 1;
    }
    let mut piece = Piece::default();
    piece.bytes.reserve(bytes);
    match end {
        End::Tail => elements[..taken].iter().for_each(|e| piece.push(e)),
        End::Head => elements[..taken].iter().rev().for_each(|e| piece.push(e)),
    }
    (piece, taken)
}

/// Cuts elements into pieces as they are pushed at an end.
struct OutwardPacker<'e, 'l> {
    limits: &'l Limits,
    end: End,
    elements: Vec<&'e [u8]>,
    bytes: usize,
}

impl<'e, 'l> OutwardPacker<'e, 'l> {
    fn new(limits: &'l Limits, end: End) -> OutwardPacker<'e, 'l> {
        OutwardPacker {
            limits,
            end,
            elements: Vec::new(),
            bytes: 0,
        }
    }

    fn has_room_for(&self, element: &[u8]) -> bool {
        let bytes = self.bytes + element_bytes(element.len());
        self.elements.len() < ELEMENTS_MAX && self.limits.allow(self.elements.len() + 1, bytes)
    }

    /// Takes the next element; the piece before it, if that is full.
    fn push(&mut self, element: &'e [u8]) -> Option<Piece> {
        let full = if self.has_room_for(element) {
            None
        } else {
            self.take()
        };
        self.elements.push(element);
        self.bytes += element_bytes(element.len());
        full
    }

    fn take(&mut self) -> Option<Piece> {
        let mut elements = std::mem::take(&mut self.elements);
        if elements.is_empty() {
            return None;
        }
        self.bytes = 0;
        if self.end == End::Head {
            elements.reverse();
        }
        let all = Limits {
            elements: usize::MAX,
            bytes: usize::MAX,
        };
        let mut packer = Packer::new(&all);
        for element in elements {
            packer.push(element);
        }
        Some(packer.finish())
    }

    fn finish(mut self) -> Option<Piece> {
        self.take()
    }
}
