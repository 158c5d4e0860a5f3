//! Effects: the commands that have the same result as the one being run, whenever and wherever they are
//! run again. The log and the replicas get these.
//!
//! A write command that changed something is its own effect unless its handler says otherwise: what depends
//! on the clock, on chance or on the data is spelled out (`EXPIRE` becomes `PEXPIREAT`, `SPOP` becomes
//! `SREM`). A command that changed nothing has no effect. One that runs others (EXEC, EVAL) has theirs.

use crate::propagation::Stream;
use smallvec::SmallVec;

/// A command of the stream: its words, and the database it runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    pub db: u8,
    pub words: Vec<Box<[u8]>>,
}

/// The effects of the command being run.
#[derive(Default, Debug)]
pub struct Effects {
    /// Nobody listens: nothing is kept.
    idle: bool,
    replaced: bool,
    forced: bool,
    list: SmallVec<[Effect; 1]>,
}

impl Effects {
    /// Effects that are kept only if somebody listens.
    pub fn new(wanted: bool) -> Effects {
        Effects {
            idle: !wanted,
            ..Effects::default()
        }
    }

    /// Begins a request anew: there are no effects, and they are kept only if somebody listens.
    #[inline]
    pub fn begin(&mut self, wanted: bool) {
        (self.idle, self.replaced, self.forced) = (!wanted, false, false);
        if !self.list.is_empty() {
            self.list.clear();
        }
    }

    /// Whether there are none besides the command itself.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.forced && self.list.is_empty()
    }

    /// Whether anybody will hear of them.
    pub fn are_wanted(&self) -> bool {
        !self.idle
    }

    /// Replaces the command by another one. Said several times, the commands follow one another.
    pub fn instead(&mut self, db: u8, words: &[&[u8]]) {
        self.replaced = true;
        self.also(db, words);
    }

    /// Replaces the command by the removal of `key`.
    pub fn removal_instead(&mut self, db: u8, key: &[u8], is_lazy: bool) {
        let verb: &[u8] = if is_lazy { b"UNLINK" } else { b"DEL" };
        self.instead(db, &[verb, key]);
    }

    /// Adds a command that follows the one being run.
    pub fn also(&mut self, db: u8, words: &[&[u8]]) {
        if !self.idle {
            let words = words.iter().map(|word| Box::from(*word)).collect();
            self.list.push(Effect { db, words });
        }
    }

    /// The command has no effect beyond what was added.
    pub fn none(&mut self) {
        self.replaced = true;
    }

    /// The command goes into the stream even if it has changed nothing.
    pub fn force(&mut self) {
        self.forced = true;
    }

    /// Whether the command itself is in the stream, if it has (or has not) changed something.
    fn is_itself(&self, has_changed: bool) -> bool {
        !self.replaced && (has_changed || self.forced)
    }

    /// Puts the command that was run, if it has an effect by itself, and what was added into the stream.
    pub fn flow(self, stream: &mut Stream, db: u8, argv: &[&[u8]], has_changed: bool) {
        if self.is_itself(has_changed) {
            stream.push(db, argv);
        }
        for effect in &self.list {
            let words: SmallVec<[&[u8]; 8]> = effect.words.iter().map(|word| &**word).collect();
            stream.push(effect.db, &words);
        }
    }
}
