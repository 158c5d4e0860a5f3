//! Generated commands inside scripts and functions.

/// Runs the commands in ARGV, each after the number of its words, and replies with all their replies.
const CALL_ALL: &str = "local r = {} local i = 1 while i <= #ARGV do local n = tonumber(ARGV[i]) \
    r[#r + 1] = redis.call(unpack(ARGV, i + 1, i + n)) i = i + n + 1 end return r";
/// The same, and errors are replies too.
const PCALL_ALL: &str = "local r = {} local i = 1 while i <= #ARGV do local n = tonumber(ARGV[i]) \
    r[#r + 1] = redis.pcall(unpack(ARGV, i + 1, i + n)) i = i + n + 1 end return r";
/// The same in the newer protocol, with each reply inside a table, beside the type Lua has for it.
const NEST_ALL: &str = "redis.setresp(3) local r = {} local i = 1 while i <= #ARGV do local n = tonumber(ARGV[i]) \
    local e = redis.pcall(unpack(ARGV, i + 1, i + n)) r[#r + 1] = {type(e), {e}} i = i + n + 1 end return r";
/// Runs them all, and fails.
const CALL_AND_FAIL: &str = "local i = 1 while i <= #ARGV do local n = tonumber(ARGV[i]) \
    redis.pcall(unpack(ARGV, i + 1, i + n)) i = i + n + 1 end return redis.call('nosuch', #ARGV)";
const CALL: &str = "return redis.call(unpack(ARGV))";
/// The same command again and again.
const REPEAT: &str = "local r for i = 1, 20 do r = redis.pcall(unpack(ARGV)) end return r";
const PCALL: &str = "return redis.pcall(unpack(ARGV))";
const CALL_RESP3: &str = "redis.setresp(3) return redis.call(unpack(ARGV))";
const FLAGGED: &str = "#!lua flags=no-writes,allow-stale\nreturn redis.call(unpack(ARGV))";

/// A library whose functions do what the scripts above do.
const LIBRARY: &str = "#!lua name=lib\n\
    redis.register_function('call', function(keys, args) return redis.call(unpack(args)) end)\n\
    redis.register_function{function_name='read', callback=function(keys, args) return redis.pcall(unpack(args)) end, \
    flags={'no-writes'}}\n\
    redis.register_function('all', function(keys, args) local r = {} local i = 1 while i <= #args do \
    local n = tonumber(args[i]) r[#r + 1] = redis.pcall(unpack(args, i + 1, i + n)) i = i + n + 1 end return r end)";

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
    "redis.setresp(3) local n = 0 for _ in pairs(redis.call('hgetall', KEYS[1]).map) do n = n + 1 end return n",
    "return redis.call('nosuch')",
    "return redis.call()",
    "return math.floor(3.7) .. string.format('%5.1f', 2.25)",
    // Conversions, both ways.
    "redis.setresp(3) return redis.call('debug', 'protocol', ARGV[1])",
    "redis.setresp(3) return {redis.call('debug', 'protocol', 'map'), redis.call('debug', 'protocol', 'set')}",
    "redis.setresp(3) local d = redis.call('debug', 'protocol', 'double') return {type(d), tostring(d.double), d}",
    "redis.setresp(3) local n = redis.call('debug', 'protocol', 'null') return {n == nil, type(n), n}",
    "redis.setresp(3) return {redis.call('debug', 'protocol', 'true'), redis.call('debug', 'protocol', 'false')}",
    "redis.setresp(3) local b = redis.call('debug', 'protocol', 'bignum') return b",
    "redis.setresp(3) local v = redis.call('debug', 'protocol', 'verbatim') return v.verbatim_string.string",
    "return {map={a=1}}",
    "return {set={a=true}}",
    "return {double=3.5}",
    "return {double=1e100}",
    "return {big_number='123456789012345678901234567890'}",
    "return {verbatim_string={string='text', format='txt'}}",
    "return {true, false}",
    "return true",
    "return -3.99",
    "return {1, {2, {3, {}}}, nil, 5}",
    "return {a=1}",
    "return {err='no code'}",
    "return {err='CODE and text'}",
    "return {1, {err='ERR inside'}}",
    "error({err='ERR thrown'})",
    "error('thrown text')",
    "error()",
    "return redis.error_reply('-made up')",
    "return redis.error_reply('')",
    "return redis.error_reply()",
    "return redis.status_reply()",
    "return redis.call('set', KEYS[1])",
    "return redis.pcall('nosuch').err",
    "return redis.pcall('lpush', KEYS[1], 1, {})",
    "return {redis.pcall('zadd', KEYS[1], 'x', 'y')}",
    "return redis.acl_check_cmd('set', KEYS[1], 'x')",
    "return redis.acl_check_cmd('nosuch')",
    "return redis.REDIS_VERSION .. redis.REDIS_VERSION_NUM",
    "return redis.set_repl(redis.REPL_ALL)",
    "return redis.set_repl(55)",
    "redis.log(redis.LOG_DEBUG, 'x') return redis.LOG_WARNING",
    "return redis.log('x')",
    "return redis.setresp(4)",
    "return redis.sha1hex()",
    "return redis.replicate_commands()",
    "return redis.breakpoint()",
    "math.randomseed(5) return {math.random(100), math.random(100), tostring(math.random())}",
    "return tostring(1e15) .. tostring(2^53) .. tostring(0.1)",
    "return {tostring(1/0), tostring(-1/0), tostring(2^63)}",
    "return string.format('%q %s %d %g', 'a\\n', 'b', 3, 1e20)",
    "return {('x'):byte(), ('abc'):sub(-2), ('a,b'):gsub(',', ';')}",
    "local t = {5, 3, 9} table.sort(t) return table.concat(t, '-')",
    "return loadstring('return 1 + 1')()",
    "return pcall(function() error('x') end)",
    "return {pcall(redis.call, 'incr', KEYS[1])}",
    "setmetatable(_G, {})",
    "redis.call = 1",
    "string.x = 1",
    "return type(os.clock()) .. type(os.time)",
    "return {type(print), type(require), type(io), type(dofile), type(getfenv), type(newproxy)}",
    "return cjson.encode({1, 2, {a = cjson.null}})",
    "return cjson.encode({[1] = 1, [3] = 3})",
    "return cjson.decode('{\"a\": 1e400}')",
    "return cjson.decode('[1, 2')",
    "return tostring(cjson.decode('1.0'))",
    "return cjson.encode(0.1) .. cjson.encode(1e20) .. cjson.encode('\\/\\0')",
    "return cmsgpack.pack({1, -1, 300, 70000, 2^40, 1.5, 'x', true, {}})",
    "return cmsgpack.unpack('\\255\\254')",
    "return {cmsgpack.unpack(cmsgpack.pack(1, 2, 3))}",
    "return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3))}",
    "return cmsgpack.unpack('')",
    "return struct.pack('<i4>I2bHs', 1, 2, 3, 4, 'x')",
    "return {struct.unpack('<i4>I2', struct.pack('<i4>I2', -5, 700))}",
    "return struct.size('<i4>I2bh')",
    "return struct.pack('z', 1)",
    "return struct.unpack('>I8', 'short')",
    "return {bit.tobit(2^32 + 5), bit.bnot(1), bit.bor(1, 2, 4), bit.lshift(1, 31), bit.arshift(-8, 1), bit.bswap(1)}",
    "return bit.tohex(-1, -4)",
    "return bit.band('x')",
    "return #redis.call('keys', '*') >= 0",
    "return {redis.call('ping'), redis.call('echo', 'x'), redis.call('type', KEYS[1])}",
    "for i = 1, 30 do redis.call('rpush', KEYS[1], i) end return redis.call('llen', KEYS[1])",
    "return redis.call('exists', KEYS[1], KEYS[1])",
    "return redis.call('get', KEYS[1], {})",
    "return redis.call('mget', KEYS[1], 'k1', 'k2')",
    "return redis.call('multi')",
    "return redis.call('blpop', KEYS[1], 0)",
    "return redis.call('subscribe', 'c1')",
    "#!lua flags=allow-cross-slot-keys,no-writes\nreturn redis.call('get', KEYS[1])",
    "#!lua flags=nosuch\nreturn 1",
    "#!lua flags=no-cluster\nreturn 1",
    "#!lua flags=allow-oom\nreturn redis.call('set', KEYS[1], 'x')",
    "#!lua nosuch=1\nreturn 1",
    "#!lua",
    "#!",
    "",
];

/// Walks a key by a cursor, a few elements at a time, and replies with all it was given, in order and once each.
pub const WALK: &str = "local seen, c = {}, '0' repeat local r = redis.call(ARGV[1], KEYS[1], c, 'COUNT', ARGV[2]) \
    c = r[1] for i = 1, #r[2] do seen[r[2][i]] = 1 end until c == '0' \
    local all = {} for e in pairs(seen) do all[#all + 1] = e end table.sort(all) return all";
/// The same for the whole keyspace.
pub const WALK_ALL: &str = "local seen, c = {}, '0' repeat local r = redis.call('scan', c, 'COUNT', ARGV[1], 'MATCH', ARGV[2]) \
    c = r[1] for i = 1, #r[2] do seen[r[2][i]] = 1 end until c == '0' \
    local all = {} for e in pairs(seen) do all[#all + 1] = e end table.sort(all) return all";

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
    "#!lua name=lib2\nredis.register_function('two', 'x')",
    "#!lua name=lib2\nredis.register_function('two')",
    "#!lua name=lib2\nredis.register_function{function_name='two', callback=function() end, flags={'nosuch'}}",
    "#!lua name=lib2\nredis.register_function{function_name='two', callback=function() end, nosuch=1}",
    "#!lua name=lib2\nredis.register_function('two', function() end) redis.register_function('two', function() end)",
    "#!lua name=lib2\nlocal n = 0 redis.register_function('two', function() n = n + 1 return n end)",
    "#!lua name=lib2\nredis.register_function('bad name', function() end)",
    "#!lua name=lib2\nredis.register_function('two', function(keys) redis.setresp(3) local n = 0 for _ in pairs(redis.call('hgetall', keys[1]).map) do n = n + 1 end return n end)",
    "#!lua name=lib2\nx = 1",
    "#!lua name=bad!\nreturn 1",
    "#!lua name=lib2 name=lib3\nreturn 1",
    "#!lua nosuch=1\nreturn 1",
    "",
];

/// The load of a library that the functions of [`line`] are in.
const LOAD: &[&str] = &["FUNCTION", "LOAD", "REPLACE", LIBRARY];

/// How many forms [`line`] knows.
pub const FORMS: usize = 20;

/// Whether a command may stand in a script of a run: it comes back with a reply of its own.
pub fn allows(name: &[u8]) -> bool {
    // What an error says of a script in a script is the same, but says nothing either.
    let name = name.to_ascii_uppercase();
    !["EVAL", "FCALL", "FUNCTION", "SCRIPT"]
        .iter()
        .any(|other| name.starts_with(other.as_bytes()))
}

/// Whether a form of [`line`] runs more than the first command.
pub fn takes_several(form: usize) -> bool {
    (8..18).contains(&form)
}

/// A command line that runs `commands` in one of several ways; those for one command run the first.
pub fn line(form: usize, commands: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let (head, declares): ([&str; 2], bool) = match form {
        0 | 1 => (["EVAL", CALL], form == 1),
        2 => (["EVAL", PCALL], false),
        3 => (["EVAL_RO", CALL], false),
        4 => (["EVAL", CALL_RESP3], false),
        5 => (["EVAL", FLAGGED], false),
        6 => (["FCALL", "call"], false),
        7 => (["FCALL_RO", "read"], true),
        8 | 9 => (["EVAL", CALL_ALL], form == 9),
        10 | 11 => (["EVAL", PCALL_ALL], form == 11),
        12 | 13 => (["EVAL", NEST_ALL], form == 13),
        14 | 15 => (["EVAL", CALL_AND_FAIL], form == 15),
        16 | 17 => (["FCALL", "all"], form == 17),
        18 => (["EVAL", REPEAT], false),
        _ => (["EVAL", REPEAT], true),
    };
    let are_counted = COUNTED.contains(&head[1]);
    let commands = if are_counted {
        commands
    } else {
        &commands[..1]
    };
    let mut args = head.map(|word| word.as_bytes().to_vec()).to_vec();
    let mut keys: Vec<&Vec<u8>> = commands
        .iter()
        .flatten()
        .filter(|arg| is_key(arg))
        .collect();
    keys.sort();
    keys.dedup();
    keys.retain(|_| declares);
    args.push(keys.len().to_string().into());
    args.extend(keys.into_iter().cloned());
    for command in commands {
        if are_counted {
            args.push(command.len().to_string().into());
        }
        args.extend(command.iter().cloned());
    }
    args
}

/// Scripts and functions that take several commands, each behind the number of its words.
const COUNTED: [&str; 5] = [CALL_ALL, PCALL_ALL, NEST_ALL, CALL_AND_FAIL, "all"];

/// Whether it is the name of one of the keys of a run.
pub fn is_key(arg: &[u8]) -> bool {
    matches!(arg, [b'k', digit] if digit.is_ascii_digit())
}

/// The commands that a line of [`line`] runs, whose keys have been declared or not.
pub fn embedded(args: &[Vec<u8>]) -> Vec<&[Vec<u8>]> {
    let number = |arg: &Vec<u8>| std::str::from_utf8(arg).ok()?.parse::<usize>().ok();
    let Some(mut rest) = args
        .get(2)
        .and_then(number)
        .and_then(|keys| args.get(3 + keys..))
    else {
        return Vec::new();
    };
    if !COUNTED.iter().any(|script| args[1] == script.as_bytes()) {
        return vec![rest];
    }
    let mut commands = Vec::new();
    while let Some((words, left)) = rest
        .split_first()
        .and_then(|(count, rest)| rest.split_at_checked(number(count)?))
    {
        commands.push(words);
        rest = left;
    }
    commands
}

/// What a server is told before a run, so that the functions are there.
pub fn load_words() -> &'static [&'static str] {
    LOAD
}
