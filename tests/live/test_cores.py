"""Core files and saved images: what is read from them is what was read from the process."""
import json
import os
import re
import resource
import shutil
import struct
import subprocess

import pytest

import harness
import test_stacks as stacks

ROWS = ("address", "module", "qualname", "count", "gc_count", "bytes", "refs", "refs_max", "immortal")


def rows(sample):
    return sorted(tuple(t[k] for k in ROWS) for t in sample["types"])


def histo(*options):
    result = harness.reftop("histo", "--json", *options)
    assert result.code == 0, result
    return json.loads(result.out)


def frames(*options):
    result = harness.reftop("stacks", "--json", *options)
    assert result.code == 0, result
    document = json.loads(result.out)
    return {t["tid"]: [(f["function"], f["file"], f["line"]) for f in t["frames"]] for t in document["threads"]}, document


def gcore(pid, path):
    if not shutil.which("gcore"):
        pytest.skip("no gcore")
    subprocess.run(["gcore", "-o", str(path), str(pid)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return "%s.%d" % (path, pid)


@pytest.fixture
def hung(start, any_python):
    target, truth = stacks.hung(start, any_python, "events")
    target.wait_blocked()
    return target


def check_same(target, path):
    live, file = histo("-p", target.pid), histo("-c", path)
    assert rows(file) == rows(live)
    assert file["target"]["python"] == live["target"]["python"] and file["target"]["pid"] == target.pid
    ours, document = frames("-c", path)
    theirs, before = frames("-p", target.pid)
    assert ours == theirs and len(ours) > 5
    waits = [{t["name"]: t["waits_for"] for t in d["threads"]} for d in (document, before)]
    assert waits[0] == waits[1]
    return file


def test_a_core_is_the_process(python, start, tmp_path):
    target, truth = stacks.hung(start, python, "events")
    target.wait_blocked()
    root = ["--sysroot", python.root] if python.root else []
    path = gcore(target.pid, tmp_path / "core")
    if root:
        assert rows(histo("-c", path, *root)) == rows(histo("-p", target.pid))
        assert frames("-c", path, *root)[0] == frames("-p", target.pid)[0]
        return
    assert check_same(target, path)["snapshot"]["mode"] == "core"


def check_same_leaks(target, path):
    live, file = leaks("-p", target.pid), leaks("-c", path)
    assert file[0] == live[0] and file[1] == live[1] and file[2] == live[2]
    said = harness.reftop("leaks", "-c", path).out
    assert "\none look; " in said and "both looks" not in said, "a file doesn't change"
    return file


def check_file_of_mimalloc(target, path):
    """What a file says of a process whose objects are in mimalloc's segments, number by number."""
    sample = check_same(target, path)
    totals, types, objects = check_same_leaks(target, path)
    assert totals["unexplained"] >= 7 and any(("qualname", "Lost") in t for t in types), types
    live = harness.histo(target.pid)
    for key in ("objects", "gc_objects", "bytes", "refs", "immortal", "unreadable", "allocated_blocks"):
        assert sample["totals"][key] == live["totals"][key], key
    assert sample["target"]["free_threaded"] == live["target"]["free_threaded"]


@pytest.mark.versions("3.13t", "3.14t", "3.15t")
def test_files_of_a_free_threaded_process(python, start, tmp_path):
    """Nothing is missing of what was found in the live process: a core and an image have its mimalloc segments, too."""
    target, truth = stacks.hung(start, python, "events", "lost")
    target.wait_blocked()
    path = str(tmp_path / "image")
    assert harness.reftop("save", "-p", target.pid, "-o", path).code == 0
    check_file_of_mimalloc(target, path)
    check_file_of_mimalloc(target, gcore(target.pid, tmp_path / "core"))


@pytest.mark.versions("3.13", "3.14-sid", "3.15-sid-debug")
def test_files_of_a_process_with_mimalloc(python, start, tmp_path):
    """The same of builds with a GIL that were told to use mimalloc."""
    target = start(python, "hung.py", "events", "lost", env={"PYTHONMALLOC": "mimalloc_debug" if python.debug else "mimalloc"})
    stacks.ready(target)
    target.wait_blocked()
    path = str(tmp_path / "image")
    assert harness.reftop("save", "-p", target.pid, "-o", path).code == 0
    check_file_of_mimalloc(target, path)


def test_save_replaces_no_device(hung):
    """What -o names is written to, if it isn't a file: a full disk is told, and the device is still one."""
    before = os.stat("/dev/full")
    result = harness.reftop("save", "-p", hung.pid, "-o", "/dev/full")
    assert result.code == 1 and "No space left on device" in result.err and result.err.startswith("reftop: cannot write"), result
    after = os.stat("/dev/full")
    assert (after.st_rdev, after.st_mode, after.st_ino) == (before.st_rdev, before.st_mode, before.st_ino)
    assert not os.path.exists("/dev/full.part")


def test_an_image_is_the_process(python, start, tmp_path):
    target, truth = stacks.hung(start, python, "events")
    target.wait_blocked()
    path = str(tmp_path / "image")
    result = harness.reftop("save", "-p", target.pid, "-o", path)
    assert result.code == 0, result
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert check_same(target, path)["snapshot"]["mode"] == "image"


def test_objects_and_leaks_of_an_image(hung, tmp_path):
    path = str(tmp_path / "image")
    assert harness.reftop("save", "-p", hung.pid, "-o", path).code == 0
    live = json.loads(harness.reftop("objects", "-p", hung.pid, "--json", "Box").out)["objects"]
    file = json.loads(harness.reftop("objects", "-c", path, "--json", "Box").out)["objects"]
    assert [o["address"] for o in live] == [o["address"] for o in file] and len(file) == 1
    explained = json.loads(harness.reftop("explain", "-c", path, "--json", file[0]["address"]).out)
    assert explained["object"]["refcount"] == live[0]["refcount"]
    assert any(h["kind"] == "frame local" and "box" in h["label"] for h in explained["holders"]), explained["holders"]
    assert harness.reftop("leaks", "-c", path, "--fail").code == 0


def test_an_image_needs_no_files(hung, tmp_path):
    """Read where nothing of the process's machine is: in an empty root."""
    path = tmp_path / "image"
    assert harness.reftop("save", "-p", hung.pid, "-o", path).code == 0
    before = rows(histo("-p", hung.pid))
    if os.geteuid():
        pytest.skip("chroot is for root")
    root = tmp_path / "root"
    libraries = subprocess.run(["ldd", harness.REFTOP], stdout=subprocess.PIPE, text=True, check=True).stdout
    for word in [harness.REFTOP] + [w for w in libraries.split() if w.startswith("/")]:
        copy = root / word.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(word, copy)
    shutil.copy(path, root / "image")
    done = subprocess.run(["chroot", str(root), harness.REFTOP, "histo", "--json", "-c", "/image"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    assert rows(json.loads(done.stdout)) == before


def leaks(*options):
    result = harness.reftop("leaks", "--json", *options, timeout=300)
    assert result.code == 0, result
    document = json.loads(result.out)
    types = sorted(tuple(sorted(t.items())) for t in document["types"])
    objects = sorted(tuple(sorted((k, v) for k, v in o.items())) for o in document["objects"])
    del document["totals"]["words"]  # how many were searched: not the same of a process asked twice, as its threads go back into their calls
    return document["totals"], types, objects


@pytest.mark.versions("3.12")
def test_a_million_objects(python, start, tmp_path):
    """What a core and an image say of a process of a million objects, a thousand of them lost, is what was said of the process."""
    target = start(python, "bench.py", 1000000, "lost")
    assert target.line() == "ready"
    target.wait_blocked()
    live = histo("-p", target.pid), leaks("-p", target.pid)
    assert live[0]["totals"]["objects"] > 1000000
    assert 990 <= live[1][0]["unexplained"] <= 1000, live[1][0]  # words left over on the C stack may look like the others
    core = gcore(target.pid, tmp_path / "core")
    image = str(tmp_path / "image")
    saved = harness.reftop("save", "-p", target.pid, "-o", image)
    assert saved.code == 0 and os.path.getsize(image) < os.path.getsize(core) / 2, saved
    for path in (core, image):
        assert rows(histo("-c", path)) == rows(live[0])
        totals, types, objects = leaks("-c", path)
        assert totals == live[1][0] and types == live[1][1] and objects == live[1][2]


@pytest.mark.versions("3.12")
def test_the_pause_of_saving(python, start, tmp_path):
    """A process that runs is stopped for as long as for any picture of it; compressing and writing come after."""
    target = start(python, "bench.py", 300000, "busy")
    assert target.line() == "ready"
    saved, looked = [], []

    def short():
        result = harness.reftop("save", "-p", target.pid, "-o", tmp_path / "image")
        assert result.code == 0, result
        stopped = re.search(r"the process was stopped for ([0-9.]+) ms", result.err)
        if not stopped:  # it didn't get a CPU meanwhile
            return False
        saved.append(float(stopped.group(1)))
        looked.append(histo("-p", target.pid)["snapshot"]["pause_us"] / 1e3)
        return min(saved) <= 1.5 * max(looked)

    harness.wait_for(short, 60, "a pause like that of a snapshot")


def test_a_core_of_the_kernel(python, start, tmp_path):
    """What is there after abort(): without what the files have, and with the frames as they were."""
    pattern = open("/proc/sys/kernel/core_pattern").read().strip()
    if pattern.startswith(("|", "/")) or resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip("no core files are left here (%s)" % pattern)
    (tmp_path / "cores").mkdir()

    def prepare():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    target = start(python, "moments.py", "aborts", cwd=None if python.root else str(tmp_path / "cores"), preexec=prepare)
    truth = target.ready()
    live = histo("-p", target.pid)
    target.send("")
    target.process.wait()
    where = os.path.join(python.root, "") if python.root else str(tmp_path / "cores")
    core, = [os.path.join(where, n) for n in os.listdir(where) if n.startswith("core")]
    try:
        root = ["--sysroot", python.root] if python.root else []
        threads, document = frames("-c", core, *root)
        assert document["target"]["pid"] == target.pid and document["target"]["python"] == live["target"]["python"]
        functions = [(f.split(".")[-1], line) for f, file, line in threads[target.pid]]
        assert functions[:3] == [("last_words", truth["line"]), ("aborts", truth["caller"]), ("<module>", functions[2][1])]
        count = {(t["module"], t["qualname"]): t["count"] for t in histo("-c", core, *root)["types"]}
        assert count["__main__", "Kept"] == 1234
    finally:
        os.unlink(core)


def complaint(*arguments):
    result = harness.reftop("histo", *arguments)
    lines = result.err.splitlines()
    assert 0 < len(lines) <= 3 and lines[0].startswith("reftop: "), result
    return result.code, result.err


def test_files_that_are_no_core(hung, tmp_path):
    text = tmp_path / "text"
    text.write_text("no core at all\n" * 1000)
    code, words = complaint("-c", text)
    assert code == 1 and "neither a core file nor an image" in words
    code, words = complaint("-c", harness.REFTOP)
    assert code == 1 and "no core" in words
    code, words = complaint("-c", tmp_path)
    assert code == 1 and "no regular file" in words
    assert complaint("-c", tmp_path / "nothing")[0] == 1
    (tmp_path / "empty").write_bytes(b"")
    assert complaint("-c", tmp_path / "empty")[0] == 1
    assert complaint("-c", text, "-p", hung.pid)[0] == 2
    assert complaint("-p", hung.pid, "--sysroot", tmp_path)[0] == 2


def test_broken_cores(hung, tmp_path):
    core = gcore(hung.pid, tmp_path / "core")
    data = open(core, "rb").read()
    broken = tmp_path / "broken"
    # another architecture: e_machine is EM_AARCH64
    broken.write_bytes(data[:18] + struct.pack("<H", 183) + data[20:])
    code, words = complaint("-c", broken)
    assert code == 5 and "another architecture" in words
    for part in (0.99, 0.7, 0.3, 0.01, 100 / len(data), 20 / len(data)):
        broken.write_bytes(data[:int(len(data) * part)])
        code, words = complaint("-c", broken)
        assert code == 1, (part, words)
    # without its executable and libraries
    (tmp_path / "root").mkdir()
    code, words = complaint("-c", core, "--sysroot", tmp_path / "root")
    assert code == 1 and "isn't here" in words and "--sysroot" in words


def test_broken_images(hung, tmp_path):
    path = tmp_path / "image"
    assert harness.reftop("save", "-p", hung.pid, "-o", path).code == 0
    data = path.read_bytes()
    for part in (0.9, 0.5, 0.1, 0.001):
        path.write_bytes(data[:int(len(data) * part)])
        result = harness.reftop("histo", "--strict", "--json", "-c", path)
        # what is there is told, and that it isn't all; or nothing is
        assert result.code in (1, 6) and result.err.startswith("reftop: "), (part, result)
    for at in range(16, len(data), len(data) // 40):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1:])
        for command in ("histo", "stacks"):
            result = harness.reftop(command, "-c", path)
            assert result.code in (0, 1, 5, 6), (at, result)


def test_an_image_of_a_running_process(any_python, start, tmp_path):
    """Saved without a stop: what is in it may not fit together, which is told whenever it is read."""
    target = start(any_python, "turmoil.py", 2)
    target.ready()
    for options, consistent in (["--nonblocking"], False), ([], True):
        path = tmp_path / ("image%d" % consistent)
        result = harness.reftop("save", "-p", target.pid, "-o", path, *options)
        assert result.code == 0, result
        sample = histo("-c", path)
        assert sample["snapshot"]["mode"] == "image" and sample["snapshot"]["consistent"] is consistent
        assert 10000 < sample["totals"]["objects"] < 10 ** 7
        assert harness.reftop("histo", "-c", path, "--strict").code == (0 if consistent else 6)
