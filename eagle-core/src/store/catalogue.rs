//! The catalogue: bytes that belong to the dataset but are no key. The server keeps the sources of its function
//! libraries there; the store does not look inside.
//!
//! ```text
//!   u64  length in bytes
//!        the bytes
//! ```
//!
//! The block never changes: a new catalogue is another block, and one word of the root area tells which counts. That
//! word is changed with all slots locked, so a change of the catalogue goes with whatever else its transaction does.

use super::dash::{Words, WordsMut};
use super::error::StoreError;
use super::medium::{Reader, Writer};
use super::root;
use super::view::View;

/// Bytes before the content.
const HEADER_BYTES: usize = 8;

/// The content of the block at `at`.
fn content<'a>(reader: &Reader<'a>, at: u64) -> &'a [u8] {
    let len = reader.load_header(at) as usize;
    reader.bytes(at + HEADER_BYTES as u64, len)
}

/// The block that the root area names, and how many of its bytes are in use; for the check.
pub(super) fn block(reader: &Reader<'_>, root: u64) -> Option<(u64, u64)> {
    let at = reader.load(root::catalogue_at(root));
    (at != 0).then(|| (at, HEADER_BYTES as u64 + reader.load_header(at)))
}

fn write(writer: &mut Writer<'_, '_>, bytes: &[u8]) -> Result<u64, StoreError> {
    let at = writer.alloc(HEADER_BYTES + bytes.len())?;
    writer.fill_word(at, bytes.len() as u64);
    writer.fill(at + HEADER_BYTES as u64, bytes);
    Ok(at)
}

impl<'a> View<'a> {
    /// The catalogue, this view's own change included; empty if there is none. Needs no lock.
    pub fn catalogue(&self) -> &'a [u8] {
        let reader = self.reader();
        let at = reader.load(root::catalogue_at(self.keyspace().root()));
        if at == 0 { &[] } else { content(&reader, at) }
    }

    /// Replaces the catalogue; nothing removes it. Needs [`Access::All`](super::Access::All). Counts as a change.
    pub fn set_catalogue(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        assert!(
            self.locks_all(),
            "the catalogue changes with all slots locked"
        );
        self.change(|change| {
            let word_at = root::catalogue_at(change.keyspace.root());
            let old = change.writer.load(word_at);
            let new = if bytes.is_empty() {
                0
            } else {
                write(&mut change.writer, bytes)?
            };
            change.writer.store(word_at, new)?;
            if old != 0 {
                change.writer.free(old)?;
            }
            change.notes.dirty += 1;
            Ok(())
        })
    }
}
