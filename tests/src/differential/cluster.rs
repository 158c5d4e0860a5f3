//! Generated sequences for a node of a cluster: their keys get hash tags, so that it is known which node has them.
//!
//! A node that redirects is asked for keys of its own, of a slot it is giving away, of one it is getting, of its
//! neighbor's, and of several at once. A node that forwards is asked for keys that another node has; what it would
//! answer for itself is left out.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::run::{AUDITOR, BLOCKER, CONNECTIONS, SUBSCRIBER};
use super::{Compare, Step, script};
use crate::routed::key_slot;
use crate::{Client, Reply};

/// Of three nodes the first, which is asked, has this slot: 5061.
const OWN: &str = "bar";
/// And this one, which it gives away: 866.
pub const LEAVING: &str = "hello";
/// The second node has this one, which the first takes over: 9059.
pub const COMING: &str = "world";
/// The third node has this one: 12182.
pub const OWNED_ELSEWHERE: &str = "foo";

/// How often each is drawn.
const TAGS: &[&str] = &[
    OWN,
    OWN,
    OWN,
    OWN,
    OWN,
    OWN,
    LEAVING,
    LEAVING,
    LEAVING,
    COMING,
    COMING,
    OWNED_ELSEWHERE,
];

/// The sequence for a node that gives away the slot of [`LEAVING`] and takes over that of [`COMING`].
pub fn redirected(steps: Vec<Step>, seed: u64) -> Vec<Step> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut placed = Vec::new();
    let mut finds_expired = false;
    for mut step in steps {
        // What is found expired must be looked up, not asked for elsewhere.
        let tag = match step.expires || finds_expired {
            true => OWN,
            false => TAGS.choose(&mut rng).expect("not empty"),
        };
        finds_expired = step.expires;
        let is_mixed = rng.random_range(0..16) == 0 && step.connection < CONNECTIONS;
        for arg in &mut step.args {
            let tag = match is_mixed {
                true => TAGS.choose(&mut rng).expect("not empty"),
                false => tag,
            };
            place(arg, tag);
        }
        // Also where a script runs it.
        if step
            .args
            .iter()
            .any(|arg| arg.eq_ignore_ascii_case(b"cluster"))
        {
            step = about_slots(&mut rng, step.connection);
        }
        if tag == COMING && step.connection < CONNECTIONS && rng.random_range(0..3) > 0 {
            placed.push(Step::new(step.connection, &["ASKING"], Compare::Exact));
        }
        placed.push(step);
    }
    placed
}

/// In place of what would change the cluster.
fn about_slots(rng: &mut SmallRng, connection: usize) -> Step {
    let slot = key_slot(TAGS.choose(rng).expect("not empty").as_bytes()).to_string();
    let lines: [(&[&str], Compare); 7] = [
        (&["CLUSTER", "KEYSLOT", &slot], Compare::Exact),
        (&["CLUSTER", "COUNTKEYSINSLOT", &slot], Compare::Exact),
        (&["CLUSTER", "COUNTKEYSINSLOT", "16384"], Compare::Exact),
        (
            &["CLUSTER", "GETKEYSINSLOT", &slot, "100"],
            Compare::Unordered,
        ),
        (&["CLUSTER", "GETKEYSINSLOT", &slot, "-1"], Compare::Exact),
        (&["READONLY"], Compare::Exact),
        (&["READWRITE"], Compare::Exact),
    ];
    let (words, compare) = lines.choose(rng).expect("not empty");
    Step::new(connection, words, *compare)
}

/// What a forwarding node does with each command, as its manual has it.
pub type Kinds = BTreeMap<String, String>;

/// The sequence for a node that forwards to the owner of [`OWNED_ELSEWHERE`]. `reference` says which keys a command
/// has: those with keys of any other slot are left out, as the reference has all slots.
pub fn forwarded(steps: Vec<Step>, seed: u64, kinds: &Kinds, reference: &mut Client) -> Vec<Step> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut placed: Vec<Step> = (0..CONNECTIONS)
        .map(|connection| {
            let version = if rng.random_range(0..2) == 0 {
                "2"
            } else {
                "3"
            };
            Step::new(connection, &["HELLO", version], Compare::Shape)
        })
        .collect();
    for mut step in steps {
        step.args
            .iter_mut()
            .for_each(|arg| place(arg, OWNED_ELSEWHERE));
        let is_script = [
            "eval",
            "eval_ro",
            "evalsha",
            "evalsha_ro",
            "fcall",
            "fcall_ro",
        ]
        .iter()
        .any(|name| is(&step, name));
        // Without a key it would run at the node that is asked.
        if is_script && step.args.get(2).is_some_and(|count| count == b"0") {
            step.args[2] = b"1".to_vec();
            let key = format!("{{{OWNED_ELSEWHERE}}}k0");
            step.args.insert(3, key.into_bytes());
        }
        // Its channel has a slot of its own.
        if is(&step, "spublish") {
            continue;
        }
        let fits = match step.connection {
            SUBSCRIBER => false,
            // It sits at the owner.
            // What is short there the node that forwards need not know: it queues transactions.
            AUDITOR => !["select", "psubscribe", "config"]
                .iter()
                .any(|name| is(&step, name)),
            BLOCKER.. => {
                kind(kinds, &step.args) == Some("wait")
                    && has_only_its_keys(&step.args, true, reference)
            }
            _ => {
                matches!(
                    kind(kinds, &step.args),
                    Some("owner" | "split" | "wait" | "script" | "transaction" | "anywhere")
                ) && has_only_its_keys(&step.args, is_script, reference)
                    && !may_lack_keys(&step)
                    && (!is_script
                        || script::embedded(&step.args)
                            .iter()
                            .all(|line| may_be_embedded(line, kinds, reference)))
            }
        };
        if fits {
            placed.push(step);
        }
    }
    placed
}

/// XREAD and XREADGROUP have no key for routing where their options are out of order, and run at the node that is asked,
/// but not in a transaction elsewhere; `COMMAND GETKEYS` finds keys all the same.
fn may_lack_keys(step: &Step) -> bool {
    if !is(step, "xread") && !is(step, "xreadgroup") {
        return false;
    }
    let mut at = 1;
    loop {
        let word = step.args.get(at).map(|word| word.to_ascii_lowercase());
        match word.as_deref() {
            Some(b"block" | b"count") => at += 2,
            Some(b"group") => at += 3,
            Some(b"noack") => at += 1,
            Some(b"streams") => return !(step.args.len() - at - 1).is_multiple_of(2),
            _ => return true,
        }
    }
}

fn may_be_embedded(line: &[Vec<u8>], kinds: &Kinds, reference: &mut Client) -> bool {
    // A word that is no command, or an argument of a script of another form.
    let Some(kind) = line.first().and_then(|_| kind(kinds, line)) else {
        return true;
    };
    // A channel of shards has a slot of its own.
    kind != "here"
        && !line[0].eq_ignore_ascii_case(b"spublish")
        && has_only_its_keys(line, false, reference)
}

fn has_only_its_keys(args: &[Vec<u8>], needs_keys: bool, reference: &mut Client) -> bool {
    let line = [
        &["COMMAND", "GETKEYS"].map(|word| word.as_bytes().to_vec())[..],
        args,
    ]
    .concat();
    let tag = format!("{{{OWNED_ELSEWHERE}}}");
    let reply = reference.call(&line);
    match reply.error() {
        // It will be refused before anybody looks for keys.
        Some(error) if error.contains("number of arguments") || args.len() < 2 => true,
        Some(error) => !needs_keys && error.contains("no key arguments"),
        None => {
            let keys = reply.items();
            let has_tag = |key: &Reply| {
                key.bytes()
                    .is_some_and(|key| key.starts_with(tag.as_bytes()))
            };
            !(needs_keys && keys.is_empty()) && keys.iter().all(has_tag)
        }
    }
}

fn kind<'k>(kinds: &'k Kinds, args: &[Vec<u8>]) -> Option<&'k str> {
    let word = |at: usize| {
        args.get(at)
            .map(|arg| String::from_utf8_lossy(arg).to_ascii_lowercase())
    };
    let name = word(0)?;
    let both = format!("{name} {}", word(1).unwrap_or_default());
    let kind = kinds.get(&both).or_else(|| kinds.get(&name));
    kind.map(String::as_str)
}

fn is(step: &Step, name: &str) -> bool {
    step.args[0].eq_ignore_ascii_case(name.as_bytes())
}

/// Gives the names of the grammar's keys a tag.
fn place(arg: &mut Vec<u8>, tag: &str) {
    if matches!(arg[..], [b'k' | b'l', digit] if digit.is_ascii_digit()) {
        let tag = format!("{{{tag}}}");
        arg.splice(0..0, tag.into_bytes());
    }
}
