//! BITFIELD and BITFIELD_RO: integers of any width inside a string.

use super::bit::{BAD_OFFSET, check_offset, make_raw, tell};
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::keys::{KeyRef, KeyRefs};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use eagle_core::bits::field::{FieldType, Overflow};
use eagle_core::store::{LARGE_STRING_BYTES_MIN, StringWindow};
use eagle_core::text::integer::parse_i64;

/// BITFIELD key [GET type offset | [OVERFLOW how] SET type offset value | [OVERFLOW how] INCRBY type
/// offset increment ...] -- reads and changes integers; one reply for each.
pub(super) const BITFIELD: Command = Command::new(
    "bitfield",
    -2,
    bitfield,
    Docs::new(
        "bitmap",
        "3.2.0",
        "Perform arbitrary bitfield integer operations on strings",
    )
    .complexity("O(1) for each subcommand specified")
    .syntax(
        "key operation=[GET encoding_offset=<encoding offset> | write=<[OVERFLOW wrap_sat_fail=<WRAP | SAT | \
         FAIL>] write_operation=<SET encoding_offset_value=<encoding offset value:integer> | INCRBY \
         encoding_offset_increment=<encoding offset increment>>> ...]",
    ),
)
.flags(&[Flags::WRITE, Flags::DENYOOM])
.family(Categories::BITMAP)
.keys(&[KeySpec::index(
    1,
    &[
        KeyFlags::RW,
        KeyFlags::UPDATE,
        KeyFlags::ACCESS,
        KeyFlags::VARIABLE_FLAGS,
    ],
)
.notes("This command allows both access and modification of the key")])
.find_keys(bitfield_keys).replies_first();

/// The key is only read if every operation is a whole GET.
fn bitfield_keys(argv: &[&[u8]]) -> KeyRefs {
    const READS: KeyFlags = KeyFlags::all(&[KeyFlags::RO, KeyFlags::ACCESS]);
    const WRITES: KeyFlags = KeyFlags::all(&[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE]);
    let mut rest = argv.get(2..).unwrap_or_default();
    let mut flags = READS;
    while let Some((word, arguments)) = rest.split_first() {
        let taken = if word.eq_ignore_ascii_case(b"get") {
            arguments.get(2..)
        } else if word.eq_ignore_ascii_case(b"overflow") {
            arguments.get(1..)
        } else {
            None
        };
        let Some(left) = taken else {
            flags = WRITES;
            break;
        };
        rest = left;
    }
    (1..argv.len().min(2))
        .map(|position| KeyRef { position, flags })
        .collect()
}

fn bitfield(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let key = args.rest()[0];
    let operations = parse(cx, args)?;
    match operations.iter().filter_map(Operation::last_written).max() {
        None => read(cx, key, &operations),
        Some(last) => write(cx, key, &operations, last),
    }
}

/// BITFIELD_RO key [GET type offset ...] -- BITFIELD that only reads.
pub(super) const BITFIELD_RO: Command = Command::new(
    "bitfield_ro",
    -2,
    bitfield_ro,
    Docs::new(
        "bitmap",
        "6.0.0",
        "Perform arbitrary bitfield integer operations on strings. Read-only variant of BITFIELD",
    )
    .complexity("O(1) for each subcommand specified")
    .syntax(
        "key [GET encoding_offset=<encoding offset> [GET encoding_offset=<encoding offset> ...]]",
    ),
)
.flags(&[Flags::READONLY, Flags::FAST])
.family(Categories::BITMAP)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])]);

fn bitfield_ro(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const ONLY_GET: CommandError =
        CommandError::new("ERR BITFIELD_RO only supports the GET subcommand");
    let key = args.rest()[0];
    let operations = parse(cx, args)?;
    if operations
        .iter()
        .any(|operation| operation.last_written().is_some())
    {
        return Err(ONLY_GET);
    }
    read(cx, key, &operations)
}

/// What is done with one integer.
#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set { value: i64, overflow: Overflow },
    Increase { by: i64, overflow: Overflow },
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    action: Action,
    field: FieldType,
    offset: u64,
}

impl Operation {
    /// The last bit that a writing operation touches.
    fn last_written(&self) -> Option<u64> {
        match self.action {
            Action::Get => None,
            _ => Some(self.offset + u64::from(self.field.bits) - 1),
        }
    }
}

fn parse(cx: &Context<'_>, mut args: Args<'_>) -> Result<Vec<Operation>, CommandError> {
    const BAD_TYPE: CommandError = CommandError::new(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
    );
    const BAD_OVERFLOW: CommandError = CommandError::new("ERR Invalid OVERFLOW type specified");
    args.word()?;
    let mut overflow = Overflow::Wrap;
    let mut operations = Vec::new();
    while !args.is_empty() {
        let left = args.len();
        if left >= 2 && args.accept("OVERFLOW") {
            overflow = if args.accept("WRAP") {
                Overflow::Wrap
            } else if args.accept("SAT") {
                Overflow::Saturate
            } else if args.accept("FAIL") {
                Overflow::Fail
            } else {
                return Err(BAD_OVERFLOW);
            };
            continue;
        }
        let (writes, increases) = if left >= 3 && args.accept("GET") {
            (false, false)
        } else if left >= 4 && args.accept("SET") {
            (true, false)
        } else if left >= 4 && args.accept("INCRBY") {
            (true, true)
        } else {
            return Err(errors::SYNTAX);
        };
        let field = FieldType::parse(args.word()?).ok_or(BAD_TYPE)?;
        let offset = parse_offset(cx, args.word()?, field)?;
        let action = match (writes, increases) {
            (false, _) => Action::Get,
            (true, false) => Action::Set {
                value: args.integer()?,
                overflow,
            },
            (true, true) => Action::Increase {
                by: args.integer()?,
                overflow,
            },
        };
        operations.push(Operation {
            action,
            field,
            offset,
        });
    }
    Ok(operations)
}

/// A position in bits, or after `#` in integers of the type.
fn parse_offset(cx: &Context<'_>, word: &[u8], field: FieldType) -> Result<u64, CommandError> {
    let offset = match word.strip_prefix(b"#") {
        Some(number) => parse_i64(number).and_then(|n| n.checked_mul(field.bits.into())),
        None => parse_i64(word),
    };
    check_offset(cx, offset.ok_or(BAD_OFFSET)?)
}

fn read(cx: &mut Context<'_>, key: &[u8], operations: &[Operation]) -> Outcome {
    let out = &mut *cx.out;
    let found = cx.view.with_string(cx.session.db, key, |string| {
        out.array(operations.len());
        for Operation { field, offset, .. } in operations {
            let window = string.window(offset >> 3);
            out.integer(field.get(&window, offset & 7));
        }
    });
    if cx.noted(found)?.is_none() {
        cx.out.array(operations.len());
        operations.iter().for_each(|_| cx.out.integer(0));
    }
    Ok(Flow::Done)
}

fn write(cx: &mut Context<'_>, key: &[u8], operations: &[Operation], last_bit: u64) -> Outcome {
    let mut string = Fields::open(cx, key, last_bit)?;
    let mut changes = false;
    cx.out.array(operations.len());
    for &Operation {
        action,
        field,
        offset,
    } in operations
    {
        let old = string.get(cx, field, offset)?;
        // What to store, and what to reply.
        let new = match action {
            Action::Get => {
                cx.out.integer(old);
                continue;
            }
            Action::Set { value, overflow } => field.fit(value, overflow).map(|new| (new, old)),
            Action::Increase { by, overflow } => {
                field.increase(old, by, overflow).map(|new| (new, new))
            }
        };
        let Some((new, reply)) = new else {
            cx.out.null();
            continue;
        };
        if old != new {
            string.set(cx, field, offset, new)?;
        }
        changes |= string.has_grown || old != new;
        cx.out.integer(reply);
    }
    string.close(cx, changes)?;
    tell(cx, key, changes);
    Ok(Flow::Done)
}

/// A string under change, long enough for all fields that are written. A short one is changed in a copy and stored once;
/// of a long one each field is written by itself.
struct Fields<'k> {
    key: &'k [u8],
    /// It is new, or longer than it was.
    has_grown: bool,
    is_raw: bool,
    copy: Option<Vec<u8>>,
}

impl<'k> Fields<'k> {
    fn open(
        cx: &mut Context<'_>,
        key: &'k [u8],
        last_bit: u64,
    ) -> Result<Fields<'k>, CommandError> {
        let db = cx.db();
        let StringWindow { len, is_raw, .. } = cx.view.string_window(db, key, 0)?;
        let new_len = len.max((last_bit >> 3) + 1);
        let has_grown = new_len > len;
        let copy = if new_len < LARGE_STRING_BYTES_MIN {
            let mut bytes = cx.view.string_part(db, key, 0..len)?.unwrap_or_default();
            bytes.resize(new_len as usize, 0);
            Some(bytes)
        } else {
            if has_grown || !is_raw {
                cx.view.write_string(db, key, new_len, b"")?;
            }
            None
        };
        Ok(Fields {
            key,
            has_grown,
            is_raw,
            copy,
        })
    }

    fn get(&self, cx: &Context<'_>, field: FieldType, bit: u64) -> Result<i64, CommandError> {
        Ok(match &self.copy {
            Some(bytes) => field.get(bytes, bit),
            None => {
                let window = cx.view.string_window(cx.db(), self.key, bit >> 3)?;
                field.get(&window.bytes, bit & 7)
            }
        })
    }

    fn set(
        &mut self,
        cx: &mut Context<'_>,
        field: FieldType,
        bit: u64,
        value: i64,
    ) -> Result<(), CommandError> {
        if let Some(bytes) = &mut self.copy {
            field.set(bytes, bit, value);
            return Ok(());
        }
        let (db, at) = (cx.db(), bit >> 3);
        let mut bytes = cx.view.string_window(db, self.key, at)?.bytes;
        field.set(&mut bytes, bit & 7, value);
        let len = ((bit & 7) as usize + field.bits as usize).div_ceil(8);
        cx.view.write_string(db, self.key, at, &bytes[..len])?;
        Ok(())
    }

    fn close(self, cx: &mut Context<'_>, changes: bool) -> Result<(), CommandError> {
        if let Some(bytes) = self.copy {
            if changes || self.has_grown {
                let db = cx.db();
                cx.view.write_string(db, self.key, 0, &bytes)?;
            } else if !self.is_raw {
                make_raw(cx, self.key)?;
            }
        }
        Ok(())
    }
}
