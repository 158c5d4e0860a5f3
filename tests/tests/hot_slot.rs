//! Many clients at one hash slot at once: writers of single keys share it, others want it alone, and nobody's work is done
//! twice, lost, or counted twice. Then the server is killed.

use eagledb_tests::server::check_pool;
use eagledb_tests::{Client, Launch, Reply};

const CLIENTS: usize = 4;
const ROUNDS: usize = 60;
/// Requests of a client in flight.
const WINDOW: usize = 64;
const COUNTERS: usize = 8;

/// What a client sends in one go: mostly what one store does, with a command that needs the slot alone now and then.
fn window(client: usize, round: usize) -> Vec<Vec<String>> {
    let command = |text: String| text.split(' ').map(str::to_owned).collect();
    let mut commands: Vec<Vec<String>> = (0..WINDOW)
        .map(|number| {
            command(format!(
                "INCR {{hot}}counter{}",
                (number * 3 + client) % COUNTERS
            ))
        })
        .collect();
    let own = format!("{{hot}}own{client}");
    commands.push(command(format!("SET {own} value-{round}")));
    commands.push(command(format!("GETSET {own} again-{round}")));
    if round.is_multiple_of(8) {
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
    let mut server = Launch::eagledb().option("worker-threads", "4").start();
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let mut client = server.client();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let commands = window(number, round);
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
    let mut client = server.client();
    assert_eq!(calls(&mut client, "incr"), CLIENTS * ROUNDS * WINDOW);
    assert_eq!(calls(&mut client, "getset"), CLIENTS * ROUNDS);
    // Each GETSET finds the key, and each GETDEL.
    let found = CLIENTS * (ROUNDS + ROUNDS.div_ceil(8));
    assert_eq!(client.info("keyspace_hits"), found.to_string());
    assert_eq!(client.info("keyspace_misses"), "0");

    let sum = |client: &mut Client| -> i64 {
        let counter = |number| {
            client
                .call(&["GET", &format!("{{hot}}counter{number}")])
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
