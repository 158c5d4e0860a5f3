//! A crash at every persist point while tables become directories, directories double, segments split and unite, and
//! directories shrink and go: on the simulated medium, in real transactions.
//!
//! A table is filled and drained key by key. Every change that alters its shape (the root word, or which segments the
//! directory names) is cut off at each fence and in between; what is left must hold all keys of before or of after the
//! change, be sound, and have nothing else allocated. Some recoveries are cut off again.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Acquire;

use super::hash::Hash;
use super::layout::{Form, NodeRef, Record};
use super::verify::{self, Visitor};
use super::{Words, WordsMut, directory, table};
use crate::pmem::sim::{FnMutPrefix, Image, Survivors};
use crate::pmem::{Offset, Pool, Sim, Tx, check};
use crate::store::error::StoreError;
use crate::sync::pin;

/// Keys a table is filled with: enough for several segments.
const KEYS: u64 = 1300;

/// Most stores of these changes fill segments that nobody knows yet. Of those one in so many is a point to crash at; at
/// a fence one is anyway, and at the end of a change.
const STORES_APART: usize = 64;
const EVENTS_AT_END: usize = 8;

/// Images before each fence with a part of what is on its way.
const SAMPLES: usize = 3;

/// One recovery in so many is crashed as well.
const NESTED: u64 = 40;

fn mix(key: u64) -> u64 {
    let x = (key ^ key >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Hashes that begin with ten zeros: their directories are so deep that they are changed in place.
fn deep(key: u64) -> u64 {
    mix(key) >> 10
}

/// Hashes of which some begin with nine zeros, and most do not: nearly as deep, with many segments besides.
fn partly_deep(key: u64) -> u64 {
    match key {
        0..600 => mix(key) >> 9,
        _ => mix(key),
    }
}

fn root_at(pool: &Pool) -> u64 {
    pool.root().plus(64).raw()
}

/// Reads a table in a pool. Blobs are a key each.
#[derive(Clone, Copy)]
struct Reading<'p> {
    pool: &'p Pool,
    hash_of: fn(u64) -> u64,
}

impl Reading<'_> {
    fn root(&self) -> NodeRef {
        NodeRef::from_raw(self.load(root_at(self.pool)))
    }

    /// Root word and segments: what a split, a merge or another rung changes.
    fn shape(&self) -> (u64, Vec<u64>) {
        let root = self.root();
        let segments = match root.form() {
            Form::Directory => directory::segments(self, root),
            _ => Vec::new(),
        };
        (root.raw(), segments.iter().map(|node| node.raw()).collect())
    }
}

impl Words for Reading<'_> {
    fn load(&self, at: u64) -> u64 {
        self.pool.load_u64(Offset::from_raw(at), Acquire)
    }

    fn key_is(&self, record: Record, key: &[u8]) -> bool {
        self.load(record.blob()).to_le_bytes() == key
    }

    fn key_hash(&self, record: Record) -> Hash {
        Hash::from_raw((self.hash_of)(self.load(record.blob())))
    }
}

/// Changes it, as the keyspace's writer does.
struct Writing<'t, 'p> {
    reading: Reading<'p>,
    tx: &'t mut Tx<'p>,
}

impl Words for Writing<'_, '_> {
    fn load(&self, at: u64) -> u64 {
        self.reading.load(at)
    }

    fn key_is(&self, record: Record, key: &[u8]) -> bool {
        self.reading.key_is(record, key)
    }

    fn key_hash(&self, record: Record) -> Hash {
        self.reading.key_hash(record)
    }
}

impl WordsMut for Writing<'_, '_> {
    fn alloc_words(&mut self, words: &[u64]) -> Result<u64, StoreError> {
        let at = self.tx.alloc(8 * words.len())?;
        for (i, &word) in words.iter().enumerate() {
            self.tx.store_fresh_u64(at.plus(8 * i as u64), word);
        }
        Ok(at.raw())
    }

    fn free(&mut self, at: u64) -> Result<(), StoreError> {
        Ok(self.tx.free(Offset::from_raw(at))?)
    }

    fn store_hidden(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        self.tx.store_unused_u64(Offset::from_raw(at), value);
        Ok(())
    }

    fn store(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        Ok(self.tx.store_u64(Offset::from_raw(at), value)?)
    }

    fn publish(&mut self, at: u64, value: u64) -> Result<(), StoreError> {
        Ok(self.tx.publish_u64(Offset::from_raw(at), value)?)
    }
}

/// What happened between two events of the record, and the keys around it.
struct Span {
    begin: usize,
    end: usize,
    before: BTreeSet<u64>,
    after: BTreeSet<u64>,
}

/// What the changes of a run did to the table, to know that they did all there is.
#[derive(Debug, Default)]
struct Done {
    founded: usize,
    doubled: usize,
    split_in_copy: usize,
    split_in_place: usize,
    united_in_copy: usize,
    united_in_place: usize,
    shrunk: usize,
    gone: usize,
}

impl Done {
    fn note(&mut self, before: &(u64, Vec<u64>), after: &(u64, Vec<u64>)) {
        let root = |shape: &(u64, Vec<u64>)| NodeRef::from_raw(shape.0);
        let is_directory = |shape| root(shape).form() == Form::Directory;
        let is_in_place = before.0 == after.0;
        *match (is_directory(before), is_directory(after)) {
            (false, true) => &mut self.founded,
            (true, false) => &mut self.gone,
            (false, false) => return,
            _ if root(after).depth() > root(before).depth() => &mut self.doubled,
            _ if root(after).depth() < root(before).depth() => &mut self.shrunk,
            _ if after.1.len() > before.1.len() && is_in_place => &mut self.split_in_place,
            _ if after.1.len() > before.1.len() => &mut self.split_in_copy,
            _ if is_in_place => &mut self.united_in_place,
            _ => &mut self.united_in_copy,
        } += 1;
    }
}

/// Inserts (`true`) and removes keys; the changes of shape.
fn run(
    sim: &Sim,
    hash_of: fn(u64) -> u64,
    changes: impl Iterator<Item = (u64, bool)>,
) -> (Vec<Span>, Done) {
    let (pool, _) = Pool::simulated(sim).unwrap();
    let mut lane = pool.lane();
    let reading = Reading {
        pool: &pool,
        hash_of,
    };
    let (mut spans, mut done, mut keys) = (Vec::new(), Done::default(), BTreeSet::new());
    let mut shape = reading.shape();
    for (key, inserts) in changes {
        let begin = sim.points();
        let guard = pin();
        let mut tx = pool.begin(&mut lane, &guard);
        let hash = Hash::from_raw(hash_of(key));
        let mut writing = Writing {
            reading,
            tx: &mut tx,
        };
        if inserts {
            let blob = writing.alloc_words(&[key]).unwrap();
            table::insert(&mut writing, root_at(&pool), hash, Record::new(blob, 0)).unwrap();
            keys.insert(key);
        } else {
            keys.remove(&key);
            let found = table::find(&reading, reading.root(), hash, &key.to_le_bytes());
            let (found, left) = (found.expect("inserted"), keys.len() as u64);
            table::remove(&mut writing, root_at(&pool), &found, hash, left).unwrap();
            writing.free(found.record.blob()).unwrap();
        }
        tx.commit();
        let new_shape = reading.shape();
        if new_shape != shape {
            done.note(&shape, &new_shape);
            let (mut before, after) = (keys.clone(), keys.clone());
            if inserts {
                before.remove(&key);
            } else {
                before.insert(key);
            }
            spans.push(Span {
                begin,
                end: sim.points(),
                before,
                after,
            });
            shape = new_shape;
        }
    }
    (spans, done)
}

/// Fills a table and drains it.
fn fill_and_drain() -> impl Iterator<Item = (u64, bool)> {
    let removals = (0..KEYS).map(|key| (key * 7 % KEYS, false));
    (0..KEYS).map(|key| (key, true)).chain(removals)
}

/// Blocks and keys of a table that was found.
#[derive(Default)]
struct Reached {
    blocks: Vec<Offset>,
    records: Vec<Record>,
    faults: Vec<String>,
}

impl Visitor for Reached {
    fn block(&mut self, at: u64, _bytes: u64) {
        self.blocks.push(Offset::from_raw(at));
    }

    fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }
}

/// Opens an image and looks for anything that a crash in `span` does not explain.
fn verify(sim: &Sim, image: Image, span: &Span, hash_of: fn(u64) -> u64, context: &str) -> Sim {
    let crashed = sim.after_crash(image);
    let (pool, _) = Pool::simulated(&crashed).unwrap();
    let reading = Reading {
        pool: &pool,
        hash_of,
    };
    let mut reached = Reached::default();
    verify::table(&reading, reading.root(), &mut reached);
    assert_eq!(reached.faults, Vec::<String>::new(), "{context}");
    let blobs = reached.records.iter().map(|record| record.blob());
    let keys: BTreeSet<u64> = blobs.clone().map(|blob| reading.load(blob)).collect();
    assert_eq!(
        keys.len(),
        reached.records.len(),
        "{context}: a key is there twice"
    );
    assert!(
        keys == span.after || keys == span.before,
        "{context}: {} keys, not {} or {}",
        keys.len(),
        span.before.len(),
        span.after.len()
    );
    let missing = keys.iter().find(|key| {
        let hash = Hash::from_raw(hash_of(**key));
        table::find(&reading, reading.root(), hash, &key.to_le_bytes()).is_none()
    });
    assert_eq!(missing, None, "{context}: a key that is there is not found");
    let blobs: Vec<Offset> = blobs.map(Offset::from_raw).collect();
    let report = check::check(&pool, reached.blocks.into_iter().chain(blobs));
    assert!(report.is_sound(), "{context}: {report:?}");
    drop(pool);
    crashed
}

/// Random prefixes of the pending stores of each line; every other time all or none of them.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

impl FnMutPrefix for Random {
    fn choose(&mut self, _index: usize, stores: usize) -> usize {
        match self.below(2) {
            0 => stores * self.below(2) as usize,
            _ => self.below(stores as u64 + 1) as usize,
        }
    }
}

/// Crashes in every change of shape; how many images were looked at.
fn crash(sim: &Sim, spans: &[Span], hash_of: fn(u64) -> u64) -> usize {
    let (mut replay, mut random, mut images) = (sim.replay(), Random(11), 0);
    for span in spans {
        while replay.point() < span.begin {
            assert!(replay.step());
        }
        loop {
            let point = replay.point();
            let is_end = point + EVENTS_AT_END >= span.end;
            if replay.before_fence() || point.is_multiple_of(STORES_APART) || is_end {
                let what = format!("{} keys", span.before.len());
                let context = format!(
                    "{what}, event {} of {}",
                    point - span.begin,
                    span.end - span.begin
                );
                let mut crashed = vec![
                    verify(
                        sim,
                        replay.image(Survivors::Everything),
                        span,
                        hash_of,
                        &context,
                    ),
                    verify(
                        sim,
                        replay.image(Survivors::Nothing),
                        span,
                        hash_of,
                        &context,
                    ),
                ];
                for _ in 0..if replay.before_fence() { SAMPLES } else { 0 } {
                    let image = replay.image(Survivors::Prefixes(&mut random));
                    crashed.push(verify(sim, image, span, hash_of, &context));
                }
                images += crashed.len();
                crashed.retain(|_| random.below(NESTED) == 0);
                for crashed in crashed {
                    images += crash_again(&crashed, span, hash_of, &mut random, &context);
                }
            }
            if point == span.end || !replay.step() {
                break;
            }
        }
    }
    images
}

/// Crashes in the recovery of a crashed pool.
fn crash_again(
    crashed: &Sim,
    span: &Span,
    hash_of: fn(u64) -> u64,
    random: &mut Random,
    context: &str,
) -> usize {
    let (mut replay, mut images) = (crashed.replay(), 0);
    loop {
        if replay.before_fence() {
            let image = replay.image(Survivors::Prefixes(random));
            verify(crashed, image, span, hash_of, &format!("{context}, again"));
            images += 1;
        }
        if !replay.step() {
            return images;
        }
    }
}

#[test]
fn directories_that_are_copied() {
    let sim = Sim::new(8 << 20, 2);
    let (spans, done) = run(&sim, mix, fill_and_drain());
    let images = crash(&sim, &spans, mix);
    println!("{} changes of shape, {done:?}", spans.len());
    println!("crash images: {images}");
    assert!(
        done.founded > 0 && done.doubled > 0 && done.split_in_copy > 0,
        "{done:?}"
    );
    assert!(done.united_in_copy > 0 && done.gone > 0, "{done:?}");
    assert!(images > 500, "{images}");
}

#[test]
fn directories_that_are_changed_in_place() {
    let sim = Sim::new(8 << 20, 2);
    let (spans, done) = run(&sim, deep, fill_and_drain());
    let images = crash(&sim, &spans, deep);
    println!("{} changes of shape, {done:?}", spans.len());
    println!("crash images: {images}");
    assert!(done.founded > 0 && done.split_in_place > 0, "{done:?}");
    assert!(done.shrunk > 0, "{done:?}");
    assert!(images > 500, "{images}");
}

/// A directory is only changed in place by a merge if the table is large for it.
#[test]
fn segments_that_are_united_in_place() {
    let sim = Sim::new(16 << 20, 2);
    let changes = (0..9400)
        .map(|key| (key, true))
        .chain((0..480).map(|key| (key, false)));
    let (mut spans, done) = run(&sim, partly_deep, changes);
    let drained = spans.partition_point(|span| span.after.len() > span.before.len());
    let spans = spans.split_off(drained);
    let images = crash(&sim, &spans, partly_deep);
    println!("{} changes of shape, {done:?}", spans.len());
    println!("crash images: {images}");
    assert!(done.united_in_place > 0, "{done:?}");
    assert!(images > 50, "{images}");
}

/// The test can see: with a part of the log or of the flushes left out, some image is wrong. (Not so for the flush of
/// directory words that are changed in place: here they stand on one line with the last one, whose flush takes them along.)
#[test]
fn what_is_left_out_is_noticed() {
    use crate::pmem::Site;
    use crate::pmem::sim::Muted;
    let left_out = [
        Muted::LogEntries,
        Muted::Flushes(Site::Fresh),
        Muted::Fences(Site::Log),
        Muted::Fences(Site::Commit),
    ];
    std::panic::set_hook(Box::new(|_| {}));
    let unnoticed: Vec<Muted> = left_out
        .into_iter()
        .filter(|muted| {
            let sim = Sim::new(8 << 20, 2);
            sim.mute(Some(*muted));
            let outcome = std::panic::catch_unwind(|| {
                let (spans, _) = run(&sim, deep, fill_and_drain());
                crash(&sim, &spans, deep)
            });
            outcome.is_ok()
        })
        .collect();
    let _ = std::panic::take_hook();
    assert_eq!(unnoticed, []);
}
