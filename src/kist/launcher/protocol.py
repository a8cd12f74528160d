"""What the engine, the launcher and the monitors say to each other. Pure: no I/O.

One message is one datagram of a SOCK_SEQPACKET unix socket (borders are kept, descriptors travel with it,
and an end is seen): a JSON object. Descriptors are named in it by their index::

    engine → stock     {"n": 0, "do": "start", "id": …, "bundle": …, …, "link": 0, "netns": 1, "attaches": […]}
    engine → monitor   {"n": 7, "do": "attach" | "exec" | "resize" | "kill" | …}
    monitor → engine   {"n": 7, "ok": …}  or  {"n": 7, "error": {"message": …, "kind": …}}
                       {"event": "hello" | "exit" | "exec_exit" | "detach" | "rotated", …}

A message above INLINE bytes travels in a memory file, which is then descriptor 0 (the datagram says just "@"):
an environment may have megabytes, a socket buffer has 200 KiB.

The words of the requests ("do"), each with its further keys:

    start    see StartRequest in client.py; the first message on the launcher's socket
    attach   an attach, see Attach
    exec     exec, process (OCI), tty, open_stdin, attaches
    resize   exec or null, height, width
    kill     exec or null, signal
    pause, resume, stats, pids
    update   resources (OCI)
    pressed  inode, path: a rotated log file's compressed copy, to be put in its place
    seen     exec: the engine has noted the exec's exit, its streams may be closed now (no answer)
"""

from __future__ import annotations

from _json import encode_basestring, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INLINE = 4096  # a buffer of that size is made for each message that comes
BY_MEMFD = b"@"
MAX_MESSAGE = 16 * 1024 * 1024
MAX_FDS = 64

# How a start or an exec failed; the engine's exit statuses 127, 126 and 128 follow from it.
NOT_FOUND, NOT_EXECUTABLE, OTHER = "not found", "not executable", "other"

# The exit status that stands for a start which failed (Docker: `docker run` of an unknown command gives 127).
STATUS_OF_KIND = {NOT_FOUND: 127, NOT_EXECUTABLE: 126, OTHER: 128}


class ProtocolError(ValueError):
    """The bytes are no message of ours."""


class Attach:
    """One client that gets (and gives) a container's or an exec's streams.

    ``fd``: index of the connection's descriptor in the message. ``framed``: 8-byte frames (no terminal).
    ``detach_keys``: the bytes that end the attachment when they come from the client; empty for none.
    ``preread``: what the server had already read of the client's input.
    """

    __slots__ = ("detach_keys", "fd", "framed", "preread", "stderr", "stdin", "stdout")

    def __init__(self, fd: int, *, stdin: bool, stdout: bool, stderr: bool, framed: bool,
                 detach_keys: bytes = b"", preread: bytes = b"") -> None:
        self.fd = fd
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.framed = framed
        self.detach_keys = detach_keys
        self.preread = preread

    def to_json(self) -> dict[str, Any]:
        words: dict[str, Any] = {name: getattr(self, name)
                                 for name in ("fd", "stdin", "stdout", "stderr", "framed")}
        words["keys"] = self.detach_keys.decode("latin-1")
        words["preread"] = self.preread.decode("latin-1")
        return words

    @classmethod
    def from_json(cls, words: dict[str, Any]) -> Attach:
        try:
            return cls(words["fd"], stdin=words["stdin"], stdout=words["stdout"], stderr=words["stderr"],
                       framed=words["framed"], detach_keys=words["keys"].encode("latin-1"),
                       preread=words["preread"].encode("latin-1"))
        except (KeyError, AttributeError, TypeError, UnicodeEncodeError) as error:
            raise ProtocolError(f"bad attach: {error!r}") from None


class _Settings:
    """What the scanner reads its options from."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = parse_constant = float
    parse_int = int


# The interpreter's own scanner and encoder: the module json goes about it in Python, step by step, and each step is
# memory that a monitor must not touch (and brings regular expressions and enumerations along).
_SORT, _SKIP, _NAN = False, False, True
_scan = make_scanner(_Settings)  # type: ignore[arg-type]
_text = make_encoder(None, None, encode_basestring, None, ":", ",", _SORT, _SKIP, _NAN)  # type: ignore[arg-type]


def encode(message: dict[str, Any]) -> bytes:
    """Compact JSON; strings may hold lone surrogates (bytes that were no UTF-8)."""
    return "".join(_text(message, 0)).encode("utf-8", "surrogatepass")


def decode(body: bytes, what: str = "a message") -> dict[str, Any]:
    """One JSON object; ``what`` names it in the error."""
    try:
        text = body.decode("utf-8", "surrogatepass").strip()
        message, end = _scan(text, 0)
    except (ValueError, StopIteration, SystemError):  # the scanner can't make its error: the module json has the class
        raise ProtocolError(f"{what}: no JSON") from None
    if end != len(text) or not isinstance(message, dict):
        raise ProtocolError(f"{what}: no JSON object")
    return message


def ok(number: int, result: object = None) -> dict[str, Any]:
    return {"n": number, "ok": result}


def error(number: int, message: str, kind: str = OTHER) -> dict[str, Any]:
    return {"n": number, "error": {"message": message, "kind": kind}}


def event(name: str, **words: object) -> dict[str, Any]:
    return {"event": name, **words}
