//! A look at the requests that wait in a buffer, before they are parsed.

/// Words of a request up to which it is looked through.
const WORDS_MAX: usize = 64;

/// Visits the key of each of the next requests in `input`, at most `requests_max` of them: the word at the place that
/// `key_at` says for the first word, the command's name. Returns how many requests were seen to their end.
///
/// A hint for prefetching: it ends at the first request that is not whole, not an array, long, or not well-formed,
/// and the parser has the last word on all of them.
pub fn lookahead<'a>(
    input: &'a [u8],
    requests_max: usize,
    key_at: impl Fn(&[u8]) -> usize,
    visit: &mut impl FnMut(&'a [u8]),
) -> usize {
    let mut rest = input;
    for seen in 0..requests_max {
        let Some((words, mut next)) = header(rest, b'*').filter(|(words, _)| *words <= WORDS_MAX)
        else {
            return seen;
        };
        let mut at = 0;
        for i in 0..words {
            let Some((bytes, body)) = header(next, b'$') else {
                return seen;
            };
            // The body and the line break behind it.
            let Some(after) = bytes.checked_add(2).and_then(|end| body.get(end..)) else {
                return seen;
            };
            if i == 0 {
                at = key_at(&body[..bytes]);
            } else if i == at {
                visit(&body[..bytes]);
            }
            next = after;
        }
        rest = next;
    }
    requests_max
}

/// Reads `<mark><number>\r\n`; the number, and what follows it.
#[inline]
fn header(input: &[u8], mark: u8) -> Option<(usize, &[u8])> {
    let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
    match input {
        // Nearly all.
        [first, a, b'\r', _, rest @ ..] if *first == mark && digit(*a) < 10 => {
            Some((digit(*a), rest))
        }
        [first, a, b, b'\r', _, rest @ ..]
            if *first == mark && digit(*a) < 10 && digit(*b) < 10 =>
        {
            Some((10 * digit(*a) + digit(*b), rest))
        }
        [first, ..] if *first == mark => long_header(input),
        _ => None,
    }
}

fn long_header(input: &[u8]) -> Option<(usize, &[u8])> {
    /// Digits of a header: enough for the longest bulk.
    const DIGITS_MAX: usize = 10;
    let mut number = 0;
    for (i, byte) in input.iter().enumerate().skip(1).take(DIGITS_MAX) {
        match byte {
            b'0'..=b'9' => number = 10 * number + usize::from(byte - b'0'),
            b'\r' => return Some((number, input.get(i + 2..)?)),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(input: &[u8]) -> (usize, Vec<&[u8]>) {
        let mut keys = Vec::new();
        let key_at = |name: &[u8]| if name == b"EVAL" { 3 } else { 1 };
        let seen = lookahead(input, 3, key_at, &mut |key| keys.push(key));
        (seen, keys)
    }

    #[test]
    fn the_keys_are_seen() {
        let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$2\r\nbb\r\n$0\r\n\r\n";
        assert_eq!(keys(input), (3, vec![&b"a"[..], b"bb"]));
        assert_eq!(lookahead(input, 1, |_| 1, &mut |_| {}), 1);
        let scripts = b"*4\r\n$4\r\nEVAL\r\n$1\r\ns\r\n$1\r\n1\r\n$1\r\nk\r\n*3\r\n$4\r\nEVAL\r\n$1\r\ns\r\n$1\r\n0\r\n";
        assert_eq!(keys(scripts), (2, vec![&b"k"[..]]));
    }

    #[test]
    fn what_is_not_whole_or_odd_ends_it() {
        let whole = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
        for cut in 0..whole.len() {
            assert_eq!(keys(&whole[..cut]).0, 0, "{cut}");
        }
        for odd in [
            &b"GET a\r\n"[..],
            b"*-1\r\n",
            b"*99\r\n$1\r\na\r\n",
            b"*2\r\n$3\r\nGET\r\n$99999999999\r\na\r\n",
            b"*2\r\n$3\r\nGET\r\n+a\r\n",
        ] {
            assert_eq!(keys(odd), (0, vec![]), "{odd:?}");
        }
    }
}
