//! One client's forwarded requests that are under way; the module's head says what for.

use super::Dialect;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What a client must know of its forwarded requests to keep their order.
#[derive(Debug, Default)]
pub struct Order {
    under_way: Cell<usize>,
    /// Number of the latest command.
    latest: Cell<u64>,
    /// One of the requests under way did not end where it was sent first.
    disturbed: Cell<bool>,
    /// What the requests under way were routed by.
    routed_by: Cell<(u64, Dialect)>,
    /// Until when the next command, whose keys are half moved, is tried again.
    retried_until: Cell<Option<Instant>>,
}

impl Order {
    /// Requests sent and not answered.
    pub fn under_way(&self) -> usize {
        self.under_way.get()
    }

    /// Whether the client's next command, routed by this topology version, could overtake an earlier one.
    pub fn must_wait(&self, topology_version: u64, dialect: Dialect) -> bool {
        self.under_way.get() > 0
            && (self.disturbed.get() || self.routed_by.get() != (topology_version, dialect))
    }

    /// Whether the next command may be tried again, which it may for so long.
    pub fn may_retry(&self, time_max: Duration) -> bool {
        let now = Instant::now();
        let until = self.retried_until.get().unwrap_or(now + time_max);
        let may = now < until;
        self.retried_until.set(may.then_some(until));
        may
    }

    /// Ends the trying.
    #[inline]
    pub fn stop_retrying(&self) {
        if self.retried_until.get().is_some() {
            self.retried_until.set(None);
        }
    }

    /// Begins a command. All parts of a command that is split belong to the one number.
    pub fn begin_command(&self) {
        self.latest.set(self.latest.get() + 1);
    }

    /// Notes that a request of the present command is under way, until the ticket is dropped.
    pub fn ticket(self: &Rc<Order>, topology_version: u64, dialect: Dialect) -> Ticket {
        self.routed_by.set((topology_version, dialect));
        self.under_way.set(self.under_way.get() + 1);
        Ticket {
            order: self.clone(),
            number: self.latest.get(),
        }
    }
}

/// A request's place in its client's order.
#[derive(Debug)]
pub struct Ticket {
    order: Rc<Order>,
    number: u64,
}

impl Ticket {
    /// Makes the client's later commands wait until everything under way is answered.
    pub fn disturb(&self) {
        self.order.disturbed.set(true);
    }

    /// Whether no later command of the client has been sent.
    pub fn is_latest(&self) -> bool {
        self.number == self.order.latest.get()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let left = self.order.under_way.get() - 1;
        self.order.under_way.set(left);
        if left == 0 {
            self.order.disturbed.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eagle_core::resp::Protocol;

    #[test]
    fn a_client_waits_after_a_change_until_all_is_answered() {
        let order = Rc::new(Order::default());
        let dialect = |protocol| Dialect { protocol, db: 0 };
        let wait = |version, protocol| order.must_wait(version, dialect(protocol));
        assert!(!wait(1, Protocol::Resp2));
        order.begin_command();
        let first = order.ticket(1, dialect(Protocol::Resp2));
        assert!(!wait(1, Protocol::Resp2));
        assert!(wait(2, Protocol::Resp2), "another topology");
        assert!(wait(1, Protocol::Resp3), "another lane");
        let other_db = Dialect {
            protocol: Protocol::Resp2,
            db: 1,
        };
        assert!(order.must_wait(1, other_db), "another lane");
        assert!(first.is_latest());
        order.begin_command();
        let second = order.ticket(1, dialect(Protocol::Resp2));
        assert!(!first.is_latest());
        first.disturb();
        drop(first);
        assert!(wait(1, Protocol::Resp2), "the second is still under way");
        drop(second);
        assert!(!wait(1, Protocol::Resp2) && !wait(2, Protocol::Resp3));
    }
}
