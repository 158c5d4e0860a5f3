//! Client-side caching: which clients may hold a copy of which keys, and telling them when it is out of date.
//!
//! ```text
//!   default mode     a client reads a key      -> the key is remembered for it, once
//!                    somebody changes the key  -> the client is told, and the key forgotten
//!   broadcast mode   somebody changes a key    -> every client with a prefix of it is told
//! ```
//!
//! In broadcast mode there is one message for all that one turn of a connection has changed (what it sent in one go), as
//! Redis has one for each turn of its loop: see [`Turn`].
//!
//! Rules, by which no change is missed although reads take no lock:
//!
//! 1. A reader is remembered before it reads.
//! 2. A writer looks who is to be told after its change is visible.
//!
//! So whoever read the old value was remembered before the writer looked. A reader may be told of a change that it has
//! seen already, which costs it one more read.
//!
//! The number of remembered keys is bounded by `tracking-table-max-keys`: others are forgotten, as if they had changed.

mod prefixes;
mod table;
mod turn;

pub use prefixes::PrefixList;
pub use turn::{Maker, Turn};

use crate::session::{CachingFlags, ClientInfo, Registry};
use bytes::Bytes;
use eagle_core::resp::{Protocol, Writer};
use prefixes::Prefixes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use table::Table;

/// The channel that clients of RESP2 get their invalidations on.
const CHANNEL: &str = "__redis__:invalidate";

/// Keys forgotten in one go when there are too many.
const FORGET_MAX: usize = 100;

/// Who caches what.
#[derive(Default)]
pub struct Tracking {
    /// Clients with tracking on.
    clients: AtomicUsize,
    table: Table,
    prefixes: Prefixes,
}

/// A client that has changed keys, and what it had asked for then.
#[derive(Clone, Copy, Debug)]
pub struct Author {
    pub id: u64,
    pub flags: CachingFlags,
}

impl Author {
    /// By what is in force now.
    pub fn now(client: &ClientInfo) -> Author {
        Author {
            id: client.id,
            flags: client.caching.flags(),
        }
    }
}

/// How messages get to clients.
pub struct Delivery<'a> {
    pub clients: &'a Registry,
    /// Takes a message.
    pub send: &'a dyn Fn(Addressee<'_>, Bytes),
}

/// Whom a message is for.
#[derive(Clone, Copy)]
pub struct Addressee<'a> {
    /// Who tracks.
    pub tracker: &'a ClientInfo,
    /// Who gets what that client is told: itself, or the one it has named.
    pub target: &'a ClientInfo,
}

/// What is out of date.
#[derive(Clone, Copy)]
enum Stale<'a> {
    Keys(&'a [&'a [u8]]),
    Everything,
}

impl Tracking {
    /// Whether anybody tracks. Cheap.
    #[inline]
    pub fn any(&self) -> bool {
        // What clients had read that track no longer is to be forgotten too.
        self.clients.load(Ordering::SeqCst) != 0 || self.table.items() > 0
    }

    /// Clients with tracking on.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Keys remembered.
    pub fn keys(&self) -> usize {
        self.table.keys()
    }

    /// Pairs of a remembered key and a client.
    pub fn items(&self) -> usize {
        self.table.items()
    }

    /// Prefixes of clients in broadcast mode.
    pub fn prefixes(&self) -> usize {
        self.prefixes.len()
    }

    /// Turns tracking on for `client`, or changes how; whether it was off.
    pub fn enable(
        &self,
        client: &Arc<ClientInfo>,
        flags: CachingFlags,
        redirect: u64,
        prefixes: &[&[u8]],
    ) -> bool {
        let caching = &client.caching;
        let was_off = !caching.flags().has(CachingFlags::ON);
        if was_off {
            self.clients.fetch_add(1, Ordering::SeqCst);
        }
        caching.set_redirect(redirect);
        caching.set_flags(flags.with(CachingFlags::ON));
        if flags.has(CachingFlags::BCAST) {
            let all: &[&[u8]] = &[b""];
            for prefix in if prefixes.is_empty() { all } else { prefixes } {
                if self.prefixes.add(prefix, client) {
                    caching.prefixes().push((*prefix).into());
                }
            }
        }
        was_off
    }

    /// Turns tracking off for `client`; whether it was on. Its keys are forgotten when they change.
    pub fn disable(&self, client: &ClientInfo) -> bool {
        let caching = &client.caching;
        for prefix in std::mem::take(&mut *caching.prefixes()) {
            self.prefixes.remove(&prefix, client.id);
        }
        let was_on = caching.flags().has(CachingFlags::ON);
        caching.set_flags(CachingFlags::default());
        if was_on {
            self.clients.fetch_sub(1, Ordering::SeqCst);
        }
        was_on
    }

    /// Remembers that `client` is about to read a key.
    pub fn remember(&self, client: &ClientInfo, key: &[u8]) {
        self.table.add(key, client.id);
    }

    /// The prefixes of clients in broadcast mode, as they are now.
    pub fn prefixes_now(&self) -> PrefixList {
        self.prefixes.now()
    }

    /// Tells clients in broadcast mode what a turn has changed.
    pub fn broadcast(&self, turn: &Turn, to: &Delivery<'_>) {
        for (prefix, keys) in turn.changes() {
            let all: Vec<&[u8]> = keys.keys().map(|key| &**key).collect();
            for client in prefix.listeners().values() {
                if !client.caching.flags().has(CachingFlags::NOLOOP) {
                    tell(client, Stale::Keys(&all), to);
                    continue;
                }
                let others = keys.iter().filter(|(_, by)| **by != Some(client.id));
                let others: Vec<&[u8]> = others.map(|(key, _)| &**key).collect();
                if !others.is_empty() {
                    tell(client, Stale::Keys(&others), to);
                }
            }
        }
    }

    /// Tells the clients that are remembered for keys that these have changed. `by` is the client that changed them.
    pub fn tell_readers<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
        by: Option<Author>,
        to: &Delivery<'_>,
    ) {
        if self.table.keys() > 0 {
            for key in keys {
                self.forget(key, self.table.take(key), by, to);
            }
        }
    }

    /// Tells those who are remembered for keys of lost slots.
    pub fn lose_slots(&self, is_lost: impl Fn(u16) -> bool, to: &Delivery<'_>) {
        for (key, ids) in self.table.take_slots(is_lost) {
            self.forget(&key, ids, None, to);
        }
    }

    /// Tells all clients that every key has changed. `by` is the client that has changed them.
    pub fn invalidate_all(&self, by: Option<Author>, to: &Delivery<'_>) {
        self.table.clear();
        for client in to.clients.all() {
            if flags_of(&client, by).has(CachingFlags::ON) {
                tell(&client, Stale::Everything, to);
            }
        }
    }

    /// Forgets some keys if there are more than `keys_max`; 0 is no bound.
    pub fn limit(&self, keys_max: u64, to: &Delivery<'_>) {
        if keys_max == 0 {
            return;
        }
        for _ in 0..FORGET_MAX {
            if self.table.keys() as u64 <= keys_max {
                return;
            }
            let Some((key, ids)) = self.table.take_any() else {
                return;
            };
            self.forget(&key, ids, None, to);
        }
    }

    fn forget(&self, key: &[u8], ids: Vec<u64>, by: Option<Author>, to: &Delivery<'_>) {
        for id in ids {
            let Some(client) = to.clients.find(id) else {
                continue;
            };
            let flags = flags_of(&client, by);
            let is_author = by.is_some_and(|by| by.id == id);
            let spared = flags.has(CachingFlags::NOLOOP) && is_author;
            if flags.has(CachingFlags::ON) && !flags.has(CachingFlags::BCAST) && !spared {
                tell(&client, Stale::Keys(&[key]), to);
            }
        }
    }
}

/// What a client has asked for, or had when it changed the keys itself.
fn flags_of(client: &ClientInfo, author: Option<Author>) -> CachingFlags {
    match author {
        Some(author) if author.id == client.id => author.flags,
        _ => client.caching.flags(),
    }
}

/// Sends an invalidation to `client`, or where it wants it sent.
fn tell(client: &ClientInfo, stale: Stale<'_>, to: &Delivery<'_>) {
    let redirect = client.caching.redirect();
    let redirected;
    let mut target = client;
    if redirect != 0 {
        match to.clients.find(redirect) {
            Some(found) => {
                redirected = found;
                target = &redirected;
            }
            None => {
                client.caching.set_broken();
                if client.protocol() == Protocol::Resp3 {
                    let mut out = Writer::new(Protocol::Resp3);
                    out.push(2);
                    out.bulk("tracking-redir-broken");
                    out.integer(redirect as i64);
                    let addressee = Addressee {
                        tracker: client,
                        target: client,
                    };
                    (to.send)(addressee, out.take());
                }
                return;
            }
        }
    }
    let mut out = Writer::new(target.protocol());
    if target.protocol() == Protocol::Resp3 {
        out.push(2);
        out.bulk("invalidate");
    } else if redirect != 0 && target.subscriptions.any() {
        out.push(3);
        out.bulk("message");
        out.bulk(CHANNEL);
    } else {
        // RESP2 has no messages but those of channels.
        return;
    }
    match stale {
        Stale::Keys(keys) => {
            out.array(keys.len());
            keys.iter().for_each(|key| out.bulk(key));
        }
        Stale::Everything => {
            // Redis takes the null of the client's own protocol, wherever it is sent.
            out.set_protocol(client.protocol());
            out.null();
        }
    }
    let addressee = Addressee {
        tracker: client,
        target,
    };
    (to.send)(addressee, out.take());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn client(clients: &Registry, protocol: Protocol) -> Arc<ClientInfo> {
        let addr = String::from("127.0.0.1:1");
        let client = Arc::new(ClientInfo::new(
            clients.next_id(),
            addr.clone(),
            addr,
            None,
            0,
            0,
        ));
        client.set_protocol(protocol);
        assert!(clients.insert(client.clone(), 10));
        client
    }

    struct Log<'a> {
        clients: &'a Registry,
        sent: RefCell<Vec<(u64, String)>>,
    }

    impl Log<'_> {
        fn run(&self, act: impl FnOnce(&Delivery<'_>)) -> Vec<(u64, String)> {
            act(&Delivery {
                clients: self.clients,
                send: &|whom, message| {
                    let text = String::from_utf8_lossy(&message).replace("\r\n", " ");
                    self.sent.borrow_mut().push((whom.target.id, text));
                },
            });
            self.sent.take()
        }
    }

    fn keys<'k>(keys: &'k [&'k [u8]]) -> impl Iterator<Item = &'k [u8]> + Clone {
        keys.iter().copied()
    }

    fn author(id: u64) -> Option<Author> {
        let flags = CachingFlags::ON.with(CachingFlags::NOLOOP);
        Some(Author { id, flags })
    }

    #[test]
    fn a_reader_is_told_once() {
        let (clients, tracking) = (Registry::default(), Tracking::default());
        let log = Log {
            clients: &clients,
            sent: RefCell::default(),
        };
        let reader = client(&clients, Protocol::Resp3);
        assert!(tracking.enable(&reader, CachingFlags::default(), 0, &[]));
        tracking.remember(&reader, b"k");
        tracking.remember(&reader, b"k");
        assert_eq!((tracking.keys(), tracking.items()), (1, 1));
        let sent = log.run(|to| tracking.tell_readers(keys(&[b"k", b"other"]), author(99), to));
        assert_eq!(sent, [(reader.id, ">2 $10 invalidate *1 $1 k ".to_owned())]);
        assert!(
            log.run(|to| tracking.tell_readers(keys(&[b"k"]), None, to))
                .is_empty()
        );
        tracking.enable(&reader, CachingFlags::NOLOOP, 0, &[]);
        tracking.remember(&reader, b"k");
        let sent = log.run(|to| tracking.tell_readers(keys(&[b"k"]), author(reader.id), to));
        assert!(sent.is_empty() && tracking.keys() == 0);
        // What it has asked for since is no matter.
        tracking.remember(&reader, b"k");
        let flags = CachingFlags::ON;
        let then = Some(Author {
            id: reader.id,
            flags,
        });
        let sent = log.run(|to| tracking.tell_readers(keys(&[b"k"]), then, to));
        assert_eq!(sent.len(), 1);
        assert!(tracking.disable(&reader) && !tracking.any());
    }

    #[test]
    fn broadcasts_name_the_keys_of_each_prefix() {
        let (clients, tracking) = (Registry::default(), Tracking::default());
        let log = Log {
            clients: &clients,
            sent: RefCell::default(),
        };
        let listener = client(&clients, Protocol::Resp3);
        let flags = CachingFlags::BCAST;
        tracking.enable(&listener, flags, 0, &[b"a:", b"b:"]);
        assert_eq!(tracking.prefixes(), 2);
        let tell = |changes: &[(&[u8], Maker)]| {
            let mut turn = Turn::default();
            for (key, by) in changes {
                turn.note(&tracking.prefixes_now(), key, *by);
            }
            let sent = log.run(|to| tracking.broadcast(&turn, to));
            let texts = sent.into_iter().map(|(_, text)| text);
            texts.collect::<Vec<String>>()
        };
        let sent = tell(&[
            (b"a:2", Maker::None),
            (b"c:1", Maker::None),
            (b"a:1", Maker::None),
            (b"b:1", Maker::None),
            (b"a:2", Maker::None),
        ]);
        let expected = [
            ">2 $10 invalidate *2 $3 a:1 $3 a:2 ",
            ">2 $10 invalidate *1 $3 b:1 ",
        ];
        assert_eq!(sent, expected);
        // Who wants to be spared its own changes is, unless another client made them after it.
        tracking.enable(&listener, flags.with(CachingFlags::NOLOOP), 0, &[b"d:"]);
        let own = Maker::Client(listener.id);
        let sent = tell(&[
            (b"a:1", own),
            (b"a:2", own),
            (b"b:1", own),
            (b"b:1", Maker::Served),
            (b"a:2", Maker::Client(99)),
            (b"d:1", Maker::Served),
            (b"d:2", Maker::None),
            (b"d:2", own),
        ]);
        let expected = [
            ">2 $10 invalidate *1 $3 a:2 ",
            ">2 $10 invalidate *1 $3 d:1 ",
        ];
        assert_eq!(sent, expected);
        tracking.disable(&listener);
        assert_eq!(tracking.prefixes(), 0);
    }

    #[test]
    fn a_turn_tells_who_asked_for_a_prefix_that_was_asked_for_all_along() {
        let (clients, tracking) = (Registry::default(), Tracking::default());
        let log = Log {
            clients: &clients,
            sent: RefCell::default(),
        };
        let (first, second) = (
            client(&clients, Protocol::Resp3),
            client(&clients, Protocol::Resp3),
        );
        let ask = |client: &Arc<ClientInfo>, prefix: &[u8]| {
            tracking.enable(client, CachingFlags::BCAST, 0, &[prefix]);
        };
        let mut turn = Turn::default();
        let note = |turn: &mut Turn, key: &[u8]| {
            turn.note(&tracking.prefixes_now(), key, Maker::None);
        };
        ask(&first, b"a");
        note(&mut turn, b"a1");
        // Nobody had asked for this one yet.
        note(&mut turn, b"b1");
        ask(&first, b"b");
        note(&mut turn, b"b2");
        // Who comes later hears of what was changed before, if somebody was there all the time.
        ask(&second, b"a");
        tracking.disable(&first);
        ask(&first, b"b");
        note(&mut turn, b"b3");
        let sent = log.run(|to| tracking.broadcast(&turn, to));
        let expected = [
            (second.id, ">2 $10 invalidate *1 $2 a1 ".to_owned()),
            (first.id, ">2 $10 invalidate *1 $2 b3 ".to_owned()),
        ];
        assert_eq!(sent, expected);
    }

    #[test]
    fn only_what_was_changed_before_a_flush_can_wait() {
        let (clients, tracking) = (Registry::default(), Tracking::default());
        let listener = client(&clients, Protocol::Resp3);
        tracking.enable(&listener, CachingFlags::BCAST, 0, &[]);
        let mut turn = Turn::default();
        turn.note_flush();
        assert!(!turn.can_wait(), "there is nothing");
        turn.note(&tracking.prefixes_now(), b"k", Maker::None);
        assert!(!turn.can_wait());
        turn.note_flush();
        assert!(turn.can_wait());
    }

    #[test]
    fn redirections_go_to_a_channel_or_break() {
        let (clients, tracking) = (Registry::default(), Tracking::default());
        let log = Log {
            clients: &clients,
            sent: RefCell::default(),
        };
        let (reader, target) = (
            client(&clients, Protocol::Resp2),
            client(&clients, Protocol::Resp2),
        );
        tracking.enable(&reader, CachingFlags::default(), target.id, &[]);
        assert!(
            log.run(|to| tracking.invalidate_all(None, to)).is_empty(),
            "it is not subscribed"
        );
        let mut topics = target.subscriptions.lock();
        topics.channels.insert((*b"__redis__:invalidate").into());
        target.subscriptions.count(&topics);
        drop(topics);
        target.subscriptions.set_subscribed();
        let sent = log.run(|to| tracking.invalidate_all(None, to));
        assert_eq!(
            sent,
            [(
                target.id,
                "*3 $7 message $20 __redis__:invalidate $-1 ".to_owned()
            )]
        );
        clients.remove(target.id);
        reader.set_protocol(Protocol::Resp3);
        let sent = log.run(|to| tracking.invalidate_all(None, to));
        let expected = format!(">2 $21 tracking-redir-broken :{} ", target.id);
        assert_eq!(sent, [(reader.id, expected)]);
        assert!(reader.caching.flags().has(CachingFlags::BROKEN));
    }

    #[test]
    fn the_table_is_bounded() {
        let (clients, tracking) = (Registry::default(), Tracking::default());
        let log = Log {
            clients: &clients,
            sent: RefCell::default(),
        };
        let reader = client(&clients, Protocol::Resp3);
        tracking.enable(&reader, CachingFlags::default(), 0, &[]);
        for number in 0..20 {
            tracking.remember(&reader, format!("k{number}").as_bytes());
        }
        assert_eq!(log.run(|to| tracking.limit(15, to)).len(), 5);
        assert_eq!(tracking.keys(), 15);
        assert!(log.run(|to| tracking.limit(0, to)).is_empty());
        assert_eq!(log.run(|to| tracking.lose_slots(|_| true, to)).len(), 15);
        assert_eq!((tracking.keys(), tracking.items()), (0, 0));
    }
}
