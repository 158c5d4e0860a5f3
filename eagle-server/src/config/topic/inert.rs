//! Directives of Redis that have nothing to set in EagleDB.
//!
//! They are accepted, checked and shown, so that configuration files and tools keep working, and the
//! server says once in its log that they have no effect. Among them are the knobs of Redis's own
//! allocator, of its I/O threads and background children, of incremental
//! rehashing, and of OpenSSL.

use crate::config::directive::topic;
use crate::config::kind::{INT_MAX, TEXT, YesNo, int};

topic! {
    /// Values that are only stored.
    Inert at inert;

    /// Dash tables grow segment by segment; there is nothing to rehash.
    activerehashing: bool = true, "activerehashing", YesNo, INERT;
    /// The pool's allocator is not jemalloc.
    jemalloc_bg_thread: bool = true, "jemalloc-bg-thread", YesNo, INERT;
    /// See `worker-threads`.
    io_threads: u32 = 1, "io-threads", int(1, 128), IMMUTABLE, INERT;
    io_threads_do_reads: bool = false, "io-threads-do-reads", YesNo, IMMUTABLE, INERT;
    server_cpulist: String = String::new(), "server_cpulist", TEXT, IMMUTABLE, INERT;
    bio_cpulist: String = String::new(), "bio_cpulist", TEXT, IMMUTABLE, INERT;
    aof_rewrite_cpulist: String = String::new(), "aof_rewrite_cpulist", TEXT, IMMUTABLE, INERT;
    bgsave_cpulist: String = String::new(), "bgsave_cpulist", TEXT, IMMUTABLE, INERT;
    /// Pieces of a list are never compressed.
    list_compress_depth: u32 = 0, "list-compress-depth", int(0, INT_MAX), INERT;
    tls_prefer_server_ciphers: bool = false, "tls-prefer-server-ciphers", YesNo, INERT;
    tls_dh_params_file: String = String::new(), "tls-dh-params-file", TEXT, INERT;
    crash_memcheck_enabled: bool = true, "crash-memcheck-enabled", YesNo, INERT;
    watchdog_period: u32 = 0, "watchdog-period", int(0, INT_MAX), HIDDEN, INERT;
    lua_enable_deprecated_api: bool = false, "lua-enable-deprecated-api", YesNo, HIDDEN, IMMUTABLE, INERT;
}
