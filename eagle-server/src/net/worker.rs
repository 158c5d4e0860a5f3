//! Worker threads: each runs a single-threaded runtime that serves its share of the connections.
//!
//! A command runs to completion on the worker where its bytes arrive. There is no hand-off between
//! threads on the way of a request, and no lock is held across an `.await`.

use super::connection;
use super::reactor::Reactor;
use crate::command::{blocking, serve_relay};
use crate::node::{Node, Thread};
use parking_lot::Mutex;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// An accepted connection on its way to a worker.
pub enum Incoming {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream, String),
}

/// Stack of a worker: scripts recurse. Memory is taken only for what is used of it.
const STACK_BYTES: usize = 16 << 20;

/// The worker threads.
pub struct Pool {
    node: Weak<Node>,
    workers: Vec<Worker>,
    /// Serves new connections while slow scripts keep all others.
    spare: Mutex<Option<Worker>>,
    next: AtomicUsize,
}

struct Worker {
    inbox: mpsc::UnboundedSender<Incoming>,
    thread: JoinHandle<()>,
    /// A slow script keeps it.
    stuck: Arc<AtomicBool>,
}

impl Worker {
    fn start(node: &Arc<Node>, name: String) -> io::Result<Worker> {
        // Bounded by `maxclients`, which the listener enforces before it hands over.
        let (inbox, incoming) = mpsc::unbounded_channel();
        let (node, stuck) = (node.clone(), Arc::<AtomicBool>::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let epoll = {
            let _entered = runtime.enter();
            Reactor::epoll()?
        };
        let is_stuck = stuck.clone();
        let thread = std::thread::Builder::new()
            .name(name)
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let serve = serve(node, epoll, incoming, stuck);
                tokio::task::LocalSet::new().block_on(&runtime, serve);
            })?;
        Ok(Worker {
            inbox,
            thread,
            stuck: is_stuck,
        })
    }

    fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Acquire)
    }
}

impl Pool {
    /// Starts `count` workers.
    pub fn start(node: &Arc<Node>, count: usize) -> io::Result<Pool> {
        let workers = (0..count).map(|index| Worker::start(node, format!("worker-{index}")));
        Ok(Pool {
            node: Arc::downgrade(node),
            workers: workers.collect::<io::Result<_>>()?,
            spare: Mutex::new(None),
            next: AtomicUsize::new(0),
        })
    }

    /// Hands a connection to the next worker in turn.
    pub fn assign(&self, incoming: Incoming) {
        let count = self.workers.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let free = (0..count)
            .map(|offset| &self.workers[(first + offset) % count])
            .find(|worker| !worker.is_stuck());
        let Some(worker) = free else {
            return self.assign_to_spare(incoming);
        };
        // A worker that is gone means the server is going down; the connection closes with it.
        let _ = worker.inbox.send(incoming);
    }

    fn assign_to_spare(&self, incoming: Incoming) {
        let mut spare = self.spare.lock();
        if spare.is_none() {
            let node = self.node.upgrade();
            *spare = node.and_then(|node| Worker::start(&node, "worker-spare".to_owned()).ok());
        }
        if let Some(worker) = &*spare {
            let _ = worker.inbox.send(incoming);
        }
    }

    /// Waits for the workers to end; they do once shutdown was requested.
    pub fn join(self) {
        let spare = self.spare.into_inner();
        for Worker { inbox, thread, .. } in self.workers.into_iter().chain(spare) {
            drop(inbox);
            let _ = thread.join();
        }
    }
}

async fn give_back_when_asked(thread: Rc<Thread>) {
    thread.node.surrender.obey(|| thread.give_back()).await;
}

async fn serve(
    node: Arc<Node>,
    epoll: AsyncFd<OwnedFd>,
    mut incoming: mpsc::UnboundedReceiver<Incoming>,
    stuck: Arc<AtomicBool>,
) {
    let mut thread = Thread::new(node.clone());
    thread.stuck = stuck;
    let thread = Rc::new(thread);
    tokio::task::spawn_local(blocking::serve_posted(thread.clone()));
    tokio::task::spawn_local(serve_relay(thread.clone()));
    let reactor = Rc::new(Reactor::new(thread.clone(), epoll));
    tokio::task::spawn_local(reactor.clone().run());
    tokio::task::spawn_local(give_back_when_asked(thread.clone()));
    let mut halt = pin!(node.halt.obey());
    loop {
        let accepted = tokio::select! {
            biased;
            () = node.shutdown.requested() => break,
            accepted = incoming.recv() => accepted,
            () = &mut halt => break,
        };
        let Some(accepted) = accepted else { break };
        tokio::task::spawn_local(connection::serve(thread.clone(), reactor.clone(), accepted));
    }
}
