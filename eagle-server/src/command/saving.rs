//! Snapshots of a node: begun by a command, by a save point or at shutdown, and loaded at the start.

use super::clock::{CLOCK_MASK, lfu_clock, lru_clock};
use super::family::scripting;
use crate::config::{Config, EvictionPolicy};
use crate::node::{Node, unix_ms};
use crate::persist::load::{self, LoadError, Loaded, Options};
use crate::persist::rdb::writer::Use;
use crate::persist::rdb::{Compression, function};
use crate::persist::saving::Turn;
use crate::persist::snapshot::{self, Form, Parts, Plan};
use crate::script::Library;
use crate::session::PauseMode;
use crate::shutdown::ShutdownRequest;
use eagle_core::store::Access;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Why there is no snapshot now.
#[derive(Debug)]
pub enum SaveError {
    /// One is being written.
    Busy,
    Failed(io::Error),
}

/// Begins to write a snapshot in the background.
pub fn in_background(node: &Arc<Node>) -> Result<(), SaveError> {
    let owner = node.clone();
    let (began, has_begun) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("snapshot".to_owned())
        .spawn(move || {
            let turn = owner.saving.begin(unix_ms() / 1000, true);
            let _ = began.send(turn.is_some());
            if let Some(turn) = turn {
                // What went wrong is in the log and in INFO.
                let _ = write(&owner, turn);
            }
        })
        .map_err(SaveError::Failed)?;
    if !has_begun.recv().unwrap_or(false) {
        return Err(SaveError::Busy);
    }
    tracing::info!("Background saving started by pid {}", std::process::id());
    node.saving.keep_thread(thread);
    Ok(())
}

/// Writes a snapshot and waits for it. Not to be called with a slot locked.
pub fn now(node: &Node) -> Result<(), SaveError> {
    let turn = node.saving.begin(unix_ms() / 1000, false);
    write(node, turn.ok_or(SaveError::Busy)?).map_err(SaveError::Failed)
}

fn write(node: &Node, turn: Turn<'_>) -> io::Result<()> {
    let config = node.config.snapshot();
    // What is changed after this is not known to be in the snapshot.
    let changes = node.changes();
    let started = Instant::now();
    let written = snapshot::write(&node.keyspace, &plan(&config), &turn.progress);
    match &written {
        Ok(()) => {
            node.forgive_changes(changes);
            turn.succeed(unix_ms() / 1000);
            tracing::info!(
                "DB saved on disk in {:.3} seconds",
                started.elapsed().as_secs_f64()
            );
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            tracing::warn!("Writing the snapshot was called off");
        }
        Err(error) => tracing::warn!("Error saving DB on disk: {error}"),
    }
    written
}

fn plan(config: &Config) -> Plan {
    Plan {
        path: file(config),
        incremental_fsync: config.persistence.rdb_save_incremental_fsync,
        form: form(config, Parts::ALL),
    }
}

/// How snapshots are spelled under this configuration.
pub(super) fn form(config: &Config, parts: Parts) -> Form {
    let persistence = &config.persistence;
    Form {
        parts,
        compression: if persistence.rdbcompression {
            Compression::Lzf
        } else {
            Compression::Off
        },
        is_checked: persistence.rdbchecksum,
        key_delay: config.debug.rdb_key_save_delay,
        now_s: unix_ms() / 1000,
        last_use: match config.memory.maxmemory_policy {
            policy if policy.is_lfu() => |clock, _| Use::Frequency(clock as u8),
            EvictionPolicy::AllkeysLru | EvictionPolicy::VolatileLru => |clock, now_ms| {
                Use::Idle((lru_clock(now_ms).wrapping_sub(clock) & CLOCK_MASK).into())
            },
            _ => |_, _| Use::Unknown,
        },
    }
}

/// The snapshot file of a configuration.
pub fn file(config: &Config) -> PathBuf {
    Path::new(&config.process.dir).join(&config.persistence.dbfilename)
}

/// Begins a snapshot if a save point asks for one. Called periodically.
pub fn follow_save_points(node: &Arc<Node>) {
    let config = node.config.load();
    let points = &config.persistence.save;
    let changes = node.changes();
    if node.loading.current().is_some() {
        return;
    }
    if let Some(point) = node.saving.due(points, changes, unix_ms() / 1000) {
        tracing::info!(
            "{} changes in {} seconds. Saving...",
            point.changes,
            point.seconds
        );
        if let Err(SaveError::Failed(error)) = in_background(node) {
            tracing::warn!("Can't save in background: {error}");
        }
    }
}

/// Removes what a snapshot that is being written has left so far: the server ends at once.
pub fn remove_temporary(config: &Config) {
    let _ = std::fs::remove_file(snapshot::temporary(&file(config)));
}

/// Whether the server writes a snapshot before it ends.
pub fn is_wanted_at_shutdown(node: &Node, request: ShutdownRequest) -> bool {
    // A file that is being loaded is not to be written over by a part of what it holds.
    if node.loading.current().is_some() {
        return false;
    }
    let is_default = !node.config.load().persistence.save.is_empty();
    request.save.unwrap_or(is_default)
}

/// Ends the server, after a snapshot if one is wanted. If that fails the server goes on, unless it is forced to end; the
/// result is false then.
pub async fn shut_down(node: Arc<Node>, request: ShutdownRequest) -> bool {
    node.shutdown.schedule();
    if is_wanted_at_shutdown(&node, request) {
        // What is written now would not be in the snapshot.
        node.pause.start(u64::MAX, PauseMode::Write, unix_ms());
        tracing::info!("Saving the final RDB snapshot before exiting.");
        let owner = node.clone();
        let saved = tokio::task::spawn_blocking(move || {
            owner.saving.cancel();
            now(&owner)
        });
        let is_saved = matches!(saved.await, Ok(Ok(())));
        if !is_saved && !request.force {
            tracing::warn!("Error trying to save the DB, can't exit.");
            node.pause.end();
            node.shutdown.abort();
            return false;
        }
        if !node.shutdown.is_scheduled() {
            node.pause.end();
            return false;
        }
    }
    node.shutdown.begin(request);
    true
}

/// What becomes of what is there when a file is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Present {
    /// Keys and libraries of the same name make the load fail.
    Kept,
    /// Those of the file win.
    Replaced,
}

/// Loads the snapshot file at `path` into the keyspace, function libraries included. Not to be called with a slot locked.
pub fn load(node: &Node, path: &Path, present: Present) -> Result<Loaded, String> {
    let started = Instant::now();
    let config = node.config.snapshot();
    let options = Options {
        now_ms: unix_ms(),
        databases: u64::from(config.process.databases),
        is_checked: config.persistence.rdbchecksum,
        clock: if config.memory.maxmemory_policy.is_lfu() {
            |last_use, now_ms| match last_use {
                Use::Frequency(counter) => Some(lfu_clock(now_ms, counter)),
                _ => None,
            }
        } else {
            |last_use, now_ms| match last_use {
                Use::Idle(seconds) => {
                    let seconds = seconds.min(CLOCK_MASK.into()) as u32;
                    Some(lru_clock(now_ms).wrapping_sub(seconds) & CLOCK_MASK)
                }
                _ => None,
            }
        },
        replaces: present == Present::Replaced,
        key_delay: config.debug.key_load_delay,
    };
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    let quiet_bytes = config.debug.loading_process_events_interval_bytes;
    // To the end of this function: libraries belong to the dataset.
    let turn = node
        .loading
        .begin(bytes, quiet_bytes.into(), options.now_ms / 1000);
    let loaded =
        load::load(&node.keyspace, path, &options, &turn).map_err(|error| error.to_string())?;
    log_notes(&loaded);
    add_functions(node, &loaded.functions, present)?;
    // The stream of changes does not tell how the data came here.
    node.history.renew(&node.keyspace, &node.keyspace.pin());
    let counts = &node.loaded;
    counts.keys.store(loaded.keys, Relaxed);
    counts.expired.store(loaded.expired, Relaxed);
    tracing::info!(
        "Done loading RDB, keys loaded: {}, keys expired: {}, empty keys skipped: {}.",
        loaded.keys,
        loaded.expired,
        loaded.empty
    );
    tracing::info!(
        "DB loaded from disk: {:.3} seconds",
        started.elapsed().as_secs_f64()
    );
    Ok(loaded)
}

fn log_notes(loaded: &Loaded) {
    for (name, value) in &loaded.notes {
        let value = value.escape_ascii();
        match &name[..] {
            b"redis-ver" => tracing::info!("Loading RDB produced by version {value}"),
            b"ctime" => {
                let written_s: u64 = value.to_string().parse().unwrap_or(0);
                let age_s = (unix_ms() / 1000).saturating_sub(written_s);
                tracing::info!("RDB age {age_s} seconds");
            }
            _ => {}
        }
    }
}

/// Adds libraries to those of the pool, and learns them all.
fn add_functions(node: &Node, codes: &[Vec<u8>], present: Present) -> Result<(), String> {
    if codes.is_empty() {
        return Ok(());
    }
    let name_of = |code: &Vec<u8>| Library::name_in(code).map_err(|error| error.to_string());
    let names: Vec<String> = codes.iter().map(name_of).collect::<Result<_, _>>()?;
    let mut spelled = Vec::new();
    for library in node.scripts.functions.snapshot().iter() {
        if !names.contains(&library.name) {
            function::write(&mut spelled, &library.code, Compression::Off);
        } else if present == Present::Kept {
            return Err(format!("Library '{}' already exists", library.name));
        }
    }
    for code in codes {
        function::write(&mut spelled, code, Compression::Off);
    }
    let guard = node.keyspace.pin();
    let mut worker = node.keyspace.worker();
    let mut view = node
        .keyspace
        .view(&mut worker, &guard, Access::All, unix_ms());
    view.set_catalogue(&spelled)
        .map_err(|error| LoadError::Store(error).to_string())?;
    view.commit();
    scripting::load_libraries(node);
    Ok(())
}

/// Removes all keys and function libraries.
pub fn clear(node: &Node) -> Result<(), String> {
    let guard = node.keyspace.pin();
    let mut worker = node.keyspace.worker();
    let mut view = node
        .keyspace
        .view(&mut worker, &guard, Access::All, unix_ms());
    view.flush_all()
        .and_then(|()| view.set_catalogue(b""))
        .map_err(|error| LoadError::Store(error).to_string())?;
    view.commit();
    node.scripts.functions.replace(Default::default());
    Ok(())
}
