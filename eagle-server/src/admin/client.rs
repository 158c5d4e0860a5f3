//! A blocking client for administrative commands.

use eagle_core::resp::{Protocol, Reply, ReplyLimits, Writer};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Client> {
        let stream =
            TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Client {
            stream,
            received: Vec::new(),
        })
    }

    /// Runs one command. An error reply is an error.
    pub fn call(&mut self, words: &[&str]) -> io::Result<Reply> {
        let mut request = Writer::new(Protocol::Resp2);
        request.array(words.len());
        words.iter().for_each(|word| request.bulk(word));
        self.stream.write_all(request.as_bytes())?;
        loop {
            match Reply::parse(&self.received, &ReplyLimits::default()) {
                Err(error) => return Err(io::Error::other(format!("{error:?}"))),
                Ok(Some((reply, length))) => {
                    self.received.drain(..length);
                    return match reply {
                        Reply::Error(text) => Err(io::Error::other(
                            String::from_utf8_lossy(&text).into_owned(),
                        )),
                        reply => Ok(reply),
                    };
                }
                Ok(None) => {}
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// Runs one command whose reply is a text.
    pub fn text(&mut self, words: &[&str]) -> io::Result<String> {
        match self.call(words)? {
            Reply::Bulk(text) | Reply::Simple(text) | Reply::Verbatim(_, text) => {
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            other => Err(io::Error::other(format!("unexpected reply {other:?}"))),
        }
    }
}
