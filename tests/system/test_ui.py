"""`kist ui` in a real terminal (tmux) on a real server: seen, driven, and left as it was found."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import needs
from support.daemon import KIST, Daemon
from support.hub import Hub
from support.pki import make_pki


class Terminal:
    """A tmux server of the test's own, with one window in which `kist ui` is started from a shell."""

    def __init__(self, socket: Path, daemon: Daemon, **more: str) -> None:
        self.socket = str(socket)
        names = ("KIST_HOST", "KIST_CONFIG", "KIST_TLS_VERIFY", "KIST_CERT_PATH", "HOME", "PATH")
        env = {**{name: daemon.env[name] for name in names if name in daemon.env}, "LANG": "C.UTF-8",
               "TERM": "xterm-256color", "PS1": "ready> ", **more}
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "env", "-i",
                   *[f"{name}={value}" for name, value in env.items()], "sh")

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(["tmux", "-S", self.socket, *words], capture_output=True, text=True, timeout=30,
                              check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def size(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    @property
    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    @property
    def styled(self) -> str:
        """The screen with its colours, as SGR sequences."""
        return self._tmux("capture-pane", "-p", "-e")

    def shows(self, *texts: str) -> None:
        end = time.monotonic() + 30
        while not all(text in (screen := self.screen) for text in texts):
            assert time.monotonic() < end, f"{texts} is not on the screen:\n{screen}"
            time.sleep(0.05)

    def close(self) -> None:
        self._tmux("kill-server")


@pytest.fixture
def terminal(daemon: Daemon, tmp_path: Path) -> Iterator[Terminal]:
    needs.program("tmux")
    made = Terminal(tmp_path / "tmux", daemon)
    yield made
    made.close()


def test_seen_driven_and_left(daemon: Daemon, terminal: Terminal) -> None:
    daemon.ok("run", "-d", "--name", "web", "--stop-signal", "KILL", "busybox", "sh", "-c",
              "while :; do echo a line; sleep 0.2; done")
    daemon.ok("create", "--name", "new", "busybox", "true")
    terminal.shows("ready>")
    terminal.press(f"{KIST} ui", "Enter")
    terminal.shows("2 containers, 1 running", "● web", "◇ new", "Created", "1 Plots", "F10Quit")
    terminal.press("2")
    terminal.shows("a line")
    terminal.press("F2")
    terminal.shows("a shell in web", "/ #")
    terminal.press("echo in $((40 + 2))", "Enter")
    terminal.shows("in 42")
    terminal.press("exit", "Enter")
    terminal.shows("● web", "F7Stop")
    terminal.press("F7")
    terminal.shows("Stop web?")
    terminal.press("y")
    terminal.shows("○ web", "Exited (137)")
    assert daemon.ok("ps", "-q") == ""
    terminal.size(120, 30)
    terminal.shows("IMAGE", "busybox")
    terminal.press("q")
    terminal.shows("ready>")
    terminal.press("stty -a | grep -c ' echo '; echo left with $?", "Enter")
    terminal.shows("left with 0")


def test_a_server_that_is_killed_and_comes_back(daemon: Daemon, terminal: Terminal) -> None:
    daemon.ok("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    terminal.press(f"{KIST} ui", "Enter")
    terminal.shows("● web")
    daemon.kill()
    terminal.shows("server gone, trying again", "web")
    daemon.start()
    terminal.shows("1 container, 1 running", "● web")
    terminal.press("d")
    terminal.shows("Remove web (it is running)?")
    terminal.press("y")
    terminal.shows("0 containers")
    assert daemon.ok("ps", "-aq") == ""


COLOUR = re.compile(r"\x1b\[[0-9;]*\b(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


def test_over_tls_in_a_plain_small_terminal(hub: Hub, tmp_path: Path) -> None:
    """As over a thin line: TCP with TLS, a terminal that knows little, no colours; the server goes and comes back."""
    needs.program("tmux")
    pki = make_pki(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        place = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    (tmp_path / "d").mkdir()
    daemon = Daemon(tmp_path / "d", mirror=hub.url, options=[
        "--tlsverify", "--tlscacert", str(pki / "ca.pem"), "--tlscert", str(pki / "server.pem"), "--tlskey",
        str(pki / "server.key"), "-H", place])
    for name, source in (("cert", "client.pem"), ("key", "client.key")):
        (pki / f"{name}.pem").write_bytes((pki / source).read_bytes())
    daemon.env.update(KIST_HOST=place, KIST_TLS_VERIFY="1", KIST_CERT_PATH=str(pki))
    terminal = Terminal(tmp_path / "tmux", daemon, TERM="vt100", NO_COLOR="1")
    try:
        daemon.ok("run", "-d", "--name", "web", "--stop-signal", "KILL", "busybox", "sh", "-c",
                  "while :; do echo \"\x1b[31mred $((n += 1))\"; sleep 0.2; done")
        terminal.shows("ready>")
        terminal.press(f"{KIST} ui", "Enter")
        terminal.shows("1 container, 1 running", "● web", "F10Quit", place)
        assert not COLOUR.search(terminal.styled)
        terminal.press("l")
        terminal.shows("red 1", "red 3", "2 Log")
        terminal.size(40, 8)
        terminal.shows("2 Log")
        terminal.press("Escape")
        terminal.shows("● web")
        daemon.kill()
        terminal.shows("gone")
        daemon.start()
        terminal.size(80, 24)
        terminal.shows("● web", "1 running", "CPU[")
        terminal.press("F7")
        terminal.shows("Stop web?")
        terminal.press("y")
        terminal.shows("○ web", "Exited (137)")
        terminal.press("q")
        terminal.shows("ready>")
    finally:
        terminal.close()
        daemon.close()
