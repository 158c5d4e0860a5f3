//! Sorted sets: packed while small; a table of members and a tree of their order when large.
//!
//! ```text
//!   packed   entry blob: the packed bytes, in order
//!   table    entry blob: byte offset of the header
//!            header 40 B: { root word, members, trash link, trash cursor, root word of the tree }
//!            each member: a blob whose key is the member; its expiry word is the score
//!            tree entry: { score's order key, byte offset of the member's blob }
//! ```
//!
//! A member's blob stays where it is while its score changes: the tree is changed first, by logged stores that only
//! holders of the lock see; the store of the score in the blob is the publish. So ZSCORE needs no lock.
//!
//! A sorted set never goes back to the packed form.

use super::{PACKED_BYTES_MAX, PackedIf};
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::ops::Range;

use crate::store::blob::{Blob, Draft};
use crate::store::btree::{Build, Cursor, Entry, Order, Tree};
use crate::store::change::{Change, Contents, Here, Place};
use crate::store::dash::hash::Hash;
use crate::store::dash::layout::{NodeRef, Record};
use crate::store::dash::table::{self, Found};
use crate::store::dash::{Words, WordsMut};
use crate::store::encoding::packed_zset::{self, PackedZset, Scored};
use crate::store::encoding::score::order_key;
use crate::store::entry::{Encoding, Kind, Ttl};
use crate::store::error::StoreError;
use crate::store::keyspace::Settings;
use crate::store::medium::{Reader, Writer};

/// Bytes of the header of a large sorted set.
pub(in crate::store) const ZSET_HEADER_BYTES: usize = 40;

/// The tree of a sorted set: by score, then by member.
pub(in crate::store) struct Ranks;

impl Order for Ranks {
    const KEYED: bool = true;
    const UNIT: bool = true;

    fn weight(_: u64) -> u64 {
        1
    }
}

/// Which members an addition may touch, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddRule {
    /// New members only.
    pub absent: bool,
    /// Members that are there only.
    pub present: bool,
    /// Scores only go up.
    pub greater: bool,
    /// Scores only go down.
    pub less: bool,
    /// The score given is added to the one there.
    pub increment: bool,
}

/// What an addition did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Added {
    /// New members.
    pub added: usize,
    /// Members whose score changed.
    pub updated: usize,
    /// The score that the last member has now; `None` if the rule passed it over.
    pub score: Option<f64>,
    /// Nothing was done: an increment would have made a score that is no number.
    pub not_a_number: bool,
}

impl Added {
    /// Whether anything changed.
    pub fn changed(&self) -> bool {
        self.added + self.updated > 0
    }
}

/// What a removal did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedMembers {
    /// Members removed.
    pub count: usize,
    /// The last one went, and the key with it.
    pub key_gone: bool,
}

/// What becomes of one member.
enum Verdict {
    PassedOver,
    NotANumber,
    Score(f64),
}

impl AddRule {
    fn judge(self, current: Option<f64>, score: f64) -> Verdict {
        let Some(current) = current else {
            return match self.present {
                true => Verdict::PassedOver,
                false => Verdict::Score(score),
            };
        };
        if self.absent {
            return Verdict::PassedOver;
        }
        let score = if self.increment {
            score + current
        } else {
            score
        };
        if score.is_nan() {
            Verdict::NotANumber
        } else if self.less && score >= current || self.greater && score <= current {
            Verdict::PassedOver
        } else {
            Verdict::Score(score)
        }
    }
}

/// A sorted set in either form.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum ZsetForm<'a> {
    Packed(PackedZset<'a>),
    Sorted(Sorted),
}

impl<'a> ZsetForm<'a> {
    /// The sorted set in an entry's blob.
    pub(in crate::store) fn read(
        reader: &Reader<'a>,
        blob: &Blob,
    ) -> Result<ZsetForm<'a>, StoreError> {
        match blob.encoding() {
            _ if blob.kind() != Kind::Zset => Err(StoreError::WrongType),
            Encoding::Skiplist => Ok(ZsetForm::Sorted(Sorted {
                header: blob.value_word(reader),
            })),
            _ => Ok(ZsetForm::Packed(PackedZset::new(blob.value(reader)))),
        }
    }

    /// Number of members.
    pub(in crate::store) fn len(&self, reader: &Reader<'_>) -> u64 {
        match self {
            ZsetForm::Packed(packed) => packed.len() as u64,
            ZsetForm::Sorted(sorted) => sorted.len(reader),
        }
    }

    /// The score of a member.
    pub(in crate::store) fn score(&self, reader: &Reader<'_>, member: &[u8]) -> Option<f64> {
        match self {
            ZsetForm::Packed(packed) => packed.find(member),
            ZsetForm::Sorted(sorted) => {
                let (_, member) = sorted.find(reader, member)?;
                Some(member.score(reader))
            }
        }
    }
}

/// The blob of a member.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Member(Blob);

impl Member {
    /// Reads the blob at byte offset `at`.
    #[inline]
    pub(in crate::store) fn read(reader: &Reader<'_>, at: u64) -> Member {
        Member(Blob::read(reader, at))
    }

    /// The member's bytes.
    #[inline]
    pub(in crate::store) fn name<'a>(&self, reader: &Reader<'a>) -> &'a [u8] {
        self.0.key(reader)
    }

    /// Its score.
    #[inline]
    pub(in crate::store) fn score(&self, reader: &Reader<'_>) -> f64 {
        f64::from_bits(self.0.ttl_word().map_or(0, |at| reader.load(at)))
    }

    /// Both.
    #[inline]
    pub(in crate::store) fn scored<'a>(&self, reader: &Reader<'a>) -> Scored<'a> {
        (self.name(reader), self.score(reader))
    }

    /// Writes a fresh one; its byte offset.
    fn write(writer: &mut Writer<'_, '_>, (name, score): Scored<'_>) -> Result<u64, StoreError> {
        let draft = Draft {
            kind: Kind::String,
            encoding: Encoding::Raw,
            clock: 0,
            ttl_at: Some(score.to_bits()),
            key: name,
            value: b"",
        };
        Ok(draft.write(writer)?.blob())
    }
}

/// A large sorted set, known by its header.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Sorted {
    pub(in crate::store) header: u64,
}

impl Sorted {
    fn len_at(self) -> u64 {
        self.header + 8
    }

    /// Number of members.
    pub(in crate::store) fn len(self, reader: &Reader<'_>) -> u64 {
        reader.load(self.len_at())
    }

    /// The root word of the table of members.
    pub(in crate::store) fn root(self, reader: &Reader<'_>) -> NodeRef {
        NodeRef::from_raw(reader.load(self.header))
    }

    /// The tree of their order.
    pub(in crate::store) fn tree(self) -> Tree<Ranks> {
        Tree::new(self.header + 32)
    }

    fn find(self, reader: &Reader<'_>, member: &[u8]) -> Option<(Found, Member)> {
        self.find_hashed(reader, reader.hasher.hash(member), member)
    }

    fn find_hashed(
        self,
        reader: &Reader<'_>,
        hash: Hash,
        member: &[u8],
    ) -> Option<(Found, Member)> {
        let read = |record| Blob::of_key(reader, record, member);
        let (found, blob) = table::find_by(reader, self.root(reader), hash, read)?;
        Some((found, Member(blob)))
    }

    /// The place of a member with this score in the order, whether it is there or not.
    pub(in crate::store) fn place(
        self,
        reader: &Reader<'_>,
        (name, score): Scored<'_>,
    ) -> Cursor<Ranks> {
        self.tree().seek_key(reader, order_key(score), |member| {
            Member::read(reader, member).name(reader) < name
        })
    }

    /// A sorted set of these members, which are distinct and in order.
    fn of(writer: &mut Writer<'_, '_>, members: &[Scored<'_>]) -> Result<Sorted, StoreError> {
        let mut records = Vec::with_capacity(members.len());
        let mut order = Build::<Ranks>::default();
        for &(name, score) in members {
            let at = Member::write(writer, (name, score))?;
            records.push((writer.hasher.hash(name), Record::new(at, 0)));
            let entry = Entry {
                a: order_key(score),
                b: at,
            };
            order.push(writer, entry)?;
        }
        let tree = order.finish(writer)?;
        let root = table::build(writer, records.into_iter())?;
        let header = [root.raw(), members.len() as u64, 0, 0, tree];
        Ok(Sorted {
            header: writer.alloc_words(&header)?,
        })
    }

    /// Adds a member that is not there.
    fn insert(
        self,
        writer: &mut Writer<'_, '_>,
        (name, score): Scored<'_>,
        hash: Hash,
    ) -> Result<(), StoreError> {
        let at = Member::write(writer, (name, score))?;
        let reader = writer.reader();
        let place = self.place(&reader, (name, score));
        let entry = Entry {
            a: order_key(score),
            b: at,
        };
        self.tree().insert(writer, &place, entry)?;
        writer.store(self.len_at(), self.len(&reader) + 1)?;
        table::insert(writer, self.header, hash, Record::new(at, 0))
    }

    /// Gives a member another score.
    fn update(
        self,
        writer: &mut Writer<'_, '_>,
        (found, member): (Found, Member),
        score: f64,
    ) -> Result<(), StoreError> {
        let reader = writer.reader();
        let (name, old) = member.scored(&reader);
        let entry = Entry {
            a: order_key(score),
            b: found.record.blob(),
        };
        let mut here = self.place(&reader, (name, old));
        let place = self.place(&reader, (name, score));
        self.tree()
            .relocate(writer, &mut here, &place, entry, |writer| {
                self.place(&writer.reader(), (name, score))
            })?;
        match member.0.ttl_word() {
            Some(at) => writer.publish(at, score.to_bits()),
            None => Ok(()),
        }
    }

    /// Removes a member, which must not be the last one.
    fn remove(
        self,
        writer: &mut Writer<'_, '_>,
        (found, member): (Found, Member),
        here: &Cursor<Ranks>,
    ) -> Result<(), StoreError> {
        let reader = writer.reader();
        let hash = writer.hasher.hash(member.name(&reader));
        let left = self.len(&reader) - 1;
        self.tree().remove(writer, here)?;
        writer.store(self.len_at(), left)?;
        table::remove(writer, self.header, &found, hash, left)?;
        writer.free(found.record.blob())
    }
}

/// Whether so many members, of which the longest that was added has so many bytes, may be packed.
fn fits(settings: &Settings, len: usize, longest: usize) -> bool {
    len <= settings.zset_packed_entries_max() && longest <= settings.zset_packed_value_max()
}

/// Members up to which they are compared one by one rather than hashed.
const COMPARED_MAX: usize = 256;

/// Members of a packed or new sorted set while additions are worked in.
struct Draftset<'p> {
    members: Vec<Scored<'p>>,
    /// Where each member stands, if there are many.
    places: Option<HashMap<&'p [u8], usize>>,
    /// The longest member that was added.
    longest: usize,
}

impl<'p> Draftset<'p> {
    fn new(known: impl Iterator<Item = Scored<'p>>, more: usize) -> Draftset<'p> {
        let members: Vec<Scored<'p>> = known.collect();
        let many = members.len() + more > COMPARED_MAX;
        let places = many.then(|| {
            let names = members.iter().enumerate();
            names.map(|(i, (name, _))| (*name, i)).collect()
        });
        Draftset {
            members,
            places,
            longest: 0,
        }
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(name).copied(),
            None => self.members.iter().position(|known| known.0 == name),
        }
    }

    fn push(&mut self, name: &'p [u8], score: f64) {
        if let Some(places) = &mut self.places
            && let Slot::Vacant(place) = places.entry(name)
        {
            place.insert(self.members.len());
        }
        self.members.push((name, score));
        self.longest = self.longest.max(name.len());
    }

    /// A zero loses its sign in the packed form, which is that of the first members of a set that outgrows it too.
    fn forget_sign(&mut self, at: usize) {
        self.members[at].1 += 0.0;
    }
}

/// Puts members in order.
fn sort(members: &mut [Scored<'_>]) {
    // Nearly sorted as a rule, which this algorithm makes use of.
    members.sort_by(|a, b| (order_key(a.1), a.0).cmp(&(order_key(b.1), b.0)));
}

impl Change<'_, '_> {
    /// Adds members to the sorted set at a place, one after another.
    pub(in crate::store) fn add_scored(
        &mut self,
        place: &Place<'_>,
        members: &[Scored<'_>],
        rule: AddRule,
    ) -> Result<Added, StoreError> {
        let reader = self.writer.reader();
        let old = match place.live() {
            Some(here) => Some(ZsetForm::read(&reader, &here.blob)?),
            None if rule.present => return Ok(Added::default()),
            None => None,
        };
        match old {
            Some(ZsetForm::Sorted(sorted)) => {
                let added = self.add_to_sorted(sorted, members, rule)?;
                if added.changed() {
                    self.note_change(place.db, place.key);
                }
                Ok(added)
            }
            Some(ZsetForm::Packed(packed)) => {
                let draft = Draftset::new(packed.iter(), members.len());
                self.add_to_draft(place, draft, members, rule, Ttl::Keep)
            }
            None => {
                let draft = Draftset::new(std::iter::empty(), members.len());
                self.add_to_draft(place, draft, members, rule, Ttl::Clear)
            }
        }
    }

    fn add_to_sorted(
        &mut self,
        sorted: Sorted,
        members: &[Scored<'_>],
        rule: AddRule,
    ) -> Result<Added, StoreError> {
        let mut done = Added::default();
        for &(name, score) in members {
            self.writer.settle();
            let reader = self.writer.reader();
            let hash = reader.hasher.hash(name);
            let here = sorted.find_hashed(&reader, hash, name);
            let current = here.map(|(_, member)| member.score(&reader));
            done.score = None;
            match (rule.judge(current, score), here) {
                (Verdict::PassedOver, _) => {}
                (Verdict::NotANumber, _) => {
                    done.not_a_number = true;
                    return Ok(done);
                }
                (Verdict::Score(score), None) => {
                    sorted.insert(&mut self.writer, (name, score), hash)?;
                    done.added += 1;
                    done.score = Some(score);
                }
                (Verdict::Score(score), Some(here)) => {
                    if current != Some(score) {
                        sorted.update(&mut self.writer, here, score)?;
                        done.updated += 1;
                    }
                    done.score = Some(score);
                }
            }
        }
        Ok(done)
    }

    fn add_to_draft<'p>(
        &mut self,
        place: &Place<'_>,
        mut draft: Draftset<'p>,
        members: &[Scored<'p>],
        rule: AddRule,
        ttl: Ttl,
    ) -> Result<Added, StoreError> {
        let mut done = Added::default();
        for &(name, score) in members {
            let here = draft.find(name);
            let current = here.map(|i| draft.members[i].1);
            done.score = None;
            match (rule.judge(current, score), here) {
                (Verdict::PassedOver, _) => {}
                (Verdict::NotANumber, _) => {
                    done.not_a_number = true;
                    return Ok(done);
                }
                (Verdict::Score(score), None) => {
                    draft.push(name, score);
                    if fits(self.keyspace.settings(), draft.members.len(), draft.longest) {
                        draft.forget_sign(draft.members.len() - 1);
                    }
                    done.added += 1;
                    done.score = Some(score);
                }
                (Verdict::Score(score), Some(i)) => {
                    if current != Some(score) {
                        draft.members[i].1 = score;
                        let len = draft.members.len();
                        if done.added == 0 || fits(self.keyspace.settings(), len, draft.longest) {
                            draft.forget_sign(i);
                        }
                        done.updated += 1;
                    }
                    done.score = Some(score);
                }
            }
        }
        if done.changed() {
            let len = draft.members.len();
            let settings = self.keyspace.settings();
            // What is packed stays packed until a member is added, whatever the limits are now.
            let packable = done.added == 0 || fits(settings, len, draft.longest);
            sort(&mut draft.members);
            self.put_members(place, &draft.members, packable, ttl)?;
        }
        Ok(done)
    }

    /// Replaces whatever is at a place by a sorted set of these members, which are distinct, in any order.
    pub(in crate::store) fn put_zset(
        &mut self,
        place: &Place<'_>,
        members: &[Scored<'_>],
        packed_if: PackedIf,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        if members.is_empty() {
            self.remove(place, Contents::Discard)?;
            return Ok(());
        }
        let mut members = members.to_vec();
        sort(&mut members);
        let settings = self.keyspace.settings();
        let lens = members.iter().map(|(name, _)| name.len());
        let packable = match packed_if {
            PackedIf::Small => fits(settings, members.len(), lens.max().unwrap_or(0)),
            PackedIf::Few => {
                members.len() <= settings.zset_packed_entries_max()
                    && lens.sum::<usize>() <= PACKED_BYTES_MAX
            }
        };
        self.put_members(place, &members, packable, ttl)
    }

    /// Puts distinct members, in order, at a place, in the form asked for.
    fn put_members(
        &mut self,
        place: &Place<'_>,
        members: &[Scored<'_>],
        packable: bool,
        ttl: Ttl,
    ) -> Result<(), StoreError> {
        let mut value = Vec::new();
        let encoding = if packable {
            packed_zset::pack(members, &mut value);
            Encoding::Listpack
        } else {
            let sorted = Sorted::of(&mut self.writer, members)?;
            value.extend_from_slice(&sorted.header.to_le_bytes());
            Encoding::Skiplist
        };
        self.put_value(place, (Kind::Zset, encoding), &value, ttl)
    }

    /// Gives a packed sorted set at a place the form of a large one.
    pub(in crate::store) fn unpack_zset(
        &mut self,
        place: &Place<'_>,
        here: &Here,
    ) -> Result<(), StoreError> {
        let reader = self.writer.reader();
        match ZsetForm::read(&reader, &here.blob)? {
            ZsetForm::Packed(packed) => {
                let members: Vec<Scored<'_>> = packed.iter().collect();
                self.put_members(place, &members, false, Ttl::Keep)
            }
            ZsetForm::Sorted(_) => Ok(()),
        }
    }

    /// Removes members of the sorted set at a place, and the set with the last one.
    pub(in crate::store) fn remove_scored(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        members: &[&[u8]],
    ) -> Result<RemovedMembers, StoreError> {
        let reader = self.writer.reader();
        match ZsetForm::read(&reader, &here.blob)? {
            ZsetForm::Packed(packed) => {
                let left = packed
                    .iter()
                    .filter(|(name, _)| !members.contains(name))
                    .collect();
                self.leave_packed(place, packed.len(), left)
            }
            ZsetForm::Sorted(sorted) => {
                let mut done = RemovedMembers::default();
                for name in members {
                    self.writer.settle();
                    let reader = self.writer.reader();
                    let Some((found, member)) = sorted.find(&reader, name) else {
                        continue;
                    };
                    done.count += 1;
                    if sorted.len(&reader) == 1 {
                        // The whole goes to the trash with its last member in it.
                        self.remove(place, Contents::Discard)?;
                        done.key_gone = true;
                        return Ok(done);
                    }
                    let at = sorted.place(&reader, member.scored(&reader));
                    sorted.remove(&mut self.writer, (found, member), &at)?;
                }
                if done.count > 0 {
                    self.note_change(place.db, place.key);
                }
                Ok(done)
            }
        }
    }

    /// Removes the members whose ranks (from the lowest score) lie in a range.
    pub(in crate::store) fn remove_ranks(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        ranks: Range<u64>,
    ) -> Result<RemovedMembers, StoreError> {
        let reader = self.writer.reader();
        let form = ZsetForm::read(&reader, &here.blob)?;
        let len = form.len(&reader);
        let ranks = ranks.start..ranks.end.min(len);
        if ranks.is_empty() {
            return Ok(RemovedMembers::default());
        }
        let count = (ranks.end - ranks.start) as usize;
        let sorted = match form {
            ZsetForm::Packed(packed) => {
                let (start, end) = (ranks.start as usize, ranks.end as usize);
                let members = packed.iter().enumerate();
                let left = members.filter(|(i, _)| !(start..end).contains(i));
                let left = left.map(|(_, member)| member).collect();
                return self.leave_packed(place, packed.len(), left);
            }
            ZsetForm::Sorted(sorted) => sorted,
        };
        if count as u64 == len {
            self.remove(place, Contents::Discard)?;
            return Ok(RemovedMembers {
                count,
                key_gone: true,
            });
        }
        for _ in 0..count {
            self.writer.settle();
            let reader = self.writer.reader();
            let (at, _) = sorted.tree().seek_weight(&reader, ranks.start);
            let Some(entry) = at.entry(&reader) else {
                break;
            };
            let name = Member::read(&reader, entry.b).name(&reader);
            let Some(found) = sorted.find(&reader, name) else {
                break;
            };
            sorted.remove(&mut self.writer, found, &at)?;
        }
        self.note_change(place.db, place.key);
        Ok(RemovedMembers {
            count,
            key_gone: false,
        })
    }

    /// Leaves these of a packed set's members.
    fn leave_packed(
        &mut self,
        place: &Place<'_>,
        len: usize,
        left: Vec<Scored<'_>>,
    ) -> Result<RemovedMembers, StoreError> {
        let done = RemovedMembers {
            count: len - left.len(),
            key_gone: left.is_empty(),
        };
        if left.is_empty() {
            self.remove(place, Contents::Discard)?;
        } else if done.count > 0 {
            self.put_members(place, &left, true, Ttl::Keep)?;
        }
        Ok(done)
    }

    /// Copies a large sorted set; the value of the copy's blob.
    pub(super) fn copied_zset(&mut self, blob: &Blob) -> Result<Vec<u8>, StoreError> {
        let reader = self.writer.reader();
        let source = Sorted {
            header: blob.value_word(&reader),
        };
        let mut members = Vec::with_capacity(source.len(&reader) as usize);
        let mut at = source.tree().first(&reader);
        while let Some(entry) = at.entry(&reader) {
            members.push(Member::read(&reader, entry.b).scored(&reader));
            at.next(&reader);
        }
        let copy = Sorted::of(&mut self.writer, &members)?;
        Ok(copy.header.to_le_bytes().to_vec())
    }
}
