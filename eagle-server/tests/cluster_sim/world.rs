//! Hosts, their disks and clocks, and the loop that carries out effects.

use crate::checks::Checks;
use crate::network::{Agenda, Conn, ConnIndex, End, Event, Way};
use bytes::Bytes;
use eagle_server::cluster::NodeId;
use eagle_server::cluster::config_file::ClusterFile;
use eagle_server::cluster::state::{ClusterState, Config, Effect, LinkId, ReplicationView};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

pub type HostIndex = usize;

const TICK_MS: u64 = 100;
/// Unix time at the beginning of a run.
const EPOCH_MS: u64 = 1_700_000_000_000;
const BUS_PORT: u16 = 17_000;

/// How bad the network and the hosts are; each value is a probability per event out of a million.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    /// A frame is lost though the connection lives.
    pub loss: u32,
    /// A frame's connection is reset.
    pub reset: u32,
    /// A frame is held up for up to three seconds.
    pub stall: u32,
    /// A host crashes before one of its effects.
    pub crash: u32,
}

pub struct Host {
    pub id: NodeId,
    pub state: Option<ClusterState>,
    /// Counts restarts.
    pub life: u32,
    /// The present side of a split; hosts of different sides do not hear each other.
    pub side: u8,
    pub sent_epoch: u64,
    config: Config,
    /// What `nodes.conf` holds, and what of it survives a power cut.
    disk: String,
    disk_synced: String,
    /// The clock: distance from true time, and gain per million.
    skew_ms: i64,
    gain_ppm: i64,
    /// In an order of their own, so that a run replays from its seed.
    links: BTreeMap<LinkId, (ConnIndex, usize)>,
}

pub struct World {
    pub rng: StdRng,
    pub now_ms: u64,
    pub hosts: Vec<Host>,
    pub weather: Weather,
    pub checks: Checks,
    /// Set while an administrator's order is carried out: it may move slots as it likes.
    pub by_order: bool,
    pub crashes: u64,
    agenda: Agenda,
    conns: Vec<Conn>,
}

impl World {
    pub fn new(seed: u64, host_count: usize, config: &Config) -> Self {
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            now_ms: EPOCH_MS,
            hosts: Vec::new(),
            weather: Weather::default(),
            checks: Checks::default(),
            by_order: false,
            crashes: 0,
            agenda: Agenda::default(),
            conns: Vec::new(),
        };
        for index in 0..host_count {
            let config = Config {
                port: 7000,
                cport: BUS_PORT,
                ..config.clone()
            };
            let skew_ms = world.rng.random_range(-200..=200);
            let gain_ppm = world.rng.random_range(-500..=500);
            let id = NodeId::random(&mut world.rng);
            let disk = ClusterFile::fresh(id).to_string();
            world.hosts.push(Host {
                id,
                state: None,
                life: 0,
                side: 0,
                sent_epoch: 0,
                config,
                disk_synced: disk.clone(),
                disk,
                skew_ms,
                gain_ppm,
                links: BTreeMap::new(),
            });
            world.start(index);
        }
        world
    }

    /// Time since the beginning of the run.
    pub fn elapsed_ms(&self) -> u64 {
        self.now_ms - EPOCH_MS
    }

    /// Lets a stretch of time pass.
    pub fn run_for(&mut self, span_ms: u64) {
        let end_ms = self.now_ms + span_ms;
        while let Some((at_ms, event)) = self.agenda.next(end_ms) {
            self.now_ms = at_ms;
            self.happen(event);
        }
        self.now_ms = end_ms;
    }

    /// Does something to a host's state, then carries out the effects.
    pub fn with<R>(
        &mut self,
        index: HostIndex,
        change: impl FnOnce(&mut ClusterState, u64) -> R,
    ) -> Option<R> {
        let now_ms = self.host_time(index);
        let result = self.hosts[index]
            .state
            .as_mut()
            .map(|state| change(state, now_ms));
        self.carry_out(index);
        result
    }

    /// The same, for an order that may move slots.
    pub fn order<R>(
        &mut self,
        index: HostIndex,
        change: impl FnOnce(&mut ClusterState, u64) -> R,
    ) -> R {
        self.by_order = true;
        let result = self
            .with(index, change)
            .expect("orders are given to hosts that are up");
        self.by_order = false;
        result
    }

    /// Gives every host a side; frames held back between hosts that can hear each other again go on their way.
    pub fn split(&mut self, side: impl Fn(HostIndex) -> u8) {
        for (index, host) in self.hosts.iter_mut().enumerate() {
            host.side = side(index);
        }
        for conn in 0..self.conns.len() {
            for way in 0..2 {
                if self.hear_each_other(conn) {
                    for frame in std::mem::take(&mut self.conns[conn].stalled[way]) {
                        self.schedule_frame(conn, way, frame, 0);
                    }
                }
            }
        }
    }

    /// Stops a host as by `kill -9` or, half of the time, by a power cut.
    pub fn crash(&mut self, index: HostIndex, down_ms: u64) {
        if self.hosts[index].state.take().is_none() {
            return;
        }
        self.crashes += 1;
        let power_cut = self.rng.random_bool(0.5);
        let host = &mut self.hosts[index];
        if power_cut {
            host.disk = host.disk_synced.clone();
        }
        host.life += 1;
        let conns: Vec<_> = std::mem::take(&mut host.links).into_values().collect();
        for (conn, end) in conns {
            self.break_conn(conn, 1 - end);
        }
        self.agenda
            .add(self.now_ms + down_ms, Event::Restart { host: index });
    }

    fn start(&mut self, index: HostIndex) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let now_ms = self.host_time(index);
        let host = &mut self.hosts[index];
        let saved = ClusterFile::parse(&host.disk).expect("a node reads what it wrote");
        let state = ClusterState::new(host.config.clone(), saved.as_ref(), seed, now_ms);
        self.checks.on_restart(host, index, &state);
        assert_eq!(state.my_id(), host.id, "a restart does not change the name");
        host.state = Some(state);
        let life = host.life;
        self.carry_out(index);
        let first_ms = self.now_ms + self.rng.random_range(0..TICK_MS);
        self.agenda.add(first_ms, Event::Tick { host: index, life });
    }

    fn host_time(&self, index: HostIndex) -> u64 {
        let host = &self.hosts[index];
        let elapsed_ms = (self.now_ms - EPOCH_MS) as i64;
        (self.now_ms as i64 + host.skew_ms + elapsed_ms * host.gain_ppm / 1_000_000) as u64
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { host, life } => self.tick(host, life),
            Event::Restart { host } => self.start(host),
            Event::Arrive { conn } => self.arrive(conn),
            Event::Established { conn } => self.establish(conn),
            Event::Deliver { conn, way, frame } => self.deliver(conn, way, frame),
            Event::Down { conn, end } => self.hang_up(conn, end),
        }
    }

    fn tick(&mut self, index: HostIndex, life: u32) {
        if self.hosts[index].life != life || self.hosts[index].state.is_none() {
            return;
        }
        self.agenda
            .add(self.now_ms + TICK_MS, Event::Tick { host: index, life });
        let offset = 1 + (index as u64 * 7919) % 1000;
        self.with(index, |state, now_ms| {
            state.set_replication(ReplicationView {
                offset,
                data_age_ms: Some(0),
            });
            state.tick(now_ms);
        });
    }

    /// A crash may strike before any effect; what was done is done, what was not is lost.
    fn carry_out(&mut self, index: HostIndex) {
        let Some(state) = self.hosts[index].state.as_mut() else {
            return;
        };
        let effects: VecDeque<Effect> = state.drain_effects().into();
        for effect in effects {
            if self.chance(self.weather.crash) {
                let down_ms = self.rng.random_range(100..8000);
                return self.crash(index, down_ms);
            }
            match effect {
                Effect::SaveConfig { text, fsync } => {
                    let host = &mut self.hosts[index];
                    if fsync {
                        host.disk_synced.clone_from(&text);
                    }
                    host.disk = text;
                }
                Effect::Topology(topology) => {
                    let state = self.hosts[index].state.as_ref().expect("the host is up");
                    self.checks
                        .on_topology(&self.hosts, index, &topology, state, self.by_order);
                }
                Effect::Connect { link, ip, cport } => self.connect(index, link, &ip, cport),
                Effect::Close { link } => self.close(index, link),
                Effect::Send { link, frame } => self.send(index, link, frame),
                Effect::SlotsLost(_)
                | Effect::Publish { .. }
                | Effect::BecomeReplicaOf { .. }
                | Effect::BecomePrimary { .. }
                | Effect::Log(..) => {}
            }
        }
    }

    fn connect(&mut self, index: HostIndex, link: LinkId, ip: &str, cport: u16) {
        let target = target_of(ip.parse().expect("hosts have IPv4 addresses"));
        assert_eq!((cport, target < self.hosts.len()), (BUS_PORT, true));
        let conn = self.conns.len();
        let initiator = End {
            host: index,
            life: self.hosts[index].life,
            link,
        };
        self.conns.push(Conn {
            ends: [Some(initiator), None],
            target,
            established: false,
            broken: false,
            early: Vec::new(),
            stalled: Default::default(),
            last_arrival_ms: [0; 2],
        });
        self.hosts[index].links.insert(link, (conn, 0));
        let at_ms = self.now_ms + self.delay_ms();
        self.agenda.add(at_ms, Event::Arrive { conn });
    }

    /// A connection attempt reaches its target: refused if that is down, swallowed if it is on another side.
    fn arrive(&mut self, conn: ConnIndex) {
        let (Some(initiator), target) = (self.conns[conn].ends[0], self.conns[conn].target) else {
            return;
        };
        if self.conns[conn].broken || self.hosts[initiator.host].side != self.hosts[target].side {
            return;
        }
        let at_ms = self.now_ms + self.delay_ms();
        let peer_ip = ip_of(initiator.host);
        let now_ms = self.host_time(target);
        let host = &mut self.hosts[target];
        let Some(state) = host.state.as_mut() else {
            self.conns[conn].broken = true;
            return self.agenda.add(at_ms, Event::Down { conn, end: 0 });
        };
        let link = state.on_accept(peer_ip, ip_of(target), now_ms);
        host.links.insert(link, (conn, 1));
        self.conns[conn].ends[1] = Some(End {
            host: target,
            life: host.life,
            link,
        });
        self.agenda.add(at_ms, Event::Established { conn });
    }

    fn establish(&mut self, conn: ConnIndex) {
        let Some(end) = self.live_end(conn, 0) else {
            return;
        };
        self.conns[conn].established = true;
        for frame in std::mem::take(&mut self.conns[conn].early) {
            self.schedule_frame(conn, 0, frame, 0);
        }
        self.with(end.host, |state, now_ms| {
            state.on_connected(end.link, ip_of(end.host), now_ms)
        });
    }

    fn send(&mut self, index: HostIndex, link: LinkId, frame: Bytes) {
        let Some(&(conn, end)) = self.hosts[index].links.get(&link) else {
            return;
        };
        let to = if end == 0 {
            self.conns[conn].target
        } else {
            self.conns[conn].ends[0].map_or(index, |end| end.host)
        };
        let state = self.hosts[index].state.take().expect("the host is up");
        self.checks
            .on_send(&mut self.hosts[index], index, to, &frame, &state);
        self.hosts[index].state = Some(state);
        if end == 0 && !self.conns[conn].established {
            return self.conns[conn].early.push(frame);
        }
        if self.chance(self.weather.reset) {
            self.break_conn(conn, 0);
            return self.break_conn(conn, 1);
        }
        if !self.chance(self.weather.loss) {
            let stall_ms = if self.chance(self.weather.stall) {
                self.rng.random_range(0..3000)
            } else {
                0
            };
            self.schedule_frame(conn, end, frame, stall_ms);
        }
    }

    fn schedule_frame(&mut self, conn: ConnIndex, way: Way, frame: Bytes, stall_ms: u64) {
        let at_ms =
            (self.now_ms + self.delay_ms() + stall_ms).max(self.conns[conn].last_arrival_ms[way]);
        self.conns[conn].last_arrival_ms[way] = at_ms;
        self.agenda.add(at_ms, Event::Deliver { conn, way, frame });
    }

    fn deliver(&mut self, conn: ConnIndex, way: Way, frame: Bytes) {
        if !self.hear_each_other(conn) || !self.conns[conn].stalled[way].is_empty() {
            return self.conns[conn].stalled[way].push_back(frame);
        }
        if let Some(end) = self.live_end(conn, 1 - way) {
            let host = &self.hosts[end.host];
            self.checks.on_deliver(host, end.host, &frame);
            self.with(end.host, |state, now_ms| {
                state.on_frame(end.link, &frame, now_ms)
            });
        }
    }

    fn close(&mut self, index: HostIndex, link: LinkId) {
        if let Some((conn, end)) = self.hosts[index].links.remove(&link) {
            self.break_conn(conn, 1 - end);
        }
    }

    /// Breaks a connection and lets one of its ends know after a while.
    fn break_conn(&mut self, conn: ConnIndex, end: usize) {
        self.conns[conn].broken = true;
        let at_ms = self.now_ms + self.delay_ms();
        self.agenda.add(at_ms, Event::Down { conn, end });
    }

    fn hang_up(&mut self, conn: ConnIndex, end: usize) {
        let Some(end) = self.conns[conn].ends[end] else {
            return;
        };
        let host = &mut self.hosts[end.host];
        if host.life == end.life && host.links.remove(&end.link).is_some() {
            self.with(end.host, |state, now_ms| {
                state.on_link_down(end.link, now_ms)
            });
        }
    }

    fn live_end(&self, conn: ConnIndex, end: usize) -> Option<End> {
        let conn = &self.conns[conn];
        conn.ends[end].filter(|end| !conn.broken && self.hosts[end.host].life == end.life)
    }

    fn hear_each_other(&self, conn: ConnIndex) -> bool {
        let conn = &self.conns[conn];
        conn.ends[0].is_none_or(|end| self.hosts[end.host].side == self.hosts[conn.target].side)
    }

    fn delay_ms(&mut self) -> u64 {
        if self.rng.random_bool(0.02) {
            self.rng.random_range(5..120)
        } else {
            self.rng.random_range(1..5)
        }
    }

    fn chance(&mut self, of_a_million: u32) -> bool {
        of_a_million > 0 && self.rng.random_range(0..1_000_000) < of_a_million
    }
}

pub fn ip_of(index: HostIndex) -> IpAddr {
    Ipv4Addr::new(10, 0, (index / 200) as u8, (index % 200 + 1) as u8).into()
}

fn target_of(ip: Ipv4Addr) -> HostIndex {
    let [_, _, high, low] = ip.octets();
    usize::from(high) * 200 + usize::from(low) - 1
}
