#!/usr/bin/env python3
"""Figures of EagleDB beside redis-server 7.0.15, measured in turns in one run.

For each case both servers are loaded one after the other, several times over, so that a drift of
the machine hits both. Printed are medians: requests per second, server CPU per request (user plus
system time from /proc), and their ratios. Then memory per key, and the time from start to the first
right reply after kill -9 for a small and a large data set.

usage: figures.py EAGLEDB_BINARY [--rounds 3] [--requests 400000] [--keys 1000000] [--large 5000000]
"""

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

CASES = [
    ("SET, no pipeline", ["-t", "set"], 1),
    ("GET, no pipeline", ["-t", "get"], 1),
    ("HSET, no pipeline", ["-t", "hset"], 1),
    ("SET, pipeline 16", ["-t", "set"], 16),
    ("GET, pipeline 16", ["-t", "get"], 16),
    ("HSET, pipeline 16", ["-t", "hset"], 16),
]
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    def __init__(self, name, command, port):
        self.name, self.command, self.port = name, command, port
        self.dir = tempfile.mkdtemp(prefix=f"figures-{name}-")
        self.process = None

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
    print(f"{'case':<20} {'':>10} {'requests/s':>12} {'CPU us/op':>10}")
    for name, arguments, pipeline in CASES:
        requests = options.requests * (4 if pipeline > 1 else 1)
        rows = {server.name: [] for server in servers}
        for _ in range(options.rounds):
            for server in servers:
                rows[server.name].append(load(server, arguments, pipeline, requests, options.keys))
        medians = {
            key: (statistics.median(r for r, _ in runs), statistics.median(c for _, c in runs))
            for key, runs in rows.items()
        }
        for key, (rate, cpu) in medians.items():
            print(f"{name:<20} {key:>10} {rate:>12.0f} {cpu:>10.2f}")
        (rate_a, cpu_a), (rate_b, cpu_b) = medians["eagledb"], medians["redis"]
        print(f"{name:<20} {'ratio':>10} {rate_a / rate_b:>12.2f} {cpu_a / cpu_b:>10.2f}", flush=True)


def fill(server, keys):
    """Stores `keys` strings: 16-byte keys, 16-byte values."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=600) as connection:
        replies = connection.makefile("rb")
        for first in range(0, keys, 10000):
            count = min(10000, keys - first)
            batch = b"".join(
                b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$16\r\nval:%012d\r\n" % (i, i)
                for i in range(first, first + count)
            )
            connection.sendall(batch)
            for _ in range(count):
                assert replies.readline() == b"+OK\r\n"


def memory(servers, options):
    print(f"\nbytes per key, {options.keys} keys of 16 bytes with 16-byte values")
    for server in servers:
        server.call("FLUSHALL")
        time.sleep(1)
        used = server.used_bytes()
        fill(server, options.keys)
        print(f"{server.name:>10}: {(server.used_bytes() - used) / options.keys:.1f} used_memory")


def restart(server, options):
    print("\nstart until the first right reply after kill -9 (eagledb)")
    for keys in (10_000, options.large):
        server.call("FLUSHALL")
        fill(server, keys)
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
    options = parser.parse_args()
    eagledb = Server("eagledb", [os.path.abspath(options.binary)], 17801)
    redis = Server("redis", ["redis-server"], 17802)
    try:
        for server in (eagledb, redis):
            server.start()
        throughput([eagledb, redis], options)
        memory([eagledb, redis], options)
        redis.remove()
        restart(eagledb, options)
    finally:
        eagledb.remove()
        redis.remove()


if __name__ == "__main__":
    main()
