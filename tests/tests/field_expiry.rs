//! Fields of hashes that expire, from outside: who sees them, who removes them, what is told and logged of it, and that a
//! kill -9 loses none of it. The replies of the commands themselves are in `tests/scripts/later`.
//!
//! What is expected is what Redis 7.4 and 8.0 document and test.

use std::collections::BTreeMap;
use std::time::Duration;

use eagledb_tests::binary::eagledb;
use eagledb_tests::server::check_pool;
use eagledb_tests::{Client, Launch, Reply, Server, wait_until};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Words of a line.
fn call(client: &mut Client, line: &str) -> Reply {
    let words: Vec<&str> = line.split(' ').collect();
    client.call(&words)
}

fn shown(client: &mut Client, line: &str) -> String {
    format!("{:?}", call(client, line))
}

/// A server in which nobody removes expired fields but who meets them; and hashes become tables early.
fn quiet() -> (Server, Client) {
    let server = Launch::eagledb()
        .option("hash-max-listpack-entries", "8")
        .option("pool-log", "yes")
        .option("notify-keyspace-events", "KEA")
        .start();
    let mut client = server.client();
    call(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0").ok();
    (server, client)
}

/// A hash of so many fields `f0`.. with values `v0`..
fn fill(client: &mut Client, key: &str, fields: usize) {
    let pairs: Vec<String> = (0..fields).map(|i| format!("f{i} v{i}")).collect();
    let set = call(client, &format!("HSET {key} {}", pairs.join(" ")));
    assert_eq!(set.int(), fields as i64);
}

/// Lets fields expire, and waits until they have.
fn lapse(client: &mut Client, key: &str, fields: &[&str]) {
    let line = format!(
        "HPEXPIRE {key} 1 FIELDS {} {}",
        fields.len(),
        fields.join(" ")
    );
    let replies = call(client, &line);
    assert!(
        replies.items().iter().all(|reply| reply.int() == 1),
        "{replies:?}"
    );
    std::thread::sleep(Duration::from_millis(5));
}

/// A packed hash, and a table.
const SIZES: [usize; 2] = [6, 30];

#[test]
fn nobody_sees_expired_fields_and_who_meets_one_removes_it() {
    let (_server, mut client) = quiet();
    for size in SIZES {
        call(&mut client, "FLUSHALL").ok();
        fill(&mut client, "h", size);
        lapse(&mut client, "h", &["f0", "f1", "f2", "f3"]);
        let left = size as i64 - 4;
        let all = call(&mut client, "HGETALL h").items().len() as i64;
        assert_eq!(all, 2 * left);
        for line in ["HKEYS h", "HVALS h"] {
            assert_eq!(call(&mut client, line).items().len() as i64, left, "{line}");
        }
        let scanned = call(&mut client, "HSCAN h 0 COUNT 1000");
        assert_eq!(scanned.items()[1].items().len() as i64, 2 * left);
        // These have looked at all, and removed nothing.
        assert_eq!(call(&mut client, "HLEN h").int(), size as i64);
        assert_eq!(shown(&mut client, "HGET h f0"), "$-1");
        assert_eq!(call(&mut client, "HLEN h").int(), size as i64 - 1);
        assert_eq!(call(&mut client, "HEXISTS h f1").int(), 0);
        assert_eq!(call(&mut client, "HSTRLEN h f1").int(), 0);
        assert_eq!(
            shown(&mut client, "HMGET h f2 f4 none"),
            r#"[$-1, "v4", $-1]"#
        );
        assert_eq!(call(&mut client, "HLEN h").int(), size as i64 - 3);
        // It removes what is left before it draws.
        for _ in 0..50 {
            let drawn = call(&mut client, "HRANDFIELD h 3 WITHVALUES");
            assert!(
                drawn.items().iter().all(|word| word.text() != "f3"),
                "{drawn:?}"
            );
        }
        assert_eq!(call(&mut client, "HLEN h").int(), left);
    }
}

#[test]
fn a_hash_goes_with_its_last_field() {
    let (_server, mut client) = quiet();
    for size in SIZES {
        let fields: Vec<String> = (0..size).map(|i| format!("f{i}")).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        for line in [
            format!("HMGET h {}", fields.join(" ")),
            "HRANDFIELD h 5".to_owned(),
            "HRANDFIELD h".to_owned(),
            format!("HGETDEL h FIELDS {size} {}", fields.join(" ")),
            format!("HGETEX h FIELDS {size} {}", fields.join(" ")),
            format!("HEXPIRE h 100 FIELDS {size} {}", fields.join(" ")),
            format!("HPERSIST h FIELDS {size} {}", fields.join(" ")),
        ] {
            fill(&mut client, "h", size);
            lapse(&mut client, "h", &fields);
            assert_eq!(call(&mut client, "EXISTS h").int(), 1);
            assert_eq!(shown(&mut client, "HGETALL h"), "[]");
            call(&mut client, &line);
            assert_eq!(call(&mut client, "EXISTS h").int(), 0, "{line}");
        }
        // Asking when they expire removes nothing.
        fill(&mut client, "h", size);
        lapse(&mut client, "h", &fields);
        assert_eq!(shown(&mut client, "HTTL h FIELDS 2 f0 f1"), "[:-2, :-2]");
        assert_eq!(call(&mut client, "HLEN h").int(), size as i64);
        call(&mut client, "DEL h");
    }
}

#[test]
fn writes_begin_anew_with_an_expired_field() {
    let (_server, mut client) = quiet();
    for size in SIZES {
        for (line, reply) in [
            ("HINCRBY h f0 2", ":2"),
            ("HINCRBYFLOAT h f0 2.5", r#""2.5""#),
            ("HSETNX h f0 x", ":1"),
            ("HSETEX h FNX FIELDS 1 f0 x", ":1"),
            ("HSETEX h FXX FIELDS 1 f0 x", ":0"),
            ("HGETEX h EX 100 FIELDS 1 f0", "[$-1]"),
            ("HGETDEL h FIELDS 1 f0", "[$-1]"),
            // These do not look: the field lies there.
            ("HSET h f0 x", ":0"),
            ("HDEL h f0", ":1"),
        ] {
            call(&mut client, "FLUSHALL").ok();
            fill(&mut client, "h", size);
            call(&mut client, "HSET h f0 10");
            lapse(&mut client, "h", &["f0"]);
            assert_eq!(shown(&mut client, line), reply, "{line}");
            let ttl = call(&mut client, "HTTL h FIELDS 1 f0").items()[0].int();
            let there = call(&mut client, "HEXISTS h f0").int();
            assert_eq!(ttl, if there == 1 { -1 } else { -2 }, "{line}");
        }
    }
}

#[test]
fn sorting_scripts_and_transactions_see_the_same() {
    let (_server, mut client) = quiet();
    for size in SIZES {
        call(&mut client, "FLUSHALL").ok();
        call(&mut client, "RPUSH l 1 2");
        fill(&mut client, "h_1", size);
        fill(&mut client, "h_2", size);
        lapse(&mut client, "h_1", &["f0"]);
        assert_eq!(
            shown(&mut client, "SORT l BY nosort GET h_*->f0"),
            r#"[$-1, "v0"]"#
        );
        assert_eq!(call(&mut client, "HLEN h_1").int(), size as i64 - 1);
        lapse(&mut client, "h_2", &["f0", "f1"]);
        let script = "return{redis.call('HGET',KEYS[1],'f0'),redis.call('HLEN',KEYS[1]),redis.call('HEXISTS',KEYS[1],'f1')}";
        let reply = client.call(&["EVAL", script, "1", "h_2"]);
        let left = size - 1;
        assert_eq!(format!("{reply:?}"), format!("[$-1, :{left}, :0]"));
        assert_eq!(call(&mut client, "HLEN h_2").int(), size as i64 - 2);
        // A transaction of readers alone, and a watched key.
        lapse(&mut client, "h_1", &["f2", "f3"]);
        call(&mut client, "WATCH h_1").ok();
        call(&mut client, "MULTI").ok();
        call(&mut client, "HGET h_1 f2");
        call(&mut client, "HLEN h_1");
        assert_eq!(shown(&mut client, "EXEC"), format!("[$-1, :{}]", size - 2));
        call(&mut client, "WATCH h_1").ok();
        assert_eq!(shown(&mut client, "HGET h_1 f3"), "$-1");
        call(&mut client, "MULTI").ok();
        call(&mut client, "PING");
        assert_eq!(shown(&mut client, "EXEC"), "*-1");
    }
}

#[test]
fn the_cycle_removes_what_nobody_meets() {
    let server = Launch::eagledb()
        .option("hash-max-listpack-entries", "8")
        .start();
    let mut client = server.client();
    for size in SIZES {
        fill(&mut client, &format!("whole{size}"), size);
        fill(&mut client, &format!("part{size}"), size);
        for i in 0..size {
            call(
                &mut client,
                &format!("HPEXPIRE whole{size} {} FIELDS 1 f{i}", 20 + 3 * i),
            );
        }
        call(
            &mut client,
            &format!("HPEXPIRE part{size} 30 FIELDS 2 f0 f1"),
        );
        call(&mut client, &format!("COPY part{size} copy{size}"));
        call(&mut client, &format!("MOVE part{size} 3"));
    }
    let limit = Duration::from_secs(20);
    wait_until("all of them to be gone", limit, || {
        call(&mut client, "DBSIZE").int() == 2
    });
    for db in [0, 3] {
        call(&mut client, &format!("SELECT {db}")).ok();
        for size in SIZES {
            let name = if db == 0 { "copy" } else { "part" };
            wait_until("two to be gone", limit, || {
                call(&mut client, &format!("HLEN {name}{size}")).int() == size as i64 - 2
            });
        }
    }
}

/// Events are told in the order of the changes.
#[test]
fn what_becomes_of_fields_is_told() {
    let (server, mut client) = quiet();
    let mut listener = server.client();
    call(&mut listener, "PSUBSCRIBE __keyevent@0__:*");
    let mut told = |client: &mut Client| {
        call(client, "SET mark 1");
        let mut events = Vec::new();
        loop {
            let message = listener.receive_within(Duration::from_secs(20)).unwrap();
            let [_, _, channel, key] = message.items() else {
                panic!("{message:?}");
            };
            let event = channel.text().replace("__keyevent@0__:", "");
            match (event.as_str(), key.text().as_str()) {
                ("new", "mark") => {}
                ("set", "mark") => return events.join(" "),
                ("expired" | "new", _) => {}
                _ => events.push(event),
            }
        }
    };
    for size in SIZES {
        for (line, events) in [
            ("HEXPIRE h 100 FIELDS 1 f0", "hset hexpire"),
            ("HEXPIRE h 100 XX FIELDS 1 f0", "hset"),
            ("HEXPIRE h 0 FIELDS 1 f0", "hset hdel"),
            ("HPERSIST h FIELDS 1 f0", "hset"),
            ("HGETEX h EX 100 FIELDS 1 f0", "hset hexpire"),
            ("HGETEX h PXAT 1 FIELDS 2 f0 f1", "hset hdel"),
            ("HGETEX h FIELDS 1 f0", "hset"),
            ("HGETDEL h FIELDS 1 f0", "hset hdel"),
            ("HSETEX h FIELDS 1 f0 x", "hset hset"),
            ("HSETEX h EX 100 FIELDS 1 f0 x", "hset hset hexpire"),
            ("HSETEX h EX 0 FIELDS 1 f0 x", "hset hset hdel"),
            ("HSETEX h FNX FIELDS 1 f0 x", "hset"),
        ] {
            call(&mut client, "FLUSHALL").ok();
            fill(&mut client, "h", size);
            call(&mut client, line);
            assert_eq!(told(&mut client), events, "{line}");
        }
        call(&mut client, "FLUSHALL").ok();
        call(&mut client, "HSETEX h EX 0 FIELDS 1 f x");
        assert_eq!(told(&mut client), "hset hdel del");
        call(&mut client, "HSETEX h EX 100 FIELDS 1 f x");
        call(&mut client, "HPERSIST h FIELDS 1 f");
        call(&mut client, "HGETEX h EX 100 FIELDS 1 f");
        call(&mut client, "HGETEX h PERSIST FIELDS 1 f");
        assert_eq!(told(&mut client), "hset hexpire hpersist hexpire hpersist");
        for line in ["HEXPIRE h 0 FIELDS 1 f", "HGETDEL h FIELDS 1 f"] {
            call(&mut client, "HSET h f x");
            call(&mut client, line);
            assert_eq!(told(&mut client), "hset hdel del", "{line}");
        }
        for (line, events) in [
            ("HGET h f0", "hexpired"),
            ("HMGET h f0 f1", "hexpired"),
            ("HRANDFIELD h", "hexpired"),
            ("HINCRBY h f0 1", "hexpired hincrby"),
            ("HSETNX h f0 1", "hexpired hset"),
            ("HSETEX h FNX FIELDS 1 f0 x", "hexpired hset"),
            ("HSETEX h FXX FIELDS 1 f0 x", "hexpired"),
            ("HGETDEL h FIELDS 2 f0 f2", "hexpired hdel"),
            ("HGETEX h EX 10 FIELDS 2 f0 f2", "hexpired hexpire"),
            ("HGETALL h", ""),
        ] {
            call(&mut client, "FLUSHALL").ok();
            fill(&mut client, "h", size);
            lapse(&mut client, "h", &["f0", "f1"]);
            told(&mut client);
            call(&mut client, line);
            assert_eq!(told(&mut client), events, "{line}");
        }
        call(&mut client, "FLUSHALL").ok();
        call(&mut client, "HSET h f x");
        lapse(&mut client, "h", &["f"]);
        told(&mut client);
        call(&mut client, "HGET h f");
        assert_eq!(told(&mut client), "hexpired del");
        // The cycle tells the same.
        call(&mut client, "HSET h f x");
        call(&mut client, "HPEXPIRE h 1 FIELDS 1 f");
        call(&mut client, "DEBUG SET-ACTIVE-EXPIRE 1").ok();
        wait_until("the hash to be gone", Duration::from_secs(20), || {
            call(&mut client, "EXISTS h").int() == 0
        });
        call(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0").ok();
        assert_eq!(told(&mut client), "hset hexpire hexpired del");
    }
}

/// What the log ring of a killed server has, an instant of the clock as `*`.
fn log(server: &mut Server) -> Vec<String> {
    let pool = server.pool_path().expect("a pool file");
    server.kill9();
    let out = std::process::Command::new(eagledb())
        .args(["pool", "log", "--raw"])
        .arg(pool)
        .output()
        .expect("the binary runs");
    assert!(out.status.success(), "{out:?}");
    let mut input = &out.stdout[..];
    let mut lines = Vec::new();
    while let Ok(command) = Reply::read(&mut input) {
        let words = command.items().iter().map(Reply::text);
        let is_instant = |word: &str| word.len() == 13 && word.parse::<u64>().is_ok();
        let words: Vec<String> = words
            .map(|word| {
                if is_instant(&word) {
                    "*".to_owned()
                } else {
                    word
                }
            })
            .collect();
        lines.push(words.join(" "));
    }
    lines
}

#[test]
fn the_log_has_what_does_not_depend_on_the_clock() {
    let (mut server, mut client) = quiet();
    for line in [
        "HSET h x1 y1 x2 y2 a 1 b 2",
        "HEXPIREAT h 1 FIELDS 3 x1 x2 none",
        "HEXPIRE h 10 XX FIELDS 3 a b none",
        "HPEXPIRE h 100000 NX FIELDS 3 a b none",
        "HEXPIRE h 200 GT FIELDS 1 a",
        "HPEXPIREAT h 4102444800000 LT FIELDS 1 none",
        "HPERSIST h FIELDS 1 none",
        "HPERSIST h FIELDS 2 a none",
        "HSETEX h FIELDS 1 c 3",
        "HSETEX h FXX KEEPTTL FIELDS 1 c 4",
        "HSETEX h FNX FIELDS 1 c 4",
        "HSETEX h FXX EX 100 FIELDS 1 c 5",
        "HSETEX h PXAT 4102444800000 FIELDS 1 c 6",
        "HSETEX h PX 0 FIELDS 2 c 6 d 7",
        "HGETEX h FIELDS 1 a",
        "HGETEX h EX 100 FIELDS 2 a none",
        "HGETEX h PERSIST FIELDS 1 a",
        "HGETEX h PERSIST FIELDS 1 a",
        "HGETEX h EXAT 1 FIELDS 2 a none",
        "HSET h n 1 m 2",
        "HEXPIRE h 100 FIELDS 1 n",
        "HINCRBYFLOAT h n 0.5",
        "HINCRBYFLOAT h m 0.5",
        "HGETDEL h FIELDS 2 m none",
    ] {
        assert_eq!(call(&mut client, line).error(), None, "{line}");
    }
    for line in [
        "HGET g f0",
        "HSETNX g f0 x",
        "HSETEX g FNX FIELDS 1 f0 x",
        "HRANDFIELD g",
        "HMGET g f0 f1",
    ] {
        call(&mut client, "DEL g");
        fill(&mut client, "g", 3);
        lapse(&mut client, "g", &["f0"]);
        call(&mut client, line);
    }
    let logged = log(&mut server);
    let expected = "
        SELECT 0
        HSET h x1 y1 x2 y2 a 1 b 2
        MULTI
        HDEL h x1
        HDEL h x2
        EXEC
        HPEXPIREAT h * NX FIELDS 2 a b
        HPEXPIREAT h * GT FIELDS 1 a
        HPERSIST h FIELDS 2 a none
        HSETEX h FIELDS 1 c 3
        HSETEX h FXX KEEPTTL FIELDS 1 c 4
        HSETEX h FXX PXAT * FIELDS 1 c 5
        HSETEX h PXAT * FIELDS 1 c 6
        MULTI
        HDEL h c
        HDEL h d
        EXEC
        HPEXPIREAT h * FIELDS 2 a none
        HPERSIST h FIELDS 1 a
        HDEL h a
        HSET h n 1 m 2
        HPEXPIREAT h * FIELDS 1 n
        HSETEX h KEEPTTL FIELDS 1 n 1.5
        HSET h m 2.5
        HDEL h m none
        HSET g f0 v0 f1 v1 f2 v2
        HPEXPIREAT g * FIELDS 1 f0
        HDEL g f0
        DEL g
        HSET g f0 v0 f1 v1 f2 v2
        HPEXPIREAT g * FIELDS 1 f0
        MULTI
        HDEL g f0
        HSETNX g f0 x
        EXEC
        DEL g
        HSET g f0 v0 f1 v1 f2 v2
        HPEXPIREAT g * FIELDS 1 f0
        MULTI
        HDEL g f0
        HSETEX g FNX FIELDS 1 f0 x
        EXEC
        DEL g
        HSET g f0 v0 f1 v1 f2 v2
        HPEXPIREAT g * FIELDS 1 f0
        HDEL g f0
        DEL g
        HSET g f0 v0 f1 v1 f2 v2
        HPEXPIREAT g * FIELDS 1 f0
        HDEL g f0";
    let expected: Vec<&str> = expected.lines().map(str::trim).skip(1).collect();
    assert_eq!(logged, expected);
}

#[test]
fn expiries_survive_dump_restore_reload_and_restarts() {
    let mut server = Launch::eagledb()
        .option("hash-max-listpack-entries", "8")
        .start();
    let mut client = server.client();
    let mut dumps = Vec::new();
    for size in SIZES {
        let key = format!("h{size}");
        fill(&mut client, &key, size);
        call(
            &mut client,
            &format!("HPEXPIREAT {key} 4102444800000 FIELDS 2 f0 f1"),
        );
        call(
            &mut client,
            &format!("HPEXPIREAT {key} 4102444900000 FIELDS 1 f2"),
        );
        let dump = client.call(&["DUMP", &key]).bytes().unwrap().to_vec();
        // Types 25 and 24 of Redis 7.4, whose format has version 12.
        assert_eq!(dump[0], if size < 8 { 25 } else { 24 });
        assert_eq!(dump[dump.len() - 10], 12);
        dumps.push((key, size, dump));
    }
    let times = |client: &mut Client, key: &str| {
        shown(client, &format!("HPEXPIRETIME {key} FIELDS 4 f0 f1 f2 f3"))
    };
    let expected = "[:4102444800000, :4102444800000, :4102444900000, :-1]";
    for (key, size, dump) in &dumps {
        let copy = format!("copy{size}");
        let words: [&[u8]; 4] = [b"RESTORE", copy.as_bytes(), b"0", dump];
        client.call(&words).ok();
        assert_eq!(times(&mut client, &copy), expected);
        let encoding = shown(&mut client, &format!("OBJECT ENCODING {copy}"));
        assert_eq!(
            encoding,
            shown(&mut client, &format!("OBJECT ENCODING {key}"))
        );
        let digest =
            |client: &mut Client, key: &str| shown(client, &format!("DEBUG DIGEST-VALUE {key}"));
        assert_eq!(digest(&mut client, &copy), digest(&mut client, key));
        call(&mut client, &format!("HPERSIST {key} FIELDS 3 f0 f1 f2"));
        assert_ne!(digest(&mut client, &copy), digest(&mut client, key));
        // Without expiries it is written as ever.
        let dump = client.call(&["DUMP", key]).bytes().unwrap().to_vec();
        assert_eq!(
            (dump[0], dump[dump.len() - 10]),
            (if *size < 8 { 16 } else { 4 }, 10)
        );
    }
    call(&mut client, "DEBUG RELOAD").ok();
    for (_, size, _) in &dumps {
        assert_eq!(times(&mut client, &format!("copy{size}")), expected);
    }
    server.kill9();
    server.start();
    let mut client = server.client();
    for (_, size, _) in &dumps {
        assert_eq!(times(&mut client, &format!("copy{size}")), expected);
    }
    // What came due while nobody was there is found.
    call(&mut client, "HPEXPIRE copy6 50 FIELDS 1 f0");
    server.kill9();
    std::thread::sleep(Duration::from_millis(60));
    server.start();
    let mut client = server.client();
    wait_until("the field to be gone", Duration::from_secs(20), || {
        call(&mut client, "HLEN copy6").int() == 5
    });
    let pool = server.pool_path().expect("a pool file");
    server.kill9();
    check_pool(&pool);
}

/// Fields with their values and when they expire.
type Fields = BTreeMap<usize, (u64, Option<u64>)>;

const FIELDS: usize = 24;

/// Instants too far away to come.
const FAR_MS: u64 = 4_102_444_800_000;

/// A random command and what it makes of a hash.
fn step(rng: &mut SmallRng, old: &Fields) -> (String, Fields) {
    let (field, value) = (rng.random_range(0..FIELDS), rng.random_range(0..1000u64));
    let at = FAR_MS + rng.random_range(0..5000u64);
    let mut new = old.clone();
    let held = old.get(&field).copied();
    let line = match rng.random_range(0..8) {
        0 => {
            new.insert(field, (value, None));
            format!("HSET h {field} {value}")
        }
        1 => {
            new.insert(field, (value, Some(at)));
            format!("HSETEX h PXAT {at} FIELDS 1 {field} {value}")
        }
        2 => {
            let add = held.map_or(0, |(old, _)| old) + value;
            new.insert(field, (add, held.and_then(|(_, at)| at)));
            format!("HINCRBY h {field} {value}")
        }
        3 | 4 => {
            if let Some((old, _)) = held {
                new.insert(field, (old, Some(at)));
            }
            format!("HPEXPIREAT h {at} FIELDS 1 {field}")
        }
        5 => {
            if let Some((old, _)) = held {
                new.insert(field, (old, None));
            }
            format!("HPERSIST h FIELDS 1 {field}")
        }
        6 => {
            new.remove(&field);
            format!("HPEXPIREAT h 1 FIELDS 1 {field}")
        }
        _ => {
            new.remove(&field);
            format!("HGETDEL h FIELDS 1 {field}")
        }
    };
    (line, new)
}

fn found(client: &mut Client) -> Fields {
    let all = call(client, "HGETALL h");
    let pairs = all.items().chunks(2);
    pairs
        .map(|pair| {
            let field: usize = pair[0].text().parse().unwrap();
            let at = call(client, &format!("HPEXPIRETIME h FIELDS 1 {field}")).items()[0].int();
            let value = pair[1].text().parse().unwrap();
            (field, (value, u64::try_from(at).ok()))
        })
        .collect()
}

#[test]
fn kill_9_loses_no_acknowledged_change_of_a_field() {
    let seed = std::env::var("EAGLEDB_SEED").map_or(u64::from(std::process::id()), |text| {
        text.parse().expect("a number")
    });
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut server = Launch::eagledb()
        .option("hash-max-listpack-entries", "8")
        .start();
    let pool = server.pool_path().expect("a pool file");
    let mut before = Fields::new();
    for _ in 0..8 {
        let mut client = server.client();
        let pid = server.pid();
        // Killed from beside while commands are under way.
        let after_ms = rng.random_range(5..60);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(after_ms));
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        });
        let after = loop {
            let (line, after) = step(&mut rng, &before);
            let words: Vec<&str> = line.split(' ').collect();
            match client.try_call(&words) {
                Ok(reply) => assert_eq!(reply.error(), None, "{line}"),
                Err(_) => break after,
            }
            before = after;
        };
        killer.join().unwrap();
        server.kill9();
        check_pool(&pool);
        server.start();
        let found = found(&mut server.client());
        assert!(
            found == before || found == after,
            "{found:?}, not {before:?} or {after:?}"
        );
        before = found;
    }
}
