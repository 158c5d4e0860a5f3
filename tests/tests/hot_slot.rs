//! Many clients at one hash slot at once: writers of single keys share it, others want it alone, and nobody's work is done
//! twice, lost, or counted twice. Then the server is killed.
//!
//! Whether the slot is shared must not depend on how busy the machine is, so it does not wait for clients that meet by
//! chance: a script keeps the slot until another one is at it. From then on the slot is shared by all whose changes allow
//! it, until somebody comes with one that does not.

use std::time::Duration;

use eagledb_tests::monitoring::metric;
use eagledb_tests::port::Port;
use eagledb_tests::server::check_pool;
use eagledb_tests::{Client, Launch, Reply, Server, wait_until};

const CLIENTS: usize = 4;
const ROUNDS: usize = 60;
/// Requests of a client in flight.
const WINDOW: usize = 64;
const COUNTERS: usize = 8;
/// Rounds of a client with changes that may be made beside others. In the next one are some that may not.
const SHARED_ROUNDS: usize = 7;

/// Changes that the server has made in a slot that was shared.
fn shared_changes(metrics: u16) -> f64 {
    metric(metrics, "eagledb_shared_changes_total")
        - metric(metrics, "eagledb_shared_changes_refused_total")
}

/// Has a slot shared from now on; its tag. The keys that a [`window`] changes are in it.
fn share_a_slot(server: &Server, metrics: u16) -> String {
    // Connections that follow one another are served by different threads.
    let (mut holder, mut other) = (server.client(), server.client());
    // No longer than a thread waits for a slot.
    let hold = "local function us() local t = redis.call('TIME'); return t[1] * 1000000 + t[2] end
                local till = us() + 5000; while us() < till do end";
    let mut tag = String::new();
    let mut tags = 0;
    wait_until("two to meet in a slot", Duration::from_secs(120), || {
        // Where sharing has ended it does not begin again soon.
        tag = format!("{{hot{tags}}}");
        tags += 1;
        let counters = (0..COUNTERS).map(|number| format!("{tag}counter{number}"));
        let own = (0..CLIENTS).map(|number| format!("{tag}own{number}"));
        for key in counters.chain(own) {
            other.call(&["SET", &key, "0"]).ok();
        }
        let before = shared_changes(metrics);
        let key = format!("{tag}counter0");
        holder.send(&["EVAL", hold, "1", &key]).unwrap();
        while !holder.has_reply_within(Duration::from_micros(1)).unwrap() {
            other.call(&["SET", &key, "0"]).ok();
        }
        assert!(holder.receive().unwrap().is_nil());
        shared_changes(metrics) > before
    });
    tag
}

/// Whether a client's round has changes in it that need the slot alone.
fn needs_the_slot_alone(round: usize) -> bool {
    round % (SHARED_ROUNDS + 1) == SHARED_ROUNDS
}

/// What a client sends in one go: mostly what one store does, with commands that need the slot alone in some rounds.
fn window(tag: &str, client: usize, round: usize) -> Vec<Vec<String>> {
    let command = |text: String| text.split(' ').map(str::to_owned).collect();
    let mut commands: Vec<Vec<String>> = (0..WINDOW)
        .map(|number| {
            command(format!(
                "INCR {tag}counter{}",
                (number * 3 + client) % COUNTERS
            ))
        })
        .collect();
    let own = format!("{tag}own{client}");
    commands.push(command(format!("SET {own} value-{round}")));
    commands.push(command(format!("GETSET {own} again-{round}")));
    if needs_the_slot_alone(round) {
        commands.push(command(format!("DEL {own}")));
        commands.push(command(format!("SET {own} value EX 1000")));
        commands.push(command(format!("RPUSH {own}list {round}")));
        commands.push(command(format!("HSET {own}hash field {round}")));
        commands.push(command(format!("MSET {own}a {round} {own}b {round}")));
        commands.push(command(format!("GETDEL {own}a")));
    }
    commands
}

fn calls(client: &mut Client, command: &str) -> usize {
    let text = client.call(&["INFO", "commandstats"]).text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    let count = line.and_then(|line| line.split(',').next());
    count.expect("it was called").parse().expect("a number")
}

#[test]
fn nothing_is_lost_or_done_twice_in_a_slot_that_all_write_to() {
    let metrics_port = Port::claim();
    let metrics = metrics_port.number();
    let mut server = Launch::eagledb()
        .option("worker-threads", "4")
        .option("metrics-port", &metrics.to_string())
        .start();
    let tag = share_a_slot(&server, metrics);
    let before = shared_changes(metrics);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (mut client, tag) = (server.client(), &tag);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let commands = window(tag, number, round);
                    for (command, reply) in commands.iter().zip(client.pipeline(&commands)) {
                        assert!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply:?}");
                        if command[0] == "GETSET" {
                            assert_eq!(reply.text(), format!("value-{round}"));
                        }
                    }
                }
            });
        }
    });
    // Whoever is the first to need the slot alone has shared it until then.
    let shared = shared_changes(metrics) - before;
    let shared_min = SHARED_ROUNDS * (WINDOW + 2);
    assert!(shared >= shared_min as f64, "{shared}");

    let mut client = server.client();
    assert_eq!(calls(&mut client, "incr"), CLIENTS * ROUNDS * WINDOW);
    assert_eq!(calls(&mut client, "getset"), CLIENTS * ROUNDS);
    // Each GETSET finds the key, and each GETDEL.
    let alone = (0..ROUNDS).filter(|round| needs_the_slot_alone(*round));
    let found = CLIENTS * (ROUNDS + alone.count());
    assert_eq!(client.info("keyspace_hits"), found.to_string());
    assert_eq!(client.info("keyspace_misses"), "0");

    let sum = |client: &mut Client| -> i64 {
        let counter = |number| {
            client
                .call(&["GET", &format!("{tag}counter{number}")])
                .text()
        };
        (0..COUNTERS)
            .map(counter)
            .map(|count| count.parse::<i64>().expect("a number"))
            .sum()
    };
    let expected = (CLIENTS * ROUNDS * WINDOW) as i64;
    assert_eq!(sum(&mut client), expected);
    let pool = server.pool_path();
    server.kill9();
    if let Some(pool) = pool {
        check_pool(&pool);
    }
    server.start();
    assert_eq!(sum(&mut server.client()), expected);
}
