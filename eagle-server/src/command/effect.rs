//! Effects: the commands that have the same result as the one being run, whenever and wherever they are
//! run again. The log and the replicas get these.
//!
//! A write command that changed something is its own effect unless its handler says otherwise: what depends
//! on the clock, on chance or on the data is spelled out (`EXPIRE` becomes `PEXPIREAT`, `SPOP` becomes
//! `SREM`). A command that changed nothing has no effect.

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

    /// Replaces the command by another one. Said several times, the commands follow one another.
    pub fn instead(&mut self, db: u8, words: &[&[u8]]) {
        self.replaced = true;
        self.also(db, words);
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

    /// Whether the command itself is to be left out.
    pub fn is_replaced(&self) -> bool {
        self.replaced
    }

    /// Takes what was added, and is as new.
    pub fn take(&mut self) -> SmallVec<[Effect; 1]> {
        self.replaced = false;
        std::mem::take(&mut self.list)
    }
}
