//! The flags of a node: 16 bits, the same on the wire and in memory.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of node flags. Bits without a name are carried as they came.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeFlags(u16);

/// The flags that have a word in `CLUSTER NODES`, in the order in which they stand there.
const WORDS: [(NodeFlags, &str); 8] = [
    (NodeFlags::MYSELF, "myself"),
    (NodeFlags::PRIMARY, "master"),
    (NodeFlags::REPLICA, "slave"),
    (NodeFlags::PFAIL, "fail?"),
    (NodeFlags::FAIL, "fail"),
    (NodeFlags::HANDSHAKE, "handshake"),
    (NodeFlags::NOADDR, "noaddr"),
    (NodeFlags::NOFAILOVER, "nofailover"),
];

impl NodeFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The node is a primary (`master` in the protocol).
    pub const PRIMARY: Self = Self(1);
    /// The node is a replica (`slave` in the protocol).
    pub const REPLICA: Self = Self(2);
    /// The node does not answer *me*.
    pub const PFAIL: Self = Self(4);
    /// A quorum of primaries says that the node does not answer.
    pub const FAIL: Self = Self(8);
    /// The node is the one that speaks.
    pub const MYSELF: Self = Self(16);
    /// First contact is not completed; the id is a made-up one.
    pub const HANDSHAKE: Self = Self(32);
    /// The node's address is not known (any more).
    pub const NOADDR: Self = Self(64);
    /// First contact must be made by MEET.
    pub const MEET: Self = Self(128);
    /// The primary has or had replicas, so an orphaned one may be given a replica.
    pub const MIGRATE_TO: Self = Self(256);
    /// The replica must not start an election.
    pub const NOFAILOVER: Self = Self(512);
    /// The node writes and understands ping extensions beyond the host name.
    pub const EXTENSIONS: Self = Self(1024);

    /// The flags out of a message.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The flags for a message.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all flags of `flags` are set.
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether at least one flag of `flags` is set.
    pub const fn intersects(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// These flags and those of `flags`.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// These flags but for those of `flags`.
    #[must_use]
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }

    /// Only those of these flags which are in `flags`.
    #[must_use]
    pub const fn only(self, flags: Self) -> Self {
        Self(self.0 & flags.0)
    }

    /// Sets or clears `flags`; says whether that changed anything.
    pub fn set(&mut self, flags: Self, on: bool) -> bool {
        let before = *self;
        *self = if on {
            self.with(flags)
        } else {
            self.without(flags)
        };
        *self != before
    }

    /// The flag that `CLUSTER NODES` and `nodes.conf` spell `word`; `noflags` is the empty set.
    pub fn parse_word(word: &str) -> Option<Self> {
        if word == "noflags" {
            return Some(Self::NONE);
        }
        WORDS
            .iter()
            .find(|(_, spelled)| *spelled == word)
            .map(|(flag, _)| *flag)
    }
}

impl BitOr for NodeFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

impl BitOrAssign for NodeFlags {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.with(other);
    }
}

impl fmt::Display for NodeFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (flag, word) in WORDS {
            if self.contains(flag) {
                write!(f, "{separator}{word}")?;
                separator = ",";
            }
        }
        if separator.is_empty() {
            f.write_str("noflags")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for NodeFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_the_order_of_cluster_nodes() {
        let flags =
            NodeFlags::NOFAILOVER | NodeFlags::REPLICA | NodeFlags::MYSELF | NodeFlags::FAIL;
        assert_eq!(flags.to_string(), "myself,slave,fail,nofailover");
        assert_eq!(NodeFlags::MIGRATE_TO.to_string(), "noflags");
        for (flag, word) in WORDS {
            assert_eq!(NodeFlags::parse_word(word), Some(flag));
        }
        assert_eq!(NodeFlags::parse_word("noflags"), Some(NodeFlags::NONE));
        assert_eq!(NodeFlags::parse_word("pfail"), None);
    }
}
