//! Snapshots against a plain model, step by step in one thread: random commands of every type, transactions, whole
//! databases flushed and swapped, expiry, growth and shrinkage and the reaper, between the steps of the walks of several
//! snapshots, of everything and of some slots. Whatever is done, a snapshot is the model at its cut.

use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::super::{Entry, SNAPSHOTS_MAX, Snapshot, SnapshotSink, Ttl, View, key_slot};
use super::model::{Model, Op, exec, key_name, op, open};
use super::snapshot::{Collector, Keys};
use crate::pmem::Sim;

/// Two consumers of one run: what the one is given the other is given.
#[derive(Default)]
struct Tee(Collector, Mutex<Vec<(u8, Vec<u8>)>>);

impl SnapshotSink for Tee {
    fn key(&self, view: &View<'_>, db: u8, entry: &Entry<'_>) {
        self.0.key(view, db, entry);
        self.1.lock().push((db, entry.key().to_vec()));
    }
}

/// A snapshot under way, and what it must become.
struct Run<'k> {
    snapshot: Snapshot<'k>,
    sink: Arc<Tee>,
    at_cut: Model,
    is_whole: bool,
    /// Keys that commands have named since.
    touched: usize,
}

impl Run<'_> {
    /// Walks on; whether there is more.
    fn step(&mut self, buckets: usize) -> bool {
        self.snapshot.step(buckets)
    }

    /// Compares what was handed over with the model at the cut.
    fn finish(self) -> Result<Keys, TestCaseError> {
        let at_cut = self.at_cut;
        if self.is_whole {
            prop_assert_eq!(self.snapshot.catalogue(), at_cut.catalogue);
        }
        prop_assert_eq!(
            self.snapshot.saved_keys(),
            0,
            "nothing is kept of slots that are done"
        );
        drop(self.snapshot);
        let seen = std::mem::take(&mut *self.sink.0.0.lock());
        prop_assert_eq!(&seen, &at_cut.databases);
        let mut names = std::mem::take(&mut *self.sink.1.lock());
        names.sort_unstable();
        prop_assert!(
            names.iter().eq(seen.keys()),
            "each consumer is given each key once"
        );
        Ok(seen)
    }
}

#[derive(Clone, Debug)]
enum Step {
    One(Op),
    Exec(Vec<Op>),
    /// All keys of a slot that has many are set, which takes it up the rungs, or most of them removed.
    Grow(u8),
    Shrink(u8),
    Tick(u16),
    Expire,
    Reap,
    /// A snapshot is begun, of everything or of the slots of these two keys.
    Begin(Option<[u8; 2]>),
    /// One walks on.
    Walk(usize, usize),
    /// One is given up.
    Abort(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => op().prop_map(Step::One),
        3 => prop::collection::vec(op(), 1..6).prop_map(Step::Exec),
        1 => (0..3u8).prop_map(Step::Grow),
        1 => (0..3u8).prop_map(Step::Shrink),
        1 => (1..200u16).prop_map(Step::Tick),
        1 => Just(Step::Expire),
        2 => Just(Step::Reap),
        3 => Just(Step::Begin(None)),
        1 => any::<[u8; 2]>().prop_map(|keys| Step::Begin(Some(keys))),
        10 => (any::<usize>(), 1..4000usize).prop_map(|(run, buckets)| Step::Walk(run, buckets)),
        1 => (0..64usize).prop_map(Step::Abort),
    ]
}

fn set(db: u8, key: u8) -> Op {
    Op::Set {
        db,
        key,
        value: format!("value {key}").into_bytes(),
        ttl: Ttl::Clear,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_is_the_model_at_its_cut(steps in prop::collection::vec(step(), 20..200)) {
        let sim = Sim::new(32 << 20, 4);
        let (keyspace, mut worker) = open(&sim);
        let mut model = Model::default();
        let mut now_ms = 1000;
        let mut runs: Vec<Run<'_>> = Vec::new();
        for step in steps {
            let mut ops = Vec::new();
            match step {
                Step::One(op) => ops.push(op),
                Step::Exec(several) => ops = several,
                Step::Grow(db) => ops.extend((0..90).map(|key| set(db, key))),
                Step::Shrink(db) => ops.extend((0..80).map(|key| Op::Remove { db, key })),
                Step::Tick(ms) => now_ms += u64::from(ms),
                Step::Expire => {
                    keyspace.expire_step(&mut worker, now_ms, 1000, &mut |view| view.commit());
                    keyspace.expire_fields_step(&mut worker, now_ms, 100_000, &mut |view| view.commit());
                    // Keys that are removed or changed count as touched.
                    runs.iter_mut().for_each(|run| run.touched += model.databases.len());
                    model.expire(now_ms);
                }
                Step::Reap => drop(keyspace.reap_step(&mut worker, 20)),
                Step::Begin(keys) => {
                    let sink = Arc::new(Tee::default());
                    let mut at_cut = model.clone();
                    let begun = match keys {
                        None => keyspace.begin_snapshot(sink.clone()),
                        Some(keys) => {
                            let mut slots = keys.map(|key| key_slot(&key_name(key))).to_vec();
                            slots.sort_unstable();
                            slots.dedup();
                            at_cut.databases.retain(|(_, key), _| slots.contains(&key_slot(key)));
                            keyspace.begin_snapshot_of(&slots, sink.clone())
                        }
                    };
                    prop_assert_eq!(begun.is_some(), runs.len() < SNAPSHOTS_MAX);
                    let is_whole = keys.is_none();
                    runs.extend(begun.map(|snapshot| Run { snapshot, sink, at_cut, is_whole, touched: 0 }));
                }
                Step::Walk(number, buckets) => {
                    let number = number % runs.len().max(1);
                    if runs.get_mut(number).is_some_and(|run| !run.step(buckets)) {
                        runs.swap_remove(number).finish()?;
                    }
                }
                Step::Abort(number) if number < runs.len() * 4 => drop(runs.swap_remove(number / 4)),
                Step::Abort(_) => {}
            }
            for op in &ops {
                // Those that fail change nothing.
                let result = exec(&keyspace, &mut worker, std::slice::from_ref(op), now_ms);
                prop_assert_eq!(result, model.apply(op, now_ms));
            }
            for run in &mut runs {
                // What a snapshot keeps in memory is bounded by what was changed since, each key named once.
                run.touched += ops.len() * 2;
                let saved = run.snapshot.saved_keys();
                prop_assert!(saved <= run.touched, "{} keys kept for {}", saved, run.touched);
            }
        }
        for mut run in runs {
            while run.step(100) {}
            run.finish()?;
        }
        prop_assert_eq!(&Model::of(&keyspace, &mut worker), &model);
        while keyspace.reap_step(&mut worker, 1000) {}
        let report = keyspace.check();
        prop_assert_eq!(report.faults, Vec::<String>::new());
        prop_assert_eq!(report.bytes, keyspace.usage().used, "a snapshot leaks");
    }
}
