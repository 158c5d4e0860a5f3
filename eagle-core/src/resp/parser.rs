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

    /// Bytes of the request under way that are parsed already; none between two requests.
    pub fn parsed_bytes(&self) -> usize {
        if self.is_mid_request() { self.pos } else { 0 }
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
        self.short_arguments(buf, limits);
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

    /// Takes the arguments that are whole and whose length has few digits, as far as they follow one another. Whatever else
    /// there is, also what is wrong, is left where it stands.
    #[inline]
    fn short_arguments(&mut self, buf: &[u8], limits: &Limits) {
        if self.bulk_bytes.is_some() {
            return;
        }
        let (mut pos, mut left) = (self.pos, self.args_left);
        while left > 0
            && let Some((head, len)) = short_bulk_head(&buf[pos..])
            && len <= limits.bulk_bytes_max
            && pos + head + len + 2 <= buf.len()
        {
            let start = pos + head;
            self.spans.push(Span {
                start,
                end: start + len,
            });
            pos = start + len + 2;
            left -= 1;
        }
        (self.pos, self.args_left) = (pos, left);
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
        if let Some((end, line)) = LengthLine::short(&buf[self.pos..]) {
            self.scanned = self.pos + end;
            return Ok(Some(line));
        }
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

impl LengthLine {
    /// Reads a line of up to three digits, as nearly all are, in fewer steps than a search takes;
    /// returns the offset of its end too. Any other line is left to the search.
    #[inline]
    fn short(bytes: &[u8]) -> Option<(usize, Self)> {
        let (end, value) = match bytes {
            [_, a @ b'0'..=b'9', b'\r', _, ..] => (2, digit(*a)),
            [_, a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] => (3, digit(*a) * 10 + digit(*b)),
            [
                _,
                a @ b'1'..=b'9',
                b @ b'0'..=b'9',
                c @ b'0'..=b'9',
                b'\r',
                _,
                ..,
            ] => (4, digit(*a) * 100 + digit(*b) * 10 + digit(*c)),
            _ => return None,
        };
        // Any other first byte is an error, and a NUL or a line end there has its own rules.
        matches!(bytes[0], b'*' | b'$').then_some((
            end,
            Self {
                marker: bytes[0],
                value: Some(value),
            },
        ))
    }
}

/// The bytes of the line `*<count>` and that count, if it has up to two digits.
#[inline]
pub(super) fn short_array_head(bytes: &[u8]) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    match bytes {
        [b'*', a @ b'0'..=b'9', b'\r', _, ..] => Some((4, digit(*a))),
        [b'*', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] => {
            Some((5, digit(*a) * 10 + digit(*b)))
        }
        _ => None,
    }
}

/// The bytes of the line `$<length>` and that length, if it has up to three digits.
#[inline]
pub(super) fn short_bulk_head(bytes: &[u8]) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    match bytes {
        [b'$', a @ b'0'..=b'9', b'\r', _, ..] => Some((4, digit(*a))),
        [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] => {
            Some((5, digit(*a) * 10 + digit(*b)))
        }
        [
            b'$',
            a @ b'1'..=b'9',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
            b'\r',
            _,
            ..,
        ] => Some((6, digit(*a) * 100 + digit(*b) * 10 + digit(*c))),
        _ => None,
    }
}

fn digit(byte: u8) -> i64 {
    i64::from(byte - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Commands = Vec<Vec<Vec<u8>>>;

    /// Feeds `reads` one after the other; returns the commands found and the error met, if any.
    fn feed(reads: &[&[u8]], limits: &Limits) -> (Commands, Option<ProtocolError>) {
        let (mut parser, mut buf, mut commands) = (Parser::new(), Vec::new(), Vec::new());
        for read in reads {
            buf.extend_from_slice(read);
            loop {
                let consumed = match parser.next(&buf, limits) {
                    Ok(Step::Incomplete { need_hint }) => {
                        assert!((1..=NEED_HINT_MAX).contains(&need_hint));
                        break;
                    }
                    Ok(Step::Blank { consumed }) => consumed,
                    Ok(Step::Command { consumed }) => {
                        commands.push(parser.argv(&buf).iter().map(<[u8]>::to_vec).collect());
                        consumed
                    }
                    Err(error) => {
                        assert_eq!(parser.next(&buf, limits), Err(error), "an error stays");
                        return (commands, Some(error));
                    }
                };
                assert!(!parser.is_mid_request());
                buf.drain(..consumed);
            }
        }
        (commands, None)
    }

    fn feed_whole(bytes: &[u8]) -> (Commands, Option<ProtocolError>) {
        feed(&[bytes], &Limits::default())
    }

    fn commands(of: &[&[&[u8]]]) -> Commands {
        of.iter()
            .map(|args| args.iter().map(|arg| arg.to_vec()).collect())
            .collect()
    }

    /// Each case was sent to 7.0.15.
    #[test]
    fn requests_redis_takes() {
        const PING: &[&[u8]] = &[b"PING"];
        type Case = (&'static [u8], &'static [&'static [&'static [u8]]]);
        let cases: &[Case] = &[
            (b"*1\r\n$4\r\nPING\r\n", &[PING]),
            (b"*-1\r\n*-5\r\n*0\r\nPING\r\n", &[PING]),
            (b"*1\r\n$4\r\nPINGxxPING\r\n", &[PING, PING]),
            (b"*1\rx$4\rxPING\r\n", &[PING]),
            (b"*1\r\n$4\r\nPING\r", &[]),
            (b"*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n", &[&[b"", b"\r\n"]]),
            (b"\n\n\r\n  \r\nPING\n", &[PING]),
            (b"\r\r\n\x0bPING\r\n", &[PING]),
            (b"ECHO a\"b c\"\r\n", &[&[b"ECHO", b"ab c"]]),
            (b"ECHO a\rb\r\n", &[&[b"ECHO", b"a", b"b"]]),
            (
                b"PING 'a\\'b' \"\\x41\\n\\q\"\r\n",
                &[&[b"PING", b"a'b", b"A\nq"]],
            ),
            (b"\"\"\r\nPING\r\n", &[&[b""], PING]),
            // A NUL hides the line end behind it.
            (b"PI\x00NG\r\n", &[]),
            (b"*3\x00\r\n", &[]),
            (b"*1\r\n\x00\r\n", &[]),
            (b"*2147483647\r\n", &[]),
            (b"*1\r\n$536870912\r\n", &[]),
            (&[b'a'; LINE_BYTES_MAX], &[]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(
                feed_whole(bytes),
                (commands(expected), None),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    /// Each case was sent to 7.0.15.
    #[test]
    fn requests_redis_refuses() {
        let long = |start: &[u8]| [start, &b"1".repeat(65_537)].concat();
        let cases: &[(Vec<u8>, &str)] = &[
            (b"*abc\r\n".to_vec(), "invalid multibulk length"),
            (b"*\r\n".to_vec(), "invalid multibulk length"),
            (b"*+1\r\n".to_vec(), "invalid multibulk length"),
            (b"*01\r\n".to_vec(), "invalid multibulk length"),
            (b"*2147483648\r\n".to_vec(), "invalid multibulk length"),
            (b"*1\r\nPING\r\n".to_vec(), "expected '$', got 'P'"),
            (b"*1\r\n\r\n".to_vec(), "expected '$', got ' '"),
            (b"*1\r\n\n\r\n".to_vec(), "expected '$', got ' '"),
            (b"*1\r\n$-1\r\n".to_vec(), "invalid bulk length"),
            (b"*1\r\n$01\r\n".to_vec(), "invalid bulk length"),
            (b"*1\r\n$536870913\r\n".to_vec(), "invalid bulk length"),
            (b"PING \"a\r\n".to_vec(), "unbalanced quotes in request"),
            (b"PING \"a\"b\r\n".to_vec(), "unbalanced quotes in request"),
            (long(b""), "too big inline request"),
            (long(b"*"), "too big mbulk count string"),
            (long(b"*1\r\n$"), "too big bulk count string"),
            (long(b"*1\r\n*"), "too big bulk count string"),
        ];
        for (bytes, text) in cases {
            let (commands, error) = feed_whole(bytes);
            let line = error.map(|error| String::from_utf8(error.line().into_owned()).unwrap());
            assert_eq!(
                (commands, line),
                (vec![], Some(format!("ERR Protocol error: {text}")))
            );
        }
        let (_, error) = feed_whole(b"*1\r\n\xff4\r\n");
        assert_eq!(
            &error.unwrap().line()[..],
            b"ERR Protocol error: expected '$', got '\xff'"
        );
    }

    #[test]
    fn strangers_may_send_little() {
        let strangers = Limits {
            unauthenticated: true,
            ..Limits::default()
        };
        let feed = |bytes: &[u8]| feed(&[bytes], &strangers).1;
        assert_eq!(feed(b"*10\r\n"), None);
        assert_eq!(
            feed(b"*11\r\n"),
            Some(ProtocolError::UnauthenticatedMultibulkLength)
        );
        assert_eq!(feed(b"*1\r\n$16384\r\n"), None);
        assert_eq!(
            feed(b"*1\r\n$16385\r\n"),
            Some(ProtocolError::UnauthenticatedBulkLength)
        );
        assert_eq!(
            feed(b"*2147483648\r\n"),
            Some(ProtocolError::InvalidMultibulkLength)
        );
        assert_eq!(
            feed(b"*1\r\n$536870913\r\n"),
            Some(ProtocolError::InvalidBulkLength)
        );
    }

    #[test]
    fn the_replication_link_has_no_bulk_limit() {
        let bytes = b"*1\r\n$9223372036854775807\r\n";
        assert_eq!(feed(&[bytes], &Limits::REPLICATION), (vec![], None));
    }

    #[test]
    fn a_claimed_length_reserves_nothing() {
        let mut parser = Parser::new();
        let claim = b"*2147483647\r\n$536870912\r\n";
        let step = parser.next(claim, &Limits::default());
        assert_eq!(
            step,
            Ok(Step::Incomplete {
                need_hint: NEED_HINT_MAX
            })
        );
        assert_eq!(parser.spans.capacity(), 0);
    }

    #[test]
    fn spans_of_a_huge_request_are_given_back() {
        let mut parser = Parser::new();
        let mut bytes = b"*5000\r\n".to_vec();
        bytes.extend(b"$1\r\nx\r\n".repeat(5000));
        let step = parser.next(&bytes, &Limits::default());
        assert_eq!(
            step,
            Ok(Step::Command {
                consumed: bytes.len()
            })
        );
        assert_eq!(parser.argv(&bytes).len(), 5000);
        parser.next(b"PING\r\n", &Limits::default()).unwrap();
        assert!(parser.spans.capacity() <= SPANS_KEPT_MAX);
    }

    #[test]
    fn no_line_is_searched_twice() {
        let mut parser = Parser::new();
        for line in [&b"GET no line end yet"[..], b"*12"] {
            for arrived in 1..=line.len() {
                parser.next(&line[..arrived], &Limits::default()).unwrap();
                assert_eq!(parser.scanned, arrived);
            }
            parser = Parser::new();
        }
    }

    fn request() -> impl Strategy<Value = Vec<u8>> {
        let arg = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20),
            proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n')], 0..4),
        ];
        let array = proptest::collection::vec(arg, 0..5).prop_map(|args| {
            let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
            for arg in args {
                bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                bytes.extend_from_slice(&arg);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes
        });
        let inline = "[a-z\"'\\\\ ]{0,12}\r?\n".prop_map(String::into_bytes);
        let garbage =
            proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'*')], 0..8);
        prop_oneof![6 => array, 2 => inline, 1 => garbage]
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            requests in proptest::collection::vec(request(), 0..6),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let bytes = requests.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let reads: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            let whole = feed_whole(&bytes);
            prop_assert_eq!(&feed(&reads, &Limits::default()), &whole);
            prop_assert_eq!(&feed(&single, &Limits::default()), &whole);
        }
    }
}
