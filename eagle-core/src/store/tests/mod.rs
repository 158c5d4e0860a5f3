//! Tests of the keyspace as its callers use it.

mod basics;
mod crash;
mod crash_fields;
mod crash_strings;
mod damage;
mod defrag;
mod defrag_inside;
mod field_ops;
mod fields;
mod hashes;
mod integers;
mod lists;
mod model;
mod mutation;
mod mutation_scenarios;
mod sets;
mod sharing;
mod snapshot;
mod snapshot_model;
mod streams;
mod strings;
mod threads;
mod walks;
mod zsets;

use super::{Access, Keyspace, PoolOptions, View, Worker, key_slot};
use crate::sync::Guard;

/// An empty keyspace in anonymous memory.
fn open(size: u64) -> Keyspace {
    Keyspace::open(&PoolOptions::in_memory(size))
        .expect("a pool in memory")
        .0
}

/// A keyspace with the one worker of a test.
struct Fixture {
    keyspace: Keyspace,
    worker: Worker,
    guard: Guard,
    now_ms: u64,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::on(open(64 << 20))
    }

    fn on(keyspace: Keyspace) -> Fixture {
        let worker = keyspace.worker();
        Fixture {
            keyspace,
            worker,
            guard: crate::sync::pin(),
            now_ms: 1000,
        }
    }

    fn all(&mut self) -> View<'_> {
        self.keyspace
            .view(&mut self.worker, &self.guard, Access::All, self.now_ms)
    }

    fn free(&mut self) -> View<'_> {
        self.keyspace
            .view(&mut self.worker, &self.guard, Access::LockFree, self.now_ms)
    }

    /// One change of one key by itself.
    fn one<T>(&mut self, key: &[u8], change: impl FnOnce(&mut View<'_>) -> T) -> T {
        let slots = [key_slot(key)];
        let mut view = self.keyspace.view(
            &mut self.worker,
            &self.guard,
            Access::Slots(&slots),
            self.now_ms,
        );
        let result = change(&mut view);
        view.commit();
        result
    }

    /// One change of anything by itself.
    fn run<T>(&mut self, change: impl FnOnce(&mut View<'_>) -> T) -> T {
        let mut view = self.all();
        let result = change(&mut view);
        view.commit();
        result
    }

    /// Frees all trash and checks that nothing is wrong and nothing leaked.
    fn check(&mut self) {
        while self.keyspace.reap_step(&mut self.worker, 1000) {}
        let report = self.keyspace.check();
        assert_eq!(report.faults, Vec::<String>::new());
        assert_eq!(
            report.bytes,
            self.keyspace.usage().used,
            "allocated blocks are not reachable"
        );
    }
}
