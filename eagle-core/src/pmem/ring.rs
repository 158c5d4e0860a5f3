//! The log ring: the last bytes of the stream of changes, in the pool.
//!
//! Whoever replays the store's changes elsewhere (a file, a replica) reads them here. What the bytes mean is the
//! owner's business; to the pool the stream is a row of records, one for each transaction that has one, and a position
//! in it is the number of bytes before it since the stream began (the LSN). Byte `n` of the stream lies at `n mod bytes`
//! of the ring.
//!
//! ```text
//!             floor                              head
//!   ...........|==================================|..............
//!    overwritten            readable               the next record
//! ```
//!
//! # Commit
//!
//! A transaction and its record become permanent by one store: that of the **head**. [`Tx::commit_logged`] holds the
//! ring's lock while it writes the record behind the head, appends a RING entry with the new head to its own log,
//! fences, and stores the head. Recovery goes forward with a transaction whose RING entry says a head that has been
//! reached, and back with any other, so the stream has neither holes nor records of what did not happen. All that is
//! bounded by the number of lanes. The order of records is that in which transactions commit; as the slots of a
//! transaction are locked until then, it is the order of execution for each key.
//!
//! # Reading
//!
//! Readers take no part in any of this: they copy bytes between floor and head, and see by the floor afterwards
//! whether these were overwritten meanwhile ([`Lapped`]). A reader that *holds* is waited for instead: commits block
//! until it has moved on. The floor rises in steps, and is persistent before the first byte below it is overwritten.
//!
//! # Checksums
//!
//! Behind the data stands a word for each whole piece of 4096 stream bytes: its CRC-32C and its number. They are for
//! whoever reads a ring whose medium cannot be trusted, and for [`check`].

use super::{
    Lane, Offset, OutOfSpace, Pool, Tx,
    layout::{
        PAGE_BYTES, RING_BLOCK, RING_BYTES, RING_FLOOR, RING_HEAD, RING_LABEL, RING_LABEL_BYTES,
    },
    medium::{Medium, Site},
    pool::Shared,
};
use crate::sync::Guard;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
    },
    task::{Wake, Waker},
    thread::Thread,
    time::{Duration, Instant},
};

/// Stream bytes that one checksum covers. Tests have small ones, so that their rings go round often.
pub const PIECE_BYTES: u64 = if cfg!(test) { 256 } else { 4096 };

/// The floor rises by this much at a time. A ring is that much larger than what it is asked to keep, and a multiple of it.
const STEP_BYTES: u64 = if cfg!(test) { PIECE_BYTES } else { PAGE_BYTES };

/// The least and the most that a ring can be asked to keep.
const KEPT_BYTES_MIN: u64 = STEP_BYTES;
pub const KEPT_BYTES_MAX: u64 = 512 << 20;

/// No reader is in this state; a record that follows must bring its readers into its own.
const NO_STATE: u32 = u32::MAX;

/// A record of this state may come in any, and leaves its readers in the one they are in.
pub const ANY_STATE: u32 = u32::MAX - 1;

/// What a transaction adds to the stream.
#[derive(Debug, Clone, Copy)]
pub struct RingRecord<'r> {
    /// The state that readers must be in before `body` (the database it is about).
    pub enters: u32,
    /// Bytes that bring a reader into that state; left out if the record before has left it there.
    pub bring: &'r [u8],
    /// The record proper.
    pub body: &'r [u8],
    /// The state in which `body` leaves a reader.
    pub leaves: u32,
}

/// The reader's position was overwritten, or the ring was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lapped;

impl fmt::Display for Lapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log ring has overwritten what was to be read next")
    }
}

impl std::error::Error for Lapped {}

/// Where the ring is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingState {
    /// Bytes that are kept at least, once there are so many; 0 if there is no ring.
    pub kept_bytes: u64,
    /// The first byte that can still be read.
    pub floor: u64,
    /// Bytes of the stream since it began.
    pub head: u64,
}

/// The volatile half of the ring.
#[derive(Debug)]
pub(super) struct Ring {
    producer: Mutex<Producer>,
    /// Told when a holding reader has moved on.
    space: Condvar,
    /// What stands in `producer` too, for looks without the lock.
    head: AtomicU64,
    floor: AtomicU64,
    is_on: AtomicBool,
}

#[derive(Debug, Default)]
struct Producer {
    place: Place,
    head: u64,
    floor: u64,
    state: u32,
    /// CRC of the bytes of the head's piece, unless they are not all there.
    piece: Option<u32>,
    wakers: Vec<Waker>,
    /// Positions of the readers that hold, by number.
    holds: Vec<(u64, u64)>,
    holds_made: u64,
}

/// Where the bytes lie.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    data: Offset,
    /// A multiple of the step; 0 if there is no ring.
    bytes: u64,
}

impl Place {
    fn check_at(self, piece: u64) -> Offset {
        let index = piece % (self.bytes / PIECE_BYTES);
        self.data.plus(self.bytes + index * 8)
    }

    /// The stretch of the ring that begins at stream position `at`, `len` bytes of it at most.
    fn stretch(self, at: u64, len: u64) -> (Offset, u64) {
        let skip = at % self.bytes;
        (self.data.plus(skip), len.min(self.bytes - skip))
    }

    /// Copies stream bytes out.
    fn read(self, medium: &Medium, mut at: u64, into: &mut [u8]) {
        let mut rest = into;
        while !rest.is_empty() {
            let (from, len) = self.stretch(at, rest.len() as u64);
            let (part, later) = rest.split_at_mut(len as usize);
            medium.read_shared(from, part);
            (at, rest) = (at + len, later);
        }
    }
}

/// Bytes of the block of a ring: data and checksums.
fn block_bytes(bytes: u64) -> u64 {
    bytes + bytes / PIECE_BYTES * 8
}

impl Ring {
    /// Finds the ring of a recovered medium.
    pub fn open(medium: &Medium) -> Result<Ring, String> {
        let load = |at| medium.load(at, Ordering::Relaxed);
        let place = Place {
            data: Offset::from_raw(load(RING_BLOCK)),
            bytes: load(RING_BYTES),
        };
        let (head, floor) = (load(RING_HEAD), load(RING_FLOOR));
        let sound = match place.bytes {
            0 => true,
            bytes => {
                let end = place.data.raw().checked_add(block_bytes(bytes));
                bytes.is_multiple_of(STEP_BYTES)
                    && bytes <= KEPT_BYTES_MAX + STEP_BYTES
                    && place.data.raw().is_multiple_of(super::GRANULE)
                    && !place.data.is_null()
                    && end.is_some_and(|end| end <= medium.end())
                    && head.saturating_sub(floor) <= bytes
            }
        };
        if !sound {
            return Err("the figures of the log ring".into());
        }
        let mut producer = Producer {
            place,
            head,
            // A record larger than the ring may have raised the floor beyond the head and then come to nothing.
            floor: if place.bytes == 0 {
                head
            } else {
                floor.min(head)
            },
            state: NO_STATE,
            ..Producer::default()
        };
        producer.read_piece(medium);
        Ok(Ring {
            head: AtomicU64::new(head),
            floor: AtomicU64::new(producer.floor),
            is_on: AtomicBool::new(place.bytes != 0),
            producer: Mutex::new(producer),
            space: Condvar::new(),
        })
    }

    /// Begins to append a record; `None` if there is no ring. Waits for readers that hold.
    #[inline]
    pub fn begin<'r>(&'r self, medium: &'r Medium, record: &RingRecord<'_>) -> Option<Append<'r>> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let mut producer = self.producer.lock();
        let (brings, len) = loop {
            let brings = record.enters != ANY_STATE && producer.state != record.enters;
            let len = record.body.len() + if brings { record.bring.len() } else { 0 };
            let place = producer.place;
            if place.bytes == 0 {
                return None;
            }
            let lowest = producer.lowest_hold();
            // A record that the ring cannot hold is waited for by nobody.
            let must_wait = len as u64 <= place.bytes
                && lowest.is_some_and(|at| at + place.bytes < producer.head + len as u64);
            if !must_wait {
                break (brings, len);
            }
            producer.wake();
            self.space.wait(&mut producer);
        };
        let head = producer.head + len as u64;
        self.raise_floor(medium, &mut producer, head);
        Some(Append {
            ring: self,
            medium,
            producer,
            head,
            brings,
            leaves: record.leaves,
        })
    }

    /// Makes room for bytes up to `head`.
    #[inline]
    fn raise_floor(&self, medium: &Medium, producer: &mut Producer, head: u64) {
        let needed = head.saturating_sub(producer.place.bytes);
        if needed > producer.floor {
            let step = needed.next_multiple_of(STEP_BYTES);
            let step = producer.lowest_hold().map_or(step, |at| step.min(at));
            let step = step.min(producer.head).max(needed);
            self.set_floor(medium, producer, step);
        }
    }

    #[cold]
    fn set_floor(&self, medium: &Medium, producer: &mut Producer, floor: u64) {
        producer.floor = floor;
        self.floor.store(floor, Ordering::Relaxed);
        // Who reads a byte that is stored from here on sees this floor.
        fence(Ordering::Release);
        medium.store(RING_FLOOR, floor);
        medium.flush(RING_FLOOR, 8, Site::Ring);
        medium.fence(Site::Ring);
    }
}

impl Producer {
    /// The position of the slowest reader that holds and was not lapped.
    fn lowest_hold(&self) -> Option<u64> {
        let positions = self.holds.iter().map(|(_, at)| *at);
        positions.filter(|at| *at >= self.floor).min()
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// Computes the checksum of the piece that the head is in.
    fn read_piece(&mut self, medium: &Medium) {
        self.piece = None;
        let begin = self.head / PIECE_BYTES * PIECE_BYTES;
        if self.place.bytes == 0 || begin < self.floor {
            return;
        }
        let mut bytes = [0; PIECE_BYTES as usize];
        let bytes = &mut bytes[..(self.head - begin) as usize];
        self.place.read(medium, begin, bytes);
        self.piece = Some(crc32c::crc32c(bytes));
    }
}

/// A record being appended; nobody else appends meanwhile.
pub(super) struct Append<'r> {
    ring: &'r Ring,
    medium: &'r Medium,
    producer: MutexGuard<'r, Producer>,
    /// The head after it.
    pub head: u64,
    brings: bool,
    leaves: u32,
}

impl Append<'_> {
    /// Writes the record behind the head. It counts once [`Append::publish`] has been called.
    #[inline]
    pub fn write(&mut self, record: &RingRecord<'_>) {
        let mut at = self.producer.head;
        if self.brings {
            at = self.bytes(at, record.bring);
        }
        at = self.bytes(at, record.body);
        debug_assert_eq!(at, self.head);
    }

    fn bytes(&mut self, mut at: u64, bytes: &[u8]) -> u64 {
        let producer = &mut *self.producer;
        // Of a record that is larger than the ring only the end is kept.
        let lost = producer.floor.saturating_sub(at).min(bytes.len() as u64);
        if lost > 0 {
            producer.piece = None;
            at += lost;
        }
        let mut rest = &bytes[lost as usize..];
        while !rest.is_empty() {
            let into_piece = at % PIECE_BYTES;
            let len = (PIECE_BYTES - into_piece).min(rest.len() as u64);
            let (part, later) = rest.split_at(len as usize);
            let (to, _) = producer.place.stretch(at, len);
            self.medium.write_shared(to, part);
            self.medium.flush(to, part.len(), Site::Ring);
            producer.piece = match (producer.piece, into_piece) {
                (_, 0) => Some(crc32c::crc32c(part)),
                (Some(crc), _) => Some(crc32c::crc32c_append(crc, part)),
                (None, _) => None,
            };
            (at, rest) = (at + len, later);
            if at.is_multiple_of(PIECE_BYTES) {
                let number = at / PIECE_BYTES - 1;
                let word = producer
                    .piece
                    .map_or(0, |crc| u64::from(crc) << 32 | number & 0xffff_ffff);
                let check = producer.place.check_at(number);
                self.medium.store(check, word);
                self.medium.flush(check, 8, Site::Ring);
            }
        }
        at
    }

    /// Stores the new head: the commit point. The caller has fenced. Answers the head.
    #[inline]
    pub fn publish(mut self) -> u64 {
        self.medium.store(RING_HEAD, self.head);
        self.medium.flush(RING_HEAD, 8, Site::Publish);
        self.producer.head = self.head;
        if self.leaves != ANY_STATE {
            self.producer.state = self.leaves;
        }
        self.ring.head.store(self.head, Ordering::Release);
        if !self.producer.wakers.is_empty() {
            self.producer.wake();
        }
        self.head
    }
}

impl Pool {
    /// Where the ring is.
    pub fn ring_state(&self) -> RingState {
        let producer = self.ring().producer.lock();
        RingState {
            kept_bytes: producer.place.bytes.saturating_sub(STEP_BYTES),
            floor: producer.floor,
            head: producer.head,
        }
    }

    /// Whether there is a ring.
    #[inline]
    pub fn ring_is_on(&self) -> bool {
        self.ring().is_on.load(Ordering::Relaxed)
    }

    /// Bytes of the stream since it began.
    #[inline]
    pub fn ring_head(&self) -> u64 {
        self.ring().head.load(Ordering::Acquire)
    }

    /// The block of the ring, for checks.
    pub fn ring_block(&self) -> Option<(Offset, u64)> {
        let place = self.ring().producer.lock().place;
        (place.bytes != 0).then(|| (place.data, block_bytes(place.bytes)))
    }

    /// Appends a record that belongs to no transaction. Answers the head after it.
    pub fn ring_append(&self, record: &RingRecord<'_>) -> Option<u64> {
        let mut append = self.ring().begin(self.medium(), record)?;
        append.write(record);
        self.medium().fence(Site::Commit);
        let head = append.publish();
        self.medium().fence(Site::Publish);
        Some(head)
    }

    /// The next record brings its readers into its state, whatever the last one left.
    pub fn ring_forget_state(&self) {
        self.ring().producer.lock().state = NO_STATE;
    }

    /// Makes the ring keep this many bytes (rounded up to whole pages and bounded), or gives it up; what the old ring
    /// has is taken over as far as it fits. A ring that is made anew begins at the head. Nobody may hold slots that
    /// an appending thread waits for.
    pub fn ring_resize(
        &self,
        lane: &mut Lane,
        guard: &Guard,
        kept_bytes: Option<u64>,
    ) -> Result<(), OutOfSpace> {
        let ring = self.ring();
        let bytes = kept_bytes.map_or(0, |kept| {
            kept.clamp(KEPT_BYTES_MIN, KEPT_BYTES_MAX)
                .next_multiple_of(STEP_BYTES)
                + STEP_BYTES
        });
        let mut producer = ring.producer.lock();
        let old = producer.place;
        if old.bytes == bytes {
            return Ok(());
        }
        let mut tx = self.begin(lane, guard);
        let mut new = Place {
            data: Offset::NULL,
            bytes,
        };
        let mut floor = producer.head;
        if bytes != 0 {
            new.data = tx.alloc(block_bytes(bytes) as usize)?;
            if old.bytes != 0 {
                floor = producer
                    .floor
                    .max(producer.head.saturating_sub(bytes - STEP_BYTES));
                self.copy_ring(&mut tx, old, new, floor, producer.head);
            }
        }
        tx.store_u64(RING_BLOCK, new.data.raw())?;
        tx.store_u64(RING_BYTES, new.bytes)?;
        tx.store_u64(RING_FLOOR, floor)?;
        if old.bytes != 0 {
            tx.free(old.data)?;
        }
        tx.commit();
        producer.place = new;
        producer.floor = floor;
        ring.floor.store(floor, Ordering::Release);
        ring.is_on.store(bytes != 0, Ordering::Release);
        producer.read_piece(self.medium());
        if bytes == 0 {
            producer.holds.clear();
            producer.state = NO_STATE;
        }
        producer.wake();
        ring.space.notify_all();
        Ok(())
    }

    /// Copies the stream from `floor` to `head`, and the checksums of whole pieces.
    fn copy_ring(&self, tx: &mut Tx<'_>, old: Place, new: Place, floor: u64, head: u64) {
        let mut bytes = [0; PIECE_BYTES as usize];
        let mut at = floor;
        while at < head {
            let len = (PIECE_BYTES - at % PIECE_BYTES).min(head - at);
            let part = &mut bytes[..len as usize];
            old.read(self.medium(), at, part);
            tx.write_fresh(new.stretch(at, len).0, part);
            let piece = at / PIECE_BYTES;
            let check = match len {
                PIECE_BYTES => self.medium().load(old.check_at(piece), Ordering::Relaxed),
                _ => 0,
            };
            tx.store_fresh_u64(new.check_at(piece), check);
            at += len;
        }
    }

    /// The owner's note on the stream (what it is called): zeros at first.
    pub fn ring_label(&self) -> [u8; RING_LABEL_BYTES] {
        let mut label = [0; RING_LABEL_BYTES];
        self.load_bytes(RING_LABEL, &mut label);
        label
    }

    /// Replaces the owner's note on the stream.
    pub fn set_ring_label(
        &self,
        lane: &mut Lane,
        guard: &Guard,
        label: &[u8; RING_LABEL_BYTES],
    ) -> Result<(), OutOfSpace> {
        let mut tx = self.begin(lane, guard);
        tx.write_bytes(RING_LABEL, label)?;
        tx.commit();
        Ok(())
    }

    /// Sets the head of a stream that goes on elsewhere (a replica takes over its primary's position). There must be
    /// no ring: it is made afterwards.
    pub fn set_ring_head(
        &self,
        lane: &mut Lane,
        guard: &Guard,
        head: u64,
    ) -> Result<(), OutOfSpace> {
        let ring = self.ring();
        let mut producer = ring.producer.lock();
        assert!(
            producer.place.bytes == 0,
            "the head of a ring moves by appending"
        );
        let mut tx = self.begin(lane, guard);
        tx.publish_u64(RING_HEAD, head)?;
        tx.commit();
        (producer.head, producer.floor) = (head, head);
        ring.head.store(head, Ordering::Release);
        ring.floor.store(head, Ordering::Release);
        Ok(())
    }

    /// A reader that begins at stream position `from`, if the ring has it. One that `holds` is waited for by those
    /// who append: it must read, or be dropped.
    pub fn ring_reader(&self, from: u64, holds: bool) -> Option<RingReader> {
        let mut producer = self.ring().producer.lock();
        let readable = producer.floor..=producer.head;
        if producer.place.bytes == 0 || !readable.contains(&from) {
            return None;
        }
        let hold = holds.then(|| {
            producer.holds_made += 1;
            let number = producer.holds_made;
            producer.holds.push((number, from));
            number
        });
        Some(RingReader {
            shared: self.shared().clone(),
            position: from,
            hold,
        })
    }
}

/// A reader of the stream. Readers do not know of one another.
#[derive(Debug)]
pub struct RingReader {
    shared: Arc<Shared>,
    position: u64,
    hold: Option<u64>,
}

impl RingReader {
    /// The stream position of the next byte.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the stream that wait to be read, and bytes that may be appended before the reader is lapped.
    pub fn behind(&self) -> (u64, u64) {
        let producer = self.shared.ring.producer.lock();
        let behind = producer.head - self.position;
        (behind, producer.place.bytes.saturating_sub(behind))
    }

    /// Copies what comes next, as much as there is and fits; how much. Zero: nothing yet.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, Lapped> {
        let _guard = crate::sync::pin();
        let ring = &self.shared.ring;
        let (place, head) = {
            let producer = ring.producer.lock();
            if producer.place.bytes == 0 || self.position < producer.floor {
                return Err(Lapped);
            }
            (producer.place, producer.head)
        };
        let len = (head - self.position).min(into.len() as u64) as usize;
        place.read(&self.shared.heap.medium, self.position, &mut into[..len]);
        fence(Ordering::Acquire);
        if ring.floor.load(Ordering::Relaxed) > self.position {
            return Err(Lapped);
        }
        self.position += len as u64;
        if let (Some(hold), true) = (self.hold, len > 0) {
            let mut producer = ring.producer.lock();
            let held = producer
                .holds
                .iter_mut()
                .find(|(number, _)| *number == hold);
            if let Some((_, at)) = held {
                *at = self.position;
            }
            drop(producer);
            ring.space.notify_all();
        }
        Ok(len)
    }

    /// Whether there is something to read (or the reader was lapped); if not, `waker` is woken when there is.
    pub fn poll(&self, waker: &Waker) -> bool {
        let mut producer = self.shared.ring.producer.lock();
        if producer.head > self.position || producer.place.bytes == 0 {
            return true;
        }
        if !producer.wakers.iter().any(|known| known.will_wake(waker)) {
            producer.wakers.push(waker.clone());
        }
        false
    }

    /// Waits until there is something to read, at most for `timeout`; whether there is.
    pub fn wait(&self, timeout: Duration) -> bool {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let deadline = Instant::now() + timeout;
        loop {
            if self.poll(&waker) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::park_timeout(left);
        }
    }
}

impl Drop for RingReader {
    fn drop(&mut self) {
        if let Some(hold) = self.hold {
            let ring = &self.shared.ring;
            ring.producer
                .lock()
                .holds
                .retain(|(number, _)| *number != hold);
            ring.space.notify_all();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Compares the checksums of all whole pieces with their bytes; what is wrong. Nobody may append meanwhile.
pub fn check(pool: &Pool) -> Vec<String> {
    let producer = pool.ring().producer.lock();
    let place = producer.place;
    let mut faults = Vec::new();
    if place.bytes == 0 {
        return faults;
    }
    let mut bytes = [0; PIECE_BYTES as usize];
    for number in producer.floor.div_ceil(PIECE_BYTES)..producer.head / PIECE_BYTES {
        let word = pool.load_u64(place.check_at(number), Ordering::Relaxed);
        place.read(pool.medium(), number * PIECE_BYTES, &mut bytes);
        // Zero: the piece came into this ring in parts.
        let wanted = u64::from(crc32c::crc32c(&bytes)) << 32 | number & 0xffff_ffff;
        if word != 0 && word != wanted {
            faults.push(format!(
                "log ring: bytes from {} do not match their checksum",
                number * PIECE_BYTES
            ));
        }
    }
    faults
}
