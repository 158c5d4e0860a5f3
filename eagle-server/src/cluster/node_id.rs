//! The name of a node: 40 characters of `[a-z0-9]`, made as 40 lower-case hexadecimal digits.

use rand::Rng;
use std::fmt;

/// A node's name. Also the form of a shard's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; NodeId::BYTES]);

impl NodeId {
    /// Length of the name in bytes, on the wire and in text.
    pub const BYTES: usize = 40;

    /// Takes a name as it stands in a message, a file or a command; `None` if it is not one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let bytes: [u8; Self::BYTES] = text.try_into().ok()?;
        bytes
            .iter()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
            .then_some(Self(bytes))
    }

    /// A name out of 160 random bits.
    pub fn random(rng: &mut impl Rng) -> Self {
        let mut entropy = [0; Self::BYTES / 2];
        rng.fill_bytes(&mut entropy);
        let mut name = [0; Self::BYTES];
        for (digits, byte) in name.as_chunks_mut::<2>().0.iter_mut().zip(entropy) {
            *digits = [hex_digit(byte >> 4), hex_digit(byte & 15)];
        }
        Self(name)
    }

    /// The name's characters.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 {
        b'0' + nibble
    } else {
        b'a' + nibble - 10
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("a node id consists of ASCII characters"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn accepts_only_forty_lower_case_characters() {
        assert!(NodeId::parse(&[b'z'; 40]).is_some());
        assert!(NodeId::parse(&[b'9'; 40]).is_some());
        assert!(NodeId::parse(&[b'a'; 39]).is_none());
        assert!(NodeId::parse(&[b'A'; 40]).is_none());
        assert!(NodeId::parse(&[0; 40]).is_none());
        assert!(NodeId::parse(&[b'\n'; 40]).is_none());
    }

    #[test]
    fn random_names_are_hexadecimal_and_differ() {
        let mut rng = StdRng::seed_from_u64(1);
        let (a, b) = (NodeId::random(&mut rng), NodeId::random(&mut rng));
        assert_ne!(a, b);
        assert!(a.to_string().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(NodeId::parse(a.to_string().as_bytes()), Some(a));
    }
}
