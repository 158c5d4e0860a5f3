//! A connection whose client has become a replica: it is sent what its [`Feed`] has, and says now and then how far it is.

use super::connection::{Connection, Progress, poll_read};
use crate::repl::Feed;
use crate::session::Alert;
use socket2::SockRef;
use std::future::{Future, poll_fn};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// How often it is looked how much waits, while that cannot be sent.
const LOOK: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_secs(1);

/// Why the loop goes on.
enum Event {
    Sent(usize),
    Read(usize),
    Time,
    Ended,
}

impl Connection {
    /// Serves the replica to its end.
    pub(super) async fn feed<S: AsyncRead + AsyncWrite + AsFd + Unpin>(
        &mut self,
        stream: &mut S,
        mut feed: Box<Feed>,
    ) {
        let info = self.session.info.clone();
        let replication = &self.thread.node.config.snapshot().replication;
        if replication.repl_disable_tcp_nodelay {
            let _ = SockRef::from(&*stream).set_tcp_nodelay(false);
        }
        info.blocked.store(false, Ordering::Relaxed);
        let mut timer = pin!(tokio::time::sleep(LOOK));
        let mut ticked = Instant::now();
        loop {
            if !self.obey(&feed) {
                break;
            }
            let (backlog, config) = (&info.backlog_bytes, self.thread.config());
            backlog.store(config.replication.repl_backlog_size, Ordering::Relaxed);
            drop(config);
            if self.is_over_output_limit() {
                break;
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                feed.tick();
            }
            let pause = if feed.is_pressed() { LOOK } else { TICK };
            timer.as_mut().reset(tokio::time::Instant::now() + pause);
            let event = poll_fn(|cx| {
                if let Poll::Ready(Alert::Killed) = info.poll_alert(cx) {
                    return Poll::Ready(Event::Ended);
                }
                // Messages of other clients have no place in the stream.
                info.outbox.take_any();
                if let Err(error) = feed.fill(cx) {
                    tracing::info!(
                        "Connection with replica {} ends: {error}",
                        feed.replica().name()
                    );
                    return Poll::Ready(Event::Ended);
                }
                // First, so that what the replica has to say is heard while there is always something to send.
                if let Poll::Ready(read) = poll_read::<_, ()>(stream, &mut self.input, cx) {
                    return Poll::Ready(read.read_bytes().map_or(Event::Ended, Event::Read));
                }
                if !feed.out().is_empty()
                    && let Poll::Ready(sent) = Pin::new(&mut *stream).poll_write(cx, feed.out())
                {
                    return Poll::Ready(match sent {
                        Ok(count @ 1..) => Event::Sent(count),
                        Ok(0) | Err(_) => Event::Ended,
                    });
                }
                timer.as_mut().poll(cx).map(|()| Event::Time)
            })
            .await;
            match event {
                Event::Sent(count) => {
                    feed.advance(count);
                    self.thread.stats.net_repl_output_bytes.add(count as u64);
                }
                Event::Read(count) => self.count_read(count),
                Event::Time => {}
                Event::Ended => break,
            }
        }
        tracing::info!("Connection with replica {} lost.", feed.replica().name());
    }

    /// Runs what the replica has sent; whether it may stay one.
    fn obey(&mut self, feed: &Feed) -> bool {
        loop {
            let progress = self.process();
            if !self.out.is_empty() {
                tracing::warn!(
                    "Replica generated a reply, disconnecting it: {}",
                    feed.replica().name()
                );
                return false;
            }
            match progress {
                Progress::Drained { room } => {
                    self.make_room(room);
                    let unread = self.input.len();
                    let info = &self.session.info;
                    info.query_bytes.store(unread, Ordering::Relaxed);
                    let room = self.input.capacity() - unread;
                    info.query_room_bytes.store(room, Ordering::Relaxed);
                    return true;
                }
                Progress::Yield => {}
                // A replica has nothing to wait for.
                _ => return false,
            }
        }
    }
}
