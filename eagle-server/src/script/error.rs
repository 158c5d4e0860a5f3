//! Why a script or library does not run at all: what the client is told.

use std::fmt;

/// The text of an error reply. It may quote the script, so it need not be UTF-8.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptError(pub Vec<u8>);

impl ScriptError {
    /// The same behind a few words on what was being done.
    pub fn behind(self, words: &str) -> ScriptError {
        ScriptError([words.as_bytes(), &self.0].concat())
    }
}

impl From<String> for ScriptError {
    fn from(text: String) -> ScriptError {
        ScriptError(text.into_bytes())
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}
