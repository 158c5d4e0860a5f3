//! Publish and subscribe, keyspace events, client-side caching and MONITOR: what several connections see of one
//! another, against redis-server where the two can be compared line by line.

use std::thread;
use std::time::Duration;

use eagledb_tests::{Client, Cluster, Kind, Launch, Server, wait_until};

/// A connection, and what is sent on it: commands with `;` between them. One that begins with `!` gets no reply.
type Step = (usize, &'static str);

/// Runs the steps one after the other and returns all that each connection was told. After each step a PING on the
/// same connection tells when its reply is complete; another on every connection, at the end, that nothing is missing.
fn transcript(server: &Server, connections: usize, steps: &[Step]) -> Vec<Vec<String>> {
    let mut clients: Vec<Client> = (0..connections).map(|_| server.client()).collect();
    let mut told = vec![Vec::new(); connections];
    let everybody: Vec<Step> = (0..connections).map(|at| (at, "ECHO")).collect();
    for (number, (at, line)) in steps.iter().chain(&everybody).enumerate() {
        let barrier = format!("barrier-{number}");
        let client = &mut clients[*at];
        if *line != "ECHO" {
            for command in line.trim_start_matches('!').split("; ") {
                let words: Vec<&str> = command.split(' ').collect();
                client.send(&words).unwrap();
            }
        }
        if line.starts_with('!') {
            client.flush().unwrap();
            // Nothing tells when it has run.
            thread::sleep(Duration::from_millis(300));
            continue;
        }
        client.send(&["PING", &barrier]).unwrap();
        client.flush().unwrap();
        loop {
            let reply = format!("{:?}", client.receive().unwrap());
            if reply.contains(&barrier) {
                break;
            }
            // HELLO tells the client's id, which may differ.
            if !reply.contains("proto") {
                told[*at].push(reply);
            }
        }
    }
    told
}

/// Both servers must tell every connection the same.
fn agree(options: &[(&str, &str)], connections: usize, steps: &[Step]) {
    let of = |launch: Launch| {
        let launch = options
            .iter()
            .fold(launch, |launch, (name, value)| launch.option(name, value));
        transcript(&launch.start(), connections, steps)
    };
    let (ours, theirs) = (of(Launch::eagledb()), of(Launch::redis()));
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "connection {at}");
    }
}

#[test]
fn subscriptions_are_confirmed_and_restrict_as_in_redis() {
    agree(
        &[],
        2,
        &[
            (0, "SUBSCRIBE a b a"),
            (0, "PSUBSCRIBE a* [bx]"),
            (0, "SSUBSCRIBE s"),
            (0, "GET x"),
            (0, "CLIENT LIST"),
            (1, "PUBLISH a one"),
            (1, "PUBLISH nobody two"),
            (1, "SPUBLISH s three"),
            (1, "PUBSUB NUMSUB a b c"),
            (1, "PUBSUB SHARDNUMSUB s t"),
            (1, "PUBSUB NUMPAT"),
            (1, "PUBSUB CHANNELS [b-z]"),
            (1, "PUBSUB SHARDCHANNELS *"),
            (1, "PUBSUB CHANNELS a b"),
            (1, "PUBSUB NONSENSE"),
            (1, "PUBSUB HELP"),
            (0, "UNSUBSCRIBE a nothing"),
            (1, "PUBLISH a four"),
            (0, "PUNSUBSCRIBE a*"),
            (0, "SUNSUBSCRIBE"),
            (0, "UNSUBSCRIBE"),
            (0, "PUNSUBSCRIBE"),
            (0, "PUNSUBSCRIBE"),
            (0, "GET x"),
            (
                0,
                "MULTI; SUBSCRIBE c d; SSUBSCRIBE e; PUBLISH c five; EXEC",
            ),
            (0, "RESET"),
            (1, "PUBSUB CHANNELS"),
        ],
    );
}

#[test]
fn a_client_of_resp3_sees_its_own_messages_where_redis_writes_them() {
    agree(
        &[("notify-keyspace-events", "KEA")],
        2,
        &[
            (0, "HELLO 3"),
            (0, "SUBSCRIBE c"),
            (0, "PSUBSCRIBE __key*__:*"),
            (0, "PUBLISH c own"),
            (0, "SET k v EX 100"),
            (0, "GETEX k PERSIST"),
            (0, "HSET h f v"),
            (0, "HDEL h f"),
            (0, "MULTI; INCR n; PUBLISH c inside; HSET h f v; EXEC"),
            (0, "RENAME n m"),
            (0, "!CLIENT REPLY OFF"),
            (1, "DEL m"),
            (0, "!SUBSCRIBE d"),
            (1, "PUBLISH c silent"),
            (0, "CLIENT REPLY ON"),
        ],
    );
}

#[test]
fn keyspace_events_are_those_of_redis() {
    agree(
        &[("notify-keyspace-events", "KEAmn")],
        2,
        &[
            (0, "PSUBSCRIBE __keyevent@*__:*"),
            (1, "MSET a 1 b 2"),
            (1, "GET missing"),
            (1, "MGET a missing b gone"),
            (1, "GETSET fresh 1"),
            (1, "SETRANGE a 3 xyz"),
            (1, "APPEND a b"),
            (1, "APPEND new b"),
            (1, "INCRBYFLOAT b 1.5"),
            (1, "SET b 5 EXAT 1"),
            (1, "EXPIRE a 100"),
            (1, "PERSIST a"),
            (1, "EXPIREAT a 1"),
            (1, "HINCRBY h f 5"),
            (1, "HINCRBYFLOAT h f 0.5"),
            (1, "HSETNX h g 1"),
            (1, "HDEL h f g none"),
            (1, "COPY new copied"),
            (1, "COPY new copied REPLACE"),
            (1, "RENAME new copied"),
            (1, "MOVE copied 3"),
            (1, "SETEX brief 100 v"),
            (1, "GETEX brief PX 20000"),
            (1, "GETDEL brief"),
            (1, "DEL fresh nothing fresh"),
            (1, "SET wrong v"),
            (1, "HGET wrong f"),
            (1, "INCR wrong"),
            (1, "FLUSHALL"),
        ],
    );
}

#[test]
fn caches_are_told_of_changes_as_in_redis() {
    agree(
        &[],
        3,
        &[
            (0, "HELLO 3"),
            (0, "CLIENT TRACKING ON"),
            (0, "CLIENT TRACKINGINFO"),
            (0, "MGET a b"),
            (1, "SET a 1"),
            (1, "SET a 2"),
            (0, "SET b 1"),
            (0, "GET b"),
            (0, "MULTI; GET c; SET b 2; SET c 1; GET d; EXEC"),
            (1, "SET d 1"),
            (0, "GET e"),
            (1, "FLUSHALL"),
            // Its own flush a client hears of behind the reply, which comes later than that of others.
            (0, "FLUSHALL; PING"),
            (0, "FLUSHDB ASYNC; GET e"),
            (0, "MULTI; GET c; FLUSHDB; EXEC; PING"),
            (0, "CLIENT TRACKING OFF"),
            (0, "CLIENT TRACKING ON OPTIN NOLOOP"),
            (0, "CLIENT CACHING NO"),
            (0, "GET f"),
            (0, "CLIENT CACHING YES; CLIENT TRACKINGINFO; GET g"),
            (1, "MSET f 1 g 1"),
            (0, "CLIENT TRACKING ON OPTOUT"),
            (0, "CLIENT TRACKING OFF"),
            (0, "CLIENT TRACKING ON PREFIX x"),
            (0, "CLIENT TRACKING ON BCAST PREFIX x: PREFIX y: NOLOOP"),
            (0, "CLIENT TRACKING ON BCAST PREFIX x:z"),
            (0, "CLIENT TRACKINGINFO"),
            (1, "MSET x:1 a y:1 b z:1 c x:2 d"),
            (1, "SET x:3 1; SET x:4 2; DEL x:3; SET y:5 3"),
            (0, "SET x:1 own"),
            (2, "SUBSCRIBE __redis__:invalidate"),
            (0, "CLIENT TRACKING OFF"),
            (0, "CLIENT GETREDIR"),
            (0, "CLIENT TRACKING ON REDIRECT 12345678"),
        ],
    );
}

/// It was told of twice: for what was read before the transaction, and for what was read in it.
#[test]
fn a_key_read_again_before_it_is_changed_is_told_of_once() {
    agree(
        &[],
        1,
        &[
            (0, "HELLO 3"),
            (0, "CLIENT TRACKING ON"),
            (0, "GET a"),
            (0, "MULTI; GET a; SET a 1; EXEC; PING"),
            (0, "GET a"),
            (0, "MULTI; GET a; SET a 2; GET a; SET a 3; EXEC; PING"),
            (0, "MULTI; SET a 4; GET a; EXEC; PING"),
            (0, "SET a 5; PING"),
        ],
    );
}

#[test]
fn messages_of_one_publisher_keep_their_order_over_all_threads() {
    const PUBLISHERS: usize = 4;
    const MESSAGES: usize = 2000;
    let server = Launch::eagledb().option("worker-threads", "4").start();
    let mut subscribers: Vec<Client> = (0..6).map(|_| server.client()).collect();
    for subscriber in &mut subscribers {
        subscriber.call(&["SUBSCRIBE", "c"]);
    }
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let mut client = server.client();
            thread::spawn(move || {
                let commands: Vec<Vec<String>> = (0..MESSAGES)
                    .map(|number| {
                        vec![
                            "PUBLISH".into(),
                            "c".into(),
                            format!("{publisher} {number}"),
                        ]
                    })
                    .collect();
                for replies in commands.chunks(100) {
                    for reply in client.pipeline(replies) {
                        assert_eq!(reply.int(), 6);
                    }
                }
            })
        })
        .collect();
    for subscriber in &mut subscribers {
        let mut next = [0; PUBLISHERS];
        for _ in 0..PUBLISHERS * MESSAGES {
            let message = subscriber.receive().unwrap().items()[2].text();
            let (publisher, number) = message.split_once(' ').unwrap();
            let expected = &mut next[publisher.parse::<usize>().unwrap()];
            assert_eq!(number, expected.to_string(), "publisher {publisher}");
            *expected += 1;
        }
    }
    publishers
        .into_iter()
        .for_each(|publisher| publisher.join().unwrap());
}

#[test]
fn monitor_shows_what_runs_without_its_secrets() {
    let server = Launch::eagledb().start();
    let (mut monitor, mut client) = (server.client(), server.client());
    monitor.call(&["MONITOR"]).ok();
    client.call(&["SET", "k\n", "\"v\""]).ok();
    client.call(&["AUTH", "nobody", "secret"]);
    client.call(&["CONFIG", "GET", "port"]);
    client.call(&["MULTI"]).ok();
    client.call(&["GET", "k"]);
    client.call(&["EXEC"]);
    let lines: Vec<String> = (0..5)
        .map(|_| monitor.receive().unwrap().text())
        .map(|line| line.split_once("] ").unwrap().1.to_owned())
        .collect();
    let expected = [
        r#""SET" "k\n" "\"v\"""#,
        r#""AUTH" "(redacted)" "(redacted)""#,
        r#""MULTI""#,
        r#""GET" "k""#,
        r#""EXEC""#,
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_alone() {
    let server = Launch::eagledb()
        .option("client-output-buffer-limit", "pubsub 1mb 0 0")
        .start();
    let (mut idle, mut reader, mut client) = (server.client(), server.client(), server.client());
    for subscriber in [&mut idle, &mut reader] {
        subscriber.call(&["SUBSCRIBE", "c"]);
    }
    let payload = "x".repeat(100_000);
    let mut receivers = 2;
    for _ in 0..1000 {
        receivers = client.call(&["PUBLISH", "c", &payload]).int();
        assert_eq!(reader.receive().unwrap().items()[2].text().len(), 100_000);
        if receivers == 1 {
            break;
        }
    }
    assert_eq!(receivers, 1, "the limit was never enforced");
}

#[test]
fn messages_cross_the_bus_of_a_mixed_cluster() {
    let cluster = Cluster::of(&[Kind::Redis, Kind::EagleDb, Kind::EagleDb]);
    let mut subscribers: Vec<Client> = cluster.nodes.iter().map(Server::client).collect();
    for subscriber in &mut subscribers {
        subscriber.call(&["SUBSCRIBE", "news"]);
    }
    for (from, node) in cluster.nodes.iter().enumerate() {
        let text = format!("from {from}");
        assert_eq!(node.client().call(&["PUBLISH", "news", &text]).int(), 1);
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.message(), ["message", "news", &text]);
        }
    }
}

#[test]
fn shard_channels_live_and_leave_with_their_slots() {
    let cluster = Cluster::of(&[Kind::EagleDb, Kind::Redis, Kind::EagleDb]);
    // Slot 0, which the first node serves.
    let channel = "{06S}c";
    let mut subscriber = cluster.nodes[0].client();
    let confirmed = subscriber.call(&["SSUBSCRIBE", channel]);
    assert_eq!(confirmed.items()[0].text(), "ssubscribe");
    let mut elsewhere = cluster.nodes[2].client();
    let moved = elsewhere.call(&["SSUBSCRIBE", channel]).error().unwrap();
    assert!(moved.starts_with("MOVED 0 "), "{moved}");
    let crossed = cluster.nodes[0].client().call(&["SSUBSCRIBE", "a", "b"]);
    assert!(crossed.error().unwrap().starts_with("CROSSSLOT"));
    let mut publisher = cluster.nodes[0].client();
    assert_eq!(publisher.call(&["SPUBLISH", channel, "hello"]).int(), 1);
    assert_eq!(subscriber.message(), ["smessage", channel, "hello"]);
    cluster.reshard(0, 1, 1);
    assert_eq!(subscriber.message()[..2], ["sunsubscribe", channel]);
    wait_until("the channel to be gone", Duration::from_secs(5), || {
        publisher
            .call(&["PUBSUB", "SHARDCHANNELS"])
            .items()
            .is_empty()
    });
}
