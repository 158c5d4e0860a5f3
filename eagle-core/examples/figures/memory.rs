//! Figures that count bytes: they are the same on every machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use eagle_core::pmem::Pool;
use eagle_core::store::{Access, Entry, Keyspace, SnapshotSink, View};

use super::{Random, figure, fill, name, open, set};

/// Records of a full segment: 16 buckets of 27.
const SEGMENT_RECORDS: f64 = 432.0;

/// Bytes of tables and directories for each key: all that is allocated but the blobs.
pub(super) fn index(scale: u64) {
    for keys in [1_000_000, 10_000_000] {
        let keys = keys / scale;
        let keyspace = open(4 << 30);
        let mut worker = keyspace.worker();
        let empty = keyspace.usage().used;
        fill(&keyspace, &mut worker, keys, 16);
        let mut blobs = 0;
        let guard = keyspace.pin();
        let view = keyspace.view(&mut worker, &guard, Access::All, 0);
        view.for_each(0, &mut |entry| {
            blobs += Pool::size_class(entry.bytes() as usize) as u64;
        });
        let used = keyspace.usage().used - empty;
        let what = format!("index bytes per key, {keys} keys");
        figure("index", &what, (used - blobs) as f64 / keys as f64);
        let what = format!("bytes per key all in, 16-byte values, {keys} keys");
        figure("index", &what, used as f64 / keys as f64);
    }
}

/// How full the first segment of a slot is when a further record splits it.
pub(super) fn load_factor(_scale: u64) {
    const SLOTS: u64 = 400;
    let (mut sum, mut least) = (0.0, f64::MAX);
    let keyspace = open(1 << 30);
    let mut worker = keyspace.worker();
    for tag in 0..SLOTS {
        let mut records = 0;
        let mut before = keyspace.usage().used;
        // A segment is one block of 4 KiB. The step to a directory takes two and a directory, and gives one back.
        for number in 0.. {
            let key = format!("{{{tag}}}{number}");
            let guard = keyspace.pin();
            set(&keyspace, &mut worker, &guard, key.as_bytes(), b"v");
            let used = keyspace.usage().used;
            let blob = Pool::size_class(16 + key.len() + 1) as u64;
            let grown = used.saturating_sub(before);
            if number > SEGMENT_RECORDS as u64 / 2 && grown > 4096 - blob {
                break;
            }
            before = used;
            records = number + 1;
        }
        let fullness = records as f64 / SEGMENT_RECORDS;
        sum += fullness;
        least = fullness.min(least);
    }
    let what = "records of a segment that splits / room, mean";
    figure("load-factor", what, sum / SLOTS as f64);
    figure("load-factor", "the same, least of 400", least);
}

/// Takes a snapshot the way a file is written: encodes what it is given into a buffer, and empties it when it is full.
#[derive(Default)]
struct Encoder {
    keys: AtomicU64,
    buffer: parking::Buffer,
}

mod parking {
    use std::sync::Mutex;

    /// A buffer of 64 KiB that goes nowhere.
    #[derive(Default)]
    pub(super) struct Buffer(Mutex<Vec<u8>>);

    impl Buffer {
        pub(super) fn write(&self, bytes: &[u8]) {
            let mut buffer = self.0.lock().expect("nobody panics with it");
            buffer.extend_from_slice(bytes);
            if buffer.len() > 64 << 10 {
                buffer.clear();
            }
        }
    }
}

impl SnapshotSink for Encoder {
    fn key(&self, view: &View<'_>, db: u8, entry: &Entry<'_>) {
        self.keys.fetch_add(1, Relaxed);
        self.buffer.write(entry.key());
        if let Ok(Some(text)) = view.string(db, entry.key()) {
            self.buffer.write(&text.to_vec());
        }
    }
}

/// Memory while a snapshot of 5 M strings of 100 bytes is taken and another thread overwrites them as fast as it can,
/// and the same overwriting without a snapshot.
pub(super) fn snapshot(scale: u64) {
    let keys = 5_000_000 / scale;
    let keyspace = open(4 << 30);
    fill(&keyspace, &mut keyspace.worker(), keys, 100);
    let idle = resident_bytes();
    let overwritten = AtomicU64::new(0);
    let while_overwriting = |run: &mut dyn FnMut()| -> u64 {
        let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| overwrite(&keyspace, keys, &done, &overwritten));
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    peak.fetch_max(resident_bytes(), Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            run();
            done.store(true, Relaxed);
        });
        peak.into_inner()
    };
    let calm = while_overwriting(&mut || std::thread::sleep(Duration::from_secs(3)));
    let sink = Arc::new(Encoder::default());
    overwritten.store(0, Relaxed);
    let peak = while_overwriting(&mut || {
        let mut snapshot = keyspace.begin_snapshot(sink.clone()).expect("the only one");
        while snapshot.step(64) {}
    });
    assert_eq!(sink.keys.load(Relaxed), keys, "every key once");
    let count = overwritten.load(Relaxed);
    figure("snapshot", "idle, MiB", idle as f64 / f64::from(1 << 20));
    figure(
        "snapshot",
        "keys overwritten meanwhile / keys",
        count as f64 / keys as f64,
    );
    figure(
        "snapshot",
        "peak under overwriting alone / idle",
        calm as f64 / idle as f64,
    );
    figure(
        "snapshot",
        "peak with a snapshot / idle",
        peak as f64 / idle as f64,
    );
}

fn overwrite(keyspace: &Keyspace, keys: u64, done: &AtomicBool, overwritten: &AtomicU64) {
    let mut worker = keyspace.worker();
    let mut random = Random(7);
    while !done.load(Relaxed) {
        let guard = keyspace.pin();
        for _ in 0..16 {
            let key = name(random.below(keys));
            set(keyspace, &mut worker, &guard, &key, &[b'n'; 100]);
        }
        overwritten.fetch_add(16, Relaxed);
    }
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number") * 4096
}
