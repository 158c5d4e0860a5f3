//! What is known of a file being loaded while clients may ask: how far it is, and whether they are refused meanwhile.
//!
//! ```text
//!   idle --begin--> quiet --enough bytes read--> shown --drop of the turn--> idle
//!                     |                                                        ^
//!                     +----------------- drop of the turn --------------------+
//! ```
//!
//! Redis looks at its clients once for every `loading-process-events-interval-bytes` that it has read, so nobody is
//! told of a file that is shorter. Here others run beside the one that loads, and to the same end they are kept
//! waiting while the file is loaded quietly; once it is shown, all that the dataset is needed for is refused.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use tokio::sync::watch;

/// The loading of files by one node.
#[derive(Default)]
pub struct Loading {
    /// Looked at before every command.
    is_shown: AtomicBool,
    state: Mutex<Option<Progress>>,
    read_bytes: AtomicU64,
    is_cancelled: AtomicBool,
    shown: watch::Sender<bool>,
}

/// A file being loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Unix seconds.
    pub started_at_s: u64,
    pub total_bytes: u64,
    pub read_bytes: u64,
    /// Bytes that the dataset took where the file was written, if it says so.
    pub used_bytes: u64,
    /// Bytes to be read before clients are told.
    quiet_bytes: u64,
}

impl Progress {
    /// How much of the file is read, in percent.
    pub fn percent(&self) -> f64 {
        self.read_bytes as f64 / self.total_bytes.max(1) as f64 * 100.0
    }

    /// Seconds still to go, if it goes on as it went until `now_s`.
    pub fn seconds_left(&self, now_s: u64) -> u64 {
        let elapsed_s = now_s.saturating_sub(self.started_at_s);
        if elapsed_s == 0 {
            return 1;
        }
        let left_bytes = self.total_bytes.saturating_sub(self.read_bytes);
        (u128::from(elapsed_s) * u128::from(left_bytes) / (u128::from(self.read_bytes) + 1)) as u64
    }
}

/// The file that is being loaded. Dropping it ends the loading.
pub struct Turn<'l>(&'l Loading);

impl Loading {
    /// Begins to load a file of so many bytes, of which clients are told once `quiet_bytes` are read.
    pub fn begin(&self, total_bytes: u64, quiet_bytes: u64, now_s: u64) -> Turn<'_> {
        self.read_bytes.store(0, Relaxed);
        *self.state.lock() = Some(Progress {
            started_at_s: now_s,
            total_bytes,
            read_bytes: 0,
            used_bytes: 0,
            quiet_bytes,
        });
        Turn(self)
    }

    /// Whether commands that need the dataset are refused.
    #[inline]
    pub fn is_shown(&self) -> bool {
        self.is_shown.load(Relaxed)
    }

    /// Completes once clients are to be told.
    pub async fn shown(&self) {
        let mut shown = self.shown.subscribe();
        // The sender lives as long as this does.
        let _ = shown.wait_for(|is_shown| *is_shown).await;
    }

    /// The file being loaded.
    pub fn current(&self) -> Option<Progress> {
        let mut progress = (*self.state.lock())?;
        progress.read_bytes = self.read_bytes.load(Relaxed);
        Some(progress)
    }

    /// Has whoever loads give up: the server ends.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Relaxed);
    }
}

impl Turn<'_> {
    /// So many bytes are read by now; whether to go on.
    pub fn has_read(&self, bytes: u64) -> bool {
        let loading = self.0;
        loading.read_bytes.store(bytes, Relaxed);
        if !loading.is_shown() {
            let state = loading.state.lock();
            if state.is_some_and(|progress| bytes >= progress.quiet_bytes) {
                loading.is_shown.store(true, Relaxed);
                loading.shown.send_replace(true);
            }
        }
        !loading.is_cancelled.load(Relaxed)
    }

    /// The file says how much memory its dataset took.
    pub fn note_used(&self, bytes: u64) {
        if let Some(progress) = &mut *self.0.state.lock() {
            progress.used_bytes = bytes;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.state.lock() = None;
        self.0.is_shown.store(false, Relaxed);
        self.0.shown.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_once_enough_is_read_and_until_the_end() {
        let loading = Loading::default();
        assert!(!loading.is_shown() && loading.current().is_none());
        let turn = loading.begin(1000, 100, 50);
        assert!(turn.has_read(99) && !loading.is_shown());
        assert!(turn.has_read(100) && loading.is_shown());
        let progress = loading.current().unwrap();
        assert_eq!(progress.read_bytes, 100);
        assert!((progress.percent() - 10.0).abs() < 1e-9);
        assert_eq!(progress.seconds_left(50), 1);
        assert_eq!(progress.seconds_left(60), 10 * 900 / 101);
        drop(turn);
        assert!(!loading.is_shown() && loading.current().is_none());
    }

    #[test]
    fn who_loads_learns_that_the_server_ends() {
        let loading = Loading::default();
        let turn = loading.begin(1000, 100, 50);
        loading.cancel();
        assert!(!turn.has_read(10));
    }
}
