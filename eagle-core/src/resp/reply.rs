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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Protocol, Writer};
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, ReplyError> {
        Reply::parse(bytes, &ReplyLimits::default())
    }

    #[test]
    fn spellings_the_writer_does_not_use() {
        let cases: &[(&[u8], Reply)] = &[
            (b"!5\r\nERR x\r\n", Reply::Error(b"ERR x".to_vec())),
            (b"*-1\r\n", Reply::Null),
            (b",nan\r\n", Reply::Double(f64::NAN)),
            (b",1e999\r\n", Reply::Double(f64::INFINITY)),
            (
                b"|1\r\n+ttl\r\n:3\r\n+x\r\n",
                Reply::Attributed(
                    vec![(Reply::Simple(b"ttl".to_vec()), Reply::Integer(3))],
                    Box::new(Reply::Simple(b"x".to_vec())),
                ),
            ),
        ];
        for (bytes, reply) in cases {
            let (parsed, len) = parse(bytes).unwrap().unwrap();
            assert_eq!(format!("{parsed:?}"), format!("{reply:?}"));
            assert_eq!(len, bytes.len());
        }
    }

    #[test]
    fn malformed_replies() {
        let cases: &[(&[u8], ReplyError)] = &[
            (b"?\r\n", ReplyError::UnknownType(b'?')),
            (b"HTTP/1.1\r\n", ReplyError::UnknownType(b'H')),
            (b"\r\n", ReplyError::InvalidLine),
            (b"+a\n", ReplyError::InvalidLine),
            (b"+a\rb\r\n", ReplyError::InvalidLine),
            (b":1a\r\n", ReplyError::InvalidNumber),
            (b":\r\n", ReplyError::InvalidNumber),
            (b"#x\r\n", ReplyError::InvalidNumber),
            (b",\r\n", ReplyError::InvalidNumber),
            (b",1.2.3\r\n", ReplyError::InvalidNumber),
            (b"$-2\r\n", ReplyError::InvalidNumber),
            (b"$?\r\n", ReplyError::InvalidNumber),
            (b"%-1\r\n", ReplyError::InvalidNumber),
            (b"=3\r\n", ReplyError::InvalidNumber),
            (b"=4\r\ntxt_\r\n", ReplyError::InvalidLine),
            (b"$1\r\nabc", ReplyError::MissingLineEnd),
            (b"$536870913\r\n", ReplyError::InvalidNumber),
            (b"*4294967296\r\n", ReplyError::InvalidNumber),
        ];
        for (bytes, error) in cases {
            assert_eq!(parse(bytes), Err(*error), "{}", bytes.escape_ascii());
        }
        let endless = [b"+".to_vec(), vec![b'a'; 70_000]].concat();
        assert_eq!(parse(&endless), Err(ReplyError::InvalidLine));
    }

    #[test]
    fn depth_is_bounded_for_trees_only() {
        let mut bytes = b"*1\r\n".repeat(100_000);
        assert_eq!(parse(&bytes), Ok(None));
        bytes.extend_from_slice(b":1\r\n");
        assert_eq!(parse(&bytes), Err(ReplyError::TooDeep));
        let whole = ReplyScanner::new().next(&bytes, &ReplyLimits::default());
        assert_eq!(whole, Ok(ReplyStep::Whole { len: bytes.len() }));
    }

    #[test]
    fn claimed_elements_reserve_nothing() {
        let claim = b"*4294967295\r\n".repeat(1000);
        let mut scanner = ReplyScanner::new();
        let step = scanner.next(&claim, &ReplyLimits::default());
        assert_eq!(step, Ok(ReplyStep::Incomplete { need_hint: 1 }));
    }

    fn write(reply: &Reply, writer: &mut Writer) {
        let all = |replies: &[Reply], writer: &mut Writer| {
            replies.iter().for_each(|reply| write(reply, writer));
        };
        let all_pairs = |pairs: &[(Reply, Reply)], writer: &mut Writer| {
            for (key, value) in pairs {
                write(key, writer);
                write(value, writer);
            }
        };
        match reply {
            Reply::Simple(text) => writer.simple(text),
            Reply::Error(text) => writer.error(text),
            Reply::Integer(value) => writer.integer(*value),
            Reply::Bulk(bytes) => writer.bulk(bytes),
            Reply::Null => writer.null(),
            Reply::Array(elements) => {
                writer.array(elements.len());
                all(elements, writer);
            }
            Reply::Map(pairs) => {
                let header = writer.deferred();
                all_pairs(pairs, writer);
                writer.finish_map(header, pairs.len());
            }
            Reply::Set(elements) => {
                let header = writer.deferred();
                all(elements, writer);
                writer.finish_set(header, elements.len());
            }
            Reply::Push(elements) => {
                let header = writer.deferred();
                all(elements, writer);
                writer.finish_push(header, elements.len());
            }
            Reply::Double(value) => writer.double(*value),
            Reply::Bool(value) => writer.bool(*value),
            Reply::BigNumber(digits) => writer.big_number(digits),
            Reply::Verbatim(format, text) => writer.verbatim(format, text),
            Reply::Attributed(pairs, reply) => {
                if writer.attribute(pairs.len()) {
                    all_pairs(pairs, writer);
                }
                write(reply, writer);
            }
        }
    }

    /// What version 2 makes of a reply.
    fn degraded(reply: &Reply) -> Reply {
        let all = |replies: &[Reply]| Reply::Array(replies.iter().map(degraded).collect());
        match reply {
            Reply::Array(elements) | Reply::Set(elements) | Reply::Push(elements) => all(elements),
            Reply::Map(pairs) => Reply::Array(
                pairs
                    .iter()
                    .flat_map(|(key, value)| [degraded(key), degraded(value)])
                    .collect(),
            ),
            Reply::Double(value) => {
                let text = crate::text::double::DoubleText::new(*value);
                Reply::Bulk(text.as_bytes().to_vec())
            }
            Reply::Bool(value) => Reply::Integer(i64::from(*value)),
            Reply::BigNumber(text) | Reply::Verbatim(_, text) => Reply::Bulk(text.clone()),
            Reply::Attributed(_, reply) => degraded(reply),
            other => other.clone(),
        }
    }

    fn reply() -> impl Strategy<Value = Reply> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        let line = || "[ -~]{0,20}".prop_map(String::into_bytes);
        let scalar = prop_oneof![
            line().prop_map(Reply::Simple),
            line().prop_map(Reply::Error),
            any::<i64>().prop_map(Reply::Integer),
            bytes().prop_map(Reply::Bulk),
            Just(Reply::Null),
            any::<f64>()
                .prop_filter("nan equals nothing", |v| !v.is_nan())
                .prop_map(Reply::Double),
            any::<bool>().prop_map(Reply::Bool),
            "-?[1-9][0-9]{0,40}".prop_map(|digits| Reply::BigNumber(digits.into_bytes())),
            bytes().prop_map(|text| Reply::Verbatim(*b"txt", text)),
        ];
        scalar.prop_recursive(4, 40, 12, |inner| {
            let values = proptest::collection::vec(inner.clone(), 0..12);
            let pairs = proptest::collection::vec((inner.clone(), inner.clone()), 0..6);
            prop_oneof![
                values.clone().prop_map(Reply::Array),
                values.clone().prop_map(Reply::Set),
                values.prop_map(Reply::Push),
                pairs.clone().prop_map(Reply::Map),
                (pairs, inner).prop_map(|(pairs, reply)| Reply::Attributed(pairs, Box::new(reply))),
            ]
        })
    }

    proptest! {
        #[test]
        fn written_replies_parse_back(reply in reply()) {
            let (mut resp3, mut resp2) = (Writer::new(Protocol::Resp3), Writer::new(Protocol::Resp2));
            write(&reply, &mut resp3);
            write(&reply, &mut resp2);
            prop_assert_eq!(parse(resp2.as_bytes()), Ok(Some((degraded(&reply), resp2.len()))));
            prop_assert_eq!(parse(resp3.as_bytes()), Ok(Some((reply, resp3.len()))));
        }

        #[test]
        fn the_end_is_found_however_it_arrives(replies in proptest::collection::vec(reply(), 1..4)) {
            let mut writer = Writer::new(Protocol::Resp3);
            let mut ends = Vec::new();
            for reply in &replies {
                write(reply, &mut writer);
                ends.push(writer.len());
            }
            let (mut scanner, mut start, mut found) = (ReplyScanner::new(), 0, Vec::new());
            for arrived in 1..=writer.len() {
                let buf = &writer.as_bytes()[start..arrived];
                if let ReplyStep::Whole { len } = scanner.next(buf, &ReplyLimits::default()).unwrap() {
                    start += len;
                    found.push(start);
                }
            }
            prop_assert_eq!(found, ends);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in "[-+:$*%~>|,#(=!_0-9a\r\n]{0,40}") {
            let _ = parse(bytes.as_bytes());
        }
    }
}
