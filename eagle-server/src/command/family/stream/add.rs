//! Adding and removing entries: XADD, XDEL, XTRIM, XSETID.

use super::id::{self, EXHAUSTED, NewId, TOO_LARGE};
use super::reply::IdText;
use super::trim_options::TrimOptions;
use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::store::{StreamId, StreamRef, Trim, TrimTo};

/// The most bytes of names and values that an entry may have.
const ENTRY_BYTES_MAX: usize = 1 << 30;

const ID_ZERO: CommandError =
    CommandError::new("ERR The ID specified in XADD must be greater than 0-0");

/// XADD key [NOMKSTREAM] [trimming] id|* field value [field value ...] -- appends an entry; its id.
pub(super) const XADD: Command = Command::new(
    "xadd",
    -5,
    xadd,
    Docs::new("stream", "5.0.0", "Appends a new entry to a stream")
    .complexity("O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.")
    .syntax("key [NOMKSTREAM]{6.2.0} trim=[strategy=<MAXLEN | MINID{6.2.0}> operator=[equal='=' | approximately='~'] threshold [LIMIT count]{6.2.0}] id_or_auto=<auto_id='*' | id> field value [field value ...]")
    .history(&[("6.2.0", "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option."), ("7.0.0", "Added support for the `<ms>-*` explicit ID form.")]),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::STREAM)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE]).notes("UPDATE instead of INSERT because of the optional trimming feature")])
.tips(&["nondeterministic_output"]).replies_first();

fn xadd(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let options = cx.trim_options(&mut args, true)?;
    let fields = args.rest();
    if fields.len() < 2 || !fields.len().is_multiple_of(2) {
        return Err(errors::wrong_arity(&cx.entry.full_name));
    }
    if options.id == NewId::Given(StreamId::MIN) {
        return Err(ID_ZERO);
    }
    let (db, now_ms) = (cx.db(), cx.now_ms);
    let wants_effect = cx.effects.are_wanted();
    let added = cx.view.edit_stream(db, key, !options.no_make, |stream| {
        let last = stream.stream().last_id();
        if last == StreamId::MAX {
            return Ok(Err(EXHAUSTED));
        }
        let id = match options.id.after(last, now_ms) {
            Ok(id) => id,
            Err(error) => return Ok(Err(error)),
        };
        let bytes: usize = fields.iter().map(|field| field.len()).sum();
        if bytes > ENTRY_BYTES_MAX {
            return Ok(Err(TOO_LARGE));
        }
        stream.add(id, fields)?;
        let mut removed = 0;
        let mut bound = None;
        if let Some(trim) = &options.trim {
            removed = stream.trim(trim)?;
            if trim.approximate && wants_effect {
                bound = Some(exact_bound(&stream.stream(), trim));
            }
        }
        Ok(Ok((id, removed, bound)))
    })?;
    let Some(added) = added else {
        return cx.reply_null();
    };
    let (id, removed, bound) = added?;
    cx.notify(EventClasses::STREAM, "xadd", key);
    if removed > 0 {
        cx.notify(EventClasses::STREAM, "xtrim", key);
    }
    let text = IdText::of(id);
    cx.reply_bulk(text.as_bytes())?;
    let is_given = matches!(options.id, NewId::Given(_));
    if wants_effect && !(is_given && bound.is_none()) {
        let mut words = args.argv().to_vec();
        words[options.id_at] = text.as_bytes();
        if let Some(bound) = &bound {
            words[options.bound_at - 1] = b"=";
            words[options.bound_at] = bound;
        }
        cx.effects.instead(db, &words);
    }
    Ok(Flow::Done)
}

/// The bound that removes exactly what was removed, wherever nodes end.
fn exact_bound(stream: &StreamRef<'_>, trim: &Trim) -> Vec<u8> {
    match trim.to {
        TrimTo::Len(_) => stream.len().to_string().into_bytes(),
        TrimTo::From(_) => stream
            .first_entry_id()
            .unwrap_or_default()
            .to_string()
            .into_bytes(),
    }
}

impl Context<'_> {
    fn trim_options(&self, args: &mut Args<'_>, adds: bool) -> Result<TrimOptions, CommandError> {
        let node_entries_max = self.config.encoding.stream_node_max_entries;
        TrimOptions::parse(args, adds, node_entries_max, false)
    }
}

/// XTRIM key MAXLEN|MINID [=|~] bound [LIMIT count] -- removes the oldest entries; their number.
pub(super) const XTRIM: Command = Command::new(
    "xtrim",
    -4,
    xtrim,
    Docs::new("stream", "5.0.0", "Trims the stream to (approximately if '~' is passed) a certain size")
    .complexity("O(N), with N being the number of evicted entries. Constant times are very small however, since entries are organized in macro nodes containing multiple entries that can be released with a single deallocation.")
    .syntax("key trim=<strategy=<MAXLEN | MINID{6.2.0}> operator=[equal='=' | approximately='~'] threshold [LIMIT count]{6.2.0}>")
    .history(&[("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option.")]),
)
.flags(&[Flags::WRITE])
.family(Categories::STREAM)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::DELETE])])
.tips(&["nondeterministic_output"]);

fn xtrim(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let key = args.word()?;
    let options = cx.trim_options(&mut args, false)?;
    // The parser refuses XTRIM without a strategy.
    let trim = options.trim.ok_or(errors::SYNTAX)?;
    let db = cx.db();
    let wants_effect = cx.effects.are_wanted();
    let trimmed = cx.view.edit_stream(db, key, false, |stream| {
        let removed = stream.trim(&trim)?;
        let mut bound = None;
        if removed > 0 {
            stream.note_trimmed(removed);
            if trim.approximate && wants_effect {
                bound = Some(exact_bound(&stream.stream(), &trim));
            }
        }
        Ok((removed, bound))
    })?;
    let (removed, bound) = trimmed.unwrap_or_default();
    if removed > 0 {
        cx.notify(EventClasses::STREAM, "xtrim", key);
    }
    if let Some(bound) = &bound {
        let mut words = args.argv().to_vec();
        words[options.bound_at - 1] = b"=";
        words[options.bound_at] = bound;
        cx.effects.instead(db, &words);
    }
    cx.reply_integer(removed as i64)
}

/// XDEL key id [id ...] -- removes entries; their number.
pub(super) const XDEL: Command = Command::new(
    "xdel",
    -3,
    xdel,
    Docs::new("stream", "5.0.0", "Removes the specified entries from the stream. Returns the number of items actually deleted, that may be different from the number of IDs passed in case certain IDs do not exist.")
    .complexity("O(1) for each single item to delete in the stream, regardless of the stream size.")
    .syntax("key id [id ...]"),
)
.flags(&[Flags::WRITE, Flags::FAST])
.family(Categories::STREAM)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::DELETE])]);

fn xdel(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    if cx.view.stream_len(db, key)?.is_none() {
        return cx.reply_integer(0);
    }
    let ids = id::all(args.rest())?;
    let deleted = cx
        .view
        .edit_stream(db, key, false, |stream| stream.delete(&ids))?
        .unwrap_or_default();
    if deleted > 0 {
        cx.notify(EventClasses::STREAM, "xdel", key);
    }
    cx.reply_integer(deleted as i64)
}

const ADDED_NEGATIVE: CommandError = CommandError::new("ERR entries_added must be positive");
const BELOW_DELETED: CommandError = CommandError::new(
    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
);
const BELOW_TOP: CommandError =
    CommandError::new("ERR The ID specified in XSETID is smaller than the target stream top item");
const BELOW_LEN: CommandError = CommandError::new(
    "ERR The entries_added specified in XSETID is smaller than the target stream length",
);

/// XSETID key last-id [ENTRIESADDED count] [MAXDELETEDID id] -- sets what a stream knows of its past.
pub(super) const XSETID: Command = Command::new(
    "xsetid",
    -3,
    xsetid,
    Docs::new("stream", "5.0.0", "An internal command for replicating stream values")
    .complexity("O(1)")
    .syntax("key last-id [ENTRIESADDED entries_added:integer]{7.0.0} [MAXDELETEDID max_deleted_entry_id]{7.0.0}")
    .history(&[("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments.")]),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST])
.family(Categories::STREAM)
.keys(&[KeySpec::index(1, &[KeyFlags::RW, KeyFlags::UPDATE])]);

fn xsetid(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, db) = (args.word()?, cx.db());
    let last = id::strict(args.word()?, 0)?;
    let (mut added, mut max_deleted) = (None, StreamId::MIN);
    while !args.is_empty() {
        let more = args.len() > 1;
        if more && args.accept("entriesadded") {
            let count = parse_integer(args.word()?)?;
            // Minus one counts as not given, but not here.
            added = Some(u64::try_from(count).map_err(|_| ADDED_NEGATIVE)?);
        } else if more && args.accept("maxdeletedid") {
            max_deleted = id::strict(args.word()?, 0)?;
            if last < max_deleted {
                return Err(BELOW_DELETED);
            }
        } else {
            return Err(errors::SYNTAX);
        }
    }
    let stream = cx.view.stream(db, key)?.ok_or(errors::NO_SUCH_KEY)?;
    if !stream.is_empty() {
        if stream.last_entry_id().is_some_and(|top| last < top) {
            return Err(BELOW_TOP);
        }
        if added.is_some_and(|added| stream.len() > added) {
            return Err(BELOW_LEN);
        }
    }
    let max_deleted = Some(max_deleted).filter(|id| !id.is_zero());
    cx.view.edit_stream(db, key, false, |stream| {
        stream.set_ids(last, added, max_deleted)
    })?;
    cx.notify(EventClasses::STREAM, "xsetid", key);
    cx.reply_ok()
}
