//! What the server does for a running script: the way back up, so that scripts know nothing of commands.

use eagle_core::resp::Protocol;
use scoped_tls_hkt::scoped_thread_local;

/// Why a command did not run for a script.
#[derive(Debug)]
pub enum Refusal {
    /// The script is told; `-CODE text` or a text without code.
    Told(Vec<u8>),
    /// The script has to end: it is killed, or has to begin again with more locked.
    Stop,
}

/// The server, as the script that runs now sees it.
pub trait Host {
    /// Runs a command as part of the script; its reply goes to `reply`.
    fn call(&mut self, argv: &[&[u8]], reply: &mut Vec<u8>) -> Result<(), Refusal>;

    /// The protocol in which the script wants its replies.
    fn set_protocol(&mut self, protocol: Protocol);

    /// Where the effects of the commands that follow are to go.
    fn set_replication(&mut self, flags: u8);

    /// Whether the caller's user may run a command; nothing if there is no such command.
    fn may_run(&self, argv: &[&[u8]]) -> Option<bool>;

    /// Called now and then while the script runs: lets the server live. What it says ends the script.
    fn interrupt(&mut self) -> Option<Vec<u8>>;
}

scoped_thread_local! {
    /// The host of the script that this thread runs.
    static mut HOST: for<'a> &'a mut (dyn Host + 'a)
}

/// Runs `body`, in which scripts have a host.
pub(super) fn enter<T>(host: &mut (dyn Host + '_), body: impl FnOnce() -> T) -> T {
    HOST.set(host, body)
}

/// Calls the host, if a script runs.
pub(super) fn with<T>(call: impl FnOnce(&mut (dyn Host + '_)) -> T) -> Option<T> {
    if HOST.is_set() {
        Some(HOST.with(call))
    } else {
        None
    }
}
