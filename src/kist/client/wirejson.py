"""JSON for the client's hot path: CPython's own C scanner and encoder, without ``import json``.

``import json`` loads ``re`` and ``enum`` for white-space skipping and costs 7 ms, as much as the whole
interpreter start (docs/decisions/client-start-up.md). The scanner and the encoder behind it live in the
built-in module ``_json``; where that is missing or has changed, ``json`` itself is used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BLANK = " \t\r\n"


class _Rules:
    """What `json.JSONDecoder` tells the C scanner."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


def _plain() -> tuple[Callable[[str, int], tuple[Any, int]], Callable[[Any], str]]:
    """The same two functions over the public module."""
    import json

    decoder = json.JSONDecoder()
    return decoder.raw_decode, json.JSONEncoder(separators=(",", ":")).encode


def _fast() -> tuple[Callable[[str, int], tuple[Any, int]], Callable[[Any], str]]:
    import _json

    quote = _json.encode_basestring_ascii
    scan = _json.make_scanner(_Rules)  # type: ignore[arg-type]
    encode = _json.make_encoder(None, _refuse, quote, None, ":", ",", *(False, False, False))
    if scan('[{"a":1.5}]', 0) != ([{"a": 1.5}], 11) or "".join(encode([{"a": None}], 0)) != '[{"a":null}]':
        raise ImportError("the C scanner is not the one we know")
    return scan, lambda value: quote(value) if isinstance(value, str) else "".join(encode(value, 0))


try:
    _scan, _encode = _fast()
except (ImportError, AttributeError, TypeError):  # another interpreter
    _scan, _encode = _plain()


def dumps(value: Any) -> bytes:
    """Compact JSON, ASCII only."""
    return _encode(value).encode()


def loads(data: bytes | str) -> Any:
    """One JSON value, blanks around it allowed; ValueError when it is anything else."""
    text = data.decode() if isinstance(data, bytes) else data
    try:
        value, end = _scan(text, len(text) - len(text.lstrip(_BLANK)))
    except StopIteration as stop:
        raise ValueError(f"no JSON value at {stop.value}") from None
    except SystemError:  # the scanner's own error class lives in `json`, which is not loaded: let it explain
        import json

        return json.loads(text)
    if text[end:].strip(_BLANK):
        raise ValueError(f"text after the JSON value at {end}")
    return value


class Values:
    """JSON values one after another in a byte stream, as progress, events and stats send them.

    Bytes in, values out: `feed` takes a chunk as it came and returns the values that are whole. The
    server ends each value with a line end, but Docker's daemon doesn't promise one per chunk.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, chunk: bytes) -> list[Any]:
        if b"\n" not in chunk:
            self._kept += chunk
            return []
        *lines, self._kept = (self._kept + chunk).split(b"\n")
        return [loads(line) for line in lines if line.strip()]

    def close(self) -> list[Any]:
        """The value that no line end followed, if any."""
        rest, self._kept = self._kept, b""
        return [loads(rest)] if rest.strip() else []
