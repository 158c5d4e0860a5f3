//! Replies into bytes, for both versions of the protocol.
//!
//! A command writes the reply it means (a map, a double, a null) once; what version 2 has no type
//! for is degraded here, as Redis does:
//!
//! | written                  | RESP3         | RESP2                            |
//! |--------------------------|---------------|----------------------------------|
//! | `null`, `null_array`     | `_`           | `$-1`, `*-1`                     |
//! | `map(n)`                 | `%n`          | `*2n`                            |
//! | `set(n)`, `push(n)`      | `~n`, `>n`    | `*n`                             |
//! | `double`                 | `,3.5`        | `$3 3.5`                         |
//! | `bool`                   | `#t`          | `:1`                             |
//! | `big_number`             | `(123`        | `$3 123`                         |
//! | `verbatim`               | `=7 txt:abc`  | `$3 abc`                         |
//! | `attribute(n)`           | `\|n`         | nothing, and so its pairs        |
//!
//! Aggregates announce how many elements follow. Who does not know yet reserves the header with
//! [`Writer::deferred`] and fills it in afterwards, innermost first.
//!
//! A writer may have a [bound](Writer::set_bytes_max). Who goes beyond it has overflowed: all that was written is freed, and what
//! would still be written is dropped, so that whoever writes need not look whether there is anybody left to read it.

use std::io::Write;

use bytes::Bytes;

use crate::text::double::DoubleText;

/// The version of the protocol a client speaks; it begins with 2 and may change by HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Version 2.
    #[default]
    Resp2,
    /// Version 3.
    Resp3,
}

/// A place in the reply to go back to with [`Writer::truncate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(usize);

/// A header to be written when the number of elements is known. Neither copied nor forgotten: a
/// reply with a reserved header that was never filled in is no reply.
#[derive(Debug)]
#[must_use = "finish the aggregate, or truncate to a mark before it"]
pub struct Deferred {
    at: usize,
}

/// The longest header of an aggregate: a marker, 20 digits, a line end.
const HEADER_BYTES_MAX: usize = 23;

/// The bytes kept allocated when a writer is cleared.
const CAPACITY_KEPT_BYTES_MAX: usize = 64 * 1024;

/// By how much the room asked for may exceed what is written then: a header that turns out to be short.
const BOUND_SLACK_BYTES: usize = 64;

/// Appends replies to a buffer it owns and reuses.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    /// The replies begin here; before it lies room given up by a deferred header.
    start: usize,
    protocol: Protocol,
    /// How much may be written. It is looked at only where the buffer has to grow.
    bytes_max: usize,
    /// How much there would have been where the bound was met. The buffer has no capacity from then on.
    overflow_bytes: Option<usize>,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new(Protocol::default())
    }
}

impl Writer {
    /// An empty writer.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            out: Vec::new(),
            start: 0,
            protocol,
            bytes_max: usize::MAX,
            overflow_bytes: None,
        }
    }

    /// Bounds how long what is written may become, from now on. As the buffer is looked at only where it has to grow, and grows
    /// to twice its size, up to twice the bound may be written before that is noticed; and what a cleared writer keeps.
    #[inline]
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// How long what is written may become.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Has the writer overflow now, for who knows a lower bound.
    pub fn overflow(&mut self) {
        self.give_up(self.len());
    }

    /// Whether more was to be written than the bound allows. Nothing is left then.
    #[inline]
    pub fn has_overflowed(&self) -> bool {
        self.overflow_bytes.is_some()
    }

    /// How much was written, and would have been where the bound was met, if it was.
    pub fn overflow_bytes(&self) -> Option<usize> {
        self.overflow_bytes
    }

    /// The version replies are written in.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the version for what is written from now on.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// All that was written since the writer was last cleared.
    pub fn as_bytes(&self) -> &[u8] {
        &self.out[self.start..]
    }

    /// Bytes written since the writer was last cleared.
    pub fn len(&self) -> usize {
        self.out.len() - self.start
    }

    /// Whether nothing was written since the writer was last cleared.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes allocated, for accounting.
    pub fn capacity_bytes(&self) -> usize {
        self.out.capacity()
    }

    /// Forgets all that was written. A large buffer is given back, a usual one kept.
    pub fn clear(&mut self) {
        self.out.clear();
        self.start = 0;
        self.out.shrink_to(CAPACITY_KEPT_BYTES_MAX);
    }

    /// Takes out all that was written, without copying it, and leaves the writer empty.
    pub fn take(&mut self) -> Bytes {
        let start = std::mem::take(&mut self.start);
        Bytes::from(std::mem::take(&mut self.out)).slice(start..)
    }

    /// Moves all that was written behind what is in `to`, and leaves the writer empty. What is long is not copied if there
    /// is nothing in `to`.
    pub fn move_to(&mut self, to: &mut Vec<u8>) {
        if to.is_empty() && self.len() >= CAPACITY_KEPT_BYTES_MAX {
            *to = std::mem::take(&mut self.out);
            to.drain(..std::mem::take(&mut self.start));
        } else {
            to.extend_from_slice(self.as_bytes());
            self.clear();
        }
    }

    /// Drops the first `bytes` bytes, which were sent. Marks and deferred headers do not outlive it.
    pub fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.len(), "more was sent than written");
        self.start += bytes;
        if self.is_empty() {
            self.clear();
        }
    }

    /// The present end.
    pub fn mark(&self) -> Mark {
        Mark(self.len())
    }

    /// Takes back all that was written after `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.out.truncate(self.start + mark.0);
    }

    /// Puts replies between those already written, each at its mark; marks ascend. All other marks and reserved
    /// headers behind the first of them are void.
    pub fn insert(&mut self, pieces: &[(Mark, Bytes)]) {
        let Some((first, _)) = pieces.first() else {
            return;
        };
        if !self.has_room(pieces.iter().map(|(_, bytes)| bytes.len()).sum()) {
            return;
        }
        let tail = self.out.split_off(self.start + first.0);
        let mut from = 0;
        for (mark, bytes) in pieces {
            let to = (mark.0 - first.0).min(tail.len());
            self.out.extend_from_slice(&tail[from..to]);
            self.out.extend_from_slice(bytes);
            from = to;
        }
        self.out.extend_from_slice(&tail[from..]);
    }

    /// What was written after `mark`; nothing once the writer has overflowed.
    pub fn since(&self, mark: Mark) -> &[u8] {
        match self.overflow_bytes {
            None => &self.as_bytes()[mark.0..],
            Some(_) => &[],
        }
    }

    /// Appends bytes which are a reply, or a part of one, already.
    #[inline]
    pub fn raw(&mut self, reply: &[u8]) {
        if self.has_room(reply.len()) {
            self.out.extend_from_slice(reply);
        }
    }

    /// `+OK`
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A status: `+<text>`. Line ends in it become spaces.
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', text.as_ref());
    }

    /// An error: `-<text>`, whose first word is the error's code. Line ends in it become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.raw(b":0\r\n"),
            1 => self.raw(b":1\r\n"),
            _ => self.raw_line(b':', itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    /// A byte string.
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        self.bulk_of(b'$', bytes.as_ref());
    }

    /// A byte string, or null.
    pub fn bulk_or_null(&mut self, bytes: Option<impl AsRef<[u8]>>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// A byte string of several parts, one after the other, without joining them first.
    pub fn bulk_parts(&mut self, parts: &[&[u8]]) {
        self.header(b'$', parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.raw(part);
        }
        self.raw(b"\r\n");
    }

    /// A byte string. A long one is not copied if nothing was written before.
    pub fn bulk_owned(&mut self, mut bytes: Vec<u8>) {
        let len = bytes.len();
        if !self.is_empty() || len < CAPACITY_KEPT_BYTES_MAX {
            return self.bulk(bytes);
        }
        if self.has_overflowed() || self.overflows(len) {
            return;
        }
        self.clear();
        self.header(b'$', len);
        bytes.reserve_exact(self.len() + 2);
        bytes.splice(0..0, self.out.drain(..));
        bytes.extend_from_slice(b"\r\n");
        self.out = bytes;
    }

    /// A byte string of `len` bytes, which `write` adds [raw](Writer::raw).
    pub fn bulk_pieces(&mut self, len: usize, write: impl FnOnce(&mut Writer)) {
        if !self.has_room(HEADER_BYTES_MAX + len + 2) {
            return;
        }
        self.header(b'$', len);
        let end = self.out.len() + len;
        write(self);
        debug_assert_eq!(self.out.len(), end, "as many bytes as were announced");
        self.raw(b"\r\n");
    }

    /// A byte string that is `value` in decimal.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value));
    }

    /// A byte string that is `text` as it displays: something short, for which no bound is looked at.
    pub fn bulk_display(&mut self, text: impl std::fmt::Display) {
        let header = self.deferred();
        if self.has_overflowed() {
            return;
        }
        write!(self.out, "{text}").expect("a vector takes all bytes");
        let bytes = self.out.len() - self.start - header.at - HEADER_BYTES_MAX;
        self.finish(header, b'$', bytes);
        self.raw(b"\r\n");
    }

    /// No value, where there could be one.
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No array, where there could be one.
    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// An array; `len` elements follow.
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// A map; `pairs` times a key and a value follow.
    pub fn map(&mut self, pairs: usize) {
        let (marker, len) = self.map_header(pairs);
        self.header(marker, len);
    }

    /// A set; `len` elements follow.
    pub fn set(&mut self, len: usize) {
        self.header(self.set_marker(), len);
    }

    /// A message out of order (pub/sub, invalidation); `len` elements follow.
    pub fn push(&mut self, len: usize) {
        self.header(self.in_resp3(b'>'), len);
    }

    /// Begins attributes of the next reply, `pairs` times a key and a value. Returns whether to
    /// write them: version 2 has no attributes, and nothing must be written then.
    #[must_use = "in RESP2 the pairs must be left out"]
    pub fn attribute(&mut self, pairs: usize) -> bool {
        let written = self.protocol == Protocol::Resp3;
        if written {
            self.header(b'|', pairs);
        }
        written
    }

    /// A floating point number as `%.17g` prints it.
    pub fn double(&mut self, value: f64) {
        self.double_text(DoubleText::new(value).as_bytes());
    }

    /// A floating point number that was printed elsewhere, with other digits.
    pub fn double_text(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => self.raw_line(b',', text),
        }
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) {
        self.raw(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// An integer of any size, given in decimal. Line ends in it become spaces.
    pub fn big_number(&mut self, digits: impl AsRef<[u8]>) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits),
            Protocol::Resp3 => self.line(b'(', digits.as_ref()),
        }
    }

    /// A text to be shown as it is; `format` is `txt` or `mkd`.
    pub fn verbatim(&mut self, format: &[u8; 3], text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.raw(format);
                self.raw(b":");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// Reserves the header of an aggregate whose elements are written next, and counted by the
    /// caller. Several may be open; each is finished after those reserved later.
    pub fn deferred(&mut self) -> Deferred {
        let at = self.len();
        self.raw(&[0; HEADER_BYTES_MAX]);
        Deferred { at }
    }

    /// Makes the reserved header one of an array of `len` elements.
    pub fn finish_array(&mut self, header: Deferred, len: usize) {
        self.finish(header, b'*', len);
    }

    /// Makes the reserved header one of a map of `pairs` keys with values.
    pub fn finish_map(&mut self, header: Deferred, pairs: usize) {
        let (marker, len) = self.map_header(pairs);
        self.finish(header, marker, len);
    }

    /// Makes the reserved header one of a set of `len` elements.
    pub fn finish_set(&mut self, header: Deferred, len: usize) {
        self.finish(header, self.set_marker(), len);
    }

    /// Makes the reserved header one of a message of `len` elements.
    pub fn finish_push(&mut self, header: Deferred, len: usize) {
        self.finish(header, self.in_resp3(b'>'), len);
    }

    /// Writes the header at the end of the room reserved for it and closes the gap before it by
    /// moving whichever is shorter: what follows, or what precedes. A large reply that begins the
    /// buffer is therefore not moved at all.
    ///
    /// Positions count from `start`, hence marks and headers reserved earlier stay true when what
    /// precedes moves up together with `start`.
    fn finish(&mut self, header: Deferred, marker: u8, len: usize) {
        if self.has_overflowed() {
            return;
        }
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(len).as_bytes();
        let header_bytes = digits.len() + 3;
        let gap = self.start + header.at;
        let elements = gap + HEADER_BYTES_MAX;
        assert!(
            elements <= self.out.len(),
            "the reply was truncated before its header was written"
        );
        let text_at = elements - header_bytes;
        self.out[text_at] = marker;
        self.out[text_at + 1..elements - 2].copy_from_slice(digits);
        self.out[elements - 2..elements].copy_from_slice(b"\r\n");
        if header.at <= self.out.len() - text_at {
            self.out
                .copy_within(self.start..gap, self.start + text_at - gap);
            self.start += text_at - gap;
        } else {
            self.out.copy_within(text_at.., gap);
            self.out.truncate(self.out.len() - (text_at - gap));
        }
    }

    fn header(&mut self, marker: u8, len: usize) {
        if len < 10 {
            self.raw(&[marker, b'0' + len as u8, b'\r', b'\n']);
        } else if len < 100 {
            let (tens, ones) = (b'0' + (len / 10) as u8, b'0' + (len % 10) as u8);
            self.raw(&[marker, tens, ones, b'\r', b'\n']);
        } else {
            self.raw_line(marker, itoa::Buffer::new().format(len).as_bytes());
        }
    }

    fn bulk_of(&mut self, marker: u8, bytes: &[u8]) {
        if self.has_room(HEADER_BYTES_MAX + bytes.len() + 2) {
            self.header(marker, bytes.len());
            self.raw(bytes);
            self.raw(b"\r\n");
        }
    }

    /// A line of any bytes.
    fn line(&mut self, marker: u8, text: &[u8]) {
        let at = self.out.len();
        self.raw_line(marker, text);
        if self.has_overflowed() {
            return;
        }
        let end = self.out.len() - 2;
        for byte in &mut self.out[at..end] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
    }

    /// A line of bytes known to have no line end.
    fn raw_line(&mut self, marker: u8, text: &[u8]) {
        if self.has_room(text.len() + 3) {
            self.out.push(marker);
            self.out.extend_from_slice(text);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// Whether so many bytes more may be written; there is room for them then.
    #[inline(always)]
    fn has_room(&mut self, bytes: usize) -> bool {
        self.out.capacity() - self.out.len() >= bytes || self.grow(bytes)
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, bytes: usize) -> bool {
        if self.has_overflowed() || self.overflows(bytes) {
            return false;
        }
        self.out.reserve(bytes);
        true
    }

    /// Whether so many bytes more are too many. All that was written is freed then.
    fn overflows(&mut self, bytes: usize) -> bool {
        let bytes_wanted = self.len() + bytes;
        let overflows = bytes_wanted > self.bytes_max.saturating_add(BOUND_SLACK_BYTES);
        if overflows {
            self.give_up(bytes_wanted);
        }
        overflows
    }

    fn give_up(&mut self, bytes_wanted: usize) {
        self.overflow_bytes = Some(bytes_wanted);
        self.out = Vec::new();
        self.start = 0;
    }

    fn map_header(&self, pairs: usize) -> (u8, usize) {
        match self.protocol {
            Protocol::Resp2 => (b'*', pairs * 2),
            Protocol::Resp3 => (b'%', pairs),
        }
    }

    fn set_marker(&self) -> u8 {
        self.in_resp3(b'~')
    }

    /// `marker`, or that of an array in version 2.
    fn in_resp3(&self, marker: u8) -> u8 {
        match self.protocol {
            Protocol::Resp2 => b'*',
            Protocol::Resp3 => marker,
        }
    }
}

#[cfg(test)]
mod tests;
