//! `client-output-buffer-limit` and replies that are longer: they are not built, their client is ended, and what it had asked
//! is done as redis-server 7.0.15 does it.

use std::io::ErrorKind;
use std::time::Duration;

use eagledb_tests::memory::growth;
use eagledb_tests::{Client, Kind, Launch, Server, wait_until};

const MIB: usize = 1 << 20;

/// The hard limit of ordinary clients.
const LIMIT: usize = 4 * MIB;

/// Elements of each collection, and bytes of each of them: 16 times the limit.
const ELEMENTS: usize = 64;
const ELEMENT_BYTES: usize = MIB;

/// A server with the limit, and collections in it that are longer.
fn limited(kind: Kind) -> Server {
    let server = Launch::of(kind)
        .option("client-output-buffer-limit", &format!("normal {LIMIT} 0 0"))
        .start();
    let mut client = server.client();
    let value = "v".repeat(ELEMENT_BYTES);
    for number in 0..ELEMENTS {
        let element = format!("{value}{number}");
        client.call(&["HSET", "hash", &number.to_string(), &element]);
        client.call(&["RPUSH", "list", &element]);
        client.call(&["SADD", "set", &element]);
    }
    server
}

/// How many clients were ended for it.
fn disconnections(server: &Server) -> usize {
    let told = "scheduled to be closed ASAP for overcoming of output buffer limits";
    server.log().matches(told).count()
}

/// Waits until the log tells of so many.
#[track_caller]
fn is_told(server: &Server, times: usize) {
    wait_until("it is told", Duration::from_secs(10), || {
        disconnections(server) == times
    });
}

/// Waits for the end of a connection; there may be replies before it, but it is no timeout.
#[track_caller]
fn is_ended(client: &mut Client) {
    let error = loop {
        if let Err(error) = client.receive_within(Duration::from_secs(60)) {
            break error.kind();
        }
    };
    assert!(
        !matches!(error, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
}

fn send(client: &mut Client, lines: &[&str]) {
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        client.send(&words).expect("the server reads");
    }
    client.flush().expect("the server reads");
}

#[test]
fn long_replies_are_not_built() {
    let server = limited(Kind::EagleDb);
    for (times, line) in [
        "HGETALL hash",
        "LRANGE list 0 -1",
        "SMEMBERS set",
        "SRANDMEMBER set -64",
        "HRANDFIELD hash -64 WITHVALUES",
        "HVALS hash",
        "EVAL_RO return{redis.call('LRANGE','list',0,20)} 0",
    ]
    .iter()
    .enumerate()
    {
        let mut client = server.client();
        client.call(&["PING"]);
        // The buffer grows to twice its size each time; a script has its own copy of the elements.
        let copied = if line.starts_with("EVAL") {
            21 * ELEMENT_BYTES
        } else {
            0
        };
        let growth = growth(&server, || {
            send(&mut client, &[line]);
            is_ended(&mut client);
        });
        assert!(growth <= 4 * LIMIT + 2 * copied, "{line}: {growth}");
        assert_eq!(disconnections(&server), times + 1, "{line}");
    }
}

/// What runs all the same, and what does not.
#[test]
fn what_surrounds_a_long_reply_is_done_as_by_redis() {
    for kind in [Kind::EagleDb, Kind::Redis] {
        let server = limited(kind);
        let mut asks = server.client();
        let mut client = server.client();
        // Of a pipeline nothing further.
        send(
            &mut client,
            &["SET before 1", "HGETALL hash", "SET behind 1"],
        );
        is_ended(&mut client);
        is_told(&server, 1);
        assert_eq!(asks.call(&["EXISTS", "before"]).int(), 1, "{kind:?}");
        assert_eq!(asks.call(&["EXISTS", "behind"]).int(), 0, "{kind:?}");
        // The whole of a transaction.
        let mut client = server.client();
        send(
            &mut client,
            &[
                "MULTI",
                "SET first 1",
                "HGETALL hash",
                "SET last 1",
                "EXEC",
                "SET behind 1",
            ],
        );
        is_ended(&mut client);
        is_told(&server, 2);
        assert_eq!(asks.call(&["EXISTS", "first", "last"]).int(), 2, "{kind:?}");
        assert_eq!(asks.call(&["EXISTS", "behind"]).int(), 0, "{kind:?}");
        // Who wants no reply may ask for the longest; replies that are short enough together come.
        let mut client = server.client();
        send(
            &mut client,
            &[
                "CLIENT REPLY OFF",
                "HGETALL hash",
                "CLIENT REPLY ON",
                "LRANGE list 0 2",
            ],
        );
        client
            .receive_within(Duration::from_secs(60))
            .expect("it is on again")
            .ok();
        let three = client
            .receive_within(Duration::from_secs(60))
            .expect("they are not too long");
        assert_eq!(three.items().len(), 3, "{kind:?}");
        // The limit is that of the moment.
        let mut client = server.client();
        asks.call(&[
            "CONFIG",
            "SET",
            "client-output-buffer-limit",
            "normal 0 0 0",
        ])
        .ok();
        let all = client.call(&["HGETALL", "hash"]);
        assert_eq!(all.items().len(), 2 * ELEMENTS, "{kind:?}");
        assert_eq!(disconnections(&server), 2, "{kind:?}");
    }
}

/// The element was given away all the same.
#[test]
fn a_waiting_client_that_gets_too_much_is_ended() {
    for kind in [Kind::EagleDb, Kind::Redis] {
        let server = limited(kind);
        let mut client = server.client();
        send(&mut client, &["BLPOP none 0"]);
        let mut other = server.client();
        wait_until("it waits", Duration::from_secs(10), || {
            other.info("blocked_clients") == "1"
        });
        other.call(&["LPUSH", "none", &"v".repeat(2 * LIMIT)]);
        is_ended(&mut client);
        is_told(&server, 1);
        assert_eq!(other.call(&["EXISTS", "none"]).int(), 0, "{kind:?}");
    }
}
