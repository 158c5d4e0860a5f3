//! Every system call that the pool makes fails in turn, with EIO and with ENOSPC: while a pool is made, opened (after a
//! clean end and after a crash), grown, trimmed, closed and set aside. Nothing panics, the error says what was being done, and what was
//! in the pool before is in it afterwards.
//!
//! And superblocks of which only a part reached the disk.

use super::{
    Lane, Offset, OpenError, OutOfSpace, Pool, PoolOptions, check,
    faults::{self, Failure},
    layout::SUPERBLOCK_BYTES,
    set_aside,
};
use crate::sync::pin;
use rustix::io::Errno;
use std::{
    fs,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// More calls than anything makes here.
const CALLS_MAX: u32 = 200;

fn options(path: &Path) -> PoolOptions {
    PoolOptions {
        path: Some(path.to_path_buf()),
        size_max: 128 << 20,
        lanes: 2,
        boot_id: [1; 16],
        hash_seed: [2; 16],
        pool_id: [3; 16],
    }
}

/// Makes a list of blocks, each of which refers to the one before, longer by a block of so many bytes.
fn push(pool: &Pool, lane: &mut Lane, bytes: usize) -> Result<(), OutOfSpace> {
    let guard = pin();
    let before = pool.load_u64(pool.root(), Ordering::Acquire);
    let mut tx = pool.begin(lane, &guard);
    let at = tx.alloc(bytes)?;
    tx.store_fresh_u64(at, before);
    tx.store_fresh_u64(at.plus(bytes as u64 - 8), before);
    tx.publish_u64(pool.root(), at.raw())?;
    tx.commit();
    Ok(())
}

/// Blocks of the list.
fn blocks(pool: &Pool) -> Vec<Offset> {
    let next = |at: u64| (at != 0).then(|| Offset::from_raw(at));
    let first = next(pool.load_u64(pool.root(), Ordering::Acquire));
    std::iter::successors(first, |at| next(pool.load_u64(*at, Ordering::Acquire))).collect()
}

/// A pool that opens, is sound and has so many blocks.
fn opens_with(path: &Path, expected: usize) -> Pool {
    let (pool, _) = Pool::open(&options(path)).unwrap();
    let found = blocks(&pool);
    assert_eq!(found.len(), expected);
    let report = check::check(&pool, found);
    assert!(report.is_sound(), "{report:?}");
    pool
}

fn says_what_failed(error: &OpenError) {
    let text = error.to_string();
    assert!(matches!(error, OpenError::Io { .. }), "{text}");
    assert!(!text.contains('\n') && text.len() > 20, "{text}");
}

/// Does something with one of its calls failing; what came of it, and whether that call came up.
fn with_failure<T>(at: u32, error: Errno, attempt: impl FnOnce() -> T) -> (T, bool) {
    with(
        Failure {
            at,
            is_lasting: false,
            error,
        },
        attempt,
    )
}

fn with<T>(failure: Failure, attempt: impl FnOnce() -> T) -> (T, bool) {
    faults::fail(Some(failure));
    let answer = attempt();
    let came_up = faults::calls() > failure.at;
    faults::fail(None);
    (answer, came_up)
}

/// Runs a test with each call failing in turn, with each error, until it says that the call did not come up.
fn each_call_fails(mut test: impl FnMut(u32, Errno) -> bool) {
    for error in [Errno::IO, Errno::NOSPC] {
        let calls = (0..CALLS_MAX).find(|&number| !test(number, error));
        assert!(calls.is_some_and(|calls| calls > 0), "{calls:?}");
    }
}

#[test]
fn a_pool_that_cannot_be_made_leaves_nothing_or_a_pool() {
    let mut failures = 0;
    each_call_fails(|number, error| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool");
        let (made, came_up) = with_failure(number, error, || Pool::open(&options(&path)));
        assert_eq!(made.is_err(), came_up, "no failure goes unheard");
        match made {
            Ok(pool) => drop(pool),
            Err(error) => {
                failures += 1;
                says_what_failed(&error);
                let unfinished = folder.path().join("pool.new");
                assert!(!unfinished.exists(), "its space is not kept");
            }
        }
        drop(opens_with(&path, 0));
        came_up
    });
    assert!(failures > 10, "{failures}");
}

/// A pool file of three blocks.
fn make(path: &Path, is_clean: bool) {
    let (pool, _) = Pool::open(&options(path)).unwrap();
    let mut lane = pool.lane();
    for bytes in [104, 5000, 200_000] {
        push(&pool, &mut lane, bytes).unwrap();
    }
    drop(lane);
    if is_clean {
        pool.close().unwrap();
    }
}

#[test]
fn a_pool_that_cannot_be_opened_keeps_what_it_has() {
    for is_clean in [true, false] {
        each_call_fails(|number, error| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("pool");
            make(&path, is_clean);
            let (opened, came_up) = with_failure(number, error, || Pool::open(&options(&path)));
            assert_eq!(opened.is_err(), came_up, "no failure goes unheard");
            match opened {
                Ok(pool) => drop(pool),
                Err(error) => says_what_failed(&error),
            }
            drop(opens_with(&path, 3));
            came_up
        });
    }
}

#[test]
fn a_pool_that_cannot_grow_is_out_of_space_and_goes_on() {
    let mut refused = 0;
    each_call_fails(|number, error| {
        let mut came_up = false;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool");
        make(&path, true);
        let pool = opens_with(&path, 3);
        let mut lane = pool.lane();
        // One failure may be made up for: less is asked for then.
        for is_lasting in [false, true] {
            let before = blocks(&pool).len();
            let failure = Failure {
                at: number,
                is_lasting,
                error,
            };
            let (pushed, met) = with(failure, || {
                let blocks = [3 << 20; 4].into_iter();
                let pushed = blocks.map(|bytes| push(&pool, &mut lane, bytes).is_ok());
                pushed.filter(|is_done| *is_done).count()
            });
            assert_eq!(blocks(&pool).len(), before + pushed);
            came_up |= met;
            refused += 4 - pushed;
        }
        // The disk has room again.
        push(&pool, &mut lane, 3 << 20).unwrap();
        let count = blocks(&pool).len();
        drop(lane);
        // As after a crash.
        drop(pool);
        opens_with(&path, count).close().unwrap();
        came_up
    });
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_pool_that_cannot_be_closed_is_as_after_a_crash() {
    each_call_fails(|number, error| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool");
        make(&path, true);
        let pool = opens_with(&path, 3);
        let (closed, came_up) = with_failure(number, error, || pool.close());
        assert_eq!(closed.is_err(), came_up, "no failure goes unheard");
        drop(opens_with(&path, 3));
        came_up
    });
}

/// Takes the newest block off the list.
fn pop(pool: &Pool, lane: &mut Lane) {
    let guard = pin();
    let newest = Offset::from_raw(pool.load_u64(pool.root(), Ordering::Acquire));
    let before = pool.load_u64(newest, Ordering::Acquire);
    let mut tx = pool.begin(lane, &guard);
    tx.publish_u64(pool.root(), before).unwrap();
    tx.free(newest).unwrap();
    tx.commit();
}

#[test]
fn storage_that_cannot_be_given_back_or_had_again_is_missed_by_nobody() {
    let mut refused = 0;
    each_call_fails(|number, error| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool");
        make(&path, true);
        let pool = opens_with(&path, 3);
        let mut lane = pool.lane();
        for _ in 0..4 {
            push(&pool, &mut lane, 1 << 20).unwrap();
        }
        for _ in 0..4 {
            pop(&pool, &mut lane);
        }
        lane.give_back(&pin());
        let deadline = Instant::now() + Duration::from_secs(20);
        while pool.usage().retired_blocks > 0 {
            pin().flush();
            assert!(Instant::now() < deadline, "{:?}", pool.usage());
        }
        let trim = || while pool.trim_step(0, 512 << 10) {};
        let ((), met_in_trim) = with_failure(number, error, trim);
        trim();
        // What was given back has to be had again.
        let failure = Failure {
            at: number,
            is_lasting: true,
            error,
        };
        let (pushed, met) = with(failure, || {
            let pushed = (0..4).map(|_| push(&pool, &mut lane, 1 << 20).is_ok());
            pushed.filter(|is_done| *is_done).count()
        });
        refused += 4 - pushed;
        push(&pool, &mut lane, 1 << 20).unwrap();
        let count = blocks(&pool).len();
        assert_eq!(count, 3 + pushed + 1);
        drop((lane, pool));
        opens_with(&path, count).close().unwrap();
        met_in_trim || met
    });
    assert!(refused > 2, "{refused}");
}

#[test]
fn a_pool_that_cannot_be_set_aside_keeps_its_name() {
    each_call_fails(|number, error| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pool");
        make(&path, false);
        let (aside, came_up) = with_failure(number, error, || set_aside(&path, "unclean"));
        assert_eq!(aside.is_err(), came_up, "no failure goes unheard");
        assert_eq!(path.exists(), came_up);
        drop(opens_with(aside.as_deref().unwrap_or(&path), 3));
        came_up
    });
}

/// Both superblocks as they are on the disk.
fn superblocks(path: &Path) -> Vec<u8> {
    let mut bytes = vec![0; 2 * SUPERBLOCK_BYTES as usize];
    fs::File::open(path)
        .unwrap()
        .read_exact_at(&mut bytes, 0)
        .unwrap();
    bytes
}

/// A write of the superblock of which any first or last part, or every other word, is there: the other copy counts, or this
/// one if it is whole. The pool is not lost, and not taken for closed if it was not.
#[test]
fn a_torn_superblock_leaves_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pool");
    make(&path, true);
    let closed = superblocks(&path);
    drop(opens_with(&path, 3));
    let opened = superblocks(&path);
    let words = closed.len() / 8;
    let mut taken_for_closed = 0;
    for (from, to) in [(&closed, &opened), (&opened, &closed)] {
        let is_changed = |word: &usize| from[word * 8..][..8] != to[word * 8..][..8];
        let changed: Vec<usize> = (0..words).filter(is_changed).collect();
        assert!(changed.len() > 1, "{changed:?}");
        for torn in 0..=changed.len() {
            let parts = [&changed[..torn], &changed[torn..]];
            let others: Vec<usize> = changed.iter().copied().skip(torn % 2).step_by(2).collect();
            for part in [parts[0], parts[1], &others[..]] {
                let mut bytes = from.clone();
                for word in part {
                    bytes[word * 8..][..8].copy_from_slice(&to[word * 8..][..8]);
                }
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.write_all_at(&bytes, 0).unwrap();
                drop(file);
                let (pool, report) = Pool::open(&options(&path)).unwrap();
                assert_eq!(blocks(&pool).len(), 3);
                let is_whole = part.len() == changed.len();
                if part.is_empty() || is_whole {
                    let state = if is_whole { to } else { from };
                    assert_eq!(report.recovered, state == &opened);
                }
                taken_for_closed += usize::from(!report.recovered);
            }
        }
    }
    assert!(taken_for_closed > 0);
}
