//! The check of hashes whose fields expire, and of the index that says when.

use std::collections::HashMap;

use super::SLOTS;
use super::blob::{Blob, has_ttl};
use super::btree::Entry;
use super::btree::verify as tree;
use super::check::{Found, TreeWalk, Walk};
use super::dash::{Words, verify};
use super::encoding::packed_timed::PackedTimed;
use super::field_index::{INDEX_BYTES, index_of, tree_at};
use super::object::timed_table::{Dues, TIMED_HEADER_BYTES, TimedTable};

impl Walk<'_> {
    /// A packed hash whose fields may expire.
    pub(super) fn packed_timed(&mut self, at: u64, value: &[u8]) {
        if !PackedTimed::is_sound(value) {
            self.fault(format!(
                "blob {at:#x} is no packed hash with expiring fields"
            ));
        }
        if let Some(due) = PackedTimed::new(value).due() {
            self.dues.push((due, at));
        }
    }

    /// A large hash whose fields may expire, which the entry blob at `at` names.
    pub(super) fn timed(&mut self, at: u64, header: u64) {
        if !self.reach(header, TIMED_HEADER_BYTES as u64) {
            return;
        }
        let reader = self.reader;
        let table = TimedTable { header };
        let entries = self.dues_below(reader.load(header + 32), true);
        let mut found = Found::default();
        let root = table.members().root(&reader);
        verify::table(&reader, root, &mut found);
        let expiring: HashMap<u64, u64> = found
            .records
            .iter()
            .filter(|record| has_ttl(**record))
            .map(|record| {
                let blob = Blob::of(&reader, *record);
                (record.blob(), blob.ttl_at(&reader, *record).unwrap_or(0))
            })
            .collect();
        let len = reader.load(header + 8);
        let members = self.members(root);
        if members != len {
            self.fault(format!(
                "hash {header:#x}: {len} fields noted, {members} found"
            ));
        }
        let named = |entry: &Entry| expiring.get(&entry.b) == Some(&entry.a);
        if entries.len() != expiring.len() || !entries.iter().all(named) {
            self.fault(format!(
                "hash {header:#x}: {} fields expire, {} are in order",
                expiring.len(),
                entries.len()
            ));
            return;
        }
        self.in_order(&entries, header);
        let (due, first) = (table.due(&reader), entries.first().map(|entry| entry.a));
        if due.is_some() != first.is_some() || due > first {
            self.fault(format!(
                "hash {header:#x} is due {due:?}, its first field {first:?}"
            ));
        }
        if let Some(due) = due {
            self.dues.push((due, at));
        }
    }

    /// The index that belongs to a root array; `None` if there is none.
    pub(super) fn index(&mut self, array: u64) -> Option<u64> {
        let index = index_of(&self.reader, array)?;
        self.reach(index, INDEX_BYTES as u64).then_some(index)
    }

    /// Compares the tree of a slot with the hashes that were found there.
    pub(super) fn indexed(&mut self, index: Option<u64>, slot: u16) {
        let root = index.map_or(0, |index| self.reader.load(tree_at(index, slot)));
        let entries = self.dues_below(root, true);
        let mut found = std::mem::take(&mut self.dues);
        let mut noted: Vec<_> = entries.iter().map(|entry| (entry.a, entry.b)).collect();
        found.sort_unstable();
        noted.sort_unstable();
        if noted != found {
            self.fault(format!(
                "slot {slot}: {} hashes with expiring fields, {} in the index, or not the same",
                found.len(),
                noted.len()
            ));
            return;
        }
        self.in_order(&entries, root);
    }

    /// The index of a root array in the trash.
    pub(super) fn trashed_index(&mut self, array: u64) {
        let Some(index) = self.index(array) else {
            return;
        };
        for slot in self.reader.load(index)..SLOTS as u64 {
            let root = self.reader.load(tree_at(index, slot as u16));
            self.dues_below(root, false);
        }
    }

    /// The entries of a tree of dues.
    pub(super) fn dues_below(&mut self, root: u64, whole: bool) -> Vec<Entry> {
        let reader = self.reader;
        let mut order = TreeWalk {
            walk: self,
            entries: Vec::new(),
        };
        tree::tree::<Dues, _>(&reader, root, whole, &mut order);
        order.entries
    }

    fn in_order(&mut self, entries: &[Entry], at: u64) {
        let reader = self.reader;
        let place = |entry: &Entry| (entry.a, Blob::read(&reader, entry.b).key(&reader));
        if !entries.is_sorted_by(|a, b| place(a) < place(b)) {
            self.fault(format!("the tree of dues of {at:#x} is not in order"));
        }
    }
}
