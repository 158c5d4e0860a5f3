//! `cluster-routing proxy` for what takes more than one request or more than a moment: transactions, watched keys, blocked
//! clients.

use std::time::{Duration, Instant};

use eagledb_tests::binary::workspace;
use eagledb_tests::routed::key_slot;
use eagledb_tests::{Client, Cluster, KEYS_OF_ALL, Launch, Reply, tool, wait_until};
use rustix::process::Signal;

/// How long what is awaited may take on a busy machine.
const WAIT: Duration = Duration::from_secs(15);

#[test]
fn transactions_over_nodes_get_a_clear_error() {
    let cluster = Cluster::forwarding();
    let mut client = cluster.nodes[0].client();
    for keys in [["bar", "foo"], ["foo", "bar"], ["foo", "world"]] {
        client.call(&["MULTI"]).ok();
        assert_eq!(client.call(&["SET", keys[0], "1"]).text(), "QUEUED");
        let refused = client.call(&["SET", keys[1], "1"]).expect_error();
        assert!(
            refused.starts_with("CROSSSLOT cluster-routing proxy: "),
            "{refused}"
        );
        let ended = client.call(&["EXEC"]).expect_error();
        assert_eq!(
            ended,
            "EXECABORT Transaction discarded because of previous errors."
        );
        assert!(
            client.call(&["GET", keys[0]]).is_nil(),
            "no half of it was done"
        );
    }
    // A transaction on keys of the node itself works, and so does one on keys of any other.
    for key in KEYS_OF_ALL {
        client.call(&["MULTI"]).ok();
        client.call(&["SET", key, "2"]);
        client.call(&["LPUSH", key, "2"]);
        client.call(&["INCR", key]);
        let replies = client.call(&["EXEC"]);
        assert_eq!(replies.items().len(), 3);
        assert!(replies.items()[1].expect_error().starts_with("WRONGTYPE "));
        assert_eq!(client.call(&["GET", key]).text(), "3");
    }
    // What a node refuses when a command is queued it refuses here as well.
    client.call(&["MULTI"]).ok();
    let refused = client.call(&["GET", "foo", "bar"]).expect_error();
    assert_eq!(refused, "ERR wrong number of arguments for 'get' command");
    assert_eq!(
        client.call(&["NOSUCH"]).expect_error().split(',').next(),
        Some("ERR unknown command 'NOSUCH'")
    );
    client.call(&["DISCARD"]).ok();
}

/// WATCH holds to what it says, whoever changes the key and wherever that is said.
#[test]
fn watched_keys_may_be_at_another_node() {
    let cluster = Cluster::forwarding();
    let mut client = cluster.nodes[0].client();
    let mut others: Vec<Client> = cluster.nodes.iter().map(|node| node.client()).collect();
    let transaction = |client: &mut Client, value: &str| {
        client.call(&["MULTI"]).ok();
        client.call(&["SET", "foo", value]);
        client.call(&["PING"]);
        client.call(&["EXEC"])
    };
    for protocol in ["2", "3"] {
        client.call(&["HELLO", protocol]);
        client.call(&["WATCH", "foo", "{foo}2"]).ok();
        assert_eq!(transaction(&mut client, "1").items().len(), 2);
        for other in &mut others {
            client.call(&["WATCH", "{foo}2"]).ok();
            client.call(&["WATCH", "foo"]).ok();
            other.call(&["SET", "foo", "theirs"]).ok();
            assert!(transaction(&mut client, "mine").is_nil());
            assert_eq!(client.call(&["GET", "foo"]).text(), "theirs");
            // It is over with EXEC, with UNWATCH and with DISCARD.
            assert_eq!(transaction(&mut client, "1").items().len(), 2);
            client.call(&["WATCH", "foo"]).ok();
            client.call(&["UNWATCH"]).ok();
            other.call(&["SET", "foo", "theirs"]).ok();
            assert_eq!(transaction(&mut client, "1").items().len(), 2);
            client.call(&["WATCH", "foo"]).ok();
            client.call(&["MULTI"]).ok();
            client.call(&["DISCARD"]).ok();
            other.call(&["SET", "foo", "theirs"]).ok();
            assert_eq!(transaction(&mut client, "1").items().len(), 2);
        }
    }
    client.call(&["HELLO", "2"]);
    // An empty transaction asks as well.
    client.call(&["WATCH", "foo"]).ok();
    others[1].call(&["SET", "foo", "theirs"]).ok();
    client.call(&["MULTI"]).ok();
    assert!(client.call(&["EXEC"]).is_nil());
    // Keys of two nodes cannot be watched together, nor one here and another used there.
    let apart = |reply: Reply| {
        let text = reply.expect_error();
        assert!(text.contains("must be at one node"), "{text}");
    };
    client.call(&["WATCH", "foo"]).ok();
    apart(client.call(&["WATCH", "bar"]));
    apart(client.call(&["WATCH", "world"]));
    for key in ["bar", "world"] {
        client.call(&["MULTI"]).ok();
        apart(client.call(&["SET", key, "1"]));
        client.call(&["DISCARD"]).ok();
        client.call(&["WATCH", key]).ok();
    }
    apart(client.call(&["WATCH", "foo"]));
    client.call(&["MULTI"]).ok();
    for key in ["foo", "bar"] {
        assert_eq!(
            client.call(&["WATCH", key]).expect_error(),
            "ERR WATCH inside MULTI is not allowed"
        );
    }
    apart(client.call(&["SET", "foo", "1"]));
    client.call(&["DISCARD"]).ok();
    // It is refused wherever the keys are, and the transaction goes on.
    client.call(&["UNWATCH"]).ok();
    client.call(&["MULTI"]).ok();
    client.call(&["SET", "foo", "on"]);
    for keys in [&["foo"][..], &["bar"], &["foo", "bar"]] {
        assert_eq!(
            client.call(&[&["WATCH"], keys].concat()).expect_error(),
            "ERR WATCH inside MULTI is not allowed"
        );
    }
    assert_eq!(client.call(&["EXEC"]).items().len(), 1);
    // The node where the keys are watched goes away.
    client.call(&["WATCH", "foo"]).ok();
    let killed = others[2].call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    assert!(killed.int() > 0);
    let ended = transaction(&mut client, "lost").expect_error();
    assert!(ended.contains("forwarding to"), "{ended}");
    assert_ne!(client.call(&["GET", "foo"]).text(), "lost");
}

/// Clients of node 0, blocked on a key of node 2.
#[test]
fn blocked_clients_wait_at_the_owner() {
    let mut cluster = Cluster::forwarding();
    let mut owner = cluster.nodes[2].client();
    let mut near = cluster.nodes[0].client();
    let blocked = |client: &mut Client, count: &str| {
        wait_until("clients to block", WAIT, || {
            client.info("blocked_clients") == count
        });
    };
    for protocol in ["2", "3"] {
        let mut waiting = cluster.nodes[0].client();
        waiting.call(&["HELLO", protocol]);
        // Its timeout.
        let began = Instant::now();
        assert!(waiting.call(&["BLPOP", "foo", "0.2"]).is_nil());
        assert!(began.elapsed() >= Duration::from_millis(200));
        // What it waits for, with pipelined commands behind.
        waiting.send(&["BLPOP", "foo", "{foo}2", "0"]).unwrap();
        waiting.send(&["SET", "foo", "after"]).unwrap();
        waiting.send(&["GET", "bar"]).unwrap();
        waiting.flush().unwrap();
        blocked(&mut owner, "1");
        blocked(&mut near, "1");
        near.call(&["RPUSH", "{foo}2", "x"]).int();
        let popped = waiting.receive().unwrap();
        assert_eq!(popped.items()[1].text(), "x");
        waiting.receive().unwrap().ok();
        assert!(waiting.receive().unwrap().is_nil());
        near.call(&["DEL", "foo"]);
        // Other commands of the node go on meanwhile, on whatever connection.
        let id = waiting.call(&["CLIENT", "ID"]).int().to_string();
        for (line, wake) in [
            ("BZPOPMIN foo 0", "ZADD foo 1 x"),
            ("BLMPOP 0 1 foo LEFT", "RPUSH foo x"),
            ("BLMOVE foo {foo}2 LEFT LEFT 0", "RPUSH foo x"),
            ("XREAD BLOCK 0 STREAMS foo $", "XADD foo 1-1 f v"),
        ] {
            let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
            waiting.send(&words(line)).unwrap();
            waiting.flush().unwrap();
            blocked(&mut owner, "1");
            assert_eq!(near.call(&["EXISTS", "foo", "bar", "world"]).int(), 0);
            near.call(&words(wake));
            assert!(!waiting.receive().unwrap().is_nil(), "{line}");
            near.call(&["DEL", "foo", "{foo}2"]);
            blocked(&mut near, "0");
            // CLIENT UNBLOCK.
            for how in ["TIMEOUT", "ERROR"] {
                waiting.send(&words(line)).unwrap();
                waiting.flush().unwrap();
                blocked(&mut near, "1");
                blocked(&mut owner, "1");
                assert_eq!(near.call(&["CLIENT", "UNBLOCK", &id, how]).int(), 1);
                let reply = waiting.receive().unwrap();
                if how == "TIMEOUT" {
                    assert!(reply.is_nil(), "{line}: {reply:?}");
                } else {
                    assert_eq!(
                        reply.expect_error(),
                        "UNBLOCKED client unblocked via CLIENT UNBLOCK"
                    );
                }
                blocked(&mut owner, "0");
                assert_eq!(near.call(&["CLIENT", "UNBLOCK", &id]).int(), 0);
            }
        }
        // The end of its connection.
        waiting.send(&["BLPOP", "foo", "0"]).unwrap();
        waiting.flush().unwrap();
        blocked(&mut owner, "1");
        drop(waiting);
        blocked(&mut owner, "0");
        blocked(&mut near, "0");
        near.call(&["RPUSH", "foo", "x"]).int();
        assert_eq!(owner.call(&["LLEN", "foo"]).int(), 1, "nobody took it");
        near.call(&["DEL", "foo"]);
    }
    // Order: whoever blocked first is served first.
    let mut waiting: Vec<Client> = (0..20)
        .map(|index| {
            let mut client = cluster.nodes[index % 2].client();
            client.send(&["BLPOP", "foo", "0"]).unwrap();
            client.flush().unwrap();
            blocked(&mut owner, &(index + 1).to_string());
            client
        })
        .collect();
    for (index, client) in waiting.iter_mut().enumerate() {
        near.call(&["RPUSH", "foo", &index.to_string()]).int();
        let popped = client.receive().unwrap();
        assert_eq!(popped.items()[1].text(), index.to_string());
    }
    // The bound.
    near.call(&["CONFIG", "SET", "cluster-proxy-dedicated-connections", "1"])
        .ok();
    waiting[0].send(&["BLPOP", "foo", "0"]).unwrap();
    waiting[0].flush().unwrap();
    blocked(&mut owner, "1");
    let refused = waiting[2].call(&["BLPOP", "foo", "0"]).expect_error();
    assert!(
        refused.contains("cluster-proxy-dedicated-connections"),
        "{refused}"
    );
    // The owner's end.
    cluster.nodes[2].kill9();
    let ended = waiting[0].receive().unwrap().expect_error();
    assert!(ended.contains("forwarding to"), "{ended}");
    waiting[0].call(&["PING"]);
}

/// A node that is there and says nothing: the wait ends once the others agree that it has failed.
#[test]
fn a_wait_ends_with_an_owner_that_is_silent() {
    let cluster = Cluster::forwarding();
    let mut near = cluster.nodes[0].client();
    let mut waiting = cluster.nodes[0].client();
    waiting.send(&["BLPOP", "foo", "0"]).unwrap();
    waiting.flush().unwrap();
    wait_until("the client to block", WAIT, || {
        near.info("blocked_clients") == "1"
    });
    cluster.nodes[2].signal(Signal::STOP);
    let ended = waiting
        .receive_within(Duration::from_secs(20))
        .unwrap()
        .expect_error();
    assert!(ended.starts_with("CLUSTERDOWN "), "{ended}");
    cluster.nodes[2].signal(Signal::CONT);
}

/// Slots move away from under blocked clients and transactions, of this node and of others.
#[test]
fn blocked_clients_and_transactions_follow_a_reshard() {
    let cluster = Cluster::forwarding();
    let slot = key_slot(b"foo");
    let mut blocked: Vec<Client> = cluster.nodes.iter().map(|node| node.client()).collect();
    let mut watching: Vec<Client> = cluster.nodes.iter().map(|node| node.client()).collect();
    for (from, to) in [(2, 0), (0, 1), (1, 2)] {
        for client in &mut blocked {
            client.send(&["BLPOP", "{foo}list", "0"]).unwrap();
            client.flush().unwrap();
        }
        wait_until("all to block", WAIT, || {
            cluster.nodes[from].client().info("blocked_clients") == "3"
        });
        for client in &mut watching {
            client.call(&["SET", "{foo}watched", "1"]).ok();
            client.call(&["WATCH", "{foo}watched"]).ok();
        }
        // Whoever set it last is the only one whose watch still holds.
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let counting: Vec<_> = cluster
                .nodes
                .iter()
                .map(|node| scope.spawn(|| count_in_transactions(node.client(), &stop)))
                .collect();
            cluster.move_slot(slot, from, to);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let counted: i64 = counting.into_iter().map(|run| run.join().unwrap()).sum();
            let mut client = cluster.nodes[from].client();
            assert!(counted > 0);
            assert_eq!(client.call(&["GET", "{foo}a"]).text(), counted.to_string());
            assert_eq!(client.call(&["GET", "{foo}b"]).text(), counted.to_string());
            client.call(&["DEL", "{foo}a", "{foo}b"]);
        });
        // A watched key that has moved counts as changed.
        for client in &mut watching {
            client.call(&["MULTI"]).ok();
            client.call(&["SET", "{foo}watched", "2"]);
            assert!(client.call(&["EXEC"]).is_nil());
        }
        wait_until("all to wait at the new owner", WAIT, || {
            cluster.nodes[to].client().info("blocked_clients") == "3"
        });
        for index in 0..3 {
            let mut client = cluster.nodes[index].client();
            client.call(&["RPUSH", "{foo}list", "x"]).int();
        }
        for client in &mut blocked {
            assert_eq!(client.receive().unwrap().items()[1].text(), "x");
        }
    }
}

/// Increments two keys in transactions until told to stop; how often.
fn count_in_transactions(mut client: Client, stop: &std::sync::atomic::AtomicBool) -> i64 {
    let mut count = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        client.call(&["MULTI"]).ok();
        client.call(&["INCR", "{foo}a"]);
        client.call(&["INCR", "{foo}b"]);
        let replies = client.call(&["EXEC"]);
        count += 1;
        assert_eq!(replies.items().len(), 2, "{replies:?}");
        assert_eq!(replies.items()[0], replies.items()[1], "both or none");
    }
    count
}

/// The same with what takes more than one request or more than a moment, and clients that know nothing of clusters.
#[test]
fn a_reshard_is_invisible_to_redis_py_and_redis_cli() {
    let cluster = Cluster::forwarding();
    let port = cluster.nodes[0].port().to_string();
    let tests = workspace().join("tests");
    let time = Duration::from_secs(120);
    tool::run(tests.join("clients/venv.sh"), &[""; 0], "", time).success();
    let script = tests
        .join("clients/plain_in_motion.py")
        .display()
        .to_string();
    std::thread::scope(|scope| {
        let line = [script.as_str(), &port, "{foo}", "{world}", "{bar}"];
        let python = scope.spawn(move || {
            tool::run(workspace().join("tests/.venv/bin/python"), &line, "", time).success()
        });
        let cli = scope.spawn(|| {
            let push =
                |index: usize| cluster.nodes[1].cli(&["RPUSH", "{foo}cli", &index.to_string()]);
            (0..20).for_each(|index| {
                push(index).success();
                let popped = cluster.nodes[0].cli(&["BLPOP", "{foo}cli", "10"]).success();
                let due = format!("{{foo}}cli\n{index}");
                assert_eq!(popped.trim(), due);
                let lines = "MULTI\nINCR {foo}count\nGET {foo}count\nEXEC\n";
                let line = ["-p", &port];
                let text = tool::run("redis-cli", &line, lines, time).success();
                let count = (index + 1).to_string();
                assert_eq!(text.trim(), format!("OK\nQUEUED\nQUEUED\n{count}\n{count}"));
            });
        });
        for word in ["foo", "world", "bar", "foo"] {
            let slot = key_slot(word.as_bytes());
            let from = owner_of(&cluster, slot);
            cluster.move_slot(slot, from, (from + 1) % 3);
        }
        cli.join().expect("redis-cli saw nothing of it");
        let text = python.join().expect("redis-py saw nothing of it");
        assert_eq!(text.trim(), "ok");
    });
}

/// Which node serves a slot.
fn owner_of(cluster: &Cluster, slot: u16) -> usize {
    let slots = cluster.nodes[0].client().call(&["CLUSTER", "SLOTS"]);
    let range = slots.items().iter().find(|range| {
        let items = range.items();
        (items[0].int()..=items[1].int()).contains(&i64::from(slot))
    });
    let port = range.expect("all slots are served").items()[2].items()[1].int();
    let mut nodes = cluster.nodes.iter();
    nodes
        .position(|node| i64::from(node.port()) == port)
        .expect("one of the nodes")
}

/// A Redis node as the owner: blocked clients, transactions, scripts and shard channels.
#[test]
fn a_redis_node_serves_what_takes_more_than_one_request() {
    let proxy = || Launch::eagledb().option("cluster-routing", "proxy");
    let cluster = Cluster::create(vec![proxy(), Launch::redis(), proxy()]);
    let mut owner = cluster.nodes[1].client();
    for protocol in ["2", "3"] {
        let mut client = cluster.nodes[0].client();
        let mut other = cluster.nodes[2].client();
        client.call(&["HELLO", protocol]);
        client.send(&["BLPOP", "world", "0"]).unwrap();
        client.flush().unwrap();
        wait_until("the client to block", WAIT, || {
            owner.info("blocked_clients") == "1"
        });
        other.call(&["RPUSH", "world", "x"]).int();
        assert_eq!(client.receive().unwrap().items()[1].text(), "x");
        let id = client.call(&["CLIENT", "ID"]).int().to_string();
        client.send(&["BLPOP", "world", "0"]).unwrap();
        client.flush().unwrap();
        wait_until("the client to block", WAIT, || {
            owner.info("blocked_clients") == "1"
        });
        let mut near = cluster.nodes[0].client();
        assert_eq!(near.call(&["CLIENT", "UNBLOCK", &id]).int(), 1);
        assert!(client.receive().unwrap().is_nil());
        wait_until("the wait to end", WAIT, || {
            owner.info("blocked_clients") == "0"
        });
        for is_changed in [false, true] {
            client.call(&["SET", "world", "1"]).ok();
            client.call(&["WATCH", "world"]).ok();
            if is_changed {
                other.call(&["SET", "world", "2"]).ok();
            }
            client.call(&["MULTI"]).ok();
            client.call(&["INCR", "world"]);
            let ended = client.call(&["EXEC"]);
            assert_eq!(ended.is_nil(), is_changed, "{ended:?}");
        }
        client.call(&["MULTI"]).ok();
        client.call(&["INCR", "world"]);
        assert_eq!(client.call(&["EXEC"]).items()[0].int(), 3);
        owner.call(&["SCRIPT", "FLUSH"]).ok();
        let script = "return redis.call('incr', KEYS[1])";
        let sha = client.call(&["SCRIPT", "LOAD", script]).text();
        assert_eq!(client.call(&["EVALSHA", &sha, "1", "world"]).int(), 4);
        client.send(&["SSUBSCRIBE", "world"]).unwrap();
        assert_eq!(client.message(), ["ssubscribe", "world", "1"]);
        other.call(&["SPUBLISH", "world", "hello"]).int();
        assert_eq!(client.message(), ["smessage", "world", "hello"]);
        other.call(&["DEL", "world"]);
    }
    // The slot moves to the Redis node and away, with all that hangs on it.
    let mut client = cluster.nodes[0].client();
    let mut subscriber = cluster.nodes[0].client();
    subscriber.send(&["SSUBSCRIBE", "foo"]).unwrap();
    subscriber.message();
    client.send(&["BLPOP", "{foo}list", "0"]).unwrap();
    client.flush().unwrap();
    for (from, to) in [(2, 1), (1, 0), (0, 1), (1, 2)] {
        cluster.move_slot(key_slot(b"foo"), from, to);
        wait_until("the client to wait at the new owner", WAIT, || {
            let mut owner = cluster.nodes[to].client();
            owner.info("blocked_clients") == "1"
                && owner.call(&["PUBSUB", "SHARDNUMSUB", "foo"]).items()[1].int() == 1
        });
        let mut other = cluster.nodes[2].client();
        other.call(&["SPUBLISH", "foo", "moved"]).int();
        assert_eq!(subscriber.message(), ["smessage", "foo", "moved"]);
    }
    cluster.nodes[2]
        .client()
        .call(&["RPUSH", "{foo}list", "x"])
        .int();
    assert_eq!(client.receive().unwrap().items()[1].text(), "x");
}
