//! The requests in a connection's read buffer.
//!
//! ```text
//!            +--> Ahead: whole short requests, many at once; their keys are fetched into the cache together
//!   buffer --+
//!            +--> Parser: any other request, also one that is still arriving
//! ```
//!
//! What was found ahead is forgotten whenever the buffer changes, and found again in what is left. Only the parser
//! keeps something from one reading to the next: how far it has come in a request that is not whole, and a whole one
//! that could not run yet.

use crate::command::{self, Batch};
use crate::session::Session;
use eagle_core::resp::{Ahead, Argv, Limits, Parser, ProtocolError, Step};
use eagle_core::store::PREFETCH_MAX;

/// Array elements of one request.
const ARGUMENTS_MAX: usize = 1024 * 1024;
/// Arguments of a request up to which nothing is allocated for them.
pub(super) const ARGUMENTS_INLINE: usize = 32;
/// Arguments that most requests do with.
pub(super) const ARGUMENTS_FEW: usize = 6;

pub(super) struct Requests {
    parser: Parser,
    ahead: Ahead,
    /// The present request was found ahead.
    is_ahead: bool,
    /// Length of a request that was parsed but could not run yet.
    parsed: Option<usize>,
}

impl Requests {
    pub(super) fn new() -> Requests {
        Requests {
            parser: Parser::new(),
            ahead: Ahead::default(),
            is_ahead: false,
            parsed: None,
        }
    }

    /// The next request. `input` begins where the one before ended.
    #[inline]
    pub(super) fn next(
        &mut self,
        batch: &mut Batch<'_>,
        session: &Session,
        input: &[u8],
    ) -> Result<Step, ProtocolError> {
        if self.ahead.is_empty() && self.parsed.is_none() && !self.parser.is_mid_request() {
            self.look_ahead(batch, session, input);
        }
        match self.ahead.take() {
            Some(consumed) => {
                self.is_ahead = true;
                Ok(Step::Command { consumed })
            }
            None => {
                self.is_ahead = false;
                match self.parsed.take() {
                    Some(consumed) => Ok(Step::Command { consumed }),
                    None => self.parser.next(input, &limits(batch, session)),
                }
            }
        }
    }

    /// Finds the requests at the beginning of `input`, and if there are several brings what they will look at into the
    /// cache.
    fn look_ahead(&mut self, batch: &mut Batch<'_>, session: &Session, input: &[u8]) {
        let found = self
            .ahead
            .find(input, PREFETCH_MAX, &limits(batch, session));
        batch.known.clear();
        if found > 1 {
            let keys = self.ahead.keys(input, command::key_at);
            let keyspace = &batch.thread.node.keyspace;
            keyspace.prefetch_known(batch.guard, session.db, keys, &mut batch.known);
        }
    }

    /// The words of the present request, which begins where `input` does.
    #[inline]
    pub(super) fn argv<'a>(&'a self, input: &'a [u8]) -> Argv<'a> {
        if self.is_ahead {
            self.ahead.argv(input)
        } else {
            self.parser.argv(input)
        }
    }

    /// The present request, of `consumed` bytes, cannot run yet: it will be the next one again.
    pub(super) fn put_back(&mut self, consumed: usize) {
        self.ahead.clear();
        self.parsed = (!self.is_ahead).then_some(consumed);
    }

    /// Forgets what was found ahead: the buffer is about to change, or what a client may send.
    #[inline]
    pub(super) fn forget_ahead(&mut self) {
        self.ahead.clear();
    }

    /// Bytes of the request under way that are parsed already.
    pub(super) fn parsed_bytes(&self) -> usize {
        self.parser.parsed_bytes()
    }
}

/// The words, in the first of these places, of which there are enough.
#[inline(always)]
pub(super) fn filled<'p, 'w>(places: &'p mut [&'w [u8]], words: Argv<'w>) -> &'p [&'w [u8]] {
    for (place, word) in places.iter_mut().zip(words.iter()) {
        *place = word;
    }
    &places[..words.len()]
}

fn limits(batch: &Batch<'_>, session: &Session) -> Limits {
    Limits {
        args_max: ARGUMENTS_MAX,
        bulk_bytes_max: batch.config.clients.proto_max_bulk_len as usize,
        unauthenticated: !session.authenticated,
    }
}
