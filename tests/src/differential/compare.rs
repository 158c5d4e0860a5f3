//! When two replies count as the same.

use crate::Reply;

/// How far two replies to one command may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Not at all.
    Exact,
    /// In the order of elements.
    Unordered,
    /// In the order of pairs, which are written flat or as arrays of two.
    Pairs,
    /// Integers by this much, wherever they stand.
    Time(u64),
    /// In content: kind and length must agree, errors exactly. For what is random or names the server.
    Shape,
    /// In everything but errors. For what depends on each server's own past.
    Refusal,
}

/// Whether the replies of two servers to one command are the same.
pub fn same(compare: Compare, ours: &Reply, theirs: &Reply) -> bool {
    if ours == theirs {
        return true;
    }
    match (compare, ours, theirs) {
        (Compare::Time(tolerance), Reply::Int(a), Reply::Int(b)) => {
            // Negative numbers have meanings of their own.
            *a >= 0 && *b >= 0 && a.abs_diff(*b) <= tolerance
        }
        (Compare::Time(_), Reply::Array(a), Reply::Array(b)) => {
            let mut both = a.iter().zip(b);
            a.len() == b.len() && both.all(|(a, b)| same(compare, a, b))
        }
        (Compare::Time(_), Reply::Map(a), Reply::Map(b)) => {
            let mut both = a.iter().zip(b);
            a.len() == b.len() && both.all(|(a, b)| a.0 == b.0 && same(compare, &a.1, &b.1))
        }
        (Compare::Unordered, ..) => sorted(ours, 1) == sorted(theirs, 1),
        (Compare::Pairs, ..) => sorted(ours, 2) == sorted(theirs, 2),
        (Compare::Refusal, ..) => ours.error().is_none() && theirs.error().is_none(),
        (Compare::Shape, ..) => shape(ours) == shape(theirs),
        _ => false,
    }
}

/// The reply with its elements in order, `unit` of them kept together; also one level down, where
/// the SCAN family keeps its elements.
fn sorted(reply: &Reply, unit: usize) -> Reply {
    let sort = |items: &[Reply]| {
        let mut units: Vec<Vec<Reply>> = items
            .chunks(unit)
            .map(|chunk| chunk.iter().map(|item| sorted(item, unit)).collect())
            .collect();
        units.sort();
        units.concat()
    };
    match reply {
        // A cursor and its elements.
        Reply::Array(items) if matches!(items[..], [Reply::Bulk(_), Reply::Array(_)]) => {
            Reply::Array(vec![items[0].clone(), sorted(&items[1], unit)])
        }
        // Pairs that are arrays of their own.
        Reply::Array(items) if items.iter().all(|item| matches!(item, Reply::Array(_))) => {
            let mut items: Vec<Reply> = items.iter().map(|item| sorted(item, unit)).collect();
            items.sort();
            Reply::Array(items)
        }
        Reply::Array(items) => Reply::Array(sort(items)),
        Reply::Set(items) => Reply::Set(sort(items)),
        Reply::Map(pairs) => {
            let mut pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| (key.clone(), sorted(value, unit)))
                .collect();
            pairs.sort();
            Reply::Map(pairs)
        }
        other => other.clone(),
    }
}

/// Kind and length all the way down; strings and numbers lose their value, errors keep it.
fn shape(reply: &Reply) -> String {
    match reply {
        Reply::Simple(_) => "status".into(),
        Reply::Error(text) => format!("error {}", String::from_utf8_lossy(text)),
        Reply::Int(_) => "int".into(),
        Reply::Bulk(_) => "bulk".into(),
        Reply::Verbatim(_) => "verbatim".into(),
        Reply::Double(_) => "double".into(),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            let items: Vec<String> = items.iter().map(shape).collect();
            format!("[{}]", items.join(" "))
        }
        Reply::Map(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(key, value)| format!("{key:?}={}", shape(value)))
                .collect();
            format!("{{{}}}", pairs.join(" "))
        }
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulks(words: &[&str]) -> Reply {
        Reply::Array(
            words
                .iter()
                .map(|word| Reply::Bulk(word.as_bytes().to_vec()))
                .collect(),
        )
    }

    #[test]
    fn each_way_allows_only_its_own_difference() {
        let (a, b) = (bulks(&["1", "2", "3", "4"]), bulks(&["3", "4", "1", "2"]));
        assert!(!same(Compare::Exact, &a, &b));
        assert!(same(Compare::Unordered, &a, &b) && same(Compare::Pairs, &a, &b));
        let crossed = bulks(&["1", "4", "3", "2"]);
        assert!(!same(Compare::Pairs, &a, &crossed));
        let scan = |items: &Reply| Reply::Array(vec![Reply::Bulk(b"0".to_vec()), items.clone()]);
        assert!(same(Compare::Pairs, &scan(&a), &scan(&b)));
        assert!(!same(Compare::Pairs, &scan(&a), &scan(&crossed)));
        let nested =
            |pairs: [[&str; 2]; 2]| Reply::Array(pairs.iter().map(|pair| bulks(pair)).collect());
        let (c, d) = (
            nested([["1", "2"], ["3", "4"]]),
            nested([["3", "4"], ["1", "2"]]),
        );
        assert!(same(Compare::Pairs, &c, &d));
        let crossed = nested([["1", "4"], ["3", "2"]]);
        assert!(!same(Compare::Pairs, &c, &crossed));
        assert!(same(Compare::Time(5), &Reply::Int(100), &Reply::Int(104)));
        assert!(!same(Compare::Time(5), &Reply::Int(-1), &Reply::Int(-2)));
        let timed = |at| Reply::Array(vec![Reply::Bulk(b"a".to_vec()), Reply::Int(at)]);
        assert!(same(Compare::Time(5), &timed(100), &timed(104)));
        assert!(!same(Compare::Time(5), &timed(100), &timed(106)));
        assert!(same(Compare::Shape, &bulks(&["x"]), &bulks(&["y"])));
        assert!(!same(Compare::Shape, &bulks(&["x"]), &bulks(&["x", "y"])));
        assert!(!same(
            Compare::Shape,
            &Reply::Error(b"ERR a".to_vec()),
            &Reply::Error(b"ERR b".to_vec())
        ));
    }
}
