//! XINFO: what streams, groups and consumers are made of.

use super::{no_group, reply, subcommand_syntax};
use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use eagle_core::resp::Writer;
use eagle_core::store::{GroupRef, StreamId, StreamRef};

/// XINFO -- container.
pub(super) const XINFO: Command = Command::new(
    "xinfo",
    -2,
    help,
    Docs::new(
        "stream",
        "5.0.0",
        "A container for stream introspection commands",
    )
    .complexity("Depends on subcommand."),
)
.subcommands(&[&CONSUMERS, &GROUPS, &HELP, &STREAM]);

/// XINFO CONSUMERS key group -- the consumers of a group.
const CONSUMERS: Command = Command::new(
    "consumers",
    4,
    consumers,
    Docs::new("stream", "5.0.0", "List the consumers in a consumer group")
        .complexity("O(1)")
        .syntax("key groupname"),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::STREAM)
.keys(&[KeySpec::index(2, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output"]);

fn consumers(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, name) = (args.word()?, args.word()?);
    let stream = cx.noted(cx.view.stream(cx.db(), key))?;
    let stream = stream.ok_or(errors::NO_SUCH_KEY)?;
    let group = stream.group(name).ok_or_else(|| no_group(key, name))?;
    let (out, consumers) = (&mut *cx.out, group.consumers());
    out.array(consumers.len());
    for consumer in consumers {
        let idle = (cx.now_ms as i64).wrapping_sub(consumer.seen_ms() as i64);
        out.map(3);
        out.bulk("name");
        out.bulk(consumer.name());
        out.bulk("pending");
        out.integer(consumer.pending_len() as i64);
        out.bulk("idle");
        out.integer(idle.max(0));
    }
    Ok(Flow::Done)
}

/// XINFO GROUPS key -- the groups of a stream.
const GROUPS: Command = Command::new(
    "groups",
    3,
    groups,
    Docs::new("stream", "5.0.0", "List the consumer groups of a stream")
        .complexity("O(1)")
        .syntax("key")
        .history(&[("7.0.0", "Added the `entries-read` and `lag` fields")]),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::STREAM)
.keys(&[KeySpec::index(2, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn groups(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let stream = cx.noted(cx.view.stream(cx.db(), key))?;
    let stream = stream.ok_or(errors::NO_SUCH_KEY)?;
    let (out, groups) = (&mut *cx.out, stream.groups());
    out.array(groups.len());
    for group in groups {
        out.map(6);
        out.bulk("name");
        out.bulk(group.name());
        out.bulk("consumers");
        out.integer(group.consumer_count() as i64);
        out.bulk("pending");
        out.integer(group.pending_len() as i64);
        progress(out, &stream, &group);
    }
    Ok(Flow::Done)
}

/// How far a group has read.
fn progress(out: &mut Writer, stream: &StreamRef<'_>, group: &GroupRef<'_>) {
    out.bulk("last-delivered-id");
    reply::id(out, group.last_id());
    for (name, figure) in [
        ("entries-read", group.entries_read().map(|read| read as i64)),
        ("lag", group.lag(stream)),
    ] {
        out.bulk(name);
        match figure {
            Some(figure) => out.integer(figure),
            None => out.null(),
        }
    }
}

/// XINFO STREAM key [FULL [COUNT count]] -- a stream, and with FULL its groups and some entries.
const STREAM: Command = Command::new(
    "stream",
    -3,
    stream,
    Docs::new("stream", "5.0.0", "Get information about a stream")
    .complexity("O(1)")
    .syntax("key [FULL full=<[COUNT count]>]")
    .history(&[("6.0.0", "Added the `FULL` modifier."), ("7.0.0", "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag` fields")]),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::STREAM)
.keys(&[KeySpec::index(2, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn stream(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    /// Entries shown if nobody says how many.
    const COUNT_DEFAULT: usize = 10;
    let key = args.word()?;
    let stream = cx.noted(cx.view.stream(cx.db(), key))?;
    let stream = stream.ok_or(errors::NO_SUCH_KEY)?;
    let options = args.len();
    let mut full = None;
    if options > 0 {
        let syntax = subcommand_syntax("XINFO", args.argv()[1]);
        let is_full = (options == 1 || options == 3) && args.accept("full");
        if !is_full || options == 3 && !args.accept("count") {
            return Err(syntax);
        }
        full = Some(match args.peek() {
            None => COUNT_DEFAULT,
            Some(count) => usize::try_from(parse_integer(count)?).unwrap_or(COUNT_DEFAULT),
        });
    }
    let out = &mut *cx.out;
    out.map(if full.is_some() { 9 } else { 10 });
    out.bulk("length");
    out.integer(stream.len() as i64);
    out.bulk("radix-tree-keys");
    out.integer(stream.node_count() as i64);
    out.bulk("radix-tree-nodes");
    let ids: Vec<[u8; 16]> = stream
        .iter_nodes()
        .map(|node| node.id().to_be_bytes())
        .collect();
    out.integer(radix_nodes(&ids, 0) as i64);
    for (name, id) in [
        ("last-generated-id", stream.last_id()),
        ("max-deleted-entry-id", stream.max_deleted_id()),
    ] {
        out.bulk(name);
        reply::id(out, id);
    }
    out.bulk("entries-added");
    out.integer(stream.entries_added() as i64);
    out.bulk("recorded-first-entry-id");
    reply::id(out, stream.first_id());
    let (min, max) = (StreamId::MIN, StreamId::MAX);
    match full {
        None => {
            out.bulk("groups");
            out.integer(stream.group_count() as i64);
            let (first, last) = (
                stream.range(min, max).next(),
                stream.range_back(min, max).next(),
            );
            for (name, found) in [("first-entry", first), ("last-entry", last)] {
                out.bulk(name);
                match found {
                    Some(entry) => reply::entry(out, &entry),
                    None => out.null(),
                }
            }
        }
        Some(count) => {
            let count = if count == 0 { usize::MAX } else { count };
            out.bulk("entries");
            reply::entries(out, stream.range(min, max).take(count));
            out.bulk("groups");
            let groups = stream.groups();
            out.array(groups.len());
            for group in &groups {
                full_group(out, &stream, group, count);
            }
        }
    }
    Ok(Flow::Done)
}

/// A group with its consumers and at most `count` pendings of each.
fn full_group(out: &mut Writer, stream: &StreamRef<'_>, group: &GroupRef<'_>, count: usize) {
    out.map(7);
    out.bulk("name");
    out.bulk(group.name());
    progress(out, stream, group);
    out.bulk("pel-count");
    out.integer(group.pending_len() as i64);
    out.bulk("pending");
    let header = out.deferred();
    let mut shown = 0;
    for pending in group.pending_from(StreamId::MIN).take(count) {
        out.array(4);
        reply::id(out, pending.id);
        out.bulk(pending.consumer);
        out.integer(pending.delivered_ms as i64);
        out.integer(pending.deliveries as i64);
        shown += 1;
    }
    out.finish_array(header, shown);
    out.bulk("consumers");
    let consumers = group.consumers();
    out.array(consumers.len());
    for consumer in consumers {
        out.map(4);
        out.bulk("name");
        out.bulk(consumer.name());
        out.bulk("seen-time");
        out.integer(consumer.seen_ms() as i64);
        out.bulk("pel-count");
        out.integer(consumer.pending_len() as i64);
        out.bulk("pending");
        let header = out.deferred();
        let mut shown = 0;
        for pending in consumer.pending_from(StreamId::MIN).take(count) {
            out.array(3);
            reply::id(out, pending.id);
            out.integer(pending.delivered_ms as i64);
            out.integer(pending.deliveries as i64);
            shown += 1;
        }
        out.finish_array(header, shown);
    }
}

/// Nodes of a compressed radix tree of these keys, which ascend and share their first `depth` bytes: what Redis keeps
/// its nodes in.
fn radix_nodes(keys: &[[u8; 16]], depth: usize) -> usize {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return 1;
    };
    let rest = (&first[depth..], &last[depth..]);
    let shared = rest
        .0
        .iter()
        .zip(rest.1)
        .take_while(|(a, b)| a == b)
        .count();
    let branch = depth + shared;
    let own = usize::from(shared > 0);
    if branch == first.len() {
        // The end of a key is a node of its own.
        return own + 1;
    }
    let children = keys.chunk_by(|a, b| a[branch] == b[branch]);
    let below: usize = children.map(|keys| radix_nodes(keys, branch + 1)).sum();
    own + 1 + below
}

const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "stream",
        "5.0.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE])
.family(Categories::STREAM);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "CONSUMERS <key> <groupname>",
        "    Show consumers of <groupname>.",
        "GROUPS <key>",
        "    Show the stream consumer groups.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show information about the stream.",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_radix_tree_has_a_node_for_each_shared_run_and_each_branch() {
        let nodes = |ids: &[(u64, u64)]| {
            let keys: Vec<_> = ids
                .iter()
                .map(|&(ms, seq)| StreamId::new(ms, seq).to_be_bytes())
                .collect();
            radix_nodes(&keys, 0)
        };
        assert_eq!(nodes(&[]), 1);
        assert_eq!(nodes(&[(1, 1)]), 2);
        // A shared run, a branch, and two rests with their ends.
        assert_eq!(nodes(&[(1, 0), (2, 0)]), 6);
        // The last byte differs: the ends follow at once.
        assert_eq!(nodes(&[(1, 1), (1, 2)]), 4);
    }
}
