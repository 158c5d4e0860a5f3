//! Ids of stream entries, as clients write them.

use crate::command::errors::CommandError;
use eagle_core::store::StreamId;
use eagle_core::text::c_string::c_string;
use eagle_core::text::integer;

const INVALID: CommandError =
    CommandError::new("ERR Invalid stream ID specified as stream command argument");
pub(super) const EXHAUSTED: CommandError = CommandError::new(
    "ERR The stream has exhausted the last possible ID, unable to add more items",
);
const NOT_HIGHER: CommandError = CommandError::new(
    "ERR The ID specified in XADD is equal or smaller than the target stream top item",
);
pub(super) const TOO_LARGE: CommandError =
    CommandError::new("ERR Elements are too large to be stored");
const INVALID_START: CommandError = CommandError::new("ERR invalid start ID for the interval");
const INVALID_END: CommandError = CommandError::new("ERR invalid end ID for the interval");

/// Longest text that is looked at.
const TEXT_BYTES_MAX: usize = 127;

/// `ms-seq` or `ms`, whose sequence number is then `missing_seq`.
pub(super) fn strict(word: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match word {
        b"-" | b"+" => Err(INVALID),
        _ => parse(word, missing_seq),
    }
}

/// The same, or `-` or `+` for the first and last id.
pub(super) fn relaxed(word: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match word {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => parse(word, missing_seq),
    }
}

fn parse(word: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    let (ms, seq) = split(word)?;
    let seq = match seq {
        Some(seq) => integer::parse_u64_lenient(seq).ok_or(INVALID)?,
        None => missing_seq,
    };
    Ok(StreamId::new(ms, seq))
}

/// The time, and the text of the sequence number.
fn split(word: &[u8]) -> Result<(u64, Option<&[u8]>), CommandError> {
    if word.len() > TEXT_BYTES_MAX {
        return Err(INVALID);
    }
    let word = c_string(word);
    let dash = memchr::memchr(b'-', word);
    let (ms, seq) = match dash {
        Some(dash) => (&word[..dash], Some(&word[dash + 1..])),
        None => (word, None),
    };
    Ok((integer::parse_u64_lenient(ms).ok_or(INVALID)?, seq))
}

/// The id of an entry to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewId {
    /// `*`.
    Auto,
    /// `ms-*`.
    AutoSeq(u64),
    Given(StreamId),
}

impl NewId {
    /// Anything but `*`.
    pub(super) fn parse(word: &[u8]) -> Result<NewId, CommandError> {
        if let Ok((ms, Some(b"*"))) = split(word) {
            return Ok(NewId::AutoSeq(ms));
        }
        strict(word, 0).map(NewId::Given)
    }

    /// The id that an entry gets behind `last`.
    pub(super) fn after(self, last: StreamId, now_ms: u64) -> Result<StreamId, CommandError> {
        let id = match self {
            NewId::Given(id) => id,
            NewId::Auto if now_ms > last.ms => StreamId::new(now_ms, 0),
            NewId::Auto => last.next().ok_or(EXHAUSTED)?,
            NewId::AutoSeq(ms) if ms == last.ms => {
                // What Redis says here depends on the last call that failed; this is what it mostly says.
                StreamId::new(ms, last.seq.checked_add(1).ok_or(TOO_LARGE)?)
            }
            NewId::AutoSeq(ms) => StreamId::new(ms, 0),
        };
        if id > last { Ok(id) } else { Err(NOT_HIGHER) }
    }
}

/// The first id of an interval: `(` excludes the id itself.
pub(super) fn interval_start(word: &[u8]) -> Result<StreamId, CommandError> {
    match excluded(word) {
        Some(word) => strict(word, 0)?.next().ok_or(INVALID_START),
        None => relaxed(word, 0),
    }
}

/// The last id of an interval.
pub(super) fn interval_end(word: &[u8]) -> Result<StreamId, CommandError> {
    match excluded(word) {
        Some(word) => strict(word, u64::MAX)?.previous().ok_or(INVALID_END),
        None => relaxed(word, u64::MAX),
    }
}

fn excluded(word: &[u8]) -> Option<&[u8]> {
    word.strip_prefix(b"(").filter(|word| !word.is_empty())
}

/// Several ids.
pub(super) fn all(words: &[&[u8]]) -> Result<Vec<StreamId>, CommandError> {
    words.iter().map(|word| strict(word, 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let id = StreamId::new;
        assert_eq!(strict(b"5-3", 9), Ok(id(5, 3)));
        assert_eq!(strict(b"5", 9), Ok(id(5, 9)));
        assert_eq!(strict(b"+5", 0), Ok(id(5, 0)));
        assert_eq!(strict(b"5-03\0x", 0), Ok(id(5, 3)));
        for bad in [
            &b"-"[..],
            b"+",
            b"",
            b"a",
            b"5-",
            b"-5",
            b"5-*",
            b"5-3-1",
            b"18446744073709551616",
            &[b'1'; 128],
        ] {
            assert_eq!(strict(bad, 0), Err(INVALID), "{bad:?}");
        }
        assert_eq!(relaxed(b"-", 0), Ok(StreamId::MIN));
        assert_eq!(relaxed(b"+", 0), Ok(StreamId::MAX));
    }

    #[test]
    fn intervals_may_exclude_their_ends() {
        let id = StreamId::new;
        assert_eq!(interval_start(b"(5-3"), Ok(id(5, 4)));
        assert_eq!(interval_end(b"(5-0"), Ok(id(4, u64::MAX)));
        assert_eq!(interval_end(b"5"), Ok(id(5, u64::MAX)));
        assert_eq!(interval_end(b"(5"), Ok(id(5, u64::MAX - 1)));
        assert_eq!(interval_start(b"(-"), Err(INVALID));
        assert_eq!(interval_start(b"("), Err(INVALID));
        assert_eq!(interval_end(b"(0-0"), Err(INVALID_END));
        let last = b"(18446744073709551615-18446744073709551615";
        assert_eq!(interval_start(last), Err(INVALID_START));
    }

    #[test]
    fn new_ids_are_higher_than_the_last() {
        let id = StreamId::new;
        assert_eq!(NewId::Auto.after(id(5, 5), 9), Ok(id(9, 0)));
        assert_eq!(NewId::Auto.after(id(9, 5), 9), Ok(id(9, 6)));
        assert_eq!(NewId::parse(b"7-*"), Ok(NewId::AutoSeq(7)));
        assert_eq!(NewId::AutoSeq(7).after(id(7, 1), 9), Ok(id(7, 2)));
        assert_eq!(NewId::AutoSeq(7).after(id(7, u64::MAX), 9), Err(TOO_LARGE));
        assert_eq!(NewId::AutoSeq(7).after(id(8, 1), 9), Err(NOT_HIGHER));
        assert_eq!(NewId::AutoSeq(0).after(StreamId::MIN, 9), Ok(id(0, 1)));
        assert_eq!(NewId::Given(id(7, 1)).after(id(7, 1), 9), Err(NOT_HIGHER));
    }
}
