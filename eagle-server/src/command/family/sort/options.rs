//! The arguments of SORT.

use crate::command::args::Args;
use crate::command::context::Context;
use crate::command::errors::{self, CommandError};
use crate::command::permission::may_read_any_key;
use std::ops::Range;

/// What decides the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By<'a> {
    /// The element itself.
    Element,
    /// The value that a pattern gives for the element.
    Pattern(&'a [u8]),
    /// Nothing: the elements stay as they stand. That is what a pattern without a star is for.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Options<'a> {
    pub(super) by: By<'a>,
    pub(super) descending: bool,
    pub(super) alpha: bool,
    limit: (i64, i64),
    pub(super) get: Vec<&'a [u8]>,
    pub(super) store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// Reads the key and the options behind it.
    pub(super) fn parse(
        cx: &Context<'_>,
        mut args: Args<'a>,
        may_store: bool,
    ) -> Result<(&'a [u8], Options<'a>), CommandError> {
        let argv = args.argv();
        let key = args.word()?;
        let mut options = Options {
            by: By::Element,
            descending: false,
            alpha: false,
            limit: (0, -1),
            get: Vec::new(),
            store: None,
        };
        let may_look_up = |option: &str| {
            let reason = if cx.is_clustered() {
                "in Cluster mode."
            } else if !may_read_any_key(&cx.session.user, cx.entry, argv) {
                "due to insufficient ACL permissions."
            } else {
                return Ok(());
            };
            let text = format!("ERR {option} option of SORT denied {reason}");
            Err(CommandError::owned(text))
        };
        while !args.is_empty() {
            let left = args.len();
            if args.accept("ASC") {
                options.descending = false;
            } else if args.accept("DESC") {
                options.descending = true;
            } else if args.accept("ALPHA") {
                options.alpha = true;
            } else if left > 2 && args.accept("LIMIT") {
                options.limit = (args.integer()?, args.integer()?);
            } else if left > 1 && may_store && args.accept("STORE") {
                options.store = Some(args.word()?);
            } else if left > 1 && args.accept("BY") {
                let pattern = args.word()?;
                if !pattern.contains(&b'*') {
                    options.by = By::Nothing;
                    continue;
                }
                may_look_up("BY")?;
                // Once nothing is to be sorted, a later pattern does not change that.
                if options.by != By::Nothing {
                    options.by = By::Pattern(pattern);
                }
            } else if left > 1 && args.accept("GET") {
                may_look_up("GET")?;
                options.get.push(args.word()?);
            } else {
                return Err(errors::SYNTAX);
            }
        }
        Ok((key, options))
    }

    /// The part of `len` elements that LIMIT leaves.
    pub(super) fn range(&self, len: usize) -> Range<usize> {
        let (start, count) = self.limit;
        let bounded = |value: i64| usize::try_from(value).unwrap_or(usize::MAX).min(len);
        let start = bounded(start.max(0));
        let count = if count < 0 { len } else { bounded(count) };
        start..(start + count).min(len)
    }
}
