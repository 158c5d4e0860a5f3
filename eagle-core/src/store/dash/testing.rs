//! A medium in plain memory for tests of the table: checks the writer's promises as it goes.

use std::collections::BTreeMap;

use super::hash::Hash;
use super::layout::{NodeRef, Record};
use super::verify::{self, Visitor};
use super::{Words, WordsMut};
use crate::store::error::StoreError;

/// Byte offset of the root word in every [`Memory`].
pub(crate) const ROOT_AT: u64 = 8;

/// Words in a vector. Keys are eight bytes; their hash is what `hash_of` makes of them.
pub(crate) struct Memory {
    words: Vec<u64>,
    blocks: BTreeMap<u64, usize>,
    pending: Option<(u64, u64)>,
    hash_of: fn(u64) -> u64,
    /// Reachable stores (publishes included) of the change at hand.
    pub(crate) visible_stores: usize,
}

impl Memory {
    /// An empty table.
    pub(crate) fn new(hash_of: fn(u64) -> u64) -> Memory {
        Memory {
            words: vec![0; 2],
            blocks: BTreeMap::new(),
            pending: None,
            hash_of,
            visible_stores: 0,
        }
    }

    /// A blob that carries `key`, and a value for tests to tell blobs apart.
    pub(crate) fn blob(&mut self, key: u64, value: u64) -> Record {
        let at = self
            .alloc_words(&[key, value])
            .expect("memory has no limit");
        Record::new(at, 0)
    }

    /// The value of a blob.
    pub(crate) fn value(&self, record: Record) -> u64 {
        self.load(record.blob() + 8)
    }

    /// The key of a blob.
    pub(crate) fn key(&self, record: Record) -> u64 {
        self.load(record.blob())
    }

    /// The hash of a key.
    pub(crate) fn hash(&self, key: u64) -> Hash {
        Hash::from_raw((self.hash_of)(key))
    }

    /// Ends a change: the publish is carried out.
    pub(crate) fn settle(&mut self) {
        self.visible_stores = 0;
        if let Some((at, value)) = self.pending.take() {
            self.words[at as usize / 8] = value;
        }
    }

    /// The root word.
    pub(crate) fn root(&self) -> NodeRef {
        NodeRef::from_raw(self.load(ROOT_AT))
    }

    /// The allocated blocks and their bytes, by offset.
    pub(crate) fn allocated(&self) -> Vec<(u64, u64)> {
        let blocks = self.blocks.iter();
        blocks.map(|(&at, &words)| (at, 8 * words as u64)).collect()
    }

    /// Checks the table: invariants, and that exactly the allocated blocks are reachable.
    pub(crate) fn verify(&self, records: usize) {
        let mut found = Reached::default();
        verify::table(self, self.root(), &mut found);
        assert_eq!(found.faults, Vec::<String>::new());
        assert_eq!(found.records.len(), records);
        for &record in &found.records {
            found.blocks.push((record.blob(), 16));
        }
        found.blocks.sort_unstable();
        assert_eq!(found.blocks, self.allocated());
    }
}

#[derive(Default)]
struct Reached {
    blocks: Vec<(u64, u64)>,
    records: Vec<Record>,
    faults: Vec<String>,
}

impl Visitor for Reached {
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

impl Words for Memory {
    fn load(&self, at: u64) -> u64 {
        self.words[at as usize / 8]
    }

    fn key_is(&self, record: Record, key: &[u8]) -> bool {
        self.load(record.blob()).to_le_bytes() == key
    }

    fn key_hash(&self, record: Record) -> Hash {
        self.hash(self.load(record.blob()))
    }
}

impl WordsMut for Memory {
    fn alloc_words(&mut self, words: &[u64]) -> Result<u64, StoreError> {
        assert_eq!(self.pending, None, "a change goes on after its publish");
        let at = 8 * self.words.len() as u64;
        self.words.extend_from_slice(words);
        self.blocks.insert(at, words.len());
        Ok(at)
    }

    fn free(&mut self, at: u64) -> Result<(), StoreError> {
        self.blocks
            .remove(&at)
            .expect("freed once, and at its start");
        Ok(())
    }

    fn store_hidden(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        assert_eq!(self.pending, None, "a change goes on after its publish");
        self.words[at as usize / 8] = value;
        Ok(())
    }

    fn store(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        self.visible_stores += 1;
        self.store_hidden(at, value)
    }

    fn publish(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        assert_eq!(self.pending, None, "a change has one publish");
        self.visible_stores += 1;
        self.pending = Some((at, value));
        Ok(())
    }
}
