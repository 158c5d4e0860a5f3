//! The end of a request: what it did is committed, and told to whom it concerns.

use super::blocking::note_ready;
use super::caches::update_caches;
use super::context::Context;
use super::deliver::deliver;
use super::event::Event;
use super::spec::Flags;
use crate::node::{Node, Told};
use crate::propagation::Stream;
use crate::session::ReplyMode;
use eagle_core::resp::Mark;
use eagle_core::store::{Committed, MetField, View};

/// What is left to do after a request that had nothing locked and met what has expired.
pub(super) struct Late {
    pub(super) events: Vec<Event>,
    pub(super) met_fields: Vec<MetField>,
}

/// Commits a request and sends its events while the slots are still locked, so that the events of one key are sent in
/// the order of its changes. A request that had nothing locked and met a key whose time has come returns its events:
/// first that key is to be removed. Notes the keys that blocked clients wait for. The reply begins at
/// `reply_at`.
#[inline(never)]
pub(super) fn end(cx: &mut Context<'_>, reply_at: Mark) -> Option<Box<Late>> {
    // Of work that was none of a command's: serving a blocked client.
    cx.flow_effects(&[], false);
    let late = (cx.view.met_expired() || cx.view.has_met_fields()) && !cx.view.may_write();
    let met = late.then(|| cx.view.take_met_fields());
    cx.thread.stats.changes.add(cx.view.dirty());
    let committed = commit(cx.node, &mut cx.view, cx.stream);
    if let Some(head) = committed.ring_head {
        cx.session.written = head;
    }
    note_ready(cx.node, &committed, cx.ready);
    // Most commands have raised nothing, and nobody hears of what they have changed.
    if met.is_none() && cx.events.is_empty() && committed.touched().is_empty() {
        cx.events.forget_noted();
        return None;
    }
    tell(cx, reply_at, committed, met)
}

/// The second half of [`end`], if there is something to tell. `met` is there if it was met without a lock.
#[inline(never)]
fn tell(
    cx: &mut Context<'_>,
    reply_at: Mark,
    committed: Committed<'_>,
    met: Option<Vec<MetField>>,
) -> Option<Box<Late>> {
    let raised = std::mem::take(cx.events);
    if let Some(met_fields) = met {
        return Some(Box::new(Late {
            events: raised.into_list(),
            met_fields,
        }));
    }
    let told = update_caches(cx.thread, cx.session, &raised, &committed);
    let events = raised.into_list();
    if !events.is_empty() {
        deliver(cx.node, cx.session, cx.out, events);
    }
    if !told.is_empty() {
        tell_itself(cx, reply_at, told);
    }
    drop(committed);
    None
}

/// Puts what the client itself has to drop from its cache behind the reply, and what it is told in another client's place
/// where Redis would: before the reply or behind. (Amid the reply of EXEC, where Redis would too, no client expects it.)
#[inline(never)]
fn tell_itself(cx: &mut Context<'_>, reply_at: Mark, told: Told) {
    if cx.session.reply != ReplyMode::On && !cx.replies_later {
        for message in told.into_list() {
            cx.node.send(&cx.session.info, message);
        }
        return;
    }
    let is_before = !cx.entry.has(Flags::REPLIES_FIRST);
    let mut behind = told.behind;
    if is_before || cx.replies_later {
        let amid = told.amid.into_iter().map(|message| (reply_at, message));
        cx.out.insert(&amid.collect::<Vec<_>>());
    } else {
        behind.splice(0..0, told.amid);
    }
    for message in behind {
        match cx.replies_later {
            true => cx.session.behind_reply.push(message),
            false => cx.out.raw(&message),
        }
    }
}

/// Makes what the view did durable and visible, adds `stream` to the log ring, and tells those who watch keys. The slots
/// stay locked for what else there is to tell. The caller has counted the changes.
#[inline]
pub(super) fn commit<'a>(node: &Node, view: &mut View<'a>, stream: &mut Stream) -> Committed<'a> {
    if view.dirty() != 0 && node.slots_in_transfer.any() {
        node.slots_in_transfer.note_change(|slot| view.covers(slot));
    }
    for (db, key) in view.touched() {
        // Nobody who watches a key needs to be told that its time has come: to whoever watched it while it lived its end
        // is a change already, and who watched it afterwards saw it missing.
        let mut expired = view.expired().iter();
        let has_ended = expired.any(|(in_db, name)| in_db == db && name == key)
            && view.find(*db, key).is_none();
        if !has_ended {
            node.watch.touch(*db, key);
        }
    }
    stream.commit(view)
}
