//! CONFIG: looking at the configuration in force and changing it.

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Command, Docs, Family, Flags, Handler};
use crate::config::directive::{self, Flags as DirectiveFlags};
use crate::config::live::matching;
use crate::config::special::os_error_text;
use crate::config::{Caller, Permission, SetError};
use std::io;

pub const FAMILY: Family = Family {
    name: "config",
    commands: &[&CONFIG],
};

/// CONFIG -- container.
const CONFIG: Command = Command::new(
    "config",
    -2,
    help,
    Docs::new(
        "server",
        "2.0.0",
        "A container for server configuration commands",
    )
    .complexity("Depends on subcommand."),
)
.subcommands(&[&GET, &HELP, &RESETSTAT, &REWRITE, &SET]);

const fn admin(name: &'static str, arity: i16, handler: Handler, docs: Docs) -> Command {
    Command::new(name, arity, handler, docs).flags(&[
        Flags::ADMIN,
        Flags::NOSCRIPT,
        Flags::LOADING,
        Flags::STALE,
    ])
}

const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "server",
        "5.0.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE]);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
    ])
}

/// CONFIG GET pattern [pattern ...] -- the directives that match any pattern, and their values.
const GET: Command = admin(
    "get",
    -3,
    get,
    Docs::new(
        "server",
        "2.0.0",
        "Get the values of configuration parameters",
    )
    .complexity("O(N) when N is the number of configuration parameters provided")
    .syntax("<parameter ...>")
    .history(&[(
        "7.0.0",
        "Added the ability to pass multiple pattern parameters in one call",
    )]),
);

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let found = matching(args.rest());
    // A CONFIG SET earlier in the same pipeline counts already.
    let config = cx.node.config.snapshot();
    cx.out.map(found.len());
    for (name, directive) in found {
        cx.out.bulk(name);
        cx.out.bulk(directive.show(&config));
    }
    Ok(Flow::Done)
}

/// CONFIG SET directive value [directive value ...] -- all of them or none.
const SET: Command = admin(
    "set",
    -4,
    set,
    Docs::new(
        "server",
        "2.0.0",
        "Set configuration parameters to the given values",
    )
    .complexity("O(N) when N is the number of configuration parameters provided")
    .syntax("parameter value [parameter value ...]")
    .history(&[(
        "7.0.0",
        "Added the ability to set multiple parameters in one call.",
    )]),
)
.secretive()
.tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]);

fn set(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let (pairs, []) = args.rest().as_chunks::<2>() else {
        return Err(errors::SYNTAX);
    };
    const FIRST_NAME: usize = 2;
    for (index, [name, _]) in pairs.iter().enumerate() {
        if directive::find(name).is_some_and(|found| found.flags.has(DirectiveFlags::SENSITIVE)) {
            cx.session.redact(FIRST_NAME + 2 * index + 1);
        }
    }
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|[name, value]| (*name, *value)).collect();
    let caller = Caller {
        may_set_protected: may_set_protected(cx),
        is_loading: cx.node.loading.is_shown(),
    };
    match cx.node.config.set_many(&pairs, caller) {
        Ok(()) => cx.reply_ok(),
        // The name is quoted as it was sent: it may be no text.
        Err(SetError::Unknown(_)) => {
            let name = pairs
                .iter()
                .find(|(name, _)| directive::find(name).is_none());
            Err(CommandError::quoting(&[
                b"ERR Unknown option or number of arguments for CONFIG SET - '",
                name.map_or(b"", |(name, _)| name),
                b"'",
            ]))
        }
        Err(error @ SetError::Loading) => Err(CommandError::owned(format!("LOADING {error}"))),
        Err(error) => Err(CommandError::owned(errors::one_line(
            format!("ERR {error}").as_bytes(),
        ))),
    }
}

fn may_set_protected(cx: &Context<'_>) -> bool {
    match cx.config.security.enable_protected_configs {
        Permission::Nobody => false,
        Permission::Everybody => true,
        Permission::Local => {
            let peer = cx.session.info.peer;
            peer.is_none_or(|address| address.ip().to_canonical().is_loopback())
        }
    }
}

/// CONFIG RESETSTAT -- INFO's counters begin again at zero.
const RESETSTAT: Command = admin(
    "resetstat",
    2,
    reset_statistics,
    Docs::new("server", "2.0.0", "Reset the stats returned by INFO").complexity("O(1)"),
);

fn reset_statistics(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.node.stats.reset();
    cx.node.errors.reset();
    cx.node.defrag.reset();
    cx.node.rates.reset();
    cx.node.lazyfreed.reset();
    cx.node.slot_stats.reset(|_| true);
    cx.node.used_peak.reset();
    cx.reply_ok()
}

/// CONFIG REWRITE -- brings the configuration file up to date.
const REWRITE: Command = admin(
    "rewrite",
    2,
    rewrite,
    Docs::new(
        "server",
        "2.8.0",
        "Rewrite the configuration file with the in memory configuration",
    )
    .complexity("O(1)"),
);

fn rewrite(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let Some(outcome) = rewrite_file(cx, false) else {
        return Err(CommandError::new(
            "ERR The server is running without a config file",
        ));
    };
    match outcome {
        Ok(()) => {
            tracing::warn!("CONFIG REWRITE executed with success.");
            cx.reply_ok()
        }
        Err(error) => {
            tracing::warn!("CONFIG REWRITE failed: {error}");
            let text = os_error_text(&error);
            Err(CommandError::owned(format!(
                "ERR Rewriting config file: {text}"
            )))
        }
    }
}

/// Brings the configuration file up to date, defaults included if `forces_all`. `None` if there is
/// no file.
pub(super) fn rewrite_file(cx: &Context<'_>, forces_all: bool) -> Option<io::Result<()>> {
    let file = cx.node.config_file.as_ref()?;
    // Users of an ACL file have no place here.
    let users = if cx.config.security.aclfile.is_empty() {
        cx.node.acl.lines()
    } else {
        Vec::new()
    };
    Some(cx.node.config.rewrite(file, &users, forces_all))
}
