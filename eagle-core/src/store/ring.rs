//! The log ring as the keyspace's callers use it: what each committed view added to the stream of changes, for
//! whoever replays them elsewhere. What a record says is the caller's business ([`View::commit_logged`](super::View)).

use super::keyspace::{Guard, Keyspace, OpenError};
use super::view::Access;
use crate::pmem::{
    self, ANY_STATE, OutOfSpace, Pool, RING_LABEL_BYTES, RingReader, RingRecord, RingState,
};
use std::path::Path;

/// Reads the log ring of a pool file that no process has open: the position of its first byte, and its bytes. Opens the
/// pool as a start of the server would, and closes it again. `boot_id` is this boot of the machine's.
pub fn read_ring(path: &Path, boot_id: [u8; 16]) -> Result<(u64, Vec<u8>), OpenError> {
    let size = std::fs::metadata(path).map_err(OpenError::Io)?.len();
    let options = pmem::PoolOptions {
        path: Some(path.to_owned()),
        size_max: size,
        lanes: 1,
        boot_id,
        hash_seed: [0; 16],
        pool_id: [0; 16],
    };
    let (pool, _) = Pool::open(&options)?;
    let state = pool.ring_state();
    let mut bytes = vec![0; (state.head - state.floor) as usize];
    if let Some(mut reader) = pool.ring_reader(state.floor, false) {
        reader
            .read(&mut bytes)
            .map_err(|lapped| OpenError::Invalid(lapped.to_string()))?;
    }
    pool.close().map_err(OpenError::Io)?;
    Ok((state.floor, bytes))
}

impl Keyspace {
    /// Whether committed views are to log what they did. It changes only while all slots are locked: what a view sees
    /// of it once it has its locks stays true until it has ended.
    #[inline]
    pub fn ring_is_on(&self) -> bool {
        self.pool().ring_is_on()
    }

    /// Bytes of the stream since it began.
    #[inline]
    pub fn ring_head(&self) -> u64 {
        self.pool().ring_head()
    }

    /// How much of the stream there is.
    pub fn ring_state(&self) -> RingState {
        self.pool().ring_state()
    }

    /// Makes the ring keep at least so many bytes, or gives it up. A ring that is made anew begins at the head.
    pub fn resize_ring(&self, guard: &Guard, kept_bytes: Option<u64>) -> Result<(), OutOfSpace> {
        let toggles = self.ring_is_on() != kept_bytes.is_some();
        let _locks = toggles.then(|| self.slots().lock(Access::All));
        self.pool()
            .ring_resize(&mut self.lock_maker(), guard, kept_bytes)
    }

    /// The next record says again what state (database) it is about.
    pub fn forget_ring_state(&self) {
        self.pool().ring_forget_state();
    }

    /// A reader from stream position `from` on, if the ring has that. One that `holds` is waited for by all who commit.
    pub fn ring_reader(&self, from: u64, holds: bool) -> Option<RingReader> {
        self.pool().ring_reader(from, holds)
    }

    /// Appends what belongs to no view and to no state; the head after it, if there is a ring.
    pub fn append_apart(&self, body: &[u8]) -> Option<u64> {
        self.pool().ring_append(&RingRecord {
            enters: ANY_STATE,
            bring: &[],
            body,
            leaves: ANY_STATE,
        })
    }

    /// Appends what belongs to no view; the head after it, if there is a ring.
    pub fn append_to_ring(&self, record: &RingRecord<'_>) -> Option<u64> {
        self.pool().ring_append(record)
    }

    /// The caller's note on the stream: what it is called. Zeros in a new pool.
    pub fn ring_label(&self) -> [u8; RING_LABEL_BYTES] {
        self.pool().ring_label()
    }

    /// Replaces that note.
    pub fn set_ring_label(
        &self,
        guard: &Guard,
        label: &[u8; RING_LABEL_BYTES],
    ) -> Result<(), OutOfSpace> {
        self.pool()
            .set_ring_label(&mut self.lock_maker(), guard, label)
    }

    /// Sets the stream's head, while there is no ring: the stream goes on from a position reached elsewhere.
    pub fn set_ring_head(&self, guard: &Guard, head: u64) -> Result<(), OutOfSpace> {
        self.pool()
            .set_ring_head(&mut self.lock_maker(), guard, head)
    }
}
