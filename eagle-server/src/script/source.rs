//! The script cache of the node: sha1 -> source. Threads compile for themselves what they run.

use super::error::ScriptError;
use super::shebang::{self, ScriptFlags};
use parking_lot::RwLock;
use sha1::{Digest, Sha1};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A sha1 in lower-case hexadecimal.
pub type Sha = [u8; 40];

/// A sha1 as text.
pub fn sha_text(sha: &Sha) -> &str {
    std::str::from_utf8(sha).unwrap_or_default()
}

/// A script.
#[derive(Debug)]
pub struct Source {
    body: Box<[u8]>,
    /// Where the code begins, behind the first line if that is a shebang.
    code_at: usize,
    pub flags: ScriptFlags,
}

impl Source {
    /// Reads the first line; the error is the reply's text.
    pub fn new(body: &[u8]) -> Result<Source, ScriptError> {
        let (flags, code) = shebang::of_script(body)?;
        Ok(Source {
            code_at: body.len() - code.len(),
            body: body.into(),
            flags,
        })
    }

    /// All of it, as it was given.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn code(&self) -> &[u8] {
        &self.body[self.code_at..]
    }
}

/// All scripts that were loaded or run since the last SCRIPT FLUSH.
#[derive(Default)]
pub struct Sources {
    by_sha: RwLock<HashMap<Sha, Arc<Source>>>,
    generation: AtomicU64,
}

impl Sources {
    pub fn get(&self, sha: &Sha) -> Option<Arc<Source>> {
        self.by_sha.read().get(sha).cloned()
    }

    pub fn contains(&self, sha: &[u8]) -> bool {
        lower(sha).is_some_and(|sha| self.by_sha.read().contains_key(&sha))
    }

    /// Adds a script that compiles.
    pub fn insert(&self, sha: Sha, source: Arc<Source>) {
        self.by_sha.write().entry(sha).or_insert(source);
    }

    /// Forgets all scripts; threads notice by the generation and begin anew. Whoever still finds the old generation
    /// current came before anybody who finds a script missing.
    pub fn flush(&self) {
        let mut by_sha = self.by_sha.write();
        self.generation.fetch_add(1, Ordering::Release);
        let old = std::mem::take(&mut *by_sha);
        drop(by_sha);
        drop(old);
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn len(&self) -> usize {
        self.by_sha.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes the sources take, roughly.
    pub fn bytes(&self) -> usize {
        const OVERHEAD: usize = size_of::<Sha>() + size_of::<Source>() + 3 * size_of::<usize>();
        let sources = self.by_sha.read();
        sources
            .values()
            .map(|source| source.body.len() + OVERHEAD)
            .sum()
    }
}

/// The sha1 of a text, in hexadecimal.
pub fn sha1_hex(text: &[u8]) -> Sha {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha1::digest(text);
    let mut hex = [0; 40];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest.iter()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    hex
}

/// A sha1 as a client spelled it; nothing if it has another length.
pub(super) fn lower(sha: &[u8]) -> Option<Sha> {
    let mut lower: Sha = sha.try_into().ok()?;
    lower.make_ascii_lowercase();
    Some(lower)
}

impl Sources {
    /// The script a client names by its sha1, in any case, and the sha1 in lower case.
    pub fn named(&self, sha: &[u8]) -> Option<(Sha, Arc<Source>)> {
        let sha = lower(sha)?;
        Some((sha, self.get(&sha)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_by_sha1_in_any_case() {
        let sources = Sources::default();
        let sha = sha1_hex(b"return 1");
        assert_eq!(&sha, b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        sources.insert(sha, Arc::new(Source::new(b"return 1").unwrap()));
        assert!(sources.contains(&sha.to_ascii_uppercase()) && !sources.contains(b"e0e1"));
        assert!(sources.named(&sha.to_ascii_uppercase()).is_some());
        let before = sources.generation();
        sources.flush();
        assert!(sources.is_empty() && sources.generation() != before);
    }
}
