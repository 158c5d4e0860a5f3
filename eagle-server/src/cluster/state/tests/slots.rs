//! Claims to slots, and epochs.

use super::*;

#[test]
fn of_two_claims_the_greater_epoch_wins() {
    let mut bench = three_voters();
    bench.peers[1].header.slots = (150..300).collect();
    bench.peers[1].header.config_epoch = 2;
    bench.say(1, &ping());
    assert_eq!(
        bench.owner(150),
        Some(id(b'a')),
        "equal epochs move nothing"
    );

    let mut bench = three_voters();
    bench.peers[0].header.slots = (100..250).collect();
    let effects = bench.say(0, &ping());
    assert_eq!(
        bench.owner(220),
        Some(id(b'b')),
        "epoch 2 does not take from epoch 3"
    );
    let correction = Body::Update(SlotClaim {
        config_epoch: 3,
        owner: id(b'b'),
        slots: (200..300).collect(),
    });
    assert!(
        sent(&effects).contains(&correction),
        "and the claimant is told"
    );
    (
        bench.peers[0].header.config_epoch,
        bench.peers[0].header.current_epoch,
    ) = (9, 9);
    let effects = bench.say(0, &ping());
    assert_eq!(bench.owner(220), Some(id(b'a')));
    assert!(matches!(effects[0], Effect::SaveConfig { fsync: true, .. }));
    assert!(matches!(effects[1], Effect::Topology(_)));
}

#[test]
fn a_slot_being_imported_stays_and_a_slot_not_claimed_goes() {
    let mut bench = three_voters();
    let now_ms = bench.now_ms;
    bench
        .state
        .set_slot(b"120", &[b"importing", id(b'a').as_bytes()], |_| 0, now_ms)
        .unwrap();
    (
        bench.peers[1].header.slots,
        bench.peers[1].header.config_epoch,
    ) = ((100..300).collect(), 8);
    bench.say(1, &ping());
    assert_eq!(
        (bench.owner(119), bench.owner(120)),
        (Some(id(b'b')), Some(id(b'a')))
    );

    let mut bench = three_voters();
    bench.peers[1].header.slots = (201..300).collect();
    bench.say(1, &ping());
    assert_eq!(
        bench.owner(200),
        Some(id(b'b')),
        "kept until somebody claims it"
    );
    bench.peers[0].header.slots = (100..201).collect();
    bench.say(0, &ping());
    assert_eq!(
        bench.owner(200),
        Some(id(b'a')),
        "though its epoch is smaller"
    );
}

/// `b` has taken slot 150 of `a` at an epoch that it had before; the two connections to `b` run at their own pace.
#[test]
fn an_overtaken_heartbeat_hands_a_slot_back_until_the_next() {
    let mut bench = three_voters();
    let before = bench.peers[1].clone();
    bench.peers[1].header.slots.insert(150);
    bench.say(1, &ping());
    assert_eq!(bench.owner(150), Some(id(b'b')));
    let stale = Body::Pong(Heartbeat::default());
    bench.receive(before.outbound, &before.header, &stale);
    assert_eq!(
        bench.owner(150),
        Some(id(b'b')),
        "kept until somebody claims it"
    );
    bench.say(0, &ping());
    assert_eq!(
        bench.owner(150),
        Some(id(b'a')),
        "who has not been told of the move yet"
    );
    bench.say(1, &ping());
    assert_eq!(bench.owner(150), Some(id(b'b')));
    bench.say(0, &ping());
    assert_eq!(bench.owner(150), Some(id(b'b')));
}

#[test]
fn lost_slots_are_reported_and_who_loses_all_follows() {
    let mut bench = three_voters();
    (
        bench.peers[0].header.slots,
        bench.peers[0].header.config_epoch,
    ) = ((90..200).collect(), 9);
    let effects = bench.say(0, &ping());
    assert_eq!(lost(&effects), Some((90..100).collect()));
    bench.peers[0].header.slots = (0..200).collect();
    let effects = bench.say(0, &ping());
    assert_eq!(
        lost(&effects),
        None,
        "a replica's data is replaced as a whole"
    );
    let becomes = |effect: &Effect| matches!(effect, Effect::BecomeReplicaOf { primary, .. } if *primary == id(b'a'));
    assert!(effects.iter().any(becomes));
    assert!(bench.state.nodes_text(false).contains("myself,slave"));
    assert!(
        bench
            .state
            .replicas_text(id(b'a').as_bytes(), false)
            .unwrap()[0]
            .contains("myself,slave")
    );
}

#[test]
fn an_update_is_taken_only_if_it_is_news_about_somebody_else() {
    let update = |epoch, owner: u8, slots: std::ops::Range<u16>| {
        Body::Update(SlotClaim {
            config_epoch: epoch,
            owner: id(owner),
            slots: slots.collect(),
        })
    };
    let mut bench = three_voters();
    bench.say(0, &update(3, b'b', 100..300));
    assert_eq!(bench.owner(100), Some(id(b'a')), "no news");
    bench.say(0, &update(30, b'm', 0..0));
    assert_eq!(
        (bench.state.my_claim().1, bench.owner(0)),
        (1, Some(id(b'm'))),
        "nobody tells me who I am"
    );
    bench.say(0, &update(30, b'x', 0..300));
    assert_eq!(bench.owner(0), Some(id(b'm')), "of an unknown node");
    bench.say(0, &update(30, b'b', 50..300));
    assert_eq!(
        (bench.owner(50), bench.owner(100)),
        (Some(id(b'b')), Some(id(b'b')))
    );
    assert_eq!(bench.state.epochs().0, 30);
}

#[test]
fn equal_epochs_part_by_name() {
    let mut bench = Bench::new(&[header(b'z', 1, 100..200)]);
    assert_eq!(
        (bench.state.my_claim().1, bench.state.epochs().0),
        (2, 2),
        "m is smaller than z and moves"
    );
    bench = Bench::new(&[header(b'a', 1, 100..200)]);
    assert_eq!(
        (bench.state.my_claim().1, bench.state.epochs().0),
        (1, 1),
        "a has to move, not m"
    );
}

#[test]
fn keys_found_at_the_start_decide_whose_their_slots_are() {
    let mut bench = three_voters();
    let now_ms = bench.now_ms;
    bench
        .state
        .adopt_keys(&[1, 150, 5000].into_iter().collect(), now_ms);
    let nodes = bench.state.nodes_text(false);
    assert!(
        nodes.contains(&format!("0-99 5000 [150-<-{}]", id(b'a'))),
        "{nodes}"
    );
}

#[test]
fn the_report_names_the_servers_of_many_ranges_once() {
    let mut bench = three_voters();
    bench.peers[0].header.slots = (100..200)
        .filter(|slot| slot % 2 == 0)
        .chain([250])
        .collect();
    bench.peers[0].header.config_epoch = 9;
    bench.say(0, &ping());
    bench.peers[1].header.slots = (101..300)
        .filter(|slot| slot % 2 == 1 || *slot > 200)
        .collect();
    bench.say(1, &ping());
    let report = bench.state.slots_report(false);
    let serving = |slot: u16| {
        let mut ranges = report.ranges.iter();
        let range = ranges.find(|range| (range.first..=range.last).contains(&slot))?;
        Some((range.first, range.last, report.servers[range.servers][0].id))
    };
    assert_eq!(serving(99), Some((0, 99, id(b'm'))));
    assert_eq!(serving(100), Some((100, 100, id(b'a'))));
    assert_eq!(serving(101), Some((101, 101, id(b'b'))));
    assert_eq!(serving(250), Some((250, 250, id(b'a'))));
    assert_eq!(serving(299), Some((251, 299, id(b'b'))));
    assert_eq!(serving(300), None);
    assert_eq!(report.servers.len(), 3);
}
