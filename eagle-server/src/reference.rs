//! A redis-server 7.0.15 to compare with, for tests. Where none is installed they say so and pass.

use eagle_core::resp::{Reply, ReplyLimits};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A reference server, stopped when dropped.
pub struct Reference {
    child: Child,
    stream: TcpStream,
    unread: Vec<u8>,
    _dir: tempfile::TempDir,
    /// The directory it runs in, which holds its `redis.conf`.
    pub dir: String,
    /// Its client port.
    pub port: u16,
}

impl Reference {
    /// Starts redis-server, if version 7.0.15 of it is installed.
    pub fn start() -> Option<Reference> {
        Reference::start_with_file("")
    }

    /// Starts redis-server with the configuration `text` in `redis.conf`.
    pub fn start_with_file(text: &str) -> Option<Reference> {
        let version = Command::new("redis-server").arg("--version").output().ok();
        if !version.is_some_and(|out| String::from_utf8_lossy(&out.stdout).contains("v=7.0.15")) {
            eprintln!("skipped: no redis-server 7.0.15 is installed to compare with");
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir
            .path()
            .canonicalize()
            .expect("it exists")
            .display()
            .to_string();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let file = dir.path().join("redis.conf");
        std::fs::write(&file, text).expect("the directory is new");
        let child = Command::new("redis-server")
            .arg(file)
            .args(["--port", &port.to_string(), "--dir", &path])
            .args(["--enable-protected-configs", "yes"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let give_up = Instant::now() + Duration::from_secs(10);
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < give_up, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Some(Reference {
            child,
            stream,
            unread: Vec::new(),
            _dir: dir,
            dir: path,
            port,
        })
    }

    /// Sends a request and waits for its reply.
    pub fn call(&mut self, words: &[&str]) -> Reply {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.stream
            .write_all(request.as_bytes())
            .expect("the server listens");
        loop {
            let parsed = Reply::parse(&self.unread, &ReplyLimits::default()).expect("a reply");
            if let Some((reply, len)) = parsed {
                self.unread.drain(..len);
                return reply;
            }
            let mut chunk = vec![0; 64 << 10];
            let count = self.stream.read(&mut chunk).expect("the server answers");
            assert!(count > 0, "the server closed the connection");
            self.unread.extend_from_slice(&chunk[..count]);
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // The server may be gone already; either way nothing is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text of a status, error or byte string.
pub fn text(reply: &Reply) -> String {
    match reply {
        Reply::Simple(bytes) | Reply::Error(bytes) | Reply::Bulk(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        other => panic!("expected a text, got {other:?}"),
    }
}

/// The elements of an array or set.
pub fn items(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(items) | Reply::Set(items) => items,
        other => panic!("expected an array, got {other:?}"),
    }
}
