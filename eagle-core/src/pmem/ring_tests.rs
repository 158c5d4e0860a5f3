//! The log ring against a plain vector, its readers in other threads, and its life over restarts.

use super::{ANY_STATE, Lapped, Pool, PoolOptions, RING_LABEL_BYTES, RingRecord, check};
use crate::sync::pin;
use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

fn options(path: Option<PathBuf>) -> PoolOptions {
    PoolOptions {
        path,
        size_max: 16 << 20,
        lanes: 4,
        boot_id: [1; 16],
        hash_seed: [2; 16],
        pool_id: [3; 16],
    }
}

fn pool() -> Pool {
    Pool::open(&options(None)).unwrap().0
}

fn record(body: &[u8]) -> RingRecord<'_> {
    RingRecord {
        enters: 0,
        bring: b"",
        body,
        leaves: 0,
    }
}

/// Everything that can be read.
fn contents(pool: &Pool) -> Vec<u8> {
    let state = pool.ring_state();
    let mut bytes = vec![0; (state.head - state.floor) as usize];
    let mut reader = pool.ring_reader(state.floor, false).unwrap();
    assert_eq!(reader.read(&mut bytes), Ok(bytes.len()));
    bytes
}

#[test]
fn it_keeps_the_end_of_the_stream_through_resizing_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(Some(directory.path().join("pool")));
    let (mut pool, _) = Pool::open(&options).unwrap();
    pool.ring_resize(&mut pool.lane(), &pin(), Some(2000))
        .unwrap();
    let mut stream = Vec::new();
    let mut random = 1u64;
    for round in 0..2000u32 {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let len = (random >> 40) as usize % if round % 50 == 0 { 5000 } else { 90 } + 1;
        let body: Vec<u8> = (0..len).map(|i| (round as usize * 7 + i) as u8).collect();
        assert_eq!(
            pool.ring_append(&record(&body)),
            Some((stream.len() + len) as u64)
        );
        stream.extend_from_slice(&body);
        match round % 100 {
            31 => pool
                .ring_resize(&mut pool.lane(), &pin(), Some(u64::from(round) * 3))
                .unwrap(),
            // Closed, or left as by kill -9.
            63 => {
                pool.close().unwrap();
                pool = Pool::open(&options).unwrap().0;
            }
            87 => {
                drop(pool);
                pool = Pool::open(&options).unwrap().0;
            }
            _ => {}
        }
        let state = pool.ring_state();
        assert_eq!(state.head, stream.len() as u64);
        assert_eq!(contents(&pool), stream[state.floor as usize..]);
        if round % 100 == 30 {
            assert!(state.head - state.floor >= state.kept_bytes);
            assert_eq!(check::check(&pool, []).faults, Vec::<String>::new());
        }
    }
    pool.ring_resize(&mut pool.lane(), &pin(), None).unwrap();
    assert_eq!(pool.ring_append(&record(b"nobody listens")), None);
    assert!(check::check(&pool, []).is_sound());
    let state = pool.ring_state();
    assert_eq!((state.kept_bytes, state.head), (0, stream.len() as u64));
}

#[test]
fn readers_are_brought_into_the_state_of_a_record() {
    let pool = pool();
    pool.ring_resize(&mut pool.lane(), &pin(), Some(1000))
        .unwrap();
    let append = |enters, body, leaves| {
        let bring = format!("[{enters}]");
        let bring = bring.as_bytes();
        pool.ring_append(&RingRecord {
            enters,
            bring,
            body,
            leaves,
        })
        .unwrap();
    };
    append(0, b"a", 0);
    append(0, b"b", 0);
    append(3, b"c", 4);
    append(4, b"d", 4);
    pool.ring_forget_state();
    append(4, b"e", 4);
    assert_eq!(contents(&pool), b"[0]ab[3]cd[4]e");
}

#[test]
fn a_damaged_byte_is_found() {
    let pool = pool();
    pool.ring_resize(&mut pool.lane(), &pin(), Some(2000))
        .unwrap();
    pool.ring_append(&record(&[7; 1000])).unwrap();
    assert!(check::check(&pool, []).is_sound());
    let (at, _) = pool.ring_block().unwrap();
    pool.store_hint_u64(at.plus(304), 1);
    assert_eq!(check::check(&pool, []).faults.len(), 1);
}

#[test]
fn the_label_and_a_head_from_elsewhere_last() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(Some(directory.path().join("pool")));
    let label: [u8; RING_LABEL_BYTES] = std::array::from_fn(|i| i as u8 + 1);
    let (pool, _) = Pool::open(&options).unwrap();
    assert_eq!(pool.ring_label(), [0; RING_LABEL_BYTES]);
    pool.set_ring_label(&mut pool.lane(), &pin(), &label)
        .unwrap();
    pool.set_ring_head(&mut pool.lane(), &pin(), 12_345)
        .unwrap();
    drop(pool);
    let (pool, _) = Pool::open(&options).unwrap();
    assert_eq!(pool.ring_label(), label);
    pool.ring_resize(&mut pool.lane(), &pin(), Some(1)).unwrap();
    assert_eq!(pool.ring_append(&record(b"on")), Some(12_347));
    assert!(pool.ring_reader(12_344, false).is_none());
    assert!(pool.ring_reader(12_348, false).is_none());
    assert!(pool.ring_reader(12_347, false).is_some());
}

/// Bytes that tell their position.
fn byte_at(position: u64) -> u8 {
    (position ^ position >> 8 ^ position >> 16) as u8
}

/// One thread appends, others read: those that hold miss nothing, those that do not see nothing wrong.
#[test]
fn readers_see_the_stream_or_that_they_were_lapped() {
    let pool = pool();
    pool.ring_resize(&mut pool.lane(), &pin(), Some(1500))
        .unwrap();
    const END: u64 = 300_000;
    let done = AtomicBool::new(false);
    let holding = pool.ring_reader(0, true).unwrap();
    std::thread::scope(|scope| {
        let (pool, done) = (&pool, &done);
        scope.spawn(move || {
            let mut head = 0;
            let mut random = 3u64;
            while head < END {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let len = ((random >> 40) % 300 + 1).min(END - head);
                let body: Vec<u8> = (head..head + len).map(byte_at).collect();
                head = pool.ring_append(&record(&body)).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(move || {
            let mut reader = holding;
            let mut bytes = [0; 200];
            while reader.position() < END {
                assert!(reader.wait(Duration::from_secs(20)), "woken");
                let from = reader.position();
                let len = reader
                    .read(&mut bytes)
                    .expect("a holding reader is not lapped");
                for (i, byte) in bytes[..len].iter().enumerate() {
                    assert_eq!(*byte, byte_at(from + i as u64));
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(move || {
                let mut bytes = [0; 700];
                let mut laps = 0;
                while !done.load(Ordering::Acquire) {
                    let Some(mut reader) = pool.ring_reader(pool.ring_state().floor, false) else {
                        continue;
                    };
                    loop {
                        let from = reader.position();
                        match reader.read(&mut bytes) {
                            Ok(0) => break,
                            Ok(len) => {
                                for (i, byte) in bytes[..len].iter().enumerate() {
                                    assert_eq!(*byte, byte_at(from + i as u64));
                                }
                            }
                            Err(Lapped) => {
                                laps += 1;
                                break;
                            }
                        }
                    }
                }
                laps
            });
        }
    });
    assert_eq!(pool.ring_head(), END);
}

#[test]
fn a_record_of_any_state_leaves_the_state_alone() {
    let pool = pool();
    pool.ring_resize(&mut pool.lane(), &pin(), Some(2000))
        .unwrap();
    let append = |state, bring: &[u8], body: &[u8]| {
        let record = RingRecord {
            enters: state,
            bring,
            body,
            leaves: state,
        };
        pool.ring_append(&record).unwrap();
    };
    append(ANY_STATE, b"(?)", b"ping ");
    append(3, b"(3)", b"a ");
    append(ANY_STATE, b"(?)", b"ping ");
    append(3, b"(3)", b"b ");
    pool.ring_forget_state();
    append(ANY_STATE, b"(?)", b"ping ");
    append(3, b"(3)", b"c");
    assert_eq!(contents(&pool), b"ping (3)a ping b ping (3)c");
}
