//! What a connection was set to, and so which requests may take it.

use eagle_core::resp::Protocol;
use std::hash::{Hash, Hasher};

/// The version of the protocol that a connection speaks, and the database that it has selected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dialect {
    /// By HELLO.
    pub protocol: Protocol,
    /// By SELECT.
    pub db: u8,
}

impl Hash for Dialect {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.protocol == Protocol::Resp3, self.db).hash(state);
    }
}
