//! Sockets: accepting connections, spreading them over the workers, moving bytes.

mod connection;
mod feeding;
mod listener;
mod listening;
mod parked;
mod parking;
mod reactor;
mod replies;
mod requests;
mod sizes;
mod stream;
mod turns;
mod worker;

pub use listener::{Listener, bind_all, bind_unix};
pub use listening::Listening;
pub use worker::{Incoming, Pool};
