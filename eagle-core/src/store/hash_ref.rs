//! A hash as a view sees it.

use super::dash::layout::Record;
use super::encoding::packed::PackedIter;
use super::entry::Encoding;
use super::located::{self, Located};
use super::medium::Reader;
use super::object::hash::HashForm;
use super::object::member_table::pair;

/// A hash as a view sees it.
///
/// Without a lock each call is atomic by itself. Iteration wants the slot locked.
#[derive(Clone, Copy)]
pub struct HashRef<'v, 'a> {
    at: Located<'v, 'a>,
    form: HashForm<'a>,
}

impl<'v, 'a> HashRef<'v, 'a> {
    pub(super) fn new(at: Located<'v, 'a>, form: HashForm<'a>) -> HashRef<'v, 'a> {
        HashRef { at, form }
    }

    fn read<T>(&self, gone: T, read: impl Fn(&Reader<'a>, &HashForm<'a>) -> T) -> T {
        match self.form {
            HashForm::Packed(_) => read(&self.at.view.reader(), &self.form),
            HashForm::Table(_) => self.at.read(&self.form, HashForm::read, gone, read),
        }
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
                let gone = (self.at.view.reader(), Vec::new());
                let (reader, records) = self.read(gone, |reader, form| {
                    let records = match form {
                        HashForm::Table(table) => table.records(reader),
                        HashForm::Packed(_) => Vec::new(),
                    };
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
        let step = |position| {
            self.read((Vec::new(), None), |reader, form| match form {
                HashForm::Table(table) => table.scan_step(reader, position),
                HashForm::Packed(_) => (Vec::new(), None),
            })
        };
        let reader = self.at.view.reader();
        located::scan(cursor, count, step, &mut |record| {
            let (field, value) = pair(&reader, record);
            visit(field, value);
        })
    }

    /// A field and value drawn uniformly with `rng`. Wants the slot locked: should the hash have gone since it was
    /// found, both are empty.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> (&'a [u8], &'a [u8]) {
        let drawn = match self.form {
            HashForm::Packed(packed) => {
                let n = rng() % packed.len().max(1) as u64;
                packed.iter().nth(n as usize)
            }
            HashForm::Table(table) => table.random(&self.at.view.reader(), rng),
        };
        drawn.unwrap_or_default()
    }
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
