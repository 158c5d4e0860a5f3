//! One request on its way to another node.

use super::order::Ticket;
use bytes::{BufMut, Bytes, BytesMut};
use eagle_core::resp::Protocol;
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
    /// The protocol version of the reply.
    pub protocol: Protocol,
    /// Says which of the connections to a node the client uses.
    pub lane: u32,
    pub(super) redirections_left: u8,
    /// It may be sent once more if the connection failed before that did harm.
    pub(super) may_resend: bool,
    pub(super) ticket: Ticket,
    reply: oneshot::Sender<Bytes>,
}

/// What happened to a request whose answer will not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
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
        protocol: Protocol,
        lane: u32,
        ticket: Ticket,
    ) -> (Request, oneshot::Receiver<Bytes>) {
        let (reply, arrives) = oneshot::channel();
        let request = Request {
            bytes,
            is_read,
            asking: false,
            deadline,
            protocol,
            lane,
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

fn failure(peer: &str, fate: Fate, is_read: bool, why: &str) -> Bytes {
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
