//! A crash at every persistence point of every kind of change.
//!
//! Each scenario prepares a keyspace, then runs one transaction, and a replay of what it did to the medium is cut
//! off at many points: before fences, and at stores in between; with nothing, everything or a random part of the
//! unflushed stores surviving. Whatever is left must open, must be sound, and must hold the state before the
//! transaction or the state after it.
//!
//! A short transaction is cut off at every such point, a long one at a sample spread over it (see [`points`]).
//! After a fence nothing survives that does not survive before the next one as well, so those points add nothing.

use super::super::{End, Ttl};
use super::lists::ListStep;
use super::model::{Model, Op, exec, open};
use super::streams::StreamOp;
use super::zsets::ZsetOp;
use crate::pmem::Sim;
use crate::pmem::sim::{FnMutPrefix, Image, Survivors};

/// Stores of one transaction at which it is cut off, about.
pub(super) const STORES_CUT: usize = 12;

/// Points at which one transaction is cut off, at most.
const POINTS_MAX: usize = 40;

/// The last points of a transaction, where it commits: all of them count.
const POINTS_AT_END: usize = 8;

pub(super) const NOW_MS: u64 = 1000;

/// Keeps random prefixes of the pending stores.
#[derive(Debug)]
struct Random(u64);

impl FnMutPrefix for Random {
    fn choose(&mut self, _index: usize, stores: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % (stores + 1)
    }
}

/// Opens what a crash left; which of the two states it holds. The log ring must be at the same side of the
/// transaction; `record` is what that adds to it.
pub(super) fn holds_after(
    sim: &Sim,
    image: Image,
    before: &Model,
    after: &Model,
    record: &str,
    context: &str,
) -> bool {
    let (keyspace, mut worker) = open(&sim.after_crash(image));
    let found = Model::of(&keyspace, &mut worker);
    assert_eq!(keyspace.check().faults, Vec::<String>::new(), "{context}");
    if keyspace.ring_is_on() && before != after {
        let mut bytes = vec![0; record.len()];
        let head = keyspace.ring_head();
        let from = head.saturating_sub(bytes.len() as u64);
        let mut reader = keyspace.ring_reader(from, false).expect("kept");
        let logged = reader.read(&mut bytes) == Ok(record.len()) && bytes == record.as_bytes();
        assert_eq!(logged, found == *after, "{context}: ring and keyspace");
    }
    if found == *after {
        return true;
    }
    assert!(
        found == *before,
        "{context}: neither before nor after, but {found:?}"
    );
    false
}

/// Where to cut off what happens from `start` on: every candidate if they are few; otherwise one out of each of as
/// many stretches of equal length as are allowed, picked at random within the stretch so that no regular pattern of
/// fences hides from it, and all of the last.
pub(super) fn points(sim: &Sim, start: usize, stores_cut: usize) -> Vec<usize> {
    let stride = ((sim.points() - start) / stores_cut).max(1);
    let mut replay = sim.replay();
    let mut candidates = Vec::new();
    loop {
        let point = replay.point();
        if point >= start && (replay.before_fence() || point.is_multiple_of(stride)) {
            candidates.push(point);
        }
        if !replay.step() {
            break;
        }
    }
    if candidates.len() <= POINTS_MAX {
        return candidates;
    }
    let end = candidates.split_off(candidates.len() - POINTS_AT_END);
    let stretches = POINTS_MAX - POINTS_AT_END;
    let bound = |stretch: usize| stretch * candidates.len() / stretches;
    let mut random = Random(0xc4a5);
    let sample = (0..stretches).map(|stretch| {
        let (from, to) = (bound(stretch), bound(stretch + 1));
        candidates[from + random.choose(0, to - from - 1)]
    });
    let mut points: Vec<usize> = sample.collect();
    println!(
        "{} points of {}",
        points.len() + end.len(),
        candidates.len() + end.len()
    );
    points.extend(end);
    points
}

/// Prepares, then crashes in `ops`; answers how many images were looked at.
pub(super) fn crash(prepare: &[Op], ops: &[Op]) -> usize {
    crash_with(prepare, ops, None)
}

fn crash_with(prepare: &[Op], ops: &[Op], ring: Option<u64>) -> usize {
    let fresh = Sim::new(16 << 20, 2);
    let mut before = Model::default();
    let (keyspace, mut worker) = open(&fresh);
    keyspace.resize_ring(&keyspace.pin(), ring).unwrap();
    for op in prepare {
        exec(&keyspace, &mut worker, std::slice::from_ref(op), NOW_MS).unwrap();
        before.apply(op, NOW_MS).unwrap();
    }
    drop((worker, keyspace));
    let mut replay = fresh.replay();
    while replay.step() {}
    let sim = fresh.after_crash(replay.image(Survivors::Nothing));
    let (keyspace, mut worker) = open(&sim);
    let start = sim.points();
    exec(&keyspace, &mut worker, ops, NOW_MS).unwrap();
    let end = sim.points();
    drop((worker, keyspace));
    let mut after = before.clone();
    ops.iter().for_each(|op| after.apply(op, NOW_MS).unwrap());

    let record = format!("{ops:?}");
    let mut replay = sim.replay();
    let mut random = Random(0x5eed);
    let points = points(&sim, start, STORES_CUT);
    let (mut images, mut committed) = (0, false);
    loop {
        let point = replay.point();
        if points.binary_search(&point).is_ok() {
            let context = format!("{ops:?} at point {} of {}", point - start, end - start);
            let nothing = replay.image(Survivors::Nothing);
            let now_committed = holds_after(&sim, nothing, &before, &after, &record, &context);
            assert!(
                now_committed || !committed,
                "{context}: a committed state is lost again"
            );
            committed = now_committed;
            holds_after(
                &sim,
                replay.image(Survivors::Everything),
                &before,
                &after,
                &record,
                &context,
            );
            let part = replay.image(Survivors::Prefixes(&mut random));
            holds_after(&sim, part, &before, &after, &record, &context);
            images += 3;
        }
        if !replay.step() {
            break;
        }
    }
    let last = replay.image(Survivors::Nothing);
    assert!(
        holds_after(&sim, last, &before, &after, &record, "at the end"),
        "{ops:?} is durable once committed"
    );
    println!("crash images: {images}");
    images
}

pub(super) fn set(key: u8) -> Op {
    Op::Set {
        db: 0,
        key,
        value: b"some value".to_vec(),
        ttl: Ttl::Clear,
    }
}

pub(super) fn keys(keys: std::ops::Range<u8>) -> Vec<Op> {
    keys.map(set).collect()
}

pub(super) fn hash(key: u8, fields: std::ops::Range<u8>) -> Op {
    Op::HashSet {
        db: 0,
        key,
        fields,
        value: b"v".to_vec(),
    }
}

#[test]
fn setting_and_removing_on_every_rung() {
    let mut images = 0;
    for count in [0, 1, 6, 7, 13, 14, 26, 27, 54, 90] {
        images += crash(&keys(0..count), &[set(99)]);
    }
    images += crash(&keys(0..3), &[set(1)]);
    // Removals that leave a rung, and ones that do not.
    for count in [1, 2, 8, 15, 28, 55] {
        let mut prepare = keys(0..count);
        let keep = (count / 3).max(1);
        prepare.extend((keep..count).map(|key| Op::Remove { db: 0, key }));
        images += crash(&prepare, &[Op::Remove { db: 0, key: 0 }]);
    }
    assert!(images > 500, "{images}");
}

#[test]
fn expiries() {
    let short = Op::Set {
        db: 0,
        key: 1,
        value: b"v".to_vec(),
        ttl: Ttl::At(5000),
    };
    let long = Op::Set {
        db: 0,
        key: 1,
        value: vec![b'v'; 600],
        ttl: Ttl::Clear,
    };
    for prepare in [short, long, set(1)] {
        crash(
            std::slice::from_ref(&prepare),
            &[Op::SetTtl {
                db: 0,
                key: 1,
                at_ms: Some(7000),
            }],
        );
        crash(
            std::slice::from_ref(&prepare),
            &[Op::SetTtl {
                db: 0,
                key: 1,
                at_ms: None,
            }],
        );
        // Met after its time.
        let due = Op::SetTtl {
            db: 0,
            key: 1,
            at_ms: Some(10),
        };
        crash(&[prepare.clone(), due], &[set(1)]);
    }
}

#[test]
fn hashes_in_both_forms_and_between() {
    crash(&[], &[hash(1, 0..3)]);
    crash(&[hash(1, 0..3)], &[hash(1, 2..5)]);
    crash(&[hash(1, 0..6)], &[hash(1, 6..7)]);
    crash(&[], &[hash(1, 0..20)]);
    crash(&[hash(1, 0..20)], &[hash(1, 20..21)]);
    crash(&[hash(1, 0..27)], &[hash(1, 27..28)]);
    crash(&[hash(1, 0..27)], &[hash(1, 5..9)]);
    crash(
        &[hash(1, 0..20)],
        &[Op::HashRemove {
            db: 0,
            key: 1,
            fields: 3..4,
        }],
    );
    crash(
        &[hash(1, 0..20)],
        &[Op::HashRemove {
            db: 0,
            key: 1,
            fields: 0..20,
        }],
    );
    crash(
        &[hash(1, 0..4)],
        &[Op::HashRemove {
            db: 0,
            key: 1,
            fields: 1..2,
        }],
    );
    crash(&[hash(1, 0..20)], &[set(1)]);
    crash(&[hash(1, 0..20)], &[Op::Remove { db: 0, key: 1 }]);
    crash(
        &[hash(1, 0..20)],
        &[Op::SetHash {
            db: 0,
            key: 1,
            fields: 5..20,
            ttl: Ttl::At(4000),
        }],
    );
}

pub(super) fn list(step: ListStep) -> Op {
    Op::List {
        db: 0,
        key: 1,
        step,
    }
}

/// Adds so many elements of so many bytes.
pub(super) fn push(end: End, count: u8, bytes: usize) -> Op {
    let element = |n| [&[n][..], &vec![b'v'; bytes]].concat();
    list(ListStep::Push(end, (0..count).map(element).collect()))
}

#[test]
fn lists_in_both_forms_and_between() {
    use End::{Head, Tail};
    let pop = |end, count| list(ListStep::Pop(end, count));
    let packed = push(Tail, 10, 20);
    let large = [push(Tail, 30, 100), push(Head, 2, 100)];
    // Three chunks and the two at the ends.
    let many = [
        push(Tail, 200, 100),
        push(Tail, 200, 100),
        push(Head, 3, 100),
    ];
    crash(&[], std::slice::from_ref(&packed));
    crash(&[], &[push(Head, 250, 100)]);
    for op in [
        push(Head, 1, 20),
        push(Tail, 30, 100),
        pop(Head, 1),
        pop(Tail, 10),
        list(ListStep::Set(3, b"x".to_vec())),
        list(ListStep::Insert(3, b"x".to_vec())),
    ] {
        crash(std::slice::from_ref(&packed), &[op]);
    }
    for prepare in [&large[..], &many[..]] {
        for op in [
            push(Head, 1, 10),
            push(Tail, 1, 10),
            push(Tail, 90, 100),
            pop(Head, 1),
            pop(Head, 9),
            pop(Tail, 3),
            list(ListStep::Set(20, b"x".to_vec())),
            list(ListStep::Insert(25, vec![b'x'; 5000])),
            list(ListStep::Trim(20, 5)),
            Op::Remove { db: 0, key: 1 },
        ] {
            crash(prepare, &[op]);
        }
    }
    // What one change takes off another puts on in its place: bytes that a rollback needs again.
    for end in [Head, Tail] {
        crash(&large, &[pop(end, 1), push(end, 1, 100)]);
        crash(&many, &[pop(end, 2), push(end, 2, 90), pop(end.other(), 1)]);
    }
}

pub(super) fn stream(op: StreamOp) -> Op {
    Op::Stream { db: 0, key: 1, op }
}

pub(super) fn add(count: u8, len: usize) -> Op {
    let value = vec![b'v'; len];
    stream(StreamOp::Add {
        count,
        step_ms: 0,
        value,
    })
}

#[test]
fn entries_of_streams() {
    let mut images = 0;
    // The first entry; into spare room, into a larger block, into a new node (of five entries).
    for (before, count, len) in [(0, 1, 10), (1, 1, 10), (2, 1, 300), (4, 2, 10), (5, 1, 300)] {
        images += crash(&[add(before, 10)], &[add(count, len)]);
    }
    let prepare = [add(12, 10)];
    for (from, count) in [(0, 1), (2, 2), (0, 5), (11, 1), (0, 12)] {
        images += crash(&prepare, &[stream(StreamOp::Delete { from, count })]);
    }
    for len in [9, 3, 0] {
        let both = [add(1, 10), stream(StreamOp::TrimTo { len })];
        images += crash(&prepare, &both);
    }
    images += crash(&prepare, &[stream(StreamOp::TrimBefore { entry: 7 })]);
    images += crash(&prepare, &[stream(StreamOp::SetIds { step_ms: 3 })]);
    images += crash(&prepare, &[Op::Remove { db: 0, key: 1 }]);
    assert!(images > 500, "{images}");
}

#[test]
fn groups_of_streams() {
    let group = |group| stream(StreamOp::CreateGroup { group });
    let deliver = |consumer, from, count| {
        stream(StreamOp::Deliver {
            group: 0,
            consumer,
            from,
            count,
        })
    };
    crash(&[], &[group(0)]);
    crash(&[add(3, 10), group(0)], &[group(1)]);
    let prepare = [add(18, 10), group(0), group(1)];
    crash(&prepare, &[deliver(0, 0, 1)]);
    crash(&prepare, &[deliver(0, 0, 7)]);
    let prepare = [&prepare[..], &[deliver(0, 0, 6), deliver(1, 4, 9)]].concat();
    crash(&prepare, &[deliver(2, 3, 5)]);
    crash(
        &prepare,
        &[stream(StreamOp::Acknowledge {
            group: 0,
            from: 0,
            count: 1,
        })],
    );
    crash(
        &prepare,
        &[stream(StreamOp::Acknowledge {
            group: 0,
            from: 2,
            count: 11,
        })],
    );
    crash(
        &prepare,
        &[stream(StreamOp::DeleteConsumer {
            group: 0,
            consumer: 1,
        })],
    );
    crash(&prepare, &[stream(StreamOp::DestroyGroup { group: 0 })]);
    crash(&prepare, &[Op::Remove { db: 0, key: 1 }]);
    crash(
        &prepare,
        &[Op::Rename {
            from: (0, 1),
            to: (0, 2),
        }],
    );
    crash(
        &prepare,
        &[Op::Copy {
            from: (0, 1),
            to: (1, 2),
        }],
    );
}

pub(super) fn members(key: u8, members: std::ops::Range<u8>) -> Op {
    Op::SetAdd {
        db: 0,
        key,
        members,
    }
}

pub(super) fn without(key: u8, members: std::ops::Range<u8>) -> Op {
    Op::SetRemove {
        db: 0,
        key,
        members,
    }
}

#[test]
fn sets_in_both_forms_and_between() {
    // Integers, then one that is wider, then too many, then one that is none.
    crash(&[], &[members(1, 0..3)]);
    crash(&[members(1, 0..3)], &[members(1, 40..41)]);
    crash(&[members(1, 0..6)], &[members(1, 6..7)]);
    crash(&[members(1, 0..3)], &[members(1, 60..61)]);
    crash(&[], &[members(1, 30..60)]);
    // Tables: a new member, members there already, the step to another rung.
    crash(&[members(1, 30..60)], &[members(1, 60..61)]);
    crash(&[members(1, 30..60)], &[members(1, 55..62)]);
    crash(&[members(1, 33..60)], &[members(1, 60..61)]);
    crash(&[members(1, 0..3)], &[without(1, 1..2)]);
    crash(&[members(1, 0..3)], &[without(1, 0..3)]);
    crash(&[members(1, 30..60)], &[without(1, 35..37)]);
    crash(&[members(1, 30..60)], &[without(1, 30..60)]);
    crash(&[members(1, 30..60)], &[set(1)]);
    crash(
        &[members(1, 30..60)],
        &[Op::SetSet {
            db: 0,
            key: 1,
            members: 3..6,
            ttl: Ttl::Keep,
        }],
    );
}

pub(super) fn zadd(key: u8, members: std::ops::Range<u8>, salt: u8) -> Op {
    let op = ZsetOp::Add { members, salt };
    Op::Zset { db: 0, key, op }
}

#[test]
fn sorted_sets_in_both_forms_and_between() {
    let change = |op| Op::Zset { db: 0, key: 1, op };
    crash(&[], &[zadd(1, 0..3, 0)]);
    crash(&[zadd(1, 0..3, 0)], &[zadd(1, 2..5, 1)]);
    crash(&[zadd(1, 0..6, 0)], &[zadd(1, 6..7, 0)]);
    crash(&[], &[zadd(1, 0..70, 0)]);
    // Leaves that grow, split and are joined.
    for len in [11, 12, 28, 44, 60, 120] {
        crash(&[zadd(1, 0..len, 0)], &[zadd(1, len..len + 1, 0)]);
    }
    // Other scores: in place, elsewhere, and none changed.
    crash(&[zadd(1, 0..70, 0)], &[zadd(1, 5..8, 3)]);
    crash(&[zadd(1, 0..70, 0)], &[zadd(1, 5..6, 100)]);
    crash(&[zadd(1, 0..70, 0)], &[zadd(1, 5..6, 0)]);
    // From one leaf to another, both half full, up and down; then within the transaction that moved it back.
    let halves = [zadd(1, 0..20, 0), zadd(1, 20..130, 0)];
    for (member, salt) in [(5, 100), (3, 5)] {
        let moved = zadd(1, member..member + 1, salt);
        let back = zadd(1, member..member + 1, 0);
        crash(&halves, std::slice::from_ref(&moved));
        crash(&halves, &[moved, back]);
    }
    for members in [3..4, 0..40, 0..70] {
        crash(&[zadd(1, 0..70, 0)], &[change(ZsetOp::Remove { members })]);
    }
    crash(
        &[zadd(1, 0..130, 0)],
        &[change(ZsetOp::RemoveRanks { ranks: 20..110 })],
    );
    crash(
        &[zadd(1, 0..5, 0)],
        &[change(ZsetOp::Remove { members: 1..2 })],
    );
    crash(&[zadd(1, 0..20, 0)], &[set(1)]);
    crash(&[zadd(1, 0..20, 0)], &[Op::Remove { db: 0, key: 1 }]);
    crash(
        &[zadd(1, 0..20, 0)],
        &[change(ZsetOp::Put {
            members: 5..90,
            ttl: Ttl::At(4000),
        })],
    );
    // Another form: what it holds is there before and after, and what follows is done to it.
    crash(&[zadd(1, 0..20, 0)], &[change(ZsetOp::Unpack)]);
    crash(
        &[zadd(1, 0..20, 0)],
        &[change(ZsetOp::Unpack), zadd(1, 5..9, 9)],
    );
    // Moved and moved back within one transaction: what is undone must come back whole.
    crash(
        &[zadd(1, 0..70, 0)],
        &[
            zadd(1, 5..9, 9),
            change(ZsetOp::Remove { members: 5..7 }),
            zadd(1, 60..75, 4),
            change(ZsetOp::RemoveRanks { ranks: 3..9 }),
            zadd(1, 0..30, 7),
        ],
    );
}

#[test]
fn renaming_and_copying() {
    for value in [
        hash(1, 0..20),
        hash(1, 0..3),
        members(1, 30..60),
        members(1, 0..3),
        zadd(1, 0..70, 0),
        set(1),
    ] {
        for to in [(0, 2), (0, 101), (1, 1)] {
            let prepare = [value.clone(), hash(2, 0..10), set(101)];
            crash(&prepare, &[Op::Rename { from: (0, 1), to }]);
            crash(&prepare, &[Op::Copy { from: (0, 1), to }]);
        }
    }
}

#[test]
fn the_catalogue_alone_and_with_keys() {
    let catalogue = |byte: u8, len: usize| Op::Catalogue {
        bytes: vec![byte; len],
    };
    crash(&[], &[catalogue(1, 10)]);
    crash(&[catalogue(1, 10)], &[catalogue(2, 100_000)]);
    crash(&[catalogue(1, 10)], &[catalogue(0, 0)]);
    let prepare = [set(1), catalogue(1, 10)];
    crash(
        &prepare,
        &[set(2), catalogue(2, 20), set(3), catalogue(3, 5)],
    );
}

#[test]
fn whole_databases_and_slots() {
    let mut prepare = keys(0..20);
    prepare.push(hash(30, 0..20));
    prepare.push(Op::Set {
        db: 1,
        key: 3,
        value: b"other".to_vec(),
        ttl: Ttl::At(5000),
    });
    crash(&prepare, &[Op::FlushDb { db: 0 }]);
    crash(&prepare, &[Op::FlushAll]);
    crash(&prepare, &[Op::Swap { a: 0, b: 1 }]);
    crash(&prepare, &[Op::Swap { a: 0, b: 5 }]);
    crash(&prepare, &[Op::FlushSlot { db: 0, key: 1 }]);
    // The first key of a database.
    crash(
        &prepare,
        &[Op::Set {
            db: 9,
            key: 1,
            value: b"v".to_vec(),
            ttl: Ttl::Clear,
        }],
    );
}

#[test]
fn transactions_are_all_or_nothing() {
    let mut prepare = keys(0..14);
    prepare.push(hash(50, 0..20));
    crash(
        &prepare,
        &[
            set(99),
            Op::Remove { db: 0, key: 3 },
            set(3),
            Op::Remove { db: 0, key: 4 },
            hash(50, 18..24),
            Op::Rename {
                from: (0, 50),
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
        ],
    );
    crash(
        &prepare,
        &[
            Op::FlushDb { db: 0 },
            set(1),
            Op::Swap { a: 0, b: 1 },
            set(2),
        ],
    );
}

/// What a transaction adds to the log ring is there if and only if its changes are.
#[test]
fn the_log_ring_has_what_was_committed() {
    let ring = Some(2000);
    crash_with(&keys(0..3), &[set(1)], ring);
    crash_with(&[hash(1, 0..20)], &[hash(1, 20..21)], ring);
    crash_with(&keys(0..7), &[set(99), Op::Remove { db: 0, key: 3 }], ring);
    crash_with(&keys(0..2), &[Op::FlushDb { db: 0 }], ring);
}

/// A crash between the reaper's transactions, and inside them.
#[test]
fn reaping() {
    let sim = Sim::new(16 << 20, 2);
    let (keyspace, mut worker) = open(&sim);
    let mut ops = keys(2..60);
    ops.extend([add(40, 10), stream(StreamOp::CreateGroup { group: 0 })]);
    ops.extend((0..3).map(|consumer| {
        let from = 10 * consumer;
        stream(StreamOp::Deliver {
            group: 0,
            consumer,
            from,
            count: 12,
        })
    }));
    ops.extend([hash(70, 0..100), hash(101, 0..30)]);
    ops.extend([
        zadd(71, 0..100, 0),
        zadd(102, 0..30, 0),
        Op::FlushDb { db: 0 },
    ]);
    for op in &ops {
        exec(&keyspace, &mut worker, std::slice::from_ref(op), NOW_MS).unwrap();
    }
    let start = sim.points();
    while keyspace.reap_step(&mut worker, 7) {}
    assert_eq!(keyspace.check().blocks, 1, "only the root array is left");
    drop((worker, keyspace));
    let mut replay = sim.replay();
    let empty = Model::default();
    let mut images = 0;
    while replay.step() {
        if replay.point() > start && replay.before_fence() {
            holds_after(
                &sim,
                replay.image(Survivors::Nothing),
                &empty,
                &empty,
                "",
                "reaping",
            );
            holds_after(
                &sim,
                replay.image(Survivors::Everything),
                &empty,
                &empty,
                "",
                "reaping",
            );
            images += 2;
        }
    }
    println!("crash images: {images}");
    assert!(images > 20, "{images}");
}
