"""One attached client: the HTTP client's own connection, read and written by the monitor.

Output goes to the client in one of five ways, so that nothing is lost for a client that reads, and a client that
doesn't read stops no container:

    headed    it waits for the client to have read the answer's head, for up to HEAD_PATIENCE seconds: clients that
              read that by a buffer, and go on with the bare socket behind it (docker-py), lose what came along
    direct    the socket takes it
    queued    it waits in memory; above HIGH bytes the container's output is held for up to GRACE seconds (that is
              what makes a pipeline run at the pace of its slower end, without a disk in between)
    spilled   not below LOW after GRACE: the rest goes to a file and the container runs on
    stuck     the file is full: the output is held for as long as the client takes something every PATIENCE
              seconds; a client that doesn't is cut off

After the container's end nobody waits for the client, so its data is kept for it for up to LAST_PATIENCE seconds.
"""

from __future__ import annotations

import time
from _socket import AF_UNIX, MSG_NOSIGNAL, SHUT_RDWR, SHUT_WR, SO_SNDBUF, SOL_SOCKET, socket
from itertools import islice

from kist.api import frames
from kist.launcher.detach import DetachKeys
from kist.launcher.loop import HANGUP, READ, WRITE
from kist.launcher.spill import Spill
from kist.linux.outq import has_unread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    from kist.launcher.loop import Loop
    from kist.launcher.protocol import Attach
    from kist.launcher.streams import Streams
else:
    from _collections import deque  # collections brings a megabyte along

HIGH, LOW = 2 * 1024 * 1024, 512 * 1024
GRACE = 0.25
HEAD_PATIENCE, HEAD_LOOK = 1.0, 0.001
PATIENCE = 10.0
LAST_PATIENCE = 3600.0
LINGER = 5.0
_FOREVER = float("inf")
CHUNK = 256 * 1024
SEND_BUFFER = 1024 * 1024
_VECTOR = 64
_SO_SNDBUFFORCE = 32


class Client:
    """Owns the connection from here on. ``streams`` hears of holds, input, and the end."""

    __slots__ = ("_ending", "_head_until", "_held", "_input", "_keys", "_loop", "_moved", "_queue", "_queued", "_roomy",
                 "_sock", "_spill", "_streams", "framed", "stderr", "stdin", "stdout")

    def __init__(self, loop: Loop, streams: Streams, attach: Attach, fd: int, spill_directory: str) -> None:
        self._loop = loop
        self._streams = streams
        self._sock = socket(fileno=fd)
        self._sock.settimeout(0)
        self._keys = DetachKeys(attach.detach_keys) if attach.detach_keys else None
        self._queue: deque[bytes | memoryview] = deque()
        self._queued = 0
        self._spill = Spill(spill_directory)
        self._held = False
        self._moved = False  # has taken something since the last look
        self._roomy = False  # has got a large send buffer
        self._ending = False
        self._head_until = _FOREVER  # 0: the answer's head has been read
        self._input = attach.stdin
        self.framed = attach.framed
        self.stdin, self.stdout, self.stderr = attach.stdin, attach.stdout, attach.stderr

    def begin(self, preread: bytes) -> None:
        """Start to listen; ``preread`` is the beginning of the client's input."""
        if preread and self._input:
            self._take(preread)
        if self._sock.fileno() >= 0:
            self.listen()

    # Output: container → client

    def send(self, stream: int, data: bytes) -> None:
        """Send a piece of output, now or later; never blocks."""
        parts: Sequence[bytes | memoryview] = (
            (frames.header(stream, len(data)), data) if self.framed else (data,))
        if self._spill:
            self._spill_out(parts)
        elif self._queue or self._is_headed():
            self._enqueue(parts)
        else:
            rest = self._push(parts)
            if rest:
                self._enlarge()
                self._enqueue(rest)
                self.listen()

    def _is_headed(self) -> bool:
        """Whether nothing may follow the head yet; looks again later if so."""
        if not self._head_until:
            return False
        now = time.monotonic()
        self._head_until = min(self._head_until, now + HEAD_PATIENCE)
        if now < self._head_until and has_unread(self._sock.fileno()):
            self._loop.after(self._sock, HEAD_LOOK, self._look_at_head)
            return True
        self._head_until = 0.0
        return False

    def _look_at_head(self) -> None:
        if not self._is_headed() and self._queue:
            self.listen()

    def end(self) -> None:
        """The output is complete: close the connection when everything is sent."""
        if self._sock.fileno() < 0 or self._ending:
            return
        self._ending = True
        self._input = False
        self._release()
        if not self._queue and not self._spill:
            self._finish()
            return
        self._moved = True
        self._watch_progress(LAST_PATIENCE)
        self.listen()

    def drop(self) -> None:
        """Close the connection now; what was not sent is lost."""
        if self._sock.fileno() < 0:
            return
        self._loop.forget(self._sock.fileno())
        self._loop.cancel(self)
        self._loop.cancel(self._sock)
        self._forget_output()
        self._sock.close()
        input_was_open, self._input = self._input, False
        self._streams.client_gone(self, input_was_open=input_was_open)

    def _output_gone(self) -> None:
        """The client takes nothing any more; what it has already sent is still the container's input."""
        self._forget_output()
        if not self._input:
            self.drop()

    def _forget_output(self) -> None:
        self.stdout = self.stderr = False
        self._queue.clear()
        self._queued = 0
        self._spill.close()
        self._release()

    def _push(self, parts: Sequence[bytes | memoryview]) -> list[bytes | memoryview] | None:
        """Send what the socket takes; return the rest, or None when the client has gone."""
        try:
            sent = self._sock.sendmsg(parts, (), MSG_NOSIGNAL)
        except BlockingIOError:
            return list(parts)
        except OSError:
            self._output_gone()
            return None
        self._moved = True
        for index, part in enumerate(parts):
            if sent < len(part):
                return [memoryview(part)[sent:] if sent else part, *parts[index + 1 :]]
            sent -= len(part)
        return []

    def _enqueue(self, parts: Sequence[bytes | memoryview]) -> None:
        self._queue.extend(parts)
        self._queued += sum(map(len, parts))
        if self._queued > HIGH and not self._held and not self._ending:
            self._hold()
            self._loop.after(self, GRACE, self._fell_behind)

    def _flush(self) -> None:
        while self._queue:
            batch = list(islice(self._queue, _VECTOR))
            rest = self._push(batch)
            if rest is None:
                return
            for _ in range(len(batch)):
                self._queued -= len(self._queue.popleft())
            self._queue.extendleft(reversed(rest))
            self._queued += sum(map(len, rest))
            if self._spill and self._queued < LOW:
                self._enqueue([self._spill.read(CHUNK)])
            if rest:
                break
        if self._held and self._queued <= LOW and not self._spill:
            self._loop.cancel(self)
            self._release()
        if not self._queue:
            if self._ending:
                self._finish()
            else:
                self.listen()

    def _hold(self) -> None:
        self._held = True
        self._streams.hold(self)

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._streams.release(self)

    def _fell_behind(self) -> None:
        """GRACE is over and the client hasn't caught up: what waits goes to the file, and the container on."""
        waiting = list(islice(self._queue, 1, None))
        while len(self._queue) > 1:
            self._queued -= len(self._queue.pop())
        for at in range(0, len(waiting), _VECTOR):
            self._spill.write(waiting[at : at + _VECTOR])
        if self._spill.full:
            self._moved = False
            self._watch_progress(PATIENCE)
        else:
            self._release()

    def _spill_out(self, parts: Sequence[bytes | memoryview]) -> None:
        self._spill.write(parts)
        if self._spill.full and not self._held and not self._ending:
            self._hold()
            self._moved = False
            self._watch_progress(PATIENCE)

    def _watch_progress(self, patience: float) -> None:
        self._loop.after(self, patience, lambda: self._check_progress(patience))

    def _check_progress(self, patience: float) -> None:
        if not self._moved:
            self.drop()
            return
        self._moved = False
        self._watch_progress(patience)

    def _enlarge(self) -> None:
        """A client that doesn't keep up at once gets a large send buffer: fewer turns, three times the speed."""
        if self._roomy:
            return
        self._roomy = True
        for option in (_SO_SNDBUFFORCE, SO_SNDBUF):
            try:
                self._sock.setsockopt(SOL_SOCKET, option, SEND_BUFFER)
                return
            except OSError:
                continue

    # Input: client → container

    def listen(self) -> None:
        """Wait for what can be done now: input if the container takes any, output if some waits."""
        events = READ if self._input and self._streams.takes_input(wanted=self._keys is not None) else 0
        self._loop.watch(self._sock.fileno(), events | (WRITE if self._queue and not self._head_until else 0),
                         self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE and self._queue and not self._head_until:
            self._flush()
        if self._sock.fileno() < 0:
            return
        if self._input and self._streams.takes_input(wanted=self._keys is not None):
            if events & (READ | HANGUP):
                self._read()
        elif events & HANGUP:
            if self._input and self._streams.stdin:
                self._loop.forget(self._sock.fileno())  # what it sent before is read when there is room again
            else:
                self.drop()

    def _read(self) -> None:
        stdin = self._streams.stdin
        try:
            if stdin and not self._keys and stdin.splices:
                self._input_came(stdin.splice_from(self._sock.fileno()))
                return
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:  # reset by the client
            data = b""
        if data:
            self._take(data)
        else:
            self._input_came(0)

    def _take(self, data: bytes) -> None:
        """Pass on what a client sent, up to its detach keys."""
        detached = False
        if self._keys:
            data, detached = self._keys.feed(data)
        if data and self._streams.stdin:
            self._streams.stdin.write(data)
        if detached:
            self._input = False
            self._streams.detached(self)
            self.end()

    def _input_came(self, size: int) -> None:
        if size == 0:
            self._input = False
            self.listen()
            self._streams.input_ended(self)

    # The end

    def _finish(self) -> None:
        """Close so that the client sees a clean end. Input that nobody read would make it a reset."""
        self._loop.cancel(self)
        try:
            if self._sock.family == AF_UNIX:
                self._sock.shutdown(SHUT_RDWR)
                self._discard()
            else:  # TCP may still have bytes on their way to us, and a reset would overtake our last output
                self._sock.shutdown(SHUT_WR)
                if not self._discard():
                    self._loop.after(self, LINGER, self.drop)
                    self._loop.watch(self._sock.fileno(), READ, self._linger)
                    return
        except OSError:
            pass
        self.drop()

    def _linger(self, _events: int) -> None:
        if self._discard():
            self.drop()

    def _discard(self) -> bool:
        """Throw away what has come; tell whether that was the end."""
        try:
            while self._sock.recv(CHUNK):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True
