//! What one client is subscribed to.

use hashbrown::HashSet;
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const RELAXED: Ordering = Ordering::Relaxed;

/// The channels and patterns of one client. Also changed by others than its own thread: a shard channel ends
/// with its slot.
#[derive(Default)]
pub struct Topics {
    pub channels: HashSet<Box<[u8]>>,
    /// In the order in which they were subscribed to.
    pub patterns: Vec<Box<[u8]>>,
    pub shard_channels: HashSet<Box<[u8]>>,
}

/// [`Topics`] behind a lock, with their numbers in front of it.
#[derive(Default)]
pub struct Subscriptions {
    topics: Mutex<Topics>,
    channels: AtomicU32,
    patterns: AtomicU32,
    shard_channels: AtomicU32,
    /// The client receives messages: it counts as a pub/sub client, and in RESP2 may run few commands.
    subscribed: AtomicBool,
}

impl Subscriptions {
    /// Locks the topics for a change, to be ended by [`Subscriptions::count`].
    pub fn lock(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock()
    }

    /// Notes the numbers of `topics`, which are this client's.
    pub fn count(&self, topics: &Topics) {
        self.channels.store(topics.channels.len() as u32, RELAXED);
        self.patterns.store(topics.patterns.len() as u32, RELAXED);
        let shard_channels = topics.shard_channels.len() as u32;
        self.shard_channels.store(shard_channels, RELAXED);
    }

    pub fn channels(&self) -> u32 {
        self.channels.load(RELAXED)
    }

    pub fn patterns(&self) -> u32 {
        self.patterns.load(RELAXED)
    }

    pub fn shard_channels(&self) -> u32 {
        self.shard_channels.load(RELAXED)
    }

    /// Whether the client is subscribed to anything.
    #[inline]
    pub fn any(&self) -> bool {
        self.subscribed.load(RELAXED)
    }

    /// Says whether the client receives messages. It does not any more when its last topic is gone.
    pub fn set_subscribed(&self) {
        let topics = u64::from(self.channels())
            + u64::from(self.patterns())
            + u64::from(self.shard_channels());
        self.subscribed.store(topics > 0, RELAXED);
    }
}
