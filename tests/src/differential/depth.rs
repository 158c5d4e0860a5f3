//! Rules that reach behind borders: large values, many elements, elements at the edges of packed forms, bit fields of
//! every width, walks by cursor, settings with bad values, and keys that expire before the next command.
//!
//! The words are those of the grammar, and `<packed>` (an element), `<large>` (a string), `<bits>` (the type of a bit
//! field), `<bit-offset>`, `<setting-name>`, `<setting>`, `<walk>`, `<walk-all>`.

use super::Compare::{Exact, Pairs, Refusal, Shape, Time, Unordered};
use super::Rule;
use super::grammar::rule;

/// The rules; each on an ordinary connection.
pub const DEEP: &[Rule] = &[
    // string
    rule("SET <key> <large>", Exact),
    rule("APPEND <key> <large>", Exact),
    rule("SETRANGE <key> 0|44|4095|65536|200000 <value>", Exact),
    rule(
        "SETRANGE <key> 1048570|1048575|1048576|1048577|536870912 <value>",
        Exact,
    ),
    rule(
        "GETRANGE <key> 4000|8190|65530|-5 4100|8200|65540|-1",
        Exact,
    ),
    rule("STRLEN <key>", Exact),
    rule(
        "LCS <key> <key> IDX MINMATCHLEN:<count>? WITHMATCHLEN?",
        Exact,
    ),
    rule(
        "SET <key> 9223372036854775806|-9223372036854775807|1e308|99999999999999999",
        Exact,
    ),
    rule("INCR|DECR <key>", Exact),
    rule("INCRBYFLOAT <key> 1e308|0.1|-0.1|1e-10|3|5.0e3", Exact),
    rule("MSET <key>:<packed>%", Exact),
    rule("MSETNX <key>:<large>+", Exact),
    // bitmap
    rule("SETBIT <key> 65535|1000000|1000001|4294967296 0|1", Exact),
    rule("BITCOUNT <key> 0|3|-9|4000 -1|9|70000|-3 BYTE|BIT?", Exact),
    rule(
        "BITPOS <key> 0|1 0|3|-9|4000 -1|9|70000|-3 BYTE|BIT?",
        Exact,
    ),
    rule("BITOP AND|OR|XOR <key> <key>+", Exact),
    rule("BITOP NOT <key> <key>", Exact),
    rule(
        "BITFIELD <key> SET:<bits>:<bit-offset>:<int> GET:<bits>:<bit-offset>",
        Exact,
    ),
    rule(
        "BITFIELD <key> OVERFLOW:WRAP|SAT|FAIL INCRBY:<bits>:<bit-offset>:<int> OVERFLOW:WRAP|SAT|FAIL INCRBY:<bits>:<bit-offset>:<int> GET:<bits>:<bit-offset>",
        Exact,
    ),
    rule(
        "BITFIELD <key> OVERFLOW:SAT|FAIL SET:u8|i8|i64|u63:0|#1|#2:<int> INCRBY:u8|i8|i64|u63:0|#1|#2:<int>",
        Exact,
    ),
    rule("BITFIELD_RO <key> GET:<bits>:<bit-offset>+", Exact),
    // list
    rule("RPUSH <key> <packed>%", Exact),
    rule("LPUSH <key> <packed>%", Exact),
    rule("RPUSH|LPUSH <key> <large>", Exact),
    rule("LINSERT <key> BEFORE|AFTER <packed> <packed>", Exact),
    rule("LINSERT <key> BEFORE|AFTER <packed> <large>", Exact),
    rule("LSET <key> <index> <packed>", Exact),
    rule("LSET <key> 0|1|-1|5|30 <large>", Exact),
    rule("LREM <key> 0|1|-1|3|-3 <packed>", Exact),
    rule(
        "LPOS <key> <packed> RANK:<int>? COUNT:<count>? MAXLEN:<count>?",
        Exact,
    ),
    rule("LTRIM <key> 1|5|20|-50 -1|-2|60|100", Exact),
    rule("LRANGE <key> 0|7|30|-40 -1|50|-3", Exact),
    rule("LPOP|RPOP <key> 5|30|100", Exact),
    rule("LMOVE <key> <key> LEFT|RIGHT LEFT|RIGHT", Exact),
    rule("LMPOP 2 <key> <key> LEFT|RIGHT COUNT 20", Exact),
    rule("LINDEX <key> 0|7|30|-40|100", Exact),
    // set
    rule("SADD <key> <packed>%", Exact),
    rule("SADD <key> <packed>+", Exact),
    rule("SADD <key> <large>", Exact),
    rule("SREM <key> <packed>%", Exact),
    rule("SMISMEMBER <key> <packed>%", Exact),
    rule("SMOVE <key> <key> <packed>", Exact),
    rule("SMEMBERS <key>", Unordered),
    rule(
        "SINTERSTORE|SUNIONSTORE|SDIFFSTORE <key> <key> <key> <key>",
        Exact,
    ),
    rule("SINTERCARD 3 <key> <key> <key> LIMIT:<count>?", Exact),
    rule("SRANDMEMBER <key> 500|-500", Shape),
    rule("EVAL <walk> 1 <key> sscan 1|3|10|1000", Exact),
    // hash
    rule("HSET <key> <packed>:<packed>%", Exact),
    rule("HSET <key> <packed> <large>", Exact),
    rule("HSET <key> <large> <packed>", Exact),
    rule("HSETNX <key> <packed> <packed>", Exact),
    rule("HDEL <key> <packed>%", Exact),
    rule("HMGET <key> <packed>%", Exact),
    rule("HINCRBY <key> <packed> <int>", Exact),
    rule("HINCRBYFLOAT <key> <packed> <float>", Exact),
    rule("HSTRLEN <key> <packed>", Exact),
    rule("HGETALL <key>", Pairs),
    rule("HRANDFIELD <key> 500|-500 WITHVALUES?", Shape),
    rule("EVAL <walk> 1 <key> hscan 1|3|10|1000", Exact),
    // sorted set
    rule("ZADD <key> <score>:<packed>%", Exact),
    rule("ZADD <key> NX|XX|GT|LT CH <score>:<packed>+", Exact),
    rule("ZADD <key> <score> <large>", Exact),
    rule("ZINCRBY <key> <score> <packed>", Exact),
    rule("ZREM <key> <packed>%", Exact),
    rule("ZMSCORE <key> <packed>%", Exact),
    rule("ZRANK|ZREVRANK <key> <packed>", Exact),
    rule("ZRANGE <key> 0|7|-40 -1|50 REV? WITHSCORES", Exact),
    rule(
        "ZRANGEBYSCORE <key> <score-edge> <score-edge> WITHSCORES LIMIT 0|1|5|-1 0|1|20|-1",
        Exact,
    ),
    rule("ZREMRANGEBYRANK <key> 0|3|-5 1|7|-3", Exact),
    rule("ZREMRANGEBYSCORE <key> <score-edge> <score-edge>", Exact),
    rule("ZPOPMIN|ZPOPMAX <key> 20", Exact),
    rule(
        "ZUNIONSTORE|ZINTERSTORE <key> 3 <key> <key> <key> WEIGHTS:<score>:<score>:<score>? AGGREGATE:SUM|MIN|MAX?",
        Exact,
    ),
    rule("ZDIFFSTORE <key> 3 <key> <key> <key>", Exact),
    rule("ZUNION|ZINTER|ZDIFF 3 <key> <key> <key> WITHSCORES?", Exact),
    rule("ZINTERCARD 3 <key> <key> <key> LIMIT:<count>?", Exact),
    rule("ZRANDMEMBER <key> 500|-500 WITHSCORES?", Shape),
    rule("EVAL <walk> 1 <key> zscan 1|3|10|1000", Exact),
    rule("EVAL <walk-all> 0 1|3|1000 <pattern>", Exact),
    // geo
    rule("GEOADD <key> NX|XX? CH? <place>:<packed>+", Exact),
    rule("GEOPOS|GEOHASH <key> <packed>+", Exact),
    rule("GEODIST <key> <packed> <packed> m|km|ft|mi?", Exact),
    rule(
        "GEOSEARCH <key> FROMMEMBER <packed> BYBOX <radius> <radius> km|mi ASC|DESC WITHCOORD? WITHDIST? WITHHASH?",
        Exact,
    ),
    // stream
    rule("XADD <key> 20-*|21-*|22-* <packed>:<packed>%", Exact),
    rule("XADD <key> 23-*|24-*|25-* <field>:<packed>+", Exact),
    rule("XADD <key> 26-* <field> <large>", Exact),
    rule(
        "XADD <key> MAXLEN|MINID ~|= 2|22|24-1 LIMIT:0|1|100? 27-*|28-* a 1",
        Exact,
    ),
    rule("XTRIM <key> MINID ~|= 21|22-3|24 LIMIT:<count>?", Exact),
    rule("XRANGE <key> 20|(21|22-1 25|(24|26-9 COUNT:5?", Exact),
    rule("XREVRANGE <key> + 20|(21|22-1 COUNT:5?", Exact),
    rule("XDEL <key> 20-0|20-1|21-0|21-1|22-0|23-0+", Exact),
    rule(
        "XGROUP CREATE <key> g|h 0|$|21-0 MKSTREAM? ENTRIESREAD:0|3|-1?",
        Exact,
    ),
    rule(
        "XREADGROUP GROUP g|h a|b COUNT:1|3|100? STREAMS <key> >",
        Exact,
    ),
    rule(
        "XREADGROUP GROUP g|h a|b COUNT:1|3? NOACK? STREAMS <key> <key> > 0",
        Exact,
    ),
    rule("XACK <key> g|h 20-0|20-1|21-0|21-1|22-0|23-0+", Exact),
    rule(
        "XAUTOCLAIM <key> g|h a|b|c 0 0|20-1|21 COUNT:1|2|10? JUSTID?",
        Exact,
    ),
    rule(
        "XCLAIM <key> g|h a|b|c 0 20-0|21-0|22-0+ FORCE? JUSTID?",
        Exact,
    ),
    rule("XPENDING <key> g|h - + 100 a|b|c?", Time(5000)),
    rule("XINFO STREAM <key> FULL COUNT:1|3|0?", Time(5000)),
    rule("XINFO GROUPS <key>", Exact),
    rule(
        "XSETID <key> 30-0 ENTRIESADDED:100? MAXDELETEDID:20-0|31-0?",
        Exact,
    ),
    // hyperloglog
    rule("PFADD <key> <packed>%", Exact),
    rule("PFADD <key> <value>%", Exact),
    rule("PFCOUNT <key> <key> <key>", Exact),
    rule("PFMERGE <key> <key> <key>", Exact),
    rule("PFDEBUG GETREG <key>", Exact),
    // generic
    rule("COPY <key> <key> REPLACE?", Exact),
    rule("RENAME|RENAMENX <key> <key>", Exact),
    rule("OBJECT ENCODING <key>", Exact),
    rule("DUMP <key>", Shape),
    rule("DEBUG DIGEST-VALUE <key>+", Exact),
    rule(
        "SORT <key> BY:nosort ALPHA? LIMIT:<index>:<index>? STORE:<key>",
        Exact,
    ),
    rule(
        "SORT <key> BY:k*->f1|f*->f1 DESC? GET:#|k*->f1|k*->f2 STORE:<key>",
        Exact,
    ),
    rule("SORT <key> ALPHA LIMIT:0|3|30:1|20|-1 DESC?", Exact),
    // server
    rule("CONFIG SET <setting-name> <setting>", Exact),
    rule("CONFIG SET <directive> <setting-name> <setting>", Exact),
    rule("CONFIG SET <setting-name>", Exact),
    rule(
        "CONFIG SET hash-max-ziplist-entries|zset-max-ziplist-entries|list-max-ziplist-size 4|8|x",
        Exact,
    ),
    rule("CONFIG GET <setting-name>", Pairs),
    rule(
        "CONFIG GET *ziplist*|*listpack*|stream-*|lfu-*|lazyfree-*|zset*|?et-max*",
        Pairs,
    ),
    rule("CONFIG GET [hl]*listpack* nosuch?", Pairs),
    rule(
        "DEBUG PROTOCOL string|integer|double|null|array|set|map|attrib|verbatim|true|false|bignum|x",
        Exact,
    ),
    rule("COMMAND COUNT|LIST|NOSUCH <value>", Refusal),
    rule("HELLO 3", Shape),
];

/// A key that is over before the next step. Not by PEXPIRE: where that takes a millisecond Redis deletes at once.
pub const EXPIRING: &[Rule] = &[
    rule("SET <key> <value> PX 1", Exact),
    rule("PSETEX <key> 1 <value>", Exact),
    rule("GETEX <key> PX 1", Exact),
];

/// Commands that find it gone, none of which can fail before it looks; its name is put in for the first word after the command.
pub const FINDING: &[Rule] = &[
    rule("GET key", Exact),
    rule("EXISTS key <key>", Exact),
    rule("TYPE key", Exact),
    rule("TTL key", Exact),
    rule("PERSIST key", Exact),
    rule("DEL key", Exact),
    rule("UNLINK key", Exact),
    rule("INCR key", Exact),
    rule("APPEND key <value>", Exact),
    rule("SET key <value> NX|XX? GET?", Exact),
    rule("SETNX key <value>", Exact),
    rule("GETSET key <value>", Exact),
    rule("GETDEL key", Exact),
    rule("SETRANGE key 2 <value>", Exact),
    rule("SETBIT key 7 1", Exact),
    rule("MSETNX key <value> <key> <value>", Exact),
    rule("RENAME key <key>", Exact),
    rule("RENAMENX key <key>", Exact),
    rule("COPY key k9", Exact),
    rule("EXPIRE key 1000", Exact),
    rule("EXPIREAT key 1", Exact),
    rule("LPUSH key <member>+", Exact),
    rule("LPUSHX key <member>", Exact),
    rule("LPOP key", Exact),
    rule("LMOVE key <key> LEFT RIGHT", Exact),
    rule("SADD key <member>+", Exact),
    rule("SUNION key <key>", Unordered),
    rule("SINTER key <key>", Unordered),
    rule("HSET key <field> <value>", Exact),
    rule("HINCRBY key <field> 1", Exact),
    rule("HGETALL key", Pairs),
    rule("ZADD key 1 <member>", Exact),
    rule("ZPOPMIN key", Exact),
    rule("XADD key 30-* <field> <value>", Exact),
    rule("XADD key NOMKSTREAM 30-* <field> <value>", Exact),
    rule("XRANGE key - +", Exact),
    rule("PFADD key <member>", Exact),
    rule("TOUCH key", Exact),
    rule("STRLEN key", Exact),
    rule("SORT key ALPHA", Exact),
];
