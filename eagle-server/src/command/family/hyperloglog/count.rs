//! Adding, counting and merging: PFADD, PFCOUNT, PFMERGE.

use crate::command::args::Args;
use crate::command::context::{Context, Outcome};
use crate::command::errors::CommandError;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use crate::config::special::EventClasses;
use eagle_core::bits::hyperloglog::{self, Corrupt, Form, HyperLogLog, REGISTERS};
use eagle_core::store::{Encoding, StoreError, StringForm, Text, Ttl};
use std::borrow::Cow;

/// PFADD key [element ...] -- adds elements; whether the estimate may have changed.
pub(super) const PFADD: Command = Command::new(
    "pfadd",
    -2,
    pfadd,
    Docs::new(
        "hyperloglog",
        "2.8.9",
        "Adds the specified elements to the specified HyperLogLog.",
    )
    .complexity("O(1) to add every element.")
    .syntax("key [element ...]"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::HYPERLOGLOG)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::INSERT])]);

fn pfadd(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    if let Some(changes) = add_in_place(cx, key, args.rest())? {
        if changes {
            cx.notify(EventClasses::STRING, "pfadd", key);
        }
        return cx.reply_bool(changes);
    }
    let old = at(cx, key)?;
    let is_new = old.is_none();
    let mut hll = old.map_or_else(HyperLogLog::empty, owned);
    let mut changes = is_new;
    for element in args.rest() {
        changes |= hll.add(element, sparse_bytes_max(cx)).map_err(corrupt)?;
    }
    if changes {
        hll.invalidate();
        store(cx, key, &hll, is_new)?;
        cx.notify(EventClasses::STRING, "pfadd", key);
    } else {
        unshare(cx, key, &hll)?;
    }
    cx.reply_bool(changes)
}

/// Even a PFADD that adds nothing, or a PFDEBUG, makes the string one that was modified in place.
pub(super) fn unshare(
    cx: &mut Context<'_>,
    key: &[u8],
    hll: &HyperLogLog<Vec<u8>>,
) -> Result<(), CommandError> {
    let db = cx.db();
    let found = cx.view.find(db, key);
    if found.is_some_and(|entry| entry.encoding() == Encoding::Embstr) {
        cx.view
            .recode_string(db, key, hll.as_bytes(), StringForm::Raw)?;
    }
    Ok(())
}

/// Adds elements to a dense HyperLogLog by writing the registers they raise; whether there were any. `None` if what is at
/// `key` is none of that form.
fn add_in_place(
    cx: &mut Context<'_>,
    key: &[u8],
    elements: &[&[u8]],
) -> Result<Option<bool>, CommandError> {
    let db = cx.db();
    let head = match cx.view.string_window(db, key, 0) {
        Err(StoreError::WrongType) => return Ok(None),
        head => head?,
    };
    if !hyperloglog::is_dense(&head.bytes, head.len) {
        return Ok(None);
    }
    let mut changes = false;
    for element in elements {
        let (register, value) = hyperloglog::register_of(element);
        let at = hyperloglog::dense_position(register);
        let mut window = cx.view.string_window(db, key, at)?.bytes;
        let raised = hyperloglog::raise_dense(&mut window, register, value);
        if let Some(len) = raised {
            cx.view.write_string(db, key, at, &window[..len])?;
            changes = true;
        }
    }
    let (at, byte) = hyperloglog::stale(&head.bytes);
    if changes && byte != head.bytes[at] {
        cx.view.write_string(db, key, at as u64, &[byte])?;
    }
    Ok(Some(changes))
}

/// PFCOUNT key [key ...] -- how many different elements were added to any of the keys, about.
///
/// The count of a single key is cached in its string, so that reading it may write.
pub(super) const PFCOUNT: Command = Command::new(
    "pfcount",
    -2,
    pfcount,
    Docs::new(
        "hyperloglog",
        "2.8.9",
        "Return the approximated cardinality of the set(s) observed by the HyperLogLog at key(s).",
    )
    .complexity(
        "O(1) with a very small average constant time when called with a single key. O(N) with N being the number of \
         keys, and much bigger constant times, when called with multiple keys.",
    )
    .syntax("key [key ...]"),
)
.flags(&[Flags::READONLY, Flags::MAY_REPLICATE])
.scope(Scope::Keys)
.family(Categories::HYPERLOGLOG)
.keys(&[
    KeySpec::range(1, -1, 1, &[KeyFlags::RW, KeyFlags::ACCESS]).notes(
        "RW because it may change the internal representation of the key, and propagate to replicas",
    ),
]);

fn pfcount(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    if let [key] = *args.rest() {
        return pfcount_one(cx, key);
    }
    let mut registers = Box::new([0; REGISTERS]);
    for key in args.rest() {
        if let Some(hll) = looked_up(cx, key)? {
            hll.merge_into(&mut registers).map_err(corrupt)?;
        }
    }
    cx.reply_integer(hyperloglog::count(&registers) as i64)
}

fn pfcount_one(cx: &mut Context<'_>, key: &[u8]) -> Outcome {
    let Some(hll) = looked_up(cx, key)? else {
        return cx.reply_integer(0);
    };
    if let Some(count) = hll.cached() {
        return cx.reply_integer(count as i64);
    }
    let count = hll.count().map_err(corrupt)?;
    let db = cx.db();
    match cx
        .view
        .write_string(db, key, hyperloglog::CACHED_AT, &count.to_le_bytes())
    {
        // It reads, as far as its flags tell; others keep the count too.
        Ok(_) => cx.effects.force(),
        // The answer is right without the cache, too.
        Err(StoreError::OutOfSpace) => {}
        Err(error) => return Err(error.into()),
    }
    cx.reply_integer(count as i64)
}

/// PFMERGE destkey [sourcekey ...] -- adds to `destkey` what was added to the source keys.
pub(super) const PFMERGE: Command = Command::new(
    "pfmerge",
    -2,
    pfmerge,
    Docs::new(
        "hyperloglog",
        "2.8.9",
        "Merge N different HyperLogLogs into a single one.",
    )
    .complexity("O(N) to merge N HyperLogLogs, but with high constant times.")
    .syntax("destkey sourcekey..."),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::HYPERLOGLOG)
.keys(&[
    KeySpec::index(1, &[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::INSERT]),
    KeySpec::range(2, -1, 1, &[KeyFlags::RO, KeyFlags::ACCESS]),
]);

fn pfmerge(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let target = args.rest()[0];
    let mut registers = Box::new([0; REGISTERS]);
    let mut is_dense = false;
    for key in args.rest() {
        if let Some(hll) = looked_up(cx, key)? {
            is_dense |= hll.form() == Form::Dense;
            hll.merge_into(&mut registers).map_err(corrupt)?;
        }
    }
    let old = at(cx, target)?;
    let is_new = old.is_none();
    let mut merged = old.map_or_else(HyperLogLog::empty, owned);
    if is_dense {
        merged.make_dense().map_err(corrupt)?;
    }
    for (at, value) in registers
        .iter()
        .enumerate()
        .filter(|(_, value)| **value > 0)
    {
        merged
            .raise(at, *value, sparse_bytes_max(cx))
            .map_err(corrupt)?;
    }
    merged.invalidate();
    store(cx, target, &merged, is_new)?;
    cx.notify(EventClasses::STRING, "pfadd", target);
    cx.reply_ok()
}

/// A HyperLogLog where it lies, if it lies in one piece.
type Stored<'a> = HyperLogLog<Cow<'a, [u8]>>;

/// The HyperLogLog at `key`, if there is a string.
pub(super) fn at<'a>(cx: &Context<'a>, key: &[u8]) -> Result<Option<Stored<'a>>, CommandError> {
    // What is damaged may be of any length, and a change of it leaves the rest as it is.
    let found = read(cx, key, u64::MAX)?;
    found.map(|bytes| bytes.ok_or(NO_HYPERLOGLOG)).transpose()
}

/// The same, to be read only, and counted as a look-up.
fn looked_up<'a>(cx: &Context<'a>, key: &[u8]) -> Result<Option<Stored<'a>>, CommandError> {
    let found = cx.noted(read(cx, key, hyperloglog::BYTES_MAX))?;
    found.map(|bytes| bytes.ok_or(NO_HYPERLOGLOG)).transpose()
}

const NO_HYPERLOGLOG: CommandError =
    CommandError::new("WRONGTYPE Key is not a valid HyperLogLog string value.");

/// The HyperLogLog that the string at `key` is, if there is one. Of a string in chunks that is one by its head, up to
/// `bytes_max` bytes are joined; of others, which may be very long, none.
fn read<'a>(
    cx: &Context<'a>,
    key: &[u8],
    bytes_max: u64,
) -> Result<Option<Option<Stored<'a>>>, StoreError> {
    cx.view
        .with_string(cx.db(), key, |string| match string.text() {
            Some(Text::Int(_)) => None,
            Some(Text::Bytes(bytes)) => HyperLogLog::new(Cow::Borrowed(bytes)),
            None if !hyperloglog::is_one(&string.window(0), string.len()) => None,
            None => {
                let len = string.len().min(bytes_max);
                let mut joined = Vec::with_capacity(len as usize);
                string.pieces(0..len, &mut |piece| {
                    piece.for_each(|bytes| joined.extend_from_slice(bytes));
                });
                HyperLogLog::new(Cow::Owned(joined))
            }
        })
}

pub(super) fn owned(hll: Stored<'_>) -> HyperLogLog<Vec<u8>> {
    HyperLogLog::new(hll.into_bytes().into_owned()).unwrap_or_else(HyperLogLog::empty)
}

pub(super) fn corrupt(_: Corrupt) -> CommandError {
    CommandError::new("INVALIDOBJ Corrupted HLL object detected")
}

/// Bytes up to which a HyperLogLog stays sparse.
pub(super) fn sparse_bytes_max(cx: &Context<'_>) -> usize {
    usize::try_from(cx.config.encoding.hll_sparse_max_bytes).unwrap_or(usize::MAX)
}

pub(super) fn store(
    cx: &mut Context<'_>,
    key: &[u8],
    hll: &HyperLogLog<Vec<u8>>,
    is_new: bool,
) -> Result<(), StoreError> {
    let ttl = if is_new { Ttl::Clear } else { Ttl::Keep };
    cx.view
        .set_string(cx.session.db, key, hll.as_bytes(), StringForm::Raw, ttl)
}
