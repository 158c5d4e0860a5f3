//! Long strings whose parts change: against a plain vector, beside readers without locks, in the trash.
//!
//! Chunks have 64 bytes in tests, and strings of 96 are large.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use proptest::prelude::*;

use super::super::{Access, Encoding, Kind, Piece, StoreError, StringForm, Ttl, View, key_slot};
use super::Fixture;

fn whole(view: &View<'_>, key: &[u8]) -> Vec<u8> {
    view.string(0, key).unwrap().unwrap().into_vec()
}

#[test]
fn a_part_that_changes_makes_a_long_string_large() {
    let mut f = Fixture::new();
    let long = vec![b'v'; 1000];
    f.one(b"k", |view| {
        view.set_string(0, b"k", &long, StringForm::Auto, Ttl::At(9000))
            .unwrap();
    });
    let in_one_piece = |view: View<'_>| {
        view.with_string(0, b"k", |string| string.text().is_some())
            .unwrap()
            .unwrap()
    };
    assert!(in_one_piece(f.free()));
    let len = f.one(b"k", |view| {
        view.write_string(0, b"k", 500, b"xyz").unwrap()
    });
    assert_eq!(len, 1000);
    assert!(!in_one_piece(f.free()));
    let mut expected = long;
    patch(&mut expected, 500, b"xyz");
    let view = f.free();
    assert_eq!(whole(&view, b"k"), expected);
    let entry = view.find(0, b"k").unwrap();
    assert_eq!(
        (entry.kind(), entry.encoding()),
        (Kind::String, Encoding::Raw)
    );
    assert_eq!(entry.ttl_at(), Some(9000));
    drop(view);
    f.one(b"k", |view| {
        view.set_string(0, b"k", b"short", StringForm::Auto, Ttl::Clear)
            .unwrap();
    });
    assert_eq!(whole(&f.free(), b"k"), b"short");
    f.check();
}

#[test]
fn holes_take_no_memory() {
    let mut f = Fixture::new();
    // The database's array of slots.
    f.one(b"k", |view| view.write_string(0, b"k", 0, b"x").unwrap());
    f.one(b"k", |view| view.remove(0, b"k").unwrap());
    let before = f.keyspace.usage().used;
    f.one(b"k", |view| {
        view.write_string(0, b"k", 1 << 20, b"x").unwrap();
    });
    let taken = f.keyspace.usage().used - before;
    // The directory, most of all.
    assert!(taken < (1 << 20) / 4, "{taken}");
    let view = f.free();
    let mut zeros = 0;
    let mut bytes = Vec::new();
    view.with_string(0, b"k", |string| {
        assert_eq!(string.len(), (1 << 20) + 1);
        string.pieces(0..u64::MAX, &mut |piece| match piece {
            Piece::Zeros(len) => zeros += len,
            Piece::Bytes(piece) => bytes.extend_from_slice(piece),
        });
    })
    .unwrap();
    assert_eq!((zeros, bytes), (1 << 20, b"x".to_vec()));
    assert_eq!(view.string_byte(0, b"k", 5000).unwrap(), Some(0));
    assert_eq!(view.string_byte(0, b"k", 1 << 20).unwrap(), Some(b'x'));
    assert_eq!(view.string_byte(0, b"k", 1 << 30).unwrap(), Some(0));
    drop(view);
    // Zeros into a hole fill nothing.
    f.one(b"k", |view| {
        view.write_string(0, b"k", 5000, &[0; 500]).unwrap();
    });
    assert_eq!(f.keyspace.usage().used - before, taken);
    f.check();
}

#[test]
fn appending_costs_what_is_appended() {
    let mut f = Fixture::new();
    let mut model = Vec::new();
    for round in 0..3000u32 {
        let bytes = vec![round as u8; (round % 7) as usize];
        f.one(b"k", |view| {
            let len = view.string_len(0, b"k").unwrap().unwrap_or(0);
            view.write_string(0, b"k", len, &bytes).unwrap();
        });
        model.extend_from_slice(&bytes);
    }
    assert_eq!(whole(&f.free(), b"k"), model);
    // No more than half of the directory is spare, and one chunk.
    let most = model.len() as u64 + model.len() as u64 / 64 * 16 + 1000;
    let mut used = 0;
    f.one(b"k", |view| used = view.string_bytes(0, b"k").unwrap());
    assert!(used <= most, "{used} of {most}");
    f.check();
}

#[test]
fn a_view_sees_what_it_holds_back() {
    let mut f = Fixture::new();
    f.one(b"k", |view| {
        view.write_string(0, b"k", 300, b"end").unwrap();
        view.write_string(0, b"k", 0, &[b'a'; 300]).unwrap();
    });
    f.one(b"k", |view| {
        // One word: it is stored when the view commits.
        view.write_string(0, b"k", 9, b"b").unwrap();
        assert_eq!(view.string_byte(0, b"k", 9).unwrap(), Some(b'b'));
        let window = view.string_window(0, b"k", 7).unwrap();
        assert_eq!(&window.bytes, b"aabaaaaaaaaaaaaa");
        assert_eq!((window.len, window.is_raw), (303, true));
        assert_eq!(view.string_part(0, b"k", 8..11).unwrap().unwrap(), b"aba");
        view.write_string(0, b"k", 303, b"!").unwrap();
        assert_eq!(
            view.string_part(0, b"k", 299..900).unwrap().unwrap(),
            b"aend!"
        );
    });
    f.check();
}

#[test]
fn strings_of_other_types_and_none() {
    let mut f = Fixture::new();
    f.one(b"h", |view| view.hash_set(0, b"h", b"f", b"v").unwrap());
    f.one(b"h", |view| {
        assert_eq!(
            view.write_string(0, b"h", 0, b"x"),
            Err(StoreError::WrongType)
        );
        assert_eq!(view.string_window(0, b"h", 0), Err(StoreError::WrongType));
        assert_eq!(view.string_len(0, b"h"), Err(StoreError::WrongType));
    });
    assert_eq!(f.free().string_len(0, b"none").unwrap(), None);
    assert!(f.free().with_string(0, b"none", |_| ()).unwrap().is_none());
    // Length without bytes.
    f.one(b"z", |view| {
        assert_eq!(view.write_string(0, b"z", 200, b"").unwrap(), 200);
    });
    assert_eq!(whole(&f.free(), b"z"), vec![0; 200]);
    f.one(b"z", |view| {
        view.write_string(0, b"z", 190, b"0123456789").unwrap();
        // Within the last chunk, and beyond it.
        assert_eq!(view.write_string(0, b"z", 250, b"").unwrap(), 250);
        assert_eq!(view.write_string(0, b"z", 255, b"x").unwrap(), 256);
        assert_eq!(view.write_string(0, b"z", 400, b"").unwrap(), 400);
    });
    let mut expected = vec![0; 400];
    patch(&mut expected, 190, b"0123456789");
    patch(&mut expected, 255, b"x");
    assert_eq!(whole(&f.free(), b"z"), expected);
    f.check();
}

#[test]
fn a_huge_one_goes_in_bounded_steps() {
    let mut f = Fixture::new();
    f.one(b"k", |view| view.write_string(0, b"k", 0, b"x").unwrap());
    f.one(b"k", |view| view.remove(0, b"k").unwrap());
    let used = f.keyspace.usage().used;
    f.one(b"k", |view| {
        view.write_string(0, b"k", 0, &vec![b'x'; 64 * 3000])
            .unwrap();
    });
    f.one(b"k", |view| view.remove(0, b"k").unwrap());
    let mut steps = 0;
    while f.keyspace.reap_step(&mut f.worker, 100) {
        steps += 1;
        assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
    }
    assert!(steps >= 10, "{steps}");
    assert_eq!(f.keyspace.usage().used, used);
    f.check();
}

#[test]
fn copies_are_apart_and_moves_keep_the_chunks() {
    let mut f = Fixture::new();
    let mut model = vec![b'x'; 500];
    f.run(|view| {
        view.write_string(0, b"a", 0, &model).unwrap();
        view.write_string(0, b"a", 2000, b"y").unwrap();
        view.copy(0, b"a", 0, b"b").unwrap();
        view.write_string(0, b"a", 3, b"!").unwrap();
        view.rename(0, b"a", 0, b"c").unwrap();
        view.set_ttl(0, b"c", Some(5000)).unwrap();
        view.write_string(0, b"c", 700, b"?").unwrap();
    });
    patch(&mut model, 2000, b"y");
    assert_eq!(whole(&f.free(), b"b"), model);
    patch(&mut model, 3, b"!");
    patch(&mut model, 700, b"?");
    assert_eq!(whole(&f.free(), b"c"), model);
    f.now_ms = 6000;
    // Expired: a new one.
    f.one(b"c", |view| view.write_string(0, b"c", 300, b"n").unwrap());
    assert_eq!(whole(&f.free(), b"c").len(), 301);
    f.check();
}

/// A writer appends and changes words, now and then in a transaction of several changes; readers without locks see
/// lengths that only grow, bytes that were written, and whole states.
#[test]
fn readers_beside_a_writer() {
    let keyspace = super::open(64 << 20);
    let done = AtomicBool::new(false);
    let slots = [key_slot(b"k")];
    let read = || {
        let mut worker = keyspace.worker();
        let (mut last_len, mut rounds) = (0, 0u64);
        while !done.load(Relaxed) || rounds == 0 {
            rounds += 1;
            let guard = keyspace.pin();
            let view = keyspace.view(&mut worker, &guard, Access::LockFree, 0);
            let len = view.string_len(0, b"k").unwrap().unwrap_or(0);
            assert!(len >= last_len, "{len} after {last_len}");
            last_len = len;
            if len > 0 {
                let byte = view.string_byte(0, b"k", rounds * 31 % len).unwrap();
                assert!(matches!(byte, Some(b'a'..=b'z')), "{byte:?}");
            }
            // All bytes of the first hundred change together.
            if let Some(part) = view.string_part(0, b"k", 0..100).unwrap() {
                assert!(part.iter().all(|byte| *byte == part[0]), "{part:?}");
            }
        }
    };
    /// Ends the readers even if the writer fails.
    struct Done<'d>(&'d AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    thread::scope(|scope| {
        let readers = [scope.spawn(read), scope.spawn(read)];
        let finish = Done(&done);
        let mut worker = keyspace.worker();
        for round in 0..3000u64 {
            let guard = keyspace.pin();
            let mut view = keyspace.view(&mut worker, &guard, Access::Slots(&slots), 0);
            let letter = b'a' + (round % 26) as u8;
            view.write_string(0, b"k", 0, &[letter; 100]).unwrap();
            view.commit();
            let mut view = keyspace.view(&mut worker, &guard, Access::Slots(&slots), 0);
            let len = view.string_len(0, b"k").unwrap().unwrap();
            view.write_string(0, b"k", len, &[letter; 5]).unwrap();
            if round % 3 == 0 {
                view.write_string(0, b"k", 100 + round % (len - 99), &[letter])
                    .unwrap();
            }
            if round % 7 != 0 {
                view.commit();
            } else {
                drop(view);
            }
            keyspace.reap_step(&mut worker, 10);
        }
        drop(finish);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert_eq!(keyspace.check().faults, Vec::<String>::new());
}

/// A change of a part of a string.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Write(u16, Vec<u8>),
    Append(Vec<u8>),
    /// Its bits inverted: a string made of itself.
    Invert,
}

pub(super) fn part() -> impl Strategy<Value = Part> {
    let bytes = || {
        prop_oneof![
            1 => Just(Vec::new()),
            4 => prop::collection::vec(any::<u8>(), 0..20),
            1 => prop::collection::vec(any::<u8>(), 20..200),
            1 => (0..300usize).prop_map(|len| vec![0; len]),
        ]
    };
    prop_oneof![
        10 => (0..1500u16, bytes()).prop_map(|(at, bytes)| Part::Write(at, bytes)),
        6 => bytes().prop_map(Part::Append),
        2 => Just(Part::Invert),
    ]
}

impl Part {
    /// Does it to the string at a key.
    pub(super) fn run(&self, view: &mut View<'_>, db: u8, key: &[u8]) -> Result<(), StoreError> {
        let len = view.string_len(db, key)?.unwrap_or(0);
        let (at, bytes) = match self {
            Part::Write(at, bytes) => (u64::from(*at), bytes),
            Part::Append(bytes) => (len, bytes),
            Part::Invert => {
                return view.make_string(
                    db,
                    key,
                    &[key],
                    len,
                    Ttl::Keep,
                    &mut |sources, range, out| {
                        sources[0].pieces(range, &mut |piece| {
                            piece.for_each(|bytes| out.extend(bytes.iter().map(|byte| !byte)));
                        });
                    },
                );
            }
        };
        let new_len = view.write_string(db, key, at, bytes)?;
        assert_eq!(new_len, len.max(at + bytes.len() as u64));
        Ok(())
    }

    /// Does it to a vector.
    pub(super) fn apply(&self, model: &mut Vec<u8>) {
        match self {
            Part::Write(at, bytes) => patch(model, usize::from(*at), bytes),
            Part::Append(bytes) => model.extend_from_slice(bytes),
            Part::Invert => model.iter_mut().for_each(|byte| *byte = !*byte),
        }
    }
}

/// Writes bytes at a position, filling up with zeros.
fn patch(text: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    text.resize(text.len().max(at + bytes.len()), 0);
    text[at..at + bytes.len()].copy_from_slice(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_vector(transactions in prop::collection::vec((prop::collection::vec(part(), 1..6), 0..4u8), 1..60)) {
        let mut f = Fixture::new();
        let mut model: Vec<u8> = Vec::new();
        f.one(b"k", |view| view.set_string(0, b"k", b"", StringForm::Raw, Ttl::Clear).unwrap());
        for (changes, end) in transactions {
            let slots = [key_slot(b"k")];
            let mut view = f.keyspace.view(&mut f.worker, &f.guard, Access::Slots(&slots), 0);
            let mut after = model.clone();
            let mut kept = None;
            for (number, change) in changes.iter().enumerate() {
                if end == 1 && number == 1 {
                    kept = Some((view.savepoint(), after.clone()));
                }
                change.run(&mut view, 0, b"k").unwrap();
                change.apply(&mut after);
                prop_assert_eq!(&whole(&view, b"k"), &after);
                let window = view.string_window(0, b"k", 3).unwrap();
                let expected: Vec<u8> = after.iter().copied().skip(3).chain([0; 16]).take(16).collect();
                prop_assert_eq!(&window.bytes[..], &expected[..]);
            }
            if let Some((savepoint, state)) = kept {
                view.rollback_to(savepoint);
                after = state;
                prop_assert_eq!(&whole(&view, b"k"), &after);
            }
            if end == 0 {
                drop(view);
            } else {
                view.commit();
                model = after;
            }
            let view = f.free();
            prop_assert_eq!(&whole(&view, b"k"), &model);
        }
        f.check();
    }
}
