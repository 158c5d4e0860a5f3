//! When two servers have pushed the same to a connection: what it caches and must forget.
//!
//! Redis tells of what it broadcasts once for each round of its loop. What is one round depends on how much was read at once,
//! and on which clients were served meanwhile; so where steps were joined or waiting clients served, less is asked of the
//! pushes that follow.

use std::collections::BTreeSet;

use super::run::{CONNECTIONS, Heard, Step};
use crate::Reply;

/// The pushes of a run so far, as far as they matter to those that come.
#[derive(Default)]
pub(super) struct Pushes {
    /// What each side has pushed amid joined steps: it is looked at when the connection has caught up.
    amid: [[Vec<Reply>; 2]; CONNECTIONS],
    /// Steps were joined since a connection was last heard of.
    are_late: [bool; CONNECTIONS],
    /// Waiting clients were served since then.
    has_served: [bool; CONNECTIONS],
}

impl Pushes {
    /// Takes in what was heard of a step, one of so many that were sent together; whether the pushes are the same, as far as
    /// they are looked at now.
    pub(super) fn settle(
        &mut self,
        step: &Step,
        joined: usize,
        ours: &mut Heard,
        theirs: &mut Heard,
    ) -> bool {
        let serves = !ours.served.is_empty();
        let at = step.connection;
        let mut has_served = serves;
        if at < CONNECTIONS {
            has_served |= std::mem::take(&mut self.has_served[at]);
        }
        if serves {
            self.has_served = [true; CONNECTIONS];
        }
        let Some([a, b]) = self.amid.get_mut(at) else {
            return are_same(ours, theirs, has_served);
        };
        if joined > 1 {
            self.are_late = [true; CONNECTIONS];
            a.append(&mut ours.pushes);
            b.append(&mut theirs.pushes);
            return true;
        }
        ours.pushes.splice(0..0, a.drain(..));
        theirs.pushes.splice(0..0, b.drain(..));
        match std::mem::take(&mut self.are_late[at]) {
            true => invalidated(&ours.pushes) == invalidated(&theirs.pushes),
            false => are_same(ours, theirs, has_served),
        }
    }
}

fn are_same(ours: &Heard, theirs: &Heard, has_served: bool) -> bool {
    // Redis gathers what it broadcasts till the end of its round of events; a command that serves a waiting client
    // changes the same key twice in one.
    let [mut a, mut b] = [ours, theirs].map(|heard| heard.pushes.clone());
    a.dedup();
    b.dedup();
    // By the same habit it takes only the first of these changes for the key's, which NOLOOP may spare the client,
    // though the second was another's.
    let tells_more = has_served && invalidated(&b).is_subset(&invalidated(&a));
    a == b || tells_more
}

/// The keys that pushes tell a client to forget.
fn invalidated(pushes: &[Reply]) -> BTreeSet<&[u8]> {
    let keys = pushes.iter().filter_map(|push| match push {
        Reply::Push(items) => items.get(1),
        _ => None,
    });
    keys.flat_map(|keys| match keys {
        Reply::Array(keys) => &keys[..],
        _ => &[],
    })
    .filter_map(Reply::bytes)
    .collect()
}
