//! Whole clusters in one thread: real state machines over a simulated network, disk and clock.
//!
//! A run is determined by its seed. The network delays frames, stalls and resets connections, loses frames and splits;
//! hosts crash in the middle of carrying out effects and come back with what their disk kept; clocks are apart and run
//! at different speeds. After every step the checks of [`checks`] hold; at the end of a run everything is healed, and
//! the cluster must come to rest in one agreed, healthy configuration.
//!
//! A failing run prints its seed; `CLUSTER_SIM_SEED=n` repeats one, `CLUSTER_SIM_SEEDS=n` runs n more.

mod checks;
mod network;
mod scenario;
mod world;

use scenario::{Plan, run};

/// Seeds of the ordinary run; each also decides the cluster's shape.
const SEEDS: std::ops::Range<u64> = 0..40;

#[test]
fn small_clusters_survive_heavy_faults() {
    if let Some(seed) = number("CLUSTER_SIM_SEED") {
        return run(seed, &Plan::small(seed));
    }
    let more = number("CLUSTER_SIM_SEEDS").unwrap_or(0);
    for seed in SEEDS.start..SEEDS.end + more {
        run(seed, &Plan::small(seed));
    }
}

#[test]
fn a_hundred_nodes_survive_partitions_and_crashes() {
    run(number("CLUSTER_SIM_SEED").unwrap_or(100), &Plan::large());
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number")),
    )
}
