"""A thread that follows one container's log, and hands it on in lines, many at a time."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator

from kist.api.frames import FrameDecoder
from kist.cli.ui.feed import Waker
from kist.cli.ui.words import harmless
from kist.client.client import Client
from kist.client.transport import Response
from kist.errors import KistError

TAIL = 1000  # lines from the log's end to begin with
PAUSE = 0.05  # seconds between two hand-outs: a loud container must not keep the screen busy
LONGEST = 4096  # characters of a line that are shown


class Follower(threading.Thread):
    """Tells (container id, lines) until the container ends, or `stop`."""

    def __init__(self, client: Client, container: str, tell: Callable[[str, list[str]], None]) -> None:
        super().__init__(name="follower", daemon=True)
        self._client, self.container, self._tell = client, container, tell
        self._waker = Waker()
        self._ended = threading.Event()
        self.done = False  # it has told all that there is

    def stop(self) -> None:
        """End; returns when the thread has."""
        self._ended.set()
        self._waker.wake()
        if self.is_alive():
            self.join(5)
        self._waker.close()

    def run(self) -> None:
        try:
            tty = bool(self._client.containers.inspect(self.container)["Config"].get("Tty"))
            answer = self._client.containers.logs(self.container, follow=True, tail=str(TAIL))
        except (KistError, OSError) as error:
            self._tell(self.container, [f"\x1b[33m{error}\x1b[0m"])
            self.done = True
            return
        try:
            self._follow(answer, None if tty else FrameDecoder())
        except (KistError, OSError, ValueError):  # the connection broke: whoever sees that starts another one
            pass
        finally:
            answer.close()
            self.done = True

    def _follow(self, answer: Response, decoder: FrameDecoder | None) -> None:
        rest = b""
        for chunk in self._pieces(answer):
            data = b"".join(bytes(piece) for _, piece in decoder.feed(chunk)) if decoder else chunk
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > 4 * LONGEST:  # one that never ends its line
                lines, rest = [*lines, rest], b""
            if lines:
                self._tell(self.container, [_line(line) for line in lines])
        if rest and not self._ended.is_set():
            self._tell(self.container, [_line(rest)])

    def _pieces(self, answer: Response) -> Iterator[bytes]:
        """What has come, every `PAUSE` at most; ends with the log or when told."""
        chunks = answer.chunks()
        poll = select.poll()
        poll.register(answer.fileno(), select.POLLIN)
        poll.register(self._waker.ends[0], select.POLLIN)
        while not self._ended.is_set():
            if not answer.has_kept:
                poll.poll()
            if self._ended.is_set():
                return
            piece = next(chunks, b"")
            if not piece:
                return
            yield piece
            self._ended.wait(PAUSE if len(piece) < 1 << 16 else 0)


def _line(data: bytes) -> str:
    return harmless(data[:4 * LONGEST].decode(errors="replace"))[:LONGEST]
