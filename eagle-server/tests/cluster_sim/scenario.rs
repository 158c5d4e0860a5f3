//! The course of a run: build a cluster, let it suffer, heal it, and see that it is whole.

use crate::world::{HostIndex, Weather, World, ip_of};
use eagle_server::cluster::state::Config;
use eagle_server::cluster::{NodeFlags, NodeId, SLOT_COUNT};
use rand::RngExt;
use std::collections::BTreeSet;

/// Shape and course of a run.
pub struct Plan {
    primaries: usize,
    replicas_each: usize,
    node_timeout_ms: u64,
    /// Whether every primary is given an epoch of its own first, as `redis-cli --cluster create` does.
    distinct_epochs: bool,
    /// Number of misfortunes, and the time between two.
    troubles: usize,
    trouble_ms: u64,
    weather: Weather,
}

impl Plan {
    pub fn small(seed: u64) -> Self {
        Self {
            primaries: 3 + seed as usize % 4,
            replicas_each: seed as usize % 3,
            node_timeout_ms: 1000,
            distinct_epochs: seed.is_multiple_of(2),
            troubles: 10,
            trouble_ms: 4000,
            weather: Weather {
                loss: 3000,
                reset: 1000,
                stall: 5000,
                crash: 60,
            },
        }
    }

    pub fn large() -> Self {
        Self {
            primaries: 34,
            replicas_each: 2,
            node_timeout_ms: 5000,
            distinct_epochs: false,
            troubles: 5,
            trouble_ms: 6000,
            weather: Weather {
                loss: 500,
                reset: 200,
                stall: 500,
                crash: 2,
            },
        }
    }
}

/// Runs a plan; a failed check tells the seed.
pub fn run(seed: u64, plan: &Plan) {
    println!("cluster simulation: seed {seed}");
    let began = std::time::Instant::now();
    let config = Config {
        node_timeout_ms: plan.node_timeout_ms,
        ..Config::default()
    };
    let mut world = World::new(seed, plan.primaries * (1 + plan.replicas_each), &config);
    create(&mut world, plan);
    let calm = std::mem::replace(&mut world.weather, plan.weather);
    let first = world.rng.random_range(0..5);
    for number in first..first + plan.troubles {
        misfortune(&mut world, plan, number % 5);
        world.run_for(plan.trouble_ms);
    }
    world.weather = calm;
    world.split(|_| 0);
    settle(&mut world, plan, "after the troubles");
    if let Some((source, target)) = two_primaries(&world) {
        move_slots(&mut world, source, target);
        settle(&mut world, plan, "after moving slots");
    }
    println!(
        "seed {seed}: {} hosts, {} crashes, {} vote requests sent, {:.1} s",
        world.hosts.len(),
        world.crashes,
        world.checks.elections,
        began.elapsed().as_secs_f64()
    );
}

fn create(world: &mut World, plan: &Plan) {
    let share = usize::from(SLOT_COUNT) / plan.primaries;
    for primary in 0..plan.primaries {
        let first = primary * share;
        let last = if primary + 1 == plan.primaries {
            usize::from(SLOT_COUNT) - 1
        } else {
            first + share - 1
        };
        let (first, last) = (first.to_string(), last.to_string());
        world
            .order(primary, |state, now_ms| {
                state.add_slots_range(&[first.as_bytes(), last.as_bytes()], now_ms)
            })
            .unwrap();
        if plan.distinct_epochs {
            let epoch = (primary + 1).to_string();
            world
                .order(primary, |state, now_ms| {
                    state.set_config_epoch(epoch.as_bytes(), now_ms)
                })
                .unwrap();
        }
    }
    let meeting_point = ip_of(0).to_string();
    for host in 1..world.hosts.len() {
        world
            .order(host, |state, now_ms| {
                state.meet(meeting_point.as_bytes(), b"7000", None, now_ms)
            })
            .unwrap();
    }
    let knows_all = |world: &World| {
        let count = world.hosts.len();
        world.hosts.iter().all(|host| {
            let text = host.state.as_ref().unwrap().nodes_text(false);
            text.lines().count() == count && !text.contains("handshake")
        })
    };
    wait(world, plan, knows_all, "everybody knows everybody");
    for host in plan.primaries..world.hosts.len() {
        let primary = world.hosts[host % plan.primaries].id.to_string();
        world
            .order(host, |state, now_ms| {
                state.replicate(primary.as_bytes(), true, now_ms)
            })
            .unwrap();
    }
    settle(world, plan, "after creation");
}

fn misfortune(world: &mut World, plan: &Plan, kind: usize) {
    let count = world.hosts.len();
    match kind {
        0 => world.split(|_| 0),
        1 => {
            // A minority is cut off, or the cluster falls apart at random.
            let lonely = world.rng.random_range(0..count);
            let neighbours = world.rng.random_range(0..count / 3 + 1);
            world.split(|host| u8::from((host + count - lonely) % count <= neighbours));
        }
        2 => {
            let sides: Vec<u8> = (0..count).map(|_| world.rng.random_range(0..3)).collect();
            world.split(|host| sides[host]);
        }
        3 => {
            for _ in 0..world.rng.random_range(1..3) {
                let victim = world.rng.random_range(0..count);
                let down_ms = world.rng.random_range(200..plan.node_timeout_ms * 4);
                world.crash(victim, down_ms);
            }
        }
        _ => {
            // One primary is gone for long enough that its replica is elected.
            let victim = (0..count)
                .find(|host| is_serving(world, *host))
                .unwrap_or(0);
            world.crash(victim, plan.node_timeout_ms * 5);
        }
    }
}

/// Waits until the cluster is whole, and checks that it is of one mind.
fn settle(world: &mut World, plan: &Plan, when: &str) {
    wait(world, plan, is_whole, when);
    let mut claimed = vec![None; usize::from(SLOT_COUNT)];
    for host in &world.hosts {
        let (_, _, slots) = host.state.as_ref().expect("all are up").my_claim();
        for slot in slots.iter() {
            assert_eq!(
                claimed[usize::from(slot)].replace(host.id),
                None,
                "slot {slot} is claimed twice {when}"
            );
        }
    }
    assert!(
        claimed.iter().all(Option::is_some),
        "a slot is claimed by nobody {when}"
    );
}

fn is_whole(world: &World) -> bool {
    let view = |host: &crate::world::Host| -> Option<Vec<Option<NodeId>>> {
        let state = host.state.as_ref()?;
        let topology = state.topology();
        let sick = NodeFlags::PFAIL | NodeFlags::FAIL | NodeFlags::NOADDR;
        let healthy = topology.is_ok()
            && topology.nodes().count() == world.hosts.len()
            && topology
                .nodes()
                .all(|(_, node)| !node.flags.intersects(sick));
        healthy.then(|| {
            (0..SLOT_COUNT)
                .map(|slot| topology.owner(slot).map(|owner| topology.node(owner).id))
                .collect()
        })
    };
    let Some(first) = view(&world.hosts[0]) else {
        return false;
    };
    let truth = world.hosts.iter().all(|host| {
        let Some(state) = &host.state else {
            return false;
        };
        let (is_primary, _, slots) = state.my_claim();
        let known: Vec<u16> = (0..SLOT_COUNT)
            .filter(|slot| first[usize::from(*slot)] == Some(host.id))
            .collect();
        is_primary != known.is_empty() && slots.iter().eq(known)
    });
    let states = || world.hosts.iter().filter_map(|host| host.state.as_ref());
    let current: BTreeSet<u64> = states().map(|state| state.epochs().0).collect();
    let claims = || {
        states()
            .map(|state| state.my_claim())
            .filter(|claim| claim.0)
    };
    let distinct: BTreeSet<u64> = claims().map(|claim| claim.1).collect();
    truth
        && current.len() == 1
        && distinct.len() == claims().count()
        && world
            .hosts
            .iter()
            .all(|host| view(host).as_ref() == Some(&first))
}

fn wait(world: &mut World, plan: &Plan, reached: impl Fn(&World) -> bool, what: &str) {
    for _ in 0..60 {
        if reached(world) {
            println!("{what}: {} ms", world.elapsed_ms());
            return;
        }
        world.run_for(plan.node_timeout_ms);
    }
    for host in &world.hosts {
        if let Some(state) = &host.state {
            println!("{}{}", state.nodes_text(false), state.info_text());
        }
    }
    panic!("not reached within 60 node timeouts: {what}");
}

fn is_serving(world: &World, host: HostIndex) -> bool {
    world.hosts[host].state.as_ref().is_some_and(|state| {
        let (is_primary, _, slots) = state.my_claim();
        is_primary && !slots.is_empty()
    })
}

fn two_primaries(world: &World) -> Option<(HostIndex, HostIndex)> {
    let mut primaries = (0..world.hosts.len()).filter(|host| is_serving(world, *host));
    Some((primaries.next()?, primaries.next_back()?))
}

/// Moves some slots the way `redis-cli --cluster reshard` does.
fn move_slots(world: &mut World, source: HostIndex, target: HostIndex) {
    let slots: Vec<u16> = world.hosts[source]
        .state
        .as_ref()
        .unwrap()
        .my_claim()
        .2
        .iter()
        .take(20)
        .collect();
    let (source_id, target_id) = (
        world.hosts[source].id.to_string(),
        world.hosts[target].id.to_string(),
    );
    for slot in slots {
        let slot_text = slot.to_string();
        let mut order = |host: HostIndex, action: &[u8], id: &str| {
            let set = |state: &mut eagle_server::cluster::state::ClusterState, now_ms| {
                state.set_slot(
                    slot_text.as_bytes(),
                    &[action, id.as_bytes()],
                    |_| 0,
                    now_ms,
                )
            };
            world.order(host, set).unwrap();
            world.run_for(20);
        };
        order(target, b"importing", &source_id);
        order(source, b"migrating", &target_id);
        order(target, b"node", &target_id);
        order(source, b"node", &target_id);
        assert!(
            world.hosts[target]
                .state
                .as_ref()
                .unwrap()
                .my_claim()
                .2
                .contains(slot)
        );
    }
}
