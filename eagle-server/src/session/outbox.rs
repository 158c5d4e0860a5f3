//! What others have to say to a client: messages of publishers, invalidations, lines of MONITOR.
//!
//! ```text
//!   any thread      push --> queue --+
//!                                    +--> replies of the connection --> socket
//!   its own thread  replies ---------+
//! ```
//!
//! Any thread appends whole messages; the connection's own thread moves them in between two replies.
//! Messages of one thread to one client keep their order. A client that nobody writes to pays one look at
//! a counter for each request.
//!
//! Rules:
//!
//! 1. Nobody but the connection's task takes messages out or registers a waker.
//! 2. A message is a whole reply, so that it may stand between any two others.
//! 3. The queue is bounded by `client-output-buffer-limit`: whoever appends checks it
//!    ([`ClientInfo::send`](super::ClientInfo::send)) and ends a client that does not read.

use bytes::Bytes;
use eagle_core::resp::{Protocol, Writer};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

/// Messages on their way to one client.
#[derive(Default)]
pub struct Outbox {
    queue: Mutex<Vec<Bytes>>,
    /// Bytes in the queue.
    bytes: AtomicUsize,
    /// Wakes the connection's task. Taken by the first who has something for it.
    waker: Mutex<Option<Waker>>,
}

impl Outbox {
    /// Appends a message; the bytes that wait now. The caller wakes the connection.
    pub fn push(&self, message: Bytes) -> usize {
        let mut queue = self.queue.lock();
        let bytes = self.bytes.fetch_add(message.len(), Ordering::AcqRel) + message.len();
        queue.push(message);
        bytes
    }

    /// Takes all messages, in order.
    pub fn take(&self) -> Vec<Bytes> {
        let mut queue = self.queue.lock();
        self.bytes.store(0, Ordering::Release);
        std::mem::take(&mut *queue)
    }

    /// Takes all messages, if there are any; cheap if not.
    #[inline]
    pub fn take_any(&self) -> Vec<Bytes> {
        if self.bytes() == 0 {
            Vec::new()
        } else {
            self.take()
        }
    }

    /// Bytes that wait.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Wakes the connection's task, if it sleeps.
    pub fn wake(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Has the connection's task woken by the next [`Outbox::wake`]. To be followed by a look at what it waits for:
    /// who came before finds no waker.
    pub fn register(&self, waker: &Waker) {
        let mut slot = self.waker.lock();
        if slot.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }
}

/// One message for many clients: encoded once for each version of the protocol, when the first asks for it.
pub struct Message<F> {
    write: F,
    encoded: [Option<Bytes>; 2],
}

impl<F: Fn(&mut Writer)> Message<F> {
    pub fn new(write: F) -> Message<F> {
        Message {
            write,
            encoded: [None, None],
        }
    }

    /// The message's bytes for a client that speaks `protocol`.
    pub fn bytes(&mut self, protocol: Protocol) -> Bytes {
        let encoded = &mut self.encoded[usize::from(protocol == Protocol::Resp3)];
        encoded
            .get_or_insert_with(|| {
                let mut out = Writer::new(protocol);
                (self.write)(&mut out);
                out.take()
            })
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn messages_keep_their_order_and_wake_once() {
        let outbox = Outbox::default();
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        outbox.register(&Waker::from(flag.clone()));
        assert_eq!(outbox.push(Bytes::from_static(b"one")), 3);
        outbox.wake();
        assert!(flag.0.swap(false, Ordering::SeqCst));
        assert_eq!(outbox.push(Bytes::from_static(b"two!")), 7);
        outbox.wake();
        assert!(
            !flag.0.load(Ordering::SeqCst),
            "nobody has registered again"
        );
        assert_eq!(outbox.take(), [&b"one"[..], b"two!"]);
        assert_eq!((outbox.bytes(), outbox.take().len()), (0, 0));
    }

    #[test]
    fn threads_do_not_lose_messages() {
        let outbox = Arc::new(Outbox::default());
        let threads: Vec<_> = (0..4u8)
            .map(|thread| {
                let outbox = outbox.clone();
                std::thread::spawn(move || {
                    for number in 0..1000u32 {
                        let mut message = vec![thread];
                        message.extend(number.to_be_bytes());
                        outbox.push(message.into());
                        outbox.wake();
                    }
                })
            })
            .collect();
        let mut next = [0u32; 4];
        while next.iter().sum::<u32>() < 4000 {
            for message in outbox.take() {
                let number = u32::from_be_bytes(message[1..].try_into().unwrap());
                let expected = &mut next[usize::from(message[0])];
                assert_eq!(number, *expected);
                *expected += 1;
            }
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn a_message_is_encoded_for_both_protocols() {
        let mut message = Message::new(|out: &mut Writer| {
            out.push(2);
            out.bulk("a");
            out.null();
        });
        assert_eq!(
            message.bytes(Protocol::Resp2),
            &b"*2\r\n$1\r\na\r\n$-1\r\n"[..]
        );
        assert_eq!(
            message.bytes(Protocol::Resp3),
            &b">2\r\n$1\r\na\r\n_\r\n"[..]
        );
    }
}
