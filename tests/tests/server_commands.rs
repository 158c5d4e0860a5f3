//! INFO, SLOWLOG, LATENCY, MEMORY, DEBUG and their kin against redis-server 7.0.15: the same field
//! names, the same shapes, the same errors. Values differ, since two servers are two servers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use eagledb_tests::monitoring::page;
use eagledb_tests::port::Port;
use eagledb_tests::{Client, Kind, Launch, Reply, Server};

fn both() -> [Server; 2] {
    [Kind::Redis, Kind::EagleDb].map(|kind| Launch::of(kind).start())
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Runs `lines` on both servers; each reply, judged by `view`, must be the same.
#[track_caller]
fn same<T: PartialEq + std::fmt::Debug>(lines: &[&str], view: impl Fn(&Reply) -> T) {
    let [redis, eagledb] = both();
    let (mut redis, mut eagledb) = (redis.client(), eagledb.client());
    for line in lines {
        let expected = redis.call(&words(line));
        let found = eagledb.call(&words(line));
        assert_eq!(
            view(&found),
            view(&expected),
            "{line}\n  redis:   {expected:?}\n  eagledb: {found:?}"
        );
    }
}

/// A reply without what differs between servers: numbers and texts become their kinds.
fn shape(reply: &Reply) -> String {
    match reply {
        Reply::Int(_) => ":".into(),
        Reply::Bulk(_) => "$".into(),
        Reply::Verbatim(_) => "=".into(),
        Reply::Double(_) => ",".into(),
        Reply::Array(items) => {
            let items: Vec<String> = items.iter().map(shape).collect();
            format!("[{}]", items.join(" "))
        }
        Reply::Map(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(key, value)| format!("{key:?}={}", shape(value)))
                .collect();
            format!("{{{}}}", pairs.join(" "))
        }
        other => format!("{other:?}"),
    }
}

fn fields(client: &mut Client, section: &str) -> Vec<String> {
    let text = client.call(&["INFO", section]).text();
    text.lines()
        .map(|line| line.split(':').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_info_section_has_the_fields_of_redis_in_their_order() {
    let [redis, eagledb] = both();
    let (mut redis, mut eagledb) = (redis.client(), eagledb.client());
    for client in [&mut redis, &mut eagledb] {
        client.call(&["SET", "key", "value", "EX", "1000"]).ok();
        assert!(client.call(&["GET"]).error().is_some());
    }
    for section in [
        "server",
        "clients",
        "memory",
        "persistence",
        "stats",
        "replication",
        "cpu",
        "modules",
        "errorstats",
        "cluster",
        "keyspace",
    ] {
        let expected = fields(&mut redis, section);
        let mut found = fields(&mut eagledb, section);
        found.retain(|field| field != "eagledb_version");
        assert_eq!(found, expected, "INFO {section}");
    }
    for section in ["commandstats", "latencystats"] {
        let set = |fields: Vec<String>| fields.into_iter().collect::<BTreeSet<String>>();
        let (mut expected, mut found) = (
            set(fields(&mut redis, section)),
            set(fields(&mut eagledb, section)),
        );
        // The harness asks the two servers different questions.
        for names in [&mut expected, &mut found] {
            names.retain(|name| ["_set", "_get"].iter().any(|end| name.ends_with(end)));
        }
        assert_eq!(found, expected, "INFO {section}");
        assert!(!found.is_empty(), "INFO {section}");
    }
}

#[test]
fn info_values_are_true() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    for index in 0..10 {
        client.call(&["SET", &format!("key:{index}"), "x"]).ok();
    }
    client.call(&["PEXPIRE", "key:1", "100000"]);
    client.call(&["GET", "key:0"]);
    client.call(&["GET", "nosuch"]);
    assert!(client.call(&["INCR", "key:0"]).error().is_some());
    assert_eq!(client.info("redis_version"), "7.0.15");
    assert_eq!(client.info("tcp_port"), server.port().to_string());
    assert_eq!(client.info("process_id"), server.pid().to_string());
    assert_eq!(client.info("run_id").len(), 40);
    assert_eq!(client.info("role"), "master");
    assert_eq!(client.info("keyspace_hits"), "1");
    assert_eq!(client.info("keyspace_misses"), "1");
    assert_eq!(client.info("errorstat_ERR"), "count=1");
    assert_eq!(client.info("mem_allocator"), "libc");
    assert_eq!(client.info("connected_clients"), "1");
    let db0 = client.info("db0");
    let ttl: u64 = db0
        .strip_prefix("keys=10,expires=1,avg_ttl=")
        .unwrap_or_else(|| panic!("{db0}"))
        .parse()
        .unwrap();
    assert!((1..=100_000).contains(&ttl), "{db0}");
    let set = client.info("cmdstat_set");
    assert!(
        set.starts_with("calls=10,usec=") && set.ends_with(",rejected_calls=0,failed_calls=0"),
        "{set}"
    );
    assert!(client.info("cmdstat_incr").ends_with("failed_calls=1"));
    assert!(
        client
            .info("latency_percentiles_usec_set")
            .starts_with("p50=")
    );
    let used: u64 = client.info("used_memory").parse().unwrap();
    assert!(used > 0 && used < client.info("pool_capacity_bytes").parse().unwrap());
    assert!(client.info("used_memory_rss").parse::<u64>().unwrap() > 1 << 20);
}

#[test]
fn info_chooses_sections_as_redis_does() {
    let titles = |reply: &Reply| -> Vec<String> {
        let text = reply.text();
        let titles = text.lines().filter(|line| line.starts_with('#'));
        titles
            .filter(|line| *line != "# Pool")
            .map(str::to_owned)
            .collect()
    };
    same(
        &[
            "INFO",
            "INFO default",
            "INFO all",
            "INFO EVERYTHING",
            "INFO cpu server CPU",
            "INFO server default",
            "INFO nosuch",
            "INFO nosuch all",
        ],
        titles,
    );
}

#[test]
fn errors_and_simple_replies_are_those_of_redis() {
    same(
        &[
            "SLOWLOG GET",
            "SLOWLOG GET 0",
            "SLOWLOG GET -1",
            "SLOWLOG GET -2",
            "SLOWLOG GET x",
            "SLOWLOG GET 1 2",
            "SLOWLOG LEN",
            "SLOWLOG RESET",
            "SLOWLOG nosuch",
            "SLOWLOG",
            "LATENCY LATEST",
            "LATENCY HISTORY command",
            "LATENCY GRAPH command",
            "LATENCY GRAPH",
            "LATENCY RESET",
            "LATENCY RESET command",
            "LATENCY HISTOGRAM nosuch",
            "LATENCY nosuch",
            "ROLE",
            "ROLE x",
            "LOLWUT VERSION x",
            "SHUTDOWN ABORT",
            "SHUTDOWN ABORT NOW",
            "SHUTDOWN SAVE NOSAVE",
            "SHUTDOWN x",
            "SET a 1",
            "MEMORY USAGE nosuch",
            "MEMORY USAGE a SAMPLES",
            "MEMORY USAGE a SAMPLES -1",
            "MEMORY USAGE a SAMPLES x",
            "MEMORY USAGE a x 1",
            "MEMORY PURGE",
            "MEMORY nosuch",
            "MEMORY HELP",
            "SLOWLOG HELP",
            "LATENCY HELP",
            "DEBUG",
            "DEBUG nosuch",
            "DEBUG SLEEP",
            "DEBUG SLEEP 0",
            "DEBUG SLEEP x",
            "DEBUG OBJECT nosuch",
            "DEBUG SET-ACTIVE-EXPIRE 0",
            "DEBUG SET-ACTIVE-EXPIRE 1",
            "DEBUG JMAP",
            "DEBUG LOG hello",
            "DEBUG LOG a b",
            "DEBUG ERROR CODE",
            "DEBUG CHANGE-REPL-ID",
            "DEBUG POPULATE x",
            "DEBUG POPULATE -1",
            "DEBUG POPULATE 3",
            "DEBUG POPULATE 3 pfx 100",
            "DEBUG POPULATE 3 cut 3",
            "GET key:2",
            "GET pfx:1",
            "GET cut:1",
            "DBSIZE",
            "DEBUG REPLYBUFFER RESIZING 1",
            "DEBUG REPLYBUFFER nosuch 1",
            "DEBUG QUICKLIST-PACKED-THRESHOLD 100b",
            "DEBUG QUICKLIST-PACKED-THRESHOLD x",
            "DEBUG DROP-CLUSTER-PACKET-FILTER -1",
            "DEBUG DROP-CLUSTER-PACKET-FILTER x",
        ],
        Reply::clone,
    );
}

#[test]
fn debug_protocol_replies_every_kind_in_both_versions() {
    let mut lines = Vec::new();
    for version in ["HELLO 2", "HELLO 3"] {
        lines.push(version);
        lines.extend([
            "DEBUG PROTOCOL string",
            "DEBUG PROTOCOL integer",
            "DEBUG PROTOCOL double",
            "DEBUG PROTOCOL bignum",
            "DEBUG PROTOCOL null",
            "DEBUG PROTOCOL array",
            "DEBUG PROTOCOL set",
            "DEBUG PROTOCOL map",
            "DEBUG PROTOCOL attrib",
            "DEBUG PROTOCOL verbatim",
            "DEBUG PROTOCOL true",
            "DEBUG PROTOCOL false",
            "DEBUG PROTOCOL nosuch",
        ]);
    }
    same(&lines, |reply| match reply {
        // HELLO tells the connection's number.
        Reply::Array(items) if items.len() == 14 => shape(reply),
        Reply::Map(pairs) if pairs.len() == 7 => shape(reply),
        other => format!("{other:?}"),
    });
}

#[test]
fn reports_have_the_shape_redis_gives_them() {
    same(
        &[
            "SET a 1",
            "HELLO 3",
            "TIME",
            "LASTSAVE",
            "LOLWUT",
            "LATENCY DOCTOR",
            "MEMORY DOCTOR",
            "MEMORY STATS",
            "MEMORY MALLOC-STATS",
            "MEMORY USAGE a",
            "INFO",
            "DEBUG DIGEST",
            "HELLO 2",
            "TIME",
            "MEMORY DOCTOR",
            "MEMORY STATS",
            "INFO cpu",
        ],
        shape,
    );
}

#[test]
fn digests_are_those_of_redis() {
    same(
        &[
            "DEBUG DIGEST",
            "DEBUG DIGEST-VALUE nosuch",
            "SET text hello",
            "SET number 123",
            "SET brief x EX 1000",
            "HSET hash f1 v1 f2 v2",
            "DEBUG DIGEST-VALUE text number brief hash nosuch",
            "DEBUG DIGEST",
            "SELECT 3",
            "SET text hello",
            "DEBUG DIGEST",
            "FLUSHALL",
            "DEBUG DIGEST",
        ],
        Reply::clone,
    );
}

#[test]
fn debug_is_refused_unless_allowed() {
    for kind in [Kind::Redis, Kind::EagleDb] {
        let server = Launch::of(kind)
            .option("enable-debug-command", "no")
            .start();
        let mut client = server.client();
        let refusal = client.call(&["DEBUG", "SLEEP", "0"]).error();
        assert_eq!(
            refusal.as_deref(),
            Some(
                "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run \
                 it from a local connection, otherwise you need to set this option in the configuration file, and \
                 then restart the server."
            ),
            "{kind:?}"
        );
        assert!(
            client
                .call(&["DEBUG"])
                .error()
                .unwrap()
                .contains("wrong number")
        );
    }
    let server = Launch::eagledb()
        .option("enable-debug-command", "local")
        .start();
    server.client().call(&["DEBUG", "SLEEP", "0"]).ok();
}

#[test]
fn debug_sleep_stops_every_worker() {
    let server = Launch::eagledb().option("worker-threads", "3").start();
    // Connections go to the workers in turn.
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for client in &mut clients {
        client.call(&["PING"]);
    }
    let mut sleeper = server.client();
    sleeper.send(&["DEBUG", "SLEEP", "1"]).unwrap();
    sleeper.flush().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    for client in &mut clients {
        client.send(&["PING"]).unwrap();
        client.flush().unwrap();
    }
    let asked = Instant::now();
    for client in &mut clients {
        assert_eq!(client.receive().unwrap().text(), "PONG");
        assert!(
            asked.elapsed() > Duration::from_millis(400),
            "a worker went on: {:?}",
            asked.elapsed()
        );
    }
    sleeper.receive().unwrap().ok();
}

#[test]
fn slow_commands_are_logged_and_spikes_recorded() {
    let server = Launch::eagledb()
        .option("slowlog-log-slower-than", "10000")
        .option("latency-monitor-threshold", "10")
        .start();
    let mut client = server.client();
    client.call(&["CLIENT", "SETNAME", "tester"]).ok();
    client.call(&["DEBUG", "SLEEP", "0.05"]).ok();
    assert_eq!(client.call(&["SLOWLOG", "LEN"]).int(), 1);
    let log = client.call(&["SLOWLOG", "GET"]);
    let entry = log.items()[0].items();
    assert!(entry[2].int() >= 50_000);
    assert_eq!(entry[3].items().len(), 3);
    assert!(entry[4].text().starts_with("127.0.0.1:"));
    assert_eq!(entry[5].text(), "tester");
    let latest = client.call(&["LATENCY", "LATEST"]);
    let event = latest.items()[0].items();
    assert_eq!(event[0].text(), "command");
    assert!(event[2].int() >= 50 && event[3].int() >= 50);
    assert_eq!(
        client
            .call(&["LATENCY", "HISTORY", "command"])
            .items()
            .len(),
        1
    );
    let graph = client.call(&["LATENCY", "GRAPH", "command"]).text();
    assert!(graph.starts_with("command - high "), "{graph}");
    let doctor = client.call(&["LATENCY", "DOCTOR"]).text();
    assert!(doctor.contains("1. command: 1 latency spikes"), "{doctor}");
    let histogram = client.call(&["LATENCY", "HISTOGRAM", "debug"]);
    assert_eq!(histogram.items()[0].text(), "debug");
    assert_eq!(histogram.items()[1].items()[1].int(), 1);
    assert_eq!(client.call(&["LATENCY", "RESET"]).int(), 1);
    client.call(&["SLOWLOG", "RESET"]).ok();
    assert_eq!(client.call(&["SLOWLOG", "LEN"]).int(), 0);
}

#[test]
fn shutdown_ends_the_server_and_keeps_the_data() {
    let mut server = Launch::eagledb().start();
    let mut client = server.client();
    client.call(&["SET", "a", "1"]).ok();
    client.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(client.finish().is_empty(), "SHUTDOWN has no reply");
    assert!(server.wait_exit().success());
    server.start();
    assert_eq!(server.client().call(&["GET", "a"]).text(), "1");
}

#[test]
fn pages_tell_of_commands_pool_and_cluster() {
    let metrics_port = Port::claim();
    let port = metrics_port.number();
    let mut server = Launch::eagledb()
        .option("metrics-port", &port.to_string())
        .cluster_node(1000)
        .start();
    let metrics = page(port, "/metrics");
    for line in [
        "# TYPE eagledb_pool_used_bytes gauge",
        "# TYPE eagledb_command_duration_seconds histogram",
        "# TYPE eagledb_expired_keys_total counter",
        "eagledb_cluster_enabled 1",
        "eagledb_cluster_state_ok 0",
        "eagledb_cluster_slots_assigned 0",
        "eagledb_cluster_known_nodes 1",
    ] {
        // A command must run before it has a histogram.
        server.client().call(&["PING"]);
        let metrics = if metrics.contains(line) {
            metrics.clone()
        } else {
            page(port, "/metrics")
        };
        let is_there = metrics.lines().any(|l| l == line);
        assert!(is_there, "{line} is not in\n{metrics}");
    }
    assert!(page(port, "/healthz").starts_with("HTTP/1.1 200"));
    let unready = page(port, "/readyz");
    assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
    assert!(unready.ends_with("the cluster is down\n"), "{unready}");
    let long = page(port, &format!("/{}", "x".repeat(1 << 20)));
    assert!(!long.starts_with("HTTP/1.1 200"));
    assert!(server.stop().success());
}
