//! What CONFIG SET does besides changing values that are read each time they are used.

use crate::config::directive::find;
use crate::config::{Change, Config, Live, Reject};
use crate::log;
use crate::oom_score::OomScore;

/// Makes the server follow changes of its configuration.
pub fn follow(config: &Live) {
    config.on_apply(&["loglevel"], |change| {
        log::set_level(change.new.process.loglevel as u8);
        Ok(())
    });
    config.on_apply(&["dir"], |change| {
        std::env::set_current_dir(&change.new.process.dir)
            .map_err(|error| crate::config::special::os_error_text(&error).into())
    });
    config.on_apply(&["maxclients"], raise_descriptor_limit);
    let oom_score = OomScore::default();
    if let Err(error) = oom_score.apply(&config.load(), false) {
        tracing::warn!("Unable to set oom_score_adj: {error}");
    }
    config.on_apply(&["oom-score-adj", "oom-score-adj-values"], move |change| {
        oom_score.apply(change.new, false).map_err(|error| {
            tracing::warn!("Unable to write oom_score_adj: {error}");
            "Failed to set current oom_score_adj. Check server logs.".into()
        })
    });
    config.on_apply(NOT_SERVED, |change| match not_served(change.new) {
        None => Ok(()),
        Some(_) => Err("not available in this version of EagleDB".into()),
    });
}

/// Directives whose promise this version cannot keep. To ignore them would leave a server open to
/// others, or without the copies somebody relies on, so any value but the default is refused.
const NOT_SERVED: &[&str] = &["tls-port", "tls-cluster", "tls-replication", "replicaof"];

/// The first directive of `config` that asks for what this version cannot do.
pub fn not_served(config: &Config) -> Option<&'static str> {
    let default = Config::default();
    let asks = |name: &&&str| {
        find(name.as_bytes()).is_some_and(|directive| !directive.is_same(config, &default))
    };
    NOT_SERVED.iter().find(asks).copied()
}

/// Descriptors the server needs besides those of its clients.
pub const OWN_DESCRIPTORS: u64 = 32;

/// Raises the limit of open files so that it allows `maxclients`, or refuses.
fn raise_descriptor_limit(change: &mut Change<'_>) -> Result<(), Reject> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let wanted = u64::from(change.new.clients.maxclients) + OWN_DESCRIPTORS;
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = limit.current.unwrap_or(u64::MAX);
    if allowed >= wanted {
        return Ok(());
    }
    limit.current = Some(wanted);
    if limit.maximum.is_none_or(|maximum| maximum >= wanted)
        && setrlimit(Resource::Nofile, limit).is_ok()
    {
        return Ok(());
    }
    let possible = limit
        .maximum
        .unwrap_or(allowed)
        .max(allowed)
        .saturating_sub(OWN_DESCRIPTORS);
    Err(format!(
        "The operating system is not able to handle the specified number of clients, try with {possible}"
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Caller;

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let live = Live::new(Config::default());
        follow(&live);
        let set = |name: &str, value: &str| {
            live.set_many(&[(name.as_bytes(), value.as_bytes())], Caller::default())
        };
        assert_eq!(not_served(&live.load()), None);
        assert_eq!(set("tls-port", "0"), Ok(()));
        assert!(set("tls-port", "7001").is_err());
        assert_eq!(set("min-slaves-to-write", "1"), Ok(()));
        assert_eq!(not_served(&live.load()), None);
        let mut config = Config::default();
        config.tls.tls_port = 7001;
        assert_eq!(not_served(&config), Some("tls-port"));
        assert!(
            NOT_SERVED
                .iter()
                .all(|name| find(name.as_bytes()).is_some())
        );
    }

    #[test]
    fn maxclients_beyond_the_system_is_refused_with_what_is_possible() {
        let live = Live::new(Config::default());
        follow(&live);
        let error = live.set_many(&[(b"maxclients", b"4294967295")], Caller::default());
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("is not able to handle the specified number of clients, try with "),
            "{text}"
        );
        assert_eq!(live.load().clients.maxclients, 10_000);
    }
}
