//! Suspicion, failure, and the state of the cluster.

use super::*;

#[test]
fn a_failure_takes_a_quorum_of_voters() {
    let voters = [
        header(b'a', 2, 100..200),
        header(b'b', 3, 200..300),
        header(b'c', 4, 300..400),
        header(b'd', 5, 400..500),
    ];
    let empty = header(b'e', 6, 0..0);
    let mut bench = Bench::new(&[&voters[..], &[empty]].concat());
    bench.pass(2 * T, &[1, 2, 3, 4]);
    assert!(
        bench.flags(b'a').contains(NodeFlags::PFAIL),
        "I suspect it: one of five voters"
    );
    bench.gossip(1, about(b'a', NodeFlags::PRIMARY | NodeFlags::PFAIL));
    bench.gossip(4, about(b'a', NodeFlags::PRIMARY | NodeFlags::FAIL));
    assert!(
        bench.flags(b'a').contains(NodeFlags::PFAIL),
        "two of five; a primary without slots has no say"
    );
    assert_eq!(
        bench
            .state
            .count_failure_reports(id(b'a').as_bytes(), bench.now_ms),
        Ok(2)
    );
    bench.gossip(1, about(b'a', NodeFlags::PRIMARY));
    bench.gossip(2, about(b'a', NodeFlags::PRIMARY | NodeFlags::PFAIL));
    assert!(
        bench.flags(b'a').contains(NodeFlags::PFAIL),
        "one took its report back"
    );
    let effects = bench.gossip(3, about(b'a', NodeFlags::PRIMARY | NodeFlags::PFAIL));
    assert!(bench.flags(b'a').contains(NodeFlags::FAIL), "three of five");
    assert!(
        sent(&effects).contains(&Body::Fail(id(b'a'))),
        "and all are told"
    );
}

#[test]
fn old_failure_reports_do_not_count() {
    let mut bench = three_voters();
    bench.gossip(1, about(b'a', NodeFlags::PRIMARY | NodeFlags::PFAIL));
    bench.pass(2 * T + 100, &[0, 1]);
    assert_eq!(
        bench
            .state
            .count_failure_reports(id(b'a').as_bytes(), bench.now_ms),
        Ok(0)
    );
}

#[test]
fn a_failed_voter_that_answers_is_believed_after_two_timeouts() {
    let mut bench = three_voters();
    bench.say(1, &Body::Fail(id(b'a')));
    assert!(bench.flags(b'a').contains(NodeFlags::FAIL));
    bench.pass(2 * T, &[0, 1]);
    assert!(bench.flags(b'a').contains(NodeFlags::FAIL));
    bench.pass(200, &[0, 1]);
    assert!(!bench.flags(b'a').contains(NodeFlags::FAIL));
    let mut bench = Bench::new(&[header(b'a', 2, 100..200), header(b'e', 3, 0..0)]);
    bench.say(0, &Body::Fail(id(b'e')));
    bench.answer(1);
    assert!(
        !bench.flags(b'e').contains(NodeFlags::FAIL),
        "nobody is elected for a primary without slots"
    );
}

#[test]
fn a_primary_is_slow_to_believe_that_all_is_well() {
    let config = Config {
        require_full_coverage: false,
        ..Config::default()
    };
    let mut bench = three_voters();
    bench.state.set_config(
        Config {
            node_timeout_ms: T,
            ..config
        },
        bench.now_ms,
    );
    bench.pass(1900, &[0, 1]);
    assert!(!bench.state.is_ok());
    bench.pass(300, &[0, 1]);
    assert!(bench.state.is_ok());
    bench.pass(2 * T, &[]);
    assert!(!bench.state.is_ok(), "alone among three");
    bench.pass(T - 200, &[0, 1]);
    assert!(!bench.state.is_ok());
    bench.pass(500, &[0, 1]);
    assert!(bench.state.is_ok());
}

#[test]
fn an_uncovered_slot_puts_the_cluster_out_of_order() {
    let mut bench = Bench::new(&[header(b'a', 2, 100..16384)]);
    bench.pass(2200, &[0]);
    assert!(bench.state.is_ok());
    let now_ms = bench.now_ms;
    bench.state.del_slots(&[b"5"], now_ms).unwrap();
    bench.state.drain_effects();
    assert!(!bench.state.is_ok());
}
