//! Snapshot files: what redis-server reads of ours and we of its, what a start takes, and what happens when writing fails.

use std::fs;
use std::time::Duration;

use eagledb_tests::server::{check_pool, run_to_exit};
use eagledb_tests::{Client, Launch, Server, wait_until};

/// Keys of every type in small and large forms, in two databases.
fn fill(client: &mut Client) {
    let long = "x".repeat(300);
    let many: Vec<String> = (0..700).map(|i| format!("member:{i}")).collect();
    let numbers: Vec<String> = (0..700).map(|i| (i * 7).to_string()).collect();
    for db in ["0", "3"] {
        client.call(&["SELECT", db]).ok();
        client.call(&["SET", "text", "hello"]).ok();
        client.call(&["SET", "number", "12345"]).ok();
        client.call(&["SET", "long", &long]).ok();
        client.call(&["SET", "expiring", "1", "EX", "10000"]).ok();
        for (i, (member, number)) in many.iter().zip(&numbers).enumerate() {
            if i < 5 {
                client.call(&["RPUSH", "list", member, number]);
                client.call(&["SADD", "set", member]);
                client.call(&["ZADD", "zset", number, member]);
                client.call(&["HSET", "hash", member, number]);
            }
            client.call(&["RPUSH", "list:large", member, number]);
            client.call(&["SADD", "set:large", member]);
            client.call(&["SADD", "set:intset", &number[..number.len().min(2)]]);
            client.call(&["ZADD", "zset:large", number, member]);
            client.call(&["HSET", "hash:large", member, number]);
            client.call(&["XADD", "stream", &format!("{}-1", i + 1), "field", member]);
        }
        client
            .call(&["XGROUP", "CREATE", "stream", "group", "5"])
            .ok();
        client.call(&[
            "XREADGROUP",
            "GROUP",
            "group",
            "consumer",
            "COUNT",
            "9",
            "STREAMS",
            "stream",
            ">",
        ]);
        client.call(&["XDEL", "stream", "7-1"]);
    }
    client.call(&["SELECT", "0"]).ok();
    let library = "#!lua name=lib\nredis.register_function('f', function() return 7 end)";
    client.call(&["FUNCTION", "LOAD", library]);
}

fn digest(client: &mut Client) -> String {
    client.call(&["DEBUG", "DIGEST"]).text()
}

/// Stops a server, puts the snapshot file of another one into its directory, and starts it again.
fn plant(from: &Server, to: &mut Server) {
    to.stop();
    fs::copy(from.dir().join("dump.rdb"), to.dir().join("dump.rdb"))
        .expect("both directories are there");
    to.start();
}

#[test]
fn snapshots_are_exchanged_with_redis_in_both_directions() {
    for is_ours_first in [true, false] {
        let (ours, theirs) = (Launch::eagledb().start(), Launch::redis().start());
        let (from, mut to) = if is_ours_first {
            (ours, theirs)
        } else {
            (theirs, ours)
        };
        let mut source = from.client();
        fill(&mut source);
        source.call(&["SAVE"]).ok();
        plant(&from, &mut to);
        let mut target = to.client();
        assert_eq!(
            digest(&mut source),
            digest(&mut target),
            "ours first: {is_ours_first}"
        );
        assert_eq!(target.call(&["FCALL", "f", "0"]).int(), 7);
        assert!(target.call(&["TTL", "expiring"]).int() > 9000);
        let group = |client: &mut Client| client.call(&["XINFO", "STREAM", "stream"]);
        assert_eq!(group(&mut source), group(&mut target));
    }
}

#[test]
fn a_planted_snapshot_is_served_and_the_pool_set_aside() {
    let redis = Launch::redis().start();
    redis.client().call(&["SET", "planted", "yes"]).ok();
    redis.client().call(&["SAVE"]).ok();
    let mut server = Launch::eagledb().start();
    server.client().call(&["SET", "before", "1"]).ok();
    plant(&redis, &mut server);
    assert_eq!(
        server.client().call(&["KEYS", "*"]).items()[0].text(),
        "planted"
    );
    let aside = server.dir().join("eagle.pool.replaced-1");
    check_pool(&aside);

    // From then on the file is of the pool's past: what was written since is not undone by it.
    server.client().call(&["SET", "after", "1"]).ok();
    server.kill9();
    server.start();
    assert_eq!(server.client().call(&["DBSIZE"]).int(), 2);
    server.stop();
    server.start();
    assert_eq!(server.client().call(&["DBSIZE"]).int(), 2);
    assert!(!server.dir().join("eagle.pool.replaced-2").exists());
}

#[test]
fn the_pool_wins_over_its_own_snapshots() {
    let mut server = Launch::eagledb().start();
    let mut client = server.client();
    client.call(&["SET", "old", "1"]).ok();
    client.call(&["SAVE"]).ok();
    client.call(&["SET", "new", "1"]).ok();
    client.call(&["DEL", "old"]);
    server.kill9();
    server.start();
    assert_eq!(
        server.client().call(&["KEYS", "*"]).items()[0].text(),
        "new"
    );
}

#[test]
fn without_a_pool_the_snapshot_is_the_memory() {
    let mut server = Launch::eagledb()
        .option("pool-path", "")
        .option("save", "3600 1")
        .start();
    let mut client = server.client();
    fill(&mut client);
    let before = digest(&mut client);
    server.stop();
    server.start();
    assert_eq!(
        digest(&mut server.client()),
        before,
        "SIGTERM saves while there are save points"
    );
    server.client().call(&["SET", "unsaved", "1"]).ok();
    let mut client = server.client();
    client
        .send(&["SHUTDOWN", "NOSAVE"])
        .expect("the connection stands");
    client.flush().expect("the connection stands");
    server.wait_exit();
    server.start();
    assert_eq!(digest(&mut server.client()), before);
}

#[test]
fn a_background_snapshot_is_of_one_instant() {
    let server = Launch::eagledb().option("rdb-key-save-delay", "50").start();
    let mut client = server.client();
    client.call(&["DEBUG", "POPULATE", "20000"]).ok();
    // Two counters in different slots, always equal.
    let twice = |client: &mut Client| {
        client.call(&["MULTI"]).ok();
        client.call(&["INCR", "one"]);
        client.call(&["INCR", "two"]);
        client.call(&["EXEC"]);
    };
    for _ in 0..100 {
        twice(&mut client);
    }
    client.call(&["BGSAVE"]);
    let busy = client.call(&["BGSAVE"]);
    assert_eq!(
        busy.error().as_deref(),
        Some("ERR Background save already in progress")
    );
    let mut rounds = 100;
    while client.info("rdb_bgsave_in_progress") == "1" {
        twice(&mut client);
        client.call(&["DEL", &format!("key:{rounds}")]);
        rounds += 1;
    }
    assert!(
        rounds > 110,
        "only {rounds} rounds while the snapshot was written"
    );
    assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
    let mut redis = Launch::redis().start();
    plant(&server, &mut redis);
    let mut redis = redis.client();
    let one = redis.call(&["GET", "one"]).text();
    assert_eq!(one, redis.call(&["GET", "two"]).text());
    assert_eq!(one, "100");
    assert_eq!(redis.call(&["DBSIZE"]).int(), 20_002);
}

#[test]
fn a_snapshot_that_cannot_be_written_stops_writes_and_shutdowns() {
    let mut server = Launch::eagledb().option("save", "3600 1000000").start();
    let mut client = server.client();
    client.call(&["SET", "key", "1"]).ok();
    // A directory in the place of the file.
    let in_the_way = server.dir().join("dump.rdb");
    fs::create_dir(&in_the_way).expect("the directory is writable");
    fs::write(in_the_way.join("file"), "").expect("the directory is writable");
    // Whoever asked for it learns that it failed, and nothing else follows, as in Redis.
    assert!(client.call(&["SAVE"]).error().is_some());
    client.call(&["SET", "key", "1"]).ok();
    client.call(&["BGSAVE"]);
    wait_until("the failure", Duration::from_secs(20), || {
        client.info("rdb_last_bgsave_status") == "err"
    });
    let refused = client
        .call(&["SET", "key", "2"])
        .error()
        .expect("writes are stopped");
    assert!(
        refused.starts_with("MISCONF Redis is configured to save RDB snapshots"),
        "{refused}"
    );
    assert!(client.call(&["PING"]).error().is_some());
    assert_eq!(client.call(&["GET", "key"]).text(), "1");
    let refused = client
        .call(&["SHUTDOWN"])
        .error()
        .expect("the data would be lost");
    assert_eq!(refused, "ERR Errors trying to SHUTDOWN. Check logs.");
    client
        .call(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"])
        .ok();
    client.call(&["SET", "key", "2"]).ok();
    client
        .call(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"])
        .ok();
    fs::remove_dir_all(&in_the_way).expect("the directory is writable");
    client.call(&["BGSAVE"]);
    wait_until("the snapshot", Duration::from_secs(20), || {
        server.client().call(&["SET", "key", "3"]).error().is_none()
    });
    let temporary = fs::read_dir(server.dir())
        .expect("it is there")
        .filter(|entry| {
            let name = entry.as_ref().expect("readable").file_name();
            name.to_string_lossy().starts_with("temp-")
        });
    assert_eq!(temporary.count(), 0);
    assert!(server.stop().success());
}

#[test]
fn a_damaged_snapshot_is_refused_and_left_alone() {
    let redis = Launch::redis().start();
    fill(&mut redis.client());
    redis.client().call(&["SAVE"]).ok();
    let good = fs::read(redis.dir().join("dump.rdb")).expect("it was just written");
    let server = Launch::eagledb().start();
    for (what, damaged) in [
        ("cut", good[..good.len() / 2].to_vec()),
        ("flipped", {
            let mut flipped = good.clone();
            flipped[good.len() - 5] ^= 1;
            flipped
        }),
        ("of no kind", b"no snapshot".to_vec()),
    ] {
        let dir = server.dir().join(what);
        fs::create_dir(&dir).expect("the directory is writable");
        fs::write(dir.join("dump.rdb"), &damaged).expect("the directory is writable");
        for _ in 0..2 {
            let refused = run_to_exit(&dir, &["--port", "0", "--unixsocket", "socket"]);
            assert_eq!(refused.code, 1, "{what}: {}", refused.text);
            assert!(
                refused.text.contains("Fatal error loading the DB"),
                "{what}: {}",
                refused.text
            );
        }
        assert_eq!(
            fs::read(dir.join("dump.rdb")).expect("it is there"),
            damaged
        );
        let left = fs::read_dir(&dir).expect("it is there").count();
        assert!(left <= 2, "{what}: {left} files after two tries");
    }
}
