"""Cuts the power of a virtual machine under load and checks what is left. usage: cuts.py KERNEL WORKDIR CUTS

Clients count up keys of their own; a key may be found at the last value that was acknowledged, or at the one that was
under way when the power went, and nowhere else. Ends with 77 where the machine does not come up at all.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

KERNEL, WORK, CUTS = sys.argv[1], sys.argv[2], int(sys.argv[3])
CLIENTS = 4
KEYS = 50
BOOT_SECONDS_MAX = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PORT = free_port()


class Client:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=20)
        self.input = self.socket.makefile("rb")

    def call(self, line):
        """Runs an inline command; the reply, `None` for null. Fails when the connection does."""
        self.socket.sendall(line.encode() + b"\r\n")
        head = self.input.readline()
        if not head.endswith(b"\r\n"):
            raise ConnectionError
        if head[:1] == b"$":
            size = int(head[1:])
            return None if size < 0 else self.input.read(size + 2)[:-2].decode()
        if head[:1] == b"-":
            raise AssertionError(head)
        return head[1:-2].decode()


MACHINES = []


def boot():
    """Starts the machine; returns it once the server answers."""
    console = open(os.path.join(WORK, "console"), "ab")
    machine = subprocess.Popen(
        ["qemu-system-x86_64", "-machine", "q35,memory-backend=memory", "-accel", "tcg", "-cpu", "max", "-smp", "2",
         "-m", "1G", "-nographic", "-no-reboot", "-kernel", KERNEL, "-initrd", os.path.join(WORK, "root.cpio"),
         "-append", "console=ttyS0 panic=-1 quiet memmap=512M!256M",
         "-object", f"memory-backend-file,id=memory,share=on,mem-path={WORK}/memory,size=1G",
         "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{PORT}-10.0.2.15:6379",
         "-device", "virtio-net-pci,netdev=net"],
        stdin=subprocess.DEVNULL, stdout=console, stderr=console,
    )
    MACHINES.append(machine)
    end = time.monotonic() + BOOT_SECONDS_MAX
    while time.monotonic() < end and machine.poll() is None:
        try:
            if Client().call("PING") == "PONG":
                return machine
        except (OSError, ValueError):
            pass
        time.sleep(0.2)
    machine.kill()
    machine.wait()
    return None


def info(client, section):
    return dict(line.split(":", 1) for line in client.call(f"INFO {section}").splitlines() if ":" in line)


class Counter(threading.Thread):
    """Counts its keys up: as strings and as fields of a hash."""

    def __init__(self, number):
        super().__init__()
        self.number = number
        self.acknowledged = {}
        self.sent = {}

    def run(self):
        rng = random.Random(self.number)
        try:
            client = Client()
            while True:
                n = rng.randrange(KEYS)
                key = f"string:{self.number}:{n}" if n % 2 else f"hash:{self.number} field:{n}"
                value = self.sent[key] = self.acknowledged.get(key, 0) + 1
                client.call(f"SET {key} {value}" if n % 2 else f"HSET {key} {value}")
                self.acknowledged[key] = value
        except (OSError, ValueError):
            return

    def check(self, client):
        for key, last in self.acknowledged.items():
            found = int(client.call(f"GET {key}" if key.startswith("string") else f"HGET {key}") or 0)
            assert found in (last, self.sent[key]), f"{key}: {last} acknowledged, {found} found"
            self.acknowledged[key] = found


def main():
    machine = boot()
    if machine is None:
        sys.exit(77)
    states = {}
    for cut in range(CUTS + 1):
        client = Client()
        pool = info(client, "everything")
        medium = pool["pool_medium"]
        assert medium == "dax", f"the pool lies on {medium}"
        acknowledged = 0
        for counter in states.values():
            counter.check(client)
            acknowledged += len(counter.acknowledged)
        print(f"boot {cut + 1}: pool on {medium}, {acknowledged} keys as acknowledged", flush=True)
        if cut == CUTS:
            break
        counters = []
        for number in range(CLIENTS):
            counter = Counter(number)
            if number in states:
                counter.acknowledged = states[number].acknowledged
                counter.sent = dict(counter.acknowledged)
            states[number] = counter
            counters.append(counter)
        for counter in counters:
            counter.start()
        time.sleep(1 + random.random() * 2)
        machine.send_signal(signal.SIGKILL)
        machine.wait()
        for counter in counters:
            counter.join()
        writes = sum(sum(counter.acknowledged.values()) for counter in counters)
        assert writes > 0
        machine = boot()
        assert machine is not None, "the machine does not start again"
    try:
        client.call("SHUTDOWN NOSAVE")
    except (OSError, ValueError):
        pass
    machine.wait(60)
    print(f"{CUTS} power cuts, nothing lost ({writes} writes acknowledged)")


try:
    main()
finally:
    for started in MACHINES:
        started.kill()
