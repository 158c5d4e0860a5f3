//! Logs as older versions have left them.

use super::{
    Pool, Sim,
    alloc::Claims,
    check,
    layout::LANE_HEADER_BYTES,
    log::{self, Identity, Kind},
    sim::Survivors,
};
use crate::sync::pin;
use std::sync::atomic::Ordering;

/// In format 2 each block of a slab has an entry of its own. What such a log says is done, forwards and backwards.
#[test]
fn logs_of_format_2_are_ended() {
    for is_committed in [false, true] {
        let sim = Sim::new(8 << 20, 1);
        let (pool, _) = Pool::simulated(&sim).unwrap();
        let guard = pin();
        let mut lane = pool.lane();
        let mut tx = pool.begin(&mut lane, &guard);
        let old = tx.alloc(40).unwrap();
        tx.publish_u64(pool.root(), old.raw()).unwrap();
        tx.commit();
        drop(lane);

        let (heap, medium) = (pool.heap(), pool.medium());
        let new = heap.alloc(&mut Claims::new(), 40).unwrap();
        let header = heap.geometry.lane(0);
        let generation = medium.load(header, Ordering::Relaxed);
        let identity = Identity::new(&pool.hash_seed(), 0, generation);
        let entries = [
            (Kind::Alloc, new.at, new.extent.encode()),
            (Kind::Free, old, new.extent.encode()),
            (Kind::Publish, pool.root(), new.at.raw()),
        ];
        for (i, (kind, at, value)) in (0..).zip(entries) {
            let position = header.plus(LANE_HEADER_BYTES + i * log::ENTRY_BYTES);
            log::write_words(
                medium,
                identity,
                position,
                i as u32 + 1,
                kind,
                (at, value),
                &[],
            );
        }
        // A bit may be persistent before the word that decides.
        heap.set_allocated(&new, true);
        if is_committed {
            medium.store(pool.root(), new.at.raw());
        }

        let mut replay = sim.replay();
        while replay.step() {}
        let crashed = sim.after_crash(replay.image(Survivors::Everything));
        let (pool, report) = Pool::simulated(&crashed).unwrap();
        let ended = (report.rolled_back, report.rolled_forward);
        assert_eq!(ended, if is_committed { (0, 1) } else { (1, 0) });
        let kept = if is_committed { new.at } else { old };
        assert_eq!(pool.load_u64(pool.root(), Ordering::Relaxed), kept.raw());
        let report = check::check(&pool, [kept]);
        assert!(report.is_sound(), "{report:?}");
    }
}

/// A name that is none of a block is damage: the pool is refused, and nothing of it changes.
#[test]
fn names_of_no_block_are_refused() {
    let sim = Sim::new(8 << 20, 1);
    let (pool, _) = Pool::simulated(&sim).unwrap();
    let (guard, mut lane) = (pin(), pool.lane());
    let mut tx = pool.begin(&mut lane, &guard);
    let block = tx.alloc(40).unwrap();
    tx.publish_u64(pool.root(), block.raw()).unwrap();
    tx.commit();
    let header = pool.heap().geometry.lane(0);
    let generation = pool.medium().load(header, Ordering::Relaxed);
    let identity = Identity::new(&pool.hash_seed(), 0, generation);
    let class = 4;
    let name = |at, class| {
        log::Name {
            at,
            class,
            freed: false,
        }
        .encode()
    };
    let cases = [
        (name(block, class), true),
        (name(block, class + 1), false),
        (name(block.plus(8), class), false),
        (name(pool.root(), class), false),
        (name(block, class) | 2, false),
    ];
    for (word, is_sound) in cases {
        let (medium, position) = (pool.medium(), header.plus(LANE_HEADER_BYTES));
        let nothing = (super::Offset::NULL, 0);
        log::write_words(
            medium,
            identity,
            position,
            1,
            Kind::Blocks,
            nothing,
            &[word],
        );
        let mut replay = sim.replay();
        while replay.step() {}
        let crashed = sim.after_crash(replay.image(Survivors::Everything));
        assert_eq!(Pool::simulated(&crashed).is_ok(), is_sound, "{word:#x}");
    }
}
