#!/usr/bin/env python3
"""What looking costs, by heap, load and mode; against a plain copy of the same bytes, and against what one would do instead.

	price.py [--quick] [--rounds N] [--python PYTHON] [--json FILE]
Prints tables in markdown with the machine's facts; all that is compared is measured in one run, in turn. --json FILE keeps every figure, for
tests/bench/picture.py. About 15 minutes; --quick takes three. What isn't at hand (objgraph, pympler, numpy, gcore, a JDK) is left out by name.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("BUILD", HERE.parent.parent / "build")).resolve()
REFTOP = os.environ.get("REFTOP", str(BUILD / "reftop"))
MODES = {"default": [], "precopy": ["--precopy"], "nonblocking": ["--nonblocking", "--memory", "64G"], "pieces": ["--memory", "256MB"]}
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


def measure(target, load, mode, rounds):
    """One row: medians; the plain copy, the count in the target and reftop take turns."""
    rows = []
    for _ in range(rounds):
        if load != "idle":
            target.ask("work")
            time.sleep(0.15)
            alone, _ = speed(target)
        row = sample(target, MODES[mode])
        if row is None:
            return None
        if load != "idle":
            during, longest = speed(target)
            row["throughput"], row["gap"] = during / max(alone, 1e-9), longest
        copied, copy = map(int, run([str(BUILD / "tests/bench/copy"), target.pid, "2"])[0].split())
        row["copy"], row["bytes"] = copy / 1e3, copied / 2**20
        row["counter"] = target.ask("counter") / 1e3
        rows.append(row)
    middle = {key: statistics.median(row[key] for row in rows) for key in rows[0] if key != "mode"}
    middle["ratio"] = statistics.median(row["pause"] / max(row["copy"], 1e-3) for row in rows)
    middle["mode"] = statistics.mode(row["mode"] for row in rows)
    return middle


def table(rows):
    print("| objects | heap | load | asked for | mode | RSS MB | pause ms | 2-thread copy ms | ratio | Counter ms | elapsed ms | CPU ms | "
          "our memory MB | throughput | longest gap ms |")
    print("|" + "---|" * 15)
    for row in rows:
        print("| {objects:,.0f} | {kind} {age} | {load} | {asked} | {mode} | {rss:.0f} | {pause:.2f} | {copy:.1f} | {ratio:.2f} | "
              "{counter:.1f} | {elapsed:.0f} | {cpu:.0f} | {memory:.0f} | {through} | {gaps} |".format(
                  through="%.0f %%" % (100 * row["throughput"]) if "throughput" in row else "-",
                  gaps="%.1f" % row["gap"] if "gap" in row else "-", **row), flush=True)


def instead(target, rounds):
    """What one would do without it: milliseconds the program stands still for it, and of the whole."""
    told = []
    for way in ("counter", "objgraph", "pympler"):
        took = [target.ask(way) for _ in range(rounds if way == "counter" else 1)]
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
            _, _, seconds, status = run(command, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            if not status:
                told.append((name, seconds * 1e3))
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
            subprocess.run(["jmap", "-histo:all", str(machine.pid)], stdout=subprocess.DEVNULL, check=True)
        machine.kill()
        machine.wait()
        with open(os.path.join(directory, "log")) as log:
            stops = [int(line.split("At safepoint: ")[1].split()[0]) / 1e6 for line in log if "HeapInspection" in line or "GC_HeapInspection" in line]
    return [("jmap -histo:all, its pause", statistics.median(stops))] if stops else []


def resident(pid):
    with open("/proc/%s/status" % pid) as told:
        return next(int(line.split()[1]) for line in told if line.startswith("VmRSS:"))


def watch(target, seconds):
    """`top` at one second: its share of a core, and its memory while it runs."""
    begun = time.monotonic()
    process = subprocess.Popen([REFTOP, "top", "-p", target.pid, "--dump-screen", "--iterations", str(seconds), "-i", "1s"], stdout=subprocess.DEVNULL)
    time.sleep(seconds - 1.5)
    own = resident(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    return 100 * (usage.ru_utime + usage.ru_stime) / (time.monotonic() - begun), own / resident(target.pid)


def plans(quick):
    """(objects, kind, age, load, modes)"""
    everything = ["default", "precopy", "nonblocking", "pieces"]
    sizes = [100000, 1000000, 5000000] if quick else [100000, 1000000, 5000000, 20000000]
    for n in sizes:
        yield n, "mixed", "fresh", "idle", ["default"]
        yield n, "mixed", "fresh", "allocating", ["default"] if quick and n < 1000000 else everything
    if quick:
        return
    for kind in ("dicts", "instances", "strings"):
        yield 5000000, kind, "fresh", "allocating", ["default"]
    yield 500000000, "numpy", "fresh", "allocating", ["default", "precopy"]
    yield 5000000, "mixed", "aged", "allocating", everything
    for load in ("trickle", "random", "threads"):
        yield 5000000, "mixed", "fresh", load, everything


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--json")
    options = parser.parse_args()
    version = subprocess.run([options.python, "--version"], stdout=subprocess.PIPE, universal_newlines=True).stdout.strip()
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / 2**20
    facts = "%s, Linux %s, %d CPUs, %.0f GB of memory, load %.1f; medians of %d" % (version, platform.release(), os.cpu_count(), memory,
                                                                        os.getloadavg()[0], options.rounds)
    print(facts + "\n", flush=True)
    rows, others = [], []
    for n, kind, age, load, modes in plans(options.quick):
        target = Target(options.python, n, kind, age, load)
        if not target.good:
            missing.add(kind)
            continue
        for mode in modes:
            row = measure(target, load, mode, options.rounds)
            if row is None:
                missing.add("%s on %s" % (mode, load))
                continue
            row.update(kind=kind, age=age, load=load, asked=mode, wanted=n)
            rows.append(row)
        if kind == "mixed" and age == "fresh" and load == "idle" and n in (1000000, 5000000):
            others += [(n, *told) for told in instead(target, options.rounds)]
            if n == 1000000:
                cpu, share = watch(target, 5 if options.quick else 15)
                others += [(n, "reftop top -i 1s: %% of a core", cpu), (n, "reftop top: its RSS / the target's", share)]
        target.close()
    table(rows)
    others += [(5000000, *told) for told in jmap(5000000, 3)]
    print("\n| objects | instead, or besides | ms, or as it says |\n|---|---|---|")
    for n, what, figure in others:
        print("| {:,} | {} | {:.2f} |".format(n, what.replace("%%", "%"), figure))
    if missing:
        print("\nNot at hand: " + ", ".join(sorted(missing)))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"facts": facts, "rows": rows, "instead": others}, file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
