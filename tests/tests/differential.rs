//! EagleDB and redis-server 7.0.15 give the same reply to the same command, byte for byte where
//! the reply is not random or timed.
//!
//! `EAGLEDB_DIFF_SECONDS` asks for a longer run; `EAGLEDB_SEED` repeats one sequence.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eagledb_tests::differential::docs::{self, Documented};
use eagledb_tests::differential::{Coverage, Generator, Mismatch, POLICIES, Pair, payloads};
use eagledb_tests::server::check_pool;
use eagledb_tests::{Launch, Reply, Server};

const STEPS: usize = 400;
/// Mismatches shown at once.
const SHOWN_MAX: usize = 12;

fn servers() -> (Server, Server) {
    // A low limit, so that many hashes outgrow their packed form.
    let start = |launch: Launch| launch.option("hash-max-listpack-entries", "8").start();
    (start(Launch::eagledb()), start(Launch::redis()))
}

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

/// Sequences of the short run, at most: a faster machine is to send the same, not more.
const SHORT_SEQUENCES: u64 = 60;

/// The reference's table, for the generator.
fn table(theirs: &Server) -> Arc<[Documented]> {
    docs::read(&mut theirs.client()).into()
}

#[test]
fn generated_commands_get_the_same_replies() {
    /// Sequences after which both servers make room for new ones: redis-server grew by two megabytes with each, which it does
    /// not count in its `used_memory` and never gave back.
    const SEQUENCES_OF_PAIR: u64 = 500;
    let (ours, theirs) = servers();
    let table = table(&theirs);
    let payloads = Arc::new(payloads::read(&mut theirs.client()));
    let mut pair = Pair::new(ours, theirs);
    let seconds = number_from_env("EAGLEDB_DIFF_SECONDS");
    let deadline = Instant::now() + Duration::from_secs(seconds.unwrap_or(20));
    // The short run sends the same each time; a long one looks for what was never sent.
    let default_seed = seconds.map_or(9000, |_| u64::from(std::process::id()) << 20);
    let first_seed = number_from_env("EAGLEDB_SEED").unwrap_or(default_seed);
    let mut coverage = Coverage::default();
    // One for each command and way of failing.
    let mut mismatches: BTreeMap<String, (u64, Mismatch)> = BTreeMap::new();
    let mut seed = first_seed;
    let sequences_max = seconds.map_or(SHORT_SEQUENCES, |_| u64::MAX);
    while Instant::now() < deadline
        && mismatches.len() < SHOWN_MAX
        && seed - first_seed < sequences_max
    {
        let steps = Generator::new(seed, table.clone())
            .with_payloads(payloads.clone())
            .sequence(STEPS);
        coverage.add(&table, &steps);
        if let Some(mismatch) = pair.run(&steps) {
            let command =
                mismatch.steps.last().expect("one step differs").args[0].to_ascii_lowercase();
            let kind = format!(
                "{} {:.12}",
                command.escape_ascii(),
                format!("{:?}", mismatch.ours.reply)
            );
            if let Entry::Vacant(entry) = mismatches.entry(kind) {
                let (_, mismatch) = entry.insert((seed, pair.shorten(mismatch)));
                println!("seed {seed}:\n{mismatch}");
            }
        }
        seed += 1;
        if (seed - first_seed).is_multiple_of(SEQUENCES_OF_PAIR) {
            end(pair);
            let (ours, theirs) = servers();
            pair = Pair::new(ours, theirs);
        }
    }
    println!(
        "{} sequences of {STEPS} commands from seed {first_seed}: {}",
        seed - first_seed,
        coverage.summary(&table)
    );
    let shown: Vec<String> = mismatches
        .values()
        .map(|(seed, mismatch)| format!("seed {seed}:\n{mismatch}"))
        .collect();
    assert!(
        mismatches.is_empty(),
        "replies differ\n{}",
        shown.join("\n")
    );
    end(pair);
}

/// Stops both servers; the pool is sound.
fn end(pair: Pair) {
    let (mut ours, _theirs) = pair.into_servers();
    let pool = ours.pool_path();
    assert!(ours.stop().success());
    if let Some(pool) = pool {
        check_pool(&pool);
    }
}

/// No command of the reference is left out but for a reason, and no reason is out of date.
#[test]
fn every_command_is_generated() {
    const SEQUENCES: u64 = 120;
    let theirs = Launch::redis().start();
    let table = table(&theirs);
    assert!(table.len() > 350, "only {} commands", table.len());
    let mut coverage = Coverage::default();
    for seed in 0..SEQUENCES {
        let steps = Generator::new(seed, table.clone()).sequence(STEPS);
        coverage.add(&table, &steps);
    }
    println!("{}", coverage.summary(&table));
    let missing = coverage.missing(&table);
    assert!(missing.is_empty(), "never generated: {missing:?}");
    let forbidden = coverage.forbidden();
    assert!(
        forbidden.is_empty(),
        "generated in spite of the reason: {forbidden:?}"
    );
    let unknown: Vec<&str> = POLICIES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| table.iter().all(|command| command.name != *name))
        .collect();
    assert!(unknown.is_empty(), "no such command: {unknown:?}");
}

/// What is no well-formed request gets the same words and the same end.
#[test]
fn protocol_errors_are_the_same() {
    let (ours, theirs) = servers();
    let inputs: &[&[u8]] = &[
        b"PING\r\n",
        b"PING\n",
        b"\r\n\r\nPING\r\n",
        b"SET \"a b\" 'c\\'d'\r\nGET \"a b\"\r\n",
        b"SET \"\\x41\\n\" 1\r\nGET \"\\x41\\n\"\r\n",
        b"GET \"unbalanced\r\n",
        b"GET \"a\"b\r\n",
        b"*-1\r\nPING\r\n",
        b"*0\r\nPING\r\n",
        b"*x\r\n",
        b"*2147483648\r\n",
        b"*1\r\nPING\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$4\r\nPINGxx",
        b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
        b"*1\r\n$1\r\n\x00\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n:1\r\n",
        b"GET\r\nNOSUCH a 'b c'\r\nSET a\r\n",
        b"POST / HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"QUIT\r\nPING\r\n",
        b"MULTI\r\nSET a\r\nEXEC\r\n",
        b"MULTI\r\nWATCH a\r\nMULTI\r\nGET a\r\nEXEC\r\n",
    ];
    let long_inline = [b"PING ".as_slice(), &b"x".repeat(200_000)].concat();
    let long_multibulk = [b"*".as_slice(), &b"1".repeat(200_000)].concat();
    let long_bulk_count = [b"*1\r\n$".as_slice(), &b"1".repeat(200_000)].concat();
    let mut differences = Vec::new();
    for input in inputs
        .iter()
        .copied()
        .chain([&long_inline[..], &long_multibulk, &long_bulk_count])
    {
        let [ours, theirs] = [&ours, &theirs].map(|server| conversation(server, input));
        if ours != theirs {
            differences.push(format!(
                "{:.80}\n  ours   {ours:.300}\n  theirs {theirs:.300}",
                input.escape_ascii().to_string()
            ));
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

/// Commands that take arguments of later versions too; the conformance test of the server says how their rows differ.
const EXTENDED: [&str; 3] = ["set", "zrank", "zrevrank"];

/// `COMMAND INFO` and `COMMAND DOCS` say of every command we have what Redis says of it.
#[test]
fn the_command_table_is_that_of_redis() {
    let (ours, theirs) = servers();
    let [mut ours, mut theirs] = [&ours, &theirs].map(|server| {
        let mut client = server.client();
        // RESP3 tells maps and sets from lists, so that only their order is free.
        client.call(&["HELLO", "3"]);
        client
    });
    let [names, known] = [&mut ours, &mut theirs].map(|client| {
        let list = client.call(&["COMMAND", "LIST"]);
        list.items()
            .iter()
            .map(Reply::text)
            .collect::<BTreeSet<String>>()
    });
    let mut differences = Vec::new();
    let same = names
        .intersection(&known)
        .filter(|name| !EXTENDED.contains(&name.as_str()));
    for name in same {
        for view in ["INFO", "DOCS"] {
            let [ours, theirs] = [&mut ours, &mut theirs].map(|client| {
                without_subcommands(canonical(&client.call(&["COMMAND", view, name])))
            });
            if ours != theirs {
                differences.push(first_difference(&format!("{view} {name}"), &ours, &theirs));
            }
        }
    }
    let count = names.intersection(&known).count();
    assert!(count > 80, "only {count} commands are known to both");
    assert!(
        differences.is_empty(),
        "{} differ\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// A value dumped by one server and restored by the other is the same value.
#[test]
fn dumps_cross_over() {
    let (ours, theirs) = servers();
    let values: Vec<Vec<u8>> = vec![
        b"".into(),
        b"0".into(),
        b"-129".into(),
        b"70000".into(),
        b"9223372036854775807".into(),
        b"12345678901234567890".into(),
        b"abc".into(),
        vec![b'a'; 5000],
        (0..=255).collect(),
        (0..70_000u32).flat_map(u32::to_le_bytes).collect(),
    ];
    for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
        let (mut from, mut to) = (from.client(), to.client());
        to.call(&["FLUSHALL"]).ok();
        let mut keys = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let key = format!("s{index}").into_bytes();
            from.call(&[b"SET", &key[..], value]).ok();
            keys.push(key);
        }
        for fields in [1, 5, 600] {
            let key = format!("h{fields}").into_bytes();
            for field in 0..fields {
                let value = &values[field % values.len()];
                from.call(&[b"HSET", &key[..], format!("f{field}").as_bytes(), value]);
            }
            keys.push(key);
        }
        for key in keys {
            let Reply::Bulk(payload) = from.call(&[b"DUMP", &key[..]]) else {
                panic!("nothing to dump")
            };
            to.call(&[b"RESTORE", &key[..], b"0", &payload]).ok();
            let read: &[u8] = if key[0] == b's' { b"GET" } else { b"HGETALL" };
            let [sent, received] =
                [&mut from, &mut to].map(|client| canonical_pairs(&client.call(&[read, &key[..]])));
            assert_eq!(sent, received, "{}", String::from_utf8_lossy(&key));
            // A damaged payload is refused by both with the same words.
            let mut damaged = payload.clone();
            damaged[payload.len() / 2] ^= 1;
            let refusal = to
                .call(&[b"RESTORE", &key[..], b"0", &damaged, b"REPLACE"])
                .error();
            assert_eq!(
                refusal.as_deref(),
                Some("ERR DUMP payload version or checksum are wrong")
            );
        }
    }
}

/// Everything a server says to `input`, and whether it still listens afterwards.
fn conversation(server: &Server, input: &[u8]) -> String {
    let mut client = server.client();
    for bytes in [input, b"\r\nPING still-here\r\n"] {
        // The server may hang up early; what it said before is what counts.
        let _ = client.send_raw(bytes);
    }
    client.finish().escape_ascii().to_string()
}

/// Puts in order what has none: sets, maps, and the list of subcommands.
fn canonical(reply: &Reply) -> Reply {
    let all = |items: &[Reply]| items.iter().map(canonical).collect::<Vec<_>>();
    let sorted = |mut items: Vec<Reply>| {
        items.sort();
        items
    };
    match reply {
        Reply::Set(items) => Reply::Set(sorted(all(items))),
        Reply::Array(items) if items.iter().all(|item| matches!(item, Reply::Array(_))) => {
            Reply::Array(sorted(all(items)))
        }
        Reply::Array(items) => Reply::Array(all(items)),
        Reply::Map(pairs) => {
            let mut pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| (canonical(key), canonical(value)))
                .collect();
            pairs.sort();
            Reply::Map(pairs)
        }
        other => other.clone(),
    }
}

/// A container's entry without its subcommands, which are compared one by one, where we have them.
fn without_subcommands(reply: Reply) -> Reply {
    match reply {
        Reply::Array(entries) => Reply::Array(
            entries
                .into_iter()
                .map(|entry| match entry {
                    Reply::Array(mut fields) if matches!(fields.last(), Some(Reply::Array(_))) => {
                        fields.pop();
                        Reply::Array(fields)
                    }
                    other => other,
                })
                .collect(),
        ),
        Reply::Map(entries) => {
            let is_subcommands = |key: &Reply| key.bytes() == Some(b"subcommands");
            let without = |entry: Reply| match entry {
                Reply::Map(fields) => Reply::Map(
                    fields
                        .into_iter()
                        .filter(|(key, _)| !is_subcommands(key))
                        .collect(),
                ),
                other => other,
            };
            Reply::Map(
                entries
                    .into_iter()
                    .map(|(name, entry)| (name, without(entry)))
                    .collect(),
            )
        }
        other => other,
    }
}

fn canonical_pairs(reply: &Reply) -> Vec<Vec<Reply>> {
    let mut pairs: Vec<Vec<Reply>> = match reply {
        Reply::Array(items) => items.chunks(2).map(<[Reply]>::to_vec).collect(),
        other => vec![vec![other.clone()]],
    };
    pairs.sort();
    pairs
}

/// The innermost place at which two replies part.
fn first_difference(path: &str, ours: &Reply, theirs: &Reply) -> String {
    let parts = |reply: &Reply| -> Vec<(String, Reply)> {
        match reply {
            Reply::Array(items) => items
                .iter()
                .cloned()
                .enumerate()
                .map(|(index, item)| (index.to_string(), item))
                .collect(),
            Reply::Map(pairs) => pairs
                .iter()
                .map(|(key, value)| (format!("{key:?}"), value.clone()))
                .collect(),
            _ => Vec::new(),
        }
    };
    let (a, b) = (parts(ours), parts(theirs));
    let is_same_shape = a
        .iter()
        .map(|(name, _)| name)
        .eq(b.iter().map(|(name, _)| name));
    let differing = a.iter().zip(&b).find(|(a, b)| a != b);
    match differing {
        Some(((name, a), (_, b))) if is_same_shape => {
            first_difference(&format!("{path}.{name}"), a, b)
        }
        _ => format!(
            "{path}:\n  ours   {:.300}\n  theirs {:.300}",
            format!("{ours:?}"),
            format!("{theirs:?}")
        ),
    }
}
