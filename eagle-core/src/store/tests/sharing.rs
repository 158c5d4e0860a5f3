//! Writers that share a slot: what they may do, what is refused, and that nothing of either is lost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::super::{
    Access, End, Keyspace, SlotShared, StoreError, StringForm, StringValue, Text, Ttl, View, Worker,
};
use crate::pmem::Sim;
use crate::pmem::sim::Survivors;
use crate::sync::Guard;

const WAIT_MAX: Duration = Duration::from_secs(60);

/// A view of the slot of `key`, shared with others.
fn shared<'a>(
    keyspace: &'a Keyspace,
    worker: &'a mut Worker,
    guard: &'a Guard,
    key: &'a [u8],
) -> View<'a> {
    let known = keyspace.know(key);
    keyspace.slots().share(known.slot());
    let locks = keyspace.try_lock_key(&known, WAIT_MAX).expect("it waits");
    assert!(locks.are_shared());
    let mut view = keyspace.view_with(locks, worker, guard, 1000, WAIT_MAX);
    view.know(known);
    view
}

fn set(view: &mut View<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    view.set_string(0, key, value, StringForm::Auto, Ttl::Clear)
}

/// Makes a change that no other one is beside.
fn alone(keyspace: &Keyspace, worker: &mut Worker, change: impl FnOnce(&mut View<'_>)) {
    let guard = keyspace.pin();
    let mut view = keyspace.view(worker, &guard, Access::All, 1000);
    change(&mut view);
    view.commit();
}

fn text(keyspace: &Keyspace, key: &[u8]) -> Option<Vec<u8>> {
    let guard = keyspace.pin();
    let mut worker = keyspace.worker();
    let view = keyspace.view(&mut worker, &guard, Access::LockFree, 1000);
    let value = view.string(0, key).unwrap();
    value.map(|value| match value.text() {
        Text::Int(number) => number.to_string().into_bytes(),
        Text::Bytes(bytes) => bytes.to_vec(),
    })
}

#[test]
fn values_of_different_keys_are_replaced_side_by_side() {
    let keyspace = super::open(64 << 20);
    let mut workers = [keyspace.worker(), keyspace.worker()];
    let keys = [&b"{s}1"[..], b"{s}2"];
    alone(&keyspace, &mut workers[0], |view| {
        set(view, keys[0], b"old").unwrap();
        view.set_int(0, keys[1], 6, Ttl::Clear).unwrap();
    });
    let guard = keyspace.pin();
    let [one, two] = &mut workers;
    let mut first = shared(&keyspace, one, &guard, keys[0]);
    let mut second = shared(&keyspace, two, &guard, keys[1]);
    set(&mut first, keys[0], b"new").unwrap();
    second.set_int(0, keys[1], 7, Ttl::Clear).unwrap();
    assert_eq!(text(&keyspace, keys[0]).unwrap(), b"old");
    second.commit();
    assert_eq!(text(&keyspace, keys[1]).unwrap(), b"7");
    assert_eq!(text(&keyspace, keys[0]).unwrap(), b"old");
    first.commit();
    assert_eq!(text(&keyspace, keys[0]).unwrap(), b"new");
    assert_eq!(keyspace.check().faults, Vec::<String>::new());
}

/// Each of these wants more than one store, or touches what belongs to all keys.
#[test]
fn what_needs_the_slot_alone_is_refused_and_leaves_nothing() {
    type Step = (&'static [u8], fn(&mut View<'_>, &[u8]));
    let refused: [Step; 9] = [
        (b"{s}none", |view, key| set(view, key, b"v").unwrap()),
        (b"{s}text", |view, key| {
            view.remove(0, key).unwrap();
        }),
        (b"{s}text", |view, key| {
            view.set_ttl(0, key, Some(5000)).unwrap();
        }),
        (b"{s}timed", |view, key| set(view, key, b"v").unwrap()),
        // Its chunks go to the trash.
        (b"{s}long", |view, key| set(view, key, b"v").unwrap()),
        (b"{s}text", |view, key| {
            set(view, key, b"v").unwrap();
            set(view, key, b"w").unwrap();
        }),
        (b"{s}list", |view, key| {
            view.list_pop(0, key, 1, End::Head).unwrap();
        }),
        // Another key of the same slot.
        (b"{s}text", |view, _| {
            view.find(0, b"{s}timed");
        }),
        (b"{s}text", |view, _| set(view, b"{s}timed", b"v").unwrap()),
    ];
    for (number, (key, step)) in refused.into_iter().enumerate() {
        let keyspace = super::open(64 << 20);
        let mut worker = keyspace.worker();
        alone(&keyspace, &mut worker, |view| {
            set(view, b"{s}text", b"old").unwrap();
            set(view, b"{s}long", &vec![b'x'; 1 << 20]).unwrap();
            view.write_string(0, b"{s}long", 1 << 20, b"more").unwrap();
            view.set_string(0, b"{s}timed", b"old", StringForm::Auto, Ttl::At(9000))
                .unwrap();
            let element: &[u8] = b"element";
            view.list_push(0, b"{s}list", &[element], End::Head)
                .unwrap();
        });
        let guard = keyspace.pin();
        let mut view = shared(&keyspace, &mut worker, &guard, key);
        let unwound = catch_unwind(AssertUnwindSafe(|| step(&mut view, key)));
        let payload = unwound.expect_err(&format!("step {number} is refused"));
        assert!(payload.is::<SlotShared>(), "step {number}");
        drop(view);
        assert_eq!(
            text(&keyspace, b"{s}text").unwrap(),
            b"old",
            "step {number}"
        );
        assert_eq!(
            text(&keyspace, b"{s}timed").unwrap(),
            b"old",
            "step {number}"
        );
        assert_eq!(text(&keyspace, b"{s}none"), None, "step {number}");
        assert_eq!(keyspace.len(0), 4);
        assert_eq!(
            keyspace.check().faults,
            Vec::<String>::new(),
            "step {number}"
        );
        // Alone it is possible, and then nobody shares the slot any more.
        alone(&keyspace, &mut worker, |view| step(view, key));
        let known = keyspace.know(key);
        let locks = keyspace.try_lock_key(&known, WAIT_MAX).unwrap();
        assert!(!locks.are_shared());
        drop(locks);
        assert_eq!(
            keyspace.check().faults,
            Vec::<String>::new(),
            "step {number}"
        );
    }
}

#[test]
fn who_wants_the_slot_alone_waits_for_those_who_share_it() {
    let keyspace = super::open(64 << 20);
    let mut worker = keyspace.worker();
    let key = &b"{s}1"[..];
    alone(&keyspace, &mut worker, |view| {
        set(view, key, b"old").unwrap()
    });
    let (guard, is_alone) = (keyspace.pin(), AtomicBool::new(false));
    let mut view = shared(&keyspace, &mut worker, &guard, key);
    set(&mut view, key, b"new").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut worker = keyspace.worker();
            alone(&keyspace, &mut worker, |view| {
                is_alone.store(true, Relaxed);
                set(view, key, b"last").unwrap();
            });
        });
        // The sharing is over as soon as the other one waits.
        while keyspace.slots().is_shared(keyspace.know(key).slot()) {
            thread::yield_now();
        }
        assert!(!is_alone.load(Relaxed));
        view.commit();
    });
    assert_eq!(text(&keyspace, key).unwrap(), b"last");
}

/// Counters of one slot, each counted up by all threads, amid others who make and remove keys there and thus end the
/// sharing again and again.
#[test]
fn no_change_of_a_hot_slot_is_lost() {
    const COUNTERS: usize = 8;
    const ROUNDS: usize = 6000;
    let keyspace = super::open(256 << 20);
    let keys: Vec<Vec<u8>> = (0..COUNTERS)
        .map(|number| format!("{{s}}counter{number}").into_bytes())
        .collect();
    let mut worker = keyspace.worker();
    alone(&keyspace, &mut worker, |view| {
        for key in &keys {
            view.set_int(0, key, 0, Ttl::Clear).unwrap();
        }
    });
    let shared_ones = std::sync::atomic::AtomicUsize::new(0);
    let count = |thread: usize| {
        let mut worker = keyspace.worker();
        for round in 0..ROUNDS {
            let guard = keyspace.pin();
            let key = &keys[(round * 3 + thread) % COUNTERS];
            let known = keyspace.know(key);
            if round % 16 == 0 {
                keyspace.slots().share(known.slot());
            }
            let locks = keyspace.try_lock_key(&known, WAIT_MAX).unwrap();
            shared_ones.fetch_add(usize::from(locks.are_shared()), Relaxed);
            let mut view = keyspace.view_with(locks, &mut worker, &guard, 1000, WAIT_MAX);
            view.know(known);
            let number = match view.string(0, key).unwrap().as_ref().map(StringValue::text) {
                Some(Text::Int(number)) => number,
                other => panic!("not a number: {other:?}"),
            };
            view.set_int(0, key, number + 1, Ttl::Clear).unwrap();
            view.commit();
        }
    };
    let crowd = || {
        let mut worker = keyspace.worker();
        for round in 0..ROUNDS / 4 {
            let key = format!("{{s}}crowd{}", round % 300).into_bytes();
            let slots = [keyspace.know(&key).slot()];
            let guard = keyspace.pin();
            let mut view = keyspace.view(&mut worker, &guard, Access::Slots(&slots), 1000);
            if round / 300 % 2 == 0 {
                set(&mut view, &key, &key).unwrap();
            } else {
                view.remove(0, &key).unwrap();
            }
            view.commit();
        }
    };
    thread::scope(|scope| {
        for thread in 0..3 {
            scope.spawn(move || count(thread));
        }
        scope.spawn(crowd);
    });
    let sum: usize = keys
        .iter()
        .map(|key| String::from_utf8(text(&keyspace, key).unwrap()).unwrap())
        .map(|number| number.parse::<usize>().unwrap())
        .sum();
    assert_eq!(sum, 3 * ROUNDS);
    assert!(shared_ones.into_inner() > 0);
    assert_eq!(keyspace.check().faults, Vec::<String>::new());
}

/// Two transactions in one slot at once, in two lanes: whatever a crash leaves holds all or nothing of each.
#[test]
fn a_crash_amid_two_changes_of_one_slot() {
    let sim = Sim::new(16 << 20, 4);
    let (keyspace, mut one) = super::model::open(&sim);
    let mut two = keyspace.worker();
    let keys = [&b"{s}1"[..], b"{s}2"];
    alone(&keyspace, &mut one, |view| {
        for key in keys {
            set(view, key, b"old").unwrap();
        }
    });
    let start = sim.points();
    let guard = keyspace.pin();
    let mut first = shared(&keyspace, &mut one, &guard, keys[0]);
    let mut second = shared(&keyspace, &mut two, &guard, keys[1]);
    set(&mut first, keys[0], b"new").unwrap();
    set(&mut second, keys[1], b"new").unwrap();
    second.commit();
    let second_ended = sim.points();
    first.commit();
    let first_ended = sim.points();
    drop((guard, one, two, keyspace));

    let (mut replay, mut images) = (sim.replay(), 0);
    loop {
        let point = replay.point();
        if point >= start {
            for survivors in [Survivors::Nothing, Survivors::Everything] {
                let (keyspace, worker) =
                    super::model::open(&sim.after_crash(replay.image(survivors)));
                let values = keys.map(|key| text(&keyspace, key).expect("it is there"));
                let context = format!("{values:?} at point {}", point - start);
                for (value, ended) in values.iter().zip([first_ended, second_ended]) {
                    assert!(value == b"new" || value == b"old", "{context}");
                    assert!(value == b"new" || point < ended, "{context}");
                }
                assert!(values[0] == b"old" || point >= second_ended, "{context}");
                assert_eq!(keyspace.check().faults, Vec::<String>::new(), "{context}");
                drop((worker, keyspace));
                images += 1;
            }
        }
        if !replay.step() {
            break;
        }
    }
    println!("crash images: {images}");
    assert!(images > 20, "{images}");
}
