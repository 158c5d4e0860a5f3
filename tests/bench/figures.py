#!/usr/bin/env python3
"""Figures of EagleDB beside redis-server 7.0.15, measured in turns in one run.

Where time is involved both servers are loaded one after the other, several times over, so that a drift of the
machine hits both, and only ratios count. Parts:

  throughput  requests per second, server CPU per request (processor time of its threads from /proc), and their ratios,
              at pipeline 1 and 16, and 64 for some
  memory      bytes per key and per element
  restart     time from start to the first right reply after kill -9, for data sets of several sizes
  snapshot    peak memory during BGSAVE under overwriting, beside idle
  counts      the engine by itself: index bytes per key, load factor of a full segment, memory of a snapshot
  speed       the engine by itself: longest stall of a growing slot, undo log on and off, two threads beside one,
              prefetching
  crashes     kill -9 runs of the server, and images of crashes tried by the tests of the engine

All but counts, memory and crashes need a quiet machine. What the last three need is built before anything is measured
(--build does only that); their programs are eagle-core/examples/figures and the tests themselves. What has a target is
shown with it, and counted at the end if it is missed. `--scale 10` makes all data ten times smaller: a trial run.

usage: figures.py EAGLEDB_BINARY [--parts throughput,memory,...|all] [--cases REGEX] [--rounds 3] [--scale 1]
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import time

from servers import SUBSCRIBERS, Server, load

PARTS = ["throughput", "memory", "restart", "snapshot", "counts", "speed", "crashes"]
# Starts of each server whose restart is measured.
RESTARTS = 25
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Verdicts:
    """Figures that miss their target."""

    def __init__(self):
        self.judged, self.missed = 0, []

    def judge(self, what, value, target, at_most=True):
        """A figure beside its target, for the end of its line."""
        if target is None:
            return ""
        self.judged += 1
        sign = "<=" if at_most else ">="
        # As it is printed: a target with two digits is not missed in the third.
        if (round(value, 2) > target) if at_most else (round(value, 2) < target):
            self.missed.append(f"{what}: {value:.2f}, wanted {sign} {target}")
            return f"  MISSED, wanted {sign} {target}"
        return f"  {sign} {target}"


def strings(server, options):
    server.fill(b"SET key:%012d xxx", options.keys - 1)


def elements(server, options):
    # As many as are taken away by all runs.
    each = sum(requests_of(pipeline, options) for pipeline in (1, 16))
    server.fill(b"LPUSH mylist xxx", options.rounds * each)


def ranked(server, options):
    server.fill(b"ZADD ranked %d member:%d", 100_000)


def listeners(server, options):
    server.subscribe("channel", SUBSCRIBERS)


# Name, arguments of redis-benchmark, what prepares the data, and by pipeline the most CPU a request may take, beside redis-server.
CASES = [
    ("SET", ["-t", "set"], strings, {1: 0.90, 16: 0.70, 64: 0.60}),
    ("GET", ["-t", "get"], strings, {1: 0.85, 16: 0.60, 64: 0.50}),
    ("GET of one key", ["GET", "key:000000000001"], strings, {64: 0.70}),
    ("HSET", ["-t", "hset"], None, {1: None, 16: 0.75}),
    ("LPUSH", ["-t", "lpush"], None, {1: None, 16: None}),
    ("RPOP", ["-t", "rpop"], elements, {1: None, 16: None}),
    ("SADD", ["-t", "sadd"], None, {1: None, 16: 0.75}),
    ("ZADD", ["ZADD", "zset", "__rand_int__", "member:__rand_int__"], None, {1: None, 16: 0.50}),
    ("ZRANGE of 10", ["ZRANGE", "ranked", "1000", "1009"], ranked, {1: None, 16: None}),
    ("XADD", ["XADD", "stream", "*", "field", "__rand_int__"], None, {1: None, 16: None}),
    ("MSET of 10", ["-t", "mset"], None, {1: None, 16: 0.60}),
    ("EVAL of INCR", ["EVAL", "return redis.call('incr', KEYS[1])", "1", "counter:__rand_int__"], None,
     {1: None, 16: None}),
    (f"PUBLISH to {SUBSCRIBERS}", ["PUBLISH", "channel", "message"], listeners, {1: None, 16: None}),
]


def requests_of(pipeline, options):
    """A second or two of them."""
    return options.requests * (1 if pipeline == 1 else 6)


def throughput(servers, options, verdicts):
    print(f"{'case':<26} {'':>10} {'requests/s':>12} {'CPU us/op':>10}")
    for name, arguments, prepare, targets in CASES:
        if not re.search(options.cases, name):
            continue
        for server in servers:
            server.flush()
            if prepare:
                prepare(server, options)
        for pipeline, target in targets.items():
            # A message to ten is eleven times the work.
            requests = requests_of(pipeline, options) // (4 if server.subscribers else 1)
            rows = {server.name: [] for server in servers}
            for _ in range(options.rounds):
                for server in servers:
                    rows[server.name].append(load(server, arguments, pipeline, requests, options.keys))
            medians = {
                key: (statistics.median(r for r, _ in runs), statistics.median(c for _, c in runs))
                for key, runs in rows.items()
            }
            title = f"{name}, pipeline {pipeline}"
            for key, (rate, cpu) in medians.items():
                print(f"{title:<26} {key:>10} {rate:>12.0f} {cpu:>10.2f}")
            (rate_a, cpu_a), (rate_b, cpu_b) = medians["eagledb"], medians["redis"]
            verdict = verdicts.judge(f"CPU beside redis-server, {title}", cpu_a / cpu_b, target)
            print(f"{title:<26} {'ratio':>10} {rate_a / rate_b:>12.2f} {cpu_a / cpu_b:>10.2f}{verdict}", flush=True)
        for server in servers:
            server.dismiss()
            server.flush()


# Name, most bytes for each, how many (options), and the command that stores one.
DATA = [
    ("strings, 16-byte key, 8-byte value", 55, lambda o: o.large, b"SET key:%012d v%07d"),
    ("strings, 16-byte key, 16-byte value", 60, lambda o: o.large, b"SET key:%012d val:%012d"),
    ("strings, 16-byte key, 64-byte value", 115, lambda o: o.large, b"SET key:%012d v%063d"),
    ("strings, 16-byte key, 1-KiB value", 1110, lambda o: o.large // 5, b"SET key:%012d x%01023d"),
    ("hashes of 5 small fields", 120, lambda o: o.keys, b"HSET key:%012d f1 %d f2 %d f3 %d f4 %d f5 %d"),
    ("members of one zset", 70, lambda o: o.keys, b"ZADD zset %d member:%d"),
    ("fields of one hash", 60, lambda o: o.keys, b"HSET hash field:%d %d"),
    ("members of one set", 40, lambda o: o.keys, b"SADD set member:%d"),
    ("elements of one list", 21, lambda o: o.keys, b"RPUSH list element:%d"),
    ("entries of one stream", 26, lambda o: o.keys, b"XADD stream %d-1 field %d"),
]


def memory(servers, options, verdicts):
    """Bytes per key or element, each kind of data alone in the server: used_memory of both (for EagleDB that is pool bytes
    all in), the pages in which that lies, and what redis-server grows by in resident memory."""
    print(f"\n{'bytes per key or element':<36} {'eagledb':>8} {'pages':>8} {'redis':>8} {'ratio':>6} {'redis resident':>15}")
    for name, target, counted, form in DATA:
        if not re.search(options.cases, name):
            continue
        count, costs = counted(options), []
        for server in servers:
            server.renew()
            resident, before = server.resident_bytes(), server.info("memory")
            server.fill(form, count)
            after, grown = server.info("memory"), server.resident_bytes() - resident
            of = lambda field: (int(after[field]) - int(before[field])) / count
            costs.append((of("used_memory"), of("allocator_active"), grown / count))
            server.renew()
        (ours, pages, _), (theirs, _, resident) = costs
        verdict = verdicts.judge(f"bytes, {name}", ours, target)
        print(f"{name:<36} {ours:>8.1f} {pages:>8.1f} {theirs:>8.1f} {ours / theirs:>6.2f} {resident:>15.1f}{verdict}",
              flush=True)


def restart(options, verdicts):
    """A server for each size, killed and started in turns."""
    print("\nstart until the first right reply after kill -9 (eagledb)")
    sizes = [0] + [int(number) // options.scale for number in options.restart_keys.split(",")]
    servers = {}
    try:
        for keys in sizes:
            server = Server("eagledb", [os.path.abspath(options.binary)], options.port, options.dir)
            servers[keys] = server
            server.start()
            server.fill(b"SET key:%012d val:%012d", keys)
            assert server.call("DBSIZE") == b":%d" % keys
            server.stop(signal.SIGKILL)
        # What is still to be written of the data would be written meanwhile.
        os.sync()
        times, spent = {keys: [] for keys in sizes}, {keys: [] for keys in sizes}
        for _ in range(RESTARTS):
            for keys, server in servers.items():
                question = (f"GET key:{keys:012d}", b"val:%012d" % keys) if keys else ("PING", b"+PONG")
                times[keys].append(server.start(*question))
                spent[keys].append(server.cpu_seconds())
                assert server.call("DBSIZE") == b":%d" % keys
                server.stop(signal.SIGKILL)
    finally:
        for server in servers.values():
            server.remove()
    medians = {keys: statistics.median(times[keys]) for keys in sizes}
    for keys in sizes:
        quarters = statistics.quantiles(times[keys])
        print(f"{keys:>10} keys: {medians[keys] * 1000:.2f} ms (median of {RESTARTS}; half of them within "
              f"{quarters[0] * 1000:.2f} to {quarters[2] * 1000:.2f}); "
              f"processor time {statistics.median(spent[keys]) * 1000:.1f} ms", flush=True)
    empty = medians.pop(0)
    beside = 1000 * (max(medians.values()) - empty)
    ratio = max(medians.values()) / min(medians.values())
    verdict = verdicts.judge("restart, ms beside process start", beside, 100)
    print(f"beside the start of an empty server: {beside:.1f} ms{verdict}")
    verdict = verdicts.judge("restart, slowest / fastest", ratio, 1.2)
    print(f"slowest / fastest: {ratio:.2f}{verdict}", flush=True)


def snapshot(servers, options, verdicts):
    """Peak memory during a BGSAVE of 100-byte strings that are overwritten meanwhile, over memory before it all."""
    print(f"\n{'BGSAVE under overwriting':<24} {'idle MiB':>9} {'writing':>9} {'peak MiB':>9} {'ratio':>6} "
          f"{'seconds':>8} {'overwritten':>12}")
    for server in servers:
        server.flush()
        server.fill(b"SET key:%012d v%099d", options.large - 1)
        idle = server.family_bytes()
        writer = subprocess.Popen(
            ["redis-benchmark", "-p", str(server.port), "-n", "1000000000", "-r", str(options.large), "-P", "16", "-q",
             "SET", "key:__rand_int__", "v" * 100], stdout=subprocess.DEVNULL)
        try:
            time.sleep(2)
            writing = peak = server.family_bytes()
            commands = lambda: int(server.info("stats")["total_commands_processed"])
            began, before = time.monotonic(), commands()
            assert server.call("BGSAVE") == b"+Background saving started"
            while server.info("persistence")["rdb_bgsave_in_progress"] != "0":
                peak = max(peak, server.family_bytes())
                time.sleep(0.05)
            seconds, overwritten = time.monotonic() - began, commands() - before
            assert server.info("persistence")["rdb_last_bgsave_status"] == "ok"
            assert writer.poll() is None, "nobody has written"
        finally:
            writer.kill()
            writer.wait()
        target = 1.10 if server.name == "eagledb" else None
        verdict = verdicts.judge("BGSAVE, peak / idle", peak / idle, target)
        print(f"{server.name:<24} {idle >> 20:>9} {writing >> 20:>9} {peak >> 20:>9} {peak / idle:>6.2f} {seconds:>8.1f} "
              f"{overwritten:>12}{verdict}", flush=True)
        server.flush()


# Of the engine by itself: the figure's name (a regular expression), its target, and whether that is a maximum.
ENGINE = [
    (r"index bytes per key", 16.5, True),
    (r"all in, 16-byte values", 60, True),
    (r"segment that splits / room, mean", 0.90, False),
    (r"peak with a snapshot / idle", 1.10, True),
    (r"longest write, ms$", 1, True),
    (r"1, 0 % writes$", 1.8, False),
    (r"1, 5 % writes$", 1.7, False),
    (r"1, 50 % writes$", 1.5, False),
    (r"16 GETs without / with", 1.4, False),
]
UNDO = [("HSET of a large hash", 1.10), ("ZADD of a large sorted set", 1.10), ("EXEC of 10 SETs", 1.05)]

# Flags of the compiler, and the folder in `target`, for the engine as it is and without its undo log.
LOGGED, UNLOGGED = ("", "figures"), ("--cfg no_undo_log", "figures-unlogged")


def cargo(*arguments, flags="", **further):
    environment = {**os.environ, **({"RUSTFLAGS": flags} if flags else {})}
    return subprocess.run(["cargo", *arguments], cwd=ROOT, env=environment, check=True, **further)


def build_engine(variant):
    flags, folder = variant
    cargo("build", "--quiet", "--release", "-p", "eagle-core", "--example", "figures", "--target-dir",
          os.path.join("target", folder), flags=flags)


def engine(parts, options, verdicts=None, variant=LOGGED):
    """Runs the engine's own measurements; what they print, by name. It is shown as it comes if there are verdicts."""
    program = os.path.join(ROOT, "target", variant[1], "release", "examples", "figures")
    command = [program, f"scale={options.scale}", *parts]
    figures = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            _, what, value = line.split("\t")
            figures[what] = float(value)
            if verdicts:
                target = next((target for target in ENGINE if re.search(target[0], what)), (None, None, True))
                verdict = verdicts.judge(what, float(value), *target[1:])
                print(f"{what:<58} {float(value):>10.3f}{verdict}", flush=True)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return figures


def speed(options, verdicts):
    print("\nthe engine by itself: speed")
    engine(["stall", "scaling", "prefetch"], options, verdicts)
    runs = {what: [] for what, _ in UNDO}
    # In turns, so that a drift of the machine hits both.
    for _ in range(options.rounds):
        logged = engine(["undo"], options)
        unlogged = engine(["undo"], options, variant=UNLOGGED)
        for what, _ in UNDO:
            runs[what].append(logged[f"{what}, us"] / unlogged[f"{what}, us, no log"])
    for what, target in UNDO:
        ratio = statistics.median(runs[what])
        verdict = verdicts.judge(f"{what}, undo log on / off", ratio, target)
        print(f"{what + ', undo log on / off':<58} {ratio:>10.3f}{verdict}", flush=True)


def counts(options, verdicts):
    print("\nthe engine by itself: memory")
    engine(["index", "load-factor", "snapshot"], options, verdicts)


# Tests of the engine that look at images of crashes, by a part of their names.
CRASH_TESTS = ["crash", "mutation", "lines_may_persist", "missing_flush_or_fence"]


def crashes(options):
    """Kills the server again and again, and runs the crash tests; what these count."""
    print("\nkill -9 and crash images")
    tests = cargo("test", "--quiet", "-p", "eagle-core", "--lib", "--", "--nocapture", *CRASH_TESTS,
                  stdout=subprocess.PIPE, text=True).stdout
    images = sum(int(count) for count in re.findall(r"crash images: (\d+)", tests))
    mutants = re.search(r"(\d+) mutants, (\d+) images of them", tests)
    print(f"{images:>12} images of crashes tried, each before or after; no violation, no leaked byte")
    if mutants:
        print(f"{mutants[2]:>12} images of {mutants[1]} mutants of the engine")
    os.environ["EAGLEDB_BIN"] = os.path.abspath(options.binary)
    os.environ["EAGLEDB_KILL_ROUNDS"] = str(options.kills)
    killed = cargo("test", "--quiet", "-p", "eagledb-tests", "--test", "kill9", "--", "--nocapture", "every_ack",
                   stdout=subprocess.PIPE, text=True).stdout
    runs = re.findall(r"(\d+) kills, (\d+) commands acknowledged", killed)
    kills, commands = (sum(int(run[column]) for run in runs) for column in (0, 1))
    print(f"{kills:>12} times killed in {len(runs)} runs, {commands} commands acknowledged, none lost", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--parts", default="throughput,memory,restart", help=f"of {', '.join(PARTS)}; or all")
    parser.add_argument("--cases", default="", help="only the throughput and memory cases whose name this expression matches")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=int, default=1, help="makes all data so many times smaller")
    parser.add_argument("--requests", type=int, default=100_000, help="of a run at pipeline 1; six times as many otherwise")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=5_000_000)
    parser.add_argument("--restart-keys", default="10000,1000000,20000000")
    parser.add_argument("--kills", type=int, default=100, help="rounds of kill -9, on disk and on tmpfs")
    parser.add_argument("--dir", help="where the servers' folders are made")
    parser.add_argument("--port", type=int, default=17801)
    parser.add_argument("--build", action="store_true", help="only build what is needed")
    parser.add_argument("--redis", default="redis-server", help="the program to compare with")
    options = parser.parse_args()
    options.keys //= options.scale
    options.large //= options.scale
    parts = PARTS if options.parts == "all" else options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}")
    if {"counts", "speed"} & set(parts) or options.build:
        build_engine(LOGGED)
    if "speed" in parts or options.build:
        build_engine(UNLOGGED)
    if "crashes" in parts or options.build:
        cargo("test", "--quiet", "--no-run", "-p", "eagle-core", "--lib")
        cargo("test", "--quiet", "--no-run", "-p", "eagledb-tests", "--test", "kill9")
    if options.build:
        return
    verdicts = Verdicts()
    eagledb = Server("eagledb", [os.path.abspath(options.binary)], options.port, options.dir)
    redis = Server("redis", [options.redis], options.port + 1, options.dir)
    began = time.monotonic()
    try:
        if {"throughput", "memory", "snapshot"} & set(parts):
            eagledb.start()
        if {"throughput", "memory", "snapshot"} & set(parts):
            redis.start()
        if "throughput" in parts:
            throughput([eagledb, redis], options, verdicts)
        if "memory" in parts:
            memory([eagledb, redis], options, verdicts)
        if "snapshot" in parts:
            snapshot([eagledb, redis], options, verdicts)
        redis.remove()
        eagledb.remove()
        if "restart" in parts:
            restart(options, verdicts)
        if "speed" in parts:
            speed(options, verdicts)
        if "counts" in parts:
            counts(options, verdicts)
        if "crashes" in parts:
            crashes(options)
    finally:
        eagledb.remove()
        redis.remove()
    print(f"\n{time.monotonic() - began:.0f} s; {len(verdicts.missed)} of {verdicts.judged} targets missed")
    for line in verdicts.missed:
        print(f"  {line}")


if __name__ == "__main__":
    main()
