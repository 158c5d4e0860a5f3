//! What the pages for monitoring say about this node: gathered from its counters at every request.

use crate::command;
use crate::config::Config;
use crate::config::command_line::REDIS_VERSION;
use crate::metrics::export::{Exposition, Kind};
use crate::metrics::http::{Monitoring, Pages};
use crate::metrics::{CommandTotals, Counter, WorkerStats, process};
use crate::node::Node;
use eagle_core::store::DATABASES_MAX;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};

/// The node to report about, once there is one: the pages are served while its pool still recovers.
pub type Observed = Arc<OnceLock<Weak<Node>>>;

/// Begins to serve the pages, if `metrics-port` asks for them.
pub fn start(settings: &Config, observed: &Observed) -> Result<Option<Monitoring>, String> {
    let (address, port) = (
        &settings.network.metrics_bind,
        settings.network.metrics_port,
    );
    if port == 0 {
        return Ok(None);
    }
    let (measured, judged) = (observed.clone(), observed.clone());
    let pages = Pages {
        metrics: Box::new(move || scrape(node_of(&measured).as_deref()).encode()),
        unready: Box::new(move || unready(node_of(&judged).as_deref())),
    };
    Monitoring::start(address, port, pages)
        .map(Some)
        .map_err(|error| format!("Can't serve metrics on {address} port {port}: {error}"))
}

fn node_of(observed: &Observed) -> Option<Arc<Node>> {
    observed.get()?.upgrade()
}

/// Why the node should get no clients now.
fn unready(node: Option<&Node>) -> Option<&'static str> {
    let Some(node) = node.filter(|node| node.is_serving.load(Ordering::Acquire)) else {
        return Some("starting");
    };
    if node.shutdown.is_requested() {
        return Some("shutting down");
    }
    let cluster = node.cluster.as_ref()?;
    let needs_all = node.config.load().cluster.cluster_require_full_coverage;
    (needs_all && !cluster.topology().is_ok()).then_some("the cluster is down")
}

/// The topics of `/metrics`, in the order of the page.
const TOPICS: &[fn(&mut Exposition, &Node)] =
    &[server, clients, network, commands, keyspace, pool, cluster];

fn scrape(node: Option<&Node>) -> Exposition {
    let mut page = Exposition::default();
    page.facts(
        "eagledb_build_info",
        "Version of EagleDB, and of the Redis it is compatible with.",
        &[
            ("version", env!("CARGO_PKG_VERSION")),
            ("redis_version", REDIS_VERSION),
        ],
    );
    process(&mut page);
    if let Some(node) = node {
        TOPICS.iter().for_each(|topic| topic(&mut page, node));
    }
    page
}

fn process(page: &mut Exposition) {
    page.value(
        Kind::Gauge,
        "eagledb_process_resident_memory_bytes",
        "Memory of the process that is resident, mapped pool pages included.",
        process::resident_bytes() as f64,
    );
    let times = process::cpu_times();
    page.labelled(
        Kind::Counter,
        "eagledb_process_cpu_seconds_total",
        "CPU time of the process.",
        "mode",
        [("user", times.user), ("system", times.system)]
            .map(|(mode, time)| (mode.to_owned(), time.as_secs_f64())),
    );
}

fn server(page: &mut Exposition, node: &Node) {
    page.value(
        Kind::Gauge,
        "eagledb_uptime_seconds",
        "Time since the start.",
        node.started.elapsed().as_secs_f64(),
    );
    page.value(
        Kind::Gauge,
        "eagledb_slowlog_entries",
        "Entries of the slow log.",
        node.slowlog.len() as f64,
    );
}

fn clients(page: &mut Exposition, node: &Node) {
    let clients = node.clients.all();
    let blocked = clients
        .iter()
        .filter(|client| client.blocked.load(Ordering::Relaxed));
    for (name, help, value) in [
        (
            "eagledb_connected_clients",
            "Client connections.",
            clients.len(),
        ),
        (
            "eagledb_blocked_clients",
            "Clients that wait for a reply from elsewhere.",
            blocked.count(),
        ),
        (
            "eagledb_clients_max",
            "Bound on client connections.",
            node.config.load().clients.maxclients as usize,
        ),
    ] {
        page.value(Kind::Gauge, name, help, value as f64);
    }
}

/// A counter of every worker: its metric, what it counts, where it is.
type Total = (&'static str, &'static str, fn(&WorkerStats) -> &Counter);

const NETWORK: &[Total] = &[
    (
        "eagledb_connections_received_total",
        "Connections accepted.",
        |w| &w.connections_received,
    ),
    (
        "eagledb_connections_rejected_total",
        "Connections refused.",
        |w| &w.connections_rejected,
    ),
    (
        "eagledb_net_input_bytes_total",
        "Bytes read from clients.",
        |w| &w.net_input_bytes,
    ),
    (
        "eagledb_net_output_bytes_total",
        "Bytes written to clients.",
        |w| &w.net_output_bytes,
    ),
    (
        "eagledb_redirects_total",
        "Requests answered by MOVED or ASK.",
        |w| &w.redirects,
    ),
    (
        "eagledb_forwards_total",
        "Requests forwarded to the node that serves the key.",
        |w| &w.forwards,
    ),
    (
        "eagledb_keyspace_hits_total",
        "Look-ups that found a key.",
        |w| &w.keyspace_hits,
    ),
    (
        "eagledb_keyspace_misses_total",
        "Look-ups that found no key.",
        |w| &w.keyspace_misses,
    ),
    ("eagledb_error_replies_total", "Error replies.", |w| {
        &w.error_replies
    }),
];

fn totals(page: &mut Exposition, node: &Node, totals: &[Total]) {
    for (name, help, counter) in totals {
        page.value(Kind::Counter, name, help, node.stats.sum(counter) as f64);
    }
}

fn network(page: &mut Exposition, node: &Node) {
    totals(page, node, NETWORK);
    page.labelled(
        Kind::Counter,
        "eagledb_errors_total",
        "Error replies by code.",
        "error",
        node.errors
            .counts()
            .into_iter()
            .map(|(code, count)| (code, count as f64)),
    );
}

/// A counter of every command: its metric, what it counts, where it is.
type CommandTotal = (&'static str, &'static str, fn(&CommandTotals) -> u64);

fn commands(page: &mut Exposition, node: &Node) {
    let mut used: Vec<(&str, CommandTotals)> = command::table()
        .entries()
        .iter()
        .map(|entry| (entry.full_name.as_str(), node.stats.command(entry.id)))
        .filter(|(_, totals)| totals.calls + totals.rejected > 0)
        .collect();
    let families: [CommandTotal; 3] = [
        ("eagledb_commands_total", "Commands run.", |totals| {
            totals.calls
        }),
        (
            "eagledb_commands_rejected_total",
            "Commands refused before they ran.",
            |totals| totals.rejected,
        ),
        (
            "eagledb_commands_failed_total",
            "Commands that ran and replied an error.",
            |totals| totals.failed,
        ),
    ];
    for (name, help, count) in families {
        let samples = used
            .iter()
            .map(|(command, totals)| ((*command).to_owned(), count(totals) as f64));
        page.labelled(Kind::Counter, name, help, "command", samples);
    }
    used.retain(|(_, totals)| totals.calls > 0);
    page.latencies(
        "eagledb_command_duration_seconds",
        "Time in the command, without waiting and network.",
        &used,
    );
}

fn keyspace(page: &mut Exposition, node: &Node) {
    let databases = || {
        (0..DATABASES_MAX as u8)
            .filter(|db| *db == 0 || node.keyspace.len(*db) > 0)
            .map(|db| (db.to_string(), db))
    };
    page.labelled(
        Kind::Gauge,
        "eagledb_keys",
        "Keys by database.",
        "db",
        databases().map(|(label, db)| (label, node.keyspace.len(db) as f64)),
    );
    page.labelled(
        Kind::Gauge,
        "eagledb_expiring_keys",
        "Keys with an expiry by database.",
        "db",
        databases().map(|(label, db)| (label, node.keyspace.expires(db) as f64)),
    );
    page.value(
        Kind::Counter,
        "eagledb_expired_keys_total",
        "Keys removed because their time had come.",
        node.keyspace.counters().expired_keys as f64,
    );
    page.value(
        Kind::Counter,
        "eagledb_expired_fields_total",
        "Fields of hashes removed because their time had come.",
        node.keyspace.counters().expired_fields as f64,
    );
    totals(page, node, SHARING);
}

const SHARING: &[Total] = &[
    (
        "eagledb_shared_changes_total",
        "Changes of one key begun in a hash slot that others may change beside it.",
        |w| &w.shared_changes,
    ),
    (
        "eagledb_shared_changes_refused_total",
        "Of these, those that began again because they needed the slot alone.",
        |w| &w.shared_changes_refused,
    ),
];

fn pool(page: &mut Exposition, node: &Node) {
    let (report, took) = &node.opened;
    page.facts(
        "eagledb_pool_info",
        "What the pool lies on.",
        &[("medium", &report.medium.to_string())],
    );
    let usage = node.keyspace.usage();
    for (name, help, bytes) in [
        (
            "eagledb_pool_used_bytes",
            "Pool space held by keys, values and tables.",
            usage.used,
        ),
        (
            "eagledb_pool_free_bytes",
            "Pool space that is left.",
            usage.capacity.saturating_sub(usage.used),
        ),
        (
            "eagledb_pool_capacity_bytes",
            "What the pool can hold.",
            usage.capacity,
        ),
        (
            "eagledb_pool_mapped_bytes",
            "Pool space mapped so far.",
            usage.mapped,
        ),
        (
            "eagledb_pool_retired_bytes",
            "Freed, but still waiting for readers to leave the epoch.",
            usage.retired,
        ),
    ] {
        page.value(Kind::Gauge, name, help, bytes as f64);
    }
    page.value(
        Kind::Gauge,
        "eagledb_pool_recovered",
        "Whether the last start had to settle unfinished transactions.",
        f64::from(u8::from(report.recovered)),
    );
    page.value(
        Kind::Gauge,
        "eagledb_pool_open_seconds",
        "How long opening the pool took at the last start, recovery included.",
        took.as_secs_f64(),
    );
}

fn cluster(page: &mut Exposition, node: &Node) {
    let enabled = node.cluster.is_some();
    page.value(
        Kind::Gauge,
        "eagledb_cluster_enabled",
        "Whether this node is part of a cluster.",
        f64::from(u8::from(enabled)),
    );
    let Some(cluster) = &node.cluster else { return };
    page.value(
        Kind::Gauge,
        "eagledb_cluster_state_ok",
        "Whether the cluster is in order, as this node sees it.",
        f64::from(u8::from(cluster.topology().is_ok())),
    );
    let (info, links) = cluster.look(|state| (state.info_text(), state.link_reports().len()));
    page.value(
        Kind::Gauge,
        "eagledb_cluster_links",
        "Links of the cluster bus.",
        links as f64,
    );
    for (field, name, help) in CLUSTER_GAUGES {
        if let Some(value) = number_in(&info, field) {
            page.value(Kind::Gauge, name, help, value);
        }
    }
    page.labelled(
        Kind::Counter,
        "eagledb_cluster_bus_messages_total",
        "Messages of the cluster bus.",
        "direction",
        ["sent", "received"].into_iter().filter_map(|direction| {
            let field = format!("cluster_stats_messages_{direction}");
            Some((direction.to_owned(), number_in(&info, &field)?))
        }),
    );
}

/// Fields of CLUSTER INFO that are gauges here.
const CLUSTER_GAUGES: &[(&str, &str, &str)] = &[
    (
        "cluster_slots_assigned",
        "eagledb_cluster_slots_assigned",
        "Slots that a node serves.",
    ),
    (
        "cluster_slots_ok",
        "eagledb_cluster_slots_ok",
        "Slots whose node can be reached.",
    ),
    (
        "cluster_slots_pfail",
        "eagledb_cluster_slots_pfail",
        "Slots whose node seems to have failed.",
    ),
    (
        "cluster_slots_fail",
        "eagledb_cluster_slots_fail",
        "Slots whose node has failed.",
    ),
    (
        "cluster_known_nodes",
        "eagledb_cluster_known_nodes",
        "Nodes this node knows, itself included.",
    ),
    (
        "cluster_size",
        "eagledb_cluster_size",
        "Primaries that serve slots.",
    ),
    (
        "cluster_current_epoch",
        "eagledb_cluster_current_epoch",
        "The cluster's current epoch.",
    ),
];

/// The number in the line `field:number`.
fn number_in(info: &str, field: &str) -> Option<f64> {
    let mut pairs = info.lines().filter_map(|line| line.split_once(':'));
    pairs
        .find(|(name, _)| *name == field)
        .and_then(|(_, value)| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_there_is_a_node_the_pages_say_so() {
        let observed = Observed::default();
        assert!(node_of(&observed).is_none());
        assert_eq!(unready(None), Some("starting"));
        let text = String::from_utf8(scrape(None).encode()).unwrap();
        assert!(text.contains("eagledb_build_info{version="), "{text}");
        assert!(
            text.contains("eagledb_process_resident_memory_bytes "),
            "{text}"
        );
    }

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let info = "cluster_size:3\r\ncluster_stats_messages_sent:7\r\ncluster_state:ok\r\n";
        assert_eq!(number_in(info, "cluster_size"), Some(3.0));
        assert_eq!(number_in(info, "cluster_stats_messages"), None);
        assert_eq!(number_in(info, "cluster_state"), None);
    }
}
