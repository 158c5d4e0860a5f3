//! What one request may claim for itself.

/// The longest line without its end: an inline command, or the length line of an array or bulk.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;

/// Bounds of one request, checked before anything is stored.
///
/// They are an argument of every [`Parser::next`](super::Parser::next) call, because CONFIG SET and
/// AUTH change them while a connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments in one request. Redis 7.0 takes as many as a C `int` counts.
    pub args_max: usize,
    /// Bytes in one argument: the directive `proto-max-bulk-len`.
    pub bulk_bytes_max: usize,
    /// The client must authenticate and has not: 10 arguments of 16384 bytes are all it may send,
    /// enough for AUTH and HELLO, too little to fill memory with.
    pub unauthenticated: bool,
}

impl Limits {
    /// Arguments an unauthenticated client may send in one request.
    pub const UNAUTHENTICATED_ARGS_MAX: usize = 10;
    /// Bytes an unauthenticated client may send in one argument.
    pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16_384;

    /// The bounds of the link from a primary, whose stream was checked when it first arrived there.
    pub const REPLICATION: Self = Self {
        args_max: i32::MAX as usize,
        bulk_bytes_max: i64::MAX as usize,
        unauthenticated: false,
    };
}

impl Default for Limits {
    /// An authenticated client under the default configuration.
    fn default() -> Self {
        Self {
            args_max: i32::MAX as usize,
            bulk_bytes_max: 512 * 1024 * 1024,
            unauthenticated: false,
        }
    }
}
