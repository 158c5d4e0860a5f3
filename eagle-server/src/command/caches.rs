//! Telling clients that cache keys what has changed ([`crate::tracking`]): what a request notes for that, and its end.
//!
//! ```text
//!   a client is remembered for a key   told when its change is committed; the request's own client behind the reply
//!   a client asks for a prefix         told when the turn of the connection ends, once for all of it
//! ```

use super::context::Context;
use super::event::{CacheNote, Events};
use super::keys;
use super::spec::Flags;
use super::table::Entry;
use crate::node::{Node, Thread, Told};
use crate::session::{CachingFlags, ClientInfo, Session};
use crate::tracking::{Author, Maker, PrefixList, Turn};
use eagle_core::store::Committed;
use std::cell::RefCell;

impl Context<'_> {
    /// Tells clients that cache keys, once this request is committed, that all are gone.
    pub fn flushed(&mut self) {
        if self.node.tracking.any() {
            let before = self.view.touched().len();
            self.events.caches.push(CacheNote::Flushed(before));
        }
    }

    /// Says that the client is about to ask for something else than before as to the keys it caches.
    pub fn asks_anew(&mut self) {
        let before = self.view.touched().len();
        if before > 0 || !self.events.caches.is_empty() {
            self.events.caches.push(CacheNote::Asked {
                before,
                flags: self.session.info.caching.flags(),
                prefixes: self.node.tracking.prefixes_now(),
            });
        }
    }

    /// Remembers for a client that caches keys which ones the command is about to read.
    pub(super) fn remember_reads(&mut self, entry: &Entry, argv: &[&[u8]]) {
        // What a script reads counts when it reads it.
        let is_script = entry.command.runs_script();
        if entry.has(Flags::READONLY) && !is_script && !self.session.in_script {
            self.remember_keys(entry, argv);
        }
    }

    /// Remembers the keys of a command for the client, if it caches keys and wants these tracked.
    pub(super) fn remember_keys(&mut self, entry: &Entry, argv: &[&[u8]]) {
        let info = &self.session.info;
        let flags = info.caching.flags();
        if !flags.has(CachingFlags::ON) {
            return;
        }
        let wanted = if flags.has(CachingFlags::OPTIN) {
            self.session.caching_said
        } else {
            !(flags.has(CachingFlags::OPTOUT) && self.session.caching_said)
        };
        if !wanted || flags.has(CachingFlags::BCAST) {
            return;
        }
        for key in keys::find(entry, argv) {
            let key = argv[key.position];
            if self.view.may_write() {
                let before = self.view.touched().len();
                self.events.caches.push(CacheNote::Read(before, key.into()));
            } else {
                self.node.tracking.remember(info, key);
            }
        }
    }
}

/// Tells clients that cache keys which ones have changed, and not by a client: those in broadcast mode at the end of the
/// `turn`, if there is one.
pub(super) fn tell_caches(node: &Node, turn: Option<&RefCell<Turn>>, changed: &[(u8, Box<[u8]>)]) {
    let Some(turn) = turn else {
        tell_caches_of(node, None, changed);
        return;
    };
    if !changed.is_empty() {
        note_all(node, &mut turn.borrow_mut(), Maker::None, changed);
        let keys = changed.iter().map(|(_, key)| &**key);
        node.tell_caches(|tracking, to| tracking.tell_readers(keys, None, to));
    }
}

/// Tells them all at once, if `author` has changed the keys: returns what is for that client.
pub(super) fn tell_caches_of(
    node: &Node,
    author: Option<&ClientInfo>,
    changed: &[(u8, Box<[u8]>)],
) -> Told {
    if changed.is_empty() {
        return Told::default();
    }
    let by = author.map(|client| client.id);
    let mut turn = Turn::default();
    note_all(
        node,
        &mut turn,
        by.map_or(Maker::None, Maker::Client),
        changed,
    );
    node.tell_caches_but(by, |tracking, to| {
        tracking.broadcast(&turn, to);
        let keys = changed.iter().map(|(_, key)| &**key);
        tracking.tell_readers(keys, author.map(Author::now), to);
    })
}

fn note_all(node: &Node, turn: &mut Turn, by: Maker, changed: &[(u8, Box<[u8]>)]) {
    if node.tracking.prefixes() > 0 {
        let prefixes = node.tracking.prefixes_now();
        for (_, key) in changed {
            turn.note(&prefixes, key, by);
        }
    }
}

/// Tells clients that cache keys what a request has changed and flushed, in this order, and remembers what it has read
/// for its own client while the slots are still locked; what it changed afterwards that client is told of at once. Returns
/// the messages for it.
pub(super) fn update_caches(
    thread: &Thread,
    session: &Session,
    events: &Events,
    committed: &Committed<'_>,
) -> Told {
    let node = &*thread.node;
    let touched = committed.touched();
    if touched.is_empty() && events.caches.is_empty() {
        return Told::default();
    }
    let info = &session.info;
    if node.tracking.prefixes() > 0 {
        note_turn(
            node,
            &mut thread.turn.borrow_mut(),
            info.id,
            events,
            committed,
        );
    }
    node.tell_caches_but(Some(info.id), |tracking, to| {
        // In the order of what happened: so a key that was read twice and changed then is told of once.
        let mut told = 0;
        let author = |flags| Some(Author { id: info.id, flags });
        let mut tell = |until: usize, flags: CachingFlags| {
            // What a command had changed that failed is no longer among them.
            let until = until.clamp(told, touched.len());
            let changed = touched[told..until].iter().map(|(_, key)| &**key);
            tracking.tell_readers(changed, author(flags), to);
            told = until;
        };
        let mut flags = flags_before(&events.caches, info);
        for (at, note) in events.caches.iter().enumerate() {
            match note {
                CacheNote::Read(before, key) => {
                    tell(*before, flags);
                    tracking.remember(info, key);
                }
                CacheNote::Flushed(before) => {
                    tell(*before, flags);
                    tracking.invalidate_all(author(flags), to);
                }
                CacheNote::Asked { before, .. } => {
                    tell(*before, flags);
                    flags = flags_before(&events.caches[at + 1..], info);
                }
            }
        }
        tell(touched.len(), flags);
    })
}

/// Notes what a request of `client` has changed in the turn of its connection: each change by the prefixes that were asked
/// for by then.
fn note_turn(
    node: &Node,
    turn: &mut Turn,
    client: u64,
    events: &Events,
    committed: &Committed<'_>,
) {
    let now = node.tracking.prefixes_now();
    let before = |change: usize| -> &PrefixList {
        let mut notes = events.caches.iter();
        let asked = notes.find_map(|note| match note {
            CacheNote::Asked {
                before, prefixes, ..
            } if change < *before => Some(prefixes),
            _ => None,
        });
        asked.unwrap_or(&now)
    };
    let touched = committed.touched();
    for (at, (_, key)) in touched.iter().enumerate() {
        let by = match events.maker_of(at) {
            Some(by) => by,
            None if committed.unasked().binary_search(&at).is_ok() => Maker::None,
            None => Maker::Client(client),
        };
        turn.note(before(at), key, by);
    }
    let is_flush =
        |note: &CacheNote| matches!(note, CacheNote::Flushed(before) if *before >= touched.len());
    if events.caches.iter().any(is_flush) {
        turn.note_flush();
    }
}

/// What the client itself had asked for before `notes`: what it has changed it is told of by the rules of that time.
fn flags_before(notes: &[CacheNote], client: &ClientInfo) -> CachingFlags {
    let asked = notes.iter().find_map(|note| match note {
        CacheNote::Asked { flags, .. } => Some(*flags),
        _ => None,
    });
    asked.unwrap_or(client.caching.flags())
}
