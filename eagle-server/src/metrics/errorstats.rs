//! Errors replied, by error code (INFO errorstats).

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Distinct codes that are counted; codes made up by clients must not eat the memory.
const CODES_MAX: usize = 128;

#[derive(Default)]
pub struct ErrorStats {
    counts: Mutex<BTreeMap<String, u64>>,
}

impl ErrorStats {
    /// Counts one error reply that began with `code`.
    pub fn record(&self, code: &str) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(code) {
            *count += 1;
        } else if counts.len() < CODES_MAX {
            counts.insert(code.to_owned(), 1);
        }
    }

    /// Counts by code, in alphabetical order.
    pub fn counts(&self) -> Vec<(String, u64)> {
        self.counts
            .lock()
            .iter()
            .map(|(code, count)| (code.clone(), *count))
            .collect()
    }

    pub fn reset(&self) {
        self.counts.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_codes_is_bounded() {
        let stats = ErrorStats::default();
        for i in 0..2 * CODES_MAX {
            stats.record(&format!("E{i}"));
            stats.record("E0");
        }
        assert_eq!(stats.counts().len(), CODES_MAX);
        assert_eq!(stats.counts()[0].1, 2 * CODES_MAX as u64 + 1);
    }
}
