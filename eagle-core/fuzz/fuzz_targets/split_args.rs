//! Arguments: whatever is split can be quoted and split again.
#![no_main]

use eagle_core::text::split_args::{needs_quotes, quoted, split_args};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    assert_eq!(split_args(&quoted(line)), Ok(vec![line.to_vec()]));
    let Ok(args) = split_args(line) else {
        return;
    };
    let rewritten: Vec<Vec<u8>> = args
        .iter()
        .map(|arg| {
            if needs_quotes(arg) {
                quoted(arg)
            } else {
                arg.clone()
            }
        })
        .collect();
    assert_eq!(split_args(&rewritten.join(&b' ')), Ok(args));
});
