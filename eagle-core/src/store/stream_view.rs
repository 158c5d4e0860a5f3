//! Streams in a view.

use super::entry::Ttl;
use super::error::StoreError;
use super::object::stream::{self, StreamEdit, StreamImage, StreamRef};
use super::view::View;

impl<'a> View<'a> {
    /// The stream at `key`, whose slot is locked.
    pub fn stream(&self, db: u8, key: &[u8]) -> Result<Option<StreamRef<'a>>, StoreError> {
        let slot = self.slot_of(key);
        let header = self.read(slot, |reader| {
            self.lookup(reader, db, slot, key)
                .map(|here| stream::header_of(reader, &here.blob))
                .transpose()
        });
        let header = header.0?;
        Ok(header.map(|header| StreamRef::new(self.reader(), header)))
    }

    /// The number of entries of the stream at `key`. Needs no lock.
    pub fn stream_len(&self, db: u8, key: &[u8]) -> Result<Option<u64>, StoreError> {
        let slot = self.slot_of(key);
        self.read(slot, |reader| {
            self.lookup(reader, db, slot, key)
                .map(|here| {
                    let header = stream::header_of(reader, &here.blob)?;
                    Ok(stream::len(reader, header))
                })
                .transpose()
        })
        .0
    }

    /// Changes the stream at `key`: all that `edit` does or, if it fails, nothing. `None` if there is none. If `make`
    /// says so, one is made.
    pub fn edit_stream<T>(
        &mut self,
        db: u8,
        key: &[u8],
        make: bool,
        edit: impl FnOnce(&mut StreamEdit<'_, '_, 'a>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            match change.edit_stream(&place, make)? {
                Some(mut stream) => edit(&mut stream).map(Some),
                None => Ok(None),
            }
        })
    }

    /// Replaces whatever `key` holds by a stream (RESTORE).
    pub fn set_stream(
        &mut self,
        db: u8,
        key: &[u8],
        image: &StreamImage,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.put_stream(&place, image, ttl)
        })
    }
}
