//! Checking streams: nodes, groups, consumers, and that every pending is one of a group and of one of its consumers.

use std::collections::{BTreeMap, HashMap};

use super::blob::Blob;
use super::btree::{self, Entry};
use super::check::{Found, Walk};
use super::dash::Words;
use super::dash::layout::NodeRef;
use super::dash::verify;
use super::object::stream::index::ById;
use super::object::stream::node::Node;
use super::object::stream::{
    LEN_AT, PENDING_BYTES, Part, StreamId, TABLE_AT, TABLE_CURSOR_AT, TABLE_LEN_AT, TREE_AT,
};

impl Walk<'_> {
    /// A stream that an entry refers to.
    pub(super) fn stream(&mut self, header: u64) {
        if !self.part(header, Part::Header) {
            return;
        }
        let mut live = 0;
        let mut last = None;
        for node in self.nodes(header, true) {
            live += u64::from(node.0);
            if last.is_some_and(|last| last >= node.1) {
                self.fault(format!(
                    "stream {header:#x}: node {} does not ascend",
                    node.1
                ));
            }
            last = Some(node.2);
        }
        let len = self.reader.load(header + LEN_AT);
        if live != len {
            self.fault(format!(
                "stream {header:#x}: {len} entries noted, {live} found"
            ));
        }
        for (_, group) in self.names(header, 0, true) {
            self.group(group);
        }
    }

    /// A stream, group or consumer in the trash, which may be half gone.
    pub(super) fn trashed_stream(&mut self, at: u64) -> bool {
        let part = Part::of(&self.reader, at);
        if !self.part(at, part) {
            return false;
        }
        match part {
            Part::Header => drop(self.nodes(at, false)),
            Part::Group => drop(self.pendings(at, false)),
            // The pendings are the group's, and may be gone.
            Part::Consumer => drop(self.tree(at, false)),
        }
        if part != Part::Consumer {
            let cursor = self.reader.load(at + TABLE_CURSOR_AT);
            for (_, inner) in self.names(at, cursor, false) {
                match part {
                    Part::Header => drop(self.trashed_stream(inner)),
                    // Its tree refers to pendings that are reached, or gone.
                    _ => {
                        self.part(inner, Part::Consumer);
                        self.tree(inner, false);
                    }
                }
            }
        }
        true
    }

    fn group(&mut self, group: u64) {
        if !self.part(group, Part::Group) {
            return;
        }
        let pendings = self.pendings(group, true);
        let mut owned: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (&at, &consumer) in &pendings {
            owned.entry(consumer).or_default().push(at);
        }
        for (blob, consumer) in self.names(group, 0, true) {
            if !self.part(consumer, Part::Consumer) {
                continue;
            }
            let own = self.tree(consumer, true);
            self.counted(consumer, &own);
            let mut own: Vec<u64> = own.iter().map(|entry| entry.b).collect();
            own.sort_unstable();
            let mut noted = owned.remove(&blob).unwrap_or_default();
            noted.sort_unstable();
            if noted != own {
                self.fault(format!(
                    "consumer {consumer:#x} and its group disagree on what is pending"
                ));
            }
        }
        if !owned.is_empty() {
            self.fault(format!("group {group:#x} has pendings of nobody"));
        }
    }

    fn part(&mut self, at: u64, part: Part) -> bool {
        if Part::of(&self.reader, at) != part {
            self.fault(format!("block {at:#x} is no {part:?}"));
            return false;
        }
        self.reach(at, part.bytes())
    }

    /// The nodes of a stream: entries that live, and the first and last id.
    fn nodes(&mut self, header: u64, whole: bool) -> Vec<(u32, StreamId, StreamId)> {
        let mut all = Vec::new();
        for entry in self.tree(header, whole) {
            let node = Node::read(&self.reader, entry.b);
            self.reach(entry.b, node.state.used as u64);
            if entry.a != node.first.ms {
                self.fault(format!("node {:#x} is filed under {}", entry.b, entry.a));
            }
            let (mut live, mut deleted, mut before) = (0, 0, None);
            for entry in node.entries() {
                *if entry.deleted {
                    &mut deleted
                } else {
                    &mut live
                } += 1;
                if before.is_some_and(|before| before >= entry.id) || entry.id < node.first {
                    self.fault(format!("node {:#x}: {} is out of order", node.at, entry.id));
                }
                before = Some(entry.id);
            }
            if (live, deleted) != (node.state.live, node.state.deleted) {
                self.fault(format!(
                    "node {:#x}: {live} live and {deleted} deleted entries found, {:?} noted",
                    node.at, node.state
                ));
            }
            all.push((live, node.first, node.last()));
        }
        all
    }

    /// The pendings of a group, and the blob of each one's consumer.
    fn pendings(&mut self, group: u64, whole: bool) -> HashMap<u64, u64> {
        let mut all = HashMap::new();
        let entries = self.tree(group, whole);
        if whole {
            self.counted(group, &entries);
        }
        for entry in entries {
            self.reach(entry.b, PENDING_BYTES);
            all.insert(entry.b, self.reader.load(entry.b + 32));
        }
        all
    }

    /// The entries of the tree of a stream, group or consumer.
    fn tree(&mut self, owner: u64, whole: bool) -> Vec<Entry> {
        let mut found = Tree {
            walk: self,
            entries: Vec::new(),
        };
        let reader = found.walk.reader;
        btree::verify::tree::<ById, _>(&reader, reader.load(owner + TREE_AT), whole, &mut found);
        found.entries
    }

    /// Compares pendings with the number noted, and looks whether their ids ascend.
    fn counted(&mut self, owner: u64, entries: &[Entry]) {
        let len = self.reader.load(owner + LEN_AT);
        if len != entries.len() as u64 {
            self.fault(format!(
                "block {owner:#x}: {len} pendings noted, {} found",
                entries.len()
            ));
        }
        let id = |entry: &Entry| {
            let [ms, seq] = [0, 8].map(|word| self.reader.load(entry.b + word));
            StreamId::new(ms, seq)
        };
        if !entries.is_sorted_by(|a, b| id(a) < id(b)) {
            self.fault(format!("block {owner:#x}: pendings do not ascend"));
        }
    }

    /// The groups of a stream or consumers of a group: blob and block of each.
    fn names(&mut self, owner: u64, cursor: u64, counted: bool) -> Vec<(u64, u64)> {
        let mut found = Found::default();
        let root = NodeRef::from_raw(self.reader.load(owner + TABLE_AT));
        verify::table_from(&self.reader, root, cursor, &mut found);
        self.found(&mut found);
        let len = self.reader.load(owner + TABLE_LEN_AT);
        if counted && len != found.records.len() as u64 {
            self.fault(format!(
                "block {owner:#x}: {len} names noted, {} found",
                found.records.len()
            ));
        }
        let mut all = Vec::new();
        for record in found.records {
            let blob = Blob::read(&self.reader, record.blob());
            self.reach(record.blob(), blob.len());
            all.push((record.blob(), blob.value_word(&self.reader)));
        }
        all
    }
}

/// Collects a tree.
struct Tree<'w, 'a> {
    walk: &'w mut Walk<'a>,
    entries: Vec<Entry>,
}

impl btree::verify::Visitor for Tree<'_, '_> {
    fn block(&mut self, at: u64, bytes: u64) -> bool {
        self.walk.reach(at, bytes)
    }

    fn entry(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    fn fault(&mut self, fault: String) {
        self.walk.fault(fault);
    }
}
