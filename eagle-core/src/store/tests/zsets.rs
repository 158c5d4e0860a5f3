//! Sorted sets in both forms against plain models.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;

use super::super::{
    AddRule, Added, Encoding, LexBound, LexRange, RemovedMembers, ScoreRange, StoreError, Ttl, View,
};
use super::Fixture;

/// A change of one sorted set. Members are numbers; their scores follow from the salt, with many ties.
#[derive(Clone, Debug)]
pub(super) enum ZsetOp {
    Add { members: Range<u8>, salt: u8 },
    Remove { members: Range<u8> },
    RemoveRanks { ranks: Range<u8> },
    Put { members: Range<u8>, ttl: Ttl },
    Unpack,
}

fn name(member: u8) -> Vec<u8> {
    format!("member-{member}").into_bytes()
}

fn score(member: u8, salt: u8) -> f64 {
    f64::from((i32::from(member) * 37 + i32::from(salt)) % 23 - 11) / 2.0
}

fn scored(members: &Range<u8>, salt: u8) -> Vec<(Vec<u8>, f64)> {
    members
        .clone()
        .map(|member| (name(member), score(member, salt)))
        .collect()
}

fn borrowed(members: &[(Vec<u8>, f64)]) -> Vec<(&[u8], f64)> {
    members
        .iter()
        .map(|(name, score)| (&name[..], *score))
        .collect()
}

/// Members in order.
fn in_order(zset: &BTreeMap<Vec<u8>, u64>) -> Vec<(Vec<u8>, f64)> {
    let mut members: Vec<(Vec<u8>, f64)> = zset
        .iter()
        .map(|(name, bits)| (name.clone(), f64::from_bits(*bits)))
        .collect();
    members.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    members
}

impl ZsetOp {
    pub(super) fn ttl(&self) -> Ttl {
        match self {
            ZsetOp::Put { ttl, .. } => *ttl,
            _ => Ttl::Keep,
        }
    }

    pub(super) fn replaces(&self) -> bool {
        matches!(self, ZsetOp::Put { .. })
    }

    pub(super) fn run(&self, view: &mut View<'_>, db: u8, key: &[u8]) -> Result<(), StoreError> {
        match self {
            ZsetOp::Add { members, salt } => {
                let members = scored(members, *salt);
                view.zset_add(db, key, &borrowed(&members), AddRule::default())
                    .map(drop)
            }
            ZsetOp::Remove { members } => {
                let names: Vec<Vec<u8>> = members.clone().map(name).collect();
                let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
                view.zset_remove(db, key, &names).map(drop)
            }
            ZsetOp::RemoveRanks { ranks } => {
                let ranks = u64::from(ranks.start)..u64::from(ranks.end);
                view.zset_remove_ranks(db, key, ranks).map(drop)
            }
            ZsetOp::Put { members, ttl } => {
                let members = scored(members, 0);
                view.set_zset(db, key, &borrowed(&members), *ttl)
            }
            ZsetOp::Unpack => view.unpack_zset(db, key),
        }
    }

    /// What the operation makes of a sorted set.
    pub(super) fn apply(
        &self,
        old: Option<BTreeMap<Vec<u8>, u64>>,
    ) -> Option<BTreeMap<Vec<u8>, u64>> {
        let mut zset = old.unwrap_or_default();
        let bits = |(name, score): (Vec<u8>, f64)| (name, score.to_bits());
        match self {
            ZsetOp::Add { members, salt } => {
                zset.extend(scored(members, *salt).into_iter().map(bits));
            }
            ZsetOp::Remove { members } => {
                members
                    .clone()
                    .for_each(|member| zset.retain(|known, _| *known != name(member)));
            }
            ZsetOp::RemoveRanks { ranks } => {
                let order = in_order(&zset);
                let ranks = usize::from(ranks.start)..usize::from(ranks.end).min(order.len());
                for (name, _) in order.get(ranks).unwrap_or_default() {
                    zset.remove(name);
                }
            }
            ZsetOp::Put { members, .. } => {
                zset = scored(members, 0).into_iter().map(bits).collect();
            }
            ZsetOp::Unpack => {}
        }
        (!zset.is_empty()).then_some(zset)
    }
}

pub(super) fn op() -> impl Strategy<Value = ZsetOp> {
    let members = || (0..60u8, 1..80u8).prop_map(|(first, count)| first..first + count);
    let ttl = prop_oneof![
        Just(Ttl::Keep),
        Just(Ttl::Clear),
        (1000..3000u64).prop_map(Ttl::At)
    ];
    prop_oneof![
        6 => (members(), any::<u8>()).prop_map(|(members, salt)| ZsetOp::Add { members, salt }),
        3 => members().prop_map(|members| ZsetOp::Remove { members }),
        2 => members().prop_map(|ranks| ZsetOp::RemoveRanks { ranks }),
        1 => (members(), ttl).prop_map(|(members, ttl)| ZsetOp::Put { members, ttl }),
        1 => Just(ZsetOp::Unpack),
    ]
}

/// All members and scores, read in all ways there are.
pub(super) fn contents(view: &View<'_>, db: u8, key: &[u8]) -> BTreeMap<Vec<u8>, u64> {
    let zset = view.zset(db, key).unwrap().unwrap();
    let members: Vec<_> = zset.iter().collect();
    assert_eq!(zset.len(), members.len() as u64);
    for (rank, (name, score)) in members.iter().enumerate() {
        assert_eq!(zset.score(name), Some(*score));
        assert_eq!(zset.rank(name), Some(rank as u64));
    }
    let mut back: Vec<_> = zset.range(0..u64::MAX, true).collect();
    back.reverse();
    assert_eq!(back, members);
    let mut scanned = HashSet::new();
    let mut cursor = 0;
    loop {
        cursor = zset.scan(cursor, 3, &mut |name, _| {
            scanned.insert(name.to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned.len(), members.len());
    let map: BTreeMap<Vec<u8>, u64> = members
        .iter()
        .map(|(name, score)| (name.to_vec(), score.to_bits()))
        .collect();
    let order = in_order(&map);
    assert_eq!(borrowed(&order), members);
    map
}

fn add(f: &mut Fixture, members: &[(&str, f64)], rule: AddRule) -> Added {
    let members: Vec<(&[u8], f64)> = members.iter().map(|(m, s)| (m.as_bytes(), *s)).collect();
    f.one(b"z", |view| view.zset_add(0, b"z", &members, rule))
        .unwrap()
}

#[test]
fn a_sorted_set_grows_from_packed_to_tree_and_shrinks_to_nothing() {
    let mut f = Fixture::new();
    for i in 0..3000u32 {
        let member = format!("m{}", i * 7919 % 3000);
        let done = add(&mut f, &[(&member, f64::from(i % 100))], AddRule::default());
        assert_eq!((done.added, done.updated), (1, 0));
        let view = f.free();
        let zset = view.zset(0, b"z").unwrap().unwrap();
        assert_eq!(zset.len(), u64::from(i) + 1);
        assert_eq!(zset.score(member.as_bytes()), Some(f64::from(i % 100)));
        let expected = if i < 128 {
            Encoding::Listpack
        } else {
            Encoding::Skiplist
        };
        assert_eq!(zset.encoding(), expected);
    }
    let view = f.all();
    assert_eq!(contents(&view, 0, b"z").len(), 3000);
    assert_eq!(view.string(0, b"z"), Err(StoreError::WrongType));
    assert_eq!(view.hash(0, b"z").err(), Some(StoreError::WrongType));
    drop(view);
    f.check();
    let done = f.one(b"z", |view| view.zset_remove_ranks(0, b"z", 100..2900));
    assert_eq!(
        done,
        Ok(RemovedMembers {
            count: 2800,
            key_gone: false
        })
    );
    assert_eq!(contents(&f.all(), 0, b"z").len(), 200);
    f.check();
    let names: Vec<Vec<u8>> = contents(&f.all(), 0, b"z").into_keys().collect();
    for (i, name) in names.iter().enumerate() {
        let done = f.one(b"z", |view| view.zset_remove(0, b"z", &[name, b"never"]));
        assert_eq!(
            done,
            Ok(RemovedMembers {
                count: 1,
                key_gone: i == 199
            })
        );
    }
    assert!(f.free().find(0, b"z").is_none());
    f.check();
}

#[test]
fn an_unpacked_sorted_set_is_the_same_and_stays_so() {
    let mut f = Fixture::new();
    f.keyspace.watchers().fetch_add(1, Relaxed);
    let members = [("a", 2.0), ("b", 1.0), ("c", 1.0)];
    add(&mut f, &members, AddRule::default());
    let before = contents(&f.all(), 0, b"z");
    for _ in 0..2 {
        let (dirty, touched) = f.one(b"z", |view| {
            view.unpack_zset(0, b"z").unwrap();
            (view.dirty(), view.touched().len())
        });
        assert_eq!((dirty, touched), (0, 0), "nobody is told of it");
        assert_eq!(contents(&f.all(), 0, b"z"), before);
        f.check();
    }
    f.one(b"z", |view| view.zset_remove(0, b"z", &[b"a"]))
        .unwrap();
    let view = f.all();
    let encoding = view.zset(0, b"z").unwrap().unwrap().encoding();
    assert_eq!(encoding, Encoding::Skiplist);
    drop(view);
    f.one(b"none", |view| view.unpack_zset(0, b"none")).unwrap();
    let wrong = f.one(b"s", |view| {
        view.set_list(0, b"s", &[b"x"], Ttl::Clear).unwrap();
        view.unpack_zset(0, b"s")
    });
    assert_eq!(wrong, Err(StoreError::WrongType));
    f.check();
}

#[test]
fn rules_decide_what_an_addition_does() {
    for large in [false, true] {
        let mut f = Fixture::new();
        if large {
            f.keyspace
                .settings()
                .zset_packed_entries_max
                .store(0, Relaxed);
        }
        let rule = AddRule::default();
        let with = |set: fn(&mut AddRule)| {
            let mut rule = AddRule::default();
            set(&mut rule);
            rule
        };
        let nothing = Added::default();
        assert_eq!(
            add(&mut f, &[("a", 1.0)], with(|r| r.present = true)),
            nothing
        );
        assert!(f.free().find(0, b"z").is_none());
        let done = add(&mut f, &[("a", 1.0), ("b", 2.0), ("a", 3.0)], rule);
        assert_eq!((done.added, done.updated, done.score), (2, 1, Some(3.0)));
        assert_eq!(
            add(&mut f, &[("a", 9.0)], with(|r| r.absent = true)),
            nothing
        );
        assert_eq!(
            add(&mut f, &[("a", 2.0)], with(|r| r.greater = true)),
            nothing
        );
        assert_eq!(add(&mut f, &[("a", 4.0)], with(|r| r.less = true)), nothing);
        let done = add(&mut f, &[("a", 4.0)], with(|r| r.greater = true));
        assert_eq!((done.updated, done.score), (1, Some(4.0)));
        let done = add(&mut f, &[("a", -1.5)], with(|r| r.increment = true));
        assert_eq!((done.updated, done.score), (1, Some(2.5)));
        let done = add(&mut f, &[("a", 2.5)], rule);
        assert!(!done.changed() && done.score == Some(2.5));
        add(&mut f, &[("a", f64::INFINITY), ("zero", -0.0)], rule);
        let done = add(
            &mut f,
            &[("a", f64::NEG_INFINITY)],
            with(|r| r.increment = true),
        );
        assert!(done.not_a_number && !done.changed());
        let view = f.all();
        let zset = view.zset(0, b"z").unwrap().unwrap();
        // The packed form does not keep the sign.
        let zero: f64 = if large { -0.0 } else { 0.0 };
        assert_eq!(zset.score(b"zero").map(f64::to_bits), Some(zero.to_bits()));
        assert_eq!(contents(&view, 0, b"z").len(), 3);
        drop(view);
        f.check();
    }
}

#[test]
fn ranges_by_score_and_by_bytes() {
    for large in [false, true] {
        let mut f = Fixture::new();
        if large {
            f.keyspace
                .settings()
                .zset_packed_entries_max
                .store(0, Relaxed);
        }
        let members: Vec<(String, f64)> = (0..100)
            .map(|i| (format!("{i:02}"), f64::from(i / 10)))
            .collect();
        let members: Vec<(&str, f64)> = members.iter().map(|(m, s)| (m.as_str(), *s)).collect();
        add(&mut f, &members, AddRule::default());
        let view = f.all();
        let zset = view.zset(0, b"z").unwrap().unwrap();
        let range = |min, min_open, max, max_open| {
            zset.ranks_by_score(&ScoreRange {
                min,
                min_open,
                max,
                max_open,
            })
        };
        assert_eq!(zset.ranks_by_score(&ScoreRange::ALL), 0..100);
        assert_eq!(range(2.0, false, 4.0, false), 20..50);
        assert_eq!(range(2.0, true, 4.0, true), 30..40);
        assert_eq!(range(2.5, false, f64::INFINITY, false), 30..100);
        assert!(range(5.0, false, 4.0, false).is_empty());
        assert!(range(4.0, true, 4.0, false).is_empty());
        assert!(range(100.0, false, 200.0, false).is_empty());
        // Names grow with the scores, so that all ends make sense.
        let lex = |min, max, from_end| zset.ranks_by_lex(&LexRange { min, max }, from_end);
        use LexBound::{Excluded, Highest, Included, Lowest};
        for from_end in [false, true] {
            assert_eq!(lex(Lowest, Highest, from_end), 0..100);
            assert_eq!(lex(Included(b"10"), Included(b"20"), from_end), 10..21);
            assert_eq!(lex(Excluded(b"10"), Excluded(b"20"), from_end), 11..20);
            assert_eq!(lex(Lowest, Excluded(b"05x"), from_end), 0..6);
            assert!(lex(Highest, Lowest, from_end).is_empty());
            assert!(lex(Included(b"7"), Included(b"70"), from_end).eq(70..71));
            assert!(lex(Excluded(b"70"), Included(b"70"), from_end).is_empty());
            assert!(lex(Included(b"x"), Highest, from_end).is_empty());
        }
        let names: Vec<&[u8]> = zset.range(3..6, true).map(|(name, _)| name).collect();
        assert_eq!(names, [b"05", b"04", b"03"]);
        let mut seed = 7u64;
        let mut met = HashSet::new();
        for _ in 0..2000 {
            let (name, score) = zset.random(&mut || {
                seed = seed
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                seed ^ seed >> 31
            });
            assert_eq!(zset.score(name), Some(score));
            met.insert(name.to_vec());
        }
        assert_eq!(met.len(), 100);
    }
}

/// Bytes that a member takes all in all; the figure to keep is 70 for names of a dozen bytes.
#[test]
fn a_large_sorted_set_is_compact() {
    const MEMBERS: u32 = 50_000;
    let mut f = Fixture::new();
    for i in 0..MEMBERS {
        let member = format!("member:{}", 100_000 + i);
        add(
            &mut f,
            &[(&member, f64::from(i.wrapping_mul(2_654_435_761) >> 8))],
            AddRule::default(),
        );
    }
    while f.keyspace.reap_step(&mut f.worker, 1000) {}
    let bytes = f.keyspace.check().bytes - super::super::root::ARRAY_BYTES as u64;
    assert!(
        bytes < 70 * u64::from(MEMBERS),
        "{} bytes a member",
        bytes / u64::from(MEMBERS)
    );
}
