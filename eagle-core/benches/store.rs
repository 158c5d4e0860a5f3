//! The keyspace on its own, in one thread: GET, SET and HSET over a million keys, and what a key costs in memory.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use eagle_core::pmem::Pool;
use eagle_core::store::{Access, Guard, Keyspace, PoolOptions, StringForm, Ttl, Worker, key_slot};

const KEYS: u64 = 1_000_000;
const FIELDS: u64 = 100_000;

/// A generator of keys in no order.
struct Keys(u64);

impl Keys {
    fn next(&mut self) -> [u8; 16] {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        name((self.0 >> 33) % KEYS)
    }
}

/// A key of 16 bytes.
fn name(number: u64) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    let mut rest = number;
    for digit in name[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

fn open() -> (Keyspace, Worker) {
    let (keyspace, _) =
        Keyspace::open(&PoolOptions::in_memory(2 << 30)).expect("memory for a pool");
    let worker = keyspace.worker();
    (keyspace, worker)
}

fn set(keyspace: &Keyspace, worker: &mut Worker, guard: &Guard, key: &[u8], value: &[u8]) {
    let slots = [key_slot(key)];
    let mut view = keyspace.view(worker, guard, Access::Slots(&slots), 0);
    view.set_string(0, key, value, StringForm::Auto, Ttl::Clear)
        .expect("room");
    view.commit();
}

fn hset(keyspace: &Keyspace, worker: &mut Worker, guard: &Guard, field: &[u8], value: &[u8]) {
    let slots = [key_slot(b"hash")];
    let mut view = keyspace.view(worker, guard, Access::Slots(&slots), 0);
    view.hash_set(0, b"hash", field, value).expect("room");
    view.commit();
}

/// Prints the bytes a key costs: all in, and without the blobs.
fn print_memory(keyspace: &Keyspace, worker: &mut Worker, value_bytes: usize) {
    let guard = keyspace.pin();
    let (mut keys, mut blobs) = (0u64, 0u64);
    let view = keyspace.view(worker, &guard, Access::All, 0);
    view.for_each(0, &mut |entry| {
        keys += 1;
        blobs += Pool::size_class(entry.bytes() as usize) as u64;
    });
    let used = keyspace.usage().used;
    println!(
        "{keys} keys of 16 bytes with values of {value_bytes}: {:.1} bytes each, {:.1} of them index",
        used as f64 / keys as f64,
        (used - blobs) as f64 / keys as f64
    );
}

fn store(c: &mut Criterion) {
    let (keyspace, mut worker) = open();
    let value = b"value-of-16-byte";
    let mut group = c.benchmark_group("store");
    group
        .throughput(Throughput::Elements(1))
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));

    for number in 0..KEYS {
        let guard = keyspace.pin();
        set(&keyspace, &mut worker, &guard, &name(number), value);
    }
    print_memory(&keyspace, &mut worker, value.len());

    let mut keys = Keys(1);
    group.bench_function("get", |b| {
        let guard = keyspace.pin();
        b.iter(|| {
            let key = keys.next();
            let view = keyspace.view(&mut worker, &guard, Access::LockFree, 0);
            black_box(view.string(0, &key).expect("a string")).map(|text| text.len())
        });
    });
    group.bench_function("get-missing", |b| {
        let guard = keyspace.pin();
        b.iter(|| {
            let mut key = keys.next();
            key[0] = b'x';
            let view = keyspace.view(&mut worker, &guard, Access::LockFree, 0);
            black_box(view.find(0, &key)).is_none()
        });
    });
    // The same sixteen look-ups one after the other, and with all of them asked for first.
    for (name, ahead) in [("get-16", false), ("get-16-prefetched", true)] {
        group.throughput(Throughput::Elements(16));
        group.bench_function(name, |b| {
            let guard = keyspace.pin();
            b.iter(|| {
                let batch: [[u8; 16]; 16] = std::array::from_fn(|_| keys.next());
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
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    // A pin for every few operations, as a server takes one for every batch of commands: without that nothing is
    // ever reclaimed.
    group.bench_function("set-again", |b| {
        b.iter_batched_ref(
            || keyspace.pin(),
            |guard| {
                set(&keyspace, &mut worker, guard, &keys.next(), value);
            },
            BatchSize::SmallInput,
        );
    });
    let field = |number: u64| name(number % FIELDS);
    for number in 0..FIELDS {
        let guard = keyspace.pin();
        hset(&keyspace, &mut worker, &guard, &field(number), value);
    }
    group.bench_function("hset-again", |b| {
        b.iter_batched_ref(
            || keyspace.pin(),
            |guard| {
                let field = field(keys.next()[15].into());
                hset(&keyspace, &mut worker, guard, &field, value);
            },
            BatchSize::SmallInput,
        );
    });
    let mut next = KEYS;
    group.bench_function("set-new", |b| {
        b.iter_batched_ref(
            || keyspace.pin(),
            |guard| {
                set(&keyspace, &mut worker, guard, &name(next), value);
                next += 1;
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, store);
criterion_main!(benches);
