//! Packed forms: small collections as one run of bytes.

pub(super) mod intset;
pub(super) mod packed;
pub(super) mod packed_timed;
pub(super) mod packed_zset;
pub(super) mod run;
pub(super) mod score;
pub(super) mod varint;
