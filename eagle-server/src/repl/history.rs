//! What the stream of changes is called, and whether it is kept.
//!
//! A history is named by a replication id of 40 hex digits; positions in it are bytes of the stream. Both live in the
//! pool, in the log ring and its label, so they go on after a restart, and whoever followed this node can follow it
//! further. While there is no ring, changes leave no trace in the stream; when one is made the history therefore begins
//! under a new name.
//!
//! ```text
//! label   0    40 B   replication id
//!         40   40 B   the one before, of the primary this node followed until it was promoted; zeros: none
//!         80   u64    the first position that is not of that history
//! ```

use eagle_core::store::{Guard, Keyspace, RING_LABEL_BYTES};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const ID_BYTES: usize = 40;

/// What a history is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub id: String,
    /// The history this one continues, and the first position that is not part of it.
    pub before: Option<(String, u64)>,
}

impl Identity {
    fn fresh() -> Identity {
        Identity {
            id: random_hex_id(),
            before: None,
        }
    }

    fn decode(label: &[u8; RING_LABEL_BYTES]) -> Option<Identity> {
        let id = |at: usize| {
            let text = std::str::from_utf8(&label[at..at + ID_BYTES]).ok()?;
            let is_id = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_id.then(|| text.to_owned())
        };
        let end = label[2 * ID_BYTES..2 * ID_BYTES + 8].try_into().ok()?;
        Some(Identity {
            id: id(0)?,
            before: id(ID_BYTES).map(|before| (before, u64::from_le_bytes(end))),
        })
    }

    fn encode(&self) -> [u8; RING_LABEL_BYTES] {
        let mut label = [0; RING_LABEL_BYTES];
        label[..ID_BYTES].copy_from_slice(self.id.as_bytes());
        if let Some((id, end)) = &self.before {
            label[ID_BYTES..2 * ID_BYTES].copy_from_slice(id.as_bytes());
            label[2 * ID_BYTES..2 * ID_BYTES + 8].copy_from_slice(&end.to_le_bytes());
        }
        label
    }
}

/// The history of a node's data.
#[derive(Debug)]
pub struct History {
    identity: Mutex<Identity>,
    /// Held by whoever makes the ring or gives it up.
    keeping: Mutex<()>,
    /// The pool had no room for the ring when it was asked for last.
    is_out_of_room: AtomicBool,
}

impl History {
    /// The history that the pool knows, or a new one.
    pub fn open(keyspace: &Keyspace) -> History {
        let known = Identity::decode(&keyspace.ring_label());
        let history = History {
            identity: Mutex::new(known.clone().unwrap_or_else(Identity::fresh)),
            keeping: Mutex::new(()),
            is_out_of_room: AtomicBool::new(false),
        };
        if known.is_none() {
            // If there is no room even for this, the name is new again after the next start.
            let label = history.identity().encode();
            let _ = keyspace.set_ring_label(&keyspace.pin(), &label);
        }
        history
    }

    /// What it is called.
    pub fn identity(&self) -> Identity {
        self.identity.lock().clone()
    }

    /// Gives it a new name: nobody can continue from the old one.
    pub fn renew(&self, keyspace: &Keyspace, guard: &Guard) {
        let mut identity = self.identity.lock();
        *identity = Identity::fresh();
        let _ = keyspace.set_ring_label(guard, &identity.encode());
    }

    /// Keeps so many bytes of the stream, or none. Called by whoever holds no slot.
    pub fn keep(&self, keyspace: &Keyspace, kept_bytes: Option<u64>) {
        let _turn = self.keeping.lock();
        let guard = keyspace.pin();
        let was_out_of_room = self.is_out_of_room.load(Relaxed);
        if kept_bytes.is_some() && !keyspace.ring_is_on() && !was_out_of_room {
            // Before the ring is there: nobody may take what it begins with for the continuation of what he has.
            self.renew(keyspace, &guard);
        }
        let is_out_of_room = keyspace.resize_ring(&guard, kept_bytes).is_err();
        self.is_out_of_room.store(is_out_of_room, Relaxed);
        if is_out_of_room && !was_out_of_room {
            tracing::warn!("The pool has no room for the log ring");
        }
    }
}

/// 40 random hex digits.
pub fn random_hex_id() -> String {
    let bytes: [u8; ID_BYTES / 2] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_survive_in_the_label() {
        let mut identity = Identity::fresh();
        assert_eq!(Identity::decode(&identity.encode()), Some(identity.clone()));
        identity.before = Some(("ab".repeat(20), 77));
        assert_eq!(Identity::decode(&identity.encode()), Some(identity));
        assert_eq!(Identity::decode(&[0; RING_LABEL_BYTES]), None);
    }
}
