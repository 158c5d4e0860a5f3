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
