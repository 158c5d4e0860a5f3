//! CONFIG on a running server: what it shows can be set, sockets follow, the file is rewritten.

use std::time::Duration;

use eagledb_tests::{Client, Launch, Reply, wait_until};

/// How long anything here may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

fn get(client: &mut Client, name: &str) -> String {
    client.call(&["CONFIG", "GET", name]).items()[1].text()
}

#[test]
fn every_directive_takes_its_own_value_or_is_fixed() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    let all = client.call(&["CONFIG", "GET", "*"]);
    assert!(all.items().len() > 2 * 180);
    for pair in all.items().chunks(2) {
        let (name, value) = (pair[0].text(), pair[1].text());
        let reply = client.call(&["CONFIG", "SET", &name, &value]);
        let fixed = ["can't set immutable config", "can't set protected config"];
        let is_fixed = matches!(&reply, Reply::Error(_))
            && fixed.iter().any(|end| reply.text().ends_with(end));
        assert!(
            is_fixed || reply.text() == "OK",
            "{name} {value:?}: {}",
            reply.text()
        );
    }
    assert_eq!(client.call(&["CONFIG", "GET", "*"]), all);
}

#[test]
fn a_pipeline_runs_under_what_it_has_set() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    let replies = client.pipeline(&[
        vec!["AUTH", "secret"],
        vec!["CONFIG", "SET", "requirepass", "secret"],
        vec!["AUTH", "secret"],
    ]);
    let texts: Vec<String> = replies.iter().map(Reply::text).collect();
    assert!(
        texts[0].starts_with("ERR AUTH <password> called without any password"),
        "{texts:?}"
    );
    assert_eq!([&texts[1], &texts[2]], ["OK", "OK"]);
}

#[test]
fn the_port_moves_and_open_connections_stay() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    let other = eagledb_tests::port::Port::claim();
    let (old, new) = (server.port(), other.number());
    assert_eq!(
        client
            .call(&["CONFIG", "SET", "port", &new.to_string()])
            .text(),
        "OK"
    );
    assert_eq!(Client::connect(new).unwrap().call(&["PING"]).text(), "PONG");
    wait_until("the old port to close", LIMIT, || {
        Client::connect(old).is_err()
    });
    assert_eq!(client.call(&["PING"]).text(), "PONG");

    // An address of the block for documentation, which no interface has.
    let refused = client.call(&["CONFIG", "SET", "bind", "203.0.113.1"]);
    assert!(
        refused
            .text()
            .ends_with("Failed to bind to specified addresses."),
        "{}",
        refused.text()
    );
    assert_eq!(get(&mut client, "bind"), "127.0.0.1");
    assert_eq!(Client::connect(new).unwrap().call(&["PING"]).text(), "PONG");
    assert_eq!(
        client
            .call(&["CONFIG", "SET", "port", &old.to_string()])
            .text(),
        "OK"
    );
    assert_eq!(server.client().call(&["PING"]).text(), "PONG");
}

#[test]
fn a_rewritten_file_is_what_the_server_starts_with() {
    let text = "# kept\nmaxmemory 10mb\nlatency-tracking no\n";
    let mut server = Launch::eagledb().config_file(text).start();
    let mut client = server.client();
    let changes = [
        "CONFIG",
        "SET",
        "maxmemory",
        "20mb",
        "requirepass",
        "a \"b",
        "latency-tracking",
        "yes",
    ];
    assert_eq!(client.call(&changes).text(), "OK");
    assert_eq!(client.call(&["CONFIG", "REWRITE"]).text(), "OK");
    let file = std::fs::read_to_string(server.config_path()).unwrap();
    assert!(
        file.starts_with("# kept\nmaxmemory 20mb\nlatency-tracking yes\n"),
        "{file}"
    );
    server.stop();
    server.spawn();
    wait_until("the server to listen", LIMIT, || {
        Client::connect(server.port()).is_ok()
    });
    let mut client = Client::connect(server.port()).unwrap();
    assert_eq!(client.call(&["AUTH", "a \"b"]).text(), "OK");
    assert_eq!(get(&mut client, "maxmemory"), (20 << 20).to_string());
}
