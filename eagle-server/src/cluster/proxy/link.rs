//! Connections to other nodes that serve one client alone: while it waits for a key there, or watches keys there.
//!
//! A link is taken for one purpose and given back when nothing of that is left on it; a link that is dropped closes its
//! connection, which ends at the node whatever it was for. A few are kept for the next who needs one. How many are in use at
//! once is bounded by `cluster-proxy-dedicated-connections`, over all threads.

use super::Dialect;
use super::connect::{ConnectError, Login, ask, connect};
use super::request::encode;
use bytes::{Bytes, BytesMut};
use eagle_core::resp::{ReplyLimits, ReplyScanner, ReplyStep};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

/// How long an unused link is kept.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// Unused links that one thread keeps.
const IDLE_MAX: usize = 16;
const READ_BYTES: usize = 4 * 1024;

/// Why there is no link.
#[derive(Debug)]
pub enum LinkError {
    /// As many are in use as the configuration allows.
    TooMany,
    /// There is no connection.
    Failed(String),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::TooMany => f.write_str(
                "too many clients need a connection of their own (cluster-proxy-dedicated-connections)",
            ),
            LinkError::Failed(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> LinkError {
        LinkError::Failed(error.to_string())
    }
}

impl From<ConnectError> for LinkError {
    fn from(error: ConnectError) -> LinkError {
        LinkError::Failed(error.to_string())
    }
}

/// One of the links in use, as they are counted.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection to another node.
#[derive(Debug)]
pub struct Link {
    wire: Wire,
    _counted: Counted,
}

#[derive(Debug)]
struct Wire {
    stream: TcpStream,
    input: BytesMut,
    scanner: ReplyScanner,
    host: String,
    port: u16,
    dialect: Dialect,
    /// What the node calls this connection (CLIENT ID).
    id: i64,
    unused_since: Instant,
}

impl Wire {
    /// Whether nothing came that nobody asked for, nor the end of the connection.
    fn is_quiet(&self) -> bool {
        let nothing = self.stream.try_read(&mut [0]);
        nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Link {
    /// Whether the node still holds the connection, as far as can be seen. Nothing must be under way on it.
    pub fn is_alive(&self) -> bool {
        self.wire.is_quiet()
    }

    /// Sends encoded requests.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.stream.write_all(bytes).await
    }

    /// The next reply. May be dropped before it completes and called again.
    pub async fn receive(&mut self) -> io::Result<Bytes> {
        let wire = &mut self.wire;
        loop {
            match wire.scanner.next(&wire.input, &ReplyLimits::default()) {
                Ok(ReplyStep::Whole { len }) => return Ok(wire.input.split_to(len).freeze()),
                Ok(ReplyStep::Incomplete { need_hint }) => {
                    wire.input.reserve(need_hint.max(READ_BYTES));
                    if wire.stream.read_buf(&mut wire.input).await? == 0 {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the node closed the connection",
                        ));
                    }
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }

    /// The request that selects a database, unless it is selected already. It must be sent next.
    pub fn select(&mut self, db: u8) -> Option<Bytes> {
        if self.wire.dialect.db == db {
            return None;
        }
        self.wire.dialect.db = db;
        Some(encode(&[b"SELECT", db.to_string().as_bytes()]))
    }

    /// What the node calls this connection.
    pub fn id(&self) -> i64 {
        self.wire.id
    }

    /// `host:port`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.wire.host, self.wire.port)
    }

    /// Whether it leads to this address.
    pub fn leads_to(&self, host: &str, port: u16) -> bool {
        self.wire.host == host && self.wire.port == port
    }
}

/// The links of one thread.
pub(super) struct Links {
    idle: RefCell<Vec<Wire>>,
    /// Links in use, of all threads.
    in_use: Arc<AtomicUsize>,
    is_sweeping: Cell<bool>,
}

impl Links {
    pub fn new(in_use: Arc<AtomicUsize>) -> Links {
        Links {
            idle: RefCell::default(),
            in_use,
            is_sweeping: Cell::new(false),
        }
    }

    /// A link that nothing is under way on.
    pub async fn take(
        &self,
        (host, port): (&str, u16),
        dialect: Dialect,
        login: &Login,
        in_use_max: usize,
        until: Instant,
    ) -> Result<Link, LinkError> {
        let counted = Counted(self.in_use.clone());
        if self.in_use.fetch_add(1, Ordering::AcqRel) >= in_use_max {
            return Err(LinkError::TooMany);
        }
        while let Some(wire) = self.take_idle(host, port, dialect) {
            if wire.is_quiet() {
                return Ok(Link {
                    wire,
                    _counted: counted,
                });
            }
        }
        let connecting = async {
            let mut stream = connect(host, port, dialect, login).await?;
            let answer = ask(&mut stream, &mut BytesMut::new(), &[b"CLIENT", b"ID"]).await?;
            let id = answer
                .strip_prefix(b":")
                .and_then(|text| text.strip_suffix(b"\r\n"))
                .and_then(eagle_core::text::integer::parse_i64);
            let id = id.ok_or_else(|| {
                LinkError::Failed("the node does not say what it calls the connection".to_owned())
            })?;
            Ok(Wire {
                stream,
                input: BytesMut::new(),
                scanner: ReplyScanner::new(),
                host: host.to_owned(),
                port,
                dialect,
                id,
                unused_since: Instant::now(),
            })
        };
        let wire = timeout_at(until, connecting).await.unwrap_or_else(|_| {
            Err(LinkError::Failed(
                "the node did not accept a connection in time".to_owned(),
            ))
        })?;
        Ok(Link {
            wire,
            _counted: counted,
        })
    }

    fn take_idle(&self, host: &str, port: u16, dialect: Dialect) -> Option<Wire> {
        let mut idle = self.idle.borrow_mut();
        let fits = |wire: &Wire| {
            wire.host == host
                && wire.port == port
                && wire.dialect == dialect
                && wire.unused_since.elapsed() < IDLE_TIME_MAX
        };
        let position = idle.iter().rposition(fits)?;
        Some(idle.swap_remove(position))
    }

    /// Keeps a link on which nothing is under way for the next.
    pub fn give_back(self: &Rc<Links>, link: Link) {
        let mut wire = link.wire;
        if !wire.input.is_empty() {
            return;
        }
        wire.unused_since = Instant::now();
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push(wire);
        if !self.is_sweeping.replace(true) {
            tokio::task::spawn_local(self.clone().sweep());
        }
    }

    /// Closes links that have not been used for long, until none is left.
    async fn sweep(self: Rc<Links>) {
        while !self.idle.borrow().is_empty() {
            sleep(IDLE_TIME_MAX).await;
            let mut idle = self.idle.borrow_mut();
            idle.retain(|wire| wire.unused_since.elapsed() < IDLE_TIME_MAX);
        }
        self.is_sweeping.set(false);
    }
}

/// The request that ends the wait of the client `id`.
pub fn encode_unblock(id: i64) -> Bytes {
    let id = id.to_string();
    encode(&[b"CLIENT", b"UNBLOCK", id.as_bytes(), b"TIMEOUT"])
}
