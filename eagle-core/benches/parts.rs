//! Changing parts of a string of 100 MB: a bit set, a few bytes appended or overwritten; and what the same takes when the
//! string is replaced whole, as it is while it lies in one blob.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use eagle_core::store::{Access, Keyspace, PoolOptions, StringForm, Ttl, View, Worker, key_slot};
use std::time::Duration;

const BYTES: u64 = 100 << 20;
const KEY: &[u8] = b"key";

fn open() -> (Keyspace, Worker) {
    let options = PoolOptions {
        path: None,
        size: 4 << 30,
        boot_id: [0; 16],
        seed: [1; 32],
    };
    let (keyspace, _) = Keyspace::open(&options).expect("memory for a pool");
    let worker = keyspace.worker();
    (keyspace, worker)
}

fn run<T>(keyspace: &Keyspace, worker: &mut Worker, change: impl FnOnce(&mut View<'_>) -> T) -> T {
    let guard = keyspace.pin();
    let slots = [key_slot(KEY)];
    let mut view = keyspace.view(worker, &guard, Access::Slots(&slots), 0);
    let result = change(&mut view);
    view.commit();
    result
}

fn fill(keyspace: &Keyspace, worker: &mut Worker, len: u64) {
    let value = vec![b'x'; len as usize];
    run(keyspace, worker, |view| {
        view.set_string(0, KEY, &value, StringForm::Auto, Ttl::Clear)
            .expect("room");
    });
}

/// What a change did before strings were split: read all, change, write all.
fn replace(view: &mut View<'_>, at: u64, bytes: &[u8]) {
    let mut value = view
        .string(0, KEY)
        .expect("a string")
        .expect("there")
        .into_vec();
    let (at, end) = (at as usize, at as usize + bytes.len());
    value.resize(value.len().max(end), 0);
    value[at..end].copy_from_slice(bytes);
    view.set_string(0, KEY, &value, StringForm::Raw, Ttl::Keep)
        .expect("room");
}

fn parts(c: &mut Criterion) {
    let (keyspace, mut worker) = open();
    let mut at = 0u64;
    let mut next = move || {
        at = at.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (at >> 20) % BYTES
    };
    fill(&keyspace, &mut worker, BYTES);
    let mut group = c.benchmark_group("100 MB, replaced whole");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(2));
    group.bench_function("SETBIT", |b| {
        b.iter(|| run(&keyspace, &mut worker, |view| replace(view, next(), b"y")));
    });
    group.finish();
    let mut group = c.benchmark_group("100 MB, in chunks");
    group.measurement_time(Duration::from_secs(2));
    for (name, bytes) in [
        ("SETBIT", 1usize),
        ("SETRANGE 100", 100),
        ("SETRANGE 10000", 10_000),
    ] {
        let bytes = vec![b'y'; bytes];
        group.bench_function(name, |b| {
            b.iter(|| {
                run(&keyspace, &mut worker, |view| {
                    view.write_string(0, KEY, next(), &bytes).expect("room")
                })
            });
        });
    }
    group.bench_function("APPEND 10", |b| {
        b.iter(|| {
            run(&keyspace, &mut worker, |view| {
                let len = view.string_len(0, KEY).expect("a string").unwrap_or(0);
                view.write_string(0, KEY, len, b"0123456789").expect("room")
            })
        });
    });
    group.finish();
    // Where the large form begins to pay: a bit set in a blob that is replaced, and in a large string.
    let mut group = c.benchmark_group("SETBIT");
    group.measurement_time(Duration::from_secs(1));
    for len in [1u64 << 10, 4 << 10, 8 << 10, 16 << 10, 64 << 10] {
        fill(&keyspace, &mut worker, len);
        group.bench_function(format!("replaced, {len} bytes"), |b| {
            b.iter_batched(
                || next() % len,
                |at| run(&keyspace, &mut worker, |view| replace(view, at, b"y")),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(format!("in place if large, {len} bytes"), |b| {
            b.iter(|| {
                run(&keyspace, &mut worker, |view| {
                    view.write_string(0, KEY, next() % len, b"y").expect("room")
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parts);
criterion_main!(benches);
