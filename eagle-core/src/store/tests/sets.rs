//! Sets in both forms, their algebra, and draws.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;

use super::super::set_algebra::{difference, intersection, union};
use super::super::{Encoding, Kind, StoreError, Text, Ttl, View};
use super::Fixture;

fn add(f: &mut Fixture, key: &[u8], members: &[&str]) -> usize {
    let members: Vec<&[u8]> = members.iter().map(|member| member.as_bytes()).collect();
    f.one(key, |view| view.set_add(0, key, &members)).unwrap()
}

fn remove(f: &mut Fixture, key: &[u8], members: &[&str]) -> usize {
    let members: Vec<&[u8]> = members.iter().map(|member| member.as_bytes()).collect();
    f.one(key, |view| view.set_remove(0, key, &members))
        .unwrap()
}

fn members(view: &View<'_>, key: &[u8]) -> BTreeSet<Vec<u8>> {
    let set = view.set(0, key).unwrap();
    set.iter()
        .flat_map(|set| set.iter())
        .map(|member| member.to_vec())
        .collect()
}

fn encoding(f: &mut Fixture, key: &[u8]) -> Encoding {
    f.free().find(0, key).unwrap().encoding()
}

#[test]
fn integers_stay_an_intset_until_there_are_too_many_or_one_is_none() {
    let mut f = Fixture::new();
    assert_eq!(
        add(&mut f, b"s", &["3", "-1", "3", "9223372036854775807"]),
        3
    );
    assert_eq!(add(&mut f, b"s", &["3"]), 0);
    assert_eq!(encoding(&mut f, b"s"), Encoding::Intset);
    let ordered: Vec<_> = f.free().set(0, b"s").unwrap().unwrap().iter().collect();
    assert_eq!(ordered, [-1, 3, i64::MAX].map(Text::Int));
    assert_eq!(remove(&mut f, b"s", &["3", "x", "03"]), 1);
    assert_eq!(
        add(&mut f, b"s", &["03"]),
        1,
        "not canonical, so no integer"
    );
    assert_eq!(encoding(&mut f, b"s"), Encoding::Hashtable);
    assert_eq!(remove(&mut f, b"s", &["03"]), 1);
    assert_eq!(encoding(&mut f, b"s"), Encoding::Hashtable, "no way back");
    let view = f.free();
    let set = view.set(0, b"s").unwrap().unwrap();
    assert_eq!(
        set.contains_each(&[b"-1", b"3", b"x"]),
        [true, false, false]
    );
    assert_eq!(view.find(0, b"s").unwrap().kind(), Kind::Set);
    assert!(matches!(view.hash(0, b"s"), Err(StoreError::WrongType)));
    drop(view);
    f.check();

    f.keyspace
        .settings()
        .set_intset_entries_max
        .store(3, Relaxed);
    assert_eq!(add(&mut f, b"t", &["1", "2", "3"]), 3);
    assert_eq!(add(&mut f, b"t", &["3", "2"]), 0);
    assert_eq!(encoding(&mut f, b"t"), Encoding::Intset);
    assert_eq!(add(&mut f, b"t", &["4", "2"]), 1);
    assert_eq!(encoding(&mut f, b"t"), Encoding::Hashtable);
    assert_eq!(members(&f.free(), b"t").len(), 4);
    assert_eq!(remove(&mut f, b"t", &["1", "2", "3", "4", "5"]), 4);
    assert!(f.free().find(0, b"t").is_none());
    assert_eq!(remove(&mut f, b"t", &["1"]), 0);
    f.check();
}

/// On both sides of the lengths at which a member's blob takes another header or another block.
#[test]
fn members_of_all_lengths_come_back() {
    let mut f = Fixture::new();
    let name = |len: usize| "x".repeat(len);
    let lengths = || (0..40).chain([254, 255, 256, 257, 1000, 70_000]);
    for len in lengths() {
        assert_eq!(add(&mut f, b"s", &[&name(len), &name(len)]), 1, "{len}");
    }
    assert_eq!(encoding(&mut f, b"s"), Encoding::Hashtable);
    let expected: BTreeSet<Vec<u8>> = lengths().map(|len| name(len).into_bytes()).collect();
    assert_eq!(members(&f.free(), b"s"), expected);
    f.check();
    f.run(|view| view.copy(0, b"s", 0, b"t").map(drop)).unwrap();
    for len in lengths() {
        assert_eq!(remove(&mut f, b"s", &[&name(len)]), 1, "{len}");
    }
    assert!(f.free().find(0, b"s").is_none());
    assert_eq!(members(&f.free(), b"t"), expected);
    f.check();
}

/// A member of so many bytes has a block of the next multiple of eight, with one byte for its length.
#[test]
fn a_short_member_costs_a_byte_more_than_its_name() {
    let mut f = Fixture::new();
    add(&mut f, b"s", &["first"]);
    for (len, block) in [(7, 8), (8, 16), (15, 16), (23, 24), (255, 256), (256, 288)] {
        let before = f.keyspace.usage().used;
        add(&mut f, b"s", &[&"x".repeat(len)]);
        assert_eq!(f.keyspace.usage().used - before, block, "{len}");
    }
}

#[test]
fn what_replaces_a_set_takes_the_form_that_fits() {
    let mut f = Fixture::new();
    for i in 0..1000 {
        add(&mut f, b"s", &[&format!("m{i}")]);
    }
    f.run(|view| view.set_ttl(0, b"s", Some(5000))).unwrap();
    let texts = [Text::Bytes(b"5"), Text::Int(7)];
    f.run(|view| view.set_set(0, b"s", &texts, Ttl::Keep))
        .unwrap();
    assert_eq!(encoding(&mut f, b"s"), Encoding::Intset);
    assert_eq!(f.free().find(0, b"s").unwrap().ttl_at(), Some(5000));
    assert_eq!(
        members(&f.free(), b"s"),
        [b"5".to_vec(), b"7".to_vec()].into()
    );
    let texts = [Text::Int(7), Text::Bytes(b"x")];
    f.run(|view| view.set_set(0, b"s", &texts, Ttl::Clear))
        .unwrap();
    assert_eq!(encoding(&mut f, b"s"), Encoding::Hashtable);
    assert_eq!(f.free().set(0, b"s").unwrap().unwrap().len(), 2);
    f.run(|view| view.copy(0, b"s", 2, b"copy")).unwrap();
    f.run(|view| view.set_set(0, b"s", &[], Ttl::Clear))
        .unwrap();
    assert_eq!((f.keyspace.len(0), f.keyspace.len(2)), (0, 1));
    f.check();
}

#[test]
fn a_table_takes_at_most_forty_bytes_a_member() {
    let mut f = Fixture::new();
    let names: Vec<String> = (0..100_000).map(|i| format!("member:{i}")).collect();
    let texts: Vec<Text<'_>> = names
        .iter()
        .map(|name| Text::Bytes(name.as_bytes()))
        .collect();
    let before = f.keyspace.usage().used;
    f.run(|view| view.set_set(0, b"s", &texts, Ttl::Clear))
        .unwrap();
    let each = (f.keyspace.usage().used - before) as f64 / names.len() as f64;
    assert!(each < 40.0, "{each} bytes a member");
}

#[test]
fn a_set_scan_meets_every_member_that_stays() {
    let mut f = Fixture::new();
    let stay: Vec<String> = (0..200).map(|i| format!("stay{i}")).collect();
    stay.iter()
        .for_each(|member| assert_eq!(add(&mut f, b"s", &[member]), 1));
    let (mut cursor, mut met, mut next) = (0, HashSet::new(), 0);
    loop {
        let view = f.free();
        let set = view.set(0, b"s").unwrap().unwrap();
        cursor = set.scan(cursor, 10, &mut |member| {
            met.insert(member.to_vec());
        });
        drop(view);
        if cursor == 0 {
            break;
        }
        for _ in 0..100 {
            add(&mut f, b"s", &[&format!("go{next}")]);
            next += 1;
        }
    }
    assert!(stay.iter().all(|member| met.contains(member.as_bytes())));
}

#[test]
fn draws_are_uniform_in_both_forms() {
    let mut f = Fixture::new();
    for prefix in ["", "m"] {
        let key = format!("key{prefix}");
        for i in 0..100 {
            add(&mut f, key.as_bytes(), &[&format!("{prefix}{i}")]);
        }
        let mut state = 7u64;
        let mut rng = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state ^ state >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ state >> 32
        };
        let view = f.all();
        let set = view.set(0, key.as_bytes()).unwrap().unwrap();
        let mut drawn = HashMap::new();
        for _ in 0..20_000 {
            *drawn.entry(set.random(&mut rng).to_vec()).or_insert(0u32) += 1;
        }
        assert_eq!(drawn.len(), 100);
        let chi2: f64 = drawn
            .values()
            .map(|&n| (f64::from(n) - 200.0).powi(2) / 200.0)
            .sum();
        assert!(chi2 < 160.0, "chi square {chi2} with 99 degrees of freedom");
    }
}

#[test]
fn algebra_agrees_with_that_of_plain_sets() {
    let mut f = Fixture::new();
    let ranges = [0..40, 20..60, 0..5, 30..31, 100..140, 0..0];
    let name = |form: &str, i: usize| format!("{form}{i}").into_bytes();
    let mut model = Vec::new();
    for (i, range) in ranges.iter().enumerate() {
        model.push(range.clone().map(i64::from).collect::<BTreeSet<i64>>());
        for number in range.clone() {
            add(&mut f, &name("int", i), &[&number.to_string()]);
            add(&mut f, &name("table", i), &["x", &number.to_string()]);
        }
        // The same integers in a table.
        remove(&mut f, &name("table", i), &["x"]);
    }
    let view = f.all();
    for first in 0..ranges.len() {
        for second in 0..ranges.len() {
            for third in 0..ranges.len() {
                let (names, which) = (["int", "table", "int"], [first, second, third]);
                let keys: Vec<_> = names
                    .iter()
                    .zip(which)
                    .map(|(form, i)| name(form, i))
                    .collect();
                let sets: Vec<_> = keys.iter().map(|key| view.set(0, key).unwrap()).collect();
                let [a, b, c] = which.map(|i| &model[i]);
                let ints = |members: Vec<Text<'_>>| -> Vec<i64> {
                    members
                        .iter()
                        .map(|member| member.integer().unwrap())
                        .collect()
                };
                let expected: Vec<i64> = a
                    .iter()
                    .copied()
                    .filter(|m| b.contains(m) && c.contains(m))
                    .collect();
                let mut found = Vec::new();
                intersection(&sets, usize::MAX, &mut |member| found.push(member));
                let mut found = ints(found);
                found.sort_unstable();
                assert_eq!(found, expected, "{which:?}");
                let mut some = 0;
                intersection(&sets, 3, &mut |_| some += 1);
                assert_eq!(some, expected.len().min(3));
                let all: BTreeSet<i64> = a.iter().chain(b).chain(c).copied().collect();
                let all = Vec::from_iter(all);
                assert_eq!(ints(union(&sets, 512)), all, "{which:?}");
                // With so many that members are remembered; and larger than an intset.
                assert_eq!(ints(union(&sets.repeat(3), 512)), all, "{which:?}");
                let mut unsorted = ints(union(&sets, 0));
                unsorted.sort_unstable();
                assert_eq!(unsorted, all, "{which:?}");
                let left: Vec<i64> = a
                    .iter()
                    .copied()
                    .filter(|m| !b.contains(m) && !c.contains(m))
                    .collect();
                assert_eq!(ints(difference(&sets, 512)), left, "{which:?}");
            }
        }
    }
    assert_eq!(union(&[], 512), []);
    assert_eq!(difference(&[None, view.set(0, b"int0").unwrap()], 512), []);
}
