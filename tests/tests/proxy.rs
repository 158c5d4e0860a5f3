//! `cluster-routing proxy`: any client may send any key to any node.

use std::time::{Duration, Instant};

use eagledb_tests::binary::workspace;
use eagledb_tests::routed::key_slot;
use eagledb_tests::{Client, Cluster, Launch, Reply, tool, wait_until};
use rustix::process::Signal;

/// How long what is awaited may take on a busy machine.
const WAIT: Duration = Duration::from_secs(15);

/// Longest time a command for a dead owner may take to be refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);

fn cluster() -> Cluster {
    Cluster::create(vec![
        Launch::eagledb().option("cluster-routing", "proxy");
        3
    ])
}

/// A key of each node: slots 5061, 9059 and 12182.
const KEYS_OF_ALL: [&str; 3] = ["bar", "world", "foo"];

#[test]
fn plain_redis_cli_reaches_every_key_through_every_node() {
    let cluster = cluster();
    for writer in &cluster.nodes {
        for key in KEYS_OF_ALL {
            let value = format!("{key} by {}", writer.port());
            assert_eq!(writer.cli(&["SET", key, &value]).success().trim(), "OK");
            for reader in &cluster.nodes {
                assert_eq!(reader.cli(&["GET", key]).success().trim(), value);
            }
        }
    }
}

#[test]
fn a_pipeline_is_answered_in_order() {
    let cluster = cluster();
    let mut client = cluster.nodes[0].client();
    let commands: Vec<Vec<String>> = (0..5000)
        .map(|index| match index % 5 {
            0 => format!("SET key:{index} {index}"),
            1 => format!("INCR key:{}", index - 1),
            2 => format!("ECHO {index}"),
            3 => format!("HSET key:{} field {index}", index - 3),
            _ => format!("GET key:{}", index - 4),
        })
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .collect();
    for (index, reply) in client.pipeline(&commands).iter().enumerate() {
        match index % 5 {
            0 => reply.ok(),
            1 => assert_eq!(reply.int(), index as i64),
            2 => assert_eq!(reply.text(), index.to_string()),
            3 => assert!(
                reply
                    .error()
                    .is_some_and(|error| error.starts_with("WRONGTYPE")),
                "{index}: {reply:?}"
            ),
            _ => assert_eq!(reply.text(), (index - 3).to_string()),
        }
    }
}

#[test]
fn commands_over_several_nodes_are_split_and_merged() {
    let cluster = cluster();
    let mut client = cluster.nodes[1].client();
    let keys: Vec<String> = (0..100).map(|index| format!("key:{index}")).collect();
    let line = |command: &str| [&[command.to_owned()], &keys[..]].concat();
    let pairs: Vec<String> = keys
        .iter()
        .flat_map(|key| [key.clone(), format!("value of {key}")])
        .collect();
    client
        .call(&[&["MSET".to_owned()], &pairs[..]].concat())
        .ok();
    let values = client.call(&line("MGET"));
    for (key, value) in keys.iter().zip(values.items()) {
        assert_eq!(value.text(), format!("value of {key}"));
    }
    assert_eq!(client.call(&line("EXISTS")).int(), 100);
    assert_eq!(client.call(&line("TOUCH")).int(), 100);
    assert_eq!(
        client
            .call(&["DEL", "key:0", "key:1", "key:2", "nothing", "key:0"])
            .int(),
        3
    );
    assert_eq!(client.call(&line("UNLINK")).int(), 97);
    assert!(client.call(&line("MGET")).items().iter().all(Reply::is_nil));
    // What cannot be split without losing its meaning is refused as by any cluster node.
    let refused = client.call(&["MSETNX", "foo", "1", "bar", "2"]);
    assert_eq!(
        refused.error().as_deref(),
        Some("CROSSSLOT Keys in request don't hash to the same slot")
    );
}

#[test]
fn the_protocol_version_is_carried() {
    let cluster = cluster();
    let mut client = cluster.nodes[0].client();
    for key in KEYS_OF_ALL {
        client.call(&["HSET", &format!("{{{key}}}:hash"), "field", "value"]);
    }
    client.call(&["HELLO", "3"]);
    for key in KEYS_OF_ALL {
        assert_eq!(client.call(&["GET", key]), Reply::Null, "{key}");
        let hash = client.call(&["HGETALL", &format!("{{{key}}}:hash")]);
        let field = (
            Reply::Bulk(b"field".to_vec()),
            Reply::Bulk(b"value".to_vec()),
        );
        assert_eq!(hash, Reply::Map(vec![field]), "{key}");
    }
    client.call(&["HELLO", "2"]);
    for key in KEYS_OF_ALL {
        assert_eq!(client.call(&["GET", key]), Reply::NilBulk, "{key}");
    }
}

/// The error of a reply; a panic if there is none.
#[track_caller]
fn error(reply: &Reply) -> String {
    reply
        .error()
        .unwrap_or_else(|| panic!("no error: {reply:?}"))
}

/// Whatever way a request takes.
#[test]
fn the_database_is_carried() {
    let launch = || Launch::eagledb().option("cluster-routing", "proxy");
    let launch = || launch().option("cluster-databases", "4");
    let cluster = Cluster::create(vec![launch(), launch(), launch()]);
    let mut client = cluster.nodes[0].client();
    for key in KEYS_OF_ALL {
        for db in ["0", "3"] {
            client.call(&["SELECT", db]).ok();
            client.call(&["SET", key, db]).ok();
        }
        for db in ["0", "3"] {
            client.call(&["SELECT", db]).ok();
            assert_eq!(client.call(&["GET", key]).text(), db);
            client.call(&["MULTI"]).ok();
            client.call(&["APPEND", key, "x"]);
            client.call(&["EXEC"]);
            assert_eq!(client.call(&["GET", key]).text(), format!("{db}x"));
            client.call(&["WATCH", key]).ok();
            client.call(&["SELECT", "0"]).ok();
            client.call(&["SET", key, "other"]).ok();
            client.call(&["MULTI"]).ok();
            client.call(&["SET", key, "0x"]);
            assert_eq!(client.call(&["EXEC"]).is_nil(), db == "0");
            client.call(&["SET", key, "0x"]).ok();
            client.call(&["SELECT", db]).ok();
            assert_eq!(client.call(&["GET", key]).text(), format!("{db}x"));
            client.call(&["DEL", key]).int();
            client.call(&["RPUSH", key, db]).int();
            assert_eq!(client.call(&["BLPOP", key, "1"]).items()[1].text(), db);
        }
    }
    let values = client.call(&["MGET", "foo", "bar", "world"]);
    assert!(values.items().iter().all(Reply::is_nil));
}

#[test]
fn transactions_over_nodes_get_a_clear_error() {
    let cluster = cluster();
    let mut client = cluster.nodes[0].client();
    for keys in [["bar", "foo"], ["foo", "bar"], ["foo", "world"]] {
        client.call(&["MULTI"]).ok();
        assert_eq!(client.call(&["SET", keys[0], "1"]).text(), "QUEUED");
        let refused = error(&client.call(&["SET", keys[1], "1"]));
        assert!(
            refused.starts_with("CROSSSLOT cluster-routing proxy: "),
            "{refused}"
        );
        let ended = error(&client.call(&["EXEC"]));
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
        assert!(error(&replies.items()[1]).starts_with("WRONGTYPE "));
        assert_eq!(client.call(&["GET", key]).text(), "3");
    }
    // What a node refuses when a command is queued it refuses here as well.
    client.call(&["MULTI"]).ok();
    let refused = error(&client.call(&["GET", "foo", "bar"]));
    assert_eq!(refused, "ERR wrong number of arguments for 'get' command");
    assert_eq!(
        error(&client.call(&["NOSUCH"])).split(',').next(),
        Some("ERR unknown command 'NOSUCH'")
    );
    client.call(&["DISCARD"]).ok();
}

/// WATCH holds to what it says, whoever changes the key and wherever that is said.
#[test]
fn watched_keys_may_be_at_another_node() {
    let cluster = cluster();
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
        let text = error(&reply);
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
    assert_eq!(
        error(&client.call(&["WATCH", "foo"])),
        "ERR WATCH inside MULTI is not allowed"
    );
    apart(client.call(&["SET", "foo", "1"]));
    client.call(&["DISCARD"]).ok();
    // The node where the keys are watched goes away.
    client.call(&["WATCH", "foo"]).ok();
    let killed = others[2].call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    assert!(killed.int() > 0);
    let ended = error(&transaction(&mut client, "lost"));
    assert!(ended.contains("forwarding to"), "{ended}");
    assert_ne!(client.call(&["GET", "foo"]).text(), "lost");
}

/// Clients of node 0, blocked on a key of node 2.
#[test]
fn blocked_clients_wait_at_the_owner() {
    let mut cluster = cluster();
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
                        error(&reply),
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
    let refused = error(&waiting[2].call(&["BLPOP", "foo", "0"]));
    assert!(
        refused.contains("cluster-proxy-dedicated-connections"),
        "{refused}"
    );
    // The owner's end.
    cluster.nodes[2].kill9();
    let ended = error(&waiting[0].receive().unwrap());
    assert!(ended.contains("forwarding to"), "{ended}");
    waiting[0].call(&["PING"]);
}

/// A node that is there and says nothing: the wait ends once the others agree that it has failed.
#[test]
fn a_wait_ends_with_an_owner_that_is_silent() {
    let cluster = cluster();
    let mut near = cluster.nodes[0].client();
    let mut waiting = cluster.nodes[0].client();
    waiting.send(&["BLPOP", "foo", "0"]).unwrap();
    waiting.flush().unwrap();
    wait_until("the client to block", WAIT, || {
        near.info("blocked_clients") == "1"
    });
    cluster.nodes[2].signal(Signal::STOP);
    let ended = error(&waiting.receive_within(Duration::from_secs(20)).unwrap());
    assert!(ended.starts_with("CLUSTERDOWN "), "{ended}");
    cluster.nodes[2].signal(Signal::CONT);
}

/// Slots move away from under blocked clients and transactions, of this node and of others.
#[test]
fn blocked_clients_and_transactions_follow_a_reshard() {
    let cluster = cluster();
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
            move_slot(&cluster, slot, from, to);
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

/// Moves one slot with all of its keys, as `redis-cli --cluster reshard` does.
fn move_slot(cluster: &Cluster, slot: u16, from: usize, to: usize) {
    let text = slot.to_string();
    let (from_id, to_id) = (cluster.id(from), cluster.id(to));
    let mut source = cluster.nodes[from].client();
    let mut target = cluster.nodes[to].client();
    let port = cluster.nodes[to].port().to_string();
    target
        .call(&["CLUSTER", "SETSLOT", &text, "IMPORTING", &from_id])
        .ok();
    source
        .call(&["CLUSTER", "SETSLOT", &text, "MIGRATING", &to_id])
        .ok();
    loop {
        let keys = source.call(&["CLUSTER", "GETKEYSINSLOT", &text, "1"]);
        let Some(key) = keys.items().first() else {
            break;
        };
        source
            .call(&["MIGRATE", "127.0.0.1", &port, &key.text(), "0", "5000"])
            .ok();
        std::thread::sleep(Duration::from_millis(20));
    }
    for client in [&mut target, &mut source] {
        client
            .call(&["CLUSTER", "SETSLOT", &text, "NODE", &to_id])
            .ok();
    }
    for node in &cluster.nodes {
        let mut client = node.client();
        client
            .call(&["CLUSTER", "SETSLOT", &text, "NODE", &to_id])
            .ok();
    }
}

#[test]
fn scripts_run_where_their_keys_are() {
    let cluster = cluster();
    let mut client = cluster.nodes[0].client();
    let sha = client
        .call(&["SCRIPT", "LOAD", "return redis.call('incr', KEYS[1])"])
        .text();
    let evalsha = |key: &str| {
        vec![
            "EVALSHA".to_owned(),
            sha.clone(),
            "1".to_owned(),
            key.to_owned(),
        ]
    };
    for (index, key) in KEYS_OF_ALL.iter().enumerate() {
        // In a pipeline, with commands that depend on it.
        let get = vec!["GET".to_owned(), (*key).to_owned()];
        let commands: Vec<_> = (0..100).flat_map(|_| [evalsha(key), get.clone()]).collect();
        for (number, replies) in client.pipeline(&commands).chunks(2).enumerate() {
            assert_eq!(replies[0].int(), number as i64 + 1, "{key}");
            assert_eq!(replies[1].text(), (number + 1).to_string(), "{key}");
        }
        if index == 0 {
            continue;
        }
        // The owner forgets its scripts.
        cluster.nodes[index]
            .client()
            .call(&["SCRIPT", "FLUSH"])
            .ok();
        assert_eq!(client.call(&evalsha(key)).int(), 101);
        cluster.nodes[index]
            .client()
            .call(&["SCRIPT", "FLUSH"])
            .ok();
        client.call(&["MULTI"]).ok();
        client.call(&evalsha(key));
        assert_eq!(client.call(&["EXEC"]).items()[0].int(), 102);
    }
    // One that nobody knows.
    let unknown = "0".repeat(40);
    let refused = error(&client.call(&["EVALSHA", &unknown, "1", "foo"]));
    assert!(refused.starts_with("NOSCRIPT "), "{refused}");
    assert_eq!(client.call(&["EVAL", "return 7", "0"]).int(), 7);
    let refused = error(&client.call(&["EVAL", "return 7", "2", "foo", "bar"]));
    assert!(refused.starts_with("CROSSSLOT "), "{refused}");
}

/// A user's rules are checked at the node that the user is connected to. What a script may do only the node that runs it
/// could tell.
#[test]
fn rules_of_users_hold_for_what_is_forwarded() {
    let cluster = cluster();
    let mut admin = cluster.nodes[0].client();
    let rules = ["~foo*", "+@all", "-incr", "&foo*", "on", ">pw"];
    admin
        .call(&[&["ACL", "SETUSER", "limited"], &rules[..]].concat())
        .ok();
    let mut client = cluster.nodes[0].client();
    client.call(&["AUTH", "limited", "pw"]).ok();
    client.call(&["SET", "foo", "1"]).ok();
    for line in [
        "GET world",
        "INCR foo",
        "BLPOP world 0",
        "WATCH world",
        "SSUBSCRIBE world",
        "SPUBLISH world x",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let refused = error(&client.call(&words));
        assert!(refused.starts_with("NOPERM "), "{line}: {refused}");
    }
    client.call(&["MULTI"]).ok();
    assert!(error(&client.call(&["INCR", "foo"])).starts_with("NOPERM "));
    assert!(error(&client.call(&["EXEC"])).starts_with("EXECABORT "));
    let script = "return redis.call('incr', KEYS[1])";
    let refused = error(&client.call(&["EVAL", script, "1", "foo"]));
    assert!(refused.contains("restricted permissions"), "{refused}");
    client.call(&["MULTI"]).ok();
    let refused = error(&client.call(&["EVAL", script, "1", "foo"]));
    assert!(refused.contains("restricted permissions"), "{refused}");
    assert!(error(&client.call(&["EXEC"])).starts_with("EXECABORT "));
    // Rules that change between queueing and EXEC.
    client.call(&["MULTI"]).ok();
    assert_eq!(client.call(&["SET", "foo", "2"]).text(), "QUEUED");
    admin.call(&["ACL", "SETUSER", "limited", "-set"]).ok();
    let ended = error(&client.call(&["EXEC"]));
    assert!(
        ended.starts_with("EXECABORT ") && ended.contains("NOPERM"),
        "{ended}"
    );
    assert_eq!(admin.call(&["GET", "foo"]).text(), "1");
}

/// A client that caches keys would not hear that a key of another node has changed.
#[test]
fn reads_are_not_forwarded_while_they_are_tracked() {
    let cluster = cluster();
    let mut client = cluster.nodes[0].client();
    client.call(&["HELLO", "3"]);
    let get = ["GET", "foo"];
    for (options, is_refused) in [
        (&[][..], true),
        (&["BCAST"][..], true),
        (&["OPTIN"][..], false),
        (&["OPTOUT"][..], true),
    ] {
        client
            .call(&[&["CLIENT", "TRACKING", "ON"], options].concat())
            .ok();
        let reply = client.call(&get);
        if is_refused {
            assert!(
                error(&reply).contains("while CLIENT TRACKING is on"),
                "{options:?}: {reply:?}"
            );
            client.call(&["MULTI"]).ok();
            assert!(error(&client.call(&get)).contains("while CLIENT TRACKING is on"));
            client.call(&["DISCARD"]).ok();
        } else {
            assert!(reply.is_nil());
        }
        match options {
            ["OPTIN"] => {
                client.call(&["CLIENT", "CACHING", "YES"]).ok();
                assert!(error(&client.call(&get)).contains("while CLIENT TRACKING is on"));
            }
            ["OPTOUT"] => {
                client.call(&["CLIENT", "CACHING", "NO"]).ok();
                assert!(client.call(&get).is_nil());
            }
            _ => {}
        }
        assert!(
            client.call(&["GET", "bar"]).is_nil(),
            "its own keys are tracked"
        );
        client.call(&["SETNX", "foo", "1"]).int();
        client.call(&["DEL", "foo"]).int();
        client.call(&["CLIENT", "TRACKING", "OFF"]).ok();
    }
}

/// What a subscriber gets next: the words, as texts.
#[track_caller]
fn message(client: &mut Client) -> Vec<String> {
    let text = |reply: &Reply| match reply {
        Reply::Int(number) => number.to_string(),
        other => other.text(),
    };
    match client.receive().expect("a message") {
        Reply::Array(items) | Reply::Push(items) => items.iter().map(text).collect(),
        other => panic!("no message: {other:?}"),
    }
}

#[test]
fn shard_channels_of_all_nodes_are_heard_at_one() {
    let cluster = cluster();
    let mut publishers: Vec<Client> = cluster.nodes.iter().map(|node| node.client()).collect();
    for protocol in ["2", "3"] {
        let mut first = cluster.nodes[0].client();
        let mut second = cluster.nodes[0].client();
        for client in [&mut first, &mut second] {
            client.call(&["HELLO", protocol]);
            client
                .send(&[&["SSUBSCRIBE"], &KEYS_OF_ALL[..]].concat())
                .unwrap();
            for (index, channel) in KEYS_OF_ALL.iter().enumerate() {
                let due = ["ssubscribe", channel, &(index + 1).to_string()];
                assert_eq!(message(client), due);
            }
        }
        for (index, publisher) in publishers.iter_mut().enumerate() {
            for channel in KEYS_OF_ALL {
                let text = format!("{channel} by {index}");
                assert!(publisher.call(&["SPUBLISH", channel, &text]).int() >= 1);
                for client in [&mut first, &mut second] {
                    assert_eq!(message(client), ["smessage", channel, &text]);
                }
            }
        }
        first.send(&["SUNSUBSCRIBE", "foo"]).unwrap();
        assert_eq!(message(&mut first), ["sunsubscribe", "foo", "2"]);
        publishers[1].call(&["SPUBLISH", "foo", "left"]).int();
        assert_eq!(message(&mut second), ["smessage", "foo", "left"]);
        publishers[1].call(&["SPUBLISH", "bar", "kept"]).int();
        for client in [&mut first, &mut second] {
            assert_eq!(message(client), ["smessage", "bar", "kept"]);
        }
        drop((first, second));
        // Nobody is left, so nothing is listened to.
        wait_until("the owner to have no listener", WAIT, || {
            let listeners = cluster.nodes[2]
                .client()
                .call(&["PUBSUB", "SHARDNUMSUB", "foo"]);
            listeners.items()[1].int() == 0
        });
    }
}

#[test]
fn shard_channels_are_followed_when_their_slot_moves() {
    let mut cluster = cluster();
    let slot = key_slot(b"foo");
    let mut listening: Vec<Client> = cluster.nodes.iter().map(|node| node.client()).collect();
    for client in &mut listening {
        client.send(&["SSUBSCRIBE", "foo"]).unwrap();
        assert_eq!(message(client), ["ssubscribe", "foo", "1"]);
    }
    for (from, to) in [(2, 0), (0, 1), (1, 2)] {
        move_slot(&cluster, slot, from, to);
        // All listen at the new owner: its own client, and one relay for each other node.
        wait_until("all to listen at the new owner", WAIT, || {
            let mut owner = cluster.nodes[to].client();
            let listeners = owner.call(&["PUBSUB", "SHARDNUMSUB", "foo"]);
            listeners.items()[1].int() == 3
        });
        cluster.nodes[from]
            .client()
            .call(&["SPUBLISH", "foo", "moved"])
            .int();
        for client in &mut listening {
            assert_eq!(message(client), ["smessage", "foo", "moved"]);
        }
    }
    // The owner dies: subscribers are told as if the slot had left them.
    for node in &cluster.nodes {
        let mut client = node.client();
        client
            .call(&["CONFIG", "SET", "cluster-require-full-coverage", "no"])
            .ok();
    }
    cluster.nodes[2].kill9();
    for client in &mut listening[..2] {
        assert_eq!(message(client), ["sunsubscribe", "foo", "0"]);
    }
}

/// A client that redirects for itself is told when its slot leaves, as 7.0.15 does.
#[test]
fn who_subscribed_without_forwarding_is_told_that_the_slot_has_left() {
    let cluster = cluster();
    let mut client = cluster.nodes[2].client();
    client.call(&["CLIENT", "ROUTING", "REDIRECT"]).ok();
    client.send(&["SSUBSCRIBE", "foo"]).unwrap();
    assert_eq!(message(&mut client), ["ssubscribe", "foo", "1"]);
    move_slot(&cluster, key_slot(b"foo"), 2, 0);
    assert_eq!(message(&mut client), ["sunsubscribe", "foo", "0"]);
}

#[test]
fn migrate_goes_to_the_node_that_has_the_key() {
    let cluster = cluster();
    let target = Launch::redis().start();
    let mut client = cluster.nodes[0].client();
    client.call(&["SET", "foo", "1"]).ok();
    let port = target.port().to_string();
    client
        .call(&["MIGRATE", "127.0.0.1", &port, "foo", "0", "1000"])
        .ok();
    assert_eq!(target.client().call(&["GET", "foo"]).text(), "1");
    assert_eq!(client.call(&["EXISTS", "foo"]).int(), 0);
}

#[test]
fn a_reshard_is_invisible() {
    let cluster = cluster();
    let redirects = cluster.while_writing(|| {
        cluster.reshard(0, 1, 500);
        cluster.reshard(2, 0, 500);
    });
    assert_eq!(redirects, 0, "every redirection is followed inside");
}

/// The same with what takes more than one request or more than a moment, and clients that know nothing of clusters.
#[test]
fn a_reshard_is_invisible_to_redis_py_and_redis_cli() {
    let cluster = cluster();
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
            move_slot(&cluster, slot, from, (from + 1) % 3);
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

#[test]
fn a_dead_owner_is_refused_in_bounded_time() {
    let mut cluster = cluster();
    for node in &cluster.nodes {
        node.client()
            .call(&["CONFIG", "SET", "cluster-require-full-coverage", "no"])
            .ok();
    }
    let mut client = cluster.nodes[0].client();
    client.call(&["SET", "foo", "1"]).ok();
    cluster.nodes[2].kill9();
    let asked = Instant::now();
    let refused = client.call(&["GET", "foo"]);
    assert!(refused.error().is_some(), "{refused:?}");
    assert!(
        asked.elapsed() < REFUSAL_TIMEOUT,
        "refused after {:?}",
        asked.elapsed()
    );
    assert!(
        client.call(&["GET", "bar"]).is_nil(),
        "the other nodes still serve"
    );
    cluster.nodes[2].start();
    cluster.wait_agreed();
    assert_eq!(
        client.call(&["GET", "foo"]).text(),
        "1",
        "the pooled connection is made anew"
    );
}

#[test]
fn redis_benchmark_needs_no_cluster_mode() {
    let cluster = cluster();
    let port = cluster.nodes[0].port().to_string();
    let line = [
        "-p",
        &port,
        "-t",
        "set,get,incr,hset",
        "-n",
        "5000",
        "-r",
        "1000",
        "-c",
        "20",
        "-P",
        "4",
        "-q",
    ];
    let text = tool::run("redis-benchmark", &line, "", Duration::from_secs(60)).success();
    assert!(!text.contains("rror"), "{text}");
    assert_eq!(text.matches("requests per second").count(), 4, "{text}");
    let spread: Vec<i64> = cluster
        .nodes
        .iter()
        .map(|node| node.client().call(&["DBSIZE"]).int())
        .collect();
    assert!(
        spread.iter().all(|&keys| keys > 100),
        "keys per node: {spread:?}"
    );
}

/// A slot half moved: keys are found wherever they are, one by one or many at once.
#[test]
fn keys_of_a_slot_in_motion_are_found_on_either_side() {
    let cluster = cluster();
    let (from, to) = (&cluster.nodes[2], &cluster.nodes[0]);
    let keys: Vec<String> = (0..20).map(|index| format!("{{foo}}{index}")).collect();
    let mut clients: Vec<Client> = cluster.nodes.iter().map(|node| node.client()).collect();
    for key in &keys {
        clients[1].call(&["SET", key, key]).ok();
    }
    let slot = key_slot(b"foo").to_string();
    let (from_id, to_id) = (cluster.id(2), cluster.id(0));
    let set_slot = |client: &mut Client, state: &str, id: &str| {
        client.call(&["CLUSTER", "SETSLOT", &slot, state, id]).ok();
    };
    set_slot(&mut to.client(), "IMPORTING", &from_id);
    set_slot(&mut from.client(), "MIGRATING", &to_id);
    let port = to.port().to_string();
    let (gone, here) = keys.split_at(10);
    for key in gone {
        from.client()
            .call(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"])
            .ok();
    }
    for (index, client) in clients.iter_mut().enumerate() {
        for key in &keys {
            assert_eq!(client.call(&["GET", key]).text(), *key, "node {index}");
        }
        let new = format!("{{foo}}new{index}");
        client.call(&["SET", &new, "1"]).ok();
        assert_eq!(client.call(&["INCR", &new]).int(), 2);
    }
    // The node that gives the slot away sees which keys are gone, and asks for each where it is.
    let line = |command: &str| [&[command.to_owned()], &keys[..]].concat();
    let values = clients[2].call(&line("MGET"));
    let found: Vec<String> = values.items().iter().map(Reply::text).collect();
    assert_eq!(found, keys);
    assert_eq!(clients[2].call(&line("EXISTS")).int(), 20);
    for key in here {
        from.client()
            .call(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"])
            .ok();
    }
    for node in [to, from, &cluster.nodes[1]] {
        set_slot(&mut node.client(), "NODE", &to_id);
    }
    for client in &mut clients {
        assert_eq!(client.call(&line("EXISTS")).int(), 20);
    }
}

/// A Redis node as the owner needs to know nothing of forwarding.
#[test]
fn a_redis_node_is_forwarded_to() {
    let proxy = || Launch::eagledb().option("cluster-routing", "proxy");
    let cluster = Cluster::create(vec![proxy(), Launch::redis(), proxy()]);
    let mut client = cluster.nodes[0].client();
    for protocol in ["2", "3"] {
        client.call(&["HELLO", protocol]);
        let pairs = ["foo", "1", "bar", "2", "world", "3"];
        client.call(&[&["MSET"], &pairs[..]].concat()).ok();
        for key in KEYS_OF_ALL {
            client.call(&["INCR", key]).int();
        }
        let values = client.call(&["MGET", "foo", "bar", "world"]);
        let values: Vec<String> = values.items().iter().map(Reply::text).collect();
        assert_eq!(values, ["2", "3", "4"]);
    }
    assert_eq!(
        cluster.nodes[1].client().call(&["GET", "world"]).text(),
        "4"
    );
    assert_eq!(client.call(&["DEL", "foo", "bar", "world"]).int(), 3);
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
        assert_eq!(message(&mut client), ["ssubscribe", "world", "1"]);
        other.call(&["SPUBLISH", "world", "hello"]).int();
        assert_eq!(message(&mut client), ["smessage", "world", "hello"]);
        other.call(&["DEL", "world"]);
    }
    // The slot moves to the Redis node and away, with all that hangs on it.
    let mut client = cluster.nodes[0].client();
    let mut subscriber = cluster.nodes[0].client();
    subscriber.send(&["SSUBSCRIBE", "foo"]).unwrap();
    message(&mut subscriber);
    client.send(&["BLPOP", "{foo}list", "0"]).unwrap();
    client.flush().unwrap();
    for (from, to) in [(2, 1), (1, 0), (0, 1), (1, 2)] {
        move_slot(&cluster, key_slot(b"foo"), from, to);
        wait_until("the client to wait at the new owner", WAIT, || {
            let mut owner = cluster.nodes[to].client();
            owner.info("blocked_clients") == "1"
                && owner.call(&["PUBSUB", "SHARDNUMSUB", "foo"]).items()[1].int() == 1
        });
        let mut other = cluster.nodes[2].client();
        other.call(&["SPUBLISH", "foo", "moved"]).int();
        assert_eq!(message(&mut subscriber), ["smessage", "foo", "moved"]);
    }
    cluster.nodes[2]
        .client()
        .call(&["RPUSH", "{foo}list", "x"])
        .int();
    assert_eq!(client.receive().unwrap().items()[1].text(), "x");
}

/// Each connection may choose for itself.
#[test]
fn a_connection_chooses_its_routing() {
    let cluster = cluster();
    let mut client = cluster.nodes[0].client();
    client.call(&["CLIENT", "ROUTING", "REDIRECT"]).ok();
    for line in [
        "GET foo",
        "BLPOP foo 0",
        "WATCH foo",
        "SSUBSCRIBE foo",
        "EVAL x 1 foo",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let moved = error(&client.call(&words));
        assert!(moved.starts_with("MOVED 12182 "), "{line}: {moved}");
    }
    client.call(&["CLIENT", "ROUTING", "PROXY"]).ok();
    assert!(client.call(&["GET", "foo"]).is_nil());
}

/// Redirections stay the default.
#[test]
fn without_the_option_a_node_redirects() {
    let cluster = Cluster::create(vec![Launch::eagledb(); 3]);
    let error = |client: &mut Client, key| client.call(&["GET", key]).error();
    let expected = format!("MOVED 12182 {}", cluster.nodes[2].address());
    assert_eq!(error(&mut cluster.nodes[0].client(), "foo"), Some(expected));
}
