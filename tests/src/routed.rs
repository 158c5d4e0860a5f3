//! A cluster client of the simplest kind: it remembers where a slot was last found and follows
//! `MOVED` and `ASK`. It exists beside the real clients because tests need to see every reply.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use crate::{Client, Reply};

/// How long one command may be refused with `TRYAGAIN`, `CLUSTERDOWN` or a lost connection.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of the whole cluster.
#[derive(Debug)]
pub struct RoutedClient {
    seed: u16,
    slots: HashMap<u16, u16>,
    nodes: HashMap<u16, Client>,
    /// `MOVED` and `ASK` replies followed so far.
    pub redirects: u64,
}

impl RoutedClient {
    /// A client that knows one node of a cluster on this machine.
    pub fn new(seed: u16) -> RoutedClient {
        RoutedClient {
            seed,
            slots: HashMap::new(),
            nodes: HashMap::new(),
            redirects: 0,
        }
    }

    /// Runs one command whose first key is `args[1]`, retrying what a cluster in motion may refuse.
    ///
    /// Retrying repeats only commands that were certainly not executed: a connection lost after
    /// sending is an error, because nobody knows whether the command ran.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        let deadline = Instant::now() + RETRY_TIMEOUT;
        let slot = key_slot(args[1].as_ref());
        let mut port = self.slots.get(&slot).copied().unwrap_or(self.seed);
        let mut asking = false;
        loop {
            let reply = self.call_at(port, asking, args)?;
            let error = reply.error().unwrap_or_default();
            asking = false;
            match error.split(' ').collect::<Vec<_>>()[..] {
                ["MOVED", _, address] => {
                    self.redirects += 1;
                    port = port_of(address)?;
                    self.slots.insert(slot, port);
                }
                ["ASK", _, address] => {
                    self.redirects += 1;
                    port = port_of(address)?;
                    asking = true;
                }
                ["TRYAGAIN" | "CLUSTERDOWN" | "LOADING", ..] => {
                    port = self.slots.get(&slot).copied().unwrap_or(self.seed);
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => return Ok(reply),
            }
            if Instant::now() > deadline {
                return Ok(reply);
            }
        }
    }

    fn call_at<A: AsRef<[u8]>>(
        &mut self,
        port: u16,
        asking: bool,
        args: &[A],
    ) -> io::Result<Reply> {
        if let std::collections::hash_map::Entry::Vacant(entry) = self.nodes.entry(port) {
            entry.insert(Client::connect(port)?);
        }
        let client = self.nodes.get_mut(&port).expect("connected above");
        let result = (|| {
            if asking {
                client.send(&["ASKING"])?;
            }
            client.send(args)?;
            if asking {
                client.receive()?;
            }
            client.receive()
        })();
        if result.is_err() {
            self.nodes.remove(&port);
            self.slots.retain(|_, owner| *owner != port);
        }
        result
    }
}

/// The port of a `host:port` in a redirection; every node of a test runs on this machine.
fn port_of(address: &str) -> io::Result<u16> {
    let port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    port.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("redirected to {address:?}"),
        )
    })
}

/// The hash slot of a key: CRC16-XMODEM of the key, or of its hash tag, modulo 16384.
pub fn key_slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let len = key[open + 1..].iter().position(|&byte| byte == b'}')?;
        (len > 0).then(|| &key[open + 1..open + 1 + len])
    });
    let crc = tag.unwrap_or(key).iter().fold(0u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    });
    crc % 16384
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_slots_are_those_of_redis() {
        assert_eq!(key_slot(b"123456789"), 0x31C3);
        assert_eq!(key_slot(b"foo"), 12182);
        assert_eq!(key_slot(b"{user1000}.following"), key_slot(b"user1000"));
        assert_eq!(key_slot(b"foo{}{bar}"), 8363);
    }
}
