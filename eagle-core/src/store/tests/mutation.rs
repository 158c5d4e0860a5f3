//! Do the crash tests see? Every step that the store layer asks of a transaction is taken out in turn: the log entry of
//! a store, the fence behind that entry, the flush of what was stored, a publish, the freeing of a block. A test of
//! crashes must fail for each.
//!
//! The steps are not listed here: a recorded run notes where in the source each was asked for
//! ([`Medium::leaves_out`](crate::pmem)), so code that is added is covered as soon as a scenario reaches it. A mutant is
//! one place and one part of the step there. It counts as
//!
//! - *noticed* if a scenario panics, or leaves an image that is neither the state before nor the one after, or is unsound;
//! - *equivalent* if in all scenarios it changes nothing that a crash could tell: the same lines become persistent between
//!   the same stores (another flush covers the line, nothing was on its way at the fence);
//! - *open* if it is in [`OPEN`]: nobody notices it yet, and it is not yet shown to be harmless;
//! - missed otherwise, and then this test fails.
//!
//! It also fails for an entry of [`OPEN`] that is noticed: the list can only become shorter.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Once;

use super::super::{End, Ttl};
use super::crash::{
    NOW_MS, add, hash, holds_after, keys, list, members, push, set, stream, without, zadd,
};
use super::crash_fields::expire;
use super::defrag_inside::{move_all, values};
use super::lists::ListStep;
use super::model::{Model, Op, exec, open};
use super::streams::StreamOp;
use super::strings::Part as Bytes;
use super::zsets::ZsetOp;
use crate::pmem::Sim;
use crate::pmem::sim::{FnMutPrefix, Image, Muted, Part, Place, Survivors};

/// Fences right behind a step that was left out, and fences at the end of the work, before which a crash is tried.
const FENCES_BEHIND: usize = 14;
const FENCES_AT_END: usize = 12;

/// Scenarios in which one mutant is looked for, at most.
const SCENARIOS_MAX: usize = 10;

/// Images at one point in which a single line's stores survive, or all but a single line's: at most so many of each.
const LINES_MAX: usize = 8;

/// Steps whose absence nobody notices yet: file, part, text of the line. Some of the flushes are of zeros on memory that is
/// zero, or of words whose line another flush takes along in all scenarios but one. Which is which is to be found out one
/// by one.
#[rustfmt::skip]
const OPEN: &[(&str, Part, &str)] = &[
    ("store/btree/inner.rs", Part::Flush, "words.store_words(self.weight_at(index), &weights)?;"),
    ("store/btree/tree.rs", Part::Flush, "return words.store_apart(self.root_at, root);"),
    ("store/btree/tree.rs", Part::Flush, "words.store_apart(self.root_at, 0)?;"),
    ("store/btree/tree.rs", Part::Flush, "words.store_apart(self.root_at, child)?;"),
    ("store/dash/bucket.rs", Part::Fence, "words.store_hidden(at, new)?;"),
    ("store/dash/bucket.rs", Part::Flush, "words.store_hidden(at, new)?;"),
    ("store/field_index.rs", Part::Flush, "tx.zero_fresh(index, INDEX_BYTES);"),
    ("store/keyspace.rs", Part::Flush, "tx.zero_fresh(array, ARRAY_BYTES);"),
    ("store/medium.rs", Part::Entry, "Ok(self.state.tx.write_bytes(Offset::from_raw(at), bytes)?)"),
    ("store/medium.rs", Part::Fence, "Ok(self.state.tx.write_bytes(Offset::from_raw(at), bytes)?)"),
    ("store/medium.rs", Part::Flush, "Ok(self.state.tx.write_bytes(Offset::from_raw(at), bytes)?)"),
    ("store/object/stream/edit.rs", Part::Flush, "writer.append(at + node.state.used as u64, &bytes);"),
    ("store/object/stream/group.rs", Part::Entry, "writer.store_apart(owner + LEN_AT, len + 1)?;"),
    ("store/object/stream/group.rs", Part::Fence, "writer.store_apart(owner + LEN_AT, len + 1)?;"),
    ("store/object/stream/group.rs", Part::Flush, "writer.fill_word(consumer + SEEN_AT, seen_ms);"),
    ("store/object/stream/group.rs", Part::Flush, "writer.fill_word(group + LAST_AT, last.ms);"),
    ("store/object/stream/group.rs", Part::Flush, "writer.store_apart(owner + LEN_AT, len + 1)?;"),
    ("store/object/stream/image.rs", Part::Flush, "writer.fill_word(group + TABLE_LEN_AT, consumers.len() as u64);"),
    ("store/object/stream/image.rs", Part::Flush, "writer.fill_word(header + at, id.ms);"),
    ("store/object/stream/mod.rs", Part::Flush, "writer.alloc_words(&words[..part.bytes() as usize / 8])"),
    ("store/object/string/edit.rs", Part::Flush, "Visible::Word(at, value) => writer.store_apart(at, value)?,"),
    ("store/object/string/edit.rs", Part::Flush, "writer.fill_zero(directory + 8 * count, capacity - 8 * count as usize);"),
    ("store/object/string/edit.rs", Part::Whole, "writer.publish(at & !7, u64::from_le_bytes(word))"),
    ("store/trash.rs", Part::Entry, "writer.store_apart(kind.link(node), head)?;"),
    ("store/trash.rs", Part::Fence, "writer.store_apart(kind.link(node), head)?;"),
    ("store/trash.rs", Part::Flush, "writer.store_apart(slot_cursor_at, slot)?;"),
    ("store/view.rs", Part::Flush, ".alloc_words(&[reader.load(slot_at), dues, 0, 0])?;"),
    ("store/view.rs", Part::Flush, "change.writer.fill_zero(array, ARRAY_BYTES);"),
    ("store/view.rs", Part::Flush, "change.writer.store(a_at, b_array)?;"),
    ("store/view.rs", Part::Flush, "change.writer.store(slot_at + 8, 0)?;"),
];

/// What a scenario does after its preparation.
enum Work {
    /// One transaction.
    Ops(Vec<Op>),
    /// Commands of which the first ones are undone: a savepoint before `undone`.
    Undo { undone: Vec<Op>, kept: Vec<Op> },
    /// The trash is emptied, so many blocks at a time.
    Reap(usize),
    /// Keys whose time has come are removed.
    Expire,
    /// Everything is moved.
    Defrag,
}

/// A state, and what is done to it.
struct Scenario {
    name: String,
    /// The medium, and what lies on it before the work.
    prepared: (Sim, Image),
    before: Model,
    after: Model,
    work: Work,
}

/// Keeps only one line's stores, or all but one line's.
#[derive(Debug)]
struct One {
    line: usize,
    is_kept: bool,
}

impl FnMutPrefix for One {
    fn choose(&mut self, index: usize, stores: usize) -> usize {
        match (index == self.line) == self.is_kept {
            true => stores,
            false => 0,
        }
    }
}

impl Scenario {
    fn new(name: &str, prepare: &[Op], work: Work) -> Scenario {
        let fresh = Sim::new(16 << 20, 2);
        let mut before = Model::default();
        let (keyspace, mut worker) = open(&fresh);
        for op in prepare {
            exec(&keyspace, &mut worker, std::slice::from_ref(op), NOW_MS).unwrap();
            before.apply(op, NOW_MS).unwrap();
        }
        drop((worker, keyspace));
        let mut replay = fresh.replay();
        while replay.step() {}
        let mut after = before.clone();
        match &work {
            Work::Ops(ops) | Work::Undo { kept: ops, .. } => {
                ops.iter().for_each(|op| after.apply(op, NOW_MS).unwrap());
            }
            Work::Reap(_) | Work::Defrag => {}
            Work::Expire => {
                let lives = |ttl: &Option<u64>| ttl.is_none_or(|at_ms| LATER_MS <= at_ms);
                after.databases.retain(|_, (_, ttl)| lives(ttl));
            }
        }
        Scenario {
            name: name.to_owned(),
            prepared: (fresh.clone(), replay.image(Survivors::Nothing)),
            before,
            after,
            work,
        }
    }

    /// Does the work on the prepared state; the record, and where in it the work began.
    fn run(&self, muted: Option<Muted>) -> (Sim, usize) {
        let (medium, image) = &self.prepared;
        let sim = medium.after_crash(image.clone());
        let (keyspace, mut worker) = open(&sim);
        let start = sim.points();
        sim.mute(muted);
        match &self.work {
            Work::Ops(ops) => exec(&keyspace, &mut worker, ops, NOW_MS).unwrap(),
            Work::Undo { undone, kept } => {
                let guard = keyspace.pin();
                let mut view =
                    keyspace.view(&mut worker, &guard, super::super::Access::All, NOW_MS);
                let (first, rest) = kept.split_at(1);
                first.iter().for_each(|op| op.run(&mut view).unwrap());
                let savepoint = view.savepoint();
                undone.iter().for_each(|op| op.run(&mut view).unwrap());
                view.rollback_to(savepoint);
                rest.iter().for_each(|op| op.run(&mut view).unwrap());
                view.commit();
            }
            Work::Defrag => {
                move_all(&keyspace, &mut worker);
            }
            Work::Reap(blocks) => while keyspace.reap_step(&mut worker, *blocks) {},
            Work::Expire => {
                keyspace.expire_step(&mut worker, LATER_MS, 1000, &mut |view| view.commit());
            }
        }
        sim.mute(None);
        drop((worker, keyspace));
        (sim, start)
    }

    /// Crashes behind `step`, where a mutant shows if it does; panics if an image is not as it should be.
    fn crash(&self, sim: &Sim, start: usize, step: usize, images: &Cell<usize>) {
        let look = |image, context: &str| {
            images.set(images.get() + 1);
            holds_after(sim, image, &self.before, &self.after, "", context)
        };
        let mut replay = sim.replay();
        let mut fences = Vec::new();
        while replay.step() {
            if replay.before_fence() && replay.point() >= start {
                fences.push(replay.point());
            }
        }
        let committed = look(replay.image(Survivors::Nothing), &self.name);
        assert!(committed, "{}: not durable", self.name);
        look(replay.image(Survivors::Everything), &self.name);
        let behind = fences.partition_point(|point| *point < step);
        let last = fences.len().saturating_sub(FENCES_AT_END);
        let mut points = fences[behind..].to_vec();
        points.truncate(FENCES_BEHIND);
        points.extend(&fences[last.max(behind)..]);
        let mut replay = sim.replay();
        loop {
            if points.contains(&replay.point()) {
                look(replay.image(Survivors::Everything), &self.name);
                look(replay.image(Survivors::Nothing), &self.name);
                let lines = replay.pending().len();
                let stride = lines.div_ceil(LINES_MAX).max(1);
                for line in (0..lines).step_by(stride) {
                    for is_kept in [true, false] {
                        let mut one = One { line, is_kept };
                        look(replay.image(Survivors::Prefixes(&mut one)), &self.name);
                    }
                }
            }
            if !replay.step() {
                break;
            }
        }
    }
}

/// When keys expire in the scenarios in which they do.
const LATER_MS: u64 = 6000;

fn scenarios() -> Vec<Scenario> {
    use End::{Head, Tail};
    let mut all = Vec::new();
    let mut one = |name: &str, prepare: &[Op], ops: &[Op]| {
        all.push(Scenario::new(name, prepare, Work::Ops(ops.to_vec())));
    };
    let remove = |key| Op::Remove { db: 0, key };
    one("first key", &[], &[set(1)]);
    one("overwritten", &keys(0..3), &[set(1)]);
    for count in [7, 14, 27] {
        one("next rung", &keys(0..count), &[set(99)]);
    }
    one("removed", &keys(0..3), &[remove(1)]);
    let sparse: Vec<Op> = keys(0..15).into_iter().chain((5..15).map(remove)).collect();
    one("smaller rung", &sparse, &[remove(0)]);
    let ttl = |at_ms| Op::SetTtl {
        db: 0,
        key: 1,
        at_ms,
    };
    one("expiry", &[set(1)], &[ttl(Some(7000))]);
    one(
        "another expiry",
        &[set(1), ttl(Some(8000))],
        &[ttl(Some(7000))],
    );
    one("no expiry", &[set(1), ttl(Some(8000))], &[ttl(None)]);
    let drop_fields = |fields| Op::HashRemove {
        db: 0,
        key: 1,
        fields,
    };
    one("packed hash", &[hash(1, 0..3)], &[hash(1, 2..5)]);
    one("hash grows", &[hash(1, 0..6)], &[hash(1, 6..7)]);
    one("large hash", &[hash(1, 0..20)], &[hash(1, 18..24)]);
    one("fields removed", &[hash(1, 0..20)], &[drop_fields(3..6)]);
    one("hash emptied", &[hash(1, 0..20)], &[drop_fields(0..20)]);
    one("hash removed", &[hash(1, 0..20)], &[remove(1)]);
    let small = [hash(1, 0..4), expire(1, 1..3, Some(5000))];
    one(
        "fields expire",
        &[hash(1, 0..4)],
        &[expire(1, 1..3, Some(5000))],
    );
    one(
        "fields expire later",
        &small,
        &[expire(1, 0..4, Some(7000))],
    );
    one("packed hash with times grows", &small, &[hash(1, 4..9)]);
    let large = [hash(1, 0..20), expire(1, 3..10, Some(5000))];
    for op in [
        expire(1, 3..4, Some(4000)),
        expire(1, 3..10, None),
        expire(1, 12..15, Some(2000)),
        expire(1, 3..12, Some(10)),
        hash(1, 3..4),
        drop_fields(0..20),
        remove(1),
    ] {
        one("large hash with times", &large, &[op]);
    }
    let part = |part| Op::Part {
        db: 0,
        key: 1,
        part,
    };
    let write = |at, len: usize| part(Bytes::Write(at, vec![7; len]));
    let append = |len: usize| part(Bytes::Append(vec![b'a'; len]));
    let long = [write(0, 300), write(0, 1)];
    for op in [
        write(8, 8),
        write(13, 10),
        write(60, 10),
        write(30, 200),
        write(900, 3),
        append(1),
        append(84),
        append(900),
    ] {
        one("long string", &long, &[op]);
    }
    one("long string made anew", &long, &[part(Bytes::Invert)]);
    one("long string removed", &long, &[remove(1)]);
    one("string becomes long", &[set(1)], &[write(120, 40)]);
    let pop = |end, count| list(ListStep::Pop(end, count));
    let packed = [push(Tail, 10, 20)];
    let many = [
        push(Tail, 200, 100),
        push(Tail, 200, 100),
        push(Head, 3, 100),
    ];
    for op in [
        push(Head, 1, 20),
        push(Tail, 30, 100),
        pop(Head, 1),
        list(ListStep::Set(3, b"x".to_vec())),
    ] {
        one("packed list", &packed, &[op]);
    }
    for op in [
        push(Head, 1, 10),
        push(Tail, 90, 100),
        pop(Head, 9),
        pop(Tail, 3),
        list(ListStep::Set(20, b"x".to_vec())),
        list(ListStep::Insert(25, vec![b'x'; 5000])),
        list(ListStep::Trim(20, 5)),
        remove(1),
    ] {
        one("large list", &many, &[op]);
    }
    one(
        "popped and pushed",
        &many,
        &[
            pop(Head, 2),
            push(Head, 2, 90),
            pop(Tail, 1),
            push(Tail, 2, 80),
        ],
    );
    for (before, count, len) in [(0, 1, 10), (1, 1, 10), (2, 1, 300), (4, 2, 10), (5, 1, 300)] {
        one("entries", &[add(before, 10)], &[add(count, len)]);
    }
    for op in [
        StreamOp::Delete { from: 2, count: 1 },
        StreamOp::Delete { from: 0, count: 5 },
        StreamOp::TrimTo { len: 3 },
        StreamOp::SetIds { step_ms: 3 },
        StreamOp::CreateGroup { group: 0 },
    ] {
        one("stream", &[add(12, 10)], &[stream(op)]);
    }
    let deliver = |consumer, from, count| {
        stream(StreamOp::Deliver {
            group: 0,
            consumer,
            from,
            count,
        })
    };
    let groups = [
        add(18, 10),
        stream(StreamOp::CreateGroup { group: 0 }),
        stream(StreamOp::CreateGroup { group: 1 }),
        deliver(0, 0, 6),
        deliver(1, 4, 9),
    ];
    for op in [
        deliver(2, 3, 5),
        stream(StreamOp::Acknowledge {
            group: 0,
            from: 2,
            count: 5,
        }),
        stream(StreamOp::DeleteConsumer {
            group: 0,
            consumer: 1,
        }),
        stream(StreamOp::DestroyGroup { group: 0 }),
        Op::Copy {
            from: (0, 1),
            to: (1, 2),
        },
        remove(1),
    ] {
        one("groups", &groups, &[op]);
    }
    one("intset", &[members(1, 0..3)], &[members(1, 40..41)]);
    one("set grows", &[members(1, 0..6)], &[members(1, 6..7)]);
    one("large set", &[members(1, 30..60)], &[members(1, 55..64)]);
    one(
        "members removed",
        &[members(1, 30..60)],
        &[without(1, 35..37)],
    );
    one("set emptied", &[members(1, 30..60)], &[without(1, 30..60)]);
    let zset = |op| Op::Zset { db: 0, key: 1, op };
    one(
        "packed sorted set",
        &[zadd(1, 0..3, 0)],
        &[zadd(1, 2..5, 1)],
    );
    one("sorted set grows", &[zadd(1, 0..6, 0)], &[zadd(1, 6..7, 0)]);
    for len in [28, 60, 120] {
        one(
            "leaves split",
            &[zadd(1, 0..len, 0)],
            &[zadd(1, len..len + 2, 0)],
        );
    }
    one("scores change", &[zadd(1, 0..70, 0)], &[zadd(1, 5..8, 3)]);
    one(
        "ranks go",
        &[zadd(1, 0..130, 0)],
        &[zset(ZsetOp::RemoveRanks { ranks: 20..110 })],
    );
    one(
        "leaves unite",
        &[zadd(1, 0..70, 0)],
        &[zset(ZsetOp::Remove { members: 0..40 })],
    );
    one(
        "sorted set emptied",
        &[zadd(1, 0..70, 0)],
        &[zset(ZsetOp::Remove { members: 0..70 })],
    );
    let put = ZsetOp::Put {
        members: 5..90,
        ttl: Ttl::At(4000),
    };
    one("replaced by a sorted set", &[hash(1, 0..20)], &[zset(put)]);
    let load = |fields| Op::SetHash {
        db: 0,
        key: 1,
        fields,
        ttl: Ttl::At(4000),
    };
    one("replaced by a hash", &[zadd(1, 0..20, 0)], &[load(5..30)]);
    let replace = Op::SetSet {
        db: 0,
        key: 1,
        members: 30..50,
        ttl: Ttl::Keep,
    };
    one("replaced by a set", &many, &[replace]);
    for value in [
        hash(1, 0..20),
        members(1, 30..60),
        zadd(1, 0..70, 0),
        push(Tail, 90, 100),
        set(1),
    ] {
        let prepare = [value, hash(2, 0..10), set(101)];
        for to in [(0, 2), (1, 1)] {
            one("renamed", &prepare, &[Op::Rename { from: (0, 1), to }]);
            one("copied", &prepare, &[Op::Copy { from: (0, 1), to }]);
        }
    }
    let catalogue = |byte: u8, len| Op::Catalogue {
        bytes: vec![byte; len],
    };
    one(
        "catalogue",
        &[catalogue(1, 10)],
        &[set(2), catalogue(2, 20), catalogue(3, 5)],
    );
    let two = [
        keys(0..20),
        vec![
            hash(30, 0..20),
            Op::Copy {
                from: (0, 30),
                to: (1, 3),
            },
        ],
    ]
    .concat();
    for op in [
        Op::FlushDb { db: 0 },
        Op::FlushAll,
        Op::Swap { a: 0, b: 1 },
        Op::Swap { a: 0, b: 5 },
        Op::FlushSlot { db: 0, key: 1 },
    ] {
        one("whole databases", &two, &[op]);
    }
    let mixed = [
        remove(3),
        set(3),
        remove(4),
        hash(30, 18..24),
        members(50, 30..45),
        zadd(51, 0..40, 0),
        zadd(51, 3..9, 9),
        Op::Rename {
            from: (0, 30),
            to: (0, 102),
        },
        Op::Copy {
            from: (0, 102),
            to: (2, 7),
        },
        Op::SetTtl {
            db: 0,
            key: 5,
            at_ms: Some(9000),
        },
        set(100),
    ];
    one("transaction", &two, &mixed);
    all.push(Scenario::new(
        "part undone",
        &two,
        Work::Undo {
            undone: mixed.to_vec(),
            kept: vec![set(60), set(61), remove(1)],
        },
    ));
    let mut due = [keys(0..5), vec![hash(8, 0..20), zadd(9, 0..40, 0)]].concat();
    due.extend([1, 8, 9].map(|key| Op::SetTtl {
        db: 0,
        key,
        at_ms: Some(5000),
    }));
    all.push(Scenario::new("expired", &due, Work::Expire));
    for ops in values() {
        all.push(Scenario::new("moved", &ops, Work::Defrag));
    }
    let mut trash = [
        keys(2..40),
        groups.to_vec(),
        vec![hash(70, 0..60), zadd(71, 0..100, 0)],
    ]
    .concat();
    trash.extend([
        members(72, 30..70),
        Op::List {
            db: 0,
            key: 73,
            step: ListStep::Push(Tail, vec![vec![b'v'; 200]; 60]),
        },
    ]);
    let flushed = [trash.clone(), vec![Op::FlushDb { db: 0 }]].concat();
    all.push(Scenario::new("database reaped", &flushed, Work::Reap(7)));
    let slot = Op::FlushSlot { db: 0, key: 70 };
    all.push(Scenario::new(
        "slot reaped",
        &[trash, vec![slot]].concat(),
        Work::Reap(5),
    ));
    all
}

thread_local! {
    /// Whether panics of this thread are expected.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs something that may panic without a word about it; `None` if it did.
pub(super) fn quietly<T>(run: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    QUIET.set(false);
    outcome.ok()
}

/// A line of the source, for the reader of a failure, and for [`EXCUSED`].
fn source_line((file, line, _): Place) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let text = std::fs::read_to_string(format!("{root}/{file}")).unwrap_or_default();
    let line = text.lines().nth(line as usize - 1).unwrap_or_default();
    line.trim().to_owned()
}

/// Looks in a process of its own: all pools of a process share one epoch, so the pins of other tests would delay the
/// reuse of freed blocks, differently in each run, and a harmless mutant would not be seen to change nothing.
#[test]
fn every_step_left_out_is_noticed() {
    const ALONE: &str = "EAGLE_TEST_MUTATION_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return look_for_every_step();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::mutation::every_step_left_out_is_noticed",
            "--nocapture",
        ])
        .env(ALONE, "1")
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

fn look_for_every_step() {
    let scenarios = scenarios();
    let images = Cell::new(0);
    // Which scenarios reach which step, and where in the record. That each passes unchanged is tested elsewhere.
    let mut reached: BTreeMap<(Part, Place), Vec<(usize, usize)>> = BTreeMap::new();
    let mut orders = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        let (sim, _) = scenario.run(None);
        orders.push(sim.order_of_persistence());
        for (step, event) in sim.steps() {
            reached.entry(step).or_default().push((number, event));
        }
    }
    let (mut noticed, mut equivalent) = (0, Vec::new());
    let (mut missed, mut open) = (Vec::new(), BTreeSet::new());
    for (number, ((part, place), scenes)) in reached.iter().enumerate() {
        if number % 50 == 0 && number > 0 {
            println!("{number} mutants, {} images", images.get());
        }
        let muted = Some(Muted::Step(*part, *place));
        let mut differs = false;
        // Equally spaced, if there are many.
        let stride = scenes.len().div_ceil(SCENARIOS_MAX);
        let is_noticed = scenes.iter().step_by(stride).any(|&(number, event)| {
            let scenario = &scenarios[number];
            let Some((sim, start)) = quietly(|| scenario.run(muted)) else {
                return true;
            };
            let is_order = matches!(part, Part::Fence | Part::Flush);
            if is_order && sim.order_of_persistence() == orders[number] {
                return false;
            }
            differs = true;
            quietly(|| scenario.crash(&sim, start, event, &images)).is_none()
        });
        let text = source_line(*place);
        let is_open = OPEN.iter().position(|(file, open, line)| {
            place.0.ends_with(file) && part == open && *line == text
        });
        let shown = format!("{part:?} of {}:{}: {text}", place.0, place.1);
        match () {
            () if is_noticed => noticed += 1,
            () if !differs => equivalent.push(shown),
            () => match is_open {
                Some(entry) => drop(open.insert(entry)),
                None => {
                    println!("missed: {shown}");
                    missed.push(shown);
                }
            },
        }
    }
    let (count, mutants) = (scenarios.len(), reached.len());
    println!(
        "{count} scenarios, {mutants} mutants, {} images of them",
        images.get()
    );
    println!(
        "{noticed} noticed, {} equivalent, {} open",
        equivalent.len(),
        open.len()
    );
    equivalent
        .iter()
        .for_each(|shown| println!("equivalent: {shown}"));
    assert!(missed.is_empty(), "nobody notices\n{}", missed.join("\n"));
    let stale = (0..OPEN.len()).filter(|entry| !open.contains(entry));
    let stale: Vec<_> = stale.map(|entry| OPEN[entry]).collect();
    assert!(stale.is_empty(), "noticed by now: {stale:?}");
    let files: BTreeSet<&str> = reached.keys().map(|(_, (file, ..))| *file).collect();
    assert!(
        files.len() > 12,
        "the store has more files that write: {files:?}"
    );
}
