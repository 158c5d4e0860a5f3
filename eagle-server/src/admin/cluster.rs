//! `eagledb cluster start`: a whole cluster on this machine, in one command.
//!
//! Each node is a process of its own, in a folder of its own, exactly as if started by hand. The
//! first run joins them and deals the slots out; later runs find their `nodes.conf` and pools.

use super::client::Client;
use super::manifest::Manifest;
use clap::{Args, Subcommand};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Subcommand)]
pub enum Action {
    /// Start a local cluster, and stop it on Ctrl-C. Started again, it has its data again.
    Start(Start),
}

#[derive(Args)]
pub struct Start {
    /// Number of nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    nodes: u16,
    /// Folder of the nodes' data.
    #[arg(long, default_value = "eagledb-cluster")]
    dir: PathBuf,
    /// Port of the first node; the others follow. Bus ports are 10000 higher.
    #[arg(long, default_value_t = 7000)]
    base_port: u16,
    /// More options for every node, as on the command line of a server: `-- --maxclients 100`.
    #[arg(last = true)]
    options: Vec<String>,
}

const SLOTS: u16 = 16384;
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

pub fn run(action: Action) -> ExitCode {
    let Action::Start(start) = action;
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Can't start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(start.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eagledb: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A node's process. Dropped, it is told to end and waited for.
struct Node {
    port: u16,
    process: Child,
}

impl Start {
    async fn run(&self) -> Result<(), String> {
        let stop = stop_signal().map_err(|error| format!("can't watch for signals: {error}"))?;
        let last = u32::from(self.base_port) + u32::from(self.nodes) - 1;
        if last > 55_535 {
            return Err(format!(
                "port {last} is too high: its bus port would be above 65535"
            ));
        }
        let is_new = self.remember()?;
        let start = async {
            let mut nodes = Vec::new();
            for port in self.ports() {
                nodes.push(self.start_node(port)?);
            }
            for node in &mut nodes {
                wait_until_ready(node).await?;
                println!(
                    "Node 127.0.0.1:{} is up (pid {})",
                    node.port,
                    node.process.id()
                );
            }
            if is_new || !self.is_formed()? {
                self.form()?;
                println!("{SLOTS} slots dealt out to {} nodes", self.nodes);
            }
            self.wait_until_ok(&mut nodes).await?;
            Ok::<_, String>(nodes)
        };
        tokio::pin!(stop);
        let mut nodes = tokio::select! {
            started = start => started?,
            () = &mut stop => return Ok(()),
        };
        println!("\nThe cluster is ready: cluster_state:ok");
        println!(
            "  redis-cli -c -p {}          connect; any of the ports will do",
            self.base_port
        );
        println!("  redis-cli --cluster check 127.0.0.1:{}", self.base_port);
        println!(
            "Data and logs are in {}. Ctrl-C stops the cluster; this command starts it again.",
            self.dir.display()
        );
        tokio::select! {
            () = stop => println!("\nStopping the cluster"),
            ended = first_to_end(&mut nodes) => return Err(ended),
        }
        drop(nodes);
        println!("Stopped.");
        Ok(())
    }

    fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        self.base_port..self.base_port + self.nodes
    }

    /// Compares with the cluster that lives in the folder, or takes note of the new one; whether it
    /// is new.
    fn remember(&self) -> Result<bool, String> {
        std::fs::create_dir_all(&self.dir)
            .map_err(|error| format!("can't create {}: {error}", self.dir.display()))?;
        let path = self.dir.join("cluster.manifest");
        let wanted = Manifest {
            nodes: self.nodes,
            base_port: self.base_port,
        };
        match Manifest::read(&path).map_err(|error| format!("{}: {error}", path.display()))? {
            Some(found) if found == wanted => Ok(false),
            Some(found) => Err(format!(
                "{} holds a cluster of {} nodes from port {}; start it with --nodes {} --base-port {}, or choose \
                 another --dir",
                self.dir.display(),
                found.nodes,
                found.base_port,
                found.nodes,
                found.base_port
            )),
            None => {
                wanted
                    .write(&path)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                Ok(true)
            }
        }
    }

    fn start_node(&self, port: u16) -> Result<Node, String> {
        for port in [port, port + 10_000] {
            std::net::TcpListener::bind(("127.0.0.1", port))
                .map_err(|error| format!("port {port}: {error}"))?;
        }
        let folder = self.dir.join(port.to_string());
        let failed = |error: io::Error| format!("can't start the node at port {port}: {error}");
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let folder = std::path::absolute(&folder).map_err(failed)?;
        let process = Command::new(std::env::current_exe().map_err(failed)?)
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--cluster-enabled",
                "yes",
            ])
            .arg("--dir")
            .arg(&folder)
            .arg("--logfile")
            .arg(folder.join("eagledb.log"))
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // In a group of its own, so that Ctrl-C reaches only this process, which ends the nodes.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Node { port, process })
    }

    /// Whether an earlier run got as far as joining the nodes.
    fn is_formed(&self) -> Result<bool, String> {
        let mut known = 0;
        for port in self.ports() {
            known =
                known.max(cluster_info(port, "cluster_slots_assigned").map_err(failed_at(port))?);
        }
        Ok(known > 0)
    }

    /// Joins the nodes and deals the slots out evenly.
    fn form(&self) -> Result<(), String> {
        let count = u32::from(self.nodes);
        for (index, port) in (0u32..).zip(self.ports()) {
            let orders = || -> io::Result<()> {
                let mut client = Client::connect(port)?;
                let bound = |index: u32| (u32::from(SLOTS) * index / count).to_string();
                let last = u32::from(SLOTS) * (index + 1) / count - 1;
                client.call(&["CLUSTER", "ADDSLOTSRANGE", &bound(index), &last.to_string()])?;
                client.call(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])?;
                if index > 0 {
                    client.call(&["CLUSTER", "MEET", "127.0.0.1", &self.base_port.to_string()])?;
                }
                Ok(())
            };
            orders().map_err(failed_at(port))?;
        }
        Ok(())
    }

    /// Waits until every node knows every other and finds the cluster in order.
    async fn wait_until_ok(&self, nodes: &mut [Node]) -> Result<(), String> {
        let deadline = Instant::now() + READY_TIMEOUT;
        for node in nodes {
            loop {
                check_alive(node)?;
                let mut client = Client::connect(node.port).map_err(failed_at(node.port))?;
                let info = client
                    .text(&["CLUSTER", "INFO"])
                    .map_err(failed_at(node.port))?;
                let knows_all = field(&info, "cluster_known_nodes")
                    .is_some_and(|known| known >= u64::from(self.nodes));
                if info.contains("cluster_state:ok") && knows_all {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(format!(
                        "the cluster did not come up; node {} says:\n{info}",
                        node.port
                    ));
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }
}

fn failed_at(port: u16) -> impl Fn(io::Error) -> String {
    move |error| format!("node 127.0.0.1:{port}: {error}")
}

fn cluster_info(port: u16, name: &str) -> io::Result<u64> {
    let info = Client::connect(port)?.text(&["CLUSTER", "INFO"])?;
    field(&info, name).ok_or_else(|| io::Error::other(format!("CLUSTER INFO has no {name}")))
}

fn field(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(':')?
            .trim()
            .parse()
            .ok()
    })
}

/// Completes on SIGINT and on SIGTERM.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut int, mut term) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
    })
}

async fn wait_until_ready(node: &mut Node) -> Result<(), String> {
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        check_alive(node)?;
        match Client::connect(node.port).and_then(|mut client| client.call(&["PING"])) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(failed_at(node.port)(error)),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

fn check_alive(node: &mut Node) -> Result<(), String> {
    match node.process.try_wait() {
        Ok(Some(status)) => Err(death(node.port, status)),
        _ => Ok(()),
    }
}

fn death(port: u16, status: ExitStatus) -> String {
    format!("node 127.0.0.1:{port} has ended ({status}); its log says why")
}

async fn first_to_end(nodes: &mut [Node]) -> String {
    loop {
        for node in nodes.iter_mut() {
            if let Err(ended) = check_alive(node) {
                return ended;
            }
        }
        tokio::time::sleep(POLL * 10).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(10);
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.process.kill();
                let _ = self.process.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
