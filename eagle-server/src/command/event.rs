//! Keyspace events (`notify-keyspace-events`): raised by handlers, sent after the commit.

use crate::config::special::EventClasses;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub db: u8,
    pub class: EventClasses,
    pub name: &'static str,
    pub key: Box<[u8]>,
}

/// A state of [`Events`] to go back to when a command fails.
#[derive(Clone, Copy, Debug)]
pub struct EventsMark(usize);

/// The events of one request, in order.
#[derive(Default, Debug)]
pub struct Events(Vec<Event>);

impl Events {
    /// Adds an event if its class is among those `wanted`, and somewhere to be published.
    pub fn raise(
        &mut self,
        wanted: EventClasses,
        db: u8,
        class: EventClasses,
        name: &'static str,
        key: &[u8],
    ) {
        let published = wanted.has(EventClasses::KEYSPACE) || wanted.has(EventClasses::KEYEVENT);
        if published && wanted.has(class) {
            self.0.push(Event {
                db,
                class,
                name,
                key: key.into(),
            });
        }
    }

    /// The state now.
    pub fn mark(&self) -> EventsMark {
        EventsMark(self.0.len())
    }

    /// Forgets what was raised since `mark`.
    pub fn rewind(&mut self, mark: EventsMark) {
        self.0.truncate(mark.0);
    }

    /// Takes all events.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.0)
    }
}
