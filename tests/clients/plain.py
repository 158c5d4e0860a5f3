"""redis-py's ordinary client against one node that forwards. usage: plain.py PORT"""

import sys

import redis

PORT = int(sys.argv[1])

for protocol in (2, 3):
    client = redis.Redis(host="127.0.0.1", port=PORT, protocol=protocol, decode_responses=True)
    for i in range(500):
        assert client.set(f"key:{i}", i) is True
    assert [client.get(f"key:{i}") for i in range(500)] == [str(i) for i in range(500)]
    assert client.mget([f"key:{i}" for i in range(500)]) == [str(i) for i in range(500)]
    pipe = client.pipeline(transaction=False)
    for i in range(500):
        pipe.incr(f"key:{i}")
    assert pipe.execute() == [i + 1 for i in range(500)]
    assert client.delete(*(f"key:{i}" for i in range(500))) == 500
    client.close()
print("ok")
