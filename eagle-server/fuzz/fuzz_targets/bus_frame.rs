//! Bytes as they might come off the cluster bus: cut into frames, decoded, and encoded again.
//!
//! The input is laid over a valid header so that the fuzzer need not find the signature and 40-character names by
//! chance. What decodes must encode to something that decodes to the same value.
#![no_main]

use bytes::{BufMut, Bytes};
use eagle_server::cluster::bus::{FrameSplitter, HEADER_BYTES, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut splitter = FrameSplitter::new();
    splitter.buffer_mut().put_slice(input);
    while let Ok(Some(frame)) = splitter.next_frame() {
        check(frame);
    }
    let Some((fields, body)) = input.split_at_checked(8) else {
        return;
    };
    let mut frame = vec![0; HEADER_BYTES];
    frame[..4].copy_from_slice(b"RCmb");
    frame[9] = 1;
    frame[12..16].copy_from_slice(&fields[..4]);
    frame[40..80].fill(b'a');
    frame[2214..2216].copy_from_slice(&fields[4..6]);
    frame[2252..2254].copy_from_slice(&fields[6..8]);
    frame.extend_from_slice(body);
    let length = (frame.len() as u32).to_be_bytes();
    frame[4..8].copy_from_slice(&length);
    check(frame.into());
});

fn check(frame: Bytes) {
    let Ok((header, body)) = decode(&frame) else {
        return;
    };
    let again = decode(&encode(&header, &body)).expect("what was decoded can be encoded and decoded");
    assert_eq!(again, (header, body));
}
