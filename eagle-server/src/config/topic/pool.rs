//! The persistent pool that holds the keyspace.

use crate::config::directive::topic;
use crate::config::kind::{LONG_MAX, TEXT, memory};

topic! {
    /// The pool file.
    Pool at pool;

    /// The pool file, relative to `dir`; empty keeps the keyspace in anonymous memory.
    pool_path: String = "eagle.pool".to_owned(), "pool-path", TEXT, IMMUTABLE, OWN;
    /// Bytes the pool may grow to. The file is sparse and the mapping is only reserved, so a bound
    /// beyond the medium costs nothing; 0 means as much as the medium holds.
    pool_size: u64 = 0, "pool-size", memory(0, LONG_MAX), IMMUTABLE, OWN;
}
