"""Other kernels than this machine's: soft-dirty bits, and what there was before Linux 6.7. Each is booted once, all at the same time, in an emulated
machine whose files are these (tools/machine.sh), and runs tests of the other files there; every one of them has its line here.

The machines begin when the run begins (conftest.py), and have what the tests before these ones leave of the CPUs: they take minutes. Most
tests that compare times are in files behind this one, when the machines have ended.

REFTOP_TEST_FETCH=1 (`make check`) fetches the kernels, once; REFTOP_KERNELS=bookworm,trixie,sid says which.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

import harness

KERNELS = os.environ.get("REFTOP_KERNELS", "bookworm,trixie").split(",")
MAY_TAKE = 1800  # seconds, for one kernel
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
test_law.py::test_the_target_sees_nothing
test_law.py::test_looking_twice_at_a_forked_family_unshares_nothing
test_law.py::test_the_parent_sees_no_signal
test_law.py::test_no_wait_is_disturbed
test_quiet.py::test_an_idle_target_is_not_scheduled
test_quiet.py::test_eight_gigabytes_reserved
test_pause.py::test_a_longer_pause_than_allowed_is_skipped
test_stream.py::test_what_fits_is_copied
test_command.py::test_nonblocking_is_marked
test_command.py::test_why
test_precopy.py::test_a_file_mapped_across_two_pieces
test_precopy.py::test_one_at_a_time
test_units.py::test_unit
""".split()
ENVIRONMENT = {"REFTOP_TEST_DEADLINE": "300", "REFTOP_TEST_SLOW": "10", "REFTOP_TEST_KILLS": "5", "REFTOP_TEST_SNAPSHOTS": "2",
               "REFTOP_TEST_FETCH": "", "REFTOP_TEST_BUILD": ""}
COMPLAINT = re.compile(r"BUG|WARNING|Oops|Call Trace|rcu.*stall|lockup")


def fetch(name):
    """The folder of a kernel, and why it can't be had."""
    folder = os.path.join(harness.CACHE, "kernel-" + name)
    missing = [tool for tool in ("qemu-system-x86_64", "cpio", "cc") if not shutil.which(tool)]
    if missing:
        return None, "no %s at hand" % missing[0]
    if os.path.exists(os.path.join(folder, "vmlinuz")):
        return folder, None
    if os.environ.get("REFTOP_TEST_FETCH") != "1":
        return None, "no kernel of %s at hand (tools/kernels.sh)" % name
    try:
        done = subprocess.run([os.path.join(harness.ROOT, "tools", "kernels.sh"), name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=FETCH_MAY_TAKE, text=True)
    except subprocess.TimeoutExpired:
        return None, "fetching the kernel of %s took more than %d s" % (name, FETCH_MAY_TAKE)
    if done.returncode:
        return None, "no kernel of %s: %s" % (name, (done.stdout.strip().splitlines() or ["failed"])[-1])
    return folder, None


def give_way():
    """In a process about to run something: only when no other process wants the CPU."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class Machine:
    """What becomes of the tests under one kernel."""

    def __init__(self, folder, log):
        environment = dict(os.environ, MACHINE_SECONDS=str(MAY_TAKE), MACHINE_LOG=str(log), PYTHONPATH=os.path.dirname(__file__), **ENVIRONMENT)
        # one interpreter is enough there, and a home that isn't there hides the others
        if "3.11-debian" in harness.find_interpreters():
            environment.update(REFTOP_PYTHONS="3.11-debian", HOME="/nonexistent")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "inside", "-p", "no:cacheprovider", *["tests/live/" + test for test in TESTS]]
        self.place, self.errors, self.begin = log, log.with_suffix(".errors"), time.time()
        self.process = subprocess.Popen([os.path.join(harness.ROOT, "tools", "machine.sh"), folder, *command], cwd=harness.ROOT, env=environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors.open("w"), preexec_fn=give_way)

    def end(self):
        """If it isn't over: let machine.sh end it."""
        self.process.terminate()
        self.process.wait()

    def finish(self):
        self.process.wait()
        self.said = self.errors.read_text(errors="replace")
        self.seconds = self.errors.stat().st_mtime - self.begin
        self.log = self.place.read_text(errors="replace") if self.place.exists() else ""
        told = [json.loads(line) for line in self.said.splitlines() if line.startswith('{"')]
        self.version = next((line["kernel"] for line in told if "kernel" in line), "didn't begin")
        self.results = [line for line in told if "test" in line]

    def table(self, name):
        """The line of this kernel among the last ones of the run."""
        counts = ["%d %s" % (sum(result["outcome"] == outcome for result in self.results), outcome) for outcome in ("passed", "failed", "skipped")]
        return "%-18s %-24s %s, %d s" % (name, self.version, ", ".join(counts), self.seconds)

    def of(self, test):
        return [result for result in self.results if result["test"].split("[")[0] == "tests/live/" + test]


def begin(config):
    """Start the machines of a run that has these tests."""
    config.machines = {}  # {name: a Machine, or why there is none}
    folder = tempfile.TemporaryDirectory(prefix="kernels-")
    config.add_cleanup(folder.cleanup)
    for name in KERNELS:
        kernel, problem = fetch(name)
        config.machines[name] = problem or Machine(kernel, pathlib.Path(folder.name, name))
        if not problem:
            config.add_cleanup(config.machines[name].end)


@pytest.fixture(scope="module")
def machines(request):
    lines = []
    for name, machine in request.config.machines.items():
        if isinstance(machine, Machine):
            machine.finish()
            lines.append(machine.table(name))
        else:
            lines.append("%-18s SKIPPED: %s" % (name, machine))
    request.config.tables.append(lines)
    return request.config.machines


@pytest.fixture(params=KERNELS)
def machine(request, machines):
    if not isinstance(machines[request.param], Machine):
        pytest.skip(machines[request.param])
    return machines[request.param]


@pytest.mark.parametrize("test", TESTS)
def test_under(machine, test):
    results = machine.of(test)
    if not results:
        pytest.fail("the machine ended before it ran this (%s)\n%s\n%s" % (machine.process.returncode, machine.said[-4000:], machine.log[-4000:]))
    failed = ["%s\n%s" % (result["test"], result["reason"]) for result in results if result["outcome"] == "failed"]
    if failed:
        pytest.fail("\n".join(failed), pytrace=False)
    if all(result["outcome"] == "skipped" for result in results):
        pytest.skip(results[0]["reason"])


def test_the_kernel_has_no_complaint(machine):
    said = [line for line in machine.log.splitlines() if COMPLAINT.search(line)]
    assert not said, "\n".join(said) + "\n" + machine.log[-6000:]
