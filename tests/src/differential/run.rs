//! Running steps on two servers at once, and making a failing sequence short.
//!
//! A step runs on one of five connections:
//!
//! ```text
//!   0, 1        ordinary: commands, transactions, client side caching
//!   SUBSCRIBER  listens to channels and keyspace events; what it hears is taken in after every step
//!   BLOCKER     waits for keys; after every step it is asked whether it was served. A step of its own
//!               while it waits is a CLIENT UNBLOCK
//!   AUDITOR     settings before a sequence, questions after it
//! ```
//!
//! A side may be a cluster: the commands go to one of its nodes, the auditor may sit at another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::pools::DIRECTIVES;
use super::{Compare, same, script};
use crate::{Client, Reply, Server};

/// Ordinary connections to each server; they share keys, so that WATCH has something to see.
pub const CONNECTIONS: usize = 2;
/// The connection that listens.
pub const SUBSCRIBER: usize = CONNECTIONS;
/// The connection that waits for keys.
pub const BLOCKER: usize = CONNECTIONS + 1;
/// The connection of the run itself.
pub const AUDITOR: usize = CONNECTIONS + 2;

/// How long a server may take to begin to wait, or to serve who waits.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(5);

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
}

impl Step {
    /// A step of plain words.
    pub fn new(connection: usize, words: &[&str], compare: Compare) -> Step {
        Step {
            connection,
            args: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
            compare,
            expires: false,
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>", self.connection)?;
        self.args
            .iter()
            .try_for_each(|arg| write!(f, " \"{:.160}\"", arg.escape_ascii().to_string()))
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
    /// What the waiting client got.
    pub served: Option<Reply>,
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.600}", format!("{:?}", self.reply))?;
        for (what, replies) in [("pushed", &self.pushes), ("told", &self.messages)] {
            if !replies.is_empty() {
                write!(f, ", {what} {:.600}", format!("{replies:?}"))?;
            }
        }
        match &self.served {
            Some(reply) => write!(f, ", served {:.300}", format!("{reply:?}")),
            None => Ok(()),
        }
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
    fn owner(&self) -> &Server {
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
        let [mut ours, mut theirs] = [&self.ours, &self.theirs].map(Side::fresh);
        let mut queued: [VecDeque<Compare>; CONNECTIONS] = Default::default();
        for (index, step) in steps.iter().enumerate() {
            let [ours, theirs] = [&mut ours, &mut theirs].map(|side| side.take(step));
            if !is_same(step, queued.get(step.connection), &ours, &theirs) {
                return Some(Mismatch {
                    steps: steps[..=index].to_vec(),
                    ours,
                    theirs,
                });
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
        }
        None
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
                    Some(shorter)
                        if shorter.steps[shorter.steps.len() - 1].args[0].to_ascii_lowercase()
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

fn is_same(step: &Step, queue: Option<&VecDeque<Compare>>, ours: &Heard, theirs: &Heard) -> bool {
    // Redis gathers what it broadcasts till the end of its round of events; a command that serves a waiting client
    // changes the same key twice in one.
    let [mut a, mut b] = [ours, theirs].map(|heard| heard.pushes.clone());
    a.dedup();
    b.dedup();
    if ours.served != theirs.served {
        return false;
    }
    // By the same habit it takes only the first of these changes for the key's, which NOLOOP may spare the client,
    // though the second was another's.
    let tells_more = ours.served.is_some() && invalidated(&b).is_subset(&invalidated(&a));
    if a != b && !tells_more {
        return false;
    }
    if ours.messages != theirs.messages && streams(&ours.messages) != streams(&theirs.messages) {
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

/// The keys that pushes tell a client to forget.
fn invalidated(pushes: &[Reply]) -> BTreeSet<&[u8]> {
    let keys = pushes.iter().filter_map(|push| match push {
        Reply::Push(items) => items.get(1),
        _ => None,
    });
    keys.flat_map(|keys| match keys {
        Reply::Array(keys) => &keys[..],
        _ => &[],
    })
    .filter_map(Reply::bytes)
    .collect()
}

/// What the subscriber heard, by kind of message and by pattern. A client that listens to several patterns
/// gets one message from each of them in the order of a hash table, and leaves all its channels in such an
/// order too; what came through one pattern is in order.
fn streams(messages: &[Reply]) -> BTreeMap<Vec<u8>, Vec<Reply>> {
    let mut streams: BTreeMap<Vec<u8>, Vec<Reply>> = BTreeMap::new();
    for message in messages {
        let (kind, rest) = match message {
            Reply::Array(items) | Reply::Push(items) if items.len() > 2 => items.split_at(1),
            // HELLO names the server and the connection.
            Reply::Map(_) => continue,
            other => {
                streams.entry(Vec::new()).or_default().push(other.clone());
                continue;
            }
        };
        let kind = kind[0].bytes().unwrap_or_default().to_vec();
        if kind.ends_with(b"unsubscribe") {
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

/// The command that undoes what a run has set.
pub fn default_settings(server: &Server) -> Vec<&'static str> {
    let mut settings = vec!["CONFIG", "SET"];
    for (name, values) in DIRECTIVES {
        // A test may have started its servers with limits of its own.
        if !server.is_started_with(name) {
            settings.extend([name, values[0]]);
        }
    }
    settings
}

/// Undoes what an earlier run has left.
fn make_as_new(server: &Server) {
    let mut client = server.client();
    let mut reset: Vec<Vec<&str>> = vec![
        vec!["CLIENT", "UNPAUSE"],
        // Keys expire when they are looked at, by both servers at the same step.
        vec!["DEBUG", "SET-ACTIVE-EXPIRE", "0"],
        vec!["FLUSHALL"],
        vec!["FUNCTION", "FLUSH"],
        vec!["SCRIPT", "FLUSH"],
        vec!["ACL", "DELUSER", "u1", "u2"],
        vec!["SLOWLOG", "RESET"],
        vec!["ACL", "LOG", "RESET"],
        script::load_words().to_vec(),
    ];
    reset.push(default_settings(server));
    for reply in client.pipeline(&reset) {
        assert_eq!(reply.error(), None, "a server is made as new");
    }
}

/// The reply with the words in its errors that only one side says replaced.
fn translated(reply: Reply, words: &[(String, &str)]) -> Reply {
    let all = |items: Vec<Reply>| {
        items
            .into_iter()
            .map(|item| translated(item, words))
            .collect()
    };
    match reply {
        reply if words.is_empty() => reply,
        Reply::Error(text) => {
            let mut text = String::from_utf8_lossy(&text).into_owned();
            for (word, meaning) in words {
                text = text.replace(word.as_str(), meaning);
            }
            Reply::Error(text.into_bytes())
        }
        Reply::Array(items) => Reply::Array(all(items)),
        other => other,
    }
}

/// The connections to one side.
struct Side<'s> {
    party: &'s Party,
    clients: Vec<Client>,
    /// The auditor's eye on the asked node, where it sits at another.
    asker: Option<Client>,
    blocker_id: String,
    /// The blocker waits.
    waits: bool,
    /// The subscriber has been used.
    listens: bool,
    pings: u64,
}

impl Side<'_> {
    fn fresh(party: &Party) -> Side<'_> {
        let mut auditor = party.owner().client();
        // Clients of the run before may still be on their way out, and would be counted.
        let deadline = Instant::now() + BLOCK_TIMEOUT;
        while party.others.is_empty()
            && auditor.info("connected_clients") != "1"
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        for server in party.others.iter().chain([&party.asked]) {
            make_as_new(server);
        }
        let mut clients: Vec<Client> = (0..AUDITOR).map(|_| party.asked.client()).collect();
        let blocker_id = clients[BLOCKER].call(&["CLIENT", "ID"]).int().to_string();
        clients.push(auditor);
        Side {
            party,
            clients,
            asker: party.is_elsewhere.then(|| party.asked.client()),
            blocker_id,
            waits: false,
            listens: false,
            pings: 0,
        }
    }

    fn take(&mut self, step: &Step) -> Heard {
        let mut pushes = Vec::new();
        let reply = match step.connection {
            SUBSCRIBER => {
                self.listens = true;
                Ok(Reply::Null)
            }
            BLOCKER => self.wait_or_unblock(&step.args),
            at => self.call(at, &step.args, &mut pushes),
        };
        // A lost connection is a difference like any other, and can be made short like any other.
        let lost = |error: io::Error| Reply::Error(format!("no reply: {error}").into_bytes());
        let served = match self.served() {
            Ok(served) => served,
            Err(error) => Some(lost(error)),
        };
        let messages = match self.listens {
            true => self.listen((step.connection == SUBSCRIBER).then_some(&step.args[..])),
            false => Ok(Vec::new()),
        };
        let words = &self.party.words;
        let messages = messages.unwrap_or_else(|error| vec![lost(error)]);
        Heard {
            reply: translated(reply.unwrap_or_else(lost), words),
            pushes,
            messages: messages
                .into_iter()
                .map(|message| translated(message, words))
                .collect(),
            served: served.map(|reply| translated(reply, words)),
        }
    }

    fn call(&mut self, at: usize, args: &[Vec<u8>], pushes: &mut Vec<Reply>) -> io::Result<Reply> {
        let client = &mut self.clients[at];
        client.send(args)?;
        let reply = loop {
            match client.receive()? {
                push @ Reply::Push(_) => pushes.push(push),
                reply => break reply,
            }
        };
        if args[0].eq_ignore_ascii_case(b"quit") && reply.error().is_none() {
            *client = self.party.asked.client();
        }
        Ok(reply)
    }

    /// Sends a command to the subscriber, if there is one, and takes in what it has heard till now.
    fn listen(&mut self, args: Option<&[Vec<u8>]>) -> io::Result<Vec<Reply>> {
        self.pings += 1;
        let mark = format!("mark {}", self.pings);
        let client = &mut self.clients[SUBSCRIBER];
        if let Some(args) = args {
            client.send(args)?;
        }
        client.send(&["PING", &mark])?;
        let is_mark = |reply: &Reply| reply.bytes() == Some(mark.as_bytes());
        let mut heard = Vec::new();
        loop {
            match client.receive()? {
                reply if is_mark(&reply) => return Ok(heard),
                // A connection that listens gets a pair.
                Reply::Array(pair) if pair.len() == 2 && is_mark(&pair[1]) => return Ok(heard),
                reply => heard.push(reply),
            }
        }
    }

    /// Sends a command that may wait to the blocker. One that waits already is unblocked.
    fn wait_or_unblock(&mut self, args: &[Vec<u8>]) -> io::Result<Reply> {
        if self.waits {
            let how = if args.len().is_multiple_of(2) {
                "ERROR"
            } else {
                "TIMEOUT"
            };
            let id = self.blocker_id.clone();
            let asker = match &mut self.asker {
                Some(asker) => asker,
                None => &mut self.clients[AUDITOR],
            };
            return asker.try_call(&["CLIENT", "UNBLOCK", &id, how]);
        }
        self.clients[BLOCKER].send(args)?;
        self.clients[BLOCKER].flush()?;
        let deadline = Instant::now() + BLOCK_TIMEOUT;
        loop {
            if self.clients[BLOCKER].has_reply_within(Duration::from_millis(1))? {
                return self.clients[BLOCKER].receive();
            }
            if self.blocked_clients().iter().all(|count| count == "1") {
                self.waits = true;
                return Ok(Reply::Simple(b"waits".to_vec()));
            }
            if Instant::now() > deadline {
                return Ok(Reply::Simple(b"neither waits nor answers".to_vec()));
            }
        }
    }

    /// What the waiting client got, if it waits no more.
    fn served(&mut self) -> io::Result<Option<Reply>> {
        if !self.waits || self.blocked_clients().iter().all(|count| count != "0") {
            return Ok(None);
        }
        self.waits = false;
        let reply = self.clients[BLOCKER].receive()?;
        // The node that has the keys may hear a little later that the wait is over.
        let deadline = Instant::now() + BLOCK_TIMEOUT;
        while self.blocked_clients().iter().any(|count| count != "0") && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Some(reply))
    }

    /// How many clients wait, at the node that has the keys and at the one that was asked.
    fn blocked_clients(&mut self) -> Vec<String> {
        let nodes = [Some(&mut self.clients[AUDITOR]), self.asker.as_mut()];
        nodes
            .into_iter()
            .flatten()
            .map(|node| {
                // The one section: it is asked for after every step.
                let info = node.call(&["INFO", "clients"]).text();
                let line = info
                    .lines()
                    .find_map(|line| line.strip_prefix("blocked_clients:"));
                line.unwrap_or_default().to_owned()
            })
            .collect()
    }
}

fn is_end_of_multi(name: &[u8]) -> bool {
    ["exec", "discard", "reset", "quit"]
        .iter()
        .any(|end| name.eq_ignore_ascii_case(end.as_bytes()))
}
