//! The replicas of this node, as INFO, ROLE, WAIT and the write gate see them.
//!
//! ```text
//!   Waiting --------> Saving ---------> Sending --------> Online
//!     |  the cut was    |   (by length:    |  all of it     ^
//!     |  made           |    the file is   |  is sent       |
//!     |                 |    whole)        |                |
//!     |                 +------------------|----------------+   (by mark: all of it is sent)
//!     +----------------------------------------------------------  partial: at once
//! ```
//!
//! A replica is one from the moment its SYNC or PSYNC is accepted to the end of its connection: it lives as long as its
//! [`Membership`]. The bytes it is sent are the business of its [`Feed`](super::Feed).
//!
//! While there are any, a thread of their own sees to it that none of them holds up the writers ([`Unsent`]). It is none of
//! those that serve clients: they may be the ones that wait.

use super::unsent::Unsent;
use crate::session::{ClientInfo, ReplicaOffer};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

const RELAXED: Ordering = Ordering::Relaxed;

/// How far a replica is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
#[repr(u8)]
pub enum Phase {
    /// For a snapshot to begin.
    Waiting,
    /// A snapshot is being written for it, or to it.
    Saving,
    /// A snapshot in a file is being sent.
    Sending,
    /// It follows the stream.
    Online,
}

impl Phase {
    /// As INFO spells it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Waiting | Phase::Saving => "wait_bgsave",
            Phase::Sending => "send_bulk",
            Phase::Online => "online",
        }
    }
}

/// One replica.
pub struct Replica {
    pub client: Arc<ClientInfo>,
    pub offer: ReplicaOffer,
    /// It came by PSYNC: it says now and then how far it is.
    pub acknowledges: bool,
    phase: AtomicU8,
    /// The stream position up to which it has everything, as it said last.
    acked: AtomicU64,
    acked_at_s: AtomicU64,
    /// It has said something since it is a replica.
    has_acked: AtomicBool,
    /// When its socket took bytes last (Unix seconds).
    took_at_s: AtomicU64,
    /// The stream, as far as it has yet to be sent.
    pub(super) unsent: Mutex<Unsent>,
}

impl Replica {
    fn new(client: Arc<ClientInfo>, offer: ReplicaOffer, acknowledges: bool) -> Replica {
        Replica {
            client,
            offer,
            acknowledges,
            phase: AtomicU8::new(Phase::Waiting as u8),
            acked: AtomicU64::new(0),
            acked_at_s: AtomicU64::new(0),
            has_acked: AtomicBool::new(false),
            took_at_s: AtomicU64::new(0),
            unsent: Mutex::default(),
        }
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Waiting,
            1 => Phase::Saving,
            2 => Phase::Sending,
            _ => Phase::Online,
        }
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// It follows the stream from now on.
    pub(super) fn set_online(&self, now_s: u64) {
        // It is given time to say something before it counts as silent.
        self.acked_at_s.store(now_s, RELAXED);
        self.set_phase(Phase::Online);
    }

    /// It has everything before this position.
    pub fn acknowledge(&self, position: u64, now_s: u64) {
        self.acked.fetch_max(position, RELAXED);
        self.acked_at_s.store(now_s, RELAXED);
        self.has_acked.store(true, Ordering::Release);
    }

    pub fn acked(&self) -> u64 {
        self.acked.load(RELAXED)
    }

    pub(super) fn has_acked(&self) -> bool {
        self.has_acked.load(Ordering::Acquire)
    }

    /// Seconds since it said something.
    pub fn lag_s(&self, now_s: u64) -> u64 {
        now_s.saturating_sub(self.acked_at_s.load(RELAXED))
    }

    pub(super) fn note_taken(&self, now_s: u64) {
        self.took_at_s.store(now_s, RELAXED);
    }

    /// Whether it has been silent, or has read nothing of its snapshot, for too long.
    pub fn is_timed_out(&self, timeout_s: u64, now_s: u64) -> bool {
        match self.phase() {
            Phase::Waiting => false,
            Phase::Saving | Phase::Sending => {
                let took_at_s = self.took_at_s.load(RELAXED);
                took_at_s != 0 && now_s.saturating_sub(took_at_s) > timeout_s
            }
            Phase::Online => self.acknowledges && self.lag_s(now_s) > timeout_s,
        }
    }

    /// Its address: the announced one, or the one it connects from.
    pub fn address(&self) -> String {
        let peer = || self.client.peer.map(|peer| peer.ip().to_canonical());
        match &self.offer.address {
            Some(address) => address.clone(),
            None => peer().map_or_else(String::new, |ip| ip.to_string()),
        }
    }

    /// How logs call it.
    pub fn name(&self) -> String {
        let address = self.address();
        match self.offer.port {
            _ if address.is_empty() => format!("client id #{}", self.client.id),
            0 => format!("{address}:<unknown-replica-port>"),
            port => format!("{address}:{port}"),
        }
    }
}

/// All of them, in the order they came.
pub struct Replicas {
    list: RwLock<Vec<Arc<Replica>>>,
    /// Those that follow the stream, or will.
    followers: AtomicUsize,
    /// The thread that keeps up with the ring for them runs.
    is_kept_up: Mutex<bool>,
    /// Told of every acknowledgement.
    pub acknowledged: Notify,
    /// The stream position behind the last request for acknowledgements.
    asked_at: AtomicU64,
    /// Since when nobody follows the stream (Unix seconds).
    left_at_s: AtomicU64,
    /// Full synchronisations, partial ones, and refused partial ones.
    pub full: AtomicU64,
    pub partial: AtomicU64,
    pub refused: AtomicU64,
}

impl Replicas {
    /// None yet.
    pub fn new(now_s: u64) -> Replicas {
        Replicas {
            list: RwLock::default(),
            followers: AtomicUsize::new(0),
            is_kept_up: Mutex::new(false),
            acknowledged: Notify::new(),
            asked_at: AtomicU64::new(0),
            left_at_s: AtomicU64::new(now_s),
            full: AtomicU64::new(0),
            partial: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Makes a client a replica.
    pub fn join(
        self: &Arc<Self>,
        client: &Arc<ClientInfo>,
        offer: ReplicaOffer,
        acknowledges: bool,
    ) -> Membership {
        let replica = Arc::new(Replica::new(client.clone(), offer, acknowledges));
        if !replica.offer.snapshot_only {
            self.followers.fetch_add(1, Ordering::AcqRel);
            self.keep_up();
        }
        client.is_replica.store(true, RELAXED);
        self.list.write().push(replica.clone());
        Membership {
            replicas: self.clone(),
            replica,
        }
    }

    /// Has a thread keep up with the ring for as long as somebody follows.
    fn keep_up(self: &Arc<Self>) {
        /// How long writers may have to wait for it.
        const PERIOD: Duration = Duration::from_millis(5);
        let mut runs = self.is_kept_up.lock();
        if *runs {
            return;
        }
        let replicas = self.clone();
        let thread = std::thread::Builder::new().name("replicas".to_owned());
        let spawned = thread.spawn(move || {
            loop {
                for replica in replicas.all() {
                    replica.unsent.lock().keep_up();
                }
                let mut runs = replicas.is_kept_up.lock();
                if !replicas.follow() {
                    *runs = false;
                    return;
                }
                drop(runs);
                std::thread::sleep(PERIOD);
            }
        });
        match spawned {
            Ok(_) => *runs = true,
            Err(error) => tracing::error!("Can't start a thread for the replicas: {error}"),
        }
    }

    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.list.read().clone()
    }

    pub fn len(&self) -> usize {
        self.list.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn find(&self, client: u64) -> Option<Arc<Replica>> {
        let list = self.list.read();
        list.iter()
            .find(|replica| replica.client.id == client)
            .cloned()
    }

    /// Whether somebody follows the stream, or will.
    #[inline]
    pub fn follow(&self) -> bool {
        self.followers.load(RELAXED) > 0
    }

    /// Whether a stream that is kept is to be kept on: for those who follow it, and for `ttl_s` seconds (0: for ever) for
    /// those who did.
    pub fn want_backlog(&self, ttl_s: u64, now_s: u64) -> bool {
        let left_s = now_s.saturating_sub(self.left_at_s.load(RELAXED));
        self.follow() || ttl_s == 0 || left_s <= ttl_s
    }

    fn count(&self, is_meant: impl Fn(&Replica) -> bool) -> usize {
        let list = self.list.read();
        let online = list
            .iter()
            .filter(|replica| replica.phase() == Phase::Online);
        online.filter(|replica| is_meant(replica)).count()
    }

    /// How many have everything before `position`.
    pub fn count_acked(&self, position: u64) -> usize {
        self.count(|replica| replica.acked() >= position)
    }

    /// How many have said something in the last `lag_max_s` seconds.
    pub fn count_good(&self, lag_max_s: u64, now_s: u64) -> usize {
        self.count(|replica| replica.lag_s(now_s) <= lag_max_s)
    }

    /// Whether acknowledgements are still to be asked for: something was added to the stream since that was last done.
    pub fn must_ask(&self, head: u64) -> bool {
        self.follow() && self.asked_at.load(RELAXED) != head
    }

    /// They were asked for; the stream position behind that.
    pub fn note_asked(&self, head: u64) {
        self.asked_at.store(head, RELAXED);
    }
}

/// Being a replica. Dropping it ends that.
pub struct Membership {
    replicas: Arc<Replicas>,
    pub replica: Arc<Replica>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let replica = &self.replica;
        let mut list = self.replicas.list.write();
        list.retain(|other| !Arc::ptr_eq(other, replica));
        drop(list);
        replica.unsent.lock().close();
        replica.client.is_replica.store(false, RELAXED);
        if !replica.offer.snapshot_only
            && self.replicas.followers.fetch_sub(1, Ordering::AcqRel) == 1
        {
            let now_s = crate::clock::unix_ms() / 1000;
            self.replicas.left_at_s.store(now_s, RELAXED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(replicas: &Arc<Replicas>, id: u64, offer: ReplicaOffer) -> Membership {
        let client = ClientInfo::new(id, String::new(), String::new(), None, 0, 0);
        replicas.join(&Arc::new(client), offer, true)
    }

    #[test]
    fn only_those_online_are_counted() {
        let replicas = Arc::new(Replicas::new(1000));
        let (a, b) = (
            join(&replicas, 1, ReplicaOffer::default()),
            join(&replicas, 2, ReplicaOffer::default()),
        );
        a.replica.acknowledge(50, 1000);
        assert_eq!(replicas.count_acked(50), 0);
        a.replica.set_online(1000);
        b.replica.set_online(1000);
        b.replica.acknowledge(40, 1008);
        b.replica.acknowledge(30, 1009);
        assert_eq!(b.replica.acked(), 40, "a position once acknowledged stays");
        assert_eq!((replicas.count_acked(40), replicas.count_acked(41)), (2, 1));
        assert_eq!(replicas.count_good(10, 1010), 2);
        assert_eq!(replicas.count_good(10, 1011), 1);
        assert!(a.replica.is_timed_out(10, 1011) && !b.replica.is_timed_out(10, 1011));
        drop(b);
        assert_eq!((replicas.count_acked(40), replicas.len()), (1, 1));
        assert!(replicas.find(2).is_none() && replicas.find(1).is_some());
    }

    #[test]
    fn the_stream_is_kept_for_a_while_after_the_last_one_has_left() {
        let now_s = crate::clock::unix_ms() / 1000;
        let replicas = Arc::new(Replicas::new(1000));
        assert!(replicas.want_backlog(60, 1060) && !replicas.want_backlog(60, 1061));
        let one = join(&replicas, 1, ReplicaOffer::default());
        assert!(replicas.want_backlog(60, u64::MAX));
        drop(one);
        assert!(replicas.want_backlog(60, now_s + 50) && !replicas.want_backlog(60, now_s + 90));
        assert!(replicas.want_backlog(0, u64::MAX), "0 is for ever");
        let offer = ReplicaOffer {
            snapshot_only: true,
            ..ReplicaOffer::default()
        };
        let _dump = join(&replicas, 2, offer);
        assert!(!replicas.follow(), "a snapshot needs no stream");
    }

    #[test]
    fn acknowledgements_are_asked_for_once() {
        let replicas = Arc::new(Replicas::new(0));
        assert!(!replicas.must_ask(10), "nobody is there to ask");
        let _one = join(&replicas, 1, ReplicaOffer::default());
        assert!(replicas.must_ask(10));
        replicas.note_asked(47);
        assert!(!replicas.must_ask(47) && replicas.must_ask(48));
    }
}
