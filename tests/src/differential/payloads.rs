//! Dumps of the reference, of each type in each of its forms: valid payloads of `RESTORE`.

use crate::{Client, Reply};

const KEY: &str = "{bar}dumped";

/// Dumps by one server.
#[derive(Debug, Default)]
pub struct Payloads {
    values: Vec<Vec<u8>>,
}

/// Has `client`'s server, which is empty, make and dump values.
pub fn read(client: &mut Client) -> Payloads {
    let mut payloads = Payloads::default();
    for lines in values() {
        client.call(&["DEL", KEY]);
        for line in lines {
            let reply = client.call(&line);
            assert_eq!(reply.error(), None, "{line:?}");
        }
        match client.call(&["DUMP", KEY]) {
            Reply::Bulk(payload) => payloads.values.push(payload),
            other => panic!("nothing to dump: {other:?}"),
        }
    }
    client.call(&["DEL", KEY]);
    payloads
}

/// The commands that make each value.
fn values() -> Vec<Vec<Vec<String>>> {
    let line = |words: &str| -> Vec<String> { words.split(' ').map(str::to_owned).collect() };
    // `head` and then `count` times what `item` says.
    let many = |head: &str, count: usize, item: &dyn Fn(usize) -> String| {
        let items: Vec<String> = (0..count).map(item).collect();
        line(&format!("{head} {KEY} {}", items.join(" ")))
    };
    let long = "abcdefgh".repeat(20);
    let word = |i: usize| format!("f{i}");
    let stream = |count: usize| -> Vec<Vec<String>> {
        let entry = |i| line(&format!("XADD {KEY} 8-{i} f1 {i} f2 {}", i * 1000));
        (1..=count).map(entry).collect()
    };
    let mut values: Vec<Vec<Vec<String>>> = ["7", "-300", "100000", "12345678901", "text", &long]
        .iter()
        .map(|value| vec![line(&format!("SET {KEY} {value}"))])
        .collect();
    values.extend([
        vec![many("RPUSH", 3, &|i| i.to_string())],
        vec![many("RPUSH", 40, &|i| format!("{}", i * 7919))],
        vec![many("RPUSH", 30, &|i| format!("{long}{long}{i}"))],
        vec![line(&format!("RPUSH {KEY} a {} b", "x".repeat(9000)))],
        vec![many("SADD", 4, &|i| i.to_string())],
        vec![many("SADD", 4, &|i| (i * 100_000).to_string())],
        vec![line(&format!("SADD {KEY} 1 9223372036854775807"))],
        vec![many("SADD", 5, &word)],
        vec![many("HSET", 3, &|i| format!("{i} {i}"))],
        vec![many("HSET", 600, &|i| format!("f{i} v{i}"))],
        vec![line(&format!("HSET {KEY} f1 {long}"))],
        vec![many("ZADD", 3, &|i| format!("{i}.5 {i}"))],
        vec![many("ZADD", 200, &|i| format!("{} m{i}", i % 7))],
        vec![line(&format!("ZADD {KEY} -inf a 0 b +inf c"))],
        vec![line(&format!("GEOADD {KEY} 13.361389 38.115556 1"))],
        vec![line(&format!("PFADD {KEY} a b c"))],
        stream(3),
        [
            stream(120),
            vec![
                line(&format!("XDEL {KEY} 8-5 8-60")),
                line(&format!("XGROUP CREATE {KEY} g 0")),
                line(&format!("XGROUP CREATE {KEY} h 8-7 ENTRIESREAD 6")),
                line(&format!("XREADGROUP GROUP g a COUNT 3 STREAMS {KEY} >")),
                line(&format!("XREADGROUP GROUP g b COUNT 2 STREAMS {KEY} >")),
                line(&format!("XGROUP CREATECONSUMER {KEY} g c")),
            ],
        ]
        .concat(),
        [stream(2), vec![line(&format!("XTRIM {KEY} MAXLEN 0"))]].concat(),
    ]);
    values
}

impl Payloads {
    /// Dumps of keys.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.values.iter().map(Vec::as_slice)
    }
}
