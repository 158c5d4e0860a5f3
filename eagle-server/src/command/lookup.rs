//! Looking keys up on behalf of a client that reads them.
//!
//! `keyspace_hits` and `keyspace_misses` count look-ups of reading commands, and of writing commands
//! that reply the old value; look-ups before a mere write do not count, as in Redis.

use super::context::{Context, Flow, Outcome};
use super::errors::CommandError;
use eagle_core::resp::Writer;
use eagle_core::store::{Piece, StoreError, StringRead, Text};
use std::ops::Range;

impl<'a> Context<'a> {
    /// Counts and passes on what a look-up found. A key of another type is a hit.
    pub fn noted<T>(
        &self,
        found: Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, CommandError> {
        self.note_lookup(!matches!(found, Ok(None)));
        Ok(found?)
    }

    /// Replies the string at `key` of the selected database, or null; counted as a look-up. Whether there is one.
    pub fn reply_string(&mut self, key: &[u8]) -> Result<bool, CommandError> {
        let out = &mut *self.out;
        let found = self
            .view
            .with_string(self.session.db, key, |string| write_string(out, string));
        let is_there = self.noted(found)?.is_some();
        if !is_there {
            self.out.null();
        }
        Ok(is_there)
    }

    /// Replies a string value, or null.
    pub fn reply_text(&mut self, text: Option<Text<'_>>) -> Outcome {
        match text {
            Some(text) => write_text(self.out, text),
            None => self.out.null(),
        }
        Ok(Flow::Done)
    }
}

/// Writes a string value.
pub fn write_text(out: &mut Writer, text: Text<'_>) {
    match text {
        Text::Int(value) => out.bulk_integer(value),
        Text::Bytes(bytes) => out.bulk(bytes),
    }
}

/// Writes a string, from where its parts lie.
pub fn write_string(out: &mut Writer, string: &StringRead<'_, '_>) {
    match string.text() {
        Some(text) => write_text(out, text),
        None => write_part(out, string, 0..string.len()),
    }
}

/// Writes a part of a string, which reaches as far.
pub fn write_part(out: &mut Writer, string: &StringRead<'_, '_>, range: Range<u64>) {
    let len = (range.end - range.start) as usize;
    out.bulk_pieces(len, |out| {
        string.pieces(range, &mut |piece: Piece<'_>| {
            piece.for_each(|bytes| out.raw(bytes));
        });
    });
}
