#!/usr/bin/env python3
"""Instructions per request of EagleDB beside redis-server 7.0.15, counted by callgrind.

Unlike times these do not depend on what else the machine does, so a change of the hot path shows to the
last few instructions, and slow creep shows at all. Counted is what the server executes in user space, in
all its threads, with one thread that serves clients; what the kernel does for it is not. Each case is run
with few and with many requests, and the difference counts, so that connections come and go for nothing.

usage: instructions.py EAGLEDB_BINARY [--requests 20000] [--keys 100000] [--cases REGEX] [--only eagledb|redis]
                       [--profile DIR] [--check] [-- SERVER_ARGUMENT...]

Needs valgrind, redis-server and redis-benchmark. --profile keeps callgrind's files, to be read with
callgrind_annotate (build with debug symbols). --check fails if a target is missed.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

# Name, arguments of redis-benchmark, most instructions a request may take (pipeline 1, pipeline 16).
CASES = [
    ("SET", ["-t", "set"], (2800, 1800)),
    ("GET", ["-t", "get"], (2200, 1200)),
    ("INCR", ["-t", "incr"], None),
    ("HSET", ["-t", "hset"], (3300, 2300)),
    ("SADD", ["-t", "sadd"], None),
    ("ZADD", ["-t", "zadd"], (4600, 3600)),
    ("LPUSH", ["-t", "lpush"], None),
    ("RPOP", ["-t", "rpop"], None),
    ("MSET of 10", ["-t", "mset"], (13000, 12000)),
    ("XADD", ["XADD", "stream", "*", "field", "__rand_int__"], None),
    ("EVAL of INCR", ["EVAL", "return redis.call('incr', KEYS[1])", "1", "counter:__rand_int__"], None),
]
PIPELINES = [1, 16]
# Valgrind cannot reserve the addresses of a pool as large as a disk, and gives up once a pool file has grown often.
POOL = ["--pool-path", "", "--pool-size", "2gb"]


class Server:
    """A server that runs under callgrind, which counts only when told to."""

    def __init__(self, name, command, port):
        self.name, self.port = name, port
        self.dir = tempfile.mkdtemp(prefix=f"instructions-{name}-")
        self.dumps = 0
        self.process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={self.dir}/callgrind.out",
             *command, "--port", str(port), "--dir", self.dir, "--save", "", "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while not self.is_up():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start")
            time.sleep(0.1)

    def is_up(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def control(self, *arguments):
        subprocess.run(["callgrind_control", *arguments, str(self.process.pid)], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True, timeout=120)

    def fill(self, keys):
        """Strings that GET finds, and a list that RPOP does not empty."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=600) as connection:
            replies = connection.makefile("rb")
            for first in range(0, keys, 1000):
                numbers = range(first, min(first + 1000, keys))
                connection.sendall(b"".join(b"SET key:%012d xxx\r\n" % number for number in numbers))
                for _ in numbers:
                    assert replies.readline() == b"+OK\r\n"

    def load(self, arguments, pipeline, requests, keys):
        subprocess.run(
            ["redis-benchmark", "-p", str(self.port), "-n", str(requests), "-r", str(keys), "-P", str(pipeline),
             "-c", "50", "-q", *arguments],
            stdout=subprocess.DEVNULL, check=True, timeout=1200,
        )

    def count(self, arguments, pipeline, requests, keys):
        """Instructions of one load; the file they are written to."""
        self.control("-z")
        self.load(arguments, pipeline, requests, keys)
        self.control("-d")
        self.dumps += 1
        path = f"{self.dir}/callgrind.out.{self.dumps}"
        deadline = time.monotonic() + 60
        while True:
            if os.path.exists(path):
                with open(path) as dump:
                    found = re.search(r"^totals: (\d+)", dump.read(), re.MULTILINE)
                if found:
                    return int(found[1]), path
            if time.monotonic() > deadline:
                raise SystemExit("callgrind wrote no figures")
            time.sleep(0.05)

    def per_request(self, arguments, pipeline, requests, keys):
        few, _ = self.count(arguments, pipeline, requests // 4, keys)
        many, path = self.count(arguments, pipeline, requests + requests // 4, keys)
        return (many - few) / requests, path

    def remove(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--port", type=int, default=17811)
    parser.add_argument("--cases", default="", help="only the cases whose name this expression matches")
    parser.add_argument("--only", choices=["eagledb", "redis"])
    parser.add_argument("--profile", help="folder for callgrind's files")
    parser.add_argument("--check", action="store_true", help="fail if a target is missed")
    parser.add_argument("arguments", nargs="*", help="further arguments of EagleDB")
    options = parser.parse_args()
    commands = {
        "eagledb": [os.path.abspath(options.binary), "--worker-threads", "1", *POOL, *options.arguments],
        "redis": ["redis-server"],
    }
    names = [name for name in commands if options.only in (None, name)]
    chosen = [case for case in CASES if re.search(options.cases, case[0])]
    servers = []
    missed = []
    try:
        for index, name in enumerate(names):
            servers.append(Server(name, commands[name], options.port + index))
        for server in servers:
            server.fill(options.keys)
            server.control("-i", "on")
        columns = "".join(f"{name + ' P' + str(pipeline):>14}" for pipeline in PIPELINES for name in names)
        print(f"{'instructions per request':<24}{columns}{'target':>16}")
        for name, arguments, targets in chosen:
            cells = []
            for index, pipeline in enumerate(PIPELINES):
                for server in servers:
                    # Pages and tables are made before anything is counted.
                    server.load(arguments, 16, 2000, options.keys)
                    spent, path = server.per_request(arguments, pipeline, options.requests, options.keys)
                    cells.append(f"{spent:>14.0f}")
                    if options.profile:
                        os.makedirs(options.profile, exist_ok=True)
                        title = f"{server.name}-{name.split()[0]}-{pipeline}"
                        shutil.copy(path, os.path.join(options.profile, title))
                    if targets and server.name == "eagledb" and spent > targets[index]:
                        missed.append(f"{name} at pipeline {pipeline}: {spent:.0f} > {targets[index]}")
            shown = "{} / {}".format(*targets) if targets else ""
            print(f"{name:<24}{''.join(cells)}{shown:>16}", flush=True)
    finally:
        for server in servers:
            server.remove()
    for line in missed:
        print("missed:", line)
    if options.check and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
