//! Storing a result in a key: the end of every `...STORE` command.

use crate::command::context::{Context, Outcome};
use crate::config::special::EventClasses;
use eagle_core::store::Ttl;

/// Puts these members in place of whatever `key` holds and replies their number; none at all remove the key.
pub(in crate::command::family) fn store(
    cx: &mut Context<'_>,
    key: &[u8],
    members: &[(&[u8], f64)],
    event: &'static str,
) -> Outcome {
    let db = cx.db();
    if members.is_empty() {
        if cx.view.remove(db, key)? {
            cx.notify(EventClasses::GENERIC, "del", key);
        }
    } else {
        cx.view.set_zset(db, key, members, Ttl::Clear)?;
        cx.notify(EventClasses::ZSET, event, key);
    }
    cx.reply_integer(members.len() as i64)
}
