//! Hashes whose fields expire: what readers see, the index, the cycle, and what goes to the trash.

use std::sync::atomic::Ordering::Relaxed;

use super::super::{
    Encoding, FieldChange, FieldRule, FieldTtl, HashField, Lapsed, StoreError, StringForm, Ttl,
};
use super::Fixture;

const NOW_MS: u64 = 1000;

fn name(i: u32) -> Vec<u8> {
    format!("field-{i}").into_bytes()
}

fn set(f: &mut Fixture, key: &[u8], fields: std::ops::Range<u32>, ttl: FieldTtl) -> usize {
    let names: Vec<_> = fields.map(name).collect();
    let pairs: Vec<_> = names
        .iter()
        .map(|name| (&name[..], &b"value"[..]))
        .collect();
    f.one(key, |view| view.hash_set_timed(0, key, &pairs, ttl))
        .unwrap()
}

fn expire(
    f: &mut Fixture,
    key: &[u8],
    fields: std::ops::Range<u32>,
    ttl_at: Option<u64>,
    rule: FieldRule,
) -> Vec<FieldChange> {
    let names: Vec<_> = fields.map(name).collect();
    let names: Vec<_> = names.iter().map(Vec::as_slice).collect();
    f.one(key, |view| view.hash_expire(0, key, &names, ttl_at, rule))
        .unwrap()
}

/// Runs the cycle; what it removed.
fn cycle(f: &mut Fixture, budget: usize) -> Vec<Lapsed> {
    let mut lapsed = Vec::new();
    f.keyspace
        .expire_fields_step(&mut f.worker, f.now_ms, budget, &mut |view| {
            lapsed.extend(view.lapsed().to_vec());
            view.commit();
        });
    lapsed
}

fn encoding(f: &mut Fixture, key: &[u8]) -> Encoding {
    f.free().find(0, key).unwrap().encoding()
}

/// A small hash and a large one.
const SIZES: [(u32, Encoding); 2] = [(10, Encoding::ListpackEx), (500, Encoding::Hashtable)];

#[test]
fn expired_fields_are_there_for_nobody_but_the_count() {
    for (size, form) in SIZES {
        let mut f = Fixture::new();
        set(&mut f, b"h", 0..size, FieldTtl::Clear);
        let changes = expire(&mut f, b"h", 0..4, Some(2000), FieldRule::Any);
        assert_eq!(changes, [FieldChange::Done; 4]);
        assert_eq!(encoding(&mut f, b"h"), form);
        let seen = |f: &mut Fixture| {
            let mut view = f.all();
            let hash = view.hash(0, b"h").unwrap().unwrap();
            let mut scanned = 0;
            let mut cursor = 0;
            loop {
                cursor = hash.scan(cursor, 10, &mut |_, _| scanned += 1);
                if cursor == 0 {
                    break;
                }
            }
            let drawn = (0..2000)
                .map(|i: u64| hash.random(&mut || i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).0);
            let drawn: std::collections::BTreeSet<_> = drawn.map(<[u8]>::to_vec).collect();
            let found = (
                hash.get(&name(1)) == Some(b"value"),
                hash.ttl_at(&name(1)),
                hash.ttl_at(&name(5)),
                hash.contains(&name(5)),
                hash.len(),
                hash.live_len(),
                hash.iter().count(),
                hash.fields().count(),
                scanned,
                drawn.contains(&name(1)[..]),
            );
            let met = view.take_met_fields();
            assert_eq!(met.len(), usize::from(!found.0));
            assert!(met.iter().all(|met| *met.field == name(1)[..]));
            view.remove(0, b"none").unwrap();
            found
        };
        let (size, n) = (u64::from(size), size as usize);
        f.now_ms = 2000;
        let found = seen(&mut f);
        let before = (
            true,
            Some(Some(2000)),
            Some(None),
            true,
            size,
            size,
            n,
            n,
            n,
            found.9,
        );
        assert_eq!(found, before);
        f.now_ms = 2001;
        let live = n - 4;
        assert_eq!(
            seen(&mut f),
            (
                false,
                None,
                Some(None),
                true,
                size,
                live as u64,
                live,
                n,
                live,
                false
            )
        );
        // Without a lock as well.
        assert_eq!(f.free().hash(0, b"h").unwrap().unwrap().get(&name(0)), None);
        f.check();
    }
}

#[test]
fn writing_a_field_clears_keeps_or_sets_its_expiry() {
    for (size, _) in SIZES {
        let mut f = Fixture::new();
        assert_eq!(
            set(&mut f, b"h", 0..size, FieldTtl::At(5000)),
            size as usize
        );
        assert_eq!(set(&mut f, b"h", 0..1, FieldTtl::Clear), 0);
        assert_eq!(set(&mut f, b"h", 1..2, FieldTtl::Keep), 0);
        assert_eq!(set(&mut f, b"h", 2..3, FieldTtl::At(3000)), 0);
        assert_eq!(set(&mut f, b"h", size..size + 1, FieldTtl::Keep), 1);
        let view = f.free();
        let hash = view.hash(0, b"h").unwrap().unwrap();
        let ttls = [0, 1, 2, 3, size].map(|i| hash.ttl_at(&name(i)).unwrap());
        assert_eq!(ttls, [None, Some(5000), Some(3000), Some(5000), None]);
        drop(view);
        f.check();
        // What has expired but lies there is no new field.
        f.now_ms = 3001;
        assert_eq!(set(&mut f, b"h", 2..3, FieldTtl::Clear), 0);
        assert_eq!(cycle(&mut f, 1000), []);
        f.check();
    }
}

#[test]
fn rules_say_which_expiries_change() {
    for (size, _) in SIZES {
        let mut f = Fixture::new();
        set(&mut f, b"h", 0..size, FieldTtl::Clear);
        set(&mut f, b"h", 1..2, FieldTtl::At(5000));
        use FieldChange::{Absent, Deleted, Done, NoTtl, Refused};
        let pair = |f: &mut Fixture, ttl_at, rule| expire(f, b"h", 0..2, ttl_at, rule);
        assert_eq!(
            pair(&mut f, Some(6000), FieldRule::Present),
            [Refused, Done]
        );
        assert_eq!(pair(&mut f, Some(6000), FieldRule::Later), [Refused; 2]);
        assert_eq!(pair(&mut f, Some(7000), FieldRule::Later), [Refused, Done]);
        assert_eq!(
            pair(&mut f, Some(7000), FieldRule::Earlier),
            [Done, Refused]
        );
        assert_eq!(pair(&mut f, Some(6500), FieldRule::Absent), [Refused; 2]);
        assert_eq!(pair(&mut f, None, FieldRule::Any), [Done; 2]);
        assert_eq!(pair(&mut f, None, FieldRule::Any), [NoTtl; 2]);
        assert_eq!(pair(&mut f, Some(6500), FieldRule::Absent), [Done; 2]);
        // A rule comes before the past.
        assert_eq!(pair(&mut f, Some(10), FieldRule::Absent), [Refused; 2]);
        assert_eq!(pair(&mut f, Some(NOW_MS), FieldRule::Any), [Deleted; 2]);
        assert_eq!(pair(&mut f, Some(6500), FieldRule::Any), [Absent; 2]);
        assert_eq!(
            expire(&mut f, b"none", 0..1, Some(6500), FieldRule::Any),
            [Absent]
        );
        f.check();
        let gone = expire(&mut f, b"h", 0..size, Some(1), FieldRule::Any);
        assert_eq!(
            gone.iter().filter(|change| **change == Deleted).count(),
            size as usize - 2
        );
        assert!(f.free().find(0, b"h").is_none());
        f.check();
    }
}

#[test]
fn a_table_whose_fields_never_expire_is_the_plain_one() {
    let mut f = Fixture::new();
    set(&mut f, b"h", 0..500, FieldTtl::Clear);
    set(&mut f, b"small", 0..5, FieldTtl::Keep);
    let used = f.keyspace.usage().used;
    assert_eq!(
        expire(&mut f, b"h", 600..601, Some(5000), FieldRule::Any),
        [FieldChange::Absent]
    );
    assert_eq!(
        expire(&mut f, b"h", 1..2, Some(5000), FieldRule::Present),
        [FieldChange::Refused]
    );
    assert_eq!(
        expire(&mut f, b"h", 1..2, None, FieldRule::Any),
        [FieldChange::NoTtl]
    );
    assert_eq!(
        expire(&mut f, b"small", 1..2, None, FieldRule::Any),
        [FieldChange::NoTtl]
    );
    assert_eq!(f.keyspace.usage().used, used);
    assert_eq!(encoding(&mut f, b"small"), Encoding::Listpack);
    // Named twice, it is deleted once; and the last field takes the hash along.
    let names = [&name(7)[..], &name(7)[..]];
    let changes = f
        .one(b"h", |view| {
            view.hash_expire(0, b"h", &names, Some(1), FieldRule::Any)
        })
        .unwrap();
    assert_eq!(changes, [FieldChange::Deleted, FieldChange::Absent]);
    expire(&mut f, b"h", 0..500, Some(1), FieldRule::Any);
    assert!(f.free().find(0, b"h").is_none());
    f.check();
}

#[test]
fn the_cycle_removes_what_is_due_and_looks_at_nothing_else() {
    let mut f = Fixture::new();
    set(&mut f, b"small", 0..10, FieldTtl::Clear);
    set(&mut f, b"large", 0..500, FieldTtl::Clear);
    set(&mut f, b"never", 0..500, FieldTtl::Clear);
    set(&mut f, b"whole", 0..300, FieldTtl::At(2500));
    expire(&mut f, b"small", 0..2, Some(2000), FieldRule::Any);
    expire(&mut f, b"small", 2..3, Some(4000), FieldRule::Any);
    expire(&mut f, b"large", 0..100, Some(2000), FieldRule::Any);
    assert_eq!(cycle(&mut f, 1000), []);
    f.now_ms = 2001;
    let lapsed = cycle(&mut f, 1000);
    let mut sizes: Vec<_> = lapsed
        .iter()
        .map(|l| (&*l.key, l.fields.len(), l.key_gone))
        .collect();
    sizes.sort();
    assert_eq!(sizes, [(&b"large"[..], 100, false), (b"small", 2, false)]);
    assert_eq!(cycle(&mut f, 1000), []);
    f.check();
    f.now_ms = 2501;
    // In pieces: a transaction takes so many fields, a step so many more.
    let pieces = cycle(&mut f, 50);
    assert_eq!(pieces[0].fields.len(), 50);
    f.check();
    let rest = cycle(&mut f, 1000);
    assert!(rest.last().unwrap().key_gone);
    assert!(f.free().find(0, b"whole").is_none());
    assert_eq!(f.keyspace.counters().expired_fields, 402);
    // One that was put off is found when it is due, not before.
    expire(&mut f, b"small", 2..3, Some(9000), FieldRule::Any);
    set(&mut f, b"large", 200..210, FieldTtl::At(5000));
    expire(&mut f, b"large", 200..201, Some(6000), FieldRule::Any);
    f.now_ms = 5001;
    assert_eq!(cycle(&mut f, 1000)[0].fields.len(), 9);
    f.now_ms = 6001;
    assert_eq!(cycle(&mut f, 1000)[0].fields.len(), 1);
    assert_eq!(f.free().hash(0, b"small").unwrap().unwrap().len(), 8);
    f.check();
}

#[test]
fn the_cycle_takes_a_key_whose_own_time_has_come() {
    let mut f = Fixture::new();
    set(&mut f, b"h", 0..10, FieldTtl::At(2000));
    f.one(b"h", |view| view.set_ttl(0, b"h", Some(1500)))
        .unwrap();
    f.now_ms = 3000;
    assert_eq!(cycle(&mut f, 100), []);
    assert_eq!(
        (f.keyspace.len(0), f.keyspace.counters().expired_keys),
        (0, 1)
    );
    f.check();
}

#[test]
fn expired_fields_are_removed_by_name() {
    for (size, _) in SIZES {
        let mut f = Fixture::new();
        set(&mut f, b"h", 0..size, FieldTtl::At(2000));
        expire(&mut f, b"h", 0..1, None, FieldRule::Any);
        f.now_ms = 2001;
        let (kept, due) = (name(0), name(1));
        let names = [&kept[..], &due[..], b"never", &due[..]];
        let mut view = f.all();
        assert_eq!(view.hash_lapse(0, b"h", &names), Ok(1));
        assert_eq!(view.lapsed()[0].fields, [due.clone().into_boxed_slice()]);
        // Nobody asked for it: it is no change.
        assert_eq!(view.dirty(), 0);
        view.commit();
        assert_eq!(
            f.run(|view| view.hash_lapse_all(0, b"h")),
            Ok(size as usize - 2)
        );
        assert_eq!(f.free().hash(0, b"h").unwrap().unwrap().len(), 1);
        f.check();
        f.run(|view| view.hash_remove(0, b"h", &[&kept])).unwrap();
        assert!(f.free().find(0, b"h").is_none());
        f.check();
    }
}

#[test]
fn renaming_copying_and_the_keys_expiry_take_the_fields_along() {
    for (size, form) in SIZES {
        let mut f = Fixture::new();
        set(&mut f, b"h", 0..size, FieldTtl::Clear);
        expire(&mut f, b"h", 0..3, Some(2000), FieldRule::Any);
        f.one(b"h", |view| view.set_ttl(0, b"h", Some(9000)))
            .unwrap();
        f.run(|view| view.copy(0, b"h", 3, b"copy")).unwrap();
        f.run(|view| view.rename(0, b"h", 0, b"renamed")).unwrap();
        f.run(|view| view.set_ttl(0, b"renamed", None)).unwrap();
        f.check();
        f.run(|view| view.swap_db(3, 4)).unwrap();
        assert_eq!(encoding(&mut f, b"renamed"), form);
        f.now_ms = 2001;
        let lapsed = cycle(&mut f, 1000);
        let places: Vec<_> = lapsed
            .iter()
            .map(|l| (l.db, &*l.key, l.fields.len()))
            .collect();
        assert_eq!(places, [(0, &b"renamed"[..], 3), (4, b"copy", 3)]);
        f.check();
    }
}

#[test]
fn what_is_flushed_leaves_no_index() {
    let mut f = Fixture::new();
    for i in 0..300u32 {
        let key = format!("{{t}}{i}").into_bytes();
        set(&mut f, &key, 0..3, FieldTtl::At(2000 + u64::from(i)));
    }
    set(&mut f, b"{t}large", 0..300, FieldTtl::At(2000));
    set(&mut f, b"other", 0..300, FieldTtl::At(2000));
    let slot = super::super::key_slot(b"{t}");
    f.run(|view| view.flush_slot(0, slot)).unwrap();
    assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
    while f.keyspace.reap_step(&mut f.worker, 10) {
        assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
    }
    f.now_ms = 2001;
    assert_eq!(cycle(&mut f, 10)[0].key[..], b"other"[..]);
    f.now_ms = 1000;
    for i in 0..300u32 {
        let key = format!("{{t}}{i}").into_bytes();
        set(&mut f, &key, 0..3, FieldTtl::At(2000));
    }
    // Flushed, and written again in the same transaction: its index is new as well.
    let mut view = f.all();
    view.flush_db(0).unwrap();
    view.hash_set_timed(0, b"h", &[(b"f", b"v")], FieldTtl::At(1500))
        .unwrap();
    let savepoint = view.savepoint();
    view.hash_set_timed(0, b"g", &[(b"f", b"v")], FieldTtl::At(1500))
        .unwrap();
    view.rollback_to(savepoint);
    view.commit();
    assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
    while f.keyspace.reap_step(&mut f.worker, 50) {
        assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
    }
    f.now_ms = 1501;
    assert_eq!(cycle(&mut f, 100).len(), 1);
    assert_eq!(f.keyspace.len(0), 0);
    f.check();
}

#[test]
fn loading_takes_expiries_and_thresholds() {
    let mut f = Fixture::new();
    f.keyspace
        .settings()
        .hash_packed_entries_max
        .store(2, Relaxed);
    let field = |name, ttl_at| HashField {
        name,
        value: b"v",
        ttl_at,
    };
    let three = [
        field(b"a", Some(5000)),
        field(b"b", None),
        field(b"c", Some(4000)),
    ];
    f.run(|view| view.set_hash(0, b"large", &three, Ttl::Clear))
        .unwrap();
    f.run(|view| view.set_hash(0, b"small", &three[..2], Ttl::At(9000)))
        .unwrap();
    f.run(|view| view.set_hash(0, b"plain", &three[1..2], Ttl::Clear))
        .unwrap();
    assert_eq!(encoding(&mut f, b"large"), Encoding::Hashtable);
    assert_eq!(encoding(&mut f, b"small"), Encoding::ListpackEx);
    assert_eq!(encoding(&mut f, b"plain"), Encoding::Listpack);
    let view = f.free();
    let hash = view.hash(0, b"large").unwrap().unwrap();
    assert_eq!(hash.ttl_at(b"c"), Some(Some(4000)));
    assert_eq!(hash.expiring_len(), 2);
    drop(view);
    f.check();
    f.run(|view| view.set_string(0, b"s", b"v", StringForm::Auto, Ttl::Clear))
        .unwrap();
    let wrong = Err(StoreError::WrongType);
    let names = [&b"f"[..]];
    assert_eq!(
        f.run(|view| view.hash_expire(0, b"s", &names, Some(5000), FieldRule::Any)),
        wrong
    );
    assert_eq!(
        f.run(|view| view.hash_lapse(0, b"s", &names)),
        Err(StoreError::WrongType)
    );
}
