//! CLUSTERSCAN, of Valkey 9.1: a walk over the keys of a whole cluster, slot by slot, that any client which follows
//! redirections can make.
//!
//! A cursor is `fingerprint-{tag}-position`. Its tag makes it belong to the slot that comes next, so that it is routed
//! as a key is. The position is one in that slot's table; the fingerprint tells whether it means anything here: it is
//! made of the order in which this node's tables keep keys. Another one, or 0, begins the slot anew. `0` begins the
//! walk, and ends it.
//!
//! A call goes on through the slots that follow, as long as this node serves them and COUNT is not reached. Where
//! Valkey sends a first call to the node that serves the slot of the word `0`, every node answers it here.
//!
//! While a slot moves, its keys do not go in the order of the walk: a key that leaves before it was visited may come to
//! lie behind the cursor. So the fingerprint of a slot in motion is good at its own node only, and the walk begins the
//! slot anew at the next one.

use super::{cluster, docs};
use crate::cluster::Topology;
use crate::cluster::slot_tag::slot_tag;
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::family::generic::kind_name;
use crate::command::scan::ScanOptions;
use crate::command::spec::{Categories, Command, Flags, KeyFlags, KeySpec};
use crate::command::{KeyRef, KeyRefs};
use eagle_core::store::{SLOTS, key_slot};
use eagle_core::text::integer;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// CLUSTERSCAN cursor [MATCH pattern] [COUNT count] [TYPE type] [SLOT slot] -- some keys, and where to go on.
pub(super) const CLUSTERSCAN: Command = Command::new(
    "clusterscan",
    -2,
    clusterscan,
    docs(
        "9.1.0",
        "Iterates over the keys in the cluster.",
        "O(N) where N is the number of elements returned.",
        "cursor [MATCH match-pattern] [COUNT count] [TYPE type] [SLOT slot]",
    ),
)
.flags(&[Flags::READONLY, Flags::TOUCHES_ARBITRARY_KEYS])
.family(Categories::KEYSPACE)
.keys(&[KeySpec::index(1, &[KeyFlags::NOT_KEY])])
.find_keys(routed_words)
.tips(&[
    "nondeterministic_output",
    "request_policy:special",
    "response_policy:special",
]);

/// The cursor belongs to a slot, unless it is the first one.
fn routed_words(argv: &[&[u8]]) -> KeyRefs {
    let cursor = argv.get(1).and_then(|word| Cursor::parse(word));
    let is_routed = matches!(cursor, Some(Cursor::At { .. }));
    let flags = KeyFlags::NOT_KEY;
    is_routed
        .then_some(KeyRef { position: 1, flags })
        .into_iter()
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor<'a> {
    Start,
    At {
        slot: u16,
        fingerprint: &'a [u8],
        position: u64,
    },
}

impl<'a> Cursor<'a> {
    fn parse(word: &'a [u8]) -> Option<Cursor<'a>> {
        if word == b"0" {
            return Some(Cursor::Start);
        }
        let dash = word.iter().position(|byte| *byte == b'-')?;
        let (fingerprint, rest) = word.split_at(dash);
        let rest = rest.strip_prefix(b"-{")?;
        let brace = rest.iter().position(|byte| *byte == b'}')?;
        let position = rest[brace..].strip_prefix(b"}-")?;
        if brace == 0 || fingerprint.is_empty() || fingerprint.contains(&b'{') {
            return None;
        }
        let digits = position.iter().skip_while(|byte| **byte == b'0');
        let digits: SmallVec<[u8; 20]> = digits.copied().collect();
        let position = match (&digits[..], position) {
            ([], [_, ..]) => 0,
            (digits, _) => integer::parse_u64(digits)?,
        };
        Some(Cursor::At {
            slot: key_slot(word),
            fingerprint,
            position,
        })
    }
}

/// A cursor at the beginning of a slot, wherever it is served.
fn first_of(slot: u16) -> String {
    format!("0-{{{}}}-0", slot_tag(slot))
}

/// The cursor that ends the walk.
const END: &str = "0";

fn clusterscan(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const INVALID: CommandError = CommandError::new("ERR Invalid cursor");
    const MISMATCH: CommandError = CommandError::new("ERR Cursor slot mismatch");
    let cluster = cluster(cx)?;
    let cursor = Cursor::parse(args.word()?).ok_or(INVALID)?;
    let (words, only) = take_slot(args)?;
    let options = ScanOptions::parse(Args::new(&words, 0), true)?;
    if let Some(kind) = options.kind
        && !KINDS.iter().any(|known| kind.eq_ignore_ascii_case(known))
    {
        return Err(CommandError::quoting(&[
            b"ERR unknown type name '",
            kind,
            b"'",
        ]));
    }
    let implied = options.pattern.and_then(slot_of_pattern);
    let (slot, fingerprint, position) = match cursor {
        Cursor::Start => {
            let next = match (only, implied) {
                (Some(only), Some(implied)) if only != implied => END.to_owned(),
                (only, implied) => first_of(only.or(implied).unwrap_or(0)),
            };
            return reply(cx, &next, &[]);
        }
        Cursor::At {
            slot,
            fingerprint,
            position,
        } => (slot, fingerprint, position),
    };
    if only.is_some_and(|only| only != slot) {
        return Err(MISMATCH);
    }
    match implied {
        Some(implied) if implied > slot && only.is_none() => {
            return reply(cx, &first_of(implied), &[]);
        }
        Some(implied) if implied != slot => return reply(cx, END, &[]),
        _ => {}
    }
    let ends_with_slot = only.is_some() || implied.is_some();
    let topology = cluster.topology();
    let own = fingerprint_of(cx, &topology, slot);
    let position = if fingerprint == own.as_bytes() {
        position
    } else {
        0
    };
    let mut found = Vec::new();
    let next = walk(cx, &options, (slot, position), ends_with_slot, &mut found);
    reply(cx, &next, &found)
}

/// Collects keys from a position of a slot on, and through the slots after it; the cursor to go on with.
fn walk<'a>(
    cx: &Context<'a>,
    options: &ScanOptions<'_>,
    (mut slot, mut position): (u16, u64),
    ends_with_slot: bool,
    found: &mut Vec<&'a [u8]>,
) -> String {
    let Some(cluster) = &cx.node.cluster else {
        return END.to_owned();
    };
    let mut left = options.count;
    loop {
        let was_mine = cluster.topology().is_my_shards(slot);
        let (mark, mut visited) = (found.len(), 0);
        let next = cx
            .view
            .scan_slot(cx.db(), slot, position, left, &mut |entry| {
                visited += 1;
                let kind = kind_name(entry.kind()).as_bytes();
                let is_wanted = |wanted: &[u8]| kind.eq_ignore_ascii_case(wanted);
                if options.matches(entry.key()) && options.kind.is_none_or(is_wanted) {
                    found.push(entry.key());
                }
            });
        let topology = cluster.topology();
        if was_mine && !topology.is_my_shards(slot) {
            // It left meanwhile, and its keys may be gone already.
            found.truncate(mark);
            return first_of(slot);
        }
        if let Some(position) = next {
            let fingerprint = fingerprint_of(cx, &topology, slot);
            return format!("{fingerprint}-{{{}}}-{position}", slot_tag(slot));
        }
        left = left.saturating_sub(visited);
        let Some(next) = next_slot(cx, &topology, slot).filter(|_| !ends_with_slot) else {
            return END.to_owned();
        };
        if left == 0 || !topology.is_my_shards(next) {
            return first_of(next);
        }
        (slot, position) = (next, 0);
    }
}

/// The next slot after `slot` that has keys or is another node's; `None` if there is none.
fn next_slot(cx: &Context<'_>, topology: &Topology, slot: u16) -> Option<u16> {
    let next = slot + 1;
    let end = SLOTS as u16;
    let filled = (next < end)
        .then(|| cx.view.next_filled(cx.db(), next))
        .flatten();
    let filled = filled.unwrap_or(end);
    let foreign = (next..filled).find(|slot| !topology.is_my_shards(*slot));
    Some(foreign.unwrap_or(filled)).filter(|slot| *slot < end)
}

/// What tells whether a position in `slot` means anything here.
fn fingerprint_of(cx: &Context<'_>, topology: &Topology, slot: u16) -> String {
    let order = cx.node.keyspace.slot_order(slot);
    if !topology.is_open(slot) {
        return order.to_string();
    }
    let node = topology.node(topology.myself()).id.to_string();
    (xxh3_64_with_seed(node.as_bytes(), order) | 1).to_string()
}

const KINDS: [&[u8]; 6] = [b"string", b"list", b"set", b"zset", b"hash", b"stream"];

type Words<'a> = SmallVec<[&'a [u8]; 8]>;

/// Takes `SLOT slot` out of the options.
fn take_slot(mut args: Args<'_>) -> Result<(Words<'_>, Option<u16>), CommandError> {
    const TWICE: CommandError = CommandError::new("ERR SLOT option can only be specified once");
    const INVALID: CommandError = CommandError::new("ERR Invalid or out of range slot");
    let (mut others, mut slot) = (Words::new(), None);
    while !args.is_empty() {
        if args.accept("SLOT") {
            let number = integer::parse_i64(args.word()?).and_then(|n| u16::try_from(n).ok());
            let number = number.filter(|number| usize::from(*number) < SLOTS);
            if slot.replace(number.ok_or(INVALID)?).is_some() {
                return Err(TWICE);
            }
        } else {
            // Every option has one value.
            others.push(args.word()?);
            others.extend(args.word());
        }
    }
    if others.len() % 2 == 1 {
        return Err(errors::SYNTAX);
    }
    Ok((others, slot))
}

/// The slot of all keys that match `pattern`, where it says one: by a hash tag before any wildcard, or by having none.
fn slot_of_pattern(pattern: &[u8]) -> Option<u16> {
    let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    let Some(special) = pattern.iter().position(is_special) else {
        return Some(key_slot(pattern));
    };
    let literal = &pattern[..special];
    let open = literal.iter().position(|byte| *byte == b'{')?;
    let close = literal[open..].iter().position(|byte| *byte == b'}')?;
    (close > 1).then(|| key_slot(literal))
}

fn reply(cx: &mut Context<'_>, cursor: &str, keys: &[&[u8]]) -> Outcome {
    cx.out.array(2);
    cx.out.bulk(cursor);
    cx.out.array(keys.len());
    keys.iter().for_each(|key| cx.out.bulk(key));
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read() {
        assert_eq!(Cursor::parse(b"0"), Some(Cursor::Start));
        let at = |fingerprint: &'static [u8], position| {
            Some(Cursor::At {
                slot: 0,
                fingerprint,
                position,
            })
        };
        assert_eq!(Cursor::parse(b"0-{06S}-0"), at(b"0", 0));
        assert_eq!(Cursor::parse(b"17-{06S}-009"), at(b"17", 9));
        for word in [
            &b"invalid"[..],
            b"",
            b"abc-def-ghi",
            b"0-",
            b"0-{0}",
            b"0-{0}-",
            b"0-{}-0",
            b"-{0}-0",
            b"{0-{1}-0",
            b"0-{0}-x",
            b"0-{0}-99999999999999999999",
        ] {
            assert_eq!(Cursor::parse(word), None, "{}", word.escape_ascii());
        }
    }

    #[test]
    fn patterns_with_a_tag_or_without_wildcards_have_a_slot() {
        assert_eq!(slot_of_pattern(b"{06S}-*"), Some(0));
        assert_eq!(slot_of_pattern(b"a{06S}?"), Some(0));
        assert_eq!(slot_of_pattern(b"key"), Some(key_slot(b"key")));
        for pattern in [&b"*{06S}"[..], b"{*}", b"{}*", b"\\{06S}*", b"{06S"] {
            let slot = slot_of_pattern(pattern);
            let expected = (pattern == b"{06S").then(|| key_slot(pattern));
            assert_eq!(slot, expected, "{}", pattern.escape_ascii());
        }
    }
}
