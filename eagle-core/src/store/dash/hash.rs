//! The hash of keys and fields, and how its bits are used.
//!
//! ```text
//!   63 ............................ 16 15 ...... 8 7 ........ 0
//!   position (48 bits, from the top)   unused      fingerprint
//!     directory index | bucket | ...
//! ```
//!
//! SipHash-1-3 keyed with a seed that the pool got at creation: a client cannot choose keys that collide.
//! The function is part of the pool's format.

use siphasher::sip::SipHasher13;

/// Bits of a position.
pub(crate) const POSITION_BITS: u32 = 48;

/// The hash of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(u64);

impl Hash {
    /// A hash with these bits.
    pub(crate) fn from_raw(bits: u64) -> Hash {
        Hash(bits)
    }

    /// Eight bits kept in the bucket, independent of the position.
    #[inline]
    pub(crate) fn fingerprint(self) -> u8 {
        self.0 as u8
    }

    /// The place of the key in hash order, below 2^48.
    #[inline]
    pub(crate) fn position(self) -> u64 {
        self.0 >> (64 - POSITION_BITS)
    }
}

/// Hashes keys with the pool's seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHasher(SipHasher13);

impl KeyHasher {
    /// A hasher with the pool's seed.
    pub(crate) fn new(seed: &[u8; 16]) -> KeyHasher {
        KeyHasher(SipHasher13::new_with_key(seed))
    }

    /// The hash of `key`.
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> Hash {
        Hash(self.0.hash(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The function is on the medium: a change would lose every key of every pool.
    #[test]
    fn the_hash_function_is_pinned() {
        let seed: [u8; 16] = std::array::from_fn(|i| i as u8);
        let hash = KeyHasher::new(&seed).hash(b"eagle");
        assert_eq!(hash, Hash::from_raw(PINNED));
        assert_eq!(hash.position(), PINNED >> 16);
        assert_eq!(hash.fingerprint(), (PINNED & 0xff) as u8);
    }

    const PINNED: u64 = 12205100082642324713;
}
