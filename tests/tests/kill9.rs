//! SIGKILL at any moment loses no acknowledged write, leaves no half of one, and leaks no memory: commands on every
//! type, pools on disk and on tmpfs. A long run is
//! `EAGLEDB_KILL_ROUNDS=1000 cargo test -p eagledb-tests --test kill9 -- --nocapture every_ack`.
//!
//! A killed process is what a pool on a plain file survives by itself: the kernel keeps the mapped
//! pages. Power loss is the business of the crash simulator in `eagle-core`.

use std::time::{Duration, Instant};

use eagledb_tests::server::check_pool;
use eagledb_tests::{Launch, Server, Shape, Writer};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

/// Rounds without being asked for more.
const ROUNDS: u64 = 12;

/// Commands a writer has in flight, so that a kill hits pipelines as well as single commands.
const WINDOWS: [usize; 2] = [1, 64];

/// `EAGLEDB_KILL_ROUNDS` asks for a longer run, `EAGLEDB_SEED` for a certain one.
fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn every_acknowledged_write_survives_kill_9() {
    kill_again_and_again(Launch::eagledb(), ROUNDS);
}

/// On memory, with the log ring in the pool.
#[test]
fn every_acknowledged_write_survives_kill_9_on_tmpfs() {
    let Ok(dir) = TempDir::new_in("/dev/shm") else {
        println!("skipped: there is no /dev/shm to write to");
        return;
    };
    let pool = dir.path().join("pool").display().to_string();
    let launch = Launch::eagledb()
        .option("pool-path", &pool)
        .option("pool-log", "yes");
    kill_again_and_again(launch, ROUNDS);
}

/// Kills the server while it is written to, for so many rounds if the environment does not say otherwise.
fn kill_again_and_again(launch: Launch, rounds: u64) {
    let seed = from_env("EAGLEDB_SEED", u64::from(std::process::id()));
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut server = launch.start();
    let pool = server.pool_path();
    let (mut kills, mut idle) = (0, 0);
    let mut writers: Vec<Writer> = (0..WINDOWS.len())
        .map(|index| Writer::new(&format!("w{index}"), Shape::Transactions, rng.random()))
        .collect();

    for round in 0..from_env("EAGLEDB_KILL_ROUNDS", rounds) {
        let before: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
        write_until_killed(
            &mut server,
            &mut writers,
            Duration::from_millis(rng.random_range(20..400)),
        );
        if let Some(pool) = &pool {
            check_pool(pool);
        }
        // Recovery itself may be killed, and must begin again from what it left.
        for _ in 0..round % 3 {
            server.spawn();
            std::thread::sleep(Duration::from_millis(rng.random_range(0..30)));
            server.kill9();
            kills += 1;
        }
        server.start();
        let mut client = server.client();
        for writer in &mut writers {
            writer.check(|args| client.call(args));
        }
        let after: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
        kills += 1;
        // On a busy machine a round may be over before anything is written.
        idle += u64::from(after == before);
        assert!(
            idle <= round / 4 + 2,
            "nothing was written in {idle} rounds of {round}"
        );
        if round % 50 == 49 {
            println!("{} rounds, {kills} kills, {after} commands", round + 1);
        }
    }
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    println!("{kills} kills, {acknowledged} commands acknowledged, none lost");
    if let Some(pool) = &pool {
        server.kill9();
        check_pool(pool);
    }
}

/// Start-up does work for the logs of the threads, not for the keys.
#[test]
fn start_up_time_does_not_grow_with_the_data() {
    let few = start_up_time_with(1_000);
    let many = start_up_time_with(400_000);
    println!("start to first reply after kill -9: 1,000 keys {few:?}, 400,000 keys {many:?}");
    assert!(
        many < few + Duration::from_millis(150),
        "{few:?} grew to {many:?}"
    );
}

/// The pool's free space is counted after the start, and not at once: until then writes must neither lose nor leak
/// anything, nor wait for it. A period of a second (`hz 1`) makes sure that the first of them come before.
#[test]
fn writes_before_the_free_space_is_counted_are_whole() {
    const KEYS: usize = 20_000;
    let sizes = [8, 40, 200, 900, 3000];
    let value = |key: usize, fill: &str| fill.repeat(sizes[key % sizes.len()]);
    let mut server = Launch::eagledb().option("hz", "1").start();
    let run = |server: &Server, commands: Vec<Vec<String>>| {
        let mut client = server.client();
        for chunk in commands.chunks(1000) {
            for reply in client.pipeline(chunk) {
                assert!(reply.error().is_none(), "{reply:?}");
            }
        }
    };
    let set =
        |key: usize, fill: &str| vec!["SET".to_owned(), format!("key:{key}"), value(key, fill)];
    run(&server, (0..KEYS).map(|key| set(key, "a")).collect());
    // Slabs of all these sizes are left with holes.
    let del = |key: usize| vec!["DEL".to_owned(), format!("key:{key}")];
    run(&server, (0..KEYS).step_by(3).map(del).collect());
    let pool = server.pool_path().expect("a pool in a file");
    for round in ["b", "c", "d"] {
        server.kill9();
        check_pool(&pool);
        server.start();
        run(
            &server,
            (0..KEYS).step_by(2).map(|key| set(key, round)).collect(),
        );
        server.kill9();
        check_pool(&pool);
        server.start();
        let mut client = server.client();
        for key in (0..KEYS).step_by(2) {
            let found = client.call(&["GET", &format!("key:{key}")]);
            assert_eq!(found.text(), value(key, round));
        }
    }
    // Where nobody writes, all is counted nevertheless. Until then everything passes for full.
    let used = |server: &Server| server.client().info_number("memory", "used_memory");
    let before = used(&server).expect("a figure");
    server.kill9();
    server.start();
    let deadline = Instant::now() + Duration::from_secs(60);
    while used(&server).expect("a figure") > before + before / 20 {
        assert!(Instant::now() < deadline, "the space is still not counted");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn write_until_killed(server: &mut Server, writers: &mut [Writer], load_time: Duration) {
    std::thread::scope(|scope| {
        let runs: Vec<_> = writers
            .iter_mut()
            .zip(WINDOWS)
            .map(|(writer, window)| {
                let mut client = server.client();
                scope.spawn(move || writer.run_until_broken(&mut client, window))
            })
            .collect();
        std::thread::sleep(load_time);
        server.kill9();
        for run in runs {
            // The error is the broken connection; a wrong reply panics in the writer.
            if let Err(panic) = run.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// The shortest of three starts after a kill, until the first reply to a read.
fn start_up_time_with(keys: u32) -> Duration {
    let mut server = Launch::eagledb().start();
    let mut client = server.client();
    let numbers: Vec<u32> = (0..keys).collect();
    for chunk in numbers.chunks(1000) {
        let commands: Vec<_> = chunk
            .iter()
            .map(|key| vec!["SET".to_owned(), format!("key:{key}"), "x".repeat(16)])
            .collect();
        client
            .pipeline(&commands)
            .iter()
            .for_each(|reply| reply.ok());
    }
    let times = (0..3).map(|_| {
        server.kill9();
        let started = Instant::now();
        server.start();
        assert_eq!(
            server.client().call(&["GET", "key:7"]).text(),
            "x".repeat(16)
        );
        started.elapsed()
    });
    times.min().expect("three starts")
}
