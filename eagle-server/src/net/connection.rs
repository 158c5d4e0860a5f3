//! One client connection: bytes in, requests run, replies out.
//!
//! ```text
//!            bytes                  requests                    replies
//!   socket ---------> read buffer ----------> command::run ---------------> socket
//!                         ^                        |
//!                         +------ not yet run <----+  paused, waiting for another node, output full
//! ```
//!
//! Reading goes on while replies cannot be written, or a client that sends a long pipeline before
//! it reads would wait for us while we wait for it. Both buffers are bounded by configuration
//! (`client-query-buffer-limit`, `client-output-buffer-limit`).

use super::parking::Parking;
use super::reactor::{READ_BYTES, Reactor};
use super::replies::Replies;
use super::requests::{ARGUMENTS_FEW, ARGUMENTS_INLINE, Requests, filled};
use super::stream::ClientStream;
use super::worker::Incoming;
use crate::clock::unix_ms;
use crate::command::blocking::Blocked;
use crate::command::{self, Batch, Counted, Flow};
use crate::metrics::SlotUsage;
use crate::node::{Node, Parked, Thread};
use crate::repl::Feed;
use crate::session::{Alert, ClientInfo, Session, Taker};
use crate::tracking::Turn;
use bytes::{Buf, BytesMut};
use eagle_core::resp::{Protocol, Step, Writer};
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroize;

/// Replies held before requests are left unread in the buffer until some are written.
const OUTPUT_BYTES_HIGH: usize = 16 * 1024 * 1024;
/// Requests run before other connections of the thread get their turn.
const BATCH_MAX: usize = 4096;
/// Waits for requests, with nothing else between them, until the reactor is to serve a connection.
const CALM_WAITS_MIN: u32 = 8;

/// Serves one connection to its end.
pub(super) async fn serve(thread: Rc<Thread>, reactor: Rc<Reactor>, incoming: Incoming) {
    match incoming {
        Incoming::Tcp(stream) => serve_tcp(thread, reactor, stream).await,
        Incoming::Unix(stream, path) => {
            if stream.set_nonblocking(true).is_err() {
                return;
            }
            let Ok(stream) = tokio::net::UnixStream::from_std(stream) else {
                return;
            };
            let id = thread.node.clients.next_id();
            let addr = format!("{path}:0");
            let info = ClientInfo::new(id, addr.clone(), addr, None, stream.as_raw_fd(), unix_ms());
            serve_stream(thread, reactor, stream, info).await;
        }
    }
}

async fn serve_tcp(thread: Rc<Thread>, reactor: Rc<Reactor>, stream: std::net::TcpStream) {
    let _ = stream.set_nodelay(true);
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
        return;
    };
    let keepalive = thread.node.config.load().network.tcp_keepalive;
    if keepalive > 0 {
        let every = Duration::from_secs(keepalive as u64);
        let probes = socket2::TcpKeepalive::new()
            .with_time(every)
            .with_interval(every / 3)
            .with_retries(3);
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&probes);
    }
    let Ok(mut stream) = stream
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpStream::from_std(stream))
    else {
        return;
    };
    if is_protected(&thread.node, peer) {
        thread.stats.connections_rejected.add(1);
        let _ = stream.write_all(PROTECTED.as_bytes()).await;
        return;
    }
    let id = thread.node.clients.next_id();
    let info = ClientInfo::new(
        id,
        peer.to_string(),
        local.to_string(),
        Some(peer),
        stream.as_raw_fd(),
        unix_ms(),
    );
    serve_stream(thread, reactor, stream, info).await;
}

/// Protected mode: without a password only this machine may connect.
fn is_protected(node: &Node, peer: SocketAddr) -> bool {
    let config = node.config.load();
    config.network.protected_mode
        && node.acl.default_user().user().is_nopass()
        && !peer.ip().to_canonical().is_loopback()
}

const PROTECTED: &str = "-DENIED EagleDB is running in protected mode because protected mode is enabled and no \
     password is set for the default user. In this mode connections are only accepted from the loopback interface. \
     To accept connections from other hosts set a password (requirepass), or turn protected mode off with \
     'CONFIG SET protected-mode no' from this machine and with 'protected-mode no' in the configuration file.\r\n";

async fn serve_stream<S: ClientStream>(
    thread: Rc<Thread>,
    reactor: Rc<Reactor>,
    mut stream: S,
    info: ClientInfo,
) {
    let fd = stream.as_raw_fd();
    let node = thread.node.clone();
    let config = node.config.load();
    let info = Arc::new(info);
    if !node
        .clients
        .insert(info.clone(), config.clients.maxclients as usize)
    {
        thread.stats.connections_rejected.add(1);
        let _ = stream
            .write_all(b"-ERR max number of clients reached\r\n")
            .await;
        return;
    }
    thread.stats.connections_received.add(1);
    let session = Session::new(info.clone(), node.acl.default_user());
    let connection = Box::new(Connection {
        thread: thread.clone(),
        left: None,
        turn: Turn::default(),
        requests: Requests::new(),
        input: BytesMut::new(),
        input_size: 0,
        used_at_ms: 0,
        session,
        awaited_slot: None,
        out: Writer::new(Protocol::Resp2),
        replies: Replies::default(),
        has_wiped: false,
    });
    let parking = Parking::new(fd, info);
    let parked: Weak<dyn Parked> = Rc::downgrade(&(parking.clone() as Rc<dyn Parked>));
    thread.park(parked);
    connection.run(stream, parking, reactor).await;
}

/// Also when a bug in a command unwinds: the connection is lost, but nothing of it stays behind.
impl Drop for Connection {
    fn drop(&mut self) {
        self.tell_turn();
        let node = &self.thread.node;
        self.session.discard(&node.watch, node.keyspace.watchers());
        node.clients.remove(self.session.info.id);
        node.forget_listener(&self.session.info);
        node.end_tracking(&self.session.info);
        node.clients.forget_memory(&self.session.info);
    }
}

pub(super) struct Connection {
    pub(super) thread: Rc<Thread>,
    /// What the last requests, run without the task, left for it to do.
    pub(super) left: Option<Left>,
    /// What its turn has changed, while that lasts beyond its requests.
    pub(super) turn: Turn,
    pub(super) requests: Requests,
    pub(super) input: BytesMut,
    /// Bytes `input` has room for when it is empty.
    pub(super) input_size: usize,
    /// When `input` was last full to a good part (Unix milliseconds).
    pub(super) used_at_ms: u64,
    pub(super) session: Session,
    /// The slot that the answer of the command the client waits for is counted for.
    awaited_slot: Option<u16>,
    pub(super) out: Writer,
    pub(super) replies: Replies,
    /// A request had secrets in it: whoever has copied it wipes the copy.
    pub(super) has_wiped: bool,
}

/// What requests leave that were run without the connection's task.
pub(super) struct Left {
    pub(super) progress: Progress,
    pub(super) has_ended_turn: bool,
}

/// Why a connection goes on.
pub(super) enum Event<T> {
    Alert(Alert),
    /// So many bytes were written.
    Sent(usize),
    /// So many bytes were read, at least one.
    Read(usize),
    /// The client is gone.
    Ended,
    /// What was waited for besides.
    Other(T),
}

impl<T> Event<T> {
    /// How many bytes were read, if any.
    pub(super) fn read_bytes(self) -> Option<usize> {
        match self {
            Event::Read(count) => Some(count),
            _ => None,
        }
    }
}

/// Waits as a parked connection does: until it was served and something is left to be done, or bytes come.
#[inline]
fn poll_parked<S: AsyncRead + Unpin>(
    info: &ClientInfo,
    parking: &Parking,
    stream: &mut S,
    input: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<Event<()>> {
    if let Some(alert) = info.alert() {
        return Poll::Ready(Event::Alert(alert));
    }
    if parking.was_served() {
        return Poll::Ready(Event::Other(()));
    }
    let read = poll_read(stream, input, cx);
    if read.is_ready() {
        return read;
    }
    // Only who goes to sleep has to be woken.
    info.poll_alert(cx).map(Event::Alert)
}

#[inline]
pub(super) fn poll_read<S: AsyncRead + Unpin, T>(
    stream: &mut S,
    input: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<Event<T>> {
    let read = pin!(stream.read_buf(input));
    read.poll(cx).map(|count| match count {
        Ok(count @ 1..) => Event::Read(count),
        Ok(0) | Err(_) => Event::Ended,
    })
}

/// Why [`Connection::process`] stopped.
pub(super) enum Progress {
    /// All whole requests have run; room for so many more bytes is worth making.
    Drained {
        room: usize,
    },
    /// Other connections are to have their turn.
    Yield,
    /// Replies must be written first.
    OutputFull,
    Paused {
        wait_ms: u64,
    },
    Later(Pin<Box<dyn Future<Output = Vec<u8>>>>),
    Blocked(Box<Blocked>),
    /// The client is a replica from now on.
    Replica(Box<Feed>),
    Closing,
}

impl Connection {
    async fn run<S: ClientStream>(
        mut self: Box<Self>,
        mut stream: S,
        parking: Rc<Parking>,
        reactor: Rc<Reactor>,
    ) {
        let info = self.session.info.clone();
        let node = self.thread.node.clone();
        let mut is_trimmed = false;
        let mut calm_waits = 0;
        loop {
            self.collect_mail();
            let left = self.left.take();
            let has_ended_turn = left.as_ref().is_some_and(|left| left.has_ended_turn);
            let progress = left.map_or_else(|| self.process(), |left| left.progress);
            self.replies.push(&mut self.out);
            if !has_ended_turn {
                self.end_turn(&progress);
            }
            self.collect_mail();
            self.note_sizes();
            if self.is_over_output_limit() {
                return;
            }
            self.count_memory();
            if info.is_killed() {
                return;
            }
            // Mostly the socket takes all there is to say at once.
            let Ok(written) = self.write_now(&mut stream).await else {
                return;
            };
            // Bytes that must be read for the next step, and for which there had better be room.
            let (mut read, mut needed) = (true, READ_BYTES);
            if !matches!(progress, Progress::Drained { .. }) {
                calm_waits = 0;
            }
            match progress {
                Progress::Drained { room } => needed = room,
                Progress::Yield => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Progress::OutputFull if written > 0 => continue,
                Progress::OutputFull => read = self.input.len() < self.query_bytes_max(),
                Progress::Closing => {
                    self.finish(&mut stream).await;
                    return;
                }
                Progress::Replica(feed) => {
                    self.feed(&mut stream, feed).await;
                    return;
                }
                Progress::Paused { wait_ms } => {
                    let pause = &node.pause;
                    info.blocked
                        .store(pause.current(unix_ms()).is_some(), Ordering::Relaxed);
                    // What was replied before goes out meanwhile; it may be what this waits for.
                    let mut ended = pin!(pause.wait(wait_ms));
                    match self.wait(&mut stream, None, ended.as_mut()).await {
                        Event::Alert(Alert::Killed) | Event::Ended => return,
                        Event::Sent(count) => self.count_sent(count),
                        Event::Alert(_) | Event::Read(_) | Event::Other(()) => {}
                    }
                    info.blocked.store(false, Ordering::Relaxed);
                    continue;
                }
                Progress::Later(reply) => match self.reply_later(&mut stream, reply).await {
                    Some(()) => continue,
                    None => return,
                },
                Progress::Blocked(blocked) => {
                    let mut answer = pin!(blocked.answer());
                    let answer = loop {
                        if self.input.capacity() - self.input.len() < READ_BYTES / 2 {
                            self.input.reserve(READ_BYTES);
                        }
                        // Reading on is how the end of the connection shows.
                        let input = self.input.len() < self.query_bytes_max();
                        let mut buffer = std::mem::take(&mut self.input);
                        let input = input.then_some(&mut buffer);
                        let event = self.wait(&mut stream, input, answer.as_mut()).await;
                        self.input = buffer;
                        match event {
                            Event::Alert(Alert::Killed) | Event::Ended => return,
                            Event::Alert(_) => self.collect_mail(),
                            Event::Sent(count) => self.count_sent(count),
                            Event::Read(count) => self.count_read(count),
                            Event::Other(answer) => break answer,
                        }
                    };
                    if let Some(slot) = self.awaited_slot.take() {
                        let usage = SlotUsage {
                            bytes_out: answer.reply.len() as u64,
                            ..SlotUsage::default()
                        };
                        node.slot_stats.add(slot, usage);
                    }
                    self.replies.push(&mut self.out);
                    self.replies.push_message(answer.reply.into());
                    self.session.closing |= answer.closing;
                    continue;
                }
            }
            self.shrink_input();
            if calm_waits >= CALM_WAITS_MIN && self.input.is_empty() && self.replies.is_empty() {
                calm_waits = 0;
                parking.put(self);
                let Ok((back, event)) = stream.serve_in(&reactor, &parking).await else {
                    return;
                };
                let Some(parked) = parking.take() else { return };
                (self, stream) = (parked, back);
                is_trimmed = self.input_size == 0;
                if let Event::Alert(Alert::Killed) = event {
                    return;
                }
                continue;
            }
            let room = self.input.capacity() - self.input.len();
            if read && !is_trimmed && room < needed.min(READ_BYTES / 2) {
                self.make_room(needed);
                self.note_sizes();
            }
            let mut input = std::mem::take(&mut self.input);
            let event = if !is_trimmed && input.is_empty() && self.replies.is_empty() {
                calm_waits += 1;
                // Beside a slow script on this thread, the connection is served by whoever finds it there.
                parking.put(self);
                let event = poll_fn(|cx| poll_parked(&info, &parking, &mut stream, &mut input, cx));
                let event = event.await;
                let Some(parked) = parking.take() else { return };
                self = parked;
                event
            } else {
                calm_waits = 0;
                // A buffer that was given back is made again when something comes.
                let mut first = BytesMut::new();
                if is_trimmed && read {
                    first.reserve(1);
                }
                let buffer = if is_trimmed { &mut first } else { &mut input };
                let event = self
                    .wait(&mut stream, read.then_some(buffer), pending::<()>())
                    .await;
                if is_trimmed && matches!(event, Event::Read(_)) {
                    is_trimmed = false;
                    input.reserve(READ_BYTES);
                    self.input_size = input.capacity();
                    input.extend_from_slice(&first);
                }
                event
            };
            // What was served beside a script may have left something.
            if self.input.is_empty() {
                self.input = input;
            } else {
                self.input.extend_from_slice(&input);
            }
            match event {
                Event::Alert(Alert::Killed) | Event::Ended => return,
                Event::Alert(Alert::Trim) => is_trimmed = self.give_back_input(),
                Event::Alert(Alert::Mail) | Event::Other(()) => calm_waits = 0,
                Event::Sent(count) => self.count_sent(count),
                Event::Read(count) => self.count_read(count),
            }
        }
    }

    /// Writes what the socket takes without waiting; how many bytes.
    async fn write_now<S: AsyncWrite + AsFd + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> io::Result<usize> {
        if self.replies.is_empty() {
            return Ok(0);
        }
        let count = match self.replies.try_send(&*stream) {
            Some(count) => count,
            None => match poll_fn(|cx| Poll::Ready(self.replies.poll_send(stream, cx))).await {
                Poll::Ready(written) => written?,
                Poll::Pending => return Ok(0),
            },
        };
        self.count_sent(count);
        self.note_sizes();
        self.count_memory();
        Ok(count)
    }

    /// Waits for the next thing to happen: `other`, something others want of the client, replies that can be written, and
    /// if there is an `input` buffer, bytes that can be read into it.
    pub(super) async fn wait<S: AsyncRead + AsyncWrite + Unpin, T>(
        &mut self,
        stream: &mut S,
        mut input: Option<&mut BytesMut>,
        other: impl Future<Output = T>,
    ) -> Event<T> {
        let mut other = pin!(other);
        poll_fn(|cx| {
            if let Poll::Ready(alert) = self.session.info.poll_alert(cx) {
                return Poll::Ready(Event::Alert(alert));
            }
            if let Poll::Ready(output) = other.as_mut().poll(cx) {
                return Poll::Ready(Event::Other(output));
            }
            if let Poll::Ready(sent) = self.replies.poll_send(stream, cx) {
                return Poll::Ready(sent.map_or(Event::Ended, Event::Sent));
            }
            match &mut input {
                Some(input) => poll_read(stream, input, cx),
                None => Poll::Pending,
            }
        })
        .await
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.thread.stats.net_output_bytes.add(bytes as u64);
        self.thread.stats.writes_processed.add(1);
    }

    pub(super) fn count_read(&self, bytes: usize) {
        self.thread.stats.net_input_bytes.add(bytes as u64);
        self.thread.stats.reads_processed.add(1);
    }

    /// Moves what others have said to the client behind the replies so far.
    #[inline]
    pub(super) fn collect_mail(&mut self) {
        if self.session.info.outbox.bytes() > 0 {
            self.take_mail();
        }
    }

    #[inline(never)]
    fn take_mail(&mut self) {
        self.replies.push(&mut self.out);
        for message in self.session.info.outbox.take() {
            self.replies.push_message(message);
        }
        self.note_sizes();
    }

    /// Runs the requests in the read buffer.
    pub(super) fn process(&mut self) -> Progress {
        let thread = self.thread.clone();
        let guard = thread.node.keyspace.pin();
        self.process_in(&mut Batch::new(&thread, &guard))
    }

    /// Runs the requests in the read buffer, in a batch that has just begun or been renewed.
    pub(super) fn process_in(&mut self, batch: &mut Batch<'_>) -> Progress {
        if self.session.closing {
            return Progress::Closing;
        }
        if self.input.is_empty() {
            return Progress::Drained { room: READ_BYTES };
        }
        self.note_sizes();
        let mut done = 0;
        let progress = self.process_requests(batch, &mut done);
        // The buffer is about to change.
        self.requests.forget_ahead();
        batch.known.clear();
        if done == self.input.len() {
            // Begins again at its front, so that its room is not used up by and by.
            self.input.clear();
        } else {
            self.input.advance(done);
        }
        progress
    }

    /// Runs the requests in the read buffer. `done` becomes the number of bytes that need not be kept.
    fn process_requests(&mut self, batch: &mut Batch<'_>, done: &mut usize) -> Progress {
        for _ in 0..BATCH_MAX {
            if self.out.len() + self.replies.len() > OUTPUT_BYTES_HIGH || self.replies.is_full() {
                return Progress::OutputFull;
            }
            let input = &self.input[*done..];
            let consumed = match self.requests.next(batch, &self.session, input) {
                Ok(Step::Command { consumed }) => consumed,
                Ok(Step::Blank { consumed }) => {
                    *done += consumed;
                    continue;
                }
                Ok(Step::Incomplete { need_hint }) => {
                    if input.len() > batch.config.clients.client_query_buffer_limit as usize {
                        return self.refuse_query();
                    }
                    return Progress::Drained { room: need_hint };
                }
                Err(error) => {
                    self.out.error(error.line());
                    self.session.closing = true;
                    return Progress::Closing;
                }
            };
            let words = self.requests.argv(input);
            // Places that are never used cost something to make, too.
            let (mut few, mut some, many);
            let argv = if words.len() <= ARGUMENTS_FEW {
                few = [&[][..]; ARGUMENTS_FEW];
                filled(&mut few, words)
            } else if words.len() <= ARGUMENTS_INLINE {
                some = [&[][..]; ARGUMENTS_INLINE];
                filled(&mut some, words)
            } else {
                many = words.iter().collect::<Vec<&[u8]>>();
                &many
            };
            self.out.set_bytes_max(self.output_bytes_left(batch));
            let authenticated = self.session.authenticated;
            let counted = command::counted(batch, &self.session, argv, self.out.len());
            self.session.handover.offer();
            let flow = command::run(batch, &mut self.session, &mut self.out, argv);
            if let Flow::Paused { wait_ms } = flow {
                self.requests.put_back(consumed);
                return Progress::Paused { wait_ms };
            }
            if let Some(counted) = counted {
                self.count_for_slot(&counted, batch, &flow, consumed);
            }
            if self.session.forget_redacted() {
                self.input[*done..*done + consumed].zeroize();
                self.has_wiped = true;
            }
            match self.session.handover.end() {
                None => *done += consumed,
                Some(taker) => {
                    let end = std::mem::take(done) + consumed;
                    self.hand_over(end, consumed, taker);
                }
            }
            if self.session.authenticated != authenticated {
                // What may be sent depends on it.
                self.requests.forget_ahead();
            }
            match flow {
                Flow::Done | Flow::Paused { .. } => {}
                Flow::Later(reply) => return Progress::Later(reply),
                Flow::Blocked(blocked) => return Progress::Blocked(blocked),
                Flow::Replica(feed) => return Progress::Replica(feed),
                Flow::Forwarded(reply) => {
                    self.replies.push(&mut self.out);
                    self.replies.push_pending(reply);
                }
            }
            if self.out.has_overflowed() {
                self.end_over_output_limit();
            }
            if self.session.closing {
                return Progress::Closing;
            }
            if *done == self.input.len() {
                return Progress::Drained { room: READ_BYTES };
            }
        }
        Progress::Yield
    }

    /// Gives the last `consumed` of the first `end` bytes of the read buffer, a request, to who goes on with it. None of
    /// the bytes before its end are kept.
    fn hand_over(&mut self, end: usize, consumed: usize, taker: Taker) {
        self.input.advance(end - consumed);
        let request = self.input.split_to(consumed).freeze();
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.input_size = 0;
        }
        taker.give(self.requests.argv(&request).iter(), &request);
        self.requests.forget_ahead();
    }

    /// Adds a request that has run to what its slot has cost.
    fn count_for_slot(
        &mut self,
        counted: &Counted,
        batch: &Batch<'_>,
        flow: &Flow,
        consumed: usize,
    ) {
        let usage = SlotUsage {
            cpu_ns: batch.clock.nanos_since(counted.since),
            bytes_in: consumed as u64,
            bytes_out: self.out.len().saturating_sub(counted.out_bytes) as u64,
        };
        self.thread.node.slot_stats.add(counted.slot, usage);
        if matches!(flow, Flow::Blocked(_)) {
            self.awaited_slot = Some(counted.slot);
        }
    }

    fn refuse_query(&mut self) -> Progress {
        self.thread.stats.query_limit_disconnections.add(1);
        tracing::warn!(
            "Closing client that reached max query buffer length: id={} addr={}",
            self.session.info.id,
            self.session.info.addr
        );
        self.session.closing = true;
        Progress::Closing
    }

    /// Writes what is still to be said, then closes.
    async fn finish<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) {
        let info = self.session.info.clone();
        let killed = poll_fn(|cx| match info.poll_alert(cx) {
            Poll::Ready(Alert::Killed) => Poll::Ready(()),
            _ => Poll::Pending,
        });
        let replies = &mut self.replies;
        let flush = async {
            while !replies.is_empty() {
                if poll_fn(|cx| replies.poll_send(writer, cx)).await.is_err() {
                    return;
                }
            }
            let _ = writer.shutdown().await;
        };
        tokio::select! {
            () = flush => {}
            () = killed => {}
        }
    }
}
