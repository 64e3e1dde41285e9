#!/usr/bin/env python3
"""What counting every object costs, by how many there are: the target's pause, our time after the copy, our memory; and in turn with each
snapshot one of what the collector tracks only (--gc), whose pause it must not exceed.

Time on the clock is what it was with whatever else the machine did; CPU is that of all processors together, so half of it passes where
two are free. Fresh heaps lie in memory in the order they were made; in aged ones neighbours are strangers. The walk is measured while the target is
idle, the pauses while it is busy: an idle one isn't stopped. GHz: what the processors did meanwhile (clock.c). Prints a table in markdown.
Usage: objects.py [--python PYTHON] [--rounds N] [--objects N,N,...]
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REFTOP = os.environ.get("REFTOP", str(HERE.parent.parent / "build" / "reftop"))
CLOCK = pathlib.Path(os.environ.get("BUILD", str(HERE.parent.parent / "build"))) / "tests/bench/clock"  # make bench builds it


class Target:
    def __init__(self, python, objects, age):
        self.process = subprocess.Popen([python, str(HERE.parent / "targets/heap.py"), str(objects), age], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, universal_newlines=True)
        self.expect("ready")

    def expect(self, word):
        said = self.process.stdout.readline().strip()
        if said != word:
            sys.exit("the target said %r, not %r" % (said, word))

    def turn(self, word):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.expect(word)

    def resident(self):
        with open("/proc/%d/statm" % self.process.pid) as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def histo(target, *options):
    """A sample, the peak of our memory, bytes, and the time our own code took on all processors, seconds."""
    process = subprocess.Popen([REFTOP, "histo", "-p", str(target.process.pid), "--json", *options], stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        sys.exit("reftop ended with %s" % status)
    return json.loads(output), usage.ru_maxrss * 1024, usage.ru_utime


def clock():
    return float(subprocess.run([str(CLOCK)], stdout=subprocess.PIPE, check=True).stdout)


def measure(target, rounds):
    walks, stops, clocks = [], [], []
    for _ in range(rounds):
        clocks.append(clock())
        (every, memory, cpu), (listed, _, _) = histo(target), histo(target, "--gc")
        walks.append((every["snapshot"]["walk_us"], every["snapshot"]["elapsed_us"], every["totals"]["objects"], memory,
                      listed["snapshot"]["walk_us"], cpu))
    target.turn("busy")
    for i in range(rounds):
        pair = {}
        for options in ((), ("--gc",)) if i % 2 else (("--gc",), ()):
            snapshot = histo(target, *options)[0]["snapshot"]
            assert snapshot["mode"] == "stop", snapshot
            pair[options] = snapshot["pause_us"]
        stops.append((pair[()], pair[("--gc",)]))
    target.turn("idle")
    return walks, stops, clocks


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default="python3")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--objects", default="100000,1000000,5000000,20000000")
    options = parser.parse_args()
    version = subprocess.run([options.python, "--version"], stdout=subprocess.PIPE, universal_newlines=True).stdout.strip()
    print("%s, Linux %s, %d CPUs; medians of %d (best: the least of them); --gc: only what the collector tracks\n" %
          (version, platform.release(), os.cpu_count(), options.rounds))
    print("| objects | heap | target, MB | walk, ms | ns an object | best | GHz | CPU, ns an object | elapsed, ms | our memory, MB | "
          "pause, ms | pause of --gc, ms | "
          "ratio | walk of --gc, ms |")
    print("|" + "---:|" * 14)
    median = lambda values: statistics.median(values)
    for objects in map(int, options.objects.split(",")):
        for age in ("fresh", "aged"):
            target = Target(options.python, objects, age)
            walks, stops, clocks = measure(target, options.rounds)
            resident = target.resident()
            target.close()
            print("| {:,.0f} | {} | {:.0f} | {:.1f} | {:.1f} | {:.1f} | {:.2f} | {:.1f} | {:.1f} | {:.0f} | {:.1f} | {:.1f} | "
                  "{:.2f} | {:.1f} |".format(
                median(w[2] for w in walks), age, resident / 2**20, median(w[0] for w in walks) / 1e3,
                median(w[0] * 1e3 / w[2] for w in walks), min(w[0] * 1e3 / w[2] for w in walks), median(clocks),
                median(w[5] * 1e9 / w[2] for w in walks), median(w[1] for w in walks) / 1e3, median(w[3] for w in walks) / 2**20,
                median(s[0] for s in stops) / 1e3, median(s[1] for s in stops) / 1e3, median(s[0] / max(s[1], 1) for s in stops),
                median(w[4] for w in walks) / 1e3), flush=True)


main()
