//! What one replica is sent: the answer to its request, a snapshot, and the stream of changes from there on.
//!
//! ```text
//!   transfer (snapshot) --+
//!   unsent (stream) ------+--> out --> socket
//! ```
//!
//! After a snapshot that ends with a mark nothing is sent before the replica has said that it found the mark.

use super::replicas::{Membership, Replica};
use super::transfer::{End, Transfer};
use super::unsent::Unsent;
use crate::clock::unix_ms;
use bytes::{Buf, BytesMut};
use eagle_core::store::RingReader;
use parking_lot::MutexGuard;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;

/// Bytes made ready for the socket in one go.
const OUT_BYTES: usize = 64 << 10;

/// What a replica gets first.
pub enum Start {
    /// What follows a position of the stream.
    Partial { answer: String, reader: RingReader },
    /// A snapshot.
    Full(Arc<Transfer>),
}

/// What is sent to one replica.
pub struct Feed {
    membership: Membership,
    transfer: Option<Arc<Transfer>>,
    out: BytesMut,
    /// The stream waits for the replica to say that it has its snapshot.
    awaits_ack: bool,
}

impl Feed {
    pub fn new(membership: Membership, start: Start) -> Feed {
        let mut feed = Feed {
            membership,
            transfer: None,
            out: BytesMut::new(),
            awaits_ack: false,
        };
        match start {
            Start::Full(transfer) => feed.transfer = Some(transfer),
            Start::Partial { answer, reader } => {
                feed.out.extend_from_slice(answer.as_bytes());
                feed.unsent().open(reader);
                feed.replica().set_online(unix_ms() / 1000);
            }
        }
        feed
    }

    pub fn replica(&self) -> &Arc<Replica> {
        &self.membership.replica
    }

    /// Bytes for the socket.
    pub fn out(&self) -> &[u8] {
        &self.out
    }

    /// The socket has taken so many of them.
    pub fn advance(&mut self, count: usize) {
        self.out.advance(count);
        self.replica().note_taken(unix_ms() / 1000);
    }

    /// Makes bytes ready, as far as there are any; if not, the task is woken when there are. An error ends the connection.
    pub fn fill(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.out.len() < OUT_BYTES {
            self.fill_from_transfer()?;
        }
        if self.is_streaming() {
            let unsent = &self.membership.replica.unsent;
            let taken = unsent.lock().take(&mut self.out, OUT_BYTES);
            taken.map_err(io::Error::other)?;
        }
        let waiting = self.waiting_bytes() as usize;
        let info = &self.replica().client;
        info.output_bytes.store(waiting, Ordering::Relaxed);
        // Nothing is left of the stream: who adds to it wakes the task.
        if self.out.is_empty()
            && self.is_streaming()
            && let Some(reader) = self.unsent().reader()
            && reader.poll(cx.waker())
        {
            // It has come meanwhile.
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    fn unsent(&self) -> MutexGuard<'_, Unsent> {
        self.replica().unsent.lock()
    }

    fn is_streaming(&self) -> bool {
        self.transfer.is_none() && (!self.awaits_ack || self.replica().has_acked())
    }

    fn fill_from_transfer(&mut self) -> io::Result<()> {
        let Some(transfer) = &self.transfer else {
            return Ok(());
        };
        transfer.take(&mut self.out, OUT_BYTES);
        // The snapshot is through when the socket has all of it.
        let Some(end) = transfer.ended().filter(|_| self.out.is_empty()) else {
            return Ok(());
        };
        let replica = self.membership.replica.clone();
        if end == End::Failed {
            return Err(io::Error::other("the snapshot could not be written"));
        }
        if replica.offer.snapshot_only {
            tracing::info!(
                "RDB transfer completed, rdb only replica ({}) is disconnected",
                replica.name()
            );
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.awaits_ack = end == End::Marked;
        self.transfer = None;
        replica.set_online(unix_ms() / 1000);
        tracing::info!("Synchronization with replica {} succeeded", replica.name());
        Ok(())
    }

    /// Bytes that the replica has yet to take.
    fn waiting_bytes(&self) -> u64 {
        let transfer = self
            .transfer
            .as_ref()
            .map_or(0, |transfer| transfer.bytes());
        self.unsent().bytes() + (self.out.len() + transfer) as u64
    }

    /// Whether something waits: how much is to be looked at often.
    pub fn is_pressed(&self) -> bool {
        !self.out.is_empty() || (self.unsent().is_open() && !self.is_streaming())
    }

    /// To be called once a second: a replica that waits for its snapshot hears that it is not forgotten.
    pub fn tick(&mut self) {
        let waits = self
            .transfer
            .as_ref()
            .is_some_and(|transfer| !transfer.has_begun() && transfer.bytes() == 0);
        if waits && self.out.is_empty() {
            self.out.extend_from_slice(b"\n");
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(transfer) = &self.transfer {
            transfer.abandon();
        }
    }
}
