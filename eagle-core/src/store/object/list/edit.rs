//! Changing a list in a view: at its ends, in the middle, and all of it.
//!
//! In the middle of a large list a chunk is replaced by one or more that hold what is to be there; the old one is
//! freed. So a change costs no more than a chunk and the way to it.

use crate::store::btree::Entry;
use crate::store::change::{Change, Contents, Here, Place};
use crate::store::dash::WordsMut;
use crate::store::encoding::run::Run;
use crate::store::entry::Ttl;
use crate::store::error::StoreError;
use crate::store::medium::Writer;

use super::read::{ListRef, Shelf, Spot};
use super::{End, Large, Limits, ListForm, Packer, Piece, Popped};

impl Change<'_, '_> {
    /// Adds elements at an end of the list at a place, which is made if absent: one after another, so that the last
    /// one is outermost. The length after it.
    pub(in crate::store) fn push_elements(
        &mut self,
        place: &Place<'_>,
        elements: &[&[u8]],
        end: End,
    ) -> Result<u64, StoreError> {
        let reader = self.writer.reader();
        let form = match place.live() {
            Some(here) => ListForm::read(&reader, &here.blob)?,
            None => ListForm::Packed(Run::new(b"")),
        };
        let len = match form {
            ListForm::Large(large) => {
                let len = large.len(&reader) + elements.len() as u64;
                let limits = self.keyspace.settings().list_limits();
                large.push(&mut self.writer, elements, end, &limits)?;
                self.note_change(place.db, place.key);
                len
            }
            ListForm::Packed(run) => {
                let mut all: Vec<&[u8]> = Vec::with_capacity(elements.len() + 8);
                match end {
                    End::Tail => {
                        all.extend(run);
                        all.extend(elements);
                    }
                    End::Head => {
                        all.extend(elements.iter().rev());
                        all.extend(run);
                    }
                }
                self.put_list(place, &all, self.kept_ttl(place))?;
                all.len() as u64
            }
        };
        self.notes.dirty += elements.len() as u64 - 1;
        Ok(len)
    }

    fn kept_ttl(&self, place: &Place<'_>) -> Ttl {
        match place.live() {
            Some(_) => Ttl::Keep,
            None => Ttl::Clear,
        }
    }

    /// Shows the outermost element at an end.
    pub(in crate::store) fn show_outermost(
        &self,
        here: &Here,
        end: End,
        show: impl FnOnce(&[u8]),
    ) -> Result<(), StoreError> {
        let reader = self.writer.reader();
        let list = ListRef::new(reader, ListForm::read(&reader, &here.blob)?);
        if let Some(element) = list.outermost(end) {
            show(element);
        }
        Ok(())
    }

    /// Takes up to `count` elements off an end, and the key with the last one.
    pub(in crate::store) fn pop_elements(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        count: u64,
        end: End,
    ) -> Result<Popped, StoreError> {
        let form = ListForm::read(&self.writer.reader(), &here.blob)?;
        if let ListForm::Large(large) = form
            && count > 0
            && large.end_outlasts(&self.writer, count, end)
        {
            // Nobody needs to know how long the list is.
            large.pop(&mut self.writer, count, end)?;
            self.note_change(place.db, place.key);
            self.notes.dirty += count - 1;
            return Ok(Popped {
                count,
                key_gone: false,
            });
        }
        let total = self.len_of(&form);
        let count = count.min(total);
        let start = match end {
            End::Head => count,
            End::Tail => 0,
        };
        self.keep(place, form, total, start, total - count)?;
        Ok(Popped {
            count,
            key_gone: count == total,
        })
    }

    fn len_of(&self, form: &ListForm<'_>) -> u64 {
        match form {
            ListForm::Packed(run) => run.count() as u64,
            ListForm::Large(large) => large.len(&self.writer.reader()),
        }
    }

    /// Leaves only `kept` elements from `start` on; how many are gone.
    pub(in crate::store) fn trim_list(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        start: u64,
        kept: u64,
    ) -> Result<u64, StoreError> {
        let form = ListForm::read(&self.writer.reader(), &here.blob)?;
        let total = self.len_of(&form);
        self.keep(place, form, total, start, kept)?;
        Ok(total - kept)
    }

    fn keep(
        &mut self,
        place: &Place<'_>,
        form: ListForm<'_>,
        total: u64,
        start: u64,
        kept: u64,
    ) -> Result<(), StoreError> {
        if kept == total {
            return Ok(());
        }
        if kept == 0 {
            self.remove(place, Contents::Discard)?;
        } else {
            match form {
                ListForm::Packed(run) => {
                    let run: Vec<&[u8]> = run.skip(start as usize).take(kept as usize).collect();
                    self.put_list(place, &run, Ttl::Keep)?;
                }
                ListForm::Large(large) => {
                    large.pop(&mut self.writer, start, End::Head)?;
                    let behind = total - start - kept;
                    if behind > 0 {
                        self.writer.settle();
                        large.pop(&mut self.writer, behind, End::Tail)?;
                    }
                    self.note_change(place.db, place.key);
                }
            }
        }
        self.notes.dirty += total - kept - 1;
        Ok(())
    }

    /// Replaces the element at `index`, which exists.
    pub(in crate::store) fn set_element(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        index: u64,
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.splice(place, here, index, 1, value)
    }

    /// Puts an element before the one at `index`, which exists.
    pub(in crate::store) fn insert_element(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        index: u64,
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.splice(place, here, index, 0, value)
    }

    /// Puts `value` in the place of `removed` elements from `index` on, all of one chunk.
    fn splice(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        index: u64,
        removed: usize,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let reader = self.writer.reader();
        match ListForm::read(&reader, &here.blob)? {
            ListForm::Packed(run) => {
                let mut all: Vec<&[u8]> = run.collect();
                let index = index as usize;
                all.splice(index..index + removed, [value]);
                self.put_list(place, &all, Ttl::Keep)
            }
            ListForm::Large(large) => {
                let Some(spot) = large.locate(&reader, index) else {
                    return Ok(());
                };
                let mut all: Vec<&[u8]> = spot.chunk.run(&reader).collect();
                all.splice(spot.offset..spot.offset + removed, [value]);
                let limits = self.keyspace.settings().list_limits();
                large.replace(&mut self.writer, &spot, &all, &limits)?;
                self.note_change(place.db, place.key);
                Ok(())
            }
        }
    }

    /// Removes elements equal to `value`, `count_max` at most, those nearest to `from`; how many. The key goes with the
    /// last element.
    pub(in crate::store) fn remove_equal(
        &mut self,
        place: &Place<'_>,
        here: &Here,
        value: &[u8],
        count_max: u64,
        from: End,
    ) -> Result<u64, StoreError> {
        let reader = self.writer.reader();
        match ListForm::read(&reader, &here.blob)? {
            ListForm::Packed(run) => {
                let all: Vec<&[u8]> = run.collect();
                let mut left = count_max;
                let kept = without(&all, value, &mut left, from);
                if kept.len() < all.len() {
                    self.put_list(place, &kept, Ttl::Keep)?;
                    self.notes.dirty += (all.len() - kept.len()) as u64 - 1;
                }
                Ok((all.len() - kept.len()) as u64)
            }
            ListForm::Large(large) => {
                let total = large.len(&reader);
                let removed = self.remove_equal_large(large, value, count_max, from, total)?;
                if removed == total {
                    self.remove(place, Contents::Discard)?;
                } else if removed > 0 {
                    self.note_change(place.db, place.key);
                }
                self.notes.dirty += removed.saturating_sub(1);
                Ok(removed)
            }
        }
    }

    fn remove_equal_large(
        &mut self,
        large: Large,
        value: &[u8],
        count_max: u64,
        from: End,
        total: u64,
    ) -> Result<u64, StoreError> {
        let reader = self.writer.reader();
        let limits = self.keyspace.settings().list_limits();
        let mut left = count_max;
        // What is left of the chunks that lose elements, by the index at which they begin.
        let mut changed: Vec<(u64, Vec<&[u8]>)> = Vec::new();
        let mut removed = 0;
        let mut index = match from {
            End::Head => 0,
            End::Tail => total,
        };
        while left > 0 {
            let at = match from {
                End::Head if index < total => index,
                End::Tail if index > 0 => index - 1,
                _ => break,
            };
            let Some(spot) = large.locate(&reader, at) else {
                break;
            };
            let start = at - spot.offset as u64;
            let all: Vec<&[u8]> = spot.chunk.run(&reader).collect();
            let kept = without(&all, value, &mut left, from);
            let gone = (all.len() - kept.len()) as u64;
            if gone > 0 {
                removed += gone;
                changed.push((start, kept));
            }
            index = match from {
                End::Head => start + all.len() as u64,
                End::Tail => start,
            };
        }
        if removed == total {
            // The caller removes the key.
            return Ok(removed);
        }
        // From the back to the front, so that the indices hold.
        changed.sort_unstable_by_key(|(start, _)| std::cmp::Reverse(*start));
        for (start, kept) in changed {
            let reader = self.writer.reader();
            if let Some(spot) = large.locate(&reader, start) {
                large.replace(&mut self.writer, &spot, &kept, &limits)?;
            }
        }
        Ok(removed)
    }
}

/// `all` without the elements equal to `value`, `left` at most, those nearest to `from`.
fn without<'e>(all: &[&'e [u8]], value: &[u8], left: &mut u64, from: End) -> Vec<&'e [u8]> {
    let mut keep = |element: &&&'e [u8]| {
        let goes = *left > 0 && **element == value;
        *left -= u64::from(goes);
        !goes
    };
    match from {
        End::Head => all.iter().filter(|e| keep(e)).copied().collect(),
        End::Tail => {
            let mut kept: Vec<_> = all.iter().rev().filter(|e| keep(e)).copied().collect();
            kept.reverse();
            kept
        }
    }
}

impl Large {
    /// Puts these elements, of which there may be none, in the place of a chunk.
    fn replace(
        self,
        writer: &mut Writer<'_, '_>,
        spot: &Spot,
        elements: &[&[u8]],
        limits: &Limits,
    ) -> Result<(), StoreError> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut packer = Packer::new(limits);
        for element in elements {
            pieces.extend(packer.push(element));
        }
        let last = packer.finish();
        if last.len > 0 {
            pieces.push(last);
        }
        let mut entries = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            entries.push(Entry {
                a: piece.len as u64,
                b: piece.write(writer, piece.bytes.len(), End::Head)?,
            });
        }
        match &spot.shelf {
            Shelf::End(end) => self.replace_end(writer, &entries, *end)?,
            Shelf::Tree(cursor, before) => {
                let tree = self.tree();
                match entries.split_first() {
                    None => drop(tree.remove(writer, cursor)?),
                    Some((first, more)) => {
                        tree.replace(writer, cursor, *first)?;
                        let mut position = before + first.a;
                        for &entry in more {
                            let (next, _) = tree.seek_weight(writer, position);
                            tree.insert(writer, &next, entry)?;
                            position += entry.a;
                        }
                    }
                }
            }
        }
        writer.free(spot.chunk.at)
    }

    /// Puts chunks in the place of the one at an end: the outermost stays there, the others go into the tree.
    fn replace_end(
        self,
        writer: &mut Writer<'_, '_>,
        entries: &[Entry],
        end: End,
    ) -> Result<(), StoreError> {
        let (outermost, inner): (Option<Entry>, Vec<Entry>) = match end {
            End::Head => (
                entries.first().copied(),
                entries.iter().skip(1).rev().copied().collect(),
            ),
            End::Tail => {
                let inner = &entries[..entries.len().saturating_sub(1)];
                (entries.last().copied(), inner.to_vec())
            }
        };
        for entry in inner {
            self.shelve(writer, entry.b, entry.a as usize, end)?;
        }
        self.set_end(writer, end, outermost.map_or(0, |entry| entry.b))
    }
}
