//! Lookup, insert, replace and remove.
//!
//! # Why a reader needs no lock and no version
//!
//! Writers of a table exclude each other; a reader runs beside them. It loads the root word, perhaps a
//! directory word, and then looks at one or two groups. Every change of the table is one of these stores:
//!
//! - *insert*: record and fingerprint into an unused place, then the control word;
//! - *replace*: the record word, to another blob of the same key;
//! - *remove*: the control word;
//! - *rebuild* (another rung, split, merge): new nodes in fresh memory, then the root or directory word. The old
//!   node is never written again and stays readable while the reader's epoch pin lasts.
//!
//! *Hit.* [`Group::record`] returns a word that was in its place while the allocation bit was set, and whose
//! blob carries the key: the key had that value at an instant between the two loads of the control word.
//!
//! *Miss.* Suppose the key was in the table during the whole lookup. If a rebuild replaced the node after the
//! reader had found it, the node froze at that instant, inside the lookup, with the key in it; so consider one
//! node. A record leaves its place only by a removal, after which the key is absent for an instant. Hence the
//! key sat in one place from before the reader's first load until after its last: its allocation bit, its
//! fingerprint and its foreign bit were set, and its record word was always a blob of the key. The reader
//! looks at that place in one of its two groups and finds it. So if it found nothing, there was an instant
//! without the key. (Dash and Dragonfly must validate versions on a miss, because displacement moves records
//! and a split clears them in place.)
//!
//! A change of several stores (EXEC, a large directory's split) is kept from readers by the slot sequence,
//! which lies above this module. The models in [`super::models`] run these functions under loom.

use super::bucket::{Group, Shape, Which};
use super::build::{Batch, Image};
use super::directory;
use super::hash::Hash;
use super::layout::{Form, NodeRef, Record, SEGMENT_LOG2, home, tag_of};
use super::{Words, WordsMut};
use crate::store::error::StoreError;

/// A record and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) record: Record,
    group: Group,
    index: u32,
}

/// The groups of a node that may hold a position: the home bucket, and the one after it if there are several.
#[derive(Clone, Copy)]
pub(super) struct Homes {
    pub(super) native: Group,
    pub(super) foreign: Option<Group>,
}

impl Homes {
    /// The groups for `position` in `node`, which is not empty and not a directory.
    #[inline]
    pub(super) fn of(node: NodeRef, position: u64) -> Homes {
        match node.form() {
            Form::Small => Homes {
                native: Group {
                    at: node.at(),
                    shape: Shape::Small,
                },
                foreign: None,
            },
            Form::Medium => Homes {
                native: Group {
                    at: node.at(),
                    shape: Shape::Medium,
                },
                foreign: None,
            },
            Form::Buckets { log2 } => {
                let home = home(position, node.depth(), log2);
                let next = (home + 1) & ((1 << log2) - 1);
                Homes {
                    native: bucket(node, home),
                    foreign: (log2 > 0).then(|| bucket(node, next)),
                }
            }
            Form::Empty | Form::Directory => unreachable!("no records in this node"),
        }
    }
}

/// Bucket number `i` of a node of buckets.
#[inline]
pub(super) fn bucket(node: NodeRef, i: u32) -> Group {
    Group {
        at: node.at() + u64::from(i) * super::bucket::BUCKET_BYTES,
        shape: Shape::Bucket,
    }
}

/// The node of records responsible for `hash`: follows a directory.
#[inline]
fn node_of<W: Words>(words: &W, root: NodeRef, hash: Hash) -> NodeRef {
    match root.form() {
        Form::Directory => NodeRef::from_raw(words.load(root.word_at(hash))),
        _ => root,
    }
}

/// Looks `key` up in the table whose root word is `root`.
#[inline]
pub(crate) fn find<W: Words>(words: &W, root: NodeRef, hash: Hash, key: &[u8]) -> Option<Found> {
    let is_key = |record| words.key_is(record, key).then_some(());
    find_by(words, root, hash, is_key).map(|(found, ())| found)
}

/// The same, where `read` says whether the blob of a record carries the key, and what it has read of that blob.
#[inline]
pub(crate) fn find_by<W: Words, T>(
    words: &W,
    root: NodeRef,
    hash: Hash,
    read: impl Fn(Record) -> Option<T>,
) -> Option<(Found, T)> {
    let node = node_of(words, root, hash);
    if node.form() == Form::Empty {
        return None;
    }
    let homes = Homes::of(node, hash.position());
    let tag = tag_of(hash.position(), node.base());
    let (mut group, mut which) = (homes.native, Which::Native);
    loop {
        let found = probe(words, group, which, hash, tag, &read);
        match homes.foreign {
            Some(foreign) if found.is_none() && which == Which::Native => {
                (group, which) = (foreign, Which::Foreign);
            }
            _ => return found,
        }
    }
}

/// Byte offsets of the control words that a look-up of `hash` in a node begins with. For prefetching, like the
/// function below: nothing may be concluded from them.
#[inline]
pub(crate) fn headers_of(node: NodeRef, hash: Hash, visit: &mut impl FnMut(u64)) {
    each_group(node, hash, |group, _| visit(group.at));
}

/// Byte offsets of the records that a look-up of `hash` in a node will compare.
#[inline]
pub(crate) fn records_of<W: Words>(
    words: &W,
    node: NodeRef,
    hash: Hash,
    visit: &mut impl FnMut(u64),
) {
    each_group(node, hash, |group, which| {
        let ctl = group.ctl(words);
        let mut set =
            which.select(group.shape, ctl) & group.candidates(words, ctl, hash.fingerprint());
        while set != 0 {
            visit(group.record_at(set.trailing_zeros()));
            set &= set - 1;
        }
    });
}

/// The groups of a node that may hold `hash`; none if the node has no records.
#[inline]
fn each_group(node: NodeRef, hash: Hash, mut visit: impl FnMut(Group, Which)) {
    if matches!(node.form(), Form::Empty | Form::Directory) {
        return;
    }
    let homes = Homes::of(node, hash.position());
    visit(homes.native, Which::Native);
    if let Some(foreign) = homes.foreign {
        visit(foreign, Which::Foreign);
    }
}

#[inline]
fn probe<W: Words, T>(
    words: &W,
    group: Group,
    which: Which,
    hash: Hash,
    tag: u16,
    read: &impl Fn(Record) -> Option<T>,
) -> Option<(Found, T)> {
    let ctl = group.ctl(words);
    let mut set = which.select(group.shape, ctl) & group.candidates(words, ctl, hash.fingerprint());
    while set != 0 {
        let index = set.trailing_zeros();
        set &= set - 1;
        if let Some(record) = group.record(words, index)
            && record.tag() == tag
            && let Some(blob) = read(record)
        {
            let found = Found {
                record,
                group,
                index,
            };
            return Some((found, blob));
        }
    }
    None
}

/// Inserts a record whose key is not in the table. `root_at` is the byte offset of the root word.
pub(crate) fn insert<M: WordsMut>(
    words: &mut M,
    root_at: u64,
    hash: Hash,
    record: Record,
) -> Result<(), StoreError> {
    let root = NodeRef::from_raw(words.load(root_at));
    let node = node_of(words, root, hash);
    if node.form() != Form::Empty {
        let record = record.with_tag(tag_of(hash.position(), node.base()));
        let homes = Homes::of(node, hash.position());
        let (group, which) = match homes.foreign {
            Some(next) if next.len(words) < homes.native.len(words) => (next, Which::Foreign),
            _ => (homes.native, Which::Native),
        };
        if group.insert(words, which, hash.fingerprint(), record)? {
            return Ok(());
        }
    }
    if root.form() == Form::Directory {
        return directory::split(words, root_at, root, node, hash, record);
    }
    let mut batch = Batch::of(words, &[root], None);
    batch.push(hash, record);
    grow(words, root_at, root, batch)
}

/// Puts another blob of the same key (or other meta bits) in the place of a record.
pub(crate) fn replace<M: WordsMut>(
    words: &mut M,
    found: &Found,
    record: Record,
) -> Result<(), StoreError> {
    let record = record.with_tag(found.record.tag());
    words.publish(found.group.record_at(found.index), record.raw())
}

/// Removes a record, after which `left` records remain in the table.
pub(crate) fn remove<M: WordsMut>(
    words: &mut M,
    root_at: u64,
    found: &Found,
    hash: Hash,
    left: u64,
) -> Result<(), StoreError> {
    let root = NodeRef::from_raw(words.load(root_at));
    if left == 0 {
        words.publish(root_at, NodeRef::EMPTY.raw())?;
        return free_nodes(words, root);
    }
    let without = Some((found.group, found.index));
    let done = match root.form() {
        Form::Directory => directory::merge(words, root_at, root, hash, without, left)?,
        _ => shrink(words, root_at, root, without, left)?,
    };
    if done {
        Ok(())
    } else {
        found.group.remove(words, found.index)
    }
}

/// A table of these records, whose keys are distinct, in fresh memory: its root word, which is stored nowhere yet.
pub(crate) fn build<M: WordsMut>(
    words: &mut M,
    records: impl Iterator<Item = (Hash, Record)>,
) -> Result<NodeRef, StoreError> {
    let mut batch = Batch::new();
    records.for_each(|(hash, record)| batch.push(hash, record));
    lay_out(words, batch)
}

/// The smallest node that takes the batch, or a directory, in fresh memory.
fn lay_out<M: WordsMut>(words: &mut M, mut batch: Batch) -> Result<NodeRef, StoreError> {
    if batch.len() == 0 {
        return Ok(NodeRef::EMPTY);
    }
    let base = batch.prepare(words, 0);
    let rungs = [Form::Small, Form::Medium]
        .into_iter()
        .chain((0..=SEGMENT_LOG2).map(|log2| Form::Buckets { log2 }));
    for form in rungs {
        if let Some(image) = Image::build(&batch, form, 0, base) {
            let at = words.alloc_words(image.words())?;
            return Ok(NodeRef::node(at, form, 0, base));
        }
    }
    directory::found(words, batch)
}

/// Replaces a node that is no directory by the smallest one that takes the batch.
fn grow<M: WordsMut>(
    words: &mut M,
    root_at: u64,
    old: NodeRef,
    batch: Batch,
) -> Result<(), StoreError> {
    let new = lay_out(words, batch)?;
    words.publish(root_at, new.raw())?;
    free_nodes(words, old)
}

/// Replaces a node that is no directory by a smaller one once that would be comfortably filled. Shrinking is
/// a convenience: without room for the smaller node the table stays as it is.
fn shrink<M: WordsMut>(
    words: &mut M,
    root_at: u64,
    root: NodeRef,
    without: Option<(Group, u32)>,
    left: u64,
) -> Result<bool, StoreError> {
    let (smaller, records) = match root.form() {
        Form::Medium => (Form::Small, u64::from(Shape::Small.records())),
        Form::Buckets { log2: 0 } => (Form::Medium, u64::from(Shape::Medium.records())),
        Form::Buckets { log2 } => (
            Form::Buckets { log2: log2 - 1 },
            u64::from(Shape::Bucket.records()) << (log2 - 1),
        ),
        Form::Small | Form::Empty | Form::Directory => return Ok(false),
    };
    // Comfortably: a quarter of the smaller node stays free, so that a few inserts do not grow it again.
    if left > records * 3 / 4 {
        return Ok(false);
    }
    let mut batch = Batch::of(words, &[root], without);
    let base = batch.prepare(words, 0);
    let Some(image) = Image::build(&batch, smaller, 0, base) else {
        return Ok(false);
    };
    let Ok(at) = words.alloc_words(image.words()) else {
        return Ok(false);
    };
    words.publish(root_at, NodeRef::node(at, smaller, 0, base).raw())?;
    words.free(root.at())?;
    Ok(true)
}

/// Frees the nodes of a table (not the blobs).
fn free_nodes<M: WordsMut>(words: &mut M, root: NodeRef) -> Result<(), StoreError> {
    match root.form() {
        Form::Empty => Ok(()),
        Form::Directory => {
            for segment in directory::segments(words, root) {
                words.free(segment.at())?;
            }
            words.free(root.at())
        }
        _ => words.free(root.at()),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::testing::{Memory, ROOT_AT};
    use super::super::walk;
    use super::*;

    /// A good hash, one with uneven directories, and one whose directories are so deep that tags run out.
    const HASHES: [fn(u64) -> u64; 3] =
        [mix, |key| mix(key) >> (key % 3 * 4), |key| mix(key) >> 10];

    fn mix(key: u64) -> u64 {
        let x = (key ^ key >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// A table and what it should hold.
    struct Pair {
        memory: Memory,
        model: HashMap<u64, u64>,
    }

    impl Pair {
        fn new(hash_of: fn(u64) -> u64) -> Pair {
            Pair {
                memory: Memory::new(hash_of),
                model: HashMap::new(),
            }
        }

        fn find(&self, key: u64) -> Option<Found> {
            find(
                &self.memory,
                self.memory.root(),
                self.memory.hash(key),
                &key.to_le_bytes(),
            )
        }

        fn set(&mut self, key: u64, value: u64) {
            let record = self.memory.blob(key, value);
            match self.find(key) {
                Some(found) => {
                    replace(&mut self.memory, &found, record).unwrap();
                    self.memory.free(found.record.blob()).unwrap();
                    assert!(self.model.insert(key, value).is_some());
                }
                None => {
                    let hash = self.memory.hash(key);
                    insert(&mut self.memory, ROOT_AT, hash, record).unwrap();
                    assert!(self.model.insert(key, value).is_none());
                }
            }
            self.memory.settle();
        }

        fn remove(&mut self, key: u64) {
            let found = self.find(key);
            assert_eq!(found.is_some(), self.model.remove(&key).is_some());
            if let Some(found) = found {
                let hash = self.memory.hash(key);
                remove(
                    &mut self.memory,
                    ROOT_AT,
                    &found,
                    hash,
                    self.model.len() as u64,
                )
                .unwrap();
                self.memory.free(found.record.blob()).unwrap();
                self.memory.settle();
            }
        }

        fn check(&self) {
            self.memory.verify(self.model.len());
            for (&key, &value) in &self.model {
                let found = self.find(key).expect("in the table");
                assert_eq!(self.memory.value(found.record), value);
            }
        }
    }

    #[test]
    fn grows_and_shrinks_over_all_forms() {
        for hash_of in HASHES {
            let mut pair = Pair::new(hash_of);
            let mut forms = Vec::new();
            for key in 0..20_000 {
                pair.set(key, key + 1);
                if key < 1000 || key % 1000 == 0 {
                    pair.memory.verify(pair.model.len());
                }
                if forms.last() != Some(&pair.memory.root().form()) {
                    forms.push(pair.memory.root().form());
                }
            }
            assert_eq!(*forms.last().unwrap(), Form::Directory);
            assert!(forms.len() >= 4, "{forms:?}");
            pair.check();
            for key in 0..20_000 {
                pair.remove(key);
                if key % 1000 == 0 || key > 19_000 {
                    pair.memory.verify(pair.model.len());
                }
            }
            assert_eq!(pair.memory.root(), NodeRef::EMPTY);
        }
    }

    #[test]
    fn a_table_can_be_built_at_once() {
        for hash_of in HASHES {
            for count in [0, 1, 8, 30, 400, 5000] {
                let mut pair = Pair::new(hash_of);
                let records: Vec<_> = (0..count)
                    .map(|key| (pair.memory.hash(key), pair.memory.blob(key, key)))
                    .collect();
                let root = build(&mut pair.memory, records.into_iter()).unwrap();
                pair.memory.publish(ROOT_AT, root.raw()).unwrap();
                pair.memory.settle();
                pair.model = (0..count).map(|key| (key, key)).collect();
                pair.check();
            }
        }
    }

    #[test]
    fn dismantling_frees_everything_in_bounded_steps() {
        for count in [0, 5, 10, 200, 5000] {
            let mut pair = Pair::new(mix);
            (0..count).for_each(|key| pair.set(key, 0));
            let mut dropped = 0;
            loop {
                let before = dropped;
                let mut drop_record = |memory: &mut Memory, record: Record| {
                    dropped += 1;
                    memory.free(record.blob())
                };
                let gone = walk::dismantle(&mut pair.memory, ROOT_AT, 0, &mut drop_record).unwrap();
                assert!(dropped - before <= 432);
                if gone {
                    break;
                }
            }
            assert_eq!(dropped, count);
            assert_eq!(pair.memory.root(), NodeRef::EMPTY);
            pair.memory.verify(0);
        }
    }

    #[test]
    fn a_segment_fills_well_before_it_splits() {
        let mut fill = 0;
        for round in 0..20u64 {
            let mut pair = Pair::new(mix);
            for key in 0.. {
                pair.set(round << 32 | key, 0);
                if pair.memory.root().form() == Form::Directory {
                    fill += key;
                    break;
                }
            }
        }
        assert!(
            fill / 20 > 432 * 88 / 100,
            "mean fill at split: {} of 432",
            fill / 20
        );
    }

    #[test]
    fn small_changes_are_one_visible_store() {
        let mut pair = Pair::new(mix);
        for key in 0..3000 {
            let record = pair.memory.blob(key, 0);
            let hash = pair.memory.hash(key);
            insert(&mut pair.memory, ROOT_AT, hash, record).unwrap();
            assert_eq!(pair.memory.visible_stores, 1);
            pair.memory.settle();
        }
    }

    #[test]
    fn random_records_are_uniform() {
        let mut pair = Pair::new(mix);
        for key in 0..1000 {
            pair.set(key, 0);
        }
        let mut counts = [0u32; 1000];
        let mut state = 1;
        for _ in 0..100_000 {
            let mut rng = || {
                state = u64::wrapping_add(state, 0x9e37_79b9_7f4a_7c15);
                mix(state)
            };
            let record = walk::random(&pair.memory, pair.memory.root(), &mut rng).unwrap();
            counts[pair.memory.key(record) as usize] += 1;
        }
        let chi2: f64 = counts
            .iter()
            .map(|&n| (f64::from(n) - 100.0).powi(2) / 100.0)
            .sum();
        assert!(
            chi2 < 1200.0,
            "chi square {chi2} with 999 degrees of freedom"
        );
    }

    #[derive(Clone, Debug)]
    enum Step {
        Fill(u64),
        Drain(u64),
        Set(u64),
        Remove(u64),
        Scan,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => (1..600u64).prop_map(Step::Fill),
            1 => (1..600u64).prop_map(Step::Drain),
            4 => (0..1500u64).prop_map(Step::Set),
            4 => (0..1500u64).prop_map(Step::Remove),
            4 => Just(Step::Scan),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Against a map, with a scan under way: keys 10_000.. stay the whole time and must all be met.
        #[test]
        fn behaves_like_a_map_and_scans_miss_nothing(steps in prop::collection::vec(step(), 1..60), hash in 0..3usize) {
            let mut pair = Pair::new(HASHES[hash]);
            let stay = 10_000..10_040u64;
            stay.clone().for_each(|key| pair.set(key, key));
            let (mut cursor, mut met) = (0, std::collections::HashSet::new());
            for (n, step) in steps.into_iter().chain(std::iter::repeat_n(Step::Scan, 5000)).enumerate() {
                match step {
                    Step::Fill(count) => (0..count).for_each(|key| pair.set(key, n as u64)),
                    Step::Drain(count) => (0..count).for_each(|key| pair.remove(key)),
                    Step::Set(key) => pair.set(key, n as u64),
                    Step::Remove(key) => pair.remove(key),
                    Step::Scan => {
                        let memory = &pair.memory;
                        match walk::scan(memory, memory.root(), cursor, &mut |r| { met.insert(memory.key(r)); }) {
                            Some(next) => cursor = next,
                            None => break,
                        }
                    }
                }
            }
            prop_assert!(stay.clone().all(|key| met.contains(&key)));
            pair.check();
            let mut seen = 0;
            walk::for_each(&pair.memory, pair.memory.root(), &mut |_| { seen += 1; true });
            prop_assert_eq!(seen, pair.model.len());
        }
    }
}
