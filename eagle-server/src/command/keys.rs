//! Finding the keys among a command's arguments, by its key specs.

use super::spec::{BeginSearch, FindKeys, KeyFlags, KeySpec};
use super::table::Entry;
use eagle_core::store::key_slot;
use eagle_core::text::integer::parse_i64;
use smallvec::SmallVec;

/// A key's position among the arguments and what is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef {
    pub position: usize,
    pub flags: KeyFlags,
}

pub type KeyRefs = SmallVec<[KeyRef; 4]>;

/// Ascending, distinct hash slots.
pub type Slots = SmallVec<[u16; 12]>;

/// Positions of all keys of `argv`, in spec order. If the arguments do not fit one of the specs there are no
/// keys at all: the handler will refuse them itself.
pub fn find(entry: &Entry, argv: &[&[u8]]) -> KeyRefs {
    if let Some(find) = entry.command.find_keys {
        let mut found = find(argv);
        found.retain(|key| !key.flags.has(KeyFlags::NOT_KEY));
        return found;
    }
    let mut found = KeyRefs::new();
    for spec in entry.command.keys {
        if !spec.flags.has(KeyFlags::NOT_KEY)
            && !find_by_spec(spec, argv, Reading::Routed, &mut found)
        {
            return KeyRefs::new();
        }
    }
    found
}

/// The keys as `COMMAND GETKEYS` and ACL rules see them: where specs say everything they are preferred to the
/// command's own way of finding keys, which leaves out words that a later one overrules.
pub fn find_declared(entry: &Entry, argv: &[&[u8]]) -> KeyRefs {
    let specs = entry.command.keys;
    if specs
        .iter()
        .any(|spec| spec.flags.has(KeyFlags::VARIABLE_FLAGS))
    {
        return find(entry, argv);
    }
    let mut found = KeyRefs::new();
    for spec in specs {
        if !spec.flags.has(KeyFlags::NOT_KEY)
            && (is_vague(spec) || !find_by_spec(spec, argv, Reading::Declared, &mut found))
        {
            return find_undeclared(entry, argv);
        }
    }
    found
}

/// Whether a spec does not say where all its keys are.
fn is_vague(spec: &KeySpec) -> bool {
    spec.flags.has(KeyFlags::INCOMPLETE)
        || matches!(spec.begin, BeginSearch::Unknown)
        || matches!(spec.find, FindKeys::Unknown)
}

/// The keys where specs do not help. Redis has functions for commands with vague specs, and others that count keys after
/// a number more generously than specs do, know nothing of flags and name the destination last. Other commands have no
/// keys then.
fn find_undeclared(entry: &Entry, argv: &[&[u8]]) -> KeyRefs {
    let specs = entry.command.keys;
    let counts = |spec: &KeySpec| matches!(spec.find, FindKeys::KeyNum { .. });
    if entry.command.find_keys.is_some() || specs.iter().any(is_vague) {
        return find(entry, argv);
    }
    if !specs.iter().any(counts) {
        return KeyRefs::new();
    }
    let mut found = find(entry, argv);
    if !found.is_empty() && !counts(&specs[0]) {
        found.rotate_left(1);
    }
    for key in &mut found {
        key.flags = KeyFlags::all(&[]);
    }
    found
}

/// Channels and other routed words that are not keys count for routing too.
pub fn find_routed(entry: &Entry, argv: &[&[u8]]) -> KeyRefs {
    if let Some(find) = entry.command.find_keys {
        return find(argv);
    }
    let mut found = KeyRefs::new();
    for spec in entry.command.keys {
        if !find_by_spec(spec, argv, Reading::Routed, &mut found) {
            return KeyRefs::new();
        }
    }
    found
}

/// The slot of the first word that routes the command.
pub fn routed_slot(entry: &Entry, argv: &[&[u8]]) -> Option<u16> {
    let found = find_routed(entry, argv);
    found.first().map(|key| key_slot(argv[key.position]))
}

/// How strictly arguments are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// As the C functions of the commands do, by which a request is routed.
    Routed,
    /// As the specs say.
    Declared,
}

/// Whether the arguments fit the spec.
fn find_by_spec(spec: &KeySpec, argv: &[&[u8]], reading: Reading, found: &mut KeyRefs) -> bool {
    let Some(begin) = begin(spec.begin, argv) else {
        // A keyword may be left out; a position may not.
        return reading == Reading::Routed || !matches!(spec.begin, BeginSearch::Index(_));
    };
    match spec.find {
        FindKeys::Unknown => true,
        FindKeys::Range { last, step, limit } => {
            let end = if last >= 0 {
                begin + last as usize
            } else if limit > 1 {
                begin + (argv.len() - begin) / usize::from(limit) - 1
            } else {
                match argv.len().checked_sub(last.unsigned_abs().into()) {
                    Some(end) => end,
                    None => return false,
                }
            };
            push_range(begin, end, step, argv.len(), spec.flags, found)
        }
        FindKeys::KeyNum { index, first, step } => {
            let count = argv.get(begin + usize::from(index));
            let count = count.and_then(|word| match reading {
                Reading::Routed => Some(leading_number(word)),
                Reading::Declared => parse_i64(word).map(|count| count as i32),
            });
            let Some(count) = count
                .and_then(|count| usize::try_from(count).ok())
                .filter(|count| *count > 0)
            else {
                return false;
            };
            let first = begin + usize::from(first);
            let Some(end) = (count - 1)
                .checked_mul(step.into())
                .and_then(|span| span.checked_add(first))
            else {
                return false;
            };
            push_range(first, end, step, argv.len(), spec.flags, found)
        }
    }
}

/// A number of keys as `atoi` reads it: white space before it and anything behind it do not matter. The command itself
/// may be stricter.
fn leading_number(word: &[u8]) -> i32 {
    let word = word.trim_ascii_start();
    let (sign, digits) = match word {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    let number =
        digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0i64, |number, byte| {
                number
                    .saturating_mul(10)
                    .saturating_add(sign * i64::from(byte - b'0'))
            });
    // It is a `long` at first.
    number as i32
}

/// Pushes nothing, and says so, when the range leaves the arguments.
fn push_range(
    first: usize,
    last: usize,
    step: u16,
    argc: usize,
    flags: KeyFlags,
    found: &mut KeyRefs,
) -> bool {
    let is_within = last < argc && first <= last;
    if is_within {
        found.extend(
            (first..=last)
                .step_by(step.into())
                .map(|position| KeyRef { position, flags }),
        );
    }
    is_within
}

fn begin(begin: BeginSearch, argv: &[&[u8]]) -> Option<usize> {
    match begin {
        BeginSearch::Index(position) => {
            Some(usize::from(position)).filter(|position| *position < argv.len())
        }
        BeginSearch::Unknown => None,
        BeginSearch::Keyword { keyword, start } => {
            let matches =
                |position: &usize| argv[*position].eq_ignore_ascii_case(keyword.as_bytes());
            let at = if start >= 0 {
                (start as usize..argv.len()).find(matches)
            } else {
                let from = argv.len().checked_sub(start.unsigned_abs().into())?;
                (1..=from).rev().find(matches)
            };
            at.map(|position| position + 1)
                .filter(|position| *position < argv.len())
        }
    }
}

/// The slots to lock for `keys`.
pub fn slots(keys: &[KeyRef], argv: &[&[u8]]) -> Slots {
    ascending(keys.iter().map(|key| argv[key.position]))
}

/// The slots to lock for all keys of `argv`.
pub fn slots_of(entry: &Entry, argv: &[&[u8]]) -> Slots {
    match row(entry, argv) {
        Some(keys) => ascending(keys),
        None => slots(&find(entry, argv), argv),
    }
}

/// The keys of a command that has them in one row up to the end, as most commands of several keys do: there is nothing to
/// look for.
pub fn row<'a, 'k>(
    entry: &Entry,
    argv: &'a [&'k [u8]],
) -> Option<impl ExactSizeIterator<Item = &'k [u8]> + use<'a, 'k>> {
    if let (None, [spec]) = (entry.command.find_keys, entry.command.keys)
        && !spec.flags.has(KeyFlags::NOT_KEY)
        && let (
            BeginSearch::Index(first),
            FindKeys::Range {
                last: -1,
                step,
                limit: 0..=1,
            },
        ) = (spec.begin, spec.find)
        && let Some(row) = argv.get(first.into()..)
    {
        return Some(row.iter().step_by(step.into()).copied());
    }
    None
}

fn ascending<'k>(keys: impl Iterator<Item = &'k [u8]>) -> Slots {
    distinct(keys.map(key_slot))
}

/// These slots, in the order in which they are locked.
pub fn distinct(all: impl Iterator<Item = u16>) -> Slots {
    let mut slots = Slots::new();
    for slot in all {
        slots.push(slot);
    }
    slots.sort_unstable();
    slots.dedup();
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::table;

    #[test]
    fn slots_are_those_of_the_keys_whichever_way_they_are_found() {
        let words: [&[u8]; 7] = [b"name", b"a", b"2", b"c", b"d", b"e", b"f"];
        let mut rows = 0;
        for entry in table().entries() {
            let fits = |count: &usize| entry.command.accepts(*count);
            for count in (1..=words.len()).filter(fits) {
                let argv = &words[..count];
                let found = slots(&find(entry, argv), argv);
                assert_eq!(slots_of(entry, argv), found, "{} {count}", entry.full_name);
                rows += usize::from(found.len() > 1);
            }
        }
        assert!(rows > 10, "commands of several keys are among them");
    }
}
