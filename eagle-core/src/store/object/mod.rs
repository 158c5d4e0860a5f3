//! The data step of each type: what a value is in the pool, and how it changes. Knows no wire and no command.

pub(super) mod hash;
pub(super) mod stream;
pub(super) mod string;
use super::blob::Blob;
use super::entry::Encoding;
use super::trash;

/// What the trash calls the large form that a blob's value refers to; `None` if the blob is all there is.
pub(super) fn large(blob: &Blob) -> Option<trash::Kind> {
    match blob.encoding() {
        Encoding::Hashtable => Some(trash::Kind::Collection),
        Encoding::Stream => Some(trash::Kind::Stream),
        _ => None,
    }
}
