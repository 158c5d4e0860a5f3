//! The sockets of clients, as the runtime has them and without it.

use super::connection::Event;
use super::parking::Parking;
use super::reactor::Reactor;
use socket2::Socket;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A socket of a client in the runtime.
pub(super) trait ClientStream:
    AsyncRead + AsyncWrite + AsFd + AsRawFd + Unpin + Sized
{
    /// Takes the socket out of the runtime.
    fn leave(self) -> io::Result<Socket>;

    /// Puts a socket into the runtime.
    fn enter(socket: Socket) -> io::Result<Self>;

    /// Has the reactor serve the connection that is parked at `place` until its task is needed: what for.
    async fn serve_in(
        self,
        reactor: &Reactor,
        place: &Rc<Parking>,
    ) -> io::Result<(Self, Event<()>)> {
        let (socket, event) = reactor.serve(place, self.leave()?).await?;
        Ok((Self::enter(socket)?, event))
    }
}

impl ClientStream for TcpStream {
    fn leave(self) -> io::Result<Socket> {
        Ok(OwnedFd::from(self.into_std()?).into())
    }

    fn enter(socket: Socket) -> io::Result<TcpStream> {
        TcpStream::from_std(OwnedFd::from(socket).into())
    }
}

impl ClientStream for UnixStream {
    fn leave(self) -> io::Result<Socket> {
        Ok(OwnedFd::from(self.into_std()?).into())
    }

    fn enter(socket: Socket) -> io::Result<UnixStream> {
        UnixStream::from_std(OwnedFd::from(socket).into())
    }
}
