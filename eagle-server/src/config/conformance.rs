//! The directive table against a running redis-server 7.0.15: names, defaults, and what values are
//! accepted. Skipped, with a message, where no such server is installed.

use std::collections::BTreeMap;

use crate::reference::{Reference, items, text};

use super::directive::{Flags, all, find};
use super::live::{Caller, Live, matching};
use super::{Change, Config, Permission};

/// Directives whose defaults differ on purpose or belong to how the reference was started.
const STARTED_WITH: [&str; 3] = ["port", "dir", "enable-protected-configs"];

#[test]
fn names_and_defaults_are_those_of_7_0_15() {
    let Some(mut server) = Reference::start() else {
        return;
    };
    let reply = server.call(&["CONFIG", "GET", "*"]);
    let theirs: BTreeMap<String, String> = items(&reply)
        .chunks(2)
        .map(|pair| (text(&pair[0]), text(&pair[1])))
        .collect();
    let config = Config::default();
    let ours: BTreeMap<String, String> = matching(&[b"*"])
        .into_iter()
        .filter(|(_, directive)| !directive.flags.has(Flags::OWN))
        .map(|(name, directive)| {
            let value = String::from_utf8(directive.show(&config)).expect("defaults are text");
            (String::from_utf8(name).expect("names are text"), value)
        })
        .collect();
    let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    for (name, value) in &ours {
        if !STARTED_WITH.contains(&name.as_str()) {
            assert_eq!(value, &theirs[name], "default of {name}");
        }
    }
    for directive in all().filter(|d| d.flags.has(Flags::HIDDEN)) {
        let reply = server.call(&["CONFIG", "GET", directive.name]);
        let value = String::from_utf8(directive.show(&config)).expect("defaults are text");
        assert_eq!(
            text(&items(&reply)[1]),
            value,
            "default of the hidden {}",
            directive.name
        );
    }
}

#[test]
fn config_set_accepts_and_refuses_what_7_0_15_does() {
    let Some(mut server) = Reference::start() else {
        return;
    };
    let mut config = Config::started_in(&server.dir);
    config.network.port = server.port;
    config.security.enable_protected_configs = Permission::Everybody;
    let live = Live::new(config);
    // What the server does beyond the grammar of values.
    live.on_apply(&["maxclients"], |change: &mut Change<'_>| {
        if change.new.clients.maxclients < 100_000 {
            Ok(())
        } else {
            Err("".into())
        }
    });
    let may_set_protected = Caller {
        may_set_protected: true,
        ..Caller::default()
    };
    let mut differences = Vec::new();
    let mut compare = |name: &str, value: &str| {
        let theirs = text(&server.call(&["CONFIG", "SET", name, value]));
        let ours = match live.set_many(&[(name.as_bytes(), value.as_bytes())], may_set_protected) {
            Ok(()) => "OK".to_owned(),
            Err(error) => format!("ERR {error}"),
        };
        let their_value = text(&items(&server.call(&["CONFIG", "GET", name]))[1]);
        let directive = find(name.as_bytes()).expect("only known names are compared");
        let our_value = String::from_utf8_lossy(&directive.show(&live.load())).into_owned();
        if (&ours, &our_value) != (&theirs, &their_value) {
            differences.push(format!(
                "{name} {value:?}: {ours} [{our_value}], not {theirs} [{their_value}]"
            ));
        }
    };
    // These bind sockets, load certificates, start a file or a timer: the server's own tests.
    let acts = [
        "port",
        "bind",
        "tls-port",
        "tls-cluster",
        "tls-replication",
        "appendonly",
        "activedefrag",
        "watchdog-period",
    ];
    let simple = [
        "xyzzy",
        "-1",
        "0",
        "1",
        "-99999999999999",
        "01",
        "+1",
        " 1",
        "1x",
        "YES",
        "no",
        "5%",
        "1mb",
    ];
    for directive in all().filter(|d| !d.flags.has(Flags::OWN) && !acts.contains(&d.name)) {
        for name in [directive.name].iter().chain(directive.aliases) {
            for value in simple {
                compare(name, value);
            }
        }
    }
    for (name, value) in CASES {
        compare(name, value);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Values that single directives treat in their own way.
const CASES: &[(&str, &str)] = &[
    ("maxmemory-clients", "-1%"),
    ("maxmemory-clients", "5%"),
    ("maxmemory-clients", "101%"),
    ("maxmemory-clients", "%"),
    ("maxmemory-clients", "0%"),
    ("shutdown-on-sigterm", "save nosave"),
    ("shutdown-on-sigterm", "save force"),
    ("shutdown-on-sigterm", "now save now"),
    ("shutdown-on-sigterm", "default save"),
    ("shutdown-on-sigterm", "save  now"),
    ("shutdown-on-sigterm", ""),
    ("shutdown-on-sigterm", "default"),
    ("notify-keyspace-events", "KEA"),
    ("notify-keyspace-events", "KEAm"),
    ("notify-keyspace-events", "KEAn"),
    ("notify-keyspace-events", "g$lshzxetd"),
    ("notify-keyspace-events", "nmK"),
    ("notify-keyspace-events", "K E"),
    ("notify-keyspace-events", ""),
    ("oom-score-adj-values", "3 2 1"),
    ("oom-score-adj-values", "a 2 1"),
    ("oom-score-adj-values", "-5000 2 1"),
    ("oom-score-adj-values", "1 1 2001"),
    ("oom-score-adj-values", "1 1"),
    ("client-output-buffer-limit", "normal 1mb 2kb 3 slave 0 0 0"),
    ("client-output-buffer-limit", "replica 1 1 1"),
    ("client-output-buffer-limit", "master 1 1 1"),
    ("client-output-buffer-limit", "normal x 1 1"),
    ("client-output-buffer-limit", "normal 1 1 x"),
    ("client-output-buffer-limit", "normal 1 1 -1"),
    ("client-output-buffer-limit", "Normal  1 1 1"),
    ("client-output-buffer-limit", "Normal 1 1 1"),
    ("client-output-buffer-limit", ""),
    ("save", "900 1 300 10"),
    ("save", "0 1"),
    ("save", "1 -1"),
    ("save", "900  1"),
    ("save", ""),
    (
        "latency-tracking-info-percentiles",
        "50 99.99 1e1 0.0 100.00",
    ),
    ("latency-tracking-info-percentiles", "-1"),
    ("latency-tracking-info-percentiles", "nan"),
    ("latency-tracking-info-percentiles", ""),
    ("dir", "/nonexistent"),
    ("dir", "/etc/passwd"),
    ("dir", ""),
    ("dir", "/tmp/../tmp/"),
    ("dir", "."),
    ("dbfilename", "a/b"),
    ("dbfilename", ""),
    ("maxmemory", "1GB"),
    ("maxmemory", "1g"),
    ("maxmemory", "100b"),
    ("maxmemory", "0x10"),
    ("maxmemory", "1 mb"),
    ("hz", "1000"),
    ("maxclients", "200"),
    ("repl-backlog-size", "20kb"),
    ("cluster-announce-hostname", "a.b-c"),
    ("cluster-announce-hostname", "a_b"),
    ("proc-title-template", "{title} {x}"),
    ("proc-title-template", "{title"),
    ("proc-title-template", "{listen-addr}"),
    ("proc-title-template", ""),
    ("loglevel", "DEBUG"),
    ("tls-protocols", "foo"),
    ("acl-pubsub-default", "AllChannels"),
    ("sanitize-dump-payload", "clients"),
    ("active-defrag-ignore-bytes", "0"),
    ("client-query-buffer-limit", "1024kb"),
    ("client-query-buffer-limit", "1048575"),
];
