//! Serves connections that wait for requests, all of a thread in one task.
//!
//! A runtime does for every wait of a task whatever any task may need: it keeps what a socket is ready for, puts the
//! task into a queue, takes it out, sets up its surroundings and registers whom to wake. A client that sends a request
//! and waits for the reply would cost all that for each request, more than its command takes. So a thread has a
//! second `epoll` instance of its own, for the sockets of connections that have nothing to do but to wait:
//!
//! ```text
//!                       several waits for requests, and nothing else
//!   task, its socket ----------------------------------------------> parked, its socket
//!   in the runtime   <---------------------------------------------- in the reactor
//!                       anything but whole requests and short replies
//! ```
//!
//! The task of a parked connection sleeps. It wakes when somebody has something for the client, or when the reactor
//! could not finish what the client wants: when the client blocks, is paused, ends, or does not read its replies.
//!
//! Rules:
//!
//! 1. A socket is registered with the runtime or with the reactor, never with both.
//! 2. The reactor is told once of what arrives (edge-triggered). So it reads until a socket has given less than there
//!    was room for, or leaves the connection to its task: registering a socket tells again what waits in it.
//! 3. The same holds for the runtime and the reactor as a whole: unless it has seen all sockets that are ready, it does
//!    not wait.
//! 4. Nothing of the reactor is borrowed while a connection is served: a script that runs for long serves the others
//!    beside it.

use super::connection::Event;
use super::parking::Parking;
use crate::command::Batch;
use crate::node::Thread;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use socket2::Socket;
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Sockets that are told of at once.
const EVENTS_MAX: usize = 128;

/// With so many sockets ready at once, more are likely to be by the time these are served.
const EVENTS_MANY: usize = 3;

/// Looks for ready sockets before the other tasks of the thread have their turn.
const LOOKS_MAX: usize = 8;

/// Bytes that are read at once.
pub(super) const READ_BYTES: usize = 16 * 1024;

const NO_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

pub(super) struct Reactor {
    thread: Rc<Thread>,
    epoll: AsyncFd<OwnedFd>,
    /// The places of the connections that are served here, by the descriptors of their sockets.
    places: RefCell<Vec<Option<Rc<Parking>>>>,
    /// Where requests are read into.
    room: Room,
}

/// Room for the bytes of one read; it is taken for no longer than that.
pub(super) type Room = Cell<Vec<u8>>;

impl Reactor {
    /// What a reactor of the runtime that the caller is in will wait with.
    #[expect(
        deprecated,
        reason = "what replaces it asks for a descriptor that stays what it is, and an owned one does"
    )]
    pub(super) fn epoll() -> io::Result<AsyncFd<OwnedFd>> {
        AsyncFd::with_interest(epoll::create(CreateFlags::CLOEXEC)?, Interest::READABLE)
    }

    /// A reactor of this thread that nobody is registered with.
    pub(super) fn new(thread: Rc<Thread>, epoll: AsyncFd<OwnedFd>) -> Reactor {
        Reactor {
            thread,
            epoll,
            places: RefCell::default(),
            room: Cell::new(vec![0; READ_BYTES]),
        }
    }

    /// Serves the connections as requests come.
    pub(super) async fn run(self: Rc<Self>) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        // It fails when the runtime ends.
        while let Ok(mut ready) = self.epoll.readable().await {
            if self.serve_ready(&mut events) {
                ready.clear_ready();
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Serves the connections whose sockets are ready; whether all were that are known to be.
    fn serve_ready(&self, events: &mut Vec<epoll::Event>) -> bool {
        let mut found = 0;
        for _ in 0..LOOKS_MAX {
            let room = spare_capacity(events);
            if epoll::wait(self.epoll.get_ref(), room, Some(&NO_TIME)).is_err() {
                return false;
            }
            found = events.len();
            if found == 0 {
                break;
            }
            // What costs something to begin, as a pin of the epoch does, is begun once for all of them.
            let guard = self.thread.node.keyspace.pin();
            let mut batch = Batch::new(&self.thread, &guard);
            for event in events.drain(..) {
                let (flags, fd) = (event.flags, event.data.u64());
                let place = self.places.borrow().get(fd as usize).cloned().flatten();
                if let Some(place) = place {
                    let is_ended =
                        flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
                    place.serve_ready(&mut batch, is_ended, &self.room);
                }
            }
            if found < EVENTS_MANY {
                break;
            }
        }
        found < EVENTS_MAX
    }

    /// Serves the connection that is parked at `place` until its task is needed: its socket again, and what for.
    pub(super) async fn serve(
        &self,
        place: &Rc<Parking>,
        socket: Socket,
    ) -> io::Result<(Socket, Event<()>)> {
        place.lend(socket);
        let registered = Registered::new(self, place)?;
        let event = place.until_needed().await;
        drop(registered);
        let socket = place.take_back().ok_or(io::ErrorKind::NotConnected)?;
        Ok((socket, event))
    }
}

/// A socket in the reactor.
struct Registered<'r> {
    reactor: &'r Reactor,
    place: &'r Parking,
    fd: usize,
}

impl<'r> Registered<'r> {
    fn new(reactor: &'r Reactor, place: &'r Rc<Parking>) -> io::Result<Registered<'r>> {
        let fd = place.with_lent(|socket| {
            let fd = socket.as_raw_fd() as u64;
            let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(
                reactor.epoll.get_ref(),
                socket,
                EventData::new_u64(fd),
                flags,
            )?;
            Ok(fd as usize)
        })?;
        let mut places = reactor.places.borrow_mut();
        if places.len() <= fd {
            places.resize(fd + 1, None);
        }
        places[fd] = Some(place.clone());
        Ok(Registered { reactor, place, fd })
    }
}

/// Also when the task ends while it sleeps.
impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.reactor.places.borrow_mut()[self.fd] = None;
        // If it fails the socket is not there any more.
        let _ = self
            .place
            .with_lent(|socket| Ok(epoll::delete(self.reactor.epoll.get_ref(), socket)?));
    }
}
