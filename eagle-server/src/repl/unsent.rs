//! The part of the stream that a replica has yet to be sent.
//!
//! It is read from the log ring, which waits for the reader: nobody overwrites what it has not read. So that nobody has to
//! wait for long, a [thread](super::replicas) looks every few milliseconds whether a reader has come halfway to being
//! overrun, and if so takes the stream out of the ring and holds it back in memory, within
//! `client-output-buffer-limit replica`.
//!
//! A record larger than the ring is waited for by nobody; a replica that has not read what was before it is lost, and
//! comes back for a snapshot.

use bytes::{Bytes, BytesMut};
use eagle_core::store::{Lapped, RingReader};
use std::collections::VecDeque;

/// Bytes held back in one piece.
const HELD_BYTES: usize = 256 << 10;

/// What a replica has yet to be sent. Empty, and so is what comes, until it is opened.
#[derive(Default)]
pub struct Unsent {
    reader: Option<RingReader>,
    /// Taken out of the ring, before what the reader reads next.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// Something was overwritten before it was read.
    is_lost: bool,
    is_closed: bool,
}

impl Unsent {
    /// The stream goes on with what `reader` reads.
    pub fn open(&mut self, reader: RingReader) {
        if !self.is_closed {
            self.reader = Some(reader);
        }
    }

    /// Nothing is sent any more.
    pub fn close(&mut self) {
        *self = Unsent {
            is_closed: true,
            ..Unsent::default()
        };
    }

    pub fn is_open(&self) -> bool {
        self.reader.is_some()
    }

    pub fn bytes(&self) -> u64 {
        let unread = self.reader.as_ref().map_or(0, |reader| reader.behind().0);
        unread + self.held_bytes as u64
    }

    /// The reader, if nothing else comes before what it reads.
    pub fn reader(&self) -> Option<&RingReader> {
        self.reader.as_ref().filter(|_| self.held.is_empty())
    }

    /// Moves bytes to `out` until that has `len_max`, about.
    pub fn take(&mut self, out: &mut BytesMut, len_max: usize) -> Result<(), Lapped> {
        while out.len() < len_max
            && let Some(chunk) = self.held.pop_front()
        {
            self.held_bytes -= chunk.len();
            out.extend_from_slice(&chunk);
        }
        if self.is_lost {
            return Err(Lapped);
        }
        if let Some(reader) = &mut self.reader
            && out.len() < len_max
        {
            let (behind, _) = reader.behind();
            let from = out.len();
            out.resize(from + (len_max - from).min(behind as usize), 0);
            let read = reader.read(&mut out[from..])?;
            out.truncate(from + read);
        }
        Ok(())
    }

    /// Holds the stream back if the ring has come halfway to overwriting it.
    pub fn keep_up(&mut self) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        let (behind, room) = reader.behind();
        if behind < room {
            return;
        }
        let mut left = behind as usize;
        while left > 0 {
            let mut chunk = vec![0; HELD_BYTES.min(left)];
            let Ok(read @ 1..) = reader.read(&mut chunk) else {
                self.is_lost = true;
                self.reader = None;
                return;
            };
            chunk.truncate(read);
            left -= read;
            self.held_bytes += read;
            self.held.push_back(chunk.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eagle_core::store::{Keyspace, PoolOptions};

    fn keyspace() -> Keyspace {
        let (keyspace, _) = Keyspace::open(&PoolOptions::in_memory(16 << 20)).unwrap();
        keyspace
            .resize_ring(&keyspace.pin(), Some(16 << 10))
            .unwrap();
        keyspace
    }

    fn append(keyspace: &Keyspace, count: usize, stream: &mut Vec<u8>) {
        for _ in 0..count {
            let record = format!("record at {};", stream.len());
            keyspace.append_apart(record.as_bytes());
            stream.extend_from_slice(record.as_bytes());
        }
    }

    #[test]
    fn what_is_held_back_comes_before_what_the_ring_has() {
        let keyspace = keyspace();
        let (mut unsent, mut stream) = (Unsent::default(), Vec::new());
        unsent.open(keyspace.ring_reader(0, true).unwrap());
        let mut sent = BytesMut::new();
        for round in 0..200 {
            append(&keyspace, 100, &mut stream);
            unsent.keep_up();
            assert_eq!(unsent.bytes() as usize + sent.len(), stream.len());
            if round % 90 == 89 {
                let len = sent.len() + 1000;
                unsent.take(&mut sent, len).unwrap();
            }
        }
        assert!(unsent.reader().is_none(), "the ring went round");
        unsent.take(&mut sent, stream.len()).unwrap();
        assert_eq!(sent, stream);
        assert_eq!(unsent.bytes(), 0);
        assert!(unsent.reader().is_some());
    }

    #[test]
    fn a_record_larger_than_the_ring_loses_who_has_not_read_before_it() {
        let keyspace = keyspace();
        let mut unsent = Unsent::default();
        unsent.open(keyspace.ring_reader(0, true).unwrap());
        keyspace.append_apart(b"small");
        keyspace.append_apart(&vec![b'x'; 300 << 10]);
        unsent.keep_up();
        assert!(unsent.take(&mut BytesMut::new(), 100).is_err());
    }

    #[test]
    fn one_that_is_closed_holds_nobody_up() {
        let keyspace = keyspace();
        let (mut unsent, mut stream) = (Unsent::default(), Vec::new());
        unsent.open(keyspace.ring_reader(0, true).unwrap());
        unsent.close();
        unsent.open(keyspace.ring_reader(0, true).unwrap());
        assert!(!unsent.is_open());
        append(&keyspace, 10_000, &mut stream);
        assert_eq!(unsent.bytes(), 0);
    }
}
