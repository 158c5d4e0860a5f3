//! Clients in broadcast mode, by the prefixes of the keys they want to hear of.

use crate::session::ClientInfo;
use parking_lot::{RwLock, RwLockReadGuard};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

/// Clients by id.
type Listeners = BTreeMap<u64, Arc<ClientInfo>>;

/// A prefix, from the time its first client asks for it until its last one does no more. Whoever asks for the same one
/// later gets another: what was changed before does not concern them.
pub struct Prefix {
    text: Box<[u8]>,
    /// Distinct among all prefixes there ever were.
    id: u64,
    listeners: RwLock<Listeners>,
}

impl Prefix {
    /// Whether it is one of `key`'s.
    pub fn covers(&self, key: &[u8]) -> bool {
        key.starts_with(&self.text)
    }

    /// The clients that ask for it now.
    pub fn listeners(&self) -> RwLockReadGuard<'_, Listeners> {
        self.listeners.read()
    }

    fn order(&self) -> (&[u8], u64) {
        (&self.text, self.id)
    }
}

/// In the order in which clients are told: by the text.
impl Ord for Prefix {
    fn cmp(&self, other: &Prefix) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Prefix {
    fn partial_cmp(&self, other: &Prefix) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Prefix {
    fn eq(&self, other: &Prefix) -> bool {
        self.id == other.id
    }
}

impl Eq for Prefix {}

/// The prefixes that some client asks for at one time, by text.
pub type PrefixList = Arc<[Arc<Prefix>]>;

#[derive(Default)]
pub(super) struct Prefixes {
    /// Replaced as a whole, so that it can be looked at later as it was.
    list: RwLock<PrefixList>,
    len: AtomicUsize,
    next_id: AtomicU64,
}

impl Prefixes {
    /// Prefixes with a client.
    pub fn len(&self) -> usize {
        self.len.load(SeqCst)
    }

    /// All of them, as they are now.
    pub fn now(&self) -> PrefixList {
        self.list.read().clone()
    }

    /// Adds a client to those of a prefix; whether it is new there.
    pub fn add(&self, text: &[u8], client: &Arc<ClientInfo>) -> bool {
        let mut list = self.list.write();
        let at = match find(&list, text) {
            Ok(at) => {
                let mut listeners = list[at].listeners.write();
                return listeners.insert(client.id, client.clone()).is_none();
            }
            Err(at) => at,
        };
        let prefix = Arc::new(Prefix {
            text: text.into(),
            id: self.next_id.fetch_add(1, SeqCst),
            listeners: RwLock::new(BTreeMap::from([(client.id, client.clone())])),
        });
        let mut longer = list.to_vec();
        longer.insert(at, prefix);
        self.len.store(longer.len(), SeqCst);
        *list = longer.into();
        true
    }

    /// Takes a client out of those of a prefix.
    pub fn remove(&self, text: &[u8], id: u64) {
        let mut list = self.list.write();
        let Ok(at) = find(&list, text) else {
            return;
        };
        let is_last = {
            let mut listeners = list[at].listeners.write();
            listeners.remove(&id);
            listeners.is_empty()
        };
        if is_last {
            let mut shorter = list.to_vec();
            shorter.remove(at);
            self.len.store(shorter.len(), SeqCst);
            *list = shorter.into();
        }
    }
}

/// Where a prefix stands, or would stand.
fn find(list: &[Arc<Prefix>], text: &[u8]) -> Result<usize, usize> {
    list.binary_search_by(|prefix| (*prefix.text).cmp(text))
}
