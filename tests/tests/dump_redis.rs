//! DUMP payloads against a real redis-server 7.0.15: what it writes we read and write byte for byte;
//! what we write it restores.
//!
//! No compressed value is freed while a test runs: Redis does not clear the table of its compressor,
//! so that a value that comes to lie where another one was may be compressed in another way.
//!
//! The codec is called directly, so this needs no server of ours. Without a redis-server on the
//! machine each test says so and ends.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::process::Command;

use eagle_server::persist::rdb::dump::{self, DumpError};
use eagle_server::persist::rdb::{
    Compression, HashForm, PackedHashLimits, Value, crc64, string, value,
};
use eagledb_tests::{Client, Launch, Reply, Server, binary};

type Hash = BTreeMap<Vec<u8>, Vec<u8>>;

/// Starts the reference server, or says that there is none.
fn redis() -> Option<Server> {
    let found = Command::new(binary::redis_server())
        .arg("--version")
        .output();
    match found {
        Ok(version) if String::from_utf8_lossy(&version.stdout).contains("v=7.0.15") => {
            Some(Launch::redis().start())
        }
        other => {
            println!("skipped: this test compares with redis-server 7.0.15, found {other:?}");
            None
        }
    }
}

/// Runs a comparison with `rdbcompression` on and off.
fn with_each_compression(mut compare: impl FnMut(&mut Client, Compression)) {
    let Some(server) = redis() else { return };
    let mut client = server.client();
    for (word, compression) in [("no", Compression::Off), ("yes", Compression::Lzf)] {
        client.call(&["CONFIG", "SET", "rdbcompression", word]).ok();
        compare(&mut client, compression);
    }
}

#[track_caller]
fn dump_of(client: &mut Client, key: &str) -> Vec<u8> {
    match client.call(&["DUMP", key]) {
        Reply::Bulk(payload) => payload,
        other => panic!("DUMP {key} gave {other:?}"),
    }
}

fn restore(client: &mut Client, key: &str, payload: &[u8]) -> Reply {
    client.call(&[b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"])
}

/// Sets the hash in the order of its fields, so that a packed form has this order too.
fn store(client: &mut Client, key: &str, hash: &Hash) {
    client.call(&["DEL", key]);
    for (field, value) in hash {
        client.call(&[b"HSET", key.as_bytes(), field, value]);
    }
}

fn stored(client: &mut Client, key: &str) -> Hash {
    let reply = client.call(&["HGETALL", key]);
    let bytes = |item: &Reply| item.bytes().expect("HGETALL gives strings").to_vec();
    reply
        .items()
        .chunks(2)
        .map(|pair| (bytes(&pair[0]), bytes(&pair[1])))
        .collect()
}

fn slices(hash: &Hash) -> Vec<(&[u8], &[u8])> {
    hash.iter()
        .map(|(field, value)| (&field[..], &value[..]))
        .collect()
}

fn read_hash(payload: &[u8]) -> Hash {
    match dump::read(payload).map(Value::unpacked) {
        Ok(Value::Hash(pairs)) => pairs
            .into_iter()
            .map(|(field, value)| (field.into_owned(), value.into_owned()))
            .collect(),
        other => panic!("a hash was expected, not {other:?}"),
    }
}

fn text_of(value: u64) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn strings() -> Vec<Vec<u8>> {
    let ints = [
        0,
        1,
        -1,
        127,
        -128,
        128,
        -129,
        32767,
        -32768,
        32768,
        2147483647,
        -2147483648,
    ];
    let ints =
        ints.into_iter()
            .chain([2147483648, -2147483649, 99_999_999_999, i64::MIN, i64::MAX]);
    let almost_ints = [
        "007",
        "-0",
        "+1",
        " 1",
        "1 ",
        "1e3",
        "-",
        "12345678901",
        "123456789012",
    ];
    let edges = [0, 1, 20, 21, 63, 64, 16383, 16384, 100_000];
    let mut noise = 1u32;
    let mut incompressible = |len: usize| -> Vec<u8> {
        let next = |_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        };
        (0..len).map(next).collect()
    };
    let incompressibles = edges.map(&mut incompressible);
    // Words of a small alphabet that come again now and then: on the verge of being compressible,
    // with matches of every length up to the very end.
    let mut mixed = |(alphabet, words): (u32, u32)| -> Vec<u8> {
        let mut next = |below: u32| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 16) % below
        };
        let mut bytes: Vec<u8> = Vec::new();
        for _ in 0..words {
            let len = 1 + next(24) as usize;
            if next(3) == 0 && bytes.len() > len {
                let from = next((bytes.len() - len) as u32) as usize;
                bytes.extend_from_within(from..from + len);
            } else {
                bytes.extend((0..len).map(|_| next(alphabet) as u8));
            }
        }
        bytes
    };
    let mixed: Vec<Vec<u8>> = [2, 4, 10, 26, 256]
        .into_iter()
        .flat_map(|alphabet| (2..80).map(move |words| (alphabet, words)))
        .chain([(26, 6000), (256, 6000)])
        .map(&mut mixed)
        .collect();
    ints.map(|int: i64| int.to_string().into_bytes())
        .chain(almost_ints.iter().map(|text| text.as_bytes().to_vec()))
        .chain(edges.map(|len| vec![b'a'; len]))
        .chain(edges.map(|len| b"lorem ipsum dolor ".repeat(len / 18)))
        .chain(incompressibles)
        .chain((21..60).map(|len| vec![b'b'; len]))
        .chain(mixed)
        .collect()
}

fn hashes() -> Vec<Hash> {
    let pair = |field: Vec<u8>, value: Vec<u8>| Hash::from([(field, value)]);
    let many = |count: u64| -> Hash {
        (0..count)
            .map(|at| (text_of(at), text_of(at * at * at)))
            .collect()
    };
    let by_length: Vec<Hash> = [0, 1, 63, 64, 65, 5000]
        .into_iter()
        .map(|len| pair(vec![b'f'; len], vec![b'v'; len]))
        .collect();
    let ints = [
        0,
        127,
        128,
        4095,
        4096,
        -1,
        -4096,
        -4097,
        32767,
        -32769,
        8388607,
        -8388609,
        i64::MAX,
        i64::MIN,
    ];
    let ints: Hash = ints
        .iter()
        .map(|int| (int.to_string().into_bytes(), int.to_string().into_bytes()))
        .collect();
    [
        vec![ints, many(1), many(100), many(512), many(513), many(3000)],
        by_length,
    ]
    .concat()
}

#[test]
fn strings_are_dumped_as_redis_dumps_them() {
    with_each_compression(|client, compression| {
        for (index, value) in strings().into_iter().enumerate() {
            let key = format!("{compression:?}{index}");
            client.call(&[&b"SET"[..], key.as_bytes(), &value]).ok();
            let theirs = dump_of(client, &key);
            assert_eq!(
                dump::read(&theirs),
                Ok(Value::String(Cow::Borrowed(&value)))
            );

            let mut ours = Vec::new();
            value::write_string(&mut ours, &value, compression);
            let ours = dump::seal(ours);
            assert_eq!(ours, theirs, "{}", value.escape_ascii());
            restore(client, "back", &ours).ok();
            assert_eq!(client.call(&["GET", "back"]), Reply::Bulk(value));
        }
    });
}

#[test]
fn hashes_are_dumped_as_redis_dumps_them() {
    with_each_compression(|client, compression| {
        for (index, hash) in hashes().into_iter().enumerate() {
            let key = &format!("{compression:?}{index}");
            store(client, key, &hash);
            let theirs = dump_of(client, key);
            assert_eq!(read_hash(&theirs), hash);

            let form = HashForm::of(slices(&hash), PackedHashLimits::default());
            let encoding = if form == HashForm::Listpack {
                "listpack"
            } else {
                "hashtable"
            };
            assert_eq!(client.call(&["OBJECT", "ENCODING", key]).text(), encoding);

            let mut ours = Vec::new();
            value::write_hash(&mut ours, slices(&hash).into_iter(), form, compression);
            let ours = dump::seal(ours);
            match form {
                HashForm::Listpack => assert_eq!(ours, theirs),
                // The order of a table is its own, the bytes of the pairs are not.
                HashForm::Table => assert_eq!(ours.len(), theirs.len()),
            }
            restore(client, "back", &ours).ok();
            assert_eq!(stored(client, "back"), hash);
        }
    });
}

#[test]
fn old_forms_of_hashes_are_read_as_redis_reads_them() {
    let Some(server) = redis() else { return };
    let mut client = server.client();
    client
        .call(&["CONFIG", "SET", "sanitize-dump-payload", "yes"])
        .ok();
    let expected = Hash::from([
        (b"a".to_vec(), b"5".to_vec()),
        (b"bc".to_vec(), b"xyz".to_vec()),
    ]);
    let zipmap = b"\x02\x01a\x01\x005\x02bc\x03\x02xyz--\xff";
    let ziplist = b"\x19\0\0\0\x13\0\0\0\x04\0\0\x01a\x03\xf6\x02\x02bc\x04\x03xyz\xff";
    for (kind, blob, version) in [(9, &zipmap[..], 1), (13, ziplist, 4), (13, ziplist, 9)] {
        let payload = sealed(kind, blob, version);
        restore(&mut client, "old", &payload).ok();
        assert_eq!(stored(&mut client, "old"), expected);
        assert_eq!(read_hash(&payload), expected);
    }
}

#[test]
fn damaged_hashes_are_refused_where_redis_refuses_them() {
    let Some(server) = redis() else { return };
    let mut client = server.client();
    client
        .call(&["CONFIG", "SET", "sanitize-dump-payload", "yes"])
        .ok();
    let zipmap = &b"\x01\x01a\x02\x01bc-\xff"[..];
    let ziplist = b"\x13\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\x03xyz\xff";
    let listpack = b"\x0e\0\0\0\x02\0\x81a\x02\x82bc\x03\xff";
    for (kind, good) in [(9, zipmap), (13, ziplist), (16, listpack)] {
        let payload = sealed(kind, good, 10);
        restore(&mut client, "good", &payload).ok();
        assert!(dump::read(&payload).is_ok());
        for at in 0..good.len() {
            for to in [0, 1, 2, 0x3f, 0x80, 0xc0, 0xf4, 0xfe, 0xff] {
                let mut blob = good.to_vec();
                blob[at] = to;
                let payload = sealed(kind, &blob, 10);
                let theirs = restore(&mut client, "bad", &payload).error();
                let ours = dump::read(&payload);
                match theirs {
                    Some(text) => {
                        assert!(text.contains("Bad data format"), "{text}");
                        assert!(
                            matches!(ours, Err(DumpError::Value(_))),
                            "type {kind}, {at} := {to}: {ours:?}"
                        );
                    }
                    None => assert_eq!(
                        ours.map(|_| read_hash(&payload)),
                        Ok(stored(&mut client, "bad"))
                    ),
                }
            }
        }
    }
}

/// A payload of one blob, with any type and version.
fn sealed(kind: u8, blob: &[u8], version: u16) -> Vec<u8> {
    let mut payload = vec![kind];
    string::write(&mut payload, blob, Compression::Off);
    payload.extend_from_slice(&version.to_le_bytes());
    payload.extend_from_slice(&crc64::checksum(&payload).to_le_bytes());
    payload
}
