//! One server process: EagleDB or redis-server, started with the same command line.
//!
//! A server owns a temporary directory and its port, is killed when
//! the value is dropped, and dies with the thread that started it, so a test that is itself killed
//! leaves nothing behind. When the test panics, the end of the server's log goes to the test output.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::port::Port;
use crate::{Client, binary, tool, wait_for, wait_until};

/// How long a start may take; generous, because the machine may be building at the same time.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a log is shown when a test fails.
const SHOWN_LINES_MAX: usize = 60;

/// Which program a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server under test.
    EagleDb,
    /// The reference, redis-server 7.0.15.
    Redis,
}

/// How to start a server. Options are those of the `redis-server` command line.
#[derive(Clone, Debug)]
pub struct Launch {
    kind: Kind,
    options: Vec<String>,
    /// Text of the configuration file, if there is one.
    config_file: Option<String>,
}

impl Launch {
    /// The server under test. `EAGLEDB_ARGS` (words) are added to its command line.
    pub fn eagledb() -> Launch {
        let mut launch = Launch::new(Kind::EagleDb);
        let extra = std::env::var("EAGLEDB_ARGS").unwrap_or_default();
        launch
            .options
            .extend(extra.split_whitespace().map(str::to_owned));
        launch
    }

    /// The reference server.
    pub fn redis() -> Launch {
        Launch::new(Kind::Redis)
    }

    /// A server of either kind.
    pub fn of(kind: Kind) -> Launch {
        match kind {
            Kind::EagleDb => Launch::eagledb(),
            Kind::Redis => Launch::redis(),
        }
    }

    fn new(kind: Kind) -> Launch {
        let launch = Launch {
            kind,
            options: Vec::new(),
            config_file: None,
        };
        launch
            .option("bind", "127.0.0.1")
            .option("save", "")
            .option("enable-debug-command", "yes")
    }

    /// Adds `--name value`.
    pub fn option(mut self, name: &str, value: &str) -> Launch {
        self.options.extend([format!("--{name}"), value.to_owned()]);
        self
    }

    /// Gives it a configuration file, `redis.conf` in its directory; options go before it.
    pub fn config_file(self, text: &str) -> Launch {
        Launch {
            config_file: Some(text.to_owned()),
            ..self
        }
    }

    /// Makes it a cluster node with the given node timeout.
    pub fn cluster_node(self, node_timeout_ms: u32) -> Launch {
        self.option("cluster-enabled", "yes")
            .option("cluster-node-timeout", &node_timeout_ms.to_string())
    }

    /// Starts a cluster of one node, which has all slots.
    pub fn start_alone(self) -> Server {
        let server = self.cluster_node(15_000).start();
        let mut client = server.client();
        client
            .call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
            .ok();
        wait_until("the cluster to be up", START_TIMEOUT, || {
            client.cluster_info("cluster_state") == "ok"
        });
        server
    }

    /// Starts the server in a directory of its own and waits until it accepts connections.
    pub fn start(self) -> Server {
        let dir = TempDir::new().expect("the temporary directory is writable");
        let mut server = Server {
            launch: self,
            port: Port::claim(),
            dir,
            child: None,
            log_mark: 0,
        };
        if let Some(text) = &server.launch.config_file {
            std::fs::write(server.config_path(), text).expect("the directory is writable");
        }
        server.start();
        server
    }
}

/// Runs the server under test to its own end, for command lines it must refuse: `arguments` is the
/// whole command line, `dir` the working directory.
pub fn run_to_exit(dir: &Path, arguments: &[&str]) -> tool::Finished {
    let chdir = format!("--chdir={}", dir.display());
    let program = binary::eagledb().display().to_string();
    let line: Vec<&str> = [chdir.as_str(), program.as_str()]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    tool::run("env", &line, "", Duration::from_secs(20))
}

/// Runs `eagledb pool check` on the pool file of a server that is not running.
#[track_caller]
pub fn check_pool(pool: &Path) {
    let line = ["pool".as_ref(), "check".as_ref(), pool.as_os_str()];
    tool::run(binary::eagledb(), &line, "", Duration::from_secs(120)).success();
}

/// A server process and what belongs to it.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    port: Port,
    dir: TempDir,
    child: Option<Child>,
    /// Length of the log when the process was started last.
    log_mark: usize,
}

impl Server {
    /// Starts the process again after it ended, with the same port and directory, and waits until
    /// it accepts connections.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    /// Starts the process without waiting for anything.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the server is running");
        self.log_mark = self.log().len();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the log is writable");
        let program = match self.launch.kind {
            Kind::EagleDb => binary::eagledb(),
            Kind::Redis => binary::redis_server(),
        };
        // setpriv(1) sets the parent-death signal and becomes the server: one process, one pid.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(self.launch.config_file.as_ref().map(|_| self.config_path()))
            .args(["--port", &self.port().to_string(), "--dir"])
            .arg(self.dir())
            .args(&self.launch.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file descriptor is free"))
            .stderr(log)
            .spawn()
            .expect("setpriv(1) runs");
        self.child = Some(child);
    }

    /// Waits until the running process accepts connections.
    pub fn wait_ready(&mut self) {
        let what = format!("{:?} on port {} to start", self.launch.kind, self.port());
        wait_until(&what, START_TIMEOUT, || {
            if let Some(status) = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().expect("own child"))
            {
                panic!("the server ended while starting: {status}");
            }
            self.log()[self.log_mark..].contains("Ready to accept connections")
        });
    }

    /// Kills the process as a crash would: SIGKILL, nothing flushed, nothing said.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("the server is running");
        child.kill().expect("own child");
        child.wait().expect("own child");
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("own child");
    }

    /// Asks the process to end with SIGTERM and waits for it.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit()
    }

    /// Waits for the process to end by itself.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server is running");
        wait_for("the server to end", Duration::from_secs(20), || {
            child.try_wait().expect("own child")
        })
    }

    /// Adds an option for the starts to come.
    pub fn set_option(&mut self, name: &str, value: &str) {
        self.launch = self.launch.clone().option(name, value);
    }

    /// Whether `name` was given on the command line.
    pub fn is_started_with(&self, name: &str) -> bool {
        let flag = format!("--{name}");
        self.launch.options.contains(&flag)
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.port())
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", self.port()))
    }

    /// Runs `redis-cli -p PORT args`.
    pub fn cli(&self, args: &[&str]) -> tool::Finished {
        let port = self.port().to_string();
        tool::redis_cli(&[&["-p", &port], args].concat())
    }

    /// Which program runs here.
    pub fn kind(&self) -> Kind {
        self.launch.kind
    }

    /// The client port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `127.0.0.1:port`, as cluster tools want it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The working directory, with the pool and `nodes.conf`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The pool file, when this server keeps its keyspace in one. Asks the running server.
    pub fn pool_path(&self) -> Option<PathBuf> {
        let reply = self.client().call(&["CONFIG", "GET", "pool-path"]);
        let path = reply.items().get(1)?.text();
        (!path.is_empty()).then(|| self.dir().join(path))
    }

    /// The pid of the running process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("the server is running"))
    }

    /// Everything the server printed so far, over all its starts; foreign bytes are replaced.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        bytes
            .iter()
            .map(|&byte| {
                if byte.is_ascii() {
                    char::from(byte)
                } else {
                    '?'
                }
            })
            .collect()
    }

    /// The configuration file of a server launched with one.
    pub fn config_path(&self) -> PathBuf {
        self.dir().join("redis.conf")
    }

    fn log_path(&self) -> PathBuf {
        self.dir().join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A stopped process takes SIGKILL too; a failure means it is already gone.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join("\n");
            eprintln!(
                "--- log of {:?} on port {}:\n{shown}\n---",
                self.kind(),
                self.port()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_restarts_on_its_port_and_dies_with_its_owner() {
        let mut server = Launch::redis().start();
        assert_eq!(server.client().call(&["PING"]).text(), "PONG");
        let port = server.port();
        server.kill9();
        assert!(Client::connect(port).is_err());
        server.start();
        assert_eq!(server.client().call(&["PING"]).text(), "PONG");
        assert!(server.stop().success());
        server.start();
        drop(server);
        assert!(Client::connect(port).is_err());
    }
}
