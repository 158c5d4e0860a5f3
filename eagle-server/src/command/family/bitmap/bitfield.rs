//! BITFIELD and BITFIELD_RO: integers of any width inside a string.

use super::bit::{BAD_OFFSET, Grown, check_offset};
use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::keys::{KeyRef, KeyRefs};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec};
use eagle_core::bits::field::{FieldType, Overflow};
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
.find_keys(bitfield_keys);

/// The key is only read if every operation is a GET.
fn bitfield_keys(argv: &[&[u8]]) -> KeyRefs {
    const READS: KeyFlags = KeyFlags::all(&[KeyFlags::RO, KeyFlags::ACCESS]);
    const WRITES: KeyFlags = KeyFlags::all(&[KeyFlags::RW, KeyFlags::ACCESS, KeyFlags::UPDATE]);
    let mut rest = argv.get(2..).unwrap_or_default();
    let mut flags = READS;
    while let Some((word, arguments)) = rest.split_first() {
        let taken = if word.eq_ignore_ascii_case(b"get") {
            2
        } else if word.eq_ignore_ascii_case(b"overflow") {
            1
        } else {
            flags = WRITES;
            break;
        };
        rest = arguments.get(taken..).unwrap_or_default();
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
    let string = cx.read_string(key)?;
    let mut digits = itoa::Buffer::new();
    let bytes = string
        .as_ref()
        .map_or(&b""[..], |text| text.as_bytes(&mut digits));
    cx.out.array(operations.len());
    for operation in operations {
        cx.out.integer(operation.field.get(bytes, operation.offset));
    }
    Ok(Flow::Done)
}

fn write(cx: &mut Context<'_>, key: &[u8], operations: &[Operation], last_bit: u64) -> Outcome {
    let mut string = Grown::read(cx, key, last_bit)?;
    let mut changes = false;
    cx.out.array(operations.len());
    for &Operation {
        action,
        field,
        offset,
    } in operations
    {
        let old = field.get(&string.bytes, offset);
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
        field.set(&mut string.bytes, offset, new);
        changes |= string.has_grown || old != new;
        cx.out.integer(reply);
    }
    string.store(cx, key, changes)?;
    Ok(Flow::Done)
}
