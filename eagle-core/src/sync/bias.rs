//! The bias of a lock: lets many go past it, each with a lock of its own part, until somebody wants the whole.
//!
//! What is protected consists of parts, and each part has a lock (several may have the same). While the bias is on, whoever
//! needs one part only takes the part's lock, looks whether the bias is still on, and goes on; he touches no word that
//! the others write to. Whoever needs the whole takes the lock of the whole, turns the bias off, and passes once through
//! all the parts' locks. After BRAVO (USENIX ATC'19), which does so for readers.
//!
//! ```text
//!   part:   lock part, is_on? -> change the part, unlock part        (else unlock, and take the whole)
//!   whole:  lock whole, end: off, lock and unlock each part -> change anything, unlock whole
//!   begin:  lock whole, on, unlock whole
//! ```
//!
//! Why nobody meets: the bias is turned on only by who has the whole, so that nobody else has it at that time, and whoever
//! takes it later sees it on and ends it. Who has taken a part's lock before `end` passes it is waited for; who takes it
//! afterwards sees, by that lock, that the bias is off. What the last owner of the whole did is seen by who finds the
//! bias on: the store that turned it on is a release store.

use super::primitive::{AtomicBool, Ordering};

/// Whether parts may be changed without the lock of the whole.
#[derive(Debug, Default)]
pub struct Bias(AtomicBool);

impl Bias {
    /// Off.
    pub fn new() -> Bias {
        Bias(AtomicBool::new(false))
    }

    /// Whether it is on. True for as long as the caller has a part's lock, if it had it before it asked.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Turns it on. The caller has the lock of the whole, and does not change anything any more.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Turns it off. The caller has the lock of the whole; `pass` takes each part's lock and lets go of it.
    pub fn end(&self, pass: impl FnOnce()) {
        self.0.store(false, Ordering::Relaxed);
        pass();
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    #[derive(Default)]
    struct Whole {
        lock: Mutex<()>,
        bias: Bias,
        locks: [Mutex<()>; 2],
        /// Loom tells if two are at a part at once, or if one does not see what the other did.
        parts: [UnsafeCell<u32>; 2],
    }

    impl Whole {
        fn touch(&self, part: usize) {
            self.parts[part].with_mut(|_| ());
        }

        fn alone(&self) {
            let _held = self.lock.lock().unwrap();
            if self.bias.is_on() {
                self.bias.end(|| {
                    self.locks
                        .iter()
                        .for_each(|part| drop(part.lock().unwrap()))
                });
            }
            self.touch(0);
            self.touch(1);
        }

        fn begin(&self) {
            let _held = self.lock.lock().unwrap();
            self.bias.begin();
        }

        fn at(&self, part: usize) {
            if self.bias.is_on() {
                let _held = self.locks[part].lock().unwrap();
                if self.bias.is_on() {
                    return self.touch(part);
                }
            }
            self.alone();
        }
    }

    fn model(threads: [fn(&Whole); 3]) {
        loom::model(move || {
            let whole = Arc::new(Whole::default());
            let [first, second, third] = threads;
            let others = [first, second].map(|work| {
                let whole = whole.clone();
                thread::spawn(move || work(&whole))
            });
            third(&whole);
            for other in others {
                other.join().unwrap();
            }
            whole.alone();
        });
    }

    /// Two at different parts, one of whom has turned the bias on, and one who wants the whole.
    #[test]
    fn who_wants_the_whole_has_it_alone() {
        let beginner = |whole: &Whole| {
            whole.begin();
            whole.at(0);
        };
        model([beginner, |whole| whole.at(1), Whole::alone]);
    }

    /// Two at the same part exclude each other whether or not they find the bias on.
    #[test]
    fn one_part_is_changed_by_one_at_a_time() {
        model([Whole::begin, |whole| whole.at(0), |whole| whole.at(0)]);
    }

    /// The bias ends and begins again under somebody who found it on before.
    #[test]
    fn a_bias_that_begins_again_lets_nobody_in_early() {
        let again = |whole: &Whole| {
            whole.begin();
            whole.alone();
            whole.begin();
        };
        model([again, |whole| whole.at(0), |whole| whole.at(1)]);
    }
}
