//! What is done to which state, for the search of [`mutation`](super::mutation): so much that every step of the store layer
//! that a transaction can be asked for comes up, where it can be told from its neighbours.

use super::super::{End, Ttl};
use super::crash::{add, hash, keys, list, members, push, set, stream, without, zadd};
use super::crash_fields::expire;
use super::defrag_inside::values;
use super::lists::ListStep;
use super::model::Op;
use super::mutation::{Scenario, Work};
use super::streams::StreamOp;
use super::strings::Part as Bytes;
use super::zsets::ZsetOp;

/// All of them.
pub(super) fn scenarios() -> Vec<Scenario> {
    use End::{Head, Tail};
    let mut all = Vec::new();
    let mut one = |name: &str, prepare: &[Op], ops: &[Op]| {
        all.push(Scenario::new(name, prepare, Work::Ops(ops.to_vec())));
    };
    let remove = |key| Op::Remove { db: 0, key };
    one("first key", &[], &[set(1)]);
    one("overwritten", &keys(0..3), &[set(1)]);
    let number = |key, value| Op::SetInt { db: 0, key, value };
    one("a number for another", &[number(1, 5)], &[number(1, -6)]);
    one(
        "numbers for others",
        &[number(1, 5), number(2, 7)],
        &[number(1, 6), number(2, 8), number(1, 9)],
    );
    for count in [7, 14, 27] {
        one("next rung", &keys(0..count), &[set(99)]);
    }
    one("removed", &keys(0..3), &[remove(1)]);
    // A record takes the place of one that comes back if the transaction is undone.
    for (count, key) in [(12, 2), (12, 9), (24, 5), (24, 20)] {
        one("place of another", &keys(0..count), &[remove(key), set(99)]);
    }
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
    one(
        "hash removed behind another",
        &[hash(1, 0..20), hash(2, 0..20), remove(2)],
        &[remove(1)],
    );
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
    let write = |at, len: usize| part(Bytes::Write(at, vec![9; len]));
    let append = |len: usize| part(Bytes::Append(vec![b'a'; len]));
    let before = part(Bytes::Write(0, vec![7; 300]));
    let long = [before.clone(), before];
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
    // A directory of several lines, with a hole; words of more than one of its lines that change.
    one("long string", &long, &[write(4000, 3)]);
    let before = part(Bytes::Write(0, vec![7; 1000]));
    one(
        "longer string",
        &[before.clone(), before],
        &[write(30, 900)],
    );
    one("long string made anew", &long, &[part(Bytes::Invert)]);
    one("long string removed", &long, &[remove(1)]);
    one("long string twice", &long, &[write(13, 10), append(40)]);
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
    one("entry of lines", &[add(1, 100), add(1, 10)], &[add(1, 70)]);
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
        deliver(0, 14, 3),
        deliver(1, 1, 2),
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
    // Takes the large form without a member more, as SORT has it; with a time to live, and among others.
    let unpack = zset(ZsetOp::Unpack);
    let timed = [zadd(1, 0..6, 0), ttl(Some(7000))];
    for prepare in [&timed[..1], &timed] {
        one(
            "sorted set unpacked",
            prepare,
            std::slice::from_ref(&unpack),
        );
    }
    one(
        "sorted set unpacked and changed",
        &[keys(2..9), vec![zadd(1, 0..7, 0)]].concat(),
        &[set(2), unpack, zadd(1, 2..4, 5)],
    );
    for len in [28, 60, 120] {
        one(
            "leaves split",
            &[zadd(1, 0..len, 0)],
            &[zadd(1, len..len + 2, 0)],
        );
    }
    one("scores change", &[zadd(1, 0..70, 0)], &[zadd(1, 5..8, 3)]);
    let halves = [zadd(1, 0..20, 0), zadd(1, 20..130, 0)];
    for (member, salt) in [(5, 100), (3, 5)] {
        one(
            "from leaf to leaf",
            &halves,
            &[zadd(1, member..member + 1, salt)],
        );
    }
    one(
        "ranks go",
        &[zadd(1, 0..130, 0)],
        &[zset(ZsetOp::RemoveRanks { ranks: 20..110 })],
    );
    // A fifth, sixth and seventh leaf: their parent's weights reach into a line without its head or a child.
    for count in [233, 234, 240] {
        one(
            "leaves split",
            &[zadd(1, 0..20, 0), zadd(1, 20..count, 0)],
            &[zadd(1, count..count + 1, 0)],
        );
    }
    // Headers at different places in their lines.
    for count in 7..12 {
        let beside = zadd(9, 0..count, 0);
        let zset = |op| Op::Zset { db: 0, key: 1, op };
        one(
            "first inner node",
            &[beside.clone(), zadd(1, 0..60, 0)],
            &[zadd(1, 60..61, 0)],
        );
        one(
            "last inner node",
            &[beside, zadd(1, 0..70, 0)],
            &[zset(ZsetOp::Remove { members: 0..50 })],
        );
    }
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
        Op::Swap { a: 0, b: 12 },
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
    let timed = [
        hash(1, 0..4),
        expire(1, 1..3, Some(5000)),
        hash(101, 0..4),
        expire(101, 1..3, Some(5000)),
        Op::FlushDb { db: 0 },
    ];
    all.push(Scenario::new("times reaped", &timed, Work::Reap(1)));
    for count in 7..12 {
        let prepare = [
            zadd(9, 0..count, 0),
            zadd(1, 0..70, 0),
            Op::Remove { db: 0, key: 1 },
        ];
        all.push(Scenario::new("sorted set reaped", &prepare, Work::Reap(1)));
    }
    let slot = Op::FlushSlot { db: 0, key: 70 };
    all.push(Scenario::new(
        "slot reaped",
        &[trash, vec![slot]].concat(),
        Work::Reap(5),
    ));
    all
}
