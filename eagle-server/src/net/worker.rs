//! Worker threads: each runs a single-threaded runtime that serves its share of the connections.
//!
//! A command runs to completion on the worker where its bytes arrive. There is no hand-off between
//! threads on the way of a request, and no lock is held across an `.await`.

use super::connection;
use crate::command::blocking;
use crate::node::{Node, Thread};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// An accepted connection on its way to a worker.
pub enum Incoming {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream, String),
}

/// The worker threads.
pub struct Pool {
    inboxes: Vec<mpsc::UnboundedSender<Incoming>>,
    threads: Vec<JoinHandle<()>>,
    next: AtomicUsize,
}

impl Pool {
    /// Starts `count` workers.
    pub fn start(node: &Arc<Node>, count: usize) -> io::Result<Pool> {
        let mut pool = Pool {
            inboxes: Vec::new(),
            threads: Vec::new(),
            next: AtomicUsize::new(0),
        };
        for index in 0..count {
            // Bounded by `maxclients`, which the listener enforces before it hands over.
            let (inbox, incoming) = mpsc::unbounded_channel();
            let node = node.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    tokio::task::LocalSet::new().block_on(&runtime, serve(node, incoming));
                })?;
            pool.inboxes.push(inbox);
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Hands a connection to the next worker in turn.
    pub fn assign(&self, incoming: Incoming) {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.inboxes.len();
        // A worker that is gone means the server is going down; the connection closes with it.
        let _ = self.inboxes[index].send(incoming);
    }

    /// Waits for the workers to end; they do once shutdown was requested.
    pub fn join(self) {
        drop(self.inboxes);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

async fn serve(node: Arc<Node>, mut incoming: mpsc::UnboundedReceiver<Incoming>) {
    let thread = Rc::new(Thread::new(node.clone()));
    tokio::task::spawn_local(blocking::serve_posted(thread.clone()));
    let mut halt = pin!(node.halt.obey());
    loop {
        let accepted = tokio::select! {
            biased;
            () = node.shutdown.requested() => break,
            accepted = incoming.recv() => accepted,
            () = &mut halt => break,
        };
        let Some(accepted) = accepted else { break };
        tokio::task::spawn_local(connection::serve(thread.clone(), accepted));
    }
}
