#!/usr/bin/env python3
"""What looking costs, by heap, load and mode; against a plain copy of the same bytes, and against what one would do instead.

	price.py [--quick] [--rounds N] [--python PYTHON] [--json FILE] [--check]
Prints tables in markdown with the machine's facts; all that is compared is measured in one run, in turn. The last table says what was promised
and whether that was kept. --json FILE keeps every figure, for tests/bench/picture.py. About 12 minutes and 9 GB of memory; --quick takes two minutes, and one
GB. What isn't at hand (objgraph, pympler, numpy, gcore, a JDK) is left out by name.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("BUILD", HERE.parent.parent / "build")).resolve()
REFTOP = os.environ.get("REFTOP", str(BUILD / "reftop"))
MODES = {"default": [], "precopy": ["--precopy"], "nonblocking": ["--nonblocking", "--memory", "64G"], "pieces": ["--memory", "256MB"]}
OPTIONS = dict(MODES, nonblocking=["--nonblocking"])  # as a user would say it: without --memory that one reads piece by piece
missing = set()


class Target:
    def __init__(self, python, *arguments):
        self.process = subprocess.Popen([python, str(HERE.parent / "targets/priced.py"), *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)
        self.pid = str(self.process.pid)
        self.good = self.process.stdout.readline() != ""

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.wait()


def run(arguments, **options):
    """Output, what wait4 says the program used, and seconds."""
    begun = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, **options)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    return output, usage, time.monotonic() - begun, status


def sample(target, option):
    output, usage, seconds, status = run([REFTOP, "histo", "-p", target.pid, "--json", *option], stderr=subprocess.PIPE)
    if status:
        return None
    told = json.loads(output)
    snapshot = told["snapshot"]
    return {"mode": snapshot["mode"], "objects": told["totals"]["objects"], "rss": (told["target"]["rss"] or 0) / 2**20,
            "pause": (snapshot["pause_us"] or 0) / 1e3, "elapsed": seconds * 1e3, "cpu": (usage.ru_utime + usage.ru_stime) * 1e3,
            "memory": usage.ru_maxrss / 1024, "copied": snapshot["bytes_copied"] / 2**20}


def speed(target):
    work = target.ask("work")
    return work["rounds"] / max(work["seconds"], 1e-9), work["longest_us"] / 1e3


def plain_copy(target, load):
    """The yardstick, with the process out of the way as it is while reftop has it stopped: MB, ms."""
    if load != "idle":
        os.kill(int(target.pid), signal.SIGSTOP)
    try:
        copied, copy = map(int, run([str(BUILD / "tests/bench/copy"), target.pid, "2"])[0].split())
    finally:
        if load != "idle":
            os.kill(int(target.pid), signal.SIGCONT)
    return copied / 2**20, copy / 1e3


def measure(target, load, mode, rounds):
    """One row: medians; the plain copy, the count in the target and reftop take turns."""
    rows = []
    for _ in range(rounds):
        if load != "idle":
            target.ask("work")
            time.sleep(0.1)
            alone, _ = speed(target)
        row = sample(target, MODES[mode])
        if row is None:
            return None
        if load != "idle":
            during, row["gap"] = speed(target)
            time.sleep(0.1)
            after, _ = speed(target)
            row["throughput"], row["after"] = during / max(alone, 1e-9), after / max(alone, 1e-9)
        row["bytes"], row["copy"] = plain_copy(target, load)
        row["counter"] = target.ask("counter") / 1e3
        rows.append(row)
    middle = {key: statistics.median(row[key] for row in rows) for key in rows[0] if key != "mode"}
    middle["ratio"] = statistics.median(row["pause"] / max(row["copy"], 1e-3) for row in rows)
    middle["mode"] = statistics.mode(row["mode"] for row in rows)
    return middle


def table(rows):
    print("| objects | heap | RSS | load | asked for | mode | pause | plain copy, 2 threads | ratio | its own `Counter` | `histo` took | our CPU | "
          "our memory | its throughput meanwhile, and after | its longest gap |")
    print("|" + "---|" * 15)
    for row in rows:
        print("| {objects:,.0f} | {kind}, {age} | {rss:.0f} MB | {load} | {option} | {mode} | {pause:.1f} ms | {copy:.1f} ms | {ratio:.2f} | {counter:.0f} ms | "
              "{elapsed:.0f} ms | {cpu:.0f} ms | {memory:.0f} MB | {through} | {gaps} |".format(
                  option=" ".join(OPTIONS[row["asked"]]) or "-",
                  through="%.0f %%, %.0f %%" % (100 * row["throughput"], 100 * row["after"]) if "throughput" in row else "-",
                  gaps="%.1f ms" % row["gap"] if "gap" in row else "-", **row), flush=True)


def instead(target, rounds):
    """What one would do without it: milliseconds the program stands still for it."""
    told = []
    for way in ("counter", "objgraph", "pympler"):
        took = [target.ask(way) for _ in range(1 if way == "pympler" else rounds)]  # that one takes half a minute
        if took[0] is None:
            missing.add(way)
        else:
            told.append((way + ", in the process", statistics.median(took) / 1e3))
    with tempfile.TemporaryDirectory() as directory:
        for name, command in (("gcore", ["gcore", "-o", directory + "/core", target.pid]),
                              ("gdb, attach and detach", ["gdb", "-nx", "-batch", "-p", target.pid])):
            if not shutil.which(command[0]):
                missing.add(command[0])
                continue
            took = []
            for _ in range(rounds):
                _, _, seconds, status = run(command, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
                if not status:
                    took.append(seconds * 1e3)
            if took:
                told.append((name, statistics.median(took)))
    return told


JAVA = """
public class Priced {
    public static void main(String[] a) throws Exception {
        int n = Integer.parseInt(a[0]);
        Object[] keep = new Object[n / 2];
        for (int i = 0; i < keep.length; i++) keep[i] = new Object[] { Integer.valueOf(i + 1000) };
        System.out.println("ready");
        System.out.flush();
        while (System.in.read() >= 0) { }
        System.out.println(keep.length);
    }
}
"""


def jmap(objects, rounds):
    """The pause of jmap -histo:all on as many objects: the whole run less that of a jmap which asks for nothing but a version."""
    if not shutil.which("jmap") or not shutil.which("javac"):
        missing.add("a JDK (jmap)")
        return []
    with tempfile.TemporaryDirectory() as directory:
        source = os.path.join(directory, "Priced.java")
        with open(source, "w") as file:
            file.write(JAVA)
        subprocess.run(["javac", "-d", directory, source], check=True)
        machine = subprocess.Popen(["java", "-Xlog:safepoint:file=%s/log" % directory, "-Xmx4g", "-cp", directory, "Priced", str(objects)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        machine.stdout.readline()
        for _ in range(rounds):
            told = subprocess.run(["jmap", "-histo:all", str(machine.pid)], stdout=subprocess.PIPE, check=True).stdout
        counted = int(told.split()[-2])  # the last line: Total, instances, bytes
        machine.kill()
        machine.wait()
        with open(os.path.join(directory, "log")) as log:
            stops = [int(line.split("At safepoint: ")[1].split()[0]) / 1e6 for line in log if "HeapInspection" in line]
    return [(counted, "jmap -histo:all, its pause", statistics.median(stops))] if stops else []


def resident(pid):
    with open("/proc/%s/status" % pid) as told:
        return next(int(line.split()[1]) for line in told if line.startswith("VmRSS:"))


def watch(target, seconds):
    """`top` at one second: its share of a core, and its memory at its peak, as a multiple of the target's."""
    begun = time.monotonic()
    _, usage, _, _ = run([REFTOP, "top", "-p", target.pid, "--dump-screen", "--iterations", str(seconds), "-i", "1s"])
    return 100 * (usage.ru_utime + usage.ru_stime) / (time.monotonic() - begun), usage.ru_maxrss / resident(target.pid)


ALL = ["default", "precopy", "nonblocking", "pieces"]
SOME = ["default", "precopy"]


def plans(quick):
    """(objects, kind, age, [(load, modes)]); a target has the loads one after the other"""
    yield 100000, "mixed", "fresh", [("idle", ["default"]), ("allocating", SOME)]
    yield 1000000, "mixed", "fresh", [("idle", ["default"]), ("allocating", ALL)]
    if quick:
        yield 5000000, "mixed", "fresh", [("idle", ["default"]), ("allocating", ALL)]
        return
    yield 1000000, "mixed", "aged", [("idle", ["default"]), ("allocating", ["default"])]
    yield 5000000, "mixed", "fresh", [("idle", ["default"]), ("allocating", ALL), ("trickle", ALL), ("random", ALL), ("threads", ALL)]
    yield 5000000, "mixed", "aged", [("allocating", SOME)]
    for kind in ("dicts", "instances", "strings"):
        yield 5000000, kind, "fresh", [("allocating", ["default"])]
    yield 13000000, "mixed", "fresh", [("trickle", SOME), ("allocating", SOME)]  # a GB
    yield 500000000, "numpy", "fresh", [("allocating", ["default"])]
    yield 20000000, "mixed", "fresh", [("idle", ["default"]), ("allocating", ALL)]
    yield 20000000, "mixed", "aged", [("allocating", ["default"])]
    yield 50000000, "mixed", "fresh", [("idle", ["default"]), ("allocating", ["default", "pieces"])]


def find(rows, **wanted):
    """The row that has all of that, or None."""
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)


def promises(rows, others):
    """(what was promised, what was measured, whether it was kept)"""
    for n in (1000000, 5000000):
        row = find(rows, wanted=n, kind="mixed", age="fresh", load="idle")
        if row:
            yield "idle, {:,} objects: not stopped".format(n), "%s, %.1f ms" % (row["mode"], row["pause"]), row["mode"] == "quiet" and row["pause"] == 0
    for row in rows:
        if row["mode"] == "stop" and row["asked"] == "default":
            what = "stop, {wanted:,} {kind} {age} {load}: at most 1.25 of the plain copy".format(**row)
            yield what, "%.2f" % row["ratio"], row["ratio"] <= 1.25
    row = find(rows, wanted=5000000, kind="mixed", age="fresh", load="allocating", asked="default")
    if row:
        yield "stop, 5,000,000: shorter than its own Counter", "%.1f of %.1f ms" % (row["pause"], row["counter"]), row["pause"] < row["counter"]
        for n, what, figure in others:
            if 4.5e6 < n < 5.5e6 and "jmap" in what:  # neither heap has exactly as many
                ours, theirs = row["pause"] / row["objects"] * 1e6, figure / n * 1e6
                yield "stop, 5,000,000: no longer than jmap's", "%.1f of %.1f ns an object" % (ours, theirs), ours <= theirs
    for load in ("trickle", "allocating"):
        row = find(rows, wanted=13000000, load=load, asked="precopy")
        if row:
            figures = "%.1f ms, %.1f ms, %.0f %%" % (row["pause"], row["gap"], 100 * row["throughput"])
            kept = row["pause"] < 3 and row["gap"] < 5 and row["throughput"] >= 0.85
            yield "--precopy, 1 GB, %s: pause < 3 ms, gap < 5 ms, throughput >= 85 %%" % load, figures, kept
    row = find(rows, wanted=1000000, kind="mixed", age="fresh", load="idle")
    if row:
        yield "histo, 1,000,000 objects: under 250 ms", "%.0f ms" % row["elapsed"], row["elapsed"] < 250
    for n, what, figure in others:
        if what == TOP_CPU:
            yield "top at 1 s, 1,000,000 objects: under 20 % of a core", "%.1f %%" % figure, figure < 20
        if what == TOP_MEMORY:
            yield "top: at most 1.3 of the target's memory, at its peak", "%.2f" % figure, figure <= 1.3


TOP_CPU, TOP_MEMORY = "reftop top -i 1s, % of a core", "reftop top, its peak memory by the target's"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--json")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a promise wasn't kept")
    options = parser.parse_args()
    version = subprocess.run([options.python, "--version"], stdout=subprocess.PIPE, universal_newlines=True).stdout.strip()
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / 2**20
    facts = "%s, Linux %s, %d CPUs, %.0f GB of memory, load %.1f; medians of %d" % (version, platform.release(), os.cpu_count(), memory,
                                                                        os.getloadavg()[0], options.rounds)
    print(facts + "\n", flush=True)
    begun = time.monotonic()
    rows, others = [], []
    for n, kind, age, loads in plans(options.quick):
        target = Target(options.python, n, kind, age, loads[0][0])
        if not target.good:
            missing.add(kind)
            continue
        for load, modes in loads:
            target.ask("load " + load)
            for mode in modes:
                row = measure(target, load, mode, options.rounds)
                if row is None:
                    missing.add("%s on %s" % (mode, load))
                    continue
                row.update(kind=kind, age=age, load=load, asked=mode, wanted=n)
                rows.append(row)
            if load == "idle" and age == "fresh" and n in (1000000, 5000000):
                others += [(n, *told) for told in instead(target, options.rounds)]
                if n == 1000000:
                    cpu, share = watch(target, 5 if options.quick else 15)
                    others += [(n, TOP_CPU, cpu), (n, TOP_MEMORY, share)]
        target.close()
        print("%6.0f s: %d %s %s" % (time.monotonic() - begun, n, kind, age), file=sys.stderr, flush=True)
    for n in (1000000, 5000000):
        others += jmap(n, options.rounds)
    table(rows)
    print("\n| objects | instead, or besides | ms, or as it says |\n|---|---|---|")
    for n, what, figure in others:
        print("| {:,} | {} | {:.1f} |".format(n, what, figure))
    kept = list(promises(rows, others))
    print("\n| promised | measured | |\n|---|---|---|")
    for what, figure, good in kept:
        print("| %s | %s | %s |" % (what, figure, "yes" if good else "**no**"))
    if missing:
        print("\nNot at hand: " + ", ".join(sorted(missing)))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"facts": facts, "rows": rows, "instead": others}, file, indent=1)
    return options.check and not all(good for _, _, good in kept)


if __name__ == "__main__":
    sys.exit(main())
