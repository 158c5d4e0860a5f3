//! Walks over keys: SCAN, KEYS, GETKEYSINSLOT.
//!
//! A SCAN cursor is a slot and a position in the hash order of that slot's table:
//!
//! ```text
//!   61..48 slot | 47..0 position
//! ```
//!
//! so it needs no state in the server, and growing or shrinking tables do not disturb it.

use super::SLOTS;
use super::blob::Blob;
use super::change::entry_of;
use super::dash::hash::POSITION_BITS;
use super::dash::layout::{NodeRef, Record};
use super::dash::{Words, walk};
use super::entry::Entry;
use super::medium::Reader;
use super::root;
use super::totals::GROUP_SLOTS;
use super::view::View;

impl<'a> View<'a> {
    /// Visits some keys, at least `count` unless the end comes first, and returns the cursor to go on
    /// with; zero begins and ends. Every key that is there during the whole iteration is visited at least
    /// once, however the tables grow and shrink.
    pub fn scan(
        &self,
        db: u8,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&Entry<'a>),
    ) -> u64 {
        let (mut slot, mut position) =
            (cursor >> POSITION_BITS, cursor & ((1 << POSITION_BITS) - 1));
        let mut visited = 0;
        while slot < SLOTS as u64 {
            let Some(filled) = self.next_filled(db, slot as u16) else {
                return 0;
            };
            if u64::from(filled) != slot {
                (slot, position) = (u64::from(filled), 0);
            }
            let (records, next) = self.scan_step(db, filled, position);
            visited += records.len();
            self.visit_live(&records, visit);
            (slot, position) = match next {
                Some(next) => (slot, next),
                None => (slot + 1, 0),
            };
            if visited >= count.max(1) {
                break;
            }
        }
        if slot < SLOTS as u64 {
            slot << POSITION_BITS | position
        } else {
            0
        }
    }

    /// Visits some keys of one slot from `position` on, at least `count` unless its end comes first; the position to go
    /// on with, if there is more. Zero begins. The guarantees are those of [`View::scan`].
    pub fn scan_slot(
        &self,
        db: u8,
        slot: u16,
        position: u64,
        count: usize,
        visit: &mut dyn FnMut(&Entry<'a>),
    ) -> Option<u64> {
        let mut position = position & ((1 << POSITION_BITS) - 1);
        let mut visited = 0;
        loop {
            let (records, next) = self.scan_step(db, slot, position);
            visited += records.len();
            self.visit_live(&records, visit);
            position = next?;
            if visited >= count.max(1) {
                return Some(position);
            }
        }
    }

    /// The records at one place of a slot's table, and the place after it.
    fn scan_step(&self, db: u8, slot: u16, position: u64) -> (Vec<Record>, Option<u64>) {
        let (found, _) = self.read(slot, |reader| {
            let mut records = Vec::new();
            let table = self.table(reader, db, slot);
            let next = walk::scan(reader, table, position, &mut |record| records.push(record));
            (records, next)
        });
        found
    }

    /// Visits at most `keys_max` keys of one slot.
    pub fn slot_keys(&self, db: u8, slot: u16, keys_max: usize, visit: &mut dyn FnMut(&Entry<'a>)) {
        let (records, _) = self.read(slot, |reader| {
            let mut records = Vec::new();
            walk::for_each(reader, self.table(reader, db, slot), &mut |record| {
                if !self.is_expired(&self.entry(reader, record)) {
                    records.push(record);
                }
                records.len() < keys_max
            });
            records.truncate(keys_max);
            records
        });
        self.visit_live(&records, visit);
    }

    /// Visits every key of `db` (`KEYS`, snapshots), slot by slot.
    pub fn for_each(&self, db: u8, visit: &mut dyn FnMut(&Entry<'a>)) {
        let mut slot = 0;
        while let Some(filled) = self.next_filled(db, slot) {
            self.slot_keys(db, filled, usize::MAX, visit);
            slot = filled + 1;
            if usize::from(slot) == SLOTS {
                break;
            }
        }
    }

    /// The first slot from `slot` on that holds keys of `db`.
    pub fn next_filled(&self, db: u8, slot: u16) -> Option<u16> {
        let reader = self.reader();
        let array = self.keyspace().array(&reader, db)?;
        let mut slot = usize::from(slot);
        // The groups' sums do not know this view's own changes.
        let trust_sums = self.dirty() == 0;
        while slot < SLOTS {
            let at = slot as u16;
            if trust_sums
                && slot.is_multiple_of(GROUP_SLOTS)
                && self.keyspace().totals(db).group_keys(at) == 0
            {
                slot += GROUP_SLOTS;
                continue;
            }
            if reader.load(root::slot_at(array, at)) != 0 {
                return Some(at);
            }
            slot += 1;
        }
        None
    }

    /// The table of a slot.
    pub(super) fn table(&self, reader: &Reader<'a>, db: u8, slot: u16) -> NodeRef {
        self.keyspace()
            .array(reader, db)
            .map_or(NodeRef::EMPTY, |array| {
                NodeRef::from_raw(reader.load(root::slot_at(array, slot)))
            })
    }

    /// The entry of a record.
    pub(super) fn entry(&self, reader: &Reader<'a>, record: Record) -> Entry<'a> {
        entry_of(reader, record, &Blob::read(reader, record.blob()))
    }

    /// Whether the time of an entry has come.
    pub(super) fn is_expired(&self, entry: &Entry<'a>) -> bool {
        entry.ttl_at().is_some_and(|at| self.now_ms() > at)
    }

    fn visit_live(&self, records: &[Record], visit: &mut dyn FnMut(&Entry<'a>)) {
        let reader = self.reader();
        for &record in records {
            let entry = self.entry(&reader, record);
            if !self.is_expired(&entry) {
                visit(&entry);
            }
        }
    }
}
