//! Union, intersection and difference of sets.
//!
//! The slots of all sets are locked. A missing key is an empty set, `None`. Results come in the order that a set made
//! of them would have: ascending if they fit an intset, else in no order that means anything.

use std::collections::HashSet;

use super::entry::Text;
use super::set_ref::SetRef;

/// A set, or nothing.
type Operand<'v, 'a> = Option<SetRef<'v, 'a>>;

/// The members that all sets have, at most `limit` of them, in the order of the smallest set.
pub fn intersection<'a>(sets: &[Operand<'_, 'a>], limit: usize, visit: &mut dyn FnMut(Text<'a>)) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<_>>>() else {
        return;
    };
    sets.sort_by_key(SetRef::len);
    let Some((smallest, others)) = sets.split_first() else {
        return;
    };
    let mut buffer = itoa::Buffer::new();
    let common = smallest.iter().filter(|member| {
        let bytes = member.as_bytes(&mut buffer);
        others.iter().all(|set| set.contains(bytes))
    });
    common.take(limit).for_each(visit);
}

/// The members that any set has.
pub fn union<'a>(sets: &[Operand<'_, 'a>], intset_entries_max: usize) -> Vec<Text<'a>> {
    /// Sets before a member's own up to which they are asked for it; if there are more, all members are remembered.
    const ASKED_MAX: usize = 4;
    let sets: Vec<SetRef<'_, 'a>> = sets.iter().flatten().copied().collect();
    let mut members = Vec::new();
    if sets.len() <= ASKED_MAX + 1 {
        let longest = sets.iter().map(SetRef::len).max();
        members.reserve(longest.unwrap_or(0) as usize);
        let mut buffer = itoa::Buffer::new();
        for (number, set) in sets.iter().enumerate() {
            let is_new = |member: &Text<'a>, buffer: &mut itoa::Buffer| {
                let bytes = member.as_bytes(buffer);
                !sets[..number].iter().any(|set| set.contains(bytes))
            };
            let new = set.iter().filter(|member| is_new(member, &mut buffer));
            members.extend(new.map(Text::canonical));
        }
    } else {
        let mut seen = HashSet::new();
        let all = sets.iter().flat_map(SetRef::iter).map(Text::canonical);
        members.extend(all.filter(|member| seen.insert(*member)));
    }
    arranged(members, intset_entries_max)
}

/// The members of the first set that no other one has.
pub fn difference<'a>(sets: &[Operand<'_, 'a>], intset_entries_max: usize) -> Vec<Text<'a>> {
    let Some((Some(first), others)) = sets.split_first() else {
        return Vec::new();
    };
    let mut others: Vec<SetRef<'_, 'a>> = others.iter().flatten().copied().collect();
    let removed: u64 = others.iter().map(SetRef::len).sum();
    // Asking every other set for each member, or taking the others' members out of a copy: what touches fewer
    // members. The first way stops early and gets an advantage for it.
    let asked = first.len().saturating_mul(others.len() as u64 + 1) / 2;
    let members = if asked <= first.len().saturating_add(removed) {
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        let mut buffer = itoa::Buffer::new();
        let left = first.iter().filter(|member| {
            let bytes = member.as_bytes(&mut buffer);
            !others.iter().any(|set| set.contains(bytes))
        });
        left.map(|member| member.canonical()).collect()
    } else {
        let mut left: HashSet<Text<'a>> = first.iter().map(|member| member.canonical()).collect();
        for member in others.iter().flat_map(SetRef::iter) {
            left.remove(&member.canonical());
            if left.is_empty() {
                break;
            }
        }
        left.into_iter().collect()
    };
    arranged(members, intset_entries_max)
}

/// The members, which are canonical, in the order of the set they would make.
fn arranged(mut members: Vec<Text<'_>>, intset_entries_max: usize) -> Vec<Text<'_>> {
    let number = |member: &Text<'_>| match member {
        Text::Int(number) => Some(*number),
        Text::Bytes(_) => None,
    };
    if members.len() <= intset_entries_max && members.iter().all(|member| number(member).is_some())
    {
        members.sort_unstable_by_key(number);
    }
    members
}
