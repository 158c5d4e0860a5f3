//! What a server's process takes of memory, as the system tells.

use std::fs;

use crate::Server;

/// By how many bytes the resident memory of the server grew at most while this was done.
pub fn growth(server: &Server, work: impl FnOnce()) -> usize {
    let process = format!("/proc/{}", server.pid().as_raw_pid());
    let field = |name: &str| -> usize {
        let status = fs::read_to_string(format!("{process}/status")).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name));
        let words = line.expect("Linux tells").split_whitespace();
        1024 * words.rev().nth(1).unwrap().parse::<usize>().unwrap()
    };
    // The peak begins again at what there is now.
    fs::write(format!("{process}/clear_refs"), "5").expect("it is ours");
    let before = field("VmRSS:");
    work();
    field("VmHWM:").saturating_sub(before)
}
