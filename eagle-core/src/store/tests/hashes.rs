//! Hashes in both forms, and what goes with large ones: trash, renaming, copying.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use super::super::{Encoding, Kind, StoreError, StringForm, Ttl, View};
use super::Fixture;

fn field(i: u32) -> Vec<u8> {
    format!("field-{i}").into_bytes()
}

fn hset(f: &mut Fixture, key: &[u8], fields: impl Iterator<Item = u32>) {
    for i in fields {
        f.one(key, |view| {
            view.hash_set(0, key, &field(i), format!("value-{i}").as_bytes())
        })
        .unwrap();
    }
}

fn pairs(view: &View<'_>, db: u8, key: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    view.hash(db, key)
        .unwrap()
        .map(|hash| {
            hash.iter()
                .map(|(field, value)| (field.to_vec(), value.to_vec()))
                .collect()
        })
        .unwrap_or_default()
}

#[test]
fn a_hash_grows_from_packed_to_table_and_shrinks_to_nothing() {
    let mut f = Fixture::new();
    for i in 0..2000 {
        hset(&mut f, b"h", i..i + 1);
        let view = f.free();
        let hash = view.hash(0, b"h").unwrap().unwrap();
        assert_eq!(hash.len(), u64::from(i) + 1);
        assert_eq!(
            hash.encoding(),
            if i < 128 {
                Encoding::Listpack
            } else {
                Encoding::Hashtable
            }
        );
        if i == 100 {
            // Packed hashes keep the order of insertion.
            let fields: Vec<_> = hash.iter().map(|(field, _)| field.to_vec()).collect();
            assert_eq!(fields, (0..=100).map(field).collect::<Vec<_>>());
        }
    }
    let view = f.free();
    assert_eq!(view.find(0, b"h").unwrap().kind(), Kind::Hash);
    assert_eq!(view.string(0, b"h"), Err(StoreError::WrongType));
    assert!(view.hash(0, b"none").unwrap().is_none());
    assert_eq!(pairs(&view, 0, b"h").len(), 2000);
    drop(view);
    assert_eq!(
        f.run(|view| view.hash_set(0, b"h", &field(7), b"again")),
        Ok(false)
    );
    assert_eq!(
        f.free().hash(0, b"h").unwrap().unwrap().get(&field(7)),
        Some(&b"again"[..])
    );
    f.check();
    for i in 0..2000 {
        let gone = field(i);
        assert_eq!(
            f.one(b"h", |view| view.hash_remove(0, b"h", &[&gone, b"never"])),
            Ok(1)
        );
    }
    assert_eq!(f.keyspace.len(0), 0);
    assert!(f.free().find(0, b"h").is_none());
    f.check();
}

#[test]
fn thresholds_can_be_set() {
    let mut f = Fixture::new();
    f.keyspace
        .settings()
        .hash_packed_value_max
        .store(5, Relaxed);
    f.keyspace
        .settings()
        .hash_packed_entries_max
        .store(2, Relaxed);
    let encoding = |f: &mut Fixture, key: &[u8]| f.free().find(0, key).unwrap().encoding();
    for (key, pairs, expected) in [
        (
            &b"a"[..],
            &[(&b"f"[..], &b"12345"[..])][..],
            Encoding::Listpack,
        ),
        (b"b", &[(b"f", b"123456")], Encoding::Hashtable),
        (
            b"c",
            &[(b"f", b"1"), (b"g", b"2"), (b"f", b"3")],
            Encoding::Listpack,
        ),
        (
            b"d",
            &[(b"f", b"1"), (b"g", b"2"), (b"h", b"3")],
            Encoding::Hashtable,
        ),
    ] {
        f.run(|view| view.hash_set_many(0, key, pairs)).unwrap();
        assert_eq!(encoding(&mut f, key), expected, "{pairs:?}");
    }
    assert_eq!(
        f.free().hash(0, b"c").unwrap().unwrap().get(b"f"),
        Some(&b"3"[..])
    );
    f.run(|view| view.hash_set(0, b"a", b"f", b"longer"))
        .unwrap();
    assert_eq!(encoding(&mut f, b"a"), Encoding::Hashtable);
    f.check();
}

#[test]
fn renaming_and_copying_take_the_value_and_the_expiry_along() {
    let mut f = Fixture::new();
    hset(&mut f, b"small", 0..3);
    hset(&mut f, b"large", 0..500);
    f.run(|view| view.set_string(0, b"text", b"value", StringForm::Auto, Ttl::At(9000)))
        .unwrap();
    f.run(|view| view.set_ttl(0, b"large", Some(8000))).unwrap();
    for (src, ttl) in [
        (&b"small"[..], None),
        (b"large", Some(8000)),
        (b"text", Some(9000)),
    ] {
        let before = if src == b"text" {
            BTreeMap::new()
        } else {
            pairs(&f.free(), 0, src)
        };
        // Onto a large hash, which must go to the trash; then into another database.
        hset(&mut f, b"dst", 0..300);
        assert_eq!(f.run(|view| view.copy(0, src, 0, b"dst")), Ok(true));
        assert_eq!(f.run(|view| view.rename(0, src, 3, b"moved")), Ok(true));
        let view = f.free();
        assert!(view.find(0, src).is_none());
        for (db, key) in [(0, &b"dst"[..]), (3, b"moved")] {
            assert_eq!(view.find(db, key).unwrap().ttl_at(), ttl);
            if src == b"text" {
                assert_eq!(view.string(db, key).unwrap().unwrap().to_vec(), b"value");
            } else {
                assert_eq!(pairs(&view, db, key), before);
            }
        }
        drop(view);
        f.run(|view| view.remove(0, b"dst")).unwrap();
        f.check();
    }
    assert_eq!(f.run(|view| view.rename(0, b"none", 0, b"dst")), Ok(false));
    assert_eq!(f.run(|view| view.copy(0, b"none", 0, b"dst")), Ok(false));
    assert_eq!(
        f.run(|view| view.rename(3, b"moved", 3, b"moved")),
        Ok(true)
    );
    assert_eq!(
        (f.keyspace.len(0), f.keyspace.len(3), f.keyspace.expires(3)),
        (0, 1, 1)
    );
    f.check();
}

#[test]
fn a_copy_is_independent() {
    let mut f = Fixture::new();
    hset(&mut f, b"a", 0..300);
    f.run(|view| view.copy(0, b"a", 1, b"a")).unwrap();
    f.run(|view| view.hash_remove(0, b"a", &[&field(5)]))
        .unwrap();
    f.run(|view| view.hash_set(1, b"a", b"new", b"x")).unwrap();
    let view = f.free();
    assert_eq!(
        (pairs(&view, 0, b"a").len(), pairs(&view, 1, b"a").len()),
        (299, 301)
    );
    drop(view);
    f.check();
}

#[test]
fn large_removals_are_taken_apart_in_steps() {
    let mut f = Fixture::new();
    hset(&mut f, b"h", 0..3000);
    let used = f.keyspace.usage().used;
    assert_eq!(f.run(|view| view.remove(0, b"h")), Ok(true));
    assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
    let mut steps = 0;
    while f.keyspace.reap_step(&mut f.worker, 300) {
        assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
        steps += 1;
    }
    assert!(steps > 5, "{steps}");
    assert!(used - f.keyspace.usage().used > 100_000);
    f.check();
}

#[test]
fn flushing_and_swapping_whole_databases() {
    let mut f = Fixture::new();
    for db in [0, 2] {
        for i in 0..500u32 {
            let key = format!("k{i}-{db}");
            f.one(key.as_bytes(), |view| {
                view.set_string(db, key.as_bytes(), b"v", StringForm::Auto, Ttl::At(5000))
            })
            .unwrap();
        }
    }
    hset(&mut f, b"h", 0..400);
    f.run(|view| view.swap_db(0, 1)).unwrap();
    let lens = |f: &Fixture| [0, 1, 2].map(|db| (f.keyspace.len(db), f.keyspace.expires(db)));
    assert_eq!(lens(&f), [(0, 0), (501, 500), (500, 500)]);
    assert_eq!(pairs(&f.free(), 1, b"h").len(), 400);
    f.check();
    // Flushed, filled again, and all undone.
    let mut view = f.all();
    view.flush_db(1).unwrap();
    view.swap_db(1, 2).unwrap();
    view.set_string(2, b"after", b"v", StringForm::Auto, Ttl::Clear)
        .unwrap();
    view.set_string(3, b"new", b"v", StringForm::Auto, Ttl::Clear)
        .unwrap();
    assert_eq!((view.len(1), view.len(2), view.len(3)), (500, 1, 1));
    assert!(view.find(1, b"k1-2").is_some());
    drop(view);
    assert_eq!(lens(&f), [(0, 0), (501, 500), (500, 500)]);
    f.check();
    f.run(|view| view.flush_db(1)).unwrap();
    assert_eq!(lens(&f), [(0, 0), (0, 0), (500, 500)]);
    assert!(f.free().find(1, b"h").is_none());
    assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
    while f.keyspace.reap_step(&mut f.worker, 100) {
        assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
    }
    f.run(|view| view.flush_all()).unwrap();
    assert_eq!(lens(&f), [(0, 0); 3]);
    f.check();
}

#[test]
fn one_slot_can_be_flushed() {
    let mut f = Fixture::new();
    for i in 0..1000u32 {
        f.one(b"tag", |view| {
            view.set_string(
                0,
                format!("{{tag}}{i}").as_bytes(),
                b"v",
                StringForm::Auto,
                Ttl::Clear,
            )
        })
        .unwrap();
    }
    hset(&mut f, b"{tag}hash", 0..200);
    hset(&mut f, b"other", 0..200);
    let slot = super::super::key_slot(b"tag");
    assert_eq!(f.keyspace.slot_len(0, slot), 1001);
    assert_eq!(f.run(|view| view.flush_slot(0, slot)), Ok(1001));
    assert_eq!(f.run(|view| view.flush_slot(0, slot)), Ok(0));
    assert_eq!((f.keyspace.slot_len(0, slot), f.keyspace.len(0)), (0, 1));
    f.check();
}
