//! The commands that are generated, one line each, and how far two replies may differ.
//!
//! A rule is a command line whose words are literals or take a value from a small pool, so that
//! keys collide and types clash:
//! `<key> <field> <value> <int> <float> <index> <ttl> <ttl-ms> <at> <at-ms> <later> <later-ms> <count> <pattern> <db>
//! <member> <score> <score-edge> <lex-edge> <place> <radius> <id> <channel> <channels> <script> <sha> <library>`; a place
//! is two words, and so is `<directive>`; `<line>` is a whole other rule; `<payload>` and `<functions>` are dumps, and
//! `<subscriber>` is the number of the client that listens.
//! `A|B` is one of several literals; a trailing `?` leaves the word out half of the time, and with it
//! the value words joined to it by `:`; a trailing `+` repeats the word (or joined words), `%` repeats it many times.
//! What lies behind borders of size and time is in `depth`.

use super::Compare::{self, Exact, Pairs, Refusal, Shape, Time, Unordered};

/// One generated command.
#[derive(Debug)]
pub struct Rule {
    pub words: &'static str,
    pub compare: Compare,
}

pub(super) const fn rule(words: &'static str, compare: Compare) -> Rule {
    Rule { words, compare }
}

/// Every rule, by group.
pub const GRAMMAR: &[Rule] = &[
    // string
    rule("SET <key> <value>", Exact),
    rule("SET <key> <value> NX|XX? GET? EX:<ttl>?", Exact),
    rule("SET <key> <value> NX|XX? GET? PX:<ttl-ms>?", Exact),
    rule(
        "SET <key> <value> EXAT:<later>? PXAT:<later-ms>? KEEPTTL?",
        Exact,
    ),
    rule("SETNX <key> <value>", Exact),
    rule("SETEX <key> <ttl> <value>", Exact),
    rule("PSETEX <key> <ttl-ms> <value>", Exact),
    rule("GET <key>", Exact),
    rule("GETDEL <key>", Exact),
    rule("GETSET <key> <value>", Exact),
    rule(
        "GETEX <key> EX:<ttl>|PX:<ttl-ms>|EXAT:<at>|PXAT:<at-ms>|PERSIST?",
        Exact,
    ),
    rule("GETEX <key> PERSIST? EX:<ttl>?", Exact),
    rule("MGET <key>+", Exact),
    rule("MSET <key>:<value>+", Exact),
    rule("MSETNX <key>:<value>+", Exact),
    rule("APPEND <key> <value>", Exact),
    rule("STRLEN <key>", Exact),
    rule("GETRANGE <key> <index> <index>", Exact),
    rule("SUBSTR <key> <index> <index>", Exact),
    rule("SETRANGE <key> <index> <value>", Exact),
    rule("INCR <key>", Exact),
    rule("DECR <key>", Exact),
    rule("INCRBY <key> <int>", Exact),
    rule("DECRBY <key> <int>", Exact),
    rule("INCRBYFLOAT <key> <float>", Exact),
    rule(
        "LCS <key> <key> LEN? IDX? MINMATCHLEN:<count>? WITHMATCHLEN?",
        Exact,
    ),
    // generic
    rule("DEL <key>+", Exact),
    rule("UNLINK <key>+", Exact),
    rule("EXISTS <key>+", Exact),
    rule("TOUCH <key>+", Exact),
    rule("TYPE <key>", Exact),
    rule("RENAME <key> <key>", Exact),
    rule("RENAMENX <key> <key>", Exact),
    rule("COPY <key> <key> DB:<db>? REPLACE?", Exact),
    rule("MOVE <key> <db>", Exact),
    // The order of keys follows from each server's own table.
    rule("KEYS <pattern>", Unordered),
    rule(
        "SCAN 0 COUNT 100000 MATCH:<pattern>? TYPE:string|hash|set|list|zset|stream|none?",
        Unordered,
    ),
    // Cursors mean something to one server only.
    rule("SCAN <int> COUNT:<count>?", Refusal),
    rule("RANDOMKEY", Shape),
    rule("DBSIZE", Exact),
    rule("OBJECT ENCODING|NOSUCH <key>", Exact),
    // Which small integers share memory is each server's own affair.
    rule("OBJECT REFCOUNT <key>", Shape),
    // The access clock has its own grain on either side.
    rule("OBJECT IDLETIME <key>", Shape),
    rule("DUMP <key>", Shape),
    rule("RESTORE <key> <ttl-ms> <value> REPLACE? ABSTTL?", Exact),
    rule("RESTORE <key> 0 <payload> REPLACE", Exact),
    rule(
        "RESTORE <key> <ttl-ms> <payload> REPLACE? IDLETIME:<int>? FREQ:<int>?",
        Exact,
    ),
    rule("RESTORE <key> <at-ms> <payload> ABSTTL REPLACE", Exact),
    rule("SWAPDB <db> <db>", Exact),
    rule("FLUSHDB ASYNC|SYNC?", Exact),
    rule("MEMORY USAGE <key> SAMPLES:<count>?", Shape),
    // expire
    // GT and LT with a relative time would ask which server was some milliseconds faster.
    rule("EXPIRE <key> <ttl> NX|XX?", Exact),
    rule("EXPIRE <key> <ttl> NX GT|LT|XX", Exact),
    rule("PEXPIRE <key> <ttl-ms> NX|XX?", Exact),
    rule("EXPIREAT <key> <at> NX|XX|GT|LT? NX|XX|GT|LT?", Exact),
    rule("PEXPIREAT <key> <at-ms> NX|XX|GT|LT?", Exact),
    rule("EXPIRE <key> <ttl> GT LT", Exact),
    rule("PEXPIRE <key> <ttl-ms> XX|GT|LT NX", Exact),
    rule("PEXPIREAT <key> <at-ms> NX|XX|GT|LT? NX|XX|GT|LT?", Exact),
    rule("PERSIST <key>", Exact),
    // The two servers ran the command that set the time some milliseconds apart.
    rule("TTL <key>", Time(1)),
    rule("PTTL <key>", Time(500)),
    rule("EXPIRETIME <key>", Time(1)),
    rule("PEXPIRETIME <key>", Time(500)),
    // hash
    rule("HSET <key> <field>:<value>+", Exact),
    rule("HMSET <key> <field>:<value>+", Exact),
    rule("HSETNX <key> <field> <value>", Exact),
    rule("HGET <key> <field>", Exact),
    rule("HMGET <key> <field>+", Exact),
    rule("HDEL <key> <field>+", Exact),
    rule("HEXISTS <key> <field>", Exact),
    rule("HLEN <key>", Exact),
    rule("HSTRLEN <key> <field>", Exact),
    rule("HINCRBY <key> <field> <int>", Exact),
    rule("HINCRBYFLOAT <key> <field> <float>", Exact),
    // The order of fields is not promised, and differs once a hash is large.
    rule("HGETALL <key>", Pairs),
    rule("HKEYS <key>", Unordered),
    rule("HVALS <key>", Unordered),
    rule("HSCAN <key> 0 COUNT 100000 MATCH:<pattern>?", Pairs),
    rule("HRANDFIELD <key>", Shape),
    rule("HRANDFIELD <key> <count> WITHVALUES?", Shape),
    // list
    rule("LPUSH <key> <member>+", Exact),
    rule("RPUSH <key> <member>+", Exact),
    rule("LPUSHX <key> <member>+", Exact),
    rule("RPUSHX <key> <member>+", Exact),
    rule("LPOP <key> <count>?", Exact),
    rule("RPOP <key> <count>?", Exact),
    rule("LLEN <key>", Exact),
    rule("LINDEX <key> <index>", Exact),
    rule("LRANGE <key> <index> <index>", Exact),
    rule("LRANGE <key> 0 -1", Exact),
    rule("LSET <key> <index> <member>", Exact),
    rule("LINSERT <key> BEFORE|AFTER|NEAR <member> <member>", Exact),
    rule("LREM <key> <int> <member>", Exact),
    rule("LTRIM <key> <index> <index>", Exact),
    rule(
        "LPOS <key> <member> RANK:<int>? COUNT:<count>? MAXLEN:<count>?",
        Exact,
    ),
    rule("LMOVE <key> <key> LEFT|RIGHT|UP LEFT|RIGHT", Exact),
    rule("RPOPLPUSH <key> <key>", Exact),
    rule("LMPOP 1|2 <key> <key> LEFT|RIGHT COUNT:<count>?", Exact),
    rule("BLPOP <key> <key> 0.001|x|-1", Exact),
    rule("BRPOP <key> 0.001", Exact),
    rule(
        "BLPOP|BRPOP|BZPOPMIN <key> <key> nan|1e400|''|99999999999999999999|x",
        Exact,
    ),
    rule(
        "BLMPOP 0.001|nan|-1 0|3|-1|x <key> <key> LEFT COUNT:0|2?",
        Exact,
    ),
    rule("BLMOVE <key> <key> LEFT|RIGHT LEFT|RIGHT 0.001", Exact),
    rule("BRPOPLPUSH <key> <key> 0.001", Exact),
    rule(
        "BLMPOP 0.001 1|2 <key> <key> LEFT|RIGHT COUNT:<count>?",
        Exact,
    ),
    // set
    rule("SADD <key> <member>+", Exact),
    rule("SADD <key> <member>+", Exact),
    rule("SREM <key> <member>+", Exact),
    rule("SISMEMBER <key> <member>", Exact),
    rule("SMISMEMBER <key> <member>+", Exact),
    rule("SCARD <key>", Exact),
    rule("SMEMBERS <key>", Unordered),
    rule("SMOVE <key> <key> <member>", Exact),
    rule("SINTER <key>+", Unordered),
    rule("SINTERSTORE <key> <key>+", Exact),
    rule("SINTERCARD 1|2 <key> <key> LIMIT:<count>?", Exact),
    rule("SUNION <key>+", Unordered),
    rule("SUNIONSTORE <key> <key>+", Exact),
    rule("SDIFF <key>+", Unordered),
    rule("SDIFFSTORE <key> <key>+", Exact),
    rule("SSCAN <key> 0 COUNT 100000 MATCH:<pattern>?", Unordered),
    rule("SRANDMEMBER <key>", Shape),
    rule("SRANDMEMBER <key> <count>", Shape),
    // Which members go is drawn by each server: all of them, or none.
    rule("SPOP <key> 100000|0|-1|x", Unordered),
    // sorted set
    rule("ZADD <key> <score>:<member>+", Exact),
    rule("ZADD <key> <score>:<member>+", Exact),
    rule("ZADD <key> NX|XX? GT|LT? CH? INCR? <score> <member>", Exact),
    rule("ZADD <key> NX|XX|GT|LT? CH? <score>:<member>+", Exact),
    rule("ZINCRBY <key> <score> <member>", Exact),
    rule("ZREM <key> <member>+", Exact),
    rule("ZSCORE <key> <member>", Exact),
    rule("ZMSCORE <key> <member>+", Exact),
    rule("ZCARD <key>", Exact),
    rule("ZRANK <key> <member>", Exact),
    rule("ZREVRANK <key> <member>", Exact),
    rule("ZCOUNT <key> <score-edge> <score-edge>", Exact),
    rule("ZLEXCOUNT <lexkey> <lex-edge> <lex-edge>", Exact),
    rule("ZRANGE <key> 0 -1 WITHSCORES?", Exact),
    rule("ZRANGE <key> <index> <index> REV? WITHSCORES?", Exact),
    rule(
        "ZRANGE <key> <score-edge> <score-edge> BYSCORE REV? LIMIT:<index>:<index>? WITHSCORES?",
        Exact,
    ),
    rule(
        "ZRANGE <lexkey> <lex-edge> <lex-edge> BYLEX REV? LIMIT:<index>:<index>? WITHSCORES?",
        Exact,
    ),
    rule(
        "ZRANGESTORE <key> <key> <score-edge> <score-edge> BYSCORE REV? LIMIT:<index>:<index>?",
        Exact,
    ),
    rule(
        "ZRANGESTORE l2|l3 <lexkey> <lex-edge> <lex-edge> BYLEX REV? LIMIT:<index>:<index>?",
        Exact,
    ),
    rule("ZRANGESTORE <key> <key> <index> <index> REV?", Exact),
    rule("ZREVRANGE <key> <index> <index> WITHSCORES?", Exact),
    rule(
        "ZRANGEBYSCORE <key> <score-edge> <score-edge> WITHSCORES? LIMIT:<index>:<index>?",
        Exact,
    ),
    rule(
        "ZREVRANGEBYSCORE <key> <score-edge> <score-edge> WITHSCORES? LIMIT:<index>:<index>?",
        Exact,
    ),
    rule(
        "ZRANGEBYLEX <lexkey> <lex-edge> <lex-edge> LIMIT:<index>:<index>?",
        Exact,
    ),
    rule(
        "ZREVRANGEBYLEX <lexkey> <lex-edge> <lex-edge> LIMIT:<index>:<index>?",
        Exact,
    ),
    // By text only where all scores are equal: else the answer depends on the levels of Redis's skip list.
    rule("ZADD <lexkey> 0:<member>+", Exact),
    rule("ZADD <lexkey> 0:<value>+", Exact),
    rule("ZREM <lexkey> <member>+", Exact),
    rule("ZRANGE <lexkey> 0 -1", Exact),
    rule("ZREMRANGEBYRANK <key> <index> <index>", Exact),
    rule("ZREMRANGEBYSCORE <key> <score-edge> <score-edge>", Exact),
    rule("ZREMRANGEBYLEX <lexkey> <lex-edge> <lex-edge>", Exact),
    rule("ZPOPMIN <key> <count>?", Exact),
    rule("ZPOPMAX <key> <count>?", Exact),
    rule("ZMPOP 1|2 <key> <key> MIN|MAX|MID COUNT:<count>?", Exact),
    rule("BZPOPMIN <key> <key> 0.001|x|-1", Exact),
    rule("BZPOPMAX <key> 0.001", Exact),
    rule("BZMPOP 0.001 1|2 <key> <key> MIN|MAX COUNT:<count>?", Exact),
    // Members of one score come in order; the sets' order before that is each server's own.
    rule(
        "ZUNION 2 <key> <key> WEIGHTS:<score>:<score>? AGGREGATE:SUM|MIN|MAX|AVG? WITHSCORES?",
        Exact,
    ),
    rule(
        "ZINTER 2 <key> <key> WEIGHTS:<score>:<score>? AGGREGATE:SUM|MIN|MAX|AVG? WITHSCORES?",
        Exact,
    ),
    rule("ZDIFF 1|2|3|0|x <key> <key> WITHSCORES?", Exact),
    rule(
        "ZUNIONSTORE <key> 2 <key> <key> WEIGHTS:<score>:<score>? AGGREGATE:SUM|MIN|MAX?",
        Exact,
    ),
    rule(
        "ZINTERSTORE <key> 2 <key> <key> WEIGHTS:<score>:<score>? AGGREGATE:SUM|MIN|MAX?",
        Exact,
    ),
    rule("ZDIFFSTORE <key> 2 <key> <key>", Exact),
    rule("ZINTERCARD 1|2 <key> <key> LIMIT:<count>?", Exact),
    rule("ZSCAN <key> 0 COUNT 100000 MATCH:<pattern>?", Pairs),
    rule("ZRANDMEMBER <key>", Shape),
    rule("ZRANDMEMBER <key> <count> WITHSCORES?", Shape),
    // geo
    rule("GEOADD <key> NX|XX? CH? <place>:<member>+", Exact),
    rule("GEOPOS <key> <member>+", Exact),
    rule("GEOHASH <key> <member>+", Exact),
    rule("GEODIST <key> <member> <member> m|km|ft|mi|x?", Exact),
    rule(
        "GEOSEARCH <key> FROMMEMBER <member> BYRADIUS <radius> m|km|mi ASC|DESC COUNT:<count>? WITHCOORD? WITHDIST? WITHHASH?",
        Exact,
    ),
    rule(
        "GEOSEARCH <key> FROMLONLAT <place> BYBOX <radius> <radius> km|ft ASC|DESC COUNT:<count>? WITHCOORD? WITHDIST? WITHHASH?",
        Exact,
    ),
    rule(
        "GEOSEARCH <key> FROMLONLAT <place> BYRADIUS <radius> km COUNT:<count>:ANY? WITHDIST?",
        Exact,
    ),
    rule(
        "GEOSEARCHSTORE <key> <key> FROMMEMBER:<member>|FROMLONLAT:<place> BYRADIUS <radius> km|mi COUNT:<count>? STOREDIST?",
        Exact,
    ),
    rule(
        "GEORADIUS <key> <place> <radius> m|km|ft|mi WITHDIST? WITHCOORD? WITHHASH? COUNT:<count>? ASC|DESC",
        Exact,
    ),
    rule(
        "GEORADIUS <key> <place> <radius> km COUNT:<count>? STORE|STOREDIST <key>",
        Exact,
    ),
    rule(
        "GEORADIUSBYMEMBER <key> <member> <radius> km|mi WITHDIST? COUNT:<count>? ASC|DESC",
        Exact,
    ),
    rule(
        "GEORADIUSBYMEMBER <key> <member> <radius> km STORE|STOREDIST <key>",
        Exact,
    ),
    rule(
        "GEORADIUS <key> <place> <radius> km WITHDIST|WITHCOORD|WITHHASH? STORE|STOREDIST <key> STOREDIST:<key>? ASC|DESC?",
        Exact,
    ),
    rule(
        "GEOSEARCHSTORE <key> <key> FROMMEMBER <member> BYBOX <radius> <radius> m|km|ft|mi ASC|DESC COUNT:<count>? STOREDIST?",
        Exact,
    ),
    rule(
        "GEOSEARCHSTORE <key> <key> FROMLONLAT <place> BYRADIUS <radius> km WITHDIST|STOREDIST|ANY? COUNT:<count>?",
        Exact,
    ),
    rule(
        "GEOSEARCH <key> FROMMEMBER:<member>? FROMLONLAT:<place>? BYRADIUS:<radius>:km? BYBOX:<radius>:1:km? ASC",
        Exact,
    ),
    rule("GEOADD <key> NX|XX CH? NX|XX? <place>:<member>+", Exact),
    rule(
        "GEORADIUS_RO <key> <place> <radius> km WITHHASH? STORE:<key>?",
        Exact,
    ),
    rule(
        "GEORADIUSBYMEMBER_RO <key> <member> <radius> km WITHDIST?",
        Exact,
    ),
    // stream
    rule(
        "XADD <key> 1-1|2-*|0-*|5|7-7|8-*|9-1 <field>:<value>+",
        Exact,
    ),
    rule("XADD <key> 10-*|11-*|12-*|13-* <field>:<value>+", Exact),
    rule(
        "XADD <key> NOMKSTREAM? MAXLEN ~|= <count> LIMIT:<count>? 8-*|14-* <field> <value>",
        Exact,
    ),
    rule("XADD <key> MINID 2|5-1|9|x 8-*|14-* <field> <value>", Exact),
    rule("XLEN <key>", Exact),
    rule("XRANGE <key> - +", Exact),
    rule("XRANGE <key> -|2|(5|8-1|x +|8|(8|9-1 COUNT:<count>?", Exact),
    rule(
        "XREVRANGE <key> +|8|(8|9-1 -|2|(5|8-1|x COUNT:<count>?",
        Exact,
    ),
    rule("XDEL <key> 1-1|2-0|5-0|7-7|8-0|8-1|9-1|10-0|11-0+", Exact),
    rule(
        "XTRIM <key> MAXLEN|MINID ~|=? <count> LIMIT:<count>?",
        Exact,
    ),
    rule(
        "XSETID <key> 1|9-5|14-3 ENTRIESADDED:<count>? MAXDELETEDID:5|20?",
        Exact,
    ),
    rule("XINFO STREAM <key>", Exact),
    rule("XINFO GROUPS <key>", Exact),
    rule("XGROUP CREATE <key> g|h 0|$|5|8-1 MKSTREAM?", Exact),
    rule(
        "XGROUP SETID <key> g|h 0|$|5|8-1 ENTRIESREAD:<count>?",
        Exact,
    ),
    rule("XGROUP DESTROY <key> g|h", Exact),
    rule("XGROUP CREATECONSUMER <key> g|h a|b", Exact),
    rule("XGROUP DELCONSUMER <key> g|h a|b", Exact),
    rule("XREAD COUNT:<count>? STREAMS <key> 0|2|8-1|$|x", Exact),
    rule("XREAD STREAMS <key> <key> 0|2|8-1|$ 0|2|8-1|$", Exact),
    rule(
        "XREADGROUP GROUP g|h a|b COUNT:<count>? NOACK? STREAMS <key> >|0|5|x",
        Exact,
    ),
    rule("XACK <key> g|h 1-1|2-0|5-0|7-7|8-0|8-1|9-1|10-0+", Exact),
    rule("XPENDING <key> g|h", Exact),
    rule("XPENDING <key> g|h - + 10 a|b?", Time(2000)),
    rule(
        "XCLAIM <key> g|h a|b 0 1-1|5-0|8-0|8-1|9-1 2-0|7-7|10-0 FORCE? JUSTID?",
        Exact,
    ),
    rule(
        "XAUTOCLAIM <key> g|h a|b 0 0|5|8 COUNT:<count>? JUSTID?",
        Exact,
    ),
    rule("XINFO CONSUMERS <key> g|h", Time(2000)),
    rule("SORT <key> DESC? ALPHA? LIMIT:<index>:<index>?", Exact),
    rule(
        "SORT <key> BY:w*|k* DESC? GET:#|k*|nostar? STORE:<key>",
        Exact,
    ),
    rule(
        "SORT <key> BY:nosort ALPHA? GET:#|k*|nostar? STORE:<key>",
        Exact,
    ),
    rule("HSET <key> f1 <score> f2 <value>", Exact),
    // Of equal weights the elements decide.
    rule(
        "SORT <key> BY k*->f1|w*->f1|*->f1|k*|k*k* LIMIT:<index>:<index>? ASC|DESC? GET:k*->f1|#|*|k*->f2|k*->? GET:k*|#? STORE:<key>?",
        Exact,
    ),
    rule(
        "SORT_RO <key> BY:k*->f1|w*? GET:#? GET:k*->f1|k*? LIMIT:<index>:<index>? DESC?",
        Exact,
    ),
    rule("SORT <key> GET GET|STORE|LIMIT:1|BY", Exact),
    // By text, elements whose weights are equal or missing come in the order of each server's table.
    rule("SORT_RO <key> BY:w*|k* ALPHA DESC?", Unordered),
    rule("SORT_RO <key> BY:k* DESC? GET:k*?", Shape),
    // bitmap
    rule("SETBIT <key> 0|1|7|8|100|-1|x 0|1|1|2|x", Exact),
    rule("GETBIT <key> 0|1|7|8|100|4294967296|x", Exact),
    rule("BITCOUNT <key>", Exact),
    rule("BITCOUNT <key> <index> <index> BYTE|BIT?", Exact),
    rule("BITPOS <key> 0|1|1|2 <index>?", Exact),
    rule("BITPOS <key> 0|1 <index> <index> BYTE|BIT?", Exact),
    rule("BITOP AND|OR|XOR|NOT <key> <key>+", Exact),
    rule(
        "BITFIELD <key> OVERFLOW:WRAP|SAT|FAIL? SET|INCRBY:u8|i5|i64|u63|u1:0|3|#2:<int>+",
        Exact,
    ),
    rule("BITFIELD <key> GET:u8|i5|i64|u63|u64:0|3|#2|-1+", Exact),
    rule("BITFIELD_RO <key> GET:u8|i5|i64|u63:0|3|#2+", Exact),
    rule(
        "BITFIELD <key> OVERFLOW:WRAP|SAT|FAIL|x SET:u8|i8|i63|u62:<bit-offset>:<int> OVERFLOW:WRAP|SAT|FAIL INCRBY:u2|i3|i64:<bit-offset>:<int>",
        Exact,
    ),
    rule(
        "BITFIELD_RO <key> GET:u8:0 SET|INCRBY|OVERFLOW:u8:0:1?",
        Exact,
    ),
    // hyperloglog
    rule("PFADD <key> <member>+", Exact),
    rule("PFCOUNT <key>+", Exact),
    rule("PFMERGE <key> <key>+", Exact),
    rule("PFDEBUG ENCODING|DECODE|TODENSE|NOSUCH <key>", Exact),
    // connection
    rule("PING", Exact),
    rule("PING <value>", Exact),
    rule("ECHO <value>", Exact),
    rule("SELECT <db>", Exact),
    rule("AUTH <value>", Exact),
    rule("AUTH <key> <value>", Exact),
    rule("AUTH u3|default pw", Exact),
    rule("HELLO 2|3|3|4|abc", Shape),
    rule("HELLO 2|3 SETNAME:<key>? AUTH:default:<value>?", Shape),
    rule("CLIENT ID", Shape),
    rule("CLIENT INFO", Shape),
    rule("CLIENT SETNAME <value>", Exact),
    rule("CLIENT GETNAME", Exact),
    rule("CLIENT NO-EVICT ON|OFF|MAYBE", Exact),
    rule("CLIENT UNBLOCK <int> TIMEOUT|ERROR?", Exact),
    rule("CLIENT KILL ID 1000000000", Exact),
    rule("CLIENT KILL TYPE <value>", Exact),
    rule("CLIENT KILL NOSUCH <value>", Exact),
    rule("CLIENT REPLY ON|MAYBE", Exact),
    // Any client's number is as good as any other's.
    rule("CLIENT GETREDIR", Time(u64::MAX)),
    rule("CLIENT NOSUCH", Exact),
    rule("RESET", Exact),
    // transactions
    rule("MULTI", Exact),
    rule("MULTI", Exact),
    rule("EXEC", Exact),
    rule("EXEC", Exact),
    rule("EXEC", Exact),
    rule("DISCARD", Exact),
    rule("WATCH <key>+", Exact),
    rule("UNWATCH", Exact),
    // server
    rule(
        "CONFIG GET maxmemory-policy|hash-max-listpack-*|databases|nosuch",
        Pairs,
    ),
    rule(
        "CONFIG GET list-*|set-max-intset-entries notify*|nosuch",
        Pairs,
    ),
    rule("CONFIG SET <directive>", Exact),
    rule("CONFIG SET <directive>", Exact),
    rule("CONFIG SET <directive> <directive>", Exact),
    rule("CONFIG SET slowlog-max-len <int>", Exact),
    rule("CONFIG SET nosuch <value>", Exact),
    rule("CONFIG NOSUCH", Exact),
    rule("SLOWLOG GET|LEN|NOSUCH <int>", Refusal),
    rule("WAIT 0|-1|x 1|x|-1", Exact),
    rule("COMMAND INFO get|set|nosuch+", Unordered),
    rule("COMMAND DOCS nosuch", Unordered),
    rule("COMMAND GETKEYS <line>", Unordered),
    rule("COMMAND GETKEYSANDFLAGS <line>", Unordered),
    rule("DEBUG OBJECT <key>", Shape),
    rule("DEBUG SLEEP x", Exact),
    rule("DEBUG DIGEST-VALUE <key>+", Exact),
    rule("DEBUG DIGEST", Exact),
    rule("DEBUG STRINGMATCH-LEN <int> <pattern>", Refusal),
    rule(
        "DEBUG PROTOCOL string|integer|double|null|array|set|map|attrib|verbatim|true|false",
        Exact,
    ),
    rule("DEBUG NOSUCH", Exact),
    rule(
        "ACL SETUSER u1|u2 on|off? nopass|>pw|<pw|resetpass? ~k*|allkeys|%R~k1|resetkeys? &c*|allchannels? +@all|-@all|+get|-set|+@read|-@write|+client|id|reset? <value>?",
        Exact,
    ),
    rule("ACL SETUSER u1|u2 (+get:~k1)|clearselectors|bad", Exact),
    rule(
        "ACL SETUSER u3 ~k1|%W~k2|allkeys|resetkeys? &c1|resetchannels? clearselectors|(~k3)?",
        Exact,
    ),
    rule("ACL DRYRUN u3 <line>", Exact),
    rule("ACL WHOAMI|USERS|NOSUCH", Exact),
    rule("ACL DELUSER u1|u2|nosuch u1|u2?", Exact),
    rule("ACL DRYRUN u1|u2|default|nosuch <line>", Exact),
    rule("ACL LOG <count>?", Refusal),
    rule("ACL LOG RESET", Refusal),
    rule(
        "MIGRATE 127.0.0.1 1 <key> 0|x 10|x COPY? REPLACE? AUTH:pw?",
        Exact,
    ),
    rule(
        "MIGRATE 127.0.0.1 1 '' 0 10 COPY? AUTH2:u:pw? KEYS:<key>:<key>?",
        Exact,
    ),
    rule("NOSUCH <value>+", Exact),
    // scripting
    rule("EVAL <script> 1 <key> <value>", Exact),
    rule("EVAL <script> 0|1|2|-1|x <key>+", Exact),
    rule("EVAL_RO <script> 1 <key> <value>", Exact),
    rule("EVALSHA <sha> 1|0|2 <key>", Exact),
    rule("EVALSHA_RO <sha> 1 <key>", Exact),
    rule("SCRIPT LOAD <script>", Exact),
    rule("SCRIPT EXISTS <sha>+", Exact),
    rule("SCRIPT DEBUG NO|MAYBE", Exact),
    rule("FUNCTION LOAD REPLACE? <library>", Exact),
    rule("FCALL two|call|nosuch 1|0|-1|x|5 <key> <value>", Exact),
    rule("FCALL_RO two|read|call|nosuch 1|0 <key>", Exact),
    rule(
        "FUNCTION LIST LIBRARYNAME:lib|l*|nosuch? WITHCODE?",
        Unordered,
    ),
    rule(
        "FUNCTION RESTORE <functions> FLUSH|APPEND|REPLACE|x?",
        Exact,
    ),
    rule("FUNCTION RESTORE <functions> REPLACE", Exact),
    rule("FUNCTION DELETE lib|lib2|nosuch", Exact),
    rule("FUNCTION FLUSH ASYNC|SYNC|x?", Exact),
    rule("FUNCTION STATS", Exact),
    rule("FCALL all 0|1 <key> 3 SET <key> <value> 2 GET <key>", Exact),
    rule("SCRIPT FLUSH ASYNC|SYNC|x?", Exact),
    // client side caching
    rule(
        "CLIENT TRACKING ON|OFF BCAST:PREFIX:k1|PREFIX:k2|OPTIN|OPTOUT? NOLOOP?",
        Exact,
    ),
    rule("CLIENT TRACKING ON BCAST NOLOOP?", Exact),
    rule("CLIENT TRACKING ON REDIRECT:1000000000 PREFIX:k?", Exact),
    rule("CLIENT TRACKING ON", Exact),
    rule(
        "CLIENT TRACKING ON REDIRECT:<subscriber> OPTIN|OPTOUT? NOLOOP?",
        Exact,
    ),
    rule(
        "CLIENT TRACKING ON REDIRECT:<subscriber> BCAST PREFIX:k1? PREFIX:k2? NOLOOP?",
        Exact,
    ),
    rule("CLIENT CACHING YES|NO|MAYBE", Exact),
    rule("CLIENT TRACKINGINFO", Time(u64::MAX)),
    rule(
        "CLIENT KILL ADDR:127.0.0.1:1|LADDR:127.0.0.1:1 USER:nosuch SKIPME:YES|NO",
        Exact,
    ),
    rule("CLIENT KILL 127.0.0.1:1", Exact),
    // No pause that lasts: Redis counts whom it holds up among the blocked clients.
    rule("CLIENT PAUSE 0|x|-1 WRITE|ALL|x?", Exact),
    // pub/sub
    rule("PUBLISH <channel> <value>", Exact),
    rule("PUBLISH <channel> <value>", Exact),
    rule("SPUBLISH <channel> <value>", Exact),
    // more of streams
    rule(
        "XADD <key> NOMKSTREAM? MAXLEN|MINID ~|=? <count> 15-*|16-* <field> <value>",
        Exact,
    ),
    rule("XREAD BLOCK 1|x STREAMS <key> $|0", Exact),
    rule(
        "XREADGROUP GROUP g|h a|b BLOCK:1? COUNT:<count>? NOACK? STREAMS <key> <key> >|0 >|0",
        Exact,
    ),
    rule(
        "XCLAIM <key> g|h a|b 0 8-0|8-1|9-1 IDLE:0|TIME:1? RETRYCOUNT:3? FORCE? JUSTID? LASTID:5?",
        Exact,
    ),
    rule(
        "XPENDING <key> g|h IDLE 0|1000000000|x - + 10 a|b?",
        Time(2000),
    ),
    rule("XINFO STREAM <key> FULL COUNT:<count>?", Time(2000)),
    rule("XGROUP CREATE <key> g|h 0 MKSTREAM", Exact),
    rule("XREADGROUP GROUP g|h a|b STREAMS <key> >", Exact),
    rule(
        "XREADGROUP GROUP g|h a|b|c COUNT:2? STREAMS <key> <key> <key> >|0|8-1|$ >|0 >|0|5",
        Exact,
    ),
    rule(
        "XAUTOCLAIM <key> g|h a|b|c 0|1000000000|-1 -|+|(8-0|8-2|x COUNT:0|1|2|3? JUSTID?",
        Exact,
    ),
    rule(
        "XCLAIM <key> g|h a|b 0|1000000000|-1|x 8-0|8-1|14-0|x 7-7|15-0+ IDLE:-1|0? TIME:-1|1? RETRYCOUNT:-1|0|5? JUSTID?",
        Exact,
    ),
    rule(
        "XPENDING <key> g|h IDLE 0 -|(8-0|8-1 +|(14-0|9 1|3|0 a|b|c?",
        Time(2000),
    ),
    rule(
        "XREAD COUNT 1|2 STREAMS <key> <key> <key> 0|8 0|14-0 0|$",
        Exact,
    ),
    // Times that no other rule sets: whether they end a longer one is no matter of milliseconds.
    rule("EXPIRE <key> 50000 LT", Exact),
    rule("PEXPIRE <key> 50000000 LT", Exact),
    rule(
        "RESTORE <key> <ttl-ms> <value> REPLACE? ABSTTL? IDLETIME:<int>? FREQ:<int>?",
        Exact,
    ),
    rule(
        "RESTORE-ASKING <key> <ttl-ms> <value> REPLACE? ABSTTL? IDLETIME:<int>? FREQ:<int>?",
        Exact,
    ),
    rule("SORT <key> ALPHA|LIMIT:0:5 ASC|DESC ALPHA", Exact),
    rule("SORT_RO <key> LIMIT:0:5? GET:# ASC|DESC ALPHA", Exact),
    rule("SPOP <key> 0", Exact),
];

/// For the connection that listens.
pub const LISTENING: &[Rule] = &[
    rule("SUBSCRIBE <channel>+", Exact),
    rule("PSUBSCRIBE <channels>+", Exact),
    rule("SSUBSCRIBE <channel>+", Exact),
    rule("UNSUBSCRIBE <channel>?", Exact),
    rule("SUBSCRIBE __redis__:invalidate", Exact),
    rule("SUBSCRIBE __redis__:invalidate", Exact),
    rule("PUNSUBSCRIBE <channels>?", Exact),
    rule("SUNSUBSCRIBE <channel>?", Exact),
    rule("HELLO 2|3", Shape),
    rule("RESET", Exact),
    rule("GET <key>", Exact),
    rule("PUBLISH <channel> <value>", Exact),
    rule("PING", Exact),
];

/// For the connection that waits.
pub const BLOCKING: &[Rule] = &[
    rule("BLPOP <key>+ 0", Exact),
    rule("BRPOP <key>+ 0", Exact),
    rule("BLMOVE <key> <key> LEFT|RIGHT LEFT|RIGHT 0", Exact),
    rule("BRPOPLPUSH <key> <key> 0", Exact),
    rule("BLMPOP 0 2 <key> <key> LEFT|RIGHT COUNT:<count>?", Exact),
    rule("BZPOPMIN <key>+ 0", Exact),
    rule("BZPOPMAX <key>+ 0", Exact),
    rule("BZMPOP 0 2 <key> <key> MIN|MAX COUNT:<count>?", Exact),
    rule("XREAD COUNT:<count>? BLOCK 0 STREAMS <key> $|8-1", Exact),
    rule("XREAD BLOCK 0 STREAMS <key> <key> $ $", Exact),
    rule(
        "XREADGROUP GROUP g|h a|b COUNT:<count>? BLOCK 0 NOACK? STREAMS <key> >",
        Exact,
    ),
    rule("HELLO 2|3", Shape),
    rule("SELECT 0|1", Exact),
    rule(
        "XREADGROUP GROUP g a|b BLOCK 0 STREAMS <key> <key> > >",
        Exact,
    ),
    rule("XREADGROUP GROUP g|h a BLOCK 0 STREAMS <key> >", Exact),
    rule("BLMOVE k0|k1|k2 k0|k1|k2 LEFT|RIGHT LEFT|RIGHT 0", Exact),
    rule("BLPOP|BRPOP k0|k1|k2 k0|k1|k2 0", Exact),
    rule("BZPOPMIN|BZPOPMAX k0|k1|k2 k0|k1|k2 0", Exact),
    rule("BZMPOP 0 1 k0|k1 MIN|MAX COUNT:<count>?", Exact),
    rule("BLMPOP 0 1 k0|k1 LEFT|RIGHT COUNT:<count>?", Exact),
    rule("CLIENT NO-EVICT ON|OFF", Exact),
];
