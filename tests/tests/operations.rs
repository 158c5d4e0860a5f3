//! What an operator meets: start and stop, files, signals, refusals, health and figures.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use eagledb_tests::monitoring::page;
use eagledb_tests::port::Port;
use eagledb_tests::server::{check_pool, run_to_exit};
use eagledb_tests::{Client, Launch, Server, binary, wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn config(server: &Server, name: &str) -> String {
    server.client().call(&["CONFIG", "GET", name]).items()[1].text()
}

#[test]
fn signals_and_shutdown_end_the_server_and_keep_the_data() {
    let mut server = Launch::eagledb().start();
    let mut expected = 0;
    for end in ["TERM", "INT", "SHUTDOWN"] {
        let mut client = server.client();
        expected += 1;
        assert_eq!(client.call(&["INCR", "starts"]).int(), expected);
        match end {
            "TERM" => server.signal(Signal::TERM),
            "INT" => server.signal(Signal::INT),
            _ => client
                .send(&["SHUTDOWN"])
                .and_then(|()| client.flush())
                .unwrap(),
        }
        assert!(server.wait_exit().success(), "{end}");
        let log = server.log();
        assert!(
            log.trim_end().ends_with("ready to exit, bye bye..."),
            "{end}:\n{log}"
        );
        server.start();
    }
}

#[test]
fn the_pidfile_names_the_process_and_goes_with_it() {
    let mut server = Launch::eagledb().option("pidfile", "server.pid").start();
    let path = server.dir().join("server.pid");
    let pid = std::fs::read_to_string(&path).unwrap();
    assert_eq!(pid.trim(), server.pid().as_raw_nonzero().to_string());
    assert_eq!(server.client().info("process_id"), pid.trim());
    server.stop();
    assert!(!path.exists());
}

#[test]
fn bad_configuration_is_refused_with_file_and_line() {
    let dir = TempDir::new().unwrap();
    let refusals = [
        (
            "port 7000\nnosuch 1\n",
            2,
            "'nosuch 1'",
            "Bad directive or wrong number of arguments",
        ),
        (
            "port abc\n",
            1,
            "'port abc'",
            "argument couldn't be parsed into an integer",
        ),
        (
            "\n# note\nport 70000\n",
            3,
            "'port 70000'",
            "argument must be between 0 and 65535 inclusive",
        ),
        (
            "appendonly maybe\n",
            1,
            "'appendonly maybe'",
            "argument must be 'yes' or 'no'",
        ),
        (
            "maxmemory 5zb\n",
            1,
            "'maxmemory 5zb'",
            "argument must be a memory value",
        ),
        (
            "rename-command nosuch x\n",
            1,
            "'rename-command nosuch x'",
            "No such command in rename-command",
        ),
        (
            "bind \"127.0.0.1\n",
            1,
            "'bind \"127.0.0.1'",
            "Unbalanced quotes in configuration line",
        ),
    ];
    for (text, line, shown, reason) in refusals {
        std::fs::write(dir.path().join("redis.conf"), text).unwrap();
        let refused = run_to_exit(dir.path(), &["redis.conf"]);
        assert_eq!(refused.code, 1, "{text:?}: {}", refused.text);
        for part in [&format!("at line {line}\n"), shown, reason] {
            assert!(
                refused.text.contains(part),
                "{part:?} is missing for {text:?}:\n{}",
                refused.text
            );
        }
    }
}

#[test]
fn configuration_comes_from_file_then_command_line_and_is_rewritten() {
    let text = "# kept\nmaxclients 500\ntimeout 7\nslowlog-max-len 11\n";
    let mut server = Launch::eagledb()
        .config_file(text)
        .option("timeout", "9")
        .start();
    assert_eq!(config(&server, "maxclients"), "500");
    assert_eq!(
        config(&server, "timeout"),
        "9",
        "the command line comes last"
    );
    let mut client = server.client();
    client
        .call(&[
            "CONFIG",
            "SET",
            "slowlog-max-len",
            "77",
            "maxclients",
            "400",
        ])
        .ok();
    let error = client
        .call(&[
            "CONFIG",
            "SET",
            "slowlog-max-len",
            "78",
            "maxclients",
            "none",
        ])
        .error();
    assert!(error.is_some_and(|error| error.starts_with("ERR CONFIG SET failed")));
    assert_eq!(
        config(&server, "slowlog-max-len"),
        "77",
        "a refused CONFIG SET changes nothing"
    );
    client.call(&["CONFIG", "REWRITE"]).ok();
    let rewritten = std::fs::read_to_string(server.config_path()).unwrap();
    assert!(
        rewritten.contains("# kept\n") && rewritten.contains("maxclients 400\n"),
        "{rewritten}"
    );
    server.stop();
    server.start();
    assert_eq!(config(&server, "slowlog-max-len"), "77");
}

#[test]
fn version_and_help_are_told() {
    let dir = TempDir::new().unwrap();
    let version = run_to_exit(dir.path(), &["-v"]).success();
    assert!(version.contains(" v="), "{version}");
    let help = run_to_exit(dir.path(), &["--help"]);
    assert!(help.text.contains("Usage:"), "{}", help.text);
}

#[test]
fn passwords_unix_socket_and_client_limits() {
    let server = Launch::eagledb()
        .option("requirepass", "secret")
        .option("unixsocket", "server.sock")
        .option("maxclients", "3")
        .start();
    let mut client = server.client();
    assert_eq!(
        client.call(&["GET", "a"]).error().as_deref(),
        Some("NOAUTH Authentication required.")
    );
    let wrong = client.call(&["AUTH", "wrong"]).error();
    assert_eq!(
        wrong.as_deref(),
        Some("WRONGPASS invalid username-password pair or user is disabled.")
    );
    client.call(&["AUTH", "secret"]).ok();
    client.call(&["SET", "a", "1"]).ok();

    let mut socket = UnixStream::connect(server.dir().join("server.sock")).unwrap();
    socket.write_all(b"AUTH secret\r\nGET a\r\n").unwrap();
    let mut reply = [0; 12];
    socket.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+OK\r\n$1\r\n1\r\n");

    // Its answer shows that it was accepted before the fourth.
    let mut third = server.client();
    assert!(third.call(&["PING"]).error().is_some());
    let mut fourth = server.client();
    let refused = fourth.receive().unwrap();
    assert_eq!(
        refused.error().as_deref(),
        Some("ERR max number of clients reached")
    );
}

#[test]
fn metrics_and_health_are_served() {
    let metrics_port = Port::claim();
    let number = metrics_port.number();
    let server = Launch::eagledb()
        .option("metrics-port", &number.to_string())
        .start();
    assert!(page(number, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(page(number, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(page(number, "/nosuch").starts_with("HTTP/1.1 404"));
    let mut client = server.client();
    for index in 0..100 {
        client.call(&["SET", &format!("key:{index}"), "x"]).ok();
    }
    let metrics = page(number, "/metrics");
    let body = metrics.split_once("\r\n\r\n").expect("a body").1;
    let samples: Vec<(&str, f64)> = body
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            line.rsplit_once(' ')
                .unwrap_or_else(|| panic!("no sample: {line}"))
        })
        .map(|(name, value)| {
            (
                name,
                value
                    .parse()
                    .unwrap_or_else(|_| panic!("no number: {name} {value}")),
            )
        })
        .collect();
    let sum = |parts: &[&str]| -> f64 {
        samples
            .iter()
            .filter(|(name, _)| parts.iter().all(|part| name.contains(part)))
            .map(|(_, value)| value)
            .sum()
    };
    assert!(sum(&["commands_total", "\"set\""]) >= 100.0, "{body}");
    for part in ["connected_clients", "keys", "pool", "bucket"] {
        assert!(
            samples.iter().any(|(name, _)| name.contains(part)),
            "no sample of {part}:\n{body}"
        );
    }
}

#[test]
fn damaged_foreign_and_locked_pools_are_refused_and_left_alone() {
    let mut server = Launch::eagledb().start();
    server.client().call(&["SET", "a", "1"]).ok();
    let pool = server.pool_path().expect("EagleDB keeps a pool");
    let dir = pool.parent().unwrap().to_owned();
    let line = |port: &Port| {
        vec![
            "--port".to_owned(),
            port.number().to_string(),
            "--bind".into(),
            "127.0.0.1".into(),
        ]
    };

    // Locked: the first server is still running.
    let port = Port::claim();
    let arguments = line(&port);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    refused(&dir, &arguments, &pool, "a pool in use");
    server.stop();
    check_pool(&pool);
    let good = std::fs::read(&pool).unwrap();

    let head = |bytes: &[u8]| [bytes, &good[bytes.len()..]].concat();
    let damaged: [(&str, Vec<u8>); 4] = [
        ("both superblocks overwritten", head(&[0xA5; 64 * 1024])),
        ("a foreign file", b"SQLite format 3\0".repeat(4096)),
        ("a truncated pool", good[..good.len() / 2].to_vec()),
        ("a pool of some bytes", good[..100].to_vec()),
    ];
    for (what, bytes) in damaged {
        std::fs::write(&pool, &bytes).unwrap();
        refused(&dir, &arguments, &pool, what);
        assert!(std::fs::read(&pool).unwrap() == bytes, "{what} was changed");
    }
    std::fs::write(&pool, &good).unwrap();
    server.start();
    assert_eq!(server.client().call(&["GET", "a"]).text(), "1");
}

/// The server must end with code 1 and one line that names the pool file.
fn refused(dir: &Path, arguments: &[&str], pool: &Path, what: &str) {
    let refused = run_to_exit(dir, arguments);
    assert_eq!(refused.code, 1, "{what}: {}", refused.text);
    let name = pool.file_name().unwrap().to_string_lossy();
    let lines = refused
        .text
        .lines()
        .filter(|line| line.contains(&*name))
        .count();
    assert!(
        lines >= 1,
        "{what}: the pool is not named:\n{}",
        refused.text
    );
    assert!(
        !refused.text.contains("panicked"),
        "{what}: {}",
        refused.text
    );
}

#[test]
fn cluster_start_needs_one_command_and_finds_its_data_again() {
    let ports = Port::claim_row(3);
    let base = ports[0].number();
    let dir = TempDir::new().unwrap();
    for round in 1..=2 {
        let local = LocalCluster::start(dir.path(), base);
        let mut client = Client::connect(base).unwrap();
        assert_eq!(client.cluster_info("cluster_state"), "ok");
        assert_eq!(client.cluster_info("cluster_known_nodes"), "3");
        let mut routed = eagledb_tests::RoutedClient::new(base);
        for key in ["bar", "world", "foo"] {
            assert_eq!(routed.call(&["INCR", key]).unwrap().int(), round);
        }
        local.interrupt();
        for port in &ports {
            assert!(
                Client::connect(port.number()).is_err(),
                "a node was left running"
            );
        }
    }
}

/// `eagledb cluster start`, running in the foreground.
struct LocalCluster {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl LocalCluster {
    fn start(dir: &Path, base: u16) -> LocalCluster {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(binary::eagledb())
            .args([
                "cluster",
                "start",
                "--nodes",
                "3",
                "--base-port",
                &base.to_string(),
                "--dir",
            ])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut local = LocalCluster { child, output };
        // The last thing it says is how to connect.
        let hint = format!("redis-cli -c -p {base}");
        let mut said = String::new();
        while !said.contains(&hint) {
            let read = local.output.read_line(&mut said).unwrap();
            assert!(read > 0, "it ended without telling how to connect:\n{said}");
        }
        local
    }

    /// Ctrl-C.
    fn interrupt(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let status = wait_for("the cluster to stop", Duration::from_secs(20), || {
            self.child.try_wait().unwrap()
        });
        assert!(status.success(), "{status}");
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        // Already gone after an interrupt.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn idle_clients_and_slow_readers_are_let_go() {
    let server = Launch::eagledb().option("timeout", "1").start();
    let mut idle = server.client();
    assert_eq!(idle.call(&["PING"]).text(), "PONG");
    assert!(
        idle.receive_within(Duration::from_secs(10)).is_err(),
        "nothing is said to an idle client"
    );
    assert!(idle.try_call(&["PING"]).is_err(), "it was let go");

    let mut control = server.client();
    control
        .call(&[
            "CONFIG",
            "SET",
            "timeout",
            "0",
            "client-output-buffer-limit",
            "normal 1mb 0 0",
        ])
        .ok();
    control.call(&["SET", "big", &"x".repeat(512 * 1024)]).ok();
    let mut slow = server.client();
    for _ in 0..100 {
        slow.send(&["GET", "big"]).unwrap();
    }
    slow.flush().unwrap();
    wait_until(
        "the slow reader to be cut off",
        Duration::from_secs(10),
        || control.info("connected_clients") == "1",
    );
}
