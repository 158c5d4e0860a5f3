//! DEBUG PROTOCOL: a reply of every kind there is, for those who test clients.

use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::CommandError;
use eagle_core::resp::Protocol;

type Reply = fn(&mut Context<'_>);

const KINDS: &[(&str, Reply)] = &[
    ("string", |cx| cx.out.bulk("Hello World")),
    ("integer", |cx| cx.out.integer(12345)),
    ("double", |cx| cx.out.double_text(b"3.141")),
    ("bignum", |cx| {
        cx.out.big_number("1234567999999999999999999999999999999");
    }),
    ("null", |cx| cx.out.null()),
    ("array", |cx| {
        cx.out.array(3);
        (0..3).for_each(|element| cx.out.integer(element));
    }),
    ("set", |cx| {
        cx.out.set(3);
        (0..3).for_each(|element| cx.out.integer(element));
    }),
    ("map", |cx| {
        cx.out.map(3);
        for key in 0..3 {
            cx.out.integer(key);
            cx.out.bool(key == 1);
        }
    }),
    ("attrib", |cx| {
        if cx.out.attribute(1) {
            cx.out.bulk("key-popularity");
            cx.out.array(2);
            cx.out.bulk("key:123");
            cx.out.integer(90);
        }
        // An attribute is no reply; this is the one it belongs to.
        cx.out.bulk("Some real reply following the attribute");
    }),
    ("push", |cx| {
        cx.out.push(2);
        cx.out.bulk("server-cpu-usage");
        cx.out.integer(42);
        // Neither is a push.
        cx.out.bulk("Some real reply following the push reply");
    }),
    ("verbatim", |cx| {
        cx.out.verbatim(b"txt", "This is a verbatim\nstring");
    }),
    ("true", |cx| cx.out.bool(true)),
    ("false", |cx| cx.out.bool(false)),
];

/// Replies the kind called `word`.
pub(super) fn reply(cx: &mut Context<'_>, word: &[u8]) -> Outcome {
    let kind = KINDS
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    let Some((name, write)) = kind else {
        return Err(CommandError::new(
            "ERR Wrong protocol type name. Please use one of the following: \
             string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
        ));
    };
    if *name == "push" && cx.out.protocol() == Protocol::Resp2 {
        return Err(CommandError::new(
            "ERR RESP2 is not supported by this command",
        ));
    }
    write(cx);
    Ok(Flow::Done)
}
