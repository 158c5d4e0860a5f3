//! Readers beside writers: what a lock-free reader may and may not see.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use super::super::{Access, StoreError, StringForm, StringValue, Text, Ttl, key_slot};

/// Rounds of each writer: a few hundred milliseconds.
const ROUNDS: i64 = 4000;

fn number(value: Option<StringValue<'_>>) -> i64 {
    match value.as_ref().map(StringValue::text) {
        Some(Text::Int(n)) => n,
        other => panic!("not a number: {other:?}"),
    }
}

/// Two writers and two readers. Each writer owns a slot with a counter, a pair of keys that change together, a hash
/// whose fields change together, and a crowd of keys that come and go so that the tables are rebuilt all the time.
#[test]
fn readers_see_committed_states_in_order() {
    let keyspace = super::open(256 << 20);
    let done = AtomicBool::new(false);
    let misses = AtomicU64::new(0);
    let tags = ["{a}", "{b}"];
    let key = |tag: &str, name: &str| format!("{tag}{name}").into_bytes();
    let write = |tag: &str, round: i64| -> Result<(), StoreError> {
        let mut worker = keyspace.worker();
        let slots = [key_slot(tag.as_bytes())];
        for round in 1..=round {
            let guard = keyspace.pin();
            let mut view = keyspace.view(&mut worker, &guard, Access::Slots(&slots), 0);
            view.set_int(0, &key(tag, "counter"), round, Ttl::Clear)?;
            view.commit();
            let mut view = keyspace.view(&mut worker, &guard, Access::Slots(&slots), 0);
            view.set_int(0, &key(tag, "x"), round, Ttl::Clear)?;
            view.remove(0, &key(tag, "y"))?;
            view.set_int(0, &key(tag, "y"), round, Ttl::Clear)?;
            let text = round.to_string().into_bytes();
            let fields: Vec<Vec<u8>> = (0..150).map(|i| format!("f{i}").into_bytes()).collect();
            let pairs: Vec<(&[u8], &[u8])> = fields
                .iter()
                .map(|field| (field.as_slice(), text.as_slice()))
                .collect();
            if round % 50 == 0 {
                view.remove(0, &key(tag, "hash"))?;
            }
            view.hash_set_many(
                0,
                &key(tag, "hash"),
                if round % 10 == 0 { &pairs } else { &pairs[..2] },
            )?;
            view.commit();
            for i in 0..6 {
                let crowd = key(tag, &format!("crowd{}", (round * 7 + i * 131) % 900));
                let mut view = keyspace.view(&mut worker, &guard, Access::Slots(&slots), 0);
                if round / 300 % 2 == 0 {
                    view.set_string(0, &crowd, &crowd, StringForm::Auto, Ttl::Clear)?;
                } else {
                    view.remove(0, &crowd)?;
                }
                view.commit();
            }
            // Undone, and never to be seen.
            let mut view = keyspace.view(&mut worker, &guard, Access::Slots(&slots), 0);
            view.set_int(0, &key(tag, "counter"), -1, Ttl::Clear)?;
            view.set_int(0, &key(tag, "never"), -1, Ttl::Clear)?;
            drop(view);
            drop(guard);
            keyspace.reap_step(&mut worker, 50);
        }
        Ok(())
    };
    let read = || {
        let mut worker = keyspace.worker();
        let mut last = [0; 2];
        let mut rounds = 0u64;
        while !done.load(Relaxed) || rounds == 0 {
            rounds += 1;
            for (tag, last) in tags.iter().zip(&mut last) {
                let guard = keyspace.pin();
                let view = keyspace.view(&mut worker, &guard, Access::LockFree, 0);
                let counter = number(view.string(0, &key(tag, "counter")).unwrap());
                assert!(counter >= *last, "{counter} after {last}");
                *last = counter;
                assert!(view.find(0, &key(tag, "never")).is_none());
                let x = number(view.string(0, &key(tag, "x")).unwrap());
                let y = number(view.string(0, &key(tag, "y")).unwrap());
                assert!(y >= x, "the key changed last is {y}, the one before {x}");
                let hash_key = key(tag, "hash");
                let Some(hash) = view.hash(0, &hash_key).unwrap() else {
                    panic!("the hash is always there")
                };
                let (Some(f0), Some(f1)) = (hash.get(b"f0"), hash.get(b"f1")) else {
                    panic!("the fields are always there")
                };
                let parse =
                    |text: &[u8]| std::str::from_utf8(text).unwrap().parse::<i64>().unwrap();
                assert!(parse(f1) >= parse(f0));
                let crowd = key(tag, &format!("crowd{}", rounds % 900));
                match view.string(0, &crowd).unwrap() {
                    Some(text) => assert_eq!(text.text(), Text::Bytes(&crowd)),
                    None => drop(misses.fetch_add(1, Relaxed)),
                }
                drop(view);
                let mut met = 0;
                let view = keyspace.view(&mut worker, &guard, Access::LockFree, 0);
                view.slot_keys(0, key_slot(tag.as_bytes()), usize::MAX, &mut |entry| {
                    met += u32::from(
                        [&b"counter"[..], b"x", b"y", b"hash"].contains(&&entry.key()[3..]),
                    );
                });
                assert_eq!(met, 4, "a walk meets what is always there");
            }
        }
    };
    for tag in tags {
        write(tag, 1).unwrap();
    }
    thread::scope(|scope| {
        let readers = [scope.spawn(read), scope.spawn(read)];
        let writers = tags.map(|tag| scope.spawn(move || write(tag, ROUNDS)));
        for writer in writers {
            writer.join().unwrap().unwrap();
        }
        done.store(true, Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert!(misses.load(Relaxed) > 0);
    let mut worker = keyspace.worker();
    while keyspace.reap_step(&mut worker, 1000) {}
    assert_eq!(keyspace.check().faults, Vec::<String>::new());
}

/// Transactions over two slots, in opposite directions: nobody deadlocks, and under the locks of both slots the sum is
/// constant.
#[test]
fn transfers_between_slots_keep_the_sum() {
    let keyspace = super::open(64 << 20);
    let keys = [&b"{a}account"[..], b"{b}account"];
    let mut slots = keys.map(key_slot);
    slots.sort_unstable();
    let transfer = |from: usize, to: usize| {
        let mut worker = keyspace.worker();
        for i in 0..2000 {
            let guard = keyspace.pin();
            let mut view = keyspace.view(&mut worker, &guard, Access::Slots(&slots), 0);
            let (a, b) = (
                number(view.string(0, keys[from]).unwrap()),
                number(view.string(0, keys[to]).unwrap()),
            );
            assert_eq!(a + b, 1000);
            view.set_int(0, keys[from], a - i % 7, Ttl::Clear).unwrap();
            view.set_int(0, keys[to], b + i % 7, Ttl::Clear).unwrap();
            if i % 5 == 0 {
                drop(view);
            } else {
                view.commit();
            }
        }
    };
    let mut worker = keyspace.worker();
    let guard = keyspace.pin();
    let mut view = keyspace.view(&mut worker, &guard, Access::Slots(&slots), 0);
    view.set_int(0, keys[0], 400, Ttl::Clear).unwrap();
    view.set_int(0, keys[1], 600, Ttl::Clear).unwrap();
    view.commit();
    drop(guard);
    thread::scope(|scope| {
        scope.spawn(|| transfer(0, 1));
        scope.spawn(|| transfer(1, 0));
    });
    assert_eq!(keyspace.check().faults, Vec::<String>::new());
    drop(worker);
    keyspace.close().unwrap();
}
