//! Slots and keys of every type move between EagleDB and redis-server 7.0.15, both ways: the values are the same
//! afterwards, and a key of very many elements does not hold up the other clients of an EagleDB node.
//!
//! `EAGLEDB_MOVE_ELEMENTS` sets the size of the large keys; a million is what the promise is about. Only then are the
//! waits of others held against the promise. They are told with what the machine adds taken off: the time that a thread
//! was ready to run and did not, because others had the cores.

use std::path::PathBuf;
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
/// A page fault may wait for the disk, or a core for another system on the same machine; a stall is there each time.
const ATTEMPTS_MAX: usize = 3;

/// Elements of a large key, if they were asked for.
fn asked_for() -> Option<usize> {
    let text = std::env::var("EAGLEDB_MOVE_ELEMENTS").ok()?;
    Some(text.parse().expect("a number"))
}

fn elements() -> usize {
    asked_for().unwrap_or(40_000)
}

/// The types a large key can have, each with how its elements from `first` on are added.
const TYPES: [&str; 5] = ["list", "set", "hash", "zset", "stream"];

/// Bytes that a large string has for each element of the others.
const STRING_BYTES: usize = 100;

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
        // Nothing that can be compressed.
        "string" => {
            let mut state = first as u64 + 1;
            let random = (0..count * STRING_BYTES).map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                char::from(b'!' + (state >> 33) as u8 % 90)
            });
            commands.push([head(&["APPEND", key]), vec![random.collect()]].concat());
        }
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

/// How long threads were ready to run and had no core, so far: those of `stats`, which are `schedstat` files.
fn starved(stats: &[PathBuf]) -> Duration {
    let nanos = |path: &PathBuf| -> Option<u64> {
        let text = std::fs::read_to_string(path).ok()?;
        text.split(' ').nth(1)?.parse().ok()
    };
    Duration::from_nanos(stats.iter().filter_map(nanos).sum())
}

/// The `schedstat` files of the calling thread and of a server's worker.
fn both_ends(server: &Server) -> Vec<PathBuf> {
    let tasks = format!("/proc/{}/task", server.pid().as_raw_nonzero());
    let tasks = std::fs::read_dir(tasks).expect("the server runs");
    let is_worker = |task: &PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("worker"))
    };
    let workers = tasks
        .map(|task| task.unwrap().path())
        .filter(is_worker)
        .map(|task| task.join("schedstat"));
    workers
        .chain(["/proc/thread-self/schedstat".into()])
        .collect()
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
                let (mut longest, ends) = (Duration::ZERO, both_ends(server));
                while !stop.load(Ordering::Relaxed) {
                    let (starved_before, sent) = (starved(&ends), Instant::now());
                    assert_eq!(client.call(command).error(), None);
                    let took = sent.elapsed();
                    longest = longest.max(took.saturating_sub(starved(&ends) - starved_before));
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
    for kind in TYPES.into_iter().chain(["string"]) {
        fill(&mut client, kind, "large", count);
        let before = digest(&mut client, "large");
        for attempt in 1..=ATTEMPTS_MAX {
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
                "{kind} of {count}: worst PING and GET as source {source:.1?}, as target {target:.1?}, from one \
                 EagleDB to another {between:.1?}"
            );
            println!("{line}");
            report.push(line);
            let waits = [source, target, between];
            if asked_for().is_none() || waits.iter().flatten().all(|wait| *wait <= STALL_MAX) {
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
