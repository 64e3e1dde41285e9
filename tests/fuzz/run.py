#!/usr/bin/env python3
"""run.py REFTOP BUILD SECONDS: saves an image of each interpreter at hand and lets the fuzzers run that long each. They begin with
tests/fuzz/corpus; what they find goes to BUILD/fuzz/corpus, a crash to BUILD/fuzz."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "live"))
import harness  # noqa: the path is needed first

# a few changes at a time: what the readers say of one place isn't hidden by what another made of it
MORE = {"protocol": ["-dict=" + os.path.join(HERE, "protocol.dict")], "heap": ["-max_len=210"]}


def main():
    reftop, build, seconds = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3]
    images = os.path.join(build, "fuzz", "images")
    os.makedirs(images, exist_ok=True)
    for name, python in sorted(harness.find_interpreters().items()):
        path = os.path.join(images, "tiny-" + name)
        if os.path.exists(path):
            continue
        argv = python.argv("tiny.py")
        target = harness.Target(argv[:-1] + ["-I", "-S"] + argv[-1:])
        try:
            target.ready()
            target.wait_blocked()
            done = subprocess.run([reftop, "save", "-q", "-p", str(target.pid), "-o", path], timeout=60)
            print("image of", name, "saved" if done.returncode == 0 else "FAILED")
        finally:
            target.close()
    for fuzzer in ("protocol", "heap"):
        corpus = os.path.join(build, "fuzz", "corpus", fuzzer)
        os.makedirs(corpus, exist_ok=True)
        subprocess.run([os.path.join(build, "fuzz", fuzzer), "-max_total_time=" + seconds, "-timeout=30", "-rss_limit_mb=4096", "-print_final_stats=1",
                        *MORE[fuzzer],
                        "-artifact_prefix=" + os.path.join(build, "fuzz", fuzzer + "-"), corpus, os.path.join(HERE, "corpus", fuzzer)],
                       check=True, env=dict(os.environ, REFTOP_FUZZ_IMAGES=images, ASAN_OPTIONS="detect_leaks=1"))


main()
