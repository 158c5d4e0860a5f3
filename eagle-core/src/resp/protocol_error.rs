//! Why a request could not be read, in the words clients know.

use std::borrow::Cow;
use std::fmt;

/// A request which is not RESP or exceeds its [`Limits`](super::Limits).
///
/// The stream cannot be resynchronised after one: reply with [`line`](Self::line), then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The argument count is no number or out of range.
    InvalidMultibulkLength,
    /// The argument length is no number or out of range.
    InvalidBulkLength,
    /// An argument began with this byte in place of `$`.
    ExpectedDollar(u8),
    /// The line of the argument count does not end.
    CountLineTooLong,
    /// The line of an argument length does not end.
    BulkLineTooLong,
    /// An inline command does not end.
    InlineTooLong,
    /// An inline command opens a quote and does not close it, or goes on right after it.
    UnbalancedQuotes,
    /// More arguments than an unauthenticated client may send.
    UnauthenticatedMultibulkLength,
    /// A longer argument than an unauthenticated client may send.
    UnauthenticatedBulkLength,
}

impl ProtocolError {
    /// The error reply without its leading `-` and trailing line end.
    ///
    /// Bytes and not a string, since one of the texts quotes what the client sent.
    pub fn line(self) -> Cow<'static, [u8]> {
        let line: &'static str = match self {
            Self::InvalidMultibulkLength => "ERR Protocol error: invalid multibulk length",
            Self::InvalidBulkLength => "ERR Protocol error: invalid bulk length",
            Self::CountLineTooLong => "ERR Protocol error: too big mbulk count string",
            Self::BulkLineTooLong => "ERR Protocol error: too big bulk count string",
            Self::InlineTooLong => "ERR Protocol error: too big inline request",
            Self::UnbalancedQuotes => "ERR Protocol error: unbalanced quotes in request",
            Self::UnauthenticatedMultibulkLength => {
                "ERR Protocol error: unauthenticated multibulk length"
            }
            Self::UnauthenticatedBulkLength => "ERR Protocol error: unauthenticated bulk length",
            Self::ExpectedDollar(got) => {
                // A line end inside an error reply would end it.
                let got = if matches!(got, b'\r' | b'\n') {
                    b' '
                } else {
                    got
                };
                let start = b"ERR Protocol error: expected '$', got '";
                return Cow::Owned([&start[..], &[got, b'\'']].concat());
            }
        };
        Cow::Borrowed(line.as_bytes())
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line();
        f.write_str(
            &line
                .strip_prefix(b"ERR ")
                .unwrap_or(&line)
                .escape_ascii()
                .to_string(),
        )
    }
}

impl std::error::Error for ProtocolError {}
