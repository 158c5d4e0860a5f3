//! Transactions (interface draft: bodies follow).

use super::{Offset, OutOfSpace, Pool};
use std::marker::PhantomData;

/// A transaction on a lane; dropping it without `commit` rolls it back.
#[derive(Debug)]
pub struct Tx<'p> {
    marker: PhantomData<&'p Pool>,
}

/// A point of a transaction to which it can be rolled back.
#[derive(Debug)]
pub struct Savepoint {}

#[expect(unused_variables)]
impl<'p> Tx<'p> {
    /// The pool.
    pub fn pool(&self) -> &'p Pool {
        unimplemented!()
    }
    /// A fresh block of at least `size` bytes, owned by this transaction; contents undefined.
    pub fn alloc(&mut self, size: usize) -> Result<Offset, OutOfSpace> {
        unimplemented!()
    }
    /// Writes memory allocated by this transaction: not logged. Any byte position.
    pub fn write_fresh(&mut self, at: Offset, bytes: &[u8]) {
        unimplemented!()
    }
    /// Fills memory allocated by this transaction with zeros.
    pub fn zero_fresh(&mut self, at: Offset, len: usize) {
        unimplemented!()
    }
    /// Writes a word of memory allocated by this transaction.
    pub fn store_fresh_u64(&mut self, at: Offset, value: u64) {
        unimplemented!()
    }
    /// Stores a reachable word: undo-logged, atomic release store.
    pub fn store_u64(&mut self, at: Offset, value: u64) -> Result<(), OutOfSpace> {
        unimplemented!()
    }
    /// Writes reachable bytes: undo-logged. Any byte position.
    pub fn write_bytes(&mut self, at: Offset, bytes: &[u8]) -> Result<(), OutOfSpace> {
        unimplemented!()
    }
    /// A deferred store: executed by `commit` as the commit point if nothing follows; any later
    /// mutating call (or `settle`) turns it into an ordinary logged store first.
    pub fn publish_u64(&mut self, at: Offset, value: u64) -> Result<(), OutOfSpace> {
        unimplemented!()
    }
    /// Whether a publish is waiting.
    pub fn has_pending_publish(&self) -> bool {
        unimplemented!()
    }
    /// Executes a waiting publish as an ordinary logged store, so that loads see it.
    pub fn settle(&mut self) {
        unimplemented!()
    }
    /// Whether nothing has been done yet.
    pub fn is_empty(&self) -> bool {
        unimplemented!()
    }
    /// Frees a block when the transaction commits; it is reused after the grace period.
    /// Does not settle a waiting publish.
    pub fn free(&mut self, at: Offset) -> Result<(), OutOfSpace> {
        unimplemented!()
    }
    /// Marks this point (and settles).
    pub fn savepoint(&mut self) -> Savepoint {
        unimplemented!()
    }
    /// Undoes everything since the savepoint.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) {
        unimplemented!()
    }
    /// Makes the transaction permanent. Cannot fail.
    pub fn commit(self) {
        unimplemented!()
    }
}
