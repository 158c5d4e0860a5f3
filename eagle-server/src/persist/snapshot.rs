//! Writing the keyspace as it is at one instant, while it is written to; no fork.
//!
//! A file is written under a temporary name, made durable, and renamed: at any time the name of the snapshot stands for
//! a whole file or for none. What goes elsewhere (to replicas) is written by [`stream`], into whatever takes bytes. That
//! must not wait for anybody: writers hand their keys over with slots locked. Waiting is for the pauses between two
//! steps of the walk.

use crate::persist::rdb::keyspace::write_value;
use crate::persist::rdb::writer::{Use, Writer};
use crate::persist::rdb::{Compression, VERSION};
use crate::whole_file::{Draft, sync_folder};
use eagle_core::store::{DATABASES_MAX, Entry, Keyspace, Snapshot, SnapshotSink, View};
use parking_lot::Mutex;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The note that names the pool a file was written from.
pub const POOL_NOTE: &str = "eagledb-pool";

/// Buckets of the keyspace handed over in one go: what a writer of the slot may have to wait for.
const STEP_BUCKETS: usize = 16;

/// Bytes written between two flushes to the medium, with `rdb-save-incremental-fsync`.
const FSYNC_BYTES: u64 = 4 << 20;

/// What of the dataset is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parts {
    pub data: bool,
    pub functions: bool,
}

impl Parts {
    pub const ALL: Parts = Parts {
        data: true,
        functions: true,
    };
}

/// How a snapshot is spelled.
#[derive(Clone, Debug)]
pub struct Form {
    pub parts: Parts,
    pub compression: Compression,
    pub is_checked: bool,
    /// Microseconds to rest per key, or (below zero) keys per microsecond: for tests.
    pub key_delay: i32,
    /// Seconds since 1970.
    pub now_s: u64,
    /// What a key's access clock tells of its use, at this time in milliseconds; the eviction policy decides.
    pub last_use: fn(u32, u64) -> Use,
}

/// How a file is to be written.
#[derive(Clone, Debug)]
pub struct Plan {
    pub path: PathBuf,
    pub incremental_fsync: bool,
    pub form: Form,
}

/// How far a file has come.
#[derive(Debug, Default)]
pub struct Progress {
    pub keys: AtomicU64,
    pub keys_total: AtomicU64,
    /// Give up: what was written so far is removed.
    pub is_cancelled: AtomicBool,
}

/// Notes of a file, besides those that every file has.
pub type Notes = Vec<(&'static str, String)>;

/// What is to be done between two steps, with nothing locked.
pub type Pause = Box<dyn FnOnce() -> io::Result<()>>;

/// Writes a snapshot. An error leaves the file that was there before.
pub fn write(keyspace: &Keyspace, plan: &Plan, progress: &Arc<Progress>) -> io::Result<()> {
    let draft = Draft::create(temporary(&plan.path), &plan.path, 0o666)?;
    let out = BufWriter::with_capacity(256 << 10, Counted { draft, bytes: 0 });
    let mut unsynced = 0;
    let flush = |out: &mut BufWriter<Counted>| -> io::Result<Option<Pause>> {
        let bytes = out.get_ref().bytes;
        if !plan.incremental_fsync || bytes - unsynced < FSYNC_BYTES {
            return Ok(None);
        }
        unsynced = bytes;
        let file = out.get_ref().draft.file().try_clone()?;
        Ok(Some(Box::new(move || file.sync_data())))
    };
    let no_notes = |_: &Snapshot<'_>| Ok(Notes::new());
    let out = stream(keyspace, &plan.form, progress, out, no_notes, flush)?;
    out.into_inner()?.draft.replace()?;
    sync_folder(&plan.path)
}

/// The name of the snapshot `path` while it is being written.
pub fn temporary(path: &Path) -> PathBuf {
    path.with_file_name(format!("temp-{}.rdb", std::process::id()))
}

/// Writes a snapshot into `out`. `at_cut` is called once it is certain what is in the snapshot, `pause` after each step.
pub fn stream<W: Write + Send + 'static>(
    keyspace: &Keyspace,
    form: &Form,
    progress: &Arc<Progress>,
    out: W,
    at_cut: impl FnOnce(&Snapshot<'_>) -> io::Result<Notes>,
    pause: impl FnMut(&mut W) -> io::Result<Option<Pause>>,
) -> io::Result<W> {
    let sink = Arc::new(Sink {
        output: Mutex::new(Some(Output {
            writer: Writer::begin(out, form.compression, form.is_checked)?,
            value: Vec::new(),
            outcome: Ok(()),
        })),
        form: form.clone(),
        progress: progress.clone(),
    });
    let written = write_keys(&sink, keyspace, at_cut, pause);
    // Whoever is about to hand a key over may hold the sink for longer, but what it writes to must be done with.
    let output = sink.output.lock().take().expect(OPEN);
    written.and(output.outcome)?;
    output.writer.finish()
}

fn write_keys<W: Write + Send + 'static>(
    sink: &Arc<Sink<W>>,
    keyspace: &Keyspace,
    at_cut: impl FnOnce(&Snapshot<'_>) -> io::Result<Notes>,
    mut pause: impl FnMut(&mut W) -> io::Result<Option<Pause>>,
) -> io::Result<()> {
    let (form, progress) = (&sink.form, &sink.progress);
    // Whoever hands a key over waits until the head of the file is written.
    let mut held = sink.output.lock();
    let output = held.as_mut().expect(OPEN);
    let mut snapshot = keyspace
        .begin_snapshot(sink.clone())
        .ok_or_else(|| io::Error::other("too many snapshots are under way"))?;
    let notes = at_cut(&snapshot)?;
    head(
        &mut output.writer,
        keyspace,
        form,
        &snapshot,
        &notes,
        progress,
    )?;
    drop(held);
    let mut keys = 0;
    let mut is_more = form.parts.data;
    while is_more {
        is_more = snapshot.step(STEP_BUCKETS);
        if progress.is_cancelled.load(Relaxed) {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let now = progress.keys.load(Relaxed);
        rest(form.key_delay, now - std::mem::replace(&mut keys, now));
        let mut held = sink.output.lock();
        let output = held.as_mut().expect(OPEN);
        std::mem::replace(&mut output.outcome, Ok(()))?;
        let work = pause(output.writer.out())?;
        drop(held);
        if let Some(work) = work {
            work()?;
        }
    }
    Ok(())
}

const OPEN: &str = "the file is closed at the end only";

/// What stands before the keys.
fn head<W: Write>(
    writer: &mut Writer<W>,
    keyspace: &Keyspace,
    form: &Form,
    snapshot: &Snapshot<'_>,
    notes: &Notes,
    progress: &Progress,
) -> io::Result<()> {
    writer.note(
        "redis-ver",
        crate::config::command_line::REDIS_VERSION.as_bytes(),
    )?;
    writer.note("redis-bits", b"64")?;
    writer.note("ctime", form.now_s.to_string().as_bytes())?;
    let used = keyspace.usage().used;
    writer.note("used-mem", used.to_string().as_bytes())?;
    for (name, value) in notes {
        writer.note(name, value.as_bytes())?;
    }
    writer.note("aof-base", b"0")?;
    writer.note(POOL_NOTE, pool_name(keyspace).as_bytes())?;
    if form.parts.functions {
        writer.functions(snapshot.catalogue())?;
    }
    if !form.parts.data {
        return Ok(());
    }
    for db in 0..DATABASES_MAX as u8 {
        let keys = keyspace.len(db);
        if keys > 0 {
            writer.sizes(db, keys, keyspace.expires(db))?;
            progress.keys_total.fetch_add(keys, Relaxed);
        }
    }
    debug_assert_eq!(VERSION, 10, "the notes are those of version 10");
    Ok(())
}

/// The identity of the pool as a file spells it.
pub fn pool_name(keyspace: &Keyspace) -> String {
    format!("{:032x}", u128::from_be_bytes(keyspace.pool_id()))
}

/// Rests as long as `keys` keys ask for.
pub(super) fn rest(key_delay: i32, keys: u64) {
    let us = match key_delay {
        0 => return,
        1.. => keys.saturating_mul(key_delay.unsigned_abs().into()),
        _ => keys / u64::from(key_delay.unsigned_abs()),
    };
    if us > 0 {
        std::thread::sleep(Duration::from_micros(us));
    }
}

/// A draft that knows how long it is.
struct Counted {
    draft: Draft,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.draft.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.draft.flush()
    }
}

struct Output<W> {
    writer: Writer<W>,
    /// A value before it is written; kept for its room.
    value: Vec<u8>,
    /// The first error: those who hand keys over cannot do anything about it.
    outcome: io::Result<()>,
}

struct Sink<W> {
    /// Nothing once the file is done with.
    output: Mutex<Option<Output<W>>>,
    form: Form,
    progress: Arc<Progress>,
}

/// Room kept between two values.
const VALUE_ROOM_BYTES: usize = 1 << 20;

impl<W: Write + Send> SnapshotSink for Sink<W> {
    fn key(&self, view: &View<'_>, db: u8, entry: &Entry<'_>) {
        let mut held = self.output.lock();
        let Some(output) = held.as_mut().filter(|output| output.outcome.is_ok()) else {
            return;
        };
        let Output { writer, value, .. } = output;
        value.clear();
        if !self.form.parts.data {
            return;
        }
        let last_use = (self.form.last_use)(entry.clock(), self.form.now_s * 1000);
        let outcome = write_value(value, view, db, entry, self.form.compression)
            .map_err(io::Error::other)
            .and_then(|()| writer.key(db, entry.key(), entry.ttl_at(), last_use, value));
        if value.capacity() > VALUE_ROOM_BYTES {
            *value = Vec::new();
        }
        output.outcome = outcome;
        self.progress.keys.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whole_file::testing::{every_call_fails, folder};
    use eagle_core::store::{Access, PoolOptions, StringForm, Ttl};

    #[test]
    fn whatever_fails_the_file_is_whole() {
        let folder = folder();
        let path = folder.path().join("dump.rdb");
        let (keyspace, _) = Keyspace::open(&PoolOptions::in_memory(16 << 20)).unwrap();
        let mut worker = keyspace.worker();
        let plan = Plan {
            path: path.clone(),
            incremental_fsync: true,
            form: Form {
                parts: Parts::ALL,
                compression: Compression::Off,
                is_checked: true,
                key_delay: 0,
                now_s: 1,
                last_use: |_, _| Use::Unknown,
            },
        };
        // More than fits in the buffer.
        let values = [vec![b'a'; 300 << 10], vec![b'b'; 300 << 10]];
        every_call_fails(&path, |number| {
            let guard = keyspace.pin();
            let mut view = keyspace.view(&mut worker, &guard, Access::All, 1);
            for key in [&b"one"[..], b"two"] {
                let value = &values[number as usize];
                view.set_string(0, key, value, StringForm::Auto, Ttl::Clear)
                    .unwrap();
            }
            view.commit();
            drop(guard);
            write(&keyspace, &plan, &Arc::default())
        });
    }
}
