//! Cost of the pool's transactions on anonymous memory: what a SET, a counter and a read pay
//! below the keyspace. Run with `cargo bench -p eagle-core --bench pool`.

use criterion::{Criterion, criterion_group, criterion_main};
use eagle_core::{
    pmem::{Lane, Offset, Pool, PoolOptions, RingRecord},
    sync::pin,
};
use std::{hint::black_box, sync::atomic::Ordering};

/// Slots to overwrite: enough that blocks of many slabs are freed, few enough for the cache.
const SLOTS: u64 = 1024;

struct Keyspace {
    pool: Pool,
    lane: Lane,
    /// What each SET adds to the log ring, if there is one.
    record: Vec<u8>,
    /// One word per slot.
    table: Offset,
    next: u64,
}

impl Keyspace {
    fn new() -> Keyspace {
        let options = PoolOptions {
            path: None,
            size_max: 256 << 20,
            lanes: 2,
            boot_id: [0; 16],
            hash_seed: [1; 16],
            pool_id: [2; 16],
        };
        let (pool, _) = Pool::open(&options).expect("anonymous memory");
        let mut lane = pool.lane();
        let guard = pin();
        let mut tx = pool.begin(&mut lane, &guard);
        let table = tx.alloc(SLOTS as usize * 8).expect("room");
        tx.zero_fresh(table, SLOTS as usize * 8);
        tx.publish_u64(pool.root(), table.raw()).expect("room");
        tx.commit();
        drop(guard);
        Keyspace {
            pool,
            lane,
            record: vec![b'x'; 67],
            table,
            next: 0,
        }
    }

    /// A fresh 40-byte block, a counter, a publish, and the old block freed.
    fn set(&mut self) {
        self.next += 1;
        let slot = self
            .table
            .plus(self.next.wrapping_mul(0x9e37_79b9) % SLOTS * 8);
        let guard = pin();
        let old = self.pool.load_u64(slot, Ordering::Acquire);
        let mut tx = self.pool.begin(&mut self.lane, &guard);
        let new = tx.alloc(40).expect("room");
        tx.write_fresh(new, black_box(&[7; 40]));
        tx.store_u64(self.pool.root().plus(64), self.next)
            .expect("room");
        tx.publish_u64(slot, new.raw()).expect("room");
        if old != 0 {
            tx.free(Offset::from_raw(old)).expect("room");
        }
        tx.commit_logged(&RingRecord {
            enters: 0,
            bring: b"",
            body: &self.record,
            leaves: 0,
        });
    }

    fn count(&mut self) {
        self.next += 1;
        let guard = pin();
        let mut tx = self.pool.begin(&mut self.lane, &guard);
        tx.publish_u64(self.pool.root().plus(64), self.next)
            .expect("room");
        tx.commit();
    }

    fn read(&mut self) -> u8 {
        self.next += 1;
        let slot = self
            .table
            .plus(self.next.wrapping_mul(0x9e37_79b9) % SLOTS * 8);
        let guard = pin();
        let at = Offset::from_raw(self.pool.load_u64(slot, Ordering::Acquire));
        self.pool.bytes(at, 40, &guard)[39]
    }
}

fn transactions(criterion: &mut Criterion) {
    let mut keyspace = Keyspace::new();
    for _ in 0..100_000 {
        keyspace.set();
    }
    let mut group = criterion.benchmark_group("pool");
    group.bench_function("pin", |bencher| bencher.iter(pin));
    group.bench_function("set 40 B", |bencher| bencher.iter(|| keyspace.set()));
    let ring = |keyspace: &mut Keyspace, kept_bytes| {
        let resized = keyspace
            .pool
            .ring_resize(&mut keyspace.lane, &pin(), kept_bytes);
        resized.expect("room");
    };
    ring(&mut keyspace, Some(16 << 20));
    group.bench_function("set 40 B, logged", |bencher| {
        bencher.iter(|| keyspace.set())
    });
    ring(&mut keyspace, None);
    group.bench_function("publish a counter", |bencher| {
        bencher.iter(|| keyspace.count())
    });
    group.bench_function("read 40 B", |bencher| bencher.iter(|| keyspace.read()));
    group.finish();
}

criterion_group!(benches, transactions);
criterion_main!(benches);
