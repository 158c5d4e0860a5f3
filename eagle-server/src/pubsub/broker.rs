//! Who listens to which channel.
//!
//! Channels are sharded by a hash of their name, shard channels by their slot; patterns, which every message is
//! compared with, stand in one list. A publisher holds the lock of a shard for reading while it appends to the
//! outboxes of the listeners; a subscriber holds it for writing. So a message goes to all who had their
//! subscription confirmed before it was published, and to nobody whose end was confirmed.
//!
//! Locks are taken in this order: a client's topics, a shard (or the patterns), a client's outbox.

use super::message::{Confirmation, Topic, write_message, write_pattern_message};
use crate::session::{ClientInfo, Message, Topics};
use bytes::Bytes;
use eagle_core::resp::Writer;
use eagle_core::store::key_slot;
use eagle_core::text::glob::{self, Case};
use hashbrown::HashMap;
use parking_lot::RwLock;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SHARDS: usize = 64;

/// Clients by id.
type Listeners = HashMap<u64, Arc<ClientInfo>>;

/// A channel, and those who listen to it no more.
type Ended = (Box<[u8]>, Listeners);

/// Takes a message for a client.
pub type Receipt<'a> = &'a mut dyn FnMut(&Arc<ClientInfo>, Bytes);

/// All subscriptions of one node.
pub struct Broker {
    channels: Channels,
    shard_channels: Channels,
    patterns: RwLock<HashMap<Box<[u8]>, Listeners>>,
    pattern_count: AtomicUsize,
}

impl Default for Broker {
    fn default() -> Broker {
        Broker {
            channels: Channels::new(Topic::Channel),
            shard_channels: Channels::new(Topic::ShardChannel),
            patterns: RwLock::default(),
            pattern_count: AtomicUsize::new(0),
        }
    }
}

impl Broker {
    /// Whether nobody would get a message of a channel. Cheap.
    pub fn is_idle(&self) -> bool {
        self.channels.len() == 0 && self.pattern_count() == 0
    }

    /// Channels with a listener.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Patterns with a listener.
    pub fn pattern_count(&self) -> usize {
        self.pattern_count.load(Ordering::Acquire)
    }

    /// Shard channels with a listener.
    pub fn shard_channel_count(&self) -> usize {
        self.shard_channels.len()
    }

    /// Subscribes `client` to `name`; the number of its subscriptions then, as its confirmation tells it.
    pub fn subscribe(&self, client: &Arc<ClientInfo>, topic: Topic, name: &[u8]) -> usize {
        let mut topics = client.subscriptions.lock();
        if topics.add(topic, name) {
            match topic {
                Topic::Channel => self.channels.add(name, client),
                Topic::ShardChannel => self.shard_channels.add(name, client),
                Topic::Pattern => {
                    let mut patterns = self.patterns.write();
                    patterns
                        .entry(name.into())
                        .or_default()
                        .insert(client.id, client.clone());
                    self.pattern_count.store(patterns.len(), Ordering::Release);
                }
            }
        }
        client.subscriptions.count(&topics);
        topics.told(topic)
    }

    /// Ends a subscription, if there is one; the number of those left.
    pub fn unsubscribe(&self, client: &ClientInfo, topic: Topic, name: &[u8]) -> usize {
        let mut topics = client.subscriptions.lock();
        if topics.remove(topic, name) {
            self.forget(client, topic, name);
        }
        client.subscriptions.count(&topics);
        topics.told(topic)
    }

    /// The names `client` is subscribed to.
    pub fn names(&self, client: &ClientInfo, topic: Topic) -> Vec<Box<[u8]>> {
        let topics = client.subscriptions.lock();
        match topic {
            Topic::Channel => topics.channels.iter().cloned().collect(),
            Topic::ShardChannel => topics.shard_channels.iter().cloned().collect(),
            Topic::Pattern => topics.patterns.clone(),
        }
    }

    /// Ends all subscriptions of a client, silently.
    pub fn leave(&self, client: &ClientInfo) {
        for topic in [Topic::Channel, Topic::Pattern, Topic::ShardChannel] {
            for name in self.names(client, topic) {
                self.unsubscribe(client, topic, &name);
            }
        }
        client.subscriptions.set_subscribed();
    }

    fn forget(&self, client: &ClientInfo, topic: Topic, name: &[u8]) {
        match topic {
            Topic::Channel => self.channels.remove(name, client.id),
            Topic::ShardChannel => self.shard_channels.remove(name, client.id),
            Topic::Pattern => {
                let mut patterns = self.patterns.write();
                if let Some(listeners) = patterns.get_mut(name) {
                    listeners.remove(&client.id);
                    if listeners.is_empty() {
                        patterns.remove(name);
                    }
                }
                self.pattern_count.store(patterns.len(), Ordering::Release);
            }
        }
    }

    /// Hands a message to the listeners of `channel` and of the patterns it matches; how many times.
    pub fn publish(&self, channel: &[u8], payload: &[u8], to: Receipt<'_>) -> usize {
        let mut count = self.channels.publish(channel, payload, to);
        if self.pattern_count() > 0 {
            let patterns = self.patterns.read();
            let matching = patterns
                .iter()
                .filter(|(pattern, _)| glob::matches(pattern, channel, Case::Sensitive));
            for (pattern, listeners) in matching {
                let mut message = Message::new(|out: &mut Writer| {
                    write_pattern_message(out, pattern, channel, payload);
                });
                for client in listeners.values() {
                    to(client, message.bytes(client.protocol()));
                    count += 1;
                }
            }
        }
        count
    }

    /// Hands a message to the listeners of a shard channel; how many.
    pub fn publish_sharded(&self, channel: &[u8], payload: &[u8], to: Receipt<'_>) -> usize {
        self.shard_channels.publish(channel, payload, to)
    }

    /// How many would get a message of `channel` now.
    pub fn receivers(&self, channel: &[u8]) -> usize {
        let mut count = self.channels.listeners(channel);
        if self.pattern_count() > 0 {
            let patterns = self.patterns.read();
            let matching = patterns
                .iter()
                .filter(|(pattern, _)| glob::matches(pattern, channel, Case::Sensitive));
            count += matching
                .map(|(_, listeners)| listeners.len())
                .sum::<usize>();
        }
        count
    }

    /// How many listen to `channel` itself.
    pub fn listeners(&self, channel: &[u8]) -> usize {
        self.channels.listeners(channel)
    }

    /// How many listen to a shard channel.
    pub fn shard_listeners(&self, channel: &[u8]) -> usize {
        self.shard_channels.listeners(channel)
    }

    /// Names of the channels, or of the shard channels, that have listeners and match `pattern`.
    pub fn active(&self, sharded: bool, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        if sharded {
            self.shard_channels.names(pattern)
        } else {
            self.channels.names(pattern)
        }
    }

    /// Ends the subscriptions to shard channels of slots that `is_lost`, and tells the subscribers; but for those who
    /// are `kept`. Returns the channels that have such.
    pub fn lose_slots(
        &self,
        is_lost: impl Fn(u16) -> bool,
        kept: impl Fn(&ClientInfo) -> bool,
        to: Receipt<'_>,
    ) -> Vec<Box<[u8]>> {
        self.lose(|name| is_lost(key_slot(name)), kept, to)
    }

    /// Ends all subscriptions to a shard channel, and tells the subscribers.
    pub fn lose_channel(&self, channel: &[u8], to: Receipt<'_>) {
        self.lose(|name| name == channel, |_| false, to);
    }

    fn lose(
        &self,
        is_lost: impl Fn(&[u8]) -> bool,
        kept: impl Fn(&ClientInfo) -> bool,
        to: Receipt<'_>,
    ) -> Vec<Box<[u8]>> {
        let (taken, remaining) = self.shard_channels.take_if(is_lost, kept);
        for (name, listeners) in taken {
            for client in listeners.values() {
                let mut topics = client.subscriptions.lock();
                if !topics.remove(Topic::ShardChannel, &name) {
                    continue;
                }
                client.subscriptions.count(&topics);
                let left = topics.told(Topic::ShardChannel);
                drop(topics);
                let mut message = Message::new(|out: &mut Writer| {
                    Confirmation::Unsubscribed.write(out, Topic::ShardChannel, Some(&name), left);
                });
                to(client, message.bytes(client.protocol()));
                client.subscriptions.set_subscribed();
            }
        }
        remaining
    }
}

impl Topics {
    /// Adds a name; whether it is new.
    fn add(&mut self, topic: Topic, name: &[u8]) -> bool {
        match topic {
            Topic::Channel => self.channels.insert(name.into()),
            Topic::ShardChannel => self.shard_channels.insert(name.into()),
            Topic::Pattern => {
                let is_new = !self.patterns.iter().any(|known| **known == *name);
                if is_new {
                    self.patterns.push(name.into());
                }
                is_new
            }
        }
    }

    /// Removes a name; whether it was there.
    fn remove(&mut self, topic: Topic, name: &[u8]) -> bool {
        match topic {
            Topic::Channel => self.channels.remove(name),
            Topic::ShardChannel => self.shard_channels.remove(name),
            Topic::Pattern => {
                let position = self.patterns.iter().position(|known| **known == *name);
                position.is_some_and(|position| {
                    self.patterns.remove(position);
                    true
                })
            }
        }
    }

    /// The number that confirmations tell: channels and patterns together, shard channels apart.
    fn told(&self, topic: Topic) -> usize {
        match topic {
            Topic::Channel | Topic::Pattern => self.channels.len() + self.patterns.len(),
            Topic::ShardChannel => self.shard_channels.len(),
        }
    }
}

/// Listeners by channel.
struct Channels {
    topic: Topic,
    shards: Vec<RwLock<HashMap<Box<[u8]>, Listeners>>>,
    hasher: hashbrown::DefaultHashBuilder,
    /// Channels with a listener.
    count: AtomicUsize,
}

impl Channels {
    fn new(topic: Topic) -> Channels {
        Channels {
            topic,
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: Default::default(),
            count: AtomicUsize::new(0),
        }
    }

    fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn shard(&self, name: &[u8]) -> &RwLock<HashMap<Box<[u8]>, Listeners>> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }

    fn add(&self, name: &[u8], client: &Arc<ClientInfo>) {
        let mut shard = self.shard(name).write();
        let listeners = shard.entry(name.into()).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::AcqRel);
            Listeners::default()
        });
        listeners.insert(client.id, client.clone());
    }

    fn remove(&self, name: &[u8], id: u64) {
        let mut shard = self.shard(name).write();
        if let Some(listeners) = shard.get_mut(name) {
            listeners.remove(&id);
            if listeners.is_empty() {
                shard.remove(name);
                self.count.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    fn listeners(&self, name: &[u8]) -> usize {
        self.shard(name).read().get(name).map_or(0, HashMap::len)
    }

    fn publish(&self, channel: &[u8], payload: &[u8], to: Receipt<'_>) -> usize {
        if self.len() == 0 {
            return 0;
        }
        let shard = self.shard(channel).read();
        let Some(listeners) = shard.get(channel) else {
            return 0;
        };
        let mut message =
            Message::new(|out: &mut Writer| write_message(out, self.topic, channel, payload));
        for client in listeners.values() {
            to(client, message.bytes(client.protocol()));
        }
        listeners.len()
    }

    fn names(&self, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let mut names = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            let matching = shard.keys().filter(|name| {
                pattern.is_none_or(|pattern| glob::matches(pattern, name, Case::Sensitive))
            });
            names.extend(matching.cloned());
        }
        names
    }

    /// Takes out the listeners of the channels whose names are wanted, but for those who are `kept`; also the names of the
    /// channels that have such.
    fn take_if(
        &self,
        wanted: impl Fn(&[u8]) -> bool,
        kept: impl Fn(&ClientInfo) -> bool,
    ) -> (Vec<Ended>, Vec<Box<[u8]>>) {
        let (mut taken, mut remaining) = (Vec::new(), Vec::new());
        if self.len() == 0 {
            return (taken, remaining);
        }
        for shard in &self.shards {
            let mut shard = shard.write();
            shard.retain(|name, listeners| {
                if !wanted(name) {
                    return true;
                }
                let gone: Listeners = listeners.extract_if(|_, client| !kept(client)).collect();
                if !gone.is_empty() {
                    taken.push((name.clone(), gone));
                }
                if listeners.is_empty() {
                    self.count.fetch_sub(1, Ordering::AcqRel);
                    return false;
                }
                remaining.push(name.clone());
                true
            });
        }
        (taken, remaining)
    }
}
