//! Pools of values, small enough that arguments meet again. Good values lead each pool of numbers.

/// The names of all keys but those whose scores are all equal.
pub const KEYS: &[&str] = &["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"];
pub const INTS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "10",
    "100",
    "-100",
    "65536",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "+1",
    "01",
    "-0",
    " 1",
    "1 ",
    "1.0",
    "abc",
    "",
];
/// None that leaves `ERANGE` behind in Redis: its SORT takes an old one for its own. Scripts of the commands have those.
pub const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "0.2",
    "1.5",
    "-2.25",
    "3.0e3",
    "1e10",
    "1e17",
    "1e-7",
    "123456789.123456789",
    "1e308",
    "0x10",
    "inf",
    "-inf",
    "nan",
    " 1",
    "abc",
    "",
];
pub const INDEXES: &[&str] = &[
    "0",
    "1",
    "2",
    "5",
    "44",
    "-1",
    "-2",
    "-100",
    "100",
    "536870912",
    "9223372036854775807",
    "-9223372036854775808",
    "x",
];
/// No time between "now" and "long after the test", so that no key expires between two replies.
pub const TTLS: &[&str] = &[
    "100",
    "1000",
    "100000",
    "9223372036854775",
    "9223372036854775807",
    "0",
    "-1",
    "-100",
    "1.5",
    "x",
];
pub const TTLS_MS: &[&str] = &[
    "100000",
    "1000000",
    "0",
    "-1",
    "9223372036854775807",
    "9223372036854775000",
    "x",
];
/// None is soon when a spoiled command takes it for a time from now.
pub const AT: &[&str] = &[
    "4102444800",
    "4102444801",
    "100000",
    "0",
    "-1",
    "9223372036854775807",
    "x",
];
pub const AT_MS: &[&str] = &[
    "4102444800000",
    "4102444800001",
    "100000",
    "0",
    "-1",
    "9223372036854775807",
    "x",
];
/// A key that SET stores with a time in the past is there for some eyes until somebody removes it.
pub const LATER: &[&str] = &[
    "4102444800",
    "4102444801",
    "0",
    "-1",
    "9223372036854775807",
    "x",
];
pub const LATER_MS: &[&str] = &[
    "4102444800000",
    "4102444800001",
    "0",
    "-1",
    "9223372036854775807",
    "x",
];
pub const COUNTS: &[&str] = &[
    "1",
    "2",
    "3",
    "10",
    "0",
    "-1",
    "-5",
    "-9223372036854775808",
    "x",
];
/// Few, so that members share a score and are told apart by their bytes.
pub const SCORES: &[&str] = &[
    "1",
    "2",
    "0",
    "-1",
    "3.5",
    "1e20",
    "-0",
    "0.1",
    "1e-10",
    "9007199254740993",
    "123456789.123456789",
    "1.7976931348623157e308",
    "inf",
    "-inf",
    "+inf",
    "nan",
    "0x10",
    "x",
    "",
];
pub const SCORE_EDGES: &[&str] = &[
    "-inf", "+inf", "0", "(0", "1", "(1", "2", "(2", "3.5", "(-inf", "(+inf", "(", "x", "nan",
];
pub const LEX_EDGES: &[&str] = &[
    "-", "+", "[1", "(1", "[10", "(10", "[5", "(5", "[f1", "(f1", "[", "(", "1", "",
];
pub const PLACES: &[[&str; 2]] = &[
    ["13.361389", "38.115556"],
    ["15.087269", "37.502669"],
    ["13.5", "38.5"],
    ["0", "0"],
    ["-122.4194", "37.7749"],
    ["180", "85.05112878"],
    ["-180", "-85.05112878"],
    ["179.9999", "10"],
    ["-179.9999", "10"],
    ["181", "10"],
    ["10", "86"],
    ["x", "10"],
    ["nan", "10"],
];
pub const RADII: &[&str] = &[
    "200", "2000", "1", "0", "0.5", "30000", "500000", "1e7", "-1", "x", "nan", "inf",
];
pub const PATTERNS: &[&str] = &[
    "*", "k*", "k?", "k[1-3]", "k[^1]", "k[3-1]", "\\k1", "f*1", "*[", "k[1", "", "**1*",
];
pub const DBS: &[&str] = &["0", "0", "0", "1", "2", "15", "16", "-1", "x"];
pub const WORDS: &[&str] = &[
    "",
    "a",
    "hello",
    "hello world",
    "10",
    "-5",
    "007",
    "1.5",
    "3.0",
    "9223372036854775807",
    "ok\r\n",
];

/// No number that would make a key expire while the test runs.
pub const JUNK: &[&[u8]] = &[
    b"",
    b"x",
    b"-7",
    b"1.5",
    b"99999999999999999999",
    b"n1",
    b"f1",
    b"NX",
    b"EX",
    b"\xff\0\r\n",
];

pub const STREAM_IDS: &[&str] = &[
    "8-1",
    "1-1",
    "0",
    "2-0",
    "5-0",
    "7-7",
    "8-0",
    "9-1",
    "10-0",
    "11-0",
    "14-0",
    "20",
    "(5",
    "(8-1",
    "-",
    "+",
    "$",
    "x",
    "",
    "18446744073709551615-18446744073709551615",
];
pub const CHANNELS: &[&str] = &[
    "c1",
    "c2",
    "k1",
    "__keyspace@0__:k1",
    "__keyevent@0__:del",
    "",
];
pub const CHANNEL_PATTERNS: &[&str] = &["c*", "__key*__:*", "*", "c[12]", "__keyevent@*:del", "x"];
pub const SECTIONS: &[&str] = &[
    "server",
    "clients",
    "keyspace",
    "all",
    "everything",
    "default",
    "nosuch",
];
pub const COMMAND_NAMES: &[&str] = &[
    "get",
    "set",
    "client|list",
    "xadd",
    "config",
    "nosuch",
    "GET",
    "client|nosuch",
];
/// No time of waiting that would be noticed.
pub const TIMEOUTS: &[&str] = &["0.001", "0.001", "-1", "x"];
pub const DATABASES: &[&str] = &["0", "1", "2"];
/// Directives whose effect on small keyspaces shows, with values that make it show; the default comes first.
pub const DIRECTIVES: &[(&str, &[&str])] = &[
    ("hash-max-listpack-entries", &["512", "8", "3", "0"]),
    // Not 0: a dump of a packed hash stays packed in Redis though its elements are too long now; here it is made anew.
    ("hash-max-listpack-value", &["64", "8", "1"]),
    (
        "list-max-listpack-size",
        &["-2", "4", "1", "-1", "8", "-5", "0"],
    ),
    ("list-compress-depth", &["0", "1", "2"]),
    ("set-max-intset-entries", &["512", "4", "0"]),
    ("zset-max-listpack-entries", &["128", "4", "0"]),
    ("zset-max-listpack-value", &["64", "8", "1"]),
    ("stream-node-max-entries", &["100", "3", "1"]),
    ("stream-node-max-bytes", &["4096", "100"]),
    ("hll-sparse-max-bytes", &["3000", "20", "0"]),
    // Without `m`: an event for each look-up in vain tells how often an implementation looks.
    (
        "notify-keyspace-events",
        // `n` not beside `A`: Redis forgets it where a CONFIG SET of several directives is taken back.
        &["", "KEA", "KEA", "KEg$lshzn", "Kg$", "Elshzxedt"],
    ),
    (
        "maxmemory-policy",
        &["noeviction", "allkeys-lfu", "volatile-lru"],
    ),
    ("lazyfree-lazy-user-del", &["no", "yes"]),
    ("lazyfree-lazy-user-flush", &["no", "yes"]),
    ("lua-time-limit", &["5000"]),
    ("proto-max-bulk-len", &["536870912", "1048576"]),
    ("lazyfree-lazy-server-del", &["no", "yes"]),
    ("lazyfree-lazy-expire", &["no", "yes"]),
    ("acl-pubsub-default", &["resetchannels", "allchannels"]),
    ("lfu-log-factor", &["10", "0"]),
    ("maxmemory-samples", &["5", "1"]),
];
/// Elements at the borders of the forms that packed lists and sets of integers keep them in.
pub const PACKED_INTS: &[&str] = &[
    "0",
    "1",
    "12",
    "13",
    "127",
    "128",
    "-1",
    "-128",
    "-129",
    "255",
    "256",
    "4095",
    "4096",
    "-4096",
    "-4097",
    "32767",
    "32768",
    "-32768",
    "-32769",
    "8388607",
    "8388608",
    "-8388609",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "00",
    "-0",
    "1e3",
];
/// Lengths at the borders of packed strings and of the limits of packed lists.
pub const PACKED_LENS: &[usize] = &[0, 1, 8, 9, 63, 64, 65, 253, 254, 4095, 4096];
/// Lengths at the borders of chunks, pages and requests.
pub const LARGE_LENS: &[usize] = &[
    4000, 4096, 8100, 8191, 8192, 8193, 16_384, 20_000, 32_767, 65_535, 65_536, 100_000,
];
pub const BIT_OFFSETS: &[&str] = &[
    "0", "1", "7", "8", "63", "64", "100", "#0", "#1", "#7", "#100", "4096", "-1", "#-1", "x",
];
/// Values for directives that few of them take.
pub const SETTINGS: &[&str] = &[
    "0",
    "1",
    "5",
    "-1",
    "yes",
    "no",
    "1k",
    "1kb",
    "1mb",
    "10",
    "x",
    "1.5",
    "KEA",
    "-5",
    "100",
    "noeviction",
];
/// Starts of the rules that go together; a sequence may keep to those of one theme.
pub const THEMES: &[(&str, &[&str])] = &[
    (
        "strings",
        &[
            "SET <", "SETR", "SETN", "SETE", "PSETEX", "GET", "MGET", "MSET", "APPEND", "STRLEN",
            "SUBSTR", "INCR", "DECR", "LCS",
        ],
    ),
    ("bits", &["SETBIT", "GETBIT", "BIT", "SETRANGE", "GETRANGE"]),
    ("lists", &["L", "R", "BL", "BR", "SORT"]),
    (
        "sets",
        &[
            "SA", "SR", "SI", "SM", "SC", "SU", "SD", "SSCAN", "SP", "SORT",
        ],
    ),
    ("hashes", &["H"]),
    ("sorted sets", &["Z", "BZ", "SORT"]),
    ("places", &["GEO", "ZADD", "ZRANGE <key>"]),
    ("streams", &["X"]),
    ("counters", &["PF"]),
    (
        "keys",
        &[
            "DEL", "UNLINK", "EXISTS", "TOUCH", "RENAME", "COPY", "MOVE", "SWAPDB", "SELECT",
            "OBJECT", "DUMP", "RESTORE", "EXPIRE", "PEXPIRE", "PERSIST", "TTL", "PTTL", "KEYS",
            "SCAN", "FLUSH", "SET <", "LPUSH", "HSET", "ZADD", "SADD", "XADD",
        ],
    ),
    (
        "scripts",
        &[
            "EVAL", "SCRIPT", "FUNCTION", "FCALL", "SET <", "HSET", "LPUSH",
        ],
    ),
    (
        "caching",
        &[
            "CLIENT", "HELLO", "GET", "MGET", "SET <", "HGET", "HSET", "DEL", "FLUSH", "EVAL",
            "EXPIRE", "MSET",
        ],
    ),
    (
        "transactions",
        &[
            "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "SET <", "GET", "INCR", "LPUSH", "DEL",
            "BLPOP", "SELECT",
        ],
    ),
    (
        "users",
        &[
            "ACL", "AUTH", "GET", "SET <", "EVAL", "PUBLISH", "MGET", "COPY", "SORT",
        ],
    ),
];
/// What a user may do who may not do all. One command by itself at most: `ACL LIST` of Redis has several in the order of a
/// hash table, and how rules of categories are summed up depends on all commands in them, of which there are more here.
pub const LIMITS: &[&str] = &[
    "~* &* +@all -@dangerous",
    "~k* &* +@all",
    "%R~k* %W~k1 %W~k2 &c* +@all",
    "%R~k* &* +@all (~k1 +@all)",
    "~* &* +@all -set",
    "~* &* +@all -eval",
    "~* +get",
    "~k1 ~k2 &c1 +@all (%W~k3 +lpush) (+get ~*)",
    "+@all",
];
/// Directives that leave no room for writes, and those that give it back.
pub const SHORTAGES: &[(&[&str], &[&str])] = &[
    (
        &["maxmemory", "1", "maxmemory-policy", "noeviction"],
        &["maxmemory", "0"],
    ),
    (
        &["min-replicas-to-write", "1"],
        &["min-replicas-to-write", "0"],
    ),
];
