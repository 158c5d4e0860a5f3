//! The sequence word of a hash slot: lets lock-free readers notice a multi-store transaction.
//!
//! A writer that changes more than one reachable word makes the word odd before its first store
//! and even again after its last one (a seqlock). A reader takes the stamp before it reads and
//! validates it afterwards; a failed validation means "read again, or take the slot's lock".
//! Writers of one slot exclude each other with the slot's lock, which this type does not contain.
//!
//! Rules, in the order of the C++ memory model:
//! 1. The writer's odd store is followed by a release fence, so that whoever sees one of the
//!    protected stores also sees an odd (or later) word.
//! 2. The writer's even store is a release store: whoever acquires it sees all protected stores.
//! 3. The reader's first load is an acquire load; its second one is preceded by an acquire fence.
//!
//! The protected data must be read and written with (relaxed or stronger) atomics: the sequence
//! tells a reader that what it read was torn, it does not make a data race legal.

use super::primitive::{AtomicU64, Ordering, fence};

/// The sequence word: even at rest, odd while a transaction is being applied.
#[derive(Debug, Default)]
pub struct SlotSeq(AtomicU64);

/// An even value of the word, taken by a reader before it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadStamp(u64);

impl SlotSeq {
    /// A word at rest.
    pub fn new() -> SlotSeq {
        SlotSeq(AtomicU64::new(0))
    }

    /// Starts an optimistic read, or answers `None` while a transaction is being applied.
    #[inline]
    pub fn read_begin(&self) -> Option<ReadStamp> {
        let value = self.0.load(Ordering::Acquire);
        (value & 1 == 0).then_some(ReadStamp(value))
    }

    /// Whether everything read since `stamp` was taken is one consistent state.
    #[inline]
    pub fn read_validate(&self, stamp: ReadStamp) -> bool {
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) == stamp.0
    }

    /// Whether a transaction is being applied right now.
    #[inline]
    pub fn is_writing(&self) -> bool {
        self.0.load(Ordering::Relaxed) & 1 == 1
    }

    /// Makes the word odd until the guard is dropped. The caller holds the slot's lock, hence
    /// nobody else writes the word; a second call before the first guard is gone is a bug and
    /// panics.
    #[inline]
    pub fn write(&self) -> WriteGuard<'_> {
        let value = self.0.load(Ordering::Relaxed);
        assert!(value & 1 == 0, "slot sequence is already being written");
        self.0.store(value + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        WriteGuard { seq: self, value }
    }
}

/// Keeps the word odd; dropping it (also by a panic, after the rollback) makes the word even.
#[derive(Debug)]
pub struct WriteGuard<'a> {
    seq: &'a SlotSeq,
    value: u64,
}

impl Drop for WriteGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.seq.0.store(self.value + 2, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_read_across_a_write_fails() {
        let seq = SlotSeq::new();
        let stamp = seq.read_begin().expect("at rest");
        assert!(seq.read_validate(stamp));
        let guard = seq.write();
        assert!(seq.is_writing());
        assert_eq!(seq.read_begin(), None);
        assert!(!seq.read_validate(stamp));
        drop(guard);
        assert!(!seq.is_writing());
        assert!(!seq.read_validate(stamp));
        let later = seq.read_begin().expect("at rest again");
        assert!(seq.read_validate(later));
    }

    #[test]
    #[should_panic(expected = "already being written")]
    fn nested_writes_are_a_bug() {
        let seq = SlotSeq::new();
        let _outer = seq.write();
        let _inner = seq.write();
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::{sync::Arc, thread};

    struct Pair {
        seq: SlotSeq,
        a: AtomicU64,
        b: AtomicU64,
    }

    fn read(pair: &Pair) -> Option<(u64, u64)> {
        let stamp = pair.seq.read_begin()?;
        let a = pair.a.load(Ordering::Relaxed);
        let b = pair.b.load(Ordering::Relaxed);
        pair.seq.read_validate(stamp).then_some((a, b))
    }

    /// A validated read never sees half of a two-word transaction.
    #[test]
    fn validated_reads_are_consistent() {
        loom::model(|| {
            let pair = Arc::new(Pair {
                seq: SlotSeq::new(),
                a: AtomicU64::new(0),
                b: AtomicU64::new(0),
            });
            let writer = {
                let pair = pair.clone();
                thread::spawn(move || {
                    for value in 1..=2 {
                        let _guard = pair.seq.write();
                        pair.a.store(value, Ordering::Relaxed);
                        pair.b.store(value, Ordering::Relaxed);
                    }
                })
            };
            if let Some((a, b)) = read(&pair) {
                assert_eq!(a, b);
            }
            writer.join().unwrap();
            assert_eq!(read(&pair), Some((2, 2)));
        });
    }
}
