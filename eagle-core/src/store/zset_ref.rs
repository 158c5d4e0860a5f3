//! A sorted set as a view sees it, and a view's changes of it.

use super::object::PackedIf;
use std::ops::Range;

use super::btree::Cursor;
use super::change::Contents;
use super::dash::hash::POSITION_BITS;
use super::dash::walk;
use super::encoding::packed_zset::Scored;
use super::encoding::score::order_key;
use super::entry::{Encoding, Ttl};
use super::error::StoreError;
use super::medium::Reader;
use super::object::zset::{AddRule, Added, Member, Ranks, RemovedMembers, ZsetForm};
use super::view::View;
use super::zset_range::{LexRange, ScoreRange};
use crate::sync::ReadStamp;

/// A sorted set as a view sees it.
///
/// Without a lock [`len`](ZsetRef::len) and [`score`](ZsetRef::score) are atomic each by itself; everything else wants
/// the slot locked. Ranks count from the lowest score, beginning with 0.
#[derive(Clone, Copy)]
pub struct ZsetRef<'v, 'a> {
    view: &'v View<'a>,
    db: u8,
    slot: u16,
    key: &'v [u8],
    form: ZsetForm<'a>,
    stamp: Option<ReadStamp>,
}

impl<'a> View<'a> {
    /// The sorted set at `key`.
    pub fn zset<'v>(
        &'v self,
        db: u8,
        key: &'v [u8],
    ) -> Result<Option<ZsetRef<'v, 'a>>, StoreError> {
        let slot = self.slot_of(key);
        let (form, stamp) = self.read(slot, |reader| {
            self.lookup(reader, db, slot, key)
                .map(|here| ZsetForm::read(reader, &here.blob))
                .transpose()
        });
        Ok(form?.map(|form| ZsetRef {
            view: self,
            db,
            slot,
            key,
            form,
            stamp,
        }))
    }

    /// Adds members to the sorted set at `key`, one after another; it is made if absent.
    pub fn zset_add(
        &mut self,
        db: u8,
        key: &[u8],
        members: &[(&[u8], f64)],
        rule: AddRule,
    ) -> Result<Added, StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.add_scored(&place, members, rule)
        })
    }

    /// Removes members. A sorted set without members is removed.
    pub fn zset_remove(
        &mut self,
        db: u8,
        key: &[u8],
        members: &[&[u8]],
    ) -> Result<RemovedMembers, StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            match place.live() {
                Some(here) => change.remove_scored(&place, here, members),
                None => change
                    .remove(&place, Contents::Discard)
                    .map(|_| RemovedMembers::default()),
            }
        })
    }

    /// Removes the members of these ranks.
    pub fn zset_remove_ranks(
        &mut self,
        db: u8,
        key: &[u8],
        ranks: Range<u64>,
    ) -> Result<RemovedMembers, StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            match place.live() {
                Some(here) => change.remove_ranks(&place, here, ranks),
                None => change
                    .remove(&place, Contents::Discard)
                    .map(|_| RemovedMembers::default()),
            }
        })
    }

    /// Replaces whatever `key` holds by a sorted set of these distinct members. No members: removes the key.
    pub fn set_zset(
        &mut self,
        db: u8,
        key: &[u8],
        members: &[(&[u8], f64)],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.replace_zset(db, key, members, PackedIf::Small, ttl)
    }

    /// The same for one that came packed: it stays so, however long its members are.
    pub fn set_packed_zset(
        &mut self,
        db: u8,
        key: &[u8],
        members: &[(&[u8], f64)],
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.replace_zset(db, key, members, PackedIf::Few, ttl)
    }

    fn replace_zset(
        &mut self,
        db: u8,
        key: &[u8],
        members: &[(&[u8], f64)],
        packed_if: PackedIf,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        self.change(|change| {
            let place = change.place(db, key);
            change.put_zset(&place, members, packed_if, ttl)
        })
    }
}

impl<'a> ZsetRef<'_, 'a> {
    /// Reads the set. Without a lock: if the slot has changed since the set was found, finds it again, and answers
    /// `gone` if it is no longer there.
    fn read<T>(&self, gone: T, read: impl Fn(&Reader<'a>, &ZsetForm<'a>) -> T) -> T {
        let result = read(&self.view.reader(), &self.form);
        let Some(stamp) = self.stamp else {
            return result;
        };
        if matches!(self.form, ZsetForm::Packed(_))
            || self.view.keyspace().slots().validate(self.slot, stamp)
        {
            return result;
        }
        let again = |reader: &Reader<'a>| {
            let here = self.view.lookup(reader, self.db, self.slot, self.key)?;
            let form = ZsetForm::read(reader, &here.blob).ok()?;
            Some(read(reader, &form))
        };
        self.view.read(self.slot, again).0.unwrap_or(gone)
    }

    /// The set, for what walks its tree.
    fn locked(&self) -> (Reader<'a>, ZsetForm<'a>) {
        debug_assert!(self.stamp.is_none(), "a tree is read under the lock");
        (self.view.reader(), self.form)
    }

    /// Number of members; zero only if the set has gone since it was found, which a lock prevents.
    pub fn len(&self) -> u64 {
        self.read(0, |reader, form| form.len(reader))
    }

    /// Whether the set has gone since it was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `listpack` or `skiplist`.
    pub fn encoding(&self) -> Encoding {
        match self.form {
            ZsetForm::Packed(_) => Encoding::Listpack,
            ZsetForm::Sorted(_) => Encoding::Skiplist,
        }
    }

    /// The score of `member`.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.read(None, |reader, form| form.score(reader, member))
    }

    /// The rank of `member`.
    pub fn rank(&self, member: &[u8]) -> Option<u64> {
        let (reader, form) = self.locked();
        match form {
            ZsetForm::Packed(packed) => packed
                .iter()
                .position(|(name, _)| name == member)
                .map(|rank| rank as u64),
            ZsetForm::Sorted(sorted) => {
                let score = form.score(&reader, member)?;
                Some(sorted.place(&reader, (member, score)).position(&reader))
            }
        }
    }

    /// The ranks of the members whose scores lie in a range.
    pub fn ranks_by_score(&self, range: &ScoreRange) -> Range<u64> {
        let (reader, form) = self.locked();
        let (start, end) = match form {
            ZsetForm::Packed(packed) => {
                let count = |before: &dyn Fn(u64) -> bool| {
                    let scores = packed.iter().map(|(_, score)| order_key(score));
                    scores.take_while(|&key| before(key)).count() as u64
                };
                (
                    count(&|key| range.is_above(key)),
                    count(&|key| range.reaches(key)),
                )
            }
            ZsetForm::Sorted(sorted) => {
                let rank = |before: &dyn Fn(u64) -> bool| {
                    let cursor = sorted.tree().seek(&reader, |entry| before(entry.a));
                    cursor.position(&reader)
                };
                (
                    rank(&|key| range.is_above(key)),
                    rank(&|key| range.reaches(key)),
                )
            }
        };
        start..end.max(start)
    }

    /// The ranks of the members that lie in a range by their bytes, all having the same score. If they have not, the
    /// answer is what a search from the lower end finds, or from the upper end if `from_end`.
    pub fn ranks_by_lex(&self, range: &LexRange<'_>, from_end: bool) -> Range<u64> {
        let (reader, form) = self.locked();
        if range.is_empty() {
            return 0..0;
        }
        let (start, end) = match form {
            ZsetForm::Packed(packed) => {
                let names: Vec<&[u8]> = packed.iter().map(|(name, _)| name).collect();
                packed_lex(&names, range, from_end)
            }
            ZsetForm::Sorted(sorted) => {
                let rank = |before: &dyn Fn(&[u8]) -> bool| {
                    let cursor = sorted.tree().seek(&reader, |entry| {
                        before(Member::read(&reader, entry.b).name(&reader))
                    });
                    cursor.position(&reader)
                };
                (
                    rank(&|name| range.is_above(name)),
                    rank(&|name| range.reaches(name)),
                )
            }
        };
        start..end.max(start)
    }

    /// The members of these ranks, from the first or from the last.
    pub fn range(&self, ranks: Range<u64>, reverse: bool) -> ZsetIter<'a> {
        let (reader, form) = self.locked();
        let len = form.len(&reader);
        let (start, end) = (ranks.start.min(len), ranks.end.min(len));
        let left = end.saturating_sub(start);
        match form {
            ZsetForm::Packed(packed) => {
                let members = packed.iter().skip(start as usize).take(left as usize);
                let mut members: Vec<Scored<'a>> = members.collect();
                if reverse {
                    members.reverse();
                }
                ZsetIter(Inner::Packed(members.into_iter()))
            }
            ZsetForm::Sorted(sorted) => {
                let from = if reverse { end } else { start };
                let cursor = sorted.tree().seek_weight(&reader, from).0;
                ZsetIter(Inner::Sorted {
                    reader,
                    cursor,
                    reverse,
                    left,
                })
            }
        }
    }

    /// All members in order.
    pub fn iter(&self) -> ZsetIter<'a> {
        self.range(0..u64::MAX, false)
    }

    /// Visits some members, at least `count` unless the end comes first, and returns the cursor to go on with;
    /// zero begins and ends. A packed set is visited whole.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&'a [u8], f64)) -> u64 {
        let (reader, form) = self.locked();
        let sorted = match form {
            ZsetForm::Packed(packed) => {
                packed.iter().for_each(|(name, score)| visit(name, score));
                return 0;
            }
            ZsetForm::Sorted(sorted) => sorted,
        };
        let mut position = cursor & ((1 << POSITION_BITS) - 1);
        let mut visited = 0;
        loop {
            let next = walk::scan(&reader, sorted.root(&reader), position, &mut |record| {
                let (name, score) = Member::read(&reader, record.blob()).scored(&reader);
                visit(name, score);
                visited += 1;
            });
            match next {
                None => return 0,
                Some(next) if visited >= count => return next,
                Some(next) => position = next,
            }
        }
    }

    /// A member drawn uniformly with `rng`.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> (&'a [u8], f64) {
        let (reader, form) = self.locked();
        let drawn = match form {
            ZsetForm::Packed(packed) => {
                let n = rng() % packed.len().max(1) as u64;
                packed.iter().nth(n as usize)
            }
            ZsetForm::Sorted(sorted) => walk::random(&reader, sorted.root(&reader), rng)
                .map(|record| Member::read(&reader, record.blob()).scored(&reader)),
        };
        drawn.unwrap_or((b"", 0.0))
    }
}

/// [`ZsetRef::ranks_by_lex`] of a packed set's members.
fn packed_lex(names: &[&[u8]], range: &LexRange<'_>, from_end: bool) -> (u64, u64) {
    let (Some(first), Some(last)) = (names.first(), names.last()) else {
        return (0, 0);
    };
    if range.is_above(last) || !range.reaches(first) {
        return (0, 0);
    }
    let within = |name: &&&[u8]| !range.is_above(name) && range.reaches(name);
    if from_end {
        let end = names.iter().rposition(|name| range.reaches(name));
        let end = end.map_or(0, |last| last + 1);
        let count = names[..end].iter().rev();
        let count = count.take_while(|name| !range.is_above(name)).count();
        ((end - count) as u64, end as u64)
    } else {
        let start = names.iter().position(|name| !range.is_above(name));
        let start = start.unwrap_or(names.len());
        let count = match names.get(start).filter(|name| within(name)) {
            Some(_) => names[start..]
                .iter()
                .take_while(|name| range.reaches(name))
                .count(),
            None => 0,
        };
        (start as u64, (start + count) as u64)
    }
}

/// Iterator over members of a sorted set and their scores.
pub struct ZsetIter<'a>(Inner<'a>);

enum Inner<'a> {
    Packed(std::vec::IntoIter<Scored<'a>>),
    Sorted {
        reader: Reader<'a>,
        cursor: Cursor<Ranks>,
        reverse: bool,
        left: u64,
    },
}

impl<'a> Iterator for ZsetIter<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Inner::Packed(members) => members.next(),
            Inner::Sorted {
                reader,
                cursor,
                reverse,
                left,
            } => {
                *left = left.checked_sub(1)?;
                let entry = match *reverse {
                    true => {
                        cursor.prev(reader);
                        cursor.entry(reader)?
                    }
                    false => cursor.take(reader)?,
                };
                Some(Member::read(reader, entry.b).scored(reader))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Inner::Packed(members) => members.len(),
            Inner::Sorted { left, .. } => *left as usize,
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for ZsetIter<'_> {}
