//! Listening TCP sockets as Redis opens them.

use crate::config::special::BindAddress;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use tokio::net::TcpListener;

/// Binds `port` on every address of the `bind` directive; an optional one may be missing on this
/// machine. Port 0 binds nothing. To be called inside a runtime.
pub fn bind_all(
    addresses: &[BindAddress],
    port: u16,
    backlog: i32,
) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    if port == 0 {
        return Ok(listeners);
    }
    for address in addresses {
        let name = &address.host;
        match bind(name, port, backlog) {
            Ok(listener) => listeners.push(listener),
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

fn bind(name: &str, port: u16, backlog: i32) -> io::Result<TcpListener> {
    let ip: IpAddr = match name {
        "*" => IpAddr::from([0, 0, 0, 0]),
        "::*" => IpAddr::from([0u16; 8]),
        name => match name.parse() {
            Ok(ip) => ip,
            Err(_) => (name, port)
                .to_socket_addrs()?
                .next()
                .map(|address| address.ip())
                .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?,
        },
    };
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if ip.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}
