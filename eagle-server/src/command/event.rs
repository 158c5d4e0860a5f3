//! What a request has to tell others: keyspace events (`notify-keyspace-events`) and published messages.
//!
//! Handlers raise them, in order; they are sent once the changes are committed, while the slots are still locked. So
//! whoever gets an event finds the keyspace as it says, and the events of one key come in the order of its changes.
//!
//! A client that gets its own events sees each where Redis would have written it: before the reply of the command that
//! raised it, or behind, whichever the handler did first.

use crate::config::special::EventClasses;
use crate::session::CachingFlags;
use crate::tracking::{Maker, PrefixList};
use eagle_core::resp::Mark;
use std::cell::Cell;
use std::ops::Range;

/// Something to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// What happened to a key.
    Key {
        db: u8,
        name: &'static str,
        key: Box<[u8]>,
        /// The events that were asked for when it happened, and by which channels.
        wanted: EventClasses,
    },
    /// PUBLISH, SPUBLISH.
    Message {
        channel: Box<[u8]>,
        payload: Box<[u8]>,
        sharded: bool,
    },
}

/// What concerns clients that cache keys, besides the changes that the view notes. Each with the number of changes noted
/// before.
#[derive(Clone)]
pub enum CacheNote {
    /// A key was read for the client while its slot was locked: only later changes make its copy stale.
    Read(usize, Box<[u8]>),
    /// The client asked for something else as to its cached keys; before, this was in force.
    Asked {
        before: usize,
        flags: CachingFlags,
        /// The prefixes that broadcasts were asked for by then.
        prefixes: PrefixList,
    },
    /// A database was emptied: what had been cached is not to be told of again.
    Flushed(usize),
}

/// A notice, and where it stands among the replies to the client that caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub notice: Notice,
    /// Raised before the handler had replied anything.
    before_reply: bool,
    pub at: Mark,
}

/// A state of [`Events`] to go back to when a command fails.
#[derive(Clone, Copy, Debug)]
pub struct EventsMark {
    len: usize,
    reply_at: Mark,
    misses: u32,
    expired: usize,
    created: usize,
    lapsed: usize,
    caches: usize,
    not_itself: usize,
}

/// The events of one request, in order.
#[derive(Default)]
pub struct Events {
    list: Vec<Event>,
    /// Where the reply of the command being run begins.
    reply_at: Mark,
    /// Look-ups of readers that found nothing.
    misses: Cell<u32>,
    /// How many of the keys that the view removed as expired, of those it created, and of the hashes that lost fields to
    /// their time, have had their event.
    pub(super) expired: usize,
    pub(super) created: usize,
    pub(super) lapsed: usize,
    /// For clients that cache keys, in order.
    pub(super) caches: Vec<CacheNote>,
    /// Which of the changes that the view has noted were not made by the client itself.
    not_itself: Vec<(Range<usize>, Maker)>,
}

impl Events {
    /// Whether there is nothing to tell, neither to listeners nor to clients that cache keys.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.caches.is_empty() && self.not_itself.is_empty()
    }

    /// Begins a command whose reply will stand at `reply_at`.
    #[inline]
    pub fn begin(&mut self, reply_at: Mark) -> EventsMark {
        let mark = EventsMark {
            len: self.list.len(),
            reply_at: self.reply_at,
            misses: self.misses.get(),
            expired: self.expired,
            created: self.created,
            lapsed: self.lapsed,
            caches: self.caches.len(),
            not_itself: self.not_itself.len(),
        };
        self.reply_at = reply_at;
        mark
    }

    /// Adds a notice; `now_at` is where the next reply will be written.
    pub fn push(&mut self, notice: Notice, now_at: Mark) {
        self.list.push(Event {
            notice,
            before_reply: now_at <= self.reply_at,
            at: now_at,
        });
    }

    /// Adds key events before all others of the command begun at `mark`.
    pub fn push_front(&mut self, mark: &EventsMark, notices: Vec<Notice>) {
        let at = self.reply_at;
        let events = notices.into_iter().map(|notice| Event {
            notice,
            before_reply: true,
            at,
        });
        self.list.splice(mark.len..mark.len, events);
    }

    /// Forgets what the command begun at `mark` has raised, because it failed. Its missed look-ups stay, and what it
    /// has read.
    pub fn rewind(&mut self, mark: &EventsMark) {
        self.list.truncate(mark.len);
        let mut at = 0;
        self.caches.retain(|note| {
            at += 1;
            at <= mark.caches || matches!(note, CacheNote::Read(..))
        });
        self.not_itself.truncate(mark.not_itself);
        self.expired = mark.expired;
        self.created = mark.created;
        self.lapsed = mark.lapsed;
    }

    /// Ends the command begun at `mark`, whose reply ends at `end`; how many of its look-ups missed. If it
    /// `places` its events, they go to the beginning and the end of its reply; else they stay where the commands
    /// inside it have placed them.
    #[inline]
    pub fn end(&mut self, mark: &EventsMark, end: Mark, places: bool) -> u32 {
        if places {
            for event in &mut self.list[mark.len..] {
                event.at = if event.before_reply {
                    self.reply_at
                } else {
                    end
                };
            }
        }
        let misses = self.misses.get() - mark.misses;
        self.reply_at = mark.reply_at;
        self.misses.set(mark.misses);
        misses
    }

    /// Ends a request that has raised nothing: the view of the next one has noted nothing yet.
    #[inline]
    pub(super) fn forget_noted(&mut self) {
        (self.expired, self.created, self.lapsed) = (0, 0, 0);
    }

    /// Notes who has made these of the view's changes, if not the client itself.
    pub fn note_maker(&mut self, changes: Range<usize>, by: Maker) {
        if !changes.is_empty() {
            self.not_itself.push((changes, by));
        }
    }

    /// Who has made this one of the view's changes, if not the client itself.
    pub fn maker_of(&self, change: usize) -> Option<Maker> {
        let noted = self
            .not_itself
            .iter()
            .find(|(changes, _)| changes.contains(&change));
        noted.map(|(_, by)| *by)
    }

    /// The number of notices.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Puts the notices from number `since` on before the reply: a script's reply is written after all it did.
    pub fn put_before_reply(&mut self, since: usize) {
        for event in &mut self.list[since..] {
            event.before_reply = true;
            event.at = self.reply_at;
        }
    }

    /// Counts a look-up of a reader that found nothing.
    #[inline]
    pub fn miss(&self) {
        self.misses.set(self.misses.get() + 1);
    }

    /// Whether any look-up of a reader found nothing since `mark`.
    #[inline]
    pub fn missed(&self, mark: &EventsMark) -> bool {
        self.misses.get() > mark.misses
    }

    /// All events.
    pub fn into_list(self) -> Vec<Event> {
        self.list
    }
}

impl EventClasses {
    /// Whether events of `class` are published at all.
    pub fn publish(self, class: EventClasses) -> bool {
        self.has(class) && (self.has(Self::KEYSPACE) || self.has(Self::KEYEVENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eagle_core::resp::{Protocol, Writer};

    fn key_event(name: &'static str) -> Notice {
        Notice::Key {
            db: 0,
            name,
            key: (*b"k").into(),
            wanted: EventClasses::default(),
        }
    }

    #[test]
    fn events_stand_before_or_behind_the_reply_of_their_command() {
        let (mut events, mut out) = (Events::default(), Writer::new(Protocol::Resp3));
        out.array(1);
        let mark = events.begin(out.mark());
        events.push(key_event("before"), out.mark());
        let begin = out.mark();
        out.ok();
        events.push(key_event("behind"), out.mark());
        out.integer(1);
        assert_eq!(events.end(&mark, out.mark(), true), 0);
        let places: Vec<Mark> = events.into_list().iter().map(|event| event.at).collect();
        assert_eq!(places, [begin, out.mark()]);
    }

    #[test]
    fn a_failed_command_leaves_its_misses_only() {
        let (mut events, out) = (Events::default(), Writer::new(Protocol::Resp3));
        let first = events.begin(out.mark());
        events.push(key_event("kept"), out.mark());
        let second = events.begin(out.mark());
        events.push(key_event("dropped"), out.mark());
        events.miss();
        events.rewind(&second);
        assert_eq!(events.end(&second, out.mark(), true), 1);
        assert_eq!(events.end(&first, out.mark(), true), 0);
        assert_eq!(events.into_list().len(), 1);
    }
}
