//! Where a connection is kept while it waits for requests, so that it can be served without its task.
//!
//! Two serve it there. The [reactor](super::reactor::Reactor), which has its socket then, runs what arrives: that is
//! how most requests are run. And a script that runs for too long keeps its thread, the reactor and the tasks of all
//! connections of that thread with it. Redis answers them all the same: that the server is busy, and to SCRIPT KILL,
//! FUNCTION KILL and SHUTDOWN. So the script's hook finds the connection here: it reads the socket, runs what has
//! arrived, and writes the replies. What either cannot finish, the task does.

use super::connection::{Connection, Event};
use super::reactor::Room;
use crate::command::Batch;
use crate::node::Parked;
use crate::session::{Alert, ClientInfo};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::Socket;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

/// The place of one connection.
pub(super) struct Parking {
    fd: RawFd,
    connection: RefCell<Option<Box<Connection>>>,
    /// The socket, while the reactor serves the connection.
    lent: RefCell<Option<Socket>>,
    /// A second descriptor of the socket, once it was needed beside a script while the runtime had the socket.
    second: RefCell<Option<Socket>>,
    /// Wakes the task.
    pub(super) info: Arc<ClientInfo>,
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
            lent: RefCell::default(),
            second: RefCell::default(),
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

    /// Leaves the socket here for those who serve the connection.
    pub(super) fn lend(&self, socket: Socket) {
        *self.lent.borrow_mut() = Some(socket);
    }

    /// The socket that was left here.
    pub(super) fn take_back(&self) -> Option<Socket> {
        self.lent.borrow_mut().take()
    }

    /// Does something with the socket that was left here.
    pub(super) fn with_lent<T>(
        &self,
        work: impl FnOnce(&Socket) -> io::Result<T>,
    ) -> io::Result<T> {
        let lent = self.lent.borrow();
        work(lent.as_ref().ok_or(io::ErrorKind::NotConnected)?)
    }

    /// Sleeps until there is something for the task to do; what.
    pub(super) async fn until_needed(&self) -> Event<()> {
        poll_fn(|cx| {
            loop {
                if self.was_served() {
                    return Poll::Ready(Event::Other(()));
                }
                match self.info.poll_alert(cx) {
                    Poll::Ready(Alert::Trim) => self.trim(),
                    other => return other.map(Event::Alert),
                }
            }
        })
        .await
    }

    /// Has the connection give back its read buffer, which is made again when something comes.
    fn trim(&self) {
        if let Some(connection) = &mut *self.connection.borrow_mut() {
            connection.give_back_input();
        }
    }

    /// Serves the connection, whose socket was left here and has something to read; `is_ended` if that is the last of it.
    #[inline]
    pub(super) fn serve_ready(&self, batch: &mut Batch<'_>, is_ended: bool, room: &Room) {
        if self.served.get() {
            return;
        }
        let (lent, connection) = (self.lent.borrow(), self.take());
        let (Some(socket), Some(mut connection)) = (&*lent, connection) else {
            return;
        };
        // A bug in a command costs its connection, as in a task, and not those of the whole thread.
        let served = catch_unwind(AssertUnwindSafe(|| {
            let waits = connection.serve_ready(batch, socket, is_ended, room);
            (waits, connection)
        }));
        let waits = match served {
            Ok((waits, connection)) => {
                self.put(connection);
                waits
            }
            Err(_) => {
                *batch = Batch::new(batch.thread, batch.guard);
                false
            }
        };
        if !waits {
            self.call_task();
        }
    }

    /// Leaves what remains to be done to the task.
    fn call_task(&self) {
        self.served.set(true);
        self.info.outbox.wake();
    }
}

impl Parked for Parking {
    fn serve(&self) {
        let mut slot = self.connection.borrow_mut();
        let Some(connection) = &mut *slot else {
            return;
        };
        let lent = self.lent.borrow();
        let mut second = self.second.borrow_mut();
        if lent.is_none() && second.is_none() {
            *second = duplicate(self.fd);
        }
        let socket = lent.as_ref().or(second.as_ref());
        if socket.is_some_and(|socket| connection.serve_beside_script(socket)) {
            self.call_task();
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
