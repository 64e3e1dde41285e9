"""The live view on a real terminal (tmux) and a real process: keys, sizes, signals, ends. What the screens look like to the
letter is compared by tests/unit/screen.c; here it is whether the program and a terminal get along."""
import fcntl
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
import uuid

import pytest

import harness
import test_stacks as stacks

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="no tmux")
DEADLINE = 20


class Terminal:
    """A shell in a tmux server of our own; what is on its screen is waited for, never slept for."""

    def __init__(self, width=80, height=24, environment=None):
        self.socket = "reftop-test-" + uuid.uuid4().hex[:12]
        settings = {"LC_ALL": "C.UTF-8", "TERM": "screen-256color", "PS1": "SHELL> ", "HISTFILE": ""}
        settings.update(environment or {})
        words = ["env", *("%s=%s" % pair for pair in settings.items()), "bash", "--norc", "--noprofile", "-i"]
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), *words)
        try:
            self.tmux("set", "-g", "status", "off")
            self.tmux("resize-window", "-x", str(width), "-y", str(height))
            self.expect("^SHELL>")
        except BaseException:
            self.close()
            raise

    def tmux(self, *words):
        return subprocess.run(["tmux", "-u", "-L", self.socket, *words], check=True, stdout=subprocess.PIPE, text=True,
                              timeout=DEADLINE).stdout

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def expect(self, pattern, absent=None):
        """Wait until the screen matches; returns it."""
        end = time.monotonic() + DEADLINE
        while True:
            screen = self.screen()
            if re.search(pattern, screen, re.M) and not (absent and re.search(absent, screen, re.M)):
                return screen
            if time.monotonic() > end:
                raise AssertionError("%r not on the screen (or %r still is):\n%s" % (pattern, absent, screen))
            select.select([], [], [], 0.03)  # nothing announces a change of the screen

    def type(self, *keys):
        self.tmux("send-keys", *keys)

    def command(self, line):
        self.tmux("send-keys", "-l", line)
        self.type("Enter")

    def child(self):
        """Process id of what runs in the shell."""
        shell = int(self.tmux("display-message", "-p", "#{pane_pid}"))

        def find():
            with open("/proc/%d/task/%d/children" % (shell, shell)) as file:
                return file.read().split()

        return int(harness.wait_for(find, DEADLINE, "a process in the shell")[0])

    def close(self):
        self.tmux("kill-server")
        os.unlink(os.path.join(os.environ.get("TMUX_TMPDIR", "/tmp"), "tmux-%d" % os.getuid(), self.socket))


@pytest.fixture
def terminal():
    opened = []

    def opener(*args, **kwargs):
        opened.append(Terminal(*args, **kwargs))
        return opened[-1]

    yield opener
    for each in opened:
        each.close()


def watch(terminal, target, *options, **kwargs):
    view = terminal(**kwargs)
    view.command("%s %d -i 0.2 %s; echo STATUS=$?" % (harness.REFTOP, target.pid, " ".join(options)))
    view.expect("^ TYPE .*COUNT")
    return view


def process_state(pid):
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rpartition(")")[2].split()[0]


def settings(terminal):
    """What stty says, which must be the same before and after."""
    terminal.type("C-l")
    terminal.command("clear; stty -a | tr ';' '\\n' | md5sum; echo SETTINGS")
    return re.search("[0-9a-f]{32}", terminal.expect("^SETTINGS")).group()


def test_the_leak_rises_and_is_named(terminal, leaker):
    view = watch(terminal, leaker)
    screen = view.expect(r"__main__\.Leaky: \+[\d,]+/s steadily for ")
    rate = int(re.search(r"Leaky: \+([\d,]+)/s", screen).group(1).replace(",", ""))
    assert 900 <= rate <= 1100, screen
    rows = screen.splitlines()
    title = next(i for i, line in enumerate(rows) if line.startswith(" TYPE"))
    assert rows[title + 1].startswith("▲__main__.Leaky"), screen
    assert " %d " % leaker.pid in rows[0]
    assert all(word in screen for word in ("RSS", "Objects", "Bytes", "Pause", "Cost", "Coverage", "Baseline")), screen
    assert max(map(len, rows)) <= 80
    view.type("q")
    view.expect("STATUS=0", absent="TYPE ")


def test_keys(terminal, leaker):
    view = watch(terminal, leaker)
    view.type("?")
    view.expect("keys and columns")
    view.type("Escape")
    view.expect("^ TYPE", absent="keys and columns")
    view.type("F6")
    view.expect("Sort by")
    view.type("Down", "Down", "Down", "Enter")
    view.expect("Sort ΔCOUNT", absent="Sort by")
    view.type("\\")
    view.expect("^filter:")
    view.type("-l", "cached")
    view.expect("^filter: cached")
    view.type("Enter")
    screen = view.expect('Types 1 of \\d+ "cached"')
    assert "__main__.Cached" in screen and "__main__.Leaky " not in screen.replace("Leaky:", "")
    view.type("Escape")
    view.expect("__main__.Leaky  ")
    view.type("/")
    view.type("-l", "leaky")
    view.type("Enter")
    view.type("Enter")
    view.expect("Types › __main__.Leaky")
    view.type("Escape")
    view.expect("^ TYPE")
    view.type("b")
    view.expect("changes count from sample #")
    view.type("z")
    view.expect("paused")
    view.type("z")
    view.expect("watching again", absent="paused")
    view.type("+")
    view.expect("● every 500ms")
    view.type("q")
    view.expect("STATUS=0")


def test_mouse(terminal, leaker):
    view = watch(terminal, leaker)
    rows = view.expect("Sort growth").splitlines()
    title = next(i for i, line in enumerate(rows) if line.startswith(" TYPE"))
    column = rows[title].index("BYTES")
    # an SGR-less terminal report, as tmux passes it to a program that asked for the mouse
    view.tmux("send-keys", "-H", "1b", "5b", "4d", "20", "%02x" % (33 + column), "%02x" % (33 + title))
    view.expect("Sort BYTES")
    view.type("q")
    view.expect("STATUS=0")


def test_resize(terminal, leaker):
    view = watch(terminal, leaker)
    view.tmux("resize-window", "-x", "200", "-y", "50")
    view.expect("ΔREFS +UNEXPL +REFS/OBJ +SIZE")
    view.tmux("resize-window", "-x", "40", "-y", "10")
    screen = view.expect("^ TYPE .*COUNT", absent="BYTES")
    assert max(map(len, screen.splitlines())) <= 40 and "q Quit" in screen
    for width, height in ((1, 1), (300, 3), (7, 40), (80, 24)):
        view.tmux("resize-window", "-x", str(width), "-y", str(height))
    view.expect("TREND")
    view.type("q")
    view.expect("STATUS=0")


def test_narrow_terminal_from_the_start(terminal, leaker):
    view = watch(terminal, leaker, width=40, height=10)
    view.type("q")
    view.expect("STATUS=0")


@pytest.mark.parametrize("keys", ["C-c", "q", "F10"])
def test_the_terminal_is_given_back(terminal, leaker, keys):
    view = terminal()
    before = settings(view)
    view.command("%s %d; echo STATUS=$?" % (harness.REFTOP, leaker.pid))
    view.expect("^ TYPE")
    view.type(keys)
    view.expect("STATUS=0", absent="TYPE")
    assert settings(view) == before
    assert leaker.alive() and process_state(leaker.pid) in "RS"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_by_a_signal(terminal, leaker, number):
    view = terminal()
    before = settings(view)
    view.command("%s %d; echo STATUS=$?" % (harness.REFTOP, leaker.pid))
    view.expect("^ TYPE")
    os.kill(view.child(), number)
    view.expect("STATUS=0", absent="TYPE")
    assert settings(view) == before


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_crash_gives_the_terminal_back(terminal, leaker, number):
    view = terminal()
    before = settings(view)
    view.command("ulimit -c 0; %s %d; echo STATUS=$?" % (harness.REFTOP, leaker.pid))
    view.expect("^ TYPE")
    os.kill(view.child(), number)
    screen = view.expect("STATUS=%d" % (128 + number), absent="TYPE")
    assert "crashed with %s" % number.name in screen
    assert settings(view) == before
    assert leaker.alive() and process_state(leaker.pid) in "RS"


def test_suspend_and_continue(terminal, leaker):
    view = watch(terminal, leaker)
    view.type("C-z")
    view.expect("Stopped", absent="TYPE")
    harness.wait_for(lambda: process_state(leaker.pid) in "RS", DEADLINE, "the target to run")
    view.command("fg")
    first = int(re.search(r"#(\d+)", view.expect("^ TYPE")).group(1))
    harness.wait_for(lambda: int(re.search(r"#(\d+)", view.screen()).group(1)) > first, DEADLINE, "another sample")
    view.type("j", "q")
    view.expect("SHELL>$", absent="TYPE")


@pytest.mark.parametrize("pause", [False, True])
def test_the_end_is_seen_at_once(terminal, leaker, pause):
    """Also when the next sample would be due in ten minutes, or none at all."""
    view = terminal()
    view.command("%s %d -i 10m; echo STATUS=$?" % (harness.REFTOP, leaker.pid))
    view.expect("#1$")
    if pause:
        view.type("z")
        view.expect("paused")
    leaker.send("quit")
    leaker.process.wait()
    view.expect(r"process %d ended \d+ s ago" % leaker.pid)
    view.type("q")
    view.expect("STATUS=0")


def test_the_target_ends(terminal, leaker):
    view = watch(terminal, leaker)
    view.expect("Leaky")
    leaker.send("quit")
    leaker.process.wait()
    screen = view.expect(r"process %d ended \d+ s ago" % leaker.pid)
    assert "__main__.Leaky" in screen
    view.type("?")
    view.expect("keys and columns")
    view.type("Escape")
    view.type("Enter")
    view.expect("Types › ")
    view.type("q")
    view.expect("STATUS=0")


def test_started_program(terminal, any_python):
    view = terminal()
    # it has no input: the target reads the end of it and leaves with status 3 after its first rounds
    script = os.path.join(harness.TARGETS, "demo.py")
    view.command("%s -i 0.2 -- %s %s; echo STATUS=$?" % (harness.REFTOP, any_python.path, script))
    view.expect("^ TYPE")
    view.expect("output goes to ")
    view.type("q")
    screen = view.expect("STATUS=0", absent="TYPE")
    pid = int(re.search(r"goes on as process (\d+)", screen).group(1))
    log = re.search(r"output: (\S+)", screen).group(1)
    os.kill(pid, signal.SIGKILL)
    os.unlink(log)


def test_iterations(terminal, leaker):
    view = terminal()
    view.command("%s %d -i 0.1 --iterations 3; echo STATUS=$?" % (harness.REFTOP, leaker.pid))
    view.expect("STATUS=0", absent="TYPE")


def test_ascii(terminal, leaker):
    view = watch(terminal, leaker, environment={"LC_ALL": "C"})
    screen = view.expect(r"__main__\.Leaky: \+[\d,]+/s steadily")
    assert screen.isascii(), screen
    view.type("q")
    view.expect("STATUS=0")


def test_poor_terminals(terminal, leaker):
    for kind, works in (("vt100", True), ("linux", True), ("xterm-256color", True), ("dumb", False), ("nonsense", False)):
        view = terminal()
        view.command("TERM=%s %s %d; echo STATUS=$?" % (kind, harness.REFTOP, leaker.pid))
        if works:
            view.expect("^ TYPE")
            view.type("q")
            view.expect("STATUS=0")
        else:
            screen = view.expect("STATUS=[12]")
            assert "reftop: cannot use a terminal of type" in screen, screen


def test_dump_without_a_terminal(leaker):
    environment = dict(os.environ, COLUMNS="120", LINES="30", LC_ALL="C.UTF-8")
    command = [harness.REFTOP, "top", "-p", str(leaker.pid), "--dump-screen", "--iterations", "3", "-i", "0.1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environment, timeout=DEADLINE)
    assert done.returncode == 0 and done.stderr == ""
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 30 and max(map(len, done.stdout.splitlines())) <= 120
    assert "__main__.Leaky" in done.stdout and "#3" in done.stdout


def test_threads_without_a_terminal(start, any_python):
    """The screen of a hung process says at once what is wrong."""
    target, truth = stacks.hung(start, any_python, "locks")
    try:
        environment = dict(os.environ, COLUMNS="160", LINES="30", LC_ALL="C.UTF-8")
        command = [harness.REFTOP, "top", "-p", str(target.pid), "--screen", "threads", "--dump-screen", "--iterations", "1"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=environment, timeout=DEADLINE)
    finally:
        os.kill(truth["child"], signal.SIGKILL)
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 30 and max(map(len, lines)) <= 160
    deadlock = [i for i, line in enumerate(lines) if line.startswith(' Deadlock: "first" (tid ')]
    titles = [i for i, line in enumerate(lines) if line.startswith(" THREAD ")]
    assert len(deadlock) == len(titles) == 1 and deadlock[0] < titles[0], done.stdout
    assert re.search(r"^ \+ first +\d+ sleeping +hung.py:%d Two.first +Lock self.b, held by second$" % truth["first_wants"],
                     done.stdout, re.M), done.stdout
    assert re.search(r"^ \+ hog +\d+ (has GIL|running) +hung.py:\d+ hog$", done.stdout, re.M), done.stdout
    wrong = harness.reftop("top", "-p", target.pid, "--screen", "objects", "--dump-screen")
    assert wrong.code == 2 and "no screen is called 'objects'" in wrong.err


def test_a_thread_unfolds(terminal, start, any_python):
    """Tab leads to the threads; Enter, n and l show a stack, its C functions and its variables."""
    target = start(any_python, "stacks.py")
    stacks.ready(target)
    target.wait_blocked()
    view = watch(terminal, target, width=160, height=50)
    view.type("Tab", "Tab")
    view.expect(r"^ THREAD ")
    view.tmux("send-keys", "-l", "\\dict_compre")
    view.type("Enter")
    view.expect(r"^ \+ dict_comprehension-\d+ +\d+ sleeping", absent="nested")
    view.type("Escape")
    view.expect(r"^ \+ nested")
    view.tmux("send-keys", "-l", "/dict_compre")
    view.type("Enter", "Enter")
    view.expect(r"^     dict_comprehension(\.<locals>\.<dictcomp>)? \(.*stacks.py:\d+\)$")
    view.type("l")
    view.expect(r"^         self = <Thread ")
    view.type("Escape")  # nothing is searched any more: n is of the screen
    view.type("n")
    view.expect("with native locals")
    view.expect(r"^     \[native\] ")
    view.type("q")
    view.expect("STATUS=0")


@pytest.mark.parametrize("ignored", [False, True])
def test_the_terminal_goes_away(leaker, ignored):
    """The window is closed, with and without a SIGHUP: the view ends instead of asking a dead terminal for ever."""
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def prepare():
        os.setsid()
        if not ignored:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # with it comes the SIGHUP

    view = subprocess.Popen([harness.REFTOP, str(leaker.pid), "-i", "0.1"], stdin=inner, stdout=inner,
                            stderr=subprocess.DEVNULL, env=dict(os.environ, TERM="xterm", LC_ALL="C.UTF-8"),
                            preexec_fn=prepare)
    os.close(inner)
    seen = b""
    while b"Leaky" not in seen:
        seen += os.read(outer, 65536)
    os.close(outer)
    assert view.wait(timeout=DEADLINE) == 0
