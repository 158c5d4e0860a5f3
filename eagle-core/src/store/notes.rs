//! What a view has changed so far, as far as it is not in the pool.

use smallvec::SmallVec;

use super::entry::Kind;
use super::totals::Delta;
use super::view::View;

/// A database and a key of it.
type KeyName = (u8, Box<[u8]>);

/// A key that somebody may have waited for, and the type of value that made it worth a look.
pub type Readied = (KeyName, Kind);

/// The notes of a view. Every command has a view, and few have more to note than counts: what is rare is apart, so that
/// nothing is spent on it where there is none.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) deltas: SmallVec<[Delta; 2]>,
    pub(super) dirty: u64,
    rare: Option<Box<Rare>>,
}

/// What few views note.
#[derive(Default)]
pub(super) struct Rare {
    pub(super) touched: Vec<KeyName>,
    /// Which of `touched` nobody asked for: their time had come. Ascending.
    pub(super) unasked: Vec<usize>,
    pub(super) readied: Vec<Readied>,
    pub(super) lost: Vec<KeyName>,
    pub(super) expired: Vec<KeyName>,
    pub(super) created: Vec<KeyName>,
    pub(super) lapsed: Vec<Lapsed>,
    /// Slots in whose index of expiring fields something was put, and when that is due.
    pub(super) dues: Vec<(u8, u16, u64)>,
    /// Databases with such slots that were exchanged with others.
    pub(super) swapped: Vec<u8>,
}

/// Fields of a hash that were removed because their time had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapsed {
    /// The database.
    pub db: u8,
    /// The hash.
    pub key: Box<[u8]>,
    /// The fields, at least one.
    pub fields: Vec<Box<[u8]>>,
    /// They were the last ones: the key is gone.
    pub key_gone: bool,
}

/// A state of [`Notes`] to go back to; by default that of having noted nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NotesMark {
    deltas: usize,
    dirty: u64,
    /// `None` if there was nothing.
    rare: Option<RareMark>,
}

#[derive(Clone, Copy, Debug, Default)]
struct RareMark {
    touched: usize,
    readied: usize,
    lost: usize,
    expired: usize,
    created: usize,
    lapsed: usize,
    dues: usize,
    swapped: usize,
}

impl Rare {
    /// Forgets all but the first `len` changes.
    pub(super) fn cut_touched(&mut self, len: usize) {
        self.touched.truncate(len);
        self.unasked.retain(|at| *at < len);
    }
}

impl Notes {
    /// What few views note, if this one has.
    #[inline]
    pub(super) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    /// The same, to add something.
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Takes it out.
    #[inline]
    pub(super) fn take_rare(&mut self) -> Option<Box<Rare>> {
        self.rare.take()
    }

    /// The state now.
    #[inline]
    pub(super) fn mark(&self) -> NotesMark {
        NotesMark {
            deltas: self.deltas.len(),
            dirty: self.dirty,
            rare: self.rare().map(|rare| RareMark {
                touched: rare.touched.len(),
                readied: rare.readied.len(),
                lost: rare.lost.len(),
                expired: rare.expired.len(),
                created: rare.created.len(),
                lapsed: rare.lapsed.len(),
                dues: rare.dues.len(),
                swapped: rare.swapped.len(),
            }),
        }
    }

    /// Goes back to a state.
    pub(super) fn rewind(&mut self, mark: &NotesMark) {
        self.deltas.truncate(mark.deltas);
        self.dirty = mark.dirty;
        if let Some(rare) = &mut self.rare {
            let mark = mark.rare.unwrap_or_default();
            rare.cut_touched(mark.touched);
            rare.readied.truncate(mark.readied);
            rare.lost.truncate(mark.lost);
            rare.expired.truncate(mark.expired);
            rare.created.truncate(mark.created);
            rare.lapsed.truncate(mark.lapsed);
            rare.dues.truncate(mark.dues);
            rare.swapped.truncate(mark.swapped);
        }
    }
}

impl View<'_> {
    /// Keys changed or removed so far, recorded only while [`Keyspace::watchers`](super::Keyspace::watchers) is not zero. FLUSHDB and SWAPDB record
    /// nothing: the caller knows.
    #[inline]
    pub fn touched(&self) -> &[(u8, Box<[u8]>)] {
        self.notes.rare().map_or(&[], |rare| &rare.touched)
    }

    /// Has [`View::touched`] name a key that has not changed: some commands tell of a change that they did not make.
    pub fn note_touched(&mut self, db: u8, key: &[u8]) {
        if self.keyspace().is_watched() {
            self.notes.rare_mut().touched.push((db, key.into()));
        }
    }

    /// Keys that those who wait for them ([`Keyspace::awaited`](super::Keyspace::awaited)) are to look at: keys that came into being, and streams
    /// that got an entry. As in Redis it is no such news that a value has taken the place of
    /// another one, even of another type, or that a collection has grown. FLUSHDB and SWAPDB record nothing: the caller
    /// knows.
    #[inline]
    pub fn readied(&self) -> &[Readied] {
        self.notes.rare().map_or(&[], |rare| &rare.readied)
    }

    /// Streams of which the same is to be said to those only whom their end concerns: they are gone, or something else has
    /// taken their place.
    #[inline]
    pub fn lost(&self) -> &[(u8, Box<[u8]>)] {
        self.notes.rare().map_or(&[], |rare| &rare.lost)
    }

    /// Has [`View::readied`] name a key that has taken the place of one that was removed, as far as others may know.
    pub fn note_readied(&mut self, db: u8, key: &[u8]) {
        if self.keyspace().awaited().covers(key)
            && let Some(kind) = self.find(db, key).map(|entry| entry.kind())
        {
            let readied = &mut self.notes.rare_mut().readied;
            readied.push(((db, key.into()), kind));
        }
    }

    /// Keys this view removed because a write met them after their time; the caller propagates the
    /// deletions and sends the events.
    #[inline]
    pub fn expired(&self) -> &[(u8, Box<[u8]>)] {
        self.notes.rare().map_or(&[], |rare| &rare.expired)
    }

    /// Keys this view created, in order; recorded only while [`Settings::note_created`](super::Settings) is set.
    pub fn created(&self) -> &[(u8, Box<[u8]>)] {
        self.notes.rare().map_or(&[], |rare| &rare.created)
    }
}
