//! Directives that test suites use to slow things down or to make faults visible.

use crate::config::directive::topic;
use crate::config::kind::{INT_MAX, INT_MIN, OneOf, YesNo, choices, int};

choices! {
    /// What to do when a replicated or replayed command fails.
    pub enum PropagationError {
        Ignore = "ignore",
        Panic = "panic",
        PanicOnReplicas = "panic-on-replicas",
    }
}

topic! {
    /// Knobs for tests.
    Debug at debug;

    /// Microseconds to wait after each key of a snapshot; negative waits once in that many keys.
    rdb_key_save_delay: i32 = 0, "rdb-key-save-delay", int(INT_MIN, INT_MAX), HIDDEN;
    /// Microseconds to wait after each loaded key; negative waits once in that many keys.
    key_load_delay: i32 = 0, "key-load-delay", int(INT_MIN, INT_MAX), HIDDEN;
    /// Bytes loaded between two looks at the sockets.
    loading_process_events_interval_bytes: u32 = 2 << 20,
        "loading-process-events-interval-bytes", int(1024, INT_MAX), HIDDEN;
    /// End a failed assertion by exit instead of by a signal.
    use_exit_on_panic: bool = false, "use-exit-on-panic", YesNo, HIDDEN;
    /// What to do when a replicated or replayed command fails.
    propagation_error_behavior: PropagationError = PropagationError::Ignore,
        "propagation-error-behavior", OneOf;
}
