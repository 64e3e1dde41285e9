"""Processes in other namespaces and roots, files that lie, and targets that end at the worst moment."""
import glob
import os
import random
import re
import select
import shutil
import signal
import struct
import subprocess

import pytest

import harness

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def check_refused(result, *codes):
    """Ended by itself, with an error as the manual promises it."""
    assert result.code in codes, result
    lines = result.err.splitlines()
    assert result.out == "" and 1 <= len(lines) <= 3 and lines[0].startswith("reftop: "), result
    assert all(l.startswith(("  cause: ", "  fix:   ")) for l in lines[1:]), result
    return result


def child_of(pid):
    path = "/proc/%d/task/%d/children" % (pid, pid)
    return int(harness.wait_for(lambda: open(path).read().split(), 20, "a child")[0])


@needs_root
def test_in_another_pid_and_mount_namespace(start, tmp_path):
    """The interpreter lies in a file system that only the target sees, and the target's pid is another to itself."""
    debian = harness.find_interpreters().get("3.11-debian")
    if not debian:
        pytest.skip("no /usr/bin/python3.11")
    script = os.path.join(harness.TARGETS, "census.py")
    shell = ("mount -t tmpfs none /mnt && cp %s /mnt/hidden-python && exec /mnt/hidden-python %s small" % (debian.path, script))
    target = harness.Target(["unshare", "-p", "-m", "--fork", "--mount-proc", "sh", "-c", shell], env={"PYTHONHOME": "/usr"})
    try:
        try:
            truth = target.ready()
        except harness.Dead as dead:
            pytest.skip("no namespaces of our own here: %s" % dead)
        target.answer()
        inside = child_of(target.pid)
        assert truth["pid"] == 1 and not os.path.exists("/mnt/hidden-python")
        harness.wait_for(lambda: harness.syscall_of(inside, inside)[:2] == (0, 0), 20, "the target to wait")
        sample = harness.histo(inside)
        harness.check_sums(sample)
        assert sample["target"]["pid"] == inside and sample["target"]["exe"] == "/mnt/hidden-python"
        plain = next(r for r in truth["rows"] if r[2] == "Plain")
        assert harness.row(sample, "Plain")["count"] == plain[3]
        os.kill(inside, signal.SIGKILL)
    finally:
        target.close()


@needs_root
def test_in_a_chroot(start, tmp_path):
    """A root with nothing in it but what the interpreter needs, bind-mounted."""
    debian = harness.find_interpreters().get("3.11-debian")
    if not debian:
        pytest.skip("no /usr/bin/python3.11")
    root = tmp_path / "root"
    for name in ("usr", "lib", "lib64", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(os.path.join(harness.TARGETS, "census.py"), str(root / "tmp"))
    shell = "for d in usr lib lib64 dev; do mount --bind /$d %s/$d || exit 9; done; exec chroot %s /usr/bin/python3.11 /tmp/census.py small"
    target = harness.Target(["unshare", "-m", "sh", "-c", shell % (root, root)])
    try:
        try:
            target.ready()
        except harness.Dead as dead:
            pytest.skip("no mounts of our own here: %s" % dead)
        target.answer()
        sample = harness.histo(target.pid)
        harness.check_sums(sample)
        assert harness.row(sample, "Plain")["count"] == 1500
    finally:
        target.close()


def test_the_executable_was_replaced(tmp_path):
    """As a package upgrade does it: the file on disk is a new one, or none."""
    debian = harness.find_interpreters().get("3.11-debian")
    if not debian:
        pytest.skip("no /usr/bin/python3.11")
    copy = tmp_path / "python3.11"
    shutil.copy(debian.path, str(copy))
    target = harness.Target([str(copy), os.path.join(harness.TARGETS, "census.py"), "small"], env={"PYTHONHOME": "/usr"})
    try:
        target.ready()
        target.answer()
        copy.unlink()
        for _ in range(2):
            result = harness.reftop("histo", "-p", target.pid, "--json")
            if result.code == 0:
                harness.check_sums(result.json)
                assert harness.row(result.json, "Plain")["count"] == 1500
            else:  # its file can't be had; then it says so
                check_refused(result, 1, 4, 5)
            copy.write_bytes(b"\x7fELF" + b"\0" * 5000)
    finally:
        target.close()


@pytest.fixture(scope="module")
def mapper(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("mapper") / "mapper")
    subprocess.run(["cc", "-O1", "-Wall", "-o", out, os.path.join(harness.TARGETS, "mapper.c")], check=True)
    return out


def shared(name):
    """An interpreter that keeps itself in a libpython, and the path of that."""
    python = harness.find_interpreters().get(name)
    paths = python and glob.glob(os.path.join(os.path.dirname(python.path), "../lib/libpython%s.so.1.0" % name))
    if not paths:
        pytest.skip("no Python %s with a libpython at hand" % name)
    return python, paths[0]


def corrupt(whole):
    """Files that call themselves libpython, each wrong in another way."""
    rng = random.Random(2)
    yield b"no ELF at all, but long enough " * 1000
    yield b"\x7fELF" + bytes(rng.randrange(256) for _ in range(10000))
    for size in (1, 16, 52, 64, 100, 4096, len(whole) // 2, len(whole) - 10):
        yield whole[:size]
    header = bytearray(whole[:64])
    for offset, form, value in ((32, "<Q", 1 << 63), (40, "<Q", len(whole) - 1), (40, "<Q", (1 << 64) - 64), (54, "<H", 0xffff), (56, "<H", 0xffff),
                                (58, "<H", 1), (60, "<H", 0xffff), (62, "<H", 0xffff), (16, "<H", 4), (4, "<B", 1), (5, "<B", 2), (18, "<H", 183)):
        changed = bytearray(header)
        struct.pack_into(form, changed, offset, value)
        yield bytes(changed) + whole[64:]
    sections = struct.unpack_from("<Q", whole, 40)[0]
    for _ in range(15):
        changed = bytearray(whole)
        for _ in range(60):
            at = rng.choice([rng.randrange(64, 4096), rng.randrange(sections, len(whole))])
            changed[at] = rng.randrange(256)
        yield bytes(changed)


def test_corrupt_interpreter_files(mapper, tmp_path):
    path = tmp_path / "libpython3.12.so.1.0"
    for content in corrupt(open(shared("3.12")[1], "rb").read()):
        if path.exists():
            path.unlink()
        path.write_bytes(content)
        target = harness.Target([mapper, str(path)])
        try:
            target.ready()
            check_refused(harness.reftop("histo", "-p", target.pid, "--json", timeout=60), 1, 5)
        finally:
            target.close()


@pytest.mark.parametrize("minor", [12, 13])
def test_an_unknown_version_is_refused_by_name(start, tmp_path, minor):
    """A libpython that says it is 3.77: nothing is guessed."""
    python, path = shared("3.%d" % minor)
    changed = bytearray(open(path, "rb").read())
    # Py_GetVersion's text, Py_Version and the version in the debug offsets
    micro = [int(n) for n in python.micro().split(".")]
    number = struct.pack("<Q", micro[0] << 24 | micro[1] << 16 | micro[2] << 8 | 0xf0)
    text = python.micro().encode()
    other = b"3.77" + b"0" * (len(text) - 4)
    seen = 0
    for old, new in ((number, struct.pack("<Q", 3 << 24 | 77 << 16 | 0xf0)), (number[:4], struct.pack("<I", 3 << 24 | 77 << 16 | 0xf0)),
                     (text + b" (", other + b" ("), (text + b"\0", other + b"\0")):
        for match in list(re.finditer(re.escape(old), bytes(changed))):
            changed[match.start():match.end()] = new
            seen += 1
    assert seen
    copy = tmp_path / ("libpython3.%d.so.1.0" % minor)
    copy.write_bytes(bytes(changed))
    target = start(python, "leaker.py", 0, env={"LD_PRELOAD": str(copy)})
    target.ready()
    result = check_refused(harness.reftop("histo", "-p", target.pid), 5)
    assert "3.77" in result.err


def test_gone_meanwhile(any_python, start):
    """The target is killed at random moments of a snapshot."""
    rng = random.Random(5)
    codes = set()
    for _ in range(25):
        target = start(any_python, "census.py", "small")
        target.ready()
        run = subprocess.Popen([harness.REFTOP, "histo", "-p", str(target.pid), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        select.select([], [], [], rng.random() * 0.03)  # the moment is what's random here
        target.process.kill()
        out, err = (b.decode() for b in run.communicate(timeout=30))
        codes.add(run.returncode)
        if run.returncode:
            check_refused(harness.Result(["histo"], run.returncode, out, err), 3)
        target.close()
    assert codes <= {0, 3}
