//! Scripts of edge cases: every line of `tests/scripts/<group>/<command>` gets the same reply from
//! EagleDB and from redis-server 7.0.15, in RESP2 and in RESP3.
//!
//! A line is a command as one types it into redis-cli; `#` begins a comment. A mark before the command
//! loosens the comparison: `~` elements in any order, `=` pairs in any order, `?` only kind and length,
//! `@n` integers that differ by at most n; `!` waits behind the command until a key that was to expire in a millisecond has.
//! In front of it, `n>` says on which connection the command runs (0 if nothing is said, 1, `s` the one that listens, `b`
//! one that may wait), and `n+>` that it is sent in one write with the next line. Each script starts with an empty keyspace and with
//! `hash-max-listpack-entries` at 8.
//!
//! What 7.0.15 does not know is in `tests/scripts/later/<command>`: those run against EagleDB alone, in RESP3, as a node
//! of a cluster where the first line is `#cluster`, and a line `=> reply` says what the command above it replies, as
//! the documentation of the version has it that brought the command.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use eagle_core::text::split_args::split_args;
use eagledb_tests::Launch;
use eagledb_tests::binary::workspace;
use eagledb_tests::differential::{BLOCKER, Compare, Pair, SUBSCRIBER, Step};

/// Groups of `COMMAND DOCS` of which every command that we have must have a script.
const COMPLETE_GROUPS: &[&str] = &[
    "bitmap",
    "geo",
    "hash",
    "hyperloglog",
    "list",
    "set",
    "sorted-set",
    "stream",
    "string",
];

/// The folder of scripts with replies.
const LATER: &str = "later";

#[test]
fn scripts_get_the_same_replies() {
    // A low limit, so that few fields make a hash a table.
    let start = |launch: Launch| launch.option("hash-max-listpack-entries", "8").start();
    let pair = Pair::new(start(Launch::eagledb()), start(Launch::redis()));
    let scripts = scripts();
    assert!(scripts.len() > 40, "only {} scripts found", scripts.len());
    let mut differences = Vec::new();
    for script in &scripts {
        let text = std::fs::read_to_string(script).expect("a script is readable");
        for protocol in ["2", "3"] {
            if let Some(mismatch) = pair.run(&steps(&text, protocol)) {
                let script = script
                    .strip_prefix(folder())
                    .expect("found below it")
                    .display();
                differences.push(format!("{script}, RESP{protocol}:\n{mismatch}"));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "replies differ\n{}",
        differences.join("\n")
    );
}

#[test]
fn every_command_of_a_complete_group_has_a_script() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    let scripts = [scripts(), later_scripts()].concat();
    let scripted: BTreeSet<&str> = scripts
        .iter()
        .filter_map(|script| script.file_name()?.to_str())
        .collect();
    let docs = client.call(&["COMMAND", "DOCS"]);
    let mut missing = Vec::new();
    for doc in docs.items().chunks(2) {
        let name = doc[0].text();
        let fields = doc[1].items();
        let group = fields.chunks(2).find(|field| field[0].text() == "group");
        let is_due = group.is_some_and(|field| COMPLETE_GROUPS.contains(&&*field[1].text()));
        if is_due && !scripted.contains(&*name) {
            missing.push(name);
        }
    }
    assert!(docs.items().len() > 80, "COMMAND DOCS knows too little");
    assert!(missing.is_empty(), "without a script: {missing:?}");
}

#[test]
fn later_commands_reply_as_documented() {
    let alone = Launch::eagledb().start();
    let node = Launch::eagledb()
        .option("cluster-databases", "16")
        .start_alone();
    let mut differences = Vec::new();
    for script in later_scripts() {
        let text = std::fs::read_to_string(&script).expect("a script is readable");
        let is_clustered = text.starts_with("#cluster");
        let server = if is_clustered { &node } else { &alone };
        let mut client = server.client();
        client.call(&["HELLO", "3"]);
        client.call(&["FLUSHALL"]).ok();
        let mut said = None;
        for line in text.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some(expected) = line.strip_prefix("=> ") else {
                let args = split_args(line.as_bytes()).expect("balanced quotes");
                said = Some((line, client.call(&args)));
                continue;
            };
            let (line, reply) = said.as_ref().expect("a command before its reply");
            // Error texts are shown with their quotes escaped.
            let shown = format!("{reply:?}").replace("\\'", "'");
            if shown != expected {
                let script = script.display();
                differences.push(format!("{script}: {line}: {shown}, not {expected}"));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "replies differ\n{}",
        differences.join("\n")
    );
}

/// Marks and quotes are read as the head of this file says.
#[test]
fn lines_become_steps() {
    let steps = steps("# note\n\nGET \"a b\"\n~ HKEYS h\n@5 TTL k\n", "3");
    let shown: Vec<_> = steps
        .iter()
        .map(|step| (step.args.len(), step.compare))
        .collect();
    let expected = [
        (2, Compare::Shape),
        (2, Compare::Exact),
        (2, Compare::Unordered),
        (2, Compare::Time(5)),
    ];
    assert_eq!(shown, expected);
    assert_eq!(steps[1].args[1], b"a b");
}

fn folder() -> PathBuf {
    workspace().join("tests").join("scripts")
}

/// All scripts, in order.
fn scripts() -> Vec<PathBuf> {
    let mut scripts: Vec<PathBuf> = entries(&folder())
        .iter()
        .filter(|group| !group.ends_with(LATER))
        .flat_map(|group| entries(group))
        .collect();
    scripts.sort();
    scripts
}

/// Scripts of what 7.0.15 does not know.
fn later_scripts() -> Vec<PathBuf> {
    let mut scripts = entries(&folder().join(LATER));
    scripts.sort();
    scripts
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a folder of scripts");
    entries
        .map(|entry| entry.expect("readable").path())
        .collect()
}

fn steps(text: &str, protocol: &str) -> Vec<Step> {
    // HELLO names the server, so only its shape is the same.
    let hello = format!("? HELLO {protocol}");
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    std::iter::once(hello.as_str())
        .chain(lines)
        .map(step)
        .collect()
}

fn step(line: &str) -> Step {
    let head = line
        .split(' ')
        .next()
        .and_then(|word| word.strip_suffix('>'));
    let (place, line) = match head {
        Some(place) => (place, &line[place.len() + 2..]),
        None => ("0", line),
    };
    let (connection, is_joined) = match place.strip_suffix('+') {
        Some(connection) => (connection, true),
        None => (place, false),
    };
    let connection = match connection {
        "0" => 0,
        "1" => 1,
        "s" => SUBSCRIBER,
        "b" => BLOCKER,
        other => panic!("there is no connection {other}"),
    };
    let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (compare, command) = match mark {
        "~" => (Compare::Unordered, rest),
        "=" => (Compare::Pairs, rest),
        "?" => (Compare::Shape, rest),
        "!" => (Compare::Exact, rest),
        _ => match mark.strip_prefix('@') {
            Some(tolerance) => (
                Compare::Time(tolerance.parse().expect("a number after @")),
                rest,
            ),
            None => (Compare::Exact, line),
        },
    };
    let args = split_args(command.as_bytes()).expect("the quotes of a script are balanced");
    Step {
        expires: mark == "!",
        is_joined,
        ..Step::of(connection, args, compare)
    }
}
