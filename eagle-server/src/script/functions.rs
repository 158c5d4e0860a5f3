//! Libraries of functions: a part of the dataset, kept in the pool's catalogue as FUNCTION DUMP spells them.
//!
//! Only the code is kept. What a library registers is learned by running it, at the start and when it is loaded.

use super::error::ScriptError;
use super::shebang::{self, ScriptFlags};
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A function as its library registered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub description: Option<Vec<u8>>,
    pub flags: ScriptFlags,
}

/// A library.
#[derive(Debug)]
pub struct Library {
    pub name: String,
    /// All of it, the first line included.
    pub code: Box<[u8]>,
    pub functions: Vec<Function>,
}

impl Library {
    /// The name that the code of a library gives; the error is the reply's text.
    pub fn name_in(code: &[u8]) -> Result<String, ScriptError> {
        shebang::of_library(code).map(|(name, _)| name)
    }

    pub fn function(&self, name: &[u8]) -> Option<&Function> {
        self.functions
            .iter()
            .find(|function| function.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// What restoring does with libraries that are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// All go.
    Flush,
    /// None may bear the name of a new one.
    Append,
    /// Those of the same name go.
    Replace,
}

/// All libraries at one time.
#[derive(Clone, Debug, Default)]
pub struct Libraries {
    by_name: BTreeMap<String, Arc<Library>>,
    /// Function name in lower case to library: functions are called in any case.
    by_function: HashMap<String, Arc<Library>>,
}

impl Libraries {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn functions(&self) -> usize {
        self.by_function.len()
    }

    pub fn library(&self, name: &str) -> Option<&Arc<Library>> {
        self.by_name.get(name)
    }

    /// The library that has a function of this name.
    pub fn with_function(&self, name: &[u8]) -> Option<&Arc<Library>> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.by_function.get(&name)
    }

    /// Removes a library; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(library) = self.by_name.remove(name) else {
            return false;
        };
        for function in &library.functions {
            self.by_function.remove(&function.name.to_ascii_lowercase());
        }
        true
    }

    /// Adds libraries; the error is the reply's text, and nothing is changed then.
    pub fn add(&mut self, new: Vec<Library>, policy: Policy) -> Result<(), String> {
        self.join_all(new.into_iter().map(Arc::new).collect(), policy)
    }

    /// Adds all of the other libraries; the error is the reply's text, and nothing is changed then.
    pub fn join(&mut self, other: Libraries, policy: Policy) -> Result<(), String> {
        self.join_all(other.by_name.into_values().collect(), policy)
    }

    fn join_all(&mut self, new: Vec<Arc<Library>>, policy: Policy) -> Result<(), String> {
        let mut joined = match policy {
            Policy::Flush => Libraries::default(),
            Policy::Append | Policy::Replace => self.clone(),
        };
        for library in &new {
            if joined.by_name.contains_key(&library.name) {
                if policy != Policy::Replace {
                    return Err(format!("ERR Library {} already exists", library.name));
                }
                joined.remove(&library.name);
            }
        }
        for library in new {
            for function in &library.functions {
                let name = &function.name;
                let lower = name.to_ascii_lowercase();
                let known = joined.by_function.insert(lower, library.clone());
                if known.is_some() {
                    return Err(format!("ERR Function {name} already exists"));
                }
            }
            joined.by_name.insert(library.name.clone(), library);
        }
        *self = joined;
        Ok(())
    }

    /// Bytes the sources and descriptions take, roughly.
    pub fn bytes(&self) -> usize {
        const OVERHEAD: usize = size_of::<Library>() + size_of::<Function>();
        self.iter()
            .map(|library| {
                library.code.len() + library.name.len() + OVERHEAD * library.functions.len()
            })
            .sum()
    }
}

/// The libraries of a node; readers take a snapshot.
#[derive(Default)]
pub struct Registry(RwLock<Arc<Libraries>>);

impl Registry {
    pub fn snapshot(&self) -> Arc<Libraries> {
        self.0.read().clone()
    }

    /// Puts other libraries in their place. Callers have all slots locked, or nobody is served yet.
    pub fn replace(&self, libraries: Libraries) {
        let old = std::mem::replace(&mut *self.0.write(), Arc::new(libraries));
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, functions: &[&str]) -> Library {
        let functions = functions.iter().map(|name| Function {
            name: (*name).to_owned(),
            description: None,
            flags: ScriptFlags::default(),
        });
        Library {
            name: name.to_owned(),
            code: Box::default(),
            functions: functions.collect(),
        }
    }

    #[test]
    fn libraries_collide_by_name_and_by_function() {
        let mut all = Libraries::default();
        all.add(vec![library("a", &["f", "g"])], Policy::Append)
            .unwrap();
        let again = all.add(vec![library("a", &["h"])], Policy::Append);
        assert_eq!(again, Err("ERR Library a already exists".to_owned()));
        let other = all.add(vec![library("b", &["g"])], Policy::Replace);
        assert_eq!(other, Err("ERR Function g already exists".to_owned()));
        assert_eq!((all.len(), all.functions()), (1, 2));
        all.add(vec![library("a", &["h"])], Policy::Replace)
            .unwrap();
        assert!(all.with_function(b"f").is_none() && all.with_function(b"h").is_some());
        all.add(vec![library("b", &["g"])], Policy::Flush).unwrap();
        assert!(all.library("a").is_none() && all.remove("b") && all.functions() == 0);
    }
}
