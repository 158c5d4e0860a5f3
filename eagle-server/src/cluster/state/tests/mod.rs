//! Single rules of the protocol, each against peers made up for the purpose. Whole clusters run in `tests/cluster_sim`.

use super::*;
use crate::cluster::address::{HostName, IpText};
use crate::cluster::bus::{
    Body, Extension, GossipEntry, Header, Heartbeat, MessageFlags, SlotClaim, decode, encode,
};
use crate::cluster::config_file::ClusterFile;
use crate::cluster::{NodeFlags, NodeId, SlotSet};
use std::net::IpAddr;

mod elections;
mod failures;
mod membership;
mod sequences;
mod slots;

const T: u64 = 1000;
const START_MS: u64 = 1_700_000_000_000;

/// A state under test with the peers it knows; their links stand.
struct Bench {
    state: ClusterState,
    now_ms: u64,
    peers: Vec<Peer>,
}

#[derive(Clone)]
struct Peer {
    header: Header,
    inbound: LinkId,
    outbound: LinkId,
}

fn id(letter: u8) -> NodeId {
    NodeId::parse(&[letter; 40]).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn header(letter: u8, epoch: u64, slots: std::ops::Range<u16>) -> Header {
    Header {
        sender: id(letter),
        ip: IpText::parse(format!("10.0.0.{letter}").as_bytes()).unwrap(),
        port: 7000,
        pport: 0,
        cport: 17000,
        current_epoch: epoch,
        config_epoch: epoch,
        offset: 1,
        slots: slots.collect(),
        primary: None,
        flags: NodeFlags::PRIMARY,
        cluster_ok: true,
        message_flags: MessageFlags::default(),
    }
}

fn ping() -> Body {
    Body::Ping(Heartbeat::default())
}

fn about(letter: u8, flags: NodeFlags) -> GossipEntry {
    GossipEntry {
        id: id(letter),
        ping_sent_s: 0,
        pong_received_s: 0,
        ip: IpText::parse(format!("10.0.0.{letter}").as_bytes()).unwrap(),
        port: 7000,
        cport: 17000,
        flags,
        pport: 0,
    }
}

impl Bench {
    /// Myself is `m` with slots 0..100 at epoch 1; each peer is known, linked, and has claimed its slots.
    fn new(peers: &[Header]) -> Self {
        let mut file = ClusterFile::fresh(id(b'm'));
        file.nodes[0].slots = (0..100).collect();
        file.nodes[0].config_epoch = 1;
        let config = Config {
            node_timeout_ms: T,
            ..Config::default()
        };
        let state = ClusterState::new(config, Some(&file), [7; 32], START_MS);
        let mut bench = Self {
            state,
            now_ms: START_MS,
            peers: Vec::new(),
        };
        for header in peers {
            bench.join(header);
        }
        bench
    }

    /// Carries a peer through the handshake in both directions.
    fn join(&mut self, header: &Header) {
        let inbound = self
            .state
            .on_accept(ip("10.9.9.9"), ip("10.0.0.1"), self.now_ms);
        self.receive(inbound, header, &Body::Meet(Heartbeat::default()));
        self.state.tick(self.now_ms);
        let outbound = connects(&self.state.drain_effects())
            .pop()
            .expect("a stranger's MEET is followed by a connection");
        self.state
            .on_connected(outbound, ip("10.0.0.1"), self.now_ms);
        self.receive(outbound, header, &Body::Pong(Heartbeat::default()));
        self.peers.push(Peer {
            header: header.clone(),
            inbound,
            outbound,
        });
        self.say(self.peers.len() - 1, &ping());
        self.state.drain_effects();
    }

    fn receive(&mut self, link: LinkId, header: &Header, body: &Body) {
        self.state
            .on_frame(link, &encode(header, body), self.now_ms);
    }

    /// A peer says something on its own link.
    fn say(&mut self, peer: usize, body: &Body) -> Vec<Effect> {
        let Peer {
            header, inbound, ..
        } = self.peers[peer].clone();
        self.receive(inbound, &header, body);
        self.state.drain_effects()
    }

    fn answer(&mut self, peer: usize) {
        let Peer {
            header, outbound, ..
        } = self.peers[peer].clone();
        self.receive(outbound, &header, &Body::Pong(Heartbeat::default()));
    }

    fn gossip(&mut self, peer: usize, entry: GossipEntry) -> Vec<Effect> {
        self.say(
            peer,
            &Body::Ping(Heartbeat {
                gossip: vec![entry],
                extensions: vec![],
            }),
        )
    }

    /// Time passes; the peers named answer all the while.
    fn pass(&mut self, span_ms: u64, answering: &[usize]) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..span_ms / 100 {
            self.now_ms += 100;
            self.state.tick(self.now_ms);
            for link in connects(&self.peek(&mut effects)) {
                let Some(place) = self.leads_to(link) else {
                    continue;
                };
                self.peers[place].outbound = link;
                if answering.contains(&place) {
                    self.state.on_connected(link, ip("10.0.0.1"), self.now_ms);
                }
            }
            answering.iter().for_each(|peer| self.answer(*peer));
            self.peek(&mut effects);
        }
        effects
    }

    fn peek(&mut self, all: &mut Vec<Effect>) -> Vec<Effect> {
        let new = self.state.drain_effects();
        all.extend(new.iter().cloned());
        new
    }

    fn leads_to(&self, link: LinkId) -> Option<usize> {
        let report = self
            .state
            .link_reports()
            .into_iter()
            .find(|report| report.link == link)?;
        self.peers
            .iter()
            .position(|peer| peer.header.sender == report.node)
    }

    fn owner(&self, slot: u16) -> Option<NodeId> {
        let topology = self.state.topology();
        topology.owner(slot).map(|owner| topology.node(owner).id)
    }

    fn flags(&self, letter: u8) -> NodeFlags {
        let topology = self.state.topology();
        topology
            .nodes()
            .find(|(_, node)| node.id == id(letter))
            .expect("a known node")
            .1
            .flags
    }

    fn knows(&self, letter: u8) -> bool {
        self.state
            .nodes_text(false)
            .contains(&id(letter).to_string())
    }
}

fn connects(effects: &[Effect]) -> Vec<LinkId> {
    let link = |effect: &Effect| {
        if let Effect::Connect { link, .. } = effect {
            Some(*link)
        } else {
            None
        }
    };
    effects.iter().filter_map(link).collect()
}

fn sent(effects: &[Effect]) -> Vec<Body> {
    let body = |effect: &Effect| {
        if let Effect::Send { frame, .. } = effect {
            Some(decode(frame).unwrap().1)
        } else {
            None
        }
    };
    effects.iter().filter_map(body).collect()
}

fn lost(effects: &[Effect]) -> Option<SlotSet> {
    effects.iter().find_map(|effect| {
        if let Effect::SlotsLost(slots) = effect {
            Some(slots.clone())
        } else {
            None
        }
    })
}

fn three_voters() -> Bench {
    Bench::new(&[header(b'a', 2, 100..200), header(b'b', 3, 200..300)])
}
