//! What several stream commands reply.

use eagle_core::resp::Writer;
use eagle_core::store::{StreamEntry, StreamId};
use std::io::Write;

/// Room for the longest id.
const ID_BYTES_MAX: usize = 41;

/// The text of an id.
pub(super) struct IdText {
    bytes: [u8; ID_BYTES_MAX],
    len: usize,
}

impl IdText {
    pub(super) fn of(id: StreamId) -> IdText {
        let mut bytes = [0; ID_BYTES_MAX];
        let mut rest = &mut bytes[..];
        // Two numbers of twenty digits and a dash fit.
        let _ = write!(rest, "{id}");
        let len = ID_BYTES_MAX - rest.len();
        IdText { bytes, len }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// An id.
pub(super) fn id(out: &mut Writer, id: StreamId) {
    out.bulk(IdText::of(id).as_bytes());
}

/// An entry: its id and a flat list of names and values.
pub(super) fn entry(out: &mut Writer, entry: &StreamEntry<'_>) {
    out.array(2);
    id(out, entry.id);
    out.array(2 * entry.fields.len());
    for (name, value) in entry.fields {
        out.bulk(name);
        out.bulk(value);
    }
}

/// Entries, as many as there are.
pub(super) fn entries<'a>(out: &mut Writer, entries: impl Iterator<Item = StreamEntry<'a>>) {
    let header = out.deferred();
    let mut count = 0;
    for found in entries {
        entry(out, &found);
        count += 1;
    }
    out.finish_array(header, count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_id_fits() {
        let text = IdText::of(StreamId::MAX);
        assert_eq!(
            text.as_bytes(),
            b"18446744073709551615-18446744073709551615"
        );
        assert_eq!(IdText::of(StreamId::new(1, 2)).as_bytes(), b"1-2");
    }
}
