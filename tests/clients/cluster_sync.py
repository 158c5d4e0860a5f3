"""redis-py's RedisCluster, knowing one node only. usage: cluster_sync.py PORT"""

import sys

from redis.cluster import RedisCluster

PORT = int(sys.argv[1])

for protocol in (2, 3):
    client = RedisCluster(host="127.0.0.1", port=PORT, protocol=protocol, decode_responses=True)
    assert len(client.get_primaries()) == 3, client.get_nodes()
    client.flushall()

    for i in range(1000):
        assert client.set(f"key:{i}", i) is True
    assert [client.get(f"key:{i}") for i in range(1000)] == [str(i) for i in range(1000)]
    assert client.dbsize(target_nodes=RedisCluster.PRIMARIES) == 1000
    assert sorted(client.scan_iter(count=100)) == sorted(f"key:{i}" for i in range(1000))
    assert client.delete(*(f"key:{i}" for i in range(10))) == 10

    pipe = client.pipeline()
    for i in range(1000):
        pipe.incr(f"counter:{i % 100}")
    assert sorted(pipe.execute())[-1] == 10

    client.hset("{user}:1", mapping={"name": "Ann", "age": 41})
    assert client.hgetall("{user}:1") == {"name": "Ann", "age": "41"}
    assert client.mset({"{user}:2": "b", "{user}:3": "c"}) is True
    assert client.mget("{user}:2", "{user}:3", "{user}:none") == ["b", "c", None]
    assert client.mset_nonatomic({f"spread:{i}": i for i in range(100)})
    assert client.mget_nonatomic([f"spread:{i}" for i in range(100)]) == [str(i) for i in range(100)]
    client.expire("{user}:2", 100)
    assert 90 < client.ttl("{user}:2") <= 100
    client.close()
print("ok")
