//! Writers that remember what the server acknowledged, and check that it is all there.
//!
//! A writer owns its keys, so a plain model of them is exact. Commands of one connection run in
//! order; after a crash the server must therefore hold the acknowledged commands and *some prefix*
//! of those still in flight, each of them whole. [`Writer::check`] reads every key back and looks
//! for that prefix: a lost, torn, reordered or invented write leaves none.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::{Client, Reply, RoutedClient};

const STRINGS: u32 = 200;
const COUNTERS: u32 = 20;
const HASHES: u32 = 10;
/// More fields than a packed hash may have, so that hashes change form under load.
const FIELDS: u32 = 200;
const PAIRS: u32 = 10;

/// What a writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Single commands only, which any router can carry.
    Single,
    /// Also MULTI blocks that write two keys of one slot.
    Transactions,
}

#[derive(Clone, Debug)]
enum Op {
    Set(String, String),
    Append(String, String),
    Incr(String),
    Del(String),
    HSet(String, String, String),
    HDel(String, String),
    /// Sets both keys to one value; either both have it or none.
    SetBoth([String; 2], String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Str(String),
    Hash(BTreeMap<String, String>),
}

type Model = BTreeMap<String, Value>;

/// A writer with keys of its own.
#[derive(Debug)]
pub struct Writer {
    name: String,
    shape: Shape,
    rng: SmallRng,
    /// The keys as the acknowledged commands left them.
    model: Model,
    /// Sent, but neither acknowledged nor known to be lost.
    in_flight: VecDeque<Op>,
    /// Commands acknowledged so far.
    pub acknowledged: u64,
}

impl Writer {
    /// A writer whose keys start with `name` and whose commands follow from `seed`.
    pub fn new(name: &str, shape: Shape, seed: u64) -> Writer {
        Writer {
            name: name.to_owned(),
            shape,
            rng: SmallRng::seed_from_u64(seed),
            model: Model::new(),
            in_flight: VecDeque::new(),
            acknowledged: 0,
        }
    }

    /// Writes with up to `window` commands in flight until the connection breaks.
    ///
    /// Panics when a reply is not the one the model foretells.
    pub fn run_until_broken(&mut self, client: &mut Client, window: usize) -> io::Error {
        loop {
            if let Err(error) = self.fill(client, window) {
                return error;
            }
            // Take in several replies at once, so that the server sees real pipelines.
            while self.in_flight.len() > window / 2 {
                if let Err(error) = self.take_reply(client) {
                    return error;
                }
            }
        }
    }

    /// Writes one command at a time through `client` until `stop` is set or the connection breaks.
    pub fn run_routed(&mut self, client: &mut RoutedClient, stop: &AtomicBool) -> io::Result<()> {
        assert_eq!(
            self.shape,
            Shape::Single,
            "a routed client carries no transactions"
        );
        while !stop.load(Ordering::Relaxed) {
            let op = self.choose();
            self.in_flight.push_back(op.clone());
            let [command] = &op.commands()[..] else {
                unreachable!("single commands only")
            };
            let reply = client.call(command)?;
            self.acknowledge(reply);
        }
        Ok(())
    }

    /// Reads all keys back with `call` and settles what is known about the commands in flight.
    #[track_caller]
    pub fn check(&mut self, mut call: impl FnMut(&[&str]) -> Reply) {
        let found = self.read_all(&mut call);
        let in_flight = std::mem::take(&mut self.in_flight);
        let mut expected = self.model.clone();
        let mut differences = Vec::new();
        for op in std::iter::once(None).chain(in_flight.iter().map(Some)) {
            if let Some(op) = op {
                op.apply(&mut expected);
            }
            match difference(&expected, &found) {
                Some(text) => differences.push(text),
                None => {
                    self.model = found;
                    return;
                }
            }
        }
        let [first, .., last] = &differences[..] else {
            panic!(
                "{} after {} acknowledged: {differences:?}",
                self.name, self.acknowledged
            );
        };
        panic!(
            "{} after {} acknowledged, in flight {in_flight:?}: {first}; with all in flight: {last}",
            self.name, self.acknowledged
        );
    }

    fn fill(&mut self, client: &mut Client, window: usize) -> io::Result<()> {
        while self.in_flight.len() < window {
            let op = self.choose();
            for command in op.commands() {
                client.send(&command)?;
            }
            self.in_flight.push_back(op);
        }
        client.flush()
    }

    fn take_reply(&mut self, client: &mut Client) -> io::Result<()> {
        let op = self.in_flight.front().expect("a reply is due");
        // All but the last reply of a transaction only say that it is being put together.
        for _ in 1..op.commands().len() {
            client.receive()?;
        }
        let reply = client.receive()?;
        self.acknowledge(reply);
        Ok(())
    }

    fn acknowledge(&mut self, reply: Reply) {
        let op = self.in_flight.pop_front().expect("a command was sent");
        let expected = op.apply(&mut self.model);
        assert_eq!(
            reply, expected,
            "{}: reply to {op:?} after {} commands",
            self.name, self.acknowledged
        );
        self.acknowledged += 1;
    }

    fn choose(&mut self) -> Op {
        let shapes = if self.shape == Shape::Transactions {
            12
        } else {
            10
        };
        let string = self.key("s", STRINGS);
        match self.rng.random_range(0..shapes) {
            0..=2 => Op::Set(string, self.value()),
            3 => Op::Append(string, self.value()),
            4 => Op::Del(string),
            5 => Op::Incr(self.key("n", COUNTERS)),
            6 | 7 => Op::HSet(self.key("h", HASHES), self.field(), self.value()),
            8 => Op::HDel(self.key("h", HASHES), self.field()),
            // Rarely, so that hashes live long enough to grow large.
            9 if self.rng.random_range(0..100) == 0 => Op::Del(self.key("h", HASHES)),
            9 => Op::HSet(self.key("h", HASHES), self.field(), self.value()),
            _ => {
                let pair = self.rng.random_range(0..PAIRS);
                let keys = ["a", "b"].map(|end| format!("{{{}:pair:{pair}}}:{end}", self.name));
                Op::SetBoth(keys, self.value())
            }
        }
    }

    fn key(&mut self, kind: &str, count: u32) -> String {
        format!("{}:{kind}:{}", self.name, self.rng.random_range(0..count))
    }

    fn field(&mut self) -> String {
        format!("field:{}", self.rng.random_range(0..FIELDS))
    }

    /// Mostly short values, some of several cache lines, a few of several pages.
    fn value(&mut self) -> String {
        let len_max = match self.rng.random_range(0..100) {
            0 => 20_000,
            1..=9 => 1_000,
            _ => 40,
        };
        let len = self.rng.random_range(1..len_max);
        let serial = self.acknowledged + self.in_flight.len() as u64;
        let unit = format!("{serial}.");
        unit.repeat(len / unit.len() + 1)
    }

    fn read_all(&self, call: &mut impl FnMut(&[&str]) -> Reply) -> Model {
        let name = &self.name;
        let numbered = |kind: &'static str, count| {
            (0..count).map(move |index| format!("{name}:{kind}:{index}"))
        };
        let pairs = (0..PAIRS)
            .flat_map(|pair| ["a", "b"].map(|end| format!("{{{name}:pair:{pair}}}:{end}")));
        let strings = numbered("s", STRINGS)
            .chain(numbered("n", COUNTERS))
            .chain(pairs);
        let mut found = Model::new();
        for key in strings {
            match call(&["GET", &key]) {
                reply if reply.is_nil() => {}
                Reply::Bulk(text) => {
                    found.insert(key, Value::Str(String::from_utf8_lossy(&text).into_owned()));
                }
                other => panic!("GET {key}: {other:?}"),
            }
        }
        for key in numbered("h", HASHES) {
            let reply = call(&["HGETALL", &key]);
            let fields: BTreeMap<String, String> = reply
                .items()
                .chunks(2)
                .map(|pair| (pair[0].text(), pair[1].text()))
                .collect();
            assert_eq!(
                fields.len() * 2,
                reply.items().len(),
                "HGETALL {key} gives a field twice"
            );
            if !fields.is_empty() {
                found.insert(key, Value::Hash(fields));
            }
        }
        found
    }
}

impl Op {
    fn commands(&self) -> Vec<Vec<&str>> {
        match self {
            Op::Set(key, value) => vec![vec!["SET", key, value]],
            Op::Append(key, value) => vec![vec!["APPEND", key, value]],
            Op::Incr(key) => vec![vec!["INCR", key]],
            Op::Del(key) => vec![vec!["DEL", key]],
            Op::HSet(key, field, value) => vec![vec!["HSET", key, field, value]],
            Op::HDel(key, field) => vec![vec!["HDEL", key, field]],
            Op::SetBoth([a, b], value) => {
                vec![
                    vec!["MULTI"],
                    vec!["SET", a, value],
                    vec!["SET", b, value],
                    vec!["EXEC"],
                ]
            }
        }
    }

    /// Changes the model as the command changes the server; returns the server's reply.
    fn apply(&self, model: &mut Model) -> Reply {
        let ok = || Reply::Simple(b"OK".to_vec());
        let mut set = |key: &String, value: &String| {
            model.insert(key.clone(), Value::Str(value.clone()));
        };
        match self {
            Op::Set(key, value) => {
                set(key, value);
                ok()
            }
            Op::SetBoth([a, b], value) => {
                set(a, value);
                set(b, value);
                Reply::Array(vec![ok(), ok()])
            }
            Op::Append(key, value) => {
                let text = string_at(model, key);
                text.push_str(value);
                Reply::Int(text.len() as i64)
            }
            Op::Incr(key) => {
                let text = string_at(model, key);
                let next = text.parse::<i64>().unwrap_or(0) + 1;
                *text = next.to_string();
                Reply::Int(next)
            }
            Op::Del(key) => Reply::Int(i64::from(model.remove(key).is_some())),
            Op::HSet(key, field, value) => {
                let before = hash_at(model, key).insert(field.clone(), value.clone());
                Reply::Int(i64::from(before.is_none()))
            }
            Op::HDel(key, field) => {
                let fields = hash_at(model, key);
                let removed = fields.remove(field).is_some();
                if fields.is_empty() {
                    model.remove(key);
                }
                Reply::Int(i64::from(removed))
            }
        }
    }
}

fn string_at<'a>(model: &'a mut Model, key: &str) -> &'a mut String {
    match model
        .entry(key.to_owned())
        .or_insert_with(|| Value::Str(String::new()))
    {
        Value::Str(text) => text,
        Value::Hash(_) => unreachable!("names tell the types apart"),
    }
}

fn hash_at<'a>(model: &'a mut Model, key: &str) -> &'a mut BTreeMap<String, String> {
    match model
        .entry(key.to_owned())
        .or_insert_with(|| Value::Hash(BTreeMap::new()))
    {
        Value::Hash(fields) => fields,
        Value::Str(_) => unreachable!("names tell the types apart"),
    }
}

/// The first key in which two models differ, with both values cut short.
fn difference(expected: &Model, found: &Model) -> Option<String> {
    let key = expected
        .keys()
        .chain(found.keys())
        .find(|key| expected.get(*key) != found.get(*key))?;
    let short = |model: &Model| format!("{:.200}", format!("{:?}", model.get(key)));
    Some(format!(
        "{key} is {} and should be {}",
        short(found),
        short(expected)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Launch;

    fn written() -> (crate::Server, Writer) {
        let server = Launch::redis().start();
        let mut writer = Writer::new("w", Shape::Transactions, 7);
        let mut client = server.client();
        let run = std::thread::scope(|scope| {
            let run = scope.spawn(|| writer.run_until_broken(&mut client, 32));
            std::thread::sleep(std::time::Duration::from_millis(300));
            server
                .client()
                .call(&["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"]);
            run.join()
        });
        run.expect("the replies were as foretold");
        assert!(writer.acknowledged > 100);
        (server, writer)
    }

    #[test]
    fn an_untouched_server_passes() {
        let (server, mut writer) = written();
        let mut client = server.client();
        writer.check(|args| client.call(args));
    }

    #[test]
    #[should_panic(expected = "should be")]
    fn a_lost_write_is_found() {
        let (server, mut writer) = written();
        let mut client = server.client();
        let key = writer
            .model
            .keys()
            .next()
            .expect("something was written")
            .clone();
        client.call(&["DEL", &key]);
        writer.check(|args| client.call(args));
    }

    #[test]
    #[should_panic(expected = "should be")]
    fn half_a_transaction_is_found() {
        let (server, mut writer) = written();
        let mut client = server.client();
        let key = writer
            .model
            .keys()
            .find(|key| key.ends_with("}:a"))
            .expect("a pair was written")
            .clone();
        client.call(&["SET", &key, "half"]);
        writer.check(|args| client.call(args));
    }
}
