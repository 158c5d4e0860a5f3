//! DEBUG DIGEST and DIGEST-VALUE: a fingerprint of data that does not depend on its order.
//!
//! The fingerprint is 20 bytes, first all zero. Three steps change it, S being SHA-1:
//!
//! ```text
//!   add(x)    d = d xor S(x)         order does not matter
//!   mix(x)    d = S(d xor S(x))      order matters
//!   merge     d = d xor e            the finished fingerprint e of a part
//! ```
//!
//! A value mixes its type number (32 bits, big-endian), then a string its bytes, a hash adds for
//! each field the fingerprint in which field and value were mixed, a sorted set the same for each
//! member and its score. A key that expires adds the
//! word `!!expire!!`, a field that does the word `!!hexpire!!` (as in Redis 7.4). A database mixes its number, then adds for each key the fingerprint in which
//! the key was mixed before its value. All this is how redis-server 7.0.15 does it, so the digest of
//! a value is the same on both.

use eagle_core::store::{Entry, Kind, StoreError, StreamId, View};
use eagle_core::text::double::DoubleText;
use sha1::{Digest as _, Sha1};
use std::fmt;

const BYTES: usize = 20;

/// A fingerprint under way.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Digest([u8; BYTES]);

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        self.add_hash(Sha1::new_with_prefix(bytes));
    }

    /// The same of bytes that were hashed in pieces.
    fn add_hash(&mut self, hash: Sha1) {
        self.0
            .iter_mut()
            .zip(hash.finalize())
            .for_each(|(byte, other)| *byte ^= other);
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.mix_hash(Sha1::new_with_prefix(bytes));
    }

    fn mix_hash(&mut self, hash: Sha1) {
        self.add_hash(hash);
        self.0 = Sha1::digest(self.0).into();
    }

    /// Mixes the value of a key into this digest.
    fn value(&mut self, view: &View<'_>, db: u8, entry: &Entry<'_>) -> Result<(), StoreError> {
        self.mix(&type_number(entry.kind()).to_be_bytes());
        match entry.kind() {
            Kind::String => {
                let hashed = view.with_string(db, entry.key(), |string| {
                    let mut hash = Sha1::new();
                    string.pieces(0..string.len(), &mut |piece| {
                        piece.for_each(|bytes| hash.update(bytes));
                    });
                    hash
                })?;
                if let Some(hash) = hashed {
                    self.mix_hash(hash);
                }
            }
            Kind::Hash => {
                let hash = view.hash(db, entry.key())?;
                for field in hash.iter().flat_map(|hash| hash.fields()) {
                    let mut pair = Digest::default();
                    pair.mix(field.name);
                    pair.mix(field.value);
                    if field.ttl_at.is_some() {
                        pair.add(b"!!hexpire!!");
                    }
                    self.add(&pair.0);
                }
            }
            // The keyspace holds no such value yet.
            Kind::Set => {
                let set = view.set(db, entry.key())?;
                let mut buffer = itoa::Buffer::new();
                for member in set.iter().flat_map(|set| set.iter()) {
                    self.add(member.as_bytes(&mut buffer));
                }
            }
            Kind::Stream => {
                let stream = view.stream(db, entry.key())?;
                let entries = stream.map(|stream| stream.range(StreamId::MIN, StreamId::MAX));
                for entry in entries.into_iter().flatten() {
                    self.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                    for (name, value) in entry.fields {
                        self.mix(name);
                        self.mix(value);
                    }
                }
            }
            Kind::List => {
                let list = view.list(db, entry.key())?;
                for element in list.iter().flat_map(|list| list.iter()) {
                    self.mix(element);
                }
            }
            Kind::Zset => {
                let zset = view.zset(db, entry.key())?;
                for (member, score) in zset.iter().flat_map(|zset| zset.iter()) {
                    let mut pair = Digest::default();
                    pair.mix(member);
                    pair.mix(DoubleText::new(score).as_bytes());
                    self.add(&pair.0);
                }
            }
        }
        if entry.ttl_at().is_some() {
            self.add(b"!!expire!!");
        }
        Ok(())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn type_number(kind: Kind) -> u32 {
    match kind {
        Kind::String => 0,
        Kind::List => 1,
        Kind::Set => 2,
        Kind::Zset => 3,
        Kind::Hash => 4,
        Kind::Stream => 6,
    }
}

/// The digest of one value; all zero for a key that does not exist.
pub(super) fn of_value(view: &View<'_>, db: u8, key: &[u8]) -> Result<Digest, StoreError> {
    let mut digest = Digest::default();
    if let Some(entry) = view.find(db, key) {
        digest.value(view, db, &entry)?;
    }
    Ok(digest)
}

/// The digest of databases `dbs`; all zero if they are empty.
pub(super) fn of_databases(
    view: &View<'_>,
    dbs: std::ops::Range<u8>,
) -> Result<Digest, StoreError> {
    let mut whole = Digest::default();
    for db in dbs {
        if view.len(db) == 0 {
            continue;
        }
        whole.mix(&u32::from(db).to_be_bytes());
        let mut outcome = Ok(());
        view.for_each(db, &mut |entry| {
            let mut digest = Digest::default();
            digest.mix(entry.key());
            outcome = outcome.and(digest.value(view, db, entry));
            whole.add(&digest.0);
        });
        outcome?;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_ignores_order_and_mixing_does_not() {
        let digest = |steps: &[(bool, &[u8])]| {
            let mut digest = Digest::default();
            for (mixed, bytes) in steps {
                if *mixed {
                    digest.mix(bytes);
                } else {
                    digest.add(bytes);
                }
            }
            digest
        };
        assert_eq!(
            digest(&[(false, b"a"), (false, b"b")]),
            digest(&[(false, b"b"), (false, b"a")])
        );
        assert_ne!(
            digest(&[(true, b"a"), (true, b"b")]),
            digest(&[(true, b"b"), (true, b"a")])
        );
        assert_eq!(Digest::default().to_string(), "0".repeat(40));
    }

    #[test]
    fn a_string_has_the_digest_redis_gives_it() {
        let of = |value: &[u8]| {
            let mut digest = Digest::default();
            digest.mix(&type_number(Kind::String).to_be_bytes());
            digest.mix(value);
            digest.to_string()
        };
        assert_eq!(of(b"b"), "b78559cd22bce6e6df712eb99ce7f3b08e8f8f1f");
        assert_eq!(of(b"123"), "89f7f51b707418f666d5b45e053bd5bbbf82ac2b");
    }
}
