//! Passwords, kept and compared as their SHA-256 hashes only.

use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// The hash of a password.
#[derive(Clone)]
pub struct PasswordHash(Zeroizing<[u8; 32]>);

impl PasswordHash {
    /// The hash of a password in clear text.
    pub fn of(password: &[u8]) -> PasswordHash {
        let hash = PasswordHash(Zeroizing::new(digest(password)));
        wipe_stack();
        hash
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

/// What is left of this on the stack, a block with the end of the password among it, has to be [wiped](wipe_stack).
#[inline(never)]
fn digest(password: &[u8]) -> [u8; 32] {
    Sha256::digest(password).into()
}

/// Wipes the part of the stack that the caller's last call has used. To wipe the hasher would not do: where the compiler
/// moves it, copies stay behind.
#[inline(never)]
fn wipe_stack() {
    /// More than a digest takes in any build.
    const WORDS: usize = 1024;
    [0u64; WORDS].zeroize();
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
