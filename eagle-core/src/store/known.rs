//! Keys whose slot and hash have been computed already.
//!
//! A command's key is needed several times: to find the slot to lock, to prefetch, to look the key up, to change it. Both
//! functions of it cost as much as the look-up itself, so whoever computes them first hands them on. A key is recognised
//! by where its bytes lie, not by what they are: that is one comparison.

use std::cell::Cell;

use super::dash::hash::{Hash, KeyHasher};
use super::key_slot;
use super::keyspace::Keyspace;
use super::view::View;

/// A key with its slot and hash.
#[derive(Clone, Copy, Debug)]
pub struct KnownKey<'k> {
    key: &'k [u8],
    slot: u16,
    hash: Hash,
}

impl KnownKey<'_> {
    /// Whether `key` is this very slice.
    #[inline]
    pub(super) fn is(&self, key: &[u8]) -> bool {
        std::ptr::eq(self.key, key)
    }

    /// The hash.
    #[inline]
    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    /// The hash slot.
    #[inline]
    pub fn slot(&self) -> u16 {
        self.slot
    }
}

impl<'k> KnownKey<'k> {
    /// A key, and what was computed of it.
    #[inline]
    pub(super) fn new(key: &'k [u8], slot: u16, hash: Hash) -> KnownKey<'k> {
        KnownKey { key, slot, hash }
    }

    /// The slice by which the key is recognised.
    #[inline]
    pub fn key(&self) -> &'k [u8] {
        self.key
    }
}

/// The hash of `key`, which may be known.
#[inline]
pub(super) fn hash_of(known: Option<&KnownKey<'_>>, hasher: &KeyHasher, key: &[u8]) -> Hash {
    match known {
        Some(known) if known.is(key) => known.hash,
        _ => hasher.hash(key),
    }
}

/// What is known of `key`, if it comes next in the row.
#[inline]
pub(super) fn next_of<'a>(row: &Cell<&'a [KnownKey<'a>]>, key: &[u8]) -> Option<KnownKey<'a>> {
    let (next, rest) = row.get().split_first()?;
    let known = next.is(key).then_some(*next);
    if known.is_some() {
        row.set(rest);
    }
    known
}

impl<'a> View<'a> {
    /// Has the view remember the slots and hashes of several keys that are changed one after the other, in this order.
    #[inline]
    pub fn know_row(&mut self, keys: &'a [KnownKey<'a>]) {
        self.row.set(keys);
    }

    /// Has the view remember the slot and hash of a key that it will be asked for.
    #[inline]
    pub fn know(&mut self, key: KnownKey<'a>) {
        self.known = Some(key);
    }

    /// The key whose slot and hash the view remembers.
    #[inline]
    pub fn known(&self) -> Option<KnownKey<'a>> {
        self.known
    }

    /// Whether this is the key that the view remembers.
    pub(super) fn knows(&self, key: &[u8]) -> bool {
        self.known.is_some_and(|known| known.is(key))
    }

    /// The slot of `key`.
    #[inline(always)]
    pub(super) fn slot_of(&self, key: &[u8]) -> u16 {
        match &self.known {
            Some(known) if known.is(key) => known.slot(),
            _ => key_slot(key),
        }
    }
}

impl Keyspace {
    /// Computes the slot and the hash of `key`.
    #[inline]
    pub fn know<'k>(&self, key: &'k [u8]) -> KnownKey<'k> {
        KnownKey {
            key,
            slot: key_slot(key),
            hash: self.hasher().hash(key),
        }
    }
}

/// The keys of requests that wait in a buffer, in their order, as far as they have been looked at.
///
/// Only their addresses are kept. Whoever writes to the buffer clears this first.
#[derive(Debug, Default)]
pub struct KnownKeys {
    keys: Vec<Address>,
    /// Those before have been asked for.
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Address {
    at: *const [u8],
    slot: u16,
    hash: Hash,
}

impl KnownKeys {
    /// Forgets all keys.
    #[inline]
    pub fn clear(&mut self) {
        self.keys.clear();
        self.next = 0;
    }

    /// Adds a key.
    #[inline]
    pub(super) fn push(&mut self, key: &[u8], slot: u16, hash: Hash) {
        let at = std::ptr::from_ref(key);
        self.keys.push(Address { at, slot, hash });
    }

    /// What is known of `key`. Keys are asked for in their order; some may be left out.
    #[inline]
    pub fn take<'k>(&mut self, key: &'k [u8]) -> Option<KnownKey<'k>> {
        let waiting = self.keys.get(self.next..)?;
        let found = waiting
            .iter()
            .position(|known| std::ptr::eq(known.at, key))?;
        let Address { slot, hash, .. } = waiting[found];
        self.next += found + 1;
        Some(KnownKey { key, slot, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_recognised_by_their_place_and_in_their_order() {
        let bytes = *b"aabb";
        let (first, second, twin) = (&bytes[..1], &bytes[1..2], &bytes[..2]);
        let mut keys = KnownKeys::default();
        keys.push(first, 1, Hash::from_raw(10));
        keys.push(second, 2, Hash::from_raw(20));
        assert!(keys.take(twin).is_none() && keys.take(b"a").is_none());
        assert_eq!(keys.take(second).map(|key| key.slot()), Some(2));
        assert!(keys.take(first).is_none(), "it comes before");
        keys.clear();
        assert!(keys.take(second).is_none());
    }

    #[test]
    fn a_row_is_gone_through_in_its_order() {
        let bytes = *b"aba";
        let [a, b, again] = [&bytes[..1], &bytes[1..2], &bytes[2..]];
        let known = |key, slot| KnownKey::new(key, slot, Hash::from_raw(0));
        let keys = [known(a, 1), known(b, 2), known(again, 1)];
        let row = Cell::new(&keys[..]);
        let slot_of = |key| next_of(&row, key).map(|known| known.slot());
        assert_eq!(slot_of(b), None, "it is not its turn");
        assert_eq!([slot_of(a), slot_of(a)], [Some(1), None]);
        assert_eq!([slot_of(b), slot_of(again)], [Some(2), Some(1)]);
        assert_eq!(slot_of(again), None);
    }
}
