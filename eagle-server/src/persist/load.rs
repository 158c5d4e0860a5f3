//! Reading an RDB file into the keyspace.

use crate::persist::loading::Turn;
use crate::persist::rdb::keyspace::store_value;
use crate::persist::rdb::reader::{Key, ReadError, Reader, Record};
use crate::persist::rdb::writer::Use;
use crate::persist::snapshot::{POOL_NOTE, rest};
use eagle_core::store::{Access, DATABASES_MAX, Keyspace, StoreError, Ttl, Worker, key_slot};
use eagle_core::text::integer::parse_u64;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Why a file was not loaded. The keyspace may hold a part of it.
#[derive(Debug)]
pub enum LoadError {
    Read(ReadError),
    Store(StoreError),
    /// A key that exists already.
    Duplicate(Vec<u8>),
    /// More databases than there are.
    Databases(u64),
    /// The server ends.
    Cancelled,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Read(error) => error.fmt(f),
            LoadError::Store(error) => write!(f, "{error}"),
            LoadError::Duplicate(key) => {
                write!(f, "RDB has duplicated key '{}' in DB", key.escape_ascii())
            }
            LoadError::Databases(db) => write!(
                f,
                "Data file was created with a Redis server configured to handle more than {db} databases"
            ),
            LoadError::Cancelled => f.write_str("Loading was called off"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> LoadError {
        LoadError::Read(ReadError::Io(error))
    }
}

/// How a file is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Unix milliseconds. Keys whose time has come are left out.
    pub now_ms: u64,
    pub databases: u64,
    pub is_checked: bool,
    /// What a key's access clock is made of: its last use as far as the file tells it.
    pub clock: fn(Use, u64) -> Option<u32>,
    /// Keys that exist are replaced, not refused.
    pub replaces: bool,
    /// Microseconds to rest per key, or (below zero) keys per microsecond: for tests.
    pub key_delay: i32,
}

/// What was in a file.
#[derive(Debug, Default)]
pub struct Loaded {
    pub keys: u64,
    pub expired: u64,
    /// Collections without elements, which were left out.
    pub empty: u64,
    /// The code of its function libraries.
    pub functions: Vec<Vec<u8>>,
    pub notes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads the file at `path`, every key in a transaction of its own. Function libraries are only handed out.
pub fn load(
    keyspace: &Keyspace,
    path: &Path,
    options: &Options,
    turn: &Turn<'_>,
) -> Result<Loaded, LoadError> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut reader = Reader::begin(file, bytes, options.is_checked).map_err(LoadError::Read)?;
    let mut loaded = Loaded::default();
    let mut worker = keyspace.worker();
    let mut rested = 0;
    loop {
        let outcome = reader.next(|record| {
            if let Record::Note(name, value) = &record
                && **name == *b"used-mem"
            {
                turn.note_used(parse_u64(value).unwrap_or(0));
            }
            take(keyspace, &mut worker, record, options, &mut loaded)
        });
        if let Err(ReadError::Damaged { error, .. }) = &outcome {
            tracing::warn!("rdb: {error}");
        }
        let Some(outcome) = outcome.map_err(LoadError::Read)? else {
            break;
        };
        outcome?;
        if !turn.has_read(reader.position()) {
            return Err(LoadError::Cancelled);
        }
        if options.key_delay != 0 {
            let keys = loaded.keys + loaded.expired;
            // Below zero, the rests of several keys are taken at once.
            if options.key_delay > 0 || keys - rested >= options.key_delay.unsigned_abs().into() {
                rest(
                    options.key_delay,
                    keys - std::mem::replace(&mut rested, keys),
                );
            }
        }
    }
    Ok(loaded)
}

fn take(
    keyspace: &Keyspace,
    worker: &mut Worker,
    record: Record<'_>,
    options: &Options,
    loaded: &mut Loaded,
) -> Result<(), LoadError> {
    match record {
        Record::Note(name, value) => loaded.notes.push((name.into_owned(), value.into_owned())),
        Record::Function(code) => loaded.functions.push(code.into_owned()),
        Record::Empty { key, .. } => {
            tracing::info!("rdb: skipping empty key: {}", key.escape_ascii());
            loaded.empty += 1;
        }
        Record::Key(key)
            if key
                .expires_at_ms
                .is_some_and(|at_ms| at_ms < options.now_ms) =>
        {
            loaded.expired += 1;
        }
        Record::Key(key) => {
            store(keyspace, worker, &key, options)?;
            loaded.keys += 1;
        }
    }
    Ok(())
}

fn store(
    keyspace: &Keyspace,
    worker: &mut Worker,
    entry: &Key<'_>,
    options: &Options,
) -> Result<(), LoadError> {
    let databases = options.databases.min(DATABASES_MAX as u64);
    if entry.db >= databases {
        return Err(LoadError::Databases(databases));
    }
    let (db, key) = (entry.db as u8, &entry.key[..]);
    let slots = [key_slot(key)];
    let guard = keyspace.pin();
    let mut view = keyspace.view(worker, &guard, Access::Slots(&slots), options.now_ms);
    if !options.replaces && view.find(db, key).is_some() {
        return Err(LoadError::Duplicate(key.to_vec()));
    }
    let ttl = entry.expires_at_ms.map_or(Ttl::Clear, Ttl::At);
    store_value(&mut view, db, key, &entry.value, ttl).map_err(LoadError::Store)?;
    if let Some(clock) = (options.clock)(entry.last_use, options.now_ms) {
        view.touch(db, key, clock);
    }
    view.commit();
    Ok(())
}

/// What tells one file from another: its length, and its checksum.
pub fn fingerprint(file: &mut File) -> io::Result<[u8; 16]> {
    let bytes = file.metadata()?.len();
    let mut print = [0; 16];
    print[..8].copy_from_slice(&bytes.to_le_bytes());
    let trailer = bytes.min(8);
    file.seek(SeekFrom::End(-(trailer as i64)))?;
    file.read_exact(&mut print[8..8 + trailer as usize])?;
    file.rewind()?;
    Ok(print)
}

/// The name of the pool that a file was written from, if it says so.
pub fn pool_of(file: &File) -> io::Result<Option<String>> {
    let bytes = file.metadata()?.len();
    let Ok(mut reader) = Reader::begin(file, bytes, false) else {
        return Ok(None);
    };
    // Notes come first.
    loop {
        let note = reader.next(|record| match record {
            Record::Note(name, value) if *name == *POOL_NOTE.as_bytes() => {
                Some(Some(String::from_utf8_lossy(&value).into_owned()))
            }
            Record::Note(..) => Some(None),
            _ => None,
        });
        match note {
            Ok(Some(Some(Some(pool)))) => return Ok(Some(pool)),
            Ok(Some(Some(None))) => {}
            Ok(Some(None) | None) | Err(_) => return Ok(None),
        }
    }
}
