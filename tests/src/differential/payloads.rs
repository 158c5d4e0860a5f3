//! What `RESTORE` and `FUNCTION RESTORE` are given: dumps of the reference, of each type in each of its forms, whole or damaged.
//!
//! ```text
//!   body (its first byte is the type) . version, 2 bytes . CRC-64 of all before, 8 bytes
//! ```

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use crate::{Client, Reply};

/// Version and checksum.
const TRAILER_BYTES: usize = 10;

/// In a slot that every node has that is asked for payloads.
const KEY: &str = "{bar}dumped";

/// Dumps by one server.
#[derive(Debug, Default)]
pub struct Payloads {
    values: Vec<Vec<u8>>,
    functions: Vec<Vec<u8>>,
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
    let function = "redis.register_function{function_name='two', callback=function(keys, args) return #args end, \
        flags={'no-writes'}}";
    let libraries = ["", "lib2", "lib3"];
    for name in libraries {
        client.call(&["FUNCTION", "FLUSH"]).ok();
        if !name.is_empty() {
            let code = format!("#!lua name={name}\n{function}");
            client.call(&["FUNCTION", "LOAD", &code]);
        }
        if let Reply::Bulk(payload) = client.call(&["FUNCTION", "DUMP"]) {
            payloads.functions.push(payload);
        }
    }
    assert_eq!(payloads.functions.len(), libraries.len());
    client.call(&["FUNCTION", "FLUSH"]).ok();
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

    /// A dump of a key, mostly as it was.
    pub(super) fn value(&self, rng: &mut SmallRng) -> Option<Vec<u8>> {
        let payload = self.values.choose(rng)?;
        Some(damaged(rng, payload))
    }

    /// A dump of functions, as it was or with a wrong trailer: of code that is cut short each compiler has its own words.
    pub(super) fn functions(&self, rng: &mut SmallRng) -> Option<Vec<u8>> {
        let mut payload = self.functions.choose(rng)?.clone();
        if rng.random_range(0..8) == 0 {
            let at = rng.random_range(0..payload.len());
            payload[at] ^= 1 << rng.random_range(0..8);
        }
        Some(payload)
    }
}

/// One payload in eight has a wrong trailer, one has a body that is another than was written.
fn damaged(rng: &mut SmallRng, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    let at = rng.random_range(0..payload.len());
    match rng.random_range(0..16) {
        0 => payload[at] ^= 1 << rng.random_range(0..8),
        1 => payload.truncate(at),
        2 | 3 => {
            let version = payload[payload.len() - TRAILER_BYTES..][..2].to_vec();
            payload.truncate(payload.len() - TRAILER_BYTES);
            let at = rng.random_range(0..payload.len());
            match rng.random_range(0..4) {
                0 => payload.truncate(at),
                1 => payload.insert(at, rng.random()),
                2 => payload[0] = rng.random_range(0..24),
                _ => payload[at] ^= 1 << rng.random_range(0..8),
            }
            payload.extend(version);
            let checksum = crc64(&payload);
            payload.extend(checksum.to_le_bytes());
        }
        _ => {}
    }
    payload
}

/// The checksum of dumps: CRC-64 by Jones's polynomial, reflected.
fn crc64(bytes: &[u8]) -> u64 {
    const REFLECTED: u64 = 0x95ac_9329_ac4b_c9b5;
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u64::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { REFLECTED } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_dumps() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }
}
