//! How much memory commands on very long strings take beside the string and the reply: tens of megabytes go through
//! each, and the most that the process had meanwhile is read from the system.

use std::time::Duration;

use eagledb_tests::memory::growth;
use eagledb_tests::{Client, Kind, Launch, Reply, Server, wait_until};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Bytes of a long string.
const LONG: usize = 40 << 20;

/// What a command may take that does not depend on the string's length.
const LITTLE: usize = 10 << 20;

#[track_caller]
fn takes(server: &Server, bytes_max: usize, work: impl FnOnce()) {
    let growth = growth(server, work);
    assert!(
        growth <= bytes_max,
        "{} MiB, at most {}",
        growth >> 20,
        bytes_max >> 20
    );
}

/// The reply to a command that may take its time on a busy machine.
#[track_caller]
fn patient<A: AsRef<[u8]>>(client: &mut Client, command: &[A]) -> Reply {
    client.send(command).expect("the server reads");
    client
        .receive_within(Duration::from_secs(300))
        .expect("the server answers")
}

/// A string of `LONG` bytes, most of them zeros, that lies in chunks.
fn zeros_then(client: &mut Client, key: &str, end: &str) {
    let at = (LONG - end.len()).to_string();
    assert_eq!(client.call(&["SETRANGE", key, &at, end]).int(), LONG as i64);
}

/// Text of `LONG` bytes that can be compressed.
fn text() -> Vec<u8> {
    let line = |number: usize| format!("{number:08}, and so on, and so forth; ");
    let mut text: Vec<u8> = (0..LONG / 30).flat_map(|n| line(n).into_bytes()).collect();
    text.resize(LONG, b'.');
    text
}

/// Also where compression was tried in vain.
#[test]
fn dump_has_its_payload_in_memory_once() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    let mut noise = vec![0; LONG];
    SmallRng::seed_from_u64(7).fill(&mut noise[..]);
    client.call(&[&b"SET"[..], b"piece", &noise]).ok();
    client.call(&[&b"SET"[..], b"chunks", &noise]).ok();
    client.call(&[&b"SETRANGE"[..], b"chunks", b"5", &noise[5..8]]);
    for compression in ["yes", "no"] {
        client
            .call(&["CONFIG", "SET", "rdbcompression", compression])
            .ok();
        for key in ["chunks", "piece"] {
            takes(&server, LONG + LITTLE, || {
                let dumped = patient(&mut client, &["DUMP", key]);
                assert!(dumped.bytes().unwrap().len() > LONG, "{key}");
            });
        }
    }
}

/// The elements of collections that are dumped.
const ELEMENTS: usize = 400_000;

/// A collection of so many elements, each made by a command beginning with `name` and ending with the words of a number.
fn collection(client: &mut Client, name: &str, words: impl Fn(usize) -> Vec<String>) {
    const AT_ONCE: usize = 2000;
    for first in (0..ELEMENTS).step_by(AT_ONCE) {
        let mut command = vec![name.to_owned(), "k".to_owned()];
        command.extend((first..first + AT_ONCE).flat_map(&words));
        client.send(&command).expect("the server reads");
        client.flush().expect("the server reads");
        assert!(client.receive().expect("it answers").error().is_none());
    }
}

/// Its elements are not in memory beside it: no more than where they are.
#[test]
fn a_collection_is_dumped_with_its_payload_in_memory_once() {
    const PLACE_BYTES: usize = 8;
    const LITTLE: usize = 4 << 20;
    let pair = |n: usize| vec![format!("field:{n:09}"), format!("value:{n:09}")];
    type Words = Box<dyn Fn(usize) -> Vec<String>>;
    let kinds: [(&str, bool, usize, Words); 5] = [
        ("RPUSH", false, 0, Box::new(move |n| vec![pair(n).concat()])),
        ("HSET", false, 1, Box::new(pair)),
        ("HSET", true, 2, Box::new(pair)),
        ("SADD", false, 2, Box::new(move |n| vec![pair(n).concat()])),
        (
            "ZADD",
            false,
            0,
            Box::new(|n| vec![n.to_string(), format!("member:{n}")]),
        ),
    ];
    for (name, expires, places, words) in kinds {
        let server = Launch::eagledb().start();
        let mut client = server.client();
        client.call(&["CONFIG", "SET", "rdbcompression", "no"]).ok();
        collection(&mut client, name, words);
        if expires {
            client.call(&["HEXPIRE", "k", "1000", "FIELDS", "1", "field:000000007"]);
        }
        let mut payload = 0;
        let growth = growth(&server, || {
            let dumped = patient(&mut client, &["DUMP", "k"]);
            payload = dumped.bytes().unwrap().len();
        });
        let growth_max = payload + places * PLACE_BYTES * ELEMENTS + LITTLE;
        assert!(
            growth <= growth_max,
            "{name}: {growth}, at most {growth_max}"
        );
    }
}

#[test]
fn scripts_have_a_reply_and_their_value_of_it_in_memory() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    zeros_then(&mut client, "k", "end");
    for script in [
        "return #redis.call('GET', KEYS[1])",
        "return #redis.call('GETRANGE', KEYS[1], 0, -1)",
        "return #redis.call('MGET', KEYS[1])[1]",
    ] {
        takes(&server, 2 * LONG + LITTLE, || {
            let len = patient(&mut client, &["EVAL", script, "1", "k"]);
            assert_eq!(len.int(), LONG as i64, "{script}");
        });
        // The interpreter lets go of what it has made.
        client.call(&["SCRIPT", "FLUSH"]).ok();
    }
}

/// Redis takes twelve bytes for each of the long string's here.
#[test]
fn lcs_takes_less_memory_than_its_table() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    zeros_then(&mut client, "long", "end");
    client.call(&["SET", "short", "xe"]).ok();
    takes(&server, 6 * LONG, || {
        let common = patient(&mut client, &["LCS", "short", "long"]);
        assert_eq!(common.text(), "e");
    });
}

#[test]
fn compressed_strings_are_dumped_and_restored_without_being_whole_in_memory() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    let text = text();
    client.call(&[&b"SET"[..], b"piece", &text]).ok();
    // In chunks, from its first change on.
    client.call(&[&b"SET"[..], b"chunks", &text]).ok();
    client.call(&[&b"SETRANGE"[..], b"chunks", b"5", &text[5..8]]);
    let [piece, chunks] = ["piece", "chunks"].map(|key| patient(&mut client, &["DUMP", key]));
    assert!(piece == chunks, "they are the same to others");
    zeros_then(&mut client, "zeros", "x");
    for key in ["piece", "chunks", "zeros"] {
        let mut payload = Vec::new();
        takes(&server, LONG * 3 / 5, || {
            let dumped = patient(&mut client, &["DUMP", key]);
            payload = dumped.bytes().unwrap().to_vec();
        });
        assert!(payload.len() < LONG / 2, "{}", payload.len());
        client.call(&["DEL", "copy"]);
        takes(&server, LONG + payload.len() + LITTLE, || {
            let command = [&b"RESTORE"[..], b"copy", b"0", &payload];
            patient(&mut client, &command).ok();
        });
        assert_eq!(client.call(&["OBJECT", "ENCODING", "copy"]).text(), "raw");
        let [ours, copy] =
            [key, "copy"].map(|key| patient(&mut client, &["DEBUG", "DIGEST-VALUE", key]));
        assert_eq!(ours, copy, "{key}");
    }
    let redis = Launch::redis().start();
    let mut theirs = redis.client();
    let command = [&b"RESTORE"[..], b"chunks", b"0", chunks.bytes().unwrap()];
    patient(&mut theirs, &command).ok();
    let digest = ["DEBUG", "DIGEST-VALUE", "chunks"];
    assert_eq!(patient(&mut theirs, &digest), patient(&mut client, &digest));
}

#[test]
fn an_old_value_is_replied_from_where_it_lies() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    for line in [&["SET", "k", "new", "GET"][..], &["GETSET", "k", "new"]] {
        zeros_then(&mut client, "k", "end");
        takes(&server, LONG + LITTLE, || {
            let old = client.call(line);
            assert!(old.bytes().unwrap().ends_with(b"\0end"), "{line:?}");
        });
        assert_eq!(client.call(&["GET", "k"]).text(), "new");
        client.call(&["DEL", "k"]);
    }
    // One that cannot be replaced is not replied either.
    client.call(&["LPUSH", "list", "x"]);
    let refused = client.call(&["SET", "list", "x", "GET"]).expect_error();
    assert!(refused.starts_with("WRONGTYPE "), "{refused}");
}

#[test]
fn long_strings_are_compared_sorted_and_looked_at_in_place() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    let elements = ["1", "2", "3", "4"];
    for (element, end) in elements.iter().zip(["c", "a", "d", "b"]) {
        zeros_then(&mut client, &format!("w_{element}"), end);
        client.call(&["RPUSH", "list", element]);
    }
    let order = |client: &mut Client, line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(client.call(&words).int(), 4);
        client.call(&["LRANGE", "out", "0", "-1"]).items().to_vec()
    };
    let texts = |replies: Vec<Reply>| -> Vec<String> { replies.iter().map(Reply::text).collect() };
    takes(&server, LITTLE, || {
        let sorted = order(&mut client, "SORT list BY w_* ALPHA STORE out");
        assert_eq!(texts(sorted), ["2", "4", "1", "3"]);
        // Their first byte ends them where they are read as C strings, and nothing is read as zero.
        let sorted = order(&mut client, "SORT list BY w_* STORE out");
        assert_eq!(texts(sorted), elements);
        let refused = client.call(&["PFCOUNT", "w_1"]).expect_error();
        assert!(refused.starts_with("WRONGTYPE "), "{refused}");
        let refused = client.call(&["PFMERGE", "w_1", "w_2"]).expect_error();
        assert!(refused.starts_with("WRONGTYPE "), "{refused}");
        assert!(client.call(&["SET", "w_1", "x", "IFEQ", "short"]).is_nil());
        assert_eq!(patient(&mut client, &["DIGEST", "w_1"]).text().len(), 16);
    });
    takes(&server, LONG + LITTLE, || {
        let replied = client.call(&["SORT", "list", "LIMIT", "0", "1", "GET", "w_*"]);
        assert_eq!(replied.items()[0].bytes().unwrap().len(), LONG);
    });
}

/// What a string in chunks makes of SORT and its kin is what redis-server makes of it.
#[test]
fn strings_in_chunks_are_sorted_as_by_redis() {
    let lines = [
        "SORT list BY w_* ALPHA",
        "SORT list BY w_* ALPHA DESC GET # GET w_*",
        "SORT list BY w_* ALPHA STORE out",
        "LRANGE out 0 -1",
        "SORT list BY n_* GET # GET n_*",
        "SORT list BY n_* DESC STORE out",
        "LRANGE out 0 -1",
        "SORT list BY w_*",
        "SORT list BY m_*",
        "SORT list BY h_*->f ALPHA GET h_*->f GET w_* STORE out",
        "LRANGE out 0 -1",
        "PFCOUNT w_1 w_2",
        "SET w_1 new GET",
        "GETSET w_2 new",
    ];
    let [ours, theirs] = [Kind::EagleDb, Kind::Redis].map(|kind| {
        let server = Launch::of(kind).start();
        let mut client = server.client();
        let mut set = |key: &str, start: &str, end: &str| {
            // A change of a part puts a long string into chunks.
            client.call(&["SET", key, start]).ok();
            client.call(&["APPEND", key, end]);
        };
        let (same, zeros) = ("x".repeat(40_000), "0".repeat(40_000));
        for (number, end) in ["b", "", "a\0z", "a\0y", "a", "ab"].iter().enumerate() {
            set(&format!("w_{number}"), &same, end);
        }
        for (number, end) in ["30", "4.5", "", "1e1\0x", "-1", "7"].iter().enumerate() {
            set(
                &format!("n_{number}"),
                if number == 4 { "" } else { &zeros },
                end,
            );
            set(
                &format!("m_{number}"),
                &zeros,
                if number == 3 { "1g" } else { end },
            );
        }
        client.call(&["SETRANGE", "w_5", "16384", "y"]);
        for number in 0..6 {
            client.call(&["RPUSH", "list", &number.to_string()]);
            let value = format!("{}", 9 - number);
            client.call(&["HSET", &format!("h_{number}"), "f", &value]);
        }
        lines.map(|line| client.call(&line.split(' ').collect::<Vec<_>>()))
    });
    for ((line, ours), theirs) in lines.iter().zip(&ours).zip(&theirs) {
        assert!(ours == theirs, "{line}");
    }
}

/// Pages that hold nothing any more are free, also those that threads had for their next writes, and the system gets
/// most of them back.
#[test]
fn flushall_leaves_neither_pages_nor_resident_memory() {
    const MIB: usize = 1 << 20;
    let server = Launch::eagledb().option("io-threads", "2").start();
    let mut client = server.client();
    let figure = |client: &mut Client, name: &str| -> usize { client.info(name).parse().unwrap() };
    let empty = figure(&mut client, "allocator_active");
    // Several connections, so that each thread has its own slabs; and values of all sizes.
    let mut clients = [server.client(), server.client(), server.client()];
    for (number, client) in clients.iter_mut().enumerate() {
        for len in (1..32_000).step_by(40) {
            let key = format!("{number}:{len}");
            client.call(&["SET", &key, &"x".repeat(len)]).ok();
        }
        let fields: Vec<String> = (0..2000).map(|n| format!("field:{n}")).collect();
        for field in &fields {
            client.call(&["HSET", &format!("hash:{number}"), field, "value"]);
        }
    }
    client
        .call(&[&b"SET"[..], b"long", &vec![b'x'; 64 * MIB]])
        .ok();
    let (full, resident) = (
        figure(&mut client, "allocator_active"),
        figure(&mut client, "used_memory_rss"),
    );
    assert!(full > empty + 90 * MIB, "{empty} to {full}");
    client.call(&["FLUSHALL"]).ok();
    wait_until("all pages to be free", Duration::from_secs(60), || {
        figure(&mut client, "allocator_active") < empty + MIB + MIB / 2
    });
    assert!(figure(&mut client, "used_memory") < empty + MIB);
    // Free pages are kept for what comes next, up to 16 MiB.
    wait_until("memory to go back", Duration::from_secs(60), || {
        figure(&mut client, "used_memory_rss") + 60 * MIB < resident
    });
}
