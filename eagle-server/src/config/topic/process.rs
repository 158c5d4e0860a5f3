//! The process: its directory, logs, signals, threads and standing towards the operating system.

use crate::config::directive::topic;
use crate::config::kind::{INT_MAX, LONG_MAX, OneOf, TEXT, Text, YesNo, choices, int};
use crate::config::special::{Directory, OomScores, ShutdownWords, SignalShutdown};

choices! {
    /// The least severe message that is logged.
    pub enum LogLevel {
        Debug = "debug",
        Verbose = "verbose",
        Notice = "notice",
        Warning = "warning",
    }
}

choices! {
    /// The service manager that is told of readiness.
    pub enum Supervision {
        Upstart = "upstart",
        Systemd = "systemd",
        /// Whichever the environment names.
        Auto = "auto",
        None = "no",
    }
}

choices! {
    /// Facility of syslog messages.
    pub enum SyslogFacility {
        User = "user",
        Local0 = "local0",
        Local1 = "local1",
        Local2 = "local2",
        Local3 = "local3",
        Local4 = "local4",
        Local5 = "local5",
        Local6 = "local6",
        Local7 = "local7",
    }
}

choices! {
    /// How `oom-score-adj-values` are applied.
    pub enum OomScoreAdjust {
        Off = "no",
        /// The same as `relative`.
        On = "yes",
        /// Added to the score the process started with.
        Relative = "relative",
        Absolute = "absolute",
    }
}

topic! {
    /// The process and its surroundings.
    Process at process;

    /// Working directory, absolute: where the pool, snapshots and logs with relative names live.
    dir: String = ".".to_owned(), "dir", Directory, PROTECTED, DENY_LOADING;
    /// Numbered databases; a cluster goes by `cluster-databases`.
    databases: u32 = 16, "databases", int(1, INT_MAX), IMMUTABLE;
    /// Threads that serve clients; 0 means one per core.
    worker_threads: u32 = 0, "worker-threads", int(0, 1024), IMMUTABLE, OWN;
    /// Detach from the terminal.
    daemonize: bool = false, "daemonize", YesNo, IMMUTABLE;
    /// The service manager to report to.
    supervised: Supervision = Supervision::None, "supervised", OneOf, IMMUTABLE;
    /// File that holds the process id while the server runs; empty means none unless daemonized.
    pidfile: String = String::new(), "pidfile", TEXT, IMMUTABLE;
    /// The least severe message that is logged.
    loglevel: LogLevel = LogLevel::Notice, "loglevel", OneOf;
    /// File to log to; empty means standard output.
    logfile: String = String::new(), "logfile", TEXT, IMMUTABLE;
    /// Log to syslog as well.
    syslog_enabled: bool = false, "syslog-enabled", YesNo, IMMUTABLE;
    /// Program name in syslog messages.
    syslog_ident: String = "redis".to_owned(), "syslog-ident", TEXT, IMMUTABLE;
    /// Facility of syslog messages.
    syslog_facility: SyslogFacility = SyslogFacility::Local0, "syslog-facility", OneOf, IMMUTABLE;
    /// Print the banner even when the log is no terminal.
    always_show_logo: bool = false, "always-show-logo", YesNo, IMMUTABLE;
    /// Change the process title.
    set_proc_title: bool = true, "set-proc-title", YesNo, IMMUTABLE;
    /// Template of the process title.
    proc_title_template: String = "{title} {listen-addr} {server-mode}".to_owned(),
        "proc-title-template", Text { check: check_title_template };
    /// Log a report when the process is ended by a fault.
    crash_log_enabled: bool = true, "crash-log-enabled", YesNo;
    /// Adjust the kernel's out-of-memory score.
    oom_score_adj: OomScoreAdjust = OomScoreAdjust::Off, "oom-score-adj", OneOf;
    /// Scores as primary, as replica and of background children.
    oom_score_adj_values: [i32; 3] = [0, 200, 800], "oom-score-adj-values", OomScores;
    /// Keep transparent huge pages off the process's private memory.
    disable_thp: bool = true, "disable-thp", YesNo, IMMUTABLE;
    /// Runs of the periodic work per second, 1 to 500; other values are moved into these bounds.
    hz: u32 = 10, "hz", int(0, INT_MAX);
    /// Run the periodic work more often when there are many clients.
    dynamic_hz: bool = true, "dynamic-hz", YesNo;
    /// Milliseconds after which a script may be killed and other clients are answered BUSY; 0 never.
    busy_reply_threshold: u64 = 5000, "busy-reply-threshold" | "lua-time-limit", int(0, LONG_MAX);
    /// Seconds SHUTDOWN waits for replicas to catch up.
    shutdown_timeout: u32 = 10, "shutdown-timeout", int(0, INT_MAX);
    /// What SIGINT does.
    shutdown_on_sigint: SignalShutdown = SignalShutdown::default(), "shutdown-on-sigint", ShutdownWords;
    /// What SIGTERM does.
    shutdown_on_sigterm: SignalShutdown = SignalShutdown::default(), "shutdown-on-sigterm", ShutdownWords;
    /// Names of start-up warnings not to print.
    ignore_warnings: String = String::new(), "ignore-warnings", TEXT;
}

/// Variables a process title template may contain.
pub const TITLE_VARIABLES: [&str; 7] = [
    "title",
    "listen-addr",
    "server-mode",
    "port",
    "tls-port",
    "unixsocket",
    "config-file",
];

fn check_title_template(template: &str) -> Result<(), &'static str> {
    const INVALID: &str = "template format is invalid or contains unknown variables";
    let mut rest = template;
    while let Some((_, tail)) = rest.split_once('{') {
        let (variable, tail) = tail.split_once('}').ok_or(INVALID)?;
        if !TITLE_VARIABLES.contains(&variable) {
            return Err(INVALID);
        }
        rest = tail;
    }
    // A title of nothing is no title.
    if template.is_empty() {
        Err(INVALID)
    } else {
        Ok(())
    }
}
