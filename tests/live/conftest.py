"""Fixtures: `python` (parametrised by interpreter), `start` (a target, killed at the end), `helper` (compiled C).

Without a mark a test runs under harness.PROMISED. @pytest.mark.versions("3.8", "3.12") narrows that for a heavy one, and
@pytest.mark.versions("all") widens it to harness.EXPECTED.
REFTOP_PYTHONS=3.8,3.12 narrows a whole run. An interpreter that isn't at hand is skipped by name, and the table in the last lines says so.
REFTOP_TEST_FETCH=1 (`make check`) first fetches those of Debian's other suites, once; REFTOP_TEST_BUILD=1 builds the free-threaded ones, where the mirror has their sources.
"""
import os

import pytest

import harness
from daemon_harness import Daemon

MISSING = harness.fetch_interpreters()  # why something couldn't be had
FOUND = harness.find_interpreters()
PROMISED = harness.PROMISED
OUTCOMES = {}


def pytest_configure(config):
    config.addinivalue_line("markers", "versions(*names): the interpreters a test runs under, instead of all")
    config.tables = []  # lists of lines that a test wants printed at the end


def pytest_collection_finish(session):
    # what takes long, and little of the machine, runs beside the tests that come before it
    for module in {item.module for item in session.items}:
        if hasattr(module, "begin") and not session.config.option.collectonly:
            module.begin(session.config)


def pytest_generate_tests(metafunc):
    if "python" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("versions")
    names = list(marker.args) if marker else PROMISED
    if names == ["all"]:
        names = harness.EXPECTED
    wanted = os.environ.get("REFTOP_PYTHONS")
    if wanted:
        names = [n for n in names if n in wanted.split(",")]
    metafunc.parametrize("python", names, indirect=True)


@pytest.fixture
def python(request):
    name = request.param
    if name not in FOUND:
        pytest.skip("no Python %s at hand%s" % (name, MISSING and " (%s)" % MISSING))
    return FOUND[name]


@pytest.fixture
def start():
    """start(python, "census.py", args...) -> harness.Target, ended when the test is over."""
    targets = []

    def starter(interpreter, script, *args, **kwargs):
        target = harness.Target(interpreter.argv(script, *map(str, args)), **kwargs)
        targets.append(target)
        return target

    yield starter
    for target in targets:
        target.close()


@pytest.fixture(scope="session")
def any_python():
    """Where the version doesn't matter: the newest that has been promised and is at hand."""
    for name in ["3.12"] + PROMISED[::-1]:
        if name in FOUND:
            return FOUND[name]
    pytest.skip("no Python at hand")


@pytest.fixture
def leaker(start, any_python):
    """A target that leaks a thousand objects a second."""
    target = start(any_python, "leaker.py", 1000)
    target.ready()
    return target


@pytest.fixture
def steady(start, any_python):
    """steady() -> a target that makes some objects every half second"""
    def start_one(period=0.5, count=100):
        target = start(any_python, "steady.py", period, count)
        target.ready()
        return target
    return start_one


@pytest.fixture
def foreign(start):
    """foreign("steady.py", args...) -> a target of another user"""
    if os.geteuid():
        pytest.skip("only root can become another user")
    # one that everybody may run
    debian = next((p for p in FOUND.values() if p.path.startswith("/usr/bin/") and not p.root), None)
    if not debian:
        pytest.skip("no Python that everybody may run")

    def start_one(script, *args):
        target = start(debian, script, *args, preexec=harness.become)
        target.ready()
        return target
    return start_one


@pytest.fixture
def open_copy(tmp_path):
    """The program where another user may execute it."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    harness.open_path(tmp_path)
    copy = tmp_path / "reftop"
    copy.write_bytes(open(harness.REFTOP, "rb").read())
    copy.chmod(0o755)
    return str(copy)


@pytest.fixture
def daemon(tmp_path):
    """daemon(*arguments, **more) starts one, killed at the end."""
    made = []

    def start_one(*args, directory=tmp_path, **kwargs):
        made.append(Daemon(directory, *args, **kwargs))
        return made[-1]
    yield start_one
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def helper(tmp_path_factory):
    """helper("sleepers") -> path of the shared object made from tests/targets/sleepers.c"""
    directory = tmp_path_factory.mktemp("helpers")
    return lambda name, *libraries: harness.build_helper(directory, name, *libraries)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    name = item.callspec.params.get("python") if hasattr(item, "callspec") else None
    if name and (report.when == "call" or report.outcome != "passed"):
        counts = OUTCOMES.setdefault(name, {"passed": 0, "failed": 0, "skipped": 0})
        counts[report.outcome] += 1


def pytest_terminal_summary(terminalreporter):
    write = terminalreporter.write_line
    for table in terminalreporter.config.tables:
        write("")
        for line in table:
            write(line)
    write("")
    if MISSING:
        write("not everything could be fetched: " + MISSING)
    write("%-18s %-10s %6s %6s %7s  %s" % ("interpreter", "version", "passed", "failed", "skipped", "path"))
    for name in harness.EXPECTED:
        counts = OUTCOMES.get(name)
        python = FOUND.get(name)
        if not counts:
            write("%-18s %-10s %s" % (name, python.micro() if python else "-",
                                      "not run" if python else "SKIPPED: not at hand"))
            continue
        where = (python.root or "") + python.path if python else "SKIPPED: not at hand"
        write("%-18s %-10s %6d %6d %7d  %s" % (name, python.micro() if python else "-", counts["passed"],
                                              counts["failed"], counts["skipped"],
                                              where.replace(os.path.expanduser("~"), "~")))
