//! Sets: an intset while small and all integers, else a table of member blobs.
//!
//! ```text
//!   intset   entry blob: the intset
//!   table    entry blob: byte offset of the header of a member table; members have no value
//! ```
//!
//! A set never goes back to the intset by itself; what replaces a set whole (SUNIONSTORE, RESTORE) takes the form that
//! fits it.

use std::borrow::Cow;
use std::collections::HashSet;

use super::member_table::{MemberTable, Removal};
use crate::store::blob::Blob;
use crate::store::change::{Change, Contents, Here, Place};
use crate::store::encoding::intset::Intset;
use crate::store::entry::{Encoding, Kind, Text, Ttl};
use crate::store::error::StoreError;
use crate::store::medium::Reader;
use crate::text::integer::parse_i64;

/// A set in either form.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum SetForm<'a> {
    Intset(Intset<'a>),
    Table(MemberTable),
}

impl<'a> SetForm<'a> {
    /// The set in an entry's blob.
    pub(in crate::store) fn read(
        reader: &Reader<'a>,
        blob: &Blob,
    ) -> Result<SetForm<'a>, StoreError> {
        match blob.encoding() {
            _ if blob.kind() != Kind::Set => Err(StoreError::WrongType),
            Encoding::Hashtable => Ok(SetForm::Table(MemberTable::read(reader, blob))),
            _ => Ok(SetForm::Intset(Intset::new(blob.value(reader)))),
        }
    }

    /// Number of members.
    pub(in crate::store) fn len(&self, reader: &Reader<'_>) -> u64 {
        match self {
            SetForm::Intset(set) => set.len() as u64,
            SetForm::Table(table) => table.len(reader),
        }
    }

    /// Whether `member` is in the set.
    pub(in crate::store) fn contains(&self, reader: &Reader<'_>, member: &[u8]) -> bool {
        match self {
            SetForm::Intset(set) => parse_i64(member).is_some_and(|member| set.contains(member)),
            SetForm::Table(table) => table.contains(reader, member),
        }
    }
}

/// The integers that these members are, ascending and each once; `None` if one of them is none.
fn integers(members: impl Iterator<Item = Option<i64>>) -> Option<Vec<i64>> {
    let mut integers = members.collect::<Option<Vec<i64>>>()?;
    integers.sort_unstable();
    integers.dedup();
    Some(integers)
}

/// Members, each in the place of its first occurrence.
fn distinct<'m>(members: impl Iterator<Item = &'m [u8]>) -> Vec<&'m [u8]> {
    let mut seen = HashSet::new();
    members.filter(|member| seen.insert(*member)).collect()
}

impl Change<'_, '_> {
    /// Adds members to the set at a place, which is made if absent; the number of new ones.
    pub(in crate::store) fn add_members(
        &mut self,
        place: &Place<'_>,
        members: &[&[u8]],
    ) -> Result<usize, StoreError> {
        let reader = self.writer.reader();
        let old = match place.live() {
            Some(here) => Some(SetForm::read(&reader, &here.blob)?),
            None => None,
        };
        if members.is_empty() {
            return Ok(0);
        }
        match old {
            Some(SetForm::Table(table)) => {
                let mut new = 0;
                for member in members {
                    self.writer.settle();
                    new += usize::from(table.add(&mut self.writer, member)?);
                }
                if new > 0 {
                    self.note_change(place.db, place.key);
                }
                Ok(new)
            }
            Some(SetForm::Intset(set)) => self.add_to_intset(place, set, members, Ttl::Keep),
            None => self.add_to_intset(place, Intset::EMPTY, members, Ttl::Clear),
        }
    }

    fn add_to_intset(
        &mut self,
        place: &Place<'_>,
        set: Intset<'_>,
        members: &[&[u8]],
        ttl: Ttl,
    ) -> Result<usize, StoreError> {
        let entries_max = self.keyspace.settings().set_intset_entries_max();
        if let Some(mut new) = integers(members.iter().map(|member| parse_i64(member))) {
            new.retain(|&member| !set.contains(member));
            if new.is_empty() {
                return Ok(0);
            }
            if set.len() + new.len() <= entries_max {
                self.put_value(place, (Kind::Set, Encoding::Intset), &set.with(&new), ttl)?;
                return Ok(new.len());
            }
        }
        let mut buffers = vec![itoa::Buffer::new(); set.len()];
        let known = buffers
            .iter_mut()
            .zip(set.iter())
            .map(|(buffer, member)| buffer.format(member).as_bytes());
        let all = distinct(known.chain(members.iter().copied()));
        self.put_set_table(place, &all, ttl)?;
        Ok(all.len() - set.len())
    }

    /// Replaces whatever is at a place by a set of these members, which are distinct. No members: removes it.
    pub(in crate::store) fn put_set(
        &mut self,
        place: &Place<'_>,
        members: &[Text<'_>],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        if members.is_empty() {
            self.remove(place, Contents::Discard)?;
            return Ok(());
        }
        let entries_max = self.keyspace.settings().set_intset_entries_max();
        if let Some(integers) = integers(members.iter().map(Text::integer))
            && integers.len() <= entries_max
        {
            let value = Intset::EMPTY.with(&integers);
            return self.put_value(place, (Kind::Set, Encoding::Intset), &value, ttl);
        }
        let members: Vec<Cow<'_, [u8]>> = members.iter().map(Text::to_cow).collect();
        let members: Vec<&[u8]> = members.iter().map(Cow::as_ref).collect();
        self.put_set_table(place, &members, ttl)
    }

    fn put_set_table(
        &mut self,
        place: &Place<'_>,
        members: &[&[u8]],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        let members = members.iter().map(|&member| (member, &b""[..]));
        let table = MemberTable::build(&mut self.writer, members)?;
        self.put_value(
            place,
            (Kind::Set, Encoding::Hashtable),
            &table.to_bytes(),
            ttl,
        )
    }

    /// Removes members of the set at a place, and the set with the last one; the number removed.
    pub(in crate::store) fn remove_members(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        members: &[&[u8]],
    ) -> Result<usize, StoreError> {
        let reader = self.writer.reader();
        let removal = match SetForm::read(&reader, &here.blob)? {
            SetForm::Table(table) => table.remove_all(&mut self.writer, members)?,
            SetForm::Intset(set) => {
                let mut gone: Vec<i64> = members.iter().copied().filter_map(parse_i64).collect();
                gone.sort_unstable();
                let Some(value) = set.without(|member| gone.binary_search(&member).is_ok()) else {
                    return Ok(0);
                };
                let left = Intset::new(&value).len();
                if left == 0 {
                    Removal::All(set.len())
                } else {
                    self.put_value(place, (Kind::Set, Encoding::Intset), &value, Ttl::Keep)?;
                    return Ok(set.len() - left);
                }
            }
        };
        match removal {
            Removal::Some(0) => Ok(0),
            Removal::Some(removed) => {
                self.note_change(place.db, place.key);
                Ok(removed)
            }
            Removal::All(removed) => {
                self.remove(place, Contents::Discard)?;
                Ok(removed)
            }
        }
    }
}
