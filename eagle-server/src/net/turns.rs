//! Where a connection's turn ends: clients that track keys by prefix are told then what it has changed.

use super::connection::{Connection, Progress};
use crate::tracking::Turn;

impl Connection {
    /// Ends the turn in which requests have run that led to `progress`. Returns it instead if it goes on when what was
    /// begun is done: a flush keeps everybody waiting in Redis, and ends no turn.
    pub(super) fn end_turn(&mut self, progress: &Progress) -> Turn {
        if matches!(progress, Progress::Later(_)) && self.thread.turn.borrow().can_wait() {
            return self.thread.turn.take();
        }
        if self.session.closing {
            // After its last reply the client is told nothing more.
            self.collect_mail();
            self.thread.end_turn();
            self.session.info.outbox.take();
        } else {
            self.thread.end_turn();
        }
        Turn::default()
    }

    /// Goes on with a turn.
    pub(super) fn resume_turn(&self, turn: Turn) {
        // What another connection has left.
        self.thread.end_turn();
        self.thread.turn.replace(turn);
    }
}
