"""The rate limiter `limits` with each of its strategies over a cluster. usage: limiter.py PORT"""

import concurrent.futures
import sys
import time

from limits import RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

PORT = int(sys.argv[1])

storage = storage_from_string(f"redis+cluster://127.0.0.1:{PORT}")
assert storage.check()

for strategy in (FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter):
    storage.reset()
    limiter = strategy(storage)
    minute = RateLimitItemPerMinute(10)
    for user in ("ann", "bob"):
        assert [limiter.hit(minute, user) for _ in range(12)] == [True] * 10 + [False] * 2, strategy
        assert not limiter.test(minute, user)
        assert limiter.get_window_stats(minute, user).remaining == 0
    limiter.clear(minute, "ann")
    assert limiter.test(minute, "ann") and not limiter.test(minute, "bob")

    # However many ask at the same time, exactly as many pass as may.
    crowd = RateLimitItemPerMinute(50)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        passed = sum(pool.map(lambda _: limiter.hit(crowd, "crowd"), range(400)))
    assert passed == 50, (strategy, passed)

    # A window ends.
    second = RateLimitItemPerSecond(2)
    assert [limiter.hit(second, "cat") for _ in range(3)] == [True, True, False], strategy
    time.sleep(2.1)
    assert limiter.hit(second, "cat"), strategy
print("ok")
