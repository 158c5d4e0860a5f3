//! Looking keys up on behalf of a client that reads them.
//!
//! `keyspace_hits` and `keyspace_misses` count look-ups of reading commands, and of writing commands
//! that reply the old value; look-ups before a mere write do not count, as in Redis.

use super::context::{Context, Flow, Outcome};
use super::errors::CommandError;
use eagle_core::resp::Writer;
use eagle_core::store::{StoreError, Text};

impl<'a> Context<'a> {
    /// Counts and passes on what a look-up found. A key of another type is a hit.
    pub fn noted<T>(
        &self,
        found: Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, CommandError> {
        self.note_lookup(!matches!(found, Ok(None)));
        Ok(found?)
    }

    /// The string at `key` of the selected database, counted as a look-up.
    pub fn read_string(&self, key: &[u8]) -> Result<Option<Text<'a>>, CommandError> {
        self.noted(self.view.string(self.db(), key))
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
