//! Running command-line tools (`redis-cli`, `redis-benchmark`, `python`) with a time limit.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// What a finished tool left behind.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; 124 when the time limit was reached.
    pub code: i32,
    /// Standard output, then standard error.
    pub text: String,
}

impl Finished {
    /// The text, after checking that the tool succeeded.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.code, 0, "the tool failed:\n{}", self.text);
        self.text
    }

    /// The text, after checking that the tool failed, and not by running out of time.
    #[track_caller]
    pub fn failure(self) -> String {
        assert!(
            !matches!(self.code, 0 | 124),
            "the tool should fail, exit {}:\n{}",
            self.code,
            self.text
        );
        self.text
    }
}

/// Runs `program` to its end with `input` on its standard input, killing it after `limit`.
pub fn run<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: &[S],
    input: &str,
    limit: Duration,
) -> Finished {
    let mut child = Command::new("timeout")
        .arg("--kill-after=5")
        .arg(limit.as_secs().to_string())
        .arg(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout(1) runs");
    // A program that does not read its input may be gone already.
    let _ = child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes());
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("own child");
    let text = [stdout, stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    Finished {
        code: status.code().unwrap_or(-1),
        text,
    }
}

/// Runs `redis-cli` with `args`, answering yes to what it asks.
pub fn redis_cli<S: AsRef<OsStr>>(args: &[S]) -> Finished {
    run("redis-cli", args, "yes\n", Duration::from_secs(120))
}
