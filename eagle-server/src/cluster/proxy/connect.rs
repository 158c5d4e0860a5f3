//! A connection to another node, made ready for forwarded requests.

use super::Dialect;
use super::request::encode;
use bytes::{Bytes, BytesMut};
use eagle_core::resp::{Protocol, ReplyLimits, ReplyScanner, ReplyStep};
use std::fmt;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// What this node says of itself to other nodes. What a client may do has been decided before its request comes here, so
/// one login serves them all.
#[derive(Clone, Default)]
pub struct Login {
    /// Empty for the default user.
    pub username: Zeroizing<Vec<u8>>,
    /// Empty sends no AUTH.
    pub password: Zeroizing<Vec<u8>>,
}

/// Answers to the few commands below are short.
const ANSWER_LIMITS: ReplyLimits = ReplyLimits {
    line_bytes_max: 4096,
    bulk_bytes_max: 4096,
    elements_max: 256,
    depth_max: 8,
};

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    Io(io::Error),
    /// The node's own words.
    Refused(String),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        ConnectError::Io(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Io(error) => write!(f, "{error}"),
            ConnectError::Refused(text) => write!(f, "the node refused the connection: {text}"),
        }
    }
}

/// Connects, authenticates, agrees on the protocol and selects the database. Nothing of a client is sent yet.
pub(super) async fn connect(
    host: &str,
    port: u16,
    dialect: Dialect,
    login: &Login,
) -> Result<TcpStream, ConnectError> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let mut input = BytesMut::new();
    if !login.password.is_empty() {
        let mut words: Vec<&[u8]> = vec![b"AUTH"];
        if !login.username.is_empty() {
            words.push(&login.username);
        }
        words.push(&login.password);
        let answer = ask(&mut stream, &mut input, &words).await?;
        // A node without a password takes everybody.
        if let Some(text) = error_text(&answer)
            && !text.contains("without any password configured")
        {
            return Err(ConnectError::Refused(text));
        }
    }
    if dialect.protocol == Protocol::Resp3 {
        let answer = ask(&mut stream, &mut input, &[b"HELLO", b"3"]).await?;
        if let Some(text) = error_text(&answer) {
            return Err(ConnectError::Refused(text));
        }
    }
    if dialect.db != 0 {
        let db = dialect.db.to_string();
        let answer = ask(&mut stream, &mut input, &[b"SELECT", db.as_bytes()]).await?;
        if let Some(text) = error_text(&answer) {
            return Err(ConnectError::Refused(text));
        }
    }
    // Only EagleDB knows this; the others do not forward anyway.
    ask(
        &mut stream,
        &mut input,
        &[b"CLIENT", b"ROUTING", b"REDIRECT"],
    )
    .await?;
    Ok(stream)
}

/// Sends one request and reads its short answer.
pub(super) async fn ask(
    stream: &mut TcpStream,
    input: &mut BytesMut,
    words: &[&[u8]],
) -> io::Result<Bytes> {
    stream.write_all(&encode(words)).await?;
    let mut scanner = ReplyScanner::new();
    loop {
        match scanner.next(input, &ANSWER_LIMITS) {
            Ok(ReplyStep::Whole { len }) => return Ok(input.split_to(len).freeze()),
            Ok(ReplyStep::Incomplete { need_hint }) => {
                input.reserve(need_hint);
                if stream.read_buf(input).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

fn error_text(answer: &[u8]) -> Option<String> {
    let line = answer.strip_prefix(b"-")?;
    Some(String::from_utf8_lossy(line).trim_end().to_owned())
}
