//! Errors of the store: a variant exists only where a caller acts differently on it.

use std::fmt;

/// Why a command could not be carried out. The view is unchanged by the failing call: what it did
/// before still stands and may be committed or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The pool has no room; the caller may evict and try again, or answer OOM.
    OutOfSpace,
    /// The key holds a value of another kind.
    WrongType,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreError::OutOfSpace => "the pool is full",
            StoreError::WrongType => "the key holds a value of another kind",
        })
    }
}

impl std::error::Error for StoreError {}
