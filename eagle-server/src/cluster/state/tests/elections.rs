//! Votes given and votes asked for.

use super::*;

/// Voters m, a and b, and a replica `r` of b, which is failed.
pub(super) fn election() -> Bench {
    let replica = Header {
        primary: Some(id(b'b')),
        flags: NodeFlags::REPLICA,
        ..header(b'r', 3, 200..300)
    };
    let mut bench = Bench::new(&[
        header(b'a', 2, 100..200),
        header(b'b', 3, 200..300),
        replica,
    ]);
    bench.say(0, &Body::Fail(id(b'b')));
    bench.now_ms += 2 * T;
    bench.peers[2].header.current_epoch = 4;
    bench
}

fn votes(bench: &mut Bench) -> bool {
    let effects = bench.say(2, &Body::AuthRequest);
    let voted = sent(&effects).contains(&Body::AuthAck);
    if voted {
        let text = effects.iter().find_map(|effect| match effect {
            Effect::SaveConfig { text, fsync: true } => Some(text),
            Effect::Send { .. } => panic!("something leaves before the vote is saved"),
            _ => None,
        });
        assert!(text.is_some_and(|text| text.contains("lastVoteEpoch 4")));
    }
    voted
}

#[test]
fn a_vote_is_saved_before_it_leaves_and_given_once_an_epoch() {
    let mut bench = election();
    assert!(votes(&mut bench));
    bench.now_ms += 3 * T;
    assert!(!votes(&mut bench), "the same epoch");
    bench.peers[2].header.current_epoch = 5;
    let effects = bench.say(2, &Body::AuthRequest);
    assert!(
        sent(&effects).contains(&Body::AuthAck),
        "a new epoch, and two timeouts have passed"
    );
    bench.peers[2].header.current_epoch = 6;
    let effects = bench.say(2, &Body::AuthRequest);
    assert!(
        !sent(&effects).contains(&Body::AuthAck),
        "too soon for the same primary"
    );
}

#[test]
fn a_vote_is_remembered_after_a_crash() {
    let mut bench = election();
    assert!(votes(&mut bench));
    bench.state.save_config();
    let text = bench
        .state
        .drain_effects()
        .into_iter()
        .find_map(|effect| match effect {
            Effect::SaveConfig { text, .. } => Some(text),
            _ => None,
        });
    let file = ClusterFile::parse(&text.unwrap()).unwrap().unwrap();
    let state = ClusterState::new(Config::default(), Some(&file), [8; 32], bench.now_ms);
    assert_eq!(state.epochs(), (4, 4));
    assert_eq!(
        (state.my_id(), state.my_shard_id()),
        (bench.state.my_id(), bench.state.my_shard_id())
    );
    assert_eq!(state.my_claim(), bench.state.my_claim());
}

#[test]
fn a_vote_is_refused_to_who_does_not_deserve_it() {
    let refused = |spoil: fn(&mut Bench)| {
        let mut bench = election();
        spoil(&mut bench);
        !votes(&mut bench)
    };
    assert!(!refused(|_| ()));
    assert!(
        refused(|bench| bench.peers[2].header.current_epoch = 2),
        "an old epoch"
    );
    assert!(
        refused(|bench| bench.peers[2].header.primary = None),
        "no replica"
    );
    assert!(
        refused(|bench| bench.peers[2].header.primary = Some(id(b'a'))),
        "another primary than I know"
    );
    assert!(
        !refused(|bench| bench.peers[2].header.slots = (100..300).collect()),
        "a's epoch 2 is smaller"
    );
    assert!(
        refused(|bench| bench.peers[2].header.config_epoch = 2),
        "b's slots are at epoch 3"
    );
    assert!(
        refused(|bench| {
            bench.answer(1);
            bench.pass(200, &[1]);
        }),
        "its primary is back"
    );
    assert!(
        refused(|bench| {
            let now_ms = bench.now_ms;
            bench.state.flush_slots(true, now_ms).unwrap();
        }),
        "I have no slots and no say"
    );
}

#[test]
fn a_forced_vote_does_not_need_a_failed_primary() {
    let mut bench = election();
    bench.pass(2 * T + 200, &[0, 1, 2]);
    assert!(!bench.flags(b'b').contains(NodeFlags::FAIL));
    assert!(!votes(&mut bench));
    bench.peers[2].header.message_flags = MessageFlags::FORCE_ACK;
    assert!(votes(&mut bench));
}

#[test]
fn a_replica_is_elected_by_distinct_voters_only() {
    let mut bench = Bench::new(&[
        header(b'a', 2, 100..200),
        header(b'b', 3, 200..300),
        header(b'c', 4, 300..400),
    ]);
    let now_ms = bench.now_ms;
    bench.state.flush_slots(true, now_ms).unwrap();
    bench
        .state
        .replicate(id(b'b').as_bytes(), true, now_ms)
        .unwrap();
    bench.say(0, &Body::Fail(id(b'b')));
    assert!(
        !sent(&bench.pass(2 * T, &[0, 2])).contains(&Body::AuthRequest),
        "without a copy of the data it does not stand"
    );
    bench.state.set_replication(ReplicationView {
        offset: 5,
        data_age_ms: Some(0),
    });
    assert!(sent(&bench.pass(2 * T, &[0, 2])).contains(&Body::AuthRequest));
    let epoch = bench.state.epochs().0;
    for peer in [0, 2] {
        bench.peers[peer].header.current_epoch = epoch;
    }
    bench.say(0, &Body::AuthAck);
    bench.say(0, &Body::AuthAck);
    assert!(!bench.state.my_claim().0, "one voter of three, twice");
    let effects = bench.say(2, &Body::AuthAck);
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::BecomePrimary { flush: false }))
    );
    let (is_primary, config_epoch, slots) = bench.state.my_claim();
    assert_eq!(
        (is_primary, config_epoch, slots),
        (true, epoch, &(200..300).collect())
    );
}
