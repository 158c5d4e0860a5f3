//! One request on its way to another node, or a whole transaction, which travels as one.

use super::Dialect;
use super::order::Ticket;
use super::redirection::Redirection;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How often one request follows MOVED and ASK. More than a topology that is being changed needs,
/// and a bound for nodes that send it in circles.
const REDIRECTIONS_MAX: u8 = 5;

/// A request, and everything needed to answer it whatever happens.
#[derive(Debug)]
pub struct Request {
    /// As sent: an array of byte strings.
    pub bytes: Bytes,
    /// Running it twice is as good as once.
    pub is_read: bool,
    /// Send ASKING before it.
    pub asking: bool,
    /// When the client is told that there is no answer.
    pub deadline: Instant,
    /// The protocol version of the reply, and the database of the keys.
    pub dialect: Dialect,
    /// Says which of the connections to a node the client uses.
    pub lane: u32,
    /// What the node answers: one reply, or for a transaction one for MULTI, each command and EXEC.
    pub(super) answers: usize,
    /// The script it names by its sha1. The node must have it first.
    pub(super) script: Option<NamedScript>,
    pub(super) redirections_left: u8,
    /// It may be sent once more if the connection failed before that did harm.
    pub(super) may_resend: bool,
    pub(super) ticket: Ticket,
    reply: oneshot::Sender<Bytes>,
}

/// A script that a request names.
#[derive(Clone, Debug)]
pub struct NamedScript {
    /// In lower case.
    pub sha: [u8; 40],
    /// The request that loads it.
    pub load: Bytes,
}

/// What happened to a request whose answer will not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The node has not run it.
    NotRun,
    /// The node may have run it, or may still.
    Unknown,
}

impl Request {
    /// A request and where its reply arrives. Whoever drops the request owes the reply.
    pub fn new(
        bytes: Bytes,
        is_read: bool,
        deadline: Instant,
        dialect: Dialect,
        lane: u32,
        ticket: Ticket,
    ) -> (Request, oneshot::Receiver<Bytes>) {
        let (reply, arrives) = oneshot::channel();
        let request = Request {
            bytes,
            is_read,
            asking: false,
            deadline,
            dialect,
            lane,
            answers: 1,
            script: None,
            redirections_left: REDIRECTIONS_MAX,
            may_resend: true,
            ticket,
            reply,
        };
        (request, arrives)
    }

    /// The same request, to be sent after ASKING.
    pub fn asking(mut self, asking: bool) -> Request {
        self.asking = asking;
        self
    }

    /// The same request, which is a transaction of so many commands.
    pub fn transaction(mut self, commands: usize) -> Request {
        self.answers = commands + 2;
        self
    }

    /// The same request, which names a script.
    pub fn script(mut self, script: Option<NamedScript>) -> Request {
        self.script = script;
        self
    }

    /// Hands the reply to the client, if it is still there.
    pub(super) fn answer(self, reply: Bytes) {
        // The order must see the request as done before the client can act on its reply.
        drop(self.ticket);
        let _ = self.reply.send(reply);
    }

    /// Answers with an error. `CLUSTERDOWN` says that nothing happened and that it may be sent again.
    pub(super) fn fail(self, peer: &str, fate: Fate, why: &str) {
        let is_read = self.is_read;
        self.answer(failure(peer, fate, is_read, why));
    }
}

/// What one request has been answered so far.
#[derive(Debug, Default)]
pub struct Answered {
    count: usize,
    /// The first error among the answers before the last.
    refused: Option<Bytes>,
}

impl Answered {
    /// Takes the next of `due` answers; the reply, once that was the last.
    pub fn take(&mut self, due: usize, answer: Bytes) -> Option<Bytes> {
        self.count += 1;
        if self.count < due {
            if answer.first() == Some(&b'-') && self.refused.is_none() {
                self.refused = Some(answer);
            }
            return None;
        }
        Some(match self.refused.take() {
            // A command that belongs elsewhere: so does the whole, of which nothing was run.
            Some(refused) if Redirection::parse(&refused).is_some() => refused,
            Some(refused) => [EXEC_ABORTED, &refused[1..]].concat().into(),
            None => answer,
        })
    }
}

/// What EXEC replies when it was refused for a reason that follows.
pub const EXEC_ABORTED: &[u8] = b"-EXECABORT Transaction discarded because of: ";

/// A transaction of the commands `queue`, encoded each, as one request.
pub fn encode_transaction(queue: &[Bytes]) -> Bytes {
    let room: usize = queue.iter().map(Bytes::len).sum();
    let mut bytes = BytesMut::with_capacity(room + 40);
    bytes.put_slice(b"*1\r\n$5\r\nMULTI\r\n");
    for command in queue {
        bytes.put_slice(command);
    }
    bytes.put_slice(b"*1\r\n$4\r\nEXEC\r\n");
    bytes.freeze()
}

/// What a client is told of a request whose answer will not come.
pub fn failure(peer: &str, fate: Fate, is_read: bool, why: &str) -> Bytes {
    let line = match fate {
        Fate::NotRun => format!("-CLUSTERDOWN forwarding to {peer} failed: {why}\r\n"),
        Fate::Unknown if is_read => format!("-ERR forwarding to {peer} failed: {why}\r\n"),
        Fate::Unknown => format!(
            "-ERR forwarding to {peer} failed: {why}; whether the command was executed is unknown\r\n"
        ),
    };
    line.into()
}

/// A request as an array of byte strings.
pub fn encode(argv: &[&[u8]]) -> Bytes {
    let room: usize = argv.iter().map(|word| word.len() + 24).sum();
    let mut bytes = BytesMut::with_capacity(room + 24);
    let mut digits = itoa::Buffer::new();
    bytes.put_u8(b'*');
    bytes.put_slice(digits.format(argv.len()).as_bytes());
    for word in argv {
        bytes.put_slice(b"\r\n$");
        bytes.put_slice(digits.format(word.len()).as_bytes());
        bytes.put_slice(b"\r\n");
        bytes.put_slice(word);
    }
    bytes.put_slice(b"\r\n");
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_arrays_of_byte_strings() {
        assert_eq!(
            &encode(&[b"SET", b"k", b"\r\n"])[..],
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n"
        );
        assert_eq!(
            &encode(&[b"GET", b""])[..],
            b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n"
        );
    }

    #[test]
    fn a_transaction_has_one_reply() {
        let take = |answers: &[&'static str]| {
            let mut answered = Answered::default();
            let replies: Vec<_> = answers
                .iter()
                .map(|text| answered.take(answers.len(), Bytes::from(*text)))
                .collect();
            let (last, before) = replies.split_last().expect("some");
            assert!(before.iter().all(Option::is_none));
            String::from_utf8(last.clone().expect("whole").to_vec())
        };
        let expect = |text: &str| Ok(text.to_owned());
        assert_eq!(take(&["+OK\r\n"]), expect("+OK\r\n"));
        assert_eq!(
            take(&["+OK\r\n", "+QUEUED\r\n", "*1\r\n:1\r\n"]),
            expect("*1\r\n:1\r\n")
        );
        let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        assert_eq!(
            take(&["+OK\r\n", "-OOM no\r\n", "-ERR late\r\n", aborted]),
            expect("-EXECABORT Transaction discarded because of: OOM no\r\n")
        );
        let moved = "-MOVED 1 h:1\r\n";
        assert_eq!(take(&["+OK\r\n", moved, aborted]), expect(moved));
        assert_eq!(take(&["+OK\r\n", "+QUEUED\r\n", moved]), expect(moved));
        assert_eq!(
            &encode_transaction(&[encode(&[b"PING"])])[..],
            b"*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nEXEC\r\n"
        );
    }

    #[test]
    fn an_error_says_whether_the_command_ran() {
        let text =
            |fate, is_read| String::from_utf8(failure("h:1", fate, is_read, "gone").to_vec());
        let expect = |text: &str| Ok(text.to_owned());
        assert_eq!(
            text(Fate::NotRun, false),
            expect("-CLUSTERDOWN forwarding to h:1 failed: gone\r\n")
        );
        assert_eq!(
            text(Fate::Unknown, true),
            expect("-ERR forwarding to h:1 failed: gone\r\n")
        );
        assert_eq!(
            text(Fate::Unknown, false),
            expect(
                "-ERR forwarding to h:1 failed: gone; whether the command was executed is unknown\r\n"
            )
        );
    }
}
