//! Where a connection is kept while it waits for requests, so that it can be served without its task.
//!
//! A script that runs for too long keeps its thread, and the tasks of all connections of that thread with it. Redis
//! answers them all the same: that the server is busy, and to SCRIPT KILL, FUNCTION KILL and SHUTDOWN. So a waiting task
//! leaves its connection here, and the script's hook finds it: it reads the socket, runs what has arrived, and writes
//! the replies. What it cannot finish, the task does when the script has ended.

use super::connection::Connection;
use crate::node::Parked;
use crate::session::ClientInfo;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::Socket;
use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;

/// The place of one connection.
pub(super) struct Parking {
    fd: RawFd,
    connection: RefCell<Option<Box<Connection>>>,
    /// A second descriptor of the socket, once it was needed.
    socket: RefCell<Option<Socket>>,
    /// Wakes the task.
    info: Arc<ClientInfo>,
    /// Something is left for the task to do.
    served: Cell<bool>,
}

impl Parking {
    /// The place of the connection of this client, whose socket has this descriptor for as long as the place exists.
    pub(super) fn new(fd: RawFd, info: Arc<ClientInfo>) -> Rc<Parking> {
        Rc::new(Parking {
            fd,
            info,
            connection: RefCell::default(),
            socket: RefCell::default(),
            served: Cell::new(false),
        })
    }

    /// Whether the connection was served since this was last asked, and something is left for the task to do.
    #[inline]
    pub(super) fn was_served(&self) -> bool {
        self.served.replace(false)
    }

    pub(super) fn put(&self, connection: Box<Connection>) {
        *self.connection.borrow_mut() = Some(connection);
    }

    pub(super) fn take(&self) -> Option<Box<Connection>> {
        self.connection.borrow_mut().take()
    }
}

impl Parked for Parking {
    fn serve(&self) {
        let mut slot = self.connection.borrow_mut();
        let Some(connection) = &mut *slot else {
            return;
        };
        let mut socket = self.socket.borrow_mut();
        if socket.is_none() {
            *socket = duplicate(self.fd);
        }
        if let Some(socket) = &mut *socket
            && connection.serve_beside_script(socket)
        {
            self.served.set(true);
            self.info.outbox.wake();
        }
    }
}

/// A second descriptor of a socket of this process.
fn duplicate(fd: RawFd) -> Option<Socket> {
    let this: Pid = getpid();
    let process = pidfd_open(this, PidfdFlags::empty()).ok()?;
    let socket = pidfd_getfd(process, fd, PidfdGetfdFlags::empty()).ok()?;
    Some(Socket::from(socket))
}
