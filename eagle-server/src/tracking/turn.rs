//! What one turn of a connection has changed, for clients in broadcast mode.
//!
//! A change is noted by the prefixes that are asked for when it is made; who asks for them, and what else these clients
//! want, counts at the end of the turn, when they are told. So it is in Redis, whose turn is one of its event loop.

use super::prefixes::Prefix;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys, and for each the client that changed it last, if one did so itself.
pub(super) type ChangedKeys = BTreeMap<Box<[u8]>, Option<u64>>;

/// The changes of a turn.
#[derive(Default)]
pub struct Turn {
    by_prefix: BTreeMap<Arc<Prefix>, ChangedKeys>,
    /// Since the last change clients were told that all keys have changed: nothing of what is noted is news.
    is_stale: bool,
}

/// Who has made a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Maker {
    /// A client itself, and not by a script: it may want to be spared.
    Client(u64),
    /// A script, or nobody.
    None,
    /// Somebody who was served what another one had put there: the change that made it possible was told of already, and
    /// in the same turn this one is no news.
    Served,
}

impl Turn {
    /// Whether there is nothing to tell.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_prefix.is_empty()
    }

    /// Notes a changed key, for those of `prefixes` that it has.
    pub fn note(&mut self, prefixes: &[Arc<Prefix>], key: &[u8], by: Maker) {
        for prefix in prefixes.iter().filter(|prefix| prefix.covers(key)) {
            self.is_stale = false;
            let keys = self.by_prefix.entry(prefix.clone()).or_default();
            match by {
                Maker::Client(id) => {
                    keys.insert(key.into(), Some(id));
                }
                Maker::None => {
                    keys.insert(key.into(), None);
                }
                Maker::Served => {
                    keys.entry(key.into()).or_insert(None);
                }
            }
        }
    }

    /// Notes that clients were told that all keys have changed.
    pub fn note_flush(&mut self) {
        self.is_stale = true;
    }

    /// Whether it does no harm to tell of the changes late.
    pub fn can_wait(&self) -> bool {
        self.is_stale && !self.is_empty()
    }

    /// The changes by prefix, in the order in which clients are told.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&Prefix, &ChangedKeys)> {
        self.by_prefix
            .iter()
            .map(|(prefix, keys)| (&**prefix, keys))
    }
}
