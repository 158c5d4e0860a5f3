//! A chunk: a block with a run of elements somewhere in it and spare space on both sides.
//!
//! ```text
//!   u64   63..48 elements | 47..24 end | 23..0 start        the state: where in the space the run is
//!   u64   bytes of the space | bit 63: the space is one element by itself, and the state counts only it
//!         the space
//! ```
//!
//! Elements are added by writing them beside the run, where nobody reads, and then storing the state; they are taken
//! off by storing the state. An element too long for a chunk has one of its own, which has no spare space.

use crate::store::dash::Words;
use crate::store::encoding::run::Run;
use crate::store::error::StoreError;
use crate::store::medium::{Reader, Writer};

use super::End;

/// Bytes before the space.
pub(in crate::store) const HEAD_BYTES: u64 = 16;

/// Largest space whose places the state can name.
pub(in crate::store) const SPACE_BYTES_MAX: usize = (1 << 24) - 1;

/// Most elements of a chunk.
pub(in crate::store) const ELEMENTS_MAX: usize = (1 << 16) - 1;

const WHOLE: u64 = 1 << 63;

/// A chunk, its two words read.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Chunk {
    pub(in crate::store) at: u64,
    state: State,
    space: u64,
}

/// Where in the space the run is.
#[derive(Clone, Copy, Debug)]
struct State {
    start: usize,
    end: usize,
    len: usize,
}

impl State {
    fn from_raw(raw: u64) -> State {
        State {
            start: raw as usize & SPACE_BYTES_MAX,
            end: (raw >> 24) as usize & SPACE_BYTES_MAX,
            len: (raw >> 48) as usize,
        }
    }

    fn raw(self) -> u64 {
        (self.len as u64) << 48 | (self.end as u64) << 24 | self.start as u64
    }
}

impl Chunk {
    /// Reads the head of the chunk at byte offset `at`.
    pub(in crate::store) fn load<W: Words>(words: &W, at: u64) -> Chunk {
        Chunk {
            at,
            state: State::from_raw(words.load(at)),
            space: words.load(at + 8),
        }
    }

    /// Writes a fresh chunk with `capacity` bytes of space; the run stands at the side away from which it may grow.
    pub(in crate::store) fn write(
        writer: &mut Writer<'_, '_>,
        run: &[u8],
        len: usize,
        capacity: usize,
        side: End,
    ) -> Result<u64, StoreError> {
        let is_whole = run.len() > SPACE_BYTES_MAX;
        let capacity = if is_whole {
            run.len()
        } else {
            capacity.clamp(run.len(), SPACE_BYTES_MAX)
        };
        let start = match side {
            End::Head => 0,
            End::Tail => capacity - run.len(),
        };
        let state = if is_whole {
            State {
                start: 0,
                end: 0,
                len,
            }
        } else {
            State {
                start,
                end: start + run.len(),
                len,
            }
        };
        let at = writer.alloc(HEAD_BYTES as usize + capacity)?;
        writer.fill_word(at, state.raw());
        let whole = if is_whole { WHOLE } else { 0 };
        writer.fill_word(at + 8, capacity as u64 | whole);
        writer.fill(at + HEAD_BYTES + start as u64, run);
        Ok(at)
    }

    /// Number of elements.
    pub(in crate::store) fn len(&self) -> usize {
        self.state.len
    }

    fn is_whole(&self) -> bool {
        self.space & WHOLE != 0
    }

    /// Bytes of the space.
    pub(in crate::store) fn capacity(&self) -> usize {
        (self.space & !WHOLE) as usize
    }

    /// Bytes of the run.
    pub(in crate::store) fn run_bytes(&self) -> usize {
        let (start, end) = self.bounds();
        end - start
    }

    fn bounds(&self) -> (usize, usize) {
        if self.is_whole() {
            return (0, self.capacity());
        }
        let end = self.state.end.min(self.capacity());
        (self.state.start.min(end), end)
    }

    /// Bytes of the block.
    pub(in crate::store) fn block_bytes(&self) -> u64 {
        HEAD_BYTES + self.capacity() as u64
    }

    /// The elements.
    pub(in crate::store) fn run<'a>(&self, reader: &Reader<'a>) -> Run<'a> {
        let (start, end) = self.bounds();
        Run::new(reader.bytes(self.at + HEAD_BYTES + start as u64, end - start))
    }

    /// Spare bytes at one end of the run.
    pub(in crate::store) fn spare(&self, end: End) -> usize {
        let (start, stop) = self.bounds();
        match end {
            End::Head => start,
            End::Tail => self.capacity() - stop,
        }
    }

    /// Adds `len` elements at an end, where there is room: the new state, for the caller to store.
    pub(in crate::store) fn extend(
        &self,
        writer: &mut Writer<'_, '_>,
        run: &[u8],
        len: usize,
        end: End,
    ) -> Result<u64, StoreError> {
        debug_assert!(run.len() <= self.spare(end) && self.len() + len <= ELEMENTS_MAX);
        let mut state = self.state;
        state.len += len;
        let at = match end {
            End::Head => {
                state.start -= run.len();
                state.start
            }
            End::Tail => {
                state.end += run.len();
                state.end - run.len()
            }
        };
        writer.write_spare(self.at + HEAD_BYTES + at as u64, run)?;
        Ok(state.raw())
    }

    /// The state without the first or last elements: `len` of them, of `bytes` bytes.
    pub(in crate::store) fn shortened(&self, bytes: usize, len: usize, end: End) -> u64 {
        debug_assert!(len < self.len() && !self.is_whole());
        let mut state = self.state;
        state.len -= len;
        match end {
            End::Head => state.start += bytes,
            End::Tail => state.end -= bytes,
        }
        state.raw()
    }

    /// Whether the state fits the space.
    pub(in crate::store) fn is_sound(&self) -> bool {
        let State { start, end, len } = self.state;
        len > 0
            && if self.is_whole() {
                len == 1
            } else {
                start <= end && end <= self.capacity()
            }
    }
}
