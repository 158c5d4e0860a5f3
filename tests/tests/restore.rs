//! DUMP and RESTORE of a running server beside redis-server: replies are the same, and what one
//! serializes the other takes.

use eagledb_tests::{Client, Kind, Launch, Reply, Server};

/// The server under test and the reference, with a directive.
fn pair(directive: &str, value: &str) -> [Server; 2] {
    [Kind::EagleDb, Kind::Redis].map(|kind| Launch::of(kind).option(directive, value).start())
}

/// Runs a command on both, which must answer alike.
#[track_caller]
fn same<A: AsRef<[u8]>>(clients: &mut [Client; 2], command: &[A]) -> Reply {
    let [ours, theirs] = clients.each_mut().map(|client| client.call(command));
    let words: Vec<_> = command
        .iter()
        .map(|word| word.as_ref().escape_ascii().to_string())
        .collect();
    assert_eq!(ours, theirs, "{}", words.join(" "));
    ours
}

fn payload(client: &mut Client, key: &str) -> Vec<u8> {
    let reply = client.call(&["DUMP", key]);
    reply.bytes().expect("the key exists").to_vec()
}

/// Keys of every kind and form.
fn fill(clients: &mut [Client; 2]) -> Vec<String> {
    let long = "lorem ipsum ".repeat(50);
    for (key, value) in [
        ("int", "-12345"),
        ("text", "some text"),
        ("empty", ""),
        ("long", &long),
    ] {
        same(clients, &["SET", key, value]);
    }
    same(
        clients,
        &["HSET", "small", "field", "1", "other", "some value", "", ""],
    );
    same(clients, &["HSET", "wide", "field", &long]);
    for at in 0..600 {
        same(
            clients,
            &["HSET", "many", &format!("field:{at}"), &at.to_string()],
        );
    }
    ["int", "text", "empty", "long", "small", "wide", "many"]
        .map(str::to_owned)
        .to_vec()
}

/// The value of a key, in an order of its own.
fn value(client: &mut Client, key: &str) -> Vec<Reply> {
    if client.call(&["TYPE", key]).text() == "string" {
        return vec![client.call(&["GET", key])];
    }
    let mut pairs: Vec<_> = client
        .call(&["HGETALL", key])
        .items()
        .chunks(2)
        .map(<[_]>::to_vec)
        .collect();
    pairs.sort();
    pairs.concat()
}

#[test]
fn payloads_are_the_same_bytes_and_go_both_ways() {
    for compression in ["no", "yes"] {
        let servers = pair("rdbcompression", compression);
        let mut clients = servers.each_ref().map(Server::client);
        for key in fill(&mut clients) {
            // The order of a table is its own, and so is the choice of what to compress.
            if compression == "no" && key != "many" {
                same(&mut clients, &["DUMP", &key]);
            }
            let payloads = clients.each_mut().map(|client| payload(client, &key));
            for from in payloads {
                same(
                    &mut clients,
                    &[&b"RESTORE"[..], b"copy", b"0", &from, b"REPLACE"],
                );
                let [ours, theirs] = clients.each_mut().map(|client| {
                    assert_eq!(client.call(&["PTTL", "copy"]), Reply::Int(-1));
                    value(client, "copy")
                });
                assert_eq!(ours, theirs, "{key}");
                assert_eq!(ours, value(&mut clients[0], &key), "{key}");
                same(&mut clients, &["OBJECT", "ENCODING", "copy"]);
            }
        }
    }
}

#[test]
fn restore_replies_as_redis_replies() {
    let servers = pair("sanitize-dump-payload", "yes");
    let mut clients = servers.each_ref().map(Server::client);
    same(&mut clients, &["DUMP", "none"]);
    same(&mut clients, &["SET", "key", "value"]);
    let good = payload(&mut clients[1], "key");
    let mut damaged = good.clone();
    damaged[2] ^= 1;
    same(&mut clients, &["DEL", "key"]);
    // A right envelope around a string that announces far more than follows.
    let too_long = forged(b"\x00\x7f\xffval");
    // A compressed string that announces no bytes, of which nobody looks what it stands for.
    let nothing = forged(b"\x00\xc3\x02\x00\xa0\x08");

    let mut restore = |ttl: &str, payload: &[u8], options: &[&str]| {
        let mut command = vec![&b"RESTORE"[..], b"key", ttl.as_bytes(), payload];
        command.extend(options.iter().map(|word| word.as_bytes()));
        same(&mut clients, &command)
    };
    restore("0", &good, &[]).ok();
    restore("0", &good, &[]);
    restore("x", &good, &[]);
    restore("0", &damaged, &[]);
    restore("x", &good, &["REPLACE"]);
    restore("-1", &good, &["REPLACE"]);
    restore("0", &damaged, &["REPLACE"]);
    restore("0", b"", &["REPLACE"]);
    restore("0", b"short", &["REPLACE"]);
    restore("0", &too_long, &["REPLACE"]);
    restore("0", &nothing, &["REPLACE"]).ok();
    restore("0", &good, &["REPLACE", "NONSENSE"]);
    restore("0", &good, &["replace", "idletime"]);
    restore("0", &good, &["IDLETIME", "-1"]);
    restore("0", &good, &["IDLETIME", "x"]);
    restore("0", &good, &["FREQ", "256"]);
    restore("0", &good, &["FREQ", "-1"]);
    restore("0", &good, &["FREQ", "5", "IDLETIME", "5"]);
    restore("0", &good, &["IDLETIME", "5", "FREQ", "5"]);
    restore("0", &good, &["replace", "FREQ", "5", "absttl"]).ok();
    // An expiry in the past: the old key goes, the new one does not come.
    restore("1", &good, &["REPLACE", "ABSTTL"]).ok();
    same(&mut clients, &["EXISTS", "key"]);
    same(&mut clients, &["RESTORE", "key"]);
    same(&mut clients, &["DUMP"]);
}

#[test]
fn restore_sets_expiry_and_idle_time() {
    let servers = pair("maxmemory-policy", "allkeys-lru");
    let mut clients = servers.each_ref().map(Server::client);
    same(&mut clients, &["SET", "key", "value"]);
    let good = payload(&mut clients[1], "key");
    let with = |options: &[&str]| restore_with(&good, options);
    same(&mut clients, &with(&["1893456000000", "ABSTTL"])).ok();
    same(&mut clients, &["PEXPIRETIME", "key"]);
    same(&mut clients, &with(&["60000"])).ok();
    for client in &mut clients {
        let left = client.call(&["PTTL", "key"]).int();
        assert!((50_000..=60_000).contains(&left), "{left}");
    }
    same(&mut clients, &with(&["0", "IDLETIME", "1000"])).ok();
    for client in &mut clients {
        let idle = client.call(&["OBJECT", "IDLETIME", "key"]).int();
        assert!((999..=1010).contains(&idle), "{idle}");
    }
    // No frequency is kept under this policy; it is accepted all the same.
    same(&mut clients, &with(&["0", "FREQ", "100"])).ok();
    same(&mut clients, &["OBJECT", "FREQ", "key"]);
}

#[test]
fn restore_sets_the_frequency() {
    let servers = pair("maxmemory-policy", "allkeys-lfu");
    let mut clients = servers.each_ref().map(Server::client);
    same(&mut clients, &["SET", "key", "value"]);
    let good = payload(&mut clients[1], "key");
    same(&mut clients, &restore_with(&good, &["0", "FREQ", "100"])).ok();
    same(&mut clients, &["OBJECT", "FREQ", "key"]);
    same(
        &mut clients,
        &restore_with(&good, &["0", "IDLETIME", "100"]),
    )
    .ok();
    same(&mut clients, &["OBJECT", "IDLETIME", "key"]);
}

/// RESTORE of `key` with REPLACE; the first option is the TTL.
fn restore_with(payload: &[u8], options: &[&str]) -> Vec<Vec<u8>> {
    let mut command = vec![b"RESTORE".to_vec(), b"key".to_vec(), options[0].into()];
    command.extend([payload.to_vec(), b"REPLACE".to_vec()]);
    command.extend(options[1..].iter().map(|word| word.as_bytes().to_vec()));
    command
}

/// A value inside a right envelope.
fn forged(value: &[u8]) -> Vec<u8> {
    use eagle_server::persist::rdb::{VERSION, crc64};
    let mut out = [value, &VERSION.to_le_bytes()].concat();
    out.extend_from_slice(&crc64::checksum(&out).to_le_bytes());
    out
}

/// A dump of libraries whose code may be anything.
fn libraries(codes: &[&str]) -> Vec<u8> {
    const FUNCTION: u8 = 245;
    let mut value = Vec::new();
    for code in codes {
        // A length of 32 bits.
        value.extend([FUNCTION, 0x80]);
        value.extend((code.len() as u32).to_be_bytes());
        value.extend(code.bytes());
    }
    forged(&value)
}

/// Each library is taken as it is read: which of several faults is told is decided by their order, and that one is there already
/// is told before its code is looked at.
#[test]
fn function_restore_finds_the_first_fault_as_redis_does() {
    let servers = pair("save", "");
    let mut clients = servers.each_ref().map(Server::client);
    let library = |name: &str, function: &str| {
        format!("#!lua name={name}\nredis.register_function('{function}', function() return 1 end)")
    };
    let (old, new) = (library("old", "f1"), library("new", "f2"));
    let (no_code, no_function) = (
        "#!lua name=old\nthis is no code",
        "#!lua name=other\nreturn 1",
    );
    let (unnamed, strange) = ("#!lua\nreturn 1", "#!lua name=\u{1}\r\nreturn 1");
    let (fails, twice) = ("#!lua name=fails\nerror('it does')", library("twice", "f1"));
    let cases: &[&[&str]] = &[
        &[&new],
        &[&old],
        &[no_code],
        &[no_function],
        &[&new, no_code],
        &[&new, &old, no_code],
        &[no_function, &old],
        &[&old, no_function],
        &[&twice],
        &[&new, &twice],
        &[&new, &new],
        &[unnamed, &old],
        &[&old, unnamed],
        &[strange],
        &[fails, &old],
        &[&old, fails],
    ];
    for codes in cases {
        let payload = libraries(codes);
        for policy in ["APPEND", "REPLACE", "FLUSH"] {
            same(&mut clients, &["FUNCTION", "FLUSH"]);
            same(&mut clients, &["FUNCTION", "LOAD", &old]);
            let command = [&b"FUNCTION"[..], b"RESTORE", &payload, policy.as_bytes()];
            same(&mut clients, &command);
            for name in ["old", "new", "other", "twice", "fails"] {
                let list = ["FUNCTION", "LIST", "LIBRARYNAME", name, "WITHCODE"];
                same(&mut clients, &list);
            }
        }
    }
}
