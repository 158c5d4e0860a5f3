//! Listening sockets: TCP on every bind address, and the unix socket.

use super::worker::{Incoming, Pool};
use crate::config::special::BindAddress;
use crate::node::Node;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};

/// A bound socket, not yet accepting.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Binds `port` on every address of the `bind` directive.
pub fn bind_all(addresses: &[BindAddress], port: u16, backlog: i32) -> io::Result<Vec<Listener>> {
    let sockets = crate::socket::bind_all(addresses, port, backlog)?;
    Ok(sockets.into_iter().map(Listener::Tcp).collect())
}

/// Binds the unix socket, replacing one that a dead server left behind.
pub fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    if mode != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(Listener::Unix(listener, path.to_owned()))
}

impl Listener {
    /// Accepts connections until the listener is dropped or shutdown is requested.
    pub async fn accept_all(self, node: Arc<Node>, pool: Arc<Pool>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = node.shutdown.requested() => break,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok(incoming) => pool.assign(incoming),
                // CONFIG SET `port` or `bind` has shut the socket down.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
                Err(error) => {
                    // Out of descriptors: the connection stays in the backlog, so do not spin on it.
                    tracing::warn!("Accepting client connection: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        }
        if let Listener::Unix(_, path) = &self {
            let _ = std::fs::remove_file(path);
        }
    }

    async fn accept(&self) -> io::Result<Incoming> {
        match self {
            Listener::Tcp(listener) => Ok(Incoming::Tcp(listener.accept().await?.0.into_std()?)),
            Listener::Unix(listener, path) => Ok(Incoming::Unix(
                listener.accept().await?.0.into_std()?,
                path.display().to_string(),
            )),
        }
    }
}
