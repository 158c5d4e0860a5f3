//! Do the crash tests see? Every step that the store layer asks of a transaction is taken out in turn: the log entry of
//! a store, the fence behind that entry, the flush of what was stored, a publish, the freeing of a block. A test of
//! crashes must fail for each.
//!
//! The steps are not listed here: a recorded run notes where in the source each was asked for
//! ([`Medium::leaves_out`](crate::pmem)), so code that is added is covered as soon as a scenario reaches it. A mutant is
//! one place and one part of the step there. It counts as
//!
//! - *noticed* if a scenario panics, or leaves an image that is neither the state before nor the one after, or is unsound;
//! - *equivalent* if in all scenarios it changes nothing that a crash could tell: the same lines become persistent between
//!   the same stores (another flush covers the line, nothing was on its way at the fence);
//! - *harmless* if it is in [`HARMLESS`], with the reason;
//! - *open* if it is in [`OPEN`]: nobody notices it yet, and it is not yet shown to be harmless;
//! - missed otherwise, and then this test fails.
//!
//! It also fails for an entry of either list that is noticed or not reached any more. `EAGLEDB_MUTATION_ONLY=view.rs,trash.rs`
//! looks at the steps of some files only.
//!
//! Memory that is free on a fresh medium is zero, which hides that zeros were not written. So before the work all free
//! words of the lines that it is going to store to are made [`POISON`], as if they had been in use before.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Once;
use std::time::Instant;

use super::crash::{NOW_MS, holds_after};
use super::defrag_inside::move_all;
use super::model::{Model, Op, exec, open};
use super::mutation_scenarios::scenarios;
use crate::pmem::Sim;
use crate::pmem::check::free_ranges;
use crate::pmem::sim::{FnMutPrefix, Image, Muted, Part, Place, Survivors};

/// Fences right behind a step that was left out, and fences at the end of the work, before which a crash is tried.
const FENCES_BEHIND: usize = 14;
const FENCES_AT_END: usize = 12;

/// Scenarios in which a mutant is looked for, at most: those in which it changes anything.
const SCENARIOS_MAX: usize = 10;

/// Scenarios that are run to find those, at most.
const RUNS_MAX: usize = 40;

/// What free memory is full of. No offset of a block, nor a count of anything.
const POISON: u64 = 0xa5a5_a5a5_a5a5_a5a5;

/// Bytes of a line.
const LINE_BYTES: u64 = 64;

/// Images at one point in which a single line's stores survive, or all but a single line's: at most so many of each.
const LINES_MAX: usize = 8;

/// Steps whose absence nobody notices yet, and which are not yet shown to be harmless: file, part, text of the line.
const OPEN: &[(&str, Part, &str)] = &[];

/// Steps that change what a crash leaves, but not what is made of it: file, part, text of the line, why.
#[rustfmt::skip]
const HARMLESS: &[(&str, Part, &str, &str)] = &[
    ("store/dash/bucket.rs", Part::Flush, "words.store_hidden(at, new)?;",
     "the fingerprints lie in the line of the control word (`every_group_fills_its_lines_exactly`), which is stored and \
      flushed behind them before anything commits"),
    ("store/trash.rs", Part::Flush, "writer.store_apart(index, slot)?;",
     "as that of a root array, below"),
    ("store/trash.rs", Part::Flush, "writer.store_apart(root::index_at(node), 0)?;",
     "the slot cursor lies in the same line, as a root array begins a page, and is stored and flushed behind it in the same step"),
    ("store/trash.rs", Part::Flush, "writer.store_apart(slot_cursor_at, slot)?;",
     "the cursor only saves time: slots before it are empty by their own words, so that a lower one passes over them once \
      more, and the undo log restores what it was for the last transaction that committed"),
];

/// What a scenario does after its preparation.
pub(super) enum Work {
    /// One transaction.
    Ops(Vec<Op>),
    /// Commands of which the first ones are undone: a savepoint before `undone`.
    Undo { undone: Vec<Op>, kept: Vec<Op> },
    /// The trash is emptied, so many blocks at a time.
    Reap(usize),
    /// Keys whose time has come are removed.
    Expire,
    /// Everything is moved.
    Defrag,
}

/// A state, and what is done to it.
pub(super) struct Scenario {
    name: String,
    /// The medium, and what lies on it before the work.
    prepared: (Sim, Image),
    before: Model,
    after: Model,
    work: Work,
}

/// Keeps only one line's stores, or all but one line's.
#[derive(Debug)]
struct One {
    line: usize,
    is_kept: bool,
}

impl FnMutPrefix for One {
    fn choose(&mut self, index: usize, stores: usize) -> usize {
        match (index == self.line) == self.is_kept {
            true => stores,
            false => 0,
        }
    }
}

impl Scenario {
    pub(super) fn new(name: &str, prepare: &[Op], work: Work) -> Scenario {
        let fresh = Sim::new(16 << 20, 2);
        let mut before = Model::default();
        let (keyspace, mut worker) = open(&fresh);
        for op in prepare {
            exec(&keyspace, &mut worker, std::slice::from_ref(op), NOW_MS).unwrap();
            before.apply(op, NOW_MS).unwrap();
        }
        drop((worker, keyspace));
        let mut replay = fresh.replay();
        while replay.step() {}
        let mut after = before.clone();
        match &work {
            Work::Ops(ops) | Work::Undo { kept: ops, .. } => {
                ops.iter().for_each(|op| after.apply(op, NOW_MS).unwrap());
            }
            Work::Reap(_) | Work::Defrag => {}
            Work::Expire => {
                let lives = |ttl: &Option<u64>| ttl.is_none_or(|at_ms| LATER_MS <= at_ms);
                after.databases.retain(|_, (_, ttl)| lives(ttl));
            }
        }
        let mut scenario = Scenario {
            name: name.to_owned(),
            prepared: (fresh.clone(), replay.image(Survivors::Nothing)),
            before,
            after,
            work,
        };
        scenario.poison();
        scenario
    }

    /// Fills the free words of the lines that the work is going to store to.
    fn poison(&mut self) {
        let (sim, _) = self.run(None);
        let (medium, image) = &mut self.prepared;
        let (keyspace, worker) = open(&medium.after_crash(image.clone()));
        let free = free_ranges(keyspace.pool());
        drop((worker, keyspace));
        let (stores, _) = sim.order_of_persistence();
        let lines: BTreeSet<u64> = stores.iter().map(|(at, _)| at / LINE_BYTES).collect();
        for line in lines {
            for at in (line * LINE_BYTES..(line + 1) * LINE_BYTES).step_by(8) {
                let next = free.partition_point(|range| range.end <= at);
                if free[next].contains(&at) {
                    image.damage(at, POISON);
                }
            }
        }
    }

    /// Does the work on the prepared state; the record, and where in it the work began.
    fn run(&self, muted: Option<Muted>) -> (Sim, usize) {
        let (medium, image) = &self.prepared;
        let sim = medium.after_crash(image.clone());
        let (keyspace, mut worker) = open(&sim);
        let start = sim.points();
        sim.mute(muted);
        match &self.work {
            Work::Ops(ops) => exec(&keyspace, &mut worker, ops, NOW_MS).unwrap(),
            Work::Undo { undone, kept } => {
                let guard = keyspace.pin();
                let mut view =
                    keyspace.view(&mut worker, &guard, super::super::Access::All, NOW_MS);
                let (first, rest) = kept.split_at(1);
                first.iter().for_each(|op| op.run(&mut view).unwrap());
                let savepoint = view.savepoint();
                undone.iter().for_each(|op| op.run(&mut view).unwrap());
                view.rollback_to(savepoint);
                rest.iter().for_each(|op| op.run(&mut view).unwrap());
                view.commit();
            }
            Work::Defrag => {
                move_all(&keyspace, &mut worker);
            }
            Work::Reap(blocks) => while keyspace.reap_step(&mut worker, *blocks) {},
            Work::Expire => {
                keyspace.expire_step(&mut worker, LATER_MS, 1000, &mut |view| view.commit());
            }
        }
        sim.mute(None);
        drop((worker, keyspace));
        (sim, start)
    }

    /// Where to crash if something was left out at `step`: behind it, and at the end.
    fn points(sim: &Sim, start: usize, step: usize) -> Vec<usize> {
        let mut replay = sim.replay();
        let mut fences = Vec::new();
        while replay.step() {
            if replay.before_fence() && replay.point() >= start {
                fences.push(replay.point());
            }
        }
        let behind = fences.partition_point(|point| *point < step);
        let last = fences.len().saturating_sub(FENCES_AT_END);
        let mut points = fences[behind..].to_vec();
        points.truncate(FENCES_BEHIND);
        points.extend(&fences[last.max(behind)..]);
        points
    }

    /// Crashes at these points, with up to `lines_max` lines that alone survive or are lost; panics if an image is not as it
    /// should be.
    fn crash(&self, sim: &Sim, points: &[usize], lines_max: usize, images: &Cell<usize>) {
        let look = |image, context: &str| {
            images.set(images.get() + 1);
            holds_after(sim, image, &self.before, &self.after, "", context)
        };
        let mut replay = sim.replay();
        while replay.step() {}
        let committed = look(replay.image(Survivors::Nothing), &self.name);
        assert!(committed, "{}: not durable", self.name);
        look(replay.image(Survivors::Everything), &self.name);
        let mut replay = sim.replay();
        loop {
            if points.contains(&replay.point()) {
                look(replay.image(Survivors::Everything), &self.name);
                look(replay.image(Survivors::Nothing), &self.name);
                let lines = replay.pending().len();
                let stride = lines.div_ceil(lines_max.max(1)).max(1);
                for line in (0..lines).step_by(stride).take(lines_max) {
                    for is_kept in [true, false] {
                        let mut one = One { line, is_kept };
                        look(replay.image(Survivors::Prefixes(&mut one)), &self.name);
                    }
                }
            }
            if !replay.step() {
                break;
            }
        }
    }
}

/// When keys expire in the scenarios in which they do.
const LATER_MS: u64 = 6000;

thread_local! {
    /// Whether panics of this thread are expected.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs something that may panic without a word about it; `None` if it did.
pub(super) fn quietly<T>(run: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    QUIET.set(false);
    outcome.ok()
}

/// A line of the source, for the reader of a failure, and for the lists.
fn source_line((file, line, _): Place) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let text = std::fs::read_to_string(format!("{root}/{file}")).unwrap_or_default();
    let line = text.lines().nth(line as usize - 1).unwrap_or_default();
    line.trim().to_owned()
}

/// Looks in a process of its own: all pools of a process share one epoch, so the pins of other tests would delay the
/// reuse of freed blocks, differently in each run, and a harmless mutant would not be seen to change nothing.
#[test]
fn every_step_left_out_is_noticed() {
    const ALONE: &str = "EAGLE_TEST_MUTATION_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return look_for_every_step();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::mutation::every_step_left_out_is_noticed",
            "--nocapture",
        ])
        .env(ALONE, "1")
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

fn look_for_every_step() {
    let started = Instant::now();
    let scenarios = scenarios();
    let images = Cell::new(0);
    println!(
        "{} scenarios made in {:?}",
        scenarios.len(),
        started.elapsed()
    );
    // Which scenarios reach which step, and where in the record.
    let mut reached: BTreeMap<(Part, Place), Vec<(usize, usize)>> = BTreeMap::new();
    let (mut orders, mut unsound) = (Vec::new(), 0);
    for (number, scenario) in scenarios.iter().enumerate() {
        let (sim, start) = scenario.run(None);
        // Nothing is to be noticed yet. A few points will do: without garbage in free memory, other tests try them all.
        let points = Scenario::points(&sim, start, start);
        let points: Vec<usize> = points.into_iter().step_by(4).collect();
        if quietly(|| scenario.crash(&sim, &points, 1, &images)).is_none() {
            println!("unsound: {number}, {}", scenario.name);
            unsound += 1;
        }
        orders.push(sim.order_of_persistence());
        for (step, event) in sim.steps() {
            reached.entry(step).or_default().push((number, event));
        }
    }
    let only = std::env::var("EAGLEDB_MUTATION_ONLY").ok();
    if let Some(only) = &only {
        reached.retain(|(_, place), _| only.split(',').any(|file| place.0.ends_with(file)));
    }
    println!(
        "{} images before any mutation, {:?}",
        images.get(),
        started.elapsed()
    );
    let (mut noticed, mut equivalent) = (0, Vec::new());
    let (mut missed, mut excused) = (Vec::new(), BTreeSet::new());
    let harmless = HARMLESS
        .iter()
        .map(|&(file, part, line, _)| (file, part, line));
    let excuses: Vec<_> = OPEN.iter().copied().chain(harmless).collect();
    for (number, ((part, place), scenes)) in reached.iter().enumerate() {
        if number % 50 == 0 && number > 0 {
            println!("{number} mutants, {} images", images.get());
        }
        let muted = Some(Muted::Step(*part, *place));
        // Equally spaced, if there are many.
        let stride = scenes.len().div_ceil(RUNS_MAX);
        let mut differing = 0;
        let mut is_noticed = false;
        for &(number, event) in scenes.iter().step_by(stride) {
            let scenario = &scenarios[number];
            let Some((sim, start)) = quietly(|| scenario.run(muted)) else {
                is_noticed = true;
                break;
            };
            let is_order = matches!(part, Part::Fence | Part::Flush);
            if is_order && sim.order_of_persistence() == orders[number] {
                continue;
            }
            differing += 1;
            let points = Scenario::points(&sim, start, event);
            is_noticed = quietly(|| scenario.crash(&sim, &points, LINES_MAX, &images)).is_none();
            if is_noticed || differing == SCENARIOS_MAX {
                break;
            }
        }
        let text = source_line(*place);
        let is = |file: &str, listed: Part, line: &str| {
            place.0.ends_with(file) && *part == listed && *line == text
        };
        let listed = excuses
            .iter()
            .position(|entry| is(entry.0, entry.1, entry.2));
        let shown = format!("{part:?} of {}:{}: {text}", place.0, place.1);
        match () {
            () if is_noticed => noticed += 1,
            () if differing == 0 => equivalent.push(shown),
            () => match listed {
                Some(entry) => drop(excused.insert(entry)),
                None => {
                    println!("missed: {shown}");
                    missed.push(shown);
                }
            },
        }
    }
    let (count, mutants) = (scenarios.len(), reached.len());
    println!(
        "{count} scenarios, {mutants} mutants, {} images of them",
        images.get()
    );
    println!(
        "{noticed} noticed, {} equivalent, {} harmless, {} open, {:?}",
        equivalent.len(),
        HARMLESS.len(),
        OPEN.len(),
        started.elapsed()
    );
    equivalent
        .iter()
        .for_each(|shown| println!("equivalent: {shown}"));
    assert_eq!(unsound, 0, "scenarios that fail without any mutation");
    assert!(missed.is_empty(), "nobody notices\n{}", missed.join("\n"));
    if only.is_some() {
        return;
    }
    let stale = (0..excuses.len()).filter(|entry| !excused.contains(entry));
    let stale: Vec<_> = stale.map(|entry| excuses[entry]).collect();
    assert!(
        stale.is_empty(),
        "noticed by now, or not reached: {stale:?}"
    );
    let files: BTreeSet<&str> = reached.keys().map(|(_, (file, ..))| *file).collect();
    assert!(
        files.len() > 12,
        "the store has more files that write: {files:?}"
    );
}
