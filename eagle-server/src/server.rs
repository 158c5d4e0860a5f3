//! The composition root: builds a node from its configuration, runs it, takes it down.
//!
//! ```text
//!   main thread     listeners, signals, client cron, cluster bus            (one runtime)
//!   worker-N        connections and their commands                          (one runtime each)
//!   metrics         the pages for monitoring, if asked for                  (a runtime of its own)
//!   keyspace        active expiry, freeing of large deletes                 (no runtime)
//! ```

use crate::acl::{Acl, Declaration};
use crate::clock::unix_ms;
use crate::cluster::{self, Cluster};
use crate::command;
use crate::command::bulk;
use crate::command::family::scripting;
use crate::command::saving;
use crate::config::file::Startup;
use crate::config::special::EventClasses;
use crate::config::topic::{PubsubDefault, Supervision};
use crate::config::{Config, Live};
use crate::cron;
use crate::exposition::{self, Observed};
use crate::log;
use crate::metrics::{SlotStats, Stats};
use crate::net::{self, Listener, Listening, Pool};
use crate::node::{Node, random_hex_id};
use crate::opening::{self, Snapshot};
use crate::reconfigure::{self, OWN_DESCRIPTORS};
use crate::repl::{History, Replicas};
use crate::shutdown::ShutdownRequest;
use eagle_core::store::{Keyspace, OpenReport};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroize;

/// Runs a server until it is told to end. The process is in its working directory already.
pub fn run(startup: Startup) -> ExitCode {
    let Startup {
        config,
        file,
        inert,
        mut users,
        ..
    } = startup;
    let config = Live::new(config);
    let settings = config.snapshot();
    if let Err(error) = log::start(&settings.process.logfile, settings.process.loglevel as u8) {
        eprintln!("Can't open the log file: {error}");
        return ExitCode::FAILURE;
    }
    for name in inert {
        tracing::warn!("The directive '{name}' has no effect in EagleDB");
    }
    if let Some(name) = reconfigure::not_served(&settings) {
        let error = format!("The directive '{name}' is not available in this version of EagleDB");
        eprintln!("{error}");
        tracing::error!("{error}");
        return ExitCode::FAILURE;
    }
    if settings.persistence.appendonly {
        tracing::warn!(
            "appendonly: no append-only file is written; the pool keeps every write by itself"
        );
    }
    reconfigure::follow(&config);
    let acl = load_users(&settings, &users);
    users.zeroize();
    match acl.and_then(|acl| serve(config, file, acl)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log may be a file nobody looks at yet.
            if !settings.process.logfile.is_empty() {
                eprintln!("{error}");
            }
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The users of the configuration file, or of the ACL file.
fn load_users(settings: &Config, lines: &[Vec<Vec<u8>>]) -> Result<Acl, String> {
    let security = &settings.security;
    if !security.aclfile.is_empty() && !lines.is_empty() {
        return Err(
            "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is invalid. \
             This setup is very likely to lead to configuration errors and security holes, please define either an \
             ACL file or declare users directly in your redis.conf, but not both."
                .to_owned(),
        );
    }
    let acl = Acl::new(command::acl_catalogue());
    if !security.requirepass.is_empty() {
        acl.set_default_password(security.requirepass.as_bytes());
    }
    let all_channels = security.acl_pubsub_default == PubsubDefault::AllChannels;
    // Each was checked when it was read.
    let declarations: Vec<Declaration> = lines
        .iter()
        .filter_map(|words| Declaration::read(words).ok())
        .collect();
    acl.declare(&declarations, all_channels).map_err(|error| {
        tracing::warn!("{}", String::from_utf8_lossy(&error));
        "Critical error while loading ACLs. Exiting.".to_owned()
    })?;
    if !security.aclfile.is_empty() {
        acl.load(&security.aclfile, all_channels)
            .map_err(|faults| {
                format!(
                    "Aborting Redis startup because of ACL errors: {}",
                    String::from_utf8_lossy(&faults)
                )
            })?;
    }
    Ok(acl)
}

fn serve(config: Live, config_file: Option<PathBuf>, acl: Acl) -> Result<(), String> {
    let started = Instant::now();
    let settings = config.snapshot();
    tracing::warn!("EagleDB is starting");
    tracing::warn!(
        "EagleDB version={}, Redis compatibility={}, bits=64, pid={}",
        env!("CARGO_PKG_VERSION"),
        crate::config::command_line::REDIS_VERSION,
        std::process::id()
    );
    raise_descriptor_limit(&config);
    write_pidfile(&settings);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("Can't start the runtime: {error}"))?;
    // Before the data is touched: another server may have the port.
    let listeners = {
        let _inside = runtime.enter();
        bind(&settings)?
    };
    // Whoever started the server reads in the log that it has its port.
    tracing::warn!(
        "Listening on port {}, PID: {}",
        settings.network.port,
        std::process::id()
    );
    let observed = Observed::default();
    let monitoring = exposition::start(&settings, &observed)?;
    let opened = opening::open(&settings)?;
    let keyspace = Arc::new(opened.keyspace);

    let mut running = None;
    if settings.cluster.cluster_enabled {
        let _inside = runtime.enter();
        running = Some(cluster::start::start(&settings, &keyspace)?);
    }
    let of_cluster = running.as_ref().map(|running| running.cluster.clone());
    let node = Arc::new(Node::new(
        config,
        config_file,
        acl,
        keyspace,
        of_cluster,
        (opened.report, opened.took),
        started,
    ));
    node.saving.begin_at(unix_ms() / 1000);
    scripting::load_libraries(&node);
    // Nobody else sets it.
    let _ = observed.set(Arc::downgrade(&node));
    if let Some(cluster) = &node.cluster {
        cluster.listen(Box::new(ClientsOf(Arc::downgrade(&node))));
    }
    follow_config(&node);
    node.follow_ring();
    let serving = serve_until_shutdown(&node, listeners, opened.snapshot, running.as_mut());
    let outcome = runtime.block_on(serving);
    drop(runtime);
    if let Some(monitoring) = monitoring {
        monitoring.join();
    }
    let ended = take_down(node, running);
    remove_pidfile(&settings);
    outcome.and(ended)
}

/// The clients of this node, as the cluster reaches them.
struct ClientsOf(Weak<Node>);

impl cluster::Listener for ClientsOf {
    fn published(&self, channel: &[u8], message: &[u8], sharded: bool) {
        if let Some(node) = self.0.upgrade() {
            command::deliver_published(&node, channel, message, sharded);
        }
    }

    fn offset(&self) -> u64 {
        let node = self.0.upgrade();
        node.map_or(0, |node| node.keyspace.ring_head())
    }

    fn reshaped(&self, topology: &cluster::Topology) {
        if let Some(node) = self.0.upgrade() {
            node.slot_stats.reset(|slot| !topology.is_my_shards(slot));
            node.tell_caches(|tracking, to| {
                tracking.lose_slots(|slot| !topology.is_my_shards(slot), to);
            });
            command::follow_slots(&node, |slot| !topology.is_my_shards(slot));
        }
    }
}

/// Directives that the storage engine goes by.
const THRESHOLDS: &[&str] = &[
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "list-max-listpack-size",
    "zset-max-listpack-entries",
    "zset-max-listpack-value",
    "maxmemory-policy",
    "notify-keyspace-events",
    "set-max-intset-entries",
    "stream-node-max-bytes",
    "stream-node-max-entries",
];

fn set_thresholds(keyspace: &Keyspace, config: &Config) {
    let bound = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let (settings, encoding) = (keyspace.settings(), &config.encoding);
    settings
        .clocks_count_uses
        .store(config.memory.maxmemory_policy.is_lfu(), Ordering::Relaxed);
    let events = config.monitoring.notify_keyspace_events;
    settings
        .note_created
        .store(events.publish(EventClasses::NEW_KEY), Ordering::Relaxed);
    settings
        .hash_packed_entries_max
        .store(bound(encoding.hash_max_listpack_entries), Ordering::Relaxed);
    settings
        .list_fill
        .store(encoding.list_max_listpack_size, Ordering::Relaxed);
    settings
        .hash_packed_value_max
        .store(bound(encoding.hash_max_listpack_value), Ordering::Relaxed);
    settings
        .set_intset_entries_max
        .store(bound(encoding.set_max_intset_entries), Ordering::Relaxed);
    settings
        .stream_node_bytes_max
        .store(encoding.stream_node_max_bytes, Ordering::Relaxed);
    settings
        .stream_node_entries_max
        .store(encoding.stream_node_max_entries, Ordering::Relaxed);
    settings
        .zset_packed_entries_max
        .store(bound(encoding.zset_max_listpack_entries), Ordering::Relaxed);
    settings
        .zset_packed_value_max
        .store(bound(encoding.zset_max_listpack_value), Ordering::Relaxed);
}

/// Parts of the server that must act when directives change.
fn follow_config(node: &Arc<Node>) {
    node.config.on_apply(&["loglevel"], |change| {
        log::set_level(change.new.process.loglevel as u8);
        Ok(())
    });
    set_thresholds(&node.keyspace, &node.config.load());
    let keyspace = Arc::downgrade(&node.keyspace);
    node.config.on_apply(THRESHOLDS, move |change| {
        if let Some(keyspace) = keyspace.upgrade() {
            set_thresholds(&keyspace, change.new);
        }
        Ok(())
    });
    let clients = Arc::downgrade(node);
    node.config
        .on_apply(&["maxmemory", "maxmemory-clients"], move |change| {
            let bytes_max = change.new.client_bytes_max();
            if let (Some(node), Some(bytes_max)) = (clients.upgrade(), bytes_max) {
                let limits = &change.new.clients.client_output_buffer_limit;
                node.clients.recount_memory(bytes_max, limits);
            }
            Ok(())
        });
    let acl = node.acl.clone();
    node.config.on_apply(&["requirepass"], move |change| {
        acl.set_default_password(change.new.security.requirepass.as_bytes());
        Ok(())
    });
    let evicts = Arc::downgrade(node);
    node.config.on_apply(&["maxmemory"], move |_| {
        // The keyspace thread looks whether there is more now than allowed.
        if let Some(node) = evicts.upgrade() {
            node.evicting.store(true, Ordering::Relaxed);
        }
        Ok(())
    });
    let Some(cluster) = node.cluster.as_ref().map(Arc::downgrade) else {
        return;
    };
    node.config
        .on_apply(cluster::start::DIRECTIVES, move |change| {
            match cluster.upgrade() {
                Some(cluster) => Ok(cluster::start::apply_config(&cluster, change.new)?),
                None => Ok(()),
            }
        });
}

async fn serve_until_shutdown(
    node: &Arc<Node>,
    listeners: Vec<Listener>,
    snapshot: Option<Snapshot>,
    bus: Option<&mut cluster::start::Running>,
) -> Result<(), String> {
    let settings = node.config.snapshot();
    let workers = match settings.process.worker_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count as usize,
    };
    let pool =
        Pool::start(node, workers).map_err(|error| format!("Can't start the workers: {error}"))?;
    let pool = Arc::new(pool);
    tracing::warn!("Server initialized");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(cron::clients(node.clone()));
    tasks.spawn(obey_halts(node.clone()));
    let signals = tasks.spawn(signals(node.clone()));
    let mut loading = pin!(load(node, snapshot));
    // Nobody is told of a file that is loaded soon: clients wait to be accepted.
    let mut loaded = tokio::select! {
        biased;
        loaded = &mut loading => Some(loaded),
        () = node.loading.shown() => None,
    };
    let listening = Listening::start(node, &pool, listeners)
        .map_err(|error| format!("Can't accept connections: {error}"))?;
    if loaded.is_none() {
        loaded = Some(loading.await);
    }
    let mut background = None;
    let outcome = match loaded {
        // Whoever ended the server ended the loading too.
        _ if node.shutdown.is_requested() => Ok(()),
        Some(Err(error)) => {
            node.shutdown.begin(ShutdownRequest::default());
            Err(error)
        }
        _ => {
            background = Some(
                cron::Background::start(node)
                    .map_err(|error| format!("Can't start the keyspace thread: {error}"))?,
            );
            if let Some(bus) = bus {
                bus.spawn();
            }
            node.is_serving.store(true, Ordering::Release);
            tracing::info!("Ready to accept connections");
            notify_supervisor(&settings, &[sd_notify::NotifyState::Ready]);
            Ok(())
        }
    };

    node.shutdown.requested().await;
    node.saving.cancel();
    node.syncs.cancel();
    node.scripts.running.end_all();
    if outcome.is_ok() {
        tracing::warn!("User requested shutdown...");
    }
    notify_supervisor(&settings, &[sd_notify::NotifyState::Stopping]);
    listening.ended().await;
    // It has stayed for a second SIGINT.
    signals.abort();
    while tasks.join_next().await.is_some() {}
    if let Ok(pool) = Arc::try_unwrap(pool) {
        pool.join();
    }
    if let Some(background) = background {
        background.join();
    }
    outcome
}

/// Loads a file, if there is one, beside what else this thread does; gives up when the server is to end.
async fn load(node: &Arc<Node>, snapshot: Option<Snapshot>) -> Result<(), String> {
    let Some(snapshot) = snapshot else {
        return Ok(());
    };
    let owner = node.clone();
    let mut loading = tokio::task::spawn_blocking(move || snapshot.load_into(&owner));
    let loaded = tokio::select! {
        loaded = &mut loading => loaded,
        () = node.shutdown.requested() => {
            node.loading.cancel();
            loading.await
        }
    };
    loaded.map_err(|error| format!("Loading failed: {error}"))?
}

/// Stops this thread's runtime, and with it the cluster bus, during DEBUG SLEEP.
async fn obey_halts(node: Arc<Node>) {
    tokio::select! {
        () = node.shutdown.requested() => {}
        () = node.halt.obey() => {}
    }
}

fn bind(settings: &Config) -> Result<Vec<Listener>, String> {
    let network = &settings.network;
    let backlog = i32::try_from(network.tcp_backlog).unwrap_or(i32::MAX);
    let mut listeners = net::bind_all(&network.bind, network.port, backlog).map_err(|error| {
        format!(
            "Failed listening on port {} (tcp), aborting. {error}",
            network.port
        )
    })?;
    if !network.unixsocket.is_empty() {
        let listener = net::bind_unix(Path::new(&network.unixsocket), network.unixsocketperm)
            .map_err(|error| format!("Failed opening Unix socket: bind: {error}"))?;
        listeners.push(listener);
    }
    if listeners.is_empty() {
        return Err("Configured to not listen anywhere, exiting.".to_owned());
    }
    Ok(listeners)
}

/// Turns SIGTERM and SIGINT into an orderly end; a second SIGINT ends the process at once.
async fn signals(node: Arc<Node>) {
    let (Ok(mut term), Ok(mut int), Ok(mut hup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        tracing::warn!("Can't watch for signals");
        return;
    };
    let mut interrupted = false;
    loop {
        let (name, request) = tokio::select! {
            () = node.shutdown.requested(), if !interrupted => return,
            _ = hup.recv() => continue,
            _ = term.recv() => ("SIGTERM", node.config.load().process.shutdown_on_sigterm),
            _ = int.recv() => {
                if std::mem::replace(&mut interrupted, true) {
                    tracing::warn!("You insist... exiting now.");
                    saving::remove_temporary(&node.config.load());
                    std::process::exit(1);
                }
                ("SIGINT", node.config.load().process.shutdown_on_sigint)
            }
        };
        tracing::warn!("Received {name} scheduling shutdown...");
        node.shutdown.schedule();
        let request = ShutdownRequest {
            force: request.force,
            now: request.now,
            save: match (request.save, request.no_save) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
        };
        // Beside this loop: a second SIGINT must be seen while a snapshot is written.
        let ending = node.clone();
        tokio::spawn(async move {
            // It is periodic work that looks after what was scheduled.
            while ending.cron_paused.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if !ending.shutdown.is_scheduled() {
                return;
            }
            if !saving::shut_down(ending, request).await {
                tracing::warn!(
                    "Errors trying to shut down the server. Check the logs for more information."
                );
            }
        });
    }
}

/// Takes down what `serve_until_shutdown` left: the pool is closed cleanly once nobody uses it.
fn take_down(node: Arc<Node>, running: Option<cluster::start::Running>) -> Result<(), String> {
    const IN_USE: &str =
        "The pool is still in use at shutdown; it will be recovered at the next start";
    let Node {
        keyspace, cluster, ..
    } = Arc::into_inner(node).ok_or(IN_USE)?;
    drop(cluster);
    if let Some(running) = running {
        running.join();
    }
    let closed = Arc::into_inner(keyspace).ok_or(IN_USE)?.close();
    closed.map_err(|error| format!("Can't close the pool: {error}"))?;
    tracing::warn!("EagleDB is now ready to exit, bye bye...");
    Ok(())
}

/// Each client takes a descriptor, and the server some of its own.
fn raise_descriptor_limit(config: &Live) {
    let wanted = u64::from(config.load().clients.maxclients) + OWN_DESCRIPTORS;
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
    let raised = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
    if raised.is_err() || limit.current.is_some_and(|current| current < wanted) {
        tracing::warn!(
            "The limit of open files is too low for maxclients: {wanted} are needed, {} are allowed",
            limit.current.unwrap_or(0)
        );
    }
}

fn write_pidfile(settings: &Config) {
    let path = pidfile(settings);
    if !path.is_empty() && std::fs::write(path, format!("{}\n", std::process::id())).is_err() {
        tracing::warn!("Failed to write PID file: {path}");
    }
}

fn remove_pidfile(settings: &Config) {
    let path = pidfile(settings);
    if !path.is_empty() {
        let _ = std::fs::remove_file(path);
    }
}

fn pidfile(settings: &Config) -> &str {
    let process = &settings.process;
    if process.pidfile.is_empty() && process.daemonize {
        "/var/run/redis.pid"
    } else {
        &process.pidfile
    }
}

fn notify_supervisor(settings: &Config, state: &[sd_notify::NotifyState<'_>]) {
    if matches!(
        settings.process.supervised,
        Supervision::Systemd | Supervision::Auto
    ) {
        let _ = sd_notify::notify(state);
    }
}

impl Node {
    /// A node that serves `keyspace`.
    fn new(
        config: Live,
        config_file: Option<PathBuf>,
        acl: Acl,
        keyspace: Arc<Keyspace>,
        cluster: Option<Arc<Cluster>>,
        opened: (OpenReport, Duration),
        started: Instant,
    ) -> Node {
        let history = History::open(&keyspace);
        Node {
            config,
            config_file,
            acl: Arc::new(acl),
            keyspace,
            cluster,
            clients: Default::default(),
            watch: Default::default(),
            blocked: Default::default(),
            broker: Default::default(),
            tracking: Default::default(),
            proxy_links: Default::default(),
            relay: Default::default(),
            monitors: Default::default(),
            pause: Default::default(),
            slots_in_transfer: Default::default(),
            bulk_threads: tokio::sync::Semaphore::new(bulk::THREADS_MAX),
            stats: Stats::new(command::table().entries().len()),
            errors: Default::default(),
            lazyfreed: Default::default(),
            defrag: Default::default(),
            migrate_sockets_kept: Default::default(),
            slowlog: Default::default(),
            slot_stats: SlotStats::new(eagle_core::store::SLOTS),
            latency: Default::default(),
            scripts: Default::default(),
            rates: Default::default(),
            used_peak: Default::default(),
            shutdown: Default::default(),
            halt: Default::default(),
            surrender: Default::default(),
            run_id: random_hex_id(),
            history,
            replicas: Arc::new(Replicas::new(unix_ms() / 1000)),
            syncs: Default::default(),
            started_at_ms: unix_ms(),
            started,
            active_expire: true.into(),
            forged_payloads: false.into(),
            cron_paused: false.into(),
            saving: Default::default(),
            loading: Default::default(),
            loaded: Default::default(),
            dirty: Default::default(),
            evicting: false.into(),
            expire_cycle_us: Default::default(),
            opened,
            is_serving: false.into(),
        }
    }
}
