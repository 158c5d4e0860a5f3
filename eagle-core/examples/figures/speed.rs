//! Figures that take time: for a quiet machine, and to be compared within one run only.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use eagle_core::store::{Access, AddRule, Guard, Keyspace, StringForm, Ttl, Worker, key_slot};

use super::{Random, figure, fill, name, open, set};

/// How long a rate is measured.
const RUN: Duration = Duration::from_secs(2);
/// Runs of which the median counts.
const RUNS: usize = 5;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Microseconds a call takes, median of several runs.
fn micros_per_call(mut call: impl FnMut()) -> f64 {
    let runs = (0..RUNS).map(|_| {
        let (began, mut calls) = (Instant::now(), 0u32);
        while began.elapsed() < RUN / RUNS as u32 {
            (0..256).for_each(|_| call());
            calls += 256;
        }
        began.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    });
    median(runs.collect())
}

/// What the clock of this thread's processor time shows: it stands while the machine runs something else.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The longest and the usual time of a write while one slot grows to 10 M keys. Processor time is measured as well: where
/// the machine is not quiet, the difference is not the engine's.
pub(super) fn stall(scale: u64) {
    let keys = 10_000_000 / scale;
    let keyspace = open(4 << 30);
    let mut worker = keyspace.worker();
    let mut times = Vec::with_capacity(keys as usize);
    let mut spent_most = Duration::ZERO;
    let mut spent_before = processor_time();
    for number in 0..keys {
        let key = format!("{{t}}{number:013}");
        let guard = keyspace.pin();
        let began = Instant::now();
        set(&keyspace, &mut worker, &guard, key.as_bytes(), b"12345678");
        drop(guard);
        times.push(began.elapsed().as_nanos() as u32);
        let spent = processor_time();
        spent_most = spent_most.max(spent - spent_before);
        spent_before = spent;
    }
    times.sort_unstable();
    let millis = |nanos: u32| f64::from(nanos) / 1e6;
    let at = |share: f64| millis(times[(keys as f64 * share) as usize]);
    figure("stall", "median write, ms", at(0.5));
    figure("stall", "99.99th percentile, ms", at(0.9999));
    let over = times.len() - times.partition_point(|nanos| *nanos <= 1_000_000);
    figure("stall", "writes of more than 1 ms", over as f64);
    figure("stall", "longest write, ms", millis(times[times.len() - 1]));
    let spent_most = spent_most.as_secs_f64() * 1e3;
    figure("stall", "longest write, ms of processor time", spent_most);
}

/// Writes that the undo log covers. The script builds this twice, once without the log.
pub(super) fn undo(scale: u64) {
    let members = 100_000 / scale;
    let keyspace = open(1 << 30);
    let mut worker = keyspace.worker();
    for number in 0..members {
        let guard = keyspace.pin();
        hset(&keyspace, &mut worker, &guard, &name(number));
        zadd(&keyspace, &mut worker, &guard, &name(number), number as f64);
    }
    let mut random = Random(3);
    let what = |what: &str| {
        format!(
            "{what}, us{}",
            if cfg!(no_undo_log) { ", no log" } else { "" }
        )
    };
    let hset = micros_per_call(|| {
        let guard = keyspace.pin();
        hset(&keyspace, &mut worker, &guard, &name(random.below(members)));
    });
    figure("undo", &what("HSET of a large hash"), hset);
    let zadd = micros_per_call(|| {
        let guard = keyspace.pin();
        let (member, score) = (random.below(members), random.below(members));
        zadd(&keyspace, &mut worker, &guard, &name(member), score as f64);
    });
    figure("undo", &what("ZADD of a large sorted set"), zadd);
    let exec = micros_per_call(|| {
        let guard = keyspace.pin();
        let slots = [key_slot(b"{t}")];
        let mut view = keyspace.view(&mut worker, &guard, Access::Slots(&slots), 0);
        for _ in 0..10 {
            let key = format!("{{t}}{}", random.below(members));
            view.set_string(
                0,
                key.as_bytes(),
                b"value-of-16-byte",
                StringForm::Auto,
                Ttl::Clear,
            )
            .expect("room");
        }
        view.commit();
    });
    figure("undo", &what("EXEC of 10 SETs"), exec);
}

fn hset(keyspace: &Keyspace, worker: &mut Worker, guard: &Guard, field: &[u8]) {
    let slots = [key_slot(b"hash")];
    let mut view = keyspace.view(worker, guard, Access::Slots(&slots), 0);
    view.hash_set(0, b"hash", field, b"value-of-16-byte")
        .expect("room");
    view.commit();
}

fn zadd(keyspace: &Keyspace, worker: &mut Worker, guard: &Guard, member: &[u8], score: f64) {
    let slots = [key_slot(b"zset")];
    let mut view = keyspace.view(worker, guard, Access::Slots(&slots), 0);
    view.zset_add(0, b"zset", &[(member, score)], AddRule::default())
        .expect("room");
    view.commit();
}

/// A key for a random number.
type Pick = fn(&mut Random, u64) -> [u8; 16];

/// Reads (and some writes) of one keyspace by two threads and by one: how much two do more. And writes to one slot
/// alone, where the slot's lock makes them take turns. What two threads do more that share nothing shows what the machine
/// allows.
pub(super) fn scaling(scale: u64) {
    let keys = 1_000_000 / scale;
    let keyspace = open(1 << 30);
    fill(&keyspace, &mut keyspace.worker(), keys, 16);
    let alone = (0..RUNS).map(|_| {
        let one = arithmetic(1);
        arithmetic(2) / one
    });
    let what = "2 threads / 1, arithmetic without memory";
    figure("scaling", what, median(alone.collect()));
    let spread: Pick = |random, keys| name(random.below(keys));
    for writes in [0, 5, 50] {
        let what = format!("2 threads / 1, {writes} % writes");
        figure(
            "scaling",
            &what,
            speed_up(&keyspace, writes, (spread, keys)),
        );
    }
    let one_slot: Pick = |random, keys| {
        let mut key = name(random.below(keys));
        key[..4].copy_from_slice(b"{tg}");
        key
    };
    let mut worker = keyspace.worker();
    for number in 0..10_000 {
        let mut key = name(number);
        key[..4].copy_from_slice(b"{tg}");
        let guard = keyspace.pin();
        set(&keyspace, &mut worker, &guard, &key, b"value-of-16-byte");
    }
    drop(worker);
    // As few keys, so that what is shared is the slot alone.
    for writes in [5, 50, 100] {
        let what = format!("2 threads / 1, {writes} % writes, 10,000 keys in all slots");
        let pick = (spread, 10_000);
        figure("scaling", &what, speed_up(&keyspace, writes, pick));
    }
    for writes in [5, 50, 100] {
        let what = format!("2 threads / 1, {writes} % writes, all in one slot");
        let pick = (one_slot, 10_000);
        figure("scaling", &what, speed_up(&keyspace, writes, pick));
    }
}

/// Random numbers per second of all threads together.
fn arithmetic(threads: u64) -> f64 {
    per_second(threads, |thread, done| {
        let (mut random, mut count) = (Random(thread << 32), 0);
        while !done.load(Relaxed) {
            for _ in 0..256 {
                black_box(random.below(1000));
            }
            count += 256;
        }
        count
    })
}

/// What all threads together count in a second.
fn per_second(threads: u64, work: impl Fn(u64, &AtomicBool) -> u64 + Sync) -> f64 {
    let (done, total) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (done, total, work) = (&done, &total, &work);
            scope.spawn(move || total.fetch_add(work(thread, done), Relaxed));
        }
        std::thread::sleep(RUN / 4);
        done.store(true, Relaxed);
    });
    total.into_inner() as f64 / began.elapsed().as_secs_f64()
}

fn speed_up(keyspace: &Keyspace, writes: u64, pick: (Pick, u64)) -> f64 {
    let rates = (0..RUNS).map(|_| {
        let one = rate(keyspace, 1, writes, pick);
        rate(keyspace, 2, writes, pick) / one
    });
    median(rates.collect())
}

/// Operations per second of all threads together.
fn rate(keyspace: &Keyspace, threads: u64, writes: u64, (pick, keys): (Pick, u64)) -> f64 {
    per_second(threads, |thread, done| {
        let mut worker = keyspace.worker();
        let (mut random, mut count) = (Random(thread << 32), 0);
        while !done.load(Relaxed) {
            let guard = keyspace.pin();
            for _ in 0..16 {
                let key = pick(&mut random, keys);
                if random.below(100) < writes {
                    overwrite(keyspace, &mut worker, &guard, &key, b"value-of-16-byte");
                } else {
                    let view = keyspace.view(&mut worker, &guard, Access::LockFree, 0);
                    black_box(view.string(0, &key).expect("a string").map(|t| t.len()));
                }
            }
            count += 16;
        }
        count
    })
}

/// Sets a key that exists, side by side with others as the server does.
fn overwrite(keyspace: &Keyspace, worker: &mut Worker, guard: &Guard, key: &[u8], value: &[u8]) {
    let known = keyspace.know(key);
    let wait_max = Duration::from_secs(60);
    let locks = keyspace.try_lock_key(&known, wait_max).expect("it waits");
    let mut view = keyspace.view_with(locks, worker, guard, 0, wait_max);
    view.know(known);
    view.set_string(0, key, value, StringForm::Auto, Ttl::Clear)
        .expect("room");
    view.commit();
}

/// Batches of 16 GETs on a table far larger than the cache, with and without prefetching.
pub(super) fn prefetch(scale: u64) {
    let keys = 10_000_000 / scale;
    let keyspace = open(4 << 30);
    let mut worker = keyspace.worker();
    fill(&keyspace, &mut worker, keys, 16);
    let mut random = Random(5);
    let mut measure = |ahead: bool| {
        micros_per_call(|| {
            let guard = keyspace.pin();
            let batch: [[u8; 16]; 16] = std::array::from_fn(|_| name(random.below(keys)));
            if ahead {
                keyspace.prefetch(&guard, 0, &batch.each_ref().map(|key| &key[..]));
            }
            for key in &batch {
                let view = keyspace.view(&mut worker, &guard, Access::LockFree, 0);
                black_box(
                    view.string(0, key)
                        .expect("a string")
                        .map(|text| text.len()),
                );
            }
        })
    };
    let ratios = (0..RUNS).map(|_| {
        let without = measure(false);
        without / measure(true)
    });
    figure(
        "prefetch",
        "time of 16 GETs without / with",
        median(ratios.collect()),
    );
}
