//! Behaviour of string, hash and expiry commands that a comparison of single replies cannot show:
//! iteration over a hash that changes, random draws, time passing, and clients at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eagledb_tests::{Client, Launch, Reply, wait_until};

/// Fields of a hash that is a table of its own, far above `hash-max-listpack-entries`.
const FIELDS: usize = 1000;

fn fill(client: &mut Client, key: &str, fields: std::ops::Range<usize>) {
    let mut words = vec!["HSET".to_owned(), key.to_owned()];
    words.extend(fields.flat_map(|field| [format!("f{field}"), format!("v{field}")]));
    client.call(&words);
}

/// One call of HSCAN: the next cursor and the pairs.
fn scan(
    client: &mut Client,
    key: &str,
    cursor: &str,
    count: usize,
) -> (String, Vec<(String, String)>) {
    let reply = client.call(&["HSCAN", key, cursor, "COUNT", &count.to_string()]);
    let items: Vec<String> = reply.items()[1].items().iter().map(Reply::text).collect();
    let pairs = items
        .chunks(2)
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect();
    (reply.items()[0].text(), pairs)
}

#[test]
fn hscan_meets_every_field_that_stays() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    fill(&mut client, "h", 0..FIELDS);
    let mut met = BTreeMap::new();
    let (mut cursor, mut calls) = ("0".to_owned(), 0);
    loop {
        let (next, pairs) = scan(&mut client, "h", &cursor, 10);
        met.extend(pairs);
        calls += 1;
        // The table grows threefold under the walk, and some of what was there goes.
        let more = FIELDS + 20 * calls;
        fill(&mut client, "h", more..more + 20);
        client.call(&["HDEL", "h", &format!("f{}", FIELDS - calls)]);
        cursor = next;
        if cursor == "0" {
            break;
        }
        assert!(calls < FIELDS, "the walk does not end");
    }
    assert!(
        calls > 10,
        "COUNT 10 went through {FIELDS} fields in {calls} calls"
    );
    for field in 0..FIELDS - calls {
        assert_eq!(
            met.get(&format!("f{field}")),
            Some(&format!("v{field}")),
            "f{field}"
        );
    }
}

#[test]
fn hrandfield_draws_distinct_fields_and_reaches_all() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    for fields in [5, 60, FIELDS] {
        client.call(&["DEL", "h"]);
        fill(&mut client, "h", 0..fields);
        // A few, most, all: three ways of drawing.
        for count in [1, fields / 5, fields - 1, fields, 2 * fields] {
            let reply = client.call(&["HRANDFIELD", "h", &count.to_string(), "WITHVALUES"]);
            let items: Vec<String> = reply.items().iter().map(Reply::text).collect();
            let drawn: BTreeSet<&String> = items.chunks(2).map(|pair| &pair[0]).collect();
            assert_eq!(items.len(), 2 * count.min(fields), "{count} of {fields}");
            assert_eq!(
                drawn.len(),
                count.min(fields),
                "{count} of {fields}: a field came twice"
            );
            for pair in items.chunks(2) {
                assert_eq!(
                    pair[0][1..],
                    pair[1][1..],
                    "a field came with another's value"
                );
            }
        }
        // 20 draws a field: one missing in all of them has odds of about e^-20.
        let reply = client.call(&["HRANDFIELD", "h", &format!("-{}", 20 * fields)]);
        let drawn: BTreeSet<String> = reply.items().iter().map(Reply::text).collect();
        assert_eq!(reply.items().len(), 20 * fields);
        assert_eq!(
            drawn.len(),
            fields,
            "some fields of {fields} are never drawn"
        );
    }
}

#[test]
fn keys_go_when_their_time_has_come() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    client.call(&["SET", "s", "v", "PX", "2000"]).ok();
    client.call(&["HSET", "h", "f", "v"]);
    client.call(&["PEXPIRE", "h", "2000"]);
    client.call(&["SET", "kept", "v", "PX", "2000"]).ok();
    client.call(&["PERSIST", "kept"]);
    assert_eq!(client.call(&["EXISTS", "s", "h", "kept"]).int(), 3);
    wait_until("the keys to expire", Duration::from_secs(20), || {
        client.call(&["EXISTS", "s", "h", "kept"]).int() == 1
    });
    assert!(client.call(&["GET", "s"]).is_nil());
    assert_eq!(client.call(&["PTTL", "h"]).int(), -2);
    assert_eq!(client.call(&["TTL", "kept"]).int(), -1);
    // What is written there again is new: it has no trace of the old value or its expiry.
    assert_eq!(client.call(&["HSET", "h", "g", "v"]).int(), 1);
    assert_eq!(client.call(&["HLEN", "h"]).int(), 1);
    assert_eq!(client.call(&["APPEND", "s", "x"]).int(), 1);
    assert_eq!(client.call(&["TTL", "s"]).int(), -1);
    assert_eq!(client.call(&["TTL", "h"]).int(), -1);
}

#[test]
fn counters_lose_nothing_between_clients() {
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 500;
    let server = Launch::eagledb().start();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut client = server.client();
            scope.spawn(move || {
                let round: Vec<Vec<&str>> = vec![
                    vec!["INCR", "n"],
                    vec!["HINCRBY", "h", "f", "2"],
                    vec!["APPEND", "s", "x"],
                    vec!["INCRBYFLOAT", "d", "0.5"],
                ];
                for _ in 0..ROUNDS {
                    let replies = client.pipeline(&round);
                    assert!(
                        replies.iter().all(|reply| reply.error().is_none()),
                        "{replies:?}"
                    );
                }
            });
        }
    });
    let mut client = server.client();
    let total = CLIENTS * ROUNDS;
    assert_eq!(client.call(&["GET", "n"]).text(), total.to_string());
    assert_eq!(
        client.call(&["HGET", "h", "f"]).text(),
        (2 * total).to_string()
    );
    assert_eq!(client.call(&["STRLEN", "s"]).int(), total as i64);
    assert_eq!(client.call(&["GET", "d"]).text(), (total / 2).to_string());
}

/// MSET and HSET with several fields are seen whole or not at all by readers that look at them in
/// one command.
#[test]
fn readers_see_several_fields_of_one_instant() {
    const ROUNDS: usize = 2000;
    let server = Launch::eagledb().start();
    let (mut writer, mut reader) = (server.client(), server.client());
    writer.call(&["HSET", "h", "a", "0", "b", "0"]);
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            for round in 1..=ROUNDS {
                let round = round.to_string();
                writer.call(&["HSET", "h", "a", &round, "b", &round]);
            }
        });
        while !writing.is_finished() {
            for command in [vec!["HMGET", "h", "a", "b"], vec!["HVALS", "h"]] {
                let reply = reader.call(&command);
                assert_eq!(reply.items()[0], reply.items()[1], "{command:?}");
            }
        }
    });
    assert_eq!(reader.call(&["HGET", "h", "b"]).text(), ROUNDS.to_string());
}

/// Only look-ups that read count, a key of another type as a hit; as on redis-server.
#[test]
fn lookups_are_counted_as_redis_counts_them() {
    let commands: &[&[&str]] = &[
        &["GET", "missing"],
        &["SET", "s", "v"],
        &["GET", "s"],
        &["HGET", "s", "f"],
        &["SET", "s", "w", "GET"],
        &["SET", "s", "w", "NX"],
        &["SETNX", "s", "w"],
        &["GETSET", "s", "w"],
        &["GETDEL", "missing"],
        &["GETEX", "s", "EX", "100"],
        &["MGET", "s", "missing", "s"],
        &["STRLEN", "s"],
        &["APPEND", "s", "x"],
        &["GETRANGE", "s", "0", "1"],
        &["GETRANGE", "missing", "0", "1"],
        &["SETRANGE", "s", "0", "x"],
        &["INCR", "n"],
        &["LCS", "s", "missing"],
        &["HSET", "h", "f", "v"],
        &["HGET", "h", "nosuch"],
        &["HMGET", "h", "f", "g"],
        &["HINCRBY", "h", "n", "1"],
        &["HSETNX", "h", "n", "1"],
        &["HDEL", "h", "n"],
        &["HLEN", "missing"],
        &["HGETALL", "h"],
        &["HKEYS", "missing"],
        &["HSCAN", "h", "0"],
        &["HRANDFIELD", "h"],
        &["HRANDFIELD", "missing", "2"],
        &["HEXISTS", "h", "f"],
        &["HSTRLEN", "h", "f"],
        &["EXPIRE", "s", "100"],
        &["PERSIST", "s"],
        &["TTL", "s"],
        &["PTTL", "missing"],
        &["EXPIRETIME", "s"],
        &["MSETNX", "s", "1", "t", "2"],
    ];
    let [ours, theirs] = [Launch::eagledb(), Launch::redis()].map(|launch| {
        let server = launch.start();
        let mut client = server.client();
        let counts = |command: &&[&str]| {
            client.call(command);
            (
                command[0].to_owned(),
                client.info("keyspace_hits"),
                client.info("keyspace_misses"),
            )
        };
        commands.iter().map(counts).collect::<Vec<_>>()
    });
    assert_eq!(ours, theirs);
}
