//! XGROUP: making and removing consumer groups and consumers.

use super::{id, no_group, subcommand_syntax};
use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Outcome};
use crate::command::errors::CommandError;
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use crate::config::special::EventClasses;
use eagle_core::store::{StoreError, StreamEdit, StreamId};

const NO_KEY: CommandError = CommandError::new(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
     option to create an empty stream automatically.",
);
const BUSY: CommandError = CommandError::new("BUSYGROUP Consumer Group name already exists");
const READ_NEGATIVE: CommandError =
    CommandError::new("ERR value for ENTRIESREAD must be positive or -1");

/// XGROUP -- container.
pub(super) const XGROUP: Command = Command::new(
    "xgroup",
    -2,
    help,
    Docs::new(
        "stream",
        "5.0.0",
        "A container for consumer groups commands",
    )
    .complexity("Depends on subcommand."),
)
.subcommands(&[
    &CREATE,
    &CREATECONSUMER,
    &DELCONSUMER,
    &DESTROY,
    &HELP,
    &SETID,
]);

/// The options of CREATE and SETID.
#[derive(Default)]
struct Options {
    make: bool,
    /// How many entries the group has read, if that is known.
    read: Option<u64>,
}

impl Options {
    /// Reads the words behind the id.
    fn parse(args: &mut Args<'_>, creates: bool) -> Result<Options, CommandError> {
        let mut options = Options::default();
        while !args.is_empty() {
            if creates && args.accept("mkstream") {
                options.make = true;
            } else if args.len() > 1 && args.accept("entriesread") {
                options.read = match parse_integer(args.word()?)? {
                    -1 => None,
                    read => Some(u64::try_from(read).map_err(|_| READ_NEGATIVE)?),
                };
            } else {
                return Err(subcommand_syntax("XGROUP", args.argv()[1]));
            }
        }
        Ok(options)
    }
}

/// Changes the stream at `key`, in which there must be the group if `group` names one.
fn edit<T>(
    cx: &mut Context<'_>,
    key: &[u8],
    group: Option<&[u8]>,
    edit: impl FnOnce(&mut StreamEdit<'_, '_, '_>) -> Result<T, StoreError>,
) -> Result<T, CommandError> {
    let db = cx.db();
    let stream = cx.view.stream(db, key)?.ok_or(NO_KEY)?;
    if let Some(group) = group.filter(|group| stream.group(group).is_none()) {
        return Err(no_group(key, group));
    }
    let done = cx.view.edit_stream(db, key, false, edit)?;
    Ok(done.expect("it is there"))
}

/// XGROUP CREATE key group id|$ [MKSTREAM] [ENTRIESREAD count] -- makes a group that reads on from an id.
const CREATE: Command = Command::new(
    "create",
    -5,
    create,
    Docs::new("stream", "5.0.0", "Create a consumer group.")
        .complexity("O(1)")
        .syntax("key groupname id=<id | new_id='$'> [MKSTREAM] [ENTRIESREAD entries_read]")
        .history(&[("7.0.0", "Added the `entries_read` named argument.")]),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::STREAM)
.keys(&[KeySpec::index(2, &[KeyFlags::RW, KeyFlags::INSERT])]);

fn create(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (words, db) = (args.argv().len(), cx.db());
    let (key, group, id) = (args.word()?, args.word()?, args.word()?);
    let options = Options::parse(&mut args, true)?;
    let stream = cx.view.stream(db, key)?;
    if stream.is_none() && !options.make {
        return Err(NO_KEY);
    }
    if words > 8 {
        return Err(subcommand_syntax("XGROUP", args.argv()[1]));
    }
    let id = match id {
        b"$" => stream.map_or(StreamId::MIN, |stream| stream.last_id()),
        id => id::strict(id, 0)?,
    };
    let created = cx.view.edit_stream(db, key, true, |stream| {
        stream.create_group(group, id, options.read)
    })?;
    if created != Some(true) {
        return Err(BUSY);
    }
    cx.notify(EventClasses::STREAM, "xgroup-create", key);
    cx.reply_ok()
}

/// XGROUP SETID key group id|$ [ENTRIESREAD count] -- sets from where a group reads on.
const SETID: Command = Command::new(
    "setid",
    -5,
    setid,
    Docs::new(
        "stream",
        "5.0.0",
        "Set a consumer group to an arbitrary last delivered ID value.",
    )
    .complexity("O(1)")
    .syntax("key groupname id=<id | new_id='$'> [ENTRIESREAD entries_read]")
    .history(&[("7.0.0", "Added the optional `entries_read` argument.")]),
)
.flags(&[Flags::WRITE])
.family(Categories::STREAM)
.keys(&[KeySpec::index(2, &[KeyFlags::RW, KeyFlags::UPDATE])]);

fn setid(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let words = args.argv().len();
    let (key, group, id) = (args.word()?, args.word()?, args.word()?);
    let options = Options::parse(&mut args, false)?;
    let set = edit(cx, key, Some(group), |stream| {
        if words != 5 && words != 7 {
            return Ok(Err(subcommand_syntax("XGROUP", args.argv()[1])));
        }
        let id = match id {
            b"$" => Ok(stream.stream().last_id()),
            id => id::relaxed(id, 0),
        };
        let (id, group) = match (id, stream.stream().group(group)) {
            (Ok(id), Some(group)) => (id, group),
            (id, _) => return Ok(id.map(drop)),
        };
        stream.set_group(&group, id, options.read)?;
        stream.note(1);
        Ok(Ok(()))
    })?;
    set?;
    cx.notify(EventClasses::STREAM, "xgroup-setid", key);
    cx.reply_ok()
}

/// XGROUP DESTROY key group -- removes a group; whether there was one.
const DESTROY: Command = Command::new(
    "destroy",
    4,
    destroy,
    Docs::new("stream", "5.0.0", "Destroy a consumer group.")
        .complexity(
            "O(N) where N is the number of entries in the group's pending entries list (PEL).",
        )
        .syntax("key groupname"),
)
.flags(&[Flags::WRITE])
.family(Categories::STREAM)
.keys(&[KeySpec::index(2, &[KeyFlags::RW, KeyFlags::DELETE])]);

fn destroy(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, group) = (args.word()?, args.word()?);
    let destroyed = edit(cx, key, None, |stream| stream.destroy_group(group))?;
    if destroyed {
        cx.notify(EventClasses::STREAM, "xgroup-destroy", key);
        // Those who wait for the group wait in vain.
        cx.signal_ready(key);
    }
    cx.reply_bool(destroyed)
}

/// XGROUP CREATECONSUMER key group consumer -- makes a consumer; whether it is new.
const CREATECONSUMER: Command = Command::new(
    "createconsumer",
    5,
    createconsumer,
    Docs::new("stream", "6.2.0", "Create a consumer in a consumer group.")
        .complexity("O(1)")
        .syntax("key groupname consumername"),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::STREAM)
.keys(&[KeySpec::index(2, &[KeyFlags::RW, KeyFlags::INSERT])]);

fn createconsumer(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, group, consumer) = (args.word()?, args.word()?, args.word()?);
    let now_ms = cx.now_ms;
    let created = edit(cx, key, Some(group), |stream| {
        let Some(group) = stream.stream().group(group) else {
            return Ok(false);
        };
        if group.consumer(consumer).is_some() {
            return Ok(false);
        }
        stream.create_consumer(&group, consumer, now_ms)?;
        Ok(true)
    })?;
    if created {
        cx.notify(EventClasses::STREAM, "xgroup-createconsumer", key);
    }
    cx.reply_bool(created)
}

/// XGROUP DELCONSUMER key group consumer -- removes a consumer; the number of entries it had not acknowledged.
const DELCONSUMER: Command = Command::new(
    "delconsumer",
    5,
    delconsumer,
    Docs::new(
        "stream",
        "5.0.0",
        "Delete a consumer from a consumer group.",
    )
    .complexity("O(1)")
    .syntax("key groupname consumername"),
)
.flags(&[Flags::WRITE])
.family(Categories::STREAM)
.keys(&[KeySpec::index(2, &[KeyFlags::RW, KeyFlags::DELETE])]);

fn delconsumer(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, group, consumer) = (args.word()?, args.word()?, args.word()?);
    let pending = edit(cx, key, Some(group), |stream| {
        let Some(group) = stream.stream().group(group) else {
            return Ok(None);
        };
        let Some(consumer) = group.consumer(consumer) else {
            return Ok(None);
        };
        let pending = consumer.pending_len();
        stream.delete_consumer(&group, &consumer)?;
        Ok(Some(pending))
    })?;
    if pending.is_some() {
        cx.notify(EventClasses::STREAM, "xgroup-delconsumer", key);
    }
    cx.reply_integer(pending.unwrap_or(0) as i64)
}

const HELP: Command = Command::new(
    "help",
    2,
    help,
    Docs::new(
        "stream",
        "5.0.0",
        "Show helpful text about the different subcommands",
    )
    .complexity("O(1)"),
)
.flags(&[Flags::LOADING, Flags::STALE])
.family(Categories::STREAM);

fn help(cx: &mut Context<'_>, _: Args<'_>) -> Outcome {
    cx.reply_help(&[
        "CREATE <key> <groupname> <id|$> [option]",
        "    Create a new consumer group. Options are:",
        "    * MKSTREAM",
        "      Create the empty stream if it does not exist.",
        "    * ENTRIESREAD entries_read",
        "      Set the group's entries_read counter (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Create a new consumer in the specified group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the specified consumer.",
        "DESTROY <key> <groupname>",
        "    Remove the specified group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the current group ID and entries_read counter.",
    ])
}
