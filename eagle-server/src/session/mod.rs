//! The state of one client connection, and the registry of all of them.

mod blocked;
mod caching;
mod handover;
mod memory;
mod monitors;
mod multi;
mod offer;
mod outbox;
mod pause;
mod registry;
mod subscriptions;
mod watch;
mod watch_elsewhere;

pub use blocked::{Answer, Arrival, Awaited, BlockedTable, Claim, ReadyKey, Waiter, timed_out};
pub use caching::{Caching, CachingFlags};
pub use handover::{Handover, Taker, Words};
pub use memory::ClientMemory;
pub use monitors::Monitors;
pub use multi::{Multi, Queued};
pub use offer::{ADDRESS_BYTES_MAX, ReplicaOffer};
pub use outbox::{Message, Outbox};
pub use pause::{Pause, PauseMode};
pub use registry::{Alert, ClientFilter, ClientInfo, ClientKind, OUTPUT_BYTES_FREE, Registry};
pub use subscriptions::{Subscriptions, Topics};
pub use watch::{WatchFlag, WatchTable, Watched};
pub use watch_elsewhere::WatchedElsewhere;

use crate::acl::Identity;
use crate::cluster::proxy::Order;
use bytes::Bytes;
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Which replies a client wants (`CLIENT REPLY`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// `CLIENT REPLY SKIP` was just run: the next command's reply is dropped.
    SkipNext,
    /// The reply of the command being run is dropped.
    Skip,
}

/// What a node does with a key it does not own, when the client chose for itself
/// (`CLIENT ROUTING`); otherwise `cluster-routing` decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routing {
    Redirect,
    Proxy,
}

/// What a connection knows of its client. Owned by the connection's worker; the part that others
/// may look at is [`ClientInfo`].
pub struct Session {
    pub info: Arc<ClientInfo>,
    pub db: u8,
    /// Whoever the client has proved to be, or the default user.
    pub user: Arc<Identity>,
    pub authenticated: bool,
    pub reply: ReplyMode,
    /// The open transaction, between MULTI and EXEC.
    pub multi: Option<Multi>,
    pub watched: Watched,
    /// The keys it watches at another node (`cluster-routing proxy`).
    pub watched_elsewhere: Option<Rc<WatchedElsewhere>>,
    /// EXEC is running the commands of a transaction.
    pub in_exec: bool,
    /// The slot that scripts in it must stay in: that of its first key.
    pub exec_slot: Option<u16>,
    /// A script is running commands.
    pub in_script: bool,
    /// CLIENT CACHING was said: it holds for the next command or transaction.
    pub caching_said: bool,
    /// Set by ASKING for the one command that follows.
    pub asking: bool,
    /// READONLY was said: a replica may serve reads.
    pub readonly: bool,
    pub routing: Option<Routing>,
    /// What it would be as a replica.
    pub offer: ReplicaOffer,
    /// The stream position behind its last change, as far as the stream is kept.
    pub written: u64,
    /// Messages that go behind the reply that is still being worked on.
    pub behind_reply: Vec<Bytes>,
    /// Its requests that are under way to other nodes.
    pub order: Rc<Order>,
    /// The connection ends once the replies so far are written.
    pub closing: bool,
    /// What becomes of the bytes of the request being run.
    pub handover: Handover,
    /// Arguments of the request being run that are secret: logs show a placeholder, and the bytes
    /// are wiped from the read buffer.
    redacted: SmallVec<[usize; 2]>,
    /// A command inside of the request being run had secret arguments, or it is one that was queued and may have.
    held_secrets: bool,
}

impl Session {
    /// A new client, who is `user` until it says more.
    pub fn new(info: Arc<ClientInfo>, user: &Arc<Identity>) -> Session {
        info.set_user(user);
        Session {
            info,
            db: 0,
            user: user.clone(),
            authenticated: user.is_open(),
            reply: ReplyMode::On,
            multi: None,
            watched: Watched::default(),
            watched_elsewhere: None,
            in_exec: false,
            exec_slot: None,
            in_script: false,
            caching_said: false,
            asking: false,
            readonly: false,
            routing: None,
            offer: ReplicaOffer::default(),
            written: 0,
            behind_reply: Vec::new(),
            order: Rc::default(),
            closing: false,
            handover: Handover::default(),
            redacted: SmallVec::new(),
            held_secrets: false,
        }
    }

    /// Selects database `db`.
    pub fn select(&mut self, db: u8) {
        self.db = db;
        self.info.set_db(db);
    }

    /// The client has proved to be `user`.
    pub fn log_in(&mut self, user: Arc<Identity>) {
        self.info.set_user(&user);
        self.user = user;
        self.authenticated = true;
    }

    /// Makes the client the one it was when it came: `default`.
    pub fn log_out(&mut self, default: &Arc<Identity>) {
        self.info.set_user(default);
        self.user = default.clone();
        self.authenticated = default.is_open();
    }

    /// Marks the argument at `position` as secret.
    pub fn redact(&mut self, position: usize) {
        self.redacted.push(position);
    }

    /// The request may have secret arguments.
    pub fn hold_secrets(&mut self) {
        self.held_secrets = true;
    }

    /// Positions of the secret arguments of the request being run.
    pub fn redacted(&self) -> &[usize] {
        &self.redacted
    }

    /// Begins or ends a command inside of another, which has secrets of its own: those until now.
    pub fn take_redacted(&mut self) -> SmallVec<[usize; 2]> {
        self.held_secrets |= !self.redacted.is_empty();
        std::mem::take(&mut self.redacted)
    }

    /// Goes on with the outer command.
    pub fn put_redacted(&mut self, positions: SmallVec<[usize; 2]>) {
        self.redacted = positions;
    }

    /// Ends a request; whether it held secrets.
    #[inline]
    pub fn forget_redacted(&mut self) -> bool {
        if self.redacted.is_empty() && !self.held_secrets {
            return false;
        }
        self.take_redacted();
        std::mem::take(&mut self.held_secrets)
    }

    /// Whether commands are being queued.
    #[inline]
    pub fn in_multi(&self) -> bool {
        self.multi.is_some()
    }

    /// Ends the open transaction, if any, and forgets the watched keys.
    pub fn discard(&mut self, watch: &WatchTable, watchers: &AtomicU64) {
        self.multi = None;
        self.info.set_multi(None);
        self.unwatch(watch, watchers);
    }

    /// Forgets the watched keys.
    pub fn unwatch(&mut self, watch: &WatchTable, watchers: &AtomicU64) {
        self.watched.clear(watch, watchers);
        self.watched_elsewhere = None;
        self.info.set_watching(0);
    }
}
