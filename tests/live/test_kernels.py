"""Other kernels than this machine's: soft-dirty bits, and what there was before Linux 6.7. Each is booted once in an emulated machine whose files
are these (tools/machine.sh), and runs tests of the other files there; every one of them has its line here.

REFTOP_TEST_FETCH=1 (`make check`) fetches the kernels, once; REFTOP_KERNELS=bookworm,trixie,sid says which.
"""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

import harness

KERNELS = os.environ.get("REFTOP_KERNELS", "bookworm,trixie").split(",")
MAY_TAKE = 600  # seconds, for one kernel
FETCH_MAY_TAKE = 600
# what depends on the kernel, and doesn't compare times: an emulated machine is ten to thirty times slower
TESTS = """
test_precopy.py::test_the_numbers_are_right
test_precopy.py::test_targets_that_are_never_quiet
test_precopy.py::test_memory_that_comes_and_goes
test_precopy.py::test_leaks_and_questions_use_it_too
test_precopy.py::test_killed_at_any_moment
test_precopy.py::test_an_idle_target_is_not_armed
test_precopy.py::test_what_may_not_be_done_is_said
""".split()
ENVIRONMENT = {"REFTOP_TEST_DEADLINE": "300", "REFTOP_TEST_SLOW": "10", "REFTOP_TEST_KILLS": "5", "REFTOP_TEST_FETCH": "", "REFTOP_TEST_BUILD": ""}
COMPLAINT = re.compile(r"BUG|WARNING|Oops|Call Trace|rcu.*stall|lockup")


def fetch(name):
    """The folder of a kernel; skips where it can't be had."""
    folder = os.path.join(harness.CACHE, "kernel-" + name)
    for tool in ("qemu-system-x86_64", "cpio", "cc"):
        if not shutil.which(tool):
            pytest.skip("no %s at hand" % tool)
    if os.path.exists(os.path.join(folder, "vmlinuz")):
        return folder
    if os.environ.get("REFTOP_TEST_FETCH") != "1":
        pytest.skip("no kernel of %s at hand (tools/kernels.sh)" % name)
    try:
        done = subprocess.run([os.path.join(harness.ROOT, "tools", "kernels.sh"), name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=FETCH_MAY_TAKE, text=True)
    except subprocess.TimeoutExpired:
        pytest.skip("fetching the kernel of %s took more than %d s" % (name, FETCH_MAY_TAKE))
    if done.returncode:
        pytest.skip("no kernel of %s: %s" % (name, (done.stdout.strip().splitlines() or ["failed"])[-1]))
    return folder


class Machine:
    """What became of the tests that ran under one kernel."""

    def __init__(self, name, log):
        folder = fetch(name)
        environment = dict(os.environ, MACHINE_SECONDS=str(MAY_TAKE), MACHINE_LOG=str(log), PYTHONPATH=os.path.dirname(__file__), **ENVIRONMENT)
        # one interpreter is enough there, and a home that isn't there hides the others
        if "3.11-debian" in harness.find_interpreters():
            environment.update(REFTOP_PYTHONS="3.11-debian", HOME="/nonexistent")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "inside", "-p", "no:cacheprovider", *["tests/live/" + test for test in TESTS]]
        self.done = subprocess.run([os.path.join(harness.ROOT, "tools", "machine.sh"), folder, *command], cwd=harness.ROOT, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        self.log = log.read_text(errors="replace") if log.exists() else ""
        self.results = [json.loads(line) for line in self.done.stderr.splitlines() if line.startswith('{"test": ')]

    def of(self, test):
        return [result for result in self.results if result["test"].split("[")[0] == "tests/live/" + test]


@pytest.fixture(scope="module", params=KERNELS)
def machine(request, tmp_path_factory):
    return Machine(request.param, tmp_path_factory.mktemp(request.param) / "log")


@pytest.mark.parametrize("test", TESTS)
def test_under(machine, test):
    results = machine.of(test)
    if not results:
        pytest.fail("the machine ended before it ran this (%s)\n%s\n%s" % (machine.done.returncode, machine.done.stderr[-4000:], machine.log[-4000:]))
    failed = ["%s\n%s" % (result["test"], result["reason"]) for result in results if result["outcome"] == "failed"]
    if failed:
        pytest.fail("\n".join(failed), pytrace=False)
    if all(result["outcome"] == "skipped" for result in results):
        pytest.skip(results[0]["reason"])


def test_the_kernel_has_no_complaint(machine):
    said = [line for line in machine.log.splitlines() if COMPLAINT.search(line)]
    assert not said, "\n".join(said) + "\n" + machine.log[-6000:]
