//! What CONFIG SET does besides changing values that are read each time they are used.

use crate::config::{Change, Live, Reject};
use crate::log;

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
    config.on_apply(&["activedefrag"], |change| {
        match change.new.inert.activedefrag {
            false => Ok(()),
            true => {
                Err("Active defragmentation cannot be enabled: the pool does not need it".into())
            }
        }
    });
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
