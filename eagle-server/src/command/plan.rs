//! Which slots a request needs locked.

use super::call::Batch;
use super::keys::{self, Slots};
use super::spec::{Categories, Flags, Scope};
use super::table::{Entry, queued_entry};
use crate::session::Session;
use eagle_core::store::{Access, Keyspace, KnownKey};

/// The slots a request locks, or all of them.
pub(super) enum Plan<'k> {
    LockFree,
    /// One: nearly all that lock any.
    Slot([u16; 1]),
    Slots(Slots),
    /// Those of keys that are looked at in this order.
    Row(Slots, Vec<KnownKey<'k>>),
    All,
}

impl Plan<'_> {
    /// The slots, if they are few.
    #[inline]
    pub(super) fn slots(&self) -> Option<&[u16]> {
        match self {
            Plan::Slot(slot) => Some(slot),
            Plan::Slots(slots) | Plan::Row(slots, _) => Some(slots),
            Plan::LockFree | Plan::All => None,
        }
    }

    /// What a view of these slots is given.
    #[inline]
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Plan::LockFree => Access::LockFree,
            Plan::Slot(slot) => Access::Slots(slot),
            Plan::Slots(slots) | Plan::Row(slots, _) => Access::Slots(slots),
            Plan::All => Access::All,
        }
    }
}

/// What a request locks, and its key if it has but one. Inlined into its two callers, as its result is large.
#[inline(always)]
pub(super) fn plan_known<'k>(
    batch: &mut Batch<'_>,
    entry: &'static Entry,
    session: &Session,
    argv: &[&'k [u8]],
) -> (Plan<'k>, Option<KnownKey<'k>>) {
    let clustered = batch.thread.node.cluster.is_some();
    let only = match entry.only_key {
        Some(position) => argv.get(position),
        None => only_key_of_script(entry, argv),
    };
    let Some(key) = only else {
        let row = plan_row(&batch.thread.node.keyspace, entry, argv);
        let plan = row.unwrap_or_else(|| plan(clustered, entry, session, argv));
        return (plan, None);
    };
    let known = batch.known.take(key);
    let known = known.unwrap_or_else(|| batch.thread.node.keyspace.know(key));
    let plan = match entry.command.scope {
        Scope::Keys => Plan::Slot([known.slot()]),
        Scope::LockFree => Plan::LockFree,
        Scope::All | Scope::Patterns => plan(clustered, entry, session, argv),
    };
    (plan, Some(known))
}

/// Where the first key of a request stands, by the name of its command. Right for most: a hint for prefetching.
#[inline]
pub fn key_at(name: &[u8]) -> usize {
    match name {
        // EVAL and FCALL with their kin, and nothing else.
        [b'e' | b'E', b'v' | b'V', ..] | [b'f' | b'F', b'c' | b'C', ..] => KEY_OF_SCRIPT,
        _ => 1,
    }
}

/// Behind the script and the number of keys.
const KEY_OF_SCRIPT: usize = 3;

/// The key of a script with one.
#[inline]
fn only_key_of_script<'a, 'k>(entry: &Entry, argv: &'a [&'k [u8]]) -> Option<&'a &'k [u8]> {
    let has_one = entry.command.runs_script() && argv.get(KEY_OF_SCRIPT - 1) == Some(&&b"1"[..]);
    has_one.then(|| argv.get(KEY_OF_SCRIPT)).flatten()
}

/// What a command locks that changes a row of keys, such as MSET: each is looked at for its slot now, and changed soon.
#[inline(never)]
fn plan_row<'k>(keyspace: &Keyspace, entry: &Entry, argv: &[&'k [u8]]) -> Option<Plan<'k>> {
    if entry.command.scope != Scope::Keys || !entry.has(Flags::WRITE) {
        return None;
    }
    let row = keys::row(entry, argv).filter(|row| row.len() > 1)?;
    let known: Vec<KnownKey<'k>> = row.map(|key| keyspace.know(key)).collect();
    let slots = keys::distinct(known.iter().map(KnownKey::slot));
    Some(Plan::Row(slots, known))
}

fn plan(
    clustered: bool,
    entry: &'static Entry,
    session: &Session,
    argv: &[&[u8]],
) -> Plan<'static> {
    let multi = session
        .multi
        .as_ref()
        .filter(|_| entry.command.name == "exec");
    let Some(multi) = multi else {
        return plan_one(entry, argv);
    };
    let mut all = Slots::new();
    for queued in multi.queue() {
        if !clustered && queued_entry(queued).command.runs_script() {
            // It may touch any key, and a transaction cannot begin again.
            return Plan::All;
        }
        match plan_one(queued_entry(queued), &queued.words()) {
            Plan::LockFree => {
                // Inside a transaction even reads must see one instant: those of a key lock its slot,
                // those without a key (KEYS, SCAN, DBSIZE) may look anywhere.
                let words = queued.words();
                let slots = keys::slots(&keys::find(queued_entry(queued), &words), &words);
                let categories = queued_entry(queued).command.family;
                if slots.is_empty() && !categories.has(Categories::CONNECTION) {
                    return Plan::All;
                }
                all.extend(slots);
            }
            Plan::Slot([slot]) => all.push(slot),
            Plan::Slots(slots) | Plan::Row(slots, _) => all.extend(slots),
            Plan::All => return Plan::All,
        }
    }
    all.sort_unstable();
    all.dedup();
    Plan::Slots(all)
}

fn plan_one(entry: &'static Entry, argv: &[&[u8]]) -> Plan<'static> {
    match entry.command.scope {
        Scope::LockFree => Plan::LockFree,
        Scope::All => Plan::All,
        Scope::Patterns if names_patterns(argv) => Plan::All,
        Scope::Keys | Scope::Patterns => Plan::Slots(keys::slots_of(entry, argv)),
    }
}

/// Whether BY or GET among the arguments names keys by a pattern.
pub(super) fn names_patterns(argv: &[&[u8]]) -> bool {
    argv.windows(2).any(|pair| {
        let names = pair[0].eq_ignore_ascii_case(b"by") || pair[0].eq_ignore_ascii_case(b"get");
        names && pair[1].contains(&b'*')
    })
}
