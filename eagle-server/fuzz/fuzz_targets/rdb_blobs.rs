//! The packed blobs and LZF without the envelope around them, so that the fuzzer reaches them directly.
#![no_main]

use eagle_server::persist::rdb::element::Element;
use eagle_server::persist::rdb::{intset, listpack, lzf, ziplist, zipmap};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (plain_len, blob) = input;
    if let Ok(plain) = lzf::decompress(blob, plain_len.into()) {
        assert_eq!(plain.len(), usize::from(plain_len));
    }
    let mut packed = Vec::new();
    lzf::compress(&mut packed, blob, usize::MAX).expect("fuzz inputs are short");
    assert_eq!(
        lzf::decompress(&packed, blob.len() as u64).as_deref(),
        Ok(blob)
    );

    if let Ok(elements) = listpack::elements(blob)
        && let Ok(elements) = elements.collect::<Result<Vec<Element<'_>>, _>>()
    {
        let mut writer = listpack::Writer::default();
        elements
            .iter()
            .for_each(|element| writer.push(&element.text()));
        let again = writer.finish();
        let texts = listpack::elements(&again)
            .expect("own header")
            .map(|element| element.expect("own entry").text());
        assert!(texts.eq(elements.iter().map(|element| element.text())));
    }
    if let Ok(elements) = ziplist::elements(blob) {
        assert!(elements.count() <= blob.len());
    }
    if let Ok(pairs) = zipmap::pairs(blob) {
        assert!(pairs.count() <= blob.len());
    }
    if let Ok(members) = intset::members(blob) {
        assert!(members.is_sorted());
    }
});
