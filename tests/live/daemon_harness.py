"""A daemon of our own for a test: its socket, store and runtime directory in a temporary place, and its protocol."""
import json
import os
import select
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import harness


class Peer:
    """A connection to the socket: lines of JSON."""

    def __init__(self, path, deadline=harness.DEADLINE):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(deadline)
        self.socket.connect(path)
        self.buffer = b""
        self.hello = self.receive()

    def receive(self):
        while b"\n" not in self.buffer:
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise EOFError(self.buffer)
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def send(self, raw):
        self.socket.sendall(raw)

    def ask(self, op, **more):
        self.send(json.dumps(dict(more, id=1, op=op)).encode() + b"\n")
        while True:
            answer = self.receive()
            if "event" not in answer:
                return answer

    def result(self, op, **more):
        answer = self.ask(op, **more)
        assert answer["ok"], answer
        return answer["result"]

    def close(self):
        self.socket.close()


class Daemon:
    def __init__(self, directory, *args, env=None, program=None, preexec=None):
        self.directory = str(directory)
        self.socket = os.path.join(self.directory, "reftop.sock")
        self.store = os.path.join(self.directory, "history.db")
        self.args = [program or harness.REFTOP, "daemon", "--socket", self.socket, "-o", self.store, *map(str, args)]
        self.env = dict(os.environ, XDG_RUNTIME_DIR=self.directory, **(env or {}))
        self.preexec = preexec
        self.process = None
        self.log = open(os.path.join(self.directory, "log"), "ab")
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=self.env,
                                        preexec_fn=self.preexec)
        harness.wait_for(self.listens, harness.DEADLINE, "the daemon to listen: " + self.said())

    def listens(self):
        assert self.process.poll() is None, self.said()
        try:
            self.peer().close()
            return True
        except OSError:
            return False

    def peer(self):
        return Peer(self.socket)

    def said(self):
        return open(os.path.join(self.directory, "log"), errors="replace").read()

    def ask(self, op, **more):
        peer = self.peer()
        try:
            return peer.ask(op, **more)
        finally:
            peer.close()

    def processes(self):
        """pid -> what the daemon says of it"""
        answer = self.ask("processes")
        assert answer["ok"], answer
        return {p["pid"]: p for p in answer["result"]["processes"]}

    def wait_samples(self, pids, n, deadline=harness.DEADLINE):
        """Until each process has n samples."""
        def there():
            known = self.processes()
            return all(pid in known and known[pid]["samples"] >= n for pid in pids)
        try:
            harness.wait_for(slowly(there), deadline, "%d samples of each" % n)
        except AssertionError:
            raise AssertionError("%s\n%s" % (self.said()[-3000:], {p: (q["samples"], q["why"]) for p, q in self.processes().items()}))
        return self.processes()

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(harness.DEADLINE)

    def close(self):
        self.stop(signal.SIGKILL)
        self.log.close()

    def family(self):
        """The daemon's processes: itself, the nursery, the workers."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            try:
                todo += map(int, open("/proc/%d/task/%d/children" % (pid, pid)).read().split())
            except OSError:
                pass
        return found


def slowly(condition):
    """Asking costs the daemon something: no more than ten times a second."""
    last = [0.0]

    def asked():
        now = time.monotonic()
        if now - last[0] < 0.1:
            select.select([], [], [], 0.1 - (now - last[0]))
        last[0] = time.monotonic()
        return condition()
    return asked


def key_file(tmp_path, text):
    """Write a key file for --config; its path."""
    path = tmp_path / "reftop.conf"
    path.write_text(text)
    return path


def only_ours(interval="1s"):
    """Lines of a key file: watch the descendants of this test run only, as other tests run at the same time."""
    return "[daemon]\ninterval=%s\ncpu=100%%\n[watch mine]\nparent=%d\n" % (interval, os.getpid())


def as_nobody(work):
    """Run `work` in a child of another user; what it returns (JSON)."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        answer = {"error": "it did not run"}
        try:
            harness.become()
            answer = work()
        except BaseException as problem:  # noqa: the parent is told
            answer = {"error": repr(problem)}
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    text = b""
    while True:
        piece = os.read(read, 65536)
        if not piece:
            break
        text += piece
    os.close(read)
    os.waitpid(pid, 0)
    return json.loads(text)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scrape(port, path="/metrics", headers=None, method="GET"):
    """Ask the daemon's HTTP server: the status, the text and its type."""
    request = urllib.request.Request("http://127.0.0.1:%d%s" % (port, path), headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), ""
