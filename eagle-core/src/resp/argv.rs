//! The arguments of one request, borrowed from the read buffer.

use std::ops::Index;

/// Where one argument lies, as bytes from the buffer's beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
}

/// The arguments of the request [`Parser::next`](super::Parser::next) has just completed.
///
/// Two words to copy; no argument is. Index 0 is the command's name.
#[derive(Clone, Copy)]
pub struct Argv<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Argv<'a> {
    pub(super) fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    /// How many arguments there are, the command's name included. Never 0 for a complete request.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no argument, as between two requests.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`, counted from the command's name at 0.
    pub fn arg(&self, index: usize) -> Option<&'a [u8]> {
        self.spans
            .get(index)
            .map(|span| &self.bytes[span.start..span.end])
    }

    /// All arguments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + use<'a> {
        let bytes = self.bytes;
        self.spans
            .iter()
            .map(move |span| &bytes[span.start..span.end])
    }

    /// The sum of all arguments' lengths.
    pub fn bytes_total(&self) -> usize {
        self.spans.iter().map(|span| span.end - span.start).sum()
    }
}

impl Index<usize> for Argv<'_> {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        let span = self.spans[index];
        &self.bytes[span.start..span.end]
    }
}

impl std::fmt::Debug for Argv<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|arg| arg.escape_ascii().to_string()))
            .finish()
    }
}
