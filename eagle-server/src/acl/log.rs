//! ACL LOG: what was refused lately, newest first.
//!
//! The same refusal again, within a minute, counts up its entry instead of adding one.

use parking_lot::Mutex;
use std::collections::VecDeque;

/// Entries looked at for one to count up.
const SIMILAR_SCAN_MAX: usize = 10;
/// Refusals this far apart are two matters.
const SIMILAR_WITHIN_MS: u64 = 60_000;

/// What was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    Command,
    Key,
    Channel,
    Auth,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

/// Where it was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    TopLevel,
    Transaction,
    Script,
}

impl Place {
    pub fn name(self) -> &'static str {
        match self {
            Place::TopLevel => "toplevel",
            Place::Transaction => "multi",
            Place::Script => "lua",
        }
    }
}

/// One refusal, or several alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    pub count: u64,
    pub reason: Reason,
    pub place: Place,
    /// The command, key or channel.
    pub object: Vec<u8>,
    pub username: Vec<u8>,
    /// When it was refused last.
    pub at_ms: u64,
    /// The client, as CLIENT LIST shows it.
    pub client: String,
}

impl LogEntry {
    fn is_like(&self, other: &LogEntry) -> bool {
        self.reason == other.reason
            && self.place == other.place
            && self.at_ms.abs_diff(other.at_ms) <= SIMILAR_WITHIN_MS
            && self.object == other.object
            && self.username == other.username
    }
}

#[derive(Default)]
pub struct Log(Mutex<VecDeque<LogEntry>>);

impl Log {
    /// Adds a refusal, whose `count` is 1, and forgets the oldest beyond `len_max`.
    pub fn add(&self, entry: LogEntry, len_max: usize) {
        let mut entries = self.0.lock();
        let like = entries
            .iter()
            .take(SIMILAR_SCAN_MAX)
            .position(|known| known.is_like(&entry));
        match like.and_then(|position| entries.remove(position)) {
            Some(known) => entries.push_front(LogEntry {
                count: known.count + 1,
                ..entry
            }),
            None => {
                entries.push_front(entry);
                entries.truncate(len_max);
            }
        }
    }

    /// The newest `count` entries.
    pub fn newest(&self, count: usize) -> Vec<LogEntry> {
        self.0.lock().iter().take(count).cloned().collect()
    }

    /// Forgets all entries.
    pub fn reset(&self) {
        self.0.lock().clear();
    }
}
