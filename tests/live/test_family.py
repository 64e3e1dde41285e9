"""`reftop -s -- program`: a program and all that it starts."""
import os
import re
import subprocess

import pytest

import harness
from harness import reftop


LEAKING_TESTS = '''
import time
import pytest
class Session: pass
KEPT = []
@pytest.mark.parametrize("n", range(3))
def test_fine(n):
    end = time.monotonic() + 3
    while time.monotonic() < end:
        [object() for _ in range(100)]
        time.sleep(0.05)
def test_leaks():
    end = time.monotonic() + 15
    while time.monotonic() < end:
        KEPT.extend(Session() for _ in range(20))
        time.sleep(0.05)
def test_fails():
    assert False
'''


@pytest.mark.skipif(not os.path.exists("/usr/lib/python3/dist-packages/xdist"), reason="no python3-pytest-xdist")
def test_pytest_xdist(tmp_path):
    """Debian's pytest with four workers, one of which runs a leaking test: its class, the rate, and the worker."""
    (tmp_path / "test_leaking.py").write_text(LEAKING_TESTS)
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run([harness.REFTOP, "-s", "--", "/usr/bin/pytest-3", "-p", "no:cacheprovider", "-q", "-n", "4", "test_leaking.py"],
                          cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=120)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 1 and "1 failed, 4 passed" in out, (out, err)
    said = err[err.index("reftop: "):].splitlines()
    assert said[0] == "reftop: what grows in 5 processes", said
    found = re.match(r"  test_leaking.Session: \+(\d+)/s steadily for \d+ s \(\+[\d,]+\), in process \d+ \(.*python3 ", said[1])
    assert found and 200 < int(found.group(1)) < 420, said  # 400 at most, less on a busy machine
    assert len(said) == 2, said


def test_status_of_a_program(tmp_path):
    for program, status in ((["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137), (["true"], 0)):
        assert reftop("-s", "--", *program).code == status
    assert reftop("-s", "--", "/no/such/program").code == 2
    assert reftop("top", "-s", "-p", os.getpid()).code == 2
