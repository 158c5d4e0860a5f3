//! What clients see while a file is loaded, and what becomes of a server that is told to end meanwhile.

use std::fs;
use std::thread;
use std::time::Duration;

use eagledb_tests::{Client, Launch, Server, wait_until};

const KEYS: usize = 200;
const LOADING: &str = "LOADING Redis is loading the dataset in memory";

/// A server that has the file of another one in its directory, and takes long for each of its keys.
fn loading_slowly() -> Server {
    let redis = Launch::redis().option("rdbcompression", "no").start();
    let mut client = redis.client();
    for i in 0..KEYS {
        let key = format!("key:{i}");
        client.call(&["SET", &key, &"x".repeat(1000)]).ok();
    }
    client.call(&["SAVE"]).ok();
    let mut server = Launch::eagledb()
        .option("save", "3600 1")
        .option("loading-process-events-interval-bytes", "1024")
        .start();
    server.stop();
    let planted = server.dir().join("dump.rdb");
    fs::copy(redis.dir().join("dump.rdb"), planted).expect("both directories are there");
    server.set_option("key-load-delay", "300000");
    server.spawn();
    server
}

/// Connects once the server accepts connections.
fn connect(server: &Server) -> Client {
    let mut client = None;
    wait_until("a connection", Duration::from_secs(60), || {
        client = Client::connect(server.port()).ok();
        client.is_some()
    });
    client.expect("just made")
}

#[test]
fn clients_are_told_of_a_file_being_loaded() {
    let mut server = loading_slowly();
    let mut client = connect(&server);
    for refused in [
        &["GET", "key:1"][..],
        &["PING"],
        &["DBSIZE"],
        &["SAVE"],
        &["CONFIG", "SET", "appendonly", "yes"],
    ] {
        let error = client.call(refused).error();
        assert_eq!(error.as_deref(), Some(LOADING), "{refused:?}");
    }
    // A transaction runs if all of its commands may.
    client.call(&["MULTI"]).ok();
    client.call(&["CONFIG", "SET", "loglevel", "debug"]);
    client.call(&["CONFIG", "GET", "loglevel"]);
    let done = client.call(&["EXEC"]);
    assert_eq!(done.items()[1].items()[1].text(), "debug");
    assert_eq!(client.info("loading"), "1");
    let (total, loaded) = (
        client.info("loading_total_bytes"),
        client.info("loading_loaded_bytes"),
    );
    let (total, loaded): (u64, u64) = (total.parse().unwrap(), loaded.parse().unwrap());
    assert!(
        total > 200_000 && loaded < total,
        "{loaded} bytes of {total}"
    );
    assert!(client.info("loading_rdb_used_mem").parse::<u64>().unwrap() > 0);
    let file = fs::read(server.dir().join("dump.rdb")).expect("it is there");

    // It ends at once, and neither the file nor what was loaded of it stands in the way of the next start.
    client.send(&["SHUTDOWN"]).expect("the connection stands");
    client.flush().expect("the connection stands");
    assert!(server.wait_exit().success());
    assert_eq!(fs::read(server.dir().join("dump.rdb")).unwrap(), file);
    server.set_option("key-load-delay", "0");
    server.start();
    let mut client = server.client();
    assert_eq!(client.call(&["DBSIZE"]).int(), KEYS as i64);
    assert_eq!(client.info("loading"), "0");
}

#[test]
fn a_file_that_is_loaded_anew_shows_too() {
    let server = Launch::eagledb()
        .option("loading-process-events-interval-bytes", "1024")
        .option("rdbcompression", "no")
        .start();
    let mut client = server.client();
    client
        .call(&["DEBUG", "POPULATE", "100", "key", "1000"])
        .ok();
    client
        .call(&["CONFIG", "SET", "key-load-delay", "50000"])
        .ok();
    let reload = {
        let mut client = server.client();
        thread::spawn(move || client.call(&["DEBUG", "RELOAD"]).ok())
    };
    wait_until("the loading", Duration::from_secs(60), || {
        client.call(&["GET", "key:1"]).error().as_deref() == Some(LOADING)
    });
    client.call(&["CONFIG", "SET", "key-load-delay", "0"]).ok();
    reload.join().expect("it was reloaded");
    assert_eq!(client.call(&["DBSIZE"]).int(), 100);
}

#[test]
fn flushall_leaves_nothing_in_memory_nor_on_disk() {
    let mut server = Launch::eagledb().option("save", "3600 100000").start();
    let mut client = server.client();
    let used = |client: &mut Client| client.info("used_memory").parse::<u64>().unwrap();
    let before = used(&mut client);
    client
        .call(&["DEBUG", "POPULATE", "5000", "key", "100"])
        .ok();
    client.call(&["SAVE"]).ok();
    assert!(used(&mut client) > before + 500_000);
    client.call(&["SET", "one", "more"]).ok();
    client.call(&["FLUSHALL"]).ok();
    let after = used(&mut client);
    assert!(after < before + 200_000, "{before} before, {after} after");
    assert_eq!(client.info("rdb_changes_since_last_save"), "0");
    // Redis reads from the file that nothing is left.
    let mut redis = Launch::redis().start();
    redis.stop();
    let file = server.dir().join("dump.rdb");
    fs::copy(file, redis.dir().join("dump.rdb")).expect("both are there");
    redis.start();
    assert_eq!(redis.client().call(&["DBSIZE"]).int(), 0);
    // Also from within a transaction.
    client.call(&["SET", "key", "1"]).ok();
    client.call(&["MULTI"]).ok();
    client.call(&["FLUSHALL"]);
    assert_eq!(client.call(&["EXEC"]).items()[0].text(), "OK");
    assert_eq!(client.call(&["DBSIZE"]).int(), 0);
    assert!(server.stop().success());
}

#[test]
fn a_shutdown_that_was_scheduled_can_be_called_off() {
    let mut server = Launch::eagledb().start();
    let mut client = server.client();
    let refused = client.call(&["SHUTDOWN", "ABORT"]).error();
    assert_eq!(refused.as_deref(), Some("ERR No shutdown in progress."));
    client.call(&["DEBUG", "PAUSE-CRON", "1"]).ok();
    server.signal(rustix::process::Signal::TERM);
    wait_until("the signal", Duration::from_secs(20), || {
        client.call(&["SHUTDOWN", "ABORT"]).error().is_none()
    });
    client.call(&["DEBUG", "PAUSE-CRON", "0"]).ok();
    assert_eq!(client.call(&["PING"]).text(), "PONG");
    assert!(server.log().contains("Shutdown manually aborted"));
    assert!(server.stop().success());
}
