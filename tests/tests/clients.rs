//! Clients that know nothing of EagleDB: redis-rs, redis-py, redis-benchmark, and plain sockets in
//! numbers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use eagledb_tests::binary::workspace;
use eagledb_tests::{Cluster, Kind, Launch, tool, wait_until};
use redis::AsyncCommands;
use redis::cluster::ClusterClient;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Runs one of the scripts in `tests/clients` against a node.
fn python(script: &str, port: u16) {
    let tests = workspace().join("tests");
    tool::run(
        tests.join("clients/venv.sh"),
        &[""; 0],
        "",
        Duration::from_secs(120),
    )
    .success();
    let line = [
        tests.join("clients").join(script).display().to_string(),
        port.to_string(),
    ];
    let text = tool::run(
        tests.join(".venv/bin/python"),
        &line,
        "",
        Duration::from_secs(120),
    )
    .success();
    assert_eq!(text.trim(), "ok");
}

#[test]
fn redis_py_cluster() {
    let cluster = Cluster::of(&[Kind::EagleDb; 3]);
    python("cluster_sync.py", cluster.nodes[0].port());
    python("cluster_asyncio.py", cluster.nodes[1].port());
}

/// The client learns of the moved slots by redirections, in the middle of its writes.
#[test]
fn redis_py_writes_through_a_reshard() {
    let cluster = Cluster::of(&[Kind::EagleDb; 3]);
    let writes = || {
        let reply = cluster.client().call(&["GET", "writes"]).unwrap();
        if reply.is_nil() {
            0
        } else {
            reply.text().parse::<u64>().unwrap()
        }
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| python("cluster_writer.py", cluster.nodes[1].port()));
        wait_until("the writer to write", Duration::from_secs(60), || {
            writes() > 500
        });
        // The writer must be told to stop even when the move fails, or it writes on until its time is up.
        let moved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cluster.reshard(0, 2, 1000);
            assert_eq!(cluster.slots_of(2), 6461);
            let during = writes();
            wait_until("the writer to go on", Duration::from_secs(30), || {
                writes() > during + 100
            });
        }));
        cluster.client().call(&["SET", "stop", "1"]).unwrap().ok();
        let written = writer.join();
        for outcome in [moved, written] {
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    cluster.check();
}

#[test]
fn redis_py_without_cluster_through_a_proxying_node() {
    let cluster = Cluster::create(vec![
        Launch::eagledb().option("cluster-routing", "proxy");
        3
    ]);
    python("plain.py", cluster.nodes[2].port());
}

#[test]
fn redis_py_without_cluster_on_a_standalone_server() {
    python("plain.py", Launch::eagledb().start().port());
}

#[test]
fn redis_rs_cluster() {
    let cluster = Cluster::of(&[Kind::EagleDb; 3]);
    let nodes: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| format!("redis://{}", node.address()))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = ClusterClient::new(nodes).unwrap();
        let connection = client.get_async_connection().await.unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|task| {
                let mut connection = connection.clone();
                tokio::spawn(async move {
                    for index in 0..200 {
                        let key = format!("key:{task}:{index}");
                        let () = connection.set(&key, index).await.unwrap();
                        let read: i64 = connection.get(&key).await.unwrap();
                        assert_eq!(read, index);
                    }
                    let total: i64 = connection.incr("total", 200).await.unwrap();
                    assert_eq!(total % 200, 0);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let total: i64 = connection.clone().get("total").await.unwrap();
        assert_eq!(total, 4000);
        let keys: Vec<String> = (0..200).map(|index| format!("key:7:{index}")).collect();
        let values: Vec<i64> = connection.clone().mget(keys).await.unwrap();
        assert_eq!(values, (0..200).collect::<Vec<_>>());
    });
}

#[test]
fn redis_benchmark_over_the_cluster() {
    let cluster = Cluster::of(&[Kind::EagleDb; 3]);
    let port = cluster.nodes[0].port().to_string();
    let tests = [
        "-t",
        "set,get,incr,hset",
        "-n",
        "20000",
        "-r",
        "10000",
        "-P",
        "8",
        "-q",
    ];
    let line = [&["-p", port.as_str(), "--cluster"], &tests[..]].concat();
    let text = tool::run("redis-benchmark", &line, "", Duration::from_secs(90)).success();
    assert_eq!(text.matches("requests per second").count(), 4, "{text}");
}

#[test]
fn ten_thousand_commands_in_one_pipeline_are_answered_in_order() {
    let server = Launch::eagledb().start();
    let mut client = server.client();
    let commands: Vec<Vec<String>> = (0..10_000)
        .map(|index| match index % 4 {
            0 => vec!["SET".into(), format!("key:{index}"), index.to_string()],
            1 => vec!["GET".into(), format!("key:{}", index - 1)],
            2 => vec!["ECHO".into(), index.to_string()],
            _ => vec!["INCR".into(), "counter".into()],
        })
        .collect();
    for (index, reply) in client.pipeline(&commands).iter().enumerate() {
        match index % 4 {
            0 => reply.ok(),
            1 => assert_eq!(reply.text(), (index - 1).to_string()),
            2 => assert_eq!(reply.text(), index.to_string()),
            _ => assert_eq!(reply.int(), (index / 4 + 1) as i64),
        }
    }
}

#[test]
fn ten_thousand_idle_connections_are_held() {
    const WANTED: u64 = 10_000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )
    .unwrap();
    // Both processes need some files beside the connections.
    let count = WANTED.min(limit.maximum.unwrap_or(u64::MAX) - 500);
    if count < WANTED {
        println!(
            "only {count} connections: the limit of open files is {:?}",
            limit.maximum
        );
    }
    let server = Launch::eagledb().option("maxclients", "10100").start();
    let mut connections: Vec<TcpStream> = (0..count)
        .map(|index| {
            let connect = TcpStream::connect(("127.0.0.1", server.port()));
            connect.unwrap_or_else(|error| panic!("connection {index}: {error}"))
        })
        .collect();
    let mut client = server.client();
    // The kernel accepts before the server does.
    let all = (count + 1).to_string();
    wait_until(
        "all connections to be accepted",
        Duration::from_secs(20),
        || client.info("connected_clients") == all,
    );
    // All of them are served, not merely accepted.
    for stream in &mut connections {
        stream.write_all(b"PING\r\n").unwrap();
    }
    for stream in &mut connections {
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut reply = [0; 7];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+PONG\r\n");
    }
    drop(connections);
    wait_until("the connections to go", Duration::from_secs(20), || {
        client.info("connected_clients") == "1"
    });
}
