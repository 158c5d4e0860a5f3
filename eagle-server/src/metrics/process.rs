//! What the kernel knows of this process: its memory and its CPU time.
//!
//! Everything is read from `/proc`. What cannot be read counts as zero: a report with a gap is
//! better than none.

use std::time::Duration;

/// CPU time spent so far.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct CpuTimes {
    pub user: Duration,
    pub system: Duration,
    /// Of child processes that have ended and were waited for.
    pub children_user: Duration,
    pub children_system: Duration,
}

/// CPU time of all threads.
pub fn cpu_times() -> CpuTimes {
    times_in("/proc/self/stat")
}

/// CPU time of the thread the process began with.
pub fn main_thread_times() -> CpuTimes {
    times_in(&format!("/proc/self/task/{}/stat", std::process::id()))
}

/// Bytes of this process that lie in memory, mapped files included.
pub fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Bytes of memory of this machine.
pub fn machine_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram * u64::from(info.mem_unit)
}

fn times_in(path: &str) -> CpuTimes {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    parse_times(&text, rustix::param::clock_ticks_per_second()).unwrap_or_default()
}

/// Reads a line of `/proc/*/stat`. The process's name, in parentheses, may hold anything.
fn parse_times(stat: &str, ticks_per_second: u64) -> Option<CpuTimes> {
    /// Position of `utime` after the name; `stime`, `cutime` and `cstime` follow.
    const USER: usize = 11;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_ascii_whitespace().skip(USER).map(|word| {
        let ticks: u64 = word.parse().ok()?;
        Some(Duration::from_nanos(
            ticks.saturating_mul(1_000_000_000 / ticks_per_second.max(1)),
        ))
    });
    let mut next = || times.next().flatten();
    Some(CpuTimes {
        user: next()?,
        system: next()?,
        children_user: next()?,
        children_system: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_a_name_of_any_kind() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 30 2 1 20 0 4 0 5 6 7";
        let times = parse_times(line, 100).unwrap();
        assert_eq!(times.user, Duration::from_millis(2500));
        assert_eq!(times.system, Duration::from_millis(300));
        assert_eq!(times.children_user, Duration::from_millis(20));
        assert_eq!(times.children_system, Duration::from_millis(10));
        assert_eq!(parse_times("7 (a) S 1", 100), None);
        assert_eq!(parse_times("", 100), None);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes() > 0);
        assert!(machine_bytes() > resident_bytes());
    }
}
