"""Servers that are measured: started in a folder of their own, filled fast, loaded by redis-benchmark, watched from /proc."""

import multiprocessing
import os
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PAGE = os.sysconf("SC_PAGE_SIZE")

# Subscribers of a channel that is published to.
SUBSCRIBERS = 10

# Requests of a batch that a server is filled with; two are under way at a time.
BATCH = 2000


class Server:
    def __init__(self, name, command, port, parent=None):
        self.name, self.command, self.port = name, command, port
        self.dir = tempfile.mkdtemp(prefix=f"figures-{name}-", dir=parent)
        self.process = None
        self.subscribers = None

    def start(self, request="PING", reply=b"+PONG"):
        """Starts the server; the seconds until it gives the right reply to a request."""
        began = time.monotonic()
        self.process = subprocess.Popen(
            [*self.command, "--port", str(self.port), "--dir", self.dir, "--save", "", "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
        )
        while self.call(request) != reply:
            if self.process.poll() is not None or time.monotonic() - began > 120:
                raise SystemExit(f"{self.name} did not start")
            # Little beside the time that is measured.
            time.sleep(0.0001)
        return time.monotonic() - began

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=600)

    def call(self, line):
        """Runs one inline command; the reply's line, or what a bulk string holds, or None if nobody listens."""
        try:
            with self.connect() as connection:
                connection.sendall(line.encode() + b"\r\n")
                replies = connection.makefile("rb")
                reply = replies.readline().strip()
                return replies.readline().strip() if reply[:1] == b"$" and reply != b"$-1" else reply
        except OSError:
            return None

    def info(self, section):
        with self.connect() as connection:
            connection.sendall(b"INFO %s\r\nQUIT\r\n" % section.encode())
            lines = connection.makefile("rb").read().decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def fill(self, form, count):
        """Runs the command `form` for 1 to `count`, which take the place of all its %d; none may fail."""
        request = wire(form, count)
        places = request.count(b"%")
        with self.connect() as connection:
            replies, waiting = Replies(connection), 0
            for first in range(1, count + 1, BATCH):
                numbers = range(first, min(first + BATCH, count + 1))
                arguments = tuple(number for number in numbers for _ in range(places))
                connection.sendall(request * len(numbers) % arguments + b"PING\r\n")
                waiting += 1
                if waiting == 2:
                    replies.expect_pong()
                    waiting -= 1
            for _ in range(waiting):
                replies.expect_pong()

    def flush(self):
        """Empties the server and waits until its memory is given back."""
        assert self.call("FLUSHALL") == b"+OK"
        before, deadline = 0, time.monotonic() + 60
        while abs((used := self.used_bytes()) - before) > 1 << 16:
            assert time.monotonic() < deadline, "memory is still being given back"
            before = used
            time.sleep(0.3)

    def renew(self):
        """Starts the server anew, with nothing in it: one that was emptied keeps memory from before."""
        self.stop(signal.SIGKILL)
        for name in os.listdir(self.dir):
            os.remove(os.path.join(self.dir, name))
        self.start()

    def subscribe(self, channel, count):
        """Subscribers that read as fast as they can, in a process of their own, until they are dismissed."""
        self.subscribers = Subscribers(self.port, channel, count)

    def dismiss(self):
        if self.subscribers:
            self.subscribers.end()
            self.subscribers = None

    def cpu_seconds(self):
        """Processor time of all threads there are, to the nanosecond."""
        total, tasks = 0, f"/proc/{self.process.pid}/task"
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/schedstat") as schedstat:
                total += int(schedstat.read().split()[0])
        return total / 1e9

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * PAGE

    def family_bytes(self):
        """Memory of the process and its children, shared pages counted once."""
        total = 0
        pid = self.process.pid
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
        for process in [str(pid), *children]:
            try:
                with open(f"/proc/{process}/smaps_rollup") as smaps:
                    total += sum(int(line.split()[1]) for line in smaps if line.startswith("Pss:")) * 1024
            except OSError:
                pass
        return total

    def used_bytes(self):
        return int(self.info("memory")["used_memory"])

    def stop(self, how=signal.SIGTERM):
        self.dismiss()
        if self.process:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def remove(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)


def wire(form, count):
    """A command as it goes over the wire: in the protocol if its words are as long for 1 as for `count`, else inline."""
    words = []
    for word in form.split():
        least, most = (word % ((number,) * word.count(b"%")) for number in (1, count))
        if len(least) != len(most):
            return form + b"\r\n"
        words.append(b"$%d\r\n" % len(least) + word + b"\r\n")
    return b"*%d\r\n" % len(words) + b"".join(words)


class Replies:
    """Replies of a connection that is sent batches, each with a PING at its end."""

    def __init__(self, connection):
        self.connection, self.unread = connection, bytearray()

    def expect_pong(self):
        """Reads up to the end of a batch, in which nothing may have failed."""
        end = b"+PONG\r\n"
        while (found := self.unread.find(end)) < 0:
            received = self.connection.recv(1 << 20)
            if not received:
                raise SystemExit(f"the server closed the connection: {bytes(self.unread[-200:])}")
            self.unread += received
        batch = self.unread[:found]
        assert not batch.startswith(b"-") and b"\r\n-" not in batch, bytes(batch[:200])
        del self.unread[:found + len(end)]


class Subscribers:
    """Subscribers of a channel that read what comes, and count it."""

    def __init__(self, port, channel, count):
        self.bytes = multiprocessing.Value("Q", 0)
        ready = multiprocessing.Event()
        self.process = multiprocessing.Process(target=self.read, args=(port, channel, count, ready), daemon=True)
        self.process.start()
        if not ready.wait(30):
            raise SystemExit("nobody could subscribe")

    def read(self, port, channel, count, ready):
        selector = selectors.DefaultSelector()
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(b"SUBSCRIBE %s\r\n" % channel.encode())
            reply = b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n" % (len(channel), channel.encode())
            assert connection.recv(len(reply), socket.MSG_WAITALL) == reply
            selector.register(connection, selectors.EVENT_READ)
        ready.set()
        room = bytearray(1 << 18)
        while True:
            for key, _ in selector.select():
                received = key.fileobj.recv_into(room)
                if not received:
                    return
                self.bytes.value += received

    def wait_for(self, total):
        """Waits until so many bytes have come in all; whether they have."""
        deadline = time.monotonic() + 60
        while self.bytes.value < total and time.monotonic() < deadline:
            time.sleep(0.002)
        return self.bytes.value == total

    def end(self):
        self.process.kill()
        self.process.join()


def load(server, arguments, pipeline, requests, keyspace):
    """A load of two clients of 25 connections each: requests per second, and server CPU microseconds per request.

    They are processes: with --threads, redis-benchmark looks only every 250 ms whether it is done."""
    each = requests // 2 // pipeline * pipeline
    command = ["redis-benchmark", "-p", str(server.port), "-n", str(each), "-r", str(keyspace), "-P", str(pipeline),
               "-c", "25", "--csv", *arguments]
    received = server.subscribers.bytes.value if server.subscribers else 0
    before = server.cpu_seconds()
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [client.communicate(timeout=600)[0] for client in clients]
    if any(client.returncode for client in clients):
        raise SystemExit(f"{' '.join(command)} failed: {outputs}")
    if server.subscribers:
        # What it costs to send a message to all belongs to the request.
        _, channel, message = arguments
        frame = f"*3\r\n$7\r\nmessage\r\n${len(channel)}\r\n{channel}\r\n${len(message)}\r\n{message}\r\n"
        sent = 2 * each * len(frame) * SUBSCRIBERS
        if not server.subscribers.wait_for(received + sent):
            missing = received + sent - server.subscribers.bytes.value
            raise SystemExit(f"{server.name}: subscribers miss {missing} bytes of {sent}")
    spent = server.cpu_seconds() - before
    rates = []
    for output in outputs:
        row = [line for line in output.splitlines() if line.startswith('"') and not line.startswith('"test"')][-1]
        # The name of a test may hold commas and quotes; seven figures follow it.
        rates.append(float(row.rsplit(",", 7)[1].strip('"')))
    return sum(rates), spent / (2 * each) * 1e6
