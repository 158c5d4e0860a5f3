//! Packed forms: small collections as one run of bytes.

pub(super) mod intset;
pub(super) mod packed;
pub(super) mod run;
pub(super) mod varint;
