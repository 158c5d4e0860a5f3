//! What a connection keeps in memory: the bytes it has read and the replies that wait, and how much of each there may be.

use super::connection::Connection;
use super::reactor::READ_BYTES;
use crate::clock::unix_ms;
use crate::command::Batch;
use crate::config::Config;
use crate::session::ReplyMode;
use bytes::BytesMut;
use std::sync::atomic::Ordering;

impl Connection {
    pub(super) fn query_bytes_max(&self) -> usize {
        self.thread
            .node
            .config
            .load()
            .clients
            .client_query_buffer_limit as usize
    }

    /// Makes room for so many more bytes, at least for one read.
    pub(super) fn make_room(&mut self, needed: usize) {
        if self.input.capacity() - self.input.len() < needed.min(READ_BYTES / 2) {
            self.input.reserve(needed.max(READ_BYTES));
            self.input_size = self.input.capacity();
        }
    }

    pub(super) fn note_sizes(&self) {
        let info = &self.session.info;
        // What is parsed of a long request is not waiting any more.
        let waiting = self
            .input
            .len()
            .saturating_sub(self.requests.parsed_bytes());
        info.query_bytes.store(waiting, Ordering::Relaxed);
        let room = self.input_size.saturating_sub(waiting);
        info.query_room_bytes.store(room, Ordering::Relaxed);
        info.output_bytes
            .store(self.replies.len(), Ordering::Relaxed);
    }

    /// Gives back a large read buffer that has not been needed for a while.
    pub(super) fn shrink_input(&mut self) {
        /// Smaller buffers are kept.
        const KEPT_BYTES_MAX: usize = 32 * 1024;
        const UNUSED_MS: u64 = 200;
        if self.input_size <= KEPT_BYTES_MAX {
            return;
        }
        let now_ms = unix_ms();
        if self.input.len() > self.input_size / 2 || self.used_at_ms == 0 {
            self.used_at_ms = now_ms;
        } else if self.input.is_empty() && now_ms.saturating_sub(self.used_at_ms) > UNUSED_MS {
            self.give_back_input();
            self.used_at_ms = 0;
        }
    }

    /// Gives back the read buffer if it is empty; whether it was.
    pub(super) fn give_back_input(&mut self) -> bool {
        let is_empty = self.input.is_empty();
        if is_empty {
            self.input = BytesMut::new();
            self.input_size = 0;
            self.note_sizes();
        }
        is_empty
    }

    /// Counts the connection's memory while it is limited.
    pub(super) fn count_memory(&self) {
        let node = &self.thread.node;
        if let Some(bytes_max) = self.thread.with_config(Config::client_bytes_max) {
            node.clients.count_memory(&self.session.info, bytes_max);
        }
    }

    /// Whether the client lets more wait than `client-output-buffer-limit` allows.
    pub(super) fn is_over_output_limit(&self) -> bool {
        let info = &self.session.info;
        if info.counted_bytes() == 0 {
            return false;
        }
        let node = &self.thread.node;
        let limits = &node.config.load().clients.client_output_buffer_limit;
        node.clients.enforce_output_limit(info, limits)
    }

    /// How many bytes of replies that are not sent yet the client may have before it is ended: what is longer need not be
    /// built.
    #[inline]
    pub(super) fn output_bytes_left(&self, batch: &Batch<'_>) -> usize {
        let info = &self.session.info;
        let bytes_max = match self.session.reply {
            ReplyMode::On => {
                info.output_bytes_max(&batch.config.clients.client_output_buffer_limit)
            }
            // It will not wait for anything.
            _ => usize::MAX,
        };
        bytes_max.saturating_sub(self.replies.len() + info.outbox.bytes())
    }

    /// Ends the client whose reply was too long to be built.
    #[cold]
    pub(super) fn end_over_output_limit(&mut self) {
        let info = &self.session.info;
        let waiting = self.replies.len() + self.out.overflow_bytes().unwrap_or_default();
        info.output_bytes.store(waiting, Ordering::Relaxed);
        if !info.is_killed() {
            self.thread.node.clients.end_over_output_limit(info);
        }
        self.session.closing = true;
    }
}
