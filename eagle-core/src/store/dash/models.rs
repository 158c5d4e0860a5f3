//! Model checks of the table: one writer beside a reader, under every interleaving and every reordering of
//! memory that loom explores (bounded preemptions). Run with
//!
//! ```text
//!   RUSTFLAGS="--cfg loom" cargo test -p eagle-core --lib --release models
//! ```
//!
//! What runs here are the shipped functions, on loom's atomics and with buckets of two records, so that rung
//! changes and splits happen after a few inserts. Blobs are plain (relaxed) words: a missing release or acquire
//! shows as a key that is not found. Blocks are never reused, which is what the reclamation epoch promises.

use loom::sync::Arc;
use loom::thread;

use super::hash::Hash;
use super::layout::{Form, NodeRef, Record};
use super::table::{find, insert, remove, replace};
use super::{Words, WordsMut};
use crate::store::error::StoreError;
use crate::sync::SlotSeq;
use crate::sync::primitive::{AtomicU64, Ordering};

const ROOT_AT: u64 = 8;

/// What reader and writer share.
struct Medium {
    words: Vec<AtomicU64>,
    seq: SlotSeq,
}

/// The writer's side.
///
/// It reads its own copy of the words: being the only writer, it would read the same from the medium, but loom
/// remembers only the last access to a word, and a load by the writer would hide from it that the store which follows
/// conflicts with a load by the reader.
struct Writer {
    medium: Arc<Medium>,
    copy: Vec<u64>,
    /// Where fresh memory begins.
    next: u64,
    records: u64,
    /// Whether a publish is carried out.
    publishes: bool,
}

/// A key's hash: the high bits give the place, as the key says; all fingerprints are equal, so that only keys tell
/// records apart.
fn hash(key: u64) -> Hash {
    Hash::from_raw(key << 56 | 0xaa)
}

impl Words for Medium {
    fn load(&self, at: u64) -> u64 {
        self.words[at as usize / 8].load(Ordering::Acquire)
    }

    fn key_is(&self, record: Record, key: &[u8]) -> bool {
        (self.blob(record.blob()) >> 32).to_le_bytes() == key
    }

    fn key_hash(&self, record: Record) -> Hash {
        hash(self.blob(record.blob()) >> 32)
    }
}

impl Medium {
    fn blob(&self, at: u64) -> u64 {
        self.words[at as usize / 8].load(Ordering::Relaxed)
    }

    /// The value of a key.
    fn get(&self, key: u64) -> Option<u64> {
        let root = NodeRef::from_raw(self.load(ROOT_AT));
        let found = find(self, root, hash(key), &key.to_le_bytes())?;
        Some(self.blob(found.record.blob()) & 0xffff_ffff)
    }
}

impl Words for Writer {
    fn load(&self, at: u64) -> u64 {
        self.copy[at as usize / 8]
    }

    fn key_is(&self, record: Record, key: &[u8]) -> bool {
        (self.load(record.blob()) >> 32).to_le_bytes() == key
    }

    fn key_hash(&self, record: Record) -> Hash {
        hash(self.load(record.blob()) >> 32)
    }
}

impl WordsMut for Writer {
    fn alloc_words(&mut self, words: &[u64]) -> Result<u64, StoreError> {
        let at = self.next;
        self.next += 8 * words.len() as u64;
        for (i, &word) in words.iter().enumerate() {
            // As fresh memory is written in the pool: nobody can see it yet.
            if word != 0 {
                self.copy[at as usize / 8 + i] = word;
                self.medium.words[at as usize / 8 + i].store(word, Ordering::Relaxed);
            }
        }
        Ok(at)
    }

    fn free(&mut self, _at: u64) -> Result<(), StoreError> {
        Ok(())
    }

    fn store_hidden(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        self.copy[at as usize / 8] = value;
        self.medium.words[at as usize / 8].store(value, Ordering::Release);
        Ok(())
    }

    fn store(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        self.store_hidden(at, value)
    }

    fn publish(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        if self.publishes {
            self.store_hidden(at, value)
        } else {
            Ok(())
        }
    }
}

impl Writer {
    fn form(&self) -> Form {
        NodeRef::from_raw(self.load(ROOT_AT)).form()
    }

    fn blob(&mut self, key: u64, value: u64) -> Record {
        let at = self.alloc_words(&[key << 32 | value]).unwrap();
        Record::new(at, 0)
    }

    fn set(&mut self, key: u64, value: u64) {
        let record = self.blob(key, value);
        let root = NodeRef::from_raw(self.load(ROOT_AT));
        match find(self, root, hash(key), &key.to_le_bytes()) {
            Some(found) => replace(self, &found, record).unwrap(),
            None => {
                insert(self, ROOT_AT, hash(key), record).unwrap();
                self.records += u64::from(self.publishes);
            }
        }
    }

    fn remove(&mut self, key: u64) {
        let root = NodeRef::from_raw(self.load(ROOT_AT));
        let found =
            find(self, root, hash(key), &key.to_le_bytes()).expect("the writer knows its keys");
        self.records -= 1;
        remove(self, ROOT_AT, &found, hash(key), self.records).unwrap();
    }

    /// An insert whose transaction is undone before its publish.
    fn abort(&mut self, key: u64, value: u64) {
        self.publishes = false;
        self.set(key, value);
        self.publishes = true;
    }
}

/// Explores a writer beside a reader. `prepare` runs first, alone.
fn check(
    words_len: usize,
    prepare: impl Fn(&mut Writer) + Sync + Send + 'static,
    write: impl Fn(&mut Writer) + Copy + Sync + Send + 'static,
    read: impl Fn(&Medium) + Sync + Send + 'static,
) {
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = runs.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 10_000;
    builder.check(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let words = (0..words_len).map(|_| AtomicU64::new(0)).collect();
        let medium = Arc::new(Medium {
            words,
            seq: SlotSeq::new(),
        });
        let mut writer = Writer {
            medium: medium.clone(),
            copy: vec![0; words_len],
            next: ROOT_AT + 8,
            records: 0,
            publishes: true,
        };
        prepare(&mut writer);
        let thread = thread::spawn(move || write(&mut writer));
        read(&medium);
        thread.join().unwrap();
    });
    let runs = runs.load(std::sync::atomic::Ordering::Relaxed);
    assert!(runs > 10, "only {runs} runs explored");
}

/// Reads `key` twice: both answers must be states of the key, the second not an earlier one.
fn two_reads_in_order(medium: &Medium, key: u64, states: &[Option<u64>]) {
    let (first, second) = (medium.get(key), medium.get(key));
    let ordered = states
        .iter()
        .enumerate()
        .any(|(i, state)| *state == first && states[i..].contains(&second));
    assert!(ordered, "read {first:?}, then {second:?} of {states:?}");
}

// Keys whose top bits differ little share buckets; 0x00.. and 0x80.. are far apart.

#[test]
fn replacing_removing_and_inserting_again() {
    check(
        64,
        |writer| {
            writer.set(0x10, 1);
            writer.set(0x11, 9);
        },
        |writer| {
            writer.set(0x10, 2);
            writer.remove(0x10);
            // Takes the place that 0x10 has left.
            writer.set(0x12, 7);
        },
        |medium| two_reads_in_order(medium, 0x10, &[Some(1), Some(2), None]),
    );
}

#[test]
fn a_key_comes_back_in_another_place() {
    check(
        96,
        |writer| {
            // Two buckets; 0x10 and its neighbours have the first as home, and spread over both.
            for key in [0x10, 0x11, 0x12] {
                writer.set(key, 1);
            }
            assert_eq!(writer.form(), Form::Buckets { log2: 1 });
        },
        |writer| {
            writer.remove(0x10);
            writer.set(0x13, 5);
            writer.set(0x10, 2);
        },
        |medium| two_reads_in_order(medium, 0x10, &[Some(1), None, Some(2)]),
    );
}

#[test]
fn a_key_that_stays_is_never_missed_while_the_table_grows() {
    check(
        128,
        |writer| writer.set(0x10, 1),
        |writer| {
            for key in [0x90, 0x50, 0xd0, 0x30] {
                writer.set(key, 2);
            }
        },
        |medium| {
            assert_eq!(medium.get(0x10), Some(1));
        },
    );
}

#[test]
fn a_key_that_stays_is_never_missed_while_segments_split() {
    check(
        192,
        |writer| {
            for key in [0x10, 0x20, 0x90, 0xa0] {
                writer.set(key, 1);
            }
        },
        |writer| {
            // The first makes a directory, the others split a segment and double the directory.
            for key in [0x30, 0x31, 0x32] {
                writer.set(key, 2);
            }
            assert_eq!(writer.form(), Form::Directory);
        },
        |medium| {
            assert_eq!(medium.get(0x10), Some(1));
            two_reads_in_order(medium, 0x31, &[None, Some(2)]);
        },
    );
}

#[test]
fn a_key_that_stays_is_never_missed_while_the_table_shrinks() {
    check(
        160,
        |writer| {
            for key in [0x10, 0x50, 0x90, 0xd0, 0x30] {
                writer.set(key, 1);
            }
        },
        |writer| {
            for key in [0x50, 0x90, 0xd0, 0x30] {
                writer.remove(key);
            }
        },
        |medium| {
            assert_eq!(medium.get(0x10), Some(1));
        },
    );
}

#[test]
fn what_was_never_published_is_never_read() {
    check(
        64,
        |writer| {
            writer.set(0x11, 9);
            writer.set(0x12, 8);
        },
        |writer| {
            writer.remove(0x12);
            writer.abort(0x10, 1);
            writer.set(0x13, 7);
        },
        |medium| {
            assert_eq!(medium.get(0x10), None);
            assert_eq!(medium.get(0x11), Some(9));
        },
    );
}

#[test]
fn a_transaction_on_two_keys_is_seen_whole() {
    check(
        64,
        |writer| {
            writer.set(0x10, 1);
            writer.set(0x90, 1);
        },
        |writer| {
            let medium = writer.medium.clone();
            let odd = medium.seq.write();
            writer.set(0x10, 2);
            writer.remove(0x90);
            writer.set(0x90, 2);
            drop(odd);
        },
        |medium| {
            let Some(stamp) = medium.seq.read_begin() else {
                return;
            };
            let pair = (medium.get(0x10), medium.get(0x90));
            if medium.seq.read_validate(stamp) {
                assert!(
                    matches!(pair, (Some(1), Some(1)) | (Some(2), Some(2))),
                    "{pair:?}"
                );
            }
        },
    );
}
