//! Running steps on two servers at once, and making a failing sequence short.
//!
//! A step runs on one of six connections:
//!
//! ```text
//!   0, 1        ordinary: commands, transactions, client side caching
//!   SUBSCRIBER  listens to channels and keyspace events; what it hears is taken in after every step
//!   BLOCKER,    wait for keys; after every step they are asked whether they were served. A step of their own
//!   BLOCKER+1   while they wait is a CLIENT UNBLOCK
//!   AUDITOR     settings before a sequence, questions after it
//! ```
//!
//! Steps of an ordinary connection may be sent together, in one write, as clients do that pipeline.
//!
//! A side may be a cluster: the commands go to one of its nodes, the auditor may sit at another.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::crossing::cross_over;
use super::pools::KEYS;
use super::side::Side;
use super::{Compare, same};
use crate::client::WRITE_BYTES;
use crate::{Reply, Server};

/// Ordinary connections to each server; they share keys, so that WATCH has something to see.
pub const CONNECTIONS: usize = 2;
/// The connection that listens.
pub const SUBSCRIBER: usize = CONNECTIONS;
/// The first of the connections that wait for keys, so that there is an order in which they are served.
pub const BLOCKER: usize = CONNECTIONS + 1;
/// How many there are.
pub const BLOCKERS: usize = 2;
/// The connection of the run itself.
pub const AUDITOR: usize = BLOCKER + BLOCKERS;

/// Stands for the number that the subscriber has as a client, which is another at each server.
pub const SUBSCRIBER_ID: &[u8] = b"@subscriber";

/// How long a mismatch may be made shorter.
const SHORTEN_TIME_MAX: Duration = Duration::from_secs(20);

/// After this time a key that was to expire in a millisecond has done so.
const SOON: Duration = Duration::from_millis(3);

/// One command on one connection.
#[derive(Clone)]
pub struct Step {
    pub connection: usize,
    pub args: Vec<Vec<u8>>,
    pub compare: Compare,
    /// Leaves a key that is over in `SOON`.
    pub expires: bool,
    /// Is sent in one write with the next step, if that is of the same connection.
    pub is_joined: bool,
}

impl Step {
    /// A step of plain words.
    pub fn new(connection: usize, words: &[&str], compare: Compare) -> Step {
        let args = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        Step::of(connection, args, compare)
    }

    /// A step of any bytes.
    pub fn of(connection: usize, args: Vec<Vec<u8>>, compare: Compare) -> Step {
        Step {
            connection,
            args,
            compare,
            expires: false,
            is_joined: false,
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = if self.is_joined { "+" } else { "" };
        write!(f, "{}{joined}>", self.connection)?;
        self.args
            .iter()
            .try_for_each(|arg| write!(f, " \"{:.1600}\"", arg.escape_ascii().to_string()))
    }
}

/// Everything that was heard of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub reply: Reply,
    /// Pushes to the connection of the step, before the reply.
    pub pushes: Vec<Reply>,
    /// What the subscriber got.
    pub messages: Vec<Reply>,
    /// What waiting clients got, with the number of their connection.
    pub served: Vec<(usize, Reply)>,
}

impl Heard {
    /// A reply, or what came in its place, and nothing beside.
    pub(super) fn of(reply: io::Result<Reply>) -> Heard {
        Heard {
            reply: reply.unwrap_or_else(lost),
            pushes: Vec::new(),
            messages: Vec::new(),
            served: Vec::new(),
        }
    }
}

/// A lost connection is a difference like any other, and can be made short like any other.
pub(super) fn lost(error: io::Error) -> Reply {
    Reply::Error(format!("no reply: {error}").into_bytes())
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.600}", format!("{:?}", self.reply))?;
        for (what, replies) in [("pushed", &self.pushes), ("told", &self.messages)] {
            if !replies.is_empty() {
                write!(f, ", {what} {:.600}", format!("{replies:?}"))?;
            }
        }
        self.served
            .iter()
            .try_for_each(|(at, reply)| write!(f, ", served {at} {:.300}", format!("{reply:?}")))
    }
}

/// Replies that differ.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// The steps up to the differing one.
    pub steps: Vec<Step>,
    pub ours: Heard,
    pub theirs: Heard,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps
            .iter()
            .try_for_each(|step| writeln!(f, "    {step:?}"))?;
        writeln!(f, "  ours   {}", self.ours)?;
        write!(f, "  theirs {}", self.theirs)
    }
}

/// One side of a run: a server, or a cluster of which one node is asked.
#[derive(Debug)]
pub struct Party {
    pub asked: Server,
    /// The rest of its cluster.
    pub others: Vec<Server>,
    /// The asked node has none of the keys: the first of the others does, and the auditor sits there.
    pub is_elsewhere: bool,
    /// Words of error replies that only this side says, such as addresses, and what they count as.
    pub words: Vec<(String, &'static str)>,
}

impl Party {
    /// A server by itself.
    pub fn alone(asked: Server) -> Party {
        Party {
            asked,
            others: Vec::new(),
            is_elsewhere: false,
            words: Vec::new(),
        }
    }

    /// The server that has the keys.
    pub(super) fn owner(&self) -> &Server {
        match self.is_elsewhere {
            true => &self.others[0],
            false => &self.asked,
        }
    }
}

/// The server under test and the reference.
#[derive(Debug)]
pub struct Pair {
    ours: Party,
    theirs: Party,
}

impl Pair {
    /// Both servers, running.
    pub fn new(ours: Server, theirs: Server) -> Pair {
        Pair::of(Party::alone(ours), Party::alone(theirs))
    }

    /// Both sides, running.
    pub fn of(ours: Party, theirs: Party) -> Pair {
        Pair { ours, theirs }
    }

    /// The server under test, and the reference.
    pub fn into_servers(self) -> (Server, Server) {
        (self.ours.asked, self.theirs.asked)
    }

    /// The reference that is asked.
    pub fn reference(&self) -> &Server {
        &self.theirs.asked
    }

    /// Runs the steps on empty servers with new connections; the first difference ends the run.
    pub fn run(&self, steps: &[Step]) -> Option<Mismatch> {
        let [mut side, mut reference] = [&self.ours, &self.theirs].map(Side::fresh);
        let mut queued: [VecDeque<Compare>; CONNECTIONS] = Default::default();
        let mut has_served = [false; CONNECTIONS];
        let mut early = Vec::new();
        let mut at = 0;
        while at < steps.len() {
            let joined = &steps[at..at + joined(&steps[at..])];
            let heard = [&mut side, &mut reference].map(|side| side.take(joined));
            // It is heard of behind the last of them.
            let serves = heard[0].iter().any(|heard| !heard.served.is_empty());
            if serves {
                has_served = [true; CONNECTIONS];
            }
            let [heard_here, heard_there] = heard.map(Vec::into_iter);
            for ((step, ours), theirs) in joined.iter().zip(heard_here).zip(heard_there) {
                let served = match has_served.get_mut(step.connection) {
                    Some(served) => std::mem::replace(served, serves),
                    None => serves,
                };
                let queue = queued.get(step.connection);
                let are_told_same = are_told_same(&ours, &theirs, served, &mut early);
                if !(are_told_same && is_same(step, queue, &ours, &theirs)) {
                    let is_explained = is_explained(step, &ours.reply, &theirs.reply)
                        || has_refused_unordered(step, &ours.reply, &mut reference);
                    return (!is_explained).then(|| Mismatch {
                        steps: steps[..=at].to_vec(),
                        ours,
                        theirs,
                    });
                }
                if has_met_damage(&theirs.reply) {
                    return None;
                }
                if let Some(queue) = queued.get_mut(step.connection) {
                    match theirs.reply {
                        Reply::Simple(text) if text == b"QUEUED" => queue.push_back(step.compare),
                        _ if is_end_of_multi(&step.args[0]) => queue.clear(),
                        _ => {}
                    }
                }
                if step.expires {
                    std::thread::sleep(SOON);
                }
                at += 1;
            }
        }
        if !self.ours.others.is_empty() {
            return None;
        }
        cross_over(&mut side, &mut reference).map(|(step, ours, theirs)| Mismatch {
            steps: [steps, &[step]].concat(),
            ours,
            theirs,
        })
    }

    /// Takes away every step without which the servers still differ in the same way.
    pub fn shorten(&self, mut mismatch: Mismatch) -> Mismatch {
        let command = mismatch.steps[mismatch.steps.len() - 1].args[0].to_ascii_lowercase();
        let deadline = Instant::now() + SHORTEN_TIME_MAX;
        let mut chunk = mismatch.steps.len() / 2;
        while chunk > 0 && Instant::now() < deadline {
            let mut start = 0;
            while start + chunk < mismatch.steps.len() {
                let mut steps = mismatch.steps.clone();
                steps.drain(start..start + chunk);
                match self.run(&steps) {
                    // What crosses over in vain puts a step behind the others.
                    Some(shorter)
                        if shorter.steps.len() < mismatch.steps.len()
                            && shorter.steps[shorter.steps.len() - 1].args[0]
                                .to_ascii_lowercase()
                                == command =>
                    {
                        mismatch = shorter;
                    }
                    _ => start += chunk,
                }
            }
            chunk /= 2;
        }
        mismatch
    }
}

/// How many of the first steps are sent in one write: so much that a server gets all of them with one read.
fn joined(steps: &[Step]) -> usize {
    let connection = steps[0].connection;
    let mut count = 1;
    let mut bytes = request_bytes(&steps[0]);
    while connection < CONNECTIONS
        && steps[count - 1].is_joined
        && steps
            .get(count)
            .is_some_and(|next| next.connection == connection)
    {
        bytes += request_bytes(&steps[count]);
        if bytes > WRITE_BYTES {
            break;
        }
        count += 1;
    }
    count
}

/// What a step takes on the wire, at most.
fn request_bytes(step: &Step) -> usize {
    const HEAD_BYTES_MAX: usize = 24;
    let args = step.args.iter().map(|arg| arg.len() + HEAD_BYTES_MAX);
    HEAD_BYTES_MAX + args.sum::<usize>()
}

/// Differences that have a reason. What comes behind one is of no use: the keys may differ, too.
///
/// - SORT of 7.0.15 takes an `errno` for its own that some earlier command has left: it refuses scores that are good.
/// - Which of several members at the same distance a geo search with COUNT keeps is left to an unstable sort.
fn is_explained(step: &Step, ours: &Reply, theirs: &Reply) -> bool {
    let refused = |reply: &Reply| format!("{reply:?}").contains("scores can\\'t be converted");
    let is_search = step.args[0].to_ascii_lowercase().starts_with(b"geo");
    let counts = step
        .args
        .iter()
        .any(|arg| arg.eq_ignore_ascii_case(b"count"));
    let are_alike = same(Compare::Shape, ours, theirs);
    (refused(theirs) && !refused(ours)) || (is_search && counts && are_alike)
}

/// Whether a payload was refused here because the entries of the stream in it do not ascend, or not up to the last id that it
/// says it gave: what it gave next would come before an entry. Redis takes such a stream, which is there then.
fn has_refused_unordered(step: &Step, ours: &Reply, reference: &mut Side<'_>) -> bool {
    let mut ask = |words: &[&str]| {
        let asks = Step::new(step.connection, words, Compare::Exact);
        reference.take(&[asks]).remove(0).reply
    };
    let mut is_unordered = |key: &str| {
        let info = ask(&["XINFO", "STREAM", key]);
        let given = told_of(&info, "last-generated-id").and_then(stream_id);
        let Reply::Array(entries) = ask(&["XRANGE", key, "-", "+"]) else {
            return false;
        };
        let ids = entries.iter().map(|entry| match entry {
            Reply::Array(words) => words.first().and_then(stream_id),
            _ => None,
        });
        let last = ids.clone().next_back().flatten();
        !ids.is_sorted_by(|a, b| a < b) || last > given
    };
    let refused = format!("{ours:?}").contains("Bad data format");
    refused && KEYS.iter().any(|key| is_unordered(key))
}

/// What a map, or the array that stands for it, has under a name.
fn told_of<'a>(reply: &'a Reply, name: &str) -> Option<&'a Reply> {
    let is_it = |word: &Reply| word.bytes() == Some(name.as_bytes());
    match reply {
        Reply::Map(pairs) => pairs
            .iter()
            .find(|(word, _)| is_it(word))
            .map(|pair| &pair.1),
        Reply::Array(items) => items
            .chunks_exact(2)
            .find(|pair| is_it(&pair[0]))
            .map(|pair| &pair[1]),
        _ => None,
    }
}

fn stream_id(reply: &Reply) -> Option<(u64, u64)> {
    let (ms, seq) = str::from_utf8(reply.bytes()?).ok()?.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}

/// Whether a command has met a HyperLogLog damaged in its middle. A PFADD of 7.0.15 keeps then what it had added before it
/// came there, although it is refused; what is refused here changes nothing.
fn has_met_damage(reply: &Reply) -> bool {
    match reply {
        Reply::Error(text) => text.starts_with(b"INVALIDOBJ"),
        Reply::Array(replies) => replies.iter().any(has_met_damage),
        _ => false,
    }
}

/// Whether both servers have told the same of what is cached, and of all else they tell. Steps that are sent together are
/// one turn for both, at whose end they push what they broadcast.
///
/// Redis takes it that nobody can have read a list between an element's coming and its going to a client that waited for
/// one (`has_served`), and tells of the first only. Here other threads may have, so readers are told of both. What they were
/// told `early` by that they are not told later, when Redis tells them.
fn are_told_same(ours: &Heard, theirs: &Heard, has_served: bool, early: &mut Vec<Reply>) -> bool {
    if ours.messages == theirs.messages && ours.pushes == theirs.pushes {
        return true;
    }
    let (mut a, mut b) = (streams(&ours.messages), streams(&theirs.messages));
    let [told_here, told_there] =
        [&mut a, &mut b].map(|streams| streams.remove(&b"invalidate"[..]).unwrap_or_default());
    a == b
        && is_told(&told_there, &told_here, has_served, early)
        && is_told(&theirs.pushes, &ours.pushes, has_served, early)
}

/// Whether all of `theirs` is among `ours`, in order, or was told `early`; `more` allows ours to have more.
fn is_told(theirs: &[Reply], ours: &[Reply], more: bool, early: &mut Vec<Reply>) -> bool {
    let mut rest = ours;
    for told in theirs {
        if let Some(at) = rest.iter().position(|reply| reply == told)
            && (more || at == 0)
        {
            early.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
        } else if let Some(at) = early.iter().position(|reply| reply == told) {
            early.swap_remove(at);
        } else {
            return false;
        }
    }
    early.extend_from_slice(rest);
    more || rest.is_empty()
}

/// Whether both servers have said the same of a step, and to clients that waited.
fn is_same(step: &Step, queue: Option<&VecDeque<Compare>>, ours: &Heard, theirs: &Heard) -> bool {
    if ours.served != theirs.served {
        return false;
    }
    match (&ours.reply, &theirs.reply, queue) {
        (ours, theirs, _) if ours == theirs => true,
        // What the compiler of scripts says comes as UTF-8 here, and quotes foreign bytes with marks in their place.
        (Reply::Error(a), Reply::Error(b), _) if b.starts_with(b"ERR Error compiling") => {
            String::from_utf8_lossy(a) == String::from_utf8_lossy(b)
        }
        // Each element of an EXEC is compared as the command it answers.
        (Reply::Array(a), Reply::Array(b), Some(queue))
            if step.args[0].eq_ignore_ascii_case(b"exec") =>
        {
            a.len() == b.len()
                && a.len() == queue.len()
                && a.iter()
                    .zip(b)
                    .zip(queue)
                    .all(|((a, b), compare)| same(*compare, a, b))
        }
        (ours, theirs, _) => same(step.compare, ours, theirs),
    }
}

/// What the subscriber heard, by kind of message and by pattern. A client that listens to several patterns
/// gets one message from each of them in the order of a hash table, and leaves all its channels in such an
/// order too; what came through one pattern is in order.
fn streams(messages: &[Reply]) -> BTreeMap<Vec<u8>, Vec<Reply>> {
    let mut streams: BTreeMap<Vec<u8>, Vec<Reply>> = BTreeMap::new();
    for message in messages {
        let (kind, rest) = match message {
            Reply::Array(items) | Reply::Push(items)
                if items.len() > 2 || is_invalidation(items) =>
            {
                items.split_at(1)
            }
            // HELLO names the server and the connection.
            Reply::Map(_) => continue,
            other => {
                streams.entry(Vec::new()).or_default().push(other.clone());
                continue;
            }
        };
        let kind = kind[0].bytes().unwrap_or_default().to_vec();
        // What is cached is told of by another way than events: which of them comes first is each server's own.
        let is_message = kind == b"message" && rest[0].bytes() == Some(b"__redis__:invalidate");
        if is_message || kind == b"invalidate" {
            let told = streams.entry(b"invalidate".to_vec()).or_default();
            told.push(message.clone());
        } else if kind.ends_with(b"unsubscribe") {
            let counts = [&kind[..], b" counts"].concat();
            streams.entry(counts).or_default().push(rest[1].clone());
            let left = streams.entry(kind).or_default();
            left.push(rest[0].clone());
            left.sort();
        } else if kind == b"pmessage" {
            let pattern = rest[0].bytes().unwrap_or_default();
            let stream = [&kind[..], b" ", pattern].concat();
            streams.entry(stream).or_default().push(message.clone());
        } else if kind != b"server" {
            streams.entry(kind).or_default().push(message.clone());
        }
    }
    streams
}

/// Whether it tells a client of the newer protocol what to forget.
fn is_invalidation(items: &[Reply]) -> bool {
    items.first().and_then(Reply::bytes) == Some(b"invalidate")
}

fn is_end_of_multi(name: &[u8]) -> bool {
    ["exec", "discard", "reset", "quit"]
        .iter()
        .any(|end| name.eq_ignore_ascii_case(end.as_bytes()))
}
