//! Every command of the table, sent in proxy mode to a node that does not serve its key, does what
//! `eagle-server/FORWARDING.md` says, and is answered as the owner answers it.

use std::collections::BTreeMap;
use std::time::Duration;

use eagledb_tests::binary::workspace;
use eagledb_tests::{Client, Cluster, Launch, Reply};

/// Examples of the commands with keys: lines that prepare, separated by `;`, then the command. `<a>` is a key.
/// A command without an example is sent with `1` for every argument that is no key.
const EXAMPLES: &[&str] = &[
    "SET <a> x; APPEND <a> yz",
    "SET <a> foobar; BITCOUNT <a> 0 1",
    "BITFIELD <a> SET u8 0 200 INCRBY u8 0 100 OVERFLOW SAT",
    "SET <a> foobar; BITFIELD_RO <a> GET u8 8",
    "SET <a> foobar; SET <b> abcdef; BITOP XOR <c> <a> <b>",
    "SET <a> foobar; BITPOS <a> 1 2",
    "RPUSH <a> 1 2; BLMOVE <a> <b> LEFT RIGHT 0.01",
    "RPUSH <b> 1 2; BLMPOP 0.01 2 <a> <b> LEFT COUNT 5",
    "RPUSH <b> 1 2; BLPOP <a> <b> 0.01",
    "BRPOP <a> <b> 0.01",
    "RPUSH <a> 1 2; BRPOPLPUSH <a> <b> 0",
    "ZADD <a> 1 x 2 y; BZMPOP 0 1 <a> MAX",
    "ZADD <a> 1 x 2 y; BZPOPMAX <a> 1",
    "ZADD <b> 1 x 2 y; BZPOPMIN <a> <b> 0",
    "SET <a> 1; COPY <a> <b> REPLACE",
    "SET <a> 5; DECR <a>",
    "SET <a> 5; DECRBY <a> 3",
    "SET <a> 5; DEL <a> <b>",
    "SET <a> 5; DUMP <a>",
    "EVAL return{KEYS[1]==ARGV[1],redis.call('set',KEYS[1],ARGV[2])} 1 <a> k v",
    "SET <a> v; EVAL_RO return{redis.call('get',KEYS[1])} 1 <a>",
    "EVALSHA 7a56db50d864be7914e88587bc6f9bdb4fe09ec0 1 <a>",
    "EVALSHA_RO 7a56db50d864be7914e88587bc6f9bdb4fe09ec0 1 <a>",
    "SET <a> 1; EXISTS <a> <b> <a>",
    "SET <a> 1; EXPIRE <a> 100 NX",
    "SET <a> 1; EXPIREAT <a> 32503680000",
    "SET <a> 1 PXAT 32503680000000; EXPIRETIME <a>",
    "FCALL keep 1 <a> v",
    "SET <a> v; FCALL_RO look 1 <a>",
    "GEOADD <a> CH 13.361389 38.115556 Palermo",
    "GEOADD <a> 13.361389 38.115556 P 15.087269 37.502669 C; GEODIST <a> P C km",
    "GEOADD <a> 13.361389 38.115556 P; GEOHASH <a> P x",
    "GEOADD <a> 13.361389 38.115556 P; GEOPOS <a> P x",
    "GEOADD <a> 13.361389 38.115556 P; GEORADIUS <a> 15 37 200 km WITHDIST STORE <b>",
    "GEOADD <a> 13.361389 38.115556 P; GEORADIUS <a> 15 37 200 km STORE <b>",
    "GEOADD <a> 13.361389 38.115556 P; GEORADIUS_RO <a> 15 37 200 km WITHDIST",
    "GEOADD <a> 13.361389 38.115556 P; GEORADIUSBYMEMBER <a> P 200 km",
    "GEOADD <a> 13.361389 38.115556 P; GEORADIUSBYMEMBER_RO <a> P 200 km WITHCOORD",
    "GEOADD <a> 13.361389 38.115556 P; GEOSEARCH <a> FROMLONLAT 15 37 BYRADIUS 200 km ASC WITHDIST",
    "GEOADD <a> 13.361389 38.115556 P; GEOSEARCHSTORE <b> <a> FROMMEMBER P BYBOX 400 400 km",
    "SET <a> x; GET <a>",
    "RPUSH <a> x; GET <a>",
    "SETBIT <a> 7 1; GETBIT <a> 7",
    "SET <a> x; GETDEL <a>",
    "SET <a> x; GETEX <a> PXAT 32503680000000",
    "SET <a> foobar; GETRANGE <a> 1 -2",
    "SET <a> x; GETSET <a> y",
    "HSET <a> f v g w; HDEL <a> f h",
    "HSET <a> f v; HEXISTS <a> f",
    "HSET <a> f v; HGET <a> f",
    "HSET <a> f v; HGETALL <a>",
    "HSET <a> f 1; HINCRBY <a> f 2",
    "HSET <a> f 1; HINCRBYFLOAT <a> f 0.5",
    "HSET <a> f v; HKEYS <a>",
    "HSET <a> f v; HLEN <a>",
    "HSET <a> f v; HMGET <a> f g",
    "HMSET <a> f v",
    "HSET <a> f v; HRANDFIELD <a> 1 WITHVALUES",
    "HSET <a> f v; HSCAN <a> 0 MATCH f",
    "HSET <a> f v",
    "HSETNX <a> f v",
    "HSET <a> f value; HSTRLEN <a> f",
    "HSET <a> f v; HVALS <a>",
    "INCR <a>",
    "INCRBY <a> 7",
    "INCRBYFLOAT <a> 1.5",
    "SET <a> ohmytext; SET <b> mynewtext; LCS <a> <b> IDX WITHMATCHLEN",
    "RPUSH <a> x y; LINDEX <a> -1",
    "RPUSH <a> x y; LINSERT <a> BEFORE y z",
    "RPUSH <a> x y; LLEN <a>",
    "RPUSH <a> x y; LMOVE <a> <b> LEFT LEFT",
    "RPUSH <b> x y; LMPOP 2 <a> <b> RIGHT",
    "RPUSH <a> x y; LPOP <a> 2",
    "RPUSH <a> x y x; LPOS <a> x COUNT 0",
    "LPUSH <a> x y",
    "LPUSHX <a> x",
    "RPUSH <a> x y; LRANGE <a> 0 -1",
    "RPUSH <a> x y x; LREM <a> 0 x",
    "RPUSH <a> x y; LSET <a> 0 z",
    "RPUSH <a> x y z; LTRIM <a> 1 1",
    "SET <a> x; MEMORY USAGE <a>",
    "SET <a> x; MGET <a> <b>",
    "MOVE <a> 1",
    "MIGRATE 127.0.0.1 1 <a> 0 100",
    "MSET <a> 1 <b> 2",
    "MSETNX <a> 1 <b> 2",
    "SET <a> 5; OBJECT ENCODING <a>",
    "SET <a> 5; OBJECT FREQ <a>",
    "SET <a> 5; OBJECT IDLETIME <a>",
    "RPUSH <a> 5; OBJECT REFCOUNT <a>",
    "SET <a> 5 EX 100; PERSIST <a>",
    "SET <a> 5; PEXPIRE <a> 100000 GT",
    "SET <a> 5; PEXPIREAT <a> 32503680000000",
    "SET <a> 5 PXAT 32503680000000; PEXPIRETIME <a>",
    "PFADD <a> x y",
    "PFADD <a> x y; PFADD <b> z; PFCOUNT <a> <b>",
    "PFADD <a> x; PFDEBUG ENCODING <a>",
    "PFADD <a> x; PFMERGE <b> <a>",
    "PSETEX <a> 100000 v",
    "SET <a> 5; PTTL <a>",
    "SET <a> 5; RENAME <a> <b>",
    "SET <a> 5; RENAMENX <a> <b>",
    "RESTORE <a> 0 x",
    "RESTORE-ASKING <a> 0 x",
    "RPUSH <a> x y; RPOP <a>",
    "RPUSH <a> x y; RPOPLPUSH <a> <b>",
    "RPUSH <a> x y",
    "RPUSHX <a> x y",
    "SADD <a> x y",
    "SADD <a> x y; SCARD <a>",
    "SADD <a> x y; SADD <b> y; SDIFF <a> <b>",
    "SADD <a> x y; SADD <b> y; SDIFFSTORE <c> <a> <b>",
    "SET <a> v GET KEEPTTL",
    "SETBIT <a> 7 1",
    "SETEX <a> 100 v",
    "SETNX <a> v",
    "SETRANGE <a> 3 v",
    "SADD <a> x y; SADD <b> y; SINTER <a> <b>",
    "SADD <a> x y; SADD <b> y; SINTERCARD 2 <a> <b> LIMIT 1",
    "SADD <a> x y; SADD <b> y; SINTERSTORE <c> <a> <b>",
    "SADD <a> x y; SISMEMBER <a> x",
    "SADD <a> x; SMEMBERS <a>",
    "SADD <a> x; SMISMEMBER <a> x y",
    "SADD <a> x; SMOVE <a> <b> x",
    "RPUSH <a> 3 1 2; SORT <a> DESC STORE <b>",
    "RPUSH <a> 3 1 2; SORT_RO <a> LIMIT 0 2",
    "SADD <a> x; SPOP <a>",
    "SPUBLISH <a> hello",
    "SADD <a> x; SRANDMEMBER <a> 1",
    "SADD <a> x y; SREM <a> x z",
    "SADD <a> x; SSCAN <a> 0",
    "SET <a> foobar; STRLEN <a>",
    "SET <a> foobar; SUBSTR <a> 0 1",
    "SADD <a> x; SADD <b> x; SUNION <a> <b>",
    "SADD <a> x; SADD <b> y; SUNIONSTORE <c> <a> <b>",
    "SET <a> 1; TOUCH <a> <b>",
    "SET <a> 1 EX 100; TTL <a>",
    "SET <a> 1; TYPE <a>",
    "SET <a> 1; UNLINK <a> <b>",
    "XADD <a> 1-1 f v; XGROUP CREATE <a> g 0; XREADGROUP GROUP g c STREAMS <a> >; XACK <a> g 1-1",
    "XADD <a> NOMKSTREAM 1-1 f v",
    "XADD <a> 1-1 f v",
    "XADD <a> 1-1 f v; XGROUP CREATE <a> g 0; XREADGROUP GROUP g c STREAMS <a> >; XAUTOCLAIM <a> g d 0 0",
    "XADD <a> 1-1 f v; XGROUP CREATE <a> g 0; XREADGROUP GROUP g c STREAMS <a> >; XCLAIM <a> g d 0 1-1 JUSTID",
    "XADD <a> 1-1 f v; XDEL <a> 1-1",
    "XGROUP CREATE <a> g $ MKSTREAM",
    "XGROUP CREATE <a> g $ MKSTREAM; XGROUP CREATECONSUMER <a> g c",
    "XGROUP CREATE <a> g $ MKSTREAM; XGROUP DELCONSUMER <a> g c",
    "XGROUP CREATE <a> g $ MKSTREAM; XGROUP DESTROY <a> g",
    "XGROUP CREATE <a> g $ MKSTREAM; XGROUP SETID <a> g 5",
    "XGROUP CREATE <a> g $ MKSTREAM; XINFO CONSUMERS <a> g",
    "XGROUP CREATE <a> g $ MKSTREAM; XINFO GROUPS <a>",
    "XADD <a> 1-1 f v; XINFO STREAM <a>",
    "XADD <a> 1-1 f v; XLEN <a>",
    "XGROUP CREATE <a> g $ MKSTREAM; XPENDING <a> g",
    "XADD <a> 1-1 f v; XRANGE <a> - +",
    "XADD <a> 1-1 f v; XREAD COUNT 1 BLOCK 10 STREAMS <a> <b> 0 0",
    "XADD <a> 1-1 f v; XREAD STREAMS <a> 0",
    "XREAD BLOCK 10 STREAMS <a> $",
    "XADD <a> 1-1 f v; XGROUP CREATE <a> g 0; XREADGROUP GROUP g c BLOCK 10 STREAMS <a> >",
    "XADD <a> 1-1 f v; XREVRANGE <a> + -",
    "XADD <a> 1-1 f v; XSETID <a> 5-0",
    "XADD <a> 1-1 f v; XADD <a> 2-1 f v; XTRIM <a> MAXLEN 1",
    "ZADD <a> CH 1 x 2 y",
    "ZADD <a> 1 x; ZCARD <a>",
    "ZADD <a> 1 x; ZCOUNT <a> -inf (1",
    "ZADD <a> 1 x; ZDIFF 2 <a> <b> WITHSCORES",
    "ZADD <a> 1 x; ZDIFFSTORE <c> 2 <a> <b>",
    "ZINCRBY <a> 2.5 x",
    "ZADD <a> 1 x; ZADD <b> 2 x; ZINTER 2 <a> <b> WITHSCORES",
    "ZADD <a> 1 x; ZADD <b> 2 x; ZINTERCARD 2 <a> <b>",
    "ZADD <a> 1 x; ZADD <b> 2 x; ZINTERSTORE <c> 2 <a> <b> WEIGHTS 2 3",
    "ZADD <a> 0 x 0 y; ZLEXCOUNT <a> - (y",
    "ZADD <b> 0 x 0 y; ZMPOP 2 <a> <b> MIN COUNT 2",
    "ZADD <a> 1 x; ZMSCORE <a> x y",
    "ZADD <a> 1 x 2 y; ZPOPMAX <a>",
    "ZADD <a> 1 x 2 y; ZPOPMIN <a> 2",
    "ZADD <a> 1 x; ZRANDMEMBER <a> 1 WITHSCORES",
    "ZADD <a> 1 x 2 y; ZRANGE <a> 0 -1 REV WITHSCORES",
    "ZADD <a> 0 x 0 y; ZRANGEBYLEX <a> - +",
    "ZADD <a> 1 x 2 y; ZRANGEBYSCORE <a> 1 +inf WITHSCORES",
    "ZADD <a> 1 x 2 y; ZRANGESTORE <b> <a> 0 0",
    "ZADD <a> 1 x 2 y; ZRANK <a> y",
    "ZADD <a> 1 x 2 y; ZREM <a> y z",
    "ZADD <a> 0 x 0 y; ZREMRANGEBYLEX <a> [x [x",
    "ZADD <a> 1 x 2 y; ZREMRANGEBYRANK <a> 0 0",
    "ZADD <a> 1 x 2 y; ZREMRANGEBYSCORE <a> 1 1",
    "ZADD <a> 1 x 2 y; ZREVRANGE <a> 0 -1",
    "ZADD <a> 0 x 0 y; ZREVRANGEBYLEX <a> + -",
    "ZADD <a> 1 x 2 y; ZREVRANGEBYSCORE <a> 2 1",
    "ZADD <a> 1 x 2 y; ZREVRANK <a> y",
    "ZADD <a> 1 x; ZSCAN <a> 0",
    "ZADD <a> 1 x; ZSCORE <a> x",
    "ZADD <a> 1 x; ZUNION 2 <a> <b> WITHSCORES",
    "ZADD <a> 1 x; ZUNIONSTORE <c> 2 <a> <b>",
];

/// The script that EVALSHA names above.
const SCRIPT: &str = "return redis.call('type', KEYS[1])";

/// The functions that FCALL names above.
const LIBRARY: &str = "#!lua name=kept
redis.register_function('keep', function(keys, args) return redis.call('set', keys[1], args[1]) end)
redis.register_function{function_name='look', callback=function(keys) return redis.call('get', keys[1]) end, flags={'no-writes'}}";

/// Hash tags of slots 12182 and 12539, which the last of three nodes serves.
const FORWARDED: &str = "{foo}";
const DIRECT: &str = "{key}";

fn cluster() -> Cluster {
    let cluster = Cluster::forwarding();
    for node in &cluster.nodes {
        node.client().call(&["FUNCTION", "LOAD", LIBRARY]);
    }
    // Only the forwarding node knows the script.
    let sha = cluster.nodes[0].client().call(&["SCRIPT", "LOAD", SCRIPT]);
    assert_eq!(sha.text(), sha_of_examples());
    cluster
}

fn sha_of_examples() -> String {
    let line = EXAMPLES.iter().find(|line| line.starts_with("EVALSHA "));
    line.expect("an example")
        .split(' ')
        .nth(1)
        .expect("a sha1")
        .to_owned()
}

/// A command of the server: its name as the document spells it, its words, arity, and where its first key is.
struct Row {
    name: String,
    words: Vec<String>,
    arity: i64,
    first_key: usize,
    has_keys: bool,
}

fn rows(client: &mut Client) -> Vec<Row> {
    let mut rows = Vec::new();
    for command in client.call(&["COMMAND"]).items() {
        let subcommands = command.items()[9].items();
        if subcommands.is_empty() {
            rows.push(row(command));
        } else {
            rows.extend(subcommands.iter().map(row));
        }
    }
    rows
}

fn row(info: &Reply) -> Row {
    let fields = info.items();
    let name = fields[0].text().replace('|', " ");
    Row {
        words: name.split(' ').map(str::to_owned).collect(),
        name,
        arity: fields[1].int(),
        first_key: fields[3].int() as usize,
        has_keys: !fields[8].items().is_empty(),
    }
}

/// What the document says of each command.
fn document() -> BTreeMap<String, String> {
    let path = workspace().join("eagle-server/FORWARDING.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let (_, commands) = text
        .split_once("\n## Commands\n")
        .expect("its second table");
    let rows = commands.lines().filter_map(|line| {
        let (name, kind) = line
            .strip_prefix("| ")?
            .strip_suffix(" |")?
            .split_once(" | ")?;
        Some((name.to_owned(), kind.to_owned()))
    });
    rows.skip(1).collect()
}

/// The words of a line, with the keys named by a hash tag.
fn words(line: &str, tag: &str) -> Vec<String> {
    let word = |word: &str| match word.strip_prefix('<').and_then(|key| key.strip_suffix('>')) {
        Some(key) => format!("{tag}{key}"),
        None => word.to_owned(),
    };
    line.split(' ').map(word).collect()
}

/// The example of a command, or one made up.
fn examples(row: &Row) -> Vec<String> {
    let prefix = format!("{} ", row.name.to_uppercase());
    let last = |example: &str| {
        example
            .rsplit(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
            + " "
    };
    let found: Vec<String> = EXAMPLES
        .iter()
        .filter(|example| last(example).starts_with(&prefix))
        .map(|example| (*example).to_owned())
        .collect();
    if !found.is_empty() || row.first_key == 0 {
        return found;
    }
    let len = (row.arity.unsigned_abs() as usize).max(row.first_key + 1);
    let mut line: Vec<String> = row.words.clone();
    while line.len() < len {
        let is_key = line.len() == row.first_key;
        line.push(if is_key { "<a>" } else { "1" }.to_owned());
    }
    vec![line.join(" ")]
}

/// A reply with the hash tags taken out, so that those of both keys can be compared.
fn comparable(reply: &Reply) -> String {
    format!("{reply:?}")
        .replace(FORWARDED, "")
        .replace(DIRECT, "")
}

fn clear(owner: &mut Client) {
    for tag in [FORWARDED, DIRECT] {
        for key in ["a", "b", "c"] {
            owner.call(&["DEL", &format!("{tag}{key}")]);
        }
    }
}

fn digests(owner: &mut Client, tag: &str) -> Vec<String> {
    let keys = ["a", "b", "c"].map(|key| format!("{tag}{key}"));
    let digest = |key: &String| owner.call(&["DEBUG", "DIGEST-VALUE", key]).items()[0].text();
    keys.iter().map(digest).collect()
}

#[test]
fn every_command_is_in_the_document() {
    let server = Launch::eagledb().start();
    let (rows, mut document) = (rows(&mut server.client()), document());
    for row in &rows {
        let kind = document.remove(&row.name);
        let kind = kind.unwrap_or_else(|| panic!("{} is not in FORWARDING.md", row.name));
        let keyless = ["here", "anywhere", "transaction"].contains(&&*kind) && row.name != "watch";
        assert_eq!(row.has_keys, !keyless, "{}: {kind}", row.name);
    }
    assert!(
        document.is_empty(),
        "commands that are no more: {document:?}"
    );
    assert!(rows.len() > 340, "only {} commands", rows.len());
}

/// By itself, and as a part of a transaction, in both versions of the protocol.
#[test]
fn every_command_with_keys_is_answered_as_by_the_owner() {
    let cluster = cluster();
    let document = document();
    let mut proxy = cluster.nodes[0].client();
    let mut owner = cluster.nodes[2].client();
    owner.call(&["CLIENT", "ROUTING", "REDIRECT"]).ok();
    let rows = rows(&mut owner);
    let mut answered = 0;
    let mut differences = Vec::new();
    for protocol in ["2", "3"] {
        proxy.call(&["HELLO", protocol]);
        owner.call(&["HELLO", protocol]);
        for row in rows.iter().filter(|row| row.has_keys) {
            let kind = document[&row.name].as_str();
            // These have tests of their own, in proxy.rs.
            if ["listen", "unlisten", "transaction"].contains(&kind) {
                continue;
            }
            for example in examples(row) {
                for in_transaction in [false, true] {
                    clear(&mut owner);
                    let (before, line) = example.rsplit_once("; ").unwrap_or(("", &example));
                    for tag in [FORWARDED, DIRECT] {
                        for line in before.split("; ").filter(|line| !line.is_empty()) {
                            owner.call(&words(line, tag));
                        }
                    }
                    let run = |client: &mut Client, tag| {
                        if in_transaction {
                            client.call(&["MULTI"]).ok();
                        }
                        let reply = client.call(&words(line, tag));
                        match in_transaction {
                            true if reply.error().is_some() => {
                                client.call(&["DISCARD"]).ok();
                                reply
                            }
                            true => client.call(&["EXEC"]),
                            false => reply,
                        }
                    };
                    if line.starts_with("EVALSHA") {
                        owner.call(&["SCRIPT", "LOAD", SCRIPT]);
                    }
                    let expected = run(&mut owner, DIRECT);
                    if line.starts_with("EVALSHA") {
                        owner.call(&["SCRIPT", "FLUSH"]);
                    }
                    let found = run(&mut proxy, FORWARDED);
                    let place = format!("{line} (RESP{protocol}, transaction: {in_transaction})");
                    match kind {
                        "redirect" => {
                            let error = found.error().unwrap_or_default();
                            let due = if in_transaction {
                                "ERR cluster-routing"
                            } else {
                                "MOVED "
                            };
                            assert!(error.starts_with(due), "{place}: {found:?}");
                            continue;
                        }
                        "errand" if in_transaction => {
                            let error = found.error().unwrap_or_default();
                            assert!(
                                error.contains("is not forwarded in a transaction"),
                                "{place}: {found:?}"
                            );
                            continue;
                        }
                        _ => {}
                    }
                    answered += usize::from(found.error().is_none());
                    if comparable(&found) != comparable(&expected) {
                        differences
                            .push(format!("{place}: {found:?}, but {expected:?} at the owner"));
                    }
                    if digests(&mut owner, FORWARDED) != digests(&mut owner, DIRECT) {
                        differences.push(format!("{place}: the keys differ afterwards"));
                    }
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(answered > 600, "only {answered} commands did anything");
}

/// A command without keys runs where it arrives, and is refused at once in a transaction elsewhere, unless the document
/// says that it may run anywhere.
#[test]
fn commands_without_keys_are_no_part_of_a_transaction_elsewhere() {
    let cluster = cluster();
    let document = document();
    let mut client = cluster.nodes[0].client();
    let anywhere = [
        ("echo", &["hello"][..], "hello"),
        ("ping", &["you"], "you"),
        ("time", &[], ""),
        ("publish", &["channel", "message"], ""),
    ];
    for row in rows(&mut client).iter().filter(|row| !row.has_keys) {
        let kind = document[&row.name].as_str();
        if kind == "transaction" || ["quit", "reset"].contains(&&*row.name) {
            continue;
        }
        for key_first in [true, false] {
            client.call(&["MULTI"]).ok();
            let mut line = row.words.clone();
            line.resize(
                line.len().max(row.arity.unsigned_abs() as usize),
                "1".to_owned(),
            );
            if kind == "anywhere" {
                let (_, args, due) = anywhere
                    .iter()
                    .find(|(name, ..)| *name == row.name)
                    .unwrap_or_else(|| panic!("{} may run anywhere: say here how", row.name));
                line.truncate(1);
                line.extend(args.iter().map(|arg| (*arg).to_owned()));
                if key_first {
                    client.call(&["SET", "foo", "1"]);
                }
                assert_eq!(
                    client.call(&line),
                    Reply::Simple(b"QUEUED".to_vec()),
                    "{line:?}"
                );
                client.call(&["STRLEN", "foo"]);
                let replies = client.call(&["EXEC"]);
                let reply = &replies.items()[usize::from(key_first)];
                assert!(reply.error().is_none(), "{line:?}: {replies:?}");
                assert!(
                    due.is_empty() || reply.text() == *due,
                    "{line:?}: {replies:?}"
                );
                continue;
            }
            let queued = match key_first {
                true => {
                    client.call(&["SET", "foo", "1"]);
                    client.call(&line)
                }
                false => {
                    let queued = client.call(&line);
                    match queued.error() {
                        Some(_) => queued,
                        None => client.call(&["SET", "foo", "1"]),
                    }
                }
            };
            let error = queued.error().unwrap_or_default();
            let clear = error.contains("cannot be part of a transaction that runs at another node")
                // By NO_MULTI, or by `enable-module-command`.
                || error.contains("not allowed");
            assert!(clear, "{line:?}: {queued:?}");
            let ended = client.call(&["EXEC"]).error().unwrap_or_default();
            assert!(ended.starts_with("EXECABORT "), "{line:?}: {ended}");
        }
    }
    assert!(
        client.receive_within(Duration::from_millis(50)).is_err(),
        "all was answered"
    );
}
