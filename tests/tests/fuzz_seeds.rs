//! Valid input for every fuzz target, made anew from the scripts of edge cases and from running servers, so that a fuzzer
//! begins inside the formats and not in front of them.
//!
//! `EAGLEDB_FUZZ_SEEDS` names the folder of corpora (`tests/fuzz.sh` does); without it the seeds are made and thrown away,
//! which shows that there still are some for each target.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eagle_core::text::split_args::split_args;
use eagledb_tests::binary::workspace;
use eagledb_tests::differential::payloads;
use eagledb_tests::{Client, Launch, Reply, wait_for};

/// Longer input only slows a fuzzer down.
const SEED_BYTES_MAX: usize = 4096;
/// Of any target there are more seeds than this.
const SEEDS_MIN: usize = 5;

/// How long a node may take to greet another.
const GREETING_TIMEOUT: Duration = Duration::from_secs(30);

/// Seeds of each target.
#[derive(Debug, Default)]
struct Seeds(BTreeMap<&'static str, BTreeSet<Vec<u8>>>);

impl Seeds {
    fn add(&mut self, target: &'static str, seed: Vec<u8>) {
        if seed.len() <= SEED_BYTES_MAX {
            self.0.entry(target).or_default().insert(seed);
        }
    }

    /// Two texts, as the fuzzing library reads them: the length of the first one stands behind both.
    fn add_pair(&mut self, target: &'static str, a: &[u8], b: &[u8]) {
        if a.len() + b.len() < usize::from(u8::MAX) {
            self.add(target, [a, b, &[a.len() as u8]].concat());
        }
    }

    /// A payload of DUMP: the envelope is put around it again, and of what is packed the blob alone is input too.
    fn add_dump(&mut self, payload: &[u8]) {
        let body = &payload[..payload.len() - 10];
        self.add("rdb_dump", body.to_vec());
        // Blobs of up to 63 bytes have one byte of length, others up to 16,383 two.
        for start in [2, 3] {
            let blob = body.get(start..).unwrap_or_default();
            let unpacked_len = blob.len().min(usize::from(u16::MAX)) as u16;
            self.add("rdb_blobs", [&unpacked_len.to_le_bytes(), blob].concat());
        }
    }

    fn write(&self, folder: &Path) {
        for (target, seeds) in &self.0 {
            let corpus = folder.join(target);
            std::fs::create_dir_all(&corpus).expect("a folder can be made");
            for seed in seeds {
                let mut name = DefaultHasher::new();
                seed.hash(&mut name);
                let path = corpus.join(format!("seed-{:016x}", name.finish()));
                std::fs::write(path, seed).expect("a seed can be written");
            }
        }
    }
}

#[test]
fn every_fuzz_target_has_seeds() {
    let mut seeds = Seeds::default();
    let server = Launch::eagledb().start();
    for script in scripts() {
        let text = std::fs::read_to_string(script).expect("a script is readable");
        run(&mut server.client(), &text, &mut seeds);
    }
    let mut client = server.client();
    client.call(&["FLUSHALL"]).ok();
    let payloads = payloads::read(&mut client);
    payloads
        .values()
        .for_each(|payload| seeds.add_dump(payload));
    add_frames(&mut seeds);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let asked = std::env::var_os("EAGLEDB_FUZZ_SEEDS").map(PathBuf::from);
    seeds.write(asked.as_deref().unwrap_or(folder.path()));
    for target in targets() {
        let count = seeds.0.get(&*target).map_or(0, BTreeSet::len);
        println!("{target}: {count} seeds");
        assert!(count > SEEDS_MIN, "{target}: {count} seeds");
    }
}

/// Runs a script in both protocols, and keeps what was sent, what came back and what it left.
fn run(client: &mut Client, text: &str, seeds: &mut Seeds) {
    for protocol in ["2", "3"] {
        client.call(&["FLUSHALL"]).ok();
        client.call(&["HELLO", protocol]);
        let (mut sent, mut inline) = (vec![0, 7], vec![1, 3]);
        for line in text.lines() {
            // Marks of how replies are compared.
            let mark = |word: &str| matches!(word, "~" | "=" | "?") || word.starts_with('@');
            let line = match line.split_once(' ') {
                Some((word, rest)) if mark(word) => rest,
                _ => line,
            };
            if line.is_empty() || line.starts_with('#') || line.starts_with("=> ") {
                continue;
            }
            seeds.add("split_args", line.as_bytes().to_vec());
            inline.extend([line.as_bytes(), b"\r\n"].concat());
            let args = split_args(line.as_bytes()).expect("balanced quotes");
            let mut request = format!("*{}\r\n", args.len()).into_bytes();
            for arg in &args {
                request.extend(format!("${}\r\n", arg.len()).as_bytes());
                request.extend([&arg[..], b"\r\n"].concat());
            }
            sent.extend(&request);
            for pair in args.windows(2) {
                let is_number = |arg: &[u8]| {
                    std::str::from_utf8(arg).is_ok_and(|arg| arg.parse::<f64>().is_ok())
                };
                if pair.iter().any(|arg| is_number(arg)) {
                    seeds.add_pair("number", &pair[0], &pair[1]);
                }
                if pair
                    .iter()
                    .any(|arg| arg.iter().any(|byte| b"*?[".contains(byte)))
                {
                    seeds.add_pair("glob", &pair[1], &pair[0]);
                }
            }
            // What ends the conversation, or answers nothing.
            let is = |name: &str| args[0].eq_ignore_ascii_case(name.as_bytes());
            if is("quit") || is("monitor") || is("shutdown") || is("client") || is("reset") {
                continue;
            }
            let reply = client.call(&args);
            let mut bytes = Vec::new();
            write_reply(&reply, &mut bytes);
            seeds.add("reply", bytes);
        }
        seeds.add("request", sent);
        seeds.add("request", inline);
        client.call(&["RESET"]);
        for key in client.call(&["KEYS", "*"]).items() {
            let key = key.bytes().expect("a name");
            if let Reply::Bulk(payload) = client.call(&[b"DUMP", key]) {
                seeds.add_dump(&payload);
            }
        }
    }
}

/// A reply as it is on the wire.
fn write_reply(reply: &Reply, out: &mut Vec<u8>) {
    let line = |out: &mut Vec<u8>, kind: &str, text: &[u8]| {
        out.extend([kind.as_bytes(), text, b"\r\n"].concat());
    };
    let count = |items: usize| items.to_string().into_bytes();
    let bulk = |out: &mut Vec<u8>, kind: &str, text: &[u8]| {
        line(out, kind, &count(text.len()));
        line(out, "", text);
    };
    match reply {
        Reply::Simple(text) => line(out, "+", text),
        Reply::Error(text) => line(out, "-", text),
        Reply::Int(number) => line(out, ":", number.to_string().as_bytes()),
        Reply::Bulk(text) => bulk(out, "$", text),
        Reply::NilBulk => line(out, "$", b"-1"),
        Reply::NilArray => line(out, "*", b"-1"),
        Reply::Null => line(out, "_", b""),
        Reply::Double(text) => line(out, ",", text),
        Reply::Bool(is) => line(out, "#", if *is { b"t" } else { b"f" }),
        Reply::BigNumber(text) => line(out, "(", text),
        Reply::Verbatim(text) => bulk(out, "=", text),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            let kind = match reply {
                Reply::Array(_) => "*",
                Reply::Set(_) => "~",
                _ => ">",
            };
            line(out, kind, &count(items.len()));
            items.iter().for_each(|item| write_reply(item, out));
        }
        Reply::Map(pairs) => {
            line(out, "%", &count(pairs.len()));
            for (key, value) in pairs {
                write_reply(key, out);
                write_reply(value, out);
            }
        }
    }
}

/// Frames of the cluster bus: the one with which a node greets another, and others around its header.
fn add_frames(seeds: &mut Seeds) {
    const BODY_AT: usize = 2256;
    let node = Launch::eagledb().start_alone();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener
        .local_addr()
        .expect("it is bound")
        .port()
        .to_string();
    let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &port];
    node.client().call(&meet).ok();
    listener.set_nonblocking(true).expect("it is a socket");
    let (mut link, _) = wait_for("the node to come", GREETING_TIMEOUT, || {
        listener.accept().ok()
    });
    link.set_nonblocking(false).expect("it is a socket");
    link.set_read_timeout(Some(GREETING_TIMEOUT))
        .expect("a time limit");
    let mut frame = vec![0; 8];
    link.read_exact(&mut frame).expect("a greeting");
    let len = u32::from_be_bytes(frame[4..8].try_into().expect("four bytes"));
    frame.resize(len as usize, 0);
    link.read_exact(&mut frame[8..]).expect("all of it");
    // Type and count, flags of the node, flags of the message: what the target takes from the input.
    let around = |kind: u16, count: u16, body: &[u8]| {
        let counts = [kind.to_be_bytes(), count.to_be_bytes()].concat();
        let flags = [&frame[2214..2216], &frame[2252..2254]].concat();
        [&counts, &flags, body].concat()
    };
    let greeting = &frame[BODY_AT..];
    let gossips = u16::from_be_bytes(frame[14..16].try_into().expect("two bytes"));
    for kind in 0..3 {
        seeds.add("bus_frame", around(kind, gossips, greeting));
    }
    let name = [b'a'; 40];
    let publish = [&1u32.to_be_bytes()[..], &5u32.to_be_bytes(), b"chello"].concat();
    let update = [&7u64.to_be_bytes()[..], &name, &[0x55; 2048]].concat();
    let module = [&1u64.to_be_bytes()[..], &3u32.to_be_bytes(), b"\x01abc"].concat();
    for (kind, body) in [
        (3, &name[..]),
        (4, &publish),
        (5, b""),
        (6, b""),
        (7, &update),
        (8, b""),
        (9, &module),
        (10, &publish),
    ] {
        seeds.add("bus_frame", around(kind, 0, body));
    }
    seeds.add("bus_frame", frame);
}

/// The names of all targets.
fn targets() -> Vec<String> {
    let folders =
        ["eagle-core", "eagle-server"].map(|name| workspace().join(name).join("fuzz/fuzz_targets"));
    let mut names: Vec<String> = folders
        .iter()
        .flat_map(|folder| entries(folder))
        .map(|path| {
            path.file_stem()
                .expect("a file")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// All scripts, in order.
fn scripts() -> Vec<PathBuf> {
    let groups = entries(&workspace().join("tests").join("scripts"));
    let mut scripts: Vec<PathBuf> = groups.iter().flat_map(|group| entries(group)).collect();
    scripts.sort();
    scripts
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("readable").path())
        .collect()
}
