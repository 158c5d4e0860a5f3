//! The pages for monitoring of a server that was started with `metrics-port`.

use std::io::{Read, Write};
use std::net::TcpStream;

/// The whole answer to a GET.
#[track_caller]
pub fn page(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the metrics port is open");
    // A server that has seen enough may hang up in the middle of the request.
    let _ = write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The value of a metric without labels.
#[track_caller]
pub fn metric(port: u16, name: &str) -> f64 {
    let page = page(port, "/metrics");
    let sample = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = sample.unwrap_or_else(|| panic!("no {name} in\n{page}"));
    value.parse().expect("a number")
}
