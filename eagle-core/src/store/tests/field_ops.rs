//! Commands on fields that expire, for the model and the crash tests.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::prelude::*;

use super::super::{FieldRule, FieldTtl, HashField, StoreError, Ttl, View};

/// Fields of a hash with their values and when they expire.
pub(super) type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

/// A command on fields of one hash.
#[derive(Clone, Debug)]
pub(super) enum FieldOp {
    /// Replaces what there is; every other field expires then.
    Load(Range<u8>, u64),
    Set(Range<u8>, Vec<u8>, FieldTtl),
    Expire(Range<u8>, Option<u64>, FieldRule),
    /// Removes those whose time has come.
    Lapse(Range<u8>),
}

pub(super) fn field_name(field: u8) -> Vec<u8> {
    format!("f{field}").into_bytes()
}

/// A field as it is loaded.
pub(super) fn loaded(name: &[u8], ttl_at: Option<u64>) -> HashField<'_> {
    HashField {
        name,
        value: b"loaded",
        ttl_at,
    }
}

impl FieldOp {
    fn fields(&self) -> Range<u8> {
        match self {
            FieldOp::Load(fields, _)
            | FieldOp::Set(fields, ..)
            | FieldOp::Expire(fields, ..)
            | FieldOp::Lapse(fields) => fields.clone(),
        }
    }

    /// Whether it replaces what the key holds, whatever that is.
    pub(super) fn replaces(&self) -> bool {
        matches!(self, FieldOp::Load(..))
    }

    pub(super) fn run(&self, view: &mut View<'_>, db: u8, key: &[u8]) -> Result<(), StoreError> {
        let names: Vec<_> = self.fields().map(field_name).collect();
        let fields: Vec<_> = names.iter().map(Vec::as_slice).collect();
        match self {
            FieldOp::Load(_, at_ms) => {
                let all = fields.iter().enumerate();
                let all = all.map(|(i, name)| loaded(name, (i % 2 == 0).then_some(*at_ms)));
                view.set_hash(db, key, &all.collect::<Vec<_>>(), Ttl::Clear)
            }
            FieldOp::Set(_, value, ttl) => {
                let pairs: Vec<_> = fields.iter().map(|name| (*name, &value[..])).collect();
                view.hash_set_timed(db, key, &pairs, *ttl).map(drop)
            }
            FieldOp::Expire(_, ttl_at, rule) => {
                view.hash_expire(db, key, &fields, *ttl_at, *rule).map(drop)
            }
            FieldOp::Lapse(_) => view.hash_lapse(db, key, &fields).map(drop),
        }
    }

    /// What it makes of a hash; `None` if there is none any more.
    pub(super) fn apply(&self, old: Option<Fields>, now_ms: u64) -> Option<Fields> {
        let mut all = old.unwrap_or_default();
        for (i, field) in self.fields().enumerate() {
            let name = field_name(field);
            let old = all.get(&name).map(|(_, ttl_at)| *ttl_at);
            let is_due = |ttl_at: Option<u64>| ttl_at.is_some_and(|at| now_ms > at);
            match (self, old) {
                (FieldOp::Load(_, at_ms), _) => {
                    let ttl_at = (i % 2 == 0).then_some(*at_ms);
                    all.insert(name, (b"loaded".to_vec(), ttl_at));
                }
                (FieldOp::Set(_, value, ttl), old) => {
                    let ttl_at = match ttl {
                        FieldTtl::Clear => None,
                        FieldTtl::Keep => old.flatten(),
                        FieldTtl::At(at) => Some(*at),
                    };
                    all.insert(name, (value.clone(), ttl_at));
                }
                (FieldOp::Expire(_, ttl_at, rule), Some(old)) if !is_due(old) => {
                    let applies = ttl_at.is_none_or(|new| match rule {
                        FieldRule::Any => true,
                        FieldRule::Absent => old.is_none(),
                        FieldRule::Present => old.is_some(),
                        FieldRule::Later => old.is_some_and(|old| new > old),
                        FieldRule::Earlier => old.is_none_or(|old| new < old),
                    });
                    if applies && ttl_at.is_some_and(|new| new <= now_ms) {
                        all.remove(&name);
                    } else if applies && let Some(field) = all.get_mut(&name) {
                        field.1 = *ttl_at;
                    }
                }
                (FieldOp::Lapse(_), Some(old)) if is_due(old) => drop(all.remove(&name)),
                _ => {}
            }
        }
        (!all.is_empty()).then_some(all)
    }
}

pub(super) fn op() -> impl Strategy<Value = FieldOp> {
    let fields = || (0..40u8, 0..12u8).prop_map(|(first, count)| first..first + count);
    let value = prop::collection::vec(any::<u8>(), 0..30);
    prop_oneof![
        1 => (fields(), 1000..3000u64).prop_map(|(fields, at_ms)| FieldOp::Load(fields, at_ms)),
        6 => (fields(), value, ttl()).prop_map(|(fields, value, ttl)| FieldOp::Set(fields, value, ttl)),
        8 => (fields(), prop::option::of(900..3000u64), rule())
            .prop_map(|(fields, ttl_at, rule)| FieldOp::Expire(fields, ttl_at, rule)),
        2 => fields().prop_map(FieldOp::Lapse),
    ]
}

fn ttl() -> impl Strategy<Value = FieldTtl> {
    prop_oneof![
        Just(FieldTtl::Keep),
        Just(FieldTtl::Clear),
        (1000..3000u64).prop_map(FieldTtl::At)
    ]
}

fn rule() -> impl Strategy<Value = FieldRule> {
    prop_oneof![
        4 => Just(FieldRule::Any),
        1 => Just(FieldRule::Absent),
        1 => Just(FieldRule::Present),
        1 => Just(FieldRule::Later),
        1 => Just(FieldRule::Earlier),
    ]
}
