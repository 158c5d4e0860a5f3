//! LATENCY DOCTOR: the recorded spikes in words, and what to look at next.

use crate::config::topic::Monitoring;
use crate::metrics::LatencyEvent;
use std::fmt::Write;

/// What to look at when an event has spikes.
const ADVICE: &[(&str, &str)] = &[
    (
        "command",
        "Some commands did much work in one call. SLOWLOG GET names them; prefer the SCAN family to KEYS, HGETALL \
         and the like on large data.",
    ),
    (
        "fast-command",
        "Commands that should take constant time were slow, so the machine itself was busy: look for swapping, a \
         shortage of cores (worker-threads) or a slow medium under the pool.",
    ),
    (
        "expire-cycle",
        "Many keys expired at the same moment. Spread their times to live.",
    ),
];

/// The report on all events.
pub(super) fn report(events: &[(&'static str, LatencyEvent)], config: &Monitoring) -> String {
    if config.latency_monitor_threshold == 0 && events.is_empty() {
        return "Latency monitoring is off, so there is nothing to examine. Turn it on with 'CONFIG SET \
                latency-monitor-threshold <milliseconds>' and come back when the server has been slow.\n"
            .to_owned();
    }
    if events.is_empty() {
        return format!(
            "No event took {} ms or longer. The server is fine as far as this threshold can tell.\n",
            config.latency_monitor_threshold
        );
    }
    let mut text = "These events took longer than the threshold:\n\n".to_owned();
    for (index, (name, event)) in events.iter().enumerate() {
        let _ = writeln!(text, "{}. {name}: {}", index + 1, Summary::of(event));
    }
    text.push_str("\nAdvice:\n\n");
    for (name, advice) in ADVICE {
        if events.iter().any(|(event, _)| event == name) {
            let _ = writeln!(text, "- {advice}");
        }
    }
    let slowlog_us = config.slowlog_log_slower_than;
    let threshold_us = config.latency_monitor_threshold.saturating_mul(1000);
    if slowlog_us < 0 {
        text.push_str("- The slow log is off; 'CONFIG SET slowlog-log-slower-than' turns it on.\n");
    } else if slowlog_us as u64 > threshold_us {
        let _ = writeln!(
            text,
            "- The slow log only holds commands slower than the events above. Set 'slowlog-log-slower-than' to \
             {threshold_us} to see all of them."
        );
    }
    text
}

/// The spikes of one event, summed up.
struct Summary {
    spikes: usize,
    mean_ms: u64,
    deviation_ms: u64,
    /// Seconds between spikes.
    period_s: f64,
    max_ms: u64,
}

impl Summary {
    fn of(event: &LatencyEvent) -> Summary {
        let samples = &event.samples;
        let count = samples.len().max(1) as u64;
        let mean_ms = samples.iter().map(|(_, ms)| ms).sum::<u64>() / count;
        let off = samples.iter().map(|(_, ms)| ms.abs_diff(mean_ms));
        let first = samples.first().map_or(0, |(time, _)| *time);
        let last = samples.last().map_or(0, |(time, _)| *time);
        Summary {
            spikes: samples.len(),
            mean_ms,
            deviation_ms: off.sum::<u64>() / count,
            period_s: last.saturating_sub(first) as f64 / (count.max(2) - 1) as f64,
            max_ms: event.max_ms,
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} latency spikes (average {}ms, mean deviation {}ms, period {:.2} sec). Worst all time event {}ms.",
            self.spikes, self.mean_ms, self.deviation_ms, self.period_s, self.max_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_was_slow_and_what_to_do() {
        let mut config = Monitoring::default();
        assert!(report(&[], &config).contains("monitoring is off"));
        config.latency_monitor_threshold = 100;
        assert!(report(&[], &config).contains("100 ms"));
        config.slowlog_log_slower_than = 500_000;
        let event = LatencyEvent {
            samples: vec![(10, 100), (14, 300)],
            max_ms: 400,
        };
        let text = report(&[("expire-cycle", event)], &config);
        assert!(
            text.contains(
                "1. expire-cycle: 2 latency spikes (average 200ms, mean deviation 100ms, period 4.00 sec). Worst \
                 all time event 400ms."
            ),
            "{text}"
        );
        assert!(text.contains("Spread their times"), "{text}");
        assert!(text.contains("to 100000 to see"), "{text}");
        config.slowlog_log_slower_than = -1;
        assert!(
            report(&[("command", LatencyEvent::default())], &config).contains("slow log is off")
        );
    }
}
