//! Replies on their way to the socket, in the order of the requests.
//!
//! Most replies are bytes already. A forwarded request's reply arrives later; whatever is replied
//! after it waits behind it.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Forwarded requests of one connection that may be under way at once.
pub const FORWARDED_MAX: usize = 4096;

type Pending = Pin<Box<dyn Future<Output = Bytes>>>;

enum Segment {
    Ready(Vec<u8>),
    Pending(Pending),
}

#[derive(Default)]
pub struct Replies {
    /// Next bytes for the socket.
    ready: BytesMut,
    /// Behind `ready`; begins with a pending reply unless it is empty.
    queue: VecDeque<Segment>,
    pending: usize,
}

impl Replies {
    /// Appends the bytes of `written` and empties it.
    pub fn push_bytes(&mut self, written: &mut Vec<u8>) {
        if written.is_empty() {
            return;
        }
        if self.queue.is_empty() {
            self.ready.extend_from_slice(written);
            written.clear();
        } else {
            self.queue.push_back(Segment::Ready(std::mem::take(written)));
        }
    }

    /// Appends a reply that arrives later.
    pub fn push_pending(&mut self, reply: Pending) {
        self.queue.push_back(Segment::Pending(reply));
        self.pending += 1;
    }

    /// Bytes that can be written now.
    pub fn ready(&self) -> &[u8] {
        &self.ready
    }

    /// Drops `count` written bytes.
    pub fn advance(&mut self, count: usize) {
        self.ready.advance(count);
        if self.ready.is_empty() && self.ready.capacity() > READY_KEPT_MAX {
            self.ready = BytesMut::new();
        }
    }

    pub fn has_pending(&self) -> bool {
        self.pending > 0
    }

    /// Whether as many requests as allowed are under way.
    pub fn is_full(&self) -> bool {
        self.pending >= FORWARDED_MAX
    }

    /// Bytes waiting here, pending replies not counted.
    pub fn len(&self) -> usize {
        let queued: usize = self.queue.iter().map(|s| if let Segment::Ready(bytes) = s { bytes.len() } else { 0 }).sum();
        self.ready.len() + queued
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.queue.is_empty()
    }

    /// Completes once more bytes are ready to be written. Never completes when nothing is pending.
    pub fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut arrived = false;
        while let Some(front) = self.queue.front_mut() {
            match front {
                Segment::Ready(bytes) => self.ready.extend_from_slice(bytes),
                Segment::Pending(reply) => match reply.as_mut().poll(cx) {
                    Poll::Pending => break,
                    Poll::Ready(bytes) => {
                        self.ready.extend_from_slice(&bytes);
                        self.pending -= 1;
                    }
                },
            }
            arrived = true;
            self.queue.pop_front();
        }
        if arrived { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A larger buffer is given back once it has been written.
const READY_KEPT_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::sync::oneshot;

    #[test]
    fn replies_keep_the_order_of_requests() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut replies = Replies::default();
        let (send_b, b) = oneshot::channel::<Bytes>();
        let (send_d, d) = oneshot::channel::<Bytes>();
        replies.push_bytes(&mut b"a".to_vec());
        replies.push_pending(Box::pin(async { b.await.unwrap() }));
        replies.push_bytes(&mut b"c".to_vec());
        replies.push_pending(Box::pin(async { d.await.unwrap() }));
        replies.push_bytes(&mut b"e".to_vec());
        assert_eq!(replies.ready(), b"a");
        send_d.send(Bytes::from_static(b"d")).unwrap();
        assert!(replies.poll_arrived(&mut cx).is_pending());
        send_b.send(Bytes::from_static(b"b")).unwrap();
        assert!(replies.poll_arrived(&mut cx).is_ready());
        assert_eq!(replies.ready(), b"abcde");
        replies.advance(5);
        assert!(replies.is_empty() && !replies.has_pending());
        assert!(replies.poll_arrived(&mut cx).is_pending());
    }
}
