//! Connections between hosts, and the events they make.
//!
//! A connection keeps the order of its frames in each direction; different connections do not wait for each other.
//! Between parted hosts frames pile up and arrive after the split is healed, as TCP would have it.

use crate::world::HostIndex;
use bytes::Bytes;
use eagle_server::cluster::state::LinkId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A connection, for ever.
pub type ConnIndex = usize;

/// Which way along a connection: from end 0 or from end 1.
pub type Way = usize;

/// Something that happens at a time.
pub enum Event {
    /// A host's state machine is due for a tick.
    Tick { host: HostIndex, life: u32 },
    /// A connection attempt reaches its target.
    Arrive { conn: ConnIndex },
    /// The initiator learns that the connection stands.
    Established { conn: ConnIndex },
    /// A frame reaches the other end.
    Deliver {
        conn: ConnIndex,
        way: Way,
        frame: Bytes,
    },
    /// An end learns that the connection is gone.
    Down { conn: ConnIndex, end: usize },
    /// A crashed host comes back.
    Restart { host: HostIndex },
}

/// One end of a connection.
#[derive(Clone, Copy)]
pub struct End {
    pub host: HostIndex,
    pub life: u32,
    pub link: LinkId,
}

pub struct Conn {
    /// Initiator and, once the attempt has arrived, acceptor.
    pub ends: [Option<End>; 2],
    pub target: HostIndex,
    pub established: bool,
    pub broken: bool,
    /// Frames sent before the connection stood.
    pub early: Vec<Bytes>,
    /// Frames that a split holds back, by way.
    pub stalled: [VecDeque<Bytes>; 2],
    /// When the last frame arrives, by way.
    pub last_arrival_ms: [u64; 2],
}

/// Events in the order of their times; of equal times, in the order of their making.
#[derive(Default)]
pub struct Agenda {
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    events: std::collections::HashMap<u64, Event>,
    made: u64,
}

impl Agenda {
    pub fn add(&mut self, at_ms: u64, event: Event) {
        self.made += 1;
        self.heap.push(Reverse((at_ms, self.made)));
        self.events.insert(self.made, event);
    }

    pub fn next(&mut self, until_ms: u64) -> Option<(u64, Event)> {
        let Reverse((at_ms, number)) = *self.heap.peek()?;
        if at_ms > until_ms {
            return None;
        }
        self.heap.pop();
        let event = self
            .events
            .remove(&number)
            .expect("every number in the heap has its event");
        Some((at_ms, event))
    }
}
