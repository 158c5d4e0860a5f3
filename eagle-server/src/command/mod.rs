//! Commands: their table, the gates they pass, and the one path on which they run.

mod account;
mod admit;
mod args;
pub mod blocking;
pub mod bulk;
mod caches;
mod call;
mod clock;
mod context;
mod deadline;
mod deliver;
mod describe;
mod effect;
mod end;
pub mod errors;
mod event;
pub mod evict;
pub mod family;
mod forward;
pub mod forwarding;
mod keys;
mod lazyfree;
mod lookup;
mod monitor;
mod names;
mod permission;
mod plan;
mod redirect;
pub mod replication;
mod sample;
pub mod saving;
mod scan;
mod script;
mod slot_usage;
pub mod spec;
mod syntax;
mod table;
mod unwound;

#[cfg(test)]
mod conformance;

pub use args::{Args, parse_integer};
pub use call::{Batch, run, run_queued};
pub use context::{Context, Flow, Outcome};
pub use deliver::{deliver_published, publish_event, publish_expired};
pub use errors::CommandError;
pub use forward::{follow_slots, serve_relay};
pub use keys::{KeyRef, KeyRefs, find as find_keys, find_routed, slots as key_slots};
pub use permission::{
    catalogue as acl_catalogue, check as check_permission, may_access_channel, may_read_any_key,
    note_denial, script_reason,
};
pub use plan::key_at;
pub use slot_usage::{Counted, counted};
pub use table::{Entry, Lookup, Table, is_declared, rename, table};
