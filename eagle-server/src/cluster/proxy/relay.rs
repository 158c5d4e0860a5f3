//! Shard channels of other nodes that clients of this node listen to.
//!
//! ```text
//!   clients --SSUBSCRIBE--> channels (state) --- by owner ---> Feed == socket ==> owner
//!      ^                                                         |
//!      +------------- Host::deliver, a message each -------------+
//! ```
//!
//! The relay subscribes once for all clients of the node, at the owner of the channel's slot; who of them listens to what
//! the host knows. One task resolves owners, and one [`feed`] for each owner keeps a connection.
//!
//! - A channel is *settled* once its owner has confirmed the subscription, or this node serves it itself. Whoever
//!   asked for it is told then, so that no message is missed that is published after the confirmation.
//! - An owner that loses the slot says so (`sunsubscribe`), or the topology does, or the connection breaks: the channel is
//!   resolved again. If that does not succeed in time the host is told that it is lost, and tells the clients.
//! - A channel that nobody listens to any more is given up at the next look. Whoever is about to listen holds it
//!   ([`Held`]) meanwhile.
//!
//! What an owner answers must fit what it was asked; if it does not, the connection is made anew, and with it all of its
//! subscriptions.

use super::Dialect;
use super::connect::{Login, connect};
use super::request::encode;
use bytes::BytesMut;
use eagle_core::resp::{Reply, ReplyLimits, ReplyScanner, ReplyStep};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// A channel's name.
pub type Channel = Arc<[u8]>;

/// How often channels are looked at while there are any.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Silence after which an owner is asked whether it is still there.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// How long an owner keeps a connection without subscriptions.
const IDLE_TIME_MAX: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 16 * 1024;

/// A node's client address.
type Address = (String, u16);

/// Who serves a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Owner {
    /// This node.
    Here,
    /// The node at this address.
    At(String, u16),
    /// Nobody that can be reached.
    Nobody,
}

/// What the relay needs of its node.
pub trait Host {
    /// Who serves this channel.
    fn owner(&self, channel: &[u8]) -> Owner;
    /// How many clients of this node listen.
    fn listeners(&self, channel: &[u8]) -> usize;
    /// Hands a message to them.
    fn deliver(&self, channel: &[u8], payload: &[u8]);
    /// Tells them that the channel has ended for them.
    fn lost(&self, channel: &[u8]);
    /// How this node logs in at others.
    fn login(&self) -> Login;
    /// How long a subscription may take.
    fn time_max(&self) -> Duration;
}

/// Tells one who wants to listen how that went; an error says why not.
type Settled = oneshot::Sender<Result<(), String>>;

#[derive(Debug)]
enum State {
    /// Its owner is to be found.
    Open,
    /// This owner is being asked.
    Asked(Address),
    /// This owner has confirmed.
    Settled(Address),
}

#[derive(Debug)]
struct Entry {
    state: State,
    /// When it is given up if it is not settled.
    until: Option<Instant>,
    /// What stood in the way last.
    trouble: String,
    waiting: Vec<Settled>,
    held: usize,
}

/// The channels of one node, shared by all threads.
#[derive(Debug, Default)]
pub struct Relay {
    channels: Mutex<BTreeMap<Channel, Entry>>,
    changed: Notify,
    /// Raised for feeds.
    assigned: Notify,
    is_served: AtomicBool,
}

/// Channels that are kept although nobody listens yet.
#[derive(Debug)]
pub struct Held {
    relay: Arc<Relay>,
    channels: Vec<Channel>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut channels = self.relay.channels.lock();
        for name in &self.channels {
            if let Some(entry) = channels.get_mut(name) {
                entry.held = entry.held.saturating_sub(1);
            }
        }
    }
}

impl Relay {
    /// Listens to these channels of other nodes; completes when all are settled, or with the reason why one is not.
    pub async fn listen(self: &Arc<Relay>, names: Vec<Channel>) -> Result<Held, String> {
        let mut settled = Vec::new();
        {
            let mut channels = self.channels.lock();
            for name in &names {
                let entry = channels.entry(name.clone()).or_insert_with(Entry::new);
                entry.held += 1;
                if !matches!(entry.state, State::Settled(_)) {
                    let (sender, receiver) = oneshot::channel();
                    entry.waiting.push(sender);
                    settled.push(receiver);
                }
            }
        }
        let held = Held {
            relay: self.clone(),
            channels: names,
        };
        self.changed.notify_one();
        for receiver in settled {
            receiver
                .await
                .unwrap_or_else(|_| Err("the node is shutting down".to_owned()))?;
        }
        Ok(held)
    }

    /// Listens to channels whose slots have left this node, for clients that have been confirmed already.
    pub fn adopt(&self, names: impl IntoIterator<Item = Channel>) {
        let mut channels = self.channels.lock();
        for name in names {
            channels.entry(name).or_insert_with(Entry::new);
        }
        self.changed.notify_one();
    }

    /// Looks soon for channels that nobody listens to.
    pub fn look(&self) {
        self.changed.notify_one();
    }

    /// Whether the caller is to run the relay: nobody does yet.
    pub fn begin(&self) -> bool {
        !self.is_served.swap(true, Ordering::AcqRel)
    }

    /// Runs the relay; never ends. To be run once, inside a `LocalSet`.
    pub async fn serve(self: Arc<Relay>, host: Rc<dyn Host>) {
        let mut feeds: BTreeMap<Address, tokio::task::JoinHandle<()>> = BTreeMap::new();
        loop {
            let idle = self.channels.lock().is_empty();
            if idle {
                self.changed.notified().await;
            } else {
                let _ = timeout(LOOK_EVERY, self.changed.notified()).await;
            }
            let lost = self.look_at_all(&*host);
            for name in lost {
                host.lost(&name);
            }
            feeds.retain(|_, feed| !feed.is_finished());
            for address in self.addresses() {
                feeds.entry(address.clone()).or_insert_with(|| {
                    let feed = Feed::new(self.clone(), host.clone(), address);
                    tokio::task::spawn_local(feed.run())
                });
            }
            self.assigned.notify_waiters();
        }
    }

    /// Follows the topology and the clients; the channels that are lost.
    fn look_at_all(&self, host: &dyn Host) -> Vec<Channel> {
        let now = Instant::now();
        let mut lost = Vec::new();
        let mut channels = self.channels.lock();
        channels.retain(|name, entry| {
            if entry.held == 0 && host.listeners(name) == 0 {
                return false;
            }
            let owner = host.owner(name);
            match owner {
                Owner::Here => {
                    entry.settle();
                    // Whoever is about to listen will find the messages here.
                    return false;
                }
                Owner::At(ip, port) => match &entry.state {
                    State::Asked(at) | State::Settled(at) if (&at.0, at.1) == (&ip, port) => {}
                    _ => entry.state = State::Asked((ip, port)),
                },
                Owner::Nobody => {
                    "the owner of the channel's slot is not known, or has failed"
                        .clone_into(&mut entry.trouble);
                    entry.state = State::Open;
                }
            }
            if matches!(entry.state, State::Settled(_)) {
                return true;
            }
            let until = *entry.until.get_or_insert(now + host.time_max());
            if now < until {
                return true;
            }
            for waiting in entry.waiting.drain(..) {
                let _ = waiting.send(Err(entry.trouble.clone()));
            }
            lost.push(name.clone());
            false
        });
        lost
    }

    fn addresses(&self) -> BTreeSet<Address> {
        let channels = self.channels.lock();
        let of = |entry: &Entry| match &entry.state {
            State::Open => None,
            State::Asked(at) | State::Settled(at) => Some(at.clone()),
        };
        channels.values().filter_map(of).collect()
    }

    /// The channels that belong to this address.
    fn of(&self, address: &Address) -> BTreeSet<Channel> {
        let channels = self.channels.lock();
        let belongs = |entry: &Entry| matches!(&entry.state, State::Asked(at) | State::Settled(at) if at == address);
        let names = channels.iter().filter(|(_, entry)| belongs(entry));
        names.map(|(name, _)| name.clone()).collect()
    }

    fn confirm(&self, name: &[u8], address: &Address) {
        if let Some(entry) = self.channels.lock().get_mut(name)
            && matches!(&entry.state, State::Asked(at) if at == address)
        {
            entry.state = State::Settled(address.clone());
            entry.settle();
        }
    }

    /// This address does not serve the channel, or not any more.
    fn reopen(&self, name: &[u8], address: &Address, trouble: &str) {
        if let Some(entry) = self.channels.lock().get_mut(name)
            && matches!(&entry.state, State::Asked(at) | State::Settled(at) if at == address)
        {
            entry.state = State::Open;
            trouble.clone_into(&mut entry.trouble);
        }
    }
}

impl Entry {
    fn new() -> Entry {
        Entry {
            state: State::Open,
            until: None,
            trouble: "no answer in time".to_owned(),
            waiting: Vec::new(),
            held: 0,
        }
    }

    fn settle(&mut self) {
        self.until = None;
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(Ok(()));
        }
    }
}

/// The connection to one owner.
struct Feed {
    relay: Arc<Relay>,
    host: Rc<dyn Host>,
    address: Address,
    /// Channels subscribed to, or being so.
    asked: BTreeSet<Channel>,
    /// What has been asked and not answered: a channel, and whether to begin or to end.
    pending: VecDeque<(Channel, bool)>,
    output: BytesMut,
}

impl Feed {
    fn new(relay: Arc<Relay>, host: Rc<dyn Host>, address: Address) -> Feed {
        Feed {
            relay,
            host,
            address,
            asked: BTreeSet::new(),
            pending: VecDeque::new(),
            output: BytesMut::new(),
        }
    }

    async fn run(mut self) {
        let (host, port) = (self.address.0.clone(), self.address.1);
        let until = Instant::now() + self.host.time_max();
        let login = self.host.login();
        let connecting = connect(&host, port, Dialect::default(), &login);
        let why = match timeout_at(until, connecting).await {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the node did not accept a connection in time".to_owned(),
        };
        for name in self.relay.of(&self.address) {
            self.relay.reopen(&name, &self.address, &why);
        }
        // Not at once: a node that refuses connections is tried again a little later.
        sleep(LOOK_EVERY / 2).await;
        self.relay.changed.notify_one();
    }

    /// Subscribes and receives until the connection is of no more use; why.
    async fn serve(&mut self, mut stream: TcpStream) -> String {
        let (mut reader, mut writer) = stream.split();
        let mut input = BytesMut::new();
        let mut scanner = ReplyScanner::new();
        let (mut heard_at, mut used_at, mut pinged) = (Instant::now(), Instant::now(), false);
        let relay = self.relay.clone();
        loop {
            let assigned = relay.assigned.notified();
            self.follow();
            if !self.asked.is_empty() || !self.pending.is_empty() {
                used_at = Instant::now();
            } else if used_at.elapsed() > IDLE_TIME_MAX {
                return "not used any more".to_owned();
            }
            if heard_at.elapsed() > SILENCE_MAX && !std::mem::replace(&mut pinged, true) {
                self.output.extend_from_slice(&encode(&[b"PING"]));
            } else if heard_at.elapsed() > SILENCE_MAX + self.host.time_max() {
                return "no answer in time".to_owned();
            }
            input.reserve(READ_BYTES);
            tokio::select! {
                count = reader.read_buf(&mut input) => match count {
                    Ok(0) => return "the node closed the connection".to_owned(),
                    Ok(_) => {
                        (heard_at, pinged) = (Instant::now(), false);
                        if let Err(why) = self.take(&mut input, &mut scanner) {
                            return why;
                        }
                    }
                    Err(error) => return error.to_string(),
                },
                count = writer.write_buf(&mut self.output), if !self.output.is_empty() => {
                    if let Err(error) = count {
                        return error.to_string();
                    }
                }
                () = assigned => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Asks for what is to be heard from this owner, and for no more of what is not.
    fn follow(&mut self) {
        let wanted = self.relay.of(&self.address);
        for name in wanted.difference(&self.asked) {
            self.output
                .extend_from_slice(&encode(&[b"SSUBSCRIBE", name]));
            self.pending.push_back((name.clone(), true));
        }
        for name in self.asked.difference(&wanted) {
            self.output
                .extend_from_slice(&encode(&[b"SUNSUBSCRIBE", name]));
            self.pending.push_back((name.clone(), false));
        }
        self.asked = wanted;
    }

    fn take(&mut self, input: &mut BytesMut, scanner: &mut ReplyScanner) -> Result<(), String> {
        let limits = ReplyLimits::default();
        loop {
            match scanner
                .next(input, &limits)
                .map_err(|error| error.to_string())?
            {
                ReplyStep::Incomplete { need_hint } => {
                    input.reserve(need_hint);
                    return Ok(());
                }
                ReplyStep::Whole { len } => {
                    let bytes = input.split_to(len);
                    let reply = Reply::parse(&bytes, &limits).map_err(|error| error.to_string())?;
                    if let Some((reply, _)) = reply {
                        self.hear(reply)?;
                    }
                }
            }
        }
    }

    fn hear(&mut self, reply: Reply) -> Result<(), String> {
        const NONSENSE: &str = "the node answered what nobody asked";
        let words = match reply {
            Reply::Error(text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                let (name, begins) = self.pending.pop_front().ok_or_else(|| text.clone())?;
                if begins {
                    self.asked.remove(&name);
                    self.relay.reopen(&name, &self.address, &text);
                }
                return Ok(());
            }
            // To PING.
            Reply::Simple(_) => return Ok(()),
            Reply::Array(words) | Reply::Push(words) => words,
            _ => return Err(NONSENSE.to_owned()),
        };
        let word = |index: usize| match words.get(index) {
            Some(Reply::Bulk(word)) => Some(&word[..]),
            _ => None,
        };
        match (word(0), word(1)) {
            (Some(b"smessage"), Some(channel)) => {
                if self.asked.contains(channel) {
                    self.host.deliver(channel, word(2).unwrap_or_default());
                }
            }
            (Some(b"ssubscribe"), Some(channel)) => {
                let front = self.pending.pop_front();
                if front.is_none_or(|(name, begins)| !begins || *name != *channel) {
                    return Err(NONSENSE.to_owned());
                }
                self.relay.confirm(channel, &self.address);
            }
            (Some(b"sunsubscribe"), Some(channel)) => {
                let front = self.pending.front();
                if front.is_some_and(|(name, begins)| !begins && **name == *channel) {
                    self.pending.pop_front();
                } else if self.asked.remove(channel) {
                    // The slot has left.
                    self.relay
                        .reopen(channel, &self.address, "the owner has given the slot away");
                }
            }
            (Some(b"pong"), _) => {}
            _ => return Err(NONSENSE.to_owned()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::io::AsyncBufReadExt;
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    /// A node with one client that listens to everything.
    struct OneClient {
        owner: RefCell<Owner>,
        heard: RefCell<Vec<String>>,
        listeners: std::cell::Cell<usize>,
    }

    impl Host for OneClient {
        fn owner(&self, _: &[u8]) -> Owner {
            self.owner.borrow().clone()
        }
        fn listeners(&self, _: &[u8]) -> usize {
            self.listeners.get()
        }
        fn deliver(&self, channel: &[u8], payload: &[u8]) {
            let text = [channel, b"=", payload].concat();
            self.heard
                .borrow_mut()
                .push(String::from_utf8(text).unwrap());
        }
        fn lost(&self, channel: &[u8]) {
            let text = [b"lost ", channel].concat();
            self.heard
                .borrow_mut()
                .push(String::from_utf8(text).unwrap());
        }
        fn login(&self) -> Login {
            Login::default()
        }
        fn time_max(&self) -> Duration {
            Duration::from_millis(400)
        }
    }

    /// An owner that confirms, publishes one message, and says what it was asked. `moves` has it give the slot away.
    async fn owner(asked: Rc<RefCell<Vec<String>>>, moves: bool) -> Owner {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let asked = asked.clone();
                tokio::task::spawn_local(async move {
                    let (reader, mut writer) = stream.into_split();
                    let mut lines = tokio::io::BufReader::new(reader).lines();
                    let mut words: Vec<String> = Vec::new();
                    while let Ok(Some(line)) = lines.next_line().await {
                        if !line.starts_with(['*', '$']) {
                            words.push(line);
                        }
                        let answer = match &words.iter().map(String::as_str).collect::<Vec<_>>()[..]
                        {
                            ["CLIENT", "ROUTING", "REDIRECT"] => "+OK\r\n".to_owned(),
                            ["PING"] => "*2\r\n$4\r\npong\r\n$0\r\n\r\n".to_owned(),
                            ["SSUBSCRIBE", name] => format!(
                                "*3\r\n$10\r\nssubscribe\r\n$1\r\n{name}\r\n:1\r\n*3\r\n$8\r\nsmessage\r\n$1\r\n{name}\r\n$2\r\nhi\r\n{}",
                                if moves {
                                    format!("*3\r\n$12\r\nsunsubscribe\r\n$1\r\n{name}\r\n:0\r\n")
                                } else {
                                    String::new()
                                }
                            ),
                            ["SUNSUBSCRIBE", name] => {
                                format!("*3\r\n$12\r\nsunsubscribe\r\n$1\r\n{name}\r\n:0\r\n")
                            }
                            _ => continue,
                        };
                        asked.borrow_mut().push(words.join(" "));
                        words.clear();
                        writer.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        Owner::At("127.0.0.1".to_owned(), port)
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            timeout(Duration::from_secs(20), test)
                .await
                .expect("in time");
        });
    }

    async fn until(what: &str, done: impl Fn() -> bool) {
        for _ in 0..500 {
            if done() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} did not happen");
    }

    fn start(owner: Owner) -> (Arc<Relay>, Rc<OneClient>) {
        let host = Rc::new(OneClient {
            owner: RefCell::new(owner),
            heard: RefCell::default(),
            listeners: std::cell::Cell::new(1),
        });
        let relay = Arc::<Relay>::default();
        tokio::task::spawn_local(relay.clone().serve(host.clone()));
        (relay, host)
    }

    #[test]
    fn messages_come_once_subscribed_and_end_with_the_last_client() {
        run(async {
            let asked = Rc::<RefCell<Vec<String>>>::default();
            let (relay, host) = start(owner(asked.clone(), false).await);
            let held = relay
                .listen(vec![b"c"[..].into()])
                .await
                .expect("confirmed");
            // A second client needs no second subscription.
            drop(relay.listen(vec![b"c"[..].into()]).await.expect("settled"));
            until("the message", || *host.heard.borrow() == ["c=hi"]).await;
            drop(held);
            host.listeners.set(0);
            let count = |line: &str| asked.borrow().iter().filter(|asked| *asked == line).count();
            until("the end", || count("SUNSUBSCRIBE c") == 1).await;
            assert_eq!(count("SSUBSCRIBE c"), 1);
        });
    }

    #[test]
    fn a_slot_that_moves_is_followed() {
        run(async {
            let first = owner(Rc::default(), true).await;
            let second = owner(Rc::default(), false).await;
            let (relay, host) = start(first);
            let _held = relay
                .listen(vec![b"c"[..].into()])
                .await
                .expect("confirmed");
            *host.owner.borrow_mut() = second;
            until("the message of the new owner", || {
                host.heard.borrow().len() >= 2
            })
            .await;
            assert!(host.heard.borrow().iter().all(|text| text == "c=hi"));
            // At home it needs no relay.
            *host.owner.borrow_mut() = Owner::Here;
            until("the relay's end", || relay.channels.lock().is_empty()).await;
        });
    }

    #[test]
    fn without_an_owner_the_clients_are_told() {
        run(async {
            let (relay, host) = start(Owner::At("127.0.0.1".to_owned(), 1));
            let refused = relay.listen(vec![b"c"[..].into()]).await;
            assert!(refused.is_err_and(|why| !why.is_empty()));
            until("the end", || *host.heard.borrow() == ["lost c"]).await;
            relay.adopt([Channel::from(&b"d"[..])]);
            until("the end", || *host.heard.borrow() == ["lost c", "lost d"]).await;
        });
    }
}
