//! Building a tree from its entries in order: every node but the last of each level is full.

use std::marker::PhantomData;

use super::inner::{Child, Inner};
use super::leaf::{Entries, Leaf};
use super::{Entry, Order, WordsMut};
use crate::store::error::StoreError;

/// A tree under construction.
pub(crate) struct Build<O> {
    entries: Entries,
    leaves: Vec<Child>,
    order: PhantomData<fn() -> O>,
}

impl<O> Default for Build<O> {
    fn default() -> Build<O> {
        Build {
            entries: Entries::new(),
            leaves: Vec::new(),
            order: PhantomData,
        }
    }
}

impl<O: Order> Build<O> {
    /// Takes the next entry.
    pub(crate) fn push<M: WordsMut>(
        &mut self,
        words: &mut M,
        entry: Entry,
    ) -> Result<(), StoreError> {
        if self.entries.len() == O::LEAF_MAX {
            self.end_leaf(words)?;
        }
        self.entries.push(entry);
        Ok(())
    }

    fn end_leaf<M: WordsMut>(&mut self, words: &mut M) -> Result<(), StoreError> {
        self.leaves.push(Child {
            at: Leaf::alloc::<O, M>(words, &self.entries)?,
            weight: self.entries.iter().map(|&entry| O::weight(entry.a)).sum(),
            first: self.entries[0],
        });
        self.entries.clear();
        Ok(())
    }

    /// Ends the tree: what to store in the root word.
    pub(crate) fn finish<M: WordsMut>(mut self, words: &mut M) -> Result<u64, StoreError> {
        if !self.entries.is_empty() {
            self.end_leaf(words)?;
        }
        let mut level = 0;
        let mut nodes = self.leaves;
        while nodes.len() > 1 {
            level += 1;
            nodes = nodes
                .chunks(O::INNER_MAX)
                .map(|children| {
                    Ok(Child {
                        at: Inner::alloc::<O, M>(words, level, children)?,
                        weight: children.iter().map(|child| child.weight).sum(),
                        first: children[0].first,
                    })
                })
                .collect::<Result<_, StoreError>>()?;
        }
        Ok(nodes.first().map_or(0, |root| root.at))
    }
}
