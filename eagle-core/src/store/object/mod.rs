//! The data step of each type: what a value is in the pool, and how it changes. Knows no wire and no command.

pub(super) mod hash;
pub(super) mod hash_expiry;
pub(super) mod list;
pub(super) mod member_table;
pub(super) mod set;
pub(super) mod stream;
pub(super) mod string;
pub(super) mod timed_table;
pub(super) mod zset;
use super::blob::Blob;
use super::change::Change;
use super::entry::Encoding;
use super::error::StoreError;
use super::trash;
use member_table::MemberTable;
use timed_table::TimedTable;

/// When a new collection is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PackedIf {
    /// It has few elements, none of which is long.
    Small,
    /// It has few elements: as Redis takes over what comes packed.
    Few,
}

/// Even of few elements nothing larger is packed: a packed collection is replaced whole.
const PACKED_BYTES_MAX: usize = 64 << 10;

/// What the trash calls the large form that a blob's value refers to; `None` if the blob is all there is.
pub(super) fn large(blob: &Blob) -> Option<trash::Kind> {
    match blob.encoding() {
        Encoding::Hashtable => Some(trash::Kind::Collection),
        Encoding::Quicklist => Some(trash::Kind::List),
        Encoding::Stream => Some(trash::Kind::Stream),
        Encoding::Skiplist | Encoding::HashtableEx => Some(trash::Kind::Sorted),
        Encoding::Chunked => Some(trash::Kind::String),
        _ => None,
    }
}

impl Change<'_, '_> {
    /// Copies what a blob's value refers to, for another key: the value of the copy's blob.
    pub(super) fn copied_value(&mut self, blob: &Blob) -> Result<Vec<u8>, StoreError> {
        let reader = self.writer.reader();
        match blob.encoding() {
            Encoding::Hashtable => {
                let table = MemberTable::read(&reader, blob);
                Ok(table.duplicate(&mut self.writer)?.to_bytes().to_vec())
            }
            Encoding::HashtableEx => {
                let table = TimedTable::read(&reader, blob);
                Ok(table.duplicate(&mut self.writer)?.to_bytes().to_vec())
            }
            Encoding::Quicklist => self.copied_list(blob),
            Encoding::Stream => self.copied_stream(blob),
            Encoding::Skiplist => self.copied_zset(blob),
            Encoding::Chunked => {
                let large = string::large::Large::read(&reader, blob);
                Ok(large.duplicate(&mut self.writer)?.to_bytes().to_vec())
            }
            _ => Ok(blob.value(&reader).to_vec()),
        }
    }
}
