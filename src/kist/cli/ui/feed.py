"""A thread that asks the server again and again, and at once when something happens there.

One round: the list of all containers, then a sample of each live one, all asked side by side. Between rounds it
waits for the server's events (only the list is asked for again then), or for `wake`. A server that is gone is
tried once a second; the connection, the events and the machine's description are then new, too.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kist.cli.session import AT_ONCE
from kist.cli.ui.model import LIVE
from kist.client import wirejson
from kist.client.client import Client
from kist.client.transport import ProtocolError, Response
from kist.errors import KistError, Unavailable

JSON = dict[str, Any]
AGAIN = 1.0  # seconds between attempts to reach a server that is gone
SETTLE = 0.05  # seconds for the events that come together


@dataclass(frozen=True, slots=True)
class News:
    """What the server said. `samples`: by container id; None when only the list is new. `at`: seconds, monotonic."""

    info: JSON
    listed: list[JSON]
    samples: dict[str, JSON] | None
    at: float


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody answers, and why."""

    reason: str


@dataclass
class Waker:
    """A pipe that ends a wait: the one thing that another thread may do to a thread in `poll`."""

    ends: tuple[int, int] = field(default_factory=lambda: os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK))

    def wake(self) -> None:
        try:
            os.write(self.ends[1], b"!")
        except OSError:  # full: awake already; closed: nobody waits
            pass

    def clear(self) -> None:
        try:
            os.read(self.ends[0], 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        for end in self.ends:
            os.close(end)


class Feed(threading.Thread):
    """Tells `News` and `Lost` until `stop`; `tell` is called in this thread."""

    def __init__(self, client: Client, tell: Callable[[News | Lost], None], interval: float = 1.0) -> None:
        super().__init__(name="feed", daemon=True)
        self._client, self._tell, self._interval = client, tell, interval
        self._waker = Waker()
        self._ended = False
        self._info: JSON = {}
        self._events: Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def wake(self) -> None:
        """Ask now."""
        self._waker.wake()

    def stop(self) -> None:
        """End; returns when the thread has."""
        self._ended = True
        self._waker.wake()
        if self.is_alive():
            self.join(5)
        self._waker.close()

    def run(self) -> None:
        while not self._ended:
            try:
                self._connect()
                self._serve()
            except (KistError, OSError, ValueError, KeyError) as error:
                self._disconnect()
                if not self._ended:
                    self._tell(Lost(_reason(error)))
                    self._wait(AGAIN)
        self._disconnect()

    def _connect(self) -> None:
        self._info = self._client.system.info()
        self._events = self._client.request("GET", "/events", {"filters": {"type": ["container"]}})
        self._pieces = self._events.chunks()

    def _disconnect(self) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None
        self._client.close()

    def _serve(self) -> None:
        """Round after round; leaves by an error, or at the end."""
        while not self._ended:
            begun = time.monotonic()
            listed = self._client.containers.list(all=True)
            self._tell(News(self._info, listed, self._samples(listed), time.monotonic()))
            # A server that needs long for its answers is not asked all the time.
            until = max(begun + self._interval, 2 * time.monotonic() - begun)
            while not self._ended and (left := until - time.monotonic()) > 0:
                if self._wait(left):
                    listed = self._client.containers.list(all=True)
                    self._tell(News(self._info, listed, None, time.monotonic()))

    def _samples(self, listed: list[JSON]) -> dict[str, JSON]:
        live = [one["Id"] for one in listed if one.get("State") in LIVE]
        found: dict[str, JSON] = {}
        for start in range(0, len(live), AT_ONCE):
            for identity, sent in [(i, self._client.containers.send_stats(i)) for i in live[start:start + AT_ONCE]]:
                try:
                    sample = wirejson.loads(sent.answer().read())
                except (Unavailable, ProtocolError):
                    raise
                except KistError:  # it has ended meanwhile
                    continue
                if sample.get("cpu_stats", {}).get("system_cpu_usage"):
                    found[identity] = sample
        return found

    def _wait(self, seconds: float) -> bool:
        """Wait for an event or for `wake` so long; whether one came."""
        poll = select.poll()
        poll.register(self._waker.ends[0], select.POLLIN)
        if self._events is not None:
            poll.register(self._events.fileno(), select.POLLIN)
            if self._events.has_kept:
                seconds = 0.0
        woken = bool(poll.poll(seconds * 1000)) or (self._events is not None and self._events.has_kept)
        self._waker.clear()
        if woken and self._events is not None and not self._ended:
            self._take_events()
        return woken

    def _take_events(self) -> None:
        """What has come is read and forgotten: it only tells that the list is old."""
        assert self._events is not None
        time.sleep(SETTLE)
        poll = select.poll()
        poll.register(self._events.fileno(), select.POLLIN)
        while self._events.has_kept or poll.poll(0):
            if not next(self._pieces, b""):
                raise ProtocolError("the server has closed the connection")


def _reason(error: Exception) -> str:
    """The last part: `error during connect: unix:///…: Connection refused`."""
    text = error.message if isinstance(error, KistError) else str(error)
    return text.rpartition(": ")[2] or type(error).__name__
