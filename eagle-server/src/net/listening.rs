//! The TCP sockets clients connect to, which CONFIG SET `port` and `bind` replace.
//!
//! The old sockets have to go before the new ones are bound, since an address may be in both sets and
//! `*` conflicts with every other address. So a socket is shut down, which frees its address at
//! once, and not only closed by the task that owns it, whenever that task runs next. If the new
//! addresses cannot be bound, the old ones are bound again.

use super::listener::{Listener, bind_all};
use super::worker::Pool;
use crate::config::{Change, Config, Reject};
use crate::node::Node;
use parking_lot::Mutex;
use socket2::{SockRef, Socket};
use std::io;
use std::sync::{Arc, Weak};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

/// The listening sockets and the tasks that accept on them.
pub struct Listening {
    runtime: Handle,
    node: Weak<Node>,
    pool: Weak<Pool>,
    tasks: TaskTracker,
    open: Mutex<Vec<Open>>,
}

struct Open {
    /// The same socket as the task's.
    socket: Socket,
    task: AbortHandle,
}

impl Listening {
    /// Accepts on `listeners`, in the runtime of the caller.
    pub fn start(
        node: &Arc<Node>,
        pool: &Arc<Pool>,
        listeners: Vec<Listener>,
    ) -> io::Result<Arc<Listening>> {
        let listening = Arc::new(Listening {
            runtime: Handle::current(),
            node: Arc::downgrade(node),
            pool: Arc::downgrade(pool),
            tasks: TaskTracker::new(),
            open: Mutex::new(Vec::new()),
        });
        listening.accept_on(listeners)?;
        let rebound = Arc::downgrade(&listening);
        node.config
            .on_apply(&["port", "bind"], move |change| match rebound.upgrade() {
                Some(listening) => listening.rebind(change),
                None => Ok(()),
            });
        Ok(listening)
    }

    /// Completes when no task accepts any more, which is after shutdown was requested.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn accept_on(&self, listeners: Vec<Listener>) -> io::Result<()> {
        let (Some(node), Some(pool)) = (self.node.upgrade(), self.pool.upgrade()) else {
            return Ok(());
        };
        for listener in listeners {
            let tcp = match &listener {
                Listener::Tcp(tcp) => Some(SockRef::from(tcp).try_clone()?),
                Listener::Unix(..) => None,
            };
            let accepting = listener.accept_all(node.clone(), pool.clone());
            let task = self.tasks.spawn_on(accepting, &self.runtime).abort_handle();
            self.open
                .lock()
                .extend(tcp.map(|socket| Open { socket, task }));
        }
        Ok(())
    }

    /// Replaces the TCP sockets by those of the new configuration.
    fn rebind(&self, change: &mut Change<'_>) -> Result<(), Reject> {
        let _runtime = self.runtime.enter();
        for Open { socket, task } in self.open.lock().drain(..) {
            task.abort();
            // A socket that is not listening any more has no address to free.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        let Err(error) = self.listen(change.new) else {
            return Ok(());
        };
        tracing::warn!("Failed listening on the new addresses: {error}");
        if let Err(error) = self.listen(change.old) {
            tracing::error!("The server does not listen any more: {error}");
        }
        let text = if change.touches(&["port"]) {
            "Unable to listen on this port. Check server logs."
        } else {
            "Failed to bind to specified addresses."
        };
        Err(text.into())
    }

    fn listen(&self, config: &Config) -> io::Result<()> {
        let network = &config.network;
        let backlog = i32::try_from(network.tcp_backlog).unwrap_or(i32::MAX);
        self.accept_on(bind_all(&network.bind, network.port, backlog)?)
    }
}
