//! Running steps on two servers at once, and making a failing sequence short.

use std::collections::VecDeque;
use std::fmt;

use super::{Compare, same};
use crate::{Client, Reply, Server};

/// Connections to each server; they share keys, so that WATCH has something to see.
pub const CONNECTIONS: usize = 2;

/// One command on one connection.
#[derive(Clone)]
pub struct Step {
    pub connection: usize,
    pub args: Vec<Vec<u8>>,
    pub compare: Compare,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>", self.connection)?;
        self.args
            .iter()
            .try_for_each(|arg| write!(f, " \"{:.80}\"", arg.escape_ascii().to_string()))
    }
}

/// Replies that differ.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// The steps up to the differing one.
    pub steps: Vec<Step>,
    pub ours: Reply,
    pub theirs: Reply,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps
            .iter()
            .try_for_each(|step| writeln!(f, "    {step:?}"))?;
        writeln!(f, "  ours   {:.600}", format!("{:?}", self.ours))?;
        write!(f, "  theirs {:.600}", format!("{:?}", self.theirs))
    }
}

/// The server under test and the reference.
#[derive(Debug)]
pub struct Pair {
    ours: Server,
    theirs: Server,
}

impl Pair {
    /// Both servers, running.
    pub fn new(ours: Server, theirs: Server) -> Pair {
        Pair { ours, theirs }
    }

    /// Runs the steps on empty servers with new connections; the first difference ends the run.
    pub fn run(&self, steps: &[Step]) -> Option<Mismatch> {
        let [mut ours, mut theirs] = [&self.ours, &self.theirs].map(Side::fresh);
        let mut queued: [VecDeque<Compare>; CONNECTIONS] = Default::default();
        for (index, step) in steps.iter().enumerate() {
            let queue = &mut queued[step.connection];
            let ours = ours.call(step);
            let theirs = theirs.call(step);
            let is_same = match (&ours, &theirs) {
                _ if ours == theirs => true,
                // Each element of an EXEC is compared as the command it answers.
                (Reply::Array(a), Reply::Array(b))
                    if step.args[0].eq_ignore_ascii_case(b"exec") =>
                {
                    a.len() == b.len()
                        && a.len() == queue.len()
                        && a.iter()
                            .zip(b)
                            .zip(&*queue)
                            .all(|((a, b), compare)| same(*compare, a, b))
                }
                _ => same(step.compare, &ours, &theirs),
            };
            if !is_same {
                return Some(Mismatch {
                    steps: steps[..=index].to_vec(),
                    ours,
                    theirs,
                });
            }
            match theirs {
                Reply::Simple(text) if text == b"QUEUED" => queue.push_back(step.compare),
                _ if is_end_of_multi(&step.args[0]) => queue.clear(),
                _ => {}
            }
        }
        None
    }

    /// Takes away every step without which the replies still differ.
    pub fn shorten(&self, mut mismatch: Mismatch) -> Mismatch {
        let mut chunk = mismatch.steps.len() / 2;
        while chunk > 0 {
            let mut start = 0;
            while start + chunk < mismatch.steps.len() {
                let mut steps = mismatch.steps.clone();
                steps.drain(start..start + chunk);
                match self.run(&steps) {
                    Some(shorter) => mismatch = shorter,
                    None => start += chunk,
                }
            }
            chunk /= 2;
        }
        mismatch
    }
}

/// The connections to one server.
struct Side {
    clients: Vec<Client>,
}

impl Side {
    fn fresh(server: &Server) -> Side {
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.client()).collect();
        clients[0].call(&["FLUSHALL"]).ok();
        Side { clients }
    }

    fn call(&mut self, step: &Step) -> Reply {
        // A lost connection is a difference like any other, and can be made short like any other.
        let reply = self.clients[step.connection].try_call(&step.args);
        reply.unwrap_or_else(|error| Reply::Error(format!("no reply: {error}").into_bytes()))
    }
}

fn is_end_of_multi(name: &[u8]) -> bool {
    ["exec", "discard", "reset"]
        .iter()
        .any(|end| name.eq_ignore_ascii_case(end.as_bytes()))
}
