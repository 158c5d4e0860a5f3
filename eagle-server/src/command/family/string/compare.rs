//! Comparing the string at a key before something is done to it: the options `IFEQ`, `IFNE`, `IFDEQ` and `IFDNE` of SET
//! and DELEX, and DELEX, DELIFEQ and DIGEST themselves.
//!
//! SET `IFEQ` came with Valkey 8.1, DELIFEQ with Valkey 9.0; all but DELIFEQ with Redis 8.4. Where both have the same
//! thing they agree, but for DELEX: Valkey 9.2 knows it with `IFEQ` and `IFNE` only, needs one of them, and calls a key
//! of another type `WRONGTYPE`. We do as Redis, which had it first.

use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::command::{KeyRef, KeyRefs};
use crate::config::special::EventClasses;
use eagle_core::store::{StoreError, StringRead};
use xxhash_rust::xxh3::Xxh3Default;

/// What of the string is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Value,
    /// The sixteen hexadecimal digits of its XXH3 hash.
    Digest,
}

/// What the string at a key has to be, or must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comparison<'a> {
    subject: Subject,
    wants_equal: bool,
    operand: &'a [u8],
}

impl<'a> Comparison<'a> {
    const KEYWORDS: [(&'static str, Subject, bool); 4] = [
        ("IFEQ", Subject::Value, true),
        ("IFNE", Subject::Value, false),
        ("IFDEQ", Subject::Digest, true),
        ("IFDNE", Subject::Digest, false),
    ];

    /// Whether `word` is one of the four keywords, in any case.
    pub fn is_keyword(word: &[u8]) -> bool {
        Self::KEYWORDS
            .iter()
            .any(|(keyword, ..)| word.eq_ignore_ascii_case(keyword.as_bytes()))
    }

    /// Takes a keyword and its operand, if the next word is one.
    pub fn accept(args: &mut Args<'a>) -> Result<Option<Comparison<'a>>, CommandError> {
        for (keyword, subject, wants_equal) in Self::KEYWORDS {
            if args.accept(keyword) {
                return Ok(Some(Comparison {
                    subject,
                    wants_equal,
                    operand: args.word()?,
                }));
            }
        }
        Ok(None)
    }

    /// Whether it holds for the string at `key`.
    pub fn holds_at(&self, cx: &Context<'_>, key: &[u8]) -> Result<bool, CommandError> {
        let held = cx
            .view
            .with_string(cx.db(), key, |string| self.holds(Some(string)))?;
        held.unwrap_or_else(|| self.holds(None::<&StringRead<'_, '_>>))
    }

    /// Whether it holds for the string `current`. No string differs from every one, and its digest from every word.
    fn holds(&self, current: Option<&impl Pieces>) -> Result<bool, CommandError> {
        let Some(current) = current else {
            return Ok(!self.wants_equal);
        };
        let equal = match self.subject {
            Subject::Value => equals(current, self.operand),
            Subject::Digest if self.operand.len() != DIGEST_DIGITS => return Err(NO_DIGEST),
            Subject::Digest => digest(current).eq_ignore_ascii_case(self.operand),
        };
        Ok(equal == self.wants_equal)
    }
}

/// A string whose bytes are visited where they lie.
trait Pieces {
    /// Length in bytes.
    fn bytes(&self) -> u64;

    /// Visits its bytes in order.
    fn for_each(&self, visit: impl FnMut(&[u8]));
}

impl Pieces for StringRead<'_, '_> {
    fn bytes(&self) -> u64 {
        self.len()
    }

    fn for_each(&self, mut visit: impl FnMut(&[u8])) {
        self.pieces(0..self.len(), &mut |piece| piece.for_each(&mut visit));
    }
}

fn equals(string: &impl Pieces, operand: &[u8]) -> bool {
    if string.bytes() != operand.len() as u64 {
        return false;
    }
    let (mut rest, mut is_equal) = (operand, true);
    string.for_each(|piece| {
        let compared = rest.split_off(..piece.len());
        is_equal = is_equal && compared == Some(piece);
    });
    is_equal
}

const DIGEST_DIGITS: usize = 16;
const NO_DIGEST: CommandError = CommandError::new("ERR must be exactly 16 hexadecimal characters");

fn digest(string: &impl Pieces) -> [u8; DIGEST_DIGITS] {
    let mut hasher = Xxh3Default::new();
    string.for_each(|piece| hasher.update(piece));
    let hash = hasher.digest();
    let mut digits = [0; DIGEST_DIGITS];
    for (at, digit) in digits.iter_mut().enumerate() {
        let nibble = (hash >> (60 - 4 * at)) & 15;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
    digits
}

const O_LENGTH: &str = "O(N) where N is the length of the string value.";

/// DIGEST key -- the hash of the string at `key` in hexadecimal, or null.
pub(super) const DIGEST: Command = Command::new(
    "digest",
    2,
    digest_command,
    Docs::new(
        "string",
        "8.4.0",
        "Returns the XXH3 hash of a string value.",
    )
    .complexity(O_LENGTH)
    .syntax("key"),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn digest_command(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let digest = cx
        .view
        .with_string(cx.db(), args.word()?, |string| digest(string));
    match cx.noted(digest)? {
        Some(digest) => cx.reply_bulk(&digest),
        None => cx.reply_null(),
    }
}

/// DELEX key [IFEQ value | IFNE value | IFDEQ digest | IFDNE digest] -- removes a key of any type, or a string that
/// compares as wanted.
pub(super) const DELEX: Command = Command::new(
    "delex",
    -2,
    delex,
    Docs::new(
        "string",
        "8.4.0",
        "Conditionally removes the specified key based on value or digest comparison.",
    )
    .complexity(
        "O(1) for IFEQ/IFNE, O(N) for IFDEQ/IFDNE where N is the length of the string value.",
    )
    .syntax("key condition=[IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest]"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RW, KeyFlags::DELETE, KeyFlags::VARIABLE_FLAGS],
)])
.find_keys(delex_keys);

/// The key, which is read only where there is a condition.
fn delex_keys(argv: &[&[u8]]) -> KeyRefs {
    let flags = if argv.len() > 2 {
        KeyFlags::all(&[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::DELETE])
    } else {
        KeyFlags::all(&[KeyFlags::RM, KeyFlags::DELETE])
    };
    (1..argv.len().min(2))
        .map(|position| KeyRef { position, flags })
        .collect()
}

fn delex(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const NOT_A_STRING: CommandError =
        CommandError::new("ERR Key should be of string type if conditions are specified");
    const UNKNOWN: CommandError =
        CommandError::new("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE");
    let key = args.word()?;
    if args.is_empty() {
        return remove_if(cx, key, |_| Ok(true));
    }
    if args.len() != 2 {
        return Err(errors::wrong_arity(&cx.entry.full_name));
    }
    remove_if(cx, key, |cx| {
        if let Err(StoreError::WrongType) = cx.view.string_len(cx.db(), key) {
            return Err(NOT_A_STRING);
        }
        let comparison = Comparison::accept(&mut args)?.ok_or(UNKNOWN)?;
        comparison.holds_at(cx, key)
    })
}

/// DELIFEQ key value -- removes a string that is `value`.
pub(super) const DELIFEQ: Command = Command::new(
    "delifeq",
    3,
    delifeq,
    Docs::new("string", "9.0.0", "Delete key if value matches string.")
        .complexity("O(1)")
        .syntax("key value"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::STRING)
.keys(&[KeySpec::index(
    1,
    &[KeyFlags::RM, KeyFlags::ACCESS, KeyFlags::DELETE],
)]);

fn delifeq(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, value) = (args.word()?, args.word()?);
    let comparison = Comparison {
        subject: Subject::Value,
        wants_equal: true,
        operand: value,
    };
    remove_if(cx, key, |cx| comparison.holds_at(cx, key))
}

/// Removes `key` if it exists and `condition` holds; replies whether it did.
fn remove_if(
    cx: &mut Context<'_>,
    key: &[u8],
    condition: impl FnOnce(&Context<'_>) -> Result<bool, CommandError>,
) -> Outcome {
    let db = cx.db();
    if cx.view.find(db, key).is_none() || !condition(cx)? {
        return cx.reply_bool(false);
    }
    cx.view.remove(db, key)?;
    cx.notify(EventClasses::GENERIC, "del", key);
    cx.effects.instead(db, &[b"DEL", key]);
    cx.reply_bool(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Pieces for &[&str] {
        fn bytes(&self) -> u64 {
            self.iter().map(|piece| piece.len() as u64).sum()
        }

        fn for_each(&self, mut visit: impl FnMut(&[u8])) {
            self.iter().for_each(|piece| visit(piece.as_bytes()));
        }
    }

    #[test]
    fn digests_are_those_of_redis_8_4() {
        let of = |pieces: &[&str]| String::from_utf8(digest(&pieces).to_vec()).expect("digits");
        assert_eq!(of(&["hello"]), "9555e8555c62dcfd");
        assert_eq!(of(&["he", "", "llo"]), "9555e8555c62dcfd");
        assert_eq!(of(&[]), "2d06800538d394c2");
        assert_eq!(of(&["v8"]), "0cc76dbb41381419");
        assert_eq!(of(&["123"]), "404a763b3f4c8c9a");
    }

    #[test]
    fn a_missing_string_differs_from_every_one() {
        let compare = |words: &[&[u8]], current: Option<&[&str]>| {
            let comparison = Comparison::accept(&mut Args::new(words, 0));
            comparison.unwrap().unwrap().holds(current.as_ref())
        };
        assert_eq!(compare(&[b"ifeq", b""], None), Ok(false));
        assert_eq!(compare(&[b"IFNE", b""], None), Ok(true));
        assert_eq!(compare(&[b"IFDEQ", b"short"], None), Ok(false));
        let nine = Some(&["9"][..]);
        assert_eq!(compare(&[b"IFEQ", b"9"], nine), Ok(true));
        assert_eq!(compare(&[b"IFEQ", b"09"], nine), Ok(false));
        assert_eq!(compare(&[b"IFDNE", b"short"], nine), Err(NO_DIGEST));
        assert_eq!(compare(&[b"IFDNE", b"zzzzzzzzzzzzzzzz"], nine), Ok(true));
        let apart = Some(&["ab", "", "cd"][..]);
        for (text, is_equal) in [
            ("abcd", true),
            ("abcx", false),
            ("xbcd", false),
            ("abc", false),
            ("abcde", false),
        ] {
            assert_eq!(
                compare(&[b"IFEQ", text.as_bytes()], apart),
                Ok(is_equal),
                "{text}"
            );
        }
    }
}
