//! One worker thread's lanes, found by where they lead.

use super::Dialect;
use super::connect::Login;
use super::lane::{self, Lane};
use super::link::{Link, LinkError, Links};
use super::request::Request;
use hashbrown::{Equivalent, HashMap};
use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::time::Instant;

/// A node's client address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer<'a> {
    /// Address or host name.
    pub host: &'a str,
    /// Client port.
    pub port: u16,
}

/// What tells lanes apart.
#[derive(Clone, Debug)]
pub(super) struct LaneKey {
    pub host: String,
    pub port: u16,
    pub dialect: Dialect,
    pub number: u32,
}

/// [`LaneKey`] borrowed, so that finding a lane does not allocate.
struct LaneRef<'a> {
    peer: Peer<'a>,
    dialect: Dialect,
    number: u32,
}

impl LaneKey {
    fn by_ref(&self) -> LaneRef<'_> {
        let peer = Peer {
            host: &self.host,
            port: self.port,
        };
        LaneRef {
            peer,
            dialect: self.dialect,
            number: self.number,
        }
    }
}

impl Hash for LaneRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.peer.host, self.peer.port, self.dialect, self.number).hash(state);
    }
}

impl Hash for LaneKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.by_ref().hash(state);
    }
}

impl PartialEq for LaneRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.peer, self.dialect, self.number) == (other.peer, other.dialect, other.number)
    }
}

impl PartialEq for LaneKey {
    fn eq(&self, other: &Self) -> bool {
        self.by_ref() == other.by_ref()
    }
}

impl Eq for LaneKey {}

impl Equivalent<LaneKey> for LaneRef<'_> {
    fn equivalent(&self, key: &LaneKey) -> bool {
        *self == key.by_ref()
    }
}

/// The lanes of one thread, and its links.
pub struct Pool {
    lanes: RefCell<HashMap<LaneKey, Rc<Lane>>>,
    links: Rc<Links>,
    login: Box<dyn Fn() -> Login>,
}

impl Pool {
    /// A pool without connections. `login` is asked anew for each connection; `links_in_use` is shared by all threads.
    pub fn new(login: impl Fn() -> Login + 'static, links_in_use: Arc<AtomicUsize>) -> Rc<Pool> {
        Rc::new(Pool {
            lanes: RefCell::default(),
            links: Rc::new(Links::new(links_in_use)),
            login: Box::new(login),
        })
    }

    /// Whether the lane to `peer` takes another request; if not, the client has to wait.
    pub fn has_room(&self, peer: Peer<'_>, dialect: Dialect, number: u32) -> bool {
        let key = LaneRef {
            peer,
            dialect,
            number,
        };
        let lanes = self.lanes.borrow();
        lanes.get(&key).is_none_or(|lane| lane.has_room())
    }

    /// Sends a request. Never waits; runs inside a `LocalSet`, where each lane is a task.
    pub fn submit(self: &Rc<Pool>, peer: Peer<'_>, request: Request) {
        let key = LaneRef {
            peer,
            dialect: request.dialect,
            number: request.lane,
        };
        let mut lanes = self.lanes.borrow_mut();
        if let Some(lane) = lanes.get(&key) {
            lane.push(request);
            return;
        }
        let key = LaneKey {
            host: peer.host.to_owned(),
            port: peer.port,
            dialect: request.dialect,
            number: request.lane,
        };
        let lane = Rc::new(Lane::new(key.clone()));
        lane.push(request);
        lanes.insert(key, lane.clone());
        tokio::task::spawn_local(lane::run(lane, self.clone()));
    }

    /// A connection to `peer` for one client alone, unless `in_use_max` are in use.
    pub async fn take_link(
        &self,
        peer: Peer<'_>,
        dialect: Dialect,
        in_use_max: usize,
        until: Instant,
    ) -> Result<Link, LinkError> {
        let address = (peer.host, peer.port);
        self.links
            .take(address, dialect, &self.login(), in_use_max, until)
            .await
    }

    /// Keeps a link on which nothing is under way for the next client.
    pub fn give_back(&self, link: Link) {
        self.links.give_back(link);
    }

    /// Forgets a lane whose task ends.
    pub(super) fn remove(&self, key: &LaneKey) {
        self.lanes.borrow_mut().remove(key);
    }

    pub(super) fn login(&self) -> Login {
        (self.login)()
    }

    /// Lanes that are open or being opened.
    #[cfg(test)]
    pub(super) fn lane_count(&self) -> usize {
        self.lanes.borrow().len()
    }
}
