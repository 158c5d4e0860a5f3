"""redis-py's ordinary client against one node that forwards, while slots move: blocked clients, transactions, scripts and
shard channels, a thread for each. usage: plain_in_motion.py PORT HASHTAG..."""

import sys
import threading
import time

import redis

PORT, TAGS = int(sys.argv[1]), sys.argv[2:]
SECONDS = 6
ITEMS = 150
failures = []


def client():
    return redis.Redis(host="127.0.0.1", port=PORT, protocol=2, decode_responses=True)


def queue(tag):
    """A consumer that blocks gets every item once, in order."""
    def produce():
        producer = client()
        for i in range(ITEMS):
            producer.rpush(f"{tag}queue", i)
            time.sleep(SECONDS / ITEMS)

    producer = threading.Thread(target=guarded, args=(produce,))
    producer.start()
    consumer = client()
    for i in range(ITEMS):
        found = consumer.blpop([f"{tag}none", f"{tag}queue"], 30)
        assert found == (f"{tag}queue", str(i)), (found, i)
    producer.join()


def count(tag, started, counts):
    """Optimistic increments by several clients lose none."""
    def increment(pipe):
        value = int(pipe.get(f"{tag}watched") or 0)
        pipe.multi()
        pipe.set(f"{tag}watched", value + 1)
        pipe.incr(f"{tag}other")

    own = client()
    while time.time() < started + SECONDS:
        own.transaction(increment, f"{tag}watched")
        counts.append(tag)


def script(tag, started):
    own, done = client(), 0
    increment = own.register_script("return redis.call('incr', KEYS[1])")
    while time.time() < started + SECONDS:
        done += 1
        assert increment(keys=[f"{tag}scripted"]) == done


def guarded(work, *args):
    try:
        work(*args)
    except BaseException as error:
        failures.append(f"{work.__name__}{args[:1]}: {error!r}")


started, counts = time.time(), []
work = [(queue, tag) for tag in TAGS]
work += [(script, tag, started) for tag in TAGS]
work += [(count, tag, started, counts) for tag in TAGS for _ in range(2)]
threads = [threading.Thread(target=guarded, args=args) for args in work]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
last = client()
for tag in TAGS:
    due = counts.count(tag)
    found = last.get(f"{tag}watched"), last.get(f"{tag}other")
    if found != (str(due), str(due)):
        failures.append(f"{tag}: {due} increments, but {found}")
print("\n".join(failures) or "ok")
