//! CLIENT PAUSE: commands wait until a moment, or until CLIENT UNPAUSE.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PauseMode {
    /// Commands that may write.
    Write,
    /// Every command.
    All,
}

#[derive(Default)]
pub struct Pause {
    /// Quick test for the hot path: 0 when nothing is paused.
    until_ms: AtomicU64,
    state: Mutex<Option<(u64, PauseMode)>>,
    changed: Notify,
}

impl Pause {
    /// Pauses until `until_ms`. A pause under way is only ever extended and widened.
    pub fn start(&self, until_ms: u64, mode: PauseMode, now_ms: u64) {
        let mut state = self.state.lock();
        let merged = match *state {
            Some((end_ms, old)) if end_ms > now_ms => (end_ms.max(until_ms), old.max(mode)),
            _ => (until_ms, mode),
        };
        *state = Some(merged);
        self.until_ms.store(merged.0, Ordering::Release);
    }

    pub fn end(&self) {
        *self.state.lock() = None;
        self.until_ms.store(0, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// The pause in force at `now_ms`: when it ends and whom it holds.
    #[inline]
    pub fn current(&self, now_ms: u64) -> Option<(u64, PauseMode)> {
        if self.until_ms.load(Ordering::Acquire) <= now_ms {
            return None;
        }
        self.in_force(now_ms)
    }

    #[cold]
    fn in_force(&self, now_ms: u64) -> Option<(u64, PauseMode)> {
        self.state.lock().filter(|(until_ms, _)| *until_ms > now_ms)
    }

    /// Waits until the pause may have ended: `wait_ms` at most, or until [`Pause::end`].
    pub async fn wait(&self, wait_ms: u64) {
        let ended = self.changed.notified();
        let _ = tokio::time::timeout(std::time::Duration::from_millis(wait_ms), ended).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_widened_never_narrowed() {
        let pause = Pause::default();
        assert_eq!(pause.current(0), None);
        pause.start(100, PauseMode::All, 0);
        pause.start(50, PauseMode::Write, 10);
        assert_eq!(pause.current(20), Some((100, PauseMode::All)));
        assert_eq!(pause.current(100), None);
        pause.start(300, PauseMode::Write, 200);
        assert_eq!(pause.current(250), Some((300, PauseMode::Write)));
        pause.end();
        assert_eq!(pause.current(250), None);
    }
}
