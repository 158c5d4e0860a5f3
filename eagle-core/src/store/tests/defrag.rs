//! Active defragmentation: what it gives back, and what it leaves as it was.

use std::time::{Duration, Instant};

use super::super::{Access, DefragCursor, StringForm, Ttl, key_slot};
use super::Fixture;
use super::model::{Model, Op, exec, open};
use crate::pmem::Sim;
use crate::pmem::sim::Survivors;

fn name(number: u64) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn value(number: u64) -> Vec<u8> {
    vec![number as u8; 20 + (number % 300) as usize]
}

/// Runs the walk to its end; how many blocks it moved.
fn defrag(f: &mut Fixture) -> u64 {
    let mut hits = 0;
    if f.keyspace.begin_defrag() {
        let mut cursor = Some(DefragCursor::default());
        while let Some(at) = cursor {
            let (moved, next) = f.keyspace.defrag_step(&mut f.worker, at, 100);
            hits += moved.hits;
            cursor = next;
        }
        f.keyspace.end_defrag();
    }
    hits
}

/// Lets the grace periods of what was freed pass.
fn settle(f: &mut Fixture) {
    f.worker = f.keyspace.worker();
    wait_until(|| {
        f.guard.repin();
        f.guard.flush();
        f.keyspace.usage().retired == 0
    });
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

#[test]
fn what_is_left_of_many_keys_is_moved_together() {
    const KEYS: u64 = 60_000;
    let mut f = Fixture::new();
    let kept = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 15 < 3;
    for number in 0..KEYS {
        let key = name(number);
        f.one(&key, |view| {
            let ttl = if number % 3 == 0 {
                Ttl::At(1 << 40)
            } else {
                Ttl::Clear
            };
            view.set_string(0, &key, &value(number), StringForm::Raw, ttl)
                .unwrap();
        });
    }
    for number in (0..KEYS).filter(|number| !kept(*number)) {
        let key = name(number);
        f.one(&key, |view| view.remove(0, &key).unwrap());
    }
    settle(&mut f);
    let before = f.keyspace.usage();
    assert!(before.pages > 2 * before.used, "{before:?}");
    let mut hits = 0;
    for _ in 0..4 {
        hits += defrag(&mut f);
        settle(&mut f);
    }
    let after = f.keyspace.usage();
    println!("{hits} moved: {before:?} to {after:?}");
    assert!(
        after.pages * 10 < after.used * 13,
        "{hits} moved, {before:?} to {after:?}"
    );
    let view = f.free();
    for number in 0..KEYS {
        let found = view.string(0, &name(number)).unwrap();
        assert_eq!(found.is_some(), kept(number));
        if let Some(found) = found {
            assert_eq!(found.into_vec(), value(number));
        }
    }
    drop(view);
    f.check();
}

#[test]
fn nothing_is_told_of_it_and_readers_go_on() {
    let mut f = Fixture::new();
    for number in 0..3000 {
        let key = name(number);
        f.one(&key, |view| {
            view.set_string(0, &key, &value(number), StringForm::Raw, Ttl::Clear)
                .unwrap();
        });
    }
    for number in (0..3000).filter(|number| number % 8 != 0) {
        let key = name(number);
        f.one(&key, |view| view.remove(0, &key).unwrap());
    }
    settle(&mut f);
    f.keyspace
        .watchers()
        .store(1, std::sync::atomic::Ordering::Relaxed);
    let slots = [key_slot(&name(8))];
    let mut reader = f.keyspace.worker();
    let pinned = crate::sync::pin();
    let view = f
        .keyspace
        .view(&mut reader, &pinned, Access::LockFree, f.now_ms);
    let held = view.string(0, &name(8)).unwrap().unwrap();
    assert!(f.keyspace.begin_defrag());
    let (mut cursor, mut hits) = (Some(DefragCursor::default()), 0);
    while let Some(at) = cursor {
        let (moved, next) = f.keyspace.defrag_step(&mut f.worker, at, 10);
        hits += moved.hits;
        cursor = next;
    }
    f.keyspace.end_defrag();
    assert!(hits > 100, "{hits}");
    // The old block is still what the reader has met.
    assert_eq!(held.into_vec(), value(8));
    drop(view);
    let view = f
        .keyspace
        .view(&mut f.worker, &f.guard, Access::Slots(&slots), f.now_ms);
    assert_eq!(view.dirty(), 0);
    drop(view);
    f.check();
}

/// Everything the walk does, cut off at every fence: the keys are there, and nothing leaks.
#[test]
fn a_crash_in_the_middle() {
    let sim = Sim::new(32 << 20, 4);
    let (keyspace, mut worker) = open(&sim);
    let mut model = Model::default();
    let mut run = |op: Op, worker: &mut _| {
        exec(&keyspace, worker, std::slice::from_ref(&op), 1000).unwrap();
        model.apply(&op, 1000).unwrap();
    };
    for round in 0..2 {
        for key in 0..200u8 {
            let set = Op::Set {
                db: 0,
                key,
                value: vec![key; 2000],
                ttl: Ttl::Clear,
            };
            let remove = Op::Remove { db: 0, key };
            if round == 0 {
                run(set, &mut worker);
            } else if key % 9 != 0 {
                run(remove, &mut worker);
            }
        }
    }
    drop(worker);
    let mut worker = keyspace.worker();
    wait_until(|| {
        crate::sync::pin().flush();
        keyspace.usage().retired == 0
    });
    let start = sim.points();
    assert!(keyspace.begin_defrag());
    let (mut cursor, mut hits) = (Some(DefragCursor::default()), 0);
    while let Some(at) = cursor {
        let (moved, next) = keyspace.defrag_step(&mut worker, at, 100);
        hits += moved.hits;
        cursor = next;
    }
    keyspace.end_defrag();
    assert!(hits > 0);
    drop((worker, keyspace));
    let end = sim.points();
    let stride = ((end - start) / 40).max(1);
    let mut replay = sim.replay();
    let mut images = 0;
    while replay.step() {
        let point = replay.point();
        if point < start || !(point - start).is_multiple_of(stride) {
            continue;
        }
        for survivors in [Survivors::Nothing, Survivors::Everything] {
            let (keyspace, mut worker) = open(&sim.after_crash(replay.image(survivors)));
            assert_eq!(Model::of(&keyspace, &mut worker), model);
            assert_eq!(keyspace.check().faults, Vec::<String>::new());
            images += 1;
        }
    }
    println!("crash images: {images}");
    assert!(images > 40, "{images}");
}
