"""redis-py's asyncio RedisCluster, knowing one node only. usage: cluster_asyncio.py PORT"""

import asyncio
import sys

from redis.asyncio.cluster import RedisCluster

PORT = int(sys.argv[1])


async def main():
    # The client refuses more commands at once than it may have connections.
    at_once = asyncio.Semaphore(50)

    async def limited(command):
        async with at_once:
            return await command

    async with RedisCluster(host="127.0.0.1", port=PORT, decode_responses=True) as client:
        await client.flushall()
        await asyncio.gather(*(limited(client.set(f"key:{i}", i)) for i in range(1000)))
        values = await asyncio.gather(*(limited(client.get(f"key:{i}")) for i in range(1000)))
        assert values == [str(i) for i in range(1000)], values
        counts = await asyncio.gather(*(limited(client.incr("counter")) for _ in range(500)))
        assert sorted(counts) == list(range(1, 501))

        pipe = client.pipeline()
        for i in range(500):
            pipe.hset(f"hash:{i}", "field", i)
        assert await pipe.execute() == [1] * 500


asyncio.run(main())
print("ok")
