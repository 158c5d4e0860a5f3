//! Between the keyspace and its encodings: the one place that turns a key's value into bytes, and decoded bytes into a
//! key.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use eagle_core::store::{
    Encoding, Entry, HashField, Kind, StoreError, StringForm, StringRead, Text, Ttl, View,
};
use itoa::Buffer;

use super::list;
use super::list::NodeLimits;
use super::string::Compression;
use super::value::{self, FieldValue, HashForm, Value};
use super::zset::Scored;

/// Appends type byte and value of `entry`, a key of `db` whose slot is locked, in the form in which version 10 writes
/// it, or if fields of it expire, version 12.
pub fn write_value(
    out: &mut Vec<u8>,
    view: &View<'_>,
    db: u8,
    entry: &Entry<'_>,
    compression: Compression,
) -> Result<(), StoreError> {
    const LOCKED: &str = "the entry was found in this view, whose slot is locked";
    let packed_or_table = |encoding| match encoding {
        Encoding::Listpack | Encoding::ListpackEx => HashForm::Listpack,
        _ => HashForm::Table,
    };
    let key = entry.key();
    match entry.kind() {
        Kind::String => {
            let wrote = view.with_string(db, key, |string| match string.text() {
                Some(text) => {
                    value::write_string(out, text.as_bytes(&mut Buffer::new()), compression);
                }
                None => value::write_string_apart(out, string, compression),
            })?;
            wrote.expect(LOCKED);
        }
        Kind::Hash => {
            let hash = view.hash(db, key)?.expect(LOCKED);
            let form = packed_or_table(hash.encoding());
            // Those whose time has come are still there.
            let fields = hash.fields();
            let lens = fields
                .clone()
                .map(|field| field.name.len() + field.value.len());
            make_room(out, fields.len(), lens);
            if fields.clone().any(|field| field.ttl_at.is_some()) {
                value::write_timed_hash(out, fields, form, compression);
            } else {
                let pairs = fields.map(|field| (field.name, field.value));
                value::write_hash(out, pairs, form, compression);
            }
        }
        Kind::Set => {
            let set = view.set(db, key)?.expect(LOCKED);
            if let Some(blob) = set.intset() {
                value::write_intset(out, blob, compression);
            } else {
                let members = set.iter().map(|member| match member {
                    Text::Bytes(bytes) => bytes,
                    Text::Int(_) => unreachable!("only an intset has its members as numbers"),
                });
                make_room(out, members.len(), members.clone().map(<[u8]>::len));
                value::write_set(out, members, compression);
            }
        }
        Kind::Stream => {
            let stream = view.stream(db, key)?.expect(LOCKED);
            value::write_stream(out, &stream, compression);
        }
        Kind::List => {
            let list = view.list(db, key)?.expect(LOCKED);
            let settings = view.settings();
            let limits = NodeLimits {
                fill: settings.list_fill.load(Relaxed),
                plain_bytes_min: settings.list_plain_bytes_min.load(Relaxed) as usize,
            };
            make_room(out, list.len() as usize, list.iter().map(<[u8]>::len));
            list::write(out, list.iter(), limits, compression);
        }
        Kind::Zset => {
            let zset = view.zset(db, key)?.expect(LOCKED);
            let form = packed_or_table(zset.encoding());
            let members = zset.range(0..u64::MAX, form == HashForm::Table);
            let lens = zset
                .iter()
                .map(|(member, _)| member.len() + size_of::<f64>());
            make_room(out, members.len(), lens);
            value::write_zset(out, members, form, compression);
        }
    }
    Ok(())
}

/// Takes memory for `count` elements, most of them as long as the first ones are, at once: to grow by doubling, what is long
/// may have to be copied. What is not used of it costs nothing.
fn make_room(out: &mut Vec<u8>, count: usize, lens: impl Iterator<Item = usize>) {
    const FEW: usize = 1024;
    const SAMPLES: usize = 64;
    /// What an element takes beside its bytes.
    const OVERHEAD_BYTES: usize = 8;
    /// The first ones may be far longer than all others.
    const BYTES_MAX: usize = 1 << 30;
    if count >= FEW {
        let sampled: usize = lens.take(SAMPLES).map(|len| len + OVERHEAD_BYTES).sum();
        let bytes = (sampled / SAMPLES).saturating_mul(count).min(BYTES_MAX);
        // It will be grown if there is no such room.
        let _ = out.try_reserve(bytes);
    }
}

/// Stores a decoded value at `key`, replacing whatever it holds.
pub fn store_value(
    view: &mut View<'_>,
    db: u8,
    key: &[u8],
    value: &Value<'_>,
    ttl: Ttl,
) -> Result<(), StoreError> {
    match value {
        Value::String(bytes) => view.set_string(db, key, bytes, StringForm::Auto, ttl),
        Value::PackedString(packed) => {
            let mut unpacking = packed.unpack();
            let mut part = |_: &[StringRead<'_, '_>], range: Range<u64>, bytes: &mut Vec<u8>| {
                unpacking.append((range.end - range.start) as usize, bytes);
            };
            view.make_string(db, key, &[], packed.len(), ttl, &mut part)
        }
        Value::Stream(image) => view.set_stream(db, key, image, ttl),
        Value::Zset(members) => view.set_zset(db, key, &by_ref(members), ttl),
        Value::PackedZset(members) => view.set_packed_zset(db, key, &by_ref(members), ttl),
        Value::Hash(pairs) => view.set_hash(db, key, &untimed(pairs), ttl),
        Value::PackedHash(pairs) => view.set_packed_hash(db, key, &untimed(pairs), ttl),
        Value::TimedHash(fields) => {
            let fields = fields.iter().map(|(name, value, ttl_at)| HashField {
                name,
                value,
                ttl_at: *ttl_at,
            });
            view.set_hash(db, key, &fields.collect::<Vec<_>>(), ttl)
        }
        Value::List(elements) => {
            let elements: Vec<&[u8]> = elements.iter().map(|element| &element[..]).collect();
            view.set_list(db, key, &elements, ttl)
        }
        Value::Set(members) => {
            let members: Vec<_> = members.iter().map(|member| Text::Bytes(member)).collect();
            view.set_set(db, key, &members, ttl)
        }
    }
}

fn by_ref<'m>(members: &'m [Scored<'_>]) -> Vec<(&'m [u8], f64)> {
    members
        .iter()
        .map(|(member, score)| (&member[..], *score))
        .collect()
}

fn untimed<'p>(pairs: &'p [FieldValue<'_>]) -> Vec<HashField<'p>> {
    let fields = pairs.iter().map(|(name, value)| HashField {
        name,
        value,
        ttl_at: None,
    });
    fields.collect()
}
