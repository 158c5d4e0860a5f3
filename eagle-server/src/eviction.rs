//! The candidates for eviction: the best keys out of the samples drawn so far.
//!
//! Eviction draws a few keys at a time (`maxmemory-samples`) and takes the best of them. Keeping the runners-up for
//! the next time makes the choice much closer to the true order at no cost; that is what Redis does since 3.0.

use std::time::Duration;

/// Candidates kept.
const CANDIDATES_MAX: usize = 16;

/// A key that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The higher, the sooner the key goes.
    pub score: u64,
    pub db: u8,
    pub key: Box<[u8]>,
}

/// The best candidates known, by ascending score. What it says of them may be outdated.
#[derive(Default, Debug)]
pub struct Candidates(Vec<Candidate>);

impl Candidates {
    /// Takes a key in, if it is better than one of those kept or there is room.
    pub fn offer(&mut self, score: u64, db: u8, key: &[u8]) {
        if self
            .0
            .iter()
            .any(|known| known.db == db && *known.key == *key)
        {
            return;
        }
        if self.0.len() == CANDIDATES_MAX {
            if score <= self.0[0].score {
                return;
            }
            self.0.remove(0);
        }
        let at = self.0.partition_point(|known| known.score < score);
        let key = key.into();
        self.0.insert(at, Candidate { score, db, key });
    }

    /// Takes the best one out.
    pub fn take(&mut self) -> Option<Candidate> {
        self.0.pop()
    }
}

/// How long one command may evict at `maxmemory-eviction-tenacity`; `None` is without bound.
pub fn time_max(tenacity: u32) -> Option<Duration> {
    match tenacity {
        0..=10 => Some(Duration::from_micros(50 * u64::from(tenacity))),
        11..=99 => Some(Duration::from_micros(
            (500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64,
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_and_taken_first() {
        let mut candidates = Candidates::default();
        for score in [5, 1, 40, 7, 7, 2] {
            candidates.offer(score, 0, format!("k{score}").as_bytes());
        }
        candidates.offer(40, 0, b"k40");
        for score in 100..130 {
            candidates.offer(score, 1, format!("k{score}").as_bytes());
        }
        let taken: Vec<u64> = std::iter::from_fn(|| candidates.take())
            .map(|best| best.score)
            .collect();
        assert_eq!(taken, (114..130).rev().collect::<Vec<u64>>());
    }

    #[test]
    fn tenacity_is_a_bound_on_time() {
        assert_eq!(time_max(0), Some(Duration::ZERO));
        assert_eq!(time_max(10), Some(Duration::from_micros(500)));
        assert!(time_max(99) > Some(Duration::from_secs(100)));
        assert_eq!(time_max(100), None);
    }
}
