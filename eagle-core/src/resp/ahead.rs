//! Requests that lie whole in a buffer, found in one go.
//!
//! A client that pipelines has sent many requests by the time the first is run. What they need of memory is fetched
//! for all of them together, so they are all looked at first; and what was seen then need not be parsed again. Taken
//! are the requests that nearly all are: arrays of few words, each of them short. The first that is anything else, or
//! not whole, is left with all behind it to the [parser](super::Parser), which has the last word on it.

use super::argv::{Argv, Span};
use super::limits::Limits;
use super::parser::{short_array_head, short_bulk_head};

/// Words of a request that is found. The parser takes any number.
const WORDS_MAX: usize = 64;

/// Places of words kept allocated from one look to the next.
const WORDS_KEPT_MAX: usize = 128;

/// A request in the buffer.
#[derive(Clone, Copy, Debug)]
struct Request {
    /// Its bytes, counted from where the one before ends.
    bytes: usize,
    /// The end of its words among all words.
    words_end: usize,
}

/// Requests found in a buffer and not yet run. Only places are kept: whoever changes the buffer clears this first.
#[derive(Debug, Default)]
pub struct Ahead {
    requests: Vec<Request>,
    /// The words of all requests, each counted from the beginning of its own.
    words: Vec<Span>,
    /// Requests that were taken; the last of them is the present one.
    taken: usize,
    /// The words of the present one.
    present: (usize, usize),
}

impl Ahead {
    /// Forgets all requests.
    #[inline]
    pub fn clear(&mut self) {
        self.requests.clear();
        self.words.clear();
        if self.words.capacity() > WORDS_KEPT_MAX {
            self.words.shrink_to(WORDS_KEPT_MAX);
        }
        self.taken = 0;
        self.present = (0, 0);
    }

    /// Finds the requests at the beginning of `buf`, at most `requests_max`; how many. They take the place of those
    /// found before.
    pub fn find(&mut self, buf: &[u8], requests_max: usize, limits: &Limits) -> usize {
        self.clear();
        let words_max = match limits.unauthenticated {
            true => WORDS_MAX.min(Limits::UNAUTHENTICATED_ARGS_MAX),
            false => WORDS_MAX,
        };
        let words_max = words_max.min(limits.args_max);
        let mut rest = buf;
        while self.requests.len() < requests_max
            && let Some(bytes) = self.find_one(rest, words_max, limits.bulk_bytes_max)
        {
            let words_end = self.words.len();
            self.requests.push(Request { bytes, words_end });
            rest = &rest[bytes..];
        }
        self.requests.len()
    }

    /// Notes the words of the request at the beginning of `buf`; its length. If it is not one that is taken, the words
    /// are left as they were.
    #[inline]
    fn find_one(&mut self, buf: &[u8], words_max: usize, bytes_max: usize) -> Option<usize> {
        let (mut pos, count) = short_array_head(buf)?;
        if count == 0 || count > words_max {
            return None;
        }
        let before = self.words.len();
        self.words.reserve(count);
        for _ in 0..count {
            let word = short_bulk_head(&buf[pos..])
                .filter(|(head, len)| *len <= bytes_max && buf.len() - pos >= head + len + 2);
            let Some((head, len)) = word else {
                self.words.truncate(before);
                return None;
            };
            let start = pos + head;
            let end = start + len;
            self.words.push(Span { start, end });
            pos = end + 2;
        }
        Some(pos)
    }

    /// The key of each request that was found: the word at the place that `key_at` says for the first word, the command's
    /// name. `buf` is the one they were found in.
    pub fn keys<'a>(
        &self,
        buf: &'a [u8],
        key_at: impl Fn(&[u8]) -> usize,
    ) -> impl Iterator<Item = &'a [u8]> {
        let (mut at, mut first) = (0, 0);
        self.requests.iter().filter_map(move |request| {
            let words = &self.words[first..request.words_end];
            let start = at;
            (at, first) = (at + request.bytes, request.words_end);
            let word = |span: &Span| &buf[start + span.start..start + span.end];
            let name = words.first().map(word)?;
            words.get(key_at(name)).map(word)
        })
    }

    /// Whether all requests that were found have been taken.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.taken == self.requests.len()
    }

    /// Takes the next request; its length.
    #[inline]
    pub fn take(&mut self) -> Option<usize> {
        let request = self.requests.get(self.taken)?;
        self.taken += 1;
        self.present = (self.present.1, request.words_end);
        Some(request.bytes)
    }

    /// The words of the request that was taken last, which begins where `buf` does.
    #[inline]
    pub fn argv<'a>(&'a self, buf: &'a [u8]) -> Argv<'a> {
        let (first, end) = self.present;
        Argv::new(buf, &self.words[first..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Parser, Step};
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        args_max: 1024,
        bulk_bytes_max: 512,
        unauthenticated: false,
    };

    fn found(input: &[u8]) -> (usize, Vec<Vec<u8>>) {
        let mut ahead = Ahead::default();
        let count = ahead.find(input, 3, &LIMITS);
        let key_at = |name: &[u8]| if name == b"EVAL" { 3 } else { 1 };
        let keys = ahead.keys(input, key_at).map(<[u8]>::to_vec).collect();
        (count, keys)
    }

    #[test]
    fn the_keys_are_seen() {
        let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$2\r\nbb\r\n$0\r\n\r\n";
        assert_eq!(found(input), (3, vec![b"a".to_vec(), b"bb".to_vec()]));
        assert_eq!(Ahead::default().find(input, 1, &LIMITS), 1);
        let scripts = b"*4\r\n$4\r\nEVAL\r\n$1\r\ns\r\n$1\r\n1\r\n$1\r\nk\r\n*3\r\n$4\r\nEVAL\r\n$1\r\ns\r\n$1\r\n0\r\n";
        assert_eq!(found(scripts), (2, vec![b"k".to_vec()]));
    }

    #[test]
    fn what_is_not_whole_or_odd_is_left() {
        let whole = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
        for cut in 0..whole.len() {
            assert_eq!(found(&whole[..cut]).0, 0, "{cut}");
        }
        for odd in [
            &b"GET a\r\n"[..],
            b"*-1\r\n",
            b"*0\r\n",
            b"*02\r\n$3\r\nGET\r\n$1\r\na\r\n",
            b"*99\r\n$1\r\na\r\n",
            b"*2\r\n$3\r\nGET\r\n$99999999999\r\na\r\n",
            b"*2\r\n$3\r\nGET\r\n+a\r\n",
        ] {
            let both = [&whole[..], odd, whole].concat();
            assert_eq!(found(&both), (1, vec![b"a".to_vec()]), "{odd:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let many = [b"*11\r\n".to_vec(), b"$1\r\na\r\n".repeat(11)].concat();
        let long = [&b"*1\r\n$600\r\n"[..], &[b'a'; 602]].concat();
        let guest = Limits {
            unauthenticated: true,
            ..LIMITS
        };
        let mut ahead = Ahead::default();
        assert_eq!(ahead.find(&many, 1, &LIMITS), 1);
        assert_eq!(ahead.find(&many, 1, &guest), 0);
        assert_eq!(ahead.find(&long, 1, &LIMITS), 0);
    }

    proptest! {
        /// Whatever is found the parser finds too, word by word.
        #[test]
        fn the_parser_agrees(
            pieces in prop::collection::vec(prop_oneof![
                8 => prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..12).prop_map(|words| {
                    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
                    for word in words {
                        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
                        bytes.extend(word);
                        bytes.extend(b"\r\n");
                    }
                    bytes
                }),
                1 => prop::collection::vec(prop::sample::select(b"*$0123\r\n-".to_vec()), 0..8),
            ], 0..8),
        ) {
            let input = pieces.concat();
            let (mut ahead, mut parser) = (Ahead::default(), Parser::new());
            ahead.find(&input, usize::MAX, &LIMITS);
            let mut rest = &input[..];
            while let Some(bytes) = ahead.take() {
                let step = parser.next(rest, &LIMITS);
                prop_assert_eq!(step, Ok(Step::Command { consumed: bytes }));
                let (found, parsed) = (ahead.argv(rest), parser.argv(rest));
                prop_assert!(found.iter().eq(parsed.iter()));
                rest = &rest[bytes..];
            }
        }
    }
}
