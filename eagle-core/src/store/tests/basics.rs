//! Each operation by itself, on all forms of a value.

use super::super::{
    Access, Encoding, Keyspace, Kind, PoolOptions, StoreError, StringForm, StringValue, Text, Ttl,
    View, check, key_slot,
};
use super::Fixture;

fn text(fixture: &mut Fixture, key: &[u8]) -> Option<Vec<u8>> {
    fixture
        .free()
        .string(0, key)
        .unwrap()
        .map(|text| text.to_vec())
}

fn set(fixture: &mut Fixture, key: &[u8], value: &[u8]) {
    fixture
        .run(|view| view.set_string(0, key, value, StringForm::Auto, Ttl::Clear))
        .unwrap();
}

#[test]
fn strings_are_stored_by_form() {
    let mut f = Fixture::new();
    let long = [b'x'; 45];
    for (value, form, encoding) in [
        (&b"12"[..], StringForm::Auto, Encoding::Int),
        (b"-9223372036854775808", StringForm::Auto, Encoding::Int),
        (b"012", StringForm::Auto, Encoding::Embstr),
        (b"12", StringForm::Plain, Encoding::Embstr),
        (b"12", StringForm::Raw, Encoding::Raw),
        (b"", StringForm::Auto, Encoding::Embstr),
        (&long[..44], StringForm::Auto, Encoding::Embstr),
        (&long, StringForm::Auto, Encoding::Raw),
    ] {
        f.run(|view| view.set_string(0, b"k", value, form, Ttl::Clear))
            .unwrap();
        let view = f.free();
        let entry = view.find(0, b"k").unwrap();
        assert_eq!((entry.kind(), entry.encoding()), (Kind::String, encoding));
        let found = view.string(0, b"k").unwrap().unwrap();
        assert_eq!((found.to_vec(), found.len()), (value.to_vec(), value.len()));
    }
    f.run(|view| view.set_int(0, b"k", -7, Ttl::Clear)).unwrap();
    assert_eq!(
        f.free().string(0, b"k"),
        Ok(Some(StringValue::Text(Text::Int(-7))))
    );
    assert_eq!(f.keyspace.len(0), 1);
    f.check();
}

#[test]
fn long_keys_and_values_survive() {
    let mut f = Fixture::new();
    for (key_len, value_len) in [
        (4095, 0),
        (4096, 10),
        (70_000, 1 << 20),
        (3, (1 << 20) - 1),
        (0, 1 << 20),
    ] {
        let (key, value) = (vec![b'k'; key_len], vec![b'v'; value_len]);
        set(&mut f, &key, &value);
        assert_eq!(text(&mut f, &key), Some(value));
    }
    f.check();
}

#[test]
fn keys_expire_for_readers_and_writers() {
    let mut f = Fixture::new();
    for long in [false, true] {
        let value = if long {
            vec![b'v'; 1000]
        } else {
            b"v".to_vec()
        };
        f.run(|view| view.set_string(0, b"k", &value, StringForm::Auto, Ttl::At(2000)))
            .unwrap();
        assert_eq!(f.free().find(0, b"k").unwrap().ttl_at(), Some(2000));
        assert_eq!((f.keyspace.len(0), f.keyspace.expires(0)), (1, 1));
        // KEEPTTL, then another time, then none, then again one.
        f.run(|view| view.set_string(0, b"k", &value, StringForm::Auto, Ttl::Keep))
            .unwrap();
        for at in [Some(3000), None, None, Some(4000)] {
            assert_eq!(f.run(|view| view.set_ttl(0, b"k", at)), Ok(true));
            assert_eq!(f.free().find(0, b"k").unwrap().ttl_at(), at);
            assert_eq!(f.keyspace.expires(0), u64::from(at.is_some()));
            assert_eq!(text(&mut f, b"k").as_ref(), Some(&value));
        }
        f.now_ms = 4000;
        assert!(f.free().find(0, b"k").is_some());
        f.now_ms = 4001;
        assert!(f.free().find(0, b"k").is_none());
        assert_eq!(f.keyspace.len(0), 1);
        let mut view = f.all();
        assert_eq!(view.remove(0, b"k"), Ok(false));
        assert_eq!(view.expired(), [(0, Box::from(&b"k"[..]))]);
        view.commit();
        assert_eq!((f.keyspace.len(0), f.keyspace.expires(0)), (0, 0));
        f.now_ms = 1000;
    }
    assert_eq!(f.keyspace.counters().expired_keys, 2);
    assert_eq!(f.run(|view| view.set_ttl(0, b"k", Some(1))), Ok(false));
    f.check();
}

#[test]
fn the_expiry_cycle_removes_what_is_due() {
    let mut f = Fixture::new();
    for i in 0..3000u64 {
        let ttl = if i % 3 == 0 {
            Ttl::Clear
        } else {
            Ttl::At(1000 + i)
        };
        let db = (i % 2) as u8;
        f.one(format!("k{i}").as_bytes(), |view| {
            view.set_string(db, format!("k{i}").as_bytes(), b"v", StringForm::Auto, ttl)
        })
        .unwrap();
    }
    assert_eq!(f.keyspace.expires(0) + f.keyspace.expires(1), 2000);
    let mut told = Vec::new();
    let mut removed = 0;
    for _ in 0..100 {
        removed += f
            .keyspace
            .expire_step(&mut f.worker, 2501, 300, &mut |view| {
                told.extend_from_slice(view.expired());
                view.commit();
            });
    }
    assert_eq!((removed, told.len()), (1000, 1000));
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 1000);
    assert_eq!(f.keyspace.len(0) + f.keyspace.len(1), 2000);
    assert_eq!(f.keyspace.counters().expired_keys, 1000);
    f.check();
}

#[test]
fn a_dropped_view_leaves_no_trace_and_a_savepoint_undoes_the_rest() {
    let mut f = Fixture::new();
    set(&mut f, b"a", b"1");
    let mut view = f.all();
    view.set_string(0, b"a", b"two", StringForm::Auto, Ttl::At(5000))
        .unwrap();
    view.set_string(0, b"b", b"new", StringForm::Auto, Ttl::Clear)
        .unwrap();
    assert_eq!(
        view.string(0, b"a"),
        Ok(Some(StringValue::Text(Text::Bytes(b"two"))))
    );
    assert_eq!(
        view.string(0, b"b"),
        Ok(Some(StringValue::Text(Text::Bytes(b"new"))))
    );
    assert_eq!(view.len(0), 2);
    drop(view);
    assert_eq!(text(&mut f, b"a"), Some(b"1".to_vec()));
    assert_eq!((f.keyspace.len(0), f.keyspace.expires(0)), (1, 0));

    let mut view = f.all();
    let empty = view.savepoint();
    view.remove(0, b"a").unwrap();
    view.rollback_to(empty);
    assert_eq!(
        view.string(0, b"a"),
        Ok(Some(StringValue::Text(Text::Int(1))))
    );
    view.set_string(0, b"b", b"kept", StringForm::Auto, Ttl::Clear)
        .unwrap();
    let savepoint = view.savepoint();
    for i in 0..100u32 {
        view.set_string(
            0,
            format!("{{b}}{i}").as_bytes(),
            b"x",
            StringForm::Auto,
            Ttl::Clear,
        )
        .unwrap();
        view.remove(0, b"b").unwrap();
    }
    view.rollback_to(savepoint);
    assert_eq!((view.len(0), view.dirty()), (2, 1));
    view.commit();
    assert_eq!(text(&mut f, b"b"), Some(b"kept".to_vec()));
    assert_eq!(f.keyspace.len(0), 2);
    f.check();
}

#[test]
fn a_full_pool_refuses_and_stays_whole() {
    let keyspace = super::open(8 << 20);
    let mut f = Fixture {
        worker: keyspace.worker(),
        keyspace,
        guard: crate::sync::pin(),
        now_ms: 1,
    };
    let value = vec![b'v'; 3000];
    let mut stored = 0u32;
    loop {
        let key = format!("key{stored}");
        let mut view = f.all();
        match view.set_string(0, key.as_bytes(), &value, StringForm::Auto, Ttl::Clear) {
            Ok(()) => view.commit(),
            Err(error) => {
                assert_eq!(error, StoreError::OutOfSpace);
                assert_eq!(view.dirty(), 0);
                break;
            }
        }
        stored += 1;
    }
    assert!(stored > 500, "{stored}");
    assert_eq!(f.keyspace.len(0), u64::from(stored));
    assert_eq!(text(&mut f, b"key0"), Some(value.clone()));
    let fields: Vec<_> = (0..500)
        .map(|i| (format!("field{i}"), value.clone()))
        .collect();
    let pairs: Vec<_> = fields
        .iter()
        .map(|(f, v)| (f.as_bytes(), v.as_slice()))
        .collect();
    assert_eq!(
        f.all().hash_set_many(0, b"h", &pairs),
        Err(StoreError::OutOfSpace)
    );
    f.check();
}

#[test]
fn touching_changes_the_clock_alone() {
    let mut f = Fixture::new();
    set(&mut f, b"k", b"v");
    f.free().touch(0, b"k", 0x00ab_cdef);
    let entry_clock = f.free().find(0, b"k").unwrap().clock();
    assert_eq!(entry_clock, 0x00ab_cdef);
    assert_eq!(text(&mut f, b"k"), Some(b"v".to_vec()));
    // A write is a use, one second after the epoch.
    set(&mut f, b"k", b"w");
    assert_eq!(f.free().find(0, b"k").unwrap().clock(), 1);
}

#[test]
fn an_offline_check_finds_damage() {
    use std::io::{Seek, SeekFrom, Write};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pool");
    let options = PoolOptions {
        path: Some(path.clone()),
        size: 16 << 20,
        boot_id: [1; 16],
        seed: [3; 32],
    };
    let (keyspace, report) = Keyspace::open(&options).unwrap();
    assert!(report.created);
    let mut worker = keyspace.worker();
    let guard = keyspace.pin();
    let mut view = keyspace.view(&mut worker, &guard, Access::All, 0);
    for i in 0..100u32 {
        view.set_string(
            0,
            format!("k{i}").as_bytes(),
            b"v",
            StringForm::Auto,
            Ttl::Clear,
        )
        .unwrap();
    }
    view.commit();
    drop((guard, worker));
    keyspace.close().unwrap();
    let report = check(&path, [2; 16]).unwrap();
    assert_eq!((report.keys, report.faults), (100, Vec::new()));
    // The word that names the root array of database 0.
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(12288 + 64)).unwrap();
    file.write_all(&0x7fff_ffff_fff8u64.to_le_bytes()).unwrap();
    drop(file);
    assert_ne!(check(&path, [2; 16]).unwrap().faults, Vec::<String>::new());
}

#[test]
fn a_view_may_lock_more_slots_if_nobody_waits() {
    let mut fixture = Fixture::new();
    let mut other = fixture.keyspace.worker();
    let (a, b) = (key_slot(b"a"), key_slot(b"b"));
    let slots = [a];
    let mut view = fixture.keyspace.view(
        &mut fixture.worker,
        &fixture.guard,
        Access::Slots(&slots),
        1000,
    );
    let set = |view: &mut View<'_>, key: &[u8]| {
        view.set_string(0, key, b"1", StringForm::Auto, Ttl::Clear)
            .unwrap();
    };
    set(&mut view, b"a");
    set(&mut view, b"a");
    {
        let held = [b];
        let _held = fixture
            .keyspace
            .view(&mut other, &fixture.guard, Access::Slots(&held), 1000);
        assert!(!view.try_extend(Some(b)) && !view.covers(b));
        assert!(!view.try_extend(None));
    }
    assert!(view.try_extend(Some(b)) && view.covers(b));
    set(&mut view, b"b");
    assert!(view.try_extend(None));
    view.flush_db(3).unwrap();
    set(&mut view, b"c");
    view.commit();
    assert_eq!(fixture.keyspace.len(0), 3);
    fixture.check();
}

/// A record in the log ring costs stores, but no fence more than the transaction has anyway.
#[test]
fn logging_needs_no_further_fence() {
    use super::super::RingRecord;
    use super::model;
    const OPS: usize = 64;
    let run = |ring: Option<u64>| {
        let sim = crate::pmem::Sim::new(16 << 20, 2);
        let (keyspace, mut worker) = model::open(&sim);
        keyspace.resize_ring(&keyspace.pin(), ring).unwrap();
        let mut set = |count: usize| {
            for _ in 0..count {
                let guard = keyspace.pin();
                let slots = [key_slot(b"key:000000000001")];
                let mut view = keyspace.view(&mut worker, &guard, Access::Slots(&slots), 0);
                let value = b"value-of-16-byte";
                view.set_string(0, b"key:000000000001", value, StringForm::Auto, Ttl::Clear)
                    .unwrap();
                // As long as this SET is in the replication stream.
                view.commit_logged(&RingRecord {
                    enters: 0,
                    bring: b"",
                    body: &[b'x'; 67],
                    leaves: 0,
                });
            }
        };
        set(4);
        let before = sim.tally();
        set(OPS);
        let after = sim.tally();
        [
            after.stores - before.stores,
            after.flushes - before.flushes,
            after.fences - before.fences,
            after.log_bytes - before.log_bytes,
        ]
    };
    let (off, on) = (run(None), run(Some(1 << 20)));
    for (what, i) in [
        ("stores", 0),
        ("flushes", 1),
        ("fences", 2),
        ("log bytes", 3),
    ] {
        let each = |figures: [usize; 4]| figures[i] as f64 / OPS as f64;
        println!(
            "SET of 16 bytes: {what} {:.1} without a ring, {:.1} with",
            each(off),
            each(on)
        );
    }
    assert_eq!(off[2], on[2], "fences");
}
