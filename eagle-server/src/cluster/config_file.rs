//! The text of `nodes.conf`, which but for the `vars` line is also the text of `CLUSTER NODES`.
//!
//! ```text
//! id ip:port@cport[,hostname] flags primary ping pong epoch link [slots ...]
//! vars currentEpoch 6 lastVoteEpoch 4 shardId <40 characters>
//! ```
//! What is written can be read by Redis 7.0: it skips the variable it does not know, whereas the `,shard-id=...` that
//! Redis 7.2 and Valkey add to the address would become part of the host name there. What those write is read.
//! Reading is strict: a line that makes no sense fails the whole file, for to run with half a configuration means to
//! claim slots that belong to others.

use super::address::{HostName, HumanName, IpText};
use super::{NodeFlags, NodeId, SLOT_COUNT, SlotSet};
use std::collections::BTreeSet;
use std::fmt::{self, Write};

/// Distance of the bus port from the client port where nothing else is said.
pub const BUS_PORT_OFFSET: u16 = 10_000;

/// A slot on its way between this node and another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenSlot {
    /// This node's slot goes to that node.
    MigratingTo(NodeId),
    /// That node's slot comes to this node.
    ImportingFrom(NodeId),
}

/// One node as a line tells of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeLine {
    /// The node's name.
    pub id: NodeId,
    /// Address; empty if unknown.
    pub ip: IpText,
    /// Client port.
    pub port: u16,
    /// Bus port.
    pub cport: u16,
    /// Announced host name.
    pub host_name: HostName,
    /// Name for people; read only.
    pub human_name: HumanName,
    /// The shard's name; read only (this node's own stands in the `vars` line).
    pub shard_id: Option<NodeId>,
    /// Flags that have a word.
    pub flags: NodeFlags,
    /// The primary of a replica.
    pub primary: Option<NodeId>,
    /// When the outstanding ping was sent, Unix milliseconds; 0 if none is.
    pub ping_sent_ms: u64,
    /// When the last pong came, Unix milliseconds.
    pub pong_received_ms: u64,
    /// Epoch of the node's slot claims.
    pub config_epoch: u64,
    /// Whether there is a link to the node.
    pub connected: bool,
    /// The node's slots.
    pub slots: SlotSet,
    /// Slots in motion, ascending; only in the line of the node itself.
    pub open_slots: Vec<(u16, OpenSlot)>,
}

impl fmt::Display for NodeLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}@{}", self.id, self.ip, self.port, self.cport)?;
        if !self.host_name.as_str().is_empty() {
            write!(f, ",{}", self.host_name.as_str())?;
        }
        write!(f, " {} ", self.flags)?;
        match self.primary {
            Some(primary) => write!(f, "{primary}")?,
            None => f.write_char('-')?,
        }
        let link = if self.connected {
            "connected"
        } else {
            "disconnected"
        };
        write!(
            f,
            " {} {} {} {link}",
            self.ping_sent_ms, self.pong_received_ms, self.config_epoch
        )?;
        for (first, last) in self.slots.ranges() {
            if first == last {
                write!(f, " {first}")?
            } else {
                write!(f, " {first}-{last}")?
            }
        }
        for (slot, open) in &self.open_slots {
            match open {
                OpenSlot::MigratingTo(target) => write!(f, " [{slot}->-{target}]")?,
                OpenSlot::ImportingFrom(source) => write!(f, " [{slot}-<-{source}]")?,
            }
        }
        Ok(())
    }
}

/// All that a node remembers of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterFile {
    /// The nodes; exactly one bears the MYSELF flag.
    pub nodes: Vec<NodeLine>,
    /// Highest epoch known.
    pub current_epoch: u64,
    /// Epoch of the last vote given.
    pub last_vote_epoch: u64,
    /// The shard this node belongs to.
    pub shard_id: Option<NodeId>,
}

/// Why a text is no `nodes.conf`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    line: usize,
    what: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "corrupted cluster config file, line {}: {}",
            self.line, self.what
        )
    }
}

impl std::error::Error for ParseError {}

impl ClusterFile {
    /// What a node knows that was never part of a cluster.
    pub fn fresh(id: NodeId) -> Self {
        let myself = NodeLine {
            id,
            ip: IpText::EMPTY,
            port: 0,
            cport: 0,
            host_name: HostName::default(),
            human_name: HumanName::default(),
            shard_id: None,
            flags: NodeFlags::MYSELF | NodeFlags::PRIMARY,
            primary: None,
            ping_sent_ms: 0,
            pong_received_ms: 0,
            config_epoch: 0,
            connected: true,
            slots: SlotSet::new(),
            open_slots: Vec::new(),
        };
        Self {
            nodes: vec![myself],
            current_epoch: 0,
            last_vote_epoch: 0,
            shard_id: None,
        }
    }

    /// Reads a file; `None` if it is empty, as it is between its creation and the first save.
    pub fn parse(text: &str) -> Result<Option<Self>, ParseError> {
        let mut file = Self {
            nodes: Vec::new(),
            current_epoch: 0,
            last_vote_epoch: 0,
            shard_id: None,
        };
        let mut lines = 0;
        for (number, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let parsed = if fields[0] == "vars" {
                file.parse_vars(&fields[1..])
            } else {
                file.parse_node(&fields)
            };
            parsed.map_err(|what| ParseError {
                line: number + 1,
                what,
            })?;
            lines = number + 1;
        }
        if lines == 0 {
            return Ok(None);
        }
        file.check()
            .map_err(|what| ParseError { line: lines, what })?;
        Ok(Some(file))
    }

    fn parse_vars(&mut self, fields: &[&str]) -> Result<(), &'static str> {
        for pair in fields.chunks(2) {
            let [name, value] = pair else {
                return Err("variable without a value");
            };
            match *name {
                "currentEpoch" => self.current_epoch = number(value)?,
                "lastVoteEpoch" => self.last_vote_epoch = number(value)?,
                "shardId" => self.shard_id = Some(node_id(value)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn parse_node(&mut self, fields: &[&str]) -> Result<(), &'static str> {
        let [
            id,
            address,
            flags,
            primary,
            ping,
            pong,
            epoch,
            link,
            slots @ ..,
        ] = fields
        else {
            return Err("fewer than eight fields");
        };
        let mut line = Self::fresh(node_id(id)?).nodes.remove(0);
        parse_address(&mut line, address)?;
        line.flags = NodeFlags::NONE;
        for word in flags.split(',') {
            line.flags |= NodeFlags::parse_word(word).ok_or("unknown flag")?;
        }
        line.primary = if *primary == "-" {
            None
        } else {
            Some(node_id(primary)?)
        };
        (line.ping_sent_ms, line.pong_received_ms) = (number(ping)?, number(pong)?);
        line.config_epoch = number(epoch)?;
        line.connected = *link == "connected";
        for slot in slots {
            parse_slots(&mut line, slot)?;
        }
        self.nodes.push(line);
        Ok(())
    }

    fn check(&self) -> Result<(), &'static str> {
        let mut names = BTreeSet::new();
        let mut slots = SlotSet::new();
        for line in &self.nodes {
            if !names.insert(line.id) {
                return Err("two nodes of the same name");
            }
            if slots.intersects(&line.slots) {
                return Err("a slot with two owners");
            }
            slots.union_with(&line.slots);
            let roles = line.flags.only(NodeFlags::PRIMARY | NodeFlags::REPLICA);
            if roles == (NodeFlags::PRIMARY | NodeFlags::REPLICA) || line.primary == Some(line.id) {
                return Err("contradictory roles");
            }
        }
        match self
            .nodes
            .iter()
            .filter(|line| line.flags.contains(NodeFlags::MYSELF))
            .count()
        {
            1 => Ok(()),
            _ => Err("not exactly one node is this node itself"),
        }
    }
}

impl fmt::Display for ClusterFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.nodes {
            writeln!(f, "{line}")?;
        }
        write!(
            f,
            "vars currentEpoch {} lastVoteEpoch {}",
            self.current_epoch, self.last_vote_epoch
        )?;
        if let Some(shard_id) = self.shard_id {
            write!(f, " shardId {shard_id}")?;
        }
        f.write_char('\n')
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "malformed number")
}

fn node_id(text: &str) -> Result<NodeId, &'static str> {
    NodeId::parse(text.as_bytes()).ok_or("malformed node id")
}

/// `ip:port[@cport][,hostname][,key=value ...]`; the host name may be empty.
fn parse_address(line: &mut NodeLine, text: &str) -> Result<(), &'static str> {
    let mut parts = text.split(',');
    let socket = parts.next().unwrap_or_default();
    let (ip, ports) = socket.rsplit_once(':').ok_or("address without a port")?;
    line.ip = IpText::parse(ip.as_bytes()).ok_or("malformed address")?;
    let (port, cport) = ports
        .split_once('@')
        .map_or((ports, None), |(port, cport)| (port, Some(cport)));
    line.port = number(port)?;
    line.cport = match cport {
        Some(cport) => number(cport)?,
        None => line
            .port
            .checked_add(BUS_PORT_OFFSET)
            .ok_or("bus port out of range")?,
    };
    for part in parts {
        match part.split_once('=') {
            None => {
                line.host_name = HostName::parse(part.as_bytes()).ok_or("malformed host name")?
            }
            Some(("shard-id", value)) => line.shard_id = Some(node_id(value)?),
            Some(("nodename", value)) => {
                line.human_name =
                    HumanName::parse(value.as_bytes()).ok_or("malformed node name")?;
            }
            // Learnt anew from the nodes themselves.
            Some((
                "tcp-port" | "tls-port" | "client-ipv4" | "client-ipv6" | "availability-zone",
                _,
            )) => {}
            Some(_) => return Err("unknown address attribute"),
        }
    }
    Ok(())
}

fn parse_slots(line: &mut NodeLine, text: &str) -> Result<(), &'static str> {
    let slot = |text: &str| {
        number(text).and_then(|slot| {
            if slot < SLOT_COUNT {
                Ok(slot)
            } else {
                Err("slot out of range")
            }
        })
    };
    if let Some(open) = text.strip_prefix('[') {
        let open = open
            .strip_suffix(']')
            .ok_or("open slot without a bracket")?;
        let (number, motion) = if let Some((number, target)) = open.split_once("->-") {
            (number, OpenSlot::MigratingTo(node_id(target)?))
        } else {
            let (number, source) = open
                .split_once("-<-")
                .ok_or("open slot without a direction")?;
            (number, OpenSlot::ImportingFrom(node_id(source)?))
        };
        line.open_slots.push((slot(number)?, motion));
        return Ok(());
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (slot(first)?, slot(last)?);
    if first > last {
        return Err("slot range upside down");
    }
    line.slots.insert_range(first, last);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn parse(text: &str) -> ClusterFile {
        ClusterFile::parse(text).unwrap().unwrap()
    }

    #[test]
    fn a_file_of_redis_7_0_reads_and_prints_the_same() {
        let text = format!(
            "{A} 127.0.0.1:7000@17000 myself,master - 0 1700000000000 3 connected 0-5460 5462 [5->-{B}] [6000-<-{B}]\n\
             {B} ::1:7001@17001,node-b.example slave,fail?,nofailover {A} 1 2 3 disconnected\n\
             vars currentEpoch 7 lastVoteEpoch 5\n"
        );
        let file = parse(&text);
        assert_eq!((file.current_epoch, file.last_vote_epoch), (7, 5));
        assert_eq!(file.nodes[0].slots.len(), 5462);
        assert_eq!(file.nodes[1].ip.as_str(), "::1");
        assert_eq!(file.to_string(), text);
        assert_eq!(
            ClusterFile::parse(&(text.replace('\n', "\n\n") + "\n\n\n")).unwrap(),
            Some(file)
        );
    }

    #[test]
    fn what_later_servers_write_is_read() {
        let text = format!(
            "{A} 10.0.0.1:7000@17000,,tls-port=0,shard-id={B},nodename=front myself,master - 0 0 1 connected 1\n\
             {B} 10.0.0.2:7001,host,shard-id={B},client-ipv4=1.2.3.4 master - 0 0 2 connected\n\
             vars currentEpoch 2 lastVoteEpoch 0 somethingNew 9 shardId {A}\n"
        );
        let file = parse(&text);
        assert_eq!(file.nodes[0].shard_id, NodeId::parse(B.as_bytes()));
        assert_eq!(file.nodes[0].human_name.as_str(), "front");
        assert_eq!(
            (file.nodes[1].host_name.as_str(), file.nodes[1].cport),
            ("host", 17001)
        );
        assert_eq!(file.shard_id, NodeId::parse(A.as_bytes()));
        assert_eq!(parse(&file.to_string()).shard_id, file.shard_id);
    }

    #[test]
    fn an_empty_file_is_a_new_node() {
        assert_eq!(ClusterFile::parse(""), Ok(None));
        assert_eq!(ClusterFile::parse("\n\n"), Ok(None));
    }

    #[test]
    fn corrupted_files_are_refused() {
        let me = format!("{A} :7000@17000 myself,master - 0 0 1 connected");
        assert!(ClusterFile::parse(&me).is_ok());
        let other = format!("{B} h:1@2 master - 0 0 1 connected");
        for (line, text) in [
            (1, me[..me.len() - 10].to_owned()),
            (1, me.replace("myself", "mine")),
            (1, other.clone()),
            (2, format!("{me}\n{me}")),
            (2, format!("{me} 1-3\n{other} 3-4")),
            (1, format!("{me} 16384")),
            (1, format!("{me} 4-3")),
            (1, format!("{me} [4]")),
            (1, format!("{me} [4->-x]")),
            (1, me.replace("@17000", "@170000")),
            (1, me.replace(":7000@17000", ":60000")),
            (1, me.replace("@17000", "@17000,a=b")),
            (2, format!("{me}\nvars currentEpoch")),
            (2, format!("{me}\nvars currentEpoch x")),
        ] {
            let error = ClusterFile::parse(&text).expect_err(&text);
            assert_eq!(error.line, line, "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[a-z0-9 :@,\\[\\]<>=\n-]{0,300}") {
            let _ = ClusterFile::parse(&text);
        }

        #[test]
        fn damaged_files_never_panic(at in 0usize..200, with in "[ -~\n]{0,3}") {
            let text = format!("{A} 1.2.3.4:7000@17000,h,shard-id={B} myself,master - 0 17 3 connected 0-54 7 [5->-{B}]\nvars currentEpoch 7 lastVoteEpoch 5\n");
            let at = at.min(text.len());
            let _ = ClusterFile::parse(&format!("{}{with}{}", &text[..at], &text[(at + 1).min(text.len())..]));
        }
    }
}
