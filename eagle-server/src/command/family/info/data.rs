//! INFO persistence, replication, cluster, keyspace, pool: the dataset and where it lives.

use crate::cluster::{Topology, TopologyNode};
use crate::command::context::Context;
use crate::metrics::info::Report;
use crate::persist::loading;
use crate::persist::snapshot::Progress;
use crate::repl::Phase;
use eagle_core::store::DATABASES_MAX;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) fn persistence(report: &mut Report, cx: &Context<'_>) {
    report.fields(&[
        ("loading", u8::from(cx.node.loading.is_shown())),
        ("async_loading", 0),
        ("current_cow_peak", 0),
        ("current_cow_size", 0),
        ("current_cow_size_age", 0),
    ]);
    let (current, past) = (cx.node.saving.current(), cx.node.saving.past());
    let shown = |progress: Option<&Arc<Progress>>, of: fn(&Progress) -> &AtomicU64| {
        progress.map_or(0, |progress| of(progress).load(Ordering::Relaxed))
    };
    let progress = current.as_ref().map(|(progress, _)| progress);
    let (done, total) = (
        shown(progress, |progress| &progress.keys),
        shown(progress, |progress| &progress.keys_total),
    );
    let percent = done as f64 / total.max(1) as f64 * 100.0;
    report.field("current_fork_perc", format_args!("{:.2}", percent));
    report.fields(&[
        ("current_save_keys_processed", done),
        ("current_save_keys_total", total),
        ("rdb_changes_since_last_save", cx.node.changes()),
        ("rdb_bgsave_in_progress", current.is_some().into()),
        ("rdb_last_save_time", past.saved_at_s),
    ]);
    let has_failed = cx.node.saving.has_failed();
    report.field(
        "rdb_last_bgsave_status",
        if has_failed { "err" } else { "ok" },
    );
    let seconds = |seconds: Option<u64>| seconds.map_or(-1, |seconds| seconds as i64);
    let loaded = &cx.node.loaded;
    report.fields(&[
        ("rdb_last_bgsave_time_sec", seconds(past.took_s)),
        (
            "rdb_current_bgsave_time_sec",
            seconds(current.map(|(_, seconds)| seconds)),
        ),
        ("rdb_saves", past.saves as i64),
        ("rdb_last_cow_size", 0),
        (
            "rdb_last_load_keys_expired",
            loaded.expired.load(Ordering::Relaxed) as i64,
        ),
        (
            "rdb_last_load_keys_loaded",
            loaded.keys.load(Ordering::Relaxed) as i64,
        ),
        ("aof_enabled", 0),
        ("aof_rewrite_in_progress", 0),
        ("aof_rewrite_scheduled", 0),
        ("aof_last_rewrite_time_sec", -1),
        ("aof_current_rewrite_time_sec", -1),
    ]);
    report.field("aof_last_bgrewrite_status", "ok");
    report.fields(&[
        ("aof_rewrites", 0),
        ("aof_rewrites_consecutive_failures", 0),
    ]);
    report.field("aof_last_write_status", "ok");
    report.fields(&[
        ("aof_last_cow_size", 0),
        ("module_fork_in_progress", 0),
        ("module_fork_last_cow_size", 0),
    ]);
    if let Some(progress) = cx.node.loading.current() {
        loading(report, &progress, cx.now_ms / 1000);
    }
}

fn loading(report: &mut Report, progress: &loading::Progress, now_s: u64) {
    report.fields(&[
        ("loading_start_time", progress.started_at_s),
        ("loading_total_bytes", progress.total_bytes),
        ("loading_rdb_used_mem", progress.used_bytes),
        ("loading_loaded_bytes", progress.read_bytes),
    ]);
    report.field(
        "loading_loaded_perc",
        format_args!("{:.2}", progress.percent()),
    );
    report.field("loading_eta_seconds", progress.seconds_left(now_s));
}

/// The primary this node is recorded to replicate, if the cluster made it a replica.
pub(in crate::command::family) fn with_primary<R>(
    cx: &Context<'_>,
    then: impl FnOnce(&TopologyNode) -> R,
) -> Option<R> {
    let topology = cx.node.cluster.as_ref()?.topology();
    let topology: &Topology = &topology;
    topology
        .my_primary()
        .map(|index| then(topology.node(index)))
}

pub(super) fn replication(report: &mut Report, cx: &Context<'_>) {
    let is_replica = with_primary(cx, |primary| {
        report.field("role", "slave");
        report.field("master_host", primary.ip.as_str());
        report.field("master_port", primary.port);
        // No data flows between primary and replica yet, and the fields say so.
        report.field("master_link_status", "down");
        report.fields(&[
            ("master_last_io_seconds_ago", -1),
            ("master_sync_in_progress", 0),
            ("slave_read_repl_offset", 0),
            ("slave_repl_offset", 0),
            ("master_link_down_since_seconds", -1),
        ]);
    });
    if is_replica.is_some() {
        let replication = &cx.config.replication;
        report.field("slave_priority", replication.replica_priority);
        report.field("slave_read_only", u8::from(replication.replica_read_only));
        report.field("replica_announced", u8::from(replication.replica_announced));
    } else {
        report.field("role", "master");
    }
    report.field("connected_slaves", cx.node.replicas.len());
    let replication = &cx.config.replication;
    let lag_max_s = u64::from(replication.min_replicas_max_lag);
    if replication.min_replicas_to_write != 0 && lag_max_s != 0 {
        let good = cx.node.replicas.count_good(lag_max_s, cx.now_ms / 1000);
        report.field("min_slaves_good_slaves", good);
    }
    for (index, replica) in cx.node.replicas.all().iter().enumerate() {
        let (phase, port) = (replica.phase(), replica.offer.port);
        let lag_s = match phase {
            Phase::Online => replica.lag_s(cx.now_ms / 1000),
            _ => 0,
        };
        report.field(
            &format!("slave{index}"),
            format_args!(
                "ip={},port={port},state={},offset={},lag={lag_s}",
                replica.address(),
                phase.name(),
                replica.acked(),
            ),
        );
    }
    report.field("master_failover_state", "no-failover");
    let identity = cx.node.history.identity();
    let (before, end) = identity.before.unzip();
    report.field("master_replid", identity.id);
    report.field("master_replid2", before.unwrap_or_else(|| "0".repeat(40)));
    let ring = cx.node.keyspace.ring_state();
    report.field("master_repl_offset", ring.head);
    report.field("second_repl_offset", end.map_or(-1, |end| end as i64));
    let size = cx.config.replication.repl_backlog_size;
    let is_on = ring.kept_bytes > 0;
    // The ring may keep more than what replicas are promised.
    let kept = (ring.head - ring.floor.min(ring.head)).min(size);
    let first = ring.head - kept + 1;
    report.fields(&[
        ("repl_backlog_active", u64::from(is_on)),
        ("repl_backlog_size", size),
        (
            "repl_backlog_first_byte_offset",
            if is_on { first } else { 0 },
        ),
        ("repl_backlog_histlen", kept),
    ]);
}

pub(super) fn cluster(report: &mut Report, cx: &Context<'_>) {
    report.field("cluster_enabled", u8::from(cx.is_clustered()));
}

pub(super) fn keyspace(report: &mut Report, cx: &Context<'_>) {
    for (db, keys) in databases(cx) {
        let expires = cx.node.keyspace.expires(db);
        report.field(
            &format!("db{db}"),
            format_args!(
                "keys={keys},expires={expires},avg_ttl={}",
                ttl_mean_ms(cx, db)
            ),
        );
    }
}

/// The databases that hold keys, with their number.
pub(in crate::command::family) fn databases(cx: &Context<'_>) -> impl Iterator<Item = (u8, u64)> {
    (0..DATABASES_MAX as u8)
        .map(|db| (db, cx.view.len(db)))
        .filter(|(_, keys)| *keys > 0)
}

/// The mean time to live among the first keys of the database that have one.
fn ttl_mean_ms(cx: &Context<'_>, db: u8) -> u64 {
    const KEYS_LOOKED_AT: usize = 256;
    if cx.node.keyspace.expires(db) == 0 {
        return 0;
    }
    let (mut sum_ms, mut count) = (0u128, 0u128);
    cx.view.scan(db, 0, KEYS_LOOKED_AT, &mut |entry| {
        if let Some(at_ms) = entry.ttl_at() {
            sum_ms += u128::from(at_ms.saturating_sub(cx.now_ms));
            count += 1;
        }
    });
    sum_ms.checked_div(count).unwrap_or(0) as u64
}

/// EagleDB's own section.
pub(super) fn pool(report: &mut Report, cx: &Context<'_>) {
    let usage = cx.node.keyspace.usage();
    let (opened, took) = &cx.node.opened;
    let path = &cx.config.pool.pool_path;
    report.field("pool_path", path.replace(['\r', '\n'], "?"));
    report.field("pool_medium", opened.medium);
    report.fields(&[
        ("pool_capacity_bytes", usage.capacity),
        ("pool_mapped_bytes", usage.mapped),
        ("pool_used_bytes", usage.used),
        ("pool_free_bytes", usage.capacity.saturating_sub(usage.used)),
        ("pool_retired_bytes", usage.retired),
        ("pool_created", u64::from(opened.created)),
        ("pool_recovered", u64::from(opened.recovered)),
        ("pool_open_usec", took.as_micros() as u64),
    ]);
}
