//! The bytes of a message.
//!
//! Every message begins with the same 2256-byte header; all integers are big-endian:
//! ```text
//!    0  4 "RCmb"        40   40 sender id       2216 30 zero
//!    4  4 total length  80 2048 slots           2246  2 plaintext port
//!    8  2 version (1) 2128   40 primary's id    2248  2 bus port
//!   10  2 port        2168   46 ip text         2250  2 node flags
//!   12  2 kind        2214    2 extensions      2252  1 cluster state (0 ok, 1 fail)
//!   14  2 gossip entries                        2253  3 message flags
//!   16  8 current epoch, 24 8 config epoch, 32 8 replication offset
//! ```
//! Decoding is strict: the length must be exactly what the kind, the counts and the lengths inside add up to (the
//! sum is never truncated), names and addresses must be well formed, and extensions need the EXT_DATA flag. A
//! message that fails is dropped; the link stays open, because the framing is intact.

use super::extension::Extension;
use super::message::{Body, GossipEntry, Header, Heartbeat, MessageFlags, MessageKind, SlotClaim};
use crate::cluster::address::IpText;
use crate::cluster::{NodeFlags, NodeId, SlotSet};
use bytes::Bytes;
use std::fmt;

/// Length of the header, and so of the shortest message.
pub const HEADER_BYTES: usize = 2256;
pub(super) const GOSSIP_BYTES: usize = 104;
pub(super) const SIGNATURE: &[u8; 4] = b"RCmb";
const VERSION: u16 = 1;

/// Why a message is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// No signature, or fewer bytes than a header.
    NotAMessage,
    /// A version of the protocol that is not spoken here.
    Version(u16),
    /// The length is not what the content adds up to.
    Length,
    /// A field holds what cannot stand there.
    Field(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAMessage => f.write_str("not a cluster bus message"),
            Self::Version(version) => write!(f, "cluster bus protocol version {version}"),
            Self::Length => f.write_str("message length does not fit its content"),
            Self::Field(field) => write!(f, "malformed {field}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// The bytes of a message.
///
/// # Panics
/// If there are more than 65535 gossip entries or extensions, or more than 4 GiB of data: the caller bounds them.
pub fn encode(header: &Header, body: &Body) -> Bytes {
    let (gossip, extensions) = match body {
        Body::Ping(heartbeat) | Body::Pong(heartbeat) | Body::Meet(heartbeat) => {
            (heartbeat.gossip.as_slice(), heartbeat.extensions.as_slice())
        }
        _ => Default::default(),
    };
    let count = |len: usize| {
        u16::try_from(len).expect("gossip entries and extensions are bounded by the caller")
    };
    let kind = match body {
        Body::Unknown(kind) => *kind,
        known => known.kind().map_or(0, MessageKind::wire),
    };
    let mut out = Vec::with_capacity(HEADER_BYTES + GOSSIP_BYTES * gossip.len() + 64);
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0; 4]); // The length, known at the end.
    for field in [VERSION, header.port, kind, count(gossip.len())] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    for field in [header.current_epoch, header.config_epoch, header.offset] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(header.sender.as_bytes());
    write_slots(&mut out, &header.slots);
    let primary = header
        .primary
        .map_or([0; NodeId::BYTES], |id| *id.as_bytes());
    out.extend_from_slice(&primary);
    out.extend_from_slice(header.ip.field());
    out.extend_from_slice(&count(extensions.len()).to_be_bytes());
    out.extend_from_slice(&[0; 30]);
    for field in [header.pport, header.cport, header.flags.bits()] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(&[u8::from(!header.cluster_ok), header.message_flags.0, 0, 0]);
    debug_assert_eq!(out.len(), HEADER_BYTES);
    write_body(&mut out, body);
    let length = u32::try_from(out.len()).expect("the data of a message is bounded by the caller");
    out[4..8].copy_from_slice(&length.to_be_bytes());
    out.into()
}

fn write_body(out: &mut Vec<u8>, body: &Body) {
    let u32_len = |bytes: &Bytes| {
        u32::try_from(bytes.len())
            .expect("bounded by the caller")
            .to_be_bytes()
    };
    match body {
        Body::Ping(heartbeat) | Body::Pong(heartbeat) | Body::Meet(heartbeat) => {
            heartbeat
                .gossip
                .iter()
                .for_each(|entry| write_gossip(out, entry));
            heartbeat
                .extensions
                .iter()
                .for_each(|extension| extension.write(out));
        }
        Body::Fail(id) => out.extend_from_slice(id.as_bytes()),
        Body::Publish { channel, message } | Body::PublishShard { channel, message } => {
            out.extend_from_slice(&u32_len(channel));
            out.extend_from_slice(&u32_len(message));
            out.extend_from_slice(channel);
            out.extend_from_slice(message);
        }
        Body::Update(claim) => {
            out.extend_from_slice(&claim.config_epoch.to_be_bytes());
            out.extend_from_slice(claim.owner.as_bytes());
            write_slots(out, &claim.slots);
        }
        Body::Module {
            module,
            kind,
            payload,
        } => {
            out.extend_from_slice(module);
            out.extend_from_slice(&u32_len(payload));
            out.push(*kind);
            out.extend_from_slice(payload);
        }
        Body::AuthRequest | Body::AuthAck | Body::ManualFailoverStart | Body::Unknown(_) => {}
    }
}

fn write_slots(out: &mut Vec<u8>, slots: &SlotSet) {
    let mut wire = [0; SlotSet::WIRE_BYTES];
    slots.to_wire(&mut wire);
    out.extend_from_slice(&wire);
}

fn write_gossip(out: &mut Vec<u8>, entry: &GossipEntry) {
    out.extend_from_slice(entry.id.as_bytes());
    out.extend_from_slice(&entry.ping_sent_s.to_be_bytes());
    out.extend_from_slice(&entry.pong_received_s.to_be_bytes());
    out.extend_from_slice(entry.ip.field());
    for field in [entry.port, entry.cport, entry.flags.bits(), entry.pport, 0] {
        out.extend_from_slice(&field.to_be_bytes());
    }
}

/// Reads a whole frame. Payloads of PUBLISH, PUBLISHSHARD and MODULE share the frame's memory.
pub fn decode(frame: &Bytes) -> Result<(Header, Body), DecodeError> {
    if frame.len() < HEADER_BYTES || frame[..4] != *SIGNATURE {
        return Err(DecodeError::NotAMessage);
    }
    let mut reader = Reader { frame, at: 4 };
    if reader.u32()? as usize != frame.len() {
        return Err(DecodeError::Length);
    }
    let version = reader.u16()?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let port = reader.u16()?;
    let kind = reader.u16()?;
    let gossip_count = reader.u16()?;
    let current_epoch = reader.u64()?;
    let config_epoch = reader.u64()?;
    let offset = reader.u64()?;
    let sender = reader.node_id("sender id")?;
    let slots = reader.slots()?;
    let primary = reader.optional_node_id("primary id")?;
    let ip = reader.ip()?;
    let extension_count = reader.u16()?;
    reader.skip(30)?;
    let pport = reader.u16()?;
    let cport = reader.u16()?;
    let flags = NodeFlags::from_bits(reader.u16()?);
    let [cluster_state, message_flags, _, _] = reader.array()?;
    debug_assert_eq!(reader.at, HEADER_BYTES);
    let message_flags = MessageFlags(message_flags);
    let header = Header {
        sender,
        ip,
        port,
        pport,
        cport,
        current_epoch,
        config_epoch,
        offset,
        slots,
        primary,
        flags,
        cluster_ok: cluster_state == 0,
        message_flags,
    };
    let Some(kind) = MessageKind::from_wire(kind) else {
        return Ok((header, Body::Unknown(kind)));
    };
    let extension_count = match (
        extension_count,
        message_flags.contains(MessageFlags::EXT_DATA),
    ) {
        (0, _) => 0,
        (count, true) => count,
        (_, false) => return Err(DecodeError::Field("extension count")),
    };
    let body = read_body(&mut reader, kind, gossip_count, extension_count)?;
    if reader.at != frame.len() {
        return Err(DecodeError::Length);
    }
    Ok((header, body))
}

fn read_body(
    reader: &mut Reader<'_>,
    kind: MessageKind,
    gossip_count: u16,
    extension_count: u16,
) -> Result<Body, DecodeError> {
    Ok(match kind {
        MessageKind::Ping => Body::Ping(read_heartbeat(reader, gossip_count, extension_count)?),
        MessageKind::Pong => Body::Pong(read_heartbeat(reader, gossip_count, extension_count)?),
        MessageKind::Meet => Body::Meet(read_heartbeat(reader, gossip_count, extension_count)?),
        MessageKind::Fail => Body::Fail(reader.node_id("failed node id")?),
        MessageKind::Publish => {
            let (channel, message) = read_publish(reader)?;
            Body::Publish { channel, message }
        }
        MessageKind::PublishShard => {
            let (channel, message) = read_publish(reader)?;
            Body::PublishShard { channel, message }
        }
        MessageKind::AuthRequest => Body::AuthRequest,
        MessageKind::AuthAck => Body::AuthAck,
        MessageKind::Update => Body::Update(SlotClaim {
            config_epoch: reader.u64()?,
            owner: reader.node_id("owner id")?,
            slots: reader.slots()?,
        }),
        MessageKind::ManualFailoverStart => Body::ManualFailoverStart,
        MessageKind::Module => {
            let module = reader.array()?;
            let length = reader.u32()? as usize;
            let [kind] = reader.array()?;
            Body::Module {
                module,
                kind,
                payload: reader.bytes(length)?,
            }
        }
    })
}

fn read_heartbeat(
    reader: &mut Reader<'_>,
    gossip_count: u16,
    extension_count: u16,
) -> Result<Heartbeat, DecodeError> {
    // Both counts are compared with the bytes that are there before room is made for them.
    let (gossip_count, extension_count) = (usize::from(gossip_count), usize::from(extension_count));
    if reader.left() < gossip_count * GOSSIP_BYTES + extension_count * 8 {
        return Err(DecodeError::Length);
    }
    let mut heartbeat = Heartbeat {
        gossip: Vec::with_capacity(gossip_count),
        extensions: Vec::with_capacity(extension_count),
    };
    for _ in 0..gossip_count {
        heartbeat.gossip.push(read_gossip(reader)?);
    }
    for _ in 0..extension_count {
        heartbeat.extensions.push(Extension::read(reader)?);
    }
    Ok(heartbeat)
}

fn read_gossip(reader: &mut Reader<'_>) -> Result<GossipEntry, DecodeError> {
    let id = reader.node_id("gossip node id")?;
    let ping_sent_s = reader.u32()?;
    let pong_received_s = reader.u32()?;
    let ip = reader.ip()?;
    let port = reader.u16()?;
    let cport = reader.u16()?;
    let flags = NodeFlags::from_bits(reader.u16()?);
    let pport = reader.u16()?;
    reader.skip(2)?;
    Ok(GossipEntry {
        id,
        ping_sent_s,
        pong_received_s,
        ip,
        port,
        cport,
        flags,
        pport,
    })
}

fn read_publish(reader: &mut Reader<'_>) -> Result<(Bytes, Bytes), DecodeError> {
    let channel_bytes = reader.u32()? as usize;
    let message_bytes = reader.u32()? as usize;
    Ok((reader.bytes(channel_bytes)?, reader.bytes(message_bytes)?))
}

/// A cursor over a frame; every step is checked against the end.
pub(super) struct Reader<'a> {
    frame: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn left(&self) -> usize {
        self.frame.len() - self.at
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), DecodeError> {
        if count > self.left() {
            return Err(DecodeError::Length);
        }
        self.at += count;
        Ok(())
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        let start = self.at;
        self.skip(count)?;
        Ok(self.frame.slice(start..self.at))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let array = *self.frame[self.at..]
            .first_chunk()
            .ok_or(DecodeError::Length)?;
        self.at += N;
        Ok(array)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    fn slots(&mut self) -> Result<SlotSet, DecodeError> {
        self.array().map(|wire| SlotSet::from_wire(&wire))
    }

    fn ip(&mut self) -> Result<IpText, DecodeError> {
        IpText::from_field(&self.array()?).ok_or(DecodeError::Field("address"))
    }

    fn node_id(&mut self, field: &'static str) -> Result<NodeId, DecodeError> {
        NodeId::parse(&self.array::<{ NodeId::BYTES }>()?).ok_or(DecodeError::Field(field))
    }

    fn optional_node_id(&mut self, field: &'static str) -> Result<Option<NodeId>, DecodeError> {
        let bytes = self.array::<{ NodeId::BYTES }>()?;
        if bytes == [0; NodeId::BYTES] {
            return Ok(None);
        }
        NodeId::parse(&bytes)
            .map(Some)
            .ok_or(DecodeError::Field(field))
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
