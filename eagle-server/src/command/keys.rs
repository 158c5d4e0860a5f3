//! Finding the keys among a command's arguments, by its key specs.

use super::spec::{BeginSearch, FindKeys, KeyFlags, KeySpec};
use super::table::Entry;
use eagle_core::store::key_slot;
use smallvec::SmallVec;

/// A key's position among the arguments and what is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef {
    pub position: usize,
    pub flags: KeyFlags,
}

pub type KeyRefs = SmallVec<[KeyRef; 4]>;

/// Ascending, distinct hash slots.
pub type Slots = SmallVec<[u16; 4]>;

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
        if !spec.flags.has(KeyFlags::NOT_KEY) && !find_by_spec(spec, argv, &mut found) {
            return KeyRefs::new();
        }
    }
    found
}

/// The keys as `COMMAND GETKEYS` and ACL rules see them: where specs say everything they are preferred to the
/// command's own way of finding keys, which leaves out words that a later one overrules.
pub fn find_declared(entry: &Entry, argv: &[&[u8]]) -> KeyRefs {
    let is_vague = |spec: &KeySpec| {
        spec.flags.has(KeyFlags::INCOMPLETE)
            || matches!(spec.begin, BeginSearch::Unknown)
            || matches!(spec.find, FindKeys::Unknown)
    };
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
            && (is_vague(spec) || !find_by_spec(spec, argv, &mut found))
        {
            return find(entry, argv);
        }
    }
    match found.is_empty() {
        true => find(entry, argv),
        false => found,
    }
}

/// Channels and other routed words that are not keys count for routing too.
pub fn find_routed(entry: &Entry, argv: &[&[u8]]) -> KeyRefs {
    if let Some(find) = entry.command.find_keys {
        return find(argv);
    }
    let mut found = KeyRefs::new();
    for spec in entry.command.keys {
        if !find_by_spec(spec, argv, &mut found) {
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

/// Whether the arguments fit the spec.
fn find_by_spec(spec: &KeySpec, argv: &[&[u8]], found: &mut KeyRefs) -> bool {
    let Some(begin) = begin(spec.begin, argv) else {
        return true;
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
            let count = argv
                .get(begin + usize::from(index))
                .map(|word| leading_number(word));
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

/// A number of keys as the C library reads it: white space before it and anything behind it do not matter. The command
/// itself may be stricter.
fn leading_number(word: &[u8]) -> i64 {
    let word = word.trim_ascii_start();
    let digits = word.strip_prefix(b"+").unwrap_or(word);
    digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0i64, |number, byte| {
            number
                .saturating_mul(10)
                .saturating_add(i64::from(byte - b'0'))
        })
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
    let mut slots: Slots = keys
        .iter()
        .map(|key| key_slot(argv[key.position]))
        .collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}
