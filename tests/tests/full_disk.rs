//! A disk that is really full: a small tmpfs that the test mounts, for which it must be root; skipped with a message
//! otherwise. Nothing that was there is lost, the server goes on, and says what failed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eagledb_tests::server::check_pool;
use eagledb_tests::{Launch, Server, tool};
use tempfile::TempDir;

/// A mounted file system of so many bytes; unmounted when dropped.
struct Disk {
    dir: TempDir,
}

impl Disk {
    fn mount(size: &str) -> Option<Disk> {
        let dir = TempDir::new().expect("the temporary directory is writable");
        let path = dir.path().display().to_string();
        let options = format!("size={size}");
        let line = ["-t", "tmpfs", "-o", &options, "tmpfs", &path];
        let mounted = tool::run("mount", &line, "", Duration::from_secs(20));
        if mounted.code != 0 {
            println!("skipped: no file system can be mounted here");
            return None;
        }
        Some(Disk { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Takes all space that is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.path("filling")).expect("room for a name");
        while file.write_all(&[b'x'; 512]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.path("filling")).expect("filled");
    }

    /// Names of all files but the one that fills it.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).expect("mounted");
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "filling").collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let path = self.dir.path().display().to_string();
        let _ = tool::run("umount", &["-l", &path], "", Duration::from_secs(20));
    }
}

#[test]
fn a_pool_on_a_full_disk_refuses_writes_and_keeps_everything() {
    let Some(disk) = Disk::mount("64m") else {
        return;
    };
    let pool = disk.path("pool");
    let launch = Launch::eagledb().option("pool-path", &pool.display().to_string());
    let mut server = launch.start();
    let mut client = server.client();
    let value = |number: usize| format!("{number}.").repeat(20_000);
    let mut stored = 0;
    let refusal = loop {
        let reply = client.call(&["SET", &format!("key:{stored}"), &value(stored)]);
        match reply.error() {
            Some(error) => break error,
            None => stored += 1,
        }
        assert!(stored < 2000, "the disk is never full");
    };
    assert!(refusal.starts_with("OOM "), "{refusal}");
    assert!(stored > 50, "{stored}");
    let holds_all = |server: &Server, from: usize| {
        let mut client = server.client();
        for number in from..stored {
            assert_eq!(
                client.call(&["GET", &format!("key:{number}")]).text(),
                value(number)
            );
        }
    };
    holds_all(&server, 0);
    server.kill9();
    check_pool(&pool);
    server.start();
    holds_all(&server, 0);
    // Room again: for as much as is given up.
    let mut client = server.client();
    for number in 0..10 {
        assert_eq!(client.call(&["DEL", &format!("key:{number}")]).int(), 1);
    }
    eagledb_tests::wait_until(
        "freed memory to be used again",
        Duration::from_secs(20),
        || client.call(&["SET", "new", &value(7)]).error().is_none(),
    );
    holds_all(&server, 10);
    server.kill9();
    check_pool(&pool);
}

#[test]
fn files_that_cannot_be_written_stay_as_they_were() {
    let Some(disk) = Disk::mount("64k") else {
        return;
    };
    let users = disk.path("users.acl");
    fs::write(&users, "user default on nopass ~* &* +@all\n").unwrap();
    let launch = Launch::eagledb()
        .option("aclfile", &users.display().to_string())
        .config_file("maxclients 1000\n");
    let mut server = launch.start();
    // The configuration file moves to the disk; a link to it stays.
    assert!(server.stop().success());
    let config = disk.path("redis.conf");
    fs::copy(server.config_path(), &config).unwrap();
    fs::remove_file(server.config_path()).unwrap();
    std::os::unix::fs::symlink(&config, server.config_path()).unwrap();
    server.start();
    let mut client = server.client();
    client.call(&["CONFIG", "SET", "maxclients", "900"]).ok();
    client
        .call(&["ACL", "SETUSER", "alice", "on", ">secret", "+get"])
        .ok();
    let before = (read(&config), read(&users), disk.names());
    disk.fill();
    let rewrite = client
        .call(&["CONFIG", "REWRITE"])
        .error()
        .expect("no room");
    assert_eq!(
        rewrite,
        "ERR Rewriting config file: No space left on device"
    );
    let save = client.call(&["ACL", "SAVE"]).error().expect("no room");
    assert!(
        save.starts_with("ERR There was an error trying to save the ACLs."),
        "{save}"
    );
    assert_eq!((read(&config), read(&users), disk.names()), before);
    disk.empty();
    client.call(&["CONFIG", "REWRITE"]).ok();
    client.call(&["ACL", "SAVE"]).ok();
    assert!(read(&config).contains("maxclients 900"));
    assert!(read(&users).contains("user alice"));
    assert_eq!(disk.names(), before.2, "no drafts are left");
}

#[test]
fn a_node_that_cannot_note_its_state_does_not_go_on_with_it() {
    let Some(disk) = Disk::mount("64k") else {
        return;
    };
    let nodes = disk.path("nodes.conf");
    let launch = Launch::eagledb()
        .cluster_node(5000)
        .option("cluster-config-file", &nodes.display().to_string());
    let mut server = launch.start();
    let mut client = server.client();
    client.call(&["CLUSTER", "ADDSLOTS", "1", "2"]).ok();
    let id = client.call(&["CLUSTER", "MYID"]).text();
    let before = read(&nodes);
    disk.fill();
    // What Redis does as well: a state that cannot be made durable must not be told to anybody, so the node ends.
    let answered = client.send(&["CLUSTER", "ADDSLOTS", "3"]).and_then(|()| {
        client.flush()?;
        client.receive()
    });
    assert!(
        !answered.is_ok_and(|reply| reply.error().is_none()),
        "not durable, but told"
    );
    let _ = server.wait_exit();
    assert_eq!(read(&nodes), before);
    disk.empty();
    server.start();
    let mut client = server.client();
    assert_eq!(client.call(&["CLUSTER", "MYID"]).text(), id);
    let slots = client.call(&["CLUSTER", "INFO"]).text();
    assert!(slots.contains("cluster_slots_assigned:2\r\n"), "{slots}");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}
