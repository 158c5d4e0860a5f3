//! What all threads of one node share.

use crate::acl::Acl;
pub use crate::clock::unix_ms;
use crate::cluster::Cluster;
use crate::cluster::migrate::{SlotsInTransfer, SocketCache};
use crate::cluster::proxy::{Login, Pool, Relay};
use crate::config::kind::Secret;
use crate::config::topic::PoolLog;
use crate::config::{Config, Live, Local, Snapshot};
use crate::eviction::Candidates;
use crate::halt::Halt;
use crate::metrics::DefragStats;
use crate::metrics::{
    Counter, ErrorStats, LatencyMonitor, Peak, Rates, SlotStats, Slowlog, Stats, WorkerStats,
};
use crate::persist::{Loading, Saving};
use crate::propagation::Stream;
use crate::pubsub::Broker;
pub use crate::repl::random_hex_id;
use crate::repl::{History, Replicas, Syncs};
use crate::script;
use crate::session::{
    BlockedTable, CachingFlags, ClientInfo, Monitors, Pause, Registry, WatchTable,
};
use crate::surrender::Surrender;
use crate::tracking::{Addressee, Delivery, Tracking, Turn};
use bytes::Bytes;
use eagle_core::store::{Keyspace, OpenReport, Worker};
use std::cell::{Cell, OnceCell, RefCell};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// One EagleDB process.
pub struct Node {
    pub config: Live,
    /// What CONFIG REWRITE rewrites, if the server was started with a file.
    pub config_file: Option<PathBuf>,
    /// Shared with the cluster, which empties slots that other nodes take over.
    pub keyspace: Arc<Keyspace>,
    /// Present when `cluster-enabled` is set.
    pub cluster: Option<Arc<Cluster>>,
    pub acl: Arc<Acl>,
    pub clients: Registry,
    pub watch: WatchTable,
    /// Clients that wait for keys.
    pub blocked: BlockedTable,
    /// Who listens to which channel.
    pub broker: Broker,
    /// Which clients cache which keys.
    pub tracking: Tracking,
    /// Connections to other nodes that serve one client each (`cluster-routing proxy`).
    pub proxy_links: Arc<AtomicUsize>,
    /// The shard channels of other nodes that clients of this one listen to.
    pub relay: Arc<Relay>,
    pub monitors: Monitors,
    pub pause: Pause,
    pub slots_in_transfer: Arc<SlotsInTransfer>,
    /// How many threads work on large values beside those that serve clients.
    pub bulk_threads: Semaphore,
    /// Connections that MIGRATE keeps for the next time.
    pub migrate_sockets_kept: Arc<AtomicUsize>,
    pub stats: Stats,
    pub errors: ErrorStats,
    /// Objects freed in the background because a client wanted it so (INFO `lazyfreed_objects`).
    pub lazyfreed: Counter,
    /// Active defragmentation.
    pub defrag: DefragStats,
    pub slowlog: Slowlog,
    /// What each slot costs, if that is counted.
    pub slot_stats: SlotStats,
    pub latency: LatencyMonitor,
    pub scripts: script::Shared,
    pub rates: Rates,
    /// Most bytes of the pool ever in use.
    pub used_peak: Peak,
    pub shutdown: crate::shutdown::Shutdown,
    pub halt: Halt,
    /// Has threads give back memory that they keep.
    pub surrender: Surrender,
    /// 40 hex digits, new at every start.
    pub run_id: String,
    /// The name of this dataset's history (INFO `master_replid`).
    pub history: History,
    /// Those who follow this node.
    pub replicas: Arc<Replicas>,
    /// Snapshots for those who are to follow it.
    pub syncs: Syncs,
    pub started_at_ms: u64,
    pub started: Instant,
    /// Whether keys are removed when they expire, not only when they are met (DEBUG SET-ACTIVE-EXPIRE).
    pub active_expire: AtomicBool,
    /// RESTORE takes payloads with a wrong checksum (DEBUG SET-SKIP-CHECKSUM-VALIDATION).
    pub forged_payloads: AtomicBool,
    /// Periodic work rests (DEBUG PAUSE-CRON).
    pub cron_paused: AtomicBool,
    /// Snapshots in files.
    pub saving: Saving,
    /// A file being loaded.
    pub loading: Loading,
    /// What the last file held that was loaded.
    pub loaded: LoadedCounts,
    /// Changes to the keyspace that no worker has counted, less those the last snapshot has; see [`Node::changes`].
    pub dirty: AtomicU64,
    /// The data is larger than `maxmemory`: the keyspace thread goes on evicting.
    pub evicting: AtomicBool,
    /// Microseconds spent on active expiry.
    pub expire_cycle_us: AtomicU64,
    /// What opening the pool found, and how long it took.
    pub opened: (OpenReport, Duration),
    /// Clients are served: listeners stand and workers run.
    pub is_serving: AtomicBool,
}

/// What was in a file that was loaded.
#[derive(Default)]
pub struct LoadedCounts {
    pub keys: AtomicU64,
    pub expired: AtomicU64,
}

impl Node {
    /// What `maxmemory` bounds: what the pool holds, and what clients do as far as it is counted.
    pub fn bounded_bytes(&self) -> u64 {
        self.keyspace.usage().used + self.clients.counted_memory()
    }

    /// Appends a message for `client`, within its output limit.
    pub fn send(&self, client: &ClientInfo, message: Bytes) {
        let config = self.config.load();
        self.clients
            .send(client, message, &config.clients.client_output_buffer_limit);
    }

    /// What a transaction adds to the stream of changes. To be made once its slots are locked.
    #[inline]
    pub fn stream(&self) -> Stream {
        Stream::new(self.keyspace.ring_is_on())
    }

    /// Keeps the log ring as the configuration and those who read it ask for. Called by whoever holds no slot.
    pub fn follow_ring(&self) {
        let config = self.config.load();
        let pool = &config.pool;
        let wanted = match pool.pool_log {
            PoolLog::Yes => true,
            PoolLog::No => false,
            PoolLog::Auto => {
                // Whoever followed this node, also before its last start, may come back.
                let ttl_s = config.replication.repl_backlog_ttl;
                let is_kept = self.keyspace.ring_is_on()
                    && self.replicas.want_backlog(ttl_s, unix_ms() / 1000);
                config.persistence.appendonly || self.replicas.follow() || is_kept
            }
        };
        let kept_bytes = pool.pool_log_size.max(config.replication.repl_backlog_size);
        self.history
            .keep(&self.keyspace, wanted.then_some(kept_bytes));
    }

    /// Turns tracking on for `client`, or changes how.
    pub fn start_tracking(
        &self,
        client: &Arc<ClientInfo>,
        flags: CachingFlags,
        redirect: u64,
        prefixes: &[&[u8]],
    ) {
        let was_off = self.tracking.enable(client, flags, redirect, prefixes);
        if was_off && !client.caching.stop_lingering() {
            // From now on changes are noted key by key.
            self.keyspace.watchers().fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Turns tracking off for `client`. What it has read is forgotten when it changes: the client may turn tracking on
    /// again, and then be told of what else it had read. So changes are noted on, if anything is remembered.
    pub fn stop_tracking(&self, client: &ClientInfo) {
        if self.tracking.disable(client) {
            if self.tracking.items() > 0 {
                client.caching.linger();
            } else {
                self.keyspace.watchers().fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Ends what `client`, which goes, has begun to track.
    pub fn end_tracking(&self, client: &ClientInfo) {
        self.stop_tracking(client);
        if client.caching.stop_lingering() {
            self.keyspace.watchers().fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Ends everything that makes others send messages to `client`.
    pub fn forget_listener(&self, client: &ClientInfo) {
        self.broker.leave(client);
        self.stop_tracking(client);
        self.monitors.remove(client);
    }

    /// Tells the clients that cache keys. `tell` says what has changed.
    pub fn tell_caches(&self, tell: impl FnOnce(&Tracking, &Delivery<'_>)) {
        let told = self.tell_caches_but(None, tell);
        debug_assert!(
            told.is_empty(),
            "it is for a client only if that has changed them"
        );
    }

    /// The same, if the client `own` has changed them: returns what is for that client. What that client is told itself,
    /// or has told to another one, comes after what others are told.
    pub fn tell_caches_but(
        &self,
        own: Option<u64>,
        tell: impl FnOnce(&Tracking, &Delivery<'_>),
    ) -> Told {
        let told = RefCell::new(Told::default());
        let late: RefCell<Vec<(u64, Bytes)>> = RefCell::default();
        // Whoever read an old value has been remembered before; this makes it seen.
        std::sync::atomic::fence(Ordering::SeqCst);
        let delivery = Delivery {
            clients: &self.clients,
            send: &|Addressee { tracker, target }, message| {
                let is_own = |client: &ClientInfo| own == Some(client.id);
                match (is_own(tracker), is_own(target)) {
                    (true, true) => told.borrow_mut().behind.push(message),
                    (false, true) => told.borrow_mut().amid.push(message),
                    (true, false) => late.borrow_mut().push((target.id, message)),
                    (false, false) => self.send(target, message),
                }
            },
        };
        tell(&self.tracking, &delivery);
        for (id, message) in late.into_inner() {
            if let Some(target) = self.clients.find(id) {
                self.send(&target, message);
            }
        }
        told.into_inner()
    }

    /// Adds `changes` to the count of changes.
    pub fn note_changes(&self, changes: u64) {
        if changes != 0 {
            self.dirty.fetch_add(changes, Ordering::Relaxed);
        }
    }

    /// Changes to the keyspace since the last snapshot (INFO `rdb_changes_since_last_save`).
    pub fn changes(&self) -> u64 {
        let counted = self.stats.sum(|worker| &worker.changes);
        // What was forgiven is taken from the shared count, which wraps.
        self.dirty.load(Ordering::Relaxed).wrapping_add(counted)
    }

    /// Takes changes off that a snapshot has.
    pub fn forgive_changes(&self, changes: u64) {
        self.dirty.fetch_sub(changes, Ordering::Relaxed);
    }
}

/// What of an invalidation is for the client that caused it.
#[derive(Default)]
pub struct Told {
    /// It gets this in another client's place, as soon as the key has changed.
    pub amid: Vec<Bytes>,
    /// This concerns what it tracks itself: it comes behind the reply.
    pub behind: Vec<Bytes>,
}

impl Told {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.amid.is_empty() && self.behind.is_empty()
    }

    /// All of it, in order.
    pub fn into_list(mut self) -> Vec<Bytes> {
        self.amid.append(&mut self.behind);
        self.amid
    }
}

/// What one worker thread has for itself. Connections of the thread share it by `Rc`.
pub struct Thread {
    pub node: Arc<Node>,
    pub worker: RefCell<Worker>,
    pub stats: Arc<WorkerStats>,
    pub migrate_sockets: Rc<RefCell<SocketCache>>,
    /// For what is served beside a script that has `worker`.
    spare: OnceCell<RefCell<Worker>>,
    /// Connections that wait for requests, and are served while a slow script keeps this thread.
    pub parked: RefCell<Vec<Weak<dyn Parked>>>,
    /// When a request waited last for slots that somebody held for too long.
    pub slots_held_at: Cell<Option<Instant>>,
    /// A slow script keeps this thread.
    pub stuck: Arc<AtomicBool>,
    /// The interpreters of scripts and functions.
    pub engines: script::Engines,
    /// Connections to other nodes for forwarded commands.
    pub proxy: Rc<Pool>,
    /// What the present turn of a connection has changed, for clients that track keys by prefix.
    pub turn: RefCell<Turn>,
    /// The keys that this thread evicts next when memory is short.
    pub candidates: RefCell<Candidates>,
    config: Local,
}

/// A connection that may be served by whoever has its thread.
pub trait Parked {
    /// Runs the requests that have arrived, if the connection is waiting for any.
    fn serve(&self);
}

impl Thread {
    /// The configuration in force. Costs less than to ask the node, which all threads do.
    #[inline]
    pub fn config(&self) -> Snapshot {
        self.config.get(&self.node.config)
    }

    /// Something that the configuration in force says. Costs less than to take a snapshot of it.
    #[inline]
    pub fn with_config<T>(&self, read: impl FnOnce(&Config) -> T) -> T {
        self.config.with(&self.node.config, read)
    }

    /// Tells clients that track by prefix what the turn that ends has changed: once for all of it.
    #[inline]
    pub fn end_turn(&self) {
        if !self.turn.borrow().is_empty() {
            self.send_broadcasts();
        }
    }

    #[inline(never)]
    fn send_broadcasts(&self) {
        let turn = self.turn.take();
        self.node
            .tell_caches(|tracking, to| tracking.broadcast(&turn, to));
    }

    /// The worker for what is served while the other one is in use.
    pub fn spare_worker(&self) -> &RefCell<Worker> {
        self.spare
            .get_or_init(|| RefCell::new(self.node.keyspace.worker()))
    }

    /// Gives back the memory that this thread keeps for its next writes, but for what a script under way uses.
    pub fn give_back(&self) {
        let guard = self.node.keyspace.pin();
        for worker in std::iter::once(&self.worker).chain(self.spare.get()) {
            if let Ok(mut worker) = worker.try_borrow_mut() {
                worker.give_back(&guard);
            }
        }
    }

    /// Serves the connections that wait for requests.
    pub fn serve_parked(&self) {
        let parked: Vec<_> = self.parked.borrow().clone();
        for connection in parked.iter().filter_map(Weak::upgrade) {
            connection.serve();
        }
    }

    /// Adds a connection to those that are served while a script keeps the thread.
    pub fn park(&self, connection: Weak<dyn Parked>) {
        let mut parked = self.parked.borrow_mut();
        if parked.len() == parked.capacity() {
            parked.retain(|other| other.strong_count() > 0);
        }
        parked.push(connection);
    }

    pub fn new(node: Arc<Node>) -> Thread {
        let worker = RefCell::new(node.keyspace.worker());
        let stats = node.stats.worker();
        let proxy = Pool::new(
            {
                let node = node.clone();
                move || login(&node.config.load())
            },
            node.proxy_links.clone(),
        );
        let migrate_sockets = SocketCache::new(node.migrate_sockets_kept.clone());
        Thread {
            node,
            worker,
            stats,
            migrate_sockets: Rc::new(RefCell::new(migrate_sockets)),
            engines: Default::default(),
            spare: OnceCell::new(),
            parked: RefCell::default(),
            slots_held_at: Cell::new(None),
            stuck: Arc::default(),
            proxy,
            turn: RefCell::default(),
            candidates: RefCell::default(),
            config: Local::default(),
        }
    }
}

/// How this node logs in at others: as it would at its primary, or with the password it asks for itself.
pub fn login(config: &Config) -> Login {
    let copy = |secret: &Secret| secret.as_bytes().to_vec().into();
    let replication = &config.replication;
    if replication.masterauth.is_empty() {
        return Login {
            username: Default::default(),
            password: copy(&config.security.requirepass),
        };
    }
    Login {
        username: copy(&replication.masteruser),
        password: copy(&replication.masterauth),
    }
}
