//! SCAN, RANDOMKEY and the like.

use std::collections::HashSet;

use super::super::{SLOTS, StringForm, Ttl, key_slot};
use super::Fixture;

fn set(f: &mut Fixture, key: &str) {
    f.one(key.as_bytes(), |view| {
        view.set_string(0, key.as_bytes(), b"v", StringForm::Auto, Ttl::Clear)
    })
    .unwrap();
}

fn rng(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }
}

#[test]
fn a_scan_meets_every_key_that_stays_while_tables_grow_and_shrink() {
    let mut f = Fixture::new();
    // One crowded slot, which gets a directory, and many with few keys.
    for i in 0..300 {
        set(&mut f, &format!("{{t}}stay{i}"));
        set(&mut f, &format!("stay{i}"));
    }
    let mut random = rng(5);
    for count in [1, 10, 1000] {
        let (mut cursor, mut met, mut calls) = (0, HashSet::new(), 0);
        loop {
            cursor = f.free().scan(0, cursor, count, &mut |entry| {
                met.insert(entry.key().to_vec());
            });
            calls += 1;
            if cursor == 0 {
                break;
            }
            assert!(cursor < 1 << 62);
            let grow = calls / 40 % 2 == 0;
            for _ in 0..40 {
                let key = format!("{{t}}go{}", random() % 4000);
                if grow {
                    set(&mut f, &key);
                } else {
                    f.one(key.as_bytes(), |view| view.remove(0, key.as_bytes()))
                        .unwrap();
                }
            }
        }
        for i in 0..300 {
            assert!(
                met.contains(format!("{{t}}stay{i}").as_bytes()),
                "{{t}}stay{i} at count {count}"
            );
            assert!(
                met.contains(format!("stay{i}").as_bytes()),
                "stay{i} at count {count}"
            );
        }
    }
    assert_eq!(
        f.free()
            .scan(0, u64::MAX, 10, &mut |_| panic!("a cursor beyond the end")),
        0
    );
    f.check();
}

#[test]
fn a_hash_scan_meets_every_field_that_stays() {
    let mut f = Fixture::new();
    let field = |i: u64| format!("field{i}").into_bytes();
    for i in 0..200 {
        f.one(b"h", |view| view.hash_set(0, b"h", &field(i), b"v"))
            .unwrap();
    }
    let (mut cursor, mut met, mut next) = (0, HashSet::new(), 1000);
    loop {
        let view = f.free();
        let hash = view.hash(0, b"h").unwrap().unwrap();
        cursor = hash.scan(cursor, 10, &mut |field, _| {
            met.insert(field.to_vec());
        });
        drop(view);
        if cursor == 0 {
            break;
        }
        for _ in 0..100 {
            f.one(b"h", |view| view.hash_set(0, b"h", &field(next), b"v"))
                .unwrap();
            next += 1;
        }
    }
    assert!((0..200).all(|i| met.contains(&field(i))));
}

#[test]
fn slots_list_their_keys() {
    let mut f = Fixture::new();
    for i in 0..100 {
        set(&mut f, &format!("{{a}}{i}"));
        set(&mut f, &format!("{{b}}{i}"));
    }
    let mut keys = Vec::new();
    f.free().slot_keys(0, key_slot(b"a"), 1000, &mut |entry| {
        keys.push(entry.key().to_vec())
    });
    assert_eq!(keys.len(), 100);
    assert!(keys.iter().all(|key| key.starts_with(b"{a}")));
    keys.clear();
    f.free().slot_keys(0, key_slot(b"b"), 7, &mut |entry| {
        keys.push(entry.key().to_vec())
    });
    assert_eq!(keys.len(), 7);
    let mut all = 0;
    f.free().for_each(0, &mut |_| all += 1);
    assert_eq!(all, 200);
    assert_eq!(
        (0..SLOTS as u16)
            .map(|slot| f.keyspace.slot_len(0, slot))
            .sum::<u64>(),
        200
    );
}

#[test]
fn random_keys_are_drawn_from_all() {
    let mut f = Fixture::new();
    let mut random = rng(3);
    assert!(f.free().random_key(0, &mut random).is_none());
    for i in 0..50 {
        set(&mut f, &format!("k{i}"));
        set(&mut f, &format!("{{t}}{i}"));
    }
    let mut drawn = std::collections::HashMap::new();
    for _ in 0..20_000 {
        let key = f.free().random_key(0, &mut random).unwrap().key().to_vec();
        *drawn.entry(key).or_insert(0u32) += 1;
    }
    assert_eq!(drawn.len(), 100);
    let chi2: f64 = drawn
        .values()
        .map(|&n| (f64::from(n) - 200.0).powi(2) / 200.0)
        .sum();
    assert!(chi2 < 160.0, "chi square {chi2} with 99 degrees of freedom");
    // All but one have expired.
    for i in 1..50 {
        f.run(|view| view.set_ttl(0, format!("k{i}").as_bytes(), Some(1500)))
            .unwrap();
        f.run(|view| view.set_ttl(0, format!("{{t}}{i}").as_bytes(), Some(1500)))
            .unwrap();
    }
    f.run(|view| view.remove(0, b"{t}0")).unwrap();
    f.now_ms = 2000;
    assert_eq!(f.free().random_key(0, &mut random).unwrap().key(), b"k0");
    // A view that has only its own key.
    f.run(|view| view.flush_all()).unwrap();
    let mut view = f.all();
    view.set_string(0, b"own", b"v", StringForm::Auto, Ttl::Clear)
        .unwrap();
    assert_eq!(view.random_key(0, &mut random).unwrap().key(), b"own");
}
