//! Ports that no other test, in this process or another one, uses at the same time.
//!
//! A port is claimed by a lock on a file named after it, and then probed, because programs outside
//! the tests know nothing of the locks. Claims lie below the ephemeral range even for the bus port
//! (`port + 10000`), so that no outgoing connection can take one away between probe and use.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 11_000;
const COUNT: u16 = 9_000;
/// Distance from a node's client port to its bus port.
pub const BUS_OFFSET: u16 = 10_000;

/// A claimed client port whose bus port is free too; released on drop.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: File,
}

impl Port {
    /// Claims the next free port. Panics when all are taken.
    pub fn claim() -> Port {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Processes start their search apart, so a port rests for a while before it is used again.
        let start = std::process::id().wrapping_mul(37) as u16 % COUNT;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let number = FIRST + (start + step) % COUNT;
            if let Some(claim) = lock(number)
                && is_free(number)
                && is_free(number + BUS_OFFSET)
            {
                return Port {
                    number,
                    _claim: claim,
                };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// Claims `count` ports in a row.
    pub fn claim_row(count: u16) -> Vec<Port> {
        let mut row = vec![Port::claim()];
        while row.len() < usize::from(count) {
            let next = Port::claim();
            if next.number != row[row.len() - 1].number + 1 {
                row.clear();
            }
            row.push(next);
        }
        row
    }

    /// The client port.
    pub fn number(&self) -> u16 {
        self.number
    }
}

fn lock(number: u16) -> Option<File> {
    let dir = std::env::temp_dir().join("eagledb-test-ports");
    std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
    let path = dir.join(number.to_string());
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .ok()?;
    file.try_lock().ok()?;
    Some(file)
}

fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_distinct_and_come_back() {
        let ports: Vec<Port> = (0..50).map(|_| Port::claim()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
        let first = ports[0].number();
        assert!(
            lock(first).is_none(),
            "a claimed port cannot be claimed again"
        );
        let row: Vec<u16> = Port::claim_row(3).iter().map(Port::number).collect();
        assert_eq!(row, [row[0], row[0] + 1, row[0] + 2]);
        drop(ports);
        assert!(lock(first).is_some(), "a dropped claim is free");
    }
}
