//! A crash at every persistence point of what fields that expire are about.

use super::super::{FieldRule, FieldTtl};
use super::crash::{NOW_MS, STORES_CUT, crash, hash, holds_after, points, set};
use super::field_ops::FieldOp;
use super::model::{Model, Op, exec, open};
use crate::pmem::Sim;
use crate::pmem::sim::Survivors;

fn field_op(key: u8, op: FieldOp) -> Op {
    Op::Field { db: 0, key, op }
}

/// Fields that expire then, or `None` no more.
pub(super) fn expire(key: u8, fields: std::ops::Range<u8>, ttl_at: Option<u64>) -> Op {
    field_op(key, FieldOp::Expire(fields, ttl_at, FieldRule::Any))
}

#[test]
fn expiring_fields_of_packed_hashes() {
    let timed = [hash(1, 0..4), expire(1, 1..3, Some(5000))];
    // The first of a database, and later ones; into the form and within it.
    crash(&[hash(1, 0..4)], &[expire(1, 1..3, Some(5000))]);
    crash(&timed, &[expire(1, 0..4, Some(7000))]);
    crash(&timed, &[expire(1, 1..2, None)]);
    crash(&timed, &[expire(1, 1..3, None)]);
    crash(&timed, &[expire(1, 1..2, Some(10))]);
    crash(&timed, &[expire(1, 0..4, Some(10))]);
    crash(&timed, &[hash(1, 1..2)]);
    // Into a table.
    crash(&timed, &[hash(1, 4..9)]);
    crash(&timed, &[Op::Remove { db: 0, key: 1 }]);
    crash(&timed, &[set(1)]);
}

#[test]
fn expiring_fields_of_large_hashes() {
    let plain = hash(1, 0..20);
    let timed = [plain.clone(), expire(1, 3..10, Some(5000))];
    crash(std::slice::from_ref(&plain), &[expire(1, 3..4, Some(5000))]);
    crash(&timed, &[expire(1, 3..4, Some(4000))]);
    crash(&timed, &[expire(1, 3..4, Some(6000))]);
    crash(&timed, &[expire(1, 3..4, None)]);
    crash(&timed, &[expire(1, 3..10, None)]);
    crash(&timed, &[expire(1, 12..15, Some(2000))]);
    crash(&timed, &[hash(1, 3..4)]);
    for ttl in [FieldTtl::Keep, FieldTtl::At(3000)] {
        let set = field_op(1, FieldOp::Set(9..11, b"w".to_vec(), ttl));
        crash(&timed, &[set]);
    }
    let remove = |fields| Op::HashRemove {
        db: 0,
        key: 1,
        fields,
    };
    crash(&timed, &[remove(3..4)]);
    crash(&timed, &[remove(0..20)]);
    crash(&timed, &[expire(1, 0..20, Some(10))]);
    crash(&timed, &[Op::Remove { db: 0, key: 1 }]);
    crash(&timed, &[set(1)]);
    let timed_load = field_op(1, FieldOp::Load(0..10, 4000));
    crash(&timed, &[timed_load]);
}

#[test]
fn moving_hashes_whose_fields_expire() {
    let small = [hash(1, 0..4), expire(1, 1..3, Some(5000))];
    let large = [hash(1, 0..20), expire(1, 3..10, Some(5000))];
    for timed in [small, large] {
        let (from, to) = ((0, 1), (2, 2));
        crash(&timed, &[Op::Rename { from, to: (0, 103) }]);
        crash(&timed, &[Op::Copy { from, to }]);
        crash(
            &timed,
            &[Op::SetTtl {
                db: 0,
                key: 1,
                at_ms: Some(9000),
            }],
        );
        crash(&timed, &[Op::FlushSlot { db: 0, key: 1 }]);
        crash(&timed, &[Op::FlushDb { db: 0 }]);
        // A database's index made together with the database.
        crash(
            &timed,
            &[Op::FlushAll, hash(2, 0..2), expire(2, 0..1, Some(5000))],
        );
        crash(&timed, &[Op::Swap { a: 0, b: 2 }]);
    }
}

/// Fields whose time comes: removed one by one, and by the cycle.
#[test]
fn fields_lapse() {
    for fields in [0..4, 0..20] {
        let timed = [hash(1, fields), expire(1, 1..4, Some(NOW_MS + 1))];
        let sim = Sim::new(16 << 20, 2);
        let (keyspace, mut worker) = open(&sim);
        let mut before = Model::default();
        for op in &timed {
            exec(&keyspace, &mut worker, std::slice::from_ref(op), NOW_MS).unwrap();
            before.apply(op, NOW_MS).unwrap();
        }
        let start = sim.points();
        let removed = keyspace.expire_fields_step(&mut worker, NOW_MS + 2, 100, &mut |view| {
            view.commit();
        });
        assert_eq!(removed, 3);
        drop((worker, keyspace));
        let mut after = before.clone();
        after.expire(NOW_MS + 2);
        let points = points(&sim, start, STORES_CUT);
        let mut replay = sim.replay();
        let mut images = 0;
        loop {
            let point = replay.point();
            if points.binary_search(&point).is_ok() {
                let context = format!("cycle at point {}", point - start);
                for image in [Survivors::Nothing, Survivors::Everything] {
                    holds_after(&sim, replay.image(image), &before, &after, "", &context);
                    images += 1;
                }
            }
            if !replay.step() {
                break;
            }
        }
        let last = replay.image(Survivors::Nothing);
        assert!(holds_after(&sim, last, &before, &after, "", "at the end"));
        println!("crash images: {images}");
    }
}
