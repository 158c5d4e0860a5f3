//! `cluster-routing proxy` for shard channels: whoever listens at one node hears them all.

use std::time::Duration;

use eagledb_tests::routed::key_slot;
use eagledb_tests::{Client, Cluster, Launch, Reply, wait_until};

/// How long what is awaited may take on a busy machine.
const WAIT: Duration = Duration::from_secs(15);

fn cluster() -> Cluster {
    Cluster::create(vec![
        Launch::eagledb().option("cluster-routing", "proxy");
        3
    ])
}

/// A key of each node: slots 5061, 9059 and 12182.
const KEYS_OF_ALL: [&str; 3] = ["bar", "world", "foo"];

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
        cluster.move_slot(slot, from, to);
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
    cluster.move_slot(key_slot(b"foo"), 2, 0);
    assert_eq!(message(&mut client), ["sunsubscribe", "foo", "0"]);
}
