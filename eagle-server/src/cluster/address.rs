//! Texts that name a host on the bus and in `nodes.conf`.
//!
//! They come from other nodes and are written into a line of `nodes.conf` whose fields are separated by spaces,
//! commas and `@`; a text with such a character could forge a line. So a text is checked once, where it enters,
//! and cannot exist otherwise.

use std::fmt;

/// An IP address (or whatever `cluster-announce-ip` says) as text of at most 45 bytes; empty means unknown.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpText {
    bytes: [u8; IpText::FIELD_BYTES],
    len: u8,
}

impl IpText {
    /// Size of the field in a message: the text and at least one NUL.
    pub const FIELD_BYTES: usize = 46;
    /// The unknown address.
    pub const EMPTY: Self = Self {
        bytes: [0; Self::FIELD_BYTES],
        len: 0,
    };

    /// Takes a text; `None` if it is too long or holds a character that no address has.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".:%-_".contains(byte);
        if text.len() >= Self::FIELD_BYTES || !text.iter().all(allowed) {
            return None;
        }
        let mut bytes = [0; Self::FIELD_BYTES];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self {
            bytes,
            len: text.len() as u8,
        })
    }

    /// Reads a NUL-padded field; what follows the first NUL does not count.
    pub fn from_field(field: &[u8; Self::FIELD_BYTES]) -> Option<Self> {
        Self::parse(&field[..field.iter().position(|&byte| byte == 0)?])
    }

    /// The NUL-padded field.
    pub fn field(&self) -> &[u8; Self::FIELD_BYTES] {
        &self.bytes
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)])
            .expect("an address consists of ASCII characters")
    }

    /// Whether the address is unknown.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl From<std::net::IpAddr> for IpText {
    fn from(ip: std::net::IpAddr) -> Self {
        // A mapped address is what an IPv6 socket says of an IPv4 peer; peers know each other by the plain form.
        let text = ip.to_canonical().to_string();
        Self::parse(text.as_bytes())
            .expect("an IP address is at most 45 characters of hex digits, dots and colons")
    }
}

impl fmt::Display for IpText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for IpText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// Longest host name or human name of a node in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// A DNS name as `cluster-announce-hostname` allows it; empty means none.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HostName(Box<str>);

impl HostName {
    /// Takes a name of letters, digits, dots and hyphens.
    pub fn parse(text: &[u8]) -> Option<Self> {
        checked(text, |byte| {
            byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'
        })
        .map(Self)
    }

    /// The name; empty if there is none.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name for people (`cluster-announce-human-nodename` of later servers); empty means none.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HumanName(Box<str>);

impl HumanName {
    /// Takes a name of visible ASCII characters without quotes, commas and equal signs.
    pub fn parse(text: &[u8]) -> Option<Self> {
        checked(text, |byte| {
            byte.is_ascii_graphic() && !b"\"',=".contains(&byte)
        })
        .map(Self)
    }

    /// The name; empty if there is none.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn checked(text: &[u8], allowed: impl Fn(u8) -> bool) -> Option<Box<str>> {
    if text.len() > NAME_BYTES_MAX || !text.iter().all(|&byte| allowed(byte)) {
        return None;
    }
    Some(std::str::from_utf8(text).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_forge_a_line_of_nodes_conf() {
        for hostile in ["a b", "a,b", "a@1", "a\nb", "a\0b", "ä"] {
            assert!(IpText::parse(hostile.as_bytes()).is_none(), "{hostile:?}");
            assert!(HostName::parse(hostile.as_bytes()).is_none(), "{hostile:?}");
        }
        for hostile in ["a b", "a,b", "a=b", "a\nb", "\u{7f}"] {
            assert!(
                HumanName::parse(hostile.as_bytes()).is_none(),
                "{hostile:?}"
            );
        }
    }

    #[test]
    fn the_ip_field_is_nul_padded_and_bounded() {
        assert_eq!(IpText::from_field(&[0; 46]), Some(IpText::EMPTY));
        assert_eq!(IpText::from_field(&[b'1'; 46]), None, "no room for the NUL");
        let mut field = [b'1'; 46];
        field[45] = 0;
        assert_eq!(IpText::from_field(&field).unwrap().as_str().len(), 45);
        field[1] = 0;
        let stale = IpText::from_field(&field).unwrap();
        assert_eq!(
            (stale.as_str(), stale.field()[2]),
            ("1", 0),
            "bytes after the NUL do not travel on"
        );
        let mapped: std::net::IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(IpText::from(mapped).as_str(), "10.0.0.1");
    }
}
