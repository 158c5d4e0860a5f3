//! A string as a view reads parts of it.

use std::ops::Range;

use super::StringShape;
use super::large::Piece;
use crate::store::entry::Text;
use crate::store::medium::Reader;

/// Bytes of a window.
pub(in crate::store) const WINDOW_BYTES: usize = 16;

/// A string in one state; see [`View::with_string`](crate::store::View::with_string).
#[derive(Clone, Copy)]
pub struct StringRead<'r, 'a> {
    pub(in crate::store) reader: &'r Reader<'a>,
    pub(in crate::store) shape: StringShape<'a>,
}

impl<'a> StringRead<'_, 'a> {
    /// The whole string, if it lies in one piece.
    pub fn text(&self) -> Option<Text<'a>> {
        match self.shape {
            StringShape::Text(text) => Some(text),
            StringShape::Large(_) => None,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match &self.shape {
            StringShape::Text(text) => text.len() as u64,
            StringShape::Large(large) => large.len(self.reader),
        }
    }

    /// Whether the string has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits the bytes of a range, as far as the string reaches.
    pub fn pieces(&self, range: Range<u64>, visit: &mut dyn FnMut(Piece<'_>)) {
        let len = self.len();
        let range = range.start.min(len)..range.end.min(len);
        if range.is_empty() {
            return;
        }
        match &self.shape {
            StringShape::Text(text) => {
                let mut digits = itoa::Buffer::new();
                let bytes = text.as_bytes(&mut digits);
                let (start, end) = (range.start as usize, range.end as usize);
                visit(Piece::Bytes(&bytes[start..end]));
            }
            StringShape::Large(large) => large.pieces(self.reader, range, visit),
        }
    }

    /// The bytes from a position; zeros beyond the end.
    pub fn window(&self, at: u64) -> [u8; WINDOW_BYTES] {
        let mut window = [0; WINDOW_BYTES];
        let mut filled = 0;
        let range = at..at.saturating_add(WINDOW_BYTES as u64);
        self.pieces(range, &mut |piece| {
            piece.for_each(|bytes| {
                window[filled..filled + bytes.len()].copy_from_slice(bytes);
                filled += bytes.len();
            });
        });
        window
    }
}
