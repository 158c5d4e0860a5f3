//! Clients that ask and wait for the reply, many times, and then do something else: whoever serves them while they only
//! ask must leave off in time, and lose nothing.

use std::time::Duration;

use eagledb_tests::{Client, Launch, Server, wait_for};

const PATIENCE: Duration = Duration::from_secs(20);

/// More questions than it takes for a connection to count as one that only asks.
const QUESTIONS: usize = 40;

fn server() -> Server {
    // With one thread the clients of a test share whatever serves them.
    Launch::eagledb().option("worker-threads", "1").start()
}

/// A client that has only asked for a while.
fn asker(server: &Server) -> Client {
    let mut client = server.client();
    ask(&mut client);
    client
}

#[track_caller]
fn ask(client: &mut Client) {
    for number in 0..QUESTIONS {
        let number = number.to_string();
        assert_eq!(client.call(&["ECHO", &number]).text(), number);
    }
}

#[track_caller]
fn wait_blocked(client: &mut Client, count: usize) {
    wait_for("clients to block", PATIENCE, || {
        (client.info("blocked_clients") == count.to_string()).then_some(())
    });
}

#[test]
fn requests_come_in_pieces_and_in_heaps() {
    let server = server();
    let mut client = asker(&server);
    for piece in [
        &b"*2\r\n$4\r\nEC"[..],
        b"HO\r\n$3\r",
        b"\nabc\r",
        b"\nPING\r\n",
    ] {
        client.send_raw(piece).unwrap();
        client.flush().unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.receive().unwrap().text(), "abc");
    assert_eq!(client.receive().unwrap().text(), "PONG");
    // More than is read at once, by requests that end anywhere in it; and the replies are longer than is written at once.
    for len in [10, 1000, 16_383, 16_384, 70_000, 3_000_000] {
        ask(&mut client);
        let word = "x".repeat(len);
        let requests: Vec<Vec<&str>> = (0..(400_000 / len).clamp(2, 3000))
            .map(|_| vec!["ECHO", &word])
            .collect();
        for reply in client.pipeline(&requests) {
            assert!(reply.text() == word);
        }
    }
    ask(&mut client);
}

#[test]
fn clients_that_end_are_answered_before() {
    let server = server();
    for _ in 0..20 {
        let mut client = asker(&server);
        client.send(&["ECHO", "last"]).unwrap();
        assert_eq!(client.finish(), b"$4\r\nlast\r\n");
    }
    let mut client = asker(&server);
    client.send(&["QUIT"]).unwrap();
    client.send(&["ECHO", "nobody"]).unwrap();
    assert_eq!(client.finish(), b"+OK\r\n");
    let mut client = asker(&server);
    client.send_raw(b"*1\r\n$x\r\n").unwrap();
    let text = client.finish();
    assert_eq!(text, b"-ERR Protocol error: invalid bulk length\r\n");
    let mut client = server.client();
    wait_for("the others to go", PATIENCE, || {
        (client.info("connected_clients") == "1").then_some(())
    });
}

#[test]
fn a_client_that_has_only_asked_blocks_and_asks_again() {
    let server = server();
    let (mut client, mut other) = (asker(&server), asker(&server));
    for round in 0..5 {
        client.send(&["BLPOP", "list", "0"]).unwrap();
        client.send(&["ECHO", "behind"]).unwrap();
        client.flush().unwrap();
        wait_blocked(&mut other, 1);
        other.call(&["RPUSH", "list", &round.to_string()]);
        assert_eq!(client.message(), ["list", &round.to_string()]);
        assert_eq!(client.receive().unwrap().text(), "behind");
        ask(&mut client);
        ask(&mut other);
    }
    // A blocked client may end.
    client.send(&["BLPOP", "list", "0"]).unwrap();
    client.flush().unwrap();
    wait_blocked(&mut other, 1);
    drop(client);
    wait_blocked(&mut other, 0);
}

#[test]
fn messages_and_the_end_reach_a_client_that_only_asks() {
    let server = server();
    let (mut client, mut other) = (asker(&server), asker(&server));
    client.call(&["HELLO", "3"]);
    assert_eq!(client.call(&["SUBSCRIBE", "news"]).items().len(), 3);
    for round in 0..5 {
        ask(&mut client);
        let text = round.to_string();
        assert_eq!(other.call(&["PUBLISH", "news", &text]).int(), 1);
        assert_eq!(client.message(), ["message", "news", &text]);
    }
    ask(&mut client);
    let id = client.call(&["CLIENT", "ID"]).int().to_string();
    ask(&mut client);
    assert_eq!(other.call(&["CLIENT", "KILL", "ID", &id]).int(), 1);
    assert_eq!(client.finish(), b"");
    ask(&mut other);
}

#[test]
fn a_pause_holds_clients_that_only_ask() {
    let server = server();
    let (mut client, mut other) = (asker(&server), asker(&server));
    other.call(&["CLIENT", "PAUSE", "100000", "WRITE"]).ok();
    client.send(&["SET", "key", "value"]).unwrap();
    client.flush().unwrap();
    wait_blocked(&mut other, 1);
    assert!(other.call(&["GET", "key"]).is_nil());
    other.call(&["CLIENT", "UNPAUSE"]).ok();
    client.receive().unwrap().ok();
    assert_eq!(other.call(&["GET", "key"]).text(), "value");
    ask(&mut client);
}

#[test]
fn replies_wait_for_a_client_that_does_not_read_them() {
    let server = server();
    let (mut client, mut other) = (asker(&server), asker(&server));
    other.call(&["SET", "long", &"x".repeat(1_000_000)]).ok();
    const REPLIES: usize = 64;
    for _ in 0..REPLIES {
        client.send(&["GET", "long"]).unwrap();
    }
    client.flush().unwrap();
    // Others are served meanwhile.
    ask(&mut other);
    for _ in 0..REPLIES {
        assert_eq!(client.receive().unwrap().text().len(), 1_000_000);
    }
    ask(&mut client);
}

#[test]
fn clients_that_only_ask_are_answered_beside_a_slow_script() {
    let server = server();
    let (mut client, mut other) = (asker(&server), asker(&server));
    other
        .call(&["CONFIG", "SET", "busy-reply-threshold", "10"])
        .ok();
    client.send(&["EVAL", "while true do end", "0"]).unwrap();
    client.flush().unwrap();
    wait_for("the script to be slow", PATIENCE, || {
        let reply = other.call(&["PING"]);
        reply.error().filter(|text| text.starts_with("BUSY"))
    });
    for _ in 0..QUESTIONS {
        assert!(other.call(&["PING"]).expect_error().starts_with("BUSY"));
    }
    // The sender of the script has its requests run when it has ended.
    client.send(&["ECHO", "behind"]).unwrap();
    client.flush().unwrap();
    other.call(&["SCRIPT", "KILL"]).ok();
    let killed = client.receive().unwrap().expect_error();
    assert!(killed.contains("killed by user"), "{killed}");
    assert_eq!(client.receive().unwrap().text(), "behind");
    ask(&mut client);
    ask(&mut other);
}

/// The read buffer of a client that is silent is given back, also while it waits among those that only ask.
#[test]
fn the_buffer_of_a_silent_client_is_given_back() {
    let server = server();
    let (mut client, mut other) = (asker(&server), asker(&server));
    let id = client.call(&["CLIENT", "ID"]).int().to_string();
    ask(&mut client);
    let room = |other: &mut Client| {
        let line = other.call(&["CLIENT", "LIST", "ID", &id]).text();
        let (_, rest) = line.split_once("qbuf-free=").expect("a field");
        let (number, _) = rest.split_once(' ').expect("another field");
        number.parse::<usize>().expect("a number")
    };
    wait_for("the buffer to go", PATIENCE, || {
        (room(&mut other) == 0).then_some(())
    });
    ask(&mut client);
}
