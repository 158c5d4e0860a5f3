//! What is noted of a command that took long.

use super::context::Context;
use super::spec::Flags;
use super::table::Entry;
use crate::clock::Moment;
use crate::config::topic::Monitoring;
use smallvec::SmallVec;

/// Accounts for what a command did that had blocked: its time is added to the time of the call, which was counted when
/// it blocked.
pub(super) fn account_served(
    cx: &mut Context<'_>,
    entry: &'static Entry,
    argv: &[&[u8]],
    failed: bool,
) {
    let started = cx.clock;
    cx.clock = Moment::now();
    let nanos = cx.clock.nanos_since(started);
    let counters = &cx.thread.stats.commands[entry.id];
    counters.nanos.add(nanos);
    counters.failed.add(u64::from(failed));
    account_slow(cx, entry, argv, nanos, false);
    cx.node.latency.record(
        "command-unblocking",
        cx.now_ms / 1000,
        nanos / 1_000_000,
        cx.config.monitoring.latency_monitor_threshold,
    );
}

/// Whether a call of `us` microseconds is one for the slow log or the latency monitor.
#[inline]
fn may_be_slow(config: &Monitoring, us: u64) -> bool {
    // Negative: nothing is slow.
    let is_slow = u64::try_from(config.slowlog_log_slower_than).is_ok_and(|least| us >= least);
    let threshold_ms = config.latency_monitor_threshold;
    is_slow || (threshold_ms != 0 && us / 1000 >= threshold_ms)
}

#[inline]
pub(super) fn account_slow(
    cx: &Context<'_>,
    entry: &'static Entry,
    argv: &[&[u8]],
    nanos: u64,
    is_blocked: bool,
) {
    if entry.has(Flags::ADMIN) || may_be_slow(&cx.config.monitoring, nanos / 1000) {
        note_slow(cx, entry, argv, nanos, is_blocked);
    }
}

#[inline(never)]
fn note_slow(
    cx: &Context<'_>,
    entry: &'static Entry,
    argv: &[&[u8]],
    nanos: u64,
    is_blocked: bool,
) {
    let us = nanos / 1000;
    // CONFIG SET may just have changed what is slow.
    let changed = entry.has(Flags::ADMIN).then(|| cx.node.config.snapshot());
    let config = changed.as_deref().unwrap_or(&cx.config);
    if !entry.has(Flags::SKIP_SLOWLOG)
        && !is_blocked
        && config.monitoring.slowlog_log_slower_than >= 0
        && us >= config.monitoring.slowlog_log_slower_than as u64
    {
        let len_max = config.monitoring.slowlog_max_len as usize;
        let mut shown: SmallVec<[&[u8]; 16]> = argv.into();
        for position in cx.session.redacted() {
            if let Some(word) = shown.get_mut(*position) {
                *word = b"(redacted)";
            }
        }
        let info = &cx.session.info;
        cx.node.slowlog.push(
            &info.addr,
            info.name(),
            &shown,
            cx.now_ms / 1000,
            us,
            len_max,
        );
    }
    let event = if entry.has(Flags::FAST) {
        "fast-command"
    } else {
        "command"
    };
    cx.node.latency.record(
        event,
        cx.now_ms / 1000,
        us / 1000,
        config.monitoring.latency_monitor_threshold,
    );
}
