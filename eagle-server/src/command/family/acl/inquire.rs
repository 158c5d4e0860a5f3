//! ACL subcommands that change no user.

use super::{admin, open, wrong_subcommand};
use crate::acl::{Denial, Selector};
use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::permission;
use crate::command::spec::{Command, Docs};
use crate::command::table::{Lookup, table};
use eagle_core::resp::Writer;
use eagle_core::text::c_string::c_string;

/// ACL WHOAMI -- the name of the connection's user.
pub(super) const WHOAMI: Command = open(
    "whoami",
    2,
    whoami,
    Docs::new(
        "server",
        "6.0.0",
        "Return the name of the user associated to the current connection",
    )
    .complexity("O(1)"),
);

fn whoami(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.out.bulk(cx.session.user.name());
    Ok(Flow::Done)
}

/// ACL USERS -- the names of all users.
pub(super) const USERS: Command = admin(
    "users",
    2,
    users,
    Docs::new(
        "server",
        "6.0.0",
        "List the username of all the configured ACL rules",
    )
    .complexity("O(N). Where N is the number of configured users."),
);

fn users(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let users = cx.node.acl.all();
    cx.out.array(users.len());
    users.iter().for_each(|user| cx.out.bulk(user.name()));
    Ok(Flow::Done)
}

/// ACL LIST -- all users as a configuration file declares them.
pub(super) const LIST: Command = admin(
    "list",
    2,
    list,
    Docs::new(
        "server",
        "6.0.0",
        "List the current ACL rules in ACL config file format",
    )
    .complexity("O(N). Where N is the number of configured users."),
);

fn list(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let lines = cx.node.acl.lines();
    cx.out.array(lines.len());
    for line in lines {
        cx.out.bulk_parts(&[b"user ", &line]);
    }
    Ok(Flow::Done)
}

/// ACL GETUSER username -- a user's rules, piece by piece.
pub(super) const GETUSER: Command = admin(
    "getuser",
    3,
    getuser,
    Docs::new("server", "6.0.0", "Get the rules for a specific ACL user")
        .complexity("O(N). Where N is the number of password, command and pattern rules that the user has.")
        .syntax("username")
        .history(&[
            ("6.2.0", "Added Pub/Sub channel patterns."),
            (
                "7.0.0",
                "Added selectors and changed the format of key and channel patterns from a list to their rule \
                 representation.",
            ),
        ]),
);

fn getuser(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let Some(identity) = cx.node.acl.find(args.word()?) else {
        return cx.reply_null();
    };
    let user = identity.user();
    cx.out.map(6);
    cx.out.bulk("flags");
    let flags = user.flags();
    cx.out.set(flags.len());
    flags.iter().for_each(|flag| cx.out.bulk(flag));
    cx.out.bulk("passwords");
    let hashes = user.password_hashes();
    cx.out.array(hashes.len());
    hashes.iter().for_each(|hash| cx.out.bulk(hash));
    reply_selector(cx.out, user.root());
    cx.out.bulk("selectors");
    cx.out.array(user.further_selectors().len());
    for selector in user.further_selectors() {
        cx.out.map(3);
        reply_selector(cx.out, selector);
    }
    Ok(Flow::Done)
}

fn reply_selector(out: &mut Writer, selector: &Selector) {
    out.bulk("commands");
    out.bulk(selector.command_rules(permission::catalogue()));
    out.bulk("keys");
    out.bulk(selector.key_rules());
    out.bulk("channels");
    out.bulk(selector.channel_rules());
}

/// ACL CAT [category] -- the categories, or the commands of one.
pub(super) const CAT: Command = open(
    "cat",
    -2,
    cat,
    Docs::new(
        "server",
        "6.0.0",
        "List the ACL categories or the commands inside a category",
    )
    .complexity("O(1) since the categories and commands are a fixed set.")
    .syntax("[categoryname]"),
);

fn cat(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let catalogue = permission::catalogue();
    match args.rest() {
        [] => {
            let names = catalogue.categories();
            cx.out.array(names.len());
            names.iter().for_each(|name| cx.out.bulk(name));
        }
        [name] => {
            let bit = catalogue.category(name).ok_or_else(|| {
                let name = &name[..name.len().min(128)];
                CommandError::quoting(&[b"ERR Unknown category '", name, b"'"])
            })?;
            cx.out.array(catalogue.in_category(bit).count());
            for id in catalogue.in_category(bit) {
                cx.out.bulk(catalogue.rows()[id].name);
            }
        }
        _ => return Err(wrong_subcommand(&args)),
    }
    Ok(Flow::Done)
}

/// ACL GENPASS [bits] -- random hex digits worth so many bits.
pub(super) const GENPASS: Command = open(
    "genpass",
    -2,
    genpass,
    Docs::new(
        "server",
        "6.0.0",
        "Generate a pseudorandom secure password to use for ACL users",
    )
    .complexity("O(1)")
    .syntax("[bits:integer]"),
);

fn genpass(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const BITS_DEFAULT: i64 = 256;
    const BITS_MAX: i64 = 4096;
    let bits = match args.rest() {
        [] => BITS_DEFAULT,
        [bits] => parse_integer(bits)?,
        _ => return Err(wrong_subcommand(&args)),
    };
    if !(1..=BITS_MAX).contains(&bits) {
        return Err(CommandError::owned(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {BITS_MAX}"
        )));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = [0u8; BITS_MAX as usize / 8];
    rand::fill(&mut bytes[..]);
    let text: String = bytes[..digits.div_ceil(2)]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    cx.reply_bulk(&text.as_bytes()[..digits])
}

/// ACL LOG [count | RESET] -- what was refused lately, 10 entries unless told otherwise.
pub(super) const LOG: Command = admin(
    "log",
    -2,
    log,
    Docs::new(
        "server",
        "6.0.0",
        "List latest events denied because of ACLs in place",
    )
    .complexity("O(N) with N being the number of entries shown.")
    .syntax("operation=[count | RESET]"),
);

fn log(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const COUNT_DEFAULT: usize = 10;
    let log = &cx.node.acl.log;
    let count = match args.rest() {
        [] => COUNT_DEFAULT,
        [word] if word.eq_ignore_ascii_case(b"reset") => {
            log.reset();
            return cx.reply_ok();
        }
        [word] => usize::try_from(parse_integer(word)?).unwrap_or(0),
        _ => return Err(wrong_subcommand(&args)),
    };
    let entries = log.newest(count);
    cx.out.array(entries.len());
    for entry in entries {
        cx.out.map(7);
        cx.out.bulk("count");
        cx.out.integer(entry.count as i64);
        cx.out.bulk("reason");
        cx.out.bulk(entry.reason.name());
        cx.out.bulk("context");
        cx.out.bulk(entry.place.name());
        cx.out.bulk("object");
        cx.out.bulk(&entry.object);
        cx.out.bulk("username");
        cx.out.bulk(&entry.username);
        cx.out.bulk("age-seconds");
        cx.out
            .double(cx.now_ms.saturating_sub(entry.at_ms) as f64 / 1000.0);
        cx.out.bulk("client-info");
        cx.out.bulk(&entry.client);
    }
    Ok(Flow::Done)
}

/// ACL DRYRUN username command [arg ...] -- whether a user might run a command.
pub(super) const DRYRUN: Command = admin(
    "dryrun",
    -4,
    dryrun,
    Docs::new(
        "server",
        "7.0.0",
        "Returns whether the user can execute the given command without executing the command.",
    )
    .complexity("O(1).")
    .syntax("username command [arg ...]"),
);

fn dryrun(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let name = args.word()?;
    let Some(identity) = cx.node.acl.find(name) else {
        return Err(CommandError::quoting(&[
            b"ERR User '",
            name,
            b"' not found",
        ]));
    };
    let argv = args.rest();
    let Lookup::Found(entry) = table().lookup(argv) else {
        return Err(CommandError::quoting(&[
            b"ERR Command '",
            argv[0],
            b"' not found",
        ]));
    };
    if !entry.command.accepts(argv.len()) {
        return Err(errors::wrong_arity(&entry.full_name));
    }
    let request = permission::request(entry, argv);
    let denial = match identity.user().check(permission::catalogue(), &request) {
        Ok(()) => return cx.reply_ok(),
        Err(denial) => denial,
    };
    // Redis quotes them as C strings.
    match denial {
        Denial::Command => cx.out.bulk_parts(&[
            b"This user has no permissions to run the '",
            entry.full_name.as_bytes(),
            b"' command",
        ]),
        Denial::Key(position) => cx.out.bulk_parts(&[
            b"This user has no permissions to access the '",
            c_string(argv[position]),
            b"' key",
        ]),
        Denial::Channel(position) => cx.out.bulk_parts(&[
            b"This user has no permissions to access the '",
            c_string(argv[position]),
            b"' channel",
        ]),
    }
    Ok(Flow::Done)
}
