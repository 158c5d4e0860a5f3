//! Scripts stay inside their sandbox, touch only what is locked for them, and libraries outlive a crash.

use eagledb_tests::server::check_pool;
use eagledb_tests::{Client, Kind, Launch, Reply, Server};

/// Two servers of our kind and of Redis's, to be asked the same.
struct Both {
    clients: [Client; 2],
    _servers: [Server; 2],
}

impl Both {
    fn start() -> Both {
        let servers = [Kind::Redis, Kind::EagleDb].map(|kind| Launch::of(kind).start());
        Both {
            clients: [servers[0].client(), servers[1].client()],
            _servers: servers,
        }
    }

    /// The reply, which is the same from both.
    #[track_caller]
    fn call(&mut self, args: &[&str]) -> Reply {
        let [redis, eagledb] = &mut self.clients;
        let expected = redis.call(args);
        let found = eagledb.call(args);
        assert_eq!(found, expected, "{args:?}");
        found
    }

    #[track_caller]
    fn eval(&mut self, script: &str) -> Reply {
        self.call(&["EVAL", script, "0"])
    }

    /// Both refuse, with this in the message, and go on to serve.
    #[track_caller]
    fn refused(&mut self, script: &str, why: &str) {
        let reply = format!("{:?}", self.eval(script));
        assert!(reply.contains(why), "{script}: {reply}");
        assert_eq!(self.eval("return 7"), Reply::Int(7));
    }
}

const READ_ONLY: &str = "Attempt to modify a readonly table";

#[test]
fn bytecode_is_not_loaded() {
    let mut both = Both::start();
    let loads = "return type(loadstring('\\27Lua\\81\\0\\1\\4\\8\\4\\8\\0'))";
    assert_eq!(both.eval(loads).text(), "nil");
    // Text is.
    assert_eq!(both.eval("return loadstring('return 5')()"), Reply::Int(5));
}

#[test]
fn what_is_dumped_is_not_loaded() {
    let mut both = Both::start();
    let load = "return loadstring(string.dump(function() return 1 end))()";
    both.refused(load, "attempt to call a nil value");
}

#[test]
fn the_metatable_of_strings_does_not_change() {
    let mut both = Both::start();
    let assign = "getmetatable('').__index = function() return 1 end";
    both.refused(assign, READ_ONLY);
    assert_eq!(both.eval("return ('x'):rep(3)").text(), "xxx");
}

#[test]
fn globals_are_not_written() {
    let mut both = Both::start();
    both.refused("escaped = 10", READ_ONLY);
    both.refused("_G.escaped = 10", READ_ONLY);
    both.refused("rawset(_G, 'escaped', 10)", READ_ONLY);
    both.refused("setmetatable(_G, {})", READ_ONLY);
    both.refused("getmetatable(_G).__index = _G", READ_ONLY);
    let unset = "attempted to access nonexistent global variable";
    both.refused("return escaped", unset);
}

#[test]
fn tables_of_the_server_are_not_written() {
    let mut both = Both::start();
    for name in [
        "redis", "string", "table", "math", "cjson", "cmsgpack", "bit", "struct",
    ] {
        both.refused(&format!("{name}.call = function() return 1 end"), READ_ONLY);
        both.refused(&format!("rawset({name}, 'call', 1)"), READ_ONLY);
    }
    assert_eq!(
        both.eval("return redis.call('PING')"),
        Reply::Simple("PONG".into())
    );
}

#[test]
fn sorting_by_patterns_locks_the_keys_that_they_lead_to() {
    let mut both = Both::start();
    both.call(&["RPUSH", "l", "3", "1", "2"]);
    both.call(&["MSET", "w1", "9", "w2", "8", "w3", "7"]);
    for script in [
        "return redis.call('SORT', KEYS[1], 'BY', 'w*', 'GET', 'w*', 'GET', '#')",
        "return redis.call('SORT', KEYS[1], 'BY', 'w*', 'STORE', 'sorted')",
        "return redis.call('SORT', KEYS[1], 'BY', 'nosort', 'GET', 'w*')",
    ] {
        both.call(&["EVAL", script, "1", "l"]);
        both.call(&["MULTI"]);
        both.call(&["EVAL", script, "1", "l"]);
        both.call(&["EXEC"]);
    }
    let script = "return redis.call('SORT_RO', KEYS[1], 'BY', 'w*', 'GET', 'w*')";
    both.call(&["EVAL_RO", script, "1", "l"]);
    both.call(&["LRANGE", "sorted", "0", "-1"]);
}

#[test]
fn scripts_may_unpack_as_much_as_in_redis() {
    let mut both = Both::start();
    for count in [7_998, 7_999, 8_000] {
        let script = format!(
            "local t = {{}} for i = 1, {count} do t[i] = i end return select('#', unpack(t))"
        );
        both.eval(&script);
        both.eval(&format!("return #{{unpack({{}}, 1, {count})}}"));
    }
}

const LIBRARY: &str = "#!lua name=counters\n\
    redis.register_function('add', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)\n\
    redis.register_function{function_name = 'look', callback = function(keys) \
    return redis.call('GET', keys[1]) end, flags = {'no-writes'}}";

#[test]
fn a_library_survives_kill_9() {
    let mut server = Launch::eagledb().start();
    let pool = server.pool_path();
    let mut client = server.client();
    client.call(&["FUNCTION", "LOAD", LIBRARY]);
    let add = ["FCALL", "add", "1", "n", "5"];
    assert_eq!(client.call(&add), Reply::Int(5));
    let dumped = client.call(&["FUNCTION", "DUMP"]);
    let listed = client.call(&["FUNCTION", "LIST", "WITHCODE"]);

    server.kill9();
    if let Some(pool) = &pool {
        check_pool(pool);
    }
    server.start();
    let mut client = server.client();
    assert_eq!(client.call(&["FUNCTION", "DUMP"]), dumped);
    assert_eq!(client.call(&["FUNCTION", "LIST", "WITHCODE"]), listed);
    assert_eq!(client.call(&add), Reply::Int(10));
    assert_eq!(client.call(&["FCALL_RO", "look", "1", "n"]).text(), "10");

    // And what is deleted stays so.
    client.call(&["FUNCTION", "DELETE", "counters"]);
    server.kill9();
    server.start();
    let mut client = server.client();
    assert!(matches!(client.call(&add), Reply::Error(_)));
}
