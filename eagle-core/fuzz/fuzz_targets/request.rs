//! Requests: the outcome does not depend on how the bytes are cut into reads.
#![no_main]

use eagle_core::resp::{Limits, Parser, ProtocolError, Step};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (unauthenticated, read_bytes, bytes) = input;
    let limits = Limits {
        unauthenticated,
        ..Limits::default()
    };
    let whole = feed(bytes, bytes.len().max(1), &limits);
    let cut = feed(bytes, usize::from(read_bytes).max(1), &limits);
    assert_eq!(whole, cut);
});

type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

fn feed(bytes: &[u8], read_bytes: usize, limits: &Limits) -> Outcome {
    let (mut parser, mut start, mut commands) = (Parser::new(), 0, Vec::new());
    let mut arrived = 0;
    while arrived < bytes.len() {
        arrived = (arrived + read_bytes).min(bytes.len());
        loop {
            let buf = &bytes[start..arrived];
            match parser.next(buf, limits) {
                Ok(Step::Incomplete { .. }) => break,
                Ok(Step::Blank { consumed }) => start += consumed,
                Ok(Step::Command { consumed }) => {
                    let argv = parser.argv(buf);
                    assert!(!argv.is_empty() && argv.bytes_total() <= consumed);
                    commands.push(argv.iter().map(<[u8]>::to_vec).collect());
                    start += consumed;
                }
                Err(error) => return (commands, Some(error)),
            }
        }
    }
    (commands, None)
}
