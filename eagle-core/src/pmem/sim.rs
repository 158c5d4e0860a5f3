//! The crash simulator: a medium that records every store, flush and fence, and from the record
//! builds the images that a crash at any point could leave behind.
//!
//! The model is that of x86 persistent memory, which contains that of a process crash: a store
//! of an aligned 8-byte word is atomic; the stores to one 64-byte line become persistent in
//! program order; stores to different lines in any order, unless a line was flushed and a fence
//! followed. At any moment the legal images are therefore the products, over all lines with
//! pending stores, of the prefixes of those stores. Two members have names:
//! [`Survivors::Everything`] is a killed process on page cache, [`Survivors::Nothing`] the
//! slowest possible write-back.
//!
//! A record covers one thread. Loads are not recorded.

#[cfg(test)]
use std::collections::BTreeSet;

use super::layout::{LANE_BYTES, LANE_HEADER_BYTES, LANES};
use super::medium::Site;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const LINE_BYTES: u64 = 64;
const LINE_WORDS: usize = 8;

type Line = [u64; LINE_WORDS];

/// Contents of a simulated medium: the lines that were ever written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    lines: BTreeMap<u64, Line>,
}

impl Image {
    /// Number of lines that were ever written.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Each line's first byte position and its words.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Line)> {
        self.lines
            .iter()
            .map(|(number, line)| (number * LINE_BYTES, line))
    }

    /// Overwrites a word, for tests of damaged pools.
    #[cfg(test)]
    pub(crate) fn damage(&mut self, at: u64, value: u64) {
        self.store(at, value);
    }

    /// The words that were ever written, and where.
    #[cfg(test)]
    pub(crate) fn words(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.iter()
            .flat_map(|(at, line)| (0..).zip(*line).map(move |(i, word)| (at + 8 * i, word)))
    }

    fn store(&mut self, at: u64, value: u64) {
        let line = self.lines.entry(at / LINE_BYTES).or_default();
        line[(at % LINE_BYTES / 8) as usize] = value;
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Store { at: u64, value: u64 },
    Flush { line: u64 },
    Fence,
}

/// What a mutation leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Muted {
    /// The flushes of a site.
    Flushes(Site),
    /// The fences of a site.
    Fences(Site),
    /// All log entries.
    LogEntries,
    /// A part of what one place in the source asks of a transaction. Tests only.
    Step(Part, Place),
}

/// A part of a step of a transaction that a mutation may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The log entry of a store, an allocation or a block that is freed.
    Entry,
    /// The fence between that entry and the store.
    Fence,
    /// The flush of what was stored.
    Flush,
    /// All of it: a publish, the freeing of a block.
    Whole,
}

/// A place in the source: file, line, column.
pub type Place = (&'static str, u32, u32);

#[derive(Debug, Default)]
struct Trace {
    events: Vec<Event>,
    muted: Option<Muted>,
    /// Steps that came up, and the number of events before the first time.
    #[cfg(test)]
    steps: BTreeMap<(Part, Place), usize>,
}

/// How much was done to a medium.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Words stored.
    pub stores: usize,
    /// Lines flushed.
    pub flushes: usize,
    /// Fences.
    pub fences: usize,
    /// Bytes of log entries in the lanes' first chunks.
    pub log_bytes: usize,
}

/// The medium's side of the record.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    trace: Arc<Mutex<Trace>>,
}

impl Recorder {
    fn trace(&self) -> MutexGuard<'_, Trace> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn store(&self, at: u64, value: u64) {
        self.trace().events.push(Event::Store { at, value });
    }

    pub(super) fn flush(&self, at: u64, len: u64, site: Site) {
        let mut trace = self.trace();
        if trace.muted == Some(Muted::Flushes(site)) {
            return;
        }
        for line in at / LINE_BYTES..(at + len).div_ceil(LINE_BYTES) {
            trace.events.push(Event::Flush { line });
        }
    }

    pub(super) fn fence(&self, site: Site) {
        let mut trace = self.trace();
        if trace.muted != Some(Muted::Fences(site)) {
            trace.events.push(Event::Fence);
        }
    }

    pub(super) fn loses_log_entries(&self) -> bool {
        self.trace().muted == Some(Muted::LogEntries)
    }

    /// Notes a step; whether its part is to be left out.
    #[cfg(test)]
    pub(super) fn leaves_out(&self, part: Part, place: Place) -> bool {
        let mut trace = self.trace();
        let events = trace.events.len();
        trace.steps.entry((part, place)).or_insert(events);
        trace.muted == Some(Muted::Step(part, place))
    }
}

/// A simulated medium, to be given to [`Pool::simulated`](super::Pool::simulated). Clones share
/// the record.
#[derive(Debug, Clone)]
pub struct Sim {
    pub(super) size_max: u64,
    pub(super) lanes: usize,
    pub(super) recorder: Recorder,
    pub(super) image: Image,
}

/// Stores, as (offset, value); and fenced lines, as (stores before the fence, line, stores of it that were flushed).
#[cfg(test)]
pub(crate) type PersistenceOrder = (Vec<(u64, u64)>, BTreeSet<(usize, u64, usize)>);

impl Sim {
    /// An empty medium for a heap of up to `size_max` bytes and a pool with `lanes` lanes.
    pub fn new(size_max: u64, lanes: usize) -> Sim {
        Sim {
            size_max,
            lanes,
            recorder: Recorder::default(),
            image: Image::default(),
        }
    }

    /// A medium as a crash left it, with an empty record.
    #[must_use]
    pub fn after_crash(&self, image: Image) -> Sim {
        Sim {
            image,
            recorder: Recorder::default(),
            ..self.clone()
        }
    }

    /// Leaves something out from here on (mutation testing).
    pub fn mute(&self, muted: Option<Muted>) {
        self.recorder.trace().muted = muted;
    }

    /// Events recorded so far; every number up to this is a point to crash at.
    pub fn points(&self) -> usize {
        self.recorder.trace().events.len()
    }

    /// What has been recorded, in figures.
    pub fn tally(&self) -> Tally {
        let logs = LANES..LANES + self.lanes as u64 * LANE_BYTES;
        let is_entry =
            |at: u64| logs.contains(&at) && (at - LANES) % LANE_BYTES >= LANE_HEADER_BYTES;
        let mut tally = Tally::default();
        for event in &self.recorder.trace().events {
            match *event {
                Event::Store { at, .. } => {
                    tally.stores += 1;
                    tally.log_bytes += if is_entry(at) { 8 } else { 0 };
                }
                Event::Flush { .. } => tally.flushes += 1,
                Event::Fence => tally.fences += 1,
            }
        }
        tally
    }

    /// The steps that were recorded, from where in the source they were asked for, and at which point first.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> BTreeMap<(Part, Place), usize> {
        self.recorder.trace().steps.clone()
    }

    /// Which lines a fence has made persistent, and how many stores came before it: all that flushes and fences are for.
    /// Two records of the same stores that agree in this leave the same images everywhere.
    #[cfg(test)]
    pub(crate) fn order_of_persistence(&self) -> PersistenceOrder {
        let (mut stores, mut order) = (Vec::new(), BTreeSet::new());
        let mut pending: HashMap<u64, usize> = HashMap::new();
        let mut flushed: HashMap<u64, usize> = HashMap::new();
        for event in &self.recorder.trace().events {
            match *event {
                Event::Store { at, value } => {
                    stores.push((at, value));
                    *pending.entry(at / LINE_BYTES).or_default() += 1;
                }
                Event::Flush { line } => {
                    if let Some(&count) = pending.get(&line) {
                        flushed.insert(line, count);
                    }
                }
                Event::Fence => {
                    for (line, count) in flushed.drain() {
                        order.insert((stores.len(), line, count));
                        let left = pending.remove(&line).unwrap_or_default() - count;
                        if left > 0 {
                            pending.insert(line, left);
                        }
                    }
                }
            }
        }
        (stores, order)
    }

    /// Replays the record from its beginning.
    pub fn replay(&self) -> Replay {
        Replay {
            events: self.recorder.trace().events.clone(),
            next: 0,
            durable: self.image.clone(),
            pending: BTreeMap::new(),
            flushed: HashMap::new(),
        }
    }
}

/// Which of the stores that are not yet persistent survive the crash.
#[derive(Debug)]
pub enum Survivors<'a> {
    /// None of them.
    Nothing,
    /// All of them: a killed process.
    Everything,
    /// Of each line the first `choose(stores)` of its pending stores.
    Prefixes(&'a mut dyn FnMutPrefix),
}

/// Chooses how many of a line's pending stores survive.
pub trait FnMutPrefix: std::fmt::Debug {
    /// A number from 0 to `stores`; `index` numbers the lines with pending stores.
    fn choose(&mut self, index: usize, stores: usize) -> usize;
}

/// A walk through a record.
#[derive(Debug)]
pub struct Replay {
    events: Vec<Event>,
    next: usize,
    durable: Image,
    /// Stores of each line since it was last known to be persistent.
    pending: BTreeMap<u64, Vec<(u64, u64)>>,
    /// How many of a line's pending stores the next fence makes persistent.
    flushed: HashMap<u64, usize>,
}

impl Replay {
    /// Number of events executed so far.
    pub fn point(&self) -> usize {
        self.next
    }

    /// Executes the next event; `false` at the end of the record.
    pub fn step(&mut self) -> bool {
        let Some(&event) = self.events.get(self.next) else {
            return false;
        };
        self.next += 1;
        match event {
            Event::Store { at, value } => {
                self.pending
                    .entry(at / LINE_BYTES)
                    .or_default()
                    .push((at, value));
            }
            Event::Flush { line } => {
                if let Some(stores) = self.pending.get(&line) {
                    self.flushed.insert(line, stores.len());
                }
            }
            Event::Fence => {
                for (line, count) in self.flushed.drain() {
                    let Some(stores) = self.pending.get_mut(&line) else {
                        continue;
                    };
                    for (at, value) in stores.drain(..count) {
                        self.durable.store(at, value);
                    }
                    if stores.is_empty() {
                        self.pending.remove(&line);
                    }
                }
            }
        }
        true
    }

    /// Whether the last executed event was a fence.
    pub fn at_fence(&self) -> bool {
        self.next > 0 && matches!(self.events[self.next - 1], Event::Fence)
    }

    /// Whether the last executed event was a store.
    pub fn at_store(&self) -> bool {
        self.next > 0 && matches!(self.events[self.next - 1], Event::Store { .. })
    }

    /// Whether the next event is a fence: here the number of legal images is greatest.
    pub fn before_fence(&self) -> bool {
        matches!(self.events.get(self.next), Some(Event::Fence))
    }

    /// Number of stores pending in each line that has any.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.pending.values().map(Vec::len)
    }

    /// Number of legal images here, saturating.
    pub fn images(&self) -> u64 {
        self.pending().fold(1, |product: u64, stores| {
            product.saturating_mul(stores as u64 + 1)
        })
    }

    /// The image that a crash here leaves.
    pub fn image(&self, survivors: Survivors<'_>) -> Image {
        let mut image = self.durable.clone();
        let mut choose: Box<dyn FnMut(usize, usize) -> usize + '_> = match survivors {
            Survivors::Nothing => return image,
            Survivors::Everything => Box::new(|_, stores| stores),
            Survivors::Prefixes(prefixes) => {
                Box::new(move |index, stores| prefixes.choose(index, stores))
            }
        };
        for (index, stores) in self.pending.values().enumerate() {
            let survivors = choose(index, stores.len());
            for &(at, value) in &stores[..survivors] {
                image.store(at, value);
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(image: &Image, at: u64) -> u64 {
        image
            .lines
            .get(&(at / LINE_BYTES))
            .map_or(0, |line| line[(at % LINE_BYTES / 8) as usize])
    }

    #[derive(Debug)]
    struct One(usize);

    impl FnMutPrefix for One {
        fn choose(&mut self, index: usize, _stores: usize) -> usize {
            usize::from(index == self.0)
        }
    }

    #[test]
    fn only_flushed_and_fenced_stores_are_certain() {
        let sim = Sim::new(1 << 20, 1);
        let recorder = &sim.recorder;
        recorder.store(0, 1);
        recorder.flush(0, 8, Site::Log);
        recorder.store(8, 2); // same line, after the flush
        recorder.store(64, 3); // another line, never flushed
        recorder.fence(Site::Log);
        let mut replay = sim.replay();
        while replay.step() {}
        assert!(replay.at_fence());
        let nothing = replay.image(Survivors::Nothing);
        assert_eq!(
            [word(&nothing, 0), word(&nothing, 8), word(&nothing, 64)],
            [1, 0, 0]
        );
        let everything = replay.image(Survivors::Everything);
        assert_eq!([word(&everything, 8), word(&everything, 64)], [2, 3]);
        assert_eq!(replay.images(), 4);
        let first = replay.image(Survivors::Prefixes(&mut One(0)));
        assert_eq!([word(&first, 8), word(&first, 64)], [2, 0]);
        let second = replay.image(Survivors::Prefixes(&mut One(1)));
        assert_eq!([word(&second, 8), word(&second, 64)], [0, 3]);
    }

    #[test]
    fn what_is_muted_leaves_no_trace() {
        for (muted, points) in [
            (Muted::Flushes(Site::Log), 2),
            (Muted::Fences(Site::Log), 2),
            (Muted::Fences(Site::Bits), 3),
        ] {
            let sim = Sim::new(1 << 20, 1);
            sim.mute(Some(muted));
            sim.recorder.store(0, 1);
            sim.recorder.flush(0, 8, Site::Log);
            sim.recorder.fence(Site::Log);
            assert_eq!(sim.points(), points);
        }
    }
}
