//! SIGKILL at any moment while generated commands of every kind run: what is found afterwards is what a
//! redis-server holds that ran the acknowledged commands, and some of those still in flight, in order.
//!
//! `EAGLEDB_KILL9_SECONDS` asks for a longer run; `EAGLEDB_SEED` begins with another sequence.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use eagledb_tests::differential::docs::{self, Documented};
use eagledb_tests::differential::{Compare, Generator, Step, default_settings, same};
use eagledb_tests::server::check_pool;
use eagledb_tests::{Client, Launch, Reply, Server};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;

const STEPS: usize = 2000;
/// The longest time until the kill.
const RUN_MS_MAX: u64 = 600;
/// The reference ran the commands that set times later than the server that was killed.
const LATER_MS: u64 = 60_000;

fn number_from_env(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn generated_commands_survive_kill_9() {
    let seconds = number_from_env("EAGLEDB_KILL9_SECONDS", 12);
    // The short run sends the same each time; a long one looks for what was never sent.
    let is_long = std::env::var_os("EAGLEDB_KILL9_SECONDS").is_some();
    let default_seed = if is_long {
        u64::from(std::process::id()) << 20
    } else {
        7000
    };
    let first_seed = number_from_env("EAGLEDB_SEED", default_seed);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut ours = Launch::eagledb().start();
    let theirs = Launch::redis().start();
    let table: Arc<[Documented]> = docs::read(&mut theirs.client()).into();
    let pool = ours.pool_path();
    let (mut seed, mut acknowledged) = (first_seed, 0);
    while Instant::now() < deadline {
        acknowledged += round(&mut ours, &theirs, &table, seed);
        if let Some(pool) = &pool {
            ours.kill9();
            check_pool(pool);
            ours.start();
        }
        seed += 1;
    }
    println!(
        "{} kills from seed {first_seed}, {acknowledged} commands acknowledged",
        seed - first_seed
    );
    assert!(acknowledged > 100, "only {acknowledged} commands");
}

/// One kill and what it left. Answers how many commands were acknowledged.
fn round(ours: &mut Server, theirs: &Server, table: &Arc<[Documented]>, seed: u64) -> usize {
    let mut rng = SmallRng::seed_from_u64(seed);
    let window = if rng.random_range(0..2) == 0 { 1 } else { 16 };
    let delay = Duration::from_millis(rng.random_range(1..RUN_MS_MAX));
    let steps = steps(seed, table);
    for server in [&*ours, theirs] {
        empty(server);
    }
    let acknowledged = thread::scope(|scope| {
        let victim = &*ours;
        let sender = scope.spawn(|| send(&mut victim.client(), &steps, window));
        thread::sleep(delay);
        victim.signal(Signal::KILL);
        sender.join().expect("the sender ends with its connection")
    });
    ours.wait_exit();
    ours.start();
    let found = State::of(ours);
    let mut reference = theirs.client();
    for step in &steps[..acknowledged] {
        call(&mut reference, step);
    }
    let in_flight = (acknowledged + window).min(steps.len());
    let mut nearest = State::of(theirs);
    for step in &steps[acknowledged..in_flight] {
        if found.is(&nearest) {
            return acknowledged;
        }
        call(&mut reference, step);
        nearest = State::of(theirs);
    }
    assert!(
        found.is(&nearest),
        "seed {seed}: after {acknowledged} acknowledged commands, up to {window} in flight {:?}:\n\
         found {found:?}\nand with all of them it is {nearest:?}",
        &steps[acknowledged..in_flight]
    );
    acknowledged
}

/// Generated steps for one connection whose outcome the clock and chance have no part in.
fn steps(seed: u64, table: &Arc<[Documented]>) -> Vec<Step> {
    let mut generator = Generator::new(seed, table.clone());
    let mut steps = Vec::new();
    while steps.len() < STEPS {
        let mut step = generator.step();
        let has = |name: &str| {
            step.args
                .iter()
                .any(|arg| arg.eq_ignore_ascii_case(name.as_bytes()))
        };
        // QUIT and CLIENT REPLY end the conversation, a pause delays the kill's victims. SORT turns a packed sorted set of
        // Redis into a skip list, where a later score of -0 keeps its sign; ours stays packed, which forgets it.
        if step.connection < 2
            && !step.expires
            // A string of a megabyte, whose digest takes its time.
            && !step.args.iter().any(|arg| arg.starts_with(b"10485"))
            && !["quit", "reply", "pause", "sleep", "sort", "sort_ro"]
                .iter()
                .any(|name| has(name))
        {
            step.connection = 0;
            steps.push(step);
        }
    }
    steps
}

/// Sends the steps with up to `window` of them in flight, until the connection breaks. Answers how many
/// were acknowledged.
fn send(client: &mut Client, steps: &[Step], window: usize) -> usize {
    let (mut acknowledged, mut in_flight) = (0, VecDeque::new());
    for step in steps {
        if client.send(&step.args).is_err() {
            return acknowledged;
        }
        in_flight.push_back(());
        while in_flight.len() >= window {
            if receive(client).is_none() {
                return acknowledged;
            }
            in_flight.pop_front();
            acknowledged += 1;
        }
    }
    while in_flight.pop_front().is_some() && receive(client).is_some() {
        acknowledged += 1;
    }
    acknowledged
}

/// The next reply that is no push.
fn receive(client: &mut Client) -> Option<Reply> {
    loop {
        match client.receive() {
            Ok(Reply::Push(_)) => {}
            Ok(reply) => return Some(reply),
            Err(_) => return None,
        }
    }
}

fn call(client: &mut Client, step: &Step) {
    client.send(&step.args).expect("the reference listens");
    receive(client).expect("the reference answers");
}

fn empty(server: &Server) {
    let mut client = server.client();
    client.call(&["FLUSHALL"]).ok();
    client.call(&["FUNCTION", "FLUSH"]).ok();
    client.call(&default_settings(server)).ok();
}

/// What a server holds.
#[derive(Debug)]
struct State {
    digest: Reply,
    functions: Reply,
    /// Of each database.
    keys: Vec<Reply>,
    /// Of the keys that are generated, of the first databases.
    times: Vec<Reply>,
    values: Vec<Reply>,
}

impl State {
    fn of(server: &Server) -> State {
        let mut client = server.client();
        let functions = client.call(&["FUNCTION", "LIST", "WITHCODE"]);
        let digest = client.call(&["DEBUG", "DIGEST"]);
        let (mut keys, mut times, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for db in 0..16 {
            client.call(&["SELECT", &db.to_string()]).ok();
            keys.push(client.call(&["KEYS", "*"]));
            if db < 3 {
                let names: Vec<String> = (0..8).map(|key| format!("k{key}")).collect();
                values.push(
                    client.call(
                        &[
                            &["DEBUG", "DIGEST-VALUE"],
                            &names.iter().map(String::as_str).collect::<Vec<_>>()[..],
                        ]
                        .concat(),
                    ),
                );
                times.extend((0..8).map(|key| client.call(&["PTTL", &format!("k{key}")])));
            }
        }
        State {
            digest,
            functions,
            keys,
            times,
            values,
        }
    }

    fn is(&self, other: &State) -> bool {
        let all =
            |compare, a: &[Reply], b: &[Reply]| a.iter().zip(b).all(|(a, b)| same(compare, a, b));
        self.digest == other.digest
            && self.values == other.values
            && same(Compare::Unordered, &self.functions, &other.functions)
            && all(Compare::Unordered, &self.keys, &other.keys)
            && all(Compare::Time(LATER_MS), &self.times, &other.times)
    }
}
