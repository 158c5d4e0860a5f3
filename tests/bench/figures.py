#!/usr/bin/env python3
"""Figures of EagleDB beside redis-server 7.0.15, measured in turns in one run.

For each case both servers are loaded one after the other, several times over, so that a drift of
the machine hits both. Parts, of which the first three need a quiet machine:

  throughput  requests per second, server CPU per request (user plus system time from /proc), and their ratios
  restart     time from start to the first right reply after kill -9, for data sets of several sizes
  speed       the engine by itself: longest stall of a growing slot, undo log on and off, two threads beside one,
              prefetching (runs `cargo run --release -p eagle-core --example figures`)
  memory      bytes per key and per element
  snapshot    peak memory during BGSAVE under overwriting, beside idle
  counts      the engine by itself: index bytes per key, load factor, memory of a snapshot

What has a target is shown with it, and counted at the end if it is missed.

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
    # The name of a test may hold commas and quotes; seven figures follow it.
    return float(row.rsplit(",", 7)[1].strip('"')), spent / requests * 1e6


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


missed = []


def judge(what, value, target, at_most=True):
    """A figure beside its target, for the end of its line."""
    if target is None:
        return ""
    if (value > target) if at_most else (value < target):
        missed.append(f"{what}: {value:.2f}, wanted {'at most' if at_most else 'at least'} {target}")
        return f"  MISSED, wanted {'<=' if at_most else '>='} {target}"
    return f"  {'<=' if at_most else '>='} {target}"


# Name, target in bytes for each, how many (options), and the commands that store `n` of them.
DATA = [
    ("strings, 16-byte key, 8-byte value", 55, lambda o: o.large,
     lambda n: (b"SET key:%012d v%07d" % (i, i) for i in range(n))),
    ("strings, 16-byte key, 16-byte value", 60, lambda o: o.large,
     lambda n: (b"SET key:%012d val:%012d" % (i, i) for i in range(n))),
    ("strings, 16-byte key, 64-byte value", 115, lambda o: o.large,
     lambda n: (b"SET key:%012d v%063d" % (i, i) for i in range(n))),
    ("strings, 16-byte key, 1-KiB value", 1110, lambda o: o.large // 5,
     lambda n: (b"SET key:%012d x%01023d" % (i, i) for i in range(n))),
    ("hashes of 5 small fields", 120, lambda o: o.keys,
     lambda n: (b"HSET key:%012d f1 %d f2 %d f3 %d f4 %d f5 %d" % (i, i, i, i, i, i) for i in range(n))),
    ("members of one zset", 70, lambda o: o.keys, lambda n: (b"ZADD zset %d member:%d" % (i, i) for i in range(n))),
    ("fields of one hash", 60, lambda o: o.keys, lambda n: (b"HSET hash field:%d %d" % (i, i) for i in range(n))),
    ("members of one set", 40, lambda o: o.keys, lambda n: (b"SADD set member:%d" % i for i in range(n))),
    ("elements of one list", 21, lambda o: o.keys, lambda n: (b"RPUSH list element:%d" % i for i in range(n))),
    ("entries of one stream", 26, lambda o: o.keys,
     lambda n: (b"XADD stream %d-1 field %d" % (i + 1, i) for i in range(n))),
]


def memory(servers, options):
    """Bytes per key or element, each kind of data alone in the server: used_memory of both (for EagleDB that is pool bytes
    all in), and what redis-server grows by in resident memory."""
    print(f"\n{'bytes per key or element':<36} {'eagledb':>8} {'redis':>8} {'ratio':>6} {'redis resident':>15}")
    for name, target, counted, commands in DATA:
        if not re.search(options.cases, name):
            continue
        count, costs = counted(options), []
        for server in servers:
            server.call("FLUSHALL")
            time.sleep(1)
            used, resident = server.used_bytes(), server.resident_bytes()
            server.send(commands(count))
            costs.append(((server.used_bytes() - used) / count, (server.resident_bytes() - resident) / count))
            server.call("FLUSHALL")
        (ours, _), (theirs, resident) = costs
        verdict = judge(f"bytes, {name}", ours, target)
        print(f"{name:<36} {ours:>8.1f} {theirs:>8.1f} {ours / theirs:>6.2f} {resident:>15.1f}{verdict}", flush=True)


def restart(server, options):
    print("\nstart until the first right reply after kill -9 (eagledb)")
    medians = {}
    for keys in [0] + [int(number) for number in options.restart_keys.split(",")]:
        server.call("FLUSHALL")
        server.send(b"SET key:%012d val:%012d" % (i, i) for i in range(keys))
        times = []
        for _ in range(7):
            server.stop(signal.SIGKILL)
            times.append(server.start())
            if keys:
                assert server.call(f"GET key:{keys - 1:012d}") == b"$16"
        medians[keys] = statistics.median(times)
        print(f"{keys:>10} keys: {medians[keys] * 1000:.0f} ms "
              f"(of 7: {', '.join(f'{t * 1000:.0f}' for t in sorted(times))})", flush=True)
    empty = medians.pop(0)
    beside = 1000 * (max(medians.values()) - empty)
    ratio = max(medians.values()) / min(medians.values())
    print(f"beside the start of an empty server: {beside:.0f} ms{judge('restart, ms beside process start', beside, 100)}")
    print(f"slowest / fastest: {ratio:.2f}{judge('restart, slowest / fastest', ratio, 1.2)}", flush=True)


def family_bytes(pid):
    """Memory of a process and its children, shared pages counted once."""
    total = 0
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    for process in [str(pid), *children]:
        try:
            with open(f"/proc/{process}/smaps_rollup") as smaps:
                total += sum(int(line.split()[1]) for line in smaps if line.startswith("Pss:")) * 1024
        except OSError:
            pass
    return total


def snapshot(servers, options):
    """Peak memory during a BGSAVE of 100-byte strings that are overwritten meanwhile, over idle memory."""
    print(f"\n{'BGSAVE under overwriting':<26} {'idle MiB':>9} {'peak MiB':>9} {'ratio':>6}")
    for server in servers:
        server.call("FLUSHALL")
        server.send(b"SET key:%012d v%099d" % (i, i) for i in range(options.large))
        writer = subprocess.Popen(
            ["redis-benchmark", "-p", str(server.port), "-n", "1000000000", "-r", str(options.large), "-P", "16", "-q",
             "SET", "key:__rand_int__", "v" * 100], stdout=subprocess.DEVNULL)
        try:
            time.sleep(2)
            idle = peak = family_bytes(server.process.pid)
            began = server.call("BGSAVE")
            if began[:1] != b"+":
                print(f"{server.name:<26} {began.decode()}")
                continue
            while True:
                peak = max(peak, family_bytes(server.process.pid))
                with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                    connection.sendall(b"INFO persistence\r\nQUIT\r\n")
                    if b"rdb_bgsave_in_progress:0" in connection.makefile("rb").read():
                        break
                time.sleep(0.05)
        finally:
            writer.kill()
            writer.wait()
        verdict = judge("BGSAVE, peak / idle", peak / idle, 1.10) if server.name == "eagledb" else ""
        print(f"{server.name:<26} {idle >> 20:>9} {peak >> 20:>9} {peak / idle:>6.2f}{verdict}", flush=True)
        server.call("FLUSHALL")


# Of the engine by itself: the figure's name (a regular expression), its target, and whether that is a maximum.
ENGINE = [
    (r"index bytes per key", 16.5, True),
    (r"all in, 16-byte values", 60, True),
    (r"segment that splits / room, mean", 0.90, False),
    (r"peak with a snapshot / idle", 1.10, True),
    (r"longest write, ms", 1, True),
    (r"1, 0 % writes$", 1.8, False),
    (r"1, 5 % writes$", 1.7, False),
    (r"1, 50 % writes$", 1.5, False),
    (r"16 GETs without / with", 1.4, False),
]
UNDO = [("HSET of a large hash", 1.10), ("ZADD of a large sorted set", 1.10), ("EXEC of 10 SETs", 1.05)]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def engine(parts, options, flags="", quiet=False):
    """Builds and runs the engine's own measurements; what they print, by name."""
    command = ["cargo", "run", "--quiet", "--release", "-p", "eagle-core", "--example", "figures"]
    if flags:
        command[2:2] = ["--target-dir", os.path.join(ROOT, "target", "figures")]
    environment = {**os.environ, **({"RUSTFLAGS": flags} if flags else {})}
    command += ["--", f"scale={options.scale}", *parts]
    output = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    figures = {}
    for line in output.splitlines():
        _, what, value = line.split("\t")
        figures[what] = float(value)
        target = next(((t, m) for pattern, t, m in ENGINE if re.search(pattern, what)), None)
        verdict = judge(what, float(value), *target) if target else ""
        if not quiet:
            print(f"{what:<58} {float(value):>10.3f}{verdict}", flush=True)
    return figures


def speed(options):
    print("\nthe engine by itself: speed")
    engine(["stall", "scaling", "prefetch"], options)
    runs = {what: [] for what, _ in UNDO}
    # In turns, so that a drift of the machine hits both.
    for _ in range(options.rounds):
        logged = engine(["undo"], options, quiet=True)
        unlogged = engine(["undo"], options, flags="--cfg no_undo_log", quiet=True)
        for what, _ in UNDO:
            runs[what].append(logged[f"{what}, us"] / unlogged[f"{what}, us, no log"])
    for what, target in UNDO:
        ratio = statistics.median(runs[what])
        print(f"{what + ', undo log on / off':<58} {ratio:>10.3f}{judge(what + ', undo log on / off', ratio, target)}")


def counts(options):
    print("\nthe engine by itself: memory")
    engine(["index", "load-factor", "snapshot"], options)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=400_000)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=5_000_000)
    parser.add_argument("--restart-keys", default="10000,1000000,20000000")
    parser.add_argument("--scale", type=int, default=1, help="makes the engine's own data so many times smaller")
    parser.add_argument("--parts", default="throughput,memory,restart")
    parser.add_argument("--cases", default="", help="only the throughput and memory cases whose name this expression matches")
    options = parser.parse_args()
    parts = options.parts.split(",")
    known = {"throughput", "restart", "speed", "memory", "snapshot", "counts"}
    if unknown := set(parts) - known:
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}")
    eagledb = Server("eagledb", [os.path.abspath(options.binary)], 17801)
    redis = Server("redis", ["redis-server"], 17802)
    try:
        if {"throughput", "memory", "snapshot", "restart"} & set(parts):
            for server in (eagledb, redis):
                server.start()
        if "throughput" in parts:
            throughput([eagledb, redis], options)
        if "memory" in parts:
            memory([eagledb, redis], options)
        if "snapshot" in parts:
            snapshot([eagledb, redis], options)
        redis.remove()
        if "restart" in parts:
            restart(eagledb, options)
        if "speed" in parts:
            speed(options)
        if "counts" in parts:
            counts(options)
    finally:
        eagledb.remove()
        redis.remove()
    print(f"\n{len(missed)} targets missed" + "".join(f"\n  {line}" for line in missed))


if __name__ == "__main__":
    main()
