//! Replies: the end found by scanning in pieces is the end found at once, and what is before it
//! makes a tree or is refused.
#![no_main]

use eagle_core::resp::{Reply, ReplyError, ReplyLimits, ReplyScanner, ReplyStep};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = ReplyLimits::default();
    let whole = ReplyScanner::new().next(bytes, &limits);
    let mut scanner = ReplyScanner::new();
    let piecewise = (1..=bytes.len())
        .map(|arrived| scanner.next(&bytes[..arrived], &limits))
        .find(|step| !matches!(step, Ok(ReplyStep::Incomplete { .. })));
    match whole {
        Ok(ReplyStep::Incomplete { .. }) => assert_eq!(piecewise, None),
        end => assert_eq!(piecewise, Some(end)),
    }
    match (whole, Reply::parse(bytes, &limits)) {
        (Ok(ReplyStep::Whole { len }), Ok(parsed)) => {
            assert_eq!(parsed.map(|(_, len)| len), Some(len));
        }
        (Ok(ReplyStep::Whole { .. }), Err(error)) => assert_ne!(error, ReplyError::MissingLineEnd),
        (Ok(ReplyStep::Incomplete { .. }), parsed) => assert_eq!(parsed, Ok(None)),
        (Err(error), parsed) => assert_eq!(parsed, Err(error)),
    }
});
