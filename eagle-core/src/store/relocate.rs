//! RENAME, MOVE and COPY: an entry under another key or in another database.

use super::blob::{Blob, Draft};
use super::change::{Change, Contents, Place};
use super::error::StoreError;

/// A database and a key in it.
pub(super) type DbKey<'k> = (u8, &'k [u8]);

impl Change<'_, '_> {
    /// Moves an entry, replacing what is at the destination; whether there is one. A large collection's table stays
    /// where it is.
    pub(super) fn rename(&mut self, src: DbKey<'_>, dst: DbKey<'_>) -> Result<bool, StoreError> {
        let from = self.place(src.0, src.1);
        let Some(here) = from.live().copied() else {
            self.remove(&from, Contents::Discard)?;
            return Ok(false);
        };
        let reader = self.writer.reader();
        let value = here.blob.value(&reader);
        self.remove(&from, Contents::Keep)?;
        self.writer.settle();
        let to = self.place(dst.0, dst.1);
        self.put(
            &to,
            &draft_like(&here.blob, &to, here.ttl_at, value),
            Contents::Discard,
        )?;
        // What was there counts as removed before.
        self.note_readied(dst.0, dst.1, here.blob.kind());
        Ok(true)
    }

    /// Copies an entry, replacing what is at the destination; whether there is one.
    pub(super) fn copy(&mut self, src: DbKey<'_>, dst: DbKey<'_>) -> Result<bool, StoreError> {
        let from = self.place(src.0, src.1);
        let Some(here) = from.live().copied() else {
            self.remove(&from, Contents::Discard)?;
            return Ok(false);
        };
        let value = self.copied_value(&here.blob)?;
        let to = self.place(dst.0, dst.1);
        self.put(
            &to,
            &draft_like(&here.blob, &to, here.ttl_at, &value),
            Contents::Discard,
        )?;
        // What was there counts as removed before.
        self.note_readied(dst.0, dst.1, here.blob.kind());
        Ok(true)
    }
}

fn draft_like<'d>(blob: &Blob, to: &Place<'d>, ttl_at: Option<u64>, value: &'d [u8]) -> Draft<'d> {
    Draft {
        kind: blob.kind(),
        encoding: blob.encoding(),
        clock: blob.clock(),
        ttl_at,
        key: to.key,
        value,
    }
}
