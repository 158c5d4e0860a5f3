//! Replies of members, with or without their scores.

use eagle_core::resp::{Protocol, Writer};

/// Writes members, or members with scores: pairs in RESP3, one flat array in RESP2.
pub(in crate::command::family) struct ScoredWriter<'w> {
    pub(in crate::command::family) out: &'w mut Writer,
    with_scores: bool,
    nested: bool,
}

impl<'w> ScoredWriter<'w> {
    /// As most commands reply.
    pub(in crate::command::family) fn new(out: &'w mut Writer, with_scores: bool) -> Self {
        let nested = with_scores && out.protocol() == Protocol::Resp3;
        ScoredWriter {
            out,
            with_scores,
            nested,
        }
    }

    /// Members with scores, in pairs or in one flat array whatever the protocol.
    pub(in crate::command::family) fn nested(out: &'w mut Writer, nested: bool) -> Self {
        ScoredWriter {
            out,
            with_scores: true,
            nested,
        }
    }

    /// Begins an array of this many members.
    pub(in crate::command::family) fn begin(&mut self, count: usize) {
        let flat = self.with_scores && !self.nested;
        self.out.array(if flat { 2 * count } else { count });
    }

    /// Writes the next member.
    pub(in crate::command::family) fn push(&mut self, (member, score): (&[u8], f64)) {
        if self.nested {
            self.out.array(2);
        }
        self.out.bulk(member);
        if self.with_scores {
            self.out.double(score);
        }
    }
}
