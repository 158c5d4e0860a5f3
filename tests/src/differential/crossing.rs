//! What is left of a run goes over to the other server and must be the same there, as what its own server makes of the dump.
//!
//! (That may be something else than what was dumped: a score of -0 is 0 in the small form of a sorted set.)

use super::Compare;
use super::pools::KEYS;
use super::run::{AUDITOR, Heard, Step};
use super::side::Side;
use crate::Reply;

/// The name of what was restored.
const COPY: &str = "crossed over";

/// What is asked of both copies; the second says of other types than streams that they are none.
const VIEWS: [(&[&str], &[&str]); 2] = [
    (&["DEBUG", "DIGEST-VALUE"], &[]),
    (&["XINFO", "STREAM"], &["FULL", "COUNT", "0"]),
];

/// The first key whose dump by one server the other does not restore to the same value: the step that dumps it, and the
/// value as the one and the other have restored it, with the reply of RESTORE as a push.
pub(super) fn cross_over(
    ours: &mut Side<'_>,
    theirs: &mut Side<'_>,
) -> Option<(Step, Heard, Heard)> {
    let (ours, theirs) = (&mut ours.clients[AUDITOR], &mut theirs.clients[AUDITOR]);
    for client in [&mut *ours, &mut *theirs] {
        client.call(&["SELECT", "0"]).ok();
        let bounds = ["maxmemory", "0", "proto-max-bulk-len", "536870912"];
        client
            .call(&[&["CONFIG", "SET"], &bounds[..]].concat())
            .ok();
    }
    for &key in KEYS {
        for is_ours in [true, false] {
            let (from, to) = match is_ours {
                true => (&mut *ours, &mut *theirs),
                false => (&mut *theirs, &mut *ours),
            };
            let Reply::Bulk(payload) = from.call(&["DUMP", key]) else {
                continue;
            };
            // Whether there is an end shows in the digest.
            let ttl: &[u8] = match from.call(&["PTTL", key]).int() {
                -1 => b"0",
                _ => b"1000000",
            };
            let restored = [&mut *from, &mut *to].map(|client| {
                client.call(&["DEL", COPY]);
                client.call(&[b"RESTORE", COPY.as_bytes(), ttl, &payload])
            });
            for (words, options) in VIEWS {
                let view = [words, &[COPY], options].concat();
                let [kept, taken] = [&mut *from, &mut *to].map(|client| client.call(&view));
                if kept == taken {
                    continue;
                }
                let heard = |reply, restored: &Reply| Heard {
                    pushes: vec![restored.clone()],
                    ..Heard::of(Ok(reply))
                };
                let step = Step::new(AUDITOR, &["DUMP", key], Compare::Shape);
                let [a, b] = &restored;
                return Some((step, heard(kept, a), heard(taken, b)));
            }
        }
    }
    None
}
