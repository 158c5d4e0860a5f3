//! SORT and SORT_RO: the elements of a list, set or sorted set in order, or what other keys say about them.
//!
//! `options` reads the arguments, `pattern` finds the keys that BY and GET name, this file sorts and replies.

mod options;
mod pattern;

use crate::command::args::Args;
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::keys::{KeyRef, KeyRefs};
use crate::command::spec::{
    BeginSearch, Categories, Command, Docs, Family, FindKeys, Flags, KeyFlags, KeySpec, Scope,
};
use crate::config::special::EventClasses;
use eagle_core::store::{Kind, Ttl};
use eagle_core::text::c_string::c_string;
use eagle_core::text::double::parse_f64;
use options::{By, Options};
use pattern::Found;
use std::borrow::Cow;
use std::cmp::Ordering;

pub const FAMILY: Family = Family {
    name: "sort",
    commands: &[&SORT, &SORT_RO],
};

const CATEGORIES: Categories = Categories::SET
    .with(Categories::SORTEDSET)
    .with(Categories::LIST)
    .with(Categories::DANGEROUS);
const COMPLEXITY: &str = "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of \
     returned elements. When the elements are not sorted, complexity is O(N).";

/// Keys that stand nowhere among the arguments, or anywhere.
const fn unknown(flags: &[KeyFlags], notes: &'static str) -> KeySpec {
    KeySpec {
        begin: BeginSearch::Unknown,
        find: FindKeys::Unknown,
        flags: KeyFlags::all(flags),
        notes,
    }
}

const PATTERN_KEYS: KeySpec = unknown(
    &[KeyFlags::RO, KeyFlags::ACCESS],
    "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key \
     we sort",
);

/// SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC | DESC] [ALPHA] [STORE
/// destination] -- the elements in order, replied or stored as a list.
const SORT: Command = Command::new(
    "sort",
    -2,
    sort,
    Docs::new(
        "generic",
        "1.0.0",
        "Sort the elements in a list, set or sorted set",
    )
    .complexity(COMPLEXITY)
    .syntax(
        "key [BY pattern:pattern@1] [LIMIT offset_count=<offset count>] [GET pattern:pattern@1 [GET \
         pattern:pattern@1 ...]] order=[ASC | DESC] [sorting=ALPHA] [STORE destination@2]",
    ),
)
.flags(&[Flags::WRITE, Flags::DENYOOM, Flags::MOVABLE_KEYS])
.scope(Scope::Patterns)
.family(CATEGORIES)
.keys(&[
    KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS]),
    PATTERN_KEYS,
    unknown(
        &[KeyFlags::OW, KeyFlags::UPDATE],
        "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the \
         argument array",
    ),
])
.find_keys(find_keys);

fn sort(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, true)
}

/// SORT_RO -- SORT that only reads.
const SORT_RO: Command = Command::new(
    "sort_ro",
    -2,
    sort_ro,
    Docs::new(
        "generic",
        "7.0.0",
        "Sort the elements in a list, set or sorted set. Read-only variant of SORT.",
    )
    .complexity(COMPLEXITY)
    .syntax(
        "key [BY pattern:pattern@1] [LIMIT offset_count=<offset count>] [GET pattern:pattern@1 [GET \
         pattern:pattern@1 ...]] order=[ASC | DESC] [sorting=ALPHA]",
    ),
)
.flags(&[Flags::READONLY, Flags::MOVABLE_KEYS])
.scope(Scope::Patterns)
.family(CATEGORIES)
.keys(&[
    KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS]),
    PATTERN_KEYS,
]);

fn sort_ro(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, false)
}

/// The key that is sorted, and the one behind the last STORE.
fn find_keys(argv: &[&[u8]]) -> KeyRefs {
    let mut found = KeyRefs::new();
    if argv.len() < 2 {
        return found;
    }
    found.push(KeyRef {
        position: 1,
        flags: KeyFlags::all(&[KeyFlags::RO, KeyFlags::ACCESS]),
    });
    let (mut at, mut target) = (2, None);
    while at < argv.len() {
        let is = |word: &str| argv[at].eq_ignore_ascii_case(word.as_bytes());
        at += if is("limit") {
            3
        } else if is("get") || is("by") {
            2
        } else {
            if is("store") && at + 1 < argv.len() {
                target = Some(at + 1);
            }
            1 + usize::from(is("store"))
        };
    }
    found.extend(target.map(|position| KeyRef {
        position,
        flags: KeyFlags::all(&[KeyFlags::OW, KeyFlags::UPDATE]),
    }));
    found
}

fn run(cx: &mut Context<'_>, args: Args<'_>, may_store: bool) -> Outcome {
    const NO_NUMBER: CommandError =
        CommandError::new("ERR One or more scores can't be converted into double");
    let (key, mut options) = Options::parse(cx, args, may_store)?;
    let db = cx.db();
    let kind = cx.view.find(db, key).map(|entry| entry.kind());
    cx.note_lookup(kind.is_some());
    if kind == Some(Kind::Zset) {
        // Redis sorts by its large form, which stays; to keep the packed one, as with a full pool, is no failure.
        let before = cx.view.savepoint();
        if cx.view.unpack_zset(db, key).is_err() {
            cx.view.rollback_to(before);
        }
    }
    let is_set = kind == Some(Kind::Set);
    if is_set && options.by == By::Nothing && (options.store.is_some() || cx.session.in_script) {
        // What is stored, or decides what a script does, must not depend on the order of the table.
        (options.by, options.alpha) = (By::Element, true);
    }
    let mut elements = elements(cx, key, kind)?;
    let range = options.range(elements.len());
    match options.by {
        // A set has no order to go through backwards.
        By::Nothing if options.descending && !is_set => elements.reverse(),
        By::Nothing => {}
        By::Element | By::Pattern(_) => match sorted(cx, elements, &options) {
            Some(in_order) => elements = in_order,
            None => return cx.fail_late(&NO_NUMBER),
        },
    }
    let chosen = &elements[range];
    let Some(target) = options.store else {
        cx.out.array(chosen.len() * options.get.len().max(1));
        for element in chosen {
            if options.get.is_empty() {
                cx.out.bulk(element);
            }
            for pattern in &options.get {
                pattern::reply(cx, pattern, element);
            }
        }
        return Ok(Flow::Done);
    };
    let mut stored: Vec<Cow<'_, [u8]>> = Vec::new();
    for element in chosen {
        if options.get.is_empty() {
            stored.push(Cow::Borrowed(element));
        }
        for pattern in &options.get {
            let value = pattern::value(cx, pattern, element);
            stored.push(value.unwrap_or(Cow::Borrowed(b"")));
        }
    }
    let slices: Vec<&[u8]> = stored.iter().map(AsRef::as_ref).collect();
    if slices.is_empty() {
        if cx.view.remove(db, target)? {
            cx.notify(EventClasses::GENERIC, "del", target);
        }
    } else {
        cx.view.set_list(db, target, &slices, Ttl::Clear)?;
        cx.notify(EventClasses::LIST, "sortstore", target);
    }
    cx.reply_integer(slices.len() as i64)
}

/// The elements at `key` in the order in which they stand there.
fn elements<'a>(
    cx: &Context<'a>,
    key: &[u8],
    kind: Option<Kind>,
) -> Result<Vec<Cow<'a, [u8]>>, CommandError> {
    let db = cx.db();
    Ok(match kind {
        None => Vec::new(),
        Some(Kind::Set) => {
            let set = cx.view.set(db, key)?;
            let members = set.iter().flat_map(|set| set.iter());
            members.map(|member| member.to_cow()).collect()
        }
        Some(Kind::List) => {
            let list = cx.view.list(db, key)?;
            let elements = list.iter().flat_map(|list| list.iter());
            elements
                .map(|element| Cow::Owned(element.to_vec()))
                .collect()
        }
        Some(Kind::Zset) => {
            let zset = cx.view.zset(db, key)?;
            let pairs = zset.iter().flat_map(|zset| zset.iter());
            pairs.map(|(member, _)| Cow::Borrowed(member)).collect()
        }
        Some(_) => return Err(errors::WRONG_TYPE),
    })
}

/// What an element is sorted by.
enum Weight<'a> {
    Number(f64),
    Value(Option<Found<'a>>),
}

/// The elements in order; `None` if one of them has no number to be sorted by.
fn sorted<'a>(
    cx: &Context<'a>,
    elements: Vec<Cow<'a, [u8]>>,
    options: &Options<'_>,
) -> Option<Vec<Cow<'a, [u8]>>> {
    let weight = |element: &Cow<'a, [u8]>| {
        let text = match options.by {
            By::Pattern(pattern) => pattern::look_up(cx, pattern, element),
            _ => None,
        };
        let is_by_pattern = matches!(options.by, By::Pattern(_));
        Some(match (options.alpha, is_by_pattern) {
            (true, _) => Weight::Value(text),
            (false, true) => Weight::Number(match text {
                Some(text) => text.number(cx)?,
                None => 0.0,
            }),
            (false, false) => Weight::Number(number(element)?),
        })
    };
    let mut weighed = elements
        .into_iter()
        .map(|element| Some((weight(&element)?, element)))
        .collect::<Option<Vec<_>>>()?;
    // Stored results compare byte by byte, replied ones as C strings in the order of the locale,
    // which is always that of "C" here.
    let as_c = options.store.is_none();
    let compare = |a: &[u8], b: &[u8]| match as_c {
        false => a.cmp(b),
        true => c_string(a).cmp(c_string(b)),
    };
    weighed.sort_by(|(a, a_element), (b, b_element)| {
        let order = match (a, b) {
            (Weight::Number(a), Weight::Number(b)) => a
                .partial_cmp(b)
                .unwrap_or(Ordering::Equal)
                .then_with(|| a_element.cmp(b_element)),
            (Weight::Value(a), Weight::Value(b)) if matches!(options.by, By::Pattern(_)) => {
                match (a, b) {
                    (Some(a), Some(b)) => a.compare(cx, b, as_c),
                    (a, b) => a.is_some().cmp(&b.is_some()),
                }
            }
            _ => compare(a_element, b_element),
        };
        if options.descending {
            order.reverse()
        } else {
            order
        }
    });
    Some(weighed.into_iter().map(|(_, element)| element).collect())
}

/// The number that C's `strtod` reads in a text, if it reads all of it. Nothing at all is zero.
fn number(text: &[u8]) -> Option<f64> {
    let text = c_string(text);
    if text.is_empty() {
        return Some(0.0);
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !blank(byte))?;
    parse_f64(&text[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, expected) in [
            ("", Some(0.0)),
            ("10", Some(10.0)),
            (" \t-1.5e3", Some(-1500.0)),
            ("0x10", Some(16.0)),
            ("inf", Some(f64::INFINITY)),
            ("5\0x", Some(5.0)),
            (" ", None),
            ("5 ", None),
            ("nan", None),
            ("x", None),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn keys_are_the_sorted_one_and_the_last_target() {
        let positions = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let found = find_keys(&words);
            found.iter().map(|key| key.position).collect::<Vec<_>>()
        };
        assert_eq!(positions("sort k"), [1]);
        assert_eq!(positions("sort k STORE d"), [1, 3]);
        assert_eq!(positions("sort k store a limit 0 store store b"), [1, 8]);
        assert_eq!(positions("sort k by store get store"), [1]);
        assert_eq!(positions("sort k store store store d"), [1, 5]);
        assert_eq!(positions("sort k store"), [1]);
    }
}
