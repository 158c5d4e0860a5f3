//! Strings that are integers: replaced where they stand.

use super::super::dash::Words;
use super::super::{
    Encoding, Keyspace, PoolOptions, StoreError, StringForm, StringValue, Text, Ttl, View, root,
};
use super::Fixture;

fn number(view: &View<'_>, key: &[u8]) -> Option<i64> {
    match view.string(0, key).unwrap()? {
        StringValue::Text(Text::Int(number)) => Some(number),
        other => panic!("not an integer: {other:?}"),
    }
}

/// Byte offset of the blob of a key, which is there.
fn blob_of(f: &mut Fixture, key: &[u8]) -> u64 {
    f.one(key, |view| {
        let place = view.change(|change| Ok(change.place(0, key).here));
        place.unwrap().unwrap().found.record.blob()
    })
}

#[test]
fn an_integer_takes_the_place_of_another_whatever_the_length_of_the_key() {
    let mut f = Fixture::new();
    for len in (0..20).chain([4095, 4096, 5001]) {
        for ttl in [Ttl::Clear, Ttl::At(9000)] {
            let key = vec![b'k'; len];
            f.one(&key, |view| view.set_int(0, &key, 5, ttl).unwrap());
            let at = blob_of(&mut f, &key);
            f.one(&key, |view| {
                view.set_int(0, &key, i64::MIN, Ttl::Keep).unwrap();
                assert_eq!(number(view, &key), Some(i64::MIN), "seen before the commit");
            });
            let next = |old: Option<Text<'_>>| match old {
                Some(Text::Int(old)) => Ok::<_, ()>(old + 1),
                other => panic!("{other:?}"),
            };
            let new = f.one(&key, |view| view.update_int(0, &key, next).unwrap());
            assert_eq!(new, Ok(i64::MIN + 1));
            assert_eq!(number(&f.free(), &key), Some(i64::MIN + 1));
            assert_eq!(blob_of(&mut f, &key), at);
            let wanted = match ttl {
                Ttl::At(at_ms) => Some(at_ms),
                _ => None,
            };
            assert_eq!(f.free().find(0, &key).unwrap().ttl_at(), wanted);
            f.check();
        }
    }
}

#[test]
fn a_change_of_the_expiry_or_the_form_is_a_new_blob() {
    let mut f = Fixture::new();
    let keys = |f: &mut Fixture| (f.keyspace.len(0), f.keyspace.expires(0));
    f.one(b"k", |view| {
        view.set_int(0, b"k", 1, Ttl::At(9000)).unwrap()
    });
    assert_eq!(keys(&mut f), (1, 1));
    f.one(b"k", |view| view.set_int(0, b"k", 2, Ttl::Clear).unwrap());
    assert_eq!(keys(&mut f), (1, 0));
    f.one(b"k", |view| {
        view.set_int(0, b"k", 3, Ttl::At(8000)).unwrap()
    });
    assert_eq!(f.free().find(0, b"k").unwrap().ttl_at(), Some(8000));
    f.one(b"k", |view| {
        view.set_string(0, b"k", b"12345678", StringForm::Plain, Ttl::Keep)
            .unwrap();
    });
    f.one(b"k", |view| view.set_int(0, b"k", 4, Ttl::Keep).unwrap());
    assert_eq!(number(&f.free(), b"k"), Some(4));
    assert_eq!(keys(&mut f), (1, 1));
    f.check();
}

#[test]
fn renamed_and_copied_integers_stay_integers() {
    let mut f = Fixture::new();
    let names = [&b""[..], b"a", b"abc", b"12345678", b"123456789"];
    for from in names {
        for to in names {
            f.run(|view| {
                view.set_int(0, from, 77, Ttl::Clear).unwrap();
                view.copy(0, from, 1, to).unwrap();
                view.rename(0, from, 0, to).unwrap();
                view.set_ttl(0, to, Some(9000)).unwrap();
            });
            let view = f.free();
            assert_eq!(number(&view, to), Some(77));
            let copy = view.string(1, to).unwrap().unwrap();
            assert_eq!(copy, StringValue::Text(Text::Int(77)));
            drop(view);
            f.check();
            f.run(|view| {
                assert!(view.remove(0, to).unwrap() && view.remove(1, to).unwrap());
            });
        }
    }
}

#[test]
fn an_integer_that_comes_to_nothing_is_the_old_one() {
    let mut f = Fixture::new();
    f.one(b"k", |view| view.set_int(0, b"k", 1, Ttl::Clear).unwrap());
    f.one(b"k", |view| {
        view.set_int(0, b"k", 2, Ttl::Clear).unwrap();
        let savepoint = view.savepoint();
        view.set_int(0, b"k", 3, Ttl::Clear).unwrap();
        view.set_int(0, b"k", 4, Ttl::Clear).unwrap();
        view.rollback_to(savepoint);
        assert_eq!(number(view, b"k"), Some(2));
        let refused = view.update_int(0, b"k", |_| Err::<i64, _>("no"));
        assert_eq!(refused, Ok(Err("no")));
    });
    assert_eq!(number(&f.free(), b"k"), Some(2));
    // Never committed.
    f.all().set_int(0, b"k", 9, Ttl::Clear).unwrap();
    assert_eq!(number(&f.free(), b"k"), Some(2));
    f.one(b"l", |view| view.set_add(0, b"l", &[b"m"]).unwrap());
    let wrong = f.one(b"l", |view| view.update_int(0, b"l", |_| Ok::<_, ()>(1)));
    assert_eq!(wrong, Err(StoreError::WrongType));
    f.check();
}

#[test]
fn several_strings_are_set_one_after_the_other() {
    let mut f = Fixture::new();
    f.run(|view| {
        let pairs: [[&[u8]; 2]; 4] = [[b"a", b"1"], [b"b", b"x"], [b"a", b"2"], [b"c", b""]];
        view.set_strings(0, &pairs, StringForm::Auto, Ttl::Clear)
            .unwrap();
        assert_eq!(view.dirty(), 4);
    });
    let view = f.free();
    assert_eq!(number(&view, b"a"), Some(2));
    assert_eq!(view.string(0, b"b").unwrap().unwrap().to_vec(), b"x");
    assert!(view.string(0, b"c").unwrap().unwrap().is_empty());
    drop(view);
    assert_eq!(f.keyspace.len(0), 3);
    f.check();
}

#[test]
fn integers_of_layout_version_1_are_read_and_replaced() {
    let mut f = Fixture::new();
    // Eight bytes behind a key of three: as a string they lie where version 1 had an integer.
    let text = 0x0102_0304_0506_0708i64.to_le_bytes();
    f.one(b"key", |view| {
        view.set_string(0, b"key", &text, StringForm::Plain, Ttl::Clear)
            .unwrap();
    });
    let at = blob_of(&mut f, b"key");
    f.one(b"key", |view| {
        let reader = view.reader();
        let header = reader.load(at);
        reader.store_hint(
            at,
            header & !(7 << 27) | u64::from(Encoding::Int.code()) << 27,
        );
    });
    assert_eq!(number(&f.free(), b"key"), Some(0x0102_0304_0506_0708));
    f.check();
    f.one(b"key", |view| view.copy(0, b"key", 1, b"key").unwrap());
    f.one(b"key", |view| {
        view.set_int(0, b"key", 6, Ttl::Keep).unwrap()
    });
    assert_ne!(blob_of(&mut f, b"key"), at);
    assert_eq!(number(&f.free(), b"key"), Some(6));
    let copy = f.free().string(1, b"key").unwrap().unwrap().to_vec();
    assert_eq!(copy, b"72623859790382856");
    f.check();
}

#[test]
fn a_pool_of_an_older_layout_version_becomes_one_of_the_present() {
    let directory = tempfile::tempdir().unwrap();
    let options = PoolOptions {
        path: Some(directory.path().join("pool")),
        ..PoolOptions::in_memory(64 << 20)
    };
    let version = |keyspace: &Keyspace| {
        let guard = keyspace.pin();
        keyspace.reader(&guard).load(keyspace.root())
    };
    for older in root::VERSION_MIN..root::VERSION {
        let (keyspace, _) = Keyspace::open(&options).unwrap();
        assert_eq!(version(&keyspace), root::VERSION);
        let guard = keyspace.pin();
        keyspace.reader(&guard).store_hint(keyspace.root(), older);
        drop(guard);
        keyspace.close().unwrap();
    }
    let (keyspace, _) = Keyspace::open(&options).unwrap();
    assert_eq!(version(&keyspace), root::VERSION);
    keyspace.close().unwrap();
}
