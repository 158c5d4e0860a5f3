//! Writers that remember what the server acknowledged, and check that it is all there.
//!
//! A writer owns its keys, which are of every type, so a plain model of them is exact. Commands of one connection run in
//! order; after a crash the server must therefore hold the acknowledged commands and *some prefix*
//! of those still in flight, each of them whole. [`Writer::check`] reads every key back and looks
//! for that prefix: a lost, torn, reordered or invented write leaves none.

mod model;
mod op;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::{Client, Reply, RoutedClient};
use model::{Kind, Model, difference, read_key};
use op::Op;

/// Keys of each kind: name, number and type.
const KINDS: [(&str, u32, Kind); 8] = [
    ("s", 200, Kind::Str),
    ("n", 20, Kind::Str),
    ("b", 4, Kind::Str),
    ("h", 10, Kind::Hash),
    ("l", 10, Kind::List),
    ("t", 10, Kind::Set),
    ("z", 10, Kind::Zset),
    ("x", 6, Kind::Stream),
];
/// Keys that share a slot with others, of which there are so many groups.
const PAIRS: u32 = 10;
const PAIRED: [(&str, Kind); 7] = [
    ("a", Kind::Str),
    ("b", Kind::Str),
    ("l", Kind::List),
    ("m", Kind::List),
    ("h", Kind::Hash),
    ("z", Kind::Zset),
    ("t", Kind::Set),
];
/// More fields or members than a packed form may have, so that collections change form under load.
const FIELDS: u32 = 200;
/// Elements of a list or entries of a stream that a trim leaves, at most.
const KEPT: usize = 300;
/// Bytes of a string that is written in the middle, about.
const RANGE: usize = 60_000;
/// When keys expire that do: not during a test. Unix milliseconds.
const FAR_MS: u64 = 4_000_000_000_000;
/// What lies between the expiries of two commands: more than [`DRIFT_MS`].
const APART_MS: u64 = 100_000;
/// How much later a key may expire once its slot has moved: MIGRATE hands over the time that is left, as in Redis.
const DRIFT_MS: u64 = 20_000;

/// What a writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Single commands of one key only, which any router can carry.
    Single,
    /// Also commands of two keys, MULTI blocks that write several keys of one slot, and consumer groups.
    Transactions,
}

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
    /// Commands chosen so far. Numbers values and entries.
    serial: u64,
    /// Commands acknowledged so far.
    pub acknowledged: u64,
    /// How much later keys may expire than they were told to.
    drift_ms: u64,
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
            serial: 0,
            acknowledged: 0,
            drift_ms: 0,
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

    /// Writes one command at a time through `client` until `stop` is set or the connection breaks. Slots may move meanwhile.
    pub fn run_routed(&mut self, client: &mut RoutedClient, stop: &AtomicBool) -> io::Result<()> {
        assert_eq!(
            self.shape,
            Shape::Single,
            "a routed client carries no transactions"
        );
        self.drift_ms = DRIFT_MS;
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
            match difference(&expected, &found, self.drift_ms) {
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
        self.serial += 1;
        let shapes = match self.shape {
            Shape::Single => 24,
            Shape::Transactions => 32,
        };
        match self.rng.random_range(0..shapes) {
            0..=2 => Op::Set(self.key("s"), self.value()),
            3 => Op::Append(self.key("s"), self.value()),
            4 => Op::Del(self.key("s")),
            5 => Op::Incr(self.key("n")),
            6 => Op::SetRange(self.key("b"), self.rng.random_range(0..RANGE), self.value()),
            7 => Op::ExpireAt(self.any_key(), FAR_MS + self.serial * APART_MS),
            // Rarely, so that collections live long enough to grow large.
            8 if self.rng.random_range(0..50) == 0 => Op::Del(self.any_key()),
            8..=10 => Op::HSet(self.key("h"), self.field(), self.value()),
            11 => Op::HDel(self.key("h"), self.field()),
            12 | 13 => Op::Push(self.rng.random(), self.key("l"), self.values()),
            14 => Op::Pop(self.rng.random(), self.key("l")),
            15 if self.rng.random_range(0..20) == 0 => Op::Trim(self.key("l"), self.kept()),
            15 | 16 => Op::SAdd(self.key("t"), self.members()),
            17 => Op::SRem(self.key("t"), self.members()),
            18 => Op::ZAdd(self.key("z"), self.scored()),
            19 => Op::ZIncr(
                self.key("z"),
                self.rng.random_range(-500..500),
                self.field(),
            ),
            20 => Op::ZRem(self.key("z"), self.field()),
            21 if self.rng.random_range(0..30) == 0 => Op::ZRemLowest(self.key("z"), self.kept()),
            21 => Op::ZPopMin(self.key("z")),
            22 if self.rng.random_range(0..20) == 0 => Op::XTrim(self.key("x"), self.kept()),
            22 => Op::XAdd(self.key("x"), self.serial, self.value()),
            23 => Op::XDel(self.key("x"), self.recent()),
            24 if self.rng.random_range(0..5) == 0 => Op::XGroup(self.key("x")),
            24 | 25 => Op::XRead(self.key("x"), self.rng.random_range(1..20)),
            26 => Op::XAck(self.key("x"), self.recent()),
            _ => self.choose_of_several_keys(),
        }
    }

    /// A command or a transaction on several keys of one slot.
    fn choose_of_several_keys(&mut self) -> Op {
        let pair = self.rng.random_range(0..PAIRS);
        let key = |end: &str| format!("{{{}:pair:{pair}}}:{end}", self.name);
        let [a, b, l, m, h, z, t] = PAIRED.map(|(end, _)| key(end));
        let value = self.value();
        match self.rng.random_range(0..6) {
            0 => Op::Rename(a, b),
            1 => Op::Move(l, m),
            2 => Op::Multi(vec![Op::Move(m, l.clone()), Op::Trim(l, KEPT)]),
            3 => {
                let score = self.rng.random_range(0..1000);
                Op::Multi(vec![
                    Op::Push(false, l, vec![value.clone()]),
                    Op::ZAdd(z, vec![(score, self.field())]),
                    Op::HSet(h, self.field(), value),
                    Op::SAdd(t, self.members()),
                ])
            }
            4 => Op::Multi(vec![
                Op::ZPopMin(z),
                Op::SRem(t, self.members()),
                Op::HDel(h, self.field()),
                Op::Pop(true, m),
            ]),
            _ => Op::Multi(vec![Op::Set(a, value.clone()), Op::Set(b, value)]),
        }
    }

    fn key(&mut self, kind: &str) -> String {
        let (_, count, _) = KINDS
            .iter()
            .find(|(name, ..)| *name == kind)
            .expect("a kind");
        format!("{}:{kind}:{}", self.name, self.rng.random_range(0..*count))
    }

    fn any_key(&mut self) -> String {
        let (kind, ..) = KINDS[self.rng.random_range(0..KINDS.len())];
        self.key(kind)
    }

    fn field(&mut self) -> String {
        format!("field:{}", self.rng.random_range(0..FIELDS))
    }

    /// Up to three members of a set: mostly numbers, so that some sets are sets of integers for a while.
    fn members(&mut self) -> Vec<String> {
        let member = |rng: &mut SmallRng| match rng.random_range(0..100) {
            0 => format!("member:{}", rng.random_range(0..FIELDS)),
            1..=9 => (i64::from(rng.random_range(0..FIELDS)) << 33).to_string(),
            _ => rng.random_range(0..FIELDS).to_string(),
        };
        let count = self.rng.random_range(1..=3);
        (0..count).map(|_| member(&mut self.rng)).collect()
    }

    /// One member with a score, or several different ones.
    fn scored(&mut self) -> Vec<(i64, String)> {
        let first = self.rng.random_range(0..FIELDS);
        let count = self.rng.random_range(1..=3);
        let scored = |member| {
            let score = self.rng.random_range(-1000..1000);
            (score, format!("field:{}", member % FIELDS))
        };
        (first..first + count).map(scored).collect()
    }

    fn values(&mut self) -> Vec<String> {
        let count = self.rng.random_range(1..=3);
        (0..count).map(|_| self.value()).collect()
    }

    fn kept(&mut self) -> usize {
        self.rng.random_range(1..=KEPT)
    }

    /// The number of an entry that may still be in its stream.
    fn recent(&mut self) -> u64 {
        self.serial
            .saturating_sub(self.rng.random_range(0..5000))
            .max(1)
    }

    /// Mostly short values, some of several cache lines, a few of several pages.
    fn value(&mut self) -> String {
        let len_max = match self.rng.random_range(0..100) {
            0 => 20_000,
            1..=9 => 1_000,
            _ => 40,
        };
        let len = self.rng.random_range(1..len_max);
        let unit = format!("{}.", self.serial);
        unit.repeat(len / unit.len() + 1)
    }

    fn read_all(&self, call: &mut impl FnMut(&[&str]) -> Reply) -> Model {
        let name = &self.name;
        let numbered = KINDS.iter().flat_map(|&(kind, count, of)| {
            (0..count).map(move |index| (format!("{name}:{kind}:{index}"), of))
        });
        let paired = (0..PAIRS)
            .flat_map(|pair| PAIRED.map(|(end, of)| (format!("{{{name}:pair:{pair}}}:{end}"), of)));
        let is_single = self.shape == Shape::Single;
        let keys = numbered.chain(paired.filter(|_| !is_single));
        keys.filter_map(|(key, of)| {
            let found = read_key(call, of, &key, !is_single)?;
            Some((key, found))
        })
        .collect()
    }
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
