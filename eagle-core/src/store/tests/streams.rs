//! Streams: a model of one stream for the tests of the whole keyspace, and tests of what the model does not show.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;

use super::super::{
    Encoding, Kind, StoreError, StreamEdit, StreamId, StreamImage, StreamRef, Trim, TrimTo, Ttl,
    View,
};
use super::Fixture;

/// What a stream should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamModel {
    entries: BTreeMap<StreamId, Vec<Vec<u8>>>,
    last: StreamId,
    first: StreamId,
    max_deleted: StreamId,
    added: u64,
    groups: BTreeMap<Vec<u8>, GroupModel>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct GroupModel {
    last: StreamId,
    read: Option<u64>,
    consumers: BTreeMap<Vec<u8>, u64>,
    /// Time, deliveries, consumer.
    pendings: BTreeMap<StreamId, (u64, u64, Vec<u8>)>,
}

/// A change of a stream. Groups and consumers are numbers; entries are counted from the first one.
#[derive(Clone, Debug)]
pub(super) enum StreamOp {
    /// Adds entries, each so much after the last one; they differ in their field names now and then.
    Add {
        count: u8,
        step_ms: u8,
        value: Vec<u8>,
    },
    Delete {
        from: u8,
        count: u8,
    },
    TrimTo {
        len: u8,
    },
    TrimBefore {
        entry: u8,
    },
    SetIds {
        step_ms: u8,
    },
    CreateGroup {
        group: u8,
    },
    DestroyGroup {
        group: u8,
    },
    /// Makes entries pending for a consumer, who is made if need be.
    Deliver {
        group: u8,
        consumer: u8,
        from: u8,
        count: u8,
    },
    Acknowledge {
        group: u8,
        from: u8,
        count: u8,
    },
    DeleteConsumer {
        group: u8,
        consumer: u8,
    },
}

fn name(number: u8) -> Vec<u8> {
    format!("name-{}", number % 3).into_bytes()
}

fn fields(id: StreamId, value: &[u8]) -> Vec<Vec<u8>> {
    let field = |name: &str| name.as_bytes().to_vec();
    match id.seq % 4 {
        0 => vec![
            field("other"),
            value.to_vec(),
            field("second"),
            b"2".to_vec(),
        ],
        _ => vec![field("field"), value.to_vec()],
    }
}

fn after(last: StreamId, step_ms: u8) -> StreamId {
    match step_ms {
        0 => last.next().unwrap(),
        step => StreamId::new(last.ms + u64::from(step), 0),
    }
}

const DELIVERED_MS: u64 = 777;

impl StreamOp {
    fn makes(&self) -> bool {
        matches!(self, StreamOp::Add { count, .. } if *count > 0)
            || matches!(self, StreamOp::CreateGroup { .. })
    }

    /// Runs the change in a view.
    pub(super) fn run(&self, view: &mut View<'_>, db: u8, key: &[u8]) -> Result<(), StoreError> {
        view.edit_stream(db, key, self.makes(), |stream| self.edit(stream))
            .map(drop)
    }

    fn edit(&self, stream: &mut StreamEdit<'_, '_, '_>) -> Result<(), StoreError> {
        let ids = |stream: &StreamRef<'_>, from: u8, count: u8| -> Vec<StreamId> {
            let all = stream
                .range(StreamId::MIN, StreamId::MAX)
                .map(|entry| entry.id);
            all.skip(from.into()).take(count.into()).collect()
        };
        match self {
            StreamOp::Add {
                count,
                step_ms,
                value,
            } => {
                for _ in 0..*count {
                    let id = after(stream.stream().last_id(), *step_ms);
                    let fields = fields(id, value);
                    let slices: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
                    stream.add(id, &slices)?;
                }
            }
            StreamOp::Delete { from, count } => {
                let mut ids = ids(&stream.stream(), *from, *count);
                ids.extend(ids.clone());
                stream.delete(&ids)?;
            }
            StreamOp::TrimTo { len } => {
                let trim = Trim {
                    to: TrimTo::Len((*len).into()),
                    approximate: false,
                    limit: 0,
                };
                stream.trim(&trim)?;
            }
            StreamOp::TrimBefore { entry } => {
                if let [id] = ids(&stream.stream(), *entry, 1)[..] {
                    let trim = Trim {
                        to: TrimTo::From(id),
                        approximate: false,
                        limit: 0,
                    };
                    stream.trim(&trim)?;
                }
            }
            StreamOp::SetIds { step_ms } => {
                let last = after(stream.stream().last_id(), *step_ms);
                let added = stream.stream().entries_added() + 5;
                stream.set_ids(last, Some(added), Some(StreamId::new(1, 1)))?;
            }
            StreamOp::CreateGroup { group } => {
                let last = stream.stream().last_id();
                stream.create_group(&name(*group), last, Some(u64::from(*group)))?;
            }
            StreamOp::DestroyGroup { group } => {
                stream.destroy_group(&name(*group))?;
            }
            StreamOp::Deliver {
                group,
                consumer,
                from,
                count,
            } => {
                let ids = ids(&stream.stream(), *from, *count);
                let Some(group) = stream.stream().group(&name(*group)) else {
                    return Ok(());
                };
                let consumer = match group.consumer(&name(*consumer)) {
                    Some(consumer) => consumer,
                    None => stream.create_consumer(&group, &name(*consumer), 5)?,
                };
                stream.see_consumer(&consumer, 6)?;
                for id in ids {
                    let deliveries = group.pending(id).map_or(0, |pending| pending.deliveries);
                    stream.set_pending(&group, &consumer, id, DELIVERED_MS, deliveries + 1)?;
                    stream.set_group(&group, id, None)?;
                }
            }
            StreamOp::Acknowledge { group, from, count } => {
                let Some(group) = stream.stream().group(&name(*group)) else {
                    return Ok(());
                };
                let all = group.pending_from(StreamId::MIN);
                let some: Vec<_> = all.skip((*from).into()).take((*count).into()).collect();
                for pending in some {
                    stream.remove_pending(&group, &pending)?;
                }
            }
            StreamOp::DeleteConsumer { group, consumer } => {
                if let Some(group) = stream.stream().group(&name(*group))
                    && let Some(consumer) = group.consumer(&name(*consumer))
                {
                    stream.delete_consumer(&group, &consumer)?;
                }
            }
        }
        Ok(())
    }

    /// Runs the change on the model; `None`: there is no stream.
    pub(super) fn apply(&self, model: Option<StreamModel>) -> Option<StreamModel> {
        let made = self.makes().then(StreamModel::default);
        let mut model = model.or(made)?;
        let ids = |model: &StreamModel, from: u8, count: u8| -> Vec<StreamId> {
            let all = model.entries.keys().copied();
            all.skip(from.into()).take(count.into()).collect()
        };
        let first = |model: &StreamModel| model.entries.keys().next().copied().unwrap_or_default();
        match self {
            StreamOp::Add {
                count,
                step_ms,
                value,
            } => {
                for _ in 0..*count {
                    let id = after(model.last, *step_ms);
                    model.entries.insert(id, fields(id, value));
                    model.last = id;
                    model.added += 1;
                }
                model.first = first(&model);
            }
            StreamOp::Delete { from, count } => {
                for id in ids(&model, *from, *count) {
                    model.entries.remove(&id);
                    model.max_deleted = model.max_deleted.max(id);
                }
                model.first = first(&model);
            }
            StreamOp::TrimTo { len } => {
                while model.entries.len() > usize::from(*len) {
                    model.entries.pop_first();
                }
                model.first = first(&model);
            }
            StreamOp::TrimBefore { entry } => {
                if let [id] = ids(&model, *entry, 1)[..] {
                    model.entries = model.entries.split_off(&id);
                }
                model.first = first(&model);
            }
            StreamOp::SetIds { step_ms } => {
                model.last = after(model.last, *step_ms);
                model.added += 5;
                model.max_deleted = StreamId::new(1, 1);
            }
            StreamOp::CreateGroup { group } => {
                let last = model.last;
                let read = Some(u64::from(*group));
                let group = model.groups.entry(name(*group));
                group.or_insert_with(|| GroupModel {
                    last,
                    read,
                    ..GroupModel::default()
                });
            }
            StreamOp::DestroyGroup { group } => drop(model.groups.remove(&name(*group))),
            StreamOp::Deliver {
                group,
                consumer,
                from,
                count,
            } => {
                let ids = ids(&model, *from, *count);
                let consumer = name(*consumer);
                if let Some(group) = model.groups.get_mut(&name(*group)) {
                    group.consumers.insert(consumer.clone(), 6);
                    for id in ids {
                        let deliveries = group.pendings.get(&id).map_or(0, |pending| pending.1);
                        let pending = (DELIVERED_MS, deliveries + 1, consumer.clone());
                        group.pendings.insert(id, pending);
                        (group.last, group.read) = (id, None);
                    }
                }
            }
            StreamOp::Acknowledge { group, from, count } => {
                if let Some(group) = model.groups.get_mut(&name(*group)) {
                    let all = group.pendings.keys().copied();
                    let some: Vec<_> = all.skip((*from).into()).take((*count).into()).collect();
                    some.iter().for_each(|id| drop(group.pendings.remove(id)));
                }
            }
            StreamOp::DeleteConsumer { group, consumer } => {
                let consumer = name(*consumer);
                if let Some(group) = model.groups.get_mut(&name(*group)) {
                    group.consumers.remove(&consumer);
                    group.pendings.retain(|_, pending| pending.2 != consumer);
                }
            }
        }
        Some(model)
    }
}

impl StreamModel {
    /// What a stream holds; all ways to read it must agree.
    pub(super) fn of(stream: &StreamRef<'_>) -> StreamModel {
        let owned = |entry: super::super::StreamEntry<'_>| {
            let fields = entry
                .fields
                .flat_map(|(name, value)| [name.to_vec(), value.to_vec()]);
            (entry.id, fields.collect::<Vec<_>>())
        };
        let entries: BTreeMap<_, _> = stream
            .range(StreamId::MIN, StreamId::MAX)
            .map(owned)
            .collect();
        let back: Vec<_> = stream
            .range_back(StreamId::MIN, StreamId::MAX)
            .map(owned)
            .collect();
        assert!(back.into_iter().rev().eq(entries.clone()));
        assert_eq!(stream.len(), entries.len() as u64);
        for (id, fields) in &entries {
            assert_eq!(stream.get(*id).map(owned), Some((*id, fields.clone())));
        }
        let groups = stream.groups().into_iter().map(|group| {
            assert!(stream.group(group.name()).is_some());
            let pendings: BTreeMap<_, _> = group
                .pending_from(StreamId::MIN)
                .map(|pending| {
                    assert_eq!(
                        group.pending(pending.id).map(|found| found.id),
                        Some(pending.id)
                    );
                    let consumer = pending.consumer.to_vec();
                    (
                        pending.id,
                        (pending.delivered_ms, pending.deliveries, consumer),
                    )
                })
                .collect();
            assert_eq!(group.pending_len(), pendings.len() as u64);
            assert_eq!(
                group.last_pending().map(|pending| pending.id),
                pendings.keys().next_back().copied()
            );
            let consumers: BTreeMap<_, _> = group
                .consumers()
                .into_iter()
                .map(|consumer| {
                    let own = consumer
                        .pending_from(StreamId::MIN)
                        .map(|pending| pending.id);
                    let expected = pendings
                        .iter()
                        .filter(|(_, pending)| pending.2 == consumer.name());
                    assert!(own.eq(expected.map(|(id, _)| *id)));
                    (consumer.name().to_vec(), consumer.seen_ms())
                })
                .collect();
            assert_eq!(group.consumer_count(), consumers.len() as u64);
            let model = GroupModel {
                last: group.last_id(),
                read: group.entries_read(),
                consumers,
                pendings,
            };
            (group.name().to_vec(), model)
        });
        StreamModel {
            last: stream.last_id(),
            first: stream.first_id(),
            max_deleted: stream.max_deleted_id(),
            added: stream.entries_added(),
            groups: groups.collect(),
            entries,
        }
    }
}

/// Any change of a stream.
pub(super) fn stream_op() -> impl Strategy<Value = StreamOp> {
    let number = || any::<u8>();
    let few = || 0..6u8;
    prop_oneof![
        8 => (0..12u8, 0..3u8, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(count, step_ms, value)| StreamOp::Add { count, step_ms, value }),
        4 => (0..40u8, few()).prop_map(|(from, count)| StreamOp::Delete { from, count }),
        2 => (0..60u8).prop_map(|len| StreamOp::TrimTo { len }),
        2 => (0..20u8).prop_map(|entry| StreamOp::TrimBefore { entry }),
        1 => few().prop_map(|step_ms| StreamOp::SetIds { step_ms }),
        2 => number().prop_map(|group| StreamOp::CreateGroup { group }),
        1 => number().prop_map(|group| StreamOp::DestroyGroup { group }),
        6 => (number(), number(), 0..40u8, few())
            .prop_map(|(group, consumer, from, count)| StreamOp::Deliver { group, consumer, from, count }),
        4 => (number(), few(), few()).prop_map(|(group, from, count)| StreamOp::Acknowledge { group, from, count }),
        1 => (number(), number()).prop_map(|(group, consumer)| StreamOp::DeleteConsumer { group, consumer }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_behaves_like_a_map(
        ops in prop::collection::vec(stream_op(), 1..80),
        bytes_max in prop_oneof![Just(0u64), 1..400u64],
        entries_max in 0..12u64,
    ) {
        let mut f = Fixture::new();
        f.keyspace.settings().stream_node_bytes_max.store(bytes_max, Relaxed);
        f.keyspace.settings().stream_node_entries_max.store(entries_max, Relaxed);
        let mut model = None;
        for (i, op) in ops.iter().enumerate() {
            f.one(b"s", |view| op.run(view, 0, b"s")).unwrap();
            model = op.apply(model);
            if i % 8 == 0 {
                prop_assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
            }
        }
        let view = f.all();
        let stream = view.stream(0, b"s").unwrap();
        prop_assert_eq!(stream.as_ref().map(StreamModel::of), model.clone());
        let Some(stream) = stream else { return Ok(()) };
        // Ranges, and a copy by way of an image.
        let model = model.unwrap();
        let ids: Vec<StreamId> = model.entries.keys().copied().collect();
        for (i, &from) in ids.iter().enumerate().step_by(3) {
            for &to in ids[i..].iter().step_by(5) {
                let expected = model.entries.range(from..=to).map(|(id, _)| *id);
                prop_assert!(stream.range(from, to).map(|entry| entry.id).eq(expected.clone()));
                prop_assert!(stream.range_back(from, to).map(|entry| entry.id).eq(expected.rev()));
            }
        }
        let image = StreamImage::copy_of(&stream);
        drop(view);
        f.run(|view| view.set_stream(1, b"image", &image, Ttl::Clear)).unwrap();
        f.run(|view| view.copy(0, b"s", 0, b"copy")).unwrap();
        f.run(|view| view.rename(0, b"s", 0, b"moved")).unwrap();
        let view = f.all();
        for (db, key) in [(1, &b"image"[..]), (0, b"copy"), (0, b"moved")] {
            let stream = view.stream(db, key).unwrap().unwrap();
            prop_assert_eq!(&StreamModel::of(&stream), &model);
            prop_assert_eq!(&StreamImage::copy_of(&stream), &image);
        }
        drop(view);
        f.check();
        f.run(|view| view.flush_all()).unwrap();
        f.check();
    }
}

fn add(f: &mut Fixture, range: std::ops::Range<u64>) {
    for ms in range {
        f.one(b"s", |view| {
            view.edit_stream(0, b"s", true, |stream| {
                stream.add(
                    StreamId::new(ms, 0),
                    &[b"field", format!("value-{ms}").as_bytes()],
                )
            })
        })
        .unwrap();
    }
}

fn trim(f: &mut Fixture, to: TrimTo, limit: u64) -> u64 {
    let trim = Trim {
        to,
        approximate: true,
        limit,
    };
    f.one(b"s", |view| {
        view.edit_stream(0, b"s", false, |stream| stream.trim(&trim))
    })
    .unwrap()
    .unwrap()
}

#[test]
fn approximate_trimming_removes_whole_nodes() {
    let mut f = Fixture::new();
    f.keyspace
        .settings()
        .stream_node_entries_max
        .store(10, Relaxed);
    add(&mut f, 1..101);
    assert_eq!(f.free().stream_len(0, b"s"), Ok(Some(100)));
    assert_eq!(trim(&mut f, TrimTo::Len(85), 0), 10);
    assert_eq!(trim(&mut f, TrimTo::Len(0), 25), 20);
    assert_eq!(trim(&mut f, TrimTo::From(StreamId::new(45, 0)), 0), 10);
    assert_eq!(trim(&mut f, TrimTo::Len(0), 5), 0);
    let view = f.all();
    let stream = view.stream(0, b"s").unwrap().unwrap();
    assert_eq!((stream.len(), stream.node_count()), (60, 6));
    assert_eq!(stream.first_id(), StreamId::new(41, 0));
    assert_eq!(view.find(0, b"s").unwrap().kind(), Kind::Stream);
    assert_eq!(view.find(0, b"s").unwrap().encoding(), Encoding::Stream);
    assert!(matches!(view.hash(0, b"s"), Err(StoreError::WrongType)));
    drop(view);
    f.check();
}

#[test]
fn a_large_stream_goes_to_the_trash_and_is_taken_apart_in_steps() {
    let mut f = Fixture::new();
    add(&mut f, 1..3000);
    for group in 0..3 {
        let consumers = 0..40u8;
        f.one(b"s", |view| {
            StreamOp::CreateGroup { group }.run(view, 0, b"s")?;
            view.edit_stream(0, b"s", false, |stream| {
                let group = stream.stream().group(&name(group)).unwrap();
                for number in consumers {
                    let consumer = stream.create_consumer(&group, &[b'c', number], 1)?;
                    for ms in 0..20 {
                        let id = StreamId::new(1 + u64::from(number) * 20 + ms, 0);
                        stream.set_pending(&group, &consumer, id, 1, 1)?;
                    }
                }
                Ok(())
            })
        })
        .unwrap();
    }
    assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
    f.one(b"s", |view| {
        StreamOp::DestroyGroup { group: 2 }.run(view, 0, b"s")
    })
    .unwrap();
    assert_eq!(f.run(|view| view.remove(0, b"s")), Ok(true));
    let mut steps = 0;
    while f.keyspace.reap_step(&mut f.worker, 100) {
        assert_eq!(f.keyspace.check().faults, Vec::<String>::new());
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
    f.check();
}

#[test]
fn nodes_end_where_those_of_redis_do() {
    let mut f = Fixture::new();
    // 100 entries of 10 bytes: the number of entries bounds a node.
    add(&mut f, 1..251);
    let nodes = |f: &mut Fixture| f.all().stream(0, b"s").unwrap().unwrap().node_count();
    assert_eq!(nodes(&mut f), 3);
    // The listpack of an empty node with these names takes 7 + 2 + 2 + 2 + 7 + 2 bytes, an entry 2 + 3 + 2 + 105 + 2
    // (3 bytes for a difference of more than 127 ms, else 2).
    f.run(|view| view.remove(0, b"s")).unwrap();
    f.keyspace
        .settings()
        .stream_node_bytes_max
        .store(22 + 113 + 102, Relaxed);
    for ms in 1..7 {
        f.one(b"s", |view| {
            view.edit_stream(0, b"s", true, |stream| {
                stream.add(StreamId::new(ms, 0), &[b"field", &[b'v'; 102]])
            })
        })
        .unwrap();
    }
    assert_eq!(nodes(&mut f), 6);
    f.run(|view| view.remove(0, b"s")).unwrap();
    f.keyspace
        .settings()
        .stream_node_bytes_max
        .store(22 + 113 + 108, Relaxed);
    for ms in 1..7 {
        f.one(b"s", |view| {
            view.edit_stream(0, b"s", true, |stream| {
                stream.add(StreamId::new(ms, 0), &[b"field", &[b'v'; 102]])
            })
        })
        .unwrap();
    }
    assert_eq!(nodes(&mut f), 3);
    f.check();
}

/// What a small entry costs, everything included.
#[test]
fn many_small_entries_take_little_room() {
    let mut f = Fixture::new();
    // The root array is not the stream's.
    f.run(|view| StreamOp::CreateGroup { group: 0 }.run(view, 0, b"other"))
        .unwrap();
    let before = f.keyspace.usage().used;
    const COUNT: u64 = 20_000;
    let value = |i: u64| format!("{:08}", i * 7919 % 100_000_000);
    for chunk in 0..COUNT / 1000 {
        let mut view = f.all();
        for i in 1000 * chunk..1000 * (chunk + 1) {
            let id = StreamId::new(1_700_000_000_000 + i / 3, i % 3);
            view.edit_stream(0, b"s", true, |stream| {
                stream.add(id, &[b"field", value(i).as_bytes()])
            })
            .unwrap();
        }
        view.commit();
    }
    let each = (f.keyspace.usage().used - before) as f64 / COUNT as f64;
    assert!(each < 15.0, "{each} bytes an entry");
    f.check();
}
