//! A hash as a view sees it.

use super::dash::layout::Record;
use super::encoding::packed::PackedIter;
use super::encoding::packed_timed::PackedTimedIter;
use super::entry::{Encoding, HashField};
use super::located::{self, Located};
use super::medium::Reader;
use super::object::hash::HashForm;
use super::object::member_table::pair;
use super::object::timed_table;

/// A field that a view has met after its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetField {
    /// The database.
    pub db: u8,
    /// The hash.
    pub key: Box<[u8]>,
    /// The field.
    pub field: Box<[u8]>,
}

/// A hash as a view sees it. Fields whose time has come are not there, but where they are said to be.
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
            HashForm::Packed(_) | HashForm::PackedTimed(_) => {
                read(&self.at.view.reader(), &self.form)
            }
            HashForm::Table(_) | HashForm::Timed(_) => {
                self.at.read(&self.form, HashForm::read, gone, read)
            }
        }
    }

    /// Number of fields, those whose time has come included as long as nobody has removed them; zero only if the hash has
    /// gone since it was found, which a lock prevents.
    pub fn len(&self) -> u64 {
        self.read(0, |reader, form| form.len(reader))
    }

    /// Whether the hash has gone since it was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of fields whose time has not come. Takes time for each field if there may be others.
    pub fn live_len(&self) -> u64 {
        if self.may_have_expired() {
            self.iter().count() as u64
        } else {
            self.len()
        }
    }

    /// `listpack`, `listpackex` or `hashtable`.
    pub fn encoding(&self) -> Encoding {
        match self.form {
            HashForm::Packed(_) => Encoding::Listpack,
            HashForm::PackedTimed(_) => Encoding::ListpackEx,
            HashForm::Table(_) | HashForm::Timed(_) => Encoding::Hashtable,
        }
    }

    /// Whether a field may be there whose time has come.
    pub fn may_have_expired(&self) -> bool {
        let due = self.read(None, |reader, form| form.due(reader));
        due.is_some_and(|due| self.at.view.now_ms() > due)
    }

    /// Number of fields of a large hash that expire.
    pub fn expiring_len(&self) -> u64 {
        self.read(0, |reader, form| match form {
            HashForm::Timed(table) => table.dues().weight(reader),
            _ => 0,
        })
    }

    /// A field as it lies there, its time come or not: its value and when it expires.
    fn find(&self, field: &[u8]) -> Option<(&'a [u8], Option<u64>)> {
        self.read(None, |reader, form| form.find(reader, field))
    }

    /// The value of `field`. If its time has come, the view [notes](super::View::met_fields) that.
    pub fn get(&self, field: &[u8]) -> Option<&'a [u8]> {
        match self.find(field)? {
            (value, None) => Some(value),
            (value, Some(at)) if self.at.view.now_ms() <= at => Some(value),
            _ => {
                self.at.view.note_met_field(self.at.db, self.at.key, field);
                None
            }
        }
    }

    /// Whether `field` exists.
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// When `field` expires (Unix milliseconds), if it does, and if it is there.
    pub fn ttl_at(&self, field: &[u8]) -> Option<Option<u64>> {
        let (_, ttl_at) = self.find(field)?;
        ttl_at
            .is_none_or(|at| self.at.view.now_ms() <= at)
            .then_some(ttl_at)
    }

    /// Whether `field` is there but its time has come.
    pub fn has_expired(&self, field: &[u8]) -> bool {
        self.find(field)
            .is_some_and(|(_, ttl_at)| ttl_at.is_some_and(|at| self.at.view.now_ms() > at))
    }

    /// All fields and values: in insertion order while packed, in hash order when a table.
    pub fn iter(&self) -> HashIter<'a> {
        HashIter(match self.form {
            HashForm::Packed(packed) => Inner::Packed(packed.iter()),
            HashForm::Table(_) => {
                let (reader, records) = self.records();
                Inner::Table { reader, records }
            }
            HashForm::PackedTimed(_) | HashForm::Timed(_) => Inner::Timed {
                fields: self.fields(),
                now_ms: self.at.view.now_ms(),
            },
        })
    }

    /// All fields in the same order, those whose time has come included.
    pub fn fields(&self) -> FieldIter<'a> {
        let (left, fields) = match self.form {
            HashForm::Packed(packed) => (packed.len(), Fields::Packed(packed.iter())),
            HashForm::PackedTimed(packed) => (packed.len(), Fields::PackedTimed(packed.iter())),
            HashForm::Table(_) | HashForm::Timed(_) => {
                let (reader, records) = self.records();
                (records.len(), Fields::Table { reader, records })
            }
        };
        FieldIter { fields, left }
    }

    /// The records of a table.
    fn records(&self) -> (Reader<'a>, std::vec::IntoIter<Record>) {
        let gone = (self.at.view.reader(), Vec::new());
        let (reader, records) = self.read(gone, |reader, form| {
            let records = match form {
                HashForm::Table(table) => table.records(reader),
                HashForm::Timed(table) => table.members().records(reader),
                HashForm::Packed(_) | HashForm::PackedTimed(_) => Vec::new(),
            };
            (*reader, records)
        });
        (reader, records.into_iter())
    }

    /// Visits some fields, at least `count` (those included whose time has come) unless the end comes first, and returns
    /// the cursor to go on with; zero begins and ends. A packed hash is visited whole.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]),
    ) -> u64 {
        if let HashForm::Packed(_) | HashForm::PackedTimed(_) = self.form {
            self.iter().for_each(|(field, value)| visit(field, value));
            return 0;
        }
        let step = |position| {
            self.read((Vec::new(), None), |reader, form| match form {
                HashForm::Table(table) => table.scan_step(reader, position),
                HashForm::Timed(table) => table.members().scan_step(reader, position),
                HashForm::Packed(_) | HashForm::PackedTimed(_) => (Vec::new(), None),
            })
        };
        let (reader, now_ms) = (self.at.view.reader(), self.at.view.now_ms());
        located::scan(cursor, count, step, &mut |record| {
            let field = timed_table::field(&reader, record);
            if !field.expired(now_ms) {
                visit(field.name, field.value);
            }
        })
    }

    /// A field and value drawn uniformly with `rng`. Wants the slot locked: should the hash have gone since it was
    /// found, or no field be left whose time has not come, both are empty.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> (&'a [u8], &'a [u8]) {
        let nth = |len: usize, rng: &mut dyn FnMut() -> u64| (rng() % len.max(1) as u64) as usize;
        if self.may_have_expired() {
            let live: Vec<_> = self.iter().collect();
            return live.get(nth(live.len(), rng)).copied().unwrap_or_default();
        }
        let reader = self.at.view.reader();
        let drawn = match self.form {
            HashForm::Packed(packed) => packed.iter().nth(nth(packed.len(), rng)),
            HashForm::PackedTimed(packed) => {
                let field = packed.iter().nth(nth(packed.len(), rng));
                field.map(|field| (field.name, field.value))
            }
            HashForm::Table(table) => table.random(&reader, rng),
            HashForm::Timed(table) => table.members().random(&reader, rng),
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
    Timed {
        fields: FieldIter<'a>,
        now_ms: u64,
    },
}

impl<'a> Iterator for HashIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Inner::Packed(pairs) => pairs.next(),
            Inner::Table { reader, records } => records.next().map(|record| pair(reader, record)),
            Inner::Timed { fields, now_ms } => fields
                .find(|field| !field.expired(*now_ms))
                .map(|field| (field.name, field.value)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Inner::Packed(_) | Inner::Timed { .. } => (0, None),
            Inner::Table { records, .. } => records.size_hint(),
        }
    }
}

/// Iterator over the fields of a hash, with when they expire.
#[derive(Clone)]
pub struct FieldIter<'a> {
    fields: Fields<'a>,
    left: usize,
}

#[derive(Clone)]
enum Fields<'a> {
    Packed(PackedIter<'a>),
    PackedTimed(PackedTimedIter<'a>),
    Table {
        reader: Reader<'a>,
        records: std::vec::IntoIter<Record>,
    },
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = HashField<'a>;

    fn next(&mut self) -> Option<HashField<'a>> {
        self.left = self.left.saturating_sub(1);
        match &mut self.fields {
            Fields::Packed(pairs) => pairs.next().map(|(name, value)| HashField {
                name,
                value,
                ttl_at: None,
            }),
            Fields::PackedTimed(fields) => fields.next(),
            Fields::Table { reader, records } => records
                .next()
                .map(|record| timed_table::field(reader, record)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for FieldIter<'_> {}
