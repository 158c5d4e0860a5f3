//! Listening sockets: TCP on every bind address, and the unix socket.

use super::worker::{Incoming, Pool};
use crate::config::special::BindAddress;
use crate::node::Node;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};

/// A bound socket, not yet accepting.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Binds `port` on every address of the `bind` directive; an optional one may be missing on this
/// machine. Port 0 binds nothing.
pub fn bind_all(addresses: &[BindAddress], port: u16, backlog: i32) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    if port == 0 {
        return Ok(listeners);
    }
    for address in addresses {
        let name = &address.host;
        match bind_tcp(name, port, backlog) {
            Ok(listener) => listeners.push(Listener::Tcp(listener)),
            Err(error) if address.is_optional && is_absent(&error) => {}
            Err(error) => {
                tracing::warn!(
                    "Could not create server TCP listening socket {name}:{port}: {error}"
                );
                return Err(error);
            }
        }
    }
    Ok(listeners)
}

/// Whether the address family or the address does not exist here.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn bind_tcp(name: &str, port: u16, backlog: i32) -> io::Result<TcpListener> {
    let ip: IpAddr = match name {
        "*" => IpAddr::from([0, 0, 0, 0]),
        "::*" => IpAddr::from([0u16; 8]),
        name => match name.parse() {
            Ok(ip) => ip,
            Err(_) => std::net::ToSocketAddrs::to_socket_addrs(&(name, port))?
                .next()
                .map(|address| address.ip())
                .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?,
        },
    };
    let socket = Socket::new(
        Domain::for_address(SocketAddr::new(ip, port)),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if ip.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(ip, port).into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
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
