//! Trimming: removing the oldest entries, whole nodes or single entries.

use crate::store::dash::WordsMut;
use crate::store::error::StoreError;

use super::edit::StreamEdit;
use super::id::StreamId;
use super::node::{self, Node};

/// What a stream is trimmed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimTo {
    /// At most so many entries (`MAXLEN`).
    Len(u64),
    /// Entries from this id on (`MINID`).
    From(StreamId),
}

/// How a stream is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    pub to: TrimTo,
    /// Only whole nodes (`~`).
    pub approximate: bool,
    /// Most entries to remove; 0: no limit.
    pub limit: u64,
}

impl StreamEdit<'_, '_, '_> {
    /// Removes entries from the front; their number. Counts no change: XTRIM counts all of them, XADD none.
    pub fn trim(&mut self, trim: &Trim) -> Result<u64, StoreError> {
        let before = self.stream().len();
        let mut len = before;
        while let Some(at) = self.nodes().first(&self.change.writer) {
            if matches!(trim.to, TrimTo::Len(len_max) if len <= len_max) {
                break;
            }
            let reader = self.change.writer.reader();
            let node = Node::read(&reader, at);
            let live = u64::from(node.state.live);
            if trim.limit > 0 && before - len + live > trim.limit {
                break;
            }
            let whole = match trim.to {
                TrimTo::Len(len_max) => len.saturating_sub(live) >= len_max,
                TrimTo::From(id) => node.last() < id,
            };
            if !whole {
                if !trim.approximate {
                    len -= self.trim_node(&node, trim.to, len)?;
                }
                break;
            }
            let (nodes, writer) = (self.nodes(), &mut self.change.writer);
            nodes.remove(writer, node.first)?;
            writer.free(at)?;
            len = len.saturating_sub(live);
        }
        if len != before {
            self.store_len(len, true)?;
        }
        Ok(before - len)
    }

    /// Removes entries from the front of a node that keeps some; `len` are all entries.
    fn trim_node(&mut self, node: &Node<'_>, to: TrimTo, len: u64) -> Result<u64, StoreError> {
        let mut entries = node.untrimmed();
        let mut state = node.state;
        let mut removed = 0;
        loop {
            state.head = state.head.max(entries.at());
            let Some(entry) = entries.next() else { break };
            let stays = match to {
                TrimTo::Len(len_max) => len - removed <= len_max,
                TrimTo::From(id) => entry.id >= id,
            };
            if stays {
                break;
            }
            removed += u64::from(!entry.deleted);
        }
        state.delete(removed as u32);
        node::store_state(&mut self.change.writer, node.at, &node.state, &state)?;
        Ok(removed)
    }

    /// Counts what XTRIM removed, and tells those who watch the key.
    pub fn note_trimmed(&mut self, removed: u64) {
        self.note(removed);
        self.touch();
    }
}
