//! Snapshots and the append-only file.

use crate::config::directive::topic;
use crate::config::kind::{INT_MAX, LONG_MAX, OneOf, Text, YesNo, choices, int, memory};
use crate::config::special::{SavePoint, SavePoints};

choices! {
    /// When the append-only file is made durable.
    pub enum Fsync {
        EverySecond = "everysec",
        Always = "always",
        /// Whenever the kernel sees fit.
        Never = "no",
    }
}

topic! {
    /// RDB snapshots and AOF.
    Persistence at persistence;

    /// When to take snapshots.
    save: Vec<SavePoint> = vec![
        SavePoint { seconds: 3600, changes: 1 },
        SavePoint { seconds: 300, changes: 100 },
        SavePoint { seconds: 60, changes: 10_000 },
    ], "save", SavePoints, ACCUMULATES;
    /// Name of the snapshot file in `dir`.
    dbfilename: String = "dump.rdb".to_owned(), "dbfilename", Text { check: check_dbfilename }, PROTECTED;
    /// Compress strings in snapshots.
    rdbcompression: bool = true, "rdbcompression", YesNo;
    /// Write and check the checksum of snapshots.
    rdbchecksum: bool = true, "rdbchecksum", YesNo, IMMUTABLE;
    /// Remove snapshot files that only served replication.
    rdb_del_sync_files: bool = false, "rdb-del-sync-files", YesNo;
    /// Flush snapshots to the medium piece by piece.
    rdb_save_incremental_fsync: bool = true, "rdb-save-incremental-fsync", YesNo;
    /// Refuse writes after a snapshot failed.
    stop_writes_on_bgsave_error: bool = true, "stop-writes-on-bgsave-error", YesNo;
    /// Keep an append-only file.
    appendonly: bool = false, "appendonly", YesNo, DENY_LOADING;
    /// Base name of the append-only files.
    appendfilename: String = "appendonly.aof".to_owned(),
        "appendfilename", Text { check: check_appendfilename }, IMMUTABLE;
    /// Directory of the append-only files, in `dir`.
    appenddirname: String = "appendonlydir".to_owned(),
        "appenddirname", Text { check: check_appenddirname }, IMMUTABLE;
    /// When the append-only file is made durable.
    appendfsync: Fsync = Fsync::EverySecond, "appendfsync", OneOf;
    /// Do not flush while a snapshot or a rewrite is being written.
    no_appendfsync_on_rewrite: bool = false, "no-appendfsync-on-rewrite", YesNo;
    /// Growth in percent that starts a rewrite; 0 never does.
    auto_aof_rewrite_percentage: u32 = 100, "auto-aof-rewrite-percentage", int(0, INT_MAX);
    /// Bytes below which no rewrite starts by itself.
    auto_aof_rewrite_min_size: u64 = 64 << 20, "auto-aof-rewrite-min-size", memory(0, LONG_MAX);
    /// Flush a rewrite to the medium piece by piece.
    aof_rewrite_incremental_fsync: bool = true, "aof-rewrite-incremental-fsync", YesNo;
    /// Load an append-only file whose last command is cut short.
    aof_load_truncated: bool = true, "aof-load-truncated", YesNo;
    /// Begin rewritten files with a snapshot.
    aof_use_rdb_preamble: bool = true, "aof-use-rdb-preamble", YesNo;
    /// Write time stamps into the append-only file.
    aof_timestamp_enabled: bool = false, "aof-timestamp-enabled", YesNo;
    /// Keep append-only files no manifest names any more.
    aof_disable_auto_gc: bool = false, "aof-disable-auto-gc", YesNo;
}

fn is_file_name(name: &str) -> bool {
    !name.contains('/')
}

fn check_dbfilename(name: &str) -> Result<(), &'static str> {
    if is_file_name(name) {
        Ok(())
    } else {
        Err("dbfilename can't be a path, just a filename")
    }
}

fn check_appendfilename(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("appendfilename can't be empty"),
        _ if is_file_name(name) => Ok(()),
        _ => Err("appendfilename can't be a path, just a filename"),
    }
}

fn check_appenddirname(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("appenddirname can't be empty"),
        _ if is_file_name(name) => Ok(()),
        _ => Err("appenddirname can't be a path, just a dirname"),
    }
}
