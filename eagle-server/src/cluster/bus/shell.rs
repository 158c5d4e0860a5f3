//! The bus on tokio: listening, connecting, moving frames between sockets and the state machine.

use super::FrameSplitter;
use crate::cluster::service::Cluster;
use crate::cluster::state::LinkId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Bytes made room for before each read.
const READ_BYTES: usize = 16 * 1024;
/// Links that may stand at one time, both ways together: far more than two for each node of the largest cluster.
const LINKS_MAX: usize = 8192;
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The queues of all links.
#[derive(Default)]
pub(in crate::cluster) struct Links {
    queues: Mutex<BTreeMap<LinkId, Queue>>,
}

struct Queue {
    /// Bounded by `cluster-link-sendbuf-limit`, and by the state machine, which closes a link that
    /// does not answer.
    frames: mpsc::UnboundedSender<Bytes>,
    bytes: Arc<AtomicU64>,
}

/// The receiving end of a link's queue. It ends when the link is closed.
pub(in crate::cluster) struct Frames {
    queue: mpsc::UnboundedReceiver<Bytes>,
    bytes: Arc<AtomicU64>,
}

impl Links {
    /// Makes the queue of a new link.
    pub fn open(&self, link: LinkId) -> Frames {
        let (frames, queue) = mpsc::unbounded_channel();
        let bytes = Arc::new(AtomicU64::new(0));
        self.queues.lock().insert(
            link,
            Queue {
                frames,
                bytes: bytes.clone(),
            },
        );
        Frames { queue, bytes }
    }

    pub fn len(&self) -> usize {
        self.queues.lock().len()
    }

    pub fn close(&self, link: LinkId) {
        self.queues.lock().remove(&link);
    }

    pub fn send(&self, link: LinkId, frame: Bytes) {
        if let Some(queue) = self.queues.lock().get(&link) {
            queue.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
            // The task that writes has ended: the state machine is about to learn of it.
            let _ = queue.frames.send(frame);
        }
    }

    pub fn queued_bytes(&self, link: LinkId) -> u64 {
        self.queues
            .lock()
            .get(&link)
            .map_or(0, |queue| queue.bytes.load(Ordering::Relaxed))
    }

    /// Links on which more than `bytes_max` bytes wait.
    pub fn longer_than(&self, bytes_max: u64) -> Vec<LinkId> {
        let queues = self.queues.lock();
        let long = queues
            .iter()
            .filter(|(_, queue)| queue.bytes.load(Ordering::Relaxed) > bytes_max);
        long.map(|(link, _)| *link).collect()
    }
}

/// Accepts links of other nodes for as long as the task lives.
pub async fn accept_all(cluster: Arc<Cluster>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if cluster.links().len() >= LINKS_MAX {
                    tracing::debug!("Too many links of the cluster bus: refusing one from {peer}");
                    continue;
                }
                let Ok(local) = stream.local_addr() else {
                    continue;
                };
                let link =
                    cluster.act(|state, now_ms| state.on_accept(peer.ip(), local.ip(), now_ms));
                let frames = cluster.links().open(link);
                tokio::spawn(run_and_report(cluster.clone(), link, stream, frames));
            }
            Err(error) => {
                tracing::debug!("Error accepting cluster node: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Ticks the state machine for as long as the task lives.
pub async fn tick(cluster: Arc<Cluster>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        cluster.enforce_link_limit();
        cluster.act(|state, now_ms| state.tick(now_ms));
    }
}

/// Opens an outbound link and serves it to its end.
pub(in crate::cluster) async fn connect(
    cluster: Arc<Cluster>,
    link: LinkId,
    ip: String,
    cport: u16,
    frames: Frames,
) {
    let stream = match ip.parse::<IpAddr>() {
        Ok(ip) => tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((ip, cport))).await,
        Err(_) => Ok(Err(io::ErrorKind::InvalidInput.into())),
    };
    match stream {
        Ok(Ok(stream)) => {
            if let Ok(local) = stream.local_addr() {
                cluster.act(|state, now_ms| state.on_connected(link, local.ip(), now_ms));
            }
            run_and_report(cluster, link, stream, frames).await;
        }
        _ => {
            tracing::trace!("Unable to connect to cluster node {ip}:{cport}");
            report_down(&cluster, link);
        }
    }
}

async fn run_and_report(cluster: Arc<Cluster>, link: LinkId, stream: TcpStream, frames: Frames) {
    if let Err(error) = run(&cluster, link, stream, frames).await {
        tracing::trace!("I/O error on a link of the cluster bus: {error}");
    }
    report_down(&cluster, link);
}

fn report_down(cluster: &Arc<Cluster>, link: LinkId) {
    cluster.links().close(link);
    cluster.act(|state, now_ms| state.on_link_down(link, now_ms));
}

/// Moves frames both ways until the peer or this node closes the link.
async fn run(
    cluster: &Arc<Cluster>,
    link: LinkId,
    stream: TcpStream,
    mut frames: Frames,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let sending = async {
        while let Some(frame) = frames.queue.recv().await {
            writer.write_all(&frame).await?;
            frames
                .bytes
                .fetch_sub(frame.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    };
    let receiving = async {
        let mut splitter = FrameSplitter::new();
        loop {
            let buffer = splitter.buffer_mut();
            buffer.reserve(READ_BYTES);
            if reader.read_buf(buffer).await? == 0 {
                return Ok(());
            }
            while let Some(frame) = splitter.next_frame().map_err(io::Error::other)? {
                cluster.act(|state, now_ms| state.on_frame(link, &frame, now_ms));
            }
        }
    };
    tokio::select! {
        ended = sending => ended,
        ended = receiving => ended,
    }
}
