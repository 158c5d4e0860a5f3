//! Users in files: lines of redis.conf, and the ACL file.

use super::rule_error::RuleError;
use super::selector::has_spaces;
use super::user::{Setting, User};
use crate::config::special::os_error_text;
use crate::whole_file::{Draft, sync_folder};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of an ACL file; far above any real one.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A `user` line of the configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Declaration {
    pub name: Box<[u8]>,
    /// The rules, each selector as one.
    pub rules: Vec<Zeroizing<Vec<u8>>>,
}

impl Declaration {
    /// The declaration of `words`, a name and rules. On error, the place of the rule among them.
    pub fn read(words: &[Vec<u8>]) -> Result<Declaration, (usize, RuleError)> {
        let Some((name, rules)) = words.split_first() else {
            return Err((0, RuleError::Syntax));
        };
        let rules: Vec<&[u8]> = rules.iter().map(Vec::as_slice).collect();
        Ok(Declaration {
            name: name.as_slice().into(),
            rules: merge_selectors(&rules).map_err(|index| (index, RuleError::Unmatched))?,
        })
    }
}

/// Puts selectors that were split at their blanks together again. On error, where one begins that
/// does not end.
pub(super) fn merge_selectors(words: &[&[u8]]) -> Result<Vec<Zeroizing<Vec<u8>>>, usize> {
    let mut merged = Vec::with_capacity(words.len());
    let mut open: Option<(usize, Zeroizing<Vec<u8>>)> = None;
    for (index, word) in words.iter().enumerate() {
        if word.starts_with(b"(") && !word.ends_with(b")") {
            open = Some((index, Zeroizing::new(word.to_vec())));
        } else if let Some((start, mut selector)) = open.take() {
            selector.push(b' ');
            // To Redis a further word ends at a zero.
            let end = memchr::memchr(0, word).unwrap_or(word.len());
            selector.extend_from_slice(&word[..end]);
            if word.ends_with(b")") {
                merged.push(selector);
            } else {
                open = Some((start, selector));
            }
        } else {
            merged.push(Zeroizing::new(word.to_vec()));
        }
    }
    match open {
        Some((start, _)) => Err(start),
        None => Ok(merged),
    }
}

/// The users of the ACL file `path`; on error, everything that is wrong with it in one line.
pub(super) fn read_file(
    path: &str,
    setting: Setting<'_>,
) -> Result<BTreeMap<Box<[u8]>, User>, Vec<u8>> {
    let text = read_bounded(path).map_err(|error| {
        let text = os_error_text(&error);
        format!("Error loading ACLs, opening file '{path}': {text}").into_bytes()
    })?;
    let mut users = BTreeMap::new();
    let mut faults = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = trim(line, b" \t\r\n");
        if !line.is_empty() {
            read_line(path, index + 1, line, setting, &mut users, &mut faults);
        }
    }
    if faults.is_empty() {
        return Ok(users);
    }
    faults.extend_from_slice(
        b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    );
    Err(faults)
}

fn read_bounded(path: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::new());
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(text)
}

fn read_line(
    path: &str,
    number: usize,
    line: &[u8],
    setting: Setting<'_>,
    users: &mut BTreeMap<Box<[u8]>, User>,
    faults: &mut Vec<u8>,
) {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let ([keyword, name, rules @ ..], true) = (&words[..], words[0] == b"user") else {
        faults.extend(
            format!("{path}:{number} should start with user keyword followed by the username. ")
                .bytes(),
        );
        return;
    };
    debug_assert_eq!(*keyword, b"user");
    if has_spaces(name) {
        faults.extend(format!("'{path}:{number}: username '").bytes());
        faults.extend_from_slice(name);
        faults.extend_from_slice(b"' contains invalid characters. ");
        return;
    }
    let Entry::Vacant(place) = users.entry(Box::from(*name)) else {
        faults.extend_from_slice(b"WARNING: Duplicate user '");
        faults.extend_from_slice(name);
        faults.extend(format!("' found on line {number}. ").bytes());
        return;
    };
    let user = place.insert(User::new(setting));
    let Ok(rules) = merge_selectors(rules) else {
        faults.extend(
            format!("{path}:{number}: Unmatched parenthesis in selector definition.").bytes(),
        );
        return;
    };
    let mut told = false;
    for rule in &rules {
        let rule = trim(rule, b"\t\r\n");
        match user.apply(setting, rule) {
            Ok(()) => {}
            // A name that does not exist is no secret.
            Err(error @ RuleError::UnknownCommand) => {
                faults.extend(format!("{path}:{number}: Error in applying operation '").bytes());
                faults.extend_from_slice(rule);
                faults.extend(format!("': {error}. ").bytes());
            }
            // Further errors may only follow from the first.
            Err(error) if !told => {
                faults.extend(format!("{path}:{number}: {error}. ").bytes());
                told = true;
            }
            Err(_) => {}
        }
    }
}

fn trim<'a>(text: &'a [u8], blanks: &[u8]) -> &'a [u8] {
    let is_text = |byte: &u8| !blanks.contains(byte);
    let start = text.iter().position(is_text).unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(is_text)
        .map_or(start, |last| last + 1);
    &text[start..end]
}

/// Replaces the ACL file `path` by one of these `lines`, each without the word `user`.
pub(super) fn write_file(path: &str, lines: &[Vec<u8>]) -> io::Result<()> {
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(b"user ");
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    let target = Path::new(path);
    let beside = PathBuf::from(format!("{path}.tmp-{}", std::process::id()));
    let mut draft = Draft::create(beside, target, 0o644)?;
    draft.write_all(&text)?;
    draft.replace()?;
    sync_folder(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whole_file::testing::{every_call_fails, folder};

    #[test]
    fn whatever_fails_the_file_is_whole() {
        let folder = folder();
        let path = folder.path().join("users.acl");
        every_call_fails(&path, |number| {
            let lines = [format!("alice on nopass ~{number}").into_bytes()];
            write_file(path.to_str().unwrap(), &lines)
        });
    }
}
