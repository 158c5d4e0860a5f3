//! Intset: the packed form of sets of integers. Read only.
//!
//! ```text
//! u32 width of a member in bytes (2, 4, 8) . u32 members . members, ascending      little endian
//! ```

use super::DecodeError;
use super::cursor::Cursor;

/// The members of a blob, ascending and without repetition; the whole blob is checked.
pub fn members(blob: &[u8]) -> Result<Vec<i64>, DecodeError> {
    let mut cursor = Cursor::new(blob);
    let width = u32::from_le_bytes(cursor.array()?);
    let count = u32::from_le_bytes(cursor.array()?);
    if !matches!(width, 2 | 4 | 8) {
        return Err(DecodeError::Corrupt("intset of an unknown width"));
    }
    if u64::from(width) * u64::from(count) != cursor.remaining() as u64 {
        return Err(DecodeError::Corrupt("intset of another size than it says"));
    }
    let members = (0..count)
        .map(|_| {
            Ok(match width {
                2 => i16::from_le_bytes(cursor.array()?).into(),
                4 => i32::from_le_bytes(cursor.array()?).into(),
                _ => i64::from_le_bytes(cursor.array()?),
            })
        })
        .collect::<Result<Vec<i64>, DecodeError>>()?;
    if !members.is_sorted_by(|a, b| a < b) {
        return Err(DecodeError::Corrupt("intset out of order"));
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blob(width: u32, count: u32, body: &[u8]) -> Vec<u8> {
        [&width.to_le_bytes()[..], &count.to_le_bytes(), body].concat()
    }

    #[test]
    fn three_widths_are_read() {
        assert_eq!(members(&blob(2, 2, &[0xff, 0xff, 5, 0])).unwrap(), [-1, 5]);
        assert_eq!(
            members(&blob(4, 1, &[0, 0, 0, 0x80])).unwrap(),
            [i64::from(i32::MIN)]
        );
        assert_eq!(
            members(&blob(8, 1, &i64::MIN.to_le_bytes())).unwrap(),
            [i64::MIN]
        );
        assert_eq!(members(&blob(2, 0, &[])).unwrap(), []);
    }

    #[test]
    fn lies_are_refused() {
        assert!(members(&blob(3, 1, &[0, 0, 0])).is_err());
        assert!(members(&blob(2, 2, &[0, 0])).is_err());
        assert!(members(&blob(2, 1, &[0, 0, 0])).is_err());
        assert!(members(&blob(8, u32::MAX, &[])).is_err());
        assert!(members(&blob(2, 2, &[5, 0, 5, 0])).is_err(), "repeated");
        assert!(members(&blob(2, 2, &[6, 0, 5, 0])).is_err(), "descending");
        assert!(members(&[2, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn any_set_survives(set in proptest::collection::btree_set(any::<i64>(), 0..50)) {
            let body: Vec<u8> = set.iter().flat_map(|member| member.to_le_bytes()).collect();
            let read = members(&blob(8, set.len() as u32, &body)).unwrap();
            prop_assert_eq!(read, set.into_iter().collect::<Vec<_>>());
        }
    }
}
