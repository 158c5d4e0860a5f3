//! INFO server, clients, memory, cpu: the process and its surroundings.

use crate::command::clock::lru_clock;
use crate::command::context::Context;
use crate::config::Choice;
use crate::config::command_line::REDIS_VERSION;
use crate::config::topic::Supervision;
use crate::metrics::info::Report;
use crate::metrics::process::{self, CpuTimes};
use crate::script::Shared;
use eagle_core::text::human_bytes::human_bytes;
use std::path::Path;
use std::sync::atomic::Ordering;

pub(super) fn server(report: &mut Report, cx: &Context<'_>) {
    let (node, config) = (cx.node, &cx.config);
    let uptime_s = node.started.elapsed().as_secs();
    let machine = rustix::system::uname();
    report.field("redis_version", REDIS_VERSION);
    report.field("eagledb_version", env!("CARGO_PKG_VERSION"));
    report.field("redis_git_sha1", "00000000");
    report.field("redis_git_dirty", 0);
    report.field(
        "redis_build_id",
        concat!("eagledb-", env!("CARGO_PKG_VERSION")),
    );
    report.field(
        "redis_mode",
        if cx.is_clustered() {
            "cluster"
        } else {
            "standalone"
        },
    );
    report.field(
        "os",
        format_args!(
            "{} {} {}",
            machine.sysname().to_string_lossy(),
            machine.release().to_string_lossy(),
            machine.machine().to_string_lossy()
        ),
    );
    report.field("arch_bits", usize::BITS);
    report.field("monotonic_clock", "POSIX clock_gettime");
    report.field("multiplexing_api", "epoll");
    report.field("atomicvar_api", "rust-core");
    // The version Redis shows when another compiler built it.
    report.field("gcc_version", "0.0.0");
    report.field("process_id", std::process::id());
    report.field(
        "process_supervised",
        match config.process.supervised {
            Supervision::None => "no",
            Supervision::Auto => "unknown",
            by => by.name(),
        },
    );
    report.field("run_id", &node.run_id);
    report.field("tcp_port", config.network.port);
    report.field("server_time_usec", cx.now_ms * 1000);
    report.field("uptime_in_seconds", uptime_s);
    report.field("uptime_in_days", uptime_s / (24 * 3600));
    report.field("hz", config.process.hz);
    report.field("configured_hz", config.process.hz);
    report.field("lru_clock", lru_clock(cx.now_ms));
    let executable = std::env::current_exe().unwrap_or_default();
    report.field("executable", one_line(&executable.display().to_string()));
    let file = node.config_file.as_deref().unwrap_or(Path::new(""));
    report.field("config_file", one_line(&file.display().to_string()));
    report.field("io_threads_active", 0);
}

/// File names may hold line breaks, fields may not.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], "?")
}

pub(super) fn clients(report: &mut Report, cx: &Context<'_>) {
    let clients = cx.node.clients.all();
    let (mut input_max, mut output_max, mut blocked, mut replicas) = (0, 0, 0, 0);
    for client in &clients {
        let input = client.query_bytes.load(Ordering::Relaxed)
            + client.query_room_bytes.load(Ordering::Relaxed);
        input_max = input_max.max(input);
        output_max = output_max.max(client.output_bytes.load(Ordering::Relaxed));
        blocked += usize::from(client.blocked.load(Ordering::Relaxed));
        replicas += usize::from(client.is_replica.load(Ordering::Relaxed));
    }
    let cluster = cx.node.cluster.as_ref();
    let links = cluster.map_or(0, |cluster| {
        cluster.look(|state| state.link_reports().len())
    });
    report.fields(&[
        ("connected_clients", clients.len() - replicas),
        ("cluster_connections", links),
        ("maxclients", cx.config.clients.maxclients as usize),
        ("client_recent_max_input_buffer", input_max),
        ("client_recent_max_output_buffer", output_max),
        ("blocked_clients", blocked),
        ("tracking_clients", cx.node.tracking.clients()),
        ("clients_in_timeout_table", cx.node.blocked.with_deadline()),
    ]);
}

/// Bytes in buffers of clients.
pub(in crate::command::family) fn client_bytes(cx: &Context<'_>) -> u64 {
    let clients = cx.node.clients.all();
    let bytes = clients.iter().map(|client| client.memory_bytes());
    bytes.sum::<usize>() as u64
}

/// A part of a whole in percent, 0 of nothing.
pub(in crate::command::family) fn percent(part: u64, whole: u64) -> f64 {
    ratio(part, whole) * 100.0
}

/// `part / whole`, 0 of nothing.
pub(in crate::command::family) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// What scripts and functions take, outside the pool.
fn scripting(report: &mut Report, scripts: &Shared) {
    let sized = |report: &mut Report, name: &str, bytes: usize| {
        report.field(name, bytes);
        report.field(&format!("{name}_human"), human_bytes(bytes as u64));
    };
    let (eval, functions) = (scripts.memory.of_scripts(), scripts.memory.of_functions());
    let (sources, libraries) = (scripts.sources.bytes(), scripts.functions.snapshot());
    report.field("used_memory_lua", eval);
    report.field("used_memory_vm_eval", eval);
    report.field("used_memory_lua_human", human_bytes(eval as u64));
    report.field("used_memory_scripts_eval", sources);
    report.field("number_of_cached_scripts", scripts.sources.len());
    report.field("number_of_functions", libraries.functions());
    report.field("number_of_libraries", libraries.len());
    report.field("used_memory_vm_functions", functions);
    sized(report, "used_memory_vm_total", eval + functions);
    report.field("used_memory_functions", libraries.bytes());
    sized(report, "used_memory_scripts", sources + libraries.bytes());
}

/// `used_memory` is what `maxmemory` bounds: the pool space of keys, values and tables, and what clients hold. All else
/// that the process holds shows in `used_memory_rss`, and so in the fragmentation fields.
pub(super) fn memory(report: &mut Report, cx: &Context<'_>) {
    let usage = cx.node.keyspace.usage();
    let clients = client_bytes(cx);
    let used = usage.used + clients;
    let peak = cx.node.used_peak.note(used);
    let resident = process::resident_bytes();
    let machine = process::machine_bytes();
    let max = cx.config.memory.maxmemory;
    let signed = |bytes: u64| bytes as i64;
    let sized = |report: &mut Report, name: &str, bytes: u64| {
        report.field(name, bytes);
        report.field(&format!("{name}_human"), human_bytes(bytes));
    };
    sized(report, "used_memory", used);
    sized(report, "used_memory_rss", resident);
    sized(report, "used_memory_peak", peak);
    report.field(
        "used_memory_peak_perc",
        format_args!("{:.2}%", percent(used, peak)),
    );
    report.field("used_memory_overhead", clients);
    report.field("used_memory_startup", 0);
    report.field("used_memory_dataset", usage.used);
    report.field(
        "used_memory_dataset_perc",
        format_args!("{:.2}%", percent(usage.used, used)),
    );
    report.field("allocator_allocated", usage.used);
    report.field("allocator_active", usage.pages);
    report.field("allocator_resident", resident);
    sized(report, "total_system_memory", machine);
    scripting(report, &cx.node.scripts);
    sized(report, "maxmemory", max);
    report.field("maxmemory_policy", cx.config.memory.maxmemory_policy.name());
    report.field(
        "allocator_frag_ratio",
        format_args!("{:.2}", ratio(usage.pages, usage.used)),
    );
    report.field(
        "allocator_frag_bytes",
        signed(usage.pages) - signed(usage.used),
    );
    report.field("allocator_rss_ratio", "1.00");
    report.field("allocator_rss_bytes", 0);
    report.field("rss_overhead_ratio", "1.00");
    report.field("rss_overhead_bytes", 0);
    report.field(
        "mem_fragmentation_ratio",
        format_args!("{:.2}", ratio(resident, used)),
    );
    report.field("mem_fragmentation_bytes", signed(resident) - signed(used));
    report.fields(&[
        ("mem_not_counted_for_evict", 0),
        ("mem_replication_backlog", 0),
        ("mem_total_replication_buffers", 0),
        ("mem_clients_slaves", 0),
        ("mem_clients_normal", clients),
        ("mem_cluster_links", 0),
        ("mem_aof_buffer", 0),
    ]);
    report.field("mem_allocator", "libc");
    report.fields(&[
        (
            "active_defrag_running",
            cx.node.defrag.running_percent.load(Ordering::Relaxed),
        ),
        ("lazyfree_pending_objects", 0),
        ("lazyfreed_objects", cx.node.lazyfreed.value()),
    ]);
}

pub(super) fn cpu(report: &mut Report, _: &Context<'_>) {
    let all = process::cpu_times();
    let CpuTimes { user, system, .. } = process::main_thread_times();
    for (name, time) in [
        ("used_cpu_sys", all.system),
        ("used_cpu_user", all.user),
        ("used_cpu_sys_children", all.children_system),
        ("used_cpu_user_children", all.children_user),
        ("used_cpu_sys_main_thread", system),
        ("used_cpu_user_main_thread", user),
    ] {
        report.field(name, format_args!("{:.6}", time.as_secs_f64()));
    }
}
