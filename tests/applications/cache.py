"""dogpile.cache on its Redis Cluster backend. usage: cache.py PORT"""

import sys
import threading
import time

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from redis.cluster import ClusterNode

PORT = int(sys.argv[1])

region = make_region().configure(
    "dogpile.cache.redis_cluster",
    expiration_time=2,
    arguments={
        "startup_nodes": [ClusterNode("127.0.0.1", PORT)],
        "redis_expiration_time": 60,
        "distributed_lock": True,
        "thread_local_lock": False,
    },
)

calls = []


@region.cache_on_arguments()
def square(n):
    calls.append(n)
    time.sleep(0.05)
    return n * n


# Many threads ask for the same few values: each is computed once, under the distributed lock.
results = []
threads = [threading.Thread(target=lambda n=n: results.append((n, square(n)))) for n in list(range(5)) * 8]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(results) == 40 and all(value == n * n for n, value in results), results
assert sorted(calls) == [0, 1, 2, 3, 4], calls

# Values expire, are invalidated, set and deleted.
square.invalidate(3)
assert square(3) == 9 and calls.count(3) == 2
time.sleep(2.2)
assert square(4) == 16 and calls.count(4) == 2
region.set("plain", {"a": [1, 2, 3]})
assert region.get("plain") == {"a": [1, 2, 3]}
region.delete("plain")
assert region.get("plain") is NO_VALUE

# Several keys at once: of one slot, as the library asks of its users.
region.set_multi({f"{{many}}:{i}": i for i in range(200)})
assert region.get_multi([f"{{many}}:{i}" for i in range(201)]) == [*range(200), NO_VALUE]
region.delete_multi([f"{{many}}:{i}" for i in range(200)])
assert region.get("{many}:7") is NO_VALUE
print("ok")
