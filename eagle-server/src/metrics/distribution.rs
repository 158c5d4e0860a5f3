//! How long the calls of a command took, to two significant digits.
//!
//! The buckets are those of Redis's latency histograms (an HDR histogram of 1 ns to 1 s), so that
//! percentiles and LATENCY HISTOGRAM say the same for the same calls. Each power of two is parted
//! into 128 buckets of one width:
//!
//! ```text
//!   below 256 ns    1 ns wide      [0..256)
//!   256 to 511      2 ns wide      [256..384)
//!   512 to 1023     4 ns wide      [384..512)     and so on
//! ```

use super::stats::Counter;
use std::sync::OnceLock;

/// Longer calls count as this long.
const NANOS_MAX: u64 = 1_000_000_000;
/// Buckets of each power of two.
const PARTS: usize = 128;
const PARTS_BITS: u32 = PARTS.trailing_zeros();
const BUCKETS: usize = bucket_of(NANOS_MAX).next_multiple_of(PARTS);

/// The bucket that counts calls of `nanos`.
const fn bucket_of(nanos: u64) -> usize {
    let shift = (nanos | (2 * PARTS as u64 - 1)).ilog2() - PARTS_BITS;
    shift as usize * PARTS + (nanos >> shift) as usize
}

/// The longest time that bucket `index` counts, in nanoseconds.
const fn longest(index: usize) -> u64 {
    if index < 2 * PARTS {
        return index as u64;
    }
    let shift = index / PARTS - 1;
    (((index % PARTS + PARTS) as u64 + 1) << shift) - 1
}

/// The counts of one worker. They take their memory with the first call.
#[derive(Default, Debug)]
pub struct Distribution(OnceLock<Box<[Counter]>>);

impl Distribution {
    /// Counts one call. Only the owning worker may call this.
    #[inline]
    pub fn record(&self, nanos: u64) {
        let counts = match self.0.get() {
            Some(counts) => counts,
            None => self.make(),
        };
        counts[bucket_of(nanos.clamp(1, NANOS_MAX))].add(1);
    }

    #[cold]
    fn make(&self) -> &[Counter] {
        self.0
            .get_or_init(|| (0..BUCKETS).map(|_| Counter::default()).collect())
    }

    pub fn reset(&self) {
        if let Some(counts) = self.0.get() {
            counts.iter().for_each(Counter::reset);
        }
    }
}

/// Sums of [`Distribution`] over the workers.
#[derive(Clone, Default, Debug)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Latencies {
    /// Adds what a worker has counted.
    pub fn add(&mut self, worker: &Distribution) {
        let Some(counts) = worker.0.get() else {
            return;
        };
        self.counts.resize(BUCKETS, 0);
        for (sum, count) in self.counts.iter_mut().zip(counts) {
            let count = count.value();
            *sum += count;
            self.total += count;
        }
    }

    /// Calls that were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The time in nanoseconds that `percentile` percent of the calls did not exceed.
    pub fn percentile(&self, percentile: f64) -> u64 {
        let share = percentile.min(100.0) / 100.0;
        let wanted = ((share * self.total as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        reached.map_or(0, longest)
    }

    /// The doubling bounds at which the count of calls grows: (microseconds, calls so far).
    pub fn doublings(&self) -> Vec<(u64, u64)> {
        const FIRST_NANOS: u64 = 1024;
        let mut steps = Vec::new();
        let (mut seen, mut told, mut next) = (0, 0, 0);
        let mut bound = FIRST_NANOS;
        while told < self.total {
            let end = (bucket_of(bound) + 1).min(self.counts.len());
            seen += self.counts[next..end].iter().sum::<u64>();
            if seen > told {
                steps.push((longest(end - 1) / 1000, seen));
                told = seen;
            }
            (next, bound) = (end, 2 * bound);
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nanos: &[u64]) -> Latencies {
        let worker = Distribution::default();
        nanos.iter().for_each(|nanos| worker.record(*nanos));
        let mut sum = Latencies::default();
        sum.add(&worker);
        sum
    }

    #[test]
    fn every_time_has_a_bucket_that_ends_within_a_hundredth_of_it() {
        let mut nanos = 1;
        let mut last = 0;
        while nanos < NANOS_MAX {
            let bucket = bucket_of(nanos);
            assert!(bucket >= last && bucket < BUCKETS);
            assert!(longest(bucket) >= nanos && longest(bucket) - nanos <= nanos / 100);
            assert_eq!(bucket_of(longest(bucket)), bucket);
            assert_eq!(bucket_of(longest(bucket) + 1), bucket + 1);
            last = bucket;
            nanos += nanos / 97 + 1;
        }
    }

    /// The bounds as redis-server 7.0.15 prints them.
    #[test]
    fn doublings_have_rediss_bounds() {
        let times: Vec<u64> = (0..21).map(|power| 1000 << power).collect();
        let bounds: Vec<u64> = of(&times).doublings().iter().map(|step| step.0).collect();
        assert_eq!(
            bounds,
            [
                1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16908, 33816, 67633,
                135266, 270532, 541065, 1073741
            ]
        );
        assert_eq!(of(&[1031, 1032]).doublings(), [(1, 1), (2, 2)]);
        assert_eq!(of(&[u64::MAX]).doublings(), [(1_073_741, 1)]);
        assert_eq!(Latencies::default().doublings(), []);
    }

    #[test]
    fn percentiles_are_those_of_the_calls() {
        let latencies = of(&[100, 200, 300, 400_000]);
        assert_eq!(latencies.percentile(0.0), 100);
        assert_eq!(latencies.percentile(50.0), 200);
        assert_eq!(latencies.percentile(75.0), 301);
        assert_eq!(latencies.percentile(100.0), 401_407);
        assert_eq!(Latencies::default().percentile(50.0), 0);
    }
}
