//! All connected clients, as CLIENT LIST, CLIENT KILL and INFO see them.

use super::caching::Caching;
use super::memory::{ClientMemory, Share};
use super::outbox::Outbox;
use super::subscriptions::Subscriptions;
use crate::acl::Identity;
use crate::config::special::{OutputLimit, OutputLimits};
use bytes::Bytes;
use eagle_core::resp::Protocol;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

const RELAXED: Ordering = Ordering::Relaxed;

/// Client classes of `CLIENT LIST TYPE` and of the output buffer limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientKind {
    Normal,
    Master,
    Replica,
    Pubsub,
}

impl ClientKind {
    /// The class named `word`.
    pub fn parse(word: &[u8]) -> Option<ClientKind> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Some(ClientKind::Normal),
            b"master" => Some(ClientKind::Master),
            b"slave" | b"replica" => Some(ClientKind::Replica),
            b"pubsub" => Some(ClientKind::Pubsub),
            _ => None,
        }
    }
}

/// What others may see of a client. The connection's worker writes it, anybody reads it, so the
/// hot fields are relaxed atomics.
pub struct ClientInfo {
    pub id: u64,
    /// `ip:port`, or the socket's path with `:0`.
    pub addr: String,
    /// The address the client connected to.
    pub laddr: String,
    pub peer: Option<SocketAddr>,
    pub fd: i32,
    pub unix_socket: bool,
    pub connected_at_ms: u64,
    name: Mutex<String>,
    user: Mutex<Option<Arc<Identity>>>,
    library: Mutex<(String, String)>,
    db: AtomicU8,
    resp3: AtomicBool,
    last_active_ms: AtomicU64,
    last_command: AtomicUsize,
    /// Commands queued in MULTI, -1 outside.
    multi: AtomicI64,
    multi_bytes: AtomicUsize,
    watching: AtomicUsize,
    pub query_bytes: AtomicUsize,
    pub query_room_bytes: AtomicUsize,
    pub output_bytes: AtomicUsize,
    pub no_evict: AtomicBool,
    pub no_touch: AtomicBool,
    pub readonly: AtomicBool,
    pub blocked: AtomicBool,
    /// Its shard channels are listened to wherever their slots are (`cluster-routing proxy`).
    pub follows_slots: AtomicBool,
    killed: AtomicBool,
    /// What others have to say to the client.
    pub outbox: Outbox,
    pub subscriptions: Subscriptions,
    /// What CLIENT TRACKING asked for.
    pub caching: Caching,
    /// The client is in MONITOR.
    pub monitors: AtomicBool,
    /// The client is a replica.
    pub is_replica: AtomicBool,
    /// Of a replica: bytes it may be behind in any case.
    pub backlog_bytes: AtomicU64,
    /// Since when (Unix seconds) more waits to be written than the soft limit allows; 0 while it does not.
    over_soft_limit_since_s: AtomicU64,
    /// The read buffer is to be given back: the client has been silent for a while.
    trim: AtomicBool,
    pub(super) share: Share,
    /// Ends the wait for something that is no key (WAIT), with an error or not.
    wait: Mutex<Option<oneshot::Sender<bool>>>,
}

/// Why a connection's task is woken besides its socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alert {
    /// The client is to be closed.
    Killed,
    /// Messages wait in the outbox.
    Mail,
    /// The read buffer is to be given back.
    Trim,
}

/// Bytes of replies that do not count against the limits: what Redis keeps in a client's fixed buffer.
pub const OUTPUT_BYTES_FREE: usize = 16 * 1024;

impl ClientInfo {
    pub fn new(
        id: u64,
        addr: String,
        laddr: String,
        peer: Option<SocketAddr>,
        fd: i32,
        now_ms: u64,
    ) -> ClientInfo {
        ClientInfo {
            id,
            addr,
            laddr,
            peer,
            fd,
            unix_socket: peer.is_none(),
            connected_at_ms: now_ms,
            name: Mutex::default(),
            user: Mutex::default(),
            library: Mutex::default(),
            db: AtomicU8::new(0),
            resp3: AtomicBool::new(false),
            last_active_ms: AtomicU64::new(now_ms),
            last_command: AtomicUsize::new(usize::MAX),
            multi: AtomicI64::new(-1),
            multi_bytes: AtomicUsize::new(0),
            watching: AtomicUsize::new(0),
            query_bytes: AtomicUsize::new(0),
            query_room_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            readonly: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            follows_slots: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            outbox: Outbox::default(),
            subscriptions: Subscriptions::default(),
            caching: Caching::default(),
            monitors: AtomicBool::new(false),
            is_replica: AtomicBool::new(false),
            backlog_bytes: AtomicU64::new(0),
            over_soft_limit_since_s: AtomicU64::new(0),
            trim: AtomicBool::new(false),
            share: Share::default(),
            wait: Mutex::default(),
        }
    }

    /// The client waits for something that is no key; what comes is whether the wait is to end in an error.
    pub fn begin_wait(&self) -> oneshot::Receiver<bool> {
        let (end, ended) = oneshot::channel();
        *self.wait.lock() = Some(end);
        ended
    }

    /// Whether it waits so.
    pub fn is_waiting(&self) -> bool {
        let wait = self.wait.lock();
        wait.as_ref().is_some_and(|end| !end.is_closed())
    }

    /// Ends such a wait; whether there was one.
    pub fn end_wait(&self, with_error: bool) -> bool {
        let end = self.wait.lock().take();
        end.is_some_and(|end| end.send(with_error).is_ok())
    }

    /// Whether the client runs on this machine.
    pub fn is_local(&self) -> bool {
        self.peer
            .is_none_or(|peer| peer.ip().to_canonical().is_loopback())
    }

    pub fn name(&self) -> String {
        self.name.lock().clone()
    }

    pub fn set_name(&self, name: &str) {
        name.clone_into(&mut self.name.lock());
    }

    /// Name of the client's user.
    pub fn user_name(&self) -> Vec<u8> {
        let user = self.user.lock();
        user.as_ref()
            .map_or_else(Vec::new, |user| user.name().to_vec())
    }

    pub fn set_user(&self, user: &Arc<Identity>) {
        *self.user.lock() = Some(user.clone());
    }

    /// Whether the client is logged in as `user`.
    pub fn is_user(&self, user: &Arc<Identity>) -> bool {
        let own = self.user.lock();
        own.as_ref().is_some_and(|own| Arc::ptr_eq(own, user))
    }

    /// `lib-name` and `lib-ver` of CLIENT SETINFO.
    pub fn library(&self) -> (String, String) {
        self.library.lock().clone()
    }

    pub fn set_library_name(&self, name: &str) {
        name.clone_into(&mut self.library.lock().0);
    }

    pub fn set_library_version(&self, version: &str) {
        version.clone_into(&mut self.library.lock().1);
    }

    pub fn kind(&self) -> ClientKind {
        if self.is_replica.load(RELAXED) {
            ClientKind::Replica
        } else if self.subscriptions.any() {
            ClientKind::Pubsub
        } else {
            ClientKind::Normal
        }
    }

    pub fn db(&self) -> u8 {
        self.db.load(RELAXED)
    }

    pub fn set_db(&self, db: u8) {
        self.db.store(db, RELAXED);
    }

    pub fn set_protocol(&self, protocol: Protocol) {
        self.resp3.store(protocol == Protocol::Resp3, RELAXED);
    }

    /// The protocol the client speaks.
    pub fn protocol(&self) -> Protocol {
        if self.resp3.load(RELAXED) {
            Protocol::Resp3
        } else {
            Protocol::Resp2
        }
    }

    /// 2 or 3.
    pub fn resp(&self) -> u8 {
        if self.resp3.load(RELAXED) { 3 } else { 2 }
    }

    /// Notes that command `id` starts at `now_ms`.
    #[inline]
    pub fn set_active(&self, command_id: usize, now_ms: u64) {
        self.last_active_ms.store(now_ms, RELAXED);
        self.last_command.store(command_id, RELAXED);
    }

    pub fn last_active_ms(&self) -> u64 {
        self.last_active_ms.load(RELAXED)
    }

    /// Table position of the last command run, if any.
    pub fn last_command(&self) -> Option<usize> {
        Some(self.last_command.load(RELAXED)).filter(|id| *id != usize::MAX)
    }

    /// Queue length and bytes of the open transaction, `None` outside one.
    pub fn set_multi(&self, queue: Option<(usize, usize)>) {
        let (len, bytes) = queue.map_or((-1, 0), |(len, bytes)| (len as i64, bytes));
        self.multi.store(len, RELAXED);
        self.multi_bytes.store(bytes, RELAXED);
    }

    /// Queue length of the open transaction, or -1.
    pub fn multi(&self) -> i64 {
        self.multi.load(RELAXED)
    }

    pub fn multi_bytes(&self) -> usize {
        self.multi_bytes.load(RELAXED)
    }

    pub fn set_watching(&self, keys: usize) {
        self.watching.store(keys, RELAXED);
    }

    pub fn watching(&self) -> usize {
        self.watching.load(RELAXED)
    }

    /// Asks the connection to end. Its worker notices at once, even while it waits for bytes.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.outbox.wake();
    }

    #[inline]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Completes once the connection has something to do besides its socket. For the connection's task only.
    pub fn poll_alert(&self, cx: &mut Context<'_>) -> Poll<Alert> {
        self.outbox.register(cx.waker());
        match self.alert() {
            Some(alert) => Poll::Ready(alert),
            None => Poll::Pending,
        }
    }

    /// What the connection has to do now besides its socket.
    #[inline]
    pub fn alert(&self) -> Option<Alert> {
        if self.is_killed() {
            Some(Alert::Killed)
        } else if self.outbox.bytes() > 0 {
            Some(Alert::Mail)
        } else if self.trim.load(RELAXED) && self.trim.swap(false, RELAXED) {
            Some(Alert::Trim)
        } else {
            None
        }
    }

    /// Has the connection give back its read buffer, if that holds nothing.
    pub fn trim(&self) {
        self.trim.store(true, RELAXED);
        self.outbox.wake();
    }

    /// Bytes of replies and messages that wait to be written.
    #[inline]
    pub fn waiting_bytes(&self) -> usize {
        self.output_bytes.load(RELAXED) + self.outbox.bytes()
    }

    /// Bytes of these that count against the limits.
    #[inline]
    pub fn counted_bytes(&self) -> usize {
        self.waiting_bytes().saturating_sub(OUTPUT_BYTES_FREE)
    }

    fn limit<'l>(&self, limits: &'l OutputLimits) -> &'l OutputLimit {
        match self.kind() {
            ClientKind::Normal | ClientKind::Master => &limits.normal,
            ClientKind::Replica => &limits.replica,
            ClientKind::Pubsub => &limits.pubsub,
        }
    }

    /// How many bytes may wait before a hard limit ends the client.
    #[inline]
    pub fn output_bytes_max(&self, limits: &OutputLimits) -> usize {
        match self.limit(limits).hard_bytes_max {
            0 => usize::MAX,
            // To be as far behind as the backlog is long is the right of a replica.
            bytes_max => (bytes_max.max(self.backlog_bytes.load(RELAXED)) as usize)
                .saturating_add(OUTPUT_BYTES_FREE),
        }
    }

    /// Whether more waits than `limits` allow a client of this kind.
    fn exceeds(&self, limits: &OutputLimits) -> bool {
        let counted = self.counted_bytes() as u64;
        let limit = self.limit(limits);
        let soft = limit.soft_bytes_max != 0 && counted >= limit.soft_bytes_max;
        let mut exceeds = counted > 0 && self.waiting_bytes() >= self.output_bytes_max(limits);
        if !soft {
            if self.over_soft_limit_since_s.load(RELAXED) != 0 {
                self.over_soft_limit_since_s.store(0, RELAXED);
            }
            return exceeds;
        }
        let now_s = crate::clock::unix_ms() / 1000;
        match self.over_soft_limit_since_s.load(RELAXED) {
            0 => self.over_soft_limit_since_s.store(now_s, RELAXED),
            since => exceeds |= now_s.saturating_sub(since) > u64::from(limit.soft_seconds_max),
        }
        exceeds
    }
}

/// Which clients CLIENT KILL and CLIENT LIST mean. Every given condition must hold.
#[derive(Default)]
pub struct ClientFilter {
    pub id: Option<u64>,
    pub addr: Option<String>,
    pub laddr: Option<String>,
    pub kind: Option<ClientKind>,
    pub user: Option<Arc<Identity>>,
    /// Leaves this client out.
    pub except: Option<u64>,
}

impl ClientFilter {
    pub fn matches(&self, client: &ClientInfo) -> bool {
        self.id.is_none_or(|id| client.id == id)
            && self.addr.as_ref().is_none_or(|addr| client.addr == *addr)
            && self
                .laddr
                .as_ref()
                .is_none_or(|laddr| client.laddr == *laddr)
            && self.kind.is_none_or(|kind| client.kind() == kind)
            && self.user.as_ref().is_none_or(|user| client.is_user(user))
            && self.except != Some(client.id)
    }
}

/// The connected clients by id.
#[derive(Default)]
pub struct Registry {
    clients: RwLock<BTreeMap<u64, Arc<ClientInfo>>>,
    last_id: AtomicU64,
    /// Clients closed for not reading their replies (INFO `client_output_buffer_limit_disconnections`).
    pub output_limit_disconnections: AtomicU64,
    pub memory: ClientMemory,
}

impl Registry {
    /// An id never used before.
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, RELAXED) + 1
    }

    /// Adds a client unless `clients_max` are connected already.
    pub fn insert(&self, client: Arc<ClientInfo>, clients_max: usize) -> bool {
        let mut clients = self.clients.write();
        let fits = clients.len() < clients_max;
        if fits {
            clients.insert(client.id, client);
        }
        fits
    }

    /// Ends a client; nobody sees it any more.
    pub fn end(&self, client: &ClientInfo) {
        client.kill();
        self.remove(client.id);
    }

    pub fn remove(&self, id: u64) {
        self.clients.write().remove(&id);
    }

    pub fn len(&self) -> usize {
        self.clients.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn find(&self, id: u64) -> Option<Arc<ClientInfo>> {
        self.clients.read().get(&id).cloned()
    }

    /// All clients in order of their ids, that is of their arrival.
    pub fn all(&self) -> Vec<Arc<ClientInfo>> {
        self.clients.read().values().cloned().collect()
    }

    /// Appends a message for `client`, which is ended if it lets more wait than `limits` allow.
    pub fn send(&self, client: &ClientInfo, message: Bytes, limits: &OutputLimits) {
        if client.is_killed() {
            return;
        }
        client.outbox.push(message);
        if !self.enforce_output_limit(client, limits) {
            client.outbox.wake();
        }
    }

    /// Ends `client` if more waits for it to read than `limits` allow; whether it is ended.
    pub fn enforce_output_limit(&self, client: &ClientInfo, limits: &OutputLimits) -> bool {
        if client.counted_bytes() == 0 || client.is_killed() || !client.exceeds(limits) {
            return client.is_killed();
        }
        self.end_over_output_limit(client);
        true
    }

    /// Ends `client` because more waits for it than it may let wait.
    pub fn end_over_output_limit(&self, client: &ClientInfo) {
        self.output_limit_disconnections.fetch_add(1, RELAXED);
        tracing::warn!(
            "Client id={} addr={} laddr={} name={} omem={} scheduled to be closed ASAP for overcoming of output \
             buffer limits.",
            client.id,
            client.addr,
            client.laddr,
            client.name(),
            client.counted_bytes()
        );
        client.kill();
    }

    /// Ends every client that `filter` matches; returns how many.
    pub fn kill(&self, filter: &ClientFilter) -> usize {
        let clients = self.clients.read();
        clients
            .values()
            .filter(|client| filter.matches(client))
            .map(|client| client.kill())
            .count()
    }
}
