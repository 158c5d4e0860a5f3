//! Reading a list, by position and from either end.

use crate::store::btree::Cursor;
use crate::store::encoding::run::Run;
use crate::store::medium::Reader;

use super::chunk::Chunk;
use super::{Chunks, End, Large, ListForm};
use crate::store::trash::HEADER_BYTES;

/// Which of a large list's chunks.
pub(super) enum Shelf {
    /// The chunk at an end.
    End(End),
    /// The chunk of the tree at the cursor, and the weight before it.
    Tree(Cursor<Chunks>, u64),
}

/// A chunk, where it is, and how many of its elements stand before the one looked for.
pub(super) struct Spot {
    pub(super) shelf: Shelf,
    pub(super) chunk: Chunk,
    pub(super) offset: usize,
}

impl Large {
    /// The place of the element at `index`; `None` behind the last one.
    pub(super) fn locate(self, reader: &Reader<'_>, index: u64) -> Option<Spot> {
        let mut rest = index;
        let spot = |shelf, chunk, offset: u64| Spot {
            shelf,
            chunk,
            offset: offset as usize,
        };
        if let Some(head) = self.end(reader, End::Head) {
            if rest < head.len() as u64 {
                return Some(spot(Shelf::End(End::Head), head, rest));
            }
            rest -= head.len() as u64;
        }
        let weight = self.tree().weight(reader);
        if rest < weight {
            let (cursor, offset) = self.tree().seek_weight(reader, rest);
            let entry = cursor.entry(reader)?;
            let chunk = Chunk::load(reader, entry.b);
            return Some(spot(Shelf::Tree(cursor, rest - offset), chunk, offset));
        }
        rest -= weight;
        let tail = self.end(reader, End::Tail)?;
        (rest < tail.len() as u64).then(|| spot(Shelf::End(End::Tail), tail, rest))
    }
}

/// A list as a view sees it, with its slot locked.
#[derive(Clone, Copy)]
pub struct ListRef<'v> {
    reader: Reader<'v>,
    form: ListForm<'v>,
}

impl<'v> ListRef<'v> {
    pub(in crate::store) fn new(reader: Reader<'v>, form: ListForm<'v>) -> ListRef<'v> {
        ListRef { reader, form }
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        match self.form {
            ListForm::Packed(run) => run.count() as u64,
            ListForm::Large(large) => large.len(&self.reader),
        }
    }

    /// Never the case: a list that loses its last element is removed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first or last element.
    pub fn outermost(&self, end: End) -> Option<&'v [u8]> {
        let run = match self.form {
            ListForm::Packed(run) => Some(run),
            ListForm::Large(large) => {
                let chunk = large.end(&self.reader, end);
                chunk.map(|chunk| chunk.run(&self.reader))
            }
        };
        match (run, end) {
            (Some(mut run), End::Head) => run.next(),
            (Some(mut run), End::Tail) => run.next_back(),
            // It is in the tree, or at the other end.
            (None, End::Head) => self.get(0),
            (None, End::Tail) => self.get(-1),
        }
    }

    /// The element at `index`, counted from the end if negative.
    pub fn get(&self, index: i64) -> Option<&'v [u8]> {
        let from_end = index.checked_neg().filter(|back| *back > 0);
        match (self.form, from_end) {
            (ListForm::Packed(mut run), None) => run.nth(usize::try_from(index).ok()?),
            (ListForm::Packed(mut run), Some(back)) => {
                run.nth_back(usize::try_from(back).ok()? - 1)
            }
            (ListForm::Large(large), _) => {
                let index = match from_end {
                    None => u64::try_from(index).ok()?,
                    Some(back) => large.len(&self.reader).checked_sub(back as u64)?,
                };
                let spot = large.locate(&self.reader, index)?;
                let mut run = spot.chunk.run(&self.reader);
                let behind = spot.chunk.len() - spot.offset - 1;
                if spot.offset <= behind {
                    run.nth(spot.offset)
                } else {
                    run.nth_back(behind)
                }
            }
        }
    }

    /// The elements from `index` to the last.
    pub fn iter_from(&self, index: u64) -> ListIter<'v> {
        self.walk(index, End::Tail)
    }

    /// The elements, first to last.
    pub fn iter(&self) -> ListIter<'v> {
        self.iter_from(0)
    }

    /// The elements from `index` back to the first.
    pub fn iter_back_from(&self, index: u64) -> ListIter<'v> {
        self.walk(index, End::Head)
    }

    fn walk(&self, index: u64, towards: End) -> ListIter<'v> {
        let reader = self.reader;
        let nothing = ListIter {
            reader,
            towards,
            run: Run::new(b""),
            on: None,
        };
        match self.form {
            ListForm::Packed(run) => {
                let mut run = run;
                match towards {
                    End::Tail => {
                        for _ in 0..index {
                            if run.next().is_none() {
                                break;
                            }
                        }
                    }
                    End::Head => {
                        let behind = (run.count() as u64).saturating_sub(index + 1);
                        for _ in 0..behind {
                            run.next_back();
                        }
                    }
                }
                ListIter { run, ..nothing }
            }
            ListForm::Large(large) => {
                let Some(spot) = large.locate(&reader, index) else {
                    return nothing;
                };
                let mut run = spot.chunk.run(&reader);
                match towards {
                    End::Tail => {
                        for _ in 0..spot.offset {
                            run.next();
                        }
                    }
                    End::Head => {
                        for _ in spot.offset + 1..spot.chunk.len() {
                            run.next_back();
                        }
                    }
                }
                ListIter {
                    run,
                    on: Some((large, spot.shelf)),
                    ..nothing
                }
            }
        }
    }

    /// Bytes of the pool that the list occupies besides its entry, roughly for the tree's nodes.
    pub fn bytes(&self) -> u64 {
        const NODE_BYTES: u64 = 17;
        match self.form {
            ListForm::Packed(_) => 0,
            ListForm::Large(large) => {
                let chunks = large.chunks(&self.reader);
                let blocks = chunks
                    .iter()
                    .map(|&at| Chunk::load(&self.reader, at).block_bytes());
                HEADER_BYTES as u64 + blocks.sum::<u64>() + NODE_BYTES * chunks.len() as u64
            }
        }
    }
}

/// Iterator over the elements of a list, towards one of its ends.
pub struct ListIter<'v> {
    reader: Reader<'v>,
    towards: End,
    run: Run<'v>,
    /// The large list, and the chunk that `run` is of.
    on: Option<(Large, Shelf)>,
}

impl<'v> ListIter<'v> {
    /// Goes on to the next chunk; whether there is one.
    fn advance(&mut self) -> bool {
        let reader = self.reader;
        let Some((large, shelf)) = self.on.take() else {
            return false;
        };
        let from_tree = match (shelf, self.towards) {
            (Shelf::End(at), towards) if at == towards => return false,
            (Shelf::End(_), End::Tail) => Some(large.tree().first(&reader)),
            (Shelf::End(_), End::Head) => {
                let mut cursor = large.tree().end(&reader);
                cursor.prev(&reader).then_some(cursor)
            }
            (Shelf::Tree(mut cursor, _), End::Tail) => {
                cursor.next(&reader);
                Some(cursor)
            }
            (Shelf::Tree(mut cursor, _), End::Head) => cursor.prev(&reader).then_some(cursor),
        };
        let found = from_tree.and_then(|cursor| Some((cursor.entry(&reader)?, cursor)));
        let (chunk, shelf) = match found {
            Some((entry, cursor)) => (Chunk::load(&reader, entry.b), Shelf::Tree(cursor, 0)),
            None => match large.end(&reader, self.towards) {
                Some(chunk) => (chunk, Shelf::End(self.towards)),
                None => return false,
            },
        };
        self.run = chunk.run(&reader);
        self.on = Some((large, shelf));
        true
    }
}

impl<'v> Iterator for ListIter<'v> {
    type Item = &'v [u8];

    fn next(&mut self) -> Option<&'v [u8]> {
        loop {
            let element = match self.towards {
                End::Tail => self.run.next(),
                End::Head => self.run.next_back(),
            };
            if element.is_some() || !self.advance() {
                return element;
            }
        }
    }
}
