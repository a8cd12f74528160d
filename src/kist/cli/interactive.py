"""What `run`, `start -a`, `attach` and `exec` share: streams, terminal, signals, until the end.

While a container is attached to, signals go to it (without a terminal), and new window sizes (with one).
"""

from __future__ import annotations

import os
import select

from kist.cli.attach import Signals, Streams, proxied_signals, signal_name
from kist.client.containers import wait_result
from kist.client.transport import ProtocolError
from kist.errors import KistError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from kist.cli.session import Session
    from kist.cli.terminal import RawMode
    from kist.client.transport import Response


class Attached:
    """`with Attached(…) as it: start(); it.carry(); status = it.status(waiting)`

    From `with` on the terminal is raw and signals are caught; both end with it, whatever happens.
    `stdin`, `stdout`, `stderr` say which streams were asked for.
    """

    def __init__(self, stream: Response, *, tty: bool, stdin: bool, stdout: bool = True, stderr: bool = True,
                 keys: str = "", signal: Callable[[str], None] | None = None,
                 resize: Callable[[int, int], None] | None = None) -> None:
        self._tty, self._stdin = tty, stdin
        self._signal = signal if not tty else None
        self._resize = resize if tty else None
        self._raw: RawMode | None = None
        self._caught = Signals((proxied_signals() if self._signal else ()) + (("SIGWINCH",) if tty else ()))
        detach = None
        if tty and stdin and os.isatty(0):
            from kist.cli.terminal import DetachFilter, RawMode

            detach = DetachFilter(_keys(keys))
            self._raw = RawMode(0)
        self._connection, early = stream.hijack()
        self._streams = Streams(self._connection, early, framed=not tty, stdin=stdin, stdout=stdout, stderr=stderr,
                                detach=detach)

    def __enter__(self) -> Attached:
        self._caught.__enter__()
        if self._raw is not None:
            self._raw.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._raw is not None:
            self._raw.__exit__(kind, error, trace)
        self._caught.__exit__(kind, error, trace)
        self._connection.close()

    def carry(self) -> bool:
        """Carry the streams to their end; True when the user detached before."""
        if self._resize is not None:
            self._tell_size()
        return self._streams.run(self._caught, self._handle)

    def wait(self, waiting: Response) -> int:
        """The exit status that a registered wait tells; signals still go on while it takes time."""
        poll = select.poll()
        poll.register(waiting, select.POLLIN)
        poll.register(self._caught.fd, select.POLLIN)
        while not waiting.has_kept and waiting.fileno() not in dict(poll.poll()):
            for number in self._caught.read():
                self._handle(number)
        return exit_status(waiting)

    def _handle(self, number: int) -> None:
        name = signal_name(number)
        try:
            if name == "WINCH" and self._resize is not None:
                self._tell_size()
            elif self._signal is not None:
                self._signal(name)
        except (KistError, OSError):  # it may have ended by now: the streams tell
            pass

    def _tell_size(self) -> None:
        from kist.cli.terminal import size

        height, width = size(1)
        if self._resize is not None and (height or width):
            try:
                self._resize(height, width)
            except KistError:  # it may have ended by now
                pass


def _keys(text: str) -> bytes:
    from kist.cli.terminal import DEFAULT_DETACH_KEYS, detach_keys

    try:
        return detach_keys(text)
    except ValueError:  # as Docker's client: an unknown sequence means the usual one
        return DEFAULT_DETACH_KEYS


def exit_status(waiting: Response) -> int:
    """The status in a wait's answer; a failed wait is an error."""
    result = wait_result(waiting)
    problem = (result.get("Error") or {}).get("Message")
    if problem:
        raise ProtocolError(f"Error waiting for container: {problem}")
    return int(result["StatusCode"])


def wait_shortly(waiting: Response, seconds: float) -> None:
    """Give the server some time to answer (a container that failed to start is being removed)."""
    poll = select.poll()
    poll.register(waiting, select.POLLIN)
    if not waiting.has_kept:
        poll.poll(int(seconds * 1000))


def kill_with(session: Session, container: str) -> Callable[[str], None]:
    """What passes a signal on to a container."""
    return lambda name: session.client.containers.kill(container, name)


def resize_with(session: Session, container: str) -> Callable[[int, int], None]:
    """What tells a container's terminal its size."""
    return lambda height, width: session.client.containers.resize(container, height, width)
