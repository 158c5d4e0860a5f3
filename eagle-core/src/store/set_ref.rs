//! A set as a view sees it.

use super::dash::layout::Record;
use super::encoding::intset::IntsetIter;
use super::entry::{Encoding, Text};
use super::located::{self, Located};
use super::medium::Reader;
use super::object::member_table::pair;
use super::object::set::SetForm;

/// A set as a view sees it.
///
/// Without a lock each call is atomic by itself. Iteration wants the slot locked.
#[derive(Clone, Copy)]
pub struct SetRef<'v, 'a> {
    at: Located<'v, 'a>,
    form: SetForm<'a>,
}

impl<'v, 'a> SetRef<'v, 'a> {
    pub(super) fn new(at: Located<'v, 'a>, form: SetForm<'a>) -> SetRef<'v, 'a> {
        SetRef { at, form }
    }

    fn read<T>(&self, gone: T, read: impl Fn(&Reader<'a>, &SetForm<'a>) -> T) -> T {
        match self.form {
            SetForm::Intset(_) => read(&self.at.view.reader(), &self.form),
            SetForm::Table(_) => self.at.read(&self.form, SetForm::read, gone, read),
        }
    }

    /// Number of members; zero only if the set has gone since it was found, which a lock prevents.
    pub fn len(&self) -> u64 {
        self.read(0, |reader, form| form.len(reader))
    }

    /// Whether the set has gone since it was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `intset` or `hashtable`.
    pub fn encoding(&self) -> Encoding {
        match self.form {
            SetForm::Intset(_) => Encoding::Intset,
            SetForm::Table(_) => Encoding::Hashtable,
        }
    }

    /// The bytes of an intset, packed as Redis packs it too; `None` if the set is a table.
    pub fn intset(&self) -> Option<&'a [u8]> {
        match self.form {
            SetForm::Intset(set) => Some(set.bytes()),
            SetForm::Table(_) => None,
        }
    }

    /// Whether `member` is in the set.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.read(false, |reader, form| form.contains(reader, member))
    }

    /// Which of `members` are in the set, all at one instant.
    pub fn contains_each(&self, members: &[&[u8]]) -> Vec<bool> {
        let none = vec![false; members.len()];
        self.read(none, |reader, form| {
            members
                .iter()
                .map(|member| form.contains(reader, member))
                .collect()
        })
    }

    /// All members: ascending integers while an intset, bytes in hash order when a table.
    pub fn iter(&self) -> SetIter<'a> {
        match self.form {
            SetForm::Intset(set) => SetIter(Inner::Intset(set.iter())),
            SetForm::Table(_) => {
                let gone = (self.at.view.reader(), Vec::new());
                let (reader, records) = self.read(gone, |reader, form| {
                    let records = match form {
                        SetForm::Table(table) => table.records(reader),
                        SetForm::Intset(_) => Vec::new(),
                    };
                    (*reader, records)
                });
                SetIter(Inner::Table {
                    reader,
                    records: records.into_iter(),
                })
            }
        }
    }

    /// Visits some members, at least `count` unless the end comes first, and returns the cursor to go on with; zero
    /// begins and ends. An intset is visited whole.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Text<'a>)) -> u64 {
        if let SetForm::Intset(set) = self.form {
            set.iter().for_each(|member| visit(Text::Int(member)));
            return 0;
        }
        let step = |position| {
            self.read((Vec::new(), None), |reader, form| match form {
                SetForm::Table(table) => table.scan_step(reader, position),
                SetForm::Intset(_) => (Vec::new(), None),
            })
        };
        let reader = self.at.view.reader();
        located::scan(cursor, count, step, &mut |record| {
            visit(Text::Bytes(pair(&reader, record).0));
        })
    }

    /// A member drawn uniformly with `rng`. Wants the slot locked: should the set have gone since it was found, it is
    /// empty.
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Text<'a> {
        let drawn = match self.form {
            SetForm::Intset(set) => {
                let n = rng() % set.len().max(1) as u64;
                set.get(n as usize).map(Text::Int)
            }
            SetForm::Table(table) => table
                .random(&self.at.view.reader(), rng)
                .map(|(member, _)| Text::Bytes(member)),
        };
        drawn.unwrap_or(Text::Bytes(b""))
    }
}

/// Iterator over the members of a set.
#[derive(Clone)]
pub struct SetIter<'a>(Inner<'a>);

#[derive(Clone)]
enum Inner<'a> {
    Intset(IntsetIter<'a>),
    Table {
        reader: Reader<'a>,
        records: std::vec::IntoIter<Record>,
    },
}

impl<'a> Iterator for SetIter<'a> {
    type Item = Text<'a>;

    fn next(&mut self) -> Option<Text<'a>> {
        match &mut self.0 {
            Inner::Intset(members) => members.next().map(Text::Int),
            Inner::Table { reader, records } => records
                .next()
                .map(|record| Text::Bytes(pair(reader, record).0)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Inner::Intset(members) => members.size_hint(),
            Inner::Table { records, .. } => records.size_hint(),
        }
    }
}

impl ExactSizeIterator for SetIter<'_> {}
