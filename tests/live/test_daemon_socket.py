"""The socket of the daemon: who may ask what, nonsense, and those who ask too much."""
import os
import random
import socket
import subprocess

import pytest

import harness
from daemon_harness import Peer, as_nobody, key_file, only_ours, slowly
from harness import reftop, status_of


def test_another_user_learns_nothing(daemon, steady, foreign, tmp_path):
    """Of a process of somebody else a user can't tell whether it exists; their own they see."""
    theirs = foreign("steady.py", 0.5, 10)
    ours = steady()
    harness.open_path(tmp_path)
    one = daemon("--config", key_file(tmp_path, only_ours()))
    one.wait_samples([ours.pid, theirs.pid], 1)

    def look():
        peer = Peer(one.socket)
        return {
            "seen": [p["pid"] for p in peer.result("processes")["processes"]],
            "theirs": peer.ask("sample", pid=theirs.pid)["ok"],
            "answers": [[peer.ask(op, pid=pid) for op in ("sample", "moments", "growth", "series", "subscribe")]
                        for pid in (ours.pid, 4194303)],
            # numbers of samples in the store can be guessed
            "stolen": [n for n in range(1, 40) if peer.ask("sample", pid=theirs.pid, sample=n).get("result", {})
                       .get("target", {}).get("pid") == ours.pid],
            "store": os.access(one.store, os.R_OK),
        }
    saw = as_nobody(look)
    assert "error" not in saw, saw
    assert saw["seen"] == [theirs.pid] and saw["theirs"]
    assert saw["answers"][0] == saw["answers"][1], "the same as of a process that there isn't"
    assert all(a["code"] == 3 for a in saw["answers"][0])
    assert saw["stolen"] == [] and not saw["store"]
    assert set(one.processes()) >= {ours.pid, theirs.pid}, "root sees all"


IMPOSTOR = """import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("listens", flush=True)
peer = listener.accept()[0]
try:
    peer.sendall(b'{"schema":"reftop.hello/1","protocol":1,"uid":0,"all":true,"line_bytes":65536,"questions":true}\\n')
    print("asked" if peer.recv(1) else "let alone", flush=True)
except OSError:
    print("let alone", flush=True)
"""


@pytest.mark.parametrize("whose", ["ours", "another user's"])
def test_an_impostor_is_not_asked(tmp_path, whose):
    """Where nobody named the socket, a daemon of another user than oneself and root isn't believed."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    harness.open_path(tmp_path)
    tmp_path.chmod(0o777)
    env = {k: v for k, v in os.environ.items() if k != "REFTOP_SOCKET"}
    impostor = subprocess.Popen(["/usr/bin/python3", "-c", IMPOSTOR, tmp_path / "reftop.sock"], stdout=subprocess.PIPE, text=True,
                                preexec_fn=None if whose == "ours" else harness.become)
    try:
        assert impostor.stdout.readline() == "listens\n"
        listed = reftop("ps", "--json", env=dict(env, XDG_RUNTIME_DIR=str(tmp_path)), timeout=60)
        assert listed.code == 0 and impostor.pid in [p["pid"] for p in listed.json["processes"]]
        assert impostor.stdout.readline() == ("asked\n" if whose == "ours" else "let alone\n")
    finally:
        impostor.kill()
        impostor.wait()


def test_nonsense_is_refused(daemon, steady):
    target = steady()
    one = daemon("-p", target.pid, "-i", "1")
    one.wait_samples([target.pid], 1)
    peer = one.peer()
    for line in (b"nonsense", b"[]", b"{}", b'{"op":1}', b'{"op":"explode"}', b'{"op":"sample"}', b'{"op":"sample","pid":"x"}',
                 b'{"op":"sample","pid":-1}', b'{"op":"sample","pid":99999999999999}', b'{"op":"sample","pid":1e300}', b"\xff\xfe",
                 b"[" * 5000, b'{"op":"sample","pid":%d,"sample":-5}' % target.pid, b'{"op":null}', b"",
                 b'{"op":"series","pid":%d,"type":"no.such"}' % target.pid, b'{"id":"' + b"x" * 5000 + b'","op":"processes!"}'):
        peer.send(line + b"\n")
        answer = peer.receive()
        assert answer["ok"] is False and answer["error"] and answer["code"] in (1, 2, 3), (line[:40], answer)
    rng = random.Random(7)
    valid = b'{"id":7,"op":"sample","pid":%d,"fresh":true}' % target.pid
    for _ in range(300):
        line = bytearray(valid)
        for _ in range(rng.randrange(1, 4)):
            line[rng.randrange(len(line))] = rng.choice(b'{}[]",:0aZ\\\x00\x7f')
        peer.send(bytes(line).replace(b"\n", b" ") + b"\n")
        assert "ok" in peer.receive()
    peer.send(b"x" * 70000)
    assert peer.receive()["error"] == "the line is too long"
    with pytest.raises(EOFError):
        peer.receive()
    assert one.ask("sample", pid=target.pid)["ok"] and one.process.poll() is None


def test_requests_in_one_go(daemon, steady):
    """Hundreds of requests sent together are answered one by one, also for who has said all with them."""
    target = steady()
    one = daemon("-p", target.pid, "-i", "1")
    one.wait_samples([target.pid], 1)
    peer = one.peer()
    peer.send(b"".join(b'{"id":%d,"op":"moments","pid":%d}\n' % (i, target.pid) for i in range(700)))
    peer.socket.shutdown(socket.SHUT_WR)
    for i in range(700):
        answer = peer.receive()
        assert answer["id"] == i and answer["ok"], answer
    with pytest.raises(EOFError):
        peer.receive()


def test_slow_and_many(daemon, steady):
    """1000 connections at once, unfinished lines and a reader that never reads: refused in words, the rest unharmed."""
    target = steady()
    one = daemon("-p", target.pid, "-i", "1")
    one.wait_samples([target.pid], 1)
    kept, refused, reset = [], 0, 0
    for _ in range(1000):
        try:
            peer = Peer(one.socket, 20)
        except (OSError, EOFError):
            reset += 1
            continue
        if peer.hello.get("error") == "too many connections":
            refused += 1
            peer.close()
        else:
            kept.append(peer)
    assert len(kept) <= 48 and refused > 900, (len(kept), refused, reset)
    greedy, unfinished = kept[0], kept[1]
    greedy.socket.settimeout(0.2)
    try:
        while True:  # asks and never reads
            greedy.send(b'{"op":"sample","pid":%d}\n' % target.pid * 50)
    except OSError:
        pass
    unfinished.send(b'{"op":"processes"')
    assert kept[2].result("sample", pid=target.pid)["totals"]["objects"] > 0, "another one is answered all the while"
    assert unfinished.receive()["error"] == "the line was not finished in time"
    with pytest.raises(EOFError):
        unfinished.receive()
    for peer in kept:
        peer.close()
    harness.wait_for(slowly(lambda: len(os.listdir("/proc/%d/fd" % one.process.pid)) < 40), harness.DEADLINE, "the descriptors")
    rss = int(status_of(one.process.pid)["VmRSS"].split()[0])
    assert rss < 150000, rss
    before = one.processes()[target.pid]["samples"]
    one.wait_samples([target.pid], before + 2)


def test_one_daemon_a_socket(daemon, steady, tmp_path):
    one = daemon("-p", steady().pid)
    done = reftop("daemon", "--socket", one.socket, "-o", tmp_path / "other.db")
    assert done.code == 1 and "cannot listen" in done.err
    assert one.ask("processes")["ok"]
