//! Real `redis-server` processes in cluster mode, stopped when dropped.

use std::cell::RefCell;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub struct Redis {
    pub port: u16,
    pub bus_port: u16,
    process: RefCell<Child>,
    folder: tempfile::TempDir,
}

impl Redis {
    /// Starts some servers; `None` if the program is not installed.
    pub fn start_all(count: usize, node_timeout_ms: u64) -> Option<Vec<Self>> {
        (0..count)
            .map(|_| Self::start_with("", node_timeout_ms))
            .collect()
    }

    /// Starts a server that finds `nodes_conf` in its folder.
    pub fn start_with(nodes_conf: &str, node_timeout_ms: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        if !nodes_conf.is_empty() {
            std::fs::write(folder.path().join("nodes.conf"), nodes_conf).unwrap();
        }
        let (port, bus_port) = (free_port(), free_port());
        let log = folder.path().join("log");
        let process = Command::new("redis-server")
            .args([
                "--cluster-enabled",
                "yes",
                "--save",
                "",
                "--bind",
                "127.0.0.1",
            ])
            .args(["--logfile", log.to_str()?, "--loglevel", "debug"])
            .args([
                "--port",
                &port.to_string(),
                "--cluster-port",
                &bus_port.to_string(),
            ])
            .args([
                "--cluster-node-timeout",
                &node_timeout_ms.to_string(),
                "--repl-diskless-sync-delay",
                "0",
            ])
            .args(["--dir", folder.path().to_str()?])
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let redis = Self {
            port,
            bus_port,
            process: RefCell::new(process),
            folder,
        };
        for _ in 0..200 {
            if redis.run(&["ping"]) == "PONG" {
                return Some(redis);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("redis-server does not start: {}", redis.log());
    }

    /// Runs a command by `redis-cli`; the reply as raw text, without the last line end.
    pub fn run(&self, args: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(args)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Kills the server.
    pub fn stop(&self) {
        let mut process = self.process.borrow_mut();
        let _ = process.kill();
        let _ = process.wait();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            println!(
                "redis-server on port {}, last lines first:\n{}",
                self.port,
                tail.join("\n")
            );
        }
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
