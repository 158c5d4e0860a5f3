//! One connection to another node: requests are written in order, answers come back in order.
//!
//! A lane lives from the first request until its connection has had nothing to do for a minute. Its
//! queue outlives a connection that breaks. What the node cannot have run goes out again, once,
//! on a new connection; so does what only reads. A write of which every byte went out is
//! never sent again: its client is told that the outcome is unknown.
//!
//! A script that a request names by its sha1 is loaded before it, once on each connection. If the node has forgotten it
//! since, the request goes out again, unless later ones of its client are behind it already.
//!
//! A node that does not answer in time is given up with its connection: answers come in order, so
//! everything behind the silent one would wait for it too.

use super::connect::connect;
use super::pool::{LaneKey, Peer, Pool};
use super::redirection::Redirection;
use super::request::{Answered, Fate, Request};
use bytes::{Bytes, BytesMut};
use eagle_core::resp::{ReplyLimits, ReplyScanner, ReplyStep};
use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How long an unused connection is kept.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// Requests on one lane, answered by none yet, beyond which clients wait.
const REQUESTS_MAX: usize = 64 * 1024;
/// Bytes of these requests beyond which clients wait.
const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes handed to the socket at once; what is beyond stays in the queue, where it can be taken back.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Room made for one read.
const READ_BYTES: usize = 16 * 1024;
/// Before a failed attempt to connect is repeated.
const RECONNECT_DELAY: Duration = Duration::from_millis(20);
/// Before a request the node could not run yet is sent again.
const TRY_AGAIN_DELAY: Duration = Duration::from_millis(10);

/// Scripts whose loading a connection remembers; what is loaded once more does no harm.
const LOADED_MAX: usize = 1024;

const NO_SCRIPT: &[u8] = b"-NOSCRIPT ";
pub(super) const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// A lane as the pool sees it.
pub(super) struct Lane {
    pub key: LaneKey,
    /// `host:port`.
    name: String,
    queue: RefCell<VecDeque<Request>>,
    filled: Notify,
    /// Requests in the queue and on the connection.
    requests: Cell<usize>,
    request_bytes: Cell<usize>,
}

impl Lane {
    pub fn new(key: LaneKey) -> Lane {
        Lane {
            name: format!("{}:{}", key.host, key.port),
            key,
            queue: RefCell::default(),
            filled: Notify::new(),
            requests: Cell::new(0),
            request_bytes: Cell::new(0),
        }
    }

    pub fn has_room(&self) -> bool {
        self.requests.get() < REQUESTS_MAX && self.request_bytes.get() < REQUEST_BYTES_MAX
    }

    pub fn push(&self, request: Request) {
        self.requests.set(self.requests.get() + 1);
        self.request_bytes
            .set(self.request_bytes.get() + request.bytes.len());
        self.queue.borrow_mut().push_back(request);
        self.filled.notify_one();
    }

    /// Takes the request off the lane's account; to be called once when it leaves.
    fn release(&self, request: Request) -> Request {
        self.requests.set(self.requests.get() - 1);
        self.request_bytes
            .set(self.request_bytes.get() - request.bytes.len());
        request
    }

    fn fail(&self, request: Request, fate: Fate, why: &str) {
        self.release(request).fail(&self.name, fate, why);
    }

    fn fail_queue(&self, why: &str) {
        let queue = std::mem::take(&mut *self.queue.borrow_mut());
        for request in queue {
            self.fail(request, Fate::NotRun, why);
        }
    }

    /// Connects before the first request in the queue is overdue; a second attempt follows a first
    /// one that failed early.
    async fn connect(&self, pool: &Pool) -> Result<TcpStream, String> {
        let Some(deadline) = self.queue.borrow().front().map(|first| first.deadline) else {
            return Err("nothing to send".to_owned());
        };
        let attempt = async || {
            let login = pool.login();
            let key = &self.key;
            connect(&key.host, key.port, key.dialect, &login).await
        };
        let attempts = async {
            match attempt().await {
                Ok(stream) => Ok(stream),
                Err(_) => {
                    sleep(RECONNECT_DELAY).await;
                    attempt().await.map_err(|error| error.to_string())
                }
            }
        };
        let outcome = timeout_at(deadline, attempts).await;
        outcome.unwrap_or_else(|_| Err("the node did not accept a connection in time".to_owned()))
    }
}

/// The lane's task.
pub(super) async fn run(lane: Rc<Lane>, pool: Rc<Pool>) {
    while !lane.queue.borrow().is_empty() {
        match lane.connect(&pool).await {
            Ok(stream) => {
                let mut wire = Wire::new(&lane, &pool);
                let why = wire.serve(stream).await;
                wire.give_up(&why);
            }
            Err(why) => lane.fail_queue(&why),
        }
    }
    // Nothing runs between the look at the queue and this, so no request is lost.
    pool.remove(&lane.key);
}

/// A request on the connection.
struct Sent {
    request: Request,
    /// Its first byte in all that is to be written.
    begins_at: u64,
    ends_at: u64,
    /// Answers that come first and mean nothing: to ASKING, and to SCRIPT LOAD.
    skipped: usize,
    answered: Answered,
}

/// One connection of a lane.
struct Wire<'a> {
    lane: &'a Lane,
    pool: &'a Rc<Pool>,
    sent: VecDeque<Sent>,
    output: BytesMut,
    /// Bytes that ever stood in `output`, and those of them the socket has taken.
    appended: u64,
    written: u64,
    input: BytesMut,
    scanner: ReplyScanner,
    /// Scripts that this connection has loaded.
    loaded: HashSet<[u8; 40]>,
}

impl<'a> Wire<'a> {
    fn new(lane: &'a Lane, pool: &'a Rc<Pool>) -> Wire<'a> {
        Wire {
            lane,
            pool,
            sent: VecDeque::new(),
            output: BytesMut::new(),
            appended: 0,
            written: 0,
            input: BytesMut::new(),
            scanner: ReplyScanner::new(),
            loaded: HashSet::new(),
        }
    }

    /// Sends and receives until the connection is of no more use; why.
    async fn serve(&mut self, mut stream: TcpStream) -> String {
        let (mut reader, mut writer) = stream.split();
        let mut alarm = pin!(sleep_until(Instant::now() + IDLE_TIME_MAX));
        let mut used_at = Instant::now();
        loop {
            self.take_from_queue();
            if !self.sent.is_empty() {
                used_at = Instant::now();
            }
            let until = self.until(used_at);
            if until < alarm.deadline() {
                alarm.as_mut().reset(until);
            }
            self.input.reserve(READ_BYTES);
            tokio::select! {
                biased;
                count = reader.read_buf(&mut self.input) => match count {
                    Ok(0) => return "the node closed the connection".to_owned(),
                    Ok(_) => if let Err(error) = self.take_answers() {
                        return error.to_string();
                    },
                    Err(error) => return error.to_string(),
                },
                count = writer.write_buf(&mut self.output), if !self.output.is_empty() => match count {
                    Ok(count) => self.written += count as u64,
                    Err(error) => return error.to_string(),
                },
                () = self.lane.filled.notified(), if self.output.len() < OUTPUT_BYTES_MAX => {}
                () = &mut alarm => {
                    let until = self.until(used_at);
                    if until <= Instant::now() {
                        return "no answer in time".to_owned();
                    }
                    alarm.as_mut().reset(until);
                }
            }
        }
    }

    /// When something is to happen if nothing else does.
    fn until(&self, used_at: Instant) -> Instant {
        match self.sent.front() {
            Some(first) => first.request.deadline,
            None => used_at + IDLE_TIME_MAX,
        }
    }

    fn take_from_queue(&mut self) {
        let now = Instant::now();
        let mut queue = self.lane.queue.borrow_mut();
        while self.output.len() < OUTPUT_BYTES_MAX {
            let Some(request) = queue.pop_front() else {
                return;
            };
            if request.deadline <= now {
                let why = "the node did not take it in time";
                self.lane.fail(request, Fate::NotRun, why);
                continue;
            }
            let begins_at = self.appended;
            let before = self.output.len();
            let mut skipped = 0;
            if self.loaded.len() >= LOADED_MAX {
                self.loaded.clear();
            }
            if let Some(script) = &request.script
                && self.loaded.insert(script.sha)
            {
                self.output.extend_from_slice(&script.load);
                skipped += 1;
            }
            if request.asking {
                self.output.extend_from_slice(ASKING);
                skipped += 1;
            }
            self.output.extend_from_slice(&request.bytes);
            self.appended += (self.output.len() - before) as u64;
            self.sent.push_back(Sent {
                begins_at,
                ends_at: self.appended,
                skipped,
                answered: Answered::default(),
                request,
            });
        }
    }

    fn take_answers(&mut self) -> io::Result<()> {
        let limits = ReplyLimits::default();
        while !self.input.is_empty() {
            let len = match self.scanner.next(&self.input, &limits) {
                Ok(ReplyStep::Whole { len }) => len,
                Ok(ReplyStep::Incomplete { need_hint }) => {
                    self.input.reserve(need_hint);
                    return Ok(());
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            };
            let answer = self.input.split_to(len).freeze();
            let Some(first) = self.sent.front_mut() else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the node answered what nobody asked",
                ));
            };
            if first.skipped > 0 {
                first.skipped -= 1;
                continue;
            }
            let due = first.request.answers;
            if let Some(reply) = first.answered.take(due, answer)
                && let Some(first) = self.sent.pop_front()
            {
                self.deliver(first.request, reply);
            }
        }
        Ok(())
    }

    /// Gives the client its answer, or sends the request to where the answer says.
    fn deliver(&mut self, request: Request, answer: Bytes) {
        let mut request = self.lane.release(request);
        if let Some(script) = &request.script
            && answer.starts_with(NO_SCRIPT)
        {
            // The node has been told to forget all scripts.
            self.loaded.remove(&script.sha);
            if request.ticket.is_latest()
                && let Some(left) = request.redirections_left.checked_sub(1)
            {
                request.redirections_left = left;
                request.ticket.disturb();
                let key = &self.lane.key;
                let peer = Peer {
                    host: &key.host,
                    port: key.port,
                };
                return self.pool.submit(peer, request);
            }
        }
        let (host, port, asking) = match Redirection::parse(&answer) {
            None => return request.answer(answer),
            Some(Redirection::TryAgain) => {
                if request.ticket.is_latest() && Instant::now() + TRY_AGAIN_DELAY < request.deadline
                {
                    request.ticket.disturb();
                    self.submit_later(request);
                } else {
                    request.answer(answer);
                }
                return;
            }
            Some(Redirection::Moved { host, port }) => (host, port, false),
            Some(Redirection::Ask { host, port }) => (host, port, true),
        };
        let Some(left) = request.redirections_left.checked_sub(1) else {
            let text = String::from_utf8_lossy(&answer[1..]).trim_end().to_owned();
            let why = format!("redirected too often, at last by {text}");
            return request.fail(&self.lane.name, Fate::NotRun, &why);
        };
        request.redirections_left = left;
        request.asking = asking;
        request.ticket.disturb();
        let host = if host.is_empty() {
            &self.lane.key.host
        } else {
            &host
        };
        self.pool.submit(Peer { host, port }, request);
    }

    fn submit_later(&self, request: Request) {
        let (pool, key) = (self.pool.clone(), self.lane.key.clone());
        tokio::task::spawn_local(async move {
            sleep(TRY_AGAIN_DELAY).await;
            let peer = Peer {
                host: &key.host,
                port: key.port,
            };
            pool.submit(peer, request);
        });
    }

    /// Settles what was on the connection: answered with an error, or back at the queue's front.
    fn give_up(&mut self, why: &str) {
        let now = Instant::now();
        let mut again = VecDeque::new();
        for sent in self.sent.drain(..) {
            let mut request = sent.request;
            let is_untouched = sent.begins_at >= self.written;
            let fate = if sent.ends_at > self.written {
                Fate::NotRun
            } else {
                Fate::Unknown
            };
            let in_time = request.deadline > now;
            if (is_untouched || request.is_read) && request.may_resend && in_time {
                request.may_resend = false;
                again.push_back(request);
            } else {
                self.lane.fail(request, fate, why);
            }
        }
        let mut queue = self.lane.queue.borrow_mut();
        again.append(&mut queue);
        *queue = again;
    }
}
