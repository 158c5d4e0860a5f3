//! Active defragmentation of what is inside large values.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::super::{
    DefragCursor, End, FieldTtl, Keyspace, PoolOptions, StoreError, StreamId, View, Worker,
};
use super::Fixture;
use super::crash::{
    NOW_MS, STORES_CUT, add, hash, holds_after, list, members, points, push, set, stream, without,
    zadd,
};
use super::crash_fields::expire;
use super::lists::ListStep;
use super::model::{Model, Op, exec, op, open};
use super::streams::StreamOp;
use super::strings::Part;
use crate::pmem::Sim;
use crate::pmem::sim::Survivors;
use proptest::prelude::*;

/// Goes through the keyspace from `cursor` to the end; how many blocks were moved.
pub(super) fn walk(keyspace: &Keyspace, worker: &mut Worker, cursor: DefragCursor) -> u64 {
    let (mut next, mut hits) = (Some(cursor), 0);
    while let Some(cursor) = next {
        let moved;
        (moved, next) = keyspace.defrag_step(worker, cursor, 20);
        hits += moved.hits;
    }
    hits
}

/// Moves every block that can be moved; how many.
pub(super) fn move_all(keyspace: &Keyspace, worker: &mut Worker) -> u64 {
    walk(keyspace, worker, DefragCursor::of_everything())
}

/// Large values of every kind.
pub(super) fn values() -> Vec<Vec<Op>> {
    use End::{Head, Tail};
    let part = |part| Op::Part {
        db: 0,
        key: 1,
        part,
    };
    let deliver = |consumer, from, count| {
        stream(StreamOp::Deliver {
            group: 0,
            consumer,
            from,
            count,
        })
    };
    vec![
        vec![set(1), set(2), members(3, 0..3)],
        vec![hash(1, 0..40)],
        vec![members(1, 30..70), without(1, 30..45)],
        vec![zadd(1, 0..130, 0), zadd(1, 3..9, 9)],
        vec![hash(1, 0..4), expire(1, 1..3, Some(5000))],
        vec![
            hash(1, 0..30),
            expire(1, 3..20, Some(5000)),
            expire(1, 12..14, Some(7000)),
        ],
        vec![
            push(Tail, 200, 100),
            push(Tail, 200, 100),
            push(Head, 3, 100),
            list(ListStep::Set(20, vec![b'x'; 700])),
        ],
        vec![
            part(Part::Write(0, vec![7; 300])),
            part(Part::Write(900, vec![8; 3])),
            part(Part::Append(vec![9; 84])),
        ],
        vec![
            add(18, 10),
            stream(StreamOp::CreateGroup { group: 0 }),
            stream(StreamOp::CreateGroup { group: 1 }),
            deliver(0, 0, 6),
            deliver(1, 4, 9),
        ],
        vec![
            add(3, 10),
            stream(StreamOp::CreateGroup { group: 0 }),
            deliver(0, 0, 1),
        ],
    ]
}

#[test]
fn every_kind_of_value_can_be_moved_and_a_crash_is_harmless() {
    let (mut images, mut blocks) = (0, 0);
    for ops in values() {
        let sim = Sim::new(16 << 20, 2);
        let mut model = Model::default();
        let (keyspace, mut worker) = open(&sim);
        for op in &ops {
            exec(&keyspace, &mut worker, std::slice::from_ref(op), NOW_MS).unwrap();
            model.apply(op, NOW_MS).unwrap();
        }
        let start = sim.points();
        let hits = move_all(&keyspace, &mut worker);
        assert!(hits >= 2, "{hits} of {ops:?}");
        blocks += hits;
        assert_eq!(Model::of(&keyspace, &mut worker), model);
        assert_eq!(keyspace.check().faults, Vec::<String>::new());
        drop((worker, keyspace));
        let points = points(&sim, start, STORES_CUT);
        let mut replay = sim.replay();
        loop {
            let point = replay.point();
            if points.binary_search(&point).is_ok() {
                let context = format!("{ops:?} moved, at point {}", point - start);
                let survivors = match images % 2 {
                    0 => Survivors::Nothing,
                    _ => Survivors::Everything,
                };
                let image = replay.image(survivors);
                holds_after(&sim, image, &model, &model, "", &context);
                images += 1;
            }
            if !replay.step() {
                break;
            }
        }
    }
    println!("{blocks} blocks, {images} images");
    assert!(images > 200, "{images}");
}

/// The entry's blob in the index of expiring fields was the old one once an entry had been moved.
#[test]
fn the_index_of_expiring_fields_follows_a_moved_hash() {
    let mut f = Fixture::new();
    for key in [&b"small"[..], b"large"] {
        f.one(key, |view| {
            let fields = if key == b"small" { 3 } else { 2000 };
            for number in 0..fields {
                let name = format!("field:{number}").into_bytes();
                let ttl = FieldTtl::At(2000 + number);
                view.hash_set_timed(0, key, &[(&name, b"v")], ttl).unwrap();
            }
        });
    }
    assert!(move_all(&f.keyspace, &mut f.worker) > 2000);
    f.check();
    while f
        .keyspace
        .expire_fields_step(&mut f.worker, 2500, 100_000, &mut |view| view.commit())
        > 0
    {}
    f.now_ms = 2500;
    let view = f.free();
    assert!(view.hash(0, b"small").unwrap().is_none());
    assert_eq!(view.hash(0, b"large").unwrap().unwrap().len(), 1500);
    drop(view);
    f.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Commands of all kinds with a walk under way that moves everything it comes to: no command can tell.
    #[test]
    fn commands_do_not_notice_a_walk(
        steps in prop::collection::vec((op(), any::<bool>(), 1..30u64), 1..120),
    ) {
        let sim = Sim::new(32 << 20, 4);
        let (keyspace, mut worker) = open(&sim);
        let mut model = Model::default();
        let mut cursor = None;
        for (op, walks, blocks) in steps {
            let result = exec(&keyspace, &mut worker, std::slice::from_ref(&op), NOW_MS);
            prop_assert_eq!(result, model.apply(&op, NOW_MS));
            if walks {
                let from = cursor.take().unwrap_or_else(DefragCursor::of_everything);
                (_, cursor) = keyspace.defrag_step(&mut worker, from, blocks);
            }
        }
        move_all(&keyspace, &mut worker);
        prop_assert_eq!(&Model::of(&keyspace, &mut worker), &model);
        let report = keyspace.check();
        prop_assert_eq!(report.faults, Vec::<String>::new());
    }
}

/// Other tests pin, too, but not for ever.
fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(
            Instant::now() < deadline,
            "blocks wait for their grace period"
        );
        std::thread::yield_now();
    }
}

/// Values of a test whose members go one by one, and values that go as a whole.
const OBJECTS: u64 = 4;
const MEMBERS: u64 = 3000;

fn key(kind: &str, number: u64) -> Vec<u8> {
    format!("{kind}:{number}").into_bytes()
}

fn member(number: u64) -> Vec<u8> {
    format!("{number}:{:060}", 0).into_bytes()
}

/// One of four, in no regular order.
fn is_kept(member: u64) -> bool {
    member.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62 == 0
}

fn slices(names: &[Vec<u8>]) -> Vec<&[u8]> {
    names.iter().map(Vec::as_slice).collect()
}

/// One change of a value.
fn change(
    f: &mut Fixture,
    kind: &str,
    number: u64,
    change: impl FnOnce(&mut View<'_>, &[u8]) -> Result<(), StoreError>,
) {
    let key = key(kind, number);
    f.one(&key, |view| change(view, &key).unwrap());
}

/// Large values of every kind.
fn fill(f: &mut Fixture) {
    let names: Vec<Vec<u8>> = (0..MEMBERS).map(member).collect();
    let text = vec![b'x'; 400];
    // In turns, so that what belongs together lies apart.
    for part in names.chunks(100) {
        for number in 0..OBJECTS {
            let pairs: Vec<(&[u8], &[u8])> = part.iter().map(|n| (&n[..], &b"value"[..])).collect();
            let scored: Vec<(&[u8], f64)> = part.iter().map(|n| (&n[..], n.len() as f64)).collect();
            let ttl = FieldTtl::At(1 << 40);
            change(f, "set", number, |view, key| {
                view.set_add(0, key, &slices(part)).map(drop)
            });
            change(f, "hash", number, |view, key| {
                view.hash_set_many(0, key, &pairs).map(drop)
            });
            change(f, "timed", number, |view, key| {
                view.hash_set_timed(0, key, &pairs, ttl).map(drop)
            });
            change(f, "zset", number, |view, key| {
                view.zset_add(0, key, &scored, Default::default()).map(drop)
            });
        }
    }
    for round in 1..200 {
        for number in 0..4 * OBJECTS {
            change(f, "list", number, |view, key| {
                view.list_push(0, key, &[&text[..]], End::Tail).map(drop)
            });
            change(f, "string", number, |view, key| {
                view.write_string(0, key, (round - 1) * 400, &text)
                    .map(drop)
            });
            change(f, "stream", number, |view, key| {
                let id = StreamId::new(round, 0);
                view.edit_stream(0, key, true, |stream| {
                    stream.add(id, &[&b"field"[..], &text])
                })
                .map(drop)
            });
        }
    }
}

/// Three quarters of what [`fill`] made go.
fn thin_out(f: &mut Fixture) {
    let gone: Vec<Vec<u8>> = (0..MEMBERS).filter(|n| !is_kept(*n)).map(member).collect();
    for number in 0..OBJECTS {
        change(f, "set", number, |view, key| {
            view.set_remove(0, key, &slices(&gone)).map(drop)
        });
        for kind in ["hash", "timed"] {
            change(f, kind, number, |view, key| {
                view.hash_remove(0, key, &slices(&gone)).map(drop)
            });
        }
        change(f, "zset", number, |view, key| {
            view.zset_remove(0, key, &slices(&gone)).map(drop)
        });
    }
    for number in (0..4 * OBJECTS).filter(|number| number % 4 != 1) {
        for kind in ["list", "string", "stream"] {
            change(f, kind, number, |view, key| view.remove(0, key).map(drop));
        }
    }
}

/// Frees the trash, and lets the grace periods of what was freed pass.
fn settle(f: &mut Fixture) {
    while f.keyspace.reap_step(&mut f.worker, 1000) {}
    f.worker = f.keyspace.worker();
    wait_until(|| {
        f.guard.repin();
        f.guard.flush();
        f.keyspace.usage().retired == 0
    });
}

/// What is stored of a pool of large values goes back to the system once three quarters of them, or of their members, are
/// gone; without moving them it would not.
#[test]
fn large_values_give_their_memory_back_to_the_system() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool");
    let stored = || std::fs::metadata(&path).unwrap().blocks() * 512;
    let options = PoolOptions {
        path: Some(path.clone()),
        size: 128 << 20,
        boot_id: [1; 16],
        seed: [7; 32],
    };
    let mut f = Fixture::on(Keyspace::open(&options).unwrap().0);
    let trim = |f: &Fixture| while f.keyspace.pool().trim_step(0, 1 << 20) {};
    trim(&f);
    let empty = stored();
    fill(&mut f);
    let model = |f: &mut Fixture| Model::of(&f.keyspace, &mut f.worker);
    thin_out(&mut f);
    settle(&mut f);
    trim(&f);
    let (before, scattered, usage) = (model(&mut f), stored() - empty, f.keyspace.usage());
    let mut hits = 0;
    while f.keyspace.begin_defrag() {
        let moved = walk(&f.keyspace, &mut f.worker, DefragCursor::default());
        f.keyspace.end_defrag();
        hits += moved;
        settle(&mut f);
        if moved == 0 {
            break;
        }
    }
    trim(&f);
    let (together, after) = (stored() - empty, f.keyspace.usage());
    println!(
        "{hits} moved: {scattered} bytes stored before, {together} after; {usage:?} to {after:?}"
    );
    assert_eq!(model(&mut f), before);
    f.check();
    assert!(usage.pages > 2 * usage.used, "{usage:?}");
    assert!(after.pages * 2 < after.used * 3, "{usage:?} to {after:?}");
    assert!(together * 2 < scattered, "{together} of {scattered}");
}
