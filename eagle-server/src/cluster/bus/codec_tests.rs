//! Byte-exact layout, round trips, and hostile input.

use super::*;
use crate::cluster::address::{HostName, HumanName};
use proptest::prelude::*;

fn id(letter: u8) -> NodeId {
    NodeId::parse(&[letter; 40]).unwrap()
}

fn header() -> Header {
    Header {
        sender: id(b'a'),
        ip: IpText::parse(b"10.1.2.3").unwrap(),
        port: 7000,
        pport: 7001,
        cport: 17000,
        current_epoch: 0x0102_0304_0506_0708,
        config_epoch: 0x1112_1314_1516_1718,
        offset: 0x2122_2324_2526_2728,
        slots: [0, 9, 16383].into_iter().collect(),
        primary: None,
        flags: NodeFlags::PRIMARY | NodeFlags::MYSELF,
        cluster_ok: true,
        message_flags: MessageFlags::default(),
    }
}

fn gossip(letter: u8) -> GossipEntry {
    GossipEntry {
        id: id(letter),
        ping_sent_s: 0x3132_3334,
        pong_received_s: 0x4142_4344,
        ip: IpText::parse(b"::1").unwrap(),
        port: 7002,
        cport: 17002,
        flags: NodeFlags::REPLICA | NodeFlags::PFAIL,
        pport: 0x5152,
    }
}

#[test]
fn the_header_lies_at_its_offsets() {
    let frame = encode(&header(), &Body::AuthRequest);
    assert_eq!(frame.len(), 2256);
    let mut expected = [0u8; 2256];
    expected[0..4].copy_from_slice(b"RCmb");
    expected[4..8].copy_from_slice(&[0, 0, 0x08, 0xd0]);
    expected[8..10].copy_from_slice(&[0, 1]);
    expected[10..12].copy_from_slice(&[0x1b, 0x58]);
    expected[12..14].copy_from_slice(&[0, 5]);
    expected[16..24].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    expected[24..32].copy_from_slice(&[0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
    expected[32..40].copy_from_slice(&[0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28]);
    expected[40..80].copy_from_slice(&[b'a'; 40]);
    expected[80] = 1;
    expected[81] = 2;
    expected[2127] = 0x80;
    expected[2168..2176].copy_from_slice(b"10.1.2.3");
    expected[2246..2248].copy_from_slice(&[0x1b, 0x59]);
    expected[2248..2250].copy_from_slice(&[0x42, 0x68]);
    expected[2250..2252].copy_from_slice(&[0, 17]);
    assert_eq!(frame[..], expected[..]);

    let replica = Header {
        primary: Some(id(b'p')),
        cluster_ok: false,
        message_flags: MessageFlags::PAUSED.with(MessageFlags::FORCE_ACK),
        ..header()
    };
    let frame = encode(&replica, &Body::AuthAck);
    assert_eq!(frame[2128..2168], [b'p'; 40]);
    assert_eq!(frame[2252..2256], [1, 3, 0, 0]);
}

#[test]
fn a_gossip_entry_and_extensions_lie_at_their_offsets() {
    let heartbeat = Heartbeat {
        gossip: vec![gossip(b'b')],
        extensions: vec![
            Extension::HostName(HostName::parse(b"host-17").unwrap()),
            Extension::HumanName(HumanName::parse(b"name-of-8").unwrap()),
            Extension::ForgottenNode {
                id: id(b'f'),
                ttl_s: 0x3c,
            },
            Extension::ShardId(id(b's')),
        ],
    };
    let header = Header {
        message_flags: MessageFlags::EXT_DATA,
        ..header()
    };
    let frame = encode(&header, &Body::Meet(heartbeat));
    assert_eq!(frame.len(), 2256 + 104 + 16 + 24 + 56 + 48);
    assert_eq!(frame[12..16], [0, 2, 0, 1]);
    assert_eq!(frame[2214..2216], [0, 4]);
    assert_eq!(frame[2253], 4);
    let mut entry = [0u8; 104];
    entry[0..40].copy_from_slice(&[b'b'; 40]);
    entry[40..48].copy_from_slice(&[0x31, 0x32, 0x33, 0x34, 0x41, 0x42, 0x43, 0x44]);
    entry[48..51].copy_from_slice(b"::1");
    entry[94..96].copy_from_slice(&[0x1b, 0x5a]);
    entry[96..98].copy_from_slice(&[0x42, 0x6a]);
    entry[98..102].copy_from_slice(&[0, 6, 0x51, 0x52]);
    assert_eq!(frame[2256..2360], entry[..]);
    assert_eq!(frame[2360..2376], *b"\0\0\0\x10\0\0\0\0host-17\0");
    assert_eq!(
        frame[2376..2400],
        *b"\0\0\0\x18\0\x01\0\0name-of-8\0\0\0\0\0\0\0"
    );
    assert_eq!(frame[2400..2408], [0, 0, 0, 56, 0, 2, 0, 0]);
    assert_eq!(frame[2448..2456], [0, 0, 0, 0, 0, 0, 0, 0x3c]);
    assert_eq!(frame[2456..2464], [0, 0, 0, 48, 0, 3, 0, 0]);
    assert_eq!(frame[2464..2504], [b's'; 40]);
}

#[test]
fn the_other_bodies_have_their_exact_lengths() {
    let publish = Body::Publish {
        channel: "chan".into(),
        message: "payload".into(),
    };
    let frame = encode(&header(), &publish);
    assert_eq!(frame[2256..], *b"\0\0\0\x04\0\0\0\x07chanpayload");
    let shard = Body::PublishShard {
        channel: "c".into(),
        message: "".into(),
    };
    assert_eq!(
        (
            encode(&header(), &shard).len(),
            encode(&header(), &shard)[13]
        ),
        (2265, 10)
    );
    assert_eq!(encode(&header(), &Body::Fail(id(b'x')))[2256..], [b'x'; 40]);
    let update = Body::Update(SlotClaim {
        config_epoch: 9,
        owner: id(b'o'),
        slots: SlotSet::full(),
    });
    let frame = encode(&header(), &update);
    assert_eq!(
        (
            frame.len(),
            frame[2263],
            frame[2264],
            frame[2304],
            frame[4351]
        ),
        (4352, 9, b'o', 0xff, 0xff)
    );
    let module = Body::Module {
        module: [1, 2, 3, 4, 5, 6, 7, 8],
        kind: 7,
        payload: "xyz".into(),
    };
    assert_eq!(
        encode(&header(), &module)[2256..],
        *b"\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x03\x07xyz"
    );
    assert_eq!(encode(&header(), &Body::ManualFailoverStart).len(), 2256);
}

fn edited(body: &Body, edit: impl FnOnce(&mut Vec<u8>)) -> Result<(Header, Body), DecodeError> {
    let mut frame = encode(&header(), body).to_vec();
    edit(&mut frame);
    let length = (frame.len() as u32).to_be_bytes();
    frame[4..8].copy_from_slice(&length);
    decode(&frame.into())
}

#[test]
fn a_length_off_by_one_drops_the_message() {
    let update = Body::Update(SlotClaim {
        config_epoch: 9,
        owner: id(b'o'),
        slots: SlotSet::new(),
    });
    for body in [
        Body::Ping(Heartbeat::default()),
        Body::Fail(id(b'x')),
        Body::AuthAck,
        update,
    ] {
        assert_eq!(
            edited(&body, |frame| frame.push(0)),
            Err(DecodeError::Length)
        );
        assert!(edited(&body, |frame| frame.truncate(frame.len() - 1)).is_err());
        assert!(edited(&body, |_| ()).is_ok());
    }
    let frame = encode(&header(), &Body::AuthAck).to_vec();
    let mut wrong = frame.clone();
    wrong[7] += 1;
    assert_eq!(decode(&wrong.into()), Err(DecodeError::Length));
}

#[test]
fn forged_lengths_and_counts_are_caught() {
    let publish = Body::Publish {
        channel: "chan".into(),
        message: "payload".into(),
    };
    // 2^32 - 1 and 12 add up to 11 in 32 bits, which is the length of what follows.
    let forged = edited(&publish, |frame| {
        frame[2256..2264].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 12]);
    });
    assert_eq!(forged, Err(DecodeError::Length));
    let ping = Body::Ping(Heartbeat::default());
    assert_eq!(
        edited(&ping, |frame| frame[14..16].fill(0xff)),
        Err(DecodeError::Length)
    );
    assert_eq!(
        edited(&ping, |frame| frame[2215] = 1),
        Err(DecodeError::Field("extension count"))
    );
    let with_extension = |length: u32, data: usize| {
        edited(&ping, move |frame| {
            frame[2215] = 1;
            frame[2253] = 4;
            frame.extend_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(&[0xff, 0xff, 0, 0]);
            frame.resize(frame.len() + data, 0);
        })
    };
    assert!(with_extension(16, 8).is_ok());
    for (length, data) in [
        (0, 8),
        (7, 8),
        (12, 4),
        (u32::MAX, 8),
        (24, 8),
        (65536 + 16, 8),
    ] {
        assert!(with_extension(length, data).is_err(), "{length}");
    }
}

#[test]
fn malformed_texts_drop_the_message() {
    let ping = Body::Ping(Heartbeat {
        gossip: vec![gossip(b'b')],
        extensions: vec![],
    });
    for (at, field) in [
        (40, "sender id"),
        (2128, "primary id"),
        (2168, "address"),
        (2256, "gossip node id"),
    ] {
        assert_eq!(
            edited(&ping, |frame| frame[at] = b'\n'),
            Err(DecodeError::Field(field))
        );
    }
    assert_eq!(
        edited(&ping, |frame| frame[9] = 2),
        Err(DecodeError::Version(2))
    );
    assert_eq!(
        edited(&ping, |frame| frame[0] = b'X'),
        Err(DecodeError::NotAMessage)
    );
    assert_eq!(
        decode(&Bytes::from_static(b"RCmb")),
        Err(DecodeError::NotAMessage)
    );
}

#[test]
fn an_unknown_kind_is_kept_at_any_length() {
    let (_, body) = edited(&Body::AuthAck, |frame| {
        frame[13] = 77;
        frame.extend_from_slice(&[1; 100]);
    })
    .unwrap();
    assert_eq!(body, Body::Unknown(77));
}

fn any_id() -> impl Strategy<Value = NodeId> {
    prop::collection::vec(prop::sample::select(b"abcdef0123456789z".to_vec()), 40)
        .prop_map(|bytes| NodeId::parse(&bytes).unwrap())
}

fn any_ip() -> impl Strategy<Value = IpText> {
    "[0-9a-f.:]{0,45}".prop_map(|text| IpText::parse(text.as_bytes()).unwrap())
}

fn any_slots() -> impl Strategy<Value = SlotSet> {
    prop::collection::vec(0u16..16384, 0..40).prop_map(|slots| slots.into_iter().collect())
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from)
}

prop_compose! {
    fn any_gossip()(id in any_id(), ip in any_ip(), times in any::<(u32, u32)>(), ports in any::<(u16, u16, u16)>(), flags in any::<u16>())
        -> GossipEntry {
        GossipEntry {
            id, ip, ping_sent_s: times.0, pong_received_s: times.1,
            port: ports.0, cport: ports.1, pport: ports.2, flags: NodeFlags::from_bits(flags),
        }
    }
}

fn any_extension() -> impl Strategy<Value = Extension> {
    prop_oneof![
        "[a-z0-9.-]{0,255}"
            .prop_map(|name| Extension::HostName(HostName::parse(name.as_bytes()).unwrap())),
        "[a-z0-9_#]{0,255}"
            .prop_map(|name| Extension::HumanName(HumanName::parse(name.as_bytes()).unwrap())),
        (any_id(), any::<u64>()).prop_map(|(id, ttl_s)| Extension::ForgottenNode { id, ttl_s }),
        any_id().prop_map(Extension::ShardId),
        (4u16.., 0usize..9).prop_map(|(kind, words)| Extension::Unknown {
            kind,
            data: vec![0xa5; words * 8].into()
        }),
    ]
}

fn any_heartbeat() -> impl Strategy<Value = Heartbeat> {
    (
        prop::collection::vec(any_gossip(), 0..6),
        prop::collection::vec(any_extension(), 0..4),
    )
        .prop_map(|(gossip, extensions)| Heartbeat { gossip, extensions })
}

fn any_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        any_heartbeat().prop_map(Body::Ping),
        any_heartbeat().prop_map(Body::Pong),
        any_heartbeat().prop_map(Body::Meet),
        any_id().prop_map(Body::Fail),
        (any_bytes(), any_bytes())
            .prop_map(|(channel, message)| Body::Publish { channel, message }),
        (any_bytes(), any_bytes())
            .prop_map(|(channel, message)| Body::PublishShard { channel, message }),
        Just(Body::AuthRequest),
        Just(Body::AuthAck),
        (any::<u64>(), any_id(), any_slots()).prop_map(|(config_epoch, owner, slots)| {
            Body::Update(SlotClaim {
                config_epoch,
                owner,
                slots,
            })
        }),
        Just(Body::ManualFailoverStart),
        (any::<[u8; 8]>(), any::<u8>(), any_bytes()).prop_map(|(module, kind, payload)| {
            Body::Module {
                module,
                kind,
                payload,
            }
        }),
        (11u16..).prop_map(Body::Unknown),
    ]
}

prop_compose! {
    fn any_header()(
        sender in any_id(), primary in prop::option::of(any_id()), ip in any_ip(), slots in any_slots(),
        ports in any::<(u16, u16, u16)>(), epochs in any::<(u64, u64, u64)>(), flags in any::<u16>(), ok in any::<bool>(),
    ) -> Header {
        Header {
            sender, ip, primary, slots, port: ports.0, pport: ports.1, cport: ports.2,
            current_epoch: epochs.0, config_epoch: epochs.1, offset: epochs.2,
            flags: NodeFlags::from_bits(flags), cluster_ok: ok, message_flags: MessageFlags::EXT_DATA,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(header in any_header(), body in any_body()) {
        let frame = encode(&header, &body);
        let (read_header, read_body) = decode(&frame).unwrap();
        prop_assert_eq!(&encode(&read_header, &read_body), &frame);
        prop_assert_eq!(read_header, header);
        prop_assert_eq!(read_body, body);
    }

    #[test]
    fn damaged_frames_never_panic(
        header in any_header(), body in any_body(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frame = encode(&header, &body).to_vec();
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        let _ = decode(&frame.clone().into());
        frame.truncate(cut.index(frame.len()));
        let _ = decode(&frame.into());
    }

    #[test]
    fn every_kind_survives_arbitrary_data_behind_a_good_header(
        kind in 0u16..12, counts in any::<(u8, u8)>(), data in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let _ = edited(&Body::AuthAck, |frame| {
            frame[12..14].copy_from_slice(&kind.to_be_bytes());
            frame[15] = counts.0 % 4;
            frame[2215] = counts.1 % 4;
            frame[2253] = 4;
            frame.extend_from_slice(&data);
        });
    }
}
