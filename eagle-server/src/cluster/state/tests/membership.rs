//! Who is known, by which name, at which address.

use super::*;

#[test]
fn a_stranger_is_met_but_a_strangers_ping_is_only_answered() {
    let mut bench = Bench::new(&[]);
    let link = bench
        .state
        .on_accept(ip("10.9.9.9"), ip("10.0.0.1"), START_MS);
    bench.receive(link, &header(b'a', 99, 0..50), &ping());
    assert!(matches!(
        sent(&bench.state.drain_effects())[..],
        [Body::Pong(_)]
    ));
    assert_eq!(
        (
            bench.state.nodes_text(false).lines().count(),
            bench.state.epochs().0
        ),
        (1, 1)
    );
    for _ in 0..2 {
        bench.receive(
            link,
            &header(b'a', 99, 0..50),
            &Body::Meet(Heartbeat::default()),
        );
    }
    let nodes = bench.state.nodes_text(false);
    assert_eq!(
        nodes.matches("handshake").count(),
        1,
        "a repeated MEET makes no second handshake"
    );
    assert!(
        !bench.knows(b'a') && bench.owner(10) == Some(id(b'm')),
        "a stranger's claims count for nothing"
    );
    bench.pass(T + 200, &[]);
    assert_eq!(
        bench.state.nodes_text(false).lines().count(),
        1,
        "an unanswered handshake expires"
    );
}

#[test]
fn another_name_at_a_nodes_address_takes_the_address_away_and_nothing_else() {
    let mut bench = three_voters();
    let link = bench.peers[0].outbound;
    bench.receive(
        link,
        &header(b'x', 50, 0..300),
        &Body::Pong(Heartbeat::default()),
    );
    let effects = bench.state.drain_effects();
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Close { link: closed } if *closed == link))
    );
    assert!(bench.flags(b'a').contains(NodeFlags::NOADDR));
    assert_eq!(
        (
            bench.state.epochs().0,
            bench.state.config_epoch_of(&id(b'a'))
        ),
        (3, Some(2))
    );
    assert_eq!(
        (bench.owner(0), bench.owner(100)),
        (Some(id(b'm')), Some(id(b'a')))
    );
    bench.say(0, &ping());
    assert!(
        !bench.flags(b'a').contains(NodeFlags::NOADDR),
        "its own PING brings the address back"
    );
}

#[test]
fn a_message_with_my_own_name_changes_nothing() {
    let mut bench = three_voters();
    let before = bench.state.nodes_text(false);
    let link = bench
        .state
        .on_accept(ip("10.9.9.9"), ip("10.0.0.1"), START_MS);
    let forged = Header {
        primary: Some(id(b'a')),
        ..header(b'm', 77, 0..300)
    };
    for body in [
        ping(),
        Body::Meet(Heartbeat::default()),
        Body::Fail(id(b'a')),
        Body::AuthRequest,
    ] {
        bench.receive(link, &forged, &body);
    }
    assert_eq!(
        (bench.state.nodes_text(false), bench.state.epochs().0),
        (before, 3)
    );
}

#[test]
fn impossible_epochs_are_not_believed() {
    let mut bench = three_voters();
    bench.peers[0].header.current_epoch = u64::MAX;
    bench.say(0, &ping());
    let claim = SlotClaim {
        config_epoch: u64::MAX,
        owner: id(b'b'),
        slots: (0..300).collect(),
    };
    bench.say(1, &Body::Update(claim));
    assert_eq!(
        (bench.state.epochs().0, bench.owner(0)),
        (3, Some(id(b'm')))
    );
}

#[test]
fn forgotten_nodes_stay_forgotten_for_a_minute() {
    let mut bench = three_voters();
    bench.gossip(0, about(b'x', NodeFlags::PRIMARY));
    assert!(bench.knows(b'x'));
    let now_ms = bench.now_ms;
    bench.state.forget(id(b'x').as_bytes(), now_ms).unwrap();
    bench.gossip(0, about(b'x', NodeFlags::PRIMARY));
    assert!(!bench.knows(b'x'));
    bench.pass(60_100, &[0, 1]);
    bench.gossip(0, about(b'x', NodeFlags::PRIMARY));
    assert!(bench.knows(b'x'));
    let forgotten = Extension::ForgottenNode {
        id: id(b'x'),
        ttl_s: 60,
    };
    bench.peers[0].header.message_flags = MessageFlags::EXT_DATA;
    bench.say(
        0,
        &Body::Ping(Heartbeat {
            gossip: vec![],
            extensions: vec![forgotten],
        }),
    );
    bench.gossip(1, about(b'x', NodeFlags::PRIMARY));
    assert!(
        !bench.knows(b'x'),
        "another node's FORGET counts here as well"
    );
}

#[test]
fn later_extensions_go_only_to_peers_that_know_them() {
    let mut bench = three_voters();
    let config = Config {
        node_timeout_ms: T,
        host_name: HostName::parse(b"here").unwrap(),
        ..Config::default()
    };
    bench.state.set_config(config, bench.now_ms);
    // The PONG leaves before the extensions of the PING are read, so it is the second that tells.
    let kinds = |bench: &mut Bench, extensions: Vec<Extension>| {
        let question = Body::Ping(Heartbeat {
            gossip: vec![],
            extensions,
        });
        bench.say(0, &question);
        let Some(Body::Pong(heartbeat)) = sent(&bench.say(0, &question)).pop() else {
            panic!("a PING is answered")
        };
        heartbeat
            .extensions
            .iter()
            .map(Extension::kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(&mut bench, vec![]), [0], "a peer of 7.0");
    bench.peers[0].header.message_flags = MessageFlags::EXT_DATA;
    let named = Extension::HostName(HostName::parse(b"there").unwrap());
    assert_eq!(
        kinds(&mut bench, vec![named]),
        [0],
        "a peer of 7.0 with a host name"
    );
    assert!(bench.state.nodes_text(false).contains(",there "));
    assert_eq!(
        kinds(&mut bench, vec![Extension::ShardId(id(b's'))]),
        [0, 3],
        "a peer of 7.2"
    );
    assert!(
        !bench.state.nodes_text(false).contains(",there "),
        "a host name no longer told is gone"
    );
}

#[test]
fn reset_forgets_and_a_hard_one_forgets_the_name_too() {
    let mut bench = three_voters();
    let now_ms = bench.now_ms;
    assert!(bench.state.reset(false, false, now_ms).is_err());
    bench.state.reset(false, true, now_ms).unwrap();
    assert_eq!(bench.state.nodes_text(false).lines().count(), 1);
    assert_eq!((bench.state.my_id(), bench.state.epochs().0), (id(b'm'), 3));
    bench.state.reset(true, true, now_ms).unwrap();
    assert_ne!(bench.state.my_id(), id(b'm'));
    assert_eq!(bench.state.epochs(), (0, 0));
    assert!(bench.state.link_reports().is_empty());
}
