//! Pools that lie: words of a sound pool with keys of every type are overwritten at random, and then it is opened,
//! checked, and every key read in every way.
//!
//! A damaged pool may be refused, and the check may find faults or miss them (a flipped bit in a value is a value). What
//! must never happen: a read outside of the mapping, an end of the process, a loop without end, or a panic where the
//! caller cannot expect one. Opening and checking do not panic at all. A command on a damaged key may: the bounds of every
//! access are checked, and a reference that leads nowhere ends the command that followed it, as it ends one in the server.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::{Access, DATABASES_MAX, End, Keyspace, Ttl, View};
use super::crash::{NOW_MS, add, hash, members, push, set, stream, zadd};
use super::model::{Op, Value, exec, open};
use super::mutation::quietly;
use super::streams::StreamOp;
use crate::pmem::sim::{Image, Survivors};
use crate::pmem::{Pool, Sim};

/// Damaged pools that are looked at.
const POOLS: u64 = 200;

/// Words that are overwritten in one of them, at most.
const WORDS_MAX: u64 = 4;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }
}

/// A pool with every type in every form, a group of a stream, trash, and a log ring.
fn image(sim: &Sim) -> Image {
    let (keyspace, mut worker) = open(sim);
    keyspace.resize_ring(&keyspace.pin(), Some(70_000)).unwrap();
    let with_key = |op: Op, to| [op, Op::Rename { from: (0, 1), to }];
    let many = [push(End::Tail, 90, 100), push(End::Head, 3, 100)];
    let list = many.into_iter().chain([Op::Rename {
        from: (0, 1),
        to: (0, 61),
    }]);
    let deliver = StreamOp::Deliver {
        group: 0,
        consumer: 0,
        from: 2,
        count: 9,
    };
    let groups = [
        add(20, 30),
        stream(StreamOp::CreateGroup { group: 0 }),
        stream(deliver),
    ];
    let ops = (70..99)
        .map(set)
        .chain([
            hash(50, 0..4),
            hash(51, 0..60),
            members(52, 0..4),
            members(53, 30..70),
        ])
        .chain([
            zadd(54, 0..4, 0),
            zadd(55, 0..120, 0),
            hash(56, 0..40),
            zadd(57, 0..90, 0),
        ])
        .chain(with_key(push(End::Tail, 4, 20), (0, 60)))
        .chain(list)
        .chain(groups)
        .chain([
            Op::Copy {
                from: (0, 51),
                to: (1, 3),
            },
            Op::Copy {
                from: (0, 55),
                to: (2, 3),
            },
        ])
        .chain([
            Op::SetTtl {
                db: 0,
                key: 70,
                at_ms: Some(9000),
            },
            Op::Catalogue {
                bytes: vec![7; 300],
            },
        ])
        // Trash.
        .chain([
            Op::Remove { db: 0, key: 56 },
            Op::Remove { db: 0, key: 57 },
            Op::FlushDb { db: 2 },
        ]);
    for op in ops {
        exec(&keyspace, &mut worker, &[op], NOW_MS).unwrap();
    }
    drop((worker, keyspace));
    let mut replay = sim.replay();
    while replay.step() {}
    replay.image(Survivors::Nothing)
}

/// Overwrites words that are in use: with noise, with a bit flipped, with a word from elsewhere (a reference of the wrong kind
/// most likely), with zero, or with a reference moved a little.
fn damage(image: &Image, random: &mut Random) -> Image {
    let words: Vec<(u64, u64)> = image.words().filter(|(_, word)| *word != 0).collect();
    let mut damaged = image.clone();
    for _ in 0..=random.below(WORDS_MAX) {
        let (at, word) = words[random.below(words.len() as u64) as usize];
        let value = match random.below(6) {
            0 => random.below(u64::MAX),
            1 | 2 => word ^ 1 << random.below(64),
            3 => words[random.below(words.len() as u64) as usize].1,
            4 => 0,
            _ => word.wrapping_add(8 * (1 + random.below(40))),
        };
        damaged.damage(at, value);
    }
    damaged
}

/// Reads a key in the ways that commands do.
fn read(view: &View<'_>, db: u8, key: &[u8]) {
    let Some(entry) = view.find(db, key) else {
        return;
    };
    drop(Value::of(view, db, &entry));
}

/// Opens a damaged pool and uses it; what came of it.
fn outcome(sim: &Sim, image: Image) -> &'static str {
    // A pool that cannot be used says so.
    let Ok((pool, _)) = Pool::simulated(&sim.after_crash(image)) else {
        return "refused by the pool";
    };
    let Ok(keyspace) = Keyspace::on(pool) else {
        return "refused by the keyspace";
    };
    let sound = catch_unwind(AssertUnwindSafe(|| keyspace.check().faults.is_empty()));
    let mut worker = keyspace.worker();
    let guard = keyspace.pin();
    let mut view = keyspace.view(&mut worker, &guard, Access::All, NOW_MS);
    let mut keys = Vec::new();
    let mut ended = 0;
    for db in 0..DATABASES_MAX as u8 {
        let walk = AssertUnwindSafe(|| {
            view.for_each(db, &mut |entry| keys.push((db, entry.key().to_vec())));
        });
        ended += usize::from(catch_unwind(walk).is_err());
    }
    for (db, key) in &keys {
        ended += usize::from(catch_unwind(AssertUnwindSafe(|| read(&view, *db, key))).is_err());
    }
    // Changes as well. They are undone by the drop of the view.
    for (db, key) in &keys {
        let change = AssertUnwindSafe(|| {
            let _ = view.set_ttl(*db, key, Some(99_999));
            let _ = view.remove(*db, key);
            let _ = view.set_string(*db, key, b"new", super::super::StringForm::Auto, Ttl::Keep);
        });
        ended += usize::from(catch_unwind(change).is_err());
    }
    match (sound, ended) {
        (Ok(true), 0) => "not noticed",
        (Ok(true), _) => "ended commands and passed the check",
        (Ok(false), 0) => "found by the check",
        (Ok(false), _) => "found by the check, and ended commands",
        (Err(_), _) => "ended the check",
    }
}

#[test]
fn damaged_pools_end_nothing_but_commands() {
    let sim = Sim::new(16 << 20, 2);
    let sound = image(&sim);
    assert_eq!(
        quietly(|| outcome(&sim, sound.clone())),
        Some("not noticed")
    );
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..POOLS {
        let mut random = Random(seed);
        let damaged = damage(&sound, &mut random);
        // The bounds of all accesses are checked: nothing here can end the process.
        let outcome = quietly(|| outcome(&sim, damaged));
        let what = outcome.unwrap_or_else(|| panic!("pool {seed}: opening it panicked"));
        *counts.entry(what).or_insert(0) += 1;
    }
    println!("{POOLS} damaged pools: {counts:?}");
    assert!(counts.len() > 2, "{counts:?}");
}
