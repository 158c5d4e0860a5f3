//! Where a node's data comes from at the start: its pool, or a snapshot file.
//!
//! The pool holds every acknowledged write, so it wins over files of its own past: those that it wrote, which bear its
//! name, and the one that it was loaded from, which it remembers. Any other file was put there by somebody who wants its
//! data served; then the pool is set aside, never deleted. A new pool, or one in the place of one that could not be
//! trusted, takes whatever file there is.

use crate::command::saving::{self, Present};
use crate::config::Config;
use crate::node::Node;
use crate::persist::load::{fingerprint, pool_of};
use crate::persist::snapshot::pool_name;
use eagle_core::pmem::set_aside;
use eagle_core::store::{Keyspace, OpenReport, PoolOptions};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a pool notes instead of a file's fingerprint while the file is being loaded.
const LOADING: [u8; 16] = [0xff; 16];

/// An open pool, and what is to be loaded into it.
pub struct Opened {
    pub keyspace: Keyspace,
    pub report: OpenReport,
    pub took: Duration,
    pub snapshot: Option<Snapshot>,
}

/// A file whose data is to be served.
pub struct Snapshot {
    path: PathBuf,
    fingerprint: [u8; 16],
}

/// Opens the pool, and decides whether it or the snapshot file is served.
pub fn open(settings: &Config) -> Result<Opened, String> {
    let started = Instant::now();
    let (mut keyspace, mut report) = open_pool(settings)?;
    let pool = (!settings.pool.pool_path.is_empty())
        .then(|| Path::new(&settings.process.dir).join(&settings.pool.pool_path));
    let reopen = |keyspace: Keyspace, reason: &str| {
        let pool = pool.as_deref().expect("only a file is opened again");
        let aside = keyspace
            .close()
            .and_then(|()| set_aside(pool, reason))
            .map_err(|error| format!("Can't set the pool aside: {error}"))?;
        Ok::<_, String>((open_pool(settings)?, aside))
    };
    if keyspace.origin() == LOADING {
        let ((empty, made), aside) = reopen(keyspace, "partial")?;
        (keyspace, report) = (empty, made);
        // It holds a part of a file that is still there.
        std::fs::remove_file(&aside)
            .map_err(|error| format!("Can't remove {}: {error}", aside.display()))?;
        tracing::warn!("A snapshot was being loaded when the server ended; it is loaded anew");
    }
    let path = saving::file(settings);
    let found = look_at(&path).map_err(|error| {
        format!(
            "Fatal error: can't open the RDB file {} for reading: {error}",
            path.display()
        )
    })?;
    let is_new = report.created || report.quarantined.is_some();
    let mut snapshot = None;
    if let Some((fingerprint, written_by)) = found {
        let is_own = written_by.as_deref() == Some(&pool_name(&keyspace))
            || fingerprint == keyspace.origin();
        if !is_new && is_own {
            tracing::info!(
                "{} is of the pool's own past and not loaded",
                path.display()
            );
        } else {
            if !is_new {
                let ((empty, made), aside) = reopen(keyspace, "replaced")?;
                (keyspace, report) = (empty, made);
                tracing::warn!(
                    "{} was not written from this pool and is loaded; the pool was set aside as {}",
                    path.display(),
                    aside.display()
                );
            }
            snapshot = Some(Snapshot { path, fingerprint });
        }
    }
    let took = started.elapsed();
    log_opened(&report, took.as_millis());
    Ok(Opened {
        keyspace,
        report,
        took,
        snapshot,
    })
}

/// What tells a snapshot file from others, and the pool it was written from; `None` if there is no file.
fn look_at(path: &Path) -> io::Result<Option<([u8; 16], Option<String>)>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let print = fingerprint(&mut file)?;
    Ok(Some((print, pool_of(&file)?)))
}

impl Snapshot {
    /// Loads the file, before anybody is served.
    pub fn load_into(&self, node: &Node) -> Result<(), String> {
        let note = |origin| {
            node.keyspace
                .set_origin(origin)
                .map_err(|error| format!("Can't write the pool: {error}"))
        };
        note(LOADING)?;
        saving::load(node, &self.path, Present::Kept).map_err(|error| {
            tracing::error!("{error}");
            tracing::error!("Terminating server after rdb file reading failure.");
            "Fatal error loading the DB, check server logs. Exiting.".to_owned()
        })?;
        note(self.fingerprint)?;
        node.forgive_changes(node.changes());
        Ok(())
    }
}

fn open_pool(settings: &Config) -> Result<(Keyspace, OpenReport), String> {
    let name = &settings.pool.pool_path;
    let options = PoolOptions {
        path: (!name.is_empty()).then(|| Path::new(&settings.process.dir).join(name)),
        size: pool_size(settings),
        boot_id: boot_id(),
        seed: rand::random(),
    };
    let (keyspace, report) = Keyspace::open(&options)
        .map_err(|error| format!("Can't open the pool '{name}': {error}"))?;
    if report.created || report.quarantined.is_some() {
        // Whoever looks at an empty server sees what it takes without any key.
        keyspace
            .prepare(0)
            .map_err(|error| format!("Can't write the pool '{name}': {error}"))?;
    }
    Ok((keyspace, report))
}

/// `pool-size`, or as much as the medium could hold: space is taken only as the keyspace grows.
fn pool_size(settings: &Config) -> u64 {
    const BYTES_MIN: u64 = 256 << 20;
    const BYTES_MAX: u64 = 4 << 40;
    if settings.pool.pool_size != 0 {
        return settings.pool.pool_size;
    }
    let medium = if settings.pool.pool_path.is_empty() {
        let info = rustix::system::sysinfo();
        info.totalram as u64 * u64::from(info.mem_unit)
    } else {
        rustix::fs::statvfs(settings.process.dir.as_str())
            .map_or(0, |stat| stat.f_blocks * stat.f_frsize)
    };
    medium.clamp(BYTES_MIN, BYTES_MAX)
}

/// Identity of this boot of the machine; all zero (which no two boots may share) if unknown.
pub(crate) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16)
        .unwrap_or_else(|_| rand::random())
        .to_be_bytes()
}

fn log_opened(report: &OpenReport, took_ms: u128) {
    if let Some(aside) = &report.quarantined {
        tracing::warn!(
            "The pool was not closed cleanly before the machine went down; it was set aside as {} and an empty one \
             begun",
            aside.display()
        );
    } else if report.created {
        tracing::info!("Pool created in {took_ms} ms");
    } else if report.recovered {
        tracing::info!("Pool recovered in {took_ms} ms");
    } else {
        tracing::info!("Pool opened in {took_ms} ms");
    }
}
