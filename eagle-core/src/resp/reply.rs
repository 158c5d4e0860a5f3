//! A reply as a tree, for tools and tests, and for this node where it is itself a client.

use super::reply_scanner::{Head, ReplyError, ReplyLimits, ReplyScanner, ReplyStep};
use crate::text::double::parse_range_end;
use crate::text::integer::parse_i64;

/// A whole reply of either version of the protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A status.
    Simple(Vec<u8>),
    /// An error, its code being the first word.
    Error(Vec<u8>),
    /// An integer.
    Integer(i64),
    /// A byte string.
    Bulk(Vec<u8>),
    /// No value, however it was spelled.
    Null,
    /// Elements in order.
    Array(Vec<Reply>),
    /// Keys with values, in the order they came.
    Map(Vec<(Reply, Reply)>),
    /// Elements whose order has no meaning, in the order they came.
    Set(Vec<Reply>),
    /// A message out of order.
    Push(Vec<Reply>),
    /// A floating point number.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// An integer of any size, in decimal.
    BigNumber(Vec<u8>),
    /// A text and its format.
    Verbatim([u8; 3], Vec<u8>),
    /// A reply, and attributes sent ahead of it.
    Attributed(Vec<(Reply, Reply)>, Box<Reply>),
}

impl Reply {
    /// Reads the reply at the beginning of `buf`; returns it with its length in bytes, or nothing
    /// if it is not whole yet. To resume over many reads, ask a [`ReplyScanner`] first.
    pub fn parse(buf: &[u8], limits: &ReplyLimits) -> Result<Option<(Self, usize)>, ReplyError> {
        match ReplyScanner::new().next(buf, limits)? {
            ReplyStep::Incomplete { .. } => Ok(None),
            ReplyStep::Whole { len } => {
                let mut tree = Tree {
                    rest: &buf[..len],
                    limits,
                };
                Ok(Some((tree.value(limits.depth_max)?, len)))
            }
        }
    }
}

/// Builds a reply out of bytes that the scanner found to be whole. So the counts are true, and no
/// vector is reserved larger than what has arrived.
struct Tree<'a> {
    rest: &'a [u8],
    limits: &'a ReplyLimits,
}

impl<'a> Tree<'a> {
    fn value(&mut self, depth_left: usize) -> Result<Reply, ReplyError> {
        let line = self.line()?;
        let text = &line[1..];
        Ok(match Head::parse(line, self.limits)? {
            Head::Null => Reply::Null,
            Head::Line { marker: b'+' } => Reply::Simple(text.to_vec()),
            Head::Line { marker: b'-' } => Reply::Error(text.to_vec()),
            Head::Line { marker: b':' } => {
                Reply::Integer(parse_i64(text).ok_or(ReplyError::InvalidNumber)?)
            }
            Head::Line { marker: b'#' } => Reply::Bool(text == b"t"),
            Head::Line { marker: b',' } => Reply::Double(double(text)?),
            Head::Line { marker: b'(' } => Reply::BigNumber(text.to_vec()),
            Head::Line { .. } => Reply::Null,
            Head::Bulk { marker, len } => self.bulk(marker, len)?,
            Head::Aggregate { marker, values } => {
                let below = depth_left.checked_sub(1).ok_or(ReplyError::TooDeep)?;
                match marker {
                    b'%' => Reply::Map(self.pairs(values / 2, below)?),
                    b'|' => {
                        let attributes = self.pairs(values / 2, below)?;
                        Reply::Attributed(attributes, Box::new(self.value(below)?))
                    }
                    b'~' => Reply::Set(self.values(values, below)?),
                    b'>' => Reply::Push(self.values(values, below)?),
                    _ => Reply::Array(self.values(values, below)?),
                }
            }
        })
    }

    fn values(&mut self, count: usize, depth_left: usize) -> Result<Vec<Reply>, ReplyError> {
        (0..count).map(|_| self.value(depth_left)).collect()
    }

    fn pairs(
        &mut self,
        count: usize,
        depth_left: usize,
    ) -> Result<Vec<(Reply, Reply)>, ReplyError> {
        (0..count)
            .map(|_| Ok((self.value(depth_left)?, self.value(depth_left)?)))
            .collect()
    }

    fn bulk(&mut self, marker: u8, len: usize) -> Result<Reply, ReplyError> {
        let bytes = self.rest.get(..len).ok_or(ReplyError::MissingLineEnd)?;
        self.rest = self.rest.get(len + 2..).ok_or(ReplyError::MissingLineEnd)?;
        Ok(match (marker, bytes) {
            (b'!', _) => Reply::Error(bytes.to_vec()),
            (b'=', [a, b, c, b':', text @ ..]) => Reply::Verbatim([*a, *b, *c], text.to_vec()),
            (b'=', _) => return Err(ReplyError::InvalidLine),
            _ => Reply::Bulk(bytes.to_vec()),
        })
    }

    fn line(&mut self) -> Result<&'a [u8], ReplyError> {
        let end = memchr::memchr(b'\n', self.rest).ok_or(ReplyError::InvalidLine)?;
        let (line, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        line.strip_suffix(b"\r\n")
            .filter(|line| !line.is_empty())
            .ok_or(ReplyError::InvalidLine)
    }
}

fn double(text: &[u8]) -> Result<f64, ReplyError> {
    match text {
        b"nan" | b"-nan" => Ok(f64::NAN),
        _ => parse_range_end(text).ok_or(ReplyError::InvalidNumber),
    }
}
