//! Reading an RDB file, record by record, with no more of it in memory than its largest record.

use std::borrow::Cow;
use std::io::{self, Read};

use super::cursor::Cursor;
use super::value::Value;
use super::writer::{
    AUX, END, EXPIRES_MS, EXPIRES_S, FREQUENCY, IDLE, MAGIC, RESIZE_DB, SELECT_DB, Use,
};
use super::{DecodeError, crc64, function, length, string};
use std::fmt;

/// The newest version whose files are read: those of Redis 7.4 and 8.0. What they have beyond version 10 is told by type
/// bytes, and refused where it is met.
const VERSION_MAX: u32 = 12;
/// The first version with a checksum.
const VERSION_CHECKED: u32 = 5;
/// A record about a hash slot, of later versions.
const SLOT_INFO: u8 = 244;
/// Data of a module.
const MODULE_AUX: u8 = 247;

/// Bytes read at once at least.
const WINDOW_BYTES: usize = 256 << 10;

/// Why a file is not read.
#[derive(Debug)]
pub enum ReadError {
    Io(io::Error),
    /// The file does not begin as it should.
    Signature,
    /// It is of a later version.
    Version(u32),
    /// It ends before its end mark, or holds what no writer writes.
    Damaged {
        /// Where the record begins.
        at: u64,
        error: DecodeError,
    },
    /// A record of a kind that is not known.
    Unknown {
        at: u64,
        opcode: u8,
    },
    /// All records were read, and the checksum is not theirs.
    Checksum {
        expected: u64,
        found: u64,
    },
    /// The function library can not be read.
    Function(&'static str),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => write!(f, "{error}"),
            ReadError::Signature => f.write_str("Wrong signature trying to load DB from file"),
            ReadError::Version(version) => {
                write!(f, "Can't handle RDB format version {version}")
            }
            ReadError::Damaged { at, error } => {
                write!(f, "Internal error in RDB reading offset {at}: {error}")
            }
            ReadError::Unknown { at, opcode } => write!(
                f,
                "Internal error in RDB reading offset {at}: unknown record {opcode}"
            ),
            ReadError::Checksum { expected, found } => write!(
                f,
                "RDB CRC error: wrong RDB checksum expected: ({expected:x}) but got ({found:x}). Aborting now."
            ),
            ReadError::Function(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for ReadError {}

/// What a file holds, in its order.
#[derive(Debug, PartialEq)]
pub enum Record<'a> {
    /// A note on the file as a whole.
    Note(Cow<'a, [u8]>, Cow<'a, [u8]>),
    /// The code of a function library.
    Function(Cow<'a, [u8]>),
    Key(Key<'a>),
    /// A key with a collection that has no elements: some old versions wrote such.
    Empty {
        db: u64,
        key: Cow<'a, [u8]>,
    },
}

/// A key in a file.
#[derive(Debug, PartialEq)]
pub struct Key<'a> {
    pub db: u64,
    pub key: Cow<'a, [u8]>,
    /// Unix milliseconds.
    pub expires_at_ms: Option<u64>,
    pub last_use: Use,
    pub value: Value<'a>,
}

/// A file being read.
pub struct Reader<R> {
    input: R,
    /// Bytes of the file that are not in the window yet.
    behind: u64,
    window: Vec<u8>,
    /// The part of the window that was read already.
    passed: usize,
    /// Where the window begins in the file.
    window_at: u64,
    version: u32,
    checksum: crc64::Running,
    is_checked: bool,
    db: u64,
}

impl<R: Read> Reader<R> {
    /// Begins to read a file of `bytes` bytes.
    pub fn begin(input: R, bytes: u64, is_checked: bool) -> Result<Reader<R>, ReadError> {
        let mut reader = Reader {
            input,
            behind: bytes,
            window: Vec::new(),
            passed: 0,
            window_at: 0,
            version: 0,
            checksum: Default::default(),
            is_checked,
            db: 0,
        };
        reader.fill()?;
        let head: [u8; 9] = *reader.window.first_chunk().ok_or(ReadError::Signature)?;
        let (magic, digits) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(ReadError::Signature);
        }
        let version = std::str::from_utf8(digits).ok();
        let version = version.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        if !(1..=VERSION_MAX).contains(&version) {
            return Err(ReadError::Version(version));
        }
        reader.version = version;
        reader.pass(head.len());
        Ok(reader)
    }

    /// Hands the next record to `take`; `None` behind the last one, if the checksum is right.
    pub fn next<T>(&mut self, take: impl FnOnce(Record<'_>) -> T) -> Result<Option<T>, ReadError> {
        loop {
            let bytes = &self.window[self.passed..];
            let mut cursor = Cursor::partial(bytes, self.behind);
            let mut db = self.db;
            let parsed = parse(&mut cursor, &mut db);
            let len = bytes.len() - cursor.remaining();
            let at = self.window_at + self.passed as u64;
            match parsed {
                Ok(Parsed::Record(record)) => {
                    let taken = take(record);
                    self.db = db;
                    self.pass(len);
                    return Ok(Some(taken));
                }
                Ok(Parsed::Hint) => {
                    self.db = db;
                    self.pass(len);
                }
                Ok(Parsed::End) => {
                    self.pass(len);
                    self.check_end()?;
                    return Ok(None);
                }
                Ok(Parsed::Unknown(opcode)) => return Err(ReadError::Unknown { at, opcode }),
                Ok(Parsed::Function(error)) => return Err(ReadError::Function(error)),
                Err(DecodeError::Incomplete) => self.fill()?,
                Err(error) => return Err(ReadError::Damaged { at, error }),
            }
        }
    }

    /// Where the next record begins.
    pub fn position(&self) -> u64 {
        self.window_at + self.passed as u64
    }

    fn check_end(&mut self) -> Result<(), ReadError> {
        if self.version < VERSION_CHECKED {
            return Ok(());
        }
        while self.window.len() - self.passed < 8 && self.behind > 0 {
            self.fill()?;
        }
        let at = self.position();
        let trailer: &[u8; 8] =
            self.window[self.passed..]
                .first_chunk()
                .ok_or(ReadError::Damaged {
                    at,
                    error: DecodeError::Corrupt("the file ends before its checksum"),
                })?;
        let expected = u64::from_le_bytes(*trailer);
        let found = std::mem::take(&mut self.checksum).end();
        if self.is_checked && expected != 0 && expected != found {
            return Err(ReadError::Checksum { expected, found });
        }
        Ok(())
    }

    /// Has passed `len` bytes of the window.
    fn pass(&mut self, len: usize) {
        let passed = &self.window[self.passed..self.passed + len];
        if self.is_checked {
            self.checksum.add(passed);
        }
        self.passed += len;
    }

    /// Reads on: as much as lies unread in the window already, so that a long record is looked at a few times only.
    fn fill(&mut self) -> Result<(), ReadError> {
        self.window.drain(..self.passed);
        self.window_at += self.passed as u64;
        self.passed = 0;
        let wanted = self.window.len().max(WINDOW_BYTES) as u64;
        let wanted = wanted.min(self.behind);
        let read = self
            .input
            .by_ref()
            .take(wanted)
            .read_to_end(&mut self.window)
            .map_err(ReadError::Io)?;
        // A file that shrinks meanwhile ends where it ends.
        self.behind = if read as u64 == wanted {
            self.behind - wanted
        } else {
            0
        };
        Ok(())
    }
}

enum Parsed<'a> {
    Record(Record<'a>),
    /// Something that tells nothing.
    Hint,
    End,
    Unknown(u8),
    Function(&'static str),
}

fn parse<'a>(cursor: &mut Cursor<'a>, db: &mut u64) -> Result<Parsed<'a>, DecodeError> {
    let (mut expires_at_ms, mut last_use) = (None, Use::Unknown);
    loop {
        let mut behind_opcode = cursor.clone();
        let opcode = behind_opcode.byte()?;
        match opcode {
            EXPIRES_MS => {
                *cursor = behind_opcode;
                let at_ms = i64::from_le_bytes(cursor.array()?);
                expires_at_ms = Some(u64::try_from(at_ms).unwrap_or(0));
            }
            EXPIRES_S => {
                *cursor = behind_opcode;
                let at_s = i32::from_le_bytes(cursor.array()?);
                expires_at_ms = Some(u64::try_from(at_s).unwrap_or(0) * 1000);
            }
            IDLE => {
                *cursor = behind_opcode;
                last_use = Use::Idle(length::read_plain(cursor)?);
            }
            FREQUENCY => {
                *cursor = behind_opcode;
                last_use = Use::Frequency(cursor.byte()?);
            }
            SELECT_DB => {
                *cursor = behind_opcode;
                *db = length::read_plain(cursor)?;
                return Ok(Parsed::Hint);
            }
            RESIZE_DB | SLOT_INFO => {
                *cursor = behind_opcode;
                let numbers = if opcode == RESIZE_DB { 2 } else { 3 };
                for _ in 0..numbers {
                    length::read_plain(cursor)?;
                }
                return Ok(Parsed::Hint);
            }
            AUX => {
                *cursor = behind_opcode;
                let name = string::read(cursor)?;
                return Ok(Parsed::Record(Record::Note(name, string::read(cursor)?)));
            }
            function::OPCODE => {
                *cursor = behind_opcode;
                return Ok(Parsed::Record(Record::Function(string::read(cursor)?)));
            }
            function::OPCODE_OLD => {
                return Ok(Parsed::Function(
                    "Pre-release function format not supported.",
                ));
            }
            MODULE_AUX => return Ok(Parsed::Unknown(opcode)),
            END => {
                *cursor = behind_opcode;
                return Ok(Parsed::End);
            }
            kind => {
                *cursor = behind_opcode;
                let key = string::read(cursor)?;
                return match Value::read_as(kind, cursor) {
                    Ok(value) => Ok(Parsed::Record(Record::Key(Key {
                        db: *db,
                        key,
                        expires_at_ms,
                        last_use,
                        value,
                    }))),
                    Err(DecodeError::EmptyCollection) => {
                        Ok(Parsed::Record(Record::Empty { db: *db, key }))
                    }
                    Err(DecodeError::UnsupportedType(kind)) => Ok(Parsed::Unknown(kind)),
                    Err(error) => Err(error),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::writer::Writer;
    use super::super::{Compression, value};
    use super::*;
    use proptest::prelude::*;

    /// Database, key, expiry, value.
    type Entry = (u8, Vec<u8>, Option<u64>, Vec<u8>);

    fn file(values: &[Entry]) -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), Compression::Lzf, true).unwrap();
        writer.note("redis-ver", b"7.0.15").unwrap();
        writer.sizes(0, values.len() as u64, 0).unwrap();
        for (db, key, expires_at_ms, bytes) in values {
            let mut spelled = Vec::new();
            value::write_string(&mut spelled, bytes, Compression::Lzf);
            let last_use = if key.len().is_multiple_of(2) {
                Use::Idle(300)
            } else {
                Use::Frequency(7)
            };
            writer
                .key(*db, key, *expires_at_ms, last_use, &spelled)
                .unwrap();
        }
        writer.finish().unwrap()
    }

    /// All strings of a file that is handed out a few bytes at a time.
    fn read(bytes: &[u8]) -> Result<Vec<Entry>, ReadError> {
        let mut found = Vec::new();
        let mut reader = Reader::begin(bytes, bytes.len() as u64, true)?;
        while reader
            .next(|record| {
                if let Record::Key(key) = record {
                    let Value::String(value) = key.value else {
                        panic!("only strings were written")
                    };
                    let key_bytes = key.key.into_owned();
                    found.push((
                        key.db as u8,
                        key_bytes,
                        key.expires_at_ms,
                        value.into_owned(),
                    ));
                }
            })?
            .is_some()
        {}
        Ok(found)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            values in proptest::collection::vec((
                0..3u8,
                proptest::collection::vec(any::<u8>(), 1..30),
                proptest::option::of(1..u64::MAX / 2),
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..200),
                    (0..700_000usize).prop_map(|len| vec![b'x'; len]),
                    Just(b"12345".to_vec()),
                ],
            ), 0..6),
            cut: proptest::sample::Index,
        ) {
            let bytes = file(&values);
            prop_assert_eq!(read(&bytes).unwrap(), values);
            let cut = cut.index(bytes.len());
            prop_assert!(read(&bytes[..cut]).is_err(), "a file cut at {} is not whole", cut);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let forged = [b"REDIS0010", &bytes[..]].concat();
            let _ = read(&bytes);
            if let Ok(mut reader) = Reader::begin(&forged[..], forged.len() as u64, true) {
                while let Ok(Some(())) = reader.next(|_| ()) {}
            }
        }
    }

    /// Hands out a few bytes at a time, and fails at one of the calls.
    struct Failing<'b> {
        bytes: &'b [u8],
        calls_left: usize,
    }

    impl Read for Failing<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            const EIO: i32 = 5;
            if self.calls_left == 0 {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            self.calls_left -= 1;
            let count = into.len().min(7_000);
            self.bytes.read(&mut into[..count])
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_whole() {
        let value = |number: u64| -> Vec<u8> {
            let mix = |n: u64| (n * number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
            (0..90_000).map(|n| mix(n) as u8).collect()
        };
        let values = [1, 3, 5].map(|number| (0, b"key".to_vec(), None, value(number)));
        let bytes = file(&values);
        let mut failures = 0;
        for calls_left in 0.. {
            let failing = Failing {
                bytes: &bytes,
                calls_left,
            };
            let read = || {
                let mut reader = Reader::begin(failing, bytes.len() as u64, true)?;
                let mut count = 0;
                while reader
                    .next(|record| count += usize::from(matches!(record, Record::Key(_))))?
                    .is_some()
                {}
                Ok(count)
            };
            match read() {
                Ok(count) => {
                    assert_eq!(count, 3);
                    break;
                }
                Err(ReadError::Io(error)) => assert_eq!(error.raw_os_error(), Some(5)),
                Err(error) => panic!("{error}"),
            }
            failures += 1;
        }
        assert!(failures > 10, "{failures}");
    }

    #[test]
    fn heads_and_checksums_are_checked() {
        let good = file(&[(0, b"key".to_vec(), None, b"value".to_vec())]);
        assert!(matches!(read(b"RUBIS0010\xff"), Err(ReadError::Signature)));
        assert!(matches!(read(b"REDIS"), Err(ReadError::Signature)));
        assert!(matches!(
            read(b"REDIS0099\xff"),
            Err(ReadError::Version(99))
        ));
        // Versions before 5 have no checksum.
        assert!(read(b"REDIS0004\xff").unwrap().is_empty());
        let mut wrong = good.clone();
        let at = wrong.len() - 12;
        wrong[at] ^= 1;
        assert!(matches!(read(&wrong), Err(ReadError::Checksum { .. })));
        let end = wrong.len();
        wrong[end - 8..].fill(0);
        assert!(read(&wrong).is_ok(), "a checksum of zero was not computed");
    }
}
