//! Giving the bytes of a request away.
//!
//! A command that goes on after it has returned needs its arguments for longer than the read buffer keeps them. To copy
//! a long one would take too long for a thread that has other clients to serve, so the connection lets go of that part
//! of its buffer:
//!
//! ```text
//!   connection           offer          end            give
//!   handler                     take           return          Words::arrive
//! ```
//!
//! Requests that come another way (from a script, from another node) are copied.

use bytes::Bytes;
use tokio::sync::oneshot;

/// What becomes of the bytes of the request that is being run.
#[derive(Debug, Default)]
pub struct Handover {
    is_offered: bool,
    taker: Option<Taker>,
}

/// Whoever was promised the bytes of a request.
#[derive(Debug)]
pub struct Taker(oneshot::Sender<Vec<Bytes>>);

/// The words of a request, for use after its handler has returned.
#[derive(Debug)]
pub enum Words {
    /// They were copied.
    Copied(Vec<Bytes>),
    /// They come as soon as the handler has returned.
    Promised(oneshot::Receiver<Vec<Bytes>>),
}

impl Handover {
    /// The request that is about to be run lies in a buffer that can be given away.
    #[inline]
    pub fn offer(&mut self) {
        self.is_offered = true;
    }

    /// The words `argv` of the request being run. No part of them is copied if the bytes are offered.
    pub fn take(&mut self, argv: &[&[u8]]) -> Words {
        if !std::mem::take(&mut self.is_offered) {
            return Words::Copied(
                argv.iter()
                    .map(|word| Bytes::copy_from_slice(word))
                    .collect(),
            );
        }
        let (taker, words) = oneshot::channel();
        self.taker = Some(Taker(taker));
        Words::Promised(words)
    }

    /// The request has been run: who is to get its bytes, if anyone.
    #[inline]
    pub fn end(&mut self) -> Option<Taker> {
        self.is_offered = false;
        self.taker.take()
    }
}

impl Taker {
    /// Gives the words, most of which lie in `request`.
    pub fn give<'w>(self, words: impl Iterator<Item = &'w [u8]>, request: &Bytes) {
        let range = request.as_ptr_range();
        let words = words.map(|word| {
            // Those of an inline request lie elsewhere if they were quoted.
            if range.contains(&word.as_ptr()) {
                request.slice_ref(word)
            } else {
                Bytes::copy_from_slice(word)
            }
        });
        // If the command goes on no more, nobody needs them.
        let _ = self.0.send(words.collect());
    }
}

impl Words {
    /// The words, once they are there; `None` if the request was given up.
    pub async fn arrive(self) -> Option<Vec<Bytes>> {
        match self {
            Words::Copied(words) => Some(words),
            Words::Promised(words) => words.await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_where_they_were_read_if_that_is_offered() {
        let request = Bytes::from_static(b"*2 restore some payload");
        let argv = [&request[3..10], &request[11..]];
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut handover = Handover::default();
        let copied = runtime.block_on(handover.take(&argv).arrive()).unwrap();
        assert!(handover.end().is_none());
        assert_eq!(copied, argv);

        handover.offer();
        let promised = handover.take(&argv);
        let taker = handover.end().expect("it was taken");
        let elsewhere: &[u8] = b"elsewhere";
        taker.give(argv.into_iter().chain([elsewhere]), &request);
        let words = runtime.block_on(promised.arrive()).unwrap();
        assert_eq!(words, [argv[0], argv[1], elsewhere]);
        assert_eq!(words[1].as_ptr(), argv[1].as_ptr());

        handover.offer();
        assert!(handover.end().is_none(), "nobody took it");
        handover.offer();
        let promised = handover.take(&argv);
        drop(handover.end());
        assert_eq!(runtime.block_on(promised.arrive()), None);
    }
}
