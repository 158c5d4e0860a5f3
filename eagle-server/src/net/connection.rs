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
use super::replies::Replies;
use super::worker::Incoming;
use crate::clock::unix_ms;
use crate::command::blocking::Blocked;
use crate::command::{self, Batch, Counted, Flow};
use crate::metrics::SlotUsage;
use crate::node::{Node, Parked, Thread};
use crate::session::{Alert, ClientInfo, Session};
use bytes::{Buf, BytesMut};
use eagle_core::resp::{Limits, Parser, Protocol, Step, Writer, lookahead};
use eagle_core::store::PREFETCH_MAX;
use smallvec::SmallVec;
use std::future::{Future, poll_fn};
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroize;

/// Room made for one read.
const READ_BYTES: usize = 16 * 1024;
/// Replies held before requests are left unread in the buffer until some are written.
const OUTPUT_BYTES_HIGH: usize = 16 * 1024 * 1024;
/// Array elements of one request.
const ARGUMENTS_MAX: usize = 1024 * 1024;
/// Requests run before other connections of the thread get their turn.
const BATCH_MAX: usize = 4096;

/// Serves one connection to its end.
pub(super) async fn serve(thread: Rc<Thread>, incoming: Incoming) {
    match incoming {
        Incoming::Tcp(stream) => serve_tcp(thread, stream).await,
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
            serve_stream(thread, stream, info).await;
        }
    }
}

async fn serve_tcp(thread: Rc<Thread>, stream: std::net::TcpStream) {
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
    serve_stream(thread, stream, info).await;
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

async fn serve_stream<S: AsyncRead + AsyncWrite + Unpin + AsRawFd>(
    thread: Rc<Thread>,
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
        parser: Parser::new(),
        input: BytesMut::new(),
        input_size: 0,
        used_at_ms: 0,
        parsed: None,
        session,
        awaited_slot: None,
        out: Writer::new(Protocol::Resp2),
        replies: Replies::default(),
    });
    let parking = Parking::new(fd);
    let parked: Weak<dyn Parked> = Rc::downgrade(&(parking.clone() as Rc<dyn Parked>));
    thread.park(parked);
    connection.run(stream, parking).await;
}

/// Also when a bug in a command unwinds: the connection is lost, but nothing of it stays behind.
impl Drop for Connection {
    fn drop(&mut self) {
        let node = &self.thread.node;
        self.session.discard(&node.watch, node.keyspace.watchers());
        node.clients.remove(self.session.info.id);
        node.forget_listener(&self.session.info);
        node.clients.forget_memory(&self.session.info);
    }
}

pub(super) struct Connection {
    thread: Rc<Thread>,
    /// What the last requests, run beside a slow script, left to be done.
    left: Option<Progress>,
    parser: Parser,
    input: BytesMut,
    /// Bytes `input` has room for when it is empty.
    input_size: usize,
    /// When `input` was last full to a good part (Unix milliseconds).
    used_at_ms: u64,
    /// Length of a request that was parsed but could not run yet.
    parsed: Option<usize>,
    session: Session,
    /// The slot that the answer of the command the client waits for is counted for.
    awaited_slot: Option<u16>,
    out: Writer,
    replies: Replies,
}

/// Why a parked connection goes on.
enum Woken {
    Alert(Alert),
    Shutdown,
    Read(usize),
    /// Requests have been run that left something to be done.
    Served,
}

/// Why [`Connection::process`] stopped.
enum Progress {
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
    Blocked(Blocked),
    Closing,
}

impl Connection {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        mut self: Box<Self>,
        stream: S,
        parking: Rc<Parking>,
    ) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let info = self.session.info.clone();
        let node = self.thread.node.clone();
        let mut shutdown = pin!(node.shutdown.requested());
        let mut is_trimmed = false;
        loop {
            self.collect_mail();
            let progress = match self.left.take() {
                Some(progress) => progress,
                None => self.process(),
            };
            self.replies.push(&mut self.out);
            self.collect_mail();
            self.note_sizes();
            if self.is_over_output_limit() {
                return;
            }
            self.count_memory();
            if info.is_killed() {
                return;
            }
            // Bytes that must be read for the next step, and for which there had better be room.
            let (mut read, mut needed) = (true, READ_BYTES);
            match progress {
                Progress::Drained { room } => needed = room,
                Progress::Yield => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Progress::OutputFull => read = self.input.len() < self.query_bytes_max(),
                Progress::Closing => {
                    self.finish(&mut writer, shutdown).await;
                    return;
                }
                Progress::Paused { wait_ms } => {
                    let pause = &node.pause;
                    info.blocked
                        .store(pause.current(unix_ms()).is_some(), Ordering::Relaxed);
                    // What was replied before goes out meanwhile; it may be what this waits for.
                    tokio::select! {
                        biased;
                        alert = poll_fn(|cx| info.poll_alert(cx)) => if alert == Alert::Killed { return },
                        () = &mut shutdown => return,
                        sent = poll_fn(|cx| self.replies.poll_send(&mut writer, cx)) => {
                            let Ok(count) = sent else { return };
                            self.thread.stats.net_output_bytes.add(count as u64);
                            self.thread.stats.writes_processed.add(1);
                        }
                        () = pause.wait(wait_ms) => {}
                    }
                    info.blocked.store(false, Ordering::Relaxed);
                    continue;
                }
                Progress::Later(mut reply) => {
                    info.blocked.store(true, Ordering::Relaxed);
                    let reply = loop {
                        tokio::select! {
                            biased;
                            alert = poll_fn(|cx| info.poll_alert(cx)) => {
                                if alert == Alert::Killed { return }
                                self.collect_mail();
                            }
                            () = &mut shutdown => return,
                            sent = poll_fn(|cx| self.replies.poll_send(&mut writer, cx)) => {
                                let Ok(count) = sent else { return };
                                self.thread.stats.net_output_bytes.add(count as u64);
                                self.thread.stats.writes_processed.add(1);
                            }
                            reply = &mut reply => break reply,
                        }
                    };
                    info.blocked.store(false, Ordering::Relaxed);
                    self.out.raw(&reply);
                    continue;
                }
                Progress::Blocked(blocked) => {
                    let mut answer = pin!(blocked.answer());
                    let answer = loop {
                        if self.input.capacity() - self.input.len() < READ_BYTES / 2 {
                            self.input.reserve(READ_BYTES);
                        }
                        let read = self.input.len() < self.query_bytes_max();
                        // Reading on is how the end of the connection shows.
                        tokio::select! {
                            biased;
                            alert = poll_fn(|cx| info.poll_alert(cx)) => {
                                if alert == Alert::Killed { return }
                                self.collect_mail();
                            }
                            () = &mut shutdown => return,
                            answer = &mut answer => break answer,
                            sent = poll_fn(|cx| self.replies.poll_send(&mut writer, cx)) => {
                                let Ok(count) = sent else { return };
                                self.thread.stats.net_output_bytes.add(count as u64);
                                self.thread.stats.writes_processed.add(1);
                            }
                            count = reader.read_buf(&mut self.input), if read => {
                                let Ok(count @ 1..) = count else { return };
                                self.thread.stats.net_input_bytes.add(count as u64);
                                self.thread.stats.reads_processed.add(1);
                            }
                        }
                    };
                    if let Some(slot) = self.awaited_slot.take() {
                        let usage = SlotUsage {
                            bytes_out: answer.reply.len() as u64,
                            ..SlotUsage::default()
                        };
                        node.slot_stats.add(slot, usage);
                    }
                    self.out.raw(&answer.reply);
                    self.session.closing |= answer.closing;
                    continue;
                }
            }
            self.shrink_input();
            let room = self.input.capacity() - self.input.len();
            if read && !is_trimmed && room < needed.min(READ_BYTES / 2) {
                self.input.reserve(needed.max(READ_BYTES));
                self.input_size = self.input.capacity();
                self.note_sizes();
            }
            if !is_trimmed && self.can_park() {
                // Beside a slow script on this thread, the connection is served by whoever finds it there.
                let mut input = std::mem::take(&mut self.input);
                parking.put(self);
                let woken = tokio::select! {
                    biased;
                    alert = poll_fn(|cx| info.poll_alert(cx)) => Woken::Alert(alert),
                    () = &mut shutdown => Woken::Shutdown,
                    count = reader.read_buf(&mut input) => Woken::Read(count.unwrap_or(0)),
                    () = parking.served.notified() => Woken::Served,
                };
                let Some(parked) = parking.take() else { return };
                self = parked;
                if self.input.is_empty() {
                    self.input = input;
                } else {
                    self.input.extend_from_slice(&input);
                }
                match woken {
                    Woken::Alert(Alert::Killed) | Woken::Shutdown | Woken::Read(0) => return,
                    Woken::Alert(Alert::Trim) => is_trimmed = self.give_back_input(),
                    Woken::Alert(Alert::Mail) | Woken::Served => {}
                    Woken::Read(count) => {
                        self.thread.stats.net_input_bytes.add(count as u64);
                        self.thread.stats.reads_processed.add(1);
                    }
                }
                continue;
            }
            let mut first = [0u8];
            tokio::select! {
                biased;
                alert = poll_fn(|cx| info.poll_alert(cx)) => match alert {
                    Alert::Killed => return,
                    Alert::Mail => {}
                    Alert::Trim => is_trimmed = self.give_back_input(),
                },
                () = &mut shutdown => return,
                sent = poll_fn(|cx| self.replies.poll_send(&mut writer, cx)) => {
                    let Ok(count) = sent else { return };
                    self.thread.stats.net_output_bytes.add(count as u64);
                    self.thread.stats.writes_processed.add(1);
                }
                count = async {
                    match is_trimmed {
                        false => reader.read_buf(&mut self.input).await,
                        true => reader.read(&mut first).await,
                    }
                }, if read => {
                    let Ok(count @ 1..) = count else { return };
                    // A buffer that was given back is made again when something comes.
                    if std::mem::take(&mut is_trimmed) {
                        self.input.reserve(READ_BYTES);
                        self.input_size = self.input.capacity();
                        self.input.extend_from_slice(&first);
                    }
                    self.thread.stats.net_input_bytes.add(count as u64);
                    self.thread.stats.reads_processed.add(1);
                }
            }
        }
    }

    /// Whether nothing is under way but waiting for requests.
    fn can_park(&self) -> bool {
        self.input.is_empty() && self.parsed.is_none() && self.replies.is_empty()
    }

    /// Reads, runs and replies without the runtime; whether more remains to be done by the task.
    pub(super) fn serve_beside_script(&mut self, socket: &mut socket2::Socket) -> bool {
        let mut bytes = [0; READ_BYTES];
        while self.left.is_none() && self.input.len() < self.query_bytes_max() {
            // The end of the connection is left for the task to find.
            let Ok(count @ 1..) = socket.read(&mut bytes) else {
                break;
            };
            self.input.extend_from_slice(&bytes[..count]);
            self.thread.stats.net_input_bytes.add(count as u64);
            let progress = self.process();
            self.replies.push(&mut self.out);
            self.replies.send_now(socket);
            if !matches!(progress, Progress::Drained { .. }) {
                self.left = Some(progress);
            }
        }
        self.left.is_some() || !self.can_park()
    }

    /// Moves what others have said to the client behind the replies so far.
    fn collect_mail(&mut self) {
        if self.session.info.outbox.bytes() == 0 {
            return;
        }
        self.replies.push(&mut self.out);
        for message in self.session.info.outbox.take() {
            self.replies.push_message(message);
        }
        self.note_sizes();
    }

    /// Runs the requests in the read buffer.
    fn process(&mut self) -> Progress {
        if self.session.closing {
            return Progress::Closing;
        }
        if self.input.is_empty() {
            return Progress::Drained { room: READ_BYTES };
        }
        self.note_sizes();
        let thread = self.thread.clone();
        let guard = thread.node.keyspace.pin();
        let mut batch = Batch::new(&thread, &guard);
        let mut warm = 0;
        for _ in 0..BATCH_MAX {
            if self.out.len() + self.replies.len() > OUTPUT_BYTES_HIGH || self.replies.is_full() {
                return Progress::OutputFull;
            }
            let consumed = match self.parsed.take() {
                Some(consumed) => consumed,
                None => match self
                    .parser
                    .next(&self.input, &limits(&batch, &self.session))
                {
                    Ok(Step::Command { consumed }) => consumed,
                    Ok(Step::Blank { consumed }) => {
                        self.input.advance(consumed);
                        continue;
                    }
                    Ok(Step::Incomplete { need_hint }) => {
                        if self.input.len()
                            > batch.config.clients.client_query_buffer_limit as usize
                        {
                            return self.refuse_query();
                        }
                        return Progress::Drained { room: need_hint };
                    }
                    Err(error) => {
                        self.out.error(error.line());
                        self.session.closing = true;
                        return Progress::Closing;
                    }
                },
            };
            if warm == 0 && self.input.len() > consumed {
                warm = prefetch(&batch, self.session.db, &self.input);
            }
            warm = warm.saturating_sub(1);
            let argv: SmallVec<[&[u8]; 16]> = self.parser.argv(&self.input).iter().collect();
            let counted = command::counted(&batch, &self.session, &argv, self.out.len());
            let flow = command::run(&mut batch, &mut self.session, &mut self.out, &argv);
            drop(argv);
            if let Flow::Paused { wait_ms } = flow {
                self.parsed = Some(consumed);
                return Progress::Paused { wait_ms };
            }
            if let Some(counted) = counted {
                self.count_for_slot(&counted, &batch, &flow, consumed);
            }
            if self.session.forget_redacted() {
                self.input[..consumed].zeroize();
            }
            self.input.advance(consumed);
            match flow {
                Flow::Later(reply) => return Progress::Later(reply),
                Flow::Blocked(blocked) => return Progress::Blocked(blocked),
                Flow::Forwarded(reply) => {
                    self.replies.push(&mut self.out);
                    self.replies.push_pending(reply);
                }
                Flow::Done | Flow::Paused { .. } => {}
            }
            if self.session.closing {
                return Progress::Closing;
            }
            if self.input.is_empty() {
                return Progress::Drained { room: READ_BYTES };
            }
        }
        Progress::Yield
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
            cpu_ns: (batch.clock - counted.since).as_nanos() as u64,
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

    fn query_bytes_max(&self) -> usize {
        self.thread
            .node
            .config
            .load()
            .clients
            .client_query_buffer_limit as usize
    }

    fn note_sizes(&self) {
        let info = &self.session.info;
        // What is parsed of a long request is not waiting any more.
        let waiting = self.input.len().saturating_sub(self.parser.parsed_bytes());
        info.query_bytes.store(waiting, Ordering::Relaxed);
        let room = self.input_size.saturating_sub(waiting);
        info.query_room_bytes.store(room, Ordering::Relaxed);
        info.output_bytes
            .store(self.replies.len(), Ordering::Relaxed);
    }

    /// Gives back a large read buffer that has not been needed for a while.
    fn shrink_input(&mut self) {
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
    fn give_back_input(&mut self) -> bool {
        let is_empty = self.input.is_empty();
        if is_empty {
            self.input = BytesMut::new();
            self.input_size = 0;
            self.note_sizes();
        }
        is_empty
    }

    /// Counts the connection's memory while `maxmemory-clients` limits it.
    fn count_memory(&self) {
        let node = &self.thread.node;
        let config = node.config.load();
        if let Some(bytes_max) = config
            .clients
            .maxmemory_clients
            .bytes(config.memory.maxmemory)
        {
            node.clients.count_memory(&self.session.info, bytes_max);
        }
    }

    /// Whether the client lets more wait than `client-output-buffer-limit` allows.
    fn is_over_output_limit(&self) -> bool {
        let info = &self.session.info;
        if info.counted_bytes() == 0 {
            return false;
        }
        let node = &self.thread.node;
        let limits = &node.config.load().clients.client_output_buffer_limit;
        node.clients.enforce_output_limit(info, limits)
    }

    /// Writes what is still to be said, then closes.
    async fn finish<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        shutdown: Pin<&mut impl Future<Output = ()>>,
    ) {
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
            () = shutdown => {}
        }
    }
}

/// Brings what the next requests will look at into the cache; how many requests.
fn prefetch(batch: &Batch<'_>, db: u8, input: &[u8]) -> usize {
    let mut keys: SmallVec<[&[u8]; PREFETCH_MAX]> = SmallVec::new();
    let seen = lookahead(input, PREFETCH_MAX, &mut |key| keys.push(key));
    if keys.len() > 1 {
        let keyspace = &batch.thread.node.keyspace;
        keyspace.prefetch(batch.guard, db, &keys);
    }
    seen
}

fn limits(batch: &Batch<'_>, session: &Session) -> Limits {
    Limits {
        args_max: ARGUMENTS_MAX,
        bulk_bytes_max: batch.config.clients.proto_max_bulk_len as usize,
        unauthenticated: !session.authenticated,
    }
}
