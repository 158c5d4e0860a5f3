//! The keyspace against a plain model: random commands, transactions, rollbacks and restarts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering::Relaxed;

use super::super::{
    Access, DATABASES_MAX, Entry, Keyspace, Kind, RingRecord, StoreError, StringForm, Text, Ttl,
    View, Worker, key_slot,
};
use super::field_ops::{self, FieldOp, Fields, field_name, loaded};
use super::lists::{ListStep, list_step};
use super::streams::{StreamModel, StreamOp, stream_op};
use super::strings::{Part, part};
use super::zsets::{self, ZsetOp};
use crate::pmem::sim::Survivors;
use crate::pmem::{Pool, Sim};
use proptest::prelude::*;

/// A value of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(Vec<u8>),
    Hash(Fields),
    Stream(StreamModel),
    Set(BTreeSet<Vec<u8>>),
    /// Members and the bits of their scores.
    Zset(BTreeMap<Vec<u8>, u64>),
    List(VecDeque<Vec<u8>>),
}

impl Value {
    /// What a view finds at a key.
    pub(super) fn of(view: &View<'_>, db: u8, entry: &Entry<'_>) -> Value {
        match entry.kind() {
            Kind::Hash => {
                let hash = view.hash(db, entry.key()).unwrap().unwrap();
                let fields: BTreeMap<_, _> = hash
                    .fields()
                    .map(|field| (field.name.to_vec(), (field.value.to_vec(), field.ttl_at)))
                    .collect();
                assert_eq!(hash.len(), fields.len() as u64);
                assert_eq!(hash.live_len(), hash.iter().count() as u64);
                for (name, value) in hash.iter() {
                    assert_eq!(hash.get(name), Some(value));
                    assert_eq!(hash.ttl_at(name), Some(fields[name].1));
                }
                Value::Hash(fields)
            }
            Kind::List => {
                let list = view.list(db, entry.key()).unwrap().unwrap();
                Value::List(list.iter().map(<[u8]>::to_vec).collect())
            }
            Kind::Stream => {
                let stream = view.stream(db, entry.key()).unwrap().unwrap();
                Value::Stream(StreamModel::of(&stream))
            }
            Kind::Set => {
                let set = view.set(db, entry.key()).unwrap().unwrap();
                let members: BTreeSet<_> = set.iter().map(|member| member.to_vec()).collect();
                assert_eq!(set.len(), members.len() as u64);
                assert!(members.iter().all(|member| set.contains(member)));
                Value::Set(members)
            }
            Kind::Zset => Value::Zset(zsets::contents(view, db, entry.key())),
            _ => Value::Text(view.string(db, entry.key()).unwrap().unwrap().to_vec()),
        }
    }
}

/// What all databases should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) databases: BTreeMap<(u8, Vec<u8>), (Value, Option<u64>)>,
    pub(super) catalogue: Vec<u8>,
}

/// A command. Keys are numbers: the first hundred share a slot.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Set {
        db: u8,
        key: u8,
        value: Vec<u8>,
        ttl: Ttl,
    },
    SetInt {
        db: u8,
        key: u8,
        value: i64,
    },
    Part {
        db: u8,
        key: u8,
        part: Part,
    },
    Remove {
        db: u8,
        key: u8,
    },
    SetTtl {
        db: u8,
        key: u8,
        at_ms: Option<u64>,
    },
    HashSet {
        db: u8,
        key: u8,
        fields: std::ops::Range<u8>,
        value: Vec<u8>,
    },
    HashRemove {
        db: u8,
        key: u8,
        fields: std::ops::Range<u8>,
    },
    SetHash {
        db: u8,
        key: u8,
        fields: std::ops::Range<u8>,
        ttl: Ttl,
    },
    Field {
        db: u8,
        key: u8,
        op: FieldOp,
    },
    Stream {
        db: u8,
        key: u8,
        op: StreamOp,
    },
    /// The members are integers up to 50, words above.
    List {
        db: u8,
        key: u8,
        step: ListStep,
    },
    SetAdd {
        db: u8,
        key: u8,
        members: std::ops::Range<u8>,
    },
    SetRemove {
        db: u8,
        key: u8,
        members: std::ops::Range<u8>,
    },
    SetSet {
        db: u8,
        key: u8,
        members: std::ops::Range<u8>,
        ttl: Ttl,
    },
    Zset {
        db: u8,
        key: u8,
        op: ZsetOp,
    },
    Rename {
        from: (u8, u8),
        to: (u8, u8),
    },
    Copy {
        from: (u8, u8),
        to: (u8, u8),
    },
    FlushDb {
        db: u8,
    },
    FlushAll,
    Catalogue {
        bytes: Vec<u8>,
    },
    FlushSlot {
        db: u8,
        key: u8,
    },
    Swap {
        a: u8,
        b: u8,
    },
}

pub(super) fn key_name(key: u8) -> Vec<u8> {
    if key < 100 {
        format!("{{t}}{key}").into_bytes()
    } else {
        format!("key:{key}").into_bytes()
    }
}

fn member_name(member: u8) -> Vec<u8> {
    match member {
        // Some need a wider intset.
        40..50 => (i64::from(member) << 40).to_string().into_bytes(),
        0..40 => member.to_string().into_bytes(),
        _ => format!("m{member}").into_bytes(),
    }
}

fn member_names(members: &std::ops::Range<u8>) -> Vec<Vec<u8>> {
    members.clone().map(member_name).collect()
}

impl Op {
    /// The slots the command works on; `None` for all.
    pub(super) fn slots(&self) -> Option<Vec<u16>> {
        let keys = match self {
            Op::Set { key, .. }
            | Op::SetInt { key, .. }
            | Op::Part { key, .. }
            | Op::Remove { key, .. }
            | Op::SetTtl { key, .. }
            | Op::HashSet { key, .. }
            | Op::HashRemove { key, .. }
            | Op::SetHash { key, .. }
            | Op::Field { key, .. }
            | Op::Stream { key, .. }
            | Op::List { key, .. }
            | Op::SetAdd { key, .. }
            | Op::SetRemove { key, .. }
            | Op::SetSet { key, .. }
            | Op::Zset { key, .. }
            | Op::FlushSlot { key, .. } => vec![*key],
            Op::Rename { from, to } | Op::Copy { from, to } => vec![from.1, to.1],
            Op::FlushDb { .. } | Op::FlushAll | Op::Catalogue { .. } | Op::Swap { .. } => {
                return None;
            }
        };
        let mut slots: Vec<u16> = keys
            .into_iter()
            .map(|key| key_slot(&key_name(key)))
            .collect();
        slots.sort_unstable();
        slots.dedup();
        Some(slots)
    }

    /// Runs the command in a view.
    pub(super) fn run(&self, view: &mut View<'_>) -> Result<(), StoreError> {
        let names =
            |fields: &std::ops::Range<u8>| fields.clone().map(field_name).collect::<Vec<_>>();
        match self {
            Op::Set {
                db,
                key,
                value,
                ttl,
            } => view.set_string(*db, &key_name(*key), value, StringForm::Auto, *ttl),
            Op::SetInt { db, key, value } => view.set_int(*db, &key_name(*key), *value, Ttl::Keep),
            Op::Part { db, key, part } => part.run(view, *db, &key_name(*key)),
            Op::Remove { db, key } => view.remove(*db, &key_name(*key)).map(drop),
            Op::SetTtl { db, key, at_ms } => view.set_ttl(*db, &key_name(*key), *at_ms).map(drop),
            Op::HashSet {
                db,
                key,
                fields,
                value,
            } => {
                let names = names(fields);
                let pairs: Vec<_> = names
                    .iter()
                    .map(|name| (name.as_slice(), value.as_slice()))
                    .collect();
                view.hash_set_many(*db, &key_name(*key), &pairs).map(drop)
            }
            Op::HashRemove { db, key, fields } => {
                let names = names(fields);
                let fields: Vec<_> = names.iter().map(Vec::as_slice).collect();
                view.hash_remove(*db, &key_name(*key), &fields).map(drop)
            }
            Op::SetHash {
                db,
                key,
                fields,
                ttl,
            } => {
                let names = names(fields);
                let loaded: Vec<_> = names.iter().map(|name| loaded(name, None)).collect();
                view.set_hash(*db, &key_name(*key), &loaded, *ttl)
            }
            Op::Field { db, key, op } => op.run(view, *db, &key_name(*key)),
            Op::List { db, key, step } => step.run(view, *db, &key_name(*key)),
            Op::Stream { db, key, op } => op.run(view, *db, &key_name(*key)),
            Op::SetAdd { db, key, members } => {
                let names = member_names(members);
                let members: Vec<_> = names.iter().map(Vec::as_slice).collect();
                view.set_add(*db, &key_name(*key), &members).map(drop)
            }
            Op::SetRemove { db, key, members } => {
                let names = member_names(members);
                let members: Vec<_> = names.iter().map(Vec::as_slice).collect();
                view.set_remove(*db, &key_name(*key), &members).map(drop)
            }
            Op::SetSet {
                db,
                key,
                members,
                ttl,
            } => {
                let names: BTreeSet<_> = member_names(members).into_iter().collect();
                let members: Vec<_> = names.iter().map(|name| Text::Bytes(name)).collect();
                view.set_set(*db, &key_name(*key), &members, *ttl)
            }
            Op::Zset { db, key, op } => op.run(view, *db, &key_name(*key)),
            Op::Rename { from, to } => view
                .rename(from.0, &key_name(from.1), to.0, &key_name(to.1))
                .map(drop),
            Op::Copy { from, to } => view
                .copy(from.0, &key_name(from.1), to.0, &key_name(to.1))
                .map(drop),
            Op::FlushDb { db } => view.flush_db(*db),
            Op::FlushAll => view.flush_all(),
            Op::Catalogue { bytes } => view.set_catalogue(bytes),
            Op::FlushSlot { db, key } => view.flush_slot(*db, key_slot(&key_name(*key))).map(drop),
            Op::Swap { a, b } => view.swap_db(*a, *b),
        }
    }
}

impl Model {
    /// Runs a command on the model.
    pub(super) fn apply(&mut self, op: &Op, now_ms: u64) -> Result<(), StoreError> {
        let all = &mut self.databases;
        let live = |all: &BTreeMap<_, (Value, Option<u64>)>, at: &(u8, Vec<u8>)| {
            all.get(at)
                .filter(|(_, ttl)| ttl.is_none_or(|ttl| now_ms <= ttl))
                .cloned()
        };
        let place = |(db, key): (u8, u8)| (db, key_name(key));
        let ttl_of = |all: &BTreeMap<_, _>, at: &(u8, Vec<u8>), ttl| match ttl {
            Ttl::Keep => live(all, at).and_then(|(_, ttl)| ttl),
            Ttl::Clear => None,
            Ttl::At(at_ms) => Some(at_ms),
        };
        match op {
            Op::Set {
                db,
                key,
                value,
                ttl,
            } => {
                let at = place((*db, *key));
                let ttl = ttl_of(all, &at, *ttl);
                all.insert(at, (Value::Text(value.clone()), ttl));
            }
            Op::SetInt { db, key, value } => {
                let at = place((*db, *key));
                let ttl = ttl_of(all, &at, Ttl::Keep);
                all.insert(at, (Value::Text(value.to_string().into_bytes()), ttl));
            }
            Op::Part { db, key, part } => {
                let at = place((*db, *key));
                let (mut text, ttl) = match live(all, &at) {
                    Some((Value::Text(text), ttl)) => (text, ttl),
                    Some(_) => return Err(StoreError::WrongType),
                    None => (Vec::new(), None),
                };
                part.apply(&mut text);
                all.insert(at, (Value::Text(text), ttl));
            }
            Op::Remove { db, key } => {
                all.remove(&place((*db, *key)));
            }
            Op::SetTtl { db, key, at_ms } => {
                let at = place((*db, *key));
                match live(all, &at) {
                    Some((value, _)) => all.insert(at, (value, *at_ms)),
                    None => all.remove(&at),
                };
            }
            Op::HashSet {
                db,
                key,
                fields,
                value,
            } => {
                let at = place((*db, *key));
                let (mut hash, ttl) = match live(all, &at) {
                    Some((Value::Hash(hash), ttl)) => (hash, ttl),
                    Some(_) => return Err(StoreError::WrongType),
                    None => (BTreeMap::new(), None),
                };
                if !fields.is_empty() {
                    hash.extend(
                        fields
                            .clone()
                            .map(|field| (field_name(field), (value.clone(), None))),
                    );
                    all.insert(at, (Value::Hash(hash), ttl));
                }
            }
            Op::HashRemove { db, key, fields } => {
                let at = place((*db, *key));
                match live(all, &at) {
                    Some((Value::Hash(mut hash), ttl)) => {
                        fields
                            .clone()
                            .for_each(|field| drop(hash.remove(&field_name(field))));
                        if hash.is_empty() {
                            all.remove(&at);
                        } else {
                            all.insert(at, (Value::Hash(hash), ttl));
                        }
                    }
                    Some(_) => return Err(StoreError::WrongType),
                    None => drop(all.remove(&at)),
                }
            }
            Op::SetHash {
                db,
                key,
                fields,
                ttl,
            } => {
                let at = place((*db, *key));
                let ttl = ttl_of(all, &at, *ttl);
                let hash: BTreeMap<_, _> = fields
                    .clone()
                    .map(|field| (field_name(field), (b"loaded".to_vec(), None)))
                    .collect();
                if hash.is_empty() {
                    all.remove(&at);
                } else {
                    all.insert(at, (Value::Hash(hash), ttl));
                }
            }
            Op::List { db, key, step } => {
                let at = place((*db, *key));
                let (mut list, ttl) = match live(all, &at) {
                    Some((Value::List(list), ttl)) => (list, ttl),
                    Some(_) => return Err(StoreError::WrongType),
                    None => (VecDeque::new(), None),
                };
                step.apply(&mut list);
                if list.is_empty() {
                    all.remove(&at);
                } else {
                    all.insert(at, (Value::List(list), ttl));
                }
            }
            Op::Field { db, key, op } => {
                let at = place((*db, *key));
                let (old, ttl) = match live(all, &at) {
                    _ if op.replaces() => (None, None),
                    Some((Value::Hash(fields), ttl)) => (Some(fields), ttl),
                    Some(_) => return Err(StoreError::WrongType),
                    None => (None, None),
                };
                match op.apply(old, now_ms) {
                    Some(new) => drop(all.insert(at, (Value::Hash(new), ttl))),
                    None => drop(all.remove(&at)),
                }
            }
            Op::Stream { db, key, op } => {
                let at = place((*db, *key));
                let (old, ttl) = match live(all, &at) {
                    Some((Value::Stream(stream), ttl)) => (Some(stream), ttl),
                    Some(_) => return Err(StoreError::WrongType),
                    None => (None, None),
                };
                match op.apply(old) {
                    Some(new) => drop(all.insert(at, (Value::Stream(new), ttl))),
                    None => drop(all.remove(&at)),
                }
            }
            Op::SetAdd { db, key, members } => {
                let at = place((*db, *key));
                let (mut set, ttl) = match live(all, &at) {
                    Some((Value::Set(set), ttl)) => (set, ttl),
                    Some(_) => return Err(StoreError::WrongType),
                    None => (BTreeSet::new(), None),
                };
                if !members.is_empty() {
                    set.extend(member_names(members));
                    all.insert(at, (Value::Set(set), ttl));
                }
            }
            Op::SetRemove { db, key, members } => {
                let at = place((*db, *key));
                match live(all, &at) {
                    Some((Value::Set(mut set), ttl)) => {
                        set.retain(|member| !member_names(members).contains(member));
                        if set.is_empty() {
                            all.remove(&at);
                        } else {
                            all.insert(at, (Value::Set(set), ttl));
                        }
                    }
                    Some(_) => return Err(StoreError::WrongType),
                    None => drop(all.remove(&at)),
                }
            }
            Op::SetSet {
                db,
                key,
                members,
                ttl,
            } => {
                let at = place((*db, *key));
                let ttl = ttl_of(all, &at, *ttl);
                let set: BTreeSet<_> = member_names(members).into_iter().collect();
                if set.is_empty() {
                    all.remove(&at);
                } else {
                    all.insert(at, (Value::Set(set), ttl));
                }
            }
            Op::Zset { db, key, op } => {
                let at = place((*db, *key));
                let old = live(all, &at);
                let ttl = ttl_of(all, &at, op.ttl());
                let old = match old {
                    None => None,
                    Some((Value::Zset(zset), _)) => Some(zset),
                    Some(_) if op.replaces() => None,
                    Some(_) => return Err(StoreError::WrongType),
                };
                match op.apply(old) {
                    Some(zset) => drop(all.insert(at, (Value::Zset(zset), ttl))),
                    None => drop(all.remove(&at)),
                }
            }
            Op::Rename { from, to } | Op::Copy { from, to } => {
                let (from, to) = (place(*from), place(*to));
                if from != to {
                    let value = live(all, &from);
                    if value.is_none() || matches!(op, Op::Rename { .. }) {
                        all.remove(&from);
                    }
                    if let Some(value) = value {
                        all.insert(to, value);
                    }
                }
            }
            Op::FlushDb { db } => all.retain(|(at, _), _| at != db),
            Op::FlushAll => all.clear(),
            Op::Catalogue { bytes } => self.catalogue.clone_from(bytes),
            Op::FlushSlot { db, key } => {
                let slot = key_slot(&key_name(*key));
                all.retain(|(at, name), _| at != db || key_slot(name) != slot);
            }
            Op::Swap { a, b } => {
                let swapped = |db: u8| {
                    if db == *a {
                        *b
                    } else if db == *b {
                        *a
                    } else {
                        db
                    }
                };
                *all = std::mem::take(all)
                    .into_iter()
                    .map(|((db, key), v)| ((swapped(db), key), v))
                    .collect();
            }
        }
        Ok(())
    }

    /// Removes keys and fields whose time has come.
    pub(super) fn expire(&mut self, now_ms: u64) {
        let live = |at: &Option<u64>| at.is_none_or(|at| now_ms <= at);
        self.databases.retain(|_, (value, ttl)| {
            if let Value::Hash(hash) = value {
                hash.retain(|_, (_, at)| live(at));
            }
            live(ttl) && !matches!(value, Value::Hash(hash) if hash.is_empty())
        });
    }

    /// What the keyspace holds. Expired keys that are still there are included.
    pub(super) fn of(keyspace: &Keyspace, worker: &mut Worker) -> Model {
        let guard = keyspace.pin();
        let view = keyspace.view(worker, &guard, Access::All, 0);
        let mut model = Model {
            catalogue: view.catalogue().to_vec(),
            ..Model::default()
        };
        for db in 0..DATABASES_MAX as u8 {
            let mut count = 0;
            view.for_each(db, &mut |entry| {
                count += 1;
                let value = Value::of(&view, db, entry);
                model
                    .databases
                    .insert((db, entry.key().to_vec()), (value, entry.ttl_at()));
            });
            assert_eq!(count, keyspace.len(db));
        }
        model
    }
}

/// A keyspace on a simulated medium.
pub(super) fn open(sim: &Sim) -> (Keyspace, Worker) {
    let (pool, _) = Pool::simulated(sim).expect("opens");
    let keyspace = Keyspace::on(pool).expect("opens");
    keyspace
        .settings()
        .hash_packed_entries_max
        .store(6, Relaxed);
    keyspace.settings().hash_packed_value_max.store(20, Relaxed);
    keyspace
        .settings()
        .stream_node_entries_max
        .store(5, Relaxed);
    keyspace.settings().set_intset_entries_max.store(6, Relaxed);
    keyspace
        .settings()
        .zset_packed_entries_max
        .store(6, Relaxed);
    let worker = keyspace.worker();
    (keyspace, worker)
}

/// Runs commands as one transaction.
pub(super) fn exec(
    keyspace: &Keyspace,
    worker: &mut Worker,
    ops: &[Op],
    now_ms: u64,
) -> Result<(), StoreError> {
    // What the log says does not matter here, and without a ring it is said to nobody.
    exec_logged(keyspace, worker, ops, now_ms, format!("{ops:?}").as_bytes())
}

/// The same, adding `body` to the log ring.
pub(super) fn exec_logged(
    keyspace: &Keyspace,
    worker: &mut Worker,
    ops: &[Op],
    now_ms: u64,
    body: &[u8],
) -> Result<(), StoreError> {
    let guard = keyspace.pin();
    let slots: Option<Vec<Vec<u16>>> = ops.iter().map(Op::slots).collect();
    let slots = slots.map(|slots| {
        let mut slots = slots.concat();
        slots.sort_unstable();
        slots.dedup();
        slots
    });
    let access = slots
        .as_ref()
        .map_or(Access::All, |slots| Access::Slots(slots));
    let mut view = keyspace.view(worker, &guard, access, now_ms);
    ops.iter().try_for_each(|op| op.run(&mut view))?;
    view.commit_logged(&RingRecord {
        enters: 0,
        bring: b"",
        body,
        leaves: 0,
    });
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    One(Op),
    /// A transaction; committed or dropped.
    Exec(Vec<Op>, bool),
    /// Part of a transaction undone.
    Savepoint(Vec<Op>, Vec<Op>, Vec<Op>),
    Tick(u16),
    Expire,
    Reap,
    Restart,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..30),
        2 => any::<i16>().prop_map(|n| n.to_string().into_bytes()),
        1 => (400..1200usize).prop_map(|len| vec![b'x'; len]),
    ]
}

fn ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![
        Just(Ttl::Keep),
        Just(Ttl::Clear),
        (1000..3000u64).prop_map(Ttl::At)
    ]
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let db = || 0..3u8;
    let key = || prop_oneof![0..40u8, 98..104u8];
    let place = move || (db(), key());
    let fields = || (0..40u8, 0..12u8).prop_map(|(first, count)| first..first + count);
    let members = || (20..70u8, 0..12u8).prop_map(|(first, count)| first..first + count);
    prop_oneof![
        8 => (place(), bytes(), ttl()).prop_map(|((db, key), value, ttl)| Op::Set { db, key, value, ttl }),
        2 => (place(), any::<i64>()).prop_map(|((db, key), value)| Op::SetInt { db, key, value }),
        8 => (db(), 8..14u8, part()).prop_map(|(db, key, part)| Op::Part { db, key, part }),
        6 => place().prop_map(|(db, key)| Op::Remove { db, key }),
        3 => (place(), prop::option::of(1000..3000u64)).prop_map(|((db, key), at_ms)| Op::SetTtl { db, key, at_ms }),
        8 => (db(), 0..5u8, fields(), bytes()).prop_map(|(db, key, fields, value)| Op::HashSet { db, key, fields, value }),
        6 => (db(), 0..5u8, fields()).prop_map(|(db, key, fields)| Op::HashRemove { db, key, fields }),
        1 => (place(), fields(), ttl()).prop_map(|((db, key), fields, ttl)| Op::SetHash { db, key, fields, ttl }),
        16 => (db(), 0..5u8, field_ops::op()).prop_map(|(db, key, op)| Op::Field { db, key, op }),
        8 => (db(), 5..8u8, stream_op()).prop_map(|(db, key, op)| Op::Stream { db, key, op }),
        8 => (db(), 4..9u8, list_step()).prop_map(|(db, key, step)| Op::List { db, key, step }),
        8 => (db(), 0..7u8, members()).prop_map(|(db, key, members)| Op::SetAdd { db, key, members }),
        6 => (db(), 0..7u8, members()).prop_map(|(db, key, members)| Op::SetRemove { db, key, members }),
        1 => (place(), members(), ttl()).prop_map(|((db, key), members, ttl)| Op::SetSet { db, key, members, ttl }),
        8 => (db(), 3..8u8, zsets::op()).prop_map(|(db, key, op)| Op::Zset { db, key, op }),
        2 => (place(), place()).prop_map(|(from, to)| Op::Rename { from, to }),
        2 => (place(), place()).prop_map(|(from, to)| Op::Copy { from, to }),
        1 => db().prop_map(|db| Op::FlushDb { db }),
        1 => Just(Op::FlushAll),
        2 => bytes().prop_map(|bytes| Op::Catalogue { bytes }),
        1 => place().prop_map(|(db, key)| Op::FlushSlot { db, key }),
        1 => (db(), db()).prop_map(|(a, b)| Op::Swap { a, b }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let ops = || prop::collection::vec(op(), 1..6);
    prop_oneof![
        20 => op().prop_map(Step::One),
        4 => (ops(), any::<bool>()).prop_map(|(ops, commit)| Step::Exec(ops, commit)),
        2 => (ops(), ops(), ops()).prop_map(|(a, b, c)| Step::Savepoint(a, b, c)),
        1 => (1..200u16).prop_map(Step::Tick),
        1 => Just(Step::Expire),
        1 => Just(Step::Reap),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_map(steps in prop::collection::vec(step(), 1..120)) {
        let mut sim = Sim::new(32 << 20, 4);
        let (mut keyspace, mut worker) = open(&sim);
        let mut model = Model::default();
        let mut now_ms = 1000;
        for step in steps {
            match step {
                Step::One(op) => {
                    let result = exec(&keyspace, &mut worker, std::slice::from_ref(&op), now_ms);
                    prop_assert_eq!(result, model.apply(&op, now_ms));
                }
                Step::Exec(ops, commit) => {
                    let guard = keyspace.pin();
                    let mut view = keyspace.view(&mut worker, &guard, Access::All, now_ms);
                    let mut after = model.clone();
                    for op in &ops {
                        prop_assert_eq!(op.run(&mut view), after.apply(op, now_ms));
                    }
                    if commit {
                        view.commit();
                        model = after;
                    }
                }
                Step::Savepoint(first, undone, last) => {
                    let guard = keyspace.pin();
                    let mut view = keyspace.view(&mut worker, &guard, Access::All, now_ms);
                    for op in &first {
                        prop_assert_eq!(op.run(&mut view), model.apply(op, now_ms));
                    }
                    let savepoint = view.savepoint();
                    for op in &undone {
                        let _ = op.run(&mut view);
                    }
                    view.rollback_to(savepoint);
                    for op in &last {
                        prop_assert_eq!(op.run(&mut view), model.apply(op, now_ms));
                    }
                    view.commit();
                }
                Step::Tick(ms) => now_ms += u64::from(ms),
                Step::Expire => {
                    keyspace.expire_step(&mut worker, now_ms, 1000, &mut |view| view.commit());
                    keyspace.expire_fields_step(&mut worker, now_ms, 100_000, &mut |view| view.commit());
                    model.expire(now_ms);
                }
                Step::Reap => {
                    keyspace.reap_step(&mut worker, 20);
                }
                Step::Restart => {
                    drop(worker);
                    drop(keyspace);
                    let mut replay = sim.replay();
                    while replay.step() {}
                    sim = sim.after_crash(replay.image(Survivors::Nothing));
                    (keyspace, worker) = open(&sim);
                }
            }
        }
        prop_assert_eq!(&Model::of(&keyspace, &mut worker), &model);
        let report = keyspace.check();
        prop_assert_eq!(report.faults, Vec::<String>::new());
    }
}
