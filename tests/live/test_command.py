"""What the commands say, and how they fail: exit status, messages of at most three lines, outputs that can't be written."""
import csv
import io
import json
import os
import shutil
import signal
import subprocess

import pytest

import harness
from harness import reftop



def check_error(result, code, *words):
    """An error as the manual promises it."""
    lines = result.err.splitlines()
    assert result.code == code, result
    assert 1 <= len(lines) <= 3 and lines[0].startswith("reftop: "), result
    assert all(line.startswith(("  cause: ", "  fix:   ")) for line in lines[1:]), result
    assert not result.out, result
    for word in words:
        assert word in result.err, (word, result)


@pytest.fixture
def target(start, any_python):
    target = start(any_python, "leaker.py", 0)
    target.ready()
    return target


READERS = [("histo", "-p"), ("record", "-o", "/dev/null", "-p"), ("top", "--dump-screen", "--iterations", "1", "-p")]


@pytest.mark.parametrize("command", READERS, ids=lambda command: command[0])
def test_processes_that_cannot_be_read(command, target):
    check_error(reftop(*command, 2 ** 22 + 1), 3, "no process")
    check_error(reftop(*command, 2), 5, "kernel")
    zombie = subprocess.Popen(["true"])
    harness.wait_for(lambda: open("/proc/%d/stat" % zombie.pid).read().rsplit(") ", 1)[1][0] == "Z", 10, "a zombie")
    check_error(reftop(*command, zombie.pid), 3, "zombie")
    zombie.wait()
    check_error(reftop(*command, zombie.pid), 3, "no process")
    cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    harness.wait_for(lambda: os.readlink("/proc/%d/exe" % cat.pid).endswith("cat"), 10, "the exec of cat")
    check_error(reftop(*command, cat.pid), 5, "not a Python")
    cat.stdin.close()
    cat.wait()
    for text in ("abc", "12x", "-5", "0", "", "99999999999999999999", "1 2"):
        check_error(reftop(*command, text), 2)
    itself = subprocess.run(["sh", "-c", 'exec "$@" $$', "sh", harness.REFTOP, *command], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check_error(harness.Result(command, itself.returncode, itself.stdout.decode(), itself.stderr.decode()), 5)


def test_not_permitted(target, open_copy):
    for command in (["histo", "-p"], ["record", "-o", "/dev/null", "-p"], ["why", "-p"]):
        done = subprocess.run([open_copy, *command, str(target.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              preexec_fn=harness.become, cwd="/")
        assert done.returncode == 4, done
        said = (done.stdout if command[0] == "why" else done.stderr).decode()
        assert "CAP_SYS_PTRACE" in said and len(said.splitlines()) == 3, said
    listed = subprocess.run([open_copy, "ps", "--json"], stdout=subprocess.PIPE, preexec_fn=harness.become, cwd="/", check=True)
    mine = [p for p in json.loads(listed.stdout)["processes"] if p["pid"] == target.pid]
    assert len(mine) == 1 and mine[0]["readable"] is False and "CAP_SYS_PTRACE" in mine[0]["why"]["cause"], mine


def test_root_without_the_capability(target):
    """Root's own process has capabilities that a reader without CAP_SYS_PTRACE lacks: the kernel then refuses root, too."""
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("dropping a capability needs root and setpriv")
    done = subprocess.run(["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", harness.REFTOP, "histo", "-p", str(target.pid)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = done.stderr.decode()
    assert done.returncode == 4 and not done.stdout, done
    assert "cause: " in said and "fix: " in said and len(said.splitlines()) == 3, said


def test_usage():
    for arguments in (["nonsense"], ["--nonsense"], ["histo"], ["histo", "--nonsense", "1"], ["histo", "1", "2"], ["histo", "-p"],
                      ["histo", "-p", "1", "1"], ["histo", "--sort", "nonsense", "1"], ["histo", "--limit", "0", "1"],
                      ["histo", "--limit", "many", "1"], ["histo", "--json", "--csv", "1"], ["record", "-i", "0", "1"],
                      ["record", "-i", "soon", "1"], ["record", "-d", "-3", "1"], ["record", "-o", "-", "1"], ["ps", "1"], ["help", "nonsense"],
                      ["histo", "--", "ls"], ["top", "--"], ["--dump-screen"], ["12x"], ["diff", "one"], ["why"],
                      ["--dump-screen", "--", "/nonexistent/program"], ["--", "python3"]):
        check_error(reftop(*arguments), 2)


def test_help_and_version():
    overview = reftop("help")
    assert overview.code == 0 and not overview.err
    assert reftop("--help").out == overview.out == reftop("-h").out
    for line in overview.out.splitlines():
        words = line.split()
        if line.startswith("  reftop ") and line[9:10].islower():
            told = reftop("help", words[1])
            assert told.code == 0 and told.out.startswith("reftop %s" % words[1]) and "--help" in told.out
            assert reftop(words[1], "--help").out == told.out
    topics = overview.out.splitlines()[-1].rsplit(":", 1)[1].split()
    assert len(topics) > 4
    for topic in topics:
        assert len(reftop("help", topic).out.splitlines()) > 3
    version = reftop("version")
    assert version.code == 0 and version.out.startswith("reftop ") and "3.12" in version.out
    assert reftop("--version").out == version.out


def test_completions_are_accepted_by_bash():
    script = reftop("help", "--format", "bash").out
    line = script + '\nCOMP_WORDS=(reftop histo --js) COMP_CWORD=2\n_reftop\necho "${COMPREPLY[@]}"\n'
    done = subprocess.run(["bash", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.stdout.split() == ["--json"] and not done.stderr, done


def test_output_that_cannot_be_written(target):
    with open("/dev/full", "wb") as full:
        for command in (["ps"], ["help"], ["version"], ["histo", target.pid], ["histo", "--json", target.pid],
                        ["record", "--json", "-d", "1ms", target.pid], ["why", target.pid]):
            check_error(reftop(*command, stdout=full), 1, "cannot write to standard output", "No space left on device")
    for place in ("/nonexistent/file", "/", "/proc/self/nothing"):
        check_error(reftop("histo", target.pid, "-o", place), 1, place)
        check_error(reftop("record", target.pid, "-o", place), 1, place)
    check_error(reftop("histo", target.pid, "-o", "/dev/full"), 1, "/dev/full")
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", harness.REFTOP, "ps"], stderr=subprocess.PIPE)
    assert closed.returncode == 1 and b"cannot write to standard output" in closed.stderr


@pytest.mark.parametrize("ignored", [False, True])
def test_closed_pipe_ends_quietly(target, ignored):
    for command in (["ps"], ["help"], ["histo", "--json", target.pid], ["record", "--json", "-i", "20ms", target.pid]):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = reftop(*command, stdout=writer, restore_signals=not ignored,
                          preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN if ignored else signal.SIG_DFL))
        finally:
            os.close(writer)
        assert not done.err and done.code == 0, done


def test_histo_formats(target, tmp_path):
    sample = harness.histo(target.pid)
    harness.check_sums(sample)
    assert sample["target"]["pid"] == target.pid and sample["target"]["cmdline"] == target.argv
    passing = ("__main__", "Cached")  # there are none of them now and then
    names = {(t["module"], t["qualname"]) for t in sample["types"]} - {passing}

    done = reftop("histo", target.pid, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.out, newline="")))
    assert done.code == 0 and {(r["module"], r["qualname"]) for r in rows} - {passing} == names
    assert list(rows[0]) == ["address", "module", "qualname", "count", "gc_count", "bytes", "refs", "refs_max", "immortal", "owned"]

    table = reftop("histo", target.pid, "--limit", "3").out.splitlines()
    assert table[-1] in ["and %d more types" % (len(names) - 3 + more) for more in (0, 1)] and str(target.pid) in table[0]
    for key in ("count", "bytes", "refs", "refs_max", "gc_count", "immortal"):
        types = harness.histo(target.pid, "--sort", key, "--limit", "20")["types"]
        values = [t[key] for t in types]
        assert values == sorted(values, reverse=True) and len(values) == 20
        # a table has a column for what it is sorted by
        table = reftop("histo", "-p", target.pid, "--sort", key, "--limit", "1").out.splitlines()[-2].split()
        assert key == "bytes" or "{:,}".format(values[0]) in table, (key, table)
    full = [t["module"] + "." + t["qualname"] for t in harness.histo(target.pid, "--sort", "name")["types"]]
    plain = [name[9:] if name.startswith("builtins.") else name for name in full]
    assert plain == sorted(plain, key=lambda name: name.encode())
    assert reftop("histo", "--sort", "help").out.split()[0] == "bytes"

    path = tmp_path / "out.json"
    done = reftop("histo", target.pid, "--json", "-o", path)
    assert done.code == 0 and not done.out and json.loads(path.read_text())["schema"] == "reftop.sample/1"
    assert reftop("histo", target.pid, "--strict").code == 0


def test_nonblocking_is_marked(target):
    sample = harness.histo(target.pid, "--nonblocking")
    assert sample["snapshot"]["mode"] == "nonblocking" and sample["snapshot"]["consistent"] is False
    assert sample["snapshot"]["pause_us"] in (0, None)
    strict = reftop("histo", target.pid, "--nonblocking", "--strict", "--json")
    assert strict.code == 6 and strict.json["schema"] == "reftop.sample/1" and "incomplete" in strict.err


def test_ps(target):
    done = reftop("ps", "--json")
    assert done.code == 0, done
    document = done.json
    assert document["schema"] == "reftop.processes/1"
    mine = [p for p in document["processes"] if p["pid"] == target.pid]
    assert len(mine) == 1, document
    me = mine[0]
    assert me["readable"] and me["why"] is None and me["cmdline"] == target.argv and me["uid"] == os.geteuid()
    assert me["rss"] > 1 << 20 and me["state"] in ("sleeping", "running") and 0 < me["uptime_ms"] < 3600e3
    table = reftop("ps").out
    assert any(line.split()[0] == str(target.pid) for line in table.splitlines()[1:] if line.strip())
    # without a terminal the program alone does the same
    assert reftop().out.splitlines()[0] == table.splitlines()[0]


def test_why(target):
    done = reftop("why", target.pid)
    assert done.code == 0 and "can be read" in done.out
    told = reftop("why", "-p", target.pid, "--json").json
    assert told["readable"] is True and told["python"].startswith("3.")
    assert reftop("why", 2 ** 22 + 1).code == 3
    # the status alone says it too, for scripts
    assert reftop("why", os.getppid() if os.getppid() > 1 else 1).code in (0, 5)


def test_program_is_started_and_its_end_told(any_python, tmp_path):
    script = tmp_path / "short.py"
    script.write_text("import sys\nprint('hello')\nsys.stdin.read()\nfor i in range(10**7): pass\nsys.exit(7)\n")
    environment = dict(os.environ, TMPDIR=str(tmp_path))
    done = reftop("--dump-screen", "-i", "50ms", "--", *any_python.argv(str(script)), env=environment)
    assert done.code == 0 and "ended: exit status 7" in done.err, done
    log = done.err.splitlines()[-1].split("output: ")[1]
    assert open(log).read() == "hello\n" and os.path.dirname(log) == str(tmp_path)
    gone = reftop("--dump-screen", "--", "false", env=environment)
    check_error(gone, 3, "exit status 1")


def test_file_names_are_escaped(target, tmp_path):
    path = str(tmp_path) + "/\x1b[31mred\n"
    os.mkdir(path)
    check_error(reftop("histo", target.pid, "-o", path), 1, "\\x1b[31mred\\x0a")
    check_error(reftop("diff", path, path), 1, "\\x1b[31mred\\x0a")
