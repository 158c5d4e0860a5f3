//! LATENCY: spikes of named events, one sample a second for each.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Samples kept of one event.
const SAMPLES_MAX: usize = 160;

/// The samples of one event.
#[derive(Clone, Default, Debug)]
pub struct LatencyEvent {
    /// (Unix time in seconds, milliseconds), oldest first.
    pub samples: Vec<(u64, u64)>,
    /// Worst milliseconds ever.
    pub max_ms: u64,
}

#[derive(Default)]
pub struct LatencyMonitor {
    events: Mutex<BTreeMap<&'static str, LatencyEvent>>,
}

impl LatencyMonitor {
    /// Notes that `event` took `duration_ms`, when that reaches `threshold_ms` (0: off). Within one
    /// second only the worst counts.
    pub fn record(&self, event: &'static str, time: u64, duration_ms: u64, threshold_ms: u64) {
        if threshold_ms == 0 || duration_ms < threshold_ms {
            return;
        }
        let mut events = self.events.lock();
        let event = events.entry(event).or_default();
        event.max_ms = event.max_ms.max(duration_ms);
        match event.samples.last_mut() {
            Some((last, worst_ms)) if *last == time => *worst_ms = (*worst_ms).max(duration_ms),
            _ => {
                if event.samples.len() == SAMPLES_MAX {
                    event.samples.remove(0);
                }
                event.samples.push((time, duration_ms));
            }
        }
    }

    /// All events by name.
    pub fn events(&self) -> Vec<(&'static str, LatencyEvent)> {
        self.events
            .lock()
            .iter()
            .map(|(name, event)| (*name, event.clone()))
            .collect()
    }

    pub fn event(&self, name: &[u8]) -> Option<LatencyEvent> {
        self.events
            .lock()
            .iter()
            .find(|(event, _)| event.as_bytes() == name)
            .map(|(_, event)| event.clone())
    }

    /// Forgets one event, or all; returns how many.
    pub fn reset(&self, name: Option<&[u8]>) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|event, _| name.is_some_and(|name| event.as_bytes() != name));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_a_second_the_worst() {
        let monitor = LatencyMonitor::default();
        monitor.record("command", 10, 5, 0);
        monitor.record("command", 10, 5, 6);
        assert!(monitor.events().is_empty());
        monitor.record("command", 10, 5, 1);
        monitor.record("command", 10, 9, 1);
        monitor.record("command", 11, 2, 1);
        let event = monitor.event(b"command").unwrap();
        assert_eq!(event.samples, [(10, 9), (11, 2)]);
        assert_eq!(event.max_ms, 9);
        assert_eq!(monitor.reset(Some(b"other")), 0);
        assert_eq!(monitor.reset(None), 1);
    }
}
