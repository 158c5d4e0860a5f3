//! Writing an RDB file, piece by piece.
//!
//! ```text
//! "REDIS0010"
//! 250 string string            a note (AUX): who wrote the file, and when
//! 245 string                   a function library
//! 254 length                   what follows is of this database
//! 251 length length            its keys, and those that expire: a hint
//! [252 i64 ms] [248 length | 249 u8] type string value          a key
//! 255 u64                      the end, and the CRC-64 of all before, 0 if it was not computed
//! ```

use std::io::{self, Write};

use super::string::{self, Compression};
use super::{VERSION, crc64, length};

pub(super) const AUX: u8 = 250;
pub(super) const SELECT_DB: u8 = 254;
pub(super) const RESIZE_DB: u8 = 251;
pub(super) const EXPIRES_MS: u8 = 252;
pub(super) const EXPIRES_S: u8 = 253;
pub(super) const IDLE: u8 = 248;
pub(super) const FREQUENCY: u8 = 249;
pub(super) const END: u8 = 255;
pub(super) const MAGIC: &[u8; 5] = b"REDIS";

/// When a key was last used, or how often, as far as the eviction policy keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Unknown,
    /// Seconds since the last use.
    Idle(u64),
    /// Logarithmic counter of uses.
    Frequency(u8),
}

/// A file being written.
pub struct Writer<W> {
    out: W,
    /// A record before it is written; kept for its room.
    record: Vec<u8>,
    /// Computed unless `rdbchecksum` is off.
    checksum: Option<crc64::Running>,
    compression: Compression,
    db: Option<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub fn begin(out: W, compression: Compression, is_checked: bool) -> io::Result<Writer<W>> {
        let mut writer = Writer {
            out,
            record: Vec::new(),
            checksum: is_checked.then(Default::default),
            compression,
            db: None,
        };
        writer.record.extend_from_slice(MAGIC);
        writer
            .record
            .extend_from_slice(format!("{VERSION:04}").as_bytes());
        writer.put()?;
        Ok(writer)
    }

    /// A note on the file as a whole.
    pub fn note(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        self.record.push(AUX);
        string::write(&mut self.record, name.as_bytes(), self.compression);
        string::write(&mut self.record, value, self.compression);
        self.put()
    }

    /// Function libraries, spelled as [`function`](super::function) spells them.
    pub fn functions(&mut self, spelled: &[u8]) -> io::Result<()> {
        self.record.extend_from_slice(spelled);
        self.put()
    }

    /// How many keys a database has about, and how many of them expire.
    pub fn sizes(&mut self, db: u8, keys: u64, expiring: u64) -> io::Result<()> {
        self.select(db);
        self.record.push(RESIZE_DB);
        length::write(&mut self.record, keys);
        length::write(&mut self.record, expiring);
        self.put()
    }

    /// A key; `value` begins with its type byte.
    pub fn key(
        &mut self,
        db: u8,
        key: &[u8],
        expires_at_ms: Option<u64>,
        last_use: Use,
        value: &[u8],
    ) -> io::Result<()> {
        self.select(db);
        if let Some(at_ms) = expires_at_ms {
            self.record.push(EXPIRES_MS);
            self.record.extend_from_slice(&at_ms.to_le_bytes());
        }
        match last_use {
            Use::Unknown => {}
            Use::Idle(seconds) => {
                self.record.push(IDLE);
                length::write(&mut self.record, seconds);
            }
            Use::Frequency(counter) => self.record.extend_from_slice(&[FREQUENCY, counter]),
        }
        let (kind, value) = value.split_first().expect("a value has a type");
        self.record.push(*kind);
        string::write(&mut self.record, key, self.compression);
        self.put()?;
        if let Some(checksum) = &mut self.checksum {
            checksum.add(value);
        }
        self.out.write_all(value)
    }

    /// Ends the file. It is not on the medium yet.
    pub fn finish(mut self) -> io::Result<W> {
        self.record.push(END);
        self.put()?;
        let checksum = self.checksum.take().map_or(0, crc64::Running::end);
        self.out.write_all(&checksum.to_le_bytes())?;
        Ok(self.out)
    }

    /// Where the bytes go.
    pub fn out(&mut self) -> &mut W {
        &mut self.out
    }

    fn select(&mut self, db: u8) {
        if self.db != Some(db) {
            self.db = Some(db);
            self.record.push(SELECT_DB);
            length::write(&mut self.record, db.into());
        }
    }

    fn put(&mut self) -> io::Result<()> {
        if let Some(checksum) = &mut self.checksum {
            checksum.add(&self.record);
        }
        let written = self.out.write_all(&self.record);
        self.record.clear();
        written
    }
}
