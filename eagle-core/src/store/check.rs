//! Checking a keyspace: every block that the roots reach is reached once, and every allocated block is
//! reached; counters agree with tables, tables keep their invariants.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::blob::{Blob, has_ttl};
use super::btree::Entry;
use super::btree::verify as tree;
use super::catalogue;
use super::dash::Words;
use super::dash::layout::{NodeRef, Record};
use super::dash::verify::{self, Visitor};
use super::encoding::intset::Intset;
use super::encoding::score::order_key;
use super::entry::Encoding;
use super::keyspace::{Keyspace, OpenError, counts};
use super::medium::Reader;
use super::object::string::large::{CHUNK_BYTES, LARGE_STRING_BYTES_MIN, Large, chunks};
use super::object::zset::{Member, Ranks, Sorted, ZSET_HEADER_BYTES};
use super::root::{self, ARRAY_BYTES, Counts, TRASH_LISTS};
use super::trash::{self, HEADER_BYTES};
use super::view::Access;
use super::{DATABASES_MAX, SLOTS, key_slot};
use crate::pmem::{self, Offset, Pool};

/// Faults after which a check stops noting more.
const FAULTS_MAX: usize = 100;

/// What a check of a pool found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Keys in all databases.
    pub keys: u64,
    /// Blocks reachable from the roots.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Everything that is wrong; empty for a sound pool.
    pub faults: Vec<String>,
}

impl Keyspace {
    /// Checks the whole keyspace, with all slots locked. Meant for an idle server and for tests.
    pub fn check(&self) -> CheckReport {
        let guard = self.pin();
        let _locks = self.slots().lock(Access::All);
        let _trash: Vec<_> = (0..TRASH_LISTS).map(|list| self.lock_trash(list)).collect();
        let mut walk = Walk {
            reader: self.reader(&guard),
            pool: self.pool(),
            reached: HashSet::new(),
            dues: Vec::new(),
            report: CheckReport::default(),
        };
        walk.databases(self);
        walk.trash(self);
        if let Some((at, bytes)) = catalogue::block(&walk.reader, self.root()) {
            walk.reach(at, bytes);
        }
        walk.allocator();
        walk.report
    }
}

/// A walk over everything that the roots reach.
pub(super) struct Walk<'a> {
    pub(super) reader: Reader<'a>,
    pool: &'a Pool,
    reached: HashSet<u64>,
    /// Hashes of a slot whose fields expire: when they are due, and their entry blobs.
    pub(super) dues: Vec<(u64, u64)>,
    report: CheckReport,
}

impl Walk<'_> {
    pub(super) fn fault(&mut self, fault: String) {
        if self.report.faults.len() < FAULTS_MAX {
            self.report.faults.push(fault);
        }
    }

    /// Notes that a block of at least `bytes` is in use; whether this is the first time.
    pub(super) fn reach(&mut self, at: u64, bytes: u64) -> bool {
        if !self.reached.insert(at) {
            self.fault(format!("block {at:#x} is reached twice"));
            return false;
        }
        let block = self.pool.usable_size(Offset::from_raw(at)) as u64;
        if block < bytes {
            self.fault(format!("block {at:#x} has {block} bytes, {bytes} are used"));
        }
        self.report.blocks += 1;
        self.report.bytes += block;
        true
    }

    fn databases(&mut self, keyspace: &Keyspace) {
        for db in 0..DATABASES_MAX as u8 {
            let Some(array) = keyspace.array(&self.reader, db) else {
                continue;
            };
            self.reach(array, ARRAY_BYTES as u64);
            let index = self.index(array);
            let mut sum = Counts::default();
            for slot in 0..SLOTS as u16 {
                let noted = counts(&self.reader, array, slot);
                let found = self.entries(
                    NodeRef::from_raw(self.reader.load(root::slot_at(array, slot))),
                    Some(slot),
                );
                self.indexed(index, slot);
                if noted != found {
                    self.fault(format!(
                        "database {db} slot {slot}: {noted:?} noted, {found:?} found"
                    ));
                }
                sum = sum.plus(found.keys as i32, found.expires as i32);
            }
            self.report.keys += u64::from(sum.keys);
            let totals = (keyspace.len(db), keyspace.expires(db));
            if totals != (u64::from(sum.keys), u64::from(sum.expires)) {
                self.fault(format!(
                    "database {db}: totals are {totals:?}, {sum:?} found"
                ));
            }
        }
    }

    fn trash(&mut self, keyspace: &Keyspace) {
        for list in 0..TRASH_LISTS {
            let mut link = self.reader.load(root::trash_at(keyspace.root(), list));
            while link != 0 {
                let Some((kind, node, next)) = trash::follow(&self.reader, link) else {
                    self.fault(format!("trash list {list} goes to {link:#x}"));
                    break;
                };
                let known = match kind {
                    trash::Kind::Array => self.trashed_array(node),
                    trash::Kind::Collection => self.collection(node, node + 24, None),
                    trash::Kind::List => self.list(node, false),
                    trash::Kind::Stream => self.trashed_stream(node),
                    trash::Kind::Sorted => self.sorted(node, node + 24, None),
                    trash::Kind::String => self.large_string(node, false),
                    trash::Kind::Slot => self.trashed_table(node, node, node + 24),
                };
                self.dues.clear();
                if !known {
                    break;
                }
                link = next;
            }
        }
    }

    fn trashed_array(&mut self, node: u64) -> bool {
        if !self.reach(node, ARRAY_BYTES as u64) {
            return false;
        }
        self.trashed_index(node);
        for slot in self.reader.load(node + 8)..SLOTS as u64 {
            let root_at = root::slot_at(node, slot as u16);
            let cursor = if slot == self.reader.load(node + 8) {
                self.reader.load(node + 16)
            } else {
                0
            };
            self.half_dismantled(NodeRef::from_raw(self.reader.load(root_at)), cursor, true);
        }
        true
    }

    fn trashed_table(&mut self, node: u64, root_at: u64, cursor_at: u64) -> bool {
        if !self.reach(node, HEADER_BYTES as u64) {
            return false;
        }
        self.dues_below(self.reader.load(node + 8), false);
        let root = NodeRef::from_raw(self.reader.load(root_at));
        self.half_dismantled(root, self.reader.load(cursor_at), true);
        true
    }

    /// Compares what was reached with what the allocator has given away.
    fn allocator(&mut self) {
        if let Some((at, _)) = self.pool.ring_block() {
            self.report.blocks += 1;
            self.report.bytes += self.pool.usable_size(at) as u64;
        }
        let reached = self.reached.iter().map(|&at| Offset::from_raw(at));
        let books = pmem::check::check(self.pool, reached);
        for (what, findings) in [
            ("leaked", &books.leaked),
            ("not allocated", &books.dangling),
            ("shared", &books.shared),
        ] {
            if findings.count > 0 {
                self.fault(format!(
                    "{} blocks are {what}, first {:?}",
                    findings.count, findings.first
                ));
            }
        }
        for fault in books.faults {
            self.fault(fault);
        }
    }

    /// A large collection; `len` is what its owner says, if it has one.
    fn collection(&mut self, header: u64, cursor_at: u64, len: Option<u64>) -> bool {
        if !self.reach(header, HEADER_BYTES as u64) {
            return false;
        }
        let root = NodeRef::from_raw(self.reader.load(header));
        match len {
            None => self.half_dismantled(root, self.reader.load(cursor_at), false),
            Some(len) => {
                let found = self.members(root);
                if found != len {
                    self.fault(format!(
                        "collection {header:#x}: {len} members noted, {found} found"
                    ));
                }
            }
        }
        true
    }

    /// A large string that an entry refers to, or one in the trash, whose chunks before the cursor are gone; whether its
    /// header was not met before.
    fn large_string(&mut self, header: u64, whole: bool) -> bool {
        if !self.reach(header, HEADER_BYTES as u64) {
            return false;
        }
        let large = Large { header };
        let (len, cursor) = (large.len(&self.reader), large.cursor(&self.reader));
        let directory = large.directory(&self.reader);
        let count = chunks(len);
        if !self.reach(directory, 8 * count) {
            return true;
        }
        if whole && (len < LARGE_STRING_BYTES_MIN || cursor != 0) {
            self.fault(format!(
                "string {header:#x} has {len} bytes and the cursor {cursor}"
            ));
        }
        // Words that the directory's block does not have were told above.
        let count = count.min(self.pool.usable_size(Offset::from_raw(directory)) as u64 / 8);
        for number in cursor..count {
            let chunk = self.reader.load(directory + 8 * number);
            if chunk != 0 {
                self.reach(chunk, CHUNK_BYTES.min(len - number * CHUNK_BYTES));
            }
        }
        true
    }

    /// A large sorted set; `len` is what its owner says, if it has one. Of trash, the tree goes first.
    fn sorted(&mut self, header: u64, cursor_at: u64, len: Option<u64>) -> bool {
        if !self.reach(header, ZSET_HEADER_BYTES as u64) {
            return false;
        }
        let set = Sorted { header };
        let (root, whole) = (set.root(&self.reader), len.is_some());
        let mut order = TreeWalk {
            walk: self,
            entries: Vec::new(),
        };
        let tree = order.walk.reader.load(header + 32);
        let reader = order.walk.reader;
        tree::tree::<Ranks, _>(&reader, tree, whole, &mut order);
        let entries = order.entries;
        let Some(len) = len else {
            self.half_dismantled(root, self.reader.load(cursor_at), false);
            return true;
        };
        let mut found = Found::default();
        verify::table(&self.reader, root, &mut found);
        let members: HashSet<u64> = found.records.iter().map(|record| record.blob()).collect();
        if entries.len() as u64 != len || entries.iter().any(|entry| !members.contains(&entry.b)) {
            self.fault(format!(
                "sorted set {header:#x}: {len} members noted, {} of other ones in order",
                entries.len()
            ));
            return true;
        }
        let found = self.members(root);
        if found != len {
            self.fault(format!(
                "sorted set {header:#x}: {len} members noted, {found} found"
            ));
        }
        let place = |entry: &Entry| {
            let member = Member::read(&reader, entry.b);
            (entry.a, member.name(&reader))
        };
        let score = |entry: &Entry| Member::read(&reader, entry.b).score(&reader);
        if !entries.is_sorted_by(|a, b| place(a) < place(b))
            || entries
                .iter()
                .any(|entry| entry.a != order_key(score(entry)))
        {
            self.fault(format!("sorted set {header:#x} is not in order"));
        }
        true
    }

    /// Trash that the reaper may have begun with: in a directory, the words before `cursor` are gone.
    fn half_dismantled(&mut self, root: NodeRef, cursor: u64, entries: bool) {
        let mut found = Found::default();
        verify::table_from(&self.reader, root, cursor, &mut found);
        self.found(&mut found);
        for record in found.records {
            if entries {
                self.entry(record, None);
            } else {
                self.member(record);
            }
        }
    }

    pub(super) fn found(&mut self, found: &mut Found) {
        for (at, bytes) in found.blocks.drain(..) {
            self.reach(at, bytes);
        }
        for fault in found.faults.drain(..) {
            self.fault(fault);
        }
    }

    /// A table of entries; what it holds.
    fn entries(&mut self, root: NodeRef, slot: Option<u16>) -> Counts {
        let mut found = Found::default();
        verify::table(&self.reader, root, &mut found);
        self.found(&mut found);
        let mut counts = Counts::default();
        let mut keys = HashSet::new();
        for record in found.records {
            counts = counts.plus(1, i32::from(has_ttl(record)));
            let key = self.entry(record, slot);
            if !keys.insert(key) {
                self.fault(format!("slot {slot:?} holds a key twice"));
            }
        }
        counts
    }

    fn entry(&mut self, record: Record, slot: Option<u16>) -> Vec<u8> {
        let blob = Blob::read(&self.reader, record.blob());
        self.reach(record.blob(), blob.len());
        let key = blob.key(&self.reader).to_vec();
        if slot.is_some_and(|slot| slot != key_slot(&key)) {
            self.fault(format!(
                "slot {slot:?} holds a key of slot {}",
                key_slot(&key)
            ));
        }
        if record.meta() != blob.meta(has_ttl(record)).bits() {
            self.fault(format!(
                "record of blob {:#x} has meta {:#x}",
                record.blob(),
                record.meta()
            ));
        }
        if has_ttl(record) && blob.ttl_word().is_none() {
            self.fault(format!(
                "blob {:#x} has no room for its expiry",
                record.blob()
            ));
        }
        if blob.encoding() == Encoding::Int && blob.value(&self.reader).len() < 8 {
            self.fault(format!("blob {:#x} is no integer", record.blob()));
        }
        if blob.encoding() == Encoding::Hashtable {
            let header = blob.value_word(&self.reader);
            self.collection(header, 0, Some(self.reader.load(header + 8)));
        }
        if blob.encoding() == Encoding::ListpackEx {
            self.packed_timed(record.blob(), blob.value(&self.reader));
        }
        if blob.encoding() == Encoding::HashtableEx {
            self.timed(record.blob(), blob.value_word(&self.reader));
        }
        if blob.encoding() == Encoding::Quicklist {
            self.list(blob.value_word(&self.reader), true);
        }
        if blob.encoding() == Encoding::Chunked {
            self.large_string(blob.value_word(&self.reader), true);
        }
        if blob.encoding() == Encoding::Stream {
            self.stream(blob.value_word(&self.reader));
        }
        if blob.encoding() == Encoding::Intset && !Intset::is_sound(blob.value(&self.reader)) {
            self.fault(format!("blob {:#x} is no proper intset", record.blob()));
        }
        if blob.encoding() == Encoding::Skiplist {
            let header = blob.value_word(&self.reader);
            self.sorted(header, 0, Some(self.reader.load(header + 8)));
        }
        key
    }

    /// A table of members; their number.
    pub(super) fn members(&mut self, root: NodeRef) -> u64 {
        let mut found = Found::default();
        verify::table(&self.reader, root, &mut found);
        self.found(&mut found);
        let mut members = HashSet::new();
        for record in found.records {
            if !members.insert(self.member(record)) {
                self.fault("a collection holds a member twice".to_owned());
            }
        }
        members.len() as u64
    }

    fn member(&mut self, record: Record) -> Vec<u8> {
        let blob = Blob::of(&self.reader, record);
        self.reach(record.blob(), blob.len());
        blob.key(&self.reader).to_vec()
    }
}

/// The entries of a tree, collected before they are judged; its nodes are reached at once.
pub(super) struct TreeWalk<'w, 'a> {
    pub(super) walk: &'w mut Walk<'a>,
    pub(super) entries: Vec<Entry>,
}

impl tree::Visitor for TreeWalk<'_, '_> {
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

/// What a table holds, collected before it is judged.
#[derive(Default)]
pub(super) struct Found {
    blocks: Vec<(u64, u64)>,
    pub(super) records: Vec<Record>,
    faults: Vec<String>,
}

impl Visitor for Found {
    fn block(&mut self, at: u64, bytes: u64) {
        self.blocks.push((at, bytes));
    }

    fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }
}

/// Checks a pool file that no process has open: opens it as a start of the server would (which ends what a crash cut
/// off), walks everything, and closes it again. `boot_id` is this boot of the machine's.
pub fn check(path: &Path, boot_id: [u8; 16]) -> Result<CheckReport, OpenError> {
    let size = std::fs::metadata(path).map_err(OpenError::Io)?.len();
    let options = pmem::PoolOptions {
        path: Some(path.to_owned()),
        size_max: size,
        lanes: 1,
        boot_id,
        hash_seed: [0; 16],
        pool_id: [0; 16],
    };
    let (pool, _) = Pool::open(&options)?;
    // A word that refers to nowhere ends the walk with a panic, as it would end a command: here it is a finding.
    let walked = catch_unwind(AssertUnwindSafe(|| {
        let keyspace = Keyspace::found_in(pool)?;
        let report = keyspace.check();
        keyspace.close().map_err(OpenError::Io)?;
        Ok(report)
    }));
    walked.unwrap_or_else(|_| {
        let faults = vec!["a reference leads out of the pool, or to no block".to_owned()];
        Ok(CheckReport {
            faults,
            ..CheckReport::default()
        })
    })
}
