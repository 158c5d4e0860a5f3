//! EagleDB as a primary: a redis-server 7.0.15 that follows it has the same data, under load, after a dropped link and
//! after a restart of either side; and what else asks for a snapshot or the stream gets it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eagledb_tests::differential::Generator;
use eagledb_tests::{Client, Cluster, Kind, Launch, RoutedClient, Server, wait_until};

/// For what takes a full synchronisation on a slow machine.
const LONG: Duration = Duration::from_secs(60);

fn primary() -> Launch {
    Launch::eagledb().option("repl-diskless-sync-delay", "0")
}

fn follow(replica: &Server, primary: &Server) {
    let port = primary.port().to_string();
    let mut client = replica.client();
    client.call(&["REPLICAOF", "127.0.0.1", &port]).ok();
    wait_linked(replica);
}

fn wait_linked(replica: &Server) {
    let mut client = replica.client();
    wait_until("the link to be up", LONG, || {
        client.info("master_link_status") == "up"
    });
}

/// A replica that has everything `primary` has.
fn new_replica(primary: &Server) -> Server {
    let replica = Launch::redis().start();
    follow(&replica, primary);
    replica
}

fn digest(server: &Server) -> String {
    server.client().call(&["DEBUG", "DIGEST"]).text()
}

/// Waits until the replica has all that was written, then compares.
#[track_caller]
fn assert_same(primary: &Server, replica: &Server) {
    let mut client = primary.client();
    client.call(&["SET", "last", "write"]).ok();
    let written: u64 = client.info("master_repl_offset").parse().unwrap();
    let mut follower = replica.client();
    wait_until("the replica to have everything", LONG, || {
        let has: u64 = follower.info("slave_repl_offset").parse().unwrap();
        has >= written
    });
    assert_eq!(digest(primary), digest(replica));
    for db in ["0", "1"] {
        client.call(&["SELECT", db]).ok();
        follower.call(&["SELECT", db]).ok();
        let sizes = [&mut client, &mut follower].map(|side| side.call(&["DBSIZE"]).int());
        assert_eq!(sizes[0], sizes[1], "keys of database {db}");
    }
}

fn generate(primary: &Server, seed: u64, steps: usize) {
    let mut generator = Generator::new(seed, [].into());
    let mut clients = [primary.client(), primary.client()];
    for _ in 0..steps {
        let step = generator.data_step(2);
        if clients[step.connection].try_call(&step.args).is_err() {
            // QUIT, most likely.
            clients[step.connection] = primary.client();
        }
    }
}

/// Keys of every type that no small form holds.
fn fill(primary: &Server) {
    let mut client = primary.client();
    for i in 0..700 {
        let (number, member) = (i.to_string(), format!("member:{i}"));
        client.call(&["RPUSH", "big:list", &member]);
        client.call(&["SADD", "big:set", &member]);
        client.call(&["ZADD", "big:zset", &number, &member]);
        client.call(&["HSET", "big:hash", &member, &number]);
        client.call(&[
            "XADD",
            "big:stream",
            &format!("{}-1", i + 1),
            "field",
            &member,
        ]);
    }
    client.call(&["SET", "expiring", "1", "EX", "10000"]).ok();
    client.call(&["SELECT", "1"]).ok();
    client.call(&["SET", "elsewhere", "1"]).ok();
    let library = "#!lua name=lib\nredis.register_function('f', function() return 7 end)";
    client.call(&["FUNCTION", "LOAD", library]);
}

#[test]
fn a_replica_gets_a_snapshot_and_follows() {
    for diskless in ["yes", "no"] {
        let primary = primary().option("repl-diskless-sync", diskless).start();
        fill(&primary);
        generate(&primary, 1, 300);
        let replica = new_replica(&primary);
        assert_same(&primary, &replica);
        generate(&primary, 2, 1500);
        assert_same(&primary, &replica);
        assert_eq!(
            primary.client().info("sync_full"),
            "1",
            "the link never broke"
        );
        let functions = replica.client().call(&["FUNCTION", "LIST"]);
        assert_eq!(functions.items().len(), 1);
    }
}

#[test]
fn a_dropped_link_and_a_killed_primary_cost_no_snapshot() {
    let mut primary = primary().start();
    let replica = new_replica(&primary);
    let resumed = |primary: &Server| {
        wait_linked(&replica);
        let mut client = primary.client();
        wait_until("the replica to come back", LONG, || {
            client.info("sync_partial_ok") == "1"
        });
    };
    let mut client = primary.client();
    client.call(&["SET", "a", "1"]).ok();
    assert_eq!(client.call(&["CLIENT", "KILL", "TYPE", "replica"]).int(), 1);
    client.call(&["SET", "b", "2"]).ok();
    resumed(&primary);
    assert_eq!(client.info("sync_full"), "1");
    assert_same(&primary, &replica);

    let id = client.info("master_replid");
    primary.kill9();
    primary.start();
    let mut client = primary.client();
    assert_eq!(client.info("master_replid"), id);
    client.call(&["SET", "c", "3"]).ok();
    resumed(&primary);
    assert_eq!(client.info("sync_full"), "0");
    assert_same(&primary, &replica);
}

#[test]
fn a_replica_that_takes_its_time_loses_nothing_of_the_stream() {
    // The ring goes round several times in the 1.5 s that the snapshot takes.
    let primary = primary()
        .option("repl-backlog-size", "16kb")
        .option("pool-log-size", "64kb")
        .start();
    let mut client = primary.client();
    client
        .call(&["DEBUG", "POPULATE", "3000", "key", "100"])
        .ok();
    client
        .call(&["CONFIG", "SET", "rdb-key-save-delay", "500"])
        .ok();
    let is_over = AtomicBool::new(false);
    let replica = Launch::redis().start();
    std::thread::scope(|threads| {
        for writer in 0..2 {
            let (primary, is_over) = (&primary, &is_over);
            threads.spawn(move || {
                let (mut client, value) = (primary.client(), "x".repeat(1000));
                let mut round = 0u64;
                while !is_over.load(Ordering::Relaxed) {
                    let key = format!("key:{}", round * 7 % 4000);
                    client.call(&["APPEND", &key, &value[..(round % 900) as usize]]);
                    client.call(&["LPUSH", &format!("list:{writer}"), &value]);
                    round += 1;
                }
            });
        }
        follow(&replica, &primary);
        is_over.store(true, Ordering::Relaxed);
    });
    assert_same(&primary, &replica);
    let written: u64 = client.info("master_repl_offset").parse().unwrap();
    assert!(written > 192 << 10, "only {written} bytes were written");
    assert_eq!(client.info("sync_full"), "1");
}

#[test]
fn writes_wait_for_and_depend_on_acknowledgements() {
    let primary = primary().start();
    let mut client = primary.client();
    client.call(&["SET", "a", "1"]).ok();
    assert_eq!(client.call(&["WAIT", "1", "10"]).int(), 0);
    client
        .call(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .ok();
    let refused = client.call(&["SET", "a", "2"]).expect_error();
    assert_eq!(refused, "NOREPLICAS Not enough good replicas to write.");
    let script = ["EVAL", "return redis.call('set', 'a', '3')", "0"];
    assert!(
        client
            .call(&script)
            .expect_error()
            .starts_with("NOREPLICAS")
    );
    assert_eq!(client.call(&["GET", "a"]).text(), "1");
    let replica = new_replica(&primary);
    wait_until("the replica to be good", LONG, || {
        client.info("min_slaves_good_slaves") == "1"
    });
    client.call(&["SET", "a", "4"]).ok();
    assert_eq!(client.call(&["WAIT", "1", "0"]).int(), 1);
    assert_eq!(replica.client().call(&["GET", "a"]).text(), "4");

    let line = client.info("slave0");
    let start = format!("ip=127.0.0.1,port={},state=online,offset=", replica.port());
    assert!(line.starts_with(&start), "{line}");
    assert_eq!(client.info("connected_slaves"), "1");
    let role = client.call(&["ROLE"]);
    let shown = role.items()[2].items()[0].items();
    assert_eq!(shown[1].text(), replica.port().to_string());
    let listed = client.call(&["CLIENT", "LIST", "TYPE", "replica"]).text();
    assert!(listed.contains(" flags=S "), "{listed}");
    drop(replica);
    wait_until("the replica to be gone", LONG, || {
        client.info("connected_slaves") == "0"
    });
    assert!(client.call(&["SET", "a", "5"]).error().is_some());
}

#[test]
fn messages_scripts_and_ends_of_keys_go_to_replicas() {
    let primary = primary().start();
    let replica = new_replica(&primary);
    let (mut client, mut listener) = (primary.client(), replica.client());
    listener.call(&["SUBSCRIBE", "channel"]);
    client.call(&["PUBLISH", "channel", "hello"]);
    assert_eq!(listener.message(), ["message", "channel", "hello"]);
    let script = "redis.call('set', KEYS[1], ARGV[1]); return redis.call('incr', KEYS[1])";
    assert_eq!(client.call(&["EVAL", script, "1", "n", "41"]).int(), 42);
    client.call(&["SET", "short", "1", "PX", "1"]).ok();
    let mut follower = replica.client();
    // A replica removes nothing by itself, though it shows it no more.
    wait_until("the key to be removed there", LONG, || {
        client.call(&["GET", "short"]);
        client.call(&["WAIT", "1", "1000"]);
        follower.info("db0").starts_with("keys=1,")
    });
    assert_same(&primary, &replica);
    assert_eq!(follower.call(&["GET", "n"]).text(), "42");
}

/// A connection that has asked for the stream, up to the first byte of the payload.
fn raw_replica(primary: &Server, request: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", primary.port())).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n") || !head.contains(&b'$') {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

#[test]
fn a_replica_that_does_not_read_is_ended() {
    let primary = primary()
        .option("client-output-buffer-limit", "replica 2mb 0 0")
        .start();
    let mut client = primary.client();
    let (_stream, head) = raw_replica(&primary, "SYNC\r\n");
    assert!(head.trim_start_matches('\n').starts_with('$'), "{head:?}");
    let value = "x".repeat(1 << 20);
    wait_until("the replica to be ended", LONG, || {
        client.call(&["SET", "big", &value]).ok();
        client.info("connected_slaves") == "0"
    });
    assert!(primary.log().contains("overcoming of output buffer limits"));
}

#[test]
fn a_replica_is_kept_from_the_data() {
    let primary = primary().start();
    let (mut stream, head) = raw_replica(&primary, "PSYNC ? -1\r\n");
    assert!(
        head.trim_start_matches('\n').starts_with("+FULLRESYNC "),
        "{head:?}"
    );
    stream.write_all(b"SET a 1\r\n").unwrap();
    let mut rest = Vec::new();
    // It ends, perhaps with a reset.
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.windows(4).any(|word| word == b"-ERR"));
    let mut client = primary.client();
    assert!(client.call(&["GET", "a"]).is_nil());
    wait_until("it to be forgotten", LONG, || {
        client.info("connected_slaves") == "0"
    });
}

#[test]
fn handshakes_are_answered_as_redis_answers_them() {
    let servers = [primary().start(), Launch::redis().start()];
    let mut clients: Vec<Client> = servers.iter().map(Server::client).collect();
    let long = "x".repeat(300);
    for words in [
        &["REPLCONF"][..],
        &["REPLCONF", "listening-port"],
        &["REPLCONF", "listening-port", "x"],
        &[
            "REPLCONF",
            "listening-port",
            "7000",
            "capa",
            "eof",
            "capa",
            "other",
        ],
        &["REPLCONF", "ip-address", &long],
        &["REPLCONF", "ip-address", "10.0.0.1"],
        &["REPLCONF", "what", "ever"],
        &["REPLCONF", "rdb-only", "2"],
        &["REPLCONF", "rdb-only", "1"],
        &["REPLCONF", "rdb-filter-only", "functions keys"],
        &["REPLCONF", "rdb-filter-only", "\"open"],
        &["PSYNC", "?", "x"],
        &["PSYNC", "?", "1", "FAILOVER"],
        &["REPLICAOF", "NO", "ONE"],
        &["REPLICAOF", "host", "x"],
        &["REPLICAOF", "host", "65536"],
        &["WAIT", "x", "0"],
        &["WAIT", "1", "-1"],
        &["ROLE"],
    ] {
        let replies: Vec<_> = clients
            .iter_mut()
            .map(|client| client.call(words))
            .collect();
        assert_eq!(replies[0], replies[1], "{words:?}");
    }
    // A filtered snapshot ends with a mark.
    for server in &servers {
        let mut client = server.client();
        client.call(&["REPLCONF", "rdb-filter-only", ""]).ok();
        let refused = client.call(&["PSYNC", "?", "-1"]).expect_error();
        assert_eq!(refused, "ERR Filtered replica requires EOF capability");
    }
}

#[test]
fn redis_cli_takes_snapshots() {
    let primary = primary().start();
    fill(&primary);
    let mut client = primary.client();
    let file = primary.dir().join("taken.rdb");
    primary.cli(&["--rdb", file.to_str().unwrap()]).success();
    let functions = primary.dir().join("functions.rdb");
    primary
        .cli(&["--functions-rdb", functions.to_str().unwrap()])
        .success();
    assert_eq!(client.info("connected_slaves"), "0");
    let digests = [&file, &functions].map(|file| {
        let mut server = Launch::redis().start();
        server.stop();
        std::fs::copy(file, server.dir().join("dump.rdb")).unwrap();
        server.start();
        let functions = server.client().call(&["FUNCTION", "LIST"]);
        assert_eq!(functions.items().len(), 1);
        digest(&server)
    });
    assert_eq!(digests, [digest(&primary), "0".repeat(40)]);
}

#[test]
fn a_redis_replica_takes_over_from_a_killed_eagledb_primary() {
    let mut cluster = Cluster::of(&[Kind::EagleDb, Kind::EagleDb, Kind::Redis]);
    let mut client = cluster.client();
    for index in 0..200 {
        let key = format!("key:{index}");
        client.call(&["SET", &key, "before"]).unwrap().ok();
    }
    let replica = cluster.add_replica(Launch::redis(), 0);
    wait_linked(&cluster.nodes[replica]);
    for index in 100..300 {
        let key = format!("key:{index}");
        client.call(&["SET", &key, "after"]).unwrap().ok();
    }
    assert_eq!(cluster.nodes[0].client().call(&["WAIT", "0", "0"]).int(), 1);
    let written = cluster.nodes[0].client().info("master_repl_offset");
    let mut follower = cluster.nodes[replica].client();
    wait_until("the replica to have everything", LONG, || {
        follower.info("slave_repl_offset") == written
    });
    let id = cluster.id(replica);
    cluster.nodes[0].kill9();
    wait_until("the replica to be elected", LONG, || {
        [1, 2, replica]
            .into_iter()
            .all(|observer| cluster.flags(observer, &id) == "master")
    });
    let mut client = RoutedClient::new(cluster.nodes[replica].port());
    for index in 0..300 {
        let wanted = if index < 100 { "before" } else { "after" };
        let value = client.call(&["GET", &format!("key:{index}")]).unwrap();
        assert_eq!(value.text(), wanted);
    }
}
