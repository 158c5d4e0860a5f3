//! A hash as a view sees it.

use super::blob::Blob;
use super::dash::layout::Record;
use super::dash::walk;
use super::encoding::packed::PackedIter;
use super::entry::Encoding;
use super::medium::Reader;
use super::object::hash::HashForm;
use super::view::View;
use crate::sync::ReadStamp;

/// A hash as a view sees it.
///
/// Without a lock each call is atomic by itself. Iteration wants the slot locked.
#[derive(Clone, Copy)]
pub struct HashRef<'v, 'a> {
    view: &'v View<'a>,
    db: u8,
    slot: u16,
    key: &'v [u8],
    form: HashForm<'a>,
    stamp: Option<ReadStamp>,
}

impl<'v, 'a> HashRef<'v, 'a> {
    pub(super) fn new(
        view: &'v View<'a>,
        db: u8,
        slot: u16,
        key: &'v [u8],
        form: HashForm<'a>,
        stamp: Option<ReadStamp>,
    ) -> HashRef<'v, 'a> {
        HashRef {
            view,
            db,
            slot,
            key,
            form,
            stamp,
        }
    }

    /// Reads the hash. Without a lock: if the slot has changed since the hash was found, finds it again, and answers
    /// `gone` if it is no longer there.
    fn read<T>(&self, gone: T, read: impl Fn(&Reader<'a>, &HashForm<'a>) -> T) -> T {
        let result = read(&self.view.reader(), &self.form);
        let Some(stamp) = self.stamp else {
            return result;
        };
        if matches!(self.form, HashForm::Packed(_))
            || self.view.keyspace().slots().validate(self.slot, stamp)
        {
            return result;
        }
        let again = |reader: &Reader<'a>| {
            let here = self.view.lookup(reader, self.db, self.slot, self.key)?;
            let form = HashForm::read(reader, &here.blob).ok()?;
            Some(read(reader, &form))
        };
        self.view.read(self.slot, again).0.unwrap_or(gone)
    }

    /// Number of fields; zero only if the hash has gone since it was found, which a lock prevents.
    pub fn len(&self) -> u64 {
        self.read(0, |reader, form| form.len(reader))
    }

    /// Whether the hash has gone since it was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `listpack` or `hashtable`.
    pub fn encoding(&self) -> Encoding {
        match self.form {
            HashForm::Packed(_) => Encoding::Listpack,
            HashForm::Table(_) => Encoding::Hashtable,
        }
    }

    /// The value of `field`.
    pub fn get(&self, field: &[u8]) -> Option<&'a [u8]> {
        self.read(None, |reader, form| form.find(reader, field))
    }

    /// Whether `field` exists.
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// All fields and values: in insertion order while packed, in hash order when a table.
    pub fn iter(&self) -> HashIter<'a> {
        match self.form {
            HashForm::Packed(packed) => HashIter(Inner::Packed(packed.iter())),
            HashForm::Table(_) => {
                let (reader, records) =
                    self.read((self.view.reader(), Vec::new()), |reader, form| {
                        let mut records = Vec::new();
                        if let HashForm::Table(table) = form {
                            walk::for_each(reader, table.root(reader), &mut |record| {
                                records.push(record);
                                true
                            });
                        }
                        (*reader, records)
                    });
                HashIter(Inner::Table {
                    reader,
                    records: records.into_iter(),
                })
            }
        }
    }

    /// Visits some fields, at least `count` unless the end comes first, and returns the cursor to go on with;
    /// zero begins and ends. A packed hash is visited whole.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]),
    ) -> u64 {
        if let HashForm::Packed(packed) = self.form {
            packed.iter().for_each(|(field, value)| visit(field, value));
            return 0;
        }
        let mut position = cursor & POSITION_MASK;
        let mut visited = 0;
        loop {
            let (records, next) = self.read((Vec::new(), None), |reader, form| {
                let mut records = Vec::new();
                let next = match form {
                    HashForm::Table(table) => {
                        walk::scan(reader, table.root(reader), position, &mut |record| {
                            records.push(record)
                        })
                    }
                    HashForm::Packed(_) => None,
                };
                (records, next)
            });
            let reader = self.view.reader();
            for record in &records {
                let (field, value) = pair(&reader, *record);
                visit(field, value);
            }
            visited += records.len();
            match next {
                None => return 0,
                Some(next) if visited >= count => return next,
                Some(next) => position = next,
            }
        }
    }

    /// A field and value drawn uniformly with `rng`. Wants the slot locked: should the hash have gone since it was
    /// found, both are empty.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> (&'a [u8], &'a [u8]) {
        let drawn = match self.form {
            HashForm::Packed(packed) => {
                let n = rng() % packed.len().max(1) as u64;
                packed.iter().nth(n as usize)
            }
            HashForm::Table(table) => {
                let reader = self.view.reader();
                walk::random(&reader, table.root(&reader), rng).map(|record| pair(&reader, record))
            }
        };
        drawn.unwrap_or_default()
    }
}

const POSITION_MASK: u64 = (1 << super::dash::hash::POSITION_BITS) - 1;

fn pair<'a>(reader: &Reader<'a>, record: Record) -> (&'a [u8], &'a [u8]) {
    let blob = Blob::read(reader, record.blob());
    (blob.key(reader), blob.value(reader))
}

/// Iterator over the fields and values of a hash.
pub struct HashIter<'a>(Inner<'a>);

enum Inner<'a> {
    Packed(PackedIter<'a>),
    Table {
        reader: Reader<'a>,
        records: std::vec::IntoIter<Record>,
    },
}

impl<'a> Iterator for HashIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Inner::Packed(pairs) => pairs.next(),
            Inner::Table { reader, records } => records.next().map(|record| pair(reader, record)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Inner::Packed(_) => (0, None),
            Inner::Table { records, .. } => records.size_hint(),
        }
    }
}
