//! What an interpreter has compiled: scripts by their text, as EVAL gives it, and by their sha1.
//!
//! EVAL sends the text each time. Computing its sha1, to look for it in the node's [cache](super::Sources), costs as much
//! as running a small script, so texts are found by a cheap keyed hash first. Texts are compared whole.

use super::source::{Sha, Source, sha_text};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;

/// A script that can be run by the interpreter that compiled it.
#[derive(Debug)]
pub struct Compiled {
    sha: Sha,
    name: Box<str>,
    source: Arc<Source>,
    pub(super) function: mlua::Function,
}

impl Compiled {
    pub(super) fn new(sha: Sha, source: Arc<Source>, function: mlua::Function) -> Compiled {
        Compiled {
            sha,
            name: sha_text(&sha).into(),
            source,
            function,
        }
    }

    /// The sha1 as text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The script itself.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }
}

/// The scripts of one interpreter.
#[derive(Default)]
pub(super) struct Scripts {
    by_sha: HashMap<Sha, Rc<Compiled>>,
    by_text: HashTable<Rc<Compiled>>,
    hasher: DefaultHashBuilder,
}

impl Scripts {
    /// The script with this text.
    pub(super) fn with_text(&self, text: &[u8]) -> Option<&Rc<Compiled>> {
        let hash = self.hasher.hash_one(text);
        let is_it = |script: &Rc<Compiled>| script.source.body() == text;
        self.by_text.find(hash, is_it)
    }

    /// The script with this sha1.
    pub(super) fn with_sha(&self, sha: &Sha) -> Option<&Rc<Compiled>> {
        self.by_sha.get(sha)
    }

    /// Adds a script, unless one of this sha1 is there.
    pub(super) fn insert(&mut self, script: &Rc<Compiled>) {
        if self.by_sha.contains_key(&script.sha) {
            return;
        }
        let hasher = &self.hasher;
        let hash = |script: &Rc<Compiled>| hasher.hash_one(script.source.body());
        self.by_text
            .insert_unique(hash(script), script.clone(), hash);
        self.by_sha.insert(script.sha, script.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::sha1_hex;

    #[test]
    fn scripts_are_found_by_text_and_by_sha1() {
        let lua = mlua::Lua::new();
        let mut scripts = Scripts::default();
        let texts: Vec<String> = (0..100).map(|number| format!("return {number}")).collect();
        for text in &texts {
            let body = text.as_bytes();
            let source = Arc::new(Source::new(body).unwrap());
            let function = lua.load(text).into_function().unwrap();
            let script = Rc::new(Compiled::new(sha1_hex(body), source, function));
            scripts.insert(&script);
            scripts.insert(&script);
        }
        for text in &texts {
            let body = text.as_bytes();
            let found = scripts.with_text(body).unwrap();
            assert_eq!(found.source().body(), body);
            let named = scripts.with_sha(&sha1_hex(body)).unwrap();
            assert!(Rc::ptr_eq(found, named));
        }
        assert_eq!(scripts.by_text.len(), texts.len());
        assert!(scripts.with_text(b"return 100").is_none());
    }
}
