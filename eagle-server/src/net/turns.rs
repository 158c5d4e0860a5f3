//! Where a connection's turn ends: clients that track keys by prefix are told then what it has changed.
//!
//! A reply that takes long keeps everybody waiting in Redis, and ends no turn. Here others go on meanwhile: what the turn has
//! changed is with its connection until the reply is there, or somebody has waited for long enough to be told.

use super::connection::{Connection, Event, Progress};
use super::stream::ClientStream;
use crate::session::Alert;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a turn that has changed something lasts while a reply is worked on.
const TURN_MAX: Duration = Duration::from_millis(100);

impl Connection {
    /// Ends the turn in which requests have run that led to `progress`, unless it goes on when what was begun is done.
    pub(super) fn end_turn(&mut self, progress: &Progress) {
        if matches!(progress, Progress::Later(_)) && !self.session.info.is_waiting() {
            self.turn = self.thread.turn.take();
        } else if self.session.closing {
            // After its last reply the client is told nothing more.
            self.collect_mail();
            self.thread.end_turn();
            self.session.info.outbox.take();
        } else {
            self.thread.end_turn();
        }
    }

    /// Waits for a reply, and says it; nothing if the connection is over before.
    pub(super) async fn reply_later<S: ClientStream>(
        &mut self,
        stream: &mut S,
        mut reply: Pin<Box<dyn Future<Output = Vec<u8>>>>,
    ) -> Option<()> {
        let info = self.session.info.clone();
        info.blocked.store(true, Ordering::Relaxed);
        let mut too_late = pin!(tokio::time::sleep(TURN_MAX));
        let mut can_wait = self.turn.is_empty() || self.turn.can_wait();
        let reply = loop {
            let next = async {
                tokio::select! {
                    biased;
                    reply = reply.as_mut() => Some(reply),
                    () = too_late.as_mut(), if !can_wait => None,
                }
            };
            match self.wait(stream, None, next).await {
                Event::Alert(Alert::Killed) | Event::Ended => return None,
                Event::Alert(_) => self.collect_mail(),
                Event::Sent(count) => self.count_sent(count),
                Event::Read(_) => {}
                Event::Other(Some(reply)) => break reply,
                Event::Other(None) => {
                    can_wait = true;
                    self.tell_turn();
                    self.collect_mail();
                }
            }
        };
        info.blocked.store(false, Ordering::Relaxed);
        self.replies.push(&mut self.out);
        self.replies.push_message(reply.into());
        self.resume_turn();
        for message in self.session.behind_reply.drain(..) {
            self.replies.push_message(message);
        }
        Some(())
    }

    /// Goes on with the turn that lasts.
    fn resume_turn(&mut self) {
        // What another connection has left.
        self.thread.end_turn();
        self.thread.turn.replace(std::mem::take(&mut self.turn));
    }

    /// Ends the turn that lasts.
    pub(super) fn tell_turn(&mut self) {
        if !self.turn.is_empty() {
            self.resume_turn();
            self.thread.end_turn();
        }
    }
}
