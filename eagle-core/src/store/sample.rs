//! Random keys: RANDOMKEY, and the samples that eviction chooses from.

use super::SLOTS;
use super::dash::layout::Record;
use super::dash::walk;
use super::entry::Entry;
use super::keyspace::counts;
use super::totals::GROUP_SLOTS;
use super::view::View;
use crate::store::blob::has_ttl;

/// Draws before RANDOMKEY looks for any key that has not expired.
const DRAWS_MAX: usize = 64;

/// Draws from a slot before its keys with an expiry are listed.
const VOLATILE_DRAWS_MAX: usize = 16;

/// Which keys a draw is among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// All keys.
    All,
    /// Keys that have an expiry.
    Volatile,
}

impl<'a> View<'a> {
    /// A key of `db` drawn uniformly with `rng` among those that have not expired; `None` if there is none.
    pub fn random_key(&self, db: u8, rng: &mut dyn FnMut() -> u64) -> Option<Entry<'a>> {
        for _ in 0..DRAWS_MAX {
            if self.keyspace().len(db) == 0 {
                break;
            }
            let entry = self
                .draw(db, Among::All, rng)
                .filter(|entry| !self.is_expired(entry));
            if entry.is_some() {
                return entry;
            }
        }
        // Nearly all keys have expired, or this view's own changes are not in the totals: take the first key met.
        let mut slot = 0;
        loop {
            let filled = self.next_filled(db, slot)?;
            let mut first = None;
            self.slot_keys(db, filled, 1, &mut |entry| first = Some(*entry));
            if first.is_some() {
                return first;
            }
            slot = filled + 1;
            if usize::from(slot) == SLOTS {
                return None;
            }
        }
    }

    /// An entry of `db` drawn with `rng`, its time come or not: uniformly over the slots' counts and then over the
    /// slot's table. `None` if there is none, or if others change the table so fast that the draw failed.
    pub fn draw(&self, db: u8, among: Among, rng: &mut dyn FnMut() -> u64) -> Option<Entry<'a>> {
        let total = match among {
            Among::All => self.keyspace().len(db),
            Among::Volatile => self.keyspace().expires(db),
        };
        let slot = self.slot_of_nth(db, among, rng().checked_rem(total)?)?;
        let reader = self.reader();
        let table = self.table(&reader, db, slot);
        let record = match among {
            Among::All => walk::random(&reader, table, rng),
            Among::Volatile => (0..VOLATILE_DRAWS_MAX)
                .find_map(|_| walk::random(&reader, table, rng).filter(|record| has_ttl(*record)))
                .or_else(|| {
                    // Few keys of the slot have an expiry: list them.
                    let mut volatile: Vec<Record> = Vec::new();
                    walk::for_each(&reader, table, &mut |record| {
                        if has_ttl(record) {
                            volatile.push(record);
                        }
                        true
                    });
                    let n = rng().checked_rem(volatile.len() as u64)?;
                    Some(volatile[n as usize])
                }),
        };
        record.map(|record| self.entry(&reader, record))
    }

    /// The slot of the `n`-th key in the order of slots.
    fn slot_of_nth(&self, db: u8, among: Among, mut n: u64) -> Option<u16> {
        let reader = self.reader();
        let array = self.keyspace().array(&reader, db)?;
        let totals = self.keyspace().totals(db);
        for group in (0..SLOTS).step_by(GROUP_SLOTS) {
            let keys = match among {
                Among::All => totals.group_keys(group as u16),
                Among::Volatile => totals.group_expires(group as u16),
            };
            if n >= keys {
                n -= keys;
                continue;
            }
            for slot in group..group + GROUP_SLOTS {
                let counts = counts(&reader, array, slot as u16);
                let keys = u64::from(match among {
                    Among::All => counts.keys,
                    Among::Volatile => counts.expires,
                });
                if n < keys {
                    return Some(slot as u16);
                }
                n -= keys;
            }
        }
        None
    }
}
