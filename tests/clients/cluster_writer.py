"""A live writer for tests that move slots: redis-py's RedisCluster writes until the key `stop` exists, then reads all back.

Every reply must be the one its own model foretells, so a lost, stale or doubled write shows at once.
usage: cluster_writer.py PORT
"""

import random
import sys

from redis.cluster import RedisCluster

KEYS = 2000

client = RedisCluster(host="127.0.0.1", port=int(sys.argv[1]), decode_responses=True)
rng = random.Random(7)
strings, counters, hashes = {}, {}, {}

writes = 0
while writes % 50 or not client.exists("stop"):
    number = rng.randrange(KEYS)
    kind = rng.randrange(4)
    if kind == 0:
        strings[number] = f"{writes}." * rng.randrange(1, 20)
        assert client.set(f"string:{number}", strings[number]) is True
    elif kind == 1:
        strings[number] = strings.get(number, "") + f"+{writes}"
        assert client.append(f"string:{number}", f"+{writes}") == len(strings[number])
    elif kind == 2:
        counters[number] = counters.get(number, 0) + 1
        assert client.incr(f"counter:{number}") == counters[number]
    else:
        fields = hashes.setdefault(number, {})
        field = f"field:{rng.randrange(10)}"
        assert client.hset(f"hash:{number}", field, writes) == (field not in fields)
        fields[field] = str(writes)
    writes += 1
    if writes % 50 == 0:
        client.set("writes", writes)

assert [client.get(f"string:{i}") for i in range(KEYS)] == [strings.get(i) for i in range(KEYS)]
assert [client.get(f"counter:{i}") for i in range(KEYS)] == [
    str(counters[i]) if i in counters else None for i in range(KEYS)
]
assert [client.hgetall(f"hash:{i}") for i in range(KEYS)] == [hashes.get(i, {}) for i in range(KEYS)]
print("ok")
