//! Lists against a plain deque, in every form, and what goes with large ones: trash, renaming, copying, rollback.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;

use super::super::{Encoding, End, Kind, Popped, StoreError, StringForm, Ttl, View};
use super::Fixture;

fn elements(view: &View<'_>, db: u8, key: &[u8]) -> Vec<Vec<u8>> {
    let list = view.list(db, key).unwrap();
    list.map(|list| list.iter().map(<[u8]>::to_vec).collect())
        .unwrap_or_default()
}

fn push(f: &mut Fixture, key: &[u8], end: End, element: &[u8]) -> u64 {
    f.one(key, |view| view.list_push(0, key, &[element], end))
        .unwrap()
}

/// A change of one list.
#[derive(Clone, Debug)]
pub(super) enum ListStep {
    Push(End, Vec<Vec<u8>>),
    Pop(End, u8),
    Set(u16, Vec<u8>),
    Insert(u16, Vec<u8>),
    Remove(End, u8, u8),
    Trim(u16, u16),
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0u8..4).prop_map(common),
        4 => prop::collection::vec(any::<u8>(), 0..200),
        1 => prop::collection::vec(any::<u8>(), 1000..3000),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Head), Just(End::Tail)]
}

pub(super) fn list_step() -> impl Strategy<Value = ListStep> {
    prop_oneof![
        6 => (end(), prop::collection::vec(element(), 1..20)).prop_map(|(e, v)| ListStep::Push(e, v)),
        3 => (end(), 1u8..12).prop_map(|(e, n)| ListStep::Pop(e, n)),
        2 => (any::<u16>(), element()).prop_map(|(i, v)| ListStep::Set(i, v)),
        2 => (any::<u16>(), element()).prop_map(|(i, v)| ListStep::Insert(i, v)),
        1 => (end(), 0u8..4, 1u8..5).prop_map(|(e, v, n)| ListStep::Remove(e, v, n)),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| ListStep::Trim(a, b)),
    ]
}

impl ListStep {
    /// Does it to the list at a key.
    pub(super) fn run(&self, view: &mut View<'_>, db: u8, key: &[u8]) -> Result<(), StoreError> {
        let len = view.list(db, key)?.map_or(0, |list| list.len() as usize);
        match self {
            ListStep::Push(end, values) => {
                let words: Vec<&[u8]> = values.iter().map(|v| &v[..]).collect();
                let after = view.list_push(db, key, &words, *end)?;
                assert_eq!(after, (len + values.len()) as u64);
            }
            ListStep::Pop(end, count) => {
                if *count == 1 {
                    let list = view.list(db, key)?;
                    let expected = list.and_then(|list| list.outermost(*end).map(<[u8]>::to_vec));
                    let mut shown = None;
                    let popped = view.list_pop_one(db, key, *end, |element| {
                        shown = Some(element.to_vec());
                    })?;
                    assert_eq!(shown, expected);
                    let popped_one = Popped {
                        count: 1,
                        key_gone: len == 1,
                    };
                    assert_eq!(popped, (len > 0).then_some(popped_one));
                    return Ok(());
                }
                let popped = view.list_pop(db, key, u64::from(*count), *end)?;
                assert_eq!(popped.count, u64::from(*count).min(len as u64));
                assert_eq!(popped.key_gone, len > 0 && popped.count == len as u64);
            }
            ListStep::Set(at, value) if len > 0 => {
                view.list_set(db, key, (usize::from(*at) % len) as u64, value)?;
            }
            ListStep::Insert(at, value) if len > 0 => {
                view.list_insert(db, key, (usize::from(*at) % len) as u64, value)?;
            }
            ListStep::Remove(from, n, count) => {
                view.list_remove(db, key, &common(*n), u64::from(*count), *from)?;
            }
            ListStep::Trim(a, b) if len > 0 => {
                let (start, kept) = cut(*a, *b, len);
                let gone = view.list_trim(db, key, start as u64, kept as u64)?;
                assert_eq!(gone, (len - kept) as u64);
            }
            ListStep::Set(..) | ListStep::Insert(..) | ListStep::Trim(..) => {}
        }
        Ok(())
    }

    /// Does it to a deque.
    pub(super) fn apply(&self, model: &mut VecDeque<Vec<u8>>) {
        let len = model.len();
        match self {
            ListStep::Push(End::Head, values) => {
                values.iter().for_each(|v| model.push_front(v.clone()))
            }
            ListStep::Push(End::Tail, values) => {
                values.iter().for_each(|v| model.push_back(v.clone()))
            }
            ListStep::Pop(end, count) => {
                let count = usize::from(*count).min(len);
                match end {
                    End::Head => drop(model.drain(..count)),
                    End::Tail => model.truncate(len - count),
                }
            }
            ListStep::Set(at, value) if len > 0 => model[usize::from(*at) % len].clone_from(value),
            ListStep::Insert(at, value) if len > 0 => {
                model.insert(usize::from(*at) % len, value.clone());
            }
            ListStep::Remove(from, n, count) => {
                let mut left = *count;
                let mut stays = |element: &Vec<u8>| {
                    let goes = left > 0 && *element == common(*n);
                    left -= u8::from(goes);
                    !goes
                };
                match from {
                    End::Head => model.retain(stays),
                    End::Tail => {
                        let kept = model.iter().rev().filter(|e| stays(e)).cloned();
                        let mut kept: Vec<_> = kept.collect();
                        kept.reverse();
                        *model = kept.into();
                    }
                }
            }
            ListStep::Trim(a, b) if len > 0 => {
                let (start, kept) = cut(*a, *b, len);
                *model = model.iter().skip(start).take(kept).cloned().collect();
            }
            ListStep::Set(..) | ListStep::Insert(..) | ListStep::Trim(..) => {}
        }
    }
}

/// An element that occurs often.
fn common(n: u8) -> Vec<u8> {
    vec![n; usize::from(n) + 1]
}

fn cut(a: u16, b: u16, len: usize) -> (usize, usize) {
    let start = usize::from(a) % len;
    (start, usize::from(b) % (len - start + 1))
}

/// Does the same to the view and to a deque.
fn apply(view: &mut View<'_>, model: &mut VecDeque<Vec<u8>>, step: &ListStep) {
    step.run(view, 0, b"l").unwrap();
    step.apply(model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_list_is_a_deque(steps in prop::collection::vec((list_step(), any::<bool>()), 1..60), small_chunks: bool) {
        let mut f = Fixture::new();
        if small_chunks {
            f.keyspace.settings().list_fill.store(3, Relaxed);
        }
        let mut model = VecDeque::new();
        for (step, undone) in &steps {
            let mut view = f.all();
            if *undone {
                // As in a transaction of which a part fails: what came before it stays.
                let mut scratch = model.clone();
                apply(&mut view, &mut model, step);
                let savepoint = view.savepoint();
                scratch.clone_from(&model);
                for (step, _) in &steps[..steps.len().min(4)] {
                    apply(&mut view, &mut scratch, step);
                }
                view.rollback_to(savepoint);
            } else {
                apply(&mut view, &mut model, step);
            }
            view.commit();
            let view = f.all();
            prop_assert_eq!(elements(&view, 0, b"l"), Vec::from(model.clone()));
        }
        let view = f.all();
        if let Some(list) = view.list(0, b"l").unwrap() {
            let len = model.len();
            prop_assert_eq!(list.len(), len as u64);
            for i in 0..len {
                prop_assert_eq!(list.get(i as i64), Some(&model[i][..]));
                prop_assert_eq!(list.get(-1 - i as i64), Some(&model[len - 1 - i][..]));
                let back: Vec<_> = list.iter_back_from(i as u64).take(5).collect();
                let wanted: Vec<_> = model.iter().take(i + 1).rev().take(5).map(|e| &e[..]).collect();
                prop_assert_eq!(back, wanted);
                let on: Vec<_> = list.iter_from(i as u64).take(5).collect();
                let wanted: Vec<_> = model.iter().skip(i).take(5).map(|e| &e[..]).collect();
                prop_assert_eq!(on, wanted);
            }
            prop_assert_eq!(list.get(len as i64), None);
            prop_assert_eq!(list.get(-1 - len as i64), None);
        }
        drop(view);
        f.check();
    }
}

#[test]
fn a_queue_keeps_its_order_and_leaves_nothing_behind() {
    let mut f = Fixture::new();
    for i in 0..5000u32 {
        assert_eq!(
            push(&mut f, b"q", End::Head, &i.to_le_bytes()),
            u64::from(i) + 1
        );
    }
    assert_eq!(
        f.all().find(0, b"q").unwrap().encoding(),
        Encoding::Quicklist
    );
    f.check();
    for i in 0..5000u32 {
        let view = f.all();
        let last = view
            .list(0, b"q")
            .unwrap()
            .unwrap()
            .get(-1)
            .unwrap()
            .to_vec();
        assert_eq!(last, i.to_le_bytes());
        drop(view);
        assert_eq!(
            f.one(b"q", |view| view.list_pop(0, b"q", 1, End::Tail))
                .map(|popped| popped.count),
            Ok(1)
        );
    }
    assert_eq!(f.keyspace.len(0), 0);
    f.check();
}

#[test]
fn lists_are_renamed_copied_expired_and_overwritten() {
    let mut f = Fixture::new();
    for (key, count) in [(&b"small"[..], 5u32), (b"large", 3000)] {
        for i in 0..count {
            push(&mut f, key, End::Tail, format!("element-{i}").as_bytes());
        }
        let whole = elements(&f.all(), 0, key);
        assert_eq!(whole.len(), count as usize);
        assert_eq!(f.all().find(0, key).unwrap().kind(), Kind::List);
        f.run(|view| view.copy(0, key, 3, b"copy")).unwrap();
        f.run(|view| view.rename(0, key, 1, b"moved")).unwrap();
        assert_eq!(elements(&f.all(), 1, b"moved"), whole);
        f.run(|view| view.list_pop(1, b"moved", 1, End::Head))
            .unwrap();
        assert_eq!(elements(&f.all(), 3, b"copy"), whole);
        f.check();
        f.run(|view| view.set_ttl(3, b"copy", Some(2000))).unwrap();
        f.now_ms = 3000;
        assert!(f.all().list(3, b"copy").unwrap().is_none());
        f.run(|view| view.list_push(3, b"copy", &[b"anew"], End::Head))
            .unwrap();
        assert_eq!(elements(&f.all(), 3, b"copy"), [b"anew"]);
        f.run(|view| view.set_string(1, b"moved", b"s", StringForm::Auto, Ttl::Clear))
            .unwrap();
        let wrong = f.run(|view| view.list_push(1, b"moved", &[b"x"], End::Head));
        assert_eq!(wrong, Err(StoreError::WrongType));
        f.run(|view| view.flush_all()).unwrap();
        f.now_ms = 1000;
        f.check();
    }
}

#[test]
fn a_list_dropped_halfway_is_freed_in_steps() {
    let mut f = Fixture::new();
    for _ in 0..400 {
        push(&mut f, b"l", End::Tail, &[7; 4000]);
    }
    f.one(b"l", |view| view.remove(0, b"l")).unwrap();
    let mut steps = 0;
    while f.keyspace.reap_step(&mut f.worker, 1) {
        assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
        steps += 1;
    }
    assert!(steps > 1, "{steps}");
    f.check();
}

#[test]
fn small_elements_take_little_space() {
    let mut f = Fixture::new();
    // Has the database made.
    push(&mut f, b"other", End::Tail, b"element");
    let before = f.keyspace.usage().used;
    const COUNT: u64 = 100_000;
    for i in 0..COUNT {
        push(
            &mut f,
            b"l",
            End::Tail,
            format!("element:{i:06}").as_bytes(),
        );
    }
    let per_element = (f.keyspace.usage().used - before) as f64 / COUNT as f64;
    // 14 bytes each, and two to say so.
    assert!(per_element < 16.8, "{per_element}");
}
