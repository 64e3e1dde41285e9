"""The unit programs of what depends on the kernel, for the emulated machines of test_kernels.py: here `make check` runs them itself."""
import os
import subprocess

import pytest

import harness

FOLDER = os.path.join(os.path.dirname(harness.REFTOP), "tests", "unit")


@pytest.mark.skipif(harness.SLOW == 1, reason="prove runs them here")
@pytest.mark.parametrize("name", ["target_changes", "target_presence"])
def test_unit(name):
    done = subprocess.run([os.path.join(FOLDER, name)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=harness.DEADLINE)
    assert done.returncode == 0, done.stdout
    assert "\nok " in done.stdout
