//! The persistent pool that holds the keyspace.

use crate::config::directive::topic;
use crate::config::kind::{LONG_MAX, OneOf, TEXT, choices, memory};

choices! {
    /// When the log ring is kept.
    pub enum PoolLog {
        /// While something reads it: an append-only file, or replicas.
        Auto = "auto",
        Yes = "yes",
        No = "no",
    }
}

topic! {
    /// The pool file.
    Pool at pool;

    /// The pool file, relative to `dir`; empty keeps the keyspace in anonymous memory.
    pool_path: String = "eagle.pool".to_owned(), "pool-path", TEXT, IMMUTABLE, OWN;
    /// Bytes the pool may grow to. The file is sparse and the mapping is only reserved, so a bound
    /// beyond the medium costs nothing; 0 means as much as the medium holds.
    pool_size: u64 = 0, "pool-size", memory(0, LONG_MAX), IMMUTABLE, OWN;
    /// Keep the stream of changes in the pool.
    pool_log: PoolLog = PoolLog::Auto, "pool-log", OneOf, OWN;
    /// Bytes of the stream that are kept at least; never less than `repl-backlog-size`.
    pool_log_size: u64 = 16 << 20, "pool-log-size", memory(1 << 16, 512 << 20), OWN;
}
