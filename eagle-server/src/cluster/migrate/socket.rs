//! Connections to the nodes keys go to. A resharding sends thousands of MIGRATEs to one node, so a
//! connection is kept for a while after use.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// Unused connections kept by one thread.
const IDLE_MAX: usize = 64;
/// How long an unused connection is kept.
const IDLE_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes given to one write, each with the whole time limit to itself.
const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Longest answer that is read; longer ones are no Redis.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// Client port; `None` if what was given is none.
    pub port: Option<u16>,
    /// Whether AUTH is sent. A connection that somebody authenticated is never given to a request
    /// without credentials of its own.
    pub with_auth: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Socket {
    stream: BufReader<TcpStream>,
    /// The database selected there, if known.
    pub db: Option<i64>,
}

impl Socket {
    /// Connects within `limit`.
    pub async fn connect(target: &Target, limit: Duration) -> io::Result<Socket> {
        let port = target.port.ok_or(io::ErrorKind::InvalidInput)?;
        let stream = within(limit, TcpStream::connect((&*target.host, port))).await?;
        stream.set_nodelay(true)?;
        Ok(Socket {
            stream: BufReader::new(stream),
            db: None,
        })
    }

    /// Sends all of `bytes`.
    pub async fn write(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        for chunk in bytes.chunks(WRITE_BYTES_MAX) {
            within(limit, self.stream.write_all(chunk)).await?;
        }
        Ok(())
    }

    /// Reads one line, without its end.
    pub async fn read_line(&mut self, limit: Duration) -> io::Result<Vec<u8>> {
        within(limit, read_line(&mut self.stream)).await
    }
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        let available = stream.fill_buf().await?;
        if available.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = memchr::memchr(b'\n', available);
        let taken = end.map_or(available.len(), |at| at + 1);
        line.extend_from_slice(&available[..taken]);
        stream.consume(taken);
        if end.is_some() {
            let end = line.len() - if line.ends_with(b"\r\n") { 2 } else { 1 };
            line.truncate(end);
            return Ok(line);
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// The unused connections of one thread.
#[derive(Debug, Default)]
pub struct SocketCache {
    /// Oldest first.
    idle: Vec<(Target, Socket, Instant)>,
    /// Whether a task waits to close what gets too old.
    swept: bool,
    /// How many connections the caches of all threads keep.
    kept: Arc<AtomicUsize>,
    /// How many of them are this cache's.
    counted: usize,
}

impl SocketCache {
    /// An empty cache whose connections are counted among those `kept`.
    pub fn new(kept: Arc<AtomicUsize>) -> SocketCache {
        SocketCache {
            kept,
            ..SocketCache::default()
        }
    }

    /// An unused connection to `target`, which is no longer in the cache.
    pub fn take(&mut self, target: &Target) -> Option<Socket> {
        let at = self.idle.iter().rposition(|(to, ..)| to == target)?;
        let (_, socket, _) = self.idle.remove(at);
        self.count();
        Some(socket)
    }

    /// Keeps a connection for the next transfer to `target`; the oldest makes room if need be.
    ///
    /// Runs inside a `LocalSet`, where a task closes what is not used in time.
    pub fn keep(cache: &Rc<RefCell<SocketCache>>, target: &Target, socket: Socket) {
        let mut this = cache.borrow_mut();
        if this.idle.len() == IDLE_MAX {
            this.idle.remove(0);
        }
        this.idle.push((target.clone(), socket, Instant::now()));
        this.count();
        if !std::mem::replace(&mut this.swept, true) {
            tokio::task::spawn_local(sweep(cache.clone()));
        }
    }

    fn count(&mut self) {
        let before = std::mem::replace(&mut self.counted, self.idle.len());
        self.kept.fetch_add(self.idle.len(), Ordering::Relaxed);
        self.kept.fetch_sub(before, Ordering::Relaxed);
    }

    /// Closes what is too old at `now`; when the next one will be.
    fn close_old(&mut self, now: Instant) -> Option<Instant> {
        self.idle
            .retain(|(_, _, since)| *since + IDLE_TIME_MAX > now);
        self.count();
        let next = self
            .idle
            .first()
            .map(|(_, _, since)| *since + IDLE_TIME_MAX);
        self.swept = next.is_some();
        next
    }
}

async fn sweep(cache: Rc<RefCell<SocketCache>>) {
    let mut next = Some(Instant::now() + IDLE_TIME_MAX);
    while let Some(at) = next {
        sleep_until(at).await;
        next = cache.borrow_mut().close_old(Instant::now());
    }
}
