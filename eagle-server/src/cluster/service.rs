//! The running cluster: the state machine behind a lock, its file, its links, its routing snapshot.
//!
//! Whoever changes the state (a frame, a tick, an administrator's command) does it through
//! [`Cluster::act`], which carries out the effects in their order before it lets go of the lock. So
//! what must be durable before it is visible is durable, and frames leave in the order of events.
//! Routing does not come here: it reads the topology snapshot.

use super::bus::shell::{self, Links};
use super::config_store::ConfigStore;
use super::state::{ClusterState, Effect, LinkId, LogLevel, ReplicationView};
use super::{SlotSet, Topology, slot_cleaner::SlotCleaner};
use crate::clock::unix_ms;
use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Saves that take longer are logged: the bus, which must not run ahead of its file, is silent meanwhile.
const SLOW_SAVE: Duration = Duration::from_millis(500);

pub struct Cluster {
    topology: ArcSwap<Topology>,
    inner: Mutex<Inner>,
    links: Links,
    cleaner: SlotCleaner,
    /// Runs the links and the tick.
    runtime: Handle,
    /// `cluster-link-sendbuf-limit`; 0 sets no bound.
    pub(super) link_bytes_max: AtomicU64,
    /// Whom messages for clients go to.
    listener: OnceLock<Box<dyn Listener>>,
}

/// What the cluster has to tell the clients of this node. Called under the cluster's lock: it must neither wait
/// nor come back to the cluster.
pub trait Listener: Send + Sync {
    /// Another node has published a message.
    fn published(&self, channel: &[u8], message: &[u8], sharded: bool);
    /// How far this node's stream of changes has come, in bytes.
    fn offset(&self) -> u64;
    /// The cluster has another shape: slots may not be served here any more.
    fn reshaped(&self, topology: &Topology);
}

struct Inner {
    state: ClusterState,
    store: ConfigStore,
    /// The latest time the state machine was told; its time never runs backwards, the wall clock may.
    latest_ms: u64,
}

impl Cluster {
    /// Takes over the state and carries out what it wants done first.
    pub fn new(
        state: ClusterState,
        store: ConfigStore,
        cleaner: SlotCleaner,
        runtime: Handle,
    ) -> Arc<Cluster> {
        let topology = ArcSwap::from_pointee(state.topology());
        let cluster = Arc::new(Cluster {
            topology,
            inner: Mutex::new(Inner {
                state,
                store,
                latest_ms: 0,
            }),
            links: Links::default(),
            cleaner,
            runtime,
            link_bytes_max: AtomicU64::new(0),
            listener: OnceLock::new(),
        });
        cluster.act(|_, _| ());
        cluster
    }

    /// The cluster's shape as routing sees it. Cheap.
    pub fn topology(&self) -> Guard<Arc<Topology>> {
        self.topology.load()
    }

    /// Lets `change` act on the state at the present time, then carries out the effects.
    pub fn act<R>(self: &Arc<Self>, change: impl FnOnce(&mut ClusterState, u64) -> R) -> R {
        let mut inner = self.inner.lock();
        let Inner {
            state,
            store,
            latest_ms,
        } = &mut *inner;
        *latest_ms = unix_ms().max(*latest_ms);
        if let Some(listener) = self.listener.get() {
            // A replica that takes over goes by the offset of the message that tells it to.
            state.set_replication(ReplicationView {
                offset: listener.offset(),
                data_age_ms: None,
            });
        }
        let result = change(state, *latest_ms);
        for effect in state.drain_effects() {
            self.carry_out(store, effect);
        }
        result
    }

    /// Says whom messages for clients go to; to be called once.
    pub fn listen(&self, listener: Box<dyn Listener>) {
        let set = self.listener.set(listener);
        assert!(set.is_ok(), "there is one listener");
    }

    /// Sends a published message to the nodes whose clients may want it.
    pub fn publish(self: &Arc<Self>, channel: &[u8], message: &[u8], sharded: bool) {
        let (channel, message) = (
            Bytes::copy_from_slice(channel),
            Bytes::copy_from_slice(message),
        );
        self.act(|state, now_ms| state.publish(channel, message, sharded, now_ms));
    }

    /// Looks at the state without changing it.
    pub fn look<R>(&self, look: impl FnOnce(&ClusterState) -> R) -> R {
        look(&self.inner.lock().state)
    }

    /// Bytes that wait on a link, for CLUSTER LINKS.
    pub fn link_bytes(&self, link: LinkId) -> u64 {
        self.links.queued_bytes(link)
    }

    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    fn carry_out(self: &Arc<Self>, store: &mut ConfigStore, effect: Effect) {
        match effect {
            Effect::SaveConfig { text, fsync } => {
                let began = Instant::now();
                if let Err(error) = store.save(&text, fsync) {
                    // Going on would mean to promise what a restart forgets.
                    tracing::error!(
                        "Fatal: can't update cluster config file {}: {error}",
                        store.path().display()
                    );
                    std::process::exit(1);
                }
                let took = began.elapsed();
                if took >= SLOW_SAVE {
                    tracing::warn!(
                        "Writing the cluster config file took {} ms: on such a disk other nodes may take this one for failed",
                        took.as_millis()
                    );
                }
            }
            Effect::Topology(topology) => {
                self.topology.store(topology.clone());
                if let Some(listener) = self.listener.get() {
                    listener.reshaped(&topology);
                }
            }
            Effect::Connect { link, ip, cport } => {
                let frames = self.links.open(link);
                self.runtime
                    .spawn(shell::connect(self.clone(), link, ip, cport, frames));
            }
            Effect::Close { link } => self.links.close(link),
            Effect::Send { link, frame } => self.links.send(link, frame),
            Effect::SlotsLost(slots) => self.cleaner.clean(slots),
            Effect::Publish {
                channel,
                message,
                sharded,
            } => {
                if let Some(listener) = self.listener.get() {
                    listener.published(&channel, &message, sharded);
                }
            }
            Effect::BecomeReplicaOf { primary, ip, port } => {
                // Another node has taken over all slots of this one; what is left here is out of date.
                tracing::warn!(
                    "All slots went to {primary} ({ip}:{port}); this node holds no copy of them"
                );
                self.cleaner.clean(SlotSet::full());
            }
            Effect::BecomePrimary { flush } => {
                if flush {
                    self.cleaner.clean(SlotSet::full());
                }
            }
            Effect::Log(level, text) => match level {
                LogLevel::Debug => tracing::trace!("{text}"),
                LogLevel::Verbose => tracing::debug!("{text}"),
                LogLevel::Notice => tracing::info!("{text}"),
                LogLevel::Warning => tracing::warn!("{text}"),
            },
        }
    }

    /// Closes links whose queues have grown beyond the limit.
    pub(super) fn enforce_link_limit(self: &Arc<Self>) {
        let bytes_max = self.link_bytes_max.load(Ordering::Relaxed);
        if bytes_max == 0 {
            return;
        }
        for link in self.links.longer_than(bytes_max) {
            self.links.close(link);
            self.act(|state, now_ms| state.on_buffer_limit_exceeded(link, now_ms));
        }
    }
}
