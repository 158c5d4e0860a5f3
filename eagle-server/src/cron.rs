//! Periodic work, in two places: what touches clients runs with the control tasks, what touches the
//! keyspace has a thread of its own, so that it never delays a heartbeat of the cluster bus.

use crate::clock::unix_ms;
use crate::command::blocking::post_ready;
use crate::command::evict::{Evictor, Room};
use crate::command::publish_expired;
use crate::command::replication::Rounds;
use crate::command::saving;
use crate::config::Config;
use crate::defrag::Defragmenter;
use crate::eviction::Candidates;
use crate::node::Node;
use crate::session::ClientKind;
use eagle_core::store::View;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Looks after the clients ten times a second until shutdown.
pub async fn clients(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut shape, mut rounds) = (Shape::default(), Rounds::default());
    loop {
        tokio::select! {
            () = node.shutdown.requested() => return,
            _ = ticks.tick() => {
                if node.cron_paused.load(Ordering::Relaxed) {
                    continue;
                }
                let now_ms = unix_ms();
                close_idle(&node, now_ms);
                look_after_memory(&node, now_ms);
                shape.follow(&node);
                let keys_max = node.config.load().clients.tracking_table_max_keys;
                node.tell_caches(|tracking, to| tracking.limit(keys_max, to));
                sample(&node, now_ms);
                saving::follow_save_points(&node);
                rounds.follow(&node);
            }
        }
    }
}

/// Ends clients that have been silent for longer than `timeout`.
fn close_idle(node: &Node, now_ms: u64) {
    let idle_max_ms = u64::from(node.config.load().clients.timeout) * 1000;
    if idle_max_ms == 0 {
        return;
    }
    for client in node.clients.all() {
        let idle_ms = now_ms.saturating_sub(client.last_active_ms());
        let may_be_silent = client.kind() == ClientKind::Replica;
        if idle_ms > idle_max_ms && !may_be_silent && !client.blocked.load(Ordering::Relaxed) {
            tracing::debug!("Closing idle client: id={} addr={}", client.id, client.addr);
            client.kill();
        }
    }
}

/// Looks at blocked clients after each change of the cluster's shape: a client may block after the first.
const LOOKS: u32 = 2;

/// What is known of the cluster's shape.
#[derive(Default)]
struct Shape {
    version: u64,
    looks_left: u32,
}

impl Shape {
    /// Has the blocked clients looked at if the cluster has changed.
    fn follow(&mut self, node: &Node) {
        let Some(cluster) = &node.cluster else {
            return;
        };
        let version = cluster.topology().version();
        if version != self.version {
            *self = Shape {
                version,
                looks_left: LOOKS,
            };
        }
        if self.looks_left > 0 {
            self.looks_left -= 1;
            if !node.blocked.is_empty() {
                node.blocked.post_recheck();
            }
        }
    }
}

/// Has silent clients give back their read buffers, and ends those that hold more than they may.
fn look_after_memory(node: &Node, now_ms: u64) {
    /// Silence after which a read buffer is given back.
    const SILENT_MS: u64 = 2000;
    /// Smaller buffers are not worth it.
    const ROOM_BYTES_MIN: usize = 4096;
    let config = node.config.load();
    let bytes_max = config.client_bytes_max();
    for client in node.clients.all() {
        let silent_ms = now_ms.saturating_sub(client.last_active_ms());
        if silent_ms > SILENT_MS && client.query_room_bytes.load(Ordering::Relaxed) > ROOM_BYTES_MIN
        {
            client.trim();
        }
        // A soft limit may be exceeded for too long while nothing is written.
        let limits = &config.clients.client_output_buffer_limit;
        node.clients.enforce_output_limit(&client, limits);
    }
    if let Some(bytes_max) = bytes_max {
        let limits = &config.clients.client_output_buffer_limit;
        node.clients.recount_memory(bytes_max, limits);
    }
}

/// Follows what INFO reports as rates and peaks.
fn sample(node: &Node, now_ms: u64) {
    let stats = &node.stats;
    let counters = [
        stats.sum(|worker| &worker.commands_processed),
        stats.sum(|worker| &worker.net_input_bytes),
        stats.sum(|worker| &worker.net_output_bytes),
    ];
    node.rates.sample(now_ms, counters);
    node.used_peak.note(node.keyspace.usage().used);
}

/// Keys looked at in one step of the expiry cycle.
const EXPIRE_BUDGET: usize = 200;
/// Blocks freed in one step of the reaper.
const REAP_BUDGET: usize = 4096;
/// Slabs of a reopened pool counted in one step.
const INDEX_BUDGET: usize = 64;
/// Share of the time that the keyspace thread may work: one part in this many.
const DUTY: u32 = 4;

/// How often the thread looks, before it begins, whether it is needed already.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// How often threads may be asked for the memory that they keep for their next writes.
const GIVE_BACK_PERIOD: Duration = Duration::from_secs(1);
/// They keep some; so much of it is worth asking for,
const HELD_BYTES_MIN: u64 = 1 << 20;
/// if it is more than one part in so many of the data.
const HELD_SHARE: u64 = 8;

/// The keyspace's background thread: active expiry, and giving back what large deletes left.
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Background {
    pub fn start(node: &Arc<Node>) -> std::io::Result<Background> {
        let stop = Arc::new(AtomicBool::new(false));
        let (node, stopped) = (node.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("keyspace".into())
            .spawn(move || run(&node, &stopped))?;
        Ok(Background { stop, thread })
    }

    pub fn join(self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.join();
    }
}

/// How often the thread has a look at all it does (directive `hz`).
fn period(config: &Config) -> Duration {
    Duration::from_secs(1) / config.process.hz.clamp(1, 500)
}

/// Leaves the processors to the first clients, whose replies would else be later the more there is to index: for a
/// period at most, and not once there is somebody whom indexing helps. That is whoever writes, so that what is free in
/// the pool is used before more of it is taken, and a limit of memory, because what was not indexed counts as full.
fn stand_back(node: &Node, stop: &AtomicBool) {
    let started = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let config = node.config.load();
        let is_needed = config.memory.maxmemory != 0 || node.keyspace.usage().held > 0;
        if is_needed || started.elapsed() >= period(&config) {
            return;
        }
        drop(config);
        std::thread::sleep(FIRST_LOOK);
    }
}

fn run(node: &Arc<Node>, stop: &AtomicBool) {
    stand_back(node, stop);
    let mut worker = node.keyspace.worker();
    let mut candidates = Candidates::default();
    let mut indexed = false;
    let mut defragmenter = Defragmenter::default();
    let mut asked_at = Instant::now();
    while !stop.load(Ordering::Acquire) {
        node.halt.sit_out();
        node.follow_ring();
        let period = period(&node.config.load());
        let started = Instant::now();
        let budget = period / DUTY;
        let mut busy = !node.cron_paused.load(Ordering::Relaxed);
        while busy && started.elapsed() < budget {
            busy = node.keyspace.reap_step(&mut worker, REAP_BUDGET);
            busy |= node.keyspace.trim_step();
            if !indexed {
                indexed = node.keyspace.index_step(INDEX_BUDGET);
                busy |= !indexed;
            }
            if node.evicting.load(Ordering::Relaxed) {
                let mut evictor = Evictor {
                    node,
                    worker: &mut worker,
                    candidates: &mut candidates,
                    turn: None,
                };
                let room = evictor.make_room(&node.config.load(), unix_ms());
                node.evicting.store(room == Room::Making, Ordering::Relaxed);
                busy |= room == Room::Making;
            }
            if node.active_expire.load(Ordering::Relaxed) && node.pause.current(unix_ms()).is_none()
            {
                let began = Instant::now();
                let now_ms = unix_ms();
                // Whoever watched a key while it lived knows when its time comes; of fields they are told.
                let mut commit = |view: View<'_>| {
                    let mut stream = node.stream();
                    stream.push_expired(&view, node.config.load().memory.lazyfree_lazy_expire);
                    for lapsed in view.lapsed() {
                        node.watch.touch(lapsed.db, &lapsed.key);
                    }
                    let committed = stream.commit_apart(view);
                    post_ready(node, &committed);
                    publish_expired(node, None, &committed);
                };
                let keyspace = &node.keyspace;
                let keys = keyspace.expire_step(&mut worker, now_ms, EXPIRE_BUDGET, &mut commit);
                let fields =
                    keyspace.expire_fields_step(&mut worker, now_ms, EXPIRE_BUDGET, &mut commit);
                let expired = keys.max(fields);
                node.note_changes((keys + fields) as u64);
                // More than a quarter of what was looked at had expired: there is more to find.
                busy |= expired > EXPIRE_BUDGET / 4;
                let threshold_ms = node.config.load().monitoring.latency_monitor_threshold;
                let took = began.elapsed();
                node.expire_cycle_us
                    .fetch_add(took.as_micros() as u64, Ordering::Relaxed);
                let took_ms = took.as_millis() as u64;
                node.latency
                    .record("expire-cycle", now_ms / 1000, took_ms, threshold_ms);
            }
        }
        if !node.cron_paused.load(Ordering::Relaxed) {
            let usage = node.keyspace.usage();
            if usage.retired > 0 {
                // Where nobody runs commands, nobody notices that the last ones have ended.
                node.keyspace.pin().flush();
            }
            let is_much = usage.held > HELD_BYTES_MIN && usage.held > usage.used / HELD_SHARE;
            if is_much && asked_at.elapsed() >= GIVE_BACK_PERIOD {
                asked_at = Instant::now();
                worker.give_back(&node.keyspace.pin());
                node.surrender.ask();
            }
        }
        if indexed {
            defragmenter.run(node, &mut worker, period);
        }
        std::thread::sleep(period.saturating_sub(started.elapsed()));
    }
}
