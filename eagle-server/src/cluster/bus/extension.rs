//! Ping extensions: typed additions after the gossip section.
//!
//! ```text
//! 0  u32  length, these 8 bytes included; a multiple of 8
//! 4  u16  type
//! 6  u16  zero
//! 8  ...  data, NUL-padded
//! ```
//! A length that is no multiple of 8, is smaller than 8 or runs past the frame makes the whole message invalid.
//! So does content that is wrong for a known type, since nobody who follows the protocol writes it. Unknown types
//! are kept as they came. Type 4 is one of them on purpose: Redis 8 and Valkey 8 give it different meanings.

use super::codec::{DecodeError, Reader};
use crate::cluster::NodeId;
use crate::cluster::address::{HostName, HumanName};
use bytes::Bytes;

const PREFIX_BYTES: usize = 8;

/// One ping extension.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Extension {
    /// Type 0: the sender's host name.
    HostName(HostName),
    /// Type 1: the sender's name for people.
    HumanName(HumanName),
    /// Type 2: a node that was forgotten on purpose.
    ForgottenNode {
        /// The forgotten node.
        id: NodeId,
        /// How long it must not be learnt again, in seconds.
        ttl_s: u64,
    },
    /// Type 3: the name of the sender's shard.
    ShardId(NodeId),
    /// A type of a later version, with its data, padding included (so a multiple of 8 bytes).
    Unknown {
        /// The type.
        kind: u16,
        /// The data.
        data: Bytes,
    },
}

impl Extension {
    /// The type's number on the wire.
    pub fn kind(&self) -> u16 {
        match self {
            Self::HostName(_) => 0,
            Self::HumanName(_) => 1,
            Self::ForgottenNode { .. } => 2,
            Self::ShardId(_) => 3,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Length on the wire in bytes, prefix and padding included.
    pub(super) fn wire_bytes(&self) -> usize {
        let data = match self {
            Self::HostName(name) => name.as_str().len() + 1,
            Self::HumanName(name) => name.as_str().len() + 1,
            Self::ForgottenNode { .. } => NodeId::BYTES + 8,
            Self::ShardId(_) => NodeId::BYTES,
            Self::Unknown { data, .. } => data.len(),
        };
        PREFIX_BYTES + data.next_multiple_of(8)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.wire_bytes();
        let length = u32::try_from(self.wire_bytes())
            .expect("names are short and unknown data came out of a frame");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.kind().to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        match self {
            Self::HostName(name) => out.extend_from_slice(name.as_str().as_bytes()),
            Self::HumanName(name) => out.extend_from_slice(name.as_str().as_bytes()),
            Self::ForgottenNode { id, ttl_s } => {
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(&ttl_s.to_be_bytes());
            }
            Self::ShardId(id) => out.extend_from_slice(id.as_bytes()),
            Self::Unknown { data, .. } => out.extend_from_slice(data),
        }
        out.resize(end, 0);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.u32()? as usize;
        let kind = reader.u16()?;
        reader.skip(2)?;
        if length < PREFIX_BYTES || !length.is_multiple_of(8) {
            return Err(DecodeError::Field("extension length"));
        }
        let data = reader.bytes(length - PREFIX_BYTES)?;
        let malformed = DecodeError::Field("extension data");
        match kind {
            0 => HostName::parse(before_nul(&data)).map(Self::HostName),
            1 => HumanName::parse(before_nul(&data)).map(Self::HumanName),
            2 => match data.split_at_checked(NodeId::BYTES) {
                Some((id, ttl)) if ttl.len() == 8 => {
                    NodeId::parse(id).map(|id| Self::ForgottenNode {
                        id,
                        ttl_s: ttl
                            .iter()
                            .fold(0, |value, &byte| value << 8 | u64::from(byte)),
                    })
                }
                _ => None,
            },
            3 => NodeId::parse(&data).map(Self::ShardId),
            _ => Some(Self::Unknown { kind, data }),
        }
        .ok_or(malformed)
    }
}

fn before_nul(data: &[u8]) -> &[u8] {
    data.split(|&byte| byte == 0).next().unwrap_or_default()
}
