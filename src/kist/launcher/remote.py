"""Log drivers that hand each line to another program: syslog and journald.

    syslog     one datagram (unix, UDP) or one line (TCP, TLS) per record, in one of four formats; the two of RFC 5424
               over TLS with their length before them (RFC 5425, section 4.3: SYSLOG-FRAME)
    journald   one datagram of fields per record (systemd.io/JOURNAL_NATIVE_PROTOCOL)::

        MESSAGE=text\\n                                     a field without a newline in it
        MESSAGE\\n | length, uint64, little end | bytes \\n   any other

What the other side doesn't take at once waits in memory, up to ``max_buffer`` bytes. Then the container's output is
held until there is room (mode "blocking"), or the newest records are dropped ("non-blocking"). A receiver that has
gone stops no container: it is looked for again every second, and what no longer fits is dropped.
"""

from __future__ import annotations

import sys
import time
from _socket import AF_INET, AF_INET6, AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_STREAM, socket
from abc import ABC, abstractmethod
from errno import EMSGSIZE, EPROTOTYPE

from kist.launcher.lines import Splitter
from kist.launcher.loop import WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any

    from kist.launcher.loop import Loop
    from kist.launcher.remotetls import Secured
    from kist.launcher.streams import Streams
else:
    from _collections import deque

JOURNAL = "/run/systemd/journal/socket"
CONNECT_PATIENCE = 5.0
LAST_PATIENCE = 2.0
RETRY = 1.0
# Severity of a stream's lines (RFC 5424, section 6.2.1): informational, error.
_SEVERITY = {"stdout": 6, "stderr": 3}


class Remote(ABC):
    """A log whose records go to a socket; ``_records`` makes them."""

    def __init__(self, config: dict[str, Any], loop: Loop, streams: Streams) -> None:
        self._address: list[Any] = config["address"]
        self._limit: int = config["max_buffer"]
        self._drops: bool = config["mode"] == "non-blocking"
        self._loop = loop
        self._streams = streams
        self._splitters = {"stdout": Splitter(), "stderr": Splitter()}
        self._queue: deque[bytes | memoryview] = deque()
        self._queued = 0
        self._complained = False
        self._secured: Any = None
        if config.get("tls"):
            from kist.launcher.remotetls import context  # few need it, and it is large

            self._secured = context(config["tls"])
        self._sock: socket | Secured | None = None
        self._sock = self._first()

    def _first(self) -> socket | Secured:
        """Whoever isn't there, or isn't trusted, is an error of the start, in Docker's words."""
        sock = None
        try:
            sock = self._connected(CONNECT_PATIENCE)
            if self._secured:
                sock.settimeout(CONNECT_PATIENCE)
                sock.greet()  # type: ignore[union-attr]
                sock.settimeout(0)
            return sock
        except OSError as error:
            if sock:
                sock.close()
            kind, *where = self._address
            why = f"dial {kind} {':'.join(map(str, where))}: connect: {(error.strerror or str(error)).lower()}"
            raise OSError(why) if error.errno else error

    def _connected(self, patience: float) -> socket | Secured:
        sock = _connect(self._address, patience)
        if not self._secured:
            return sock
        from kist.launcher.remotetls import Secured

        return Secured(sock, self._address[1], self._secured)

    def write(self, stream: str, data: bytes) -> None:
        for run, whole in self._splitters[stream].feed(data):
            lines = run[:-1].split(b"\n") if whole else [run]
            self._put(self._records(lines, stream, partial=not whole))
        self._push()

    def close(self) -> None:
        for stream, splitter in self._splitters.items():
            rest = splitter.end()
            if rest:
                self._put(self._records([rest], stream, partial=False))
        self._loop.cancel(self)
        if self._sock:
            self._sock.settimeout(LAST_PATIENCE)
            self._push()
            self._disconnect()

    @abstractmethod
    def _records(self, lines: list[bytes], stream: str, *, partial: bool) -> list[bytes]:
        """A record for each line; ``partial``: a piece of a long one."""

    def _put(self, records: list[bytes]) -> None:
        for record in records:
            if self._queued + len(record) > self._limit and (self._drops or not self._sock):
                self._complain("the receiver is too slow or gone: output is not logged")
                return
            self._queue.append(record)
            self._queued += len(record)

    def _push(self) -> None:
        """Send what is taken; come back for the rest."""
        try:
            if not self._sock:
                self._sock = self._connected(0)
            while self._queue:
                self._send(self._sock, self._queue[0])
            self._loop.forget(self._sock.fileno())
        except (BlockingIOError, TimeoutError):
            assert self._sock
            waits = self._sock.waits if self._secured else WRITE  # type: ignore[union-attr]
            self._loop.watch(self._sock.fileno(), waits, lambda _events: self._push())
            if self._queued > self._limit and not self._drops:
                self._streams.hold(self)
                return
        except OSError as error:
            self._failed(error)
        if self._queued <= self._limit // 2 or not self._sock:
            self._streams.release(self)

    def _send(self, sock: socket | Secured, first: bytes | memoryview) -> None:
        sent = sock.send(first)
        self._queued -= sent
        if sent < len(first):
            self._queue[0] = memoryview(first)[sent:]
        else:
            self._queue.popleft()

    def _failed(self, error: OSError) -> None:
        self._complain(error.strerror or str(error))
        if error.errno == EMSGSIZE:
            self._queued -= len(self._queue.popleft())
            self._loop.after(self, 0, self._push)
            return
        self._disconnect()
        self._loop.after(self, RETRY, self._push)

    def _disconnect(self) -> None:
        if self._sock:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            print(f"kist-monitor: log to {self._address}: {why}", file=sys.stderr, flush=True)


class Syslog(Remote):
    """``format``: "" (the C library's), rfc3164, rfc5424, rfc5424micro."""

    def __init__(self, config: dict[str, Any], loop: Loop, streams: Streams) -> None:
        super().__init__(config, loop, streams)
        self._facility: int = config["facility"] << 3
        self._format: str = config["format"]
        self._framed = bool(config.get("tls")) and self._format.startswith("rfc5424")
        self._tag: str = config["tag"]
        self._host: str = config["host"]
        self._pid: int = config["pid"]

    def _records(self, lines: list[bytes], stream: str, *, partial: bool) -> list[bytes]:
        head = self._head(self._facility | _SEVERITY[stream], time.time()).encode("utf-8", "replace")
        records = [head + line + b"\n" for line in lines]
        return [b"%d %s" % (len(record), record) for record in records] if self._framed else records

    def _head(self, priority: int, now: float) -> str:
        stamp = time.strftime("%b %e %H:%M:%S", time.localtime(now))
        utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        host, tag, pid = self._host, self._tag, self._pid
        if not self._format:
            return f"<{priority}>{stamp} {tag}[{pid}]: "
        if self._format == "rfc3164":
            return f"<{priority}>{stamp} {host} {tag}[{pid}]: "
        if self._format == "rfc5424micro":
            utc = f"{utc}.{int(now % 1 * 1_000_000):06d}"
        return f"<{priority}>1 {utc}Z {host} {tag} {pid} {tag} - "


class Journald(Remote):
    """``fields``: what is the same for every record."""

    def __init__(self, config: dict[str, Any], loop: Loop, streams: Streams) -> None:
        super().__init__(config, loop, streams)
        self._fields = b"".join(_field(name, value.encode("utf-8", "surrogateescape"))
                                for name, value in config["fields"].items())

    def _records(self, lines: list[bytes], stream: str, *, partial: bool) -> list[bytes]:
        head = self._fields + _field("PRIORITY", str(_SEVERITY[stream]).encode())
        if partial:
            head += _field("CONTAINER_PARTIAL_MESSAGE", b"true")
        return [head + _field("MESSAGE", line) for line in lines]


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def _connect(address: list[Any], patience: float) -> socket:
    """["unix" | "unixgram", path] or ["udp" | "tcp", host, port]. Raises OSError."""
    kind, *where = address
    if kind == "unixgram":
        return _connected(AF_UNIX, SOCK_DGRAM, where[0], patience)
    if kind == "unix":
        try:
            return _connected(AF_UNIX, SOCK_DGRAM, where[0], patience)
        except OSError as error:
            if error.errno != EPROTOTYPE:
                raise
        return _connected(AF_UNIX, SOCK_STREAM, where[0], patience)
    family = AF_INET6 if ":" in where[0] else AF_INET
    return _connected(family, SOCK_STREAM if kind == "tcp" else SOCK_DGRAM, tuple(where), patience)


def _connected(family: int, kind: int, where: Any, patience: float) -> socket:
    sock = socket(family, kind | SOCK_CLOEXEC)
    try:
        sock.settimeout(patience)
        try:
            sock.connect(where)
        except BlockingIOError:  # on its way: what is sent meanwhile waits
            pass
        sock.settimeout(0)
    except BaseException:
        sock.close()
        raise
    return sock
