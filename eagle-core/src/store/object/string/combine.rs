//! A string that is made chunk by chunk, so that a long one is never in memory whole (BITOP).

use std::ops::Range;

use super::large::{CHUNK_BYTES, Large, chunks};
use crate::store::change::{Change, Place};
use crate::store::entry::{Encoding, Kind, Ttl};
use crate::store::error::StoreError;

/// Appends the bytes of a range of the string to be made.
pub(in crate::store) type MakeRange<'m> = &'m mut dyn FnMut(Range<u64>, &mut Vec<u8>);

impl Change<'_, '_> {
    /// Replaces whatever is at a place by a string of `len` bytes. `make` is asked for one range after
    /// the other, and may read what is replaced.
    pub(in crate::store) fn put_made(
        &mut self,
        place: &Place<'_>,
        len: u64,
        ttl: Ttl,
        make: MakeRange<'_>,
    ) -> Result<(), StoreError> {
        let mut directory = Vec::with_capacity(chunks(len) as usize);
        let mut content = Vec::with_capacity(CHUNK_BYTES as usize);
        for number in 0..chunks(len) {
            let start = number * CHUNK_BYTES;
            let range = start..len.min(start + CHUNK_BYTES);
            content.clear();
            make(range.clone(), &mut content);
            content.resize((range.end - range.start) as usize, 0);
            directory.push(match content.iter().any(|byte| *byte != 0) {
                true => {
                    let chunk = self.writer.alloc(content.len().next_multiple_of(8))?;
                    self.writer.fill(chunk, &content);
                    chunk
                }
                false => 0,
            });
        }
        let large = Large::write(&mut self.writer, len, &directory)?;
        let form = (Kind::String, Encoding::Chunked);
        self.put_value(place, form, &large.to_bytes(), ttl)
    }
}
