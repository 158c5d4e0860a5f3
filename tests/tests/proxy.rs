//! `cluster-routing proxy`: any client may send any key to any node.

use std::time::{Duration, Instant};

use eagledb_tests::routed::key_slot;
use eagledb_tests::{Client, Cluster, KEYS_OF_ALL, Launch, Reply, tool};

/// Longest time a command for a dead owner may take to be refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn plain_redis_cli_reaches_every_key_through_every_node() {
    let cluster = Cluster::forwarding();
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
    let cluster = Cluster::forwarding();
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
    let cluster = Cluster::forwarding();
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
    let cluster = Cluster::forwarding();
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
fn scripts_run_where_their_keys_are() {
    let cluster = Cluster::forwarding();
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
    let refused = client
        .call(&["EVALSHA", &unknown, "1", "foo"])
        .expect_error();
    assert!(refused.starts_with("NOSCRIPT "), "{refused}");
    assert_eq!(client.call(&["EVAL", "return 7", "0"]).int(), 7);
    let refused = client
        .call(&["EVAL", "return 7", "2", "foo", "bar"])
        .expect_error();
    assert!(refused.starts_with("CROSSSLOT "), "{refused}");
}

/// A user's rules are checked at the node that the user is connected to. What a script may do only the node that runs it
/// could tell.
#[test]
fn rules_of_users_hold_for_what_is_forwarded() {
    let cluster = Cluster::forwarding();
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
        let refused = client.call(&words).expect_error();
        assert!(refused.starts_with("NOPERM "), "{line}: {refused}");
    }
    client.call(&["MULTI"]).ok();
    assert!(
        client
            .call(&["INCR", "foo"])
            .expect_error()
            .starts_with("NOPERM ")
    );
    assert!(
        client
            .call(&["EXEC"])
            .expect_error()
            .starts_with("EXECABORT ")
    );
    let script = "return redis.call('incr', KEYS[1])";
    let refused = client.call(&["EVAL", script, "1", "foo"]).expect_error();
    assert!(refused.contains("restricted permissions"), "{refused}");
    client.call(&["MULTI"]).ok();
    let refused = client.call(&["EVAL", script, "1", "foo"]).expect_error();
    assert!(refused.contains("restricted permissions"), "{refused}");
    assert!(
        client
            .call(&["EXEC"])
            .expect_error()
            .starts_with("EXECABORT ")
    );
    // Rules that change between queueing and EXEC.
    client.call(&["MULTI"]).ok();
    assert_eq!(client.call(&["SET", "foo", "2"]).text(), "QUEUED");
    admin.call(&["ACL", "SETUSER", "limited", "-set"]).ok();
    let ended = client.call(&["EXEC"]).expect_error();
    assert!(
        ended.starts_with("EXECABORT ") && ended.contains("NOPERM"),
        "{ended}"
    );
    assert_eq!(admin.call(&["GET", "foo"]).text(), "1");
}

/// A client that caches keys would not hear that a key of another node has changed.
#[test]
fn reads_are_not_forwarded_while_they_are_tracked() {
    let cluster = Cluster::forwarding();
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
                reply.expect_error().contains("while CLIENT TRACKING is on"),
                "{options:?}: {reply:?}"
            );
            client.call(&["MULTI"]).ok();
            assert!(
                client
                    .call(&get)
                    .expect_error()
                    .contains("while CLIENT TRACKING is on")
            );
            client.call(&["DISCARD"]).ok();
        } else {
            assert!(reply.is_nil());
        }
        match options {
            ["OPTIN"] => {
                client.call(&["CLIENT", "CACHING", "YES"]).ok();
                assert!(
                    client
                        .call(&get)
                        .expect_error()
                        .contains("while CLIENT TRACKING is on")
                );
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

#[test]
fn migrate_goes_to_the_node_that_has_the_key() {
    let cluster = Cluster::forwarding();
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
    let cluster = Cluster::forwarding();
    let redirects = cluster.while_writing(|| {
        cluster.reshard(0, 1, 500);
        cluster.reshard(2, 0, 500);
    });
    assert_eq!(redirects, 0, "every redirection is followed inside");
}

#[test]
fn a_dead_owner_is_refused_in_bounded_time() {
    let mut cluster = Cluster::forwarding();
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
    let cluster = Cluster::forwarding();
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
    let cluster = Cluster::forwarding();
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

/// Each connection may choose for itself.
#[test]
fn a_connection_chooses_its_routing() {
    let cluster = Cluster::forwarding();
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
        let moved = client.call(&words).expect_error();
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
