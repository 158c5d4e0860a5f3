#!/usr/bin/env python3
"""Figures of EagleDB beside redis-server 7.0.15, measured in turns in one run.

For each case both servers are loaded one after the other, several times over, so that a drift of
the machine hits both. Printed are medians: requests per second, server CPU per request (user plus
system time from /proc), and their ratios. Then memory per key and per element, and the time from start
to the first right reply after kill -9 for a small and a large data set.

usage: figures.py EAGLEDB_BINARY [--rounds 3] [--requests 400000] [--keys 1000000] [--large 5000000]
                  [--parts throughput,memory,restart] [--cases REGEX]
"""

import argparse
import itertools
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

# Name, arguments of redis-benchmark, and what prepares the data.
CASES = [
    ("SET", ["-t", "set"], None),
    ("GET", ["-t", "get"], None),
    ("HSET", ["-t", "hset"], None),
    ("LPUSH", ["-t", "lpush"], None),
    ("RPOP", ["-t", "rpop"], None),
    ("SADD", ["-t", "sadd"], None),
    ("ZADD", ["ZADD", "zset", "__rand_int__", "member:__rand_int__"], None),
    ("ZRANGE of 10", ["ZRANGE", "ranked", "1000", "1009"],
     lambda server: server.send((b"ZADD ranked %d member:%d" % (i, i) for i in range(100_000)))),
    ("XADD", ["XADD", "stream", "*", "field", "__rand_int__"], None),
    ("MSET of 10", ["-t", "mset"], None),
    ("EVAL of INCR", ["EVAL", "return redis.call('incr', KEYS[1])", "1", "counter:__rand_int__"], None),
    ("PUBLISH to 10", ["PUBLISH", "channel", "message"], lambda server: server.subscribe("channel", 10)),
]
PIPELINES = [1, 16]
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    def __init__(self, name, command, port):
        self.name, self.command, self.port = name, command, port
        self.dir = tempfile.mkdtemp(prefix=f"figures-{name}-")
        self.process = None
        self.helpers = []

    def start(self):
        """Starts the server; returns the seconds until it answers a PING."""
        began = time.monotonic()
        self.process = subprocess.Popen(
            [*self.command, "--port", str(self.port), "--dir", self.dir, "--save", "", "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
        )
        while self.call("PING") != b"+PONG":
            if self.process.poll() is not None or time.monotonic() - began > 120:
                raise SystemExit(f"{self.name} did not start")
            time.sleep(0.0005)
        return time.monotonic() - began

    def call(self, line):
        """Runs one inline command; the first line of the reply, or None if nobody listens."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
                connection.sendall(line.encode() + b"\r\n")
                return connection.makefile("rb").readline().strip()
        except OSError:
            return None

    def send(self, lines):
        """Runs inline commands in pipelines of 10,000; none may fail."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=600) as connection:
            replies = connection.makefile("rb")
            lines = iter(lines)
            while batch := list(itertools.islice(lines, 10_000)):
                connection.sendall(b"\r\n".join(batch) + b"\r\n")
                for _ in batch:
                    reply = replies.readline()
                    assert reply[:1] in b"+:$", reply
                    if reply[:1] == b"$" and reply != b"$-1\r\n":
                        replies.readline()

    def subscribe(self, channel, count):
        """Subscribers that read as fast as they can, until the server stops."""
        for _ in range(count):
            command = ["redis-cli", "-p", str(self.port), "subscribe", channel]
            self.helpers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        time.sleep(1)

    def dismiss(self):
        for helper in self.helpers:
            helper.kill()
            helper.wait()
        self.helpers = []

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def used_bytes(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(b"INFO memory\r\nQUIT\r\n")
            text = connection.makefile("rb").read().decode()
        return int(next(l.split(":")[1] for l in text.splitlines() if l.startswith("used_memory:")))

    def stop(self, how=signal.SIGTERM):
        self.dismiss()
        if self.process:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def remove(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)


def load(server, arguments, pipeline, requests, keyspace):
    """One run of redis-benchmark; requests per second and server CPU microseconds per request."""
    before = server.cpu_seconds()
    output = subprocess.run(
        ["redis-benchmark", "-p", str(server.port), "-n", str(requests), "-r", str(keyspace), "-P", str(pipeline),
         "-c", "50", "--threads", "2", "--csv", *arguments],
        capture_output=True, text=True, check=True, timeout=600,
    ).stdout
    spent = server.cpu_seconds() - before
    row = [line for line in output.splitlines() if line.startswith('"') and not line.startswith('"test"')][-1]
    return float(row.split(",")[1].strip('"')), spent / requests * 1e6


def throughput(servers, options):
    print(f"{'case':<26} {'':>10} {'requests/s':>12} {'CPU us/op':>10}")
    chosen = [case for case in CASES if re.search(options.cases, case[0])]
    for (name, arguments, prepare), pipeline in itertools.product(chosen, PIPELINES):
        requests = options.requests * (4 if pipeline > 1 else 1)
        title = f"{name}, pipeline {pipeline}"
        rows = {server.name: [] for server in servers}
        for server in servers:
            if prepare:
                prepare(server)
        for _ in range(options.rounds):
            for server in servers:
                rows[server.name].append(load(server, arguments, pipeline, requests, options.keys))
        for server in servers:
            server.dismiss()
            if name == "RPOP" and pipeline == PIPELINES[-1]:
                server.call("FLUSHALL")
        medians = {
            key: (statistics.median(r for r, _ in runs), statistics.median(c for _, c in runs))
            for key, runs in rows.items()
        }
        for key, (rate, cpu) in medians.items():
            print(f"{title:<26} {key:>10} {rate:>12.0f} {cpu:>10.2f}")
        (rate_a, cpu_a), (rate_b, cpu_b) = medians["eagledb"], medians["redis"]
        print(f"{title:<26} {'ratio':>10} {rate_a / rate_b:>12.2f} {cpu_a / cpu_b:>10.2f}", flush=True)


# Name, and the commands that store `n` elements.
DATA = [
    ("strings, 16-byte key, 8-byte value", lambda n: (b"SET key:%012d %08d" % (i, i) for i in range(n))),
    ("strings, 16-byte key, 16-byte value", lambda n: (b"SET key:%012d val:%012d" % (i, i) for i in range(n))),
    ("strings, 16-byte key, 64-byte value", lambda n: (b"SET key:%012d %064d" % (i, i) for i in range(n))),
    ("strings, 16-byte key, 1-KiB value", lambda n: (b"SET key:%012d x%01023d" % (i, i) for i in range(n // 4))),
    ("hashes of 5 small fields",
     lambda n: (b"HSET key:%012d f1 %d f2 %d f3 %d f4 %d f5 %d" % (i, i, i, i, i, i) for i in range(n // 4))),
    ("members of one zset", lambda n: (b"ZADD zset %d member:%d" % (i, i) for i in range(n))),
    ("fields of one hash", lambda n: (b"HSET hash field:%d %d" % (i, i) for i in range(n))),
    ("members of one set", lambda n: (b"SADD set member:%d" % i for i in range(n))),
    ("elements of one list", lambda n: (b"RPUSH list element:%d" % i for i in range(n))),
    ("entries of one stream", lambda n: (b"XADD stream %d-1 field %d" % (i + 1, i) for i in range(n))),
]


def memory(servers, options):
    """Bytes of used_memory per key or element, each kind of data alone in the server."""
    print(f"\n{'bytes per key or element':<36} {'eagledb':>8} {'redis':>8} {'ratio':>6}")
    for name, commands in DATA:
        costs = []
        for server in servers:
            server.call("FLUSHALL")
            time.sleep(1)
            used = server.used_bytes()
            count = sum(1 for _ in commands(options.keys))
            server.send(commands(options.keys))
            costs.append((server.used_bytes() - used) / count)
            server.call("FLUSHALL")
        print(f"{name:<36} {costs[0]:>8.1f} {costs[1]:>8.1f} {costs[0] / costs[1]:>6.2f}", flush=True)


def restart(server, options):
    print("\nstart until the first right reply after kill -9 (eagledb)")
    for keys in (10_000, options.large):
        server.call("FLUSHALL")
        server.send(b"SET key:%012d val:%012d" % (i, i) for i in range(keys))
        times = []
        for _ in range(5):
            server.stop(signal.SIGKILL)
            times.append(server.start())
            assert server.call(f"GET key:{keys - 1:012d}") == b"$16"
        print(f"{keys:>10} keys: {statistics.median(times) * 1000:.0f} ms "
              f"(of 5: {', '.join(f'{t * 1000:.0f}' for t in sorted(times))})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=400_000)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=5_000_000)
    parser.add_argument("--parts", default="throughput,memory,restart")
    parser.add_argument("--cases", default="", help="only the throughput cases whose name this expression matches")
    options = parser.parse_args()
    parts = options.parts.split(",")
    eagledb = Server("eagledb", [os.path.abspath(options.binary)], 17801)
    redis = Server("redis", ["redis-server"], 17802)
    try:
        for server in (eagledb, redis):
            server.start()
        if "throughput" in parts:
            throughput([eagledb, redis], options)
        if "memory" in parts:
            memory([eagledb, redis], options)
        redis.remove()
        if "restart" in parts:
            restart(eagledb, options)
    finally:
        eagledb.remove()
        redis.remove()


if __name__ == "__main__":
    main()
