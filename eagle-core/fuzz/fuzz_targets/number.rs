//! Numbers of both widths: never a panic, both take the same texts but for their range, and what is
//! printed is read.
#![no_main]

use eagle_core::text::double::{DoubleText, parse_f64, parse_range_end};
use eagle_core::text::integer::{parse_i64, parse_u64, parse_u64_lenient};
use eagle_core::text::long_double::LongDouble;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&[u8], &[u8])| {
    let (text, other) = texts;
    if let Some(value) = parse_f64(text) {
        assert_eq!(parse_f64(DoubleText::new(value).as_bytes()), Some(value));
        assert_eq!(parse_range_end(text), Some(value));
        assert!(text.len() >= 5 * 1024 || LongDouble::parse(text).is_some());
    }
    if let (Some(a), Some(b)) = (LongDouble::parse(text), LongDouble::parse(other)) {
        assert_eq!(a + b, b + a);
        if (a + b).is_finite() {
            assert!(LongDouble::parse(&(a + b).print()).is_some());
        }
    }
    if let Some(value) = parse_i64(text) {
        assert_eq!(LongDouble::from(value).print(), text);
        assert_eq!(parse_u64(text), u64::try_from(value).ok());
        assert_eq!(parse_u64_lenient(text), parse_u64(text));
    }
});
