//! A crash at every persistence point of changes of parts of strings.

use super::super::Ttl;
use super::crash::crash;
use super::model::Op;
use super::strings::Part;

fn patch(at: u16, len: usize) -> Op {
    let bytes = (0..len).map(|n| n as u8 | 1).collect();
    Op::Part {
        db: 0,
        key: 1,
        part: Part::Write(at, bytes),
    }
}

fn append(len: usize) -> Op {
    Op::Part {
        db: 0,
        key: 1,
        part: Part::Append(vec![b'a'; len]),
    }
}

/// Chunks have 64 bytes here, and strings of 96 are large.
#[test]
fn parts_of_strings() {
    let short = Op::Set {
        db: 0,
        key: 1,
        value: vec![b'v'; 50],
        ttl: Ttl::Clear,
    };
    let long = Op::Set {
        db: 0,
        key: 1,
        value: vec![b'v'; 300],
        ttl: Ttl::At(5000),
    };
    let mut images = 0;
    // Out of nothing, out of a blob; a word, bytes of two words, of two chunks, more than half of one, a far position.
    let patches = [
        patch(8, 1),
        patch(13, 10),
        patch(60, 10),
        patch(5, 50),
        patch(30, 200),
        patch(900, 3),
    ];
    images += crash(&[], &[patch(900, 3)]);
    images += crash(&[short], &[patch(60, 40)]);
    images += crash(std::slice::from_ref(&long), &[patch(13, 10)]);
    let large = [long, patch(0, 1)];
    for op in &patches {
        images += crash(&large, std::slice::from_ref(op));
    }
    // Into spare bytes, into a new chunk, into a new directory.
    for len in [1, 19, 84, 900] {
        images += crash(&large, &[append(len)]);
    }
    images += crash(&[&large[..], &[append(3)]].concat(), &[append(7)]);
    images += crash(&large, &[patch(350, 0)]);
    // Several in one transaction, some on bytes that one before has put to use.
    images += crash(&large, &[append(5), append(9), patch(302, 6), append(100)]);
    images += crash(
        &large,
        &[patch(10, 2), patch(12, 40), patch(700, 1), patch(500, 9)],
    );
    let invert = Op::Part {
        db: 0,
        key: 1,
        part: Part::Invert,
    };
    for op in [
        invert,
        Op::SetInt {
            db: 0,
            key: 1,
            value: 7,
        },
        Op::Remove { db: 0, key: 1 },
        Op::Copy {
            from: (0, 1),
            to: (0, 2),
        },
        Op::Rename {
            from: (0, 1),
            to: (1, 2),
        },
    ] {
        images += crash(&[&large[..], &[patch(900, 1)]].concat(), &[op]);
    }
    assert!(images > 600, "{images}");
}
