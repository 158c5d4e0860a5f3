//! The answers of a redis-server 7.0.15, recorded by the example `redis_oracle`, whose head says
//! how: every row must come out the same here.

#[path = "../examples/redis_oracle/ours.rs"]
mod ours;

use eagle_core::text::split_args::{quoted, split_args};

#[test]
fn every_recorded_answer_is_ours() {
    for (name, inputs, ours) in ours::TABLES {
        let path = format!("{}/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let table = std::fs::read(&path).unwrap();
        let rows = table
            .split(|&byte| byte == b'\n')
            .filter(|row| !row.is_empty());
        let mut compared = 0;
        for row in rows {
            let fields = split_args(row).unwrap();
            let answer: Vec<_> = ours(&fields[..inputs])
                .iter()
                .map(|field| quoted(field))
                .collect();
            let recorded: Vec<_> = fields[inputs..].iter().map(|field| quoted(field)).collect();
            let row = String::from_utf8_lossy(row);
            assert_eq!(answer, recorded, "{name}: {row}");
            compared += 1;
        }
        assert!(compared >= 200, "{name} has {compared} rows");
    }
}
