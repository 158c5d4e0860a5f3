//! Publish and subscribe: who listens to what, and the messages they get.

mod broker;
mod message;

pub use broker::{Broker, Receipt};
pub use message::{Confirmation, Topic};
