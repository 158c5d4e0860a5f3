//! Full synchronisation: one snapshot for all replicas that wait for one.
//!
//! ```text
//!   SYNC, PSYNC --> waiting --(delay, or enough of them)--> a thread with a batch of them
//!
//!   by mark     cut . +FULLRESYNC . $EOF:<mark> . snapshot as it is written . mark
//!   by length   cut . +FULLRESYNC . (snapshot into a file without a name) . $<len> . the file
//! ```
//!
//! One batch at a time; who comes meanwhile waits for the next. What writers change before the walk has reached it waits
//! in memory while replicas read slowly; the walk itself waits for them.

use super::history::{History, random_hex_id};
use super::replicas::{Phase, Replica};
use super::transfer::{End, Transfer};
use crate::persist::snapshot::{self, Form, Notes, Parts, Pause, Progress};
use bytes::Bytes;
use eagle_core::store::{Keyspace, Snapshot};
use parking_lot::Mutex;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes of the snapshot handed on in one piece.
const CHUNK_BYTES: usize = 64 << 10;

/// One who waits for a snapshot.
#[derive(Clone)]
pub struct Member {
    pub replica: Arc<Replica>,
    pub transfer: Arc<Transfer>,
    /// Unix milliseconds.
    pub since_ms: u64,
}

impl Member {
    /// What of the dataset it wants.
    pub fn parts(&self) -> Parts {
        let offer = &self.replica.offer;
        if offer.is_filtered {
            Parts {
                data: false,
                functions: offer.functions,
            }
        } else {
            Parts::ALL
        }
    }
}

/// Those who get the same snapshot.
#[derive(Clone)]
pub struct Batch {
    pub members: Vec<Member>,
    pub parts: Parts,
    /// It is sent while it is written, and ends with a mark.
    pub is_diskless: bool,
}

/// When a batch is ready.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub diskless: bool,
    pub delay_ms: u64,
    /// So many need not wait; 0: all wait.
    pub members_enough: usize,
}

/// The synchronisations of a node.
#[derive(Default)]
pub struct Syncs {
    waiting: Mutex<Vec<Member>>,
    running: Mutex<Option<Running>>,
    /// The node is being taken down.
    is_closed: AtomicBool,
}

struct Running {
    progress: Arc<Progress>,
    thread: JoinHandle<()>,
}

impl Syncs {
    /// Adds one who waits.
    pub fn enlist(&self, member: Member) {
        self.waiting.lock().push(member);
    }

    /// Starts a thread that does `work` with the next batch, if that is ready and no other is under way.
    pub fn start_due(
        &self,
        terms: Terms,
        now_ms: u64,
        work: impl FnOnce(&Batch, &Arc<Progress>) + Send + 'static,
    ) -> io::Result<()> {
        let mut running = self.running.lock();
        if self.is_closed.load(Relaxed) {
            return Ok(());
        }
        if let Some(current) = &*running {
            if !current.thread.is_finished() {
                return Ok(());
            }
            *running = None;
        }
        let Some(batch) = next_batch(&mut self.waiting.lock(), terms, now_ms) else {
            return Ok(());
        };
        let progress = Arc::new(Progress::default());
        let watched = progress.clone();
        let guarded = Guarded(batch);
        let thread = std::thread::Builder::new()
            .name("synchronise".to_owned())
            .spawn(move || work(&guarded.0, &watched))?;
        *running = Some(Running { progress, thread });
        Ok(())
    }

    /// Gives up the one under way, and waits until that is done. No other begins.
    pub fn cancel(&self) {
        let mut running = self.running.lock();
        self.is_closed.store(true, Relaxed);
        if let Some(running) = running.take() {
            running.progress.is_cancelled.store(true, Relaxed);
            let _ = running.thread.join();
        }
    }
}

/// Takes the next batch out of those who wait: the first one, and all who want the same.
fn next_batch(waiting: &mut Vec<Member>, terms: Terms, now_ms: u64) -> Option<Batch> {
    waiting.retain(|member| !member.transfer.is_abandoned());
    let parts = waiting.first()?.parts();
    let is_meant = |member: &Member| member.parts() == parts;
    let meant = || waiting.iter().filter(|member| is_meant(member));
    let is_diskless = (terms.diskless || parts != Parts::ALL)
        && meant().all(|member| member.replica.offer.takes_marks);
    let enough = terms.members_enough != 0 && meant().count() >= terms.members_enough;
    let waited_ms = now_ms.saturating_sub(waiting[0].since_ms);
    if is_diskless && !enough && waited_ms < terms.delay_ms {
        return None;
    }
    let (members, rest) = waiting.drain(..).partition(is_meant);
    *waiting = rest;
    Some(Batch {
        members,
        parts,
        is_diskless,
    })
}

/// Whatever becomes of the thread, its members hear of it.
struct Guarded(Batch);

impl Drop for Guarded {
    fn drop(&mut self) {
        for member in &self.0.members {
            // Of no effect if it has ended well.
            member.transfer.end(End::Failed);
        }
    }
}

/// What a synchronisation works with.
pub struct Job<'a> {
    pub keyspace: &'a Keyspace,
    pub history: &'a History,
    pub form: Form,
    /// Where files are written.
    pub dir: PathBuf,
    pub batch: &'a Batch,
    pub progress: &'a Arc<Progress>,
}

impl Job<'_> {
    /// Writes the snapshot, and hands it on to all members.
    pub fn run(&self) -> io::Result<()> {
        let end = if self.batch.is_diskless {
            self.send_as_written()?;
            End::Marked
        } else {
            self.send_file()?;
            End::Counted
        };
        for member in &self.batch.members {
            member.transfer.end(end);
        }
        Ok(())
    }

    fn send_as_written(&self) -> io::Result<()> {
        let mark = random_hex_id();
        let at_cut = |snapshot: &Snapshot<'_>| {
            let notes = self.open_transfers(snapshot)?;
            self.push(Bytes::from(format!("$EOF:{mark}\r\n")), true);
            Ok(notes)
        };
        let pause = |written: &mut Vec<u8>| -> io::Result<Option<Pause>> {
            self.look_for_members()?;
            if written.len() < CHUNK_BYTES {
                return Ok(None);
            }
            let bytes = Bytes::from(std::mem::take(written));
            let (members, progress) = (self.batch.members.clone(), self.progress.clone());
            Ok(Some(Box::new(move || hand_on(&members, &bytes, &progress))))
        };
        let (form, progress) = (&self.form, self.progress);
        let mut rest = snapshot::stream(self.keyspace, form, progress, Vec::new(), at_cut, pause)?;
        rest.extend_from_slice(mark.as_bytes());
        hand_on(&self.batch.members, &rest.into(), progress)
    }

    fn send_file(&self) -> io::Result<()> {
        let file = BufWriter::with_capacity(256 << 10, nameless(&self.dir)?);
        let at_cut = |snapshot: &Snapshot<'_>| self.open_transfers(snapshot);
        let pause = |_: &mut BufWriter<File>| self.look_for_members().map(|()| None);
        let (form, progress) = (&self.form, self.progress);
        let file = snapshot::stream(self.keyspace, form, progress, file, at_cut, pause)?;
        let mut file = file.into_inner()?;
        let len = file.stream_position()?;
        file.rewind()?;
        for member in &self.batch.members {
            member.replica.set_phase(Phase::Sending);
        }
        self.push(Bytes::from(format!("${len}\r\n")), true);
        let mut left = len;
        while left > 0 {
            let mut bytes = vec![0; CHUNK_BYTES.min(left as usize)];
            file.read_exact(&mut bytes)?;
            left -= bytes.len() as u64;
            hand_on(&self.batch.members, &bytes.into(), self.progress)?;
        }
        Ok(())
    }

    /// Tells the members where in the stream they are. Answers the notes that say so in the snapshot.
    fn open_transfers(&self, snapshot: &Snapshot<'_>) -> io::Result<Notes> {
        let (id, head) = (self.history.identity().id, snapshot.ring_head());
        for Member {
            replica, transfer, ..
        } in &self.batch.members
        {
            if !replica.offer.snapshot_only {
                let reader = self.keyspace.ring_reader(head, true);
                let none = || io::Error::other("there is no log ring to follow");
                replica.unsent.lock().open(reader.ok_or_else(none)?);
            }
            if replica.acknowledges {
                transfer.push(format!("+FULLRESYNC {id} {head}\r\n").into(), false);
            }
            replica.set_phase(Phase::Saving);
        }
        Ok(vec![
            ("repl-stream-db", "0".to_owned()),
            ("repl-id", id),
            ("repl-offset", head.to_string()),
        ])
    }

    fn push(&self, bytes: Bytes, of_payload: bool) {
        for member in &self.batch.members {
            member.transfer.push(bytes.clone(), of_payload);
        }
    }

    /// Fails if nobody wants the snapshot any more.
    fn look_for_members(&self) -> io::Result<()> {
        look_for(&self.batch.members)
    }
}

fn look_for(members: &[Member]) -> io::Result<()> {
    if members.iter().all(|member| member.transfer.is_abandoned()) {
        return Err(io::Error::other("no replica waits for it any more"));
    }
    Ok(())
}

/// Hands bytes on to all members, and waits until they have room for more.
fn hand_on(members: &[Member], bytes: &Bytes, progress: &Progress) -> io::Result<()> {
    const LOOK: Duration = Duration::from_millis(100);
    for member in members {
        member.transfer.push(bytes.clone(), true);
    }
    for member in members {
        while !member.transfer.wait_for_room(LOOK) {
            if progress.is_cancelled.load(Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
    }
    look_for(members)
}

/// A file in `dir` that has no name any more: nothing is left of it however the process ends.
fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("temp-sync-{}.rdb", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::replicas::{Membership, Replicas};
    use crate::session::{ClientInfo, ReplicaOffer};

    const TERMS: Terms = Terms {
        diskless: true,
        delay_ms: 5000,
        members_enough: 0,
    };

    fn member(offer: ReplicaOffer, since_ms: u64) -> (Membership, Member) {
        let client = ClientInfo::new(since_ms, String::new(), String::new(), None, 0, 0);
        let client = Arc::new(client);
        let membership = Arc::new(Replicas::new(0)).join(&client, offer, true);
        let member = Member {
            replica: membership.replica.clone(),
            transfer: Arc::new(Transfer::new(&client)),
            since_ms,
        };
        (membership, member)
    }

    fn by_mark() -> ReplicaOffer {
        ReplicaOffer {
            takes_marks: true,
            ..ReplicaOffer::default()
        }
    }

    fn next(offers: &[ReplicaOffer], terms: Terms, now_ms: u64) -> Option<(usize, bool)> {
        let (_kept, mut waiting): (Vec<_>, Vec<_>) = offers
            .iter()
            .map(|offer| member(offer.clone(), 1000))
            .unzip();
        let batch = next_batch(&mut waiting, terms, now_ms)?;
        assert_eq!(batch.members.len() + waiting.len(), offers.len());
        Some((batch.members.len(), batch.is_diskless))
    }

    #[test]
    fn a_batch_waits_for_more_only_if_it_is_sent_as_it_is_written() {
        assert_eq!(next(&[], TERMS, 9000), None);
        assert_eq!(next(&[by_mark(), by_mark()], TERMS, 5999), None);
        let due = next(&[by_mark(), by_mark()], TERMS, 6000);
        assert_eq!(due, Some((2, true)));
        let enough = Terms {
            members_enough: 2,
            ..TERMS
        };
        assert_eq!(next(&[by_mark()], enough, 1000), None);
        assert_eq!(next(&[by_mark(), by_mark()], enough, 1000), Some((2, true)));
        let mixed = [by_mark(), ReplicaOffer::default()];
        assert_eq!(next(&mixed, TERMS, 1000), Some((2, false)));
        let on_disk = Terms {
            diskless: false,
            ..TERMS
        };
        assert_eq!(next(&[by_mark()], on_disk, 1000), Some((1, false)));
    }

    #[test]
    fn who_wants_only_a_part_gets_a_snapshot_of_its_own() {
        let functions = ReplicaOffer {
            is_filtered: true,
            functions: true,
            ..by_mark()
        };
        let offers = [functions.clone(), by_mark(), functions];
        let terms = Terms {
            diskless: false,
            delay_ms: 0,
            ..TERMS
        };
        assert_eq!(next(&offers, terms, 1000), Some((2, true)));
        let nothing = ReplicaOffer {
            is_filtered: true,
            ..by_mark()
        };
        let (_membership, member) = member(nothing, 0);
        let parts = Parts {
            data: false,
            functions: false,
        };
        assert_eq!(member.parts(), parts);
    }

    #[test]
    fn who_has_left_is_not_waited_for() {
        let (_membership, gone) = member(by_mark(), 0);
        gone.transfer.abandon();
        assert!(look_for(std::slice::from_ref(&gone)).is_err());
        assert!(next_batch(&mut vec![gone], TERMS, 9000).is_none());
    }
}
