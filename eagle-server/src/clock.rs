//! The clocks, read in one place.

use rustix::time::{ClockId, clock_gettime};

/// Unix time in milliseconds.
pub fn unix_ms() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    // The machine's clock may be wrong, but hardly by more than half a century.
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// A point of the monotonic clock, for the time that commands take. Plain nanoseconds: that is less work for each command
/// than an `Instant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Now.
    #[inline]
    pub fn now() -> Moment {
        let now = clock_gettime(ClockId::Monotonic);
        Moment(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    /// Nanoseconds from `earlier` until this.
    #[inline]
    pub fn nanos_since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn the_clocks_are_those_of_the_machine() {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(unix_ms().abs_diff(since.as_millis() as u64) < 10_000);
        let before = Moment::now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(Moment::now().nanos_since(before) >= 2_000_000);
        assert_eq!(before.nanos_since(Moment::now()), 0);
    }
}
