//! The connections to one side of a run, and what comes over them.

use std::io;
use std::time::{Duration, Instant};

use super::pools::DIRECTIVES;
use super::run::{
    AUDITOR, BLOCKER, BLOCKERS, CONNECTIONS, Heard, Party, SUBSCRIBER, SUBSCRIBER_ID, Step, lost,
};
use super::script;
use crate::{Client, Reply, Server};

/// How long a server may take to begin to wait, or to serve who waits.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(5);

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
        // What refuses writes comes first. Each lets hostile payloads in only if they are sound; by default Redis trusts them.
        vec![
            "CONFIG",
            "SET",
            "maxmemory",
            "0",
            "min-replicas-to-write",
            "0",
            "sanitize-dump-payload",
            "yes",
        ],
        // Keys expire when they are looked at, by both servers at the same step.
        vec!["DEBUG", "SET-ACTIVE-EXPIRE", "0"],
        vec!["FLUSHALL"],
        vec!["FUNCTION", "FLUSH"],
        vec!["SCRIPT", "FLUSH"],
        vec!["ACL", "DELUSER", "u1", "u2", "u3"],
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
pub(super) struct Side<'s> {
    party: &'s Party,
    pub(super) clients: Vec<Client>,
    /// The auditor's eye on the asked node, where it sits at another.
    asker: Option<Client>,
    /// The numbers that the server has given to the clients.
    ids: Vec<String>,
    /// Which of the blockers wait.
    waits: [bool; BLOCKERS],
    /// The subscriber has been used.
    listens: bool,
    pings: u64,
}

impl Side<'_> {
    /// The servers made as new, and new connections to them.
    pub(super) fn fresh(party: &Party) -> Side<'_> {
        let mut auditor = party.owner().client();
        // Clients of the run before may still be on their way out, and would be counted.
        let deadline = Instant::now() + BLOCK_TIMEOUT;
        while party.others.is_empty()
            && auditor.info_number("clients", "connected_clients") != Some(1)
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        for server in party.others.iter().chain([&party.asked]) {
            make_as_new(server);
        }
        let mut clients: Vec<Client> = (0..AUDITOR).map(|_| party.asked.client()).collect();
        let ids = clients
            .iter_mut()
            .map(|client| client.call(&["CLIENT", "ID"]).int().to_string())
            .collect();
        clients.push(auditor);
        Side {
            party,
            clients,
            asker: party.is_elsewhere.then(|| party.asked.client()),
            ids,
            waits: [false; BLOCKERS],
            listens: false,
            pings: 0,
        }
    }

    /// Runs steps that are sent together; what waiting clients and the subscriber got is known behind the last one.
    pub(super) fn take(&mut self, steps: &[Step]) -> Vec<Heard> {
        let at = steps[0].connection;
        let mut heard: Vec<Heard> = match at {
            0..CONNECTIONS | AUDITOR => self.converse(at, steps),
            SUBSCRIBER => {
                self.listens = true;
                vec![Heard::of(Ok(Reply::Null))]
            }
            _ => vec![Heard::of(self.wait_or_unblock(at, &steps[0].args))],
        };
        let served = self.served();
        let messages = match self.listens {
            true => self.listen((at == SUBSCRIBER).then_some(&steps[0].args[..])),
            false => Ok(Vec::new()),
        };
        let words = &self.party.words;
        for Heard { reply, .. } in &mut heard {
            *reply = translated(reply.clone(), words);
        }
        let last = heard.last_mut().expect("a step is heard of");
        last.served = served
            .unwrap_or_else(|error| vec![(at, lost(error))])
            .into_iter()
            .map(|(at, reply)| (at, translated(reply, words)))
            .collect();
        last.messages = messages
            .unwrap_or_else(|error| vec![lost(error)])
            .into_iter()
            .map(|message| translated(message, words))
            .collect();
        heard
    }

    /// Sends steps in one write and hears the reply to each.
    fn converse(&mut self, at: usize, steps: &[Step]) -> Vec<Heard> {
        let mut sent = Ok(());
        for step in steps {
            let args: Vec<&[u8]> = step
                .args
                .iter()
                .map(|arg| match &arg[..] {
                    SUBSCRIBER_ID => self.ids[SUBSCRIBER].as_bytes(),
                    arg => arg,
                })
                .collect();
            sent = sent.and_then(|()| self.clients[at].send(&args));
        }
        let mut heard = Vec::new();
        for step in steps {
            let mut pushes = Vec::new();
            let reply = match sent {
                Ok(()) => self.receive(at, &step.args, &mut pushes),
                Err(ref error) => Err(error.kind().into()),
            };
            heard.push(Heard {
                pushes,
                ..Heard::of(reply)
            });
        }
        heard
    }

    /// The reply to a command that was sent, and what was pushed before it.
    fn receive(
        &mut self,
        at: usize,
        args: &[Vec<u8>],
        pushes: &mut Vec<Reply>,
    ) -> io::Result<Reply> {
        let client = &mut self.clients[at];
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

    /// Sends a command that may wait to a blocker. One that waits already is unblocked.
    fn wait_or_unblock(&mut self, at: usize, args: &[Vec<u8>]) -> io::Result<Reply> {
        if self.waits[at - BLOCKER] {
            let how = if args.len().is_multiple_of(2) {
                "ERROR"
            } else {
                "TIMEOUT"
            };
            let id = self.ids[at].clone();
            let asker = match &mut self.asker {
                Some(asker) => asker,
                None => &mut self.clients[AUDITOR],
            };
            return asker.try_call(&["CLIENT", "UNBLOCK", &id, how]);
        }
        self.clients[at].send(args)?;
        self.clients[at].flush()?;
        let waiting = self.waiting() + 1;
        let deadline = Instant::now() + BLOCK_TIMEOUT;
        loop {
            if self.clients[at].has_reply_within(Duration::from_millis(1))? {
                return self.clients[at].receive();
            }
            if self.blocked_clients().iter().all(|count| *count == waiting) {
                self.waits[at - BLOCKER] = true;
                return Ok(Reply::Simple(b"waits".to_vec()));
            }
            if Instant::now() > deadline {
                return Ok(Reply::Simple(b"neither waits nor answers".to_vec()));
            }
        }
    }

    /// How many of the blockers wait.
    fn waiting(&self) -> usize {
        self.waits.iter().filter(|waits| **waits).count()
    }

    /// What blockers got that wait no more.
    fn served(&mut self) -> io::Result<Vec<(usize, Reply)>> {
        let mut served = Vec::new();
        if self.waiting() == 0 {
            return Ok(served);
        }
        let left = self.blocked_clients().into_iter().min().unwrap_or_default();
        let deadline = Instant::now() + BLOCK_TIMEOUT;
        while self.waiting() > left && Instant::now() < deadline {
            for at in BLOCKER..AUDITOR {
                if self.waits[at - BLOCKER]
                    && self.clients[at].has_reply_within(Duration::from_millis(1))?
                {
                    self.waits[at - BLOCKER] = false;
                    served.push((at, self.clients[at].receive()?));
                }
            }
        }
        served.sort();
        // The node that has the keys may hear a little later that the wait is over.
        let waiting = self.waiting();
        while self.blocked_clients().iter().any(|count| *count != waiting)
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(served)
    }

    /// How many clients wait, at the node that has the keys and at the one that was asked.
    fn blocked_clients(&mut self) -> Vec<usize> {
        let nodes = [Some(&mut self.clients[AUDITOR]), self.asker.as_mut()];
        nodes
            .into_iter()
            .flatten()
            .map(|node| {
                node.info_number("clients", "blocked_clients")
                    .unwrap_or_default()
            })
            .collect()
    }
}
