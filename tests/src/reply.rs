//! A reply as it came over the wire: RESP2 and RESP3 kinds kept apart, so that comparing two
//! replies compares what a client can see.

use std::fmt;
use std::io::{self, BufRead};

/// One reply. Aggregates keep the order of the wire.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    /// RESP2 `$-1`.
    NilBulk,
    /// RESP2 `*-1`.
    NilArray,
    /// RESP3 `_`.
    Null,
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    /// RESP3 double, as text: two spellings of one number are two replies.
    Double(Vec<u8>),
    Bool(bool),
    BigNumber(Vec<u8>),
    /// RESP3 verbatim string with its three-letter format and colon.
    Verbatim(Vec<u8>),
}

impl Reply {
    /// Reads one reply. Attributes are dropped, as a client that does not ask for them does.
    pub fn read(input: &mut impl BufRead) -> io::Result<Reply> {
        let line = read_line(input)?;
        let (&kind, rest) = line.split_first().ok_or_else(|| bad("an empty line"))?;
        Ok(match kind {
            b'+' => Reply::Simple(rest.to_vec()),
            b'-' => Reply::Error(rest.to_vec()),
            b':' => Reply::Int(number(rest)?),
            b'$' => match number(rest)? {
                -1 => Reply::NilBulk,
                len => Reply::Bulk(read_blob(input, len)?),
            },
            b'*' => match number(rest)? {
                -1 => Reply::NilArray,
                len => Reply::Array(read_many(input, len)?),
            },
            b'_' => Reply::Null,
            b'~' => Reply::Set(read_many(input, number(rest)?)?),
            b'>' => Reply::Push(read_many(input, number(rest)?)?),
            b'%' => Reply::Map(read_pairs(input, number(rest)?)?),
            b'|' => {
                read_pairs(input, number(rest)?)?;
                return Reply::read(input);
            }
            b',' => Reply::Double(rest.to_vec()),
            b'#' => Reply::Bool(rest == b"t"),
            b'(' => Reply::BigNumber(rest.to_vec()),
            b'=' => Reply::Verbatim(read_blob(input, number(rest)?)?),
            _ => return Err(bad(&format!("{:?}", String::from_utf8_lossy(&line)))),
        })
    }

    /// The bytes of a bulk, simple or verbatim string, or of an error.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Reply::Simple(text) | Reply::Error(text) | Reply::Bulk(text) | Reply::Double(text) => {
                Some(text)
            }
            Reply::Verbatim(text) => text.get(4..),
            _ => None,
        }
    }

    /// The reply as text; panics when it is no string.
    #[track_caller]
    pub fn text(&self) -> String {
        let bytes = self
            .bytes()
            .unwrap_or_else(|| panic!("a string was expected, not {self:?}"));
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// The reply as an integer; panics when it is none.
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Reply::Int(value) => *value,
            other => panic!("an integer was expected, not {other:?}"),
        }
    }

    /// The elements of an array, set or push; panics when it is none.
    #[track_caller]
    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items,
            other => panic!("an array was expected, not {other:?}"),
        }
    }

    /// Whether this is one of the three ways to say "nothing".
    pub fn is_nil(&self) -> bool {
        matches!(self, Reply::NilBulk | Reply::NilArray | Reply::Null)
    }

    /// The text of an error reply.
    pub fn error(&self) -> Option<String> {
        match self {
            Reply::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }

    /// The text of an error reply; a panic if it is none.
    #[track_caller]
    pub fn expect_error(&self) -> String {
        self.error().unwrap_or_else(|| panic!("no error: {self:?}"))
    }

    /// Panics unless the reply is the status `OK`.
    #[track_caller]
    pub fn ok(&self) {
        assert_eq!(*self, Reply::Simple(b"OK".to_vec()));
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| format!("\"{}\"", bytes.escape_ascii());
        match self {
            Reply::Simple(bytes) => write!(f, "+{}", bytes.escape_ascii()),
            Reply::Error(bytes) => write!(f, "-{}", bytes.escape_ascii()),
            Reply::Int(value) => write!(f, ":{value}"),
            Reply::Bulk(bytes) => f.write_str(&text(bytes)),
            Reply::NilBulk => f.write_str("$-1"),
            Reply::NilArray => f.write_str("*-1"),
            Reply::Null => f.write_str("_"),
            Reply::Array(items) => f.debug_list().entries(items).finish(),
            Reply::Map(pairs) => f
                .debug_map()
                .entries(pairs.iter().map(|(k, v)| (k, v)))
                .finish(),
            Reply::Set(items) => f
                .write_str("~")
                .and_then(|()| f.debug_set().entries(items).finish()),
            Reply::Push(items) => f
                .write_str(">")
                .and_then(|()| f.debug_list().entries(items).finish()),
            Reply::Double(bytes) => write!(f, ",{}", bytes.escape_ascii()),
            Reply::Bool(value) => write!(f, "#{value}"),
            Reply::BigNumber(bytes) => write!(f, "({}", bytes.escape_ascii()),
            Reply::Verbatim(bytes) => write!(f, "={}", text(bytes)),
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a reply: {what}"))
}

fn number(text: &[u8]) -> io::Result<i64> {
    let text = std::str::from_utf8(text).map_err(|_| bad("a length that is no text"))?;
    text.parse().map_err(|_| bad(&format!("number {text:?}")))
}

fn read_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(body) => Ok(body.to_vec()),
        None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        None => Err(bad("a line without CRLF")),
    }
}

fn read_blob(input: &mut impl BufRead, len: i64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| bad("a negative length"))?;
    let mut blob = vec![0; len + 2];
    input.read_exact(&mut blob)?;
    if !blob.ends_with(b"\r\n") {
        return Err(bad("a blob without CRLF"));
    }
    blob.truncate(len);
    Ok(blob)
}

fn read_many(input: &mut impl BufRead, len: i64) -> io::Result<Vec<Reply>> {
    (0..len).map(|_| Reply::read(input)).collect()
}

fn read_pairs(input: &mut impl BufRead, len: i64) -> io::Result<Vec<(Reply, Reply)>> {
    (0..len)
        .map(|_| Ok((Reply::read(input)?, Reply::read(input)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_and_kept_apart() {
        let wire = b"*9\r\n+OK\r\n$-1\r\n*-1\r\n_\r\n%1\r\n:1\r\n~1\r\n,1.5\r\n#t\r\n=5\r\ntxt:a\r\n(12\r\n-ERR no\r\n";
        let reply = Reply::read(&mut &wire[..]).unwrap();
        let shown = format!("{reply:?}");
        assert_eq!(
            shown,
            r#"[+OK, $-1, *-1, _, {:1: ~{,1.5}}, #true, ="txt:a", (12, -ERR no]"#
        );
    }

    #[test]
    fn a_cut_or_foreign_reply_is_an_error() {
        for wire in [
            &b"$5\r\nab"[..],
            b"?x\r\n",
            b":1x\r\n",
            b"$2\r\nabc\r\n",
            b"",
        ] {
            assert!(Reply::read(&mut &wire[..]).is_err(), "{wire:?}");
        }
    }
}
