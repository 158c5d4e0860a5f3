//! Whatever peers say, in whatever order.

use super::elections::election;
use super::*;
use proptest::prelude::*;

fn any_body() -> impl Strategy<Value = Body> {
    let letter = || prop::sample::select(b"abmrx".to_vec());
    let entry = (letter(), any::<u16>())
        .prop_map(|(letter, flags)| about(letter, NodeFlags::from_bits(flags)));
    let extension = prop_oneof![
        letter().prop_map(|letter| Extension::ForgottenNode {
            id: id(letter),
            ttl_s: u64::MAX
        }),
        letter().prop_map(|letter| Extension::ShardId(id(letter))),
    ];
    let heartbeat = (
        prop::collection::vec(entry, 0..4),
        prop::collection::vec(extension, 0..2),
    )
        .prop_map(|(gossip, extensions)| Heartbeat { gossip, extensions });
    prop_oneof![
        heartbeat.clone().prop_map(Body::Ping),
        heartbeat.clone().prop_map(Body::Pong),
        heartbeat.prop_map(Body::Meet),
        letter().prop_map(|letter| Body::Fail(id(letter))),
        Just(Body::AuthRequest),
        Just(Body::AuthAck),
        (letter(), 0u64..20, 0u16..400).prop_map(|(owner, config_epoch, slots)| {
            Body::Update(SlotClaim {
                config_epoch,
                owner: id(owner),
                slots: (0..slots).collect(),
            })
        }),
        Just(Body::Unknown(99)),
    ]
}

proptest! {
    /// Whatever peers say: no panic, epochs never fall, and the slot table stays consistent with itself.
    #[test]
    fn no_sequence_of_messages_breaks_the_state(
        messages in prop::collection::vec(
            (any_body(), prop::sample::select(b"abmrx".to_vec()), 0u64..20, 0u16..400, prop::option::of(0usize..4), 0usize..8),
            1..60,
        ),
    ) {
        let mut bench = election();
        bench.state.set_replication(ReplicationView { offset: 1, data_age_ms: Some(0) });
        let mut epoch = bench.state.epochs().0;
        for (body, sender, claim_epoch, slots, primary, link) in messages {
            let header = Header {
                primary: primary.map(|at| id(b"abmr"[at])),
                message_flags: MessageFlags::EXT_DATA,
                ..header(sender, claim_epoch, 0..slots)
            };
            let links: Vec<LinkId> = bench.state.link_reports().iter().map(|report| report.link).collect();
            if !links.is_empty() {
                bench.receive(links[link % links.len()], &header, &body);
            }
            bench.pass(300, &[]);
            prop_assert!(bench.state.epochs().0 >= epoch);
            epoch = bench.state.epochs().0;
            prop_assert!(bench.state.my_claim().1 <= epoch);
            let topology = bench.state.topology();
            let mine: SlotSet = (0..16384).filter(|slot| topology.is_mine(*slot)).collect();
            prop_assert_eq!(&mine, bench.state.my_claim().2);
            let (is_primary, ..) = bench.state.my_claim();
            prop_assert!(is_primary || mine.is_empty());
            bench.state.save_config();
            let Effect::SaveConfig { text, .. } = &bench.state.drain_effects()[0] else { panic!("the save comes first") };
            prop_assert!(ClusterFile::parse(text).unwrap().is_some());
        }
    }
}
