//! What administrators order: the `CLUSTER` subcommands that change something.
//!
//! Arguments are taken as they come from the client, so that order and text of all errors are decided here. Facts of
//! the keyspace (is it empty, how many keys are in a slot) are arguments.

use super::effect::{Effect, LogLevel};
use super::node::NodeKey;
use super::open::ClusterState;
use crate::cluster::address::IpText;
use crate::cluster::config_file::BUS_PORT_OFFSET;
use crate::cluster::{NodeFlags, NodeId, SLOT_COUNT, SlotSet};
use std::fmt;
use std::net::IpAddr;

/// How long a forgotten node is not learnt again from gossip, in milliseconds.
pub(super) const FORGET_MS: u64 = 60_000;

/// Why an order is refused. The display is the reply's text after `-ERR `.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminError {
    /// A node name that is not known.
    UnknownNode(String),
    /// The same, of the other end of a slot's move.
    DontKnowNode(String),
    /// MEET with something other than an IP address and ports.
    InvalidAddress(String, String),
    /// MEET with a client port that is no number.
    InvalidBasePort(String),
    /// MEET with a bus port that is no number.
    InvalidBusPort(String),
    /// Not a slot number.
    InvalidSlot,
    /// A slot to be added has an owner.
    SlotBusy(u16),
    /// A slot to be removed has no owner.
    SlotUnassigned(u16),
    /// A slot was given twice.
    SlotRepeated(u16),
    /// A range upside down.
    InvertedRange(u16, u16),
    /// MIGRATING of another node's slot.
    NotOwner(u16),
    /// IMPORTING of an own slot.
    AlreadyOwner(u16),
    /// A slot with keys is to go.
    SlotHasKeys(u16),
    /// SET-CONFIG-EPOCH with a negative number.
    InvalidConfigEpoch(i64),
    /// An argument that should be an integer.
    NotAnInteger,
    /// Any other refusal, whose text never changes.
    Refused(&'static str),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownNode(id) => write!(f, "Unknown node {id}"),
            Self::DontKnowNode(id) => write!(f, "I don't know about node {id}"),
            Self::InvalidAddress(ip, port) => {
                write!(f, "Invalid node address specified: {ip}:{port}")
            }
            Self::InvalidBasePort(port) => write!(f, "Invalid TCP base port specified: {port}"),
            Self::InvalidBusPort(port) => write!(f, "Invalid TCP bus port specified: {port}"),
            Self::InvalidSlot => f.write_str("Invalid or out of range slot"),
            Self::SlotBusy(slot) => write!(f, "Slot {slot} is already busy"),
            Self::SlotUnassigned(slot) => write!(f, "Slot {slot} is already unassigned"),
            Self::SlotRepeated(slot) => write!(f, "Slot {slot} specified multiple times"),
            Self::InvertedRange(first, last) => {
                write!(
                    f,
                    "start slot number {first} is greater than end slot number {last}"
                )
            }
            Self::NotOwner(slot) => write!(f, "I'm not the owner of hash slot {slot}"),
            Self::AlreadyOwner(slot) => write!(f, "I'm already the owner of hash slot {slot}"),
            Self::SlotHasKeys(slot) => write!(
                f,
                "Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
            ),
            Self::InvalidConfigEpoch(epoch) => write!(f, "Invalid config epoch specified: {epoch}"),
            Self::NotAnInteger => f.write_str("value is not an integer or out of range"),
            Self::Refused(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for AdminError {}

const NOT_A_PRIMARY: AdminError = AdminError::Refused("Target node is not a master");

/// What `CLUSTER SETSLOT` is to do with a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetSlot<'a> {
    /// MIGRATING node.
    Migrating(&'a [u8]),
    /// IMPORTING node.
    Importing(&'a [u8]),
    /// STABLE.
    Stable,
    /// NODE node.
    Node(&'a [u8]),
}

impl<'a> SetSlot<'a> {
    /// Reads the arguments behind the slot.
    pub fn parse(args: &[&'a [u8]]) -> Result<Self, AdminError> {
        match args {
            [word, id] if word.eq_ignore_ascii_case(b"migrating") => Ok(Self::Migrating(id)),
            [word, id] if word.eq_ignore_ascii_case(b"importing") => Ok(Self::Importing(id)),
            [word] if word.eq_ignore_ascii_case(b"stable") => Ok(Self::Stable),
            [word, id] if word.eq_ignore_ascii_case(b"node") => Ok(Self::Node(id)),
            _ => Err(AdminError::Refused(
                "Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
            )),
        }
    }
}

impl ClusterState {
    /// `CLUSTER MEET ip port [cport]`.
    pub fn meet(
        &mut self,
        ip: &[u8],
        port: &[u8],
        cport: Option<&[u8]>,
        now_ms: u64,
    ) -> Result<(), AdminError> {
        self.now_ms = now_ms;
        let port_number = integer(port).ok_or_else(|| AdminError::InvalidBasePort(text(port)))?;
        let cport_number = match cport {
            Some(cport) => integer(cport).ok_or_else(|| AdminError::InvalidBusPort(text(cport)))?,
            None => port_number.saturating_add(i64::from(BUS_PORT_OFFSET)),
        };
        let invalid = || AdminError::InvalidAddress(text(ip), text(port));
        let address: IpAddr = std::str::from_utf8(ip)
            .ok()
            .and_then(|ip| ip.parse().ok())
            .ok_or_else(invalid)?;
        let in_range = |number: i64| {
            u16::try_from(number)
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(invalid)
        };
        let (port, cport) = (in_range(port_number)?, in_range(cport_number)?);
        self.start_handshake(IpText::from(address), port, 0, cport, NodeFlags::MEET);
        Ok(())
    }

    /// `CLUSTER FORGET id`.
    pub fn forget(&mut self, id: &[u8], now_ms: u64) -> Result<(), AdminError> {
        self.now_ms = now_ms;
        let key = self.known(id)?;
        if key == self.myself {
            return Err(AdminError::Refused(
                "I tried hard but I can't forget myself...",
            ));
        }
        if self.me().primary == Some(key) {
            return Err(AdminError::Refused("Can't forget my master!"));
        }
        self.blacklist_node(self.node(key).id, FORGET_MS);
        self.remove_node(key);
        self.save(false);
        Ok(())
    }

    /// Keeps a node that was known until now from being learnt again.
    pub(super) fn blacklist_node(&mut self, id: NodeId, ttl_ms: u64) {
        self.blacklist
            .insert(id, self.now_ms.saturating_add(ttl_ms));
    }

    pub(super) fn is_blacklisted(&self, id: &NodeId) -> bool {
        self.blacklist
            .get(id)
            .is_some_and(|until_ms| *until_ms > self.now_ms)
    }

    /// `CLUSTER ADDSLOTS slot ...`.
    pub fn add_slots(&mut self, slots: &[&[u8]], now_ms: u64) -> Result<(), AdminError> {
        let slots: Vec<u16> = slots
            .iter()
            .map(|slot| parse_slot(slot))
            .collect::<Result<_, _>>()?;
        self.change_slots(slots, true, now_ms)
    }

    /// `CLUSTER DELSLOTS slot ...`.
    pub fn del_slots(&mut self, slots: &[&[u8]], now_ms: u64) -> Result<(), AdminError> {
        let slots: Vec<u16> = slots
            .iter()
            .map(|slot| parse_slot(slot))
            .collect::<Result<_, _>>()?;
        self.change_slots(slots, false, now_ms)
    }

    /// `CLUSTER ADDSLOTSRANGE first last ...`; the number of arguments is even.
    pub fn add_slots_range(&mut self, bounds: &[&[u8]], now_ms: u64) -> Result<(), AdminError> {
        self.change_slots(parse_ranges(bounds)?, true, now_ms)
    }

    /// `CLUSTER DELSLOTSRANGE first last ...`; the number of arguments is even.
    pub fn del_slots_range(&mut self, bounds: &[&[u8]], now_ms: u64) -> Result<(), AdminError> {
        self.change_slots(parse_ranges(bounds)?, false, now_ms)
    }

    fn change_slots(&mut self, slots: Vec<u16>, add: bool, now_ms: u64) -> Result<(), AdminError> {
        self.now_ms = now_ms;
        let mut seen = SlotSet::new();
        for &slot in &slots {
            match self.slots.owner(slot) {
                Some(_) if add => return Err(AdminError::SlotBusy(slot)),
                None if !add => return Err(AdminError::SlotUnassigned(slot)),
                _ if !seen.insert(slot) => return Err(AdminError::SlotRepeated(slot)),
                _ => {}
            }
        }
        for slot in slots {
            if add {
                self.slots.importing_from.remove(&slot);
                self.assign_slot(slot, self.myself);
            } else {
                self.unassign_slot(slot);
            }
        }
        self.slots_changed();
        self.save(true);
        Ok(())
    }

    /// `CLUSTER FLUSHSLOTS`.
    pub fn flush_slots(&mut self, keyspace_is_empty: bool, now_ms: u64) -> Result<(), AdminError> {
        self.now_ms = now_ms;
        if !keyspace_is_empty {
            return Err(AdminError::Refused(
                "DB must be empty to perform CLUSTER FLUSHSLOTS.",
            ));
        }
        self.unassign_all(self.myself);
        self.slots_changed();
        self.save(true);
        Ok(())
    }

    /// `CLUSTER SETSLOT slot ...`.
    pub fn set_slot(
        &mut self,
        slot: &[u8],
        args: &[&[u8]],
        keys_in_slot: impl FnOnce(u16) -> u64,
        now_ms: u64,
    ) -> Result<(), AdminError> {
        self.now_ms = now_ms;
        if self.me().is_replica() {
            return Err(AdminError::Refused(
                "You can use SETSLOT only with masters.",
            ));
        }
        let slot = parse_slot(slot)?;
        let is_mine = self.slots.owner(slot) == Some(self.myself);
        let mut claims = false;
        match SetSlot::parse(args)? {
            SetSlot::Migrating(_) if !is_mine => return Err(AdminError::NotOwner(slot)),
            SetSlot::Importing(_) if is_mine => return Err(AdminError::AlreadyOwner(slot)),
            SetSlot::Migrating(id) => {
                let target = self.other_end(id)?;
                self.slots.migrating_to.insert(slot, target);
            }
            SetSlot::Importing(id) => {
                let source = self.other_end(id)?;
                self.slots.importing_from.insert(slot, source);
            }
            SetSlot::Stable => {
                self.slots.migrating_to.remove(&slot);
                self.slots.importing_from.remove(&slot);
            }
            SetSlot::Node(id) => {
                let node = self.known(id)?;
                if self.node(node).is_replica() {
                    return Err(NOT_A_PRIMARY);
                }
                let has_keys = keys_in_slot(slot) > 0;
                if is_mine && node != self.myself && has_keys {
                    return Err(AdminError::SlotHasKeys(slot));
                }
                self.give_slot(slot, node, has_keys);
                claims = true;
            }
        }
        self.slots_changed();
        // Marks are nobody's business but this node's; a reshard that a power cut ends is begun anew.
        self.save(claims);
        Ok(())
    }

    fn other_end(&self, id: &[u8]) -> Result<NodeKey, AdminError> {
        let key = self
            .find(id)
            .ok_or_else(|| AdminError::DontKnowNode(text(id)))?;
        if self.node(key).is_replica() {
            Err(NOT_A_PRIMARY)
        } else {
            Ok(key)
        }
    }

    /// Ends the move of a slot. Its new owner takes an epoch that outdoes the old owner's claim.
    fn give_slot(&mut self, slot: u16, node: NodeKey, has_keys: bool) {
        if !has_keys {
            self.slots.migrating_to.remove(&slot);
        }
        let was_mine = self.slots.owner(slot) == Some(self.myself);
        self.assign_slot(slot, node);
        if was_mine
            && node != self.myself
            && self.me().slot_count == 0
            && self.config.allow_replica_migration
        {
            let id = self.node(node).id;
            self.log(
                LogLevel::Warning,
                format!("My last slot went to {id}: reconfiguring myself as its replica."),
            );
            self.become_replica_of(node);
        }
        if node == self.myself && self.slots.importing_from.contains_key(&slot) {
            self.bump_epoch();
            self.slots.importing_from.remove(&slot);
            self.broadcast_pong();
        }
    }

    /// `CLUSTER SET-CONFIG-EPOCH epoch`.
    pub fn set_config_epoch(&mut self, epoch: &[u8], now_ms: u64) -> Result<(), AdminError> {
        self.now_ms = now_ms;
        let epoch = integer(epoch).ok_or(AdminError::NotAnInteger)?;
        let Ok(new) = u64::try_from(epoch) else {
            return Err(AdminError::InvalidConfigEpoch(epoch));
        };
        if self.nodes.len() > 1 {
            return Err(AdminError::Refused(
                "The user can assign a config epoch only when the node does not know any other node.",
            ));
        }
        if self.me().config_epoch != 0 {
            return Err(AdminError::Refused("Node config epoch is already non-zero"));
        }
        self.me_mut().config_epoch = new;
        self.witness_epoch(new);
        self.slots_changed();
        self.save(true);
        Ok(())
    }

    /// `CLUSTER BUMPEPOCH`: the reply is `BUMPED` if true, else `STILL`, and the config epoch.
    pub fn bump_config_epoch(&mut self, now_ms: u64) -> (bool, u64) {
        self.now_ms = now_ms;
        let bumped = self.bump_epoch();
        (bumped, self.me().config_epoch)
    }

    /// `CLUSTER REPLICATE id`.
    pub fn replicate(
        &mut self,
        id: &[u8],
        keyspace_is_empty: bool,
        now_ms: u64,
    ) -> Result<(), AdminError> {
        self.now_ms = now_ms;
        let key = self.known(id)?;
        if key == self.myself {
            return Err(AdminError::Refused("Can't replicate myself"));
        }
        if self.node(key).is_replica() {
            return Err(AdminError::Refused(
                "I can only replicate a master, not a replica.",
            ));
        }
        if self.me().is_primary() && (self.me().slot_count > 0 || !keyspace_is_empty) {
            return Err(AdminError::Refused(
                "To set a master the node must be empty and without assigned slots.",
            ));
        }
        self.become_replica_of(key);
        Ok(())
    }

    /// `CLUSTER RESET [HARD | SOFT]`.
    pub fn reset(
        &mut self,
        hard: bool,
        keyspace_is_empty: bool,
        now_ms: u64,
    ) -> Result<(), AdminError> {
        self.now_ms = now_ms;
        if self.me().is_primary() && !keyspace_is_empty {
            return Err(AdminError::Refused(
                "CLUSTER RESET can't be called with master nodes containing keys",
            ));
        }
        if self.me().is_replica() {
            self.become_primary(self.myself);
            let shard_id = NodeId::random(&mut self.rng);
            self.me_mut().shard_id = Some(shard_id);
            self.effect(Effect::BecomePrimary { flush: true });
        }
        self.election.abandon();
        self.slots.migrating_to.clear();
        self.slots.importing_from.clear();
        let others: Vec<NodeKey> = self
            .nodes
            .keys()
            .copied()
            .filter(|key| *key != self.myself)
            .collect();
        for key in others {
            self.remove_node(key);
        }
        self.unassign_all(self.myself);
        if hard {
            (self.current_epoch, self.last_vote_epoch) = (0, 0);
            let id = NodeId::random(&mut self.rng);
            let former = std::mem::replace(&mut self.me_mut().id, id);
            self.me_mut().config_epoch = 0;
            self.names.remove(&former);
            self.names.insert(id, self.myself);
            self.log(LogLevel::Notice, format!("Node hard reset, now I'm {id}"));
        }
        self.slots_changed();
        self.save(true);
        Ok(())
    }

    /// `CLUSTER COUNT-FAILURE-REPORTS id`.
    pub fn count_failure_reports(&mut self, id: &[u8], now_ms: u64) -> Result<usize, AdminError> {
        self.now_ms = now_ms;
        let key = self.known(id)?;
        Ok(self.failure_reports(key))
    }

    /// `CLUSTER SAVECONFIG`: the save is the next effect.
    pub fn save_config(&mut self) {
        self.save(true);
    }

    fn find(&self, id: &[u8]) -> Option<NodeKey> {
        self.lookup(&NodeId::parse(id)?)
    }

    pub(super) fn known(&self, id: &[u8]) -> Result<NodeKey, AdminError> {
        self.find(id)
            .ok_or_else(|| AdminError::UnknownNode(text(id)))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A decimal integer in its one canonical spelling, as every integer argument of a command.
fn integer(bytes: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == bytes).then_some(number)
}

fn parse_slot(bytes: &[u8]) -> Result<u16, AdminError> {
    let number = integer(bytes).and_then(|number| u16::try_from(number).ok());
    number
        .filter(|slot| *slot < SLOT_COUNT)
        .ok_or(AdminError::InvalidSlot)
}

fn parse_ranges(bounds: &[&[u8]]) -> Result<Vec<u16>, AdminError> {
    let mut slots = Vec::new();
    for pair in bounds.chunks_exact(2) {
        let (first, last) = (parse_slot(pair[0])?, parse_slot(pair[1])?);
        if first > last {
            return Err(AdminError::InvertedRange(first, last));
        }
        slots.extend(first..=last);
        // Repetition is found out later; this bounds what a long list of long ranges can allocate.
        if slots.len() > usize::from(SLOT_COUNT) * 2 {
            break;
        }
    }
    Ok(slots)
}
