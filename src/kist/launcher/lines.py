"""Container output as log lines. Pure: bytes in, bytes out.

Docker's rule for long lines: a newline must come within 16384 bytes, else the first 16384 bytes are a record of
their own, without newline (readers join the pieces until one ends in a newline). What is left at the stream's end
is a record without newline too.

The json-file record, one per line (Docker's format, so log shippers read it)::

    {"log":"text\\n","stream":"stdout","attrs":{"label":"value"},"time":"2026-11-23T14:16:48.123456789Z"}

Output is bytes, JSON is text: bytes that are no UTF-8 become the escapes \\udc80 … \\udcff (Python's surrogateescape),
which a reader turns back into the very same bytes. Docker loses them (U+FFFD).
"""

from __future__ import annotations

import time
from _json import encode_basestring, encode_basestring_ascii
from codecs import charmap_decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_LINE = 16 * 1024

# The mark: 0x7f is not escaped in JSON, so it can stand for a line's end while a whole batch is escaped at once.
_END = "\x7f"
_BYTES = "".join(chr(byte if byte < 0x80 else 0xDC00 + byte) for byte in range(256))


class Splitter:
    """Cuts one stream into runs of whole lines and pieces of overlong ones."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield (run, whole): a run of whole lines ending in a newline, or a piece of a line (False)."""
        data = self._rest + data if self._rest else data
        start = at = 0
        end = len(data)
        while True:
            newline = data.rfind(b"\n", at, at + MAX_LINE)
            if newline >= 0:  # every line up to here is short: it lies within MAX_LINE bytes
                at = newline + 1
                continue
            if end - at < MAX_LINE:
                break
            if at > start:
                yield data[start:at], True
            start = at = at + MAX_LINE
            yield data[at - MAX_LINE : at], False
        if at > start:
            yield data[start:at], True
        self._rest = data[at:]

    def end(self) -> bytes:
        """What the stream's end leaves: a line without newline, or nothing."""
        rest, self._rest = self._rest, b""
        return rest


def timestamp(now_ns: int) -> str:
    """RFC 3339 with nanoseconds, in UTC."""
    seconds, nanos = divmod(now_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanos:09d}Z"


class JsonLines:
    """Encodes runs and pieces as json-file records; ``attrs`` is the JSON object of extra attributes, or empty."""

    __slots__ = ("_attrs",)

    def __init__(self, attrs: str = "") -> None:
        self._attrs = f',"attrs":{attrs}' if attrs else ""

    def lines(self, run: bytes, stream: str, stamp: str) -> bytes:
        """The records of a run of whole lines; one pass in C for all of them."""
        tail = self._tail(stream, stamp)
        between = f'\\n{tail}{{"log":"'
        text, escape = _decode(run[:-1])
        if _END not in text:
            body = escape(text.replace("\n", _END))[1:-1].replace(_END, between)
        else:
            body = between.join([escape(line)[1:-1] for line in text.split("\n")])
        return _bytes(f'{{"log":"{body}\\n{tail}')

    def piece(self, piece: bytes, stream: str, stamp: str) -> bytes:
        """The record of a piece of a line."""
        text, escape = _decode(piece)
        return _bytes(f'{{"log":{escape(text)}{self._tail(stream, stamp)[1:]}')

    def _tail(self, stream: str, stamp: str) -> str:
        return f'","stream":"{stream}"{self._attrs},"time":"{stamp}"}}\n'


def _decode(data: bytes) -> tuple[str, Callable[[str], str]]:
    """Text, with surrogates for the bytes that are no UTF-8, and what escapes it for JSON.

    Data with NUL bytes that isn't UTF-8 is binary: a table and plain ASCII are twice as fast, and nobody misses the
    umlauts that happen to be in it. (Plain ASCII escapes the mark too, so only where the mark can't be used.)
    """
    try:
        return data.decode(), encode_basestring
    except UnicodeDecodeError:
        if b"\0" in data and _END.encode() in data:
            return charmap_decode(data, "strict", _BYTES)[0], encode_basestring_ascii
        return data.decode("utf-8", "surrogateescape"), encode_basestring


def _bytes(records: str) -> bytes:
    """backslashreplace writes a lone surrogate as \\udcXX, which is JSON's escape for it."""
    return records.encode("utf-8", "backslashreplace")
