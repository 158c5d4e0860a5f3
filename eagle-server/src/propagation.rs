//! The stream of changes: how commands are written into the log ring, from where the append-only file and replicas
//! read them. Framed as Redis frames its replication stream: requests, SELECT wherever the database changes,
//! MULTI and EXEC around what belongs together.

use eagle_core::store::{Committed, RingRecord, View};

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// The commands that one transaction adds to the stream.
#[derive(Debug, Default)]
pub struct Stream {
    wanted: bool,
    commands: usize,
    first_db: u8,
    db: u8,
    /// Begins with MULTI, which is left out if there is only one command.
    bytes: Vec<u8>,
    /// Expired keys of the view whose removal is in the stream, and hashes with expired fields.
    expired: usize,
    lapsed: usize,
}

/// A state of a [`Stream`].
#[derive(Clone, Copy, Debug)]
pub struct StreamMark {
    commands: usize,
    first_db: u8,
    db: u8,
    len: usize,
    expired: usize,
    lapsed: usize,
}

impl Stream {
    /// An empty stream. If it is not wanted, it stays empty.
    pub fn new(wanted: bool) -> Stream {
        Stream {
            wanted,
            ..Stream::default()
        }
    }

    /// Begins a transaction anew: the stream is empty, and stays so if it is not wanted.
    #[inline]
    pub fn begin(&mut self, wanted: bool) {
        (self.wanted, self.commands) = (wanted, 0);
        (self.expired, self.lapsed) = (0, 0);
        if !self.bytes.is_empty() {
            self.bytes.clear();
        }
    }

    /// Whether nothing was added.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.commands == 0
    }

    /// Whether somebody reads the stream.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// The state now, to go back to.
    pub fn mark(&self) -> StreamMark {
        StreamMark {
            commands: self.commands,
            first_db: self.first_db,
            db: self.db,
            len: self.bytes.len(),
            expired: self.expired,
            lapsed: self.lapsed,
        }
    }

    /// Forgets what was added since `mark`.
    pub fn rewind(&mut self, mark: &StreamMark) {
        self.commands = mark.commands;
        self.first_db = mark.first_db;
        self.db = mark.db;
        self.bytes.truncate(mark.len);
        self.expired = mark.expired;
        self.lapsed = mark.lapsed;
    }

    /// Adds a command that runs in `db`.
    pub fn push(&mut self, db: u8, words: &[&[u8]]) {
        if !self.wanted {
            return;
        }
        if self.commands == 0 {
            self.bytes.extend_from_slice(MULTI);
            self.first_db = db;
        } else if db != self.db {
            select(&mut self.bytes, db);
        }
        self.db = db;
        self.commands += 1;
        request(&mut self.bytes, words);
    }

    /// Adds the removal of a key that nobody asked for: by expiry, eviction, or because its slot has left.
    pub fn push_removal(&mut self, db: u8, key: &[u8], is_lazy: bool) {
        let verb: &[u8] = if is_lazy { b"UNLINK" } else { b"DEL" };
        self.push(db, &[verb, key]);
    }

    /// Adds the removals of the keys and fields that the view has met after their time, as far as they are not in yet.
    pub fn push_expired(&mut self, view: &View<'_>, is_lazy: bool) {
        if !self.wanted {
            return;
        }
        let expired = view.expired();
        // A rollback may have taken some back, but none whose removal is in the stream.
        for (db, key) in expired.iter().skip(self.expired) {
            self.push_removal(*db, key, is_lazy);
        }
        self.expired = expired.len();
        let lapsed = view.lapsed();
        for hash in lapsed.iter().skip(self.lapsed) {
            for field in &hash.fields {
                self.push(hash.db, &[b"HDEL", &hash.key, field]);
            }
        }
        self.lapsed = lapsed.len();
    }

    /// Commits a view together with its commands. It must not be used again.
    #[inline]
    pub fn commit<'a>(&mut self, view: &mut View<'a>) -> Committed<'a> {
        self.commit_framed(view, true)
    }

    /// The same, without MULTI and EXEC: the commands have to do with one another only that they came at once.
    pub fn commit_apart<'a>(&mut self, mut view: View<'a>) -> Committed<'a> {
        self.commit_framed(&mut view, false)
    }

    #[inline]
    fn commit_framed<'a>(&mut self, view: &mut View<'a>, framed: bool) -> Committed<'a> {
        if self.commands == 0 {
            return view.commit_in_place(None);
        }
        self.commit_logged(view, framed)
    }

    fn commit_logged<'a>(&mut self, view: &mut View<'a>, framed: bool) -> Committed<'a> {
        let skip = if framed && self.commands > 1 {
            self.bytes.extend_from_slice(EXEC);
            0
        } else {
            MULTI.len()
        };
        let mut bring = Vec::new();
        select(&mut bring, self.first_db);
        view.commit_in_place(Some(&RingRecord {
            enters: self.first_db.into(),
            bring: &bring,
            body: &self.bytes[skip..],
            leaves: self.db.into(),
        }))
    }
}

fn select(bytes: &mut Vec<u8>, db: u8) {
    request(
        bytes,
        &[b"SELECT", itoa::Buffer::new().format(db).as_bytes()],
    );
}

/// Writes a request as clients send it.
pub fn request(bytes: &mut Vec<u8>, words: &[&[u8]]) {
    let mut digits = itoa::Buffer::new();
    let mut head = |bytes: &mut Vec<u8>, sign: u8, number: usize| {
        bytes.push(sign);
        bytes.extend_from_slice(digits.format(number).as_bytes());
        bytes.extend_from_slice(b"\r\n");
    };
    let len: usize = words.iter().map(|word| word.len() + 16).sum();
    bytes.reserve(len + 16);
    head(bytes, b'*', words.len());
    for word in words {
        head(bytes, b'$', word.len());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// Reads a request back: its words and its length in bytes. `None` if it is not whole, or not one.
pub fn parse_request(bytes: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    /// The number in the line at `at`, and where the next line begins.
    fn head(bytes: &[u8], at: usize, sign: u8) -> Option<(usize, usize)> {
        let line = bytes.get(at..)?.strip_prefix(&[sign])?;
        let end = memchr::memmem::find(line, b"\r\n")?;
        let number = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
        Some((number, at + 1 + end + 2))
    }
    let (count, mut next) = head(bytes, 0, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (len, begin) = head(bytes, next, b'$')?;
        let end = begin.checked_add(len)?;
        words.push(bytes.get(begin..end)?);
        next = end + 2;
        if bytes.get(end..next)? != b"\r\n" {
            return None;
        }
    }
    Some((words, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use eagle_core::store::{Access, Keyspace, PoolOptions, StringForm, Ttl};

    /// What a row of transactions leaves in the ring, as one line.
    fn logged(transactions: &[&[(u8, &str)]], apart: bool) -> String {
        let (keyspace, _) = Keyspace::open(&PoolOptions::in_memory(16 << 20)).unwrap();
        let mut worker = keyspace.worker();
        let guard = keyspace.pin();
        keyspace.resize_ring(&guard, Some(1 << 16)).unwrap();
        for commands in transactions {
            let mut view = keyspace.view(&mut worker, &guard, Access::All, 0);
            let mut stream = Stream::new(true);
            for (db, command) in *commands {
                view.set_string(*db, b"k", b"v", StringForm::Auto, Ttl::Clear)
                    .unwrap();
                let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
                stream.push(*db, &words);
            }
            if apart {
                drop(stream.commit_apart(view));
            } else {
                drop(stream.commit(&mut view));
            }
        }
        let mut bytes = vec![0; keyspace.ring_head() as usize];
        let mut reader = keyspace.ring_reader(0, false).unwrap();
        reader.read(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let words = text.split("\r\n").filter(|word| !word.starts_with('$'));
        words.collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    #[test]
    fn databases_and_groups_are_marked() {
        let text = logged(
            &[
                &[(0, "SET k v")],
                &[(0, "SET k v"), (0, "DEL k")],
                &[(3, "A"), (4, "B")],
                &[(4, "C")],
                &[],
            ],
            false,
        );
        let expected = "*2 SELECT 0 *3 SET k v *1 MULTI *3 SET k v *2 DEL k *1 EXEC \
                        *2 SELECT 3 *1 MULTI *1 A *2 SELECT 4 *1 B *1 EXEC *1 C";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_only_came_at_once_is_not_grouped() {
        let text = logged(&[&[(0, "DEL a"), (0, "DEL b")]], true);
        assert_eq!(text, "*2 SELECT 0 *2 DEL a *2 DEL b");
    }
}
