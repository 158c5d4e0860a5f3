//! This node's bus among real `redis-server` processes (7.0), without a server around it.
//!
//! Skipped with a message where `redis-server` is not installed.

mod bus_host;
mod redis;

use bus_host::BusHost;
use eagle_server::cluster::config_file::ClusterFile;
use eagle_server::cluster::state::Effect;
use redis::Redis;
use std::time::{Duration, Instant};

const NODE_TIMEOUT_MS: u64 = 2000;

#[test]
fn a_node_joins_serves_and_judges_among_real_peers() {
    let Some(peers) = Redis::start_all(2, NODE_TIMEOUT_MS) else {
        return println!("skipped: redis-server is not installed");
    };
    let [a, b] = &peers[..] else {
        unreachable!("two were started")
    };
    let mut host = BusHost::new(NODE_TIMEOUT_MS);
    let id = host.state.my_id().to_string();

    // A meets this node, this node meets B; gossip does the rest.
    a.run(&["cluster", "addslotsrange", "0", "5460"]);
    b.run(&["cluster", "addslotsrange", "5461", "10922"]);
    host.order(|state, now_ms| state.add_slots_range(&[b"10923", b"16383"], now_ms))
        .unwrap();
    let (port, cport) = (host.client_port().to_string(), host.bus_port().to_string());
    a.run(&["cluster", "meet", "127.0.0.1", &port, &cport]);
    let (b_port, b_cport) = (b.port.to_string(), b.bus_port.to_string());
    host.order(|state, now_ms| {
        state.meet(
            b"127.0.0.1",
            b_port.as_bytes(),
            Some(b_cport.as_bytes()),
            now_ms,
        )
    })
    .unwrap();

    host.until("everybody is in order", |host| {
        let views = [
            host.state.info_text(),
            a.run(&["cluster", "info"]),
            b.run(&["cluster", "info"]),
        ];
        views
            .iter()
            .all(|info| info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3"))
    });
    host.until("three masters have three epochs", |host| {
        let mut epochs: Vec<String> = columns(&host.state.nodes_text(false))
            .map(|line| line[6].clone())
            .collect();
        epochs.sort();
        epochs.dedup();
        epochs.len() == 3
    });
    host.until("all see the same", |host| {
        let mine = summary(&host.state.nodes_text(false));
        mine == summary(&a.run(&["cluster", "nodes"]))
            && mine == summary(&b.run(&["cluster", "nodes"]))
    });
    assert!(
        host.frames_checked > 10,
        "every frame of the peers was decoded and encoded to the same bytes"
    );

    // A message published there arrives here.
    a.run(&["publish", "news", "hello"]);
    host.until("the published message arrives", |host| {
        host.effects.iter().any(|effect| {
            matches!(effect, Effect::Publish { channel, message, sharded: false } if channel == "news" && message == "hello")
        })
    });

    // A slot moves here from A, the way redis-cli moves it; the real nodes follow this node's new epoch.
    let a_id = a.run(&["cluster", "myid"]);
    host.order(|state, now_ms| {
        state.set_slot(b"7", &[b"importing", a_id.as_bytes()], |_| 0, now_ms)
    })
    .unwrap();
    a.run(&["cluster", "setslot", "7", "migrating", &id]);
    host.order(|state, now_ms| state.set_slot(b"7", &[b"node", id.as_bytes()], |_| 0, now_ms))
        .unwrap();
    a.run(&["cluster", "setslot", "7", "node", &id]);
    host.until("slot 7 is here for all", |_| {
        [a, b].iter().all(|peer| {
            columns(&peer.run(&["cluster", "nodes"]))
                .any(|line| line[0] == id && line[8..].contains(&"7".to_owned()))
        })
    });

    // A real replica attaches to A, A dies, and this node's vote makes the replica a master.
    let spare = &Redis::start_all(1, NODE_TIMEOUT_MS).expect("it started before")[0];
    spare.run(&["cluster", "meet", "127.0.0.1", &port, &cport]);
    host.until("the replica knows its master to be", |_| {
        spare.run(&["cluster", "info"]).contains("known_nodes:4")
    });
    spare.run(&["cluster", "replicate", &a_id]);
    host.until("the replica is in sync", |host| {
        spare
            .run(&["info", "replication"])
            .contains("master_link_status:up")
            && host
                .state
                .nodes_text(false)
                .lines()
                .any(|line| line.contains(&format!("slave {a_id}")))
    });
    a.stop();
    host.until("the dead master is failed by this node and B", |host| {
        [host.state.nodes_text(false), b.run(&["cluster", "nodes"])]
            .iter()
            .all(|nodes| columns(nodes).any(|line| line[0] == a_id && line[2] == "master,fail"))
    });
    host.until("the replica is elected", |host| {
        let spare_id = spare.run(&["cluster", "myid"]);
        host.state.info_text().contains("cluster_state:ok")
            && columns(&host.state.nodes_text(false))
                .any(|line| line[0] == spare_id && line[2] == "master" && line.len() > 8)
    });
    assert!(
        host.state.epochs().1 > 0,
        "two of three voters decide, so this node has voted"
    );

    // What this node saved is a nodes.conf for a real server.
    let saved = host.saved.clone();
    let current_epoch = ClusterFile::parse(&saved)
        .unwrap()
        .expect("it has been saved")
        .current_epoch;
    let heir = Redis::start_with(&saved, NODE_TIMEOUT_MS).expect("it started before");
    assert_eq!(heir.run(&["cluster", "myid"]), id);
    assert!(
        heir.run(&["cluster", "info"])
            .contains(&format!("cluster_current_epoch:{current_epoch}"))
    );
}

#[test]
fn reports_of_a_lone_node_read_like_those_of_a_real_one() {
    let Some(peers) = Redis::start_all(1, NODE_TIMEOUT_MS) else {
        return println!("skipped: redis-server is not installed");
    };
    let peer = &peers[0];
    let mut host = BusHost::new(NODE_TIMEOUT_MS);
    peer.run(&["cluster", "addslots", "1", "2", "3", "5"]);
    host.order(|state, now_ms| state.add_slots(&[b"1", b"2", b"3", b"5"], now_ms))
        .unwrap();
    let anonymous = |text: &str, id: &str, port: u16, bus_port: u16| {
        text.replace(id, "ID")
            .replace(&format!("{port}@{bus_port}"), "PORTS")
            .replace("\r\n", "\n")
            .trim_end()
            .to_owned()
    };
    let id = host.state.my_id().to_string();
    let mine = |text: &str| anonymous(text, &id, host.client_port(), host.bus_port());
    let peer_id = peer.run(&["cluster", "myid"]);
    let theirs = |args: &[&str]| anonymous(&peer.run(args), &peer_id, peer.port, peer.bus_port);
    assert_eq!(
        mine(&host.state.nodes_text(false)),
        theirs(&["cluster", "nodes"])
    );
    assert_eq!(mine(&host.state.info_text()), theirs(&["cluster", "info"]));

    // Refusals, word by word.
    let stranger = "0".repeat(40);
    for order in [
        "addslots 1",
        "addslots 7 7",
        "addslots 16384",
        "addslots -1",
        "addslots 01",
        "delslots 9",
        "delslots 1 1",
        "addslotsrange 8 7",
        "addslotsrange 4 6",
        "addslotsrange 10 20 15 30",
        "delslotsrange 3 4",
        "setslot 1 migrating STRANGER",
        "setslot 9 migrating ME",
        "setslot 1 importing ME",
        "setslot 9 importing STRANGER",
        "setslot 1 node STRANGER",
        "setslot 1 nonsense",
        "setslot 1 stable now",
        "setslot x stable",
        "meet nowhere 7000",
        "meet 127.0.0.1 0",
        "meet 127.0.0.1 65536",
        "meet 127.0.0.1 60000",
        "meet 127.0.0.1 x",
        "meet 127.0.0.1 1 y",
        "forget ME",
        "forget STRANGER",
        "replicate ME",
        "replicate STRANGER",
        "set-config-epoch -1",
        "set-config-epoch x",
        "count-failure-reports STRANGER",
        "replicas STRANGER",
    ] {
        let with = |id: &str| order.replace("ME", id).replace("STRANGER", &stranger);
        let there = with(&peer_id);
        let args: Vec<&str> = ["cluster"].into_iter().chain(there.split(' ')).collect();
        let reply = peer.run(&args).replace(&peer_id, &id);
        let error = bus_host::refuse(&mut host, &with(&id))
            .unwrap_or_else(|| panic!("{order} was not refused"));
        assert_eq!(format!("ERR {error}"), reply, "{order}");
    }
}

fn columns(nodes: &str) -> impl Iterator<Item = Vec<String>> {
    let lines: Vec<Vec<String>> = nodes
        .lines()
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .collect();
    lines.into_iter()
}

/// What must be equal in all views: name, address, role, primary, epoch, link, slots.
fn summary(nodes: &str) -> Vec<String> {
    let mut lines: Vec<String> = columns(nodes)
        .map(|line| {
            format!(
                "{} {} {} {} {} {}",
                line[0],
                line[1],
                line[2].replace("myself,", ""),
                line[3],
                line[6],
                line[7..].join(" ")
            )
        })
        .collect();
    lines.sort();
    lines
}

/// Waits with a deadline that a loaded machine does not miss.
fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(40)
}
