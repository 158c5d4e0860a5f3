//! Where a reply ends, without building it.
//!
//! A proxy copies a node's reply to its client and needs to know only that it is whole. Whatever
//! the nesting, that is one number: how many values are still to come. A scalar takes one away, an
//! aggregate of `n` takes one and adds `n`. So the scanner needs neither stack nor recursion, a
//! hostile nesting costs nothing, and every byte is looked at once however it arrives.
//!
//! Lengths are checked as strictly as a reply from our own kind deserves: a stray byte is an error
//! and not guessed around. The chunked types (`$?`, `*?`) of the RESP3 draft, which no server
//! sends, are refused.

use memchr::memchr;

use crate::text::integer::parse_i64;

/// The most bytes a hint asks for at once.
const NEED_HINT_MAX: usize = 1024 * 1024;

/// Bounds of one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Bytes of one line: a status, an error, a number.
    pub line_bytes_max: usize,
    /// Bytes of one byte string.
    pub bulk_bytes_max: usize,
    /// Elements of one aggregate; a map's pairs count twice.
    pub elements_max: usize,
    /// Levels of aggregates within each other, when a [`Reply`](super::Reply) is built.
    pub depth_max: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self {
            line_bytes_max: 64 * 1024,
            bulk_bytes_max: 512 * 1024 * 1024,
            elements_max: u32::MAX as usize,
            depth_max: 128,
        }
    }
}

/// Why bytes are no reply. The stream cannot be resynchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// No reply begins with this byte.
    UnknownType(u8),
    /// A length or number is malformed or out of range.
    InvalidNumber,
    /// A line is too long or contains a stray line end.
    InvalidLine,
    /// A byte string is not followed by a line end.
    MissingLineEnd,
    /// Aggregates lie within each other too deeply to build a tree.
    TooDeep,
}

impl std::fmt::Display for ReplyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownType(byte) => write!(f, "no reply begins with '{}'", byte.escape_ascii()),
            Self::InvalidNumber => f.write_str("malformed number in a reply"),
            Self::InvalidLine => f.write_str("malformed line in a reply"),
            Self::MissingLineEnd => f.write_str("byte string in a reply without line end"),
            Self::TooDeep => f.write_str("reply nested too deeply"),
        }
    }
}

impl std::error::Error for ReplyError {}

/// What the bytes given so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyStep {
    /// The reply is not whole; so many bytes are worth reserving before the next read.
    Incomplete {
        /// Bytes, 1 to 1 MiB.
        need_hint: usize,
    },
    /// The reply is the buffer's first `len` bytes.
    Whole {
        /// Bytes.
        len: usize,
    },
}

/// A resumable search for a reply's end: one for each connection to another node.
#[derive(Debug)]
pub struct ReplyScanner {
    /// The offset of the first value not scanned.
    pos: usize,
    /// No line end lies between `pos` and here.
    scanned: usize,
    /// Values to come until the reply is whole.
    values_left: u64,
}

impl Default for ReplyScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplyScanner {
    /// A scanner at the beginning of a reply.
    pub fn new() -> Self {
        Self {
            pos: 0,
            scanned: 0,
            values_left: 1,
        }
    }

    /// Scans on. `buf` begins at the reply's first byte and has grown at its end since the last
    /// call, if that was incomplete. After [`ReplyStep::Whole`] the next reply is expected.
    pub fn next(&mut self, buf: &[u8], limits: &ReplyLimits) -> Result<ReplyStep, ReplyError> {
        while self.values_left > 0 {
            let Some(end) = self.line_end(buf, limits)? else {
                return Ok(ReplyStep::Incomplete { need_hint: 1 });
            };
            let value = Head::parse(&buf[self.pos..end], limits)?;
            let after = match value {
                Head::Bulk { len, .. } => {
                    let after = end + 2 + len + 2;
                    if buf.len() < after {
                        let need_hint = (after - buf.len()).min(NEED_HINT_MAX);
                        return Ok(ReplyStep::Incomplete { need_hint });
                    }
                    if &buf[after - 2..after] != b"\r\n" {
                        return Err(ReplyError::MissingLineEnd);
                    }
                    after
                }
                _ => end + 2,
            };
            // A nest of n levels needs n lines, so the sum cannot overflow before memory does.
            self.values_left = self.values_left.saturating_add(value.values_below()) - 1;
            self.pos = after;
            self.scanned = after;
        }
        let len = self.pos;
        *self = Self::new();
        Ok(ReplyStep::Whole { len })
    }

    /// The offset of the `\r` that ends the line at `pos`, if its `\n` is there too.
    fn line_end(&mut self, buf: &[u8], limits: &ReplyLimits) -> Result<Option<usize>, ReplyError> {
        let hit = memchr(b'\n', &buf[self.scanned..]).map(|i| self.scanned + i);
        let line_bytes = hit.unwrap_or(buf.len()) - self.pos;
        if line_bytes > limits.line_bytes_max.saturating_add(2) {
            return Err(ReplyError::InvalidLine);
        }
        match hit {
            None => {
                self.scanned = buf.len();
                Ok(None)
            }
            Some(line_feed) => {
                // Not moved past the line end: if the byte string after it is not whole, the line
                // is read again, and it is short.
                self.scanned = line_feed;
                if line_bytes < 2 || buf[line_feed - 1] != b'\r' {
                    return Err(ReplyError::InvalidLine);
                }
                Ok(Some(line_feed - 1))
            }
        }
    }
}

/// The first line of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A value that is its line: a status, an error, a number, a null.
    Line { marker: u8 },
    /// Null as version 2 spells it: a length of -1.
    Null,
    /// `len` bytes and a line end follow.
    Bulk { marker: u8, len: usize },
    /// `values` follow: elements, or keys and values in turn.
    Aggregate { marker: u8, values: usize },
}

impl Head {
    /// Reads a line without its end; it has at least one byte.
    pub(super) fn parse(line: &[u8], limits: &ReplyLimits) -> Result<Self, ReplyError> {
        let (marker, text) = (line[0], &line[1..]);
        if text.contains(&b'\r') {
            return Err(ReplyError::InvalidLine);
        }
        match marker {
            b'+' | b'-' => Ok(Self::Line { marker }),
            b':' if parse_i64(text).is_some() => Ok(Self::Line { marker }),
            b'_' if text.is_empty() => Ok(Self::Line { marker }),
            b'#' if matches!(text, b"t" | b"f") => Ok(Self::Line { marker }),
            b',' | b'(' if !text.is_empty() => Ok(Self::Line { marker }),
            b'$' | b'*' if text == b"-1" => Ok(Self::Null),
            b'$' | b'=' | b'!' => {
                let len = length(text, limits.bulk_bytes_max)?;
                // The format of a verbatim text, `txt:`, is a part of it.
                if marker == b'=' && len < 4 {
                    return Err(ReplyError::InvalidNumber);
                }
                Ok(Self::Bulk { marker, len })
            }
            b'*' | b'~' | b'>' => Ok(Self::Aggregate {
                marker,
                values: length(text, limits.elements_max)?,
            }),
            b'%' | b'|' => {
                let pairs = length(text, limits.elements_max / 2)?;
                Ok(Self::Aggregate {
                    marker,
                    values: pairs * 2,
                })
            }
            b':' | b'_' | b'#' | b',' | b'(' => Err(ReplyError::InvalidNumber),
            other => Err(ReplyError::UnknownType(other)),
        }
    }

    /// The values that must follow for this one to be whole.
    fn values_below(self) -> u64 {
        match self {
            // Attributes belong to the value after them, which is the reply.
            Self::Aggregate {
                marker: b'|',
                values,
            } => values as u64 + 1,
            Self::Aggregate { values, .. } => values as u64,
            _ => 0,
        }
    }
}

fn length(text: &[u8], max: usize) -> Result<usize, ReplyError> {
    parse_i64(text)
        .and_then(|len| usize::try_from(len).ok())
        .filter(|&len| len <= max)
        .ok_or(ReplyError::InvalidNumber)
}
