//! What the server records about itself and tells of its keys.

use crate::config::directive::topic;
use crate::config::kind::{LONG_MAX, YesNo, int};
use crate::config::special::{EventClasses, EventLetters, Percentiles};

topic! {
    /// Slow log, latency records and keyspace events.
    Monitoring at monitoring;

    /// Microseconds from which a command is slow; -1 logs none, 0 all.
    slowlog_log_slower_than: i64 = 10_000, "slowlog-log-slower-than", int(-1, LONG_MAX);
    /// Entries of the slow log.
    slowlog_max_len: u64 = 128, "slowlog-max-len", int(0, LONG_MAX);
    /// Milliseconds from which an event is recorded by LATENCY; 0 records none.
    latency_monitor_threshold: u64 = 0, "latency-monitor-threshold", int(0, LONG_MAX);
    /// Keep a latency histogram per command.
    latency_tracking: bool = true, "latency-tracking", YesNo;
    /// Percentiles shown by INFO latencystats.
    latency_tracking_info_percentiles: Vec<f64> = vec![50.0, 99.0, 99.9],
        "latency-tracking-info-percentiles", Percentiles;
    /// Which keyspace events are published.
    notify_keyspace_events: EventClasses = EventClasses::default(), "notify-keyspace-events", EventLetters;
}
