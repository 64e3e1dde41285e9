"""What the live tests stand on: the interpreters at hand, targets that tell the truth, and the program under test.

A target is a script of tests/targets. It writes JSON lines to standard output (the first says "ready") and obeys commands,
one a line, on standard input. Nothing here waits by sleeping: a target says where it is, or the kernel does (/proc).
"""
import glob
import json
import mmap
import os
import re
import select
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGETS = os.path.join(ROOT, "tests", "targets")
REFTOP = os.environ.get("REFTOP", os.path.join(ROOT, "build", "reftop"))
CACHE = os.path.join(ROOT, ".cache")
DEADLINE = float(os.environ.get("REFTOP_TEST_DEADLINE", "120"))  # seconds any single answer may take
SLOW = float(os.environ.get("REFTOP_TEST_SLOW", "1"))  # how many times longer what takes its time may take here


def slowness():
    """How many times slower this machine is now than one on which the promises that are seconds were measured, at least 1: what a look
    consists of (fresh memory, system calls that copy a page, computing) takes 8 ms there."""
    def take():
        begin = time.perf_counter()
        with mmap.mmap(-1, 8 << 20) as fresh:
            fresh[::4096] = bytes(2048)
        place = bytearray(4096)
        memory = os.open("/proc/self/mem", os.O_RDONLY)
        for _ in range(2000):
            os.pread(memory, len(place), id(place))
        os.close(memory)
        sum(range(200000))
        return time.perf_counter() - begin
    return max(1.0, statistics.median(take() for _ in range(5)) / 0.008)


class Interpreter:
    """One CPython: how to start it, and what it is."""

    def __init__(self, name, path, root=None):
        self.name, self.path, self.root = name, path, root
        numbers = re.search(r"3\.(\d+)", name)
        self.version = (3, int(numbers.group(1)))
        self.free_threaded = "t" in name.split("-")[0]
        self.debug = name.endswith("-debug")

    def argv(self, script, *args):
        """The command that runs a script of tests/targets, or any absolute path, under this interpreter."""
        script = script if os.path.isabs(script) else os.path.join(TARGETS, script)
        if not self.root:
            return [self.path, script, *args]
        inside = os.path.join(self.root, "tmp", "reftop-targets")
        os.makedirs(inside, exist_ok=True)
        for source in {script, *glob.glob(os.path.join(TARGETS, "*.py"))}:
            copy = os.path.join(inside, os.path.basename(source))
            if not os.path.exists(copy) or open(copy, "rb").read() != open(source, "rb").read():
                shutil.copyfile(source, copy + ".new")
                os.rename(copy + ".new", copy)
        return ["chroot", self.root, self.path, "/tmp/reftop-targets/" + os.path.basename(script), *args]

    def share(self, path):
        """A path under which the target sees the file `path` (copied into its root when it has one of its own)."""
        if not self.root:
            return path
        inside = os.path.join(self.root, "tmp", "reftop-targets")
        os.makedirs(inside, exist_ok=True)
        shutil.copy(path, inside)
        return "/tmp/reftop-targets/" + os.path.basename(path)

    def micro(self):
        command = [self.path, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]
        if self.root:
            command = ["chroot", self.root] + command
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              timeout=60).stdout.strip()

    def __repr__(self):
        return self.name


def has_module(python, name):
    """Whether an interpreter can import a module."""
    command = (["chroot", python.root] if python.root else []) + [python.path, "-c", "import " + name]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60).returncode == 0


# What the program promises first: every test runs under these.
PROMISED = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.11-debian"]
# And what tests of the heap run under too: versions of other Debian suites (tools/interpreters.sh), debug and free-threaded builds.
EXPECTED = ["3.6", "3.7"] + PROMISED + ["3.13-trixie", "3.13-sid", "3.14-forky", "3.14-sid", "3.15-forky", "3.15-sid",
                                         "3.11-debian-debug", "3.13-trixie-debug", "3.13-sid-debug", "3.14-forky-debug", "3.14-sid-debug", "3.15-sid-debug",
                                         "3.13t", "3.14t", "3.15t"]


# Debian has no packages of them: built from its sources, where the mirror carries those (tools/freethreaded.sh)
FREE_THREADED = [("forky", "3.13"), ("forky", "3.14"), ("sid", "3.15")]


def fetch_interpreters():
    """Have the interpreters of Debian's other suites fetched, where that is asked for; why it failed, or ""."""
    problems = []
    wanted = [s for s in ("sid", "trixie") if not os.path.exists(os.path.join(CACHE, "rootfs-" + s, ".done"))]
    for asked, tool, arguments, limit in (("REFTOP_TEST_FETCH", "interpreters.sh", wanted, 600),
                                          *[("REFTOP_TEST_BUILD", "freethreaded.sh", [suite, minor], 3600)
                                            for suite, minor in FREE_THREADED]):
        if os.environ.get(asked) != "1" or not arguments:
            continue
        if tool == "freethreaded.sh" and os.path.exists(os.path.join(CACHE, "freethreaded-" + arguments[1])):
            continue
        if os.geteuid():
            problems.append("%s needs root, for chroot" % tool)
            continue
        try:
            done = subprocess.run([os.path.join(ROOT, "tools", tool), *arguments], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, text=True)
        except subprocess.TimeoutExpired:
            problems.append("%s took more than %d s" % (tool, limit))
            continue
        if done.returncode:
            problems.append("%s: %s" % (tool, (done.stdout.strip().splitlines() or ["failed"])[-1]))
    return "; ".join(problems)


def find_interpreters():
    found = {}
    for path in sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python3.*"))):
        minor = re.fullmatch(r"python(3\.\d+)", os.path.basename(path))
        if minor:
            found.setdefault(minor.group(1), Interpreter(minor.group(1), path))
    for path in sorted(glob.glob("/usr/bin/python3.*")):
        add_debian(found, path, "debian", None)
    for root in sorted(glob.glob(os.path.join(CACHE, "rootfs-*/.done"))):
        root = os.path.dirname(root)
        for path in sorted(glob.glob(os.path.join(root, "usr/bin/python3.*"))):
            add_debian(found, "/usr/bin/" + os.path.basename(path), os.path.basename(root)[len("rootfs-"):], root)
    for path in sorted(glob.glob(os.path.join(CACHE, "freethreaded-*", "bin", "python3.*t"))):
        minor = re.fullmatch(r"python(3\.\d+t)", os.path.basename(path))
        if minor:
            found.setdefault(minor.group(1), Interpreter(minor.group(1), path))
    return found


def add_debian(found, path, suite, root):
    minor = re.fullmatch(r"python(3\.\d+)(-dbg)?", os.path.basename(path))
    if minor:
        name = "%s-%s%s" % (minor.group(1), suite, "-debug" if minor.group(2) else "")
        found[name] = Interpreter(name, path, root)


class Dead(Exception):
    """The target ended, or didn't answer in time; carries what it said on standard error."""


class Target:
    """A running script of tests/targets."""

    def __init__(self, argv, env=None, cwd=None, stdout=None, preexec=None):
        self.errors = tempfile.TemporaryFile()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environment.update(PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1")
        environment.update(env or {})
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=stdout or subprocess.PIPE,
                                        stderr=self.errors, env=environment, cwd=cwd, preexec_fn=preexec)
        self.pid = self.process.pid
        self.buffer = b""
        self.argv = argv

    def line(self, deadline=DEADLINE):
        end = time.monotonic() + deadline
        out = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                raise Dead("no answer within %g s from %s\n%s" % (deadline, self.argv, self.complaints()))
            piece = os.read(out, 1 << 20)
            if not piece:
                raise Dead("%s ended (%s)\n%s" % (self.argv, self.process.wait(), self.complaints()))
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def answer(self, deadline=DEADLINE):
        return json.loads(self.line(deadline))

    def send(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, command, deadline=DEADLINE):
        self.send(command)
        return self.answer(deadline)

    def ready(self, deadline=DEADLINE):
        """Wait for the first line; its JSON."""
        answer = self.answer(deadline)
        assert answer.get("ready"), answer
        return answer

    def complaints(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[-4000:]

    def alive(self):
        return self.process.poll() is None

    def wait_blocked(self, deadline=DEADLINE):
        """Return once the main thread of the target sleeps in read(2) on its standard input."""
        wait_for(lambda: syscall_of(self.pid, self.pid)[:2] == (0, 0), deadline, "the target to wait for a command")

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                try:
                    pipe.close()
                except OSError:
                    pass
        self.errors.close()


def syscall_of(pid, tid):
    """(number, first argument) of the system call a thread sleeps in; (None, None) while it runs or is gone."""
    try:
        words = open("/proc/%d/task/%d/syscall" % (pid, tid)).read().split()
    except OSError:
        return None, None
    if not words or words[0] == "running" or words[0] == "-1":
        return None, None
    return int(words[0]), int(words[1], 16)


def wait_for(condition, deadline, what):
    """Poll a condition that the kernel or a file shows and that nothing announces."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %g s for %s" % (deadline, what))
        select.select([], [], [], 0.002)


class Result:
    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return "%s -> %s\n%s\n%s" % (" ".join(map(str, self.argv)), self.code, self.out[:2000], self.err[:4000])


def reftop(*args, timeout=DEADLINE, **kwargs):
    """Run the program to its end. Everything it says is in the result."""
    argv = [REFTOP, *map(str, args)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=kwargs.pop("stdout", subprocess.PIPE),
                          stderr=subprocess.PIPE, timeout=timeout, **kwargs)
    return Result(argv, done.returncode, (done.stdout or b"").decode(errors="surrogateescape"),
                  done.stderr.decode(errors="surrogateescape"))


# a process counts as its own what the one that started it had in memory: so a small one starts it
MEASURE = """import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
sys.stdout.flush()
sys.stderr.write("\\npeak %d" % usage.ru_maxrss)
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128)
"""


def reftop_peak(*args, **kwargs):
    """Run the program to its end; its result, and the most memory it had, bytes."""
    done = subprocess.run([sys.executable, "-c", MEASURE, REFTOP, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=DEADLINE, **kwargs)
    errors, _, peak = done.stderr.decode(errors="surrogateescape").rpartition("\npeak ")
    return Result([REFTOP, *args], done.returncode, done.stdout.decode(errors="surrogateescape"), errors), int(peak) * 1024


def histo(pid, *args, **kwargs):
    """One sample of a process as the JSON document says it."""
    result = reftop("histo", "-p", pid, "--json", *args, **kwargs)
    assert result.code == 0, result
    sample = result.json
    assert sample["schema"] == "reftop.sample/1", sample["schema"]
    return sample


def check_sums(sample, classes_die=False):
    """What holds for every consistent sample, whatever the target did; `classes_die`: a class may have lost its __module__ already."""
    types, totals = sample["types"], sample["totals"]
    assert sample["snapshot"]["consistent"] is True, sample["snapshot"]
    assert totals["unreadable"] == 0, totals
    for total, key in (("objects", "count"), ("gc_objects", "gc_count"), ("bytes", "bytes"), ("refs", "refs"),
                       ("immortal", "immortal")):
        assert totals[total] == sum(t[key] for t in types), (total, totals)
    for t in types:
        assert 0 < t["count"] < 10 ** 9 and 0 <= t["gc_count"] <= t["count"], t
        assert 0 <= t["immortal"] <= t["count"], t
        assert 0 < t["bytes"] < 10 ** 12, t
        mortal = t["count"] - t["immortal"]
        assert mortal <= t["refs"] < 10 ** 12 and (t["refs_max"] > 0) == (mortal > 0), t
        assert t["refs_max"] <= t["refs"] <= mortal * t["refs_max"], t
        assert t["qualname"] and (t["module"] or classes_die), t
    if totals.get("memory"):
        rss, parts = sample["target"]["rss"], totals["memory"]
        assert sum(parts.values()) == rss and min(parts.values()) >= 0 and parts["other"] == 0, (rss, parts)
    addresses = [t["address"] for t in types]
    assert len(set(addresses)) == len(addresses)
    free_threaded = sample["target"]["free_threaded"]  # there are no lists
    if sample["gc"] and not free_threaded and not any(i["collecting"] for i in sample["gc"]):
        listed = sum(g["objects"] for i in sample["gc"] for g in i["generations"])
        assert listed == totals["gc_objects"], (listed, totals)


def row(sample, name, module="__main__"):
    """The row of a type by name; there must be one."""
    rows = [t for t in sample["types"] if t["qualname"] == name and t["module"] == module]
    assert len(rows) == 1, (name, rows)
    return rows[0]


def query(path, sql):
    """The rows that a recording answers with."""
    database = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def check_whole(path):
    """A recording is sound, and every sample in it has all its types: their counts add up to its total."""
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert query(path, "SELECT s.id FROM sample s WHERE s.objects IS NOT "
                       "(SELECT sum(count) FROM sample_type WHERE sample = s.id)") == []


def status_of(pid):
    """/proc/PID/status, by the names in it."""
    return dict(line.split(":\t", 1) for line in open("/proc/%d/status" % pid).read().splitlines() if ":\t" in line)


NOBODY = 65534


def become(uid=NOBODY, gid=NOBODY):
    """Be another user from now on, for preexec_fn; only root can."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def open_path(path):
    """Let everybody into a directory that pytest made for one user. What is open already stays as it is, /tmp above all."""
    for directory in (path, *path.parents):
        mode = directory.stat().st_mode & 0o7777
        if mode & 0o055 != 0o055:
            directory.chmod(mode | 0o055)


def build_helper(directory, name, *libraries):
    """Compile tests/targets/<name>.c to a shared object in `directory`; its path."""
    out = os.path.join(str(directory), name + ".so")
    if not os.path.exists(out):
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", out, os.path.join(TARGETS, name + ".c"),
                        "-lpthread", *libraries], check=True)
    return out
