//! Figures of the storage engine by itself, without a server: what `tests/bench/figures.py` cannot see from outside.
//!
//! ```text
//! cargo run --release -p eagle-core --example figures -- index load-factor stall undo scaling prefetch snapshot
//! ```
//!
//! Each line printed is one figure: part, what, value. `scale=N` makes the data N times smaller. What two builds have to be
//! compared for (the undo log on and off) is put together by the script.

mod memory;
mod speed;

use eagle_core::store::{Access, Guard, Keyspace, PoolOptions, StringForm, Ttl, Worker, key_slot};

/// A part's name, and what measures it.
type Part = (&'static str, fn(u64));

/// The parts.
const PARTS: [Part; 7] = [
    ("index", memory::index),
    ("load-factor", memory::load_factor),
    ("snapshot", memory::snapshot),
    ("stall", speed::stall),
    ("undo", speed::undo),
    ("scaling", speed::scaling),
    ("prefetch", speed::prefetch),
];

fn main() {
    let mut scale = 1;
    for argument in std::env::args().skip(1) {
        match argument.strip_prefix("scale=") {
            Some(number) => scale = number.parse().expect("a number"),
            None => {
                let part = PARTS.iter().find(|(name, _)| *name == argument);
                let (_, run) = part.unwrap_or_else(|| panic!("no part is called {argument}"));
                run(scale);
            }
        }
    }
}

/// Prints a figure.
fn figure(part: &str, what: &str, value: f64) {
    println!("{part}\t{what}\t{value:.4}");
}

/// A keyspace in anonymous memory.
fn open(bytes_max: u64) -> Keyspace {
    Keyspace::open(&PoolOptions::in_memory(bytes_max))
        .expect("memory for a pool")
        .0
}

/// A key of 16 bytes.
fn name(number: u64) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    let mut rest = number;
    for digit in name[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

fn set(keyspace: &Keyspace, worker: &mut Worker, guard: &Guard, key: &[u8], value: &[u8]) {
    let slots = [key_slot(key)];
    let mut view = keyspace.view(worker, guard, Access::Slots(&slots), 0);
    view.set_string(0, key, value, StringForm::Auto, Ttl::Clear)
        .expect("room");
    view.commit();
}

/// Sets keys `0..keys` to values of so many bytes, with a pin for every few, as a server pins batches.
fn fill(keyspace: &Keyspace, worker: &mut Worker, keys: u64, value_bytes: usize) {
    let value = vec![b'v'; value_bytes];
    let mut number = 0;
    while number < keys {
        let guard = keyspace.pin();
        let end = (number + 64).min(keys);
        (number..end).for_each(|key| set(keyspace, worker, &guard, &name(key), &value));
        number = end;
    }
}

/// Numbers in no order.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }
}
