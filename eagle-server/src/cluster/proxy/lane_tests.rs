//! Lanes against nodes that answer what a test says, late, or not at all.

use super::connect::Login;
use super::{
    Dialect, LinkError, NamedScript, Order, Peer, Pool, Request, encode, encode_transaction,
};
use bytes::Bytes;
use eagle_core::resp::Protocol;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::Instant;

/// Time a request has in tests in which it gets no answer.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, test)
}

/// What a node does with a request.
enum Answer {
    Reply(String),
    /// Nothing, ever.
    Silence,
    Close,
}

fn reply(text: impl Into<String>) -> Answer {
    Answer::Reply(text.into())
}

/// A node on this machine that remembers what it was asked.
struct FakeNode {
    port: u16,
    asked: Rc<RefCell<Vec<String>>>,
}

impl FakeNode {
    /// A node that answers each request by `answer`, which knows how many came before it.
    async fn start(answer: impl Fn(&str, usize) -> Answer + 'static) -> FakeNode {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked: Rc<RefCell<Vec<String>>> = Rc::default();
        let (answer, seen) = (Rc::new(answer), asked.clone());
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, seen) = (answer.clone(), seen.clone());
                tokio::task::spawn_local(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(line) = read_request(&mut stream).await {
                        let count = seen.borrow().len();
                        if line == "CLIENT ROUTING REDIRECT" {
                            let _ = stream.write_all(b"-ERR unknown subcommand\r\n").await;
                            continue;
                        }
                        seen.borrow_mut().push(line.clone());
                        match answer(&line, count) {
                            Answer::Reply(text) => {
                                let _ = stream.write_all(text.as_bytes()).await;
                            }
                            Answer::Silence => {}
                            Answer::Close => return,
                        }
                    }
                });
            }
        });
        FakeNode { port, asked }
    }

    fn peer(&self) -> Peer<'static> {
        peer(self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }
}

fn peer(port: u16) -> Peer<'static> {
    Peer {
        host: "127.0.0.1",
        port,
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut words = Vec::new();
    for _ in 0..read_length(stream).await? {
        let mut word = vec![0; read_length(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8(word).ok()?);
    }
    Some(words.join(" "))
}

async fn read_length(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.get(1..)?.trim_end().parse().ok()
}

/// A client that forwards.
struct Client {
    pool: Rc<Pool>,
    order: Rc<Order>,
    dialect: Dialect,
}

impl Client {
    fn new() -> Client {
        Client {
            pool: Pool::new(Login::default, Default::default()),
            order: Rc::default(),
            dialect: Dialect::default(),
        }
    }

    fn send(&self, to: Peer<'_>, line: &str, time: Duration) -> oneshot::Receiver<Bytes> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.order.begin_command();
        let (request, reply) = Request::new(
            encode(&words),
            line.starts_with("GET"),
            Instant::now() + time,
            self.dialect,
            0,
            self.order.ticket(1, self.dialect),
        );
        self.pool.submit(to, request);
        reply
    }

    async fn call(&self, to: Peer<'_>, line: &str, time: Duration) -> String {
        text(self.send(to, line, time)).await
    }
}

async fn text(reply: oneshot::Receiver<Bytes>) -> String {
    let bytes = reply.await.expect("every request is answered");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn replies_come_in_order_and_untouched_over_one_connection() {
    run(async {
        let node = FakeNode::start(|line, _| reply(format!("*2\r\n+{line}\r\n$-1\r\n"))).await;
        let client = Client::new();
        let lines: Vec<String> = (0..500).map(|index| format!("SET k {index}")).collect();
        let replies: Vec<_> = lines
            .iter()
            .map(|line| client.send(node.peer(), line, LONG))
            .collect();
        assert_eq!(client.order.under_way(), 500);
        for (line, reply) in lines.iter().zip(replies) {
            assert_eq!(text(reply).await, format!("*2\r\n+{line}\r\n$-1\r\n"));
        }
        assert_eq!(node.asked(), lines);
        assert_eq!(client.order.under_way(), 0);
        assert_eq!(client.pool.lane_count(), 1);
    });
}

#[test]
fn a_connection_logs_in_and_speaks_the_clients_protocol() {
    run(async {
        let node = FakeNode::start(|line, _| {
            reply(match line {
                "AUTH user secret" => "+OK\r\n",
                "HELLO 3" => "%1\r\n+proto\r\n:3\r\n",
                "SELECT 2" => "+OK\r\n",
                _ => "_\r\n",
            })
        })
        .await;
        let client = Client {
            pool: Pool::new(
                || Login {
                    username: b"user".to_vec().into(),
                    password: b"secret".to_vec().into(),
                },
                Default::default(),
            ),
            dialect: Dialect {
                protocol: Protocol::Resp3,
                db: 2,
            },
            ..Client::new()
        };
        assert_eq!(client.call(node.peer(), "GET k", LONG).await, "_\r\n");
        assert_eq!(
            node.asked(),
            ["AUTH user secret", "HELLO 3", "SELECT 2", "GET k"]
        );
    });
}

#[test]
fn a_refused_login_is_told_and_nothing_is_sent() {
    run(async {
        let node = FakeNode::start(|_, _| reply("-WRONGPASS invalid\r\n")).await;
        let client = Client {
            pool: Pool::new(
                || Login {
                    username: Default::default(),
                    password: b"wrong".to_vec().into(),
                },
                Default::default(),
            ),
            ..Client::new()
        };
        let told = client.call(node.peer(), "SET k v", LONG).await;
        assert!(
            told.starts_with("-CLUSTERDOWN ") && told.contains("WRONGPASS"),
            "{told}"
        );
        assert!(node.asked().iter().all(|line| line == "AUTH wrong"));
    });
}

#[test]
fn redirections_are_followed() {
    run(async {
        let owner = FakeNode::start(|line, _| reply(format!("+{line}\r\n"))).await;
        let port = owner.port;
        let node = FakeNode::start(move |line, _| {
            let word = if line.contains("ask") { "ASK" } else { "MOVED" };
            reply(format!("-{word} 1 127.0.0.1:{port}\r\n"))
        })
        .await;
        let client = Client::new();
        let moved = client.send(node.peer(), "SET moved 1", LONG);
        let asked = client.send(node.peer(), "SET ask 2", LONG);
        assert_eq!(text(moved).await, "+SET moved 1\r\n");
        assert!(
            client.order.must_wait(1, Dialect::default()) || client.order.under_way() == 0,
            "later commands wait until both are answered"
        );
        assert_eq!(text(asked).await, "+SET ask 2\r\n");
        assert_eq!(owner.asked(), ["SET moved 1", "ASKING", "SET ask 2"]);
        assert!(!client.order.must_wait(2, Dialect::default()));
    });
}

#[test]
fn circles_end() {
    run(async {
        let port = Rc::new(RefCell::new(0));
        let own = port.clone();
        let node =
            FakeNode::start(move |_, _| reply(format!("-MOVED 1 127.0.0.1:{}\r\n", own.borrow())))
                .await;
        *port.borrow_mut() = node.port;
        let told = Client::new().call(node.peer(), "SET k v", LONG).await;
        assert!(told.contains("redirected too often"), "{told}");
        assert_eq!(node.asked().len(), 6);
    });
}

#[test]
fn a_request_is_tried_again_unless_another_is_behind_it() {
    run(async {
        let node = FakeNode::start(|line, count| {
            reply(if line.starts_with("DEL") && count < 2 {
                "-TRYAGAIN Multiple keys request during rehashing of slot\r\n"
            } else {
                ":1\r\n"
            })
        })
        .await;
        let client = Client::new();
        assert_eq!(client.call(node.peer(), "DEL a b", LONG).await, ":1\r\n");
        assert_eq!(node.asked().len(), 3);
        node.asked.borrow_mut().clear();
        let first = client.send(node.peer(), "DEL a b", LONG);
        let second = client.send(node.peer(), "SET a 1", LONG);
        assert!(text(first).await.starts_with("-TRYAGAIN"));
        assert_eq!(text(second).await, ":1\r\n");
        assert_eq!(node.asked(), ["DEL a b", "SET a 1"]);
    });
}

#[test]
fn a_silent_node_is_given_up_in_time() {
    run(async {
        let node = FakeNode::start(|_, _| Answer::Silence).await;
        let client = Client::new();
        let began = Instant::now();
        let told = client.call(node.peer(), "SET k v", SHORT).await;
        assert!(began.elapsed() >= SHORT && began.elapsed() < LONG / 4);
        assert!(
            told.contains("no answer in time; whether the command was executed is unknown"),
            "{told}"
        );
        assert_eq!(node.asked(), ["SET k v"], "it is not sent again");
    });
}

#[test]
fn a_dead_node_is_reported_as_such() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let client = Client::new();
        let told = client.call(peer(port), "SET k v", LONG).await;
        let expected = format!("-CLUSTERDOWN forwarding to 127.0.0.1:{port} failed: ");
        assert!(told.starts_with(&expected), "{told}");
        tokio::task::yield_now().await;
        assert_eq!(client.pool.lane_count(), 0, "a failed lane is forgotten");
    });
}

#[test]
fn a_write_is_never_sent_twice_and_a_read_is() {
    run(async {
        let close_first = |_: &str, count| {
            if count == 0 {
                Answer::Close
            } else {
                reply("$1\r\nv\r\n")
            }
        };
        let client = Client::new();
        let node = FakeNode::start(close_first).await;
        let told = client.call(node.peer(), "SET k v", LONG).await;
        assert!(told.contains("unknown"), "{told}");
        assert_eq!(node.asked(), ["SET k v"]);
        let node = FakeNode::start(close_first).await;
        let told = client.call(node.peer(), "GET k", LONG).await;
        assert_eq!(told, "$1\r\nv\r\n");
        assert_eq!(node.asked(), ["GET k", "GET k"]);
        let node = FakeNode::start(|_, _| Answer::Close).await;
        let told = client.call(node.peer(), "GET k", LONG).await;
        assert!(told.starts_with("-ERR forwarding to"), "{told}");
        assert_eq!(node.asked().len(), 2, "once more, not for ever");
    });
}

#[test]
fn what_was_half_written_has_not_run_and_what_was_not_goes_out_again() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let client = Client::new();
        // More than the sockets on both sides hold.
        let half = client.send(peer(port), &format!("SET k {}", "x".repeat(64 << 20)), LONG);
        let untouched = client.send(peer(port), "SET k v", LONG);
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_and_drop(&mut stream).await;
        drop(stream);
        let told = text(half).await;
        assert!(told.starts_with("-CLUSTERDOWN forwarding"), "{told}");
        let (stream, _) = listener.accept().await.expect("another connection");
        let mut stream = BufReader::new(stream);
        assert_eq!(
            read_request(&mut stream).await.as_deref(),
            Some("CLIENT ROUTING REDIRECT")
        );
        stream.write_all(b"+OK\r\n").await.expect("sent");
        assert_eq!(read_request(&mut stream).await.as_deref(), Some("SET k v"));
        stream.write_all(b"+OK\r\n").await.expect("sent");
        assert_eq!(text(untouched).await, "+OK\r\n");
    });
}

/// Lets a client in and reads the beginning of its first request.
async fn read_and_drop(stream: &mut TcpStream) {
    let mut room = [0; 4096];
    assert_ne!(stream.read(&mut room).await.expect("a login"), 0);
    stream.write_all(b"+OK\r\n").await.expect("sent");
    assert_ne!(stream.read(&mut room).await.expect("a request"), 0);
}

impl Client {
    fn submit(
        &self,
        to: Peer<'_>,
        bytes: Bytes,
        shape: impl FnOnce(Request) -> Request,
    ) -> oneshot::Receiver<Bytes> {
        self.order.begin_command();
        let ticket = self.order.ticket(1, self.dialect);
        let until = Instant::now() + LONG;
        let (request, reply) = Request::new(bytes, false, until, self.dialect, 0, ticket);
        self.pool.submit(to, shape(request));
        reply
    }
}

/// The whole of a transaction goes to where one of its commands was sent.
#[test]
fn a_transaction_is_redirected_as_a_whole() {
    run(async {
        let queued = |line: &str, _| {
            reply(match line {
                "MULTI" | "ASKING" => "+OK\r\n",
                "EXEC" => "*2\r\n:1\r\n:2\r\n",
                _ => "+QUEUED\r\n",
            })
        };
        let target = FakeNode::start(queued).await;
        let port = target.port;
        let source = FakeNode::start(move |line, count| {
            if line == "INCR b" {
                reply(format!("-ASK 1 127.0.0.1:{port}\r\n"))
            } else if line == "EXEC" {
                reply("-EXECABORT Transaction discarded because of previous errors.\r\n")
            } else {
                queued(line, count)
            }
        })
        .await;
        let client = Client::new();
        let bytes = encode_transaction(&[encode(&[b"INCR", b"a"]), encode(&[b"INCR", b"b"])]);
        let reply = client.submit(source.peer(), bytes, |request| request.transaction(2));
        let behind = client.send(source.peer(), "SET c 1", LONG);
        assert_eq!(text(reply).await, "*2\r\n:1\r\n:2\r\n");
        assert_eq!(text(behind).await, "+QUEUED\r\n");
        assert_eq!(
            target.asked(),
            ["ASKING", "MULTI", "INCR a", "INCR b", "EXEC"]
        );
    });
}

/// Once on each connection, and again when the node has forgotten it.
#[test]
fn a_script_is_loaded_before_it_is_named() {
    run(async {
        let knows = Rc::new(std::cell::Cell::new(false));
        let known = knows.clone();
        let node = FakeNode::start(move |line, _| {
            let is_load = line.starts_with("SCRIPT LOAD");
            known.set(known.get() || is_load);
            reply(match (is_load, known.get()) {
                (true, _) => "+sha\r\n",
                (false, true) => ":1\r\n",
                (false, false) => "-NOSCRIPT No matching script.\r\n",
            })
        })
        .await;
        let client = Client::new();
        let script = NamedScript {
            sha: [b'a'; 40],
            load: encode(&[b"SCRIPT", b"LOAD", b"return-1"]),
        };
        let call = || {
            let script = Some(script.clone());
            let bytes = encode(&[b"EVALSHA", b"a", b"0"]);
            client.submit(node.peer(), bytes, |request| request.script(script))
        };
        let (first, second) = (call(), call());
        assert_eq!(text(first).await, ":1\r\n");
        assert_eq!(text(second).await, ":1\r\n");
        assert_eq!(
            node.asked(),
            ["SCRIPT LOAD return-1", "EVALSHA a 0", "EVALSHA a 0"]
        );
        knows.set(false);
        assert_eq!(text(call()).await, ":1\r\n");
        // Not past what the client has sent meanwhile.
        knows.set(false);
        let (first, second) = (call(), call());
        assert!(text(first).await.starts_with("-NOSCRIPT "));
        assert_eq!(text(second).await, ":1\r\n");
    });
}

#[test]
fn links_are_bounded_and_used_again() {
    run(async {
        let node = FakeNode::start(|line, _| {
            reply(if line == "CLIENT ID" {
                ":7\r\n"
            } else {
                "+OK\r\n"
            })
        })
        .await;
        let pool = Client::new().pool;
        let take = async |in_use_max| {
            let until = Instant::now() + LONG;
            pool.take_link(node.peer(), Dialect::default(), in_use_max, until)
                .await
        };
        let mut link = take(1).await.expect("a link");
        assert_eq!(link.id(), 7);
        assert!(link.leads_to("127.0.0.1", node.port) && link.is_alive());
        assert!(matches!(take(1).await, Err(LinkError::TooMany)));
        link.send(&encode(&[b"WATCH", b"k"])).await.expect("sent");
        assert_eq!(link.receive().await.expect("a reply"), "+OK\r\n");
        pool.give_back(link);
        let link = take(1).await.expect("the same");
        assert_eq!(node.asked(), ["CLIENT ID", "WATCH k"]);
        drop(link);
        take(1).await.expect("a new one");
        assert_eq!(node.asked(), ["CLIENT ID", "WATCH k", "CLIENT ID"]);
        let dead = peer(1);
        let until = Instant::now() + LONG;
        let refused = pool.take_link(dead, Dialect::default(), 1, until).await;
        assert!(matches!(refused, Err(LinkError::Failed(_))));
    });
}
