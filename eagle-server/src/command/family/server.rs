//! Commands on the server as a whole: TIME, ROLE, LOLWUT, SHUTDOWN.

use super::info::data::with_primary;
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::forwarding::Forwarding;
use crate::command::saving;
use crate::command::spec::{Categories, Command, Docs, Family, Flags};
use crate::config::command_line::REDIS_VERSION;
use crate::repl::Phase;
use crate::shutdown::ShutdownRequest;
use std::time::{SystemTime, UNIX_EPOCH};

pub const FAMILY: Family = Family {
    name: "server",
    commands: &[&LOLWUT, &ROLE, &SHUTDOWN, &TIME],
};

/// TIME -- Unix time in seconds, and the microseconds of the second.
const TIME: Command = Command::new(
    "time",
    1,
    time,
    Docs::new("server", "2.6.0", "Return the current server time").complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE, Flags::FAST])
.tips(&["nondeterministic_output"])
.forwarded(Forwarding::Anywhere);

/// The one handler that reads the clock itself: the time of its batch has no microseconds.
fn time(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    cx.out.array(2);
    cx.out.bulk_display(now.as_secs());
    cx.out.bulk_display(now.subsec_micros());
    Ok(Flow::Done)
}

/// ROLE -- primary or replica, and of whom.
const ROLE: Command = Command::new(
    "role",
    1,
    role,
    Docs::new(
        "server",
        "2.8.12",
        "Return the role of the instance in the context of replication",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::NOSCRIPT, Flags::LOADING, Flags::STALE, Flags::FAST])
.family(Categories::ADMIN.with(Categories::DANGEROUS));

fn role(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let primary = with_primary(cx, |primary| (primary.ip.as_str().to_owned(), primary.port));
    match primary {
        Some((ip, port)) => {
            cx.out.array(5);
            cx.out.bulk("slave");
            cx.out.bulk(ip);
            cx.out.integer(port.into());
            // Not linked: nothing was ever received.
            cx.out.bulk("connect");
            cx.out.integer(-1);
        }
        None => {
            cx.out.array(3);
            cx.out.bulk("master");
            cx.out.integer(cx.node.keyspace.ring_head() as i64);
            let mut replicas = cx.node.replicas.all();
            replicas.retain(|replica| replica.phase() == Phase::Online);
            cx.out.array(replicas.len());
            for replica in &replicas {
                cx.out.array(3);
                cx.out.bulk(replica.address());
                cx.out.bulk_display(replica.offer.port);
                cx.out.bulk_display(replica.acked());
            }
        }
    }
    Ok(Flow::Done)
}

/// LOLWUT [VERSION version] -- a picture, and the version.
const LOLWUT: Command = Command::new(
    "lolwut",
    -1,
    lolwut,
    Docs::new(
        "server",
        "5.0.0",
        "Display some computer art and the Redis version",
    )
    .syntax("[VERSION version]"),
)
.flags(&[Flags::READONLY, Flags::FAST]);

const EAGLE: &str = r"
   __                          __
     \\\_                  _///
       \\\\_    ____    _////
         \\\\\_/ o  \_/////
            \\\   /|\ ///
              \\_/ |_//
                 \_|/
                  ''
";

fn lolwut(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    // There is one picture, whichever version's is asked for.
    if args.len() > 1 && args.accept("VERSION") {
        args.integer()?;
    }
    cx.out.verbatim(
        b"txt",
        format!(
            "{EAGLE}\nEagleDB {}. Redis ver. {REDIS_VERSION}\n",
            env!("CARGO_PKG_VERSION")
        ),
    );
    Ok(Flow::Done)
}

/// SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT] -- ends the server; there is no reply if it does.
const SHUTDOWN: Command = Command::new(
    "shutdown",
    -1,
    shutdown,
    Docs::new(
        "server",
        "1.0.0",
        "Synchronously save the dataset to disk and then shut down the server",
    )
    .complexity(
        "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
    )
    .syntax("[NOSAVE | SAVE] [NOW]{7.0.0} [FORCE]{7.0.0} [ABORT]{7.0.0}")
    .history(&[(
        "7.0.0",
        "Added the `NOW`, `FORCE` and `ABORT` modifiers.",
    )]),
)
.flags(&[
    Flags::ADMIN,
    Flags::NOSCRIPT,
    Flags::LOADING,
    Flags::STALE,
    Flags::NO_MULTI,
    Flags::ALLOW_BUSY,
]);

/// What the words of SHUTDOWN ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct ShutdownOptions {
    abort: bool,
    request: ShutdownRequest,
}

impl ShutdownOptions {
    fn parse(mut args: Args<'_>) -> Result<ShutdownOptions, CommandError> {
        let mut options = ShutdownOptions::default();
        let request = &mut options.request;
        while !args.is_empty() {
            let save = match () {
                () if args.accept("NOSAVE") => Some(false),
                () if args.accept("SAVE") => Some(true),
                () if args.accept("NOW") => {
                    request.now = true;
                    None
                }
                () if args.accept("FORCE") => {
                    request.force = true;
                    None
                }
                () if args.accept("ABORT") => {
                    options.abort = true;
                    None
                }
                () => return Err(errors::SYNTAX),
            };
            if save.is_some() {
                if request.save.is_some_and(|said| Some(said) != save) {
                    return Err(errors::SYNTAX);
                }
                request.save = save;
            }
        }
        if options.abort && options.request != ShutdownRequest::default() {
            return Err(errors::SYNTAX);
        }
        Ok(options)
    }
}

fn shutdown(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let options = ShutdownOptions::parse(args)?;
    if options.abort {
        if !cx.node.shutdown.abort() {
            return Err(CommandError::new("ERR No shutdown in progress."));
        }
        tracing::info!("Shutdown manually aborted.");
        return cx.reply_ok();
    }
    let node = cx.thread.node.clone();
    if !saving::is_wanted_at_shutdown(&node, options.request) {
        node.shutdown.begin(options.request);
        cx.session.closing = true;
        return Ok(Flow::Done);
    }
    Ok(Flow::Later(Box::pin(async move {
        if saving::shut_down(node, options.request).await {
            // There is no reply; the connection ends with the server.
            return Vec::new();
        }
        b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n".to_vec()
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<ShutdownOptions, CommandError> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        ShutdownOptions::parse(Args::new(&words, 0))
    }

    #[test]
    fn shutdown_takes_options_in_any_order_and_refuses_contradictions() {
        assert_eq!(parse(&[]), Ok(ShutdownOptions::default()));
        let all = parse(&["now", "NOSAVE", "Force", "now"]).unwrap();
        assert!(all.request.now && all.request.force && all.request.save == Some(false));
        assert!(parse(&["abort"]).unwrap().abort);
        for words in [
            &["save", "nosave"][..],
            &["abort", "now"],
            &["abort", "nosave"],
            &["x"],
        ] {
            assert_eq!(parse(words), Err(errors::SYNTAX), "{words:?}");
        }
    }
}
