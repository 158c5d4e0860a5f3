//! Clients that wait for keys: their order, their deadlines, what wakes them and what must not, over several worker
//! threads.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use eagledb_tests::server::check_pool;
use eagledb_tests::{Client, Launch, Server, wait_for};

const PATIENCE: Duration = Duration::from_secs(20);

fn server() -> Server {
    Launch::eagledb().option("worker-threads", "2").start()
}

fn wait_blocked(client: &mut Client, count: usize) {
    wait_for("clients to block", PATIENCE, || {
        (client.info("blocked_clients") == count.to_string()).then_some(())
    });
}

fn send(client: &mut Client, words: &[&str]) {
    client.send(words).expect("connected");
    client.flush().expect("connected");
}

fn receive(client: &mut Client) -> String {
    let reply = client.receive_within(PATIENCE).expect("a reply");
    if reply.bytes().is_some() {
        return reply.text();
    }
    reply
        .items()
        .iter()
        .map(|item| item.text())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn many_clients_are_served_in_the_order_they_came() {
    const CLIENTS: usize = 300;
    let server = server();
    let mut own = server.client();
    let mut waiting = Vec::new();
    for count in 1..=CLIENTS {
        let mut client = server.client();
        send(&mut client, &["BLPOP", "none", "queue", "0"]);
        wait_blocked(&mut own, count);
        waiting.push(client);
    }
    // Two connections push, and the threads they are on serve.
    let mut other = server.client();
    for i in 0..CLIENTS {
        let client = if i % 2 == 0 { &mut own } else { &mut other };
        client.call(&["RPUSH", "queue", &i.to_string()]);
    }
    for (i, client) in waiting.iter_mut().enumerate() {
        assert_eq!(receive(client), format!("queue {i}"));
    }
    assert_eq!(own.call(&["EXISTS", "queue"]).int(), 0);
    wait_blocked(&mut own, 0);
    // One push serves as many as it has elements for.
    for client in &mut waiting[..3] {
        send(client, &["BRPOP", "queue", "0"]);
    }
    wait_blocked(&mut own, 3);
    own.call(&["RPUSH", "queue", "a", "b", "c", "d"]);
    let got: BTreeSet<String> = waiting[..3].iter_mut().map(receive).collect();
    assert_eq!(got.len(), 3);
    assert_eq!(
        own.call(&["LRANGE", "queue", "0", "-1"]).items()[0].text(),
        "a"
    );
}

#[test]
fn no_element_is_lost_or_given_twice() {
    const PRODUCERS: usize = 4;
    const CONSUMERS: usize = 8;
    const EACH: usize = 400;
    let server = server();
    let port = server.port();
    let produced = PRODUCERS * EACH;
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            scope.spawn(move || {
                let mut client = Client::connect(port).expect("a connection");
                for i in 0..EACH {
                    // Through a second list, served in the same round.
                    let source = if i % 2 == 0 { "jobs" } else { "stage" };
                    client.call(&["LPUSH", source, &format!("{producer}-{i}")]);
                }
            });
        }
        let mover = scope.spawn(move || {
            let mut client = Client::connect(port).expect("a connection");
            for _ in 0..produced / 2 {
                client.call(&["BLMOVE", "stage", "jobs", "RIGHT", "LEFT", "20"]);
            }
        });
        let consumers: Vec<_> = (0..CONSUMERS)
            .map(|_| {
                scope.spawn(move || {
                    let mut client = Client::connect(port).expect("a connection");
                    let mut got = Vec::new();
                    for _ in 0..produced / CONSUMERS {
                        let reply = client.call(&["BRPOP", "jobs", "20"]);
                        got.push(reply.items()[1].text());
                    }
                    got
                })
            })
            .collect();
        mover.join().expect("moves all");
        let got: Vec<String> = consumers
            .into_iter()
            .flat_map(|consumer| consumer.join().expect("gets its share"))
            .collect();
        let distinct: BTreeSet<&String> = got.iter().collect();
        assert_eq!((got.len(), distinct.len()), (produced, produced));
    });
    assert_eq!(server.client().call(&["EXISTS", "jobs", "stage"]).int(), 0);
}

#[test]
fn waits_end_by_time_by_command_and_with_the_connection() {
    let server = server();
    let (mut own, mut client) = (server.client(), server.client());
    let started = Instant::now();
    assert!(client.call(&["BLPOP", "k", "0.2"]).is_nil());
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(200) && took < Duration::from_secs(5),
        "{took:?}"
    );
    let id = client.call(&["CLIENT", "ID"]).int().to_string();
    for (how, reply) in [
        ("TIMEOUT", ""),
        ("ERROR", "UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        send(&mut client, &["BLPOP", "k", "0"]);
        wait_blocked(&mut own, 1);
        assert_eq!(own.call(&["CLIENT", "UNBLOCK", &id, how]).int(), 1);
        let got = client.receive_within(PATIENCE).expect("a reply");
        assert!(if reply.is_empty() {
            got.is_nil()
        } else {
            got.text() == reply
        });
        assert_eq!(own.call(&["CLIENT", "UNBLOCK", &id, how]).int(), 0);
    }
    // A client that has gone, or is killed, takes nothing.
    send(&mut client, &["BLPOP", "k", "0"]);
    wait_blocked(&mut own, 1);
    assert_eq!(own.call(&["CLIENT", "KILL", "ID", &id]).int(), 1);
    own.call(&["RPUSH", "k", "kept"]);
    let mut gone = server.client();
    send(&mut gone, &["BLPOP", "other", "0"]);
    wait_blocked(&mut own, 1);
    drop(gone);
    wait_blocked(&mut own, 0);
    own.call(&["RPUSH", "other", "kept"]);
    assert_eq!(own.call(&["LPOP", "k"]).text(), "kept");
    assert_eq!(own.call(&["LPOP", "other"]).text(), "kept");
    // What the client sends meanwhile runs afterwards.
    let mut client = server.client();
    client.send(&["BLPOP", "k", "0"]).expect("connected");
    send(&mut client, &["ECHO", "after"]);
    wait_blocked(&mut own, 1);
    own.call(&["RPUSH", "k", "v"]);
    assert_eq!(receive(&mut client), "k v");
    assert_eq!(receive(&mut client), "after");
}

#[test]
fn whatever_makes_a_list_wakes_its_clients() {
    let server = server();
    let mut own = server.client();
    let mut client = server.client();
    let ways: [&[&[&str]]; 6] = [
        &[&["RPUSH", "x", "v"], &["RENAME", "x", "k"]],
        &[&["RPUSH", "x", "v"], &["COPY", "x", "k"], &["DEL", "x"]],
        &[&["RPUSH", "x", "v"], &["LMOVE", "x", "k", "LEFT", "RIGHT"]],
        &[
            &["SELECT", "3"],
            &["RPUSH", "k", "v"],
            &["MOVE", "k", "0"],
            &["SELECT", "0"],
        ],
        &[
            &["SELECT", "3"],
            &["RPUSH", "k", "v"],
            &["SWAPDB", "0", "3"],
            &["SELECT", "0"],
        ],
        &[
            &["MULTI"],
            &["SET", "k", "s"],
            &["DEL", "k"],
            &["LPUSH", "k", "v"],
            &["EXEC"],
        ],
    ];
    for way in ways {
        send(&mut client, &["BLPOP", "k", "0"]);
        wait_blocked(&mut own, 1);
        for command in way {
            own.call(command);
        }
        assert_eq!(receive(&mut client), "k v", "{way:?}");
        own.call(&["FLUSHALL"]);
    }
    let dump = {
        own.call(&["RPUSH", "x", "v"]);
        let reply = own.call(&["DUMP", "x"]);
        own.call(&["DEL", "x"]);
        reply
    };
    send(&mut client, &["BLPOP", "k", "0"]);
    wait_blocked(&mut own, 1);
    let payload = dump.bytes().expect("a payload");
    own.call(&[b"RESTORE", &b"k"[..], b"0", payload]);
    assert_eq!(receive(&mut client), "k v");
}

/// As 7.0.15 has it: nobody is woken by a value that takes the place of another one, or by what is put to that.
#[test]
fn a_list_in_the_place_of_another_value_wakes_nobody() {
    let server = server();
    let mut own = server.client();
    let mut client = server.client();
    let endings: [&[&[&str]]; 4] = [
        &[&["DEL", "k"], &["RPUSH", "k", "v"]],
        &[&["RENAME", "x", "k"]],
        &[&["COPY", "x", "k", "REPLACE"]],
        &[
            &["MULTI"],
            &["DEL", "k"],
            &["SORT", "x", "ALPHA", "STORE", "k"],
            &["EXEC"],
        ],
    ];
    for ending in endings {
        own.call(&["RPUSH", "x", "v"]);
        send(&mut client, &["BLPOP", "k", "0"]);
        wait_blocked(&mut own, 1);
        own.call(&["SET", "k", "text"]);
        own.call(&["SORT", "x", "ALPHA", "BY", "nosort", "STORE", "k"]);
        own.call(&["LPUSH", "k", "not this"]);
        own.call(&["PING"]);
        wait_blocked(&mut own, 1);
        for command in ending {
            own.call(command);
        }
        assert_eq!(receive(&mut client), "k v", "{ending:?}");
        own.call(&["FLUSHALL"]);
    }
}

/// As 7.0.15 has it: a key is looked at again at the end of a transaction if it came into being with a type that anybody
/// waits for, were it on another key.
#[test]
fn a_key_of_a_type_that_nobody_waits_for_wakes_nobody_even_if_it_becomes_a_list() {
    let server = server();
    let mut own = server.client();
    let (mut client, mut other) = (server.client(), server.client());
    own.call(&["RPUSH", "x", "v"]);
    send(&mut client, &["BLPOP", "k", "0"]);
    wait_blocked(&mut own, 1);
    let make = |own: &mut Client| {
        own.call(&["MULTI"]).ok();
        own.call(&["ZINCRBY", "k", "1", "m"]);
        own.call(&["SORT", "x", "ALPHA", "STORE", "k"]);
        let replies = own.call(&["EXEC"]);
        assert_eq!(replies.items().len(), 2);
    };
    make(&mut own);
    own.call(&["PING"]);
    wait_blocked(&mut own, 1);
    assert_eq!(own.call(&["DEL", "k"]).int(), 1);
    send(&mut other, &["BZPOPMIN", "elsewhere", "0"]);
    wait_blocked(&mut own, 2);
    make(&mut own);
    assert_eq!(receive(&mut client), "k v");
}

/// One that is short, and one that is decoded on another thread.
#[test]
fn restore_in_the_place_of_another_value_wakes_clients() {
    let server = server();
    let mut own = server.client();
    let mut client = server.client();
    let long: String = (0..60_000).map(|number| number.to_string()).collect();
    for element in ["v", &long] {
        own.call(&["RPUSH", "x", element]);
        let dump = own.call(&["DUMP", "x"]);
        send(&mut client, &["BLPOP", "k", "0"]);
        wait_blocked(&mut own, 1);
        own.call(&["SET", "k", "text"]);
        let payload = dump.bytes().expect("a payload");
        own.call(&[b"RESTORE", &b"k"[..], b"0", payload, b"REPLACE"])
            .ok();
        assert_eq!(receive(&mut client), format!("k {element}"));
        own.call(&["DEL", "x"]);
    }
}

#[test]
fn what_takes_the_place_of_a_stream_wakes_those_who_wait_for_the_stream() {
    let server = server();
    let mut own = server.client();
    let (mut popper, mut reader) = (server.client(), server.client());
    own.call(&["ZADD", "x", "1", "v"]);
    send(&mut popper, &["BZPOPMIN", "k", "0"]);
    wait_blocked(&mut own, 1);
    own.call(&["XGROUP", "CREATE", "k", "g", "0", "MKSTREAM"]);
    own.call(&["ZRANGESTORE", "k", "x", "0", "-1"]);
    wait_blocked(&mut own, 1);
    own.call(&["DEL", "k"]);
    own.call(&["XGROUP", "CREATE", "k", "g", "0", "MKSTREAM"]);
    send(
        &mut reader,
        &[
            "XREADGROUP",
            "GROUP",
            "g",
            "c",
            "BLOCK",
            "0",
            "STREAMS",
            "k",
            ">",
        ],
    );
    wait_blocked(&mut own, 2);
    own.call(&["SET", "k", "text"]);
    let refusal = reader.receive_within(PATIENCE).expect("a reply");
    assert!(
        refusal
            .error()
            .is_some_and(|text| text.starts_with("UNBLOCKED"))
    );
    own.call(&["DEL", "k"]);
    own.call(&["ZADD", "k", "2", "w"]);
    assert_eq!(receive(&mut popper), "k w 2");
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let mut server = server();
    let pool = server.pool_path();
    const PUSHED: i64 = 100;
    for _ in 0..4 {
        let mut own = server.client();
        own.call(&["DEL", "queue"]);
        let mut waiting: Vec<Client> = (0..20).map(|_| server.client()).collect();
        for client in &mut waiting {
            send(client, &["BLPOP", "queue", "0"]);
        }
        wait_blocked(&mut own, waiting.len());
        for _ in 0..PUSHED {
            own.call(&["RPUSH", "queue", "element"]);
        }
        server.kill9();
        if let Some(pool) = &pool {
            check_pool(pool);
        }
        server.start();
        let len = server.client().call(&["LLEN", "queue"]).int();
        assert_eq!(len, PUSHED - waiting.len() as i64);
    }
}

#[test]
fn clients_follow_a_slot_that_leaves() {
    let server = Launch::eagledb().option("cluster-enabled", "yes").start();
    let mut own = server.client();
    own.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    wait_for("the cluster to be in order", PATIENCE, || {
        (own.cluster_info("cluster_state") == "ok").then_some(())
    });
    let mut client = server.client();
    send(&mut client, &["BLPOP", "k", "0"]);
    wait_blocked(&mut own, 1);
    let slot = own.call(&["CLUSTER", "KEYSLOT", "k"]).int().to_string();
    own.call(&["CLUSTER", "DELSLOTS", &slot]);
    let reply = client.receive_within(PATIENCE).expect("a reply").text();
    assert!(reply.starts_with("CLUSTERDOWN"), "{reply}");
}
