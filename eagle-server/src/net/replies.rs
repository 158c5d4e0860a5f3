//! Replies on their way to the socket, in the order of the requests.
//!
//! Most replies are bytes already. A forwarded request's reply arrives later; whatever is replied
//! after it waits behind it. What is long goes out from where it was made, since to copy a hundred
//! megabytes would hold up the other clients of the thread.

use bytes::{Buf, Bytes, BytesMut};
use eagle_core::resp::Writer;
use socket2::SockRef;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Forwarded requests of one connection that may be under way at once.
pub const FORWARDED_MAX: usize = 4096;

type Pending = Pin<Box<dyn Future<Output = Bytes>>>;

enum Segment {
    Ready(Bytes),
    Pending(Pending),
}

#[derive(Default)]
pub struct Replies {
    /// Next bytes for the socket.
    ready: BytesMut,
    /// Behind `ready`.
    queue: VecDeque<Segment>,
    /// Bytes in the queue.
    queued_bytes: usize,
    pending: usize,
}

impl Replies {
    /// Appends what `out` holds and empties it.
    pub fn push(&mut self, out: &mut Writer) {
        if out.is_empty() {
            return;
        }
        if self.queue.is_empty() && out.len() < LONG_BYTES_MIN {
            self.ready.extend_from_slice(out.as_bytes());
            out.clear();
        } else {
            self.queued_bytes += out.len();
            self.queue.push_back(Segment::Ready(out.take()));
        }
    }

    /// Appends a message of another client. A long one is not copied before it is sent.
    pub fn push_message(&mut self, message: Bytes) {
        if self.queue.is_empty() && message.len() < SHARED_BYTES_MIN {
            self.ready.extend_from_slice(&message);
        } else {
            self.queued_bytes += message.len();
            self.queue.push_back(Segment::Ready(message));
        }
    }

    /// Appends a reply that arrives later.
    pub fn push_pending(&mut self, reply: Pending) {
        self.queue.push_back(Segment::Pending(reply));
        self.pending += 1;
    }

    /// Writes what can be written now; completes with the count of bytes. Never completes while
    /// there is nothing to write and no reply arrives.
    pub fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.poll_arrived(cx);
        let next = self.next_bytes();
        if next.is_empty() {
            return Poll::Pending;
        }
        let count = ready!(Pin::new(writer).poll_write(cx, next))?;
        self.drop_sent(count);
        Poll::Ready(if count == 0 {
            Err(io::ErrorKind::WriteZero.into())
        } else {
            Ok(count)
        })
    }

    /// Writes to the socket itself, without asking the runtime whether it is ready: mostly it is, and takes all there is.
    /// `None` if it does not, or replies are still to arrive: then [`poll_send`](Self::poll_send) has the word.
    #[inline]
    pub fn try_send(&mut self, socket: impl AsFd) -> Option<usize> {
        if self.ready.is_empty() {
            return None;
        }
        let socket = SockRef::from(&socket);
        let count = socket.send(&self.ready).ok().filter(|count| *count > 0)?;
        self.drop_sent(count);
        Some(count)
    }

    /// Writes what the socket takes at once.
    pub fn send_now(&mut self, socket: &mut impl io::Write) {
        while !self.next_bytes().is_empty() {
            let Ok(count @ 1..) = socket.write(self.next_bytes()) else {
                return;
            };
            self.drop_sent(count);
        }
    }

    /// What is to be written next.
    fn next_bytes(&self) -> &[u8] {
        match self.queue.front() {
            Some(Segment::Ready(bytes)) if self.ready.is_empty() => bytes,
            _ => &self.ready,
        }
    }

    /// Drops so many of [these](Self::next_bytes).
    fn drop_sent(&mut self, count: usize) {
        if count < self.ready.len() {
            self.ready.advance(count);
        } else if self.ready.is_empty() {
            if let Some(Segment::Ready(bytes)) = self.queue.front_mut() {
                bytes.advance(count);
                self.queued_bytes -= count;
                if bytes.is_empty() {
                    self.queue.pop_front();
                }
            }
        } else if self.ready.capacity() > READY_KEPT_MAX {
            self.ready = BytesMut::new();
        } else {
            // Begins again at its front, so that its room is not used up by and by.
            self.ready.clear();
        }
    }

    /// Whether as many requests as allowed are under way.
    pub fn is_full(&self) -> bool {
        self.pending >= FORWARDED_MAX
    }

    /// Bytes waiting here, pending replies not counted.
    pub fn len(&self) -> usize {
        self.ready.len() + self.queued_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.queue.is_empty()
    }

    /// Moves the replies that have arrived, up to the first that has not or is long, to the ready bytes; no more
    /// than are soon to be sent.
    fn poll_arrived(&mut self, cx: &mut Context<'_>) {
        while self.ready.len() < READY_KEPT_MAX
            && let Some(front) = self.queue.front_mut()
        {
            match front {
                Segment::Ready(bytes) if bytes.len() >= LONG_BYTES_MIN => return,
                Segment::Ready(bytes) => {
                    self.queued_bytes -= bytes.len();
                    self.ready.extend_from_slice(bytes);
                }
                Segment::Pending(reply) => match reply.as_mut().poll(cx) {
                    Poll::Pending => return,
                    Poll::Ready(bytes) => {
                        self.queued_bytes += bytes.len();
                        self.pending -= 1;
                        *front = Segment::Ready(bytes);
                        continue;
                    }
                },
            }
            self.queue.pop_front();
        }
    }
}

/// A message of this length waits where it is shared with other clients.
const SHARED_BYTES_MIN: usize = 4 * 1024;

/// A larger buffer is given back once it has been written.
const READY_KEPT_MAX: usize = 64 * 1024;

/// Bytes from which on a reply is not copied to those before it.
const LONG_BYTES_MIN: usize = READY_KEPT_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use eagle_core::resp::Protocol;
    use std::task::Waker;
    use tokio::sync::oneshot;

    #[test]
    fn replies_keep_the_order_of_requests() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut replies = Replies::default();
        let (send_b, b) = oneshot::channel::<Bytes>();
        let (send_d, d) = oneshot::channel::<Bytes>();
        let mut out = Writer::new(Protocol::Resp2);
        let mut push = |replies: &mut Replies, bytes: &[u8]| {
            out.raw(bytes);
            replies.push(&mut out);
        };
        push(&mut replies, b"a");
        replies.push_pending(Box::pin(async { b.await.unwrap() }));
        push(&mut replies, b"c");
        replies.push_pending(Box::pin(async { d.await.unwrap() }));
        push(&mut replies, b"e");
        let mut socket = Vec::new();
        let mut send = |replies: &mut Replies, socket: &mut Vec<u8>| {
            replies.poll_send(socket, &mut cx).is_ready()
        };
        assert!(send(&mut replies, &mut socket));
        assert_eq!(socket, b"a");
        send_d.send(Bytes::from_static(b"d")).unwrap();
        assert!(!send(&mut replies, &mut socket));
        send_b.send(Bytes::from_static(b"b")).unwrap();
        assert!(send(&mut replies, &mut socket));
        assert_eq!(socket, b"abcde");
        assert!(replies.is_empty() && !send(&mut replies, &mut socket));
    }

    /// Takes a few bytes at a time.
    struct Narrow(Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(50_000);
            self.0.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn long_replies_go_out_between_short_ones_from_where_they_are() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut replies = Replies::default();
        let mut out = Writer::new(Protocol::Resp2);
        let (send, later) = oneshot::channel::<Bytes>();
        let long = |byte: u8, len: usize| Bytes::from(vec![byte; len]);
        let mut expected = Vec::new();
        for piece in [
            long(b'a', 3),
            long(b'b', LONG_BYTES_MIN),
            long(b'c', 2),
            long(b'd', 3 * LONG_BYTES_MIN + 1),
        ] {
            expected.extend_from_slice(&piece);
            out.raw(&piece);
            replies.push(&mut out);
        }
        assert_eq!(replies.ready.len(), 3, "what is long was not copied");
        replies.push_message(long(b'e', 2 * LONG_BYTES_MIN));
        replies.push_pending(Box::pin(async { later.await.unwrap() }));
        out.raw(b"g");
        replies.push(&mut out);
        send.send(long(b'f', LONG_BYTES_MIN + 7)).unwrap();
        expected.extend_from_slice(&long(b'e', 2 * LONG_BYTES_MIN));
        expected.extend_from_slice(&long(b'f', LONG_BYTES_MIN + 7));
        expected.push(b'g');
        assert_eq!(replies.len() + LONG_BYTES_MIN + 7, expected.len());
        let mut socket = Narrow(Vec::new());
        while replies.poll_send(&mut socket, &mut cx).is_ready() {}
        assert!(socket.0 == expected);
        assert!(replies.is_empty(), "{} bytes are left", replies.len());
    }
}
