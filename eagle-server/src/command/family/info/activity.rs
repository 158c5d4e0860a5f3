//! INFO stats, commandstats, errorstats, latencystats: what the server has done.

use crate::command::context::Context;
use crate::command::table;
use crate::metrics::info::Report;
use crate::metrics::{CommandTotals, Counter, Rate, WorkerStats};
use std::sync::atomic::Ordering;

pub(super) fn stats(report: &mut Report, cx: &Context<'_>) {
    let node = cx.node;
    let sum = |counter: fn(&WorkerStats) -> &Counter| node.stats.sum(counter);
    let kbps = |rate| node.rates.per_second(rate) as f64 / 1024.0;
    report.fields(&[
        (
            "total_connections_received",
            sum(|worker| &worker.connections_received),
        ),
        (
            "total_commands_processed",
            sum(|worker| &worker.commands_processed),
        ),
        (
            "instantaneous_ops_per_sec",
            node.rates.per_second(Rate::Commands),
        ),
        (
            "total_net_input_bytes",
            sum(|worker| &worker.net_input_bytes),
        ),
        (
            "total_net_output_bytes",
            sum(|worker| &worker.net_output_bytes),
        ),
        ("total_net_repl_input_bytes", 0),
        (
            "total_net_repl_output_bytes",
            sum(|worker| &worker.net_repl_output_bytes),
        ),
    ]);
    for (name, value) in [
        ("instantaneous_input_kbps", kbps(Rate::InputBytes)),
        ("instantaneous_output_kbps", kbps(Rate::OutputBytes)),
        ("instantaneous_input_repl_kbps", 0.0),
        ("instantaneous_output_repl_kbps", 0.0),
    ] {
        report.field(name, format_args!("{value:.2}"));
    }
    report.fields(&[
        (
            "rejected_connections",
            sum(|worker| &worker.connections_rejected),
        ),
        ("sync_full", node.replicas.full.load(Ordering::Relaxed)),
        (
            "sync_partial_ok",
            node.replicas.partial.load(Ordering::Relaxed),
        ),
        (
            "sync_partial_err",
            node.replicas.refused.load(Ordering::Relaxed),
        ),
        ("expired_keys", node.keyspace.counters().expired_keys),
    ]);
    report.field("expired_stale_perc", "0.00");
    let expire_cycle_ms = node.expire_cycle_us.load(Ordering::Relaxed) / 1000;
    report.fields(&[
        ("expired_time_cap_reached_count", 0),
        ("expire_cycle_cpu_milliseconds", expire_cycle_ms),
        ("evicted_keys", node.stats.evicted_keys.value()),
        (
            "evicted_clients",
            node.clients.memory.evicted.load(Ordering::Relaxed),
        ),
        ("total_eviction_exceeded_time", 0),
        ("current_eviction_exceeded_time", 0),
        ("keyspace_hits", sum(|worker| &worker.keyspace_hits)),
        ("keyspace_misses", sum(|worker| &worker.keyspace_misses)),
        ("pubsub_channels", node.broker.channel_count() as u64),
        ("pubsub_patterns", node.broker.pattern_count() as u64),
        (
            "pubsubshard_channels",
            node.broker.shard_channel_count() as u64,
        ),
        ("latest_fork_usec", 0),
        ("total_forks", 0),
        (
            "migrate_cached_sockets",
            node.migrate_sockets_kept.load(Ordering::Relaxed) as u64,
        ),
        ("slave_expires_tracked_keys", 0),
        ("active_defrag_hits", node.defrag.hits.value()),
        ("active_defrag_misses", node.defrag.misses.value()),
        ("active_defrag_key_hits", node.defrag.key_hits.value()),
        ("active_defrag_key_misses", node.defrag.key_misses.value()),
        (
            "total_active_defrag_time",
            node.defrag.total_us.load(Ordering::Relaxed) / 1000,
        ),
        (
            "current_active_defrag_time",
            node.defrag.current_us.load(Ordering::Relaxed) / 1000,
        ),
        ("tracking_total_keys", node.tracking.keys() as u64),
        ("tracking_total_items", node.tracking.items() as u64),
        ("tracking_total_prefixes", node.tracking.prefixes() as u64),
        ("unexpected_error_replies", 0),
        ("total_error_replies", sum(|worker| &worker.error_replies)),
        ("dump_payload_sanitizations", 0),
        (
            "total_reads_processed",
            sum(|worker| &worker.reads_processed),
        ),
        (
            "total_writes_processed",
            sum(|worker| &worker.writes_processed),
        ),
        ("io_threaded_reads_processed", 0),
        ("io_threaded_writes_processed", 0),
        ("reply_buffer_shrinks", 0),
        ("reply_buffer_expands", 0),
    ]);
}

/// The counters of every command and subcommand, in table order.
pub(in crate::command::family) fn totals<'a>(
    cx: &'a Context<'_>,
) -> impl Iterator<Item = (&'static str, CommandTotals)> + 'a {
    table()
        .entries()
        .iter()
        .map(|entry| (entry.full_name.as_str(), cx.node.stats.command(entry.id)))
}

pub(super) fn commandstats(report: &mut Report, cx: &Context<'_>) {
    for (name, totals) in totals(cx) {
        if totals.calls + totals.rejected + totals.failed > 0 {
            report.command(name, &totals);
        }
    }
}

pub(super) fn errorstats(report: &mut Report, cx: &Context<'_>) {
    for (code, count) in cx.node.errors.counts() {
        report.error(&code, count);
    }
}

pub(super) fn latencystats(report: &mut Report, cx: &Context<'_>) {
    let monitoring = &cx.config.monitoring;
    if !monitoring.latency_tracking {
        return;
    }
    for entry in table().entries() {
        let latencies = cx.node.stats.latencies(entry.id);
        if latencies.total() > 0 {
            let percentiles = &monitoring.latency_tracking_info_percentiles;
            report.percentiles(&entry.full_name, &latencies, percentiles);
        }
    }
}
