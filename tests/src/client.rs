//! A blocking client without any cleverness: what is sent is what the test says.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::Reply;

/// What is queued up to this size leaves in one write.
pub const WRITE_BYTES: usize = 16 << 10;

/// How long a reply may take before a test fails instead of hanging.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// One connection to one server.
#[derive(Debug)]
pub struct Client {
    input: BufReader<TcpStream>,
    output: BufWriter<TcpStream>,
}

impl Client {
    /// Connects to a server on this machine.
    pub fn connect(port: u16) -> io::Result<Client> {
        Client::connect_to("127.0.0.1", port)
    }

    /// Connects to `host:port`.
    pub fn connect_to(host: &str, port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect((host, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Client {
            input: BufReader::new(stream.try_clone()?),
            output: BufWriter::with_capacity(WRITE_BYTES, stream),
        })
    }

    /// Queues a command; it leaves with the next [`Client::flush`] or [`Client::receive`].
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        write!(self.output, "*{}\r\n", args.len())?;
        for arg in args {
            let arg = arg.as_ref();
            write!(self.output, "${}\r\n", arg.len())?;
            self.output.write_all(arg)?;
            self.output.write_all(b"\r\n")?;
        }
        Ok(())
    }

    /// Queues bytes as they are, for what is no well-formed command.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)
    }

    /// Sends everything queued.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// The next reply.
    pub fn receive(&mut self) -> io::Result<Reply> {
        self.output.flush()?;
        Reply::read(&mut self.input)
    }

    /// What a subscriber gets next: the words, as texts.
    #[track_caller]
    pub fn message(&mut self) -> Vec<String> {
        let text = |reply: &Reply| match reply {
            Reply::Int(number) => number.to_string(),
            other => other.text(),
        };
        match self.receive().expect("a message") {
            Reply::Array(items) | Reply::Push(items) => items.iter().map(text).collect(),
            other => panic!("no message: {other:?}"),
        }
    }

    /// The next reply if one arrives within `limit`.
    pub fn receive_within(&mut self, limit: Duration) -> io::Result<Reply> {
        self.output.flush()?;
        self.input.get_ref().set_read_timeout(Some(limit))?;
        let reply = Reply::read(&mut self.input);
        self.input.get_ref().set_read_timeout(Some(REPLY_TIMEOUT))?;
        reply
    }

    /// Whether a reply has begun to arrive, or does within `limit`.
    pub fn has_reply_within(&mut self, limit: Duration) -> io::Result<bool> {
        self.output.flush()?;
        if !self.input.buffer().is_empty() {
            return Ok(true);
        }
        self.input.get_ref().set_read_timeout(Some(limit))?;
        let arrived = match self.input.fill_buf() {
            Ok([]) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        };
        self.input.get_ref().set_read_timeout(Some(REPLY_TIMEOUT))?;
        arrived
    }

    /// Sends one command and waits for its reply.
    pub fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.send(args)?;
        self.receive()
    }

    /// As [`Client::try_call`], for a server that must answer.
    #[track_caller]
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.try_call(args).unwrap_or_else(|error| {
            let shown: Vec<_> = args
                .iter()
                .map(|arg| String::from_utf8_lossy(arg.as_ref()))
                .collect();
            panic!("no reply to {shown:?}: {error}")
        })
    }

    /// Sends all commands at once, then collects the replies.
    #[track_caller]
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Vec<Reply> {
        for args in commands {
            self.send(args).expect("the server reads");
        }
        commands
            .iter()
            .map(|_| self.receive().expect("the server answers"))
            .collect()
    }

    /// Sends what is queued, closes the sending side and returns everything the server still sends,
    /// also when it closes the connection in the middle of what is sent.
    pub fn finish(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // Failures here mean that the server hung up, which is what the caller wants to see.
        let _ = self.output.flush();
        let _ = self.output.get_ref().shutdown(Shutdown::Write);
        let _ = self.input.read_to_end(&mut rest);
        rest
    }

    /// One field of `INFO`, searched in every section.
    #[track_caller]
    pub fn info(&mut self, field: &str) -> String {
        let info = self.call(&["INFO", "everything"]).text();
        field_of(&info, field).unwrap_or_else(|| panic!("INFO has no {field}:\n{info}"))
    }

    /// One number of one section of `INFO`, for questions that are asked again and again: all sections take their time.
    pub fn info_number(&mut self, section: &str, field: &str) -> Option<usize> {
        let info = self.call(&["INFO", section]).text();
        field_of(&info, field)?.parse().ok()
    }

    /// One field of `CLUSTER INFO`.
    #[track_caller]
    pub fn cluster_info(&mut self, field: &str) -> String {
        let info = self.call(&["CLUSTER", "INFO"]).text();
        field_of(&info, field).unwrap_or_else(|| panic!("CLUSTER INFO has no {field}:\n{info}"))
    }
}

/// The value of `field` in a text of `name:value` lines.
fn field_of(info: &str, field: &str) -> Option<String> {
    let mut pairs = info.lines().filter_map(|line| line.split_once(':'));
    pairs
        .find(|(name, _)| *name == field)
        .map(|(_, value)| value.trim().to_owned())
}
