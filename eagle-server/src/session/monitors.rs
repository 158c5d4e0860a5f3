//! MONITOR: clients that see every command.

use super::ClientInfo;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The clients that monitor. Those who run commands look at one flag while there are none.
#[derive(Default)]
pub struct Monitors {
    any: AtomicBool,
    clients: RwLock<Vec<Arc<ClientInfo>>>,
}

impl Monitors {
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    pub fn add(&self, client: &Arc<ClientInfo>) {
        let mut clients = self.clients.write();
        if !client.monitors.swap(true, Ordering::Relaxed) {
            clients.push(client.clone());
        }
        self.any.store(true, Ordering::Relaxed);
    }

    pub fn remove(&self, client: &ClientInfo) {
        if client.monitors.load(Ordering::Relaxed) {
            let mut clients = self.clients.write();
            clients.retain(|other| other.id != client.id);
            client.monitors.store(false, Ordering::Relaxed);
            self.any.store(!clients.is_empty(), Ordering::Relaxed);
        }
    }

    /// Does something for each of them.
    pub fn for_each(&self, mut each: impl FnMut(&ClientInfo)) {
        for client in self.clients.read().iter() {
            each(client);
        }
    }
}
