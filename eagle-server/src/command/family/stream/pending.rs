//! XPENDING: what was delivered and not acknowledged.

use super::{id, no_key_or_group, reply};
use crate::command::args::{Args, parse_integer};
use crate::command::context::{Context, Flow, Outcome};
use crate::command::errors::{self, CommandError};
use crate::command::spec::{Categories, Command, Docs, Flags, KeyFlags, KeySpec, Scope};
use eagle_core::resp::Writer;
use eagle_core::store::{GroupRef, StreamId};

/// XPENDING key group [[IDLE min-idle-time] start end count [consumer]] -- how much is pending, or what.
pub(super) const XPENDING: Command = Command::new(
    "xpending",
    -3,
    xpending,
    Docs::new("stream", "5.0.0", "Return information and entries from a stream consumer group pending entries list, that are messages fetched but never acknowledged.")
    .complexity("O(N) with N being the number of elements returned, so asking for a small fixed number of entries per call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE filter. When the command returns just the summary and the list of consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for iterating every consumer.")
    .syntax("key group filters=[[IDLE min-idle-time:integer]{6.2.0} start:string end:string count [consumer]]")
    .history(&[("6.2.0", "Added the `IDLE` option and exclusive range intervals.")]),
)
.flags(&[Flags::READONLY])
.scope(Scope::Keys)
.family(Categories::STREAM)
.keys(&[KeySpec::index(1, &[KeyFlags::RO, KeyFlags::ACCESS])])
.tips(&["nondeterministic_output"]);

fn xpending(cx: &mut Context<'_>, mut args: Args<'_>) -> Outcome {
    let (key, name) = (args.word()?, args.word()?);
    let filter = if args.is_empty() {
        None
    } else {
        Some(Filter::parse(args)?)
    };
    let stream = cx.noted(cx.view.stream(cx.db(), key))?;
    let group = stream.and_then(|stream| stream.group(name));
    let group = group.ok_or_else(|| no_key_or_group(key, name, ""))?;
    match filter {
        Some(filter) => filter.reply(cx.out, &group, cx.now_ms),
        None => summary(cx.out, &group),
    }
    Ok(Flow::Done)
}

fn summary(out: &mut Writer, group: &GroupRef<'_>) {
    out.array(4);
    out.integer(group.pending_len() as i64);
    let first = group.pending_from(StreamId::MIN).next();
    let (Some(first), Some(last)) = (first, group.last_pending()) else {
        out.null();
        out.null();
        out.null_array();
        return;
    };
    reply::id(out, first.id);
    reply::id(out, last.id);
    let mut consumers = group.consumers();
    consumers.retain(|consumer| consumer.pending_len() > 0);
    out.array(consumers.len());
    for consumer in consumers {
        out.array(2);
        out.bulk(consumer.name());
        out.bulk_integer(consumer.pending_len() as i64);
    }
}

/// Which pendings are asked for.
struct Filter<'a> {
    min_idle: i64,
    from: StreamId,
    to: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Filter<'a> {
    fn parse(mut args: Args<'a>) -> Result<Filter<'a>, CommandError> {
        if args.len() < 3 || args.len() > 6 {
            return Err(errors::SYNTAX);
        }
        let mut min_idle = 0;
        if args.accept("idle") {
            min_idle = parse_integer(args.word()?)?;
            if args.len() < 3 {
                return Err(errors::SYNTAX);
            }
        }
        let (from, to, count) = (args.word()?, args.word()?, args.word()?);
        // Redis looks at the count first.
        let count = parse_integer(count)?.max(0) as usize;
        Ok(Filter {
            min_idle,
            from: id::interval_start(from)?,
            to: id::interval_end(to)?,
            count,
            consumer: args.peek(),
        })
    }

    fn reply(&self, out: &mut Writer, group: &GroupRef<'_>, now_ms: u64) {
        let header = out.deferred();
        let mut found = 0;
        let mut visit = |pendings: &mut dyn Iterator<Item = eagle_core::store::Pending<'_>>| {
            while found < self.count
                && let Some(pending) = pendings.next()
                && pending.id <= self.to
            {
                let idle = (now_ms as i64).wrapping_sub(pending.delivered_ms as i64);
                if self.min_idle != 0 && idle < self.min_idle {
                    continue;
                }
                out.array(4);
                reply::id(out, pending.id);
                out.bulk(pending.consumer);
                out.integer(idle.max(0));
                out.integer(pending.deliveries as i64);
                found += 1;
            }
        };
        match self.consumer {
            None => visit(&mut group.pending_from(self.from)),
            Some(name) => {
                if let Some(consumer) = group.consumer(name) {
                    visit(&mut consumer.pending_from(self.from));
                }
            }
        }
        out.finish_array(header, found);
    }
}
