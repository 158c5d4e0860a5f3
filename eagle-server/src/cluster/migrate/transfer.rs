//! One MIGRATE: AUTH, SELECT and a RESTORE for each key go out in one go, then the answers are read.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use eagle_core::resp::{Protocol, Writer};
use zeroize::Zeroizing;

use super::socket::{Socket, SocketCache, Target};

/// Commands gathered before they are sent.
const OUTPUT_BYTES_HIGH: usize = 64 * 1024;

/// What AUTH is sent with.
#[derive(Debug)]
pub struct Credentials {
    /// The user; `None` authenticates the default user.
    pub username: Option<Zeroizing<Vec<u8>>>,
    pub password: Zeroizing<Vec<u8>>,
}

/// One key to send.
#[derive(Debug)]
pub struct Item {
    pub key: Vec<u8>,
    /// Unix time in milliseconds at which it expires, if it does.
    pub expires_at_ms: Option<u64>,
    /// The value, as DUMP serializes it.
    pub payload: Vec<u8>,
}

/// Keys to send, and how.
#[derive(Debug)]
pub struct Transfer {
    pub target: Target,
    pub credentials: Option<Credentials>,
    /// The database there; passed on unchecked, the other node knows how many it has.
    pub db: i64,
    /// Limit of each single step: connecting, writing 64 KiB, reading an answer.
    pub step_time_max: Duration,
    /// Overwrite keys that exist there.
    pub replace: bool,
    /// The other node is a cluster node that is importing the slot.
    pub asking: bool,
    pub items: Vec<Item>,
}

/// Why a transfer did not go through whole. Texts are those MIGRATE replies.
#[derive(Debug, PartialEq, Eq)]
pub enum TransferError {
    Connect,
    Write,
    Read,
    /// The other node answered with this error.
    Refused(String),
}

impl TransferError {
    /// The error line MIGRATE replies with.
    pub fn text(&self) -> String {
        match self {
            TransferError::Connect => "IOERR error or timeout connecting to the client".into(),
            TransferError::Write => "IOERR error or timeout writing to target instance".into(),
            TransferError::Read => "IOERR error or timeout reading from target instance".into(),
            TransferError::Refused(text) => {
                format!("ERR Target instance replied with error: {text}")
            }
        }
    }
}

/// What became of a transfer.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// Positions, in [`Transfer::items`], of the keys the other node has taken over.
    pub accepted: Vec<usize>,
    /// The first thing that went wrong.
    pub error: Option<TransferError>,
}

/// How far one connection got.
struct Attempt {
    report: Report,
    /// The connection failed, not by taking too long, before any key was answered for: it may have
    /// been closed while it was kept, so a new one is worth trying.
    retry: bool,
}

impl Transfer {
    /// Sends the keys, over a kept connection or a new one. `now_ms` reads the Unix clock.
    pub async fn run(
        &self,
        sockets: &Rc<RefCell<SocketCache>>,
        now_ms: impl Fn() -> u64,
    ) -> Report {
        let kept = sockets.borrow_mut().take(&self.target);
        let first = self.attempt(kept, sockets, &now_ms).await;
        if first.retry {
            self.attempt(None, sockets, &now_ms).await.report
        } else {
            first.report
        }
    }

    async fn attempt(
        &self,
        kept: Option<Socket>,
        sockets: &Rc<RefCell<SocketCache>>,
        now_ms: &impl Fn() -> u64,
    ) -> Attempt {
        let connected = match kept {
            Some(socket) => Ok(socket),
            None => Socket::connect(&self.target, self.step_time_max).await,
        };
        let mut socket = match connected {
            Ok(socket) => socket,
            Err(cause) => {
                return Attempt {
                    report: Report {
                        accepted: Vec::new(),
                        error: Some(connect_error(&cause)),
                    },
                    retry: false,
                };
            }
        };
        let mut exchange = Exchange {
            transfer: self,
            socket: &mut socket,
            accepted: Vec::new(),
            answered: 0,
            refused: None,
        };
        let outcome = exchange.run(now_ms).await;
        let Exchange {
            accepted,
            answered,
            refused,
            ..
        } = exchange;
        match outcome {
            Ok(()) => {
                // After an error the other side's database is not known for sure.
                socket.db = refused.is_none().then_some(self.db);
                SocketCache::keep(sockets, &self.target, socket);
                Attempt {
                    report: Report {
                        accepted,
                        error: refused,
                    },
                    retry: false,
                }
            }
            Err((error, cause)) => Attempt {
                retry: answered == 0 && cause.kind() != io::ErrorKind::TimedOut,
                report: Report {
                    accepted,
                    error: Some(refused.unwrap_or(error)),
                },
            },
        }
    }
}

/// Redis learns of a refusal only when it writes, and clients know its word for it.
fn connect_error(cause: &io::Error) -> TransferError {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable => TransferError::Write,
        _ => TransferError::Connect,
    }
}

/// A transfer over one connection.
struct Exchange<'t> {
    transfer: &'t Transfer,
    socket: &'t mut Socket,
    accepted: Vec<usize>,
    /// Keys answered for, with success or error.
    answered: usize,
    refused: Option<TransferError>,
}

type Failure = (TransferError, io::Error);

impl Exchange<'_> {
    /// Sends everything, then reads every answer; fails when the connection does.
    async fn run(&mut self, now_ms: &impl Fn() -> u64) -> Result<(), Failure> {
        let prologue = self.send_prologue().await?;
        let sent = self.send_items(now_ms).await?;
        // If AUTH or SELECT failed the keys went to nobody, or elsewhere: none counts as taken.
        let mut prepared = true;
        for _ in 0..prologue {
            prepared &= self.read_answer().await?;
        }
        for item in sent {
            let taken = self.read_answer().await?;
            self.answered += 1;
            if prepared && taken {
                self.accepted.push(item);
            }
        }
        Ok(())
    }

    /// AUTH and SELECT as far as they are needed; how many answers they will have.
    async fn send_prologue(&mut self) -> Result<usize, Failure> {
        let mut commands = 0;
        if let Some(credentials) = &self.transfer.credentials {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(credentials.username.iter().map(|name| name.as_slice()));
            words.push(&credentials.password);
            let request = auth_request(&words);
            self.write(&request).await?;
            commands += 1;
        }
        if self.socket.db != Some(self.transfer.db) {
            let mut out = Writer::new(Protocol::Resp2);
            out.array(2);
            out.bulk("SELECT");
            out.bulk_integer(self.transfer.db);
            self.write(out.as_bytes()).await?;
            commands += 1;
        }
        Ok(commands)
    }

    /// A RESTORE for each item whose time has not come; which ones were sent.
    async fn send_items(&mut self, now_ms: &impl Fn() -> u64) -> Result<Vec<usize>, Failure> {
        let Transfer {
            items,
            asking,
            replace,
            ..
        } = self.transfer;
        let mut out = Writer::new(Protocol::Resp2);
        let mut sent = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            // RESTORE takes the time left, and reads zero as "for ever".
            let ttl_ms = match item.expires_at_ms {
                None => 0,
                Some(at_ms) => match at_ms.checked_sub(now_ms()) {
                    Some(left_ms) => left_ms.max(1),
                    None => continue,
                },
            };
            out.array(4 + usize::from(*replace));
            out.bulk(if *asking { "RESTORE-ASKING" } else { "RESTORE" });
            out.bulk(&item.key);
            out.bulk_display(ttl_ms);
            if item.payload.len() < OUTPUT_BYTES_HIGH {
                out.bulk(&item.payload);
            } else {
                // A long one goes out from where it stands.
                let head = format!("${}\r\n", item.payload.len());
                out.raw(head.as_bytes());
                self.write(out.as_bytes()).await?;
                out.clear();
                self.write(&item.payload).await?;
                out.raw(b"\r\n");
            }
            if *replace {
                out.bulk("REPLACE");
            }
            sent.push(index);
            if out.len() >= OUTPUT_BYTES_HIGH {
                self.write(out.as_bytes()).await?;
                out.clear();
            }
        }
        self.write(out.as_bytes()).await?;
        Ok(sent)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.socket.write(bytes, self.transfer.step_time_max).await;
        written.map_err(|cause| (TransferError::Write, cause))
    }

    /// Reads one answer: whether it is no error. The first error is kept.
    async fn read_answer(&mut self) -> Result<bool, Failure> {
        let line = self.socket.read_line(self.transfer.step_time_max).await;
        let line = line.map_err(|cause| (TransferError::Read, cause))?;
        let Some(text) = line.strip_prefix(b"-") else {
            return Ok(true);
        };
        let text = String::from_utf8_lossy(text).into_owned();
        self.refused.get_or_insert(TransferError::Refused(text));
        Ok(false)
    }
}

/// A request in a buffer of its own, sized in advance so that no copy of a secret is left behind by
/// growing it, and wiped after use.
fn auth_request(words: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    const WORD_OVERHEAD_BYTES: usize = 32;
    let bytes: usize = words
        .iter()
        .map(|word| word.len() + WORD_OVERHEAD_BYTES)
        .sum();
    let mut out = Zeroizing::new(Vec::with_capacity(bytes + WORD_OVERHEAD_BYTES));
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;

    const NOW_MS: u64 = 1_000_000;
    /// So much that a busy machine keeps to it, where it is not to run out.
    const STEP_TIME_MAX: Duration = Duration::from_secs(1);
    /// Stands for no answer as long as anybody waits for it.
    const SILENCE: &[u8] = b"silence";

    /// What a peer does with one connection: waits for so many commands, then says this.
    type Turn = (usize, &'static [u8]);

    /// Runs `transfers` one after the other against a peer that takes the connections of `script`
    /// in order, and closes each after its last turn. Gives the reports and what was received.
    fn meet(transfers: Vec<Transfer>, script: Vec<Vec<Turn>>) -> (Vec<Report>, Vec<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let peer = tokio::task::spawn_local(async move {
                let mut heard = Vec::new();
                for turns in script {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut said = String::new();
                    for (commands, answer) in turns {
                        if answer == SILENCE {
                            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
                            continue;
                        }
                        said.push_str(&hear(&mut stream, commands).await);
                        stream.write_all(answer).await.unwrap();
                    }
                    heard.push(said);
                }
                heard
            });
            let sockets = Rc::default();
            let mut reports = Vec::new();
            for mut transfer in transfers {
                transfer.target.port = Some(port);
                reports.push(transfer.run(&sockets, || NOW_MS).await);
            }
            (reports, peer.await.unwrap())
        })
    }

    /// Reads `count` whole commands; their words, commands separated by `;`.
    async fn hear(stream: &mut TcpStream, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            let words = header(stream).await;
            for _ in 0..words {
                let mut word = vec![0; header(stream).await + 2];
                stream.read_exact(&mut word).await.unwrap();
                text.push_str(std::str::from_utf8(&word[..word.len() - 2]).unwrap());
                text.push(' ');
            }
            text.push(';');
        }
        text
    }

    async fn header(stream: &mut TcpStream) -> usize {
        let mut line = String::new();
        while !line.ends_with("\r\n") {
            line.push(stream.read_u8().await.unwrap().into());
        }
        line[1..].trim().parse().unwrap()
    }

    fn transfer(keys: &[(&str, Option<u64>)]) -> Transfer {
        let item = |(key, expires_at_ms): &(&str, Option<u64>)| Item {
            key: key.as_bytes().to_vec(),
            expires_at_ms: *expires_at_ms,
            payload: b"blob".to_vec(),
        };
        Transfer {
            target: Target {
                host: "127.0.0.1".into(),
                port: Some(0),
                with_auth: false,
            },
            credentials: None,
            db: 0,
            step_time_max: STEP_TIME_MAX,
            replace: false,
            asking: false,
            items: keys.iter().map(item).collect(),
        }
    }

    fn accepted(positions: &[usize]) -> Report {
        Report {
            accepted: positions.to_vec(),
            error: None,
        }
    }

    fn failed(positions: &[usize], error: TransferError) -> Report {
        Report {
            accepted: positions.to_vec(),
            error: Some(error),
        }
    }

    #[test]
    fn a_connection_is_used_again_and_the_database_selected_once() {
        let mut second = transfer(&[("b", None)]);
        (second.replace, second.asking) = (true, true);
        let script = vec![vec![(2, &b"+OK\r\n+OK\r\n"[..]), (1, b"+OK\r\n")]];
        let (reports, heard) = meet(vec![transfer(&[("a", None)]), second], script);
        assert_eq!(reports, [accepted(&[0]), accepted(&[0])]);
        let expected = "SELECT 0 ;RESTORE a 0 blob ;RESTORE-ASKING b 0 blob REPLACE ;";
        assert_eq!(heard, [expected]);
    }

    #[test]
    fn time_left_is_sent_and_what_has_none_is_not() {
        let keys = [
            ("gone", Some(NOW_MS - 1)),
            ("now", Some(NOW_MS)),
            ("later", Some(NOW_MS + 50)),
        ];
        let script = vec![vec![(3, &b"+OK\r\n+OK\r\n+OK\r\n"[..])]];
        let (reports, heard) = meet(vec![transfer(&keys)], script);
        assert_eq!(reports, [accepted(&[1, 2])]);
        assert_eq!(
            heard,
            ["SELECT 0 ;RESTORE now 1 blob ;RESTORE later 50 blob ;"]
        );
    }

    #[test]
    fn a_refused_key_does_not_hold_up_the_others_and_the_first_error_counts() {
        let script = vec![vec![(
            5,
            &b"+OK\r\n+OK\r\n-BUSYKEY first\r\n+OK\r\n-ERR second\r\n"[..],
        )]];
        let keys = [("a", None), ("b", None), ("c", None), ("d", None)];
        let (reports, _) = meet(vec![transfer(&keys)], script);
        let error = TransferError::Refused("BUSYKEY first".into());
        assert_eq!(
            error.text(),
            "ERR Target instance replied with error: BUSYKEY first"
        );
        assert_eq!(reports, [failed(&[0, 2], error)]);
    }

    #[test]
    fn without_authentication_or_database_no_key_counts_as_taken() {
        let mut wanting = transfer(&[("a", None)]);
        wanting.target.with_auth = true;
        wanting.credentials = Some(Credentials {
            username: Some(Zeroizing::new(b"user".to_vec())),
            password: Zeroizing::new(b"secret".to_vec()),
        });
        let script = vec![vec![(3, &b"-WRONGPASS no\r\n+OK\r\n+OK\r\n"[..])]];
        let (reports, heard) = meet(vec![wanting], script);
        let error = TransferError::Refused("WRONGPASS no".into());
        assert_eq!(reports, [failed(&[], error)]);
        assert_eq!(heard, ["AUTH user secret ;SELECT 0 ;RESTORE a 0 blob ;"]);
    }

    #[test]
    fn a_kept_connection_that_was_closed_is_replaced_once() {
        let script = vec![
            vec![(2, &b"+OK\r\n+OK\r\n"[..])],
            vec![(2, &b"+OK\r\n+OK\r\n"[..])],
        ];
        let transfers = vec![transfer(&[("a", None)]), transfer(&[("b", None)])];
        let (reports, _) = meet(transfers, script);
        assert_eq!(reports, [accepted(&[0]), accepted(&[0])]);

        let closing: Vec<Vec<Turn>> = vec![vec![(0, b"")], vec![(0, b"")]];
        let (reports, _) = meet(vec![transfer(&[("a", None)])], closing);
        let error = reports.into_iter().next().unwrap().error;
        assert!(matches!(
            error,
            Some(TransferError::Read | TransferError::Write)
        ));
    }

    #[test]
    fn keys_answered_for_before_a_break_are_taken_and_nothing_is_sent_twice() {
        let script = vec![vec![(4, &b"+OK\r\n+OK\r\n"[..])]];
        let keys = [("a", None), ("b", None), ("c", None)];
        let (reports, _) = meet(vec![transfer(&keys)], script);
        assert_eq!(reports, [failed(&[0], TransferError::Read)]);
    }

    #[test]
    fn silence_is_a_read_error_after_the_time_limit_and_not_tried_again() {
        // The connection stays open for a second transfer, which never comes this way.
        let script = vec![
            vec![(2, &b"+OK\r\n"[..]), (0, SILENCE)],
            vec![(2, b"+OK\r\n+OK\r\n")],
        ];
        let transfers = vec![transfer(&[("a", None)]), transfer(&[("b", None)])];
        let (reports, heard) = meet(transfers, script);
        assert_eq!(reports, [failed(&[], TransferError::Read), accepted(&[0])]);
        assert_eq!(heard[1], "SELECT 0 ;RESTORE b 0 blob ;");
    }

    #[test]
    fn nobody_listening_shows_in_writing() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut nowhere = transfer(&[("a", None)]);
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        nowhere.target.port = Some(listener.local_addr().unwrap().port());
        drop(listener);
        let report = runtime.block_on(nowhere.run(&Rc::default(), || NOW_MS));
        assert_eq!(report, failed(&[], TransferError::Write));
        nowhere.target.host = "no such host".into();
        let report = runtime.block_on(nowhere.run(&Rc::default(), || NOW_MS));
        assert_eq!(report, failed(&[], TransferError::Connect));
    }
}
