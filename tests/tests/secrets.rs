//! What a client must say in secret is nowhere in the server's memory once the server has heard it: neither where requests
//! are read into, nor where they are run from.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use eagledb_tests::{Client, Launch, Server};

/// The server's memory, which some machines let nobody look at.
fn memory(server: &Server) -> io::Result<File> {
    File::open(format!("/proc/{}/mem", server.pid().as_raw_pid()))
}

/// A server of one thread, whose memory may be read; where it may not, says so.
fn readable_server() -> Option<Server> {
    let server = Launch::eagledb().option("worker-threads", "1").start();
    if let Err(error) = memory(&server) {
        println!("skipped: the memory of a process cannot be read here: {error}");
        return None;
    }
    Some(server)
}

/// Whether the memory that the server has for itself holds these bytes.
fn remembers(server: &Server, bytes: &[u8]) -> bool {
    let memory = memory(server).expect("it was open before");
    let maps = format!("/proc/{}/maps", server.pid().as_raw_pid());
    let maps = fs::read_to_string(maps).expect("it runs");
    maps.lines().any(|line| {
        let (range, rest) = line.split_once(' ').expect("a range of addresses");
        let (start, end) = range.split_once('-').expect("its bounds");
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).expect("an address"));
        let mut content = vec![0; (end - start) as usize * usize::from(rest.starts_with("rw-p"))];
        // Some that belong to the system cannot be read.
        let is_read = memory.read_exact_at(&mut content, start).is_ok();
        is_read && memchr::memmem::find(&content, bytes).is_some()
    })
}

/// A connection that the server reads from as it does from those that send one request after the other.
fn calm_client(server: &Server) -> Client {
    const CALLS: usize = 20;
    let mut client = server.client();
    for _ in 0..CALLS {
        client.call(&["PING"]);
    }
    client
}

#[test]
fn passwords_are_wiped_from_where_they_were_read_into() {
    let Some(server) = readable_server() else {
        return;
    };
    let mut client = calm_client(&server);
    let said = "what-was-said-aloud-stays-until-more-is-said-and-can-be-found";
    client.call(&["ECHO", said]);
    assert!(remembers(&server, said.as_bytes()));

    let word = |number: usize| format!("word-{number}-that-nobody-but-the-two-of-us-is-to-know");
    for number in 0..2 {
        let (word, wrong) = (word(number), word(number + 1));
        let lines = [
            format!("ACL SETUSER friend on +@all ~* >{word}"),
            format!("AUTH friend {word}"),
            format!("AUTH friend {word}"),
            format!("HELLO 3 AUTH friend {word}"),
            format!("AUTH friend {wrong}"),
            format!("ACL SETUSER friend <{word}"),
        ];
        for line in lines {
            client.call(&line.split(' ').collect::<Vec<_>>());
            for secret in [&word, &wrong] {
                assert!(!remembers(&server, secret.as_bytes()), "{line}");
            }
        }
    }
}

/// Also those of requests that fail before they tell which of their words are secret.
#[test]
fn passwords_of_refused_requests_are_wiped() {
    let Some(server) = readable_server() else {
        return;
    };
    let mut client = calm_client(&server);
    for line in [
        "ACL SETUSER friend on >its-own",
        "ACL SETUSER default >another",
    ] {
        client.call(&line.split(' ').collect::<Vec<_>>()).ok();
    }
    let word = "word-that-is-said-in-vain-and-is-not-to-be-remembered-for-it";
    let is_refused = |client: &mut Client, line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        client.call(&words).expect_error();
        assert!(!remembers(&server, word.as_bytes()), "{line}");
    };
    let inside = [
        format!("AUTH friend {word} more"),
        format!("HELLO 9 AUTH friend {word}"),
        format!("CONFIG SET requirepass {word} maxmemory"),
        format!("MIGRATE host port key 0 x AUTH {word}"),
    ];
    for line in &inside {
        is_refused(&mut client, line);
    }
    // Who has not said who he is, and who may not.
    let mut nobody = calm_client(&server);
    let outside = [
        format!("CONFIG SET requirepass {word}"),
        format!("ACL SETUSER friend >{word}"),
        format!("MIGRATE host port key 0 10 AUTH {word}"),
        format!("HELLO 3 SETNAME n AUTH friend {word}"),
    ];
    for line in &outside {
        is_refused(&mut nobody, line);
    }
    nobody.call(&["AUTH", "friend", "its-own"]).ok();
    for line in &outside {
        is_refused(&mut nobody, line);
    }
}

/// Neither are they left where they were read into, nor in the queue that kept them for EXEC.
#[test]
fn passwords_are_wiped_when_their_transaction_has_ended() {
    let Some(server) = readable_server() else {
        return;
    };
    let mut client = calm_client(&server);
    let word = |number: usize| {
        format!("word-{number}-that-is-not-to-outlive-the-transaction-it-is-said-in")
    };
    let run = |word: &str| {
        vec![
            format!("ACL SETUSER friend on +@all ~* >{word}"),
            format!("AUTH friend {word}"),
            format!("HELLO 2 AUTH friend {word}"),
        ]
    };
    // What CONFIG SET sets is known to the server as long as it holds.
    let dropped = |word: &str| {
        vec![
            format!("ACL SETUSER stranger on >{word}"),
            format!("CONFIG SET requirepass {word}"),
            format!("CONFIG SET masterauth {word}"),
        ]
    };
    let rounds = [
        ("EXEC", run(&word(1)), word(1)),
        ("DISCARD", dropped(&word(2)), word(2)),
    ];
    for (end, lines, word) in rounds {
        for line in lines {
            client.call(&["MULTI"]).ok();
            let queued = client.call(&line.split(' ').collect::<Vec<_>>());
            assert_eq!(queued.text(), "QUEUED", "{line}");
            assert!(remembers(&server, word.as_bytes()), "it is queued: {line}");
            assert!(client.call(&[end]).error().is_none(), "{line}");
            assert!(!remembers(&server, word.as_bytes()), "{line}");
        }
    }
    // A transaction that is lost keeps no more of its commands.
    client.call(&["MULTI"]).ok();
    assert!(client.call(&["GET"]).error().is_some());
    client.call(&["ACL", "SETUSER", "friend", &format!(">{}", word(3))]);
    assert!(!remembers(&server, word(3).as_bytes()));
}
