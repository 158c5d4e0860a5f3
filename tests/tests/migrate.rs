//! MIGRATE to and from redis-server, and under writes.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use eagledb_tests::{Client, Kind, Launch, Reply, Server, wait_until};

const TIMEOUT_MS: &str = "5000";

/// `MIGRATE 127.0.0.1 port key db timeout options`.
fn migrate(source: &mut Client, target: &Server, key: &str, db: &str, options: &[&str]) -> Reply {
    let port = target.port().to_string();
    let mut command = vec!["MIGRATE", "127.0.0.1", &port, key, db, TIMEOUT_MS];
    command.extend(options);
    source.call(&command)
}

/// What a client sees of moving keys from a server of this kind to a redis-server, or from a
/// redis-server to a server of this kind.
fn story(source: Kind, target: Kind) -> Vec<Reply> {
    let (source, target) = (Launch::of(source).start(), Launch::of(target).start());
    let (mut from, mut to) = (source.client(), target.client());
    let mut seen = Vec::new();
    for key in ["a", "b", "c", "d", "copied"] {
        from.call(&["SET", key, key]).ok();
    }
    from.call(&["HSET", "hash", "field", "value", "n", "17"]);
    from.call(&["PEXPIRE", "b", "100000"]);

    seen.push(migrate(&mut from, &target, "a", "0", &[]));
    seen.push(migrate(&mut from, &target, "a", "0", &[]));
    seen.push(migrate(
        &mut from,
        &target,
        "",
        "3",
        &["KEYS", "none", "b", "hash"],
    ));
    seen.push(from.call(&["EXISTS", "a", "b", "hash"]));
    seen.push(migrate(&mut from, &target, "copied", "0", &["COPY"]));
    seen.push(migrate(&mut from, &target, "copied", "0", &["copy"]));
    from.call(&["SET", "copied", "changed"]).ok();
    // One key is refused, the other goes.
    seen.push(migrate(
        &mut from,
        &target,
        "",
        "0",
        &["KEYS", "copied", "c"],
    ));
    seen.push(from.call(&["EXISTS", "copied", "c"]));
    seen.push(migrate(
        &mut from,
        &target,
        "",
        "0",
        &["REPLACE", "KEYS", "copied"],
    ));
    seen.push(from.call(&["DBSIZE"]));

    seen.push(migrate(&mut from, &target, "d", "99", &[]));
    seen.push(migrate(&mut from, &target, "d", "0", &["AUTH", "wrong"]));
    seen.push(migrate(&mut from, &target, "d", "0", &[]));

    for key in ["a", "copied", "c", "d"] {
        seen.push(to.call(&["GET", key]));
    }
    to.call(&["SELECT", "3"]).ok();
    seen.push(to.call(&["HGETALL", "hash"]));
    let left = to.call(&["PTTL", "b"]).int();
    assert!((90_000..=100_000).contains(&left), "{left}");

    seen.extend(refusals(&mut from, &target));
    seen
}

/// Requests that are wrong in themselves, and targets that cannot be reached.
fn refusals(from: &mut Client, target: &Server) -> Vec<Reply> {
    from.call(&["SET", "e", "e"]).ok();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let mut seen = vec![
        from.call(&["MIGRATE", "127.0.0.1", &closed, "e", "0", "100"]),
        from.call(&["MIGRATE", "no such host", "6379", "e", "0", "100"]),
        from.call(&["MIGRATE", "127.0.0.1", "port", "e", "0", "100"]),
        from.call(&["MIGRATE", "127.0.0.1", &closed, "none", "0", "100"]),
        from.call(&["MIGRATE", "127.0.0.1", &closed, "e", "x", "100"]),
        from.call(&["MIGRATE", "127.0.0.1", &closed, "e", "0", "x"]),
        from.call(&["MIGRATE", "127.0.0.1", &closed, "e", "0"]),
    ];
    for options in [
        &["KEYS", "e"][..],
        &["AUTH"],
        &["AUTH2", "one"],
        &["NONSENSE"],
        &["COPY", "REPLACE", "MORE"],
    ] {
        seen.push(migrate(from, target, "e", "0", options));
    }
    seen.push(migrate(from, target, "", "0", &["KEYS"]));
    seen.push(from.call(&["GET", "e"]));
    seen
}

#[test]
fn keys_move_as_they_do_between_two_redis_servers() {
    let reference = story(Kind::Redis, Kind::Redis);
    assert_eq!(story(Kind::EagleDb, Kind::Redis), reference);
}

#[test]
fn redis_moves_keys_here_as_to_redis() {
    let reference = story(Kind::Redis, Kind::Redis);
    assert_eq!(story(Kind::Redis, Kind::EagleDb), reference);
}

#[test]
fn credentials_are_sent_and_their_refusal_is_told() {
    let seen = [Kind::EagleDb, Kind::Redis].map(|kind| {
        let (source, target) = (Launch::of(kind).start(), Launch::redis().start());
        let (mut from, mut to) = (source.client(), target.client());
        to.call(&["ACL", "SETUSER", "mover", "on", ">secret", "~*", "+@all"])
            .ok();
        to.call(&["ACL", "SETUSER", "default", "off"]).ok();
        from.call(&["MSET", "a", "1", "b", "2"]).ok();
        [
            migrate(&mut from, &target, "a", "0", &[]),
            migrate(&mut from, &target, "a", "0", &["AUTH", "wrong"]),
            migrate(&mut from, &target, "a", "0", &["AUTH2", "mover", "wrong"]),
            migrate(&mut from, &target, "a", "0", &["AUTH2", "mover", "secret"]),
            migrate(
                &mut from,
                &target,
                "b",
                "0",
                &["COPY", "AUTH2", "mover", "secret", "REPLACE"],
            ),
            from.call(&["MGET", "a", "b"]),
            to.call(&["MGET", "a", "b"]),
        ]
    });
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn no_acknowledged_write_is_lost_while_keys_move() {
    const KEYS: usize = 40;
    const WRITERS: usize = 3;
    let (source, target) = (Launch::eagledb().start(), Launch::redis().start());
    let stop = AtomicBool::new(false);
    let acknowledged: i64 = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(|| {
                    let (mut client, mut count) = (source.client(), 0);
                    while !stop.load(Ordering::Relaxed) {
                        for key in 0..KEYS {
                            client.call(&["INCR", &format!("key:{key}")]).int();
                            count += 1;
                        }
                    }
                    count
                })
            })
            .collect();
        let mut mover = source.client();
        for key in 0..KEYS {
            let key = format!("key:{key}");
            wait_until("the key to exist", Duration::from_secs(10), || {
                mover.call(&["EXISTS", &key]).int() == 1
            });
            migrate(&mut mover, &target, &key, "0", &[]).ok();
        }
        stop.store(true, Ordering::Relaxed);
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    });
    // A key that has left counts from one again here: both parts together are the acknowledged.
    let mut sum = 0;
    for server in [&source, &target] {
        let mut client = server.client();
        for key in 0..KEYS {
            if let Reply::Bulk(text) = client.call(&["GET", &format!("key:{key}")]) {
                sum += String::from_utf8(text).unwrap().parse::<i64>().unwrap();
            }
        }
    }
    assert_eq!(sum, acknowledged);
}

#[test]
fn a_silent_target_holds_up_only_writers_of_the_slot() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    client.call(&["SET", "key", "old"]).ok();
    // Connections wait in the backlog, nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let began = Instant::now();
    let mut mover = server.client();
    mover
        .send(&["MIGRATE", "127.0.0.1", &port, "key", "0", "1500"])
        .unwrap();
    mover.flush().unwrap();
    thread::sleep(Duration::from_millis(300));

    assert_eq!(client.call(&["GET", "key"]).text(), "old");
    client.call(&["SET", "elsewhere", "1"]).ok();
    assert!(began.elapsed() < Duration::from_millis(1200), "others wait");

    client.call(&["SET", "key", "new"]).ok();
    assert!(
        began.elapsed() >= Duration::from_millis(1400),
        "the writer does not wait"
    );
    let reply = mover.receive().unwrap();
    let text = "IOERR error or timeout reading from target instance";
    assert_eq!(reply.error().as_deref(), Some(text));
    assert_eq!(client.call(&["GET", "key"]).text(), "new");
}

#[test]
fn a_transfer_ends_though_its_client_goes() {
    let (source, target) = (Launch::eagledb().start(), Launch::redis().start());
    let (mut client, mut there) = (source.client(), target.client());
    client.call(&["SET", "key", "value"]).ok();
    // The target sleeps while the key arrives.
    there.send(&["DEBUG", "SLEEP", "0.5"]).unwrap();
    there.flush().unwrap();
    thread::sleep(Duration::from_millis(100));
    let mut mover = source.client();
    let port = target.port().to_string();
    mover
        .send(&["MIGRATE", "127.0.0.1", &port, "key", "0", TIMEOUT_MS])
        .unwrap();
    mover.flush().unwrap();
    thread::sleep(Duration::from_millis(100));
    drop(mover);
    there.receive().unwrap().ok();
    wait_until("the key to leave", Duration::from_secs(5), || {
        client.call(&["EXISTS", "key"]).int() == 0
    });
    assert_eq!(there.call(&["GET", "key"]).text(), "value");
}
