//! The only door to the medium: every load, store, flush and fence of the pool goes through
//! [`Medium`].
//!
//! Three modes share the code path. On page cache, tmpfs or anonymous memory a process crash
//! keeps every executed store, hence flushes are nothing and fences only stop the compiler from
//! reordering. On DAX a flush is a cache line write-back and a fence waits for it. Under the
//! simulator each store, flush and fence is also recorded, so that crash images can be built.
//!
//! Accesses are checked against the mapped end: an offset that leads outside panics (and the
//! transaction rolls back) instead of touching foreign memory. Shared words are only ever
//! accessed with atomics; plain copies are for memory that a single owner can reach, and for
//! blobs, which do not change once published.

use super::{
    MediumKind, Offset, dax,
    map::Mapping,
    sim::{Part, Recorder},
};
use crate::sync::prefetch;
#[cfg(test)]
use std::panic::Location;
use std::{
    ptr,
    sync::atomic::{AtomicU64, Ordering, compiler_fence},
};

/// What a flush or fence is for. The simulator can leave out all those of one site, to prove
/// that the crash tests would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Site {
    /// Log entries, and the fence between an undo entry and the store it covers.
    Log,
    /// Contents of blocks that a transaction allocated.
    Fresh,
    /// Logged stores to reachable memory.
    InPlace,
    /// The fence before a transaction's first irrevocable store.
    Commit,
    /// Bytes, checksums and floor of the log ring.
    Ring,
    /// The published word, and the log ring's head.
    Publish,
    /// Allocation bits and the page table words of runs.
    Bits,
    /// A lane's generation: truncation of its log.
    Generation,
    /// A rolled-back word.
    Rollback,
    /// Headers of new slabs.
    Slab,
    /// Page table words of slabs and log chunks.
    PageTable,
    /// The number of pages ever used.
    Frontier,
    /// Superblocks.
    Superblock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Coherent,
    Dax(dax::WriteBack),
    Recorded,
}

/// A mapped medium.
#[derive(Debug)]
pub struct Medium {
    map: Mapping,
    /// Bytes that may be accessed. Only grows.
    end: AtomicU64,
    mode: Mode,
    recorder: Option<Recorder>,
}

impl Medium {
    /// Puts the door in front of a mapping whose first `end` bytes are accessible.
    pub fn new(map: Mapping, end: u64) -> Medium {
        let mode = match map.kind() {
            MediumKind::Dax => Mode::Dax(dax::WriteBack::detect()),
            _ => Mode::Coherent,
        };
        Medium {
            map,
            end: AtomicU64::new(end),
            mode,
            recorder: None,
        }
    }

    /// The same medium, from here on recorded by the simulator.
    pub fn recorded_by(self, recorder: Recorder) -> Medium {
        Medium {
            mode: Mode::Recorded,
            recorder: Some(recorder),
            ..self
        }
    }

    /// What the medium is.
    pub fn kind(&self) -> MediumKind {
        match self.mode {
            Mode::Recorded => MediumKind::Simulated,
            _ => self.map.kind(),
        }
    }

    /// The mapping, for growth and syncing.
    pub fn map(&self) -> &Mapping {
        &self.map
    }

    /// Bytes that may be accessed.
    #[inline]
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Raises the accessible end after the mapping has grown.
    pub fn raise_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    #[cold]
    #[inline(never)]
    fn out_of_bounds(&self, at: Offset, len: usize) -> ! {
        panic!(
            "pool access out of bounds: {len} bytes at {at:?}, pool ends at {:#x}",
            self.end()
        );
    }

    #[inline]
    fn range(&self, at: Offset, len: usize) -> *mut u8 {
        let end = self.end.load(Ordering::Relaxed);
        if at.raw() > end || len as u64 > end - at.raw() {
            self.out_of_bounds(at, len);
        }
        // SAFETY: `at` is within the mapping: `end` never exceeds the mapped bytes.
        unsafe { self.map.base().add(at.raw() as usize) }
    }

    #[inline]
    fn word(&self, at: Offset) -> &AtomicU64 {
        let at_ptr = self.range(at, 8);
        assert!(
            at.raw().is_multiple_of(8),
            "pool word access is not aligned: {at:?}"
        );
        // SAFETY: in bounds (above), aligned (the base is page aligned), and the mapping lives
        // as long as `self`. Words that may be shared are accessed as atomics only.
        unsafe { AtomicU64::from_ptr(at_ptr.cast()) }
    }

    /// Words in a row, found to be within bounds once for all.
    #[inline]
    pub fn words(&self, at: Offset, len: usize) -> &[AtomicU64] {
        let start = self.range(at, len * 8).cast::<AtomicU64>();
        assert!(
            at.raw().is_multiple_of(8),
            "pool word access is not aligned: {at:?}"
        );
        // SAFETY: in bounds (above), aligned (the base is page aligned), and the mapping lives as long as `self`. An
        // atomic word has the size and alignment of a plain one, any bits are a value of it, and words that may be
        // shared are accessed as atomics only.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// Loads a word.
    #[inline]
    pub fn load(&self, at: Offset, ordering: Ordering) -> u64 {
        self.word(at).load(ordering)
    }

    /// Stores a word with release ordering.
    #[inline]
    pub fn store(&self, at: Offset, value: u64) {
        self.word(at).store(value, Ordering::Release);
        self.record(at, 8);
    }

    /// Sets bits of a word and answers its former value.
    #[inline]
    pub fn set_bits(&self, at: Offset, bits: u64) -> u64 {
        let former = self.word(at).fetch_or(bits, Ordering::AcqRel);
        self.record(at, 8);
        former
    }

    /// Clears bits of a word and answers its former value.
    #[inline]
    pub fn clear_bits(&self, at: Offset, bits: u64) -> u64 {
        let former = self.word(at).fetch_and(!bits, Ordering::AcqRel);
        self.record(at, 8);
        former
    }

    /// Bytes that do not change while the caller can see them.
    ///
    /// # Safety
    /// Nobody writes to the range while the answer is in use.
    #[inline]
    pub unsafe fn slice(&self, at: Offset, len: usize) -> &[u8] {
        let start = self.range(at, len);
        // SAFETY: in bounds (above); not written (promised by the caller).
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// Writes bytes that only the caller can reach.
    ///
    /// # Safety
    /// No other thread accesses the range during the call.
    #[inline]
    pub unsafe fn write_owned(&self, at: Offset, bytes: &[u8]) {
        let start = self.range(at, bytes.len());
        // SAFETY: in bounds (above), unshared (promised by the caller), and `bytes` is not pool
        // memory of the same range, because it is borrowed.
        unsafe { copy(bytes.as_ptr(), start, bytes.len()) };
        self.record(at, bytes.len());
    }

    /// Writes pieces, one behind the other, that only the caller can reach; answers how many bytes
    /// they have together.
    ///
    /// # Safety
    /// No other thread accesses the range during the call.
    #[inline]
    pub unsafe fn write_pieces_owned<const N: usize>(
        &self,
        at: Offset,
        pieces: [&[u8]; N],
    ) -> usize {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        let mut to = self.range(at, len);
        for piece in pieces {
            // SAFETY: all pieces together are in bounds (above; slices are too short for the sum to
            // wrap), unshared (promised by the caller), and borrowed, hence not this range.
            unsafe {
                copy(piece.as_ptr(), to, piece.len());
                to = to.add(piece.len());
            }
        }
        self.record(at, len);
        len
    }

    /// Writes a log entry, its payload behind it, which only the caller can reach, and starts flushing it.
    /// The same as its parts, but where nothing is to be flushed the medium's mode is looked at once.
    ///
    /// # Safety
    /// No other thread accesses the range during the call.
    #[inline]
    pub unsafe fn write_entry_owned(&self, at: Offset, words: [u64; 4], payload: &[u64]) {
        if self.mode != Mode::Coherent {
            // SAFETY: the caller's promise.
            return unsafe { self.write_entry_slowly(at, words, payload) };
        }
        let start = self.range(at, 32 + 8 * payload.len()).cast::<u64>();
        debug_assert!(at.raw().is_multiple_of(8));
        // SAFETY: in bounds (above), aligned, unshared (promised by the caller); `payload` is borrowed, hence not this range.
        unsafe {
            start.cast::<[u64; 4]>().write(words);
            let rest = start.add(4);
            match *payload {
                [] => {}
                [only] => rest.write(only),
                [first, second] => rest.cast::<[u64; 2]>().write([first, second]),
                ref words => ptr::copy_nonoverlapping(words.as_ptr(), rest, words.len()),
            }
        }
    }

    /// # Safety
    /// No other thread accesses the range during the call.
    #[cold]
    unsafe fn write_entry_slowly(&self, at: Offset, words: [u64; 4], payload: &[u64]) {
        if self.loses_log_entries() {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe {
            self.write_words_owned(at, words);
            self.write_run_owned(at.plus(32), payload);
        }
        self.flush(at, 32 + 8 * payload.len(), Site::Log);
    }

    /// Zeroes bytes that only the caller can reach.
    ///
    /// # Safety
    /// No other thread accesses the range during the call.
    #[inline]
    pub unsafe fn zero_owned(&self, at: Offset, len: usize) {
        let start = self.range(at, len);
        // SAFETY: in bounds (above) and unshared (promised by the caller).
        unsafe { ptr::write_bytes(start, 0, len) };
        self.record(at, len);
    }

    /// Writes words that only the caller can reach; `at` is a multiple of eight.
    ///
    /// # Safety
    /// No other thread accesses the range during the call.
    #[inline]
    pub unsafe fn write_words_owned<const N: usize>(&self, at: Offset, words: [u64; N]) {
        let start = self.range(at, N * 8).cast::<[u64; N]>();
        debug_assert!(at.raw().is_multiple_of(8));
        // SAFETY: in bounds (above), aligned, unshared (promised by the caller).
        unsafe { start.write(words) };
        self.record(at, N * 8);
    }

    /// The same for as many words as there are.
    ///
    /// # Safety
    /// No other thread accesses the range during the call.
    #[inline]
    pub unsafe fn write_run_owned(&self, at: Offset, words: &[u64]) {
        let start = self.range(at, size_of_val(words)).cast::<u64>();
        debug_assert!(at.raw().is_multiple_of(8));
        // SAFETY: in bounds (above), aligned, unshared (promised by the caller), and `words` is borrowed, hence not this
        // range.
        unsafe { ptr::copy_nonoverlapping(words.as_ptr(), start, words.len()) };
        self.record(at, size_of_val(words));
    }

    /// Stores words in a row, each as [`Medium::store`] does.
    #[inline]
    pub fn store_run(&self, at: Offset, words: &[u64]) {
        for (cell, &word) in self.words(at, words.len()).iter().zip(words) {
            cell.store(word, Ordering::Release);
        }
        self.record(at, size_of_val(words));
    }

    /// Writes bytes that others may be reading: word by word, so that a reader sees each word
    /// either before or after. The caller is the only writer of all words touched.
    pub fn write_shared(&self, at: Offset, bytes: &[u8]) {
        self.range(at, bytes.len());
        let (before, whole) = split_words(at, bytes.len());
        let (first, rest) = bytes.split_at(before);
        let (middle, last) = rest.split_at(8 * whole);
        let start = at.plus(before as u64);
        self.write_within_word(at, first);
        if whole > 0 {
            for (word, bytes) in self.words(start, whole).iter().zip(middle.as_chunks().0) {
                word.store(u64::from_le_bytes(*bytes), Ordering::Release);
            }
        }
        self.write_within_word(start.plus(8 * whole as u64), last);
        self.record(at, bytes.len());
    }

    /// Writes some bytes of one word.
    fn write_within_word(&self, at: Offset, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let skip = (at.raw() & 7) as usize;
        let cell = self.word(Offset::from_raw(at.raw() & !7));
        let mut value = cell.load(Ordering::Relaxed).to_le_bytes();
        value[skip..skip + bytes.len()].copy_from_slice(bytes);
        cell.store(u64::from_le_bytes(value), Ordering::Release);
    }

    /// Copies bytes that others may be writing, by words.
    pub fn read_shared(&self, at: Offset, into: &mut [u8]) {
        self.range(at, into.len());
        let (before, whole) = split_words(at, into.len());
        let (first, rest) = into.split_at_mut(before);
        let (middle, last) = rest.split_at_mut(8 * whole);
        let start = at.plus(before as u64);
        self.read_within_word(at, first);
        if whole > 0 {
            let words = self.words(start, whole).iter();
            for (word, bytes) in words.zip(middle.as_chunks_mut().0) {
                *bytes = word.load(Ordering::Relaxed).to_le_bytes();
            }
        }
        self.read_within_word(start.plus(8 * whole as u64), last);
    }

    /// Copies some bytes of one word.
    fn read_within_word(&self, at: Offset, into: &mut [u8]) {
        if into.is_empty() {
            return;
        }
        let skip = (at.raw() & 7) as usize;
        let word = self.word(Offset::from_raw(at.raw() & !7));
        let value = word.load(Ordering::Relaxed).to_le_bytes();
        into.copy_from_slice(&value[skip..skip + into.len()]);
    }

    /// Hints that a line will be read soon. Any offset is allowed.
    #[inline]
    pub fn prefetch(&self, at: Offset) {
        prefetch(self.map.base().wrapping_add(at.raw() as usize));
    }

    /// Starts writing a range back to the persistence domain.
    #[inline]
    pub fn flush(&self, at: Offset, len: usize, site: Site) {
        if self.mode != Mode::Coherent {
            self.flush_lines(at, len, site);
        }
    }

    #[cold]
    fn flush_lines(&self, at: Offset, len: usize, site: Site) {
        if len == 0 {
            return;
        }
        let start = self.range(at, len);
        match (self.mode, &self.recorder) {
            (Mode::Dax(write_back), _) => write_back.lines(start, len),
            (_, Some(recorder)) => recorder.flush(at.raw(), len as u64, site),
            (_, None) => {}
        }
    }

    /// Everything flushed so far is persistent before anything stored from here on; on coherent
    /// media, everything stored so far is executed before anything stored from here on.
    #[inline]
    pub fn fence(&self, site: Site) {
        compiler_fence(Ordering::SeqCst);
        match (self.mode, &self.recorder) {
            (Mode::Coherent, _) => {}
            (Mode::Dax(_), _) => dax::drain(),
            (_, Some(recorder)) => recorder.fence(site),
            (_, None) => {}
        }
        compiler_fence(Ordering::SeqCst);
    }

    #[inline]
    fn record(&self, at: Offset, len: usize) {
        if self.mode == Mode::Recorded {
            self.record_words(at, len);
        }
    }

    #[cold]
    fn record_words(&self, at: Offset, len: usize) {
        let Some(recorder) = &self.recorder else {
            return;
        };
        let first = at.raw() & !7;
        let last = (at.raw() + len as u64).next_multiple_of(8);
        for position in (first..last).step_by(8) {
            let word = self
                .word(Offset::from_raw(position))
                .load(Ordering::Relaxed);
            recorder.store(position, word);
        }
    }

    /// Whether the simulator was told to leave this part of a step out; the step is the place in the source from where
    /// it was asked for. Never, outside of tests of this crate.
    #[inline]
    #[cfg_attr(test, track_caller)]
    pub fn leaves_out(&self, part: Part) -> bool {
        #[cfg(test)]
        if let Some(recorder) = &self.recorder {
            let place = Location::caller();
            return recorder.leaves_out(part, (place.file(), place.line(), place.column()));
        }
        let _ = part;
        false
    }

    /// Whether the simulator was told to lose log entries.
    #[inline]
    pub fn loses_log_entries(&self) -> bool {
        self.mode == Mode::Recorded
            && self
                .recorder
                .as_ref()
                .is_some_and(Recorder::loses_log_entries)
    }
}

/// How many of `len` bytes from `at` on lie before the first whole word, and how many whole words follow.
#[inline]
fn split_words(at: Offset, len: usize) -> (usize, usize) {
    let before = (at.raw().wrapping_neg() & 7) as usize;
    let before = before.min(len);
    (before, (len - before) / 8)
}

/// Copies bytes. Up to 32, which most keys and values are, by two loads that overlap: finding out how to copy so few takes
/// `memcpy` longer than copying them.
///
/// # Safety
/// As for [`ptr::copy_nonoverlapping`].
#[inline]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    /// Copies the first and the last `size_of::<T>()` bytes.
    ///
    /// # Safety
    /// As for the caller, and `len` is that much at least, and twice that much at most.
    #[inline(always)]
    unsafe fn ends<T>(from: *const u8, to: *mut u8, len: usize) {
        let last = len - size_of::<T>();
        // SAFETY: both ends are within the ranges; neither side need be aligned.
        unsafe {
            let head = from.cast::<T>().read_unaligned();
            let tail = from.add(last).cast::<T>().read_unaligned();
            to.cast::<T>().write_unaligned(head);
            to.add(last).cast::<T>().write_unaligned(tail);
        }
    }
    // SAFETY: the caller's promise, and the lengths.
    unsafe {
        match len {
            8..=16 => ends::<u64>(from, to, len),
            17..=32 => ends::<[u64; 2]>(from, to, len),
            4..=7 => ends::<u32>(from, to, len),
            2..=3 => ends::<u16>(from, to, len),
            1 => to.write(from.read()),
            _ => ptr::copy_nonoverlapping(from, to, len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bytes_begin_and_end_anywhere() {
        let map = Mapping::anonymous(65536).unwrap();
        map.map(0, 65536).unwrap();
        let medium = Medium::new(map, 65536);
        for at in 4096..4104 {
            for len in 0..40 {
                medium.write_shared(Offset::from_raw(4096), &[0xee; 64]);
                let bytes: Vec<u8> = (1..=len).collect();
                medium.write_shared(Offset::from_raw(at), &bytes);
                let mut read = vec![0; usize::from(len)];
                medium.read_shared(Offset::from_raw(at), &mut read);
                assert_eq!(read, bytes);
                let mut around = [0; 64];
                medium.read_shared(Offset::from_raw(4096), &mut around);
                let skip = (at - 4096) as usize;
                let untouched = around[..skip].iter().chain(&around[skip + bytes.len()..]);
                assert!(untouched.copied().all(|byte| byte == 0xee));
            }
        }
    }

    #[test]
    fn bytes_of_any_length_are_copied_and_none_beside_them() {
        let map = Mapping::anonymous(65536).unwrap();
        map.map(0, 65536).unwrap();
        let medium = Medium::new(map, 65536);
        let bytes: Vec<u8> = (1..=100).collect();
        for len in 0..=100 {
            let at = Offset::from_raw(4096 + 3);
            // SAFETY: the medium is this test's own.
            unsafe {
                medium.zero_owned(Offset::from_raw(4096), 256);
                medium.write_owned(at, &bytes[..len]);
            }
            let mut found = [0; 256];
            medium.read_shared(Offset::from_raw(4096), &mut found);
            let mut wanted = [0; 256];
            wanted[3..3 + len].copy_from_slice(&bytes[..len]);
            assert_eq!(found, wanted, "{len}");
            let split = len / 3;
            // SAFETY: the medium is this test's own.
            unsafe {
                medium.zero_owned(Offset::from_raw(4096), 256);
                let pieces = [&bytes[..split], &[], &bytes[split..len]];
                assert_eq!(medium.write_pieces_owned(at, pieces), len);
            }
            medium.read_shared(Offset::from_raw(4096), &mut found);
            assert_eq!(found, wanted, "{len} in pieces");
        }
    }
}
