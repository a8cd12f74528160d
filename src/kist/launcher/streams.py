"""The streams of one process: output to the log and to the attached clients, the clients' input to the process.

    pipe or terminal ──read──▶ log
                          └──▶ client, client, …      (clients.py)
    pipe or terminal ◀──────── client, client, …      (stdin.py)
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from kist.api.frames import STDERR, STDOUT
from kist.launcher.clients import Client
from kist.launcher.loop import READ
from kist.launcher.stdin import PIPE_SIZE, Stdin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from kist.launcher.log import Log
    from kist.launcher.loop import Loop
    from kist.launcher.protocol import Attach

SMALL_READ, LARGE_READ = 64 * 1024, 256 * 1024
_NAMES = {STDOUT: "stdout", STDERR: "stderr"}


class Streams:
    """Pumps one process's streams; owns its ends and the clients."""

    __slots__ = ("_clients", "_grown", "_holders", "_loop", "_master", "_on_detach", "_on_quiet", "_sources", "_spill",
                 "_stdin_once", "log", "stdin", "tty")

    def __init__(self, loop: Loop, *, on_detach: Callable[[], None], on_quiet: Callable[[], None]) -> None:
        self._loop = loop
        self._on_detach = on_detach
        self._on_quiet = on_quiet
        self._spill = ""
        self._stdin_once = False
        self._sources: dict[int, int] = {}  # descriptor → stream number
        self._grown: set[int] = set()
        self._clients: list[Client] = []
        self._holders: set[object] = set()
        self._master = -1
        self.log: Log | None = None
        self.stdin: Stdin | None = None
        self.tty = False

    def configure(self, *, tty: bool, stdin_once: bool, spill_directory: str) -> None:
        """``stdin_once``: the first client's end of input is the process's."""
        self.tty = tty
        self._stdin_once = stdin_once
        self._spill = spill_directory

    @property
    def quiet(self) -> bool:
        """No client is attached."""
        return not self._clients

    def use_pipes(self, stdin: int, stdout: int, stderr: int) -> None:
        """Take over the monitor's ends; -1 for what is not there."""
        if stdin >= 0:
            self.stdin = Stdin(self._loop, stdin, terminal=False, changed=self._input_changed)
        for fd, stream in ((stdout, STDOUT), (stderr, STDERR)):
            if fd >= 0:
                self._add_source(fd, stream)

    def use_terminal(self, master: int, *, stdin: bool) -> None:
        """Take over a terminal's master; input has a descriptor of its own, for each is watched by itself."""
        if stdin:
            copy = fcntl.fcntl(master, fcntl.F_DUPFD_CLOEXEC, 3)
            self.stdin = Stdin(self._loop, copy, terminal=True, changed=self._input_changed)
        self._master = master
        self._add_source(master, STDOUT)

    def resize(self, height: int, width: int) -> None:
        """Set the terminal's size, in characters (its foreground processes get SIGWINCH)."""
        if self._master < 0:
            raise ValueError("the process has no terminal")
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def attach(self, attach: Attach, fd: int) -> None:
        """Serve one more client from now on."""
        if not self.stdin:
            attach.stdin = False
        client = Client(self._loop, self, attach, fd, self._spill)
        self._clients.append(client)
        client.begin(attach.preread)

    def end(self) -> None:
        """The process has ended and all of its output is read: let the clients go when they have everything."""
        if self.stdin:
            self.stdin.close()
            self.stdin = None
        for client in list(self._clients):
            client.end()
        if not self._clients:
            self._on_quiet()

    def drop_clients(self) -> None:
        for client in list(self._clients):
            client.drop()

    def drain(self) -> None:
        """Read what the process left in its pipes: no more than they hold. Others may have them, too, and write for
        ever (an exec's children, the machine's processes with ``--pid host``, whoever was handed the descriptor)."""
        for fd in list(self._sources):
            left = _room(fd)
            while left > 0 and fd in self._sources:
                left -= self._read(fd) or left

    def close_sources(self) -> None:
        for fd in list(self._sources):
            self._close_source(fd)

    # What clients call

    def takes_input(self, *, wanted: bool) -> bool:
        """Whether a client should be read now; ``wanted`` is its answer when nobody takes the input."""
        if self.stdin and self.stdin.open:
            return not self.stdin.full
        return wanted

    def hold(self, holder: object) -> None:
        """Read no more output until ``holder`` (a client, the log) releases it."""
        if not self._holders:
            for fd in self._sources:
                self._loop.forget(fd)
        self._holders.add(holder)

    def release(self, holder: object) -> None:
        if holder not in self._holders:
            return
        self._holders.remove(holder)
        if not self._holders:
            for fd in self._sources:
                self._watch(fd)

    def input_ended(self, client: Client) -> None:
        """A client has closed its input.

        As in Docker: with stdin_once (and no terminal) that is the end of the process's input; without it, it is
        the end of the attachment.
        """
        if self._stdin_once and not self.tty:
            if self.stdin:
                self.stdin.close_when_drained()
        else:
            client.end()

    def detached(self, _client: Client) -> None:
        self._on_detach()

    def client_gone(self, client: Client, *, input_was_open: bool) -> None:
        self._clients.remove(client)
        if input_was_open and self._stdin_once and not self.tty and self.stdin:
            self.stdin.close_when_drained()
        if not self._clients:
            self._on_quiet()

    # Output

    def _add_source(self, fd: int, stream: int) -> None:
        os.set_blocking(fd, False)
        self._sources[fd] = stream
        self._watch(fd)

    def _watch(self, fd: int) -> None:
        self._loop.watch(fd, READ, self._output if self._sources[fd] == STDOUT else self._errors)

    def _output(self, _events: int) -> None:
        self._read_stream(STDOUT)

    def _errors(self, _events: int) -> None:
        self._read_stream(STDERR)

    def _read_stream(self, stream: int) -> None:
        for fd, number in self._sources.items():
            if number == stream:
                self._read(fd)
                return

    def _read(self, fd: int) -> int:
        """Pass on one piece; tell how many bytes it has, 0 if there is nothing more for now."""
        try:
            data = os.read(fd, LARGE_READ if fd in self._grown else SMALL_READ)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: a terminal's last process is gone
            data = b""
        if not data:
            self._close_source(fd)
            return 0
        stream = self._sources[fd]
        if self.log:
            self.log.write(_NAMES[stream], data)
        for client in list(self._clients):
            if client.stdout if stream == STDOUT else client.stderr:
                client.send(stream, data)
        if len(data) == SMALL_READ and fd not in self._grown:
            self._grow(fd)
        return len(data)

    def _grow(self, fd: int) -> None:
        """A pipe that was full gets more room; most never are, and stay small."""
        self._grown.add(fd)
        try:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:  # a terminal, or the user's share of pipe memory is used up
            pass

    def _close_source(self, fd: int) -> None:
        self._loop.forget(fd)
        del self._sources[fd]
        self._grown.discard(fd)
        if fd == self._master:
            self._master = -1
        os.close(fd)

    def _input_changed(self) -> None:
        for client in list(self._clients):
            client.listen()


def _room(fd: int) -> int:
    """The most bytes that a pipe holds; a terminal's buffers are smaller than the largest one (tty_buffer.c)."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
    except OSError:
        return PIPE_SIZE
