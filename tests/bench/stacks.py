#!/usr/bin/env python3
"""The stacks of many threads: reftop beside Debian's austin and gdb's py-bt, on the same target, in turn.

Same: whether the tool's frames (function, file, line) of the waiting threads are those of sys._current_frames(). Time: the whole command,
of austin until it has told every thread once. Pause: the longest time for which a running thread of the target didn't get on while the
tool looked, by its own clock (beside "none": with no tool at all, for as long as reftop takes). Usage: stacks.py [--rounds N] [--threads N] [PYTHON ...]
"""
import argparse
import collections
import glob
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("BUILD", HERE.parent.parent / "build")).resolve()
REFTOP = os.environ.get("REFTOP", str(BUILD / "reftop"))


class Target:
    def __init__(self, python, threads, depth, load):
        self.process = subprocess.Popen([python, str(HERE.parent / "targets/threads.py"), str(threads), str(depth), load],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
        wait = json.loads(self.process.stdout.readline())
        while sum(self.syscall(tid) == wait["call"] for tid in os.listdir("/proc/%d/task" % wait["pid"])) < wait["wait"]:
            time.sleep(0.01)
        self.threads = self.ask()["threads"]

    def syscall(self, tid):
        try:
            word = open("/proc/%d/task/%s/syscall" % (self.process.pid, tid)).read().split()[0]
        except OSError:
            return None
        return int(word) if word.lstrip("-").isdigit() else None

    def ask(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


def canon(stacks):
    return collections.Counter(tuple(map(tuple, frames)) for frames in stacks)


def run(command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                          universal_newlines=True, errors="replace").stdout


def by_none(target, python):
    time.sleep(0.03)
    return None


def by_reftop(target, python, *options):
    document = json.loads(run([REFTOP, "stacks", "-p", str(target.process.pid), "--json", *options]))
    return [[(f["function"].split(".")[-1], f["file"], f["line"]) for f in t["frames"] if not f["native"]] for t in document["threads"]]


def by_reftop_native(target, python):
    return by_reftop(target, python, "--native")


def by_gdb(target, python):
    script = next(iter(glob.glob(os.path.realpath(python) + "-gdb.py") + glob.glob("/usr/share/gdb/auto-load" + os.path.realpath(python) + "-gdb.py")), None)
    if not script or not shutil.which("gdb"):
        return None
    output = run(["gdb", "-nx", "-batch", "-iex", "set auto-load no", "-iex", "set debuginfod enabled off", "-p", str(target.process.pid),
                  "-ex", "source " + script, "-ex", "thread apply all py-bt"])
    stacks = []
    for part in re.split(r"^Thread \d+ \(.*$", output, flags=re.M)[1:]:
        stacks.append([(name, file, int(line)) for file, line, name in re.findall(r'^  File "(.*)", line (\d+), in (.*)$', part, re.M)])
    return stacks


def by_austin(target, python):
    if not shutil.which("austin"):
        return None
    process = subprocess.Popen(["austin", "-i", "1000", "-p", str(target.process.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, universal_newlines=True)
    stacks = {}
    for line in process.stdout:
        found = re.match(r"Thread ([0-9a-f]+);(.*) \d+$", line)
        if not found:
            continue
        if found.group(1) in stacks:
            break
        frames = re.findall(r"([^;]*) \(([^;]*)\);L(\d+)", found.group(2))
        stacks[found.group(1)] = [(name, file, int(number)) for name, file, number in reversed(frames)]
    process.terminate()
    process.stdout.close()
    process.wait()
    return list(stacks.values())


TOOLS = {"none": by_none, "reftop": by_reftop, "reftop --native": by_reftop_native, "austin": by_austin, "gdb py-bt": by_gdb}


def measure(python, load, options):
    target = Target(python, options.threads, options.depth, load)
    truth = canon(target.threads.values())
    rows = {name: [] for name in TOOLS}
    for _ in range(options.rounds):
        for name, tool in TOOLS.items():
            if load == "busy":
                target.ask()
            began = time.perf_counter()
            stacks = tool(target, python)
            took = time.perf_counter() - began
            gap = target.ask()["gap_us"] / 1e3 if load == "busy" else 0
            same = stacks and not truth - canon(stacks)
            rows[name].append((took * 1e3, gap, same, stacks))
    target.close()
    for name, row in rows.items():
        if name == "none":
            if load == "busy":
                print("| %s | none | | | %.1f | %.1f |" % (load, statistics.median(r[1] for r in row), max(r[1] for r in row)))
            continue
        if not any(r[3] for r in row):
            print("| %s | %s | nothing | | | |" % (load, name))
            continue
        pause = "%.1f | %.1f" % (statistics.median(r[1] for r in row), max(r[1] for r in row)) if load == "busy" else "|"
        print("| %s | %s | %d of %d | %.0f | %s |" % (load, name, sum(bool(r[2]) for r in row), len(row), statistics.median(r[0] for r in row), pause),
              flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("python", nargs="*")
    options = parser.parse_args()
    # austin of Debian 12 knows CPython up to 3.8
    pythons = options.python or sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.8.*/bin/python3.8"))) + ["/usr/bin/python3"]
    for python in pythons:
        version = run([python, "-c", "import sys; print(sys.version.split()[0])"]).strip()
        print("CPython %s, %d threads of %d frames; milliseconds, median of %d rounds, and the worst pause\n" %
              (version, options.threads, options.depth + 5, options.rounds))
        print("| target | tool | same frames | time | pause | worst |\n|---|---|---|---|---|---|")
        for load in ("idle", "busy"):
            measure(python, load, options)
        print()


main()
