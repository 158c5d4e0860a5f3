//! ACL subcommands that change users.

use super::{admin, wrong_subcommand};
use crate::acl::{Identity, User};
use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Command, Docs};
use crate::config::topic::PubsubDefault;
use crate::node::Node;
use std::sync::Arc;

/// ACL SETUSER username [rule ...] -- changes a user, or creates one.
pub(super) const SETUSER: Command = admin(
    "setuser",
    -3,
    setuser,
    Docs::new(
        "server",
        "6.0.0",
        "Modify or create the rules for a specific ACL user",
    )
    .complexity("O(N). Where N is the number of rules provided.")
    .syntax("username [rule ...]")
    .history(&[
        ("6.2.0", "Added Pub/Sub channel patterns."),
        ("7.0.0", "Added selectors and key based permissions."),
    ]),
)
.secretive();

fn setuser(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    const FIRST: usize = 2;
    (FIRST..args.argv().len()).for_each(|position| cx.session.redact(position));
    let name = args.word()?;
    if has_spaces(name) {
        return Err(CommandError::new(
            "ERR Usernames can't contain spaces or null characters",
        ));
    }
    let all_channels = new_users_hear_all(cx);
    let (node, own) = (cx.node, cx.session.info.id);
    let mut kills_itself = false;
    let changing = |identity: &Arc<Identity>, old: &User, new: &User| {
        if !new.keeps_channels_of(old) {
            kills_itself = end_subscribers(node, own, identity, new);
        }
    };
    let changed = node.acl.set(name, args.rest(), all_channels, changing);
    cx.session.closing |= kills_itself;
    match changed {
        Ok(()) => cx.reply_ok(),
        Err(error) => Err(CommandError::quoting(&[b"ERR ", &error])),
    }
}

/// Whether users that are created now may use all channels.
fn new_users_hear_all(cx: &Context<'_>) -> bool {
    cx.config.security.acl_pubsub_default == PubsubDefault::AllChannels
}

fn has_spaces(name: &[u8]) -> bool {
    name.iter()
        .any(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0))
}

/// Ends the clients of `identity` that listen to what its new rules no longer allow; whether the
/// client `own` is one of them.
fn end_subscribers(node: &Node, own: u64, identity: &Arc<Identity>, new: &User) -> bool {
    let mut kills_itself = false;
    for client in node.clients.all() {
        if !client.is_user(identity) || !client.subscriptions.any() {
            continue;
        }
        let topics = client.subscriptions.lock();
        let plain = topics.channels.iter().chain(&topics.shard_channels);
        let is_allowed = plain.clone().all(|name| new.may_use_channel(name, false))
            && topics
                .patterns
                .iter()
                .all(|name| new.may_use_channel(name, true));
        drop(topics);
        if is_allowed {
            continue;
        }
        if client.id == own {
            kills_itself = true;
        } else {
            node.clients.end(&client);
        }
    }
    kills_itself
}

/// ACL DELUSER username [username ...] -- deletes users and ends their connections.
pub(super) const DELUSER: Command = admin(
    "deluser",
    -3,
    deluser,
    Docs::new(
        "server",
        "6.0.0",
        "Remove the specified ACL users and the associated rules",
    )
    .complexity("O(1) amortized time considering the typical user.")
    .syntax("username..."),
);

fn deluser(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if args.rest().contains(&&b"default"[..]) {
        return Err(CommandError::new(
            "ERR The 'default' user cannot be removed",
        ));
    }
    let gone = cx.node.acl.delete(args.rest());
    end_connections(cx, &gone);
    cx.reply_integer(gone.len() as i64)
}

/// Ends the connections of users that are gone; the one that asks gets its reply first.
fn end_connections(cx: &mut Context<'_>, gone: &[Arc<Identity>]) {
    if gone.is_empty() {
        return;
    }
    for client in cx.node.clients.all() {
        if !gone.iter().any(|identity| client.is_user(identity)) {
            continue;
        }
        if client.id == cx.session.info.id {
            cx.session.log_out(cx.node.acl.default_user());
            cx.session.closing = true;
        } else {
            cx.node.clients.end(&client);
        }
    }
}

const NO_FILE: CommandError = CommandError::new(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store \
     users in the Redis configuration.",
);

/// ACL LOAD -- replaces all users by those of the ACL file, or none.
pub(super) const LOAD: Command = admin(
    "load",
    2,
    load,
    Docs::new(
        "server",
        "6.0.0",
        "Reload the ACLs from the configured ACL file",
    )
    .complexity("O(N). Where N is the number of configured users."),
);

fn load(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let file = &cx.config.security.aclfile;
    if file.is_empty() {
        return Err(NO_FILE);
    }
    if !args.is_empty() {
        return Err(wrong_subcommand(&args));
    }
    match cx.node.acl.load(file, new_users_hear_all(cx)) {
        Ok(gone) => {
            end_connections(cx, &gone);
            cx.reply_ok()
        }
        Err(faults) => Err(CommandError::quoting(&[
            b"ERR ",
            errors::one_line(&faults).as_bytes(),
        ])),
    }
}

/// ACL SAVE -- writes all users to the ACL file.
pub(super) const SAVE: Command = admin(
    "save",
    2,
    save,
    Docs::new(
        "server",
        "6.0.0",
        "Save the current ACL rules in the configured ACL file",
    )
    .complexity("O(N). Where N is the number of configured users."),
);

fn save(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let file = &cx.config.security.aclfile;
    if file.is_empty() {
        return Err(NO_FILE);
    }
    if let Err(error) = cx.node.acl.save(file) {
        tracing::warn!("Writing ACL file for ACL SAVE: {error}");
        return Err(CommandError::new(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
        ));
    }
    cx.reply_ok()
}
