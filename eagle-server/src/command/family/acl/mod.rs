//! ACL: users and what they may do.

mod inquire;
mod manage;

use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::CommandError;
use crate::command::spec::{Command, Docs, Family, Flags, Handler};

pub const FAMILY: Family = Family {
    name: "acl",
    commands: &[&ACL],
};

/// ACL -- container.
const ACL: Command = Command::new(
    "acl",
    -2,
    help,
    Docs::new(
        "server",
        "6.0.0",
        "A container for Access List Control commands ",
    )
    .complexity("Depends on subcommand."),
)
.subcommands(&[
    &inquire::CAT,
    &manage::DELUSER,
    &inquire::DRYRUN,
    &inquire::GENPASS,
    &inquire::GETUSER,
    &HELP,
    &inquire::LIST,
    &manage::LOAD,
    &inquire::LOG,
    &manage::SAVE,
    &manage::SETUSER,
    &inquire::USERS,
    &inquire::WHOAMI,
]);

/// A subcommand for whoever may administer the server.
const fn admin(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs).flags(&[
        Flags::ADMIN,
        Flags::NOSCRIPT,
        Flags::LOADING,
        Flags::STALE,
    ])
}

/// A subcommand for everybody.
const fn open(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs).flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE])
}

/// The refusal of a subcommand called with too many words.
fn wrong_subcommand(args: &Args<'_>) -> CommandError {
    CommandError::quoting(&[
        b"ERR unknown subcommand or wrong number of arguments for '",
        args.argv()[1],
        b"'. Try ACL HELP.",
    ])
}

const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "server",
        "6.0.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE]);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "CAT [<category>]",
        "    List all commands that belong to <category>, or all command categories",
        "    when no category is specified.",
        "DELUSER <username> [<username> ...]",
        "    Delete a list of users.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Returns whether the user can execute the given command without executing the command.",
        "GETUSER <username>",
        "    Get the user's details.",
        "GENPASS [<bits>]",
        "    Generate a secure 256-bit user password. The optional `bits` argument can",
        "    be used to specify a different size.",
        "LIST",
        "    Show users details in config file format.",
        "LOAD",
        "    Reload users from the ACL file.",
        "LOG [<count> | RESET]",
        "    Show the ACL log entries.",
        "SAVE",
        "    Save the current config to the ACL file.",
        "SETUSER <username> <attribute> [<attribute> ...]",
        "    Create or modify a user with the specified attributes.",
        "USERS",
        "    List all the registered usernames.",
        "WHOAMI",
        "    Return the current connection username.",
    ])
}
