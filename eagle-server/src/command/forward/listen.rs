//! SSUBSCRIBE on channels of other nodes: this node listens there for its clients, by its
//! [relay](crate::cluster::proxy::Relay).
//!
//! To the client nothing differs: it stands in this node's broker like any other, and a message of the relay takes the way
//! of a message published here. A client that subscribed in proxy mode keeps its subscription if the slot moves, from this
//! node or between others; the relay follows the slot.

use super::WAIT;
use crate::cluster::proxy::{Channel, Host, Login, Owner};
use crate::cluster::route::{DOWN, UNBOUND};
use crate::cluster::{NodeFlags, Topology};
use crate::command::call::Batch;
use crate::command::context::Flow;
use crate::command::deliver::deliver_published;
use crate::command::errors::CommandError;
use crate::command::forwarding::Forwarding;
use crate::command::table::Entry;
use crate::node::{Node, Thread, login};
use crate::pubsub::{Confirmation, Topic};
use crate::session::{ReplyMode, Session};
use eagle_core::resp::{Protocol, Writer};
use eagle_core::store::key_slot;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Subscribes to channels of which some are served by other nodes; nothing if `entry`'s command is to run here, in the
/// usual way.
pub(in crate::command) fn listen(
    batch: &Batch<'_>,
    session: &Session,
    protocol: Protocol,
    entry: &'static Entry,
    argv: &[&[u8]],
) -> Option<Result<Flow, CommandError>> {
    if entry.command.forwarding() != Forwarding::Listen || session.in_multi() {
        return None;
    }
    let node = &batch.thread.node;
    let topology = node.cluster.as_ref()?.topology();
    let names = &argv[1..];
    let first = key_slot(names[0]);
    session.info.follows_slots.store(true, Ordering::Relaxed);
    if topology.is_my_shards(first) && names.iter().all(|name| key_slot(name) == first) {
        return None;
    }
    if !topology.is_ok() && !batch.config.cluster.cluster_allow_pubsubshard_when_down {
        return Some(Err(CommandError::new(DOWN)));
    }
    if names
        .iter()
        .any(|name| topology.owner(key_slot(name)).is_none())
    {
        return Some(Err(CommandError::new(UNBOUND)));
    }
    if session.order.under_way() > 0 {
        return Some(Ok(WAIT));
    }
    batch.thread.stats.forwards.add(1);
    let names: Vec<Channel> = names.iter().map(|name| Channel::from(*name)).collect();
    let elsewhere = |name: &&Channel| !topology.is_my_shards(key_slot(name));
    let abroad: Vec<Channel> = names.iter().filter(elsewhere).cloned().collect();
    drop(topology);
    let (thread, info, reply_mode) = (batch.thread.clone(), session.info.clone(), session.reply);
    Some(Ok(Flow::Later(Box::pin(async move {
        let node = &*thread.node;
        let held = match node.relay.listen(abroad).await {
            Ok(held) => held,
            Err(why) => {
                let text = format!("CLUSTERDOWN forwarding failed: {why}");
                node.errors.record("CLUSTERDOWN");
                return format!("-{text}\r\n").into_bytes();
            }
        };
        let mut out = Writer::new(protocol);
        for name in &names {
            let count = node.broker.subscribe(&info, Topic::ShardChannel, name);
            Confirmation::Subscribed.write(&mut out, Topic::ShardChannel, Some(name), count);
        }
        info.subscriptions.set_subscribed();
        drop(held);
        // A slot of this node may have left meanwhile.
        if let Some(cluster) = &node.cluster {
            let topology = cluster.topology();
            let left = names
                .iter()
                .filter(|name| !topology.is_my_shards(key_slot(name)));
            node.relay.adopt(left.cloned());
        }
        if reply_mode == ReplyMode::On {
            out.take().into()
        } else {
            // Confirmations are messages; they come also to a client that wants no replies.
            node.send(&info, out.take());
            Vec::new()
        }
    }))))
}

/// Ends the subscriptions to shard channels of slots that are not this node's, but for clients that follow them.
pub fn follow_slots(node: &Node, is_lost: impl Fn(u16) -> bool) {
    let kept = node.broker.lose_slots(
        is_lost,
        |client| client.follows_slots.load(Ordering::Relaxed),
        &mut |client, message| node.send(client, message),
    );
    if !kept.is_empty() {
        node.relay.adopt(kept.into_iter().map(Channel::from));
    }
}

/// This node, as its relay sees it.
struct RelayHost(Rc<Thread>);

impl RelayHost {
    fn topology<T>(&self, look: impl FnOnce(&Topology) -> T) -> Option<T> {
        let cluster = self.0.node.cluster.as_ref()?;
        Some(look(&cluster.topology()))
    }
}

impl Host for RelayHost {
    fn owner(&self, channel: &[u8]) -> Owner {
        let slot = key_slot(channel);
        let find = |topology: &Topology| {
            if topology.is_my_shards(slot) {
                return Owner::Here;
            }
            let Some(index) = topology.owner(slot) else {
                return Owner::Nobody;
            };
            let node = topology.node(index);
            let (_, port) = topology.endpoint(index, false);
            let ip = node.ip.as_str();
            if ip.is_empty() || port == 0 || node.flags.contains(NodeFlags::FAIL) {
                return Owner::Nobody;
            }
            Owner::At(ip.to_owned(), port)
        };
        self.topology(find).unwrap_or(Owner::Nobody)
    }

    fn listeners(&self, channel: &[u8]) -> usize {
        self.0.node.broker.shard_listeners(channel)
    }

    fn deliver(&self, channel: &[u8], payload: &[u8]) {
        deliver_published(&self.0.node, channel, payload, true);
    }

    fn lost(&self, channel: &[u8]) {
        let node = &*self.0.node;
        node.broker
            .lose_channel(channel, &mut |client, message| node.send(client, message));
    }

    fn login(&self) -> Login {
        login(&self.0.node.config.load())
    }

    fn time_max(&self) -> Duration {
        Duration::from_millis(self.0.node.config.load().cluster.cluster_proxy_timeout)
    }
}

/// Runs the relay of the thread's node, if no other thread does; never ends then.
pub async fn serve_relay(thread: Rc<Thread>) {
    let node: Arc<Node> = thread.node.clone();
    if node.cluster.is_some() && node.relay.begin() {
        node.relay.clone().serve(Rc::new(RelayHost(thread))).await;
    }
}
