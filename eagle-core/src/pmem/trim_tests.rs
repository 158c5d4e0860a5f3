//! Storage of free pages goes back to the system, and comes again when it is needed.

use super::{Lane, Offset, Pool, PoolOptions, check};
use crate::sync::pin;
use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const MIB: u64 = 1 << 20;
const BLOCK_BYTES: usize = 100_000;

fn open(path: Option<&Path>) -> Pool {
    let options = PoolOptions {
        path: path.map(Path::to_path_buf),
        size_max: 128 * MIB,
        lanes: 4,
        boot_id: [1; 16],
        hash_seed: [2; 16],
        pool_id: [3; 16],
    };
    Pool::open(&options).unwrap().0
}

fn fill(pool: &Pool, lane: &mut Lane, count: usize, byte: u8) -> Vec<Offset> {
    let guard = pin();
    let mut tx = pool.begin(lane, &guard);
    let blocks: Vec<Offset> = (0..count).map(|_| tx.alloc(BLOCK_BYTES).unwrap()).collect();
    for &at in &blocks {
        tx.write_fresh(at, &[byte; BLOCK_BYTES]);
    }
    tx.commit();
    blocks
}

fn holds(pool: &Pool, blocks: &[Offset], byte: u8) -> bool {
    let guard = pin();
    blocks.iter().all(|&at| {
        let bytes = pool.bytes(at, BLOCK_BYTES, &guard);
        bytes.iter().all(|&found| found == byte)
    })
}

fn free(pool: &Pool, lane: &mut Lane, blocks: Vec<Offset>) {
    let guard = pin();
    let mut tx = pool.begin(lane, &guard);
    blocks.into_iter().for_each(|at| tx.free(at).unwrap());
    tx.commit();
    drop(guard);
    wait_for_release(pool);
}

fn wait_for_release(pool: &Pool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while pool.usage().retired_blocks > 0 {
        pin().flush();
        assert!(Instant::now() < deadline, "{:?}", pool.usage());
        thread::yield_now();
    }
}

fn trim(pool: &Pool) {
    while pool.trim_step(0, MIB) {}
}

#[test]
fn a_file_shrinks_and_grows_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool");
    let stored = || std::fs::metadata(&path).unwrap().blocks() * 512;
    let pool = open(Some(&path));
    let mut lane = pool.lane();
    let kept = fill(&pool, &mut lane, 3, 1);
    let blocks = fill(&pool, &mut lane, 500, 2);
    let kept_too = fill(&pool, &mut lane, 3, 3);
    let full = stored();
    free(&pool, &mut lane, blocks);
    assert_eq!(stored(), full, "nothing goes before it is asked for");
    trim(&pool);
    assert!(stored() + 45 * MIB < full, "{} of {full}", stored());
    assert!(holds(&pool, &kept, 1) && holds(&pool, &kept_too, 3));
    let again = fill(&pool, &mut lane, 250, 4);
    assert!(stored() + 45 * MIB > full, "stores never meet a hole");
    assert!(holds(&pool, &again, 4) && holds(&pool, &kept, 1));
    free(&pool, &mut lane, again);
    trim(&pool);
    // A crash: the next process knows of no holes, and asks for storage before it stores.
    drop((lane, pool));
    let before = stored();
    let pool = open(Some(&path));
    let mut lane = pool.lane();
    assert!(holds(&pool, &kept, 1) && holds(&pool, &kept_too, 3));
    let again = fill(&pool, &mut lane, 250, 5);
    assert!(stored() > before + 20 * MIB);
    assert!(holds(&pool, &again, 5) && holds(&pool, &kept, 1) && holds(&pool, &kept_too, 3));
    let reached = kept.iter().chain(&kept_too).chain(&again).copied();
    assert!(check::check(&pool, reached).is_sound());
}

/// tmpfs clears what it allocates, 64 MiB in nine milliseconds, which a write had to wait for.
#[test]
fn a_pool_on_tmpfs_grows_in_small_steps() {
    let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: there is no /dev/shm to write to");
        return;
    };
    let pool = open(Some(&directory.path().join("pool")));
    let mut lane = pool.lane();
    let (first, mut before) = (pool.usage().mapped, pool.usage().mapped);
    for _ in 0..400 {
        fill(&pool, &mut lane, 1, 1);
        let mapped = pool.usage().mapped;
        assert!(mapped - before <= 4 * MIB, "{before} grew to {mapped}");
        before = mapped;
    }
    assert!(before > first + 20 * MIB);
}

fn free_and_give_back(pool: &Pool, lane: &mut Lane, blocks: Vec<Offset>) {
    let guard = pin();
    let mut tx = pool.begin(lane, &guard);
    blocks.into_iter().for_each(|at| tx.free(at).unwrap());
    tx.commit();
    drop(guard);
    lane.give_back(&pin());
    wait_for_release(pool);
}

/// One block of each of many sizes takes a slab of each, which stays with the lane when they are freed.
#[test]
fn a_lane_gives_back_the_slabs_it_holds() {
    let pool = open(None);
    let mut lane = pool.lane();
    let start = pool.usage();
    for round in 0..3 {
        let guard = pin();
        let mut tx = pool.begin(&mut lane, &guard);
        let sizes = (8..32 << 10).step_by(200);
        let blocks: Vec<Offset> = sizes.map(|bytes| tx.alloc(bytes).unwrap()).collect();
        tx.commit();
        drop(guard);
        let full = pool.usage();
        assert!(full.held > 4 * MIB, "{full:?}");
        if round == 1 {
            // Slabs that are not empty are others' to use then.
            lane.give_back(&pin());
            assert_eq!(pool.usage().held, 0);
            assert_eq!(pool.usage().free, full.free);
            let mut other = pool.lane();
            let guard = pin();
            let mut tx = pool.begin(&mut other, &guard);
            let more: Vec<Offset> = (8..4096)
                .step_by(200)
                .map(|bytes| tx.alloc(bytes).unwrap())
                .collect();
            tx.commit();
            drop(guard);
            assert_eq!(pool.usage().free, full.free, "no new slab for them");
            drop(other);
            free_and_give_back(&pool, &mut lane, more);
        }
        free_and_give_back(&pool, &mut lane, blocks);
        let after = pool.usage();
        assert_eq!((after.free, after.held), (start.free, 0), "round {round}");
    }
    assert!(check::check(&pool, std::iter::empty()).is_sound());
}

/// Blocks of one thread are freed by another, while both give back their slabs all the time.
#[test]
fn slabs_are_given_back_while_others_free_blocks_in_them() {
    let pool = open(None);
    let start = pool.usage().free;
    let (send, receive) = std::sync::mpsc::channel::<Vec<Offset>>();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut lane = pool.lane();
            for round in 0..300usize {
                let guard = pin();
                let mut tx = pool.begin(&mut lane, &guard);
                let sizes = (0..40).map(|n| 1 + (round * 37 + n * 211) % 6000);
                let blocks = sizes.map(|bytes| tx.alloc(bytes).unwrap()).collect();
                tx.commit();
                drop(guard);
                send.send(blocks).unwrap();
                if round % 3 == 0 {
                    lane.give_back(&pin());
                }
            }
            drop(send);
        });
        let mut lane = pool.lane();
        for (round, blocks) in receive.into_iter().enumerate() {
            let guard = pin();
            let mut tx = pool.begin(&mut lane, &guard);
            // Some of its own, so that it has slabs as well.
            let own = tx.alloc(1 + round * 13 % 3000).unwrap();
            blocks.into_iter().for_each(|at| tx.free(at).unwrap());
            tx.commit();
            let mut tx = pool.begin(&mut lane, &guard);
            tx.free(own).unwrap();
            tx.commit();
            drop(guard);
            if round % 4 == 0 {
                lane.give_back(&pin());
            }
        }
        lane.give_back(&pin());
    });
    wait_for_release(&pool);
    let usage = pool.usage();
    assert_eq!((usage.allocated, usage.held, usage.free), (0, 0, start));
    assert!(check::check(&pool, std::iter::empty()).is_sound());
}

#[test]
fn trimming_disturbs_nobody() {
    let pool = open(None);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                pool.trim_step(0, MIB);
            }
        });
        let writers: Vec<_> = (0..2u8)
            .map(|writer| {
                let pool = &pool;
                scope.spawn(move || {
                    let mut lane = pool.lane();
                    for round in 0..20u8 {
                        let byte = 2 * round + writer + 1;
                        let blocks = fill(pool, &mut lane, 50, byte);
                        assert!(holds(pool, &blocks, byte));
                        free(pool, &mut lane, blocks);
                    }
                })
            })
            .collect();
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(pool.usage().allocated, 0);
    assert!(check::check(&pool, std::iter::empty()).is_sound());
}
