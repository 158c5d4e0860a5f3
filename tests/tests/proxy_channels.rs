//! `cluster-routing proxy` for shard channels: whoever listens at one node hears them all.

use std::time::Duration;

use eagledb_tests::routed::key_slot;
use eagledb_tests::{Client, Cluster, KEYS_OF_ALL, wait_until};

/// How long what is awaited may take on a busy machine.
const WAIT: Duration = Duration::from_secs(15);

#[test]
fn shard_channels_of_all_nodes_are_heard_at_one() {
    let cluster = Cluster::forwarding();
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
                assert_eq!(client.message(), due);
            }
        }
        for (index, publisher) in publishers.iter_mut().enumerate() {
            for channel in KEYS_OF_ALL {
                let text = format!("{channel} by {index}");
                assert!(publisher.call(&["SPUBLISH", channel, &text]).int() >= 1);
                for client in [&mut first, &mut second] {
                    assert_eq!(client.message(), ["smessage", channel, &text]);
                }
            }
        }
        first.send(&["SUNSUBSCRIBE", "foo"]).unwrap();
        assert_eq!(first.message(), ["sunsubscribe", "foo", "2"]);
        publishers[1].call(&["SPUBLISH", "foo", "left"]).int();
        assert_eq!(second.message(), ["smessage", "foo", "left"]);
        publishers[1].call(&["SPUBLISH", "bar", "kept"]).int();
        for client in [&mut first, &mut second] {
            assert_eq!(client.message(), ["smessage", "bar", "kept"]);
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
    let mut cluster = Cluster::forwarding();
    let slot = key_slot(b"foo");
    let mut listening: Vec<Client> = cluster.nodes.iter().map(|node| node.client()).collect();
    for client in &mut listening {
        client.send(&["SSUBSCRIBE", "foo"]).unwrap();
        assert_eq!(client.message(), ["ssubscribe", "foo", "1"]);
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
            assert_eq!(client.message(), ["smessage", "foo", "moved"]);
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
        assert_eq!(client.message(), ["sunsubscribe", "foo", "0"]);
    }
}

/// A client that redirects for itself is told when its slot leaves, as 7.0.15 does.
#[test]
fn who_subscribed_without_forwarding_is_told_that_the_slot_has_left() {
    let cluster = Cluster::forwarding();
    let mut client = cluster.nodes[2].client();
    client.call(&["CLIENT", "ROUTING", "REDIRECT"]).ok();
    client.send(&["SSUBSCRIBE", "foo"]).unwrap();
    assert_eq!(client.message(), ["ssubscribe", "foo", "1"]);
    cluster.move_slot(key_slot(b"foo"), 2, 0);
    assert_eq!(client.message(), ["sunsubscribe", "foo", "0"]);
}
