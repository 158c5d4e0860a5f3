//! EagleDB and redis-server 7.0.15 in one cluster: neither side can tell what the other is.

use std::time::{Duration, Instant};

use eagledb_tests::cluster::NODE_TIMEOUT_MS;
use eagledb_tests::{Cluster, Kind, Launch, wait_until};

const REDIS: usize = 0;
const EAGLEDB: usize = 2;

/// Masters 0 and 1 are Redis, 2 and 3 EagleDB.
fn mixed() -> Cluster {
    Cluster::of(&[Kind::Redis, Kind::Redis, Kind::EagleDb, Kind::EagleDb])
}

#[test]
fn slots_move_both_ways_under_load() {
    let cluster = mixed();
    let redirects = cluster.while_writing(|| {
        cluster.reshard(EAGLEDB, REDIS, 2000);
        assert_eq!(cluster.slots_of(REDIS), 6096);
        cluster.reshard(REDIS, EAGLEDB + 1, 2000);
        assert_eq!(cluster.slots_of(EAGLEDB + 1), 6096);
        cluster.check();
    });
    assert!(
        redirects > 100,
        "the writer met only {redirects} redirections"
    );
}

#[test]
fn a_killed_redis_master_is_agreed_to_have_failed_and_comes_back() {
    failure_is_agreed_and_undone(REDIS);
}

#[test]
fn a_killed_eagledb_master_is_agreed_to_have_failed_and_comes_back() {
    failure_is_agreed_and_undone(EAGLEDB);
}

fn failure_is_agreed_and_undone(victim: usize) {
    let mut cluster = mixed();
    let id = cluster.id(victim);
    cluster.nodes[victim].kill9();
    let killed = Instant::now();
    let limit = Duration::from_millis(NODE_TIMEOUT_MS.into()) + Duration::from_secs(2);
    for observer in (0..cluster.nodes.len()).filter(|&index| index != victim) {
        wait_until(
            "FAIL to be agreed",
            limit.saturating_sub(killed.elapsed()),
            || cluster.flags(observer, &id) == "master,fail",
        );
    }
    println!("FAIL agreed by all after {:?}", killed.elapsed());
    cluster.nodes[victim].start();
    cluster.wait_agreed();
    cluster.check();
}

/// The only other masters are EagleDB nodes, so both votes the replica needs are theirs.
#[test]
fn a_redis_replica_is_elected_by_eagledb_votes() {
    let mut cluster = Cluster::of(&[Kind::Redis, Kind::EagleDb, Kind::EagleDb]);
    let mut client = cluster.client();
    for index in 0..300 {
        client
            .call(&["SET", &format!("key:{index}"), "x"])
            .unwrap()
            .ok();
    }
    let replica = cluster.add_replica(Launch::redis(), 0);
    let [old_id, new_id] = [cluster.id(0), cluster.id(replica)];
    assert_eq!(cluster.flags(1, &new_id), "slave");
    let epoch_before: u64 = cluster.nodes[1]
        .client()
        .cluster_info("cluster_current_epoch")
        .parse()
        .unwrap();

    cluster.nodes[0].kill9();
    wait_until("the replica to be elected", Duration::from_secs(20), || {
        (1..4).all(|observer| cluster.flags(observer, &new_id) == "master")
    });
    let epoch_after: u64 = cluster.nodes[1]
        .client()
        .cluster_info("cluster_current_epoch")
        .parse()
        .unwrap();
    assert!(epoch_after > epoch_before, "an election takes a new epoch");

    // The old master comes back as a replica of the new one.
    cluster.nodes[0].start();
    wait_until("the old master to follow", Duration::from_secs(20), || {
        cluster.flags(1, &old_id) == "slave"
    });
    cluster.wait_agreed();
    cluster.check();
    let mut client = cluster.client();
    for index in 0..300 {
        assert_eq!(
            client
                .call(&["GET", &format!("key:{index}")])
                .unwrap()
                .text(),
            "x"
        );
    }
}
