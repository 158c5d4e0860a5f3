//! Snapshots while writers go on, compared with a replay of the log ring up to the cut: that is the state of which a
//! snapshot must be the picture.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::super::{
    Access, Entry, Keyspace, SNAPSHOTS_MAX, SnapshotSink, StringForm, Ttl, View, Worker, key_slot,
};
use super::model::{Model, Op, Value, exec, exec_logged, key_name, op};

const NOW_MS: u64 = 1000;

/// What a snapshot has given: by database and key, value and expiry.
pub(super) type Keys = BTreeMap<(u8, Vec<u8>), (Value, Option<u64>)>;

/// Keeps what it is given.
#[derive(Default)]
pub(super) struct Collector(pub(super) Mutex<Keys>);

impl SnapshotSink for Collector {
    fn key(&self, view: &View<'_>, db: u8, entry: &Entry<'_>) {
        let value = (Value::of(view, db, entry), entry.ttl_at());
        let twice = self.0.lock().insert((db, entry.key().to_vec()), value);
        assert!(
            twice.is_none(),
            "{db} {} comes twice",
            entry.key().escape_ascii()
        );
    }
}

/// Commands from a generator with a certain seed.
fn commands(count: usize) -> Vec<Op> {
    let mut runner = TestRunner::deterministic();
    let strategy = op();
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).expect("a command").current())
        .collect()
}

/// What the first `head` bytes of the ring say, as numbers of commands.
fn logged(keyspace: &Keyspace, head: u64) -> Vec<usize> {
    let mut bytes = vec![0; head as usize];
    let mut reader = keyspace.ring_reader(0, false).expect("everything is kept");
    assert_eq!(reader.read(&mut bytes), Ok(bytes.len()));
    let (records, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    records
        .iter()
        .map(|record| u64::from_le_bytes(*record) as usize)
        .collect()
}

/// Lets the writers end however the test does: a scope waits for them even if it panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A snapshot must be the picture of the model.
fn check(seen: &Keys, model: &Model, applied: usize) {
    if *seen == model.databases {
        return;
    }
    let missing: Vec<_> = model
        .databases
        .iter()
        .filter(|(at, value)| seen.get(at) != Some(value))
        .take(3)
        .collect();
    let wrong: Vec<_> = seen
        .iter()
        .filter(|(at, value)| model.databases.get(at) != Some(value))
        .take(3)
        .collect();
    panic!("after {applied} commands: wanted {missing:?}, found {wrong:?}");
}

/// Keys that lie apart, one in a slot, are not handed over all at once.
#[test]
fn a_step_hands_over_what_it_is_asked_for() {
    const KEYS: usize = 500;
    const STEP: usize = 8;
    let keyspace = super::open(32 << 20);
    let mut worker = keyspace.worker();
    let guard = keyspace.pin();
    let mut slots = std::collections::BTreeSet::new();
    let mut view = keyspace.view(&mut worker, &guard, Access::All, NOW_MS);
    for number in 0.. {
        let key = format!("key:{number}");
        if slots.insert(key_slot(key.as_bytes())) {
            view.set_string(0, key.as_bytes(), b"v", StringForm::Auto, Ttl::Clear)
                .unwrap();
        }
        if slots.len() == KEYS {
            break;
        }
    }
    view.commit();
    let seen = Arc::new(Collector::default());
    let mut snapshot = keyspace.begin_snapshot(seen.clone()).unwrap();
    let mut before = 0;
    let mut is_more = true;
    while is_more {
        is_more = snapshot.step(STEP);
        let now = seen.0.lock().len();
        assert!(now - before <= STEP, "{} keys in one step", now - before);
        before = now;
    }
    assert_eq!(before, KEYS);
}

/// Three threads run commands of every kind; snapshot after snapshot is taken meanwhile.
#[test]
fn snapshots_are_the_state_at_their_cut() {
    const WRITERS: usize = 3;
    const RING_BYTES: u64 = 16 << 20;
    // As many as the ring keeps: on a busy machine a walk may take so long that they would run over it.
    const COMMANDS_MAX: u64 = RING_BYTES / 8 / WRITERS as u64;
    let keyspace = super::open(128 << 20);
    keyspace
        .settings()
        .hash_packed_entries_max
        .store(6, Relaxed);
    keyspace.settings().set_intset_entries_max.store(6, Relaxed);
    keyspace
        .settings()
        .stream_node_entries_max
        .store(5, Relaxed);
    keyspace
        .resize_ring(&keyspace.pin(), Some(RING_BYTES))
        .unwrap();
    let ops = commands(4000);
    let done = AtomicBool::new(false);
    let mut model = Model::default();
    let mut applied = 0;
    let mut keys = 0;
    std::thread::scope(|scope| {
        let (keyspace, ops, done) = (&keyspace, &ops, &done);
        for thread in 0..WRITERS {
            scope.spawn(move || {
                let mut worker = keyspace.worker();
                let mut random = thread as u64 + 1;
                for _ in 0..COMMANDS_MAX {
                    if done.load(Relaxed) {
                        break;
                    }
                    random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    let number = (random >> 33) as usize % ops.len();
                    // Emptying everything again and again would leave little to look at, and what locks all slots
                    // holds the walk up, which locks them one by one.
                    if ops[number].slots().is_none() && random >> 20 & 7 != 0 {
                        continue;
                    }
                    let op = std::slice::from_ref(&ops[number]);
                    let body = (number as u64).to_le_bytes();
                    // A command on a key of another kind fails, and logs nothing.
                    let _ = exec_logged(keyspace, &mut worker, op, NOW_MS, &body);
                    if random >> 24 & 63 == 0 {
                        keyspace.reap_step(&mut worker, 50);
                    }
                }
            });
        }
        let _stop = StopOnDrop(done);
        for _ in 0..6 {
            // The second one has a later cut, and sees the changes that the first one must not see.
            let sinks = [(); 2].map(|()| Arc::new(Collector::default()));
            let begin = |sink: &Arc<Collector>| keyspace.begin_snapshot(sink.clone()).unwrap();
            let mut first = begin(&sinks[0]);
            for _ in 0..20 {
                first.step(3);
            }
            let mut second = begin(&sinks[1]);
            loop {
                let more = (first.step(3), second.step(3));
                if more == (false, false) {
                    break;
                }
                std::thread::yield_now();
            }
            for (snapshot, sink) in [first, second].into_iter().zip(sinks) {
                let records = logged(keyspace, snapshot.ring_head());
                for number in &records[applied..] {
                    model.apply(&ops[*number], NOW_MS).unwrap();
                }
                applied = records.len();
                assert_eq!(snapshot.catalogue(), model.catalogue);
                drop(snapshot);
                let seen = std::mem::take(&mut *sink.0.lock());
                keys += seen.len();
                check(&seen, &model, applied);
            }
        }
    });
    assert!(
        applied > 200 && keys > 200,
        "{applied} commands, {keys} keys"
    );
    let mut worker = keyspace.worker();
    while keyspace.reap_step(&mut worker, 1000) {}
    let report = keyspace.check();
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!(report.bytes, keyspace.usage().used);
}

/// What a writer does between two steps is not in the snapshot, whatever it is.
#[test]
fn what_comes_after_the_cut_is_not_in_it() {
    let set = |key: u8, value: &[u8]| Op::Set {
        db: 0,
        key,
        value: value.to_vec(),
        ttl: Ttl::Clear,
    };
    let after: Vec<Vec<Op>> = vec![
        vec![Op::FlushAll],
        vec![
            Op::FlushDb { db: 0 },
            set(1, b"new"),
            Op::FlushDb { db: 0 },
            set(200, b"other"),
        ],
        vec![
            Op::Swap { a: 0, b: 1 },
            set(1, b"new"),
            Op::FlushDb { db: 1 },
        ],
        vec![Op::FlushSlot { db: 0, key: 1 }, set(2, b"new")],
        vec![
            Op::Rename {
                from: (0, 1),
                to: (0, 2),
            },
            Op::Rename {
                from: (0, 50),
                to: (0, 60),
            },
        ],
        (0..=99).map(|key| Op::Remove { db: 0, key }).collect(),
        (0..=255)
            .rev()
            .map(|key| set(key, b"overwritten"))
            .collect(),
    ];
    let mut slots: Vec<u16> = [1, 50, 140].map(|key| key_slot(&key_name(key))).into();
    slots.sort_unstable();
    slots.dedup();
    for after in after {
        for steps in [0, 1, 3, 7] {
            let keyspace = super::open(32 << 20);
            let mut worker = keyspace.worker();
            let mut run = |ops: &[Op]| exec(&keyspace, &mut worker, ops, NOW_MS).unwrap();
            run(&(0..150)
                .filter(|key| *key != 50)
                .map(|key| set(key, b"old"))
                .collect::<Vec<_>>());
            run(&[Op::HashSet {
                db: 0,
                key: 50,
                fields: 0..200,
                value: vec![b'v'; 100],
            }]);
            let sink = Arc::new(Collector::default());
            let expected = {
                let mut worker = keyspace.worker();
                Model::of(&keyspace, &mut worker).databases
            };
            let mut snapshot = keyspace.begin_snapshot(sink.clone()).unwrap();
            let some = Arc::new(Collector::default());
            let mut of_some = keyspace.begin_snapshot_of(&slots, some.clone()).unwrap();
            of_some.step(1);
            for _ in 0..steps {
                snapshot.step(1);
            }
            run(&after);
            let mut other = keyspace.worker();
            while keyspace.reap_step(&mut other, 1000) {}
            while snapshot.step(2) {}
            drop(snapshot);
            while of_some.step(1) {}
            drop(of_some);
            let seen = std::mem::take(&mut *some.0.lock());
            let wanted = expected
                .iter()
                .filter(|((_, key), _)| slots.contains(&key_slot(key)));
            assert!(
                seen.iter().eq(wanted),
                "of some slots, {after:?} after {steps} steps"
            );
            let seen = std::mem::take(&mut *sink.0.lock());
            assert!(
                seen == expected,
                "{after:?} after {steps} steps: {} keys of {}",
                seen.len(),
                expected.len()
            );
            while keyspace.reap_step(&mut other, 1000) {}
            assert_eq!(keyspace.check().faults, Vec::<String>::new());
            assert_eq!(keyspace.check().bytes, keyspace.usage().used, "{after:?}");
        }
    }
    assert_eq!(key_name(1), b"{t}1");
}

/// Writers change everything before the walk has begun: the names of all keys were kept.
#[test]
fn few_names_are_kept_of_keys_that_change_before_the_walk() {
    const KEYS: usize = 2000;
    let keyspace = super::open(32 << 20);
    let mut worker = keyspace.worker();
    let name = |number: usize| format!("{{t}}{number}").into_bytes();
    let put_all = |worker: &mut Worker, value: &[u8], after_each: &mut dyn FnMut()| {
        for number in 0..KEYS {
            let guard = keyspace.pin();
            let slots = [key_slot(&name(number))];
            let mut view = keyspace.view(worker, &guard, Access::Slots(&slots), NOW_MS);
            let clear = Ttl::Clear;
            view.set_string(0, &name(number), value, StringForm::Auto, clear)
                .unwrap();
            view.commit();
            after_each();
        }
    };
    put_all(&mut worker, b"old", &mut || ());
    let sink = Arc::new(Collector::default());
    let mut snapshot = keyspace.begin_snapshot(sink.clone()).unwrap();
    let mut most = 0;
    put_all(&mut worker, b"new", &mut || {
        most = most.max(snapshot.saved_keys());
    });
    assert!(most > 0 && most <= KEYS / 10, "{most} names kept");
    assert_eq!(snapshot.saved_keys(), 0, "the slot is handed over");
    assert_eq!(sink.0.lock().len(), KEYS, "by those who wrote to it");
    while snapshot.step(100) {}
    let seen = std::mem::take(&mut *sink.0.lock());
    let old = (Value::Text(b"old".to_vec()), None);
    assert!(seen.len() == KEYS && seen.values().all(|value| *value == old));
}

#[test]
fn snapshots_under_way_are_bounded() {
    let keyspace = super::open(8 << 20);
    let begin = || keyspace.begin_snapshot_of(&[3, 7], Arc::new(Collector::default()));
    let mut running: Vec<_> = (0..SNAPSHOTS_MAX).map(|_| begin().unwrap()).collect();
    assert!(begin().is_none());
    assert!(!running[0].step(3) && running[0].slots_done() == 2);
    running.pop();
    assert!(begin().is_some());
}
