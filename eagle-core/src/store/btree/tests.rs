//! The tree against a plain vector, with nodes so small that every path is taken.

use std::collections::HashSet;

use proptest::prelude::*;

use super::verify::{self, Visitor};
use super::{Build, Entry, Order, Tree};
use crate::store::dash::testing::{Memory, ROOT_AT};
use crate::store::dash::{Words, WordsMut};

/// Sorted by `a`, then `b`; small nodes.
struct Small;
/// By position, weight `a`; small nodes.
struct Weighted;
/// Sorted by `a`, then `b`; nodes as they are.
struct Large;

impl Order for Small {
    const KEYED: bool = true;
    const UNIT: bool = true;
    const LEAF_MAX: usize = 6;
    const INNER_MAX: usize = 4;

    fn weight(_: u64) -> u64 {
        1
    }
}

impl Order for Weighted {
    const KEYED: bool = false;
    const LEAF_MAX: usize = 5;
    const INNER_MAX: usize = 5;

    fn weight(a: u64) -> u64 {
        a
    }
}

impl Order for Large {
    const KEYED: bool = true;
    const UNIT: bool = true;

    fn weight(_: u64) -> u64 {
        1
    }
}

#[derive(Default)]
struct Reached {
    blocks: Vec<(u64, u64)>,
    met: HashSet<u64>,
    entries: Vec<Entry>,
    faults: Vec<String>,
}

impl Visitor for Reached {
    fn block(&mut self, at: u64, bytes: u64) -> bool {
        self.blocks.push((at, bytes));
        self.met.insert(at)
    }

    fn entry(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }
}

/// A tree and what it should hold.
struct Pair<O> {
    memory: Memory,
    tree: Tree<O>,
    model: Vec<Entry>,
}

impl<O: Order> Pair<O> {
    fn new() -> Pair<O> {
        Pair {
            memory: Memory::new(|key| key),
            tree: Tree::new(ROOT_AT),
            model: Vec::new(),
        }
    }

    fn reached(&self, whole: bool) -> Reached {
        let mut found = Reached::default();
        let root = self.memory.load(ROOT_AT);
        verify::tree::<O, _>(&self.memory, root, whole, &mut found);
        found.blocks.sort_unstable();
        assert_eq!(found.faults, Vec::<String>::new());
        assert_eq!(found.blocks, self.memory.allocated());
        found
    }

    fn weight_before(&self, index: usize) -> u64 {
        self.model[..index].iter().map(|&e| O::weight(e.a)).sum()
    }

    /// The whole tree, its blocks, and cursors at some places.
    fn check(&self) {
        assert_eq!(self.reached(true).entries, self.model);
        let (memory, tree) = (&self.memory, self.tree);
        assert_eq!(tree.weight(memory), self.weight_before(self.model.len()));
        assert_eq!(tree.is_empty(memory), self.model.is_empty());
        let mut forward = tree.first(memory);
        for (i, &entry) in self.model.iter().enumerate() {
            assert_eq!(forward.entry(memory), Some(entry));
            assert_eq!(forward.position(memory), self.weight_before(i));
            assert!(forward.next(memory));
        }
        assert!(forward.entry(memory).is_none() && !forward.next(memory));
        let mut backward = tree.end(memory);
        for &entry in self.model.iter().rev() {
            assert!(backward.prev(memory));
            assert_eq!(backward.entry(memory), Some(entry));
        }
        assert!(!backward.prev(memory));
        for (i, &entry) in self.model.iter().enumerate() {
            let before = self.weight_before(i);
            for offset in 0..O::weight(entry.a).min(3) {
                let (cursor, rest) = tree.seek_weight(memory, before + offset);
                assert_eq!((cursor.entry(memory), rest), (Some(entry), offset));
            }
        }
        let (cursor, rest) = tree.seek_weight(memory, self.weight_before(self.model.len()) + 2);
        assert_eq!((cursor.entry(memory), rest), (None, 2));
    }

    /// Inserts in sorted order.
    fn insert_sorted(&mut self, entry: Entry) {
        let key = |e: Entry| (e.a, e.b);
        let cursor = self.tree.seek(&self.memory, |e| key(e) < key(entry));
        self.tree.insert(&mut self.memory, &cursor, entry).unwrap();
        let index = self.model.partition_point(|&e| key(e) < key(entry));
        self.memory.settle();
        self.model.insert(index, entry);
    }

    fn remove_at(&mut self, index: usize) {
        let position = self.weight_before(index);
        let (cursor, _) = self.tree.seek_weight(&self.memory, position);
        let removed = self.tree.remove(&mut self.memory, &cursor).unwrap();
        self.memory.settle();
        assert_eq!(removed, Some(self.model.remove(index)));
    }

    /// Gives an entry another key.
    fn relocate(&mut self, index: usize, entry: Entry) {
        let key = |e: Entry| (e.a, e.b);
        let find =
            |memory: &Memory, wanted: Entry| self.tree.seek_key(memory, wanted.a, |b| b < wanted.b);
        let mut from = find(&self.memory, self.model[index]);
        let to = find(&self.memory, entry);
        self.tree
            .relocate(&mut self.memory, &mut from, &to, entry, |memory| {
                find(memory, entry)
            })
            .unwrap();
        self.memory.settle();
        self.model.remove(index);
        let index = self.model.partition_point(|&e| key(e) < key(entry));
        self.model.insert(index, entry);
    }

    /// Takes everything apart.
    fn end(mut self) {
        let mut dropped = Vec::new();
        let tree = self.tree;
        loop {
            let gone = tree
                .dismantle(&mut self.memory, &mut |_, entry| {
                    dropped.push(entry);
                    Ok(())
                })
                .unwrap();
            let left = self.reached(false).entries.len();
            assert_eq!(left + dropped.len(), self.model.len());
            if gone {
                break;
            }
        }
        assert!(tree.is_empty(&self.memory) && self.memory.allocated().is_empty());
        let key = |e: &Entry| (e.a, e.b);
        dropped.sort_unstable_by_key(key);
        self.model.sort_unstable_by_key(key);
        assert_eq!(dropped, self.model);
    }

    /// Bytes of all nodes.
    fn bytes(&self) -> u64 {
        self.memory.allocated().iter().map(|(_, bytes)| bytes).sum()
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[derive(Clone, Debug)]
enum Step {
    /// Ascending, descending and random entries.
    Append(u8),
    Prepend(u8),
    Scatter(u8),
    /// At the front, at the end, and anywhere.
    RemoveFront(u8),
    RemoveBack(u8),
    Remove(Vec<u16>),
    Replace(u16),
    /// To keys near by, and anywhere.
    Relocate(Vec<(u16, i8)>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..60u8).prop_map(Step::Append),
        (1..60u8).prop_map(Step::Prepend),
        (1..120u8).prop_map(Step::Scatter),
        (1..60u8).prop_map(Step::RemoveFront),
        (1..60u8).prop_map(Step::RemoveBack),
        prop::collection::vec(any::<u16>(), 1..120).prop_map(Step::Remove),
        any::<u16>().prop_map(Step::Replace),
        prop::collection::vec((any::<u16>(), any::<i8>()), 1..120).prop_map(Step::Relocate),
    ]
}

impl<O: Order> Pair<O> {
    fn removals(&mut self, step: &Step) {
        match step {
            Step::RemoveFront(n) => {
                for _ in 0..usize::from(*n).min(self.model.len()) {
                    self.remove_at(0);
                }
            }
            Step::RemoveBack(n) => {
                for _ in 0..usize::from(*n).min(self.model.len()) {
                    self.remove_at(self.model.len() - 1);
                }
            }
            Step::Remove(which) => {
                for i in which {
                    if !self.model.is_empty() {
                        self.remove_at(usize::from(*i) % self.model.len());
                    }
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_keyed_tree_behaves_like_a_sorted_vector(steps in prop::collection::vec(step(), 1..25)) {
        let mut pair = Pair::<Small>::new();
        let (mut low, mut high, mut seed) = (1u64 << 40, 1u64 << 41, 0);
        for step in &steps {
            match step {
                Step::Append(n) => for _ in 0..*n {
                    high += 2;
                    pair.insert_sorted(Entry { a: high, b: 7 });
                },
                Step::Prepend(n) => for _ in 0..*n {
                    low -= 2;
                    pair.insert_sorted(Entry { a: low, b: 7 });
                },
                Step::Scatter(n) => for _ in 0..*n {
                    seed += 1;
                    let a = low + mix(seed) % (high - low);
                    pair.insert_sorted(Entry { a, b: seed });
                },
                Step::Replace(i) if !pair.model.is_empty() => {
                    // Keeps the place: the next entry with the same `a` has a higher `b`, if there is one at all.
                    let i = usize::from(*i) % pair.model.len();
                    let old = pair.model[i];
                    let new = Entry { b: old.b | 1 << 50 | (i as u64) << 51, ..old };
                    if pair.model.get(i + 1).is_none_or(|next| (new.a, new.b) < (next.a, next.b)) {
                        let cursor = pair.tree.seek(&pair.memory, |e| (e.a, e.b) < (old.a, old.b));
                        pair.tree.replace(&mut pair.memory, &cursor, new).unwrap();
                        pair.model[i] = new;
                    }
                }
                Step::Relocate(which) if !pair.model.is_empty() => for &(i, by) in which {
                    let i = usize::from(i) % pair.model.len();
                    seed += 1;
                    let a = match by {
                        i8::MIN..0 => low + mix(seed) % (high - low),
                        // A key some entries away, or the same one.
                        _ => pair.model[(i + by as usize / 4) % pair.model.len()].a,
                    };
                    pair.relocate(i, Entry { a, b: seed | 1 << 52 });
                },
                step => pair.removals(step),
            }
            pair.check();
        }
        pair.end();
    }

    #[test]
    fn a_weighted_tree_behaves_like_a_vector(steps in prop::collection::vec(step(), 1..25)) {
        let mut pair = Pair::<Weighted>::new();
        let mut seed = 0;
        let mut entry = || {
            seed += 1;
            Entry { a: 1 + mix(seed) % 9, b: seed }
        };
        for step in &steps {
            match step {
                Step::Append(n) => for _ in 0..*n {
                    let (new, end) = (entry(), pair.tree.end(&pair.memory));
                    pair.tree.insert(&mut pair.memory, &end, new).unwrap();
                    pair.model.push(new);
                },
                Step::Prepend(n) => for _ in 0..*n {
                    let (new, first) = (entry(), pair.tree.first(&pair.memory));
                    pair.tree.insert(&mut pair.memory, &first, new).unwrap();
                    pair.model.insert(0, new);
                },
                Step::Scatter(n) => for _ in 0..*n {
                    let new = entry();
                    let i = mix(new.b) as usize % (pair.model.len() + 1);
                    let (cursor, rest) = pair.tree.seek_weight(&pair.memory, pair.weight_before(i));
                    assert_eq!(rest, 0);
                    pair.tree.insert(&mut pair.memory, &cursor, new).unwrap();
                    pair.model.insert(i, new);
                },
                Step::Replace(i) if !pair.model.is_empty() => {
                    let i = usize::from(*i) % pair.model.len();
                    let (cursor, _) = pair.tree.seek_weight(&pair.memory, pair.weight_before(i));
                    let new = entry();
                    pair.tree.replace(&mut pair.memory, &cursor, new).unwrap();
                    pair.model[i] = new;
                }
                step => pair.removals(step),
            }
            pair.check();
        }
        pair.end();
    }

    #[test]
    fn a_built_tree_is_sound(len in 0..700u64) {
        let mut pair = Pair::<Small>::new();
        let mut build = Build::<Small>::default();
        for i in 0..len {
            let entry = Entry { a: i, b: 0 };
            build.push(&mut pair.memory, entry).unwrap();
            pair.model.push(entry);
        }
        let root = build.finish(&mut pair.memory).unwrap();
        pair.memory.store(ROOT_AT, root).unwrap();
        pair.check();
        pair.insert_sorted(Entry { a: len / 2, b: 1 });
        pair.check();
        pair.end();
    }
}

#[test]
fn nodes_of_full_size_are_well_filled() {
    let fill = |pair: &Pair<Large>| 16.0 * pair.model.len() as f64 / pair.bytes() as f64;
    let mut ascending = Pair::<Large>::new();
    for i in 0..20_000 {
        ascending.insert_sorted(Entry { a: i, b: 0 });
    }
    ascending.check();
    assert!(fill(&ascending) > 0.89, "ascending: {}", fill(&ascending));
    let mut scattered = Pair::<Large>::new();
    for i in 0..20_000 {
        scattered.insert_sorted(Entry { a: mix(i), b: 0 });
    }
    scattered.check();
    assert!(fill(&scattered) > 0.70, "scattered: {}", fill(&scattered));
    for i in 0..19_000 {
        scattered.remove_at(mix(i) as usize % scattered.model.len());
    }
    scattered.check();
    assert!(fill(&scattered) > 0.35, "thinned out: {}", fill(&scattered));
    scattered.end();
}

#[test]
fn an_insert_stores_little() {
    let mut pair = Pair::<Large>::new();
    let mut stores = 0;
    for i in 0..10_000 {
        let key = mix(i);
        let cursor = pair.tree.seek(&pair.memory, |e| e.a < key);
        pair.tree
            .insert(&mut pair.memory, &cursor, Entry { a: key, b: 0 })
            .unwrap();
        stores += pair.memory.visible_stores;
        pair.memory.settle();
    }
    assert!(stores < 20 * 10_000, "{} words an insert", stores / 10_000);
}

#[test]
fn damaged_nodes_are_faults_and_not_panics() {
    for damage in 0..2000u64 {
        let mut pair = Pair::<Small>::new();
        for i in 0..40 {
            pair.insert_sorted(Entry { a: i, b: 0 });
        }
        let blocks = pair.memory.allocated();
        let (at, bytes) = blocks[(mix(damage) % blocks.len() as u64) as usize];
        let word = at + mix(damage + 1) % (bytes / 8) * 8;
        let value = mix(damage + 2) >> (mix(damage + 3) % 64);
        let known = pair.memory.load(word);
        pair.memory.store(word, value).unwrap();
        let mut found = Reached::default();
        let known_node = |at: &u64| blocks.iter().any(|(block, _)| block == at);
        // References that lead out of memory end the process that follows them, here and in the pool.
        if known_node(&known) && !known_node(&value) {
            continue;
        }
        verify::tree::<Small, _>(&pair.memory, pair.memory.load(ROOT_AT), true, &mut found);
    }
}
