"""The monitor's side of the control connections: the engine's first one, and whoever connects to monitor.sock.

A new server connects while the old one may still be dying, so there can be several at once; each gets every event.
A connection that is gone takes nothing with it.
"""

from __future__ import annotations

import os
import sys
from _socket import socket

from kist.launcher import channel, protocol
from kist.launcher.loop import READ, WRITE
from kist.launcher.protocol import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any

    from kist.launcher.loop import Loop

    Verb = Callable[[dict[str, Any], list[int]], object]
else:
    from _collections import deque  # collections brings a megabyte along

SOCKET_NAME = "monitor.sock"


class Link:
    """One control connection. A request is answered at once; what the peer doesn't read waits here."""

    __slots__ = ("_control", "_outbox", "_sock")

    if TYPE_CHECKING:
        _sock: socket  # from ``use`` on

    def __init__(self, control: Control) -> None:
        self._control = control
        self._outbox: deque[dict[str, Any]] = deque()

    def use(self, sock: socket) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._control.loop.watch(sock.fileno(), READ, self._ready)

    def send(self, message: dict[str, Any]) -> bool:
        """Send now or later; False when the peer is gone."""
        if self._outbox:
            self._outbox.append(message)
            return True
        try:
            channel.send(self._sock, message)
        except BlockingIOError:
            self._outbox.append(message)
            self._control.loop.watch(self._sock.fileno(), READ | WRITE, self._ready)
        except OSError:
            self.close()
            return False
        return True

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            self._control.loop.forget(self._sock.fileno())
            self._sock.close()
            self._control.links.remove(self)

    def _ready(self, events: int) -> None:
        if events & WRITE and self._outbox:
            waiting, self._outbox = self._outbox, deque()
            self._control.loop.watch(self._sock.fileno(), READ, self._ready)
            for message in waiting:
                if not self.send(message):
                    return
        try:
            received = channel.receive(self._sock)
        except BlockingIOError:
            return
        except (OSError, ProtocolError):
            received = None
        if received is None:
            self.close()
        else:
            answer = self._control.answer(*received)
            if isinstance(answer, Later):
                answer.done = self.send
            elif answer:
                self.send(answer)


class Control:
    """The links and the listening socket; ``verbs`` maps a request's word to what does it."""

    __slots__ = ("_connection", "_directory", "_hello", "_listener", "_spare", "links", "loop", "verbs")

    def __init__(self, loop: Loop, verbs: dict[str, Verb], hello: Callable[[], dict[str, Any]]) -> None:
        self.loop = loop
        self.verbs = verbs
        self.links: list[Link] = []
        self._hello = hello
        self._connection = self._take_connection
        self._spare: Link | None = Link(self)  # the engine's; made in the launcher, like all that can be
        self._listener: socket | None = None
        self._directory = ""

    def adopt(self, sock: socket) -> Link:
        link = self._spare or Link(self)
        self._spare = None
        link.use(sock)
        self.links.append(link)
        return link

    def listen(self, listener: int, directory: str) -> None:
        """Take over the socket of ``directory``/monitor.sock; connections wait until ``accept`` is called."""
        self._directory = directory
        self._listener = socket(fileno=listener)
        self._listener.settimeout(0)

    def accept(self) -> None:
        """From now on connections are answered with a hello."""
        if self._listener:
            self.loop.watch(self._listener.fileno(), READ, self._connection)

    def stop_listening(self) -> None:
        if self._listener:
            self.loop.forget(self._listener.fileno())
            try:
                os.unlink(f"{self._directory}/{SOCKET_NAME}")
            except OSError:
                pass
            self._listener.close()
            self._listener = None

    def tell(self, message: dict[str, Any]) -> None:
        for link in list(self.links):
            link.send(message)

    def close(self) -> None:
        self.stop_listening()
        for link in list(self.links):
            link.close()

    def answer(self, message: dict[str, Any], fds: list[int]) -> dict[str, Any] | Later | None:
        """Do what a message asks; the verb owns the descriptors if it is found."""
        number = message.get("n", 0)
        verb = self.verbs.get(message.get("do", ""))
        if not verb:
            channel.close_all(fds)
            return protocol.error(number, f"the monitor does not know {message.get('do')!r}")
        try:
            result = verb(message, fds)
        except Refused as error:
            return protocol.error(number, str(error), error.kind)
        except (OSError, ProtocolError, KeyError, ValueError) as error:
            return protocol.error(number, str(error))
        except Exception as error:  # a fault of ours in one request must not cost the container its monitor
            sys.excepthook(*sys.exc_info())
            return protocol.error(number, f"{type(error).__name__}: {error}")
        if isinstance(result, Later):
            return result
        return protocol.ok(number, result) if number else None

    def _take_connection(self, _events: int) -> None:
        assert self._listener
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        self.adopt(socket(fileno=fd)).send(self._hello())


class Later:
    """What a verb gives when the answer isn't known yet: call ``done`` with it then."""

    __slots__ = ("done", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.done: Callable[[dict[str, Any]], object] = lambda message: None


class Refused(Exception):
    """A request that can't be done; ``kind`` is one of the protocol's."""

    def __init__(self, message: str, kind: str = protocol.OTHER) -> None:
        super().__init__(message)
        self.kind = kind
