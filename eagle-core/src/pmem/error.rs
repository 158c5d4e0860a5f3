//! What can go wrong with a pool, sorted by what the caller may do about it.

use std::{fmt, io};

/// The pool (or the share of it that one transaction's log may take) is used up. Nothing has
/// been changed by the call that reports it; the transaction can still be rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfSpace;

impl fmt::Display for OutOfSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool is full")
    }
}

impl std::error::Error for OutOfSpace {}

/// Why a pool was not opened. The file is not modified in any of these cases, except that a
/// failing `Io` during creation may leave an incomplete file behind.
#[derive(Debug)]
pub enum OpenError {
    /// The file exists but does not begin like a pool.
    Foreign,
    /// The pool was written in another version of the format.
    OtherVersion { found: u32, supported: u32 },
    /// The file is shorter than the pool it describes.
    Truncated { expected: u64, found: u64 },
    /// A checksum or an invariant does not hold; the text says which.
    Damaged(String),
    /// Another process has the pool open.
    Locked,
    /// The machine was restarted while the pool was open, and the medium does not survive that:
    /// its contents cannot be trusted. Set the file aside with [`quarantine`](super::quarantine).
    Unclean,
    /// The options make no sense, or ask less than the existing pool needs; the text says which.
    Unsuitable(String),
    /// The operating system refused.
    Io {
        doing: &'static str,
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Foreign => f.write_str("the file is not an EagleDB pool"),
            OpenError::OtherVersion { found, supported } => write!(
                f,
                "the pool has format version {found}, this program reads version {supported}"
            ),
            OpenError::Truncated { expected, found } => write!(
                f,
                "the pool is truncated: {expected} bytes expected, {found} found"
            ),
            OpenError::Damaged(what) => write!(f, "the pool is damaged: {what}"),
            OpenError::Locked => f.write_str("the pool is open in another process"),
            OpenError::Unclean => f.write_str(
                "the pool was not closed before the machine restarted, its contents are not trusted",
            ),
            OpenError::Unsuitable(what) => write!(f, "the pool options are unsuitable: {what}"),
            OpenError::Io { doing, error } => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
