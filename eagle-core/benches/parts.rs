//! Changing parts of a string of 100 MB: a bit set, a few bytes appended or overwritten; and what the same takes when the
//! string is replaced whole, as it is while it lies in one blob.

use criterion::{Criterion, criterion_group, criterion_main};
use eagle_core::store::{Access, Keyspace, PoolOptions, StringForm, Ttl, View, Worker, key_slot};
use std::time::{Duration, Instant};

const BYTES: u64 = 100 << 20;
const KEY: &[u8] = b"key";

fn open() -> (Keyspace, Worker) {
    let (keyspace, _) =
        Keyspace::open(&PoolOptions::in_memory(4 << 30)).expect("memory for a pool");
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
    drop((keyspace, worker));
    by_size(c);
}

/// Where the large form begins to pay: what reads and changes of parts take in either form, by size. Run it with
/// `LARGE_STRING_BYTES_MIN` lowered to see the large form of strings that are too short for it.
fn by_size(c: &mut Criterion) {
    let (keyspace, mut worker) = open();
    for len in [1u64 << 10, 4 << 10, 8 << 10, 16 << 10, 64 << 10, 256 << 10] {
        let mut group = c.benchmark_group(format!("{} KiB", len >> 10));
        group
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        let mut at = 0u64;
        let mut next = move || {
            at = at.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (at >> 20) % (len - 100)
        };
        for is_whole in [true, false] {
            let form = if is_whole { "replaced" } else { "in chunks" };
            // The first change of a part makes chunks of it.
            let fresh = |worker: &mut Worker| {
                fill(&keyspace, worker, len);
                if !is_whole {
                    run(&keyspace, worker, |view| {
                        view.write_string(0, KEY, 0, b"y").expect("room")
                    });
                }
            };
            fresh(&mut worker);
            let mut out = Vec::with_capacity(len as usize);
            group.bench_function(format!("GET, {form}"), |b| {
                b.iter(|| {
                    let guard = keyspace.pin();
                    let view = keyspace.view(&mut worker, &guard, Access::LockFree, 0);
                    out.clear();
                    view.with_string(0, KEY, |string| {
                        string.pieces(0..string.len(), &mut |piece| {
                            piece.for_each(|bytes| out.extend_from_slice(bytes));
                        });
                    })
                });
            });
            let change = |at: u64, bytes: &[u8], worker: &mut Worker| {
                run(&keyspace, worker, |view| match is_whole {
                    true => replace(view, at, bytes),
                    false => {
                        view.write_string(0, KEY, at, bytes).expect("room");
                    }
                });
            };
            for (name, bytes) in [("SETBIT", 1usize), ("SETRANGE 100", 100)] {
                let bytes = vec![b'y'; bytes];
                group.bench_function(format!("{name}, {form}"), |b| {
                    b.iter(|| change(next(), &bytes, &mut worker));
                });
            }
            group.bench_function(format!("APPEND 10, {form}"), |b| {
                b.iter_custom(|count| {
                    let (mut took, mut end) = (Duration::ZERO, u64::MAX);
                    for _ in 0..count {
                        // It must not become much longer than it should be.
                        if end > len + len / 8 {
                            fresh(&mut worker);
                            end = len;
                        }
                        let started = Instant::now();
                        change(end, b"0123456789", &mut worker);
                        took += started.elapsed();
                        end += 10;
                    }
                    took
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, parts);
criterion_main!(benches);
