//! Values that take long are copied, renamed, dumped and restored on a thread of their own. A client must not notice:
//! what it is told, in which order, and what is left afterwards is what redis-server does.

use eagledb_tests::{Client, Kind, Launch, Reply, Server, server};

/// More than is copied or moved by the thread of a connection.
const LONG: usize = (1 << 20) + 5;

fn pair(options: &[(&str, &str)]) -> [Server; 2] {
    [Kind::EagleDb, Kind::Redis].map(|kind| {
        let launch = options
            .iter()
            .fold(Launch::of(kind), |launch, (name, value)| {
                launch.option(name, value)
            });
        launch.start()
    })
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// A long string, a set of many members, and a short string.
fn fill(client: &mut Client) {
    client
        .call(&["SET", "long", &"0123456789".repeat(LONG / 10 + 1)])
        .ok();
    for first in (0..3000).step_by(1000) {
        let mut add = words("SADD many");
        add.extend((first..first + 1000).map(|number| format!("member:{number}").into_bytes()));
        assert_eq!(client.call(&add).int(), 1000);
    }
    client.call(&["SET", "short", "x"]).ok();
    client.call(&["PEXPIREAT", "long", "4102444800000"]);
}

/// Replies to these lines, sent at once.
fn replies(client: &mut Client, lines: &[&str]) -> Vec<Reply> {
    let commands: Vec<_> = lines.iter().map(|line| words(line)).collect();
    client.pipeline(&commands)
}

const MOVES: &[&str] = &[
    "COPY long copy",
    "COPY long copy",
    "COPY many copied",
    "SCARD copied",
    "STRLEN copy",
    "COPY many copy REPLACE",
    "TYPE copy",
    "COPY long copy DB 1",
    "COPY long copy REPLACE",
    "RENAMENX copy short",
    "RENAMENX copy fresh",
    "GET short",
    "RENAME fresh many",
    "STRLEN many",
    "EXISTS copy fresh long",
    "MOVE long 1",
    "MOVE many 1",
    "SET long new",
    "MOVE long 1",
    "RENAME missing long",
    "SELECT 1",
    "STRLEN long",
    "PEXPIRETIME copy",
    "PEXPIRETIME long",
    "RENAME long long",
    "MULTI",
    "COPY long again",
    "RENAME long last",
    "EXEC",
    "DEBUG DIGEST",
    "DBSIZE",
];

#[test]
fn long_values_are_copied_and_moved_as_by_redis() {
    let servers = pair(&[("notify-keyspace-events", "AKEn")]);
    let [ours, theirs] = servers.each_ref().map(|server| {
        let mut client = server.client();
        fill(&mut client);
        let mut listener = server.client();
        listener.call(&["PSUBSCRIBE", "__keyevent@*"]);
        let mut watcher = server.client();
        watcher.call(&["WATCH", "copied"]).ok();
        let told = replies(&mut client, MOVES);
        watcher.call(&["MULTI"]).ok();
        watcher.call(&["PING"]);
        assert!(watcher.call(&["EXEC"]).is_nil(), "the watched key was made");
        client.call(&["SET", "end", "x"]).ok();
        let mut events = Vec::new();
        loop {
            let event = listener.message()[2..].join(" ");
            if event.ends_with(":set end") {
                return (told, events);
            }
            events.push(event);
        }
    });
    for ((line, ours), theirs) in MOVES.iter().zip(&ours.0).zip(&theirs.0) {
        assert_eq!(ours, theirs, "{line}");
    }
    assert_eq!(ours.1, theirs.1);
}

#[test]
fn long_requests_and_replies_stand_in_a_pipeline_like_others() {
    let servers = pair(&[]);
    let [ours, theirs] = servers.each_ref().map(|server| {
        let mut client = server.client();
        fill(&mut client);
        let payload = client.call(&["DUMP", "long"]).bytes().unwrap().to_vec();
        let restore = |key: &str, option: &str| {
            let mut command = words(&format!("RESTORE {key} 0"));
            command.push(payload.clone());
            command.extend((!option.is_empty()).then(|| option.into()));
            command
        };
        let commands = [
            words("SET number 1"),
            restore("first", ""),
            words("INCR number"),
            restore("second", "REPLACE"),
            restore("second", ""),
            words("STRLEN second"),
            words("GET number"),
            words("GET first"),
            words("DUMP first"),
            words("GET number"),
            words("GET second"),
            words("DEBUG DIGEST"),
            restore("third", ""),
        ];
        (
            client.pipeline(&commands),
            client.call(&["STRLEN", "third"]),
        )
    });
    assert!(ours == theirs, "replies differ");
    assert!(ours.1.int() >= LONG as i64);
}

/// What the stream of changes says of them leads to the same data.
#[test]
fn long_values_are_moved_in_a_cluster_and_in_the_stream_of_changes() {
    let mut ours = Launch::eagledb().option("pool-log", "yes").start_alone();
    let mut client = ours.client();
    client.call(&["SET", "{t}long", &"x".repeat(LONG)]).ok();
    let lines = [
        "COPY {t}long {t}copy",
        "COPY {t}long {t}copy",
        "RENAME {t}copy {t}other",
        "RENAMENX {t}other {t}last",
        "STRLEN {t}last",
        "DBSIZE",
    ];
    let number = |number: usize| Reply::Int(number as i64);
    let ok = Reply::Simple(b"OK".to_vec());
    let expected = [number(1), number(0), ok, number(1), number(LONG), number(2)];
    assert_eq!(replies(&mut client, &lines), expected);
    let pool = ours.pool_path().expect("a pool");
    ours.stop();
    server::check_pool(&pool);
    let log = server::run_to_exit(ours.dir(), &["pool", "log", pool.to_str().unwrap()]);
    let log = log.success();
    for line in [lines[0], lines[2], lines[3]] {
        let line = line.replace(' ', "\" \"");
        assert_eq!(log.matches(&line).count(), 1, "{line} in {log}");
    }
}
