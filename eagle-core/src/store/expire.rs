//! Background work: the expiry cycle and the reaper.

use std::sync::atomic::Ordering::Relaxed;

use super::blob::{Blob, has_ttl};
use super::dash::layout::{NodeRef, Record};
use super::dash::{Words, walk};
use super::keyspace::{Guard, Keyspace, Worker, counts};
use super::medium::{Reader, Writer, WriterState};
use super::root::{self, TRASH_LISTS};
use super::totals::GROUP_SLOTS;
use super::view::{Access, View};
use super::{DATABASES_MAX, SLOTS};

/// Blocks that one transaction of the reaper frees, about.
const REAP_BLOCKS: usize = 256;

impl Keyspace {
    /// Removes expired keys, visiting at most about `budget` keys with an expiry and only slots that hold such.
    /// `commit` gets each view that has removed some ([`View::expired`]), before that becomes visible and with the slot
    /// locked, and has to commit it. Returns the number of keys removed; the next call goes on where this one stopped.
    pub fn expire_step(
        &self,
        worker: &mut Worker,
        now_ms: u64,
        budget: usize,
        commit: &mut dyn FnMut(View<'_>),
    ) -> usize {
        let start = self.expire_cursor.load(Relaxed);
        let mut cursor = start;
        let (mut visited, mut removed) = (0, 0);
        while visited < budget {
            let (db, slot) = (
                (cursor / SLOTS % DATABASES_MAX) as u8,
                (cursor % SLOTS) as u16,
            );
            cursor += 1;
            let totals = self.totals(db);
            if totals.expires() == 0 {
                cursor = cursor.next_multiple_of(SLOTS);
            } else if totals.group_expires(slot) == 0 {
                cursor = cursor.next_multiple_of(GROUP_SLOTS);
            } else {
                let guard = self.pin();
                let (seen, due) = self.due(&guard, db, slot, now_ms);
                visited += seen;
                if !due.is_empty() {
                    removed += self.expire_keys(worker, &guard, db, slot, &due, now_ms, commit);
                }
            }
            if cursor - start >= DATABASES_MAX * SLOTS {
                break;
            }
        }
        self.expire_cursor
            .store(cursor % (DATABASES_MAX * SLOTS), Relaxed);
        removed
    }

    /// The keys of a slot whose time has come, and how many keys with an expiry were looked at. Without a lock: what
    /// it finds must be looked at again.
    fn due<'a>(
        &'a self,
        guard: &'a Guard,
        db: u8,
        slot: u16,
        now_ms: u64,
    ) -> (usize, Vec<&'a [u8]>) {
        let reader = self.reader(guard);
        let Some(array) = self.array(&reader, db) else {
            return (0, Vec::new());
        };
        if counts(&reader, array, slot).expires == 0 {
            return (0, Vec::new());
        }
        let table = NodeRef::from_raw(reader.load(root::slot_at(array, slot)));
        let (mut seen, mut due) = (0, Vec::new());
        walk::for_each(&reader, table, &mut |record| {
            if has_ttl(record) {
                seen += 1;
                if let Some(key) = due_key(&reader, record, now_ms) {
                    due.push(key);
                }
            }
            true
        });
        (seen, due)
    }

    /// Removes those of the keys whose time has still come, in one view.
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller; a struct would only rename them"
    )]
    fn expire_keys(
        &self,
        worker: &mut Worker,
        guard: &Guard,
        db: u8,
        slot: u16,
        keys: &[&[u8]],
        now_ms: u64,
        commit: &mut dyn FnMut(View<'_>),
    ) -> usize {
        let mut view = self.view(worker, guard, Access::Slots(&[slot]), now_ms);
        for key in keys {
            // Removing what has expired answers false; an entry that was given more time is left alone.
            if view.find(db, key).is_none() && view.remove(db, key).is_err() {
                break;
            }
        }
        let removed = view.expired().len();
        if removed > 0 {
            commit(view);
        }
        removed
    }

    /// Whether anything that large removals left behind is still to be freed.
    pub fn has_trash(&self) -> bool {
        let guard = self.pin();
        let reader = self.reader(&guard);
        (0..TRASH_LISTS).any(|list| reader.load(root::trash_at(self.root(), list)) != 0)
    }

    /// Frees some of what large removals (FLUSHDB, DEL of a large hash) left behind, at most about `budget`
    /// blocks. Returns whether more is left.
    pub fn reap_step(&self, worker: &mut Worker, budget: usize) -> bool {
        let first = worker.trash_list;
        let mut freed = 0;
        for list in (0..TRASH_LISTS).map(|i| (first + i) % TRASH_LISTS) {
            let head_at = root::trash_at(self.root(), list);
            loop {
                let guard = self.pin();
                if self.reader(&guard).load(head_at) == 0 {
                    break;
                }
                if freed >= budget {
                    return true;
                }
                // A list that a writer or another reaper holds is looked after.
                let Some(_lock) = self.try_lock_trash(list) else {
                    break;
                };
                let locks = self.slots().lock(Access::LockFree);
                let mut state = WriterState::new(self.pool().begin(&mut worker.lane, &guard));
                let mut writer = Writer {
                    state: &mut state,
                    locks: &locks,
                    pool: self.pool(),
                    guard: &guard,
                    hasher: self.hasher(),
                };
                let is_held = |array| self.is_in_snapshot(array);
                let blocks_min = REAP_BLOCKS.min(budget - freed);
                let Ok(blocks) = super::trash::step(&mut writer, head_at, blocks_min, &is_held)
                else {
                    // The log has no room; dropping the transaction undoes the step. Try again later.
                    return true;
                };
                state.tx.commit();
                freed += blocks;
                if blocks == 0 {
                    break;
                }
            }
        }
        false
    }
}

fn due_key<'a>(reader: &Reader<'a>, record: Record, now_ms: u64) -> Option<&'a [u8]> {
    let blob = Blob::read(reader, record.blob());
    blob.ttl_at(reader, record)
        .filter(|&at| now_ms > at)
        .map(|_| blob.key(reader))
}
