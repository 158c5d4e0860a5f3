//! Generated commands inside scripts and functions.

/// Runs the commands in ARGV, each after the number of its words, and replies with all their replies.
const CALL_ALL: &str = "local r = {} local i = 1 while i <= #ARGV do local n = tonumber(ARGV[i]) \
    r[#r + 1] = redis.call(unpack(ARGV, i + 1, i + n)) i = i + n + 1 end return r";
/// The same, and errors are replies too.
const PCALL_ALL: &str = "local r = {} local i = 1 while i <= #ARGV do local n = tonumber(ARGV[i]) \
    r[#r + 1] = redis.pcall(unpack(ARGV, i + 1, i + n)) i = i + n + 1 end return r";
const CALL: &str = "return redis.call(unpack(ARGV))";
const PCALL: &str = "return redis.pcall(unpack(ARGV))";
const CALL_RESP3: &str = "redis.setresp(3) return redis.call(unpack(ARGV))";
const FLAGGED: &str = "#!lua flags=no-writes,allow-stale\nreturn redis.call(unpack(ARGV))";

/// A library whose functions do what the scripts above do.
const LIBRARY: &str = "#!lua name=lib\n\
    redis.register_function('call', function(keys, args) return redis.call(unpack(args)) end)\n\
    redis.register_function{function_name='read', callback=function(keys, args) return redis.pcall(unpack(args)) end, \
    flags={'no-writes'}}";

/// Scripts that need no arguments, to be loaded, looked for and run.
pub const SOURCES: &[&str] = &[
    "return 1",
    "return {1, 2.7, 'x', false, true, nil, 4}",
    "return {ok='fine'}",
    "return redis.error_reply('ERR made up')",
    "return redis.status_reply('made up')",
    "return {KEYS, ARGV}",
    "return redis.call('get', KEYS[1])",
    "return redis.pcall('incr', KEYS[1])",
    "redis.call('set', KEYS[1], ARGV[1]) error('after a write')",
    "return redis.sha1hex(ARGV[1])",
    "return cjson.encode(cjson.decode('[1,2.5,\"x\",{\"a\":[]},null]'))",
    "return cmsgpack.unpack(cmsgpack.pack({1, 'x', {a = 2}}))[2]",
    "return {bit.band(7, 13), bit.tohex(255), struct.pack('>I2', 258)}",
    "return type(redis.call)",
    "return undefined_name",
    "global_name = 1",
    "syntax error here",
    "#!lua\nreturn redis.call('dbsize')",
    "#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 'x')",
    "#!lua name=x\nreturn 1",
    "redis.setresp(3) return redis.call('hgetall', KEYS[1])",
    "return redis.call('nosuch')",
    "return redis.call()",
    "return math.floor(3.7) .. string.format('%5.1f', 2.25)",
];

/// Of two of the sources, one of them in capitals too, and of none.
pub const SHAS: &[&str] = &[
    "e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
    "4e6d8fc8bb01276962cce5371fa795a7763657ae",
    "ffffffffffffffffffffffffffffffffffffffff",
    "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB",
    "short",
];

/// Libraries, good and bad.
pub const LIBRARIES: &[&str] = &[
    LIBRARY,
    "#!lua name=lib2\nredis.register_function('two', function(keys, args) return {#keys, #args} end)",
    "#!lua name=lib2\nredis.register_function('call', function() return 1 end)",
    "#!lua name=empty\nreturn 1",
    "#!lua\nreturn 1",
    "#!python name=lib\nx",
    "no header",
    "#!lua name=lib2\nredis.call('set', 'k1', 'x')",
    "#!lua name=lib2\nsyntax error here",
];

/// The load of a library that the functions of [`line`] are in.
const LOAD: &[&str] = &["FUNCTION", "LOAD", "REPLACE", LIBRARY];

/// How many forms [`line`] knows.
pub const FORMS: usize = 12;

/// Whether the commands of a rule may stand in a script of a run: they come back with a reply of their own.
pub fn allows(words: &str) -> bool {
    // What an error says of a script in a script is the same, but says nothing either.
    !["EVAL", "FCALL", "FUNCTION", "SCRIPT"]
        .iter()
        .any(|name| words.starts_with(name))
}

/// A command line that runs `commands` in one of several ways; those for one command run the first.
pub fn line(form: usize, commands: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let first = &commands[0];
    let one = |head: &[&str]| -> Vec<Vec<u8>> {
        let head = head.iter().map(|word| word.as_bytes().to_vec());
        head.chain(first.iter().cloned()).collect()
    };
    let all = |script: &str| {
        let head = ["EVAL", script, "0"].map(|word| word.as_bytes().to_vec());
        let mut args = head.to_vec();
        for command in commands {
            args.push(command.len().to_string().into());
            args.extend(command.iter().cloned());
        }
        args
    };
    match form {
        0 | 1 => one(&["EVAL", CALL, "0"]),
        2 => one(&["EVAL", PCALL, "0"]),
        3 => one(&["EVAL_RO", CALL, "0"]),
        4 => one(&["EVAL", CALL_RESP3, "0"]),
        5 => one(&["EVAL", FLAGGED, "0"]),
        6 | 7 => all(CALL_ALL),
        8 | 9 => all(PCALL_ALL),
        10 => one(&["FCALL", "call", "0"]),
        _ => one(&["FCALL_RO", "read", "0"]),
    }
}

/// What a server is told before a run, so that the functions are there.
pub fn load_words() -> &'static [&'static str] {
    LOAD
}
