//! Error replies that say to try elsewhere, or later.

/// What a reply asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirection {
    /// The slot belongs to that node. An empty host means the host of the node that answered.
    Moved {
        /// Address or host name.
        host: String,
        /// Client port.
        port: u16,
    },
    /// This once, that node, after ASKING.
    Ask {
        /// Address or host name.
        host: String,
        /// Client port.
        port: u16,
    },
    /// The same node, a little later.
    TryAgain,
}

impl Redirection {
    /// The redirection that `reply` is; `None` for a reply that is the client's. An address nobody
    /// can connect to (`?`) is the client's as well.
    pub fn parse(reply: &[u8]) -> Option<Redirection> {
        let line = reply.strip_prefix(b"-")?.strip_suffix(b"\r\n")?;
        if line.starts_with(b"TRYAGAIN ") {
            return Some(Redirection::TryAgain);
        }
        let is_ask = line.starts_with(b"ASK ");
        if !is_ask && !line.starts_with(b"MOVED ") {
            return None;
        }
        let mut words = std::str::from_utf8(line).ok()?.split(' ').skip(2);
        let (host, port) = words.next()?.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        if host == "?" {
            return None;
        }
        let host = host.to_owned();
        Some(if is_ask {
            Redirection::Ask { host, port }
        } else {
            Redirection::Moved { host, port }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_are_told_from_replies() {
        let host = |host: &str| host.to_owned();
        let moved = |text, port| {
            Some(Redirection::Moved {
                host: host(text),
                port,
            })
        };
        let parse = Redirection::parse;
        assert_eq!(
            parse(b"-MOVED 1 10.0.0.1:7000\r\n"),
            moved("10.0.0.1", 7000)
        );
        assert_eq!(parse(b"-MOVED 1 ::1:7000\r\n"), moved("::1", 7000));
        assert_eq!(parse(b"-MOVED 1 :7000\r\n"), moved("", 7000));
        assert_eq!(
            parse(b"-ASK 16383 node-1:1\r\n"),
            Some(Redirection::Ask {
                host: host("node-1"),
                port: 1
            })
        );
        assert_eq!(
            parse(b"-TRYAGAIN Multiple keys request\r\n"),
            Some(Redirection::TryAgain)
        );
        for reply in [
            &b"-MOVED 1 ?:7000\r\n"[..],
            b"-MOVED 1 host\r\n",
            b"-MOVED 1 host:0\r\n",
            b"-MOVED 1 host:70000\r\n",
            b"-MOVED\r\n",
            b"-ERR no\r\n",
            b"+MOVED 1 host:1\r\n",
            b"$3\r\nASK\r\n",
            b"",
        ] {
            assert_eq!(parse(reply), None, "{}", reply.escape_ascii());
        }
    }
}
