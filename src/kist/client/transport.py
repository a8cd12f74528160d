"""A lean HTTP/1.1 client over one socket: what the Engine API needs, and nothing that costs start-up.

`http.client` costs 16 ms to import and hides the socket; attach and exec need it raw, with the bytes
that came behind the head. One `Connection` carries one exchange after the other (keep-alive)::

    send(method, target, …)  →  Response ─ read() / chunks()            body to its end, then reusable
                                         └ hijack() → (socket, bytes)   101, or Docker's old 200 without a length

Bounds: a head of 64 KiB, chunk-size lines of 1 KiB. RFC 9112 is cited where a rule is not obvious.
Sockets are `_socket.socket`, the C class below `socket.socket` (the module `socket` costs 7 ms).
"""

from __future__ import annotations

import os
import select
from _socket import AF_UNIX, MSG_NOSIGNAL, SHUT_WR, SOCK_CLOEXEC, SOCK_STREAM, socket

from kist.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HEAD_LIMIT = 64 * 1024
SIZE_LINE_LIMIT = 1024
RECEIVE = 256 * 1024


class ProtocolError(Unavailable):
    """The other side doesn't speak HTTP as it should, or hung up in the middle."""


class Connection:
    """One socket and what was read from it beyond the exchange at hand."""

    __slots__ = ("host", "kept", "socket")

    def __init__(self, opened: socket, host: str) -> None:
        self.socket = opened
        self.host = host
        self.kept = b""

    def send(self, method: str, target: str, headers: dict[str, str],
             body: bytes | Iterable[bytes] | None = None) -> None:
        """Write one request; an iterable body goes out in chunks."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}"]
        lines.extend(f"{name}: {value}" for name, value in headers.items())
        whole = b""
        if body is None:
            if method in ("POST", "PUT"):
                lines.append("Content-Length: 0")
        elif isinstance(body, bytes):
            lines.append(f"Content-Length: {len(body)}")
            whole = body
        else:
            lines.append("Transfer-Encoding: chunked")
        lines.append("\r\n")
        self.write("\r\n".join(lines).encode("latin-1") + whole)
        if body is not None and not isinstance(body, bytes):
            self._send_chunks(body)

    def _send_chunks(self, body: Iterable[bytes]) -> None:
        try:
            for piece in body:
                if piece:
                    self.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.write(b"0\r\n\r\n")
        except OSError:
            # A server may refuse a long body early and stop reading: its answer is what to report.
            if not select.select([self.socket], [], [], 1)[0]:
                raise

    def write(self, data: bytes) -> None:
        # MSG_NOSIGNAL: the command line lets SIGPIPE end it for its *own* output only.
        self.socket.sendall(data, MSG_NOSIGNAL)

    def receive(self) -> bytes:
        """Some bytes, kept ones first; b"" at the end of the stream."""
        if self.kept:
            data, self.kept = self.kept, b""
            return data
        return self.socket.recv(RECEIVE)

    def response(self, method: str) -> Response:
        """The head of the answer to the oldest request that has none yet."""
        while True:
            status, headers = _parse_head(self._read_head())
            if status >= 200 or status == 101:
                return Response(self, method, status, headers)

    def _read_head(self) -> bytes:
        data = self.receive()
        while b"\r\n\r\n" not in data:
            if len(data) > HEAD_LIMIT:
                raise ProtocolError(f"the head of the server's answer is longer than {HEAD_LIMIT} bytes")
            more = self.socket.recv(RECEIVE)
            if not more:
                raise ProtocolError("the server closed the connection without an answer" if not data
                                    else "the server closed the connection in the middle of an answer")
            data += more
        head, self.kept = data.split(b"\r\n\r\n", 1)
        return head

    def read_line(self) -> bytes:
        data = self.receive()
        while b"\r\n" not in data:
            more = self.socket.recv(RECEIVE) if len(data) <= SIZE_LINE_LIMIT else b""
            if not more:
                raise ProtocolError("the server's answer is cut off")
            data += more
        line, self.kept = data.split(b"\r\n", 1)
        return line

    def is_idle(self) -> bool:
        """Whether the connection can carry another exchange: open, and nothing unread on it."""
        if self.kept:
            return False
        poll = select.poll()
        poll.register(self.socket, select.POLLIN | getattr(select, "POLLRDHUP", 0))
        return not poll.poll(0)

    def close(self) -> None:
        self.socket.close()


class Response:
    """One answer: its head at once, its body as it is asked for."""

    __slots__ = ("_connection", "_done", "_left", "_mode", "_release", "headers", "status")

    def __init__(self, connection: Connection, method: str, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection
        self._release: list[Connection] | None = None
        self._left = 0
        self._done = False
        # RFC 9112 §6.3: which rule ends the body.
        if method == "HEAD" or status in (204, 304):
            self._mode = "none"
        elif status == 101:
            self._mode = "raw"
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            self._mode = "chunked"
        elif "content-length" in headers:
            self._mode = "length"
            self._left = _length(headers["content-length"])
        else:
            self._mode = "close"
        if self._mode == "none" or (self._mode == "length" and not self._left):
            self._done = True

    def give_back_to(self, idle: list[Connection]) -> None:
        """Where the connection goes when the body has been read to its end."""
        self._release = idle
        if self._done:
            self._finish()

    def fileno(self) -> int:
        """For `poll`: readable when more of the body may be there (unless `has_kept`)."""
        return self._connection.socket.fileno()

    @property
    def has_kept(self) -> bool:
        """Whether bytes of the body are here already, or it has ended."""
        return self._done or bool(self._connection.kept)

    def chunks(self) -> Iterator[bytes]:
        """The body, piece by piece as it comes."""
        while not self._done:
            piece = self._next()
            if piece:
                yield piece
            else:
                self._finish()

    def read(self, limit: int = 1 << 28) -> bytes:
        """The whole body (`limit` bytes at most, 256 MiB unless told)."""
        pieces, total = [], 0
        for piece in self.chunks():
            pieces.append(piece)
            total += len(piece)
            if total > limit:
                self.close()
                raise ProtocolError(f"the server's answer is longer than {limit} bytes")
        return b"".join(pieces)

    def _next(self) -> bytes:
        """One piece of the body, b"" at its end."""
        link = self._connection
        if self._mode == "close":
            return link.receive()
        if self._mode == "chunked" and not self._left:
            self._left = _chunk_size(link.read_line())
            if not self._left:
                while link.read_line():  # trailers
                    pass
                return b""
        if not self._left:
            return b""
        data = link.receive()
        if not data:
            raise ProtocolError("the server's answer is cut off")
        if len(data) > self._left:
            data, link.kept = data[:self._left], data[self._left:]
        self._left -= len(data)
        if not self._left and self._mode == "chunked" and link.read_line():
            raise ProtocolError("the server's answer has a chunk without an end")
        return data

    def _finish(self) -> None:
        self._done = True
        if self._mode == "close" or self.headers.get("connection", "").lower() == "close":
            self._connection.close()
        elif self._release is not None:
            self._release.append(self._connection)
            self._release = None

    def hijack(self) -> tuple[socket, bytes]:
        """The raw socket and the bytes that already came behind the head (101, or Docker's bare 200)."""
        if self._mode not in ("raw", "close"):
            raise ProtocolError("the server answered, but did not hand over the connection")
        self._done = True
        kept, self._connection.kept = self._connection.kept, b""
        return self._connection.socket, kept

    def close(self) -> None:
        """Give up the rest of the body."""
        if not self._done:
            self._done = True
            self._connection.close()


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise ProtocolError("the other side does not speak HTTP")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ProtocolError("the server's answer has a broken head")
        headers[name.strip().lower()] = value.strip()
    return int(words[1]), headers


def _length(text: str) -> int:
    if not text.isdigit():
        raise ProtocolError(f"the server's answer has a broken length: {text[:40]}")
    return int(text)


def _chunk_size(line: bytes) -> int:
    digits = line.split(b";", 1)[0].strip()
    if not digits or digits.strip(b"0123456789abcdefABCDEF"):
        raise ProtocolError("the server's answer has a broken chunk size")
    return int(digits, 16)


def connect_unix(path: str) -> socket:
    """A connected unix socket; OSError as `connect` gives it (ENOENT, ECONNREFUSED, EACCES)."""
    opened = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        if len(os.fsencode(path)) < 108:
            opened.connect(path)
        else:  # sun_path has 108 bytes: go through the directory's descriptor
            folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                opened.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
            finally:
                os.close(folder)
    except BaseException:
        opened.close()
        raise
    return opened


__all__ = ["AF_UNIX", "MSG_NOSIGNAL", "SHUT_WR", "Connection", "ProtocolError", "Response", "connect_unix", "socket"]
