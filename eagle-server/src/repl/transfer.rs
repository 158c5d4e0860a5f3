//! A snapshot on its way from the thread that writes it to the connection of one replica.
//!
//! ```text
//!   thread of the synchronisation            task of the connection
//!     push(bytes) ... wait_for_room <----->    take(bytes) ...
//!     end(whole?)                 ------->     the stream, or the end
//! ```
//!
//! The thread waits for room, never the task. Whoever is done with it first says so: the other one then stops.

use crate::session::ClientInfo;
use bytes::{Bytes, BytesMut};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that may wait here before the thread does.
const BYTES_MAX: usize = 4 << 20;

/// One transfer.
pub struct Transfer {
    client: Arc<ClientInfo>,
    state: Mutex<State>,
    /// Told when bytes were taken.
    room: Condvar,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    /// The payload proper has begun: nothing may be put between its bytes.
    has_begun: bool,
    end: Option<End>,
    /// Nobody takes the bytes any more.
    is_abandoned: bool,
}

/// How a transfer has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// All bytes are here. The replica says when it has found the end of them.
    Marked,
    /// All bytes are here. The replica knows how many there are.
    Counted,
    Failed,
}

impl Transfer {
    /// A transfer to `client`.
    pub fn new(client: &Arc<ClientInfo>) -> Transfer {
        Transfer {
            client: client.clone(),
            state: Mutex::default(),
            room: Condvar::new(),
        }
    }

    /// Adds bytes.
    pub fn push(&self, bytes: Bytes, of_payload: bool) {
        let mut state = self.state.lock();
        if !state.is_abandoned && !bytes.is_empty() {
            state.has_begun |= of_payload;
            state.bytes += bytes.len();
            state.chunks.push_back(bytes);
            drop(state);
            self.client.outbox.wake();
        }
    }

    /// Waits a while for room; whether there is.
    pub fn wait_for_room(&self, wait_max: Duration) -> bool {
        let mut state = self.state.lock();
        let has_room = |state: &State| state.is_abandoned || state.bytes < BYTES_MAX;
        if !has_room(&state) {
            self.room.wait_for(&mut state, wait_max);
        }
        has_room(&state)
    }

    /// Nothing more comes.
    pub fn end(&self, end: End) {
        self.state.lock().end.get_or_insert(end);
        self.client.outbox.wake();
    }

    /// Nobody takes bytes any more.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        state.is_abandoned = true;
        state.chunks.clear();
        state.bytes = 0;
        drop(state);
        self.room.notify_all();
    }

    pub fn is_abandoned(&self) -> bool {
        self.state.lock().is_abandoned
    }

    /// Moves bytes to `out` until that has `len_max`, about.
    pub(super) fn take(&self, out: &mut BytesMut, len_max: usize) {
        let mut state = self.state.lock();
        let before = state.bytes;
        while out.len() < len_max
            && let Some(chunk) = state.chunks.pop_front()
        {
            state.bytes -= chunk.len();
            out.extend_from_slice(&chunk);
        }
        if state.bytes != before {
            drop(state);
            self.room.notify_all();
        }
    }

    /// How it has ended, if all was taken.
    pub(super) fn ended(&self) -> Option<End> {
        let state = self.state.lock();
        state
            .end
            .filter(|end| *end == End::Failed || state.bytes == 0)
    }

    pub(super) fn has_begun(&self) -> bool {
        self.state.lock().has_begun
    }

    pub(super) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer() -> Transfer {
        let client = ClientInfo::new(1, String::new(), String::new(), None, 0, 0);
        Transfer::new(&Arc::new(client))
    }

    #[test]
    fn the_writer_waits_for_room_and_the_reader_for_the_end() {
        let transfer = transfer();
        transfer.push(Bytes::from_static(b"+line\r\n"), false);
        assert!(!transfer.has_begun());
        transfer.push(Bytes::from(vec![1; BYTES_MAX]), true);
        assert!(transfer.has_begun() && !transfer.wait_for_room(Duration::ZERO));
        transfer.end(End::Marked);
        assert_eq!(transfer.ended(), None, "bytes are left");
        let mut out = BytesMut::new();
        transfer.take(&mut out, 100);
        assert_eq!(out.len(), 7 + BYTES_MAX);
        assert!(transfer.wait_for_room(Duration::ZERO));
        assert_eq!(transfer.ended(), Some(End::Marked));
    }

    #[test]
    fn an_abandoned_transfer_holds_nobody_up() {
        let transfer = transfer();
        transfer.push(Bytes::from(vec![1; BYTES_MAX]), true);
        transfer.abandon();
        assert!(transfer.wait_for_room(Duration::ZERO) && transfer.is_abandoned());
        transfer.push(Bytes::from_static(b"more"), true);
        assert_eq!(transfer.bytes(), 0);
        transfer.end(End::Failed);
        assert_eq!(transfer.ended(), Some(End::Failed));
    }
}
