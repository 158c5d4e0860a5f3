//! The expiry cycle of hashes' fields.
//!
//! Each group of slots has a time before which nothing in it is due ([`Totals::fields_due`](super::totals::Totals)): what
//! is not due costs one comparison a group. It is volatile, and zero at first. Who looks a group through takes it, and
//! puts back the least of what the slots' trees say; who commits a change lowers it. So it is never too late a time:
//! what was committed before the slot was looked at is in the tree, and whoever commits afterwards lowers what was put
//! back, or is.

use std::sync::atomic::Ordering::Relaxed;

use super::btree::Tree;
use super::dash::Words;
use super::error::StoreError;
use super::field_index::{index_of, tree_at};
use super::keyspace::{Keyspace, Worker};
use super::object::timed_table::Dues;
use super::totals::{GROUP_SLOTS, GROUPS};
use super::view::{Access, View};
use super::{DATABASES_MAX, SLOTS};

/// Fields that one transaction removes, about.
const FIELDS_MAX: usize = 256;

/// A time that never comes.
const NEVER: u64 = u64::MAX;

impl Keyspace {
    /// Removes fields of hashes whose time has come, at most about `budget`, without a look at other hashes. `commit` gets
    /// each view that has removed some ([`View::lapsed`], [`View::expired`]), before that becomes visible and with the slot
    /// locked, and has to commit it. Returns the number of fields removed; the next call goes on where this one stopped.
    pub fn expire_fields_step(
        &self,
        worker: &mut Worker,
        now_ms: u64,
        budget: usize,
        commit: &mut dyn FnMut(View<'_>),
    ) -> usize {
        let start = self.field_cursor.load(Relaxed);
        let (mut removed, mut seen) = (0, 0);
        while seen < DATABASES_MAX * GROUPS {
            let at = (start + seen) % (DATABASES_MAX * GROUPS);
            let (db, group) = ((at / GROUPS) as u8, at % GROUPS);
            if group == 0 && !self.was_written(db) {
                seen += GROUPS;
                continue;
            }
            seen += 1;
            if now_ms <= self.totals(db).fields_due(group) {
                continue;
            }
            removed += self.expire_group(worker, (db, group), now_ms, budget - removed, commit);
            if removed >= budget {
                self.field_cursor.store(at, Relaxed);
                return removed;
            }
        }
        removed
    }

    /// Whether a database has ever had a key.
    fn was_written(&self, db: u8) -> bool {
        let guard = self.pin();
        self.array(&self.reader(&guard), db).is_some()
    }

    fn expire_group(
        &self,
        worker: &mut Worker,
        (db, group): (u8, usize),
        now_ms: u64,
        budget: usize,
        commit: &mut dyn FnMut(View<'_>),
    ) -> usize {
        let totals = self.totals(db);
        totals.take_fields_due(group);
        let (mut removed, mut due) = (0, NEVER);
        for slot in group * GROUP_SLOTS..(group + 1) * GROUP_SLOTS {
            if removed >= budget {
                due = 0;
                break;
            }
            let slot = slot as u16;
            let guard = self.pin();
            let reader = self.reader(&guard);
            let index = self
                .array(&reader, db)
                .and_then(|array| index_of(&reader, array));
            let Some(index) = index else {
                break;
            };
            if reader.load(tree_at(index, slot)) == 0 {
                continue;
            }
            let mut view = self.view(worker, &guard, Access::Slots(&[slot]), now_ms);
            let lapsed = view.lapse_slot(db, slot, (budget - removed).min(FIELDS_MAX));
            due = due.min(match lapsed {
                Ok(_) => view.next_due(db, slot),
                // No room for the log: try again.
                Err(_) => 0,
            });
            let lapsed = lapsed.unwrap_or(0);
            if lapsed > 0 {
                commit(view);
            }
            removed += lapsed;
        }
        totals.lower_fields_due(group, due);
        removed
    }

    /// Notes that something may be due in all slots of a database.
    pub(super) fn look_for_due_fields(&self, db: u8) {
        for slot in (0..SLOTS).step_by(GROUP_SLOTS) {
            self.totals(db).lower_fields_due(slot / GROUP_SLOTS, 0);
        }
    }
}

impl View<'_> {
    /// Removes fields of a slot's hashes whose time has come, at most about so many; their number.
    fn lapse_slot(&mut self, db: u8, slot: u16, fields_max: usize) -> Result<usize, StoreError> {
        let (mut lapsed, mut hashes) = (0, 0);
        // A hash may turn out not to be due yet.
        while lapsed < fields_max && hashes < fields_max {
            let left = fields_max - lapsed;
            match self.change(|change| change.lapse_first(db, slot, left))? {
                Some(fields) => lapsed += fields,
                None => break,
            }
            hashes += 1;
        }
        Ok(lapsed)
    }

    /// When the first hash of a slot is due.
    fn next_due(&self, db: u8, slot: u16) -> u64 {
        let reader = self.reader();
        let index = self
            .keyspace()
            .array(&reader, db)
            .and_then(|array| index_of(&reader, array));
        let first = index.and_then(|index| {
            Tree::<Dues>::new(tree_at(index, slot))
                .first(&reader)
                .entry(&reader)
        });
        first.map_or(NEVER, |entry| entry.a)
    }
}
