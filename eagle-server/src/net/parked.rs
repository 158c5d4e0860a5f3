//! What a connection does without its task, while it is [parked](super::parking).

use super::connection::{Connection, Left, Progress};
use super::reactor::{READ_BYTES, Room};
use crate::command::Batch;
use crate::config::Config;
use socket2::Socket;
use std::io::{self, Read};
use zeroize::Zeroize;

/// Reads of one connection before others have their turn.
const READS_MAX: usize = 4;

/// Replies up to this length are written from where they were made, and are never too many to wait for a client.
const REPLY_BYTES_MAX: usize = 16 * 1024;

impl Connection {
    /// Reads, runs what has arrived, and replies; whether the connection waits for requests again then. If not, its task
    /// goes on. `is_ended` if nothing more will come.
    #[inline]
    pub(super) fn serve_ready(
        &mut self,
        batch: &mut Batch<'_>,
        socket: &Socket,
        is_ended: bool,
        room: &Room,
    ) -> bool {
        for _ in 0..READS_MAX {
            let count = match self.read_now(socket, room) {
                Ok(count) if count > 0 => count,
                // Nothing there, after all.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // The end, which the task will find.
                Ok(_) | Err(_) => return false,
            };
            self.collect_mail();
            batch.renew();
            let progress = self.process_in(batch);
            if std::mem::take(&mut self.has_wiped) {
                let mut bytes = room.take();
                bytes.as_mut_slice().zeroize();
                room.set(bytes);
            }
            match progress {
                Progress::Drained { room } if room <= READ_BYTES => {}
                Progress::Drained { .. } => return false,
                progress => {
                    // Now, before others that the thread serves end theirs.
                    self.end_turn(&progress);
                    self.left = Some(Left {
                        progress,
                        has_ended_turn: true,
                    });
                    return false;
                }
            }
            self.thread.end_turn();
            if !self.reply_now(socket) {
                return false;
            }
            self.shrink_input();
            if self.input_size == 0 {
                // Given back because it was large, and not because nothing comes.
                self.make_room(READ_BYTES);
                self.note_sizes();
            }
            // Of what comes after it has given less than it could, the socket tells anew.
            if count < READ_BYTES && !is_ended {
                return true;
            }
        }
        false
    }

    /// Reads what has arrived; how many bytes.
    #[inline]
    fn read_now(&mut self, mut socket: &Socket, room: &Room) -> io::Result<usize> {
        let mut bytes = room.take();
        let read = socket.read(&mut bytes);
        if let Ok(count) = read {
            self.make_room(READ_BYTES);
            self.input.extend_from_slice(&bytes[..count]);
            self.count_read(count);
        }
        room.set(bytes);
        read
    }

    /// Writes all there is to say; whether it was all. If not, or if the client is to be closed, its task is needed.
    #[inline]
    fn reply_now(&mut self, socket: &Socket) -> bool {
        let info = &self.session.info;
        let is_short = self.replies.is_empty()
            && self.out.len() <= REPLY_BYTES_MAX
            && info.outbox.bytes() == 0
            && !info.is_killed();
        if !is_short || self.thread.with_config(Config::client_bytes_max).is_some() {
            return self.reply_long(socket);
        }
        if !self.out.is_empty() {
            let Ok(count) = socket.send(self.out.as_bytes()) else {
                return false;
            };
            self.count_sent(count);
            self.out.consume(count);
        }
        self.note_sizes();
        self.out.is_empty()
    }

    /// The same for any replies.
    #[inline(never)]
    fn reply_long(&mut self, mut socket: &Socket) -> bool {
        self.collect_mail();
        self.replies.push(&mut self.out);
        self.note_sizes();
        if self.is_over_output_limit() {
            return false;
        }
        self.count_memory();
        if self.session.info.is_killed() {
            return false;
        }
        let waiting = self.replies.len();
        self.replies.send_now(&mut socket);
        let count = waiting - self.replies.len();
        if count > 0 {
            self.count_sent(count);
        }
        self.note_sizes();
        self.count_memory();
        self.replies.is_empty()
    }

    /// Reads, runs and replies beside a script that keeps the thread; whether more remains to be done by the task.
    pub(super) fn serve_beside_script(&mut self, mut socket: &Socket) -> bool {
        let mut bytes = [0; READ_BYTES];
        while self.left.is_none() && self.input.len() < self.query_bytes_max() {
            // The end of the connection is left for the task to find.
            let Ok(count @ 1..) = socket.read(&mut bytes) else {
                break;
            };
            self.input.extend_from_slice(&bytes[..count]);
            self.thread.stats.net_input_bytes.add(count as u64);
            let progress = self.process();
            if std::mem::take(&mut self.has_wiped) {
                bytes.zeroize();
            }
            self.replies.push(&mut self.out);
            self.replies.send_now(&mut socket);
            if !matches!(progress, Progress::Drained { .. }) {
                self.left = Some(Left {
                    progress,
                    has_ended_turn: false,
                });
            }
        }
        self.left.is_some() || !self.input.is_empty() || !self.replies.is_empty()
    }
}
