//! Generated commands sent to nodes of clusters: one that redirects gives the replies of a redis-server in its place,
//! and one that forwards those of a redis-server that has the keys itself.
//!
//! `EAGLEDB_DIFF_SECONDS` asks for a longer run; `EAGLEDB_SEED` repeats one sequence.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eagledb_tests::binary::workspace;
use eagledb_tests::differential::{
    COMING, Compare, Coverage, Generator, Kinds, LEAVING, OWNED_ELSEWHERE, Pair, Party, Step, docs,
    forwarded, payloads, redirected,
};
use eagledb_tests::routed::key_slot;
use eagledb_tests::{Cluster, Kind, Launch, Server};

const STEPS: usize = 300;
/// Sequences of the short run, at most.
const SHORT_SEQUENCES: u64 = 20;
const SHORT_SECONDS: u64 = 10;
/// Mismatches shown at once.
const SHOWN_MAX: usize = 6;

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok();
    text.map(|text| text.parse().expect("a number"))
}

/// Runs sequences until the time is over. `place` makes a generated one fit for the cluster.
fn compare(pair: &Pair, place: impl Fn(Vec<Step>, u64) -> Vec<Step>) {
    let table: Arc<[docs::Documented]> = docs::read(&mut pair.reference().client()).into();
    let payloads = Arc::new(payloads::read(&mut pair.reference().client()));
    let seconds = number_from_env("EAGLEDB_DIFF_SECONDS");
    let deadline = Instant::now() + Duration::from_secs(seconds.unwrap_or(SHORT_SECONDS));
    let default_seed = seconds.map_or(11_000, |_| u64::from(std::process::id()) << 20);
    let first_seed = number_from_env("EAGLEDB_SEED").unwrap_or(default_seed);
    let sequences_max = seconds.map_or(SHORT_SEQUENCES, |_| u64::MAX);
    let mut coverage = Coverage::default();
    let mut seed = first_seed;
    let mut mismatches = Vec::new();
    while Instant::now() < deadline
        && mismatches.len() < SHOWN_MAX
        && seed - first_seed < sequences_max
    {
        let mut generator = Generator::new(seed, table.clone()).with_payloads(payloads.clone());
        let steps = place(generator.sequence(STEPS), seed);
        coverage.add(&table, &steps);
        if let Some(mismatch) = pair.run(&steps) {
            let shown = format!("seed {seed}:\n{}", pair.shorten(mismatch));
            println!("{shown}");
            mismatches.push(shown);
        }
        seed += 1;
    }
    println!(
        "{} sequences from seed {first_seed}: {}",
        seed - first_seed,
        coverage.summary(&table)
    );
    assert!(
        mismatches.is_empty(),
        "replies differ\n{}",
        mismatches.join("\n")
    );
}

/// Three nodes; one slot is on its way from the first to the second and one the other way.
fn moving(kind: Kind) -> Party {
    let Cluster { mut nodes } = Cluster::of(&[kind; 3]);
    let slot = |tag: &str| key_slot(tag.as_bytes()).to_string();
    let other = nodes[1].client().call(&["CLUSTER", "MYID"]).text();
    let mut client = nodes[0].client();
    for (tag, way) in [(LEAVING, "MIGRATING"), (COMING, "IMPORTING")] {
        client
            .call(&["CLUSTER", "SETSLOT", &slot(tag), way, &other])
            .ok();
    }
    let names = ["FIRST", "SECOND", "THIRD"];
    Party {
        words: nodes.iter().map(Server::address).zip(names).collect(),
        asked: nodes.remove(0),
        others: nodes,
        is_elsewhere: false,
    }
}

#[test]
fn a_node_that_redirects_replies_as_redis_does() {
    let pair = Pair::of(moving(Kind::EagleDb), moving(Kind::Redis));
    let (leaving, coming) = (format!("{{{LEAVING}}}k"), format!("{{{COMING}}}k"));
    let known: [(&str, &str, &str); 3] = [
        // The script did not declare the key, so that it was not locked when the command was routed, and was written.
        (
            "a script and a key that is missing in a slot on its way",
            "return redis.pcall('rpush', ARGV[1], 'x')",
            &leaving,
        ),
        // It held for all further calls, and for the client's next request.
        (
            "ASKING in a script",
            "redis.call('asking') return redis.pcall('rpush', ARGV[1], 'x')",
            &coming,
        ),
        (
            "RESTORE-ASKING in a script",
            "return redis.pcall('restore-asking', ARGV[1], '0', 'x')",
            &coming,
        ),
    ];
    for (what, script, key) in known {
        let line = ["EVAL", script, "0", key];
        let steps = [
            Step::new(0, &line, Compare::Exact),
            Step::new(0, &["GET", key], Compare::Exact),
        ];
        if let Some(mismatch) = pair.run(&steps) {
            panic!("{what}\n{mismatch}");
        }
    }
    compare(&pair, redirected);
}

#[test]
fn a_node_that_forwards_replies_as_the_owner_does() {
    let Cluster { mut nodes } = Cluster::forwarding();
    // Of the keys of this tag it has none, the last node all.
    let asked = nodes.remove(0);
    nodes.reverse();
    let slot = key_slot(OWNED_ELSEWHERE.as_bytes()).to_string();
    let ours = Party {
        words: Vec::new(),
        asked,
        others: nodes,
        is_elsewhere: true,
    };
    let there = ours.others[0]
        .client()
        .call(&["CLUSTER", "COUNTKEYSINSLOT", &slot]);
    assert_eq!(there.int(), 0, "the slot is served");
    let theirs = Party::alone(Launch::redis().start_alone());
    let pair = Pair::of(ours, theirs);
    let kinds = kinds();
    compare(&pair, |steps, seed| {
        forwarded(steps, seed, &kinds, &mut pair.reference().client())
    });
}

/// The table of commands in `FORWARDING.md`.
fn kinds() -> Kinds {
    let path = workspace().join("eagle-server").join("FORWARDING.md");
    let text = std::fs::read_to_string(path).expect("the manual is there");
    let kinds: Kinds = text
        .lines()
        .skip_while(|line| *line != "## Commands")
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
            Some((cells.next()?.to_owned(), cells.next()?.to_owned()))
        })
        .collect();
    assert!(kinds.len() > 300, "the table has {} lines", kinds.len());
    kinds
}
