//! `maxmemory`: what goes when memory is short, by policy, and that nothing else does.

use eagledb_tests::{Client, Launch, Server};

const KEYS: usize = 2000;
const VALUE_BYTES: usize = 1000;

/// A server that holds `KEYS` keys, every second one with an expiry.
fn filled(policy: &str) -> (Server, Client) {
    let server = Launch::eagledb().option("maxmemory-policy", policy).start();
    let mut client = server.client();
    let value = "x".repeat(VALUE_BYTES);
    for i in 0..KEYS {
        let key = name(i);
        if i % 2 == 0 {
            client.call(&["SET", &key, &value]).ok();
        } else {
            let ttl_s = (10_000 + i).to_string();
            client.call(&["SET", &key, &value, "EX", &ttl_s]).ok();
        }
    }
    (server, client)
}

fn name(i: usize) -> String {
    format!("key:{i}")
}

fn figure(client: &mut Client, section: &str, field: &str) -> u64 {
    let info = client.call(&["INFO", section]).text();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect("the field is there")
        .trim()
        .parse()
        .expect("a number")
}

/// Allows `percent` of what is used now, and runs commands until that holds.
fn shrink(client: &mut Client, percent: u64) -> u64 {
    let bytes_max = figure(client, "memory", "used_memory") * percent / 100;
    client
        .call(&["CONFIG", "SET", "maxmemory", &bytes_max.to_string()])
        .ok();
    for _ in 0..10_000 {
        if figure(client, "memory", "used_memory") <= bytes_max {
            return bytes_max;
        }
    }
    panic!("memory stays above {bytes_max}");
}

/// How many of the keys chosen by `among` are left.
fn left(client: &mut Client, among: impl Fn(usize) -> bool) -> usize {
    (0..KEYS)
        .filter(|i| among(*i))
        .filter(|i| client.call(&["EXISTS", &name(*i)]).int() == 1)
        .count()
}

#[test]
fn every_policy_keeps_memory_within_its_bound() {
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        let (_server, mut client) = filled(policy);
        let bytes_max = shrink(&mut client, 80);
        // Writing goes on, and memory stays within the bound.
        let value = "y".repeat(VALUE_BYTES);
        for i in 0..200 {
            client
                .call(&["SET", &format!("more:{i}"), &value, "EX", "20000"])
                .ok();
        }
        let used = figure(&mut client, "memory", "used_memory");
        assert!(
            used <= bytes_max + 64 * 1024,
            "{policy}: {used} > {bytes_max}"
        );
        let evicted = figure(&mut client, "stats", "evicted_keys") as usize;
        let gone = KEYS + 200 - client.call(&["DBSIZE"]).int() as usize;
        assert_eq!(evicted, gone, "{policy}");
        assert!(evicted > KEYS / 10, "{policy}: {evicted}");
        if policy.starts_with("volatile") {
            assert_eq!(left(&mut client, |i| i % 2 == 0), KEYS / 2, "{policy}");
        }
        client.call(&["CONFIG", "RESETSTAT"]).ok();
        assert_eq!(figure(&mut client, "stats", "evicted_keys"), 0);
    }
}

#[test]
fn without_eviction_writes_are_refused_and_nothing_goes() {
    for policy in ["noeviction", "volatile-lru"] {
        let server = Launch::eagledb().option("maxmemory-policy", policy).start();
        let mut client = server.client();
        client.call(&["SET", "k", &"x".repeat(100_000)]).ok();
        client.call(&["CONFIG", "SET", "maxmemory", "1000"]).ok();
        let refusal = client.call(&["SET", "other", "v"]).error();
        assert_eq!(
            refusal.as_deref(),
            Some("OOM command not allowed when used memory > 'maxmemory'.")
        );
        // What needs no memory goes on.
        assert_eq!(client.call(&["STRLEN", "k"]).int(), 100_000);
        assert_eq!(client.call(&["DEL", "k"]).int(), 1);
    }
}

#[test]
fn keys_in_use_stay() {
    for policy in ["allkeys-lru", "volatile-lru", "allkeys-lfu"] {
        let (_server, mut client) = filled(policy);
        let used = |i: usize| i % 8 == 1;
        // The clock of LRU has a grain of a second; LFU counts.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        for _ in 0..if policy.ends_with("lfu") { 20 } else { 1 } {
            for i in (0..KEYS).filter(|i| used(*i)) {
                client.call(&["GET", &name(i)]);
            }
        }
        shrink(&mut client, 70);
        let all = KEYS / 8;
        let kept = left(&mut client, used);
        assert!(kept * 100 >= all * 95, "{policy}: {kept} of {all}");
    }
}

#[test]
fn keys_that_would_expire_first_go_first() {
    let (_server, mut client) = filled("volatile-ttl");
    shrink(&mut client, 80);
    let soon = left(&mut client, |i| i % 2 == 1 && i < KEYS / 4);
    let late = left(&mut client, |i| i % 2 == 1 && i >= KEYS / 4 * 3);
    assert!(soon * 4 < late, "{soon} and {late}");
}

#[test]
fn a_large_value_gives_its_memory_back_at_once() {
    let server = Launch::eagledb()
        .option("maxmemory-policy", "allkeys-random")
        .option("maxmemory-eviction-tenacity", "100")
        .start();
    let mut client = server.client();
    for i in 0..20_000 {
        client
            .send(&["HSET", "large", &i.to_string(), &"v".repeat(100)])
            .expect("it reads");
    }
    for _ in 0..20_000 {
        client.receive().expect("it answers");
    }
    client.call(&["CONFIG", "SET", "maxmemory", "500000"]).ok();
    client.call(&["SET", "k", "v"]).ok();
    assert!(figure(&mut client, "memory", "used_memory") <= 500_000);
    assert_eq!(client.call(&["EXISTS", "large"]).int(), 0);
}

#[test]
fn a_bound_that_is_not_reached_evicts_nothing_when_it_is_set() {
    let server = Launch::eagledb()
        .option("maxmemory-policy", "allkeys-random")
        .option("hz", "500")
        .start();
    let mut client = server.client();
    client.call(&["DEBUG", "POPULATE", "2000"]).ok();
    // The thread that evicts must not take the old bound, 0, for one.
    for _ in 0..200 {
        for bytes_max in ["1gb", "0"] {
            client.call(&["CONFIG", "SET", "maxmemory", bytes_max]).ok();
        }
    }
    assert_eq!(client.call(&["DBSIZE"]).int(), 2000);
    assert_eq!(figure(&mut client, "stats", "evicted_keys"), 0);
}
