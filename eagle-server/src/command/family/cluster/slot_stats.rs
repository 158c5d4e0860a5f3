//! CLUSTER SLOT-STATS, of Valkey 8.0 and Redis 8.2: what the slots of this shard hold, and what they cost while
//! `cluster-slot-stats-enabled` is set.

use super::report::parse_slot;
use super::{cluster, docs};
use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Command, Flags};
use crate::metrics::SlotUsage;
use eagle_core::store::SLOTS;
use std::cmp::Reverse;

/// CLUSTER SLOT-STATS <SLOTSRANGE start-slot end-slot | ORDERBY metric [LIMIT limit] [ASC | DESC]>
pub(super) const SLOT_STATS: Command = Command::new(
    "slot-stats",
    -4,
    slot_stats,
    docs(
        "8.0.0",
        "Return an array of slot usage statistics for slots assigned to the current node.",
        "O(N) where N is the total number of slots based on arguments. O(N*log(N)) with ORDERBY subcommand.",
        "filter=<SLOTSRANGE slotsrange=<start-slot end-slot> | ORDERBY orderby=<metric [LIMIT limit] order=[ASC | DESC]>>",
    ),
)
.flags(&[Flags::LOADING, Flags::STALE])
.tips(&["nondeterministic_output", "request_policy:all_shards"]);

fn slot_stats(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const INVALID: CommandError = CommandError::new("ERR Invalid or out of range slot");
    let topology = cluster(cx)?.topology();
    let is_shown = |slot: &u16| topology.is_my_shards(*slot);
    if args.len() == 3 && args.accept("SLOTSRANGE") {
        let mut slot = || {
            let number = args.integer().ok().and_then(parse_slot);
            number.ok_or(INVALID)
        };
        let (first, last) = (slot()?, slot()?);
        if first > last {
            return Err(CommandError::owned(format!(
                "ERR Start slot number {first} is greater than end slot number {last}"
            )));
        }
        let rows = (first..=last).filter(is_shown);
        let rows: Vec<Row> = rows.map(|slot| Row::of(cx, slot)).collect();
        return reply(cx, &rows);
    }
    if args.len() >= 2 && args.accept("ORDERBY") {
        let metric = Metric::parse(cx, args.word()?)?;
        let order = Order::parse(args)?;
        let rows = (0..SLOTS as u16).filter(is_shown);
        let mut rows: Vec<Row> = rows.map(|slot| Row::of(cx, slot)).collect();
        // The sort is stable: slots with the same value stay in ascending order.
        if order.is_descending {
            rows.sort_by_key(|row| Reverse(metric.of(row)));
        } else {
            rows.sort_by_key(|row| metric.of(row));
        }
        rows.truncate(order.limit);
        return reply(cx, &rows);
    }
    Err(CommandError::quoting(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        args.argv()[1],
        b"'. Try CLUSTER HELP.",
    ]))
}

/// What is known of one slot.
struct Row {
    slot: u16,
    keys: u64,
    usage: SlotUsage,
}

impl Row {
    fn of(cx: &Context<'_>, slot: u16) -> Row {
        Row {
            slot,
            keys: cx.node.keyspace.slot_keys_in_all(slot),
            usage: cx.node.slot_stats.of(slot),
        }
    }
}

/// A statistic that slots can be ordered by.
#[derive(Clone, Copy)]
struct Metric {
    name: &'static str,
    of: fn(&Row) -> u64,
}

impl Metric {
    /// In the order of the reply; all but the first are there only if they are counted.
    const ALL: [Metric; 4] = [
        Metric {
            name: "key-count",
            of: |row| row.keys,
        },
        Metric {
            name: "cpu-usec",
            of: |row| row.usage.cpu_ns / 1000,
        },
        Metric {
            name: "network-bytes-in",
            of: |row| row.usage.bytes_in,
        },
        Metric {
            name: "network-bytes-out",
            of: |row| row.usage.bytes_out,
        },
    ];

    /// Those that are there now.
    fn present(cx: &Context<'_>) -> &'static [Metric] {
        if cx.config.cluster.cluster_slot_stats_enabled {
            &Metric::ALL
        } else {
            &Metric::ALL[..1]
        }
    }

    fn parse(cx: &Context<'_>, word: &[u8]) -> Result<Metric, CommandError> {
        const UNKNOWN: CommandError =
            CommandError::new("ERR Unrecognized sort metric for ORDERBY.");
        Metric::present(cx)
            .iter()
            .find(|metric| word.eq_ignore_ascii_case(metric.name.as_bytes()))
            .copied()
            .ok_or(UNKNOWN)
    }

    fn of(self, row: &Row) -> u64 {
        (self.of)(row)
    }
}

/// Which slots come first, and how many are shown.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    limit: usize,
    is_descending: bool,
}

impl Order {
    fn parse(mut args: Args<'_>) -> Result<Order, CommandError> {
        const LIMIT: CommandError = CommandError::new(
            "ERR Limit has to lie in between 1 and 16384 (maximum number of slots).",
        );
        const TWICE: CommandError =
            CommandError::new("ERR Multiple filters of the same type are disallowed.");
        let (mut limit, mut is_descending) = (None, None);
        while !args.is_empty() {
            let is_second = if args.len() > 1 && args.accept("LIMIT") {
                let number = parse_integer(args.word()?).ok();
                let number = number.and_then(|number| usize::try_from(number).ok());
                let number = number.filter(|number| (1..=SLOTS).contains(number));
                limit.replace(number.ok_or(LIMIT)?).is_some()
            } else if args.accept("ASC") {
                is_descending.replace(false).is_some()
            } else if args.accept("DESC") {
                is_descending.replace(true).is_some()
            } else {
                return Err(errors::SYNTAX);
            };
            if is_second {
                return Err(TWICE);
            }
        }
        Ok(Order {
            limit: limit.unwrap_or(SLOTS),
            is_descending: is_descending.unwrap_or(true),
        })
    }
}

fn reply(cx: &mut Context<'_>, rows: &[Row]) -> Outcome {
    let metrics = Metric::present(cx);
    cx.out.array(rows.len());
    for row in rows {
        cx.out.array(2);
        cx.out.integer(row.slot.into());
        cx.out.map(metrics.len());
        for metric in metrics {
            cx.out.bulk(metric.name);
            cx.out.integer(metric.of(row) as i64);
        }
    }
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        let parse = |line: &str| {
            let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            Order::parse(Args::new(&words, 0)).map(|order| (order.limit, order.is_descending))
        };
        assert_eq!(parse(""), Ok((SLOTS, true)));
        assert_eq!(parse("asc limit 3"), Ok((3, false)));
        for line in ["LIMIT", "LIMIT 1 ASCENDING", "ASC 1"] {
            assert_eq!(parse(line), Err(errors::SYNTAX), "{line}");
        }
        for line in ["LIMIT 0", "LIMIT -1", "LIMIT 16385", "LIMIT x"] {
            assert!(parse(line).unwrap_err().text().starts_with("ERR Limit"));
        }
        for line in ["ASC ASC", "ASC DESC", "LIMIT 1 LIMIT 1"] {
            assert!(parse(line).unwrap_err().text().starts_with("ERR Multiple"));
        }
    }
}
