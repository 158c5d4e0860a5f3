//! Passwords, kept and compared as their SHA-256 hashes only.

use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The hash of a password.
#[derive(Clone)]
pub struct PasswordHash(Zeroizing<[u8; 32]>);

impl PasswordHash {
    /// The hash of a password in clear text.
    pub fn of(password: &[u8]) -> PasswordHash {
        PasswordHash(Zeroizing::new(Sha256::digest(password).into()))
    }

    /// Reads 64 lower-case hex digits.
    pub fn parse(text: &[u8]) -> Option<PasswordHash> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, []) = text.as_chunks::<2>() else {
            return None;
        };
        let mut hash = Zeroizing::new([0; 32]);
        if pairs.len() != hash.len() {
            return None;
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(PasswordHash(hash))
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    pub fn is(&self, other: &PasswordHash) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

/// 64 hex digits.
impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}
