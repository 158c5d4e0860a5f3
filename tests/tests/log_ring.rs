//! The log ring has what redis-server 7.0.15 writes to its append-only file for the same commands; and with kill -9 at
//! any moment, what it has is what the pool has.

use eagledb_tests::binary::eagledb;
use eagledb_tests::differential::Generator;
use eagledb_tests::{Client, Launch, Reply, Server};
use std::path::Path;
use std::time::{Duration, SystemTime};

type Command = Vec<Vec<u8>>;

/// Instants in the two streams may differ by so much.
const SKEW_MS: u64 = 10_000;

fn eagle() -> Launch {
    Launch::eagledb()
        .option("pool-log", "yes")
        .option("pool-log-size", "64mb")
}

/// What the ring in a pool has that no server holds.
fn ring(pool: &Path) -> Vec<Command> {
    let out = std::process::Command::new(eagledb())
        .args(["pool", "log", "--raw"])
        .arg(pool)
        .output()
        .expect("the binary runs");
    assert!(out.status.success(), "{out:?}");
    commands(&out.stdout)
}

/// The commands of a stream. The last one may be cut off.
fn commands(bytes: &[u8]) -> Vec<Command> {
    let mut input = bytes;
    let mut commands = Vec::new();
    while let Ok(reply) = Reply::read(&mut input) {
        let words = reply.items().iter();
        commands.push(
            words
                .map(|word| word.bytes().expect("a word").to_vec())
                .collect(),
        );
    }
    commands
}

fn shown(command: &Command) -> String {
    let words = command
        .iter()
        .map(|word| format!("{:.60}", word.escape_ascii().to_string()));
    words.collect::<Vec<_>>().join(" ")
}

fn is_about_now(word: &[u8]) -> Option<u64> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let now_ms = now.as_millis() as u64;
    let number: u64 = std::str::from_utf8(word).ok()?.parse().ok()?;
    (number.abs_diff(now_ms) < 1_000_000_000_000).then_some(number)
}

/// Whether two commands are the same, but for instants that come from the clock.
fn same(a: &Command, b: &Command) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a == b
                || matches!(
                    (is_about_now(a), is_about_now(b)),
                    (Some(a), Some(b)) if a.abs_diff(b) < SKEW_MS
                )
        })
}

fn aof(server: &Server) -> Vec<Command> {
    let dir = server.dir().join("appendonlydir");
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .expect("an append-only file")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .collect();
    files.sort();
    let bytes: Vec<u8> = files
        .iter()
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect();
    commands(&bytes)
}

/// Keys that expire are left alone until somebody meets them: when the cycle comes by is up to each server.
fn quiet(server: &Server) -> [Client; 2] {
    let mut clients = [server.client(), server.client()];
    clients[0].call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]).ok();
    clients[0].call(&["FLUSHALL"]).ok();
    clients
}

#[test]
fn it_has_what_redis_logs() {
    // The same each time.
    let seed: u64 =
        std::env::var("EAGLEDB_SEED").map_or(6532, |text| text.parse().expect("a number"));
    let seconds = std::env::var("EAGLEDB_DIFF_SECONDS").map_or(10, |text| text.parse().unwrap());
    let mut ours = eagle().start();
    let mut theirs = Launch::redis()
        .option("appendonly", "yes")
        .option("aof-use-rdb-preamble", "no")
        .option("enable-debug-command", "yes")
        .start();
    let deadline = std::time::Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0;
    let pool = ours.pool_path().expect("a pool file");
    {
        let (mut a, mut b) = (quiet(&ours), quiet(&theirs));
        while std::time::Instant::now() < deadline {
            let mut generator = Generator::new(seed + rounds, [].into());
            for connection in 0..2 {
                a[connection].call(&["RESET"]);
                b[connection].call(&["RESET"]);
            }
            for client in [&mut a[0], &mut b[0]] {
                client.call(&["FLUSHALL"]).ok();
                client.call(&["SET", "round", &rounds.to_string()]).ok();
                // A command that need not wait is logged in its own spelling.
                client.call(&["RPUSH", "spelt", "a", "b"]);
                client.call(&["blmove", "spelt", "spelt", "Left", "right", "1"]);
                // So is one that keeps what it has counted, but not when it finds that.
                client.call(&["PFADD", "counted", "a", "b"]);
                client.call(&["PFCOUNT", "counted"]);
                client.call(&["PFCOUNT", "counted"]);
            }
            for _ in 0..300 {
                let step = generator.data_step(2);
                let replies =
                    [&mut a, &mut b].map(|side| side[step.connection].try_call(&step.args));
                if replies.iter().any(Result::is_err) {
                    // QUIT, most likely.
                    a[step.connection] = ours.client();
                    b[step.connection] = theirs.client();
                }
            }
            rounds += 1;
        }
    }
    ours.stop();
    theirs.stop();
    let (mut ours, theirs) = (ring(&pool), aof(&theirs));
    // Messages go to replicas, but into no append-only file.
    ours.retain(|command| !command[0].to_ascii_uppercase().ends_with(b"PUBLISH"));
    let differing = ours.iter().zip(&theirs).position(|(a, b)| !same(a, b));
    let at = differing.unwrap_or(ours.len().min(theirs.len()));
    let context = |commands: &[Command]| {
        let lines = commands.iter().skip(at.saturating_sub(6)).take(12);
        lines
            .map(|command| format!("    {}\n", shown(command)))
            .collect::<String>()
    };
    println!(
        "{rounds} rounds from seed {seed}, {} commands",
        theirs.len()
    );
    assert!(
        differing.is_none() && ours.len() == theirs.len(),
        "seed {seed}: the streams part at {at} of {} and {}\n  ours\n{}  theirs\n{}",
        ours.len(),
        theirs.len(),
        context(&ours),
        context(&theirs),
    );
    assert!(theirs.len() > 300);
}

/// The command as whoever must obey takes it: the bound of a trimming that was approximate at first has been spelled out,
/// and the LIMIT that an ordinary client may not give with it means nothing.
fn obeyed(command: &Command) -> Command {
    let mut command = command.clone();
    let is_trimming = [b"XADD".as_slice(), b"XTRIM"].contains(&&*command[0].to_ascii_uppercase());
    let mut options = command.iter().take(8);
    let limit = options.position(|word| word.eq_ignore_ascii_case(b"LIMIT"));
    if let Some(at) = limit.filter(|_| is_trimming)
        && command[..at].contains(&b"=".to_vec())
    {
        command.drain(at..at + 2);
    }
    command
}

/// Replaying the ring on an empty server gives the dataset that survived in the pool.
#[test]
fn its_replay_is_the_pool_after_kill_9() {
    let mut server = eagle().start();
    let pool = server.pool_path().expect("a pool file");
    let seed = u64::from(std::process::id());
    for round in 0..4 {
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let mut client = server.client();
                scope.spawn(move || {
                    let mut generator = Generator::new(seed + round * 10 + thread, [].into());
                    loop {
                        let step = generator.data_step(1);
                        let name = step.args[0].to_ascii_uppercase();
                        // What ends the connection, or has nothing to do with data.
                        let skipped: [&[u8]; 6] =
                            [b"QUIT", b"RESET", b"DEBUG", b"CONFIG", b"CLIENT", b"HELLO"];
                        if skipped.contains(&&name[..]) {
                            continue;
                        }
                        if client.try_call(&step.args).is_err() {
                            break;
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(700 + 150 * round));
            server.kill9();
        });
        eagledb_tests::server::check_pool(&pool);
        let stream = ring(&pool);
        assert!(stream.len() > 100, "{} commands", stream.len());
        server.start();
        let mut replayed = Launch::eagledb().start();
        let mut client = replayed.client();
        // Nothing may expire in one of the two servers meanwhile.
        for server in [&server, &replayed] {
            server
                .client()
                .call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"])
                .ok();
        }
        for command in &stream {
            let command = &obeyed(command);
            if let Some(error) = client.call(command).error() {
                panic!("{}: {error}", shown(command));
            }
        }
        let digest = |server: &Server| {
            let mut client = server.client();
            // Keys whose time has come are nobody's; meeting them removes them.
            for db in 0..16 {
                client.call(&["SELECT", &db.to_string()]).ok();
                for key in client.call(&["KEYS", "*"]).items() {
                    client.call(&[b"EXISTS".as_slice(), key.bytes().unwrap()]);
                }
            }
            client.call(&["DEBUG", "DIGEST"]).text()
        };
        assert_eq!(
            digest(&server),
            digest(&replayed),
            "round {round} of seed {seed}"
        );
        replayed.stop();
        let offset: u64 = server.client().info("master_repl_offset").parse().unwrap();
        assert!(offset > 0);
        assert_eq!(server.client().info("repl_backlog_active"), "1");
    }
}
