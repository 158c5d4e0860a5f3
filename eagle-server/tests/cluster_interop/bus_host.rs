//! The least that carries out effects: one thread, sockets that do not block, a file in memory.

use crate::deadline;
use bytes::{BufMut, Bytes};
use eagle_server::cluster::bus::{FrameSplitter, decode, encode};
use eagle_server::cluster::config_file::ClusterFile;
use eagle_server::cluster::state::{ClusterState, Config, Effect, LinkId};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub struct BusHost {
    pub state: ClusterState,
    /// All effects so far but sends, connects and saves.
    pub effects: Vec<Effect>,
    /// The text of `nodes.conf`.
    pub saved: String,
    /// Frames of peers that were decoded and encoded again.
    pub frames_checked: usize,
    listener: TcpListener,
    client_port: u16,
    sockets: HashMap<LinkId, Socket>,
    next_tick: Instant,
}

struct Socket {
    stream: TcpStream,
    splitter: FrameSplitter,
    waiting: Vec<u8>,
}

impl BusHost {
    pub fn new(node_timeout_ms: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let cport = listener.local_addr().unwrap().port();
        let client_port = crate::redis::free_port();
        let config = Config {
            node_timeout_ms,
            port: client_port,
            cport,
            ..Config::default()
        };
        let state = ClusterState::new(
            config,
            None,
            [u8::try_from(cport % 251).unwrap(); 32],
            now_ms(),
        );
        Self {
            state,
            effects: Vec::new(),
            saved: String::new(),
            frames_checked: 0,
            listener,
            client_port,
            sockets: HashMap::new(),
            next_tick: Instant::now(),
        }
    }

    pub fn client_port(&self) -> u16 {
        self.client_port
    }

    pub fn bus_port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub fn order<R>(&mut self, order: impl FnOnce(&mut ClusterState, u64) -> R) -> R {
        let result = order(&mut self.state, now_ms());
        self.carry_out();
        result
    }

    /// Serves the bus until `reached`.
    pub fn until(&mut self, what: &str, mut reached: impl FnMut(&Self) -> bool) {
        let end = deadline();
        loop {
            let pause = Instant::now() + Duration::from_millis(200);
            while Instant::now() < pause {
                self.turn();
                std::thread::sleep(Duration::from_millis(5));
            }
            if reached(self) {
                return;
            }
            assert!(
                Instant::now() < end,
                "not reached: {what}\n{}{}",
                self.state.nodes_text(false),
                self.state.info_text()
            );
        }
    }

    fn turn(&mut self) {
        while let Ok((stream, peer)) = self.listener.accept() {
            let local_ip = stream.local_addr().unwrap().ip();
            let link = self.state.on_accept(peer.ip(), local_ip, now_ms());
            self.adopt(link, stream);
        }
        let links: Vec<LinkId> = self.sockets.keys().copied().collect();
        for link in links {
            self.serve(link);
        }
        if Instant::now() >= self.next_tick {
            self.next_tick += Duration::from_millis(100);
            self.state.tick(now_ms());
            self.carry_out();
        }
    }

    fn adopt(&mut self, link: LinkId, stream: TcpStream) {
        stream.set_nonblocking(true).unwrap();
        self.sockets.insert(
            link,
            Socket {
                stream,
                splitter: FrameSplitter::new(),
                waiting: Vec::new(),
            },
        );
    }

    fn serve(&mut self, link: LinkId) {
        let Some(socket) = self.sockets.get_mut(&link) else {
            return;
        };
        let mut alive = flush(socket);
        let mut buffer = [0; 65536];
        loop {
            match socket.stream.read(&mut buffer) {
                Ok(0) => alive = false,
                Ok(count) => {
                    socket.splitter.buffer_mut().put_slice(&buffer[..count]);
                    continue;
                }
                Err(error) => alive &= error.kind() == ErrorKind::WouldBlock,
            }
            break;
        }
        let mut frames = Vec::new();
        while let Some(frame) = socket
            .splitter
            .next_frame()
            .expect("a real peer keeps the framing")
        {
            frames.push(frame);
        }
        for frame in frames {
            self.check(&frame);
            self.state.on_frame(link, &frame, now_ms());
            self.carry_out();
        }
        if !alive {
            self.sockets.remove(&link);
            self.state.on_link_down(link, now_ms());
            self.carry_out();
        }
    }

    /// What a real peer says must be understood down to the last bit.
    fn check(&mut self, frame: &Bytes) {
        let (header, body) = decode(frame).expect("a real peer's frame");
        assert_eq!(encode(&header, &body), frame);
        self.frames_checked += 1;
    }

    fn carry_out(&mut self) {
        for effect in self.state.drain_effects() {
            match effect {
                Effect::SaveConfig { text, .. } => {
                    assert!(ClusterFile::parse(&text).unwrap().is_some());
                    self.saved = text;
                }
                Effect::Connect { link, ip, cport } => self.connect(link, &ip, cport),
                Effect::Close { link } => drop(self.sockets.remove(&link)),
                Effect::Send { link, frame } => {
                    if let Some(socket) = self.sockets.get_mut(&link) {
                        socket.waiting.extend_from_slice(&frame);
                        flush(socket);
                    }
                }
                other => self.effects.push(other),
            }
        }
    }

    fn connect(&mut self, link: LinkId, ip: &str, cport: u16) {
        let ip: IpAddr = ip.parse().unwrap();
        match TcpStream::connect((ip, cport)) {
            Ok(stream) => {
                let local_ip = stream.local_addr().unwrap().ip();
                self.adopt(link, stream);
                self.state.on_connected(link, local_ip, now_ms());
            }
            Err(_) => self.state.on_link_down(link, now_ms()),
        }
        self.carry_out();
    }
}

/// Gives an order that is to be refused, in the words of a client; the reason if it was.
pub fn refuse(host: &mut BusHost, order: &str) -> Option<String> {
    let words: Vec<&[u8]> = order.split(' ').map(str::as_bytes).collect();
    let args = &words[1..];
    let state = &mut host.state;
    let now_ms = now_ms();
    match words[0] {
        b"addslots" => state.add_slots(args, now_ms).err(),
        b"delslots" => state.del_slots(args, now_ms).err(),
        b"addslotsrange" => state.add_slots_range(args, now_ms).err(),
        b"delslotsrange" => state.del_slots_range(args, now_ms).err(),
        b"setslot" => state.set_slot(args[0], &args[1..], |_| 0, now_ms).err(),
        b"meet" => state
            .meet(args[0], args[1], args.get(2).copied(), now_ms)
            .err(),
        b"forget" => state.forget(args[0], now_ms).err(),
        b"replicate" => state.replicate(args[0], true, now_ms).err(),
        b"set-config-epoch" => state.set_config_epoch(args[0], now_ms).err(),
        b"count-failure-reports" => state.count_failure_reports(args[0], now_ms).err(),
        b"replicas" => state.replicas_text(args[0], false).err(),
        _ => panic!("no such order: {order}"),
    }
    .map(|error| error.to_string())
}

/// Writes what can be written; says whether the connection lives.
fn flush(socket: &mut Socket) -> bool {
    while !socket.waiting.is_empty() {
        match socket.stream.write(&socket.waiting) {
            Ok(count) => drop(socket.waiting.drain(..count)),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}
