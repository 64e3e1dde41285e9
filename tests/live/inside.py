"""A plugin of pytest (-p inside) for test_kernels.py, which runs pytest in another machine: what becomes of each test, as lines of JSON on standard error."""
import json
import os

import pytest

OUT = os.fdopen(os.dup(2), "w")  # before pytest takes the descriptor


def pytest_sessionstart():
    print(json.dumps({"kernel": os.uname().release}), file=OUT, flush=True)


def pytest_runtest_logreport(report):
    if report.when != "call" and report.outcome == "passed":
        return
    reason = report.longrepr[2] if report.outcome == "skipped" and isinstance(report.longrepr, tuple) else report.longreprtext
    print(json.dumps({"test": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 1), "reason": reason}), file=OUT, flush=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    # what is still to come would start every interpreter to ask for its version, and the machine ends anyway
    os._exit(exitstatus)
