//! SLOWLOG: the commands that took longest, newest first.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// Arguments kept of one entry, the note on the rest included.
const ARGUMENTS_MAX: usize = 32;
/// Bytes kept of one argument.
const ARGUMENT_BYTES_MAX: usize = 128;

#[derive(Clone, Debug)]
pub struct SlowEntry {
    pub id: u64,
    /// Unix time in seconds.
    pub time: u64,
    pub duration_us: u64,
    pub argv: Vec<Vec<u8>>,
    pub addr: String,
    pub client_name: String,
}

#[derive(Default)]
pub struct Slowlog {
    entries: Mutex<VecDeque<SlowEntry>>,
    next_id: AtomicU64,
}

impl Slowlog {
    /// Notes a slow command and forgets the oldest beyond `len_max`.
    pub fn push(
        &self,
        addr: &str,
        client_name: String,
        argv: &[&[u8]],
        time: u64,
        duration_us: u64,
        len_max: usize,
    ) {
        let entry = SlowEntry {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            time,
            duration_us,
            argv: clip(argv),
            addr: addr.to_owned(),
            client_name,
        };
        let mut entries = self.entries.lock();
        entries.push_front(entry);
        entries.truncate(len_max);
    }

    /// The newest `count` entries.
    pub fn newest(&self, count: usize) -> Vec<SlowEntry> {
        self.entries.lock().iter().take(count).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn reset(&self) {
        self.entries.lock().clear();
    }
}

fn clip(argv: &[&[u8]]) -> Vec<Vec<u8>> {
    let kept = if argv.len() > ARGUMENTS_MAX {
        ARGUMENTS_MAX - 1
    } else {
        argv.len()
    };
    let mut clipped: Vec<Vec<u8>> = argv[..kept]
        .iter()
        .map(|word| match word.len().checked_sub(ARGUMENT_BYTES_MAX) {
            None | Some(0) => word.to_vec(),
            Some(more) => {
                let mut text = word[..ARGUMENT_BYTES_MAX].to_vec();
                text.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
                text
            }
        })
        .collect();
    if kept < argv.len() {
        clipped.push(format!("... ({} more arguments)", argv.len() - kept).into_bytes());
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_clipped() {
        let word = [b'x'; 130];
        let argv = vec![&word[..]; 40];
        let clipped = clip(&argv);
        assert_eq!(clipped.len(), ARGUMENTS_MAX);
        assert!(clipped[0].ends_with(b"x... (2 more bytes)"));
        assert_eq!(clipped[31], b"... (9 more arguments)");
        assert_eq!(clip(&argv[..32]).len(), 32);
    }
}
