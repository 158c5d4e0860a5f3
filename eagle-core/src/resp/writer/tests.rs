use super::*;

fn written(protocol: Protocol, write: impl Fn(&mut Writer)) -> String {
    let mut writer = Writer::new(protocol);
    write(&mut writer);
    String::from_utf8(writer.as_bytes().to_vec()).unwrap()
}

#[test]
fn what_is_moved_is_all_there_wherever_it_lay() {
    for len in [3, CAPACITY_KEPT_BYTES_MAX] {
        for before in [&b""[..], b"before"] {
            let (mut writer, mut to) = (Writer::new(Protocol::Resp2), before.to_vec());
            // A header that was reserved leaves room before it.
            let header = writer.deferred();
            writer.bulk(vec![b'x'; len]);
            writer.finish_array(header, 1);
            let expected = [before, writer.as_bytes()].concat();
            writer.move_to(&mut to);
            assert!(to == expected && writer.is_empty());
            writer.integer(7);
            assert_eq!(writer.as_bytes(), b":7\r\n");
        }
    }
}

#[test]
fn a_long_string_is_taken_over_as_it_is_written_otherwise() {
    for len in [0, 1, CAPACITY_KEPT_BYTES_MAX, 3 * CAPACITY_KEPT_BYTES_MAX] {
        let bytes = vec![b'x'; len];
        for before in ["", "before"] {
            let (mut owned, mut copied) = (Writer::default(), Writer::default());
            for writer in [&mut owned, &mut copied] {
                writer.raw(before.as_bytes());
            }
            owned.bulk_owned(bytes.clone());
            copied.bulk(&bytes);
            assert_eq!(owned.as_bytes(), copied.as_bytes());
            owned.integer(1);
            copied.integer(1);
            assert_eq!(owned.take(), copied.take());
        }
    }
}

/// The forms DEBUG PROTOCOL of 7.0.15 shows, and others seen on the wire.
#[test]
fn both_versions() {
    type Case = (fn(&mut Writer), &'static str, &'static str);
    let cases: &[Case] = &[
        (|w| w.ok(), "+OK\r\n", "+OK\r\n"),
        (|w| w.simple("A\r\nB"), "+A  B\r\n", "+A  B\r\n"),
        (|w| w.error("ERR no\n"), "-ERR no \r\n", "-ERR no \r\n"),
        (|w| w.integer(12345), ":12345\r\n", ":12345\r\n"),
        (
            |w| w.integer(i64::MIN),
            ":-9223372036854775808\r\n",
            ":-9223372036854775808\r\n",
        ),
        (
            |w| w.bulk("Hello World"),
            "$11\r\nHello World\r\n",
            "$11\r\nHello World\r\n",
        ),
        (
            |w| w.bulk_parts(&[b"a", b"", b"bc"]),
            "$3\r\nabc\r\n",
            "$3\r\nabc\r\n",
        ),
        (|w| w.bulk_integer(-7), "$2\r\n-7\r\n", "$2\r\n-7\r\n"),
        (|w| w.bulk_display(1.5), "$3\r\n1.5\r\n", "$3\r\n1.5\r\n"),
        (|w| w.bulk_or_null(None::<&str>), "$-1\r\n", "_\r\n"),
        (|w| w.null(), "$-1\r\n", "_\r\n"),
        (|w| w.null_array(), "*-1\r\n", "_\r\n"),
        (|w| w.array(10), "*10\r\n", "*10\r\n"),
        (|w| w.map(3), "*6\r\n", "%3\r\n"),
        (|w| w.set(3), "*3\r\n", "~3\r\n"),
        (|w| w.push(2), "*2\r\n", ">2\r\n"),
        (
            |w| assert_eq!(w.attribute(1), w.protocol() == Protocol::Resp3),
            "",
            "|1\r\n",
        ),
        (
            |w| w.double(3.1),
            "$18\r\n3.1000000000000001\r\n",
            ",3.1000000000000001\r\n",
        ),
        (
            |w| w.double(f64::NEG_INFINITY),
            "$4\r\n-inf\r\n",
            ",-inf\r\n",
        ),
        (|w| w.bool(true), ":1\r\n", "#t\r\n"),
        (|w| w.bool(false), ":0\r\n", "#f\r\n"),
        (|w| w.big_number("123"), "$3\r\n123\r\n", "(123\r\n"),
        (
            |w| w.verbatim(b"txt", "a\nb"),
            "$3\r\na\nb\r\n",
            "=7\r\ntxt:a\nb\r\n",
        ),
    ];
    for (write, resp2, resp3) in cases {
        assert_eq!(written(Protocol::Resp2, write), *resp2);
        assert_eq!(written(Protocol::Resp3, write), *resp3);
    }
}

/// Writes `depth` nested aggregates of deferred and of known length, with `around` bytes before
/// and within each, so that now what precedes and now what follows is shorter.
fn nest(writer: &mut Writer, deferred: bool, around: &[usize]) {
    let [bytes, inner @ ..] = around else {
        return;
    };
    writer.bulk("x".repeat(*bytes));
    if deferred {
        let header = writer.deferred();
        nest(writer, deferred, inner);
        nest(writer, deferred, inner);
        writer.finish_map(header, bytes * 7);
    } else {
        writer.map(bytes * 7);
        nest(writer, deferred, inner);
        nest(writer, deferred, inner);
    }
    writer.integer(7);
}

#[test]
fn deferred_headers_read_as_if_known() {
    for around in [
        &[0, 0, 0, 0][..],
        &[300, 1, 40, 2],
        &[1, 50, 3, 200, 0],
        &[1000, 100, 10, 1],
    ] {
        let (mut deferred, mut known) = (Writer::default(), Writer::default());
        for writer in [&mut deferred, &mut known] {
            writer.ok();
        }
        let mark = deferred.mark();
        nest(&mut deferred, true, around);
        nest(&mut known, false, around);
        assert_eq!(deferred.as_bytes(), known.as_bytes());
        assert_eq!(deferred.since(mark), &known.as_bytes()[5..]);
        deferred.truncate(mark);
        assert_eq!(deferred.as_bytes(), b"+OK\r\n");
        assert_eq!(deferred.take(), &b"+OK\r\n"[..]);
        assert!(deferred.is_empty());
    }
}

#[test]
fn an_aggregate_at_the_beginning_is_not_moved() {
    let mut writer = Writer::default();
    let header = writer.deferred();
    writer.bulk("x".repeat(1000));
    let end = writer.out.len();
    writer.finish_array(header, 1);
    assert_eq!(writer.out.len(), end);
    assert!(writer.as_bytes().starts_with(b"*1\r\n$1000\r\nx"));
}

#[test]
fn sent_bytes_are_dropped() {
    let mut writer = Writer::default();
    writer.ok();
    writer.integer(1);
    writer.consume(5);
    assert_eq!(writer.as_bytes(), b":1\r\n");
    writer.null();
    writer.consume(9);
    assert!(writer.is_empty() && writer.start == 0);
}

/// Does one thing of many to a writer, `size` bytes of it; in aggregates things are done inside.
fn write_one(writer: &mut Writer, what: &[(u8, usize)]) {
    let [(kind, size), rest @ ..] = what else {
        return;
    };
    let (mark, text) = (writer.mark(), "x".repeat(*size));
    match kind {
        0 => writer.bulk(&text),
        1 => writer.bulk_owned(text.into_bytes()),
        2 => writer.bulk_pieces(2 * size, |writer| {
            writer.raw(text.as_bytes());
            writer.raw(text.as_bytes());
        }),
        3 => writer.bulk_display(size),
        4 => writer.simple(&text),
        5 => writer.bulk_parts(&[text.as_bytes(), b"more"]),
        6 => writer.verbatim(b"txt", &text),
        7 => writer.array(*size),
        8 => {
            let header = writer.deferred();
            write_one(writer, rest);
            write_one(writer, rest);
            writer.finish_set(header, *size);
        }
        9 => {
            write_one(writer, rest);
            let len = writer.len();
            assert!(writer.has_overflowed() || writer.since(mark).len() <= len);
            writer.truncate(mark);
            writer.double(0.5);
        }
        _ => {
            writer.integer(*size as i64);
            let here = writer.mark();
            writer.null();
            writer.insert(&[(mark, text.clone().into()), (here, text.into())]);
        }
    }
}

proptest::proptest! {
    #[test]
    fn a_bounded_writer_has_all_or_nothing(
        bytes_max in 0..200_000_usize,
        things in proptest::collection::vec(
            proptest::collection::vec((0..11_u8, 0..90_000_usize), 1..5), 1..12),
    ) {
        let (mut free, mut bound) = (Writer::default(), Writer::default());
        bound.set_bytes_max(bytes_max);
        for thing in &things {
            write_one(&mut free, thing);
            write_one(&mut bound, thing);
            if bound.has_overflowed() {
                proptest::prop_assert!(bound.is_empty() && bound.capacity_bytes() == 0);
            } else {
                proptest::prop_assert!(bound.as_bytes() == free.as_bytes());
                proptest::prop_assert!(bound.len() <= 2 * bytes_max + CAPACITY_KEPT_BYTES_MAX);
            }
        }
        proptest::prop_assert!(!bound.has_overflowed() || bound.overflow_bytes() > Some(bytes_max));
    }
}

#[test]
#[should_panic(expected = "truncated before its header")]
fn a_header_cut_off_cannot_be_finished() {
    let mut writer = Writer::default();
    let mark = writer.mark();
    let header = writer.deferred();
    writer.truncate(mark);
    writer.finish_array(header, 0);
}
