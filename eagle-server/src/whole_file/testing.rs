//! Every system call of a save fails in turn, and every write is cut short: for the tests of all that is saved this way.

use super::faults::{Call, Failure, calls, fail};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::path::Path;
use tempfile::TempDir;

/// A folder for such a test: in memory if possible, because hundreds of files are synced.
pub fn folder() -> TempDir {
    TempDir::new_in("/dev/shm")
        .or_else(|_| TempDir::new())
        .expect("a place for temporary files")
}

/// More calls than any save makes here.
const CALLS_MAX: usize = 200;

/// `save(n)` saves the content number `n`, 0 or 1, as `path`, in whose folder nothing else changes. Whatever fails, the file
/// holds the one content or the other, a failure is told, nothing is left beside the file, and the next save succeeds.
pub fn every_call_fails(path: &Path, mut save: impl FnMut(u32) -> io::Result<()>) {
    let read = || fs::read(path).expect("there is always a file");
    let [old, new] = [0, 1].map(|number| {
        fail(None);
        save(number).expect("nothing fails");
        read()
    });
    assert_ne!(old, new);
    in_order(&calls());
    let files = names(path);
    let failures = [
        Failure::Error(Errno::IO),
        Failure::Error(Errno::NOSPC),
        Failure::Short,
        Failure::Killed,
    ];
    for failure in failures {
        let mut number = 0;
        loop {
            fail(None);
            save(0).expect("nothing fails");
            assert_eq!(read(), old);
            fail(Some((number, failure)));
            let outcome = save(1);
            let seen = calls();
            fail(None);
            let context = format!("{failure:?} of call {number} of {seen:?}: {outcome:?}");
            if seen.len() <= number {
                outcome.expect("nothing failed");
                break;
            }
            let renamed = seen[..number].contains(&Call::Rename);
            assert_eq!(outcome.is_ok(), failure == Failure::Short, "{context}");
            let expected = if outcome.is_ok() || renamed {
                &new
            } else {
                &old
            };
            assert!(read() == *expected, "{context}");
            if failure != Failure::Killed {
                assert_eq!(names(path), files, "{context}");
            }
            // What a killed process left behind is in nobody's way.
            save(1).expect(&context);
            assert!(read() == new, "{context}");
            assert_eq!(names(path), files, "{context}");
            number += 1;
            assert!(number < CALLS_MAX);
        }
        assert!(number >= 4, "a draft is made, written, synced and renamed");
    }
}

/// A power cut keeps what was synced: the content must be before the name refers to it, and the name before the save is over.
fn in_order(calls: &[Call]) {
    let position = |call| calls.iter().rposition(|other| *other == call);
    let steps = [
        Call::Create,
        Call::Write,
        Call::Sync,
        Call::Rename,
        Call::SyncFolder,
    ]
    .map(position);
    assert!(steps.is_sorted() && steps[0].is_some(), "{calls:?}");
}

fn names(path: &Path) -> Vec<String> {
    let folder = fs::read_dir(path.parent().expect("a file in a folder")).expect("a folder");
    let mut names: Vec<String> = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}
