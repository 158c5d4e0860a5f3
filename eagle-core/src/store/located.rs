//! A collection where a view has found it, and how it is read without a lock.
//!
//! Each read is atomic by itself. A collection in one immutable blob is one state anyway; one that is changed in place
//! is read, and then the slot is asked whether it has changed since the collection was found. If so, the key is looked
//! up again and read once more, inside the loop that waits for one state of the slot.

use super::blob::Blob;
use super::dash::hash::POSITION_BITS;
use super::dash::layout::Record;
use super::error::StoreError;
use super::medium::Reader;
use super::view::View;
use crate::sync::ReadStamp;

const POSITION_MASK: u64 = (1 << POSITION_BITS) - 1;

/// How a type reads its form from an entry's blob.
pub(super) type FormOf<'a, F> = fn(&Reader<'a>, &Blob) -> Result<F, StoreError>;

/// Where a collection was found, and in which state of its slot.
#[derive(Clone, Copy)]
pub(super) struct Located<'v, 'a> {
    pub(super) view: &'v View<'a>,
    pub(super) db: u8,
    pub(super) slot: u16,
    pub(super) key: &'v [u8],
    /// `None` if the slot is locked.
    pub(super) stamp: Option<ReadStamp>,
}

impl<'a> Located<'_, 'a> {
    /// Reads a form that is changed in place. Without a lock: if the slot has changed since it was found, finds it
    /// again, and answers `gone` if it is no longer there.
    pub(super) fn read<F, T>(
        &self,
        form: &F,
        form_of: FormOf<'a, F>,
        gone: T,
        read: impl Fn(&Reader<'a>, &F) -> T,
    ) -> T {
        let result = read(&self.view.reader(), form);
        let Some(stamp) = self.stamp else {
            return result;
        };
        if self.view.keyspace().slots().validate(self.slot, stamp) {
            return result;
        }
        let again = |reader: &Reader<'a>| {
            let here = self.view.lookup(reader, self.db, self.slot, self.key)?;
            let form = form_of(reader, &here.blob).ok()?;
            Some(read(reader, &form))
        };
        self.view.read(self.slot, again).0.unwrap_or(gone)
    }
}

/// Scans a table from `cursor` on: `step` answers the records of one bucket and the position after it. Visits at least
/// `count` records unless the end comes first, and returns the cursor to go on with; zero begins and ends.
pub(super) fn scan(
    cursor: u64,
    count: usize,
    step: impl Fn(u64) -> (Vec<Record>, Option<u64>),
    visit: &mut dyn FnMut(Record),
) -> u64 {
    let mut position = cursor & POSITION_MASK;
    let mut visited = 0;
    loop {
        let (records, next) = step(position);
        visited += records.len();
        records.into_iter().for_each(&mut *visit);
        match next {
            None => return 0,
            Some(next) if visited >= count => return next,
            Some(next) => position = next,
        }
    }
}
