//! What the trash does with a stream, group or consumer: taking it apart in bounded steps.

use crate::store::blob::Blob;
use crate::store::dash::{WordsMut, walk};
use crate::store::error::StoreError;
use crate::store::medium::Writer;
use crate::store::trash;

use super::index::Index;
use super::{Part, TABLE_AT, TABLE_CURSOR_AT, TREE_AT};

/// Frees some of what a block refers to; whether nothing is left. Groups and consumers go on the trash list whose head
/// is at `head_at`.
pub(in crate::store) fn step(
    writer: &mut Writer<'_, '_>,
    head_at: u64,
    at: u64,
    freed: &mut usize,
) -> Result<bool, StoreError> {
    let part = Part::of(writer, at);
    let gone =
        Index::at(at + TREE_AT).dismantle(writer, &mut |writer: &mut Writer<'_, '_>, block| {
            // A pending is its group's, not its consumer's.
            if part != Part::Consumer {
                *freed += 1;
                writer.free(block)?;
            }
            Ok(())
        })?;
    if !gone || part == Part::Consumer {
        return Ok(gone);
    }
    walk::dismantle(
        writer,
        at + TABLE_AT,
        at + TABLE_CURSOR_AT,
        &mut |writer: &mut Writer<'_, '_>, record| {
            *freed += 1;
            let reader = writer.reader();
            let block = Blob::read(&reader, record.blob()).value_word(&reader);
            trash::push(writer, head_at, trash::Kind::Stream, block)?;
            writer.free(record.blob())
        },
    )
}
