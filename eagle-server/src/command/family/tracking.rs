//! CLIENT TRACKING and what belongs to it: telling clients when their copies of keys are out of date.

use super::client::own;
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::Command;
use crate::session::CachingFlags;

/// CLIENT TRACKING <ON | OFF> [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]
pub(super) const TRACKING: Command = {
    let mut row = own(
        "tracking",
        -3,
        tracking,
        "6.0.0",
        "Enable or disable server assisted client side caching support",
    );
    row.docs = row
        .docs
        .complexity("O(1). Some options may introduce additional complexity.")
        .syntax(
            "status=<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] \
             [NOLOOP]",
        );
    row
};

/// The options of CLIENT TRACKING.
#[derive(Default)]
struct Options<'a> {
    flags: CachingFlags,
    redirect: u64,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(cx: &Context<'_>, args: &mut Args<'a>) -> Result<Options<'a>, CommandError> {
        let mut options = Options::default();
        while !args.is_empty() {
            let has_value = args.len() > 1;
            if has_value && args.accept("redirect") {
                if options.redirect != 0 {
                    return Err(CommandError::new(
                        "ERR A client can only redirect to a single other client",
                    ));
                }
                // Any integer is taken; one that is no client's is refused as such, but for 0, which means none.
                let id = args.integer()? as u64;
                if cx.node.clients.find(id).is_none() {
                    return Err(CommandError::new(
                        "ERR The client ID you want redirect to does not exist",
                    ));
                }
                options.redirect = id;
            } else if has_value && args.accept("prefix") {
                options.prefixes.push(args.word()?);
            } else {
                const FLAGS: [(&str, CachingFlags); 4] = [
                    ("bcast", CachingFlags::BCAST),
                    ("optin", CachingFlags::OPTIN),
                    ("optout", CachingFlags::OPTOUT),
                    ("noloop", CachingFlags::NOLOOP),
                ];
                let flag = FLAGS.iter().find(|(word, _)| args.accept(word));
                let (_, flag) = flag.ok_or(errors::SYNTAX)?;
                options.flags = options.flags.with(*flag);
            }
        }
        Ok(options)
    }

    /// Whether the options agree with one another and with what is in force.
    fn check(&self, now: CachingFlags, known: &[Box<[u8]>]) -> Result<(), CommandError> {
        let bcast = self.flags.has(CachingFlags::BCAST);
        let (optin, optout) = (
            self.flags.has(CachingFlags::OPTIN),
            self.flags.has(CachingFlags::OPTOUT),
        );
        let error = if !bcast && !self.prefixes.is_empty() {
            "ERR PREFIX option requires BCAST mode to be enabled"
        } else if now.has(CachingFlags::ON) && now.has(CachingFlags::BCAST) != bcast {
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling \
             it with a different mode."
        } else if bcast && (optin || optout) {
            "ERR OPTIN and OPTOUT are not compatible with BCAST"
        } else if optin && optout {
            "ERR You can't specify both OPTIN mode and OPTOUT mode"
        } else if (optin && now.has(CachingFlags::OPTOUT))
            || (optout && now.has(CachingFlags::OPTIN))
        {
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling \
             it with a different mode."
        } else {
            return self.check_prefixes(known);
        };
        Err(CommandError::new(error))
    }

    /// A key must have one of a client's prefixes at most.
    fn check_prefixes(&self, known: &[Box<[u8]>]) -> Result<(), CommandError> {
        let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
        let refusal = |prefix: &[u8], what: &str, other: &[u8]| {
            CommandError::quoting(&[
                b"ERR Prefix '",
                prefix,
                b"' overlaps with ",
                what.as_bytes(),
                b" prefix '",
                other,
                b"'. Prefixes for a single client must not overlap.",
            ])
        };
        for (index, prefix) in self.prefixes.iter().enumerate() {
            if let Some(other) = known.iter().filter(|other| overlap(prefix, other)).min() {
                return Err(refusal(prefix, "an existing", other));
            }
            let mut others = self.prefixes[index + 1..].iter();
            if let Some(other) = others.find(|other| overlap(prefix, other)) {
                return Err(refusal(prefix, "another provided", other));
            }
        }
        Ok(())
    }
}

fn tracking(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let status = args.word()?;
    let options = Options::parse(cx, &mut args)?;
    let info = cx.session.info.clone();
    if status.eq_ignore_ascii_case(b"on") {
        let known = info.caching.prefixes().clone();
        options.check(info.caching.flags(), &known)?;
        cx.asks_anew();
        cx.node
            .start_tracking(&info, options.flags, options.redirect, &options.prefixes);
    } else if status.eq_ignore_ascii_case(b"off") {
        cx.asks_anew();
        cx.node.stop_tracking(&info);
        cx.session.caching_said = false;
    } else {
        return Err(errors::SYNTAX);
    }
    cx.reply_ok()
}

/// CLIENT CACHING <YES | NO> -- whether the keys of the next command are tracked.
pub(super) const CACHING: Command = {
    let mut row = own(
        "caching",
        3,
        caching,
        "6.0.0",
        "Instruct the server about tracking or not keys in the next request",
    );
    row.docs = row.docs.syntax("mode=<YES | NO>");
    row
};

fn caching(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let flags = cx.session.info.caching.flags();
    if !flags.has(CachingFlags::ON) {
        return Err(CommandError::new(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
             enabled",
        ));
    }
    if args.accept("yes") {
        if !flags.has(CachingFlags::OPTIN) {
            return Err(CommandError::new(
                "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
            ));
        }
    } else if args.accept("no") {
        if !flags.has(CachingFlags::OPTOUT) {
            return Err(CommandError::new(
                "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
            ));
        }
    } else {
        return Err(errors::SYNTAX);
    }
    cx.session.caching_said = true;
    cx.reply_ok()
}

/// CLIENT GETREDIR -- the client that gets the invalidations instead; 0 if none, -1 if nothing is tracked.
pub(super) const GETREDIR: Command = own(
    "getredir",
    2,
    getredir,
    "6.0.0",
    "Get tracking notifications redirection client ID if any",
);

fn getredir(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_integer(redirection(cx))
}

fn redirection(cx: &Context<'_>) -> i64 {
    let caching = &cx.session.info.caching;
    if caching.flags().has(CachingFlags::ON) {
        caching.redirect() as i64
    } else {
        -1
    }
}

/// CLIENT TRACKINGINFO -- what is in force.
pub(super) const TRACKINGINFO: Command = own(
    "trackinginfo",
    2,
    trackinginfo,
    "6.2.0",
    "Return information about server assisted client side caching for the current connection",
);

fn trackinginfo(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    let info = cx.session.info.clone();
    let flags = info.caching.flags();
    let said = cx.session.caching_said;
    let words: Vec<&str> = [
        (!flags.has(CachingFlags::ON), "off"),
        (flags.has(CachingFlags::ON), "on"),
        (flags.has(CachingFlags::BCAST), "bcast"),
        (flags.has(CachingFlags::OPTIN), "optin"),
        (flags.has(CachingFlags::OPTIN) && said, "caching-yes"),
        (flags.has(CachingFlags::OPTOUT), "optout"),
        (flags.has(CachingFlags::OPTOUT) && said, "caching-no"),
        (flags.has(CachingFlags::NOLOOP), "noloop"),
        (flags.has(CachingFlags::BROKEN), "broken_redirect"),
    ]
    .into_iter()
    .filter_map(|(holds, word)| holds.then_some(word))
    .collect();
    cx.out.map(3);
    cx.out.bulk("flags");
    cx.out.set(words.len());
    words.iter().for_each(|word| cx.out.bulk(word));
    cx.out.bulk("redirect");
    cx.out.integer(redirection(cx));
    cx.out.bulk("prefixes");
    let mut prefixes = info.caching.prefixes().clone();
    prefixes.sort_unstable();
    cx.out.array(prefixes.len());
    prefixes.iter().for_each(|prefix| cx.out.bulk(prefix));
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: CachingFlags, prefixes: &[&'static [u8]], now: CachingFlags) -> String {
        let options = Options {
            flags,
            redirect: 0,
            prefixes: prefixes.to_vec(),
        };
        let known: &[Box<[u8]>] = &[(*b"old:").into()];
        options
            .check(now, known)
            .map_or_else(|error| error.text().into_owned(), |()| "fine".to_owned())
    }

    #[test]
    fn prefixes_of_one_client_do_not_overlap() {
        let bcast = CachingFlags::BCAST;
        assert_eq!(check(bcast, &[b"a", b"b"], bcast), "fine");
        let text = "ERR Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client must not \
                    overlap.";
        assert_eq!(check(bcast, &[b"c", b"a", b"ab"], bcast), text);
        let text = "ERR Prefix 'o' overlaps with an existing prefix 'old:'. Prefixes for a single client must not \
                    overlap.";
        assert_eq!(check(bcast, &[b"o"], bcast), text);
    }

    #[test]
    fn modes_exclude_one_another() {
        let (on, none) = (CachingFlags::ON, CachingFlags::default());
        let refused = |flags: CachingFlags, now: CachingFlags| check(flags, &[], now) != "fine";
        assert!(refused(CachingFlags::BCAST, on));
        assert!(refused(none, on.with(CachingFlags::BCAST)));
        assert!(refused(CachingFlags::BCAST.with(CachingFlags::OPTIN), none));
        assert!(refused(
            CachingFlags::OPTIN.with(CachingFlags::OPTOUT),
            none
        ));
        assert!(refused(CachingFlags::OPTIN, on.with(CachingFlags::OPTOUT)));
        assert!(!refused(CachingFlags::OPTIN, on));
        assert!(check(none, &[b"a"], none).contains("requires BCAST"));
    }
}
