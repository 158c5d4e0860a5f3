//! Tests of the whole pool: files that are not what they should be, trust, exhaustion, threads,
//! a killed process, and a comparison with a plain model over random histories.

use super::{
    Lane, MediumKind, Offset, OpenError, OutOfSpace, Pool, PoolOptions, Sim, Tx, check,
    layout::{FRONTIER, PAGE_BYTES, SUPERBLOCK_BYTES},
    quarantine,
    sim::Survivors,
};
use crate::sync::pin;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Barrier, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

const MIB: u64 = 1 << 20;

fn options(path: Option<&Path>, size_max: u64) -> PoolOptions {
    PoolOptions {
        path: path.map(Path::to_path_buf),
        size_max,
        lanes: 4,
        boot_id: [1; 16],
        hash_seed: [2; 16],
        pool_id: [3; 16],
    }
}

fn anonymous(size_max: u64) -> Pool {
    Pool::open(&options(None, size_max)).unwrap().0
}

/// Runs a transaction that must have room.
fn commit<T>(
    pool: &Pool,
    lane: &mut Lane,
    steps: impl FnOnce(&mut Tx<'_>) -> Result<T, OutOfSpace>,
) -> T {
    let guard = pin();
    let mut tx = pool.begin(lane, &guard);
    let answer = steps(&mut tx).unwrap();
    tx.commit();
    answer
}

fn root_block(pool: &Pool) -> Option<Offset> {
    let at = Offset::from_raw(pool.load_u64(pool.root(), Ordering::Acquire));
    (!at.is_null()).then_some(at)
}

/// Makes a pool file with one block, and leaves it closed or crashed.
fn make_file(path: &Path, clean: bool) {
    let (pool, report) = Pool::open(&options(Some(path), 16 * MIB)).unwrap();
    assert!(report.created);
    let mut lane = pool.lane();
    commit(&pool, &mut lane, |tx| {
        let at = tx.alloc(100)?;
        tx.write_fresh(at, b"kept");
        tx.publish_u64(pool.root(), at.raw())
    });
    drop(lane);
    if clean {
        pool.close().unwrap();
    }
}

/// The head of the file and its length: all that an open could change.
fn fingerprint(path: &Path) -> (u64, Vec<u8>) {
    let mut head = fs::read(path).unwrap();
    head.truncate(256 << 10);
    (fs::metadata(path).unwrap().len(), head)
}

fn refused(path: &Path, options: &PoolOptions) -> OpenError {
    let before = fingerprint(path);
    let error = Pool::open(options).expect_err("must be refused");
    assert_eq!(fingerprint(path), before, "a refused file stays untouched");
    assert!(!error.to_string().contains('\n'));
    error
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[test]
fn foreign_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool");
    let options = options(Some(&path), 16 * MIB);
    for contents in [&b""[..], b"REDIS0010", &[0; 100_000]] {
        fs::write(&path, contents).unwrap();
        assert!(matches!(refused(&path, &options), OpenError::Foreign));
    }
}

#[test]
fn damaged_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool");
    let options = options(Some(&path), 16 * MIB);
    make_file(&path, true);
    let pristine = fs::read(&path).unwrap();
    let damage = |at: u64, bytes: &[u8]| {
        fs::write(&path, &pristine).unwrap();
        for copy in 0..2 {
            overwrite(&path, at + copy * SUPERBLOCK_BYTES, bytes);
        }
    };
    damage(30, b"xx");
    assert!(matches!(refused(&path, &options), OpenError::Damaged(_)));
    damage(8, &99u32.to_le_bytes());
    assert!(matches!(
        refused(&path, &options),
        OpenError::OtherVersion { found: 99, .. }
    ));
    // The page table begins behind four lanes of 8 KiB, at the next 64 KiB.
    fs::write(&path, &pristine).unwrap();
    overwrite(&path, PAGE_BYTES, &[0x77]);
    assert!(matches!(refused(&path, &options), OpenError::Damaged(_)));
    fs::write(&path, &pristine).unwrap();
    overwrite(&path, FRONTIER.raw(), &[0xff; 8]);
    assert!(matches!(refused(&path, &options), OpenError::Damaged(_)));
    // One bad copy of the superblock does no harm.
    fs::write(&path, &pristine).unwrap();
    overwrite(&path, 30, b"xx");
    let survived = Pool::open(&options);
    fs::write(&path, &pristine).unwrap();
    overwrite(&path, 30 + SUPERBLOCK_BYTES, b"xx");
    assert!(survived.is_ok() || Pool::open(&options).is_ok());
}

#[test]
fn truncated_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool");
    let options = options(Some(&path), 16 * MIB);
    make_file(&path, true);
    let len = fs::metadata(&path).unwrap().len();
    let heap = len - 8 * MIB;
    for shorter in [heap, heap - 1, 10_000] {
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(shorter)
            .unwrap();
        assert!(matches!(
            refused(&path, &options),
            OpenError::Truncated { found, .. } if found == shorter
        ));
    }
}

#[test]
fn a_pool_belongs_to_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool");
    let options = options(Some(&path), 16 * MIB);
    let (pool, _) = Pool::open(&options).unwrap();
    assert!(matches!(refused(&path, &options), OpenError::Locked));
    drop(pool);
    assert!(Pool::open(&options).is_ok());
}

#[test]
fn an_unclean_pool_is_trusted_within_one_boot_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool");
    let same_boot = options(Some(&path), 16 * MIB);
    let next_boot = PoolOptions {
        boot_id: [9; 16],
        ..same_boot.clone()
    };
    make_file(&path, false);
    assert!(matches!(refused(&path, &next_boot), OpenError::Unclean));
    let (pool, report) = Pool::open(&same_boot).unwrap();
    assert!(report.recovered && !report.created);
    assert_eq!(pool.bytes(root_block(&pool).unwrap(), 4, &pin()), b"kept");
    pool.close().unwrap();
    // Closed cleanly it may move to another boot, and belongs to that from then on.
    let (pool, report) = Pool::open(&next_boot).unwrap();
    assert!(!report.recovered);
    drop(pool);
    assert!(matches!(refused(&path, &same_boot), OpenError::Unclean));
    let aside = quarantine(&path).unwrap();
    assert_eq!(aside, directory.path().join("pool.unclean-1"));
    make_file(&path, false);
    assert_eq!(
        quarantine(&path).unwrap(),
        directory.path().join("pool.unclean-2")
    );
    assert!(!path.exists() && aside.exists());
}

#[test]
fn close_needs_all_lanes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool");
    let options = options(Some(&path), 16 * MIB);
    let (pool, report) = Pool::open(&options).unwrap();
    assert!(matches!(
        report.medium,
        MediumKind::File | MediumKind::Tmpfs | MediumKind::Dax
    ));
    let lane = pool.lane();
    assert!(pool.close().is_err());
    drop(lane);
    assert!(Pool::open(&options).unwrap().1.recovered);
}

#[test]
fn unsuitable_options_are_refused() {
    for (size_max, lanes) in [(0, 1), (u64::MAX, 1), (MIB, 0), (MIB, 1025)] {
        let options = PoolOptions {
            lanes,
            ..options(None, size_max)
        };
        assert!(matches!(
            Pool::open(&options),
            Err(OpenError::Unsuitable(_))
        ));
    }
    let nowhere = options(Some(Path::new("/nonexistent/pool")), MIB);
    assert!(matches!(Pool::open(&nowhere), Err(OpenError::Io { .. })));
}

#[test]
fn a_full_disk_is_out_of_space() {
    // A file size limit stands in for a full disk; it is a property of the process, hence a
    // process of its own.
    if let Some(path) = std::env::var_os("EAGLE_TEST_FULL_DISK") {
        let (pool, _) = Pool::open(&options(Some(Path::new(&path)), 1 << 30)).unwrap();
        let mut lane = pool.lane();
        let guard = pin();
        let mut tx = pool.begin(&mut lane, &guard);
        let full = (0..10_000).find(|_| match tx.alloc(64 << 10) {
            Ok(at) => {
                tx.store_fresh_u64(at, 1);
                false
            }
            Err(OutOfSpace) => true,
        });
        assert!(full.is_some_and(|blocks| blocks > 100), "{full:?}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // In units of 512 or 1024 bytes, as the shell will have it.
    let limit = 512 * 1024;
    let test = "pmem::tests::a_full_disk_is_out_of_space";
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "trap '' XFSZ; ulimit -f {limit} && exec \"$0\" --exact {test}",
        ))
        .arg(std::env::current_exe().unwrap())
        .env("EAGLE_TEST_FULL_DISK", directory.path().join("pool"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

/// Waits until the epochs have let go of everything that was retired.
fn drain(pool: &Pool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while pool.usage().retired_blocks > 0 {
        pin().flush();
        assert!(Instant::now() < deadline, "{:?}", pool.usage());
        thread::yield_now();
    }
}

#[test]
fn space_comes_back() {
    let pool = anonymous(4 * MIB);
    for size in [24, 40, 1000, 20_000, 100_000] {
        let mut lane = pool.lane();
        let mut blocks = Vec::new();
        loop {
            let guard = pin();
            let mut tx = pool.begin(&mut lane, &guard);
            match tx.alloc(size) {
                Ok(at) => blocks.push(at),
                Err(OutOfSpace) => break,
            }
            tx.commit();
        }
        let usage = pool.usage();
        assert_eq!(
            usage.allocated,
            (blocks.len() * Pool::size_class(size)) as u64
        );
        assert!(
            usage.allocated * 100 > usage.capacity * 85,
            "{size}: {usage:?}"
        );
        assert!(check::check(&pool, blocks.iter().copied()).is_sound());
        for piece in blocks.chunks(100) {
            commit(&pool, &mut lane, |tx| {
                piece.iter().try_for_each(|&at| tx.free(at))
            });
        }
        assert_eq!(pool.usage().allocated, 0);
        drop(lane);
        drain(&pool);
        assert_eq!(pool.usage().free, pool.usage().capacity, "{size}");
    }
}

#[test]
fn blocks_wait_for_readers() {
    let pool = anonymous(16 * MIB);
    let mut lane = pool.lane();
    let at = commit(&pool, &mut lane, |tx| {
        let at = tx.alloc(40)?;
        tx.write_fresh(at, b"read me");
        Ok(at)
    });
    let reader = pin();
    let seen = pool.bytes(at, 7, &reader);
    commit(&pool, &mut lane, |tx| tx.free(at));
    assert_eq!(pool.usage().retired_blocks, 1);
    for _ in 0..5000 {
        let other = commit(&pool, &mut lane, |tx| tx.alloc(40));
        assert_ne!(other, at);
    }
    assert_eq!(seen, b"read me");
}

#[test]
fn the_largest_block_exceeds_600_mib() {
    let pool = anonymous(1 << 30);
    let mut lane = pool.lane();
    let size = 600 << 20;
    let at = commit(&pool, &mut lane, |tx| {
        let at = tx.alloc(size)?;
        tx.store_fresh_u64(at.plus(size as u64 - 8), 7);
        Ok(at)
    });
    assert_eq!(pool.usable_size(at), size);
    assert_eq!(
        pool.load_u64(at.plus(size as u64 - 8), Ordering::Relaxed),
        7
    );
    let guard = pin();
    let mut tx = pool.begin(&mut lane, &guard);
    assert_eq!(tx.alloc(size), Err(OutOfSpace));
    assert_eq!(tx.alloc(usize::MAX), Err(OutOfSpace));
}

#[test]
fn a_transaction_too_large_for_the_log_changes_nothing() {
    let pool = anonymous(8 * MIB);
    let mut lane = pool.lane();
    let at = commit(&pool, &mut lane, |tx| {
        let at = tx.alloc(4096)?;
        tx.zero_fresh(at, 4096);
        Ok(at)
    });
    let guard = pin();
    let mut tx = pool.begin(&mut lane, &guard);
    let stores = (0..).find(|&store| tx.store_u64(at.plus(store % 512 * 8), store + 1).is_err());
    // A quarter of the pool, less what the doubling of chunks leaves unused.
    assert!((30_000..70_000).contains(&stores.unwrap()), "{stores:?}");
    assert!(tx.write_bytes(at, &[1; 4096]).is_err());
    drop(tx);
    for word in 0..512 {
        assert_eq!(pool.load_u64(at.plus(word * 8), Ordering::Relaxed), 0);
    }
    // The log's pages are free again, and the lane works.
    assert_eq!(pool.usage().capacity - pool.usage().free, 2 * PAGE_BYTES);
    commit(&pool, &mut lane, |tx| tx.store_u64(at, 1));
    assert!(check::check(&pool, [at]).is_sound());
}

#[test]
fn a_panic_rolls_back() {
    let pool = anonymous(8 * MIB);
    let panicked = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut lane = pool.lane();
            let guard = pin();
            let mut tx = pool.begin(&mut lane, &guard);
            tx.store_u64(pool.root(), 5).unwrap();
            tx.alloc(100).unwrap();
            pool.load_u64(Offset::from_raw(1 << 50), Ordering::Relaxed);
        });
        writer.join().is_err()
    });
    assert!(panicked, "an access out of bounds panics");
    assert_eq!(root_block(&pool), None);
    assert!(check::check(&pool, []).is_sound());
}

#[test]
fn misuse_is_caught() {
    fn panics(steps: impl FnOnce(&Pool, &mut Tx<'_>) + Send) -> bool {
        let pool = anonymous(8 * MIB);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut lane = pool.lane();
                let guard = pin();
                steps(&pool, &mut pool.begin(&mut lane, &guard));
            });
            writer.join().is_err()
        })
    }
    assert!(panics(|pool, tx| tx.free(pool.root()).unwrap()));
    assert!(panics(|_, tx| {
        let at = tx.alloc(40).unwrap();
        tx.free(at.plus(8)).unwrap();
    }));
    assert!(panics(|_, tx| {
        let at = tx.alloc(40).unwrap();
        tx.free(at.plus(48)).unwrap();
    }));
    assert!(panics(|pool, tx| tx
        .store_u64(pool.root().plus(4), 1)
        .unwrap()));
    assert!(panics(|_, tx| tx
        .publish_u64(Offset::from_raw(1 << 40), 1)
        .unwrap()));
    assert!(panics(|_, tx| {
        let outer = tx.savepoint();
        tx.alloc(1).unwrap();
        let inner = tx.savepoint();
        tx.rollback_to(&outer);
        tx.rollback_to(&inner);
    }));
    assert!(!panics(|_, tx| {
        let at = tx.alloc(40).unwrap();
        tx.free(at).unwrap();
    }));
}

#[test]
fn lanes_are_waited_for() {
    let options = PoolOptions {
        lanes: 1,
        ..options(None, MIB)
    };
    let (pool, _) = Pool::open(&options).unwrap();
    let lane = pool.lane();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| drop(pool.lane()));
        thread::sleep(Duration::from_millis(20));
        assert!(!waiter.is_finished());
        drop(lane);
    });
}

#[test]
fn threads_share_the_pool() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 4000;
    let pool = anonymous(64 * MIB);
    let barrier = Barrier::new(THREADS as usize);
    let cell = |thread: u64, index: u64| pool.root().plus(thread * 1024 + index % 16 * 8);
    let phase = |own: u64, theirs: u64| {
        // Blocks are freed by another thread than the one that allocated them.
        let mut lane = pool.lane();
        for round in 0..ROUNDS {
            let guard = pin();
            let at = cell(theirs, round);
            let old = Offset::from_raw(pool.load_u64(at, Ordering::Acquire));
            if !old.is_null() {
                let value = pool.load_u64(old, Ordering::Relaxed);
                let len = pool.usable_size(old);
                let bytes = pool.bytes(old.plus(8), len - 8, &guard);
                assert!(bytes.iter().all(|&byte| byte == value as u8));
            }
            let mut tx = pool.begin(&mut lane, &guard);
            let size = 16 + (round * 37 + own * 11) % 600;
            let new = tx.alloc(size as usize).unwrap();
            let len = pool.usable_size(new);
            tx.store_fresh_u64(new, round);
            tx.write_fresh(new.plus(8), &vec![round as u8; len - 8]);
            tx.publish_u64(at, new.raw()).unwrap();
            if !old.is_null() {
                tx.free(old).unwrap();
            }
            if round % 7 == 3 {
                drop(tx);
            } else {
                tx.commit();
            }
        }
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (phase, barrier) = (&phase, &barrier);
            scope.spawn(move || {
                phase(thread, thread);
                barrier.wait();
                phase(thread, (thread + 1) % THREADS);
            });
        }
    });
    let blocks = (0..THREADS)
        .flat_map(|thread| (0..16).map(move |index| (thread, index)))
        .map(|(thread, index)| {
            Offset::from_raw(pool.load_u64(cell(thread, index), Ordering::Relaxed))
        })
        .filter(|at| !at.is_null());
    let report = check::check(&pool, blocks);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.bytes, pool.usage().allocated);
    drain(&pool);
}

/// The checker must see what it is there for.
#[test]
fn the_checker_finds_leaks_and_dangling_offsets() {
    let pool = anonymous(8 * MIB);
    let mut lane = pool.lane();
    let (small, large) = commit(&pool, &mut lane, |tx| {
        Ok((tx.alloc(40)?, tx.alloc(70_000)?))
    });
    assert!(check::check(&pool, [small, large]).is_sound());
    let report = check::check(
        &pool,
        [small, small, small.plus(40), small.plus(1), Offset::NULL],
    );
    assert_eq!(report.leaked.first, [large]);
    assert_eq!(report.shared.first, [small]);
    assert_eq!(report.dangling.count, 3);
    assert_eq!(check::check(&pool, []).leaked.first, [small, large]);
    let guard = pin();
    let mut tx = pool.begin(&mut lane, &guard);
    tx.store_u64(pool.root(), 1).unwrap();
    let report = check::check(&pool, [small, large]);
    assert_eq!(report.faults, ["1 logs are not truncated"]);
}

#[derive(Debug, Clone)]
enum Step {
    Set { key: u8, len: usize, fill: u8 },
    Delete { key: u8 },
    Settle,
    Savepoint,
    RollbackTo,
}

#[derive(Debug, Clone)]
enum Turn {
    Commit(Vec<Step>),
    Drop(Vec<Step>),
    /// Crash with all stores surviving and reopen, indexing this many slabs at once.
    Reopen(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![8 => 1usize..300, 2 => 300usize..9000, 1 => 32_000usize..150_000];
    prop_oneof![
        6 => (0u8..24, len, any::<u8>()).prop_map(|(key, len, fill)| Step::Set { key, len, fill }),
        3 => (0u8..24).prop_map(|key| Step::Delete { key }),
        1 => Just(Step::Settle),
        1 => Just(Step::Savepoint),
        1 => Just(Step::RollbackTo),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        8 => prop::collection::vec(step(), 1..6).prop_map(Turn::Commit),
        2 => prop::collection::vec(step(), 1..6).prop_map(Turn::Drop),
        1 => (0usize..4).prop_map(Turn::Reopen),
    ]
}

type Model = BTreeMap<u8, (usize, u8)>;

fn key_at(pool: &Pool, key: u8) -> Offset {
    pool.root().plus(u64::from(key) * 8)
}

fn apply(tx: &mut Tx<'_>, model: &mut Model, steps: &[Step]) -> Result<(), OutOfSpace> {
    let pool = tx.pool();
    let mut points = Vec::new();
    for step in steps {
        match *step {
            Step::Set { key, len, fill } => {
                tx.settle();
                let at = key_at(pool, key);
                let old = Offset::from_raw(pool.load_u64(at, Ordering::Relaxed));
                let new = tx.alloc(len)?;
                tx.write_fresh(new, &vec![fill; len]);
                tx.publish_u64(at, new.raw())?;
                if !old.is_null() {
                    tx.free(old)?;
                }
                model.insert(key, (len, fill));
            }
            Step::Delete { key } => {
                tx.settle();
                let at = key_at(pool, key);
                let old = Offset::from_raw(pool.load_u64(at, Ordering::Relaxed));
                if model.remove(&key).is_some() {
                    tx.publish_u64(at, 0)?;
                    tx.free(old)?;
                }
            }
            Step::Settle => tx.settle(),
            Step::Savepoint => points.push((tx.savepoint(), model.clone())),
            Step::RollbackTo => {
                if let Some((point, then)) = points.pop() {
                    tx.rollback_to(&point);
                    *model = then;
                }
            }
        }
    }
    Ok(())
}

fn compare(pool: &Pool, model: &Model) {
    let guard = pin();
    let mut blocks = Vec::new();
    for key in 0..24 {
        let at = Offset::from_raw(pool.load_u64(key_at(pool, key), Ordering::Relaxed));
        assert_eq!(!at.is_null(), model.contains_key(&key));
        if let Some(&(len, fill)) = model.get(&key) {
            assert_eq!(pool.usable_size(at), Pool::size_class(len));
            assert!(pool.bytes(at, len, &guard).iter().all(|&byte| byte == fill));
            blocks.push(at);
        }
    }
    let report = check::check(pool, blocks);
    assert!(report.is_sound(), "{report:?}");
    let usage = pool.usage();
    assert!(usage.allocated >= report.bytes);
    assert!(
        !usage.exact || usage.allocated == report.bytes,
        "{usage:?} {report:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn histories_match_the_model(turns in prop::collection::vec(turn(), 1..24)) {
        let mut sim = Sim::new(6 * MIB, 2);
        let mut pool = Pool::simulated(&sim).unwrap().0;
        let mut model = Model::new();
        for turn in turns {
            match turn {
                Turn::Commit(steps) => {
                    let (mut lane, guard) = (pool.lane(), pin());
                    let mut tx = pool.begin(&mut lane, &guard);
                    let mut changed = model.clone();
                    // A transaction that finds no room is dropped.
                    if apply(&mut tx, &mut changed, &steps).is_ok() {
                        tx.commit();
                        model = changed;
                    }
                }
                Turn::Drop(steps) => {
                    let (mut lane, guard) = (pool.lane(), pin());
                    let mut tx = pool.begin(&mut lane, &guard);
                    let _ = apply(&mut tx, &mut model.clone(), &steps);
                }
                Turn::Reopen(slabs_max) => {
                    let mut replay = sim.replay();
                    while replay.step() {}
                    sim = sim.after_crash(replay.image(Survivors::Everything));
                    pool = Pool::simulated(&sim).unwrap().0;
                    pool.index_step(slabs_max);
                }
            }
            compare(&pool, &model);
        }
    }
}

/// A child process that writes until it is killed: each of two threads counts in a word and keeps
/// a block with the same number, in one transaction.
fn write_until_killed(path: PathBuf) -> ! {
    let (pool, _) = Pool::open(&options(Some(&path), 64 * MIB)).unwrap();
    println!("ready");
    thread::scope(|scope| {
        for writer in 0..2 {
            let pool = &pool;
            scope.spawn(move || {
                let mut lane = pool.lane();
                let at = pool.root().plus(writer * 64);
                for round in pool.load_u64(at, Ordering::Relaxed) + 1.. {
                    let old = Offset::from_raw(pool.load_u64(at.plus(8), Ordering::Relaxed));
                    commit(pool, &mut lane, |tx| {
                        let new = tx.alloc(16 + (round % 3000) as usize)?;
                        tx.store_fresh_u64(new, round);
                        tx.store_u64(at, round)?;
                        if round % 3 == 0 {
                            tx.store_u64(at.plus(8), new.raw())?;
                        } else {
                            tx.publish_u64(at.plus(8), new.raw())?;
                        }
                        if old.is_null() { Ok(()) } else { tx.free(old) }
                    });
                }
            });
        }
    });
    unreachable!("the rounds do not end");
}

#[test]
fn a_killed_process_loses_nothing() {
    const CHILD: &str = "EAGLE_TEST_POOL_TO_WRITE";
    if let Some(path) = std::env::var_os(CHILD) {
        write_until_killed(path.into());
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool");
    let mut last = [0; 2];
    for kill in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "pmem::tests::a_killed_process_loses_nothing",
                "--nocapture",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        let ready = std::io::BufRead::lines(output).any(|line| line.unwrap().contains("ready"));
        assert!(ready);
        thread::sleep(Duration::from_micros(kill * kill * 700));
        child.kill().unwrap();
        child.wait().unwrap();
        let (pool, report) = Pool::open(&options(Some(&path), 64 * MIB)).unwrap();
        assert!(report.recovered);
        let mut blocks = Vec::new();
        for (writer, last) in last.iter_mut().enumerate() {
            let at = pool.root().plus(writer as u64 * 64);
            let round = pool.load_u64(at, Ordering::Relaxed);
            assert!(round >= *last, "counted {last} before, {round} now");
            *last = round;
            if round > 0 {
                let block = Offset::from_raw(pool.load_u64(at.plus(8), Ordering::Relaxed));
                assert_eq!(pool.load_u64(block, Ordering::Relaxed), round);
                blocks.push(block);
            }
        }
        let check = check::check(&pool, blocks);
        assert!(check.is_sound(), "{check:?}");
    }
    assert!(last.iter().all(|&rounds| rounds > 100), "{last:?}");
}
