//! A cluster of server processes, put together by `redis-cli --cluster create` like anybody's.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::{Client, Kind, Launch, RoutedClient, Server, Shape, Writer, tool, wait_until};

/// Node timeout of test clusters: short enough for a failure test, long enough for a busy machine.
pub const NODE_TIMEOUT_MS: u32 = 3000;
/// How long a change may take to be known by all nodes.
const AGREE_TIMEOUT: Duration = Duration::from_secs(30);

/// A key of each node of three masters: slots 5061, 9059 and 12182.
pub const KEYS_OF_ALL: [&str; 3] = ["bar", "world", "foo"];

/// Running nodes; the first ones are the masters of `create`.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// A cluster of one master per entry of `kinds`, the slots spread evenly over them.
    pub fn of(kinds: &[Kind]) -> Cluster {
        Cluster::create(kinds.iter().map(|&kind| Launch::of(kind)).collect())
    }

    /// A cluster of masters started as `launches` say.
    pub fn create(launches: Vec<Launch>) -> Cluster {
        let start = |launch: Launch| launch.cluster_node(NODE_TIMEOUT_MS).start();
        let cluster = Cluster {
            nodes: launches.into_iter().map(start).collect(),
        };
        let addresses: Vec<String> = cluster.nodes.iter().map(Server::address).collect();
        let mut line = vec!["--cluster", "create"];
        line.extend(addresses.iter().map(String::as_str));
        line.push("--cluster-yes");
        tool::redis_cli(&line).success();
        cluster.wait_agreed();
        cluster
    }

    /// Three of our masters that forward what is for another one.
    pub fn forwarding() -> Cluster {
        Cluster::create(vec![
            Launch::eagledb().option("cluster-routing", "proxy");
            3
        ])
    }

    /// Starts one more node and lets it join as an empty master.
    pub fn add_master(&mut self, launch: Launch) -> usize {
        let node = launch.cluster_node(NODE_TIMEOUT_MS).start();
        self.manage(&["add-node", &node.address(), &self.nodes[0].address()])
            .success();
        self.nodes.push(node);
        self.wait_agreed();
        self.nodes.len() - 1
    }

    /// Starts one more node and lets it join as a replica of node `primary`.
    pub fn add_replica(&mut self, launch: Launch, primary: usize) -> usize {
        let node = launch.cluster_node(NODE_TIMEOUT_MS).start();
        let (new, seed, primary_id) = (node.address(), self.nodes[0].address(), self.id(primary));
        self.manage(&[
            "add-node",
            &new,
            &seed,
            "--cluster-slave",
            "--cluster-master-id",
            &primary_id,
        ])
        .success();
        wait_until("the replica to be in sync", AGREE_TIMEOUT, || {
            node.client().info("master_link_status") == "up"
        });
        self.nodes.push(node);
        self.wait_agreed();
        self.nodes.len() - 1
    }

    /// Runs `redis-cli --cluster args --cluster-yes`.
    pub fn manage(&self, args: &[&str]) -> tool::Finished {
        tool::redis_cli(&[&["--cluster"], args, &["--cluster-yes"]].concat())
    }

    /// Moves `count` slots from one node to another with `redis-cli --cluster reshard`.
    pub fn reshard(&self, from: usize, to: usize, count: usize) {
        let (from, to, count) = (self.id(from), self.id(to), count.to_string());
        let seed = self.nodes[0].address();
        let ends = ["--cluster-from", &from, "--cluster-to", &to];
        let line = [
            &["reshard", seed.as_str()],
            &ends[..],
            &["--cluster-slots", &count, "--cluster-timeout", "30000"],
        ];
        self.manage(&line.concat()).success();
    }

    /// Moves one slot with all of its keys, one by one, as `redis-cli --cluster reshard` does.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        let text = slot.to_string();
        let (from_id, to_id) = (self.id(from), self.id(to));
        let mut source = self.nodes[from].client();
        let mut target = self.nodes[to].client();
        let port = self.nodes[to].port().to_string();
        target
            .call(&["CLUSTER", "SETSLOT", &text, "IMPORTING", &from_id])
            .ok();
        source
            .call(&["CLUSTER", "SETSLOT", &text, "MIGRATING", &to_id])
            .ok();
        loop {
            let keys = source.call(&["CLUSTER", "GETKEYSINSLOT", &text, "1"]);
            let Some(key) = keys.items().first() else {
                break;
            };
            source
                .call(&["MIGRATE", "127.0.0.1", &port, &key.text(), "0", "5000"])
                .ok();
            std::thread::sleep(Duration::from_millis(20));
        }
        for client in [&mut target, &mut source] {
            client
                .call(&["CLUSTER", "SETSLOT", &text, "NODE", &to_id])
                .ok();
        }
        for node in &self.nodes {
            let mut client = node.client();
            client
                .call(&["CLUSTER", "SETSLOT", &text, "NODE", &to_id])
                .ok();
        }
    }

    /// `redis-cli --cluster check` finds every slot covered and all nodes of one mind.
    pub fn check(&self) -> String {
        let text = tool::redis_cli(&["--cluster", "check", &self.nodes[0].address()]).success();
        assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
        assert!(
            text.contains("[OK] All nodes agree about slots configuration."),
            "{text}"
        );
        text
    }

    /// Waits until every node says the cluster is up and all know the same nodes and slots.
    pub fn wait_agreed(&self) {
        let count = self.nodes.len().to_string();
        wait_until("all nodes to agree", AGREE_TIMEOUT, || {
            let views: Vec<_> = self
                .nodes
                .iter()
                .map(|node| view(&mut node.client()))
                .collect();
            views.windows(2).all(|pair| pair[0] == pair[1])
                && self.nodes.iter().all(|node| {
                    let mut client = node.client();
                    client.cluster_info("cluster_state") == "ok"
                        && client.cluster_info("cluster_known_nodes") == count
                })
        });
    }

    /// Runs `manage` while a writer writes to all slots, then checks every acknowledged write.
    ///
    /// Returns how many redirections the writer followed.
    pub fn while_writing(&self, manage: impl FnOnce()) -> u64 {
        let stop = AtomicBool::new(false);
        let mut writer = Writer::new("w", Shape::Single, 42);
        let mut client = self.client();
        std::thread::scope(|scope| {
            let run = scope.spawn(|| writer.run_routed(&mut client, &stop));
            // The writer must be told to stop even when `manage` panics, or the scope never ends.
            let managed = catch_unwind(AssertUnwindSafe(manage));
            stop.store(true, Ordering::Relaxed);
            let written = run.join().unwrap_or_else(|panic| resume_unwind(panic));
            managed.unwrap_or_else(|panic| resume_unwind(panic));
            written.expect("no connection broke");
        });
        assert!(
            writer.acknowledged > 1000,
            "only {} writes",
            writer.acknowledged
        );
        writer.check(|args| client.call(args).expect("all nodes run"));
        client.redirects
    }

    /// The node id of node `index`.
    pub fn id(&self, index: usize) -> String {
        self.nodes[index].client().call(&["CLUSTER", "MYID"]).text()
    }

    /// How many slots node `index` owns, by its own view.
    pub fn slots_of(&self, index: usize) -> usize {
        let nodes = self.nodes[index]
            .client()
            .call(&["CLUSTER", "NODES"])
            .text();
        let own = nodes
            .lines()
            .find(|line| line.contains("myself"))
            .expect("a node knows itself");
        own.split(' ')
            .skip(8)
            .filter(|word| !word.starts_with('['))
            .map(range_len)
            .sum()
    }

    /// The flags node `observer` gives to the node with `id`, such as `master,fail`.
    pub fn flags(&self, observer: usize, id: &str) -> String {
        let nodes = self.nodes[observer]
            .client()
            .call(&["CLUSTER", "NODES"])
            .text();
        let line = nodes
            .lines()
            .find(|line| line.starts_with(id))
            .unwrap_or_else(|| panic!("no {id} in\n{nodes}"));
        line.split(' ')
            .nth(2)
            .expect("the flags are the third word")
            .replace("myself,", "")
    }

    /// A client of the whole cluster that follows redirections.
    pub fn client(&self) -> RoutedClient {
        RoutedClient::new(self.nodes[0].port())
    }
}

/// Node id, address, flags, primary, link state and slots of every node, sorted, without what
/// differs from observer to observer (`myself`, times, epochs in flight).
fn view(client: &mut Client) -> Vec<String> {
    let nodes = client.call(&["CLUSTER", "NODES"]).text();
    let mut view: Vec<String> = nodes
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let slots = words[8..].iter().filter(|word| !word.starts_with('['));
            let flags = words[2].replace("myself,", "");
            format!(
                "{} {flags} {} {} {:?}",
                words[0],
                words[3],
                words[7],
                slots.collect::<Vec<_>>()
            )
        })
        .collect();
    view.sort();
    view
}

/// The number of slots in `7` or `0-5460`.
fn range_len(range: &str) -> usize {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<usize>().expect("a slot number");
    number(last) - number(first) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_of_redis_servers_forms_and_routes() {
        let cluster = Cluster::of(&[Kind::Redis; 3]);
        assert_eq!(
            (0..3).map(|index| cluster.slots_of(index)).sum::<usize>(),
            16384
        );
        let mut client = cluster.client();
        for key in ["foo", "bar", "hello", "world"] {
            client.call(&["SET", key, key]).unwrap().ok();
            assert_eq!(client.call(&["GET", key]).unwrap().text(), key);
        }
        assert!(client.redirects > 0);
        cluster.check();
    }
}
