"""`kist run`, `exec`, `attach` and `start` on a real server: streams, terminals, signals, detaching."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from support.daemon import KIST, Daemon


class Terminal:
    """A window with `kist …` in it."""

    def __init__(self, daemon: Daemon, *words: str, height: int = 24, width: int = 80) -> None:
        self.fd, self.slave = pty.openpty()
        self.resize(height, width)
        self.before = termios.tcgetattr(self.slave)
        self.output = ""
        self.process = subprocess.Popen([str(KIST), *words], stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                        env={**daemon.env, "TERM": "xterm"}, start_new_session=True)
        os.set_blocking(self.fd, False)

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, text: str, seconds: float = 20) -> str:
        """Read up to a text; returns and forgets what came before and with it."""
        end = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < end, f"{text!r} did not come, but {self.output!r}"
            try:
                self.output += os.read(self.fd, 65536).decode(errors="replace")
            except (BlockingIOError, OSError):
                time.sleep(0.01)
        head, self.output = self.output.split(text, 1)
        return head + text

    def status(self) -> int:
        """The exit status; the terminal must be as it was."""
        status = self.process.wait(30)
        assert termios.tcgetattr(self.slave) == self.before
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.fd)
        os.close(self.slave)


@pytest.fixture
def window(daemon: Daemon) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*words: str, height: int = 24, width: int = 80) -> Terminal:
        opened.append(Terminal(daemon, *words, height=height, width=width))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


Window = Callable[..., Terminal]
PROMPT = "/ # "


def test_a_shell_with_job_control(window: Window) -> None:
    shell = window("run", "-it", "--rm", "busybox", "sh")
    shell.until(PROMPT)
    shell.type("tty; sleep 500\r")
    assert "/dev/pts/0" in shell.until("/dev/pts/0")
    time.sleep(0.3)
    shell.type("\x1a")
    shell.until("Stopped")
    shell.until(PROMPT)
    shell.type("jobs; kill %1; fg\r")
    shell.until("Terminated")
    shell.until(PROMPT)
    shell.type("sleep 500\r")
    time.sleep(0.3)
    shell.type("\x03")
    shell.until(PROMPT)
    shell.type("exit 7\r")
    assert shell.status() == 7


def test_sizes(window: Window) -> None:
    shell = window("run", "-it", "--rm", "busybox", "sh", "-c", "stty size; trap 'stty size; exit' WINCH; "
                   "while :; do sleep 0.1; done", height=31, width=97)
    shell.until("31 97")
    shell.resize(50, 132)
    shell.process.send_signal(signal.SIGWINCH)
    shell.until("50 132")
    assert shell.status() == 0


def test_detaching_and_attaching_again(window: Window, daemon: Daemon) -> None:
    shell = window("run", "-it", "--name", "shell", "busybox", "sh")
    shell.until(PROMPT)
    shell.type("X=remembered\r")
    shell.until(PROMPT)
    shell.type("\x10\x11")
    assert shell.status() == 0
    assert daemon.ok("inspect", "-f", "{{.State.Status}}", "shell") == "running"
    again = window("attach", "shell")
    time.sleep(0.5)
    again.type("echo $X\r")
    again.until("remembered")
    again.type("exit\r")
    assert again.status() == 0


def test_other_detach_keys(window: Window, daemon: Daemon) -> None:
    shell = window("run", "-it", "--name", "shell", "--detach-keys", "ctrl-x,d", "busybox", "sh")
    shell.until(PROMPT)
    shell.type("\x10\x11\x18d")
    assert shell.status() == 0
    assert daemon.ok("inspect", "-f", "{{.State.Status}}", "shell") == "running"


def test_a_terminal_without_stdin(window: Window) -> None:
    shell = window("run", "-t", "--rm", "busybox", "sh", "-c", "test -t 1 && echo terminal; test -t 0 && echo too")
    assert shell.until("too").split() == ["terminal", "too"]
    assert shell.status() == 0


def test_exec_with_a_terminal(window: Window, daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    shell = window("exec", "-it", "box", "sh", height=33, width=99)
    shell.until(PROMPT)
    shell.type("stty size\r")
    shell.until("33 99")
    shell.until(PROMPT)
    shell.resize(44, 111)
    shell.process.send_signal(signal.SIGWINCH)
    time.sleep(0.5)
    shell.type("stty size; exit 3\r")
    shell.until("44 111")
    assert shell.status() == 3


def test_start_attached_with_a_terminal(window: Window, daemon: Daemon) -> None:
    daemon.ok("create", "-it", "--name", "shell", "busybox", "sh")
    for _ in range(2):
        shell = window("start", "-ai", "shell")
        shell.until(PROMPT)
        shell.type("exit 4\r")
        assert shell.status() == 4


def test_stdin_by_a_pipe(daemon: Daemon) -> None:
    done = daemon.kist("run", "-i", "--rm", "busybox", "cat", input="hi\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n", "")


def test_the_end_of_stdin_is_no_end_of_output(daemon: Daemon) -> None:
    done = daemon.kist("run", "-i", "--rm", "busybox", "sh", "-c", "wc -c; sleep 0.5; echo late; echo err >&2",
                       input="12345")
    assert (done.stdout.split(), done.stderr) == (["5", "late"], "err\n")


def test_exec_with_a_pipe(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    done = daemon.kist("exec", "-i", "box", "sh", "-c", "cat; echo err >&2; exit 9", input="in")
    assert (done.returncode, done.stdout, done.stderr) == (9, "in", "err\n")


def test_without_i_there_is_no_stdin(daemon: Daemon) -> None:
    assert daemon.kist("run", "--rm", "busybox", "cat", input="hi").stdout == ""


def test_much_goes_both_ways_byte_for_byte(daemon: Daemon) -> None:
    data = os.urandom(16 << 20)
    done = subprocess.run([str(KIST), "run", "-i", "--rm", "busybox", "cat"], input=data, capture_output=True,
                          env=daemon.env, timeout=120, check=True)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert done.stderr == b""


def test_several_clients_on_one_container(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", "read x; echo got $x")
    readers = [subprocess.Popen([str(KIST), "attach", "--no-stdin", "box"], stdout=subprocess.PIPE, env=daemon.env,
                                stdin=subprocess.DEVNULL) for _ in range(3)]
    time.sleep(1)
    writer = subprocess.Popen([str(KIST), "attach", "box"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=daemon.env)
    assert writer.stdin is not None
    writer.stdin.write(b"it\n")  # its end would end the attachment: the container's stdin stays open for others
    writer.stdin.flush()
    for reader in (*readers, writer):
        assert reader.stdout is not None
        assert reader.stdout.read() == b"got it\n"
        assert reader.wait(20) == 0
        reader.stdout.close()
    writer.stdin.close()


@pytest.mark.parametrize(("name", "status"), [("TERM", 143), ("INT", 130), ("USR1", 138)])
def test_signals_reach_the_program(daemon: Daemon, name: str, status: int) -> None:
    process = subprocess.Popen(
        [str(KIST), "run", "--rm", "busybox", "sh", "-c",
         f"trap 'echo caught; exit {status}' {name}; echo ready; while :; do sleep 0.1; done"],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=daemon.env)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert process.communicate(timeout=20)[0] == b"caught\n"
    assert process.returncode == status


def test_a_client_that_dies_harms_no_container(daemon: Daemon) -> None:
    process = subprocess.Popen([str(KIST), "run", "--name", "box", "busybox", "sh", "-c", "echo ready; sleep 1000"],
                               stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=daemon.env)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.communicate(timeout=20)
    assert daemon.ok("inspect", "-f", "{{.State.Status}}", "box") == "running"


def test_rm_leaves_nothing_of_the_name(daemon: Daemon) -> None:
    for _ in range(3):
        assert daemon.kist("run", "--rm", "--name", "same", "busybox", "true").returncode == 0
    assert daemon.ok("ps", "-aq") == ""


def test_cidfile_labels_environment_and_files(daemon: Daemon) -> None:
    (daemon.folder / "env").write_text("# comment\nA=from file\n")
    cidfile = daemon.folder / "cid"
    cidfile.unlink(missing_ok=True)
    out = daemon.ok("run", "--cidfile", str(cidfile), "--env-file", str(daemon.folder / "env"), "-e", "B=2", "-l",
                    "x=y", "busybox", "sh", "-c", "echo $A $B")
    assert out == "from file 2"
    assert daemon.ok("inspect", "-f", "{{.Id}} {{.Config.Labels.x}}", cidfile.read_text()) == f"{cidfile.read_text()} y"
    cidfile.unlink()
