//! Where the server listens.

use crate::config::directive::topic;
use crate::config::kind::{INT_MAX, Octal, PORT, TEXT, YesNo, int};
use crate::config::special::{BindAddress, BindAddresses};

topic! {
    /// Listening sockets and TCP options.
    Network at network;

    /// Addresses to listen on.
    bind: Vec<BindAddress> = BindAddress::everywhere(), "bind", BindAddresses;
    /// Client port; 0 listens on none.
    port: u16 = 6379, "port", PORT;
    /// Length of the queue of connections not yet accepted.
    tcp_backlog: u32 = 511, "tcp-backlog", int(0, INT_MAX), IMMUTABLE;
    /// Path of the Unix socket; empty means none.
    unixsocket: String = String::new(), "unixsocket", TEXT, IMMUTABLE;
    /// Mode of the Unix socket; 0 leaves it to the umask.
    unixsocketperm: u32 = 0, "unixsocketperm", Octal { max: 0o777 }, IMMUTABLE;
    /// Seconds between TCP keep-alive probes; 0 sends none.
    tcp_keepalive: u32 = 300, "tcp-keepalive", int(0, INT_MAX);
    /// Source address of outgoing connections; empty leaves it to the kernel.
    bind_source_addr: String = String::new(), "bind-source-addr", TEXT;
    /// `SO_MARK` of listening sockets; 0 sets none.
    socket_mark_id: u32 = 0, "socket-mark-id", int(0, u32::MAX as i128), IMMUTABLE;
    /// Refuse clients from other hosts as long as the default user has no password.
    protected_mode: bool = true, "protected-mode", YesNo;
    /// Port of the metrics and health pages; 0 serves none.
    metrics_port: u16 = 0, "metrics-port", PORT, IMMUTABLE, OWN;
    /// Address of the metrics and health pages.
    metrics_bind: String = "127.0.0.1".to_owned(), "metrics-bind", TEXT, IMMUTABLE, OWN;
}
