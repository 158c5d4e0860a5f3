//! Building nodes aside: records collected from old nodes, laid out in the image of a new one.

use super::Words;
use super::bucket::{Group, Shape, Which, place};
use super::hash::{Hash, POSITION_BITS};
use super::layout::{BASE_MAX, Form, NodeRef, Record, SEGMENT_LOG2, TAG_BITS, home, tag_of};
use super::walk;

/// A record on its way to another node.
#[derive(Clone, Copy, Debug)]
struct Item {
    record: Record,
    fingerprint: u8,
    /// Of the position only the bits of the tag are right, unless the batch is `whole`.
    position: u64,
}

/// Records on their way to other nodes, and which of their position bits are known.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    items: Vec<Item>,
    /// Base of the tags the positions were taken from.
    base: u32,
    /// Whether all position bits are known.
    whole: bool,
}

impl Batch {
    /// No records.
    pub(super) fn new() -> Batch {
        Batch {
            items: Vec::new(),
            base: 0,
            whole: true,
        }
    }

    /// The records of `nodes` (none of them a directory) but `without`.
    pub(super) fn of<W: Words>(
        words: &W,
        nodes: &[NodeRef],
        without: Option<(Group, u32)>,
    ) -> Batch {
        let base = nodes.iter().map(|node| node.base()).max().unwrap_or(0);
        let room = |node: &NodeRef| {
            let groups = walk::groups(*node);
            groups
                .map(|group| group.shape.records() as usize)
                .sum::<usize>()
        };
        let room: usize = nodes.iter().map(room).sum();
        let mut batch = Batch {
            items: Vec::with_capacity(room + 1),
            base,
            whole: false,
        };
        let mixed = nodes
            .iter()
            .any(|node| node.form() != Form::Empty && node.base() != base);
        for &node in nodes {
            for group in walk::groups(node) {
                let left_out = match without {
                    Some((other, index)) if other.at == group.at => Some(index),
                    _ => None,
                };
                group.each(words, |i, record, fingerprint| {
                    if Some(i) != left_out {
                        batch.items.push(Item {
                            record,
                            fingerprint,
                            position: u64::from(record.tag()) << (BASE_MAX - node.base()),
                        });
                    }
                });
            }
        }
        if mixed {
            batch.read_keys(words);
        }
        batch
    }

    /// Adds a record whose hash is known.
    pub(super) fn push(&mut self, hash: Hash, record: Record) {
        self.items.push(Item {
            record,
            fingerprint: hash.fingerprint(),
            position: hash.position(),
        });
    }

    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Makes the bits known by which nodes at `depth` distribute records, and answers the base for the tags of
    /// such nodes.
    pub(super) fn prepare<W: Words>(&mut self, words: &W, depth: u32) -> u32 {
        let covered = self.base <= depth && depth + SEGMENT_LOG2 <= self.base + TAG_BITS;
        if !covered {
            if !self.whole {
                self.read_keys(words);
            }
            self.base = depth.min(BASE_MAX);
        }
        self.base
    }

    /// The two halves by the position bit after the top `depth` ones.
    pub(super) fn partition(self, depth: u32) -> [Batch; 2] {
        let bit = POSITION_BITS - 1 - depth;
        let (one, zero) = self
            .items
            .into_iter()
            .partition(|item| item.position >> bit & 1 == 1);
        [zero, one].map(|items| Batch {
            items,
            base: self.base,
            whole: self.whole,
        })
    }

    fn read_keys<W: Words>(&mut self, words: &W) {
        for item in &mut self.items {
            item.position = words.key_hash(item.record).position();
        }
        self.whole = true;
    }
}

/// The contents of a node that does not exist yet.
pub(super) struct Image(Vec<u64>);

impl Image {
    /// Lays the batch out in a node of this form at `depth`; `None` if it does not fit. The batch was
    /// [prepared](Batch::prepare) for `depth` and `base`.
    pub(super) fn build(batch: &Batch, form: Form, depth: u32, base: u32) -> Option<Image> {
        let (shape, log2) = match form {
            Form::Small => (Shape::Small, 0),
            Form::Medium => (Shape::Medium, 0),
            Form::Buckets { log2 } => (Shape::Bucket, log2),
            Form::Empty | Form::Directory => unreachable!("no records in this node"),
        };
        let buckets = 1usize << log2;
        if batch.len() > buckets * shape.records() as usize {
            return None;
        }
        let stride = shape.words();
        let mut words = vec![0u64; buckets * stride];
        let mut used = [0u32; 1 << SEGMENT_LOG2];
        for item in &batch.items {
            let native = home(item.position, depth, log2) as usize;
            let next = (native + 1) & (buckets - 1);
            let (target, which) = if used[next] < used[native] {
                (next, Which::Foreign)
            } else {
                (native, Which::Native)
            };
            if used[target] == shape.records() {
                return None;
            }
            let record = item.record.with_tag(tag_of(item.position, base));
            let image = &mut words[target * stride..][..stride];
            place(image, shape, used[target], which, item.fingerprint, record);
            used[target] += 1;
        }
        Some(Image(words))
    }

    /// The words to write.
    pub(super) fn words(&self) -> &[u64] {
        &self.0
    }
}
