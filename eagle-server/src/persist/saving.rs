//! What is known of snapshots: whether one is being written, how the last one ended, and when the next one is due.

use crate::config::special::SavePoint;
use crate::persist::snapshot::Progress;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Instant;

/// Seconds to wait after a failure before the next try.
const RETRY_S: u64 = 5;

/// The snapshots of one node.
#[derive(Default)]
pub struct Saving {
    state: Mutex<State>,
    /// The last one failed: looked at before every write.
    has_failed: AtomicBool,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    thread: Option<JoinHandle<()>>,
    last: Past,
}

/// One that is being written.
struct Current {
    progress: Arc<Progress>,
    started: Instant,
    in_background: bool,
}

/// The ones before.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Unix seconds of the last success; the start, if there was none.
    pub saved_at_s: u64,
    /// Unix seconds of the last try.
    pub tried_at_s: u64,
    /// How many succeeded since the start.
    pub saves: u64,
    /// How long the last one in the background took.
    pub took_s: Option<u64>,
}

/// The right to write a snapshot. Dropping it counts as failure.
pub struct Turn<'s> {
    saving: &'s Saving,
    pub progress: Arc<Progress>,
    is_over: bool,
}

impl Saving {
    /// Counts time from now on: Unix seconds.
    pub fn begin_at(&self, now_s: u64) {
        self.state.lock().last.saved_at_s = now_s;
    }

    /// Begins a snapshot, unless one is being written.
    pub fn begin(&self, now_s: u64, in_background: bool) -> Option<Turn<'_>> {
        let mut state = self.state.lock();
        if state.current.is_some() {
            return None;
        }
        let progress = Arc::new(Progress::default());
        state.current = Some(Current {
            progress: progress.clone(),
            started: Instant::now(),
            in_background,
        });
        state.last.tried_at_s = now_s;
        Some(Turn {
            saving: self,
            progress,
            is_over: false,
        })
    }

    /// Keeps the thread that writes, to wait for it at the end.
    pub fn keep_thread(&self, thread: JoinHandle<()>) {
        self.state.lock().thread = Some(thread);
    }

    /// Has the snapshot being written given up soon.
    pub fn call_off(&self) {
        if let Some(current) = &self.state.lock().current {
            current.progress.is_cancelled.store(true, Relaxed);
        }
    }

    /// Has the snapshot being written given up, and waits until it has.
    pub fn cancel(&self) {
        let thread = {
            let mut state = self.state.lock();
            if let Some(current) = &state.current {
                current.progress.is_cancelled.store(true, Relaxed);
            }
            state.thread.take()
        };
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Whether one is being written in the background.
    pub fn in_background(&self) -> bool {
        let state = self.state.lock();
        state
            .current
            .as_ref()
            .is_some_and(|current| current.in_background)
    }

    /// Of the one being written in the background: how far it is, and for how many seconds it goes on already.
    pub fn current(&self) -> Option<(Arc<Progress>, u64)> {
        let state = self.state.lock();
        let current = state.current.as_ref()?;
        let is_shown = current.in_background;
        is_shown.then(|| {
            (
                current.progress.clone(),
                current.started.elapsed().as_secs(),
            )
        })
    }

    pub fn past(&self) -> Past {
        self.state.lock().last.clone()
    }

    /// Whether the last one failed.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Relaxed)
    }

    /// The save point that asks for a snapshot now, after so many changes.
    pub fn due<'p>(
        &self,
        points: &'p [SavePoint],
        changes: u64,
        now_s: u64,
    ) -> Option<&'p SavePoint> {
        let state = self.state.lock();
        let last = &state.last;
        let may_try = !self.has_failed() || now_s.saturating_sub(last.tried_at_s) > RETRY_S;
        if state.current.is_some() || !may_try {
            return None;
        }
        let since_s = now_s.saturating_sub(last.saved_at_s);
        points
            .iter()
            .find(|point| changes >= point.changes && since_s > point.seconds)
    }

    fn end(&self, saved_at_s: Option<u64>) {
        let mut state = self.state.lock();
        let Some(current) = state.current.take() else {
            return;
        };
        if current.in_background {
            state.last.took_s = Some(current.started.elapsed().as_secs());
        }
        match saved_at_s {
            Some(now_s) => {
                state.last.saved_at_s = now_s;
                state.last.saves += 1;
                self.has_failed.store(false, Relaxed);
            }
            // One that was called off says nothing about the medium.
            None if current.progress.is_cancelled.load(Relaxed) => {}
            // Whoever waits for one is told itself; nobody may look at what failed in the background.
            None if current.in_background => self.has_failed.store(true, Relaxed),
            None => {}
        }
    }
}

impl Turn<'_> {
    /// The snapshot is on the medium, at this Unix time in seconds.
    pub fn succeed(mut self, now_s: u64) {
        self.is_over = true;
        self.saving.end(Some(now_s));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.saving.end(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTS: &[SavePoint] = &[
        SavePoint {
            seconds: 300,
            changes: 1,
        },
        SavePoint {
            seconds: 60,
            changes: 100,
        },
    ];

    #[test]
    fn a_snapshot_is_due_after_enough_changes_and_time() {
        let saving = Saving::default();
        saving.begin_at(1000);
        let due = |changes, now_s| {
            saving
                .due(POINTS, changes, now_s)
                .map(|point| point.seconds)
        };
        assert_eq!(due(1000, 1060), None);
        assert_eq!(due(1000, 1061), Some(60));
        assert_eq!(due(99, 1061), None);
        assert_eq!(due(1, 1301), Some(300));
        assert_eq!(due(0, 9999), None);
        let turn = saving.begin(1061, true).unwrap();
        assert!(saving.begin(1061, false).is_none(), "one at a time");
        assert_eq!(due(1000, 1061), None);
        drop(turn);
        assert!(saving.has_failed());
        assert_eq!(due(1000, 1066), None, "a failure is not repeated at once");
        assert_eq!(due(1000, 1067), Some(60));
        saving.begin(1067, true).unwrap().succeed(1068);
        assert!(!saving.has_failed());
        assert_eq!(due(1000, 1100), None);
        assert_eq!(saving.past().saves, 1);
    }

    #[test]
    fn one_that_was_called_off_is_no_failure() {
        let saving = Saving::default();
        let turn = saving.begin(5, true).unwrap();
        assert!(saving.in_background());
        saving.cancel();
        drop(turn);
        assert!(!saving.has_failed() && !saving.in_background());
    }

    #[test]
    fn one_that_somebody_waits_for_stops_no_writes_when_it_fails() {
        let saving = Saving::default();
        drop(saving.begin(5, false).unwrap());
        assert!(!saving.has_failed());
    }
}
