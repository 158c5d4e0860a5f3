//! EagleDB nodes form a cluster, and `redis-cli --cluster` manages it like any other.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use eagledb_tests::{Client, Cluster, Kind, Launch, RoutedClient, Shape, Writer, tool, wait_until};

fn fill(client: &mut RoutedClient, count: u32) {
    for index in 0..count {
        client
            .call(&["SET", &format!("key:{index}"), &format!("value:{index}")])
            .unwrap()
            .ok();
    }
}

fn check_filled(client: &mut RoutedClient, count: u32) {
    for index in 0..count {
        let value = client.call(&["GET", &format!("key:{index}")]).unwrap();
        assert_eq!(value.text(), format!("value:{index}"), "key:{index}");
    }
}

#[test]
fn create_check_info_and_call() {
    let cluster = Cluster::of(&[Kind::EagleDb; 3]);
    assert!(
        cluster
            .check()
            .contains("All nodes agree about slots configuration")
    );
    for index in 0..3 {
        let slots = cluster.slots_of(index);
        assert!(
            (5461..=5462).contains(&slots),
            "node {index} owns {slots} slots"
        );
    }
    fill(&mut cluster.client(), 100);
    let address = cluster.nodes[1].address();
    let info = tool::redis_cli(&["--cluster", "info", &address]).success();
    assert!(info.contains("[OK] 100 keys in 3 masters."), "{info}");
    let pings = tool::redis_cli(&["--cluster", "call", &address, "PING"]).success();
    assert_eq!(pings.matches("PONG").count(), 3, "{pings}");
}

#[test]
fn the_node_timeout_is_set_everywhere_and_kept() {
    let launches = vec![Launch::eagledb().config_file(""); 3];
    let cluster = Cluster::create(launches);
    let address = cluster.nodes[0].address();
    cluster.manage(&["set-timeout", &address, "2500"]).success();
    for node in &cluster.nodes {
        let set = node
            .client()
            .call(&["CONFIG", "GET", "cluster-node-timeout"]);
        assert_eq!(set.items()[1].text(), "2500");
        let file = std::fs::read_to_string(node.config_path()).unwrap();
        assert!(file.contains("\ncluster-node-timeout 2500\n"), "{file}");
    }
}

#[test]
fn reshard_and_rebalance_under_a_live_writer() {
    let mut cluster = Cluster::of(&[Kind::EagleDb; 3]);
    cluster.add_master(Launch::eagledb());
    cluster.while_writing(|| {
        cluster.reshard(0, 1, 1000);
        assert_eq!(cluster.slots_of(1), 6462);
        cluster
            .manage(&[
                "rebalance",
                &cluster.nodes[0].address(),
                "--cluster-use-empty-masters",
            ])
            .success();
        cluster.check();
    });
    for index in 0..4 {
        let slots = cluster.slots_of(index);
        assert!(
            (4014..=4178).contains(&slots),
            "node {index} owns {slots} slots, not about 4096"
        );
    }
}

#[test]
fn nodes_join_and_leave() {
    let mut cluster = Cluster::of(&[Kind::EagleDb; 3]);
    fill(&mut cluster.client(), 500);
    let new = cluster.add_master(Launch::eagledb());
    assert_eq!(cluster.slots_of(new), 0);
    cluster.reshard(0, new, 100);
    cluster.reshard(new, 2, 100);
    let id = cluster.id(new);
    cluster
        .manage(&["del-node", &cluster.nodes[0].address(), &id])
        .success();
    let left = cluster.nodes.pop().expect("the new node");
    cluster.wait_agreed();
    cluster.check();
    check_filled(&mut cluster.client(), 500);
    // A node that was told to leave forgets the others.
    assert_eq!(left.client().cluster_info("cluster_known_nodes"), "1");
}

#[test]
fn fix_closes_open_slots_and_covers_lost_ones() {
    let cluster = Cluster::of(&[Kind::EagleDb; 3]);
    fill(&mut cluster.client(), 300);
    let address = cluster.nodes[0].address();
    let [source, target] = [cluster.id(0), cluster.id(1)];
    let [mut from, mut to] = [cluster.nodes[0].client(), cluster.nodes[1].client()];
    // A migration that somebody left half done.
    to.call(&["CLUSTER", "SETSLOT", "42", "IMPORTING", &source])
        .ok();
    from.call(&["CLUSTER", "SETSLOT", "42", "MIGRATING", &target])
        .ok();
    let text = tool::redis_cli(&["--cluster", "check", &address]).failure();
    assert!(text.contains("42"), "{text}");
    cluster.manage(&["fix", &address]).success();
    cluster.check();
    // A slot that nobody owns.
    for node in &cluster.nodes {
        node.client().call(&["CLUSTER", "DELSLOTS", "100"]);
    }
    let refused = from.call(&["GET", "key-in-any-slot"]);
    assert!(
        refused.error().is_some(),
        "an incomplete cluster serves nothing by default: {refused:?}"
    );
    cluster
        .manage(&["fix", &address, "--cluster-fix-with-unreachable-masters"])
        .success();
    cluster.wait_agreed();
    cluster.check();
    check_filled(&mut cluster.client(), 300);
}

#[test]
fn import_from_a_standalone_redis() {
    let cluster = Cluster::of(&[Kind::EagleDb; 3]);
    let standalone = Launch::redis().start();
    let mut client = standalone.client();
    for index in 0..300 {
        client
            .call(&["SET", &format!("key:{index}"), &format!("value:{index}")])
            .ok();
    }
    client.call(&["HSET", "hash", "a", "1", "b", "2"]);
    client.call(&["SET", "short-lived", "x", "EX", "1000"]).ok();
    cluster
        .manage(&[
            "import",
            &cluster.nodes[0].address(),
            "--cluster-from",
            &standalone.address(),
        ])
        .success();
    let mut client = cluster.client();
    check_filled(&mut client, 300);
    assert_eq!(client.call(&["HGET", "hash", "b"]).unwrap().text(), "2");
    let ttl = client.call(&["TTL", "short-lived"]).unwrap().int();
    assert!((900..=1000).contains(&ttl), "{ttl}");
    assert_eq!(
        standalone.client().call(&["DBSIZE"]).int(),
        0,
        "import moves the keys"
    );

    // A copy leaves them where they are, and replaces only if it is told to.
    let mut source = standalone.client();
    source.call(&["SET", "key:0", "another"]).ok();
    source.call(&["RPUSH", "list", "a", "b", "c"]);
    source.call(&["SADD", "set", "1", "2", "x"]);
    source.call(&["ZADD", "zset", "1.5", "a", "2", "b"]);
    source.call(&["XADD", "stream", "1-1", "field", "value"]);
    let address = cluster.nodes[0].address();
    let from = standalone.address();
    let line = [
        "import",
        &address,
        "--cluster-from",
        &from,
        "--cluster-copy",
    ];
    let text = cluster.manage(&line).failure();
    assert!(text.contains("BUSYKEY"), "{text}");
    assert_eq!(client.call(&["GET", "key:0"]).unwrap().text(), "value:0");
    cluster
        .manage(&[&line[..], &["--cluster-replace"]].concat())
        .success();
    assert_eq!(client.call(&["GET", "key:0"]).unwrap().text(), "another");
    for read in [
        &["LRANGE", "list", "0", "-1"][..],
        &["SMISMEMBER", "set", "1", "x", "3"],
        &["ZRANGE", "zset", "0", "-1", "WITHSCORES"],
        &["XRANGE", "stream", "-", "+"],
    ] {
        assert_eq!(client.call(read).unwrap(), source.call(read), "{read:?}");
    }
    assert_eq!(source.call(&["DBSIZE"]).int(), 5, "a copy leaves the keys");
}

/// Two nodes say that a slot is theirs; keys of it lie on both.
#[test]
fn fix_settles_a_slot_with_two_owners() {
    let cluster = Cluster::of(&[Kind::EagleDb; 3]);
    // foo's slot is the third node's.
    let [mut second, mut third] = [1, 2].map(|index| cluster.nodes[index].client());
    third.call(&["SET", "foo", "there"]).ok();
    third.call(&["SET", "{foo}2", "there"]).ok();
    let second_id = cluster.id(1);
    second
        .call(&["CLUSTER", "SETSLOT", "12182", "NODE", &second_id])
        .ok();
    let address = cluster.nodes[0].address();
    let search = "--cluster-search-multiple-owners";
    let text = tool::redis_cli(&["--cluster", "check", &address, search]).failure();
    assert!(text.contains("12182"), "{text}");
    cluster.manage(&["fix", &address, search]).success();
    cluster.wait_agreed();
    cluster.check();
    let mut client = cluster.client();
    for key in ["foo", "{foo}2"] {
        assert_eq!(client.call(&["GET", key]).unwrap().text(), "there");
    }
}

/// `EAGLEDB_KILL_ROUNDS` asks for a longer run.
#[test]
fn a_killed_node_rejoins_with_its_slots_and_its_data() {
    let rounds = std::env::var("EAGLEDB_KILL_ROUNDS")
        .map_or(3, |text| text.parse().expect("a number of rounds"));
    let mut cluster = Cluster::of(&[Kind::EagleDb; 3]);
    let mut writers = [1, 2].map(|seed| Writer::new(&format!("w{seed}"), Shape::Single, seed));
    for round in 0..rounds {
        let victim = round % 3;
        let slots = cluster.slots_of(victim);
        let pool = cluster.nodes[victim].pool_path();
        let before: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
        let clients = [cluster.client(), cluster.client()];
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // The write in flight at the kill fails; what was acknowledged before is what counts.
            let runs: Vec<_> = writers
                .iter_mut()
                .zip(clients)
                .map(|(writer, mut client)| {
                    let stop = &stop;
                    scope.spawn(move || writer.run_routed(&mut client, stop))
                })
                .collect();
            std::thread::sleep(Duration::from_millis(300 + 37 * round as u64));
            cluster.nodes[victim].kill9();
            for run in runs {
                assert!(run.join().expect("replies as foretold").is_err());
            }
        });
        if let Some(pool) = pool {
            eagledb_tests::server::check_pool(&pool);
        }
        cluster.nodes[victim].start();
        cluster.wait_agreed();
        cluster.check();
        assert_eq!(cluster.slots_of(victim), slots);
        let mut client = cluster.client();
        for writer in &mut writers {
            writer.check(|args| client.call(args).unwrap());
        }
        let after: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
        println!(
            "round {round}: {} writes acknowledged and found",
            after - before
        );
        assert!(after > before, "round {round} wrote nothing");
    }
}

/// Redirections say the slot and the owner, in the words every client parses.
#[test]
fn redirections_and_refusals_have_the_exact_words() {
    let cluster = Cluster::of(&[Kind::EagleDb; 3]);
    // The slots of foo (12182) and bar (5061) belong to the third and the first node.
    let [mut first, mut third] = [0, 2].map(|index| cluster.nodes[index].client());
    let error = |client: &mut Client, args: &[&str]| client.call(args).error().unwrap_or_default();
    let address = cluster.nodes[2].address();
    assert_eq!(
        error(&mut first, &["GET", "foo"]),
        format!("MOVED 12182 {address}")
    );
    assert_eq!(
        error(&mut first, &["MGET", "bar", "foo"]),
        "CROSSSLOT Keys in request don't hash to the same slot"
    );
    assert_eq!(
        error(&mut first, &["SELECT", "1"]),
        "ERR SELECT is not allowed in cluster mode"
    );
    assert_eq!(
        error(&mut third, &["COPY", "foo", "{foo}2", "DB", "1"]),
        "ERR Copying to another database is not allowed in cluster mode"
    );

    let [first_id, third_id] = [0, 2].map(|index| cluster.id(index));
    third.call(&["SET", "foo", "here"]).ok();
    first
        .call(&["CLUSTER", "SETSLOT", "12182", "IMPORTING", &third_id])
        .ok();
    third
        .call(&["CLUSTER", "SETSLOT", "12182", "MIGRATING", &first_id])
        .ok();
    assert_eq!(third.call(&["GET", "foo"]).text(), "here");
    assert_eq!(
        error(&mut third, &["GET", "{foo}gone"]),
        format!("ASK 12182 {}", cluster.nodes[0].address())
    );
    assert_eq!(
        error(&mut third, &["MGET", "foo", "{foo}gone"]),
        "TRYAGAIN Multiple keys request during rehashing of slot"
    );
    assert_eq!(
        error(&mut first, &["GET", "foo"]),
        format!("MOVED 12182 {address}")
    );
    first.call(&["ASKING"]).ok();
    assert!(
        first.call(&["GET", "foo"]).is_nil(),
        "the importing node has no such key yet"
    );
    first.call(&["ASKING"]).ok();
    assert_eq!(
        error(&mut first, &["MGET", "foo", "{foo}gone"]),
        "TRYAGAIN Multiple keys request during rehashing of slot"
    );
}

/// Every node of a half-dead cluster refuses, and serves again when the dead half is back.
#[test]
fn a_cluster_without_quorum_is_down_and_recovers() {
    let mut cluster = Cluster::of(&[Kind::EagleDb; 3]);
    cluster.nodes[1].kill9();
    cluster.nodes[2].kill9();
    let mut client = cluster.nodes[0].client();
    wait_until(
        "the minority to stop serving",
        Duration::from_secs(15),
        || {
            client
                .call(&["GET", "bar"])
                .error()
                .is_some_and(|error| error == "CLUSTERDOWN The cluster is down")
        },
    );
    cluster.nodes[1].start();
    cluster.nodes[2].start();
    cluster.wait_agreed();
    assert!(client.call(&["GET", "bar"]).is_nil());
}
