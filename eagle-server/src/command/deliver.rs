//! Sending what requests, and the server by itself, have to tell clients.

use super::caches::tell_caches;
use super::call::Batch;
use super::context::Context;
use super::event::{Event, EventsMark, Notice};
use super::keys;
use super::spec::KeyFlags;
use super::table::Entry;
use crate::config::special::EventClasses;
use crate::node::Node;
use crate::session::{ClientInfo, ReplyMode, Session};
use crate::tracking::Turn;
use bytes::Bytes;
use eagle_core::resp::{Mark, Writer};
use eagle_core::store::{Committed, Lapsed, MetField, key_slot};
use std::cell::RefCell;
use std::sync::Arc;

impl Context<'_> {
    /// Raises a keyspace event about `key` of the selected database, if `notify-keyspace-events` asks for its class.
    #[inline]
    pub fn notify(&mut self, class: EventClasses, event: &'static str, key: &[u8]) {
        self.notify_in(self.db(), class, event, key);
    }

    /// Raises a keyspace event about `key` of `db`.
    #[inline]
    pub fn notify_in(&mut self, db: u8, class: EventClasses, name: &'static str, key: &[u8]) {
        if !self.config.monitoring.notify_keyspace_events.is_empty() {
            self.raise(db, class, name, key);
        }
    }

    #[inline(never)]
    fn raise(&mut self, db: u8, class: EventClasses, name: &'static str, key: &[u8]) {
        let wanted = self.config.monitoring.notify_keyspace_events;
        self.raise_noted();
        if wanted.publish(class) {
            let key = key.into();
            self.events.push(
                Notice::Key {
                    db,
                    name,
                    key,
                    wanted,
                },
                self.out.mark(),
            );
        }
    }

    /// Puts what others have said to the client before what is replied next. Not inside a transaction: there a reply
    /// has its place among the others.
    pub fn take_mail(&mut self) {
        let outbox = &self.session.info.outbox;
        if outbox.bytes() > 0 && !self.session.in_exec {
            for message in outbox.take() {
                self.out.raw(&message);
            }
        }
    }

    /// Publishes a message once this request is committed; how many clients here get it.
    pub fn publish(&mut self, channel: &[u8], payload: &[u8], sharded: bool) -> usize {
        let broker = &self.node.broker;
        let receivers = if sharded {
            broker.shard_listeners(channel)
        } else {
            broker.receivers(channel)
        };
        if receivers > 0 || self.node.cluster.is_some() {
            let notice = Notice::Message {
                channel: channel.into(),
                payload: payload.into(),
                sharded,
            };
            self.events.push(notice, self.out.mark());
        }
        receivers
    }

    /// Raises the events of what the view noted: keys removed because their time has come, keys created.
    fn raise_noted(&mut self) {
        let wanted = self.config.monitoring.notify_keyspace_events;
        let now_at = self.out.mark();
        let (expired, created) = (self.view.expired(), self.view.created());
        let events = &mut *self.events;
        let (expired_done, created_done) = (events.expired, events.created);
        for (noted, done, class, name) in [
            (expired, expired_done, EventClasses::EXPIRED, "expired"),
            (created, created_done, EventClasses::NEW_KEY, "new"),
        ] {
            if wanted.publish(class) {
                for (db, key) in noted.iter().skip(done) {
                    let (db, key) = (*db, key.clone());
                    events.push(
                        Notice::Key {
                            db,
                            name,
                            key,
                            wanted,
                        },
                        now_at,
                    );
                }
            }
        }
        (events.expired, events.created) = (expired.len(), created.len());
        let lapsed = self.view.lapsed();
        for lapsed in lapsed.iter().skip(events.lapsed) {
            for notice in lapsed_notices(lapsed, wanted) {
                events.push(notice, now_at);
            }
        }
        events.lapsed = lapsed.len();
    }

    /// Ends the events of the command begun at `mark`.
    #[inline]
    pub(super) fn end_events(&mut self, mark: &EventsMark, entry: &Entry, argv: &[&[u8]]) {
        let wanted = self.config.monitoring.notify_keyspace_events;
        if self.view.met_expired() || self.view.has_met_fields() || !wanted.is_empty() {
            self.raise_ended(mark, entry, argv);
        }
        // EXEC's events were placed by the commands it ran.
        let places = entry.command.name != "exec";
        self.events.end(mark, self.out.mark(), places);
    }

    /// Raises the events that show at the end of a command.
    #[inline(never)]
    fn raise_ended(&mut self, mark: &EventsMark, entry: &Entry, argv: &[&[u8]]) {
        self.remove_met(mark, entry, argv);
        if !self.config.monitoring.notify_keyspace_events.is_empty() {
            self.raise_noted();
            if self.events.missed(mark) {
                self.raise_misses(mark, entry, argv);
            }
        }
    }

    /// Ends the events of what was done for a client that had blocked, begun at `mark`. Only the slot of one of its keys
    /// is locked.
    pub(super) fn end_served_events(&mut self, mark: &EventsMark) {
        if !self.config.monitoring.notify_keyspace_events.is_empty() {
            self.raise_noted();
        }
        self.events.end(mark, self.out.mark(), true);
    }

    /// Removes the fields that the command met after their time, where it has the right to.
    fn remove_met_fields(&mut self, mark: &EventsMark) {
        let met = self.view.take_met_fields();
        if self.node.pause.current(self.now_ms).is_some() {
            return;
        }
        self.raise_noted();
        let before = self.view.lapsed().len();
        for (db, key, fields) in by_hash(&met) {
            // A full pool can wait.
            if self.view.covers(key_slot(key)) && self.view.hash_lapse(db, key, &fields).is_err() {
                break;
            }
        }
        let wanted = self.config.monitoring.notify_keyspace_events;
        let lapsed = self.view.lapsed();
        let notices = lapsed[before..].iter();
        let notices = notices.flat_map(|lapsed| lapsed_notices(lapsed, wanted));
        let notices: Vec<Notice> = notices.collect();
        self.events.lapsed = lapsed.len();
        if !notices.is_empty() {
            self.events.push_front(mark, notices);
        }
    }

    /// Removes the keys of the command that it met after their time, where it has the right to.
    fn remove_met(&mut self, mark: &EventsMark, entry: &Entry, argv: &[&[u8]]) {
        if self.view.has_met_fields() && self.view.may_write() {
            self.remove_met_fields(mark);
        }
        if !self.view.met_expired() || !self.view.may_write() {
            return;
        }
        if self.node.pause.current(self.now_ms).is_some() {
            return;
        }
        self.raise_noted();
        let db = self.db();
        let before = self.view.expired().len();
        for key in keys::find(entry, argv) {
            let key = argv[key.position];
            // Removing what does not exist removes what is left of it; a full pool can wait.
            if self.view.find(db, key).is_none() && self.view.remove(db, key).is_err() {
                break;
            }
        }
        let removed = &self.view.expired()[before..];
        let wanted = self.config.monitoring.notify_keyspace_events;
        if !removed.is_empty() && wanted.publish(EventClasses::EXPIRED) {
            let name = "expired";
            let notices = removed.iter().map(|(db, key)| Notice::Key {
                db: *db,
                name,
                key: key.clone(),
                wanted,
            });
            let notices = notices.collect();
            self.events.push_front(mark, notices);
        }
        self.events.expired = self.view.expired().len();
    }

    /// Raises `keymiss` for the keys that the command looked for in vain.
    fn raise_misses(&mut self, mark: &EventsMark, entry: &Entry, argv: &[&[u8]]) {
        let wanted = self.config.monitoring.notify_keyspace_events;
        if !wanted.publish(EventClasses::KEY_MISS) {
            return;
        }
        let (db, name) = (self.db(), "keymiss");
        let keys = keys::find(entry, argv);
        let missing = |key: &[u8]| self.view.find(db, key).is_none();
        let notice = |key: &[u8]| Notice::Key {
            db,
            name,
            key: key.into(),
            wanted,
        };
        // A key that is overwritten was not looked for.
        let read = keys.iter().filter(|key| !key.flags.has(KeyFlags::OW));
        let words = read.map(|key| argv[key.position]);
        let mut notices: Vec<Notice> = words
            .clone()
            .filter(|key| missing(key))
            .map(notice)
            .collect();
        if notices.is_empty() {
            // The command has made them meanwhile.
            notices = words.map(notice).collect();
        }
        self.events.push_front(mark, notices);
    }
}

/// Sends the events of a committed request. What the client itself gets is put among its replies.
pub(super) fn deliver(node: &Node, session: &Session, out: &mut Writer, events: Vec<Event>) {
    let mut own: Vec<(Mark, Bytes)> = Vec::new();
    // Once, and not for each message: a message may go to many.
    let config = node.config.load();
    let limits = &config.clients.client_output_buffer_limit;
    for event in &events {
        send(node, &event.notice, &mut |client, message| {
            // A client that wants no replies gets messages all the same, apart from them.
            if client.id == session.info.id && session.reply == ReplyMode::On {
                own.push((event.at, message));
            } else {
                node.clients.send(client, message, limits);
            }
        });
    }
    if !own.is_empty() {
        own.sort_by_key(|(at, _)| *at);
        out.insert(&own);
    }
}

/// Publishes a keyspace event that no request caused: expiry, eviction.
pub fn publish_event(node: &Node, class: EventClasses, db: u8, name: &'static str, key: &[u8]) {
    let wanted = node.config.load().monitoring.notify_keyspace_events;
    if wanted.publish(class) {
        let key = key.into();
        let notice = Notice::Key {
            db,
            name,
            key,
            wanted,
        };
        send(node, &notice, &mut |client, message| {
            node.send(client, message)
        });
    }
}

/// Sends notices that no client has a reply for.
pub(super) fn send_all(node: &Node, notices: &[Notice]) {
    for notice in notices {
        send(node, notice, &mut |client, message| {
            node.send(client, message)
        });
    }
}

fn send(node: &Node, notice: &Notice, to: &mut dyn FnMut(&Arc<ClientInfo>, Bytes)) {
    match notice {
        Notice::Key {
            db,
            name,
            key,
            wanted,
        } => {
            if node.broker.is_idle() {
                return;
            }
            if wanted.has(EventClasses::KEYSPACE) {
                let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
                node.broker.publish(&channel, name.as_bytes(), to);
            }
            if wanted.has(EventClasses::KEYEVENT) {
                let channel = format!("__keyevent@{db}__:{name}");
                node.broker.publish(channel.as_bytes(), key, to);
            }
        }
        Notice::Message {
            channel,
            payload,
            sharded,
        } => {
            if *sharded {
                node.broker.publish_sharded(channel, payload, to);
            } else {
                node.broker.publish(channel, payload, to);
            }
            if let Some(cluster) = &node.cluster {
                cluster.publish(channel, payload, *sharded);
            }
        }
    }
}

/// The wanted events of fields that were removed because their time had come.
fn lapsed_notices(lapsed: &Lapsed, wanted: EventClasses) -> impl Iterator<Item = Notice> + use<> {
    let (db, key) = (lapsed.db, lapsed.key.clone());
    let events = [
        Some((EventClasses::HASH, "hexpired")),
        lapsed.key_gone.then_some((EventClasses::GENERIC, "del")),
    ];
    let events = events.into_iter().flatten();
    let events = events.filter(move |(class, _)| wanted.publish(*class));
    events.map(move |(_, name)| {
        let key = key.clone();
        Notice::Key {
            db,
            name,
            key,
            wanted,
        }
    })
}

/// A hash, by database and key, and fields of it.
type HashFields<'m> = (u8, &'m [u8], Vec<&'m [u8]>);

/// Fields by their hashes.
pub(super) fn by_hash(met: &[MetField]) -> Vec<HashFields<'_>> {
    let mut met: Vec<&MetField> = met.iter().collect();
    met.sort_by(|a, b| (a.db, &a.key).cmp(&(b.db, &b.key)));
    met.chunk_by(|a, b| (a.db, &a.key) == (b.db, &b.key))
        .map(|fields| {
            let names = fields.iter().map(|met| &*met.field).collect();
            (fields[0].db, &*fields[0].key, names)
        })
        .collect()
}

/// Tells whoever wants to know of keys and fields that were removed because their time has come, in the `turn` of a
/// connection if there is one.
pub fn publish_expired(node: &Node, turn: Option<&RefCell<Turn>>, committed: &Committed<'_>) {
    tell_caches(node, turn, committed.touched());
    for (db, key) in committed.expired() {
        publish_event(node, EventClasses::EXPIRED, *db, "expired", key);
    }
    let wanted = node.config.load().monitoring.notify_keyspace_events;
    for lapsed in committed.lapsed() {
        let notices: Vec<Notice> = lapsed_notices(lapsed, wanted).collect();
        send_all(node, &notices);
    }
}

/// Delivers a message that came over the cluster bus to the clients of this node.
pub fn deliver_published(node: &Node, channel: &[u8], payload: &[u8], sharded: bool) {
    let to: &mut dyn FnMut(&Arc<ClientInfo>, Bytes) =
        &mut |client, message| node.send(client, message);
    if sharded {
        node.broker.publish_sharded(channel, payload, to);
    } else {
        node.broker.publish(channel, payload, to);
    }
}

/// Removes the keys and fields that a lock-free command met after their time: it has no right to while it runs.
///
/// Nobody who watches such a key needs to be told: to whoever watched it while it lived its end is a
/// change already, and who watched it afterwards saw it missing.
pub(super) fn remove_expired(
    batch: &Batch<'_>,
    session: &Session,
    (entry, argv): (&Entry, &[&[u8]]),
    met_fields: &[MetField],
) {
    let thread = batch.thread;
    let node = &*thread.node;
    if node.pause.current(batch.now_ms).is_some() {
        return;
    }
    let guard = node.keyspace.pin();
    let mut worker = thread.worker.borrow_mut();
    for key in keys::find(entry, argv) {
        let key = argv[key.position];
        super::call::remove_if_expired(thread, &mut worker, &guard, session.db, key);
    }
    for (db, key, fields) in by_hash(met_fields) {
        super::call::remove_lapsed(thread, &mut worker, &guard, (db, key), &fields);
    }
}
