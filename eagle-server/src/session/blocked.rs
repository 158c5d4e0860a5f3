//! Clients that wait for keys, by key and by client.
//!
//! ```text
//!   (db, key) -> queue of waiters, oldest first        sharded by the key's slot
//!   client id -> its waiter                            CLIENT UNBLOCK, changes of the cluster
//! ```
//!
//! A waiter is answered once, by whoever holds its [`Claim`]: the command that makes a key ready, the timeout,
//! CLIENT UNBLOCK, or nobody if the connection ends. What is to be done when a key is ready only the command layer
//! knows; it keeps that in the waiter's `task`.
//!
//! Order of locks: slots of the keyspace, then one waiter, then one shard. A waiter's lock is held while it is
//! being served, so that two threads with two of its keys do not both serve it, nor both pass it by.

use super::ClientInfo;
use eagle_core::resp::{Protocol, Writer};
use eagle_core::store::{Interest, Kind, key_slot};
use hashbrown::{Equivalent, HashMap};
use parking_lot::{Mutex, MutexGuard};
use std::any::Any;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{Notify, oneshot};

/// A key that may have become ready: its database and name.
pub type ReadyKey = (u8, Box<[u8]>);

const SHARDS: usize = 64;

/// Which states of a key concern a waiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Awaited {
    /// The key holds this type of value.
    pub kind: Kind,
    /// So does its absence, and any other type: the client waits for what only an existing key can give (a group of
    /// a stream).
    pub loss: bool,
}

impl Awaited {
    /// Waits for values of a type.
    pub const fn kind(kind: Kind) -> Awaited {
        Awaited { kind, loss: false }
    }

    fn concerns(self, found: Option<Kind>) -> bool {
        self.loss || found == Some(self.kind)
    }
}

/// What a blocked client gets in the end.
#[derive(Debug)]
pub struct Answer {
    /// The reply, in the client's protocol.
    pub reply: Vec<u8>,
    /// The connection ends behind it.
    pub closing: bool,
}

/// A blocked client.
pub struct Waiter {
    pub client: Arc<ClientInfo>,
    pub db: u8,
    pub protocol: Protocol,
    pub awaited: Awaited,
    /// How it is served, in the command layer's terms.
    pub task: Box<dyn Any + Send + Sync>,
    /// Unix time in milliseconds, `None` to wait without end.
    pub deadline_ms: Option<u64>,
    /// Its place in every queue: lower ones came before.
    turn: u64,
    keys: Vec<Box<[u8]>>,
    /// `None` once answered.
    reply: Mutex<Option<oneshot::Sender<Answer>>>,
}

impl Waiter {
    /// The keys it waits for, each once.
    pub fn keys(&self) -> &[Box<[u8]>] {
        &self.keys
    }

    /// Its place in the order in which clients blocked.
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// Whether it is to hear of a key in this state.
    pub fn is_concerned_by(&self, found: Option<Kind>) -> bool {
        self.awaited.concerns(found)
    }

    /// The right to answer; `None` if it has been answered. Waits while another thread has it.
    pub fn claim(&self) -> Option<Claim<'_>> {
        let reply = self.reply.lock();
        reply.is_some().then_some(Claim {
            waiter: self,
            reply,
        })
    }
}

/// The right to answer one blocked client. Dropped, it goes on waiting.
pub struct Claim<'w> {
    waiter: &'w Waiter,
    reply: MutexGuard<'w, Option<oneshot::Sender<Answer>>>,
}

impl Claim<'_> {
    /// Takes the client off all queues and sends it its reply.
    pub fn answer(self, table: &BlockedTable, interest: &Interest, answer: Answer) {
        if let Some(reply) = self.leave(table, interest) {
            // A connection that has just ended needs no reply.
            let _ = reply.send(answer);
        }
    }

    /// Takes the client off all queues: its connection ends.
    pub fn leave(
        mut self,
        table: &BlockedTable,
        interest: &Interest,
    ) -> Option<oneshot::Sender<Answer>> {
        table.remove(self.waiter, interest);
        self.reply.take()
    }
}

/// What a client that blocks brings along.
pub struct Arrival {
    pub client: Arc<ClientInfo>,
    pub db: u8,
    pub protocol: Protocol,
    pub awaited: Awaited,
    pub task: Box<dyn Any + Send + Sync>,
    pub deadline_ms: Option<u64>,
    pub keys: Vec<Box<[u8]>>,
}

/// Those who wait for one key.
#[derive(Default)]
struct Queue {
    waiters: BTreeMap<u64, Arc<Waiter>>,
    /// How many of them the absence of the key concerns.
    losses: usize,
}

/// All blocked clients.
pub struct BlockedTable {
    shards: Vec<Mutex<HashMap<ReadyKey, Queue>>>,
    clients: Mutex<HashMap<u64, Arc<Waiter>>>,
    last_turn: AtomicU64,
    with_deadline: AtomicUsize,
    /// How many clients wait for values of each type, in the order of [`Kind::ALL`].
    of_kind: [AtomicUsize; Kind::ALL.len()],
    /// Keys for a worker to look at: the thread that changed them cannot serve, or must not now.
    posted: Mutex<Vec<ReadyKey>>,
    recheck: AtomicBool,
    post: Notify,
}

impl Default for BlockedTable {
    fn default() -> BlockedTable {
        BlockedTable {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            clients: Mutex::default(),
            last_turn: AtomicU64::new(0),
            with_deadline: AtomicUsize::new(0),
            of_kind: Default::default(),
            posted: Mutex::default(),
            recheck: AtomicBool::new(false),
            post: Notify::new(),
        }
    }
}

impl BlockedTable {
    /// Queues a client under its keys, whose slots the caller has locked: it has just seen that none of them is
    /// ready, and whoever changes one from now on finds the client.
    pub fn add(
        &self,
        interest: &Interest,
        arrival: Arrival,
    ) -> (Arc<Waiter>, oneshot::Receiver<Answer>) {
        let mut keys: Vec<Box<[u8]>> = Vec::with_capacity(arrival.keys.len());
        for key in arrival.keys {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let (reply, answer) = oneshot::channel();
        let waiter = Arc::new(Waiter {
            client: arrival.client,
            db: arrival.db,
            protocol: arrival.protocol,
            awaited: arrival.awaited,
            task: arrival.task,
            deadline_ms: arrival.deadline_ms,
            turn: self.last_turn.fetch_add(1, Ordering::Relaxed) + 1,
            keys,
            reply: Mutex::new(Some(reply)),
        });
        waiter.client.blocked.store(true, Ordering::Relaxed);
        self.clients.lock().insert(waiter.client.id, waiter.clone());
        if waiter.deadline_ms.is_some() {
            self.with_deadline.fetch_add(1, Ordering::Relaxed);
        }
        self.of_kind(waiter.awaited.kind)
            .fetch_add(1, Ordering::Relaxed);
        for key in &waiter.keys {
            let slot = key_slot(key);
            let mut shard = self.shard(slot).lock();
            let queue = shard.entry((waiter.db, key.clone())).or_default();
            queue.waiters.insert(waiter.turn, waiter.clone());
            queue.losses += usize::from(waiter.awaited.loss);
            interest.add(slot);
        }
        (waiter, answer)
    }

    fn remove(&self, waiter: &Waiter, interest: &Interest) {
        for key in &waiter.keys {
            let slot = key_slot(key);
            let mut shard = self.shard(slot).lock();
            let key = KeyName(waiter.db, key);
            if let Some(queue) = shard.get_mut(&key)
                && queue.waiters.remove(&waiter.turn).is_some()
            {
                queue.losses -= usize::from(waiter.awaited.loss);
                if queue.waiters.is_empty() {
                    shard.remove(&key);
                }
                interest.remove(slot);
            }
        }
        if waiter.deadline_ms.is_some() {
            self.with_deadline.fetch_sub(1, Ordering::Relaxed);
        }
        self.of_kind(waiter.awaited.kind)
            .fetch_sub(1, Ordering::Relaxed);
        self.clients.lock().remove(&waiter.client.id);
        waiter.client.blocked.store(false, Ordering::Relaxed);
    }

    /// Whether somebody waits for `key`.
    pub fn is_awaited(&self, db: u8, key: &[u8]) -> bool {
        self.shard(key_slot(key))
            .lock()
            .contains_key(&KeyName(db, key))
    }

    /// Whether somebody waits for values of a type, whatever the key.
    pub fn awaits_kind(&self, kind: Kind) -> bool {
        self.of_kind(kind).load(Ordering::Relaxed) > 0
    }

    /// Whether somebody waits for `key` whom its absence concerns.
    pub fn is_loss_awaited(&self, db: u8, key: &[u8]) -> bool {
        let shard = self.shard(key_slot(key)).lock();
        shard
            .get(&KeyName(db, key))
            .is_some_and(|queue| queue.losses > 0)
    }

    /// The first waiter for `key` behind place `after` that is concerned by what the key holds; any, if that is not
    /// known.
    pub fn next(
        &self,
        db: u8,
        key: &[u8],
        after: u64,
        found: Option<Option<Kind>>,
    ) -> Option<Arc<Waiter>> {
        let shard = self.shard(key_slot(key)).lock();
        let queue = shard.get(&KeyName(db, key))?;
        if found == Some(None) && queue.losses == 0 {
            return None;
        }
        let mut behind = queue.waiters.range((Excluded(after), Unbounded));
        behind
            .find(|(_, waiter)| found.is_none_or(|found| waiter.is_concerned_by(found)))
            .map(|(_, waiter)| waiter.clone())
    }

    /// The keys of `db` that somebody waits for.
    pub fn keys_of(&self, db: u8) -> Vec<Box<[u8]>> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            keys.extend(
                shard
                    .keys()
                    .filter(|(at, _)| *at == db)
                    .map(|(_, key)| key.clone()),
            );
        }
        keys
    }

    /// The waiter of a client that is blocked.
    pub fn of_client(&self, id: u64) -> Option<Arc<Waiter>> {
        self.clients.lock().get(&id).cloned()
    }

    /// All blocked clients, in the order in which they blocked.
    pub fn all(&self) -> Vec<Arc<Waiter>> {
        let mut all: Vec<_> = self.clients.lock().values().cloned().collect();
        all.sort_unstable_by_key(|waiter| waiter.turn);
        all
    }

    /// Whether nobody is blocked.
    pub fn is_empty(&self) -> bool {
        self.clients.lock().is_empty()
    }

    /// How many clients are blocked that will not wait for ever.
    pub fn with_deadline(&self) -> usize {
        self.with_deadline.load(Ordering::Relaxed)
    }

    /// Leaves keys for a worker to serve.
    pub fn post(&self, ready: impl IntoIterator<Item = ReadyKey>) {
        let mut posted = self.posted.lock();
        posted.extend(ready);
        if !posted.is_empty() {
            drop(posted);
            self.post.notify_one();
        }
    }

    /// Has a worker ask again whether this node serves the keys that clients wait for.
    pub fn post_recheck(&self) {
        self.recheck.store(true, Ordering::Release);
        self.post.notify_one();
    }

    /// Completes when there is work for [`BlockedTable::take_posted`].
    pub async fn posted(&self) {
        self.post.notified().await;
    }

    /// The keys left so far, and whether to look at the cluster.
    pub fn take_posted(&self) -> (Vec<ReadyKey>, bool) {
        let keys = std::mem::take(&mut *self.posted.lock());
        (keys, self.recheck.swap(false, Ordering::AcqRel))
    }

    fn of_kind(&self, kind: Kind) -> &AtomicUsize {
        &self.of_kind[kind as usize]
    }

    fn shard(&self, slot: u16) -> &Mutex<HashMap<ReadyKey, Queue>> {
        &self.shards[usize::from(slot) % SHARDS]
    }
}

/// A [`ReadyKey`] to look up with.
struct KeyName<'k>(u8, &'k [u8]);

impl Hash for KeyName<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0, self.1).hash(state);
    }
}

impl Equivalent<ReadyKey> for KeyName<'_> {
    fn equivalent(&self, key: &ReadyKey) -> bool {
        self.0 == key.0 && *self.1 == *key.1
    }
}

/// The reply of a wait that has come to nothing.
pub fn timed_out(protocol: Protocol) -> Answer {
    let mut out = Writer::new(protocol);
    out.null_array();
    Answer {
        reply: out.take().into(),
        closing: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eagle_core::store::{Keyspace, PoolOptions};

    fn keyspace() -> Keyspace {
        Keyspace::open(&PoolOptions::in_memory(64 << 20))
            .expect("anonymous memory")
            .0
    }

    fn arrival(id: u64, keys: &[&[u8]], awaited: Awaited) -> Arrival {
        let info = ClientInfo::new(id, String::new(), String::new(), None, 0, 0);
        Arrival {
            client: Arc::new(info),
            db: 0,
            protocol: Protocol::Resp2,
            awaited,
            task: Box::new(()),
            deadline_ms: (id == 2).then_some(1),
            keys: keys.iter().map(|key| Box::from(*key)).collect(),
        }
    }

    #[test]
    fn clients_are_found_in_the_order_they_came_and_leave_all_queues() {
        let (table, keyspace) = (BlockedTable::default(), keyspace());
        let interest = keyspace.awaited();
        let list = Awaited::kind(Kind::List);
        let (first, _first_reply) = table.add(interest, arrival(1, &[b"a", b"b", b"a"], list));
        let (second, mut reply) = table.add(interest, arrival(2, &[b"a"], list));
        assert_eq!((first.keys().len(), table.with_deadline()), (2, 1));
        assert!(table.is_awaited(0, b"b") && !table.is_awaited(1, b"b"));
        assert!(table.awaits_kind(Kind::List) && !table.awaits_kind(Kind::Zset));
        let next = |after| table.next(0, b"a", after, None).map(|w| w.client.id);
        assert_eq!(next(0), Some(1));
        assert_eq!(next(first.turn()), Some(2));
        assert_eq!(next(second.turn()), None);
        let claim = first.claim().expect("not answered");
        claim.answer(&table, interest, timed_out(Protocol::Resp2));
        assert!(first.claim().is_none());
        assert!(!table.is_awaited(0, b"b") && next(0) == Some(2));
        assert!(!first.client.blocked.load(Ordering::Relaxed));
        let claim = table.of_client(2).expect("blocked");
        let claim = claim.claim().expect("not answered");
        claim.answer(&table, interest, timed_out(Protocol::Resp3));
        assert_eq!(reply.try_recv().expect("answered").reply, b"_\r\n");
        assert!(table.is_empty() && interest.is_none() && table.with_deadline() == 0);
        assert!(!table.awaits_kind(Kind::List));
    }

    #[test]
    fn only_those_concerned_are_found() {
        let (table, keyspace) = (BlockedTable::default(), keyspace());
        let interest = keyspace.awaited();
        let group = Awaited {
            kind: Kind::Stream,
            loss: true,
        };
        let next = |found| table.next(0, b"k", 0, Some(found)).map(|w| w.client.id);
        let _list = table.add(interest, arrival(1, &[b"k"], Awaited::kind(Kind::List)));
        assert_eq!(next(None), None);
        let _group = table.add(interest, arrival(3, &[b"k"], group));
        assert_eq!(next(Some(Kind::List)), Some(1));
        assert_eq!(next(Some(Kind::Stream)), Some(3));
        assert_eq!(next(Some(Kind::String)), Some(3));
        assert_eq!(next(None), Some(3));
    }

    #[test]
    fn posted_keys_are_taken_once() {
        let table = BlockedTable::default();
        table.post([(0, Box::from(&b"a"[..]))]);
        table.post_recheck();
        let (keys, recheck) = table.take_posted();
        assert!(keys.len() == 1 && recheck);
        assert_eq!(table.take_posted(), (Vec::new(), false));
    }
}
