//! Rates of the last moments (INFO `instantaneous_*`): counters are sampled ten times a second, a
//! rate is the mean over the last 16 samples.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Samples a rate is the mean of.
const SAMPLES: usize = 16;

/// What is sampled, in this order.
#[derive(Clone, Copy, Debug)]
pub enum Rate {
    Commands,
    InputBytes,
    OutputBytes,
}

const RATES: usize = 3;

#[derive(Default)]
pub struct Rates {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Time and counters at the last sample.
    last: Option<(u64, [u64; RATES])>,
    /// Per second, newest last overwritten first.
    samples: [[u64; RATES]; SAMPLES],
    next: usize,
}

impl Rates {
    /// Takes a sample of the counters: commands, bytes in, bytes out.
    pub fn sample(&self, now_ms: u64, counters: [u64; RATES]) {
        let mut state = self.state.lock();
        if let Some((then_ms, before)) = state.last.replace((now_ms, counters)) {
            let elapsed_ms = now_ms.saturating_sub(then_ms);
            if elapsed_ms == 0 {
                return;
            }
            let next = state.next;
            for (index, rate) in state.samples[next].iter_mut().enumerate() {
                // CONFIG RESETSTAT sets counters back.
                let grown = counters[index].saturating_sub(before[index]);
                *rate = grown.saturating_mul(1000) / elapsed_ms;
            }
            state.next = (next + 1) % SAMPLES;
        }
    }

    /// The rate per second.
    pub fn per_second(&self, rate: Rate) -> u64 {
        let state = self.state.lock();
        let sum: u64 = state.samples.iter().map(|rates| rates[rate as usize]).sum();
        sum / SAMPLES as u64
    }

    /// CONFIG RESETSTAT: the rates begin anew.
    pub fn reset(&self) {
        *self.state.lock() = State::default();
    }
}

/// The largest value ever seen (INFO `used_memory_peak`).
#[derive(Default, Debug)]
pub struct Peak(AtomicU64);

impl Peak {
    /// Notes `value`; returns the largest so far.
    pub fn note(&self, value: u64) -> u64 {
        self.0.fetch_max(value, Ordering::Relaxed).max(value)
    }

    /// CONFIG RESETSTAT: what was seen is forgotten.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_the_last_samples() {
        let rates = Rates::default();
        for tick in 0..=SAMPLES as u64 {
            rates.sample(1000 + tick * 100, [tick * 10, tick, 0]);
        }
        assert_eq!(rates.per_second(Rate::Commands), 100);
        assert_eq!(rates.per_second(Rate::InputBytes), 10);
        assert_eq!(rates.per_second(Rate::OutputBytes), 0);
        rates.sample(1000 + 17 * 100, [0, 0, 0]);
        assert_eq!(rates.per_second(Rate::Commands), 100 * 15 / 16);
        rates.sample(1000 + 17 * 100, [50, 0, 0]);
        rates.reset();
        assert_eq!(rates.per_second(Rate::Commands), 0);
    }

    #[test]
    fn the_peak_grows_until_it_is_reset() {
        let peak = Peak::default();
        assert_eq!(peak.note(5), 5);
        assert_eq!(peak.note(3), 5);
        peak.reset();
        assert_eq!(peak.note(4), 4);
    }
}
