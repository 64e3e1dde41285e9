#!/usr/bin/env python3
"""What a snapshot costs: the target's pause, the time until the result, our CPU and memory.

Against a plain bulk copy of the same memory, and against the target's own Counter(map(type, gc.get_objects())), in one run, in turn.
Prints a table in markdown. Usage: pause.py [--python PYTHON] [--rounds N] [--objects N,N,...]
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
BUILD = pathlib.Path(os.environ.get("BUILD", HERE.parent.parent / "build")).resolve()
REFTOP = os.environ.get("REFTOP", str(BUILD / "reftop"))


class Target:
    def __init__(self, python, objects, mode):
        self.process = subprocess.Popen([python, str(HERE.parent / "targets/bench.py"), str(objects), mode], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, universal_newlines=True)
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def run(arguments):
    """Output, and what wait4 says the program used."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status) if hasattr(os, "waitstatus_to_exitcode") else status
    if process.returncode:
        sys.exit("%s ended with %s" % (" ".join(arguments), process.returncode))
    return output, usage


def measure(target, rounds):
    rows = []
    pid = str(target.process.pid)
    for _ in range(rounds):
        output, usage = run([REFTOP, "histo", "-p", pid, "--json"])
        sample = json.loads(output)
        copied, copy_us = map(int, run([str(BUILD / "tests/bench/copy"), pid])[0].split())
        _, copy2_us = map(int, run([str(BUILD / "tests/bench/copy"), pid, "2"])[0].split())
        rows.append({
            "mode": sample["snapshot"]["mode"],
            "objects": sample["totals"]["objects"],
            "pause": sample["snapshot"]["pause_us"] / 1e3,
            "elapsed": sample["snapshot"]["elapsed_us"] / 1e3,
            "walk": (sample["snapshot"].get("walk_us") or 0) / 1e3,
            "cpu": (usage.ru_utime + usage.ru_stime) * 1e3,
            "copied": sample["snapshot"]["bytes_copied"] / 2**20,
            "memory": usage.ru_maxrss / 1024,
            "copy": copy_us / 1e3,
            "copy2": copy2_us / 1e3,
            "bytes": copied / 2**20,
            "counter": target.ask("count") / 1e3,
        })
    return rows


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default="python3")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--objects", default="100000,1000000,5000000")
    options = parser.parse_args()
    version = subprocess.run([options.python, "--version"], stdout=subprocess.PIPE, universal_newlines=True).stdout.strip()
    print("%s, Linux %s, %d CPUs; medians of %d, milliseconds and MB; ratios pair by pair\n" %
          (version, platform.release(), os.cpu_count(), options.rounds))
    print("| tracked | target | mode | objects | pause | plain copy | ratio | 2 threads | ratio | Counter | ratio | "
          "elapsed | CPU | copied | our RSS |")
    print("|" + "---|" * 15)
    for objects in map(int, options.objects.split(",")):
        for load in ("idle", "busy"):
            target = Target(options.python, objects, load)
            rows = measure(target, options.rounds)
            target.close()
            ratio = lambda other: statistics.median(row["pause"] / max(row[other], 1e-3) for row in rows)
            print("| {:,} | {} | {} | {:,.0f} | {:.1f} | {:.1f} | {:.2f} | {:.1f} | {:.2f} | {:.1f} | {:.2f} | {:.0f} | {:.0f} | "
                  "{:.0f} | {:.0f} |".format(
                      objects, load, statistics.mode(row["mode"] for row in rows), median(rows, "objects"), median(rows, "pause"),
                      median(rows, "copy"), ratio("copy"), median(rows, "copy2"), ratio("copy2"), median(rows, "counter"),
                      ratio("counter"), median(rows, "elapsed"), median(rows, "cpu"), median(rows, "copied"),
                      median(rows, "memory")), flush=True)


main()
