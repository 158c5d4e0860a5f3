//! Checking large lists: their chunks, and that the tree weighs what is in them.

use super::btree::{self, Entry};
use super::check::Walk;
use super::dash::Words;
use super::object::list::chunk::Chunk;
use super::object::list::{Chunks, End, Large};
use super::trash::HEADER_BYTES;

impl Walk<'_> {
    /// A large list that an entry refers to, or one in the trash, which may be half gone; whether its header was not
    /// met before.
    pub(super) fn list(&mut self, header: u64, whole: bool) -> bool {
        if !self.reach(header, HEADER_BYTES as u64) {
            return false;
        }
        let large = Large { header };
        let mut elements = 0;
        for end in [End::Head, End::Tail] {
            if let Some(chunk) = large.end(&self.reader, end) {
                elements += self.chunk(chunk.at);
            }
        }
        let mut tree = TreeWalk::default();
        let root = self.reader.load(header);
        let reader = self.reader;
        btree::verify::tree::<Chunks, _>(&reader, root, whole, &mut tree);
        for (at, bytes) in tree.blocks {
            self.reach(at, bytes);
        }
        for fault in tree.faults {
            self.fault(format!("list {header:#x}: {fault}"));
        }
        for entry in tree.entries {
            let found = self.chunk(entry.b);
            if found != entry.a {
                self.fault(format!(
                    "list {header:#x}: chunk {:#x} weighs {} and has {found} elements",
                    entry.b, entry.a
                ));
            }
            elements += found;
        }
        if whole && elements == 0 {
            self.fault(format!("list {header:#x} is empty"));
        }
        true
    }

    /// A chunk; its number of elements.
    fn chunk(&mut self, at: u64) -> u64 {
        let chunk = Chunk::load(&self.reader, at);
        if !self.reach(at, chunk.block_bytes()) {
            return 0;
        }
        let found = chunk.run(&self.reader).count();
        if !chunk.is_sound() || found != chunk.len() {
            self.fault(format!(
                "chunk {at:#x} says {} elements and has {found}",
                chunk.len()
            ));
        }
        found as u64
    }
}

/// What a tree holds, collected before it is judged.
#[derive(Default)]
struct TreeWalk {
    blocks: Vec<(u64, u64)>,
    entries: Vec<Entry>,
    faults: Vec<String>,
}

impl btree::verify::Visitor for TreeWalk {
    fn block(&mut self, at: u64, bytes: u64) -> bool {
        let fresh = self.blocks.iter().all(|(known, _)| *known != at);
        self.blocks.push((at, bytes));
        fresh
    }

    fn entry(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }
}
