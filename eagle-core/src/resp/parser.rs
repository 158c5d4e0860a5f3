//! Requests from bytes, as they arrive.
//!
//! ```text
//!             first byte '*'            count > 0                 last argument
//!   Between ----------------> Array ----------------> arguments ----------------> Between, Command
//!      |                        |  count <= 0
//!      |                        +------------------------------------------------> Between, Blank
//!      |  any other byte              line end
//!      +----------------> Inline ------------------------------------------------> Between, Command/Blank
//! ```
//!
//! The caller owns the read buffer and passes all of it that is not consumed yet. The parser only
//! notes offsets, so a request is never copied, except an inline one, whose quotes must be taken
//! away. Rules that follow from it:
//!
//! - Nothing is consumed before a request is whole; until then the buffer may only grow at its end.
//! - No byte is looked at twice: `pos` is where parsing goes on and `scanned` how far the search for
//!   a line end came, so 512 MiB in small pieces cost O(n).
//! - A length claimed by the client reserves nothing. Spans are pushed as arguments arrive.
//! - The outcome is the same however the bytes were cut into reads.
//!
//! Kept from Redis since clients depend on it: the byte after a `\r` and the two bytes after an
//! argument are skipped unseen, a line end is not found behind a NUL byte, and an inline command
//! may end in a lone `\n`.

use memchr::memchr2;

use super::argv::{Argv, Span};
use super::limits::{LINE_BYTES_MAX, Limits};
use super::protocol_error::ProtocolError;
use crate::text::integer::parse_i64;
use crate::text::split_args::split_args_into;

/// The most bytes a hint asks for at once, so that buffers grow with what arrives.
const NEED_HINT_MAX: usize = 1024 * 1024;

/// The spans kept allocated between requests.
const SPANS_KEPT_MAX: usize = 1024;

/// What the bytes given so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The request is not whole. `need_hint` is at least 1 and at most 1 MiB: so many bytes are
    /// worth reserving before the next read.
    Incomplete {
        /// Bytes.
        need_hint: usize,
    },
    /// A request to ignore: an empty line or an array without arguments. Drop `consumed` bytes.
    /// Replicas and primaries send empty lines to show that they are alive.
    Blank {
        /// Bytes.
        consumed: usize,
    },
    /// A whole request. Use [`Parser::argv`], then drop `consumed` bytes.
    Command {
        /// Bytes.
        consumed: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// At a request's first byte.
    Between,
    Inline,
    Array,
}

/// A resumable parser of requests: one for each connection.
#[derive(Debug)]
pub struct Parser {
    shape: Shape,
    /// The offset of the first byte not parsed.
    pos: usize,
    /// No line end lies before this offset.
    scanned: usize,
    /// Arguments of the array still to come; 0 while its count is unknown.
    args_left: usize,
    /// The length of the argument at `pos`, once its line was read.
    bulk_bytes: Option<usize>,
    spans: Vec<Span>,
    /// The arguments of an inline command, unquoted, one after the other.
    unquoted: Vec<u8>,
    /// Whether `spans` point into `unquoted` instead of the read buffer.
    spans_are_inline: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser at the beginning of a request.
    pub fn new() -> Self {
        Self {
            shape: Shape::Between,
            pos: 0,
            scanned: 0,
            args_left: 0,
            bulk_bytes: None,
            spans: Vec::new(),
            unquoted: Vec::new(),
            spans_are_inline: false,
        }
    }

    /// Reads on. `buf` begins at the first byte not consumed, so it holds all that the last call
    /// saw (if that was incomplete) and what has arrived since.
    ///
    /// After an error the parser stays where it is, and so does the error.
    pub fn next(&mut self, buf: &[u8], limits: &Limits) -> Result<Step, ProtocolError> {
        if self.shape == Shape::Between {
            let Some(&first) = buf.first() else {
                return Ok(Step::Incomplete { need_hint: 1 });
            };
            self.spans.clear();
            self.spans.shrink_to(SPANS_KEPT_MAX);
            self.spans_are_inline = first != b'*';
            self.shape = if self.spans_are_inline {
                Shape::Inline
            } else {
                Shape::Array
            };
        }
        match self.shape {
            Shape::Inline => self.inline(buf),
            _ => self.array(buf, limits),
        }
    }

    /// The arguments of the command just completed. `buf` is the one given to [`next`](Self::next).
    pub fn argv<'a>(&'a self, buf: &'a [u8]) -> Argv<'a> {
        let bytes = if self.spans_are_inline {
            &self.unquoted[..]
        } else {
            buf
        };
        Argv::new(bytes, &self.spans)
    }

    /// Whether a request has begun and is not whole.
    pub fn is_mid_request(&self) -> bool {
        self.shape != Shape::Between
    }

    fn inline(&mut self, buf: &[u8]) -> Result<Step, ProtocolError> {
        let Some(line_feed) = self.find(b'\n', buf, ProtocolError::InlineTooLong)? else {
            return Ok(Step::Incomplete { need_hint: 1 });
        };
        let line = &buf[..line_feed];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.unquoted.clear();
        let spans = &mut self.spans;
        spans.clear();
        split_args_into(line, &mut self.unquoted, |start, end| {
            spans.push(Span { start, end })
        })
        .map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.pos = line_feed + 1;
        Ok(self.complete())
    }

    fn array(&mut self, buf: &[u8], limits: &Limits) -> Result<Step, ProtocolError> {
        if self.args_left == 0 {
            let too_long = ProtocolError::CountLineTooLong;
            let Some(count) = self.length_line(buf, too_long)? else {
                return Ok(Step::Incomplete { need_hint: 1 });
            };
            let count = count.value.ok_or(ProtocolError::InvalidMultibulkLength)?;
            let args = usize::try_from(count).unwrap_or(0);
            if args > limits.args_max {
                return Err(ProtocolError::InvalidMultibulkLength);
            }
            if limits.unauthenticated && args > Limits::UNAUTHENTICATED_ARGS_MAX {
                return Err(ProtocolError::UnauthenticatedMultibulkLength);
            }
            self.pos = self.scanned + 2;
            self.args_left = args;
        }
        while self.args_left > 0 {
            let len = match self.bulk_bytes {
                Some(len) => len,
                None => match self.bulk_line(buf, limits)? {
                    Some(len) => len,
                    None => return Ok(Step::Incomplete { need_hint: 1 }),
                },
            };
            let have = buf.len() - self.pos;
            let want = len.saturating_add(2);
            if have < want {
                return Ok(Step::Incomplete {
                    need_hint: (want - have).min(NEED_HINT_MAX),
                });
            }
            self.spans.push(Span {
                start: self.pos,
                end: self.pos + len,
            });
            self.pos += want;
            self.bulk_bytes = None;
            self.args_left -= 1;
        }
        Ok(self.complete())
    }

    /// Reads the line `$<length>` and remembers the length.
    fn bulk_line(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let Some(line) = self.length_line(buf, ProtocolError::BulkLineTooLong)? else {
            return Ok(None);
        };
        if line.marker != b'$' {
            return Err(ProtocolError::ExpectedDollar(line.marker));
        }
        let len = line
            .value
            .and_then(|value| usize::try_from(value).ok())
            .filter(|&len| len <= limits.bulk_bytes_max)
            .ok_or(ProtocolError::InvalidBulkLength)?;
        if limits.unauthenticated && len > Limits::UNAUTHENTICATED_BULK_BYTES_MAX {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        self.pos = self.scanned + 2;
        self.bulk_bytes = Some(len);
        Ok(Some(len))
    }

    /// Finds the line at `pos`; its end `\r` is then at `scanned` and one more byte is there.
    fn length_line(
        &mut self,
        buf: &[u8],
        too_long: ProtocolError,
    ) -> Result<Option<LengthLine>, ProtocolError> {
        let Some(end) = self.find(b'\r', buf, too_long)? else {
            return Ok(None);
        };
        if end + 1 == buf.len() {
            return Ok(None);
        }
        // An empty line has its own end for a marker, and that is what Redis complains about.
        Ok(Some(LengthLine {
            marker: buf[self.pos],
            value: buf.get(self.pos + 1..end).and_then(parse_i64),
        }))
    }

    /// Finds `end` at or after `pos`, and notes in `scanned` where, or how far it is not there.
    fn find(
        &mut self,
        end: u8,
        buf: &[u8],
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let from = self.scanned.max(self.pos);
        let hit = memchr2(end, 0, &buf[from..]).map(|i| from + i);
        self.scanned = hit.unwrap_or(buf.len());
        let found = hit.filter(|&at| buf[at] == end);
        // Measured up to the end found, not up to what has arrived: the verdict must not depend on
        // how the bytes were cut.
        if found.unwrap_or(buf.len()) - self.pos > LINE_BYTES_MAX {
            return Err(too_long);
        }
        Ok(found)
    }

    fn complete(&mut self) -> Step {
        let consumed = self.pos;
        self.shape = Shape::Between;
        self.pos = 0;
        self.scanned = 0;
        if self.spans.is_empty() {
            Step::Blank { consumed }
        } else {
            Step::Command { consumed }
        }
    }
}

struct LengthLine {
    /// The line's first byte.
    marker: u8,
    /// The number after it, if it is one.
    value: Option<i64>,
}
