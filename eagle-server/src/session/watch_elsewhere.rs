//! WATCH on keys of another node: the connection there that stands for the client from its first WATCH to its EXEC.

use crate::cluster::proxy::Link;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// The keys one client watches at another node.
#[derive(Debug, Default)]
pub struct WatchedElsewhere {
    link: RefCell<Option<Link>>,
    /// Slots of the keys.
    slots: RefCell<BTreeSet<u16>>,
    keys: Cell<usize>,
    /// A slot has moved after a key of it was watched: the key counts as changed.
    moved: Cell<bool>,
}

impl WatchedElsewhere {
    /// Whether any key is watched.
    pub fn is_active(&self) -> bool {
        self.keys.get() > 0
    }

    /// How many keys are watched.
    pub fn keys(&self) -> usize {
        self.keys.get()
    }

    /// Whether keys of `slot` are watched.
    pub fn covers(&self, slot: u16) -> bool {
        self.slots.borrow().contains(&slot)
    }

    /// Whether the keys are watched at this address.
    pub fn leads_to(&self, host: &str, port: u16) -> bool {
        let link = self.link.borrow();
        link.as_ref().is_some_and(|link| link.leads_to(host, port))
    }

    /// Whether a watched key counts as changed because its slot has moved.
    pub fn has_moved(&self) -> bool {
        self.moved.get()
    }

    /// Notes that the slot of a watched key has moved.
    pub fn set_moved(&self) {
        self.moved.set(true);
    }

    /// Notes that `keys` more keys of `slot` are watched.
    pub fn add(&self, slot: u16, keys: usize) {
        self.slots.borrow_mut().insert(slot);
        self.keys.set(self.keys.get() + keys);
    }

    /// Takes the connection out, to be put back.
    pub fn take(&self) -> Option<Link> {
        self.link.borrow_mut().take()
    }

    /// Puts the connection in.
    pub fn put(&self, link: Link) {
        *self.link.borrow_mut() = Some(link);
    }
}
