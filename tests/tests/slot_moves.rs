//! Slots and keys of every type move between EagleDB and redis-server 7.0.15, both ways: the values are the same
//! afterwards, and a key of very many elements does not hold up the other clients of an EagleDB node.
//!
//! `EAGLEDB_MOVE_ELEMENTS` sets the size of the large keys (a million is what the promise is about; by default less, for
//! debug builds and machines that do other things too).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use eagledb_tests::differential::{Compare, same};
use eagledb_tests::routed::key_slot;
use eagledb_tests::{Client, Cluster, Kind, Launch, Reply, Server};

/// Elements that one command adds.
const CHUNK: usize = 1000;
const TIMEOUT_MS: &str = "600000";
/// How long a debug build may take over a million elements.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long others may wait.
const STALL_MAX: Duration = Duration::from_millis(50);
/// How long the servers are watched without a move, to see what the machine does by itself.
const IDLE_TIME: Duration = Duration::from_millis(1000);
const ATTEMPTS_MAX: usize = 4;

fn elements() -> usize {
    let text = std::env::var("EAGLEDB_MOVE_ELEMENTS").ok();
    text.map_or(40_000, |text| text.parse().expect("a number"))
}

/// The types a large key can have, each with how its elements from `first` on are added.
const TYPES: [&str; 5] = ["list", "set", "hash", "zset", "stream"];

fn add(client: &mut Client, kind: &str, key: &str, first: usize, count: usize) {
    let numbers = first..first + count;
    let mut commands: Vec<Vec<String>> = Vec::new();
    let head = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    match kind {
        "list" => {
            let mut words = head(&["RPUSH", key]);
            words.extend(numbers.map(|number| format!("element:{number}")));
            commands.push(words);
        }
        "set" => {
            let mut words = head(&["SADD", key]);
            words.extend(numbers.map(|number| format!("member:{number}")));
            commands.push(words);
        }
        "hash" => {
            let mut words = head(&["HSET", key]);
            words
                .extend(numbers.flat_map(|number| [format!("field:{number}"), number.to_string()]));
            commands.push(words);
        }
        "zset" => {
            let mut words = head(&["ZADD", key]);
            words.extend(
                numbers
                    .flat_map(|number| [(number % 1000).to_string(), format!("member:{number}")]),
            );
            commands.push(words);
        }
        "stream" => commands.extend(numbers.map(|number| {
            let id = format!("{}-1", number + 1);
            head(&["XADD", key, &id, "field", &number.to_string()])
        })),
        other => panic!("no type {other}"),
    }
    for reply in client.pipeline(&commands) {
        assert_eq!(reply.error(), None);
    }
}

fn fill(client: &mut Client, kind: &str, key: &str, count: usize) {
    for first in (0..count).step_by(CHUNK) {
        add(client, kind, key, first, CHUNK.min(count - first));
    }
}

fn digest(client: &mut Client, key: &str) -> Reply {
    client
        .send(&["DEBUG", "DIGEST-VALUE", key])
        .expect("the server listens");
    client.receive_within(PATIENCE).expect("an answer")
}

/// The longest time a PING and a GET of another slot took while `work` ran, on two other connections.
fn longest_waits<T>(server: &Server, work: impl FnOnce() -> T) -> ([Duration; 2], T) {
    server.client().call(&["SET", "other", "x"]).ok();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let commands: [&[&str]; 2] = [&["PING"], &["GET", "other"]];
        let probes = commands.map(|command| {
            let (stop, mut client) = (&stop, server.client());
            scope.spawn(move || {
                let mut longest = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    let sent = Instant::now();
                    assert_eq!(client.call(command).error(), None);
                    longest = longest.max(sent.elapsed());
                    thread::sleep(Duration::from_micros(500));
                }
                longest
            })
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        (
            probes.map(|probe| probe.join().expect("a probe ends")),
            result,
        )
    })
}

fn migrate(from: &mut Client, to: &Server, key: &str) {
    let port = to.port().to_string();
    // The debug builds of both sides may take longer than a client's usual patience.
    from.send(&["MIGRATE", "127.0.0.1", &port, key, "0", TIMEOUT_MS])
        .expect("the source listens");
    from.flush().expect("the source listens");
    let reply = from.receive_within(PATIENCE).expect("an answer");
    reply.ok();
}

/// A large key goes from EagleDB to Redis and comes back, and from one EagleDB to another; nobody else waits for it.
#[test]
fn a_large_key_moves_without_stalling_others() {
    let count = elements();
    // One worker: every other connection shares the thread of the one that moves the key.
    let start = || Launch::eagledb().option("worker-threads", "1").start();
    let (ours, other, theirs) = (start(), start(), Launch::redis().start());
    let mut client = ours.client();
    let mut report = Vec::new();
    for kind in TYPES {
        fill(&mut client, kind, "large", count);
        let before = digest(&mut client, "large");
        for attempt in 1..=ATTEMPTS_MAX {
            let (idle, ()) = longest_waits(&ours, || thread::sleep(IDLE_TIME));
            let (source, ()) = longest_waits(&ours, || migrate(&mut client, &theirs, "large"));
            assert_eq!(client.call(&["EXISTS", "large"]).int(), 0);
            let mut there = theirs.client();
            assert_eq!(
                digest(&mut there, "large"),
                before,
                "{kind} at redis-server"
            );
            let (target, ()) = longest_waits(&ours, || migrate(&mut there, &ours, "large"));
            assert_eq!(digest(&mut client, "large"), before, "{kind} back again");
            let (between, ()) = longest_waits(&other, || migrate(&mut client, &other, "large"));
            let mut there = other.client();
            assert_eq!(digest(&mut there, "large"), before, "{kind} at another");
            migrate(&mut there, &ours, "large");
            let line = format!(
                "{kind} of {count}: worst PING and GET idle {idle:.1?}, as source {source:.1?}, as target \
                 {target:.1?}, from one EagleDB to another {between:.1?}"
            );
            println!("{line}");
            report.push(line);
            // A busy machine delays everybody now and then; a stall is there each time.
            let limit = |at: usize| STALL_MAX.max(idle[at] * 2);
            let waits = [source, target, between];
            if waits
                .iter()
                .all(|waits| waits[0] <= limit(0) && waits[1] <= limit(1))
            {
                break;
            }
            assert!(attempt < ATTEMPTS_MAX, "{}", report.join("\n"));
        }
        client.call(&["DEL", "large"]);
    }
}

/// `redis-cli --cluster reshard` moves slots with keys of all types, small and large, from Redis to EagleDB and back,
/// while others are written to.
#[test]
fn slots_of_all_types_are_resharded_both_ways_under_load() {
    const REDIS: usize = 0;
    const EAGLEDB: usize = 1;
    const SLOTS: u16 = 60;
    let cluster = Cluster::of(&[Kind::Redis, Kind::EagleDb, Kind::EagleDb]);
    let mut nodes: Vec<Client> = cluster.nodes.iter().map(Server::client).collect();
    let large = elements() / 20;
    let mut keys = Vec::new();
    // Resharding takes the first slots of a node first.
    let tags = (0..)
        .map(|number| format!("tag{number}"))
        .filter(|tag| key_slot(tag.as_bytes()) < SLOTS);
    for (index, tag) in tags.take(30).enumerate() {
        for kind in TYPES {
            // Packed ones, and ones of both large forms.
            for count in [3, 700, if index == 0 { large } else { 0 }] {
                if count > 0 {
                    let key = format!("{{{tag}}}:{kind}:{count}");
                    fill(&mut nodes[REDIS], kind, &key, count);
                    keys.push(key);
                }
            }
        }
        let key = format!("{{{tag}}}:string");
        nodes[REDIS]
            .call(&["SET", &key, &"x".repeat(1 + index * 3000)])
            .ok();
        nodes[REDIS].call(&["PEXPIREAT", &key, "4102444800000"]);
        nodes[REDIS]
            .call(&[
                "XGROUP",
                "CREATE",
                &format!("{{{tag}}}:stream:3"),
                "group",
                "0",
            ])
            .ok();
        keys.push(key);
        let key = format!("{{{tag}}}:hll");
        // Longer than a string that RESTORE would call `embstr`.
        let members: Vec<String> = (0..40).map(|number| format!("member:{number}")).collect();
        let mut words = vec!["PFADD", &*key];
        words.extend(members.iter().map(String::as_str));
        nodes[REDIS].call(&words);
        keys.push(key);
    }
    let told = |client: &mut Client| -> Vec<[Reply; 4]> {
        let ask = |key: &String| {
            [
                client.call(&["TYPE", key]),
                client.call(&["OBJECT", "ENCODING", key]),
                client.call(&["DEBUG", "DIGEST-VALUE", key]),
                client.call(&["PEXPIRETIME", key]),
            ]
        };
        keys.iter().map(ask).collect()
    };
    let before = told(&mut nodes[REDIS]);
    cluster.while_writing(|| {
        cluster.reshard(REDIS, EAGLEDB, SLOTS.into());
        compare(&keys, &before, &told(&mut nodes[EAGLEDB]));
        cluster.reshard(EAGLEDB, REDIS, SLOTS.into());
        compare(&keys, &before, &told(&mut nodes[REDIS]));
        cluster.check();
    });
}

fn compare(keys: &[String], before: &[[Reply; 4]], after: &[[Reply; 4]]) {
    for ((key, before), after) in keys.iter().zip(before).zip(after) {
        assert_eq!(before[..3], after[..3], "{key}");
        // MIGRATE sends the time that is left, and both servers take some for it.
        assert!(
            same(Compare::Time(1000), &before[3], &after[3]),
            "{key}: {before:?}, {after:?}"
        );
    }
}
