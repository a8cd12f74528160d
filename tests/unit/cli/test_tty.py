"""With a terminal: raw mode that is always taken back, sizes, detach keys."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from kist.cli.terminal import DetachFilter, detach_keys
from support.fake_engine import FakeEngine, wait_until


class Terminal:
    """A pseudo terminal with `kist …` on it."""

    def __init__(self, environment: dict[str, str], *words: str) -> None:
        self.fd, slave = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(slave)
        self.output = b""
        self.process = subprocess.Popen([sys.executable, "-m", "kist.cli", *words], stdin=slave, stdout=slave,
                                        stderr=slave, env=environment, start_new_session=True)
        self.slave = slave

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self.fd, data)

    def until(self, text: bytes) -> None:
        end = time.monotonic() + 15
        os.set_blocking(self.fd, False)
        while text not in self.output:
            assert time.monotonic() < end, self.output
            try:
                self.output += os.read(self.fd, 4096)
            except (BlockingIOError, OSError):
                time.sleep(0.01)

    def mode(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def is_raw(self) -> bool:
        return not self.mode()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.fd)
        os.close(self.slave)


@pytest.fixture
def terminal(environment: dict[str, str], engine: FakeEngine) -> Iterator[Any]:
    opened = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal({**environment, "TERM": "xterm"}, *words))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def running(engine: FakeEngine) -> bool:
    return any(c.status == "running" for c in engine.containers.values())


def test_raw_while_it_runs_and_as_before_when_it_ends(terminal: Any, engine: FakeEngine) -> None:
    window = terminal("run", "-it", "busybox", "cat")
    wait_until(lambda: running(engine) and window.is_raw())
    window.type(b"a\x03b\r")  # Ctrl-C is a key like others
    window.until(b"a\x03b\r")
    window.type(b"\x04")
    assert window.process.wait(15) == 0
    assert window.mode() == window.before


def test_sizes(terminal: Any, engine: FakeEngine) -> None:
    window = terminal("run", "-it", "busybox", "cat")
    wait_until(lambda: running(engine) and engine.containers and window.is_raw())
    container = next(iter(engine.containers.values()))
    assert container.body["HostConfig"]["ConsoleSize"] == [24, 80]
    wait_until(lambda: container.sizes == [(24, 80)])
    window.resize(50, 132)
    window.process.send_signal(signal.SIGWINCH)
    wait_until(lambda: container.sizes[-1] == (50, 132))
    window.type(b"\x04")
    assert window.process.wait(15) == 0


def test_detach_keys_leave_it_running(terminal: Any, engine: FakeEngine) -> None:
    window = terminal("run", "-it", "busybox", "cat")
    wait_until(lambda: running(engine) and window.is_raw())
    window.type(b"x\x10")
    window.type(b"\x11")
    assert window.process.wait(15) == 0
    container = next(iter(engine.containers.values()))
    assert container.status == "running"
    wait_until(lambda: b"".join(data for _, data in container.log) == b"x")
    assert window.mode() == window.before


def test_detaching_from_attach_tells_so(terminal: Any, engine: FakeEngine) -> None:
    first = terminal("run", "-it", "busybox", "cat")
    wait_until(lambda: running(engine) and first.is_raw())
    cid = next(iter(engine.containers))
    second = terminal("attach", "--detach-keys", "ctrl-x,q", cid)
    wait_until(second.is_raw)
    second.type(b"\x18q")
    assert second.process.wait(15) == 1
    second.until(b"read escape sequence")


def test_the_mode_comes_back_when_it_is_killed_gently(terminal: Any, engine: FakeEngine) -> None:
    window = terminal("run", "-it", "busybox", "broken")
    assert window.process.wait(15) == 125
    assert window.mode() == window.before


@pytest.mark.parametrize(("text", "keys"), [
    ("", b"\x10\x11"), ("ctrl-p,ctrl-q", b"\x10\x11"), ("a", b"a"), ("ctrl-@,ctrl-[,ctrl-_", b"\0\x1b\x1f"),
    ("ctrl-A", b"\x01")])
def test_key_sequences(text: str, keys: bytes) -> None:
    assert detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "xx", "a,,b", "alt-x"])
def test_no_key_sequences(text: str) -> None:
    with pytest.raises(ValueError, match="Unknown character"):
        detach_keys(text)


@pytest.mark.parametrize(("keys", "typed", "passed", "detached"), [
    (b"\x10\x11", b"abc", b"abc", False),
    (b"\x10\x11", b"a\x10\x11b", b"a", True),
    (b"\x10\x11", b"\x10x\x11", b"\x10x\x11", False),
    (b"\x10\x11", b"\x10\x10\x11", b"\x10", True),
    (b"aab", b"aaab", b"a", True),
    (b"abab!", b"ababab!", b"ab", True),
    (b"a", b"xa", b"x", True),
])
def test_the_filter_holds_back_only_what_may_be_the_sequence(keys: bytes, typed: bytes, passed: bytes, *,
                                                               detached: bool) -> None:
    for size in range(1, len(typed) + 1):
        one = DetachFilter(keys)
        got = b""
        for at in range(0, len(typed), size):
            if not one.detached:
                got += one.feed(typed[at:at + size])
        assert (got, one.detached) == (passed, detached)
