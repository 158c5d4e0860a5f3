//! Cuts a byte stream into frames.
//!
//! The sender of a stream is not known before its first frame is read, so nothing here is allocated on the word of
//! a length field: the buffer grows only with bytes that have arrived, and a frame longer than its kind can be is
//! refused as soon as its first 14 bytes are there. Any error is final: the stream has lost its framing, or its
//! peer is no cluster node, and the link must be closed.

use super::codec::{GOSSIP_BYTES, HEADER_BYTES, SIGNATURE};
use super::message::MessageKind;
use bytes::{Bytes, BytesMut};
use std::fmt;

/// Largest frame that carries user data (PUBLISH, PUBLISHSHARD, MODULE): a channel and a message of 512 MiB each.
pub const PUBLISH_BYTES_MAX: usize = (1 << 30) + HEADER_BYTES + 16;

/// Largest heartbeat: 65535 gossip entries and 1 MiB of extensions.
const HEARTBEAT_BYTES_MAX: usize = HEADER_BYTES + GOSSIP_BYTES * u16::MAX as usize + (1 << 20);

/// Largest frame of any other kind, unknown ones included.
const OTHER_BYTES_MAX: usize = 64 << 10;

/// Bytes to see before a length is judged: signature, length, version, port, kind.
const PROLOGUE_BYTES: usize = 14;

/// Why a stream cannot be read on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// A frame does not begin with the signature.
    Signature,
    /// A frame is shorter than a header.
    TooShort,
    /// A frame is longer than its kind allows.
    TooLong,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "bad message signature received from the cluster bus",
            Self::TooShort => "message shorter than a header received from the cluster bus",
            Self::TooLong => "message longer than its type allows received from the cluster bus",
        })
    }
}

impl std::error::Error for FrameError {}

/// The unread rest of a stream.
#[derive(Default, Debug)]
pub struct FrameSplitter {
    buffer: BytesMut,
}

impl FrameSplitter {
    /// A splitter at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The place to append received bytes to.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame; `None` until it has arrived.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let seen = self.buffer.len().min(SIGNATURE.len());
        if self.buffer[..seen] != SIGNATURE[..seen] {
            return Err(FrameError::Signature);
        }
        let Some(prologue) = self.buffer.first_chunk::<PROLOGUE_BYTES>() else {
            return Ok(None);
        };
        let [_, _, _, _, l0, l1, l2, l3, _, _, _, _, k0, k1] = *prologue;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length < HEADER_BYTES {
            return Err(FrameError::TooShort);
        }
        if length > bytes_max(u16::from_be_bytes([k0, k1])) {
            return Err(FrameError::TooLong);
        }
        if self.buffer.len() < length {
            return Ok(None);
        }
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

fn bytes_max(kind: u16) -> usize {
    match MessageKind::from_wire(kind) {
        Some(MessageKind::Ping | MessageKind::Pong | MessageKind::Meet) => HEARTBEAT_BYTES_MAX,
        Some(MessageKind::Publish | MessageKind::PublishShard | MessageKind::Module) => {
            PUBLISH_BYTES_MAX
        }
        _ => OTHER_BYTES_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;
    use proptest::prelude::*;

    fn frame(kind: u16, length: usize) -> Vec<u8> {
        let mut frame = vec![7; length];
        frame[..4].copy_from_slice(SIGNATURE);
        frame[4..8].copy_from_slice(&(length as u32).to_be_bytes());
        frame[12..14].copy_from_slice(&kind.to_be_bytes());
        frame
    }

    #[test]
    fn a_wrong_signature_is_seen_at_the_first_byte() {
        for (bytes, wrong) in [
            (&b"R"[..], false),
            (b"RX", true),
            (b"RCmb", false),
            (b"RCmb\0", false),
            (b"G", true),
        ] {
            let mut splitter = FrameSplitter::new();
            splitter.buffer_mut().put_slice(bytes);
            let expected = if wrong {
                Err(FrameError::Signature)
            } else {
                Ok(None)
            };
            assert_eq!(splitter.next_frame(), expected);
        }
    }

    #[test]
    fn a_length_is_judged_before_the_frame_arrives() {
        let judge = |kind: u16, length: u32| {
            let mut splitter = FrameSplitter::new();
            let mut prologue = frame(kind, PROLOGUE_BYTES);
            prologue[4..8].copy_from_slice(&length.to_be_bytes());
            splitter.buffer_mut().put_slice(&prologue);
            splitter.next_frame()
        };
        assert_eq!(judge(0, 2255), Err(FrameError::TooShort));
        assert_eq!(judge(0, 0), Err(FrameError::TooShort));
        assert_eq!(judge(0, 2256), Ok(None));
        assert_eq!(judge(0, u32::MAX), Err(FrameError::TooLong));
        assert_eq!(judge(3, 64 << 10), Ok(None));
        assert_eq!(judge(3, (64 << 10) + 1), Err(FrameError::TooLong));
        assert_eq!(judge(999, (64 << 10) + 1), Err(FrameError::TooLong));
        assert_eq!(judge(4, PUBLISH_BYTES_MAX as u32), Ok(None));
        assert_eq!(
            judge(4, PUBLISH_BYTES_MAX as u32 + 1),
            Err(FrameError::TooLong)
        );
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            lengths in prop::collection::vec(2256usize..5000, 1..6),
            cuts in prop::collection::vec(1usize..4000, 1..20),
        ) {
            let frames: Vec<Vec<u8>> = lengths.iter().map(|&length| frame(0, length)).collect();
            let stream = frames.concat();
            let mut splitter = FrameSplitter::new();
            let mut found = Vec::new();
            let (mut at, mut turn) = (0, 0);
            while at < stream.len() {
                let end = (at + cuts[turn % cuts.len()]).min(stream.len());
                splitter.buffer_mut().put_slice(&stream[at..end]);
                while let Some(frame) = splitter.next_frame().unwrap() {
                    found.push(frame.to_vec());
                }
                (at, turn) = (end, turn + 1);
            }
            prop_assert_eq!(found, frames);
            prop_assert!(splitter.buffer_mut().is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut splitter = FrameSplitter::new();
            splitter.buffer_mut().put_slice(&bytes);
            let _ = splitter.next_frame();
        }
    }
}
