//! What strings hold besides text: bits, integers of any width, and HyperLogLogs. Pure functions over bytes.
//!
//! Bit 0 is the highest bit of the first byte, in all of them but the HyperLogLog, whose registers begin with the
//! lowest bit.

pub mod bitmap;
pub mod field;
pub mod hyperloglog;
