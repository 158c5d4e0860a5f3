//! What later versions brought to clusters, over several nodes: CLUSTERSCAN, several databases, SLOT-STATS.

use std::collections::BTreeSet;

use eagledb_tests::{Client, Cluster, Kind, Launch, Reply, wait_until};
use std::time::Duration;

/// Walks the whole cluster, beginning at node 0 and going where it is sent; `meanwhile` is called after each page.
fn scan_all(
    cluster: &Cluster,
    options: &[&str],
    mut meanwhile: impl FnMut(usize),
) -> BTreeSet<String> {
    let mut clients: Vec<Client> = cluster.nodes.iter().map(|node| node.client()).collect();
    let (mut at, mut cursor, mut found) = (0, "0".to_owned(), BTreeSet::new());
    for page in 0..100_000 {
        let reply = clients[at].call(&[&["CLUSTERSCAN", &cursor], options].concat());
        if let Some(error) = reply.error() {
            let port = error.rsplit(':').next().expect("an address");
            assert!(error.starts_with("MOVED "), "{cursor}: {error}");
            at = cluster
                .nodes
                .iter()
                .position(|node| node.port().to_string() == port)
                .expect("one of the nodes");
            continue;
        }
        let [next, keys] = reply.items() else {
            panic!("not a page: {reply:?}");
        };
        found.extend(keys.items().iter().map(Reply::text));
        cursor = next.text();
        meanwhile(page);
        if cursor == "0" {
            return found;
        }
    }
    panic!("the walk does not end");
}

#[test]
fn clusterscan_finds_every_key_of_every_node() {
    let cluster = Cluster::of(&[Kind::EagleDb; 3]);
    let mut client = cluster.client();
    let mut keys = BTreeSet::new();
    for number in 0..600 {
        // Some slots have many keys.
        let key = match number % 3 {
            0 => format!("key:{number}"),
            1 => format!("{{a}}:{number}"),
            _ => format!("{{b}}:{number}"),
        };
        client.call(&["SET", &key, "v"]).expect("the owner").ok();
        keys.insert(key);
    }
    assert_eq!(scan_all(&cluster, &[], |_| ()), keys);
    assert_eq!(scan_all(&cluster, &["COUNT", "1"], |_| ()), keys);
    let tagged = scan_all(&cluster, &["MATCH", "{a}*", "COUNT", "7"], |_| ());
    assert_eq!(tagged.len(), 200);
    // Slots change hands while the walk is under way.
    let walked = scan_all(&cluster, &["COUNT", "5"], |page| match page {
        20 => cluster.reshard(0, 1, 100),
        60 => cluster.reshard(1, 0, 200),
        _ => {}
    });
    assert_eq!(walked, keys);
}

#[test]
fn keys_of_all_databases_move_with_their_slot() {
    let launch = || Launch::eagledb().option("cluster-databases", "8");
    let cluster = Cluster::create(vec![launch(), launch(), launch()]);
    let slot_of = |client: &mut Client| client.call(&["CLUSTER", "KEYSLOT", "{x}"]).int();
    let slot = slot_of(&mut cluster.nodes[0].client()).to_string();
    let from = (0..3)
        .find(|node| {
            let reply = cluster.nodes[*node].client().call(&["GET", "{x}"]);
            reply.error().is_none()
        })
        .expect("somebody serves the slot");
    let to = (from + 1) % 3;
    let (mut source, mut target) = (cluster.nodes[from].client(), cluster.nodes[to].client());
    let (source_id, target_id) = (cluster.id(from), cluster.id(to));
    for db in ["0", "5"] {
        source.call(&["SELECT", db]).ok();
        source.call(&["SET", "{x}", db]).ok();
        source.call(&["HSET", "{x}h", "f", db]);
    }
    target
        .call(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id])
        .ok();
    source
        .call(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id])
        .ok();
    let port = cluster.nodes[to].port().to_string();
    for db in ["0", "5"] {
        source.call(&["SELECT", db]).ok();
        let migrate = ["MIGRATE", "127.0.0.1", &port, "", db, "5000", "KEYS"];
        source.call(&[&migrate[..], &["{x}", "{x}h"]].concat()).ok();
        let error = source.call(&["GET", "{x}"]).error().expect("it has left");
        assert!(error.starts_with("ASK "), "{error}");
        if db == "0" {
            // The slot is not empty as long as one database has keys of it.
            let node = ["CLUSTER", "SETSLOT", &slot, "NODE", &target_id];
            let error = source.call(&node).error().expect("keys are left");
            assert!(error.contains("while I still hold keys"), "{error}");
        }
    }
    for client in [&mut target, &mut source] {
        client
            .call(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id])
            .ok();
    }
    for db in ["0", "5"] {
        target.call(&["SELECT", db]).ok();
        assert_eq!(target.call(&["GET", "{x}"]).text(), db);
        assert_eq!(target.call(&["HGET", "{x}h", "f"]).text(), db);
    }
    assert_eq!(source.call(&["DBSIZE"]).int(), 0);
}

#[test]
fn slots_are_counted_while_that_is_asked_for() {
    let node = Launch::eagledb()
        .option("cluster-slot-stats-enabled", "yes")
        .start_alone();
    let mut client = node.client();
    let slot = client
        .call(&["CLUSTER", "KEYSLOT", "key"])
        .int()
        .to_string();
    let mut watcher = node.client();
    let mut stats = move || -> Vec<i64> {
        let reply = watcher.call(&["CLUSTER", "SLOT-STATS", "SLOTSRANGE", &slot, &slot]);
        let pairs = reply.items()[0].items()[1].items().to_vec();
        pairs.chunks(2).map(|pair| pair[1].int()).collect()
    };
    client.call(&["SET", "key", "value"]).ok();
    // `*3 $3 SET $3 key $5 value`, answered by `+OK`.
    let counted = stats();
    assert_eq!((counted[0], counted[2], counted[3]), (1, 33, 5));
    client.send_raw(b"SET key value\r\n").expect("sent");
    client.flush().expect("sent");
    client.receive().expect("a reply").ok();
    let counted = stats();
    assert_eq!((counted[2], counted[3]), (48, 10));
    // A transaction is counted with what was queued.
    client.call(&["MULTI"]).ok();
    client.call(&["GET", "key"]);
    client.call(&["EXEC"]);
    let counted = stats();
    assert_eq!(counted[2], 48 + 22 + 14);
    assert_eq!(counted[3], 10 + 9 + 15);
    // The answer to a client that had to wait.
    client.call(&["DEL", "key"]);
    let before = stats();
    let mut waiting = node.client();
    waiting.send(&["BLPOP", "key", "0"]).expect("sent");
    waiting.flush().expect("sent");
    wait_until("the client to wait", Duration::from_secs(10), || {
        client.info("blocked_clients") == "1"
    });
    client.call(&["LPUSH", "key", "v"]);
    assert_eq!(waiting.receive().expect("an answer").items().len(), 2);
    let after = stats();
    assert_eq!(after[3] - before[3], ":1\r\n".len() as i64 + 20);
    client.call(&["CONFIG", "RESETSTAT"]).ok();
    assert_eq!(stats()[1..], [0, 0, 0]);
    // Other slots cost nothing.
    let reply = client.call(&[
        "CLUSTER",
        "SLOT-STATS",
        "ORDERBY",
        "network-bytes-in",
        "LIMIT",
        "1",
    ]);
    assert_eq!(reply.items()[0].items()[1].items()[5].int(), 0);
}
